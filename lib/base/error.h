/* SPDX-License-Identifier: Apache-2.0 */
/* Filling leat_error. */
#ifndef LT_BASE_ERROR_H
#define LT_BASE_ERROR_H

#include <leat/leat.h>

/* Writes a message (printf format, cut to fit) and returns `status`, so that a failing function can
 * end with `return lt_fail(err, ...)`. err may be NULL.
 * Threads:  any. */
leat_status lt_fail(leat_error *err, leat_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "<text>: " (printf format) before the message that err already holds; returns its status.
 * With err NULL returns `status`. */
leat_status lt_fail_within(leat_error *err, leat_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Sets err to LEAT_OK and an empty message. err may be NULL. */
void lt_error_clear(leat_error *err);

#endif

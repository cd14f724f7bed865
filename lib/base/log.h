/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LT_BASE_LOG_H
#define LT_BASE_LOG_H

#include <leat/leat.h>

/* Where a context's messages go. */
typedef struct lt_log {
    leat_log_fn fn; /* NULL: nowhere */
    void *user;
    leat_log_level level;
} lt_log;

/* Writes one line (printf format, cut at 500 bytes) when the level is on. Threads: any. */
void lt_log_write(const lt_log *log, leat_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif

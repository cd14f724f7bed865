/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LT_METRICS_NAMES_H
#define LT_METRICS_NAMES_H

#include <leat/metrics.h>

/* Whether all that is described is there, under names of its own.
 * Errors:   INVALID. */
leat_status lt_check_names(const leat_metrics_desc *desc, leat_error *err) LEAT_MUST_CHECK;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Prometheus's text format: families, samples, labels, histograms.
 * https://prometheus.io/docs/instrumenting/exposition_formats */
#ifndef LT_METRICS_TEXT_H
#define LT_METRICS_TEXT_H

#include <leat/metrics.h>

/* Text on its way to a leat_write_fn. After a failure nothing more is written. */
typedef struct lt_text {
    leat_write_fn write;
    void *user;
    leat_status status;
    size_t used;
    char buffer[4096];
} lt_text;

/* One label; `value` is escaped, and what is not UTF-8 in it becomes U+FFFD. */
typedef struct lt_label {
    const char *name; /* NULL: no label */
    const char *value;
} lt_label;

typedef enum lt_metric_unit {
    LT_UNIT_ONE = 0,
    LT_UNIT_NANOSECONDS /* written as seconds */
} lt_metric_unit;

/* Counts by upper bounds that are not cumulative yet. */
typedef struct lt_histogram_view {
    const uint64_t *bounds; /* [n], ascending, in `unit` */
    const uint64_t *counts; /* [n + 1]: the last is of what lies above all bounds */
    size_t n;
    uint64_t sum;
    lt_metric_unit unit;
} lt_histogram_view;

void lt_text_put(lt_text *text, const char *string);
/* # HELP and # TYPE; help must not have line ends or backslashes. */
void lt_text_family(lt_text *text, const char *name, const char *type, const char *help);
/* NAME{labels} value */
void lt_text_sample(lt_text *text, const char *name, const lt_label labels[2], uint64_t value,
                    lt_metric_unit unit);
void lt_text_sample_real(lt_text *text, const char *name, const lt_label labels[2], double value);
void lt_text_histogram(lt_text *text, const char *name, const lt_label labels[2],
                       const lt_histogram_view *histogram);
/* A histogram whose bounds are powers of two: of microseconds where the unit is nanoseconds. The
 * last of the n counts also has what lies above. */
void lt_text_powers(lt_text *text, const char *name, const lt_label labels[2],
                    const uint64_t *counts, size_t n, uint64_t sum, lt_metric_unit unit);
/* Writes out what waits. Returns the first failure. */
leat_status lt_text_flush(lt_text *text) LEAT_MUST_CHECK;

#endif

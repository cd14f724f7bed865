/* SPDX-License-Identifier: Apache-2.0 */
/* What a program that serves models does, in Prometheus's text format (version 0.0.4): answer a GET
 * of /metrics with what leat_metrics_write writes.
 *
 * Names begin with leat_; units are seconds and bytes; counters end with _total; distributions are
 * histograms with cumulative buckets. What cannot be read has no series: no GPU library, no GPU
 * series. Ratios are left to queries, as rate(leat_batch_pad_bytes_total[1m]) /
 * rate(leat_batch_input_bytes_total[1m]) for the part of batches that is padding.
 *
 * For what happened when there is a trace (leat_trace_start).
 *
 * The conventions of leat.h hold. */
#ifndef LEAT_METRICS_H
#define LEAT_METRICS_H

#include <leat/batcher.h>
#include <leat/leat.h>
#include <leat/scheduler.h>
#include <leat/sequences.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What GPUs do, by NVIDIA's NVML: activity between two reads, and memory. */
typedef struct leat_gpu_monitor leat_gpu_monitor;

/* Finds the GPUs, and reads them for the first time.
 * Owns:     *out_monitor is the caller's; borrows the context.
 * Threads:  any.
 * Errors:   NO_DEVICE when libnvidia-ml.so.1 is not there, lacks a function or finds no GPU, with
 *           the reason; NO_MEMORY. */
LEAT_API leat_status leat_gpu_monitor_create(leat_context *context, leat_gpu_monitor **out_monitor,
                                             leat_error *err) LEAT_MUST_CHECK;

/* Frees the monitor.
 * Threads:  not while leat_metrics_write reads it. */
LEAT_API void leat_gpu_monitor_destroy(leat_gpu_monitor *monitor);

/* A batcher and what its series' label "model" says. */
typedef struct leat_metrics_batcher {
    const char *model; /* any text; different for each */
    leat_batcher *batcher;
} leat_metrics_batcher;

/* A scheduler and what its series' label "scheduler" says. */
typedef struct leat_metrics_scheduler {
    const char *name;
    leat_scheduler *scheduler;
} leat_metrics_scheduler;

/* Sequences and what their series' label "model" says. */
typedef struct leat_metrics_sequences {
    const char *model;
    leat_sequences *sequences;
} leat_metrics_sequences;

typedef struct leat_metrics_desc {
    size_t struct_size;
    leat_context *context;
    const leat_metrics_batcher *batchers;
    size_t n_batchers;
    const leat_metrics_scheduler *schedulers;
    size_t n_schedulers;
    const leat_metrics_sequences *sequences;
    size_t n_sequences;
    leat_gpu_monitor *gpus; /* NULL: none */
} leat_metrics_desc;

/* Takes a piece of text. Anything but LEAT_OK ends the writing. */
typedef leat_status (*leat_write_fn)(void *user, const char *text, size_t bytes);

/* Writes all series, in pieces of 4 KB at most.
 * Threads:  one call at a time for each gpu monitor.
 * Errors:   what `write` returned; INVALID when a name is NULL or two batchers, schedulers or
 *           sequences have the same; NO_MEMORY. */
LEAT_API leat_status leat_metrics_write(const leat_metrics_desc *desc, leat_write_fn write,
                                        void *user, leat_error *err) LEAT_MUST_CHECK;

/* The same into memory, terminated. *out_bytes: the text's length without its end; with LIMIT as
 * much as there would have been, so that a buffer of one more does (if nothing came in between).
 * Errors:   LIMIT when the text and its end are longer than `bytes`; those of leat_metrics_write.
 */
LEAT_API leat_status leat_metrics_text(const leat_metrics_desc *desc, char *buffer, size_t bytes,
                                       size_t *out_bytes, leat_error *err) LEAT_MUST_CHECK;

/* A trace of what a context's batchers and sessions do, in memory: the latest n_events (0: 32768,
 * 112 bytes each). Requests that wait, batches, copies to and from them, runs, and on the CPU
 * every kernel; of other devices with leat_session_desc.profile 1 every kernel, with 2 copies and
 * kernels. Two readings of the clock and a lock an event; while no trace runs, nothing.
 * Owns:     the memory is the context's, until a trace of another size is started.
 * Threads:  any, but not while leat_trace_write runs.
 * Errors:   BUSY while a trace runs; NO_MEMORY. */
LEAT_API leat_status leat_trace_start(leat_context *context, uint32_t n_events,
                                      leat_error *err) LEAT_MUST_CHECK;

/* Ends the trace; what it holds stays for leat_trace_write. Does nothing when none runs.
 * Threads:  any. */
LEAT_API void leat_trace_stop(leat_context *context);

/* Writes the last trace as JSON that chrome://tracing and ui.perfetto.dev read: a lane for each
 * thread and kind of work, in which events lie within or behind each other, and one for each
 * request that waits. Characters of names other than ASCII's become '_'.
 * Threads:  one call at a time.
 * Errors:   INVALID before a trace was started and stopped; what `write` returned. */
LEAT_API leat_status leat_trace_write(leat_context *context, leat_write_fn write, void *user,
                                      leat_error *err) LEAT_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif

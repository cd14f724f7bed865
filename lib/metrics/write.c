/* SPDX-License-Identifier: Apache-2.0 */
/* The series: tables of what is read from where, each family written whole before the next. */
#include "base/error.h"
#include "metrics/gpu.h"
#include "metrics/names.h"
#include "metrics/sequences.h"
#include "metrics/text.h"
#include "runtime/session.h"

#include <stdio.h>
#include <string.h>

static const lt_label none[2];

/* ---- the context ----------------------------------------------------------------------------- */

static void write_one(lt_text *t, const char *name, const char *type, const char *help,
                      uint64_t value)
{
    lt_text_family(t, name, type, help);
    lt_text_sample(t, name, none, value, LT_UNIT_ONE);
}

static void write_context(lt_text *t, leat_context *context)
{
    const lt_memory *m = &context->memory;
    const uint32_t v = leat_version();
    char version[32];
    snprintf(version, sizeof(version), "%u.%u.%u", v / 10000, v / 100 % 100, v % 100);
    const lt_label labels[2] = {{"version", version}, {NULL, NULL}};
    lt_text_family(t, "leat_build_info", "gauge", "The library; always 1.");
    lt_text_sample(t, "leat_build_info", labels, 1, LT_UNIT_ONE);
    write_one(t, "leat_memory_live_bytes", "gauge", "Host memory the context holds.",
              atomic_load(&m->live_bytes));
    write_one(t, "leat_memory_peak_bytes", "gauge", "The most that it has held.",
              atomic_load(&m->peak_bytes));
    if (m->budget != 0) {
        write_one(t, "leat_memory_budget_bytes", "gauge", "The most that it may hold.", m->budget);
    }
    write_one(t, "leat_memory_allocations_total", "counter", "Allocations made.",
              atomic_load(&m->allocations));
}

static void write_workers(lt_text *t, const leat_context *context)
{
    const char *name = "leat_cpu_worker_seconds_total";
    uint64_t ns;
    for (uint32_t i = 0; lt_pool_worker_ns(context->pool, i, &ns); i++) {
        char number[16];
        snprintf(number, sizeof(number), "%u", i);
        const lt_label labels[2] = {{"worker", number}, {NULL, NULL}};
        if (i == 0) {
            lt_text_family(t, name, "counter",
                           "Processor time of the threads that help to compute, polling among it.");
        }
        lt_text_sample(t, name, labels, ns, LT_UNIT_NANOSECONDS);
    }
}

static void write_caches(lt_text *t, leat_context *context)
{
    uint64_t hits, misses;
    lt_sessions_count_plans(context, &hits, &misses);
    write_one(t, "leat_plan_cache_hits_total", "counter", "Runs whose shapes had a plan.", hits);
    write_one(t, "leat_plan_cache_misses_total", "counter", "Runs that had one made.", misses);
    write_one(t, "leat_weight_cache_hits_total", "counter",
              "Packed weights that another plan or session had.",
              atomic_load(&context->weight_hits));
    write_one(t, "leat_weight_cache_misses_total", "counter", "Packed weights that were made.",
              atomic_load(&context->weight_misses));
    write_one(t, "leat_weight_cache_bytes", "gauge", "Packed weights that are kept.",
              atomic_load(&context->weight_bytes));
}

/* ---- batchers -------------------------------------------------------------------------------- */

typedef struct source {
    const char *model;
    leat_batcher_stats stats;
} source;

/* A family of one number of leat_batcher_stats, or of several told apart by a label. */
typedef struct family {
    const char *name, *type, *help;
    const char *label; /* NULL: a single number */
    struct {
        const char *value;
        size_t offset;
    } samples[6]; /* up to the first without value, but one at least */
} family;

#define AT(field) offsetof(leat_batcher_stats, field)
static const family batcher_families[] = {
    {"leat_requests_total",
     "counter",
     "Requests by what became of them.",
     "outcome",
     {{"succeeded", AT(succeeded)},
      {"failed", AT(failed)},
      {"cancelled", AT(cancelled)},
      {"expired", AT(expired)},
      {"refused", AT(refused)}}},
    {"leat_requests_accepted_total",
     "counter",
     "Requests taken into the queue.",
     NULL,
     {{NULL, AT(accepted)}}},
    {"leat_requests_waiting", "gauge", "Requests in the queue.", NULL, {{NULL, AT(waiting)}}},
    {"leat_batches_total", "counter", "Batches run.", NULL, {{NULL, AT(batches)}}},
    {"leat_batches_closed_total",
     "counter",
     "Batches by why they were begun.",
     "reason",
     {{"full", AT(closed_full)}, {"idle", AT(closed_idle)}, {"held", AT(closed_held)}}},
    {"leat_batches_bisected_total",
     "counter",
     "Batches that failed and were run again by halves.",
     NULL,
     {{NULL, AT(bisected)}}},
    {"leat_instances_moved_total",
     "counter",
     "Times that an instance went on on another device, its own being lost.",
     NULL,
     {{NULL, AT(moved)}}},
    {"leat_batch_input_bytes_total",
     "counter",
     "Bytes of batches' inputs, padding included.",
     NULL,
     {{NULL, AT(input_bytes)}}},
    {"leat_batch_pad_bytes_total",
     "counter",
     "Bytes of batches' inputs that are padding.",
     NULL,
     {{NULL, AT(pad_bytes)}}},
    {"leat_batch_pad_changes_total",
     "counter",
     "Times that other lengths to pad to were chosen.",
     NULL,
     {{NULL, AT(pad_changes)}}},
    {"leat_response_cache_hits_total",
     "counter",
     "Requests answered without a run of their own, by what was kept or by an equal one under way.",
     "source",
     {{"kept", AT(answer_hits)}, {"under_way", AT(answer_joins)}}},
    {"leat_response_cache_misses_total",
     "counter",
     "Requests queued for a run where answers are kept.",
     NULL,
     {{NULL, AT(answer_misses)}}},
    {"leat_response_cache_evictions_total",
     "counter",
     "Answers that had to go.",
     NULL,
     {{NULL, AT(answer_evictions)}}},
    {"leat_response_cache_entries", "gauge", "Answers that are kept.", NULL, {{NULL, AT(answers)}}},
    {"leat_response_cache_bytes",
     "gauge",
     "Memory of answers that are kept.",
     NULL,
     {{NULL, AT(answer_bytes)}}},
    {"leat_batch_fill_rows_total",
     "counter",
     "Rows with which batches were filled up to a planned size.",
     NULL,
     {{NULL, AT(fill_rows)}}},
    {"leat_requests_refused_late_total",
     "counter",
     "Requests refused because their deadline was out of reach.",
     NULL,
     {{NULL, AT(refused_late)}}},
    {"leat_batches_running", "gauge", "Batches under way.", NULL, {{NULL, AT(running)}}},
    {"leat_batcher_instances", "gauge", "Batches that may be.", NULL, {{NULL, AT(n_instances)}}},
};

/* Families by class of priority. */
static const struct class_family {
    const char *name, *help;
    size_t offset; /* of [LEAT_MAX_CLASSES] counters, or histograms */
    bool histogram;
} class_families[] = {
    {"leat_class_requests_accepted_total", "Requests taken, by class.", AT(accepted_by_class),
     false},
    {"leat_deadline_misses_total", "Requests refused, expired or late for their deadline.",
     AT(missed_by_class), false},
    {"leat_request_duration_seconds", "From submission to completion.", AT(request), true},
    {"leat_request_queue_seconds", "From submission until the batch began.", AT(queue), true},
};
#undef AT

static void write_family(lt_text *t, const family *f, const source *sources, size_t n)
{
    lt_text_family(t, f->name, f->type, f->help);
    for (size_t i = 0; i < n; i++) {
        for (size_t s = 0; s == 0 || (s < 6 && f->samples[s].value != NULL); s++) {
            const lt_label labels[2] = {{"model", sources[i].model},
                                        {f->label, f->samples[s].value}};
            uint64_t value;
            memcpy(&value, (const char *)&sources[i].stats + f->samples[s].offset, sizeof(value));
            lt_text_sample(t, f->name, labels, value, LT_UNIT_ONE);
        }
    }
}

/* A class without a request yet has no series. */
static void write_class(lt_text *t, const struct class_family *f, const source *s, int class_index)
{
    const char *at = (const char *)&s->stats + f->offset;
    char number[8];
    if (s->stats.accepted_by_class[class_index] + s->stats.missed_by_class[class_index] == 0) {
        return;
    }
    snprintf(number, sizeof(number), "%d", class_index);
    const lt_label labels[2] = {{"model", s->model}, {"class", number}};
    if (f->histogram) {
        const leat_time_histogram *h = (const leat_time_histogram *)(const void *)at + class_index;
        lt_text_powers(t, f->name, labels, h->counts, LEAT_TIME_BUCKETS, h->total_ns,
                       LT_UNIT_NANOSECONDS);
    } else {
        lt_text_sample(t, f->name, labels, ((const uint64_t *)(const void *)at)[class_index],
                       LT_UNIT_ONE);
    }
}

static void write_classes(lt_text *t, const source *sources, size_t n)
{
    for (size_t f = 0; f < sizeof(class_families) / sizeof(class_families[0]); f++) {
        lt_text_family(t, class_families[f].name,
                       class_families[f].histogram ? "histogram" : "counter",
                       class_families[f].help);
        for (size_t i = 0; i < n * LEAT_MAX_CLASSES; i++) {
            write_class(t, &class_families[f], &sources[i / LEAT_MAX_CLASSES],
                        (int)(i % LEAT_MAX_CLASSES));
        }
    }
}

static void write_batch_histograms(lt_text *t, const source *sources, size_t n)
{
    lt_text_family(t, "leat_batch_compute_seconds", "histogram", "Time of a batch's run.");
    for (size_t i = 0; i < n; i++) {
        const lt_label labels[2] = {{"model", sources[i].model}, {NULL, NULL}};
        const leat_time_histogram *h = &sources[i].stats.compute;
        lt_text_powers(t, "leat_batch_compute_seconds", labels, h->counts, LEAT_TIME_BUCKETS,
                       h->total_ns, LT_UNIT_NANOSECONDS);
    }
    lt_text_family(t, "leat_batch_rows", "histogram", "Rows of a batch.");
    for (size_t i = 0; i < n; i++) {
        const lt_label labels[2] = {{"model", sources[i].model}, {NULL, NULL}};
        lt_text_powers(t, "leat_batch_rows", labels, sources[i].stats.batch_rows, LEAT_ROWS_BUCKETS,
                       sources[i].stats.rows, LT_UNIT_ONE);
    }
}

static leat_status write_batchers(lt_text *t, const leat_metrics_desc *d, leat_error *err)
{
    size_t bytes;
    if (d->n_batchers == 0) {
        return LEAT_OK;
    }
    if (!lt_mul(d->n_batchers, sizeof(source), &bytes)) {
        return lt_fail(err, LEAT_INVALID, "n_batchers is %zu", d->n_batchers);
    }
    source *sources = lt_alloc_zeroed(&d->context->memory, bytes, sizeof(uint64_t));
    if (sources == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for the numbers of %zu batchers",
                       d->n_batchers);
    }
    for (size_t i = 0; i < d->n_batchers; i++) {
        sources[i].model = d->batchers[i].model;
        sources[i].stats.struct_size = sizeof(sources[i].stats);
        leat_batcher_read_stats(d->batchers[i].batcher, &sources[i].stats);
    }
    for (size_t f = 0; f < sizeof(batcher_families) / sizeof(batcher_families[0]); f++) {
        write_family(t, &batcher_families[f], sources, d->n_batchers);
    }
    write_classes(t, sources, d->n_batchers);
    write_batch_histograms(t, sources, d->n_batchers);
    lt_free(&d->context->memory, sources, bytes);
    return LEAT_OK;
}

/* ---- schedulers ------------------------------------------------------------------------------ */

/* A number of leat_scheduler_stats, or one for each class or device. */
static const struct scheduler_family {
    const char *name, *type, *help;
    const char *label; /* NULL: a single number */
    size_t offset, n;
    lt_metric_unit unit;
} scheduler_families[] = {
#define AT(field) offsetof(leat_scheduler_stats, field)
    {"leat_scheduler_submitted_total", "counter", "Requests that came.", "class", AT(submitted),
     LEAT_MAX_CLASSES, LT_UNIT_ONE},
    {"leat_scheduler_on_time_total", "counter", "Requests complete within their deadline.", "class",
     AT(on_time), LEAT_MAX_CLASSES, LT_UNIT_ONE},
    {"leat_scheduler_late_total", "counter", "Requests complete too late.", "class", AT(late),
     LEAT_MAX_CLASSES, LT_UNIT_ONE},
    {"leat_scheduler_expired_total", "counter", "Requests given back unrun.", "class", AT(expired),
     LEAT_MAX_CLASSES, LT_UNIT_ONE},
    {"leat_scheduler_refused_total", "counter", "Requests not taken.", "class", AT(refused),
     LEAT_MAX_CLASSES, LT_UNIT_ONE},
    {"leat_scheduler_waiting", "gauge", "Requests in queues.", NULL, AT(waiting), 1, LT_UNIT_ONE},
    {"leat_scheduler_batches_total", "counter", "Batches begun.", NULL, AT(batches), 1,
     LT_UNIT_ONE},
    {"leat_scheduler_work_submitted_seconds_total", "counter", "Work asked for.", NULL,
     AT(work_submitted_ns), 1, LT_UNIT_NANOSECONDS},
    {"leat_scheduler_work_on_time_seconds_total", "counter", "Work done within deadlines.", NULL,
     AT(work_on_time_ns), 1, LT_UNIT_NANOSECONDS},
    {"leat_scheduler_busy_seconds_total", "counter", "Time that devices ran batches.", "device",
     AT(busy_ns), LEAT_MAX_DEVICES, LT_UNIT_NANOSECONDS},
    {"leat_scheduler_takeovers_total", "counter", "Times that a rule took over.", NULL,
     AT(takeovers), 1, LT_UNIT_ONE},
#undef AT
};

typedef struct scheduler_source {
    const char *name;
    leat_scheduler_stats stats;
} scheduler_source;

/* Classes without a request and devices without a batch have no series. */
static void write_scheduler_family(lt_text *t, const struct scheduler_family *f,
                                   const scheduler_source *s)
{
    for (size_t i = 0; i < f->n; i++) {
        uint64_t value;
        char number[24];
        const char *at = (const char *)&s->stats + f->offset + i * sizeof(value);
        memcpy(&value, at, sizeof(value));
        const bool device = f->unit == LT_UNIT_NANOSECONDS;
        if (f->label != NULL && (device ? value == 0 : s->stats.submitted[i] == 0)) {
            continue;
        }
        snprintf(number, sizeof(number), "%zu", i);
        const lt_label labels[2] = {{"scheduler", s->name}, {f->label, number}};
        lt_text_sample(t, f->name, labels, value, f->unit);
    }
}

static leat_status write_schedulers(lt_text *t, const leat_metrics_desc *d, leat_error *err)
{
    size_t bytes;
    if (d->n_schedulers == 0) {
        return LEAT_OK;
    }
    scheduler_source *sources = lt_mul(d->n_schedulers, sizeof(*sources), &bytes)
                                    ? lt_alloc_zeroed(&d->context->memory, bytes, sizeof(uint64_t))
                                    : NULL;
    if (sources == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for the numbers of %zu schedulers",
                       d->n_schedulers);
    }
    for (size_t i = 0; i < d->n_schedulers; i++) {
        sources[i].name = d->schedulers[i].name;
        sources[i].stats.struct_size = sizeof(sources[i].stats);
        leat_scheduler_read_stats(d->schedulers[i].scheduler, &sources[i].stats);
    }
    for (size_t f = 0; f < sizeof(scheduler_families) / sizeof(scheduler_families[0]); f++) {
        const struct scheduler_family *family = &scheduler_families[f];
        lt_text_family(t, family->name, family->type, family->help);
        for (size_t i = 0; i < d->n_schedulers; i++) {
            write_scheduler_family(t, family, &sources[i]);
        }
    }
    lt_free(&d->context->memory, sources, bytes);
    return LEAT_OK;
}

/* ---- GPUs ------------------------------------------------------------------------------------ */

static const struct {
    const char *name, *help;
} gpu_families[LT_GPU_N_ACTIVITIES] = {
    [LT_GPU_SM] = {"leat_gpu_sm_activity_ratio", "Part of multiprocessors' time with work."},
    [LT_GPU_TENSOR] = {"leat_gpu_tensor_activity_ratio", "Part of tensor cores' time with work."},
    [LT_GPU_DRAM] = {"leat_gpu_dram_activity_ratio", "Part of memory's bandwidth in use."},
};

/* Family by family, each GPU's state being read once. */
static leat_status write_gpus(lt_text *t, const leat_metrics_desc *d, leat_error *err)
{
    const uint32_t n = lt_gpu_count(d->gpus);
    lt_gpu_state *states =
        lt_alloc_zeroed(&d->context->memory, n * sizeof(*states), sizeof(uint64_t));
    if (states == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for the numbers of %u GPUs", n);
    }
    for (uint32_t i = 0; i < n; i++) {
        states[i] = lt_gpu_read(d->gpus, i);
    }
    for (int a = 0; a < LT_GPU_N_ACTIVITIES + 2; a++) {
        const int m = a - LT_GPU_N_ACTIVITIES; /* 0, 1: memory */
        const char *name = m == 0   ? "leat_gpu_memory_used_bytes"
                           : m == 1 ? "leat_gpu_memory_size_bytes"
                                    : gpu_families[a].name;
        bool begun = false;
        for (uint32_t i = 0; i < n; i++) {
            char gpu[16];
            snprintf(gpu, sizeof(gpu), "%u", i);
            const lt_label labels[2] = {{"gpu", gpu}, {NULL, NULL}};
            if (m < 0 ? !states[i].has_activity[a] : !states[i].has_memory) {
                continue;
            }
            if (!begun) {
                lt_text_family(t, name, "gauge",
                               m == 0   ? "Device memory in use, by all processes."
                               : m == 1 ? "Device memory there is."
                                        : gpu_families[a].help);
                begun = true;
            }
            if (m < 0) {
                lt_text_sample_real(t, name, labels, states[i].activity[a]);
            } else {
                lt_text_sample(t, name, labels,
                               m == 0 ? states[i].memory_used : states[i].memory_total,
                               LT_UNIT_ONE);
            }
        }
    }
    lt_free(&d->context->memory, states, n * sizeof(*states));
    return LEAT_OK;
}

/* ---- all of it ------------------------------------------------------------------------------- */

leat_status leat_metrics_write(const leat_metrics_desc *d, leat_write_fn write, void *user,
                               leat_error *err)
{
    if (d == NULL || write == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_metrics_write: an argument is NULL");
    }
    if (d->struct_size != sizeof(*d) || d->context == NULL ||
        (d->batchers == NULL && d->n_batchers > 0) ||
        (d->schedulers == NULL && d->n_schedulers > 0) ||
        (d->sequences == NULL && d->n_sequences > 0)) {
        return lt_fail(err, LEAT_INVALID,
                       "leat_metrics_desc: struct_size must be its size; context, batchers, "
                       "schedulers and sequences must not be NULL");
    }
    leat_status status = lt_check_names(d, err);
    if (status != LEAT_OK) {
        return status;
    }
    lt_text t = {.write = write, .user = user};
    write_context(&t, d->context);
    write_caches(&t, d->context);
    write_workers(&t, d->context);
    status = write_batchers(&t, d, err);
    status = status ? status : write_schedulers(&t, d, err);
    if (status == LEAT_OK) {
        lt_write_sequences(&t, d);
    }
    if (status == LEAT_OK && d->gpus != NULL) {
        status = write_gpus(&t, d, err);
    }
    if (status == LEAT_OK && lt_text_flush(&t) != LEAT_OK) {
        status = lt_fail(err, t.status, "the text could not be written (%s)",
                         leat_status_text(t.status));
    }
    return status;
}

typedef struct memory_target {
    char *buffer;
    size_t bytes, length;
} memory_target;

static leat_status into_memory(void *user, const char *text, size_t bytes)
{
    memory_target *m = user;
    if (m->length < m->bytes) {
        const size_t room = m->bytes - m->length;
        memcpy(m->buffer + m->length, text, bytes < room ? bytes : room);
    }
    m->length += bytes;
    return LEAT_OK;
}

leat_status leat_metrics_text(const leat_metrics_desc *desc, char *buffer, size_t bytes,
                              size_t *out_bytes, leat_error *err)
{
    if (out_bytes != NULL) {
        *out_bytes = 0;
    }
    if (out_bytes == NULL || (buffer == NULL && bytes > 0)) {
        return lt_fail(err, LEAT_INVALID, "leat_metrics_text: an argument is NULL");
    }
    memory_target m = {buffer, bytes, 0};
    leat_status status = leat_metrics_write(desc, into_memory, &m, err);
    *out_bytes = status ? 0 : m.length;
    if (status == LEAT_OK && m.length >= bytes) {
        return lt_fail(err, LEAT_LIMIT, "the text has %zu bytes and an end, the buffer %zu",
                       m.length, bytes);
    }
    if (status == LEAT_OK) {
        buffer[m.length] = '\0';
    }
    return status;
}

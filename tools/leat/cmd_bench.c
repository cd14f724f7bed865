/* SPDX-License-Identifier: Apache-2.0 */
/* leat bench: latency and throughput over a grid of threads and batch sizes. */
#include "leat/accuracy.h"
#include "leat/phases.h"
#include "leat/profile.h"
#include "leat/tool.h"

#include "base/error.h"
#include "base/tensor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_SAMPLES (1u << 20)

/* Times of one grid point, in ms. */
typedef struct samples {
    double *ms; /* sorted once all are there */
    size_t count;
    double wall_ms;
    double first_ms;
    profile nodes; /* with --profile */
} samples;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(const samples *s, double p)
{
    size_t at = (size_t)(p * (double)s->count);
    return s->count ? s->ms[at < s->count ? at : s->count - 1] : 0;
}

/* Memory of the process at its peak; the counters of leat cover its own allocations only. */
static uint64_t peak_host_bytes(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    unsigned long long kb = 0;
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (sscanf(line, "VmHWM: %llu kB", &kb) == 1) {
            break;
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    return kb * 1024;
}

static void wait_until(double at)
{
    double left = at - now_ms();
    if (left > 0) {
        struct timespec t = {(time_t)(left / 1000),
                             (long)((left - 1000 * (int)(left / 1000)) * 1e6)};
        nanosleep(&t, NULL);
    }
}

/* Runs for o->seconds, back to back or at o->rate a second, with latency from the intended start.
 */
static leat_status measure(const options *o, opened *all, const inputs *in, samples *s,
                           leat_error *err)
{
    leat_array out[MAX_LIST];
    size_t n_out = leat_model_io(all->model)->n_outputs;
    double start = now_ms();
    memset(out, 0, sizeof(out));
    leat_status status = leat_session_run(all->session, in->arrays, in->count, out, n_out, err);
    s->first_ms = now_ms() - start;
    for (int i = 0; i < 2 && status == LEAT_OK; i++) {
        memset(out, 0, sizeof(out));
        status = leat_session_run(all->session, in->arrays, in->count, out, n_out, err);
    }
    double begin = now_ms(), end = begin + o->seconds * 1000;
    for (s->count = 0; status == LEAT_OK && s->count < MAX_SAMPLES; s->count++) {
        double due = o->rate > 0 ? begin + (double)s->count * 1000 / o->rate : now_ms();
        if ((due >= end || now_ms() >= end) && s->count >= 3) {
            break;
        }
        wait_until(o->rate > 0 ? due : 0);
        memset(out, 0, n_out * sizeof(*out));
        status = leat_session_run(all->session, in->arrays, in->count, out, n_out, err);
        s->ms[s->count] = now_ms() - due;
        if (status == LEAT_OK && o->profile) {
            status = profile_add(&s->nodes, all->session, err);
        }
    }
    s->wall_ms = now_ms() - begin;
    qsort(s->ms, s->count, sizeof(*s->ms), by_value);
    return status;
}

static void print_point(const options *o, const opened *all, const samples *s, int threads,
                        int batch, const leat_array *first, double compile_ms)
{
    char shape[160] = "", precision[16];
    if (first != NULL && first->rank > 0) {
        (void)lt_shape_text(first->rank, first->shape, shape, sizeof(shape));
    }
    double items = s->wall_ms > 0 ? (double)s->count * batch * 1000 / s->wall_ms : 0;
    if (!o->json) {
        printf("%-32s %7d %-18s %6d %9.3f %9.3f %9.3f %9.3f %9.3f %10.1f\n", o->paths[0], threads,
               shape, batch, s->first_ms, percentile(s, 0), percentile(s, 0.5), percentile(s, 0.9),
               percentile(s, 0.99), items);
        return;
    }
    printf("{\"model\": ");
    json_string(stdout, o->paths[0]);
    printf(", \"device\": ");
    json_string(stdout, o->device);
    precision_name(o->precision, precision, sizeof(precision));
    printf(", \"precision\": \"%s\", \"threads\": %d, \"shape\": \"%s\", \"batch\": %d", precision,
           threads, shape, batch);
    printf(", \"load_ms\": %.3f, \"compile_ms\": %.3f, \"first_ms\": %.3f, \"min_ms\": %.6f",
           all->load_ms, compile_ms, s->first_ms, percentile(s, 0));
    printf(", \"median_ms\": %.6f, \"p90_ms\": %.6f, \"p95_ms\": %.6f, \"p99_ms\": %.6f",
           percentile(s, 0.5), percentile(s, 0.9), percentile(s, 0.95), percentile(s, 0.99));
    printf(", \"p999_ms\": %.6f, \"items_per_s\": %.3f, \"peak_host_bytes\": %llu",
           percentile(s, 0.999), items, (unsigned long long)peak_host_bytes());
    printf(", \"peak_device_bytes\": 0");
}

/* The error of a narrow precision. */
static leat_status print_accuracy(const options *o, const opened *all, const inputs *in,
                                  leat_error *err)
{
    accuracy error;
    leat_status status = accuracy_measure(o, all, in, &error, err);
    if (status == LEAT_OK) {
        printf(o->json
                   ? ", \"max_error\": %.3g, \"mean_error\": %.3g"
                   : "error against f32: %.3g at most, of the largest output; %.3g on average\n",
               error.max_error, error.mean_error);
    }
    return status;
}

/* The nodes: on the CPU beside its peaks, which say nothing about other devices. */
static leat_status print_nodes(const options *o, const opened *all, samples *s, leat_error *err)
{
    leat_device_properties cpu = {.struct_size = sizeof(cpu)};
    bool other = phases_apply(o);
    peaks machine;
    leat_status status = leat_device_info(all->context, 0, &cpu, err);
    if (status == LEAT_OK && !other && !peaks_measure(all->threads, cpu.features, &machine)) {
        snprintf(err->message, sizeof(err->message), "no memory to measure the machine");
        status = LEAT_NO_MEMORY;
    }
    if (status != LEAT_OK) {
        return status;
    }
    printf("%s", o->json ? ", " : "");
    return (o->json ? profile_print_json : profile_print)(&s->nodes, all->session,
                                                          other ? NULL : &machine, err);
}

/* What a point has besides its line, and the end of its JSON object. */
static leat_status print_rest(const options *o, opened *all, const inputs *in, samples *s,
                              leat_error *err)
{
    leat_status status = LEAT_OK;
    phases apart;
    if (phases_apply(o)) {
        status = phases_measure(o, all, in, &apart, err);
        if (status == LEAT_OK) {
            phases_print(o, &apart);
        }
    }
    if (status == LEAT_OK && o->profile) {
        status = print_nodes(o, all, s, err);
    }
    if (status == LEAT_OK && o->precision > LEAT_PRECISION_F32) {
        status = print_accuracy(o, all, in, err);
    }
    printf("%s", o->json ? "}\n" : "");
    fflush(stdout);
    return status;
}

/* The nodes of the last run one behind the other, in Chrome's trace format:
 * https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU */
static leat_status write_trace(const options *o, opened *all, leat_error *err)
{
    leat_plan_report report = {.struct_size = sizeof(report)};
    leat_status status = leat_session_report(all->session, &report, err);
    FILE *f = status == LEAT_OK ? fopen(o->trace, "w") : NULL;
    if (f == NULL) {
        return status ? status
                      : lt_fail(err, LEAT_IO, "cannot write '%s': %s", o->trace, strerror(errno));
    }
    double at = 0;
    fprintf(f, "[");
    for (size_t i = 0; i < report.n_nodes; i++) {
        const leat_node_report *n = &report.nodes[i];
        fprintf(
            f,
            "%s\n{\"ph\": \"X\", \"pid\": 1, \"tid\": 1, \"ts\": %.3f, \"dur\": %.3f, \"name\": ",
            i ? "," : "", at, (double)n->last_ns / 1e3);
        json_string(f, n->op);
        fprintf(f, ", \"args\": {\"node\": ");
        json_string(f, n->name);
        fprintf(f, ", \"kernel\": ");
        json_string(f, n->kernel);
        fprintf(f, "}}");
        at += (double)n->last_ns / 1e3;
    }
    fprintf(f, "\n]\n");
    const bool failed = ferror(f) != 0;
    if (fclose(f) != 0 || failed) {
        return lt_fail(err, LEAT_IO, "cannot write '%s' whole: %s", o->trace, strerror(errno));
    }
    return LEAT_OK;
}

static int bench_point(const options *o, int threads, int batch, double *ms)
{
    opened all;
    inputs in;
    leat_error err = {0};
    samples s = {.ms = ms};
    int code = open_all(o, o->paths[0], threads, o->profile || o->trace != NULL, &all);
    if (code != EXIT_FINE) {
        return code;
    }
    leat_status status = inputs_make(o, all.model, batch, &in, &err);
    double start = now_ms();
    if (status == LEAT_OK) {
        status = leat_session_warm(all.session, in.arrays, in.count, &err);
    }
    double compile_ms = all.create_ms + now_ms() - start;
    if (status == LEAT_OK) {
        status = measure(o, &all, &in, &s, &err);
    }
    if (status == LEAT_OK) {
        bool batched = in.count != 0 && in.arrays[0].rank > 0;
        print_point(o, &all, &s, threads, batched && batch > 0 ? batch : 1,
                    in.count ? &in.arrays[0] : NULL, compile_ms);
    }
    status = status ? status : print_rest(o, &all, &in, &s, &err);
    if (status == LEAT_OK && o->trace != NULL) {
        status = write_trace(o, &all, &err);
    }
    code = status != LEAT_OK ? report_run_error(o, &in, status, &err) : EXIT_FINE;
    profile_free(&s.nodes);
    inputs_free(&in);
    close_all(&all);
    return code;
}

int cmd_bench(const options *o)
{
    double *ms = malloc(MAX_SAMPLES * sizeof(*ms));
    int code = ms ? EXIT_FINE : EXIT_FAILED;
    if (!o->json && ms != NULL) {
        printf("%-32s %7s %-18s %6s %9s %9s %9s %9s %9s %10s\n", "model", "threads", "shape",
               "batch", "first ms", "min ms", "median ms", "p90 ms", "p99 ms", "items/s");
    }
    for (int t = 0; t < (o->n_threads ? o->n_threads : 1) && code == EXIT_FINE; t++) {
        for (int b = 0; b < (o->n_batches ? o->n_batches : 1) && code == EXIT_FINE; b++) {
            code = bench_point(o, o->n_threads ? o->threads[t] : 0,
                               o->n_batches ? o->batches[b] : 0, ms);
        }
    }
    free(ms);
    return code;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Where a run's time goes, against what the machine can do.
 *
 * A node's arithmetic and its bytes are compared with the peaks that peaks.c has measured: GFLOP/s
 * with the peak of the kernel's type; GB/s with reading the weights from the level that holds all
 * weights of the model and the rest from the level that holds the node's own values (a guess: what
 * ran before decides what is still there). The larger share names what bounds the node; below
 * BOUND_SHARE of both it is "overhead": calls, waiting for threads, latency, or a kernel that could
 * be better. */
#include "leat/profile.h"

#include <stdlib.h>
#include <string.h>

#define BOUND_SHARE 0.3
#define MAX_NODES_SHOWN 80

/* One line of a table: a node, or several alike. */
typedef struct line {
    const leat_node_report *node; /* the first of them */
    size_t count;
    double ns; /* sum of medians */
} line;

/* What a table is made of. */
typedef struct view {
    line *lines;
    size_t count;
    double total_ns;
    const peaks *machine; /* NULL: not known */
    uint64_t weight_bytes;
} view;

/* The rates of a line as shares of the machine's. */
typedef struct rates {
    double gflops, gbs;
    double arithmetic_share, memory_share;
    int level;
    const char *bound;
} rates;

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static int by_time(const void *a, const void *b)
{
    double x = ((const line *)a)->ns, y = ((const line *)b)->ns;
    return (x < y) - (x > y);
}

leat_status profile_add(profile *p, leat_session *session, leat_error *err)
{
    leat_plan_report report = {.struct_size = sizeof(report)};
    if (p->n_runs == PROFILE_RUNS) {
        return LEAT_OK;
    }
    leat_status status = leat_session_report(session, &report, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (p->ns == NULL) {
        p->n_nodes = report.n_nodes;
        p->ns = calloc(report.n_nodes + 1, PROFILE_RUNS * sizeof(*p->ns));
    }
    if (p->ns == NULL || p->n_nodes != report.n_nodes) {
        status = p->ns == NULL ? LEAT_NO_MEMORY : LEAT_INTERNAL;
        snprintf(err->message, sizeof(err->message), "profile: %s", leat_status_text(status));
        return status;
    }
    for (size_t i = 0; i < p->n_nodes; i++) {
        p->ns[i * PROFILE_RUNS + p->n_runs] = report.nodes[i].last_ns;
    }
    p->n_runs++;
    return LEAT_OK;
}

void profile_free(profile *p)
{
    free(p->ns);
    memset(p, 0, sizeof(*p));
}

static double arithmetic_peak(const char *kernel, const peaks *machine)
{
    bool integer = strstr(kernel, "u8") || strstr(kernel, "s8") || strstr(kernel, "i8");
    double typed = integer                  ? machine->u8s8_gops
                   : strstr(kernel, "bf16") ? machine->bf16_gflops
                                            : machine->f32_gflops;
    return typed > 0 ? typed : machine->f32_gflops;
}

static int level_of(uint64_t bytes, const peaks *machine)
{
    int level = LEVEL_L1;
    while (level < LEVEL_DRAM &&
           bytes > machine->level_bytes[level] * (level < LEVEL_L3 ? machine->threads : 1)) {
        level++;
    }
    return level;
}

/* Nanoseconds to read that much from a level. */
static double read_ns(uint64_t bytes, int level, const peaks *machine)
{
    double gbs = machine->read_gbs[level];
    return gbs > 0 ? (double)bytes / gbs : 0;
}

static rates rate(const line *l, const view *v)
{
    const leat_node_report *n = l->node;
    const peaks *machine = v->machine;
    if (machine == NULL) {
        rates plain = {.bound = ""};
        if (l->ns > 0) {
            plain.gflops = (double)l->count * (double)n->flops / l->ns;
            plain.gbs = (double)l->count * (double)n->bytes / l->ns;
        }
        return plain;
    }
    uint64_t other = n->bytes - n->weight_bytes;
    int near = level_of(other, machine), far = level_of(v->weight_bytes, machine);
    double near_ns = read_ns(other, near, machine);
    double far_ns = read_ns(n->weight_bytes, far, machine);
    rates r = {.level = far_ns > near_ns ? far : near, .bound = ""};
    if (l->ns <= 0) {
        return r; /* a view of other bytes: nothing is done */
    }
    r.gflops = (double)l->count * (double)n->flops / l->ns;
    r.gbs = (double)l->count * (double)n->bytes / l->ns;
    double peak = arithmetic_peak(n->kernel, machine);
    r.arithmetic_share = peak > 0 ? r.gflops / peak : 0;
    r.memory_share = (double)l->count * (near_ns + far_ns) / l->ns;
    bool arithmetic = r.arithmetic_share >= r.memory_share;
    double share = arithmetic ? r.arithmetic_share : r.memory_share;
    r.bound = share < BOUND_SHARE ? "overhead" : arithmetic ? "arithmetic" : "memory";
    return r;
}

/* The nodes with their medians, in the order of the report. */
static leat_status make_view(profile *p, leat_session *session, const peaks *machine, view *out,
                             leat_error *err)
{
    leat_plan_report report = {.struct_size = sizeof(report)};
    memset(out, 0, sizeof(*out));
    leat_status status = leat_session_report(session, &report, err);
    if (status != LEAT_OK) {
        return status;
    }
    out->machine = machine;
    out->weight_bytes = report.weight_bytes;
    out->lines = malloc((p->n_nodes + 1) * sizeof(*out->lines));
    if (out->lines == NULL) {
        return LEAT_NO_MEMORY;
    }
    out->count = p->n_nodes;
    for (size_t i = 0; i < p->n_nodes; i++) {
        uint64_t *ns = p->ns + i * PROFILE_RUNS;
        qsort(ns, p->n_runs, sizeof(*ns), by_number);
        out->lines[i] = (line){&report.nodes[i], 1, p->n_runs ? (double)ns[p->n_runs / 2] : 0};
        out->total_ns += out->lines[i].ns;
    }
    return LEAT_OK;
}

static bool alike(const leat_node_report *a, const leat_node_report *b)
{
    return a->bytes == b->bytes && a->flops == b->flops && strcmp(a->op, b->op) == 0 &&
           strcmp(a->kernel, b->kernel) == 0 && strcmp(a->shapes, b->shapes) == 0;
}

/* Adds up lines of the same operator, shapes and kernel, in place. */
static void group(view *v)
{
    size_t n_groups = 0;
    for (size_t i = 0; i < v->count; i++) {
        size_t g = 0;
        while (g < n_groups && !alike(v->lines[g].node, v->lines[i].node)) {
            g++;
        }
        if (g == n_groups) {
            v->lines[n_groups++] = v->lines[i];
        } else {
            v->lines[g].count++;
            v->lines[g].ns += v->lines[i].ns;
        }
    }
    v->count = n_groups;
}

/* Cuts shapes to `most` letters where a shape ends: the output first, then the last inputs. */
static void short_shapes(const char *shapes, size_t most, char *out, size_t capacity)
{
    snprintf(out, capacity, "%s", shapes);
    char *cut = strstr(out, " -> ");
    while (strlen(out) > most && cut != NULL) {
        *cut = '\0';
        cut = strrchr(out, ',');
    }
}

#define NAME_WIDTH 32

static void print_head(const char *first)
{
    printf("\n%-*s %-13s %-26s %8s %5s %6s %4s %5s %8s %s\n", NAME_WIDTH, first, "operator",
           "kernel", "us", "%", "GFL/s", "%pk", "GB/s", "of", "bound");
}

static void print_line(const line *l, const char *name, const view *v)
{
    rates r = rate(l, v);
    char level[24] = "", peak[16] = "";
    if (v->machine != NULL) {
        snprintf(peak, sizeof(peak), "%.0f", 100 * r.arithmetic_share);
    }
    if (l->ns > 0 && v->machine != NULL) {
        snprintf(level, sizeof(level), "%.0f%% %s", 100 * r.memory_share, level_names[r.level]);
    }
    printf("%-*.*s %-13.13s %-26.26s %8.1f %5.1f %6.1f %4s %5.1f %8s %s\n", NAME_WIDTH, NAME_WIDTH,
           name, l->node->op, l->node->kernel, l->ns / 1e3,
           100 * l->ns / (v->total_ns > 0 ? v->total_ns : 1), r.gflops, peak, r.gbs, level,
           r.bound);
}

static void print_groups(const view *v)
{
    print_head("nodes alike and their shapes");
    for (size_t i = 0; i < v->count && v->lines[i].ns > 0; i++) {
        char shapes[256], name[300];
        short_shapes(v->lines[i].node->shapes, NAME_WIDTH - 4, shapes, sizeof(shapes));
        snprintf(name, sizeof(name), "%3zu %s", v->lines[i].count, shapes);
        print_line(&v->lines[i], name, v);
    }
}

static void print_nodes(const view *v)
{
    double left = 0;
    print_head("node");
    for (size_t i = 0; i < v->count; i++) {
        if (i < MAX_NODES_SHOWN) {
            print_line(&v->lines[i], v->lines[i].node->name, v);
        } else {
            left += v->lines[i].ns;
        }
    }
    if (v->count > MAX_NODES_SHOWN) {
        printf("and %zu nodes of %.3f ms together\n", v->count - MAX_NODES_SHOWN, left / 1e6);
    }
}

static void print_peaks(const peaks *m)
{
    printf("\npeaks of %d thread%s: f32 %.0f, bf16 %.0f GFLOP/s, u8s8 %.0f GOP/s; read GB/s:",
           m->threads, m->threads > 1 ? "s" : "", m->f32_gflops, m->bf16_gflops, m->u8s8_gops);
    for (int i = 0; i < N_LEVELS; i++) {
        printf(" %s %.0f%s", level_names[i], m->read_gbs[i], i + 1 < N_LEVELS ? "," : "\n");
    }
}

leat_status profile_print(profile *p, leat_session *session, const peaks *machine, leat_error *err)
{
    view v;
    leat_status status = make_view(p, session, machine, &v, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (machine != NULL) {
        print_peaks(machine);
    }
    qsort(v.lines, v.count, sizeof(*v.lines), by_time);
    print_nodes(&v);
    group(&v);
    qsort(v.lines, v.count, sizeof(*v.lines), by_time);
    print_groups(&v);
    printf("%zu nodes, %.3f ms, medians of %zu runs\n", p->n_nodes, v.total_ns / 1e6, p->n_runs);
    free(v.lines);
    return LEAT_OK;
}

static void print_json_node(const line *l, const view *v, bool first)
{
    rates r = rate(l, v);
    const leat_node_report *n = l->node;
    printf("%s{\"name\": ", first ? "" : ", ");
    json_string(stdout, n->name);
    printf(", \"op\": ");
    json_string(stdout, n->op);
    printf(", \"kernel\": ");
    json_string(stdout, n->kernel);
    printf(", \"shapes\": ");
    json_string(stdout, n->shapes);
    printf(", \"us\": %.3f, \"bytes\": %llu, \"flops\": %llu, \"gflops\": %.3f, \"gbs\": %.3f",
           l->ns / 1e3, (unsigned long long)n->bytes, (unsigned long long)n->flops, r.gflops,
           r.gbs);
    if (v->machine != NULL) {
        printf(", \"arithmetic_share\": %.4f, \"memory\": \"%s\", \"memory_share\": %.4f, "
               "\"bound\": \"%s\"",
               r.arithmetic_share, level_names[r.level], r.memory_share, r.bound);
    }
    printf("}");
}

static void print_json_peaks(const peaks *machine)
{
    printf("\"peaks\": {\"threads\": %d, \"f32_gflops\": %.1f, \"bf16_gflops\": %.1f, ",
           machine->threads, machine->f32_gflops, machine->bf16_gflops);
    printf("\"u8s8_gops\": %.1f", machine->u8s8_gops);
    for (int i = 0; i < N_LEVELS; i++) {
        printf(", \"%s_gbs\": %.1f", level_names[i], machine->read_gbs[i]);
    }
    printf("}, ");
}

leat_status profile_print_json(profile *p, leat_session *session, const peaks *machine,
                               leat_error *err)
{
    view v;
    leat_status status = make_view(p, session, machine, &v, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (machine != NULL) {
        print_json_peaks(machine);
    }
    printf("\"profile\": [");
    for (size_t i = 0; i < v.count; i++) {
        print_json_node(&v.lines[i], &v, i == 0);
    }
    printf("]");
    free(v.lines);
    return LEAT_OK;
}

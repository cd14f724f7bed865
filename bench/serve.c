/* SPDX-License-Identifier: Apache-2.0 */
/* A server's load on one model.
 *
 *   serve MODEL.onnx [--device D] [--plugins DIR] [--threads N]
 *     requests   [--shape NAME=1x3x224x224]... [--mixed NAME=1x3x192x192]... [--groups 1]
 *                [--lengths FILE --length DIMENSION]
 *     batcher    [--max-batch 32] [--instances N] [--pad DIMENSION] [--fifo 1] [--null A:B]
 *     load       [--rate R | --p99 MS | --users N | --trace FILE.csv] [--seconds 2]
 *                [--bursts ON_MS:OFF_MS] [--deadline MS] [--urgent R [--urgent-deadline MS]]
 *                [--overload 2] [--from R] [--json 1]
 *
 * --shape gives an input its shape (rows first); --mixed gives it further ones, so that requests
 * have shape 0, 1, 2, ... in turn. --lengths: a number a line, the length of DIMENSION in each
 * request in turn. --groups: requests carry tags 0, 1, ... in turn, and do not meet.
 *
 * --rate measures one rate, --trace the arrivals of a file ("SECONDS[,CLASS]"); --p99 looks for the
 * highest rate, by doubling (--from R) and halving, whose 99th percentile stays within that many
 * milliseconds with nothing refused, and --overload F then offers F times that rate with that
 * deadline: what is complete in time is the goodput. --users: each asks again when it is answered.
 * Requests are of class 1 where there are --urgent ones, which are of class 0 and arrive at random
 * at a rate of their own. Arrivals are at random (Poisson), with --bursts within ON_MS of every
 * ON_MS + OFF_MS only. Latency counts from the time at which a request was to arrive, also when it
 * could not be submitted in time ("coordinated omission"; Tene, 2013), in buckets of 1 %.
 *
 * --max-batch 1 is a server that does not batch, --fifo 1 one with a single queue that ends a batch
 * where shape or group change (serve/fifo.c). --null A:B: in place of the model one device that
 * takes A + B * rows microseconds, asleep. First the model is run directly, one request after the
 * other, and in batches of all sizes, so that plans are made. */
#include "serve/load.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct settings {
    const char *model, *device, *plugins, *pad, *lengths, *length, *trace;
    const char *shapes[MOST_INPUTS];
    size_t n_shapes;
    const char *mixed[MOST_INPUTS];
    size_t n_mixed;
    int threads, max_batch, instances, groups, users, fifo, json;
    double seconds, rate, p99_ms, on_ms, off_ms, null_us, null_row_us;
    double deadline_ms, urgent, urgent_deadline_ms, overload, from;
} settings;

/* ---- inputs ---------------------------------------------------------------------------------- */

/* The text behind NAME= if text is about that input. */
static const char *shape_for(const char *text, const char *name)
{
    size_t n = strlen(name);
    return strncmp(text, name, n) == 0 && text[n] == '=' ? text + n + 1 : NULL;
}

/* Numbers between -1 and 1, integers 0 or 1: what any table has. */
static void fill(leat_array *x, size_t count, uint64_t *seed)
{
    for (size_t i = 0; i < count; i++) {
        const double r = uniform(seed);
        switch (x->dtype) {
        case LEAT_DTYPE_F32:
            ((float *)x->data)[i] = (float)(2 * r - 1);
            break;
        case LEAT_DTYPE_F16: /* 1/8 to 1/4, either sign */
            ((uint16_t *)x->data)[i] =
                (uint16_t)(0x3000 | (uint32_t)(r * 65536) % 0x400 | (r < 0.5 ? 0x8000 : 0));
            break;
        case LEAT_DTYPE_I64:
            ((int64_t *)x->data)[i] = (int64_t)(r * 2);
            break;
        case LEAT_DTYPE_I32:
            ((int32_t *)x->data)[i] = (int32_t)(r * 2);
            break;
        case LEAT_DTYPE_U8:
            ((uint8_t *)x->data)[i] = (uint8_t)(r * 100);
            break;
        default:
            break; /* zeros */
        }
    }
}

/* length: of the dimension of that symbol, when it is not 0. */
static void make_array(const leat_io *io, const char *text, const char *symbol, int64_t length,
                       uint64_t *seed, leat_array *out)
{
    size_t count = 1;
    *out = (leat_array){.dtype = io->dtype, .rank = io->rank};
    for (int32_t d = 0; d < io->rank; d++) {
        char *end = NULL;
        out->shape[d] = text ? strtoll(text, &end, 10) : io->shape[d] < 0 ? 1 : io->shape[d];
        text = text && *end == 'x' ? end + 1 : text ? end : NULL;
        if (length > 0 && io->dim_names[d] != NULL && strcmp(io->dim_names[d], symbol) == 0) {
            out->shape[d] = length;
        }
        count *= (size_t)out->shape[d];
    }
    out->bytes = leat_dtype_bytes(io->dtype, count);
    out->data = calloc(1, out->bytes + 1);
    fill(out, count, seed);
}

/* The kinds of requests: --shape, and each --mixed; or one for each of the lengths. */
static void make_kind(const settings *s, load *l, size_t kind, const char *mixed, int64_t length)
{
    const leat_model_signature *io = leat_model_io(l->model);
    uint64_t seed = 7 + kind;
    for (size_t i = 0; i < io->n_inputs && i < MOST_INPUTS; i++) {
        const char *text = NULL;
        for (size_t j = 0; j < s->n_shapes; j++) {
            const char *own = shape_for(s->shapes[j], io->inputs[i].name);
            text = own ? own : text;
        }
        const char *other = mixed ? shape_for(mixed, io->inputs[i].name) : NULL;
        make_array(&io->inputs[i], other ? other : text, s->length, length, &seed,
                   &l->inputs[kind][i]);
    }
}

static void read_lengths(const settings *s, load *l)
{
    static uint32_t order[65536];
    int64_t lengths[MOST_KINDS];
    FILE *file = fopen(s->lengths, "r");
    long long length;
    if (file == NULL || s->length == NULL) {
        fail("--lengths FILE and --length DIMENSION", NULL);
    }
    while (l->n_order < sizeof(order) / sizeof(order[0]) && fscanf(file, "%lld", &length) == 1) {
        size_t k = 0;
        while (k < l->n_kinds && lengths[k] != length) {
            k++;
        }
        if (k == l->n_kinds && k < MOST_KINDS) {
            lengths[l->n_kinds++] = length;
            make_kind(s, l, k, NULL, length);
        }
        order[l->n_order++] = (uint32_t)k;
    }
    fclose(file);
    l->order = order;
}

static void make_inputs(const settings *s, load *l)
{
    l->n_inputs = leat_model_io(l->model)->n_inputs;
    l->n_groups = (size_t)s->groups;
    if (s->lengths != NULL) {
        read_lengths(s, l);
        return;
    }
    make_kind(s, l, l->n_kinds++, NULL, 0);
    for (size_t k = 0; k < s->n_mixed; k++) {
        make_kind(s, l, l->n_kinds++, s->mixed[k], 0);
    }
}

/* ---- load ------------------------------------------------------------------------------------ */

static void completed(void *user, leat_status status, const leat_array *outputs, size_t n_outputs,
                      const leat_error *error)
{
    (void)outputs;
    (void)n_outputs;
    (void)error;
    ticket_done(user, status);
}

static void wait_until(uint64_t due)
{
    uint64_t now = now_ns();
    if (now + 60000 < due) {
        const uint64_t ns = due - now - 50000;
        nanosleep(&(struct timespec){(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)}, NULL);
    }
    while (now_ns() < due) {
    }
}

/* Request number `index`, due at `due`. */
static ticket make_ticket(load *l, uint64_t index, uint64_t due, uint32_t class_index)
{
    return (ticket){.l = l,
                    .due = due,
                    .kind =
                        l->order ? l->order[index % l->n_order] : (uint32_t)(index % l->n_kinds),
                    .group = (uint32_t)(index % l->n_groups),
                    .class_index = class_index};
}

static leat_status submit(ticket *t, bool wait)
{
    load *l = t->l;
    const uint64_t deadline = l->deadline[t->class_index], waited = now_ns() - t->due;
    const leat_request_desc desc = {.struct_size = sizeof(desc),
                                    .inputs = l->inputs[t->kind],
                                    .n_inputs = l->n_inputs,
                                    .group = t->group,
                                    .class_index = t->class_index,
                                    .deadline_ns = deadline == 0       ? 0
                                                   : waited < deadline ? deadline - waited
                                                                       : 1,
                                    .done = completed,
                                    .done_user = t};
    atomic_store(&t->busy, 1);
    leat_status status = l->fifo != NULL ? (fifo_submit(l->fifo, t) ? LEAT_OK : LEAT_BUSY)
                         : wait          ? leat_batcher_run(l->batcher, &desc, NULL)
                                         : leat_batcher_submit(l->batcher, &desc, NULL, NULL);
    if (!wait && status != LEAT_OK) {
        atomic_store(&t->busy, 0);
    }
    return status;
}

static void drain(load *l)
{
    leat_error err;
    if (l->fifo != NULL) {
        fifo_drain(l->fifo);
    } else if (leat_batcher_drain(l->batcher, 0, &err) != LEAT_OK) {
        fail("drain", &err);
    }
}

static void counts(load *l, uint64_t *batches, uint64_t *rows)
{
    leat_batcher_stats stats = {.struct_size = sizeof(stats)};
    if (l->fifo != NULL) {
        fifo_counts(l->fifo, batches, rows);
        return;
    }
    leat_batcher_read_stats(l->batcher, &stats);
    *batches = stats.batches;
    *rows = stats.rows;
}

/* Milliseconds within which 99 % of a class's requests were begun since `before`, rounded up to a
 * bucket of the batcher's. */
static double begun_within(load *l, const leat_batcher_stats *before, uint32_t c)
{
    leat_batcher_stats now = {.struct_size = sizeof(now)};
    uint64_t total = 0, seen = 0;
    leat_batcher_read_stats(l->batcher, &now);
    for (int i = 0; i < LEAT_TIME_BUCKETS; i++) {
        total += now.queue[c].counts[i] - before->queue[c].counts[i];
    }
    for (int i = 0; i < LEAT_TIME_BUCKETS; i++) {
        seen += now.queue[c].counts[i] - before->queue[c].counts[i];
        if ((double)seen >= 0.99 * (double)total) {
            return ldexp(1e-3, i);
        }
    }
    return 0;
}

typedef struct result {
    double asked, took, rate, goodput, rows, p99;
    uint64_t refused;
} result;

static void print_class(const load *l, const settings *s, const result *r, uint32_t c)
{
    const times *t = &l->times[c];
    const double q[] = {times_quantile(t, 0.5), times_quantile(t, 0.9), times_quantile(t, 0.99),
                        times_quantile(t, 0.999)};
    if (s->json) {
        printf("{\"asked\": %.1f, \"class\": %u, \"completed_per_s\": %.1f, \"p50_ms\": %.4f, "
               "\"p90_ms\": %.4f, \"p99_ms\": %.4f, \"p999_ms\": %.4f, \"rows_per_batch\": %.2f, "
               "\"refused\": %llu, \"failed\": %llu, \"late\": %llu, \"in_time_per_s\": %.1f}\n",
               r->asked, c, (double)t->completed / r->took, q[0], q[1], q[2], q[3], r->rows,
               (unsigned long long)t->refused, (unsigned long long)t->failed,
               (unsigned long long)t->late, (double)(t->completed + t->failed - t->late) / r->took);
    } else {
        printf("%s%9.0f asked, %9.0f/s completed, ms: 50 %% %.3f, 90 %% %.3f, 99 %% %.3f, 99.9 %% "
               "%.3f; %.1f rows a batch, %llu refused, %llu late or failed",
               c == 0 && s->urgent > 0 ? "urgent: " : "", r->asked, (double)t->completed / r->took,
               q[0], q[1], q[2], q[3], r->rows, (unsigned long long)t->refused,
               (unsigned long long)t->late);
    }
}

/* One load for so many seconds; `rate` 0: the trace. Prints a line without its end. */
static result measure(load *l, const settings *s, double rate)
{
    enum {
        TICKETS = 8192
    };
    static ticket tickets[TICKETS];
    arrivals streams[CLASSES] = {{.rate = s->urgent, .seed = 5},
                                 {.rate = rate, .seed = 1, .on_ms = s->on_ms, .off_ms = s->off_ms}};
    if (s->trace != NULL) {
        arrivals_read(&streams[1], s->trace);
    }
    uint64_t before[2], after[2], sent = 0;
    const uint32_t bulk = s->urgent > 0 ? 1 : 0;
    for (int c = 0; c < CLASSES; c++) {
        times_clear(&l->times[c]);
    }
    counts(l, &before[0], &before[1]);
    leat_batcher_stats stats = {.struct_size = sizeof(stats)};
    if (l->batcher != NULL) {
        leat_batcher_read_stats(l->batcher, &stats);
    }
    uint32_t classes[CLASSES] = {0, bulk};
    double at[CLASSES] = {arrivals_next(&streams[0], &classes[0]),
                          arrivals_next(&streams[1], &classes[1])};
    const double end = s->trace != NULL ? INFINITY : s->seconds;
    const uint64_t begin = now_ns();
    for (;; sent++) {
        const int which = at[0] < at[1] ? 0 : 1;
        if (at[which] >= end || isinf(at[which])) {
            break;
        }
        ticket *t = &tickets[sent % TICKETS];
        const uint64_t due = begin + (uint64_t)(at[which] * 1e9);
        const uint32_t class_index = classes[which];
        wait_until(due);
        at[which] = arrivals_next(&streams[which], &classes[which]);
        if (atomic_load(&t->busy)) {
            l->times[class_index].refused++;
            continue;
        }
        *t = make_ticket(l, sent, due, class_index);
        l->times[class_index].refused += submit(t, false) != LEAT_OK;
    }
    drain(l);
    result r = {.asked = rate, .took = (double)(now_ns() - begin) / 1e9};
    counts(l, &after[0], &after[1]);
    r.rows = (double)(after[1] - before[1]) / (double)(after[0] - before[0]);
    for (uint32_t c = 0; c < CLASSES; c++) {
        const times *t = &l->times[c];
        r.refused += t->refused + t->failed;
        if (c == bulk || t->completed + t->refused + t->failed > 0) {
            print_class(l, s, &r, c);
            if (c < bulk && !s->json && l->batcher != NULL) {
                printf("; 99 %% begun within %.3f ms", begun_within(l, &stats, c));
            }
            printf(c < bulk && !s->json ? "\n" : "");
        }
    }
    const times *t = &l->times[bulk];
    r.p99 = times_quantile(t, 0.99);
    r.rate = (double)t->completed / r.took;
    r.goodput = (double)(t->completed + t->failed - t->late) / r.took;
    return r;
}

static bool good(load *l, const settings *s, double rate)
{
    const result r = measure(l, s, rate);
    const bool within = r.refused == 0 && r.p99 <= s->p99_ms;
    printf(s->json ? "" : within ? "  within\n" : "  beyond\n");
    fflush(stdout);
    return within;
}

/* A second time where the first was beyond: others may have disturbed it. */
static bool within(load *l, const settings *s, double rate)
{
    return good(l, s, rate) || good(l, s, rate);
}

static double search(load *l, const settings *s, double direct_rate)
{
    double low = 0, high = s->from > 0 ? s->from : direct_rate / 4;
    while (high < 1e7 && within(l, s, high)) {
        low = high;
        high *= 2;
    }
    while (low == 0 && high > 1) { /* not even the first */
        high /= 2;
        low = within(l, s, high) ? high : 0;
        high = low > 0 ? 2 * low : high;
    }
    for (int i = 0; i < 5 && low > 0; i++) {
        const double middle = sqrt(low * high);
        *(within(l, s, middle) ? &low : &high) = middle;
    }
    printf(
        s->json
            ? "{\"p99_bound_ms\": %.3f, \"highest_per_s\": %.1f, \"of_direct\": %.3f}\n"
            : "highest rate with 99 %% within %.3f ms: %.0f requests/s, %.2f times one after the "
              "other\n",
        s->p99_ms, low, low / direct_rate);
    return low;
}

static void overload(load *l, const settings *s, double peak)
{
    settings own = *s;
    own.seconds = 2 * s->seconds;
    l->deadline[0] = l->deadline[1] = (uint64_t)(s->p99_ms * 1e6);
    const result r = measure(l, &own, s->overload * peak);
    printf(s->json ? "{\"overload\": %.2f, \"goodput_per_s\": %.1f, \"of_peak\": %.4f}\n"
                   : "\n%.2f times that rate: %.0f/s complete in time, %.3f of it\n",
           s->overload, r.goodput, r.goodput / peak);
}

typedef struct user {
    load *l;
    pthread_t thread;
    size_t index;
    uint64_t until;
} user;

static void *ask_again(void *argument)
{
    user *u = argument;
    for (uint64_t i = u->index; now_ns() < u->until; i++) {
        ticket t = make_ticket(u->l, i, now_ns(), 0);
        if (submit(&t, true) == LEAT_BUSY) {
            atomic_fetch_add(&u->l->times[0].failed, 1); /* others are counted by `completed` */
        }
    }
    return NULL;
}

static void closed_loop(load *l, const settings *s)
{
    static user users[1024];
    const int n = s->users < 1024 ? s->users : 1024;
    times *t = &l->times[0];
    times_clear(t);
    const uint64_t begin = now_ns();
    for (int i = 0; i < n; i++) {
        users[i] =
            (user){.l = l, .index = (size_t)i, .until = begin + (uint64_t)(s->seconds * 1e9)};
        if (pthread_create(&users[i].thread, NULL, ask_again, &users[i]) != 0) {
            fail("thread", NULL);
        }
    }
    for (int i = 0; i < n; i++) {
        pthread_join(users[i].thread, NULL);
    }
    const double took = (double)(now_ns() - begin) / 1e9;
    printf(
        s->json
            ? "{\"users\": %d, \"per_s\": %.1f, \"mean_ms\": %.4f, \"p50_ms\": %.4f, \"p90_ms\": "
              "%.4f, \"p99_ms\": %.4f, \"p999_ms\": %.4f, \"errors\": %llu}\n"
            : "%d users: %.0f/s, ms: mean %.3f, 50 %% %.3f, 90 %% %.3f, 99 %% %.3f, 99.9 %% %.3f; "
              "%llu errors\n",
        n, (double)t->completed / took, took * 1e3 * n / (double)t->completed,
        times_quantile(t, 0.5), times_quantile(t, 0.9), times_quantile(t, 0.99),
        times_quantile(t, 0.999), (unsigned long long)t->failed);
}

/* One device that takes so long, in place of the model: outputs are zeros. */
typedef struct null_device {
    pthread_mutex_t lock;
    uint64_t free_at; /* when what was asked of it so far is done, in the order it was asked */
    double fixed_us, row_us;
    const leat_model_signature *io;
    void *zeros;
    size_t zero_bytes;
} null_device;

static leat_status null_run(void *opaque, int32_t instance, const leat_array *inputs,
                            size_t n_inputs, leat_array *outputs, size_t n_outputs, leat_error *err)
{
    null_device *d = opaque;
    const int64_t rows = inputs[0].shape[0];
    const uint64_t ns = (uint64_t)((d->fixed_us + d->row_us * (double)rows) * 1e3);
    (void)instance;
    (void)n_inputs;
    (void)err;
    pthread_mutex_lock(&d->lock);
    const uint64_t begin = now_ns();
    d->free_at = (d->free_at > begin ? d->free_at : begin) + ns;
    const uint64_t end = d->free_at;
    pthread_mutex_unlock(&d->lock);
    nanosleep(&(struct timespec){(time_t)((end - begin) / 1000000000u),
                                 (long)((end - begin) % 1000000000u)},
              NULL);
    for (size_t o = 0; o < n_outputs; o++) {
        const leat_io *io = &d->io->outputs[o];
        outputs[o] = (leat_array){.dtype = io->dtype,
                                  .rank = 1,
                                  .shape = {rows},
                                  .data = d->zeros,
                                  .bytes = leat_dtype_bytes(io->dtype, (size_t)rows)};
    }
    return LEAT_OK;
}

/* Every batch size of every kind, before anything is measured; on the CPU plans cost next to
 * nothing.
 */
static void warm(load *l, const settings *s)
{
    leat_error err;
    bool seen[65536] = {false};
    for (size_t k = 0; k < l->n_kinds && s->null_us == 0 && s->device != NULL; k++) {
        if (l->fifo != NULL) {
            fifo_warm(l->fifo, k);
            continue;
        }
        /* Lengths that are padded to the same need it once: the longest of a step of 8 will do. */
        const leat_array *x = &l->inputs[k][0];
        const int64_t step = s->lengths && s->pad && x->rank > 1 ? (x->shape[1] + 7) / 8 : -1;
        if (step >= 0 && step < 65536) {
            if (seen[step]) {
                continue;
            }
            seen[step] = true;
        }
        for (size_t g = 0; g < l->n_groups; g++) {
            if (leat_batcher_warm(l->batcher, l->inputs[k], l->n_inputs, g, &err) != LEAT_OK) {
                fail("warming up", &err);
            }
        }
    }
}

/* Requests one after the other on a session. Returns requests a second by the median. */
static double run_directly(load *l, const settings *s, const leat_session_desc *desc)
{
    leat_session *session;
    leat_error err;
    leat_array outputs[MOST_OUTPUTS] = {{0}};
    const size_t n_outputs = leat_model_io(l->model)->n_outputs;
    const size_t n = l->order ? l->n_order : l->n_kinds;
    if (s->null_us > 0) {
        return 1e6 / (s->null_us + s->null_row_us);
    }
    if (leat_session_create(l->model, desc, &session, &err) != LEAT_OK) {
        fail("session", &err);
    }
    uint64_t total = 0;
    const int rounds = (int)(299 / n + 1) * (int)n;
    for (int i = -rounds; i < rounds; i++) { /* the first half makes plans */
        const uint32_t kind =
            l->order ? l->order[(size_t)(i + rounds) % n] : (uint32_t)((size_t)(i + rounds) % n);
        const uint64_t begin = now_ns();
        memset(outputs, 0, sizeof(outputs));
        if (leat_session_run(session, l->inputs[kind], l->n_inputs, outputs, n_outputs, &err) !=
            LEAT_OK) {
            fail("run", &err);
        }
        if (i >= 0) {
            const uint64_t ns = now_ns() - begin;
            total += ns;
            times_note(&l->times[0], ns);
        }
    }
    leat_session_destroy(session);
    const double median = times_quantile(&l->times[0], 0.5), rate = 1e9 * rounds / (double)total;
    printf(s->json ? "{\"direct_median_ms\": %.4f, \"direct_per_s\": %.1f}\n"
                   : "one after the other: median %.3f ms, %.0f/s\n",
           median, rate);
    return rate;
}

static bool read_text(settings *s, const char *name, const char *value)
{
    const struct {
        const char *name;
        const char **at;
    } texts[] = {{"--device", &s->device},   {"--plugins", &s->plugins}, {"--pad", &s->pad},
                 {"--lengths", &s->lengths}, {"--length", &s->length},   {"--trace", &s->trace}};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (strcmp(name, texts[i].name) == 0) {
            *texts[i].at = value;
            return true;
        }
    }
    if (strcmp(name, "--shape") == 0 && s->n_shapes < MOST_INPUTS) {
        s->shapes[s->n_shapes++] = value;
        return true;
    }
    if (strcmp(name, "--mixed") == 0 && s->n_mixed < MOST_INPUTS) {
        s->mixed[s->n_mixed++] = value;
        return true;
    }
    return false;
}

static bool read_number(settings *s, const char *name, const char *value)
{
    const struct {
        const char *name;
        int *whole;
        double *real, *second; /* behind a colon */
    } numbers[] = {{"--threads", &s->threads, NULL, NULL},
                   {"--max-batch", &s->max_batch, NULL, NULL},
                   {"--instances", &s->instances, NULL, NULL},
                   {"--users", &s->users, NULL, NULL},
                   {"--groups", &s->groups, NULL, NULL},
                   {"--fifo", &s->fifo, NULL, NULL},
                   {"--json", &s->json, NULL, NULL},
                   {"--seconds", NULL, &s->seconds, NULL},
                   {"--rate", NULL, &s->rate, NULL},
                   {"--p99", NULL, &s->p99_ms, NULL},
                   {"--deadline", NULL, &s->deadline_ms, NULL},
                   {"--urgent", NULL, &s->urgent, NULL},
                   {"--urgent-deadline", NULL, &s->urgent_deadline_ms, NULL},
                   {"--overload", NULL, &s->overload, NULL},
                   {"--from", NULL, &s->from, NULL},
                   {"--bursts", NULL, &s->on_ms, &s->off_ms},
                   {"--null", NULL, &s->null_us, &s->null_row_us}};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (strcmp(name, numbers[i].name) != 0) {
            continue;
        }
        char *end;
        const double number = strtod(value, &end);
        if (number < 0 || end == value) {
            return false;
        }
        if (numbers[i].whole != NULL) {
            *numbers[i].whole = (int)number;
        } else {
            *numbers[i].real = number;
        }
        if (numbers[i].second != NULL) {
            *numbers[i].second = *end == ':' ? strtod(end + 1, NULL) : 0;
        }
        return true;
    }
    return false;
}

static settings read_settings(int argc, char **argv)
{
    settings s = {.max_batch = 32, .groups = 1, .seconds = 2};
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strncmp(name, "--", 2) != 0) {
            s.model = name;
            continue;
        }
        if (value == NULL || !(read_text(&s, name, value) || read_number(&s, name, value))) {
            fail(name, NULL);
        }
        i++;
    }
    s.groups = s.groups < 1 ? 1 : s.groups;
    if (s.model == NULL || (s.rate <= 0 && s.p99_ms <= 0 && s.users <= 0 && s.trace == NULL)) {
        fail("MODEL and --rate, --p99, --users or --trace are needed", NULL);
    }
    return s;
}

static void open_server(load *l, const settings *s, const leat_session_desc *session)
{
    static null_device device;
    leat_error err;
    leat_batcher_desc desc = {.struct_size = sizeof(desc),
                              .max_batch_size = s->max_batch,
                              .n_instances = s->instances,
                              .queue_limit = 8192,
                              .max_keys = 2048,
                              .pad_dimension = s->pad,
                              .session = session};
    if (s->null_us > 0) {
        device = (null_device){.fixed_us = s->null_us,
                               .row_us = s->null_row_us,
                               .io = leat_model_io(l->model),
                               .zeros = calloc(65536, 16)};
        pthread_mutex_init(&device.lock, NULL);
        desc.run = null_run;
        desc.run_user = &device;
    }
    if (s->fifo != 0) {
        l->fifo = fifo_create(l, session, s->instances > 0 ? s->instances : 1, s->max_batch);
    } else if (leat_batcher_create(l->model, &desc, &l->batcher, &err) != LEAT_OK) {
        fail("batcher", &err);
    }
    warm(l, s);
}

static void put_load(load *l, const settings *s, double direct_rate)
{
    l->deadline[0] = (uint64_t)((s->urgent > 0 ? s->urgent_deadline_ms : s->deadline_ms) * 1e6);
    l->deadline[1] = (uint64_t)(s->deadline_ms * 1e6);
    if (s->users > 0) {
        closed_loop(l, s);
    } else if (s->p99_ms > 0 && s->rate <= 0) {
        const double peak = search(l, s, direct_rate);
        if (s->overload > 0) {
            overload(l, s, peak);
        }
    } else {
        const result r = measure(l, s, s->rate);
        printf(s->json ? "" : "; %.0f/s in time\n", r.goodput);
    }
}

int main(int argc, char **argv)
{
    static load l;
    const settings s = read_settings(argc, argv);
    leat_error err;
    leat_context *context;
    const leat_context_desc context_desc = {
        .struct_size = sizeof(context_desc), .threads = s.threads, .plugin_directory = s.plugins};
    const leat_session_desc session = {.struct_size = sizeof(session),
                                       .devices = s.device ? &s.device : NULL,
                                       .n_devices = s.device ? 1 : 0,
                                       .max_plans = 4096};
    if (leat_context_create(&context_desc, &context, &err) != LEAT_OK ||
        leat_model_load(context, s.model, NULL, &l.model, &err) != LEAT_OK) {
        fail("load", &err);
    }
    make_inputs(&s, &l);
    const double direct_rate = run_directly(&l, &s, &session);
    open_server(&l, &s, &session);
    put_load(&l, &s, direct_rate);
    if (l.fifo != NULL) {
        fifo_destroy(l.fifo);
    }
    leat_batcher_destroy(l.batcher);
    leat_model_destroy(l.model);
    leat_context_destroy(context);
    return 0;
}

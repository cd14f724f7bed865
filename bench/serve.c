/* SPDX-License-Identifier: Apache-2.0 */
/* A server's load on one model: requests that arrive at random (Poisson, open loop), batched or
 * not.
 *
 *   serve MODEL.onnx [--device D] [--plugins DIR] [--threads N] [--shape NAME=1x3x224x224]...
 *         [--mixed NAME=1x3x192x192]... [--groups 1] [--max-batch 32] [--instances N] [--pad
 * DIMENSION]
 *         [--seconds 2] [--rate R | --p99 MS | --users N]
 *
 * --shape gives an input its shape (rows first); --mixed gives it further ones, so that requests
 * have shape 0, 1, 2, ... in turn. Inputs are zeros. Latency counts from the time at which a
 * request was to arrive, also when it could not be submitted in time ("coordinated omission"; Tene,
 * 2013), and is kept in buckets of 1 %. --rate measures one rate; --p99 looks for the highest rate,
 * by halving, whose 99th percentile stays within that many milliseconds with nothing refused. First
 * the model is run directly, one request after the other, and once in batches of all sizes, so that
 * plans are made. Each line: requests/s asked and completed, latency at 50, 90, 99 and 99.9 %, rows
 * a batch. */
#include <leat/batcher.h>

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MOST_INPUTS = 16,
    MOST_SHAPES = 8,
    BUCKETS = 3000 /* 1 % each from 100 ns: up to 10^6 s */
};

typedef struct settings {
    const char *model, *device, *plugins, *pad;
    const char *shapes[MOST_INPUTS];
    size_t n_shapes;
    const char *mixed[MOST_SHAPES];
    size_t n_mixed;
    int threads, max_batch, instances, groups, users;
    double seconds, rate, p99_ms;
} settings;

typedef struct load {
    leat_batcher *batcher;
    leat_array inputs[MOST_SHAPES][MOST_INPUTS];
    size_t n_kinds, n_groups;
    size_t n_inputs;
    _Atomic uint64_t buckets[BUCKETS];
    _Atomic uint64_t completed, failed;
} load;

/* What a callback needs: the time at which its request was to arrive. */
typedef struct ticket {
    load *l;
    uint64_t due;
    _Atomic int busy;
} ticket;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void fail(const char *what, const leat_error *err)
{
    fprintf(stderr, "serve: %s: %s\n", what, err ? err->message : "");
    exit(1);
}

static void note(load *l, uint64_t ns)
{
    double bucket = log((double)(ns < 100 ? 100 : ns) / 100) / log(1.01);
    atomic_fetch_add(&l->buckets[bucket < BUCKETS - 1 ? (int)bucket : BUCKETS - 1], 1);
}

/* Milliseconds below which this part of all lie. */
static double quantile(const load *l, double part)
{
    uint64_t total = 0, seen = 0;
    for (int i = 0; i < BUCKETS; i++) {
        total += l->buckets[i];
    }
    for (int i = 0; i < BUCKETS; i++) {
        seen += l->buckets[i];
        if (seen > 0 && (double)seen >= part * (double)total) {
            return 100 * pow(1.01, i + 1) / 1e6;
        }
    }
    return 0;
}

static double uniform(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return ((double)(*seed >> 11) + 0.5) / 9007199254740992.0;
}

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

static void make_array(const leat_io *io, const char *text, uint64_t *seed, leat_array *out)
{
    size_t count = 1;
    *out = (leat_array){.dtype = io->dtype, .rank = io->rank};
    for (int32_t d = 0; d < io->rank; d++) {
        char *end = NULL;
        out->shape[d] = text ? strtoll(text, &end, 10) : io->shape[d] < 0 ? 1 : io->shape[d];
        text = text && *end == 'x' ? end + 1 : text ? end : NULL;
        count *= (size_t)out->shape[d];
    }
    out->bytes = leat_dtype_bytes(io->dtype, count);
    out->data = calloc(1, out->bytes + 1);
    fill(out, count, seed);
}

static void make_inputs(const settings *s, const leat_model_signature *io, load *l)
{
    l->n_inputs = io->n_inputs;
    l->n_kinds = 1 + s->n_mixed;
    uint64_t seed = 7;
    for (size_t k = 0; k < l->n_kinds; k++) {
        for (size_t i = 0; i < io->n_inputs && i < MOST_INPUTS; i++) {
            const char *text = NULL;
            for (size_t j = 0; j < s->n_shapes; j++) {
                const char *own = shape_for(s->shapes[j], io->inputs[i].name);
                text = own ? own : text;
            }
            const char *other = k > 0 ? shape_for(s->mixed[k - 1], io->inputs[i].name) : NULL;
            make_array(&io->inputs[i], other ? other : text, &seed, &l->inputs[k][i]);
        }
    }
}

/* ---- load ------------------------------------------------------------------------------------ */

static void completed(void *user, leat_status status, const leat_array *outputs, size_t n_outputs,
                      const leat_error *error)
{
    ticket *t = user;
    (void)outputs;
    (void)n_outputs;
    (void)error;
    note(t->l, now_ns() - t->due);
    atomic_fetch_add(status == LEAT_OK ? &t->l->completed : &t->l->failed, 1);
    atomic_store(&t->busy, 0);
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

static leat_status submit(load *l, ticket *t, size_t kind, uint64_t group)
{
    const leat_request_desc desc = {.struct_size = sizeof(desc),
                                    .inputs = l->inputs[kind],
                                    .n_inputs = l->n_inputs,
                                    .group = group,
                                    .done = completed,
                                    .done_user = t};
    atomic_store(&t->busy, 1);
    leat_status status = leat_batcher_submit(l->batcher, &desc, NULL, NULL);
    if (status != LEAT_OK) {
        atomic_store(&t->busy, 0);
    }
    return status;
}

/* One rate for so many seconds. Returns whether p99 is within the bound, nothing refused. */
static bool measure(load *l, double rate, double seconds, double p99_ms)
{
    enum {
        TICKETS = 8192
    };
    static ticket tickets[TICKETS];
    uint64_t seed = 1, refused = 0, sent = 0;
    leat_error err;
    leat_batcher_stats before = {.struct_size = sizeof(before)}, after = before;
    memset(l->buckets, 0, sizeof(l->buckets));
    l->completed = l->failed = 0;
    leat_batcher_read_stats(l->batcher, &before);
    const uint64_t begin = now_ns();
    for (double at = 0; at < seconds; at += -log(uniform(&seed)) / rate, sent++) {
        ticket *t = &tickets[sent % TICKETS];
        const uint64_t due = begin + (uint64_t)(at * 1e9);
        wait_until(due);
        if (atomic_load(&t->busy)) {
            refused++;
            continue;
        }
        *t = (ticket){.l = l, .due = due};
        refused += submit(l, t, sent % l->n_kinds, sent % l->n_groups) != LEAT_OK;
    }
    if (leat_batcher_drain(l->batcher, 0, &err) != LEAT_OK) {
        fail("drain", &err);
    }
    const double took = (double)(now_ns() - begin) / 1e9;
    leat_batcher_read_stats(l->batcher, &after);
    const double p99 = quantile(l, 0.99);
    const bool good = refused == 0 && l->failed == 0 && (p99_ms == 0 || p99 <= p99_ms);
    printf("%9.0f asked, %9.0f/s completed, ms: 50 %% %.3f, 90 %% %.3f, 99 %% %.3f, 99.9 %% %.3f; "
           "%.1f rows a batch, %llu refused%s\n",
           rate, (double)l->completed / took, quantile(l, 0.5), quantile(l, 0.9), p99,
           quantile(l, 0.999),
           (double)(after.rows - before.rows) / (double)(after.batches - before.batches),
           (unsigned long long)refused,
           p99_ms == 0 ? ""
           : good      ? "  within"
                       : "  beyond");
    fflush(stdout);
    return good;
}

/* A second time where the first was beyond: batches of a new size may have made a plan then. */
static bool within(load *l, const settings *s, double rate)
{
    return measure(l, rate, s->seconds, s->p99_ms) || measure(l, rate, s->seconds, s->p99_ms);
}

static void search(load *l, const settings *s, double direct_rate)
{
    double low = 0, high = direct_rate / 4;
    while (high < 1e7 && within(l, s, high)) {
        low = high;
        high *= 2;
    }
    for (int i = 0; i < 5 && low > 0; i++) {
        const double middle = sqrt(low * high);
        *(within(l, s, middle) ? &low : &high) = middle;
    }
    printf(
        "highest rate with 99 %% within %.3f ms: %.0f requests/s, %.2f times one after the other\n",
        s->p99_ms, low, low / direct_rate);
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
        ticket t = {.l = u->l, .due = now_ns()};
        const leat_request_desc desc = {.struct_size = sizeof(desc),
                                        .inputs = u->l->inputs[i % u->l->n_kinds],
                                        .n_inputs = u->l->n_inputs,
                                        .group = i % u->l->n_groups,
                                        .done = completed,
                                        .done_user = &t};
        if (leat_batcher_run(u->l->batcher, &desc, NULL) == LEAT_BUSY) {
            atomic_fetch_add(&u->l->failed, 1); /* other failures are counted by `completed` */
        }
    }
    return NULL;
}

static void closed_loop(load *l, const settings *s)
{
    static user users[1024];
    const int n = s->users < 1024 ? s->users : 1024;
    memset(l->buckets, 0, sizeof(l->buckets));
    l->completed = l->failed = 0;
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
        "%d users: %.0f/s, ms: mean %.3f, 50 %% %.3f, 90 %% %.3f, 99 %% %.3f, 99.9 %% %.3f; %llu "
        "errors\n",
        n, (double)l->completed / took, took * 1e3 * n / (double)l->completed, quantile(l, 0.5),
        quantile(l, 0.9), quantile(l, 0.99), quantile(l, 0.999), (unsigned long long)l->failed);
}

/* Every batch size of every kind, on all instances at a time: as groups, which do not meet. Three
 * times, since a device's graph is made from the second run on. */
static void warm(load *l, const settings *s)
{
    static ticket tickets[8192];
    const int instances = s->instances > 0 ? s->instances : 2;
    leat_error err;
    for (size_t k = 0; k < l->n_kinds; k++) {
        for (int n = 1; n <= s->max_batch; n++) {
            for (int i = 0; i < 3 * n * instances && i < 8192; i++) {
                tickets[i] = (ticket){.l = l, .due = now_ns()};
                if (submit(l, &tickets[i], k, 1000 + (uint64_t)(i / n % instances)) != LEAT_OK) {
                    fail("warming up", NULL);
                }
                if (i % (n * instances) == n * instances - 1 &&
                    leat_batcher_drain(l->batcher, 0, &err) != LEAT_OK) {
                    fail("warming up", &err);
                }
            }
        }
    }
}

/* Requests one after the other on a session. Returns requests a second by the median. */
static double run_directly(load *l, leat_model *model, const leat_session_desc *desc)
{
    leat_session *session;
    leat_error err;
    leat_array outputs[64] = {{0}};
    const size_t n_outputs = leat_model_io(model)->n_outputs;
    if (leat_session_create(model, desc, &session, &err) != LEAT_OK) {
        fail("session", &err);
    }
    for (int i = -20; i < 300; i++) {
        const uint64_t begin = now_ns();
        memset(outputs, 0, sizeof(outputs));
        if (leat_session_run(session, l->inputs[0], l->n_inputs, outputs, n_outputs, &err) !=
            LEAT_OK) {
            fail("run", &err);
        }
        if (i >= 0) {
            note(l, now_ns() - begin);
        }
    }
    leat_session_destroy(session);
    const double median = quantile(l, 0.5);
    printf("one after the other: median %.3f ms, %.0f/s\n", median, 1e3 / median);
    return 1e3 / median;
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
        if (value == NULL) {
            fail(name, NULL);
        }
        i++;
        if (strcmp(name, "--device") == 0) {
            s.device = value;
        } else if (strcmp(name, "--plugins") == 0) {
            s.plugins = value;
        } else if (strcmp(name, "--pad") == 0) {
            s.pad = value;
        } else if (strcmp(name, "--shape") == 0 && s.n_shapes < MOST_INPUTS) {
            s.shapes[s.n_shapes++] = value;
        } else if (strcmp(name, "--mixed") == 0 && s.n_mixed < MOST_SHAPES - 1) {
            s.mixed[s.n_mixed++] = value;
        } else if (strcmp(name, "--threads") == 0) {
            s.threads = atoi(value);
        } else if (strcmp(name, "--max-batch") == 0) {
            s.max_batch = atoi(value);
        } else if (strcmp(name, "--instances") == 0) {
            s.instances = atoi(value);
        } else if (strcmp(name, "--users") == 0) {
            s.users = atoi(value);
        } else if (strcmp(name, "--groups") == 0) {
            s.groups = atoi(value) > 0 ? atoi(value) : 1;
        } else if (strcmp(name, "--seconds") == 0) {
            s.seconds = atof(value);
        } else if (strcmp(name, "--rate") == 0) {
            s.rate = atof(value);
        } else if (strcmp(name, "--p99") == 0) {
            s.p99_ms = atof(value);
        } else {
            fail(name, NULL);
        }
    }
    if (s.model == NULL || (s.rate <= 0 && s.p99_ms <= 0 && s.users <= 0)) {
        fail("MODEL and --rate, --p99 or --users are needed", NULL);
    }
    return s;
}

int main(int argc, char **argv)
{
    static load l;
    const settings s = read_settings(argc, argv);
    leat_error err;
    leat_context *context;
    leat_model *model;
    const leat_context_desc context_desc = {
        .struct_size = sizeof(context_desc), .threads = s.threads, .plugin_directory = s.plugins};
    const leat_session_desc session = {.struct_size = sizeof(session),
                                       .devices = s.device ? &s.device : NULL,
                                       .n_devices = s.device ? 1 : 0,
                                       .max_plans = 1024};
    const leat_batcher_desc desc = {.struct_size = sizeof(desc),
                                    .max_batch_size = s.max_batch,
                                    .n_instances = s.instances,
                                    .queue_limit = 8192,
                                    .pad_dimension = s.pad,
                                    .session = &session};
    if (leat_context_create(&context_desc, &context, &err) != LEAT_OK ||
        leat_model_load(context, s.model, NULL, &model, &err) != LEAT_OK) {
        fail("load", &err);
    }
    make_inputs(&s, leat_model_io(model), &l);
    const double direct_rate = run_directly(&l, model, &session);
    if (leat_batcher_create(model, &desc, &l.batcher, &err) != LEAT_OK) {
        fail("batcher", &err);
    }
    warm(&l, &s);
    l.n_groups = (size_t)s.groups;
    if (s.users > 0) {
        closed_loop(&l, &s);
    } else if (s.rate > 0) {
        (void)measure(&l, s.rate, s.seconds, 0);
    } else {
        search(&l, &s, direct_rate);
    }
    leat_batcher_destroy(l.batcher);
    leat_model_destroy(model);
    leat_context_destroy(context);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes -> model -> batcher without threads, by a clock of its own, and requests of other rows and
 * lengths that are put together, padded, filled up, cancelled and answered from what was kept.
 * Every request that is accepted must complete, once, and what it is told must be readable. */
#include "fuzz/inputs.h"

#include <leat/batcher.h>
#include <stdlib.h>
#include <string.h>

#define MOST_IO 8
#define REQUESTS 10
#define MOST_FLOPS 2000000u

typedef struct request {
    leat_array in[MOST_IO];
    size_t made;
    int completed;
    leat_request *handle;
} request;

typedef struct world {
    leat_batcher *batcher;
    const leat_model_signature *io;
    fuzz_numbers *n;
    uint64_t now;
    int reports;
    request requests[REQUESTS];
} world;

static int stop_loops(void *user, const char *stage, uint64_t done, uint64_t total)
{
    (void)stage;
    (void)done;
    (void)total;
    return ++((world *)user)->reports > 200;
}

static uint64_t clock_of_world(void *user)
{
    return ((world *)user)->now += 1000;
}

static void completed(void *user, leat_status status, const leat_array *outputs, size_t n_outputs,
                      const leat_error *error)
{
    request *r = user;
    unsigned sum = 0;
    if (++r->completed > 1 || (status == LEAT_OK) != (outputs != NULL) ||
        (status != LEAT_OK) != (error != NULL)) {
        fuzz_fail("a request that was told twice, or half");
    }
    for (size_t i = 0; outputs != NULL && i < n_outputs; i++) {
        for (size_t k = 0; k < outputs[i].bytes; k++) {
            sum += ((const unsigned char *)outputs[i].data)[k];
        }
    }
    (void)sum; /* read for the sanitizers' sake */
}

static int make(world *w, request *r)
{
    const int64_t unknown = 1 + (int64_t)(fuzz_next(w->n) % 4);
    while (r->made < w->io->n_inputs &&
           fuzz_make_input(&w->io->inputs[r->made], unknown, w->n, &r->in[r->made])) {
        r->made++;
    }
    return r->made == w->io->n_inputs;
}

/* The symbol of a dimension behind the first, if one has one. */
static const char *symbol_of(const leat_model_signature *io)
{
    for (size_t i = 0; i < io->n_inputs; i++) {
        for (int32_t d = 1; d < io->inputs[i].rank; d++) {
            if (io->inputs[i].dim_names[d] != NULL) {
                return io->inputs[i].dim_names[d];
            }
        }
    }
    return NULL;
}

static void submit(world *w, request *r)
{
    leat_error err;
    const leat_request_desc desc = {.struct_size = sizeof(desc),
                                    .inputs = r->in,
                                    .n_inputs = r->made,
                                    .n_outputs = w->io->n_outputs,
                                    .deadline_ns = fuzz_next(w->n) % 4 ? 0 : 50000,
                                    .class_index = (uint32_t)(fuzz_next(w->n) % 2),
                                    .group = fuzz_next(w->n) % 4 == 0,
                                    .done = completed,
                                    .done_user = r};
    const leat_status status = leat_batcher_submit(w->batcher, &desc, &r->handle, &err);
    if (status != LEAT_OK) {
        r->handle = NULL;
        if (r->completed != 0) {
            fuzz_fail("a request that was refused and told");
        }
        r->completed = 1;
    }
}

static void serve(world *w)
{
    leat_error err;
    for (size_t i = 0; i < REQUESTS; i++) {
        request *r = &w->requests[i];
        if (make(w, r)) {
            submit(w, r);
        } else {
            r->completed = 1;
        }
        switch (fuzz_next(w->n) % 8) {
        case 0:
            (void)!leat_batcher_poll(w->batcher, NULL, &err);
            break;
        case 1:
            if (r->handle != NULL) {
                (void)!leat_request_cancel(r->handle, &err);
            }
            break;
        case 2:
            (void)!leat_batcher_warm(w->batcher, r->in, r->made, 0, &err);
            break;
        default:
            break;
        }
    }
    (void)!leat_batcher_drain(w->batcher, 0, &err);
    for (size_t i = 0; i < REQUESTS; i++) {
        leat_request_release(w->requests[i].handle);
        if (w->requests[i].completed != 1) {
            fuzz_fail("a request without an end");
        }
    }
}

/* Whether the largest requests are no work for seconds. */
static int is_bearable(world *w, leat_model *model, const leat_session_desc *desc)
{
    leat_error err;
    leat_session *session;
    request r = {.made = 0};
    int good = 0;
    if (leat_session_create(model, desc, &session, &err) == LEAT_OK) {
        while (r.made < w->io->n_inputs &&
               fuzz_make_input(&w->io->inputs[r.made], 8, w->n, &r.in[r.made])) {
            r.made++;
        }
        good = r.made == w->io->n_inputs && fuzz_is_bearable(session, r.in, r.made, MOST_FLOPS);
        leat_session_destroy(session);
    }
    for (size_t k = 0; k < r.made; k++) {
        free(r.in[k].data);
    }
    return good;
}

static void run(leat_model *model, world *w)
{
    static const int64_t lengths[] = {2, 3, 8};
    static const int32_t sizes[] = {2, 5};
    leat_error err;
    const leat_session_desc session = {
        .struct_size = sizeof(session), .progress = stop_loops, .progress_user = w};
    const uint64_t kind = fuzz_next(w->n);
    const leat_batcher_desc desc = {.struct_size = sizeof(desc),
                                    .max_batch_size = 6,
                                    .batch_sizes = kind & 1 ? sizes : NULL,
                                    .n_batch_sizes = kind & 1 ? 2 : 0,
                                    .timeout_ns = kind & 2 ? UINT64_MAX : 20000,
                                    .queue_limit = 8,
                                    .n_instances = 1,
                                    .no_threads = 1,
                                    .n_classes = 2,
                                    .stage_inputs = kind & 4 ? 1 : 0,
                                    .session = &session,
                                    .pad_dimension = kind & 8 ? symbol_of(w->io) : NULL,
                                    .pad_lengths = lengths,
                                    .n_pad_lengths = 3,
                                    .answer_bytes = kind & 16 ? 16384 : 0,
                                    .clock = clock_of_world,
                                    .clock_user = w};
    if (is_bearable(w, model, &session) &&
        leat_batcher_create(model, &desc, &w->batcher, &err) == LEAT_OK) {
        serve(w);
        leat_batcher_destroy(w->batcher);
    }
    for (size_t i = 0; i < REQUESTS; i++) {
        for (size_t k = 0; k < w->requests[i].made; k++) {
            free(w->requests[i].in[k].data);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    fuzz_context fuzz;
    leat_error err;
    leat_model *model;
    fuzz_numbers n = fuzz_numbers_of(data, bytes);
    fuzz_open(&fuzz);
    fuzz_fail_memory(&fuzz, data, bytes);
    if (leat_model_load_memory(fuzz.context, data, bytes, NULL, &model, &err) == LEAT_OK) {
        world w = {.io = leat_model_io(model), .n = &n};
        if (w.io->n_inputs <= MOST_IO && w.io->n_outputs <= MOST_IO) {
            run(model, &w);
        }
        leat_model_destroy(model);
    }
    fuzz_close(&fuzz);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A server's load on one model.
 *
 *   serve MODEL.onnx [--device D]... [--plugins DIR] [--threads N]
 *     requests   [--shape NAME=1x3x224x224]... [--mixed NAME=1x3x192x192]...
 *                [--groups 1 | --group-rows 1] [--lengths FILE --length DIMENSION]
 *                [--distinct N]
 *     batcher    [--max-batch 32] [--step N] [--instances N] [--pad DIMENSION [--pad-buckets N]]
 *                [--poll US] [--answers MB] [--fifo 1] [--null A:B]
 *     load       [--rate R | --light R | --p99 MS | --users N | --trace FILE.csv]
 *                [--seconds 2] [--every S] [--senders 1]
 *                [--bursts ON_MS:OFF_MS] [--deadline MS] [--urgent R [--urgent-deadline MS]]
 *                [--overload 2] [--from R] [--growth 2] [--json 1]
 *
 * Several --device: the batcher's instances are spread over them (spread_devices). --shape gives an
 * input its shape (rows first); --mixed gives it further ones, so that requests have shape 0, 1, 2,
 * ... in turn; NAME=@FILE.npy: shape and contents. --lengths: a number a line, the length of
 * DIMENSION in each request in turn. --groups: requests carry tags 0, 1, ... in turn, and do not
 * meet; --group-rows: those of as many rows meet.
 *
 * --rate measures one rate, --trace the arrivals of a file ("SECONDS[,CLASS]"); --p99 looks for the
 * highest rate, from R up by factors of 2 (--growth), then by halving, whose 99th percentile stays
 * within that many milliseconds with nothing refused, and --overload F then offers F times that
 * rate with that deadline: what is complete in time is the goodput. --light puts one rate seven
 * times in each of three ways in turn: directly by a session on the thread that would submit, by
 * leat_batcher_run on that thread, submitted: medians of the rounds, least and most. --every prints
 * a line every so many seconds of what came since the last one, with the memory in use, and at the
 * end one of all. --users: each asks again when answered.
 * Requests are of class 1 where there are --urgent ones, which are of class 0 and arrive at random
 * at a rate of their own, from a thread of their own; --senders threads share the others, each with
 * a part of the rate (one copies some 8 GB/s of inputs where they are staged). Arrivals are at
 * random (Poisson), with --bursts within ON_MS of every ON_MS + OFF_MS only. Latency counts from
 * the time at which a request was to arrive, also when it could not be submitted in time
 * ("coordinated omission"; Tene, 2013), in buckets of 1 %.
 *
 * --answers: memory for answers that are kept (leat_batcher_desc.answer_bytes); how many requests
 * were answered so is told at the end. --distinct: so many different contents, the k-th 1 / k times
 * as often as the first.
 *
 * --max-batch 1 is a server that does not batch, --fifo 1 one with a single queue that ends a batch
 * where shape or group change (serve/fifo.c). --step: batches are filled up to multiples of N rows.
 * --poll: leat_batcher_desc.poll_us. --null A:B: in place of the model one device that takes
 * A + B * rows microseconds, asleep. First the model is run directly, one request after the other,
 * and in batches of all sizes, so that plans are made. */
#include "serve/load.h"

#include <stdio.h>

/* Every batch size of every kind, before anything is measured; on the CPU not where requests are of
 * many kinds: that would take longer than the load. */
static void warm(load *l, const settings *s)
{
    leat_error err;
    bool seen[65536] = {false};
    const size_t n_kinds = s->distinct > 1 ? 1 : l->n_kinds; /* distinct ones are of one shape */
    const bool wanted = s->null_us == 0 && (s->n_devices > 0 || n_kinds == 1);
    for (size_t k = 0; k < n_kinds && wanted; k++) {
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
            const uint64_t group = l->group_rows ? (uint64_t)l->inputs[k][0].shape[0] : g;
            if (leat_batcher_warm(l->batcher, l->inputs[k], l->n_inputs, group, &err) != LEAT_OK) {
                fail("warming up", &err);
            }
        }
    }
}

/* Rows that batches may have: 1, and all multiples of a step. */
static void set_sizes(const settings *s, leat_batcher_desc *desc)
{
    enum {
        MOST = 1024
    };
    static int32_t sizes[MOST] = {1};
    uint32_t n = s->step > 1;
    for (int rows = s->step; rows <= s->max_batch && n < MOST; rows += s->step) {
        sizes[n++] = rows;
    }
    desc->batch_sizes = sizes;
    desc->n_batch_sizes = n;
}

static void open_server(load *l, const settings *s, const leat_session_desc *session)
{
    leat_error err;
    leat_batcher_desc desc = {.struct_size = sizeof(desc),
                              .max_batch_size = s->max_batch,
                              .n_instances = s->instances,
                              .queue_limit = 8192,
                              .max_keys = 2048,
                              .poll_us = (uint32_t)s->poll_us,
                              .spread_devices = s->n_devices > 1,
                              .pad_dimension = s->pad,
                              .pad_buckets = (uint32_t)s->pad_buckets,
                              .answer_bytes = (uint64_t)(s->answers_mb * 1e6),
                              .session = session};
    if (s->step > 0) {
        set_sizes(s, &desc);
    }
    if (s->null_us > 0) {
        desc.run = null_run;
        desc.run_user = l->null = null_create(leat_model_io(l->model), s->null_us, s->null_row_us);
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
    if (s->light > 0) {
        light_load(l, s);
    } else if (s->users > 0) {
        closed_loop(l, s);
    } else if (s->p99_ms > 0 && s->rate <= 0) {
        const double peak = search(l, s, direct_rate);
        if (s->overload > 0) {
            overload(l, s, peak);
        }
    } else {
        const result r = open_loop(l, s, s->rate);
        if (!s->json) {
            printf("; %.0f/s in time\n", r.goodput);
        }
    }
    if (s->answers_mb > 0) {
        print_answers(l, s);
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
                                       .devices = s.n_devices > 0 ? s.devices : NULL,
                                       .n_devices = s.n_devices,
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
    leat_session_destroy(l.session);
    leat_batcher_destroy(l.batcher);
    leat_model_destroy(l.model);
    leat_context_destroy(context);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A policy's weights from a file, and calls of a scheduler in the order that bytes say. The first
 * byte: its lowest bit, whether the file is given as it is, with the right sum, or as the weights'
 * bytes; the others choose the policy. Two bytes a call follow the file: what is called, and how
 * far the clock goes on before. Every request must be run or given back, once. */
#include "fuzz/fuzz.h"

#include <leat/scheduler.h>
#include <stdio.h>
#include <string.h>

#define QUEUES 3
#define DEVICES 2
#define MOST_REQUESTS 4096
#define MOST_BATCH 8
#define HEAD "leat policy 1\n"
#define TEXT_BYTES (sizeof(HEAD) - 1 + 9u * LEAT_POLICY_WEIGHTS)

typedef struct world {
    leat_scheduler *scheduler;
    uint64_t now;
    uint32_t n_requests;
    uint8_t ends[MOST_REQUESTS]; /* of each request: how often it was run or given back */
    uint32_t running[DEVICES][MOST_BATCH];
    uint32_t rows[DEVICES];
    int busy[DEVICES];
} world;

static world w;

static uint64_t clock_of_world(void *user)
{
    (void)user;
    return w.now;
}

static void end_request(uint32_t item)
{
    if (item >= w.n_requests || ++w.ends[item] > 1) {
        fuzz_fail("a request that was not there, or ended twice");
    }
}

static void given_back(void *user, uint32_t queue, void *item)
{
    (void)user;
    (void)queue;
    end_request((uint32_t)((uint8_t *)item - w.ends));
}

/* --- weights --------------------------------------------------------------------------------- */

static uint32_t sum_of(const char *text, size_t bytes)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < bytes; i++) {
        h = (h ^ (uint8_t)text[i]) * 16777619u; /* FNV-1a */
    }
    return h;
}

/* Bytes taken. */
static size_t write_weights(const uint8_t *data, size_t bytes)
{
    char text[TEXT_BYTES + 32] = {0};
    size_t used = bytes < TEXT_BYTES ? bytes : TEXT_BYTES;
    if (bytes == 0 || data[0] % 2 != 0) {
        memcpy(text, data, used);
        if (used != 0) {
            text[0] = HEAD[0]; /* where the choice was */
        }
    } else {
        memcpy(text, HEAD, sizeof(HEAD) - 1);
        used = 1;
        for (size_t i = 0; i < LEAT_POLICY_WEIGHTS; i++) {
            uint32_t bits = 0;
            if (used + sizeof(bits) <= bytes) {
                memcpy(&bits, data + used, sizeof(bits));
                used += sizeof(bits);
            }
            snprintf(text + sizeof(HEAD) - 1 + 9 * i, 10, "%08x\n", bits);
        }
    }
    snprintf(text + TEXT_BYTES, 14, "sum %08x\n", sum_of(text, TEXT_BYTES));
    fuzz_write(fuzz_path("weights"), text, TEXT_BYTES + 13);
    return used;
}

/* Weights that were read are the same when they were written and read again. */
static int read_weights(leat_context *context, leat_policy_weights *out)
{
    leat_policy_weights again;
    leat_error err;
    if (leat_policy_load(context, fuzz_path("weights"), out, &err) != LEAT_OK) {
        return 0;
    }
    if (leat_policy_save(context, fuzz_path("again"), out, &err) != LEAT_OK ||
        leat_policy_load(context, fuzz_path("again"), &again, &err) != LEAT_OK ||
        memcmp(out, &again, sizeof(again)) != 0) {
        fuzz_fail("weights are not read as they were written");
    }
    return 1;
}

/* --- calls ----------------------------------------------------------------------------------- */

static void submit(uint32_t queue, uint64_t deadline_ns)
{
    leat_error err;
    if (w.n_requests == MOST_REQUESTS) {
        return;
    }
    w.n_requests++;
    if (leat_scheduler_submit(w.scheduler, queue, &w.ends[w.n_requests - 1], deadline_ns, &err) !=
        LEAT_OK) {
        w.n_requests--;
    }
}

static void begin(uint32_t device)
{
    void *items[MOST_BATCH];
    leat_dispatch d = {.items = items};
    leat_error err;
    if (leat_scheduler_begin(w.scheduler, device, &d, &err) != LEAT_OK || d.rows == 0) {
        return;
    }
    if (d.rows > MOST_BATCH || w.busy[device]) {
        fuzz_fail("too many rows, or two batches on one device");
    }
    w.busy[device] = 1;
    w.rows[device] = d.rows;
    for (uint32_t i = 0; i < d.rows; i++) {
        w.running[device][i] = (uint32_t)((uint8_t *)items[i] - w.ends);
    }
}

static void end(uint32_t device)
{
    leat_error err;
    if (leat_scheduler_end(w.scheduler, device, &err) == LEAT_OK && w.busy[device]) {
        for (uint32_t i = 0; i < w.rows[device]; i++) {
            end_request(w.running[device][i]);
        }
        w.busy[device] = 0;
    }
}

static void call(uint8_t what, uint8_t wait)
{
    leat_error err;
    const uint32_t device = what / 8 % DEVICES;
    w.now += (uint64_t)1 << wait % 32;
    switch (what % 8) {
    case 0:
        w.busy[device] =
            leat_scheduler_lose(w.scheduler, device, &err) == LEAT_OK ? 0 : w.busy[device];
        break;
    case 1:
        (void)!leat_scheduler_restore(w.scheduler, device, &err);
        break;
    case 2:
    case 3:
        begin(device);
        break;
    case 4:
        end(device);
        break;
    default:
        submit(what / 8 % (QUEUES + 1), wait < 224 ? (uint64_t)1 << wait / 8 * 2 : 0);
    }
}

static void add_queues(void)
{
    static const leat_cost_point costs[QUEUES][3] = {
        {{0, 1, 500000}, {0, MOST_BATCH, 900000}, {1, 1, 600000}},
        {{0, 1, 1}, {1, 4, 3000000}, {1, MOST_BATCH, 100}},
        {{1, 2, UINT64_MAX / 4}, {1, 3, 7}, {0, 1, 1000000000000}}};
    leat_error err;
    for (uint32_t q = 0; q < QUEUES; q++) {
        uint32_t number;
        const leat_queue_desc desc = {.struct_size = sizeof(desc),
                                      .class_index = q,
                                      .max_batch = MOST_BATCH >> q,
                                      .capacity = 4u << q,
                                      .costs = costs[q],
                                      .n_costs = 3};
        (void)!leat_scheduler_add(w.scheduler, &desc, &number, &err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    fuzz_context fuzz;
    leat_policy_weights weights;
    leat_error err;
    const uint8_t kind = bytes ? data[0] : 0;
    memset(&w, 0, sizeof(w));
    fuzz_open(&fuzz);
    const size_t used = write_weights(data, bytes);
    const leat_scheduler_desc desc = {
        .struct_size = sizeof(desc),
        .context = fuzz.context,
        .n_devices = DEVICES,
        .policy = kind & 2 ? LEAT_POLICY_LEARNED : (leat_policy)(kind / 16 % 5),
        .admit = kind & 4 ? 1 : 0,
        .hold_ns = kind & 8 ? 1000000 : 0,
        .strict_classes = kind / 128,
        .weights = read_weights(fuzz.context, &weights) ? &weights : NULL,
        .guard_loss = kind & 16 ? 1 : 0,
        .learn_step = kind & 32 && !(kind & 16) ? 0.125f : 0,
        .preemptible = kind & 64 ? 2 : 0,
        .expired = given_back,
        .clock = clock_of_world};
    if (leat_scheduler_create(&desc, &w.scheduler, &err) == LEAT_OK) {
        add_queues();
        for (size_t i = used; i + 1 < bytes; i += 2) {
            call(data[i], data[i + 1]);
        }
        end(0);
        end(1);
        leat_scheduler_destroy(w.scheduler);
        for (uint32_t i = 0; i < w.n_requests; i++) {
            if (w.ends[i] != 1) {
                fuzz_fail("a request without an end");
            }
        }
    }
    fuzz_close(&fuzz);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes -> model -> sequences that join, wait, leave and join again: which inputs are tokens,
 * lengths and caches, the caches' rows, prompts in pieces. The tokens are small numbers, one in
 * eight hostile, from a generator that the bytes seed. */
#include "fuzz/fuzz.h"

#include <leat/sequences.h>
#include <string.h>

#define SLOTS 3
#define CAPACITY 11
#define MOST_PUSHED 6
#define STEPS 14
#define ITEM_BYTES 256 /* of a position, at most */

static uint64_t next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
    return *state >> 33;
}

static int stop(void *user, const char *stage, uint64_t done, uint64_t total)
{
    (void)stage;
    (void)done;
    (void)total;
    return ++*(int *)user > 200;
}

/* Whether a position of no input, one of which is the tokens, has more than ITEM_BYTES. */
static int is_bearable(const leat_model_signature *io)
{
    for (size_t i = 0; i < io->n_inputs; i++) {
        const leat_io *in = &io->inputs[i];
        size_t bytes = in->dtype < LEAT_DTYPE_COUNT && in->dtype != LEAT_DTYPE_STRING
                           ? leat_dtype_bytes(in->dtype, 1)
                           : ITEM_BYTES + 1;
        for (int32_t d = 1; d < in->rank && bytes <= ITEM_BYTES; d++) {
            bytes *= in->shape[d] > ITEM_BYTES ? ITEM_BYTES + 1
                     : in->shape[d] < 0        ? 1
                                               : (size_t)in->shape[d];
        }
        if (bytes > ITEM_BYTES) {
            return 0;
        }
    }
    return 1;
}

/* Pushes up to MOST_PUSHED positions; tokens that are no i64 take them as they come. */
static void push(leat_sequences *sequences, uint64_t id, uint64_t *random)
{
    int64_t items[MOST_PUSHED * ITEM_BYTES / 8];
    leat_error err;
    for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++) {
        items[i] = (int64_t)(next(random) % 8 ? next(random) % 6 : next(random) - (1u << 30));
    }
    (void)!leat_sequences_push(sequences, id, items, 1 + next(random) % MOST_PUSHED, &err);
}

/* Reads what a result says there is, for the sanitizers' sake. */
static void read_result(leat_sequences *sequences, uint64_t id, size_t n_outputs)
{
    unsigned sum = 0;
    leat_error err;
    for (size_t o = 0; o < n_outputs; o++) {
        leat_array y;
        if (leat_sequences_result(sequences, id, o, &y, &err) == LEAT_OK &&
            y.dtype < LEAT_DTYPE_COUNT && y.dtype != LEAT_DTYPE_STRING) {
            for (size_t k = 0; k < y.bytes; k++) {
                sum += ((const unsigned char *)y.data)[k];
            }
        }
    }
    (void)sum;
}

static void live(leat_sequences *sequences, size_t n_outputs, uint64_t *random)
{
    uint64_t ids[SLOTS] = {0};
    leat_error err;
    for (int s = 0; s < STEPS; s++) {
        leat_step step = {.struct_size = sizeof(step)};
        const size_t one = next(random) % SLOTS;
        if (ids[one] == 0) {
            (void)!leat_sequences_join(sequences, &ids[one], &err);
        } else if (next(random) % 4 == 0) {
            leat_sequences_leave(sequences, ids[one]);
            ids[one] = 0;
        }
        for (size_t i = 0; i < SLOTS; i++) {
            if (ids[i] != 0 && next(random) % 2) {
                push(sequences, ids[i], random);
            }
        }
        if (leat_sequences_step(sequences, &step, &err) == LEAT_OK) {
            for (size_t i = 0; i < step.n_results; i++) {
                read_result(sequences, step.results[i].sequence, n_outputs);
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    fuzz_context fuzz;
    leat_error err;
    leat_model *model;
    leat_sequences *sequences;
    int reports = 0;
    uint64_t random = bytes;
    for (size_t i = 0; i < bytes; i++) {
        random = (random ^ data[i]) * 0x100000001b3u; /* FNV-1a */
    }
    fuzz_open(&fuzz);
    fuzz_fail_memory(&fuzz, data, bytes);
    if (leat_model_load_memory(fuzz.context, data, bytes, NULL, &model, &err) == LEAT_OK) {
        const leat_session_desc session = {
            .struct_size = sizeof(session), .progress = stop, .progress_user = &reports};
        const leat_sequences_desc desc = {.struct_size = sizeof(desc),
                                          .n_slots = SLOTS,
                                          .capacity = CAPACITY,
                                          .max_piece = 4,
                                          .session = &session};
        if (is_bearable(leat_model_io(model)) &&
            leat_sequences_create(model, &desc, &sequences, &err) == LEAT_OK) {
            live(sequences, leat_model_io(model)->n_outputs, &random);
            leat_sequences_destroy(sequences);
        }
        leat_model_destroy(model);
    }
    fuzz_close(&fuzz);
    return 0;
}

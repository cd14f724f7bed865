/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes -> model -> session -> two runs with other shapes: shape inference at plan time, the memory
 * plan, every kernel's checks. The inputs' numbers are small, odd and sometimes hostile, from a
 * generator that the bytes seed. */
#include "fuzz/inputs.h"

#include <stdlib.h>
#include <string.h>

#define MOST_IO 16
#define MOST_FLOPS 200000000u

/* Once more, into memory of the caller's: as large as was made, or a byte less. */
static void run_into_own(leat_session *session, const leat_array *in, const leat_array *made,
                         const leat_model_signature *io)
{
    leat_array out[MOST_IO];
    leat_error err;
    memset(out, 0, sizeof(out));
    for (size_t i = 0; i < io->n_outputs; i++) {
        if (made[i].dtype >= LEAT_DTYPE_COUNT || made[i].dtype == LEAT_DTYPE_STRING) {
            continue;
        }
        out[i].bytes = made[i].bytes - (i == 1 && made[i].bytes != 0);
        out[i].data = malloc(out[i].bytes + !out[i].bytes);
    }
    leat_array own[MOST_IO];
    memcpy(own, out, sizeof(own));
    (void)!leat_session_run(session, in, io->n_inputs, out, io->n_outputs, &err);
    for (size_t i = 0; i < io->n_outputs; i++) {
        free(own[i].data);
    }
}

static void run(leat_session *session, const leat_model_signature *io, int64_t unknown,
                fuzz_numbers *n)
{
    leat_array in[MOST_IO], out[MOST_IO];
    leat_error err;
    size_t made = 0;
    memset(in, 0, sizeof(in));
    memset(out, 0, sizeof(out));
    while (made < io->n_inputs && fuzz_make_input(&io->inputs[made], unknown, n, &in[made])) {
        made++;
    }
    if (made == io->n_inputs && fuzz_is_bearable(session, in, io->n_inputs, MOST_FLOPS) &&
        leat_session_run(session, in, io->n_inputs, out, io->n_outputs, &err) == LEAT_OK) {
        unsigned sum = 0;
        for (size_t i = 0; i < io->n_outputs; i++) {
            for (size_t k = 0; out[i].dtype != LEAT_DTYPE_STRING && k < out[i].bytes; k++) {
                sum += ((const unsigned char *)out[i].data)[k];
            }
        }
        (void)sum; /* read for the sanitizers' sake */
        run_into_own(session, in, out, io);
    }
    for (size_t i = 0; i < made; i++) {
        free(in[i].data);
    }
}

/* A loop may be as long as the file says: here it ends after a second, that is, ten reports, and
 * whatever else reports, plans of iterations, after a hundred. */
typedef struct reports {
    int of_loops;
    int all;
} reports;

static int stop_loops(void *user, const char *stage, uint64_t done, uint64_t total)
{
    reports *r = user;
    (void)done;
    (void)total;
    r->of_loops += strcmp(stage, "loop") == 0;
    return ++r->all > 100 || r->of_loops > 10;
}

static void run_as(const leat_model *model, leat_precision precision, int plain, fuzz_numbers n)
{
    reports seen = {0, 0};
    leat_error err;
    leat_session *session;
    const leat_model_signature *io = leat_model_io(model);
    const leat_session_desc desc = {.struct_size = sizeof(desc),
                                    .precision = precision,
                                    .plain_algorithms = plain,
                                    .progress = stop_loops,
                                    .progress_user = &seen};
    if (leat_session_create((leat_model *)model, &desc, &session, &err) == LEAT_OK) {
        run(session, io, 2, &n);
        run(session, io, 3, &n);
        leat_session_destroy(session);
    }
}

static void load_and_run(const fuzz_context *fuzz, const uint8_t *data, size_t bytes, uint64_t more,
                         fuzz_numbers n)
{
    leat_error err;
    leat_model *model;
    if (leat_model_load_memory(fuzz->context, data, bytes, NULL, &model, &err) != LEAT_OK) {
        return;
    }
    const leat_model_signature *io = leat_model_io(model);
    if (io->n_inputs <= MOST_IO && io->n_outputs <= MOST_IO) {
        run_as(model, LEAT_PRECISION_MODEL, 0, n);
        if (more < 3) {
            run_as(model,
                   more == 0   ? LEAT_PRECISION_BF16
                   : more == 1 ? LEAT_PRECISION_F16
                               : LEAT_PRECISION_MODEL,
                   more == 2, n);
        }
    }
    leat_model_destroy(model);
}

/* Every eighth model also in bf16, others in f16, others by the definition only, or
 * again without enough memory. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    fuzz_context fuzz;
    const fuzz_numbers n = fuzz_numbers_of(data, bytes);
    fuzz_open(&fuzz);
    load_and_run(&fuzz, data, bytes, n.state >> 32 & 7, n);
    fuzz_fail_memory(&fuzz, data, bytes);
    if (fuzz.allow >= 0) {
        load_and_run(&fuzz, data, bytes, 7, n);
    }
    fuzz_close(&fuzz);
    return 0;
}

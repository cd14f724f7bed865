/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes -> model -> quantizer with options that the bytes seed, fed with two batches. What it
 * writes must load, and run with the data that the model it was made of ran with. */
#include "fuzz/inputs.h"

#include <leat/quantizer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_IO 8
#define MOST_FLOPS 200000u /* the model runs some fifty times */
#define BATCHES 2

typedef struct batch {
    leat_array in[MOST_IO];
    size_t made;
} batch;

static int stop_loops(void *user, const char *stage, uint64_t done, uint64_t total)
{
    (void)stage;
    (void)done;
    (void)total;
    return ++*(int *)user > 400;
}

static leat_quantizer_desc choose(fuzz_numbers *n, int *reports)
{
    static const int32_t blocks[] = {0, 16, 32, 64, 128, 256};
    return (leat_quantizer_desc){.struct_size = sizeof(leat_quantizer_desc),
                                 .method = (leat_quantize_method)(fuzz_next(n) % 4),
                                 .bits = fuzz_next(n) % 3 ? 8 : 4,
                                 .target = (leat_quantize_target)(fuzz_next(n) % 3),
                                 .range = (leat_quantize_range)(fuzz_next(n) % 5),
                                 .max_drop = fuzz_next(n) % 3 ? 0 : 0.05,
                                 .sensitivity = fuzz_next(n) % 4 == 0,
                                 .block = blocks[fuzz_next(n) % 6],
                                 .any_speed = fuzz_next(n) % 16 != 0,
                                 .equalize = fuzz_next(n) % 2 == 0,
                                 .smooth = fuzz_next(n) % 2 == 0,
                                 .feedback = (int32_t)(fuzz_next(n) % 3) - 1,
                                 .progress = stop_loops,
                                 .progress_user = reports};
}

/* Whether the session runs with inputs made now; they are kept in any case. */
static int runs(leat_session *session, const leat_model_signature *io, fuzz_numbers *n, batch *b)
{
    leat_array out[MOST_IO];
    leat_error err;
    memset(out, 0, sizeof(out));
    while (b->made < io->n_inputs && fuzz_make_input(&io->inputs[b->made], 2, n, &b->in[b->made])) {
        b->made++;
    }
    return b->made == io->n_inputs && fuzz_is_bearable(session, b->in, b->made, MOST_FLOPS) &&
           leat_session_run(session, b->in, b->made, out, io->n_outputs, &err) == LEAT_OK;
}

static int is_own_fault(leat_status status)
{
    return status != LEAT_OK && status != LEAT_NO_MEMORY && status != LEAT_CANCELLED;
}

static void load_again(leat_context *context, const batch *batches, int *reports)
{
    leat_array out[MOST_IO];
    leat_error err;
    leat_model *model;
    leat_session *session;
    const leat_session_desc desc = {
        .struct_size = sizeof(desc), .progress = stop_loops, .progress_user = reports};
    leat_status status = leat_model_load(context, fuzz_path("out.onnx"), NULL, &model, &err);
    if (status == LEAT_OK && (status = leat_session_create(model, &desc, &session, &err)) == 0) {
        const size_t n_outputs = leat_model_io(model)->n_outputs;
        for (int i = 0; i < BATCHES && status == LEAT_OK; i++) {
            memset(out, 0, sizeof(out));
            status =
                leat_session_run(session, batches[i].in, batches[i].made, out, n_outputs, &err);
        }
        leat_session_destroy(session);
    }
    leat_model_destroy(model);
    if (is_own_fault(status)) {
        fuzz_fail(err.message);
    }
}

static void quantize(leat_context *context, leat_model *model, const batch *batches,
                     fuzz_numbers *n)
{
    int reports = 0;
    leat_error err;
    leat_quantizer *quantizer;
    const leat_quantizer_desc desc = choose(n, &reports);
    if (leat_quantizer_create(model, &desc, &quantizer, &err) != LEAT_OK) {
        return;
    }
    const int fed = desc.method == LEAT_QUANTIZE_STATIC ? BATCHES : (int)(fuzz_next(n) % 3);
    for (int i = 0; i < fed; i++) {
        (void)!leat_quantizer_feed(quantizer, batches[i].in, batches[i].made, NULL, 0, &err);
    }
    leat_quantizer_report report = {.struct_size = sizeof(report)};
    const leat_status status = leat_quantizer_finish(quantizer, fuzz_path("out.onnx"), &err);
    (void)!leat_quantizer_report_get(quantizer, &report, &err);
    leat_quantizer_destroy(quantizer);
    if (status == LEAT_OK) {
        reports = 0;
        load_again(context, batches, &reports);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    fuzz_context fuzz;
    leat_error err;
    leat_model *model;
    leat_session *session;
    batch batches[BATCHES] = {{.made = 0}};
    int reports = 0, good = 0;
    fuzz_numbers n = fuzz_numbers_of(data, bytes);
    fuzz_open(&fuzz);
    fuzz_fail_memory(&fuzz, data, bytes);
    if (leat_model_load_memory(fuzz.context, data, bytes, NULL, &model, &err) == LEAT_OK) {
        const leat_model_signature *io = leat_model_io(model);
        const leat_session_desc desc = {
            .struct_size = sizeof(desc), .progress = stop_loops, .progress_user = &reports};
        if (io->n_inputs <= MOST_IO && io->n_outputs <= MOST_IO &&
            leat_session_create(model, &desc, &session, &err) == LEAT_OK) {
            good = runs(session, io, &n, &batches[0]) && runs(session, io, &n, &batches[1]);
            leat_session_destroy(session);
        }
        if (good) {
            quantize(fuzz.context, model, batches, &n);
        }
        leat_model_destroy(model);
    }
    for (int i = 0; i < BATCHES; i++) {
        for (size_t k = 0; k < batches[i].made; k++) {
            free(batches[i].in[k].data);
        }
    }
    fuzz_close(&fuzz);
    return 0;
}

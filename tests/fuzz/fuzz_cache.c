/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as edits of a calibration cache that leat wrote: where, how many bytes, and the bytes; the
 * sum over it is made right again. The first byte says what is asked of the quantizer that reads
 * it, and whether the file is cut. A cache that is no good is INVALID, no lack of memory; with one
 * that is taken, what is written must load. */
#include "fuzz/fuzz.h"

#include "runtime/tuning.h"
#include "support/onnx_builder.h"

#include <leat/quantizer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EDIT_BYTES 11u /* place (2), width (1), bytes (8) */
#define BATCHES 3

static uint8_t *cache; /* as it was written */
static size_t cache_bytes;
static uint8_t model_data[8192];
static size_t model_bytes;

static void make_model(void)
{
    static float w[8 * 4 * 3 * 3], v[16 * 8], bias[8];
    onnx_builder *b = onnx_builder_create(17);
    for (size_t i = 0; i < sizeof(w) / sizeof(*w); i++) {
        w[i] = (float)(i * 7 % 13) / 6.0f - 1;
    }
    for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
        v[i] = (float)(i * 5 % 11) / 5.0f - 1;
    }
    onnx_builder_floats(b, "w", "8x4x3x3", w);
    onnx_builder_floats(b, "b", "8", bias);
    onnx_builder_floats(b, "v", "8x16", v);
    onnx_builder_text(b,
                      "x: f32[1x4x5x5]; c = Conv(x, w, b); r = Relu(c); g = GlobalAveragePool(r); "
                      "f = Flatten(g); y = MatMul(f, v); -> y: f32[1x16]");
    const void *made = onnx_builder_finish(b, &model_bytes);
    if (model_bytes > sizeof(model_data)) {
        fuzz_fail("the model is too large");
    }
    memcpy(model_data, made, model_bytes);
    onnx_builder_destroy(b);
}

static void write_data(void)
{
    static const char header[] = "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': "
                                 "False, 'shape': (3, 4, 5, 5), }";
    static struct {
        char header[128];
        float numbers[BATCHES * 4 * 5 * 5];
    } file;
    memset(file.header, ' ', sizeof(file.header));
    memcpy(file.header, header, sizeof(header) - 1);
    file.header[127] = '\n';
    for (size_t i = 0; i < sizeof(file.numbers) / sizeof(float); i++) {
        file.numbers[i] = (float)(i * 11 % 17) / 8.0f - 1;
    }
    fuzz_write(fuzz_path("data.npy"), &file, sizeof(file));
}

/* The status of the step that failed; *out_refused: it was that which reads the cache. */
static leat_status quantize(leat_context *context, uint8_t kind, int *out_refused, leat_error *err)
{
    char path[128], file[128];
    leat_model *model;
    leat_quantizer *quantizer = NULL;
    snprintf(path, sizeof(path), "%s", fuzz_path("cache"));
    snprintf(file, sizeof(file), "%s", fuzz_path("data.npy"));
    const leat_quantizer_file data = {NULL, file};
    const leat_quantizer_desc desc = {.struct_size = sizeof(desc),
                                      .method =
                                          kind & 1 ? LEAT_QUANTIZE_DYNAMIC : LEAT_QUANTIZE_STATIC,
                                      .range = (leat_quantize_range)(kind / 2 % 5),
                                      .any_speed = 1,
                                      .smooth = kind & 16 ? 1 : 0,
                                      .feedback = kind & 32 ? 1 : 0,
                                      .equalize = kind & 64 ? 1 : 0,
                                      .cache = path};
    *out_refused = 0;
    leat_status status =
        leat_model_load_memory(context, model_data, model_bytes, NULL, &model, err);
    if (status != LEAT_OK) {
        fuzz_fail(err->message);
    }
    status = leat_quantizer_create(model, &desc, &quantizer, err);
    if (status == LEAT_OK) {
        status = leat_quantizer_feed_files(quantizer, &data, 1, NULL, err);
        *out_refused = status != LEAT_OK;
    }
    status = status ? status : leat_quantizer_finish(quantizer, fuzz_path("out.onnx"), err);
    leat_quantizer_destroy(quantizer);
    leat_model_destroy(model);
    return status;
}

static void make_cache(void)
{
    fuzz_context fuzz;
    leat_error err = {0};
    int refused;
    make_model();
    write_data();
    fuzz_open(&fuzz);
    if (quantize(fuzz.context, 0, &refused, &err) != LEAT_OK) {
        fuzz_fail(err.message);
    }
    fuzz_close(&fuzz);
    FILE *f = fopen(fuzz_path("cache"), "rb");
    cache = malloc(1 << 20);
    cache_bytes = f && cache ? fread(cache, 1, 1 << 20, f) : 0;
    if (f == NULL || fclose(f) != 0 || cache_bytes < 64) {
        fuzz_fail("no cache was written");
    }
}

static void write_edited(const uint8_t *data, size_t bytes)
{
    uint8_t *text = malloc(cache_bytes);
    size_t length = cache_bytes;
    if (text == NULL) {
        return;
    }
    memcpy(text, cache, length);
    for (size_t i = 0; i + EDIT_BYTES <= bytes; i += EDIT_BYTES) {
        const size_t at = (data[i] | (size_t)data[i + 1] << 8) % length;
        const size_t width = (size_t)data[i + 2] % 8 + 1;
        memcpy(text + at, data + i + 3, width < length - at ? width : length - at);
    }
    if (bytes % EDIT_BYTES == 2) {
        length = (data[bytes - 2] | (size_t)data[bytes - 1] << 8) % (length - 8) + 8;
    }
    const uint64_t sum = lt_hash(LT_HASH_START, text, length - 8);
    memcpy(text + length - 8, &sum, sizeof(sum));
    fuzz_write(fuzz_path("cache"), text, length);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    fuzz_context fuzz;
    leat_error err;
    leat_model *model;
    int refused;
    if (cache == NULL) {
        make_cache();
    }
    write_edited(data + (bytes != 0), bytes - (bytes != 0));
    fuzz_open(&fuzz);
    leat_status status = quantize(fuzz.context, bytes ? data[0] : 0, &refused, &err);
    if (refused && status != LEAT_INVALID) {
        fuzz_fail(err.message);
    }
    if (status == LEAT_OK) {
        status = leat_model_load(fuzz.context, fuzz_path("out.onnx"), NULL, &model, &err);
        if (status != LEAT_OK) {
            fuzz_fail(err.message);
        }
        leat_model_destroy(model);
    }
    fuzz_close(&fuzz);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "support/quantize.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char test_quantized_path[64];

int test_quantized_setup(void **state)
{
    (void)state;
    snprintf(test_quantized_path, sizeof(test_quantized_path), "/tmp/leat-quantized-%d.onnx",
             (int)getpid());
    return 0;
}

int test_quantized_teardown(void **state)
{
    (void)state;
    unlink(test_quantized_path);
    return 0;
}

float test_seeded(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)((double)(*state >> 8) * 0x1p-23 - 1);
}

void test_random_constant(onnx_builder *b, const char *name, const char *shape, float scale,
                          float lift, uint32_t seed)
{
    size_t count = 1;
    for (const char *at = shape; *at != '\0'; at += *at == 'x') {
        char *end;
        count *= strtoul(at, &end, 10);
        at = end;
    }
    float *data = malloc(count * sizeof(*data));
    assert_non_null(data);
    for (size_t i = 0; i < count; i++) {
        data[i] = scale * test_seeded(&seed) + (i % 7 == 0 ? lift : 0);
    }
    onnx_builder_floats(b, name, shape, data);
    free(data);
}

leat_quantizer *test_quantizer(test_run *run, const leat_quantizer_desc *desc)
{
    leat_quantizer_desc plain = {.struct_size = sizeof(plain)};
    leat_quantizer *q;
    plain = desc ? *desc : plain;
    plain.any_speed = 1;
    assert_ok(leat_quantizer_create(run->model, &plain, &q, &run->err), &run->err);
    return q;
}

leat_quantizer_report test_quantizer_report(const leat_quantizer *q)
{
    leat_quantizer_report r = {.struct_size = sizeof(r)};
    leat_error err;
    assert_ok(leat_quantizer_report_get(q, &r, &err), &err);
    return r;
}

void test_assert_refused(leat_status status, leat_status wanted, const leat_error *err,
                         const char *part)
{
    assert_int_equal(status, wanted);
    if (strstr(err->message, part) == NULL) {
        fail_msg("'%s' does not say '%s'", err->message, part);
    }
}

void test_add_noise(test_noise *to, const void *before, const void *after, size_t n)
{
    const float *a = before, *b = after;
    for (size_t i = 0; i < n; i++) {
        double e = (double)b[i] - (double)a[i];
        to->signal += (double)a[i] * (double)a[i];
        to->noise += e * e;
    }
}

double test_noise_db(const test_noise *noise)
{
    return 10 * log10(noise->signal / noise->noise);
}

static leat_status attempt(void *argument, const leat_allocator *allocator, leat_error *err)
{
    const test_quantizing *what = argument;
    leat_context_desc with = {.struct_size = sizeof(with), .allocator = allocator, .threads = 1};
    leat_context *context;
    leat_model *model = NULL, *made = NULL;
    leat_session *session = NULL;
    leat_quantizer *q = NULL;
    leat_array out[4] = {{0}, {0}, {0}, {0}};
    leat_status status = leat_context_create(&with, &context, err);
    if (status != LEAT_OK) {
        return status;
    }
    status = leat_model_load_memory(context, what->model, what->model_bytes, NULL, &model, err);
    status = status ? status : leat_quantizer_create(model, &what->desc, &q, err);
    if (status == LEAT_OK && what->x.data != NULL && what->n_outputs == 0) {
        status = leat_quantizer_feed(q, &what->x, 1, NULL, 0, err);
    }
    status = status ? status : leat_quantizer_finish(q, test_quantized_path, err);
    if (status == LEAT_OK && what->n_outputs > 0) {
        status = leat_model_load(context, test_quantized_path, NULL, &made, err);
        status = status ? status : leat_session_create(made, NULL, &session, err);
        status =
            status ? status : leat_session_run(session, &what->x, 1, out, what->n_outputs, err);
    }
    leat_session_destroy(session);
    leat_model_destroy(made);
    leat_quantizer_destroy(q);
    leat_model_destroy(model);
    leat_context_destroy(context);
    return status;
}

void test_walk_quantizing(onnx_builder *model, test_quantizing *what)
{
    what->model = onnx_builder_finish(model, &what->model_bytes);
    what->desc.struct_size = sizeof(what->desc);
    what->desc.any_speed = 1;
    test_walk_allocations(attempt, what);
    onnx_builder_destroy(model);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "support/run.h"

#include <stdlib.h>

void test_run_load(test_run *run, onnx_builder *builder)
{
    memset(run, 0, sizeof(*run));
    size_t bytes;
    const void *data = onnx_builder_finish(builder, &bytes);
    leat_context_desc desc = {.struct_size = sizeof(desc), .threads = 1};
    assert_ok(leat_context_create(&desc, &run->context, &run->err), &run->err);
    assert_ok(leat_model_load_memory(run->context, data, bytes, NULL, &run->model, &run->err),
              &run->err);
}

void test_run_session(test_run *run, const leat_session_desc *desc)
{
    assert_ok(leat_session_create(run->model, desc, &run->session, &run->err), &run->err);
}

void test_run_open(test_run *run, onnx_builder *builder)
{
    test_run_load(run, builder);
    test_run_session(run, NULL);
}

void test_run_ok(test_run *run, const leat_array *in, size_t n_in, leat_array *out, size_t n_out)
{
    memset(out, 0, n_out * sizeof(*out));
    assert_ok(leat_session_run(run->session, in, n_in, out, n_out, &run->err), &run->err);
}

void test_run_free(test_run *run)
{
    leat_session_destroy(run->session);
    leat_model_destroy(run->model);
    leat_context_destroy(run->context);
    memset(run, 0, sizeof(*run));
}

static leat_array make_array(leat_dtype dtype, void *data, const char *shape)
{
    leat_array array = {.dtype = dtype, .data = data};
    size_t count = 1;
    while (shape[0] != '\0') {
        char *end;
        array.shape[array.rank] = strtoll(shape, &end, 10);
        count *= (size_t)array.shape[array.rank++];
        shape = *end ? end + 1 : end;
    }
    array.bytes = leat_dtype_bytes(dtype, count);
    return array;
}

leat_array test_f32(float *data, const char *shape)
{
    return make_array(LEAT_DTYPE_F32, data, shape);
}

leat_array test_i64(int64_t *data, const char *shape)
{
    return make_array(LEAT_DTYPE_I64, data, shape);
}

leat_array test_bool(uint8_t *data)
{
    return make_array(LEAT_DTYPE_BOOL, data, "");
}

void test_assert_f32(const leat_array *array, const char *shape, const float *expected)
{
    leat_array wanted = test_f32(NULL, shape);
    assert_int_equal(array->dtype, LEAT_DTYPE_F32);
    assert_int_equal(array->rank, wanted.rank);
    for (int32_t d = 0; d < wanted.rank; d++) {
        assert_int_equal(array->shape[d], wanted.shape[d]);
    }
    assert_int_equal(array->bytes, wanted.bytes);
    const float *data = array->data;
    for (size_t i = 0; i < wanted.bytes / sizeof(float); i++) {
        if (data[i] != expected[i]) {
            fail_msg("element %zu is %g, expected %g", i, data[i], expected[i]);
        }
    }
}

/* Small integers, so that sums are exact in any order. */
static const float mlp_w[12] = {1, -2, 3, 0, 1, -1, 2, 2, -2, -1, 0, 1};
static const float mlp_b[3] = {0.5f, -1, 2};

onnx_builder *test_build_mlp(void)
{
    onnx_builder *builder = onnx_builder_create(17);
    onnx_builder_input(builder, "x", LEAT_DTYPE_F32, "Nx4");
    onnx_builder_floats(builder, "w", "4x3", mlp_w);
    onnx_builder_floats(builder, "b", "3", mlp_b);
    onnx_builder_node(builder, "Gemm", "x,w,b", "u", NULL, 0);
    onnx_builder_node(builder, "Relu", "u", "y", NULL, 0);
    onnx_builder_output(builder, "y", LEAT_DTYPE_F32, "Nx3");
    return builder;
}

void test_mlp_oracle(const float *x, size_t n, float *y)
{
    for (size_t i = 0; i < n * 3; i++) {
        float sum = mlp_b[i % 3];
        for (size_t k = 0; k < 4; k++) {
            sum += x[i / 3 * 4 + k] * mlp_w[k * 3 + i % 3];
        }
        y[i] = sum < 0 ? 0 : sum;
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Layers that are evened out: f32 results stay as they are, errors of 8 bits fall. */
#include "support/test.h"

#include "graph/graph.h"
#include "quantizer/quantizer.h"
#include "runtime/model.h"
#include "support/quantize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SIDE 10
#define IMAGE (3 * SIDE * SIDE)
#define BATCHES 6

/* Channel c of 8 is so many times as large in a model that is `wild`. */
static float size_of(bool wild, size_t c)
{
    static const float sizes[8] = {90, 0.02f, 1, 7, 0.3f, 300, 0.005f, 2};
    return wild ? sizes[c] : 1;
}

/* Adds a constant whose element i is times (or, `inverse`, over) the size of its channel. */
static void add_weights(onnx_builder *b, const char *name, const char *shape, size_t count,
                        size_t period, bool inner, bool wild, bool inverse, uint32_t seed)
{
    float *w = malloc(count * sizeof(*w));
    assert_non_null(w);
    for (size_t i = 0; i < count; i++) {
        float by = size_of(wild, inner ? i / period % 8 : i * 8 / count);
        w[i] = 0.4f * test_seeded(&seed) * (inverse ? 1 / by : by);
    }
    onnx_builder_floats(b, name, shape, w);
    free(w);
}

/* Conv, Relu, MaxPool, Conv; between them, too, a convolution by channel, and LeakyRelu. */
static onnx_builder *build_chain(bool wild)
{
    static const int64_t ones[] = {1, 1, 1, 1}, two[] = {2, 2};
    const leat_attr by_channel[] = {test_attr_ints("pads", ones, 4), test_attr_int("group", 8)};
    const leat_attr pool[] = {test_attr_ints("kernel_shape", two, 2),
                              test_attr_ints("strides", two, 2)};
    onnx_builder *b = onnx_builder_create(13);
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx3x10x10");
    add_weights(b, "w1", "8x3x3x3", 216, 0, false, wild, false, 1);
    add_weights(b, "b1", "8", 8, 0, false, wild, false, 2);
    add_weights(b, "w2", "8x1x3x3", 72, 0, false, wild, true, 3);
    test_random_constant(b, "b2", "8", 0.3f, 0, 4);
    add_weights(b, "w3", "6x8x2x2", 192, 4, true, false, true, 5);
    onnx_builder_node(b, "Conv", "x,w1,b1", "c1", by_channel, 1);
    onnx_builder_node(b, "Relu", "c1", "r1", NULL, 0);
    onnx_builder_node(b, "MaxPool", "r1", "p1", pool, 2);
    onnx_builder_node(b, "Conv", "p1,w2,b2", "c2", by_channel, 2);
    onnx_builder_node(b, "LeakyRelu", "c2", "r2", NULL, 0);
    onnx_builder_node(b, "Conv", "r2,w3", "y", pool + 1, 1);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx6x2x2");
    return b;
}

/* Gemm with its weights turned, Relu, MatMul; `seen`: what lies between is an output, too. */
static onnx_builder *build_products(bool wild, bool seen)
{
    const leat_attr turned = test_attr_int("transB", 1);
    onnx_builder *b = onnx_builder_create(13);
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx300");
    add_weights(b, "w1", "8x300", 2400, 0, false, wild, false, 1);
    add_weights(b, "b1", "8", 8, 0, false, wild, false, 2);
    add_weights(b, "w2", "8x24", 192, 0, false, wild, true, 3);
    onnx_builder_node(b, "Gemm", "x,w1,b1", "h", &turned, 1);
    onnx_builder_node(b, "Relu", "h", "r", NULL, 0);
    onnx_builder_node(b, "MatMul", "r,w2", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx24");
    if (seen) {
        onnx_builder_output(b, "r", LEAT_DTYPE_F32, "Nx8");
    }
    return b;
}

/* Result of a model on an image (or a row) of seeded numbers, in `out` with room for 24. */
static void run(test_run *r, leat_model *model, bool image, uint32_t seed, float *out)
{
    leat_session *session;
    float data[IMAGE];
    for (size_t i = 0; i < IMAGE; i++) {
        data[i] = test_seeded(&seed);
    }
    leat_array x = test_f32(data, image ? "1x3x10x10" : "1x300"), y[2] = {{0}, {0}};
    assert_ok(leat_session_create(model, NULL, &session, &r->err), &r->err);
    assert_ok(leat_session_run(session, &x, 1, y, leat_model_io(model)->n_outputs, &r->err),
              &r->err);
    assert_int_equal(y[0].bytes, 24 * sizeof(float));
    memcpy(out, y[0].data, y[0].bytes);
    leat_session_destroy(session);
}

/* Quantizes statically; signal to noise on other data. *out_moved: whether layers were changed. */
static double quantize(onnx_builder *b, bool image, bool equalize, bool *out_moved)
{
    leat_quantizer_desc desc = {.struct_size = sizeof(desc), .equalize = equalize};
    test_run r;
    test_noise noise = {0, 0};
    leat_model *after;
    float data[IMAGE], before[24], out[24];
    test_run_load(&r, b);
    leat_quantizer *q = test_quantizer(&r, &desc);
    *out_moved = q->model != r.model;
    run(&r, r.model, image, 7, before);
    run(&r, q->model, image, 7, out);
    assert_memory_equal(before, out, sizeof(out)); /* to the last bit */
    for (uint32_t i = 0; i < BATCHES; i++) {
        uint32_t seed = i;
        for (size_t k = 0; k < IMAGE; k++) {
            data[k] = test_seeded(&seed);
        }
        leat_array x = test_f32(data, image ? "1x3x10x10" : "1x300");
        assert_ok(leat_quantizer_feed(q, &x, 1, NULL, 0, &r.err), &r.err);
    }
    assert_ok(leat_quantizer_finish(q, test_quantized_path, &r.err), &r.err);
    assert_ok(leat_model_load(r.context, test_quantized_path, NULL, &after, &r.err), &r.err);
    for (uint32_t i = 0; i < 8; i++) {
        run(&r, r.model, image, 1000 + i, before);
        run(&r, after, image, 1000 + i, out);
        test_add_noise(&noise, before, out, 24);
    }
    leat_model_destroy(after);
    leat_quantizer_destroy(q);
    test_run_free(&r);
    onnx_builder_destroy(b);
    return test_noise_db(&noise);
}

static void channels_of_wild_layers_are_evened_out(void **state)
{
    bool moved;
    (void)state;
    double plain = quantize(build_chain(true), true, false, &moved);
    assert_false(moved);
    double even = quantize(build_chain(true), true, true, &moved);
    assert_true(moved);
    assert_true(even > plain + 6);
    plain = quantize(build_products(true, false), false, false, &moved);
    even = quantize(build_products(true, false), false, true, &moved);
    assert_true(moved);
    assert_true(even > plain + 6);
}

static void layers_that_are_even_err_no_more(void **state)
{
    bool moved;
    (void)state;
    double plain = quantize(build_chain(false), true, false, &moved);
    double even = quantize(build_chain(false), true, true, &moved);
    assert_true(even > plain - 1.5);
    plain = quantize(build_products(false, false), false, false, &moved);
    even = quantize(build_products(false, false), false, true, &moved);
    assert_true(even > plain - 1.5);
}

/* What others see must not change. */
static void a_result_between_that_is_an_output_stays(void **state)
{
    bool moved;
    (void)state;
    (void)quantize(build_products(true, true), false, true, &moved);
    assert_false(moved);
}

static void failing_allocations_are_survived(void **state)
{
    float data[IMAGE];
    uint32_t seed = 3;
    (void)state;
    for (size_t i = 0; i < IMAGE; i++) {
        data[i] = test_seeded(&seed);
    }
    test_quantizing what = {.desc = {.method = LEAT_QUANTIZE_STATIC,
                                     .range = LEAT_RANGE_MIN_MAX,
                                     .equalize = 1,
                                     .smooth = 1,
                                     .feedback = 1},
                            .x = test_f32(data, "1x300")};
    test_walk_quantizing(build_products(true, false), &what);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(channels_of_wild_layers_are_evened_out),
        cmocka_unit_test(layers_that_are_even_err_no_more),
        cmocka_unit_test(a_result_between_that_is_an_output_stays),
        cmocka_unit_test(failing_allocations_are_survived),
    };
    return cmocka_run_group_tests(tests, test_quantized_setup, test_quantized_teardown);
}

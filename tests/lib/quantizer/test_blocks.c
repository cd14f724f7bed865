/* SPDX-License-Identifier: Apache-2.0 */
/* Weights in blocks of 4 and 8 bits: against loops over what was written, and packed at run time.
 */
#include "support/test.h"

#include "graph/graph.h"
#include "quantizer/quantizer.h"
#include "runtime/model.h"
#include "support/quantize.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROWS 5
#define K 192
#define N 21

/* A product, a turned Gemm with a bias, and one whose rows are no whole blocks. */
static onnx_builder *build(int64_t opset)
{
    const leat_attr turned = test_attr_int("transB", 1);
    onnx_builder *b = onnx_builder_create(opset);
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx192");
    test_random_constant(b, "w", "192x21", 0.3f, 0.4f, 1);
    test_random_constant(b, "v", "21x192", 0.3f, 0.4f, 2);
    test_random_constant(b, "c", "21", 0.3f, 0.4f, 3);
    test_random_constant(b, "u", "21x21", 0.3f, 0.4f, 4);
    onnx_builder_node(b, "MatMul", "x,w", "y", NULL, 0);
    onnx_builder_node(b, "Gemm", "x,v,c", "z", &turned, 1);
    onnx_builder_node(b, "MatMul", "y,u", "t", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx21");
    onnx_builder_output(b, "z", LEAT_DTYPE_F32, "Nx21");
    onnx_builder_output(b, "t", LEAT_DTYPE_F32, "Nx21");
    return b;
}

static int32_t level(const leat_value *v, size_t at)
{
    const uint8_t *data = v->data;
    return v->dtype == LEAT_DTYPE_U4 ? data[at / 2] >> at % 2 * 4 & 15 : (int8_t)data[at];
}

/* Number i of a constant, which lies anywhere in the file. */
static double number(const void *data, size_t i)
{
    float number;
    memcpy(&number, (const char *)data + i * sizeof(number), sizeof(number));
    return (double)number;
}

/* Products of the written weights, in double precision, against a run; signal to noise of the
 * weights against the model's. */
static double check_product(const lt_graph *g, const char *name, const void *w, bool turned,
                            const float *x, const void *bias, const float *y, int64_t block)
{
    char text[64];
    const leat_value *parts[3] = {NULL, NULL, NULL};
    const char *const suffixes[] = {"_quantized", "_scale", "_zero_point"};
    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof(text), "%s%s", name, suffixes[i]);
        uint32_t value = lt_graph_find_value(g, text);
        parts[i] = value == LEAT_NO_VALUE ? NULL : &g->values[value];
    }
    assert_true(parts[0] != NULL && parts[1] != NULL);
    assert_int_equal(parts[1]->shape[0], K / block);
    double signal = 0, noise = 0;
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t n = 0; n < N; n++) {
            double sum = bias ? number(bias, n) : 0, size = fabs(sum);
            for (size_t k = 0; k < K; k++) {
                size_t at = k / (size_t)block * N + n;
                double scale = number(parts[1]->data, at);
                double q = level(parts[0], k * N + n) - (parts[2] ? level(parts[2], at) : 0);
                double real = number(w, turned ? n * K + k : k * N + n);
                sum += scale * q * (double)x[r * K + k];
                size += fabs(scale * q * (double)x[r * K + k]);
                signal += real * real;
                noise += (real - scale * q) * (real - scale * q);
            }
            assert_true(fabs((double)y[r * N + n] - sum) <= 2e-6 * size);
        }
    }
    return 10 * log10(signal / noise);
}

static void check_bits(int32_t bits, int32_t block, leat_quantize_method method, double least_db)
{
    leat_quantizer_desc desc = {
        .struct_size = sizeof(desc), .bits = bits, .block = block, .method = method};
    onnx_builder *b = build(bits == 4 ? 13 : 21);
    leat_quantizer *q;
    leat_model *model;
    leat_session *session;
    leat_plan_report plan = {.struct_size = sizeof(plan)};
    leat_array out[3] = {{0}, {0}, {0}};
    float data[ROWS * K];
    uint32_t seed = 9;
    test_run run;
    test_run_load(&run, b);
    assert_ok(leat_quantizer_create(run.model, &desc, &q, &run.err), &run.err);
    assert_ok(leat_quantizer_finish(q, test_quantized_path, &run.err), &run.err);
    leat_quantizer_report r = test_quantizer_report(q);
    assert_int_equal(r.method, LEAT_QUANTIZE_WEIGHTS);
    assert_int_equal(r.layers[0].bits, bits);
    assert_int_equal(r.layers[1].bits, bits);
    assert_int_equal(r.layers[2].bits, 32);
    assert_non_null(strstr(r.layers[2].reason, "blocks"));
    for (size_t i = 0; i < ROWS * K; i++) {
        data[i] = test_seeded(&seed);
    }
    leat_array x = test_f32(data, "5x192");
    assert_ok(leat_model_load(run.context, test_quantized_path, NULL, &model, &run.err), &run.err);
    assert_int_equal(lt_graph_opset(model->graph, ""), 21);
    assert_ok(leat_session_create(model, NULL, &session, &run.err), &run.err);
    assert_ok(leat_session_run(session, &x, 1, out, 3, &run.err), &run.err);
    const lt_graph *before = run.model->graph;
    const void *w = before->values[lt_graph_find_value(before, "w")].data;
    const void *v = before->values[lt_graph_find_value(before, "v")].data;
    const void *c = before->values[lt_graph_find_value(before, "c")].data;
    int64_t each = block ? block : 32;
    double db = check_product(model->graph, "w", w, false, data, NULL, out[0].data, each);
    assert_true(db > least_db && fabs(db - r.layers[0].weight_sqnr_db) < 0.01);
    db = check_product(model->graph, "v", v, true, data, c, out[1].data, each);
    assert_true(db > least_db && fabs(db - r.layers[1].weight_sqnr_db) < 0.01);
    assert_ok(leat_session_report(session, &plan, &run.err), &run.err);
    size_t packed = 0;
    for (size_t i = 0; i < plan.n_nodes; i++) {
        packed += strcmp(plan.nodes[i].op, "MatMulNBits") == 0;
        assert_string_not_equal(plan.nodes[i].op, "DequantizeLinear");
    }
    assert_int_equal(packed, 2);
    leat_session_destroy(session);
    leat_model_destroy(model);
    leat_quantizer_destroy(q);
    test_run_free(&run);
    onnx_builder_destroy(b);
}

static void eight_bits_stay_packed(void **state)
{
    (void)state;
    check_bits(8, 0, LEAT_QUANTIZE_WEIGHTS, 42);
    check_bits(8, 64, LEAT_QUANTIZE_WEIGHTS, 41);
}

static void four_bits_stay_packed(void **state)
{
    (void)state;
    check_bits(4, 32, LEAT_QUANTIZE_AUTO, 20);
    check_bits(4, 16, LEAT_QUANTIZE_DYNAMIC, 20.5);
    check_bits(4, 64, LEAT_QUANTIZE_WEIGHTS, 19);
}

static void bad_weights_are_refused(void **state)
{
    float w[32 * 2] = {0};
    onnx_builder *b = onnx_builder_create(13);
    leat_quantizer_desc desc = {.struct_size = sizeof(desc), .bits = 4};
    leat_quantizer *q;
    test_run run;
    (void)state;
    w[40] = NAN;
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx32");
    onnx_builder_floats(b, "w", "32x2", w);
    onnx_builder_node(b, "MatMul", "x,w", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx2");
    test_run_load(&run, b);
    unlink(test_quantized_path);
    assert_ok(leat_quantizer_create(run.model, &desc, &q, &run.err), &run.err);
    assert_int_equal(leat_quantizer_finish(q, test_quantized_path, &run.err), LEAT_INVALID);
    assert_non_null(strstr(run.err.message, "'w'"));
    assert_int_equal(access(test_quantized_path, F_OK), -1);
    leat_quantizer_destroy(q);
    test_run_free(&run);
    onnx_builder_destroy(b);
}

static void blocks_survive_failing_allocations(void **state)
{
    float data[K] = {0};
    test_quantizing what = {.desc = {.bits = 4}, .x = test_f32(data, "1x192"), .n_outputs = 3};
    (void)state;
    test_walk_quantizing(build(13), &what);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eight_bits_stay_packed),
        cmocka_unit_test(four_bits_stay_packed),
        cmocka_unit_test(bad_weights_are_refused),
        cmocka_unit_test(blocks_survive_failing_allocations),
    };
    return cmocka_run_group_tests(tests, test_quantized_setup, test_quantized_teardown);
}

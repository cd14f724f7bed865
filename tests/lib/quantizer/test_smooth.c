/* SPDX-License-Identifier: Apache-2.0 */
/* Channels that are evened out before matrix products, and made-up data for models of tokens. */
#include "support/test.h"

#include "graph/graph.h"
#include "quantizer/quantizer.h"
#include "runtime/model.h"
#include "support/quantize.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ROWS 40
#define K 200
#define N 24
#define TABLE 50

/* Two products of one x, one of them by a turned Gemm with a bias. */
static onnx_builder *build_products(void)
{
    const leat_attr turned = test_attr_int("transB", 1);
    onnx_builder *b = onnx_builder_create(13);
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx200");
    test_random_constant(b, "w", "200x24", 0.3f, 0, 1);
    test_random_constant(b, "v", "24x200", 0.3f, 0, 2);
    test_random_constant(b, "c", "24", 0.3f, 0, 3);
    onnx_builder_node(b, "MatMul", "x,w", "y", NULL, 0);
    onnx_builder_node(b, "Gemm", "x,v,c", "z", &turned, 1);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx24");
    onnx_builder_output(b, "z", LEAT_DTYPE_F32, "Nx24");
    return b;
}

/* Channel 7 as many times as large as the others, 11 half of that and never negative. */
static leat_array rows(float *data, float outlier, uint32_t seed)
{
    for (size_t i = 0; i < ROWS * K; i++) {
        data[i] = test_seeded(&seed);
        data[i] *= i % K == 7 ? outlier : 1;
        data[i] = i % K == 11 ? fabsf(data[i]) * outlier / 2 : data[i];
    }
    return test_f32(data, "40x200");
}

/* Signal to noise of the file's outputs, both at once, in decibels. */
static double measure(test_run *run, const leat_array *x)
{
    leat_model *model;
    leat_session *before, *after;
    leat_array a[2] = {{0}, {0}}, b[2] = {{0}, {0}};
    double signal = 0, noise = 0;
    assert_ok(leat_model_load(run->context, test_quantized_path, NULL, &model, &run->err),
              &run->err);
    assert_ok(leat_session_create(model, NULL, &after, &run->err), &run->err);
    assert_ok(leat_session_create(run->model, NULL, &before, &run->err), &run->err);
    assert_ok(leat_session_run(before, x, 1, a, 2, &run->err), &run->err);
    assert_ok(leat_session_run(after, x, 1, b, 2, &run->err), &run->err);
    for (int o = 0; o < 2; o++) {
        for (size_t k = 0; k < ROWS * N; k++) {
            double u = (double)((float *)a[o].data)[k], v = (double)((float *)b[o].data)[k];
            signal += u * u;
            noise += (u - v) * (u - v);
        }
    }
    leat_session_destroy(before);
    leat_session_destroy(after);
    leat_model_destroy(model);
    return 10 * log10(signal / noise);
}

/* Quantizes with data of that outlier, 0: with none; signal to noise on other data. */
static double quantize_by(const leat_quantizer_desc *by, float outlier, bool feed,
                          lt_quant_tensor *out_tensor, double *out_own)
{
    onnx_builder *b = build_products();
    leat_quantizer_desc desc = *by;
    leat_quantizer *q;
    test_run run;
    float *data = malloc(ROWS * K * sizeof(*data));
    assert_non_null(data);
    test_run_load(&run, b);
    assert_ok(leat_quantizer_create(run.model, &desc, &q, &run.err), &run.err);
    leat_array x = rows(data, outlier, 5);
    if (feed) {
        assert_ok(leat_quantizer_feed(q, &x, 1, NULL, 0, &run.err), &run.err);
    }
    assert_ok(leat_quantizer_finish(q, test_quantized_path, &run.err), &run.err);
    *out_tensor = q->tensors[0];
    *out_own = q->layers[0].report.own_sqnr_db;
    x = rows(data, outlier, 6);
    double db = measure(&run, &x);
    leat_quantizer_destroy(q);
    test_run_free(&run);
    onnx_builder_destroy(b);
    free(data);
    return db;
}

static double quantize(float outlier, bool feed, lt_quant_tensor *out_tensor, double *out_own)
{
    const leat_quantizer_desc desc = {
        .struct_size = sizeof(desc), .method = LEAT_QUANTIZE_DYNAMIC, .any_speed = 1};
    return quantize_by(&desc, outlier, feed, out_tensor, out_own);
}

static void outliers_are_evened_out_statically_where_asked(void **state)
{
    (void)state;
    for (int target = 0; target <= LEAT_QUANTIZE_FOR_ANY; target++) {
        leat_quantizer_desc desc = {.struct_size = sizeof(desc),
                                    .method = LEAT_QUANTIZE_STATIC,
                                    .target = (leat_quantize_target)target,
                                    .any_speed = 1};
        lt_quant_tensor x;
        double own, plain, even;
        plain = quantize_by(&desc, 60, true, &x, &own);
        assert_true(x.factors == NULL && isnan(own));
        desc.smooth = 1;
        even = quantize_by(&desc, 60, true, &x, &own);
        assert_true(x.factors != NULL && x.n_again == 0);
        assert_true(even > plain + 6);
        desc.smooth = 0; /* and without outliers nothing changes */
        plain = quantize_by(&desc, 1, true, &x, &own);
        desc.smooth = 1;
        even = quantize_by(&desc, 1, true, &x, &own);
        assert_true(x.factors == NULL && even == plain);
    }
}

static void outliers_are_evened_out(void **state)
{
    lt_quant_tensor x;
    double own, even, plain;
    (void)state;
    plain = quantize(60, false, &x, &own);
    assert_true(x.factors == NULL && isnan(own));
    even = quantize(60, true, &x, &own);
    assert_non_null(x.factors);
    /* 60 / 2 of the grid for all others: near all of those 30 dB are won back */
    assert_true(even > plain + 6);
    assert_true(fabs(even - own) < 1.5);
}

static void repeated_channels_are_whole_groups(void **state)
{
    lt_quant_tensor x;
    double own;
    (void)state;
    quantize(9, true, &x, &own);
    assert_true(x.factors != NULL && x.n_again % 16 == 0 && x.n_again <= K / 8);
}

static void equal_channels_are_left_alone(void **state)
{
    lt_quant_tensor x;
    double own, db;
    (void)state;
    db = quantize(1, true, &x, &own);
    assert_true(x.factors == NULL && x.n_again == 0);
    assert_true(fabs(db - own) < 1.5);
}

/* Tokens: a table, a mask that hides, and a product behind. `odd`: an input that says nothing. */
static onnx_builder *build_tokens(bool odd)
{
    onnx_builder *b = onnx_builder_create(13);
    const leat_attr to = test_attr_int("to", LEAT_DTYPE_F32);
    float *table = malloc(TABLE * K * sizeof(*table));
    uint32_t seed = 3;
    assert_non_null(table);
    for (size_t i = 0; i < TABLE * K; i++) {
        table[i] = test_seeded(&seed) * (i % K == 7 ? 60.0f : 1.0f);
    }
    onnx_builder_floats(b, "table", "50x200", table);
    free(table);
    onnx_builder_input(b, "ids", LEAT_DTYPE_I64, "NxS");
    onnx_builder_input(b, "mask", odd ? LEAT_DTYPE_F32 : LEAT_DTYPE_I64, "NxS");
    test_random_constant(b, "w", "200x24", 0.3f, 0, 1);
    onnx_builder_ints(b, "last", "1", (const int64_t[]){2});
    onnx_builder_node(b, "Gather", "table,ids", "e", NULL, 0);
    onnx_builder_node(b, "Cast", "mask", "m", &to, 1);
    onnx_builder_node(b, "Unsqueeze", "m,last", "u", NULL, 0);
    onnx_builder_node(b, "Mul", "e,u", "x", NULL, 0);
    onnx_builder_node(b, "MatMul", "x,w", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "NxSx24");
    return b;
}

static void tokens_are_made_up_where_the_model_says_so(void **state)
{
    (void)state;
    for (int odd = 0; odd < 2; odd++) {
        onnx_builder *b = build_tokens(odd);
        test_run run;
        test_run_load(&run, b);
        leat_quantizer *q = test_quantizer(&run, NULL);
        assert_ok(leat_quantizer_finish(q, test_quantized_path, &run.err), &run.err);
        leat_quantizer_report r = test_quantizer_report(q);
        assert_int_equal(r.method, LEAT_QUANTIZE_DYNAMIC);
        assert_int_equal(r.n_batches, 0); /* what is made up does not count */
        assert_true(isnan(r.sqnr_db));
        assert_int_equal(isnan(r.layers[0].own_sqnr_db), odd);
        assert_true(odd || q->tensors[0].factors != NULL);
        leat_quantizer_destroy(q);
        test_run_free(&run);
        onnx_builder_destroy(b);
    }
}

static void made_up_data_survives_failing_allocations(void **state)
{
    test_quantizing what = {.n_outputs = 0};
    (void)state;
    test_walk_quantizing(build_tokens(false), &what);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outliers_are_evened_out),
        cmocka_unit_test(outliers_are_evened_out_statically_where_asked),
        cmocka_unit_test(repeated_channels_are_whole_groups),
        cmocka_unit_test(equal_channels_are_left_alone),
        cmocka_unit_test(tokens_are_made_up_where_the_model_says_so),
        cmocka_unit_test(made_up_data_survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, test_quantized_setup, test_quantized_teardown);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Weights rounded with error feedback, against the nearest levels, on data whose numbers depend on
 * each other. */
#include "support/test.h"

#include "graph/graph.h"
#include "quantizer/quantizer.h"
#include "runtime/model.h"
#include "support/quantize.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 40
#define K 96
#define LONG_K 1500 /* more than weights that make up for each other by default */
#define N 20
#define LATENT 10
#define SIDE 13
#define CHANNELS 6
#define IMAGE (CHANNELS * SIDE * SIDE)
#define BATCHES 5

static onnx_builder *build_product(bool turned, size_t k)
{
    const leat_attr attr = test_attr_int("transB", 1);
    onnx_builder *b = onnx_builder_create(21);
    char x[16], w[16];
    snprintf(x, sizeof(x), "Nx%zu", k);
    snprintf(w, sizeof(w), turned ? "20x%zu" : "%zux20", k);
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, x);
    test_random_constant(b, "w", w, 0.3f, 0, 1);
    onnx_builder_node(b, turned ? "Gemm" : "MatMul", "x,w", "y", &attr, turned);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx20");
    return b;
}

/* Mixtures of LATENT numbers, and a little of their own. */
static leat_array mixtures(float *data, size_t k_all, uint32_t seed)
{
    uint32_t mixing = 77;
    char shape[16];
    static float mix[LATENT * LONG_K];
    for (size_t i = 0; i < LATENT * k_all; i++) {
        mix[i] = test_seeded(&mixing);
    }
    snprintf(shape, sizeof(shape), "%dx%zu", ROWS, k_all);
    for (size_t r = 0; r < ROWS; r++) {
        float z[LATENT];
        for (size_t l = 0; l < LATENT; l++) {
            z[l] = test_seeded(&seed);
        }
        for (size_t k = 0; k < k_all; k++) {
            data[r * k_all + k] = 0.05f * test_seeded(&seed);
            for (size_t l = 0; l < LATENT; l++) {
                data[r * k_all + k] += z[l] * mix[l * k_all + k];
            }
        }
    }
    return test_f32(data, shape);
}

static void feed_mixtures(leat_quantizer *q, test_run *run, float *data, size_t k)
{
    for (uint32_t i = 0; i < BATCHES; i++) {
        leat_array x = mixtures(data, k, i);
        assert_ok(leat_quantizer_feed(q, &x, 1, NULL, 0, &run->err), &run->err);
    }
}

/* Signal to noise of the results on other mixtures than those that were fed. */
static double quantize(const leat_quantizer_desc *desc, bool turned, size_t k)
{
    onnx_builder *b = build_product(turned, k);
    test_run run;
    test_noise noise = {0, 0};
    leat_model *model;
    leat_session *before, *after;
    float *data = malloc(ROWS * k * sizeof(*data));
    assert_non_null(data);
    test_run_load(&run, b);
    leat_quantizer *q = test_quantizer(&run, desc);
    feed_mixtures(q, &run, data, k);
    assert_ok(leat_quantizer_finish(q, test_quantized_path, &run.err), &run.err);
    assert_ok(leat_model_load(run.context, test_quantized_path, NULL, &model, &run.err), &run.err);
    assert_ok(leat_session_create(model, NULL, &after, &run.err), &run.err);
    assert_ok(leat_session_create(run.model, NULL, &before, &run.err), &run.err);
    for (uint32_t i = 0; i < 4; i++) {
        leat_array x = mixtures(data, k, 100 + i), u = {0}, v = {0};
        assert_ok(leat_session_run(before, &x, 1, &u, 1, &run.err), &run.err);
        assert_ok(leat_session_run(after, &x, 1, &v, 1, &run.err), &run.err);
        test_add_noise(&noise, u.data, v.data, ROWS * N);
    }
    leat_session_destroy(before);
    leat_session_destroy(after);
    leat_model_destroy(model);
    leat_quantizer_destroy(q);
    test_run_free(&run);
    onnx_builder_destroy(b);
    free(data);
    return test_noise_db(&noise);
}

static void weights_of_few_bits_err_less(void **state)
{
    (void)state;
    for (int turned = 0; turned < 2; turned++) {
        for (int bits = 4; bits <= 8; bits += 4) {
            leat_quantizer_desc desc = {.struct_size = sizeof(desc),
                                        .method = LEAT_QUANTIZE_WEIGHTS,
                                        .bits = bits,
                                        .block = 32};
            double nearest = quantize(&desc, turned, K);
            desc.feedback = 1;
            assert_true(quantize(&desc, turned, K) > nearest + 4);
        }
    }
}

/* There activations of 8 bits err as much as weights do, which bounds the gain. */
static void products_of_8_bits_err_no_more(void **state)
{
    (void)state;
    for (int method = LEAT_QUANTIZE_DYNAMIC; method <= LEAT_QUANTIZE_STATIC; method++) {
        for (int turned = 0; turned < 2; turned++) {
            leat_quantizer_desc desc = {.struct_size = sizeof(desc),
                                        .method = (leat_quantize_method)method,
                                        .range = LEAT_RANGE_MIN_MAX,
                                        .smooth = 1,
                                        .feedback = -1};
            double nearest = quantize(&desc, turned, K), usual;
            desc.feedback = 0;
            usual = quantize(&desc, turned, K);
            desc.feedback = 1;
            double fed_back = quantize(&desc, turned, K);
            assert_true(fed_back > nearest + (method == LEAT_QUANTIZE_DYNAMIC ? 1 : 0));
            assert_true(usual == (method == LEAT_QUANTIZE_DYNAMIC ? nearest : fed_back));
        }
    }
}

/* What rounded weights alone add to the results of other mixtures than those fed: squares. */
static double lost_by(int32_t feedback, bool turned)
{
    const leat_quantizer_desc desc = {
        .struct_size = sizeof(desc), .range = LEAT_RANGE_MIN_MAX, .feedback = feedback};
    onnx_builder *b = build_product(turned, LONG_K);
    test_run run;
    double sum = 0;
    float *data = malloc(ROWS * LONG_K * sizeof(*data));
    assert_non_null(data);
    test_run_load(&run, b);
    leat_quantizer *q = test_quantizer(&run, &desc);
    feed_mixtures(q, &run, data, LONG_K);
    assert_ok(leat_quantizer_finish(q, test_quantized_path, &run.err), &run.err);
    const lt_quant_layer *layer = &q->layers[0];
    (void)mixtures(data, LONG_K, 100);
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t c = 0; c < N; c++) {
            double y = 0;
            for (size_t k = 0; k < LONG_K; k++) {
                const double w = lt_quant_weight(q, layer, k, c);
                const double level = layer->weights[turned ? c * LONG_K + k : k * N + c];
                const double lost = w - level * (double)layer->scales[c];
                y += lost * (double)data[r * LONG_K + k];
            }
            sum += y * y;
        }
    }
    leat_quantizer_destroy(q);
    test_run_free(&run);
    onnx_builder_destroy(b);
    free(data);
    return sum;
}

/* Pieces make up for what they err themselves. */
static void long_sums_err_less_by_default_least_when_asked(void **state)
{
    (void)state;
    for (int turned = 0; turned < 2; turned++) {
        const double usual = lost_by(0, turned);
        assert_true(usual < 0.5 * lost_by(-1, turned));
        assert_true(lost_by(1, turned) < usual);
    }
}

/* --- convolutions -------------------------------------------------------------------------------
 */

typedef struct window {
    int64_t groups, stride[2], dilation[2], pads[4];
    const char *auto_pad; /* what the pads come from; NULL: they are given */
} window;

/* Images whose neighbours are alike. */
static leat_array image(float *data, uint32_t seed)
{
    for (size_t i = 0; i < IMAGE; i++) {
        size_t y = i / SIDE % SIDE, x = i % SIDE;
        float up = y ? data[i - SIDE] : 0, left = x ? data[i - 1] : 0;
        data[i] = 0.48f * (up + left) + 0.3f * test_seeded(&seed);
    }
    return test_f32(data, "1x6x13x13");
}

/* What rounded weights alone add to the results of all images fed: the sum of squares. */
static double noise_of(const leat_quantizer *q, const window *v)
{
    const lt_quant_layer *layer = &q->layers[0];
    const float *w = q->model->graph->values[layer->node->inputs[1]].data;
    const int64_t inputs = CHANNELS / v->groups;
    float data[IMAGE];
    double sum = 0;
    for (uint32_t b = 0; b < BATCHES; b++) {
        (void)image(data, b);
        for (int64_t o = 0; o < 8; o++) {
            for (int64_t at = 0; at < SIDE * SIDE; at++) {
                double y = 0;
                int64_t oy = at / SIDE * v->stride[0] - v->pads[0];
                int64_t ox = at % SIDE * v->stride[1] - v->pads[1];
                if (oy + 2 * v->dilation[0] >= SIDE + v->pads[2] ||
                    ox + 2 * v->dilation[1] >= SIDE + v->pads[3]) {
                    continue; /* no such result */
                }
                for (int64_t i = 0; i < inputs * 9; i++) {
                    int64_t iy = oy + i / 3 % 3 * v->dilation[0], ix = ox + i % 3 * v->dilation[1];
                    int64_t c = o / (8 / v->groups) * inputs + i / 9;
                    if (iy < 0 || ix < 0 || iy >= SIDE || ix >= SIDE) {
                        continue;
                    }
                    int64_t k = o * inputs * 9 + i;
                    double lost = (double)w[k] - layer->weights[k] * (double)layer->scales[o];
                    y += lost * (double)data[(c * SIDE + iy) * SIDE + ix];
                }
                sum += y * y;
            }
        }
    }
    return sum;
}

static double quantize_conv(const window *v, int32_t feedback)
{
    const leat_quantizer_desc desc = {
        .struct_size = sizeof(desc), .range = LEAT_RANGE_MIN_MAX, .feedback = feedback};
    const leat_attr attrs[] = {test_attr_int("group", v->groups),
                               test_attr_ints("strides", v->stride, 2),
                               test_attr_ints("dilations", v->dilation, 2),
                               v->auto_pad ? test_attr_string("auto_pad", v->auto_pad)
                                           : test_attr_ints("pads", v->pads, 4)};
    onnx_builder *b = onnx_builder_create(13);
    test_run run;
    float data[IMAGE];
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx6x13x13");
    test_random_constant(b, "w", v->groups == 1 ? "8x6x3x3" : "8x3x3x3", 0.3f, 0, 1);
    onnx_builder_node(b, "Conv", "x,w", "y", attrs, 4);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "NxCxHxW");
    test_run_load(&run, b);
    leat_quantizer *q = test_quantizer(&run, &desc);
    for (uint32_t i = 0; i < BATCHES; i++) {
        leat_array x = image(data, i);
        assert_ok(leat_quantizer_feed(q, &x, 1, NULL, 0, &run.err), &run.err);
    }
    assert_ok(leat_quantizer_finish(q, test_quantized_path, &run.err), &run.err);
    double noise = noise_of(q, v);
    leat_quantizer_destroy(q);
    test_run_free(&run);
    onnx_builder_destroy(b);
    return noise;
}

static void convolutions_err_less_on_their_patches(void **state)
{
    static const window windows[] = {{1, {1, 1}, {1, 1}, {1, 1, 1, 1}, NULL},
                                     {2, {1, 1}, {1, 1}, {0, 0, 0, 0}, NULL},
                                     {2, {2, 1}, {1, 2}, {0, 2, 1, 1}, NULL},
                                     {1, {1, 3}, {3, 1}, {2, 0, 3, 1}, NULL},
                                     {1, {7, 1}, {3, 1}, {0, 1, 1, 1}, "SAME_UPPER"},
                                     {1, {7, 1}, {3, 1}, {1, 1, 0, 1}, "SAME_LOWER"},
                                     {2, {2, 2}, {1, 1}, {0, 0, 0, 0}, "VALID"}};
    (void)state;
    for (size_t i = 0; i < sizeof(windows) / sizeof(windows[0]); i++) {
        const double usual = quantize_conv(&windows[i], 0);
        assert_true(usual < 0.75 * quantize_conv(&windows[i], -1));
        assert_true(usual == quantize_conv(&windows[i], 1));
    }
}

static void without_data_feedback_is_refused(void **state)
{
    const leat_quantizer_desc desc = {.struct_size = sizeof(desc), .feedback = 1};
    onnx_builder *b = build_product(false, K);
    test_run run;
    (void)state;
    test_run_load(&run, b);
    leat_quantizer *q = test_quantizer(&run, &desc);
    test_assert_refused(leat_quantizer_finish(q, test_quantized_path, &run.err), LEAT_INVALID,
                        &run.err, "needs data");
    leat_quantizer_destroy(q);
    test_run_free(&run);
    onnx_builder_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_of_few_bits_err_less),
        cmocka_unit_test(products_of_8_bits_err_no_more),
        cmocka_unit_test(long_sums_err_less_by_default_least_when_asked),
        cmocka_unit_test(convolutions_err_less_on_their_patches),
        cmocka_unit_test(without_data_feedback_is_refused),
    };
    return cmocka_run_group_tests(tests, test_quantized_setup, test_quantized_teardown);
}

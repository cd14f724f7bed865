/* SPDX-License-Identifier: Apache-2.0 */
/* Quantized models against the f32 ones, and what is refused. */
#include "support/test.h"

#include "graph/graph.h"
#include "quantizer/quantizer.h"
#include "runtime/model.h"
#include "support/file.h"
#include "support/quantize.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SIDE 12
#define IMAGE (3 * SIDE * SIDE)
#define BATCHES 6

/* Two residual blocks, the second with a convolution beside; pool, mean, classes. `wild`: between
 * the blocks a convolution whose data has one channel 20,000 times the others, its weights for it
 * as much smaller; ends before the classes. */
static onnx_builder *build_cnn(int64_t opset, bool wild)
{
    static const int64_t ones[] = {1, 1, 1, 1}, two[] = {2, 2};
    const leat_attr pads = test_attr_ints("pads", ones, 4);
    const leat_attr pool[] = {test_attr_ints("kernel_shape", two, 2),
                              test_attr_ints("strides", two, 2)};
    onnx_builder *b = onnx_builder_create(opset);
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx3x12x12");
    test_random_constant(b, "w1", "8x3x3x3", 0.4f, 0, 1);
    test_random_constant(b, "b1", "8", 0.5f, 0, 2);
    test_random_constant(b, "w2", "8x8x3x3", 0.2f, 0, 3);
    test_random_constant(b, "w3", "16x8x1x1", 0.4f, 0, 4);
    test_random_constant(b, "w4", "16x8x3x3", 0.2f, 0, 5);
    test_random_constant(b, "w5", "16x5", 1, 0, 6);
    test_random_constant(b, "b5", "5", 1, 0, 7);
    onnx_builder_node(b, "Conv", "x,w1,b1", "c1", &pads, 1);
    onnx_builder_node(b, "Relu", "c1", "r1", NULL, 0);
    onnx_builder_node(b, "MaxPool", "r1", "p1", pool, 2);
    onnx_builder_node(b, "Conv", "p1,w2", "c2", &pads, 1);
    onnx_builder_node(b, "Add", "c2,p1", "a2", NULL, 0);
    onnx_builder_node(b, "Relu", "a2", "r2", NULL, 0);
    const char *from = "r2";
    if (wild) {
        static const float factors[8] = {20000, 1, 1, 1, 1, 1, 1, 1};
        float w6[64];
        uint32_t seed = 8;
        for (size_t i = 0; i < 64; i++) {
            w6[i] = 0.4f * test_seeded(&seed) / (i % 8 == 0 ? 20000.0f : 1.0f);
        }
        onnx_builder_floats(b, "f", "8x1x1", factors);
        onnx_builder_floats(b, "w6", "8x8x1x1", w6);
        onnx_builder_node(b, "Mul", "r2,f", "m", NULL, 0);
        onnx_builder_node(b, "Conv", "m,w6", "c6", NULL, 0);
        from = "c6";
    }
    char inputs[16];
    snprintf(inputs, sizeof(inputs), "%s,w3", from);
    onnx_builder_node(b, "Conv", inputs, "c3", NULL, 0);
    snprintf(inputs, sizeof(inputs), "%s,w4", from);
    onnx_builder_node(b, "Conv", inputs, "c4", &pads, 1);
    onnx_builder_node(b, "Add", "c3,c4", "a4", NULL, 0);
    onnx_builder_node(b, "Relu", "a4", "r4", NULL, 0);
    onnx_builder_node(b, "GlobalAveragePool", "r4", "g4", NULL, 0);
    if (wild) {
        onnx_builder_output(b, "g4", LEAT_DTYPE_F32, "Nx16x1x1");
        return b;
    }
    onnx_builder_node(b, "Flatten", "g4", "f4", NULL, 0);
    onnx_builder_node(b, "Gemm", "f4,w5,b5", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx5");
    return b;
}

static leat_array image(float *data, uint32_t seed)
{
    for (size_t i = 0; i < IMAGE; i++) {
        data[i] = test_seeded(&seed);
    }
    return test_f32(data, "1x3x12x12");
}

static void feed(leat_quantizer *q, uint32_t first, int batches, leat_error *err)
{
    float data[IMAGE];
    for (int i = 0; i < batches; i++) {
        leat_array x = image(data, first + (uint32_t)i);
        assert_ok(leat_quantizer_feed(q, &x, 1, NULL, 0, err), err);
    }
}

/* A model of build_cnn, and a quantizer that was fed BATCHES batches. */
typedef struct fixture {
    onnx_builder *builder;
    test_run run;
    leat_quantizer *q;
} fixture;

static void open_fed(fixture *f, onnx_builder *builder, const leat_quantizer_desc *desc)
{
    f->builder = builder;
    test_run_load(&f->run, builder);
    f->q = test_quantizer(&f->run, desc);
    feed(f->q, 1, BATCHES, &f->run.err);
}

/* The same, finished. */
static void open_finished(fixture *f, onnx_builder *builder, const leat_quantizer_desc *desc)
{
    open_fed(f, builder, desc);
    assert_ok(leat_quantizer_finish(f->q, test_quantized_path, &f->run.err), &f->run.err);
}

static void close_fixture(fixture *f)
{
    leat_quantizer_destroy(f->q);
    test_run_free(&f->run);
    onnx_builder_destroy(f->builder);
}

static const leat_quantized_layer *layer_of(const leat_quantizer_report *r, const char *name)
{
    for (size_t i = 0; i < r->n_layers; i++) {
        if (strcmp(r->layers[i].name, name) == 0) {
            return &r->layers[i];
        }
    }
    fail_msg("no layer '%s'", name);
    return NULL;
}

/* Signal to noise of the written model's output on images that it has not seen, in decibels. */
static double measure(test_run *run, const char *file, int outputs)
{
    leat_model *model;
    leat_session *before, *after;
    float data[IMAGE];
    const size_t n_outputs = leat_model_io(run->model)->n_outputs;
    double signal = 0, noise = 0;
    assert_true(n_outputs <= 2);
    assert_ok(leat_model_load(run->context, file, NULL, &model, &run->err), &run->err);
    assert_ok(leat_session_create(model, NULL, &after, &run->err), &run->err);
    assert_ok(leat_session_create(run->model, NULL, &before, &run->err), &run->err);
    for (uint32_t i = 0; i < 8; i++) {
        leat_array x = image(data, 1000 + i), a[2] = {{0}, {0}}, b[2] = {{0}, {0}};
        assert_ok(leat_session_run(before, &x, 1, a, n_outputs, &run->err), &run->err);
        assert_ok(leat_session_run(after, &x, 1, b, n_outputs, &run->err), &run->err);
        for (int k = 0; k < outputs; k++) {
            double u = (double)((float *)a[0].data)[k], v = (double)((float *)b[0].data)[k];
            signal += u * u;
            noise += (u - v) * (u - v);
        }
    }
    leat_session_destroy(before);
    leat_session_destroy(after);
    leat_model_destroy(model);
    return 10 * log10(signal / noise);
}

static size_t count_ops(test_run *run, const char *file, const char *op)
{
    leat_model *model;
    size_t count = 0;
    assert_ok(leat_model_load(run->context, file, NULL, &model, &run->err), &run->err);
    for (uint32_t i = 0; i < model->graph->n_nodes; i++) {
        count += strcmp(model->graph->nodes[i]->op, op) == 0;
    }
    leat_model_destroy(model);
    return count;
}

/* --- what comes out -----------------------------------------------------------------------------
 */

static void static_each_range_and_target_keeps_the_outputs(void **state)
{
    (void)state;
    for (int target = 0; target <= LEAT_QUANTIZE_FOR_ANY; target++) {
        for (int range = 0; range <= LEAT_RANGE_ENTROPY; range++) {
            fixture f;
            leat_quantizer_desc desc = {.struct_size = sizeof(desc),
                                        .target = (leat_quantize_target)target,
                                        .range = (leat_quantize_range)range};
            open_finished(&f, build_cnn(17, false), &desc);
            leat_quantizer_report r = test_quantizer_report(f.q);
            assert_int_equal(r.method, LEAT_QUANTIZE_STATIC);
            assert_int_equal(r.n_layers, 5);
            assert_int_equal(r.n_batches, BATCHES);
            for (size_t i = 0; i < r.n_layers; i++) {
                assert_int_equal(r.layers[i].bits, 8);
                assert_true(r.layers[i].scale > 0 && r.layers[i].weight_sqnr_db > 35);
                assert_true(target == 0 || r.layers[i].zero_point == 0);
                assert_true(range == 0 || (int)r.layers[i].range == range);
            }
            assert_true(r.bytes_after < r.bytes_before / 2);
            assert_true(r.ns_before > 0 && r.ns_after > 0);
            assert_true(r.sqnr_db > 20 && measure(&f.run, test_quantized_path, 5) > 20);
            close_fixture(&f);
        }
    }
}

/* Every product in bytes, and nothing between them in floats: x, p1 (that of r1 too), r2, one
 * addend of a4, r4, g4 and f4. */
static void static_whole_network_lies_on_grids(void **state)
{
    fixture f;
    (void)state;
    open_finished(&f, build_cnn(17, false), NULL);
    assert_int_equal(count_ops(&f.run, test_quantized_path, "QuantizeLinear"), 8);
    leat_model *model;
    leat_session *session;
    float data[IMAGE];
    leat_array x = image(data, 1), y = {0};
    leat_plan_report plan = {.struct_size = sizeof(plan)};
    assert_ok(leat_model_load(f.run.context, test_quantized_path, NULL, &model, &f.run.err),
              &f.run.err);
    assert_ok(leat_session_create(model, NULL, &session, &f.run.err), &f.run.err);
    assert_ok(leat_session_run(session, &x, 1, &y, 1, &f.run.err), &f.run.err);
    assert_ok(leat_session_report(session, &plan, &f.run.err), &f.run.err);
    size_t products = 0, residuals = 0;
    for (size_t i = 0; i < plan.n_nodes; i++) {
        assert_string_not_equal(plan.nodes[i].op, "Conv");
        assert_string_not_equal(plan.nodes[i].op, "Add");
        products += plan.nodes[i].op[0] == 'Q' && strstr(plan.nodes[i].op, "Quant") == NULL;
        residuals += strcmp(plan.nodes[i].op, "QConv+Add+Relu") == 0;
    }
    assert_int_equal(products, 5);
    assert_int_equal(residuals, 2);
    leat_session_destroy(session);
    leat_model_destroy(model);
    close_fixture(&f);
}

static void static_old_opset_is_raised(void **state)
{
    fixture f;
    (void)state;
    open_finished(&f, build_cnn(9, false), NULL);
    assert_true(measure(&f.run, test_quantized_path, 5) > 20);
    leat_model *model;
    assert_ok(leat_model_load(f.run.context, test_quantized_path, NULL, &model, &f.run.err),
              &f.run.err);
    assert_int_equal(lt_graph_opset(model->graph, ""), 13);
    leat_model_destroy(model);
    close_fixture(&f);
}

/* Attributes that became inputs, and what means the same: nothing is written in its old version,
 * which not all runtimes take beside the new one. */
static void static_old_nodes_are_raised(void **state)
{
    static const int64_t spatial[] = {2, 3}, last[] = {2};
    const leat_attr mean[] = {test_attr_ints("axes", spatial, 2), test_attr_int("keepdims", 0)};
    const leat_attr axes = test_attr_ints("axes", last, 1), axis = test_attr_int("axis", 1);
    const leat_quantizer_desc desc = {.struct_size = sizeof(desc)};
    onnx_builder *b = onnx_builder_create(11);
    fixture f;
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "1x3x12x12");
    test_random_constant(b, "w", "8x3x3x3", 0.4f, 0, 1);
    onnx_builder_floats(b, "low", "", (const float[]){0});
    onnx_builder_floats(b, "high", "", (const float[]){6});
    onnx_builder_node(b, "Conv", "x,w", "c", NULL, 0);
    onnx_builder_node(b, "Clip", "c,low,high", "r", NULL, 0);
    onnx_builder_node(b, "ReduceMean", "r", "m", mean, 2);
    onnx_builder_node(b, "Unsqueeze", "m", "u", &axes, 1);
    onnx_builder_node(b, "Sin", "u", "e", NULL, 0);
    onnx_builder_node(b, "Squeeze", "e", "s", &axes, 1);
    onnx_builder_node(b, "Softmax", "s", "y", &axis, 1);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "1x8");
    open_finished(&f, b, &desc);
    assert_true(measure(&f.run, test_quantized_path, 8) > 20);
    leat_model *model;
    assert_ok(leat_model_load(f.run.context, test_quantized_path, NULL, &model, &f.run.err),
              &f.run.err);
    for (uint32_t i = 0; i < model->graph->n_nodes; i++) {
        const leat_node *node = model->graph->nodes[i];
        const bool same_since_7 = strcmp(node->op, "Sin") == 0;
        assert_true(node->domain[0] != '\0' || node->opset == 13 || same_since_7);
    }
    leat_model_destroy(model);
    close_fixture(&f);
}

static void static_same_data_gives_the_same_file(void **state)
{
    char *first = NULL, *second;
    size_t first_bytes = 0, second_bytes;
    (void)state;
    for (int i = 0; i < 2; i++) {
        fixture f;
        open_finished(&f, build_cnn(17, false), NULL);
        char **data = i ? &second : &first;
        *data = test_read_file(test_quantized_path, i ? &second_bytes : &first_bytes);
        close_fixture(&f);
    }
    assert_int_equal(first_bytes, second_bytes);
    assert_memory_equal(first, second, first_bytes);
    free(first);
    free(second);
}

static void static_kept_layer_stays(void **state)
{
    static const char *const keep[] = {"c2"};
    fixture f;
    (void)state;
    leat_quantizer_desc desc = {.struct_size = sizeof(desc), .keep = keep, .n_keep = 1};
    open_finished(&f, build_cnn(17, false), &desc);
    leat_quantizer_report r = test_quantizer_report(f.q);
    assert_int_equal(layer_of(&r, "c2")->bits, 32);
    assert_string_equal(layer_of(&r, "c2")->reason, "kept as asked");
    assert_int_equal(layer_of(&r, "c3")->bits, 8);
    assert_true(measure(&f.run, test_quantized_path, 5) > 20);
    close_fixture(&f);
}

/* The fragile layer errs most, and is the one that goes back. */
static void budget_fragile_layer_goes_back(void **state)
{
    fixture f;
    (void)state;
    leat_quantizer_desc desc = {.struct_size = sizeof(desc), .sensitivity = 1};
    open_finished(&f, build_cnn(17, true), &desc);
    leat_quantizer_report r = test_quantizer_report(f.q);
    assert_string_equal(r.drop_measure, "error");
    assert_true(r.drop > 0.1);
    for (size_t i = 0; i < r.n_layers; i++) {
        bool fragile = strcmp(r.layers[i].name, "c6") == 0;
        assert_true(fragile || r.layers[i].sqnr_db > layer_of(&r, "c6")->sqnr_db + 6);
    }
    close_fixture(&f);
    desc.max_drop = 0.1;
    open_finished(&f, build_cnn(17, true), &desc);
    r = test_quantizer_report(f.q);
    assert_true(r.drop <= 0.1 && r.drop > 0);
    for (size_t i = 0; i < r.n_layers; i++) {
        bool fragile = strcmp(r.layers[i].name, "c6") == 0;
        assert_int_equal(r.layers[i].bits, fragile ? 32 : 8);
        assert_true((r.layers[i].reason[0] != '\0') == fragile);
    }
    assert_true(measure(&f.run, test_quantized_path, 16) > 20);
    close_fixture(&f);
}

static void budget_out_of_reach_is_said(void **state)
{
    fixture f;
    (void)state;
    leat_quantizer_desc desc = {.struct_size = sizeof(desc), .max_drop = 1e-7};
    open_fed(&f, build_cnn(17, true), &desc);
    unlink(test_quantized_path);
    test_assert_refused(leat_quantizer_finish(f.q, test_quantized_path, &f.run.err), LEAT_LIMIT,
                        &f.run.err, "no layer");
    assert_int_equal(access(test_quantized_path, F_OK), -1);
    leat_quantizer_report r = test_quantizer_report(f.q);
    for (size_t i = 0; i < r.n_layers; i++) {
        assert_int_equal(r.layers[i].bits, 32);
        assert_string_not_equal(r.layers[i].reason, "");
    }
    close_fixture(&f);
}

static void dynamic_products_of_matrices_keep_the_outputs(void **state)
{
    const leat_attr turned = test_attr_int("transB", 1);
    onnx_builder *b = onnx_builder_create(13);
    test_run run;
    float data[7 * 33], before[7 * 9];
    uint32_t seed = 5;
    leat_model *model;
    leat_session *session;
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx33");
    test_random_constant(b, "w1", "33x20", 0.3f, 0, 1);
    test_random_constant(b, "w2", "33x20", 0.3f, 0, 2);
    test_random_constant(b, "w3", "9x20", 0.3f, 0, 3);
    test_random_constant(b, "b3", "9", 0.3f, 0, 4);
    onnx_builder_node(b, "MatMul", "x,w1", "m1", NULL, 0);
    onnx_builder_node(b, "MatMul", "x,w2", "m2", NULL, 0);
    onnx_builder_node(b, "Mul", "m1,m2", "p", NULL, 0);
    onnx_builder_node(b, "Gemm", "p,w3,b3", "y", &turned, 1);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx9");
    test_run_open(&run, b);
    leat_quantizer *q = test_quantizer(&run, NULL);
    assert_ok(leat_quantizer_finish(q, test_quantized_path, &run.err), &run.err);
    leat_quantizer_report r = test_quantizer_report(q);
    assert_int_equal(r.method, LEAT_QUANTIZE_DYNAMIC);
    assert_true(isnan(r.sqnr_db) && r.n_layers == 3);
    /* x is quantized once for both */
    assert_int_equal(count_ops(&run, test_quantized_path, "DynamicQuantizeLinear"), 2);
    assert_int_equal(count_ops(&run, test_quantized_path, "MatMulInteger"), 3);
    for (size_t i = 0; i < 7 * 33; i++) {
        data[i] = test_seeded(&seed);
    }
    leat_array x = test_f32(data, "7x33"), y = {0};
    test_run_ok(&run, &x, 1, &y, 1);
    memcpy(before, y.data, sizeof(before));
    assert_ok(leat_model_load(run.context, test_quantized_path, NULL, &model, &run.err), &run.err);
    assert_ok(leat_session_create(model, NULL, &session, &run.err), &run.err);
    memset(&y, 0, sizeof(y));
    assert_ok(leat_session_run(session, &x, 1, &y, 1, &run.err), &run.err);
    double signal = 0, noise = 0;
    for (size_t i = 0; i < 7 * 9; i++) {
        double e = (double)((float *)y.data)[i] - (double)before[i];
        signal += (double)before[i] * (double)before[i];
        noise += e * e;
    }
    assert_true(noise > 0 && 10 * log10(signal / noise) > 28);
    leat_session_destroy(session);
    leat_model_destroy(model);
    leat_quantizer_destroy(q);
    test_run_free(&run);
    onnx_builder_destroy(b);
}

/* Convolutions with and without a bias, strided, in groups, padded: ConvInteger, and QConv when it
 * runs. */
static void dynamic_convolutions_keep_the_outputs(void **state)
{
    static const int64_t twos[] = {2, 2}, ones[] = {1, 1, 0, 2};
    const leat_attr strides = test_attr_ints("strides", twos, 2);
    const leat_attr grouped[] = {test_attr_int("group", 2), test_attr_ints("pads", ones, 4)};
    const leat_attr depthwise = test_attr_int("group", 24);
    onnx_builder *b = onnx_builder_create(13);
    test_run run;
    leat_model *model;
    leat_session *session;
    leat_plan_report plan = {.struct_size = sizeof(plan)};
    float data[IMAGE];
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx3x12x12");
    test_random_constant(b, "w1", "24x3x3x3", 0.4f, 0, 1);
    test_random_constant(b, "b1", "24", 0.5f, 0, 2);
    test_random_constant(b, "w2", "40x12x3x3", 0.2f, 0, 3);
    test_random_constant(b, "w3", "24x1x3x3", 0.4f, 0, 4);
    onnx_builder_node(b, "Conv", "x,w1,b1", "c1", &strides, 1);
    onnx_builder_node(b, "Relu", "c1", "r1", NULL, 0);
    onnx_builder_node(b, "Conv", "r1,w2", "y", grouped, 2);
    onnx_builder_node(b, "Conv", "r1,w3", "z", &depthwise, 1);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx40x4x6");
    onnx_builder_output(b, "z", LEAT_DTYPE_F32, "Nx24x3x3");
    test_run_load(&run, b);
    leat_quantizer *q = test_quantizer(&run, NULL);
    assert_ok(leat_quantizer_finish(q, test_quantized_path, &run.err), &run.err);
    leat_quantizer_report r = test_quantizer_report(q);
    assert_int_equal(r.method, LEAT_QUANTIZE_DYNAMIC);
    assert_int_equal(layer_of(&r, "c1")->bits, 8);
    assert_int_equal(layer_of(&r, "y")->bits, 8);
    assert_int_equal(layer_of(&r, "z")->bits, 32);
    assert_non_null(strstr(layer_of(&r, "z")->reason, "rarely"));
    assert_int_equal(count_ops(&run, test_quantized_path, "ConvInteger"), 2);
    assert_true(measure(&run, test_quantized_path, 40 * 24) > 30);
    leat_array x = image(data, 1), y[2] = {{0}, {0}};
    assert_ok(leat_model_load(run.context, test_quantized_path, NULL, &model, &run.err), &run.err);
    assert_ok(leat_session_create(model, NULL, &session, &run.err), &run.err);
    assert_ok(leat_session_run(session, &x, 1, y, 2, &run.err), &run.err);
    assert_ok(leat_session_report(session, &plan, &run.err), &run.err);
    size_t products = 0;
    for (size_t i = 0; i < plan.n_nodes; i++) {
        products += strncmp(plan.nodes[i].op, "QConv", 5) == 0;
        assert_string_not_equal(plan.nodes[i].op, "ConvInteger");
        assert_string_not_equal(plan.nodes[i].op, "Cast");
        assert_string_not_equal(plan.nodes[i].op, "Add"); /* the bias is in the product */
    }
    assert_int_equal(products, 2);
    leat_session_destroy(session);
    leat_model_destroy(model);
    leat_quantizer_destroy(q);
    test_run_free(&run);
    onnx_builder_destroy(b);
}

/* What rounding the weights takes from each channel, against loops over the data. */
static void lost_means_are_those_of_the_data(void **state)
{
    const leat_attr groups = test_attr_int("group", 2), turned = test_attr_int("transB", 1);
    enum {
        PIXELS = 12,
        IN = 6,
        OUT = 4,
        BATCH = 3
    };
    onnx_builder *b = onnx_builder_create(17);
    test_run run;
    float data[BATCH * IN * PIXELS];
    uint32_t seed = 9;
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx6x3x4");
    test_random_constant(b, "w", "4x3x1x1", 0.3f, 0, 1);
    test_random_constant(b, "v", "5x48", 0.3f, 0, 2);
    onnx_builder_node(b, "Conv", "x,w", "c", &groups, 1);
    onnx_builder_node(b, "Flatten", "c", "f", NULL, 0);
    onnx_builder_node(b, "Gemm", "f,v", "y", &turned, 1);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx5");
    test_run_load(&run, b);
    leat_quantizer *q = test_quantizer(&run, NULL);
    double want[OUT] = {0}, have[8];
    for (size_t i = 0; i < BATCH * IN * PIXELS; i++) {
        data[i] = test_seeded(&seed) + 0.5f;
    }
    for (size_t i = 0; i < BATCH; i++) { /* one by one, so that sums go over runs */
        leat_array x = test_f32(data + i * IN * PIXELS, "1x6x3x4");
        assert_ok(leat_quantizer_feed(q, &x, 1, NULL, 0, &run.err), &run.err);
    }
    lt_quant_layer *conv = &q->layers[0], *gemm = &q->layers[1];
    assert_ok(lt_quant_weights(q, conv, &run.err), &run.err);
    assert_ok(lt_quant_weights(q, gemm, &run.err), &run.err);
    const float *w = q->model->graph->values[conv->node->inputs[1]].data;
    for (size_t o = 0; o < OUT; o++) {
        for (size_t i = 0; i < 3; i++) {
            double lost = (double)w[o * 3 + i] - conv->weights[o * 3 + i] * (double)conv->scales[o];
            for (size_t p = 0; p < BATCH * PIXELS; p++) {
                size_t channel = o / 2 * 3 + i;
                want[o] += lost * (double)data[(p / PIXELS * IN + channel) * PIXELS + p % PIXELS];
            }
        }
        want[o] /= BATCH * PIXELS;
    }
    assert_true(lt_quant_lost_mean(q, conv, have));
    for (size_t o = 0; o < OUT; o++) {
        assert_true(want[o] != 0 && fabs(have[o] - want[o]) < 1e-7);
    }
    /* Weights the other way round, whose data is what the convolution gave: mean of its outputs */
    double mean[48] = {0};
    for (size_t n = 0; n < BATCH; n++) {
        for (size_t k = 0; k < 48; k++) {
            for (size_t i = 0; i < 3; i++) {
                size_t o = k / PIXELS, channel = o / 2 * 3 + i;
                mean[k] += (double)w[o * 3 + i] *
                           (double)data[(n * IN + channel) * PIXELS + k % PIXELS] / BATCH;
            }
        }
    }
    const float *v = q->model->graph->values[gemm->node->inputs[1]].data;
    assert_true(lt_quant_lost_mean(q, gemm, have));
    for (size_t o = 0; o < 5; o++) {
        double sum = 0;
        for (size_t k = 0; k < 48; k++) {
            double level = gemm->weights[o * 48 + k];
            sum += ((double)v[o * 48 + k] - level * (double)gemm->scales[o]) * mean[k];
        }
        assert_true(fabs(have[o] - sum) < 1e-6);
    }
    leat_quantizer_destroy(q);
    test_run_free(&run);
    onnx_builder_destroy(b);
}

/* --- what is refused ----------------------------------------------------------------------------
 */

static void bad_descriptors_are_refused(void **state)
{
    static const char *const keep[] = {"nobody"};
    onnx_builder *b = build_cnn(17, false);
    test_run run;
    (void)state;
    test_run_load(&run, b);
    const struct {
        leat_quantizer_desc desc;
        leat_status status;
        const char *part;
    } cases[] = {
        {{.struct_size = 1}, LEAT_INVALID, "struct_size"},
        {{.struct_size = sizeof(leat_quantizer_desc), .bits = 5}, LEAT_UNSUPPORTED, "5 bits"},
        {{.struct_size = sizeof(leat_quantizer_desc), .bits = 4, .method = LEAT_QUANTIZE_STATIC},
         LEAT_UNSUPPORTED,
         "4 bits"},
        {{.struct_size = sizeof(leat_quantizer_desc), .block = 48}, LEAT_INVALID, "blocks of 48"},
        {{.struct_size = sizeof(leat_quantizer_desc), .max_drop = -1}, LEAT_INVALID, "field"},
        {{.struct_size = sizeof(leat_quantizer_desc), .range = 9}, LEAT_INVALID, "field"},
        {{.struct_size = sizeof(leat_quantizer_desc), .keep = keep, .n_keep = 1},
         LEAT_INVALID,
         "'nobody'"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        leat_quantizer *q = (leat_quantizer *)&run;
        leat_status status = leat_quantizer_create(run.model, &cases[i].desc, &q, &run.err);
        test_assert_refused(status, cases[i].status, &run.err, cases[i].part);
        assert_null(q);
    }
    test_run_free(&run);
    onnx_builder_destroy(b);
}

static void quantized_model_is_refused(void **state)
{
    onnx_builder *b = build_cnn(17, false);
    test_run run;
    leat_model *model;
    leat_quantizer *again;
    (void)state;
    test_run_load(&run, b);
    leat_quantizer *q = test_quantizer(&run, NULL);
    feed(q, 1, 1, &run.err);
    assert_ok(leat_quantizer_finish(q, test_quantized_path, &run.err), &run.err);
    test_assert_refused(leat_quantizer_finish(q, test_quantized_path, &run.err), LEAT_INVALID,
                        &run.err, "finished");
    leat_quantizer_destroy(q);
    assert_ok(leat_model_load(run.context, test_quantized_path, NULL, &model, &run.err), &run.err);
    test_assert_refused(leat_quantizer_create(model, NULL, &again, &run.err), LEAT_INVALID,
                        &run.err, "quantized already");
    leat_model_destroy(model);
    test_run_free(&run);
    onnx_builder_destroy(b);
}

static void data_that_is_missing_or_bad_is_refused(void **state)
{
    onnx_builder *b = build_cnn(17, false);
    test_run run;
    float data[IMAGE];
    int64_t label = 5;
    (void)state;
    test_run_load(&run, b);
    leat_quantizer_desc desc = {.struct_size = sizeof(desc), .method = LEAT_QUANTIZE_STATIC};
    leat_quantizer *q = test_quantizer(&run, &desc);
    unlink(test_quantized_path);
    test_assert_refused(leat_quantizer_finish(q, test_quantized_path, &run.err), LEAT_INVALID,
                        &run.err, "calibration data");
    assert_int_equal(access(test_quantized_path, F_OK), -1); /* nothing was written */
    leat_array x = image(data, 1);
    data[17] = NAN;
    test_assert_refused(leat_quantizer_feed(q, &x, 1, NULL, 0, &run.err), LEAT_INVALID, &run.err,
                        "input 'x' holds NaN");
    data[17] = 3e38f; /* finite, but not its products */
    test_assert_refused(leat_quantizer_feed(q, &x, 1, NULL, 0, &run.err), LEAT_INVALID, &run.err,
                        "holds NaN or infinity");
    data[17] = 0;
    test_assert_refused(leat_quantizer_feed(q, &x, 1, &label, 1, &run.err), LEAT_INVALID, &run.err,
                        "label 5");
    label = 4;
    assert_ok(leat_quantizer_feed(q, &x, 1, &label, 1, &run.err), &run.err);
    x.shape[1] = 2;
    test_assert_refused(leat_quantizer_feed(q, &x, 1, NULL, 0, &run.err), LEAT_INVALID, &run.err,
                        "x");
    assert_ok(leat_quantizer_finish(q, test_quantized_path, &run.err), &run.err);
    leat_quantizer_report r = test_quantizer_report(q);
    assert_int_equal(r.n_batches, 1); /* those refused did not count */
    assert_string_equal(r.drop_measure, "accuracy");
    leat_quantizer_destroy(q);
    test_run_free(&run);
    onnx_builder_destroy(b);
}

static int cancel(void *user, const char *stage, uint64_t done, uint64_t total)
{
    (void)stage;
    (void)done;
    (void)total;
    return --*(int *)user < 0;
}

static void cancelled_leaves_no_file(void **state)
{
    (void)state;
    for (int after = 0; after < 6; after += 5) {
        onnx_builder *b = build_cnn(17, false);
        test_run run;
        int left = after;
        test_run_load(&run, b);
        leat_quantizer_desc desc = {.struct_size = sizeof(desc),
                                    .sensitivity = 1,
                                    .progress = cancel,
                                    .progress_user = &left};
        leat_quantizer *q = test_quantizer(&run, &desc);
        feed(q, 1, 2, &run.err);
        unlink(test_quantized_path);
        test_assert_refused(leat_quantizer_finish(q, test_quantized_path, &run.err), LEAT_CANCELLED,
                            &run.err, "");
        assert_int_equal(access(test_quantized_path, F_OK), -1);
        leat_quantizer_destroy(q);
        test_run_free(&run);
        onnx_builder_destroy(b);
    }
}

/* --- failing allocations ------------------------------------------------------------------------
 */

static void quantizing_survives_failing_allocations(void **state)
{
    float data[IMAGE];
    test_quantizing what = {.desc = {.range = LEAT_RANGE_MSE}, .x = image(data, 1)};
    (void)state;
    test_walk_quantizing(build_cnn(17, false), &what);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(static_each_range_and_target_keeps_the_outputs),
        cmocka_unit_test(static_whole_network_lies_on_grids),
        cmocka_unit_test(static_old_opset_is_raised),
        cmocka_unit_test(static_old_nodes_are_raised),
        cmocka_unit_test(static_same_data_gives_the_same_file),
        cmocka_unit_test(static_kept_layer_stays),
        cmocka_unit_test(budget_fragile_layer_goes_back),
        cmocka_unit_test(budget_out_of_reach_is_said),
        cmocka_unit_test(dynamic_products_of_matrices_keep_the_outputs),
        cmocka_unit_test(dynamic_convolutions_keep_the_outputs),
        cmocka_unit_test(lost_means_are_those_of_the_data),
        cmocka_unit_test(bad_descriptors_are_refused),
        cmocka_unit_test(quantized_model_is_refused),
        cmocka_unit_test(data_that_is_missing_or_bad_is_refused),
        cmocka_unit_test(cancelled_leaves_no_file),
        cmocka_unit_test(quantizing_survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, test_quantized_setup, test_quantized_teardown);
}

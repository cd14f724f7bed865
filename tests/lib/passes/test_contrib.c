/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes to be expanded that make no sense: each is expanded or refused with a message, and leaves
 * a valid graph. What they compute is compared with ONNX Runtime by scripts/ort_cases.sh. */
#include "support/test.h"

#include "passes/contrib/contrib.h"
#include "support/run.h"

#include <math.h>
#include <string.h>

#define MOST_INPUTS 12

typedef struct family {
    const char *domain;
    int32_t opset;
    const lt_contrib_op *ops;
} family;

static const family families[] = {{"com.microsoft", 1, lt_contrib_products},
                                  {"com.microsoft", 1, lt_contrib_norms},
                                  {"com.microsoft", 1, lt_contrib_attention},
                                  {"com.microsoft", 1, lt_contrib_quantized},
                                  {"com.microsoft", 1, lt_contrib_decoder},
                                  {"", 6, lt_contrib_older},
                                  {"", 9, lt_contrib_removed},
                                  {"", 28, lt_contrib_formulas},
                                  {"ai.onnx.preview", 1, lt_contrib_formulas}};

static uint32_t add_value(lt_graph *graph, leat_dtype dtype, int32_t rank, bool constant)
{
    static const uint64_t zeros[64];
    leat_error err = {0};
    uint32_t value;
    leat_array array = {dtype, rank, {2, 3, 4, 2}, (void *)zeros, 0};
    if (constant) {
        size_t count = 1;
        for (int32_t i = 0; i < rank; i++) {
            count *= (size_t)array.shape[i];
        }
        array.bytes = leat_dtype_bytes(dtype, count);
        assert_ok(lt_graph_add_constant(graph, NULL, &array, true, &value, &err), &err);
        return value;
    }
    assert_ok(lt_graph_add_value(graph, NULL, &value, &err), &err);
    leat_value *v = &graph->values[value];
    v->dtype = dtype;
    v->rank = rank;
    memcpy(v->shape, array.shape, sizeof(v->shape));
    return value;
}

/* One node with n inputs of that type and rank; every third one omitted when `gaps`. */
static void expand_one(const family *f, const char *op, uint32_t n, leat_dtype dtype, int32_t rank,
                       bool constant, bool gaps)
{
    lt_memory memory;
    lt_graph *graph;
    leat_error err = {0};
    uint32_t inputs[MOST_INPUTS], outputs[4];
    bool changed = false;
    lt_memory_init(&memory, NULL, 0);
    assert_ok(lt_graph_create(&memory, NULL, &graph, &err), &err);
    for (uint32_t i = 0; i < n; i++) {
        inputs[i] =
            gaps && i % 3 == 1 ? LEAT_NO_VALUE : add_value(graph, dtype, rank, constant && i > 0);
    }
    for (uint32_t i = 0; i < 4; i++) {
        assert_ok(lt_graph_add_value(graph, NULL, &outputs[i], &err), &err);
    }
    const leat_attr attrs[] = {{"num_heads", LEAT_ATTR_INT, 1, {.i = n % 2 ? 2 : -1}},
                               {"broadcast", LEAT_ATTR_INT, 1, {.i = n % 2}},
                               {"axis", LEAT_ATTR_INT, 1, {.i = n % 5}},
                               {"left_window_size", LEAT_ATTR_INT, 1, {.i = n % 3}},
                               {"is_test", LEAT_ATTR_INT, 1, {.i = n % 2}}};
    lt_node_desc desc = {.op = op,
                         .domain = f->domain,
                         .name = "n",
                         .inputs = inputs,
                         .n_inputs = n,
                         .outputs = outputs,
                         .n_outputs = 1 + n % 4,
                         .attrs = attrs,
                         .n_attrs = sizeof(attrs) / sizeof(attrs[0])};
    leat_node *node;
    assert_ok(lt_graph_add_node(graph, &desc, 0, &node, &err), &err);
    node->opset = f->opset;
    leat_status status = lt_pass_expand_contrib(graph, NULL, &changed, &err);
    if (status != LEAT_OK) {
        assert_true(status == LEAT_INVALID || status == LEAT_UNSUPPORTED);
        assert_true(err.message[0] != '\0');
    } else {
        for (uint32_t i = 0; i < graph->n_nodes; i++) {
            bool left = !changed && graph->n_nodes == 1; /* of another domain, or a plain one */
            assert_true(left || graph->nodes[i]->domain[0] == '\0');
        }
    }
    lt_graph_destroy(graph);
    assert_int_equal(memory.live_blocks, 0);
}

static void expand_any_inputs_refuses_or_succeeds(void **state)
{
    static const leat_dtype dtypes[] = {LEAT_DTYPE_F32, LEAT_DTYPE_U8, LEAT_DTYPE_I8,
                                        LEAT_DTYPE_I32, LEAT_DTYPE_STRING};
    (void)state;
    for (size_t f = 0; f < sizeof(families) / sizeof(families[0]); f++) {
        for (const lt_contrib_op *op = families[f].ops; op->op != NULL; op++) {
            for (uint32_t n = 0; n <= MOST_INPUTS; n++) {
                for (size_t d = 0; d < sizeof(dtypes) / sizeof(dtypes[0]); d++) {
                    for (int32_t rank = -1; rank <= 4; rank++) {
                        bool constant = n % 2 && rank >= 0 && dtypes[d] != LEAT_DTYPE_STRING;
                        expand_one(&families[f], op->op, n, dtypes[d], rank, constant, d % 2 != 0);
                    }
                }
            }
        }
    }
}

static void expand_unknown_operator_leaves_it(void **state)
{
    lt_memory memory;
    lt_graph *graph;
    leat_error err = {0};
    uint32_t y;
    bool changed = false;
    (void)state;
    lt_memory_init(&memory, NULL, 0);
    assert_ok(lt_graph_create(&memory, NULL, &graph, &err), &err);
    assert_ok(lt_graph_add_value(graph, NULL, &y, &err), &err);
    lt_node_desc desc = {
        .op = "Unheard", .domain = "com.microsoft", .name = "n", .outputs = &y, .n_outputs = 1};
    leat_node *node;
    assert_ok(lt_graph_add_node(graph, &desc, 0, &node, &err), &err);
    assert_ok(lt_pass_expand_contrib(graph, NULL, &changed, &err), &err);
    assert_false(changed);
    assert_int_equal(graph->n_nodes, 1);
    lt_graph_destroy(graph);
}

/* FlexAttention whose score_mod is `body`. */
static leat_status run_modified(onnx_builder *body, float *q, float *y, leat_error *err)
{
    onnx_builder *builder = onnx_builder_create(20);
    const leat_attr attr = test_attr_graph("score_mod", body);
    const float caps[1] = {3};
    leat_array in = test_f32(q, "1x1x3x2"), out;
    test_run r = {0};
    onnx_builder_import(builder, "ai.onnx.preview", 1);
    onnx_builder_input(builder, "q", LEAT_DTYPE_F32, "1x1xLx2");
    onnx_builder_floats(builder, "cap", "", caps);
    onnx_builder_node(builder, "ai.onnx.preview.FlexAttention", "q,q,q", "y", &attr, 1);
    onnx_builder_output(builder, "y", LEAT_DTYPE_F32, NULL);
    test_run_load(&r, builder);
    leat_status status = leat_session_create(r.model, NULL, &r.session, err);
    if (status == LEAT_OK) {
        test_run_ok(&r, &in, 1, &out, 1);
        memcpy(y, out.data, out.bytes);
    }
    test_run_free(&r);
    onnx_builder_destroy(builder);
    onnx_builder_destroy(body);
    return status;
}

/* score_mod: at least a number of the graph outside. */
static onnx_builder *clipping_body(uint32_t n_inputs)
{
    onnx_builder *body = onnx_builder_create(20);
    onnx_builder_input(body, "scores", LEAT_DTYPE_F32, NULL);
    for (uint32_t i = 1; i < n_inputs; i++) {
        onnx_builder_input(body, "more", LEAT_DTYPE_F32, NULL);
    }
    onnx_builder_node(body, "Max", "scores,cap", "clipped", NULL, 0);
    onnx_builder_output(body, "clipped", LEAT_DTYPE_F32, NULL);
    return body;
}

static void flex_attention_inlines_its_body(void **state)
{
    float q[6] = {2, -1, 0.5f, 3, -2, 1}, y[6];
    leat_error err = {0};
    (void)state;
    assert_ok(run_modified(clipping_body(1), q, y, &err), &err);
    for (int i = 0; i < 3; i++) {
        double sum = 0, wanted[2] = {0, 0};
        for (int j = 0; j < 3; j++) {
            double s = (q[2 * i] * q[2 * j] + q[2 * i + 1] * q[2 * j + 1]) / sqrt(2);
            double p = exp(s > 3 ? s : 3);
            sum += p;
            wanted[0] += p * q[2 * j];
            wanted[1] += p * q[2 * j + 1];
        }
        assert_float_equal(y[2 * i], wanted[0] / sum, 1e-5);
        assert_float_equal(y[2 * i + 1], wanted[1] / sum, 1e-5);
    }
}

/* The body hands its input on: the scores stay as they are. */
static void flex_attention_body_may_be_empty(void **state)
{
    float q[6] = {2, -1, 0.5f, 3, -2, 1}, y[6];
    onnx_builder *body = onnx_builder_create(20);
    leat_error err = {0};
    (void)state;
    onnx_builder_input(body, "scores", LEAT_DTYPE_F32, NULL);
    onnx_builder_output(body, "scores", LEAT_DTYPE_F32, NULL);
    assert_ok(run_modified(body, q, y, &err), &err);
    assert_true(y[0] > 1 && y[0] < 2);
}

static void flex_attention_refuses_bodies_that_do_not_fit(void **state)
{
    float q[6] = {0}, y[6];
    leat_error err = {0};
    (void)state;
    assert_int_equal(run_modified(clipping_body(2), q, y, &err), LEAT_UNSUPPORTED);
    assert_non_null(strstr(err.message, "one input and one output"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expand_any_inputs_refuses_or_succeeds),
        cmocka_unit_test(expand_unknown_operator_leaves_it),
        cmocka_unit_test(flex_attention_inlines_its_body),
        cmocka_unit_test(flex_attention_body_may_be_empty),
        cmocka_unit_test(flex_attention_refuses_bodies_that_do_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "support/passes_case.h"

#include "graph/infer.h"
#include "onnx/reader.h"
#include "support/kernel.h"

static leat_array array_of(const leat_value *value, void *data)
{
    leat_array a = {
        .dtype = value->dtype, .rank = value->rank, .data = data, .bytes = value->bytes};
    memcpy(a.shape, value->shape, sizeof(a.shape));
    return a;
}

static leat_status evaluate(void *user, const leat_node *node, const leat_value *values,
                            void *const *out, leat_error *err)
{
    leat_array in[8] = {{0}}, results[8] = {{0}};
    (void)user;
    for (uint32_t i = 0; i < node->n_inputs; i++) {
        if (node->inputs[i] != LEAT_NO_VALUE) {
            const leat_value *value = &values[node->inputs[i]];
            in[i] = array_of(value, (void *)value->data);
        }
    }
    for (uint32_t i = 0; i < node->n_outputs; i++) {
        results[i] = array_of(&values[node->outputs[i]], out[i]);
    }
    test_kernel kernel = {.op = node->op,
                          .domain = node->domain,
                          .opset = node->opset,
                          .attrs = node->attrs,
                          .n_attrs = node->n_attrs,
                          .inputs = in,
                          .n_inputs = node->n_inputs,
                          .constants = UINT64_MAX,
                          .outputs = results,
                          .n_outputs = node->n_outputs};
    return test_kernel_run(&kernel, NULL, err);
}

/* A device that runs everything, and likes windows over channels-last data. */
static bool supports(void *user, const lt_graph *graph, const leat_node *node,
                     leat_layout *out_layout)
{
    const passes_case *c = user;
    bool window = strstr(node->op, "Conv") != NULL || strstr(node->op, "Pool") != NULL;
    *out_layout = window ? LEAT_LAYOUT_CHANNELS_LAST : LEAT_LAYOUT_ANY;
    if (c->narrow_factors && leat_node_attr(node, "compute") != NULL) {
        return graph->values[node->inputs[0]].dtype != LEAT_DTYPE_F32 &&
               graph->values[node->inputs[1]].dtype != LEAT_DTYPE_F32;
    }
    return !(c->refuse_leat && strcmp(node->domain, "leat") == 0);
}

void passes_case_start(passes_case *c, onnx_builder *builder)
{
    leat_error err = {0};
    size_t bytes;
    memset(c, 0, sizeof(*c));
    c->builder = builder;
    lt_memory_init(&c->memory, NULL, 0);
    const void *data = onnx_builder_finish(builder, &bytes);
    lt_onnx_source source = {.data = data, .bytes = bytes};
    assert_ok(lt_onnx_read(&c->memory, &source, &c->graph, &err), &err);
    assert_ok(lt_infer_graph(c->graph, true, &err), &err);
    c->context = (lt_pass_context){.user = c, .evaluate = evaluate, .supports = supports};
}

void passes_case_end(passes_case *c)
{
    lt_graph_destroy(c->graph);
    onnx_builder_destroy(c->builder);
    assert_int_equal(c->memory.live_blocks, 0);
}

void passes_case_run(passes_case *c, lt_pass_fn pass, bool changed)
{
    leat_error err = {0};
    bool did = false;
    assert_ok(pass(c->graph, &c->context, &did, &err), &err);
    assert_ok(lt_graph_check(c->graph, &err), &err);
    assert_int_equal(did, changed);
}

void passes_case_run_device(passes_case *c)
{
    leat_error err = {0};
    assert_ok(lt_passes_run_device(c->graph, &c->context, &err), &err);
    assert_ok(lt_graph_check(c->graph, &err), &err);
}

void passes_case_expect(passes_case *c, const char *expected)
{
    char text[8192];
    assert_true(lt_graph_text(c->graph, text, sizeof(text)) < sizeof(text));
    assert_string_equal(text, expected);
}

const float *passes_case_floats(passes_case *c, uint32_t node, uint32_t input)
{
    assert_true(node < c->graph->n_nodes);
    const leat_value *value = &c->graph->values[c->graph->nodes[node]->inputs[input]];
    assert_non_null(value->data);
    assert_int_equal(value->dtype, LEAT_DTYPE_F32);
    return value->data;
}

uint32_t passes_case_count(const passes_case *c, const char *op)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->graph->n_nodes; i++) {
        count += strcmp(c->graph->nodes[i]->op, op) == 0;
    }
    return count;
}

const leat_node *passes_case_node(const passes_case *c, const char *op, uint32_t which)
{
    for (uint32_t i = 0; i < c->graph->n_nodes; i++) {
        if (strcmp(c->graph->nodes[i]->op, op) == 0 && which-- == 0) {
            return c->graph->nodes[i];
        }
    }
    fail_msg("no %s", op);
    return NULL;
}

const leat_value *passes_case_value(const passes_case *c, const char *name)
{
    uint32_t v = lt_graph_find_value(c->graph, name);
    assert_true(v != LEAT_NO_VALUE);
    return &c->graph->values[v];
}

/* SPDX-License-Identifier: Apache-2.0 */
/* HardSwish as exporters write it without the operator, and a scaled sum that gates leave:
 *
 *     x * Clip(x + 3, 0, 6) / 6  -> HardSwish(x)   in any order of its multiplications
 *     x + x * s                  -> x * (s + 1)    s has one element for each channel (spatial
 *                                                  dimensions are 1), so a pass over x is saved */
#include "passes/monomial.h"

#include <math.h>

/* --- HardSwish ----------------------------------------------------------------------------------
 */

/* Whether `value` is Clip(x + 3, 0, 6), and nothing else reads its parts. */
static bool is_gate(const lt_graph *graph, const lt_uses *uses, uint32_t value, uint32_t x,
                    lt_formula *formula)
{
    double low = (double)NAN, high = (double)NAN, number;
    uint32_t rest;
    const leat_node *clip = lt_read_node(uses, value, "Clip", formula);
    if (clip == NULL) {
        return false;
    }
    if (lt_input_of(clip, 1) == LEAT_NO_VALUE) {
        low = (double)leat_node_float(clip, "min", NAN);
    } else if (!lt_constant_float(graph, clip->inputs[1], &low)) {
        return false;
    }
    if (lt_input_of(clip, 2) == LEAT_NO_VALUE) {
        high = (double)leat_node_float(clip, "max", NAN);
    } else if (!lt_constant_float(graph, clip->inputs[2], &high)) {
        return false;
    }
    return low == 0 && high == 6 &&
           lt_read_sum(graph, uses, clip->inputs[0], formula, &rest, &number) && number == 3 &&
           rest == x;
}

static leat_status fuse_hardswish(lt_graph *graph, const lt_uses *uses, const leat_node *last,
                                  bool *out_changed, leat_error *err)
{
    lt_formula formula = {.n_nodes = 0};
    lt_monomial m;
    if ((!lt_is_onnx(last, "Mul") && !lt_is_onnx(last, "Div")) || last->n_outputs != 1 ||
        !lt_read_product(graph, uses, last, &formula, &m) || m.n != 2 || m.powers[0] != 1 ||
        m.powers[1] != 1 || !lt_about(m.factor * 6, 1, graph->values[last->outputs[0]].dtype)) {
        return LEAT_OK;
    }
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t x = m.values[1 - i];
        lt_formula whole = formula;
        if (!is_gate(graph, uses, m.values[i], x, &whole) || whole.full ||
            !lt_same_shape(graph, x, last->outputs[0])) {
            continue;
        }
        lt_node_desc desc = {.op = "HardSwish",
                             .domain = "",
                             .name = last->name,
                             .inputs = &x,
                             .n_inputs = 1,
                             .outputs = last->outputs,
                             .n_outputs = 1};
        leat_status status = lt_graph_add_node(graph, &desc, lt_position(graph, last), NULL, err);
        if (status == LEAT_OK) {
            lt_formula_remove(graph, &whole);
            *out_changed = true;
        }
        return status;
    }
    return LEAT_OK;
}

/* --- x + x * s ----------------------------------------------------------------------------------
 */

/* Whether the value holds one number a channel: N, C, 1, 1... */
static bool is_gate_shape(const leat_value *s)
{
    for (int32_t i = 2; i < s->rank; i++) {
        if (s->shape[i] != 1) {
            return false;
        }
    }
    return s->rank >= 3 && s->dtype == LEAT_DTYPE_F32;
}

/* s + 1 before `at`. */
static leat_status add_one(lt_graph *graph, uint32_t s, const leat_node *at, uint32_t *out,
                           leat_error *err)
{
    static const float one = 1;
    leat_array array = {LEAT_DTYPE_F32, 0, {0}, (void *)&one, sizeof(one)};
    leat_value v = graph->values[s];
    uint32_t inputs[2] = {s, 0};
    leat_status status = lt_graph_add_constant(graph, NULL, &array, true, &inputs[1], err);
    if (status == LEAT_OK) {
        status = lt_new_value(graph, v.dtype, v.rank, v.shape, out, err);
    }
    lt_node_desc desc = {.op = "Add",
                         .domain = "",
                         .name = "",
                         .inputs = inputs,
                         .n_inputs = 2,
                         .outputs = out,
                         .n_outputs = 1};
    return status != LEAT_OK ? status
                             : lt_graph_add_node(graph, &desc, lt_position(graph, at), NULL, err);
}

static leat_status fuse_sum(lt_graph *graph, const lt_uses *uses, leat_node *add, bool *out_changed,
                            leat_error *err)
{
    if (!lt_is_onnx(add, "Add") || add->n_inputs != 2 || add->n_outputs != 1) {
        return LEAT_OK;
    }
    for (uint32_t i = 0; i < 2; i++) {
        const leat_node *mul = uses->producer[add->inputs[i]];
        uint32_t x = add->inputs[1 - i], inputs[2] = {x, 0};
        if (mul == NULL || !lt_is_onnx(mul, "Mul") || mul->opset < 7 ||
            lt_only_reader(uses, mul->outputs[0]) != add ||
            (mul->inputs[0] != x && mul->inputs[1] != x)) {
            continue;
        }
        uint32_t s = mul->inputs[mul->inputs[0] == x ? 1 : 0];
        if (!is_gate_shape(&graph->values[s]) || graph->values[s].data != NULL || s == x) {
            continue;
        }
        leat_status status = add_one(graph, s, mul, &inputs[1], err);
        lt_node_desc desc = {.op = "Mul",
                             .domain = "",
                             .name = add->name,
                             .inputs = inputs,
                             .n_inputs = 2,
                             .outputs = add->outputs,
                             .n_outputs = 1};
        if (status == LEAT_OK) {
            status = lt_graph_add_node(graph, &desc, lt_position(graph, add), NULL, err);
        }
        if (status == LEAT_OK) {
            lt_graph_remove_node(graph, mul);
            lt_graph_remove_node(graph, add);
            *out_changed = true;
        }
        return status;
    }
    return LEAT_OK;
}

/* --- the pass -----------------------------------------------------------------------------------
 */

/* One change a call: the uses are built anew after each. */
static leat_status step(lt_graph *graph, lt_arena *scratch, uint32_t *at, bool *out_changed,
                        leat_error *err)
{
    lt_uses uses;
    leat_status status = lt_uses_build(graph, scratch, &uses, err);
    for (; *at < graph->n_nodes && status == LEAT_OK && !*out_changed; ++*at) {
        leat_node *node = graph->nodes[*at];
        status = fuse_hardswish(graph, &uses, node, out_changed, err);
        if (status == LEAT_OK && !*out_changed) {
            status = fuse_sum(graph, &uses, node, out_changed, err);
        }
    }
    return status;
}

leat_status lt_pass_fuse_hardswish(lt_graph *graph, const lt_pass_context *context,
                                   bool *out_changed, leat_error *err)
{
    return context->supports ? lt_run_steps(graph, step, UINT32_MAX, out_changed, err) : LEAT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Raises the version of ONNX that a model is written in. */
#include "base/error.h"
#include "quantizer/quantizer.h"

#include <string.h>

#define LEAST_OPSET 13

/* What an operator means in version 13 it has meant since `since` (7: all that are read), and means
 * until `until`, the last change up to 21; 0: there is none. Those that are not listed have meant
 * it since 13. */
static const struct meaning {
    const char *op;
    int32_t since, until;
} meanings[] = {
    {"Abs", 7, 0},
    {"Add", 7, 0},
    {"ArgMax", 11, 0},
    {"ArgMin", 11, 0},
    {"AveragePool", 7, 19},
    {"Cast", 9, 0},
    {"Ceil", 7, 0},
    {"Clip", 11, 0},
    {"Concat", 7, 0},
    {"Conv", 7, 0},
    {"ConvTranspose", 7, 0},
    {"DepthToSpace", 11, 0},
    {"Div", 7, 0},
    {"Elu", 7, 0},
    {"Equal", 7, 0},
    {"Erf", 7, 0},
    {"Exp", 7, 0},
    {"Expand", 7, 0},
    {"Flatten", 7, 0},
    {"Floor", 7, 0},
    {"GRU", 7, 0},
    {"Gather", 7, 0},
    {"GatherElements", 11, 0},
    {"GatherND", 11, 0},
    {"Gemm", 7, 0},
    {"GlobalAveragePool", 7, 0},
    {"GlobalMaxPool", 7, 0},
    {"Greater", 7, 0},
    {"HardSigmoid", 7, 0},
    {"Identity", 7, 0},
    {"InstanceNormalization", 7, 0},
    {"IsNaN", 9, 0},
    {"LRN", 7, 0},
    {"LSTM", 7, 0},
    {"LeakyRelu", 7, 0},
    {"Less", 7, 0},
    {"Log", 7, 0},
    {"MatMul", 7, 0},
    {"Max", 8, 0},
    {"MaxPool", 7, 0},
    {"Mean", 7, 0},
    {"Min", 8, 0},
    {"Mod", 10, 0},
    {"Mul", 7, 0},
    {"Neg", 7, 0},
    {"NonZero", 9, 0},
    {"Not", 7, 0},
    {"PRelu", 7, 0},
    {"Pad", 11, 19},
    {"Pow", 7, 0},
    {"RNN", 7, 0},
    {"Reciprocal", 7, 0},
    {"ReduceL1", 11, 18},
    {"ReduceL2", 11, 18},
    {"ReduceLogSum", 11, 18},
    {"ReduceLogSumExp", 11, 18},
    {"ReduceMax", 11, 18},
    {"ReduceMean", 11, 18},
    {"ReduceMin", 11, 18},
    {"ReduceProd", 11, 18},
    {"ReduceSumSquare", 11, 18},
    {"Relu", 7, 0},
    {"Reshape", 7, 0},
    {"Resize", 11, 19},
    {"ScatterElements", 11, 0},
    {"ScatterND", 11, 0},
    {"Shape", 7, 0},
    {"Sigmoid", 7, 0},
    {"Sign", 7, 0},
    {"Size", 7, 0},
    {"Slice", 10, 0},
    {"Softplus", 7, 0},
    {"SpaceToDepth", 7, 0},
    {"Sqrt", 7, 0},
    {"Sub", 7, 0},
    {"Sum", 7, 0},
    {"Tanh", 7, 0},
    {"Tile", 7, 0},
    {"TopK", 11, 0},
    {"Transpose", 7, 0},
    {"Where", 7, 0},
    {"BatchNormalization", 13, 15},
    {"DFT", 13, 20},
    {"GridSample", 13, 20},
    {"GroupNormalization", 13, 21},
    {"Optional", 13, 21},
    {"Split", 13, 18},
};

static struct meaning meaning_of(const char *op)
{
    for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++) {
        if (strcmp(op, meanings[i].op) == 0) {
            return meanings[i];
        }
    }
    return (struct meaning){op, LEAST_OPSET, 0};
}

/* A mode of Resize that 13 does not have. */
static bool is_gone(const leat_node *node)
{
    return strcmp(node->op, "Resize") == 0 &&
           leat_node_string_is(node, "coordinate_transformation_mode", "tf_half_pixel_for_nn");
}

/* Softmax and its like, which took all axes from theirs on, along the last one, which was not the
 * usual one then. */
static bool is_last_axis(const lt_graph *graph, const leat_node *node)
{
    static const char *const ops[] = {"Softmax", "LogSoftmax", "Hardmax"};
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        if (strcmp(node->op, ops[i]) == 0) {
            const int32_t rank = graph->values[node->inputs[0]].rank;
            const int64_t axis = leat_node_int(node, "axis", 1);
            return axis == -1 || (rank > 0 && axis == rank - 1);
        }
    }
    return false;
}

/* Whether a node of an older version means the same in `to`, 13 or 21. Others of such a model are
 * written as functions that import their own version (onnx/write_opsets.c). */
static bool means_the_same(const lt_graph *graph, const leat_node *node, int to)
{
    const struct meaning m = meaning_of(node->op);
    const bool in_13 = (node->opset >= m.since && !is_gone(node)) || is_last_axis(graph, node);
    return in_13 && (to <= LEAST_OPSET || node->opset >= m.until);
}

/* Moves an attribute that is an input in version `to` there; *out_moved: it was one. */
static leat_status move_attr(lt_graph *graph, leat_node *node, int to, bool *out_moved,
                             leat_error *err)
{
    static const struct {
        const char *op, *attr;
        int version;
    } moves[] = {{"Squeeze", "axes", 13},        {"Unsqueeze", "axes", 13},
                 {"ReduceSum", "axes", 13},      {"Split", "split", 13},
                 {"ReduceMax", "axes", 18},      {"ReduceMin", "axes", 18},
                 {"ReduceMean", "axes", 18},     {"ReduceProd", "axes", 18},
                 {"ReduceL1", "axes", 18},       {"ReduceL2", "axes", 18},
                 {"ReduceLogSum", "axes", 18},   {"ReduceLogSumExp", "axes", 18},
                 {"ReduceSumSquare", "axes", 18}};
    const leat_attr *attr = NULL;
    for (size_t i = 0; i < sizeof(moves) / sizeof(moves[0]) && attr == NULL; i++) {
        if (strcmp(node->op, moves[i].op) == 0 && node->opset < moves[i].version &&
            to >= moves[i].version && node->opset >= 11) {
            attr = leat_node_attr(node, moves[i].attr);
        }
    }
    *out_moved = attr != NULL && attr->type == LEAT_ATTR_INTS && node->n_inputs == 1;
    if (!*out_moved) {
        return LEAT_OK;
    }
    const int64_t shape[1] = {(int64_t)attr->count};
    const lt_quant_constant constant = {graph->values[node->inputs[0]].name,
                                        strcmp(node->op, "Split") == 0 ? "_split" : "_axes",
                                        LEAT_DTYPE_I64,
                                        1,
                                        shape,
                                        attr->u.ints,
                                        true};
    uint32_t *inputs = lt_arena_array(lt_graph_arena(graph), 2, sizeof(*inputs));
    leat_attr *rest = lt_arena_array(lt_graph_arena(graph), node->n_attrs + 1u, sizeof(*rest));
    if (inputs == NULL || rest == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for a quantized model");
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < node->n_attrs; i++) {
        if (&node->attrs[i] != attr) {
            rest[kept++] = node->attrs[i];
        }
    }
    inputs[0] = node->inputs[0];
    node->inputs = inputs;
    node->n_inputs = 2;
    node->attrs = rest;
    node->n_attrs = kept;
    return lt_quant_add_constant(graph, &constant, &inputs[1], err);
}

/* Nodes that mean something else in the new version keep theirs. */
static leat_status raise_nodes(lt_graph *graph, int to, leat_error *err)
{
    for (uint32_t n = 0; n < graph->n_nodes; n++) {
        leat_node *node = graph->nodes[n];
        bool moved;
        if (node->domain[0] != '\0' || node->opset >= to) {
            continue;
        }
        leat_status status = move_attr(graph, node, to, &moved, err);
        if (status != LEAT_OK) {
            return status;
        }
        if (moved || means_the_same(graph, node, to)) {
            node->opset = to;
        }
    }
    return LEAT_OK;
}

leat_status lt_quant_raise_opset(lt_graph *graph, int to, leat_error *err)
{
    leat_status status = LEAT_OK;
    for (size_t i = 0; i < graph->n_opsets && status == LEAT_OK; i++) {
        lt_opset *opset = &graph->opsets[i];
        bool onnx = opset->domain[0] == '\0' || strcmp(opset->domain, "ai.onnx") == 0;
        if (onnx && opset->version < to) {
            opset->version = to;
            status = raise_nodes(graph, to, err);
        }
    }
    return status;
}

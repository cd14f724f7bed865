/* SPDX-License-Identifier: Apache-2.0 */
/* Raises the version of ONNX that a model is written in. */
#include "base/error.h"
#include "quantizer/quantizer.h"

#include <string.h>

#define LEAST_OPSET 13

/* Version from which on one of the operators below meant what it means in 13. */
static int32_t first_version(const char *op)
{
    static const char *const of_11[] = {
        "Clip",         "Resize",         "Pad",      "ArgMax",          "ArgMin",   "TopK",
        "DepthToSpace", "GatherElements", "GatherND", "ScatterElements", "ScatterND"};
    for (size_t i = 0; i < sizeof(of_11) / sizeof(of_11[0]); i++) {
        if (strcmp(op, of_11[i]) == 0) {
            return 11;
        }
    }
    if (strncmp(op, "Reduce", 6) == 0) {
        return 11;
    }
    const bool is_of_9 =
        strcmp(op, "Cast") == 0 || strcmp(op, "NonZero") == 0 || strcmp(op, "IsNaN") == 0;
    const bool is_extreme = strcmp(op, "Max") == 0 || strcmp(op, "Min") == 0;
    return strcmp(op, "Slice") == 0 || strcmp(op, "Mod") == 0 ? 10
           : is_of_9                                          ? 9
           : is_extreme                                       ? 8
                                                              : 7;
}

/* A mode of Resize that 13 does not have. */
static bool is_gone(const leat_node *node)
{
    const leat_attr *mode = leat_node_attr(node, "coordinate_transformation_mode");
    static const char gone[] = "tf_half_pixel_for_nn";
    return strcmp(node->op, "Resize") == 0 && mode != NULL && mode->type == LEAT_ATTR_STRING &&
           mode->u.s.bytes == sizeof(gone) - 1 &&
           memcmp(mode->u.s.data, gone, sizeof(gone) - 1) == 0;
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

/* Operators that mean in opset 13 what they meant in 7 to 12. Others of such a model are written as
 * functions that import their own version (onnx/write_opsets.c). */
static bool means_the_same(const lt_graph *graph, const leat_node *node)
{
    static const char *const ops[] = {"Abs",
                                      "Cast",
                                      "Add",
                                      "AveragePool",
                                      "Concat",
                                      "Conv",
                                      "ConvTranspose",
                                      "Div",
                                      "Elu",
                                      "Equal",
                                      "Erf",
                                      "Exp",
                                      "Expand",
                                      "Flatten",
                                      "Floor",
                                      "Gather",
                                      "Gemm",
                                      "Greater",
                                      "GlobalAveragePool",
                                      "GRU",
                                      "Identity",
                                      "LSTM",
                                      "LRN",
                                      "LeakyRelu",
                                      "GlobalMaxPool",
                                      "Less",
                                      "Log",
                                      "MatMul",
                                      "MaxPool",
                                      "Mul",
                                      "InstanceNormalization",
                                      "Neg",
                                      "Not",
                                      "PRelu",
                                      "Pow",
                                      "RNN",
                                      "Reciprocal",
                                      "Relu",
                                      "HardSigmoid",
                                      "Reshape",
                                      "Shape",
                                      "Sigmoid",
                                      "Slice",
                                      "Softplus",
                                      "Sqrt",
                                      "Sub",
                                      "Tanh",
                                      "Transpose",
                                      "Where",
                                      "ReduceMax",
                                      "ReduceMin",
                                      "ReduceMean",
                                      "ReduceProd",
                                      "ReduceL1",
                                      "ReduceL2",
                                      "ReduceLogSum",
                                      "ReduceLogSumExp",
                                      "ReduceSumSquare",
                                      "Clip",
                                      "Resize",
                                      "Pad",
                                      "ArgMax",
                                      "ArgMin",
                                      "TopK",
                                      "DepthToSpace",
                                      "GatherElements",
                                      "GatherND",
                                      "ScatterElements",
                                      "ScatterND",
                                      "Max",
                                      "Min",
                                      "Sum",
                                      "Mean",
                                      "Ceil",
                                      "Sign",
                                      "Tile",
                                      "Size",
                                      "Mod",
                                      "NonZero",
                                      "IsNaN",
                                      "SpaceToDepth"};
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        if (strcmp(node->op, ops[i]) == 0) {
            return node->opset >= first_version(node->op) && !is_gone(node);
        }
    }
    return node->opset >= LEAST_OPSET || is_last_axis(graph, node);
}

/* Operators that mean in opset 21 something else than in 13 and in some version between. */
static bool changed_after_13(const leat_node *node)
{
    static const struct {
        const char *op;
        int version;
    } ops[] = {{"Split", 18},
               {"ReduceMax", 18},
               {"ReduceMin", 18},
               {"ReduceMean", 18},
               {"ReduceProd", 18},
               {"ReduceL1", 18},
               {"ReduceL2", 18},
               {"ReduceLogSum", 18},
               {"ReduceLogSumExp", 18},
               {"Resize", 19},
               {"ReduceSumSquare", 18},
               {"BatchNormalization", 15},
               {"GridSample", 20},
               {"DFT", 20},
               {"GroupNormalization", 21},
               {"AveragePool", 19},
               {"Optional", 21},
               {"Pad", 19}};
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        if (strcmp(node->op, ops[i].op) == 0) {
            return node->opset < ops[i].version;
        }
    }
    return false;
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
        if (moved ||
            (means_the_same(graph, node) && (to <= LEAST_OPSET || !changed_after_13(node)))) {
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

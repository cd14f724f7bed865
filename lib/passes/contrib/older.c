/* SPDX-License-Identifier: Apache-2.0 */
/* Operators of ai.onnx before opset 7 whose meaning changed with it, as those of today:
 * broadcasting was asked for by attributes (`broadcast`, and `axis` where b begins in a), slopes of
 * PRelu were one a channel, and inference by `is_test`. */
#include "passes/contrib/contrib.h"

#include <string.h>

/* b with `count` dimensions of 1 behind. */
static uint32_t widen(lt_contrib *c, uint32_t b, int32_t rank, int64_t count)
{
    int64_t axes[LEAT_MAX_RANK];
    if (count <= 0) {
        return b;
    }
    for (int64_t i = 0; i < count; i++) {
        axes[i] = rank + i;
    }
    uint32_t where = lt_emit_ints(c, axes, (size_t)count);
    return lt_emit2(c, "Unsqueeze", b, where);
}

static void binary(lt_contrib *c)
{
    uint32_t a = lt_contrib_in(c, 0), b = lt_contrib_in(c, 1);
    int64_t broadcast = leat_node_int(c->node, "broadcast", 0);
    if (broadcast != 0 && leat_node_attr(c->node, "axis") != NULL) {
        int32_t ra = lt_contrib_value(c, a)->rank, rb = lt_contrib_value(c, b)->rank;
        int64_t axis = leat_node_int(c->node, "axis", -1);
        axis = axis < 0 ? axis + ra : axis;
        if (ra < 0 || rb < 0 || axis < 0 || axis > ra - rb) {
            lt_contrib_refuse(c, "its second input does not fit at `axis`");
            return;
        }
        b = widen(c, b, rb, ra - rb - axis);
    }
    lt_contrib_to(c, 0);
    lt_emit2(c, c->node->op, a, b);
}

/* One slope, or one a channel. */
static void prelu(lt_contrib *c)
{
    uint32_t x = lt_contrib_in(c, 0), slope = lt_contrib_in(c, 1);
    leat_value s = *lt_contrib_value(c, slope);
    int32_t rank = lt_contrib_value(c, x)->rank;
    if (rank < 0 || s.rank < 0 || s.rank > 1) {
        lt_contrib_refuse(c, "the rank of its slope is not 0 or 1, or that of its data not known");
        return;
    }
    bool channels = s.rank == 1 && s.shape[0] != 1 && rank > 2;
    slope = channels ? widen(c, slope, 1, rank - 2) : slope;
    lt_contrib_to(c, 0);
    lt_emit2(c, "PRelu", x, slope);
}

static void gemm(lt_contrib *c)
{
    static const char *const kept[] = {"alpha", "beta", "transA", "transB"};
    lt_contrib_to(c, 0);
    lt_emit3(c, "Gemm", lt_contrib_in(c, 0), lt_contrib_in(c, 1), lt_contrib_in(c, 2));
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        lt_with_attr(c, kept[i], NULL);
    }
}

static void batch_norm(lt_contrib *c)
{
    uint32_t inputs[5];
    for (uint32_t i = 0; i < 5; i++) {
        inputs[i] = lt_contrib_in(c, i);
    }
    if (leat_node_int(c->node, "is_test", 0) == 0 || leat_node_int(c->node, "spatial", 1) == 0) {
        lt_contrib_refuse(c, "only inference (is_test 1), with one mean a channel, is served");
        return;
    }
    lt_contrib_to(c, 0);
    lt_emit(c, "BatchNormalization", inputs, 5);
    lt_with_attr(c, "epsilon", NULL);
}

static void dropout(lt_contrib *c)
{
    if (leat_node_int(c->node, "is_test", 0) == 0 || lt_contrib_wants(c, 1)) {
        lt_contrib_refuse(c, "only inference (is_test 1) is served");
        return;
    }
    lt_contrib_give(c, 0, lt_contrib_in(c, 0));
}

const lt_contrib_op lt_contrib_older[] = {{"Add", binary},      {"And", binary},
                                          {"Div", binary},      {"Equal", binary},
                                          {"Greater", binary},  {"Less", binary},
                                          {"Mul", binary},      {"Or", binary},
                                          {"Pow", binary},      {"Sub", binary},
                                          {"Xor", binary},      {"PRelu", prelu},
                                          {"Gemm", gemm},       {"BatchNormalization", batch_norm},
                                          {"Dropout", dropout}, {NULL, NULL}};

/* SPDX-License-Identifier: Apache-2.0 */
/* Normalisations with a residual or an embedding fused. */
#include "passes/contrib/contrib.h"

static void with_epsilon(lt_contrib *c, float otherwise)
{
    lt_with_int(c, "axis", -1);
    lt_with_float(c, "epsilon", leat_node_float(c->node, "epsilon", otherwise));
}

/* Outputs 1 and 2 (mean, inverse deviation) are for training; 3 is the sum. */
static bool refuse_statistics(lt_contrib *c)
{
    bool refused = lt_contrib_wants(c, 1) || lt_contrib_wants(c, 2);
    if (refused) {
        lt_contrib_refuse(c, "mean and inverse deviation are not given out");
    }
    return refused;
}

static uint32_t sum_with_skip(lt_contrib *c, uint32_t bias)
{
    uint32_t x = lt_contrib_in(c, 0), skip = lt_contrib_in(c, 1);
    if (bias != LEAT_NO_VALUE) {
        x = lt_emit2(c, "Add", x, bias);
    }
    if (lt_contrib_wants(c, 3)) {
        lt_contrib_to(c, 3);
    }
    return lt_emit2(c, "Add", x, skip);
}

/* input, skip, gamma, beta?, bias? */
static void skip_layer_norm(lt_contrib *c)
{
    if (refuse_statistics(c)) {
        return;
    }
    uint32_t sum = sum_with_skip(c, lt_contrib_in(c, 4));
    lt_contrib_to(c, 0);
    lt_emit3(c, "LayerNormalization", sum, lt_contrib_in(c, 2), lt_contrib_in(c, 3));
    with_epsilon(c, 1e-12f);
}

/* input, skip, gamma, bias? */
static void skip_simplified_layer_norm(lt_contrib *c)
{
    if (refuse_statistics(c)) {
        return;
    }
    uint32_t sum = sum_with_skip(c, lt_contrib_in(c, 3));
    lt_contrib_to(c, 0);
    lt_emit2(c, "RMSNormalization", sum, lt_contrib_in(c, 2));
    with_epsilon(c, 1e-12f);
}

/* X, scale */
static void simplified_layer_norm(lt_contrib *c)
{
    if (lt_contrib_wants(c, 1)) {
        lt_contrib_refuse(c, "the inverse deviation is not given out");
        return;
    }
    lt_contrib_to(c, 0);
    lt_emit2(c, "RMSNormalization", lt_contrib_in(c, 0), lt_contrib_in(c, 1));
    lt_with_int(c, "axis", leat_node_int(c->node, "axis", -1));
    lt_with_float(c, "epsilon", leat_node_float(c->node, "epsilon", 1e-5f));
}

/* Rows 0..S-1 of the position embedding, or those that position_ids names. */
static uint32_t positions(lt_contrib *c, uint32_t ids, uint32_t table)
{
    static const int64_t zero = 0;
    uint32_t chosen = lt_contrib_in(c, 8);
    if (chosen != LEAT_NO_VALUE) {
        return lt_emit2(c, "Gather", table, chosen);
    }
    uint32_t axis = lt_emit_ints(c, &zero, 1);
    const uint32_t inputs[4] = {table, axis, lt_emit_dim(c, ids, 1), axis};
    return lt_emit(c, "Slice", inputs, 4);
}

/* The number of tokens that count in each sequence, as i32[B]. */
static void mask_index(lt_contrib *c, uint32_t ids)
{
    static const int64_t one = 1;
    uint32_t mask = lt_contrib_in(c, 7);
    if (mask == LEAT_NO_VALUE) {
        uint32_t zeros = lt_emit1(c, "ConstantOfShape", lt_emit_dim(c, ids, 0));
        lt_contrib_to(c, 1);
        lt_emit_cast(c, zeros, LEAT_DTYPE_I32);
        return;
    }
    uint32_t axes = lt_emit_ints(c, &one, 1);
    lt_contrib_to(c, 1);
    lt_emit2(c, "ReduceSum", mask, axes);
    lt_with_int(c, "keepdims", 0);
}

/* input_ids, segment_ids?, word, position, segment?, gamma, beta, mask?, position_ids? */
static void embed_layer_norm(lt_contrib *c)
{
    uint32_t ids = lt_contrib_in(c, 0), segments = lt_contrib_in(c, 1);
    uint32_t sum = lt_emit2(c, "Gather", lt_contrib_in(c, 2), ids);
    uint32_t place = positions(c, ids, lt_contrib_in(c, 3));
    bool typed = segments != LEAT_NO_VALUE && lt_contrib_in(c, 4) != LEAT_NO_VALUE;
    uint32_t segment = typed ? lt_emit2(c, "Gather", lt_contrib_in(c, 4), segments) : LEAT_NO_VALUE;
    if (lt_contrib_wants(c, 2) && !typed) {
        lt_contrib_to(c, 2);
    }
    sum = lt_emit2(c, "Add", sum, place);
    if (typed) {
        if (lt_contrib_wants(c, 2)) {
            lt_contrib_to(c, 2);
        }
        sum = lt_emit2(c, "Add", sum, segment);
    }
    lt_contrib_to(c, 0);
    lt_emit3(c, "LayerNormalization", sum, lt_contrib_in(c, 5), lt_contrib_in(c, 6));
    with_epsilon(c, 1e-12f);
    if (lt_contrib_wants(c, 1)) {
        mask_index(c, ids);
    }
}

const lt_contrib_op lt_contrib_norms[] = {
    {"SkipLayerNormalization", skip_layer_norm},
    {"SkipSimplifiedLayerNormalization", skip_simplified_layer_norm},
    {"SimplifiedLayerNormalization", simplified_layer_norm},
    {"EmbedLayerNormalization", embed_layer_norm},
    {NULL, NULL},
};

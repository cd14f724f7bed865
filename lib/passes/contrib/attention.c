/* SPDX-License-Identifier: Apache-2.0 */
/* Attention in ONNX Runtime's forms, as the products, mask and Softmax that it is made of: what a
 * PyTorch export of the same would hold, so that the fusion of attention finds it. */
#include "passes/contrib/contrib.h"

#include <math.h>

/* Queries, keys and values as B x heads x length x size. */
typedef struct attention {
    uint32_t q, k, v;
    uint32_t mask; /* added to the scores; LEAT_NO_VALUE for none */
    bool causal;
    float scale;  /* 0: 1 / sqrt(head size) */
    float filter; /* what a masked score gets added */
} attention;

/* Back, as output 0. */
static void give_merged(lt_contrib *c, uint32_t x)
{
    static const int64_t perm[4] = {0, 2, 1, 3}, shape[3] = {0, 0, -1};
    uint32_t y = lt_emit_transpose(c, x, perm, 4);
    lt_contrib_to(c, 0);
    lt_emit_reshape(c, y, shape, 3);
}

static uint32_t scalar_of(lt_contrib *c, uint32_t vector)
{
    return lt_emit_reshape(c, vector, NULL, 0);
}

/* 0 .. length - 1 */
static uint32_t range(lt_contrib *c, uint32_t length)
{
    static const int64_t zero = 0, one = 1;
    uint32_t start = scalar_of(c, lt_emit_ints(c, &zero, 1));
    uint32_t step = scalar_of(c, lt_emit_ints(c, &one, 1));
    return lt_emit3(c, "Range", start, scalar_of(c, length), step);
}

/* filter where `excluded` (bool), 0 elsewhere. */
static uint32_t filter_where(lt_contrib *c, uint32_t excluded, uint32_t like, float filter)
{
    uint32_t low = lt_emit_number(c, like, (double)filter), zero = lt_emit_number(c, like, 0);
    return lt_emit3(c, "Where", excluded, low, zero);
}

/* Query i of S sees keys 0 .. i + T - S. */
static uint32_t causal_mask(lt_contrib *c, const attention *a)
{
    static const int64_t column[2] = {-1, 1};
    uint32_t s = lt_emit_dim(c, a->q, 2), t = lt_emit_dim(c, a->k, 2);
    uint32_t last = lt_emit2(c, "Add", range(c, s), lt_emit2(c, "Sub", t, s));
    last = lt_emit_reshape(c, last, column, 2);
    uint32_t excluded = lt_emit2(c, "Greater", range(c, t), last);
    return filter_where(c, excluded, a->q, a->filter);
}

/* B x T of 0 and 1 (or B x S x T), or the lengths B: added to the scores as B x 1 x 1 x T. */
static uint32_t padding_mask(lt_contrib *c, const attention *a, uint32_t mask)
{
    static const int64_t keys[2] = {1, 2}, heads[1] = {1}, one[1] = {1};
    int32_t rank = lt_contrib_value(c, mask)->rank;
    uint32_t excluded;
    if (rank == 1) {
        uint32_t lengths = lt_emit2(c, "Unsqueeze", mask, lt_emit_ints(c, one, 1));
        uint32_t at = lt_emit1(c, "Cast", range(c, lt_emit_dim(c, a->k, 2)));
        lt_with_int(c, "to", LEAT_DTYPE_I32);
        excluded = lt_emit2(c, "GreaterOrEqual", at, lengths);
        rank = 2;
    } else {
        excluded = lt_emit1(c, "Not", lt_emit_cast(c, mask, LEAT_DTYPE_BOOL));
    }
    if (rank != 2 && rank != 3) {
        lt_contrib_refuse(c, "a mask of this rank is not served");
        return LEAT_NO_VALUE;
    }
    uint32_t axes = lt_emit_ints(c, rank == 2 ? keys : heads, rank == 2 ? 2 : 1);
    return filter_where(c, lt_emit2(c, "Unsqueeze", excluded, axes), a->q, a->filter);
}

static void add_mask(lt_contrib *c, attention *a, uint32_t mask)
{
    if (mask != LEAT_NO_VALUE) {
        a->mask = a->mask == LEAT_NO_VALUE ? mask : lt_emit2(c, "Add", a->mask, mask);
    }
}

static uint32_t scaled_scores(lt_contrib *c, const attention *a, uint32_t keys)
{
    int64_t size = lt_contrib_value(c, a->q)->rank == 4 ? lt_contrib_value(c, a->q)->shape[3] : -1;
    uint32_t scores = lt_emit2(c, "MatMul", a->q, keys);
    if (a->scale == 0 && size <= 0) {
        lt_contrib_refuse(c, "the head size must be known");
        return scores;
    }
    double scale = a->scale != 0 ? (double)a->scale : 1 / sqrt((double)size);
    return lt_emit2(c, "Mul", scores, lt_emit_number(c, a->q, scale));
}

static void give_attention(lt_contrib *c, attention *a)
{
    static const int64_t swap[4] = {0, 1, 3, 2};
    if (a->causal) {
        add_mask(c, a, causal_mask(c, a));
    }
    uint32_t scores = scaled_scores(c, a, lt_emit_transpose(c, a->k, swap, 4));
    uint32_t weights = lt_emit1(c, "Softmax", lt_emit_add_if(c, scores, a->mask));
    lt_with_int(c, "axis", -1);
    give_merged(c, lt_emit2(c, "MatMul", weights, a->v));
}

static attention attributes(const lt_contrib *c)
{
    return (attention){.mask = LEAT_NO_VALUE,
                       .causal = leat_node_int(c->node, "unidirectional", 0) != 0,
                       .scale = leat_node_float(c->node, "scale", 0),
                       .filter = leat_node_float(c->node, "mask_filter_value", -10000.0f)};
}

static bool has_heads(lt_contrib *c, int64_t *out_heads)
{
    *out_heads = leat_node_int(c->node, "num_heads", 0);
    if (*out_heads < 1) {
        lt_contrib_refuse(c, "num_heads must be given");
    }
    return *out_heads >= 1;
}

/* Keys or values of earlier steps in front of the new ones. */
static uint32_t after_past(lt_contrib *c, uint32_t past, uint32_t x, uint32_t output)
{
    if (past != LEAT_NO_VALUE) {
        const uint32_t parts[2] = {past, x};
        if (lt_contrib_wants(c, output)) {
            lt_contrib_to(c, output);
        }
        x = lt_emit(c, "Concat", parts, 2);
        lt_with_int(c, "axis", 2);
    } else if (lt_contrib_wants(c, output)) {
        lt_contrib_give(c, output, x);
    }
    return x;
}

/* --- Attention: one product makes Q, K and V ----------------------------------------------------
 */

/* past is 2 x B x heads x P x size, keys first; present likewise. */
static void past_and_present(lt_contrib *c, attention *a, uint32_t past)
{
    static const int64_t first = 0, second = 1;
    uint32_t parts[2] = {a->k, a->v}, axis = lt_emit_ints(c, &first, 1);
    for (int i = 0; i < 2 && past != LEAT_NO_VALUE; i++) {
        uint32_t index = scalar_of(c, lt_emit_ints(c, i ? &second : &first, 1));
        const uint32_t joined[2] = {lt_emit2(c, "Gather", past, index), parts[i]};
        lt_with_int(c, "axis", 0);
        parts[i] = lt_emit(c, "Concat", joined, 2);
        lt_with_int(c, "axis", 2);
    }
    a->k = parts[0];
    a->v = parts[1];
    if (lt_contrib_wants(c, 1)) {
        for (int i = 0; i < 2; i++) {
            parts[i] = lt_emit2(c, "Unsqueeze", parts[i], axis);
        }
        lt_contrib_to(c, 1);
        lt_emit(c, "Concat", parts, 2);
        lt_with_int(c, "axis", 0);
    }
}

/* Sizes of Q, K and V within the columns of the weights. */
static bool sizes_of(lt_contrib *c, uint32_t weights, int64_t sizes[3])
{
    size_t count;
    const int64_t *given = leat_node_ints(c->node, "qkv_hidden_sizes", &count);
    const leat_value *w = lt_contrib_value(c, weights);
    int64_t columns = w->rank == 2 ? w->shape[1] : -1;
    for (int i = 0; i < 3; i++) {
        sizes[i] = count == 3 ? given[i] : columns / 3;
    }
    if (columns < 3 || sizes[0] < 1 || sizes[1] < 1 || sizes[2] < 1 || sizes[0] > columns ||
        sizes[1] > columns || sizes[2] > columns || sizes[0] + sizes[1] + sizes[2] != columns) {
        lt_contrib_refuse(c, "the sizes of Q, K and V must be known and fill the weights");
        return false;
    }
    return true;
}

/* The product and its three parts, by heads. */
static void project(lt_contrib *c, attention *a, uint32_t y, const int64_t sizes[3], int64_t heads)
{
    uint32_t parts[3];
    const uint32_t inputs[2] = {y, lt_emit_ints(c, sizes, 3)};
    lt_emit_outputs(c, "Split", inputs, 2, parts, 3);
    lt_with_int(c, "axis", -1);
    a->q = lt_emit_split_heads(c, parts[0], heads);
    a->k = lt_emit_split_heads(c, parts[1], heads);
    a->v = lt_emit_split_heads(c, parts[2], heads);
}

static void finish_attention(lt_contrib *c, attention *a, uint32_t mask, uint32_t past)
{
    past_and_present(c, a, past);
    if (mask != LEAT_NO_VALUE) {
        add_mask(c, a, padding_mask(c, a, mask));
    }
    give_attention(c, a);
}

/* input, weights, bias?, mask?, past?, attention_bias?, past_sequence_length? */
static void attention_node(lt_contrib *c)
{
    attention a = attributes(c);
    int64_t heads, sizes[3];
    if (leat_node_int(c->node, "do_rotary", 0) != 0 || lt_contrib_in(c, 6) != LEAT_NO_VALUE ||
        leat_node_int(c->node, "past_present_share_buffer", 0) != 0) {
        lt_contrib_refuse(c, "rotary embedding and shared buffers are not served");
        return;
    }
    if (!has_heads(c, &heads) || !sizes_of(c, lt_contrib_in(c, 1), sizes)) {
        return;
    }
    uint32_t y = lt_emit2(c, "MatMul", lt_contrib_in(c, 0), lt_contrib_in(c, 1));
    project(c, &a, lt_emit_add_if(c, y, lt_contrib_in(c, 2)), sizes, heads);
    add_mask(c, &a, lt_contrib_in(c, 5));
    finish_attention(c, &a, lt_contrib_in(c, 3), lt_contrib_in(c, 4));
}

/* input, weight, bias, input_scale, weight_scale, mask?, input_zero?, weight_zero?, past? */
static void q_attention(lt_contrib *c)
{
    attention a = attributes(c);
    int64_t heads, sizes[3];
    if (leat_node_int(c->node, "do_rotary", 0) != 0) {
        lt_contrib_refuse(c, "rotary embedding is not served");
        return;
    }
    if (!has_heads(c, &heads) || !sizes_of(c, lt_contrib_in(c, 1), sizes)) {
        return;
    }
    const uint32_t operands[4] = {lt_contrib_in(c, 0), lt_contrib_in(c, 1), lt_contrib_in(c, 6),
                                  lt_contrib_in(c, 7)};
    uint32_t y = lt_emit_cast(c, lt_emit(c, "MatMulInteger", operands, 4), LEAT_DTYPE_F32);
    y = lt_emit2(c, "Mul", y, lt_emit2(c, "Mul", lt_contrib_in(c, 3), lt_contrib_in(c, 4)));
    project(c, &a, lt_emit2(c, "Add", y, lt_contrib_in(c, 2)), sizes, heads);
    finish_attention(c, &a, lt_contrib_in(c, 5), lt_contrib_in(c, 8));
}

/* --- MultiHeadAttention: Q, K and V apart -------------------------------------------------------
 */

/* Part `i` of the bias of Q, K and V, added to x. */
static uint32_t with_bias(lt_contrib *c, uint32_t x, uint32_t bias, const int64_t sizes[3], int i)
{
    uint32_t parts[3];
    if (bias == LEAT_NO_VALUE) {
        return x;
    }
    const uint32_t inputs[2] = {bias, lt_emit_ints(c, sizes, 3)};
    lt_emit_outputs(c, "Split", inputs, 2, parts, 3);
    lt_with_int(c, "axis", 0);
    return lt_emit2(c, "Add", x, parts[i]);
}

/* query, key, value, bias?, key_padding_mask?, attention_bias?, past_key?, past_value? */
static void multi_head_attention(lt_contrib *c)
{
    attention a = attributes(c);
    int64_t heads, sizes[3];
    uint32_t parts[3];
    if (!has_heads(c, &heads)) {
        return;
    }
    for (uint32_t i = 0; i < 3; i++) {
        const leat_value *x = lt_contrib_value(c, lt_contrib_in(c, i));
        sizes[i] = x->rank == 3 ? x->shape[2] : -1;
        if (x->rank != 3 && !(i > 0 && x->rank == 4)) {
            lt_contrib_refuse(c, "packed Q, K and V, or operands of this rank, are not served");
            return;
        }
        if (lt_contrib_in(c, 3) != LEAT_NO_VALUE && sizes[i] < 1) {
            lt_contrib_refuse(c, "with a bias the sizes of Q, K and V must be known");
            return;
        }
    }
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t x = with_bias(c, lt_contrib_in(c, i), lt_contrib_in(c, 3), sizes, (int)i);
        parts[i] = lt_contrib_value(c, x)->rank == 4 ? x : lt_emit_split_heads(c, x, heads);
    }
    a.q = parts[0];
    a.k = after_past(c, lt_contrib_in(c, 6), parts[1], 1);
    a.v = after_past(c, lt_contrib_in(c, 7), parts[2], 2);
    add_mask(c, &a, lt_contrib_in(c, 5));
    if (lt_contrib_in(c, 4) != LEAT_NO_VALUE) {
        add_mask(c, &a, padding_mask(c, &a, lt_contrib_in(c, 4)));
    }
    give_attention(c, &a);
}

const lt_contrib_op lt_contrib_attention[] = {
    {"Attention", attention_node},
    {"QAttention", q_attention},
    {"MultiHeadAttention", multi_head_attention},
    {NULL, NULL},
};

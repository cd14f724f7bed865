/* SPDX-License-Identifier: Apache-2.0 */
/* Operators of ai.onnx as the formulas that define them: SwiGLU; FlexAttention; Attention where it
 * asks for what kernels do not give (scores as an output, a window); QLinearMatMul with scales of
 * 16 bits. */
#include "passes/contrib/contrib.h"

#include <math.h>
#include <string.h>

static void swiglu(lt_contrib *c)
{
    uint32_t gate = lt_emit1(c, "Swish", lt_contrib_in(c, 0));
    lt_with_float(c, "alpha", leat_node_float(c->node, "alpha", 1.0f));
    lt_contrib_to(c, 0);
    lt_emit2(c, "Mul", gate, lt_contrib_in(c, 1));
}

/* --- attention ----------------------------------------------------------------------------------
 */

/* Operands of rank 4: batch, heads, rows, features. */
typedef struct attention {
    uint32_t q, k, v;
    uint32_t bias;     /* what is added to the scores; LEAT_NO_VALUE: nothing */
    uint32_t past_len; /* rows of the cache, i64[1]; LEAT_NO_VALUE: there is none */
    bool rank3;
    leat_dtype dtype;
} attention;

static uint32_t one_int(lt_contrib *c, int64_t i)
{
    return lt_emit_ints(c, &i, 1);
}

static uint32_t split_heads(lt_contrib *c, uint32_t x, const char *heads)
{
    static const int64_t perm[4] = {0, 2, 1, 3};
    const int64_t shape[4] = {0, 0, leat_node_int(c->node, heads, 0), -1};
    if (shape[2] < 1) {
        lt_contrib_refuse(c, "operands of rank 3 without a number of heads");
        return x;
    }
    return lt_emit_transpose(c, lt_emit_reshape(c, x, shape, 4), perm, 4);
}

static uint32_t join(lt_contrib *c, uint32_t past, uint32_t x, uint32_t output)
{
    if (past != LEAT_NO_VALUE) {
        lt_contrib_to(c, output);
        x = lt_emit2(c, "Concat", past, x);
        lt_with_int(c, "axis", 2);
    } else if (lt_contrib_wants(c, output)) {
        lt_contrib_give(c, output, x);
    }
    return x;
}

static void read_operands(lt_contrib *c, attention *a)
{
    a->q = lt_contrib_in(c, 0);
    a->k = lt_contrib_in(c, 1);
    a->v = lt_contrib_in(c, 2);
    a->bias = a->past_len = LEAT_NO_VALUE;
    a->rank3 = lt_contrib_value(c, a->q)->rank == 3;
    a->dtype = lt_contrib_value(c, a->q)->dtype;
    if (a->rank3) {
        a->q = split_heads(c, a->q, "q_num_heads");
        a->k = split_heads(c, a->k, "kv_num_heads");
        a->v = split_heads(c, a->v, "kv_num_heads");
    }
    if (lt_contrib_value(c, a->q)->rank != 4 || lt_contrib_value(c, a->k)->rank != 4 ||
        lt_contrib_value(c, a->v)->rank != 4) {
        lt_contrib_refuse(c, "operands of unknown rank, or neither 3 nor 4");
    }
}

/* Each head of keys or values, once for every query head of its group. */
static uint32_t repeat_heads(lt_contrib *c, uint32_t x, int64_t q_heads)
{
    leat_value v = *lt_contrib_value(c, x);
    if (c->status != LEAT_OK || v.shape[1] == q_heads) {
        return x;
    }
    if (v.shape[1] < 1 || q_heads < 1 || q_heads % v.shape[1] != 0 || v.shape[3] < 0) {
        lt_contrib_refuse(c, "numbers of heads that are not known or do not divide one another");
        return x;
    }
    const int64_t groups[5] = {1, 1, q_heads / v.shape[1], 1, 1};
    const int64_t flat[4] = {0, q_heads, -1, v.shape[3]};
    x = lt_emit2(c, "Unsqueeze", x, one_int(c, 2));
    x = lt_emit2(c, "Expand", x, lt_emit_ints(c, groups, 5));
    return lt_emit_reshape(c, x, flat, 4);
}

/* Scores: (q * sqrt(scale)) (k * sqrt(scale))^T. */
static uint32_t scores_of(lt_contrib *c, const attention *a)
{
    static const int64_t perm[4] = {0, 1, 3, 2};
    int64_t d = lt_contrib_value(c, a->q)->shape[3];
    const leat_attr *given = leat_node_attr(c->node, "scale");
    if (d < 1 && given == NULL && c->status == LEAT_OK) {
        lt_contrib_refuse(c, "no scale, and features whose number is not known");
    }
    double scale = given ? (double)leat_node_float(c->node, "scale", 1) : 1 / sqrt((double)d);
    uint32_t root = lt_emit_number(c, a->q, sqrt(scale));
    uint32_t q = lt_emit2(c, "Mul", a->q, root), k = lt_emit2(c, "Mul", a->k, root);
    return lt_emit2(c, "MatMul", q, lt_emit_transpose(c, k, perm, 4));
}

/* i64 0, 1, ... for dimension 2 of x, as a row or a column. */
static uint32_t counting(lt_contrib *c, uint32_t x, bool column)
{
    uint32_t n = lt_emit_reshape(c, lt_emit_dim(c, x, 2), NULL, 0);
    uint32_t zero = lt_emit_reshape(c, one_int(c, 0), NULL, 0);
    uint32_t one = lt_emit_reshape(c, one_int(c, 1), NULL, 0);
    uint32_t range = lt_emit3(c, "Range", zero, n, one);
    return lt_emit2(c, "Unsqueeze", range, one_int(c, column));
}

static uint32_t both(lt_contrib *c, uint32_t a, uint32_t b)
{
    return a == LEAT_NO_VALUE ? b : lt_emit2(c, "And", a, b);
}

/* Which keys (columns) a query (row) may see: a bool that broadcasts to the scores. The last query
 * stands at the last key of the cache, or of the valid ones. */
static uint32_t allowed_keys(lt_contrib *c, const attention *a)
{
    static const int64_t per_batch[4] = {-1, 1, 1, 1};
    int64_t left = leat_node_int(c->node, "left_window_size", -1);
    int64_t right = leat_node_int(c->node, "right_window_size", -1);
    bool causal = leat_node_int(c->node, "is_causal", 0) != 0;
    uint32_t valid = lt_contrib_in(c, 6), allowed = LEAT_NO_VALUE;
    if (!causal && left < 0 && right < 0 && valid == LEAT_NO_VALUE) {
        return LEAT_NO_VALUE;
    }
    uint32_t key = counting(c, a->k, false), at = counting(c, a->q, true);
    if (valid != LEAT_NO_VALUE) {
        valid = lt_emit_reshape(c, valid, per_batch, 4);
        allowed = lt_emit2(c, "Less", key, valid);
        at = lt_emit2(c, "Add", at, lt_emit2(c, "Sub", valid, lt_emit_dim(c, a->q, 2)));
    } else if (a->past_len != LEAT_NO_VALUE) {
        at = lt_emit2(c, "Add", at, a->past_len);
    }
    if (causal) {
        allowed = both(c, allowed, lt_emit2(c, "LessOrEqual", key, at));
    }
    if (left >= 0) {
        uint32_t first = lt_emit2(c, "Sub", at, one_int(c, left));
        allowed = both(c, allowed, lt_emit2(c, "GreaterOrEqual", key, first));
    }
    if (right >= 0) {
        uint32_t last = lt_emit2(c, "Add", at, one_int(c, right));
        allowed = both(c, allowed, lt_emit2(c, "LessOrEqual", key, last));
    }
    return allowed;
}

/* 0 where allowed, otherwise minus infinity. */
static uint32_t as_bias(lt_contrib *c, const attention *a, uint32_t allowed)
{
    uint32_t none = lt_emit_number(c, a->q, -INFINITY);
    return lt_emit3(c, "Where", allowed, lt_emit_number(c, a->q, 0), none);
}

/* The mask as what is added; keys behind its end are masked. */
static uint32_t mask_bias(lt_contrib *c, const attention *a)
{
    uint32_t mask = lt_contrib_in(c, 3);
    if (mask == LEAT_NO_VALUE) {
        return LEAT_NO_VALUE;
    }
    leat_value m = *lt_contrib_value(c, mask);
    int64_t keys = lt_contrib_value(c, a->k)->shape[2];
    mask = m.dtype == LEAT_DTYPE_BOOL ? as_bias(c, a, mask) : mask;
    if (m.rank < 1) {
        lt_contrib_refuse(c, "a mask of unknown rank");
        return mask;
    }
    if (m.shape[m.rank - 1] >= 0 && keys > m.shape[m.rank - 1] && m.shape[m.rank - 1] != 1) {
        int64_t pads[2 * LEAT_MAX_RANK] = {0};
        pads[2 * m.rank - 1] = keys - m.shape[m.rank - 1];
        uint32_t by = lt_emit_ints(c, pads, 2 * (size_t)m.rank);
        mask = lt_emit3(c, "Pad", mask, by, lt_emit_number(c, a->q, -INFINITY));
    }
    return mask;
}

static uint32_t bias_of(lt_contrib *c, const attention *a)
{
    uint32_t mask = mask_bias(c, a), allowed = allowed_keys(c, a);
    if (allowed == LEAT_NO_VALUE) {
        return mask;
    }
    uint32_t bias = as_bias(c, a, allowed);
    return mask == LEAT_NO_VALUE ? bias : lt_emit2(c, "Add", mask, bias);
}

/* Softmax in `wide`; rows of which every key is masked are 0. */
static uint32_t chances(lt_contrib *c, const attention *a, uint32_t scores, leat_dtype wide)
{
    scores = wide != a->dtype ? lt_emit_cast(c, scores, wide) : scores;
    uint32_t p = lt_emit1(c, "Softmax", scores);
    lt_with_int(c, "axis", -1);
    if (a->bias != LEAT_NO_VALUE) {
        uint32_t most = lt_emit2(c, "ReduceMax", a->bias, one_int(c, -1));
        uint32_t masked = lt_emit1(c, "IsInf", most);
        lt_with_int(c, "detect_positive", 0);
        p = lt_emit3(c, "Where", masked, lt_emit_number(c, p, 0), p);
    }
    return wide != a->dtype ? lt_emit_cast(c, p, a->dtype) : p;
}

static uint32_t soft_cap(lt_contrib *c, uint32_t scores)
{
    float cap = leat_node_float(c->node, "softcap", 0);
    if (!(cap > 0)) {
        return scores;
    }
    uint32_t number = lt_emit_number(c, scores, (double)cap);
    uint32_t bent = lt_emit1(c, "Tanh", lt_emit2(c, "Div", scores, number));
    return lt_emit2(c, "Mul", bent, number);
}

static void give_result(lt_contrib *c, const attention *a, uint32_t p, uint32_t v)
{
    static const int64_t perm[4] = {0, 2, 1, 3}, shape[3] = {0, 0, -1};
    if (!a->rank3) {
        lt_contrib_to(c, 0);
        lt_emit2(c, "MatMul", p, v);
        return;
    }
    uint32_t y = lt_emit_transpose(c, lt_emit2(c, "MatMul", p, v), perm, 4);
    lt_contrib_to(c, 0);
    lt_emit_reshape(c, y, shape, 3);
}

/* Whether the formula is needed: kernels serve everything else. */
static bool needs_formula(const leat_node *node)
{
    return lt_output_of(node, 3) != LEAT_NO_VALUE ||
           leat_node_int(node, "left_window_size", -1) >= 0 ||
           leat_node_int(node, "right_window_size", -1) >= 0;
}

static void attend(lt_contrib *c)
{
    int64_t mode = leat_node_int(c->node, "qk_matmul_output_mode", 0);
    attention a;
    read_operands(c, &a);
    if (lt_contrib_in(c, 4) != LEAT_NO_VALUE) {
        a.past_len = lt_emit_dim(c, lt_contrib_in(c, 4), 2);
    }
    a.k = join(c, lt_contrib_in(c, 4), a.k, 1);
    a.v = join(c, lt_contrib_in(c, 5), a.v, 2);
    int64_t heads = lt_contrib_value(c, a.q)->shape[1];
    a.k = repeat_heads(c, a.k, heads);
    a.v = repeat_heads(c, a.v, heads);
    uint32_t steps[4] = {scores_of(c, &a)};
    steps[1] = soft_cap(c, steps[0]);
    a.bias = bias_of(c, &a);
    steps[2] = a.bias == LEAT_NO_VALUE ? steps[1] : lt_emit2(c, "Add", steps[1], a.bias);
    leat_dtype wide = (leat_dtype)leat_node_int(c->node, "softmax_precision", (int64_t)a.dtype);
    steps[3] = chances(c, &a, steps[2], wide);
    if (lt_contrib_wants(c, 3)) {
        lt_contrib_give(c, 3, steps[mode < 0 || mode > 3 ? 0 : mode]);
    }
    give_result(c, &a, steps[3], a.v);
}

static void flex_attention(lt_contrib *c)
{
    attention a;
    read_operands(c, &a);
    bool narrow = a.dtype == LEAT_DTYPE_F16 || a.dtype == LEAT_DTYPE_BF16;
    int64_t heads = lt_contrib_value(c, a.q)->shape[1];
    a.k = repeat_heads(c, a.k, heads);
    a.v = repeat_heads(c, a.v, heads);
    leat_dtype wide = (leat_dtype)leat_node_int(c->node, "softmax_precision",
                                                (int64_t)(narrow ? LEAT_DTYPE_F32 : a.dtype));
    uint32_t p = lt_emit_body(c, "score_mod", lt_emit_cast(c, scores_of(c, &a), wide));
    p = lt_emit1(c, "Softmax", p);
    lt_with_int(c, "axis", -1);
    p = lt_emit_body(c, "prob_mod", p);
    uint32_t y = lt_emit2(c, "MatMul", p, lt_emit_cast(c, a.v, wide));
    lt_contrib_to(c, 0);
    lt_emit_cast(c, y, a.dtype);
}

/* --- QLinearMatMul with scales of 16 bits: those of f32, which holds their values ----------------
 */

static bool is_narrow_scale(const lt_graph *graph, const leat_node *node, uint32_t i)
{
    uint32_t v = lt_input_of(node, i);
    leat_dtype dtype = v == LEAT_NO_VALUE ? LEAT_DTYPE_UNDEFINED : graph->values[v].dtype;
    return dtype == LEAT_DTYPE_F16 || dtype == LEAT_DTYPE_BF16;
}

static void widen_scales(lt_contrib *c)
{
    uint32_t inputs[8];
    for (uint32_t i = 0; i < 8; i++) {
        inputs[i] = lt_contrib_in(c, i);
        if (is_narrow_scale(c->graph, c->node, i)) {
            inputs[i] = lt_emit_cast(c, inputs[i], LEAT_DTYPE_F32);
        }
    }
    lt_contrib_to(c, 0);
    lt_emit(c, "QLinearMatMul", inputs, 8);
}

static bool has_narrow_scales(const lt_graph *graph, const leat_node *node)
{
    return graph != NULL && (is_narrow_scale(graph, node, 1) || is_narrow_scale(graph, node, 4) ||
                             is_narrow_scale(graph, node, 6));
}

const lt_contrib_op lt_contrib_formulas[] = {{"SwiGLU", swiglu},
                                             {"FlexAttention", flex_attention},
                                             {"Attention", attend},
                                             {"QLinearMatMul", widen_scales},
                                             {NULL, NULL}};

bool lt_contrib_is_formula(const lt_graph *graph, const leat_node *node)
{
    return (lt_is_onnx(node, "QLinearMatMul") && has_narrow_scales(graph, node)) ||
           lt_is_onnx(node, "SwiGLU") ||
           (strcmp(node->domain, "ai.onnx.preview") == 0 &&
            strcmp(node->op, "FlexAttention") == 0) ||
           (lt_is_onnx(node, "Attention") && needs_formula(node));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the passes that make quantized nodes share.
 *
 * A quantized product is leat's QConv or QMatMul (leat/backend.h, "Nodes of the domain leat"). It
 * grows one rewrite at a time: DequantizeLinear of data and weights go in, then a bias, a residual,
 * an activation, and last the QuantizeLinear behind it. */
#ifndef LT_PASSES_QDQ_H
#define LT_PASSES_QDQ_H

#include "passes/match.h"

/* Inputs of QConv and QMatMul. */
enum {
    LT_Q_X,
    LT_Q_X_SCALE,
    LT_Q_X_ZERO,
    LT_Q_W,
    LT_Q_W_SCALE,
    LT_Q_W_ZERO,
    LT_Q_Y_SCALE,
    LT_Q_Y_ZERO,
    LT_Q_BIAS,
    LT_Q_R_SCALE,
    LT_Q_R_ZERO,
    LT_Q_Z_SCALE,
    LT_Q_Z_ZERO,
    LT_Q_RESIDUAL,
    LT_Q_INPUTS
};

/* A tensor of u8 or i8 with constant scale and zero point (LEAT_NO_VALUE: none). */
typedef struct lt_quantized {
    uint32_t value, scale, zero;
} lt_quantized;

/* Whether an f32 value is DequantizeLinear of bytes with one scale for all. */
bool lt_qdq_dequantized(const lt_graph *graph, const lt_uses *uses, uint32_t value,
                        lt_quantized *out);
/* Whether the node is QuantizeLinear of f32 to bytes with one scale for all; out->value is its
 * result. */
bool lt_qdq_quantizes(const lt_graph *graph, const leat_node *node, lt_quantized *out);
/* Whether two tensors have equal scales and zero points. */
bool lt_qdq_same_grid(const lt_graph *graph, const lt_quantized *a, const lt_quantized *b);

/* A constant f32 row of `n` that lies along axis 1 of results of `rank` ([n, 1, 1] or [1, n, 1, 1]
 * for 4), as a row of rank 1: a constant over the same data. LEAT_NO_VALUE when `value` is none.
 * Errors:   NO_MEMORY. */
leat_status lt_qdq_channel_row(lt_graph *graph, uint32_t value, int64_t n, int32_t rank,
                               uint32_t *out_row, leat_error *err) LEAT_MUST_CHECK;

/* A node that lt_qdq_make made. */
bool lt_qdq_is_product(const leat_node *node);
/* Its inputs, LEAT_NO_VALUE for those that it does not have. */
void lt_qdq_inputs(const leat_node *node, uint32_t inputs[LT_Q_INPUTS]);
/* Whether the result of such a node is f32, to which more may be added. */
bool lt_qdq_is_open(const leat_node *node);

/* Puts a QConv or QMatMul with the attributes of `from` at the position of `at`, unless no device
 * supports it: *out_node is NULL then, and nothing has changed. The residual attribute follows the
 * inputs.
 * Errors:   NO_MEMORY. */
typedef struct lt_qdq_desc {
    const leat_node *from;
    const leat_node *at;
    const char *op;
    const uint32_t *inputs; /* LT_Q_INPUTS */
    uint32_t output;
} lt_qdq_desc;
leat_status lt_qdq_make(lt_graph *graph, const lt_pass_context *context, const lt_qdq_desc *desc,
                        leat_node **out_node, leat_error *err) LEAT_MUST_CHECK;

/* The same in the place of up to three nodes (others are NULL), which are removed; *out_changed is
 * set when it was made. */
leat_status lt_qdq_replace(lt_graph *graph, const lt_pass_context *context, const lt_qdq_desc *desc,
                           leat_node *const nodes[3], bool *out_changed,
                           leat_error *err) LEAT_MUST_CHECK;

/* Tries one rewrite at a node. */
typedef leat_status (*lt_qdq_step_fn)(lt_graph *graph, const lt_pass_context *context,
                                      const lt_uses *uses, leat_node *node, bool *out_changed,
                                      leat_error *err);
/* Runs it on all nodes; uses are rebuilt after each change.
 * Errors:   those of the step; NO_MEMORY. */
leat_status lt_qdq_run(lt_graph *graph, const lt_pass_context *context, lt_qdq_step_fn step,
                       bool *out_changed, leat_error *err) LEAT_MUST_CHECK;

#endif

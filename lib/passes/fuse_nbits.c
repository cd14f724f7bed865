/* SPDX-License-Identifier: Apache-2.0 */
/* Products with weights in blocks of few bits:
 *
 *     DequantizeLinear(w, scale, zero?; block_size, along the rows) -> MatMul(x, .)
 *
 * to leat's MatMulNBits, where a device has it, so that weights stay packed. w is i4, u4, i8 or u8
 * of [k][n]; MatMulNBits wants unsigned numbers of [n][k], signed ones come with half their range
 * added. */
#include "passes/qdq.h"

#include <string.h>

typedef struct weights {
    const leat_value *q, *scale, *zero; /* zero NULL: none */
    int64_t k, n, block, blocks, bits;
    bool is_signed;
} weights;

static bool is_matrix(const leat_value *v, leat_dtype dtype, int64_t rows, int64_t columns)
{
    return v->data != NULL && v->dtype == dtype && v->rank == 2 && v->shape[0] == rows &&
           v->shape[1] == columns;
}

static bool read_weights(const lt_graph *graph, const leat_node *dq, weights *w)
{
    if (dq == NULL || !lt_is_onnx(dq, "DequantizeLinear") || dq->inputs[0] == LEAT_NO_VALUE ||
        dq->inputs[1] == LEAT_NO_VALUE) {
        return false;
    }
    const leat_value *q = &graph->values[dq->inputs[0]];
    uint32_t zero = lt_input_of(dq, 2);
    int64_t axis = leat_node_int(dq, "axis", 1);
    *w = (weights){.q = q,
                   .scale = &graph->values[dq->inputs[1]],
                   .zero = zero == LEAT_NO_VALUE ? NULL : &graph->values[zero],
                   .block = leat_node_int(dq, "block_size", 0)};
    bool four = q->dtype == LEAT_DTYPE_I4 || q->dtype == LEAT_DTYPE_U4;
    w->is_signed = q->dtype == LEAT_DTYPE_I4 || q->dtype == LEAT_DTYPE_I8;
    w->bits = four ? 4 : 8;
    if ((!four && q->dtype != LEAT_DTYPE_I8 && q->dtype != LEAT_DTYPE_U8) || q->rank != 2 ||
        q->data == NULL || (axis != 0 && axis != -2) || w->block < 1) {
        return false;
    }
    w->k = q->shape[0];
    w->n = q->shape[1];
    if (w->k < 1 || w->n < 1 || w->k % w->block != 0 || w->block * w->bits % 8 != 0) {
        return false;
    }
    w->blocks = w->k / w->block;
    return is_matrix(w->scale, LEAT_DTYPE_F32, w->blocks, w->n) &&
           (w->zero == NULL || is_matrix(w->zero, q->dtype, w->blocks, w->n));
}

/* Number `at`, as an unsigned one. */
static uint8_t number(const weights *w, const leat_value *v, size_t at)
{
    const uint8_t *data = v->data;
    if (w->bits == 8) {
        return (uint8_t)(data[at] ^ (w->is_signed ? 0x80 : 0));
    }
    return (uint8_t)((data[at / 2] >> at % 2 * 4 & 15) ^ (w->is_signed ? 8 : 0));
}

/* Numbers of [rows][n] to rows of their own for each n, of `bytes`. */
static void turn(const weights *w, const leat_value *from, int64_t rows, size_t bytes, uint8_t *out)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < w->n; c++) {
            uint8_t x = number(w, from, (size_t)(r * w->n + c));
            uint8_t *to = out + (size_t)c * bytes + (size_t)(r * w->bits / 8);
            *to |= (uint8_t)(w->bits == 8 ? x : x << r % 2 * 4);
        }
    }
}

static leat_status add(lt_graph *graph, const char *name, const leat_array *array, uint32_t *out,
                       leat_error *err)
{
    return lt_graph_add_constant(graph, name, array, false, out, err);
}

/* w, scales and zero points as MatMulNBits wants them. Unsigned numbers without a zero point have
 * 0, which must be said. */
static leat_status add_inputs(lt_graph *graph, const weights *w, uint32_t inputs[4],
                              uint32_t *out_count, leat_error *err)
{
    lt_arena *arena = lt_graph_arena(graph);
    const bool zeros = w->zero != NULL || !w->is_signed;
    const size_t row = (size_t)(w->k * w->bits / 8),
                 zero_row = (size_t)(w->blocks * w->bits + 7) / 8;
    const size_t n = (size_t)w->n, blocks = (size_t)w->blocks;
    uint8_t *q = lt_arena_array(arena, n, row), *zero = lt_arena_array(arena, n, zero_row);
    float *scales = lt_arena_array(arena, n * blocks, sizeof(*scales));
    if (q == NULL || zero == NULL || scales == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for packed weights");
    }
    turn(w, w->q, w->k, row, q);
    if (w->zero != NULL) {
        turn(w, w->zero, w->blocks, zero_row, zero);
    }
    for (size_t b = 0; b < blocks; b++) {
        for (size_t c = 0; c < n; c++) {
            memcpy(&scales[c * blocks + b], (const char *)w->scale->data + (b * n + c) * 4, 4);
        }
    }
    leat_array array = {LEAT_DTYPE_U8, 3, {w->n, w->blocks, w->block * w->bits / 8}, q, n * row};
    leat_status status = add(graph, NULL, &array, &inputs[1], err);
    array = (leat_array){LEAT_DTYPE_F32, 1, {w->n * w->blocks}, scales, n * blocks * sizeof(float)};
    status = status ? status : add(graph, NULL, &array, &inputs[2], err);
    *out_count = zeros ? 4 : 3;
    array = (leat_array){LEAT_DTYPE_U8, 1, {(int64_t)(n * zero_row)}, zero, n * zero_row};
    return status || !zeros ? status : add(graph, NULL, &array, &inputs[3], err);
}

static leat_status set_sizes(lt_graph *graph, leat_node *node, const weights *w, leat_error *err)
{
    leat_status status = lt_node_set_int(graph, node, "K", w->k, err);
    status = status ? status : lt_node_set_int(graph, node, "N", w->n, err);
    status = status ? status : lt_node_set_int(graph, node, "bits", w->bits, err);
    return status ? status : lt_node_set_int(graph, node, "block_size", w->block, err);
}

static leat_status fuse(lt_graph *graph, const lt_pass_context *context, const lt_uses *uses,
                        leat_node *node, bool *out_changed, leat_error *err)
{
    uint32_t inputs[4] = {LEAT_NO_VALUE, LEAT_NO_VALUE, LEAT_NO_VALUE, LEAT_NO_VALUE}, count = 0;
    leat_layout ignored;
    weights w;
    leat_node *made;
    if (!lt_is_onnx(node, "MatMul") || node->inputs[0] == LEAT_NO_VALUE ||
        node->inputs[1] == LEAT_NO_VALUE || graph->values[node->inputs[0]].rank < 2 ||
        !read_weights(graph, uses->producer[node->inputs[1]], &w)) {
        return LEAT_OK;
    }
    inputs[0] = node->inputs[0];
    leat_status status = add_inputs(graph, &w, inputs, &count, err);
    const lt_rewrite r = {.from = node,
                          .at = node,
                          .domain = "leat",
                          .inputs = inputs,
                          .n_inputs = count,
                          .output = node->outputs[0]};
    status = status ? status : lt_rewrite_node(graph, &r, &made, err);
    status = status ? status : lt_node_set_op(graph, made, "MatMulNBits", "leat", err);
    status = status ? status : set_sizes(graph, made, &w, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (context->supports(context->user, graph, made, &ignored)) {
        lt_graph_remove_node(graph, node);
        *out_changed = true;
    } else {
        lt_graph_remove_node(graph, made);
    }
    return LEAT_OK;
}

leat_status lt_pass_fuse_nbits(lt_graph *graph, const lt_pass_context *context, bool *out_changed,
                               leat_error *err)
{
    return context->supports ? lt_qdq_run(graph, context, fuse, out_changed, err) : LEAT_OK;
}

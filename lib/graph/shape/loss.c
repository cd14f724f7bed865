/* SPDX-License-Identifier: Apache-2.0 */
/* Losses and the optimizers of ai.onnx.preview.training. */
#include "graph/shape/shape.h"

/* Scores N x C x d..., targets N x d..., weights C. Sets output 0. */
static leat_status infer_loss(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    if (x.rank < 2) {
        return lt_bad(infer, err, "scores of rank %d", x.rank);
    }
    int64_t shape[LEAT_MAX_RANK];
    shape[0] = x.shape[0];
    for (int32_t i = 2; i < x.rank; i++) {
        shape[i - 1] = x.shape[i];
    }
    bool none = leat_node_string_is(infer->node, "reduction", "none");
    if (!none && leat_node_attr(infer->node, "reduction") != NULL &&
        !leat_node_string_is(infer->node, "reduction", "mean") &&
        !leat_node_string_is(infer->node, "reduction", "sum")) {
        return lt_bad(infer, err, "reduction is not one of none, mean, sum");
    }
    leat_status status = lt_indices(infer, 1, err);
    status = status ? status : lt_shaped(infer, 1, x.rank - 1, shape, err);
    status = status ? status : lt_vector(infer, 2, x.shape[1], err);
    status = status ? status : lt_same_type(infer, 0, 2, err);
    return status ? status : lt_set(infer, 0, x.dtype, none ? x.rank - 1 : 0, shape, err);
}

leat_status lt_infer_nll_loss(lt_infer *infer, leat_error *err)
{
    return infer_loss(infer, err);
}

leat_status lt_infer_softmax_loss(lt_infer *infer, leat_error *err)
{
    leat_status status = infer_loss(infer, err);
    return status ? status : lt_set_like(infer, 1, lt_in(infer, 0)->dtype, lt_in(infer, 0), err);
}

/* R, T, then the same number of X, G and states; outputs are new X and states. */
leat_status lt_infer_optimizer(lt_infer *infer, leat_error *err)
{
    uint32_t each = strcmp(infer->node->op, "Adam") == 0 ? 4 : 3;
    uint32_t n = (infer->node->n_inputs - 2) / each;
    if (n * each != infer->node->n_inputs - 2 || infer->node->n_outputs != n * (each - 1)) {
        return lt_bad(infer, err, "%u inputs and %u outputs", infer->node->n_inputs,
                      infer->node->n_outputs);
    }
    leat_status status = lt_single(infer, 0, err);
    status = status ? status : lt_single(infer, 1, err);
    for (uint32_t i = 2; i < infer->node->n_inputs && status == LEAT_OK; i++) {
        const leat_value *x = lt_in(infer, 2 + (i - 2) % n);
        if (x == NULL || lt_in(infer, i) == NULL) {
            return lt_bad(infer, err, "input %u is missing", i);
        }
        status = lt_shaped(infer, i, x->rank, x->shape, err);
        status = status ? status : lt_same_type(infer, 2 + (i - 2) % n, i, err);
    }
    for (uint32_t i = 0; i < infer->node->n_outputs && status == LEAT_OK; i++) {
        const leat_value *x = lt_in(infer, 2 + i % n);
        status = lt_set_like(infer, i, x->dtype, x, err);
    }
    return status;
}

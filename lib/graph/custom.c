/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes of the application's operators: nothing that a callback answers is used unchecked. */
#include "graph/custom.h"

#include "graph/shape/shape.h"

const lt_custom_op *lt_custom_find(const lt_custom_ops *ops, const leat_node *node)
{
    const lt_custom_op *op = ops ? atomic_load_explicit(&ops->first, memory_order_acquire) : NULL;
    for (; op != NULL; op = op->next) {
        if (node->opset >= op->desc.since &&
            (op->desc.until == 0 || node->opset <= op->desc.until) &&
            strcmp(node->op, op->desc.name) == 0 && strcmp(node->domain, op->desc.domain) == 0) {
            return op;
        }
    }
    return NULL;
}

/* Symbols begin at -1 inside, at -2 outside, where -1 says that nothing is known. */
void lt_custom_inputs(const leat_node *node, const leat_value *values, leat_op_value *out)
{
    memset(out, 0, LEAT_OP_MAX_VALUES * sizeof(*out));
    for (uint32_t i = 0; i < node->n_inputs; i++) {
        if (node->inputs[i] == LEAT_NO_VALUE) {
            continue;
        }
        const leat_value *value = &values[node->inputs[i]];
        out[i].dtype = value->dtype;
        out[i].rank = value->rank;
        out[i].data = value->data;
        for (int32_t d = 0; d < value->rank; d++) {
            out[i].shape[d] = value->shape[d] < 0 ? value->shape[d] - 1 : value->shape[d];
        }
    }
}

leat_status lt_custom_failed(const lt_custom_op *op, leat_status status, leat_error *err)
{
    if ((int)status < 0 || status > LEAT_EXPIRED) {
        status =
            lt_fail(err, LEAT_INVALID, "its function returned %d, which is no status", (int)status);
    } else if (err != NULL && err->message[0] == '\0') {
        lt_fail(err, status, "its function returned '%s'", leat_status_text(status));
    }
    return lt_fail_within(err, status, "%s.%s", op->desc.domain, op->desc.name);
}

static leat_status check_counts(const lt_infer *infer, const leat_op_desc *desc, leat_error *err)
{
    const leat_node *node = infer->node;
    if (node->n_inputs < desc->min_inputs || node->n_inputs > desc->max_inputs) {
        return lt_bad(infer, err, "%u inputs, not %u to %u", node->n_inputs, desc->min_inputs,
                      desc->max_inputs);
    }
    if (node->n_outputs < desc->min_outputs || node->n_outputs > desc->max_outputs) {
        return lt_bad(infer, err, "%u outputs, not %u to %u", node->n_outputs, desc->min_outputs,
                      desc->max_outputs);
    }
    for (uint32_t i = 0; i < desc->min_inputs; i++) {
        if (node->inputs[i] == LEAT_NO_VALUE) {
            return lt_bad(infer, err, "input %u is missing", i);
        }
    }
    for (uint32_t i = 0; i < node->n_inputs; i++) {
        const leat_value *value = lt_in(infer, i);
        if (value != NULL && lt_value_is_container(value)) {
            return lt_bad(infer, err, "input %u is no tensor", i);
        }
    }
    for (uint32_t i = 0; i < desc->min_outputs; i++) {
        if (node->outputs[i] == LEAT_NO_VALUE) {
            return lt_bad(infer, err, "output %u is missing", i);
        }
    }
    return LEAT_OK;
}

/* Whether all is there that the shape function may rely on; infer->needs asks for the rest. */
static bool is_ready(lt_infer *infer, const leat_op_desc *desc)
{
    for (uint32_t i = 0; i < infer->node->n_inputs; i++) {
        const leat_value *value = lt_in(infer, i);
        if (value == NULL) {
            continue;
        }
        if (value->rank < 0 || value->dtype == LEAT_DTYPE_UNDEFINED) {
            return false;
        }
        if ((desc->shape_inputs >> i & 1) != 0 && value->data == NULL) {
            infer->needs = infer->concrete ? infer->node->inputs[i] : LEAT_NO_VALUE;
            return false;
        }
    }
    return true;
}

/* A negative dimension of an output: an input's symbol, or a new one. */
static leat_status resolve(lt_infer *infer, const leat_op_value *inputs, uint32_t i, int64_t *dim,
                           leat_error *err)
{
    if (infer->concrete) {
        return lt_bad(infer, err, "its shape function leaves output %u unknown", i);
    }
    for (uint32_t k = 0; *dim < -1 && k < infer->node->n_inputs; k++) {
        for (int32_t d = 0; d < inputs[k].rank; d++) {
            if (inputs[k].shape[d] == *dim) {
                *dim += 1;
                return LEAT_OK;
            }
        }
    }
    return lt_fresh(infer, dim, err);
}

static leat_status take_output(lt_infer *infer, const leat_op_value *inputs, uint32_t i,
                               leat_op_value *out, leat_error *err)
{
    const uint32_t index = infer->node->outputs[i];
    if (index == LEAT_NO_VALUE) {
        return LEAT_OK;
    }
    leat_dtype known = infer->graph->values[index].dtype;
    if ((int)out->dtype <= 0 || out->dtype >= LEAT_DTYPE_COUNT || out->dtype == LEAT_DTYPE_STRING) {
        return lt_bad(infer, err, "its shape function gives output %u no type that it may have", i);
    }
    if (infer->concrete && known != LEAT_DTYPE_UNDEFINED && known != out->dtype) {
        return lt_bad(infer, err, "output %u was %s at load and is %s now", i,
                      leat_dtype_name(known), leat_dtype_name(out->dtype));
    }
    if (out->rank < 0 || out->rank > LEAT_MAX_RANK) {
        return lt_bad(infer, err, "its shape function gives output %u rank %d", i, out->rank);
    }
    leat_status status = LEAT_OK;
    for (int32_t d = 0; d < out->rank && status == LEAT_OK; d++) {
        if (out->shape[d] < 0) {
            status = resolve(infer, inputs, i, &out->shape[d], err);
        }
    }
    return status ? status : lt_set(infer, i, out->dtype, out->rank, out->shape, err);
}

leat_status lt_custom_infer(lt_infer *infer, const lt_custom_op *op, leat_error *err)
{
    const leat_op_desc *desc = &op->desc;
    const leat_node *node = infer->node;
    leat_op_value inputs[LEAT_OP_MAX_VALUES], outputs[LEAT_OP_MAX_VALUES];
    leat_status status = check_counts(infer, desc, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (!is_ready(infer, desc)) { /* what the file declares stays */
        return !infer->concrete || infer->needs != LEAT_NO_VALUE
                   ? LEAT_OK
                   : lt_bad(infer, err, "the rank or type of an input is not known");
    }
    lt_custom_inputs(node, infer->values, inputs);
    memset(outputs, 0, sizeof(outputs));
    leat_error own; /* callbacks may always write a message */
    err = err ? err : &own;
    lt_error_clear(err);
    status = desc->shapes(desc->user, node, inputs, outputs, err);
    if (status != LEAT_OK) {
        status = lt_custom_failed(op, status, err);
        return lt_fail_within(err, status, "node '%s'", lt_node_label(infer->graph, node));
    }
    for (uint32_t i = 0; i < node->n_outputs && status == LEAT_OK; i++) {
        status = take_output(infer, inputs, i, &outputs[i], err);
    }
    return status;
}

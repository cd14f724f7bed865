/* SPDX-License-Identifier: Apache-2.0 */
/* Concat:  out[.., a_i + k, ..] = in_i[.., k, ..]. Every input is rows of one run each. */
#include "movement/movement.h"

typedef struct concat_state {
    leat_dtype dtype;
    uint32_t n_inputs;
    int64_t rows;
    int64_t row;      /* elements of an output row */
    int64_t counts[]; /* elements of a row of each input */
} concat_state;

/* Rows of all inputs are copied a block at a time where rows are short: lines of the output that
 * several inputs share are then written while they are in L1. */
#define BLOCK_BYTES (8 << 10)

typedef struct concat_job {
    const concat_state *state;
    const leat_kernel_args *args;
    int64_t element; /* bytes */
    int64_t block;   /* rows */
} concat_job;

static void copy_blocks(void *argument, int64_t begin, int64_t end)
{
    const concat_job *job = argument;
    const concat_state *state = job->state;
    const int64_t row_bytes = state->row * job->element;
    for (int64_t first = begin; first < end; first += job->block) {
        const int64_t rows = end - first < job->block ? end - first : job->block;
        uint8_t *out = (uint8_t *)job->args->outputs[0] + first * row_bytes;
        for (uint32_t i = 0; i < state->n_inputs; i++) {
            const int64_t bytes = state->counts[i] * job->element;
            const uint8_t *in = (const uint8_t *)job->args->inputs[i] + first * bytes;
            lt_move_runs(out, row_bytes, in, bytes, rows, bytes);
            out += bytes;
        }
    }
}

static leat_status launch_concat(const void *opaque, const leat_kernel_args *args, leat_error *err)
{
    (void)err;
    const concat_state *state = opaque;
    unsigned bits = lt_packed_bits(state->dtype);
    int64_t at = 0;
    const int64_t element = (int64_t)lt_cpu_element_bytes(state->dtype);
    if (bits == 0 && state->row != 0 && state->row * element <= BLOCK_BYTES / 2) {
        concat_job job = {state, args, element, BLOCK_BYTES / (state->row * element)};
        lt_cpu_parallel_range(args, state->rows, 1, 2.0 * (double)(state->row * element),
                              copy_blocks, &job);
        return LEAT_OK;
    }
    if (bits != 0) {
        memset(args->outputs[0], 0, (size_t)(state->rows * state->row * bits + 7) / 8);
    }
    for (uint32_t i = 0; i < state->n_inputs; i++) {
        int64_t count = state->counts[i];
        if (count == 0) {
            continue;
        }
        if (bits != 0) {
            lt_move_packed_rows copy = {args->outputs[0],
                                        args->inputs[i],
                                        bits,
                                        state->rows,
                                        count,
                                        at,
                                        state->row,
                                        0,
                                        count};
            lt_move_copy_packed(&copy);
        } else {
            lt_move_rows copy = {(uint8_t *)args->outputs[0] + at * element,
                                 args->inputs[i],
                                 state->rows,
                                 count * element,
                                 state->row * element,
                                 count * element};
            lt_move_copy_rows(&copy, args);
        }
        at += count;
    }
    return LEAT_OK;
}

leat_status lt_cpu_concat_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_attr *axis = leat_node_attr(node->node, "axis");
    if (axis == NULL || axis->type != LEAT_ATTR_INT) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: it needs an axis",
                           lt_move_name(node->node).text);
    }
    return LEAT_OK;
}

leat_status lt_cpu_concat_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                  leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    (void)device;
    const leat_value *out = leat_kernel_output(node, 0);
    uint32_t n = node->node->n_inputs;
    int32_t axis;
    int64_t sum = 0;
    leat_status status =
        lt_move_axis(node->node, leat_node_int(node->node, "axis", 0), out->rank, &axis, err);
    if (status != LEAT_OK) {
        return status;
    }
    concat_state *state = host->plan_alloc(plan, sizeof(*state) + n * sizeof(int64_t));
    if (state == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    state->dtype = out->dtype;
    state->n_inputs = n;
    state->rows = lt_move_product(out->shape, 0, axis);
    int64_t inner = lt_move_product(out->shape, axis + 1, out->rank);
    state->row = out->shape[axis] * inner;
    for (uint32_t i = 0; i < n; i++) {
        const leat_value *in = leat_kernel_input(node, i);
        bool fits = in != NULL && in->dtype == out->dtype && in->rank == out->rank;
        for (int32_t k = 0; fits && k < out->rank; k++) {
            fits = k == axis || in->shape[k] == out->shape[k];
        }
        if (!fits) {
            return lt_cpu_fail(err, LEAT_INVALID, "%s: input %u does not fit the output",
                               lt_move_name(node->node).text, i);
        }
        state->counts[i] = in->shape[axis] * inner;
        sum += in->shape[axis];
    }
    if (sum != out->shape[axis]) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: its inputs fill %lld of %lld along axis %d",
                           lt_move_name(node->node).text, (long long)sum,
                           (long long)out->shape[axis], axis);
    }
    out_kernel->name = "concat";
    out_kernel->launch = launch_concat;
    out_kernel->state = state;
    return LEAT_OK;
}

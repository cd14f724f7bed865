/* SPDX-License-Identifier: Apache-2.0 */
/* Gather, GatherElements, GatherND: reads at positions that come as data. Every index is checked
 * before the first read. Negative indices count from the end. Bound by memory. */
#include "movement/movement.h"

typedef struct gather_state {
    lt_move_label label;
    leat_dtype dtype;
    leat_dtype index_dtype;
    int64_t n_indices;
    int64_t outer, dim, inner; /* of the data around the axis */
    /* GatherElements, GatherND */
    int32_t rank;
    int32_t axis;
    int64_t in_shape[LEAT_MAX_RANK];
    int64_t index_shape[LEAT_MAX_RANK];
    int64_t tuple;   /* GatherND: indices of one position */
    int64_t batches; /* GatherND: product of the batch dimensions */
} gather_state;

static inline int64_t index_at(leat_dtype dtype, const void *indices, int64_t i)
{
    return dtype == LEAT_DTYPE_I64 ? ((const int64_t *)indices)[i] : ((const int32_t *)indices)[i];
}

/* Index i counted from the front; callers have checked it. */
static inline int64_t checked_at(leat_dtype dtype, const void *indices, int64_t i, int64_t dim)
{
    int64_t index = index_at(dtype, indices, i);
    return index < 0 ? index + dim : index;
}

static leat_status bad_index(const gather_state *state, int64_t at, int64_t index, int64_t dim,
                             leat_error *err)
{
    return lt_cpu_fail(
        err, LEAT_INVALID, "%s: index %lld at position %lld is outside [-%lld, %lld)",
        state->label.text, (long long)index, (long long)at, (long long)dim, (long long)dim);
}

/* Checks that every index is in [-dim, dim). */
static leat_status check_indices(const gather_state *state, const void *indices, int64_t dim,
                                 leat_error *err)
{
    for (int64_t i = 0; i < state->n_indices; i++) {
        int64_t index = index_at(state->index_dtype, indices, i);
        if (index < -dim || index >= dim) {
            return bad_index(state, i, index, dim, err);
        }
    }
    return LEAT_OK;
}

typedef struct gather_job {
    const gather_state *state;
    const void *indices;
    const uint8_t *in;
    uint8_t *out;
} gather_job;

#define GATHER_ONE(type)                                                                           \
    do {                                                                                           \
        ((type *)job->out)[item] = ((const type *)job->in)[from];                                  \
    } while (0)

/* Items are (outer, index) pairs. */
static void gather_range(void *argument, int64_t begin, int64_t end)
{
    const gather_job *job = argument;
    const gather_state *s = job->state;
    size_t bytes = lt_cpu_element_bytes(s->dtype) * (size_t)s->inner;
    for (int64_t item = begin; item < end; item++) {
        int64_t index = checked_at(s->index_dtype, job->indices, item % s->n_indices, s->dim);
        int64_t from = item / s->n_indices * s->dim + index;
        if (bytes == 4) {
            GATHER_ONE(lt_any32);
        } else if (bytes == 8) {
            GATHER_ONE(lt_any64);
        } else {
            memcpy(job->out + (size_t)item * bytes, job->in + (size_t)from * bytes, bytes);
        }
    }
}

static void gather_packed(const gather_job *job, unsigned bits)
{
    const gather_state *s = job->state;
    memset(job->out, 0, (size_t)(s->outer * s->n_indices * s->inner * bits + 7) / 8);
    for (int64_t item = 0; item < s->outer * s->n_indices; item++) {
        int64_t index = checked_at(s->index_dtype, job->indices, item % s->n_indices, s->dim);
        int64_t from = (item / s->n_indices * s->dim + index) * s->inner;
        lt_move_packed_rows copy = {job->out,        job->in,  bits, 1, s->inner,
                                    item * s->inner, s->inner, from, 0};
        lt_move_copy_packed(&copy);
    }
}

static leat_status launch_gather(const void *opaque, const leat_kernel_args *args, leat_error *err)
{
    const gather_state *state = opaque;
    gather_job job = {state, args->inputs[1], args->inputs[0], args->outputs[0]};
    if (state->outer * state->inner == 0) {
        return LEAT_OK;
    }
    leat_status status = check_indices(state, args->inputs[1], state->dim, err);
    unsigned bits = lt_packed_bits(state->dtype);
    if (status == LEAT_OK && bits != 0) {
        gather_packed(&job, bits);
    } else if (status == LEAT_OK) {
        double bytes = 2.0 * (double)lt_cpu_element_bytes(state->dtype) * (double)state->inner;
        lt_cpu_parallel_range(args, state->outer * state->n_indices, 1, bytes, gather_range, &job);
    }
    return status;
}

leat_status lt_cpu_gather_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *indices = leat_kernel_input(node, 1);
    if (leat_kernel_input(node, 0) == NULL || indices == NULL ||
        (indices->dtype != LEAT_DTYPE_I32 && indices->dtype != LEAT_DTYPE_I64)) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: its indices must be i32 or i64",
                           lt_move_name(node->node).text);
    }
    return LEAT_OK;
}

/* Allocates the state and fills what all three operators share. */
static leat_status make_state(const leat_kernel_node *node, const leat_host *host, leat_plan *plan,
                              gather_state **out_state, leat_error *err)
{
    const leat_value *in = leat_kernel_input(node, 0), *indices = leat_kernel_input(node, 1);
    gather_state *state = host->plan_alloc(plan, sizeof(*state));
    *out_state = state;
    if (state == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    state->label = lt_move_name(node->node);
    state->dtype = in->dtype;
    state->index_dtype = indices->dtype;
    state->n_indices = leat_value_count(indices);
    state->rank = in->rank;
    memcpy(state->in_shape, in->shape, sizeof(in->shape));
    memcpy(state->index_shape, indices->shape, sizeof(indices->shape));
    return LEAT_OK;
}

static leat_status check_count(const leat_kernel_node *node, int64_t wanted, leat_error *err)
{
    const leat_value *out = leat_kernel_output(node, 0);
    if (leat_value_count(out) != wanted || out->dtype != leat_kernel_input(node, 0)->dtype) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: its output has %lld elements, not %lld",
                           lt_move_name(node->node).text, (long long)leat_value_count(out),
                           (long long)wanted);
    }
    return LEAT_OK;
}

leat_status lt_cpu_gather_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                  leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    (void)device;
    const leat_value *in = leat_kernel_input(node, 0);
    gather_state *state;
    leat_status status = make_state(node, host, plan, &state, err);
    if (status == LEAT_OK) {
        status = lt_move_axis(node->node, leat_node_int(node->node, "axis", 0), in->rank,
                              &state->axis, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    state->outer = lt_move_product(in->shape, 0, state->axis);
    state->dim = in->shape[state->axis];
    state->inner = lt_move_product(in->shape, state->axis + 1, in->rank);
    out_kernel->name = "gather";
    out_kernel->launch = launch_gather;
    out_kernel->state = state;
    return check_count(node, state->outer * state->n_indices * state->inner, err);
}

/* ---- GatherElements ------------------------------------------------------------------------- */

/* Position in the data of element `item` of the indices, without the axis. */
static int64_t locate_element(const gather_state *s, int64_t item, int64_t index)
{
    int64_t at = 0, stride = 1;
    for (int32_t i = s->rank - 1; i >= 0; i--) {
        int64_t here = i == s->axis ? index : item % s->index_shape[i];
        item /= s->index_shape[i];
        at += here * stride;
        stride *= s->in_shape[i];
    }
    return at;
}

static void gather_elements_range(void *argument, int64_t begin, int64_t end)
{
    const gather_job *job = argument;
    const gather_state *s = job->state;
    size_t bytes = lt_cpu_element_bytes(s->dtype);
    for (int64_t item = begin; item < end; item++) {
        int64_t index = checked_at(s->index_dtype, job->indices, item, s->dim);
        int64_t from = locate_element(s, item, index);
        memcpy(job->out + (size_t)item * bytes, job->in + (size_t)from * bytes, bytes);
    }
}

static leat_status launch_gather_elements(const void *opaque, const leat_kernel_args *args,
                                          leat_error *err)
{
    const gather_state *state = opaque;
    gather_job job = {state, args->inputs[1], args->inputs[0], args->outputs[0]};
    leat_status status = check_indices(state, args->inputs[1], state->dim, err);
    if (status == LEAT_OK) {
        lt_cpu_parallel_range(args, state->n_indices, 1, 64.0, gather_elements_range, &job);
    }
    return status;
}

leat_status lt_cpu_gather_elements_prepare(const leat_kernel_node *node, void *device,
                                           const leat_host *host, leat_plan *plan,
                                           leat_kernel *out_kernel, leat_error *err)
{
    (void)device;
    const leat_value *in = leat_kernel_input(node, 0), *indices = leat_kernel_input(node, 1);
    gather_state *state;
    leat_status status = make_state(node, host, plan, &state, err);
    if (status == LEAT_OK) {
        status = lt_move_axis(node->node, leat_node_int(node->node, "axis", 0), in->rank,
                              &state->axis, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    state->dim = in->shape[state->axis];
    bool fits = indices->rank == in->rank;
    for (int32_t i = 0; fits && i < in->rank; i++) {
        fits = i == state->axis || indices->shape[i] <= in->shape[i];
    }
    if (!fits) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: its indices do not fit into the data",
                           state->label.text);
    }
    out_kernel->name = "gather_elements";
    out_kernel->launch = launch_gather_elements;
    out_kernel->state = state;
    return check_count(node, state->n_indices, err);
}

/* ---- GatherND ------------------------------------------------------------------------------- */

/* First element of the slice that index tuple `item` names; the tuple was checked. */
static int64_t locate_slice(const gather_state *s, const void *indices, int64_t item)
{
    int64_t per_batch = s->n_indices / s->tuple / s->batches;
    int64_t at = item / per_batch;
    for (int64_t k = 0; k < s->tuple; k++) {
        int64_t dim = s->in_shape[s->axis + k];
        at = at * dim + checked_at(s->index_dtype, indices, item * s->tuple + k, dim);
    }
    return at * s->inner;
}

static void gather_nd_range(void *argument, int64_t begin, int64_t end)
{
    const gather_job *job = argument;
    const gather_state *s = job->state;
    size_t bytes = lt_cpu_element_bytes(s->dtype), run = bytes * (size_t)s->inner;
    for (int64_t item = begin; item < end; item++) {
        int64_t from = locate_slice(s, job->indices, item);
        memcpy(job->out + (size_t)item * run, job->in + (size_t)from * bytes, run);
    }
}

static leat_status launch_gather_nd(const void *opaque, const leat_kernel_args *args,
                                    leat_error *err)
{
    const gather_state *state = opaque;
    gather_job job = {state, args->inputs[1], args->inputs[0], args->outputs[0]};
    for (int64_t i = 0; i < state->n_indices; i++) {
        int64_t dim = state->in_shape[state->axis + i % state->tuple];
        int64_t index = index_at(state->index_dtype, args->inputs[1], i);
        if (index < -dim || index >= dim) {
            return bad_index(state, i, index, dim, err);
        }
    }
    if (state->n_indices > 0) {
        double bytes = 2.0 * (double)lt_cpu_element_bytes(state->dtype) * (double)state->inner;
        lt_cpu_parallel_range(args, state->n_indices / state->tuple, 1, bytes, gather_nd_range,
                              &job);
    }
    return LEAT_OK;
}

leat_status lt_cpu_gather_nd_prepare(const leat_kernel_node *node, void *device,
                                     const leat_host *host, leat_plan *plan,
                                     leat_kernel *out_kernel, leat_error *err)
{
    (void)device;
    const leat_value *in = leat_kernel_input(node, 0), *indices = leat_kernel_input(node, 1);
    int64_t batch = leat_node_int(node->node, "batch_dims", 0);
    gather_state *state;
    leat_status status = make_state(node, host, plan, &state, err);
    if (status != LEAT_OK) {
        return status;
    }
    int64_t tuple = indices->rank > 0 ? indices->shape[indices->rank - 1] : 0;
    bool fits = batch >= 0 && batch < indices->rank && tuple >= 1 && batch + tuple <= in->rank;
    for (int64_t i = 0; fits && i < batch; i++) {
        fits = indices->shape[i] == in->shape[i];
    }
    if (!fits) {
        return lt_cpu_fail(err, LEAT_INVALID,
                           "%s: indices of %lld axes after %lld batch axes do "
                           "not fit data of rank %d",
                           state->label.text, (long long)tuple, (long long)batch, in->rank);
    }
    state->axis = (int32_t)batch;
    state->tuple = tuple;
    state->batches = lt_move_product(in->shape, 0, state->axis);
    state->inner = lt_move_product(in->shape, state->axis + (int32_t)tuple, in->rank);
    out_kernel->name = "gather_nd";
    out_kernel->launch = launch_gather_nd;
    out_kernel->state = state;
    return check_count(node, state->n_indices / tuple * state->inner, err);
}

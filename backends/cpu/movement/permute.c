/* SPDX-License-Identifier: Apache-2.0 */
/* Transpose, Expand, Tile, DepthToSpace, SpaceToDepth: strided copies. */
#include "movement/movement.h"

static leat_status launch_strided(const void *state, const leat_kernel_args *args, leat_error *err)
{
    (void)err;
    lt_strided_run(state, args, args->outputs[0], args->inputs[0]);
    return LEAT_OK;
}

/* The kernel of a strided copy that reads input 0 only. */
static leat_status finish(const leat_kernel_node *node, const lt_strided *copy, void *device,
                          const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                          leat_error *err)
{
    const lt_cpu_device *cpu = device;
    const leat_value *out = leat_kernel_output(node, 0);
    if (leat_value_count(out) != lt_move_product(copy->shape, 0, copy->rank) ||
        out->dtype != copy->dtype) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: its output has %lld elements, not %lld",
                           lt_move_name(node->node).text, (long long)leat_value_count(out),
                           (long long)lt_move_product(copy->shape, 0, copy->rank));
    }
    lt_strided_plan *made = host->plan_alloc(plan, sizeof(*made));
    if (made == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    lt_strided_prepare(copy, cpu->isa, made);
    out_kernel->name = made->name;
    out_kernel->launch = launch_strided;
    out_kernel->state = made;
    out_kernel->unread_mask = ~1u;
    return LEAT_OK;
}

/* Row-major strides of a shape. */
static void dense_strides(const int64_t *shape, int32_t rank, int64_t *strides)
{
    int64_t stride = 1;
    for (int32_t i = rank - 1; i >= 0; i--) {
        strides[i] = stride;
        stride *= shape[i];
    }
}

/* ---- Transpose ------------------------------------------------------------------------------ */

/* Reads perm, or makes the reversal that is its default. */
static leat_status read_perm(const leat_node *node, int32_t rank, int32_t *perm, leat_error *err)
{
    size_t count;
    const int64_t *given = leat_node_ints(node, "perm", &count);
    uint32_t seen = 0;
    if (given != NULL && (int64_t)count != rank) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: perm has %zu entries for rank %d",
                           lt_move_name(node).text, count, rank);
    }
    for (int32_t i = 0; i < rank; i++) {
        int64_t axis = given ? given[i] : rank - 1 - i;
        if (axis < 0 || axis >= rank || (seen >> axis & 1)) {
            return lt_cpu_fail(err, LEAT_INVALID, "%s: perm is not a permutation of %d axes",
                               lt_move_name(node).text, rank);
        }
        seen |= 1u << axis;
        perm[i] = (int32_t)axis;
    }
    return LEAT_OK;
}

leat_status lt_cpu_transpose_supports(const leat_kernel_node *node, leat_error *err)
{
    int32_t perm[LEAT_MAX_RANK];
    const leat_value *in = leat_kernel_input(node, 0);
    return in == NULL || in->rank < 0 ? LEAT_OK : read_perm(node->node, in->rank, perm, err);
}

leat_status lt_cpu_transpose_prepare(const leat_kernel_node *node, void *device,
                                     const leat_host *host, leat_plan *plan,
                                     leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *in = leat_kernel_input(node, 0);
    int32_t perm[LEAT_MAX_RANK];
    int64_t strides[LEAT_MAX_RANK];
    leat_status status = read_perm(node->node, in->rank, perm, err);
    if (status != LEAT_OK) {
        return status;
    }
    lt_strided copy = {.rank = in->rank, .dtype = in->dtype};
    dense_strides(in->shape, in->rank, strides);
    int32_t last = -1;
    bool in_order = true; /* the axes of more than one element keep their order */
    for (int32_t i = 0; i < in->rank; i++) {
        copy.shape[i] = in->shape[perm[i]];
        copy.strides[i] = strides[perm[i]];
        if (copy.shape[i] != 1) {
            in_order = in_order && perm[i] > last;
            last = perm[i];
        }
    }
    if (in_order) {
        return lt_cpu_view_prepare(node, device, host, plan, out_kernel, err);
    }
    return finish(node, &copy, device, host, plan, out_kernel, err);
}

/* ---- Expand and Tile ------------------------------------------------------------------------ */

typedef struct repeat_state {
    lt_move_label label;
    int32_t in_rank, out_rank;
    int64_t in_shape[LEAT_MAX_RANK], out_shape[LEAT_MAX_RANK];
    int64_t n_list; /* elements of input 1 */
    leat_dtype list_dtype;
    bool tile;
    bool check; /* input 1 was not known to prepare */
    lt_strided_plan plan;
} repeat_state;

/* Checks that a shape or repeats input leads to the output shape that was planned. */
static leat_status check_repeat(const repeat_state *state, const void *data, leat_error *err)
{
    int64_t list[LEAT_MAX_RANK];
    const char *what = state->tile ? "repeats" : "shape";
    leat_status status =
        lt_move_ints(state->label.text, what, state->list_dtype, data, state->n_list, list, err);
    for (int32_t i = 0; status == LEAT_OK && i < state->out_rank; i++) {
        int64_t in_at = i - (state->out_rank - state->in_rank);
        int64_t list_at = i - (state->out_rank - state->n_list);
        int64_t dim = in_at < 0 ? 1 : state->in_shape[in_at];
        int64_t given = list_at < 0 ? 1 : list[list_at];
        int64_t wanted = state->tile ? dim * given : dim == 1 ? given : dim;
        if (given < 0 || (!state->tile && given != 1 && dim != 1 && given != dim) ||
            wanted != state->out_shape[i]) {
            return lt_cpu_fail(err, LEAT_INVALID,
                               "%s: %s[%lld] is %lld, which does not lead from %lld to %lld",
                               state->label.text, what, (long long)list_at, (long long)given,
                               (long long)dim, (long long)state->out_shape[i]);
        }
    }
    return status;
}

static leat_status launch_repeat(const void *opaque, const leat_kernel_args *args, leat_error *err)
{
    const repeat_state *state = opaque;
    if (state->check) {
        leat_status status = check_repeat(state, args->inputs[1], err);
        if (status != LEAT_OK) {
            return status;
        }
    }
    lt_strided_run(&state->plan, args, args->outputs[0], args->inputs[0]);
    return LEAT_OK;
}

/* Each axis becomes a pair: how often it repeats (stride 0), and itself. */
static leat_status plan_repeat(const leat_node *node, repeat_state *state, leat_dtype dtype,
                               lt_cpu_isa isa, leat_error *err)
{
    lt_strided copy = {.rank = 2 * state->out_rank, .dtype = dtype};
    int64_t strides[LEAT_MAX_RANK];
    int32_t offset = state->out_rank - state->in_rank;
    dense_strides(state->in_shape, state->in_rank, strides);
    for (int32_t i = 0; i < state->out_rank; i++) {
        int64_t dim = i < offset ? 1 : state->in_shape[i - offset];
        int64_t out = state->out_shape[i];
        if (dim != 0 ? out % dim != 0 || (!state->tile && dim != 1 && dim != out) : out != 0) {
            return lt_cpu_fail(err, LEAT_INVALID, "%s: axis %d cannot go from %lld to %lld",
                               lt_move_name(node).text, i, (long long)dim, (long long)out);
        }
        copy.shape[2 * i] = dim ? out / dim : 0;
        copy.strides[2 * i] = 0;
        copy.shape[2 * i + 1] = dim;
        copy.strides[2 * i + 1] = i < offset ? 0 : strides[i - offset];
    }
    lt_strided_prepare(&copy, isa, &state->plan);
    return LEAT_OK;
}

static leat_status prepare_repeat(const leat_kernel_node *node, bool tile, void *device,
                                  const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                  leat_error *err)
{
    const lt_cpu_device *cpu = device;
    const leat_value *in = leat_kernel_input(node, 0), *list = leat_kernel_input(node, 1);
    const leat_value *out = leat_kernel_output(node, 0);
    repeat_state *state = host->plan_alloc(plan, sizeof(*state));
    if (state == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    state->label = lt_move_name(node->node);
    state->tile = tile;
    state->in_rank = in->rank;
    state->out_rank = out->rank;
    memcpy(state->in_shape, in->shape, sizeof(in->shape));
    memcpy(state->out_shape, out->shape, sizeof(out->shape));
    state->list_dtype = list->dtype;
    state->check = !lt_move_known(list);
    leat_status status =
        lt_move_list(node->node, tile ? "repeats" : "shape", list, out->rank, &state->n_list, err);
    if (status == LEAT_OK && in->rank > out->rank) {
        status = lt_cpu_fail(err, LEAT_INVALID, "%s: rank %d cannot become %d",
                             lt_move_name(node->node).text, in->rank, out->rank);
    }
    if (status == LEAT_OK && !state->check) {
        status = check_repeat(state, list->data, err);
    }
    if (status == LEAT_OK) {
        status = plan_repeat(node->node, state, in->dtype, cpu->isa, err);
    }
    out_kernel->name = state->plan.name;
    out_kernel->launch = launch_repeat;
    out_kernel->state = state;
    out_kernel->unread_mask = state->check ? 0 : 2;
    return status;
}

leat_status lt_cpu_expand_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                  leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    return prepare_repeat(node, false, device, host, plan, out_kernel, err);
}

leat_status lt_cpu_tile_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    return prepare_repeat(node, true, device, host, plan, out_kernel, err);
}

/* ---- DepthToSpace and SpaceToDepth ---------------------------------------------------------- */

leat_status lt_cpu_block_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *in = leat_kernel_input(node, 0);
    int64_t block = leat_node_int(node->node, "blocksize", 0);
    if (in == NULL || (in->rank >= 0 && in->rank != 4) || block < 1 || block > 1 << 20) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED,
                           "%s: it takes rank 4 and a blocksize from 1 to 2^20",
                           lt_move_name(node->node).text);
    }
    return LEAT_OK;
}

leat_status lt_cpu_depth_to_space_prepare(const leat_kernel_node *node, void *device,
                                          const leat_host *host, leat_plan *plan,
                                          leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *in = leat_kernel_input(node, 0);
    int64_t b = leat_node_int(node->node, "blocksize", 1);
    int64_t n = in->shape[0], c = in->shape[1], h = in->shape[2], w = in->shape[3];
    if (c % (b * b) != 0) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: %lld channels for blocks of %lld",
                           lt_move_name(node->node).text, (long long)c, (long long)b);
    }
    int64_t depth = c / (b * b), plane = h * w;
    /* DCR: channel (block row, block column, depth); CRD: (depth, block row, block column). */
    bool crd = leat_node_string_is(node->node, "mode", "CRD");
    int64_t d_stride = crd ? b * b * plane : plane;
    int64_t row_stride = crd ? b * plane : b * depth * plane;
    int64_t col_stride = crd ? plane : depth * plane;
    lt_strided copy = {.rank = 6,
                       .shape = {n, depth, h, b, w, b},
                       .strides = {c * plane, d_stride, w, row_stride, 1, col_stride},
                       .dtype = in->dtype};
    return finish(node, &copy, device, host, plan, out_kernel, err);
}

leat_status lt_cpu_space_to_depth_prepare(const leat_kernel_node *node, void *device,
                                          const leat_host *host, leat_plan *plan,
                                          leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *in = leat_kernel_input(node, 0);
    int64_t b = leat_node_int(node->node, "blocksize", 1);
    int64_t n = in->shape[0], c = in->shape[1], h = in->shape[2], w = in->shape[3];
    if (h % b != 0 || w % b != 0) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: %lldx%lld is not made of blocks of %lld",
                           lt_move_name(node->node).text, (long long)h, (long long)w, (long long)b);
    }
    bool crd = leat_node_string_is(node->node, "mode", "CRD");
    lt_strided copy = {.rank = 6,
                       .shape = {n, b, b, c, h / b, w / b},
                       .strides = {c * h * w, w, 1, h * w, b * w, b},
                       .dtype = in->dtype};
    lt_strided by_column = {.rank = 6,
                            .shape = {n, c, b, b, h / b, w / b},
                            .strides = {c * h * w, h * w, w, 1, b * w, b},
                            .dtype = in->dtype};
    copy = crd ? by_column : copy;
    return finish(node, &copy, device, host, plan, out_kernel, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* ScatterElements (and the older Scatter) and ScatterND: a copy of the data with some elements
 * replaced, or combined with an update by add, mul, min or max. Every index is checked before the
 * first write. Updates are applied in order by one thread, as positions may come twice. */
#include "movement/movement.h"

typedef enum reduction {
    REDUCE_NONE,
    REDUCE_ADD,
    REDUCE_MUL,
    REDUCE_MIN,
    REDUCE_MAX
} reduction;

typedef struct scatter_state {
    lt_move_label label;
    leat_dtype dtype, index_dtype;
    reduction reduce;
    int32_t rank, axis;
    int64_t in_shape[LEAT_MAX_RANK], index_shape[LEAT_MAX_RANK];
    int64_t count, n_indices;
    int64_t tuple, inner; /* ScatterND: indices of a position, elements of an update */
} scatter_state;

static inline int64_t index_at(const scatter_state *s, const void *indices, int64_t i)
{
    return s->index_dtype == LEAT_DTYPE_I64 ? ((const int64_t *)indices)[i]
                                            : ((const int32_t *)indices)[i];
}

/* Checks index i, of an axis of `dim`. */
static leat_status check_index(const scatter_state *s, const void *indices, int64_t i, int64_t dim,
                               leat_error *err)
{
    int64_t index = index_at(s, indices, i);
    return index >= -dim && index < dim
               ? LEAT_OK
               : lt_cpu_fail(
                     err, LEAT_INVALID, "%s: index %lld at position %lld is outside [-%lld, %lld)",
                     s->label.text, (long long)index, (long long)i, (long long)dim, (long long)dim);
}

static inline int64_t from_front(const scatter_state *s, const void *indices, int64_t i,
                                 int64_t dim)
{
    int64_t index = index_at(s, indices, i);
    return index < 0 ? index + dim : index;
}

/* ---- combining ------------------------------------------------------------------------------ */

#define SAME(x) (x)
#define COMBINE(type, wide, load, store)                                                           \
    for (int64_t i = 0; i < n; i++) {                                                              \
        wide a = load(((const type *)out)[to + i]), b = load(((const type *)updates)[from + i]);   \
        wide c = reduce == REDUCE_ADD   ? (wide)(a + b)                                            \
                 : reduce == REDUCE_MUL ? (wide)(a * b)                                            \
                 : reduce == REDUCE_MIN ? (b < a ? b : a)                                          \
                                        : (b > a ? b : a);                                         \
        ((type *)out)[to + i] = (type)store(c);                                                    \
    }                                                                                              \
    break

/* out[to + i] = reduce(out[to + i], updates[from + i]); integers wrap around. */
static void apply(leat_dtype dtype, reduction reduce, void *out, int64_t to, const void *updates,
                  int64_t from, int64_t n)
{
    if (reduce == REDUCE_NONE) {
        size_t bytes = lt_cpu_element_bytes(dtype);
        memcpy((uint8_t *)out + (size_t)to * bytes, (const uint8_t *)updates + (size_t)from * bytes,
               (size_t)n * bytes);
        return;
    }
    bool ordered = reduce == REDUCE_MIN || reduce == REDUCE_MAX;
    switch (dtype) {
    case LEAT_DTYPE_F32:
        COMBINE(float, float, SAME, SAME);
    case LEAT_DTYPE_F64:
        COMBINE(double, double, SAME, SAME);
    case LEAT_DTYPE_F16:
        COMBINE(uint16_t, float, lt_f16_to_f32, lt_f32_to_f16);
    case LEAT_DTYPE_BF16:
        COMBINE(uint16_t, float, lt_bf16_to_f32, lt_f32_to_bf16);
    case LEAT_DTYPE_U8:
    case LEAT_DTYPE_BOOL:
        COMBINE(uint8_t, uint64_t, SAME, SAME);
    case LEAT_DTYPE_U16:
        COMBINE(uint16_t, uint64_t, SAME, SAME);
    case LEAT_DTYPE_U32:
        COMBINE(uint32_t, uint64_t, SAME, SAME);
    case LEAT_DTYPE_I8:
        COMBINE(int8_t, int64_t, SAME, SAME);
    case LEAT_DTYPE_I16:
        COMBINE(int16_t, int64_t, SAME, SAME);
    case LEAT_DTYPE_I32:
        COMBINE(int32_t, int64_t, SAME, SAME);
    case LEAT_DTYPE_I64:
        if (ordered) {
            COMBINE(int64_t, int64_t, SAME, SAME);
        }
        COMBINE(uint64_t, uint64_t, SAME, SAME);
    default:
        COMBINE(uint64_t, uint64_t, SAME, SAME);
    }
}

static void copy_data(const scatter_state *s, const leat_kernel_args *args)
{
    int64_t bytes = s->count * (int64_t)lt_cpu_element_bytes(s->dtype);
    if (args->outputs[0] != args->inputs[0]) {
        lt_move_rows copy = {args->outputs[0], args->inputs[0], 1, bytes, bytes, bytes};
        lt_move_copy_rows(&copy, args);
    }
}

/* ---- launch --------------------------------------------------------------------------------- */

static leat_status launch_elements(const void *opaque, const leat_kernel_args *args,
                                   leat_error *err)
{
    const scatter_state *s = opaque;
    int64_t dim = s->in_shape[s->axis];
    for (int64_t i = 0; i < s->n_indices; i++) {
        leat_status status = check_index(s, args->inputs[1], i, dim, err);
        if (status != LEAT_OK) {
            return status;
        }
    }
    copy_data(s, args);
    for (int64_t item = 0; item < s->n_indices; item++) {
        int64_t rest = item, at = 0, stride = 1;
        for (int32_t i = s->rank - 1; i >= 0; i--) {
            int64_t here = rest % s->index_shape[i];
            here = i == s->axis ? from_front(s, args->inputs[1], item, dim) : here;
            rest /= s->index_shape[i];
            at += here * stride;
            stride *= s->in_shape[i];
        }
        apply(s->dtype, s->reduce, args->outputs[0], at, args->inputs[2], item, 1);
    }
    return LEAT_OK;
}

static leat_status launch_nd(const void *opaque, const leat_kernel_args *args, leat_error *err)
{
    const scatter_state *s = opaque;
    for (int64_t i = 0; i < s->n_indices; i++) {
        leat_status status = check_index(s, args->inputs[1], i, s->in_shape[i % s->tuple], err);
        if (status != LEAT_OK) {
            return status;
        }
    }
    copy_data(s, args);
    for (int64_t item = 0; item * s->tuple < s->n_indices; item++) {
        int64_t at = 0;
        for (int64_t k = 0; k < s->tuple; k++) {
            int64_t dim = s->in_shape[k];
            at = at * dim + from_front(s, args->inputs[1], item * s->tuple + k, dim);
        }
        apply(s->dtype, s->reduce, args->outputs[0], at * s->inner, args->inputs[2],
              item * s->inner, s->inner);
    }
    return LEAT_OK;
}

/* ---- prepare -------------------------------------------------------------------------------- */

static const char *const reduction_names[] = {"none", "add", "mul", "min", "max"};

leat_status lt_cpu_scatter_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *in = leat_kernel_input(node, 0), *indices = leat_kernel_input(node, 1);
    bool known = leat_node_attr(node->node, "reduction") == NULL;
    bool none = known || leat_node_string_is(node->node, "reduction", "none");
    for (int i = 0; i < 5; i++) {
        known = known || leat_node_string_is(node->node, "reduction", reduction_names[i]);
    }
    if (in == NULL || indices == NULL || leat_kernel_input(node, 2) == NULL || !known ||
        (!none && !((CPU_NUMBERS | CPU_T(BOOL)) >> in->dtype & 1)) ||
        (indices->dtype != LEAT_DTYPE_I32 && indices->dtype != LEAT_DTYPE_I64)) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED,
                           "%s: it takes i32 or i64 indices and a reduction of none, or add, mul, "
                           "min, max for numbers",
                           lt_move_name(node->node).text);
    }
    return LEAT_OK;
}

static leat_status make_state(const leat_kernel_node *node, const leat_host *host, leat_plan *plan,
                              scatter_state **out_state, leat_error *err)
{
    const leat_value *in = leat_kernel_input(node, 0), *indices = leat_kernel_input(node, 1);
    const leat_value *updates = leat_kernel_input(node, 2), *out = leat_kernel_output(node, 0);
    scatter_state *s = host->plan_alloc(plan, sizeof(*s));
    *out_state = s;
    if (s == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    s->label = lt_move_name(node->node);
    s->dtype = in->dtype;
    s->index_dtype = indices->dtype;
    s->rank = in->rank;
    s->count = leat_value_count(in);
    s->n_indices = leat_value_count(indices);
    memcpy(s->in_shape, in->shape, sizeof(in->shape));
    memcpy(s->index_shape, indices->shape, sizeof(indices->shape));
    for (int i = 0; i < 5; i++) {
        if (leat_node_string_is(node->node, "reduction", reduction_names[i])) {
            s->reduce = (reduction)i;
        }
    }
    if (updates->dtype != in->dtype || out->dtype != in->dtype ||
        leat_value_count(out) != s->count) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: data, updates and output differ in type or size",
                           s->label.text);
    }
    return LEAT_OK;
}

leat_status lt_cpu_scatter_elements_prepare(const leat_kernel_node *node, void *device,
                                            const leat_host *host, leat_plan *plan,
                                            leat_kernel *out_kernel, leat_error *err)
{
    (void)device;
    const leat_value *indices = leat_kernel_input(node, 1), *updates = leat_kernel_input(node, 2);
    scatter_state *s;
    leat_status status = make_state(node, host, plan, &s, err);
    if (status == LEAT_OK) {
        status =
            lt_move_axis(node->node, leat_node_int(node->node, "axis", 0), s->rank, &s->axis, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    bool fits = indices->rank == s->rank && leat_value_count(updates) == s->n_indices;
    for (int32_t i = 0; fits && i < s->rank; i++) {
        fits = i == s->axis || indices->shape[i] <= s->in_shape[i];
    }
    if (!fits) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: indices and updates do not fit into the data",
                           s->label.text);
    }
    out_kernel->name = "scatter_elements";
    out_kernel->launch = launch_elements;
    out_kernel->state = s;
    out_kernel->inplace_mask = 1;
    return LEAT_OK;
}

leat_status lt_cpu_scatter_nd_prepare(const leat_kernel_node *node, void *device,
                                      const leat_host *host, leat_plan *plan,
                                      leat_kernel *out_kernel, leat_error *err)
{
    (void)device;
    const leat_value *indices = leat_kernel_input(node, 1), *updates = leat_kernel_input(node, 2);
    scatter_state *s;
    leat_status status = make_state(node, host, plan, &s, err);
    if (status != LEAT_OK) {
        return status;
    }
    s->tuple = indices->rank > 0 ? indices->shape[indices->rank - 1] : 0;
    if (s->tuple < 1 || s->tuple > s->rank) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: indices of %lld axes for data of rank %d",
                           s->label.text, (long long)s->tuple, s->rank);
    }
    s->inner = lt_move_product(s->in_shape, (int32_t)s->tuple, s->rank);
    if (leat_value_count(updates) != s->n_indices / s->tuple * s->inner) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: %lld updates for %lld positions of %lld",
                           s->label.text, (long long)leat_value_count(updates),
                           (long long)(s->n_indices / s->tuple), (long long)s->inner);
    }
    out_kernel->name = "scatter_nd";
    out_kernel->launch = launch_nd;
    out_kernel->state = s;
    out_kernel->inplace_mask = 1;
    return LEAT_OK;
}

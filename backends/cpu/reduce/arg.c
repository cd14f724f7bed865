/* SPDX-License-Identifier: Apache-2.0 */
/* ArgMax and ArgMin along one axis: the first, or with select_last_index the last, of equal
 * elements; the first NaN where there is one. Rows of f32 that lie together are searched by the
 * vector kernels, the rest element by element. */
#include "elementwise/element.h"
#include "reduce/rows_kernel.h"

typedef struct arg {
    leat_dtype dtype;
    bool largest, last;
    int64_t outer, extent, inner;
    const lt_row_kernels *kernels;
} arg;

typedef struct arg_launch {
    const arg *a;
    const void *x;
    int64_t *y;
} arg_launch;

/* Integers: flipping the sign bit orders signed ones as unsigned ones. */
static int64_t find_whole(const arg *a, const void *x, int64_t base)
{
    int64_t best = 0;
    uint64_t best_u = 0, flip = CPU_SIGNED >> a->dtype & 1 ? 1ull << 63 : 0;
    for (int64_t k = 0; k < a->extent; k++) {
        uint64_t u = (uint64_t)lt_element_int(a->dtype, x, base + k * a->inner) ^ flip;
        bool better = a->largest ? u > best_u : u < best_u;
        if (k == 0 || better || (u == best_u && a->last)) {
            best = k;
            best_u = u;
        }
    }
    return best;
}

static int64_t find_float(const arg *a, const void *x, int64_t base)
{
    int64_t best = 0;
    double best_v = lt_element_get(a->dtype, x, base);
    for (int64_t k = 1; k < a->extent && best_v == best_v; k++) {
        double v = lt_element_get(a->dtype, x, base + k * a->inner);
        bool better = a->largest ? v > best_v : v < best_v;
        if (better || v != v || (v == best_v && a->last)) {
            best = k;
            best_v = v;
        }
    }
    return best;
}

static void arg_range(void *argument, int64_t begin, int64_t end)
{
    const arg_launch *l = argument;
    const arg *a = l->a;
    for (int64_t i = begin; i < end; i++) {
        int64_t base = i / a->inner * a->extent * a->inner + i % a->inner;
        if (a->dtype == LEAT_DTYPE_F32 && a->inner == 1) {
            l->y[i] = a->kernels->find((const float *)l->x + base, a->extent, a->largest, a->last);
        } else if (CPU_FLOATS >> a->dtype & 1) {
            l->y[i] = find_float(a, l->x, base);
        } else {
            l->y[i] = find_whole(a, l->x, base);
        }
    }
}

static leat_status arg_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const arg *a = state;
    arg_launch l = {a, args->inputs[0], args->outputs[0]};
    (void)err;
    lt_cpu_parallel_range(args, a->outer * a->inner, 1, 8 * (double)a->extent, arg_range, &l);
    return LEAT_OK;
}

leat_status lt_cpu_arg_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                               leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    arg *a = host->plan_alloc(plan, sizeof(*a));
    if (a == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for the plan", node->node->op);
    }
    int64_t axis = leat_node_int(node->node, "axis", 0);
    axis += axis < 0 ? x->rank : 0;
    a->dtype = x->dtype;
    a->largest = strcmp(node->node->op, "ArgMax") == 0;
    a->last = leat_node_int(node->node, "select_last_index", 0) != 0;
    a->outer = a->extent = a->inner = 1;
    for (int32_t i = 0; i < x->rank; i++) {
        *(i < axis ? &a->outer : i == axis ? &a->extent : &a->inner) *= x->shape[i];
    }
    if (axis < 0 || (axis >= x->rank && (x->rank != 0 || axis != 0)) ||
        y->dtype != LEAT_DTYPE_I64 || leat_value_count(y) != a->outer * a->inner) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s node '%s': axis or output do not fit rank %d",
                           node->node->op, node->node->name, x->rank);
    }
    if (a->extent == 0 && a->outer * a->inner != 0) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s node '%s': axis %lld is empty", node->node->op,
                           node->node->name, (long long)axis);
    }
    a->kernels = lt_row_kernels_for(device);
    out_kernel->name = "arg";
    out_kernel->launch = arg_run;
    out_kernel->state = a;
    return LEAT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* leat's UniqueIndex and UniqueTo, which ONNX's Unique becomes (passes/count_first.c). UniqueIndex
 * compares the slices along an axis (or all elements) and gives for each different one the place of
 * its first, for each slice which of these it is, how many of each there are, and their number; in
 * order of value, or of appearance. UniqueTo copies the first ones. NaN equals NaN and comes last.
 * Slices are sorted by merging: n log n comparisons. */
#include "elementwise/element.h"
#include "movement/movement.h"

typedef struct unique {
    lt_move_label label;
    leat_dtype dtype;
    bool sorted;
    int64_t outer, dim, inner;
    int64_t planned;
} unique;

static int compare_elements(leat_dtype dtype, const void *data, int64_t i, int64_t j)
{
    if (dtype == LEAT_DTYPE_STRING) {
        leat_string a, b;
        memcpy(&a, (const leat_string *)data + i, sizeof(a));
        memcpy(&b, (const leat_string *)data + j, sizeof(b));
        size_t both = a.bytes < b.bytes ? a.bytes : b.bytes;
        int order = both ? memcmp(a.data, b.data, both) : 0;
        return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
    }
    if (dtype == LEAT_DTYPE_U64) {
        uint64_t a = (uint64_t)lt_element_int(dtype, data, i);
        uint64_t b = (uint64_t)lt_element_int(dtype, data, j);
        return (a > b) - (a < b);
    }
    if ((CPU_INTS | CPU_T(BOOL)) >> dtype & 1) {
        int64_t a = lt_element_int(dtype, data, i), b = lt_element_int(dtype, data, j);
        return (a > b) - (a < b);
    }
    double a = lt_element_get(dtype, data, i), b = lt_element_get(dtype, data, j);
    if (a != a || b != b) {
        return (a != a) - (b != b);
    }
    return (a > b) - (a < b);
}

static int compare_slices(const unique *u, const void *data, int64_t i, int64_t j)
{
    for (int64_t o = 0; o < u->outer; o++) {
        for (int64_t k = 0; k < u->inner; k++) {
            int order = compare_elements(u->dtype, data, (o * u->dim + i) * u->inner + k,
                                         (o * u->dim + j) * u->inner + k);
            if (order != 0) {
                return order;
            }
        }
    }
    return 0;
}

/* Sorts `order`, n places, with `other` as room; equal ones keep their order. Returns where the
 * result is: one of the two. */
static int64_t *sort(const unique *u, const void *data, int64_t *order, int64_t *other, int64_t n)
{
    for (int64_t width = 1; width < n; width *= 2) {
        for (int64_t first = 0; first < n; first += 2 * width) {
            int64_t middle = first + width < n ? first + width : n;
            int64_t end = first + 2 * width < n ? first + 2 * width : n;
            int64_t a = first, b = middle;
            for (int64_t to = first; to < end; to++) {
                bool left =
                    b == end || (a < middle && compare_slices(u, data, order[a], order[b]) <= 0);
                other[to] = left ? order[a++] : order[b++];
            }
        }
        int64_t *swap = order;
        order = other;
        other = swap;
    }
    return order;
}

/* By appearance: ranks of the first places in their order, by marking them in `rank` first. */
static void number_by_place(const int64_t *first_of, int64_t *rank, int64_t n)
{
    int64_t next = 0;
    for (int64_t i = 0; i < n; i++) {
        if (first_of[i] == i) {
            rank[i] = next++;
        }
    }
}

static leat_status launch_index(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const unique *u = state;
    int64_t n = u->dim, groups = 0;
    int64_t *order = args->workspace, *room = order + n, *first_of = room + n;
    int64_t *first = args->outputs[0], *inverse = args->outputs[1], *counts = args->outputs[2];
    (void)err;
    for (int64_t i = 0; i < n; i++) {
        order[i] = i;
        counts[i] = 0;
        first[i] = 0;
    }
    order = sort(u, args->inputs[0], order, room, n);
    /* Equal ones lie together now, the first place in front. */
    for (int64_t i = 0; i < n; i++) {
        bool same = i > 0 && compare_slices(u, args->inputs[0], order[i - 1], order[i]) == 0;
        first_of[order[i]] = same ? first_of[order[i - 1]] : order[i];
        groups += !same;
        inverse[order[i]] = groups - 1;
    }
    if (!u->sorted) {
        int64_t *rank = order == args->workspace ? room : args->workspace;
        number_by_place(first_of, rank, n);
        for (int64_t i = 0; i < n; i++) {
            inverse[i] = rank[first_of[i]];
        }
    }
    for (int64_t i = 0; i < n; i++) {
        first[inverse[i]] = first_of[i];
        counts[inverse[i]]++;
    }
    *(int64_t *)args->outputs[3] = groups;
    return LEAT_OK;
}

static leat_status launch_take(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const unique *u = state;
    const int64_t *first = args->inputs[1];
    size_t run = lt_cpu_element_bytes(u->dtype) * (size_t)u->inner;
    uint8_t *out = args->outputs[0];
    for (int64_t o = 0; o < u->outer; o++) {
        for (int64_t i = 0; i < u->planned; i++) {
            if (first[i] < 0 || first[i] >= u->dim) {
                return lt_cpu_fail(err, LEAT_INVALID, "%s: place %lld of %lld", u->label.text,
                                   (long long)first[i], (long long)u->dim);
            }
            memcpy(out, (const uint8_t *)args->inputs[0] + (size_t)(o * u->dim + first[i]) * run,
                   run);
            out += run;
        }
    }
    return LEAT_OK;
}

static leat_status make_state(const leat_kernel_node *node, const leat_host *host, leat_plan *plan,
                              unique **out, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0);
    const leat_attr *attr = leat_node_attr(node->node, "axis");
    unique *u = host->plan_alloc(plan, sizeof(*u));
    *out = u;
    if (u == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    u->label = lt_move_name(node->node);
    u->dtype = x->dtype;
    u->sorted = leat_node_int(node->node, "sorted", 1) != 0;
    u->outer = u->inner = 1;
    u->dim = leat_value_count(x);
    if (attr != NULL && attr->type == LEAT_ATTR_INT) {
        int32_t axis = 0;
        leat_status status = lt_move_axis(node->node, attr->u.i, x->rank, &axis, err);
        if (status != LEAT_OK) {
            return status;
        }
        u->outer = lt_move_product(x->shape, 0, axis);
        u->dim = x->shape[axis];
        u->inner = lt_move_product(x->shape, axis + 1, x->rank);
    }
    return LEAT_OK;
}

leat_status lt_cpu_unique_index_prepare(const leat_kernel_node *node, void *device,
                                        const leat_host *host, leat_plan *plan,
                                        leat_kernel *out_kernel, leat_error *err)
{
    unique *u;
    (void)device;
    leat_status status = make_state(node, host, plan, &u, err);
    if (status != LEAT_OK) {
        return status;
    }
    for (uint32_t i = 0; i < 4; i++) {
        const leat_value *out = leat_kernel_output(node, i);
        if (out == NULL || leat_value_count(out) != (i < 3 ? u->dim : 1)) {
            return lt_cpu_fail(err, LEAT_INVALID, "%s: output %u does not fit", u->label.text, i);
        }
    }
    out_kernel->name = "unique";
    out_kernel->launch = launch_index;
    out_kernel->state = u;
    out_kernel->workspace_bytes = ((size_t)u->dim * 3 + 1) * sizeof(int64_t); /* never none */
    return LEAT_OK;
}

leat_status lt_cpu_unique_to_prepare(const leat_kernel_node *node, void *device,
                                     const leat_host *host, leat_plan *plan,
                                     leat_kernel *out_kernel, leat_error *err)
{
    unique *u;
    (void)device;
    leat_status status = make_state(node, host, plan, &u, err);
    if (status != LEAT_OK) {
        return status;
    }
    int64_t each = u->outer * u->inner, room = leat_value_count(leat_kernel_output(node, 0));
    u->planned = each != 0 ? room / each : 0;
    if (u->planned > leat_value_count(leat_kernel_input(node, 1))) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: its output does not fit", u->label.text);
    }
    out_kernel->name = "unique_take";
    out_kernel->launch = launch_take;
    out_kernel->state = u;
    out_kernel->unread_mask = 4;
    return LEAT_OK;
}

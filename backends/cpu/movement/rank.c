/* SPDX-License-Identifier: Apache-2.0 */
/* TopK: a heap of the k best positions per line, kept in the output of indices, then sorted; equal
 * elements keep their order. NaN counts as the largest number. OneHot. */
#include "movement/movement.h"

#include <math.h>

typedef struct rank_state {
    lt_move_label label;
    leat_dtype dtype, index_dtype;
    int64_t outer, dim, inner, k;
    bool largest;
    bool check; /* k was not known to prepare */
    leat_dtype k_dtype;
} rank_state;

/* ---- TopK ----------------------------------------------------------------------------------- */

/* -1, 0, 1 for a < b, a == b, a > b. */
#define COMPARE(type)                                                                              \
    do {                                                                                           \
        type x = ((const type *)data)[a], y = ((const type *)data)[b];                             \
        return (x > y) - (x < y);                                                                  \
    } while (0)

static int compare_reals(double x, double y)
{
    if (isnan(x) || isnan(y)) {
        return (isnan(x) != 0) - (isnan(y) != 0);
    }
    return (x > y) - (x < y);
}

static int compare(leat_dtype dtype, const void *data, int64_t a, int64_t b)
{
    switch (dtype) {
    case LEAT_DTYPE_F64:
        return compare_reals(((const double *)data)[a], ((const double *)data)[b]);
    case LEAT_DTYPE_F16:
        return compare_reals((double)lt_f16_to_f32(((const uint16_t *)data)[a]),
                             (double)lt_f16_to_f32(((const uint16_t *)data)[b]));
    case LEAT_DTYPE_BF16:
        return compare_reals((double)lt_bf16_to_f32(((const uint16_t *)data)[a]),
                             (double)lt_bf16_to_f32(((const uint16_t *)data)[b]));
    case LEAT_DTYPE_I8:
        COMPARE(int8_t);
    case LEAT_DTYPE_I16:
        COMPARE(int16_t);
    case LEAT_DTYPE_I32:
        COMPARE(int32_t);
    case LEAT_DTYPE_I64:
        COMPARE(int64_t);
    case LEAT_DTYPE_U8:
        COMPARE(uint8_t);
    case LEAT_DTYPE_U16:
        COMPARE(uint16_t);
    case LEAT_DTYPE_U32:
        COMPARE(uint32_t);
    case LEAT_DTYPE_U64:
        COMPARE(uint64_t);
    default:
        return compare_reals((double)((const float *)data)[a], (double)((const float *)data)[b]);
    }
}

/* One line: element i is data[first + i * step]; its heap is heap[i * step], the worst on top. */
typedef struct line {
    const rank_state *state;
    const void *data;
    int64_t first, step;
    int64_t *heap;
} line;

/* Whether element i comes before element j in the result. */
static bool before(const line *l, int64_t i, int64_t j)
{
    int order = compare(l->state->dtype, l->data, l->first + i * l->step, l->first + j * l->step);
    if (order == 0) {
        return i < j;
    }
    return (order > 0) == l->state->largest;
}

/* Moves the element at `at` of a heap of n down until neither child comes later. */
static void sift(const line *l, int64_t at, int64_t n)
{
    for (;;) {
        int64_t worst = at, left = 2 * at + 1, right = left + 1, s = l->step;
        if (left < n && before(l, l->heap[worst * s], l->heap[left * s])) {
            worst = left;
        }
        if (right < n && before(l, l->heap[worst * s], l->heap[right * s])) {
            worst = right;
        }
        if (worst == at) {
            return;
        }
        int64_t other = l->heap[at * s];
        l->heap[at * s] = l->heap[worst * s];
        l->heap[worst * s] = other;
        at = worst;
    }
}

static void find_best(const line *l)
{
    int64_t k = l->state->k, s = l->step;
    for (int64_t i = 0; i < k; i++) {
        l->heap[i * s] = i;
    }
    for (int64_t i = k / 2; i-- > 0;) {
        sift(l, i, k);
    }
    for (int64_t i = k; k > 0 && i < l->state->dim; i++) {
        if (before(l, i, l->heap[0])) {
            l->heap[0] = i;
            sift(l, 0, k);
        }
    }
    for (int64_t n = k - 1; n > 0; n--) {
        int64_t worst = l->heap[0];
        l->heap[0] = l->heap[n * s];
        l->heap[n * s] = worst;
        sift(l, 0, n);
    }
}

typedef struct rank_job {
    const rank_state *state;
    const uint8_t *in;
    uint8_t *values;
    int64_t *indices;
} rank_job;

static void run_top_k(void *argument, int64_t begin, int64_t end)
{
    const rank_job *job = argument;
    const rank_state *s = job->state;
    size_t bytes = lt_cpu_element_bytes(s->dtype);
    for (int64_t item = begin; item < end; item++) {
        int64_t outer = item / s->inner, inner = item % s->inner;
        int64_t to = outer * s->k * s->inner + inner;
        line l = {s, job->in, outer * s->dim * s->inner + inner, s->inner, job->indices + to};
        find_best(&l);
        for (int64_t i = 0; i < s->k; i++) {
            int64_t from = l.first + l.heap[i * s->inner] * s->inner;
            memcpy(job->values + (size_t)(to + i * s->inner) * bytes,
                   job->in + (size_t)from * bytes, bytes);
        }
    }
}

static leat_status launch_top_k(const void *opaque, const leat_kernel_args *args, leat_error *err)
{
    const rank_state *s = opaque;
    rank_job job = {s, args->inputs[0], args->outputs[0], args->outputs[1]};
    if (s->check) {
        int64_t k = 0;
        leat_status status =
            lt_move_ints(s->label.text, "k", s->k_dtype, args->inputs[1], 1, &k, err);
        if (status == LEAT_OK && k != s->k) {
            status = lt_cpu_fail(err, LEAT_INVALID, "%s: k is %lld, planned %lld", s->label.text,
                                 (long long)k, (long long)s->k);
        }
        if (status != LEAT_OK) {
            return status;
        }
    }
    lt_cpu_parallel_range(args, s->outer * s->inner, 1, 32.0 * (double)s->dim, run_top_k, &job);
    return LEAT_OK;
}

leat_status lt_cpu_top_k_supports(const leat_kernel_node *node, leat_error *err)
{
    if (leat_kernel_input(node, 0) == NULL || leat_kernel_output(node, 0) == NULL ||
        leat_kernel_output(node, 1) == NULL ||
        (node->node->opset >= 10 && leat_kernel_input(node, 1) == NULL)) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: values and indices are both needed",
                           lt_move_name(node->node).text);
    }
    return LEAT_OK;
}

leat_status lt_cpu_top_k_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                 leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    (void)device;
    const leat_value *in = leat_kernel_input(node, 0);
    const leat_value *list = node->node->opset >= 10 ? leat_kernel_input(node, 1) : NULL;
    const leat_value *values = leat_kernel_output(node, 0), *indices = leat_kernel_output(node, 1);
    rank_state *s = host->plan_alloc(plan, sizeof(*s));
    int32_t axis;
    if (s == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    s->label = lt_move_name(node->node);
    leat_status status =
        lt_move_axis(node->node, leat_node_int(node->node, "axis", -1), in->rank, &axis, err);
    if (status != LEAT_OK) {
        return status;
    }
    s->dtype = in->dtype;
    s->largest = leat_node_int(node->node, "largest", 1) != 0;
    s->outer = lt_move_product(in->shape, 0, axis);
    s->dim = in->shape[axis];
    s->inner = lt_move_product(in->shape, axis + 1, in->rank);
    s->k = values->rank == in->rank ? values->shape[axis] : -1;
    int64_t given = list ? s->k : leat_node_int(node->node, "k", -1);
    s->check = list != NULL && list->data == NULL;
    if (list != NULL && leat_value_count(list) != 1) {
        given = -1;
    } else if (list != NULL) {
        s->k_dtype = list->dtype;
        status = list->data
                     ? lt_move_ints(s->label.text, "k", list->dtype, list->data, 1, &given, err)
                     : LEAT_OK;
    }
    if (status == LEAT_OK &&
        (given != s->k || s->k < 0 || s->k > s->dim || indices->dtype != LEAT_DTYPE_I64 ||
         leat_value_count(values) != s->outer * s->k * s->inner ||
         leat_value_count(indices) != leat_value_count(values))) {
        status = lt_cpu_fail(err, LEAT_INVALID, "%s: k of %lld does not fit an axis of %lld",
                             s->label.text, (long long)given, (long long)s->dim);
    }
    out_kernel->name = "top_k";
    out_kernel->launch = launch_top_k;
    out_kernel->state = s;
    out_kernel->unread_mask = s->check ? 0 : 2;
    return status;
}

/* ---- OneHot --------------------------------------------------------------------------------- */

static double real_at(leat_dtype dtype, const void *data, int64_t i)
{
    switch (dtype) {
    case LEAT_DTYPE_F32:
        return (double)((const float *)data)[i];
    case LEAT_DTYPE_F64:
        return ((const double *)data)[i];
    case LEAT_DTYPE_F16:
        return (double)lt_f16_to_f32(((const uint16_t *)data)[i]);
    case LEAT_DTYPE_BF16:
        return (double)lt_bf16_to_f32(((const uint16_t *)data)[i]);
    case LEAT_DTYPE_I8:
        return ((const int8_t *)data)[i];
    case LEAT_DTYPE_U8:
        return ((const uint8_t *)data)[i];
    case LEAT_DTYPE_I16:
        return ((const int16_t *)data)[i];
    case LEAT_DTYPE_U16:
        return ((const uint16_t *)data)[i];
    case LEAT_DTYPE_I32:
        return ((const int32_t *)data)[i];
    case LEAT_DTYPE_U32:
        return ((const uint32_t *)data)[i];
    case LEAT_DTYPE_I64:
        return (double)((const int64_t *)data)[i];
    default:
        return (double)((const uint64_t *)data)[i];
    }
}

/* s->dim is the depth; outer and inner are the indices before and behind the new axis. */
static leat_status launch_one_hot(const void *opaque, const leat_kernel_args *args, leat_error *err)
{
    const rank_state *s = opaque;
    size_t bytes = lt_cpu_element_bytes(s->dtype);
    const uint8_t *off = args->inputs[2];
    uint8_t *out = args->outputs[0];
    double depth = real_at(s->k_dtype, args->inputs[1], 0);
    if (depth != (double)s->dim) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: depth is %g, planned %lld", s->label.text, depth,
                           (long long)s->dim);
    }
    lt_move_fill(out, off, bytes, s->outer * s->dim * s->inner);
    for (int64_t i = 0; i < s->outer * s->inner; i++) {
        double index = trunc(real_at(s->index_dtype, args->inputs[0], i));
        index += index < 0.0 ? depth : 0.0;
        if (index >= 0.0 && index < depth) {
            int64_t at = (i / s->inner * s->dim + (int64_t)index) * s->inner + i % s->inner;
            memcpy(out + (size_t)at * bytes, off + bytes, bytes);
        }
    }
    return LEAT_OK;
}

leat_status lt_cpu_one_hot_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *depth = leat_kernel_input(node, 1), *values = leat_kernel_input(node, 2);
    if (leat_kernel_input(node, 0) == NULL || depth == NULL || values == NULL ||
        !(CPU_NUMBERS >> depth->dtype & 1) || !((CPU_WHOLE | CPU_T(STRING)) >> values->dtype & 1)) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: depth or values of a type not served",
                           lt_move_name(node->node).text);
    }
    return LEAT_OK;
}

leat_status lt_cpu_one_hot_prepare(const leat_kernel_node *node, void *device,
                                   const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                   leat_error *err)
{
    (void)device;
    const leat_value *in = leat_kernel_input(node, 0), *depth = leat_kernel_input(node, 1);
    const leat_value *values = leat_kernel_input(node, 2), *out = leat_kernel_output(node, 0);
    rank_state *s = host->plan_alloc(plan, sizeof(*s));
    int32_t axis;
    if (s == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    s->label = lt_move_name(node->node);
    leat_status status =
        lt_move_axis(node->node, leat_node_int(node->node, "axis", -1), in->rank + 1, &axis, err);
    if (status != LEAT_OK) {
        return status;
    }
    s->dtype = out->dtype;
    s->index_dtype = in->dtype;
    s->k_dtype = depth->dtype;
    s->outer = lt_move_product(in->shape, 0, axis);
    s->inner = lt_move_product(in->shape, axis, in->rank);
    s->dim = out->rank == in->rank + 1 ? out->shape[axis] : -1;
    if (s->dim < 0 || leat_value_count(depth) != 1 || leat_value_count(values) != 2 ||
        values->dtype != out->dtype || leat_value_count(out) != s->outer * s->dim * s->inner) {
        return lt_cpu_fail(err, LEAT_INVALID,
                           "%s: depth must be one number, values two of the output's type",
                           s->label.text);
    }
    out_kernel->name = "one_hot";
    out_kernel->launch = launch_one_hot;
    out_kernel->state = s;
    return LEAT_OK;
}

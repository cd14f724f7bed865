/* SPDX-License-Identifier: Apache-2.0 */
/* Reductions over any axes.
 *
 * The shape is first brought to kept and reduced dimensions, neighbours of one kind merged. Two
 * walks serve the rest: where the last merged dimension is reduced, each output takes its stretches
 * one after the other; where it is kept, lines of outputs are reduced together, LINE at a time.
 *
 *     kept   reduced          reduced  kept
 *     [ 0 ]  x x x x x        [  ]     x x x x x
 *     [ 1 ]  x x x x x        [  ]     x x x x x   a line
 *
 * Floats: stretches as in rows_kernel.h, lines and f64 in double; f16 and bf16 are widened block by
 * block. Products of floats go through double. Integers accumulate in 64 bits (wrapping). Max and
 * min pass NaN on. Bound by memory. */
#include "elementwise/element.h"
#include "elementwise/half.h"
#include "reduce/rows_kernel.h"

#include <math.h>

#define LINE 256

typedef enum reduce_op {
    REDUCE_SUM,
    REDUCE_MEAN,
    REDUCE_MAX,
    REDUCE_MIN,
    REDUCE_PROD,
    REDUCE_L1,
    REDUCE_L2,
    REDUCE_SUM_SQUARE,
    REDUCE_LOG_SUM,
    REDUCE_LOG_SUM_EXP
} reduce_op;

/* Merged dimensions of one kind. */
typedef struct loop {
    int32_t rank;
    int64_t dims[LEAT_MAX_RANK];
    int64_t strides[LEAT_MAX_RANK];
    int64_t count; /* product of dims */
} loop;

typedef struct reduce {
    reduce_op op;
    leat_dtype dtype;
    bool whole; /* integers or bool: accumulate in int64 */
    bool lines; /* the last dimension is kept */
    bool rows;  /* of f32: one reduced run of a few elements for each output, in order */
    loop kept, reduced;
    int64_t outputs;
    const lt_row_kernels *kernels;
    const lt_half_kernels *half;
} reduce;

typedef struct reduce_launch {
    const reduce *r;
    const void *x;
    void *y;
} reduce_launch;

/* Offset of element `i` of a loop nest. */
static int64_t offset_of(const loop *l, int64_t i)
{
    int64_t offset = 0;
    for (int32_t d = l->rank - 1; d >= 0; d--) {
        offset += i % l->dims[d] * l->strides[d];
        i /= l->dims[d];
    }
    return offset;
}

static double start_float(reduce_op op)
{
    switch (op) {
    case REDUCE_MAX:
    case REDUCE_LOG_SUM_EXP: /* its first pass finds the maximum */
        return -INFINITY;
    case REDUCE_MIN:
        return INFINITY;
    case REDUCE_PROD:
        return 1;
    default:
        return 0;
    }
}

static inline double step_float(reduce_op op, double sum, double v)
{
    switch (op) {
    case REDUCE_MAX:
    case REDUCE_LOG_SUM_EXP:
        return v > sum || v != v ? v : sum;
    case REDUCE_MIN:
        return v < sum || v != v ? v : sum;
    case REDUCE_PROD:
        return sum * v;
    case REDUCE_L1:
        return sum + fabs(v);
    case REDUCE_L2:
    case REDUCE_SUM_SQUARE:
        return sum + v * v;
    default:
        return sum + v;
    }
}

static double finish_float(const reduce *r, double sum)
{
    switch (r->op) {
    case REDUCE_MEAN:
        return sum / (double)r->reduced.count;
    case REDUCE_L2:
        return sqrt(sum);
    case REDUCE_LOG_SUM:
        return log(sum);
    default:
        return sum;
    }
}

/* The vector kernels' operation; false when there is none. */
static bool row_op(reduce_op op, lt_row_op *out)
{
    switch (op) {
    case REDUCE_SUM:
    case REDUCE_MEAN:
    case REDUCE_LOG_SUM:
        *out = LT_ROW_SUM;
        return true;
    case REDUCE_L1:
        *out = LT_ROW_L1;
        return true;
    case REDUCE_L2:
    case REDUCE_SUM_SQUARE:
        *out = LT_ROW_SQUARE;
        return true;
    case REDUCE_MAX:
    case REDUCE_LOG_SUM_EXP:
        *out = LT_ROW_MAX;
        return true;
    case REDUCE_MIN:
        *out = LT_ROW_MIN;
        return true;
    default:
        return false;
    }
}

/* A stretch of n elements, joined to `sum`. */
static double stretch_float(const reduce_launch *l, double sum, int64_t at, int64_t n)
{
    const reduce *r = l->r;
    float block[LT_HALF_BLOCK];
    lt_row_op op = LT_ROW_SUM;
    if (r->dtype == LEAT_DTYPE_F64 || !row_op(r->op, &op)) {
        for (int64_t i = 0; i < n; i++) {
            sum = step_float(r->op, sum, lt_element_get(r->dtype, l->x, at + i));
        }
        return sum;
    }
    for (int64_t i = 0, part; i < n; i += part) {
        part = r->dtype == LEAT_DTYPE_F32 || n - i < LT_HALF_BLOCK ? n - i : LT_HALF_BLOCK;
        const float *x = lt_half_view(r->half, r->dtype, l->x, at + i, part, block);
        double more = r->kernels->reduce(op, x, part);
        sum = op == LT_ROW_MAX || op == LT_ROW_MIN ? step_float(r->op, sum, more) : sum + more;
    }
    return sum;
}

/* Sum of exp(x - top) over a stretch. */
static double stretch_exp(const reduce_launch *l, double top, int64_t at, int64_t n)
{
    const reduce *r = l->r;
    float block[LT_HALF_BLOCK];
    double sum = 0;
    for (int64_t i = 0, part; i < n; i += part) {
        part = n - i < LT_HALF_BLOCK ? n - i : LT_HALF_BLOCK;
        if (r->dtype == LEAT_DTYPE_F64) {
            for (int64_t j = 0; j < part; j++) {
                sum += exp(((const double *)l->x)[at + i + j] - top);
            }
        } else {
            const float *x = lt_half_view(r->half, r->dtype, l->x, at + i, part, block);
            sum += r->kernels->exp_sum(x, part, (float)top);
        }
    }
    return sum;
}

/* One output of a float type. Stretches have one element where the last dimension is kept. */
static double one_float(const reduce_launch *l, int64_t base)
{
    const reduce *r = l->r;
    const loop *red = &r->reduced;
    int32_t last = red->rank - 1;
    int64_t n = last >= 0 && red->strides[last] == 1 ? red->dims[last] : 1;
    double sum = start_float(r->op), total = 0;
    for (int64_t i = 0; n != 0 && i < red->count; i += n) {
        sum = stretch_float(l, sum, base + offset_of(red, i), n);
    }
    if (r->op != REDUCE_LOG_SUM_EXP || !isfinite(sum)) {
        return finish_float(r, sum);
    }
    for (int64_t i = 0; i < red->count; i += n) {
        total += stretch_exp(l, sum, base + offset_of(red, i), n);
    }
    return sum + log(total);
}

/* Outputs [first, first + n) of a float type; their last dimension is the kept, contiguous one. */
static void line_float(const reduce_launch *l, int64_t first, int64_t n)
{
    const reduce *r = l->r;
    double sum[LINE];
    float block[LT_HALF_BLOCK];
    lt_row_op op = LT_ROW_SUM;
    bool rows = row_op(r->op, &op) && r->dtype != LEAT_DTYPE_F64;
    int64_t base = offset_of(&r->kept, first);
    for (int64_t i = 0; i < n; i++) {
        sum[i] = start_float(r->op);
    }
    for (int64_t k = 0; k < r->reduced.count; k++) {
        int64_t at = base + offset_of(&r->reduced, k);
        if (rows) {
            r->kernels->fold(op, sum, lt_half_view(r->half, r->dtype, l->x, at, n, block), n);
            continue;
        }
        for (int64_t i = 0; i < n; i++) {
            sum[i] = step_float(r->op, sum[i], lt_element_get(r->dtype, l->x, at + i));
        }
    }
    for (int64_t i = 0; i < n; i++) {
        lt_element_set(r->dtype, l->y, first + i, finish_float(r, sum[i]));
    }
}

/* Outputs [begin, end) where each has a short run. */
static void rows_float(const reduce_launch *l, int64_t begin, int64_t end)
{
    const reduce *r = l->r;
    const int64_t n = r->reduced.count;
    float *y = (float *)l->y + begin;
    lt_row_op op = LT_ROW_SUM;
    row_op(r->op, &op);
    r->kernels->short_rows(op, (const float *)l->x + begin * n, n, y, end - begin);
    if (r->op == REDUCE_MEAN || r->op == REDUCE_L2 || r->op == REDUCE_LOG_SUM) {
        for (int64_t i = 0; i < end - begin; i++) {
            y[i] = (float)finish_float(r, (double)y[i]);
        }
    }
}

static inline uint64_t step_whole(reduce_op op, bool is_unsigned, uint64_t sum, uint64_t u)
{
    bool more = is_unsigned ? u > sum : (int64_t)u > (int64_t)sum;
    switch (op) {
    case REDUCE_MAX:
        return more ? u : sum;
    case REDUCE_MIN:
        return more ? sum : u;
    case REDUCE_PROD:
        return sum * u;
    case REDUCE_L1:
        return sum + ((int64_t)u < 0 && !is_unsigned ? 0 - u : u);
    case REDUCE_L2:
    case REDUCE_SUM_SQUARE:
        return sum + u * u;
    default:
        return sum + u;
    }
}

/* The integer that a logarithm or root truncates to. */
static int64_t finish_whole(const reduce *r, uint64_t sum)
{
    bool is_unsigned = r->dtype == LEAT_DTYPE_U64;
    double v = is_unsigned ? (double)sum : (double)(int64_t)sum;
    switch (r->op) {
    case REDUCE_MEAN:
        if (r->reduced.count == 0) {
            return 0;
        }
        return is_unsigned ? (int64_t)(sum / (uint64_t)r->reduced.count)
                           : (int64_t)sum / r->reduced.count;
    case REDUCE_L2:
        return lt_saturate_i64(sqrt(v));
    case REDUCE_LOG_SUM:
        return lt_saturate_i64(log(v));
    default:
        return (int64_t)sum;
    }
}

static int64_t one_whole(const reduce_launch *l, int64_t base)
{
    const reduce *r = l->r;
    const loop *red = &r->reduced;
    bool is_unsigned = r->dtype == LEAT_DTYPE_U64;
    int32_t last = red->rank - 1;
    int64_t n = last >= 0 ? red->dims[last] : 1, stride = last >= 0 ? red->strides[last] : 0;
    uint64_t sum = r->op == REDUCE_PROD;
    double exponentials = 0;
    if (r->op == REDUCE_MAX || r->op == REDUCE_MIN) {
        sum = (uint64_t)lt_element_int(r->dtype, l->x, base);
    }
    for (int64_t i = 0; n != 0 && i < red->count; i += n) {
        int64_t at = base + offset_of(red, i);
        for (int64_t j = 0; j < n; j++) {
            uint64_t u = (uint64_t)lt_element_int(r->dtype, l->x, at + j * stride);
            sum = step_whole(r->op, is_unsigned, sum, u);
            if (r->op == REDUCE_LOG_SUM_EXP) {
                exponentials += exp(is_unsigned ? (double)u : (double)(int64_t)u);
            }
        }
    }
    return r->op == REDUCE_LOG_SUM_EXP ? lt_saturate_i64(log(exponentials)) : finish_whole(r, sum);
}

/* The value of max and min over nothing: the type's lowest or highest. */
static int64_t empty_whole(const reduce *r)
{
    bool is_signed = r->dtype == LEAT_DTYPE_I8 || r->dtype == LEAT_DTYPE_I16 ||
                     r->dtype == LEAT_DTYPE_I32 || r->dtype == LEAT_DTYPE_I64;
    unsigned bits = 8 * (unsigned)lt_cpu_element_bytes(r->dtype);
    uint64_t ones = r->dtype == LEAT_DTYPE_BOOL ? 1 : bits == 64 ? UINT64_MAX : (1ull << bits) - 1;
    if (r->op == REDUCE_MAX) {
        return is_signed ? (int64_t)(1ull << (bits - 1)) : 0;
    }
    return (int64_t)(is_signed ? ones >> 1 : ones);
}

static void reduce_range(void *argument, int64_t begin, int64_t end)
{
    const reduce_launch *l = argument;
    const reduce *r = l->r;
    if (r->whole) {
        bool empty = r->reduced.count == 0 && (r->op == REDUCE_MAX || r->op == REDUCE_MIN);
        for (int64_t i = begin; i < end; i++) {
            int64_t v = empty ? empty_whole(r) : one_whole(l, offset_of(&r->kept, i));
            lt_element_set_int(r->dtype, l->y, i, v);
        }
        return;
    }
    if (r->rows) {
        rows_float(l, begin, end);
        return;
    }
    if (!r->lines) {
        for (int64_t i = begin; i < end; i++) {
            lt_element_set(r->dtype, l->y, i, one_float(l, offset_of(&r->kept, i)));
        }
        return;
    }
    int64_t line = r->kept.dims[r->kept.rank - 1];
    for (int64_t i = begin; i < end;) {
        int64_t n = line - i % line;
        n = n < LINE ? n : LINE;
        n = n < end - i ? n : end - i;
        line_float(l, i, n);
        i += n;
    }
}

static leat_status reduce_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const reduce *r = state;
    reduce_launch l = {r, args->inputs[0], args->outputs[0]};
    (void)err;
    double bytes = (double)r->reduced.count * (double)lt_cpu_element_bytes(r->dtype);
    lt_cpu_parallel_range(args, r->outputs, r->lines && !r->whole ? 16 : 1, bytes, reduce_range,
                          &l);
    return LEAT_OK;
}

/* --- prepare ------------------------------------------------------------------------------------
 */

/* Which axes are reduced: from input 1 or the attribute; none given means all. */
static leat_status read_axes(const leat_kernel_node *node, bool reduced[LEAT_MAX_RANK],
                             leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *axes = leat_kernel_input(node, 1);
    size_t count = 0;
    const int64_t *list = leat_node_ints(node->node, "axes", &count);
    if (axes != NULL) {
        if (axes->dtype != LEAT_DTYPE_I64 || (axes->data == NULL && leat_value_count(axes) != 0)) {
            return lt_cpu_fail(err, LEAT_UNSUPPORTED,
                               "%s node '%s': its axes must be i64 and known when it is prepared",
                               node->node->op, node->node->name);
        }
        count = (size_t)leat_value_count(axes);
    }
    bool all = count == 0 && leat_node_int(node->node, "noop_with_empty_axes", 0) == 0;
    for (int32_t i = 0; i < x->rank; i++) {
        reduced[i] = all;
    }
    for (size_t i = 0; i < count; i++) {
        int64_t axis;
        if (axes != NULL) {
            memcpy(&axis, (const char *)axes->data + 8 * i, 8);
        } else {
            axis = list[i];
        }
        axis += axis < 0 ? x->rank : 0;
        if (axis < 0 || axis >= x->rank) {
            return lt_cpu_fail(err, LEAT_INVALID, "%s node '%s': axis %lld is outside rank %d",
                               node->node->op, node->node->name, (long long)axis, x->rank);
        }
        reduced[axis] = true;
    }
    return LEAT_OK;
}

static void add_dim(loop *l, int64_t dim, int64_t stride, bool merge)
{
    if (merge) {
        l->dims[l->rank - 1] *= dim;
        l->strides[l->rank - 1] = stride;
    } else {
        l->dims[l->rank] = dim;
        l->strides[l->rank++] = stride;
    }
    l->count *= dim;
}

static void plan_loops(reduce *r, const leat_value *x, const bool reduced[LEAT_MAX_RANK])
{
    int64_t stride[LEAT_MAX_RANK], all = 1;
    int previous = -1;
    r->kept.count = r->reduced.count = 1;
    for (int32_t i = x->rank - 1; i >= 0; i--) {
        stride[i] = all;
        all *= x->shape[i];
    }
    for (int32_t i = 0; i < x->rank; i++) {
        if (x->shape[i] == 1) {
            continue;
        }
        add_dim(reduced[i] ? &r->reduced : &r->kept, x->shape[i], stride[i],
                previous == reduced[i]);
        previous = reduced[i];
    }
    r->lines = previous == 0 && r->op != REDUCE_LOG_SUM_EXP;
    r->outputs = r->kept.count;
    lt_row_op op;
    r->rows = r->dtype == LEAT_DTYPE_F32 && row_op(r->op, &op) && r->op != REDUCE_LOG_SUM_EXP &&
              previous == 1 && r->kept.rank == 1 && r->reduced.rank == 1 && r->reduced.count >= 1 &&
              r->reduced.count <= LT_ROW_SHORT;
}

static bool find_reduce(const char *op, reduce_op *out)
{
    static const struct {
        const char *name;
        reduce_op op;
    } ops[] = {{"ReduceSum", REDUCE_SUM},        {"ReduceMean", REDUCE_MEAN},
               {"ReduceMax", REDUCE_MAX},        {"ReduceMin", REDUCE_MIN},
               {"ReduceProd", REDUCE_PROD},      {"ReduceL1", REDUCE_L1},
               {"ReduceL2", REDUCE_L2},          {"ReduceSumSquare", REDUCE_SUM_SQUARE},
               {"ReduceLogSum", REDUCE_LOG_SUM}, {"ReduceLogSumExp", REDUCE_LOG_SUM_EXP}};
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        if (strcmp(ops[i].name, op) == 0) {
            *out = ops[i].op;
            return true;
        }
    }
    return false;
}

leat_status lt_cpu_reduce_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                  leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    reduce *r = host->plan_alloc(plan, sizeof(*r));
    bool reduced[LEAT_MAX_RANK];
    if (r == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for the plan", node->node->op);
    }
    leat_status status = read_axes(node, reduced, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (!find_reduce(node->node->op, &r->op)) {
        return lt_cpu_fail(err, LEAT_INTERNAL, "%s is not a reduction", node->node->op);
    }
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    r->dtype = x->dtype;
    r->whole = !(CPU_FLOATS >> x->dtype & 1);
    plan_loops(r, x, reduced);
    if (y->dtype != x->dtype || leat_value_count(y) != r->outputs) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s node '%s': the output has another type or shape",
                           node->node->op, node->node->name);
    }
    r->kernels = lt_row_kernels_for(device);
    r->half = lt_half_for(device);
    out_kernel->name = "reduce";
    out_kernel->launch = reduce_run;
    out_kernel->state = r;
    return LEAT_OK;
}

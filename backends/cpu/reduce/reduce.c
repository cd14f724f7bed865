/* SPDX-License-Identifier: Apache-2.0 */
/* Reductions over any axes, ArgMax and ArgMin.
 *
 * The shape is first brought to kept and reduced dimensions, neighbours of one kind merged. Two
 * walks serve the rest: where the last merged dimension is reduced, each output sums its stretches;
 * where it is kept, lines of outputs are summed together, LINE at a time. Floats accumulate in
 * double, integers in 64 bits (wrapping); max and min pass NaN on. */
#include "elementwise/element.h"

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
    loop kept, reduced;
    int64_t outputs;
} reduce;

typedef struct reduce_launch {
    const reduce *r;
    const void *x;
    void *y;
} reduce_launch;

static int64_t get_whole(leat_dtype dtype, const void *x, int64_t i)
{
    switch (dtype) {
    case LEAT_DTYPE_I64:
    case LEAT_DTYPE_U64:
        return ((const int64_t *)x)[i];
    case LEAT_DTYPE_I32:
        return ((const int32_t *)x)[i];
    case LEAT_DTYPE_U32:
        return ((const uint32_t *)x)[i];
    default:
        return (int64_t)lt_element_get(dtype, x, i);
    }
}

static void put_whole(leat_dtype dtype, void *y, int64_t i, int64_t v)
{
    memcpy((char *)y + (size_t)i * lt_cpu_element_bytes(dtype), &v, lt_cpu_element_bytes(dtype));
}

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

/* Sum of a contiguous stretch of f32: eight partial sums, so that additions overlap. */
static double sum_f32(const float *x, int64_t n)
{
    double part[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (int j = 0; j < 8; j++) {
            part[j] += (double)x[i + j];
        }
    }
    for (; i < n; i++) {
        part[0] += (double)x[i];
    }
    return ((part[0] + part[4]) + (part[1] + part[5])) +
           ((part[2] + part[6]) + (part[3] + part[7]));
}

/* One output of a float type whose last dimension is reduced. */
static double one_float(const reduce_launch *l, int64_t base)
{
    const reduce *r = l->r;
    const loop *red = &r->reduced;
    int32_t last = red->rank - 1;
    int64_t n = last >= 0 ? red->dims[last] : 1, stride = last >= 0 ? red->strides[last] : 0;
    double sum = start_float(r->op);
    bool plain = r->dtype == LEAT_DTYPE_F32 && stride == 1 &&
                 (r->op == REDUCE_SUM || r->op == REDUCE_MEAN || r->op == REDUCE_LOG_SUM);
    for (int64_t i = 0; n != 0 && i < red->count; i += n) {
        int64_t at = base + offset_of(red, i);
        if (plain) {
            sum += sum_f32((const float *)l->x + at, n);
            continue;
        }
        for (int64_t j = 0; j < n; j++) {
            sum = step_float(r->op, sum, lt_element_get(r->dtype, l->x, at + j * stride));
        }
    }
    if (r->op != REDUCE_LOG_SUM_EXP || !isfinite(sum)) {
        return finish_float(r, sum);
    }
    double total = 0;
    for (int64_t i = 0; i < red->count; i++) {
        total += exp(lt_element_get(r->dtype, l->x, base + offset_of(red, i)) - sum);
    }
    return sum + log(total);
}

/* Outputs [first, first + n) of a float type; their last dimension is the kept, contiguous one. */
static void line_float(const reduce_launch *l, int64_t first, int64_t n)
{
    const reduce *r = l->r;
    double sum[LINE];
    int64_t base = offset_of(&r->kept, first);
    for (int64_t i = 0; i < n; i++) {
        sum[i] = start_float(r->op);
    }
    for (int64_t k = 0; k < r->reduced.count; k++) {
        int64_t at = base + offset_of(&r->reduced, k);
        if (r->dtype == LEAT_DTYPE_F32 && (r->op == REDUCE_SUM || r->op == REDUCE_MEAN)) {
            const float *x = (const float *)l->x + at;
            for (int64_t i = 0; i < n; i++) {
                sum[i] += (double)x[i];
            }
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

static int64_t one_whole(const reduce_launch *l, int64_t base)
{
    const reduce *r = l->r;
    bool is_unsigned = r->dtype == LEAT_DTYPE_U64;
    uint64_t sum = r->op == REDUCE_PROD;
    bool first = true;
    for (int64_t i = 0; i < r->reduced.count; i++) {
        int64_t v = get_whole(r->dtype, l->x, base + offset_of(&r->reduced, i));
        uint64_t u = (uint64_t)v;
        bool more = is_unsigned ? u > sum : v > (int64_t)sum;
        switch (r->op) {
        case REDUCE_MAX:
            sum = first || more ? u : sum;
            break;
        case REDUCE_MIN:
            sum = first || !more ? u : sum;
            break;
        case REDUCE_PROD:
            sum *= u;
            break;
        case REDUCE_L1:
            sum += v < 0 && !is_unsigned ? 0 - u : u;
            break;
        case REDUCE_L2:
        case REDUCE_SUM_SQUARE:
            sum += u * u;
            break;
        default:
            sum += u;
            break;
        }
        first = false;
    }
    if (r->op == REDUCE_MEAN && r->reduced.count != 0) {
        return (int64_t)sum / r->reduced.count;
    }
    if (r->op == REDUCE_L2) {
        return (int64_t)sqrt((double)sum);
    }
    if (r->op == REDUCE_LOG_SUM) {
        return (int64_t)log((double)(int64_t)sum);
    }
    return (int64_t)sum;
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
            put_whole(r->dtype, l->y, i, v);
        }
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
    lt_cpu_parallel_range(args, r->outputs, 16, 8 * (double)r->reduced.count, reduce_range, &l);
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
        if (axes->data == NULL) {
            return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: axes that change", node->node->op);
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
            return lt_cpu_fail(err, LEAT_INVALID, "%s: an axis is not within rank %d",
                               node->node->op, x->rank);
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
    (void)device;
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
    const leat_value *x = leat_kernel_input(node, 0);
    r->dtype = x->dtype;
    r->whole = !(CPU_FLOATS >> x->dtype & 1);
    plan_loops(r, x, reduced);
    out_kernel->name = "reduce";
    out_kernel->launch = reduce_run;
    out_kernel->state = r;
    return LEAT_OK;
}

/* --- ArgMax, ArgMin -----------------------------------------------------------------------------
 */

typedef struct arg {
    leat_dtype dtype;
    bool largest, last;
    int64_t outer, extent, inner;
} arg;

typedef struct arg_launch {
    const arg *a;
    const void *x;
    int64_t *y;
} arg_launch;

static void arg_range(void *argument, int64_t begin, int64_t end)
{
    const arg_launch *l = argument;
    const arg *a = l->a;
    bool wide = a->dtype == LEAT_DTYPE_I64 || a->dtype == LEAT_DTYPE_U64;
    for (int64_t i = begin; i < end; i++) {
        int64_t base = i / a->inner * a->extent * a->inner + i % a->inner, best = 0;
        double best_v = 0;
        uint64_t best_u = 0;
        for (int64_t k = 0; k < a->extent; k++) {
            int64_t at = base + k * a->inner;
            bool better, equal;
            if (wide) {
                /* Flipping the sign bit orders signed numbers as unsigned ones. */
                uint64_t u = (uint64_t)((const int64_t *)l->x)[at];
                u ^= a->dtype == LEAT_DTYPE_I64 ? 1ull << 63 : 0;
                better = a->largest ? u > best_u : u < best_u;
                equal = u == best_u;
                if (k == 0 || better || (equal && a->last)) {
                    best = k;
                    best_u = u;
                }
                continue;
            }
            double v = lt_element_get(a->dtype, l->x, at);
            better = a->largest ? v > best_v : v < best_v;
            equal = v == best_v;
            if (k == 0 || better || (equal && a->last) || (v != v && best_v == best_v)) {
                best = k;
                best_v = v;
            }
        }
        l->y[i] = best;
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
    const leat_value *x = leat_kernel_input(node, 0);
    arg *a = host->plan_alloc(plan, sizeof(*a));
    (void)device;
    if (a == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for the plan", node->node->op);
    }
    int64_t axis = leat_node_int(node->node, "axis", 0);
    axis += axis < 0 ? x->rank : 0;
    a->dtype = x->dtype;
    a->largest = strcmp(node->node->op, "ArgMax") == 0;
    a->last = leat_node_int(node->node, "select_last_index", 0) != 0;
    a->outer = a->inner = 1;
    for (int32_t i = 0; i < x->rank; i++) {
        *(i < axis    ? &a->outer
          : i == axis ? &a->extent
                      : &a->inner) =
            i == axis ? x->shape[i] : (i < axis ? a->outer : a->inner) * x->shape[i];
    }
    if (a->extent == 0 && a->outer * a->inner != 0) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: axis %lld is empty", node->node->op,
                           (long long)axis);
    }
    out_kernel->name = "arg";
    out_kernel->launch = arg_run;
    out_kernel->state = a;
    return LEAT_OK;
}

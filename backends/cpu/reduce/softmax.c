/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax  y = exp(x - max x) / sum exp(x - max x),  its logarithm, and Hardmax (1 at the first
 * maximum), along one axis.
 * Rows that lie together go to the vector kernels as they are (f32) or block by block (f16, bf16:
 * three passes that widen each time, so that no row has to fit anywhere); columns of f32 go
 * LT_ROW_COLUMNS at a time; the rest, f64 among it, through double element by element. Bound by
 * exp for short rows, by memory for long ones. */
#include "elementwise/element.h"
#include "elementwise/half.h"
#include "reduce/rows_kernel.h"

#include <math.h>

typedef struct softmax {
    char kind; /* 's', 'l' (logarithm), 'h' (hardmax) */
    leat_dtype dtype;
    int64_t rows, extent, inner;
    const lt_row_kernels *kernels;
    const lt_half_kernels *half;
} softmax;

typedef struct softmax_launch {
    const softmax *s;
    const char *x;
    char *y;
} softmax_launch;

/* One row of any type and stride. */
static void any_row(const softmax *s, const void *x, void *y, int64_t base)
{
    double top = -INFINITY, sum = 0;
    int64_t best = 0;
    for (int64_t k = 0; k < s->extent; k++) {
        double v = lt_element_get(s->dtype, x, base + k * s->inner);
        best = v > top || (v != v && top == top) ? k : best;
        top = v > top || v != v ? v : top;
    }
    for (int64_t k = 0; k < s->extent && s->kind != 'h'; k++) {
        sum += exp(lt_element_get(s->dtype, x, base + k * s->inner) - top);
    }
    for (int64_t k = 0; k < s->extent; k++) {
        double v = lt_element_get(s->dtype, x, base + k * s->inner) - top;
        double out = s->kind == 'h' ? k == best : s->kind == 'l' ? v - log(sum) : exp(v) / sum;
        lt_element_set(s->dtype, y, base + k * s->inner, out);
    }
}

static void half_row(const softmax *s, const uint16_t *x, uint16_t *y)
{
    float block[LT_HALF_BLOCK];
    float top = -INFINITY;
    double sum = 0;
    for (int pass = 0; pass < 3; pass++) {
        float factor = s->kind == 'l' ? (float)log(sum) : (float)(1 / sum);
        for (int64_t i = 0; i < s->extent; i += LT_HALF_BLOCK) {
            int64_t n = s->extent - i < LT_HALF_BLOCK ? s->extent - i : LT_HALF_BLOCK;
            s->half->widen(s->dtype, x + i, block, n);
            if (pass == 0) {
                float v = (float)s->kernels->reduce(LT_ROW_MAX, block, n);
                top = v > top || v != v ? v : top;
            } else if (pass == 1) {
                sum += s->kernels->exp_sum(block, n, top);
            } else {
                s->kernels->softmax_apply(block, block, n, top, factor, s->kind == 'l');
                s->half->narrow(s->dtype, block, y + i, n);
            }
        }
    }
}

/* Ranges are rows. */
static void row_range(void *argument, int64_t begin, int64_t end)
{
    const softmax_launch *l = argument;
    const softmax *s = l->s;
    for (int64_t i = begin; i < end; i++) {
        int64_t base = i * s->extent;
        if (s->dtype == LEAT_DTYPE_F32 && s->kind != 'h') {
            s->kernels->softmax((const float *)(const void *)l->x + base,
                                (float *)(void *)l->y + base, s->extent, s->kind == 'l');
        } else if (lt_is_half(s->dtype) && s->kind != 'h') {
            half_row(s, (const uint16_t *)(const void *)l->x + base,
                     (uint16_t *)(void *)l->y + base);
        } else {
            any_row(s, l->x, l->y, base);
        }
    }
}

/* Ranges are columns of all rows together. */
static void column_range(void *argument, int64_t begin, int64_t end)
{
    const softmax_launch *l = argument;
    const softmax *s = l->s;
    bool fast = s->dtype == LEAT_DTYPE_F32 && s->kind != 'h';
    while (begin < end) {
        int64_t column = begin % s->inner, n = fast ? s->inner - column : 1;
        int64_t base = begin / s->inner * s->extent * s->inner + column;
        n = n < end - begin ? n : end - begin;
        n = n < LT_ROW_COLUMNS ? n : LT_ROW_COLUMNS;
        if (fast) {
            s->kernels->softmax_columns((const float *)(const void *)l->x + base,
                                        (float *)(void *)l->y + base, s->extent, s->inner, n,
                                        s->kind == 'l');
        } else {
            any_row(s, l->x, l->y, base);
        }
        begin += n;
    }
}

static leat_status softmax_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const softmax *s = state;
    softmax_launch l = {s, args->inputs[0], args->outputs[0]};
    double cost = 24 * (double)s->extent;
    (void)err;
    if (s->extent == 0) {
        return LEAT_OK;
    }
    if (s->inner == 1) {
        lt_cpu_parallel_range(args, s->rows, 1, cost, row_range, &l);
    } else {
        lt_cpu_parallel_range(args, s->rows * s->inner, 16, cost, column_range, &l);
    }
    return LEAT_OK;
}

leat_status lt_cpu_softmax_prepare(const leat_kernel_node *node, void *device,
                                   const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                   leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    const char *op = node->node->op;
    softmax *s = host->plan_alloc(plan, sizeof(*s));
    if (s == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for the plan", op);
    }
    bool old = node->node->opset < 13;
    int64_t axis = leat_node_int(node->node, "axis", old ? 1 : -1);
    int64_t limit = old ? x->rank : x->rank - 1; /* flattening may put all in one row or none */
    axis += axis < 0 ? x->rank : 0;
    if (x->rank == 0 && !old && (axis == -1 || axis == 0)) {
        axis = 0;
    } else if (axis < 0 || axis > limit || y->dtype != x->dtype ||
               leat_value_count(y) != leat_value_count(x)) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s node '%s': axis or output do not fit rank %d", op,
                           node->node->name, x->rank);
    }
    s->kind = op[0] == 'S' ? 's' : op[0] == 'L' ? 'l' : 'h';
    s->dtype = x->dtype;
    s->rows = s->extent = s->inner = 1;
    for (int32_t i = 0; i < x->rank; i++) {
        /* Before opset 13 everything from the axis on is one row. */
        int64_t *part = i < axis ? &s->rows : i == axis || old ? &s->extent : &s->inner;
        *part *= x->shape[i];
    }
    s->kernels = lt_row_kernels_for(device);
    s->half = lt_half_for(device);
    out_kernel->name = "softmax";
    out_kernel->launch = softmax_run;
    out_kernel->state = s;
    out_kernel->inplace_mask = 1;
    return LEAT_OK;
}

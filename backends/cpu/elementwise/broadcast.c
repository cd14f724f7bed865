/* SPDX-License-Identifier: Apache-2.0 */
#include "elementwise/broadcast.h"

/* Stride of input dimension d when the output has `rank` dimensions; 0 where it is broadcast. */
static void input_strides(const leat_value *out, const leat_value *in, int64_t *strides)
{
    int64_t stride = 1;
    for (int32_t d = out->rank - 1; d >= 0; d--) {
        int32_t at = d - (out->rank - in->rank);
        int64_t dim = at < 0 ? 1 : in->shape[at];
        strides[d] = dim == 1 ? 0 : stride;
        stride *= dim;
    }
}

/* Whether dimension d of the plan so far can take the next one (with `dim` elements) into it. */
static bool mergeable(const lt_broadcast *b, int32_t d, const int64_t *next, int64_t dim)
{
    for (int32_t i = 0; i < b->inputs; i++) {
        if (b->strides[i][d] != next[i] * dim) {
            return false;
        }
    }
    return true;
}

static bool fits(const leat_value *out, const leat_value *in)
{
    for (int32_t d = 0; d < in->rank; d++) {
        int32_t at = d + out->rank - in->rank;
        if (at < 0 || (in->shape[d] != 1 && in->shape[d] != out->shape[at])) {
            return false;
        }
    }
    return true;
}

/* Merges dimensions. What has one element disappears. */
static void merge(lt_broadcast *b, const leat_value *out,
                  int64_t strides[LT_BROADCAST_MAX][LEAT_MAX_RANK])
{
    int32_t count = b->inputs;
    for (int32_t d = 0; d < out->rank; d++) {
        int64_t next[LT_BROADCAST_MAX];
        if (out->shape[d] == 1) {
            continue;
        }
        for (int32_t i = 0; i < count; i++) {
            next[i] = strides[i][d];
        }
        if (b->rank > 0 && mergeable(b, b->rank - 1, next, out->shape[d])) {
            b->dims[b->rank - 1] *= out->shape[d];
        } else {
            b->dims[b->rank++] = out->shape[d];
        }
        for (int32_t i = 0; i < count; i++) {
            b->strides[i][b->rank - 1] = next[i];
        }
    }
    if (b->rank == 0) {
        b->dims[b->rank++] = 1;
    }
}

leat_status lt_broadcast_plan(lt_broadcast *b, const leat_node *node, const leat_value *out,
                              const leat_value *const *inputs, int32_t count, leat_error *err)
{
    int64_t strides[LT_BROADCAST_MAX][LEAT_MAX_RANK];
    memset(b, 0, sizeof(*b));
    b->inputs = count;
    for (int32_t i = 0; i < count; i++) {
        if (!fits(out, inputs[i])) {
            return lt_cpu_fail(err, LEAT_INVALID,
                               "%s node '%s': the shape of operand %d does not broadcast to the "
                               "output's",
                               node->op, node->name, i);
        }
        input_strides(out, inputs[i], strides[i]);
    }
    merge(b, out, strides);
    b->length = b->dims[b->rank - 1];
    b->lines = 1;
    for (int32_t d = 0; d < b->rank - 1; d++) {
        b->lines *= b->dims[d];
    }
    return LEAT_OK;
}

typedef struct run {
    const lt_broadcast *b;
    lt_line_fn fn;
    const void *argument;
} run;

static void run_lines(void *argument, int64_t begin, int64_t end)
{
    const run *r = argument;
    const lt_broadcast *b = r->b;
    int64_t at[LEAT_MAX_RANK] = {0}, from[LT_BROADCAST_MAX] = {0}, rest = begin;
    for (int32_t d = b->rank - 2; d >= 0; d--) {
        at[d] = rest % b->dims[d];
        rest /= b->dims[d];
        for (int32_t i = 0; i < b->inputs; i++) {
            from[i] += at[d] * b->strides[i][d];
        }
    }
    for (int64_t line = begin; line < end; line++) {
        r->fn(r->argument, from, line * b->length, b->length);
        for (int32_t d = b->rank - 2; d >= 0; d--) {
            at[d]++;
            for (int32_t i = 0; i < b->inputs; i++) {
                from[i] += b->strides[i][d];
            }
            if (at[d] < b->dims[d]) {
                break;
            }
            for (int32_t i = 0; i < b->inputs; i++) {
                from[i] -= b->dims[d] * b->strides[i][d];
            }
            at[d] = 0;
        }
    }
}

/* One long line in parts. */
static void run_part(void *argument, int64_t begin, int64_t end)
{
    const run *r = argument;
    const lt_broadcast *b = r->b;
    int64_t from[LT_BROADCAST_MAX] = {0};
    for (int32_t i = 0; i < b->inputs; i++) {
        from[i] = begin * b->strides[i][b->rank - 1];
    }
    r->fn(r->argument, from, begin, end - begin);
}

void lt_broadcast_run(const lt_broadcast *b, double bytes_per_element, lt_line_fn fn,
                      const void *argument, const leat_kernel_args *args)
{
    run r = {b, fn, argument};
    if (b->length == 0 || b->lines == 0) {
        return;
    }
    if (b->lines == 1) {
        lt_cpu_parallel_range(args, b->length, 64, bytes_per_element, run_part, &r);
    } else {
        lt_cpu_parallel_range(args, b->lines, 1, bytes_per_element * (double)b->length, run_lines,
                              &r);
    }
}

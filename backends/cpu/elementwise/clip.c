/* SPDX-License-Identifier: Apache-2.0 */
/* Clip: y = min(max(x, low), high), so that low > high gives high, as numpy's does; NaN stays. The
 * bounds are attributes (opset 6) or inputs that may change from run to run. f32, f16 and bf16 use
 * the activation kernels; bound by memory. */
#include "elementwise/activation.h"
#include "elementwise/element.h"
#include "elementwise/half.h"

#include <math.h>

typedef struct clip {
    leat_dtype dtype;
    int64_t count;
    float low, high; /* opset 6 */
    bool attributes;
    uint32_t n_inputs;
    lt_cpu_activate_fn activate;
    const lt_half_kernels *half;
} clip;

typedef struct clip_launch {
    const clip *c;
    const void *x, *low, *high; /* bounds NULL: none */
    void *y;
} clip_launch;

/* f32, f16, bf16: blocks through f32. */
static void clip_floats(const clip_launch *l, int64_t begin, int64_t end)
{
    const clip *c = l->c;
    float block[LT_HALF_BLOCK];
    lt_cpu_activation bounds = {LT_CPU_ACTIVATION_CLIP, -INFINITY, INFINITY};
    size_t element = lt_cpu_element_bytes(c->dtype);
    if (c->attributes) {
        bounds.alpha = c->low;
        bounds.beta = c->high;
    }
    bounds.alpha = l->low ? lt_cpu_get_f32(c->dtype, l->low, 0) : bounds.alpha;
    bounds.beta = l->high ? lt_cpu_get_f32(c->dtype, l->high, 0) : bounds.beta;
    for (int64_t i = begin; i < end; i += LT_HALF_BLOCK) {
        int64_t part = end - i < LT_HALF_BLOCK ? end - i : LT_HALF_BLOCK;
        c->half->widen(c->dtype, (const char *)l->x + (size_t)i * element, block, part);
        c->activate(block, part, &bounds);
        c->half->narrow(c->dtype, block, (char *)l->y + (size_t)i * element, part);
    }
}

#define DEFINE_CLIP(T, LOWEST, HIGHEST)                                                            \
    static void clip_##T(const clip_launch *l, int64_t begin, int64_t end)                         \
    {                                                                                              \
        typedef T loose __attribute__((aligned(1), may_alias));                                    \
        const T low = l->low ? *(const loose *)l->low : LOWEST;                                    \
        const T high = l->high ? *(const loose *)l->high : HIGHEST;                                \
        const loose *x = l->x;                                                                     \
        T *y = l->y;                                                                               \
        _Pragma("GCC ivdep") for (int64_t i = begin; i < end; i++)                                 \
        {                                                                                          \
            const T v = x[i] < low ? low : x[i];                                                   \
            y[i] = v > high ? high : v;                                                            \
        }                                                                                          \
    }
DEFINE_CLIP(double, (double)-INFINITY, (double)INFINITY)
DEFINE_CLIP(int8_t, INT8_MIN, INT8_MAX)
DEFINE_CLIP(int16_t, INT16_MIN, INT16_MAX)
DEFINE_CLIP(int32_t, INT32_MIN, INT32_MAX)
DEFINE_CLIP(int64_t, INT64_MIN, INT64_MAX)
DEFINE_CLIP(uint8_t, 0, UINT8_MAX)
DEFINE_CLIP(uint16_t, 0, UINT16_MAX)
DEFINE_CLIP(uint32_t, 0, UINT32_MAX)
DEFINE_CLIP(uint64_t, 0, UINT64_MAX)

static void clip_range(void *argument, int64_t begin, int64_t end)
{
    const clip_launch *l = argument;
    switch (l->c->dtype) {
    case LEAT_DTYPE_F64:
        clip_double(l, begin, end);
        break;
    case LEAT_DTYPE_I8:
        clip_int8_t(l, begin, end);
        break;
    case LEAT_DTYPE_I16:
        clip_int16_t(l, begin, end);
        break;
    case LEAT_DTYPE_I32:
        clip_int32_t(l, begin, end);
        break;
    case LEAT_DTYPE_I64:
        clip_int64_t(l, begin, end);
        break;
    case LEAT_DTYPE_U8:
        clip_uint8_t(l, begin, end);
        break;
    case LEAT_DTYPE_U16:
        clip_uint16_t(l, begin, end);
        break;
    case LEAT_DTYPE_U32:
        clip_uint32_t(l, begin, end);
        break;
    case LEAT_DTYPE_U64:
        clip_uint64_t(l, begin, end);
        break;
    default:
        clip_floats(l, begin, end);
        break;
    }
}

static leat_status clip_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const clip *c = state;
    clip_launch l = {c, args->inputs[0], NULL, NULL, args->outputs[0]};
    double bounds[2] = {(double)c->low, (double)c->high};
    (void)err;
    if (!c->attributes) {
        l.low = c->n_inputs > 1 ? args->inputs[1] : NULL;
        l.high = c->n_inputs > 2 ? args->inputs[2] : NULL;
    } else if (c->dtype == LEAT_DTYPE_F64) {
        l.low = &bounds[0];
        l.high = &bounds[1];
    }
    lt_cpu_parallel_range(args, c->count, 64, 2 * (double)lt_cpu_element_bytes(c->dtype),
                          clip_range, &l);
    return LEAT_OK;
}

/* One element of the data's type; the output has the input's type and count. */
static leat_status check(const leat_kernel_node *node, bool attributes, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    for (uint32_t i = 1; i < 3; i++) {
        const leat_value *bound = leat_kernel_input(node, i);
        if (bound != NULL && (bound->dtype != x->dtype || leat_value_count(bound) != 1)) {
            return lt_cpu_fail(err, LEAT_INVALID, "Clip node '%s': a bound must be one %s",
                               node->node->name, leat_dtype_name(x->dtype));
        }
    }
    if (y->dtype != x->dtype || leat_value_count(y) != leat_value_count(x)) {
        return lt_cpu_fail(err, LEAT_INVALID,
                           "Clip node '%s': the output has another type or shape",
                           node->node->name);
    }
    if (attributes && !(CPU_FLOATS >> x->dtype & 1)) {
        return lt_cpu_fail(err, LEAT_INVALID, "Clip node '%s': before opset 11 only floats clip",
                           node->node->name);
    }
    return LEAT_OK;
}

leat_status lt_cpu_clip_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    clip *c = host->plan_alloc(plan, sizeof(*c));
    if (c == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "Clip: no memory for the plan");
    }
    c->dtype = leat_kernel_input(node, 0)->dtype;
    c->count = leat_value_count(leat_kernel_input(node, 0));
    c->attributes = node->node->opset < 11;
    c->n_inputs = node->node->n_inputs;
    c->low = leat_node_float(node->node, "min", -INFINITY);
    c->high = leat_node_float(node->node, "max", INFINITY);
    c->activate = lt_cpu_activate_for(device);
    c->half = lt_half_for(device);
    out_kernel->name = "clip";
    out_kernel->launch = clip_run;
    out_kernel->state = c;
    out_kernel->inplace_mask = 1;
    return check(node, c->attributes, err);
}

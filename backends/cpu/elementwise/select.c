/* SPDX-License-Identifier: Apache-2.0 */
/* Where and Clip. */
#include "elementwise/broadcast.h"
#include "elementwise/element.h"

#include <math.h>

/* --- Where --------------------------------------------------------------------------------------
 */

typedef struct where {
    size_t element;
    lt_broadcast plan;
} where;

typedef struct where_launch {
    const where *w;
    const uint8_t *condition;
    const char *x[2];
    char *y;
} where_launch;

#define WHERE_LOOP(T)                                                                              \
    for (int64_t i = 0; i < n; i++) {                                                              \
        const bool yes = c[i * sc] != 0;                                                           \
        ((T *)y)[i] = yes ? ((const T *)a)[i * sa] : ((const T *)b)[i * sb];                       \
    }                                                                                              \
    break

static void where_line(const void *argument, const int64_t *from, int64_t to, int64_t n)
{
    const where_launch *l = argument;
    const where *w = l->w;
    int32_t last = w->plan.rank - 1;
    int64_t sc = w->plan.strides[0][last], sa = w->plan.strides[1][last],
            sb = w->plan.strides[2][last];
    const uint8_t *c = l->condition + from[0];
    const void *a = l->x[0] + (size_t)from[1] * w->element;
    const void *b = l->x[1] + (size_t)from[2] * w->element;
    void *y = l->y + (size_t)to * w->element;
    switch (w->element) {
    case 1:
        WHERE_LOOP(uint8_t);
    case 2:
        WHERE_LOOP(uint16_t);
    case 4:
        WHERE_LOOP(uint32_t);
    case 8:
        WHERE_LOOP(uint64_t);
    default:
        for (int64_t i = 0; i < n; i++) {
            const char *source = c[i * sc] ? (const char *)a + (size_t)(i * sa) * w->element
                                           : (const char *)b + (size_t)(i * sb) * w->element;
            memcpy((char *)y + (size_t)i * w->element, source, w->element);
        }
        break;
    }
}

static leat_status where_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const where *w = state;
    where_launch l = {w, args->inputs[0], {args->inputs[1], args->inputs[2]}, args->outputs[0]};
    (void)err;
    lt_broadcast_run(&w->plan, 3 * (double)w->element, where_line, &l, args);
    return LEAT_OK;
}

leat_status lt_cpu_where_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                 leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    where *w = host->plan_alloc(plan, sizeof(*w));
    (void)device;
    if (w == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "Where: no memory for the plan");
    }
    const leat_value *inputs[3] = {leat_kernel_input(node, 0), leat_kernel_input(node, 1),
                                   leat_kernel_input(node, 2)};
    w->element = lt_cpu_element_bytes(inputs[1]->dtype);
    lt_broadcast_plan(&w->plan, leat_kernel_output(node, 0), inputs, 3);
    out_kernel->name = "where";
    out_kernel->launch = where_run;
    out_kernel->state = w;
    return LEAT_OK;
}

/* --- Clip ---------------------------------------------------------------------------------------
 */

typedef struct clip {
    leat_dtype dtype;
    int64_t count;
    float low, high; /* opset 6: attributes */
    bool attributes;
    uint32_t n_inputs;
} clip;

typedef struct clip_launch {
    const clip *c;
    const void *x, *low, *high; /* bounds NULL: none */
    void *y;
} clip_launch;

/* max(x, low), then min(., high), so that low > high gives high as numpy.clip does; NaN stays. */
#define CLIP_LOOP(T)                                                                               \
    {                                                                                              \
        const T *x = (const T *)l->x;                                                              \
        T *y = (T *)l->y;                                                                          \
        for (int64_t i = begin; i < end; i++) {                                                    \
            T v = x[i];                                                                            \
            v = has_low && v < *(const T *)l->low ? *(const T *)l->low : v;                        \
            y[i] = has_high && v > *(const T *)l->high ? *(const T *)l->high : v;                  \
        }                                                                                          \
        break;                                                                                     \
    }

static void clip_f32(const clip_launch *l, int64_t begin, int64_t end)
{
    const float low = l->low ? *(const float *)l->low : -INFINITY;
    const float high = l->high ? *(const float *)l->high : INFINITY;
    const float *x = l->x;
    float *y = l->y;
    for (int64_t i = begin; i < end; i++) {
        float v = x[i] < low ? low : x[i];
        y[i] = v > high ? high : v;
    }
}

static void clip_range(void *argument, int64_t begin, int64_t end)
{
    const clip_launch *l = argument;
    bool has_low = l->low != NULL, has_high = l->high != NULL;
    switch (l->c->dtype) {
    case LEAT_DTYPE_F32:
        clip_f32(l, begin, end);
        break;
    case LEAT_DTYPE_F64:
        CLIP_LOOP(double)
    case LEAT_DTYPE_I8:
        CLIP_LOOP(int8_t)
    case LEAT_DTYPE_U8:
        CLIP_LOOP(uint8_t)
    case LEAT_DTYPE_I16:
        CLIP_LOOP(int16_t)
    case LEAT_DTYPE_U16:
        CLIP_LOOP(uint16_t)
    case LEAT_DTYPE_I32:
        CLIP_LOOP(int32_t)
    case LEAT_DTYPE_U32:
        CLIP_LOOP(uint32_t)
    case LEAT_DTYPE_I64:
        CLIP_LOOP(int64_t)
    case LEAT_DTYPE_U64:
        CLIP_LOOP(uint64_t)
    default: {
        leat_dtype t = l->c->dtype;
        double low = has_low ? lt_element_get(t, l->low, 0) : -INFINITY;
        double high = has_high ? lt_element_get(t, l->high, 0) : INFINITY;
        for (int64_t i = begin; i < end; i++) {
            double v = lt_element_get(t, l->x, i);
            v = v < low ? low : v;
            lt_element_set(t, l->y, i, v > high ? high : v);
        }
        break;
    }
    }
}

static leat_status clip_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const clip *c = state;
    clip_launch l = {c, args->inputs[0], NULL, NULL, args->outputs[0]};
    char bounds[2][8];
    (void)err;
    if (c->attributes) {
        lt_element_set(c->dtype, bounds[0], 0, (double)c->low);
        lt_element_set(c->dtype, bounds[1], 0, (double)c->high);
        l.low = bounds[0];
        l.high = bounds[1];
    } else {
        l.low = c->n_inputs > 1 ? args->inputs[1] : NULL;
        l.high = c->n_inputs > 2 ? args->inputs[2] : NULL;
    }
    lt_cpu_parallel_range(args, c->count, 64, 2 * (double)lt_cpu_element_bytes(c->dtype),
                          clip_range, &l);
    return LEAT_OK;
}

static leat_status check_bound(const leat_value *bound, leat_dtype dtype, leat_error *err)
{
    if (bound != NULL && (bound->dtype != dtype || leat_value_count(bound) != 1)) {
        return lt_cpu_fail(err, LEAT_INVALID, "Clip: a bound must be one %s",
                           leat_dtype_name(dtype));
    }
    return LEAT_OK;
}

leat_status lt_cpu_clip_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    clip *c = host->plan_alloc(plan, sizeof(*c));
    (void)device;
    if (c == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "Clip: no memory for the plan");
    }
    c->dtype = leat_kernel_input(node, 0)->dtype;
    c->count = leat_value_count(leat_kernel_input(node, 0));
    c->attributes = node->node->opset < 11 && strcmp(node->node->domain, "leat") != 0;
    c->n_inputs = node->node->n_inputs;
    c->low = leat_node_float(node->node, "min", -INFINITY);
    c->high = leat_node_float(node->node, "max", INFINITY);
    leat_status status = check_bound(leat_kernel_input(node, 1), c->dtype, err);
    if (status == LEAT_OK) {
        status = check_bound(leat_kernel_input(node, 2), c->dtype, err);
    }
    out_kernel->name = "clip";
    out_kernel->launch = clip_run;
    out_kernel->state = c;
    out_kernel->inplace_mask = 1;
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Where: y = condition ? a : b, by the width of an element. Bound by memory. */
#include "elementwise/broadcast.h"

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

/* Inner strides of condition, a and b are 0 or 1; each case is a loop that compilers vectorise. */
#define PICK(A, B)                                                                                 \
    for (int64_t i = 0; i < n; i++) {                                                              \
        y[i] = c[i] ? (A) : (B);                                                                   \
    }
#define DEFINE_LINE(T, name)                                                                       \
    static void name(const uint8_t *c, int64_t sc, const void *yes, int64_t sa, const void *no,    \
                     int64_t sb, void *out, int64_t n)                                             \
    {                                                                                              \
        typedef T loose __attribute__((aligned(1), may_alias));                                    \
        const loose *a = yes, *b = no;                                                             \
        T *restrict y = out;                                                                       \
        const T first_a = *a, first_b = *b;                                                        \
        if (sc == 0) {                                                                             \
            const loose *x = *c ? a : b;                                                           \
            const int64_t stride = *c ? sa : sb;                                                   \
            for (int64_t i = 0; i < n; i++) {                                                      \
                y[i] = x[i * stride];                                                              \
            }                                                                                      \
        } else if (sa == 1 && sb == 1) {                                                           \
            PICK(a[i], b[i])                                                                       \
        } else if (sa == 1) {                                                                      \
            PICK(a[i], first_b)                                                                    \
        } else if (sb == 1) {                                                                      \
            PICK(first_a, b[i])                                                                    \
        } else {                                                                                   \
            PICK(first_a, first_b)                                                                 \
        }                                                                                          \
    }
DEFINE_LINE(uint8_t, line_8)
DEFINE_LINE(uint16_t, line_16)
DEFINE_LINE(uint32_t, line_32)
DEFINE_LINE(uint64_t, line_64)

/* Strings, complex numbers of 16 bytes. */
static void line_bytes(size_t element, const uint8_t *c, int64_t sc, const char *a, int64_t sa,
                       const char *b, int64_t sb, char *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const char *from =
            c[i * sc] ? a + (size_t)(i * sa) * element : b + (size_t)(i * sb) * element;
        memcpy(y + (size_t)i * element, from, element);
    }
}

static void where_line(const void *argument, const int64_t *from, int64_t to, int64_t n)
{
    const where_launch *l = argument;
    const where *w = l->w;
    const lt_broadcast *plan = &w->plan;
    int32_t last = plan->rank - 1;
    int64_t sc = plan->strides[0][last], sa = plan->strides[1][last], sb = plan->strides[2][last];
    const uint8_t *c = l->condition + from[0];
    const char *a = l->x[0] + (size_t)from[1] * w->element;
    const char *b = l->x[1] + (size_t)from[2] * w->element;
    char *y = l->y + (size_t)to * w->element;
    switch (w->element) {
    case 1:
        line_8(c, sc, a, sa, b, sb, y, n);
        break;
    case 2:
        line_16(c, sc, a, sa, b, sb, y, n);
        break;
    case 4:
        line_32(c, sc, a, sa, b, sb, y, n);
        break;
    case 8:
        line_64(c, sc, a, sa, b, sb, y, n);
        break;
    default:
        line_bytes(w->element, c, sc, a, sa, b, sb, y, n);
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

leat_status lt_cpu_where_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 1);
    if (x == NULL || !((CPU_WHOLE | CPU_T(STRING)) >> x->dtype & 1)) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "Where of type %s is not supported",
                           x ? leat_dtype_name(x->dtype) : "unknown");
    }
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
    const leat_value *out = leat_kernel_output(node, 0);
    if (inputs[1]->dtype != out->dtype || inputs[2]->dtype != out->dtype) {
        return lt_cpu_fail(err, LEAT_INVALID, "Where node '%s': the types of its values differ",
                           node->node->name);
    }
    w->element = lt_cpu_element_bytes(out->dtype);
    out_kernel->name = "where";
    out_kernel->launch = where_run;
    out_kernel->state = w;
    return lt_broadcast_plan(&w->plan, node->node, out, inputs, 3, err);
}

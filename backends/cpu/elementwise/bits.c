/* SPDX-License-Identifier: Apache-2.0 */
/* And, Or, Xor, bitwise operators, BitShift; Equal of strings. */
#include "elementwise/broadcast.h"

typedef enum bits_op {
    BITS_AND,
    BITS_OR,
    BITS_XOR,
    BITS_LEFT,
    BITS_RIGHT,
    BITS_RIGHT_SIGNED,
    BITS_STRINGS
} bits_op;

typedef struct bits {
    bits_op op;
    size_t element;
    lt_broadcast plan;
} bits;

typedef struct bits_launch {
    const bits *b;
    const char *x, *z;
    char *y;
} bits_launch;

static void strings_line(const leat_string *a, int64_t sa, const leat_string *b, int64_t sb,
                         uint8_t *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const leat_string *p = &a[i * sa], *q = &b[i * sb];
        y[i] = p->bytes == q->bytes && (p->bytes == 0 || memcmp(p->data, q->data, p->bytes) == 0);
    }
}

/* y may be an operand: an iteration reads only what it writes. */
#define EACH(expression)                                                                           \
    _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++)                                           \
    {                                                                                              \
        const uint64_t p = x[i * sa], q = z[i * sb];                                               \
        y[i] = (T)(expression);                                                                    \
    }                                                                                              \
    break

/* Shifting by the type's width or more gives 0, or what the sign leaves; a negative number of
 * places of a signed type, as the large number that it is here, likewise. */
#define DEFINE_LINE(T_, S, name)                                                                   \
    static void name(bits_op op, const void *from, int64_t sa, const void *other, int64_t sb,      \
                     T_ *y, int64_t n)                                                             \
    {                                                                                              \
        typedef T_ T, loose __attribute__((aligned(1), may_alias));                                \
        const loose *x = from, *z = other;                                                         \
        switch (op) {                                                                              \
        case BITS_AND:                                                                             \
            EACH(p &q);                                                                            \
        case BITS_OR:                                                                              \
            EACH(p | q);                                                                           \
        case BITS_XOR:                                                                             \
            EACH(p ^ q);                                                                           \
        case BITS_LEFT:                                                                            \
            EACH(q < 8 * sizeof(T) ? p << q : 0);                                                  \
        case BITS_RIGHT:                                                                           \
            EACH(q < 8 * sizeof(T) ? p >> q : 0);                                                  \
        default:                                                                                   \
            EACH((S)p >> (q < 8 * sizeof(T) ? q : 8 * sizeof(T) - 1));                             \
        }                                                                                          \
    }
DEFINE_LINE(uint8_t, int8_t, line_8)
DEFINE_LINE(uint16_t, int16_t, line_16)
DEFINE_LINE(uint32_t, int32_t, line_32)
DEFINE_LINE(uint64_t, int64_t, line_64)

static void bits_line(const void *argument, const int64_t *from, int64_t to, int64_t n)
{
    const bits_launch *l = argument;
    const bits *b = l->b;
    int32_t last = b->plan.rank - 1;
    int64_t sa = b->plan.strides[0][last], sb = b->plan.strides[1][last];
    const void *x = l->x + (size_t)from[0] * b->element;
    const void *z = l->z + (size_t)from[1] * b->element;
    void *y = l->y + (size_t)to * b->element;
    if (b->op == BITS_STRINGS) {
        strings_line(x, sa, z, sb, (uint8_t *)l->y + to, n);
        return;
    }
    switch (b->element) {
    case 1:
        line_8(b->op, x, sa, z, sb, y, n);
        break;
    case 2:
        line_16(b->op, x, sa, z, sb, y, n);
        break;
    case 4:
        line_32(b->op, x, sa, z, sb, y, n);
        break;
    default:
        line_64(b->op, x, sa, z, sb, y, n);
        break;
    }
}

static leat_status bits_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const bits *b = state;
    bits_launch l = {b, args->inputs[0], args->inputs[1], args->outputs[0]};
    (void)err;
    lt_broadcast_run(&b->plan, 3 * (double)b->element, bits_line, &l, args);
    return LEAT_OK;
}

static bits_op find_op(const leat_node *node, leat_dtype dtype)
{
    bool is_signed = (CPU_SIGNED >> dtype & 1) != 0;
    const char *op = node->op;
    if (strcmp(op, "Equal") == 0) {
        return BITS_STRINGS;
    }
    if (strcmp(op, "BitShift") == 0) {
        return leat_node_string_is(node, "direction", "LEFT") ? BITS_LEFT
               : is_signed                                    ? BITS_RIGHT_SIGNED
                                                              : BITS_RIGHT;
    }
    return strstr(op, "And") ? BITS_AND : strstr(op, "Xor") ? BITS_XOR : BITS_OR;
}

leat_status lt_cpu_bits_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    bits *b = host->plan_alloc(plan, sizeof(*b));
    const char *op = node->node->op;
    (void)device;
    if (b == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for the plan", op);
    }
    const leat_value *inputs[2] = {leat_kernel_input(node, 0), leat_kernel_input(node, 1)};
    const leat_value *out = leat_kernel_output(node, 0);
    b->op = find_op(node->node, inputs[0]->dtype);
    b->element = lt_cpu_element_bytes(inputs[0]->dtype);
    if (inputs[1]->dtype != inputs[0]->dtype ||
        out->dtype != (b->op == BITS_STRINGS ? LEAT_DTYPE_BOOL : inputs[0]->dtype)) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s node '%s': the types of its values differ", op,
                           node->node->name);
    }
    out_kernel->name = "bits";
    out_kernel->launch = bits_run;
    out_kernel->state = b;
    return lt_broadcast_plan(&b->plan, node->node, out, inputs, 2, err);
}

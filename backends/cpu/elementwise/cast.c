/* SPDX-License-Identifier: Apache-2.0 */
/* Cast and CastLike between all types but strings and complex numbers.
 *
 * An element goes through double (floats), int64 or uint64 (integers), and is rounded once: to
 * nearest even for floats, towards zero for integers, which then wrap to their width; a float
 * beyond int64 saturates first, NaN becomes 0. To bool everything but 0 is true. float8 saturates,
 * or not, as the attribute `saturate` says; e8m0 rounds as `round_mode` says. */
#include "elementwise/element.h"
#include "smallfloat.h"

typedef struct cast {
    leat_dtype from, to;
    bool saturate;
    lt_round round;
    int64_t count;
} cast;

/* One element on its way. */
typedef struct number {
    bool whole;    /* an integer: i (or u, when it is unsigned) */
    bool negative; /* i is to be read as signed */
    uint64_t u;
    double d;
} number;

static bool is_small_float(leat_dtype dtype)
{
    return dtype == LEAT_DTYPE_F8E4M3FN || dtype == LEAT_DTYPE_F8E4M3FNUZ ||
           dtype == LEAT_DTYPE_F8E5M2 || dtype == LEAT_DTYPE_F8E5M2FNUZ ||
           dtype == LEAT_DTYPE_F8E8M0;
}

static number whole_number(int64_t v)
{
    number n = {true, v < 0, (uint64_t)v, 0};
    return n;
}

static number read_number(const cast *c, const void *x, int64_t i)
{
    number n = {false, false, 0, 0};
    unsigned bits = lt_packed_bits(c->from);
    switch (c->from) {
    case LEAT_DTYPE_F32:
    case LEAT_DTYPE_F64:
    case LEAT_DTYPE_F16:
    case LEAT_DTYPE_BF16:
        n.d = lt_element_get(c->from, x, i);
        return n;
    case LEAT_DTYPE_F4E2M1:
        n.d = (double)lt_small_to_f32(c->from, (uint8_t)lt_packed_get(x, i, 4));
        return n;
    case LEAT_DTYPE_I4:
    case LEAT_DTYPE_I2:
        return whole_number(lt_packed_get_signed(x, i, bits));
    case LEAT_DTYPE_U4:
    case LEAT_DTYPE_U2:
        return whole_number((int64_t)lt_packed_get(x, i, bits));
    case LEAT_DTYPE_I8:
        return whole_number(((const int8_t *)x)[i]);
    case LEAT_DTYPE_I16:
        return whole_number(((const int16_t *)x)[i]);
    case LEAT_DTYPE_I32:
        return whole_number(((const int32_t *)x)[i]);
    case LEAT_DTYPE_I64:
        return whole_number(((const int64_t *)x)[i]);
    case LEAT_DTYPE_U64:
        n.whole = true;
        n.u = ((const uint64_t *)x)[i];
        return n;
    case LEAT_DTYPE_U32:
        return whole_number(((const uint32_t *)x)[i]);
    case LEAT_DTYPE_U16:
        return whole_number(((const uint16_t *)x)[i]);
    case LEAT_DTYPE_U8:
        return whole_number(((const uint8_t *)x)[i]);
    case LEAT_DTYPE_BOOL:
        return whole_number(((const uint8_t *)x)[i] != 0);
    default:
        n.d = (double)lt_small_to_f32(c->from, ((const uint8_t *)x)[i]);
        return n;
    }
}

static uint64_t to_integer(number n)
{
    if (n.whole) {
        return n.u;
    }
    if (n.d != n.d) {
        return 0;
    }
    if (n.d >= 0x1p63) {
        return n.d >= 0x1p64 ? UINT64_MAX : (uint64_t)n.d;
    }
    return n.d <= -0x1p63 ? (uint64_t)INT64_MIN : (uint64_t)(int64_t)n.d;
}

static double to_double(number n)
{
    return !n.whole ? n.d : n.negative ? (double)(int64_t)n.u : (double)n.u;
}

static float to_float(number n)
{
    return !n.whole ? (float)n.d : n.negative ? (float)(int64_t)n.u : (float)n.u;
}

static void write_number(const cast *c, void *y, int64_t i, number n)
{
    unsigned bits = lt_packed_bits(c->to);
    switch (c->to) {
    case LEAT_DTYPE_F32:
        ((float *)y)[i] = to_float(n);
        break;
    case LEAT_DTYPE_F64:
    case LEAT_DTYPE_F16:
    case LEAT_DTYPE_BF16:
        lt_element_set(c->to, y, i, to_double(n));
        break;
    case LEAT_DTYPE_BOOL:
        ((uint8_t *)y)[i] = n.whole ? n.u != 0 : n.d != 0;
        break;
    case LEAT_DTYPE_F4E2M1:
        lt_packed_set(y, i, 4, lt_f32_to_small(c->to, lt_round_to_odd(to_double(n)), true));
        break;
    case LEAT_DTYPE_F8E8M0:
        ((uint8_t *)y)[i] = lt_f32_to_e8m0((float)to_double(n), c->round, c->saturate);
        break;
    default:
        if (is_small_float(c->to)) {
            ((uint8_t *)y)[i] = lt_f32_to_small(c->to, lt_round_to_odd(to_double(n)), c->saturate);
        } else if (bits != 0) {
            lt_packed_set(y, i, bits, (unsigned)to_integer(n));
        } else {
            uint64_t v = to_integer(n);
            size_t element = lt_cpu_element_bytes(c->to);
            memcpy((char *)y + (size_t)i * element, &v, element);
        }
        break;
    }
}

typedef struct cast_launch {
    const cast *c;
    const void *x;
    void *y;
} cast_launch;

/* Pairs that models use often, as loops that the compiler vectorises. */
#define FAST(F, TF, D, TD)                                                                         \
    if (c->from == LEAT_DTYPE_##F && c->to == LEAT_DTYPE_##D) {                                    \
        for (int64_t i = begin; i < end; i++) {                                                    \
            ((TD *)l->y)[i] = (TD)((const TF *)l->x)[i];                                           \
        }                                                                                          \
        return;                                                                                    \
    }

static void cast_range(void *argument, int64_t begin, int64_t end)
{
    const cast_launch *l = argument;
    const cast *c = l->c;
    FAST(I64, int64_t, F32, float)
    FAST(I32, int32_t, F32, float)
    FAST(U8, uint8_t, F32, float)
    FAST(I8, int8_t, F32, float)
    FAST(I32, int32_t, I64, int64_t)
    FAST(F32, float, F64, double)
    FAST(F64, double, F32, float)
    for (int64_t i = begin; i < end; i++) {
        write_number(c, l->y, i, read_number(c, l->x, i));
    }
}

static leat_status cast_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const cast *c = state;
    cast_launch l = {c, args->inputs[0], args->outputs[0]};
    (void)err;
    if (lt_packed_bits(c->to) != 0) { /* the unused bits of the last byte are zeros */
        memset(l.y, 0, leat_dtype_bytes(c->to, (size_t)c->count));
    }
    /* Units of 64 keep packed elements of one byte in one range. */
    lt_cpu_parallel_range(args, c->count, 64, 16, cast_range, &l);
    return LEAT_OK;
}

leat_status lt_cpu_cast_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *out = leat_kernel_output(node, 0);
    if (out->dtype == LEAT_DTYPE_STRING || out->dtype == LEAT_DTYPE_C64 ||
        out->dtype == LEAT_DTYPE_C128) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s to %s is not supported", node->node->op,
                           leat_dtype_name(out->dtype));
    }
    return LEAT_OK;
}

leat_status lt_cpu_cast_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    cast *c = host->plan_alloc(plan, sizeof(*c));
    (void)device;
    if (c == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "Cast: no memory for the plan");
    }
    c->from = leat_kernel_input(node, 0)->dtype;
    c->to = leat_kernel_output(node, 0)->dtype;
    c->count = leat_value_count(leat_kernel_input(node, 0));
    c->saturate = leat_node_int(node->node, "saturate", 1) != 0;
    c->round = leat_node_string_is(node->node, "round_mode", "down")      ? LT_ROUND_DOWN
               : leat_node_string_is(node->node, "round_mode", "nearest") ? LT_ROUND_NEAREST
                                                                          : LT_ROUND_UP;
    out_kernel->name = c->from == c->to ? "view" : "cast";
    out_kernel->launch = c->from == c->to ? NULL : cast_run;
    out_kernel->view_of = c->from == c->to;
    out_kernel->state = c;
    return LEAT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Cast and CastLike between all types but strings and complex numbers.
 *
 * Types that C has (f32, f64, integers of 8 to 64 bits, bool) convert directly; the others go
 * through blocks of one of them:
 *
 *     f16, bf16, float8, f4, e8m0 -> f32 -+                +-> f32 -> f16, bf16, float8, f4, e8m0
 *     int4, uint4, int2, uint2    -> i32 -+-> a type of C -+-> i32 -> int4, uint4, int2, uint2
 *
 * Every conversion rounds once: to nearest even for floats (what passes through f32 on its way to a
 * narrower type is rounded to odd there), towards zero for integers. ONNX leaves floats that are
 * out of an integer's range undefined. Here NaN becomes 0; 32 and 64 bits saturate, but a negative
 * number becomes unsigned by way of i64; narrower integers keep the low bits of i32. Integers wrap.
 * To bool everything but 0 is true. float8 saturates, or not, as the attribute `saturate` says;
 * e8m0 rounds as `round_mode` says. Bound by memory between types of C and halves. */
#include "elementwise/cast.h"
#include "elementwise/half.h"
#include "smallfloat.h"

#define BLOCK LT_HALF_BLOCK /* a multiple of what packs into a byte */

typedef struct cast {
    leat_dtype from, to;
    leat_dtype from_c, to_c; /* types of C next to them; the same where they are some */
    lt_cast_fn convert;      /* from_c to to_c */
    bool saturate;
    lt_round round;
    int64_t count;
    const lt_half_kernels *half;
} cast;

typedef struct cast_launch {
    const cast *c;
    const void *x;
    void *y;
} cast_launch;

static leat_dtype c_type(leat_dtype dtype)
{
    switch (dtype) {
    case LEAT_DTYPE_U4:
    case LEAT_DTYPE_I4:
    case LEAT_DTYPE_U2:
    case LEAT_DTYPE_I2:
        return LEAT_DTYPE_I32;
    default:
        return (CPU_NUMBERS | CPU_T(BOOL)) >> dtype & 1 && !lt_is_half(dtype) ? dtype
                                                                              : LEAT_DTYPE_F32;
    }
}

/* n elements from `at` on of a type that C lacks. */
static void load(const cast *c, const void *x, int64_t at, int64_t n, void *block)
{
    unsigned bits = lt_packed_bits(c->from);
    if (lt_is_half(c->from)) {
        c->half->widen(c->from, (const char *)x + 2 * at, block, n);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        switch (c->from) {
        case LEAT_DTYPE_I4:
        case LEAT_DTYPE_I2:
            ((int32_t *)block)[i] = lt_packed_get_signed(x, at + i, bits);
            break;
        case LEAT_DTYPE_U4:
        case LEAT_DTYPE_U2:
            ((int32_t *)block)[i] = (int32_t)lt_packed_get(x, at + i, bits);
            break;
        case LEAT_DTYPE_F4E2M1:
            ((float *)block)[i] = lt_small_to_f32(c->from, (uint8_t)lt_packed_get(x, at + i, 4));
            break;
        default:
            ((float *)block)[i] = lt_small_to_f32(c->from, ((const uint8_t *)x)[at + i]);
            break;
        }
    }
}

/* Stores n elements from `at` on, a multiple of what packs into a byte; bits of the last byte that
 * no element has become 0. */
static void store(const cast *c, const void *block, void *y, int64_t at, int64_t n)
{
    unsigned bits = lt_packed_bits(c->to);
    const float *f = block;
    if (lt_is_half(c->to)) {
        c->half->narrow(c->to, f, (char *)y + 2 * at, n);
        return;
    }
    if (bits != 0) {
        ((uint8_t *)y)[(at + n - 1) / (8 / bits)] = 0;
    }
    for (int64_t i = 0; i < n; i++) {
        if (c->to == LEAT_DTYPE_F4E2M1) {
            lt_packed_set(y, at + i, bits, lt_f32_to_small(c->to, f[i], true));
        } else if (bits != 0) {
            lt_packed_set(y, at + i, bits, ((const uint32_t *)block)[i]);
        } else if (c->to == LEAT_DTYPE_F8E8M0) {
            ((uint8_t *)y)[at + i] = lt_f32_to_e8m0(f[i], c->round, c->saturate);
        } else {
            ((uint8_t *)y)[at + i] = lt_f32_to_small(c->to, f[i], c->saturate);
        }
    }
}

/* Ranges begin at multiples of 64. */
static void cast_range(void *argument, int64_t begin, int64_t end)
{
    const cast_launch *l = argument;
    const cast *c = l->c;
    double in[BLOCK], out[BLOCK]; /* room for any type of C */
    bool direct = c->from == c->from_c && c->to == c->to_c;
    for (int64_t at = begin, n; at < end; at += n) {
        n = end - at < BLOCK || direct ? end - at : BLOCK;
        const void *x = in;
        void *y = out;
        if (c->from != c->from_c) {
            load(c, l->x, at, n, in);
        } else {
            x = (const char *)l->x + (size_t)at * lt_cpu_element_bytes(c->from);
        }
        if (c->to == c->to_c) {
            y = (char *)l->y + (size_t)at * lt_cpu_element_bytes(c->to);
        }
        c->convert(x, y, n);
        if (c->to != c->to_c) {
            store(c, out, l->y, at, n);
        }
    }
}

static leat_status cast_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const cast *c = state;
    cast_launch l = {c, args->inputs[0], args->outputs[0]};
    bool direct = c->from == c->from_c && c->to == c->to_c;
    (void)err;
    /* Units of 64 keep packed elements of one byte in one range. */
    lt_cpu_parallel_range(args, c->count, 64, direct ? 12 : 24, cast_range, &l);
    return LEAT_OK;
}

leat_status lt_cpu_cast_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *out = leat_kernel_output(node, 0);
    if (out == NULL ||
        !((CPU_NUMBERS | CPU_FLOAT8 | CPU_T(F8E8M0) | CPU_T(BOOL) | CPU_PACKED) >> out->dtype &
          1)) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s to %s is not supported", node->node->op,
                           out ? leat_dtype_name(out->dtype) : "nothing");
    }
    return LEAT_OK;
}

leat_status lt_cpu_cast_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    cast *c = host->plan_alloc(plan, sizeof(*c));
    if (c == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "Cast: no memory for the plan");
    }
    if (leat_value_count(x) != leat_value_count(y)) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s node '%s': the output has another shape",
                           node->node->op, node->node->name);
    }
    c->from = x->dtype;
    c->to = y->dtype;
    c->from_c = c_type(c->from);
    c->to_c = c_type(c->to);
    c->convert = lt_cast_find(c->from_c, c->to_c, c->to != c->to_c && c->to_c == LEAT_DTYPE_F32);
    c->count = leat_value_count(x);
    c->half = lt_half_for(device);
    c->saturate = leat_node_int(node->node, "saturate", 1) != 0;
    c->round = leat_node_string_is(node->node, "round_mode", "down")      ? LT_ROUND_DOWN
               : leat_node_string_is(node->node, "round_mode", "nearest") ? LT_ROUND_NEAREST
                                                                          : LT_ROUND_UP;
    if (c->from == c->to) {
        out_kernel->name = "view";
        out_kernel->view_of = 1;
        return LEAT_OK;
    }
    out_kernel->name = "cast";
    out_kernel->launch = cast_run;
    out_kernel->state = c;
    return LEAT_OK;
}

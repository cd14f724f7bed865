/* SPDX-License-Identifier: Apache-2.0 */
/* QuantizeLinear and DequantizeLinear: per tensor, per axis, in blocks. */
#include "quantize/quantize.h"

#include <math.h>

typedef struct linear_state {
    lt_quant_grid grid;
    const lt_quant_kernels *kernels;
    bool quantize;
    bool simple;                  /* f32 <-> u8 or i8, one scale of f32 */
    bool saturate;                /* float8 */
    leat_dtype x, scale, zero, y; /* zero UNDEFINED: there is none */
    leat_dtype precision;         /* of the division: F32, F16 or BF16 */
    float low, high;              /* of integer results */
    bool integer;
    float table[256]; /* values of codes of the quantized type */
    float scale_table[256];
} linear_state;

const lt_quant_kernels *lt_quant_pick(lt_cpu_isa isa)
{
#if defined(__x86_64__)
    return isa == LT_CPU_AVX512 ? &lt_quant_avx512
           : isa == LT_CPU_AVX2 ? &lt_quant_avx2
                                : &lt_quant_portable;
#else
    (void)isa;
    return &lt_quant_portable;
#endif
}

bool lt_quant_limits(leat_dtype dtype, float *out_low, float *out_high)
{
    switch (dtype) {
    case LEAT_DTYPE_U8:
        *out_low = 0.0f, *out_high = 255.0f;
        return true;
    case LEAT_DTYPE_I8:
        *out_low = -128.0f, *out_high = 127.0f;
        return true;
    case LEAT_DTYPE_U16:
        *out_low = 0.0f, *out_high = 65535.0f;
        return true;
    case LEAT_DTYPE_I16:
        *out_low = -32768.0f, *out_high = 32767.0f;
        return true;
    case LEAT_DTYPE_U4:
        *out_low = 0.0f, *out_high = 15.0f;
        return true;
    case LEAT_DTYPE_I4:
        *out_low = -8.0f, *out_high = 7.0f;
        return true;
    case LEAT_DTYPE_U2:
        *out_low = 0.0f, *out_high = 3.0f;
        return true;
    case LEAT_DTYPE_I2:
        *out_low = -2.0f, *out_high = 1.0f;
        return true;
    default:
        return false;
    }
}

/* ---- launch --------------------------------------------------------------------------------- */

/* Scale number of element `at`, and how many elements from there on have the same (*out_step 0) or
 * the following ones (1). */
static int64_t locate(const lt_quant_grid *g, int64_t at, int64_t *out_step, int64_t *out_run)
{
    int64_t inner = at % g->inner, a = at / g->inner % g->dim, outer = at / g->inner / g->dim;
    if (g->scales == 1 && g->block == 0) {
        *out_step = 0;
        *out_run = g->count - at;
        return 0;
    }
    if (g->block == 0) {
        *out_step = g->inner == 1;
        *out_run = g->inner == 1 ? g->dim - a : g->inner - inner;
        return a;
    }
    *out_step = g->inner != 1;
    int64_t left = g->block - a % g->block, rest = g->dim - a;
    *out_run = g->inner != 1 ? g->inner - inner : left < rest ? left : rest;
    return (outer * g->scales + a / g->block) * g->inner + inner;
}

/* One value per element of [at, at + n) from a list of scales or zero points. */
static void spread(const linear_state *s, float *out, const void *list, leat_dtype dtype,
                   const float *table, int64_t at, int64_t n)
{
    for (int64_t i = 0, step, run; i < n; i += run) {
        int64_t from = locate(&s->grid, at + i, &step, &run);
        run = run < n - i ? run : n - i;
        s->kernels->widen(out + i, list, dtype, from, step ? run : 1, table);
        for (int64_t k = 1; step == 0 && k < run; k++) {
            out[i + k] = out[i];
        }
    }
}

static void round_to(leat_dtype precision, float *x, int64_t n)
{
    if (precision == LEAT_DTYPE_F16) {
        for (int64_t i = 0; i < n; i++) {
            x[i] = lt_f16_to_f32(lt_f32_to_f16(x[i]));
        }
    } else if (precision == LEAT_DTYPE_BF16) {
        for (int64_t i = 0; i < n; i++) {
            x[i] = lt_bf16_to_f32(lt_f32_to_bf16(x[i]));
        }
    }
}

typedef struct linear_job {
    const linear_state *state;
    const void *in, *scale, *zero;
    void *out;
} linear_job;

/* Quotients of 32-bit integers: in f64, as they do not fit f32. */
static void divide_i32(const linear_state *s, float *x, const int32_t *in, const float *scale,
                       int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double q = (double)in[i] / (double)scale[i];
        x[i] = (float)(s->integer ? nearbyint(q) : q);
    }
}

static void quantize_piece(const linear_job *job, int64_t at, int64_t n)
{
    const linear_state *s = job->state;
    float x[LT_QUANT_PIECE], scale[LT_QUANT_PIECE], zero[LT_QUANT_PIECE] = {0};
    spread(s, scale, job->scale, s->scale, s->scale_table, at, n);
    if (job->zero != NULL && (s->integer || s->y == LEAT_DTYPE_F4E2M1)) {
        spread(s, zero, job->zero, s->zero, s->table, at, n);
    }
    if (s->x == LEAT_DTYPE_I32 && s->precision == LEAT_DTYPE_F32) {
        divide_i32(s, x, (const int32_t *)job->in + at, scale, n);
    } else {
        s->kernels->widen(x, job->in, s->x, at, n, s->table);
        round_to(s->precision, x, n);
        round_to(s->precision, scale, n);
        s->kernels->divide(x, scale, n);
        round_to(s->precision, x, n);
    }
    if (s->integer) {
        s->kernels->finish(x, zero, n, s->low, s->high);
    } else {
        for (int64_t i = 0; i < n; i++) {
            x[i] += zero[i];
        }
    }
    s->kernels->narrow(job->out, s->y, at, n, x, s->saturate);
}

static void dequantize_piece(const linear_job *job, int64_t at, int64_t n)
{
    const linear_state *s = job->state;
    float x[LT_QUANT_PIECE], scale[LT_QUANT_PIECE], zero[LT_QUANT_PIECE] = {0};
    spread(s, scale, job->scale, s->scale, s->scale_table, at, n);
    if (job->zero != NULL && s->x != LEAT_DTYPE_I32) {
        spread(s, zero, job->zero, s->zero, s->table, at, n);
    }
    s->kernels->widen(x, job->in, s->x, at, n, s->table);
    s->kernels->multiply(x, zero, scale, n);
    s->kernels->narrow(job->out, s->y, at, n, x, false);
}

static void run_pieces(void *argument, int64_t begin, int64_t end)
{
    const linear_job *job = argument;
    for (int64_t at = begin; at < end; at += LT_QUANT_PIECE) {
        int64_t n = end - at < LT_QUANT_PIECE ? end - at : LT_QUANT_PIECE;
        if (job->state->quantize) {
            quantize_piece(job, at, n);
        } else {
            dequantize_piece(job, at, n);
        }
    }
}

/* One scale, f32 on one side and bytes on the other: no buffers in between. */
static void run_simple(void *argument, int64_t begin, int64_t end)
{
    const linear_job *job = argument;
    const linear_state *s = job->state;
    const lt_quant_kernels *k = s->kernels;
    float scale = *(const float *)job->scale;
    bool is_signed = (s->quantize ? s->y : s->x) == LEAT_DTYPE_I8;
    int32_t zero = 0;
    if (job->zero != NULL) {
        zero = is_signed ? *(const int8_t *)job->zero : *(const uint8_t *)job->zero;
    }
    int64_t n = end - begin;
    if (s->quantize && is_signed) {
        k->to_i8((int8_t *)job->out + begin, (const float *)job->in + begin, n, scale, zero);
    } else if (s->quantize) {
        k->to_u8((uint8_t *)job->out + begin, (const float *)job->in + begin, n, scale, zero);
    } else if (is_signed) {
        k->from_i8((float *)job->out + begin, (const int8_t *)job->in + begin, n, scale, zero);
    } else {
        k->from_u8((float *)job->out + begin, (const uint8_t *)job->in + begin, n, scale, zero);
    }
}

static leat_status launch_linear(const void *opaque, const leat_kernel_args *args, leat_error *err)
{
    (void)err;
    const linear_state *s = opaque;
    linear_job job = {s, args->inputs[0], args->inputs[1],
                      s->zero != LEAT_DTYPE_UNDEFINED ? args->inputs[2] : NULL, args->outputs[0]};
    lt_cpu_parallel_range(args, s->grid.count, LT_QUANT_PIECE, s->simple ? 5.0 : 10.0,
                          s->simple ? run_simple : run_pieces, &job);
    return LEAT_OK;
}

/* ---- prepare -------------------------------------------------------------------------------- */

static leat_status refuse(const leat_kernel_node *node, const char *why, leat_error *err)
{
    return lt_cpu_fail(err, LEAT_INVALID, "%s node '%s': %s", node->node->op, node->node->name,
                       why);
}

/* Scales in blocks along the axis: same rank, fewer elements along it. */
static leat_status read_blocks(const leat_kernel_node *node, lt_quant_grid *g, int32_t axis,
                               int64_t block, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *scale = leat_kernel_input(node, 1);
    bool fits = scale->rank == x->rank;
    for (int32_t i = 0; fits && i < x->rank; i++) {
        fits = i == axis || scale->shape[i] == x->shape[i];
    }
    if (!fits || block <= 0 || scale->shape[axis] != (x->shape[axis] - 1) / block + 1) {
        return refuse(
            node, "its scale must have x's shape, with ceil(dim / block_size) on the axis", err);
    }
    g->block = block;
    g->scales = scale->shape[axis];
    return LEAT_OK;
}

static leat_status read_grid(const leat_kernel_node *node, lt_quant_grid *g, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *scale = leat_kernel_input(node, 1);
    const leat_value *zero = leat_kernel_input(node, 2);
    int64_t axis = leat_node_int(node->node, "axis", 1);
    int64_t block = leat_node_int(node->node, "block_size", 0);
    *g = (lt_quant_grid){leat_value_count(x), 1, 1, 1, 0};
    if (zero != NULL && leat_value_count(zero) != leat_value_count(scale)) {
        return refuse(node, "scale and zero point must have the same shape", err);
    }
    if (leat_value_count(scale) == 1 && scale->rank <= 1 && block == 0) {
        return LEAT_OK;
    }
    axis += axis < 0 ? x->rank : 0;
    if (axis < 0 || axis >= x->rank) {
        return refuse(node, "axis is out of range", err);
    }
    g->dim = x->shape[axis];
    for (int32_t i = (int32_t)axis + 1; i < x->rank; i++) {
        g->inner *= x->shape[i];
    }
    if (g->count == 0) {
        return LEAT_OK;
    }
    if (scale->rank > 1 || block != 0) {
        return read_blocks(node, g, (int32_t)axis, block, err);
    }
    g->scales = leat_value_count(scale);
    return g->scales == g->dim ? LEAT_OK
                               : refuse(node,
                                        "its scale must have one element, or one for each "
                                        "of the axis",
                                        err);
}

static void fill_table(leat_dtype dtype, float *table)
{
    unsigned bits = lt_packed_bits(dtype);
    for (unsigned code = 0; code < 256; code++) {
        unsigned cut = bits ? code & ((1u << bits) - 1) : code;
        unsigned sign = bits ? 1u << (bits - 1) : 0;
        if (dtype == LEAT_DTYPE_U4 || dtype == LEAT_DTYPE_U2) {
            table[code] = (float)cut;
        } else if (dtype == LEAT_DTYPE_I4 || dtype == LEAT_DTYPE_I2) {
            table[code] = (float)((int)(cut ^ sign) - (int)sign);
        } else {
            table[code] = lt_small_to_f32(dtype, (uint8_t)cut);
        }
    }
}

static leat_status prepare_linear(const leat_kernel_node *node, bool quantize, void *device,
                                  const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                  leat_error *err)
{
    const lt_cpu_device *cpu = device;
    const leat_value *x = leat_kernel_input(node, 0), *scale = leat_kernel_input(node, 1);
    const leat_value *zero = leat_kernel_input(node, 2), *y = leat_kernel_output(node, 0);
    linear_state *s = host->plan_alloc(plan, sizeof(*s));
    if (s == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s node '%s': no memory for its plan",
                           node->node->op, node->node->name);
    }
    leat_status status = read_grid(node, &s->grid, err);
    if (status != LEAT_OK) {
        return status;
    }
    leat_dtype code = quantize ? y->dtype : x->dtype;
    if (leat_value_count(y) != s->grid.count || (zero != NULL && zero->dtype != code)) {
        return refuse(node, "zero point and quantized data must have the same type", err);
    }
    s->kernels = lt_quant_pick(cpu->isa);
    s->quantize = quantize;
    s->x = x->dtype;
    s->scale = scale->dtype;
    s->zero = zero ? zero->dtype : LEAT_DTYPE_UNDEFINED;
    s->y = y->dtype;
    s->saturate = leat_node_int(node->node, "saturate", 1) != 0;
    s->integer = lt_quant_limits(code, &s->low, &s->high);
    int64_t precision = leat_node_int(node->node, "precision", 0);
    bool alike =
        x->dtype == scale->dtype && (x->dtype == LEAT_DTYPE_F16 || x->dtype == LEAT_DTYPE_BF16);
    s->precision = precision ? (leat_dtype)precision : alike ? x->dtype : LEAT_DTYPE_F32;
    fill_table(code, s->table);
    fill_table(scale->dtype, s->scale_table);
    bool bytes = code == LEAT_DTYPE_U8 || code == LEAT_DTYPE_I8;
    bool f32 = (quantize ? x->dtype : y->dtype) == LEAT_DTYPE_F32 && scale->dtype == LEAT_DTYPE_F32;
    s->simple =
        bytes && f32 && s->grid.scales == 1 && s->grid.block == 0 && s->precision == LEAT_DTYPE_F32;
    out_kernel->name = quantize ? "quantize_linear" : "dequantize_linear";
    out_kernel->launch = launch_linear;
    out_kernel->state = s;
    return LEAT_OK;
}

leat_status lt_cpu_quantize_prepare(const leat_kernel_node *node, void *device,
                                    const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                    leat_error *err)
{
    return prepare_linear(node, true, device, host, plan, out_kernel, err);
}

leat_status lt_cpu_dequantize_prepare(const leat_kernel_node *node, void *device,
                                      const leat_host *host, leat_plan *plan,
                                      leat_kernel *out_kernel, leat_error *err)
{
    return prepare_linear(node, false, device, host, plan, out_kernel, err);
}

/* ---- supports ------------------------------------------------------------------------------- */

#define SCALES (CPU_T(F32) | CPU_T(F16) | CPU_T(BF16) | CPU_T(F8E8M0))
#define CODES (CPU_T(U8) | CPU_T(I8) | CPU_T(U16) | CPU_T(I16) | CPU_FLOAT8 | CPU_PACKED)

static leat_status unsupported(const leat_kernel_node *node, const char *what, leat_dtype dtype,
                               leat_error *err)
{
    return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s node '%s': %s of type %s", node->node->op,
                       node->node->name, what, leat_dtype_name(dtype));
}

leat_status lt_cpu_quantize_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *scale = leat_kernel_input(node, 1);
    const leat_value *y = leat_kernel_output(node, 0);
    int64_t precision = leat_node_int(node->node, "precision", 0);
    if (x == NULL || scale == NULL || y == NULL || !((SCALES | CPU_T(I32)) >> scale->dtype & 1)) {
        return unsupported(node, "a scale", scale ? scale->dtype : LEAT_DTYPE_UNDEFINED, err);
    }
    if (!(CODES >> y->dtype & 1)) {
        return unsupported(node, "an output", y->dtype, err);
    }
    if (precision != 0 && precision != LEAT_DTYPE_F32 && precision != LEAT_DTYPE_F16 &&
        precision != LEAT_DTYPE_BF16) {
        return unsupported(node, "a precision",
                           precision > 0 && precision < LEAT_DTYPE_COUNT ? (leat_dtype)precision
                                                                         : LEAT_DTYPE_UNDEFINED,
                           err);
    }
    return LEAT_OK;
}

leat_status lt_cpu_dequantize_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *scale = leat_kernel_input(node, 1);
    const leat_value *y = leat_kernel_output(node, 0);
    if (x == NULL || scale == NULL || y == NULL || !(SCALES >> scale->dtype & 1)) {
        return unsupported(node, "a scale", scale ? scale->dtype : LEAT_DTYPE_UNDEFINED, err);
    }
    if (y->dtype != LEAT_DTYPE_F32 && y->dtype != LEAT_DTYPE_F16 && y->dtype != LEAT_DTYPE_BF16) {
        return unsupported(node, "an output", y->dtype, err);
    }
    return LEAT_OK;
}

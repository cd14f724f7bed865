/* SPDX-License-Identifier: Apache-2.0 */
/* Unary operators: f32 by the vectorised kernels, f16 and bf16 through them block by block, f64 and
 * integers by plain loops. */
#include "elementwise/unary.h"

#include "elementwise/half.h"
#include "smallfloat.h"

#include <math.h>

typedef struct unary {
    lt_unary_op op;
    leat_dtype dtype;
    float alpha, beta;
    int64_t count;
    lt_unary_f32_fn f32;
    const lt_half_kernels *half;
} unary;

static const struct {
    const char *name;
    lt_unary_op op;
    float alpha, beta;
} table[] = {
#define X(name, alpha, beta) {#name, LT_UNARY_##name, alpha, beta},
    LT_UNARY_OPS(X)
#undef X
};

static double f64(lt_unary_op op, double v, double alpha, double beta)
{
    switch (op) {
    case LT_UNARY_Abs:
        return fabs(v);
    case LT_UNARY_Acos:
        return acos(v);
    case LT_UNARY_Acosh:
        return acosh(v);
    case LT_UNARY_Asin:
        return asin(v);
    case LT_UNARY_Asinh:
        return asinh(v);
    case LT_UNARY_Atan:
        return atan(v);
    case LT_UNARY_Atanh:
        return atanh(v);
    case LT_UNARY_Ceil:
        return ceil(v);
    case LT_UNARY_Celu:
        return v > 0 ? v : alpha * expm1(v / alpha);
    case LT_UNARY_Cos:
        return cos(v);
    case LT_UNARY_Cosh:
        return cosh(v);
    case LT_UNARY_Elu:
        return v > 0 ? v : alpha * expm1(v);
    case LT_UNARY_Erf:
        return erf(v);
    case LT_UNARY_Exp:
        return exp(v);
    case LT_UNARY_Floor:
        return floor(v);
    case LT_UNARY_Gelu:
        return 0.5 * v * (1 + erf(v * M_SQRT1_2));
    case LT_UNARY_GeluTanh:
        return 0.5 * v * (1 + tanh(sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
    case LT_UNARY_HardSigmoid:
        return fmax(0, fmin(1, alpha * v + beta));
    case LT_UNARY_HardSwish:
        return v * fmax(0, fmin(1, v / 6 + 0.5));
    case LT_UNARY_LeakyRelu:
        return v < 0 ? alpha * v : v;
    case LT_UNARY_Log:
        return log(v);
    case LT_UNARY_Mish:
        return v * tanh(log1p(exp(v)));
    case LT_UNARY_Neg:
        return -v;
    case LT_UNARY_Reciprocal:
        return 1 / v;
    case LT_UNARY_Relu:
        return v < 0 ? 0 : v;
    case LT_UNARY_Round:
        return rint(v);
    case LT_UNARY_Selu:
        return beta * (v > 0 ? v : alpha * expm1(v));
    case LT_UNARY_Sigmoid:
        return 1 / (1 + exp(-v));
    case LT_UNARY_Sign:
        return v > 0 ? 1 : v < 0 ? -1 : v;
    case LT_UNARY_Sin:
        return sin(v);
    case LT_UNARY_Sinh:
        return sinh(v);
    case LT_UNARY_Softplus:
        return v > 0 ? v + log1p(exp(-v)) : log1p(exp(v));
    case LT_UNARY_Softsign:
        return v / (1 + fabs(v));
    case LT_UNARY_Sqrt:
        return sqrt(v);
    case LT_UNARY_Swish:
        return v / (1 + exp(-alpha * v));
    case LT_UNARY_Tan:
        return tan(v);
    case LT_UNARY_Tanh:
        return tanh(v);
    case LT_UNARY_ThresholdedRelu:
        return v > alpha ? v : 0;
    }
    return v;
}

/* Integers: the functions that keep them. Unsigned arithmetic so that -INT_MIN wraps. */
#define EACH(T, expression)                                                                        \
    _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++)                                           \
    {                                                                                              \
        const T v = x[i];                                                                          \
        y[i] = (T)(expression);                                                                    \
    }                                                                                              \
    break

#define DEFINE_INT(T, U)                                                                           \
    static void run_##T(lt_unary_op op, const T *x, T *y, int64_t n)                               \
    {                                                                                              \
        switch (op) {                                                                              \
        case LT_UNARY_Abs:                                                                         \
            EACH(T, v < 0 ? 0 - (U)v : (U)v);                                                      \
        case LT_UNARY_Neg:                                                                         \
            EACH(T, 0 - (U)v);                                                                     \
        case LT_UNARY_Relu:                                                                        \
            EACH(T, v < 0 ? 0 : v);                                                                \
        case LT_UNARY_Sign:                                                                        \
            EACH(T, (v > 0) - (v < 0));                                                            \
        default:                                                                                   \
            break;                                                                                 \
        }                                                                                          \
    }
DEFINE_INT(int8_t, uint8_t)
DEFINE_INT(int16_t, uint16_t)
DEFINE_INT(int32_t, uint32_t)
DEFINE_INT(int64_t, uint64_t)

/* Abs and Sign: the only ones for unsigned integers. */
static void run_unsigned(lt_unary_op op, leat_dtype dtype, const char *x, char *y, int64_t n)
{
    size_t element = lt_cpu_element_bytes(dtype);
    for (int64_t i = 0; i < n; i++) {
        uint64_t v = 0;
        memcpy(&v, x + (size_t)i * element, element);
        v = op == LT_UNARY_Sign ? v != 0 : v;
        memcpy(y + (size_t)i * element, &v, element);
    }
}

typedef struct unary_launch {
    const unary *u;
    const char *x;
    char *y;
} unary_launch;

/* f16 and bf16: blocks through f32. */
static void run_half(const unary *u, const char *x, char *y, int64_t n)
{
    float block[LT_HALF_BLOCK];
    for (int64_t i = 0; i < n; i += LT_HALF_BLOCK) {
        int64_t part = n - i < LT_HALF_BLOCK ? n - i : LT_HALF_BLOCK;
        u->half->widen(u->dtype, x + i * 2, block, part);
        u->f32(u->op, block, block, part, u->alpha, u->beta);
        u->half->narrow(u->dtype, block, y + i * 2, part);
    }
}

static void run_range(void *argument, int64_t begin, int64_t end)
{
    const unary_launch *l = argument;
    const unary *u = l->u;
    size_t offset = (size_t)begin * lt_cpu_element_bytes(u->dtype);
    const void *x = l->x + offset;
    void *y = l->y + offset;
    int64_t n = end - begin;
    switch (u->dtype) {
    case LEAT_DTYPE_F32:
        u->f32(u->op, x, y, n, u->alpha, u->beta);
        break;
    case LEAT_DTYPE_F64:
        for (int64_t i = 0; i < n; i++) {
            ((double *)y)[i] =
                f64(u->op, ((const double *)x)[i], (double)u->alpha, (double)u->beta);
        }
        break;
    case LEAT_DTYPE_F16:
    case LEAT_DTYPE_BF16:
        run_half(u, x, y, n);
        break;
    case LEAT_DTYPE_I8:
        run_int8_t(u->op, x, y, n);
        break;
    case LEAT_DTYPE_I16:
        run_int16_t(u->op, x, y, n);
        break;
    case LEAT_DTYPE_I32:
        run_int32_t(u->op, x, y, n);
        break;
    case LEAT_DTYPE_I64:
        run_int64_t(u->op, x, y, n);
        break;
    default:
        run_unsigned(u->op, u->dtype, x, y, n);
        break;
    }
}

static leat_status unary_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const unary *u = state;
    unary_launch l = {u, args->inputs[0], args->outputs[0]};
    (void)err;
    lt_cpu_parallel_range(args, u->count, 64, 8 * (double)lt_cpu_element_bytes(u->dtype), run_range,
                          &l);
    return LEAT_OK;
}

/* Output 0 has the input's count and the type wanted. */
static leat_status same_as_input(const leat_kernel_node *node, leat_dtype wanted, leat_error *err)
{
    const leat_value *in = leat_kernel_input(node, 0), *out = leat_kernel_output(node, 0);
    if (out->dtype != wanted || leat_value_count(out) != leat_value_count(in)) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s node '%s': the output has another type or shape",
                           node->node->op, node->node->name);
    }
    return LEAT_OK;
}

leat_status lt_cpu_unary_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                 leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const lt_cpu_device *cpu = device;
    unary *u = host->plan_alloc(plan, sizeof(*u));
    const char *op = node->node->op;
    if (u == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for the plan", op);
    }
    if (strcmp(op, "Gelu") == 0 && leat_node_string_is(node->node, "approximate", "tanh")) {
        op = "GeluTanh";
    }
    size_t i = 0;
    while (i < sizeof(table) / sizeof(table[0]) && strcmp(table[i].name, op) != 0) {
        i++;
    }
    if (i == sizeof(table) / sizeof(table[0])) {
        return lt_cpu_fail(err, LEAT_INTERNAL, "%s is not a unary operator", op);
    }
    u->op = table[i].op;
    u->alpha = leat_node_float(node->node, "alpha", table[i].alpha);
    u->beta = leat_node_float(node->node, u->op == LT_UNARY_Selu ? "gamma" : "beta", table[i].beta);
    u->dtype = leat_kernel_input(node, 0)->dtype;
    u->count = leat_value_count(leat_kernel_input(node, 0));
    u->half = lt_half_for(cpu);
    u->f32 = lt_cpu_unary_f32_portable;
    out_kernel->name = "unary_portable";
#if defined(__x86_64__)
    if (cpu->isa == LT_CPU_AVX512) {
        u->f32 = lt_cpu_unary_f32_avx512;
        out_kernel->name = "unary_avx512";
    } else if (cpu->isa == LT_CPU_AVX2) {
        u->f32 = lt_cpu_unary_f32_avx2;
        out_kernel->name = "unary_avx2";
    }
#endif
    (void)cpu;
    out_kernel->launch = unary_run;
    out_kernel->state = u;
    out_kernel->inplace_mask = 1;
    return same_as_input(node, u->dtype, err);
}

/* --- Identity, Dropout, Not, IsNaN, IsInf, BitwiseNot -------------------------------------------
 */

leat_status lt_cpu_identity_prepare(const leat_kernel_node *node, void *device,
                                    const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                    leat_error *err)
{
    (void)device;
    (void)host;
    (void)plan;
    out_kernel->name = "view";
    out_kernel->view_of = 1;
    return same_as_input(node, leat_kernel_input(node, 0)->dtype, err);
}

typedef struct test_state {
    char kind; /* 'n' Not, 'a' IsNaN, 'i' IsInf, 'b' BitwiseNot */
    leat_dtype dtype;
    bool positive, negative;
    int64_t count;
} test_state;

static double any_float(leat_dtype dtype, const void *x, int64_t i)
{
    if (CPU_FLOAT8 >> dtype & 1) {
        return (double)lt_small_to_f32(dtype, ((const uint8_t *)x)[i]);
    }
    return dtype == LEAT_DTYPE_F64 ? ((const double *)x)[i]
                                   : (double)lt_cpu_get_f32(dtype, x, (size_t)i);
}

typedef struct test_launch {
    const test_state *t;
    const uint8_t *x;
    uint8_t *y;
} test_launch;

/* Ranges are elements; bytes for BitwiseNot. */
static void test_range(void *argument, int64_t begin, int64_t end)
{
    const test_launch *l = argument;
    const test_state *t = l->t;
    const uint8_t *x = l->x;
    uint8_t *y = l->y;
    if (t->kind == 'n') {
        for (int64_t i = begin; i < end; i++) {
            y[i] = !x[i];
        }
    } else if (t->kind == 'b') {
        for (int64_t i = begin; i < end; i++) {
            y[i] = (uint8_t)~x[i];
        }
    } else {
        for (int64_t i = begin; i < end; i++) {
            double v = any_float(t->dtype, x, i);
            y[i] = t->kind == 'a' ? isnan(v) : isinf(v) && (v > 0 ? t->positive : t->negative);
        }
    }
}

static leat_status test_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const test_state *t = state;
    test_launch l = {t, args->inputs[0], args->outputs[0]};
    int64_t bytes = t->kind == 'b' ? (int64_t)lt_cpu_element_bytes(t->dtype) : 1;
    (void)err;
    lt_cpu_parallel_range(args, t->count * bytes, 64, 4, test_range, &l);
    return LEAT_OK;
}

leat_status lt_cpu_test_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    test_state *t = host->plan_alloc(plan, sizeof(*t));
    const char *op = node->node->op;
    (void)device;
    if (t == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for the plan", op);
    }
    t->kind = op[0] == 'N' ? 'n' : op[0] == 'B' ? 'b' : op[2] == 'N' ? 'a' : 'i';
    t->dtype = leat_kernel_input(node, 0)->dtype;
    t->count = leat_value_count(leat_kernel_input(node, 0));
    t->positive = leat_node_int(node->node, "detect_positive", 1) != 0;
    t->negative = leat_node_int(node->node, "detect_negative", 1) != 0;
    out_kernel->name = "test_portable";
    out_kernel->launch = test_run;
    out_kernel->state = t;
    return same_as_input(node, t->kind == 'b' ? t->dtype : LEAT_DTYPE_BOOL, err);
}

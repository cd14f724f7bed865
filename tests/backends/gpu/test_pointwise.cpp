/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu_test.hpp"
#include "pointwise.hpp"

#include <vector>

static double gelu(double x)
{
    return 0.5 * x * (1 + erf(x / sqrt(2)));
}

static double softplus(double x)
{
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

static double hard_sigmoid(double x, double a, double b)
{
    return fmin(fmax(a * x + b, 0), 1);
}

static double truth(int f, double a, double b, double x)
{
    if (isnan(x)) {
        return NAN;
    }
    switch (f) {
    case LT_GPU_RELU:
        return fmax(x, 0);
    case LT_GPU_CLIP:
        return fmin(fmax(x, a), b);
    case LT_GPU_SIGMOID:
        return 1 / (1 + exp(-x));
    case LT_GPU_TANH:
        return tanh(x);
    case LT_GPU_LEAKY_RELU:
        return x < 0 ? a * x : x;
    case LT_GPU_HARD_SIGMOID:
        return hard_sigmoid(x, a, b);
    case LT_GPU_HARD_SWISH:
        return x * hard_sigmoid(x, 1.0 / 6, 0.5);
    case LT_GPU_GELU:
        return gelu(x);
    case LT_GPU_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case LT_GPU_SWISH:
        return x / (1 + exp(-a * x));
    case LT_GPU_SCALED_HARD_SWISH:
        return a * x * hard_sigmoid(x, 1.0 / 6, 0.5) + b;
    case LT_GPU_ABS:
        return fabs(x);
    case LT_GPU_NEG:
        return -x;
    case LT_GPU_EXP:
        return exp(x);
    case LT_GPU_LOG:
        return log(x);
    case LT_GPU_SQRT:
        return sqrt(x);
    case LT_GPU_RECIPROCAL:
        return 1 / x;
    case LT_GPU_FLOOR:
        return floor(x);
    case LT_GPU_CEIL:
        return ceil(x);
    case LT_GPU_ROUND:
        return rint(x);
    case LT_GPU_SIGN:
        return (x > 0) - (x < 0);
    case LT_GPU_ERF:
        return erf(x);
    case LT_GPU_SIN:
        return sin(x);
    case LT_GPU_COS:
        return cos(x);
    case LT_GPU_SOFTPLUS:
        return softplus(x);
    case LT_GPU_SOFTSIGN:
        return x / (1 + fabs(x));
    case LT_GPU_ELU:
        return x < 0 ? a * expm1(x) : x;
    case LT_GPU_SELU:
        return b * (x < 0 ? a * expm1(x) : x);
    case LT_GPU_MISH:
        return x * tanh(softplus(x));
    case LT_GPU_AFFINE:
        return a * x + b;
    default:
        return x;
    }
}

/* Every function, at an odd count, aligned and not. */
template <class T> static void check_unary(void (*kernel)(const lt_gpu_unary &))
{
    for (size_t shift = 0; shift < 2; shift++) {
        const size_t n = 1037;
        buffer<T> x(n, shift), y(n, shift);
        fill(x, 5 + shift, -6, 6);
        x[0] = stored<T>(NAN);
        x[7] = stored<T>(0);
        x[n - 1] = stored<T>(80);
        x[n - 2] = stored<T>(-80);
        for (int f = 0; f < LT_GPU_N_FUNCTIONS; f++) {
            const float a = f == LT_GPU_CLIP ? -0.5f : 0.75f, b = f == LT_GPU_CLIP ? 2.5f : 0.25f;
            std::vector<double> expected(n);
            for (size_t i = 0; i < n; i++) {
                expected[i] = truth(f, a, b, value(x[i]));
                if (sizeof(T) == 2 && fabs(expected[i]) > 60000) {
                    expected[i] = value(stored<T>(expected[i]));
                }
            }
            const lt_gpu_unary p = {x.data, y.data, (int64_t)n, {f, a, b}};
            /* exp's argument of 80 has an error of its own. */
            tolerance t = within<T>(8, 4);
            check_kernel(kernel, p, f % 3 + 1, y, expected.data(), t);
        }
    }
}

static void unary_functions_are_those_of_double(void **)
{
    check_unary<float>(lt_gpu_unary_f32);
    check_unary<gpu::f16>(lt_gpu_unary_f16);
    check_unary<gpu::bf16>(lt_gpu_unary_bf16);
}

/* Shapes of the broadcast tests: y, strides of a and b. The second moves by packs. */
struct shape {
    int rank;
    int size[4];
    int64_t a[4], b[4];
};
static const shape shapes[] = {
    {1, {1031}, {1}, {1}},
    {1, {1024}, {1}, {0}},
    {0, {0}, {0}, {0}},
    {2, {37, 16}, {16, 1}, {0, 1}},
    {3, {5, 7, 11}, {77, 11, 1}, {7, 1, 0}},
    {4, {2, 3, 5, 48}, {720, 240, 48, 1}, {0, 48, 0, 1}},
    {3, {3, 32, 32}, {0, 1, 32}, {32, 0, 0}},
};

static int64_t elements(const shape &s)
{
    int64_t n = 1;
    for (int d = 0; d < s.rank; d++) {
        n *= s.size[d];
    }
    return n;
}

static int64_t at(const shape &s, const int64_t *stride, int64_t i)
{
    int64_t offset = 0;
    for (int d = s.rank - 1; d >= 0; d--) {
        offset += i % s.size[d] * stride[d];
        i /= s.size[d];
    }
    return offset;
}

static int64_t reach(const shape &s, const int64_t *stride)
{
    int64_t n = 1;
    for (int d = 0; d < s.rank; d++) {
        n += (s.size[d] - 1) * stride[d];
    }
    return n;
}

static double float_mod(double a, double b)
{
    double r = fmod(a, b);
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

static double binary_truth(int op, double a, double b, bool integer)
{
    switch (op) {
    case LT_GPU_ADD:
        return a + b;
    case LT_GPU_SUB:
        return a - b;
    case LT_GPU_MUL:
        return a * b;
    case LT_GPU_DIV:
        return integer ? b == 0 ? 0 : trunc(a / b) : a / b;
    case LT_GPU_MIN:
        return fmin(a, b);
    case LT_GPU_MAX:
        return fmax(a, b);
    case LT_GPU_POW: {
        double r = pow(a, b);
        return integer && !(fabs(r) >= 1) ? 0 : integer && isinf(r) ? 0 : r;
    }
    case LT_GPU_PRELU:
        return a < 0 ? a * b : a;
    case LT_GPU_MOD:
        return integer && b == 0 ? 0 : float_mod(a, b);
    case LT_GPU_FMOD:
        return integer && b == 0 ? 0 : fmod(a, b);
    case LT_GPU_AND:
        return (double)((int64_t)a & (int64_t)b);
    case LT_GPU_OR:
        return (double)((int64_t)a | (int64_t)b);
    case LT_GPU_XOR:
        return (double)((int64_t)a ^ (int64_t)b);
    case LT_GPU_EQUAL:
        return a == b;
    case LT_GPU_LESS:
        return a < b;
    case LT_GPU_LESS_EQUAL:
        return a <= b;
    case LT_GPU_GREATER:
        return a > b;
    default:
        return a >= b;
    }
}

template <class T>
static void check_binary(void (*kernel)(const lt_gpu_binary &),
                         void (*comparing)(const lt_gpu_binary &), double low, double high)
{
    const bool integer = rounding<T>() == 0;
    for (const shape &s : shapes) {
        const size_t n = (size_t)elements(s);
        buffer<T> a((size_t)reach(s, s.a)), b((size_t)reach(s, s.b)), y(n);
        buffer<uint8_t> truths(n);
        fill(a, 11, low, high);
        fill(b, 12, low, high);
        lt_gpu_binary p = {};
        p.a = a.data;
        p.b = b.data;
        p.count = (int64_t)n;
        p.index = make_index(s.rank, s.size);
        memcpy(p.a_stride, s.a, sizeof s.a);
        memcpy(p.b_stride, s.b, sizeof s.b);
        for (int op = 0; op <= LT_GPU_GREATER_EQUAL; op++) {
            if (!integer && op >= LT_GPU_AND && op <= LT_GPU_XOR) {
                continue;
            }
            p.op = op;
            std::vector<double> expected(n);
            for (size_t i = 0; i < n; i++) {
                double u = value(a[(size_t)at(s, s.a, (int64_t)i)]);
                double v = value(b[(size_t)at(s, s.b, (int64_t)i)]);
                expected[i] = binary_truth(op, u, v, integer);
                if (integer && sizeof(T) == 1 && op <= LT_GPU_XOR) {
                    expected[i] = (uint8_t)(int64_t)expected[i];
                }
            }
            if (op >= LT_GPU_EQUAL) {
                p.y = truths.data;
                check_kernel(comparing, p, 2, truths, expected.data(), {0, 0});
            } else {
                p.y = y.data;
                tolerance t = integer ? tolerance{0, 0} : within<T>(8, 1);
                check_kernel(kernel, p, 2, y, expected.data(), t);
            }
        }
    }
}

static void binary_operators_broadcast(void **)
{
    check_binary<float>(lt_gpu_binary_f32, lt_gpu_compare_f32, 0.1, 3);
    check_binary<gpu::f16>(lt_gpu_binary_f16, lt_gpu_compare_f16, 0.1, 3);
    check_binary<gpu::bf16>(lt_gpu_binary_bf16, lt_gpu_compare_bf16, 0.1, 3);
    check_binary<int32_t>(lt_gpu_binary_i32, lt_gpu_compare_i32, -7, 7);
    check_binary<int64_t>(lt_gpu_binary_i64, lt_gpu_compare_i64, -7, 7);
    check_binary<uint8_t>(lt_gpu_binary_u8, lt_gpu_compare_u8, 0, 5);
}

static void integers_divide_without_traps(void **)
{
    buffer<int32_t> a(2), b(2), y(2);
    a[0] = a[1] = INT32_MIN;
    b[0] = -1;
    b[1] = 0;
    const int size[] = {2};
    lt_gpu_binary p = {a.data, b.data, y.data, 2, make_index(1, size), {1}, {1}, LT_GPU_DIV, {}};
    const double quotients[] = {INT32_MIN, 0}, remainders[] = {0, 0};
    check_kernel(lt_gpu_binary_i32, p, 1, y, quotients, {0, 0});
    p.op = LT_GPU_MOD;
    check_kernel(lt_gpu_binary_i32, p, 1, y, remainders, {0, 0});
}

static void binary_applies_its_activation(void **)
{
    buffer<gpu::f16> a(77), b(77), y(77);
    fill(a, 1);
    fill(b, 2);
    const int size[] = {77};
    const lt_gpu_binary p = {
        a.data, b.data, y.data, 77, make_index(1, size), {1}, {1}, LT_GPU_ADD, {LT_GPU_RELU, 0, 0}};
    double expected[77];
    for (size_t i = 0; i < 77; i++) {
        expected[i] = fmax(0, value(a[i]) + value(b[i]));
    }
    check_kernel(lt_gpu_binary_f16, p, 1, y, expected, within<gpu::f16>(2));
}

template <class T> static void check_where(void (*kernel)(const lt_gpu_where &))
{
    const shape s = shapes[4];
    const size_t n = (size_t)elements(s);
    buffer<uint8_t> condition(11);
    buffer<T> a((size_t)reach(s, s.a)), b((size_t)reach(s, s.b)), y(n);
    fill(condition, 3, 0, 2);
    fill(a, 4, 0, 200);
    fill(b, 5, 0, 200);
    lt_gpu_where p = {};
    p.condition = condition.data;
    p.a = a.data;
    p.b = b.data;
    p.y = y.data;
    p.count = (int64_t)n;
    p.index = make_index(s.rank, s.size);
    p.condition_stride[2] = 1;
    memcpy(p.a_stride, s.a, sizeof s.a);
    memcpy(p.b_stride, s.b, sizeof s.b);
    std::vector<double> expected(n);
    for (size_t i = 0; i < n; i++) {
        expected[i] = condition[i % 11] ? value(a[(size_t)at(s, s.a, (int64_t)i)])
                                        : value(b[(size_t)at(s, s.b, (int64_t)i)]);
    }
    check_kernel(kernel, p, 1, y, expected.data(), {0, 0});
}

static void where_chooses(void **)
{
    check_where<uint8_t>(lt_gpu_where_1);
    check_where<uint16_t>(lt_gpu_where_2);
    check_where<uint32_t>(lt_gpu_where_4);
    check_where<uint64_t>(lt_gpu_where_8);
}

template <class R> static R wrapped(int64_t v)
{
    return (R)v;
}
template <> gpu::f16 wrapped<gpu::f16>(int64_t v)
{
    return stored<gpu::f16>((double)v);
}
template <> gpu::bf16 wrapped<gpu::bf16>(int64_t v)
{
    return stored<gpu::bf16>((double)v);
}

/* One pair of types; expected by the rule of params/pointwise.h. */
template <class T, class R> static void check_cast(int from, int to)
{
    const bool source_float = from <= LT_GPU_BF16, sink_float = to <= LT_GPU_BF16;
    buffer<T> x(301);
    buffer<R> y(301);
    fill(x, 9, from == LT_GPU_U8 || from == LT_GPU_BOOL ? 0 : -120, 120);
    x[0] = stored<T>(0);
    std::vector<double> expected(301);
    for (size_t i = 0; i < 301; i++) {
        double v = value(x[i]);
        if (to == LT_GPU_BOOL) {
            v = v != 0;
        } else if (!sink_float) {
            v = source_float && to == LT_GPU_U8 ? fmax(trunc(v), 0) : value(wrapped<R>((int64_t)v));
        }
        expected[i] = sink_float ? value(stored<R>(v)) : v;
    }
    const lt_gpu_cast p = {x.data, y.data, 301, from, to};
    check_kernel(lt_gpu_cast_any, p, 1, y, expected.data(), {0, 0});
}

template <class T> static void check_casts(int from)
{
    check_cast<T, float>(from, LT_GPU_F32);
    check_cast<T, gpu::f16>(from, LT_GPU_F16);
    check_cast<T, gpu::bf16>(from, LT_GPU_BF16);
    check_cast<T, int32_t>(from, LT_GPU_I32);
    check_cast<T, int64_t>(from, LT_GPU_I64);
    check_cast<T, uint8_t>(from, LT_GPU_U8);
    check_cast<T, int8_t>(from, LT_GPU_I8);
    check_cast<T, uint8_t>(from, LT_GPU_BOOL);
}

static void casts_between_all_types(void **)
{
    check_casts<float>(LT_GPU_F32);
    check_casts<gpu::f16>(LT_GPU_F16);
    check_casts<gpu::bf16>(LT_GPU_BF16);
    check_casts<int32_t>(LT_GPU_I32);
    check_casts<int64_t>(LT_GPU_I64);
    check_casts<uint8_t>(LT_GPU_U8);
    check_casts<int8_t>(LT_GPU_I8);
    check_casts<uint8_t>(LT_GPU_BOOL);
}

static void casts_of_extremes_saturate(void **)
{
    const float in[] = {NAN, INFINITY, -INFINITY, 3e9f, -3e9f, 300, -300, -0.9f};
    buffer<float> x(8);
    memcpy(x.data, in, sizeof in);
    buffer<int32_t> y(8);
    lt_gpu_cast p = {x.data, y.data, 8, LT_GPU_F32, LT_GPU_I32};
    const double wide[] = {0, INT32_MAX, INT32_MIN, INT32_MAX, INT32_MIN, 300, -300, 0};
    check_kernel(lt_gpu_cast_any, p, 1, y, wide, {0, 0});
    buffer<int8_t> narrow(8);
    p.y = narrow.data;
    p.y_dtype = LT_GPU_I8;
    const double bytes[] = {0, 127, -128, 127, -128, 127, -128, 0};
    check_kernel(lt_gpu_cast_any, p, 1, narrow, bytes, {0, 0});
}

template <class T, class R> static void check_float_cast(void (*kernel)(const lt_gpu_cast &))
{
    for (size_t shift = 0; shift < 2; shift++) {
        buffer<T> x(3003, shift);
        buffer<R> y(3003, shift);
        fill(x, 2, -100, 100);
        std::vector<double> expected(3003);
        for (size_t i = 0; i < 3003; i++) {
            expected[i] = value(stored<R>(value(x[i])));
        }
        const lt_gpu_cast p = {x.data, y.data, 3003, 0, 0};
        check_kernel(kernel, p, 1, y, expected.data(), {0, 0});
    }
}

static void float_casts_round_once(void **)
{
    check_float_cast<float, gpu::f16>(lt_gpu_cast_f32_f16);
    check_float_cast<float, gpu::bf16>(lt_gpu_cast_f32_bf16);
    check_float_cast<gpu::f16, float>(lt_gpu_cast_f16_f32);
    check_float_cast<gpu::bf16, float>(lt_gpu_cast_bf16_f32);
}

/* y = 2 - gelu(a + b) * s, where s = a + b was saved. */
template <class T> static void check_chain(void (*kernel)(const lt_gpu_chain &))
{
    for (const shape &s : shapes) {
        const size_t n = (size_t)elements(s);
        buffer<T> a((size_t)reach(s, s.a)), b((size_t)reach(s, s.b)), y(n);
        fill(a, 21);
        fill(b, 22);
        lt_gpu_chain p = {};
        p.y = y.data;
        p.count = (int64_t)n;
        p.index = make_index(s.rank, s.size);
        p.n_inputs = 2;
        p.inputs[0].data = a.data;
        p.inputs[1].data = b.data;
        memcpy(p.inputs[0].stride, s.a, sizeof s.a);
        memcpy(p.inputs[1].stride, s.b, sizeof s.b);
        p.n_steps = 4;
        p.steps[0] = {1, LT_GPU_ADD, LT_GPU_OPERAND_INPUT, 1, 0, 1, {}, 0, 0};
        p.steps[1] = {0, LT_GPU_GELU, 0, 0, 0, 0, {}, 0, 0};
        p.steps[2] = {1, LT_GPU_MUL, LT_GPU_OPERAND_SAVED, 0, 0, 0, {}, 0, 0};
        p.steps[3] = {1, LT_GPU_SUB, LT_GPU_OPERAND_NUMBER, 0, 1, 0, {}, 2.0f, 0};
        std::vector<double> expected(n);
        for (size_t i = 0; i < n; i++) {
            double sum =
                value(a[(size_t)at(s, s.a, (int64_t)i)]) + value(b[(size_t)at(s, s.b, (int64_t)i)]);
            expected[i] = 2 - gelu(sum) * sum;
        }
        check_kernel(kernel, p, 1, y, expected.data(), within<T>(8, 2));
    }
}

static void chains_run_their_steps(void **)
{
    check_chain<float>(lt_gpu_chain_f32);
    check_chain<gpu::f16>(lt_gpu_chain_f16);
    check_chain<gpu::bf16>(lt_gpu_chain_bf16);
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unary_functions_are_those_of_double),
        cmocka_unit_test(binary_operators_broadcast),
        cmocka_unit_test(integers_divide_without_traps),
        cmocka_unit_test(binary_applies_its_activation),
        cmocka_unit_test(where_chooses),
        cmocka_unit_test(casts_between_all_types),
        cmocka_unit_test(casts_of_extremes_saturate),
        cmocka_unit_test(float_casts_round_once),
        cmocka_unit_test(chains_run_their_steps),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Pointwise kernels: y[i] = f(a[i], b[i], ...), broadcast by strides; f32 arithmetic, integers in
 * their own type. A thread takes 16 bytes of y at a time where that can be, see index.hpp. Bound by
 * bytes. Parameters: params/pointwise.h. */
#ifndef LT_GPU_POINTWISE_HPP
#define LT_GPU_POINTWISE_HPP

#include "function.hpp"
#include "index.hpp"
#include "params/pointwise.h"

namespace gpu
{

/* ---- one input ------------------------------------------------------------------------------- */

template <class T> GPU_FN T apply_stored(const lt_gpu_activation &op, T x)
{
    return from_f32<T>(apply_function(op, to_f32(x)));
}

template <class T> GPU_FN void unary(const lt_gpu_unary &p)
{
    constexpr int V = per_16_bytes<T>;
    const T *x = (const T *)p.x;
    T *y = (T *)p.y;
    int64_t done = 0;
    if (aligned_16(x) && aligned_16(y)) {
        done = p.count / V * V;
        for (int64_t i = global_thread() * V; i < done; i += grid_threads() * V) {
            pack<T, V> v = load_pack<V>(x + i);
            for (int k = 0; k < V; k++) {
                v.v[k] = apply_stored(p.op, v.v[k]);
            }
            store_pack<V>(y + i, v);
        }
    }
    for (int64_t i = done + global_thread(); i < p.count; i += grid_threads()) {
        y[i] = apply_stored(p.op, x[i]);
    }
}

/* ---- two inputs ------------------------------------------------------------------------------ */

GPU_FN bool negative(int32_t v)
{
    return v < 0;
}
GPU_FN bool negative(int64_t v)
{
    return v < 0;
}
GPU_FN bool negative(uint8_t)
{
    return false;
}

/* The result of ints: wraps. U is the unsigned type of T. */
template <class T, class U> GPU_FN T binary_integer(int op, T a, T b)
{
    switch (op) {
    case LT_GPU_ADD:
        return (T)((U)a + (U)b);
    case LT_GPU_SUB:
        return (T)((U)a - (U)b);
    case LT_GPU_MUL:
        return (T)((U)a * (U)b);
    case LT_GPU_DIV:
        return b == 0 ? (T)0 : negative(b) && b == (T)-1 ? (T)((U)0 - (U)a) : (T)(a / b);
    case LT_GPU_MIN:
        return a < b ? a : b;
    case LT_GPU_MAX:
        return a > b ? a : b;
    case LT_GPU_PRELU:
        return negative(a) ? (T)((U)a * (U)b) : a;
    case LT_GPU_MOD:
    case LT_GPU_FMOD: {
        if (b == 0 || (negative(b) && b == (T)-1)) {
            return 0;
        }
        T r = (T)(a % b);
        return op == LT_GPU_MOD && r != 0 && negative(r) != negative(b) ? (T)(r + b) : r;
    }
    case LT_GPU_AND:
        return (T)(a & b);
    case LT_GPU_OR:
        return (T)(a | b);
    case LT_GPU_XOR:
        return (T)(a ^ b);
    case LT_GPU_POW: {
        U result = 1, base = (U)a;
        for (U e = negative(b) ? 0 : (U)b; e != 0; e >>= 1) {
            result = (e & 1) != 0 ? (U)(result * base) : result;
            base = (U)(base * base);
        }
        return !negative(b) || a == 1 ? (T)result : a == (T)-1 ? (T)((b & 1) != 0 ? a : 1) : (T)0;
    }
    default:
        return a;
    }
}

GPU_FN float binary_float(int op, float a, float b)
{
    switch (op) {
    case LT_GPU_ADD:
        return a + b;
    case LT_GPU_SUB:
        return a - b;
    case LT_GPU_MUL:
        return a * b;
    case LT_GPU_DIV:
        return a / b;
    case LT_GPU_MIN:
        return min_op::apply(a, b);
    case LT_GPU_MAX:
        return max_op::apply(a, b);
    case LT_GPU_POW:
        return f_pow(a, b);
    case LT_GPU_PRELU:
        return a < 0.0f ? a * b : a;
    case LT_GPU_MOD: {
        float r = f_mod(a, b);
        return r != 0.0f && (r < 0.0f) != (b < 0.0f) ? r + b : r;
    }
    case LT_GPU_FMOD:
        return f_mod(a, b);
    default:
        return a;
    }
}

GPU_FN float binary_of(const lt_gpu_binary &p, float a, float b)
{
    return apply_activation(p.activation, binary_float(p.op, a, b));
}
GPU_FN f16 binary_of(const lt_gpu_binary &p, f16 a, f16 b)
{
    return from_f32<f16>(binary_of(p, to_f32(a), to_f32(b)));
}
GPU_FN bf16 binary_of(const lt_gpu_binary &p, bf16 a, bf16 b)
{
    return from_f32<bf16>(binary_of(p, to_f32(a), to_f32(b)));
}
GPU_FN int32_t binary_of(const lt_gpu_binary &p, int32_t a, int32_t b)
{
    return binary_integer<int32_t, uint32_t>(p.op, a, b);
}
GPU_FN int64_t binary_of(const lt_gpu_binary &p, int64_t a, int64_t b)
{
    return binary_integer<int64_t, uint64_t>(p.op, a, b);
}
GPU_FN uint8_t binary_of(const lt_gpu_binary &p, uint8_t a, uint8_t b)
{
    return binary_integer<uint8_t, uint32_t>(p.op, a, b);
}

template <class T> GPU_FN uint8_t compare(int op, T a, T b)
{
    switch (op) {
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
/* Numbers that compare as the stored ones do. */
template <class T> GPU_FN T comparable(T v)
{
    return v;
}
GPU_FN float comparable(f16 v)
{
    return to_f32(v);
}
GPU_FN float comparable(bf16 v)
{
    return to_f32(v);
}

template <class T> struct arithmetic {
    typedef T result;
    GPU_FN static T apply(const lt_gpu_binary &p, T a, T b)
    {
        return binary_of(p, a, b);
    }
};
template <class T> struct comparison {
    typedef uint8_t result;
    GPU_FN static uint8_t apply(const lt_gpu_binary &p, T a, T b)
    {
        return compare(p.op, comparable(a), comparable(b));
    }
};

template <class T, class Op, int V> GPU_FN void binary_strided(const lt_gpu_binary &p)
{
    typedef typename Op::result R;
    const T *a = (const T *)p.a;
    const T *b = (const T *)p.b;
    const int last = p.index.rank - 1;
    const bool a_one = V > 1 && p.a_stride[last] == 0;
    const bool b_one = V > 1 && p.b_stride[last] == 0;
    const int64_t *const strides[2] = {p.a_stride, p.b_stride};
    for (int64_t i = global_thread() * V; i < p.count; i += grid_threads() * V) {
        int64_t at[2];
        offsets(p.index, (uint32_t)i, strides, at);
        pack<T, V> u = load_inner<V>(a + at[0], a_one);
        pack<T, V> w = load_inner<V>(b + at[1], b_one);
        pack<R, V> r;
        for (int k = 0; k < V; k++) {
            r.v[k] = Op::apply(p, u.v[k], w.v[k]);
        }
        store_pack<V>((R *)p.y + i, r);
    }
}

template <class T, class Op> GPU_FN void binary(const lt_gpu_binary &p)
{
    constexpr int V = per_16_bytes<T>;
    if (aligned_16(p.y) && packs<V>(p.index, (const T *)p.a, p.a_stride, true) &&
        packs<V>(p.index, (const T *)p.b, p.b_stride, true)) {
        binary_strided<T, Op, V>(p);
    } else {
        binary_strided<T, Op, 1>(p);
    }
}

/* One operation without an activation. */
template <class T, int OP> struct single {
    typedef T result;
    GPU_FN static T apply(const lt_gpu_binary &, T a, T b)
    {
        return from_f32<T>(binary_float(OP, to_f32(a), to_f32(b)));
    }
};

/* The commonest operations have loops of their own: to choose among all of them and all activations
 * for each element takes several times as many instructions as reading it. */
template <class T> GPU_FN void binary_floats(const lt_gpu_binary &p)
{
    switch (p.activation.function == LT_GPU_IDENTITY ? p.op : -1) {
    case LT_GPU_ADD:
        binary<T, single<T, LT_GPU_ADD>>(p);
        break;
    case LT_GPU_SUB:
        binary<T, single<T, LT_GPU_SUB>>(p);
        break;
    case LT_GPU_MUL:
        binary<T, single<T, LT_GPU_MUL>>(p);
        break;
    default:
        binary<T, arithmetic<T>>(p);
    }
}

template <class T> GPU_FN void binary_integers(const lt_gpu_binary &p)
{
    binary<T, arithmetic<T>>(p);
}

/* ---- Where, Cast ----------------------------------------------------------------------------- */

template <class T> GPU_FN void where(const lt_gpu_where &p)
{
    const int64_t *const strides[3] = {p.condition_stride, p.a_stride, p.b_stride};
    for (int64_t i = global_thread(); i < p.count; i += grid_threads()) {
        int64_t at[3];
        offsets(p.index, (uint32_t)i, strides, at);
        bool take = ((const uint8_t *)p.condition)[at[0]] != 0;
        ((T *)p.y)[i] = take ? ((const T *)p.a)[at[1]] : ((const T *)p.b)[at[2]];
    }
}

GPU_FN int64_t float_to_integer(float f)
{
    if (f != f) {
        return 0;
    }
    if (f >= 0x1p63f) {
        return INT64_MAX;
    }
    return f < -0x1p63f ? INT64_MIN : (int64_t)f;
}

GPU_FN int64_t saturate(int64_t v, int64_t lowest, int64_t highest)
{
    v = v < lowest ? lowest : v;
    return v > highest ? highest : v;
}

GPU_FN void store_integer(const lt_gpu_cast &p, int64_t i, int64_t v, bool saturated)
{
    switch (p.y_dtype) {
    case LT_GPU_I32:
        ((int32_t *)p.y)[i] = (int32_t)(saturated ? saturate(v, INT32_MIN, INT32_MAX) : v);
        break;
    case LT_GPU_I64:
        ((int64_t *)p.y)[i] = v;
        break;
    case LT_GPU_U8:
        ((uint8_t *)p.y)[i] = (uint8_t)(saturated ? saturate(v, 0, 255) : v);
        break;
    default:
        ((int8_t *)p.y)[i] = (int8_t)(saturated ? saturate(v, -128, 127) : v);
        break;
    }
}

GPU_FN void store_float(const lt_gpu_cast &p, int64_t i, float v)
{
    switch (p.y_dtype) {
    case LT_GPU_F32:
        ((float *)p.y)[i] = v;
        break;
    case LT_GPU_F16:
        ((f16 *)p.y)[i] = from_f32<f16>(v);
        break;
    default:
        ((bf16 *)p.y)[i] = from_f32<bf16>(v);
        break;
    }
}

GPU_FN int64_t load_integer(const lt_gpu_cast &p, int64_t i)
{
    switch (p.x_dtype) {
    case LT_GPU_I32:
        return ((const int32_t *)p.x)[i];
    case LT_GPU_I64:
        return ((const int64_t *)p.x)[i];
    case LT_GPU_I8:
        return ((const int8_t *)p.x)[i];
    default:
        return ((const uint8_t *)p.x)[i];
    }
}

GPU_FN float load_float(const lt_gpu_cast &p, int64_t i)
{
    switch (p.x_dtype) {
    case LT_GPU_F32:
        return ((const float *)p.x)[i];
    case LT_GPU_F16:
        return to_f32(((const f16 *)p.x)[i]);
    default:
        return to_f32(((const bf16 *)p.x)[i]);
    }
}

GPU_FN void cast(const lt_gpu_cast &p)
{
    const bool from_float = p.x_dtype <= LT_GPU_BF16;
    const bool to_float = p.y_dtype <= LT_GPU_BF16;
    for (int64_t i = global_thread(); i < p.count; i += grid_threads()) {
        float f = from_float ? load_float(p, i) : 0.0f;
        int64_t n = from_float ? 0 : load_integer(p, i);
        if (p.y_dtype == LT_GPU_BOOL) {
            ((uint8_t *)p.y)[i] = from_float ? f != 0.0f : n != 0;
        } else if (to_float) {
            store_float(p, i, from_float ? f : (float)n);
        } else {
            store_integer(p, i, from_float ? float_to_integer(f) : n, from_float);
        }
    }
}

/* 4 or 8 elements at a time: 16 bytes of the wider type. */
template <class T, class R> GPU_FN void cast_floats(const lt_gpu_cast &p)
{
    constexpr int V = sizeof(T) > sizeof(R) ? per_16_bytes<T> : per_16_bytes<R>;
    const T *x = (const T *)p.x;
    R *y = (R *)p.y;
    int64_t done = 0;
    if (aligned_16(x) && aligned_16(y)) {
        done = p.count / V * V;
        for (int64_t i = global_thread() * V; i < done; i += grid_threads() * V) {
            pack<T, V> v = load_pack<V>(x + i);
            pack<R, V> r;
            for (int k = 0; k < V; k++) {
                r.v[k] = from_f32<R>(to_f32(v.v[k]));
            }
            store_pack<V>(y + i, r);
        }
    }
    for (int64_t i = done + global_thread(); i < p.count; i += grid_threads()) {
        y[i] = from_f32<R>(to_f32(x[i]));
    }
}

/* ---- chains ---------------------------------------------------------------------------------- */

GPU_FN float chain_step(const lt_gpu_chain_step &s, float v, float operand)
{
    if (s.binary == 0) {
        return apply_function({s.op, s.alpha, s.beta}, v);
    }
    return s.swapped != 0 ? binary_float(s.op, operand, v) : binary_float(s.op, v, operand);
}

/* Where the V elements of y from `i` on lie in an input. */
GPU_FN int64_t chain_offset(const lt_gpu_chain &p, const lt_gpu_chain_input &input, int64_t i)
{
    const int64_t *const strides[1] = {input.stride};
    int64_t at[1];
    offsets(p.index, (uint32_t)i, strides, at);
    return at[0];
}

template <class T, int V>
GPU_FN pack<T, V> chain_load(const lt_gpu_chain &p, const lt_gpu_chain_input &input, int64_t i)
{
    const T *at = (const T *)input.data + chain_offset(p, input, i);
    return load_inner<V>(at, V > 1 && input.stride[p.index.rank - 1] == 0);
}

template <class T, int V> GPU_FN void chain_strided(const lt_gpu_chain &p)
{
    for (int64_t i = global_thread() * V; i < p.count; i += grid_threads() * V) {
        pack<T, V> u = chain_load<T, V>(p, p.inputs[0], i);
        float v[V], saved[V];
        for (int k = 0; k < V; k++) {
            v[k] = saved[k] = to_f32(u.v[k]);
        }
        for (int s = 0; s < p.n_steps; s++) {
            const lt_gpu_chain_step &step = p.steps[s];
            const bool loads = step.binary != 0 && step.operand == LT_GPU_OPERAND_INPUT;
            const bool uses_saved = step.operand == LT_GPU_OPERAND_SAVED;
            if (loads) {
                u = chain_load<T, V>(p, p.inputs[step.input], i);
            }
            for (int k = 0; k < V; k++) {
                float operand = loads ? to_f32(u.v[k]) : uses_saved ? saved[k] : step.alpha;
                v[k] = chain_step(step, v[k], operand);
                saved[k] = step.save != 0 ? v[k] : saved[k];
            }
        }
        for (int k = 0; k < V; k++) {
            u.v[k] = from_f32<T>(v[k]);
        }
        store_pack<V>((T *)p.y + i, u);
    }
}

template <class T> GPU_FN void chain(const lt_gpu_chain &p)
{
    constexpr int V = per_16_bytes<T>;
    bool all = aligned_16(p.y);
    for (int k = 0; k < p.n_inputs; k++) {
        all = all && packs<V>(p.index, (const T *)p.inputs[k].data, p.inputs[k].stride, true);
    }
    if (all) {
        chain_strided<T, V>(p);
    } else {
        chain_strided<T, 1>(p);
    }
}

} // namespace gpu

#define LT_GPU_FLOATS(type, name)                                                                  \
    GPU_KERNEL(lt_gpu_unary_##name, lt_gpu_unary)                                                  \
    {                                                                                              \
        gpu::unary<type>(p);                                                                       \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_chain_##name, lt_gpu_chain)                                                  \
    {                                                                                              \
        gpu::chain<type>(p);                                                                       \
    }
LT_GPU_FLOATS(float, f32)
LT_GPU_FLOATS(gpu::f16, f16)
LT_GPU_FLOATS(gpu::bf16, bf16)
#undef LT_GPU_FLOATS

#define LT_GPU_BINARY(type, name, numbers)                                                         \
    GPU_KERNEL(lt_gpu_binary_##name, lt_gpu_binary)                                                \
    {                                                                                              \
        gpu::binary_##numbers<type>(p);                                                            \
    }                                                                                              \
    GPU_KERNEL(lt_gpu_compare_##name, lt_gpu_binary)                                               \
    {                                                                                              \
        gpu::binary<type, gpu::comparison<type>>(p);                                               \
    }
LT_GPU_BINARY(float, f32, floats)
LT_GPU_BINARY(gpu::f16, f16, floats)
LT_GPU_BINARY(gpu::bf16, bf16, floats)
LT_GPU_BINARY(int32_t, i32, integers)
LT_GPU_BINARY(int64_t, i64, integers)
LT_GPU_BINARY(uint8_t, u8, integers)
#undef LT_GPU_BINARY

#define LT_GPU_WHERE(type, bytes)                                                                  \
    GPU_KERNEL(lt_gpu_where_##bytes, lt_gpu_where)                                                 \
    {                                                                                              \
        gpu::where<type>(p);                                                                       \
    }
LT_GPU_WHERE(uint8_t, 1)
LT_GPU_WHERE(uint16_t, 2)
LT_GPU_WHERE(uint32_t, 4)
LT_GPU_WHERE(uint64_t, 8)
#undef LT_GPU_WHERE

GPU_KERNEL(lt_gpu_cast_any, lt_gpu_cast)
{
    gpu::cast(p);
}
#define LT_GPU_CAST(from, from_name, to, to_name)                                                  \
    GPU_KERNEL(lt_gpu_cast_##from_name##_##to_name, lt_gpu_cast)                                   \
    {                                                                                              \
        gpu::cast_floats<from, to>(p);                                                             \
    }
LT_GPU_CAST(float, f32, gpu::f16, f16)
LT_GPU_CAST(float, f32, gpu::bf16, bf16)
LT_GPU_CAST(gpu::f16, f16, float, f32)
LT_GPU_CAST(gpu::bf16, bf16, float, f32)
#undef LT_GPU_CAST

#endif

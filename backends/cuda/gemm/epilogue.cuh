/* SPDX-License-Identifier: Apache-2.0 */
/* From sums in registers to results in memory: y = act(scale * sum + bias + residual).
 *
 * A warp holds 16 rows (ptx::product tells which thread holds what) and finishes 16 or 64 columns
 * at a time. Results of 16 bits go through 2 KB of shared memory of the warp's own: the copy engine
 * takes those of the operands' type from there (with GELU by erf a result then takes 13
 * instructions, not 16); others leave as 16 bytes a thread and whole rows of 128 bytes. Results of
 * 32 bits fill sectors as they are. Rows beyond m and columns beyond n are not stored; where rows
 * are not aligned on 16 bytes each result is stored alone. */
#ifndef LEAT_CUDA_GEMM_EPILOGUE_H
#define LEAT_CUDA_GEMM_EPILOGUE_H

#include "params.h"
#include "ptx.cuh"

namespace gemm
{

__device__ __forceinline__ float to_float(float x)
{
    return x;
}

__device__ __forceinline__ float to_float(__half x)
{
    return __half2float(x);
}

__device__ __forceinline__ float to_float(__nv_bfloat16 x)
{
    return __bfloat162float(x);
}

/* Both halves of a word of two elements. */
__device__ __forceinline__ float2 unpack_pair(uint32_t type, uint32_t bits)
{
    if (type == LT_GEMM_F16) {
        __half2 v;
        memcpy(&v, &bits, sizeof bits);
        return __half22float2(v);
    }
    return make_float2(__uint_as_float(bits << 16), __uint_as_float(bits & 0xffff0000u));
}

__device__ __forceinline__ uint32_t pack_pair(uint32_t type, float x, float y)
{
    uint32_t bits;
    if (type == LT_GEMM_F16) {
        __half2 v = __floats2half2_rn(x, y);
        memcpy(&bits, &v, sizeof bits);
    } else {
        __nv_bfloat162 v = __floats2bfloat162_rn(x, y);
        memcpy(&bits, &v, sizeof bits);
    }
    return bits;
}

/* F32, and I32, whose bits lie in a float. */
__device__ __forceinline__ bool is_4_bytes(uint32_t type)
{
    return type == LT_GEMM_F32 || type == LT_GEMM_I32;
}

__device__ __forceinline__ void store_real(uint64_t base, uint32_t type, int64_t i, float x)
{
    if (is_4_bytes(type)) {
        ((float *)base)[i] = x;
    } else {
        ((uint16_t *)base)[i] = (uint16_t)pack_pair(type, x, 0);
    }
}

/* NaN stays NaN, unlike in fmaxf and fminf. */
__device__ __forceinline__ float clamp(float x, float low, float high)
{
    asm("max.NaN.f32 %0, %0, %1;" : "+f"(x) : "f"(low));
    asm("min.NaN.f32 %0, %0, %1;" : "+f"(x) : "f"(high));
    return x;
}

__device__ __forceinline__ float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ float reciprocal_fast(float x)
{
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* x (1 + erf(x / sqrt(2))) / 2 = max(x, 0) - |x| q with q = erfc(|x| / sqrt(2)) / 2 = 2^P(|x|): P of
 * degree 5 so that |x| q is right to 4.5e-7, by Lawson's iteration on [0, 6]; beyond, P falls on and
 * q is below 1e-9. One exponential and no division: this runs for every result of a tile while its
 * warpgroup multiplies nothing. |x| is bounded where q is 0, for infinities; NaN stays NaN. */
__device__ __forceinline__ float gelu(float x)
{
    float a = fabsf(x);
    asm("min.NaN.f32 %0, %0, %1;" : "+f"(a) : "f"(64.0f));
    float e = fmaf(a, -4.73309299e-4f, 7.08455728e-3f);
    e = fmaf(e, a, -5.18273832e-2f);
    e = fmaf(e, a, -4.59992438e-1f);
    e = fmaf(e, a, -1.15078785f);
    e = fmaf(e, a, -1.00003762f);
    return fmaf(-a, exp2_fast(e), fmaxf(x, 0.0f));
}

/* The same for results of halves: P of degree 4 and |x| at most 6, where q is 5e-9. |x| q is right
 * to 6.1e-6, a tenth of half a unit of F16 where it is the largest. */
__device__ __forceinline__ float gelu_of_half(float x)
{
    float a = fabsf(x);
    asm("min.NaN.f32 %0, %0, %1;" : "+f"(a) : "f"(6.0f));
    float e = fmaf(a, 3.86565912e-3f, -4.40766076e-2f);
    e = fmaf(e, a, -4.68018623e-1f);
    e = fmaf(e, a, -1.1473703f);
    e = fmaf(e, a, -1.00047992f);
    return fmaf(-a, exp2_fast(e), fmaxf(x, 0.0f));
}

template <int COUNT>
__device__ __forceinline__ void activate(const lt_cuda_gemm_params &p, float (&s)[COUNT])
{
    const float c0 = p.c[0], c1 = p.c[1], c2 = p.c[2], c3 = p.c[3], c4 = p.c[4];
    if (p.finish == LT_GEMM_FINISH_CLAMP) {
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            s[i] = clamp(s[i], c0, c1);
        }
    } else if (p.finish == LT_GEMM_FINISH_LEAKY) {
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            s[i] = s[i] < 0 ? c0 * s[i] : s[i];
        }
    } else if (p.finish == LT_GEMM_FINISH_HARD) {
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            s[i] = fmaf(fmaf(c1, s[i], c0), clamp(fmaf(c2, s[i], c3), 0.0f, 1.0f), c4);
        }
    } else if (p.finish == LT_GEMM_FINISH_LOGISTIC) {
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            float e = exp2_fast(s[i] * fmaf(c3, s[i] * s[i], c2));
            s[i] = fmaf(fmaf(c1, s[i], c0), reciprocal_fast(1.0f + e), c4);
        }
    } else if (p.finish == LT_GEMM_FINISH_GELU) {
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            s[i] = gelu(s[i]);
        }
    }
}

/* Where a warp's sums belong. */
struct place {
    uint32_t row, column; /* of its first */
    uint32_t batch;
    uint32_t staging;     /* 2 KB of shared memory */
    uint32_t numbers;     /* of its first column in shared memory: bias, ... */
    uint32_t array_bytes; /* ... and so much further scale, then offset */
};

/* Two neighbouring columns' numbers: array 0 bias, 1 scale, 2 offset. */
__device__ __forceinline__ uint2 number_pair(const place &at, uint32_t array, uint32_t column)
{
    return ptx::load_8(at.numbers + array * at.array_bytes + column * 4);
}

__device__ __forceinline__ float load_real(uint64_t base, uint32_t type, uint32_t i)
{
    if (type == LT_GEMM_F32) {
        return ((const float *)base)[i];
    }
    return type == LT_GEMM_F16 ? __half2float(((const __half *)base)[i])
                               : __bfloat162float(((const __nv_bfloat16 *)base)[i]);
}

/* scale * sum + bias; where there is no bias its numbers are zeros. */
template <int COUNT>
__device__ __forceinline__ void scale_and_bias(float (&s)[COUNT], float scale, const place &at)
{
    const uint32_t first = threadIdx.x % 4 * 2;
#pragma unroll
    for (int i = 0; i < COUNT; i += 4) {
        const uint2 pair = number_pair(at, 0, first + i * 2);
        const float x = __uint_as_float(pair.x), y = __uint_as_float(pair.y);
        s[i] = fmaf(s[i], scale, x);
        s[i + 1] = fmaf(s[i + 1], scale, y);
        s[i + 2] = fmaf(s[i + 2], scale, x);
        s[i + 3] = fmaf(s[i + 3], scale, y);
    }
}

/* A residual of any type and alignment, element by element, eight loads at a time. */
template <class T, int COUNT>
__device__ __forceinline__ void add_residual_of(const lt_cuda_gemm_params &p, float (&s)[COUNT],
                                                uint32_t row, uint32_t column, uint32_t batch)
{
    const T *upper = (const T *)p.residual + batch * p.r_batch + row * p.ldr + column;
    const T *lower = upper + 8 * p.ldr;
    const bool has_upper = row < p.m, has_lower = row + 8 < p.m;
#pragma unroll
    for (int g = 0; g < COUNT; g += 8) {
        T v[8];
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const int c = (g + i) / 4 * 8 + i % 2;
            const bool inside = (i / 2 % 2 ? has_lower : has_upper) && column + c < p.n;
            v[i] = inside ? (i / 2 % 2 ? lower : upper)[c] : T(0.0f);
        }
#pragma unroll
        for (int i = 0; i < 8; i++) {
            s[g + i] += to_float(v[i]);
        }
    }
}

/* Where lane's 16 bytes of the warp's rows are while they pass through shared memory: rows of 128
 * bytes whose pieces of 16 are exchanged by row, so that neither way meets one bank twice. */
__device__ __forceinline__ uint32_t staged(uint32_t staging, uint32_t row, uint32_t piece)
{
    return staging + row * 128 + (piece ^ (row % 8)) * 16;
}

/* The same as a lane's address of four matrices of 8 x 8 in columns 16 g to 16 g + 15. */
__device__ __forceinline__ uint32_t staged_matrices(uint32_t staging, uint32_t g)
{
    const uint32_t lane = threadIdx.x % 32;
    return staged(staging, lane % 8 + lane / 8 % 2 * 8, 2 * g + lane / 16);
}

/* A warp's residual of 16 bits on its way, 16 bytes a load, whole rows together: COUNT sums a
 * thread. */
template <int COUNT> struct residual_rows {
    static constexpr uint32_t PIECES = COUNT / 4; /* of 16 bytes a row */
    static constexpr uint32_t LOADS = (16 * PIECES + 31) / 32;
    uint4 v[LOADS > 0 ? LOADS : 1];

    /* Row and piece of this lane's i-th load; row 16 and beyond: none. */
    __device__ __forceinline__ static uint32_t row(uint32_t i)
    {
        return (i * 32 + threadIdx.x % 32) / PIECES;
    }
    __device__ __forceinline__ static uint32_t piece()
    {
        return threadIdx.x % PIECES;
    }
    __device__ __forceinline__ void load(const lt_cuda_gemm_params &p, uint32_t first_row,
                                         uint32_t column, uint32_t batch)
    {
        const uint32_t c = column + piece() * 8;
#pragma unroll
        for (uint32_t i = 0; i < LOADS; i++) {
            const uint32_t r = first_row + row(i);
            const bool inside = p.residual_wide && row(i) < 16 && r < p.m && c < p.n;
            const uint16_t *from = (const uint16_t *)p.residual + batch * p.r_batch + r * p.ldr + c;
            v[i] = inside ? *(const uint4 *)from : make_uint4(0, 0, 0, 0);
        }
    }
};

/* Adds a residual of 16 bits that was loaded so. */
template <int COUNT>
__device__ __forceinline__ void add_residual_staged(const lt_cuda_gemm_params &p, float (&s)[COUNT],
                                                    const residual_rows<COUNT> &rows,
                                                    const place &at)
{
#pragma unroll
    for (uint32_t i = 0; i < rows.LOADS; i++) {
        ptx::store_16(staged(at.staging, rows.row(i), rows.piece()), rows.v[i]);
    }
    __syncwarp();
#pragma unroll
    for (int g = 0; g < COUNT / 8; g++) {
        uint32_t w[4];
        ptx::load_matrices(w, staged_matrices(at.staging, g));
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float2 pair = unpack_pair(p.residual_type, w[i]);
            s[8 * g + 2 * i] += pair.x;
            s[8 * g + 2 * i + 1] += pair.y;
        }
    }
    __syncwarp();
}

template <int COUNT>
__device__ __forceinline__ void add_residual(const lt_cuda_gemm_params &p, float (&s)[COUNT],
                                             uint32_t row, uint32_t column, const place &at)
{
    if (p.residual_type == LT_GEMM_F32) {
        add_residual_of<float>(p, s, row, column, at.batch);
    } else if (p.residual_type == LT_GEMM_F16) {
        add_residual_of<__half>(p, s, row, column, at.batch);
    } else {
        add_residual_of<__nv_bfloat16>(p, s, row, column, at.batch);
    }
}

/* Straight from registers: results of 32 bits, and rows that are not aligned. */
template <int COUNT>
__device__ __forceinline__ void store_direct(const lt_cuda_gemm_params &p, const float (&s)[COUNT],
                                             uint32_t row, uint32_t column, uint32_t batch)
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        uint32_t r = row + 8 * half;
        int64_t start = batch * p.d_batch + r * p.ldd;
#pragma unroll
        for (int j = 0; j < COUNT / 4; j++) {
            uint32_t c = column + 8 * j;
            if (r >= p.m || c >= p.n) {
                continue;
            }
            float x = s[4 * j + 2 * half], y = s[4 * j + 2 * half + 1];
            if (p.wide && is_4_bytes(p.out_type)) {
                *(float2 *)((float *)p.d + start + c) = make_float2(x, y);
            } else {
                store_real(p.d, p.out_type, start + c, x);
                if (c + 1 < p.n) {
                    store_real(p.d, p.out_type, start + c + 1, y);
                }
            }
        }
    }
}

/* Through shared memory, so that whole rows leave by 16 bytes a thread. */
template <int COUNT>
__device__ __forceinline__ void store_staged(const lt_cuda_gemm_params &p, const float (&s)[COUNT],
                                             const place &at)
{
    constexpr uint32_t PIECES = COUNT / 4; /* of 16 bytes a row */
    constexpr uint32_t ROWS = 32 / PIECES; /* that the warp stores at once */
    const uint32_t lane = threadIdx.x % 32, piece = lane % PIECES;
#pragma unroll
    for (int g = 0; g < COUNT / 8; g++) {
        uint32_t v[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            v[i] = pack_pair(p.out_type, s[8 * g + 2 * i], s[8 * g + 2 * i + 1]);
        }
        ptx::store_matrices(staged_matrices(at.staging, g), v);
    }
    __syncwarp();
#pragma unroll
    for (uint32_t i = 0; i < 16 / ROWS; i++) {
        uint32_t row = i * ROWS + lane / PIECES;
        uint4 v = ptx::load_16(staged(at.staging, row, piece));
        uint32_t r = at.row + row, c = at.column + piece * 8;
        if (r < p.m && c < p.n) {
            *(uint4 *)((uint16_t *)p.d + at.batch * p.d_batch + r * p.ldd + c) = v;
        }
    }
    __syncwarp();
}

/* The same by the copy engine, which leaves out what is beyond m and n. */
template <class T, int COUNT>
__device__ __forceinline__ void store_by_engine(const lt_cuda_gemm_params &p,
                                                const float (&s)[COUNT], const place &at)
{
    constexpr uint32_t TYPE = __is_same(T, __half) ? LT_GEMM_F16 : LT_GEMM_BF16;
    const bool first = threadIdx.x % 32 == 0;
    if (first) { /* the columns before have been read */
        ptx::store_wait_read<0>();
    }
    __syncwarp();
#pragma unroll
    for (int g = 0; g < COUNT / 8; g++) {
        uint32_t v[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            v[i] = pack_pair(TYPE, s[8 * g + 2 * i], s[8 * g + 2 * i + 1]);
        }
        ptx::store_matrices(staged_matrices(at.staging, g), v);
    }
    ptx::copy_fence();
    __syncwarp();
    if (first) {
        ptx::store_3d(&p.y, at.staging, (int32_t)at.column, (int32_t)at.row, (int32_t)at.batch);
        ptx::store_commit();
    }
}

template <int COUNT>
__device__ __forceinline__ void store(const lt_cuda_gemm_params &p, const float (&s)[COUNT],
                                      uint32_t row, uint32_t column, const place &at)
{
    if (p.wide && p.out_type != LT_GEMM_F32) {
        store_staged(p, s, at);
    } else {
        store_direct(p, s, row, column, at.batch);
    }
}

/* Finishes a warp's 16 rows of 2 COUNT columns. rows: the residual, where it is wide. */
template <int COUNT>
__device__ __forceinline__ void finish(const lt_cuda_gemm_params &p, float (&s)[COUNT],
                                       const residual_rows<COUNT> &rows, const place &at)
{
    const uint32_t lane = threadIdx.x % 32;
    const uint32_t row = at.row + lane / 4, column = at.column + lane % 4 * 2;
    if (at.column >= p.n) {
        return;
    }
    scale_and_bias(s, p.scale, at);
    if (p.residual_wide) {
        add_residual_staged(p, s, rows, at);
    } else if (p.residual_type != LT_GEMM_NONE) {
        add_residual(p, s, row, column, at);
    }
    activate(p, s);
    store(p, s, row, column, at);
}

} // namespace gemm

#endif

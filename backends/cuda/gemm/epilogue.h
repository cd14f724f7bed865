/* SPDX-License-Identifier: Apache-2.0 */
/* From sums in registers to results in memory: y = act(scale * sum + bias + residual).
 *
 * A warp holds 16 rows (ptx::product tells which thread holds what) and finishes 16 to 64 columns
 * at a time. Results of 16 bits go through 2 KB of shared memory of the warp's own, so that they
 * leave as 16 bytes a thread and whole rows of 128 bytes; results of 32 bits fill sectors as they
 * are. Rows beyond m and columns beyond n are not stored; where rows are not aligned on 16 bytes
 * each result is stored alone. */
#ifndef LEAT_CUDA_GEMM_EPILOGUE_H
#define LEAT_CUDA_GEMM_EPILOGUE_H

#include "params.h"
#include "ptx.h"

namespace gemm
{

__device__ __forceinline__ float load_real(uint64_t base, uint32_t type, int64_t i)
{
    if (type == LT_GEMM_F32) {
        return ((const float *)base)[i];
    }
    if (type == LT_GEMM_F16) {
        return __half2float(((const __half *)base)[i]);
    }
    return __bfloat162float(((const __nv_bfloat16 *)base)[i]);
}

/* Elements i and i + 1, i even and the base aligned on both. */
__device__ __forceinline__ float2 load_pair(uint64_t base, uint32_t type, int64_t i)
{
    if (type == LT_GEMM_F32) {
        return *(const float2 *)((const float *)base + i);
    }
    if (type == LT_GEMM_F16) {
        return __half22float2(*(const __half2 *)((const __half *)base + i));
    }
    return __bfloat1622float2(*(const __nv_bfloat162 *)((const __nv_bfloat16 *)base + i));
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

__device__ __forceinline__ void store_real(uint64_t base, uint32_t type, int64_t i, float x)
{
    if (type == LT_GEMM_F32) {
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

/* x (1 + erf(x / sqrt(2))) / 2 = max(x, 0) - |x| q / 2 with q = 1 - erf(|x| / sqrt(2)) after
 * Abramowitz and Stegun 7.1.26, good to 1.5e-7. |x| is bounded where q is 0, for infinities. */
__device__ __forceinline__ float gelu(float x)
{
    float a = fabsf(x);
    float t = reciprocal_fast(fmaf(a, 0.3275911f * 0.707106781f, 1.0f));
    float q = fmaf(t, 1.061405429f, -1.453152027f);
    q = fmaf(q, t, 1.421413741f);
    q = fmaf(q, t, -0.284496736f);
    q = fmaf(q, t, 0.254829592f) * t;
    q *= exp2_fast(x * x * (-0.5f * 1.44269504f));
    return fmaf(-0.5f * fminf(a, 64.0f), q, fmaxf(x, 0.0f));
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
    uint32_t staging; /* 2 KB of shared memory */
};

template <int COUNT>
__device__ __forceinline__ void add_bias(const lt_cuda_gemm_params &p, float (&s)[COUNT],
                                         uint32_t column)
{
#pragma unroll
    for (int j = 0; j < COUNT / 4; j++) {
#pragma unroll
        for (int e = 0; e < 2; e++) {
            uint32_t c = column + 8 * j + e;
            float bias = c < p.n ? load_real(p.bias, p.bias_type, c) : 0.0f;
            s[4 * j + e] += bias;
            s[4 * j + 2 + e] += bias;
        }
    }
}

template <int COUNT>
__device__ __forceinline__ void add_residual(const lt_cuda_gemm_params &p, float (&s)[COUNT],
                                             uint32_t row, uint32_t column, uint32_t batch)
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        uint32_t r = row + 8 * half;
        int64_t start = batch * p.r_batch + r * p.ldr;
#pragma unroll
        for (int j = 0; j < COUNT / 4; j++) {
            uint32_t c = column + 8 * j;
            if (r >= p.m || c >= p.n) {
                continue;
            }
            float2 v;
            if (p.residual_pairs && c + 1 < p.n) {
                v = load_pair(p.residual, p.residual_type, start + c);
            } else {
                v.x = load_real(p.residual, p.residual_type, start + c);
                v.y = c + 1 < p.n ? load_real(p.residual, p.residual_type, start + c + 1) : 0.0f;
            }
            s[4 * j + 2 * half] += v.x;
            s[4 * j + 2 * half + 1] += v.y;
        }
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
            if (p.wide && p.out_type == LT_GEMM_F32) {
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

/* Through shared memory: rows of 128 bytes whose pieces of 16 bytes are exchanged by row, so that
 * neither way meets one bank twice. */
template <int COUNT>
__device__ __forceinline__ void store_staged(const lt_cuda_gemm_params &p, const float (&s)[COUNT],
                                             const place &at)
{
    constexpr uint32_t PIECES = COUNT / 4; /* of 16 bytes a row */
    constexpr uint32_t ROWS = 32 / PIECES; /* that the warp stores at once */
    const uint32_t lane = threadIdx.x % 32;
    const uint32_t row_in = lane % 8 + (lane / 8 % 2) * 8;
#pragma unroll
    for (int g = 0; g < COUNT / 8; g++) {
        uint32_t v[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            v[i] = pack_pair(p.out_type, s[8 * g + 2 * i], s[8 * g + 2 * i + 1]);
        }
        uint32_t piece = 2 * g + lane / 16;
        ptx::store_matrices(at.staging + row_in * 128 + ((piece ^ (row_in % 8)) * 16), v);
    }
    __syncwarp();
#pragma unroll
    for (uint32_t i = 0; i < 16 / ROWS; i++) {
        uint32_t row = i * ROWS + lane / PIECES;
        uint32_t piece = lane % PIECES;
        uint32_t address = at.staging + row * 128 + ((piece ^ (row % 8)) * 16);
        uint4 v;
        asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                     : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                     : "r"(address)
                     : "memory");
        uint32_t r = at.row + row, c = at.column + piece * 8;
        if (r < p.m && c < p.n) {
            *(uint4 *)((uint16_t *)p.d + at.batch * p.d_batch + r * p.ldd + c) = v;
        }
    }
    __syncwarp();
}

/* Finishes a warp's 16 rows of 2 COUNT columns. */
template <int COUNT>
__device__ __forceinline__ void finish(const lt_cuda_gemm_params &p, float (&s)[COUNT],
                                       const place &at)
{
    const uint32_t lane = threadIdx.x % 32;
    const uint32_t row = at.row + lane / 4, column = at.column + lane % 4 * 2;
    if (at.column >= p.n) {
        return;
    }
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        s[i] *= p.scale;
    }
    if (p.bias_type != LT_GEMM_NONE) {
        add_bias(p, s, column);
    }
    if (p.residual_type != LT_GEMM_NONE) {
        add_residual(p, s, row, column, at.batch);
    }
    activate(p, s);
    if (p.wide && p.out_type != LT_GEMM_F32) {
        store_staged(p, s, at);
    } else {
        store_direct(p, s, row, column, at.batch);
    }
}

} // namespace gemm

#endif

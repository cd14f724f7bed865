/* SPDX-License-Identifier: Apache-2.0 */
/* From sums of bytes to results: lt_cuda_gemm_requantize's formula, two columns of eight rows' sums
 * at a time as in epilogue.cuh.
 *
 * Results and residuals of bytes in aligned rows pass through the warp's shared memory, in rows of
 * 64 bytes that begin 80 bytes apart (the eight rows that a warp touches at once then lie in
 * different banks), so that they come and go as 16 bytes a thread. */
#ifndef LEAT_CUDA_GEMM_REQUANTIZE_H
#define LEAT_CUDA_GEMM_REQUANTIZE_H

#include "epilogue.cuh"

namespace gemm
{

constexpr uint32_t BYTE_ROW = 80;

/* min(max(x, low), high) of numbers that are not NaN. */
__device__ __forceinline__ float saturate(float x, float low, float high)
{
    return fminf(fmaxf(x, low), high);
}

/* f = (sum + offset) * scale + bias; of I32 the sums, their bits in f. */
template <int COUNT>
__device__ __forceinline__ void scale_sums(const lt_cuda_gemm_params &p, const int32_t (&s)[COUNT],
                                           float (&f)[COUNT], const place &at)
{
    const uint32_t first = threadIdx.x % 4 * 2;
#pragma unroll
    for (int i = 0; i < COUNT; i += 2) {
        const uint32_t column = first + i / 4 * 8;
        const uint2 offset = number_pair(at, 2, column);
        const int32_t x = s[i] + (int32_t)offset.x, y = s[i + 1] + (int32_t)offset.y;
        if (p.out_type == LT_GEMM_I32) {
            f[i] = __int_as_float(x);
            f[i + 1] = __int_as_float(y);
            continue;
        }
        const uint2 scale = number_pair(at, 1, column), bias = number_pair(at, 0, column);
        f[i] = fmaf((float)x, __uint_as_float(scale.x), __uint_as_float(bias.x));
        f[i + 1] = fmaf((float)y, __uint_as_float(scale.y), __uint_as_float(bias.y));
    }
}

__device__ __forceinline__ float byte_value(uint32_t type, uint32_t byte)
{
    return (float)(int32_t)(byte ^ (type == LT_GEMM_I8 ? 0x80u : 0u));
}

/* Residual bytes of any alignment. */
template <int COUNT>
__device__ __forceinline__ void load_bytes(const lt_cuda_gemm_params &p, float (&r)[COUNT],
                                           uint32_t row, uint32_t column, uint32_t batch)
{
    const uint8_t *from = (const uint8_t *)p.residual + batch * p.r_batch;
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        const uint32_t at_row = row + i / 2 % 2 * 8, c = column + i / 4 * 8 + i % 2;
        const bool inside = at_row < p.m && c < p.n;
        const uint32_t byte = inside ? from[at_row * p.ldr + c] : 0;
        r[i] = byte_value(p.residual_type, byte);
    }
}

/* The same from rows that were loaded by 16 bytes. */
template <int COUNT>
__device__ __forceinline__ void unpack_bytes(const lt_cuda_gemm_params &p, float (&r)[COUNT],
                                             const residual_rows<COUNT, 1> &rows, const place &at)
{
    const uint32_t lane = threadIdx.x % 32;
#pragma unroll
    for (uint32_t i = 0; i < rows.LOADS; i++) {
        if (rows.row(i) < 16) {
            ptx::store_16(at.staging + rows.row(i) * BYTE_ROW + rows.piece() * 16, rows.v[i]);
        }
    }
    __syncwarp();
#pragma unroll
    for (int i = 0; i < COUNT; i += 2) {
        const uint32_t row = lane / 4 + i / 2 % 2 * 8;
        const uint32_t pair = ptx::load_2(at.staging + row * BYTE_ROW + lane % 4 * 2 + i / 4 * 8);
        r[i] = byte_value(p.residual_type, pair & 255);
        r[i + 1] = byte_value(p.residual_type, pair >> 8);
    }
    __syncwarp();
}

/* f = f * mid_factor + (R * residual_factor + residual_offset) */
template <int COUNT>
__device__ __forceinline__ void
add_scaled_residual(const lt_cuda_gemm_params &p, float (&f)[COUNT],
                    const residual_rows<COUNT, 1> &rows, uint32_t row, uint32_t column,
                    const place &at)
{
    float r[COUNT];
    if (p.residual_wide) {
        unpack_bytes(p, r, rows, at);
    } else if (p.residual_type == LT_GEMM_I8 || p.residual_type == LT_GEMM_U8) {
        load_bytes(p, r, row, column, at.batch);
    } else {
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            r[i] = 0;
        }
        add_residual(p, r, row, column, at);
    }
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        f[i] = fmaf(f[i], p.q.mid_factor, fmaf(r[i], p.q.residual_factor, p.q.residual_offset));
    }
}

__device__ __forceinline__ uint32_t byte_of(const lt_cuda_gemm_params &p, float f)
{
    return (uint32_t)(__float2int_rn(f) + p.q.zero) & 255u;
}

/* Bytes whose rows are aligned on 16 bytes: by 16 of them a thread. */
template <int COUNT>
__device__ __forceinline__ void store_bytes_staged(const lt_cuda_gemm_params &p,
                                                   const float (&f)[COUNT], const place &at)
{
    constexpr uint32_t PIECES = COUNT / 8;
    const uint32_t lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < COUNT; i += 2) {
        const uint32_t row = lane / 4 + i / 2 % 2 * 8;
        ptx::store_2(at.staging + row * BYTE_ROW + lane % 4 * 2 + i / 4 * 8,
                     byte_of(p, f[i]) | byte_of(p, f[i + 1]) << 8);
    }
    __syncwarp();
#pragma unroll
    for (uint32_t i = 0; i < 16 * PIECES; i += 32) {
        const uint32_t piece = i + lane, row = at.row + piece / PIECES;
        const uint32_t c = at.column + piece % PIECES * 16;
        if (piece < 16 * PIECES && row < p.m && c < p.n) {
            const uint4 v =
                ptx::load_16(at.staging + piece / PIECES * BYTE_ROW + piece % PIECES * 16);
            *(uint4 *)((uint8_t *)p.d + at.batch * p.d_batch + row * p.ldd + c) = v;
        }
    }
    __syncwarp();
}

template <int COUNT>
__device__ __forceinline__ void store_bytes(const lt_cuda_gemm_params &p, const float (&f)[COUNT],
                                            uint32_t row, uint32_t column, uint32_t batch)
{
    uint8_t *to = (uint8_t *)p.d + batch * p.d_batch;
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        const uint32_t at_row = row + i / 2 % 2 * 8, c = column + i / 4 * 8 + i % 2;
        if (at_row < p.m && c < p.n) {
            to[at_row * p.ldd + c] = (uint8_t)byte_of(p, f[i]);
        }
    }
}

/* Finishes a warp's 16 rows of 2 COUNT columns of sums of bytes. */
template <int COUNT>
__device__ __forceinline__ void finish(const lt_cuda_gemm_params &p, int32_t (&s)[COUNT],
                                       const residual_rows<COUNT, 1> &rows, const place &at)
{
    const uint32_t lane = threadIdx.x % 32;
    const uint32_t row = at.row + lane / 4, column = at.column + lane % 4 * 2;
    float f[COUNT];
    if (at.column >= p.n) {
        return;
    }
    scale_sums(p, s, f, at);
    if (p.out_type == LT_GEMM_I32) {
        store_direct(p, f, row, column, at.batch);
        return;
    }
    if (p.q.mid) {
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            f[i] = rintf(saturate(f[i], p.q.mid_low, p.q.mid_high));
        }
    }
    if (p.residual_type != LT_GEMM_NONE) {
        add_scaled_residual(p, f, rows, row, column, at);
    }
    if (p.finish != LT_GEMM_FINISH_NONE) {
        activate(p, f);
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            f[i] *= p.q.post;
        }
    }
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        f[i] = saturate(f[i], p.q.low, p.q.high);
    }
    if (p.out_type != LT_GEMM_I8 && p.out_type != LT_GEMM_U8) {
        store(p, f, row, column, at);
    } else if (p.wide) {
        store_bytes_staged(p, f, at);
    } else {
        store_bytes(p, f, row, column, at.batch);
    }
}

} // namespace gemm

#endif

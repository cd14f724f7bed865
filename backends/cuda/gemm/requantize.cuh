/* SPDX-License-Identifier: Apache-2.0 */
/* From sums of bytes to results: lt_cuda_gemm_requantize's formula.
 *
 * Rows of B are ordered (lt_cuda_gemm_byte_row) so that a thread's sums of a row of D are of
 * neighbouring columns, 16 of each 64:
 *
 *     tensor cores' column   0  1 | 2  3 | 4  5 | 6  7 | 8  9 | 10 11 ...
 *     thread of four         0    | 1    | 2    | 3    | 0    | 1
 *     column of D            0  1 | 16 17| 32 33| 48 49| 2  3 | 18 19 ...
 *
 * Residuals and results move between registers and memory by 16 bytes a thread, 64 of a row's bytes
 * side by side. The numbers of four columns come from shared memory 16 bytes an array, and 16 bytes
 * lie between every 32 of an array, so that the four threads' are in different banks. Floats are
 * rounded to integers by adding 1.5 * 2^23: conversions would take four times as long. Each step is
 * done to all of a thread's sums before the next, so that their latencies overlap. */
#ifndef LEAT_CUDA_GEMM_REQUANTIZE_H
#define LEAT_CUDA_GEMM_REQUANTIZE_H

#include "epilogue.cuh"

namespace gemm
{

constexpr float ROUNDER = 12582912.0f; /* 1.5 * 2^23 */

__device__ __forceinline__ constexpr uint32_t byte_number_place(uint32_t column)
{
    return column + column / 32 * 4;
}

/* min(max(x, low), high); low of NaN. */
__device__ __forceinline__ float saturate(float x, float low, float high)
{
    return fminf(fmaxf(x, low), high);
}

__device__ __forceinline__ bool is_byte(uint32_t type)
{
    return type == LT_GEMM_I8 || type == LT_GEMM_U8;
}

/* A thread's residual of bytes on its way: COUNT sums' in two rows. */
template <int COUNT> struct byte_rows {
    static constexpr int WORDS = COUNT / 8; /* of a row */
    uint32_t v[2][WORDS];

    __device__ __forceinline__ void load(const lt_cuda_gemm_params &p, uint32_t first_row,
                                         uint32_t column, uint32_t batch)
    {
        const uint32_t c = column + threadIdx.x % 4 * 16;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const uint32_t r = first_row + threadIdx.x % 32 / 4 + 8 * half;
            const bool inside = is_byte(p.residual_type) && r < p.m && c < p.n;
            const uint8_t *from = (const uint8_t *)p.residual + batch * p.r_batch + r * p.ldr + c;
#pragma unroll
            for (int i = 0; i < WORDS; i++) {
                v[half][i] = 0;
            }
            if (inside && p.residual_wide) {
                load_row(half, from);
            } else if (inside) {
                load_bytes(half, from, p.n - c);
            }
        }
    }

  private:
    __device__ __forceinline__ void load_row(int half, const uint8_t *from)
    {
        if constexpr (WORDS == 4) {
            const uint4 w = *(const uint4 *)from;
            v[half][0] = w.x;
            v[half][1] = w.y;
            v[half][2] = w.z;
            v[half][3] = w.w;
        } else {
            static_assert(WORDS == 1, "no such width");
            v[half][0] = *(const uint32_t *)from;
        }
    }
    __device__ __forceinline__ void load_bytes(int half, const uint8_t *from, uint32_t count)
    {
#pragma unroll
        for (int i = 0; i < 4 * WORDS; i++) {
            v[half][i / 4] |= i < (int)count ? (uint32_t)from[i] << (i % 4 * 8) : 0;
        }
    }
};

/* Four columns of a row. */
struct quad {
    float v[4];
};

/* Loads that the compiler may move, unlike ptx::load_16. */
__device__ __forceinline__ void load_numbers(uint32_t address, uint32_t (&v)[4])
{
    const uint4 w = *(const uint4 *)__cvta_shared_to_generic(address);
    v[0] = w.x;
    v[1] = w.y;
    v[2] = w.z;
    v[3] = w.w;
}

/* f[half] = (sum + offset) * scale + bias of four columns of both rows; of I32 the sums, their bits
 * in f. s: the sums as the tensor cores leave them, two columns of the upper row, two of the lower,
 * and again. numbers: of the first column. */
__device__ __forceinline__ void scale_sums(const lt_cuda_gemm_params &p, const int32_t *s,
                                           uint32_t numbers, uint32_t array_bytes, quad *upper,
                                           quad *lower)
{
    uint32_t offset[4], scale[4], bias[4] = {0, 0, 0, 0};
    load_numbers(numbers + 2 * array_bytes, offset);
    load_numbers(numbers + array_bytes, scale);
    if (p.bias_type != LT_GEMM_NONE) {
        load_numbers(numbers, bias);
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const int c = i / 4 * 2 + i % 2;
        const int32_t sum = s[i] + (int32_t)offset[c];
        const float f = fmaf((float)sum, __uint_as_float(scale[c]), __uint_as_float(bias[c]));
        (i / 2 % 2 ? lower : upper)->v[c] = p.out_type == LT_GEMM_I32 ? __int_as_float(sum) : f;
    }
}

/* Byte i of the word as a number; 2^23 + byte is a float whose last bits are the byte's. */
__device__ __forceinline__ float byte_number(uint32_t word, int i)
{
    return __uint_as_float(__byte_perm(word, 0x4b000000u, 0x7440u + (uint32_t)i)) - 8388608.0f;
}

/* Four columns of a residual of floats. */
__device__ __forceinline__ quad residual_quad(const lt_cuda_gemm_params &p, uint32_t row,
                                              uint32_t column, uint32_t batch)
{
    const int64_t at = batch * p.r_batch + row * p.ldr + column;
    quad r = {{0, 0, 0, 0}};
    if (row >= p.m || column >= p.n) {
        return r;
    }
    if (!p.residual_wide) {
#pragma unroll
        for (int c = 0; c < 4; c++) {
            const uint64_t from = p.residual + (at + c) * (p.residual_type == LT_GEMM_F32 ? 4 : 2);
            r.v[c] = column + c < p.n ? load_real(from, p.residual_type, 0) : 0.0f;
        }
    } else if (p.residual_type == LT_GEMM_F32) {
        const float4 w = *(const float4 *)((const float *)p.residual + at);
        r = {{w.x, w.y, w.z, w.w}};
    } else {
        const uint2 w = *(const uint2 *)((const uint16_t *)p.residual + at);
        const float2 low = unpack_pair(p.residual_type, w.x);
        const float2 high = unpack_pair(p.residual_type, w.y);
        r = {{low.x, low.y, high.x, high.y}};
    }
    return r;
}

/* f = f * mid_factor + (R * residual_factor + residual_offset) */
__device__ __forceinline__ void add_scaled_residual(const lt_cuda_gemm_params &p, float &f, float r)
{
    f = fmaf(f, p.q.mid_factor, fmaf(r, p.q.residual_factor, p.q.residual_offset));
}

/* Everything between the scaled sums and the saturated results. f: the upper row's quads, then the
 * lower's; row, column: of the first. ONLY_BYTES: no residual of floats and no activation. */
template <bool ONLY_BYTES, int COUNT>
__device__ __forceinline__ void finish_quads(const lt_cuda_gemm_params &p, quad (&f)[COUNT / 4],
                                             const byte_rows<COUNT> &rows, uint32_t row,
                                             uint32_t column, uint32_t batch)
{
    constexpr int WORDS = COUNT / 8;
    if (p.q.mid) {
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            float &x = f[i / 4].v[i % 4];
            x = __fsub_rn(__fadd_rn(saturate(x, p.q.mid_low, p.q.mid_high), ROUNDER), ROUNDER);
        }
    }
    if (is_byte(p.residual_type)) {
        const uint32_t flip = p.residual_type == LT_GEMM_I8 ? 0x80808080u : 0u;
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            const float r = byte_number(rows.v[i / 4 / WORDS][i / 4 % WORDS] ^ flip, i % 4);
            add_scaled_residual(p, f[i / 4].v[i % 4], r);
        }
    } else if (!ONLY_BYTES && p.residual_type != LT_GEMM_NONE) {
#pragma unroll
        for (int i = 0; i < 2 * WORDS; i++) {
            const quad r = residual_quad(p, row + i / WORDS * 8, column + i % WORDS * 4, batch);
#pragma unroll
            for (int c = 0; c < 4; c++) {
                add_scaled_residual(p, f[i].v[c], r.v[c]);
            }
        }
    }
    if (!ONLY_BYTES && p.finish != LT_GEMM_FINISH_NONE) {
#pragma unroll
        for (int i = 0; i < 2 * WORDS; i++) {
            activate(p, f[i].v);
#pragma unroll
            for (int c = 0; c < 4; c++) {
                f[i].v[c] *= p.q.post;
            }
        }
    }
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        float &x = f[i / 4].v[i % 4];
        x = saturate(x, p.q.low, p.q.high);
    }
}

/* Four results as bytes. */
__device__ __forceinline__ uint32_t byte_word(const lt_cuda_gemm_params &p, const quad &f)
{
    uint32_t v[4];
#pragma unroll
    for (int c = 0; c < 4; c++) {
        v[c] = __float_as_uint(__fadd_rn(f.v[c], ROUNDER)) + (uint32_t)p.q.zero;
    }
    return __byte_perm(__byte_perm(v[0], v[1], 0x0040), __byte_perm(v[2], v[3], 0x0040), 0x5410);
}

/* Results of 2 or 4 bytes. */
__device__ __forceinline__ void store_quad(const lt_cuda_gemm_params &p, const quad &f,
                                           uint32_t row, uint32_t column, uint32_t batch)
{
    const int64_t at = batch * p.d_batch + row * p.ldd + column;
    if (row >= p.m || column >= p.n) {
        return;
    }
    if (p.wide && is_4_bytes(p.out_type)) {
        *(float4 *)((float *)p.d + at) = make_float4(f.v[0], f.v[1], f.v[2], f.v[3]);
    } else if (p.wide) {
        *(uint2 *)((uint16_t *)p.d + at) = make_uint2(pack_pair(p.out_type, f.v[0], f.v[1]),
                                                      pack_pair(p.out_type, f.v[2], f.v[3]));
    } else {
#pragma unroll
        for (int c = 0; c < 4; c++) {
            if (column + c < p.n) {
                store_real(p.d, p.out_type, at + c, f.v[c]);
            }
        }
    }
}

/* A row's bytes, four columns a word. */
template <int WORDS>
__device__ __forceinline__ void store_bytes(const lt_cuda_gemm_params &p,
                                            const uint32_t (&v)[WORDS], uint32_t row,
                                            uint32_t column, uint32_t batch)
{
    uint8_t *to = (uint8_t *)p.d + batch * p.d_batch + row * p.ldd + column;
    if (row >= p.m || column >= p.n) {
        return;
    }
    if (!p.wide) {
#pragma unroll
        for (int i = 0; i < 4 * WORDS; i++) {
            if (column + i < p.n) {
                to[i] = (uint8_t)(v[i / 4] >> (i % 4 * 8));
            }
        }
    } else if constexpr (WORDS == 4) {
        *(uint4 *)to = make_uint4(v[0], v[1], v[2], v[3]);
    } else {
        *(uint32_t *)to = v[0];
    }
}

/* Finishes a thread's share of a warp's 16 rows of 2 COUNT columns of sums of bytes. ONLY_BYTES:
 * results are bytes, and as above. */
template <bool ONLY_BYTES, int COUNT>
__device__ __forceinline__ void finish_bytes(const lt_cuda_gemm_params &p, int32_t (&s)[COUNT],
                                             const byte_rows<COUNT> &rows, const place &at)
{
    constexpr int WORDS = COUNT / 8;
    const uint32_t lane = threadIdx.x % 32, first = lane % 4 * 16;
    const uint32_t row = at.row + lane / 4, column = at.column + first;
    const uint32_t numbers = at.numbers + byte_number_place(first) * 4;
    quad f[2 * WORDS];
#pragma unroll
    for (int i = 0; i < WORDS; i++) {
        scale_sums(p, s + 8 * i, numbers + i * 16, at.array_bytes, &f[i], &f[WORDS + i]);
    }
    if (ONLY_BYTES || p.out_type != LT_GEMM_I32) {
        finish_quads<ONLY_BYTES, COUNT>(p, f, rows, row, column, at.batch);
    }
    if (ONLY_BYTES || is_byte(p.out_type)) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            uint32_t bytes[WORDS];
#pragma unroll
            for (int i = 0; i < WORDS; i++) {
                bytes[i] = byte_word(p, f[half * WORDS + i]);
            }
            store_bytes(p, bytes, row + half * 8, column, at.batch);
        }
    } else {
#pragma unroll
        for (int i = 0; i < 2 * WORDS; i++) {
            store_quad(p, f[i], row + i / WORDS * 8, column + i % WORDS * 4, at.batch);
        }
    }
}

template <int COUNT>
__device__ __forceinline__ void finish(const lt_cuda_gemm_params &p, int32_t (&s)[COUNT],
                                       const byte_rows<COUNT> &rows, const place &at)
{
    const bool only_bytes = is_byte(p.out_type) && p.finish == LT_GEMM_FINISH_NONE &&
                            (p.residual_type == LT_GEMM_NONE || is_byte(p.residual_type));
    if (only_bytes) { /* less code on the way: it stays in the instruction cache */
        finish_bytes<true, COUNT>(p, s, rows, at);
    } else {
        finish_bytes<false, COUNT>(p, s, rows, at);
    }
}

} // namespace gemm

#endif

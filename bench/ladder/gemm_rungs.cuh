// SPDX-License-Identifier: Apache-2.0
// Rungs below the shipped kernel: D[m][n] = A[m][k] B[k][n], F16 in memory, sums in F32. m, n
// multiples of 128 and k of 64, dense rows.
#ifndef BENCH_LADDER_GEMM_RUNGS_H
#define BENCH_LADDER_GEMM_RUNGS_H

#include "../../backends/cuda/gemm/wgmma.cuh"

// 1. A thread per result: every factor comes from memory or a cache each time.
__global__ void gemm_naive(const __half *a, const __half *b, __half *d, int m, int n, int k)
{
    int column = blockIdx.x * blockDim.x + threadIdx.x;
    int row = blockIdx.y * blockDim.y + threadIdx.y;
    float sum = 0;
    for (int i = 0; i < k; i++) {
        sum += __half2float(a[(int64_t)row * k + i]) * __half2float(b[(int64_t)i * n + column]);
    }
    d[(int64_t)row * n + column] = __float2half_rn(sum);
}

// 2. Tiles of 32 x 32 in shared memory: each factor is loaded once a block.
__global__ void gemm_shared(const __half *a, const __half *b, __half *d, int m, int n, int k)
{
    __shared__ float as[32][33], bs[32][33];
    int x = threadIdx.x, y = threadIdx.y;
    int row = blockIdx.y * 32 + y, column = blockIdx.x * 32 + x;
    float sum = 0;
    for (int i = 0; i < k; i += 32) {
        as[y][x] = __half2float(a[(int64_t)row * k + i + x]);
        bs[y][x] = __half2float(b[(int64_t)(i + y) * n + column]);
        __syncthreads();
        for (int j = 0; j < 32; j++) {
            sum += as[y][j] * bs[j][x];
        }
        __syncthreads();
    }
    d[(int64_t)row * n + column] = __float2half_rn(sum);
}

// 3. 8 x 8 results a thread, in registers: 64 multiply-adds for 16 loads from shared memory.
__global__ void __launch_bounds__(256)
    gemm_registers(const __half *a, const __half *b, __half *d, int m, int n, int k)
{
    __shared__ float as[16][132], bs[16][132];
    int t = threadIdx.x, x = t % 16, y = t / 16;
    int64_t row = blockIdx.y * 128, column = blockIdx.x * 128;
    float sums[8][8] = {};
    for (int i = 0; i < k; i += 16) {
        for (int j = t; j < 128 * 16; j += 256) {
            as[j % 16][j / 16] = __half2float(a[(row + j / 16) * k + i + j % 16]);
            bs[j / 128][j % 128] = __half2float(b[(int64_t)(i + j / 128) * n + column + j % 128]);
        }
        __syncthreads();
#pragma unroll
        for (int j = 0; j < 16; j++) {
            float u[8], v[8];
#pragma unroll
            for (int e = 0; e < 8; e++) {
                u[e] = as[j][y * 8 + e];
                v[e] = bs[j][x + 16 * e];
            }
#pragma unroll
            for (int e = 0; e < 64; e++) {
                sums[e / 8][e % 8] += u[e / 8] * v[e % 8];
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int e = 0; e < 64; e++) {
        d[(row + y * 8 + e / 8) * n + column + x + 16 * (e % 8)] =
            __float2half_rn(sums[e / 8][e % 8]);
    }
}

// 4. mma.sync: 128 x 128 x 32 a block, three stages by cp.async; a warp computes 64 x 32.
constexpr int MMA_STAGES = 3;
constexpr int MMA_A_ROW = 40, MMA_B_ROW = 136; // padded: neighbours of a matrix lie in other banks
constexpr int MMA_STAGE = 128 * MMA_A_ROW + 32 * MMA_B_ROW;
constexpr int MMA_SHARED = MMA_STAGES * MMA_STAGE * 2;

__device__ __forceinline__ void mma_copy(uint32_t to, const __half *from)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from));
}

__device__ __forceinline__ void mma_load_stage(uint32_t stage, const __half *a, const __half *b,
                                               int n, int k, int i)
{
    for (int j = threadIdx.x; j < 512; j += 256) {
        mma_copy(stage + (j / 4 * MMA_A_ROW + j % 4 * 8) * 2,
                 a + (int64_t)(j / 4) * k + i + j % 4 * 8);
        mma_copy(stage + (128 * MMA_A_ROW + j / 16 * MMA_B_ROW + j % 16 * 8) * 2,
                 b + (int64_t)(i + j / 16) * n + j % 16 * 8);
    }
    asm volatile("cp.async.commit_group;");
}

__device__ __forceinline__ void mma_step(uint32_t stage, float (&sums)[4][4][4])
{
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int row = warp / 4 * 64, column = warp % 4 * 32;
#pragma unroll
    for (int j = 0; j < 32; j += 16) {
        uint32_t u[4][4], v[4][2];
#pragma unroll
        for (int e = 0; e < 4; e++) {
            uint32_t address =
                stage + ((row + e * 16 + lane % 16) * MMA_A_ROW + j + lane / 16 * 8) * 2;
            asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                         : "=r"(u[e][0]), "=r"(u[e][1]), "=r"(u[e][2]), "=r"(u[e][3])
                         : "r"(address));
            address = stage + (128 * MMA_A_ROW + (j + lane % 16) * MMA_B_ROW + column + e * 8) * 2;
            asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                         : "=r"(v[e][0]), "=r"(v[e][1])
                         : "r"(address));
        }
#pragma unroll
        for (int e = 0; e < 16; e++) {
            float(&s)[4] = sums[e / 4][e % 4];
            asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
                         "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                         : "+f"(s[0]), "+f"(s[1]), "+f"(s[2]), "+f"(s[3])
                         : "r"(u[e / 4][0]), "r"(u[e / 4][1]), "r"(u[e / 4][2]), "r"(u[e / 4][3]),
                           "r"(v[e % 4][0]), "r"(v[e % 4][1]));
        }
    }
}

__global__ void __launch_bounds__(256)
    gemm_mma(const __half *a, const __half *b, __half *d, int m, int n, int k)
{
    extern __shared__ __align__(1024) uint8_t shared[];
    uint32_t base = ptx::shared_address(shared);
    int64_t row = blockIdx.y * 128, column = blockIdx.x * 128;
    float sums[4][4][4] = {};
    a += row * k;
    b += column;
    for (int i = 0; i < MMA_STAGES - 1; i++) {
        mma_load_stage(base + i * MMA_STAGE * 2, a, b, n, k, i * 32);
    }
    for (int i = 0; i < k / 32; i++) {
        asm volatile("cp.async.wait_group %0;" ::"n"(MMA_STAGES - 2));
        __syncthreads();
        int next = i + MMA_STAGES - 1;
        if (next < k / 32) {
            mma_load_stage(base + next % MMA_STAGES * MMA_STAGE * 2, a, b, n, k, next * 32);
        } else {
            asm volatile("cp.async.commit_group;");
        }
        mma_step(base + i % MMA_STAGES * MMA_STAGE * 2, sums);
    }
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int e = 0; e < 32; e++) {
        int64_t r = row + warp / 4 * 64 + e / 8 * 16 + lane / 4 + e % 2 * 8;
        int64_t c = column + warp % 4 * 32 + e / 2 % 4 * 8 + lane % 4 * 2;
        const float(&s)[4] = sums[e / 8][e / 2 % 4];
        *(__half2 *)&d[r * n + c] = __floats2half2_rn(s[e % 2 * 2], s[e % 2 * 2 + 1]);
    }
}

// 5. wgmma from one stage: tensor copies and products take turns. 128 x 128 x 64, two warpgroups.
struct wgmma_maps {
    alignas(64) uint64_t a[16];
    alignas(64) uint64_t b[16];
};
constexpr int WGMMA_SHARED = 2 * 128 * 128 + 1024;

__global__ void __launch_bounds__(256)
    gemm_wgmma(const __grid_constant__ wgmma_maps maps, __half *d, int n, int k)
{
    extern __shared__ __align__(1024) uint8_t shared[];
    __shared__ uint64_t barrier_word;
    uint32_t stage = (ptx::shared_address(shared) + 1023) / 1024 * 1024;
    uint32_t barrier = ptx::shared_address(&barrier_word);
    int row = blockIdx.y * 128, column = blockIdx.x * 128, group = threadIdx.x / 128;
    float sums[64];
    if (threadIdx.x == 0) {
        ptx::barrier_init(barrier, 1);
        ptx::barrier_init_fence();
    }
    __syncthreads();
    for (int i = 0; i < k / 64; i++) {
        if (threadIdx.x == 0) {
            ptx::barrier_expect(barrier, 2 * 128 * 128);
            ptx::copy_3d(stage, &maps.a, barrier, i * 64, row, 0);
            ptx::copy_3d(stage + 16384, &maps.b, barrier, column, i * 64, 0);
            ptx::copy_3d(stage + 24576, &maps.b, barrier, column + 64, i * 64, 0);
        }
        ptx::barrier_wait(barrier, i % 2);
        ptx::product_hold(sums);
        ptx::product_fence();
#pragma unroll
        for (int j = 0; j < 4; j++) {
            ptx::product<__half, 128, 1>(sums, ptx::descriptor(stage + group * 8192 + j * 32, 16),
                                         ptx::descriptor(stage + 16384 + j * 2048, 8192),
                                         i + j > 0);
        }
        ptx::product_commit();
        ptx::product_wait<0>();
        ptx::product_hold(sums);
        __syncthreads();
    }
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int e = 0; e < 32; e++) {
        int64_t r = row + warp * 16 + lane / 4 + e % 2 * 8;
        int64_t c = column + e / 2 * 8 + lane % 4 * 2;
        *(__half2 *)&d[r * n + c] = __floats2half2_rn(sums[2 * e], sums[2 * e + 1]);
    }
}

#endif

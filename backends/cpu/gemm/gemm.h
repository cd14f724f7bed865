/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix product on packed weights: the core of Gemm, MatMul and convolution.
 *
 *     C[m, n] = act( sum over t < taps, j < k of A_t[m, j] * B[t * k + j, n] + bias[n] + R[m, n] )
 *
 * A row of A is given by one pointer a tap to k contiguous elements: one tap for a matrix, one a
 * filter position for a convolution over channels-last data (the indirect convolution of Dukhan,
 * arXiv:1907.02129, with the pointers made a tile at a time).
 *
 * B is packed once into panels of `nr` columns, each (taps * k) x nr, columns beyond n zero:
 *
 *     panel 0: b[0][0..nr) b[1][0..nr) ... | panel 1: ... | last panel: nr or nr/2 columns
 *
 * A micro-kernel keeps mr x nr sums in registers: 14 x 32 f32 with AVX-512 (28 of 32 registers),
 * 6 x 16 with AVX2, 4 x 8 in portable C. f64 has half as many columns.
 */
#ifndef LT_CPU_GEMM_H
#define LT_CPU_GEMM_H

#include "cpu.h"
#include "elementwise/activation.h"

#define LT_GEMM_MAX_MR 14

/* One call of a micro-kernel: up to mr rows by one panel. Types f32 or f64 as the kernel's. */
typedef struct lt_gemm_tile {
    const void *const *rows; /* [taps][LT_GEMM_MAX_MR] */
    size_t taps;
    size_t k;
    const void *b;    /* the panel */
    const void *bias; /* at the panel's first column, readable to the panel's full width; or NULL */
    void *c;          /* first element of the tile */
    size_t ldc;       /* elements */
    const void *residual; /* as c; NULL for none */
    size_t ldr;
    uint32_t n;       /* columns that exist, at most the panel's width */
    double low, high; /* clamp at the end; -inf and inf for none */
} lt_gemm_tile;

typedef void (*lt_gemm_kernel_fn)(const lt_gemm_tile *tile);

/* The micro-kernels of one type and instruction set. */
typedef struct lt_gemm_kernels {
    const char *name;
    leat_dtype dtype;
    uint32_t mr;
    uint32_t nr;                            /* columns of a full panel; a half panel has nr / 2 */
    lt_gemm_kernel_fn full[LT_GEMM_MAX_MR]; /* by rows - 1 */
    lt_gemm_kernel_fn half[LT_GEMM_MAX_MR];
    void (*activate)(float *x, int64_t n, const lt_cpu_activation *activation); /* f32 only */
} lt_gemm_kernels;

/* The best kernels for a device; dtype F32 or F64. */
const lt_gemm_kernels *lt_gemm_kernels_for(const lt_cpu_device *device, leat_dtype dtype);

extern const lt_gemm_kernels lt_cpu_gemm_f32_4x8_portable;
extern const lt_gemm_kernels lt_cpu_gemm_f64_4x4_portable;
#if defined(__x86_64__)
extern const lt_gemm_kernels lt_cpu_gemm_f32_6x16_avx2;
extern const lt_gemm_kernels lt_cpu_gemm_f32_14x32_avx512;
extern const lt_gemm_kernels lt_cpu_gemm_f64_6x8_avx2;
extern const lt_gemm_kernels lt_cpu_gemm_f64_14x16_avx512;
#endif

/* --- packing ---------------------------------------------------------------------------------- */

/* Bytes of a packed B of `k_total` rows and n columns; 0 on overflow. */
size_t lt_gemm_packed_bytes(const lt_gemm_kernels *kernels, size_t k_total, size_t n);

/* Where B's element (j, n) lies: data[j * row_stride + n * column_stride], times `scale`. */
typedef struct lt_gemm_source {
    const void *data; /* may be unaligned */
    leat_dtype dtype; /* the kernels' own, or f16 or bf16 for f32 kernels */
    size_t k;
    size_t n;
    size_t row_stride;
    size_t column_stride;
    float scale;
} lt_gemm_source;

/* Packs panels [panel_begin, panel_end) of B to `out` (the whole packed block). */
void lt_gemm_pack(const lt_gemm_kernels *kernels, const lt_gemm_source *source, void *out,
                  size_t panel_begin, size_t panel_end);

static inline size_t lt_gemm_panels(const lt_gemm_kernels *kernels, size_t n)
{
    return (n + kernels->nr - 1) / kernels->nr;
}

/* --- the product ------------------------------------------------------------------------------ */

/* Writes the row pointers of rows [first, first + count) to rows[tap * LT_GEMM_MAX_MR + i]. */
typedef void (*lt_gemm_rows_fn)(const void *argument, size_t first, size_t count,
                                const void **rows);

typedef struct lt_gemm_job {
    const lt_gemm_kernels *kernels;
    size_t m, n, k, taps;
    lt_gemm_rows_fn rows; /* NULL: a plain matrix at a */
    const void *rows_argument;
    const void *a;
    size_t lda;       /* elements; plain matrix only */
    const void *b;    /* packed */
    const void *bias; /* readable to whole panels; or NULL */
    void *c;
    size_t ldc;
    const void *residual;
    size_t ldr;
    lt_cpu_activation activation; /* f32 only for kinds other than Relu and Clip */
} lt_gemm_job;

/* Workspace of lt_gemm_run on `threads` threads. */
size_t lt_gemm_workspace(const lt_gemm_kernels *kernels, size_t m, size_t k, size_t taps,
                         uint32_t threads);

/* Computes all of C on the pool. `workspace` as lt_gemm_workspace says, 64-byte aligned. */
void lt_gemm_run(const lt_gemm_job *job, void *workspace, const leat_kernel_args *args);

/* The same on the calling thread alone, for one of many small products. `thread` chooses the part
 * of the workspace. */
void lt_gemm_run_serial(const lt_gemm_job *job, void *workspace, uint32_t thread);

#endif

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
 *     panel 0: b[0][0..nr) b[1][0..nr) ... | panel 1: ... | last panel: nr or nr/2 columns, or with
 *                                                           kernels->quarters also 3 or 5 nr/4
 *
 * Types whose instructions sum several neighbouring products (two of bf16, four of int8) have
 * k_group > 1: that many consecutive j of one column lie together, and every tap is filled up with
 * zeros to whole groups. A panel is then taps * ceil(k / k_group) groups of
 *
 *     b[j..j+k_group)[0]  b[j..j+k_group)[1]  ...  b[j..j+k_group)[nr-1]
 *
 * Most kernels read rows of A in whole groups too: when k is no multiple of k_group the rows of a
 * block are copied, with zeros behind, before the panels pass over them.
 *
 * A micro-kernel keeps mr x nr sums in registers: 14 x 32 f32 with AVX-512 (28 of 32 registers),
 * 6 x 16 with AVX2, 4 x 8 in portable C. f64 has half as many columns.
 */
#ifndef LT_CPU_GEMM_H
#define LT_CPU_GEMM_H

#include "cpu.h"
#include "elementwise/activation.h"

#define LT_GEMM_MAX_MR 14

/* One call of a micro-kernel: up to mr rows by one panel. Element types are the kernel's. */
typedef struct lt_gemm_tile {
    const void *const *rows; /* [taps][LT_GEMM_MAX_MR] */
    size_t taps;
    size_t k;         /* elements a tap, a multiple of k_group unless the kernel takes any_k */
    const void *b;    /* the panel */
    const void *bias; /* at the panel's first column, readable to the panel's full width; or NULL */
    void *c;          /* first element of the tile */
    size_t ldc;       /* elements */
    const void *residual; /* as c; NULL for none */
    size_t ldr;
    /* What later calls need, to be asked for meanwhile: at step i (a group of k, counted over all
     * taps) the line at next + i * next_step. Any address; not read otherwise. NULL: nothing is
     * asked for, lines of C neither (they are in a near cache). */
    const void *next;
    size_t next_step;
    uint32_t a_bytes;                    /* of an element of the rows */
    uint32_t n;                          /* columns that exist, at most the panel's width */
    double low, high;                    /* clamp at the end; -inf and inf for none */
    const lt_cpu_activation *activation; /* no clamp, and left to the kernel; or NULL */
    size_t row, column;   /* of the tile's first element in C: where per-row and per-column ... */
    const void *epilogue; /* ... parameters lie in what the job's owner and the kernel agreed on */
} lt_gemm_tile;

typedef void (*lt_gemm_kernel_fn)(const lt_gemm_tile *tile);

/* Where B's element (t, j, n) lies: data[t * tap_stride + j * row_stride + n * column_stride]. */
typedef struct lt_gemm_source {
    const void *data; /* may be unaligned */
    leat_dtype dtype; /* a type that the kernels' pack function reads */
    size_t taps;      /* 0 counts as 1 */
    size_t k;         /* of one tap */
    size_t n;
    size_t tap_stride;
    size_t row_stride;
    size_t column_stride;
    float scale; /* factor of every element, where the kernels' type is a floating one */
} lt_gemm_source;

/* Packs a piece of one panel: all of `piece` (one tap, k rows, n <= width columns) to
 * ceil(k / k_group) groups of `width` columns; what is beyond k and n becomes zero. */
typedef void (*lt_gemm_pack_fn)(const lt_gemm_source *piece, size_t width, void *out);

#define LT_GEMM_QUARTERS_ROWS 7
#define LT_GEMM_QUARTERS (LT_GEMM_MAX_MR - LT_GEMM_QUARTERS_ROWS + 1)

/* By rows - LT_GEMM_QUARTERS_ROWS. */
typedef struct lt_gemm_quarters {
    lt_gemm_kernel_fn three[LT_GEMM_QUARTERS];
    lt_gemm_kernel_fn five[LT_GEMM_QUARTERS];
} lt_gemm_quarters;

/* The micro-kernels of one combination of types and instruction set. */
typedef struct lt_gemm_kernels {
    const char *name;
    leat_dtype dtype;                               /* of A, or of all operands where they agree */
    uint32_t a_bytes, b_bytes, c_bytes, bias_bytes; /* of an element; a residual's is c_bytes */
    uint32_t k_group;
    bool any_k; /* the kernel takes care of a k that is no multiple of k_group: it reads k elements
                   of A, not whole groups */
    bool accumulates; /* C holds the very sums: k may be cut, later chunks taking C as residual */
    uint32_t mr;
    uint32_t nr;                            /* columns of a full panel; a half panel has nr / 2 */
    lt_gemm_kernel_fn full[LT_GEMM_MAX_MR]; /* by rows - 1 */
    lt_gemm_kernel_fn half[LT_GEMM_MAX_MR];
    /* Several tiles of mr rows and whole panels, of one job and without chunks of k, in one call
     * that may begin one while it ends another. NULL: there is none. */
    void (*chain)(const lt_gemm_tile *tiles, size_t count);
    size_t b_resident; /* bytes of B up to which all of it may stay in the second-level cache; 0:
                          what gemm.c says */
    /* A tile of one row, one tap and nothing to be asked for by as many whole panels, of which it
     * names the first. NULL: there is none. */
    void (*row)(const lt_gemm_tile *tile, size_t panels);
    /* Last panels of 3 and 5 quarters of nr, for tiles of LT_GEMM_QUARTERS_ROWS rows and more
     * (which all tiles have when m has so many). NULL: there are none. */
    const lt_gemm_quarters *quarters;
    lt_gemm_pack_fn pack;
    /* Applies an activation that is no clamp to stored rows of C, f32 only. NULL: the kernel does
     * it (tile->activation), or cannot (f64). */
    lt_cpu_activate_tile_fn activate;
} lt_gemm_kernels;

/* The best kernels for a device; dtype F32 or F64. */
const lt_gemm_kernels *lt_gemm_kernels_for(const lt_cpu_device *device, leat_dtype dtype);

/* Those for products of at least `least_m` rows each by one B of n columns, whose packed form they
 * may cut otherwise. */
const lt_gemm_kernels *lt_gemm_kernels_fitting(const lt_cpu_device *device, leat_dtype dtype,
                                               size_t least_m, size_t n);

extern const lt_gemm_kernels lt_cpu_gemm_f32_4x8_portable;
extern const lt_gemm_kernels lt_cpu_gemm_f64_4x4_portable;
#if defined(__x86_64__)
extern const lt_gemm_kernels lt_cpu_gemm_f32_6x16_avx2;
extern const lt_gemm_kernels lt_cpu_gemm_f32_14x32_avx512;
extern const lt_gemm_kernels lt_cpu_gemm_f32_14x32q_avx512; /* with these quarters */
extern const lt_gemm_quarters lt_cpu_gemm_quarters_f32_avx512;
void lt_cpu_gemm_row_f32_avx512(const lt_gemm_tile *tile, size_t panels);
extern const lt_gemm_kernels lt_cpu_gemm_f64_6x8_avx2;
extern const lt_gemm_kernels lt_cpu_gemm_f64_8x16_avx512;
#endif

/* --- packing ---------------------------------------------------------------------------------- */

/* k filled up to whole groups: rows of a panel a tap. */
static inline size_t lt_gemm_padded_k(const lt_gemm_kernels *kernels, size_t k)
{
    return (k + kernels->k_group - 1) / kernels->k_group * kernels->k_group;
}

/* Bytes of a packed B of `taps` taps of k rows each and n columns; 0 on overflow. */
size_t lt_gemm_packed_bytes(const lt_gemm_kernels *kernels, size_t taps, size_t k, size_t n);

/* Packs panels [panel_begin, panel_end) of B to `out` (the whole packed block). */
void lt_gemm_pack(const lt_gemm_kernels *kernels, const lt_gemm_source *source, void *out,
                  size_t panel_begin, size_t panel_end);

/* Pack functions. f32: from f32, f16 and bf16; f64: from f64. */
void lt_gemm_pack_f32(const lt_gemm_source *piece, size_t width, void *out);
void lt_gemm_pack_f64(const lt_gemm_source *piece, size_t width, void *out);

static inline size_t lt_gemm_panels(const lt_gemm_kernels *kernels, size_t n)
{
    size_t nr = kernels->nr;
    bool widened = kernels->quarters != NULL && n > nr;
    return (n + (widened ? nr - nr / 4 : nr) - 1) / nr;
}

/* Columns of the panel with `left` columns from its first one on. */
static inline size_t lt_gemm_panel_width(const lt_gemm_kernels *kernels, size_t left)
{
    size_t nr = kernels->nr, quarter = nr / 4;
    if (kernels->quarters != NULL && left > 2 * quarter && left <= 3 * quarter) {
        return 3 * quarter;
    }
    if (kernels->quarters != NULL && left > nr && left <= 5 * quarter) {
        return 5 * quarter;
    }
    return left > nr / 2 ? nr : nr / 2;
}

/* Columns of all panels, or more. */
static inline size_t lt_gemm_columns(const lt_gemm_kernels *kernels, size_t n)
{
    return lt_gemm_panels(kernels, n) * kernels->nr + (kernels->quarters ? kernels->nr / 2 : 0);
}

/* --- the product ------------------------------------------------------------------------------ */

/* Writes the row pointers of rows [first, first + count) to rows[tap * LT_GEMM_MAX_MR + i]. */
typedef void (*lt_gemm_rows_fn)(const void *argument, size_t first, size_t count,
                                const void **rows);

/* Brings k elements of row `row` (of one tap, or a part of them where the kernels accumulate) to
 * the kernels' type of A at `to`. What fills them up to whole groups is 0 already and may be
 * written, as may 64 bytes behind. */
typedef void (*lt_gemm_copy_fn)(const void *argument, const void *from, size_t row, size_t k,
                                void *to);

typedef struct lt_gemm_job {
    const lt_gemm_kernels *kernels;
    size_t m, n, k, taps;
    lt_gemm_rows_fn rows; /* NULL: a plain matrix at a */
    const void *rows_argument;
    const void *a;
    size_t lda; /* elements; plain matrix only */
    /* Not NULL: rows are not yet of the kernels' type. Each block's rows pass through this function
     * once for every range of panels that a task takes, into the block's copy. */
    lt_gemm_copy_fn copy;
    const void *copy_argument;
    uint32_t copy_bytes; /* of an element at `a`, with copy */
    const void *b;       /* packed */
    const void *bias;    /* readable to whole panels; or NULL */
    void *c;
    size_t ldc;
    const void *residual;
    size_t ldr;
    lt_cpu_activation activation; /* Relu and Clip, or what the kernels can do */
    const void *epilogue;         /* handed to the kernels */
} lt_gemm_job;

/* Operations below which a product is not worth a second thread. */
#define LT_GEMM_LEAST_SHARED 200e3

/* How many tasks `count` equal items make, task i taking those from count * i / tasks on. The pool
 * deals tasks out as one range a thread: where their number is a multiple of the threads', what
 * threads have differs by one item at most. Several a thread, so that a slow core can be helped. */
size_t lt_gemm_tasks(size_t count, size_t threads);

/* Whether lt_gemm_run's threads share the rows of a result of m x n; if not, they share columns.
 * What reads the result next finds it in the caches of the threads that wrote it if it does so,
 * too. */
bool lt_gemm_shares_rows(const lt_gemm_kernels *kernels, size_t m, size_t n, size_t threads);

/* Workspace of lt_gemm_run on `threads` threads. Reads kernels, m, k, taps, rows and copy of the
 * job: whether rows and copy are NULL matters, not what they are. */
size_t lt_gemm_workspace(const lt_gemm_job *job, uint32_t threads);

/* Computes all of C on the pool. `workspace` as lt_gemm_workspace says, 64-byte aligned. */
void lt_gemm_run(const lt_gemm_job *job, void *workspace, const leat_kernel_args *args);

/* The same on the calling thread alone, for one of many small products. `thread` chooses the part
 * of the workspace, whose size depends on m, k and taps: where products under way at once differ in
 * those, each thread needs a workspace of its own, and `thread` is 0. */
void lt_gemm_run_serial(const lt_gemm_job *job, void *workspace, uint32_t thread);

/* The same for panels [p0, p1) of B alone: C and the residual begin at the first one's columns. m
 * and n are not 0. */
void lt_gemm_run_panels(const lt_gemm_job *job, size_t p0, size_t p1, void *workspace,
                        uint32_t thread);

/* --- one row ---------------------------------------------------------------------------------- */

/* A product of one row that the calling thread computes alone, with all that does not change from
 * run to run worked out: for small ones, where working it out takes as long as a tenth of the
 * product. */
typedef struct lt_gemm_row {
    lt_gemm_tile first; /* the first panel's, but for the three pointers of a run */
    void (*row)(const lt_gemm_tile *tile, size_t panels); /* as lt_gemm_kernels.row */
    lt_gemm_kernel_fn full, last;
    size_t panels;                    /* whole ones, ... */
    uint32_t last_n;                  /* ... then one of so many columns; 0: there is none */
    size_t b_step, bias_step, c_step; /* bytes from panel to panel */
} lt_gemm_row;

/* false when the job is none for it: more than a row, so large that threads share it, or rows that
 * are copied first, cut, or not finished by the kernel. Reads all but the job's a, c and residual;
 * `job` and what it points to but those must live as long as `out_row`. */
bool lt_gemm_row_prepare(const lt_gemm_job *job, lt_gemm_row *out_row);

/* residual NULL for none. */
void lt_gemm_row_run(const lt_gemm_row *row, const void *a, const void *residual, void *c);

#endif

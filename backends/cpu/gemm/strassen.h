/* SPDX-License-Identifier: Apache-2.0 */
/* Strassen's matrix product, one level, for large f32 products by packed weights (gemm.h):
 *
 *     C = A * B, each cut into four quadrants     rows: the first ceil(m / 2), and the others
 *                                                 steps: the first k / 2, and the others
 *                                                 columns: even and odd panels of B
 *
 *     A0 (B1 - B3)        -> C1, C3               A0 A1     B0 B1     C0 C1
 *     (A0 + A1) B3        -> C1, C0               A2 A3  *  B2 B3  =  C2 C3
 *     A3 (B2 - B0)        -> C0, C2
 *     (A2 + A3) B0        -> C2, C3               seven products in place of eight, an eighth less
 *     (A0 + A3) (B0 - B3) -> C0, -C3              arithmetic. (Strassen's own with odd panels
 *     (A2 - A0) (B0 - B1) -> -C3                  negated: B is in differences only.)
 *     (A1 - A3) (B2 - B3) -> C0
 *
 * No product is stored: the micro-kernel adds its tile to one or two quadrants (the idea of Huang,
 * Smith, Henry and van de Geijn, Strassen's Algorithm Reloaded, SC16). A pair of panels is one unit
 * of work: its part of C waits in a small buffer for the next products, and differences of its
 * quadrants of B are made by the first tile of rows that uses them. B lies as for the plain
 * product, which takes the columns behind the last pair.
 *
 * Where it pays: the products' arithmetic bounds them (C of 56 rows or more with AVX-512), and k is
 * long enough that an eighth of its arithmetic outweighs 12 updates of C in place of 4.
 *
 * Error. With u = 2^-24, sums in f32, before bias, residual and activation,
 *
 *     |error| <= (3 k + 30) k u max |a| max |b|
 *
 * to first order, where the plain sum has k * k u max |a| max |b| (Higham, Accuracy and Stability
 * of Numerical Algorithms, chapter 23; here 12 terms of k / 2 products each, of factors up to twice
 * the largest elements, where there were two). max |a| is over the element's row of A and the one
 * it is paired with, max |b| over its column and the one it is paired with: unlike the plain sum's,
 * an error is relative to the larger of two rows, and of two columns. On random data the root mean
 * square is LT_STRASSEN_RMS times that of the plain product at most, seen: 1.4 to 1.55.
 *
 * Rows must not meet infinity or NaN of other rows: while the factors of A are made it is seen
 * whether all are finite, and when one is not, the plain product is computed. (Weights that are not
 * finite give NaN in the neighbouring panel's columns too.) tests/backends/cpu/gemm/test_strassen.c
 * holds all of it. */
#ifndef LT_CPU_GEMM_STRASSEN_H
#define LT_CPU_GEMM_STRASSEN_H

#include "gemm/gemm.h"

#define LT_STRASSEN_PRODUCTS 7
#define LT_STRASSEN_LINE 16  /* steps that lie together in a row of A */
#define LT_STRASSEN_PITCH 17 /* from one row's line to the next row's: see strassen_kernel.inc */
#define LT_STRASSEN_RMS 1.75 /* see "Error" above */

/* Where a product's tile goes: to = sign * product + from, and clamp(that + bias) when complete. */
typedef struct lt_strassen_target {
    float *to;
    size_t to_stride;
    const float *from; /* never NULL: zeros, with a stride of 0, when there is nothing yet */
    size_t from_stride;
    const float *bias; /* of nr columns, zeros when there is none */
    float sign;
    bool complete;
    float low, high;
    size_t rows; /* that exist */
} lt_strassen_target;

/* One call of a micro-kernel. */
typedef struct lt_strassen_tile {
    const float *a; /* [k / 16, rounded up][rows][LT_STRASSEN_PITCH] */
    size_t k;
    const float *b;       /* k steps of nr columns: the factor, or ... */
    const float *b_minus; /* ... what is to be taken from b for it ... */
    float *b_difference;  /* ... and is to be written here */
    const char *next;     /* to be asked for, next_step bytes further with every step */
    size_t next_step;
    uint32_t n_targets;
    lt_strassen_target targets[2];
} lt_strassen_tile;

typedef void (*lt_strassen_kernel_fn)(const lt_strassen_tile *tile);

/* k steps of one row of A's four quadrants, and where the factors' lines go. */
typedef struct lt_strassen_split {
    const float *quadrant[4];
    bool has_lower; /* the last two quadrants have the row: otherwise it counts as zeros */
    size_t k;       /* zeros are put behind, to whole lines */
    float *out;
    size_t line_stride, factor_stride;
    size_t next_row; /* bytes to the row that will be asked for next */
} lt_strassen_split;

/* How a machine fares, in cycles of a core. */
typedef struct lt_strassen_speed {
    uint32_t chunk_k; /* steps of a chunk, of half of k: every chunk updates all of C */
    double macs;      /* multiply-adds a cycle */
    double update;    /* a byte of C brought up to date */
    double minus;     /* a byte of a difference of quadrants of B */
    double split;     /* a byte of factors of A */
} lt_strassen_speed;

typedef struct lt_strassen_kernels {
    const char *name;
    lt_strassen_speed speed;
    const lt_gemm_kernels *gemm; /* same panels; for the columns that are left over */
    uint32_t least_rows;         /* of a tile; the tables begin there */
    lt_strassen_kernel_fn ready[LT_GEMM_MAX_MR];
    lt_strassen_kernel_fn difference[LT_GEMM_MAX_MR];
    /* Returns NaN when a factor is infinity or NaN, otherwise 0. */
    float (*split)(const lt_strassen_split *split);
} lt_strassen_kernels;

extern const lt_strassen_kernels lt_cpu_strassen_f32_4x8_portable;
#if defined(__x86_64__)
extern const lt_strassen_kernels lt_cpu_strassen_f32_6x16_avx2;
extern const lt_strassen_kernels lt_cpu_strassen_f32_14x32_avx512;
extern const lt_strassen_kernels lt_cpu_strassen_f32_14x32_full_avx512; /* for full_width */
#endif

const lt_strassen_kernels *lt_strassen_kernels_for(const lt_cpu_device *device);

/* Whether a product of these sizes can be computed so. */
bool lt_strassen_applies(const lt_strassen_kernels *kernels, size_t m, size_t n, size_t k);

/* Estimates for one run of a product to which lt_strassen_applies. */
typedef struct lt_strassen_costs {
    double plain_ns, strassen_ns;
} lt_strassen_costs;

lt_strassen_costs lt_strassen_estimate(const lt_strassen_kernels *kernels, const lt_gemm_job *job,
                                       uint32_t threads);

/* Workspace of lt_strassen_run. Reads m, n and k of the job. */
size_t lt_strassen_workspace(const lt_strassen_kernels *kernels, const lt_gemm_job *job,
                             uint32_t threads);

/* Computes all of C on the pool. The job is one of lt_gemm_run with a plain matrix A of f32, to
 * which lt_strassen_applies. */
void lt_strassen_run(const lt_strassen_kernels *kernels, const lt_gemm_job *job, void *workspace,
                     const leat_kernel_args *args);

#endif

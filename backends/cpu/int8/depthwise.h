/* SPDX-License-Identifier: Apache-2.0 */
/* Depthwise convolution of bytes, channels-last: one filter a channel.
 *
 *     S[p, c] = offset[c] + sum over taps t of X[pixel(p, t), c] * W[t, c]        in s32
 *
 * W has its zero point taken away already; offset holds bias and the zero point of X (int8.h).
 *
 * Instructions that add up products (vpdpbusd: four of bytes, vpmaddwd: two of s16) want the taps
 * of one channel side by side, channels-last data has channels side by side. So a strip of outputs
 * of one line is computed in two passes, for a block of channels:
 *
 *   1. Each column of the data that the strip reads becomes cells. A cell has 4 bytes a channel:
 * the same column of `group` lines of the filter (4 u8 or 2 s16; 1 s32 in portable C). Where one
 *      line is left over its cells hold `group` neighbouring columns of it instead. Cells are made
 *      once and serve all taps of a line; what lies outside of the data has the zero point's value.
 *   2. Up to max_tile outputs at a time keep their sums in registers while the steps pass: one for
 *      each cell of a window, with the weights that belong to it.
 *
 * Channels of a block lie in the order in which unpacking leaves them and packing expects them:
 * vector j of 4 holds channels 4 j to 4 j + 3 of each 16. */
#ifndef LT_CPU_INT8_DEPTHWISE_H
#define LT_CPU_INT8_DEPTHWISE_H

#include "conv/geometry.h"
#include "int8/int8.h"

/* Most taps of a filter that is computed so. */
#define LT_INT8_DEPTHWISE_TAPS 64
/* Most channels of a block. */
#define LT_INT8_DEPTHWISE_CHANNELS 64
#define LT_INT8_DEPTHWISE_GROUP 4

/* One line of the data that goes into cells. */
typedef struct lt_int8_depthwise_line {
    const uint8_t *at; /* column 0, first channel of the block */
    size_t step;       /* bytes from column to column; 0: outside of the data, in all columns */
    int64_t shift;     /* columns right of the cell's own */
} lt_int8_depthwise_line;

typedef struct lt_int8_depthwise_step {
    uint32_t cell;                        /* from a window's first one */
    int16_t tap[LT_INT8_DEPTHWISE_GROUP]; /* of the filter; -1: none */
} lt_int8_depthwise_step;

/* One block of channels of `outputs` neighbouring outputs. */
typedef struct lt_int8_depthwise_strip {
    const lt_int8_depthwise_line *lines; /* [cells a column][group] */
    const lt_int8_depthwise_step *steps;
    const void *weights;   /* [steps][block] units of 4 bytes, in the order of a block, aligned */
    const int32_t *offset; /* likewise, and scale and bias */
    const float *scale, *bias;
    const uint8_t *outside; /* a block of zero points */
    void *cells;            /* columns * column_cells cells of a block, aligned */
    size_t column_cells, n_steps, columns, outputs, stride;
    int64_t column, width; /* where the strip begins to read; columns of the data */
    lt_gemm_tile tile;     /* row, column, n, c, ldc, epilogue of the first output */
    size_t element;        /* bytes of C's */
    lt_int8_finish_fn finish;
    lt_cpu_activate_fn activate; /* of f32 results, after the finish; or NULL */
    const lt_cpu_activation *activation;
} lt_int8_depthwise_strip;

typedef struct lt_int8_depthwise_kernels {
    const char *name;
    uint32_t channels; /* of a block, a multiple of 16 */
    uint32_t group;    /* taps a unit; of s8 when 4, s16 when 2, s32 when 1 */
    lt_int8_finish_fn finish;
    void (*strip)(const lt_int8_depthwise_strip *strip);
} lt_int8_depthwise_kernels;

extern const lt_int8_depthwise_kernels lt_cpu_depthwise_u8s32_16_portable;
#if defined(__x86_64__)
extern const lt_int8_depthwise_kernels lt_cpu_depthwise_u8s16_32_avx2;
extern const lt_int8_depthwise_kernels lt_cpu_depthwise_u8s8_32_avxvnni;
extern const lt_int8_depthwise_kernels lt_cpu_depthwise_u8s8_32_avx512vnni;
extern const lt_int8_depthwise_kernels lt_cpu_depthwise_u8s8_64_avx512vnni;
#endif

/* Where a line of a cell lies in the filter. */
typedef struct lt_int8_depthwise_source {
    int64_t z, y; /* z -1: none, its weights are 0 */
    int64_t shift;
} lt_int8_depthwise_source;

/* A convolution as it was planned. */
typedef struct lt_int8_depthwise {
    const lt_conv_geometry *g;
    const lt_int8_depthwise_kernels *kernels;
    const lt_gemm_kernels *product;        /* of bytes, as the one in front has it */
    const lt_int8_depthwise_kernels *tail; /* for what whole blocks leave; blocks not larger */
    size_t column_cells, n_steps, n_sources;
    const lt_int8_depthwise_step *steps;
    const lt_int8_depthwise_source *sources; /* [column_cells][group] */
    size_t strip;                            /* most outputs of one */
} lt_int8_depthwise;

/* Plans for one filter a channel. `narrow`: all weights without their zero points are s8.
 * *out_fits false: too many taps or too wide, to be computed otherwise.
 * Owns:     `g` is borrowed; lists come from the plan.
 * Errors:   NO_MEMORY. */
leat_status lt_int8_depthwise_plan(const lt_conv_geometry *g, const lt_cpu_device *device,
                                   bool narrow, const leat_host *host, leat_plan *plan,
                                   lt_int8_depthwise *out, bool *out_fits, leat_error *err);

/* Bytes of the packed weights; 0 on overflow. */
size_t lt_int8_depthwise_packed_bytes(const lt_int8_depthwise *d);

/* Packs weights [channels, taps] of a byte type, from which zeros (n_zeros 0: none; 1; or one a
 * channel) are taken away. */
void lt_int8_depthwise_pack(const lt_int8_depthwise *d, const void *weights, leat_dtype dtype,
                            const void *zeros, size_t n_zeros, void *out);

/* One launch. Arrays by channel are readable to whole blocks of LT_INT8_DEPTHWISE_CHANNELS. */
typedef struct lt_int8_depthwise_call {
    const lt_int8_depthwise *d;
    const uint8_t *data;
    const uint8_t *outside; /* LT_INT8_DEPTHWISE_CHANNELS zero points */
    const char *packed;
    const int32_t *offset;
    const lt_int8_epilogue *epilogue;
    char *result;
    size_t element;              /* bytes of the result's */
    lt_cpu_activate_fn activate; /* of f32 results; or NULL */
    const lt_cpu_activation *activation;
} lt_int8_depthwise_call;

void lt_int8_depthwise_run(const lt_int8_depthwise_call *call, const leat_kernel_args *args);

#endif

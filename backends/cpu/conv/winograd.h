/* SPDX-License-Identifier: Apache-2.0 */
/* Winograd convolution of channels-last data: 3x3, stride 1, dilation 1, constant f32 weights.
 * Arithmetic is f32; data, residual and output may be stored in f16 or bf16 and are converted a
 * patch and a tile at a time.
 *
 *     Y = A^T [ sum over c of (G w_c G^T) * (B^T x_c B) ] A        (* element by element)
 *
 * for tiles of `tile` x `tile` outputs, each from a patch of alpha x alpha inputs, alpha = tile + 2
 * (Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, arXiv:1509.09308). The sum
 * over input channels is one matrix product a position of the patch, alpha^2 in all:
 *
 *     x  --B-->  V [position][tile][in channel]      per block of tiles that fits a cache
 *     w  --G-->  U [position][panels of gemm.h]      once, at load, in double
 *     V * U  =   M [position][tile][out channel]     gemm.h's micro-kernels
 *     M  --A-->  Y, with bias, residual and activation
 *
 * F(4x4) takes 36 multiplications where the definition takes 144, F(2x2) 16 where it takes 36.
 *
 * Error. With sums in f32 the result differs from the exact one by more than a plain sum does: the
 * transforms add, subtract and scale (Barabasz et al., Error Analysis and Improving the Accuracy of
 * Winograd Convolution for Deep Neural Networks, arXiv:1803.10986). F(4x4) uses the points 0,
 * +-5/8,
 * +-3/2 and infinity: the input transform's constants are exact in f32, and the error is half of
 * that with Lavin's points 0, +-1, +-2. With u = 2^-24, up to 512 input channels a group, and
 * before bias, residual and activation:
 *
 *     |error| <= LT_WINOGRAD_ERROR(tile) * u * max |x| * sum of |w| over an output's filter
 *
 * where the largest seen in tests are 7 (F(4x4), patterns of signs that make V largest) and 2
 * (F(2x2), data of a large offset), and a plain sum of n terms in f32 has the bound n. Root mean
 * square on random data against that of the plain sum (igemm.c): LT_WINOGRAD_RMS_* times at most;
 * F(4x4) 3.7 times at 4 channels, 2.4 at 16, 1.9 at 64, 1.8 at 256; F(2x2) 1.1, 0.8, 0.6, 0.6, its
 * sums being a ninth as long. tests/backends/cpu/conv/test_winograd.c holds all of it. */
#ifndef LT_CPU_CONV_WINOGRAD_H
#define LT_CPU_CONV_WINOGRAD_H

#include "conv/conv.h"
#include "elementwise/half.h"

/* See "Error" above. */
#define LT_WINOGRAD_ERROR(tile) ((tile) == 4 ? 16.0 : 4.0)
#define LT_WINOGRAD_RMS_4X4 4.5
#define LT_WINOGRAD_RMS_2X2 1.25

/* Columns of the widest panel of f32 weights. */
#define LT_WINOGRAD_MAX_NR 64

/* One patch of the input, all channels of a group. */
typedef struct lt_winograd_patch {
    const float *const *pixels; /* [alpha * alpha], each to channel 0; zeros outside of the data */
    float *v;                   /* channel 0 of position 0 */
    size_t position_stride;     /* of v, elements */
    int64_t channels;
} lt_winograd_patch;

/* One tile of the output, all channels of a group. */
typedef struct lt_winograd_tile {
    const float *m;         /* channel 0 of position 0 */
    size_t position_stride; /* of m, elements */
    const float *bias;      /* [channels] or NULL */
    const float *residual;  /* as y, or NULL */
    float *y;               /* the tile's first pixel */
    size_t row_stride;      /* of y and residual, elements */
    size_t pixel_stride;
    int rows, columns; /* that exist, at most `tile` each */
    int64_t channels;
    bool clamp;
    float low, high;
} lt_winograd_tile;

/* The filters of one group, [out][in][3][3], to one packed B of gemm.h a position. */
typedef struct lt_winograd_filters {
    const char *weights; /* f32, may be unaligned */
    float *u;
    size_t position_stride; /* of u, elements */
    size_t in_channels, out_channels;
    size_t nr; /* columns of a panel, at most LT_WINOGRAD_MAX_NR */
} lt_winograd_filters;

/* The transforms of one tile size and instruction set. */
typedef struct lt_winograd_kernels {
    const char *name;
    int32_t tile, alpha;
    void (*input)(const lt_winograd_patch *patch);
    void (*output)(const lt_winograd_tile *tile);
    void (*weights)(const lt_winograd_filters *filters);
} lt_winograd_kernels;

extern const lt_winograd_kernels lt_cpu_winograd_f32_4x4_portable, lt_cpu_winograd_f32_2x2_portable;
#if defined(__x86_64__)
extern const lt_winograd_kernels lt_cpu_winograd_f32_4x4_avx2, lt_cpu_winograd_f32_2x2_avx2;
extern const lt_winograd_kernels lt_cpu_winograd_f32_4x4_avx512, lt_cpu_winograd_f32_2x2_avx512;
#endif

/* How the tiles of one layer are cut. */
typedef struct lt_winograd_blocking {
    size_t blocks; /* of nearly equal size */
    size_t block;  /* tiles of the largest */
    bool phases;   /* one block, all threads together on each of the three steps; else a block is a
                      task */
    size_t parts;  /* phases: tasks that the panels of one position are cut into */
    bool ahead;    /* products ask for the panel behind theirs */
} lt_winograd_blocking;

/* A layer at fixed shapes: what launch needs. */
typedef struct lt_winograd {
    lt_conv conv; /* weights: U of all groups */
    const lt_gemm_kernels *gemm;
    const lt_winograd_kernels *kernels;
    const lt_half_kernels *half;
    lt_cpu_activate_fn activate; /* of activations that are no clamp; or NULL */
    bool clamp;
    float low, high;
    size_t positions;          /* alpha * alpha */
    size_t in, out;            /* channels of one group */
    size_t tiles_y, tiles_x;   /* of one image */
    size_t tiles;              /* of the batch */
    size_t lda, ldm;           /* distance of tiles in V and M, elements */
    size_t v_stride, m_stride; /* distance of positions in V and M */
    size_t u_stride, u_group;  /* distance of positions and groups in U */
    const float *zeros;        /* [in] */
    lt_winograd_blocking blocking;
    size_t block_bytes; /* workspace of one block in work */
} lt_winograd;

/* The transforms for a device; tile is 2 or 4. */
const lt_winograd_kernels *lt_winograd_kernels_for(const lt_cpu_device *device, int32_t tile);

/* Whether the algorithm applies at all. */
bool lt_winograd_applies(const lt_conv *conv);

/* Estimates for one run of a convolution to which the algorithm applies; 0: not worth trying. */
typedef struct lt_conv_costs {
    double igemm_ns, winograd_4x4_ns, winograd_2x2_ns;
} lt_conv_costs;

lt_conv_costs lt_winograd_costs(const lt_conv *conv, const lt_cpu_device *device, uint32_t threads);

leat_status lt_conv_winograd_4x4_prepare(const leat_kernel_node *node, const lt_conv *conv,
                                         const lt_cpu_device *device, const leat_host *host,
                                         leat_plan *plan, leat_kernel *out_kernel, leat_error *err);
leat_status lt_conv_winograd_2x2_prepare(const leat_kernel_node *node, const lt_conv *conv,
                                         const lt_cpu_device *device, const leat_host *host,
                                         leat_plan *plan, leat_kernel *out_kernel, leat_error *err);

/* Tiles below which so many threads, more than one, share one block. */
size_t lt_winograd_shared_below(const lt_gemm_kernels *gemm, uint32_t threads);

/* Cuts `w`, whose sizes are set, for so many threads. */
lt_winograd_blocking lt_winograd_cut(const lt_winograd *w, const lt_cpu_device *device,
                                     uint32_t threads);

/* leat_kernel.launch, state being an lt_winograd. */
leat_status lt_winograd_launch(const void *state, const leat_kernel_args *args, leat_error *err);

#endif

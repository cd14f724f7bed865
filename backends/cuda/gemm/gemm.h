/* SPDX-License-Identifier: Apache-2.0 */
/* Products and convolutions on Hopper's tensor cores: D = act(scale * A B + bias + residual) of
 * halves, of F32 rounded to TF32, and of bytes with sums in s32 that are requantized
 * (lt_cuda_gemm_requantize).
 *
 * The host side of gemm_f16.cu, gemm_bf16.cu, gemm_tf32.cu, gemm_i8.cu and gemm_u8.cu: an
 * lt_cuda_gemm per device, a plan per node and shape, a launch per run. Nothing here allocates,
 * links the driver or needs its headers: the caller gives a table of driver functions, of which
 * CUresult is int and every handle void *.
 *
 * Kernels need compute capability 9.0 and are compiled for sm_90a alone, into a module of their
 * own; on other devices lt_cuda_gemm_open is not called and its rows are not offered. */
#ifndef LEAT_CUDA_GEMM_H
#define LEAT_CUDA_GEMM_H

#include "params.h"

#include <leat/leat.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The driver's functions, as cuGetProcAddress gives them. */
typedef struct lt_cuda_gemm_driver {
    /* cuModuleGetFunction */
    int (*module_get_function)(void **out_function, void *module, const char *name);
    /* cuFuncSetAttribute */
    int (*func_set_attribute)(void *function, int attribute, int value);
    /* cuTensorMapEncodeTiled */
    int (*tensor_map_encode_tiled)(void *map, int dtype, uint32_t rank, void *address,
                                   const uint64_t *dims, const uint64_t *strides,
                                   const uint32_t *box, const uint32_t *element_strides,
                                   int interleave, int swizzle, int l2_promotion, int oob_fill);
    /* cuTensorMapEncodeIm2col */
    int (*tensor_map_encode_im2col)(void *map, int dtype, uint32_t rank, void *address,
                                    const uint64_t *dims, const uint64_t *strides,
                                    const int *lower_corner, const int *upper_corner,
                                    uint32_t channels_per_pixel, uint32_t pixels_per_column,
                                    const uint32_t *element_strides, int interleave, int swizzle,
                                    int l2_promotion, int oob_fill);
    /* cuTensorMapReplaceAddress */
    int (*tensor_map_replace_address)(void *map, void *address);
    /* cuLaunchKernelEx; config is a CUlaunchConfig */
    int (*launch_kernel_ex)(const void *config, void *function, void **params, void **extra);
} lt_cuda_gemm_driver;

/* The kernels of one device. Plain data: no close. */
typedef struct lt_cuda_gemm {
    lt_cuda_gemm_driver driver;
    uint32_t n_multiprocessors;
    void *functions[LT_GEMM_N_KERNELS + LT_RESIDENT_N_KERNELS];
} lt_cuda_gemm;

/* A product of row-major matrices, or a batch of them.
 * Shapes:   A [batch][m][k], B [batch][k][n] or, with b_transposed, [batch][n][k], D and residual
 *           [batch][m][n], bias [n].
 * Units:    strides in elements: lda, ldb, ldd, ldr from row to row; *_batch from matrix to matrix,
 *           0 where all share one.
 * Types:    A and B of dtype, F16 or BF16; D, bias and residual each F16, BF16 or F32.
 *           F32: A and B of F32, B b_transposed. The copies to shared memory round both to TF32 (a
 *           sign, 8 bits of exponent, 10 of fraction), so that a product of two is off by at most
 *           2^-10 of itself, and a result by at most (2^-10 + k 2^-23) times the sum of |A||B|.
 *           Bytes: A of dtype, I8 or U8, B I8 and b_transposed (weights of U8: flip the top bit,
 *           take 128 from their zero point). The weights' zero points must be 0; A's is taken off
 *           by operand `offset`, i32 [n]: -a_zero * (sum over k of B), plus a bias of integers.
 *           Operand `scale`, f32 [n]: what a sum is multiplied with. bias F32; residual F32, F16,
 *           BF16, I8 or U8; D F32, F16, BF16, I8, U8 or I32 (sums with offsets, nothing else).
 *           A scale and a zero point of A known only on the device: operands x_scale and x_zero
 *           (lt_cuda_gemm_requantize tells what offset and scale then are).
 *           B's matrices have lt_cuda_gemm_byte_rows(n) rows; column c of the result is row
 *           lt_cuda_gemm_byte_row(c), so that a thread's sums of a row of D are neighbours.
 * Alignment: A and B on 16 bytes, their strides multiples of 16 bytes. D, bias, residual: of
 *           their elements (16 bytes and strides that are multiples of 16 bytes are faster). */
typedef struct lt_cuda_gemm_desc {
    leat_dtype dtype;
    leat_dtype out_dtype;
    leat_dtype bias_dtype;     /* UNDEFINED: no bias */
    leat_dtype residual_dtype; /* UNDEFINED: no residual */
    int32_t b_transposed;
    int32_t activation; /* lt_cuda_gemm_activation */
    float alpha, beta;  /* of the activation */
    float scale;        /* of the product; 1 for none; not of bytes */
    int64_t m, n, k, batch;
    int64_t lda, ldb, ldd, ldr;
    int64_t a_batch, b_batch, d_batch, r_batch;
    /* 1: may start while the kernel before it in the stream ends. It waits for that kernel before
     * it touches memory; safe when every kernel of the stream does so, or has this off. */
    int32_t overlap;
    /* 1: no kernel writes B: with overlap it is fetched before the kernel ahead has ended. */
    int32_t b_constant;
    /* 0: the plan's model of time chooses. Otherwise, for measuring, tile - 1 of LT_GEMM_TILES and
     * the blocks that share a tile: 1 to 8, at most one a step of 128 bytes of k. */
    uint32_t tile, splits;
    lt_cuda_gemm_requantize requantize; /* of bytes */
} lt_cuda_gemm_desc;

/* A convolution of channels-last data as a product: m = images * out_h * out_w pixels, n filters.
 * Shapes:   x [images][h][w][c], weights [n][kh][kw][c] (packed so by the caller), y and residual
 *           [images][out_h][out_w][n], bias [n]; out_h = (h + pad[0] + pad[2] - (kh - 1) *
 *           dilation_h - 1) / stride_h + 1.
 * Limits:   c a multiple of 8, of bytes of 16, of F32 of 4; strides 1 to 8; pads, dilated filters
 * below 128; one group. Pads are zero bytes: where x has another zero point there must be none.
 * Filters of bytes lie as rows of B in lt_cuda_gemm_desc. Types, alignment: as in
 * lt_cuda_gemm_desc. The weights are constant. */
typedef struct lt_cuda_gemm_conv_desc {
    leat_dtype dtype, out_dtype, bias_dtype, residual_dtype;
    int32_t activation;
    float alpha, beta, scale;
    int32_t images, h, w, c, n;
    int32_t kh, kw, stride_h, stride_w, dilation_h, dilation_w;
    int32_t pad[4]; /* top, left, bottom, right */
    /* Elements from column to column, row to row and image to image of x, multiples of 16 bytes;
     * pixels may overlap. All 0: dense. */
    int64_t x_strides[3];
    int32_t overlap;
    uint32_t tile, splits; /* as in lt_cuda_gemm_desc */
    lt_cuda_gemm_requantize requantize;
} lt_cuda_gemm_conv_desc;

/* What to launch. Plain data, to be kept by value. */
typedef struct lt_cuda_gemm_plan {
    lt_cuda_gemm_params params; /* first: it is aligned on 64 bytes */
    uint32_t kernel;            /* index into lt_cuda_gemm.functions */
    uint32_t grid;              /* blocks */
    uint32_t cluster;           /* blocks of a cluster */
    uint32_t threads;           /* of a block */
    uint32_t shared_bytes;
    int32_t overlap;
    double cost_ns; /* estimate of one run */
} lt_cuda_gemm_plan;

/* How a product is cut: tile and splits as in lt_cuda_gemm_desc but for tile, which counts from 0,
 * and an estimate of one run. */
typedef struct lt_cuda_gemm_cut {
    uint32_t tile, splits;
    double cost_ns;
} lt_cuda_gemm_cut;

/* Device addresses. bias and residual: NULL where the plan has none. D may be the residual. offset,
 * scale, x_scale and x_zero: of bytes alone; all but scale may be NULL. */
typedef struct lt_cuda_gemm_operands {
    const void *a, *b, *bias, *residual;
    void *d;
    const int32_t *offset;
    const float *scale;
    const float *x_scale;
    const void *x_zero;
    /* Of plans with LayerNormalization alone: scale and bias of D's type [n], and scratch memory of
     * lt_cuda_gemm_norm_moments bytes, and of lt_cuda_gemm_norm_meetings, which is zeroed once and
     * then of one launch at a time. */
    const void *norm_scale, *norm_bias;
    void *moments, *meetings;
} lt_cuda_gemm_operands;

/* Rows of B for n columns of a product of bytes, and the one that is column c: of every 64 columns
 * thread t of four holds 8 j + 2 t + {0, 1} of the tensor cores' (wgmma.cuh), which shall be
 * 16 t + 2 j + {0, 1}. */
static inline int64_t lt_cuda_gemm_byte_rows(int64_t n)
{
    return (n + 63) / 64 * 64;
}

static inline int64_t lt_cuda_gemm_byte_row(int64_t c)
{
    return c / 64 * 64 + c % 16 / 2 * 8 + c % 64 / 16 * 2 + c % 2;
}

/* Name of kernel i < LT_GEMM_N_KERNELS + LT_RESIDENT_N_KERNELS in its module, such as
 * "lt_cuda_gemm_f16_nk_128x256x64_sm90". Static. */
const char *lt_cuda_gemm_kernel_name(uint32_t i);

/* Looks the kernels up and lets them use all shared memory. Modules: F16, BF16, I8, U8, TF32 (NULL:
 * that type is then refused by the plans).
 * Threads:  any; the device's context must be current.
 * Errors:   NO_DEVICE when the driver refuses. */
leat_status lt_cuda_gemm_open(const lt_cuda_gemm_driver *driver,
                              void *const modules[LT_GEMM_N_MODULES], uint32_t n_multiprocessors,
                              lt_cuda_gemm *out, leat_error *err);

/* Chooses tile and split, encodes the tensor maps.
 * Threads:  any.
 * Errors:   UNSUPPORTED for types, alignment or sizes that the kernels do not take, with the
 *           reason; INVALID for sizes that make no sense. */
leat_status lt_cuda_gemm_plan_product(const lt_cuda_gemm *gemm, const lt_cuda_gemm_desc *desc,
                                      lt_cuda_gemm_plan *out, leat_error *err);
leat_status lt_cuda_gemm_plan_conv(const lt_cuda_gemm *gemm, const lt_cuda_gemm_conv_desc *desc,
                                   lt_cuda_gemm_plan *out, leat_error *err);

/* A product whose rows then are normalized: D = (x - mean) / sqrt(variance + epsilon) * scale +
 * bias of x = A B + bias + residual, the sums in f32 throughout. F16 or BF16, all operands alike,
 * one product with a residual, no activation, scale 1, n a multiple of 128.
 * Threads:  any.
 * Errors:   as lt_cuda_gemm_plan_product; UNSUPPORTED, too, where a kernel of its own is better:
 *           there are not rows enough for two rounds of all multiprocessors. */
leat_status lt_cuda_gemm_plan_norm(const lt_cuda_gemm *gemm, const lt_cuda_gemm_desc *desc,
                                   float epsilon, lt_cuda_gemm_plan *out, leat_error *err);
size_t lt_cuda_gemm_norm_moments(const lt_cuda_gemm_plan *plan);
/* Whether such a plan may be launched in a stream: blocks of its kernel wait for each other, and
 * kernels of many streams, each with some of a row's blocks, must not fill all multiprocessors with
 * blocks that wait. `all`: how many may wait in all streams of the device, `own`: of those, this
 * stream's; both 0 at first. True once is true for the stream for good, until the caller takes
 * `own` from `all`, when the stream goes.
 * Threads:  any for `all`, one at a time for `own`. */
bool lt_cuda_gemm_norm_may_wait(const lt_cuda_gemm *gemm, const lt_cuda_gemm_plan *plan,
                                _Atomic uint32_t *all, uint32_t *own);
size_t lt_cuda_gemm_norm_meetings(const lt_cuda_gemm_plan *plan);

/* The cuts of a plan's product or convolution that are worth measuring, those of the least estimate
 * first. Returns how many, at most `most`. Not for plans that lt_cuda_gemm_resident_* changed. */
uint32_t lt_cuda_gemm_cuts(const lt_cuda_gemm *gemm, const lt_cuda_gemm_plan *plan,
                           lt_cuda_gemm_cut *out, uint32_t most);

/* The kernels of bytes whose weights stay in shared memory: looked up behind lt_cuda_gemm_open; a
 * plan of bytes becomes one of theirs where all steps of B fit beside the stages and, unless it is
 * `wanted`, there are tiles enough. False, with the plan as it was, where it does not.
 * Threads, errors: as of lt_cuda_gemm_open. */
leat_status lt_cuda_gemm_open_resident(lt_cuda_gemm *gemm, void *const modules[LT_GEMM_N_MODULES],
                                       leat_error *err);
int lt_cuda_gemm_resident_product(const lt_cuda_gemm *gemm, const lt_cuda_gemm_desc *desc,
                                  int wanted, lt_cuda_gemm_plan *plan);
int lt_cuda_gemm_resident_conv(const lt_cuda_gemm *gemm, const lt_cuda_gemm_conv_desc *desc,
                               int wanted, lt_cuda_gemm_plan *plan);

/* Enqueues a plan on a CUstream. Never blocks or allocates.
 * Threads:  any; the device's context must be current.
 * Errors:   INVALID for misaligned addresses; DEVICE_LOST when the driver refuses. */
leat_status lt_cuda_gemm_launch(const lt_cuda_gemm *gemm, const lt_cuda_gemm_plan *plan,
                                const lt_cuda_gemm_operands *operands, void *stream,
                                leat_error *err);

#ifdef __cplusplus
}
#endif

#endif

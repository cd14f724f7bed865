/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the host's files of gemm/. */
#ifndef LEAT_CUDA_GEMM_SUPPORT_H
#define LEAT_CUDA_GEMM_SUPPORT_H

#include "gemm.h"

#include <stdarg.h>
#include <stdio.h>

typedef struct lt_cuda_gemm_tile {
    uint32_t rows, columns, stages, threads, shared_bytes;
} lt_cuda_gemm_tile;

extern const lt_cuda_gemm_tile lt_cuda_gemm_tiles[LT_GEMM_N_ALL_TILES];

/* The cheapest cut by estimate; with tile > 0 that one, or INVALID. */
leat_status lt_cuda_gemm_choose(const int64_t sizes[3], int64_t steps, const uint32_t wanted[2],
                                uint32_t n_multiprocessors, lt_cuda_gemm_cut *out, leat_error *err);

/* The same of a product of halves, which has the further tiles, too. p: its steps, its activation.
 */
leat_status lt_cuda_gemm_choose_product(const int64_t sizes[3], const lt_cuda_gemm_params *p,
                                        const uint32_t wanted[2], uint32_t n_multiprocessors,
                                        lt_cuda_gemm_cut *out, leat_error *err);

/* The same of bytes, products and convolutions, which have the further tiles, too. */
leat_status lt_cuda_gemm_choose_bytes(const int64_t sizes[3], int64_t steps,
                                      const uint32_t wanted[2], uint32_t n_multiprocessors,
                                      lt_cuda_gemm_cut *out, leat_error *err);

/* Fills what follows from a cut: kernel, grid, cluster, shared memory, tiles, steps. */
void lt_cuda_gemm_apply(const lt_cuda_gemm *gemm, lt_cuda_gemm_plan *plan, lt_cuda_gemm_cut cut,
                        int64_t batch);

/* The kernel of a type of A, a source and a tile. */
uint32_t lt_cuda_gemm_kernel(leat_dtype dtype, enum lt_cuda_gemm_source source, uint32_t tile);

/* Bytes of an element of A; 0 for a type that is not for tensor cores. */
static inline uint32_t lt_cuda_gemm_unit(leat_dtype dtype)
{
    if (dtype == LEAT_DTYPE_F32) { /* TF32 in the products */
        return 4;
    }
    if (dtype == LEAT_DTYPE_F16 || dtype == LEAT_DTYPE_BF16) {
        return 2;
    }
    return dtype == LEAT_DTYPE_I8 || dtype == LEAT_DTYPE_U8;
}

/* Steps of LT_GEMM_STEP_BYTES that k elements take. */
static inline uint32_t lt_cuda_gemm_steps(leat_dtype dtype, int64_t k)
{
    int64_t step = LT_GEMM_STEP_BYTES / lt_cuda_gemm_unit(dtype);
    return (uint32_t)((k + step - 1) / step);
}

/* Bytes of an element of D, bias or residual. */
static inline uint32_t lt_cuda_gemm_type_bytes(uint32_t type)
{
    return type == LT_GEMM_F32 || type == LT_GEMM_I32 ? 4
           : type == LT_GEMM_I8 || type == LT_GEMM_U8 ? 1
                                                      : 2;
}

/* resident.c: the name of its kernel i. */
const char *lt_cuda_gemm_resident_name(uint32_t i);

/* finish.c: types of D, bias and residual; an activation by its form; whether rows of such a type
 * can be read or written by 16 bytes (the address is looked at when it is known). */
leat_status lt_cuda_gemm_set_types(const lt_cuda_gemm *gemm, lt_cuda_gemm_plan *plan,
                                   leat_dtype dtype, const leat_dtype others[3], leat_error *err);
leat_status lt_cuda_gemm_set_activation(lt_cuda_gemm_params *p, int32_t activation, float alpha,
                                        float beta, float scale, leat_error *err);
uint32_t lt_cuda_gemm_is_wide(uint32_t type, int64_t n, int64_t ld, int64_t batch_stride);
/* The same of the residual, where the kernel takes it so: of halves only one of 16 bits. */
uint32_t lt_cuda_gemm_residual_wide(const lt_cuda_gemm_params *p, int64_t n, int64_t ld,
                                    int64_t batch_stride);

/* plan.c: what a convolution is checked for, too; a stride of A's elements, from row to row or
 * matrix to matrix, that tensor maps take. */
leat_status lt_cuda_gemm_check_stride(leat_dtype dtype, const char *what, int64_t stride,
                                      int64_t least, leat_error *err);
leat_status lt_cuda_gemm_check_sizes(int64_t m, int64_t n, int64_t k, int64_t batch,
                                     leat_error *err);

/* plan.c: results' way by the copy engine, where it can take them: of the operands' type and wide.
 */
void lt_cuda_gemm_plan_results(const lt_cuda_gemm *gemm, leat_dtype dtype, int64_t batch,
                               lt_cuda_gemm_params *p);

/* Values of the driver's enumerations. */
enum {
    LT_GEMM_SWIZZLE_128B = 3,
    LT_GEMM_L2_PROMOTION_256B = 3
};

/* Tensor maps are made before addresses are known: any that is aligned serves. */
#define LT_GEMM_ANY_ADDRESS ((void *)(uintptr_t)4096)

/* Tensor maps of a plan; dims and strides as the driver wants them. */
int lt_cuda_gemm_map_dtype(leat_dtype dtype);
leat_status lt_cuda_gemm_map_made(int result, leat_error *err);
leat_status lt_cuda_gemm_map_tiled(const lt_cuda_gemm *gemm, lt_cuda_gemm_map *map,
                                   leat_dtype dtype, const uint64_t dims[3],
                                   const uint64_t strides[2], const uint32_t box[2],
                                   leat_error *err);

/* plan_conv.c: all of a convolution's plan but its cut; the maps of pixels, a_box_rows at a time,
 * and of weights, so many filters at a time. */
leat_status lt_cuda_gemm_describe_conv(const lt_cuda_gemm *gemm, const lt_cuda_gemm_conv_desc *d,
                                       lt_cuda_gemm_plan *out, leat_error *err);
leat_status lt_cuda_gemm_conv_maps(const lt_cuda_gemm *gemm, const lt_cuda_gemm_conv_desc *d,
                                   lt_cuda_gemm_params *p, uint32_t columns, leat_error *err);

/* Looks a kernel up and lets it use that much shared memory. */
leat_status lt_cuda_gemm_find(const lt_cuda_gemm_driver *driver, void *module, const char *name,
                              uint32_t shared_bytes, void **out_function, leat_error *err);

/* Launches a function by a plan's grid, cluster and so on; CUresult. */
int lt_cuda_gemm_enqueue(const lt_cuda_gemm *gemm, const lt_cuda_gemm_plan *plan, void *function,
                         void *params, void *stream);

__attribute__((format(printf, 3, 4))) static inline leat_status
lt_cuda_gemm_fail(leat_error *err, leat_status status, const char *format, ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, format);
        err->status = status;
        vsnprintf(err->message, sizeof err->message, format, args);
        va_end(args);
    }
    return status;
}

#endif

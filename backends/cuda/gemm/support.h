/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the host's files of gemm/. */
#ifndef LEAT_CUDA_GEMM_SUPPORT_H
#define LEAT_CUDA_GEMM_SUPPORT_H

#include "gemm.h"

#include <stdarg.h>
#include <stdio.h>

typedef struct lt_cuda_gemm_tile {
    uint32_t rows, columns, stages, shared_bytes;
} lt_cuda_gemm_tile;

extern const lt_cuda_gemm_tile lt_cuda_gemm_tiles[LT_GEMM_N_TILES];

/* How a product is cut: an index into lt_cuda_gemm_tiles, blocks that share a tile, time of one
 * run. */
typedef struct lt_cuda_gemm_cut {
    uint32_t tile, splits;
    double cost_ns;
} lt_cuda_gemm_cut;

/* The cheapest cut by estimate; with tile > 0 that one, or INVALID. */
leat_status lt_cuda_gemm_choose(const int64_t sizes[3], int64_t steps, const uint32_t wanted[2],
                                uint32_t n_multiprocessors, lt_cuda_gemm_cut *out, leat_error *err);

/* Fills what follows from a cut: kernel, grid, cluster, shared memory, tiles, steps. */
void lt_cuda_gemm_apply(const lt_cuda_gemm *gemm, lt_cuda_gemm_plan *plan, lt_cuda_gemm_cut cut,
                        int64_t batch);

/* Tensor maps of a plan; dims and strides as the driver wants them. */
leat_status lt_cuda_gemm_map_tiled(const lt_cuda_gemm *gemm, lt_cuda_gemm_map *map,
                                   leat_dtype dtype, const uint64_t dims[3],
                                   const uint64_t strides[2], const uint32_t box[2],
                                   leat_error *err);

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

/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels of the tensor cores: names, look-up. */
#include "gemm.h"
#include "support.h"

#include <stddef.h>

/* A tile's name of one family; the names of all tiles of all families follow. */
#define NAME(type, source, step, m, n)                                                             \
    "lt_cuda_gemm_" #type "_" #source "_" #m "x" #n "x" #step "_sm90",
#define NAME_f16_nk(m, n, stages) NAME(f16, nk, 64, m, n)
#define NAME_f16_kn(m, n, stages) NAME(f16, kn, 64, m, n)
#define NAME_f16_conv(m, n, stages) NAME(f16, conv, 64, m, n)
#define NAME_bf16_nk(m, n, stages) NAME(bf16, nk, 64, m, n)
#define NAME_bf16_kn(m, n, stages) NAME(bf16, kn, 64, m, n)
#define NAME_bf16_conv(m, n, stages) NAME(bf16, conv, 64, m, n)
#define NAME_i8_nk(m, n, stages) NAME(i8, nk, 128, m, n)
#define NAME_i8_conv(m, n, stages) NAME(i8, conv, 128, m, n)
#define NAME_u8_nk(m, n, stages) NAME(u8, nk, 128, m, n)
#define NAME_u8_conv(m, n, stages) NAME(u8, conv, 128, m, n)
#define NAME_tf32_nk(m, n, stages) NAME(tf32, nk, 32, m, n)
#define NAME_tf32_conv(m, n, stages) NAME(tf32, conv, 32, m, n)
#define NAMES(type, source) LT_GEMM_TILES(NAME_##type##_##source)
#define TURN_NAMES(type, source) LT_GEMM_TURN_TILES(NAME_##type##_##source)
static const char *const names[LT_GEMM_N_KERNELS] = {LT_GEMM_FAMILIES(NAMES)
                                                         LT_GEMM_TURN_FAMILIES(TURN_NAMES)};

enum {
    F16_NK = 0,
    BF16_NK = 3,
    I8_NK = 6,
    U8_NK = 8,
    TF32_NK = 10
};

/* The module of each family. */
static const uint8_t modules_of[LT_GEMM_N_FAMILIES] = {0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 4};
static const uint8_t turn_modules_of[LT_GEMM_N_TURN_FAMILIES] = {0, 0, 1, 1, 4, 2, 2, 3, 3};

static uint32_t module_of(uint32_t kernel)
{
    if (kernel < LT_GEMM_N_TILE_KERNELS) {
        return modules_of[kernel / LT_GEMM_N_TILES];
    }
    return turn_modules_of[(kernel - LT_GEMM_N_TILE_KERNELS) / LT_GEMM_N_TURN_TILES];
}

static uint32_t tile_of(uint32_t kernel)
{
    if (kernel < LT_GEMM_N_TILE_KERNELS) {
        return kernel % LT_GEMM_N_TILES;
    }
    return LT_GEMM_N_TILES + (kernel - LT_GEMM_N_TILE_KERNELS) % LT_GEMM_N_TURN_TILES;
}

#define TILE(rows, columns, stages)                                                                \
    {rows, columns, stages, LT_GEMM_THREADS(rows), LT_GEMM_SHARED_BYTES(rows, columns, stages)},
const lt_cuda_gemm_tile lt_cuda_gemm_tiles[LT_GEMM_N_ALL_TILES] = {LT_GEMM_TILES(TILE)
                                                                       LT_GEMM_TURN_TILES(TILE)};

uint32_t lt_cuda_gemm_kernel(leat_dtype dtype, enum lt_cuda_gemm_source source, uint32_t tile)
{
    const uint32_t conv = source == LT_GEMM_CONV;
    uint32_t family = 0;
    if (tile >= LT_GEMM_N_TILES) {
        family = dtype == LEAT_DTYPE_F16    ? (uint32_t)source
                 : dtype == LEAT_DTYPE_BF16 ? 2 + (uint32_t)source
                 : dtype == LEAT_DTYPE_F32  ? 4
                 : dtype == LEAT_DTYPE_I8   ? 5 + conv
                                            : 7 + conv;
        return LT_GEMM_N_TILE_KERNELS + family * LT_GEMM_N_TURN_TILES + tile - LT_GEMM_N_TILES;
    }
    if (lt_cuda_gemm_unit(dtype) == 1) {
        family = (dtype == LEAT_DTYPE_I8 ? I8_NK : U8_NK) + conv;
    } else if (dtype == LEAT_DTYPE_F32) {
        family = TF32_NK + conv;
    } else {
        family = (dtype == LEAT_DTYPE_F16 ? F16_NK : BF16_NK) + (uint32_t)source;
    }
    return family * LT_GEMM_N_TILES + tile;
}

const char *lt_cuda_gemm_kernel_name(uint32_t i)
{
    return i < LT_GEMM_N_KERNELS ? names[i] : lt_cuda_gemm_resident_name(i - LT_GEMM_N_KERNELS);
}

leat_status lt_cuda_gemm_find(const lt_cuda_gemm_driver *driver, void *module, const char *name,
                              uint32_t shared_bytes, void **out_function, leat_error *err)
{
    enum {
        MAX_DYNAMIC_SHARED_SIZE_BYTES = 8
    };
    int result = driver->module_get_function(out_function, module, name);
    if (result == 0) {
        result = driver->func_set_attribute(*out_function, MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                            (int)shared_bytes);
    }
    if (result != 0) {
        return lt_cuda_gemm_fail(err, LEAT_NO_DEVICE, "kernel %s: CUDA error %d", name, result);
    }
    return LEAT_OK;
}

leat_status lt_cuda_gemm_open(const lt_cuda_gemm_driver *driver,
                              void *const modules[LT_GEMM_N_MODULES], uint32_t n_multiprocessors,
                              lt_cuda_gemm *out, leat_error *err)
{
    *out = (lt_cuda_gemm){.driver = *driver, .n_multiprocessors = n_multiprocessors};
    for (uint32_t i = 0; i < LT_GEMM_N_KERNELS; i++) {
        void *module = modules[module_of(i)];
        if (module == NULL) {
            continue;
        }
        leat_status status =
            lt_cuda_gemm_find(driver, module, names[i], lt_cuda_gemm_tiles[tile_of(i)].shared_bytes,
                              &out->functions[i], err);
        if (status != LEAT_OK) {
            *out = (lt_cuda_gemm){0};
            return status;
        }
    }
    return LEAT_OK;
}

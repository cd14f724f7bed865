/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels of the tensor cores: names, look-up. */
#include "gemm.h"
#include "support.h"

#include <stddef.h>

#define NAMES(family, source) LT_GEMM_TILES(NAME_##family##_##source)
#define NAME(family, source, m, n) "lt_cuda_" family "_" source "_" #m "x" #n "x64_sm90",
#define NAME_f16_nk(m, n, stages) NAME("gemm_f16", "nk", m, n)
#define NAME_f16_kn(m, n, stages) NAME("gemm_f16", "kn", m, n)
#define NAME_f16_conv(m, n, stages) NAME("gemm_f16", "conv", m, n)
#define NAME_bf16_nk(m, n, stages) NAME("gemm_bf16", "nk", m, n)
#define NAME_bf16_kn(m, n, stages) NAME("gemm_bf16", "kn", m, n)
#define NAME_bf16_conv(m, n, stages) NAME("gemm_bf16", "conv", m, n)

static const char *const names[LT_GEMM_N_KERNELS] = {NAMES(f16, nk) NAMES(f16, kn) NAMES(
    f16, conv) NAMES(bf16, nk) NAMES(bf16, kn) NAMES(bf16, conv)};

#define TILE(rows, columns, stages)                                                                \
    {rows, columns, stages, LT_GEMM_SHARED_BYTES(rows, columns, stages)},
const lt_cuda_gemm_tile lt_cuda_gemm_tiles[LT_GEMM_N_TILES] = {LT_GEMM_TILES(TILE)};

const char *lt_cuda_gemm_kernel_name(uint32_t i)
{
    return names[i];
}

leat_status lt_cuda_gemm_open(const lt_cuda_gemm_driver *driver, void *const modules[2],
                              uint32_t n_multiprocessors, lt_cuda_gemm *out, leat_error *err)
{
    enum {
        MAX_DYNAMIC_SHARED_SIZE_BYTES = 8
    };
    *out = (lt_cuda_gemm){.driver = *driver, .n_multiprocessors = n_multiprocessors};
    for (uint32_t i = 0; i < LT_GEMM_N_KERNELS; i++) {
        void *module = modules[i / (LT_GEMM_N_KERNELS / 2)];
        if (module == NULL) {
            continue;
        }
        int result = driver->module_get_function(&out->functions[i], module, names[i]);
        if (result == 0) {
            int bytes = (int)lt_cuda_gemm_tiles[i % LT_GEMM_N_TILES].shared_bytes;
            result =
                driver->func_set_attribute(out->functions[i], MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes);
        }
        if (result != 0) {
            *out = (lt_cuda_gemm){0};
            return lt_cuda_gemm_fail(err, LEAT_NO_DEVICE, "kernel %s: CUDA error %d", names[i],
                                     result);
        }
    }
    return LEAT_OK;
}

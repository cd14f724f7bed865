/* SPDX-License-Identifier: Apache-2.0 */
/* A libcuda.so.1 for tests: the driver's functions that the plugin uses, over host memory, and the
 * kernels of backends/gpu run at once by the fibres of emulate.hpp. The environment variable
 * LEAT_FAKE_CUDA says how it behaves: unset or "good", or one of
 *
 *   stub        the toolkit's stub: cuInit gives 34, every other function too
 *   no_gpu      cuInit gives 100
 *   mismatch    cuInit gives 803
 *   old         cuGetProcAddress_v2 refuses
 *   lacking     a driver without cuLaunchKernel
 *   old_gpu     a device of compute capability 7.5
 *   no_binary   the module is not for this device
 *   no_memory   every allocation fails
 *   launch      kernels cannot be launched
 *   lost        waiting for a stream finds a fault */
/* dlsym finds the kernels. */
#pragma GCC visibility push(default)
#include "attention.hpp"
#include "attention_mma.hpp"
#include "conv.hpp"
#include "gemm.hpp"
#include "layout.hpp"
#include "norm.hpp"
#include "pointwise.hpp"
#include "pool.hpp"
#include "qconv.hpp"
#include "reduce.hpp"
#pragma GCC visibility pop

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define EXPORT extern "C" __attribute__((visibility("default")))

static bool behaves(const char *how)
{
    const char *wanted = getenv("LEAT_FAKE_CUDA");
    return wanted != nullptr && strcmp(wanted, how) == 0;
}

/* ---- the driver ------------------------------------------------------------------------------ */

EXPORT int cuInit(unsigned)
{
    return behaves("stub") ? 34 : behaves("no_gpu") ? 100 : behaves("mismatch") ? 803 : 0;
}
EXPORT int cuGetErrorName(int result, const char **out)
{
    *out = result == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_FAKE";
    return 0;
}
EXPORT int cuGetErrorString(int result, const char **out)
{
    *out = result == 2 ? "out of memory" : "a fault made for a test";
    return 0;
}
EXPORT int cuDeviceGetCount(int *out)
{
    *out = 2;
    return 0;
}
EXPORT int cuDeviceGet(int *out, int ordinal)
{
    *out = ordinal;
    return 0;
}
EXPORT int cuDeviceGetName(char *name, int capacity, int device)
{
    snprintf(name, (size_t)capacity, "Fibres %d", device);
    return 0;
}
EXPORT int cuDeviceTotalMem(size_t *out, int)
{
    *out = (size_t)1 << 30;
    return 0;
}
EXPORT int cuDeviceGetAttribute(int *out, int attribute, int)
{
    bool old = behaves("old_gpu");
    *out = attribute == 16 ? 3 : attribute == 75 ? (old ? 7 : 8) : (old ? 5 : 0);
    return 0;
}
EXPORT int cuDevicePrimaryCtxRetain(void **out, int device)
{
    static char contexts[2];
    *out = &contexts[device];
    return 0;
}
EXPORT int cuDevicePrimaryCtxRelease(int)
{
    return 0;
}
EXPORT int cuCtxSetCurrent(void *)
{
    return 0;
}
EXPORT int cuModuleLoadData(void **out, const void *)
{
    static char module;
    *out = &module;
    return behaves("no_binary") ? 209 : 0;
}
EXPORT int cuModuleUnload(void *)
{
    return 0;
}
EXPORT int cuModuleGetFunction(void **out, void *, const char *name)
{
    Dl_info self;
    *out = nullptr;
    if (dladdr(reinterpret_cast<void *>(cuInit), &self) != 0) {
        void *handle = dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD);
        *out = handle ? dlsym(handle, name) : nullptr;
        if (handle != nullptr) {
            dlclose(handle);
        }
    }
    return *out ? 0 : 500;
}

/* ---- memory: filled with ones, so that nobody relies on zeros ----------------------------------
 */

EXPORT int cuMemAlloc(uint64_t *out, size_t bytes)
{
    void *block = behaves("no_memory") ? nullptr : aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (block == nullptr) {
        return 2;
    }
    memset(block, 0xff, bytes);
    *out = (uint64_t)(uintptr_t)block;
    return 0;
}
EXPORT int cuMemFree(uint64_t address)
{
    free((void *)(uintptr_t)address);
    return 0;
}
EXPORT int cuMemHostAlloc(void **out, size_t bytes, unsigned)
{
    *out = malloc(bytes);
    return *out ? 0 : 2;
}
EXPORT int cuMemFreeHost(void *block)
{
    free(block);
    return 0;
}
EXPORT int cuMemHostGetDevicePointer(uint64_t *out, void *block, unsigned)
{
    *out = (uint64_t)(uintptr_t)block;
    return 0;
}
EXPORT int cuMemcpyHtoDAsync(uint64_t target, const void *source, size_t bytes, void *)
{
    memcpy((void *)(uintptr_t)target, source, bytes);
    return 0;
}
EXPORT int cuMemcpyDtoHAsync(void *target, uint64_t source, size_t bytes, void *)
{
    memcpy(target, (const void *)(uintptr_t)source, bytes);
    return 0;
}
EXPORT int cuMemcpyDtoDAsync(uint64_t target, uint64_t source, size_t bytes, void *)
{
    memmove((void *)(uintptr_t)target, (const void *)(uintptr_t)source, bytes);
    return 0;
}

/* ---- streams, events, launches -----------------------------------------------------------------
 */

EXPORT int cuStreamCreate(void **out, unsigned)
{
    *out = malloc(1);
    return *out ? 0 : 2;
}
EXPORT int cuStreamDestroy(void *stream)
{
    free(stream);
    return 0;
}
EXPORT int cuStreamSynchronize(void *)
{
    return behaves("lost") ? 700 : 0;
}
EXPORT int cuStreamWaitEvent(void *, void *, unsigned)
{
    return 0;
}
EXPORT int cuEventCreate(void **out, unsigned)
{
    *out = malloc(1);
    return *out ? 0 : 2;
}
EXPORT int cuEventDestroy(void *event)
{
    free(event);
    return 0;
}
EXPORT int cuEventRecord(void *, void *)
{
    return 0;
}
EXPORT int cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                          unsigned block_x, unsigned, unsigned, unsigned, void *, void **parameters,
                          void **)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    gpu::launch_options options = {};
    options.grid[0] = grid_x;
    options.grid[1] = grid_y;
    options.grid[2] = grid_z;
    options.threads = block_x;
    options.warp = 32;
    if (behaves("launch")) {
        return 701;
    }
    pthread_mutex_lock(&lock);
    const char *fault = gpu::launch_bytes(reinterpret_cast<void (*)(const void *)>(function),
                                          parameters[0], options);
    pthread_mutex_unlock(&lock);
    if (fault != nullptr) {
        fprintf(stderr, "fake driver: %s\n", fault);
    }
    return fault ? 719 : 0;
}

/* ---- tensor cores: not in fibres, and the device says that it has none -------------------------
 */

#define REFUSE(name)                                                                               \
    EXPORT int name()                                                                              \
    {                                                                                              \
        return 801;                                                                                \
    }
REFUSE(cuFuncSetAttribute)
REFUSE(cuTensorMapEncodeTiled)
REFUSE(cuTensorMapEncodeIm2col)
REFUSE(cuTensorMapReplaceAddress)
REFUSE(cuLaunchKernelEx)
#undef REFUSE

/* ---- how they are found ------------------------------------------------------------------------
 */

static int get(const char *symbol, void **out)
{
    *out = nullptr;
    if (behaves("lacking") && strcmp(symbol, "cuLaunchKernel") == 0) {
        return 500;
    }
    return cuModuleGetFunction(out, nullptr, symbol);
}

EXPORT int cuGetProcAddress_v2(const char *symbol, void **out, int, uint64_t, int *)
{
    return behaves("stub") ? 34 : behaves("old") ? 1 : get(symbol, out);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The driver as tests of kernels use it: dlopened, one context, memory. */
#ifndef TESTS_BACKENDS_CUDA_GEMM_DEVICE_H
#define TESTS_BACKENDS_CUDA_GEMM_DEVICE_H

#include "support/test.h"

#include "../../../../backends/cuda/gemm/attend.h"
#include "../../../../backends/cuda/gemm/stream.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct test_device {
    lt_cuda_gemm gemm;
    lt_cuda_stream_kernels stream;
    lt_cuda_attend_kernels attend;
    int (*memory_alloc)(uint64_t *out, size_t bytes);
    int (*memory_free)(uint64_t address);
    int (*to_device)(uint64_t to, const void *from, size_t bytes);
    int (*to_host)(void *to, uint64_t from, size_t bytes);
    int (*fill_bytes)(uint64_t to, unsigned char byte, size_t count);
    int (*synchronize)(void);
} test_device;

/* dlsym that gives the function's own type. */
static inline int test_device_symbol(void *library, const char *name, void *function)
{
    void *found = dlsym(library, name);
    memcpy(function, &found, sizeof found);
    return found != NULL;
}

/* NULL when the device is ready, else why there is none. The kernels: DIRECTORY/gemm_TYPE.fatbin,
 * or those of the folder that LEAT_CUDA_KERNELS names, where the device is another machine's. */
static inline const char *test_device_open(test_device *device, const char *directory)
{
    int (*init)(unsigned) = NULL;
    int (*device_get)(int *, int) = NULL;
    int (*attribute)(int *, int, int) = NULL;
    int (*retain)(void **, int) = NULL;
    int (*set_current)(void *) = NULL;
    int (*module_load)(void **, const char *) = NULL;
    lt_cuda_gemm_driver *d = &device->gemm.driver;
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    const char *folder = getenv("LEAT_CUDA_KERNELS");
    directory = folder != NULL ? folder : directory;
    if (library == NULL) {
        return "no libcuda.so.1";
    }
    if (!(test_device_symbol(library, "cuInit", &init) &&
          test_device_symbol(library, "cuDeviceGet", &device_get) &&
          test_device_symbol(library, "cuDeviceGetAttribute", &attribute) &&
          test_device_symbol(library, "cuDevicePrimaryCtxRetain", &retain) &&
          test_device_symbol(library, "cuCtxSetCurrent", &set_current) &&
          test_device_symbol(library, "cuModuleLoad", &module_load) &&
          test_device_symbol(library, "cuMemAlloc_v2", &device->memory_alloc) &&
          test_device_symbol(library, "cuMemFree_v2", &device->memory_free) &&
          test_device_symbol(library, "cuMemcpyHtoD_v2", &device->to_device) &&
          test_device_symbol(library, "cuMemcpyDtoH_v2", &device->to_host) &&
          test_device_symbol(library, "cuMemsetD8_v2", &device->fill_bytes) &&
          test_device_symbol(library, "cuCtxSynchronize", &device->synchronize) &&
          test_device_symbol(library, "cuModuleGetFunction", &d->module_get_function) &&
          test_device_symbol(library, "cuFuncSetAttribute", &d->func_set_attribute) &&
          test_device_symbol(library, "cuTensorMapEncodeTiled", &d->tensor_map_encode_tiled) &&
          test_device_symbol(library, "cuTensorMapEncodeIm2col", &d->tensor_map_encode_im2col) &&
          test_device_symbol(library, "cuTensorMapReplaceAddress",
                             &d->tensor_map_replace_address) &&
          test_device_symbol(library, "cuLaunchKernelEx", &d->launch_kernel_ex))) {
        return "libcuda.so.1 is too old";
    }
    enum {
        MULTIPROCESSORS = 16,
        CAPABILITY_MAJOR = 75
    };
    int ordinal = 0, major = 0, multiprocessors = 0;
    void *context = NULL;
    if (init(0) != 0 || device_get(&ordinal, 0) != 0 ||
        attribute(&major, CAPABILITY_MAJOR, ordinal) != 0 ||
        attribute(&multiprocessors, MULTIPROCESSORS, ordinal) != 0) {
        return "no CUDA device";
    }
    if (major != 9) {
        return "the device is no Hopper";
    }
    if (retain(&context, ordinal) != 0 || set_current(context) != 0) {
        return "no context on the device";
    }
    static const char *const types[LT_GEMM_N_MODULES] = {"f16", "bf16", "i8", "u8", "tf32"};
    void *modules[LT_GEMM_N_MODULES] = {NULL};
    for (int i = 0; i < LT_GEMM_N_MODULES; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/gemm_%s.fatbin", directory, types[i]);
        if (access(path, R_OK) != 0) {
            return "the kernels were not built: no nvcc";
        }
        if (module_load(&modules[i], path) != 0) {
            return "the driver does not load the kernels";
        }
    }
    leat_error err = {0};
    const lt_cuda_gemm_driver driver = *d;
    if (lt_cuda_gemm_open(&driver, modules, (uint32_t)multiprocessors, &device->gemm, &err) !=
            LEAT_OK ||
        lt_cuda_gemm_open_resident(&device->gemm, modules, &err) != LEAT_OK ||
        lt_cuda_stream_open(&device->gemm, modules, &device->stream, &err) != LEAT_OK ||
        lt_cuda_attend_open(&device->gemm, modules, &device->attend, &err) != LEAT_OK) {
        return "the driver does not know the kernels";
    }
    return NULL;
}

/* The tests' state: the device, or NULL, of which is said why. */
static inline void *test_device_state(test_device *device, const char *directory)
{
    const char *missing = test_device_open(device, directory);
    if (missing) {
        printf("skipped: %s\n", missing);
    }
    return missing ? NULL : device;
}

#endif

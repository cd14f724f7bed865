/* SPDX-License-Identifier: Apache-2.0 */
#include "driver.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LIBRARY "libcuda.so.1"
/* The oldest driver with cuGetProcAddress_v2; entry points are asked for as of this version. */
#define OLDEST_VERSION 12000

/* cuGetProcAddress_v2 */
typedef cu_result (*get_proc_address_fn)(const char *symbol, void **out_function, int version,
                                         uint64_t flags, int *out_found);

leat_status lt_cuda_fail(leat_error *err, leat_status status, const char *format, ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->message, sizeof(err->message), format, args);
        va_end(args);
        err->status = status;
    }
    return status;
}

leat_status lt_cuda_check(const lt_cuda_driver *cu, cu_result result, const char *what,
                          leat_error *err)
{
    const char *name = NULL, *text = NULL;
    if (result == 0) {
        return LEAT_OK;
    }
    if (cu->get_error_name(result, &name) != 0 || name == NULL) {
        name = "unknown";
    }
    if (cu->get_error_string(result, &text) != 0 || text == NULL) {
        text = "the driver does not say why";
    }
    leat_status status = result == CU_ERROR_OUT_OF_MEMORY ? LEAT_NO_MEMORY : LEAT_DEVICE_LOST;
    return lt_cuda_fail(err, status, "cuda: %s: %s (%s, %d)", what, text, name, result);
}

/* Why cuInit refused, and what to do about it. */
static leat_status refused(const lt_cuda_driver *cu, cu_result result, leat_error *err)
{
    const char *text = NULL;
    switch (result) {
    case CU_ERROR_STUB_LIBRARY:
        return lt_cuda_fail(err, LEAT_NO_DEVICE,
                            "cuda: the " LIBRARY " that was found is the toolkit's stub (CUDA "
                            "error 34), not a driver: take its folder from LD_LIBRARY_PATH, or "
                            "install NVIDIA's driver");
    case CU_ERROR_NO_DEVICE:
        return lt_cuda_fail(err, LEAT_NO_DEVICE,
                            "cuda: the driver finds no GPU (CUDA error 100): is there one, and "
                            "does CUDA_VISIBLE_DEVICES or the container hide it?");
    case CU_ERROR_SYSTEM_DRIVER_MISMATCH:
        return lt_cuda_fail(err, LEAT_NO_DEVICE,
                            "cuda: " LIBRARY " and the kernel's driver are of different versions "
                            "(CUDA error 803): restart after the update");
    default:
        if (cu->get_error_string == NULL || cu->get_error_string(result, &text) != 0 ||
            text == NULL) {
            text = "no reason given";
        }
        return lt_cuda_fail(err, LEAT_NO_DEVICE,
                            "cuda: the driver does not start: %s (CUDA error %d)", text, result);
    }
}

/* ISO C has no cast from object to function. */
static void find(void *library, const char *name, void *out_function)
{
    void *symbol = dlsym(library, name);
    memcpy(out_function, &symbol, sizeof(symbol));
}

static leat_status find_all(get_proc_address_fn get, lt_cuda_driver *out, leat_error *err)
{
    void *function;
#define LT_CUDA_FIND(field, name, arguments)                                                       \
    function = NULL;                                                                               \
    if (get(name, &function, OLDEST_VERSION, 0, NULL) != 0 || function == NULL) {                  \
        return lt_cuda_fail(err, LEAT_NO_DEVICE,                                                   \
                            "cuda: " LIBRARY " has no %s: a driver of CUDA 12 or newer (525 or "   \
                            "newer) is needed",                                                    \
                            name);                                                                 \
    }                                                                                              \
    memcpy(&out->field, &function, sizeof(function));
    LT_CUDA_FUNCTIONS(LT_CUDA_FIND)
#undef LT_CUDA_FIND
    return LEAT_OK;
}

leat_status lt_cuda_driver_open(lt_cuda_driver *out, leat_error *err)
{
    memset(out, 0, sizeof(*out));
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        return lt_cuda_fail(err, LEAT_NO_DEVICE,
                            "cuda: NVIDIA's driver is not installed: there is no " LIBRARY
                            " (Debian: nvidia-driver; containers: the NVIDIA container toolkit)");
    }
    /* cuInit first and by itself: a stub answers nothing else truly. */
    find(library, "cuInit", &out->init);
    find(library, "cuGetErrorString", &out->get_error_string);
    get_proc_address_fn get = NULL;
    find(library, "cuGetProcAddress_v2", &get);
    if (out->init == NULL) {
        return lt_cuda_fail(err, LEAT_NO_DEVICE, "cuda: " LIBRARY " is no CUDA driver: no cuInit");
    }
    cu_result result = out->init(0);
    if (result != 0) {
        return refused(out, result, err);
    }
    if (get == NULL) {
        return lt_cuda_fail(err, LEAT_NO_DEVICE,
                            "cuda: " LIBRARY " is too old: a driver of CUDA 12 or newer (525 or "
                            "newer) is needed");
    }
    return find_all(get, out, err);
}

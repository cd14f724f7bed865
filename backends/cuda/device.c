/* SPDX-License-Identifier: Apache-2.0 */
/* Devices: what they are, opening them, their memory. */
#include "blaslt.h"
#include "cuda.h"
#include "tensor.h"

#include <stdio.h>

/* The oldest that the kernels are compiled for. */
#define OLDEST_CAPABILITY 80

leat_status lt_cuda_device_read(lt_cuda_device *device, int ordinal, leat_error *err)
{
    const lt_cuda_driver *cu = device->cu;
    int major = 0, minor = 0, processors = 0, version = 0;
    size_t bytes = 0;
    cu_result result = cu->driver_get_version(&version);
    result = result ? result : cu->device_get(&device->device, ordinal);
    result = result ? result
                    : cu->device_get_name(device->description, (int)sizeof(device->description),
                                          device->device);
    result = result ? result : cu->device_total_mem(&bytes, device->device);
    result = result ? result
                    : cu->device_get_attribute(&processors, CU_ATTRIBUTE_MULTIPROCESSOR_COUNT,
                                               device->device);
    result = result ? result
                    : cu->device_get_attribute(&major, CU_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                                               device->device);
    result = result ? result
                    : cu->device_get_attribute(&minor, CU_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                                               device->device);
    if (result != 0) {
        return lt_cuda_check(cu, result, "reading a device's properties", err);
    }
    device->description[sizeof(device->description) - 1] = '\0';
    device->memory_bytes = bytes;
    device->processors = processors > 0 ? (uint32_t)processors : 1u;
    device->capability = major * 10 + minor;
    snprintf(device->features, sizeof(device->features), "sm_%d, %d multiprocessors, driver %d.%d",
             device->capability, processors, version / 1000, version % 1000 / 10);
    if (device->capability < OLDEST_CAPABILITY) {
        snprintf(device->reason, sizeof(device->reason),
                 "cuda: %s has compute capability %d.%d; leat's kernels need 8.0 or newer",
                 device->description, major, minor);
    }
    return LEAT_OK;
}

/* Undoes start, whatever it came to. */
void lt_cuda_device_stop(lt_cuda_device *device)
{
    if (device->context == NULL) {
        return;
    }
    if (device->cu->ctx_set_current(device->context) == 0) {
        lt_cuda_tensor_close(device);
        lt_cuda_blaslt_close(device);
        if (device->module != NULL) {
            (void)device->cu->module_unload(device->module);
        }
    }
    (void)device->cu->primary_ctx_release(device->device);
    device->module = NULL;
    device->context = NULL;
}

leat_status lt_cuda_device_start(lt_cuda_device *device, leat_error *err)
{
    const lt_cuda_driver *cu = device->cu;
    if (device->reason[0] != '\0') {
        return lt_cuda_fail(err, LEAT_NO_DEVICE, "%s", device->reason);
    }
    /* The primary context is the one of the runtime API: addresses and streams of the application
     * are good in it. */
    cu_result result = cu->primary_ctx_retain(&device->context, device->device);
    if (result != 0) {
        device->context = NULL;
    }
    result = result ? result : cu->ctx_set_current(device->context);
    result = result ? result : cu->module_load_data(&device->module, lt_cuda_kernels);
    if (result != 0) {
        leat_error reason = {LEAT_OK, ""};
        (void)lt_cuda_check(cu, result, "opening the device", &reason);
        lt_cuda_device_stop(device);
        return lt_cuda_fail(err, LEAT_NO_DEVICE, "%s", reason.message);
    }
    if (cu->module_get_function(&device->copy_1, device->module, "lt_gpu_copy_1") != 0 ||
        cu->module_get_function(&device->copy_4, device->module, "lt_gpu_copy_4") != 0) {
        device->copy_1 = device->copy_4 = NULL;
    }
    leat_status status = lt_cuda_tensor_open(device, err);
    status = status ? status : lt_cuda_blaslt_open(device, err);
    if (status != LEAT_OK) {
        lt_cuda_device_stop(device);
    }
    return status;
}

leat_status lt_cuda_alloc(void *opaque, size_t bytes, void **out_block, leat_error *err)
{
    lt_cuda_device *device = opaque;
    cu_address address = 0;
    *out_block = NULL;
    cu_result result = device->cu->ctx_set_current(device->context);
    result = result ? result : device->cu->mem_alloc(&address, bytes > 0 ? bytes : 1);
    if (result == CU_ERROR_OUT_OF_MEMORY) {
        return lt_cuda_fail(err, LEAT_NO_MEMORY,
                            "cuda: no memory for %zu bytes on %s; other sessions or programs may "
                            "hold it",
                            bytes, device->description);
    }
    if (result == 0) {
        *out_block = (void *)(uintptr_t)address;
    }
    return lt_cuda_check(device->cu, result, "allocating memory", err);
}

void lt_cuda_free(void *opaque, void *block, size_t bytes)
{
    lt_cuda_device *device = opaque;
    (void)bytes;
    if (block != NULL && device->cu->ctx_set_current(device->context) == 0) {
        (void)device->cu->mem_free((cu_address)(uintptr_t)block);
    }
}

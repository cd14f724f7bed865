/* SPDX-License-Identifier: Apache-2.0 */
/* The CUDA plugin: what it exports, and its devices. */
#include "cuda.h"

#define MAX_DEVICES 64

typedef struct instance {
    const leat_host *host;
    lt_cuda_driver driver;
    size_t n_devices;
    char names[MAX_DEVICES][16];
    lt_cuda_device devices[MAX_DEVICES];
} instance;

static leat_status find_devices(instance *cuda, leat_error *err)
{
    int count = 0;
    leat_status status = lt_cuda_driver_open(&cuda->driver, err);
    if (status != LEAT_OK) {
        return status;
    }
    status = lt_cuda_check(&cuda->driver, cuda->driver.device_get_count(&count), "counting devices",
                           err);
    if (status == LEAT_OK && count <= 0) {
        return lt_cuda_fail(err, LEAT_NO_DEVICE,
                            "cuda: the driver finds no GPU: is there one, and does "
                            "CUDA_VISIBLE_DEVICES or the container hide it?");
    }
    for (int i = 0; i < count && i < MAX_DEVICES && status == LEAT_OK; i++) {
        cuda->devices[i].host = cuda->host;
        cuda->devices[i].cu = &cuda->driver;
        status = lt_cuda_device_read(&cuda->devices[i], i, err);
        cuda->n_devices++;
    }
    return status;
}

static leat_status init(const leat_host *host, void **out_instance, leat_error *err)
{
    *out_instance = NULL;
    instance *cuda = host->alloc(host->context, sizeof(*cuda), 64);
    if (cuda == NULL) {
        return lt_cuda_fail(err, LEAT_NO_MEMORY, "cuda: no memory");
    }
    memset(cuda, 0, sizeof(*cuda));
    cuda->host = host;
    leat_status status = find_devices(cuda, err);
    if (status != LEAT_OK) {
        host->free(host->context, cuda, sizeof(*cuda));
        if (err != NULL && status == LEAT_DEVICE_LOST) {
            err->status = LEAT_NO_DEVICE;
        }
        return status == LEAT_DEVICE_LOST ? LEAT_NO_DEVICE : status;
    }
    *out_instance = cuda;
    return LEAT_OK;
}

static void shutdown(void *opaque)
{
    instance *cuda = opaque;
    cuda->host->free(cuda->host->context, cuda, sizeof(*cuda));
}

static size_t device_count(void *opaque)
{
    return ((instance *)opaque)->n_devices;
}

static leat_status device_info(void *opaque, size_t index, leat_device_properties *out_info,
                               leat_error *err)
{
    instance *cuda = opaque;
    if (index >= cuda->n_devices) {
        return lt_cuda_fail(err, LEAT_INVALID, "cuda: there is no device %zu", index);
    }
    const lt_cuda_device *device = &cuda->devices[index];
    char *name = cuda->names[index];
    memcpy(name, "cuda:", 5);
    name[5] = (char)(index < 10 ? '0' + index : '0' + index / 10);
    name[6] = (char)(index < 10 ? '\0' : '0' + index % 10);
    out_info->name = name;
    out_info->description = device->description;
    out_info->kind = LEAT_DEVICE_GPU;
    out_info->memory_bytes = device->memory_bytes;
    out_info->features = device->features;
    out_info->available = device->reason[0] == '\0';
    out_info->reason = device->reason;
    return LEAT_OK;
}

static leat_status device_open(void *opaque, size_t index, void **out_device, leat_error *err)
{
    instance *cuda = opaque;
    *out_device = NULL;
    if (index >= cuda->n_devices) {
        return lt_cuda_fail(err, LEAT_INVALID, "cuda: there is no device %zu", index);
    }
    leat_status status = lt_cuda_device_start(&cuda->devices[index], err);
    if (status == LEAT_OK) {
        *out_device = &cuda->devices[index];
    }
    return status;
}

static void device_close(void *device)
{
    lt_cuda_device_stop(device);
}

/* Every device that is opened multiplies halves faster than f32; bf16 has f32's range. TF32 is for
 * the tensor cores that gemm/ has kernels for. */
static leat_precision precision(void *opaque, leat_precision wanted)
{
    const lt_cuda_device *device = opaque;
    if (wanted == LEAT_PRECISION_TF32 && device->tensor == NULL) {
        return LEAT_PRECISION_F32;
    }
    return wanted == LEAT_PRECISION_AUTO ? LEAT_PRECISION_BF16 : wanted;
}

static leat_backend backend = {
    .abi = LEAT_BACKEND_ABI,
    .struct_size = sizeof(leat_backend),
    .name = "cuda",
    .version = "0.1",
    .sanitizer = LEAT_BACKEND_SANITIZER,
    .init = init,
    .shutdown = shutdown,
    .device_count = device_count,
    .device_info = device_info,
    .device_open = device_open,
    .device_close = device_close,
    .alloc = lt_cuda_alloc,
    .free = lt_cuda_free,
    .stream_create = lt_cuda_stream_create,
    .stream_create_urgent = lt_cuda_stream_create_urgent,
    .stream_destroy = lt_cuda_stream_destroy,
    .stream_wait = lt_cuda_stream_wait,
    .copy = lt_cuda_copy,
    .event_create = lt_cuda_event_create,
    .event_destroy = lt_cuda_event_destroy,
    .event_record = lt_cuda_event_record,
    .event_wait = lt_cuda_event_wait,
    .rows = lt_cuda_rows,
    .n_rows = LT_CUDA_N_ROWS,
    .stream_wrap = lt_cuda_stream_wrap,
    .precision = precision,
    .capture_begin = lt_cuda_capture_begin,
    .capture_end = lt_cuda_capture_end,
    .graph_launch = lt_cuda_graph_launch,
    .graph_destroy = lt_cuda_graph_destroy,
    .host_alloc = lt_cuda_host_alloc,
    .host_free = lt_cuda_host_free,
    .host_is_pinned = lt_cuda_host_is_pinned,
};

LEAT_API const leat_backend *leat_backend_query(uint32_t host_abi);

LEAT_API const leat_backend *leat_backend_query(uint32_t host_abi)
{
    return host_abi == LEAT_BACKEND_ABI ? &backend : NULL;
}

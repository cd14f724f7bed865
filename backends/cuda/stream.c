/* SPDX-License-Identifier: Apache-2.0 */
/* Queues, copies, events. */
#include "../gpu/params/layout.h"
#include "cuda.h"

#include <stdatomic.h>

/* Up to so many bytes between pinned memory and the device go by a kernel: a copy engine takes some
 * 3 us to start and as long to hand on to the next kernel, on an H100. */
#define KERNEL_COPY_BYTES ((size_t)64 << 10)

static leat_status current(const lt_cuda_device *device, leat_error *err)
{
    return lt_cuda_check(device->cu, device->cu->ctx_set_current(device->context),
                         "taking the device", err);
}

/* A queue of the driver's; blocks of an urgent one's kernels start before others that wait. */
static cu_result make_queue(const lt_cuda_device *device, bool urgent, cu_stream *out_queue)
{
    int least = 0, greatest = 0; /* the most urgent is the lowest number */
    if (!urgent) {
        return device->cu->stream_create(out_queue, CU_STREAM_NON_BLOCKING);
    }
    cu_result result = device->cu->ctx_get_stream_priority_range(&least, &greatest);
    return result ? result
                  : device->cu->stream_create_with_priority(out_queue, CU_STREAM_NON_BLOCKING,
                                                            greatest);
}

/* native: the application's; NULL: one is made. */
static leat_status make(lt_cuda_device *device, cu_stream native, bool wrapped, bool urgent,
                        void **out_stream, leat_error *err)
{
    const leat_host *host = device->host;
    void *faults = NULL;
    *out_stream = NULL;
    lt_cuda_stream *stream = host->alloc(host->context, sizeof(*stream), 64);
    if (stream == NULL) {
        return lt_cuda_fail(err, LEAT_NO_MEMORY, "cuda: no memory for a stream");
    }
    *stream = (lt_cuda_stream){.device = device, .queue = native, .wrapped = wrapped};
    cu_result result = device->cu->ctx_set_current(device->context);
    result = result
                 ? result
                 : device->cu->mem_host_alloc(&faults, sizeof(uint32_t), CU_MEMHOSTALLOC_DEVICEMAP);
    stream->faults = result ? NULL : faults;
    result = result ? result
                    : device->cu->mem_host_get_device_pointer(&stream->faults_address, faults, 0);
    if (result == 0) {
        *stream->faults = 0;
    }
    result = result ? result
                    : device->cu->event_create(&stream->done,
                                               CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING);
    if (result != 0) {
        stream->done = NULL;
    }
    if (result == 0 && !wrapped) {
        result = make_queue(device, urgent, &stream->queue);
    }
    if (result != 0) {
        if (stream->done != NULL) {
            (void)device->cu->event_destroy(stream->done);
        }
        if (stream->faults != NULL) {
            (void)device->cu->mem_free_host(stream->faults);
        }
        host->free(host->context, stream, sizeof(*stream));
        return lt_cuda_check(device->cu, result, "making a stream", err);
    }
    if (!wrapped) { /* what joins the application's is never recorded */
        lt_cuda_counters_make(stream);
    }
    *out_stream = stream;
    return LEAT_OK;
}

leat_status lt_cuda_stream_create(void *device, void **out_stream, leat_error *err)
{
    return make(device, NULL, false, false, out_stream, err);
}

leat_status lt_cuda_stream_create_urgent(void *device, void **out_stream, leat_error *err)
{
    return make(device, NULL, false, true, out_stream, err);
}

leat_status lt_cuda_stream_wrap(void *device, void *native, void **out_stream, leat_error *err)
{
    return make(device, native, true, false, out_stream, err);
}

void lt_cuda_stream_destroy(void *opaque, void *opaque_stream)
{
    lt_cuda_device *device = opaque;
    lt_cuda_stream *stream = opaque_stream;
    if (stream->last != NULL) { /* never waited for */
        lt_cuda_wait_forget(stream->last);
    }
    if (device->cu->ctx_set_current(device->context) == 0) {
        if (!stream->wrapped) {
            (void)device->cu->stream_destroy(stream->queue);
        }
        (void)device->cu->event_destroy(stream->done);
        (void)device->cu->mem_free_host(stream->faults);
        lt_cuda_counters_free(stream);
    }
    atomic_fetch_sub(&device->waiting, stream->waiting); /* what it recorded runs in it alone */
    device->host->free(device->host->context, stream, sizeof(*stream));
}

leat_status lt_cuda_stream_wait(void *opaque, void *opaque_stream, leat_error *err)
{
    lt_cuda_device *device = opaque;
    lt_cuda_stream *stream = opaque_stream;
    leat_status status = current(device, err);
    if (status == LEAT_OK) {
        status = lt_cuda_check(device->cu, lt_cuda_wait(stream), "waiting for a stream", err);
    }
    uint32_t faults = status == LEAT_OK ? *(volatile uint32_t *)stream->faults : 0;
    if (faults != 0) {
        *stream->faults = 0;
        return lt_cuda_fail(err, LEAT_INVALID,
                            "cuda: an index is out of range (of a Gather or alike); the outputs of "
                            "this run hold zeros in its place");
    }
    return status;
}

/* The device's address of pinned memory; 0 when the device cannot reach all of it. */
static cu_address reach(const lt_cuda_device *device, const void *host, size_t bytes)
{
    cu_address first = 0, last = 0, from = (cu_address)(uintptr_t)host;
    cu_result result =
        device->cu->pointer_get_attribute(&first, CU_POINTER_ATTRIBUTE_DEVICE_POINTER, from);
    result = result ? result
                    : device->cu->pointer_get_attribute(&last, CU_POINTER_ATTRIBUTE_DEVICE_POINTER,
                                                        from + bytes - 1);
    return result == 0 && last - first == bytes - 1 ? first : 0;
}

static cu_result copy_by_kernel(const lt_cuda_device *device, cu_stream queue, cu_address to,
                                cu_address from, size_t bytes)
{
    bool words = bytes % 16 != 0 && (bytes | to | from) % 4 == 0;
    uint32_t element = words ? 4 : 1, count = (uint32_t)bytes / element;
    union {
        lt_gpu_copy copy;
        unsigned char bytes[LT_CUDA_MAX_PARAMETERS];
    } p = {.copy = {.x = (const void *)(uintptr_t)from,
                    .y = (void *)(uintptr_t)to,
                    .count = count,
                    .index = {.rank = 1, .size = {lt_gpu_divisor_make(count)}},
                    .x_stride = {1},
                    .y_stride = {1}}};
    void *parameters[1] = {p.bytes};
    bool packs = bytes % 16 == 0 && (to | from) % 16 == 0;
    uint32_t blocks = lt_gpu_blocks(count, packs ? 16 : 1, device->processors);
    return device->cu->launch_kernel(words ? device->copy_4 : device->copy_1, blocks, 1, 1,
                                     LT_GPU_THREADS, 1, 1, 0, queue, parameters, NULL);
}

leat_status lt_cuda_copy(void *opaque, void *opaque_stream, leat_copy_kind kind, void *target,
                         const void *source, size_t bytes, leat_error *err)
{
    lt_cuda_device *device = opaque;
    lt_cuda_stream *stream = opaque_stream;
    cu_address to = (cu_address)(uintptr_t)target, from = (cu_address)(uintptr_t)source;
    cu_result result;
    if (bytes == 0) {
        return LEAT_OK;
    }
    leat_status status = current(device, err);
    if (status != LEAT_OK) {
        return status;
    }
    bool in = kind == LEAT_COPY_HOST_TO_DEVICE;
    cu_address reached = 0;
    if (bytes <= KERNEL_COPY_BYTES && kind != LEAT_COPY_DEVICE_TO_DEVICE &&
        device->copy_1 != NULL) {
        reached = reach(device, in ? source : target, bytes);
    }
    if (reached != 0) {
        result =
            copy_by_kernel(device, stream->queue, in ? to : reached, in ? reached : from, bytes);
        return lt_cuda_check(device->cu, result, "launching a kernel that copies", err);
    }
    switch (kind) {
    case LEAT_COPY_HOST_TO_DEVICE:
        result = device->cu->memcpy_h2d_async(to, source, bytes, stream->queue);
        break;
    case LEAT_COPY_DEVICE_TO_HOST:
        result = device->cu->memcpy_d2h_async(target, from, bytes, stream->queue);
        break;
    default:
        result = device->cu->memcpy_d2d_async(to, from, bytes, stream->queue);
        break;
    }
    return lt_cuda_check(device->cu, result, "copying", err);
}

leat_status lt_cuda_event_create(void *opaque, void **out_event, leat_error *err)
{
    lt_cuda_device *device = opaque;
    cu_event event = NULL;
    leat_status status = current(device, err);
    if (status == LEAT_OK) {
        status =
            lt_cuda_check(device->cu, device->cu->event_create(&event, CU_EVENT_DISABLE_TIMING),
                          "making an event", err);
    }
    *out_event = event;
    return status;
}

void lt_cuda_event_destroy(void *opaque, void *event)
{
    lt_cuda_device *device = opaque;
    if (device->cu->ctx_set_current(device->context) == 0) {
        (void)device->cu->event_destroy(event);
    }
}

leat_status lt_cuda_event_record(void *opaque, void *stream, void *event, leat_error *err)
{
    lt_cuda_device *device = opaque;
    leat_status status = current(device, err);
    return status
               ? status
               : lt_cuda_check(device->cu,
                               device->cu->event_record(event, ((lt_cuda_stream *)stream)->queue),
                               "recording an event", err);
}

leat_status lt_cuda_event_wait(void *opaque, void *stream, void *event, leat_error *err)
{
    lt_cuda_device *device = opaque;
    leat_status status = current(device, err);
    return status ? status
                  : lt_cuda_check(
                        device->cu,
                        device->cu->stream_wait_event(((lt_cuda_stream *)stream)->queue, event, 0),
                        "waiting for an event", err);
}

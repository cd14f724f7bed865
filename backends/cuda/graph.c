/* SPDX-License-Identifier: Apache-2.0 */
/* Graphs of what a stream does, and pinned memory. */
#include "cuda.h"

static leat_status current(const lt_cuda_device *device, leat_error *err)
{
    return lt_cuda_check(device->cu, device->cu->ctx_set_current(device->context),
                         "taking the device", err);
}

/* In the mode of one thread: what others do (allocate, load kernels) does not end the capture. */
leat_status lt_cuda_capture_begin(void *opaque, void *opaque_stream, leat_error *err)
{
    lt_cuda_device *device = opaque;
    lt_cuda_stream *stream = opaque_stream;
    leat_status status = current(device, err);
    status = status ? status
                    : lt_cuda_check(device->cu,
                                    device->cu->stream_begin_capture(
                                        stream->queue, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
                                    "beginning a graph", err);
    if (status == LEAT_OK) {
        lt_cuda_counters_begin(stream);
    }
    return status;
}

/* Owns exec, also on failure. */
static leat_status keep(lt_cuda_device *device, cu_graph_exec exec, void **out_graph,
                        leat_error *err)
{
    lt_cuda_graph *graph = device->host->alloc(device->host->context, sizeof(*graph), 64);
    if (graph == NULL) {
        (void)device->cu->graph_exec_destroy(exec);
        return lt_cuda_fail(err, LEAT_NO_MEMORY, "cuda: no memory for a graph");
    }
    *graph = (lt_cuda_graph){.exec = exec};
    *out_graph = graph;
    return LEAT_OK;
}

leat_status lt_cuda_capture_end(void *opaque, void *opaque_stream, void **out_graph,
                                leat_error *err)
{
    lt_cuda_device *device = opaque;
    lt_cuda_stream *stream = opaque_stream;
    const lt_cuda_driver *cu = device->cu;
    cu_graph graph = NULL;
    cu_graph_exec exec = NULL;
    *out_graph = NULL;
    cu_result result = cu->stream_end_capture(stream->queue, &graph);
    cu_result gathered = lt_cuda_counters_end(stream, result == 0 ? graph : NULL);
    result = result ? result : gathered;
    if (result == 0 && graph != NULL) {
        result = cu->graph_instantiate(&exec, graph, 0);
    }
    if (graph != NULL) {
        (void)cu->graph_destroy(graph);
    }
    if (result == 0 && exec == NULL) {
        return lt_cuda_fail(err, LEAT_INTERNAL, "cuda: the driver made no graph");
    }
    if (result == 0) {
        result = cu->graph_upload(exec, stream->queue); /* now, not at its first launch */
        if (result != 0) {
            (void)cu->graph_exec_destroy(exec);
        }
    }
    return result == 0 ? keep(device, exec, out_graph, err)
                       : lt_cuda_check(cu, result, "making a graph", err);
}

leat_status lt_cuda_graph_launch(void *opaque, void *stream, void *opaque_graph, leat_error *err)
{
    lt_cuda_device *device = opaque;
    lt_cuda_graph *graph = opaque_graph;
    leat_status status = current(device, err);
    if (status == LEAT_OK) {
        lt_cuda_wait_expect(stream, graph);
        status = lt_cuda_check(
            device->cu, device->cu->graph_launch(graph->exec, ((lt_cuda_stream *)stream)->queue),
            "launching a graph", err);
    }
    if (status != LEAT_OK) {
        lt_cuda_wait_forget(graph);
    }
    return status;
}

void lt_cuda_graph_destroy(void *opaque, void *opaque_graph)
{
    lt_cuda_device *device = opaque;
    lt_cuda_graph *graph = opaque_graph;
    lt_cuda_wait_forget(graph);
    if (device->cu->ctx_set_current(device->context) == 0) {
        (void)device->cu->graph_exec_destroy(graph->exec);
    }
    device->host->free(device->host->context, graph, sizeof(*graph));
}

leat_status lt_cuda_host_alloc(void *opaque, size_t bytes, void **out_block, leat_error *err)
{
    lt_cuda_device *device = opaque;
    void *block = NULL;
    cu_result result = device->cu->ctx_set_current(device->context);
    result = result ? result
                    : device->cu->mem_host_alloc(&block, bytes > 0 ? bytes : 1,
                                                 CU_MEMHOSTALLOC_DEVICEMAP);
    *out_block = result ? NULL : block;
    return lt_cuda_check(device->cu, result, "allocating pinned memory", err);
}

void lt_cuda_host_free(void *opaque, void *block, size_t bytes)
{
    lt_cuda_device *device = opaque;
    (void)bytes;
    if (device->cu->ctx_set_current(device->context) == 0) {
        (void)device->cu->mem_free_host(block);
    }
}

static bool is_host_pinned(const lt_cuda_device *device, const void *address)
{
    unsigned type = 0;
    cu_result result = device->cu->pointer_get_attribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                                         (cu_address)(uintptr_t)address);
    return result == 0 && type == CU_MEMORYTYPE_HOST;
}

int32_t lt_cuda_host_is_pinned(void *opaque, const void *address, size_t bytes)
{
    const lt_cuda_device *device = opaque;
    return bytes > 0 && device->cu->ctx_set_current(device->context) == 0 &&
           is_host_pinned(device, address) &&
           is_host_pinned(device, (const char *)address + bytes - 1);
}

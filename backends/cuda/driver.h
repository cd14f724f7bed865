/* SPDX-License-Identifier: Apache-2.0 */
/* The part of NVIDIA's driver API that the plugin uses, found at run time: neither the toolkit nor
 * the driver is needed to build or to load the plugin. Names and numbers are those of
 * https://docs.nvidia.com/cuda/cuda-driver-api/. */
#ifndef LEAT_CUDA_DRIVER_H
#define LEAT_CUDA_DRIVER_H

#include <leat/leat.h>

typedef int cu_result; /* CUresult; 0 is success */
typedef int cu_device;
typedef uint64_t cu_address; /* CUdeviceptr */
typedef struct cu_context_s *cu_context;
typedef void *cu_module; /* untyped, as gemm/gemm.h takes them */
typedef void *cu_function;
typedef struct cu_stream_s *cu_stream;
typedef struct cu_event_s *cu_event;
typedef struct cu_graph_s *cu_graph;
typedef struct cu_graph_exec_s *cu_graph_exec;
typedef struct cu_graph_node_s *cu_graph_node;

enum {
    CU_ERROR_INVALID_VALUE = 1,
    CU_ERROR_OUT_OF_MEMORY = 2,
    CU_ERROR_STUB_LIBRARY = 34,
    CU_ERROR_NO_DEVICE = 100,
    CU_ERROR_NOT_READY = 600,
    CU_ERROR_SYSTEM_DRIVER_MISMATCH = 803,

    CU_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16,
    CU_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
    CU_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76,

    CU_GRAPH_NODE_TYPE_MEMSET = 2,
    CU_STREAM_NON_BLOCKING = 1,
    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1,
    CU_EVENT_BLOCKING_SYNC = 1,
    CU_EVENT_DISABLE_TIMING = 2,
    CU_POINTER_ATTRIBUTE_MEMORY_TYPE = 2,
    CU_POINTER_ATTRIBUTE_DEVICE_POINTER = 3,
    CU_MEMORYTYPE_HOST = 1,
    CU_MEMHOSTALLOC_DEVICEMAP = 2
};

/* CUDA_MEMSET_NODE_PARAMS: `height` rows of `width` elements. */
typedef struct cu_memset_params {
    cu_address target;
    size_t pitch;
    unsigned value;
    unsigned element_bytes;
    size_t width;
    size_t height;
} cu_memset_params;

/* X(field, driver's name, arguments): every function, each returning CUresult. */
#define LT_CUDA_FUNCTIONS(X)                                                                       \
    X(init, "cuInit", (unsigned flags))                                                            \
    X(driver_get_version, "cuDriverGetVersion", (int *out_version))                                \
    X(device_get_count, "cuDeviceGetCount", (int *out_count))                                      \
    X(device_get, "cuDeviceGet", (cu_device * out_device, int ordinal))                            \
    X(device_get_name, "cuDeviceGetName", (char *name, int capacity, cu_device device))            \
    X(device_total_mem, "cuDeviceTotalMem", (size_t * out_bytes, cu_device device))                \
    X(device_get_attribute, "cuDeviceGetAttribute",                                                \
      (int *out_value, int attribute, cu_device device))                                           \
    X(primary_ctx_retain, "cuDevicePrimaryCtxRetain", (cu_context * out_context, cu_device d))     \
    X(primary_ctx_release, "cuDevicePrimaryCtxRelease", (cu_device device))                        \
    X(ctx_set_current, "cuCtxSetCurrent", (cu_context context))                                    \
    X(module_load_data, "cuModuleLoadData", (cu_module * out_module, const void *image))           \
    X(module_unload, "cuModuleUnload", (cu_module module))                                         \
    X(module_get_function, "cuModuleGetFunction",                                                  \
      (cu_function * out_function, cu_module module, const char *name))                            \
    X(mem_alloc, "cuMemAlloc", (cu_address * out_address, size_t bytes))                           \
    X(mem_free, "cuMemFree", (cu_address address))                                                 \
    X(mem_host_alloc, "cuMemHostAlloc", (void **out_block, size_t bytes, unsigned flags))          \
    X(mem_free_host, "cuMemFreeHost", (void *block))                                               \
    X(mem_host_get_device_pointer, "cuMemHostGetDevicePointer",                                    \
      (cu_address * out_address, void *block, unsigned flags))                                     \
    X(memcpy_h2d_async, "cuMemcpyHtoDAsync",                                                       \
      (cu_address target, const void *source, size_t bytes, cu_stream stream))                     \
    X(memcpy_d2h_async, "cuMemcpyDtoHAsync",                                                       \
      (void *target, cu_address source, size_t bytes, cu_stream stream))                           \
    X(memcpy_d2d_async, "cuMemcpyDtoDAsync",                                                       \
      (cu_address target, cu_address source, size_t bytes, cu_stream stream))                      \
    X(stream_create, "cuStreamCreate", (cu_stream * out_stream, unsigned flags))                   \
    X(stream_create_with_priority, "cuStreamCreateWithPriority",                                   \
      (cu_stream * out_stream, unsigned flags, int priority))                                      \
    X(ctx_get_stream_priority_range, "cuCtxGetStreamPriorityRange",                                \
      (int *out_least, int *out_greatest))                                                         \
    X(stream_destroy, "cuStreamDestroy", (cu_stream stream))                                       \
    X(stream_wait_event, "cuStreamWaitEvent", (cu_stream stream, cu_event event, unsigned flags))  \
    X(stream_query, "cuStreamQuery", (cu_stream stream))                                           \
    X(stream_begin_capture, "cuStreamBeginCapture", (cu_stream stream, int mode))                  \
    X(stream_end_capture, "cuStreamEndCapture", (cu_stream stream, cu_graph * out_graph))          \
    X(graph_instantiate, "cuGraphInstantiateWithFlags",                                            \
      (cu_graph_exec * out_exec, cu_graph graph, unsigned long long flags))                        \
    X(graph_upload, "cuGraphUpload", (cu_graph_exec exec, cu_stream stream))                       \
    X(graph_launch, "cuGraphLaunch", (cu_graph_exec exec, cu_stream stream))                       \
    X(graph_exec_destroy, "cuGraphExecDestroy", (cu_graph_exec exec))                              \
    X(graph_destroy, "cuGraphDestroy", (cu_graph graph))                                           \
    X(graph_get_nodes, "cuGraphGetNodes",                                                          \
      (cu_graph graph, cu_graph_node * out_nodes, size_t * count))                                 \
    X(graph_get_root_nodes, "cuGraphGetRootNodes",                                                 \
      (cu_graph graph, cu_graph_node * out_nodes, size_t * count))                                 \
    X(graph_node_get_type, "cuGraphNodeGetType", (cu_graph_node node, int *out_type))              \
    X(graph_node_get_dependencies, "cuGraphNodeGetDependencies",                                   \
      (cu_graph_node node, cu_graph_node * out_nodes, size_t * count))                             \
    X(graph_node_get_dependents, "cuGraphNodeGetDependentNodes",                                   \
      (cu_graph_node node, cu_graph_node * out_nodes, size_t * count))                             \
    X(graph_add_dependencies, "cuGraphAddDependencies",                                            \
      (cu_graph graph, const cu_graph_node *from, const cu_graph_node *to, size_t count))          \
    X(graph_destroy_node, "cuGraphDestroyNode", (cu_graph_node node))                              \
    X(graph_memset_node_get_params, "cuGraphMemsetNodeGetParams",                                  \
      (cu_graph_node node, cu_memset_params * out_params))                                         \
    X(graph_add_memset_node, "cuGraphAddMemsetNode",                                               \
      (cu_graph_node * out_node, cu_graph graph, const cu_graph_node *after, size_t count,         \
       const cu_memset_params *params, cu_context context))                                        \
    X(pointer_get_attribute, "cuPointerGetAttribute",                                              \
      (void *out_value, int attribute, cu_address address))                                        \
    X(event_synchronize, "cuEventSynchronize", (cu_event event))                                   \
    X(event_query, "cuEventQuery", (cu_event event))                                               \
    X(event_create, "cuEventCreate", (cu_event * out_event, unsigned flags))                       \
    X(event_destroy, "cuEventDestroy", (cu_event event))                                           \
    X(event_record, "cuEventRecord", (cu_event event, cu_stream stream))                           \
    X(launch_kernel, "cuLaunchKernel",                                                             \
      (cu_function function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,  \
       unsigned block_y, unsigned block_z, unsigned shared_bytes, cu_stream stream,                \
       void **parameters, void **extra))                                                           \
    X(func_set_attribute, "cuFuncSetAttribute", (void *function, int attribute, int value))        \
    X(tensor_map_encode_tiled, "cuTensorMapEncodeTiled",                                           \
      (void *map, int dtype, uint32_t rank, void *address, const uint64_t *dims,                   \
       const uint64_t *strides, const uint32_t *box, const uint32_t *element_strides,              \
       int interleave, int swizzle, int l2_promotion, int oob_fill))                               \
    X(tensor_map_encode_im2col, "cuTensorMapEncodeIm2col",                                         \
      (void *map, int dtype, uint32_t rank, void *address, const uint64_t *dims,                   \
       const uint64_t *strides, const int *lower_corner, const int *upper_corner,                  \
       uint32_t channels_per_pixel, uint32_t pixels_per_column, const uint32_t *element_strides,   \
       int interleave, int swizzle, int l2_promotion, int oob_fill))                               \
    X(tensor_map_replace_address, "cuTensorMapReplaceAddress", (void *map, void *address))         \
    X(launch_kernel_ex, "cuLaunchKernelEx",                                                        \
      (const void *config, void *function, void **parameters, void **extra))                       \
    X(get_error_name, "cuGetErrorName", (cu_result result, const char **out_text))                 \
    X(get_error_string, "cuGetErrorString", (cu_result result, const char **out_text))

typedef struct lt_cuda_driver {
#define LT_CUDA_FIELD(field, name, arguments) cu_result(*field) arguments;
    LT_CUDA_FUNCTIONS(LT_CUDA_FIELD)
#undef LT_CUDA_FIELD
} lt_cuda_driver;

/* Loads the driver's library, finds its functions, initialises it.
 * Owns:     the library stays loaded: drivers do not bear unloading.
 * Errors:   NO_DEVICE, saying what is missing and what to install. */
leat_status lt_cuda_driver_open(lt_cuda_driver *out, leat_error *err);

/* The status for a driver's answer; sets "cuda: WHAT: text (NAME)" in err unless it is success. An
 * answer that means a lost device gives DEVICE_LOST. */
leat_status lt_cuda_check(const lt_cuda_driver *cu, cu_result result, const char *what,
                          leat_error *err);

/* Sets err, which may be NULL, and returns status. */
leat_status lt_cuda_fail(leat_error *err, leat_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif

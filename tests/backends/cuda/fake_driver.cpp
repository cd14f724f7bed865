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
 *   lost        waiting for a stream finds a fault
 *   no_pinned   no pinned memory but for a word
 *   dead        every copy, launch and wait fails
 *   slow        a stream has never ended when it is asked
 *   late        a graph has ended 6 ms after its launch
 *   begin_capture, end_capture, instantiate, upload, graph_launch, nodes, dependencies, add_memset
 *               that call fails
 *
 * A graph's nodes are carried out in the order of their dependencies, of those that could be next
 * the one that was made last. As in CUDA, work that is captured is not done, and a thread that
 * captures may not allocate, free or wait: the capture is lost then. fake_cuda_counts says what is
 * alive and what has been called.
 */
/* dlsym finds the kernels. */
#pragma GCC visibility push(default)
#include "attention.hpp"
#include "attention_mma.hpp"
#include "attention_mma_tf32.hpp"
#include "conv.hpp"
#include "decode.hpp"
#include "gemm.hpp"
#include "layout.hpp"
#include "norm.hpp"
#include "pointwise.hpp"
#include "pool.hpp"
#include "qconv.hpp"
#include "reduce.hpp"
#include "resize.hpp"
#pragma GCC visibility pop

#include <algorithm>
#include <atomic>
#include <dlfcn.h>
#include <map>
#include <memory>
#include <mutex>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <vector>

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
EXPORT int cuDriverGetVersion(int *out)
{
    *out = 12080;
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

/* ---- what is alive, for tests ------------------------------------------------------------------
 */

struct fake_cuda_counts {
    std::atomic<size_t> device_blocks, pinned_blocks, streams, events, graphs;
    std::atomic<size_t> allocations, launches, graph_launches, copies, captures, wakes, zeros;
};
static fake_cuda_counts counts;

EXPORT fake_cuda_counts *fake_cuda_read_counts()
{
    return &counts;
}

/* ---- streams that capture ----------------------------------------------------------------------
 */

struct operation {
    void *function;                /* nullptr: a copy */
    void (*library)(const void *); /* a library's work on the parameters, instead of all else */
    gpu::launch_options options;
    std::vector<unsigned char> parameters;
    void *target;
    const void *source;
    size_t bytes;
};

struct fake_graph;
struct fake_node {
    operation work;
    fake_graph *graph;
    std::vector<fake_node *> before, after;
};

struct fake_graph {
    std::vector<std::unique_ptr<fake_node>> nodes;

    fake_node *add(operation &&o)
    {
        nodes.emplace_back(new fake_node{std::move(o), this, {}, {}});
        return nodes.back().get();
    }
};

static void link_nodes(fake_node *from, fake_node *to)
{
    from->after.push_back(to);
    to->before.push_back(from);
}

struct fake_stream {
    bool capturing = false, spoiled = false;
    fake_graph *graph = nullptr;
    fake_node *last = nullptr;       /* of the graph */
    std::atomic<uint64_t> end_ns{0}; /* of what it does */
};

static uint64_t now_ns()
{
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static thread_local fake_stream *capturing;

/* Calls that are not for a thread that captures. */
static bool forbidden()
{
    if (capturing != nullptr) {
        capturing->spoiled = true;
    }
    return capturing != nullptr;
}

static int carry_out(const operation &o)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    if (o.library != nullptr) {
        o.library(o.parameters.data());
        return 0;
    }
    if (o.function == nullptr) {
        memmove(o.target, o.source, o.bytes);
        return 0;
    }
    pthread_mutex_lock(&lock);
    const char *fault = gpu::launch_bytes(reinterpret_cast<void (*)(const void *)>(o.function),
                                          o.parameters.data(), o.options);
    pthread_mutex_unlock(&lock);
    if (fault != nullptr) {
        fprintf(stderr, "fake driver: %s\n", fault);
    }
    return fault ? 719 : 0;
}

static int queue(void *opaque, operation &&o)
{
    fake_stream *stream = static_cast<fake_stream *>(opaque);
    if (stream != nullptr && stream->capturing) {
        fake_node *node = stream->graph->add(std::move(o));
        if (stream->last != nullptr) {
            link_nodes(stream->last, node);
        }
        stream->last = node;
        return 0;
    }
    return carry_out(o);
}

/* For fakes of libraries that launch kernels of their own (fake_blaslt.c). */
EXPORT int fake_cuda_queue(void *stream, void (*work)(const void *), const void *data, size_t bytes)
{
    operation o = {};
    o.library = work;
    const unsigned char *from = static_cast<const unsigned char *>(data);
    o.parameters.assign(from, from + bytes);
    return queue(stream, std::move(o));
}

static int queue_copy(void *stream, void *target, const void *source, size_t bytes)
{
    operation o = {};
    o.target = target;
    o.source = source;
    o.bytes = bytes;
    counts.copies++;
    if (behaves("dead")) {
        return 719;
    }
    return queue(stream, std::move(o));
}

EXPORT int cuStreamBeginCapture(void *opaque, int mode)
{
    fake_stream *stream = static_cast<fake_stream *>(opaque);
    if (behaves("begin_capture") || stream->capturing || mode != 1) {
        return 900;
    }
    stream->capturing = true;
    stream->spoiled = false;
    stream->graph = new fake_graph;
    stream->last = nullptr;
    counts.graphs++;
    capturing = stream;
    return 0;
}
EXPORT int cuGraphDestroy(void *graph)
{
    delete static_cast<fake_graph *>(graph);
    counts.graphs--;
    return 0;
}
EXPORT int cuStreamEndCapture(void *opaque, void **out)
{
    fake_stream *stream = static_cast<fake_stream *>(opaque);
    bool spoiled = stream->spoiled || behaves("end_capture");
    *out = nullptr;
    if (!stream->capturing) {
        return 900;
    }
    capturing = nullptr;
    stream->capturing = false;
    if (spoiled) {
        cuGraphDestroy(stream->graph);
        return 901;
    }
    *out = stream->graph;
    counts.captures++;
    return 0;
}
EXPORT int cuGraphInstantiateWithFlags(void **out, void *graph, unsigned long long)
{
    *out = nullptr;
    if (behaves("instantiate")) {
        return 2;
    }
    const fake_graph *from = static_cast<fake_graph *>(graph);
    fake_graph *made = new fake_graph;
    std::map<const fake_node *, fake_node *> twins;
    for (const auto &node : from->nodes) {
        twins[node.get()] = made->add(operation(node->work));
    }
    for (const auto &node : from->nodes) {
        for (fake_node *next : node->after) {
            link_nodes(twins[node.get()], twins[next]);
        }
    }
    *out = made;
    counts.graphs++;
    return 0;
}
EXPORT int cuGraphExecDestroy(void *graph)
{
    return cuGraphDestroy(graph);
}
EXPORT int cuGraphUpload(void *, void *)
{
    return behaves("upload") ? 2 : 0;
}
/* A cycle is never carried out. */
static int carry_out_all(const fake_graph *graph)
{
    std::map<const fake_node *, size_t> waits;
    std::vector<const fake_node *> next;
    size_t done = 0;
    for (const auto &node : graph->nodes) {
        waits[node.get()] = node->before.size();
        if (node->before.empty()) {
            next.push_back(node.get());
        }
    }
    while (!next.empty()) {
        const fake_node *node = next.back();
        next.pop_back();
        int result = carry_out(node->work);
        if (result != 0) {
            return result;
        }
        done++;
        for (const fake_node *other : node->after) {
            if (--waits[other] == 0) {
                next.push_back(other);
            }
        }
    }
    return done == graph->nodes.size() ? 0 : 1;
}
EXPORT int cuGraphLaunch(void *graph, void *stream)
{
    counts.graph_launches++;
    if (behaves("graph_launch") || behaves("dead")) {
        return 701;
    }
    int result = carry_out_all(static_cast<fake_graph *>(graph));
    if (behaves("late")) {
        static_cast<fake_stream *>(stream)->end_ns = now_ns() + 6000000;
    }
    return result;
}

/* ---- nodes of graphs ---------------------------------------------------------------------------
 */

/* CUDA_MEMSET_NODE_PARAMS */
struct memset_params {
    uint64_t target;
    size_t pitch;
    unsigned value, element_bytes;
    size_t width, height;
};

static void zero(const void *parameters)
{
    memset_params p;
    memcpy(&p, parameters, sizeof(p));
    memset((void *)(uintptr_t)p.target, 0, p.width * p.element_bytes);
    counts.zeros++;
}

static operation zero_operation(const memset_params &p)
{
    operation o = {};
    const unsigned char *from = reinterpret_cast<const unsigned char *>(&p);
    o.library = zero;
    o.parameters.assign(from, from + sizeof(p));
    return o;
}

/* For fakes of libraries: sets memory to zero. */
EXPORT int fake_cuda_zero(void *stream, void *target, size_t bytes)
{
    return queue(stream, zero_operation({(uint64_t)(uintptr_t)target, 0, 0, 1, bytes, 1}));
}

template <typename List> static int list_nodes(const List &from, fake_node **out, size_t *count)
{
    for (size_t i = 0; out != nullptr && i < from.size() && i < *count; i++) {
        out[i] = &*from[i];
    }
    *count = out == nullptr || from.size() < *count ? from.size() : *count;
    return 0;
}

EXPORT int cuGraphGetNodes(fake_graph *graph, fake_node **out, size_t *count)
{
    return behaves("nodes") ? 1 : list_nodes(graph->nodes, out, count);
}
EXPORT int cuGraphGetRootNodes(fake_graph *graph, fake_node **out, size_t *count)
{
    std::vector<fake_node *> roots;
    for (const auto &node : graph->nodes) {
        if (node->before.empty()) {
            roots.push_back(node.get());
        }
    }
    return list_nodes(roots, out, count);
}
EXPORT int cuGraphNodeGetType(fake_node *node, int *out)
{
    *out = node->work.library == zero ? 2 : node->work.function != nullptr ? 0 : 1;
    return 0;
}
EXPORT int cuGraphNodeGetDependencies(fake_node *node, fake_node **out, size_t *count)
{
    return behaves("dependencies") ? 1 : list_nodes(node->before, out, count);
}
EXPORT int cuGraphNodeGetDependentNodes(fake_node *node, fake_node **out, size_t *count)
{
    return list_nodes(node->after, out, count);
}
EXPORT int cuGraphAddDependencies(fake_graph *, fake_node *const *from, fake_node *const *to,
                                  size_t count)
{
    for (size_t i = 0; i < count; i++) {
        link_nodes(from[i], to[i]);
    }
    return 0;
}
EXPORT int cuGraphDestroyNode(fake_node *node)
{
    auto &nodes = node->graph->nodes;
    for (fake_node *other : node->before) {
        other->after.erase(std::find(other->after.begin(), other->after.end(), node));
    }
    for (fake_node *other : node->after) {
        other->before.erase(std::find(other->before.begin(), other->before.end(), node));
    }
    nodes.erase(std::find_if(nodes.begin(), nodes.end(),
                             [&](const auto &other) { return other.get() == node; }));
    return 0;
}
EXPORT int cuGraphMemsetNodeGetParams(fake_node *node, memset_params *out)
{
    memcpy(out, node->work.parameters.data(), sizeof(*out));
    return 0;
}
EXPORT int cuGraphAddMemsetNode(fake_node **out, fake_graph *graph, fake_node *const *after,
                                size_t count, const memset_params *params, void *)
{
    if (behaves("add_memset")) {
        return 2;
    }
    *out = graph->add(zero_operation(*params));
    for (size_t i = 0; i < count; i++) {
        link_nodes(after[i], *out);
    }
    return 0;
}

/* ---- memory: filled with ones, so that nobody relies on zeros ----------------------------------
 */

EXPORT int cuMemAlloc(uint64_t *out, size_t bytes)
{
    if (forbidden()) {
        return 900;
    }
    counts.allocations++;
    void *block = behaves("no_memory") ? nullptr : aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (block == nullptr) {
        return 2;
    }
    memset(block, 0xff, bytes);
    *out = (uint64_t)(uintptr_t)block;
    counts.device_blocks++;
    return 0;
}
EXPORT int cuMemFree(uint64_t address)
{
    if (forbidden()) {
        return 900;
    }
    free((void *)(uintptr_t)address);
    counts.device_blocks--;
    return 0;
}
/* Pinned blocks, so that cuPointerGetAttribute knows them. */
static std::mutex pinned_lock;
static std::map<uintptr_t, size_t> pinned;

EXPORT int cuMemHostAlloc(void **out, size_t bytes, unsigned)
{
    *out = forbidden() || (behaves("no_pinned") && bytes > 4) ? nullptr : malloc(bytes);
    if (*out == nullptr) {
        return 2;
    }
    std::lock_guard<std::mutex> guard(pinned_lock);
    pinned[(uintptr_t)*out] = bytes;
    counts.allocations++;
    counts.pinned_blocks++;
    return 0;
}
EXPORT int cuMemFreeHost(void *block)
{
    std::lock_guard<std::mutex> guard(pinned_lock);
    pinned.erase((uintptr_t)block);
    free(block);
    counts.pinned_blocks--;
    return 0;
}
EXPORT int cuPointerGetAttribute(void *out, int attribute, uint64_t address)
{
    std::lock_guard<std::mutex> guard(pinned_lock);
    auto next = pinned.upper_bound((uintptr_t)address);
    if (next == pinned.begin()) {
        return 1;
    }
    --next;
    if (attribute == 2) {
        *static_cast<unsigned *>(out) = 1;
    } else {
        *static_cast<uint64_t *>(out) = address;
    }
    return address < next->first + next->second ? 0 : 1;
}
EXPORT int cuMemHostGetDevicePointer(uint64_t *out, void *block, unsigned)
{
    *out = (uint64_t)(uintptr_t)block;
    return 0;
}
EXPORT int cuMemcpyHtoDAsync(uint64_t target, const void *source, size_t bytes, void *stream)
{
    return queue_copy(stream, (void *)(uintptr_t)target, source, bytes);
}
EXPORT int cuMemcpyDtoHAsync(void *target, uint64_t source, size_t bytes, void *stream)
{
    return queue_copy(stream, target, (const void *)(uintptr_t)source, bytes);
}
EXPORT int cuMemcpyDtoDAsync(uint64_t target, uint64_t source, size_t bytes, void *stream)
{
    return queue_copy(stream, (void *)(uintptr_t)target, (const void *)(uintptr_t)source, bytes);
}

/* ---- streams, events, launches -----------------------------------------------------------------
 */

EXPORT int cuStreamCreate(void **out, unsigned)
{
    *out = new fake_stream;
    counts.streams++;
    return 0;
}
EXPORT int cuStreamCreateWithPriority(void **out, unsigned flags, int priority)
{
    return priority == -5 ? cuStreamCreate(out, flags) : 1;
}
EXPORT int cuCtxGetStreamPriorityRange(int *least, int *greatest)
{
    *least = 0;
    *greatest = -5;
    return 0;
}
EXPORT int cuStreamDestroy(void *stream)
{
    delete static_cast<fake_stream *>(stream);
    counts.streams--;
    return 0;
}
static uint64_t end_of(void *stream)
{
    return stream ? static_cast<fake_stream *>(stream)->end_ns.load() : 0;
}
EXPORT int cuStreamQuery(void *stream)
{
    return forbidden()       ? 900
           : behaves("dead") ? 719
           : behaves("lost") ? 700
           : behaves("slow") ? 600
                             : (now_ns() < end_of(stream) ? 600 : 0);
}
EXPORT int cuStreamWaitEvent(void *, void *, unsigned)
{
    return 0;
}
/* An event is when it happens. */
EXPORT int cuEventCreate(void **out, unsigned)
{
    *out = new uint64_t(0);
    counts.events++;
    return 0;
}
EXPORT int cuEventDestroy(void *event)
{
    delete static_cast<uint64_t *>(event);
    counts.events--;
    return 0;
}
EXPORT int cuEventRecord(void *event, void *stream)
{
    *static_cast<uint64_t *>(event) = end_of(stream);
    return 0;
}
EXPORT int cuEventQuery(void *event)
{
    return behaves("dead")   ? 719
           : behaves("lost") ? 700
                             : (now_ns() < *static_cast<uint64_t *>(event) ? 600 : 0);
}
EXPORT int cuEventSynchronize(void *event)
{
    counts.wakes++;
    while (cuEventQuery(event) == 600) {
        const timespec nap = {0, 100000};
        nanosleep(&nap, nullptr);
    }
    return cuEventQuery(event);
}
EXPORT int cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                          unsigned block_x, unsigned, unsigned, unsigned, void *stream,
                          void **parameters, void **)
{
    operation o = {};
    o.options.grid[0] = grid_x;
    o.options.grid[1] = grid_y;
    o.options.grid[2] = grid_z;
    o.options.threads = block_x;
    o.options.warp = 32;
    o.function = function;
    counts.launches++;
    if (behaves("launch") || behaves("dead")) {
        return behaves("dead") ? 719 : 701;
    }
    /* Only the kernel knows how large its struct is: as many bytes as launch.c has room for. */
    unsigned char *from = static_cast<unsigned char *>(parameters[0]);
    o.parameters.assign(from, from + 2048);
    return queue(stream, std::move(o));
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

// SPDX-License-Identifier: Apache-2.0
// What the ladders share: the kernels' module, medians by events.
#ifndef BENCH_LADDER_LADDER_H
#define BENCH_LADDER_LADDER_H

#include "../../backends/cuda/gemm/stream.h"

#include <cuda.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <vector>

static void require(bool good, const char *what, long code)
{
    if (!good) {
        fprintf(stderr, "%s: %ld\n", what, code);
        exit(1);
    }
}

#define CUDA(call)                                                                                 \
    do {                                                                                           \
        cudaError_t result_ = (call);                                                              \
        require(result_ == cudaSuccess, #call, result_);                                           \
    } while (0)

template <class F> static void entry(F *function, const char *name)
{
    cudaDriverEntryPointQueryResult found;
    void *address = nullptr;
    CUDA(cudaGetDriverEntryPointByVersion(name, &address, 12000, cudaEnableDefault, &found));
    require(address != nullptr, name, found);
    *function = (F)address;
}

static cudaStream_t stream; // of all work that is timed

static lt_cuda_gemm open_kernels(const std::string &directory, void **out_module = nullptr)
{
    CUDA(cudaFree(nullptr)); // makes the context
    CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    lt_cuda_gemm_driver d;
    entry(&d.module_get_function, "cuModuleGetFunction");
    entry(&d.func_set_attribute, "cuFuncSetAttribute");
    entry(&d.tensor_map_encode_tiled, "cuTensorMapEncodeTiled");
    entry(&d.tensor_map_encode_im2col, "cuTensorMapEncodeIm2col");
    entry(&d.tensor_map_replace_address, "cuTensorMapReplaceAddress");
    entry(&d.launch_kernel_ex, "cuLaunchKernelEx");
    int (*module_load)(void **, const char *);
    entry(&module_load, "cuModuleLoad");
    void *modules[LT_GEMM_N_MODULES] = {};
    const char *types[LT_GEMM_N_MODULES] = {"f16", nullptr, "i8", nullptr, nullptr};
    for (int i = 0; i < LT_GEMM_N_MODULES; i++) {
        if (types[i] != nullptr) {
            std::string path = directory + "/gemm_" + types[i] + ".fatbin";
            int result = module_load(&modules[i], path.c_str());
            require(result == 0, path.c_str(), result);
        }
    }
    cudaDeviceProp properties;
    CUDA(cudaGetDeviceProperties(&properties, 0));
    printf("%s, %d multiprocessors\n", properties.name, properties.multiProcessorCount);
    lt_cuda_gemm gemm;
    leat_error err = {};
    leat_status status =
        lt_cuda_gemm_open(&d, modules, properties.multiProcessorCount, &gemm, &err);
    require(status == LEAT_OK, err.message, status);
    if (out_module != nullptr) {
        *out_module = modules[0];
    }
    return gemm;
}

using launch = std::function<void(int copy)>;

// Median of 9 timings, each of enough launches for about 2 ms, captured as a graph: launches from
// the host would take longer than small kernels.
static double time_us(int copies, const launch &run)
{
    cudaEvent_t begin, end;
    CUDA(cudaEventCreate(&begin));
    CUDA(cudaEventCreate(&end));
    auto capture = [&](int count) {
        cudaGraph_t graph;
        cudaGraphExec_t captured;
        CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
        for (int i = 0; i < count; i++) {
            run(i % copies);
        }
        CUDA(cudaStreamEndCapture(stream, &graph));
        CUDA(cudaGraphInstantiate(&captured, graph, 0));
        CUDA(cudaGraphDestroy(graph));
        return captured;
    };
    auto once = [&](cudaGraphExec_t captured, int count) {
        CUDA(cudaEventRecord(begin, stream));
        CUDA(cudaGraphLaunch(captured, stream));
        CUDA(cudaEventRecord(end, stream));
        CUDA(cudaEventSynchronize(end));
        float ms;
        CUDA(cudaEventElapsedTime(&ms, begin, end));
        return ms * 1e3 / count;
    };
    cudaGraphExec_t few = capture(8);
    once(few, 8);
    int count = (int)std::min(200.0, std::max(4.0, 2000 / once(few, 8)));
    cudaGraphExec_t many = capture(count);
    once(many, count);
    std::vector<double> times;
    for (int i = 0; i < 9; i++) {
        times.push_back(once(many, count));
    }
    std::sort(times.begin(), times.end());
    CUDA(cudaGraphExecDestroy(few));
    CUDA(cudaGraphExecDestroy(many));
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    return times[4];
}

#endif

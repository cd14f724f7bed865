// SPDX-License-Identifier: Apache-2.0
// The ladder of products: from a thread per result to the shipped kernel, each rung checked
// against sums in double on random data and timed beside cuBLAS in one run.
//
//   gemm DIRECTORY         rungs at 4096, then the shipped kernel at sizes of models
//   gemm DIRECTORY sweep   every tile and split at those sizes, to compare with the plan's choice
//   gemm ... overlap       the shipped kernel starts while the one before it ends
//   gemm ... only WORD     sizes with that word in their name
//
// Build: make build/bench/ladder/gemm (needs nvcc and cuBLAS). DIRECTORY has gemm_f16.fatbin:
// build/backends/cuda/gemm. Factors rotate through 256 MB where
// they are small, so that they come from memory as a model's weights do.
#include "gemm_rungs.cuh"
#include "ladder.h"

#include <cublas_v2.h>

struct size {
    int m, n, k;
    const char *what;
    bool transposed; // B is [n][k]
};

// Operands of one size: factors in several copies, of which each launch takes the next.
struct data {
    size s;
    int copies;
    std::vector<__half> a, b, d;
    __half *da, *db, *dd;

    explicit data(size given) : s(given), a((size_t)s.m * s.k), b((size_t)s.k * s.n)
    {
        std::mt19937 random(17);
        std::uniform_real_distribution<float> real(-1, 1);
        for (auto *v : {&a, &b}) {
            for (auto &x : *v) {
                x = __float2half(real(random));
            }
        }
        d.resize((size_t)s.m * s.n);
        size_t bytes = (a.size() + b.size()) * 2;
        copies = (int)std::min<size_t>(16, std::max<size_t>(1, (256u << 20) / bytes));
        CUDA(cudaMalloc(&da, a.size() * 2 * copies));
        CUDA(cudaMalloc(&db, b.size() * 2 * copies));
        CUDA(cudaMalloc(&dd, d.size() * 2));
        for (int i = 0; i < copies; i++) {
            CUDA(cudaMemcpy(da + i * a.size(), a.data(), a.size() * 2, cudaMemcpyHostToDevice));
            CUDA(cudaMemcpy(db + i * b.size(), b.data(), b.size() * 2, cudaMemcpyHostToDevice));
        }
    }
    ~data()
    {
        cudaFree(da);
        cudaFree(db);
        cudaFree(dd);
    }
    // Largest error of results drawn at random, in units of what rounding allows.
    double error(int results)
    {
        CUDA(cudaMemcpy(d.data(), dd, d.size() * 2, cudaMemcpyDeviceToHost));
        std::mt19937 random(23);
        double worst = 0;
        for (int t = 0; t < results; t++) {
            size_t row = random() % s.m, column = random() % s.n;
            double sum = 0;
            for (int i = 0; i < s.k; i++) {
                sum += (double)__half2float(a[row * s.k + i]) *
                       (double)__half2float(
                           b[s.transposed ? column * s.k + i : (size_t)i * s.n + column]);
            }
            double actual = __half2float(d[row * s.n + column]);
            double allowed = std::abs(sum) * 0x1p-11 + 0x1p-21 * std::sqrt(s.k) + 0x1p-24 * s.k;
            double e = std::abs(actual - sum) / allowed;
            worst = e <= worst ? worst : e; // NaN is worst
        }
        return worst;
    }
};

static int failures;
static bool overlap; // of launches of the shipped kernel
static int samples = 4096;

static double report(data &x, const char *name, const launch &run, double cublas_us)
{
    CUDA(cudaMemset(x.dd, 0xff, x.d.size() * 2));
    run(0);
    CUDA(cudaDeviceSynchronize());
    double error = x.error(samples);
    failures += !(error <= 1);
    double us = time_us(x.copies, run);
    CUDA(cudaGetLastError());
    double tflops = 2.0 * x.s.m * x.s.n * x.s.k / us * 1e-6;
    printf("%-22s %6d %6d %6d  %-34s %10.2f us %7.1f TFLOP/s  %5.3f of cuBLAS  error %.3f%s\n",
           x.s.what, x.s.m, x.s.n, x.s.k, name, us, tflops, cublas_us ? cublas_us / us : 1.0, error,
           error <= 1 ? "" : "  WRONG");
    fflush(stdout);
    return us;
}

static launch cublas_launch(cublasHandle_t handle, data &x)
{
    return [handle, &x](int copy) {
        const float one = 1, zero = 0;
        cublasStatus_t status = cublasGemmEx(
            handle, x.s.transposed ? CUBLAS_OP_T : CUBLAS_OP_N, CUBLAS_OP_N, x.s.n, x.s.m, x.s.k,
            &one, x.db + copy * x.b.size(), CUDA_R_16F, x.s.transposed ? x.s.k : x.s.n,
            x.da + copy * x.a.size(), CUDA_R_16F, x.s.k, &zero, x.dd, CUDA_R_16F, x.s.n,
            CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
        require(status == CUBLAS_STATUS_SUCCESS, "cublasGemmEx", status);
    };
}

static lt_cuda_gemm_plan make_plan(const lt_cuda_gemm &gemm, const size &s, uint32_t tile,
                                   uint32_t splits)
{
    lt_cuda_gemm_desc d = {};
    d.dtype = d.out_dtype = LEAT_DTYPE_F16;
    d.scale = 1;
    d.m = s.m;
    d.n = s.n;
    d.k = s.k;
    d.batch = 1;
    d.lda = s.k;
    d.ldb = s.transposed ? s.k : s.n;
    d.ldd = d.ldr = s.n;
    d.b_transposed = s.transposed;
    d.overlap = d.b_constant = overlap;
    d.tile = tile;
    d.splits = splits;
    lt_cuda_gemm_plan plan;
    leat_error err = {};
    leat_status status = lt_cuda_gemm_plan_product(&gemm, &d, &plan, &err);
    if (status != LEAT_OK) {
        plan.grid = 0;
    }
    return plan;
}

static launch shipped_launch(const lt_cuda_gemm &gemm, data &x, const lt_cuda_gemm_plan &plan)
{
    return [&gemm, &x, plan](int copy) {
        lt_cuda_gemm_operands o = {x.da + copy * x.a.size(), x.db + copy * x.b.size(), nullptr,
                                   nullptr, x.dd};
        leat_error err = {};
        leat_status status = lt_cuda_gemm_launch(&gemm, &plan, &o, stream, &err);
        require(status == LEAT_OK, err.message, status);
    };
}

static launch wgmma_launch(const lt_cuda_gemm &gemm, data &x)
{
    auto encode = [&](uint64_t *map, __half *address, uint64_t inner, uint64_t rows, uint32_t box) {
        uint64_t dims[3] = {inner, rows, 1}, strides[2] = {inner * 2, inner * 2};
        uint32_t boxes[3] = {64, box, 1}, ones[3] = {1, 1, 1};
        int result = gemm.driver.tensor_map_encode_tiled(
            map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 3, address, dims, strides, boxes, ones, 0,
            CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, 0);
        require(result == 0, "cuTensorMapEncodeTiled", result);
    };
    std::vector<wgmma_maps> maps(x.copies);
    for (int i = 0; i < x.copies; i++) {
        encode(maps[i].a, x.da + i * x.a.size(), x.s.k, x.s.m, 128);
        encode(maps[i].b, x.db + i * x.b.size(), x.s.n, x.s.k, 64);
    }
    CUDA(cudaFuncSetAttribute(gemm_wgmma, cudaFuncAttributeMaxDynamicSharedMemorySize,
                              WGMMA_SHARED));
    return [&x, maps](int copy) {
        gemm_wgmma<<<dim3(x.s.n / 128, x.s.m / 128), 256, WGMMA_SHARED, stream>>>(maps[copy], x.dd, x.s.n,
                                                                          x.s.k);
    };
}

using rung = void (*)(const __half *, const __half *, __half *, int, int, int);

static launch rung_launch(data &x, rung kernel, dim3 block, int tile, int shared)
{
    CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared));
    return [&x, kernel, block, tile, shared](int copy) {
        kernel<<<dim3(x.s.n / tile, x.s.m / tile), block, shared, stream>>>(
            x.da + copy * x.a.size(), x.db + copy * x.b.size(), x.dd, x.s.m, x.s.n, x.s.k);
    };
}

static void climb(const lt_cuda_gemm &gemm, cublasHandle_t handle, size s)
{
    data x(s);
    double us = report(x, "cuBLAS", cublas_launch(handle, x), 0);
    report(x, "1 a thread per result", rung_launch(x, gemm_naive, dim3(32, 32), 32, 0), us);
    report(x, "2 shared memory", rung_launch(x, gemm_shared, dim3(32, 32), 32, 0), us);
    report(x, "3 registers", rung_launch(x, gemm_registers, dim3(256), 128, 0), us);
    report(x, "4 mma.sync", rung_launch(x, gemm_mma, dim3(256), 128, MMA_SHARED), us);
    report(x, "5 wgmma, one stage", wgmma_launch(gemm, x), us);
    report(x, "6 shipped", shipped_launch(gemm, x, make_plan(gemm, s, 0, 0)), us);
}

static void name_plan(char *name, size_t bytes, const lt_cuda_gemm_plan &plan)
{
    snprintf(name, bytes, "%.24s /%u (%.0f us)", lt_cuda_gemm_kernel_name(plan.kernel) + 8,
             plan.params.splits, plan.cost_ns * 1e-3);
}

static void compare(const lt_cuda_gemm &gemm, cublasHandle_t handle, size s, bool sweep)
{
    data x(s);
    char name[64];
    double us = report(x, "cuBLAS", cublas_launch(handle, x), 0);
    lt_cuda_gemm_plan plan = make_plan(gemm, s, 0, 0);
    name_plan(name, sizeof name, plan);
    report(x, name, shipped_launch(gemm, x, plan), us);
    for (uint32_t tile = 1; sweep && tile <= LT_GEMM_N_ALL_TILES; tile++) {
        for (uint32_t splits = 1; splits <= (us > 60 ? 1 : LT_GEMM_MAX_SPLIT); splits++) {
            plan = make_plan(gemm, s, tile, splits);
            if (plan.grid != 0) {
                name_plan(name, sizeof name, plan);
                report(x, name, shipped_launch(gemm, x, plan), us);
            }
        }
    }
}

int main(int argc, char **argv)
{
    require(argc >= 2, "usage: gemm DIRECTORY [sweep] [overlap] [only WORD]", 2);
    bool sweep = false;
    std::string only;
    for (int i = 2; i < argc; i++) {
        sweep = sweep || std::string(argv[i]) == "sweep";
        overlap = overlap || std::string(argv[i]) == "overlap";
        if (std::string(argv[i]) == "only" && i + 1 < argc) {
            only = argv[++i];
        }
    }
    samples = sweep ? 256 : 4096; // of which each is checked
    lt_cuda_gemm gemm = open_kernels(argv[1]);
    cublasHandle_t handle;
    require(cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS, "cublasCreate", 0);
    require(cublasSetStream(handle, stream) == CUBLAS_STATUS_SUCCESS, "cublasSetStream", 0);
    if (!sweep && only.empty()) {
        climb(gemm, handle, {4096, 4096, 4096, "ladder", false});
    }
    static const size sizes[] = {
        {4096, 4096, 4096, "square", false},
        {8192, 8192, 8192, "square", false},
        {4096, 4096, 4096, "square", true},
        {8192, 8192, 8192, "square", true},
        {384, 3072, 1024, "BERT-large b1 QKV", false},
        {384, 1024, 1024, "BERT-large b1 out", false},
        {384, 4096, 1024, "BERT-large b1 up", false},
        {384, 1024, 4096, "BERT-large b1 down", false},
        {12288, 3072, 1024, "BERT-large b32", false},
        {12288, 1024, 1024, "BERT-large b32", false},
        {12288, 4096, 1024, "BERT-large b32", false},
        {12288, 1024, 4096, "BERT-large b32", false},
        {1, 4096, 4096, "skinny", false},
        {8, 4096, 4096, "skinny", false},
        {64, 4096, 4096, "skinny", false},
        {64, 1024, 1024, "skinny", true},
        {100352, 64, 256, "ResNet-50 b32 1x1", true},
        {100352, 256, 64, "ResNet-50 b32 1x1", true},
        {25088, 512, 128, "ResNet-50 b32 1x1", true},
        {6272, 1024, 256, "ResNet-50 b32 1x1", true},
        {1568, 2048, 512, "ResNet-50 b32 1x1", true},
        {196, 1024, 256, "ResNet-50 b1 1x1", true},
        {49, 512, 2048, "ResNet-50 b1 1x1", true},
    };
    for (const size &s : sizes) {
        if (std::string(s.what).find(only) != std::string::npos) {
            compare(gemm, handle, s, sweep);
        }
    }
    printf("%d wrong\n", failures);
    return failures != 0;
}

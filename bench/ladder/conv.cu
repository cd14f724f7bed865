// SPDX-License-Identifier: Apache-2.0
// The shipped convolutions (channels last, F16, bias, residual, ReLU) at the sizes of ResNet-50,
// checked against sums in double on random data, beside cuBLAS's product of the same m, n and k:
// what a convolution would take whose gathering were free, with no epilogue. Rungs: mainloop.cuh's
// kernels as planned, stream.cuh's tiles, a star where rows take a stream, and which. Layers that widen
// have a residual. The
// floor is what the operands' bytes take at 3.0 TB/s, or the arithmetic at 800 TFLOP/s.
//
//   conv DIRECTORY [overlap]
//
// Build: make build/bench/ladder/conv. DIRECTORY: as for gemm.
#include "ladder.h"

#include <cublas_v2.h>

struct layer {
    int images, size, c, n, kernel, stride;
};

struct data {
    lt_cuda_gemm_conv_desc d;
    int out, m, k;
    std::vector<__half> x, w, residual, y, bias;
    __half *dx, *dw, *dr, *dy, *db;

    template <class T> T *upload(std::vector<T> &v, size_t count, std::mt19937 &random)
    {
        std::uniform_real_distribution<float> real(-1, 1);
        v.resize(count);
        const size_t period = 1000003; // drawing all of them would take minutes
        for (size_t i = 0; i < count; i++) {
            v[i] = i < period ? T(real(random)) : v[i - period];
        }
        T *target;
        CUDA(cudaMalloc(&target, count * sizeof(T)));
        CUDA(cudaMemcpy(target, v.data(), count * sizeof(T), cudaMemcpyHostToDevice));
        return target;
    }
    data(const layer &l, bool overlap) : d()
    {
        int pad = l.kernel / 2;
        d.dtype = d.out_dtype = LEAT_DTYPE_F16;
        d.residual_dtype = l.n > l.c ? LEAT_DTYPE_F16 : LEAT_DTYPE_UNDEFINED;
        d.bias_dtype = LEAT_DTYPE_F16;
        d.activation = LT_GEMM_RELU;
        d.scale = 1;
        d.images = l.images;
        d.h = d.w = l.size;
        d.c = l.c;
        d.n = l.n;
        d.kh = d.kw = l.kernel;
        d.stride_h = d.stride_w = l.stride;
        d.dilation_h = d.dilation_w = 1;
        d.pad[0] = d.pad[1] = d.pad[2] = d.pad[3] = pad;
        d.overlap = overlap;
        out = (l.size + 2 * pad - l.kernel) / l.stride + 1;
        m = l.images * out * out;
        k = l.kernel * l.kernel * l.c;
        std::mt19937 random(29);
        dx = upload(x, (size_t)l.images * l.size * l.size * l.c, random);
        dw = upload(w, (size_t)l.n * k, random);
        dr = upload(residual, (size_t)m * l.n, random);
        db = upload(bias, l.n, random);
        y.resize((size_t)m * l.n);
        CUDA(cudaMalloc(&dy, y.size() * 2));
        CUDA(cudaMemset(dy, 0xff, y.size() * 2));
    }
    ~data()
    {
        for (void *p : {(void *)dx, (void *)dw, (void *)dr, (void *)dy, (void *)db}) {
            cudaFree(p);
        }
    }
    double expected(int row, int filter) const
    {
        int image = row / (out * out), top = row / out % out * d.stride_h - d.pad[0];
        int left = row % out * d.stride_w - d.pad[1];
        double sum = 0;
        for (int i = 0; i < k; i++) {
            int r = top + i / d.c / d.kw, s = left + i / d.c % d.kw;
            if (r >= 0 && r < d.h && s >= 0 && s < d.w) {
                size_t at = (((size_t)image * d.h + r) * d.w + s) * d.c + i % d.c;
                sum +=
                    (double)__half2float(x[at]) * (double)__half2float(w[(size_t)filter * k + i]);
            }
        }
        sum += (double)__half2float(bias[filter]) +
               (d.residual_dtype ? (double)__half2float(residual[(size_t)row * d.n + filter]) : 0);
        return std::max(sum, 0.0);
    }
    // Largest error of 2048 results drawn at random, in units of what rounding allows.
    double error()
    {
        CUDA(cudaMemcpy(y.data(), dy, y.size() * 2, cudaMemcpyDeviceToHost));
        std::mt19937 random(31);
        double worst = 0;
        for (int t = 0; t < 2048; t++) {
            int row = random() % m, filter = random() % d.n;
            double sum = expected(row, filter);
            double actual = __half2float(y[(size_t)row * d.n + filter]);
            double allowed = sum * 0x1p-11 + 0x1p-21 * std::sqrt(k) + 0x1p-24 * k;
            double e = std::abs(actual - sum) / allowed;
            worst = e <= worst ? worst : e; // NaN is worst
        }
        return worst;
    }
};

// Median of a rung and whether its results are right.
static double rung(data &x, const launch &run, bool *good)
{
    CUDA(cudaMemset(x.dy, 0xff, x.y.size() * 2));
    CUDA(cudaDeviceSynchronize());
    run(0);
    CUDA(cudaDeviceSynchronize());
    double error = x.error(), us = time_us(1, run);
    if (!(error <= 1)) {
        printf("WRONG: error %.3f in\n", error);
        *good = false;
    }
    return us;
}

static double product_us(cublasHandle_t handle, const data &x, int n)
{
    __half *a;
    CUDA(cudaMalloc(&a, (size_t)x.m * x.k * 2));
    CUDA(cudaMemset(a, 0x31, (size_t)x.m * x.k * 2));
    double us = time_us(1, [&](int) {
        const float one = 1, zero = 0;
        cublasStatus_t s = cublasGemmEx(handle, CUBLAS_OP_T, CUBLAS_OP_N, n, x.m, x.k, &one, x.dw,
                                        CUDA_R_16F, x.k, a, CUDA_R_16F, x.k, &zero, x.dr,
                                        CUDA_R_16F, n, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
        require(s == CUBLAS_STATUS_SUCCESS, "cublasGemmEx", s);
    });
    CUDA(cudaFree(a));
    return us;
}

static bool measure(const lt_cuda_gemm &gemm, const lt_cuda_stream_kernels &streams,
                    cublasHandle_t handle, const layer &l, bool overlap)
{
    data x(l, overlap);
    bool good = true;
    leat_error err = {};
    lt_cuda_gemm_plan plan;
    leat_status status = lt_cuda_gemm_plan_conv(&gemm, &x.d, &plan, &err);
    require(status == LEAT_OK, err.message, status);
    lt_cuda_gemm_operands o = {x.dx, x.dw, x.db, x.d.residual_dtype ? x.dr : nullptr, x.dy};
    double us[1 + LT_STREAM_N_TILES];
    lt_cuda_stream_plan best;
    status = lt_cuda_stream_plan_conv(&streams, &x.d, NULL, &best, &err);
    require(status == LEAT_OK, err.message, status);
    us[0] = rung(
        x,
        [&](int) {
            leat_status s = lt_cuda_gemm_launch(&gemm, &plan, &o, stream, &err);
            require(s == LEAT_OK, err.message, s);
        },
        &good);
    for (uint32_t i = 0; i < LT_STREAM_N_TILES; i++) {
        lt_cuda_stream_plan p;
        x.d.tile = i + 1;
        us[1 + i] = NAN; // does not fit
        if (lt_cuda_stream_plan_conv(&streams, &x.d, NULL, &p, &err) != LEAT_OK) {
            continue;
        }
        us[1 + i] = rung(
            x,
            [&](int) {
                leat_status s = lt_cuda_stream_launch(&streams, &p, &o, NULL, stream, &err);
                require(s == LEAT_OK, err.message, s);
            },
            &good);
    }
    double bytes = 2 * ((double)l.images * l.size * l.size * l.c / (l.kernel < l.stride ? 4 : 1) +
                        (double)l.n * x.k + (x.d.residual_dtype ? 2.0 : 1.0) * x.m * l.n);
    double flop = 2.0 * x.m * l.n * x.k;
    printf("%4d x %3d^2 x %4d to %4d by %d^2 / %d  %-22.22s /%u %8.2f  streams%s%d %8.2f %8.2f %8.2f  "
           "cuBLAS's product %8.2f  floor %8.2f us\n",
           l.images, l.size, l.c, l.n, l.kernel, l.stride,
           lt_cuda_gemm_kernel_name(plan.kernel) + 17, plan.params.splits, us[0],
           lt_cuda_stream_is_faster(&streams, &plan, &best) ? "*" : " ",
           (int)(best.kernel % LT_STREAM_N_TILES) + 1, us[1], us[2], us[3],
           product_us(handle, x, l.n), std::max(bytes / 3.0e6, flop / 800e6));
    return good;
}

int main(int argc, char **argv)
{
    require(argc >= 2, "usage: conv DIRECTORY [overlap]", 2);
    bool overlap = argc > 2 && std::string(argv[2]) == "overlap", good = true;
    void *modules[2] = {nullptr, nullptr};
    lt_cuda_gemm gemm = open_kernels(argv[1], &modules[0]);
    lt_cuda_stream_kernels streams;
    leat_error err = {};
    leat_status status = lt_cuda_stream_open(&gemm, modules, &streams, &err);
    require(status == LEAT_OK, err.message, status);
    cublasHandle_t handle;
    require(cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS, "cublasCreate", 0);
    require(cublasSetStream(handle, stream) == CUBLAS_STATUS_SUCCESS, "cublasSetStream", 0);
    for (int images : {32, 256}) {
        for (const layer &l :
             {layer{images, 56, 64, 64, 1, 1}, layer{images, 56, 64, 64, 3, 1},
              layer{images, 56, 64, 256, 1, 1}, layer{images, 56, 256, 64, 1, 1},
              layer{images, 56, 256, 128, 1, 1}, layer{images, 56, 128, 128, 3, 2},
              layer{images, 28, 128, 512, 1, 1}, layer{images, 28, 512, 128, 1, 1},
              layer{images, 28, 128, 128, 3, 1}, layer{images, 56, 256, 512, 1, 2},
              layer{images, 28, 512, 256, 1, 1}, layer{images, 28, 512, 1024, 1, 2},
              layer{images, 14, 256, 256, 3, 1}, layer{images, 14, 256, 1024, 1, 1},
              layer{images, 14, 1024, 256, 1, 1}, layer{images, 14, 1024, 2048, 1, 2},
              layer{images, 7, 512, 512, 3, 1}, layer{images, 7, 512, 2048, 1, 1},
              layer{images, 7, 2048, 512, 1, 1}}) {
            good = measure(gemm, streams, handle, l, overlap) && good;
        }
    }
    return !good;
}

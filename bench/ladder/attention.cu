// SPDX-License-Identifier: Apache-2.0
// The ladder of attention: from three kernels with scores in memory to the shipped kernel, each
// rung checked against double-precision loops on random data.
//
//   attention DIRECTORY    rungs at BERT-large's sizes, then the shipped kernels at others; those of
//                          gemm/attend.h are read from DIRECTORY, build/backends/cuda/gemm
//
// Build: make build/bench/ladder/attention (needs nvcc). bench/ladder/attention.py runs it beside
// torch's scaled_dot_product_attention. Q, K and V are packed, [batch][row][3][head][size], as the
// product before leaves them; 4 * rows^2 * size operations a head.
#include "../../backends/cuda/gemm/attend.h"
#include "../../backends/gpu/attention.hpp"
#include "../../backends/gpu/attention_mma.hpp"
#include "ladder.h"

#include <cuda_fp16.h>

struct size {
    int batch, heads, rows, head_size;
    const char *what;
};

// Operands of one size. The mask is added, one row an image: the last eighth of the keys is hidden.
struct data {
    size s;
    std::vector<__half> qkv, mask, y;
    __half *d_qkv, *d_mask, *d_y;
    float *d_scores; // of the naive rung; NULL where they are too many

    explicit data(size given)
        : s(given), qkv((size_t)3 * s.batch * s.rows * s.heads * s.head_size),
          mask((size_t)s.batch * s.rows), y(qkv.size() / 3), d_scores(nullptr)
    {
        std::mt19937 random(17);
        std::uniform_real_distribution<float> real(-2, 2);
        for (auto &x : qkv) {
            x = __float2half(real(random));
        }
        for (size_t i = 0; i < mask.size(); i++) {
            mask[i] = __float2half((int)(i % s.rows) >= s.rows - s.rows / 8 ? -10000.0f : 0.0f);
        }
        CUDA(cudaMalloc(&d_qkv, qkv.size() * 2));
        CUDA(cudaMalloc(&d_mask, mask.size() * 2));
        CUDA(cudaMalloc(&d_y, y.size() * 2));
        size_t scores = (size_t)s.batch * s.heads * s.rows * s.rows;
        if (scores * 4 < (4ull << 30)) {
            CUDA(cudaMalloc(&d_scores, scores * 4));
        }
        CUDA(cudaMemcpy(d_qkv, qkv.data(), qkv.size() * 2, cudaMemcpyHostToDevice));
        CUDA(cudaMemcpy(d_mask, mask.data(), mask.size() * 2, cudaMemcpyHostToDevice));
    }
    ~data()
    {
        cudaFree(d_qkv);
        cudaFree(d_mask);
        cudaFree(d_y);
        cudaFree(d_scores);
    }
    lt_gpu_attention parameters() const
    {
        lt_gpu_attention p = {};
        int64_t width = (int64_t)s.heads * s.head_size;
        p.q = d_qkv;
        p.k = d_qkv + width;
        p.v = d_qkv + 2 * width;
        p.y = d_y;
        p.mask = d_mask;
        p.batch = s.batch;
        p.heads = p.kv_heads = s.heads;
        p.q_rows = p.kv_rows = p.mask_columns = s.rows;
        p.head_size = p.v_size = s.head_size;
        p.mask_kind = LT_GPU_MASK_ADDED;
        p.scale = 1 / std::sqrt((float)s.head_size);
        const int64_t in[3] = {3 * width * s.rows, s.head_size, 3 * width};
        const int64_t out[3] = {width * s.rows, s.head_size, width};
        for (int i = 0; i < 3; i++) {
            p.q_stride[i] = p.k_stride[i] = p.v_stride[i] = in[i];
            p.y_stride[i] = out[i];
        }
        p.mask_stride[0] = s.rows;
        p.mask_stride[3] = 1;
        return p;
    }
    double at(int part, int b, int h, int row, int d) const
    {
        int64_t width = (int64_t)s.heads * s.head_size;
        return __half2float(qkv[((int64_t)b * s.rows + row) * 3 * width + part * width +
                                (int64_t)h * s.head_size + d]);
    }
    // Largest error of 64 rows drawn at random, in units of what rounding weights and results to
    // halves allows.
    double error()
    {
        CUDA(cudaMemcpy(y.data(), d_y, y.size() * 2, cudaMemcpyDeviceToHost));
        std::mt19937 random(23);
        double worst = 0;
        std::vector<double> w(s.rows);
        for (int t = 0; t < 64; t++) {
            int b = random() % s.batch, h = random() % s.heads, row = random() % s.rows;
            double most = -INFINITY, total = 0;
            for (int c = 0; c < s.rows; c++) {
                w[c] = 0;
                for (int d = 0; d < s.head_size; d++) {
                    w[c] += at(0, b, h, row, d) * at(1, b, h, c, d);
                }
                w[c] = w[c] / std::sqrt((double)s.head_size) +
                       (double)__half2float(mask[(size_t)b * s.rows + c]);
                most = std::max(most, w[c]);
            }
            for (auto &x : w) {
                x = std::exp(x - most);
                total += x;
            }
            for (int d = 0; d < s.head_size; d++) {
                double sum = 0, sizes = 0;
                for (int c = 0; c < s.rows; c++) {
                    sum += w[c] / total * at(2, b, h, c, d);
                    sizes += w[c] / total * std::abs(at(2, b, h, c, d));
                }
                double actual =
                    __half2float(y[(((int64_t)b * s.rows + row) * s.heads + h) * s.head_size + d]);
                double allowed = std::abs(sum) * 0x1p-11 + sizes * 0x1p-11 + 1e-5;
                double e = std::abs(actual - sum) / allowed;
                worst = e <= worst ? worst : e; // NaN is worst
            }
        }
        return worst;
    }
};

// Rung 1: a thread per score, a thread per row, a thread per result.
__global__ void naive_scores(lt_gpu_attention p, float *scores)
{
    int column = blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.y;
    int b = blockIdx.z / p.heads, h = blockIdx.z % p.heads;
    if (column >= p.kv_rows) {
        return;
    }
    const __half *q =
        (const __half *)p.q + b * p.q_stride[0] + h * p.q_stride[1] + row * p.q_stride[2];
    const __half *k =
        (const __half *)p.k + b * p.k_stride[0] + h * p.k_stride[1] + column * p.k_stride[2];
    float sum = 0;
    for (int d = 0; d < p.head_size; d++) {
        sum += __half2float(q[d]) * __half2float(k[d]);
    }
    sum = sum * p.scale + __half2float(((const __half *)p.mask)[b * p.mask_stride[0] + column]);
    scores[((int64_t)blockIdx.z * p.q_rows + row) * p.kv_rows + column] = sum;
}

__global__ void naive_softmax(float *scores, int64_t rows, int columns)
{
    int64_t row = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) {
        return;
    }
    float *s = scores + row * columns, most = -INFINITY, total = 0;
    for (int c = 0; c < columns; c++) {
        most = fmaxf(most, s[c]);
    }
    for (int c = 0; c < columns; c++) {
        s[c] = expf(s[c] - most);
        total += s[c];
    }
    for (int c = 0; c < columns; c++) {
        s[c] /= total;
    }
}

__global__ void naive_mix(lt_gpu_attention p, const float *scores)
{
    int d = threadIdx.x, row = blockIdx.x;
    int b = blockIdx.y / p.heads, h = blockIdx.y % p.heads;
    const float *s = scores + ((int64_t)blockIdx.y * p.q_rows + row) * p.kv_rows;
    const __half *v = (const __half *)p.v + b * p.v_stride[0] + h * p.v_stride[1] + d;
    float sum = 0;
    for (int c = 0; c < p.kv_rows; c++) {
        sum += s[c] * __half2float(v[c * p.v_stride[2]]);
    }
    ((__half *)p.y)[b * p.y_stride[0] + h * p.y_stride[1] + row * p.y_stride[2] + d] =
        __float2half(sum);
}

static launch naive(const data &x)
{
    return [&x](int) {
        const lt_gpu_attention p = x.parameters();
        int64_t rows = (int64_t)p.batch * p.heads * p.q_rows;
        naive_scores<<<dim3((p.kv_rows + 127) / 128, p.q_rows, p.batch * p.heads), 128, 0, stream>>>(
            p, x.d_scores);
        naive_softmax<<<(unsigned)((rows + 127) / 128), 128, 0, stream>>>(x.d_scores, rows, p.kv_rows);
        naive_mix<<<dim3(p.q_rows, p.batch * p.heads), p.head_size, 0, stream>>>(p, x.d_scores);
    };
}

static launch kernel(const data &x, void (*run)(lt_gpu_attention), int rows)
{
    return [&x, run, rows](int) {
        const lt_gpu_attention p = x.parameters();
        run<<<(unsigned)std::min<int64_t>(lt_gpu_attention_items(&p, rows), 132 * 32),
              LT_GPU_THREADS, 0, stream>>>(p);
    };
}

static launch attend(const lt_cuda_attend_kernels &kernels, const data &x)
{
    const lt_gpu_attention p = x.parameters();
    lt_cuda_attend_plan plan;
    leat_error err = {};
    leat_status status = lt_cuda_attend_plan_make(&kernels, &p, LEAT_DTYPE_F16, &plan, &err);
    require(status == LEAT_OK, err.message, status);
    return [&kernels, &x, plan](int) {
        const lt_gpu_attention q = x.parameters();
        const lt_cuda_attend_operands o = {q.q, q.k, q.v, q.mask, q.y};
        leat_error failed = {};
        leat_status launched = lt_cuda_attend_launch(&kernels, &plan, &o, stream, &failed);
        require(launched == LEAT_OK, failed.message, launched);
    };
}

static int failures;

static void report(data &x, const char *name, const launch &run)
{
    CUDA(cudaMemset(x.d_y, 0xff, x.y.size() * 2));
    run(0);
    CUDA(cudaDeviceSynchronize());
    double error = x.error();
    failures += !(error <= 1);
    double us = time_us(1, run);
    CUDA(cudaGetLastError());
    double flops = 4.0 * x.s.batch * x.s.heads * x.s.rows * x.s.rows * x.s.head_size;
    printf("%-14s %3d x %2d heads, %4d rows of %3d  %-28s %9.2f us %7.1f TFLOP/s  error %.3f%s\n",
           x.s.what, x.s.batch, x.s.heads, x.s.rows, x.s.head_size, name, us, flops / us * 1e-6,
           error, error <= 1 ? "" : "  WRONG");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    require(argc == 2, "usage: attention DIRECTORY", 2);
    void *modules[2] = {};
    lt_cuda_gemm gemm = open_kernels(argv[1], &modules[0]);
    lt_cuda_attend_kernels kernels;
    leat_error err = {};
    leat_status status = lt_cuda_attend_open(&gemm, modules, &kernels, &err);
    require(status == LEAT_OK, err.message, status);
    const size sizes[] = {{1, 16, 384, 64, "BERT-large"},  {8, 16, 384, 64, "BERT-large"},
                          {32, 16, 384, 64, "BERT-large"}, {64, 16, 384, 64, "BERT-large"},
                          {4, 16, 2048, 64, "long"},       {1, 32, 1024, 128, "size 128"},
                          {8, 32, 2048, 128, "size 128"}};
    for (const size &s : sizes) {
        data x(s);
        bool small = s.head_size == 64;
        if (x.d_scores != nullptr && s.rows == 384) {
            report(x, "scores in memory", naive(x));
            report(x, "online softmax, f32 units", kernel(x, lt_gpu_attention_f16_64, 32));
        }
        report(x, "tensor cores, 64 rows",
               kernel(x, small ? lt_gpu_attention_mma_f16_64x64 : lt_gpu_attention_mma_f16_128x64,
                      64));
        report(x, "tensor cores, 128 rows",
               kernel(x, small ? lt_gpu_attention_mma_f16_64x128 : lt_gpu_attention_mma_f16_128x128,
                      128));
        if (small) {
            report(x, "wgmma, copy engine", attend(kernels, x));
        }
    }
    printf("%d wrong\n", failures);
    return failures != 0;
}

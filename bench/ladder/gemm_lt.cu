// SPDX-License-Identifier: Apache-2.0
// Products with what follows them, beside cuBLASLt with the same epilogue in one run: F16 with
// bias, GELU, residual at the sizes of BERT-large, and bytes with sums in s32, requantized to
// bytes.
//
//   gemm_lt DIRECTORY [overlap]
//
// Build: make build/bench/ladder/gemm_lt. DIRECTORY: as for gemm. cuBLASLt takes the best of its
// first four proposals. F16 results are checked against sums in double, bytes must be exact.
#include "ladder.h"

#include <cublasLt.h>

#include <memory>

// The numbers that the plugin has instead of this header.
#include "../../backends/cuda/blaslt_types.h"
#define SAME(mine, theirs) static_assert((int)(mine) == (int)(theirs), #mine)
SAME(BLASLT_R_32F, CUDA_R_32F);
SAME(BLASLT_R_16F, CUDA_R_16F);
SAME(BLASLT_R_16BF, CUDA_R_16BF);
SAME(BLASLT_COMPUTE_32F, CUBLAS_COMPUTE_32F);
SAME(BLASLT_COMPUTE_32F_FAST_TF32, CUBLAS_COMPUTE_32F_FAST_TF32);
SAME(BLASLT_OP_N, CUBLAS_OP_N);
SAME(BLASLT_OP_T, CUBLAS_OP_T);
SAME(BLASLT_DESC_TRANSA, CUBLASLT_MATMUL_DESC_TRANSA);
SAME(BLASLT_DESC_EPILOGUE, CUBLASLT_MATMUL_DESC_EPILOGUE);
SAME(BLASLT_DESC_BIAS_POINTER, CUBLASLT_MATMUL_DESC_BIAS_POINTER);
SAME(BLASLT_LAYOUT_BATCH_COUNT, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT);
SAME(BLASLT_LAYOUT_STRIDED_BATCH_OFFSET, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET);
SAME(BLASLT_PREF_MAX_WORKSPACE_BYTES, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
SAME(BLASLT_PREF_REDUCTION_SCHEME_MASK, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
SAME(BLASLT_REDUCTION_COMPUTE_TYPE, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
SAME(BLASLT_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
SAME(BLASLT_PREF_MIN_ALIGNMENT_A_BYTES + 3, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
SAME(BLASLT_CONFIG_TILE_ID, CUBLASLT_ALGO_CONFIG_TILE_ID);
SAME(BLASLT_CONFIG_CLUSTER_SHAPE_ID, CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID);
SAME(BLASLT_TILE_256X128, CUBLASLT_MATMUL_TILE_256x128);
SAME(BLASLT_CLUSTER_SHAPE_1X2X1, CUBLASLT_CLUSTER_SHAPE_1x2x1);
SAME(BLASLT_EPILOGUE_DEFAULT, CUBLASLT_EPILOGUE_DEFAULT);
SAME(BLASLT_EPILOGUE_RELU, CUBLASLT_EPILOGUE_RELU);
SAME(BLASLT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_BIAS);
SAME(BLASLT_EPILOGUE_GELU, CUBLASLT_EPILOGUE_GELU);
SAME(sizeof(blaslt_matmul_desc), sizeof(cublasLtMatmulDescOpaque_t));
SAME(sizeof(blaslt_layout), sizeof(cublasLtMatrixLayoutOpaque_t));
SAME(sizeof(blaslt_preference), sizeof(cublasLtMatmulPreferenceOpaque_t));
SAME(sizeof(blaslt_algorithm), sizeof(cublasLtMatmulAlgo_t));
SAME(sizeof(blaslt_proposal), sizeof(cublasLtMatmulHeuristicResult_t));
SAME(offsetof(blaslt_proposal, state), offsetof(cublasLtMatmulHeuristicResult_t, state));

enum epilogue {
    PLAIN,
    BIAS,
    BIAS_GELU,
    BIAS_RESIDUAL,
    BYTES
};

static const char *const names[] = {"plain", "bias", "bias, GELU", "bias, residual", "bytes"};

struct size {
    int m, n, k;
    epilogue what;
};

static void lt(cublasStatus_t status, const char *what)
{
    require(status == CUBLAS_STATUS_SUCCESS, what, status);
}

// Operands; factors in several copies, of which each launch takes the next. B is [n][k].
struct data {
    size s;
    bool bytes;
    int copies, unit;
    std::vector<__half> a, b, d, residual, bias;
    std::vector<int8_t> qa, qb, qd;
    std::vector<float> scale;
    char *da, *db, *dd, *dr, *dbias;
    float *dscale;
    void *workspace;
    float factor; // of bytes

    explicit data(size given) : s(given), bytes(given.what == BYTES)
    {
        std::mt19937 random(17);
        std::uniform_real_distribution<float> real(-1, 1);
        size_t na = (size_t)s.m * s.k, nb = (size_t)s.n * s.k, nd = (size_t)s.m * s.n;
        unit = bytes ? 1 : 2;
        factor = 40 / (5400 * std::sqrt((float)s.k));
        copies = (int)std::min<size_t>(16, std::max<size_t>(1, (256u << 20) / ((na + nb) * unit)));
        for (auto *p : {&da, &db, &dd, &dr, &dbias}) {
            *p = nullptr;
        }
        CUDA(cudaMalloc(&da, na * unit * copies));
        CUDA(cudaMalloc(&db, nb * unit * copies));
        CUDA(cudaMalloc(&dd, nd * unit));
        CUDA(cudaMalloc(&dr, nd * 2));
        CUDA(cudaMalloc(&dbias, s.n * 2));
        CUDA(cudaMalloc(&dscale, s.n * 4));
        CUDA(cudaMalloc(&workspace, 32 << 20));
        scale.assign(s.n, factor);
        CUDA(cudaMemcpy(dscale, scale.data(), s.n * 4, cudaMemcpyHostToDevice));
        if (bytes) {
            for (auto v : {std::make_pair(&qa, na), std::make_pair(&qb, nb)}) {
                v.first->resize(v.second);
                for (auto &x : *v.first) {
                    x = (int8_t)(random() >> 24);
                }
            }
            qd.resize(nd);
        } else {
            for (auto v : {std::make_pair(&a, na), std::make_pair(&b, nb),
                           std::make_pair(&residual, nd), std::make_pair(&bias, (size_t)s.n)}) {
                v.first->resize(v.second);
                for (auto &x : *v.first) {
                    x = __float2half(real(random) * (v.first == &b ? 0.1f : 1.0f));
                }
            }
            d.resize(nd);
            CUDA(cudaMemcpy(dr, residual.data(), nd * 2, cudaMemcpyHostToDevice));
            CUDA(cudaMemcpy(dbias, bias.data(), s.n * 2, cudaMemcpyHostToDevice));
        }
        std::vector<int8_t> ordered(qb.size()); // n is a multiple of 64
        for (int64_t c = 0; bytes && c < s.n; c++) {
            std::copy_n(&qb[c * s.k], s.k, &ordered[lt_cuda_gemm_byte_row(c) * s.k]);
        }
        for (int i = 0; i < copies; i++) {
            const void *from_a = bytes ? (const void *)qa.data() : a.data();
            const void *from_b = bytes ? (const void *)ordered.data() : b.data();
            CUDA(cudaMemcpy(da + i * na * unit, from_a, na * unit, cudaMemcpyHostToDevice));
            CUDA(cudaMemcpy(db + i * nb * unit, from_b, nb * unit, cudaMemcpyHostToDevice));
        }
    }
    ~data()
    {
        for (void *p : {(void *)da, (void *)db, (void *)dd, (void *)dr, (void *)dbias,
                        (void *)dscale, workspace}) {
            cudaFree(p);
        }
    }
    const char *a_of(int copy) const
    {
        return da + (size_t)copy * s.m * s.k * unit;
    }
    const char *b_of(int copy) const
    {
        return db + (size_t)copy * s.n * s.k * unit;
    }
    bool right_byte(size_t row, size_t column) const
    {
        int32_t sum = 0;
        for (int i = 0; i < s.k; i++) {
            sum += qa[row * s.k + i] * qb[column * s.k + i];
        }
        float f = std::nearbyint(std::min(127.0f, std::max(-128.0f, (float)sum * factor)));
        return qd[row * s.n + column] == (int8_t)f;
    }
    // Error in units of what rounding allows.
    double half_error(size_t row, size_t column) const
    {
        double sum = 0;
        for (int i = 0; i < s.k; i++) {
            sum +=
                (double)__half2float(a[row * s.k + i]) * (double)__half2float(b[column * s.k + i]);
        }
        if (s.what != PLAIN) {
            sum += __half2float(bias[column]);
        }
        if (s.what == BIAS_RESIDUAL) {
            sum += __half2float(residual[row * s.n + column]);
        } else if (s.what == BIAS_GELU) {
            sum *= 0.5 * (1 + std::tanh(0.7978845608 * (sum + 0.044715 * sum * sum * sum)));
        }
        double allowed = std::abs(sum) * 0x1p-11 + 0x1p-21 * std::sqrt(s.k) + 0x1p-24 * s.k + 4e-6;
        return std::abs((double)__half2float(d[row * s.n + column]) - sum) / allowed;
    }
    // Largest error of 2048 results drawn at random; of bytes 0 or 2.
    double error()
    {
        void *to = bytes ? (void *)qd.data() : d.data();
        CUDA(cudaMemcpy(to, dd, (size_t)s.m * s.n * unit, cudaMemcpyDeviceToHost));
        std::mt19937 random(23);
        double worst = 0;
        for (int t = 0; t < 2048; t++) {
            size_t row = random() % s.m, column = random() % s.n;
            double e = bytes ? (right_byte(row, column) ? 0 : 2) : half_error(row, column);
            worst = e <= worst ? worst : e; // NaN is worst
        }
        return worst;
    }
};

// cuBLASLt's view: all matrices transposed, columns first.
struct vendor {
    cublasLtMatmulDesc_t what;
    cublasLtMatrixLayout_t a, b, d;
    float one = 1, beta = 0;

    explicit vendor(const data &x)
    {
        const size &s = x.s;
        cudaDataType_t type = x.bytes ? CUDA_R_8I : CUDA_R_16F;
        cublasOperation_t transposed = CUBLAS_OP_T;
        lt(cublasLtMatmulDescCreate(&what, x.bytes ? CUBLAS_COMPUTE_32I : CUBLAS_COMPUTE_32F,
                                    CUDA_R_32F),
           "cublasLtMatmulDescCreate");
        lt(cublasLtMatmulDescSetAttribute(what, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                          sizeof transposed),
           "transpose");
        lt(cublasLtMatrixLayoutCreate(&a, type, s.k, s.n, s.k), "layout");
        lt(cublasLtMatrixLayoutCreate(&b, type, s.k, s.m, s.k), "layout");
        lt(cublasLtMatrixLayoutCreate(&d, type, s.n, s.m, s.n), "layout");
        one = x.bytes ? x.factor : 1;
        beta = s.what == BIAS_RESIDUAL;
        if (s.what == BIAS || s.what == BIAS_GELU || s.what == BIAS_RESIDUAL) {
            cublasLtEpilogue_t e =
                s.what == BIAS_GELU ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_BIAS;
            lt(cublasLtMatmulDescSetAttribute(what, CUBLASLT_MATMUL_DESC_EPILOGUE, &e, sizeof e),
               "epilogue");
            lt(cublasLtMatmulDescSetAttribute(what, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &x.dbias,
                                              sizeof x.dbias),
               "bias");
        }
    }
    // The fastest of its first proposals.
    double time(cublasLtHandle_t handle, data &x)
    {
        const size_t workspace_bytes = 32 << 20;
        cublasLtMatmulPreference_t preference;
        cublasLtMatmulHeuristicResult_t found[4];
        int count = 0;
        double best = INFINITY;
        lt(cublasLtMatmulPreferenceCreate(&preference), "preference");
        lt(cublasLtMatmulPreferenceSetAttribute(preference,
                                                CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                &workspace_bytes, sizeof workspace_bytes),
           "workspace");
        lt(cublasLtMatmulAlgoGetHeuristic(handle, what, a, b, d, d, preference, 4, found, &count),
           "cublasLtMatmulAlgoGetHeuristic");
        for (int i = 0; i < count; i++) {
            best = std::min(best, time_us(x.copies, [&](int copy) {
                                lt(cublasLtMatmul(handle, what, &one, x.b_of(copy), a, x.a_of(copy),
                                                  b, &beta, beta != 0 ? x.dr : x.dd, d, x.dd, d,
                                                  &found[i].algo, x.workspace, workspace_bytes,
                                                  stream),
                                   "cublasLtMatmul");
                            }));
        }
        cublasLtMatmulPreferenceDestroy(preference);
        return best;
    }
};

static lt_cuda_gemm_plan make_plan(const lt_cuda_gemm &gemm, const data &x, bool overlap)
{
    const size &s = x.s;
    lt_cuda_gemm_desc d = {};
    d.dtype = d.out_dtype = x.bytes ? LEAT_DTYPE_I8 : LEAT_DTYPE_F16;
    d.bias_dtype = x.bytes || s.what == PLAIN ? LEAT_DTYPE_UNDEFINED : LEAT_DTYPE_F16;
    d.residual_dtype = s.what == BIAS_RESIDUAL ? LEAT_DTYPE_F16 : LEAT_DTYPE_UNDEFINED;
    d.activation = s.what == BIAS_GELU ? LT_GEMM_GELU_TANH : LT_GEMM_LINEAR;
    d.scale = 1;
    d.b_transposed = 1;
    d.m = s.m;
    d.n = s.n;
    d.k = s.k;
    d.batch = 1;
    d.lda = d.ldb = s.k;
    d.ldd = d.ldr = s.n;
    d.overlap = d.b_constant = overlap;
    d.requantize.mid_factor = d.requantize.post = 1;
    d.requantize.low = -128;
    d.requantize.high = 127;
    lt_cuda_gemm_plan plan;
    leat_error err = {};
    leat_status status = lt_cuda_gemm_plan_product(&gemm, &d, &plan, &err);
    require(status == LEAT_OK, err.message, status);
    return plan;
}

static bool measure(const lt_cuda_gemm &gemm, cublasLtHandle_t handle, size s, bool overlap)
{
    data x(s);
    vendor v(x);
    lt_cuda_gemm_plan plan = make_plan(gemm, x, overlap);
    leat_error err = {};
    launch run = [&](int copy) {
        lt_cuda_gemm_operands o = {x.a_of(copy), x.b_of(copy),
                                   plan.params.bias_type ? x.dbias : nullptr,
                                   plan.params.residual_type ? x.dr : nullptr, x.dd};
        o.scale = x.bytes ? x.dscale : nullptr;
        leat_status status = lt_cuda_gemm_launch(&gemm, &plan, &o, stream, &err);
        require(status == LEAT_OK, err.message, status);
    };
    double vendor_us = v.time(handle, x);
    CUDA(cudaMemset(x.dd, 0x7f, (size_t)s.m * s.n * x.unit));
    CUDA(cudaDeviceSynchronize());
    run(0);
    CUDA(cudaDeviceSynchronize());
    double error = x.error(), us = time_us(x.copies, run);
    printf("%-14s %6d %5d %5d  %-30.30s /%u %9.2f us %6.1f TOP/s  %5.3f of cuBLASLt (%.2f us)  "
           "error %.3f%s\n",
           names[s.what], s.m, s.n, s.k, lt_cuda_gemm_kernel_name(plan.kernel) + 8,
           plan.params.splits, us, 2.0 * s.m * s.n * s.k / us * 1e-6, vendor_us / us, vendor_us,
           error, error <= 1 ? "" : "  WRONG");
    fflush(stdout);
    return error <= 1;
}

int main(int argc, char **argv)
{
    require(argc >= 2, "usage: gemm_lt DIRECTORY [overlap]", 2);
    bool overlap = argc > 2 && std::string(argv[2]) == "overlap", good = true;
    lt_cuda_gemm gemm = open_kernels(argv[1]);
    cublasLtHandle_t handle;
    lt(cublasLtCreate(&handle), "cublasLtCreate");
    for (int m : {384, 12288, 24576}) {
        for (const size &s : {size{m, 3072, 1024, BIAS}, size{m, 1024, 1024, BIAS},
                              size{m, 1024, 1024, BIAS_RESIDUAL}, size{m, 4096, 1024, BIAS_GELU},
                              size{m, 1024, 4096, BIAS_RESIDUAL}, size{m, 1024, 1024, BYTES},
                              size{m, 4096, 1024, BYTES}, size{m, 1024, 4096, BYTES}}) {
            good = measure(gemm, handle, s, overlap) && good;
        }
    }
    for (int m : {1, 8, 64}) {
        for (const size &s :
             {size{m, 1024, 1024, BIAS}, size{m, 4096, 4096, BIAS}, size{m, 4096, 4096, BYTES}}) {
            good = measure(gemm, handle, s, overlap) && good;
        }
    }
    for (int size_ : {4096, 8192}) {
        good = measure(gemm, handle, {size_, size_, size_, PLAIN}, overlap) && good;
        good = measure(gemm, handle, {size_, size_, size_, BYTES}, overlap) && good;
    }
    return !good;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Products and convolutions on a Hopper device against double-precision loops: every kernel, every
 * split, tails, strides, batches, epilogues. Skipped, with the reason, where there is no device. */
#include "convs.h"
#include "products.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double clip(double x, double low, double high)
{
    return fmin(fmax(x, low), high);
}

static double activate(int32_t activation, double x, double alpha, double beta)
{
    switch (activation) {
    case LT_GEMM_RELU:
        return fmax(x, 0);
    case LT_GEMM_CLIP:
        return clip(x, alpha, beta);
    case LT_GEMM_SIGMOID:
        return 1 / (1 + exp(-x));
    case LT_GEMM_TANH:
        return tanh(x);
    case LT_GEMM_LEAKY_RELU:
        return x < 0 ? alpha * x : x;
    case LT_GEMM_HARD_SIGMOID:
        return clip(alpha * x + beta, 0, 1);
    case LT_GEMM_HARD_SWISH:
        return x * clip(x / 6 + 0.5, 0, 1);
    case LT_GEMM_GELU:
        return 0.5 * x * (1 + erf(x / sqrt(2)));
    case LT_GEMM_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
    case LT_GEMM_SWISH:
        return x / (1 + exp(-alpha * x));
    case LT_GEMM_SCALED_HARD_SWISH:
        return alpha * x * clip(x / 6 + 0.5, 0, 1) + beta;
    default:
        return x;
    }
}

/* Compares element i of the result; says where the first difference is. */
static void check(const operand *d, int64_t i, double expected, int64_t k, const char *what)
{
    double actual = oracle_get(&d->array, (size_t)i);
    if (!(fabs(actual - expected) <= tolerance(d->array.dtype, expected, k))) {
        fail_msg("%s: element %lld is %.9g, not %.9g", what, (long long)i, actual, expected);
    }
}

static void check_product(const lt_cuda_gemm_desc *d, const operand *o, const char *what)
{
    double *a = factors(&o[0]);
    double *b = factors(&o[1]);
    int64_t end = 0;
    for (int64_t i = 0; i < d->batch; i++) {
        for (int64_t r = 0; r < d->m; r++) {
            int64_t start = i * d->d_batch + r * d->ldd;
            check_untouched(&o[4], end, start, what);
            end = start + d->n;
            for (int64_t c = 0; c < d->n; c++) {
                double x = product_at(d, a, b, i, r, c);
                x += d->bias_dtype ? oracle_get(&o[2].array, (size_t)c) : 0;
                if (d->residual_dtype) {
                    int64_t at = i * d->r_batch + r * d->ldr + c;
                    x += oracle_get(&o[3].array, (size_t)at);
                }
                x = activate(d->activation, x, d->alpha, d->beta);
                check(&o[4], start + c, x, d->k, what);
            }
        }
    }
    int64_t margin = MARGIN / (int64_t)dtype_bytes(d->out_dtype);
    check_untouched(&o[4], end, (int64_t)o[4].array.shape[0] + margin, what);
    free(a);
    free(b);
}

static void run_product(const test_device *device, const lt_cuda_gemm_desc *d)
{
    leat_error err = {0};
    lt_cuda_gemm_plan plan;
    assert_ok(lt_cuda_gemm_plan_product(&device->gemm, d, &plan, &err), &err);
    char what[160];
    snprintf(what, sizeof what, "%s, %u splits, %lld x %lld x %lld, batch %lld, activation %d",
             lt_cuda_gemm_kernel_name(plan.kernel), plan.params.splits, (long long)d->m,
             (long long)d->n, (long long)d->k, (long long)d->batch, d->activation);
    int64_t last = d->batch - 1;
    int64_t b_rows = d->b_transposed ? d->n : d->k;
    operand o[5] = {
        operand_make(device, d->dtype, last * d->a_batch + d->m * d->lda, 1),
        operand_make(device, d->dtype, last * d->b_batch + b_rows * d->ldb, 2),
        operand_make(device, d->bias_dtype, d->n, 3),
        operand_make(device, d->residual_dtype, last * d->r_batch + d->m * d->ldr, 4),
        operand_make(device, d->out_dtype, last * d->d_batch + d->m * d->ldd, 0),
    };
    lt_cuda_gemm_operands operands = {.a = device_pointer(&o[0]),
                                      .b = device_pointer(&o[1]),
                                      .bias = device_pointer(&o[2]),
                                      .residual = device_pointer(&o[3]),
                                      .d = (void *)(uintptr_t)o[4].address};
    assert_ok(lt_cuda_gemm_launch(&device->gemm, &plan, &operands, NULL, &err), &err);
    fetch(device, &o[4]);
    check_product(d, o, what);
    for (int i = 0; i < 5; i++) {
        operand_free(device, &o[i]);
    }
}

/* The third only where B lies along k. */
static const leat_dtype types[3] = {LEAT_DTYPE_F16, LEAT_DTYPE_BF16, LEAT_DTYPE_F32};

/* Tile - 1 has splits. */
static uint32_t most_splits(uint32_t tile)
{
    return tile <= LT_GEMM_N_TILES ? LT_GEMM_MAX_SPLIT : 1;
}

static void product_every_kernel_and_split_matches(void **state)
{
    test_device *device = require_device(state);
    for (int type = 0; type < 2; type++) {
        for (int transposed = 0; transposed < 2; transposed++) {
            for (uint32_t tile = 1; tile <= LT_GEMM_N_ALL_TILES; tile++) {
                for (uint32_t splits = 1; splits <= most_splits(tile); splits++) {
                    lt_cuda_gemm_desc d = dense(types[type], transposed, 333, 264, 530);
                    d.tile = tile;
                    d.splits = splits;
                    run_product(device, &d);
                }
            }
        }
    }
}

static void product_sizes_with_tails_match(void **state)
{
    test_device *device = require_device(state);
    static const int64_t sizes[][3] = {
        {1, 1, 1},    {1, 1000, 64},   {3, 17, 40}, {5, 64, 2048},  {17, 72, 200},  {64, 256, 512},
        {65, 63, 65}, {127, 129, 191}, {128, 8, 8}, {200, 250, 48}, {384, 96, 1024}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (int transposed = 0; transposed < 2; transposed++) {
            const int64_t *s = sizes[i];
            lt_cuda_gemm_desc d = dense(types[i % 2], transposed, s[0], s[1], s[2]);
            run_product(device, &d);
        }
    }
}

static void product_more_tiles_than_blocks_matches(void **state)
{
    test_device *device = require_device(state);
    static const int64_t sizes[LT_GEMM_N_ALL_TILES][2] = {
        {4200, 2104}, {2200, 1304}, {2200, 704},  {1300, 1200},
        {1000, 1000}, {4200, 1304}, {4300, 1200},
    };
    for (uint32_t tile = 0; tile < LT_GEMM_N_ALL_TILES; tile++) {
        lt_cuda_gemm_desc d =
            dense(types[tile % 2], (int)tile % 2, sizes[tile][0], sizes[tile][1], 136);
        d.tile = tile + 1;
        d.splits = 1;
        d.bias_dtype = LEAT_DTYPE_F32;
        d.residual_dtype = types[tile % 2];
        run_product(device, &d);   /* the residual by the stages */
        d.ldr += 4;                /* and one that cannot come so */
        d.k = tile % 2 ? 24 : 520; /* less than a step, and more than the stages hold */
        d.lda = 520;
        d.ldb = d.b_transposed ? 520 : d.ldb;
        d.activation = LT_GEMM_GELU;
        run_product(device, &d);
    }
}

static void product_batches_and_strides_match(void **state)
{
    test_device *device = require_device(state);
    for (int shared = 0; shared < 3; shared++) {
        for (uint32_t tile = 0; tile <= LT_GEMM_N_ALL_TILES; tile++) {
            lt_cuda_gemm_desc d = dense(LEAT_DTYPE_F16, shared == 1, 70, 80, 96);
            d.tile = tile;
            d.splits = 1;
            d.batch = 5;
            d.lda += 16;
            d.ldb += 8;
            d.ldd += 8 * (shared != 2) + (shared == 2);
            d.a_batch = shared == 0 ? 0 : d.m * d.lda + 8;
            d.b_batch = shared == 1 ? 0 : 96 * d.ldb + 24;
            d.d_batch = d.m * d.ldd + 16;
            d.residual_dtype = shared == 0 ? LEAT_DTYPE_F16 : LEAT_DTYPE_F32;
            d.residual_dtype = shared == 2 ? LEAT_DTYPE_UNDEFINED : d.residual_dtype;
            d.r_batch = shared == 1 ? 0 : d.m * d.ldr;
            run_product(device, &d);
        }
    }
}

static void product_epilogues_match(void **state)
{
    test_device *device = require_device(state);
    static const leat_dtype outs[3] = {LEAT_DTYPE_F32, LEAT_DTYPE_F16, LEAT_DTYPE_BF16};
    for (int32_t activation = 0; activation < LT_GEMM_N_ACTIVATIONS; activation++) {
        for (int i = 0; i < 6; i++) {
            lt_cuda_gemm_desc d = dense(types[i % 2], i & 1, 130, i < 3 ? 136 : 131, 72);
            d.activation = activation;
            d.alpha = activation == LT_GEMM_CLIP ? -0.5f : 0.3f;
            d.beta = 0.75f;
            d.scale = 0.5f;
            d.out_dtype = outs[i % 3];
            d.bias_dtype = outs[(i + activation) % 3];
            d.residual_dtype = activation % 2 ? outs[(i + 1 + activation / 2) % 3] : 0;
            d.tile = (uint32_t)(i + activation) % LT_GEMM_N_ALL_TILES + 1;
            d.splits = most_splits(d.tile) > 1 ? 1 + (uint32_t)i % 2 : 1;
            run_product(device, &d);
        }
    }
}

/* Result (image, y, x, filter) of a convolution. */
static double conv_at(const lt_cuda_gemm_conv_desc *d, const double *x, const double *w,
                      const int32_t at[4])
{
    double sum = 0;
    for (int32_t i = 0; i < d->kh; i++) {
        for (int32_t j = 0; j < d->kw; j++) {
            int32_t y = at[1] * d->stride_h - d->pad[0] + i * d->dilation_h;
            int32_t z = at[2] * d->stride_w - d->pad[1] + j * d->dilation_w;
            if (y < 0 || y >= d->h || z < 0 || z >= d->w) {
                continue;
            }
            const double *pixel = x + (((int64_t)at[0] * d->h + y) * d->w + z) * d->c;
            if (d->x_strides[0] != 0) {
                pixel = x + at[0] * d->x_strides[2] + y * d->x_strides[1] + z * d->x_strides[0];
            }
            const double *tap = w + (((int64_t)at[3] * d->kh + i) * d->kw + j) * d->c;
            for (int32_t c = 0; c < d->c; c++) {
                sum += pixel[c] * tap[c];
            }
        }
    }
    return sum * d->scale;
}

static void check_conv(const lt_cuda_gemm_conv_desc *d, const lt_cuda_gemm_params *p,
                       const operand *o, const char *what)
{
    double *x = factors(&o[0]);
    double *w = factors(&o[1]);
    for (uint32_t r = 0; r < p->m; r++) {
        for (int32_t c = 0; c < d->n; c++) {
            uint32_t pixel = r % (p->out_h * p->out_w);
            const int32_t at[4] = {(int32_t)(r / (p->out_h * p->out_w)),
                                   (int32_t)(pixel / p->out_w), (int32_t)(pixel % p->out_w), c};
            int64_t i = (int64_t)r * d->n + c;
            double sum = conv_at(d, x, w, at);
            sum += d->bias_dtype ? oracle_get(&o[2].array, (size_t)c) : 0;
            sum += d->residual_dtype ? oracle_get(&o[3].array, (size_t)i) : 0;
            check(&o[4], i, activate(d->activation, sum, d->alpha, d->beta),
                  (int64_t)d->kh * d->kw * d->c, what);
        }
    }
    int64_t end = (int64_t)p->m * d->n;
    check_untouched(&o[4], end, end + MARGIN / (int64_t)dtype_bytes(d->out_dtype), what);
    free(x);
    free(w);
}

/* By stream.cuh's kernels, or (streams 0) by mainloop.cuh's. */
static void run_conv_by(const test_device *device, const lt_cuda_gemm_conv_desc *d, int streams)
{
    leat_error err = {0};
    lt_cuda_gemm_plan plan;
    lt_cuda_stream_plan stream;
    if (streams) {
        assert_ok(lt_cuda_stream_plan_conv(&device->stream, d, NULL, &stream, &err), &err);
        plan = stream.launch;
        plan.params = stream.params.gemm;
    } else {
        assert_ok(lt_cuda_gemm_plan_conv(&device->gemm, d, &plan, &err), &err);
    }
    char what[160];
    snprintf(what, sizeof what, "%s, %u splits, %d x %d x %d x %d to %d by %d x %d, stride %d",
             streams ? lt_cuda_stream_kernel_name(stream.kernel)
                     : lt_cuda_gemm_kernel_name(plan.kernel),
             plan.params.splits, d->images, d->h, d->w, d->c, d->n, d->kh, d->kw, d->stride_h);
    int64_t results = (int64_t)plan.params.m * d->n;
    operand o[5] = {
        operand_make(device, d->dtype,
                     d->images * (d->x_strides[2] ? d->x_strides[2] : (int64_t)d->h * d->w * d->c),
                     5),
        operand_make(device, d->dtype, (int64_t)d->n * d->kh * d->kw * d->c, 6),
        operand_make(device, d->bias_dtype, d->n, 7),
        operand_make(device, d->residual_dtype, results, 8),
        operand_make(device, d->out_dtype, results, 0),
    };
    lt_cuda_gemm_operands operands = {.a = device_pointer(&o[0]),
                                      .b = device_pointer(&o[1]),
                                      .bias = device_pointer(&o[2]),
                                      .residual = device_pointer(&o[3]),
                                      .d = (void *)(uintptr_t)o[4].address};
    if (streams) {
        assert_ok(lt_cuda_stream_launch(&device->stream, &stream, &operands, NULL, NULL, &err),
                  &err);
    } else {
        assert_ok(lt_cuda_gemm_launch(&device->gemm, &plan, &operands, NULL, &err), &err);
    }
    fetch(device, &o[4]);
    check_conv(d, &plan.params, o, what);
    for (int i = 0; i < 5; i++) {
        operand_free(device, &o[i]);
    }
}

static void run_conv(const test_device *device, const lt_cuda_gemm_conv_desc *d)
{
    run_conv_by(device, d, 0);
}

static void conv_every_kernel_matches(void **state)
{
    test_device *device = require_device(state);
    for (int type = 0; type < 3; type++) {
        for (uint32_t tile = 1; tile <= LT_GEMM_N_TILES; tile++) {
            const int32_t sizes[8] = {3, 14, 15, 72, 136, 3, 1, 1};
            lt_cuda_gemm_conv_desc d = conv_square(types[type], sizes);
            d.bias_dtype = LEAT_DTYPE_F32;
            d.residual_dtype = types[type];
            d.activation = LT_GEMM_RELU;
            d.tile = tile;
            d.splits = 1 + tile % 3;
            run_conv(device, &d);
        }
    }
}

static void conv_strides_pads_dilations_match(void **state)
{
    test_device *device = require_device(state);
    /* images h w c n, kh kw, strides, dilations, pads */
    static const int32_t cases[][15] = {
        {1, 7, 7, 64, 64, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0},
        {2, 15, 13, 64, 40, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1},
        {2, 16, 16, 128, 64, 1, 1, 2, 2, 1, 1, 0, 0, 0, 0},
        {3, 17, 11, 24, 33, 5, 3, 1, 2, 2, 1, 2, 0, 3, 1},
        {1, 20, 20, 8, 16, 7, 7, 2, 2, 1, 1, 3, 3, 3, 3},
        {1, 5, 5, 16, 8, 3, 3, 1, 1, 2, 2, 2, 2, 2, 2},
        {2, 9, 30, 96, 72, 1, 5, 3, 1, 1, 1, 0, 2, 0, 2},
        {1, 1, 1, 256, 1000, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0},
        {1, 28, 28, 512, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
        {5, 8, 8, 32, 64, 2, 2, 2, 2, 1, 1, 0, 0, 1, 1},
    };
    const size_t count = sizeof cases / sizeof cases[0];
    for (size_t i = 0; i < 2 * count; i++) {
        const leat_dtype type = i < count ? types[i % 2] : LEAT_DTYPE_F32;
        lt_cuda_gemm_conv_desc d = conv_of(type, cases[i % count]);
        d.out_dtype = i % 3 ? type : LEAT_DTYPE_F32;
        run_conv(device, &d);
    }
}

/* Overlapping pixels, as narrow.c makes them: pixel w of row h begins at h * line + w * step. */
static void conv_of_overlapping_pixels_matches(void **state)
{
    test_device *device = require_device(state);
    const int64_t step = 16, line = 304, rows = 11;
    for (uint32_t tile = 0; tile <= LT_GEMM_N_TILES; tile++) {
        const int32_t sizes[15] = {3, (int32_t)rows, 16, 56, 72, 4, 1, 1, 1, 1, 1, 0, 0, 0, 0};
        lt_cuda_gemm_conv_desc d = conv_of(types[tile % 3], sizes);
        d.bias_dtype = LEAT_DTYPE_F32;
        d.activation = LT_GEMM_RELU;
        d.x_strides[0] = step;
        d.x_strides[1] = line;
        d.x_strides[2] = line * rows;
        d.tile = tile;
        d.splits = 1;
        run_conv(device, &d);
    }
}

static void conv_streams_match(void **state)
{
    test_device *device = require_device(state);
    /* images h w c n, k, stride, pad */
    static const int32_t cases[][8] = {
        {3, 14, 15, 72, 136, 3, 1, 1}, {1, 5, 5, 64, 64, 1, 1, 0},     {2, 9, 7, 8, 8, 1, 1, 0},
        {7, 56, 56, 64, 256, 1, 1, 0}, {5, 28, 28, 128, 200, 1, 2, 0}, {1, 7, 7, 512, 520, 1, 1, 0},
        {9, 40, 41, 24, 72, 3, 2, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (uint32_t way = 0; way < 6; way++) {
            const leat_dtype type = types[(i + way) % 2];
            lt_cuda_gemm_conv_desc d = conv_square(type, cases[i]);
            d.bias_dtype = way % 3 ? type : LEAT_DTYPE_UNDEFINED;
            d.residual_dtype = way % 2 ? type : LEAT_DTYPE_UNDEFINED;
            d.activation = way < 3 ? LT_GEMM_RELU : LT_GEMM_HARD_SWISH;
            d.overlap = way % 2;
            d.tile = way % 3;
            run_conv_by(device, &d, 1);
            lt_cuda_stream_plan two; /* blocks on a multiprocessor, where there is room for them */
            d.tile = 3;
            if (lt_cuda_stream_plan_conv(&device->stream, &d, NULL, &two, NULL) == LEAT_OK) {
                run_conv_by(device, &d, 1);
            }
        }
    }
}

/* o: x, w, bias of both convolutions, residual, y. */
static void check_pair(const lt_cuda_gemm_conv_desc d[2], const lt_cuda_gemm_params *p,
                       const operand o[8], const char *what)
{
    double *values[4];
    for (int i = 0; i < 4; i++) {
        values[i] = oracle_doubles(&o[i / 2 * 3 + i % 2].array);
    }
    for (uint32_t r = 0; r < p->m; r++) {
        for (int32_t c = 0; c < d->n; c++) {
            const uint32_t pixel = r % (p->out_h * p->out_w);
            const int32_t at[4] = {(int32_t)(r / (p->out_h * p->out_w)),
                                   (int32_t)(pixel / p->out_w), (int32_t)(pixel % p->out_w), c};
            const int64_t i = (int64_t)r * d->n + c;
            double sum = d->residual_dtype ? oracle_get(&o[6].array, (size_t)i) : 0;
            for (int k = 0; k < 2; k++) {
                sum += conv_at(&d[k], values[2 * k], values[2 * k + 1], at);
                sum += d[k].bias_dtype ? oracle_get(&o[3 * k + 2].array, (size_t)c) : 0;
            }
            check(&o[7], i, activate(d->activation, sum, d->alpha, d->beta),
                  (int64_t)d->kh * d->kw * d->c + d[1].c, what);
        }
    }
    const int64_t end = (int64_t)p->m * d->n;
    check_untouched(&o[7], end, end + MARGIN / (int64_t)dtype_bytes(d->out_dtype), what);
    for (int i = 0; i < 4; i++) {
        free(values[i]);
    }
}

static void run_pair(const test_device *device, const lt_cuda_gemm_conv_desc d[2])
{
    leat_error err = {0};
    lt_cuda_stream_plan plan;
    assert_ok(lt_cuda_stream_plan_conv(&device->stream, &d[0], &d[1], &plan, &err), &err);
    const lt_cuda_gemm_params *p = &plan.params.gemm;
    char what[160];
    snprintf(what, sizeof what, "%s, %d x %d^2 x %d and %d^2 x %d to %d",
             lt_cuda_stream_kernel_name(plan.kernel), d->images, d->h, d->c, d[1].h, d[1].c, d->n);
    operand o[8];
    lt_cuda_gemm_operands operands[2] = {{0}};
    for (int i = 0; i < 2; i++) {
        operand *own = &o[3 * i];
        own[0] = operand_make(device, d->dtype, (int64_t)d->images * d[i].h * d[i].w * d[i].c,
                              5 + 3 * i);
        own[1] =
            operand_make(device, d->dtype, (int64_t)d->n * d[i].kh * d[i].kw * d[i].c, 6 + 3 * i);
        own[2] = operand_make(device, d[i].bias_dtype, d->n, 7 + 3 * i);
        operands[i].a = device_pointer(&own[0]);
        operands[i].b = device_pointer(&own[1]);
        operands[i].bias = device_pointer(&own[2]);
    }
    o[6] = operand_make(device, d->residual_dtype, (int64_t)p->m * d->n, 11);
    o[7] = operand_make(device, d->out_dtype, (int64_t)p->m * d->n, 0);
    operands[0].residual = device_pointer(&o[6]);
    operands[0].d = (void *)(uintptr_t)o[7].address;
    assert_ok(lt_cuda_stream_launch(&device->stream, &plan, &operands[0], &operands[1], NULL, &err),
              &err);
    fetch(device, &o[7]);
    check_pair(d, p, o, what);
    for (int i = 0; i < 8; i++) {
        operand_free(device, &o[i]);
    }
}

static void conv_streams_add_a_second_source(void **state)
{
    test_device *device = require_device(state);
    /* images, size, c, n, k, stride, pad; second's size, c, stride */
    static const int32_t cases[][10] = {
        {3, 14, 72, 136, 3, 1, 1, 27, 40, 2},  {5, 28, 64, 256, 1, 1, 0, 28, 64, 1},
        {2, 7, 512, 520, 1, 1, 0, 14, 256, 2}, {1, 3, 8, 8, 1, 1, 0, 3, 8, 1},
        {9, 40, 24, 72, 3, 2, 1, 60, 136, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (uint32_t way = 0; way < 6; way++) {
            const int32_t *s = cases[i];
            const int32_t first[8] = {s[0], s[1], s[1], s[2], s[3], s[4], s[5], s[6]};
            lt_cuda_gemm_conv_desc d[2] = {conv_square(types[(i + way) % 2], first)};
            d[0].overlap = way % 2;
            d[1] = d[0];
            d[1].h = d[1].w = s[7];
            d[1].c = s[8];
            d[1].kh = d[1].kw = 1;
            d[1].stride_h = d[1].stride_w = s[9];
            memset(d[1].pad, 0, sizeof d[1].pad);
            d[0].activation = LT_GEMM_RELU;
            d[0].bias_dtype = way % 3 ? d->dtype : LEAT_DTYPE_UNDEFINED;
            d[1].bias_dtype = way % 2 ? LEAT_DTYPE_F32 : LEAT_DTYPE_UNDEFINED;
            d[0].residual_dtype = way >= 3 ? d->dtype : LEAT_DTYPE_UNDEFINED;
            d[0].tile = way % 3;
            run_pair(device, d);
        }
    }
}

static void product_of_f32_matches(void **state)
{
    test_device *device = require_device(state);
    static const leat_dtype outs[3] = {LEAT_DTYPE_F32, LEAT_DTYPE_F16, LEAT_DTYPE_BF16};
    for (uint32_t tile = 1; tile <= LT_GEMM_N_ALL_TILES; tile++) {
        for (uint32_t splits = 1; splits <= most_splits(tile); splits++) {
            lt_cuda_gemm_desc d = dense(LEAT_DTYPE_F32, 1, 333, 264, 530);
            d.tile = tile;
            d.splits = splits;
            d.out_dtype = outs[splits / 2 % 3];
            d.bias_dtype = splits % 2 ? LEAT_DTYPE_F32 : LEAT_DTYPE_UNDEFINED;
            d.residual_dtype = tile % 2 ? LEAT_DTYPE_F32 : LEAT_DTYPE_UNDEFINED;
            d.activation = tile % 3 ? LT_GEMM_GELU : LT_GEMM_LINEAR;
            run_product(device, &d);
        }
    }
    static const int64_t sizes[][3] = {{1, 1, 1},   {3, 17, 40},    {65, 63, 65},  {127, 129, 191},
                                       {128, 8, 8}, {200, 250, 48}, {384, 96, 800}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        lt_cuda_gemm_desc d = dense(LEAT_DTYPE_F32, 1, sizes[i][0], sizes[i][1], sizes[i][2]);
        d.batch = 1 + (int64_t)i % 3;
        d.a_batch = d.m * d.lda + 4;
        d.b_batch = i % 2 ? 0 : d.n * d.ldb;
        d.d_batch = d.m * d.ldd + 5;
        run_product(device, &d);
    }
}

/* Numbers beside the middle of two of TF32 go to the nearer one, large and tiny ones, too. */
static void product_of_f32_rounds_to_the_nearest(void **state)
{
    test_device *device = require_device(state);
    leat_error err = {0};
    lt_cuda_gemm_plan plan;
    lt_cuda_gemm_desc d = dense(LEAT_DTYPE_F32, 1, 64, 8, 8);
    assert_ok(lt_cuda_gemm_plan_product(&device->gemm, &d, &plan, &err), &err);
    operand a = operand_make(device, LEAT_DTYPE_F32, 64 * 8, 1);
    operand b = operand_make(device, LEAT_DTYPE_F32, 8 * 8, 2);
    operand y = operand_make(device, LEAT_DTYPE_F32, 64 * 8, 0);
    float *x = a.array.data, *w = b.array.data;
    for (int i = 0; i < 64 * 8; i++) {
        x[i] = 0;
        w[i % 64] = i % 8 == 0;
    }
    for (int i = 0; i < 64; i++) {
        const float scale = i < 32 ? 1 : i < 48 ? -0x1p120f : 0x1p-120f;
        x[i * 8] = scale * (1 + 0x1p-10f * (float)(i % 16) + (i % 2 ? 0.51f : 0.49f) * 0x1p-10f);
    }
    assert_int_equal(device->to_device(a.address, x, a.array.bytes), 0);
    assert_int_equal(device->to_device(b.address, w, b.array.bytes), 0);
    lt_cuda_gemm_operands o = {
        .a = device_pointer(&a), .b = device_pointer(&b), .d = (void *)(uintptr_t)y.address};
    assert_ok(lt_cuda_gemm_launch(&device->gemm, &plan, &o, NULL, &err), &err);
    fetch(device, &y);
    double *want = factors(&a);
    for (int i = 0; i < 64; i++) {
        assert_true(((float *)y.array.data)[i * 8] == (float)want[i * 8]);
    }
    free(want);
    operand_free(device, &a);
    operand_free(device, &b);
    operand_free(device, &y);
}

/* Every `every`-th result is compared with the first. */
static void check_repeated(const test_device *device, const lt_cuda_gemm_desc *d, int launches,
                           int every)
{
    leat_error err = {0};
    lt_cuda_gemm_plan plan;
    assert_ok(lt_cuda_gemm_plan_product(&device->gemm, d, &plan, &err), &err);
    operand a = operand_make(device, d->dtype, d->m * d->lda, 11);
    operand b = operand_make(device, d->dtype, d->k * d->ldb, 12);
    operand r = operand_make(device, d->residual_dtype, d->m * d->ldr, 13);
    operand first = operand_make(device, d->dtype, d->m * d->n, 0);
    operand again = operand_make(device, d->dtype, d->m * d->n, 0);
    for (int i = 0; i < launches; i++) {
        operand *to = i == 0 ? &first : &again;
        lt_cuda_gemm_operands o = {.a = device_pointer(&a),
                                   .b = device_pointer(&b),
                                   .residual = device_pointer(&r),
                                   .d = (void *)(uintptr_t)to->address};
        assert_ok(lt_cuda_gemm_launch(&device->gemm, &plan, &o, NULL, &err), &err);
        if (i == 0 || i % every == every - 1) {
            fetch(device, to);
        }
        if (i > 0 && i % every == every - 1) {
            assert_memory_equal(first.array.data, again.array.data, first.array.bytes);
        }
    }
    operand_free(device, &a);
    operand_free(device, &b);
    operand_free(device, &r);
    operand_free(device, &first);
    operand_free(device, &again);
}

static void product_repeated_gives_the_same_bits(void **state)
{
    test_device *device = require_device(state);
    const lt_cuda_gemm_desc d = dense(LEAT_DTYPE_F16, 0, 384, 1024, 4096);
    check_repeated(device, &d, 200, 50);
}

/* Stages that held a residual are filled again while the next are read: many tiles, much memory. */
static void product_with_residual_repeated_gives_the_same_bits(void **state)
{
    test_device *device = require_device(state);
    for (int64_t k = 1024; k <= 4096; k *= 4) {
        lt_cuda_gemm_desc d = dense(LEAT_DTYPE_F16, 0, 12288, 1024, k);
        d.residual_dtype = LEAT_DTYPE_F16;
        check_repeated(device, &d, 40, 2);
    }
}

int main(void)
{
    static test_device device;
    void *state = test_device_state(&device, TEST_KERNELS);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(product_every_kernel_and_split_matches, state),
        cmocka_unit_test_prestate(product_sizes_with_tails_match, state),
        cmocka_unit_test_prestate(product_more_tiles_than_blocks_matches, state),
        cmocka_unit_test_prestate(product_batches_and_strides_match, state),
        cmocka_unit_test_prestate(product_epilogues_match, state),
        cmocka_unit_test_prestate(product_of_f32_matches, state),
        cmocka_unit_test_prestate(product_of_f32_rounds_to_the_nearest, state),
        cmocka_unit_test_prestate(product_repeated_gives_the_same_bits, state),
        cmocka_unit_test_prestate(product_with_residual_repeated_gives_the_same_bits, state),
        cmocka_unit_test_prestate(conv_every_kernel_matches, state),
        cmocka_unit_test_prestate(conv_strides_pads_dilations_match, state),
        cmocka_unit_test_prestate(conv_of_overlapping_pixels_matches, state),
        cmocka_unit_test_prestate(conv_streams_match, state),
        cmocka_unit_test_prestate(conv_streams_add_a_second_source, state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

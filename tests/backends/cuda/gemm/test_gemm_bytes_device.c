/* SPDX-License-Identifier: Apache-2.0 */
/* Products and convolutions of bytes on a Hopper device: sums must be those of integer loops, and
 * what follows them the same to the bit as lt_cuda_gemm_requantize's formula. Skipped, with the
 * reason, where there is no device. */
#include "convs.h"
#include "operands.h"

#include <math.h>

/* What a requantization reads beside the sums. */
typedef struct finish_case {
    leat_dtype out, residual;
    int32_t bias, activation;
    int32_t scaled; /* by a number on the device, with a zero point there */
    float alpha, beta;
    lt_cuda_gemm_requantize q;
} finish_case;

enum {
    A,
    B,
    BIAS,
    RESIDUAL,
    D,
    OFFSET,
    SCALE,
    X_SCALE,
    X_ZERO,
    N_OPERANDS
};

/* Saturation of a type, relative to a zero point. */
static void bounds(leat_dtype out, int32_t zero, lt_cuda_gemm_requantize *q)
{
    q->zero = zero;
    q->low = out == LEAT_DTYPE_U8   ? (float)-zero
             : out == LEAT_DTYPE_I8 ? -128.0f - (float)zero
                                    : -INFINITY;
    q->high = out == LEAT_DTYPE_U8   ? 255.0f - (float)zero
              : out == LEAT_DTYPE_I8 ? 127.0f - (float)zero
                                     : INFINITY;
}

static finish_case case_of(int i)
{
    static const leat_dtype outs[6] = {LEAT_DTYPE_U8,  LEAT_DTYPE_I8,   LEAT_DTYPE_F32,
                                       LEAT_DTYPE_F16, LEAT_DTYPE_BF16, LEAT_DTYPE_I32};
    static const leat_dtype residuals[6] = {LEAT_DTYPE_UNDEFINED, LEAT_DTYPE_U8,
                                            LEAT_DTYPE_I8,        LEAT_DTYPE_F32,
                                            LEAT_DTYPE_F16,       LEAT_DTYPE_UNDEFINED};
    finish_case f = {.out = outs[i % 6], .q = {.mid_factor = 1, .post = 1}};
    bounds(f.out, f.out == LEAT_DTYPE_U8 ? 3 : -5, &f.q);
    if (f.out == LEAT_DTYPE_I32) {
        return f;
    }
    f.residual = residuals[i / 6 % 6];
    f.bias = i % 2;
    f.scaled = i % 7 == 2 || i % 7 == 4;
    if (f.residual != LEAT_DTYPE_UNDEFINED) {
        f.q.mid = i % 4 < 2;
        f.q.mid_low = -120;
        f.q.mid_high = 110;
        f.q.mid_factor = 0.73f;
        f.q.residual_factor =
            f.residual == LEAT_DTYPE_I8 || f.residual == LEAT_DTYPE_U8 ? 0.31f : 9;
        f.q.residual_offset = -12.7f;
    }
    if (i % 5 == 1) {
        f.activation = LT_GEMM_LEAKY_RELU;
        f.alpha = 0.25f;
        f.q.post = 1.25f;
    } else if (i % 3 == 1) {
        f.q.low = fmaxf(f.q.low, 0);
    }
    return f;
}

static int32_t byte_at(const operand *o, int64_t i)
{
    return o->array.dtype == LEAT_DTYPE_U8 ? ((const uint8_t *)o->array.data)[i]
                                           : ((const int8_t *)o->array.data)[i];
}

/* B's rows, in the host's array one behind the other, in the kernels' order on the device. */
static void upload_rows(const test_device *device, const operand *b, int64_t n, int64_t row,
                        int64_t batch, int64_t stride)
{
    const int8_t *from = b->array.data;
    int8_t *ordered = malloc(b->array.bytes);
    assert_non_null(ordered);
    memset(ordered, 0x55, b->array.bytes); /* rows that are none */
    for (int64_t i = 0; i < (stride ? batch : 1); i++) {
        for (int64_t c = 0; c < n; c++) {
            memcpy(ordered + i * stride + lt_cuda_gemm_byte_row(c) * row,
                   from + i * stride + c * row, (size_t)row);
        }
    }
    assert_int_equal(device->to_device(b->address, ordered, b->array.bytes), 0);
    free(ordered);
}

static float finished(const finish_case *c, const operand *o, int32_t sum, int64_t column,
                      int64_t residual_at)
{
    const lt_cuda_gemm_requantize *q = &c->q;
    float bias = c->bias ? ((const float *)o[BIAS].array.data)[column] : 0.0f;
    float scale = ((const float *)o[SCALE].array.data)[column];
    scale *= c->scaled ? *(const float *)o[X_SCALE].array.data : 1.0f;
    float f = fmaf((float)sum, scale, bias);
    if (q->mid) {
        f = nearbyintf(fminf(fmaxf(f, q->mid_low), q->mid_high));
    }
    if (c->residual != LEAT_DTYPE_UNDEFINED) {
        float r = (float)oracle_get(&o[RESIDUAL].array, (size_t)residual_at);
        r += c->residual == LEAT_DTYPE_I8 ? 128.0f : 0.0f;
        f = fmaf(f, q->mid_factor, fmaf(r, q->residual_factor, q->residual_offset));
    }
    if (c->activation == LT_GEMM_LEAKY_RELU) {
        f = (f < 0 ? c->alpha * f : f) * q->post;
    }
    return fminf(fmaxf(f, q->low), q->high);
}

/* Element i of the result from a sum without offset. */
static void check(const finish_case *c, const operand *o, int32_t sum, int64_t column,
                  int64_t residual_at, int64_t i, const char *what)
{
    double actual = oracle_get(&o[D].array, (size_t)i);
    sum +=
        ((const int32_t *)o[OFFSET].array.data)[column] * (c->scaled ? -byte_at(&o[X_ZERO], 0) : 1);
    double expected = sum, allowed = 0;
    if (c->out != LEAT_DTYPE_I32) {
        float f = finished(c, o, sum, column, residual_at);
        bool bytes = c->out == LEAT_DTYPE_I8 || c->out == LEAT_DTYPE_U8;
        expected = bytes ? (double)(nearbyintf(f) + (float)c->q.zero) : (double)f;
        /* half a unit; of F16 below its normal range, half the smallest number */
        allowed = c->out == LEAT_DTYPE_F16    ? fmax(fabs(expected) * 0x1p-11, 0x1p-25)
                  : c->out == LEAT_DTYPE_BF16 ? fabs(expected) * 0x1p-8
                                              : 0;
        if (c->out == LEAT_DTYPE_F16 && fabs(expected) > 65504) {
            expected = actual; /* beyond the type: infinite, or its largest */
        }
    }
    if (!(fabs(actual - expected) <= allowed)) {
        fail_msg("%s: element %lld is %.9g, not %.9g (sum %d)", what, (long long)i, actual,
                 expected, (int)sum);
    }
}

/* Offsets, scales and biases that spread the sums over the bytes' range. */
static void make_numbers(const test_device *device, operand *o, leat_dtype dtype, int64_t n,
                         int64_t k)
{
    uint64_t state = 5;
    o[X_SCALE] = operand_make(device, LEAT_DTYPE_F32, 1, 34);
    o[X_ZERO] = operand_make(device, dtype, 1, 35);
    o[OFFSET] = operand_make(device, LEAT_DTYPE_I32, n, 31);
    o[SCALE] = operand_make(device, LEAT_DTYPE_F32, n, 32);
    o[BIAS] = operand_make(device, LEAT_DTYPE_F32, n, 33);
    for (int64_t i = 0; i < n; i++) {
        ((int32_t *)o[OFFSET].array.data)[i] = (int32_t)(oracle_random(&state) * 20000) - 10000;
        ((float *)o[SCALE].array.data)[i] =
            (float)((0.5 + oracle_random(&state)) * 60 / (5000 * sqrt((double)k)));
        ((float *)o[BIAS].array.data)[i] = (float)(oracle_random(&state) * 40 - 20);
    }
    for (int i = BIAS; i <= SCALE; i++) {
        if (i == BIAS || i >= OFFSET) {
            assert_int_equal(device->to_device(o[i].address, o[i].array.data, o[i].array.bytes), 0);
        }
    }
}

static lt_cuda_gemm_operands pointers(const finish_case *c, const operand *o)
{
    return (lt_cuda_gemm_operands){
        .a = device_pointer(&o[A]),
        .b = device_pointer(&o[B]),
        .bias = c->bias ? device_pointer(&o[BIAS]) : NULL,
        .residual = device_pointer(&o[RESIDUAL]),
        .d = (void *)(uintptr_t)o[D].address,
        .offset = device_pointer(&o[OFFSET]),
        .scale = c->out == LEAT_DTYPE_I32 ? NULL : device_pointer(&o[SCALE]),
        .x_scale = c->scaled ? device_pointer(&o[X_SCALE]) : NULL,
        .x_zero = c->scaled ? device_pointer(&o[X_ZERO]) : NULL,
    };
}

static void check_product(const lt_cuda_gemm_desc *d, const finish_case *c, const operand *o,
                          const char *what)
{
    int64_t end = 0;
    for (int64_t i = 0; i < d->batch; i++) {
        for (int64_t r = 0; r < d->m; r++) {
            int64_t start = i * d->d_batch + r * d->ldd;
            check_untouched(&o[D], end, start, what);
            end = start + d->n;
            for (int64_t j = 0; j < d->n; j++) {
                int32_t sum = 0;
                for (int64_t k = 0; k < d->k; k++) {
                    sum += byte_at(&o[A], i * d->a_batch + r * d->lda + k) *
                           byte_at(&o[B], i * d->b_batch + j * d->ldb + k);
                }
                check(c, o, sum, j, i * d->r_batch + r * d->ldr + j, start + j, what);
            }
        }
    }
    int64_t margin = MARGIN / (int64_t)dtype_bytes(d->out_dtype);
    check_untouched(&o[D], end, o[D].array.shape[0] + margin, what);
}

static void run_product(const test_device *device, lt_cuda_gemm_desc *d, const finish_case *c,
                        bool resident)
{
    leat_error err = {0};
    lt_cuda_gemm_plan plan;
    d->out_dtype = c->out;
    d->residual_dtype = c->residual;
    d->bias_dtype = c->bias ? LEAT_DTYPE_F32 : LEAT_DTYPE_UNDEFINED;
    d->activation = c->activation;
    d->alpha = c->alpha;
    d->beta = c->beta;
    d->requantize = c->q;
    assert_ok(lt_cuda_gemm_plan_product(&device->gemm, d, &plan, &err), &err);
    if (resident) {
        assert_true(lt_cuda_gemm_resident_product(&device->gemm, d, 1, &plan));
    }
    char what[160];
    snprintf(what, sizeof what, "%s, %u splits, %lld x %lld x %lld, result %d, residual %d",
             lt_cuda_gemm_kernel_name(plan.kernel), plan.params.splits, (long long)d->m,
             (long long)d->n, (long long)d->k, (int)c->out, (int)c->residual);
    int64_t last = d->batch - 1;
    operand o[N_OPERANDS];
    make_numbers(device, o, d->dtype, d->n, d->k);
    o[A] = operand_make(device, d->dtype, last * d->a_batch + d->m * d->lda, 1);
    o[B] = operand_make(device, LEAT_DTYPE_I8,
                        last * d->b_batch + lt_cuda_gemm_byte_rows(d->n) * d->ldb, 2);
    upload_rows(device, &o[B], d->n, d->ldb, d->batch, d->b_batch);
    o[RESIDUAL] = operand_make(device, c->residual, last * d->r_batch + d->m * d->ldr, 4);
    o[D] = operand_make(device, c->out, last * d->d_batch + d->m * d->ldd, 0);
    lt_cuda_gemm_operands operands = pointers(c, o);
    assert_ok(lt_cuda_gemm_launch(&device->gemm, &plan, &operands, NULL, &err), &err);
    fetch(device, &o[D]);
    check_product(d, c, o, what);
    for (int i = 0; i < N_OPERANDS; i++) {
        operand_free(device, &o[i]);
    }
}

static lt_cuda_gemm_desc dense(leat_dtype dtype, int64_t m, int64_t n, int64_t k)
{
    int64_t k16 = (k + 15) / 16 * 16;
    return (lt_cuda_gemm_desc){.dtype = dtype,
                               .b_transposed = 1,
                               .scale = 1,
                               .m = m,
                               .n = n,
                               .k = k,
                               .batch = 1,
                               .lda = k16,
                               .ldb = k16,
                               .ldd = n,
                               .ldr = n};
}

static const leat_dtype types[2] = {LEAT_DTYPE_I8, LEAT_DTYPE_U8};

static void product_every_kernel_and_split_is_exact(void **state)
{
    test_device *device = require_device(state);
    int i = 0;
    for (int type = 0; type < 2; type++) {
        for (uint32_t tile = 1; tile <= LT_GEMM_N_ALL_TILES; tile++) {
            const bool turns = tile > LT_GEMM_N_TILES; /* without splits, of several residuals */
            for (uint32_t splits = 1; splits <= 8; splits++) {
                lt_cuda_gemm_desc d = dense(types[type], turns ? 1333 : 165, 272, 1100);
                d.tile = tile;
                if (turns) {
                    finish_case c = case_of((int)splits * 6 + type);
                    d.splits = 1;
                    run_product(device, &d, &c, false);
                    continue;
                }
                d.splits = splits;
                finish_case c = case_of(i++ % 36);
                run_product(device, &d, &c, false);
            }
        }
    }
}

static void product_every_result_and_residual_is_exact(void **state)
{
    test_device *device = require_device(state);
    for (int i = 0; i < 36; i++) {
        for (int odd = 0; odd < 2; odd++) {
            lt_cuda_gemm_desc d = dense(types[i % 2], 130, odd ? 131 : 144, 200);
            d.tile = (uint32_t)(i / 6 + odd) % LT_GEMM_N_ALL_TILES + 1;
            d.splits = d.tile > LT_GEMM_N_TILES ? 1 : 1 + (uint32_t)i % 2;
            finish_case c = case_of(i);
            run_product(device, &d, &c, false);
        }
    }
}

static void product_sizes_batches_and_strides_are_exact(void **state)
{
    test_device *device = require_device(state);
    static const int64_t sizes[][3] = {{1, 1, 1},       {1, 1000, 64}, {3, 17, 40},
                                       {5, 64, 2048},   {17, 72, 200}, {65, 63, 129},
                                       {127, 129, 191}, {128, 16, 8},  {384, 96, 1024}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const int64_t *s = sizes[i];
        lt_cuda_gemm_desc d = dense(types[i % 2], s[0], s[1], s[2]);
        finish_case c = case_of((int)i);
        run_product(device, &d, &c, false);
    }
    for (int shared = 0; shared < 3; shared++) {
        lt_cuda_gemm_desc d = dense(types[shared % 2], 70, 80, 96);
        d.batch = 5;
        d.lda += 32;
        d.ldb += 16;
        d.ldd += shared == 2 ? 1 : 16;
        d.a_batch = shared == 0 ? 0 : d.m * d.lda + 16;
        d.b_batch = shared == 1 ? 0 : lt_cuda_gemm_byte_rows(d.n) * d.ldb + 48;
        d.d_batch = d.m * d.ldd + 32;
        d.r_batch = shared == 1 ? 0 : d.m * d.ldr;
        finish_case c = case_of(6 + shared);
        run_product(device, &d, &c, false);
    }
}

static int32_t conv_sum(const lt_cuda_gemm_conv_desc *d, const operand *o, int32_t image, int32_t y,
                        int32_t x, int32_t filter)
{
    int32_t sum = 0;
    for (int32_t i = 0; i < d->kh; i++) {
        for (int32_t j = 0; j < d->kw; j++) {
            int32_t row = y * d->stride_h - d->pad[0] + i * d->dilation_h;
            int32_t column = x * d->stride_w - d->pad[1] + j * d->dilation_w;
            if (row < 0 || row >= d->h || column < 0 || column >= d->w) {
                continue;
            }
            int64_t pixel = (((int64_t)image * d->h + row) * d->w + column) * d->c;
            int64_t tap = (((int64_t)filter * d->kh + i) * d->kw + j) * d->c;
            for (int32_t c = 0; c < d->c; c++) {
                sum += byte_at(&o[A], pixel + c) * byte_at(&o[B], tap + c);
            }
        }
    }
    return sum;
}

static void run_conv(const test_device *device, lt_cuda_gemm_conv_desc *d, const finish_case *c,
                     bool resident)
{
    leat_error err = {0};
    lt_cuda_gemm_plan plan;
    d->out_dtype = c->out;
    d->residual_dtype = c->residual;
    d->bias_dtype = c->bias ? LEAT_DTYPE_F32 : LEAT_DTYPE_UNDEFINED;
    d->activation = c->activation;
    d->alpha = c->alpha;
    d->requantize = c->q;
    assert_ok(lt_cuda_gemm_plan_conv(&device->gemm, d, &plan, &err), &err);
    if (resident) {
        assert_true(lt_cuda_gemm_resident_conv(&device->gemm, d, 1, &plan));
    }
    const lt_cuda_gemm_params *p = &plan.params;
    char what[160];
    snprintf(what, sizeof what, "%s, %u splits, %d x %d x %d x %d to %d by %d x %d, result %d",
             lt_cuda_gemm_kernel_name(plan.kernel), p->splits, d->images, d->h, d->w, d->c, d->n,
             d->kh, d->kw, (int)c->out);
    int64_t k = (int64_t)d->kh * d->kw * d->c, results = (int64_t)p->m * d->n;
    operand o[N_OPERANDS];
    make_numbers(device, o, d->dtype, d->n, k);
    o[A] = operand_make(device, d->dtype, (int64_t)d->images * d->h * d->w * d->c, 5);
    o[B] = operand_make(device, LEAT_DTYPE_I8, lt_cuda_gemm_byte_rows(d->n) * k, 6);
    upload_rows(device, &o[B], d->n, k, 1, 0);
    o[RESIDUAL] = operand_make(device, c->residual, results, 8);
    o[D] = operand_make(device, c->out, results, 0);
    lt_cuda_gemm_operands operands = pointers(c, o);
    assert_ok(lt_cuda_gemm_launch(&device->gemm, &plan, &operands, NULL, &err), &err);
    fetch(device, &o[D]);
    for (int64_t i = 0; i < results; i++) {
        int64_t pixel = i / d->n;
        int32_t filter = (int32_t)(i % d->n), x = (int32_t)(pixel % p->out_w);
        int32_t y = (int32_t)(pixel / p->out_w % p->out_h);
        int32_t image = (int32_t)(pixel / p->out_w / p->out_h);
        check(c, o, conv_sum(d, o, image, y, x, filter), filter, i, i, what);
    }
    check_untouched(&o[D], results, results + MARGIN / (int64_t)dtype_bytes(c->out), what);
    for (int i = 0; i < N_OPERANDS; i++) {
        operand_free(device, &o[i]);
    }
}

static void conv_every_kernel_is_exact(void **state)
{
    test_device *device = require_device(state);
    for (int i = 0; i < 2 * LT_GEMM_N_ALL_TILES; i++) {
        const int32_t sizes[8] = {3, 14, 15, i % 3 == 0 ? 144 : 80, 136 + i % 4 * 2, 3, 1, 1};
        lt_cuda_gemm_conv_desc d = conv_square(types[i % 2], sizes);
        d.tile = (uint32_t)i / 2 + 1;
        d.splits = i < 2 * LT_GEMM_N_TILES ? 1 + (uint32_t)i % 3 : 1;
        finish_case c = case_of(i * 7 % 36);
        run_conv(device, &d, &c, false);
    }
}

static void conv_strides_pads_dilations_are_exact(void **state)
{
    test_device *device = require_device(state);
    /* images h w c n, kh kw, strides, dilations, pads */
    static const int32_t cases[][15] = {
        {1, 7, 7, 64, 64, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0},
        {2, 15, 13, 64, 48, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1},
        {2, 16, 16, 128, 64, 1, 1, 2, 2, 1, 1, 0, 0, 0, 0},
        {3, 17, 11, 32, 33, 5, 3, 1, 2, 2, 1, 2, 0, 3, 1},
        {1, 20, 20, 16, 16, 7, 7, 2, 2, 1, 1, 3, 3, 3, 3},
        {1, 5, 5, 16, 8, 3, 3, 1, 1, 2, 2, 2, 2, 2, 2},
        {1, 1, 1, 256, 1000, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0},
        {1, 28, 28, 512, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lt_cuda_gemm_conv_desc d = conv_of(types[i % 2], cases[i]);
        finish_case c = case_of((int)i * 5 % 36);
        run_conv(device, &d, &c, false);
    }
}

/* One that the kernels of resident weights take. */
static finish_case byte_case(int i)
{
    finish_case c = case_of(i % 2 + i / 2 % 3 * 6);
    c.bias = i / 6 % 2;
    c.scaled = i % 5 == 3;
    c.activation = LT_GEMM_LINEAR;
    c.q.post = 1;
    return c;
}

/* Rows more than a device's blocks take at once, and fewer than a tile; one column of tiles and
 * several; steps of 64 and of 128 bytes; rows of every alignment. */
static void resident_products_are_exact(void **state)
{
    test_device *device = require_device(state);
    static const int64_t sizes[][3] = {{35000, 64, 64}, {9001, 272, 128}, {300, 1000, 200},
                                       {129, 80, 16},   {4099, 131, 500}, {700, 2048, 512},
                                       {128, 16, 48},   {40000, 48, 33}};
    for (size_t i = 0; i < 36; i++) {
        const int64_t *s = sizes[i % (i < 8 ? 8 : 5) + (i < 8 ? 0 : 2)];
        lt_cuda_gemm_desc d = dense(types[i % 2], s[0], s[1], s[2]);
        finish_case c = byte_case((int)i);
        run_product(device, &d, &c, true);
    }
}

static void resident_convs_are_exact(void **state)
{
    test_device *device = require_device(state);
    /* images h w c n, k, stride, pad */
    static const int32_t cases[][8] = {
        {9, 57, 55, 64, 64, 3, 1, 1},  {3, 16, 15, 64, 136, 3, 2, 1},
        {4, 14, 14, 128, 72, 1, 2, 0}, {2, 20, 20, 16, 16, 3, 2, 2},
        {5, 9, 8, 32, 33, 3, 1, 1},    {1, 30, 31, 256, 128, 1, 1, 0},
        {40, 28, 28, 48, 64, 3, 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lt_cuda_gemm_conv_desc d = conv_square(types[i % 2], cases[i]);
        finish_case c = byte_case((int)i);
        run_conv(device, &d, &c, true);
    }
}

int main(void)
{
    static test_device device;
    void *state = test_device_state(&device, TEST_KERNELS);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(product_every_kernel_and_split_is_exact, state),
        cmocka_unit_test_prestate(product_every_result_and_residual_is_exact, state),
        cmocka_unit_test_prestate(product_sizes_batches_and_strides_are_exact, state),
        cmocka_unit_test_prestate(conv_every_kernel_is_exact, state),
        cmocka_unit_test_prestate(conv_strides_pads_dilations_are_exact, state),
        cmocka_unit_test_prestate(resident_products_are_exact, state),
        cmocka_unit_test_prestate(resident_convs_are_exact, state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

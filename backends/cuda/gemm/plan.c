/* SPDX-License-Identifier: Apache-2.0 */
/* Plans of products and convolutions: checks, tensor maps, the kernel's parameter. */
#include "support.h"

#include <math.h>
#include <string.h>

/* Values of the driver's enumerations. */
enum {
    MAP_F16 = 6,
    MAP_BF16 = 9,
    SWIZZLE_128B = 3,
    L2_PROMOTION_256B = 3
};

/* Tensor maps are made before addresses are known: any that is aligned serves. */
#define ANY_ADDRESS ((void *)(uintptr_t)4096)

#define MAX_STRIDE ((int64_t)1 << 39) /* elements of 2 bytes; the driver's bound is 2^40 bytes */

static int map_dtype(leat_dtype dtype)
{
    return dtype == LEAT_DTYPE_F16 ? MAP_F16 : MAP_BF16;
}

static leat_status map_made(int result, leat_error *err)
{
    if (result != 0) {
        return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "no tensor map: CUDA error %d", result);
    }
    return LEAT_OK;
}

leat_status lt_cuda_gemm_map_tiled(const lt_cuda_gemm *gemm, lt_cuda_gemm_map *map,
                                   leat_dtype dtype, const uint64_t dims[3],
                                   const uint64_t strides[2], const uint32_t box[2],
                                   leat_error *err)
{
    const uint32_t box3[3] = {box[0], box[1], 1};
    const uint32_t ones[3] = {1, 1, 1};
    int result =
        gemm->driver.tensor_map_encode_tiled(map, map_dtype(dtype), 3, ANY_ADDRESS, dims, strides,
                                             box3, ones, 0, SWIZZLE_128B, L2_PROMOTION_256B, 0);
    return map_made(result, err);
}

static leat_status type_of(leat_dtype dtype, const char *what, uint32_t *out, leat_error *err)
{
    switch (dtype) {
    case LEAT_DTYPE_UNDEFINED:
        *out = LT_GEMM_NONE;
        return LEAT_OK;
    case LEAT_DTYPE_F32:
        *out = LT_GEMM_F32;
        return LEAT_OK;
    case LEAT_DTYPE_F16:
        *out = LT_GEMM_F16;
        return LEAT_OK;
    case LEAT_DTYPE_BF16:
        *out = LT_GEMM_BF16;
        return LEAT_OK;
    default:
        return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "%s of a product: type %d", what,
                                 (int)dtype);
    }
}

/* Types of all operands, which product and convolution have in common. */
static leat_status set_types(const lt_cuda_gemm *gemm, lt_cuda_gemm_plan *plan, leat_dtype dtype,
                             const leat_dtype others[3], leat_error *err)
{
    lt_cuda_gemm_params *p = &plan->params;
    if (dtype != LEAT_DTYPE_F16 && dtype != LEAT_DTYPE_BF16) {
        return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED,
                                 "tensor cores take F16 or BF16, not type %d", (int)dtype);
    }
    plan->kernel = dtype == LEAT_DTYPE_F16 ? 0 : LT_GEMM_N_KERNELS / 2;
    if (gemm->functions[plan->kernel] == NULL) {
        return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "kernels of this type are not loaded");
    }
    leat_status status = type_of(others[0], "output", &p->out_type, err);
    if (status == LEAT_OK && p->out_type == LT_GEMM_NONE) {
        status = lt_cuda_gemm_fail(err, LEAT_INVALID, "a product without type of output");
    }
    if (status == LEAT_OK) {
        status = type_of(others[1], "bias", &p->bias_type, err);
    }
    if (status == LEAT_OK) {
        status = type_of(others[2], "residual", &p->residual_type, err);
    }
    return status;
}

/* An activation by its form (params.h). */
static leat_status set_activation(lt_cuda_gemm_params *p, int32_t activation, float alpha,
                                  float beta, float scale, leat_error *err)
{
    const float log2e = 1.44269504f;
    const float tanh_inner = 0.797884561f; /* sqrt(2 / pi) */
    const struct {
        uint32_t finish;
        float c[5];
    } forms[LT_GEMM_N_ACTIVATIONS] = {
        [LT_GEMM_LINEAR] = {LT_GEMM_FINISH_NONE, {0}},
        [LT_GEMM_RELU] = {LT_GEMM_FINISH_CLAMP, {0, INFINITY}},
        [LT_GEMM_CLIP] = {LT_GEMM_FINISH_CLAMP, {alpha, beta}},
        [LT_GEMM_SIGMOID] = {LT_GEMM_FINISH_LOGISTIC, {1, 0, -log2e, 0, 0}},
        [LT_GEMM_TANH] = {LT_GEMM_FINISH_LOGISTIC, {2, 0, -2 * log2e, 0, -1}},
        [LT_GEMM_LEAKY_RELU] = {LT_GEMM_FINISH_LEAKY, {alpha}},
        [LT_GEMM_HARD_SIGMOID] = {LT_GEMM_FINISH_HARD, {1, 0, alpha, beta, 0}},
        [LT_GEMM_HARD_SWISH] = {LT_GEMM_FINISH_HARD, {0, 1, 1.0f / 6, 0.5f, 0}},
        [LT_GEMM_GELU] = {LT_GEMM_FINISH_GELU, {0}},
        [LT_GEMM_GELU_TANH] = {LT_GEMM_FINISH_LOGISTIC,
                               {0, 1, -2 * log2e * tanh_inner, -2 * log2e * tanh_inner * 0.044715f,
                                0}},
        [LT_GEMM_SWISH] = {LT_GEMM_FINISH_LOGISTIC, {0, 1, -log2e * alpha, 0, 0}},
        [LT_GEMM_SCALED_HARD_SWISH] = {LT_GEMM_FINISH_HARD, {0, alpha, 1.0f / 6, 0.5f, beta}},
    };
    if (activation < 0 || activation >= LT_GEMM_N_ACTIVATIONS) {
        return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "activation %d", (int)activation);
    }
    p->finish = forms[activation].finish;
    memcpy(p->c, forms[activation].c, sizeof p->c);
    p->scale = scale;
    return LEAT_OK;
}

/* Blocks and rows of one launch stay far within 32 bits. */
static leat_status check_sizes(int64_t m, int64_t n, int64_t k, int64_t batch, leat_error *err)
{
    const int64_t most = (int64_t)1 << 30;
    if (m < 1 || n < 1 || k < 1 || batch < 1) {
        return lt_cuda_gemm_fail(err, LEAT_INVALID, "empty product");
    }
    if (m > most || n > most || k > most || batch > most ||
        (m + 63) / 64 > most / ((n + 63) / 64) / batch) {
        return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "product too large for one launch");
    }
    return LEAT_OK;
}

/* A stride from row to row or matrix to matrix that tensor maps take. */
static leat_status check_stride(const char *what, int64_t stride, int64_t least, leat_error *err)
{
    if (stride < least) {
        return lt_cuda_gemm_fail(err, LEAT_INVALID, "%s %lld is below %lld", what,
                                 (long long)stride, (long long)least);
    }
    if (stride % 8 != 0 || stride >= MAX_STRIDE) {
        return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "%s %lld is not a multiple of 8", what,
                                 (long long)stride);
    }
    return LEAT_OK;
}

static leat_status check_product(const lt_cuda_gemm_desc *d, leat_error *err)
{
    leat_status status = check_sizes(d->m, d->n, d->k, d->batch, err);
    if (status == LEAT_OK) {
        status = check_stride("lda", d->lda, d->k, err);
    }
    if (status == LEAT_OK) {
        status = check_stride("ldb", d->ldb, d->b_transposed ? d->k : d->n, err);
    }
    if (status == LEAT_OK) {
        status = check_stride("a_batch", d->a_batch, 0, err);
    }
    if (status == LEAT_OK) {
        status = check_stride("b_batch", d->b_batch, 0, err);
    }
    if (status == LEAT_OK && (d->ldd < d->n || (d->residual_dtype && d->ldr < 0) ||
                              d->r_batch < 0 || (d->batch > 1 && d->d_batch < 1))) {
        status = lt_cuda_gemm_fail(err, LEAT_INVALID, "strides of a product's output or residual");
    }
    return status;
}

static leat_status product_maps(const lt_cuda_gemm *gemm, const lt_cuda_gemm_desc *d,
                                lt_cuda_gemm_plan *plan, const lt_cuda_gemm_tile *tile,
                                leat_error *err)
{
    lt_cuda_gemm_params *p = &plan->params;
    uint64_t a_dims[3] = {(uint64_t)d->k, (uint64_t)d->m, p->a_batched ? (uint64_t)d->batch : 1};
    uint64_t a_strides[2] = {(uint64_t)d->lda * 2,
                             (uint64_t)(p->a_batched ? d->a_batch : d->lda) * 2};
    uint32_t a_box[2] = {LT_GEMM_STEP, p->a_box_rows};
    leat_status status =
        lt_cuda_gemm_map_tiled(gemm, &p->a, d->dtype, a_dims, a_strides, a_box, err);
    if (status != LEAT_OK) {
        return status;
    }
    uint64_t b_dims[3] = {(uint64_t)(d->b_transposed ? d->k : d->n),
                          (uint64_t)(d->b_transposed ? d->n : d->k),
                          p->b_batched ? (uint64_t)d->batch : 1};
    uint64_t b_strides[2] = {(uint64_t)d->ldb * 2,
                             (uint64_t)(p->b_batched ? d->b_batch : d->ldb) * 2};
    uint32_t b_box[2] = {64, d->b_transposed ? tile->columns : LT_GEMM_STEP};
    return lt_cuda_gemm_map_tiled(gemm, &p->b, d->dtype, b_dims, b_strides, b_box, err);
}

/* Whether D can be written by 16 bytes: strides here, the address at launch. */
static uint32_t is_wide(uint32_t type, int64_t n, int64_t ldd, int64_t d_batch)
{
    int64_t unit = type == LT_GEMM_F32 ? 4 : 8;
    return n % unit == 0 && ldd % unit == 0 && d_batch % unit == 0;
}

leat_status lt_cuda_gemm_plan_product(const lt_cuda_gemm *gemm, const lt_cuda_gemm_desc *d,
                                      lt_cuda_gemm_plan *out, leat_error *err)
{
    memset(out, 0, sizeof *out);
    lt_cuda_gemm_params *p = &out->params;
    const leat_dtype others[3] = {d->out_dtype, d->bias_dtype, d->residual_dtype};
    leat_status status = check_product(d, err);
    if (status == LEAT_OK) {
        status = set_types(gemm, out, d->dtype, others, err);
    }
    if (status == LEAT_OK) {
        status = set_activation(p, d->activation, d->alpha, d->beta, d->scale, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    p->m = (uint32_t)d->m;
    p->n = (uint32_t)d->n;
    p->steps = (uint32_t)((d->k + LT_GEMM_STEP - 1) / LT_GEMM_STEP);
    p->ldd = d->ldd;
    p->ldr = d->ldr;
    p->d_batch = d->d_batch;
    p->r_batch = d->r_batch;
    p->a_batched = d->batch > 1 && d->a_batch != 0;
    p->b_batched = d->batch > 1 && d->b_batch != 0;
    p->wide = is_wide(p->out_type, d->n, d->ldd, d->d_batch);
    p->residual_wide =
        p->residual_type != LT_GEMM_F32 && is_wide(LT_GEMM_F16, d->n, d->ldr, d->r_batch);
    out->overlap = d->overlap;
    const int64_t sizes[3] = {d->m, d->n, d->batch};
    const uint32_t wanted[2] = {d->tile, d->splits};
    lt_cuda_gemm_cut cut;
    status = lt_cuda_gemm_choose(sizes, p->steps, wanted, gemm->n_multiprocessors, &cut, err);
    if (status != LEAT_OK) {
        return status;
    }
    lt_cuda_gemm_apply(gemm, out, cut, d->batch);
    out->kernel += (d->b_transposed ? LT_GEMM_NK : LT_GEMM_KN) * LT_GEMM_N_TILES + cut.tile;
    return product_maps(gemm, d, out, &lt_cuda_gemm_tiles[cut.tile], err);
}

/* Output size along one axis; 0 when there is none. */
static int64_t conv_out(int64_t size, int64_t pads, int64_t kernel, int64_t dilation,
                        int64_t stride)
{
    int64_t room = size + pads - (kernel - 1) * dilation - 1;
    return room < 0 ? 0 : room / stride + 1;
}

static leat_status check_conv(const lt_cuda_gemm_conv_desc *d, leat_error *err)
{
    const int32_t sizes[] = {d->images, d->h, d->w, d->c, d->n, d->kh, d->kw};
    const int32_t small[] = {d->stride_h, d->stride_w};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (sizes[i] < 1) {
            return lt_cuda_gemm_fail(err, LEAT_INVALID, "empty convolution");
        }
    }
    for (size_t i = 0; i < 2; i++) {
        if (small[i] < 1 || small[i] > 8) {
            return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "stride %d is not 1 to 8",
                                     (int)small[i]);
        }
    }
    for (size_t i = 0; i < 4; i++) {
        if (d->pad[i] < 0 || d->pad[i] > 127) {
            return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "pad %d is not 0 to 127",
                                     (int)d->pad[i]);
        }
    }
    if (d->dilation_h < 1 || d->dilation_w < 1 || d->kh > 128 || d->kw > 128 ||
        (int64_t)(d->kh - 1) * d->dilation_h > 127 || (int64_t)(d->kw - 1) * d->dilation_w > 127) {
        return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED,
                                 "the dilated filter does not fit in 128 x 128");
    }
    if (d->c % 8 != 0) {
        return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "%d channels are not a multiple of 8",
                                 (int)d->c);
    }
    leat_status status = LEAT_OK;
    for (size_t i = 0; i < 3 && status == LEAT_OK && d->x_strides[0] != 0; i++) {
        status = check_stride("stride of pixels", d->x_strides[i], 8, err);
    }
    return status;
}

/* A gathers pixels: base pixels walk over the padded image by strides, a load adds its tap. */
static leat_status conv_maps(const lt_cuda_gemm *gemm, const lt_cuda_gemm_conv_desc *d,
                             lt_cuda_gemm_plan *plan, const lt_cuda_gemm_tile *tile,
                             leat_error *err)
{
    lt_cuda_gemm_params *p = &plan->params;
    uint64_t c = (uint64_t)d->c;
    uint64_t w = (uint64_t)d->w;
    uint64_t h = (uint64_t)d->h;
    uint64_t dims[4] = {c, w, h, (uint64_t)d->images};
    uint64_t strides[3] = {c * 2, c * 2 * w, c * 2 * w * h};
    for (int i = 0; i < 3 && d->x_strides[0] != 0; i++) {
        strides[i] = (uint64_t)d->x_strides[i] * 2;
    }
    const int lower[2] = {-d->pad[1], -d->pad[0]};
    const int upper[2] = {d->pad[3] - (d->kw - 1) * d->dilation_w,
                          d->pad[2] - (d->kh - 1) * d->dilation_h};
    const uint32_t steps[4] = {1, (uint32_t)d->stride_w, (uint32_t)d->stride_h, 1};
    int result = gemm->driver.tensor_map_encode_im2col(
        &p->a, map_dtype(d->dtype), 4, ANY_ADDRESS, dims, strides, lower, upper, LT_GEMM_STEP,
        p->a_box_rows, steps, 0, SWIZZLE_128B, L2_PROMOTION_256B, 0);
    leat_status status = map_made(result, err);
    if (status != LEAT_OK) {
        return status;
    }
    uint64_t taps = (uint64_t)d->kh * (uint64_t)d->kw;
    uint64_t b_dims[3] = {c, (uint64_t)d->n, taps};
    uint64_t b_strides[2] = {taps * c * 2, c * 2};
    uint32_t b_box[2] = {LT_GEMM_STEP, tile->columns};
    return lt_cuda_gemm_map_tiled(gemm, &p->b, d->dtype, b_dims, b_strides, b_box, err);
}

static void set_conv(lt_cuda_gemm_params *p, const lt_cuda_gemm_conv_desc *d)
{
    p->n = (uint32_t)d->n;
    p->c_steps = ((uint32_t)d->c + LT_GEMM_STEP - 1) / LT_GEMM_STEP;
    p->steps = p->c_steps * (uint32_t)(d->kh * d->kw);
    p->kw = (uint32_t)d->kw;
    p->ldd = d->n;
    p->ldr = d->n;
    p->stride_h = (uint32_t)d->stride_h;
    p->stride_w = (uint32_t)d->stride_w;
    p->dilation_h = (uint32_t)d->dilation_h;
    p->dilation_w = (uint32_t)d->dilation_w;
    p->corner_h = -d->pad[0];
    p->corner_w = -d->pad[1];
    p->wide = is_wide(p->out_type, d->n, d->n, 0);
    p->residual_wide = p->residual_type != LT_GEMM_F32 && is_wide(LT_GEMM_F16, d->n, d->n, 0);
}

leat_status lt_cuda_gemm_plan_conv(const lt_cuda_gemm *gemm, const lt_cuda_gemm_conv_desc *d,
                                   lt_cuda_gemm_plan *out, leat_error *err)
{
    memset(out, 0, sizeof *out);
    lt_cuda_gemm_params *p = &out->params;
    const leat_dtype others[3] = {d->out_dtype, d->bias_dtype, d->residual_dtype};
    leat_status status = check_conv(d, err);
    if (status == LEAT_OK) {
        status = set_types(gemm, out, d->dtype, others, err);
    }
    if (status == LEAT_OK) {
        status = set_activation(p, d->activation, d->alpha, d->beta, d->scale, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    int64_t out_h = conv_out(d->h, d->pad[0] + d->pad[2], d->kh, d->dilation_h, d->stride_h);
    int64_t out_w = conv_out(d->w, d->pad[1] + d->pad[3], d->kw, d->dilation_w, d->stride_w);
    int64_t row = (int64_t)d->images * out_w;
    if (out_h > 0 && row > ((int64_t)1 << 31) / out_h) {
        return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "convolution too large for one launch");
    }
    status = check_sizes(row * out_h, d->n, d->c, 1, err);
    if (status != LEAT_OK) {
        return status;
    }
    set_conv(p, d);
    p->m = (uint32_t)(row * out_h);
    p->out_h = (uint32_t)out_h;
    p->out_w = (uint32_t)out_w;
    out->overlap = d->overlap;
    const int64_t sizes[3] = {p->m, d->n, 1};
    const uint32_t wanted[2] = {d->tile, d->splits};
    lt_cuda_gemm_cut cut;
    status = lt_cuda_gemm_choose(sizes, p->steps, wanted, gemm->n_multiprocessors, &cut, err);
    if (status != LEAT_OK) {
        return status;
    }
    lt_cuda_gemm_apply(gemm, out, cut, 1);
    out->kernel += LT_GEMM_CONV * LT_GEMM_N_TILES + cut.tile;
    return conv_maps(gemm, d, out, &lt_cuda_gemm_tiles[cut.tile], err);
}

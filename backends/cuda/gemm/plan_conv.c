/* SPDX-License-Identifier: Apache-2.0 */
/* Plans of convolutions: checks, tensor maps, the kernel's parameter. */
#include "support.h"

#include <string.h>

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
    int32_t unit = 16 / (int32_t)lt_cuda_gemm_unit(d->dtype);
    if (d->c % unit != 0) {
        return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "%d channels are not a multiple of %d",
                                 (int)d->c, (int)unit);
    }
    leat_status status = LEAT_OK;
    for (size_t i = 0; i < 3 && status == LEAT_OK && d->x_strides[0] != 0; i++) {
        status =
            lt_cuda_gemm_check_stride(d->dtype, "stride of pixels", d->x_strides[i], unit, err);
    }
    return status;
}

/* A gathers pixels: base pixels walk over the padded image by strides, a load adds its tap. */
leat_status lt_cuda_gemm_conv_maps(const lt_cuda_gemm *gemm, const lt_cuda_gemm_conv_desc *d,
                                   lt_cuda_gemm_params *p, uint32_t columns, leat_error *err)
{
    uint64_t c = (uint64_t)d->c;
    uint64_t w = (uint64_t)d->w;
    uint64_t h = (uint64_t)d->h;
    uint64_t dims[4] = {c, w, h, (uint64_t)d->images};
    const uint64_t unit = lt_cuda_gemm_unit(d->dtype);
    const uint32_t step = LT_GEMM_STEP_BYTES / (uint32_t)unit;
    uint64_t strides[3] = {c * unit, c * unit * w, c * unit * w * h};
    for (int i = 0; i < 3 && d->x_strides[0] != 0; i++) {
        strides[i] = (uint64_t)d->x_strides[i] * unit;
    }
    const int lower[2] = {-d->pad[1], -d->pad[0]};
    const int upper[2] = {d->pad[3] - (d->kw - 1) * d->dilation_w,
                          d->pad[2] - (d->kh - 1) * d->dilation_h};
    const uint32_t steps[4] = {1, (uint32_t)d->stride_w, (uint32_t)d->stride_h, 1};
    int result = gemm->driver.tensor_map_encode_im2col(
        &p->a, lt_cuda_gemm_map_dtype(d->dtype), 4, LT_GEMM_ANY_ADDRESS, dims, strides, lower,
        upper, step, p->a_box_rows, steps, 0, LT_GEMM_SWIZZLE_128B, LT_GEMM_L2_PROMOTION_256B, 0);
    leat_status status = lt_cuda_gemm_map_made(result, err);
    if (status != LEAT_OK) {
        return status;
    }
    uint64_t taps = (uint64_t)d->kh * (uint64_t)d->kw;
    uint64_t n = (uint64_t)(unit == 1 ? lt_cuda_gemm_byte_rows(d->n) : d->n);
    uint64_t b_dims[3] = {c, n, taps};
    uint64_t b_strides[2] = {taps * c * unit, c * unit};
    uint32_t b_box[2] = {step, columns};
    return lt_cuda_gemm_map_tiled(gemm, &p->b, d->dtype, b_dims, b_strides, b_box, err);
}

static void set_conv(lt_cuda_gemm_params *p, const lt_cuda_gemm_conv_desc *d)
{
    p->n = (uint32_t)d->n;
    p->c_steps = lt_cuda_gemm_steps(d->dtype, d->c);
    p->q = d->requantize;
    p->b_early = 1;
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
    p->wide = lt_cuda_gemm_is_wide(p->out_type, d->n, d->n, 0);
    p->residual_wide = lt_cuda_gemm_residual_wide(p, d->n, d->n, 0);
}

leat_status lt_cuda_gemm_describe_conv(const lt_cuda_gemm *gemm, const lt_cuda_gemm_conv_desc *d,
                                       lt_cuda_gemm_plan *out, leat_error *err)
{
    memset(out, 0, sizeof *out);
    lt_cuda_gemm_params *p = &out->params;
    const leat_dtype others[3] = {d->out_dtype, d->bias_dtype, d->residual_dtype};
    leat_status status = lt_cuda_gemm_set_types(gemm, out, d->dtype, others, err);
    if (status == LEAT_OK) {
        status = check_conv(d, err);
    }
    if (status == LEAT_OK) {
        status = lt_cuda_gemm_set_activation(p, d->activation, d->alpha, d->beta, d->scale, err);
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
    status = lt_cuda_gemm_check_sizes(row * out_h, d->n, d->c, 1, err);
    if (status != LEAT_OK) {
        return status;
    }
    set_conv(p, d);
    p->m = (uint32_t)(row * out_h);
    p->out_h = (uint32_t)out_h;
    p->out_w = (uint32_t)out_w;
    out->overlap = d->overlap;
    return LEAT_OK;
}

leat_status lt_cuda_gemm_plan_conv(const lt_cuda_gemm *gemm, const lt_cuda_gemm_conv_desc *d,
                                   lt_cuda_gemm_plan *out, leat_error *err)
{
    lt_cuda_gemm_params *p = &out->params;
    leat_status status = lt_cuda_gemm_describe_conv(gemm, d, out, err);
    if (status != LEAT_OK) {
        return status;
    }
    const int64_t sizes[3] = {p->m, d->n, 1};
    const uint32_t wanted[2] = {d->tile, d->splits};
    lt_cuda_gemm_cut cut;
    status =
        p->bytes
            ? lt_cuda_gemm_choose_bytes(sizes, p->steps, wanted, gemm->n_multiprocessors, &cut, err)
            : lt_cuda_gemm_choose(sizes, p->steps, wanted, gemm->n_multiprocessors, &cut, err);
    if (status != LEAT_OK) {
        return status;
    }
    lt_cuda_gemm_apply(gemm, out, cut, 1);
    out->kernel = lt_cuda_gemm_kernel(d->dtype, LT_GEMM_CONV, cut.tile);
    const lt_cuda_gemm_tile *tile = &lt_cuda_gemm_tiles[cut.tile];
    status = lt_cuda_gemm_conv_maps(gemm, d, p, tile->columns / LT_GEMM_SHARERS(tile->rows), err);
    if (status == LEAT_OK) {
        lt_cuda_gemm_plan_results(gemm, d->dtype, 1, p);
    }
    return status;
}

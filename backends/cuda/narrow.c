/* SPDX-License-Identifier: Apache-2.0 */
/* Convolutions of few channels (a network's first) on the tensor cores.
 *
 * Alone, 3 channels fill 3 of the 64 halves of k, or 32 TF32, that a step takes. So the image is
 * written anew: stride_h of its rows side by side, channels padded to S = 4 or 8, the padding
 * around included:
 *
 *     y[image][g][j][r][c] = x[image][c][g * stride_h + r - top][j - left]      P = stride_h * S
 *
 * One output pixel's taps in stride_h rows of the filter are then kw * P elements in a row, from
 * column ow * stride_w on, and the convolution is one of kh / stride_h taps (rounded up) over
 * out_w overlapping pixels of kw * P channels: 7 x 7 by 2 over 3 channels takes 4 steps of k of
 * halves. P elements are a multiple of 16 bytes. */
#include "../gpu/params/layout.h"
#include "cuda.h"
#include "tensor.h"

#include <stddef.h>

#define MOST_CHANNELS 7

typedef struct narrow {
    int32_t slots_log2, slots; /* S */
    int32_t pixel;             /* P */
    int32_t taps;              /* groups of rows under the filter */
    int64_t out_h, out_w;
    int64_t groups, columns; /* of the image as it is written */
} narrow;

/* The filters' shape for fill_filters. */
typedef struct filters {
    narrow n;
    int32_t channels, kh, kw, rows;
    uint32_t element_bytes;
    int64_t count;
} filters;

static narrow shape_of(const lt_cuda_gemm_conv_desc *d)
{
    bool four = d->c <= 4 && (d->stride_h % 2 == 0 || d->dtype == LEAT_DTYPE_F32);
    narrow n = {.slots_log2 = four ? 2 : 3};
    n.slots = 1 << n.slots_log2;
    n.pixel = d->stride_h * n.slots;
    n.taps = (d->kh + d->stride_h - 1) / d->stride_h;
    n.out_h = ((int64_t)d->h + d->pad[0] + d->pad[2] - d->kh) / d->stride_h + 1;
    n.out_w = ((int64_t)d->w + d->pad[1] + d->pad[3] - d->kw) / d->stride_w + 1;
    n.groups = n.out_h + n.taps - 1;
    n.columns = (n.out_w - 1) * d->stride_w + d->kw;
    n.columns = (n.columns + d->stride_w - 1) / d->stride_w * d->stride_w;
    return n;
}

/* [o][c][kh][kw] of the model to [o][tap][kw][r][c], zeros where the filter has no row or channel.
 */
static leat_status fill_filters(void *out, size_t bytes, const leat_value *constant,
                                const void *argument, leat_error *err)
{
    const filters *f = argument;
    const char *in = constant->data;
    const size_t unit = f->element_bytes;
    (void)err;
    memset(out, 0, bytes);
    for (int64_t i = 0; i < f->count * f->channels * f->kh * f->kw; i++) {
        int64_t kw = i % f->kw, kh = i / f->kw % f->kh, c = i / f->kw / f->kh % f->channels;
        int64_t o = i / f->kw / f->kh / f->channels;
        int64_t tap = kh / f->rows, r = kh % f->rows;
        int64_t at = (((o * f->n.taps + tap) * f->kw + kw) * f->rows + r) * f->n.slots + c;
        memcpy((char *)out + (size_t)at * unit, in + (size_t)i * unit, unit);
    }
    return LEAT_OK;
}

static leat_status add_interleave(lt_cuda_builder *b, const lt_cuda_gemm_conv_desc *d,
                                  const narrow *n, int64_t count)
{
    const lt_gpu_interleave p = {
        .count = count,
        .x_stride = {(int64_t)d->h * d->w * d->c, 1, (int64_t)d->w * d->c, d->c},
        .groups = lt_gpu_divisor_make((uint32_t)n->groups),
        .columns = lt_gpu_divisor_make((uint32_t)n->columns),
        .pixel = lt_gpu_divisor_make((uint32_t)n->pixel),
        .rows = d->stride_h,
        .slots_log2 = n->slots_log2,
        .channels = d->c,
        .height = d->h,
        .width = d->w,
        .top = d->pad[0],
        .left = d->pad[1],
    };
    return lt_cuda_add(
        b, &(lt_cuda_launch){
               .kernel = d->dtype == LEAT_DTYPE_F32 ? "lt_gpu_interleave_4" : "lt_gpu_interleave_2",
               .grid = {lt_cuda_blocks(b, count, d->dtype)},
               .parameters = &p,
               .parameter_bytes = sizeof(p),
               .n_pointers = 2,
               .pointers = {{offsetof(lt_gpu_interleave, x), LT_CUDA_INPUT, 0, 0},
                            {offsetof(lt_gpu_interleave, y), LT_CUDA_WORKSPACE, 0, 0}}});
}

leat_status lt_cuda_narrow_conv(lt_cuda_builder *b, const lt_cuda_gemm_conv_desc *d,
                                const lt_cuda_tensor_inputs *inputs)
{
    const leat_value *w = leat_kernel_input(b->node, 1);
    if (b->device->tensor == NULL || d->c > MOST_CHANNELS || d->dilation_h != 1 ||
        d->dilation_w != 1 || d->stride_h > 8 || d->stride_w > 8 || d->kh > 128 || d->kw > 128) {
        return LEAT_UNSUPPORTED;
    }
    const narrow n = shape_of(d);
    const int64_t line = n.columns * n.pixel, most = LT_GPU_MAX_COUNT;
    if (n.out_h < 1 || n.out_w < 1 || line * n.groups > most / d->images) {
        return LEAT_UNSUPPORTED;
    }
    const int64_t count = line * n.groups * d->images;
    lt_cuda_gemm_conv_desc wide = *d;
    wide.h = (int32_t)n.groups;
    wide.w = (int32_t)n.out_w;
    wide.c = d->kw * n.pixel;
    wide.kh = n.taps;
    wide.kw = wide.stride_h = wide.stride_w = 1;
    memset(wide.pad, 0, sizeof(wide.pad));
    wide.x_strides[0] = (int64_t)d->stride_w * n.pixel;
    wide.x_strides[1] = line;
    wide.x_strides[2] = line * n.groups;
    const uint32_t unit = lt_cuda_element_bytes(d->dtype);
    const filters f = {n, d->c, d->kh, d->kw, d->stride_h, unit, d->n};
    const size_t bytes = (size_t)d->n * (size_t)n.taps * (size_t)wide.c * unit;
    const leat_kernel before = *b->kernel;
    lt_cuda_tensor_inputs from = *inputs;
    from.a = LT_CUDA_TENSOR_WORKSPACE;
    from.workspace_bytes = (size_t)count * unit;
    leat_status status =
        b->host->plan_pack(b->plan, w, 16u + (uint32_t)(d->stride_h * 2 + (n.slots == 8)), bytes,
                           fill_filters, &f, &from.packed_b, b->err);
    status = status ? status : lt_cuda_tensor_conv(b, &wide, &from);
    status = status ? status : add_interleave(b, d, &n, count);
    if (status != LEAT_OK) {
        *b->kernel = before;
    }
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Convolutions of bytes with few channels (a network's first) on the tensor cores: as narrow.c, the
 * image is written anew with stride_h of its rows side by side, S slots a channel and the padding
 * around it, which here is x's zero point:
 *
 *     y[image][g][j][r][c] = x[image][g * stride_h + r - top][j - left][c]      P = stride_h * S
 *
 * An output pixel's taps in stride_h rows of the filter are then K * P bytes in a row, K columns of
 * the filter and, to fill 16 bytes, some behind it whose weights are 0. 7 x 7 by 2 over 3 channels:
 * 4 taps of 64 bytes. */
#include "qproduct.h"
#include "tensor.h"

#include "../gpu/params/layout.h"

#include <stddef.h>

#define MOST_STRIDE 8

bool lt_cuda_qnarrow_read(const lt_cuda_conv_shape *s, lt_cuda_qnarrow *out)
{
    const lt_gpu_window *w = &s->window;
    lt_cuda_qnarrow n = {.rows = w->stride_h};
    while ((1 << n.slots_log2) < s->channels ||
           (w->stride_w * w->stride_h << n.slots_log2) % 16 != 0) {
        n.slots_log2++;
    }
    n.pixel = w->stride_h << n.slots_log2;
    if (s->groups != 1 || s->channels >= 16 || n.slots_log2 > 4 || w->dilation_h != 1 ||
        w->dilation_w != 1 || w->stride_h > MOST_STRIDE || w->stride_w > MOST_STRIDE ||
        w->kernel_h > 128 || w->kernel_w > 128) {
        return false;
    }
    n.taps = (w->kernel_h + w->stride_h - 1) / w->stride_h;
    n.kw = w->kernel_w;
    while (n.kw * n.pixel % 16 != 0) {
        n.kw++;
    }
    n.groups = (int64_t)w->out_h.value + n.taps - 1;
    n.columns = ((int64_t)w->out_w.value - 1) * w->stride_w + n.kw;
    n.columns = (n.columns + w->stride_w - 1) / w->stride_w * w->stride_w;
    n.row = (int64_t)n.taps * n.kw * n.pixel;
    n.bytes = n.columns * n.pixel;
    if (n.bytes * n.groups > LT_GPU_MAX_COUNT / s->images) {
        return false;
    }
    n.bytes *= n.groups * s->images;
    *out = n;
    return true;
}

int64_t lt_cuda_qnarrow_place(const lt_cuda_qnarrow *n, int64_t kh, int64_t kw, int64_t channel)
{
    int64_t column = kh / n->rows * n->kw + kw;
    return ((column * n->rows + kh % n->rows) << n->slots_log2) + channel;
}

void lt_cuda_qnarrow_desc(const lt_cuda_qnarrow *n, const lt_cuda_conv_shape *s,
                          lt_cuda_gemm_conv_desc *d)
{
    const int64_t line = n->columns * n->pixel;
    d->h = (int32_t)n->groups;
    d->w = (int32_t)s->window.out_w.value;
    d->c = n->kw * n->pixel;
    d->kh = n->taps;
    d->kw = d->stride_h = d->stride_w = 1;
    memset(d->pad, 0, sizeof(d->pad));
    d->x_strides[0] = (int64_t)s->window.stride_w * n->pixel;
    d->x_strides[1] = line;
    d->x_strides[2] = line * n->groups;
}

/* The same from floats that lie channels-first. */
static leat_status add_quantized(lt_cuda_builder *b, const lt_cuda_qproduct *q,
                                 const lt_gpu_interleave *image)
{
    const lt_cuda_conv_shape *s = &q->shape;
    const int64_t width = s->window.width, pixels = width * s->window.height;
    lt_gpu_quantize_rows p = {.image = *image, .is_signed = q->x == LEAT_DTYPE_I8};
    char name[64];
    p.image.x_stride[0] = pixels * s->channels;
    p.image.x_stride[1] = pixels;
    p.image.x_stride[2] = width;
    p.image.x_stride[3] = 1;
    const uint32_t x = offsetof(lt_gpu_quantize_rows, image) + offsetof(lt_gpu_interleave, x);
    const uint32_t y = offsetof(lt_gpu_quantize_rows, image) + offsetof(lt_gpu_interleave, y);
    lt_cuda_launch launch = {.kernel = name,
                             .grid = {lt_gpu_blocks(image->count, 16, b->device->processors)},
                             .parameters = &p,
                             .parameter_bytes = sizeof(p),
                             .n_pointers = q->in.x_zero >= 0 ? 4 : 3,
                             .pointers = {{x, LT_CUDA_INPUT, 0, 0},
                                          {y, LT_CUDA_WORKSPACE, 0, 0},
                                          {offsetof(lt_gpu_quantize_rows, scale), LT_CUDA_INPUT,
                                           (uint32_t)q->in.x_scale, 0},
                                          {offsetof(lt_gpu_quantize_rows, zero), LT_CUDA_INPUT,
                                           (uint32_t)(q->in.x_zero >= 0 ? q->in.x_zero : 0), 0}}};
    lt_cuda_kernel_name(name, "quantize_rows",
                        lt_cuda_type_name(leat_kernel_input(b->node, 0)->dtype));
    return lt_cuda_add(b, &launch);
}

leat_status lt_cuda_qnarrow_add(lt_cuda_builder *b, const lt_cuda_qnarrow *n,
                                const lt_cuda_qproduct *q, uint32_t fill)
{
    const lt_cuda_conv_shape *s = &q->shape;
    const lt_gpu_window *w = &s->window;
    const lt_gpu_interleave p = {
        .count = n->bytes,
        .x_stride = {(int64_t)w->height * w->width * s->channels, 1,
                     (int64_t)w->width * s->channels, s->channels},
        .groups = lt_gpu_divisor_make((uint32_t)n->groups),
        .columns = lt_gpu_divisor_make((uint32_t)n->columns),
        .pixel = lt_gpu_divisor_make((uint32_t)n->pixel),
        .rows = n->rows,
        .slots_log2 = n->slots_log2,
        .channels = s->channels,
        .height = w->height,
        .width = w->width,
        .top = w->pad_top,
        .left = w->pad_left,
        .fill = fill,
    };
    if (q->floats) {
        return add_quantized(b, q, &p);
    }
    return lt_cuda_add(
        b,
        &(lt_cuda_launch){.kernel = "lt_gpu_interleave_1",
                          .grid = {lt_gpu_blocks(n->bytes, 16, b->device->processors)},
                          .parameters = &p,
                          .parameter_bytes = sizeof(p),
                          .n_pointers = 2,
                          .pointers = {{offsetof(lt_gpu_interleave, x), LT_CUDA_INPUT, 0, 0},
                                       {offsetof(lt_gpu_interleave, y), LT_CUDA_WORKSPACE, 0, 0}}});
}

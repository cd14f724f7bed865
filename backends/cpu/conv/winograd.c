/* SPDX-License-Identifier: Apache-2.0 */
/* Planning a Winograd convolution: sizes, blocks, weights. See winograd.h. */
#include "conv/winograd.h"

#include <math.h>

const lt_winograd_kernels *lt_winograd_kernels_for(const lt_cpu_device *device, int32_t tile)
{
#if defined(__x86_64__)
    if (device->isa == LT_CPU_AVX512) {
        return tile == 4 ? &lt_cpu_winograd_f32_4x4_avx512 : &lt_cpu_winograd_f32_2x2_avx512;
    }
    if (device->isa == LT_CPU_AVX2) {
        return tile == 4 ? &lt_cpu_winograd_f32_4x4_avx2 : &lt_cpu_winograd_f32_2x2_avx2;
    }
#endif
    (void)device;
    return tile == 4 ? &lt_cpu_winograd_f32_4x4_portable : &lt_cpu_winograd_f32_2x2_portable;
}

bool lt_winograd_applies(const lt_conv *conv)
{
    const lt_conv_geometry *g = &conv->g;
    bool fits = conv->dtype != LEAT_DTYPE_F64 && conv->w_dtype == LEAT_DTYPE_F32 &&
                (!conv->has_bias || conv->bias_dtype == LEAT_DTYPE_F32) && g->channels_last &&
                g->in_channels > 0 && g->out_channels > 0;
    for (int i = 0; i < 3; i++) {
        fits &= g->kernel[i] == (i == 0 ? 1 : 3) && g->stride[i] == 1 && g->dilation[i] == 1;
        fits &= g->in[i] > 0 && g->out[i] > 0;
    }
    return fits && g->batch > 0 && g->in[0] == 1 && g->out[0] == 1 && g->pad[0] == 0;
}

/* --- packing -----------------------------------------------------------------------------------
 */

static leat_status fill_weights(void *out, size_t bytes, const leat_value *constant,
                                const void *argument, leat_error *err)
{
    const lt_winograd *w = argument;
    (void)bytes;
    (void)err;
    for (size_t i = 0; i < (size_t)w->conv.g.groups; i++) {
        const lt_winograd_filters filters = {.weights = (const char *)constant->data +
                                                        i * w->out * w->in * 9 * sizeof(float),
                                             .u = (float *)out + i * w->u_group,
                                             .position_stride = w->u_stride,
                                             .in_channels = w->in,
                                             .out_channels = w->out,
                                             .nr = w->gemm->nr};
        w->kernels->weights(&filters);
    }
    return LEAT_OK;
}

static leat_status fill_bias(void *out, size_t bytes, const leat_value *constant,
                             const void *argument, leat_error *err)
{
    (void)argument;
    (void)err;
    memcpy(out, constant->data, bytes);
    return LEAT_OK;
}

static leat_status pack(lt_winograd *w, const leat_kernel_node *node, const leat_host *host,
                        leat_plan *plan, leat_error *err)
{
    size_t groups = (size_t)w->conv.g.groups, floats, bytes;
    size_t position = lt_gemm_packed_bytes(w->gemm, 1, w->in, w->out);
    w->u_stride = position / sizeof(float);
    if (position == 0 || __builtin_mul_overflow(w->u_stride, w->positions, &w->u_group) ||
        __builtin_mul_overflow(w->u_group, groups, &floats) ||
        __builtin_mul_overflow(floats, sizeof(float), &bytes)) {
        return lt_cpu_fail(err, LEAT_LIMIT, "Conv: weights are too large");
    }
    uint64_t key = 0x300 | (uint64_t)w->kernels->tile << 12 | (uint64_t)w->gemm->nr << 16 |
                   (uint64_t)groups << 24;
    leat_status status = host->plan_pack(plan, leat_kernel_input(node, 1), key, bytes, fill_weights,
                                         w, &w->conv.weights, err);
    if (status == LEAT_OK && w->conv.has_bias) {
        status = host->plan_pack(plan, leat_kernel_input(node, 2), 0x301,
                                 (size_t)w->conv.g.out_channels * sizeof(float), fill_bias, w,
                                 &w->conv.bias, err);
    }
    return status;
}

/* --- sizes -------------------------------------------------------------------------------------
 */

/* Elements to whole vectors of 64 bytes and one more, so that rows of a power of two do not fall
 * into the same sets of a cache. */
static size_t spread(size_t elements)
{
    return (elements + 15) / 16 * 16 + 16;
}

static bool plan_sizes(lt_winograd *w)
{
    const lt_conv_geometry *g = &w->conv.g;
    const int64_t tile = w->kernels->tile;
    w->positions = (size_t)(w->kernels->alpha * w->kernels->alpha);
    w->in = (size_t)(g->in_channels / g->groups);
    w->out = (size_t)(g->out_channels / g->groups);
    w->tiles_y = (size_t)((g->out[1] + tile - 1) / tile);
    w->tiles_x = (size_t)((g->out[2] + tile - 1) / tile);
    w->lda = spread(w->in);
    w->ldm = spread(lt_gemm_panels(w->gemm, w->out) * w->gemm->nr);
    return !__builtin_mul_overflow((size_t)g->batch * w->tiles_y, w->tiles_x, &w->tiles);
}

/* Bytes of V and M, and the distances in them, for blocks of so many tiles. */
static bool plan_block(lt_winograd *w, uint32_t threads, size_t *out_bytes)
{
    size_t floats;
    w->v_stride = w->blocking.block * w->lda + 16;
    w->m_stride = w->blocking.block * w->ldm + 16;
    return !__builtin_mul_overflow(w->v_stride + w->m_stride, w->positions, &floats) &&
           !__builtin_mul_overflow(floats, sizeof(float), &w->block_bytes) &&
           !__builtin_mul_overflow(w->block_bytes, w->blocking.phases ? 1 : threads, out_bytes);
}

static leat_status prepare(const leat_kernel_node *node, const lt_conv *conv, int32_t tile,
                           const lt_cpu_device *device, const leat_host *host, leat_plan *plan,
                           leat_kernel *out_kernel, leat_error *err)
{
    lt_winograd *w = host->plan_alloc(plan, sizeof(*w));
    float *zeros =
        host->plan_alloc(plan, (size_t)(conv->g.in_channels / conv->g.groups) * sizeof(*zeros));
    if (w == NULL || zeros == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "Conv: no memory for the plan");
    }
    uint32_t threads = host->pool_threads(host->pool);
    double low = -INFINITY, high = INFINITY;
    w->conv = *conv;
    w->zeros = zeros;
    w->gemm = lt_gemm_kernels_for(device, LEAT_DTYPE_F32);
    w->kernels = lt_winograd_kernels_for(device, tile);
    w->half = lt_half_for(device);
    if (!lt_cpu_activation_clamp(&conv->activation, &low, &high)) {
        w->activate = lt_cpu_activate_for(device);
    }
    w->clamp = low > -INFINITY || high < INFINITY;
    w->low = (float)low;
    w->high = (float)high;
    bool fits = plan_sizes(w);
    if (fits) {
        w->blocking = lt_winograd_cut(w, device, threads);
        fits = plan_block(w, threads, &out_kernel->workspace_bytes);
    }
    if (!fits) {
        return lt_cpu_fail(err, LEAT_LIMIT, "Conv: the data is too large");
    }
    out_kernel->name = w->kernels->name;
    out_kernel->launch = lt_winograd_launch;
    out_kernel->state = w;
    const lt_conv_geometry *g = &conv->g;
    out_kernel->flops = 2 * (uint64_t)(g->batch * g->out[1] * g->out[2] * g->out_channels * 9) *
                        (uint64_t)(g->in_channels / g->groups); /* as by definition */
    return pack(w, node, host, plan, err);
}

leat_status lt_conv_winograd_4x4_prepare(const leat_kernel_node *node, const lt_conv *conv,
                                         const lt_cpu_device *device, const leat_host *host,
                                         leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    return prepare(node, conv, 4, device, host, plan, out_kernel, err);
}

leat_status lt_conv_winograd_2x2_prepare(const leat_kernel_node *node, const lt_conv *conv,
                                         const lt_cpu_device *device, const leat_host *host,
                                         leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    return prepare(node, conv, 2, device, host, plan, out_kernel, err);
}

/* --- blocks ------------------------------------------------------------------------------------
 */

/* Tiles of a block at least: below, a panel read from the third-level cache serves too few. Units
 * of full width use it up twice as fast. */
static size_t least_block(const lt_gemm_kernels *gemm, const lt_cpu_device *device)
{
    return gemm->mr < 8 || device->full_width ? 2 * gemm->mr : 8;
}

size_t lt_winograd_shared_below(const lt_gemm_kernels *gemm, uint32_t threads)
{
    return (size_t)threads * (gemm->mr < 8 ? 4 * gemm->mr : 16);
}

/* V and M of a block take a quarter of the second-level cache, through which all weights pass. */
lt_winograd_blocking lt_winograd_cut(const lt_winograd *w, const lt_cpu_device *device,
                                     uint32_t threads)
{
    size_t tile_bytes = (w->lda + w->ldm) * w->positions * sizeof(float);
    size_t least = least_block(w->gemm, device), fit = device->l2_bytes / 4 / tile_bytes;
    fit = fit < least ? least : fit;
    lt_winograd_blocking cut = {
        .blocks = w->tiles < fit ? 1 : w->tiles / fit, .parts = 1, .ahead = device->full_width};
    if (threads > 1) {
        cut.phases = w->tiles < lt_winograd_shared_below(w->gemm, threads);
        cut.blocks = cut.phases ? 1 : (cut.blocks + threads - 1) / threads * threads;
    }
    if (cut.phases) { /* 4 tasks a thread or more */
        size_t panels = lt_gemm_panels(w->gemm, w->out), want = 4 * (size_t)threads;
        cut.parts = (want + w->positions - 1) / w->positions;
        cut.parts = cut.parts < panels ? cut.parts : panels;
    }
    cut.block = (w->tiles + cut.blocks - 1) / cut.blocks;
    return cut;
}

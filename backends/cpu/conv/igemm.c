/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution of channels-last data as a matrix product whose rows are found by pointers: one a
 * filter position and output pixel (Dukhan, The Indirect Convolution Algorithm, arXiv:1907.02129),
 * made for one block of tiles at a time, so nothing is unfolded.
 *
 *     Y[p, m] = act( sum over t, c of X[pixel(p, t), c] * W[t, c, m] + B[m] + R[p, m] )
 *
 * Three cases of A:
 *   matrix   1x1, stride 1, no padding: the data itself
 *   indirect otherwise; pixels outside of the data point at zeros
 *   padded   few input channels: the data is copied once with its padding, after which the pixels
 * of a filter's row lie side by side and one pointer serves kernel_w * channels elements Weights
 * are packed as B of gemm.h with rows in the order (t, c). */
#include "conv/conv.h"

/* Channels below which copying the padded data pays: a pointer serves few elements otherwise. */
#define PADDED_CHANNELS 16

typedef struct igemm {
    lt_conv conv;
    const lt_gemm_kernels *kernels;
    const leat_host *host;
    bool matrix;
    bool padded;
    lt_conv_geometry g;     /* of what the product reads: after the copy when padded */
    size_t taps, k;         /* of the product */
    size_t group_packed;    /* bytes of one group's packed weights */
    size_t group_bias;      /* elements of one group's padded bias */
    const void *zeros;      /* k elements */
    const int64_t *offsets; /* [taps] bytes from the first pixel of a window */
    size_t copy_bytes;
    size_t gemm_workspace;
} igemm;

/* --- packing ------------------------------------------------------------------------------------
 */

/* Weights [out, in, taps] of one group to panels of rows (tap, in). */
static void pack_group(const igemm *w, const char *weights, char *out)
{
    size_t n = (size_t)(w->conv.g.out_channels / w->conv.g.groups);
    lt_gemm_source source = {.data = weights,
                             .dtype = w->conv.dtype,
                             .taps = w->taps,
                             .k = w->k,
                             .n = n,
                             .tap_stride = 1,
                             .row_stride = w->taps,
                             .column_stride = w->k * w->taps,
                             .scale = 1};
    if (w->padded) { /* reordered already, one tap a line of the filter */
        source.tap_stride = w->k;
        source.row_stride = 1;
    }
    lt_gemm_pack(w->kernels, &source, out, 0, lt_gemm_panels(w->kernels, n));
}

/* [out, in, ky, kx] to [out, ky, kx, in], so that a line of the filter is one tap. */
static void reorder_filter(const igemm *w, const char *weights, char *out)
{
    size_t element = lt_cpu_element_bytes(w->conv.dtype);
    size_t n = (size_t)w->conv.g.out_channels, ci = (size_t)w->conv.g.in_channels;
    size_t taps = (size_t)w->conv.g.taps;
    for (size_t i = 0; i < n; i++) {
        for (size_t c = 0; c < ci; c++) {
            for (size_t t = 0; t < taps; t++) {
                memcpy(out + ((i * taps + t) * ci + c) * element,
                       weights + ((i * ci + c) * taps + t) * element, element);
            }
        }
    }
}

static leat_status fill_weights(void *out, size_t bytes, const leat_value *constant,
                                const void *argument, leat_error *err)
{
    const igemm *w = argument;
    size_t element = lt_cpu_element_bytes(w->conv.dtype);
    size_t all = (size_t)leat_value_count(constant) * element;
    size_t group = all / (size_t)w->conv.g.groups;
    (void)bytes;
    if (w->padded) {
        char *reordered = w->host->alloc(w->host->context, all, 64);
        if (reordered == NULL) {
            return lt_cpu_fail(err, LEAT_NO_MEMORY, "Conv: no memory to pack weights");
        }
        reorder_filter(w, constant->data, reordered);
        pack_group(w, reordered, out);
        w->host->free(w->host->context, reordered, all);
        return LEAT_OK;
    }
    for (int64_t i = 0; i < w->conv.g.groups; i++) {
        pack_group(w, (const char *)constant->data + (size_t)i * group,
                   (char *)out + (size_t)i * w->group_packed);
    }
    return LEAT_OK;
}

static leat_status fill_bias(void *out, size_t bytes, const leat_value *constant,
                             const void *argument, leat_error *err)
{
    const igemm *w = argument;
    size_t element = lt_cpu_element_bytes(w->conv.dtype);
    size_t n = (size_t)(w->conv.g.out_channels / w->conv.g.groups) * element;
    (void)err;
    memset(out, 0, bytes);
    for (int64_t i = 0; i < w->conv.g.groups; i++) {
        memcpy((char *)out + (size_t)i * w->group_bias * element,
               (const char *)constant->data + (size_t)i * n, n);
    }
    return LEAT_OK;
}

/* --- rows ---------------------------------------------------------------------------------------
 */

/* One group of one launch. */
typedef struct row_source {
    const igemm *w;
    const char *data; /* at the group's first channel */
} row_source;

/* Row pointers of a window that may leave the data. */
static void border_row(const row_source *s, const int64_t origin[3], int64_t image,
                       const void **rows)
{
    const igemm *w = s->w;
    const lt_conv_geometry *g = &w->g;
    int64_t pixel = g->in_channels * (int64_t)lt_cpu_element_bytes(w->conv.dtype);
    size_t t = 0;
    for (int64_t kz = 0; kz < g->kernel[0]; kz++) {
        int64_t z = origin[0] + kz * g->dilation[0];
        for (int64_t ky = 0; ky < g->kernel[1]; ky++) {
            int64_t y = origin[1] + ky * g->dilation[1];
            bool line = z >= 0 && z < g->in[0] && y >= 0 && y < g->in[1];
            for (int64_t kx = 0; kx < g->kernel[2]; kx++, t++) {
                int64_t x = origin[2] + kx * g->dilation[2];
                int64_t at = ((image * g->in[0] + z) * g->in[1] + y) * g->in[2] + x;
                rows[t * LT_GEMM_MAX_MR] =
                    line && x >= 0 && x < g->in[2] ? s->data + at * pixel : w->zeros;
            }
        }
    }
}

static bool window_inside(const lt_conv_geometry *g, const int64_t origin[3])
{
    for (int i = 0; i < 3; i++) {
        int64_t last = origin[i] + (g->kernel[i] - 1) * g->dilation[i];
        if (origin[i] < 0 || last >= g->in[i]) {
            return false;
        }
    }
    return true;
}

static void window_rows(const void *argument, size_t first, size_t count, const void **rows)
{
    const row_source *s = argument;
    const igemm *w = s->w;
    const lt_conv_geometry *g = &w->g;
    int64_t pixel = g->in_channels * (int64_t)lt_cpu_element_bytes(w->conv.dtype);
    int64_t at = (int64_t)first;
    int64_t x = at % g->out[2], y = at / g->out[2] % g->out[1];
    int64_t z = at / (g->out[2] * g->out[1]) % g->out[0];
    int64_t image = at / (g->out[2] * g->out[1] * g->out[0]);
    for (size_t i = 0; i < count; i++, rows++) {
        int64_t origin[3] = {z * g->stride[0] - g->pad[0], y * g->stride[1] - g->pad[1],
                             x * g->stride[2] - g->pad[2]};
        if (window_inside(g, origin)) {
            const char *base =
                s->data +
                (((image * g->in[0] + origin[0]) * g->in[1] + origin[1]) * g->in[2] + origin[2]) *
                    pixel;
            for (size_t t = 0; t < w->taps; t++) {
                rows[t * LT_GEMM_MAX_MR] = base + w->offsets[t];
            }
        } else {
            border_row(s, origin, image, rows);
        }
        if (++x == g->out[2]) {
            x = 0;
            if (++y == g->out[1]) {
                y = 0;
                if (++z == g->out[0]) {
                    z = 0;
                    image++;
                }
            }
        }
    }
}

/* --- launch -------------------------------------------------------------------------------------
 */

typedef struct pad_job {
    const igemm *w;
    const char *from;
    char *to;
} pad_job;

/* Copies lines [begin, end) of the padded data. */
static void pad_lines(void *argument, int64_t begin, int64_t end)
{
    const pad_job *job = argument;
    const lt_conv_geometry *from = &job->w->conv.g, *to = &job->w->g;
    size_t pixel = (size_t)from->in_channels * lt_cpu_element_bytes(job->w->conv.dtype);
    size_t line = (size_t)to->in[2] * pixel, data = (size_t)from->in[2] * pixel;
    for (int64_t i = begin; i < end; i++) {
        int64_t y = i % to->in[1] - from->pad[1];
        int64_t z = i / to->in[1] % to->in[0] - from->pad[0];
        int64_t image = i / (to->in[1] * to->in[0]);
        char *out = job->to + (size_t)i * line;
        if (y < 0 || y >= from->in[1] || z < 0 || z >= from->in[0]) {
            memset(out, 0, line);
            continue;
        }
        int64_t at = (image * from->in[0] + z) * from->in[1] + y;
        size_t left = (size_t)from->pad[2] * pixel;
        left = left < line ? left : line;
        size_t copy = data < line - left ? data : line - left;
        memset(out, 0, left);
        memcpy(out + left, job->from + (size_t)at * data, copy);
        memset(out + left + copy, 0, line - left - copy);
    }
}

static leat_status igemm_launch(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const igemm *w = state;
    const lt_conv_geometry *g = &w->g;
    size_t element = lt_cpu_element_bytes(w->conv.dtype);
    const char *data = args->inputs[0];
    char *workspace = args->workspace;
    (void)err;
    if (w->padded) {
        pad_job job = {w, data, workspace};
        int64_t lines = g->batch * g->in[0] * g->in[1];
        lt_cpu_parallel_range(args, lines, 1, (double)(g->in[2] * g->in_channels) * 8, pad_lines,
                              &job);
        data = workspace;
    }
    size_t n = (size_t)(g->out_channels / g->groups), ci = (size_t)(g->in_channels / g->groups);
    for (int64_t i = 0; i < g->groups; i++) {
        size_t group = (size_t)i;
        row_source source = {w, data + group * ci * element};
        lt_gemm_job job = {.kernels = w->kernels,
                           .m = (size_t)(g->batch * g->out[0] * g->out[1] * g->out[2]),
                           .n = n,
                           .k = w->k,
                           .taps = w->taps,
                           .rows = w->matrix ? NULL : window_rows,
                           .rows_argument = &source,
                           .a = source.data,
                           .lda = (size_t)g->in_channels,
                           .b = (const char *)w->conv.weights + group * w->group_packed,
                           .bias = w->conv.bias ? (const char *)w->conv.bias +
                                                      group * w->group_bias * element
                                                : NULL,
                           .c = (char *)args->outputs[0] + group * n * element,
                           .ldc = (size_t)g->out_channels,
                           .ldr = (size_t)g->out_channels,
                           .activation = w->conv.activation};
        if (w->conv.residual_input != LEAT_NO_VALUE) {
            job.residual = (const char *)args->inputs[w->conv.residual_input] + group * n * element;
        }
        lt_gemm_run(&job, workspace + w->copy_bytes, args);
    }
    return LEAT_OK;
}

/* --- prepare ------------------------------------------------------------------------------------
 */

/* After a padded copy: no padding, and a line of the filter is one tap. The data ends where the
 * last window ends or later. */
static void plan_padded(igemm *w)
{
    lt_conv_geometry *g = &w->g;
    for (int i = 0; i < 3; i++) {
        int64_t reach = (g->out[i] - 1) * g->stride[i] + (g->kernel[i] - 1) * g->dilation[i] + 1;
        g->in[i] = reach;
        g->pad[i] = 0;
    }
    w->taps = (size_t)(g->kernel[0] * g->kernel[1]);
    w->k = (size_t)(g->kernel[2] * g->in_channels);
    g->kernel[2] = 1;
    size_t pixels = (size_t)(g->batch * g->in[0] * g->in[1] * g->in[2]);
    w->copy_bytes = pixels * (size_t)g->in_channels * lt_cpu_element_bytes(w->conv.dtype);
    w->copy_bytes = (w->copy_bytes + 63) & ~(size_t)63;
}

static void plan_shape(igemm *w)
{
    const lt_conv_geometry *g = &w->conv.g;
    bool unpadded = true;
    for (int i = 0; i < 3; i++) {
        unpadded &=
            g->kernel[i] == 1 && g->stride[i] == 1 && g->pad[i] == 0 && g->in[i] == g->out[i];
    }
    w->g = *g;
    w->taps = (size_t)g->taps;
    w->k = (size_t)(g->in_channels / g->groups);
    w->matrix = unpadded;
    w->padded = g->groups == 1 && g->in_channels < PADDED_CHANNELS && g->kernel[2] > 1 &&
                g->dilation[2] == 1 && g->pad[0] >= 0 && g->pad[1] >= 0 && g->pad[2] >= 0;
    if (w->padded) {
        plan_padded(w);
    }
}

static leat_status make_tables(igemm *w, const leat_host *host, leat_plan *plan, leat_error *err)
{
    const lt_conv_geometry *g = &w->g;
    int64_t element = (int64_t)lt_cpu_element_bytes(w->conv.dtype);
    int64_t *offsets = host->plan_alloc(plan, w->taps * sizeof(*offsets));
    w->zeros = host->plan_alloc(plan, w->k * (size_t)element);
    if (offsets == NULL || w->zeros == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "Conv: no memory for the plan");
    }
    for (int64_t t = 0; t < (int64_t)w->taps; t++) {
        int64_t z = t / (g->kernel[1] * g->kernel[2]) * g->dilation[0];
        int64_t y = t / g->kernel[2] % g->kernel[1] * g->dilation[1];
        int64_t x = t % g->kernel[2] * g->dilation[2];
        offsets[t] = ((z * g->in[1] + y) * g->in[2] + x) * g->in_channels * element;
    }
    w->offsets = offsets;
    return LEAT_OK;
}

static leat_status pack(igemm *w, const leat_kernel_node *node, const leat_host *host,
                        leat_plan *plan, leat_error *err)
{
    size_t groups = (size_t)w->conv.g.groups, element = lt_cpu_element_bytes(w->conv.dtype);
    size_t n = (size_t)(w->conv.g.out_channels / w->conv.g.groups);
    size_t packed = (lt_gemm_packed_bytes(w->kernels, w->taps, w->k, n) + 63) & ~(size_t)63, all;
    w->group_packed = packed;
    w->group_bias = lt_gemm_panels(w->kernels, n) * w->kernels->nr;
    if (__builtin_mul_overflow(packed, groups, &all)) {
        return lt_cpu_fail(err, LEAT_LIMIT, "Conv: weights are too large");
    }
    uint64_t key = 0x100 | (uint64_t)w->kernels->nr << 16 | (uint64_t)groups << 24;
    key ^= (uint64_t)w->taps << 48; /* lines of a filter, or single elements */
    leat_status status = host->plan_pack(plan, leat_kernel_input(node, 1), key, all, fill_weights,
                                         w, &w->conv.weights, err);
    if (status != LEAT_OK || !w->conv.has_bias) {
        return status;
    }
    return host->plan_pack(plan, leat_kernel_input(node, 2), key + 1,
                           groups * w->group_bias * element, fill_bias, w, &w->conv.bias, err);
}

leat_status lt_conv_igemm_prepare(const leat_kernel_node *node, const lt_conv *conv,
                                  const lt_cpu_device *device, const leat_host *host,
                                  leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    igemm *w = host->plan_alloc(plan, sizeof(*w));
    if (w == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "Conv: no memory for the plan");
    }
    w->conv = *conv;
    w->kernels = lt_gemm_kernels_for(device, conv->dtype);
    w->host = host;
    plan_shape(w);
    leat_status status = make_tables(w, host, plan, err);
    if (status == LEAT_OK) {
        status = pack(w, node, host, plan, err);
    }
    const lt_conv_geometry *g = &w->g;
    const lt_gemm_job job = {.kernels = w->kernels,
                             .m = (size_t)(g->batch * g->out[0] * g->out[1] * g->out[2]),
                             .n = (size_t)(g->out_channels / g->groups),
                             .k = w->k,
                             .taps = w->taps,
                             .rows = w->matrix ? NULL : window_rows};
    out_kernel->name = w->kernels->name;
    out_kernel->launch = igemm_launch;
    out_kernel->state = w;
    out_kernel->workspace_bytes =
        w->copy_bytes + lt_gemm_workspace(&job, host->pool_threads(host->pool));
    out_kernel->flops = 2 * (uint64_t)job.m * w->k * w->taps * (uint64_t)g->out_channels;
    return status;
}

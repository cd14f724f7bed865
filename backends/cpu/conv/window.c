/* SPDX-License-Identifier: Apache-2.0 */
#include "conv/window.h"

/* Channels below which copying the padded data pays: a pointer serves few elements otherwise. */
#define PADDED_CHANNELS 16

/* --- rows ---------------------------------------------------------------------------------------
 */

/* Where a window begins. */
typedef struct window_origin {
    int64_t at[3];
} window_origin;

/* Points the taps of a window that lie outside of the data at the constant row. */
static void mark_outside(const lt_conv_rows *s, const window_origin *origin, const void **rows)
{
    const lt_conv_geometry *g = &s->window->g;
    size_t t = 0;
    for (int64_t kz = 0; kz < g->kernel[0]; kz++) {
        int64_t z = origin->at[0] + kz * g->dilation[0];
        for (int64_t ky = 0; ky < g->kernel[1]; ky++) {
            int64_t y = origin->at[1] + ky * g->dilation[1];
            bool line = z >= 0 && z < g->in[0] && y >= 0 && y < g->in[1];
            for (int64_t kx = 0; kx < g->kernel[2]; kx++, t++) {
                int64_t x = origin->at[2] + kx * g->dilation[2];
                if (!line || x < 0 || x >= g->in[2]) {
                    rows[t * LT_GEMM_MAX_MR] = s->outside;
                }
            }
        }
    }
}

static bool axis_inside(const lt_conv_geometry *g, int i, int64_t origin)
{
    return origin >= 0 && origin + (g->kernel[i] - 1) * g->dilation[i] < g->in[i];
}

/* Pointers of `count` rows for one tap. Those of windows that leave the data are replaced after. */
static inline __attribute__((always_inline)) void one_tap(const uintptr_t *base, int64_t offset,
                                                          size_t count, const void **rows)
{
    for (size_t i = 0; i < count; i++) {
        rows[i] = (const void *)(base[i] + (uintptr_t)offset);
    }
}

/* The windows of `count` outputs side by side, of which those in bits `first` and up of the result
 * leave the data: the first one at `origin`. `inside`: along the other axes they do not. */
static uint32_t find_outside(const lt_conv_geometry *g, window_origin origin, bool inside,
                             size_t first, size_t count, window_origin *origins)
{
    const int64_t last = origin.at[2] + ((int64_t)count - 1) * g->stride[2];
    uint32_t outside = 0;
    if (inside && origin.at[2] >= 0 && axis_inside(g, 2, last)) {
        return 0;
    }
    for (size_t i = first; i < first + count; i++, origin.at[2] += g->stride[2]) {
        origins[i] = origin;
        outside |= (uint32_t) !(inside && axis_inside(g, 2, origin.at[2])) << i;
    }
    return outside;
}

/* First pixels of the windows of `count` outputs from number `at` on. Returns which ones leave the
 * data, a bit each; those have their origins, too. */
static uint32_t find_windows(const lt_conv_rows *s, int64_t at, size_t count,
                             window_origin *origins, uintptr_t *base)
{
    const lt_conv_geometry *g = &s->window->g;
    const int64_t pixel = g->in_channels * (int64_t)s->window->element;
    const uintptr_t step = (uintptr_t)(g->stride[2] * pixel);
    int64_t x = at % g->out[2], line = at / g->out[2];
    int64_t y = line % g->out[1], plane = line / g->out[1];
    int64_t z = plane % g->out[0], image = plane / g->out[0];
    uint32_t outside = 0;
    for (size_t i = 0; i < count;) { /* line by line */
        const window_origin origin = {{z * g->stride[0] - g->pad[0], y * g->stride[1] - g->pad[1],
                                       x * g->stride[2] - g->pad[2]}};
        const bool inside = axis_inside(g, 0, origin.at[0]) && axis_inside(g, 1, origin.at[1]);
        const int64_t first =
            ((image * g->in[0] + origin.at[0]) * g->in[1] + origin.at[1]) * g->in[2] + origin.at[2];
        const size_t n = (size_t)lt_least((int64_t)(count - i), g->out[2] - x);
        uintptr_t from = (uintptr_t)s->data + (uintptr_t)(first * pixel);
        outside |= find_outside(g, origin, inside, i, n, origins);
        for (size_t end = i + n; i < end; i++, from += step) {
            base[i] = from;
        }
        x = 0;
        if (++y == g->out[1]) {
            y = 0;
            if (++z == g->out[0]) {
                z = 0;
                image++;
            }
        }
    }
    return outside;
}

void lt_conv_window_rows(const void *argument, size_t first, size_t count, const void **rows)
{
    const lt_conv_rows *s = argument;
    const lt_conv_window *w = s->window;
    window_origin origins[LT_GEMM_MAX_MR];
    uintptr_t base[LT_GEMM_MAX_MR];
    uint32_t outside = find_windows(s, (int64_t)first, count, origins, base);
    for (size_t t = 0; t < w->taps; t++) {
        if (count == LT_GEMM_MAX_MR) {
            one_tap(base, w->offsets[t], LT_GEMM_MAX_MR, rows + t * LT_GEMM_MAX_MR);
        } else {
            one_tap(base, w->offsets[t], count, rows + t * LT_GEMM_MAX_MR);
        }
    }
    for (; outside != 0; outside &= outside - 1) {
        const int i = __builtin_ctz(outside);
        mark_outside(s, &origins[i], rows + i);
    }
}

/* --- padded data --------------------------------------------------------------------------------
 */

typedef struct pad_job {
    const lt_conv_window *w;
    const char *from;
    char *to;
    int fill;
} pad_job;

/* `count` elements of the data from element `at` on, to where they belong in the copy. */
static void copy_elements(const pad_job *job, size_t at, size_t count, char *to)
{
    const lt_conv_window *w = job->w;
    if (w->convert != NULL) {
        w->convert(w->convert_argument, job->from + at * w->from_element, 0, count, to);
    } else {
        memcpy(to, job->from + at * w->element, count * w->element);
    }
}

/* Copies lines [begin, end) of the padded data. */
static void pad_lines(void *argument, int64_t begin, int64_t end)
{
    const pad_job *job = argument;
    const lt_conv_geometry *from = &job->w->from, *to = &job->w->g;
    size_t pixel = (size_t)from->in_channels * job->w->element;
    size_t line = (size_t)to->in[2] * pixel, data = (size_t)from->in[2] * pixel;
    for (int64_t i = begin; i < end; i++) {
        int64_t y = i % to->in[1] - from->pad[1];
        int64_t z = i / to->in[1] % to->in[0] - from->pad[0];
        int64_t image = i / (to->in[1] * to->in[0]);
        char *out = job->to + (size_t)i * line;
        if (y < 0 || y >= from->in[1] || z < 0 || z >= from->in[0]) {
            memset(out, job->fill, line);
            continue;
        }
        int64_t at = (image * from->in[0] + z) * from->in[1] + y;
        size_t left = (size_t)from->pad[2] * pixel;
        left = left < line ? left : line;
        size_t copy = data < line - left ? data : line - left;
        memset(out, job->fill, left);
        copy_elements(job, (size_t)(at * from->in[2] * from->in_channels), copy / job->w->element,
                      out + left);
        memset(out + left + copy, job->fill, line - left - copy);
    }
}

void lt_conv_window_pad(const lt_conv_window *w, const void *from, void *to, int fill,
                        const leat_kernel_args *args)
{
    const lt_conv_geometry *g = &w->g;
    pad_job job = {w, from, to, fill};
    int64_t lines = g->batch * g->in[0] * g->in[1];
    size_t line = (size_t)(g->in[2] * g->in_channels) * w->element, bytes = (size_t)lines * line;
    lt_cpu_parallel_range(args, lines, 1, 2.0 * (double)line, pad_lines, &job);
    /* Read with weights of 0: what lay there before may not choose a slower way. */
    memset((char *)to + bytes, fill, w->copy_bytes - bytes);
}

/* --- plan ---------------------------------------------------------------------------------------
 */

/* After a padded copy: no padding, and a line of the filter is one tap. The data ends where the
 * last window ends or later. `exact`: data that every window lies in is read where it is. */
static void plan_padded(lt_conv_window *w, bool exact)
{
    lt_conv_geometry *g = &w->g;
    for (int i = 0; i < 3; i++) {
        int64_t reach = (g->out[i] - 1) * g->stride[i] + (g->kernel[i] - 1) * g->dilation[i] + 1;
        exact &= g->pad[i] == 0 && reach <= g->in[i];
        g->in[i] = reach;
        g->pad[i] = 0;
    }
    w->taps = (size_t)(g->kernel[0] * g->kernel[1]);
    w->k = (size_t)(g->kernel[2] * g->in_channels);
    g->kernel[2] = 1;
    if (exact) {
        memcpy(g->in, w->from.in, sizeof(g->in));
        return;
    }
    size_t pixels = (size_t)(g->batch * g->in[0] * g->in[1] * g->in[2]);
    w->copy_bytes = pixels * (size_t)g->in_channels * w->element;
    w->copy_bytes = lt_whole_lines(w->copy_bytes) + 64;
}

bool lt_conv_window_is_matrix(const lt_conv_geometry *g)
{
    bool matrix = true;
    for (int i = 0; i < 3; i++) {
        matrix &= g->kernel[i] == 1 && g->stride[i] == 1 && g->pad[i] == 0 && g->in[i] == g->out[i];
    }
    return matrix;
}

static void plan_shape(lt_conv_window *w, bool exact)
{
    const lt_conv_geometry *g = &w->from;
    w->g = *g;
    w->taps = (size_t)g->taps;
    w->k = (size_t)(g->in_channels / g->groups);
    w->matrix = lt_conv_window_is_matrix(g);
    w->padded = g->groups == 1 && g->in_channels < PADDED_CHANNELS && g->kernel[2] > 1 &&
                g->dilation[2] == 1 && g->pad[0] >= 0 && g->pad[1] >= 0 && g->pad[2] >= 0;
    if (w->padded) {
        plan_padded(w, exact);
    }
}

leat_status lt_conv_window_plan(const lt_conv_geometry *geometry, size_t element, bool exact,
                                const leat_host *host, leat_plan *plan, lt_conv_window *out,
                                leat_error *err)
{
    lt_conv_window w = {.from = *geometry, .element = element};
    plan_shape(&w, exact);
    const lt_conv_geometry *g = &w.g;
    int64_t *offsets = host->plan_alloc(plan, w.taps * sizeof(*offsets));
    if (offsets == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "Conv: no memory for the plan");
    }
    for (int64_t t = 0; t < (int64_t)w.taps; t++) {
        int64_t z = t / (g->kernel[1] * g->kernel[2]) * g->dilation[0];
        int64_t y = t / g->kernel[2] % g->kernel[1] * g->dilation[1];
        int64_t x = t % g->kernel[2] * g->dilation[2];
        offsets[t] = ((z * g->in[1] + y) * g->in[2] + x) * g->in_channels * (int64_t)element;
    }
    w.offsets = offsets;
    w.m = (size_t)(g->batch * g->out[0] * g->out[1] * g->out[2]);
    w.n = (size_t)(g->out_channels / g->groups);
    *out = w;
    return LEAT_OK;
}

/* --- weights ------------------------------------------------------------------------------------
 */

/* [out, in, ky, kx] to [out, ky, kx, in], so that a line of the filter is one tap. */
static void reorder_filter(const lt_conv_window *w, size_t element, const char *weights, char *out)
{
    size_t n = (size_t)w->from.out_channels, ci = (size_t)w->from.in_channels;
    size_t taps = (size_t)w->from.taps;
    for (size_t i = 0; i < n; i++) {
        for (size_t c = 0; c < ci; c++) {
            for (size_t t = 0; t < taps; t++) {
                memcpy(out + ((i * taps + t) * ci + c) * element,
                       weights + ((i * ci + c) * taps + t) * element, element);
            }
        }
    }
}

size_t lt_conv_window_scratch(const lt_conv_window *w, size_t element)
{
    return w->padded ? w->n * w->k * w->taps * element : 0; /* one group */
}

void lt_conv_window_pack(const lt_conv_window *w, const lt_gemm_kernels *kernels,
                         const void *weights, leat_dtype dtype, size_t group_bytes, void *scratch,
                         void *out)
{
    size_t element = lt_cpu_element_bytes(dtype), group = w->n * w->k * w->taps * element;
    size_t panels = lt_gemm_panels(kernels, w->n);
    lt_gemm_source source = {.dtype = dtype,
                             .taps = w->taps,
                             .k = w->k,
                             .n = w->n,
                             .tap_stride = w->padded ? w->k : 1,
                             .row_stride = w->padded ? 1 : w->taps,
                             .column_stride = w->k * w->taps,
                             .scale = 1};
    if (w->padded) {
        reorder_filter(w, element, weights, scratch);
    }
    for (size_t i = 0; i < (size_t)w->from.groups; i++) {
        source.data = w->padded ? (const char *)scratch : (const char *)weights + i * group;
        lt_gemm_pack(kernels, &source, (char *)out + i * group_bytes, 0, panels);
    }
}

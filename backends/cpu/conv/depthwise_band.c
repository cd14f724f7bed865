/* SPDX-License-Identifier: Apache-2.0 */
/* The loops around the depthwise kernel.
 *
 * A band of output lines is computed in columns of a strip's width, and a column from top to
 * bottom, so that the input lines that neighbouring output lines share are still in the first
 * cache:
 *
 *     columns   | strip 0 | strip 1 | strip 2 |     the last one ends with the line, over the one
 *     lines   v | strip 0 | strip 1 | strip 2 |     before where the width does not divide
 *
 * All pixels that a column sees are put into a table of pointers first: [input line][pixel].
 * Channels go in blocks, so that a block's weights and a strip's window stay in the first cache
 * together. */
#include "conv/depthwise.h"

#include <math.h>

/* Weights of one block of channels, and what a strip sees of it. */
#define WEIGHT_BYTES (10u << 10)
#define WINDOW_BYTES (18u << 10)
/* Output lines of one band, at most: bounds the table. */
#define BAND_LINES 64
/* Steps of arithmetic that hide a line's way from memory. */
#define AHEAD_STEPS 400

/* The width of a strip: 7 or 4 by the fewer steps for a whole line; each strip costs about two
 * pixels more. */
static int64_t strip_pixels(const lt_conv_geometry *g)
{
    bool known = (g->kernel[2] == 3 || g->kernel[2] == 5) && g->stride[2] <= 2;
    int64_t w = g->out[2];
    if (g->dilation[2] != 1 || g->in_channels < LT_DEPTHWISE_LEAST || w < 4) {
        return 1;
    }
    return known && w >= 7 && lt_divide_up(w, 7) * 9 <= lt_divide_up(w, 4) * 6 ? 7 : 4;
}

/* Columns of a strip: those that its windows cover, or just the filter's where it is one pixel. */
static int64_t strip_columns(const lt_conv_geometry *g, int64_t pixels)
{
    return (pixels - 1) * g->stride[2] + g->kernel[2];
}

int64_t lt_depthwise_block_channels(const lt_conv_geometry *g)
{
    int64_t weights = WEIGHT_BYTES / (g->taps * 4);
    int64_t window = WINDOW_BYTES / (g->kernel[1] * strip_columns(g, strip_pixels(g)) * 4);
    int64_t most = lt_least(weights, window) / LT_DEPTHWISE_LANES;
    return (most < 2 ? 2 : most) * LT_DEPTHWISE_LANES;
}

static void choose_blocks(lt_depthwise_plan *d)
{
    const lt_conv_geometry *g = &d->g;
    int64_t most = lt_depthwise_block_channels(g) / d->lanes, vectors = g->in_channels / d->lanes;
    d->n_blocks = vectors <= most ? 1 : lt_divide_up(vectors, most);
    int64_t steps = lt_divide_up(vectors, d->n_blocks) * d->n_pixels * g->taps;
    d->ahead = 1 + AHEAD_STEPS / (steps < 1 ? 1 : steps);
}

bool lt_depthwise_takes_bf16(const lt_conv_geometry *g, const lt_cpu_activation *activation,
                             const lt_cpu_device *device)
{
    double low, high;
#if defined(__x86_64__)
    bool known = device->isa == LT_CPU_AVX512 && device->avx512_bf16;
#else
    bool known = false;
    (void)device;
#endif
    return known && g->in_channels >= 2 * LT_DEPTHWISE_LANES && g->in_channels % 2 == 0 &&
           (activation->kind == LT_CPU_ACTIVATION_HARD_SWISH ||
            activation->kind == LT_CPU_ACTIVATION_SCALED_HARD_SWISH ||
            lt_cpu_activation_clamp(activation, &low, &high));
}

static void choose_kernel(lt_depthwise_plan *d, const lt_cpu_device *device, const char **out_name)
{
    d->kernel = lt_depthwise_for(device, d->g.in_channels, out_name);
#if defined(__x86_64__)
    if (d->dtype == LEAT_DTYPE_BF16) {
        d->kernel = lt_cpu_depthwise_bf16_avx512bf16;
        *out_name = "depthwise_bf16_avx512bf16";
    }
#endif
}

leat_status lt_depthwise_plan_make(const lt_conv_geometry *g, const lt_cpu_activation *activation,
                                   const lt_cpu_device *device, const leat_host *host,
                                   leat_plan *plan, lt_depthwise_plan *out, const char **out_name,
                                   leat_error *err)
{
    const bool brain = out->dtype == LEAT_DTYPE_BF16;
    lt_depthwise_plan d = {.g = *g,
                           .dtype = out->dtype,
                           .element = brain ? sizeof(uint16_t) : sizeof(float),
                           .lanes = brain ? 2 * LT_DEPTHWISE_LANES : LT_DEPTHWISE_LANES,
                           .activation = *activation};
    double low = -INFINITY, high = INFINITY;
    if (activation->kind == LT_CPU_ACTIVATION_HARD_SWISH) {
        d.activation.alpha = 1;
        d.activation.beta = 0;
    }
    d.hard_swish = activation->kind == LT_CPU_ACTIVATION_HARD_SWISH ||
                   activation->kind == LT_CPU_ACTIVATION_SCALED_HARD_SWISH;
    if (!d.hard_swish && !lt_cpu_activation_clamp(activation, &low, &high)) {
        d.activate = lt_cpu_activate_tile_for(device);
    }
    d.low = (float)low;
    d.high = (float)high;
    choose_kernel(&d, device, out_name);
    d.n_pixels = strip_pixels(g);
    d.columns = strip_columns(g, d.n_pixels);
    choose_blocks(&d);
    d.most_lines = lt_least(g->out[1], BAND_LINES);
    int64_t lines = (d.most_lines - 1) * g->stride[1] + lt_depthwise_reach(g);
    lines = lt_least(lines, g->in[1]);
    d.table_count = (size_t)((lines < 1 ? 1 : lines) * d.columns);
    size_t zeros_bytes = (size_t)(g->in_channels * d.element);
    void *zeros = host->plan_alloc(plan, zeros_bytes);
    if (zeros == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "Conv: no memory for the plan");
    }
    memset(zeros, 0, zeros_bytes);
    d.zeros = zeros;
    *out = d;
    return LEAT_OK;
}

/* Input lines [r0, r1) that a band sees. */
typedef struct line_range {
    int64_t r0, r1;
} line_range;

static line_range band_lines(const lt_conv_geometry *g, const lt_depthwise_band *b)
{
    line_range range = {b->y0 * g->stride[1] - g->pad[1],
                        (b->y1 - 1) * g->stride[1] - g->pad[1] + lt_depthwise_reach(g)};
    range.r0 = range.r0 < 0 ? 0 : lt_least(range.r0, g->in[1]);
    range.r1 = range.r1 > g->in[1] ? g->in[1] : range.r1;
    range.r1 = range.r1 < range.r0 ? range.r0 : range.r1;
    return range;
}

/* Channels [c0, c1) of a band, and where they lie in x. */
typedef struct channel_range {
    int64_t c0, c1;
    int64_t at;    /* of a pixel's bytes, the first */
    int64_t pixel; /* bytes from one to the next */
} channel_range;

/* Pointers to all pixels that the column of strips at output x0 sees. */
static void fill_table(const lt_depthwise_plan *d, const lt_depthwise_band *b,
                       const channel_range *c, line_range lines, int64_t x0)
{
    const lt_conv_geometry *g = &d->g;
    int64_t first = x0 * g->stride[2] - g->pad[2], step = g->dilation[2];
    int64_t last = first + (d->columns - 1) * step;
    const void **to = b->table;
    for (int64_t r = lines.r0; r < lines.r1; r++, to += d->columns) {
        const char *line =
            (const char *)b->x + (r - b->first) % b->ring * g->in[2] * c->pixel + c->at;
        if (first >= 0 && last < g->in[2]) {
            const char *from = line + first * c->pixel;
            for (int64_t j = 0; j < d->columns; j++) {
                to[j] = from + j * step * c->pixel;
            }
            continue;
        }
        for (int64_t j = 0; j < d->columns; j++) {
            int64_t at = first + j * step;
            to[j] = at >= 0 && at < g->in[2] ? line + at * c->pixel : (const char *)d->zeros;
        }
    }
}

/* The strip of output line y: filter rows outside of the data are left out. `weights` are all of
 * the filter's, from the strip's first channel on. */
static void run_strip(const lt_depthwise_plan *d, const lt_depthwise_band *b, line_range lines,
                      int64_t y, const float *weights, lt_depthwise_strip *strip)
{
    const lt_conv_geometry *g = &d->g;
    int64_t top = y * g->stride[1] - g->pad[1], step = g->dilation[1], ky = 0, end = g->kernel[1];
    while (ky < end && top + ky * step < 0) {
        ky++;
    }
    while (end > ky && top + (end - 1) * step >= g->in[1]) {
        end--;
    }
    strip->kernel_h = end - ky;
    strip->pixels = end > ky ? b->table + (top + ky * step - lines.r0) * d->columns : b->table;
    strip->weights = weights + ky * g->kernel[2] * g->in_channels;
    int64_t next = top + (end - 1) * step + 1 + (d->ahead - 1) * g->stride[1];
    strip->n_ahead = 0;
    if (d->n_pixels > 1 && next + g->stride[1] <= lines.r1) {
        strip->ahead = b->table + (next - lines.r0) * d->columns;
        strip->n_ahead = g->stride[1] * d->columns;
    }
    d->kernel(strip);
    if (d->activate != NULL) {
        const lt_cpu_activation_tile part = {strip->out,   strip->out,     d->n_pixels,
                                             strip->count, g->in_channels, g->in_channels};
        d->activate(&part, &d->activation);
    }
}

static void run_channels(const lt_depthwise_plan *d, const lt_depthwise_band *b,
                         const channel_range *c)
{
    const lt_conv_geometry *g = &d->g;
    line_range lines = band_lines(g, b);
    int64_t channels = g->in_channels, line_bytes = g->out[2] * channels * d->element;
    /* Even and odd channels' weights are apart, as are their biases. */
    int64_t c0 = d->dtype == LEAT_DTYPE_BF16 ? c->c0 / 2 : c->c0;
    lt_depthwise_strip strip = {.row_step = d->columns * g->dilation[1],
                                .bias = d->bias != NULL ? d->bias + c0 : NULL,
                                .channels = channels,
                                .count = c->c1 - c->c0,
                                .n_pixels = d->n_pixels,
                                .kernel_w = g->kernel[2],
                                .stride = d->n_pixels == 1 ? 1 : g->stride[2],
                                .low = d->low,
                                .high = d->high,
                                .hard_swish = d->hard_swish,
                                .alpha = d->activation.alpha,
                                .beta = d->activation.beta};
    for (int64_t x = 0; x < g->out[2]; x += d->n_pixels) {
        int64_t x0 = lt_least(x, g->out[2] - d->n_pixels);
        fill_table(d, b, c, lines, x0);
        for (int64_t y = b->y0; y < b->y1; y++) {
            int64_t first = (x0 * channels + c->c0) * d->element;
            int64_t at = (y - b->y0) * line_bytes + first;
            strip.out = (char *)b->out + at;
            strip.residual = b->residual != NULL ? (const char *)b->residual + at : NULL;
            strip.next_out = y + 1 < b->y1
                                 ? (char *)strip.out + line_bytes
                                 : (char *)b->out + first + d->n_pixels * channels * d->element;
            run_strip(d, b, lines, y, d->weights + c0, &strip);
        }
    }
}

void lt_depthwise_band_run(const lt_depthwise_plan *d, const lt_depthwise_band *b)
{
    int64_t channels = d->g.in_channels, vectors = channels / d->lanes;
    int64_t c0 = b->block * vectors / d->n_blocks * d->lanes;
    bool last = b->block + 1 == d->n_blocks;
    int64_t c1 = last ? channels : (b->block + 1) * vectors / d->n_blocks * d->lanes;
    run_channels(d, b, &(channel_range){c0, c1, c0 * d->element, channels * d->element});
}

void lt_depthwise_part_run(const lt_depthwise_plan *d, const lt_depthwise_band *b, int64_t c0,
                           int64_t c1)
{
    run_channels(d, b, &(channel_range){c0, c1, 0, (c1 - c0) * d->element});
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Plans, packs and runs what depthwise.h says. */
#include "int8/depthwise.h"

/* Cells of a strip: what should stay in the first cache, and what may be on the stack. */
#define NEAR_BYTES (12u << 10)
#define CELL_BYTES (32u << 10)
#define CHANNELS LT_INT8_DEPTHWISE_CHANNELS

static size_t line_count(const lt_conv_geometry *g)
{
    return (size_t)(g->kernel[0] * g->kernel[1]);
}

static size_t cell_bytes(const lt_int8_depthwise *d)
{
    return d->kernels->channels * sizeof(int32_t);
}

/* --- plan ---------------------------------------------------------------------------------------
 */

/* The last line by itself: its cells hold neighbouring columns. */
static bool line_left(const lt_int8_depthwise *d)
{
    return d->kernels->group > 1 && line_count(d->g) % d->kernels->group == 1;
}

static void list_sources(const lt_int8_depthwise *d, lt_int8_depthwise_source *out)
{
    const size_t group = d->kernels->group, lines = line_count(d->g);
    for (size_t i = 0; i < d->column_cells * group; i++) {
        bool alone = line_left(d) && i / group + 1 == d->column_cells;
        size_t line = alone ? lines - 1 : i;
        out[i].z = line < lines ? (int64_t)line / d->g->kernel[1] : -1;
        out[i].y = (int64_t)line % d->g->kernel[1];
        out[i].shift = alone ? (int64_t)(i % group) * d->g->dilation[2] : 0;
    }
}

static void list_steps(const lt_int8_depthwise *d, lt_int8_depthwise_step *out)
{
    const size_t group = d->kernels->group, width = (size_t)d->g->kernel[2];
    for (size_t cell = 0; cell < d->column_cells; cell++) {
        bool alone = line_left(d) && cell + 1 == d->column_cells;
        for (size_t x = 0; x < width; x += alone ? group : 1, out++) {
            out->cell = (uint32_t)(x * (size_t)d->g->dilation[2] * d->column_cells + cell);
            for (size_t t = 0; t < LT_INT8_DEPTHWISE_GROUP; t++) {
                size_t line = alone ? cell * group : cell * group + t, column = alone ? x + t : x;
                bool there = t < group && line < line_count(d->g) && column < width;
                out->tap[t] = there ? (int16_t)(line * width + column) : -1;
            }
        }
    }
}

static size_t step_count(const lt_int8_depthwise *d)
{
    const size_t group = d->kernels->group, width = (size_t)d->g->kernel[2];
    return line_left(d) ? (d->column_cells - 1) * width + (width + group - 1) / group
                        : d->column_cells * width;
}

/* Most outputs whose cells fit; 0: not even one. */
static size_t choose_strip(const lt_int8_depthwise *d)
{
    const lt_conv_geometry *g = d->g;
    const int64_t reach = (g->kernel[2] - 1) * g->dilation[2] + 1;
    const int64_t column = (int64_t)(d->column_cells * cell_bytes(d));
    if (g->dilation[2] > (int64_t)CELL_BYTES || g->stride[2] > (int64_t)CELL_BYTES ||
        reach * column > (int64_t)CELL_BYTES) {
        return 0;
    }
    int64_t few = (int64_t)(CELL_BYTES - (size_t)(reach * column)) / (g->stride[2] * column) + 1;
    int64_t many = ((int64_t)NEAR_BYTES - reach * column) / (g->stride[2] * column) + 1;
    few = few < 8 ? few : 8; /* so many even where they leave the first cache */
    return (size_t)(many > few ? many : few);
}

static void choose_kernels(const lt_cpu_device *device, bool narrow, lt_int8_depthwise *d)
{
    d->kernels = &lt_cpu_depthwise_u8s32_16_portable;
    d->tail = d->kernels;
#if defined(__x86_64__)
    if (device->avx512_vnni && narrow) {
        d->kernels = &lt_cpu_depthwise_u8s8_64_avx512vnni;
        d->tail = &lt_cpu_depthwise_u8s8_32_avx512vnni;
    } else if (device->avx_vnni && narrow) {
        d->kernels = d->tail = &lt_cpu_depthwise_u8s8_32_avxvnni;
    } else if (device->isa >= LT_CPU_AVX2) {
        d->kernels = d->tail = &lt_cpu_depthwise_u8s16_32_avx2;
    }
#endif
    (void)device;
    (void)narrow;
    if ((size_t)d->g->in_channels <= d->tail->channels) {
        d->kernels = d->tail;
    }
}

leat_status lt_int8_depthwise_plan(const lt_conv_geometry *g, const lt_cpu_device *device,
                                   bool narrow, const leat_host *host, leat_plan *plan,
                                   lt_int8_depthwise *out, bool *out_fits, leat_error *err)
{
    lt_int8_depthwise d = {.g = g};
    *out_fits = false;
    if (g->taps > LT_INT8_DEPTHWISE_TAPS) {
        return LEAT_OK;
    }
    choose_kernels(device, narrow, &d);
    d.product = lt_int8_kernels_for(device, 1);
    const size_t group = d.kernels->group;
    d.column_cells = (line_count(g) + group - 1) / group;
    d.n_sources = d.column_cells * group;
    d.n_steps = step_count(&d);
    d.strip = choose_strip(&d);
    if (d.strip == 0) {
        return LEAT_OK;
    }
    lt_int8_depthwise_source *sources = host->plan_alloc(plan, d.n_sources * sizeof(*sources));
    lt_int8_depthwise_step *steps = host->plan_alloc(plan, d.n_steps * sizeof(*steps));
    if (sources == NULL || steps == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "QConv: no memory for the plan");
    }
    list_sources(&d, sources);
    list_steps(&d, steps);
    d.sources = sources;
    d.steps = steps;
    *out = d;
    *out_fits = true;
    return LEAT_OK;
}

/* --- blocks of channels -------------------------------------------------------------------------
 */

static size_t block_count(const lt_int8_depthwise *d)
{
    return ((size_t)d->g->in_channels + d->kernels->channels - 1) / d->kernels->channels;
}

/* The kernel of the block that begins with channel c. */
static const lt_int8_depthwise_kernels *kernels_at(const lt_int8_depthwise *d, size_t c)
{
    return (size_t)d->g->in_channels - c <= d->tail->channels ? d->tail : d->kernels;
}

/* Channel of a block of the element at place i of its order. */
static size_t channel_at(size_t channels, size_t i)
{
    size_t lanes = channels / 16;
    return i / 4 % lanes * 16 + i / (4 * lanes) * 4 + i % 4;
}

size_t lt_int8_depthwise_packed_bytes(const lt_int8_depthwise *d)
{
    size_t bytes;
    return __builtin_mul_overflow(block_count(d) * cell_bytes(d), d->n_steps, &bytes) ? 0 : bytes;
}

/* One weight of a unit. */
static void put_weight(uint32_t group, int32_t value, size_t t, char *unit)
{
    if (group == 4) {
        ((int8_t *)unit)[t] = (int8_t)value;
    } else if (group == 2) {
        ((int16_t *)(void *)unit)[t] = (int16_t)value;
    } else {
        *(int32_t *)(void *)unit = value;
    }
}

void lt_int8_depthwise_pack(const lt_int8_depthwise *d, const void *weights, leat_dtype dtype,
                            const void *zeros, size_t n_zeros, void *out)
{
    const size_t all = (size_t)d->g->in_channels, taps = (size_t)d->g->taps;
    const bool u8 = dtype == LEAT_DTYPE_U8;
    memset(out, 0, lt_int8_depthwise_packed_bytes(d));
    for (size_t c0 = 0; c0 < all; c0 += d->kernels->channels) {
        const lt_int8_depthwise_kernels *kernels = kernels_at(d, c0);
        char *unit = (char *)out + c0 * sizeof(int32_t) * d->n_steps;
        for (size_t i = 0; i < d->n_steps * kernels->channels; i++, unit += sizeof(int32_t)) {
            const int16_t *tap = d->steps[i / kernels->channels].tap;
            size_t c = c0 + channel_at(kernels->channels, i % kernels->channels);
            for (size_t t = 0; c < all && t < kernels->group; t++) {
                if (tap[t] < 0) {
                    continue;
                }
                size_t at = c * taps + (size_t)tap[t], zero_at = n_zeros > 1 ? c : 0;
                int32_t v = u8 ? ((const uint8_t *)weights)[at] : ((const int8_t *)weights)[at];
                if (n_zeros != 0) {
                    v -= u8 ? ((const uint8_t *)zeros)[zero_at] : ((const int8_t *)zeros)[zero_at];
                }
                put_weight(kernels->group, v, t, unit);
            }
        }
    }
}

/* What depends on the block alone, in its order. */
typedef struct block {
    _Alignas(64) int32_t offset[CHANNELS];
    _Alignas(64) float scale[CHANNELS];
    _Alignas(64) float bias[CHANNELS];
    const lt_int8_depthwise_kernels *kernels;
    size_t channel;
} block;

static void order(const void *from, size_t channel, size_t channels, void *to)
{
    for (size_t i = 0; i < channels; i += 4) {
        size_t bytes = 4 * sizeof(float), at = channel + channel_at(channels, i);
        if (from != NULL) {
            memcpy((char *)to + i * sizeof(float), (const char *)from + at * sizeof(float), bytes);
        } else {
            memset((char *)to + i * sizeof(float), 0, bytes);
        }
    }
}

static void load_block(const lt_int8_depthwise_call *call, size_t channel, block *b)
{
    b->channel = channel;
    b->kernels = kernels_at(call->d, channel);
    order(call->offset, channel, b->kernels->channels, b->offset);
    order(call->epilogue->scale, channel, b->kernels->channels, b->scale);
    order(call->epilogue->bias, channel, b->kernels->channels, b->bias);
}

/* --- run ----------------------------------------------------------------------------------------
 */

/* The lines of the data that line `y` of the output (counted over z and images) reads. */
static void find_lines(const lt_int8_depthwise_call *call, const block *b, int64_t y,
                       lt_int8_depthwise_line *out)
{
    const lt_int8_depthwise *d = call->d;
    const lt_conv_geometry *g = d->g;
    const int64_t oy = y % g->out[1], oz = y / g->out[1] % g->out[0];
    const int64_t image = y / (g->out[1] * g->out[0]);
    for (size_t i = 0; i < d->n_sources; i++) {
        const lt_int8_depthwise_source *s = &d->sources[i];
        int64_t iz = oz * g->stride[0] - g->pad[0] + s->z * g->dilation[0];
        int64_t iy = oy * g->stride[1] - g->pad[1] + s->y * g->dilation[1];
        bool inside = s->z >= 0 && iz >= 0 && iz < g->in[0] && iy >= 0 && iy < g->in[1];
        int64_t pixel = ((image * g->in[0] + iz) * g->in[1] + iy) * g->in[2];
        out[i].shift = s->shift;
        out[i].step = inside ? (size_t)g->in_channels : 0;
        out[i].at = inside ? call->data + pixel * g->in_channels + b->channel : call->outside;
    }
}

/* One line of the output, in strips. */
static void run_line(const lt_int8_depthwise_call *call, const block *b, int64_t y, void *cells)
{
    const lt_int8_depthwise *d = call->d;
    const lt_conv_geometry *g = d->g;
    lt_int8_depthwise_line lines[LT_INT8_DEPTHWISE_TAPS + LT_INT8_DEPTHWISE_GROUP];
    const size_t channels = (size_t)g->in_channels, left = channels - b->channel;
    const size_t width = (size_t)g->out[2], strips = (width + d->strip - 1) / d->strip;
    const size_t reach = (size_t)((g->kernel[2] - 1) * g->dilation[2] + 1);
    lt_int8_depthwise_strip s = {.lines = lines,
                                 .steps = d->steps,
                                 .weights = call->packed + b->channel * 4 * d->n_steps,
                                 .offset = b->offset,
                                 .scale = b->scale,
                                 .bias = b->bias,
                                 .outside = call->outside,
                                 .cells = cells,
                                 .column_cells = d->column_cells,
                                 .n_steps = d->n_steps,
                                 .stride = (size_t)g->stride[2],
                                 .width = g->in[2],
                                 .element = call->element,
                                 .finish = b->kernels->finish,
                                 .activate = call->activate,
                                 .activation = call->activation};
    s.tile = (lt_gemm_tile){.ldc = channels, .column = b->channel, .epilogue = call->epilogue};
    s.tile.n = (uint32_t)(left < b->kernels->channels ? left : b->kernels->channels);
    find_lines(call, b, y, lines);
    for (size_t i = 0; i < strips; i++) {
        size_t first = i * width / strips;
        s.outputs = (i + 1) * width / strips - first;
        s.columns = (s.outputs - 1) * s.stride + reach;
        s.column = (int64_t)first * g->stride[2] - g->pad[2];
        s.tile.row = (size_t)y * width + first;
        s.tile.c = call->result + (s.tile.row * channels + b->channel) * call->element;
        b->kernels->strip(&s);
    }
}

static void run_lines(const lt_int8_depthwise_call *call, size_t index, int64_t begin, int64_t end,
                      char *cells)
{
    block b;
    load_block(call, index * call->d->kernels->channels, &b);
    for (int64_t y = begin; y < end; y++) {
        run_line(call, &b, y, cells);
    }
}

static int64_t count_lines(const lt_conv_geometry *g)
{
    return g->batch * g->out[0] * g->out[1];
}

/* Items count lines of the output, then blocks of channels. */
static void run_items(void *argument, int64_t begin, int64_t end)
{
    const lt_int8_depthwise_call *call = argument;
    const int64_t lines = count_lines(call->d->g);
    _Alignas(64) char cells[CELL_BYTES];
    for (int64_t i = begin, next; i < end; i = next) {
        next = (i / lines + 1) * lines < end ? (i / lines + 1) * lines : end;
        run_lines(call, (size_t)(i / lines), i % lines, i % lines + next - i, cells);
    }
}

/* Items are lines of the output with all their channels. */
static void run_whole_lines(void *argument, int64_t begin, int64_t end)
{
    const lt_int8_depthwise_call *call = argument;
    _Alignas(64) char cells[CELL_BYTES];
    for (size_t i = 0; i < block_count(call->d); i++) {
        run_lines(call, i, begin, end, cells);
    }
}

/* Threads share lines, or channels of all lines, as those of the product in front share its result,
 * so that each finds what it wrote. */
void lt_int8_depthwise_run(const lt_int8_depthwise_call *call, const leat_kernel_args *args)
{
    const lt_conv_geometry *g = call->d->g;
    lt_int8_depthwise_call copy = *call;
    const int64_t lines = count_lines(g), blocks = (int64_t)block_count(call->d);
    const int64_t pixels = g->batch * g->in[0] * g->in[1] * g->in[2];
    const bool whole = lt_gemm_shares_rows(call->d->product, (size_t)pixels, (size_t)g->in_channels,
                                           args->host->pool_threads(args->pool));
    /* About as many bytes as products and sums of bytes take time. */
    double cost = 2.0 * (double)g->out[2] * (double)call->d->kernels->channels * (double)g->taps;
    if (whole) {
        lt_cpu_parallel_range(args, lines, 1, cost * (double)blocks, run_whole_lines, &copy);
    } else {
        lt_cpu_parallel_range(args, lines * blocks, 1, cost, run_items, &copy);
    }
}

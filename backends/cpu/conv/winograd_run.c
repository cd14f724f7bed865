/* SPDX-License-Identifier: Apache-2.0 */
/* Running a Winograd convolution; see winograd.h.
 *
 * Workspace of a block in work, rows padded so that neither the tiles of a position nor the
 * positions of a tile fall into one set of the first cache:
 *
 *     V [position][tile][lda]  M [position][tile][ldm]
 *
 * The products take one position after the other, so that its rows of V stay in the first cache
 * while all panels of its weights pass, each read once a block. */
#include "conv/winograd.h"

#include <math.h>

typedef struct launch {
    const lt_winograd *w;
    const char *x;
    const char *residual;
    char *y;
    char *workspace;
} launch;

/* Channels that are converted at a time: those of a patch fit the first cache. */
#define PIECE 64

/* One block of tiles in work. */
typedef struct block {
    const launch *l;
    size_t group;
    size_t first, count; /* tiles */
    float *v, *m;
} block;

static block open_block(const launch *l, size_t group, size_t index, char *workspace)
{
    const lt_winograd *w = l->w;
    size_t tiles = w->tiles, blocks = w->blocking.blocks;
    size_t first = tiles * index / blocks;
    float *v = (float *)(void *)workspace;
    return (block){.l = l,
                   .group = group,
                   .first = first,
                   .count = tiles * (index + 1) / blocks - first,
                   .v = v,
                   .m = v + w->positions * w->v_stride};
}

/* Image, row and column (in tiles) of a tile. */
typedef struct place {
    size_t image, y, x;
} place;

static place place_of(const lt_winograd *w, size_t tile)
{
    return (place){tile / (w->tiles_y * w->tiles_x), tile / w->tiles_x % w->tiles_y,
                   tile % w->tiles_x};
}

/* --- the three steps ---------------------------------------------------------------------------
 */

/* Where the pixels of a tile's patch lie, from the group's channel c0 on; NULL outside. */
static void find_pixels(const block *b, size_t tile, size_t c0, const char **pixels)
{
    const lt_winograd *w = b->l->w;
    const lt_conv_geometry *g = &w->conv.g;
    const int alpha = w->kernels->alpha, size = w->kernels->tile;
    const int64_t element = (int64_t)lt_cpu_element_bytes(w->conv.dtype);
    place at = place_of(w, b->first + tile);
    int64_t y0 = (int64_t)at.y * size - g->pad[1], x0 = (int64_t)at.x * size - g->pad[2];
    int64_t image = (int64_t)at.image * g->in[1] * g->in[2];
    const char *x = b->l->x + (int64_t)(b->group * w->in + c0) * element;
    for (int i = 0; i < alpha; i++) {
        bool line = y0 + i >= 0 && y0 + i < g->in[1];
        int64_t row = image + (y0 + i) * g->in[2] + x0;
        for (int j = 0; j < alpha; j++) {
            bool inside = line && x0 + j >= 0 && x0 + j < g->in[2];
            pixels[i * alpha + j] = inside ? x + (row + j) * g->in_channels * element : NULL;
        }
    }
}

/* One patch of f16 or bf16, a piece of the channels at a time. */
static void transform_narrow(const lt_winograd *w, const char *const *pixels,
                             lt_winograd_patch patch)
{
    float wide[36][PIECE];
    const float *rows[36];
    int64_t channels = patch.channels;
    patch.pixels = rows;
    for (int64_t c = 0; c < channels; c += PIECE) {
        patch.channels = channels - c < PIECE ? channels - c : PIECE;
        for (size_t i = 0; i < w->positions; i++) {
            rows[i] = w->zeros;
            if (pixels[i] != NULL) {
                w->half->widen(w->conv.dtype, pixels[i] + 2 * c, wide[i], patch.channels);
                rows[i] = wide[i];
            }
        }
        w->kernels->input(&patch);
        patch.v += PIECE;
    }
}

/* Channels [c0, c1) of tiles [t0, t1) of the block to V. */
static void transform_input(const block *b, size_t t0, size_t t1, size_t c0, size_t c1)
{
    const lt_winograd *w = b->l->w;
    const char *pixels[36];
    const float *rows[36];
    lt_winograd_patch patch = {
        .pixels = rows, .position_stride = w->v_stride, .channels = (int64_t)(c1 - c0)};
    for (size_t t = t0; t < t1; t++) {
        find_pixels(b, t, c0, pixels);
        patch.v = b->v + t * w->lda + c0;
        if (w->conv.dtype != LEAT_DTYPE_F32) {
            transform_narrow(w, pixels, patch);
            continue;
        }
        for (size_t i = 0; i < w->positions; i++) {
            rows[i] = pixels[i] ? (const float *)(const void *)pixels[i] : w->zeros;
        }
        w->kernels->input(&patch);
    }
}

/* Asks the products of panel `tile->b`, whose position is p, for what comes behind it: the next
 * panel, or the first of the next position. Each of `cuts` products asks for a part. */
static void expect_behind(const block *b, size_t p, bool last_panel, size_t cuts,
                          lt_gemm_tile *tile)
{
    const lt_winograd *w = b->l->w;
    const float *panel = tile->b;
    if (!w->blocking.ahead || (last_panel && p + 1 == w->positions)) {
        tile->next = NULL;
        return;
    }
    tile->next = last_panel ? panel - tile->column * w->in + w->u_stride : panel + tile->n * w->in;
    tile->next_step = (w->gemm->nr * sizeof(float) + cuts - 1) / cuts;
}

/* Panels [p0, p1) of positions [first, last). The tiles are cut evenly: a short last tile would
 * load as much of the panel for fewer products. */
static void multiply(const block *b, size_t first, size_t last, size_t p0, size_t p1)
{
    const lt_winograd *w = b->l->w;
    const lt_gemm_kernels *gemm = w->gemm;
    const float *weights = (const float *)w->conv.weights + b->group * w->u_group;
    size_t cuts = (b->count + gemm->mr - 1) / gemm->mr;
    const void *rows[LT_GEMM_MAX_MR];
    lt_gemm_tile tile = {
        .rows = rows, .taps = 1, .k = w->in, .ldc = w->ldm, .low = -INFINITY, .high = INFINITY};
    for (size_t p = first; p < last; p++) {
        const float *v = b->v + p * w->v_stride;
        float *m = b->m + p * w->m_stride;
        for (size_t panel = p0; panel < p1; panel++) {
            size_t column = panel * gemm->nr;
            bool full = w->out - column > gemm->nr / 2;
            const lt_gemm_kernel_fn *table = full ? gemm->full : gemm->half;
            tile.n = full ? gemm->nr : gemm->nr / 2; /* M has room for whole panels */
            tile.b = weights + p * w->u_stride + column * w->in;
            tile.column = column;
            expect_behind(b, p, column + gemm->nr >= w->out, cuts, &tile);
            for (size_t i = 0; i < cuts; i++) {
                size_t t0 = b->count * i / cuts, count = b->count * (i + 1) / cuts - t0;
                for (size_t r = 0; r < count; r++) {
                    rows[r] = v + (t0 + r) * w->lda;
                }
                tile.row = t0;
                tile.c = m + t0 * w->ldm + column;
                table[count - 1](&tile);
                tile.next = tile.next ? (const char *)tile.next + tile.next_step * w->in : NULL;
            }
        }
    }
}

/* An activation that is no clamp, over what one tile has stored. */
static void activate(const lt_winograd *w, const lt_winograd_tile *tile)
{
    bool dense = tile->pixel_stride == (size_t)tile->channels;
    int64_t n = dense ? tile->channels * tile->columns : tile->channels;
    for (int i = 0; i < tile->rows; i++) {
        for (int j = 0; j < (dense ? 1 : tile->columns); j++) {
            w->activate(tile->y + (size_t)i * tile->row_stride + (size_t)j * tile->pixel_stride, n,
                        &w->conv.activation);
        }
    }
}

/* A tile whose output or residual is not f32, by way of f32 ones of a piece of the channels.
 * `offset`: of its first element in Y. */
static void store_narrow(const block *b, lt_winograd_tile tile, size_t offset)
{
    const lt_winograd *w = b->l->w;
    const size_t size = (size_t)w->kernels->tile, row = tile.row_stride, pixel = tile.pixel_stride;
    const size_t element = lt_cpu_element_bytes(w->conv.y_dtype);
    const size_t added = lt_cpu_element_bytes(w->conv.residual_dtype);
    float wide[16 * PIECE], residual[16 * PIECE];
    int64_t channels = tile.channels;
    tile.y = wide;
    tile.residual = b->l->residual ? residual : NULL;
    tile.pixel_stride = PIECE;
    tile.row_stride = size * PIECE;
    for (int64_t c = 0; c < channels; c += PIECE, offset += PIECE) {
        tile.channels = channels - c < PIECE ? channels - c : PIECE;
        for (size_t i = 0; i < size * size && tile.residual != NULL; i++) {
            size_t y = i / size, x = i % size, at = offset + y * row + x * pixel;
            if (y < (size_t)tile.rows && x < (size_t)tile.columns) {
                w->half->widen(w->conv.residual_dtype, b->l->residual + at * added,
                               residual + i * PIECE, tile.channels);
            }
        }
        w->kernels->output(&tile);
        if (w->activate != NULL) {
            activate(w, &tile);
        }
        for (size_t i = 0; i < (size_t)tile.rows * (size_t)tile.columns; i++) {
            size_t y = i / (size_t)tile.columns, x = i % (size_t)tile.columns;
            w->half->narrow(w->conv.y_dtype, wide + (y * size + x) * PIECE,
                            b->l->y + (offset + y * row + x * pixel) * element, tile.channels);
        }
        tile.m += PIECE;
        tile.bias += tile.bias ? PIECE : 0;
    }
}

/* Channels [c0, c1) of tiles [t0, t1) of the block to Y. */
static void transform_output(const block *b, size_t t0, size_t t1, size_t c0, size_t c1)
{
    const lt_winograd *w = b->l->w;
    const lt_conv_geometry *g = &w->conv.g;
    const size_t size = (size_t)w->kernels->tile, first = b->group * w->out + c0;
    const size_t height = (size_t)g->out[1], width = (size_t)g->out[2];
    const bool plain = w->conv.y_dtype == LEAT_DTYPE_F32 &&
                       (b->l->residual == NULL || w->conv.residual_dtype == LEAT_DTYPE_F32);
    lt_winograd_tile tile = {.position_stride = w->m_stride,
                             .bias = w->conv.bias ? (const float *)w->conv.bias + first : NULL,
                             .row_stride = width * (size_t)g->out_channels,
                             .pixel_stride = (size_t)g->out_channels,
                             .channels = (int64_t)(c1 - c0),
                             .clamp = w->clamp,
                             .low = w->low,
                             .high = w->high};
    for (size_t t = t0; t < t1; t++) {
        place at = place_of(w, b->first + t);
        size_t y = at.y * size, x = at.x * size;
        size_t offset = ((at.image * height + y) * width + x) * tile.pixel_stride + first;
        tile.m = b->m + t * w->ldm + c0;
        tile.rows = (int)(height - y < size ? height - y : size);
        tile.columns = (int)(width - x < size ? width - x : size);
        if (!plain) {
            store_narrow(b, tile, offset);
            continue;
        }
        tile.y = (float *)(void *)b->l->y + offset;
        tile.residual =
            b->l->residual ? (const float *)(const void *)b->l->residual + offset : NULL;
        w->kernels->output(&tile);
        if (w->activate != NULL) {
            activate(w, &tile);
        }
    }
}

/* --- a block a task ----------------------------------------------------------------------------
 */

static void run_block(void *argument, uint32_t task, uint32_t thread)
{
    const launch *l = argument;
    const lt_winograd *w = l->w;
    size_t blocks = w->blocking.blocks;
    block b = open_block(l, task / blocks, task % blocks, l->workspace + thread * w->block_bytes);
    transform_input(&b, 0, b.count, 0, w->in);
    multiply(&b, 0, w->positions, 0, lt_gemm_panels(w->gemm, w->out));
    transform_output(&b, 0, b.count, 0, w->out);
}

/* --- all threads on one block ------------------------------------------------------------------
 */

/* Channels of one item of the transforms. */
#define CHUNK 128u

static size_t chunks(size_t channels)
{
    return (channels + CHUNK - 1) / CHUNK;
}

typedef void (*step_fn)(const block *b, size_t t0, size_t t1, size_t c0, size_t c1);

/* Items [begin, end) of a transform: chunks of channels of tiles, the chunks of one tile together.
 */
static void run_items(const block *b, size_t channels, step_fn step, int64_t begin, int64_t end)
{
    size_t n = chunks(channels);
    for (size_t item = (size_t)begin; item < (size_t)end; item++) {
        size_t t = item / n, c0 = item % n * CHUNK;
        size_t c1 = c0 + CHUNK < channels ? c0 + CHUNK : channels;
        step(b, t, t + 1, c0, c1);
    }
}

static void input_items(void *argument, int64_t begin, int64_t end)
{
    const block *b = argument;
    run_items(b, b->l->w->in, transform_input, begin, end);
}

static void output_items(void *argument, int64_t begin, int64_t end)
{
    const block *b = argument;
    run_items(b, b->l->w->out, transform_output, begin, end);
}

static void run_position(void *argument, uint32_t task, uint32_t thread)
{
    const block *b = argument;
    const lt_winograd *w = b->l->w;
    size_t parts = w->blocking.parts, panels = lt_gemm_panels(w->gemm, w->out);
    size_t position = task / parts, part = task % parts;
    (void)thread;
    multiply(b, position, position + 1, panels * part / parts, panels * (part + 1) / parts);
}

static void run_phases(const launch *l, size_t group, const leat_kernel_args *args)
{
    const lt_winograd *w = l->w;
    block b = open_block(l, group, 0, l->workspace);
    double in_bytes = (double)(w->positions * CHUNK) * sizeof(float);
    lt_cpu_parallel_range(args, (int64_t)(w->tiles * chunks(w->in)), 1, in_bytes, input_items, &b);
    args->host->parallel(args->pool, (uint32_t)(w->positions * w->blocking.parts), run_position,
                         &b);
    lt_cpu_parallel_range(args, (int64_t)(w->tiles * chunks(w->out)), 1, in_bytes, output_items,
                          &b);
}

leat_status lt_winograd_launch(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const lt_winograd *w = state;
    launch l = {.w = w, .x = args->inputs[0], .y = args->outputs[0], .workspace = args->workspace};
    (void)err;
    if (w->conv.residual_input != LEAT_NO_VALUE) {
        l.residual = args->inputs[w->conv.residual_input];
    }
    size_t groups = (size_t)w->conv.g.groups;
    if (w->blocking.phases) {
        for (size_t i = 0; i < groups; i++) {
            run_phases(&l, i, args);
        }
        return LEAT_OK;
    }
    uint32_t tasks = (uint32_t)(groups * w->blocking.blocks);
    if (tasks == 1) {
        run_block(&l, 0, 0);
    } else {
        args->host->parallel(args->pool, tasks, run_block, &l);
    }
    return LEAT_OK;
}

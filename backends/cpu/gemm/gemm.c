/* SPDX-License-Identifier: Apache-2.0 */
/* The loops around the micro-kernel.
 *
 * C is cut into tiles of nearly equal height, at most mr rows. A task takes a range of tiles and of
 * panels. It goes through blocks of tiles, within them through chunks of k, so that the block's
 * part of A (A_BLOCK_BYTES at most) stays in the second-level cache while all panels pass. The
 * chunks after the first add to C. Then there are two orders:
 *
 *   panels outermost  a panel's chunk comes from memory once a block, serves all the block's tiles,
 *                     and the next one is asked for meanwhile
 *   tiles outermost   where all of B stays in the second-level cache: rows of C are then written
 *                     from end to end, and the next rows of A are asked for
 *
 * Rows whose distance is a multiple of a large power of two fall into few sets of the first cache;
 * such tiles are copied to rows of a friendlier distance first: one copy for n / nr uses. */
#include "gemm/gemm.h"

#include "sizes.h"

#include <math.h>

#define A_BLOCK_BYTES (320u << 10)
/* B that may stay in the second-level cache beside a tile of A, of 4-byte and of narrower types. */
#define B_RESIDENT_BYTES (256u << 10)
#define B_RESIDENT_NARROW (128u << 10)
/* A residual that no cache has kept. */
#define FAR_BYTES (8u << 20)
#define CHUNK_ROW_BYTES 4096u
#define MAX_BLOCK_TILES 16u
/* Tasks a thread, so that a slow core can be helped. */
#define TASKS_PER_THREAD 4u
/* Tiles that a task of rows has at least, if threads leave it as many, where B passes from afar for
 * every task. */
#define FAR_TASK_TILES 6u
/* Tiles that one call of kernels->chain gets. */
#define MAX_CHAIN 16u
/* Of a tile's rows, how many may share a set of the first cache (of 64 sets, 8 ways at least). */
#define MAX_SAME_SET 5

/* How a job is cut. */
typedef struct blocking {
    size_t tiles;
    size_t block_tiles;
    size_t chunk_taps; /* of several; or ... */
    size_t chunk_k;    /* ... elements of the only tap */
    size_t chunks;
    size_t copy_k;       /* distance of taps in the copy, elements */
    size_t rows_bytes;   /* of the pointer table */
    size_t thread_bytes; /* workspace of one thread */
} blocking;

/* Rows that the kernel cannot read where they are. */
static bool rows_unfit(const lt_gemm_job *job)
{
    return job->copy != NULL || (job->k % job->kernels->k_group != 0 && !job->kernels->any_k);
}

/* Chunks of about CHUNK_ROW_BYTES a row, when all of A is too much for one block. */
static void choose_chunks(const lt_gemm_job *job, blocking *b)
{
    const lt_gemm_kernels *kernels = job->kernels;
    size_t k = lt_gemm_padded_k(kernels, job->k), row_bytes = k * kernels->a_bytes;
    b->chunk_taps = job->taps;
    b->chunk_k = k;
    b->chunks = 1;
    if (!kernels->accumulates || job->m * row_bytes * job->taps <= A_BLOCK_BYTES) {
        return;
    }
    if (job->taps > 1) {
        size_t want =
            lt_divide_size_up(row_bytes * job->taps, CHUNK_ROW_BYTES + CHUNK_ROW_BYTES / 2);
        b->chunk_taps = lt_divide_size_up(job->taps, want < job->taps ? want : job->taps);
        b->chunks = lt_divide_size_up(job->taps, b->chunk_taps);
    } else {
        size_t want = lt_divide_size_up(row_bytes, CHUNK_ROW_BYTES + CHUNK_ROW_BYTES / 2);
        b->chunk_k = lt_gemm_padded_k(kernels, lt_divide_size_up(k, want));
        b->chunks = lt_divide_size_up(k, b->chunk_k);
    }
}

static blocking choose_blocking(const lt_gemm_job *job)
{
    blocking b;
    const lt_gemm_kernels *kernels = job->kernels;
    choose_chunks(job, &b);
    b.tiles = lt_divide_size_up(job->m, kernels->mr);
    size_t tile_bytes = kernels->mr * b.chunk_k * b.chunk_taps * kernels->a_bytes;
    size_t fit = tile_bytes ? A_BLOCK_BYTES / tile_bytes : MAX_BLOCK_TILES;
    fit = fit < 1 ? 1 : fit > MAX_BLOCK_TILES ? MAX_BLOCK_TILES : fit;
    size_t blocks = lt_divide_size_up(b.tiles, fit);
    b.block_tiles = blocks ? lt_divide_size_up(b.tiles, blocks) : 1;
    b.copy_k = b.chunk_k + 64 / kernels->a_bytes;
    b.rows_bytes = lt_whole_lines(b.block_tiles * job->taps * LT_GEMM_MAX_MR * sizeof(void *));
    size_t rows = b.block_tiles * kernels->mr;
    b.thread_bytes =
        64 + b.rows_bytes + lt_whole_lines(rows * b.chunk_taps * b.copy_k * kernels->a_bytes);
    return b;
}

size_t lt_gemm_workspace(const lt_gemm_job *job, uint32_t threads)
{
    return choose_blocking(job).thread_bytes * threads;
}

typedef struct runner {
    const lt_gemm_job *job;
    blocking blocking;
    char *workspace;
    double low, high;
    size_t k;           /* of a tap, in whole groups */
    size_t panel_bytes; /* of a whole panel */
    bool activate;      /* by function, after the tile */
    bool by_kernel;     /* likewise costly, but the kernel's own */
    bool tiles_outermost;
    bool chained;      /* whole tiles go to kernels->chain */
    bool far_residual; /* and contiguous */
    size_t tile_rows, higher_tiles;
    size_t panels;
    size_t c_column;               /* of the product, with which C and the residual begin */
    size_t row_tasks, panel_tasks; /* one of them is 1 */
} runner;

/* The first row of a tile: the first ones are a row higher where the tiles do not divide them. */
static size_t tile_row(const runner *run, size_t tile)
{
    return tile * run->tile_rows + (tile < run->higher_tiles ? tile : run->higher_tiles);
}

/* --- rows ---------------------------------------------------------------------------------------
 */

/* A chunk of k for a block of tiles, in one task. */
typedef struct chunk {
    size_t index;
    size_t tap, taps; /* first and how many */
    size_t k0, k;     /* first and how many elements of a tap */
    size_t t0, t1;    /* tiles of the block */
    size_t p0, p1;    /* panels of the task */
    const void **rows;
    char *copies;
} chunk;

static const void **tile_rows(const runner *run, const chunk *c, size_t tile)
{
    return c->rows + ((tile - c->t0) * run->job->taps + c->tap) * LT_GEMM_MAX_MR;
}

static void plain_rows(const lt_gemm_job *job, size_t first, size_t count, size_t k0,
                       const void **rows)
{
    size_t element = job->copy != NULL ? job->copy_bytes : job->kernels->a_bytes;
    for (size_t i = 0; i < count; i++) {
        rows[i] = (const char *)job->a + ((first + i) * job->lda + k0) * element;
    }
}

/* To element k0 of the only tap. */
static void advance_rows(const lt_gemm_job *job, size_t count, size_t k0, const void **rows)
{
    size_t element = job->copy != NULL ? job->copy_bytes : job->kernels->a_bytes;
    for (size_t i = 0; i < count && k0 != 0; i++) {
        rows[i] = (const char *)rows[i] + k0 * element;
    }
}

static bool rows_collide(const lt_gemm_job *job, const void **rows, size_t count)
{
    uint8_t used[64] = {0};
    if (job->n <= 2 * job->kernels->nr) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (++used[(uintptr_t)rows[i] / 64 % 64] > MAX_SAME_SET) {
            return true;
        }
    }
    return false;
}

/* Copies the rows of one tile to `to`, in the kernels' type and whole groups, and points at the
 * copies. */
static void copy_rows(const runner *run, const chunk *c, size_t first, size_t count,
                      const void **rows, char *to)
{
    const lt_gemm_job *job = run->job;
    size_t element = job->kernels->a_bytes;
    size_t fill = (lt_gemm_padded_k(job->kernels, c->k) - c->k) * element;
    for (size_t i = 0; i < count; i++) {
        for (size_t t = 0; t < c->taps; t++) {
            const void **row = &rows[t * LT_GEMM_MAX_MR + i];
            memset(to + c->k * element, 0, fill);
            if (job->copy != NULL) {
                job->copy(job->copy_argument, *row, first + i, c->k, to);
            } else {
                memcpy(to, *row, c->k * element);
            }
            *row = to;
            to += run->blocking.copy_k * element;
        }
    }
}

/* Row pointers of a block's tiles for one chunk. */
static void prepare_rows(const runner *run, const chunk *c)
{
    const lt_gemm_job *job = run->job;
    const blocking *b = &run->blocking;
    size_t tile_bytes = job->kernels->mr * b->chunk_taps * b->copy_k * job->kernels->a_bytes;
    const bool alike = job->rows == NULL;
    bool copied = false;
    for (size_t t = c->t0; t < c->t1; t++) {
        size_t first = tile_row(run, t), count = tile_row(run, t + 1) - first;
        const void **rows = tile_rows(run, c, t);
        if (job->rows == NULL) {
            plain_rows(job, first, count, c->k0, rows);
        } else if (c->index == 0 || job->taps == 1) {
            job->rows(job->rows_argument, first, count, rows); /* of all taps, for all chunks */
            advance_rows(job, count, c->k0, rows);
        }
        if (t == c->t0 || !alike) {
            copied = rows_unfit(job) || rows_collide(job, rows, count);
        }
        if (copied) {
            copy_rows(run, c, first, count, rows, c->copies + (t - c->t0) * tile_bytes);
        }
    }
}

/* --- tiles --------------------------------------------------------------------------------------
 */

/* Where panel p begins, at row k0 of a tap. */
static const char *panel_at(const runner *run, size_t p, size_t tap, size_t k0)
{
    const lt_gemm_job *job = run->job;
    const lt_gemm_kernels *kernels = job->kernels;
    size_t column = p * kernels->nr, width = lt_gemm_panel_width(kernels, job->n - column);
    size_t rows = column * run->k * job->taps + (tap * run->k + k0) * width;
    return (const char *)job->b + rows * kernels->b_bytes;
}

/* What is needed of B behind the chunk's last panel: the first panel of the next chunk or block, or
 * the next task's. */
static const char *panel_behind(const runner *run, const chunk *c)
{
    if (c->index + 1 < run->blocking.chunks) {
        bool by_taps = run->job->taps > 1;
        return panel_at(run, c->p0, by_taps ? c->tap + c->taps : 0, by_taps ? 0 : c->k0 + c->k);
    }
    bool last_block = c->t1 == run->blocking.tiles && c->p1 < run->panels;
    return panel_at(run, last_block ? c->p1 : c->p0, 0, 0);
}

/* What all tiles of a chunk share. */
static lt_gemm_tile start_tile(const runner *run, const chunk *c)
{
    const lt_gemm_job *job = run->job;
    bool last = c->index + 1 == run->blocking.chunks;
    lt_gemm_tile tile = {.taps = c->taps,
                         .k = job->kernels->any_k ? c->k : lt_gemm_padded_k(job->kernels, c->k),
                         .a_bytes = job->kernels->a_bytes,
                         .ldc = job->ldc,
                         .ldr = c->index == 0 ? job->ldr : job->ldc,
                         .low = last ? run->low : -INFINITY,
                         .high = last ? run->high : INFINITY,
                         .activation = run->by_kernel && last ? &job->activation : NULL,
                         .epilogue = job->epilogue};
    return tile;
}

/* Turns to panel p. */
static void set_panel(const runner *run, const chunk *c, size_t p, lt_gemm_tile *tile)
{
    const lt_gemm_job *job = run->job;
    const lt_gemm_kernels *kernels = job->kernels;
    size_t column = p * kernels->nr, left = job->n - column;
    tile->column = column;
    size_t width = lt_gemm_panel_width(kernels, left);
    tile->n = (uint32_t)(left < width ? left : width);
    tile->b = panel_at(run, p, c->tap, c->k0);
    tile->bias =
        job->bias && c->index == 0 ? (const char *)job->bias + column * kernels->bias_bytes : NULL;
}

/* The kernel of a tile of n columns that exist. */
static lt_gemm_kernel_fn kernel_of(const lt_gemm_kernels *kernels, size_t n, size_t rows)
{
    const lt_gemm_quarters *quarters = kernels->quarters;
    size_t width = lt_gemm_panel_width(kernels, n), quarter = kernels->nr / 4;
    if (width == 2 * quarter) {
        return kernels->half[rows - 1];
    }
    if (quarters == NULL || width == 4 * quarter) {
        return kernels->full[rows - 1];
    }
    return (width < kernels->nr ? quarters->three : quarters->five)[rows - LT_GEMM_QUARTERS_ROWS];
}

/* Tiles that wait for each other, to be handed to kernels->chain. */
typedef struct chain {
    lt_gemm_tile tiles[MAX_CHAIN];
    size_t count, started; /* those of the first `started` have what all share */
} chain;

static void run_chain(const runner *run, chain *waiting)
{
    if (waiting->count != 0) {
        run->job->kernels->chain(waiting->tiles, waiting->count);
        waiting->count = 0;
    }
}

/* From one tile to the next in one direction: elements of the pointer table, bytes, and rows and
 * columns of C. */
typedef struct strides {
    size_t rows, b, bias, c, next, row, column;
} strides;

/* Hands `count` whole tiles to the chain, the first of which `tile` was turned to. What differs
 * from tile to tile is kept in registers: in memory each would wait for the one before. */
static void chain_tiles(const runner *run, const lt_gemm_tile *tile, const strides *by,
                        size_t count, chain *waiting)
{
    const lt_gemm_job *job = run->job;
    const void *const *rows = tile->rows;
    const char *b = tile->b, *bias = tile->bias, *next = tile->next;
    size_t row = tile->row, column = tile->column, at = waiting->count;
    char *to = (char *)job->c + (row * job->ldc + column - run->c_column) * job->kernels->c_bytes;
    for (size_t i = 0; i < count; i++) {
        lt_gemm_tile *own = &waiting->tiles[at];
        if (at++ == waiting->started) {
            *own = *tile;
            waiting->started++;
        }
        own->rows = rows;
        own->b = b;
        own->bias = bias;
        own->c = to;
        own->next = next;
        own->row = row;
        own->column = column;
        if (at == MAX_CHAIN) {
            waiting->count = at;
            run_chain(run, waiting);
            at = 0;
        }
        rows += by->rows;
        b += by->b;
        bias = bias != NULL ? bias + by->bias : NULL;
        to += by->c;
        next += by->next;
        row += by->row;
        column += by->column;
    }
    waiting->count = at;
}

/* Turns to tile t of rows. Returns how many rows it has. */
static size_t set_rows(const runner *run, const chunk *c, size_t t, lt_gemm_tile *tile)
{
    tile->row = tile_row(run, t);
    tile->rows = tile_rows(run, c, t);
    return tile_row(run, t + 1) - tile->row;
}

/* From a panel to the next one, p. */
static void next_panel(const runner *run, const chunk *c, size_t p, lt_gemm_tile *tile)
{
    const lt_gemm_job *job = run->job;
    const size_t nr = job->kernels->nr, column = tile->column + nr, left = job->n - column;
    if (tile->n != nr || left < nr || job->kernels->quarters != NULL) { /* perhaps other widths */
        set_panel(run, c, p, tile);
        return;
    }
    tile->column = column;
    tile->b = (const char *)tile->b + run->panel_bytes;
    if (tile->bias != NULL) {
        tile->bias = (const char *)tile->bias + nr * job->kernels->bias_bytes;
    }
}

/* One call of the kernel at the panel and rows that `tile` was turned to. */
static void run_tile(const runner *run, const chunk *c, size_t count, lt_gemm_tile *tile)
{
    const lt_gemm_job *job = run->job;
    const lt_gemm_kernels *kernels = job->kernels;
    const size_t row = tile->row, bytes = kernels->c_bytes, column = tile->column - run->c_column;
    tile->c = (char *)job->c + (row * job->ldc + column) * bytes;
    tile->residual = NULL;
    if (c->index > 0) {
        tile->residual = tile->c;
    } else if (job->residual != NULL) {
        tile->residual = (const char *)job->residual + (row * job->ldr + column) * bytes;
    }
    kernel_of(kernels, tile->n, count)(tile);
    if (run->activate && c->index + 1 == run->blocking.chunks) {
        const int64_t ldc = (int64_t)job->ldc, n = tile->n, rows = (int64_t)count;
        const bool dense = ldc == n && ldc < (int64_t)kernels->nr; /* then it is one long row */
        const lt_cpu_activation_tile part = {
            tile->c, tile->c, dense ? 1 : rows, dense ? rows * n : n, ldc, ldc};
        kernels->activate(&part, &job->activation);
    }
}

/* How many of the tiles [t0, t1) have all rows that kernels->chain takes: the first ones. */
static size_t whole_tiles(const runner *run, size_t t0, size_t t1)
{
    const size_t mr = run->job->kernels->mr;
    size_t whole = run->tile_rows == mr ? t1 : run->tile_rows + 1 == mr ? run->higher_tiles : 0;
    whole = whole < t1 ? whole : t1;
    return run->chained && whole > t0 ? whole - t0 : 0;
}

static void panels_outermost(const runner *run, const chunk *c)
{
    const lt_gemm_job *job = run->job;
    const lt_gemm_kernels *kernels = job->kernels;
    lt_gemm_tile tile = start_tile(run, c);
    chain waiting;
    size_t tiles = c->t1 - c->t0, whole = whole_tiles(run, c->t0, c->t1);
    waiting.count = waiting.started = 0;
    tile.next_step = lt_divide_size_up(kernels->nr * kernels->b_bytes * kernels->k_group, tiles);
    size_t part = tile.next_step * tile.k / kernels->k_group * tile.taps;
    const strides by = {.rows = job->taps * LT_GEMM_MAX_MR,
                        .c = kernels->mr * job->ldc * kernels->c_bytes,
                        .next = part,
                        .row = kernels->mr};
    for (size_t p = c->p0; p < c->p1; p++) {
        set_panel(run, c, p, &tile);
        tile.next = p + 1 < c->p1 ? panel_at(run, p + 1, c->tap, c->k0) : panel_behind(run, c);
        size_t t = c->t0;
        if (whole != 0 && tile.n == kernels->nr) {
            set_rows(run, c, t, &tile);
            chain_tiles(run, &tile, &by, whole, &waiting);
            tile.next = (const char *)tile.next + whole * part;
            t += whole;
        }
        for (; t < c->t1; t++) {
            run_tile(run, c, set_rows(run, c, t, &tile), &tile);
            tile.next = (const char *)tile.next + part;
        }
    }
    run_chain(run, &waiting);
}

/* Asks for part `part` of `parts` of the residual of tile t, in the order of memory: so the second
 * cache's own prefetcher joins in, whose reach from far memory no kernel's requests have. */
static void expect_residual(const runner *run, size_t t, size_t part, size_t parts)
{
    const lt_gemm_job *job = run->job;
    const size_t row_bytes = job->ldr * job->kernels->c_bytes, first = tile_row(run, t);
    const char *residual = (const char *)job->residual + first * row_bytes;
    const size_t lines = (tile_row(run, t + 1) - first) * row_bytes / 64;
    for (size_t i = lines * part / parts; i < lines * (part + 1) / parts; i++) {
        __builtin_prefetch(residual + i * 64, 0, 2);
    }
}

static void tiles_outermost(const runner *run, const chunk *c)
{
    const lt_gemm_job *job = run->job;
    const lt_gemm_kernels *kernels = job->kernels;
    lt_gemm_tile tile = start_tile(run, c);
    chain waiting;
    bool dense = job->rows == NULL && job->lda == job->k;
    size_t panels = c->p1 - c->p0, whole = job->n / kernels->nr, chained = 0;
    waiting.count = waiting.started = 0;
    tile.next_step =
        dense ? lt_divide_size_up(kernels->mr * kernels->a_bytes * kernels->k_group, panels) : 0;
    size_t part = tile.next_step * tile.k / kernels->k_group * tile.taps;
    const strides by = {.b = run->panel_bytes,
                        .bias = kernels->nr * kernels->bias_bytes,
                        .c = kernels->nr * kernels->c_bytes,
                        .next = part,
                        .column = kernels->nr};
    if (run->chained && whole > c->p0) {
        chained = (whole < c->p1 ? whole : c->p1) - c->p0;
    }
    for (size_t t = c->t0; t < c->t1; t++) {
        const size_t count = set_rows(run, c, t, &tile);
        size_t p = c->p0;
        tile.next = tile_rows(run, c, t + 1 < c->t1 ? t + 1 : t)[0];
        set_panel(run, c, p, &tile);
        if (chained != 0 && count == kernels->mr) {
            chain_tiles(run, &tile, &by, chained, &waiting);
            tile.next = (const char *)tile.next + chained * part;
            p += chained;
            if (p < c->p1) {
                set_panel(run, c, p, &tile);
            }
        }
        while (p < c->p1) {
            if (run->far_residual && t + 1 < c->t1) {
                expect_residual(run, t + 1, p - c->p0, panels);
            }
            run_tile(run, c, count, &tile);
            tile.next = (const char *)tile.next + part;
            if (++p < c->p1) {
                next_panel(run, c, p, &tile);
            }
        }
    }
    run_chain(run, &waiting);
}

/* The first line of a thread's workspace: whose rows it has. Tasks of one block that differ in
 * panels alone find them there. */
typedef struct prepared {
    size_t t0, t1, index; /* t1 0: none */
} prepared;

static prepared *prepared_of(const runner *run, size_t thread)
{
    return (prepared *)(void *)(run->workspace + thread * run->blocking.thread_bytes);
}

static void prepare_rows_once(const runner *run, const chunk *c, prepared *has)
{
    if (has->t0 != c->t0 || has->t1 != c->t1 || has->index != c->index) {
        prepare_rows(run, c);
        *has = (prepared){c->t0, c->t1, c->index};
    }
}

/* Tiles [t0, t1) by panels [p0, p1). */
static void run_part(const runner *run, size_t t0, size_t t1, size_t p0, size_t p1, uint32_t thread)
{
    const lt_gemm_job *job = run->job;
    const blocking *b = &run->blocking;
    prepared *has = prepared_of(run, thread);
    char *own = (char *)has + 64;
    chunk c = {.p0 = p0, .p1 = p1, .rows = (const void **)own, .copies = own + b->rows_bytes};
    for (c.t0 = t0; c.t0 < t1; c.t0 = c.t1) {
        c.t1 = c.t0 + b->block_tiles < t1 ? c.t0 + b->block_tiles : t1;
        for (c.index = 0; c.index < b->chunks; c.index++) {
            c.tap = job->taps > 1 ? c.index * b->chunk_taps : 0;
            c.k0 = job->taps > 1 ? 0 : c.index * b->chunk_k;
            c.taps = job->taps - c.tap < b->chunk_taps ? job->taps - c.tap : b->chunk_taps;
            c.k = job->k - c.k0 < b->chunk_k ? job->k - c.k0 : b->chunk_k;
            prepare_rows_once(run, &c, has);
            (run->tiles_outermost ? tiles_outermost : panels_outermost)(run, &c);
        }
    }
}

static void run_task(void *argument, uint32_t task, uint32_t thread)
{
    const runner *run = argument;
    size_t rows = task % run->row_tasks, columns = task / run->row_tasks;
    run_part(run, run->blocking.tiles * rows / run->row_tasks,
             run->blocking.tiles * (rows + 1) / run->row_tasks,
             run->panels * columns / run->panel_tasks,
             run->panels * (columns + 1) / run->panel_tasks, thread);
}

static size_t b_resident(const lt_gemm_kernels *kernels)
{
    return kernels->b_resident != 0            ? kernels->b_resident
           : kernels->b_bytes == sizeof(float) ? B_RESIDENT_BYTES
                                               : B_RESIDENT_NARROW;
}

static runner prepare_run(const lt_gemm_job *job, void *workspace)
{
    runner run = {.job = job, .workspace = workspace, .low = -INFINITY, .high = INFINITY};
    run.blocking = choose_blocking(job);
    run.k = lt_gemm_padded_k(job->kernels, job->k);
    run.panel_bytes = run.k * job->taps * job->kernels->nr * job->kernels->b_bytes;
    run.tile_rows = job->m / run.blocking.tiles;
    run.higher_tiles = job->m % run.blocking.tiles;
    bool costly = !lt_cpu_activation_clamp(&job->activation, &run.low, &run.high);
    run.activate = costly && job->kernels->activate != NULL;
    run.by_kernel = costly && job->kernels->activate == NULL;
    run.panels = lt_gemm_panels(job->kernels, job->n);
    run.tiles_outermost =
        lt_gemm_packed_bytes(job->kernels, job->taps, job->k, job->n) <= b_resident(job->kernels);
    run.chained = job->kernels->chain != NULL && job->residual == NULL && run.blocking.chunks == 1;
    run.far_residual = run.tiles_outermost && job->residual != NULL && job->ldr == job->n &&
                       job->m * job->n * job->kernels->c_bytes > FAR_BYTES;
    return run;
}

size_t lt_gemm_tasks(size_t count, size_t threads)
{
    size_t want = threads * TASKS_PER_THREAD;
    return count >= want ? want : count > threads ? count / threads * threads : count;
}

/* Tasks of whole tiles of rows. */
static size_t row_tasks(const runner *run, size_t threads)
{
    const size_t tasks = lt_gemm_tasks(run->blocking.tiles, threads);
    const size_t most = run->blocking.tiles / FAR_TASK_TILES / threads * threads;
    if (run->tiles_outermost || tasks <= most) {
        return tasks;
    }
    return most > threads ? most : threads;
}

bool lt_gemm_shares_rows(const lt_gemm_kernels *kernels, size_t m, size_t n, size_t threads)
{
    size_t tiles = lt_divide_size_up(m, kernels->mr);
    return tiles >= 2 * threads && tiles >= lt_gemm_panels(kernels, n);
}

static uint32_t cut(runner *run, uint32_t threads)
{
    const lt_gemm_job *job = run->job;
    run->row_tasks = run->panel_tasks = 1;
    if (threads > 1 && lt_gemm_shares_rows(job->kernels, job->m, job->n, threads)) {
        run->row_tasks = row_tasks(run, threads);
    } else if (threads > 1) {
        run->panel_tasks = lt_gemm_tasks(run->panels, threads);
    }
    return (uint32_t)(run->row_tasks * run->panel_tasks);
}

void lt_gemm_run(const lt_gemm_job *job, void *workspace, const leat_kernel_args *args)
{
    if (job->m == 0 || job->n == 0) {
        return;
    }
    runner run = prepare_run(job, workspace);
    double flops = 2.0 * (double)job->m * (double)job->n * (double)job->k * (double)job->taps;
    uint32_t threads = flops < LT_GEMM_LEAST_SHARED ? 1 : args->host->pool_threads(args->pool);
    uint32_t tasks = cut(&run, threads);
    for (uint32_t i = 0; i < threads; i++) {
        *prepared_of(&run, i) = (prepared){0, 0, 0};
    }
    if (tasks == 1) {
        run_task(&run, 0, 0);
    } else {
        args->host->parallel(args->pool, tasks, run_task, &run);
    }
}

void lt_gemm_run_serial(const lt_gemm_job *job, void *workspace, uint32_t thread)
{
    if (job->m == 0 || job->n == 0) {
        return;
    }
    lt_gemm_run_panels(job, 0, lt_gemm_panels(job->kernels, job->n), workspace, thread);
}

void lt_gemm_run_panels(const lt_gemm_job *job, size_t p0, size_t p1, void *workspace,
                        uint32_t thread)
{
    runner run = prepare_run(job, workspace);
    run.c_column = p0 * job->kernels->nr;
    *prepared_of(&run, thread) = (prepared){0, 0, 0};
    run_part(&run, 0, run.blocking.tiles, p0, p1, thread);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The loops around the micro-kernel.
 *
 * A task takes a block of rows and a range of panels. Within it the panels go outermost, so that a
 * panel (taps * k * nr elements) is read from the second-level cache or beyond once a block and
 * serves all the block's tiles from the first; the rows of the block (A_BLOCK_BYTES at most) stay
 * in the second-level cache while all panels pass.
 *
 * Rows whose distance is a multiple of 2 KiB fall into few sets of the first cache; such a block is
 * copied to rows of a friendlier distance first: one copy for n / nr uses. */
#include "gemm/gemm.h"

#include <math.h>

#define A_BLOCK_BYTES (256u << 10)
#define MAX_BLOCK_TILES 16u
/* Tasks a thread, so that a slow core can be helped. */
#define TASKS_PER_THREAD 4u

/* How a job is cut. */
typedef struct blocking {
    size_t block_tiles;  /* tiles of mr rows a block */
    size_t copy_k;       /* distance of taps in the copy, elements */
    size_t rows_bytes;   /* of the pointer table */
    size_t thread_bytes; /* workspace of one thread */
} blocking;

static size_t whole_lines(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

/* Rows that the kernel cannot read where they are. */
static bool rows_unfit(const lt_gemm_job *job)
{
    return job->copy != NULL || (job->k % job->kernels->k_group != 0 && !job->kernels->any_k);
}

static blocking choose_blocking(const lt_gemm_job *job)
{
    blocking b;
    const lt_gemm_kernels *kernels = job->kernels;
    size_t k = lt_gemm_padded_k(kernels, job->k);
    size_t tiles = (job->m + kernels->mr - 1) / kernels->mr;
    size_t tile_bytes = kernels->mr * k * job->taps * kernels->a_bytes;
    size_t fit = tile_bytes ? A_BLOCK_BYTES / tile_bytes : MAX_BLOCK_TILES;
    fit = fit < 1 ? 1 : fit > MAX_BLOCK_TILES ? MAX_BLOCK_TILES : fit;
    b.block_tiles = fit < tiles ? fit : tiles ? tiles : 1;
    b.copy_k = k + 64 / kernels->a_bytes;
    b.rows_bytes = whole_lines(b.block_tiles * job->taps * LT_GEMM_MAX_MR * sizeof(void *));
    b.thread_bytes = b.rows_bytes;
    if (rows_unfit(job) || job->rows == NULL) {
        size_t rows = b.block_tiles * kernels->mr;
        b.thread_bytes += whole_lines(rows * job->taps * b.copy_k * kernels->a_bytes);
    }
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
    bool activate;  /* by function, after the tile */
    bool by_kernel; /* likewise costly, but the kernel's own */
    size_t tiles;
    size_t tiles_per_task;
    size_t panels;
    size_t panels_per_task;
    size_t row_tasks;
} runner;

static bool rows_collide(const lt_gemm_job *job)
{
    size_t distance = job->lda * job->kernels->a_bytes;
    return job->rows == NULL && job->m > 4 && job->n > 2 * job->kernels->nr && distance != 0 &&
           distance % 2048 == 0;
}

static void plain_rows(const lt_gemm_job *job, size_t first, size_t count, const void **rows)
{
    size_t element = job->copy != NULL ? job->copy_bytes : job->kernels->a_bytes;
    for (size_t i = 0; i < count; i++) {
        rows[i] = (const char *)job->a + (first + i) * job->lda * element;
    }
}

/* Copies the rows of one tile to `to`, in the kernels' type and whole groups, and points at the
 * copies. */
static void copy_rows(const runner *run, size_t first, size_t count, const void **rows, char *to)
{
    const lt_gemm_job *job = run->job;
    size_t element = job->kernels->a_bytes;
    size_t fill = (lt_gemm_padded_k(job->kernels, job->k) - job->k) * element;
    for (size_t i = 0; i < count; i++) {
        for (size_t t = 0; t < job->taps; t++) {
            const void **row = &rows[t * LT_GEMM_MAX_MR + i];
            if (job->copy != NULL) {
                job->copy(job->copy_argument, *row, first + i, job->k, to);
            } else {
                memcpy(to, *row, job->k * element);
            }
            memset(to + job->k * element, 0, fill);
            *row = to;
            to += run->blocking.copy_k * element;
        }
    }
}

/* All panels [p0, p1) against the tiles whose row pointers are in `rows`. */
static void run_panels(const runner *run, size_t row0, size_t row1, const void **rows, size_t p0,
                       size_t p1)
{
    const lt_gemm_job *job = run->job;
    const lt_gemm_kernels *kernels = job->kernels;
    size_t k = lt_gemm_padded_k(kernels, job->k), c_bytes = kernels->c_bytes;
    size_t b_column = k * job->taps * kernels->b_bytes; /* bytes a column of a panel */
    lt_gemm_tile tile = {.taps = job->taps,
                         .k = kernels->any_k ? job->k : k,
                         .ldc = job->ldc,
                         .ldr = job->ldr,
                         .low = run->low,
                         .high = run->high,
                         .activation = run->by_kernel ? &job->activation : NULL,
                         .epilogue = job->epilogue};
    for (size_t p = p0; p < p1; p++) {
        size_t column = p * kernels->nr;
        size_t left = job->n - column;
        const lt_gemm_kernel_fn *table = left > kernels->nr / 2 ? kernels->full : kernels->half;
        tile.n = (uint32_t)(left < kernels->nr ? left : kernels->nr);
        tile.column = column;
        tile.b = (const char *)job->b + column * b_column;
        tile.bias = job->bias ? (const char *)job->bias + column * kernels->bias_bytes : NULL;
        for (size_t row = row0, t = 0; row < row1; row += kernels->mr, t++) {
            size_t count = row1 - row < kernels->mr ? row1 - row : kernels->mr;
            tile.rows = rows + t * job->taps * LT_GEMM_MAX_MR;
            tile.row = row;
            tile.c = (char *)job->c + (row * job->ldc + column) * c_bytes;
            tile.residual = job->residual
                                ? (const char *)job->residual + (row * job->ldr + column) * c_bytes
                                : NULL;
            table[count - 1](&tile);
            if (run->activate) {
                kernels->activate(tile.c, (int64_t)count, (int64_t)job->ldc, tile.n,
                                  &job->activation);
            }
        }
    }
}

/* Tiles [t0, t1) by panels [p0, p1), a block at a time. */
static void run_part(const runner *run, size_t t0, size_t t1, size_t p0, size_t p1, uint32_t thread)
{
    const lt_gemm_job *job = run->job;
    size_t mr = job->kernels->mr;
    size_t tile_bytes = mr * job->taps * run->blocking.copy_k * job->kernels->a_bytes;
    char *own = run->workspace + thread * run->blocking.thread_bytes;
    const void **rows = (const void **)own;
    bool copy = rows_unfit(job) || rows_collide(job);
    for (size_t t = t0; t < t1; t += run->blocking.block_tiles) {
        size_t end = t + run->blocking.block_tiles < t1 ? t + run->blocking.block_tiles : t1;
        size_t row1 = end * mr < job->m ? end * mr : job->m;
        for (size_t i = t; i < end; i++) {
            size_t count = row1 - i * mr < mr ? row1 - i * mr : mr;
            const void **table = rows + (i - t) * job->taps * LT_GEMM_MAX_MR;
            if (job->rows != NULL) {
                job->rows(job->rows_argument, i * mr, count, table);
            } else {
                plain_rows(job, i * mr, count, table);
            }
            if (copy) {
                copy_rows(run, i * mr, count, table,
                          own + run->blocking.rows_bytes + (i - t) * tile_bytes);
            }
        }
        run_panels(run, t * mr, row1, rows, p0, p1);
    }
}

static void run_task(void *argument, uint32_t task, uint32_t thread)
{
    const runner *run = argument;
    size_t t0 = task % run->row_tasks * run->tiles_per_task;
    size_t p0 = task / run->row_tasks * run->panels_per_task;
    size_t t1 = t0 + run->tiles_per_task, p1 = p0 + run->panels_per_task;
    run_part(run, t0, t1 < run->tiles ? t1 : run->tiles, p0, p1 < run->panels ? p1 : run->panels,
             thread);
}

static runner prepare_run(const lt_gemm_job *job, void *workspace)
{
    runner run = {.job = job, .workspace = workspace, .low = -INFINITY, .high = INFINITY};
    run.blocking = choose_blocking(job);
    bool costly = !lt_cpu_activation_clamp(&job->activation, &run.low, &run.high);
    run.activate = costly && job->kernels->activate != NULL;
    run.by_kernel = costly && job->kernels->activate == NULL;
    run.tiles = (job->m + job->kernels->mr - 1) / job->kernels->mr;
    run.panels = lt_gemm_panels(job->kernels, job->n);
    return run;
}

/* Cuts rows when there are enough tiles, panels otherwise. */
static uint32_t cut(runner *run, uint32_t threads)
{
    size_t want = (size_t)threads * TASKS_PER_THREAD;
    run->tiles_per_task = run->tiles;
    run->panels_per_task = run->panels;
    if (threads > 1 && run->tiles >= 2 * threads && run->tiles >= run->panels) {
        run->tiles_per_task = (run->tiles + want - 1) / want;
    } else if (threads > 1) {
        run->panels_per_task = (run->panels + want - 1) / want;
    }
    run->row_tasks = (run->tiles + run->tiles_per_task - 1) / run->tiles_per_task;
    size_t panel_tasks = (run->panels + run->panels_per_task - 1) / run->panels_per_task;
    return (uint32_t)(run->row_tasks * panel_tasks);
}

void lt_gemm_run(const lt_gemm_job *job, void *workspace, const leat_kernel_args *args)
{
    if (job->m == 0 || job->n == 0) {
        return;
    }
    runner run = prepare_run(job, workspace);
    double flops = 2.0 * (double)job->m * (double)job->n * (double)job->k * (double)job->taps;
    uint32_t threads = flops < 200e3 ? 1 : args->host->pool_threads(args->pool);
    uint32_t tasks = cut(&run, threads);
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
    runner run = prepare_run(job, workspace);
    run_part(&run, 0, run.tiles, 0, run.panels, thread);
}

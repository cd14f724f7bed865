/* SPDX-License-Identifier: Apache-2.0 */
/* The loops around the micro-kernels of strassen.h.
 *
 * Row i of the upper half and row i of the lower one make a pair; pairs are cut into tiles of
 * nearly equal height and tiles into blocks. First the factors of A are made, all of them, shared
 * by all threads. A task then takes a range of units (pairs of panels) and goes through blocks of
 * rows, chunks of k, and its units; per unit seven products pass over the block's tiles. */
#include "gemm/strassen.h"

#include <math.h>

/* Steps of a chunk, of half of k: every chunk updates all of C. */
#define CHUNK_K 512u
/* Pairs of rows in a block: the factors of A for a chunk stay in the second-level cache, for the
 * most part. */
#define BLOCK_PAIRS 70u
/* Pairs of panels that are worth a task of their own. */
#define TASKS_PER_THREAD 4u

/* How a product is cut. All sizes in floats. */
typedef struct cutting {
    size_t half_k;
    size_t chunk_k; /* whole lines */
    size_t chunks;
    size_t pairs; /* of rows */
    size_t tiles;
    size_t block_tiles;
    size_t units;
    size_t rest;      /* columns that the plain product takes */
    size_t factors;   /* of the factors of A */
    size_t sum;       /* of a sum of quadrants of B */
    size_t quadrant;  /* of a quadrant of a unit's C */
    size_t own;       /* of a thread */
    size_t row_lines; /* of all chunks: floats of a row */
} cutting;

/* The widest panel. */
static const float zeros[32];

static size_t divide_up(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

static size_t whole_lines(size_t floats)
{
    return divide_up(floats, LT_STRASSEN_LINE) * LT_STRASSEN_LINE;
}

const lt_strassen_kernels *lt_strassen_kernels_for(const lt_cpu_device *device)
{
#if defined(__x86_64__)
    if (device->isa == LT_CPU_AVX512) {
        return &lt_cpu_strassen_f32_14x32_avx512;
    }
    if (device->isa == LT_CPU_AVX2) {
        return &lt_cpu_strassen_f32_6x16_avx2;
    }
#endif
    (void)device;
    return &lt_cpu_strassen_f32_4x8_portable;
}

static cutting cut(const lt_strassen_kernels *kernels, size_t m, size_t n, size_t k)
{
    const size_t mr = kernels->gemm->mr, nr = kernels->gemm->nr;
    cutting c = {.half_k = k / 2, .pairs = divide_up(m, 2), .units = n / (2 * nr)};
    c.chunks = divide_up(c.half_k, CHUNK_K);
    c.chunk_k = c.chunks ? whole_lines(divide_up(c.half_k, c.chunks)) : 0;
    c.row_lines = c.chunks * c.chunk_k;
    c.tiles = divide_up(c.pairs, mr);
    size_t blocks = divide_up(c.pairs, BLOCK_PAIRS);
    c.block_tiles = blocks ? divide_up(c.tiles, blocks) : 0;
    c.rest = n - c.units * 2 * nr;
    c.factors = LT_STRASSEN_PRODUCTS * c.pairs * c.row_lines;
    c.sum = c.chunk_k * nr;
    c.quadrant = c.block_tiles * mr * nr;
    c.own = c.sum + 4 * c.quadrant;
    return c;
}

bool lt_strassen_applies(const lt_strassen_kernels *kernels, size_t m, size_t n, size_t k)
{
    cutting c = cut(kernels, m, n, k);
    return c.units > 0 && c.pairs > 0 && k >= 2 && k % 2 == 0 &&
           c.pairs / c.tiles >= kernels->least_rows;
}

static lt_gemm_job rest_job(const lt_strassen_kernels *kernels, const lt_gemm_job *job,
                            const cutting *c)
{
    size_t first = job->n - c->rest;
    lt_gemm_job rest = *job;
    rest.kernels = kernels->gemm;
    rest.n = c->rest;
    rest.b = (const float *)job->b + first * job->k;
    rest.c = (float *)job->c + first;
    rest.bias = job->bias ? (const float *)job->bias + first : NULL;
    rest.residual = job->residual ? (const float *)job->residual + first : NULL;
    return rest;
}

size_t lt_strassen_workspace(const lt_strassen_kernels *kernels, const lt_gemm_job *job,
                             uint32_t threads)
{
    cutting c = cut(kernels, job->m, job->n, job->k);
    lt_gemm_job plain = {.kernels = kernels->gemm, .m = job->m, .k = job->k, .taps = 1};
    return (c.factors + c.own * threads + whole_lines(c.tiles)) * sizeof(float) +
           lt_gemm_workspace(&plain, threads);
}

/* Cycles of a core that does 16 multiply-adds in one (4 in portable C). Those a byte were measured
 * on Zen 4. */
#define GHZ 3.5
#define UPDATE_CYCLES 0.16 /* a byte of C brought up to date */
#define SUM_CYCLES 0.03    /* a byte of a sum of quadrants of B */
#define SPLIT_CYCLES 0.06  /* a byte of factors of A */

lt_strassen_costs lt_strassen_estimate(const lt_strassen_kernels *kernels, const lt_gemm_job *job,
                                       uint32_t threads)
{
    const cutting c = cut(kernels, job->m, job->n, job->k);
    const double macs = kernels->gemm->nr > 8 ? 16 : 4, each = 1 / GHZ / threads;
    double columns = (double)(job->n - c.rest);
    double rest = (double)job->m * (double)job->k * (double)c.rest / macs;
    double plain = (double)job->m * (double)job->k * columns / macs;
    double pairs = (double)c.pairs, steps = (double)c.half_k;
    double blocks = (double)divide_up(c.tiles, c.block_tiles);
    double strassen = 7 * pairs * steps * columns / 2 / macs;
    strassen += 12 * pairs * columns / 2 * sizeof(float) * (double)c.chunks * UPDATE_CYCLES;
    plain += 2 * pairs * columns * sizeof(float) * UPDATE_CYCLES;
    strassen += 5 * steps * columns / 2 * sizeof(float) * blocks * SUM_CYCLES;
    strassen += (double)c.factors * sizeof(float) * SPLIT_CYCLES;
    return (lt_strassen_costs){(plain + rest) * each, (strassen + rest) * each};
}

/* --- the seven products -------------------------------------------------------------------------
 */

typedef enum b_kind {
    B_READY,
    B_SUM,
    B_DIFFERENCE
} b_kind;

/* A product: its factor of B and its places in C; NONE: no second one. */
#define NONE 4
typedef struct product {
    b_kind kind;
    uint8_t b, b_other;
    uint8_t target[2];
    float sign[2];
    bool first[2], last[2]; /* of the products that go there */
    uint8_t next;           /* quadrant of B of the next unit to be asked for meanwhile, or NONE */
} product;

/* In the order of the factors of A. */
static const product products[LT_STRASSEN_PRODUCTS] = {
    {B_DIFFERENCE, 1, 3, {1, 3}, {1, 1}, {true, true}, {false, false}, NONE},
    {B_READY, 3, NONE, {1, 0}, {1, -1}, {false, true}, {true, false}, NONE},
    {B_DIFFERENCE, 2, 0, {0, 2}, {1, 1}, {false, true}, {false, false}, NONE},
    {B_READY, 0, NONE, {2, 3}, {1, -1}, {false, false}, {true, false}, 1},
    {B_SUM, 0, 3, {0, 3}, {1, 1}, {false, false}, {false, false}, 3},
    {B_SUM, 0, 1, {3, NONE}, {1, 0}, {false, false}, {true, false}, 2},
    {B_SUM, 2, 3, {0, NONE}, {1, 0}, {false, false}, {true, false}, 0},
};

/* --- running ------------------------------------------------------------------------------------
 */

typedef struct runner {
    const lt_strassen_kernels *kernels;
    const lt_gemm_job *job;
    cutting cut;
    float *factors;
    float *own;
    float *unfit; /* a tile: NaN when not all of its factors are finite, otherwise 0 */
    double low, high;
    bool activate;
    size_t units_per_task;
} runner;

/* A chunk of k for a block of tiles. */
typedef struct chunk {
    size_t index, k0, k;
    size_t t0, t1;   /* tiles of the block */
    size_t u0, u1;   /* units of the task */
    float *sum;      /* of quadrants of B */
    float *quadrant; /* of the unit's C, four of them */
} chunk;

static size_t tile_pair(const runner *run, size_t tile)
{
    return tile * run->cut.pairs / run->cut.tiles;
}

/* The block's first tile to which a tile belongs. */
static size_t block_begin(const runner *run, size_t tile)
{
    return tile / run->cut.block_tiles * run->cut.block_tiles;
}

static size_t block_end(const runner *run, size_t tile)
{
    size_t end = block_begin(run, tile) + run->cut.block_tiles;
    return end < run->cut.tiles ? end : run->cut.tiles;
}

/* Factor `product` of a tile, for a chunk: [block][chunk][product][tile][chunk_k / 16][rows][16].
 */
static float *factor_at(const runner *run, size_t chunk_index, size_t product, size_t tile)
{
    size_t p0 = tile_pair(run, block_begin(run, tile)), p1 = tile_pair(run, block_end(run, tile));
    size_t block = p0 * LT_STRASSEN_PRODUCTS * run->cut.row_lines;
    size_t rows = (chunk_index * LT_STRASSEN_PRODUCTS + product) * (p1 - p0);
    return run->factors + block + (rows + tile_pair(run, tile) - p0) * run->cut.chunk_k;
}

/* Makes the factors of A for one row of a tile and a chunk. */
static float split_row(const runner *run, size_t tile, size_t row, size_t chunk_index)
{
    const lt_gemm_job *job = run->job;
    const cutting *c = &run->cut;
    size_t first = tile_pair(run, tile), count = tile_pair(run, tile + 1) - first;
    size_t upper = first + row, lower = upper + c->pairs, k0 = chunk_index * c->chunk_k;
    const float *a = (const float *)job->a + upper * job->lda + k0;
    const float *below = lower < job->m ? a + c->pairs * job->lda : a;
    lt_strassen_split split = {.quadrant = {a, a + c->half_k, below, below + c->half_k},
                               .out = factor_at(run, chunk_index, 0, tile) + row * LT_STRASSEN_LINE,
                               .factor_stride = factor_at(run, chunk_index, 1, tile) -
                                                factor_at(run, chunk_index, 0, tile)};
    for (size_t j = k0; j < c->half_k && j < k0 + c->chunk_k; j += LT_STRASSEN_LINE) {
        size_t left = c->half_k - j;
        split.k[0] = split.k[1] = left;
        split.k[2] = split.k[3] = lower < job->m ? left : 0;
        run->kernels->split(&split);
        for (int i = 0; i < 4; i++) {
            split.quadrant[i] += LT_STRASSEN_LINE;
        }
        split.out += count * LT_STRASSEN_LINE;
    }
    float check = 0;
    for (size_t i = 0; i < LT_STRASSEN_LINE; i++) {
        check += split.check[i];
    }
    return check;
}

static void split_tiles(void *argument, int64_t begin, int64_t end)
{
    const runner *run = argument;
    for (size_t t = (size_t)begin; t < (size_t)end; t++) {
        size_t count = tile_pair(run, t + 1) - tile_pair(run, t);
        float check = 0;
        for (size_t row = 0; row < count; row++) {
            for (size_t i = 0; i < run->cut.chunks; i++) {
                check += split_row(run, t, row, i);
            }
        }
        run->unfit[t] = check;
    }
}

/* Quadrant q of a unit's B, for a chunk. */
static const float *b_at(const runner *run, size_t unit, size_t q, size_t k0)
{
    size_t nr = run->kernels->gemm->nr, panel = 2 * unit + (q & 1);
    size_t row = (q >> 1) * run->cut.half_k + k0;
    return (const float *)run->job->b + (panel * run->job->k + row) * nr;
}

/* Where a product's tile goes. */
static lt_strassen_target target_of(const runner *run, const chunk *c, size_t unit,
                                    const product *p, size_t i, size_t tile)
{
    const lt_gemm_job *job = run->job;
    size_t nr = run->kernels->gemm->nr, q = p->target[i];
    size_t first = tile_pair(run, tile), count = tile_pair(run, tile + 1) - first;
    size_t row = first + (q >> 1) * run->cut.pairs, column = (2 * unit + (q & 1)) * nr;
    float *own = c->quadrant + q * run->cut.quadrant + (first - tile_pair(run, c->t0)) * nr;
    float *out = (float *)job->c + row * job->ldc + column;
    size_t exist = row >= job->m ? 0 : job->m - row < count ? job->m - row : count;
    lt_strassen_target t = {.to = own,
                            .to_stride = nr,
                            .from = own,
                            .from_stride = nr,
                            .bias = job->bias ? (const float *)job->bias + column : zeros,
                            .sign = p->sign[i],
                            .complete = p->last[i] && c->index + 1 == run->cut.chunks,
                            .low = (float)run->low,
                            .high = (float)run->high,
                            .rows = exist};
    if (p->first[i] && c->index > 0) {
        t.from = out;
        t.from_stride = job->ldc;
    } else if (p->first[i] && job->residual != NULL) {
        t.from = (const float *)job->residual + row * job->ldr + column;
        t.from_stride = job->ldr;
    } else if (p->first[i]) {
        t.from = zeros;
        t.from_stride = 0;
    }
    if (p->last[i]) {
        t.to = out;
        t.to_stride = job->ldc;
    }
    return t;
}

/* A product's pass over the block's tiles. */
static void run_product(const runner *run, const chunk *c, size_t unit, size_t index,
                        const float *next)
{
    const product *p = &products[index];
    const lt_strassen_kernels *kernels = run->kernels;
    const size_t tiles = c->t1 - c->t0, row_bytes = kernels->gemm->nr * sizeof(float);
    lt_strassen_tile tile = {.k = c->k,
                             .b = b_at(run, unit, p->b, c->k0),
                             .b_other =
                                 p->b_other != NONE ? b_at(run, unit, p->b_other, c->k0) : NULL,
                             .b_sum = c->sum,
                             .n_targets = p->target[1] == NONE ? 1 : 2,
                             .next = (const char *)next};
    tile.next_step = next ? divide_up(row_bytes, tiles) : 0;
    tile.next = next ? tile.next : (const char *)tile.b;
    const lt_strassen_kernel_fn *table = p->kind == B_READY ? kernels->ready
                                         : p->kind == B_SUM ? kernels->sum
                                                            : kernels->difference;
    for (size_t t = c->t0; t < c->t1; t++) {
        size_t count = tile_pair(run, t + 1) - tile_pair(run, t);
        tile.a = factor_at(run, c->index, index, t);
        for (size_t i = 0; i < tile.n_targets; i++) {
            tile.targets[i] = target_of(run, c, unit, p, i, t);
        }
        table[count - kernels->least_rows](&tile);
        for (size_t i = 0; i < tile.n_targets && run->activate; i++) {
            const lt_strassen_target *target = &tile.targets[i];
            if (target->complete) {
                kernels->gemm->activate(target->to, (int64_t)target->rows, (int64_t)run->job->ldc,
                                        (int64_t)kernels->gemm->nr, &run->job->activation);
            }
        }
        tile.next += tile.next_step * c->k;
        if (p->kind != B_READY) {
            tile.b = c->sum;
            table = kernels->ready;
        }
    }
}

static void run_chunk(const runner *run, const chunk *c)
{
    for (size_t u = c->u0; u < c->u1; u++) {
        size_t next = u + 1 < c->u1 ? u + 1 : c->u0;
        for (size_t i = 0; i < LT_STRASSEN_PRODUCTS; i++) {
            size_t q = products[i].next;
            run_product(run, c, u, i, q == NONE ? NULL : b_at(run, next, q, c->k0));
        }
    }
}

static void run_task(void *argument, uint32_t task, uint32_t thread)
{
    const runner *run = argument;
    const cutting *cut = &run->cut;
    chunk c = {.u0 = task * run->units_per_task, .sum = run->own + thread * cut->own};
    c.quadrant = c.sum + cut->sum;
    c.u1 = c.u0 + run->units_per_task;
    c.u1 = c.u1 < cut->units ? c.u1 : cut->units;
    for (c.t0 = 0; c.t0 < cut->tiles; c.t0 = c.t1) {
        c.t1 = block_end(run, c.t0);
        for (c.index = 0; c.index < cut->chunks; c.index++) {
            c.k0 = c.index * cut->chunk_k;
            c.k = cut->half_k - c.k0 < cut->chunk_k ? cut->half_k - c.k0 : cut->chunk_k;
            run_chunk(run, &c);
        }
    }
}

/* All units on the pool. */
static void run_units(runner *run, const leat_kernel_args *args, uint32_t threads)
{
    size_t want = threads > 1 ? (size_t)threads * TASKS_PER_THREAD : 1;
    run->units_per_task = divide_up(run->cut.units, want);
    uint32_t tasks = (uint32_t)divide_up(run->cut.units, run->units_per_task);
    if (tasks == 1) {
        run_task(run, 0, 0);
    } else {
        args->host->parallel(args->pool, tasks, run_task, run);
    }
}

void lt_strassen_run(const lt_strassen_kernels *kernels, const lt_gemm_job *job, void *workspace,
                     const leat_kernel_args *args)
{
    runner run = {.kernels = kernels,
                  .job = job,
                  .cut = cut(kernels, job->m, job->n, job->k),
                  .factors = workspace,
                  .low = -INFINITY,
                  .high = INFINITY};
    const uint32_t threads = args->host->pool_threads(args->pool);
    run.own = run.factors + run.cut.factors;
    run.unfit = run.own + threads * run.cut.own;
    float *plain = run.unfit + whole_lines(run.cut.tiles), unfit = 0;
    run.activate = !lt_cpu_activation_clamp(&job->activation, &run.low, &run.high);
    double tile_bytes = (double)run.cut.factors / (double)run.cut.tiles * sizeof(float);
    lt_cpu_parallel_range(args, (int64_t)run.cut.tiles, 1, tile_bytes, split_tiles, &run);
    for (size_t t = 0; t < run.cut.tiles; t++) {
        unfit += run.unfit[t];
    }
    if (isnan(unfit)) {
        lt_gemm_run(job, plain, args);
        return;
    }
    run_units(&run, args, threads);
    if (run.cut.rest > 0) {
        lt_gemm_job rest = rest_job(kernels, job, &run.cut);
        lt_gemm_run(&rest, plain, args);
    }
}

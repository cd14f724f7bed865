/* SPDX-License-Identifier: Apache-2.0 */
/* The loops around the micro-kernels of strassen.h.
 *
 * Row i of the upper half and row i of the lower one make a pair; pairs are cut into tiles of
 * nearly equal height and tiles into blocks. For a block and a chunk of k a thread makes all
 * factors of A for itself, which then stay in its second-level cache while units (pairs of panels
 * of B) go over them. Per unit seven products pass over the block's tiles.
 *
 * Threads take blocks, unless ranges of a block's units share the work out more evenly: then every
 * thread makes the block's factors. (Sharing them costs more than making them again: every line
 * would be fetched from the core that wrote it, and taken back by it for the next block.) Either
 * way a thread reads as much of B. */
#include "gemm/strassen.h"

#include <math.h>

/* Pairs of rows in a block. Its factors of A for a chunk take 0.7 to 1 MB. */
#define BLOCK_PAIRS 70u

/* How a product is cut. All sizes in floats. */
typedef struct cutting {
    size_t half_k;
    size_t chunk_k; /* whole lines */
    size_t chunks;
    size_t pairs; /* of rows */
    size_t tiles;
    size_t tile_pairs;   /* of a tile, ... */
    size_t higher_tiles; /* ... but of so many, the first ones, one more */
    size_t blocks;
    size_t block_tiles; /* of a block, at most */
    bool by_blocks;     /* a task is a block; otherwise a range of one's units */
    size_t units;
    size_t rest;       /* columns that the plain product takes */
    size_t factors;    /* of the factors of A for a block and a chunk */
    size_t difference; /* of a difference of quadrants of B */
    size_t quadrant;   /* of a quadrant of a unit's C */
    size_t own;        /* of a thread: all of these and a line */
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
        return device->full_width ? &lt_cpu_strassen_f32_14x32_full_avx512
                                  : &lt_cpu_strassen_f32_14x32_avx512;
    }
    if (device->isa == LT_CPU_AVX2) {
        return &lt_cpu_strassen_f32_6x16_avx2;
    }
#endif
    (void)device;
    return &lt_cpu_strassen_f32_4x8_portable;
}

/* Of a row of a factor of A, for a chunk of whole lines. */
static size_t row_floats(size_t chunk_k)
{
    return chunk_k / LT_STRASSEN_LINE * LT_STRASSEN_PITCH;
}

/* Whether threads that take blocks of tiles wait less for one another than with ranges of units. */
static bool blocks_are_even(const cutting *c, size_t threads)
{
    size_t most_tiles = divide_up(c->tiles, threads), most_units = divide_up(c->units, threads);
    return threads > 1 && c->tiles >= threads && most_tiles * c->units <= most_units * c->tiles;
}

static cutting cut(const lt_strassen_kernels *kernels, size_t m, size_t n, size_t k, size_t threads)
{
    const size_t mr = kernels->gemm->mr, nr = kernels->gemm->nr;
    cutting c = {.half_k = k / 2, .pairs = divide_up(m, 2), .units = n / (2 * nr)};
    c.chunks = divide_up(c.half_k, kernels->speed.chunk_k);
    c.chunk_k = c.chunks ? whole_lines(divide_up(c.half_k, c.chunks)) : 0;
    c.tiles = divide_up(c.pairs, mr);
    c.tile_pairs = c.tiles ? c.pairs / c.tiles : 0;
    c.higher_tiles = c.tiles ? c.pairs % c.tiles : 0;
    c.blocks = divide_up(c.pairs, BLOCK_PAIRS);
    c.by_blocks = blocks_are_even(&c, threads);
    if (c.by_blocks) {
        size_t blocks = divide_up(c.blocks, threads) * threads;
        c.blocks = blocks < c.tiles ? blocks : c.tiles;
    }
    c.block_tiles = c.blocks ? divide_up(c.tiles, c.blocks) : 0;
    c.rest = n - c.units * 2 * nr;
    c.factors = whole_lines(LT_STRASSEN_PRODUCTS * c.block_tiles * mr * row_floats(c.chunk_k));
    c.difference = c.chunk_k * nr;
    c.quadrant = c.block_tiles * mr * nr;
    c.own = LT_STRASSEN_LINE + c.factors + c.difference + 4 * c.quadrant + mr * nr;
    return c;
}

bool lt_strassen_applies(const lt_strassen_kernels *kernels, size_t m, size_t n, size_t k)
{
    cutting c = cut(kernels, m, n, k, 1);
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
    cutting c = cut(kernels, job->m, job->n, job->k, threads);
    lt_gemm_job plain = {.kernels = kernels->gemm, .m = job->m, .k = job->k, .taps = 1};
    return c.own * threads * sizeof(float) + lt_gemm_workspace(&plain, threads);
}

#define GHZ 3.5 /* nominal: only ratios matter */

lt_strassen_costs lt_strassen_estimate(const lt_strassen_kernels *kernels, const lt_gemm_job *job,
                                       uint32_t threads)
{
    const cutting c = cut(kernels, job->m, job->n, job->k, threads);
    const lt_strassen_speed *speed = &kernels->speed;
    const double macs = speed->macs, each = 1 / GHZ / threads;
    double columns = (double)(job->n - c.rest);
    double rest = (double)job->m * (double)job->k * (double)c.rest / macs;
    double plain = (double)job->m * (double)job->k * columns / macs;
    double pairs = (double)c.pairs, steps = (double)c.half_k;
    double strassen = 7 * pairs * steps * columns / 2 / macs;
    strassen += 12 * pairs * columns / 2 * sizeof(float) * (double)c.chunks * speed->update;
    plain += 2 * pairs * columns * sizeof(float) * speed->update;
    strassen += 5 * steps * columns / 2 * sizeof(float) * (double)c.blocks * speed->minus;
    /* As if threads took ranges of units and waited for the one with most of them: what blocks gain
     * beyond that is less than two threads lose that share one second-level cache. */
    strassen += threads * LT_STRASSEN_PRODUCTS * pairs * steps * sizeof(float) * speed->split;
    strassen *= (double)(divide_up(c.units, threads) * threads) / (double)c.units;
    return (lt_strassen_costs){(plain + rest) * each, (strassen + rest) * each};
}

/* --- the seven products -------------------------------------------------------------------------
 */

/* A product: its factor of B and its places in C. */
#define NONE 4
typedef struct product {
    uint8_t b, b_minus; /* NONE: b is the factor */
    uint8_t target[2];  /* NONE: no second one */
    float sign[2];
    bool first[2], last[2]; /* of the products that go there */
    uint8_t next;           /* quadrant of B of the next unit to be asked for meanwhile, or NONE */
} product;

/* In the order of the factors of A. */
static const product products[LT_STRASSEN_PRODUCTS] = {
    {1, 3, {1, 3}, {1, 1}, {true, true}, {false, false}, NONE},
    {3, NONE, {1, 0}, {1, 1}, {false, true}, {true, false}, NONE},
    {2, 0, {0, 2}, {1, 1}, {false, true}, {false, false}, NONE},
    {0, NONE, {2, 3}, {1, 1}, {false, false}, {true, false}, 1},
    {0, 3, {0, 3}, {1, -1}, {false, false}, {false, false}, 3},
    {0, 1, {3, NONE}, {-1, 0}, {false, false}, {true, false}, 2},
    {2, 3, {0, NONE}, {1, 0}, {false, false}, {true, false}, 0},
};

/* --- running ------------------------------------------------------------------------------------
 */

typedef struct runner {
    const lt_strassen_kernels *kernels;
    const lt_gemm_job *job;
    cutting cut;
    float *own; /* of all threads */
    double low, high;
    bool activate;
    size_t threads, tasks;
    uint32_t stage;            /* counts chunks of blocks, from 1 */
    size_t t0, t1;             /* tiles of the block in work */
    size_t chunk, k0, chunk_k; /* of half of k */
} runner;

/* What a thread has for itself. */
typedef struct scratch {
    /* In its first line: the stage that the factors were made for, 0 for none; NaN when factors
     * were not finite, otherwise 0. */
    uint32_t *stage;
    float *unfit;
    float *factors;
    float *difference; /* of quadrants of B */
    float *quadrant;   /* of the unit's C, four of them */
    float *raw;        /* a tile that is to be activated */
} scratch;

static scratch scratch_of(const runner *run, size_t thread)
{
    float *own = run->own + thread * run->cut.own;
    scratch s = {.stage = (uint32_t *)(void *)own, .unfit = own + 1};
    s.factors = own + LT_STRASSEN_LINE;
    s.difference = s.factors + run->cut.factors;
    s.quadrant = s.difference + run->cut.difference;
    s.raw = s.quadrant + 4 * run->cut.quadrant;
    return s;
}

/* The first pair of a tile. */
static size_t tile_pair(const runner *run, size_t tile)
{
    const size_t higher = run->cut.higher_tiles;
    return tile * run->cut.tile_pairs + (tile < higher ? tile : higher);
}

/* A factor of a tile: [product][tile][chunk_k / 16][rows][16]. */
static float *factor_at(const runner *run, const scratch *own, size_t product, size_t tile)
{
    size_t p0 = tile_pair(run, run->t0), p1 = tile_pair(run, run->t1);
    size_t row = product * (p1 - p0) + tile_pair(run, tile) - p0;
    return own->factors + row * row_floats(run->cut.chunk_k);
}

/* Makes the factors of one pair of rows. */
static float split_pair(const runner *run, const scratch *own, size_t tile, size_t pair)
{
    const lt_gemm_job *job = run->job;
    size_t first = tile_pair(run, tile), count = tile_pair(run, tile + 1) - first;
    size_t half = run->cut.half_k;
    bool has_lower = pair + run->cut.pairs < job->m;
    const float *a = (const float *)job->a + pair * job->lda + run->k0;
    const float *lower = has_lower ? a + run->cut.pairs * job->lda : a;
    const lt_strassen_split split = {
        .quadrant = {a, a + half, lower, lower + half},
        .has_lower = has_lower,
        .k = run->chunk_k,
        .next_row = pair + 1 < run->cut.pairs ? job->lda * sizeof(float) : 0,
        .out = factor_at(run, own, 0, tile) + (pair - first) * LT_STRASSEN_PITCH,
        .line_stride = count * LT_STRASSEN_PITCH,
        .factor_stride = (size_t)(factor_at(run, own, 1, tile) - factor_at(run, own, 0, tile))};
    return run->kernels->split(&split);
}

/* The factors of the block and chunk in work, unless the thread has them already. */
static void make_factors(const runner *run, const scratch *own)
{
    if (*own->stage == run->stage) {
        return;
    }
    for (size_t t = run->t0; t < run->t1; t++) {
        for (size_t pair = tile_pair(run, t); pair < tile_pair(run, t + 1); pair++) {
            *own->unfit += split_pair(run, own, t, pair);
        }
    }
    *own->stage = run->stage;
}

/* Quadrant q of a unit's B, for the chunk that begins at k0. */
static const float *b_at(const runner *run, size_t unit, size_t q, size_t k0)
{
    size_t nr = run->kernels->gemm->nr, panel = 2 * unit + (q & 1);
    size_t row = (q >> 1) * run->cut.half_k + k0;
    return (const float *)run->job->b + (panel * run->job->k + row) * nr;
}

/* Where a product's tile goes. */
static lt_strassen_target target_of(const runner *run, const scratch *own, size_t unit,
                                    const product *p, size_t i, size_t tile)
{
    const lt_gemm_job *job = run->job;
    size_t nr = run->kernels->gemm->nr, q = p->target[i];
    size_t first = tile_pair(run, tile), count = tile_pair(run, tile + 1) - first;
    size_t row = first + (q >> 1) * run->cut.pairs, column = (2 * unit + (q & 1)) * nr;
    float *part = own->quadrant + q * run->cut.quadrant + (first - tile_pair(run, run->t0)) * nr;
    float *out = (float *)job->c + row * job->ldc + column;
    size_t exist = row >= job->m ? 0 : job->m - row < count ? job->m - row : count;
    lt_strassen_target t = {.to = part,
                            .to_stride = nr,
                            .from = part,
                            .from_stride = nr,
                            .bias = job->bias ? (const float *)job->bias + column : zeros,
                            .sign = p->sign[i],
                            .complete = p->last[i] && run->chunk + 1 == run->cut.chunks,
                            .low = (float)run->low,
                            .high = (float)run->high,
                            .rows = exist};
    if (p->first[i] && run->chunk > 0) {
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

/* Turns a tile's completed target to own->raw (its rows in C can share few sets of the first cache)
 * and asks for its place in C, which is returned: of a product, one target at most is the last. */
static lt_cpu_activation_tile detour(const runner *run, const scratch *own, lt_strassen_target *t)
{
    const int64_t nr = run->kernels->gemm->nr;
    const lt_cpu_activation_tile tile = {own->raw, t->to, (int64_t)t->rows,
                                         nr,       nr,    (int64_t)t->to_stride};
    for (size_t r = 0; r < t->rows; r++) {
        __builtin_prefetch(t->to + r * t->to_stride, 1, 2);
        __builtin_prefetch(t->to + r * t->to_stride + nr - 1, 1, 2);
    }
    t->to = own->raw;
    t->to_stride = (size_t)nr;
    return tile;
}

/* A product's pass over the block's tiles. */
static void run_product(const runner *run, const scratch *own, size_t unit, size_t index,
                        const float *next)
{
    const product *p = &products[index];
    const lt_strassen_kernels *kernels = run->kernels;
    const size_t tiles = run->t1 - run->t0, row_bytes = kernels->gemm->nr * sizeof(float);
    lt_strassen_tile tile = {.k = run->chunk_k,
                             .b = b_at(run, unit, p->b, run->k0),
                             .b_minus =
                                 p->b_minus != NONE ? b_at(run, unit, p->b_minus, run->k0) : NULL,
                             .b_difference = own->difference,
                             .n_targets = p->target[1] == NONE ? 1 : 2,
                             .next_step = next != NULL ? divide_up(row_bytes, tiles) : 0};
    tile.next = next != NULL ? (const char *)next : (const char *)tile.b;
    const lt_strassen_kernel_fn *table = p->b_minus == NONE ? kernels->ready : kernels->difference;
    for (size_t t = run->t0; t < run->t1; t++) {
        size_t count = tile_pair(run, t + 1) - tile_pair(run, t);
        tile.a = factor_at(run, own, index, t);
        lt_cpu_activation_tile raw = {.rows = 0};
        for (size_t i = 0; i < tile.n_targets; i++) {
            tile.targets[i] = target_of(run, own, unit, p, i, t);
            if (run->activate && tile.targets[i].complete) {
                raw = detour(run, own, &tile.targets[i]);
            }
        }
        table[count - kernels->least_rows](&tile);
        if (raw.rows > 0) {
            kernels->gemm->activate(&raw, &run->job->activation);
        }
        tile.next += tile.next_step * run->chunk_k;
        if (p->b_minus != NONE) {
            tile.b = own->difference;
            table = kernels->ready;
        }
    }
}

/* The unit that a thread takes behind `unit` when the pool deals tasks out as one range a thread
 * and all are equally fast, and where its chunk begins: a hint. False at the very last. */
static bool following(const runner *run, size_t thread, size_t unit, size_t *out_unit,
                      size_t *out_k0)
{
    const cutting *cut = &run->cut;
    size_t shares = run->tasks < run->threads ? run->tasks : run->threads;
    size_t begin = cut->units * (run->tasks * thread / shares) / run->tasks;
    size_t end = cut->units * (run->tasks * (thread + 1) / shares) / run->tasks;
    bool more_chunks = run->chunk + 1 < cut->chunks;
    *out_unit = unit + 1;
    *out_k0 = run->k0;
    if (unit + 1 != end && unit + 1 < cut->units) {
        return true;
    }
    *out_unit = begin;
    *out_k0 = more_chunks ? run->k0 + run->chunk_k : 0;
    return begin < cut->units && (more_chunks || run->t1 < cut->tiles);
}

/* Task `task` of the chunk in work: a range of units. */
static void run_range(const runner *run, const scratch *own, size_t task, size_t thread)
{
    const cutting *cut = &run->cut;
    size_t first = cut->units * task / run->tasks, end = cut->units * (task + 1) / run->tasks;
    make_factors(run, own);
    for (size_t u = first; u < end; u++) {
        size_t next, k0;
        bool more = following(run, thread, u, &next, &k0);
        for (size_t i = 0; i < LT_STRASSEN_PRODUCTS; i++) {
            size_t q = products[i].next;
            run_product(run, own, u, i, more && q != NONE ? b_at(run, next, q, k0) : NULL);
        }
    }
}

static void run_task(void *argument, uint32_t task, uint32_t thread)
{
    const runner *run = argument;
    const scratch own = scratch_of(run, thread);
    run_range(run, &own, task, thread);
}

static void set_block(runner *run, size_t block)
{
    const cutting *cut = &run->cut;
    run->t0 = cut->tiles * block / cut->blocks;
    run->t1 = cut->tiles * (block + 1) / cut->blocks;
}

static void set_chunk(runner *run, size_t chunk)
{
    const cutting *cut = &run->cut;
    size_t left = cut->half_k - chunk * cut->chunk_k;
    run->chunk = chunk;
    run->k0 = chunk * cut->chunk_k;
    run->chunk_k = left < cut->chunk_k ? left : cut->chunk_k;
}

/* All of a block, by one thread. */
static void run_block(void *argument, uint32_t task, uint32_t thread)
{
    runner run = *(const runner *)argument;
    const scratch own = scratch_of(&run, thread);
    run.threads = run.tasks = 1;
    set_block(&run, task);
    for (size_t chunk = 0; chunk < run.cut.chunks && !isnan(*own.unfit); chunk++) {
        set_chunk(&run, chunk);
        run.stage = (uint32_t)(task * run.cut.chunks + chunk + 1);
        run_range(&run, &own, 0, 0);
    }
}

/* False when factors of A were not finite. */
static bool all_fit(const runner *run)
{
    float unfit = 0;
    for (size_t i = 0; i < run->threads; i++) {
        unfit += *scratch_of(run, i).unfit;
    }
    return !isnan(unfit);
}

/* A chunk of a block on the pool; false when factors of A were not finite. */
static bool run_chunk(runner *run, const leat_kernel_args *args)
{
    run->stage++;
    if (run->tasks == 1) {
        run_task(run, 0, 0);
    } else {
        args->host->parallel(args->pool, (uint32_t)run->tasks, run_task, run);
    }
    return all_fit(run);
}

/* All blocks and chunks. */
static bool run_units(runner *run, const leat_kernel_args *args)
{
    const cutting *cut = &run->cut;
    if (cut->by_blocks) {
        args->host->parallel(args->pool, (uint32_t)cut->blocks, run_block, run);
        return all_fit(run);
    }
    for (size_t block = 0; block < cut->blocks; block++) {
        set_block(run, block);
        for (size_t chunk = 0; chunk < cut->chunks; chunk++) {
            set_chunk(run, chunk);
            if (!run_chunk(run, args)) {
                return false;
            }
        }
    }
    return true;
}

void lt_strassen_run(const lt_strassen_kernels *kernels, const lt_gemm_job *job, void *workspace,
                     const leat_kernel_args *args)
{
    const uint32_t threads = args->host->pool_threads(args->pool);
    runner run = {.kernels = kernels,
                  .job = job,
                  .cut = cut(kernels, job->m, job->n, job->k, threads),
                  .own = workspace,
                  .low = -INFINITY,
                  .high = INFINITY};
    run.threads = threads;
    for (size_t i = 0; i < run.threads; i++) {
        scratch s = scratch_of(&run, i);
        *s.stage = 0;
        *s.unfit = 0;
    }
    run.activate = !lt_cpu_activation_clamp(&job->activation, &run.low, &run.high);
    run.tasks = run.threads > 1 ? lt_gemm_tasks(run.cut.units, run.threads) : 1;
    float *plain = run.own + run.threads * run.cut.own;
    lt_gemm_job rest = rest_job(kernels, job, &run.cut);
    if (!run_units(&run, args)) {
        lt_gemm_run(job, plain, args);
    } else if (rest.n > 0) {
        lt_gemm_run(&rest, plain, args);
    }
}

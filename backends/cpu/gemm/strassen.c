/* SPDX-License-Identifier: Apache-2.0 */
/* The loops around the micro-kernels of strassen.h.
 *
 * Row i of the upper half and row i of the lower one make a pair; pairs are cut into tiles of
 * nearly equal height and tiles into blocks. For a block and a chunk of k a thread makes all
 * factors of A for itself, which then stay in its second-level cache while units (pairs of panels
 * of B) go over them. Per unit seven products pass over the block's tiles.
 *
 * Threads take blocks, unless shares of the units cut the work more evenly: then every thread makes
 * the blocks' factors. (Sharing them costs more than making them again: every line would be fetched
 * from the core that wrote it, and taken back by it for the next block.) Either way a thread reads
 * as much of B. A share is worked off in steps, of which another thread may take the next one; what
 * a step adds to was made by the step of the same units before it, so that threads meet but once,
 * at the end. */
#include "gemm/strassen_cut.h"

#include <math.h>
#include <stdatomic.h>

/* Ranges of units in a thread's share, at most: the most steps that can be in work at once. */
#define PARTS 8u

/* The widest panel. */
static const float zeros[32];

static lt_gemm_job rest_job(const lt_strassen_kernels *kernels, const lt_gemm_job *job,
                            const lt_strassen_cutting *c)
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
    lt_strassen_cutting cut;
    float *own; /* of all threads */
    double low, high;
    bool activate;
    size_t threads, shares;
    uint32_t stage;              /* counts chunks of blocks, from 1 */
    size_t t0, t1;               /* tiles of the block in work */
    size_t chunk, k0, chunk_k;   /* of half of k */
    size_t first_unit, end_unit; /* of the share in work */
} runner;

/* The first line of what a thread has for itself. */
typedef struct head {
    uint32_t stage; /* that the factors were made for, 0 for none */
    float unfit;    /* NaN when factors were not finite, otherwise 0 */
    /* Of the thread's share of the units. Step i is part i % parts of stage i / parts. */
    _Atomic uint32_t next;        /* step to be taken */
    _Atomic uint32_t done[PARTS]; /* stages of each part */
} head;

typedef struct scratch {
    head *head;
    float *factors;
    float *difference; /* of quadrants of B */
    float *quadrant;   /* of the unit's C, four of them */
    float *raw;        /* a tile that is to be activated */
} scratch;

_Static_assert(sizeof(head) <= LT_STRASSEN_LINE * sizeof(float), "a line for the head");

static scratch scratch_of(const runner *run, size_t thread)
{
    float *own = run->own + thread * run->cut.own;
    scratch s = {.head = (head *)(void *)own};
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
    return own->factors + row * lt_strassen_row_floats(run->cut.chunk_k);
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
    if (own->head->stage == run->stage) {
        return;
    }
    for (size_t t = run->t0; t < run->t1; t++) {
        for (size_t pair = tile_pair(run, t); pair < tile_pair(run, t + 1); pair++) {
            own->head->unfit += split_pair(run, own, t, pair);
        }
    }
    own->head->stage = run->stage;
}

/* Quadrant q of a unit's B, for the chunk that begins at k0. */
static const float *b_at(const runner *run, size_t unit, size_t q, size_t k0)
{
    size_t nr = run->kernels->gemm->nr, panel = 2 * unit + (q & 1);
    size_t row = (q >> 1) * run->cut.half_k + k0;
    return (const float *)run->job->b + (panel * run->job->k + row) * nr;
}

/* Rows of target i of a product that exist among `count` behind the pair `first`. */
static size_t rows_there(const runner *run, const product *p, size_t i, size_t first, size_t count)
{
    size_t row = first + (p->target[i] >> 1) * run->cut.pairs, m = run->job->m;
    return row >= m ? 0 : m - row < count ? m - row : count;
}

/* Where a product's first tile goes. */
static lt_strassen_target target_of(const runner *run, const scratch *own, size_t unit,
                                    const product *p, size_t i)
{
    const lt_gemm_job *job = run->job;
    size_t nr = run->kernels->gemm->nr, q = p->target[i];
    size_t row = tile_pair(run, run->t0) + (q >> 1) * run->cut.pairs;
    size_t column = (2 * unit + (q & 1)) * nr;
    float *part = own->quadrant + q * run->cut.quadrant;
    float *out = (float *)job->c + row * job->ldc + column;
    lt_strassen_target t = {.to = part,
                            .to_stride = nr,
                            .from = part,
                            .from_stride = nr,
                            .bias = job->bias ? (const float *)job->bias + column : zeros,
                            .sign = p->sign[i],
                            .complete = p->last[i] && run->chunk + 1 == run->cut.chunks,
                            .low = (float)run->low,
                            .high = (float)run->high};
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

/* One call of a kernel whose completed target is to be activated: by way of own->raw, as its rows
 * in C, which are asked for meanwhile, can share few sets of the first cache. Of a product, one
 * target at most is the last. */
static void run_costly(const runner *run, const scratch *own, lt_strassen_kernel_fn kernel,
                       lt_strassen_tile *tile, lt_strassen_target *target)
{
    const size_t nr = run->kernels->gemm->nr, stride = target->to_stride;
    float *to = target->to;
    const lt_cpu_activation_tile raw = {own->raw,    to,          (int64_t)target->rows,
                                        (int64_t)nr, (int64_t)nr, (int64_t)stride};
    for (size_t r = 0; r < target->rows; r++) {
        __builtin_prefetch(to + r * stride, 1, 2);
        __builtin_prefetch(to + r * stride + nr - 1, 1, 2);
    }
    target->to = own->raw;
    target->to_stride = nr;
    kernel(tile);
    target->to = to;
    target->to_stride = stride;
    if (raw.rows > 0) {
        run->kernels->gemm->activate(&raw, &run->job->activation);
    }
}

/* A product's pass over the block's tiles. */
static void run_product(const runner *run, const scratch *own, size_t unit, size_t index,
                        const float *next)
{
    const product *p = &products[index];
    const lt_strassen_kernels *kernels = run->kernels;
    const size_t tiles = run->t1 - run->t0, row_bytes = kernels->gemm->nr * sizeof(float);
    lt_strassen_tile tile = {.k = run->chunk_k,
                             .a = factor_at(run, own, index, run->t0),
                             .b = b_at(run, unit, p->b, run->k0),
                             .b_minus =
                                 p->b_minus != NONE ? b_at(run, unit, p->b_minus, run->k0) : NULL,
                             .b_difference = own->difference,
                             .n_targets = p->target[1] == NONE ? 1 : 2,
                             .next_step = next != NULL ? (row_bytes + tiles - 1) / tiles : 0};
    tile.next = next != NULL ? (const char *)next : (const char *)tile.b;
    lt_strassen_target *costly = NULL;
    for (size_t i = 0; i < tile.n_targets; i++) {
        tile.targets[i] = target_of(run, own, unit, p, i);
        if (run->activate && tile.targets[i].complete) {
            costly = &tile.targets[i];
        }
    }
    const lt_strassen_kernel_fn *table = p->b_minus == NONE ? kernels->ready : kernels->difference;
    size_t pair = tile_pair(run, run->t0), end;
    for (size_t t = run->t0; t < run->t1; t++, pair = end) {
        end = tile_pair(run, t + 1);
        const size_t count = end - pair;
        for (size_t i = 0; i < tile.n_targets; i++) {
            tile.targets[i].rows = rows_there(run, p, i, pair, count);
        }
        lt_strassen_kernel_fn kernel = table[count - kernels->least_rows];
        if (costly != NULL) {
            run_costly(run, own, kernel, &tile, costly);
        } else {
            kernel(&tile);
        }
        for (size_t i = 0; i < tile.n_targets; i++) {
            tile.targets[i].to += count * tile.targets[i].to_stride;
            tile.targets[i].from += count * tile.targets[i].from_stride;
        }
        tile.a += count * lt_strassen_row_floats(run->cut.chunk_k);
        tile.next += tile.next_step * run->chunk_k;
        if (p->b_minus != NONE) {
            tile.b = own->difference;
            table = kernels->ready;
        }
    }
}

/* The unit that follows `unit` in the share in work, and where its chunk begins. False at the very
 * last. */
static bool following(const runner *run, size_t unit, size_t *out_unit, size_t *out_k0)
{
    const lt_strassen_cutting *cut = &run->cut;
    bool more_chunks = run->chunk + 1 < cut->chunks;
    *out_unit = unit + 1;
    *out_k0 = run->k0;
    if (unit + 1 < run->end_unit) {
        return true;
    }
    *out_unit = run->first_unit;
    *out_k0 = more_chunks ? run->k0 + run->chunk_k : 0;
    return more_chunks || run->t1 < cut->tiles;
}

/* Units [first, end) of the chunk in work. */
static void run_range(const runner *run, const scratch *own, size_t first, size_t end)
{
    make_factors(run, own);
    for (size_t u = first; u < end; u++) {
        size_t next, k0;
        bool more = following(run, u, &next, &k0);
        for (size_t i = 0; i < LT_STRASSEN_PRODUCTS; i++) {
            size_t q = products[i].next;
            run_product(run, own, u, i, more && q != NONE ? b_at(run, next, q, k0) : NULL);
        }
    }
}

/* Turns to a chunk of a block. */
static void set_stage(runner *run, size_t block, size_t chunk)
{
    const lt_strassen_cutting *cut = &run->cut;
    size_t left = cut->half_k - chunk * cut->chunk_k;
    run->t0 = cut->tiles * block / cut->blocks;
    run->t1 = cut->tiles * (block + 1) / cut->blocks;
    run->chunk = chunk;
    run->k0 = chunk * cut->chunk_k;
    run->chunk_k = left < cut->chunk_k ? left : cut->chunk_k;
    run->stage = (uint32_t)(block * cut->chunks + chunk + 1);
}

/* All of a block, by one thread. */
static void run_block(void *argument, uint32_t task, uint32_t thread)
{
    runner run = *(const runner *)argument;
    const scratch own = scratch_of(&run, thread);
    run.end_unit = run.cut.units;
    for (size_t chunk = 0; chunk < run.cut.chunks && !isnan(own.head->unfit); chunk++) {
        set_stage(&run, task, chunk);
        run_range(&run, &own, 0, run.cut.units);
    }
}

/* The next step of a share. False when none is left, or when the one before it of the same units is
 * still in work: by a thread that takes the others then. */
static bool take_step(head *share, size_t steps, size_t parts, size_t *out_step)
{
    uint32_t step = atomic_load_explicit(&share->next, memory_order_relaxed);
    do {
        if (step >= steps ||
            atomic_load_explicit(&share->done[step % parts], memory_order_acquire) < step / parts) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&share->next, &step, step + 1,
                                                    memory_order_relaxed, memory_order_relaxed));
    *out_step = step;
    return true;
}

/* What is left of a share. */
static void run_share(runner *run, const scratch *own, size_t index)
{
    const lt_strassen_cutting *cut = &run->cut;
    head *share = scratch_of(run, index).head;
    run->first_unit = cut->units * index / run->shares;
    run->end_unit = cut->units * (index + 1) / run->shares;
    const size_t units = run->end_unit - run->first_unit, parts = units < PARTS ? units : PARTS;
    size_t step;
    while (take_step(share, parts * cut->blocks * cut->chunks, parts, &step)) {
        const size_t part = step % parts, stage = step / parts;
        if (!isnan(own->head->unfit)) {
            set_stage(run, stage / cut->chunks, stage % cut->chunks);
            run_range(run, own, run->first_unit + units * part / parts,
                      run->first_unit + units * (part + 1) / parts);
        }
        atomic_store_explicit(&share->done[part], (uint32_t)stage + 1, memory_order_release);
    }
}

/* A share, then what others have left of theirs. */
static void run_shares(void *argument, uint32_t task, uint32_t thread)
{
    runner run = *(const runner *)argument;
    const scratch own = scratch_of(&run, thread);
    for (size_t i = 0; i < run.shares; i++) {
        run_share(&run, &own, (task + i) % run.shares);
    }
}

/* False when factors of A were not finite. */
static bool all_fit(const runner *run)
{
    float unfit = 0;
    for (size_t i = 0; i < run->threads; i++) {
        unfit += scratch_of(run, i).head->unfit;
    }
    return !isnan(unfit);
}

void lt_strassen_run(const lt_strassen_kernels *kernels, const lt_gemm_job *job, void *workspace,
                     const leat_kernel_args *args)
{
    const uint32_t threads = args->host->pool_threads(args->pool);
    runner run = {.kernels = kernels,
                  .job = job,
                  .cut = lt_strassen_cut(kernels, job->m, job->n, job->k, threads),
                  .own = workspace,
                  .low = -INFINITY,
                  .high = INFINITY};
    run.threads = threads;
    for (size_t i = 0; i < run.threads; i++) {
        *scratch_of(&run, i).head = (head){.stage = 0};
    }
    run.activate = !lt_cpu_activation_clamp(&job->activation, &run.low, &run.high);
    run.shares = run.cut.units < threads ? run.cut.units : threads;
    if (run.cut.by_blocks) {
        args->host->parallel(args->pool, (uint32_t)run.cut.blocks, run_block, &run);
    } else if (run.shares == 1) {
        run_shares(&run, 0, 0);
    } else {
        args->host->parallel(args->pool, (uint32_t)run.shares, run_shares, &run);
    }
    float *plain = run.own + run.threads * run.cut.own;
    lt_gemm_job rest = rest_job(kernels, job, &run.cut);
    if (!all_fit(&run)) {
        lt_gemm_run(job, plain, args);
    } else if (rest.n > 0) {
        lt_gemm_run(&rest, plain, args);
    }
}

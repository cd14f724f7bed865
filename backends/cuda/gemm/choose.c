/* SPDX-License-Identifier: Apache-2.0 */
/* Chooses the tile and the split of a product by a model of time.
 *
 * A step of a tile takes as long as its products or its bytes out of the L2 cache, whichever is
 * longer; all steps take at least as long as their bytes out of memory. A tile further takes its
 * epilogue, a split the exchange of partial sums. The constants were fitted on an H100 to the times
 * of bench/ladder/gemm with `sweep`: within 15 % for most cuts of sizes of BERT and ResNet-50. */
#include "support.h"

#define CYCLES_PER_NS 1.7
#define MULTIPLY_ADDS                                                                              \
    2048.0 /* a cycle, of halves; twice as many of bytes, of which a step has twice */
#define CACHE_BYTES 5544.0      /* a cycle, to all multiprocessors */
#define ENGINE_BYTES 64.0       /* a cycle, to one of them */
#define MEMORY_BYTES 2900.0     /* a ns */
#define TURN_STEP 1.08          /* where warpgroups take turns, of that */
#define START_CYCLES 1500.0     /* of a block: barriers, the first loads */
#define EPILOGUE_RATE 16.0      /* results a cycle */
#define PLAIN_CYCLES 0.09       /* of a result in a product's epilogue, beside that rate */
#define BYTE_CYCLES 0.2         /* the same of bytes, whose sums are requantized */
#define EXPONENTIAL_CYCLES 0.13 /* of an activation with an exponential and a division */
#define SPLIT_CYCLES 2000.0
#define PARTIAL_CYCLES 0.04 /* of a result, for each block that shares it */
#define LAUNCH_NS 2500.0
#define WORTH_MEASURING 2.0 /* times the least estimate */

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Clusters lie within one of the device's groups of 14 to 18 multiprocessors: some stay idle. */
static int64_t blocks_at_once(uint32_t cluster, uint32_t n_multiprocessors)
{
    uint32_t usable = n_multiprocessors;
    if (cluster > 2) {
        usable = cluster > 4 ? usable * 3 / 4 : usable * 7 / 8;
    }
    uint32_t blocks = usable / cluster * cluster;
    return blocks ? blocks : 1;
}

/* Blocks of a tile that a multiprocessor can hold. */
static uint32_t blocks_held(const lt_cuda_gemm_tile *tile)
{
    return tile->rows == 64 ? 2 : 1;
}

static int takes_turns(const lt_cuda_gemm_tile *tile)
{
    return tile->rows > 128;
}

static uint32_t rows_of_block(const lt_cuda_gemm_tile *tile)
{
    return tile->rows / LT_GEMM_SHARERS(tile->rows);
}

/* Bytes that a block fetches for a step of k of all its rows. */
static double step_bytes(const lt_cuda_gemm_tile *tile)
{
    double columns = (double)tile->columns / LT_GEMM_SHARERS(tile->rows);
    double turns = takes_turns(tile) ? 2 : 1;
    return turns * (LT_GEMM_STAGE_ROWS(tile->rows) + columns) * LT_GEMM_STEP_BYTES;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

/* Time of a cut whose operands are `bytes` of memory. */
static double tile_ns(const lt_cuda_gemm_tile *tile, int64_t steps, uint32_t splits, int64_t tiles,
                      double bytes, double finish_cycles, uint32_t n_multiprocessors)
{
    uint32_t cluster = splits * LT_GEMM_SHARERS(tile->rows);
    int64_t blocks = tiles * cluster, places = blocks_at_once(cluster, n_multiprocessors);
    int64_t at_once = places * blocks_held(tile);
    double waves = (double)ceil_div(blocks, at_once);
    double busy = (double)(blocks < places ? blocks : places);
    double shared = (double)ceil_div(blocks < at_once ? blocks : at_once, places);
    double rate = CACHE_BYTES / busy < ENGINE_BYTES ? CACHE_BYTES / busy : ENGINE_BYTES;
    double products = (double)rows_of_block(tile) * tile->columns * 64 / MULTIPLY_ADDS;
    double step = larger(products, step_bytes(tile) / rate);
    step *= takes_turns(tile) ? TURN_STEP : 1;
    double results = (double)rows_of_block(tile) * tile->columns;
    double once = results / splits * (1 / EPILOGUE_RATE + finish_cycles / blocks_held(tile));
    if (takes_turns(tile)) { /* but for the last one behind the products */
        once /= 2 * waves;
    }
    if (splits > 1) {
        once += SPLIT_CYCLES + results * splits * PARTIAL_CYCLES;
    }
    double stream = waves * shared * (double)ceil_div(steps, splits) * step / CYCLES_PER_NS;
    return LAUNCH_NS + larger(stream, bytes / MEMORY_BYTES) +
           (START_CYCLES + waves * once) / CYCLES_PER_NS;
}

/* Whether a split gives every block at least one step. */
static int is_possible(uint32_t tile, int64_t steps, uint32_t splits)
{
    return (splits == 1 || tile < LT_GEMM_N_TILES) && splits >= 1 && splits <= LT_GEMM_MAX_SPLIT &&
           splits <= steps;
}

static double cut_ns(const int64_t sizes[3], int64_t steps, uint32_t i, uint32_t splits,
                     double finish_cycles, uint32_t n_multiprocessors)
{
    const lt_cuda_gemm_tile *tile = &lt_cuda_gemm_tiles[i];
    int64_t tiles = ceil_div(sizes[0], tile->rows) * ceil_div(sizes[1], tile->columns) * sizes[2];
    double m = (double)sizes[0], n = (double)sizes[1], k = (double)steps * LT_GEMM_STEP_BYTES;
    double bytes = (double)sizes[2] * (m * k + n * k + 2 * m * n);
    return tile_ns(tile, steps, splits, tiles, bytes, finish_cycles, n_multiprocessors);
}

/* Among the first n_tiles. */
static leat_status choose(uint32_t n_tiles, const int64_t sizes[3], int64_t steps,
                          const uint32_t wanted[2], double finish_cycles,
                          uint32_t n_multiprocessors, lt_cuda_gemm_cut *out, leat_error *err)
{
    *out = (lt_cuda_gemm_cut){0, 1, 0};
    if (wanted[0] != 0) {
        if (wanted[0] > n_tiles || !is_possible(wanted[0] - 1, steps, wanted[1])) {
            return lt_cuda_gemm_fail(err, LEAT_INVALID, "no tile %u with %u splits", wanted[0],
                                     wanted[1]);
        }
        double ns =
            cut_ns(sizes, steps, wanted[0] - 1, wanted[1], finish_cycles, n_multiprocessors);
        *out = (lt_cuda_gemm_cut){wanted[0] - 1, wanted[1], ns};
        return LEAT_OK;
    }
    for (uint32_t i = 0; i < n_tiles; i++) {
        for (uint32_t splits = 1; is_possible(i, steps, splits); splits++) {
            double ns = cut_ns(sizes, steps, i, splits, finish_cycles, n_multiprocessors);
            if (out->cost_ns == 0 || ns < out->cost_ns) {
                *out = (lt_cuda_gemm_cut){i, splits, ns};
            }
        }
    }
    return LEAT_OK;
}

leat_status lt_cuda_gemm_choose(const int64_t sizes[3], int64_t steps, const uint32_t wanted[2],
                                uint32_t n_multiprocessors, lt_cuda_gemm_cut *out, leat_error *err)
{
    return choose(LT_GEMM_N_TILES, sizes, steps, wanted, 0, n_multiprocessors, out, err);
}

/* What an epilogue takes beside its rate, in cycles of a result. */
static double product_finish(const lt_cuda_gemm_params *p)
{
    int exponential = p->finish == LT_GEMM_FINISH_GELU || p->finish == LT_GEMM_FINISH_LOGISTIC;
    return PLAIN_CYCLES + (exponential ? EXPONENTIAL_CYCLES : 0);
}

leat_status lt_cuda_gemm_choose_product(const int64_t sizes[3], const lt_cuda_gemm_params *p,
                                        const uint32_t wanted[2], uint32_t n_multiprocessors,
                                        lt_cuda_gemm_cut *out, leat_error *err)
{
    return choose(LT_GEMM_N_ALL_TILES, sizes, p->steps, wanted, product_finish(p),
                  n_multiprocessors, out, err);
}

/* Sorts a cut in; the list of at most `most` loses its last one. */
static uint32_t insert(lt_cuda_gemm_cut *cuts, uint32_t count, uint32_t most, lt_cuda_gemm_cut cut)
{
    uint32_t at = count < most ? count : most - 1;
    if (count == most && cut.cost_ns >= cuts[at].cost_ns) {
        return count;
    }
    for (; at > 0 && cuts[at - 1].cost_ns > cut.cost_ns; at--) {
        cuts[at] = cuts[at - 1];
    }
    cuts[at] = cut;
    return count < most ? count + 1 : most;
}

uint32_t lt_cuda_gemm_cuts(const lt_cuda_gemm *gemm, const lt_cuda_gemm_plan *plan,
                           lt_cuda_gemm_cut *out, uint32_t most)
{
    const lt_cuda_gemm_params *p = &plan->params;
    const int64_t sizes[3] = {p->m, p->n, p->n_tiles / (p->tiles_m * p->tiles_n)};
    const int turns = !p->bytes && p->c_steps == 0; /* a product of halves or TF32 */
    const double finish = turns ? product_finish(p) : 0;
    uint32_t count = 0;
    for (uint32_t i = 0; i < (turns ? LT_GEMM_N_ALL_TILES : LT_GEMM_N_TILES) && most > 0; i++) {
        for (uint32_t splits = 1; is_possible(i, p->steps, splits); splits++) {
            double ns = cut_ns(sizes, p->steps, i, splits, finish, gemm->n_multiprocessors);
            count = insert(out, count, most, (lt_cuda_gemm_cut){i, splits, ns});
        }
    }
    while (count > 1 && out[count - 1].cost_ns > WORTH_MEASURING * out[0].cost_ns) {
        count--;
    }
    return count;
}

/* Tiles of 128 x 128 that the busiest multiprocessor computes by such a tile. */
static int64_t busiest(const int64_t sizes[3], uint32_t i, uint32_t n_multiprocessors)
{
    const lt_cuda_gemm_tile *tile = &lt_cuda_gemm_tiles[i];
    int64_t tiles = ceil_div(sizes[0], tile->rows) * ceil_div(sizes[1], tile->columns) * sizes[2];
    return ceil_div(tiles, n_multiprocessors) * (tile->rows / 128);
}

leat_status lt_cuda_gemm_choose_bytes(const int64_t sizes[3], int64_t steps,
                                      const uint32_t wanted[2], uint32_t n_multiprocessors,
                                      lt_cuda_gemm_cut *out, leat_error *err)
{
    enum {
        SQUARE = 1,             /* 128 x 128 */
        TURNS = LT_GEMM_N_TILES /* 256 x 128 */
    };
    const int64_t square = busiest(sizes, SQUARE, n_multiprocessors);
    if (wanted[0] != 0 || square < 3) {
        uint32_t n_tiles = wanted[0] != 0 ? LT_GEMM_N_ALL_TILES : LT_GEMM_N_TILES;
        return choose(n_tiles, sizes, steps, wanted, 0, n_multiprocessors, out, err);
    }
    /* Measured on an H100, layers of ResNet-50 of 256 images: turns hide the requantization, 58 us
     * against 59 to 61 of 14 x 14 x 256 by 3 x 3, 67 against 72 to 83 of 28 x 28 x 128; with more
     * for the busiest they do not, 71 against 60 of 7 x 7 x 512. Splits never gain (76). */
    uint32_t tile = busiest(sizes, TURNS, n_multiprocessors) <= square ? TURNS : SQUARE;
    double ns = cut_ns(sizes, steps, tile, 1, BYTE_CYCLES, n_multiprocessors);
    *out = (lt_cuda_gemm_cut){tile, 1, ns};
    return LEAT_OK;
}

void lt_cuda_gemm_apply(const lt_cuda_gemm *gemm, lt_cuda_gemm_plan *plan, lt_cuda_gemm_cut cut,
                        int64_t batch)
{
    const lt_cuda_gemm_tile *tile = &lt_cuda_gemm_tiles[cut.tile];
    lt_cuda_gemm_params *p = &plan->params;
    p->tiles_m = (uint32_t)ceil_div(p->m, tile->rows);
    p->tiles_n = (uint32_t)ceil_div(p->n, tile->columns);
    p->n_tiles = p->tiles_m * p->tiles_n * (uint32_t)batch;
    p->swath = 2048 / tile->rows;
    p->splits = cut.splits;
    uint32_t rows = LT_GEMM_STAGE_ROWS(tile->rows);
    p->a_box_rows = p->m < rows ? (uint32_t)ceil_div(p->m, 8) * 8 : rows;
    plan->cluster = cut.splits * LT_GEMM_SHARERS(tile->rows);
    plan->grid = p->n_tiles * plan->cluster;
    uint32_t at_once = gemm->n_multiprocessors / plan->cluster * plan->cluster * blocks_held(tile);
    if (cut.splits == 1 && plan->grid > at_once) {
        plan->grid = at_once;
    }
    p->stages = tile->stages / (plan->grid > gemm->n_multiprocessors ? blocks_held(tile) : 1);
    plan->threads = tile->threads;
    plan->shared_bytes = tile->shared_bytes - (tile->stages - p->stages) *
                                                  (tile->rows + tile->columns) * LT_GEMM_STEP_BYTES;
    plan->cost_ns = cut.cost_ns;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Chooses the tile and the split of a product by a model of time.
 *
 * A step of a tile takes as long as its products (2048 multiply-adds a cycle and multiprocessor) or
 * its bytes out of the L2 cache, whichever is longer; a tile further takes its epilogue, a block
 * its start, a split the exchange of partial sums. The memory's rate bounds the whole. The
 * constants are those of an H100; only their ratios matter. */
#include "support.h"

#define CYCLES_PER_NS 1.6
#define MULTIPLY_ADDS 2048.0 /* a cycle */
#define CACHE_BYTES 48.0     /* a cycle and multiprocessor */
#define MEMORY_BYTES 2.9     /* a ns, in thousands */
#define START_CYCLES 1500.0  /* of a block: barriers, the first loads */
#define EPILOGUE_RATE 16.0   /* results a cycle */
#define SPLIT_CYCLES 1500.0
#define LAUNCH_NS 2000.0

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Clusters lie within one of the device's groups of multiprocessors (16 or 18): some stay idle. */
static int64_t blocks_at_once(uint32_t cluster, uint32_t n_multiprocessors)
{
    uint32_t usable = cluster == 8 ? n_multiprocessors * 7 / 8 : n_multiprocessors;
    uint32_t blocks = usable / cluster * cluster;
    return blocks ? blocks : 1;
}

static double tile_ns(const lt_gemm_tile *tile, int64_t steps, uint32_t splits, int64_t tiles,
                      uint32_t n_multiprocessors)
{
    double products = (double)tile->rows * tile->columns * LT_GEMM_STEP / MULTIPLY_ADDS;
    double bytes = (tile->rows + (double)tile->columns / tile->multicast) * LT_GEMM_STEP * 2;
    double step = products > bytes / CACHE_BYTES ? products : bytes / CACHE_BYTES;
    double results = (double)tile->rows * tile->columns;
    double once = (double)ceil_div(steps, splits) * step + results / splits / EPILOGUE_RATE;
    uint32_t cluster = tile->multicast > 1 ? tile->multicast : splits;
    int64_t waves = ceil_div(tiles * splits, blocks_at_once(cluster, n_multiprocessors));
    double cycles = START_CYCLES + (double)waves * once;
    if (splits > 1) {
        cycles += (double)waves * (SPLIT_CYCLES + results * 4 / CACHE_BYTES);
    }
    return cycles / CYCLES_PER_NS + LAUNCH_NS;
}

lt_gemm_cut lt_gemm_choose(int64_t m, int64_t n, int64_t steps, int64_t batch,
                           uint32_t n_multiprocessors)
{
    lt_gemm_cut best = {0, 1, 0};
    for (uint32_t i = 0; i < LT_GEMM_N_TILES; i++) {
        const lt_gemm_tile *tile = &lt_gemm_tiles[i];
        int64_t rows = (int64_t)tile->rows * tile->multicast;
        int64_t tiles = ceil_div(m, rows) * tile->multicast * ceil_div(n, tile->columns) * batch;
        uint32_t most = tile->multicast > 1 ? 1 : LT_GEMM_MAX_SPLIT;
        for (uint32_t splits = 1; splits <= most && splits <= steps; splits *= 2) {
            double ns = tile_ns(tile, steps, splits, tiles, n_multiprocessors);
            if (best.cost_ns == 0 || ns < best.cost_ns) {
                best = (lt_gemm_cut){i, splits, ns};
            }
        }
    }
    double k = (double)steps * LT_GEMM_STEP;
    double bytes = 2.0 * (double)batch * ((double)m * k + (double)n * k + (double)m * (double)n);
    double memory_ns = bytes / (MEMORY_BYTES * 1000) + LAUNCH_NS;
    best.cost_ns = best.cost_ns > memory_ns ? best.cost_ns : memory_ns;
    return best;
}

void lt_gemm_apply(const lt_gemm *gemm, lt_gemm_plan *plan, lt_gemm_cut cut, int64_t batch)
{
    const lt_gemm_tile *tile = &lt_gemm_tiles[cut.tile];
    lt_gemm_params *p = &plan->params;
    p->tiles_m = (uint32_t)ceil_div(p->m, (int64_t)tile->rows * tile->multicast);
    p->tiles_n = (uint32_t)ceil_div(p->n, tile->columns);
    p->n_tiles = p->tiles_m * p->tiles_n * (uint32_t)batch;
    p->swath = tile->multicast > 1 ? 8 : 16;
    p->splits = cut.splits;
    p->a_box_rows = p->m < tile->rows ? (uint32_t)ceil_div(p->m, 8) * 8 : tile->rows;
    plan->cluster = tile->multicast > 1 ? tile->multicast : cut.splits;
    uint32_t clusters = p->n_tiles;
    if (cut.splits == 1 && clusters > gemm->n_multiprocessors / plan->cluster) {
        clusters = gemm->n_multiprocessors / plan->cluster;
    }
    plan->grid = clusters * plan->cluster;
    plan->shared_bytes = tile->shared_bytes;
    plan->cost_ns = cut.cost_ns;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Which kernels and sizes Strassen's product takes, and when it pays. */
#include "gemm/strassen_cut.h"

#include "sizes.h"

/* Pairs of rows in a block. Its factors of A for a chunk take 0.7 to 1 MB. */
#define BLOCK_PAIRS 70u

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

static size_t whole_lines(size_t floats)
{
    return lt_divide_size_up(floats, LT_STRASSEN_LINE) * LT_STRASSEN_LINE;
}

/* Whether threads that take blocks of tiles wait less for one another than with ranges of units. */
static bool blocks_are_even(const lt_strassen_cutting *c, size_t threads)
{
    size_t most_tiles = lt_divide_size_up(c->tiles, threads),
           most_units = lt_divide_size_up(c->units, threads);
    return threads > 1 && c->tiles >= threads && most_tiles * c->units <= most_units * c->tiles;
}

lt_strassen_cutting lt_strassen_cut(const lt_strassen_kernels *kernels, size_t m, size_t n,
                                    size_t k, size_t threads)
{
    const size_t mr = kernels->gemm->mr, nr = kernels->gemm->nr;
    lt_strassen_cutting c = {
        .half_k = k / 2, .pairs = lt_divide_size_up(m, 2), .units = n / (2 * nr)};
    c.chunks = lt_divide_size_up(c.half_k, kernels->speed.chunk_k);
    c.chunk_k = c.chunks ? whole_lines(lt_divide_size_up(c.half_k, c.chunks)) : 0;
    c.tiles = lt_divide_size_up(c.pairs, mr);
    c.tile_pairs = c.tiles ? c.pairs / c.tiles : 0;
    c.higher_tiles = c.tiles ? c.pairs % c.tiles : 0;
    c.blocks = lt_divide_size_up(c.pairs, BLOCK_PAIRS);
    c.by_blocks = blocks_are_even(&c, threads);
    if (c.by_blocks) {
        size_t blocks = lt_divide_size_up(c.blocks, threads) * threads;
        c.blocks = blocks < c.tiles ? blocks : c.tiles;
    }
    c.block_tiles = c.blocks ? lt_divide_size_up(c.tiles, c.blocks) : 0;
    c.rest = n - c.units * 2 * nr;
    c.factors =
        whole_lines(LT_STRASSEN_PRODUCTS * c.block_tiles * mr * lt_strassen_row_floats(c.chunk_k));
    c.difference = c.chunk_k * nr;
    c.quadrant = c.block_tiles * mr * nr;
    c.own = LT_STRASSEN_LINE + c.factors + c.difference + 4 * c.quadrant + mr * nr;
    return c;
}

bool lt_strassen_applies(const lt_strassen_kernels *kernels, size_t m, size_t n, size_t k)
{
    lt_strassen_cutting c = lt_strassen_cut(kernels, m, n, k, 1);
    return c.units > 0 && c.pairs > 0 && k >= 2 && k % 2 == 0 &&
           c.pairs / c.tiles >= kernels->least_rows;
}

size_t lt_strassen_workspace(const lt_strassen_kernels *kernels, const lt_gemm_job *job,
                             uint32_t threads)
{
    lt_strassen_cutting c = lt_strassen_cut(kernels, job->m, job->n, job->k, threads);
    lt_gemm_job plain = {.kernels = kernels->gemm, .m = job->m, .k = job->k, .taps = 1};
    return c.own * threads * sizeof(float) + lt_gemm_workspace(&plain, threads);
}

#define GHZ 3.5 /* nominal: only ratios matter */

lt_strassen_costs lt_strassen_estimate(const lt_strassen_kernels *kernels, const lt_gemm_job *job,
                                       uint32_t threads)
{
    const lt_strassen_cutting c = lt_strassen_cut(kernels, job->m, job->n, job->k, threads);
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
    strassen *= (double)(lt_divide_size_up(c.units, threads) * threads) / (double)c.units;
    return (lt_strassen_costs){(plain + rest) * each, (strassen + rest) * each};
}

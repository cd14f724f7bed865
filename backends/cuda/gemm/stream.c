/* SPDX-License-Identifier: Apache-2.0 */
/* Plans and launches of stream.cuh's kernels. */
#include "stream.h"
#include "support.h"

#include <string.h>

#define NAME_f16(columns, blocks) "lt_cuda_gemm_f16_stream_128x" #columns "x64_" #blocks "_sm90",
#define NAME_bf16(columns, blocks) "lt_cuda_gemm_bf16_stream_128x" #columns "x64_" #blocks "_sm90",
static const char *const names[2 * LT_STREAM_N_TILES] = {LT_STREAM_TILES(NAME_f16)
                                                             LT_STREAM_TILES(NAME_bf16)};

#define TILE(columns, blocks) {columns, blocks},
static const struct {
    uint32_t columns, blocks;
} tiles[LT_STREAM_N_TILES] = {LT_STREAM_TILES(TILE)};

const char *lt_cuda_stream_kernel_name(uint32_t i)
{
    return names[i];
}

leat_status lt_cuda_stream_open(const lt_cuda_gemm *gemm, void *const modules[2],
                                lt_cuda_stream_kernels *out, leat_error *err)
{
    *out = (lt_cuda_stream_kernels){.gemm = gemm};
    for (uint32_t i = 0; i < 2 * LT_STREAM_N_TILES; i++) {
        void *module = modules[i / LT_STREAM_N_TILES];
        if (module == NULL) {
            continue;
        }
        const uint32_t bytes = LT_STREAM_SHARED_BYTES(tiles[i % LT_STREAM_N_TILES].blocks);
        leat_status status =
            lt_cuda_gemm_find(&gemm->driver, module, names[i], bytes, &out->functions[i], err);
        if (status != LEAT_OK) {
            return status;
        }
    }
    return LEAT_OK;
}

/* How a convolution is cut: the tile, and what becomes of shared memory. */
typedef struct cut {
    uint32_t tile, tiles_m, tiles_n, grid, slots, stages, resident, shared_bytes;
} cut;

static uint32_t ceil_div(uint32_t a, uint32_t b)
{
    return (a + b - 1) / b;
}

/* Cuts shared memory with so many slots; false where fewer than three stages fit. */
static int cut_memory(const cut *c, uint32_t steps, cut *out)
{
    const uint32_t columns = tiles[c->tile].columns, least = 3;
    const uint32_t a = LT_STREAM_ROWS * LT_GEMM_STEP_BYTES, b = columns * LT_GEMM_STEP_BYTES;
    const uint32_t all = LT_STREAM_SHARED_BYTES(tiles[c->tile].blocks);
    const uint32_t taken = LT_STREAM_OTHER_BYTES(columns) + c->slots * LT_STREAM_ROWS * columns * 2;
    const uint64_t weights = (uint64_t)steps * b;
    *out = *c;
    out->resident = c->tiles_n <= c->grid && taken + weights + least * a <= all;
    const uint32_t stage = out->resident ? a : a + b, whole = out->resident ? (uint32_t)weights : 0;
    if (taken + whole + least * stage > all) {
        return 0;
    }
    out->stages = (all - taken - whole) / stage;
    out->stages = out->stages < LT_STREAM_MAX_STAGES ? out->stages : LT_STREAM_MAX_STAGES;
    out->shared_bytes = taken + whole + out->stages * stage;
    return 1;
}

/* A second block is worth its half of the memory only where weights are resident. */
static int make_cut(const lt_cuda_gemm *gemm, const lt_cuda_stream_params *params, uint32_t i,
                    cut *out)
{
    const lt_cuda_gemm_params *p = &params->gemm;
    const int residual = p->residual_type != LT_GEMM_NONE;
    const uint32_t places = gemm->n_multiprocessors * tiles[i].blocks;
    cut c = {.tile = i,
             .tiles_m = ceil_div(p->m, LT_STREAM_ROWS),
             .tiles_n = ceil_div(p->n, tiles[i].columns)};
    const uint64_t n_tiles = (uint64_t)c.tiles_m * c.tiles_n;
    c.grid = n_tiles < places ? (uint32_t)n_tiles : places;
    for (c.slots = residual ? LT_STREAM_MAX_SLOTS : 2; c.slots >= (residual ? 2 : 1); c.slots--) {
        if (cut_memory(&c, p->steps + params->second.steps, out) &&
            (tiles[i].blocks == 1 || out->resident)) {
            out->grid -= out->resident ? out->grid % out->tiles_n : 0;
            return 1;
        }
    }
    return 0;
}

/* Narrow tiles for narrow results alone, two blocks of them where they fit: measured on an H100,
 * where wide results by narrow tiles lose up to a quarter (56^2 x 64 to 256 in ResNet-50: 433 us by
 * two blocks of them, 349 by wide ones). */
static int choose(const lt_cuda_gemm *gemm, const lt_cuda_stream_params *p, uint32_t wanted,
                  cut *out)
{
    enum {
        WIDE = 0,
        NARROW = 1,
        NARROW_TWO = 2
    };
    if (wanted != 0) {
        return make_cut(gemm, p, wanted - 1, out);
    }
    if (p->gemm.n > 64 && make_cut(gemm, p, WIDE, out)) {
        const uint32_t few = gemm->n_multiprocessors / 2; /* then narrow ones have more of them */
        return out->tiles_m * out->tiles_n > few || make_cut(gemm, p, NARROW, out);
    }
    return make_cut(gemm, p, NARROW_TWO, out) || make_cut(gemm, p, NARROW, out);
}

static void apply(const cut *c, lt_cuda_stream_plan *plan)
{
    lt_cuda_gemm_params *p = &plan->params.gemm;
    p->splits = 1;
    p->tiles_m = c->tiles_m;
    p->tiles_n = c->tiles_n;
    p->n_tiles = c->tiles_m * c->tiles_n;
    p->swath = c->resident ? 1 : 2048 / LT_STREAM_ROWS; /* 1: a block stays in its columns */
    p->stages = c->stages;
    p->a_box_rows = p->m < LT_STREAM_ROWS ? ceil_div(p->m, 8) * 8 : LT_STREAM_ROWS;
    plan->params.slots = c->slots;
    plan->params.resident = c->resident;
    plan->launch = (lt_cuda_gemm_plan){.grid = c->grid,
                                       .cluster = 1,
                                       .threads = LT_STREAM_THREADS,
                                       .shared_bytes = c->shared_bytes,
                                       .overlap = plan->launch.overlap};
}

/* Rows of n results, m of them. */
static leat_status map_results(const lt_cuda_gemm *gemm, const lt_cuda_gemm_params *p,
                               leat_dtype dtype, lt_cuda_gemm_map *map, leat_error *err)
{
    const uint64_t dims[3] = {p->n, p->m, 1};
    const uint64_t strides[2] = {(uint64_t)p->n * 2, (uint64_t)p->n * 2 * p->m};
    const uint32_t box[2] = {64, 64};
    return lt_cuda_gemm_map_tiled(gemm, map, dtype, dims, strides, box, err);
}

static leat_status check(const lt_cuda_gemm_conv_desc *d, leat_error *err)
{
    if ((d->dtype != LEAT_DTYPE_F16 && d->dtype != LEAT_DTYPE_BF16) || d->out_dtype != d->dtype ||
        (d->residual_dtype && d->residual_dtype != d->dtype) || d->n % 8 != 0) {
        return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "results of several types, or not aligned");
    }
    if (d->tile > LT_STREAM_N_TILES) {
        return lt_cuda_gemm_fail(err, LEAT_INVALID, "no tile %u", d->tile);
    }
    return LEAT_OK;
}

/* The second source's steps and strides; a plan of its own in `plan`. */
static leat_status describe_second(const lt_cuda_gemm *gemm, const lt_cuda_gemm_params *first,
                                   const lt_cuda_gemm_conv_desc *d, lt_cuda_gemm_plan *plan,
                                   lt_cuda_stream_source *out, leat_error *err)
{
    const int one_tap = d->kh == 1 && d->kw == 1 && d->x_strides[0] == 0 &&
                        (d->pad[0] | d->pad[1] | d->pad[2] | d->pad[3]) == 0;
    leat_status status = lt_cuda_gemm_describe_conv(gemm, d, plan, err);
    const lt_cuda_gemm_params *p = &plan->params;
    if (status == LEAT_OK &&
        (!one_tap || p->m != first->m || p->n != first->n || p->out_h != first->out_h ||
         p->out_w != first->out_w || p->out_type != first->out_type || p->residual_type ||
         p->finish != LT_GEMM_FINISH_NONE || p->scale != first->scale)) {
        status = lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "two sources that are not alike");
    }
    out->steps = p->steps;
    out->bias_type = p->bias_type;
    out->stride_h = d->stride_h;
    out->stride_w = d->stride_w;
    return status;
}

leat_status lt_cuda_stream_plan_conv(const lt_cuda_stream_kernels *kernels,
                                     const lt_cuda_gemm_conv_desc *d,
                                     const lt_cuda_gemm_conv_desc *second, lt_cuda_stream_plan *out,
                                     leat_error *err)
{
    const lt_cuda_gemm *gemm = kernels->gemm;
    lt_cuda_gemm_plan other;
    cut c = {0};
    memset(out, 0, sizeof *out);
    leat_status status = check(d, err);
    status = status ? status : lt_cuda_gemm_describe_conv(gemm, d, &out->launch, err);
    lt_cuda_gemm_params *p = &out->params.gemm;
    *p = out->launch.params;
    if (status == LEAT_OK && second != NULL && second->dtype != d->dtype) {
        status = lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "two sources of two types");
    }
    if (status == LEAT_OK && second != NULL) {
        status = describe_second(gemm, p, second, &other, &out->params.second, err);
    }
    if (status == LEAT_OK && !choose(gemm, &out->params, d->tile, &c)) {
        status = lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "tile %u does not fit", d->tile);
    }
    if (status != LEAT_OK) {
        return status;
    }
    apply(&c, out);
    out->kernel = (d->dtype == LEAT_DTYPE_F16 ? 0 : LT_STREAM_N_TILES) + c.tile;
    status = lt_cuda_gemm_conv_maps(gemm, d, p, tiles[c.tile].columns, err);
    if (status == LEAT_OK && second != NULL) {
        other.params.a_box_rows = p->a_box_rows;
        status = lt_cuda_gemm_conv_maps(gemm, second, &other.params, tiles[c.tile].columns, err);
        out->params.second.a = other.params.a;
        out->params.second.b = other.params.b;
    }
    status = status ? status : map_results(gemm, p, d->dtype, &out->params.d, err);
    return status ? status : map_results(gemm, p, d->dtype, &out->params.residual, err);
}

int lt_cuda_stream_is_faster(const lt_cuda_stream_kernels *kernels, const lt_cuda_gemm_plan *plan,
                             const lt_cuda_stream_plan *stream)
{
    const uint64_t places = kernels->gemm->n_multiprocessors;
    const uint32_t columns = tiles[stream->kernel % LT_STREAM_N_TILES].columns;
    const uint64_t work = (uint64_t)stream->params.gemm.n_tiles * columns;
    const lt_cuda_gemm_tile *tile = &lt_cuda_gemm_tiles[plan->kernel % LT_GEMM_N_TILES];
    /* Measured on an H100 with bench/ladder/conv: three quarters of the device's multiprocessors
     * busy with wide tiles, or all with narrow ones; not so many steps that only the cache counts,
     * of which tiles of 256 columns take less. */
    return work * 4 >= places * 64 * (columns == 64 ? 4 : 6) &&
           !(tile->columns == 256 && plan->params.splits == 1 && plan->params.steps >= 16);
}

static leat_status check_operands(const lt_cuda_stream_params *p, const lt_cuda_gemm_operands *o,
                                  const lt_cuda_gemm_operands *second, leat_error *err)
{
    const lt_cuda_gemm_operands none = {0}, *s = second ? second : &none;
    const uint32_t types[3] = {p->gemm.bias_type, p->second.bias_type, p->gemm.residual_type};
    const void *const given[3] = {o->bias, s->bias, o->residual};
    for (int i = 0; i < 3; i++) {
        if ((given[i] == NULL) != (types[i] == LT_GEMM_NONE) ||
            (uintptr_t)given[i] % lt_cuda_gemm_type_bytes(types[i]) != 0) {
            return lt_cuda_gemm_fail(err, LEAT_INVALID,
                                     "operands of a product do not match its plan");
        }
    }
    const uintptr_t all = (uintptr_t)o->a | (uintptr_t)o->b | (uintptr_t)o->d |
                          (uintptr_t)o->residual | (uintptr_t)s->a | (uintptr_t)s->b;
    if (all % 16 != 0 || o->a == NULL || o->b == NULL || o->d == NULL ||
        (s->a == NULL) != (p->second.steps == 0) || (s->b == NULL) != (p->second.steps == 0)) {
        return lt_cuda_gemm_fail(err, LEAT_INVALID,
                                 "operands of a product are not aligned on 16 bytes");
    }
    return LEAT_OK;
}

leat_status lt_cuda_stream_launch(const lt_cuda_stream_kernels *kernels,
                                  const lt_cuda_stream_plan *plan, const lt_cuda_gemm_operands *o,
                                  const lt_cuda_gemm_operands *second, void *stream,
                                  leat_error *err)
{
    lt_cuda_stream_params p = plan->params;
    leat_status status = check_operands(&p, o, second, err);
    if (status != LEAT_OK) {
        return status;
    }
    const void *const addresses[6] = {
        o->a, o->b, o->d, o->residual, second ? second->a : NULL, second ? second->b : NULL};
    lt_cuda_gemm_map *const maps[6] = {&p.gemm.a,   &p.gemm.b,   &p.d,
                                       &p.residual, &p.second.a, &p.second.b};
    int result = 0;
    p.gemm.bias = (uint64_t)(uintptr_t)o->bias;
    p.second.bias = second ? (uint64_t)(uintptr_t)second->bias : 0;
    for (int i = 0; i < 6 && result == 0; i++) {
        if (addresses[i] != NULL) {
            result = kernels->gemm->driver.tensor_map_replace_address(
                maps[i], (void *)(uintptr_t)addresses[i]);
        }
    }
    if (result == 0) {
        result = lt_cuda_gemm_enqueue(kernels->gemm, &plan->launch,
                                      kernels->functions[plan->kernel], &p, stream);
    }
    if (result != 0) {
        return lt_cuda_gemm_fail(err, LEAT_DEVICE_LOST, "launch of %s: CUDA error %d",
                                 names[plan->kernel], result);
    }
    return LEAT_OK;
}

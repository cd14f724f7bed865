/* SPDX-License-Identifier: Apache-2.0 */
/* Plans of resident.cuh's kernels: made from those of the other kernels where all steps of B fit.
 */
#include "support.h"

static const char *const names[LT_RESIDENT_N_KERNELS] = {
    "lt_cuda_gemm_i8_resident_128x64x64_sm90",
    "lt_cuda_gemm_i8_resident_128x64x128_sm90",
    "lt_cuda_gemm_u8_resident_128x64x64_sm90",
    "lt_cuda_gemm_u8_resident_128x64x128_sm90",
};

/* A block's shared memory where two are on a multiprocessor, and what is no stage and no weights:
 * alignment, numbers, barriers. */
#define MOST_BYTES (233472u / 2 - 1024u)
#define OTHER_BYTES                                                                                \
    (1024u + LT_GEMM_COLUMN_BYTES(LT_RESIDENT_ROWS, LT_RESIDENT_COLUMNS) +                         \
     (2 * LT_RESIDENT_MAX_STAGES + 1) * 8u)
#define LEAST_STAGES 3u

const char *lt_cuda_gemm_resident_name(uint32_t i)
{
    return names[i];
}

leat_status lt_cuda_gemm_open_resident(lt_cuda_gemm *gemm, void *const modules[LT_GEMM_N_MODULES],
                                       leat_error *err)
{
    enum {
        MAX_DYNAMIC_SHARED_SIZE_BYTES = 8
    };
    for (uint32_t i = 0; i < LT_RESIDENT_N_KERNELS; i++) {
        void *module = modules[2 + i / 2]; /* I8, U8 */
        void **function = &gemm->functions[LT_GEMM_N_KERNELS + i];
        int result = module ? gemm->driver.module_get_function(function, module, names[i]) : 0;
        if (module != NULL && result == 0) {
            result = gemm->driver.func_set_attribute(*function, MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                                     (int)MOST_BYTES);
        }
        if (result != 0) {
            return lt_cuda_gemm_fail(err, LEAT_NO_DEVICE, "kernel %s: CUDA error %d", names[i],
                                     result);
        }
    }
    return LEAT_OK;
}

static uint32_t ceil_div(int64_t a, int64_t b)
{
    return (uint32_t)((a + b - 1) / b);
}

/* Sets what is cut otherwise: steps of `step` bytes of k (or of a tap's channels), tiles, grid,
 * stages. False where it does not fit, or would leave half of the device idle. */
static int apply(const lt_cuda_gemm *gemm, leat_dtype dtype, int64_t k, uint32_t taps, int wanted,
                 lt_cuda_gemm_plan *plan, uint32_t *out_step)
{
    lt_cuda_gemm_params *p = &plan->params;
    const uint32_t step = k <= 64 ? 64 : 128, a = LT_RESIDENT_ROWS * step;
    const uint32_t tiles_m = ceil_div(p->m, LT_RESIDENT_ROWS);
    const uint32_t tiles_n = ceil_div(p->n, LT_RESIDENT_COLUMNS);
    const uint64_t steps = (uint64_t)ceil_div(k, step) * taps,
                   n_tiles = (uint64_t)tiles_m * tiles_n;
    const uint64_t taken = OTHER_BYTES + steps * LT_RESIDENT_COLUMNS * step;
    const uint32_t places = 2 * gemm->n_multiprocessors;
    const uint32_t bytes = 1u << LT_GEMM_I8 | 1u << LT_GEMM_U8;
    if ((bytes >> p->out_type & 1) == 0 || p->finish != LT_GEMM_FINISH_NONE ||
        ((bytes | 1u << LT_GEMM_NONE) >> p->residual_type & 1) == 0 || p->m < LT_RESIDENT_ROWS ||
        tiles_n > places || taken + (uint64_t)LEAST_STAGES * a > MOST_BYTES ||
        (!wanted && n_tiles < 2 * places)) {
        return 0;
    }
    p->stages = (MOST_BYTES - (uint32_t)taken) / a;
    p->stages = p->stages < LT_RESIDENT_MAX_STAGES ? p->stages : LT_RESIDENT_MAX_STAGES;
    p->c_steps = ceil_div(k, step);
    p->steps = (uint32_t)steps;
    p->tiles_m = tiles_m;
    p->tiles_n = tiles_n;
    p->n_tiles = (uint32_t)n_tiles;
    p->splits = 1;
    p->a_box_rows = LT_RESIDENT_ROWS;
    plan->grid = places < n_tiles ? places / tiles_n * tiles_n : (uint32_t)n_tiles;
    plan->cluster = 1;
    plan->threads = LT_RESIDENT_THREADS;
    plan->shared_bytes = (uint32_t)taken + p->stages * a;
    plan->kernel = LT_GEMM_N_KERNELS + (dtype == LEAT_DTYPE_U8 ? 2 : 0) + (step == 128);
    *out_step = step;
    return gemm->functions[plan->kernel] != NULL;
}

static int swizzle_of(uint32_t step)
{
    enum {
        SWIZZLE_64B = 2
    };
    return step == 64 ? SWIZZLE_64B : LT_GEMM_SWIZZLE_128B;
}

/* A matrix, or with `dims[2]` taps as many, of rows of bytes. */
static int map_tiled(const lt_cuda_gemm *gemm, lt_cuda_gemm_map *map, const uint64_t dims[3],
                     const uint64_t strides[2], uint32_t step, uint32_t rows)
{
    const uint32_t box[3] = {step, rows, 1}, ones[3] = {1, 1, 1};
    return gemm->driver.tensor_map_encode_tiled(map, lt_cuda_gemm_map_dtype(LEAT_DTYPE_U8), 3,
                                                LT_GEMM_ANY_ADDRESS, dims, strides, box, ones, 0,
                                                swizzle_of(step), LT_GEMM_L2_PROMOTION_256B, 0);
}

int lt_cuda_gemm_resident_product(const lt_cuda_gemm *gemm, const lt_cuda_gemm_desc *d, int wanted,
                                  lt_cuda_gemm_plan *plan)
{
    lt_cuda_gemm_plan out = *plan;
    lt_cuda_gemm_params *p = &out.params;
    const uint64_t k = (uint64_t)d->k;
    const uint64_t rows = (uint64_t)lt_cuda_gemm_byte_rows(d->n);
    uint32_t step;
    if (lt_cuda_gemm_unit(d->dtype) != 1 || d->batch != 1 ||
        !apply(gemm, d->dtype, d->k, 1, wanted, &out, &step)) {
        return 0;
    }
    p->kw = 1;
    const uint64_t a_dims[3] = {k, (uint64_t)d->m, 1}, b_dims[3] = {k, rows, 1};
    const uint64_t a_strides[2] = {(uint64_t)d->lda, (uint64_t)d->lda};
    const uint64_t b_strides[2] = {(uint64_t)d->ldb, (uint64_t)d->ldb};
    if (map_tiled(gemm, &p->a, a_dims, a_strides, step, LT_RESIDENT_ROWS) != 0 ||
        map_tiled(gemm, &p->b, b_dims, b_strides, step, LT_RESIDENT_COLUMNS) != 0) {
        return 0;
    }
    *plan = out;
    return 1;
}

int lt_cuda_gemm_resident_conv(const lt_cuda_gemm *gemm, const lt_cuda_gemm_conv_desc *d,
                               int wanted, lt_cuda_gemm_plan *plan)
{
    lt_cuda_gemm_plan out = *plan;
    lt_cuda_gemm_params *p = &out.params;
    const uint64_t c = (uint64_t)d->c, taps = (uint64_t)d->kh * (uint64_t)d->kw;
    const uint64_t rows = (uint64_t)lt_cuda_gemm_byte_rows(d->n);
    uint32_t step;
    if (lt_cuda_gemm_unit(d->dtype) != 1 ||
        !apply(gemm, d->dtype, d->c, (uint32_t)taps, wanted, &out, &step)) {
        return 0;
    }
    p->gathers = 1;
    const uint64_t dims[4] = {c, (uint64_t)d->w, (uint64_t)d->h, (uint64_t)d->images};
    uint64_t strides[3] = {c, c * dims[1], c * dims[1] * dims[2]};
    for (int i = 0; i < 3 && d->x_strides[0] != 0; i++) {
        strides[i] = (uint64_t)d->x_strides[i];
    }
    const int lower[2] = {-d->pad[1], -d->pad[0]};
    const int upper[2] = {d->pad[3] - (d->kw - 1) * d->dilation_w,
                          d->pad[2] - (d->kh - 1) * d->dilation_h};
    const uint32_t moves[4] = {1, (uint32_t)d->stride_w, (uint32_t)d->stride_h, 1};
    const uint64_t b_dims[3] = {c, rows, taps}, b_strides[2] = {taps * c, c};
    if (gemm->driver.tensor_map_encode_im2col(&p->a, lt_cuda_gemm_map_dtype(d->dtype), 4,
                                              LT_GEMM_ANY_ADDRESS, dims, strides, lower, upper,
                                              step, LT_RESIDENT_ROWS, moves, 0, swizzle_of(step),
                                              LT_GEMM_L2_PROMOTION_256B, 0) != 0 ||
        map_tiled(gemm, &p->b, b_dims, b_strides, step, LT_RESIDENT_COLUMNS) != 0) {
        return 0;
    }
    *plan = out;
    return 1;
}

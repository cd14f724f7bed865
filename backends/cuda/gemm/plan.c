/* SPDX-License-Identifier: Apache-2.0 */
/* Plans of products: checks, tensor maps, the kernel's parameter. */
#include "support.h"

#include <string.h>

#define MAX_STRIDE ((int64_t)1 << 39) /* elements; the driver's bound is 2^40 bytes */

int lt_cuda_gemm_map_dtype(leat_dtype dtype)
{
    enum {
        MAP_BYTES = 0,
        MAP_F16 = 6,
        MAP_BF16 = 9,
        MAP_TF32 = 11 /* of F32 in memory: copies round to the nearest TF32 */
    };
    return dtype == LEAT_DTYPE_F16    ? MAP_F16
           : dtype == LEAT_DTYPE_BF16 ? MAP_BF16
           : dtype == LEAT_DTYPE_F32  ? MAP_TF32
                                      : MAP_BYTES;
}

leat_status lt_cuda_gemm_map_made(int result, leat_error *err)
{
    if (result != 0) {
        return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "no tensor map: CUDA error %d", result);
    }
    return LEAT_OK;
}

leat_status lt_cuda_gemm_map_tiled(const lt_cuda_gemm *gemm, lt_cuda_gemm_map *map,
                                   leat_dtype dtype, const uint64_t dims[3],
                                   const uint64_t strides[2], const uint32_t box[2],
                                   leat_error *err)
{
    const uint32_t box3[3] = {box[0], box[1], 1};
    const uint32_t ones[3] = {1, 1, 1};
    int result = gemm->driver.tensor_map_encode_tiled(
        map, lt_cuda_gemm_map_dtype(dtype), 3, LT_GEMM_ANY_ADDRESS, dims, strides, box3, ones, 0,
        LT_GEMM_SWIZZLE_128B, LT_GEMM_L2_PROMOTION_256B, 0);
    return lt_cuda_gemm_map_made(result, err);
}

/* Blocks and rows of one launch stay far within 32 bits. */
leat_status lt_cuda_gemm_check_sizes(int64_t m, int64_t n, int64_t k, int64_t batch,
                                     leat_error *err)
{
    const int64_t most = (int64_t)1 << 30;
    if (m < 1 || n < 1 || k < 1 || batch < 1) {
        return lt_cuda_gemm_fail(err, LEAT_INVALID, "empty product");
    }
    if (m > most || n > most || k > most || batch > most ||
        (m + 63) / 64 > most / ((n + 63) / 64) / batch) {
        return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "product too large for one launch");
    }
    return LEAT_OK;
}

/* A stride from row to row or matrix to matrix that tensor maps take. */
leat_status lt_cuda_gemm_check_stride(leat_dtype dtype, const char *what, int64_t stride,
                                      int64_t least, leat_error *err)
{
    int64_t unit = 16 / (int64_t)lt_cuda_gemm_unit(dtype);
    if (stride < least) {
        return lt_cuda_gemm_fail(err, LEAT_INVALID, "%s %lld is below %lld", what,
                                 (long long)stride, (long long)least);
    }
    if (stride % unit != 0 || stride >= MAX_STRIDE) {
        return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "%s %lld is not a multiple of %d", what,
                                 (long long)stride, (int)unit);
    }
    return LEAT_OK;
}

static leat_status check_product(const lt_cuda_gemm_desc *d, leat_error *err)
{
    leat_status status = lt_cuda_gemm_check_sizes(d->m, d->n, d->k, d->batch, err);
    if (status == LEAT_OK && lt_cuda_gemm_unit(d->dtype) != 2 && !d->b_transposed) {
        status = lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "bytes and F32 of B must lie along k");
    }
    if (status == LEAT_OK) {
        status = lt_cuda_gemm_check_stride(d->dtype, "lda", d->lda, d->k, err);
    }
    if (status == LEAT_OK) {
        status =
            lt_cuda_gemm_check_stride(d->dtype, "ldb", d->ldb, d->b_transposed ? d->k : d->n, err);
    }
    if (status == LEAT_OK) {
        status = lt_cuda_gemm_check_stride(d->dtype, "a_batch", d->a_batch, 0, err);
    }
    if (status == LEAT_OK) {
        status = lt_cuda_gemm_check_stride(d->dtype, "b_batch", d->b_batch, 0, err);
    }
    if (status == LEAT_OK && (d->ldd < d->n || (d->residual_dtype && d->ldr < 0) ||
                              d->r_batch < 0 || (d->batch > 1 && d->d_batch < 1))) {
        status = lt_cuda_gemm_fail(err, LEAT_INVALID, "strides of a product's output or residual");
    }
    return status;
}

static leat_status product_maps(const lt_cuda_gemm *gemm, const lt_cuda_gemm_desc *d,
                                lt_cuda_gemm_plan *plan, const lt_cuda_gemm_tile *tile,
                                leat_error *err)
{
    lt_cuda_gemm_params *p = &plan->params;
    const uint64_t unit = lt_cuda_gemm_unit(d->dtype);
    const uint32_t step = LT_GEMM_STEP_BYTES / (uint32_t)unit;
    uint64_t a_dims[3] = {(uint64_t)d->k, (uint64_t)d->m, p->a_batched ? (uint64_t)d->batch : 1};
    uint64_t a_strides[2] = {(uint64_t)d->lda * unit,
                             (uint64_t)(p->a_batched ? d->a_batch : d->lda) * unit};
    uint32_t a_box[2] = {step, p->a_box_rows};
    leat_status status =
        lt_cuda_gemm_map_tiled(gemm, &p->a, d->dtype, a_dims, a_strides, a_box, err);
    if (status != LEAT_OK) {
        return status;
    }
    const int64_t n = unit == 1 ? lt_cuda_gemm_byte_rows(d->n) : d->n;
    uint64_t b_dims[3] = {(uint64_t)(d->b_transposed ? d->k : n),
                          (uint64_t)(d->b_transposed ? n : d->k),
                          p->b_batched ? (uint64_t)d->batch : 1};
    uint64_t b_strides[2] = {(uint64_t)d->ldb * unit,
                             (uint64_t)(p->b_batched ? d->b_batch : d->ldb) * unit};
    uint32_t sharers = LT_GEMM_SHARERS(tile->rows);
    uint32_t b_box[2] = {step, d->b_transposed ? tile->columns / sharers : step};
    return lt_cuda_gemm_map_tiled(gemm, &p->b, d->dtype, b_dims, b_strides, b_box, err);
}

/* Plans the residual's way by the stages, where it can take it: of the operands' type, rows and
 * matrices apart, nothing to be scaled before it is added. */
static void plan_residual(const lt_cuda_gemm *gemm, const lt_cuda_gemm_desc *d,
                          lt_cuda_gemm_params *p, const lt_cuda_gemm_tile *tile)
{
    if (d->residual_dtype != d->dtype || !p->residual_wide || p->bytes || p->splits != 1 ||
        d->scale != 1 || d->ldr < d->n || (d->batch > 1 && d->r_batch == 0)) {
        return;
    }
    const uint64_t dims[3] = {(uint64_t)d->n, (uint64_t)d->m, (uint64_t)d->batch};
    const uint64_t strides[2] = {(uint64_t)d->ldr * 2,
                                 (uint64_t)(d->batch > 1 ? d->r_batch : d->ldr) * 2};
    const uint32_t box[2] = {64, LT_GEMM_STAGE_ROWS(tile->rows)};
    if (lt_cuda_gemm_map_tiled(gemm, &p->r, d->dtype, dims, strides, box, NULL) == LEAT_OK) {
        p->residual_stages = LT_GEMM_RESIDUAL_STAGES(tile->rows, tile->columns);
    }
}

void lt_cuda_gemm_plan_results(const lt_cuda_gemm *gemm, leat_dtype dtype, int64_t batch,
                               lt_cuda_gemm_params *p)
{
    const uint32_t own = dtype == LEAT_DTYPE_F16 ? LT_GEMM_F16 : LT_GEMM_BF16;
    if (lt_cuda_gemm_unit(dtype) != 2 || p->out_type != own || !p->wide || p->splits != 1) {
        return;
    }
    const uint64_t dims[3] = {p->n, p->m, (uint64_t)batch};
    const uint64_t strides[2] = {(uint64_t)p->ldd * 2,
                                 (uint64_t)(batch > 1 ? p->d_batch : p->ldd) * 2};
    const uint32_t box[2] = {64, 16};
    p->by_engine = lt_cuda_gemm_map_tiled(gemm, &p->y, dtype, dims, strides, box, NULL) == LEAT_OK;
}

leat_status lt_cuda_gemm_plan_product(const lt_cuda_gemm *gemm, const lt_cuda_gemm_desc *d,
                                      lt_cuda_gemm_plan *out, leat_error *err)
{
    memset(out, 0, sizeof *out);
    lt_cuda_gemm_params *p = &out->params;
    const leat_dtype others[3] = {d->out_dtype, d->bias_dtype, d->residual_dtype};
    leat_status status = lt_cuda_gemm_set_types(gemm, out, d->dtype, others, err);
    if (status == LEAT_OK) {
        status = check_product(d, err);
    }
    if (status == LEAT_OK) {
        status = lt_cuda_gemm_set_activation(p, d->activation, d->alpha, d->beta, d->scale, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    p->m = (uint32_t)d->m;
    p->n = (uint32_t)d->n;
    p->steps = lt_cuda_gemm_steps(d->dtype, d->k);
    p->q = d->requantize;
    p->ldd = d->ldd;
    p->ldr = d->ldr;
    p->d_batch = d->d_batch;
    p->r_batch = d->r_batch;
    p->a_batched = d->batch > 1 && d->a_batch != 0;
    p->b_batched = d->batch > 1 && d->b_batch != 0;
    p->b_early = d->b_constant != 0;
    p->wide = lt_cuda_gemm_is_wide(p->out_type, d->n, d->ldd, d->d_batch);
    p->residual_wide = lt_cuda_gemm_residual_wide(p, d->n, d->ldr, d->r_batch);
    out->overlap = d->overlap;
    const int64_t sizes[3] = {d->m, d->n, d->batch};
    const uint32_t wanted[2] = {d->tile, d->splits};
    lt_cuda_gemm_cut cut;
    if (p->bytes) {
        status =
            lt_cuda_gemm_choose_bytes(sizes, p->steps, wanted, gemm->n_multiprocessors, &cut, err);
    } else {
        status = lt_cuda_gemm_choose_product(sizes, p, wanted, gemm->n_multiprocessors, &cut, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    lt_cuda_gemm_apply(gemm, out, cut, d->batch);
    out->kernel =
        lt_cuda_gemm_kernel(d->dtype, d->b_transposed ? LT_GEMM_NK : LT_GEMM_KN, cut.tile);
    status = product_maps(gemm, d, out, &lt_cuda_gemm_tiles[cut.tile], err);
    if (status == LEAT_OK) {
        plan_residual(gemm, d, p, &lt_cuda_gemm_tiles[cut.tile]);
        lt_cuda_gemm_plan_results(gemm, d->dtype, d->batch, p);
    }
    return status;
}

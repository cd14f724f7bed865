/* SPDX-License-Identifier: Apache-2.0 */
/* Plans and launches of attend.cuh's kernels. */
#include "attend.h"
#include "support.h"

#include <string.h>

#define MAX_STRIDE ((int64_t)1 << 39) /* elements; the driver's bound is 2^40 bytes */

static const char *const names[2] = {"lt_cuda_gemm_f16_attend_192x128x64_sm90",
                                     "lt_cuda_gemm_bf16_attend_192x128x64_sm90"};

const char *lt_cuda_attend_kernel_name(uint32_t i)
{
    return names[i];
}

leat_status lt_cuda_attend_open(const lt_cuda_gemm *gemm, void *const modules[2],
                                lt_cuda_attend_kernels *out, leat_error *err)
{
    *out = (lt_cuda_attend_kernels){.gemm = gemm};
    for (uint32_t i = 0; i < 2; i++) {
        if (modules[i] == NULL) {
            continue;
        }
        leat_status status = lt_cuda_gemm_find(&gemm->driver, modules[i], names[i],
                                               LT_ATTEND_SHARED_BYTES, &out->functions[i], err);
        if (status != LEAT_OK) {
            return status;
        }
    }
    return LEAT_OK;
}

/* sizes: batch, heads, rows, size; strides of the first three. box: rows of a copy. */
static leat_status map_tensor(const lt_cuda_gemm *gemm, leat_dtype dtype, const int64_t sizes[4],
                              const int64_t strides[3], uint32_t box, lt_cuda_attend_tensor *out,
                              leat_error *err)
{
    const uint32_t ones[4] = {1, 1, 1, 1};
    for (int i = 0; i < 3; i++) {
        if (strides[i] < 0 || strides[i] % 8 != 0 || strides[i] >= MAX_STRIDE) {
            return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "stride %lld of attention",
                                     (long long)strides[i]);
        }
    }
    out->heads_first = strides[1] < strides[2];
    const int second = out->heads_first ? 1 : 2, third = out->heads_first ? 2 : 1;
    const uint64_t dims[4] = {(uint64_t)sizes[3], (uint64_t)sizes[second], (uint64_t)sizes[third],
                              (uint64_t)sizes[0]};
    const uint64_t bytes[3] = {(uint64_t)strides[second] * 2, (uint64_t)strides[third] * 2,
                               (uint64_t)strides[0] * 2};
    const uint32_t boxes[4] = {LT_ATTEND_SIZE, out->heads_first ? 1 : box,
                               out->heads_first ? box : 1, 1};
    return lt_cuda_gemm_map_made(
        gemm->driver.tensor_map_encode_tiled(&out->map, lt_cuda_gemm_map_dtype(dtype), 4,
                                             LT_GEMM_ANY_ADDRESS, dims, bytes, boxes, ones, 0,
                                             LT_GEMM_SWIZZLE_128B, LT_GEMM_L2_PROMOTION_256B, 0),
        err);
}

static leat_status check(const lt_gpu_attention *p, leat_dtype dtype, const void *function,
                         leat_error *err)
{
    if (p->batch < 1 || p->heads < 1 || p->kv_heads < 1 || p->q_rows < 1 || p->kv_rows < 1 ||
        p->head_size < 1 || p->v_size < 1 || p->heads % p->kv_heads != 0) {
        return lt_cuda_gemm_fail(err, LEAT_INVALID, "empty attention");
    }
    if (lt_cuda_gemm_unit(dtype) != 2 || function == NULL) {
        return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "attention of this type");
    }
    if (p->head_size % 8 != 0 || p->v_size % 8 != 0 || p->head_size > (int32_t)LT_ATTEND_SIZE ||
        p->v_size > (int32_t)LT_ATTEND_SIZE) {
        return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "attention with heads of %d and %d",
                                 p->head_size, p->v_size);
    }
    if (p->causal != 0 || (p->mask_kind != LT_GPU_MASK_NONE && p->mask_stride[2] != 0)) {
        return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "attention with a mask of several rows");
    }
    if (lt_gpu_attention_items(p, LT_ATTEND_ROWS) > (int64_t)1 << 30) {
        return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "attention too large for one launch");
    }
    return LEAT_OK;
}

static leat_status make_maps(const lt_cuda_gemm *gemm, const lt_gpu_attention *p, leat_dtype dtype,
                             lt_cuda_attend_params *out, leat_error *err)
{
    const int64_t q[4] = {p->batch, p->heads, p->q_rows, p->head_size};
    const int64_t k[4] = {p->batch, p->kv_heads, p->kv_rows, p->head_size};
    const int64_t v[4] = {p->batch, p->kv_heads, p->kv_rows, p->v_size};
    const int64_t y[4] = {p->batch, p->heads, p->q_rows, p->v_size};
    leat_status status = map_tensor(gemm, dtype, q, p->q_stride, LT_ATTEND_ROWS, &out->q, err);
    if (status == LEAT_OK) {
        status = map_tensor(gemm, dtype, k, p->k_stride, LT_ATTEND_KEYS, &out->k, err);
    }
    if (status == LEAT_OK) {
        status = map_tensor(gemm, dtype, v, p->v_stride, LT_ATTEND_KEYS, &out->v, err);
    }
    return status ? status : map_tensor(gemm, dtype, y, p->y_stride, 16, &out->y, err);
}

/* Whether a block takes all row tiles of a head, one after the other, and its keys and values are
 * copied once: where they fit and no block gets more to do. */
static uint32_t choose_together(const lt_cuda_attend_params *p, uint32_t places)
{
    const uint32_t heads = p->n_items / p->row_tiles;
    const uint32_t most = (p->n_items + places - 1) / places;
    return p->key_tiles <= LT_ATTEND_STAGES && (heads + places - 1) / places * p->row_tiles <= most
               ? p->row_tiles
               : 1;
}

leat_status lt_cuda_attend_plan_make(const lt_cuda_attend_kernels *kernels,
                                     const lt_gpu_attention *p, leat_dtype dtype,
                                     lt_cuda_attend_plan *out, leat_error *err)
{
    memset(out, 0, sizeof *out);
    out->kernel = dtype == LEAT_DTYPE_BF16;
    lt_cuda_attend_params *params = &out->params;
    leat_status status = check(p, dtype, kernels->functions[out->kernel], err);
    if (status == LEAT_OK) {
        status = make_maps(kernels->gemm, p, dtype, params, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    params->mask_batch = p->mask_stride[0];
    params->mask_head = p->mask_stride[1];
    params->mask_column = p->mask_stride[3];
    params->mask_kind = (uint32_t)p->mask_kind;
    params->mask_columns = (uint32_t)(p->mask_kind ? p->mask_columns : p->kv_rows);
    params->heads = (uint32_t)p->heads;
    params->sharers = (uint32_t)(p->heads / p->kv_heads);
    params->kv_rows = (uint32_t)p->kv_rows;
    params->row_tiles = ((uint32_t)p->q_rows + LT_ATTEND_ROWS - 1) / LT_ATTEND_ROWS;
    params->key_tiles = ((uint32_t)p->kv_rows + LT_ATTEND_KEYS - 1) / LT_ATTEND_KEYS;
    params->n_items = (uint32_t)lt_gpu_attention_items(p, LT_ATTEND_ROWS);
    params->scale = p->scale * 1.44269504f;
    params->nothing = p->nothing;
    const uint32_t places = kernels->gemm->n_multiprocessors;
    params->together = choose_together(params, places);
    const uint32_t units = params->n_items / params->together;
    out->launch.grid = units < places ? units : places;
    out->launch.cluster = 1;
    out->launch.threads = LT_ATTEND_THREADS;
    out->launch.shared_bytes = LT_ATTEND_SHARED_BYTES;
    out->launch.overlap = 1;
    return LEAT_OK;
}

int lt_cuda_attend_is_faster(const lt_cuda_attend_kernels *kernels, const lt_cuda_attend_plan *plan)
{
    /* Measured on an H100 with bench/ladder/attention: 16 heads of 384 rows, 32 items, 8.2 us of
     * 9.4. Fewer rows or keys than that have no need of large blocks. */
    const lt_cuda_attend_params *p = &plan->params;
    return p->n_items >= kernels->gemm->n_multiprocessors ||
           (p->row_tiles > 1 && p->kv_rows > 2 * LT_ATTEND_KEYS);
}

leat_status lt_cuda_attend_launch(const lt_cuda_attend_kernels *kernels,
                                  const lt_cuda_attend_plan *plan, const lt_cuda_attend_operands *o,
                                  void *stream, leat_error *err)
{
    lt_cuda_attend_params p = plan->params;
    const void *const addresses[4] = {o->q, o->k, o->v, o->y};
    lt_cuda_gemm_map *const maps[4] = {&p.q.map, &p.k.map, &p.v.map, &p.y.map};
    if ((o->mask == NULL) != (p.mask_kind == LT_GPU_MASK_NONE)) {
        return lt_cuda_gemm_fail(err, LEAT_INVALID, "operands of attention do not match its plan");
    }
    p.mask = (uint64_t)(uintptr_t)o->mask;
    int result = 0;
    for (int i = 0; i < 4 && result == 0; i++) {
        if (addresses[i] == NULL || (uintptr_t)addresses[i] % 16 != 0) {
            return lt_cuda_gemm_fail(err, LEAT_INVALID,
                                     "operands of attention are not aligned on 16 bytes");
        }
        result = kernels->gemm->driver.tensor_map_replace_address(maps[i],
                                                                  (void *)(uintptr_t)addresses[i]);
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

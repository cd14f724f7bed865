/* SPDX-License-Identifier: Apache-2.0 */
/* Plans of products with LayerNormalization (norm_end.cuh). */
#include "support.h"

#include <stdatomic.h>

/* Of the multiprocessors' time in all rounds, at least; and rounds. Measured on an H100 for
 * BERT-large's 12,288 and 24,576 rows (97 % of three and of six). */
#define LEAST_USE 0.8
#define LEAST_ROUNDS 2

static int is_norm_product(const lt_cuda_gemm_desc *d)
{
    return lt_cuda_gemm_unit(d->dtype) == 2 && d->out_dtype == d->dtype &&
           (d->bias_dtype == d->dtype || d->bias_dtype == LEAT_DTYPE_UNDEFINED) &&
           d->residual_dtype == d->dtype && d->activation == LT_GEMM_LINEAR && d->scale == 1 &&
           d->batch == 1 && d->n % LT_GEMM_NORM_COLUMNS == 0;
}

leat_status lt_cuda_gemm_plan_norm(const lt_cuda_gemm *gemm, const lt_cuda_gemm_desc *d,
                                   float epsilon, lt_cuda_gemm_plan *out, leat_error *err)
{
    lt_cuda_gemm_desc desc = *d;
    lt_cuda_gemm_params *p = &out->params;
    desc.tile = LT_GEMM_NORM_TILE + 1;
    desc.splits = 1;
    leat_status status = is_norm_product(d)
                             ? lt_cuda_gemm_plan_product(gemm, &desc, out, err)
                             : lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "no norm of this product");
    if (status != LEAT_OK) {
        return status;
    }
    /* Tiles of the same rows run together: a round is a whole number of such. */
    const uint32_t places = gemm->n_multiprocessors / out->cluster;
    const uint32_t at_once = places / p->tiles_n * p->tiles_n;
    const uint32_t rounds = at_once ? (p->n_tiles + at_once - 1) / at_once : 0;
    if (!p->by_engine || p->residual_stages == 0 || rounds < (d->tile ? 1u : LEAST_ROUNDS) ||
        (d->tile == 0 && p->n_tiles < LEAST_USE * rounds * places)) {
        return lt_cuda_gemm_fail(err, LEAT_UNSUPPORTED, "a norm of its own is better");
    }
    p->swath = 1;
    p->norms = 1;
    p->epsilon = epsilon;
    out->grid = (p->n_tiles < at_once ? p->n_tiles : at_once) * out->cluster;
    return LEAT_OK;
}

static size_t rows(const lt_cuda_gemm_plan *plan)
{
    return (size_t)plan->params.tiles_m * LT_GEMM_NORM_ROWS;
}

size_t lt_cuda_gemm_norm_moments(const lt_cuda_gemm_plan *plan)
{
    return rows(plan) * plan->params.tiles_n * 2 * sizeof(float);
}

size_t lt_cuda_gemm_norm_meetings(const lt_cuda_gemm_plan *plan)
{
    return rows(plan) / LT_GEMM_NORM_MEETING_ROWS * sizeof(uint32_t);
}

/* A launch has at most one row of tiles of which some blocks run and others have not begun, as
 * blocks begin in their order. Of all multiprocessors a quarter is left to those: clusters of two
 * find room among them. */
bool lt_cuda_gemm_norm_may_wait(const lt_cuda_gemm *gemm, const lt_cuda_gemm_plan *plan,
                                _Atomic uint32_t *all, uint32_t *own)
{
    const uint32_t need = (plan->params.tiles_n - 1) * plan->cluster;
    const uint32_t more = need > *own ? need - *own : 0;
    uint32_t taken = atomic_load(all);
    do {
        if (more > 0 && taken + more > gemm->n_multiprocessors / 4 * 3) {
            return false;
        }
    } while (more > 0 && !atomic_compare_exchange_weak(all, &taken, taken + more));
    *own += more;
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* lt_gemm_row of gemm.h. */
#include "gemm/gemm.h"

#include <math.h>

/* Whether nothing but the kernel's panels is to be run, by the two kernels of whole and half ones.
 */
static bool is_plain(const lt_gemm_job *job)
{
    const lt_gemm_kernels *kernels = job->kernels;
    return job->m == 1 && job->n != 0 && job->taps == 1 && job->rows == NULL && job->copy == NULL &&
           (kernels->any_k || job->k % kernels->k_group == 0) && kernels->quarters == NULL &&
           2.0 * (double)job->n * (double)job->k < LT_GEMM_LEAST_SHARED;
}

bool lt_gemm_row_prepare(const lt_gemm_job *job, lt_gemm_row *out_row)
{
    const lt_gemm_kernels *kernels = job->kernels;
    double low = -INFINITY, high = INFINITY;
    if (!is_plain(job)) {
        return false;
    }
    const bool costly = !lt_cpu_activation_clamp(&job->activation, &low, &high);
    if (costly && kernels->activate != NULL) {
        return false;
    }
    const size_t nr = kernels->nr, last_n = job->n % nr;
    *out_row = (lt_gemm_row){.first = {.taps = 1,
                                       .k = job->k,
                                       .b = job->b,
                                       .bias = job->bias,
                                       .ldc = job->ldc,
                                       .ldr = job->ldr,
                                       .a_bytes = kernels->a_bytes,
                                       .n = (uint32_t)nr,
                                       .low = low,
                                       .high = high,
                                       .activation = costly ? &job->activation : NULL,
                                       .epilogue = job->epilogue},
                             .row = kernels->row,
                             .full = kernels->full[0],
                             .last = lt_gemm_panel_width(kernels, last_n) == nr ? kernels->full[0]
                                                                                : kernels->half[0],
                             .panels = job->n / nr,
                             .last_n = (uint32_t)last_n,
                             .b_step = lt_gemm_padded_k(kernels, job->k) * nr * kernels->b_bytes,
                             .bias_step = nr * kernels->bias_bytes,
                             .c_step = nr * kernels->c_bytes};
    return true;
}

static void advance(const lt_gemm_row *row, lt_gemm_tile *tile, size_t panels)
{
    tile->b = (const char *)tile->b + panels * row->b_step;
    tile->bias = tile->bias ? (const char *)tile->bias + panels * row->bias_step : NULL;
    tile->residual = tile->residual ? (const char *)tile->residual + panels * row->c_step : NULL;
    tile->c = (char *)tile->c + panels * row->c_step;
    tile->column += panels * tile->n;
}

void lt_gemm_row_run(const lt_gemm_row *row, const void *a, const void *residual, void *c)
{
    const void *const rows[LT_GEMM_MAX_MR] = {a};
    lt_gemm_tile tile = row->first;
    tile.rows = rows;
    tile.residual = residual;
    tile.c = c;
    if (row->row != NULL) {
        row->row(&tile, row->panels);
        advance(row, &tile, row->panels);
    }
    for (size_t p = 0; p < row->panels && row->row == NULL; p++) {
        row->full(&tile);
        advance(row, &tile, 1);
    }
    if (row->last_n != 0) {
        tile.n = row->last_n;
        row->last(&tile);
    }
}

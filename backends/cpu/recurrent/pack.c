/* SPDX-License-Identifier: Apache-2.0 */
/* Weights and biases of recurrent nodes, rearranged for the kernels. */
#include "recurrent/recurrent.h"

#include "convert.h"
#include "sizes.h"

static void put(const lt_rnn *rnn, void *out, int64_t at, const void *data, int64_t from)
{
    if (rnn->dtype == LEAT_DTYPE_F64) {
        memcpy((double *)out + at, (const char *)data + (size_t)from * sizeof(double),
               sizeof(double));
    } else {
        ((float *)out)[at] = lt_cpu_get_f32(rnn->dtype, data, (size_t)from);
    }
}

size_t lt_rnn_panel_bytes(const lt_rnn *rnn, int64_t k)
{
    size_t row = (size_t)(lt_cell_vectors(rnn->kind) * rnn->kernels->vl) * rnn->element;
    return lt_whole_lines(row * (size_t)k * (size_t)rnn->panels);
}

void lt_rnn_pack_panels(const lt_rnn *rnn, const void *data, int64_t d, int64_t k, void *out)
{
    int64_t vl = rnn->kernels->vl, vectors = lt_cell_vectors(rnn->kind), at = 0;
    int64_t first = d * rnn->gates * rnn->hidden;
    memset(out, 0, lt_rnn_panel_bytes(rnn, k));
    for (int64_t p = 0; p < rnn->panels; p++) {
        for (int64_t j = 0; j < k; j++) {
            for (int64_t v = 0; v < vectors; v++, at += vl) {
                bool one = rnn->kind == LT_CELL_RNN;
                int64_t unit = one ? (p * vectors + v) * vl : p * vl;
                for (int64_t i = 0; i < vl && unit + i < rnn->hidden; i++) {
                    int64_t row = first + (one ? 0 : v * rnn->hidden) + unit + i;
                    put(rnn, out, at + i, data, row * k + j);
                }
            }
        }
    }
}

size_t lt_rnn_gemm_bytes(const lt_rnn *rnn)
{
    size_t bytes =
        lt_gemm_packed_bytes(rnn->gemm, 1, (size_t)rnn->inputs, (size_t)(rnn->gates * rnn->hidden));
    return lt_whole_lines(bytes);
}

lt_gemm_job lt_rnn_input_job(const lt_rnn *rnn)
{
    size_t n = (size_t)(rnn->gates * rnn->hidden);
    lt_gemm_job job = {.kernels = rnn->gemm,
                       .m = (size_t)(rnn->seq * rnn->batch),
                       .n = n,
                       .k = (size_t)rnn->inputs,
                       .taps = 1,
                       .lda = (size_t)rnn->inputs,
                       .ldc = n};
    return job;
}

void lt_rnn_pack_gemm(const lt_rnn *rnn, const void *data, int64_t d, void *out)
{
    size_t n = (size_t)(rnn->gates * rnn->hidden), k = (size_t)rnn->inputs;
    lt_gemm_source source = {.data = (const char *)data +
                                     (size_t)d * n * k * lt_cpu_element_bytes(rnn->dtype),
                             .dtype = rnn->dtype,
                             .k = k,
                             .n = n,
                             .row_stride = 1,
                             .column_stride = k,
                             .scale = 1.0f};
    lt_gemm_pack(rnn->gemm, &source, out, 0, lt_gemm_panels(rnn->gemm, n));
}

static double read(const lt_rnn *rnn, const void *data, int64_t i)
{
    if (rnn->dtype == LEAT_DTYPE_F64) {
        double v;
        memcpy(&v, (const char *)data + (size_t)i * sizeof(v), sizeof(v));
        return v;
    }
    return (double)lt_cpu_get_f32(rnn->dtype, data, (size_t)i);
}

static void write(const lt_rnn *rnn, void *out, int64_t i, double v)
{
    if (rnn->dtype == LEAT_DTYPE_F64) {
        ((double *)out)[i] = v;
    } else {
        ((float *)out)[i] = (float)v;
    }
}

/* Direction d: W's and R's bias are one, but for the last gate of a GRU that multiplies R's. */
static void small_of(const lt_rnn *rnn, const void *bias, const void *peephole, int64_t d, char *to)
{
    int64_t count = rnn->gates * rnn->hidden, first = 2 * count * d;
    char *r_bias = to + rnn->bias_bytes;
    for (int64_t i = 0; i < count && bias != NULL; i++) {
        double of_w = read(rnn, bias, first + i), of_r = read(rnn, bias, first + count + i);
        if (rnn->cell[d].linear_before_reset && i >= 2 * rnn->hidden) {
            write(rnn, r_bias, i - 2 * rnn->hidden, of_r);
            of_r = 0;
        }
        write(rnn, to, i, of_w + of_r);
    }
    char *p = r_bias + (size_t)rnn->padded * rnn->element;
    for (int64_t i = 0; i < 3 * rnn->hidden && peephole != NULL; i++) {
        int64_t at = i / rnn->hidden * rnn->padded + i % rnn->hidden;
        write(rnn, p, at, read(rnn, peephole, 3 * rnn->hidden * d + i));
    }
}

void lt_rnn_small(const lt_rnn *rnn, const void *bias, const void *peephole, void *out)
{
    memset(out, 0, rnn->small_one * (size_t)rnn->dirs);
    for (int64_t d = 0; d < rnn->dirs; d++) {
        small_of(rnn, bias, peephole, d, (char *)out + (size_t)d * rnn->small_one);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Products of few rows: constant weights are kept with their columns dense, so that a warp reads a
 * column 16 bytes a lane and no sum has to be put together from parts by another kernel. */
#include "gemv.h"
#include "cuda.h"

typedef struct matrix {
    int64_t rows, columns;
    uint32_t element_bytes;
} matrix;

/* Blocks of 16 by 16 elements: both sides stay in the cache. */
static leat_status transpose(void *out, size_t bytes, const leat_value *constant,
                             const void *argument, leat_error *err)
{
    const matrix *m = argument;
    const char *from = constant->data;
    size_t size = m->element_bytes;
    (void)bytes;
    (void)err;
    for (int64_t r0 = 0; r0 < m->rows; r0 += 16) {
        for (int64_t c0 = 0; c0 < m->columns; c0 += 16) {
            for (int64_t c = c0; c < c0 + 16 && c < m->columns; c++) {
                for (int64_t r = r0; r < r0 + 16 && r < m->rows; r++) {
                    memcpy((char *)out + (size_t)(c * m->rows + r) * size,
                           from + (size_t)(r * m->columns + c) * size, size);
                }
            }
        }
    }
    return LEAT_OK;
}

leat_status lt_cuda_pack_columns(lt_cuda_builder *b, uint32_t input, const lt_gpu_gemm *p,
                                 const void **out_block)
{
    enum {
        TRANSPOSED_KEY = 0x74 /* of packings of a weight */
    };
    const leat_value *w = leat_kernel_input(b->node, input);
    const matrix m = {p->k, p->n, lt_cuda_element_bytes(w->dtype)};
    size_t bytes = (size_t)m.rows * (size_t)m.columns * m.element_bytes;
    *out_block = NULL;
    if (p->a_column != 1 || p->batch != 1 || w->data == NULL || p->b_column != 1 ||
        p->b_row != p->n || p->b_row == 1 || m.rows * m.element_bytes % 16 != 0 ||
        w->bytes != bytes) {
        return LEAT_OK;
    }
    return b->host->plan_pack(b->plan, w, TRANSPOSED_KEY, bytes, transpose, &m, out_block, b->err);
}

leat_status lt_cuda_gemv_pack(lt_cuda_builder *b, uint32_t input, lt_gpu_gemm *p)
{
    const void *block = NULL;
    leat_status status =
        p->m > LT_GPU_GEMV_ROWS ? LEAT_OK : lt_cuda_pack_columns(b, input, p, &block);
    if (block != NULL) {
        p->b = block;
        p->b_row = 1;
        p->b_column = p->k;
        b->kernel->unread_mask |= 1u << input;
    }
    return status;
}

bool lt_cuda_gemv_fits(const lt_gpu_gemm *p)
{
    return p->m <= LT_GPU_GEMV_ROWS && p->batch == 1 && p->a_column == 1 && p->b_row == 1;
}

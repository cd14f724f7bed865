/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernels of mixed.h share: the choice, packing, conversion of rows, the end of a tile. */
#include "gemm/mixed.h"

#define PACK_ROWS 16
#define PACK_WIDTH 32

const lt_gemm_kernels *lt_gemm_mixed_kernels_for(const lt_cpu_device *device, leat_dtype compute,
                                                 leat_dtype c_dtype)
{
    bool brain = compute == LEAT_DTYPE_BF16;
#if defined(__x86_64__)
    if (device->isa == LT_CPU_AVX512 && brain && device->avx512_bf16) {
        return c_dtype == LEAT_DTYPE_F32 ? &lt_cpu_gemm_bf16_14x32_avx512bf16_to_f32
                                         : &lt_cpu_gemm_bf16_14x32_avx512bf16;
    }
    if (device->isa == LT_CPU_AVX512) {
        return brain ? &lt_cpu_gemm_f32bf16_14x32_avx512 : &lt_cpu_gemm_f32f16_14x32_avx512;
    }
    if (device->isa == LT_CPU_AVX2) {
        return brain ? &lt_cpu_gemm_f32bf16_6x16_avx2 : &lt_cpu_gemm_f32f16_6x16_avx2;
    }
#endif
    (void)device;
    (void)c_dtype;
    return brain ? &lt_cpu_gemm_f32bf16_4x8_portable : &lt_cpu_gemm_f32f16_4x8_portable;
}

void lt_gemm_mixed_copy_row(const void *argument, const void *from, size_t row, size_t k, void *to)
{
    const lt_gemm_mixed_copy *copy = argument;
    float block[LT_HALF_BLOCK];
    (void)row;
    if (copy->to == LEAT_DTYPE_F32) {
        copy->half->widen(copy->from, from, to, (int64_t)k);
    } else if (copy->from == LEAT_DTYPE_F32) {
        copy->half->narrow(copy->to, from, to, (int64_t)k);
    } else {
        for (size_t at = 0; at < k; at += LT_HALF_BLOCK) {
            int64_t n = k - at < LT_HALF_BLOCK ? (int64_t)(k - at) : LT_HALF_BLOCK;
            copy->half->widen(copy->from, (const uint16_t *)from + at, block, n);
            copy->half->narrow(copy->to, block, (uint16_t *)to + at, n);
        }
    }
}

/* --- the end of a tile --------------------------------------------------------------------------
 */

static void add_residual(const lt_gemm_tile *tile, float *sums, size_t row,
                         const lt_half_kernels *half)
{
    float block[PACK_WIDTH];
    const float *add =
        lt_half_view(half, lt_gemm_mixed_residual(tile), tile->residual,
                     (int64_t)((tile->row + row) * tile->ldr + tile->column), tile->n, block);
    for (uint32_t i = 0; i < tile->n; i++) {
        sums[i] += add[i];
    }
}

void lt_gemm_mixed_finish(const lt_gemm_tile *tile, float *sums, size_t rows, size_t width,
                          const lt_half_kernels *half, lt_cpu_activate_fn activate)
{
    const lt_gemm_mixed *mixed = tile->epilogue;
    const float low = (float)tile->low, high = (float)tile->high;
    for (size_t r = 0; r < rows && tile->residual != NULL; r++) {
        add_residual(tile, sums + r * width, r, half);
    }
    if (tile->activation != NULL) {
        activate(sums, (int64_t)(rows * width), tile->activation);
    }
    for (size_t r = 0; r < rows; r++) {
        float *sum = sums + r * width;
        size_t at = (tile->row + r) * tile->ldc + tile->column;
        for (uint32_t i = 0; i < tile->n; i++) { /* NaN passes */
            float v = sum[i] < low ? low : sum[i];
            sum[i] = v > high ? high : v;
        }
        half->narrow(mixed->c_dtype, sum,
                     (char *)tile->c + at * lt_cpu_element_bytes(mixed->c_dtype), tile->n);
    }
}

/* --- packing ------------------------------------------------------------------------------------
 */

/* Rows [j, j + rows) of the piece as f32. */
static void load_rows(const lt_gemm_source *piece, size_t j, size_t rows, size_t width, float *out)
{
    lt_gemm_source part = *piece;
    part.k = rows;
    part.data =
        (const char *)piece->data + j * piece->row_stride * lt_cpu_element_bytes(piece->dtype);
    lt_gemm_pack_f32(&part, width, out);
}

/* `group` is 1 or 2 rows; widths are at most PACK_WIDTH. */
static inline __attribute__((always_inline)) void pack_rows(const lt_gemm_source *piece,
                                                            size_t width, uint16_t *out,
                                                            const size_t group,
                                                            uint16_t (*convert)(float))
{
    float rows[(PACK_ROWS + 1) * PACK_WIDTH];
    for (size_t j = 0; j < piece->k; j += PACK_ROWS) {
        size_t count = piece->k - j < PACK_ROWS ? piece->k - j : PACK_ROWS;
        load_rows(piece, j, count, width, rows);
        if (count % group != 0) {
            memset(rows + count * width, 0, width * sizeof(*rows));
            count++;
        }
        for (size_t r = 0; r < count; r += group, out += width * group) {
            const float *row = rows + r * width;
            for (size_t c = 0; c < width && group == 1; c++) {
                out[c] = convert(row[c]);
            }
            for (size_t c = 0; c < width && group == 2; c++) { /* a pair is one store */
                uint32_t pair = convert(row[c]) | (uint32_t)convert(row[width + c]) << 16;
                memcpy(out + 2 * c, &pair, sizeof(pair));
            }
        }
    }
}

void lt_gemm_pack_f16(const lt_gemm_source *piece, size_t width, void *out)
{
    pack_rows(piece, width, out, 1, lt_f32_to_f16);
}

void lt_gemm_pack_bf16(const lt_gemm_source *piece, size_t width, void *out)
{
    pack_rows(piece, width, out, 1, lt_f32_to_bf16);
}

void lt_gemm_pack_bf16_pairs(const lt_gemm_source *piece, size_t width, void *out)
{
    pack_rows(piece, width, out, 2, lt_f32_to_bf16);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* B into panels; see gemm.h for the layout. Bytes bound it: B is read once and written once. */
#include "convert.h"
#include "gemm/gemm.h"

/* Rows of one piece when there are several taps; a multiple of every k_group. */
#define TAP_ROWS 16

const lt_gemm_kernels *lt_gemm_kernels_for(const lt_cpu_device *device, leat_dtype dtype)
{
    bool wide = dtype == LEAT_DTYPE_F64;
#if defined(__x86_64__)
    if (device->isa == LT_CPU_AVX512) {
        return wide ? &lt_cpu_gemm_f64_14x16_avx512 : &lt_cpu_gemm_f32_14x32_avx512;
    }
    if (device->isa == LT_CPU_AVX2) {
        return wide ? &lt_cpu_gemm_f64_6x8_avx2 : &lt_cpu_gemm_f32_6x16_avx2;
    }
#endif
    (void)device;
    return wide ? &lt_cpu_gemm_f64_4x4_portable : &lt_cpu_gemm_f32_4x8_portable;
}

/* Columns of panel `panel`: a last panel of at most nr / 2 columns is half as wide. */
static size_t panel_width(const lt_gemm_kernels *kernels, size_t panel, size_t n)
{
    size_t left = n - panel * kernels->nr;
    return left > kernels->nr / 2 ? kernels->nr : kernels->nr / 2;
}

size_t lt_gemm_packed_bytes(const lt_gemm_kernels *kernels, size_t taps, size_t k, size_t n)
{
    size_t columns = lt_gemm_panels(kernels, n) * kernels->nr,
           padded = lt_gemm_padded_k(kernels, k);
    size_t bytes;
    if (columns < n || padded < k || __builtin_mul_overflow(columns, taps, &bytes) ||
        __builtin_mul_overflow(bytes, padded, &bytes) ||
        __builtin_mul_overflow(bytes, (size_t)kernels->b_bytes, &bytes)) {
        return 0;
    }
    return bytes;
}

/* B's rows are contiguous. */
static void pack_rows_f32(const lt_gemm_source *piece, size_t width, float *out)
{
    const char *from = piece->data;
    for (size_t j = 0; j < piece->k; j++) {
        memcpy(out, from + j * piece->row_stride * sizeof(float), piece->n * sizeof(float));
        memset(out + piece->n, 0, (width - piece->n) * sizeof(float));
        out += width;
    }
}

/* B's columns are contiguous (a transposed B, a 1x1 filter): blocks of 16 rows, so that a line of
 * every column is used whole while it is in the first cache. */
static void pack_columns_f32(const lt_gemm_source *piece, size_t width, float *out)
{
    const char *data = piece->data;
    for (size_t j0 = 0; j0 < piece->k; j0 += 16) {
        size_t rows = piece->k - j0 < 16 ? piece->k - j0 : 16;
        for (size_t c = 0; c < width; c++) {
            float line[16] = {0};
            if (c < piece->n) {
                const char *from = data + (c * piece->column_stride + j0) * sizeof(float);
                memcpy(line, from, rows * sizeof(float));
            }
            for (size_t j = 0; j < rows; j++) {
                out[(j0 + j) * width + c] = line[j];
            }
        }
    }
}

/* Any strides and type. */
static void pack_any_f32(const lt_gemm_source *piece, size_t width, float *out)
{
    for (size_t j = 0; j < piece->k; j++) {
        for (size_t c = 0; c < width; c++) {
            size_t at = j * piece->row_stride + c * piece->column_stride;
            out[j * width + c] = c < piece->n ? lt_cpu_get_f32(piece->dtype, piece->data, at) : 0;
        }
    }
}

void lt_gemm_pack_f32(const lt_gemm_source *piece, size_t width, void *out)
{
    float *to = out;
    if (piece->dtype == LEAT_DTYPE_F32 && piece->column_stride == 1) {
        pack_rows_f32(piece, width, to);
    } else if (piece->dtype == LEAT_DTYPE_F32 && piece->row_stride == 1) {
        pack_columns_f32(piece, width, to);
    } else {
        pack_any_f32(piece, width, to);
    }
    for (size_t i = 0; i < piece->k * width && piece->scale != 1.0f; i++) {
        to[i] *= piece->scale;
    }
}

void lt_gemm_pack_f64(const lt_gemm_source *piece, size_t width, void *out)
{
    double *to = out;
    for (size_t j = 0; j < piece->k; j++) {
        for (size_t c = 0; c < width; c++) {
            size_t at = j * piece->row_stride + c * piece->column_stride;
            double v = 0;
            if (c < piece->n) {
                memcpy(&v, (const char *)piece->data + at * sizeof(v), sizeof(v));
            }
            to[j * width + c] = v * (double)piece->scale;
        }
    }
}

/* One panel. The taps of a filter lie side by side in memory, so rows go in blocks that stay in the
 * first cache while each tap picks its elements. */
static void pack_panel(const lt_gemm_kernels *kernels, const lt_gemm_source *source, size_t column,
                       size_t width, char *out)
{
    size_t taps = source->taps ? source->taps : 1;
    size_t step = taps == 1 ? source->k : TAP_ROWS;
    size_t row_bytes = width * kernels->b_bytes;
    size_t element = lt_cpu_element_bytes(source->dtype);
    lt_gemm_source piece = *source;
    piece.taps = 1;
    piece.n = source->n - column < width ? source->n - column : width;
    for (size_t j = 0; j < source->k; j += step) {
        piece.k = source->k - j < step ? source->k - j : step;
        for (size_t t = 0; t < taps; t++) {
            size_t at =
                t * source->tap_stride + j * source->row_stride + column * source->column_stride;
            piece.data = (const char *)source->data + at * element;
            size_t row = t * lt_gemm_padded_k(kernels, source->k) + j;
            kernels->pack(&piece, width, out + row * row_bytes);
        }
    }
}

void lt_gemm_pack(const lt_gemm_kernels *kernels, const lt_gemm_source *source, void *out,
                  size_t panel_begin, size_t panel_end)
{
    size_t taps = source->taps ? source->taps : 1;
    size_t rows = taps * lt_gemm_padded_k(kernels, source->k);
    for (size_t p = panel_begin; p < panel_end; p++) {
        size_t column = p * kernels->nr;
        pack_panel(kernels, source, column, panel_width(kernels, p, source->n),
                   (char *)out + column * rows * kernels->b_bytes);
    }
}

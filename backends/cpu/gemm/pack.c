/* SPDX-License-Identifier: Apache-2.0 */
/* B into panels; see gemm.h for the layout. Bytes bound it: B is read once and written once. */
#include "convert.h"
#include "gemm/gemm.h"
#include "shuffle.h"

/* Rows of one piece when there are several taps; a multiple of every k_group. */
#define TAP_ROWS 16

const lt_gemm_kernels *lt_gemm_kernels_for(const lt_cpu_device *device, leat_dtype dtype)
{
    bool wide = dtype == LEAT_DTYPE_F64;
#if defined(__x86_64__)
    if (device->isa == LT_CPU_AVX512) {
        return wide ? &lt_cpu_gemm_f64_8x16_avx512 : &lt_cpu_gemm_f32_14x32_avx512;
    }
    if (device->isa == LT_CPU_AVX2) {
        return wide ? &lt_cpu_gemm_f64_6x8_avx2 : &lt_cpu_gemm_f32_6x16_avx2;
    }
#endif
    (void)device;
    return wide ? &lt_cpu_gemm_f64_4x4_portable : &lt_cpu_gemm_f32_4x8_portable;
}

const lt_gemm_kernels *lt_gemm_kernels_fitting(const lt_cpu_device *device, leat_dtype dtype,
                                               size_t least_m, size_t n)
{
    const lt_gemm_kernels *kernels = lt_gemm_kernels_for(device, dtype);
#if defined(__x86_64__)
    size_t rest = n % kernels->nr, quarter = kernels->nr / 4;
    bool gains =
        rest > 2 * quarter ? rest <= 3 * quarter : rest > 0 && rest <= quarter && n > kernels->nr;
    if (kernels == &lt_cpu_gemm_f32_14x32_avx512 && least_m >= LT_GEMM_QUARTERS_ROWS && gains) {
        return &lt_cpu_gemm_f32_14x32q_avx512;
    }
#else
    (void)least_m;
    (void)n;
#endif
    return kernels;
}

size_t lt_gemm_packed_bytes(const lt_gemm_kernels *kernels, size_t taps, size_t k, size_t n)
{
    size_t columns = lt_gemm_columns(kernels, n), padded = lt_gemm_padded_k(kernels, k);
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

typedef float four __attribute__((vector_size(16)));
typedef int32_t order __attribute__((vector_size(16)));

static inline four load_four(const char *from)
{
    four v;
    memcpy(&v, from, sizeof(v));
    return v;
}

/* Four elements of each of four columns, `stride` bytes apart, to four rows of the panel. */
static inline void turn_four(const char *from, size_t stride, float *out, size_t width)
{
    four a = load_four(from), b = load_four(from + stride);
    four c = load_four(from + 2 * stride), d = load_four(from + 3 * stride);
    four ab0 = lt_cpu_shuffle(order, a, b, 0, 4, 1, 5);
    four ab1 = lt_cpu_shuffle(order, a, b, 2, 6, 3, 7);
    four cd0 = lt_cpu_shuffle(order, c, d, 0, 4, 1, 5);
    four cd1 = lt_cpu_shuffle(order, c, d, 2, 6, 3, 7);
    const four rows[4] = {
        lt_cpu_shuffle(order, ab0, cd0, 0, 1, 4, 5), lt_cpu_shuffle(order, ab0, cd0, 2, 3, 6, 7),
        lt_cpu_shuffle(order, ab1, cd1, 0, 1, 4, 5), lt_cpu_shuffle(order, ab1, cd1, 2, 3, 6, 7)};
    for (size_t i = 0; i < 4; i++) {
        memcpy(out + i * width, &rows[i], sizeof(rows[i]));
    }
}

/* f32 of any strides, the rows [begin, end) of columns [first, width). */
static void pack_part_f32(const lt_gemm_source *piece, size_t begin, size_t end, size_t first,
                          size_t width, float *out)
{
    const char *data = piece->data;
    for (size_t j = begin; j < end; j++) {
        for (size_t c = first; c < piece->n; c++) {
            memcpy(out + j * width + c,
                   data + (j * piece->row_stride + c * piece->column_stride) * sizeof(float),
                   sizeof(float));
        }
        for (size_t c = first > piece->n ? first : piece->n; c < width; c++) {
            out[j * width + c] = 0;
        }
    }
}

/* B's columns are contiguous (a transposed B, a 1x1 filter): blocks of 16 rows, so that a line of
 * every column is used whole while it is in the first cache. */
static void pack_columns_f32(const lt_gemm_source *piece, size_t width, float *out)
{
    const char *data = piece->data;
    const size_t stride = piece->column_stride * sizeof(float);
    size_t columns = piece->n / 4 * 4;
    for (size_t j0 = 0; j0 < piece->k; j0 += 16) {
        size_t end = piece->k - j0 < 16 ? piece->k : j0 + 16, j1 = j0 + (end - j0) / 4 * 4;
        for (size_t c = 0; c < columns; c += 4) {
            for (size_t j = j0; j < j1; j += 4) {
                turn_four(data + c * stride + j * sizeof(float), stride, out + j * width + c,
                          width);
            }
        }
        pack_part_f32(piece, j0, j1, columns, width, out);
        pack_part_f32(piece, j1, end, 0, width, out);
    }
}

/* Any strides, f16 or bf16. */
static void pack_half_f32(const lt_gemm_source *piece, size_t width, float *out)
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
    if (piece->dtype != LEAT_DTYPE_F32) {
        pack_half_f32(piece, width, to);
    } else if (piece->column_stride == 1) {
        pack_rows_f32(piece, width, to);
    } else if (piece->row_stride == 1) {
        pack_columns_f32(piece, width, to);
    } else {
        pack_part_f32(piece, 0, piece->k, 0, width, to);
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
        pack_panel(kernels, source, column, lt_gemm_panel_width(kernels, source->n - column),
                   (char *)out + column * rows * kernels->b_bytes);
    }
}

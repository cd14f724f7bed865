/* SPDX-License-Identifier: Apache-2.0 */
/* B into panels; see gemm.h for the layout. Bytes bound it: B is read once and written once. */
#include "convert.h"
#include "gemm/gemm.h"

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

size_t lt_gemm_packed_bytes(const lt_gemm_kernels *kernels, size_t k_total, size_t n)
{
    size_t columns = lt_gemm_panels(kernels, n) * kernels->nr;
    size_t bytes;
    if (columns < n || __builtin_mul_overflow(columns, k_total, &bytes) ||
        __builtin_mul_overflow(bytes, lt_cpu_element_bytes(kernels->dtype), &bytes)) {
        return 0;
    }
    return bytes;
}

/* One panel when B's rows are contiguous. */
static void pack_rows_f32(const lt_gemm_source *source, float *out, size_t column, size_t width,
                          size_t columns)
{
    const char *from = (const char *)source->data + column * sizeof(float);
    for (size_t j = 0; j < source->k; j++) {
        memcpy(out, from + j * source->row_stride * sizeof(float), columns * sizeof(float));
        memset(out + columns, 0, (width - columns) * sizeof(float));
        out += width;
    }
}

/* One panel when B's columns are contiguous (a transposed B, a filter): blocks of 16 rows, so that
 * a line of every column is used whole while it is in the first cache. */
static void pack_columns_f32(const lt_gemm_source *source, float *out, size_t column, size_t width,
                             size_t columns)
{
    const char *data = source->data;
    for (size_t j0 = 0; j0 < source->k; j0 += 16) {
        size_t rows = source->k - j0 < 16 ? source->k - j0 : 16;
        for (size_t c = 0; c < width; c++) {
            float line[16] = {0};
            if (c < columns) {
                const char *from =
                    data + ((column + c) * source->column_stride + j0) * sizeof(float);
                memcpy(line, from, rows * sizeof(float));
            }
            for (size_t j = 0; j < rows; j++) {
                out[(j0 + j) * width + c] = line[j];
            }
        }
    }
}

/* One panel, any strides and type. */
static void pack_any(const lt_gemm_source *source, void *out, size_t column, size_t width,
                     size_t columns)
{
    for (size_t j = 0; j < source->k; j++) {
        for (size_t c = 0; c < width; c++) {
            size_t at = j * source->row_stride + (column + c) * source->column_stride;
            if (source->dtype == LEAT_DTYPE_F64) {
                double v = 0;
                if (c < columns) {
                    memcpy(&v, (const char *)source->data + at * sizeof(v), sizeof(v));
                }
                ((double *)out)[j * width + c] = v;
            } else {
                ((float *)out)[j * width + c] =
                    c < columns ? lt_cpu_get_f32(source->dtype, source->data, at) : 0;
            }
        }
    }
}

static void scale_panel(void *panel, size_t count, leat_dtype dtype, float scale)
{
    for (size_t i = 0; i < count; i++) {
        if (dtype == LEAT_DTYPE_F64) {
            ((double *)panel)[i] *= (double)scale;
        } else {
            ((float *)panel)[i] *= scale;
        }
    }
}

void lt_gemm_pack(const lt_gemm_kernels *kernels, const lt_gemm_source *source, void *out,
                  size_t panel_begin, size_t panel_end)
{
    size_t element = lt_cpu_element_bytes(kernels->dtype);
    for (size_t p = panel_begin; p < panel_end; p++) {
        size_t column = p * kernels->nr;
        size_t width = panel_width(kernels, p, source->n);
        size_t columns = source->n - column < width ? source->n - column : width;
        void *panel = (char *)out + column * source->k * element;
        if (source->dtype == LEAT_DTYPE_F32 && source->column_stride == 1) {
            pack_rows_f32(source, panel, column, width, columns);
        } else if (source->dtype == LEAT_DTYPE_F32 && source->row_stride == 1) {
            pack_columns_f32(source, panel, column, width, columns);
        } else {
            pack_any(source, panel, column, width, columns);
        }
        if (source->scale != 1.0f) {
            scale_panel(panel, source->k * width, kernels->dtype, source->scale);
        }
    }
}

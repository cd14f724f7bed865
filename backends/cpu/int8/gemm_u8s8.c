/* SPDX-License-Identifier: Apache-2.0 */
/* 4 x 8 sums of u8 by s8 in portable C, and the choice of kernels. */
#include "int8/int8.h"

#define MR 4
#define NR 8

static inline __attribute__((always_inline)) void tile_run(const lt_gemm_tile *tile, const int mr,
                                                           const int nr)
{
    uint32_t sum[MR][NR]; /* unsigned: wraps */
    for (int r = 0; r < mr; r++) {
        for (int c = 0; c < nr; c++) {
            sum[r][c] = tile->bias ? ((const uint32_t *)tile->bias)[c] : 0;
        }
    }
    const int8_t *b = tile->b;
    for (size_t t = 0; t < tile->taps; t++) {
        for (size_t j = 0; j < tile->k; j += 4, b += 4 * nr) {
            for (int r = 0; r < mr; r++) {
                const uint8_t *a = (const uint8_t *)tile->rows[t * LT_GEMM_MAX_MR + (size_t)r] + j;
                for (int c = 0; c < nr; c++) {
                    const int8_t *w = b + 4 * c;
                    sum[r][c] += (uint32_t)(a[0] * w[0] + a[1] * w[1] + a[2] * w[2] + a[3] * w[3]);
                }
            }
        }
    }
    lt_int8_finish_portable(tile, (const int32_t *)&sum[0][0], NR, (size_t)mr);
}

#define ROWS(X) X(1) X(2) X(3) X(4)
#define DEFINE_KERNELS(rows)                                                                       \
    static void full_##rows(const lt_gemm_tile *tile)                                              \
    {                                                                                              \
        tile_run(tile, rows, NR);                                                                  \
    }                                                                                              \
    static void half_##rows(const lt_gemm_tile *tile)                                              \
    {                                                                                              \
        tile_run(tile, rows, NR / 2);                                                              \
    }
ROWS(DEFINE_KERNELS)

#define FULL(rows) full_##rows,
#define HALF(rows) half_##rows,
#define TABLE(bytes)                                                                               \
    {                                                                                              \
        .name = "gemm_u8s8_4x8_portable", .dtype = LEAT_DTYPE_U8, .a_bytes = 1, .b_bytes = 1,      \
        .c_bytes = bytes, .bias_bytes = 4, .k_group = 4, .mr = MR, .nr = NR, .full = {ROWS(FULL)}, \
        .half = {ROWS(HALF)}, .pack = lt_int8_pack, .activate = lt_cpu_activate_tile_f32_portable  \
    }
const lt_gemm_kernels lt_cpu_gemm_u8s8_4x8_portable[2] = {TABLE(4), TABLE(1)};

const lt_gemm_kernels *lt_int8_kernels_for(const lt_cpu_device *device, uint32_t c_bytes)
{
    const lt_gemm_kernels *pair = lt_cpu_gemm_u8s8_4x8_portable;
#if defined(__x86_64__)
    if (device->avx512_vnni) {
        pair = lt_cpu_gemm_u8s8_14x32_avx512vnni;
    } else if (device->isa >= LT_CPU_AVX2) {
        pair = lt_cpu_gemm_u8s8_4x16_avx2;
    }
#endif
    (void)device;
    return &pair[c_bytes == 1];
}

void lt_int8_pack(const lt_gemm_source *piece, size_t width, void *out)
{
    const uint8_t *data = piece->data;
    uint8_t flip = piece->dtype == LEAT_DTYPE_U8 ? 0x80 : 0; /* u8 - 128 in two's complement */
    uint8_t *to = out;
    for (size_t j0 = 0; j0 < piece->k; j0 += 4, to += 4 * width) {
        size_t count = piece->k - j0 < 4 ? piece->k - j0 : 4;
        if (count < 4 || piece->n < width) {
            memset(to, 0, 4 * width);
        }
        for (size_t i = 0; i < count; i++) {
            const uint8_t *from = data + (j0 + i) * piece->row_stride;
            for (size_t c = 0; c < piece->n; c++) {
                to[4 * c + i] = from[c * piece->column_stride] ^ flip;
            }
        }
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* 4 x 8 sums of u8 by s8 in portable C, and the choice of kernels. */
#include "int8/int8.h"
#include "shuffle.h"

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
        pair = &lt_cpu_gemm_u8s8_14x32_avx512vnni[device->full_width ? 2 : 0];
    } else if (device->avx_vnni) {
        pair = lt_cpu_gemm_u8s8_6x16_avxvnni;
    } else if (device->isa >= LT_CPU_AVX2) {
        pair = lt_cpu_gemm_u8s8_6x16_avx2;
    }
#endif
    (void)device;
    return &pair[c_bytes == 1];
}

/* --- packing ------------------------------------------------------------------------------------
 */

typedef uint8_t bytes16 __attribute__((vector_size(16)));
typedef uint16_t words8 __attribute__((vector_size(16)));

/* Bytes of two rows in turns: the first eight of each, and the last. */
#define LOW_BYTES(a, b)                                                                            \
    lt_cpu_shuffle(bytes16, a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define HIGH_BYTES(a, b)                                                                           \
    lt_cpu_shuffle(bytes16, a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)

/* Columns of four rows, 16 a step: (a0 b0 c0 d0) (a1 b1 c1 d1) ... Returns the columns done. */
static size_t weave_rows(const uint8_t *from, size_t stride, size_t n, uint8_t flip, uint8_t *to)
{
    size_t c = 0;
    for (; c + 16 <= n; c += 16) {
        bytes16 row[4];
        for (size_t i = 0; i < 4; i++) {
            memcpy(&row[i], from + i * stride + c, sizeof(row[i]));
            row[i] ^= flip;
        }
        const words8 ab[2] = {(words8)LOW_BYTES(row[0], row[1]),
                              (words8)HIGH_BYTES(row[0], row[1])};
        const words8 cd[2] = {(words8)LOW_BYTES(row[2], row[3]),
                              (words8)HIGH_BYTES(row[2], row[3])};
        for (size_t half = 0; half < 2; half++) {
            const words8 out[2] = {
                lt_cpu_shuffle(words8, ab[half], cd[half], 0, 8, 1, 9, 2, 10, 3, 11),
                lt_cpu_shuffle(words8, ab[half], cd[half], 4, 12, 5, 13, 6, 14, 7, 15)};
            memcpy(to + 4 * c + 32 * half, out, sizeof(out));
        }
    }
    return c;
}

/* Whole groups of four rows where columns are contiguous: a line of a column is used whole while
 * it is in the first cache. Returns the rows done. */
static size_t pack_columns(const lt_gemm_source *piece, size_t width, uint8_t flip, uint8_t *out)
{
    const uint8_t *data = piece->data;
    const uint32_t flips = flip * 0x01010101u;
    size_t rows = piece->k / 4 * 4;
    for (size_t j0 = 0; j0 < rows; j0 += 64) {
        size_t end = rows - j0 < 64 ? rows : j0 + 64;
        for (size_t c = 0; c < width; c++) {
            const uint8_t *from = data + c * piece->column_stride;
            for (size_t j = j0; j < end; j += 4) {
                uint32_t group = 0;
                if (c < piece->n) {
                    memcpy(&group, from + j, sizeof(group));
                    group ^= flips;
                }
                memcpy(out + j * width + 4 * c, &group, sizeof(group));
            }
        }
    }
    return rows;
}

void lt_int8_pack(const lt_gemm_source *piece, size_t width, void *out)
{
    const uint8_t *data = piece->data;
    uint8_t flip = piece->dtype == LEAT_DTYPE_U8 ? 0x80 : 0; /* u8 - 128 in two's complement */
    bool columns = piece->row_stride == 1, rows = piece->column_stride == 1 && !columns;
    size_t j0 = columns ? pack_columns(piece, width, flip, out) : 0;
    for (uint8_t *to = (uint8_t *)out + j0 * width; j0 < piece->k; j0 += 4, to += 4 * width) {
        const uint8_t *group = data + j0 * piece->row_stride;
        size_t count = piece->k - j0 < 4 ? piece->k - j0 : 4, first = 0;
        if (count < 4 || piece->n < width) {
            memset(to, 0, 4 * width);
        }
        if (rows && count == 4) {
            first = weave_rows(group, piece->row_stride, piece->n, flip, to);
        }
        for (size_t i = 0; i < count; i++) {
            const uint8_t *from = group + i * piece->row_stride;
            for (size_t c = first; c < piece->n; c++) {
                to[4 * c + i] = from[c * piece->column_stride] ^ flip;
            }
        }
    }
}

#if defined(__x86_64__)
lt_int8_limits_fn lt_int8_limits_for(const lt_gemm_kernels *kernels)
{
    return kernels->full[0] == lt_cpu_gemm_u8s8_6x16_avx2[0].full[0] ? lt_int8_limits_avx2 : NULL;
}
#else
lt_int8_limits_fn lt_int8_limits_for(const lt_gemm_kernels *kernels)
{
    (void)kernels;
    return NULL;
}
#endif

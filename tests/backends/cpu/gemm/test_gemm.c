/* SPDX-License-Identifier: Apache-2.0 */
/* What the loops of gemm.h promise to a kernel: groups of k, taps, copies of rows, epilogue
 * parameters. The kernel is plain C and counts in integers, so results are exact. */
#include "support/test.h"

#include "gemm/gemm.h"

#include <stdlib.h>

#define NR 8
#define MR 3

/* Per column a factor, per row an offset: found by the tile's first column and row. */
typedef struct epilogue {
    const int32_t *factors;
    const int32_t *offsets;
    size_t k; /* without filling */
} epilogue;

static void tile_run(const lt_gemm_tile *tile, size_t rows, size_t width)
{
    const epilogue *e = tile->epilogue;
    assert_int_equal(tile->k % 4, 0);
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < tile->n; c++) {
            int32_t sum = tile->bias ? ((const int32_t *)tile->bias)[c] : 0;
            const int8_t *b = tile->b;
            for (size_t t = 0; t < tile->taps; t++) {
                const int8_t *a = tile->rows[t * LT_GEMM_MAX_MR + r];
                for (size_t j = 0; j < tile->k; j++) {
                    assert_true(j < e->k || a[j] == 0);
                    sum += a[j] * b[(j / 4 * width + c) * 4 + j % 4];
                }
                b += tile->k * width;
            }
            sum = sum * e->factors[tile->column + c] + e->offsets[tile->row + r];
            ((int16_t *)tile->c)[r * tile->ldc + c] = (int16_t)sum;
        }
    }
}

#define DEFINE(rows)                                                                               \
    static void full_##rows(const lt_gemm_tile *tile)                                              \
    {                                                                                              \
        tile_run(tile, rows, NR);                                                                  \
    }                                                                                              \
    static void half_##rows(const lt_gemm_tile *tile)                                              \
    {                                                                                              \
        tile_run(tile, rows, NR / 2);                                                              \
    }
DEFINE(1)
DEFINE(2)
DEFINE(3)

static void pack_quads(const lt_gemm_source *piece, size_t width, void *out)
{
    int8_t *to = out;
    for (size_t j = 0; j < (piece->k + 3) / 4 * 4; j++) {
        for (size_t c = 0; c < width; c++) {
            size_t at = j * piece->row_stride + c * piece->column_stride;
            bool exists = j < piece->k && c < piece->n;
            to[(j / 4 * width + c) * 4 + j % 4] = exists ? ((const int8_t *)piece->data)[at] : 0;
        }
    }
}

static const lt_gemm_kernels quads = {.name = "quads",
                                      .dtype = LEAT_DTYPE_I8,
                                      .a_bytes = 1,
                                      .b_bytes = 1,
                                      .c_bytes = 2,
                                      .bias_bytes = 4,
                                      .k_group = 4,
                                      .mr = MR,
                                      .nr = NR,
                                      .full = {full_1, full_2, full_3},
                                      .half = {half_1, half_2, half_3},
                                      .pack = pack_quads};

/* Row i of tap t starts at element (i + t) * k: overlapping windows. */
typedef struct windows {
    const int8_t *data;
    size_t k, taps;
} windows;

static void window_rows(const void *argument, size_t first, size_t count, const void **rows)
{
    const windows *w = argument;
    for (size_t i = 0; i < count; i++) {
        for (size_t t = 0; t < w->taps; t++) {
            rows[t * LT_GEMM_MAX_MR + i] = w->data + (first + i + t) * w->k;
        }
    }
}

/* From 32-bit storage, with the row's parity added. */
static void narrow_row(const void *argument, const void *from, size_t row, size_t k, void *to)
{
    for (size_t j = 0; j < k; j++) {
        ((int8_t *)to)[j] = (int8_t)(((const int32_t *)from)[j] + (int32_t)(row & 1));
    }
    assert_string_equal(argument, "narrow");
}

static int8_t digit(size_t i)
{
    return (int8_t)(i * 7919 % 7) - 3;
}

typedef struct shape {
    size_t m, n, k, taps;
} shape;

typedef enum way_of_a {
    PLAIN,
    WINDOWS,
    NARROWED
} way_of_a;

/* One product of made-up digits; `way`: a plain matrix, windows, or 32-bit rows narrowed. */
static void check(shape s, way_of_a way)
{
    size_t n_a = (s.m + s.taps) * s.k, n_b = s.taps * s.k * s.n, padded = (s.n + NR) / NR * NR;
    int8_t *a = malloc(n_a), *b = malloc(n_b);
    int32_t *wide = malloc(n_a * sizeof(*wide)), *columns = calloc(padded, 3 * sizeof(*columns));
    int32_t *offsets = malloc(s.m * sizeof(*offsets));
    int16_t *c = malloc(s.m * s.n * sizeof(*c));
    for (size_t i = 0; i < n_a; i++) {
        wide[i] = a[i] = digit(i);
    }
    for (size_t i = 0; i < n_b; i++) {
        b[i] = digit(i + 5);
    }
    for (size_t i = 0; i < s.n; i++) {
        columns[i] = digit(i + 1), columns[padded + i] = digit(i);
    }
    for (size_t i = 0; i < s.m; i++) {
        offsets[i] = (int32_t)i;
    }
    /* B is stored [n][k][taps], like a filter. */
    lt_gemm_source source = {b, LEAT_DTYPE_I8, s.taps, s.k, s.n, 1, s.taps, s.taps * s.k, 1};
    size_t bytes = lt_gemm_packed_bytes(&quads, s.taps, s.k, s.n);
    void *packed = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
    lt_gemm_pack(&quads, &source, packed, 0, lt_gemm_panels(&quads, s.n));
    epilogue e = {columns, offsets, s.k};
    windows w = {a, s.k, s.taps};
    lt_gemm_job job = {.kernels = &quads,
                       .m = s.m,
                       .n = s.n,
                       .k = s.k,
                       .taps = s.taps,
                       .rows = way == WINDOWS ? window_rows : NULL,
                       .rows_argument = &w,
                       .a = way == NARROWED ? (const void *)wide : a,
                       .lda = s.k,
                       .copy = way == NARROWED ? narrow_row : NULL,
                       .copy_argument = "narrow",
                       .copy_bytes = 4,
                       .b = packed,
                       .bias = columns + padded,
                       .c = c,
                       .ldc = s.n,
                       .epilogue = &e};
    size_t workspace_bytes = (lt_gemm_workspace(&job, 2) + 63) & ~(size_t)63;
    void *workspace = aligned_alloc(64, workspace_bytes + 64);
    memset(workspace, 0x7f, workspace_bytes);
    lt_gemm_run_serial(&job, workspace, 1);
    for (size_t i = 0; i < s.m; i++) {
        for (size_t j = 0; j < s.n; j++) {
            int32_t sum = columns[padded + j];
            for (size_t x = 0; x < s.k * s.taps; x++) {
                size_t t = x / s.k, l = x % s.k;
                int32_t add = way == NARROWED ? (int32_t)(i & 1) : 0;
                sum += (a[(i + t) * s.k + l] + add) * b[(j * s.k + l) * s.taps + t];
            }
            assert_int_equal(c[i * s.n + j], (int16_t)(sum * columns[j] + offsets[i]));
        }
    }
    free(workspace), free(packed), free(c), free(offsets), free(columns), free(wide);
    free(b), free(a);
}

static void groups_of_k_are_filled_with_zeros(void **state)
{
    (void)state;
    for (size_t k = 1; k <= 9; k++) {
        check((shape){5, 21, k, 1}, PLAIN);
        check((shape){7, 11, k, 1}, NARROWED);
        check((shape){7, 11, k, 3}, WINDOWS);
    }
}

static void long_rows_go_in_blocks(void **state)
{
    (void)state;
    check((shape){61, 20, 2048, 1}, PLAIN); /* collide: copied */
    check((shape){61, 20, 2047, 1}, PLAIN);
    check((shape){61, 9, 6000, 2}, WINDOWS);
    check((shape){200, 9, 6001, 2}, WINDOWS);
    check((shape){100, 9, 5003, 1}, NARROWED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_of_k_are_filled_with_zeros),
        cmocka_unit_test(long_rows_go_in_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Products with weights of 4 and 8 bits against double loops, on all instruction sets. */
#include "support/test.h"

#include "support/kernel.h"
#include "support/oracle.h"

#include <math.h>
#include <stdlib.h>

typedef struct nbits_case {
    int64_t m, n, k, bits, block;
    char zero; /* 0 none, 'u' packed, 's' packed and all the same, 'f' floats */
    int32_t threads;
} nbits_case;

/* Number i of a row of `row_bytes` bytes. */
static double number_of(const leat_array *a, int64_t row, int64_t row_bytes, int64_t i,
                        int64_t bits)
{
    const uint8_t *bytes = (const uint8_t *)a->data + row * row_bytes;
    return bits == 8 ? bytes[i] : i % 2 ? bytes[i / 2] >> 4 : bytes[i / 2] & 15;
}

static double weight(const nbits_case *t, const leat_array *in, int64_t n, int64_t k)
{
    int64_t blocks = t->k / t->block, b = k / t->block;
    double zero = t->bits == 8 ? 128 : 8;
    if (t->zero == 'f') {
        zero = oracle_get(&in[3], (size_t)(n * blocks + b));
    } else if (t->zero != 0) {
        zero = number_of(&in[3], n, (blocks * t->bits + 7) / 8, b, t->bits);
    }
    double q = number_of(&in[1], n, t->k * t->bits / 8, k, t->bits);
    return oracle_get(&in[2], (size_t)(n * blocks + b)) * (q - zero);
}

static void make_inputs(const nbits_case *t, leat_array in[4])
{
    int64_t blocks = t->k / t->block;
    int64_t x[] = {t->m, t->k}, q[] = {t->n, blocks, t->block * t->bits / 8}, s[] = {t->n, blocks};
    int64_t u[] = {t->n, (blocks * t->bits + 7) / 8};
    in[0] = oracle_filled(LEAT_DTYPE_F32, 2, x, 1);
    in[1] = oracle_filled(LEAT_DTYPE_U8, 3, q, 2);
    in[2] = oracle_filled(LEAT_DTYPE_F32, 2, s, 3);
    in[3] = (leat_array){0};
    if (t->zero == 'f') {
        in[3] = oracle_filled(LEAT_DTYPE_F32, 2, s, 4);
        for (size_t i = 0; i < oracle_count(&in[3]); i++) {
            ((float *)in[3].data)[i] *= 20;
        }
    } else if (t->zero != 0) {
        in[3] = oracle_filled(LEAT_DTYPE_U8, 2, u, 5);
        if (t->zero == 's') {
            memset(in[3].data, 0x55, in[3].bytes);
        }
    }
}

static leat_status run(const nbits_case *t, const leat_array *in, leat_array *y, lt_cpu_isa isa,
                       leat_error *err)
{
    leat_attr attrs[] = {test_attr_int("K", t->k), test_attr_int("N", t->n),
                         test_attr_int("bits", t->bits), test_attr_int("block_size", t->block)};
    test_kernel kernel = {.op = "MatMulNBits",
                          .domain = "leat",
                          .opset = 1,
                          .attrs = attrs,
                          .n_attrs = 4,
                          .inputs = in,
                          .n_inputs = 4,
                          .constants = 0xe,
                          .outputs = y,
                          .n_outputs = 1,
                          .isa = isa,
                          .threads = t->threads};
    return test_kernel_run(&kernel, NULL, err);
}

static void check(const nbits_case *t, lt_cpu_isa isa)
{
    leat_array in[4];
    int64_t shape[] = {t->m, t->n};
    make_inputs(t, in);
    leat_array y = oracle_array(LEAT_DTYPE_F32, 2, shape);
    double *expected = calloc(oracle_count(&y) + 1, sizeof(*expected));
    leat_error err = {0};
    assert_ok(run(t, in, &y, isa, &err), &err);
    double largest = 0;
    for (int64_t n = 0; n < t->n; n++) {
        for (int64_t k = 0; k < t->k; k++) {
            double w = weight(t, in, n, k);
            largest = fabs(w) > largest ? fabs(w) : largest;
            for (int64_t m = 0; m < t->m; m++) {
                expected[m * t->n + n] += w * oracle_get(&in[0], (size_t)(m * t->k + k));
            }
        }
    }
    double rtol = oracle_rtol(LEAT_DTYPE_F32, (size_t)t->k);
    oracle_assert_close(&y, expected, rtol, rtol * largest * sqrt((double)t->k));
    free(expected);
    oracle_free(&y, 1);
    oracle_free(in, 4);
}

static void nbits_matches_double_loops(void **state)
{
    static const nbits_case cases[] = {
        {1, 1, 16, 4, 16, 0, 1},      {1, 33, 96, 4, 32, 'f', 2},   {2, 16, 64, 4, 32, 'u', 1},
        {3, 50, 96, 4, 32, 'u', 1},   {7, 31, 128, 4, 64, 's', 3},  {8, 17, 64, 8, 32, 0, 1},
        {15, 48, 96, 8, 16, 'u', 2},  {1, 40, 256, 8, 128, 'f', 1}, {4, 19, 48, 8, 48, 's', 1},
        {1, 100, 576, 4, 32, 'f', 4}, {33, 5, 32, 4, 32, 0, 1},     {0, 5, 32, 4, 32, 'u', 1},
        {1, 700, 1024, 4, 32, 'f', 4}};
    (void)state;
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        for (size_t i = 0; i < 3; i++) {
            check(&cases[c], test_isas[i]);
        }
    }
}

static void nbits_refuses_what_does_not_fit(void **state)
{
    const nbits_case good = {2, 5, 64, 4, 32, 'u', 1};
    leat_array in[4];
    float y[10];
    leat_array out = {LEAT_DTYPE_F32, 2, {2, 5}, y, sizeof(y)};
    leat_error err = {0};
    (void)state;
    make_inputs(&good, in);
    assert_ok(run(&good, in, &out, LT_CPU_AVX512, &err), &err);
    nbits_case t = good;
    t.bits = 3;
    assert_int_equal(run(&t, in, &out, LT_CPU_AVX512, &err), LEAT_UNSUPPORTED);
    t = good, t.block = 24;
    assert_int_equal(run(&t, in, &out, LT_CPU_AVX512, &err), LEAT_UNSUPPORTED);
    t = good, t.k = 1ll << 40;
    assert_int_equal(run(&t, in, &out, LT_CPU_AVX512, &err), LEAT_UNSUPPORTED);
    t = good, t.n = 6; /* more than there are weights */
    assert_int_equal(run(&t, in, &out, LT_CPU_AVX512, &err), LEAT_UNSUPPORTED);
    in[3].bytes--;
    in[3].shape[1] = 0;
    assert_int_equal(run(&good, in, &out, LT_CPU_AVX512, &err), LEAT_UNSUPPORTED);
    oracle_free(in, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nbits_matches_double_loops),
        cmocka_unit_test(nbits_refuses_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

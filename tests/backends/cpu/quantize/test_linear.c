/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "smallfloat.h"
#include "support/kernel.h"
#include "support/oracle.h"

#include <math.h>

#define MOST 8192

static uint64_t x_bytes[MOST], scale_bytes[MOST], zero_bytes[MOST], y_bytes[MOST];
static double expected[MOST];

typedef struct grid_case {
    int64_t outer, dim, inner;
    int64_t block; /* 0: per axis; -1: per tensor */
} grid_case;

static const grid_case grids[] = {
    {1, 1, 1, -1},   {3, 7, 31, -1}, {2, 5, 17, 0}, {3, 130, 1, 0},
    {1, 2, 1300, 0}, {2, 9, 5, 4},   {3, 37, 1, 8}, {1, 4, 3, 1},
};

static int64_t scale_of(const grid_case *g, int64_t i)
{
    int64_t inner = i % g->inner, a = i / g->inner % g->dim, outer = i / g->inner / g->dim;
    if (g->block < 0) {
        return 0;
    }
    if (g->block == 0) {
        return a;
    }
    int64_t blocks = (g->dim + g->block - 1) / g->block;
    return (outer * blocks + a / g->block) * g->inner + inner;
}

static leat_array make_array(leat_dtype dtype, int32_t rank, int64_t a, int64_t b, int64_t c,
                             void *data)
{
    leat_array array = {dtype, rank, {a, b, c}, data, 0};
    array.bytes = leat_dtype_bytes(dtype, oracle_count(&array));
    assert_true(array.bytes <= sizeof(x_bytes));
    return array;
}

static leat_array scale_array(const grid_case *g, leat_dtype dtype, void *data)
{
    if (g->block < 0) {
        return make_array(dtype, 0, 1, 1, 1, data);
    }
    if (g->block == 0) {
        return make_array(dtype, 1, g->dim, 1, 1, data);
    }
    return make_array(dtype, 3, g->outer, (g->dim + g->block - 1) / g->block, g->inner, data);
}

typedef struct type_case {
    leat_dtype dtype;
    double low, high;
} type_case;

static const type_case types[] = {
    {LEAT_DTYPE_U8, 0, 255}, {LEAT_DTYPE_I8, -128, 127},      {LEAT_DTYPE_U16, 0, 65535},
    {LEAT_DTYPE_U4, 0, 15},  {LEAT_DTYPE_I16, -32768, 32767}, {LEAT_DTYPE_I4, -8, 7},
    {LEAT_DTYPE_U2, 0, 3},   {LEAT_DTYPE_I2, -2, 1},
};

/* oracle_set, for packed types, too. */
static void put(leat_array *array, size_t i, double v)
{
    unsigned bits = lt_packed_bits(array->dtype);
    if (bits != 0) {
        lt_packed_set(array->data, (int64_t)i, bits, (unsigned)(int)v);
    } else {
        oracle_set(array, i, v);
    }
}

/* Fills x, scales (powers of two times a third, so that quotients are not all exact) and zeros. */
static void fill(leat_array *x, leat_array *scale, leat_array *zero, const type_case *type)
{
    uint64_t seed = 11;
    for (size_t i = 0; i < oracle_count(scale); i++) {
        oracle_set(scale, i, ldexp(1.0 + oracle_random(&seed), -3));
        double span = type->high - type->low;
        put(zero, i, type->low + floor(oracle_random(&seed) * (span + 1)));
    }
    for (size_t i = 0; i < oracle_count(x); i++) {
        oracle_set(x, i, (oracle_random(&seed) - 0.5) * (type->high - type->low) * 0.4);
    }
    oracle_set(x, 0, INFINITY);
    oracle_set(x, oracle_count(x) - 1, -1e30);
}

static void run(test_kernel *kernel, leat_attr *attrs, const grid_case *g)
{
    attrs[0] = test_attr_int("axis", -2);
    attrs[1] = test_attr_int("block_size", g->block > 0 ? g->block : 0);
    kernel->opset = 23;
    kernel->attrs = attrs;
    for (int run = 0; run < 6; run++) {
        leat_error err = {0};
        kernel->isa = test_isas[run % 3];
        kernel->threads = run / 3 ? 3 : 1;
        memset(y_bytes, 0xa5, sizeof(y_bytes));
        assert_ok(test_kernel_run(kernel, NULL, &err), &err);
        oracle_assert_close(&kernel->outputs[0], expected, 0, 0);
        assert_int_equal(((uint8_t *)y_bytes)[kernel->outputs[0].bytes], 0xa5);
    }
}

static void quantize_rounds_to_even_and_saturates(void **state)
{
    (void)state;
    for (size_t t = 0; t < sizeof(types) / sizeof(*types); t++) {
        for (size_t k = 0; k < sizeof(grids) / sizeof(*grids); k++) {
            const grid_case *g = &grids[k];
            leat_array in[3] = {
                make_array(LEAT_DTYPE_F32, 3, g->outer, g->dim, g->inner, x_bytes),
                scale_array(g, LEAT_DTYPE_F32, scale_bytes),
                scale_array(g, types[t].dtype, zero_bytes),
            };
            leat_array y = make_array(types[t].dtype, 3, g->outer, g->dim, g->inner, y_bytes);
            fill(&in[0], &in[1], &in[2], &types[t]);
            for (size_t i = 0; i < oracle_count(&y); i++) {
                size_t s = (size_t)scale_of(g, (int64_t)i);
                float q = (float)oracle_get(&in[0], i) / (float)oracle_get(&in[1], s);
                double v = nearbyint((double)q) + oracle_get(&in[2], s);
                expected[i] = fmin(fmax(v, types[t].low), types[t].high);
            }
            leat_attr attrs[2];
            test_kernel kernel = {.op = "QuantizeLinear",
                                  .n_attrs = 2,
                                  .inputs = in,
                                  .n_inputs = 3,
                                  .outputs = &y,
                                  .n_outputs = 1};
            run(&kernel, attrs, g);
        }
    }
}

static void dequantize_subtracts_and_scales(void **state)
{
    (void)state;
    for (size_t t = 0; t < sizeof(types) / sizeof(*types); t++) {
        for (size_t k = 0; k < sizeof(grids) / sizeof(*grids); k++) {
            const grid_case *g = &grids[k];
            uint64_t seed = 5;
            leat_array in[3] = {
                make_array(types[t].dtype, 3, g->outer, g->dim, g->inner, x_bytes),
                scale_array(g, LEAT_DTYPE_F32, scale_bytes),
                scale_array(g, types[t].dtype, zero_bytes),
            };
            leat_array y = make_array(LEAT_DTYPE_F32, 3, g->outer, g->dim, g->inner, y_bytes);
            leat_array unused = make_array(LEAT_DTYPE_F32, 0, 1, 1, 1, y_bytes);
            fill(&unused, &in[1], &in[2], &types[t]);
            for (size_t i = 0; i < oracle_count(&y); i++) {
                size_t s = (size_t)scale_of(g, (int64_t)i);
                double q =
                    types[t].low + floor(oracle_random(&seed) * (types[t].high - types[t].low + 1));
                put(&in[0], i, q);
                expected[i] =
                    (double)((float)(q - oracle_get(&in[2], s)) * (float)oracle_get(&in[1], s));
            }
            leat_attr attrs[2];
            test_kernel kernel = {.op = "DequantizeLinear",
                                  .n_attrs = 2,
                                  .inputs = in,
                                  .n_inputs = 3,
                                  .outputs = &y,
                                  .n_outputs = 1};
            run(&kernel, attrs, g);
        }
    }
}

static void quantize_ties_go_to_even(void **state)
{
    (void)state;
    float x[] = {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 254.5f, NAN, 3e38f}, scale = 1;
    static const int8_t signed_y[] = {0, 2, 2, 0, -2, -2, 127, -128, 127};
    static const uint8_t unsigned_y[] = {0, 2, 2, 0, 0, 0, 254, 0, 255};
    for (int run = 0; run < 6; run++) {
        leat_error err = {0};
        bool is_signed = run / 3;
        leat_dtype dtype = is_signed ? LEAT_DTYPE_I8 : LEAT_DTYPE_U8;
        uint8_t zero = 0, y[9];
        leat_array in[3] = {make_array(LEAT_DTYPE_F32, 1, 9, 1, 1, x),
                            make_array(LEAT_DTYPE_F32, 0, 1, 1, 1, &scale),
                            make_array(dtype, 0, 1, 1, 1, &zero)};
        leat_array out = make_array(dtype, 1, 9, 1, 1, y);
        test_kernel kernel = {.op = "QuantizeLinear",
                              .inputs = in,
                              .n_inputs = 3,
                              .outputs = &out,
                              .n_outputs = 1,
                              .isa = test_isas[run % 3]};
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        assert_memory_equal(y, is_signed ? (const void *)signed_y : (const void *)unsigned_y, 9);
    }
}

/* Numbers at and right beside the middle of two codes, for scales without a short reciprocal and
 * for one whose reciprocal overflows: the quotient in f32 decides, on all instruction sets. */
static void quantize_near_ties_follows_the_quotient(void **state)
{
    static const float scales[] = {0.1f, 0.037f, 1.0f / 3, 7.3e-5f, 1.7e4f, 1e-40f};
    float *x = (float *)(void *)x_bytes;
    (void)state;
    for (size_t s = 0; s < sizeof(scales) / sizeof(scales[0]) * 3; s++) {
        float scale = scales[s / 3];
        uint8_t zero = 100;
        for (int i = 0; i < 1539; i++) {
            float middle = ((float)(i / 3) - 150.5f) * scale;
            x[i] = i % 3 == 0   ? middle
                   : i % 3 == 1 ? nextafterf(middle, INFINITY)
                                : nextafterf(middle, -INFINITY);
        }
        leat_array in[3] = {make_array(LEAT_DTYPE_F32, 1, 1539, 1, 1, x),
                            make_array(LEAT_DTYPE_F32, 0, 1, 1, 1, &scale),
                            make_array(LEAT_DTYPE_U8, 0, 1, 1, 1, &zero)};
        leat_array y = make_array(LEAT_DTYPE_U8, 1, 1539, 1, 1, y_bytes);
        leat_error err = {0};
        test_kernel kernel = {.op = "QuantizeLinear",
                              .inputs = in,
                              .n_inputs = 3,
                              .outputs = &y,
                              .n_outputs = 1,
                              .isa = test_isas[s % 3]};
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        for (int i = 0; i < 1539; i++) {
            float q = nearbyintf(x[i] / scale) + 100.0f;
            assert_int_equal(((uint8_t *)y.data)[i], (int)fminf(fmaxf(q, 0), 255));
        }
    }
}

static void float8_saturates_or_not(void **state)
{
    (void)state;
    float x[] = {1.0f, 1000.0f, -1000.0f, 0.1f}, scale = 0.5f;
    static const leat_dtype float8[] = {LEAT_DTYPE_F8E4M3FN, LEAT_DTYPE_F8E4M3FNUZ,
                                        LEAT_DTYPE_F8E5M2, LEAT_DTYPE_F8E5M2FNUZ};
    for (int t = 0; t < 4; t++) {
        for (int run = 0; run < 6; run++) {
            leat_error err = {0};
            uint8_t zero = 0, y[4];
            leat_array in[3] = {make_array(LEAT_DTYPE_F32, 1, 4, 1, 1, x),
                                make_array(LEAT_DTYPE_F32, 0, 1, 1, 1, &scale),
                                make_array(float8[t], 0, 1, 1, 1, &zero)};
            leat_array out = make_array(float8[t], 1, 4, 1, 1, y);
            leat_attr saturate = test_attr_int("saturate", run / 3);
            test_kernel kernel = {.op = "QuantizeLinear",
                                  .attrs = &saturate,
                                  .n_attrs = 1,
                                  .inputs = in,
                                  .n_inputs = 3,
                                  .outputs = &out,
                                  .n_outputs = 1,
                                  .isa = test_isas[run % 3]};
            assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
            for (int i = 0; i < 4; i++) {
                assert_int_equal(y[i], lt_f32_to_small(float8[t], x[i] / scale, run / 3));
            }
        }
    }
}

/* All codes of the four types, NaN among them. */
static void float8_of_every_kind_is_scaled(void **state)
{
    (void)state;
    static const leat_dtype float8[] = {LEAT_DTYPE_F8E4M3FN, LEAT_DTYPE_F8E4M3FNUZ,
                                        LEAT_DTYPE_F8E5M2, LEAT_DTYPE_F8E5M2FNUZ};
    static const grid_case whole = {1, 1, 1, -1};
    float scale = 0.75f;
    for (int t = 0; t < 4; t++) {
        leat_array in[2] = {make_array(float8[t], 1, 256, 1, 1, x_bytes),
                            make_array(LEAT_DTYPE_F32, 0, 1, 1, 1, &scale)};
        leat_array y = make_array(LEAT_DTYPE_F32, 1, 256, 1, 1, y_bytes);
        for (int i = 0; i < 256; i++) {
            ((uint8_t *)x_bytes)[i] = (uint8_t)i;
            expected[i] = (double)(lt_small_to_f32(float8[t], (uint8_t)i) * scale);
        }
        leat_attr attrs[2];
        test_kernel kernel = {.op = "DequantizeLinear",
                              .n_attrs = 2,
                              .inputs = in,
                              .n_inputs = 2,
                              .outputs = &y,
                              .n_outputs = 1};
        run(&kernel, attrs, &whole);
    }
}

/* Scales that are powers of two, a block each, as MX types have them. */
static void scales_of_e8m0_are_powers_of_two(void **state)
{
    (void)state;
    static const grid_case blocks = {3, 40, 1, 8};
    const int64_t n_scales = 3 * 5;
    for (int quantize = 0; quantize < 2; quantize++) {
        leat_array wide = make_array(LEAT_DTYPE_F32, 3, 3, 40, 1, quantize ? x_bytes : y_bytes);
        leat_array codes =
            make_array(LEAT_DTYPE_F8E4M3FN, 3, 3, 40, 1, quantize ? y_bytes : x_bytes);
        leat_array in[2] = {quantize ? wide : codes,
                            scale_array(&blocks, LEAT_DTYPE_F8E8M0, scale_bytes)};
        leat_array y = quantize ? codes : wide;
        uint64_t seed = 5;
        for (int64_t i = 0; i < n_scales; i++) {
            ((uint8_t *)scale_bytes)[i] = (uint8_t)(127 - 4 + i % 9);
        }
        for (int64_t i = 0; i < 120; i++) {
            float scale = ldexpf(1, (int)(scale_of(&blocks, i) % 9) - 4);
            uint8_t code = (uint8_t)(oracle_random(&seed) * 0x7e); /* finite, not negative */
            float value = lt_small_to_f32(LEAT_DTYPE_F8E4M3FN, code);
            if (quantize) {
                ((float *)x_bytes)[i] = value * scale; /* exact: what comes out is the code */
                expected[i] = (double)value;
            } else {
                ((uint8_t *)x_bytes)[i] = code;
                expected[i] = (double)(value * scale);
            }
        }
        leat_attr attrs[2];
        test_kernel kernel = {.op = quantize ? "QuantizeLinear" : "DequantizeLinear",
                              .n_attrs = 2,
                              .inputs = in,
                              .n_inputs = 2,
                              .outputs = &y,
                              .n_outputs = 1};
        run(&kernel, attrs, &blocks);
    }
}

static void half_data_divides_in_half(void **state)
{
    (void)state;
    static const leat_dtype halves[] = {LEAT_DTYPE_F16, LEAT_DTYPE_BF16};
    for (int t = 0; t < 2; t++) {
        uint8_t bytes[8];
        leat_array in[2] = {make_array(halves[t], 2, 40, 25, 1, x_bytes),
                            make_array(halves[t], 0, 1, 1, 1, scale_bytes)};
        leat_array y = make_array(LEAT_DTYPE_U8, 2, 40, 25, 1, y_bytes);
        leat_array quotient = make_array(halves[t], 0, 1, 1, 1, bytes);
        uint64_t seed = 2;
        oracle_set(&in[1], 0, 0.3);
        for (size_t i = 0; i < 1000; i++) {
            oracle_set(&in[0], i, oracle_random(&seed) * 90 - 5);
            oracle_set(&quotient, 0, oracle_get(&in[0], i) / oracle_get(&in[1], 0));
            expected[i] = fmin(fmax(nearbyint(oracle_get(&quotient, 0)), 0), 255);
        }
        static const grid_case whole = {1, 1, 1, -1};
        leat_attr attrs[2];
        test_kernel kernel = {.op = "QuantizeLinear",
                              .n_attrs = 2,
                              .inputs = in,
                              .n_inputs = 2,
                              .outputs = &y,
                              .n_outputs = 1};
        run(&kernel, attrs, &whole);
    }
}

static void scales_that_do_not_fit_are_invalid(void **state)
{
    (void)state;
    leat_array in[3] = {make_array(LEAT_DTYPE_F32, 2, 4, 6, 1, x_bytes),
                        make_array(LEAT_DTYPE_F32, 1, 5, 1, 1, scale_bytes),
                        make_array(LEAT_DTYPE_U8, 1, 5, 1, 1, zero_bytes)};
    leat_array y = make_array(LEAT_DTYPE_U8, 2, 4, 6, 1, y_bytes);
    leat_attr attrs[2] = {test_attr_int("axis", 1), test_attr_int("block_size", 0)};
    test_kernel kernel = {.op = "QuantizeLinear",
                          .opset = 23,
                          .attrs = attrs,
                          .n_attrs = 2,
                          .inputs = in,
                          .n_inputs = 3,
                          .outputs = &y,
                          .n_outputs = 1};
    leat_error err = {0};
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID); /* 5 for 6 */
    in[1] = make_array(LEAT_DTYPE_F32, 1, 6, 1, 1, scale_bytes);
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID); /* zero has 5 */
    in[2] = make_array(LEAT_DTYPE_U8, 1, 6, 1, 1, zero_bytes);
    assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
    in[2].dtype = LEAT_DTYPE_I8; /* another type than the output */
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID);
    in[2].dtype = LEAT_DTYPE_U8;
    attrs[0] = test_attr_int("axis", 2);
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID);
    attrs[0] = test_attr_int("axis", 1);
    attrs[1] = test_attr_int("block_size", 2); /* asks for a scale of rank 2 */
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID);
    attrs[1] = test_attr_int("precision", LEAT_DTYPE_F64);
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantize_rounds_to_even_and_saturates),
        cmocka_unit_test(dequantize_subtracts_and_scales),
        cmocka_unit_test(quantize_ties_go_to_even),
        cmocka_unit_test(quantize_near_ties_follows_the_quotient),
        cmocka_unit_test(float8_saturates_or_not),
        cmocka_unit_test(float8_of_every_kind_is_scaled),
        cmocka_unit_test(scales_of_e8m0_are_powers_of_two),
        cmocka_unit_test(half_data_divides_in_half),
        cmocka_unit_test(scales_that_do_not_fit_are_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

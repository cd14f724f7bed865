/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "smallfloat.h"

#include <math.h>

typedef struct encode_case {
    leat_dtype dtype;
    float value;
    uint8_t saturated;
    uint8_t plain;
} encode_case;

static const encode_case encode_cases[] = {
    {LEAT_DTYPE_F8E4M3FN, 0.0f, 0x00, 0x00},        {LEAT_DTYPE_F8E4M3FN, -0.0f, 0x80, 0x80},
    {LEAT_DTYPE_F8E4M3FN, 1.0f, 0x38, 0x38},        {LEAT_DTYPE_F8E4M3FN, 448.0f, 0x7e, 0x7e},
    {LEAT_DTYPE_F8E4M3FN, 464.0f, 0x7e, 0x7e},      /* half way to 480: even */
    {LEAT_DTYPE_F8E4M3FN, 465.0f, 0x7e, 0x7f},      /* rounds to 480 */
    {LEAT_DTYPE_F8E4M3FN, -INFINITY, 0xfe, 0xff},   /* no infinity */
    {LEAT_DTYPE_F8E4M3FN, 0x1p-10f, 0x00, 0x00},    /* half of the smallest: even */
    {LEAT_DTYPE_F8E4M3FN, 0x1.8p-9f, 0x02, 0x02},   /* 1.5 units: even */
    {LEAT_DTYPE_F8E4M3FN, 0x1.fp-7f, 0x08, 0x08},   /* rounds up to the smallest normal */
    {LEAT_DTYPE_F8E4M3FNUZ, -0.0f, 0x00, 0x00},     /* no -0 */
    {LEAT_DTYPE_F8E4M3FNUZ, -0x1p-20f, 0x00, 0x00}, /* nor by rounding */
    {LEAT_DTYPE_F8E4M3FNUZ, 1.0f, 0x40, 0x40},      {LEAT_DTYPE_F8E4M3FNUZ, 240.0f, 0x7f, 0x7f},
    {LEAT_DTYPE_F8E4M3FNUZ, -250.0f, 0xff, 0x80},   {LEAT_DTYPE_F8E4M3FNUZ, INFINITY, 0x7f, 0x80},
    {LEAT_DTYPE_F8E5M2, 1.0f, 0x3c, 0x3c},          {LEAT_DTYPE_F8E5M2, 57344.0f, 0x7b, 0x7b},
    {LEAT_DTYPE_F8E5M2, -1e9f, 0xfb, 0xfc},         {LEAT_DTYPE_F8E5M2, INFINITY, 0x7b, 0x7c},
    {LEAT_DTYPE_F8E5M2, 0x1p-16f, 0x01, 0x01},      {LEAT_DTYPE_F8E5M2FNUZ, 1.0f, 0x40, 0x40},
    {LEAT_DTYPE_F8E5M2FNUZ, -INFINITY, 0xff, 0x80}, {LEAT_DTYPE_F8E5M2FNUZ, -0.0f, 0x00, 0x00},
    {LEAT_DTYPE_F4E2M1, 0.25f, 0x0, 0x0},           {LEAT_DTYPE_F4E2M1, 0.75f, 0x2, 0x2},
    {LEAT_DTYPE_F4E2M1, -2.5f, 0xc, 0xc},           {LEAT_DTYPE_F4E2M1, 5.0f, 0x6, 0x6},
    {LEAT_DTYPE_F4E2M1, 100.0f, 0x7, 0x7},          {LEAT_DTYPE_F4E2M1, -0.0f, 0x8, 0x8},
};

static void f32_to_small_edges_match_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(encode_cases) / sizeof(*encode_cases); i++) {
        const encode_case *c = &encode_cases[i];
        assert_int_equal(lt_f32_to_small(c->dtype, c->value, true), c->saturated);
        assert_int_equal(lt_f32_to_small(c->dtype, c->value, false), c->plain);
    }
    assert_int_equal(lt_f32_to_small(LEAT_DTYPE_F8E4M3FN, NAN, true) & 0x7f, 0x7f);
    assert_int_equal(lt_f32_to_small(LEAT_DTYPE_F8E5M2, NAN, true) & 0x7f, 0x7e);
    assert_int_equal(lt_f32_to_small(LEAT_DTYPE_F8E4M3FNUZ, NAN, true), 0x80);
    assert_int_equal(lt_f32_to_small(LEAT_DTYPE_F8E5M2FNUZ, NAN, true), 0x80);
    assert_int_equal(lt_f32_to_small(LEAT_DTYPE_F32, 1.0f, true), 0);
}

static void small_to_f32_every_code_comes_back(void **state)
{
    (void)state;
    static const leat_dtype dtypes[] = {LEAT_DTYPE_F8E4M3FN, LEAT_DTYPE_F8E4M3FNUZ,
                                        LEAT_DTYPE_F8E5M2, LEAT_DTYPE_F8E5M2FNUZ,
                                        LEAT_DTYPE_F4E2M1};
    static const float largest[] = {448.0f, 240.0f, 57344.0f, 57344.0f, 6.0f};
    for (size_t t = 0; t < 5; t++) {
        int codes = dtypes[t] == LEAT_DTYPE_F4E2M1 ? 16 : 256;
        float top = 0.0f;
        for (int code = 0; code < codes; code++) {
            float value = lt_small_to_f32(dtypes[t], (uint8_t)code);
            if (isnan(value)) {
                assert_true(
                    isnan(lt_small_to_f32(dtypes[t], lt_f32_to_small(dtypes[t], value, false))));
                continue;
            }
            assert_int_equal(lt_f32_to_small(dtypes[t], value, false), code);
            top = isfinite(value) && value > top ? value : top;
        }
        assert_true(top == largest[t]);
    }
    assert_true(isinf(lt_small_to_f32(LEAT_DTYPE_F8E5M2, 0xfc)));
    assert_true(lt_small_to_f32(LEAT_DTYPE_F8E4M3FN, 0x01) == 0x1p-9f);
    assert_true(lt_small_to_f32(LEAT_DTYPE_F8E5M2FNUZ, 0x01) == 0x1p-17f);
}

static void e8m0_edges_match_table(void **state)
{
    (void)state;
    assert_true(lt_small_to_f32(LEAT_DTYPE_F8E8M0, 0) == 0x1p-127f);
    assert_true(lt_small_to_f32(LEAT_DTYPE_F8E8M0, 127) == 1.0f);
    assert_true(lt_small_to_f32(LEAT_DTYPE_F8E8M0, 254) == 0x1p127f);
    assert_true(isnan(lt_small_to_f32(LEAT_DTYPE_F8E8M0, 255)));
    for (int code = 0; code < 255; code++) {
        float value = lt_small_to_f32(LEAT_DTYPE_F8E8M0, (uint8_t)code);
        for (int round = LT_ROUND_UP; round <= LT_ROUND_NEAREST; round++) {
            assert_int_equal(lt_f32_to_e8m0(value, (lt_round)round, false), code);
        }
    }
    assert_int_equal(lt_f32_to_e8m0(1.1f, LT_ROUND_UP, true), 128);
    assert_int_equal(lt_f32_to_e8m0(1.9f, LT_ROUND_DOWN, true), 127);
    assert_int_equal(lt_f32_to_e8m0(1.5f, LT_ROUND_NEAREST, true), 128);
    assert_int_equal(lt_f32_to_e8m0(1.49f, LT_ROUND_NEAREST, true), 127);
    assert_int_equal(lt_f32_to_e8m0(0.0f, LT_ROUND_UP, true), 0);
    assert_int_equal(lt_f32_to_e8m0(0.0f, LT_ROUND_NEAREST, false), 255);
    assert_int_equal(lt_f32_to_e8m0(INFINITY, LT_ROUND_UP, true), 254);
    assert_int_equal(lt_f32_to_e8m0(INFINITY, LT_ROUND_UP, false), 255);
    assert_int_equal(lt_f32_to_e8m0(0x1.8p127f, LT_ROUND_UP, true), 254);
    assert_int_equal(lt_f32_to_e8m0(0x1.8p-127f, LT_ROUND_NEAREST, true), 1);
    assert_int_equal(lt_f32_to_e8m0(0x1.7p-127f, LT_ROUND_NEAREST, true), 0);
    assert_int_equal(lt_f32_to_e8m0(NAN, LT_ROUND_UP, true), 255);
}

static void packed_set_changes_one_element(void **state)
{
    (void)state;
    assert_int_equal(lt_packed_bits(LEAT_DTYPE_F4E2M1), 4);
    assert_int_equal(lt_packed_bits(LEAT_DTYPE_I2), 2);
    assert_int_equal(lt_packed_bits(LEAT_DTYPE_F8E5M2), 0);
    for (unsigned bits = 2; bits <= 4; bits += 2) {
        int64_t count = 3 * 8 / bits;
        for (int64_t i = 0; i < count; i++) {
            uint8_t data[3] = {0xa5, 0x5a, 0xc3}, before[3];
            memcpy(before, data, 3);
            lt_packed_set(data, i, bits, ~lt_packed_get(data, i, bits));
            for (int64_t k = 0; k < count; k++) {
                unsigned old = lt_packed_get(before, k, bits);
                unsigned mask = (1u << bits) - 1;
                assert_int_equal(lt_packed_get(data, k, bits), k == i ? ~old & mask : old);
            }
        }
    }
    const uint8_t low_first[1] = {0x8f};
    assert_int_equal(lt_packed_get(low_first, 0, 4), 15);
    assert_int_equal(lt_packed_get_signed(low_first, 0, 4), -1);
    assert_int_equal(lt_packed_get_signed(low_first, 1, 4), -8);
    assert_int_equal(lt_packed_get_signed(low_first, 3, 2), -2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f32_to_small_edges_match_table),
        cmocka_unit_test(small_to_f32_every_code_comes_back),
        cmocka_unit_test(e8m0_edges_match_table),
        cmocka_unit_test(packed_set_changes_one_element),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

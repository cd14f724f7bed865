/* SPDX-License-Identifier: Apache-2.0 */
#include "support/infer_case.h"

static void quantize_takes_type_of_zero_point(void **state)
{
    (void)state;
    infer_concrete("QuantizeLinear(f32[2,3], f32[], i8[])", "i8[2,3]");
    infer_concrete("QuantizeLinear(f32[2,3], f32[1])", "u8[2,3]");
    infer_concrete("QuantizeLinear(f32[2,3], f32[]) {output_dtype=22}", "i4[2,3]");
    infer_concrete("QuantizeLinear(f32[2,3], f32[], i8[]) {output_dtype=2}", "!output_dtype is u8");
    infer_concrete("QuantizeLinear(f32[2,3], f32[]) {output_dtype=99}", "!output_dtype is 99");
}

static void scale_must_fit_axis(void **state)
{
    (void)state;
    infer_concrete("QuantizeLinear(f32[2,3], f32[3], i8[3])", "i8[2,3]");
    infer_concrete("QuantizeLinear(f32[2,3], f32[2], i8[2]) {axis=-2}", "i8[2,3]");
    infer_concrete("QuantizeLinear(f32[2,3], f32[2], i8[2])", "!2 elements, not 3");
    infer_concrete("QuantizeLinear(f32[2,3], f32[3], i8[2])", "!differ in shape");
    infer_concrete("QuantizeLinear(f32[2,3], f32[], i8[3])", "!one number");
    infer_concrete("QuantizeLinear(f32[2,3], f32[3], i8[3]) {axis=2}", "!axis 2");
    infer_concrete("DequantizeLinear(i8[2,3], f32[2,3])", "!rank 2, not 1");
}

static void scale_may_be_blocked(void **state)
{
    (void)state;
    infer_concrete("DequantizeLinear(i4[2,7], f16[2,3], i4[2,3]) {block_size=3}", "f16[2,7]");
    infer_concrete("DequantizeLinear(i4[2,7], f16[2,2], i4[2,2]) {block_size=3}", "!blocks of 3");
    infer_concrete("DequantizeLinear(i4[2,7], f16[2]) {block_size=3}", "!blocks of 3");
    infer_concrete("DequantizeLinear(i4[2,7], f16[2,3]) {block_size=-1}", "!block_size is -1");
}

static void dequantize_takes_type_of_scale(void **state)
{
    (void)state;
    infer_concrete("DequantizeLinear(i32[4], f32[])", "f32[4]");
    infer_concrete("DequantizeLinear(u8[4], f16[], u8[])", "f16[4]");
    infer_concrete("DequantizeLinear(u8[4], f16[], u8[]) {output_dtype=1} @23", "f32[4]");
    infer_concrete("DequantizeLinear(u8[4], f32[], i8[])", "!types");
    infer_symbolic("DequantizeLinear(u8[N,3], f32[3], u8[3])", "f32[N,3]");
}

static void dynamic_quantize_gives_three(void **state)
{
    (void)state;
    infer_concrete("DynamicQuantizeLinear(f32[2,3]) #3", "u8[2,3] f32[] u8[]");
    infer_symbolic("DynamicQuantizeLinear(f32[...]) #3", "u8[...] f32[...] u8[...]");
}

static void smooth_quantize_adds_columns(void **state)
{
    (void)state;
    infer_concrete("leat.SmoothQuantize(f16[2,3], f32[3]) #3", "u8[2,3] f32[] u8[]");
    infer_concrete("leat.SmoothQuantize(f32[4,2,3], f32[3], i64[5]) #3", "u8[4,2,8] f32[] u8[]");
    infer_concrete("leat.SmoothQuantize(f32[2,3], f32[2]) #3", "!do not match");
    infer_concrete("leat.SmoothQuantize(f32[2,3], f32[3], i64[1,5]) #3", "!do not match");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantize_takes_type_of_zero_point),
        cmocka_unit_test(scale_must_fit_axis),
        cmocka_unit_test(scale_may_be_blocked),
        cmocka_unit_test(dequantize_takes_type_of_scale),
        cmocka_unit_test(dynamic_quantize_gives_three),
        cmocka_unit_test(smooth_quantize_adds_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

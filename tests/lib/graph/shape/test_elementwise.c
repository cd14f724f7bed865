/* SPDX-License-Identifier: Apache-2.0 */
#include "support/infer_case.h"

static void binary_broadcasts(void **state)
{
    (void)state;
    infer_concrete("Add(f32[2,3,4], f32[2,3,4])", "f32[2,3,4]");
    infer_concrete("Add(f32[2,3,4], f32[])", "f32[2,3,4]");
    infer_concrete("Sub(i64[3,1], i64[1,4])", "i64[3,4]");
    infer_concrete("Mul(f16[4], f16[2,3,1])", "f16[2,3,4]");
    infer_concrete("Div(f32[0,4], f32[1,4])", "f32[0,4]");
    infer_concrete("Add(f32[2,3], f32[2,4])", "!dimensions 3 and 4 do not broadcast");
    infer_concrete("Add(f32[0], f32[5])", "!do not broadcast");
    infer_concrete("Add(f32[2], i64[2])", "!types f32 and i64");
    infer_concrete("Pow(f32[2,1], i64[3])", "f32[2,3]");
    infer_concrete("Mod(i32[4], i32[4]) {fmod=0}", "i32[4]");
    infer_concrete("Add(f32[2])", "!1 inputs");
}

static void binary_symbols_broadcast(void **state)
{
    (void)state;
    infer_symbolic("Add(f32[N,3], f32[N,3])", "f32[N,3]");
    infer_symbolic("Add(f32[N,3], f32[1,3])", "f32[N,3]");
    infer_symbolic("Add(f32[3], f32[N,1])", "f32[N,3]");
    infer_symbolic("Add(f32[N], f32[5])", "f32[5]");
    infer_symbolic("Add(f32[N], f32[M])", "f32[?]");
    infer_symbolic("Add(f32[...], f32[M])", "f32[...]");
    infer_symbolic("Equal(f32[...], f32[M])", "bool[...]");
}

static void compare_and_logic_give_bool(void **state)
{
    (void)state;
    infer_concrete("Equal(i64[2,1], i64[3])", "bool[2,3]");
    infer_concrete("GreaterOrEqual(f32[2], f32[])", "bool[2]");
    infer_concrete("And(bool[2], bool[1])", "bool[2]");
    infer_concrete("And(bool[2], f32[1])", "!input 1 is f32, not bool");
    infer_concrete("Not(bool[2,2])", "bool[2,2]");
    infer_concrete("Not(u8[2,2])", "!not bool");
    infer_concrete("IsNaN(f32[7])", "bool[7]");
    infer_concrete("Where(bool[2,1], f32[3], f32[])", "f32[2,3]");
    infer_concrete("Where(f32[2,1], f32[3], f32[])", "!the condition is f32");
    infer_concrete("Where(bool[2,1], f32[3], f64[])", "!types");
}

static void variadic_broadcasts_all(void **state)
{
    (void)state;
    infer_concrete("Max(f32[2])", "f32[2]");
    infer_concrete("Min(f32[2,1], f32[1,3], f32[4,1,1])", "f32[4,2,3]");
    infer_concrete("Sum(f32[2], f32[2], f64[2])", "!types");
    infer_concrete("Mean(f32[2], -, f32[2])", "!input 1 is missing");
}

static void unary_keeps_shape(void **state)
{
    (void)state;
    infer_concrete("Relu(f32[2,3])", "f32[2,3]");
    infer_concrete("Identity(string[2])", "string[2]");
    infer_concrete("HardSwish(f16[])", "f16[]");
    infer_symbolic("Gelu(f32[N,?])", "f32[N,?]");
    infer_concrete("Relu(f32[2,3], f32[1])", "!2 inputs");
    infer_concrete("Relu(f32[2,3]) #2", "!2 outputs");
    infer_concrete("Relu(f32[2,3]) {activation=\"Relu\"}", "!for nodes of the domain leat");
    infer_concrete("leat.Add(f32[2,3], f32[3]) {activation=\"Relu\"}", "f32[2,3]");
}

static void clip_bounds_are_single_numbers(void **state)
{
    (void)state;
    infer_concrete("Clip(f32[2,3], f32[], f32[1])", "f32[2,3]");
    infer_concrete("Clip(f32[2,3], -, f32[])", "f32[2,3]");
    infer_concrete("Clip(f32[2,3]) {min=0.0, max=6.0} @6", "f32[2,3]");
    infer_concrete("Clip(f32[2,3], f32[2])", "!input 1 must be one number");
    infer_concrete("Clip(f32[2,3], f32[0])", "!input 1 must be one number");
    infer_concrete("Clip(f32[2,3], f32[], i32[])", "!types");
}

static void prelu_slope_must_broadcast_to_data(void **state)
{
    (void)state;
    infer_concrete("PRelu(f32[1,4,5], f32[4,1])", "f32[1,4,5]");
    infer_concrete("PRelu(f32[4,1], f32[4,5])", "!does not broadcast to 4x1");
    infer_concrete("PRelu(f32[5], f32[1,5])", "!does not broadcast");
}

static void cast_gives_type_of_attribute(void **state)
{
    (void)state;
    infer_concrete("Cast(f32[2]) {to=7}", "i64[2]");
    infer_concrete("Cast(f32[2]) {to=17, saturate=0}", "f8e4m3fn[2]");
    infer_concrete("Cast(f32[3]) {to=22}", "i4[3]");
    infer_concrete("Cast(f32[2]) {to=99}", "!'to' is 99");
    infer_concrete("Cast(f32[2])", "!'to' is 0");
    infer_concrete("CastLike(f32[2], f16[7])", "f16[2]");
    infer_symbolic("Cast(f32[...]) {to=7}", "i64[...]");
    infer_symbolic("CastLike(f32[...], f16[7])", "f16[...]");
}

static void dropout_gives_mask(void **state)
{
    (void)state;
    infer_concrete("Dropout(f32[2,3], f32[], bool[]) #2", "f32[2,3] bool[2,3]");
    infer_concrete("Dropout(f32[2,3]) {ratio=0.5} @7", "f32[2,3]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(binary_broadcasts),
        cmocka_unit_test(binary_symbols_broadcast),
        cmocka_unit_test(compare_and_logic_give_bool),
        cmocka_unit_test(variadic_broadcasts_all),
        cmocka_unit_test(unary_keeps_shape),
        cmocka_unit_test(clip_bounds_are_single_numbers),
        cmocka_unit_test(prelu_slope_must_broadcast_to_data),
        cmocka_unit_test(cast_gives_type_of_attribute),
        cmocka_unit_test(dropout_gives_mask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "support/infer_case.h"

static void conv_gives_output_size(void **state)
{
    (void)state;
    infer_concrete("Conv(f32[1,3,224,224], f32[64,3,7,7]) {strides=[2,2], pads=[3,3,3,3]}",
                   "f32[1,64,112,112]");
    infer_concrete("Conv(f32[2,4,9], f32[8,2,3], f32[8]) {group=2, dilations=[2]}", "f32[2,8,5]");
    infer_concrete("Conv(f16[1,1,5,6,7], f16[1,1,2,2,2])", "f16[1,1,4,5,6]");
    infer_concrete("Conv(f32[1,1,5,5], f32[1,1,3,3]) {auto_pad=\"SAME_UPPER\", strides=[2,2]}",
                   "f32[1,1,3,3]");
    infer_concrete("Conv(f32[1,1,5,5], f32[1,1,3,3]) {auto_pad=\"VALID\"}", "f32[1,1,3,3]");
    infer_concrete("Conv(f32[0,1,5,5], f32[1,1,3,3])", "f32[0,1,3,3]");
    infer_concrete("ConvInteger(u8[1,1,3,3], u8[1,1,2,2], u8[])", "i32[1,1,2,2]");
    infer_concrete("QLinearConv(u8[1,1,7,7], f32[], u8[], i8[2,1,1,1], f32[], i8[], f32[], i8[])",
                   "i8[1,2,7,7]");
}

static void conv_channels_last_keeps_layout(void **state)
{
    (void)state;
    infer_concrete("leat.Conv(f32[1,8,9,4], f32[6,4,3,3]) {channels_last=1, pads=[1,1,1,1]}",
                   "f32[1,8,9,6]");
    infer_concrete("leat.Conv(f32[1,8,9,4], f32[6,4,1,1], f32[6], f32[1,8,9,6]) "
                   "{channels_last=1, residual=1, activation=\"Relu\"}",
                   "f32[1,8,9,6]");
    infer_concrete("leat.Conv(f32[1,4,8,9], f32[6,4,1,1], f32[1,6,8,9]) {residual=1}",
                   "f32[1,6,8,9]");
    infer_concrete("leat.Conv(f32[1,4,8,9], f32[6,4,1,1], f32[1,6,8,8]) {residual=1}",
                   "!the residual differs");
    infer_concrete("Conv(f32[1,4,8,9], f32[6,4,1,1]) {channels_last=1}", "!channels_last");
    infer_concrete("leat.MaxPool(f32[1,8,8,3]) {kernel_shape=[2,2], channels_last=1}",
                   "f32[1,7,7,3]");
    infer_concrete("leat.GlobalAveragePool(f32[2,8,8,3]) {channels_last=1}", "f32[2,1,1,3]");
    infer_concrete("leat.ConvTranspose(f32[1,3,3,2], f32[2,5,2,2]) {channels_last=1}",
                   "f32[1,4,4,5]");
}

static void quantized_nodes_keep_layout(void **state)
{
    (void)state;
    infer_concrete("leat.QConv(i8[1,8,9,4], f32[], i8[], i8[6,4,3,3], f32[6], -, f32[], i8[]) "
                   "{channels_last=1}",
                   "i8[1,6,7,6]");
    infer_concrete("leat.QConv(f32[1,4,8,9], f32[], u8[], i8[6,4,3,3], f32[6], -, f32[], u8[]) "
                   "{channels_last=1, pads=[1,1,1,1]}",
                   "u8[1,8,9,6]");
    infer_concrete("leat.QConv(f32[1,8,9,4], f32[], u8[], i8[6,4,3,3], f32[6]) {channels_last=1}",
                   "!weights want 4 channels");
    infer_concrete("leat.QGlobalAveragePool(u8[2,8,8,3], f32[], u8[]) {channels_last=1}",
                   "f32[2,1,1,3]");
    infer_concrete("leat.QGlobalAveragePool(u8[2,3,8,8], f32[], u8[], f32[], i8[])", "i8[2,3,1,1]");
    infer_concrete("leat.QGlobalAveragePool(i8[2,3,8,8], f32[], i8[], f32[])", "u8[2,3,1,1]");
}

static void conv_bad_node_returns_invalid(void **state)
{
    (void)state;
    infer_concrete("Conv(f32[1,32,8,8], f32[8,64,3,3])", "!weights want 64 channels");
    infer_concrete("Conv(f32[1,3,8,8], f32[8,3,3])", "!rank");
    infer_concrete("Conv(f32[1,3,8,8], f64[8,3,3,3])", "!types");
    infer_concrete("Conv(f32[1,3,8,8], f32[8,3,3,3], f32[7])", "!7 elements, not 8");
    infer_concrete("Conv(f32[1,3,8,8], f32[8,3,3,3], f64[8])", "!types");
    infer_concrete("Conv(f32[1,3,8,8], f32[8,3,3,3]) {strides=[1]}", "!strides has 1");
    infer_concrete("Conv(f32[1,3,8,8], f32[8,3,3,3]) {strides=[0,1]}", "!strides[0] is 0");
    infer_concrete("Conv(f32[1,3,8,8], f32[8,3,3,3]) {dilations=[1,-1]}", "!dilations[1]");
    infer_concrete("Conv(f32[1,3,8,8], f32[8,3,3,3]) {pads=[0,0,-1,0]}", "!pads[2] is -1");
    infer_concrete("Conv(f32[1,3,8,8], f32[8,3,3,3]) {pads=[0,0]}", "!pads has 2");
    infer_concrete("Conv(f32[1,3,8,8], f32[8,3,3,3]) {kernel_shape=[3,5]}", "!kernel_shape[1]");
    infer_concrete("Conv(f32[1,3,8,8], f32[8,3,3,3]) {group=0}", "!group");
    infer_concrete("Conv(f32[1,4,8,8], f32[9,2,3,3]) {group=2}", "!group");
    infer_concrete("Conv(f32[1,3,8,8], f32[8,3,3,3]) {auto_pad=\"SAME\"}", "!auto_pad");
    infer_concrete("Conv(f32[1,3,2,8], f32[8,3,3,3])", "!larger than");
    infer_concrete("Conv(f32[1,3,8,8], f32[8,3,0,3])", "!window");
    infer_concrete("ConvInteger(u8[1,1,9000000000000000000,1], u8[1,1,1,1])", "!axis 0");
    infer_concrete("Conv(f32[1,3,8,8])", "!1 inputs");
    infer_concrete("Conv(f32[1,3,8,8], -)", "!input 1 is missing");
    infer_concrete("Conv(f32[1,3], f32[8,3])", "!rank");
}

static void conv_symbols_stay_or_become_fresh(void **state)
{
    (void)state;
    infer_symbolic("Conv(f32[N,3,8,W], f32[4,3,3,3])", "f32[N,4,6,?]");
    infer_symbolic("Conv(f32[N,C,8,8], f32[4,3,3,3])", "f32[N,4,6,6]");
    infer_symbolic("Conv(f32[...], f32[4,3,3,3])", "f32[...]");
    infer_symbolic("GlobalAveragePool(f32[N,C,H,W])", "f32[N,C,1,1]");
}

static void conv_transpose_gives_output_size(void **state)
{
    (void)state;
    infer_concrete("ConvTranspose(f32[1,1,3,3], f32[1,2,3,3])", "f32[1,2,5,5]");
    infer_concrete("ConvTranspose(f32[1,4,3,3], f32[4,2,3,3]) {group=2, strides=[3,2], "
                   "output_padding=[1,1], pads=[1,0,1,0]}",
                   "f32[1,4,8,8]");
    infer_concrete("ConvTranspose(f32[1,1,3,3], f32[1,2,3,3]) {output_shape=[10,8], strides=[3,2]}",
                   "f32[1,2,10,8]");
    infer_concrete(
        "ConvTranspose(f32[1,1,3,3], f32[1,2,3,3]) {auto_pad=\"SAME_LOWER\", strides=[2,2]}",
        "f32[1,2,6,6]");
    infer_concrete("ConvTranspose(f32[1,1,3,3], f32[2,2,3,3])", "!weights want 2");
    infer_concrete("ConvTranspose(f32[1,1,3,3], f32[1,2,3,3], f32[3])", "!3 elements, not 2");
    infer_concrete("ConvTranspose(f32[1,1,1,3], f32[1,2,1,3]) {pads=[1,0,1,0]}", "!negative");
    infer_concrete("ConvTranspose(f32[1,1,3,3], f32[1,2,3,3]) {output_shape=[10]}",
                   "!output_shape has 1");
    infer_symbolic("ConvTranspose(f32[N,1,H,3], f32[1,2,3,3])", "f32[N,2,?,5]");
}

static void pool_gives_output_size(void **state)
{
    (void)state;
    infer_concrete("MaxPool(f32[1,3,32,32]) {kernel_shape=[2,2], strides=[2,2]} #2",
                   "f32[1,3,16,16] i64[1,3,16,16]");
    infer_concrete("MaxPool(f32[1,1,4,4]) {kernel_shape=[3,3], strides=[2,2], ceil_mode=1}",
                   "f32[1,1,2,2]");
    /* A last window that would start in the padding is dropped. */
    infer_concrete("AveragePool(f32[1,1,4,4]) {kernel_shape=[1,1], strides=[2,2], ceil_mode=1, "
                   "pads=[1,1,1,1]}",
                   "f32[1,1,3,3]");
    infer_concrete("MaxPool(f32[1,1,2,2]) {kernel_shape=[1,1], strides=[2,2], ceil_mode=1, "
                   "pads=[0,0,1,1]}",
                   "f32[1,1,1,1]");
    infer_concrete("MaxPool(f32[1,3,32,32])", "!kernel_shape is missing");
    infer_concrete("MaxPool(f32[3,32]) {kernel_shape=[2]}", "!0 spatial");
    infer_concrete("MaxPool(f32[1,3,32,32]) {kernel_shape=[2]}", "!kernel_shape has 1");
    infer_concrete("GlobalMaxPool(f32[7])", "!rank 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conv_gives_output_size),
        cmocka_unit_test(conv_channels_last_keeps_layout),
        cmocka_unit_test(quantized_nodes_keep_layout),
        cmocka_unit_test(conv_bad_node_returns_invalid),
        cmocka_unit_test(conv_symbols_stay_or_become_fresh),
        cmocka_unit_test(conv_transpose_gives_output_size),
        cmocka_unit_test(pool_gives_output_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

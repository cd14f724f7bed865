/* SPDX-License-Identifier: Apache-2.0 */
#include "support/infer_case.h"

static void reduce_drops_or_keeps_axes(void **state)
{
    (void)state;
    infer_concrete("ReduceMean(f32[2,3,4]) {axes=[1], keepdims=0} @13", "f32[2,4]");
    infer_concrete("ReduceMean(f32[2,3,4], i64[1]<-1>)", "f32[2,3,1]");
    infer_concrete("ReduceSum(f32[2,3,4], i64[2]<0,2>) {keepdims=0} @13", "f32[3]");
    infer_concrete("ReduceSum(f32[2,3,4])", "f32[1,1,1]");
    infer_concrete("ReduceSum(f32[2,3,4]) {keepdims=0}", "f32[]");
    infer_concrete("ReduceMax(f32[2,3,4], i64[0]<>) {noop_with_empty_axes=1}", "f32[2,3,4]");
    infer_concrete("ReduceMax(i8[2,0], i64[1]<1>)", "i8[2,1]");
    infer_concrete("ReduceMax(f32[2,3], i64[1]<2>)", "!axis 2 is not within rank 2");
    infer_concrete("ReduceMax(f32[2,3], f32[1]<0>)", "!must hold integers");
    infer_concrete("ReduceMax(f32[2,3], i64[1])", "needs 1");
    infer_symbolic("ReduceMax(f32[N,3], i64[1]<1>)", "f32[N,1]");
    infer_symbolic("ReduceMax(f32[N,3], i64[1])", "f32[?,?]");
    infer_symbolic("ReduceMax(f32[N,3], i64[1]) {keepdims=0}", "f32[...]");
}

static void arg_gives_i64(void **state)
{
    (void)state;
    infer_concrete("ArgMax(f32[2,3])", "i64[1,3]");
    infer_concrete("ArgMin(f32[2,3]) {axis=-1, keepdims=0}", "i64[2]");
    infer_concrete("ArgMax(f32[2,3]) {axis=-3}", "!axis -3");
    infer_symbolic("ArgMax(f32[...])", "i64[...]");
}

static void softmax_checks_axis_by_opset(void **state)
{
    (void)state;
    infer_concrete("Softmax(f32[2,3])", "f32[2,3]");
    infer_concrete("Softmax(f32[2,3]) {axis=2}", "!axis 2");
    infer_concrete("Softmax(f32[2,3]) {axis=2} @11", "f32[2,3]");
    infer_concrete("Softmax(f32[3]) @11", "f32[3]");
    infer_concrete("LogSoftmax(f32[2,3]) {axis=-2}", "f32[2,3]");
}

static void normalisations_check_scale(void **state)
{
    (void)state;
    infer_concrete("LayerNormalization(f32[2,3,4], f32[4], f32[4]) #3",
                   "f32[2,3,4] f32[2,3,1] f32[2,3,1]");
    infer_concrete("LayerNormalization(f16[2,3,4], f16[3,4]) {axis=1} #2", "f16[2,3,4] f32[2,1,1]");
    infer_concrete("LayerNormalization(f32[2,3,4], f32[3])", "!does not broadcast to 4");
    infer_concrete("LayerNormalization(f32[2,3,4], f32[4], f32[2,4])", "!does not broadcast");
    infer_concrete("RMSNormalization(f32[2,4], f32[4]) @23", "f32[2,4]");
    infer_concrete("RMSNormalization(f32[2,4], f32[2]) @23", "!does not broadcast");
    infer_concrete("InstanceNormalization(f32[1,3,5], f32[3], f32[3])", "f32[1,3,5]");
    infer_concrete("InstanceNormalization(f32[1,3,5], f32[3], f32[5])", "!5 elements, not 3");
    infer_concrete("GroupNormalization(f32[1,4,5], f32[4], f32[4]) {num_groups=2}", "f32[1,4,5]");
    infer_concrete("GroupNormalization(f32[1,4,5], f32[2], f32[2]) {num_groups=2} @18",
                   "f32[1,4,5]");
    infer_concrete("GroupNormalization(f32[1,4,5], f32[2], f32[2]) {num_groups=2}",
                   "!2 elements, not 4");
    infer_concrete("GroupNormalization(f32[1,4,5], f32[4], f32[4]) {num_groups=3}", "!num_groups");
}

static void batch_norm_checks_channels(void **state)
{
    (void)state;
    infer_concrete("BatchNormalization(f32[1,3,5], f32[3], f32[3], f32[3], f32[3])", "f32[1,3,5]");
    infer_concrete("BatchNormalization(f32[1,3,5], f32[3], f32[3], f32[3], f32[3]) "
                   "{training_mode=1} #3",
                   "f32[1,3,5] f32[3] f32[3]");
    infer_concrete("BatchNormalization(f32[1,3,5], f32[3], f32[3], f32[4], f32[3])",
                   "!input 3 has 4 elements, not 3");
    infer_concrete("BatchNormalization(f32[1,3,5], f32[1,3], f32[3], f32[4], f32[3])", "!rank 2");
    infer_symbolic("BatchNormalization(f32[N,C,5], f32[3], f32[3], f32[3], f32[3])", "f32[N,C,5]");
}

static void top_k_replaces_axis(void **state)
{
    (void)state;
    infer_concrete("TopK(f32[3,4], i64[1]<2>) #2", "f32[3,2] i64[3,2]");
    infer_concrete("TopK(f32[3,4], i64[1]<2>) {axis=0} #2", "f32[2,4] i64[2,4]");
    infer_concrete("TopK(f32[3,4], i64[1]<5>) #2", "!k is 5");
    infer_concrete("TopK(f32[3,4], i64[1]) #2", "needs 1");
    infer_symbolic("TopK(f32[N,4], i64[1]) #2", "f32[N,?] i64[N,?]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reduce_drops_or_keeps_axes),
        cmocka_unit_test(arg_gives_i64),
        cmocka_unit_test(softmax_checks_axis_by_opset),
        cmocka_unit_test(normalisations_check_scale),
        cmocka_unit_test(batch_norm_checks_channels),
        cmocka_unit_test(top_k_replaces_axis),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

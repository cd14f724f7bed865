/* SPDX-License-Identifier: Apache-2.0 */
/* Images, signals, decoders, Einsum, and operators whose size is counted first. */
#include "support/infer_case.h"

static void images_take_places_and_regions(void **state)
{
    (void)state;
    infer_concrete("GridSample(f32[2,3,8,9], f32[2,4,5,2])", "f32[2,3,4,5]");
    infer_concrete("GridSample(f32[2,3,8,9], f32[2,4,5,3])", "!3 elements on axis 3, not 2");
    infer_concrete("AffineGrid(f32[2,2,3], i64[4]<2,3,5,6>)", "f32[2,5,6,2]");
    infer_concrete("AffineGrid(f32[2,2,3], i64[4]<2,3,-5,6>)", "!a size of -5");
    infer_concrete("AffineGrid(f32[2,2,3], i64[4])", "needs 1");
    infer_concrete("RoiAlign(f32[2,3,8,9], f32[5,4], i64[5]) {output_height=2, output_width=7}",
                   "f32[5,3,2,7]");
    infer_concrete("RoiAlign(f32[2,3,8,9], f32[5,4], i64[4])", "!4 elements, not 5");
    infer_concrete("MaxRoiPool(f32[2,3,8,9], f32[5,5]) {pooled_shape=[2,4]}", "f32[5,3,2,4]");
    infer_concrete("DeformConv(f32[1,3,8,8], f32[4,3,3,3], f32[1,18,6,6])", "f32[1,4,6,6]");
    infer_concrete("Col2Im(f32[2,18,20], i64[2]<9,11>, i64[2]<2,3>)", "f32[2,3,9,11]");
    infer_concrete("Col2Im(f32[2,19,20], i64[2]<9,11>, i64[2]<2,3>)", "!do not divide 19");
    infer_concrete("MaxUnpool(f32[1,2,3,4], i64[1,2,3,4]) {kernel_shape=[2,2], strides=[2,2]}",
                   "f32[1,2,6,8]");
    infer_concrete("CenterCropPad(f32[4,6,7], i64[2]<3,9>) {axes=[0,-1]}", "f32[3,6,9]");
    infer_concrete("CenterCropPad(f32[4,6,7], i64[2]<3,9>)", "!2 numbers for 3 axes");
}

static void signals_take_lengths_from_data(void **state)
{
    (void)state;
    infer_concrete("HannWindow(i64[]<12>) {output_datatype=11} @17", "f64[12]");
    infer_concrete("HannWindow(i64[]<-1>) @17", "!input 0 is -1");
    infer_concrete("MelWeightMatrix(i64[]<8>, i64[]<16>, i64[], f32[], f32[]) @17", "f32[9,8]");
    infer_concrete("DFT(f32[2,16,1]) {onesided=1} @17", "f32[2,9,2]");
    infer_concrete("DFT(f32[2,9,2]) {onesided=1, inverse=1} @20", "f32[2,16,1]");
    infer_concrete("DFT(f32[2,16,2], i64[]<20>, i64[]<1>) @20", "f32[2,20,2]");
    infer_concrete("DFT(f32[2,16,2], i64[]<20>, i64[]<-1>) @20", "!the last axis");
    infer_concrete("DFT(f32[2,16,3]) @17", "!numbers of 3 parts");
    infer_concrete("STFT(f32[2,90,1], i64[]<7>, f32[20]) @17", "f32[2,11,11,2]");
    infer_concrete("STFT(f32[2,90,1], i64[]<7>, f32[20], i64[]<100>) @17", "!20 elements, not 100");
    infer_concrete("STFT(f32[2,90,1], i64[]<0>) @17", "!input 1 is 0");
}

static void decoders_keep_their_state(void **state)
{
    (void)state;
    infer_concrete("RotaryEmbedding(f32[2,5,42], f32[9,7], f32[9,7]) {num_heads=3} @23",
                   "f32[2,5,42]");
    infer_concrete("RotaryEmbedding(f32[2,5,42], f32[9,7], f32[9,7]) @23", "!num_heads 0");
    infer_concrete("TensorScatter(f32[2,3,8,4], f32[2,3,2,4], i64[2]) @24", "f32[2,3,8,4]");
    infer_concrete("TensorScatter(f32[2,3,8,4], f32[2,3,9,4]) @24", "!9 elements for a cache of 8");
    infer_concrete("LinearAttention(f32[2,4,30], f32[2,4,10], f32[2,4,14]) {q_num_heads=6, "
                   "kv_num_heads=2} @27 #2",
                   "f32[2,4,42] f32[2,2,5,7]");
    infer_concrete("LinearAttention(f32[2,4,30], f32[2,4,10], f32[2,4,14]) {q_num_heads=5, "
                   "kv_num_heads=2} @27",
                   "!5 query and 2 key heads");
    infer_concrete("CausalConvWithState(f32[2,5,9], f32[5,1,4]) @27 #2", "f32[2,5,9] f32[2,5,3]");
    infer_concrete("CausalConvWithState(f32[2,5,9], f32[6,1,4]) @27", "!6 elements on axis 0");
}

static void einsum_orders_labels(void **state)
{
    (void)state;
    infer_concrete("Einsum(f32[2,3], f32[3,4]) {equation=\"ij,jk->ik\"}", "f32[2,4]");
    infer_concrete("Einsum(f32[2,3], f32[3,4]) {equation=\"ib,ba\"}", "f32[4,2]");
    infer_concrete("Einsum(f32[5,1,2,3], f32[6,3,4]) {equation=\"...ij,...jk->...ik\"}",
                   "f32[5,6,2,4]");
    infer_concrete("Einsum(f32[2,3], f32[4,4]) {equation=\"ij,jk\"}", "!a label is 3 and 4");
    infer_concrete("Einsum(f32[2,3]) {equation=\"ijk\"}", "!3 labels for operand 0 of rank 2");
    infer_concrete("Einsum(f32[2,3]) {equation=\"ij->iz\"}", "!unknown or used twice");
    infer_concrete("Einsum(f32[2,3])", "!equation is missing");
    infer_symbolic("Einsum(f32[N,3], f32[3,M]) {equation=\"ij,jk\"}", "f32[N,M]");
}

static void counts_decide_sizes(void **state)
{
    (void)state;
    infer_symbolic("NonZero(f32[2,3])", "i64[2,?]");
    infer_concrete("NonZero(f32[2,3])",
                   "unsupported: node 'n' (NonZero): the size of its output is known in a run "
                   "only, and no device counts it first");
    infer_concrete("leat.NonZeroTo(f32[2,3], i64[1]<4>)", "i64[2,4]");
    infer_concrete("leat.NonZeroTo(f32[2,3], i64[1]<7>)", "!a count of 7 of 6");
    infer_concrete("leat.NonZeroTo(f32[2,3], i64[1])", "needs 1");
    infer_concrete("leat.CompressTo(f32[2,3], bool[3], i64[1]<2>) {axis=1}", "f32[2,2]");
    infer_concrete("leat.CompressTo(f32[2,3], bool[3], i64[1]<-1>)", "!a count of -1");
    infer_concrete("leat.Prefix(i64[9,3], i64[1]<4>)", "i64[4,3]");
    infer_concrete("leat.Prefix(i64[9,3], i64[1]<10>)", "!a count of 10 of 9");
    infer_symbolic("Unique(f32[2,3]) {axis=1} #4", "f32[2,?] i64[?] i64[3] i64[?]");
    infer_concrete("leat.UniqueTo(f32[2,3], i64[3], i64[1]<2>) {axis=1}", "f32[2,2]");
    infer_symbolic("NonMaxSuppression(f32[1,9,4], f32[1,2,9])", "i64[?,3]");
    infer_concrete("leat.NonMaxSuppressionAll(f32[1,9,4], f32[1,2,9], i64[]<5>) #2",
                   "i64[10,3] i64[1]");
    infer_concrete("leat.NonMaxSuppressionAll(f32[1,9,3], f32[1,2,9]) #2", "!3 elements on axis 2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_take_places_and_regions),
        cmocka_unit_test(signals_take_lengths_from_data),
        cmocka_unit_test(decoders_keep_their_state),
        cmocka_unit_test(einsum_orders_labels),
        cmocka_unit_test(counts_decide_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "support/infer_case.h"

static void loss_has_the_shape_of_targets_or_none(void **state)
{
    (void)state;
    infer_concrete("NegativeLogLikelihoodLoss(f32[3,5,6], i64[3,6])", "f32[]");
    infer_concrete("NegativeLogLikelihoodLoss(f16[3,5,6], i32[3,6]) {reduction=\"none\"}",
                   "f16[3,6]");
    infer_symbolic("SoftmaxCrossEntropyLoss(f32[N,5], i64[N], f32[5]) {reduction=\"none\"} #2",
                   "f32[N] f32[N,5]");
    infer_concrete("SoftmaxCrossEntropyLoss(f32[3], i64[3])", "!rank 1");
    infer_concrete("SoftmaxCrossEntropyLoss(f32[3,5], f32[3])", "!i32 or i64");
    infer_concrete("SoftmaxCrossEntropyLoss(f32[3,5], i64[4])", "!4 elements on axis 0, not 3");
    infer_concrete("SoftmaxCrossEntropyLoss(f32[3,5], i64[3], f32[4])", "!4 elements, not 5");
    infer_concrete("SoftmaxCrossEntropyLoss(f32[3,5], i64[3]) {reduction=\"max\"}", "!reduction");
}

static void bit_cast_keeps_shape_and_size(void **state)
{
    (void)state;
    infer_concrete("BitCast(f32[3,5]) {to=6} @26", "i32[3,5]");
    infer_concrete("BitCast(f32[3,5]) {to=7} @26", "!f32 and i64 differ in size");
    infer_concrete("BitCast(f32[3,5]) {to=8} @26", "!'to' is 8");
}

static void det_takes_square_matrices(void **state)
{
    (void)state;
    infer_concrete("Det(f32[2,3,4,4])", "f32[2,3]");
    infer_symbolic("Det(f32[N,M,M])", "f32[N]");
    infer_concrete("Det(f32[2,3,4])", "!matrices of 3 x 4");
    infer_concrete("Det(f32[2])", "!rank 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loss_has_the_shape_of_targets_or_none),
        cmocka_unit_test(bit_cast_keeps_shape_and_size),
        cmocka_unit_test(det_takes_square_matrices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

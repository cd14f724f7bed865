/* SPDX-License-Identifier: Apache-2.0 */
#include "support/infer_case.h"

static void recurrent_shapes_follow_weights(void **state)
{
    (void)state;
    infer_concrete("LSTM(f32[7,2,3], f32[1,20,3], f32[1,20,5]) {hidden_size=5} #3",
                   "f32[7,1,2,5] f32[1,2,5] f32[1,2,5]");
    infer_concrete("GRU(f32[7,2,3], f32[2,15,3], f32[2,15,5]) {direction=\"bidirectional\"} #2",
                   "f32[7,2,2,5] f32[2,2,5]");
    infer_concrete("RNN(f16[2,7,3], f16[1,5,3], f16[1,5,5]) {layout=1} #2",
                   "f16[2,7,1,5] f16[2,1,5]");
    infer_symbolic("LSTM(f32[T,N,3], f32[1,20,3], f32[1,20,5]) #2", "f32[T,1,N,5] f32[1,N,5]");
}

static void recurrent_inputs_that_do_not_fit_are_invalid(void **state)
{
    (void)state;
    infer_concrete("LSTM(f32[7,2,3], f32[1,20,4], f32[1,20,5])", "!4 elements on axis 2, not 3");
    infer_concrete("LSTM(f32[7,2,3], f32[1,19,3], f32[1,19,5])", "!19 elements on axis 1");
    infer_concrete("LSTM(f32[7,2], f32[1,20,3], f32[1,20,5])", "!data of rank 2");
    infer_concrete("GRU(f32[7,2,3], f32[1,15,3], f32[1,15,5], f32[1,29])",
                   "!29 elements on axis 1");
    infer_concrete("GRU(f32[7,2,3], f32[1,15,3], f32[1,15,5], -, i32[3])", "!3 elements on axis 0");
    infer_concrete("GRU(f32[7,2,3], f16[1,15,3], f32[1,15,5])", "!types f32 and f16");
    infer_concrete("RNN(f32[7,2,3], f32[1,5,3], f32[1,5,5]) {hidden_size=6}", "!hidden_size is 6");
    infer_concrete("RNN(f32[7,2,3], f32[1,5,3], f32[1,5,5]) {direction=\"up\"}", "!direction");
    infer_concrete("RNN(f32[7,2,3], f32[1,5,3], f32[1,5,5]) {layout=2}", "!layout is 2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recurrent_shapes_follow_weights),
        cmocka_unit_test(recurrent_inputs_that_do_not_fit_are_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

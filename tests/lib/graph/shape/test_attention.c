/* SPDX-License-Identifier: Apache-2.0 */
#include "support/infer_case.h"

static void attention_of_four_dimensions(void **state)
{
    (void)state;
    infer_concrete("Attention(f32[2,6,5,8], f32[2,3,7,8], f32[2,3,7,4]) @23", "f32[2,6,5,4]");
    infer_concrete("Attention(f16[2,6,5,8], f16[2,3,7,8], f16[2,3,7,4], -, f16[2,3,9,8], "
                   "f16[2,3,9,4]) @23 #3",
                   "f16[2,6,5,4] f16[2,3,16,8] f16[2,3,16,4]");
    infer_symbolic("Attention(f32[N,6,S,8], f32[N,6,T,8], f32[N,6,T,8]) @23", "f32[N,6,S,8]");
    infer_symbolic("Attention(f32[N,6,S,8], f32[N,6,1,8], f32[N,6,1,8], -, f32[N,6,P,8], "
                   "f32[N,6,P,8]) @23 #2",
                   "f32[N,6,S,8] f32[N,6,?,8]");
    infer_concrete("Attention(f32[2,6,5,8], f32[2,3,7,8], f32[2,3,6,4]) @23", "!do not fit");
    infer_concrete("Attention(f32[2,6,5,8], f32[2,3,7,9], f32[2,3,7,4]) @23", "!do not fit");
    infer_concrete("Attention(f32[2,6,5,8], f32[3,3,7,8], f32[3,3,7,4]) @23", "!do not fit");
    infer_concrete("Attention(f32[2,6,5,8], f16[2,3,7,8], f32[2,3,7,4]) @23", "!types");
    infer_concrete("Attention(f32[2,6,5,8], f32[2,3,7,8], f32[2,3,7,4], -, f32[2,4,9,8], "
                   "f32[2,3,9,4]) @23 #2",
                   "!does not fit");
}

static void attention_of_three_dimensions(void **state)
{
    (void)state;
    infer_concrete("Attention(f32[2,5,24], f32[2,7,12], f32[2,7,6]) {q_num_heads=4, "
                   "kv_num_heads=2} @23",
                   "f32[2,5,12]");
    infer_symbolic("leat.Attention(f32[N,S,24], f32[N,T,24], f32[N,T,24]) {q_num_heads=4, "
                   "kv_num_heads=4}",
                   "f32[N,S,24]");
    infer_concrete("Attention(f32[2,5,24], f32[2,7,12], f32[2,7,6]) {q_num_heads=5, "
                   "kv_num_heads=2} @23",
                   "!5 heads");
    infer_concrete("Attention(f32[2,5,24], f32[2,7,12], f32[2,7,6]) @23", "!0 heads");
    infer_concrete("Attention(f32[2,5,24], f32[2,2,7,12], f32[2,7,6]) {q_num_heads=4, "
                   "kv_num_heads=2} @23",
                   "!differ in rank");
    infer_concrete("Attention(f32[5,24], f32[7,24], f32[7,24]) @23", "!rank 2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_of_four_dimensions),
        cmocka_unit_test(attention_of_three_dimensions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

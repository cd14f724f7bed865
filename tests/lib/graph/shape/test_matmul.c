/* SPDX-License-Identifier: Apache-2.0 */
#include "support/infer_case.h"

static void gemm_gives_product_shape(void **state)
{
    (void)state;
    infer_concrete("Gemm(f32[2,3], f32[3,4])", "f32[2,4]");
    infer_concrete("Gemm(f32[3,2], f32[4,3], f32[4]) {transA=1, transB=1}", "f32[2,4]");
    infer_concrete("Gemm(f32[2,3], f32[3,4], f32[2,1])", "f32[2,4]");
    infer_concrete("Gemm(f32[0,3], f32[3,4], f32[])", "f32[0,4]");
    infer_concrete("leat.Gemm(f32[2,3], f32[3,4], f32[4], f32[2,4]) {residual=1}", "f32[2,4]");
    infer_concrete("leat.Gemm(f32[2,3], f32[3,4], f32[2,4]) {residual=1}", "f32[2,4]");
    infer_concrete("leat.Gemm(f32[2,3], f32[3,4], f32[4]) {residual=1}", "!the residual differs");
    infer_symbolic("Gemm(f32[N,3], f32[3,4], f32[4])", "f32[N,4]");
    infer_symbolic("Gemm(f32[N,K], f32[3,M], f32[4])", "f32[N,M]");
}

static void gemm_bad_node_returns_invalid(void **state)
{
    (void)state;
    infer_concrete("Gemm(f32[2,3], f32[4,4])", "!A has 3 columns, B has 4 rows");
    infer_concrete("Gemm(f32[1,2,3], f32[3,4])", "!rank 2");
    infer_concrete("Gemm(f32[2,3], f32[3,4], f32[3])", "!does not broadcast to 2x4");
    infer_concrete("Gemm(f32[1,3], f32[3,4], f32[2,4])", "!does not broadcast");
    infer_concrete("Gemm(f32[2,3], f32[3,4], f64[4])", "!types");
    infer_concrete("Gemm(f32[2,3], f16[3,4])", "!types");
}

static void matmul_follows_numpy(void **state)
{
    (void)state;
    infer_concrete("MatMul(f32[2,3], f32[3,4])", "f32[2,4]");
    infer_concrete("MatMul(f32[3], f32[3])", "f32[]");
    infer_concrete("MatMul(f32[3], f32[5,3,4])", "f32[5,4]");
    infer_concrete("MatMul(f32[5,2,3], f32[3])", "f32[5,2]");
    infer_concrete("MatMul(f32[7,1,2,3], f32[5,3,4])", "f32[7,5,2,4]");
    infer_concrete("MatMul(f32[7,2,3], f32[5,3,4])", "!dimensions 7 and 5");
    infer_concrete("MatMul(f32[2,3], f32[2,3])", "!3 columns");
    infer_concrete("MatMul(f32[], f32[3])", "!scalar");
    infer_concrete("leat.MatMul(f32[5,2,3], f32[3,4], f32[4]) {activation=\"Gelu\"}", "f32[5,2,4]");
    infer_symbolic("MatMul(f32[N,L,64], f32[64,M])", "f32[N,L,M]");
    infer_symbolic("MatMul(f32[N,12,L,64], f32[N,12,64,L])", "f32[N,12,L,L]");
}

static void matmul_integer_gives_i32(void **state)
{
    (void)state;
    infer_concrete("MatMulInteger(u8[4,3], i8[3,2], u8[], i8[2])", "i32[4,2]");
    infer_concrete("MatMulInteger(u8[4,3], i8[3,2], u8[4])", "i32[4,2]");
    infer_concrete("MatMulInteger(u8[4,3], i8[3,2], u8[3])", "!input 2 must be one number");
    infer_concrete("MatMulInteger(u8[4,3], i8[3,2], i8[])", "!types");
    infer_concrete("MatMulInteger(u8[4,3], i8[3,2], -, i8[3])", "!input 3 must be one number");
    infer_concrete("QLinearMatMul(u8[2,4], f32[1], u8[1], u8[4,3], f32[1], u8[1], f32[1], u8[1])",
                   "u8[2,3]");
    infer_symbolic("MatMulInteger(u8[...], i8[3,2])", "i32[...]");
}

static void quantized_products_give_what_is_stored(void **state)
{
    (void)state;
    infer_concrete("leat.QMatMul(u8[2,4], f32[], u8[], i8[4,3], f32[3])", "f32[2,3]");
    infer_concrete("leat.QMatMul(u8[2,4], f32[], u8[], i8[4,3], f32[3]) {storage=10}", "f16[2,3]");
    infer_concrete("leat.QMatMul(u8[2,4], f32[], u8[], i8[4,3], f32[3], -, f32[]) {storage=10}",
                   "!cannot be of type 10");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm_gives_product_shape),
        cmocka_unit_test(gemm_bad_node_returns_invalid),
        cmocka_unit_test(matmul_follows_numpy),
        cmocka_unit_test(matmul_integer_gives_i32),
        cmocka_unit_test(quantized_products_give_what_is_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

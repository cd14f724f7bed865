/* SPDX-License-Identifier: Apache-2.0 */
#define MR 14
#define LEAST 9
#define HEIGHTS(X) X(9) X(10) X(11) X(12) X(13) X(14)
#define TABLE_NAME lt_cpu_strassen_f32_14x32_avx512
#define TABLE_TEXT "strassen_f32_14x32_avx512"
#define TABLE_GEMM lt_cpu_gemm_f32_14x32_avx512
#include "gemm/strassen_kernel.inc"

/* SPDX-License-Identifier: Apache-2.0 */
#define MR 6
#define LEAST 4
#define HEIGHTS(X) X(4) X(5) X(6)
#define TABLE_NAME lt_cpu_strassen_f32_6x16_avx2
#define TABLE_TEXT "strassen_f32_6x16_avx2"
#define TABLE_GEMM lt_cpu_gemm_f32_6x16_avx2
#define TABLE_SPEED                                                                                \
    {                                                                                              \
        512, 16, 0.16, 0.03, 0.06                                                                  \
    }
#include "gemm/strassen_kernel.inc"

/* SPDX-License-Identifier: Apache-2.0 */
#define MR 4
#define LEAST 3
#define HEIGHTS(X) X(3) X(4)
#define TABLE_NAME lt_cpu_strassen_f32_4x8_portable
#define TABLE_TEXT "strassen_f32_4x8_portable"
#define TABLE_GEMM lt_cpu_gemm_f32_4x8_portable
#define TABLE_SPEED                                                                                \
    {                                                                                              \
        512, 4, 0.16, 0.03, 0.06                                                                   \
    }
#include "gemm/strassen_kernel.inc"

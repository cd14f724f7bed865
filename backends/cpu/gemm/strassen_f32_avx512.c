/* SPDX-License-Identifier: Apache-2.0 */
#define MR 14
#define LEAST 9
#define HEIGHTS(X) X(9) X(10) X(11) X(12) X(13) X(14)
#define TABLE_NAME lt_cpu_strassen_f32_14x32_avx512
#define TABLE_TEXT "strassen_f32_14x32_avx512"
#define TABLE_GEMM lt_cpu_gemm_f32_14x32_avx512
#define TABLE_SPEED                                                                                \
    {                                                                                              \
        512, 16, 0.16, 0.03, 0.06                                                                  \
    } /* measured on Zen 4 */
#include "gemm/strassen_kernel.inc"

/* Measured on Zen 5: the differences of B come from memory as before, all else is twice as fast or
 * more; and a chunk's quadrant of B stays in the first cache. */
const lt_strassen_kernels lt_cpu_strassen_f32_14x32_full_avx512 =
    TABLE_WITH({256, 30, 0.05, 0.03, 0.04});

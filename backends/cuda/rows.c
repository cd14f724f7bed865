/* SPDX-License-Identifier: Apache-2.0 */
/* The table of operators. */
#include "rows.h"
#include "cuda.h"

const leat_op_row lt_cuda_rows[] = {
#define CUDA_ROW(op, domain, since, until, dtypes, layout, supports, prepare)                      \
    {op, domain, since, until, dtypes, layout, supports, prepare},
#include "rows.def"
#undef CUDA_ROW
};

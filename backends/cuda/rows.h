/* SPDX-License-Identifier: Apache-2.0 */
/* Declares the functions of all rows. */
#ifndef LEAT_CUDA_ROWS_H
#define LEAT_CUDA_ROWS_H

#include <leat/backend.h>

#define CUDA_ROW(op, domain, since, until, dtypes, layout, supports, prepare)                      \
    leat_status supports(const leat_kernel_node *node, leat_error *err);                           \
    leat_status prepare(const leat_kernel_node *node, void *device, const leat_host *host,         \
                        leat_plan *plan, leat_kernel *out_kernel, leat_error *err);
#include "rows.def"
#undef CUDA_ROW

#endif

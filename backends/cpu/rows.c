/* SPDX-License-Identifier: Apache-2.0 */
/* The CPU backend's table of operators. */
#include "cpu.h"

#define CPU_ROW(op, domain, since, until, dtypes, layout, supports, prepare)                       \
    leat_status supports(const leat_kernel_node *node, leat_error *err);                           \
    leat_status prepare(const leat_kernel_node *node, void *device, const leat_host *host,         \
                        leat_plan *plan, leat_kernel *out_kernel, leat_error *err);
#include "rows.inc"
#undef CPU_ROW

const leat_op_row lt_cpu_rows[] = {
#define CPU_ROW(op, domain, since, until, dtypes, layout, supports, prepare)                       \
    {op, domain, since, until, dtypes, layout, supports, prepare},
#include "rows.inc"
#undef CPU_ROW
};

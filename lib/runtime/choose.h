/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing among ways to compute a node: leat_host.plan_choose. */
#ifndef LT_RUNTIME_CHOOSE_H
#define LT_RUNTIME_CHOOSE_H

#include "runtime/host.h"

/* The key of a node and its ways under which results of measurements are kept. It does not depend
 * on names, nor on the content of constants: equal layers share one. */
uint64_t lt_choose_key(const leat_plan *plan, const leat_kernel_node *node, const leat_way *ways,
                       size_t n_ways);

/* Index of the best way: recorded or measured when the plan has a tuning, the one of the least
 * estimate otherwise, where nothing could be measured, and, on another device than the host, where
 * none is clearly faster.
 * Errors:   CANCELLED by the plan's progress callback, told before every measurement. */
leat_status lt_choose(leat_plan *plan, const leat_kernel_node *node, const leat_way *ways,
                      size_t n_ways, size_t *out_best, leat_error *err) LEAT_MUST_CHECK;

#endif

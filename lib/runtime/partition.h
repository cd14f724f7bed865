/* SPDX-License-Identifier: Apache-2.0 */
/* Which device runs which node, and in which groups. Works on tables only, so that it can be tested
 * without devices. */
#ifndef LT_RUNTIME_PARTITION_H
#define LT_RUNTIME_PARTITION_H

#include "graph/graph.h"

typedef struct lt_partition_problem {
    uint32_t n_nodes; /* in an order that respects data flow */
    uint32_t n_devices;
    const bool *supported;    /* [node * n_devices + device] */
    const float *cost_ns;     /* likewise; 0: not known */
    const double *cut_bytes;  /* [n_nodes + 1]: bytes alive before node i, and after the last */
    const double *latency_ns; /* [from * n_devices + to] of moving data */
    const double *ns_per_byte;
    const double *host_latency_ns; /* [device]: from and to host memory */
    const double *host_ns_per_byte;
} lt_partition_problem;

/* Gives every node a device. Devices come in order of preference: each node goes to the first that
 * supports it, unless all costs are known and another assignment, found by dynamic programming over
 * the order, is more than 3 % cheaper.
 * Errors:   UNSUPPORTED when no device supports a node: *out_node is it; NO_MEMORY. */
leat_status lt_partition_assign(const lt_partition_problem *problem, lt_arena *arena,
                                uint32_t *out_device, uint32_t *out_node,
                                leat_error *err) LEAT_MUST_CHECK;

/* A run of nodes on one device: nodes[first .. first + count) of the new order. */
typedef struct lt_part {
    uint32_t device;
    uint32_t first;
    uint32_t count;
} lt_part;

/* Reorders `order` (positions into nodes) so that nodes of one device come together as far as data
 * flow allows, stable otherwise, and cuts it into parts. nodes[i] runs on device[i].
 * Owns:     *out_parts is in `arena`.
 * Errors:   NO_MEMORY. */
leat_status lt_partition_group(const leat_node *const *nodes, uint32_t n_nodes,
                               const uint32_t *device, uint32_t n_values, lt_arena *arena,
                               uint32_t *order, lt_part **out_parts, uint32_t *out_n_parts,
                               leat_error *err) LEAT_MUST_CHECK;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Small nodes and what they must give. */
#ifndef TESTS_CONFORMANCE_NODES_H
#define TESTS_CONFORMANCE_NODES_H

#include <leat/backend.h>

#define NODE_MAX_INPUTS 4

/* One node in f32, f64 or integers; computed by `oracle` in double precision. */
typedef struct node_case {
    const char *name; /* of the check */
    const char *op;
    uint32_t n_inputs;
    leat_array inputs[NODE_MAX_INPUTS];      /* type and shape; data comes from a seed */
    uint32_t constants;                      /* bit i: input i is a constant */
    const int64_t *content[NODE_MAX_INPUTS]; /* data of an i64 input instead of the seed */
    leat_array output;                       /* type and shape */
    const leat_attr *attrs;
    uint32_t n_attrs;
    size_t length; /* of the longest sum, for the tolerance */
    /* y[i] for all i, from the inputs as doubles. */
    void (*oracle)(const struct node_case *c, const double *const *x, double *y);
} node_case;

extern const node_case node_cases[];
extern const size_t n_node_cases;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A tree ensemble, flattened: every tree's nodes lie in preorder, so that a node's true branch is
 * the next node, and each node is reached at most once (checked when it is built).
 *
 *     tree 0: root, true branch..., false branch... | tree 1: root, ... | ...
 *
 * Leaves add weights to targets: leaf l of the forest owns weights [leaf_first[l],
 * leaf_first[l+1]).
 */
#ifndef LT_CPU_ML_FOREST_H
#define LT_CPU_ML_FOREST_H

#include "ml/ml.h"

/* The numbers are those of ai.onnx.ml 5's nodes_modes. */
typedef enum lt_tree_mode {
    LT_TREE_LEQ = 0,
    LT_TREE_LT,
    LT_TREE_GTE,
    LT_TREE_GT,
    LT_TREE_EQ,
    LT_TREE_NEQ,
    LT_TREE_MEMBER,
    LT_TREE_LEAF
} lt_tree_mode;

/* One node; for a leaf `no` is its index among the leaves. */
typedef struct lt_tree_node {
    double value;
    int32_t feature;
    int32_t no;
    uint8_t mode;
    uint8_t missing_is_yes; /* NaN takes the true branch */
} lt_tree_node;

/* The same for forests of "<=" over f32 whose NaN takes the false branch: a leaf leads to itself,
 * so that several rows can go down together without a test. */
typedef struct lt_tree_step {
    float value;
    int32_t feature;
    int32_t yes, no;
} lt_tree_step;

typedef struct lt_tree_weight {
    double weight;
    uint32_t target;
} lt_tree_weight;

typedef enum lt_tree_aggregate {
    LT_TREE_AVERAGE = 0,
    LT_TREE_SUM,
    LT_TREE_MIN,
    LT_TREE_MAX
} lt_tree_aggregate;

typedef struct lt_forest {
    lt_ml_rows in;
    uint32_t n_targets;
    uint32_t n_trees;
    lt_tree_aggregate aggregate;
    const int32_t *roots;      /* per tree */
    const uint32_t *depths;    /* per tree: edges on its longest path */
    const lt_tree_node *nodes; /* all trees */
    const lt_tree_step *steps; /* as nodes; NULL where they cannot say it */
    const uint32_t *leaf_first;
    const lt_tree_weight *weights;
    const double *members;        /* of LT_TREE_MEMBER: node.value is the first's index; */
    const uint32_t *member_count; /* per node, how many; NULL without such nodes */
} lt_forest;

/* Trees as a model describes them, before they are checked. */
typedef struct lt_forest_source {
    size_t n_nodes;
    lt_ml_numbers values;
    const int64_t *features;
    const int64_t *yes, *no;   /* indices into the nodes; for a leaf unread */
    const uint8_t *modes;      /* lt_tree_mode */
    const int64_t *missing;    /* NULL: all 0 */
    const int64_t *leaf_first; /* per node and one more: its weights, when it is a leaf */
    const lt_tree_weight *weights;
    size_t n_weights;
    const int64_t *roots;
    size_t n_roots;
    lt_ml_numbers members; /* runs that end with NaN, one for each LT_TREE_MEMBER node in order */
} lt_forest_source;

/* Checks and flattens. in, n_targets and aggregate of *forest are set before.
 * Errors:   INVALID for a node reached twice, or an index out of range; NO_MEMORY. */
leat_status lt_forest_build(const leat_kernel_node *node, const lt_forest_source *source,
                            const leat_host *host, leat_plan *plan, lt_forest *forest,
                            leat_error *err);

/* Called with one row's aggregated scores (double[n_targets], may be changed) and, per target,
 * whether any leaf spoke of it. Rows come from several threads. */
typedef void (*lt_forest_row_fn)(void *argument, int64_t row, double *scores, const bool *has);

/* Workspace of lt_forest_run. */
size_t lt_forest_workspace(const lt_forest *forest, uint32_t threads);

void lt_forest_run(const lt_forest *forest, const void *x, const leat_kernel_args *args,
                   lt_forest_row_fn fn, void *argument);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the attributes of tree operators. */
#ifndef LT_CPU_ML_TREE_H
#define LT_CPU_ML_TREE_H

#include "ml/forest.h"

/* Memory that a lt_forest_source points into; all zero before reading. */
typedef struct lt_tree_scratch {
    char *block;
    size_t bytes, used;
} lt_tree_scratch;
void lt_tree_scratch_free(lt_tree_scratch *scratch, const leat_host *host);

/* TreeEnsembleRegressor (prefix "target") and TreeEnsembleClassifier (prefix "class").
 * Owns:     the source points into the node's attributes and *scratch, to be freed in any case.
 * Errors:   INVALID for lists that do not fit together; NO_MEMORY. */
leat_status lt_tree_read_pairs(const leat_kernel_node *node, const char *prefix,
                               const leat_host *host, lt_tree_scratch *scratch,
                               lt_forest_source *source, leat_error *err);

/* TreeEnsemble. Otherwise as lt_tree_read_pairs. */
leat_status lt_tree_read_positions(const leat_kernel_node *node, const leat_host *host,
                                   lt_tree_scratch *scratch, lt_forest_source *source,
                                   leat_error *err);

#endif

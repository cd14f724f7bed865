/* SPDX-License-Identifier: Apache-2.0 */
/* The attributes of the three tree operators, as a lt_forest_source. TreeEnsembleRegressor and
 * TreeEnsembleClassifier name nodes by (tree, node) pairs; TreeEnsemble (ai.onnx.ml 5) by position,
 * leaves apart. What is made here lives in one scratch block until the forest is built. */
#include "ml/tree.h"

/* --- scratch ------------------------------------------------------------------------------------
 */

/* What both kinds of description take for a node at most, rounded up. */
#define BYTES_PER_NODE 80

/* `count` elements from the block, zeroed; the sizes were summed before. */
static void *take(lt_tree_scratch *s, size_t count, size_t element)
{
    void *at = s->block + s->used;
    s->used += (count * element + 15) & ~(size_t)15;
    return at;
}

static bool open_scratch(lt_tree_scratch *s, const leat_host *host, size_t nodes, size_t weights)
{
    s->bytes = nodes * BYTES_PER_NODE + weights * sizeof(lt_tree_weight) + 1024;
    s->block = host->alloc(host->context, s->bytes, 64);
    s->used = 0;
    if (s->block != NULL) {
        memset(s->block, 0, s->bytes);
    }
    return s->block != NULL;
}

void lt_tree_scratch_free(lt_tree_scratch *scratch, const leat_host *host)
{
    if (scratch->block != NULL) {
        host->free(host->context, scratch->block, scratch->bytes);
    }
}

/* --- nodes named by pairs -----------------------------------------------------------------------
 */

/* (tree, node) in ascending order, with the node's position. */
typedef struct named {
    int64_t tree, node;
    size_t at;
} named;

static bool before(const named *a, const named *b)
{
    return a->tree != b->tree ? a->tree < b->tree : a->node < b->node;
}

static void sift(named *list, size_t at, size_t count)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= count) {
            return;
        }
        child += child + 1 < count && before(&list[child], &list[child + 1]);
        if (!before(&list[at], &list[child])) {
            return;
        }
        named moved = list[at];
        list[at] = list[child];
        list[child] = moved;
        at = child;
    }
}

/* Heap sort (Williams 1964): no memory, no bad case. Most files are in order already. */
static void sort(named *list, size_t count)
{
    bool sorted = true;
    for (size_t i = 1; i < count && sorted; i++) {
        sorted = !before(&list[i], &list[i - 1]);
    }
    for (size_t i = count / 2; i-- > 0 && !sorted;) {
        sift(list, i, count);
    }
    for (size_t end = count; end > 1 && !sorted; end--) {
        named moved = list[0];
        list[0] = list[end - 1];
        list[end - 1] = moved;
        sift(list, 0, end - 1);
    }
}

/* Position of a node, or -1. */
static int64_t find(const named *list, size_t count, int64_t tree, int64_t node)
{
    const named wanted = {tree, node, 0};
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (before(&list[middle], &wanted)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < count && !before(&wanted, &list[low]) ? (int64_t)list[low].at : -1;
}

/* The attributes of one operator: "target" or "class" in front of the leaves' ones. */
typedef struct legacy {
    const leat_kernel_node *node;
    size_t n;
    const int64_t *trees, *ids, *features, *yes, *no, *missing;
    const leat_string *modes;
    size_t n_weights;
    const int64_t *weight_trees, *weight_ids, *weight_targets;
    lt_ml_numbers weights;
} legacy;

/* A list of ints that must have `count` elements. */
static leat_status need(const leat_kernel_node *node, const char *name, size_t count,
                        const int64_t **out, leat_error *err)
{
    size_t have;
    *out = leat_node_ints(node->node, name, &have);
    return have == count
               ? LEAT_OK
               : lt_ml_invalid(node, err, "'%s' has %zu elements, not %zu", name, have, count);
}

static leat_status read_nodes(legacy *a, lt_forest_source *s, leat_error *err)
{
    size_t n_modes, n_missing;
    a->trees = leat_node_ints(a->node->node, "nodes_treeids", &a->n);
    leat_status status = need(a->node, "nodes_nodeids", a->n, &a->ids, err);
    status = status ? status : need(a->node, "nodes_featureids", a->n, &a->features, err);
    status = status ? status : need(a->node, "nodes_truenodeids", a->n, &a->yes, err);
    status = status ? status : need(a->node, "nodes_falsenodeids", a->n, &a->no, err);
    status = status ? status : lt_ml_numbers_read(a->node, "nodes_values", &s->values, err);
    if (status != LEAT_OK) {
        return status;
    }
    a->modes = lt_ml_strings(a->node->node, "nodes_modes", &n_modes);
    a->missing = leat_node_ints(a->node->node, "nodes_missing_value_tracks_true", &n_missing);
    if (s->values.count != a->n || n_modes != a->n || (n_missing != 0 && n_missing != a->n)) {
        return lt_ml_invalid(a->node, err, "the lists of %zu nodes differ in length", a->n);
    }
    s->n_nodes = a->n;
    s->features = a->features;
    s->missing = n_missing ? a->missing : NULL;
    return LEAT_OK;
}

static leat_status read_weights(legacy *a, const char *prefix, leat_error *err)
{
    static const char *const names[2][4] = {
        {"target_treeids", "target_nodeids", "target_ids", "target_weights"},
        {"class_treeids", "class_nodeids", "class_ids", "class_weights"}};
    const char *const *name = names[prefix[0] == 'c'];
    a->weight_trees = leat_node_ints(a->node->node, name[0], &a->n_weights);
    leat_status status = need(a->node, name[1], a->n_weights, &a->weight_ids, err);
    status = status ? status : need(a->node, name[2], a->n_weights, &a->weight_targets, err);
    status = status ? status : lt_ml_numbers_read(a->node, name[3], &a->weights, err);
    if (status == LEAT_OK && a->weights.count != a->n_weights) {
        status = lt_ml_invalid(a->node, err, "'%s' has %zu elements, not %zu", name[3],
                               a->weights.count, a->n_weights);
    }
    return status;
}

static uint8_t mode_of(leat_string text)
{
    static const char *const names[] = {"BRANCH_LEQ", "BRANCH_LT",  "BRANCH_GTE",    "BRANCH_GT",
                                        "BRANCH_EQ",  "BRANCH_NEQ", "BRANCH_MEMBER", "LEAF"};
    for (uint8_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (text.bytes == strlen(names[i]) && memcmp(text.data, names[i], text.bytes) == 0) {
            return i;
        }
    }
    return UINT8_MAX;
}

/* Counts the weights of each node, then deals them out: a counting sort by node. */
static leat_status deal_weights(const legacy *a, const named *list, lt_tree_scratch *scratch,
                                lt_forest_source *s, leat_error *err)
{
    int64_t *first = take(scratch, a->n + 2, sizeof(*first));
    int64_t *fill = take(scratch, a->n + 2, sizeof(*fill));
    lt_tree_weight *weights = take(scratch, a->n_weights + 1, sizeof(*weights));
    for (int pass = 0; pass < 2; pass++) {
        for (size_t w = 0; w < a->n_weights; w++) {
            int64_t at = find(list, a->n, a->weight_trees[w], a->weight_ids[w]);
            if (at < 0 || a->weight_targets[w] < 0 || a->weight_targets[w] > INT32_MAX) {
                return lt_ml_invalid(a->node, err, "weight %zu belongs to no node", w);
            }
            if (pass == 0) {
                first[at + 1]++;
            } else {
                weights[fill[at]++] =
                    (lt_tree_weight){lt_ml_number(&a->weights, w), (uint32_t)a->weight_targets[w]};
            }
        }
        for (size_t i = 0; i < a->n && pass == 0; i++) {
            first[i + 1] += first[i];
            fill[i] = first[i];
        }
    }
    s->leaf_first = first;
    s->weights = weights;
    s->n_weights = a->n_weights;
    return LEAT_OK;
}

/* Branches by position; roots: the nodes that no branch leads to. */
static leat_status resolve(const legacy *a, const named *list, lt_tree_scratch *scratch,
                           lt_forest_source *s, leat_error *err)
{
    int64_t *yes = take(scratch, a->n + 1, sizeof(*yes));
    int64_t *no = take(scratch, a->n + 1, sizeof(*no));
    int64_t *roots = take(scratch, a->n + 1, sizeof(*roots));
    uint8_t *modes = take(scratch, a->n + 1, sizeof(*modes));
    bool *is_child = take(scratch, a->n + 1, sizeof(*is_child));
    for (size_t i = 0; i < a->n; i++) {
        modes[i] = mode_of(a->modes[i]);
        if (modes[i] == UINT8_MAX) {
            return lt_ml_invalid(a->node, err, "node %zu has the unknown mode '%.*s'", i,
                                 (int)(a->modes[i].bytes < 40 ? a->modes[i].bytes : 40),
                                 a->modes[i].data);
        }
        if (modes[i] != LT_TREE_LEAF) {
            yes[i] = find(list, a->n, a->trees[i], a->yes[i]);
            no[i] = find(list, a->n, a->trees[i], a->no[i]);
            is_child[yes[i] < 0 ? a->n : (size_t)yes[i]] = true;
            is_child[no[i] < 0 ? a->n : (size_t)no[i]] = true;
        }
    }
    for (size_t i = 0; i < a->n; i++) {
        if (!is_child[i]) {
            roots[s->n_roots++] = (int64_t)i;
        }
    }
    s->modes = modes;
    s->yes = yes;
    s->no = no;
    s->roots = roots;
    return LEAT_OK;
}

leat_status lt_tree_read_pairs(const leat_kernel_node *node, const char *prefix,
                               const leat_host *host, lt_tree_scratch *scratch,
                               lt_forest_source *source, leat_error *err)
{
    legacy a = {.node = node};
    memset(source, 0, sizeof(*source));
    leat_status status = read_nodes(&a, source, err);
    status = status ? status : read_weights(&a, prefix, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (!open_scratch(scratch, host, a.n, a.n_weights)) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for %zu nodes", node->node->op, a.n);
    }
    named *list = take(scratch, a.n + 1, sizeof(*list));
    for (size_t i = 0; i < a.n; i++) {
        list[i] = (named){a.trees[i], a.ids[i], i};
    }
    sort(list, a.n);
    status = resolve(&a, list, scratch, source, err);
    return status ? status : deal_weights(&a, list, scratch, source, err);
}

/* --- nodes named by position (ai.onnx.ml 5) -----------------------------------------------------
 */

/* Interior nodes come first, leaf l is node n + l. */
typedef struct positions {
    const leat_kernel_node *node;
    size_t n, n_leaves;
    const int64_t *yes, *no, *yes_is_leaf, *no_is_leaf, *features, *leaf_targets;
    const uint8_t *modes;
    lt_ml_numbers leaf_weights;
} positions;

static leat_status tensor_numbers(const leat_kernel_node *node, const char *name, bool must,
                                  lt_ml_numbers *out, leat_error *err)
{
    const leat_attr *attr = leat_node_attr(node->node, name);
    const leat_array *t = attr && attr->type == LEAT_ATTR_TENSOR ? attr->u.tensor : NULL;
    memset(out, 0, sizeof(*out));
    if (t == NULL && !must) {
        return LEAT_OK;
    }
    if (t == NULL || t->rank != 1 || (t->dtype != LEAT_DTYPE_F32 && t->dtype != LEAT_DTYPE_F64)) {
        return lt_ml_invalid(node, err, "'%s' must be a list of f32 or f64", name);
    }
    *out = (lt_ml_numbers){(size_t)t->shape[0], t->data, t->dtype == LEAT_DTYPE_F64};
    return LEAT_OK;
}

static leat_status read_positions(positions *a, lt_forest_source *s, leat_error *err)
{
    size_t n_missing, n_roots;
    const leat_attr *modes = leat_node_attr(a->node->node, "nodes_modes");
    a->features = leat_node_ints(a->node->node, "nodes_featureids", &a->n);
    a->leaf_targets = leat_node_ints(a->node->node, "leaf_targetids", &a->n_leaves);
    leat_status status = need(a->node, "nodes_truenodeids", a->n, &a->yes, err);
    status = status ? status : need(a->node, "nodes_falsenodeids", a->n, &a->no, err);
    status = status ? status : need(a->node, "nodes_trueleafs", a->n, &a->yes_is_leaf, err);
    status = status ? status : need(a->node, "nodes_falseleafs", a->n, &a->no_is_leaf, err);
    status = status ? status : tensor_numbers(a->node, "nodes_splits", true, &s->values, err);
    status = status ? status : tensor_numbers(a->node, "leaf_weights", true, &a->leaf_weights, err);
    status =
        status ? status : tensor_numbers(a->node, "membership_values", false, &s->members, err);
    if (status != LEAT_OK) {
        return status;
    }
    s->missing = leat_node_ints(a->node->node, "nodes_missing_value_tracks_true", &n_missing);
    s->roots = leat_node_ints(a->node->node, "tree_roots", &n_roots);
    const leat_array *m = modes && modes->type == LEAT_ATTR_TENSOR ? modes->u.tensor : NULL;
    if (m == NULL || m->dtype != LEAT_DTYPE_U8 || m->rank != 1 || (size_t)m->shape[0] != a->n ||
        s->values.count != a->n || a->leaf_weights.count != a->n_leaves ||
        (n_missing != 0 && n_missing != a->n)) {
        return lt_ml_invalid(a->node, err, "the lists of %zu nodes and %zu leaves differ in length",
                             a->n, a->n_leaves);
    }
    a->modes = m->data;
    s->n_roots = n_roots;
    return LEAT_OK;
}

/* A branch to leaf l becomes one to node n + l; one that is out of range stays so. */
static int64_t branch(const positions *a, int64_t to, int64_t is_leaf)
{
    int64_t most = (int64_t)(is_leaf ? a->n_leaves : a->n);
    return to < 0 || to >= most ? -1 : to + (is_leaf ? (int64_t)a->n : 0);
}

/* A leaf may serve several branches, but the flattened tree has each node once: every branch to a
 * leaf gets a leaf of its own. */
static void place_leaf(const positions *a, int64_t *to, int64_t *copies, lt_tree_weight *weights,
                       uint8_t *modes, size_t *used)
{
    if (*to >= (int64_t)a->n) {
        size_t leaf = (size_t)*to - a->n, own = a->n + (*used)++;
        int64_t target = a->leaf_targets[leaf];
        weights[own - a->n] =
            (lt_tree_weight){lt_ml_number(&a->leaf_weights, leaf),
                             target < 0 || target > INT32_MAX ? UINT32_MAX : (uint32_t)target};
        copies[own + 1] = (int64_t)(own - a->n + 1);
        modes[own] = LT_TREE_LEAF;
        *to = (int64_t)own;
    }
}

leat_status lt_tree_read_positions(const leat_kernel_node *node, const leat_host *host,
                                   lt_tree_scratch *scratch, lt_forest_source *source,
                                   leat_error *err)
{
    positions a = {.node = node};
    memset(source, 0, sizeof(*source));
    leat_status status = read_positions(&a, source, err);
    if (status != LEAT_OK) {
        return status;
    }
    size_t all = 3 * a.n + 1, used = 0; /* at most two leaves a node */
    if (!open_scratch(scratch, host, all, 2 * a.n)) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for %zu nodes", node->node->op, a.n);
    }
    int64_t *yes = take(scratch, all, sizeof(*yes)), *no = take(scratch, all, sizeof(*no));
    int64_t *first = take(scratch, all + 1, sizeof(*first));
    uint8_t *modes = take(scratch, all, sizeof(*modes));
    lt_tree_weight *weights = take(scratch, 2 * a.n, sizeof(*weights));
    for (size_t i = 0; i < a.n; i++) {
        modes[i] = a.modes[i];
        yes[i] = branch(&a, a.yes[i], a.yes_is_leaf[i]);
        no[i] = branch(&a, a.no[i], a.no_is_leaf[i]);
        if (modes[i] >= LT_TREE_LEAF) {
            return lt_ml_invalid(node, err, "node %zu has the unknown mode %u", i, modes[i]);
        }
        place_leaf(&a, &yes[i], first, weights, modes, &used);
        place_leaf(&a, &no[i], first, weights, modes, &used);
    }
    source->n_nodes = a.n + used;
    source->features = a.features;
    source->yes = yes;
    source->no = no;
    source->modes = modes;
    source->leaf_first = first;
    source->weights = weights;
    source->n_weights = used;
    return LEAT_OK;
}

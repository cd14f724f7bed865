/* SPDX-License-Identifier: Apache-2.0 */
/* Flattening of tree ensembles; see forest.h. */
#include "ml/forest.h"

#include <math.h>

typedef struct builder {
    const leat_kernel_node *node;
    const lt_forest_source *source;
    lt_forest *forest;
    lt_tree_node *nodes;
    uint32_t *leaf_first;
    lt_tree_weight *weights;
    uint32_t *depths;
    int32_t *roots;
    double *members;
    uint32_t *member_count;
    size_t *member_at; /* per node of the source: where its run of members begins */
    bool *seen;        /* per node of the source */
    uint32_t n_nodes, n_leaves, n_weights;
    leat_error *err;
} builder;

/* A branch still to be written: the stack of a preorder walk. */
typedef struct pending {
    int64_t from;   /* in the source */
    int32_t parent; /* whose `no` it is; -1: it follows its parent */
    uint32_t depth;
} pending;

static leat_status check_node(const builder *b, int64_t at)
{
    const lt_forest_source *s = b->source;
    if (at < 0 || (uint64_t)at >= s->n_nodes) {
        return lt_ml_invalid(b->node, b->err, "a branch leads to node %lld of %zu", (long long)at,
                             s->n_nodes);
    }
    if (b->seen[at]) {
        return lt_ml_invalid(b->node, b->err, "node %lld is reached twice", (long long)at);
    }
    if (s->modes[at] > LT_TREE_LEAF) {
        return lt_ml_invalid(b->node, b->err, "node %lld has an unknown mode", (long long)at);
    }
    if (s->modes[at] != LT_TREE_LEAF &&
        (s->features[at] < 0 || s->features[at] >= b->forest->in.features)) {
        return lt_ml_invalid(b->node, b->err, "node %lld asks for feature %lld of %lld",
                             (long long)at, (long long)s->features[at],
                             (long long)b->forest->in.features);
    }
    return LEAT_OK;
}

static leat_status add_leaf(builder *b, int64_t at, lt_tree_node *to)
{
    const lt_forest_source *s = b->source;
    to->no = (int32_t)b->n_leaves;
    for (int64_t w = s->leaf_first[at]; w < s->leaf_first[at + 1]; w++) {
        if (s->weights[w].target >= b->forest->n_targets) {
            return lt_ml_invalid(b->node, b->err, "a leaf names target %u of %u",
                                 s->weights[w].target, b->forest->n_targets);
        }
        b->weights[b->n_weights++] = s->weights[w];
    }
    b->leaf_first[++b->n_leaves] = b->n_weights;
    return LEAT_OK;
}

static void add_members(builder *b, int64_t at, lt_tree_node *to)
{
    const lt_ml_numbers *members = &b->source->members;
    size_t first = b->member_at[at], end = first;
    while (end < members->count && !isnan(lt_ml_number(members, end))) {
        end++;
    }
    to->value = (double)first;
    b->member_count[to - b->nodes] = (uint32_t)(end - first);
}

/* Writes one node; its true branch is pushed last, so that it comes next. */
static leat_status add_node(builder *b, const pending *p, pending *stack, size_t *top)
{
    const lt_forest_source *s = b->source;
    int64_t at = p->from;
    leat_status status = check_node(b, at);
    if (status != LEAT_OK) {
        return status;
    }
    int32_t index = (int32_t)b->n_nodes++;
    lt_tree_node *to = &b->nodes[index];
    b->seen[at] = true;
    if (p->parent >= 0) {
        b->nodes[p->parent].no = index;
    }
    uint32_t *depth = &b->depths[b->forest->n_trees];
    *depth = p->depth > *depth ? p->depth : *depth;
    to->mode = s->modes[at];
    if (to->mode == LT_TREE_LEAF) {
        return add_leaf(b, at, to);
    }
    to->value = lt_ml_number(&s->values, (size_t)at);
    to->feature = (int32_t)s->features[at];
    to->missing_is_yes = s->missing != NULL && s->missing[at] != 0;
    if (to->mode == LT_TREE_MEMBER) {
        add_members(b, at, to);
    }
    stack[(*top)++] = (pending){s->no[at], index, p->depth + 1};
    stack[(*top)++] = (pending){s->yes[at], -1, p->depth + 1};
    return LEAT_OK;
}

static leat_status add_tree(builder *b, int64_t root, pending *stack)
{
    size_t top = 0;
    leat_status status = LEAT_OK;
    b->roots[b->forest->n_trees] = (int32_t)b->n_nodes;
    stack[top++] = (pending){root, -1, 0};
    while (top != 0 && status == LEAT_OK) {
        pending p = stack[--top];
        status = add_node(b, &p, stack, &top);
    }
    b->forest->n_trees++;
    return status;
}

/* Where every member node's run begins, in the order of the nodes. */
static leat_status find_members(builder *b)
{
    const lt_forest_source *s = b->source;
    size_t at = 0;
    for (size_t i = 0; i < s->n_nodes; i++) {
        if (s->modes[i] != LT_TREE_MEMBER) {
            continue;
        }
        b->member_at[i] = at;
        while (at < s->members.count && !isnan(lt_ml_number(&s->members, at))) {
            at++;
        }
        if (at++ >= s->members.count) {
            return lt_ml_invalid(b->node, b->err, "membership_values ends before node %zu's do", i);
        }
    }
    for (size_t i = 0; i < s->members.count; i++) {
        b->members[i] = lt_ml_number(&s->members, i);
    }
    return LEAT_OK;
}

/* NULL when a node is more than "x <= value". */
static const lt_tree_step *make_steps(const builder *b, const leat_host *host, leat_plan *plan)
{
    const lt_forest *f = b->forest;
    for (uint32_t i = 0; i < b->n_nodes; i++) {
        const lt_tree_node *n = &b->nodes[i];
        if (n->mode != LT_TREE_LEAF &&
            (n->mode != LT_TREE_LEQ || n->missing_is_yes || (double)(float)n->value != n->value)) {
            return NULL;
        }
    }
    lt_tree_step *steps =
        f->in.dtype == LEAT_DTYPE_F32 ? host->plan_alloc(plan, b->n_nodes * sizeof(*steps)) : NULL;
    for (uint32_t i = 0; i < b->n_nodes && steps != NULL; i++) {
        const lt_tree_node *n = &b->nodes[i];
        bool leaf = n->mode == LT_TREE_LEAF;
        steps[i] = (lt_tree_step){(float)n->value, n->feature, (int32_t)i + !leaf,
                                  leaf ? (int32_t)i : n->no};
    }
    return steps;
}

static bool allocate(builder *b, const leat_host *host, leat_plan *plan)
{
    const lt_forest_source *s = b->source;
    size_t n = s->n_nodes + 1;
    b->nodes = host->plan_alloc(plan, n * sizeof(*b->nodes));
    b->leaf_first = host->plan_alloc(plan, (n + 1) * sizeof(*b->leaf_first));
    b->weights = host->plan_alloc(plan, (s->n_weights + 1) * sizeof(*b->weights));
    b->depths = host->plan_alloc(plan, (s->n_roots + 1) * sizeof(*b->depths));
    b->roots = host->plan_alloc(plan, (s->n_roots + 1) * sizeof(*b->roots));
    b->members = host->plan_alloc(plan, (s->members.count + 1) * sizeof(*b->members));
    b->member_count = host->plan_alloc(plan, n * sizeof(*b->member_count));
    return b->nodes && b->leaf_first && b->weights && b->depths && b->roots && b->members &&
           b->member_count;
}

/* The parts that only building needs. */
typedef struct scratch {
    size_t bytes;
    char *block;
} scratch;

static bool allocate_scratch(builder *b, const leat_host *host, scratch *out, pending **out_stack)
{
    size_t n = b->source->n_nodes + 2;
    size_t stack = n * sizeof(pending), members = n * sizeof(size_t);
    out->bytes = stack + members + n;
    out->block = host->alloc(host->context, out->bytes, 64);
    if (out->block == NULL) {
        return false;
    }
    memset(out->block, 0, out->bytes);
    *out_stack = (pending *)(void *)out->block;
    b->member_at = (size_t *)(void *)(out->block + stack);
    b->seen = (bool *)(out->block + stack + members);
    return true;
}

leat_status lt_forest_build(const leat_kernel_node *node, const lt_forest_source *source,
                            const leat_host *host, leat_plan *plan, lt_forest *forest,
                            leat_error *err)
{
    builder b = {.node = node, .source = source, .forest = forest, .err = err};
    scratch temporary = {0};
    pending *stack = NULL;
    if (source->n_nodes >= INT32_MAX / 2 || source->n_weights >= UINT32_MAX) {
        return lt_cpu_fail(err, LEAT_LIMIT, "%s: more than 2^30 nodes", node->node->op);
    }
    if (!allocate(&b, host, plan) || !allocate_scratch(&b, host, &temporary, &stack)) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for %zu nodes", node->node->op,
                           source->n_nodes);
    }
    leat_status status = find_members(&b);
    for (size_t t = 0; t < source->n_roots && status == LEAT_OK; t++) {
        status = add_tree(&b, source->roots[t], stack);
    }
    host->free(host->context, temporary.block, temporary.bytes);
    if (status == LEAT_OK && b.n_nodes != source->n_nodes) {
        return lt_ml_invalid(node, err, "%zu nodes lie on a cycle or are never reached",
                             source->n_nodes - b.n_nodes);
    }
    forest->roots = b.roots;
    forest->depths = b.depths;
    forest->nodes = b.nodes;
    forest->leaf_first = b.leaf_first;
    forest->weights = b.weights;
    forest->members = b.members;
    forest->member_count = b.member_count;
    forest->steps = status == LEAT_OK ? make_steps(&b, host, plan) : NULL;
    return status;
}

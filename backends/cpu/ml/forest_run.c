/* SPDX-License-Identifier: Apache-2.0 */
/* Evaluation of tree ensembles: blocks of rows against one tree after the other, so that a tree is
 * read from the second-level cache once a block. In a forest of "<=" eight rows go down together:
 * their loads do not wait for each other (latency of a load bounds one row alone). With few rows
 * and many trees the trees are split over the threads and the parts added in order. */
#include "ml/forest.h"

#include "elementwise/element.h"
#include "sizes.h"

#define BLOCK_ROWS 64
#define TOGETHER 8
/* Trees that are worth a second thread when there is one block of rows. */
#define TREES_PER_TASK 32u

/* Scores of one block: sums and whether a leaf spoke of the target. */
typedef struct scores {
    double *sums; /* [rows][targets] */
    bool *has;
} scores;

typedef struct run {
    const lt_forest *f;
    const void *x;
    char *workspace;
    size_t slot_bytes;
    uint32_t tree_tasks; /* above 1: one block of rows, slots by task */
    lt_forest_row_fn fn;
    void *argument;
} run;

static int64_t block_rows(const lt_forest *f)
{
    return f->in.rows < BLOCK_ROWS ? f->in.rows : BLOCK_ROWS;
}

static size_t slot_bytes(const lt_forest *f)
{
    size_t count = (size_t)block_rows(f) * f->n_targets;
    return lt_whole_lines(count * (sizeof(double) + sizeof(bool)));
}

static uint32_t tree_tasks(const lt_forest *f, uint32_t threads)
{
    uint32_t tasks = f->n_trees / TREES_PER_TASK;
    tasks = tasks < threads ? tasks : threads;
    return f->in.rows > BLOCK_ROWS || tasks < 1 ? 1 : tasks;
}

size_t lt_forest_workspace(const lt_forest *forest, uint32_t threads)
{
    return slot_bytes(forest) * threads;
}

static scores slot(const run *r, uint32_t index)
{
    double *sums = (double *)(void *)(r->workspace + index * r->slot_bytes);
    return (scores){sums, (bool *)(sums + (size_t)block_rows(r->f) * r->f->n_targets)};
}

static void add_one(const lt_forest *f, double *sum, bool *has, double weight)
{
    if (f->aggregate == LT_TREE_MIN && *has) {
        *sum = weight < *sum ? weight : *sum;
    } else if (f->aggregate == LT_TREE_MAX && *has) {
        *sum = weight > *sum ? weight : *sum;
    } else {
        *sum += weight; /* the first is added to 0 */
    }
    *has = true;
}

static void add_leaf(const lt_forest *f, uint32_t leaf, scores s, int64_t row)
{
    for (uint32_t w = f->leaf_first[leaf]; w < f->leaf_first[leaf + 1]; w++) {
        size_t at = (size_t)row * f->n_targets + f->weights[w].target;
        add_one(f, &s.sums[at], &s.has[at], f->weights[w].weight);
    }
}

/* Eight rows from the root to their leaves. */
static void walk_together(const lt_tree_step *steps, uint32_t depth, int32_t root, const float *x,
                          int64_t features, int32_t *at)
{
    for (int r = 0; r < TOGETHER; r++) {
        at[r] = root;
    }
    for (uint32_t d = 0; d < depth; d++) {
        int32_t moved = 0;
        for (int r = 0; r < TOGETHER; r++) {
            const lt_tree_step *s = &steps[at[r]];
            int32_t next = x[r * features + s->feature] <= s->value ? s->yes : s->no;
            moved |= next ^ at[r];
            at[r] = next;
        }
        if (moved == 0) {
            return;
        }
    }
}

static int32_t walk_steps(const lt_tree_step *steps, int32_t at, const float *x)
{
    for (;;) {
        const lt_tree_step *s = &steps[at];
        int32_t next = x[s->feature] <= s->value ? s->yes : s->no;
        if (next == at) {
            return at;
        }
        at = next;
    }
}

static bool is_member(const lt_forest *f, int32_t at, double x)
{
    const double *members = f->members + (size_t)f->nodes[at].value;
    for (uint32_t i = 0; i < f->member_count[at]; i++) {
        if (members[i] == x) {
            return true;
        }
    }
    return false;
}

static bool takes_yes(const lt_forest *f, int32_t at, double x)
{
    const lt_tree_node *n = &f->nodes[at];
    if (x != x && n->missing_is_yes) {
        return true;
    }
    switch ((lt_tree_mode)n->mode) {
    case LT_TREE_LEQ:
        return x <= n->value;
    case LT_TREE_LT:
        return x < n->value;
    case LT_TREE_GTE:
        return x >= n->value;
    case LT_TREE_GT:
        return x > n->value;
    case LT_TREE_EQ:
        return x == n->value;
    case LT_TREE_NEQ:
        return x != n->value;
    case LT_TREE_MEMBER:
        return is_member(f, at, x);
    case LT_TREE_LEAF:
        break;
    }
    return false;
}

/* Any mode, any type: integers count as f32, as in the reference implementation. */
static int32_t walk_any(const lt_forest *f, int32_t at, const void *x, int64_t first)
{
    bool whole = f->in.dtype == LEAT_DTYPE_I32 || f->in.dtype == LEAT_DTYPE_I64;
    while (f->nodes[at].mode != LT_TREE_LEAF) {
        double v = lt_element_get(f->in.dtype, x, first + f->nodes[at].feature);
        v = whole ? (double)(float)v : v;
        at = takes_yes(f, at, v) ? at + 1 : f->nodes[at].no;
    }
    return at;
}

static void run_tree(const run *r, uint32_t tree, int64_t row0, int64_t rows, scores s)
{
    const lt_forest *f = r->f;
    const int64_t features = f->in.features;
    int64_t i = 0;
    for (; f->steps != NULL && i + TOGETHER <= rows; i += TOGETHER) {
        int32_t at[TOGETHER];
        walk_together(f->steps, f->depths[tree], f->roots[tree],
                      (const float *)r->x + (row0 + i) * features, features, at);
        for (int k = 0; k < TOGETHER; k++) {
            add_leaf(f, (uint32_t)f->nodes[at[k]].no, s, i + k);
        }
    }
    for (; i < rows; i++) {
        int64_t first = (row0 + i) * features;
        int32_t at = f->steps ? walk_steps(f->steps, f->roots[tree], (const float *)r->x + first)
                              : walk_any(f, f->roots[tree], r->x, first);
        add_leaf(f, (uint32_t)f->nodes[at].no, s, i);
    }
}

static void give_rows(const run *r, int64_t row0, int64_t rows, scores s)
{
    const lt_forest *f = r->f;
    for (int64_t i = 0; i < rows; i++) {
        double *sums = s.sums + (size_t)i * f->n_targets;
        for (uint32_t t = 0; f->aggregate == LT_TREE_AVERAGE && t < f->n_targets; t++) {
            sums[t] /= f->n_trees;
        }
        r->fn(r->argument, row0 + i, sums, s.has + (size_t)i * f->n_targets);
    }
}

static void block_task(void *argument, uint32_t task, uint32_t thread)
{
    const run *r = argument;
    int64_t row0 = (int64_t)task * BLOCK_ROWS, left = r->f->in.rows - row0;
    int64_t rows = left < BLOCK_ROWS ? left : BLOCK_ROWS;
    scores s = slot(r, thread);
    memset(s.sums, 0, r->slot_bytes);
    for (uint32_t t = 0; t < r->f->n_trees; t++) {
        run_tree(r, t, row0, rows, s);
    }
    give_rows(r, row0, rows, s);
}

static void trees_task(void *argument, uint32_t task, uint32_t thread)
{
    const run *r = argument;
    uint32_t n = r->f->n_trees, t0 = (uint32_t)((uint64_t)n * task / r->tree_tasks);
    uint32_t t1 = (uint32_t)((uint64_t)n * (task + 1) / r->tree_tasks);
    scores s = slot(r, task);
    (void)thread;
    memset(s.sums, 0, r->slot_bytes);
    for (uint32_t t = t0; t < t1; t++) {
        run_tree(r, t, 0, r->f->in.rows, s);
    }
}

/* Adds the other parts to the first, in order, so that a run gives the same again. */
static void combine(const run *r)
{
    const lt_forest *f = r->f;
    scores first = slot(r, 0);
    for (uint32_t task = 1; task < r->tree_tasks; task++) {
        scores s = slot(r, task);
        for (size_t i = 0; i < (size_t)f->in.rows * f->n_targets; i++) {
            if (s.has[i]) {
                add_one(f, &first.sums[i], &first.has[i], s.sums[i]);
            }
        }
    }
}

void lt_forest_run(const lt_forest *forest, const void *x, const leat_kernel_args *args,
                   lt_forest_row_fn fn, void *argument)
{
    run r = {.f = forest,
             .x = x,
             .workspace = args->workspace,
             .slot_bytes = slot_bytes(forest),
             .fn = fn,
             .argument = argument};
    if (forest->in.rows == 0) {
        return;
    }
    r.tree_tasks = tree_tasks(forest, args->host->pool_threads(args->pool));
    if (r.tree_tasks > 1) {
        args->host->parallel(args->pool, r.tree_tasks, trees_task, &r);
        combine(&r);
        give_rows(&r, 0, forest->in.rows, slot(&r, 0));
        return;
    }
    uint32_t blocks = (uint32_t)((forest->in.rows + BLOCK_ROWS - 1) / BLOCK_ROWS);
    args->host->parallel(args->pool, blocks, block_task, &r);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Regions of elementwise nodes, Concat and the like between Transposes change their layout
 * together:
 *
 *     a = T(x)   b = T(y)   s = a * gate   z = s + b   out = T'(z)
 *  -> s = x * gate'   z = y + s   out = z
 *
 * where moving the Transposes node by node (transposes.c) stops, because a reader of `a` needs an
 * operand that is not there yet. A region is a connected set of nodes all of whose data operands
 * come from such Transposes, from the region, or are constants. It is turned when that leaves fewer
 * Transposes: those that feed it and nothing else, and inverse ones that read its results, are
 * counted against those that its other readers need. */
#include "passes/transposes.h"

/* Permutations looked at in one graph. */
#define MOST_PERMS 4

typedef struct regions {
    lt_pusher p;
    uint32_t n;        /* nodes */
    leat_node **nodes; /* as they were before anything moves */
    uint32_t *maker;   /* per value: index of its producer; UINT32_MAX: none */
    bool *in;          /* per node: part of a region */
    uint32_t *parent;  /* per node: union of those connected */
    uint32_t *fed;     /* per value: a node of a region that reads this Transpose's result */
    bool *kept;        /* per value: result of a Transpose that others need too */
    bool *outside;     /* per value: made in a region, needed outside in the old layout */
    int32_t *saved;    /* per region: Transposes that go, less those that come */
} regions;

static uint32_t find(const regions *r, uint32_t i)
{
    while (r->parent[i] != i) {
        r->parent[i] = r->parent[r->parent[i]];
        i = r->parent[i];
    }
    return i;
}

/* A Transpose of such a value moves no data. */
static bool is_free(const leat_value *v)
{
    int32_t wide = 0;
    for (int32_t i = 1; i < v->rank; i++) {
        wide += v->shape[i] != 1;
    }
    return wide <= 1;
}

static bool made_in(const regions *r, uint32_t value)
{
    return r->maker[value] != UINT32_MAX && r->in[r->maker[value]];
}

/* A constant, or one element: any operand of a binary node may be. */
static bool is_parameter(const regions *r, const leat_node *node, uint32_t value)
{
    const leat_value *v = &r->p.graph->values[value];
    size_t count;
    bool one = v->rank >= 0 && lt_shape_count(v->rank, v->shape, &count) && count == 1;
    return lt_passage_of(r->p.graph, node) == LT_PASSAGE_BINARY && v->rank >= 0 &&
           v->rank <= r->p.rank && (v->data != NULL || one);
}

/* Whether the node's data operands would be there in the other layout. */
static bool served(const regions *r, const leat_node *node)
{
    lt_passage kind = lt_passage_of(r->p.graph, node);
    uint32_t count = kind == LT_PASSAGE_BINARY || kind == LT_PASSAGE_CONCAT ? node->n_inputs : 1;
    uint32_t moved = 0, x;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t value = node->inputs[i];
        if (value == LEAT_NO_VALUE) {
            return false;
        }
        if (lt_behind(&r->p, value, &x) || made_in(r, value)) {
            moved++;
        } else if (!is_parameter(r, node, value)) {
            return false;
        }
    }
    return moved > 0;
}

/* The largest set of nodes that serve each other. */
static void choose_nodes(regions *r)
{
    for (uint32_t i = 0; i < r->n; i++) {
        const leat_node *node = r->nodes[i];
        r->parent[i] = i;
        r->saved[i] = 0;
        r->in[i] = lt_passage_of(r->p.graph, node) != LT_PASSAGE_NONE && node->n_inputs > 0 &&
                   r->p.graph->values[node->outputs[0]].rank == r->p.rank;
    }
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = 0; i < r->n; i++) {
            if (r->in[i] && !served(r, r->nodes[i])) {
                r->in[i] = false;
                changed = true;
            }
        }
    }
}

/* Node i reads `value`. */
static void connect(regions *r, uint32_t i, uint32_t value)
{
    uint32_t x;
    if (r->in[i] && made_in(r, value)) {
        r->parent[find(r, i)] = find(r, r->maker[value]);
    } else if (r->in[i] && lt_behind(&r->p, value, &x)) {
        if (r->fed[value] == UINT32_MAX) {
            r->fed[value] = i;
        }
        r->parent[find(r, i)] = find(r, r->fed[value]);
    }
}

/* What reading `value` means to the regions around. */
static void judge(regions *r, uint32_t i, uint32_t value)
{
    int64_t perm[LEAT_MAX_RANK], inverse[LEAT_MAX_RANK];
    int32_t rank;
    bool transpose = lt_read_perm(r->p.graph, r->nodes[i], perm, &rank);
    if (r->in[i]) {
        return;
    }
    if (made_in(r, value) && transpose && rank == r->p.rank) {
        lt_invert_perm(r->p.perm, rank, inverse);
        bool undone = memcmp(perm, inverse, (size_t)rank * sizeof(*perm)) == 0;
        r->saved[find(r, r->maker[value])] += undone && !is_free(&r->p.graph->values[value]);
    } else if (made_in(r, value)) {
        r->outside[value] = true;
    } else if (!transpose) {
        r->kept[value] = true;
    }
}

static void for_each_read(regions *r, void (*fn)(regions *r, uint32_t i, uint32_t value))
{
    for (uint32_t i = 0; i < r->n; i++) {
        for (uint32_t j = 0; j < r->nodes[i]->n_inputs; j++) {
            if (r->nodes[i]->inputs[j] != LEAT_NO_VALUE) {
                fn(r, i, r->nodes[i]->inputs[j]);
            }
        }
    }
}

static void count_saved(regions *r, uint32_t n_values)
{
    for_each_read(r, connect);
    for_each_read(r, judge);
    for (uint32_t v = 0; v < n_values; v++) {
        bool needed = r->p.uses.is_output[v];
        if (is_free(&r->p.graph->values[v])) {
            continue;
        }
        if (r->fed[v] != UINT32_MAX && !r->kept[v] && !needed) {
            r->saved[find(r, r->fed[v])]++;
        }
        if (made_in(r, v) && (r->outside[v] || needed)) {
            r->saved[find(r, r->maker[v])]--;
        }
    }
}

static leat_status turn(regions *r, bool *out_changed, leat_error *err)
{
    leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < r->n && status == LEAT_OK; i++) {
        if (r->in[i] && r->saved[find(r, i)] > 0) {
            uint32_t out = r->nodes[i]->outputs[0];
            status = lt_push_transpose(&r->p, r->nodes[i], &r->p.uses.producer[out], err);
            *out_changed = true;
        }
    }
    return status;
}

static bool allocate(regions *r, uint32_t n_values, lt_arena *scratch)
{
    r->nodes = lt_arena_array(scratch, r->n, sizeof(*r->nodes));
    r->in = lt_arena_array(scratch, r->n, sizeof(*r->in));
    r->parent = lt_arena_array(scratch, r->n, sizeof(*r->parent));
    r->saved = lt_arena_array(scratch, r->n, sizeof(*r->saved));
    r->maker = lt_arena_array(scratch, n_values, sizeof(*r->maker));
    r->fed = lt_arena_array(scratch, n_values, sizeof(*r->fed));
    r->kept = lt_arena_array(scratch, n_values, sizeof(*r->kept));
    r->outside = lt_arena_array(scratch, n_values, sizeof(*r->outside));
    return r->nodes && r->in && r->parent && r->saved && r->maker && r->fed && r->kept &&
           r->outside;
}

/* All regions between Transposes with r->p.perm. */
static leat_status run_perm(lt_graph *graph, lt_pusher *p, lt_arena *scratch, bool *out_changed,
                            leat_error *err)
{
    regions r = {.p = *p, .n = graph->n_nodes};
    uint32_t n_values = graph->n_values;
    leat_status status = lt_uses_build(graph, scratch, &r.p.uses, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (!allocate(&r, n_values, scratch)) {
        return lt_fail(err, LEAT_NO_MEMORY, "transposes: out of memory");
    }
    for (uint32_t v = 0; v < n_values; v++) {
        r.maker[v] = UINT32_MAX;
        r.fed[v] = UINT32_MAX;
        r.kept[v] = false;
        r.outside[v] = false;
    }
    for (uint32_t i = 0; i < r.n; i++) {
        r.nodes[i] = graph->nodes[i];
        for (uint32_t j = 0; j < r.nodes[i]->n_outputs; j++) {
            if (r.nodes[i]->outputs[j] != LEAT_NO_VALUE) {
                r.maker[r.nodes[i]->outputs[j]] = i;
            }
        }
    }
    choose_nodes(&r);
    count_saved(&r, n_values);
    return turn(&r, out_changed, err);
}

static leat_status run(lt_graph *graph, const lt_pass_context *context, lt_arena *scratch,
                       bool *out_changed, leat_error *err)
{
    lt_pusher p[MOST_PERMS] = {{.graph = graph}};
    uint32_t n = 0;
    leat_status status = LEAT_OK;
    (void)context;
    for (uint32_t i = 0; i < graph->n_nodes && n < MOST_PERMS; i++) {
        bool known = false;
        p[n].graph = graph;
        if (!lt_read_perm(graph, graph->nodes[i], p[n].perm, &p[n].rank)) {
            continue;
        }
        for (uint32_t j = 0; j < n && !known; j++) {
            known = p[j].rank == p[n].rank &&
                    memcmp(p[j].perm, p[n].perm, (size_t)p[n].rank * sizeof(int64_t)) == 0;
        }
        n += !known;
    }
    for (uint32_t j = 0; j < n && status == LEAT_OK; j++) {
        status = run_perm(graph, &p[j], scratch, out_changed, err);
    }
    return status;
}

leat_status lt_pass_transposes_region(lt_graph *graph, const lt_pass_context *context,
                                      bool *out_changed, leat_error *err)
{
    return lt_run_on_graph(graph, context, run, out_changed, err);
}

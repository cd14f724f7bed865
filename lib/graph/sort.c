/* SPDX-License-Identifier: Apache-2.0 */
/* Topological order. */
#include "base/error.h"
#include "graph/internal.h"

enum {
    UNSEEN,
    OPEN,
    DONE
};

/* State of a depth-first walk without recursion: a hostile graph may be a million nodes deep. */
typedef struct walk {
    const lt_graph *graph;
    uint32_t *producer; /* per value: node position + 1; 0 for none */
    uint8_t *state;     /* per node */
    uint32_t *stack;    /* node positions */
    uint32_t *next;     /* per stack entry: the dependency to look at next */
    leat_node **order;
    uint32_t n_order;
} walk;

/* Dependency `i` of a node: its inputs, then the captures of its bodies; LEAT_NO_VALUE for one that
 * is not there; *out_end when there is no such dependency. */
static uint32_t dependency(const leat_node *node, uint32_t i, bool *out_end)
{
    if (i < node->n_inputs) {
        return node->inputs[i];
    }
    i -= node->n_inputs;
    for (uint32_t a = 0; a < node->n_attrs; a++) {
        const lt_graph *body = lt_attr_graph(&node->attrs[a]);
        if (body != NULL) {
            if (i < body->n_captures) {
                return body->captures[i].outer;
            }
            i -= body->n_captures;
        }
    }
    *out_end = true;
    return LEAT_NO_VALUE;
}

static leat_status visit(walk *w, uint32_t start, leat_error *err)
{
    uint32_t depth = 0;
    if (w->state[start] == DONE) {
        return LEAT_OK;
    }
    w->stack[0] = start;
    w->next[0] = 0;
    w->state[start] = OPEN;
    for (;;) {
        leat_node *node = w->graph->nodes[w->stack[depth]];
        bool end = false;
        uint32_t value = dependency(node, w->next[depth]++, &end);
        if (end) {
            w->state[w->stack[depth]] = DONE;
            w->order[w->n_order++] = node;
            if (depth-- == 0) {
                return LEAT_OK;
            }
            continue;
        }
        uint32_t producer = value == LEAT_NO_VALUE ? 0 : w->producer[value];
        if (producer == 0 || w->state[producer - 1] == DONE) {
            continue;
        }
        if (w->state[producer - 1] == OPEN) {
            return lt_fail(err, LEAT_CORRUPT, "node '%s' (%s) depends on its own output",
                           lt_node_label(w->graph, node), node->op);
        }
        depth++;
        w->stack[depth] = producer - 1;
        w->next[depth] = 0;
        w->state[producer - 1] = OPEN;
    }
}

leat_status lt_graph_sort(lt_graph *graph, leat_error *err)
{
    lt_arena scratch;
    lt_arena_init(&scratch, lt_graph_arena(graph)->memory, 0);
    size_t n = graph->n_nodes;
    walk w = {.graph = graph,
              .producer = lt_arena_array(&scratch, graph->n_values, sizeof(uint32_t)),
              .state = lt_arena_array(&scratch, n, sizeof(uint8_t)),
              .stack = lt_arena_array(&scratch, n + 1, sizeof(uint32_t)),
              .next = lt_arena_array(&scratch, n + 1, sizeof(uint32_t)),
              .order = lt_arena_array(&scratch, n, sizeof(leat_node *))};
    leat_status status = LEAT_OK;
    if (w.producer == NULL || w.state == NULL || w.stack == NULL || w.next == NULL ||
        w.order == NULL) {
        status = lt_fail(err, LEAT_NO_MEMORY, "graph: out of memory");
        goto out;
    }
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        const leat_node *node = graph->nodes[i];
        for (uint32_t j = 0; j < node->n_outputs; j++) {
            if (node->outputs[j] != LEAT_NO_VALUE) {
                w.producer[node->outputs[j]] = i + 1;
            }
        }
    }
    for (uint32_t i = 0; i < graph->n_nodes && status == LEAT_OK; i++) {
        status = visit(&w, i, err);
    }
    if (status == LEAT_OK && n != 0) {
        memcpy(graph->nodes, w.order, n * sizeof(*w.order));
    }
out:
    lt_arena_destroy(&scratch);
    return status;
}

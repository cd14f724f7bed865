/* SPDX-License-Identifier: Apache-2.0 */
/* Graphs for the tests of lib/graph, written as node lines. */
#ifndef TESTS_LIB_GRAPH_SMALL_H
#define TESTS_LIB_GRAPH_SMALL_H

#include "support/test.h"

#include "graph/graph.h"

#include <stdio.h>
#include <string.h>

typedef struct small {
    lt_memory memory;
    lt_graph *graph;
    leat_error err;
} small;

static inline void small_create(small *s)
{
    memset(s, 0, sizeof(*s));
    lt_memory_init(&s->memory, NULL, 0);
    assert_ok(lt_graph_create(&s->memory, NULL, &s->graph, &s->err), &s->err);
}

static inline void small_destroy(small *s)
{
    lt_graph_destroy(s->graph);
    assert_int_equal(s->memory.live_blocks, 0);
}

/* The value of that name, made when new; LEAT_NO_VALUE for "-". */
static inline uint32_t small_value(small *s, lt_graph *graph, const char *name)
{
    uint32_t v = lt_graph_find_value(graph, name);
    if (strcmp(name, "-") == 0) {
        return LEAT_NO_VALUE;
    }
    if (v == LEAT_NO_VALUE) {
        assert_ok(lt_graph_add_value(graph, name, &v, &s->err), &s->err);
    }
    return v;
}

/* Fills up to 8 indices from names separated by blanks; returns their number. */
static inline uint32_t small_list(small *s, lt_graph *graph, const char *names, uint32_t *out)
{
    char copy[128], *rest = NULL;
    uint32_t n = 0;
    snprintf(copy, sizeof(copy), "%s", names);
    for (char *name = strtok_r(copy, " ", &rest); name; name = strtok_r(NULL, " ", &rest)) {
        out[n++] = small_value(s, graph, name);
    }
    return n;
}

/* Adds `outputs` = op(inputs) at the end; names are separated by blanks. */
static inline leat_node *small_node(small *s, lt_graph *graph, const char *outputs, const char *op,
                                    const char *inputs)
{
    uint32_t in[8], out[8];
    leat_node *node;
    lt_node_desc desc = {.op = op, .domain = "", .name = "", .inputs = in, .outputs = out};
    desc.n_outputs = small_list(s, graph, outputs, out);
    desc.n_inputs = small_list(s, graph, inputs, in);
    assert_ok(lt_graph_add_node(graph, &desc, graph->n_nodes, &node, &s->err), &s->err);
    return node;
}

static inline void small_inputs(small *s, lt_graph *graph, const char *names)
{
    graph->inputs = lt_arena_array(lt_graph_arena(graph), 8, sizeof(uint32_t));
    graph->n_inputs = small_list(s, graph, names, graph->inputs);
}

static inline void small_outputs(small *s, lt_graph *graph, const char *names)
{
    graph->outputs = lt_arena_array(lt_graph_arena(graph), 8, sizeof(uint32_t));
    graph->n_outputs = small_list(s, graph, names, graph->outputs);
}

/* A body on attribute `name` of a node that captures `outer` and doubles it. */
static inline lt_graph *small_body(small *s, leat_node *node, const char *name, const char *outer)
{
    lt_graph *body;
    assert_ok(lt_graph_create(NULL, s->graph, &body, &s->err), &s->err);
    small_node(s, body, "inner_out", "Add", "inner inner");
    small_outputs(s, body, "inner_out");
    body->captures = lt_arena_array(lt_graph_arena(body), 1, sizeof(*body->captures));
    body->captures[0].outer = small_value(s, s->graph, outer);
    body->captures[0].inner = small_value(s, body, "inner");
    body->n_captures = 1;
    leat_attr attr = {.name = name, .type = LEAT_ATTR_GRAPH, .count = 1, .u.graph = body};
    assert_ok(lt_node_set_attr(s->graph, node, &attr, &s->err), &s->err);
    return body;
}

#endif

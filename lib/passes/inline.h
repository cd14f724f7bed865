/* SPDX-License-Identifier: Apache-2.0 */
/* A body, which is a graph within a graph, as nodes of that graph. */
#ifndef LT_PASSES_INLINE_H
#define LT_PASSES_INLINE_H

#include "graph/graph.h"

typedef struct lt_inline_desc {
    lt_graph *graph;
    const lt_graph *body;   /* in an attribute of one of the graph's nodes */
    const uint32_t *inputs; /* per input of the body: the graph's value */
    const uint32_t
        *outputs;  /* per output: the graph's value that it becomes, LEAT_NO_VALUE: none */
    int32_t opset; /* of the Identity that an output may need */
    uint32_t at;   /* position of the first node */
} lt_inline_desc;

/* Moves the body's nodes, so that the node it belongs to must be dropped. *out_behind: the position
 * behind the last.
 * Errors:   NO_MEMORY. */
leat_status lt_inline_body(const lt_inline_desc *desc, lt_arena *scratch, uint32_t *out_behind,
                           leat_error *err) LEAT_MUST_CHECK;

#endif

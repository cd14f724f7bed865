/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of lib/graph. */
#ifndef LT_GRAPH_INTERNAL_H
#define LT_GRAPH_INTERNAL_H

#include "graph/graph.h"

/* Makes room for one more item in *(T **)array; false when there is no memory. */
bool lt_graph_grow(lt_graph *graph, void *array, uint32_t *capacity, uint32_t count,
                   size_t element_bytes);

/* Copies an attribute with its name, strings and lists; tensors and graphs by pointer. */
bool lt_attr_copy(lt_arena *arena, const leat_attr *from, leat_attr *to);

/* The subgraph of an attribute; NULL for other attributes. */
static inline lt_graph *lt_attr_graph(const leat_attr *attr)
{
    return attr->type == LEAT_ATTR_GRAPH ? (lt_graph *)attr->u.graph : NULL;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The graph of a model: values, nodes in order, constants.
 *
 * Nodes and values are the structs of the plugin ABI (leat_node, leat_value), so that a segment can
 * be handed to a backend without translation. Values are named by index; adding one may move the
 * array, so keep indices, not pointers. Nodes are pointers that stay valid.
 *
 * Dimensions: >= 0 is known; negative is symbolic: -(1 + i) names graph->symbols[i]. Two equal
 * negative dimensions are the same number. Rank -1 means that nothing is known.
 *
 * All memory is in the graph's arena; what a pass drops is freed with the graph.
 * A graph is not safe for several threads while it is changed.
 */
#ifndef LT_GRAPH_GRAPH_H
#define LT_GRAPH_GRAPH_H

#include "base/memory.h"

#include <leat/backend.h>

typedef struct lt_graph lt_graph;

typedef struct lt_opset {
    const char *domain; /* "" for ai.onnx */
    int64_t version;
} lt_opset;

/* A value of an enclosing graph that a subgraph (body of If, Loop, Scan) reads. */
typedef struct lt_capture {
    uint32_t outer; /* value index in graph->parent */
    uint32_t inner; /* value index in this graph */
} lt_capture;

/* Values of type LEAT_DTYPE_MAP, LEAT_DTYPE_SEQUENCE and LEAT_DTYPE_OPTIONAL have rank 1. Behind
 * the one dimension their shape keeps what is no dimension: the type of the tensors in them (of a
 * map's values), UNDEFINED when it is not known, and whether an optional is of sequences. */
static inline bool lt_value_is_container(const leat_value *value)
{
    return value->dtype == LEAT_DTYPE_MAP || value->dtype == LEAT_DTYPE_SEQUENCE ||
           value->dtype == LEAT_DTYPE_OPTIONAL;
}

static inline leat_dtype lt_element_dtype(const leat_value *container)
{
    return (leat_dtype)container->shape[1];
}

static inline bool lt_is_of_sequences(const leat_value *container)
{
    return container->shape[2] != 0;
}

static inline void lt_set_element(leat_value *container, leat_dtype dtype, bool of_sequences)
{
    container->shape[1] = dtype;
    container->shape[2] = of_sequences;
}

/* Pieces of an encoded message. */
typedef struct lt_kept {
    const leat_string *fields;
    size_t n_fields;
} lt_kept;

struct lt_graph {
    lt_arena arena;   /* used by the outermost graph; subgraphs use their root's */
    lt_graph *parent; /* NULL for the outermost graph */
    lt_graph *root;   /* the outermost graph; itself when it is that */
    const char *name;
    int64_t ir_version;
    const char *producer; /* never NULL */
    /* Fields of the file that mean nothing here and are written again: of the graph its texts and
     * metadata, of the outermost one also the model's. As encoded in the file that was read, whose
     * bytes they are. */
    lt_kept kept, kept_model;

    lt_opset *opsets;
    size_t n_opsets;

    leat_value *values;
    uint32_t n_values;
    uint32_t values_capacity;

    leat_node **nodes; /* in an order that respects data flow */
    uint32_t n_nodes;
    uint32_t nodes_capacity;

    uint32_t *inputs; /* values; constants are not among them */
    uint32_t n_inputs;
    uint32_t *outputs;
    uint32_t n_outputs;

    lt_capture *captures;
    uint32_t n_captures;

    const struct lt_custom_ops *custom; /* the application's operators; NULL: none; kept in root */

    const char **symbols; /* NULL for a symbol without a name; kept in root */
    uint32_t n_symbols;
    uint32_t symbols_capacity;
};

/* Creates an empty graph. `parent` NULL: an outermost graph, freed by lt_graph_destroy; otherwise a
 * subgraph that lives in its parent's arena.
 * Errors:   NO_MEMORY. */
leat_status lt_graph_create(lt_memory *memory, lt_graph *parent, lt_graph **out_graph,
                            leat_error *err) LEAT_MUST_CHECK;
void lt_graph_destroy(lt_graph *graph);

/* A deep copy whose constants still point at the source's data; the source must outlive it.
 * Errors:   NO_MEMORY. */
leat_status lt_graph_clone(const lt_graph *graph, lt_graph **out_graph,
                           leat_error *err) LEAT_MUST_CHECK;

/* The arena of the outermost graph. */
lt_arena *lt_graph_arena(lt_graph *graph);

/* Adds a value without type and shape (rank -1). name is copied; NULL makes a unique one.
 * Errors:   NO_MEMORY. */
leat_status lt_graph_add_value(lt_graph *graph, const char *name, uint32_t *out_value,
                               leat_error *err) LEAT_MUST_CHECK;

/* Adds a constant. `data` is borrowed for the graph's life when copy is false.
 * Errors:   NO_MEMORY; INVALID when bytes do not match dtype and shape. */
leat_status lt_graph_add_constant(lt_graph *graph, const char *name, const leat_array *array,
                                  bool copy, uint32_t *out_value, leat_error *err) LEAT_MUST_CHECK;

typedef struct lt_node_desc {
    const char *op; /* all strings are copied */
    const char *domain;
    const char *name;
    const uint32_t *inputs; /* copied */
    uint32_t n_inputs;
    const uint32_t *outputs; /* copied */
    uint32_t n_outputs;
    const leat_attr *attrs; /* copied, with the lists and strings (tensors and graphs by pointer) */
    uint32_t n_attrs;
} lt_node_desc;

/* Adds a node at position `at` of the order (n_nodes: at the end).
 * Errors:   NO_MEMORY. */
leat_status lt_graph_add_node(lt_graph *graph, const lt_node_desc *desc, uint32_t at,
                              leat_node **out_node, leat_error *err) LEAT_MUST_CHECK;

/* Changes input `i` of a node in place. */
void lt_node_set_input(leat_node *node, uint32_t i, uint32_t value);
void lt_node_set_output(leat_node *node, uint32_t i, uint32_t value);

/* Adds or replaces an attribute; its lists and strings are copied.
 * Errors:   NO_MEMORY. */
leat_status lt_node_set_attr(lt_graph *graph, leat_node *node, const leat_attr *attr,
                             leat_error *err) LEAT_MUST_CHECK;
leat_status lt_node_set_int(lt_graph *graph, leat_node *node, const char *name, int64_t i,
                            leat_error *err) LEAT_MUST_CHECK;
leat_status lt_node_set_float(lt_graph *graph, leat_node *node, const char *name, float f,
                              leat_error *err) LEAT_MUST_CHECK;
leat_status lt_node_set_ints(lt_graph *graph, leat_node *node, const char *name,
                             const int64_t *ints, size_t count, leat_error *err) LEAT_MUST_CHECK;
leat_status lt_node_set_string(lt_graph *graph, leat_node *node, const char *name, const char *text,
                               leat_error *err) LEAT_MUST_CHECK;
/* Changes op and domain; both copied. */
leat_status lt_node_set_op(lt_graph *graph, leat_node *node, const char *op, const char *domain,
                           leat_error *err) LEAT_MUST_CHECK;

/* Every reader of `from`, graph outputs and captures of subgraphs included, reads `to` instead. */
void lt_graph_replace_uses(lt_graph *graph, uint32_t from, uint32_t to);

/* Takes a node out of the order; its outputs stay as values without a producer. */
void lt_graph_remove_node(lt_graph *graph, const leat_node *node);

/* Who makes and who reads each value; rebuilt by lt_uses_build after changes. */
typedef struct lt_uses {
    leat_node **producer; /* per value; NULL for inputs and constants */
    uint32_t *count;      /* per value: readers, graph outputs and captures included */
    leat_node **reader;   /* per value: one of the reading nodes, NULL when there is none */
    bool *is_output;      /* per value: it is an output of the graph or is captured by a body */
} lt_uses;

/* Errors:   NO_MEMORY. Arrays live in `arena`. */
leat_status lt_uses_build(const lt_graph *graph, lt_arena *arena, lt_uses *out_uses,
                          leat_error *err) LEAT_MUST_CHECK;

/* Puts nodes in an order that respects data flow, stable otherwise.
 * Errors:   CORRUPT for a cycle, naming a node on it; NO_MEMORY. */
leat_status lt_graph_sort(lt_graph *graph, leat_error *err) LEAT_MUST_CHECK;

/* Checks what every pass relies on: indices in range, one producer a value, order, data sizes.
 * Errors:   INTERNAL with the first breach. */
leat_status lt_graph_check(const lt_graph *graph, leat_error *err) LEAT_MUST_CHECK;

/* The symbol of that name as a negative dimension, made when new; NULL: a fresh unnamed one.
 * Errors:   NO_MEMORY. */
leat_status lt_graph_symbol(lt_graph *graph, const char *name, int64_t *out_dim,
                            leat_error *err) LEAT_MUST_CHECK;
/* Name of a negative dimension; NULL when it has none. */
const char *lt_graph_symbol_name(const lt_graph *graph, int64_t dim);

/* Version of a domain that the model imports; 0 when it does not. "ai.onnx" is "". */
int64_t lt_graph_opset(const lt_graph *graph, const char *domain);

/* The name that messages use: the node's own, or its first output's. */
const char *lt_node_label(const lt_graph *graph, const leat_node *node);

/* Index of the value of that name in this graph; LEAT_NO_VALUE when there is none. */
uint32_t lt_graph_find_value(const lt_graph *graph, const char *name);

/* Text of a whole graph, a node a line, for tests and debugging:
 *     y = Conv(x, w, b) {group=1, pads=[1,1,1,1]} : f32[1,64,56,56]
 * Writes at most capacity bytes, always terminated; returns the length it would have. */
size_t lt_graph_text(const lt_graph *graph, char *text, size_t capacity);

#endif

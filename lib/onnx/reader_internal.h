/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the reader's files: reader.c (model) and read_*.c (graph, type, node, attribute,
 * function, tensor). */
#ifndef LT_ONNX_READER_INTERNAL_H
#define LT_ONNX_READER_INTERNAL_H

#include "base/error.h"
#include "graph/graph.h"
#include "onnx/names.h"
#include "onnx/reader.h"
#include "onnx/wire.h"

#include <string.h>

/* Bounds that no real model comes near. */
#define LT_MAX_SUBGRAPH_DEPTH 16
#define LT_MAX_FUNCTION_DEPTH 16
#define LT_MAX_NODES 2000000u
/* Constants below this size are copied when the file has them unaligned; larger ones stay views. */
#define LT_COPY_UNALIGNED_BELOW 4096u
/* Oldest and newest version of ai.onnx that is read. Operators whose meaning changed before opset 7
 * are refused one by one, by the opset range of their kernels. */
#define LT_MIN_OPSET 1
#define LT_MAX_OPSET 30

/* A local function of the model. */
typedef struct lt_function {
    leat_string name, domain, overload;
    lt_wire body;
} lt_function;

typedef struct lt_reader {
    const lt_onnx_source *source; /* NULL when a lone tensor is read */
    lt_arena *arena;              /* of what is read: lives as long as the graph */
    lt_arena scratch;             /* freed when reading ends */
    lt_graph *root;
    lt_function *functions;
    size_t n_functions;
    uint32_t n_nodes; /* read so far, inlined ones among them */
    unsigned subgraph_depth;
    unsigned function_depth;
} lt_reader;

/* Where names are looked up: a graph, or the body of a function that is being inlined. */
typedef struct lt_scope {
    lt_graph *graph;
    lt_names names;
    struct lt_scope *outer;    /* of an enclosing graph; NULL for a function's body */
    const leat_node *call;     /* the node being inlined, for ref_attr_name; NULL outside */
    const leat_attr *defaults; /* of the function's attributes */
    size_t n_defaults;
    const lt_opset *opsets; /* of the function; NULL: the model's */
    size_t n_opsets;
} lt_scope;

static inline bool lt_read_is(leat_string s, const char *text)
{
    return s.bytes == strlen(text) && memcmp(s.data, text, s.bytes) == 0;
}

/* Reads a string field into `out` (borrowed from the file). */
leat_status lt_read_string(const lt_field *field, const lt_wire *wire, const char *what,
                           leat_string *out, leat_error *err) LEAT_MUST_CHECK;

/* Reads a TensorProto. Data is a view into the file, or in the reader's arena. */
leat_status lt_read_tensor(lt_reader *reader, lt_wire message, leat_array *out_array,
                           leat_string *out_name, leat_error *err) LEAT_MUST_CHECK;

/* Reads a GraphProto into a graph that exists. `outer` is the scope around a subgraph. */
leat_status lt_read_graph(lt_reader *reader, lt_wire message, lt_graph *graph, lt_scope *outer,
                          leat_error *err) LEAT_MUST_CHECK;

/* Reads the nodes of a message (GraphProto: field 1; FunctionProto: field 7) into scope->graph. */
leat_status lt_read_nodes(lt_reader *reader, lt_wire message, uint32_t node_field, lt_scope *scope,
                          leat_error *err) LEAT_MUST_CHECK;

/* Reads an AttributeProto; type 0 in the result means that it is to be left out: it refers to an
 * attribute that the function's call does not have. */
leat_status lt_read_attribute(lt_reader *reader, lt_wire message, lt_scope *scope, leat_attr *attr,
                              leat_error *err) LEAT_MUST_CHECK;

/* Reads a ValueInfoProto: the name, and dtype, rank and shape in `type`; `out_kind` is the field of
 * TypeProto that holds the type, 0 when there is none. */
leat_status lt_read_value_info(lt_graph *graph, lt_wire wire, leat_string *name, leat_value *type,
                               uint32_t *out_kind, leat_error *err) LEAT_MUST_CHECK;

/* Of a kind that lt_read_value_info gave: tensors, maps, sequences and optionals are supported; the
 * name of one that is not. */
bool lt_type_is_supported(uint32_t kind);
const char *lt_type_name(uint32_t kind);

/* Inlines the call of a function; inputs and outputs are values of scope->graph. */
leat_status lt_inline_function(lt_reader *reader, const lt_function *function,
                               const leat_node *call, lt_scope *scope,
                               leat_error *err) LEAT_MUST_CHECK;

/* The value of a name, captured from an outer scope if need be; LEAT_NO_VALUE for an input that the
 * call of the function omits.
 * Errors:   CORRUPT when nothing makes it. */
leat_status lt_scope_resolve(lt_reader *reader, lt_scope *scope, leat_string name,
                             uint32_t *out_value, leat_error *err) LEAT_MUST_CHECK;

/* Makes a value of that name. Errors: CORRUPT when there is one already. */
leat_status lt_scope_define(lt_reader *reader, lt_scope *scope, leat_string name,
                            uint32_t *out_value, leat_error *err) LEAT_MUST_CHECK;

/* Reads OperatorSetIdProto messages (`field` of `message`) into the arena. */
leat_status lt_read_opsets(lt_reader *reader, lt_wire message, uint32_t field, lt_opset **out,
                           size_t *out_count, leat_error *err) LEAT_MUST_CHECK;

/* Keeps the fields whose bits are set in `numbers`, all of them below 32, as they are encoded. */
leat_status lt_read_kept(lt_reader *reader, lt_wire message, uint32_t numbers, lt_kept *out,
                         leat_error *err) LEAT_MUST_CHECK;

/* Counts the fields of that number. */
leat_status lt_count_fields(lt_wire message, uint32_t field, size_t *out_count,
                            leat_error *err) LEAT_MUST_CHECK;

static inline leat_status lt_read_no_memory(leat_error *err)
{
    return lt_fail(err, LEAT_NO_MEMORY, "onnx: out of memory");
}

#endif

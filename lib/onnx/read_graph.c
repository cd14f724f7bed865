/* SPDX-License-Identifier: Apache-2.0 */
/* GraphProto -> lt_graph. The fields of a message may come in any order, so it is walked several
 * times: constants, inputs, nodes, outputs, declared types. */
#include "base/tensor.h"
#include "onnx/reader_internal.h"

#include <string.h>

enum {
    GRAPH_NODE = 1,
    GRAPH_NAME = 2,
    GRAPH_INITIALIZER = 5,
    GRAPH_DOC_STRING = 10,
    GRAPH_INPUT = 11,
    GRAPH_OUTPUT = 12,
    GRAPH_VALUE_INFO = 13,
    GRAPH_SPARSE_INITIALIZER = 15,
    GRAPH_METADATA = 16
};

/* TypeProto */
enum {
    TYPE_TENSOR = 1,
    TYPE_SEQUENCE = 4,
    TYPE_MAP = 5,
    TYPE_DENOTATION = 6,
    TYPE_SPARSE_TENSOR = 8,
    TYPE_OPTIONAL = 9
};

leat_status lt_count_fields(lt_wire message, uint32_t number, size_t *out_count, leat_error *err)
{
    lt_field field;
    bool more;
    *out_count = 0;
    for (;;) {
        leat_status status = lt_wire_next(&message, &field, &more, err);
        if (status != LEAT_OK || !more) {
            return status;
        }
        *out_count += field.number == number;
    }
}

/* --- scopes -------------------------------------------------------------------------------------
 */

leat_status lt_scope_define(lt_reader *reader, lt_scope *scope, leat_string name,
                            uint32_t *out_value, leat_error *err)
{
    if (lt_names_find(&scope->names, name.data, name.bytes, LEAT_NO_VALUE) != LEAT_NO_VALUE) {
        return lt_fail(err, LEAT_CORRUPT, "value '%.*s' is made twice",
                       (int)(name.bytes < 120 ? name.bytes : 120), name.data);
    }
    char *copy = lt_arena_string_n(&reader->scratch, name.data, name.bytes);
    if (copy == NULL) {
        return lt_read_no_memory(err);
    }
    leat_status status = lt_graph_add_value(scope->graph, copy, out_value, err);
    if (status == LEAT_OK &&
        !lt_names_put(&scope->names, &reader->scratch, copy, name.bytes, *out_value)) {
        status = lt_read_no_memory(err);
    }
    return status;
}

/* Makes the value of an enclosing graph known in this one. */
static leat_status capture(lt_reader *reader, lt_scope *scope, leat_string name, uint32_t outer,
                           uint32_t *out_value, leat_error *err)
{
    lt_graph *graph = scope->graph;
    leat_status status = lt_scope_define(reader, scope, name, out_value, err);
    if (status != LEAT_OK) {
        return status;
    }
    uint32_t n = graph->n_captures;
    if ((n & (n - 1)) == 0) { /* 0 or a power of two: the array is full */
        lt_capture *captures =
            lt_arena_array(reader->arena, n ? 2 * (size_t)n : 1, sizeof(*captures));
        if (captures == NULL) {
            return lt_read_no_memory(err);
        }
        if (n != 0) {
            memcpy(captures, graph->captures, n * sizeof(*captures));
        }
        graph->captures = captures;
    }
    graph->captures[graph->n_captures++] = (lt_capture){outer, *out_value};
    return LEAT_OK;
}

leat_status lt_scope_resolve(lt_reader *reader, lt_scope *scope, leat_string name,
                             uint32_t *out_value, leat_error *err)
{
    const uint32_t unknown = LEAT_NO_VALUE - 1; /* LEAT_NO_VALUE is a function's omitted input */
    *out_value = lt_names_find(&scope->names, name.data, name.bytes, unknown);
    if (*out_value != unknown) {
        return LEAT_OK;
    }
    if (scope->outer == NULL) {
        return lt_fail(err, LEAT_CORRUPT, "reads value '%.*s', which nothing makes",
                       (int)(name.bytes < 120 ? name.bytes : 120), name.data);
    }
    uint32_t outer;
    leat_status status = lt_scope_resolve(reader, scope->outer, name, &outer, err);
    if (status != LEAT_OK || outer == LEAT_NO_VALUE) {
        *out_value = LEAT_NO_VALUE;
        return status;
    }
    return capture(reader, scope, name, outer, out_value, err);
}

/* --- types --------------------------------------------------------------------------------------
 */

static leat_status read_dim(lt_graph *graph, lt_wire wire, int64_t *out_dim, leat_error *err)
{
    leat_string symbol = {NULL, 0};
    char name[256];
    *out_dim = -1;
    for (;;) {
        lt_field field;
        bool more;
        leat_status status = lt_wire_next(&wire, &field, &more, err);
        if (status == LEAT_OK && more && field.number == 2) {
            status = lt_read_string(&field, &wire, "dim_param", &symbol, err);
        }
        if (status != LEAT_OK) {
            return status;
        }
        if (!more) {
            break;
        }
        /* Exporters write -1 and the like for "not known". */
        if (field.number == 1 && field.type == LT_WIRE_VARINT && field.value <= INT64_MAX) {
            *out_dim = (int64_t)field.value;
        }
    }
    if (*out_dim >= 0) {
        return LEAT_OK;
    }
    if (symbol.bytes >= sizeof(name)) {
        return lt_fail(err, LEAT_LIMIT, "a dimension's name has %zu bytes", symbol.bytes);
    }
    if (symbol.bytes == 1 && symbol.data[0] == '?') {
        symbol.bytes = 0; /* written by exporters for every dimension that they do not know */
    }
    memcpy(name, symbol.bytes ? symbol.data : "", symbol.bytes);
    name[symbol.bytes] = '\0';
    return lt_graph_symbol(graph, symbol.bytes ? name : NULL, out_dim, err);
}

/* TensorShapeProto. */
static leat_status read_shape(lt_graph *graph, lt_wire wire, leat_value *type, leat_error *err)
{
    type->rank = 0;
    for (;;) {
        lt_field field;
        bool more;
        leat_status status = lt_wire_next(&wire, &field, &more, err);
        if (status != LEAT_OK || !more) {
            return status;
        }
        if (field.number != 1) {
            continue;
        }
        if (type->rank == LEAT_MAX_RANK) {
            return lt_fail(err, LEAT_UNSUPPORTED, "byte %zu: a tensor of more than %d dimensions",
                           lt_wire_offset(&wire), LEAT_MAX_RANK);
        }
        status = lt_wire_expect(&field, &wire, LT_WIRE_BYTES, "a dimension", err);
        if (status == LEAT_OK) {
            status = read_dim(graph, field.bytes, &type->shape[type->rank++], err);
        }
        if (status != LEAT_OK) {
            return status;
        }
    }
}

/* TypeProto.Tensor. */
static leat_status read_tensor_type(lt_graph *graph, lt_wire wire, leat_value *type,
                                    leat_error *err)
{
    for (;;) {
        lt_field field;
        bool more;
        leat_status status = lt_wire_next(&wire, &field, &more, err);
        if (status != LEAT_OK || !more) {
            return status;
        }
        if (field.number == 1 && field.type == LT_WIRE_VARINT) {
            type->dtype =
                field.value < LEAT_DTYPE_COUNT ? (leat_dtype)field.value : LEAT_DTYPE_UNDEFINED;
        } else if (field.number == 2) {
            status = lt_wire_expect(&field, &wire, LT_WIRE_BYTES, "a shape", err);
            if (status == LEAT_OK) {
                status = read_shape(graph, field.bytes, type, err);
            }
        }
        if (status != LEAT_OK) {
            return status;
        }
    }
}

/* The field of a TypeProto that holds the type, and what is in it. */
static leat_status peek_kind(lt_wire wire, uint32_t *out_kind, lt_wire *out_inner, leat_error *err)
{
    for (;;) {
        lt_field field;
        bool more;
        leat_status status = lt_wire_next(&wire, &field, &more, err);
        if (status != LEAT_OK || !more) {
            return status;
        }
        if (field.number != TYPE_DENOTATION && field.type == LT_WIRE_BYTES) {
            *out_kind = field.number;
            *out_inner = field.bytes;
        }
    }
}

/* The element type that a TypeProto.Tensor says; UNDEFINED when it says none. */
static leat_status tensor_dtype(lt_wire wire, leat_dtype *out_dtype, leat_error *err)
{
    *out_dtype = LEAT_DTYPE_UNDEFINED;
    for (;;) {
        lt_field field;
        bool more;
        leat_status status = lt_wire_next(&wire, &field, &more, err);
        if (status != LEAT_OK || !more) {
            return status;
        }
        if (field.number == 1 && field.type == LT_WIRE_VARINT && field.value < LEAT_DTYPE_COUNT) {
            *out_dtype = (leat_dtype)field.value;
        }
    }
}

/* The kind of the elements of a TypeProto.Sequence or TypeProto.Optional; 0 when it has none. */
static leat_status element_kind(lt_wire wire, uint32_t *out_kind, lt_wire *out_inner,
                                leat_error *err)
{
    *out_kind = 0;
    for (;;) {
        lt_field field;
        bool more;
        leat_status status = lt_wire_next(&wire, &field, &more, err);
        if (status == LEAT_OK && more && field.number == 1 && field.type == LT_WIRE_BYTES) {
            status = peek_kind(field.bytes, out_kind, out_inner, err);
        }
        if (status != LEAT_OK || !more) {
            return status;
        }
    }
}

/* TypeProto.Sequence (of tensors) or TypeProto.Optional (of tensors or of sequences of tensors): an
 * array of arrays, its length not known. A kind of 0 is left for anything else. Nothing recurses:
 * a file may nest types deeper than the stack. */
static leat_status read_container(lt_graph *graph, lt_wire wire, bool optional, leat_value *type,
                                  uint32_t *out_kind, leat_error *err)
{
    uint32_t inner;
    leat_dtype dtype;
    leat_status status = element_kind(wire, &inner, &wire, err);
    bool nested = optional && inner == TYPE_SEQUENCE;
    if (status == LEAT_OK && nested) {
        status = element_kind(wire, &inner, &wire, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    if (inner != TYPE_TENSOR) {
        *out_kind = 0;
        return LEAT_OK;
    }
    status = tensor_dtype(wire, &dtype, err);
    if (status != LEAT_OK) {
        return status;
    }
    type->dtype = optional ? LEAT_DTYPE_OPTIONAL : LEAT_DTYPE_SEQUENCE;
    type->rank = 1;
    lt_set_element(type, dtype, nested);
    return lt_graph_symbol(graph, NULL, &type->shape[0], err);
}

/* TypeProto.Map from strings or i64 to tensors; a kind of 0 is left for anything else. */
static leat_status read_map(lt_wire wire, leat_value *type, uint32_t *out_kind, leat_error *err)
{
    uint32_t inner = 0;
    leat_dtype key = LEAT_DTYPE_UNDEFINED, value = LEAT_DTYPE_UNDEFINED;
    lt_wire of_value = {0};
    for (bool more = true; more;) {
        lt_field field;
        leat_status status = lt_wire_next(&wire, &field, &more, err);
        if (status == LEAT_OK && more && field.number == 2 && field.type == LT_WIRE_BYTES) {
            status = peek_kind(field.bytes, &inner, &of_value, err);
        }
        if (status != LEAT_OK) {
            return status;
        }
        if (more && field.number == 1 && field.type == LT_WIRE_VARINT &&
            field.value < LEAT_DTYPE_COUNT) {
            key = (leat_dtype)field.value;
        }
    }
    if (inner != TYPE_TENSOR || (key != LEAT_DTYPE_STRING && key != LEAT_DTYPE_I64)) {
        *out_kind = 0;
        return LEAT_OK;
    }
    leat_status status = tensor_dtype(of_value, &value, err);
    if (status != LEAT_OK) {
        return status;
    }
    type->dtype = LEAT_DTYPE_MAP;
    type->rank = 1;
    lt_set_element(type, value, false);
    type->shape[0] = 2; /* keys and values */
    return LEAT_OK;
}

/* TypeProto; `kind` is the field that holds the type. */
static leat_status read_type(lt_graph *graph, lt_wire wire, leat_value *type, uint32_t *out_kind,
                             leat_error *err)
{
    for (;;) {
        lt_field field;
        bool more;
        leat_status status = lt_wire_next(&wire, &field, &more, err);
        if (status != LEAT_OK || !more) {
            return status;
        }
        if (field.number == TYPE_DENOTATION || field.type != LT_WIRE_BYTES) {
            continue;
        }
        *out_kind = field.number;
        if (field.number == TYPE_TENSOR) {
            status = read_tensor_type(graph, field.bytes, type, err);
        } else if (field.number == TYPE_SEQUENCE || field.number == TYPE_OPTIONAL) {
            bool optional = field.number == TYPE_OPTIONAL;
            status = read_container(graph, field.bytes, optional, type, out_kind, err);
        } else if (field.number == TYPE_MAP) {
            status = read_map(field.bytes, type, out_kind, err);
        }
        if (status != LEAT_OK) {
            return status;
        }
    }
}

/* Tensors, maps, sequences and optionals. */
static bool is_supported(uint32_t kind)
{
    return kind == TYPE_TENSOR || kind == TYPE_MAP || kind == TYPE_SEQUENCE ||
           kind == TYPE_OPTIONAL;
}

static const char *kind_name(uint32_t kind)
{
    switch (kind) {
    case TYPE_SEQUENCE:
        return "sequence";
    case TYPE_MAP:
        return "map";
    case TYPE_SPARSE_TENSOR:
        return "sparse tensor";
    case TYPE_OPTIONAL:
        return "optional";
    default:
        return "unknown type";
    }
}

/* ValueInfoProto: the name, and dtype, rank and shape in `type`. */
static leat_status read_value_info(lt_graph *graph, lt_wire wire, leat_string *name,
                                   leat_value *type, uint32_t *out_kind, leat_error *err)
{
    memset(type, 0, sizeof(*type));
    type->rank = -1;
    *name = (leat_string){"", 0};
    *out_kind = 0;
    for (;;) {
        lt_field field;
        bool more;
        leat_status status = lt_wire_next(&wire, &field, &more, err);
        if (status != LEAT_OK || !more) {
            return status;
        }
        if (field.number == 1) {
            status = lt_read_string(&field, &wire, "a value's name", name, err);
        } else if (field.number == 2) {
            status = lt_wire_expect(&field, &wire, LT_WIRE_BYTES, "a type", err);
            if (status == LEAT_OK) {
                status = read_type(graph, field.bytes, type, out_kind, err);
            }
        }
        if (status != LEAT_OK) {
            return status;
        }
    }
}

static void declare(lt_graph *graph, uint32_t value, const leat_value *type)
{
    leat_value *to = &graph->values[value];
    if (to->data == NULL) {
        to->dtype = type->dtype;
        to->rank = type->rank;
        memcpy(to->shape, type->shape, sizeof(to->shape));
        size_t bytes;
        if (type->rank >= 0 && lt_shape_bytes(type->dtype, type->rank, type->shape, &bytes)) {
            to->bytes = bytes;
        }
    }
}

/* --- the parts of a graph -----------------------------------------------------------------------
 */

static leat_status read_initializer(lt_reader *reader, const lt_field *field, const lt_wire *wire,
                                    lt_scope *scope, leat_error *err)
{
    leat_array array;
    leat_string name;
    uint32_t value;
    leat_status status = lt_wire_expect(field, wire, LT_WIRE_BYTES, "an initializer", err);
    if (status == LEAT_OK) {
        status = lt_read_tensor(reader, field->bytes, &array, &name, err);
    }
    if (status == LEAT_OK) {
        status = lt_scope_define(reader, scope, name, &value, err);
    }
    if (status == LEAT_OK) {
        leat_value *to = &scope->graph->values[value];
        to->dtype = array.dtype;
        to->rank = array.rank;
        memcpy(to->shape, array.shape, sizeof(to->shape));
        to->data = array.data;
        to->bytes = array.bytes;
    }
    return status;
}

/* An input, unless a constant of that name is its default: leat takes that. */
static leat_status read_input(lt_reader *reader, const lt_field *field, const lt_wire *wire,
                              lt_scope *scope, leat_error *err)
{
    lt_graph *graph = scope->graph;
    leat_string name;
    leat_value type;
    uint32_t kind, value;
    leat_status status = lt_wire_expect(field, wire, LT_WIRE_BYTES, "an input", err);
    if (status == LEAT_OK) {
        status = read_value_info(graph, field->bytes, &name, &type, &kind, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    value = lt_names_find(&scope->names, name.data, name.bytes, LEAT_NO_VALUE);
    if (value != LEAT_NO_VALUE && graph->values[value].data != NULL) {
        return LEAT_OK;
    }
    if (!is_supported(kind) && (kind != 0 || graph->parent == NULL)) {
        return lt_fail(
            err, LEAT_UNSUPPORTED,
            "input '%.*s' is a %s; tensors, maps and sequences of tensors and optionals of "
            "tensors and sequences are supported",
            (int)(name.bytes < 80 ? name.bytes : 80), name.data, kind_name(kind));
    }
    status = lt_scope_define(reader, scope, name, &value, err);
    if (status == LEAT_OK) {
        declare(graph, value, &type);
        graph->inputs[graph->n_inputs++] = value;
    }
    return status;
}

static leat_status read_output(lt_reader *reader, const lt_field *field, const lt_wire *wire,
                               lt_scope *scope, leat_error *err)
{
    lt_graph *graph = scope->graph;
    leat_string name;
    leat_value type;
    uint32_t kind, value;
    leat_status status = lt_wire_expect(field, wire, LT_WIRE_BYTES, "an output", err);
    if (status == LEAT_OK) {
        status = read_value_info(graph, field->bytes, &name, &type, &kind, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    if (kind != 0 && !is_supported(kind)) {
        return lt_fail(
            err, LEAT_UNSUPPORTED,
            "output '%.*s' is a %s; tensors, maps and sequences of tensors and optionals of "
            "tensors and sequences are supported",
            (int)(name.bytes < 80 ? name.bytes : 80), name.data, kind_name(kind));
    }
    status = lt_scope_resolve(reader, scope, name, &value, err);
    if (status == LEAT_OK && value == LEAT_NO_VALUE) {
        status = lt_fail(err, LEAT_CORRUPT, "is an input that the function's call omits");
    }
    if (status != LEAT_OK) {
        return lt_fail_within(err, status, "graph output %u", graph->n_outputs);
    }
    if (graph->values[value].rank < 0) {
        declare(graph, value, &type);
    }
    graph->outputs[graph->n_outputs++] = value;
    return LEAT_OK;
}

static leat_status read_declared(lt_reader *reader, const lt_field *field, const lt_wire *wire,
                                 lt_scope *scope, leat_error *err)
{
    leat_string name;
    leat_value type;
    uint32_t kind;
    (void)reader;
    leat_status status = lt_wire_expect(field, wire, LT_WIRE_BYTES, "a value_info", err);
    if (status == LEAT_OK) {
        status = read_value_info(scope->graph, field->bytes, &name, &type, &kind, err);
    }
    if (status == LEAT_OK && is_supported(kind)) {
        uint32_t value = lt_names_find(&scope->names, name.data, name.bytes, LEAT_NO_VALUE);
        if (value != LEAT_NO_VALUE && scope->graph->values[value].rank < 0) {
            declare(scope->graph, value, &type);
        }
    }
    return status;
}

typedef leat_status (*part_fn)(lt_reader *reader, const lt_field *field, const lt_wire *wire,
                               lt_scope *scope, leat_error *err);

/* Calls fn for every field of that number. */
static leat_status each(lt_reader *reader, lt_wire wire, uint32_t number, part_fn fn,
                        lt_scope *scope, leat_error *err)
{
    for (;;) {
        lt_field field;
        bool more;
        leat_status status = lt_wire_next(&wire, &field, &more, err);
        if (status == LEAT_OK && more && field.number == number) {
            status = fn(reader, &field, &wire, scope, err);
        }
        if (status != LEAT_OK || !more) {
            return status;
        }
    }
}

static leat_status read_name(lt_reader *reader, const lt_field *field, const lt_wire *wire,
                             lt_scope *scope, leat_error *err)
{
    leat_string name;
    leat_status status = lt_read_string(field, wire, "a graph's name", &name, err);
    if (status == LEAT_OK) {
        scope->graph->name = lt_arena_string_n(reader->arena, name.data, name.bytes);
        status = scope->graph->name ? LEAT_OK : lt_read_no_memory(err);
    }
    return status;
}

static leat_status refuse_sparse(lt_reader *reader, const lt_field *field, const lt_wire *wire,
                                 lt_scope *scope, leat_error *err)
{
    (void)reader;
    (void)field;
    (void)scope;
    return lt_fail(
        err, LEAT_UNSUPPORTED,
        "byte %zu: sparse initializers are not supported; save the model with dense ones",
        lt_wire_offset(wire));
}

/* Room for inputs and outputs. */
static leat_status make_lists(lt_reader *reader, lt_wire message, lt_graph *graph, leat_error *err)
{
    size_t n_inputs, n_outputs;
    leat_status status = lt_count_fields(message, GRAPH_INPUT, &n_inputs, err);
    if (status == LEAT_OK) {
        status = lt_count_fields(message, GRAPH_OUTPUT, &n_outputs, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    graph->inputs = lt_arena_array(reader->arena, n_inputs, sizeof(*graph->inputs));
    graph->outputs = lt_arena_array(reader->arena, n_outputs, sizeof(*graph->outputs));
    return graph->inputs && graph->outputs ? LEAT_OK : lt_read_no_memory(err);
}

leat_status lt_read_graph(lt_reader *reader, lt_wire message, lt_graph *graph, lt_scope *outer,
                          leat_error *err)
{
    static const struct {
        uint32_t number;
        part_fn fn;
    } before[] = {{GRAPH_NAME, read_name},
                  {GRAPH_SPARSE_INITIALIZER, refuse_sparse},
                  {GRAPH_INITIALIZER, read_initializer},
                  {GRAPH_INPUT, read_input}},
      after[] = {{GRAPH_OUTPUT, read_output}, {GRAPH_VALUE_INFO, read_declared}};
    lt_scope scope = {.graph = graph, .outer = outer};
    if (outer != NULL) { /* names and attributes of a function reach into its subgraphs */
        scope.call = outer->call;
        scope.defaults = outer->defaults;
        scope.n_defaults = outer->n_defaults;
        scope.opsets = outer->opsets;
        scope.n_opsets = outer->n_opsets;
    }
    leat_status status = make_lists(reader, message, graph, err);
    if (status == LEAT_OK) {
        const uint32_t kept = 1u << GRAPH_DOC_STRING | 1u << GRAPH_METADATA;
        status = lt_read_kept(reader, message, kept, &graph->kept, err);
    }
    for (size_t i = 0; i < 4 && status == LEAT_OK; i++) {
        status = each(reader, message, before[i].number, before[i].fn, &scope, err);
    }
    if (status == LEAT_OK) {
        status = lt_read_nodes(reader, message, GRAPH_NODE, &scope, err);
    }
    for (size_t i = 0; i < 2 && status == LEAT_OK; i++) {
        status = each(reader, message, after[i].number, after[i].fn, &scope, err);
    }
    if (status == LEAT_OK) {
        status = lt_graph_sort(graph, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    status = lt_graph_check(graph, err);
    if (status != LEAT_OK) { /* what the check calls a defect of leat is one of the file here */
        status = status == LEAT_NO_MEMORY ? status : LEAT_CORRUPT;
        return lt_fail_within(err, status, "graph '%s'", graph->name);
    }
    return LEAT_OK;
}

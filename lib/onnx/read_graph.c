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

leat_status lt_count_fields(lt_wire message, uint32_t number, size_t *out_count, leat_error *err)
{
    leat_status status = LEAT_OK;
    lt_field field;
    *out_count = 0;
    while (lt_wire_find(&message, number, &field, &status, err)) {
        ++*out_count;
    }
    return status;
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

static leat_status refuse_type(const char *what, leat_string name, uint32_t kind, leat_error *err)
{
    return lt_fail(err, LEAT_UNSUPPORTED,
                   "%s '%.*s' is a %s; tensors, maps and sequences of tensors and optionals of "
                   "tensors and sequences are supported",
                   what, (int)(name.bytes < 80 ? name.bytes : 80), name.data, lt_type_name(kind));
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
        status = lt_read_value_info(graph, field->bytes, &name, &type, &kind, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    value = lt_names_find(&scope->names, name.data, name.bytes, LEAT_NO_VALUE);
    if (value != LEAT_NO_VALUE && graph->values[value].data != NULL) {
        return LEAT_OK;
    }
    if (!lt_type_is_supported(kind) && (kind != 0 || graph->parent == NULL)) {
        return refuse_type("input", name, kind, err);
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
        status = lt_read_value_info(graph, field->bytes, &name, &type, &kind, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    if (kind != 0 && !lt_type_is_supported(kind)) {
        return refuse_type("output", name, kind, err);
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
        status = lt_read_value_info(scope->graph, field->bytes, &name, &type, &kind, err);
    }
    if (status == LEAT_OK && lt_type_is_supported(kind)) {
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
    leat_status status = LEAT_OK;
    lt_field field;
    while (lt_wire_find(&wire, number, &field, &status, err)) {
        status = fn(reader, &field, &wire, scope, err);
    }
    return status;
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

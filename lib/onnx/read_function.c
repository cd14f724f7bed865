/* SPDX-License-Identifier: Apache-2.0 */
/* FunctionProto: calls of a model's local functions are inlined. */
#include "onnx/reader_internal.h"

enum {
    FUNCTION_INPUT = 4,
    FUNCTION_OUTPUT = 5,
    FUNCTION_NODE = 7,
    FUNCTION_OPSET = 9,
    FUNCTION_ATTRIBUTE_PROTO = 11
};

/* Gives the formal names of a function the values of the call. */
static leat_status bind_formals(lt_reader *reader, lt_wire wire, uint32_t number,
                                const uint32_t *values, uint32_t n_values, lt_scope *inner,
                                leat_error *err)
{
    uint32_t i = 0;
    leat_status status = LEAT_OK;
    lt_field field;
    while (lt_wire_find(&wire, number, &field, &status, err)) {
        leat_string name;
        uint32_t value;
        status = lt_read_string(&field, &wire, "a function's value", &name, err);
        if (status != LEAT_OK) {
            return status;
        }
        value = i < n_values ? values[i] : LEAT_NO_VALUE;
        i++;
        if (value == LEAT_NO_VALUE && number == FUNCTION_OUTPUT) {
            status = lt_graph_add_value(inner->graph, NULL, &value, err);
        }
        if (status == LEAT_OK &&
            !lt_names_put(&inner->names, &reader->scratch, name.data, name.bytes, value)) {
            status = lt_read_no_memory(err);
        }
    }
    return status;
}

static leat_status read_defaults(lt_reader *reader, lt_wire message, lt_scope *inner,
                                 leat_error *err)
{
    size_t count;
    leat_status status = lt_count_fields(message, FUNCTION_ATTRIBUTE_PROTO, &count, err);
    leat_attr *attrs = lt_arena_array(&reader->scratch, count, sizeof(*attrs));
    if (status == LEAT_OK && attrs == NULL) {
        status = lt_read_no_memory(err);
    }
    lt_scope none = {.graph = inner->graph};
    lt_field field;
    while (lt_wire_find(&message, FUNCTION_ATTRIBUTE_PROTO, &field, &status, err)) {
        if (field.type == LT_WIRE_BYTES) {
            status =
                lt_read_attribute(reader, field.bytes, &none, &attrs[inner->n_defaults++], err);
        }
    }
    inner->defaults = attrs;
    return status;
}

leat_status lt_inline_function(lt_reader *reader, const lt_function *function,
                               const leat_node *call, lt_scope *scope, leat_error *err)
{
    lt_opset *opsets = NULL;
    lt_scope inner = {.graph = scope->graph, .call = call};
    if (reader->function_depth == LT_MAX_FUNCTION_DEPTH) {
        return lt_fail(err, LEAT_LIMIT, "functions call each other more than %d deep",
                       LT_MAX_FUNCTION_DEPTH);
    }
    leat_status status =
        lt_read_opsets(reader, function->body, FUNCTION_OPSET, &opsets, &inner.n_opsets, err);
    inner.opsets = opsets;
    if (status == LEAT_OK) {
        status = read_defaults(reader, function->body, &inner, err);
    }
    if (status == LEAT_OK) {
        status = bind_formals(reader, function->body, FUNCTION_INPUT, call->inputs, call->n_inputs,
                              &inner, err);
    }
    if (status == LEAT_OK) {
        status = bind_formals(reader, function->body, FUNCTION_OUTPUT, call->outputs,
                              call->n_outputs, &inner, err);
    }
    if (status == LEAT_OK) {
        reader->function_depth++;
        status = lt_read_nodes(reader, function->body, FUNCTION_NODE, &inner, err);
        reader->function_depth--;
    }
    return status;
}

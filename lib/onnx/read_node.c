/* SPDX-License-Identifier: Apache-2.0 */
/* NodeProto -> leat_node. */
#include "base/tensor.h"
#include "onnx/reader_internal.h"

#include <stdio.h>
#include <string.h>

enum {
    NODE_INPUT = 1,
    NODE_OUTPUT = 2,
    NODE_NAME = 3,
    NODE_OP_TYPE = 4,
    NODE_ATTRIBUTE = 5,
    NODE_DOMAIN = 7,
    NODE_OVERLOAD = 8
};

#define SHORT(s) (int)((s).bytes < 80 ? (s).bytes : 80), (s).data ? (s).data : ""

/* A NodeProto as it is being read. */
typedef struct raw_node {
    leat_string name, op, domain, overload;
    size_t n_inputs, n_outputs, n_attrs;
} raw_node;

static leat_status read_raw_node(lt_wire wire, raw_node *node, leat_error *err)
{
    memset(node, 0, sizeof(*node));
    node->name.data = node->op.data = node->domain.data = node->overload.data = "";
    leat_status status = LEAT_OK;
    lt_field field;
    while (lt_wire_more(&wire, &field, &status, err)) {
        switch (field.number) {
        case NODE_INPUT:
            node->n_inputs++;
            break;
        case NODE_OUTPUT:
            node->n_outputs++;
            break;
        case NODE_ATTRIBUTE:
            node->n_attrs++;
            break;
        case NODE_NAME:
            status = lt_read_string(&field, &wire, "a node's name", &node->name, err);
            break;
        case NODE_OP_TYPE:
            status = lt_read_string(&field, &wire, "op_type", &node->op, err);
            break;
        case NODE_DOMAIN:
            status = lt_read_string(&field, &wire, "a node's domain", &node->domain, err);
            break;
        case NODE_OVERLOAD:
            status = lt_read_string(&field, &wire, "overload", &node->overload, err);
            break;
        default:
            break;
        }
    }
    return status;
}

/* Input or output values of a node. */
static leat_status read_values(lt_reader *reader, lt_wire wire, uint32_t number, lt_scope *scope,
                               uint32_t *values, leat_error *err)
{
    leat_status status = LEAT_OK;
    lt_field field;
    while (lt_wire_find(&wire, number, &field, &status, err)) {
        leat_string name;
        status = lt_read_string(&field, &wire, "a value's name", &name, err);
        *values = LEAT_NO_VALUE;
        if (status == LEAT_OK && name.bytes != 0) {
            status = lt_scope_resolve(reader, scope, name, values, err);
        }
        values++;
    }
    return status;
}

/* Defines the outputs of all nodes, so that names can be looked up in any order. */
static leat_status define_outputs(lt_reader *reader, lt_wire wire, lt_scope *scope, leat_error *err)
{
    leat_status status = LEAT_OK;
    lt_field field;
    while (lt_wire_find(&wire, NODE_OUTPUT, &field, &status, err)) {
        leat_string name;
        uint32_t value;
        status = lt_read_string(&field, &wire, "a value's name", &name, err);
        /* The formal outputs of a function are there already: the call's own. */
        bool formal =
            scope->call != NULL && scope->outer == NULL &&
            lt_names_find(&scope->names, name.data, name.bytes, LEAT_NO_VALUE) != LEAT_NO_VALUE;
        if (status == LEAT_OK && name.bytes != 0 && !formal) {
            status = lt_scope_define(reader, scope, name, &value, err);
        }
    }
    return status;
}

static leat_status read_attrs(lt_reader *reader, lt_wire wire, lt_scope *scope, leat_attr *attrs,
                              size_t *out_count, leat_error *err)
{
    *out_count = 0;
    leat_status status = LEAT_OK;
    lt_field field;
    while (lt_wire_find(&wire, NODE_ATTRIBUTE, &field, &status, err)) {
        leat_attr *attr = &attrs[*out_count];
        status = lt_wire_expect(&field, &wire, LT_WIRE_BYTES, "an attribute", err);
        if (status == LEAT_OK) {
            status = lt_read_attribute(reader, field.bytes, scope, attr, err);
        }
        *out_count += status == LEAT_OK && attr->type != 0;
    }
    return status;
}

/* Constant nodes become constants: the value that they make gets the data. */
static leat_status make_constant(lt_reader *reader, lt_scope *scope, const leat_node *node,
                                 bool *out_done, leat_error *err)
{
    const leat_attr *attr = node->n_attrs == 1 ? &node->attrs[0] : NULL;
    leat_array array = {.rank = 0};
    const void *data = NULL;
    *out_done = false;
    if (attr == NULL || node->n_outputs != 1 || node->outputs[0] == LEAT_NO_VALUE) {
        return LEAT_OK;
    }
    switch (attr->type) {
    case LEAT_ATTR_TENSOR:
        array = *attr->u.tensor;
        data = array.data;
        break;
    case LEAT_ATTR_FLOAT:
        array.dtype = LEAT_DTYPE_F32;
        data = lt_arena_copy(reader->arena, &attr->u.f, sizeof(float));
        break;
    case LEAT_ATTR_INT:
        array.dtype = LEAT_DTYPE_I64;
        data = lt_arena_copy(reader->arena, &attr->u.i, sizeof(int64_t));
        break;
    case LEAT_ATTR_STRING:
        array.dtype = LEAT_DTYPE_STRING;
        data = lt_arena_copy(reader->arena, &attr->u.s, sizeof(leat_string));
        break;
    case LEAT_ATTR_FLOATS:
    case LEAT_ATTR_INTS:
    case LEAT_ATTR_STRINGS:
        array.dtype = attr->type == LEAT_ATTR_FLOATS ? LEAT_DTYPE_F32
                      : attr->type == LEAT_ATTR_INTS ? LEAT_DTYPE_I64
                                                     : LEAT_DTYPE_STRING;
        array.rank = 1;
        array.shape[0] = (int64_t)attr->count;
        data = attr->u.ints;
        break;
    default:
        return LEAT_OK;
    }
    if (data == NULL) {
        return lt_read_no_memory(err);
    }
    leat_value *value = &scope->graph->values[node->outputs[0]];
    value->dtype = array.dtype;
    value->rank = array.rank;
    memcpy(value->shape, array.shape, sizeof(value->shape));
    value->data = data;
    (void)lt_shape_bytes(array.dtype, array.rank, array.shape, &value->bytes);
    *out_done = true;
    return LEAT_OK;
}

static const lt_function *find_function(const lt_reader *reader, const raw_node *node)
{
    for (size_t i = 0; i < reader->n_functions; i++) {
        const lt_function *f = &reader->functions[i];
        if (f->name.bytes == node->op.bytes && f->domain.bytes == node->domain.bytes &&
            f->overload.bytes == node->overload.bytes &&
            memcmp(f->name.data, node->op.data, node->op.bytes) == 0 &&
            memcmp(f->domain.data, node->domain.data, node->domain.bytes) == 0 &&
            memcmp(f->overload.data, node->overload.data, node->overload.bytes) == 0) {
            return f;
        }
    }
    return NULL;
}

static int64_t scope_opset(const lt_scope *scope, const char *domain)
{
    for (size_t i = 0; i < scope->n_opsets; i++) {
        if (strcmp(scope->opsets[i].domain, domain) == 0) {
            return scope->opsets[i].version;
        }
    }
    return lt_graph_opset(scope->graph, domain);
}

/* What a node consists of, in the scratch arena. */
static leat_status read_parts(lt_reader *reader, lt_wire message, lt_scope *scope,
                              const raw_node *raw, lt_node_desc *desc, leat_error *err)
{
    lt_arena *scratch = &reader->scratch;
    bool main_domain = lt_read_is(raw->domain, "ai.onnx");
    uint32_t *inputs = lt_arena_array(scratch, raw->n_inputs, sizeof(*inputs));
    uint32_t *outputs = lt_arena_array(scratch, raw->n_outputs, sizeof(*outputs));
    leat_attr *attrs = lt_arena_array(scratch, raw->n_attrs, sizeof(*attrs));
    desc->op = lt_arena_string_n(scratch, raw->op.data, raw->op.bytes);
    desc->domain =
        lt_arena_string_n(scratch, raw->domain.data, main_domain ? 0 : raw->domain.bytes);
    desc->name = lt_arena_string_n(scratch, raw->name.data, raw->name.bytes);
    if (inputs == NULL || outputs == NULL || attrs == NULL || desc->op == NULL ||
        desc->domain == NULL || desc->name == NULL) {
        return lt_read_no_memory(err);
    }
    size_t n_attrs = 0;
    leat_status status = read_values(reader, message, NODE_INPUT, scope, inputs, err);
    if (status == LEAT_OK) {
        status = read_values(reader, message, NODE_OUTPUT, scope, outputs, err);
    }
    if (status == LEAT_OK) {
        status = read_attrs(reader, message, scope, attrs, &n_attrs, err);
    }
    desc->inputs = inputs;
    desc->n_inputs = (uint32_t)raw->n_inputs;
    desc->outputs = outputs;
    desc->n_outputs = (uint32_t)raw->n_outputs;
    desc->attrs = attrs;
    desc->n_attrs = (uint32_t)n_attrs;
    return status;
}

static leat_status read_node(lt_reader *reader, lt_wire message, lt_scope *scope, leat_error *err)
{
    raw_node raw;
    lt_node_desc desc = {.op = ""};
    leat_node *node;
    bool done = false;
    leat_status status = read_raw_node(message, &raw, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (++reader->n_nodes > LT_MAX_NODES) {
        return lt_fail(err, LEAT_LIMIT, "more than %u nodes", LT_MAX_NODES);
    }
    if (raw.op.bytes == 0) {
        return lt_fail(err, LEAT_CORRUPT, "byte %zu: a node without op_type",
                       lt_wire_offset(&message));
    }
    status = read_parts(reader, message, scope, &raw, &desc, err);
    const lt_function *function = find_function(reader, &raw);
    if (status == LEAT_OK && function != NULL) {
        leat_node call = {desc.op,       desc.domain,    desc.name,    0,
                          desc.n_inputs, desc.n_outputs, desc.n_attrs, desc.inputs,
                          desc.outputs,  desc.attrs};
        status = lt_inline_function(reader, function, &call, scope, err);
    } else if (status == LEAT_OK) {
        leat_node probe = {desc.op,       desc.domain,    desc.name,    0,
                           desc.n_inputs, desc.n_outputs, desc.n_attrs, desc.inputs,
                           desc.outputs,  desc.attrs};
        if (desc.domain[0] == '\0' && strcmp(desc.op, "Constant") == 0) {
            status = make_constant(reader, scope, &probe, &done, err);
        }
        if (status == LEAT_OK && !done) {
            status = lt_graph_add_node(scope->graph, &desc, UINT32_MAX, &node, err);
            if (status == LEAT_OK) {
                bool own = strcmp(desc.domain, "leat") == 0;
                node->opset = (int32_t)scope_opset(scope, own ? "" : desc.domain);
            }
        }
    }
    if (status != LEAT_OK) {
        return lt_fail_within(err, status, "node '%.*s' (%.*s)", SHORT(raw.name), SHORT(raw.op));
    }
    return LEAT_OK;
}

leat_status lt_read_nodes(lt_reader *reader, lt_wire message, uint32_t node_field, lt_scope *scope,
                          leat_error *err)
{
    leat_status status = LEAT_OK;
    for (int pass = 0; pass < 2; pass++) {
        lt_wire wire = message;
        lt_field field;
        while (lt_wire_find(&wire, node_field, &field, &status, err)) {
            status = lt_wire_expect(&field, &wire, LT_WIRE_BYTES, "a node", err);
            if (status == LEAT_OK) {
                status = pass == 0 ? define_outputs(reader, field.bytes, scope, err)
                                   : read_node(reader, field.bytes, scope, err);
            }
        }
    }
    return status;
}

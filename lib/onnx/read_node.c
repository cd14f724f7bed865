/* SPDX-License-Identifier: Apache-2.0 */
/* NodeProto and AttributeProto -> leat_node; local functions inlined. */
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

enum {
    ATTR_NAME = 1,
    ATTR_F = 2,
    ATTR_I = 3,
    ATTR_S = 4,
    ATTR_T = 5,
    ATTR_G = 6,
    ATTR_FLOATS = 7,
    ATTR_INTS = 8,
    ATTR_STRINGS = 9,
    ATTR_TENSORS = 10,
    ATTR_GRAPHS = 11,
    ATTR_TP = 14,
    ATTR_TYPE_PROTOS = 15,
    ATTR_TYPE = 20,
    ATTR_REF_NAME = 21,
    ATTR_SPARSE = 22,
    ATTR_SPARSES = 23
};

#define SHORT(s) (int)((s).bytes < 80 ? (s).bytes : 80), (s).data ? (s).data : ""

static bool text_is(leat_string s, const char *text)
{
    return s.bytes == strlen(text) && memcmp(s.data, text, s.bytes) == 0;
}

/* --- attributes ---------------------------------------------------------------------------------
 */

/* An AttributeProto as it is being read. */
typedef struct raw_attr {
    leat_string name, reference;
    uint64_t type; /* 0 in old files: then the field that is set decides */
    bool seen[24];
    float f;
    int64_t i;
    leat_string s;
    lt_wire t, g, tp;
    size_t n_floats, n_ints, n_strings;
} raw_attr;

/* Counts the numbers of a repeated field, packed or not. */
static leat_status count_numbers(const lt_field *field, uint32_t kind, size_t *count,
                                 leat_error *err)
{
    if (field->type != LT_WIRE_BYTES) {
        ++*count;
        return LEAT_OK;
    }
    if (kind == ATTR_FLOATS) {
        size_t bytes = lt_wire_left(&field->bytes);
        *count += bytes / 4;
        return bytes % 4 == 0
                   ? LEAT_OK
                   : lt_fail(err, LEAT_CORRUPT, "byte %zu: packed numbers of 4 bytes in %zu bytes",
                             lt_wire_offset(&field->bytes), bytes);
    }
    lt_wire packed = field->bytes;
    while (packed.at != packed.end) {
        uint64_t value;
        leat_status status = lt_wire_varint(&packed, &value, err);
        if (status != LEAT_OK) {
            return status;
        }
        ++*count;
    }
    return LEAT_OK;
}

static leat_status read_attr_field(const lt_field *field, const lt_wire *wire, raw_attr *attr,
                                   leat_error *err)
{
    uint32_t bits;
    if (field->number < 24) {
        attr->seen[field->number] = true;
    }
    switch (field->number) {
    case ATTR_NAME:
        return lt_read_string(field, wire, "an attribute's name", &attr->name, err);
    case ATTR_REF_NAME:
        return lt_read_string(field, wire, "ref_attr_name", &attr->reference, err);
    case ATTR_TYPE:
        attr->type = field->value;
        return lt_wire_expect(field, wire, LT_WIRE_VARINT, "an attribute's type", err);
    case ATTR_F:
        bits = (uint32_t)field->value;
        memcpy(&attr->f, &bits, sizeof(bits));
        return lt_wire_expect(field, wire, LT_WIRE_FIXED32, "a float attribute", err);
    case ATTR_I:
        attr->i = (int64_t)field->value;
        return lt_wire_expect(field, wire, LT_WIRE_VARINT, "an int attribute", err);
    case ATTR_S:
        attr->s = (leat_string){(const char *)field->bytes.at, lt_wire_left(&field->bytes)};
        return lt_wire_expect(field, wire, LT_WIRE_BYTES, "a string attribute", err);
    case ATTR_T:
        attr->t = field->bytes;
        return lt_wire_expect(field, wire, LT_WIRE_BYTES, "a tensor attribute", err);
    case ATTR_G:
        attr->g = field->bytes;
        return lt_wire_expect(field, wire, LT_WIRE_BYTES, "a graph attribute", err);
    case ATTR_TP:
        attr->tp = field->bytes;
        return lt_wire_expect(field, wire, LT_WIRE_BYTES, "a type attribute", err);
    case ATTR_FLOATS:
        return count_numbers(field, ATTR_FLOATS, &attr->n_floats, err);
    case ATTR_INTS:
        return count_numbers(field, ATTR_INTS, &attr->n_ints, err);
    case ATTR_STRINGS:
        attr->n_strings++;
        return lt_wire_expect(field, wire, LT_WIRE_BYTES, "a string attribute", err);
    default:
        return LEAT_OK;
    }
}

/* The type that the fields imply, for files that do not write it. */
static uint64_t implied_type(const raw_attr *attr)
{
    static const struct {
        uint32_t field;
        leat_attr_type type;
    } rules[] = {{ATTR_FLOATS, LEAT_ATTR_FLOATS},   {ATTR_INTS, LEAT_ATTR_INTS},
                 {ATTR_STRINGS, LEAT_ATTR_STRINGS}, {ATTR_T, LEAT_ATTR_TENSOR},
                 {ATTR_G, LEAT_ATTR_GRAPH},         {ATTR_S, LEAT_ATTR_STRING},
                 {ATTR_TP, LEAT_ATTR_TYPE},         {ATTR_I, LEAT_ATTR_INT},
                 {ATTR_F, LEAT_ATTR_FLOAT}};
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        if (attr->seen[rules[i].field]) {
            return rules[i].type;
        }
    }
    return 0;
}

/* The numbers or strings of a list attribute. */
static leat_status read_list(lt_reader *reader, lt_wire wire, leat_attr *attr, leat_error *err)
{
    size_t element = attr->type == LEAT_ATTR_FLOATS ? 4 : attr->type == LEAT_ATTR_INTS ? 8 : 16;
    uint32_t number = attr->type == LEAT_ATTR_FLOATS ? ATTR_FLOATS
                      : attr->type == LEAT_ATTR_INTS ? ATTR_INTS
                                                     : ATTR_STRINGS;
    char *list = lt_arena_array(reader->arena, attr->count + 1, element);
    size_t at = 0;
    if (list == NULL) {
        return lt_read_no_memory(err);
    }
    attr->u.ints = (const int64_t *)(void *)list;
    for (;;) {
        lt_field field;
        bool more;
        leat_status status = lt_wire_next(&wire, &field, &more, err);
        if (status != LEAT_OK || !more) {
            return status;
        }
        if (field.number != number) {
            continue;
        }
        if (attr->type == LEAT_ATTR_STRINGS) {
            leat_string s = {(const char *)field.bytes.at, lt_wire_left(&field.bytes)};
            memcpy(list + at++ * element, &s, sizeof(s));
        } else if (field.type != LT_WIRE_BYTES) {
            memcpy(list + at++ * element, &field.value, element);
        } else {
            lt_wire packed = field.bytes;
            while (lt_wire_left(&packed) >= (element == 4 ? 4u : 1u) && at < attr->count) {
                uint64_t value = 0;
                if (element == 4) {
                    memcpy(&value, packed.at, 4);
                    packed.at += 4;
                } else {
                    status = lt_wire_varint(&packed, &value, err);
                    if (status != LEAT_OK) {
                        return status;
                    }
                }
                memcpy(list + at++ * element, &value, element);
            }
        }
    }
}

static leat_status read_subgraph(lt_reader *reader, lt_wire wire, lt_scope *scope, leat_attr *attr,
                                 leat_error *err)
{
    lt_graph *graph;
    if (reader->subgraph_depth == LT_MAX_SUBGRAPH_DEPTH) {
        return lt_fail(err, LEAT_LIMIT, "byte %zu: graphs are nested more than %d deep",
                       lt_wire_offset(&wire), LT_MAX_SUBGRAPH_DEPTH);
    }
    leat_status status = lt_graph_create(NULL, scope->graph, &graph, err);
    if (status == LEAT_OK) {
        reader->subgraph_depth++;
        status = lt_read_graph(reader, wire, graph, scope, err);
        reader->subgraph_depth--;
        attr->u.graph = graph;
    }
    return status;
}

/* Stands in for an attribute of a function's body that refers to one of the call; count 0 and type
 * 0 when the call does not have it either. */
static void resolve_reference(const lt_scope *scope, const raw_attr *raw, leat_attr *attr)
{
    const char *name = attr->name;
    char wanted[256];
    size_t bytes = raw->reference.bytes < sizeof(wanted) ? raw->reference.bytes : 0;
    memcpy(wanted, raw->reference.data, bytes);
    wanted[bytes] = '\0';
    const leat_attr *given = scope->call ? leat_node_attr(scope->call, wanted) : NULL;
    for (size_t i = 0; given == NULL && i < scope->n_defaults; i++) {
        given = strcmp(scope->defaults[i].name, wanted) == 0 ? &scope->defaults[i] : NULL;
    }
    memset(attr, 0, sizeof(*attr));
    if (given != NULL) {
        *attr = *given;
    }
    attr->name = name;
}

static leat_status read_attr_value(lt_reader *reader, lt_wire wire, lt_scope *scope,
                                   const raw_attr *raw, leat_attr *attr, leat_error *err)
{
    leat_string name;
    leat_array *array;
    attr->count = 1;
    switch (attr->type) {
    case LEAT_ATTR_FLOAT:
        attr->u.f = raw->f;
        return LEAT_OK;
    case LEAT_ATTR_INT:
        attr->u.i = raw->i;
        return LEAT_OK;
    case LEAT_ATTR_STRING:
        attr->u.s = raw->s.data ? raw->s : (leat_string){"", 0};
        return LEAT_OK;
    case LEAT_ATTR_TENSOR:
        array = lt_arena_alloc(reader->arena, sizeof(*array), 16);
        attr->u.tensor = array;
        return array ? lt_read_tensor(reader, raw->t, array, &name, err) : lt_read_no_memory(err);
    case LEAT_ATTR_TYPE:
        attr->u.s = (leat_string){(const char *)raw->tp.at, lt_wire_left(&raw->tp)};
        return LEAT_OK;
    case LEAT_ATTR_GRAPH:
        return read_subgraph(reader, raw->g, scope, attr, err);
    case LEAT_ATTR_FLOATS:
        attr->count = raw->n_floats;
        return read_list(reader, wire, attr, err);
    case LEAT_ATTR_INTS:
        attr->count = raw->n_ints;
        return read_list(reader, wire, attr, err);
    case LEAT_ATTR_STRINGS:
        attr->count = raw->n_strings;
        return read_list(reader, wire, attr, err);
    default:
        return lt_fail(err, LEAT_UNSUPPORTED,
                       "attribute '%s' is of kind %llu, which is not "
                       "supported",
                       attr->name, (unsigned long long)raw->type);
    }
}

/* Reads an AttributeProto; type 0 in the result means that it is to be left out. */
static leat_status read_attr(lt_reader *reader, lt_wire message, lt_scope *scope, leat_attr *attr,
                             leat_error *err)
{
    raw_attr raw = {.type = 0};
    lt_wire wire = message;
    memset(attr, 0, sizeof(*attr));
    for (;;) {
        lt_field field;
        bool more;
        leat_status status = lt_wire_next(&wire, &field, &more, err);
        if (status == LEAT_OK && more) {
            status = read_attr_field(&field, &wire, &raw, err);
        }
        if (status != LEAT_OK) {
            return status;
        }
        if (!more) {
            break;
        }
    }
    attr->name =
        lt_arena_string_n(reader->arena, raw.name.data ? raw.name.data : "", raw.name.bytes);
    if (attr->name == NULL) {
        return lt_read_no_memory(err);
    }
    if (raw.reference.bytes != 0) {
        resolve_reference(scope, &raw, attr);
        return LEAT_OK;
    }
    uint64_t type = raw.type ? raw.type : implied_type(&raw);
    if ((type == LEAT_ATTR_TENSOR && !raw.seen[ATTR_T]) ||
        (type == LEAT_ATTR_GRAPH && !raw.seen[ATTR_G]) ||
        (type == LEAT_ATTR_TYPE && !raw.seen[ATTR_TP])) {
        return lt_fail(err, LEAT_CORRUPT, "attribute '%s' has no value", attr->name);
    }
    attr->type = (leat_attr_type)(type < 100 ? type : 100);
    raw.type = type;
    return read_attr_value(reader, message, scope, &raw, attr, err);
}

/* --- nodes --------------------------------------------------------------------------------------
 */

/* A NodeProto as it is being read. */
typedef struct raw_node {
    leat_string name, op, domain, overload;
    size_t n_inputs, n_outputs, n_attrs;
} raw_node;

static leat_status read_raw_node(lt_wire wire, raw_node *node, leat_error *err)
{
    memset(node, 0, sizeof(*node));
    node->name.data = node->op.data = node->domain.data = node->overload.data = "";
    for (;;) {
        lt_field field;
        bool more;
        leat_status status = lt_wire_next(&wire, &field, &more, err);
        if (status != LEAT_OK || !more) {
            return status;
        }
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
        if (status != LEAT_OK) {
            return status;
        }
    }
}

/* Input or output values of a node. */
static leat_status read_values(lt_reader *reader, lt_wire wire, uint32_t number, lt_scope *scope,
                               uint32_t *values, leat_error *err)
{
    for (;;) {
        lt_field field;
        leat_string name;
        bool more;
        leat_status status = lt_wire_next(&wire, &field, &more, err);
        if (status != LEAT_OK || !more) {
            return status;
        }
        if (field.number != number) {
            continue;
        }
        status = lt_read_string(&field, &wire, "a value's name", &name, err);
        *values = LEAT_NO_VALUE;
        if (status == LEAT_OK && name.bytes != 0) {
            status = lt_scope_resolve(reader, scope, name, values, err);
        }
        if (status != LEAT_OK) {
            return status;
        }
        values++;
    }
}

/* Defines the outputs of all nodes, so that names can be looked up in any order. */
static leat_status define_outputs(lt_reader *reader, lt_wire wire, lt_scope *scope, leat_error *err)
{
    for (;;) {
        lt_field field;
        leat_string name;
        bool more;
        uint32_t value;
        leat_status status = lt_wire_next(&wire, &field, &more, err);
        if (status != LEAT_OK || !more) {
            return status;
        }
        if (field.number != NODE_OUTPUT) {
            continue;
        }
        status = lt_read_string(&field, &wire, "a value's name", &name, err);
        /* The formal outputs of a function are there already: the call's own. */
        bool formal =
            scope->call != NULL && scope->outer == NULL &&
            lt_names_find(&scope->names, name.data, name.bytes, LEAT_NO_VALUE) != LEAT_NO_VALUE;
        if (status == LEAT_OK && name.bytes != 0 && !formal) {
            status = lt_scope_define(reader, scope, name, &value, err);
        }
        if (status != LEAT_OK) {
            return status;
        }
    }
}

static leat_status read_attrs(lt_reader *reader, lt_wire wire, lt_scope *scope, leat_attr *attrs,
                              size_t *out_count, leat_error *err)
{
    *out_count = 0;
    for (;;) {
        lt_field field;
        bool more;
        leat_status status = lt_wire_next(&wire, &field, &more, err);
        if (status != LEAT_OK || !more) {
            return status;
        }
        if (field.number != NODE_ATTRIBUTE) {
            continue;
        }
        leat_attr *attr = &attrs[*out_count];
        status = lt_wire_expect(&field, &wire, LT_WIRE_BYTES, "an attribute", err);
        if (status == LEAT_OK) {
            status = read_attr(reader, field.bytes, scope, attr, err);
        }
        if (status != LEAT_OK) {
            return status;
        }
        *out_count += attr->type != 0;
    }
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
    bool main_domain = text_is(raw->domain, "ai.onnx");
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
    for (int pass = 0; pass < 2; pass++) {
        lt_wire wire = message;
        for (;;) {
            lt_field field;
            bool more;
            leat_status status = lt_wire_next(&wire, &field, &more, err);
            if (status == LEAT_OK && more && field.number == node_field) {
                status = lt_wire_expect(&field, &wire, LT_WIRE_BYTES, "a node", err);
                if (status == LEAT_OK) {
                    status = pass == 0 ? define_outputs(reader, field.bytes, scope, err)
                                       : read_node(reader, field.bytes, scope, err);
                }
            }
            if (status != LEAT_OK) {
                return status;
            }
            if (!more) {
                break;
            }
        }
    }
    return LEAT_OK;
}

/* --- functions ----------------------------------------------------------------------------------
 */

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
    for (uint32_t i = 0;;) {
        lt_field field;
        leat_string name;
        bool more;
        uint32_t value;
        leat_status status = lt_wire_next(&wire, &field, &more, err);
        if (status != LEAT_OK || !more) {
            return status;
        }
        if (field.number != number) {
            continue;
        }
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
        if (status != LEAT_OK) {
            return status;
        }
    }
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
    for (size_t at = 0; status == LEAT_OK;) {
        lt_field field;
        bool more;
        status = lt_wire_next(&message, &field, &more, err);
        if (status != LEAT_OK || !more) {
            break;
        }
        if (field.number == FUNCTION_ATTRIBUTE_PROTO && field.type == LT_WIRE_BYTES) {
            status = read_attr(reader, field.bytes, &none, &attrs[at++], err);
            inner->n_defaults = at;
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

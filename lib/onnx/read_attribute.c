/* SPDX-License-Identifier: Apache-2.0 */
/* AttributeProto -> leat_attr. */
#include "onnx/reader_internal.h"

#include <string.h>

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
    leat_status status = LEAT_OK;
    lt_field field;
    while (lt_wire_find(&wire, number, &field, &status, err)) {
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
    return status;
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

leat_status lt_read_attribute(lt_reader *reader, lt_wire message, lt_scope *scope, leat_attr *attr,
                              leat_error *err)
{
    raw_attr raw = {.type = 0};
    lt_wire wire = message;
    memset(attr, 0, sizeof(*attr));
    leat_status status = LEAT_OK;
    lt_field field;
    while (lt_wire_more(&wire, &field, &status, err)) {
        status = read_attr_field(&field, &wire, &raw, err);
    }
    if (status != LEAT_OK) {
        return status;
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

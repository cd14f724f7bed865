/* SPDX-License-Identifier: Apache-2.0 */
/* TypeProto and ValueInfoProto -> the type of a leat_value. */
#include "base/tensor.h"
#include "onnx/reader_internal.h"

#include <string.h>

/* Fields of TypeProto. */
enum {
    TYPE_TENSOR = 1,
    TYPE_SEQUENCE = 4,
    TYPE_MAP = 5,
    TYPE_DENOTATION = 6,
    TYPE_SPARSE_TENSOR = 8,
    TYPE_OPTIONAL = 9
};

static leat_status read_dim(lt_graph *graph, lt_wire wire, int64_t *out_dim, leat_error *err)
{
    leat_string symbol = {NULL, 0};
    char name[256];
    *out_dim = -1;
    leat_status status = LEAT_OK;
    lt_field field;
    while (lt_wire_more(&wire, &field, &status, err)) {
        if (field.number == 2) {
            status = lt_read_string(&field, &wire, "dim_param", &symbol, err);
        }
        /* Exporters write -1 and the like for "not known". */
        if (field.number == 1 && field.type == LT_WIRE_VARINT && field.value <= INT64_MAX) {
            *out_dim = (int64_t)field.value;
        }
    }
    if (status != LEAT_OK || *out_dim >= 0) {
        return status;
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
    leat_status status = LEAT_OK;
    lt_field field;
    while (lt_wire_find(&wire, 1, &field, &status, err)) {
        if (type->rank == LEAT_MAX_RANK) {
            return lt_fail(err, LEAT_UNSUPPORTED, "byte %zu: a tensor of more than %d dimensions",
                           lt_wire_offset(&wire), LEAT_MAX_RANK);
        }
        status = lt_wire_expect(&field, &wire, LT_WIRE_BYTES, "a dimension", err);
        if (status == LEAT_OK) {
            status = read_dim(graph, field.bytes, &type->shape[type->rank++], err);
        }
    }
    return status;
}

/* TypeProto.Tensor. */
static leat_status read_tensor_type(lt_graph *graph, lt_wire wire, leat_value *type,
                                    leat_error *err)
{
    leat_status status = LEAT_OK;
    lt_field field;
    while (lt_wire_more(&wire, &field, &status, err)) {
        if (field.number == 1 && field.type == LT_WIRE_VARINT) {
            type->dtype =
                field.value < LEAT_DTYPE_COUNT ? (leat_dtype)field.value : LEAT_DTYPE_UNDEFINED;
        } else if (field.number == 2) {
            status = lt_wire_expect(&field, &wire, LT_WIRE_BYTES, "a shape", err);
            if (status == LEAT_OK) {
                status = read_shape(graph, field.bytes, type, err);
            }
        }
    }
    return status;
}

/* The field of a TypeProto that holds the type, and what is in it. */
static leat_status peek_kind(lt_wire wire, uint32_t *out_kind, lt_wire *out_inner, leat_error *err)
{
    leat_status status = LEAT_OK;
    lt_field field;
    while (lt_wire_more(&wire, &field, &status, err)) {
        if (field.number != TYPE_DENOTATION && field.type == LT_WIRE_BYTES) {
            *out_kind = field.number;
            *out_inner = field.bytes;
        }
    }
    return status;
}

/* The element type that a TypeProto.Tensor says; UNDEFINED when it says none. */
static leat_status tensor_dtype(lt_wire wire, leat_dtype *out_dtype, leat_error *err)
{
    *out_dtype = LEAT_DTYPE_UNDEFINED;
    leat_status status = LEAT_OK;
    lt_field field;
    while (lt_wire_more(&wire, &field, &status, err)) {
        if (field.number == 1 && field.type == LT_WIRE_VARINT && field.value < LEAT_DTYPE_COUNT) {
            *out_dtype = (leat_dtype)field.value;
        }
    }
    return status;
}

/* The kind of the elements of a TypeProto.Sequence or TypeProto.Optional; 0 when it has none. */
static leat_status element_kind(lt_wire wire, uint32_t *out_kind, lt_wire *out_inner,
                                leat_error *err)
{
    *out_kind = 0;
    leat_status status = LEAT_OK;
    lt_field field;
    while (lt_wire_find(&wire, 1, &field, &status, err)) {
        if (field.type == LT_WIRE_BYTES) {
            status = peek_kind(field.bytes, out_kind, out_inner, err);
        }
    }
    return status;
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
    leat_status status = LEAT_OK;
    lt_field field;
    while (lt_wire_more(&wire, &field, &status, err)) {
        if (field.number == 2 && field.type == LT_WIRE_BYTES) {
            status = peek_kind(field.bytes, &inner, &of_value, err);
        } else if (field.number == 1 && field.type == LT_WIRE_VARINT &&
                   field.value < LEAT_DTYPE_COUNT) {
            key = (leat_dtype)field.value;
        }
    }
    if (status != LEAT_OK) {
        return status;
    }
    if (inner != TYPE_TENSOR || (key != LEAT_DTYPE_STRING && key != LEAT_DTYPE_I64)) {
        *out_kind = 0;
        return LEAT_OK;
    }
    status = tensor_dtype(of_value, &value, err);
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
    leat_status status = LEAT_OK;
    lt_field field;
    while (lt_wire_more(&wire, &field, &status, err)) {
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
    }
    return status;
}

bool lt_type_is_supported(uint32_t kind)
{
    return kind == TYPE_TENSOR || kind == TYPE_MAP || kind == TYPE_SEQUENCE ||
           kind == TYPE_OPTIONAL;
}

const char *lt_type_name(uint32_t kind)
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

leat_status lt_read_value_info(lt_graph *graph, lt_wire wire, leat_string *name, leat_value *type,
                               uint32_t *out_kind, leat_error *err)
{
    memset(type, 0, sizeof(*type));
    type->rank = -1;
    *name = (leat_string){"", 0};
    *out_kind = 0;
    leat_status status = LEAT_OK;
    lt_field field;
    while (lt_wire_more(&wire, &field, &status, err)) {
        if (field.number == 1) {
            status = lt_read_string(&field, &wire, "a value's name", name, err);
        } else if (field.number == 2) {
            status = lt_wire_expect(&field, &wire, LT_WIRE_BYTES, "a type", err);
            if (status == LEAT_OK) {
                status = read_type(graph, field.bytes, type, out_kind, err);
            }
        }
    }
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "support/onnx_builder.h"

#include <stdio.h>
#include <stdlib.h>

/* Bytes of one protobuf message under construction. */
typedef struct message {
    unsigned char *data;
    size_t bytes;
    size_t capacity;
} message;

struct onnx_builder {
    int64_t opset;
    message graph;
    message imports; /* opset_import of further domains */
    message model;
};

static void put(message *m, const void *data, size_t bytes)
{
    if (m->bytes + bytes > m->capacity) {
        m->capacity = (m->bytes + bytes) * 2 + 64;
        m->data = realloc(m->data, m->capacity);
        if (m->data == NULL) {
            abort();
        }
    }
    if (bytes != 0) {
        memcpy(m->data + m->bytes, data, bytes);
    }
    m->bytes += bytes;
}

static void put_varint(message *m, uint64_t value)
{
    do {
        unsigned char byte = (unsigned char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        put(m, &byte, 1);
        value >>= 7;
    } while (value != 0);
}

/* Field of wire type 0. */
static void put_int(message *m, uint32_t field, int64_t value)
{
    put_varint(m, field << 3);
    put_varint(m, (uint64_t)value);
}

/* Field of wire type 2. */
static void put_bytes(message *m, uint32_t field, const void *data, size_t bytes)
{
    put_varint(m, field << 3 | 2);
    put_varint(m, bytes);
    put(m, data, bytes);
}

static void put_text(message *m, uint32_t field, const char *text)
{
    put_bytes(m, field, text, strlen(text));
}

static void put_float(message *m, uint32_t field, float value)
{
    put_varint(m, field << 3 | 5);
    put(m, &value, sizeof(value));
}

/* Moves a finished message into a field of another. */
static void put_message(message *m, uint32_t field, message *inner)
{
    put_bytes(m, field, inner->data, inner->bytes);
    free(inner->data);
    memset(inner, 0, sizeof(*inner));
}

onnx_builder *onnx_builder_create(int64_t opset)
{
    onnx_builder *builder = calloc(1, sizeof(*builder));
    if (builder == NULL) {
        abort();
    }
    builder->opset = opset;
    return builder;
}

void onnx_builder_destroy(onnx_builder *builder)
{
    if (builder != NULL) {
        free(builder->graph.data);
        free(builder->imports.data);
        free(builder->model.data);
        free(builder);
    }
}

/* Next part of a text up to `separator`; NULL at the end. */
static const char *next_part(const char *text, char separator, char *part, size_t capacity)
{
    const char *end = strchr(text, separator);
    size_t length = end ? (size_t)(end - text) : strlen(text);
    if (length >= capacity) {
        abort();
    }
    memcpy(part, text, length);
    part[length] = '\0';
    return end ? end + 1 : NULL;
}

static int32_t parse_shape(const char *text, int64_t *shape)
{
    int32_t rank = 0;
    char part[32];
    while (text != NULL && text[0] != '\0') {
        text = next_part(text, 'x', part, sizeof(part));
        shape[rank++] = strtoll(part, NULL, 10);
    }
    return rank;
}

/* TensorShapeProto */
static message shape_message(const char *text)
{
    message shape = {0};
    char part[32];
    while (text != NULL && text[0] != '\0') {
        message dim = {0};
        text = next_part(text, 'x', part, sizeof(part));
        if (part[0] >= '0' && part[0] <= '9') {
            put_int(&dim, 1, strtoll(part, NULL, 10));
        } else {
            put_text(&dim, 2, part);
        }
        put_message(&shape, 1, &dim);
    }
    return shape;
}

/* ValueInfoProto */
static void put_value_info(onnx_builder *builder, uint32_t field, const char *name,
                           leat_dtype dtype, const char *shape)
{
    message tensor = {0}, type = {0}, info = {0};
    put_int(&tensor, 1, dtype);
    if (shape != NULL) {
        message dims = shape_message(shape);
        put_message(&tensor, 2, &dims);
    }
    put_message(&type, 1, &tensor);
    put_text(&info, 1, name);
    put_message(&info, 2, &type);
    put_message(&builder->graph, field, &info);
}

void onnx_builder_input(onnx_builder *builder, const char *name, leat_dtype dtype,
                        const char *shape)
{
    put_value_info(builder, 11, name, dtype, shape);
}

void onnx_builder_output(onnx_builder *builder, const char *name, leat_dtype dtype,
                         const char *shape)
{
    put_value_info(builder, 12, name, dtype, shape);
}

void onnx_builder_container(onnx_builder *builder, bool is_output, const char *name,
                            leat_dtype container, leat_dtype element)
{
    message tensor = {0}, element_type = {0}, inner = {0}, type = {0}, info = {0};
    put_int(&tensor, 1, element);
    put_message(&element_type, 1, &tensor);
    put_message(&inner, 1, &element_type);
    put_message(&type, container == LEAT_DTYPE_SEQUENCE ? 4 : 9, &inner);
    put_text(&info, 1, name);
    put_message(&info, 2, &type);
    put_message(&builder->graph, is_output ? 12 : 11, &info);
}

void onnx_builder_map(onnx_builder *builder, bool is_output, const char *name, leat_dtype key,
                      leat_dtype value)
{
    message tensor = {0}, value_type = {0}, inner = {0}, type = {0}, info = {0};
    put_int(&tensor, 1, value);
    put_message(&value_type, 1, &tensor);
    put_int(&inner, 1, key);
    put_message(&inner, 2, &value_type);
    put_message(&type, 5, &inner);
    put_text(&info, 1, name);
    put_message(&info, 2, &type);
    put_message(&builder->graph, is_output ? 12 : 11, &info);
}

/* TensorProto */
static message tensor_message(const char *name, const leat_array *array)
{
    message tensor = {0};
    size_t count = 1;
    for (int32_t d = 0; d < array->rank; d++) {
        put_int(&tensor, 1, array->shape[d]);
        count *= (size_t)array->shape[d];
    }
    put_int(&tensor, 2, array->dtype);
    put_text(&tensor, 8, name);
    put_bytes(&tensor, 9, array->data, leat_dtype_bytes(array->dtype, count));
    return tensor;
}

void onnx_builder_constant(onnx_builder *builder, const char *name, const leat_array *array)
{
    message tensor = tensor_message(name, array);
    put_message(&builder->graph, 5, &tensor);
}

void onnx_builder_floats(onnx_builder *builder, const char *name, const char *shape,
                         const float *data)
{
    leat_array array = {.dtype = LEAT_DTYPE_F32, .data = (void *)data};
    array.rank = parse_shape(shape, array.shape);
    onnx_builder_constant(builder, name, &array);
}

void onnx_builder_ints(onnx_builder *builder, const char *name, const char *shape,
                       const int64_t *data)
{
    leat_array array = {.dtype = LEAT_DTYPE_I64, .data = (void *)data};
    array.rank = parse_shape(shape, array.shape);
    onnx_builder_constant(builder, name, &array);
}

/* AttributeProto */
static message attr_message(const leat_attr *attr)
{
    message m = {0};
    put_text(&m, 1, attr->name);
    switch (attr->type) {
    case LEAT_ATTR_FLOAT:
        put_float(&m, 2, attr->u.f);
        break;
    case LEAT_ATTR_INT:
        put_int(&m, 3, attr->u.i);
        break;
    case LEAT_ATTR_STRING:
        put_bytes(&m, 4, attr->u.s.data, attr->u.s.bytes);
        break;
    case LEAT_ATTR_TENSOR: {
        message tensor = tensor_message("", attr->u.tensor);
        put_message(&m, 5, &tensor);
        break;
    }
    case LEAT_ATTR_FLOATS:
        for (size_t i = 0; i < attr->count; i++) {
            put_float(&m, 7, attr->u.floats[i]);
        }
        break;
    case LEAT_ATTR_INTS:
        for (size_t i = 0; i < attr->count; i++) {
            put_int(&m, 8, attr->u.ints[i]);
        }
        break;
    case LEAT_ATTR_STRINGS:
        for (size_t i = 0; i < attr->count; i++) {
            put_bytes(&m, 9, attr->u.strings[i].data, attr->u.strings[i].bytes);
        }
        break;
    case LEAT_ATTR_TYPE:
        put_bytes(&m, 14, attr->u.s.data, attr->u.s.bytes);
        break;
    case LEAT_ATTR_GRAPH: {
        const onnx_builder *body = attr->u.graph;
        message graph = {0};
        put(&graph, body->graph.data, body->graph.bytes);
        put_text(&graph, 2, attr->name);
        put_message(&m, 6, &graph);
        break;
    }
    }
    put_int(&m, 20, attr->type);
    return m;
}

static void put_names(message *m, uint32_t field, const char *names)
{
    char part[64];
    while (names != NULL && names[0] != '\0') {
        names = next_part(names, ',', part, sizeof(part));
        put_text(m, field, part);
    }
}

void onnx_builder_node(onnx_builder *builder, const char *op, const char *inputs,
                       const char *outputs, const leat_attr *attrs, size_t n_attrs)
{
    message node = {0};
    char name[64];
    put_names(&node, 1, inputs);
    put_names(&node, 2, outputs);
    next_part(outputs, ',', name, sizeof(name));
    put_text(&node, 3, name);
    const char *dot = strrchr(op, '.');
    put_text(&node, 4, dot ? dot + 1 : op);
    for (size_t i = 0; i < n_attrs; i++) {
        message attr = attr_message(&attrs[i]);
        put_message(&node, 5, &attr);
    }
    if (dot != NULL) {
        snprintf(name, sizeof(name), "%.*s", (int)(dot - op), op);
        put_text(&node, 7, name);
    }
    put_message(&builder->graph, 1, &node);
}

static leat_dtype dtype_named(const char *name)
{
    int dtype = LEAT_DTYPE_F32;
    while (dtype < LEAT_DTYPE_OPTIONAL && strcmp(leat_dtype_name((leat_dtype)dtype), name) != 0) {
        dtype++;
    }
    return (leat_dtype)dtype;
}

/* One part of onnx_builder_text, without spaces. */
static void add_statement(onnx_builder *builder, char *text)
{
    const bool is_output = strncmp(text, "->", 2) == 0;
    char *name = is_output ? text + 2 : text;
    char *colon = strchr(name, ':'), *equals = strchr(name, '='), *open = strchr(name, '(');
    if (equals != NULL && open != NULL) {
        *equals = *open = text[strlen(text) - 1] = '\0';
        onnx_builder_node(builder, equals + 1, open + 1, name, NULL, 0);
        return;
    }
    if (colon == NULL) {
        abort();
    }
    char *shape = strchr(colon, '[');
    if (shape != NULL) {
        *shape++ = text[strlen(text) - 1] = '\0';
    }
    *colon = '\0';
    (is_output ? onnx_builder_output : onnx_builder_input)(builder, name, dtype_named(colon + 1),
                                                           shape);
}

void onnx_builder_text(onnx_builder *builder, const char *text)
{
    char statement[256];
    size_t n = 0;
    for (const char *p = text;; p++) {
        if (*p != '\0' && *p != ';') {
            statement[n] = *p;
            n += *p != ' ';
        } else if (n > 0) {
            statement[n] = '\0';
            add_statement(builder, statement);
            n = 0;
        }
        if (*p == '\0') {
            return;
        }
        if (n + 1 == sizeof(statement)) {
            abort();
        }
    }
}

void onnx_builder_import(onnx_builder *builder, const char *domain, int64_t version)
{
    message opset = {0};
    put_text(&opset, 1, domain);
    put_int(&opset, 2, version);
    put_message(&builder->imports, 8, &opset);
}

const void *onnx_builder_finish(onnx_builder *builder, size_t *out_bytes)
{
    message *model = &builder->model;
    message opset = {0};
    if (model->bytes != 0) { /* asked again */
        *out_bytes = model->bytes;
        return model->data;
    }
    put_text(&builder->graph, 2, "graph");
    put_int(model, 1, 8); /* ir_version */
    put_text(model, 2, "leat tests");
    put_message(model, 7, &builder->graph);
    put_text(&opset, 1, "");
    put_int(&opset, 2, builder->opset);
    put_message(model, 8, &opset);
    put(model, builder->imports.data, builder->imports.bytes);
    *out_bytes = model->bytes;
    return model->data;
}

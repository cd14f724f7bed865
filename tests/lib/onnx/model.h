/* SPDX-License-Identifier: Apache-2.0 */
/* ONNX messages byte by byte, malformed ones among them, and reading them. For what is well formed
 * support/onnx_builder.h is shorter. */
#ifndef TESTS_LIB_ONNX_MODEL_H
#define TESTS_LIB_ONNX_MODEL_H

#include "support/test.h"

#include "onnx/reader.h"

#include <stdlib.h>
#include <string.h>

/* A message under construction; all zero is an empty one. */
typedef struct pb {
    size_t bytes;
    uint8_t data[8192];
} pb;

static inline void pb_raw(pb *m, const void *data, size_t bytes)
{
    assert_true(bytes <= sizeof(m->data) - m->bytes);
    if (bytes != 0) {
        memcpy(m->data + m->bytes, data, bytes);
    }
    m->bytes += bytes;
}

static inline void pb_varint(pb *m, uint64_t value)
{
    do {
        uint8_t byte = (uint8_t)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        pb_raw(m, &byte, 1);
        value >>= 7;
    } while (value != 0);
}

static inline void pb_int(pb *m, uint32_t field, int64_t value)
{
    pb_varint(m, (uint64_t)field << 3);
    pb_varint(m, (uint64_t)value);
}

static inline void pb_float(pb *m, uint32_t field, float value)
{
    pb_varint(m, (uint64_t)field << 3 | 5);
    pb_raw(m, &value, sizeof(value));
}

static inline void pb_bytes(pb *m, uint32_t field, const void *data, size_t bytes)
{
    pb_varint(m, (uint64_t)field << 3 | 2);
    pb_varint(m, bytes);
    pb_raw(m, data, bytes);
}

static inline void pb_text(pb *m, uint32_t field, const char *text)
{
    pb_bytes(m, field, text, strlen(text));
}

static inline void pb_message(pb *m, uint32_t field, pb inner)
{
    pb_bytes(m, field, inner.data, inner.bytes);
}

/* A TensorProto without data; dims are "2x3", "" for a scalar, and may be negative. */
static inline pb pb_tensor(const char *name, int64_t dtype, const char *dims)
{
    pb m = {0};
    for (const char *at = dims; at != NULL && *at != '\0';) {
        pb_int(&m, 1, strtoll(at, NULL, 10));
        at = strchr(at, 'x');
        at = at ? at + 1 : NULL;
    }
    pb_int(&m, 2, dtype);
    pb_text(&m, 8, name);
    return m;
}

/* A ValueInfoProto of a tensor; dims as above. */
static inline pb pb_value(const char *name, int64_t dtype, const char *dims)
{
    pb m = {0}, type = {0}, tensor = {0}, shape = {0};
    for (const char *at = dims; at != NULL && *at != '\0';) {
        pb dim = {0};
        pb_int(&dim, 1, strtoll(at, NULL, 10));
        pb_message(&shape, 1, dim);
        at = strchr(at, 'x');
        at = at ? at + 1 : NULL;
    }
    pb_int(&tensor, 1, dtype);
    pb_message(&tensor, 2, shape);
    pb_message(&type, 1, tensor);
    pb_text(&m, 1, name);
    pb_message(&m, 2, type);
    return m;
}

/* Names are separated by commas. */
static inline void pb_names(pb *m, uint32_t field, const char *names)
{
    while (names != NULL && *names != '\0') {
        const char *end = strchr(names, ',');
        pb_bytes(m, field, names, end ? (size_t)(end - names) : strlen(names));
        names = end ? end + 1 : NULL;
    }
}

/* A NodeProto without name or attributes. */
static inline pb pb_node(const char *op, const char *inputs, const char *outputs)
{
    pb m = {0};
    pb_names(&m, 1, inputs);
    pb_names(&m, 2, outputs);
    pb_text(&m, 4, op);
    return m;
}

/* A GraphProto with the input x and the output y, both f32[2]; nothing makes y yet. */
static inline pb pb_graph(void)
{
    pb m = {0};
    pb_message(&m, 11, pb_value("x", LEAT_DTYPE_F32, "2"));
    pb_message(&m, 12, pb_value("y", LEAT_DTYPE_F32, "2"));
    return m;
}

static inline pb pb_opset(const char *domain, int64_t version)
{
    pb m = {0};
    pb_text(&m, 1, domain);
    pb_int(&m, 2, version);
    return m;
}

/* A ModelProto of that graph: IR version 10, opset 22. */
static inline pb pb_model(const pb *graph)
{
    pb m = {0};
    pb_int(&m, 1, 10);
    pb_message(&m, 8, pb_opset("", 22));
    pb_message(&m, 7, *graph);
    return m;
}

/* --- reading ------------------------------------------------------------------------------------
 */

typedef struct reading {
    lt_memory memory;
    lt_onnx_source source; /* files, directory and callback may be set before */
    lt_graph *graph;
    leat_error err;
    uint8_t *data; /* as large as the model, so that the sanitizer sees reads behind it */
} reading;

/* Memory of 1 MB: nothing in these tests needs more. */
static inline leat_status reading_try(reading *r, const void *data, size_t bytes)
{
    lt_memory_init(&r->memory, NULL, 1 << 20);
    r->data = malloc(bytes ? bytes : 1);
    assert_non_null(r->data);
    if (bytes != 0) {
        memcpy(r->data, data, bytes);
    }
    r->source.data = r->data;
    r->source.bytes = bytes;
    return lt_onnx_read(&r->memory, &r->source, &r->graph, &r->err);
}

static inline void reading_free(reading *r)
{
    lt_graph_destroy(r->graph);
    assert_int_equal(r->memory.live_blocks, 0);
    free(r->data);
}

static inline void read_bytes_refused(reading *r, const void *data, size_t bytes,
                                      leat_status expected, const char *text)
{
    leat_status status = reading_try(r, data, bytes);
    if (status != expected || strstr(r->err.message, text) == NULL) {
        fail_msg("%s \"%s\" instead of %s \"%s\"", leat_status_text(status), r->err.message,
                 leat_status_text(expected), text);
    }
    assert_null(r->graph);
    reading_free(r);
}

/* Fails the test unless the model is refused with that status and a message that says `text`. */
static inline void assert_model_refused(const pb *model, leat_status expected, const char *text)
{
    reading r = {0};
    read_bytes_refused(&r, model->data, model->bytes, expected, text);
}

static inline void assert_graph_refused(const pb *graph, leat_status expected, const char *text)
{
    pb model = pb_model(graph);
    assert_model_refused(&model, expected, text);
}

static inline void read_model(reading *r, const pb *model)
{
    memset(r, 0, sizeof(*r));
    assert_ok(reading_try(r, model->data, model->bytes), &r->err);
}

static inline void read_graph(reading *r, const pb *graph)
{
    pb model = pb_model(graph);
    read_model(r, &model);
}

/* The value of that name. */
static inline const leat_value *read_value(const reading *r, const char *name)
{
    uint32_t i = lt_graph_find_value(r->graph, name);
    if (i == LEAT_NO_VALUE) {
        fail_msg("no value '%s'", name);
    }
    return &r->graph->values[i];
}

#endif

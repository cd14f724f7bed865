/* SPDX-License-Identifier: Apache-2.0 */
/* ModelProto -> lt_graph. */
#include "onnx/reader_internal.h"

#include <string.h>

enum {
    MODEL_IR_VERSION = 1,
    MODEL_PRODUCER = 2,
    MODEL_PRODUCER_VERSION = 3,
    MODEL_DOMAIN = 4,
    MODEL_VERSION = 5,
    MODEL_DOC_STRING = 6,
    MODEL_GRAPH = 7,
    MODEL_OPSET = 8,
    MODEL_METADATA = 14,
    MODEL_FUNCTION = 25
};

#define MIN_IR_VERSION 3
#define MAX_IR_VERSION 20

leat_status lt_read_kept(lt_reader *reader, lt_wire message, uint32_t numbers, lt_kept *out,
                         leat_error *err)
{
    for (int round = 0; round < 2; round++) { /* counts, then fills */
        leat_string *fields = NULL;
        lt_wire wire = message;
        if (round == 1) {
            fields = lt_arena_array(reader->arena, out->n_fields, sizeof(*fields));
            if (fields == NULL) {
                return lt_read_no_memory(err);
            }
            out->fields = fields;
        }
        out->n_fields = 0;
        for (bool more = true; more;) {
            lt_field field;
            const char *start = (const char *)wire.at;
            leat_status status = lt_wire_next(&wire, &field, &more, err);
            if (status != LEAT_OK) {
                return status;
            }
            if (!more || field.number >= 32 || !(numbers >> field.number & 1)) {
                continue;
            }
            if (fields != NULL) {
                fields[out->n_fields] =
                    (leat_string){start, (size_t)((const char *)wire.at - start)};
            }
            out->n_fields++;
        }
    }
    return LEAT_OK;
}

static leat_status read_opset(lt_reader *reader, lt_wire wire, lt_opset *opset, leat_error *err)
{
    opset->domain = "";
    opset->version = 0;
    leat_status status = LEAT_OK;
    lt_field field;
    while (lt_wire_more(&wire, &field, &status, err)) {
        leat_string domain;
        if (field.number == 1) {
            status = lt_read_string(&field, &wire, "a domain", &domain, err);
            if (status == LEAT_OK &&
                !(domain.bytes == 7 && memcmp(domain.data, "ai.onnx", 7) == 0)) {
                opset->domain = lt_arena_string_n(reader->arena, domain.data, domain.bytes);
                status = opset->domain ? LEAT_OK : lt_read_no_memory(err);
            }
        } else if (field.number == 2 && field.type == LT_WIRE_VARINT) {
            opset->version = (int64_t)field.value;
        }
    }
    return status;
}

leat_status lt_read_opsets(lt_reader *reader, lt_wire message, uint32_t number, lt_opset **out,
                           size_t *out_count, leat_error *err)
{
    leat_status status = lt_count_fields(message, number, out_count, err);
    *out = lt_arena_array(reader->arena, *out_count, sizeof(**out));
    if (status == LEAT_OK && *out == NULL) {
        status = lt_read_no_memory(err);
    }
    lt_field field;
    for (size_t i = 0; lt_wire_find(&message, number, &field, &status, err); i++) {
        status = lt_wire_expect(&field, &message, LT_WIRE_BYTES, "an opset import", err);
        if (status == LEAT_OK) {
            status = read_opset(reader, field.bytes, &(*out)[i], err);
        }
    }
    return status;
}

static leat_status read_function(lt_reader *reader, const lt_field *field, leat_error *err)
{
    lt_function *f = &reader->functions[reader->n_functions++];
    lt_wire wire = field->bytes;
    f->name = f->domain = f->overload = (leat_string){"", 0};
    f->body = wire;
    leat_status status = LEAT_OK;
    lt_field part;
    while (lt_wire_more(&wire, &part, &status, err)) {
        leat_string *to = part.number == 1    ? &f->name
                          : part.number == 10 ? &f->domain
                          : part.number == 13 ? &f->overload
                                              : NULL;
        status = to ? lt_read_string(&part, &wire, "a function's name", to, err) : LEAT_OK;
    }
    return status;
}

/* Everything but the graph. */
static leat_status read_preamble(lt_reader *reader, lt_wire wire, lt_wire *out_graph,
                                 leat_error *err)
{
    lt_graph *root = reader->root;
    size_t n_functions;
    leat_status status = lt_count_fields(wire, MODEL_FUNCTION, &n_functions, err);
    reader->functions = lt_arena_array(&reader->scratch, n_functions, sizeof(lt_function));
    if (status == LEAT_OK && reader->functions == NULL) {
        status = lt_read_no_memory(err);
    }
    if (status == LEAT_OK) {
        status = lt_read_opsets(reader, wire, MODEL_OPSET, &root->opsets, &root->n_opsets, err);
    }
    if (status == LEAT_OK) {
        const uint32_t kept = 1u << MODEL_PRODUCER_VERSION | 1u << MODEL_DOMAIN |
                              1u << MODEL_VERSION | 1u << MODEL_DOC_STRING | 1u << MODEL_METADATA;
        status = lt_read_kept(reader, wire, kept, &root->kept_model, err);
    }
    lt_field field;
    while (lt_wire_more(&wire, &field, &status, err)) {
        leat_string text;
        if (field.number == MODEL_IR_VERSION && field.type == LT_WIRE_VARINT) {
            root->ir_version = (int64_t)field.value;
        } else if (field.number == MODEL_PRODUCER) {
            status = lt_read_string(&field, &wire, "producer_name", &text, err);
            root->producer =
                status == LEAT_OK ? lt_arena_string_n(reader->arena, text.data, text.bytes) : "";
            status = root->producer == NULL ? lt_read_no_memory(err) : status;
        } else if (field.number == MODEL_GRAPH || field.number == MODEL_FUNCTION) {
            status = lt_wire_expect(&field, &wire, LT_WIRE_BYTES, "a graph or function", err);
            if (status == LEAT_OK && field.number == MODEL_GRAPH) {
                *out_graph = field.bytes;
            } else if (status == LEAT_OK) {
                status = read_function(reader, &field, err);
            }
        }
    }
    return status;
}

static leat_status check_versions(const lt_graph *root, leat_error *err)
{
    if (root->ir_version < MIN_IR_VERSION || root->ir_version > MAX_IR_VERSION) {
        return lt_fail(err, root->ir_version == 0 ? LEAT_CORRUPT : LEAT_UNSUPPORTED,
                       "IR version %lld; %d to %d are read. Is this an ONNX model?",
                       (long long)root->ir_version, MIN_IR_VERSION, MAX_IR_VERSION);
    }
    for (size_t i = 0; i < root->n_opsets; i++) {
        const lt_opset *opset = &root->opsets[i];
        if (opset->domain[0] != '\0') {
            continue;
        }
        if (opset->version < LT_MIN_OPSET || opset->version > LT_MAX_OPSET) {
            return lt_fail(err, LEAT_UNSUPPORTED,
                           "opset %lld of ai.onnx; %d to %d are read: convert the model with "
                           "onnx.version_converter",
                           (long long)opset->version, LT_MIN_OPSET, LT_MAX_OPSET);
        }
    }
    return LEAT_OK;
}

leat_status lt_onnx_read(lt_memory *memory, const lt_onnx_source *source, lt_graph **out_graph,
                         leat_error *err)
{
    lt_graph *graph = NULL; /* ours until handed over below */
    lt_wire wire = {source->data, source->data, source->data};
    lt_wire message = {NULL, NULL, NULL};
    lt_reader reader = {.source = source};
    *out_graph = NULL;
    if (source->bytes == 0) {
        return lt_fail(err, LEAT_CORRUPT, "the file is empty; an ONNX model is expected");
    }
    wire.end += source->bytes;
    lt_arena_init(&reader.scratch, memory, 0);
    leat_status status = lt_graph_create(memory, NULL, &graph, err);
    if (status == LEAT_OK) {
        reader.root = graph;
        reader.arena = lt_graph_arena(graph);
        status = read_preamble(&reader, wire, &message, err);
        if (status == LEAT_CORRUPT) {
            status = lt_fail_within(err, status, "this is no ONNX model, or a damaged one");
        }
    }
    if (status == LEAT_OK) {
        status = check_versions(graph, err);
    }
    if (status == LEAT_OK && message.file == NULL) {
        status = lt_fail(err, LEAT_CORRUPT, "the model has no graph");
    }
    if (status == LEAT_OK) {
        status = lt_read_graph(&reader, message, graph, NULL, err);
    }
    if (status == LEAT_OK) {
        *out_graph = graph;
        graph = NULL;
    }
    lt_graph_destroy(graph);
    lt_arena_destroy(&reader.scratch);
    return status;
}

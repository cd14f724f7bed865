/* SPDX-License-Identifier: Apache-2.0 */
/* lt_graph -> ModelProto. Messages are written by functions that run twice: once into a sink that
 * only counts, for the length in front, and once into the file. */
#include "base/error.h"
#include "base/tensor.h"
#include "onnx/writer_internal.h"

#include <stdio.h>
#include <string.h>

/* Where constants begin in the external file, so that they can be mapped: a page. */
#define EXTERNAL_ALIGNMENT 4096u
/* From which on models have functions. */
#define FUNCTION_IR_VERSION 8

typedef lt_write_sink sink;

/* By words, not bytes: a hash must not be slower than the disk. */
static uint64_t hash_words(uint64_t hash, const void *data, size_t bytes)
{
    const char *from = data;
    while (bytes != 0) {
        uint64_t word = 0;
        size_t n = bytes < sizeof(word) ? bytes : sizeof(word);
        memcpy(&word, from, n);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
        from += n;
        bytes -= n;
    }
    return hash;
}

static void put(sink *s, const void *data, size_t bytes)
{
    s->bytes += bytes;
    if (s->hash != NULL) {
        *s->hash = hash_words(*s->hash, data, bytes);
    }
    if (s->file != NULL && s->status == LEAT_OK) {
        s->status = lt_file_writer_write(s->file, data, bytes, s->err);
    }
}

static void put_varint(sink *s, uint64_t value)
{
    uint8_t bytes[10];
    size_t n = 0;
    do {
        bytes[n++] = (uint8_t)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        value >>= 7;
    } while (value != 0);
    put(s, bytes, n);
}

static void put_kept(sink *s, const lt_kept *kept)
{
    for (size_t i = 0; i < kept->n_fields; i++) {
        put(s, kept->fields[i].data, kept->fields[i].bytes);
    }
}

static void put_tag(sink *s, uint32_t field, uint32_t type)
{
    put_varint(s, (uint64_t)field << 3 | type);
}

static void put_int(sink *s, uint32_t field, int64_t value)
{
    put_tag(s, field, 0);
    put_varint(s, (uint64_t)value);
}

static void put_bytes(sink *s, uint32_t field, const void *data, size_t bytes)
{
    put_tag(s, field, 2);
    put_varint(s, bytes);
    put(s, data, bytes);
}

static void put_string(sink *s, uint32_t field, const char *text)
{
    put_bytes(s, field, text, strlen(text));
}

typedef void (*message_fn)(sink *s, const void *argument);

/* A nested message: counted first, then written. What the count learns of the external file is
 * forgotten, so that both runs agree. */
static void put_message(sink *s, uint32_t field, message_fn fn, const void *argument)
{
    sink count = *s;
    count.file = NULL;
    count.bytes = 0;
    fn(&count, argument);
    put_tag(s, field, 2);
    put_varint(s, count.bytes);
    fn(s, argument);
}

/* --- types and tensors --------------------------------------------------------------------------
 */

typedef struct value_info {
    const lt_graph *graph;
    const leat_value *value;
    int32_t dim;
} value_info;

static void dim_message(sink *s, const void *argument)
{
    const value_info *info = argument;
    int64_t dim = info->value->shape[info->dim];
    const char *name = lt_graph_symbol_name(info->graph, dim);
    if (dim >= 0) {
        put_int(s, 1, dim);
    } else if (name != NULL) {
        put_string(s, 2, name);
    }
}

static void shape_message(sink *s, const void *argument)
{
    value_info info = *(const value_info *)argument;
    for (info.dim = 0; info.dim < info.value->rank; info.dim++) {
        put_message(s, 1, dim_message, &info);
    }
}

static void tensor_type_message(sink *s, const void *argument)
{
    const value_info *info = argument;
    put_int(s, 1, info->value->dtype);
    if (info->value->rank >= 0) {
        put_message(s, 2, shape_message, info);
    }
}

static void type_message(sink *s, const void *argument)
{
    put_message(s, 1, tensor_type_message, argument);
}

static void value_message(sink *s, const void *argument)
{
    const value_info *info = argument;
    put_string(s, 1, info->value->name);
    put_message(s, 2, type_message, info);
}

typedef struct tensor {
    const char *name; /* NULL: none */
    leat_dtype dtype;
    int32_t rank;
    const int64_t *shape;
    const void *data;
    size_t bytes;
    bool may_be_outside;
} tensor;

typedef struct entry {
    const char *key;
    const char *text;
} entry;

static void entry_message(sink *s, const void *argument)
{
    const entry *e = argument;
    put_string(s, 1, e->key);
    put_string(s, 2, e->text);
}

static void put_entry(sink *s, const char *key, uint64_t number, const char *text)
{
    char digits[24];
    entry e = {key, text};
    if (text == NULL) {
        size_t at = sizeof(digits) - 1;
        digits[at] = '\0';
        do {
            digits[--at] = (char)('0' + number % 10);
            number /= 10;
        } while (number != 0);
        e.text = digits + at;
    }
    put_message(s, 13, entry_message, &e);
}

static bool is_outside(const sink *s, const tensor *t)
{
    return t->may_be_outside && s->threshold != 0 && t->bytes >= s->threshold &&
           t->dtype != LEAT_DTYPE_STRING;
}

static uint64_t aligned(uint64_t offset)
{
    return (offset + EXTERNAL_ALIGNMENT - 1) / EXTERNAL_ALIGNMENT * EXTERNAL_ALIGNMENT;
}

static void tensor_message(sink *s, const void *argument)
{
    const tensor *t = argument;
    for (int32_t i = 0; i < t->rank; i++) {
        put_int(s, 1, t->shape[i]);
    }
    put_int(s, 2, t->dtype);
    if (t->name != NULL) {
        put_string(s, 8, t->name);
    }
    if (t->dtype == LEAT_DTYPE_STRING) {
        const leat_string *strings = t->data;
        for (size_t i = 0; i < t->bytes / sizeof(*strings); i++) {
            put_bytes(s, 6, strings[i].data, strings[i].bytes);
        }
    } else if (is_outside(s, t)) {
        put_int(s, 14, 1);
        put_entry(s, "location", 0, s->location);
        put_entry(s, "offset", aligned(s->external), NULL);
        put_entry(s, "length", t->bytes, NULL);
        s->external = aligned(s->external) + t->bytes;
    } else {
        put_bytes(s, 9, t->data, t->bytes);
    }
}

static tensor tensor_of(const leat_value *value)
{
    tensor t = {value->name, value->dtype, value->rank, value->shape,
                value->data, value->bytes, true};
    return t;
}

/* --- nodes --------------------------------------------------------------------------------------
 */

static void graph_message(sink *s, const void *argument);

static void attr_message(sink *s, const void *argument)
{
    const leat_attr *attr = argument;
    put_string(s, 1, attr->name);
    switch (attr->type) {
    case LEAT_ATTR_FLOAT:
        put_tag(s, 2, 5);
        put(s, &attr->u.f, sizeof(attr->u.f));
        break;
    case LEAT_ATTR_INT:
        put_int(s, 3, attr->u.i);
        break;
    case LEAT_ATTR_STRING:
        put_bytes(s, 4, attr->u.s.data, attr->u.s.bytes);
        break;
    case LEAT_ATTR_TENSOR: {
        const leat_array *a = attr->u.tensor;
        tensor t = {NULL, a->dtype, a->rank, a->shape, a->data, a->bytes, false};
        put_message(s, 5, tensor_message, &t);
        break;
    }
    case LEAT_ATTR_GRAPH:
        put_message(s, 6, graph_message, attr->u.graph);
        break;
    case LEAT_ATTR_TYPE:
        put_bytes(s, 14, attr->u.s.data, attr->u.s.bytes);
        break;
    case LEAT_ATTR_FLOATS:
        for (size_t i = 0; i < attr->count; i++) {
            put_tag(s, 7, 5);
            put(s, &attr->u.floats[i], sizeof(float));
        }
        break;
    case LEAT_ATTR_INTS:
        for (size_t i = 0; i < attr->count; i++) {
            put_int(s, 8, attr->u.ints[i]);
        }
        break;
    case LEAT_ATTR_STRINGS:
        for (size_t i = 0; i < attr->count; i++) {
            put_bytes(s, 9, attr->u.strings[i].data, attr->u.strings[i].bytes);
        }
        break;
    }
    put_int(s, 20, attr->type);
}

typedef struct node_argument {
    const lt_graph *graph;
    const leat_node *node;
} node_argument;

static const char *value_name(const lt_graph *graph, uint32_t value)
{
    return value == LEAT_NO_VALUE ? "" : graph->values[value].name;
}

/* Numbers are given in the order of nodes, bodies where their node is; the count before a message
 * is forgotten, so both of its runs give the same. */
static void function_name(sink *s, const leat_node *node, char *name, size_t capacity)
{
    snprintf(name, capacity, "%.80s_%d_%u", node->op, node->opset, s->n_functions++);
}

static void put_operator(sink *s, const leat_node *node)
{
    put_string(s, 4, node->op);
    for (uint32_t i = 0; i < node->n_attrs; i++) {
        put_message(s, 5, attr_message, &node->attrs[i]);
    }
    if (node->domain[0] != '\0') {
        put_string(s, 7, node->domain);
    }
}

static void node_message(sink *s, const void *argument)
{
    const node_argument *a = argument;
    const leat_node *node = a->node;
    for (uint32_t i = 0; i < node->n_inputs; i++) {
        put_string(s, 1, value_name(a->graph, node->inputs[i]));
    }
    for (uint32_t i = 0; i < node->n_outputs; i++) {
        put_string(s, 2, value_name(a->graph, node->outputs[i]));
    }
    put_string(s, 3, node->name);
    if (lt_write_as_function(s->opsets, node)) {
        char name[112];
        function_name(s, node, name, sizeof(name));
        put_string(s, 4, name);
        put_string(s, 7, LT_FUNCTION_DOMAIN);
    } else {
        put_operator(s, node);
    }
}

/* --- functions ----------------------------------------------------------------------------------
 */

static void put_formals(sink *s, uint32_t field, const char *prefix, const uint32_t *values,
                        uint32_t count, bool omit)
{
    for (uint32_t i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%s%u", prefix, i);
        put_string(s, field, omit && values[i] == LEAT_NO_VALUE ? "" : name);
    }
}

/* The one node of a function: omitted values are omitted here, too. */
static void inner_node_message(sink *s, const void *argument)
{
    const leat_node *node = argument;
    put_formals(s, 1, "in", node->inputs, node->n_inputs, true);
    put_formals(s, 2, "out", node->outputs, node->n_outputs, true);
    put_operator(s, node);
}

static void opset_message(sink *s, const void *argument)
{
    const lt_opset *opset = argument;
    put_string(s, 1, opset->domain);
    put_int(s, 2, opset->version);
}

static void function_message(sink *s, const void *argument)
{
    const leat_node *node = argument;
    const lt_opset opset = {node->domain, node->opset};
    char name[112];
    function_name(s, node, name, sizeof(name));
    put_string(s, 1, name);
    put_formals(s, 4, "in", node->inputs, node->n_inputs, false);
    put_formals(s, 5, "out", node->outputs, node->n_outputs, false);
    put_message(s, 7, inner_node_message, node);
    put_message(s, 9, opset_message, &opset);
    put_string(s, 10, LT_FUNCTION_DOMAIN);
}

/* In the order of node_message. */
static void put_functions(sink *s, const lt_graph *graph)
{
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        const leat_node *node = graph->nodes[i];
        if (lt_write_as_function(s->opsets, node)) {
            put_message(s, 25, function_message, node);
            continue;
        }
        for (uint32_t a = 0; a < node->n_attrs; a++) {
            if (node->attrs[a].type == LEAT_ATTR_GRAPH) {
                put_functions(s, node->attrs[a].u.graph);
            }
        }
    }
}

static bool has_functions(const lt_written_opsets *opsets)
{
    for (size_t i = 0; i < opsets->count; i++) {
        if (strcmp(opsets->opsets[i].domain, LT_FUNCTION_DOMAIN) == 0) {
            return true;
        }
    }
    return false;
}

/* --- graph and model ----------------------------------------------------------------------------
 */

/* Which values something in this graph, or in a body inside of it, names; but not those that it
 * captures, which are written where they are made. */
static void mark_used(const lt_graph *graph, bool *used)
{
    for (uint32_t i = 0; i < graph->n_outputs; i++) {
        used[graph->outputs[i]] = true;
    }
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        const leat_node *node = graph->nodes[i];
        for (uint32_t j = 0; j < node->n_inputs; j++) {
            if (node->inputs[j] != LEAT_NO_VALUE) {
                used[node->inputs[j]] = true;
            }
        }
        for (uint32_t j = 0; j < node->n_attrs; j++) {
            if (node->attrs[j].type == LEAT_ATTR_GRAPH) {
                const lt_graph *body = node->attrs[j].u.graph;
                for (uint32_t c = 0; c < body->n_captures; c++) {
                    used[body->captures[c].outer] = true;
                }
            }
        }
    }
    for (uint32_t c = 0; c < graph->n_captures; c++) {
        used[graph->captures[c].inner] = false;
    }
}

/* Calls fn for every constant that is used. */
static leat_status each_constant(const lt_graph *graph, sink *s, leat_error *err,
                                 void (*fn)(sink *s, const tensor *t))
{
    lt_arena scratch;
    lt_arena_init(&scratch, graph->root->arena.memory, 0);
    bool *used = lt_arena_array(&scratch, (size_t)graph->n_values + 1, sizeof(*used));
    if (used == NULL) {
        lt_arena_destroy(&scratch);
        return lt_fail(err, LEAT_NO_MEMORY, "cannot write the model: out of memory");
    }
    mark_used(graph, used);
    for (uint32_t i = 0; i < graph->n_values; i++) {
        if (used[i] && graph->values[i].data != NULL) {
            tensor t = tensor_of(&graph->values[i]);
            t.may_be_outside = graph->parent == NULL;
            fn(s, &t);
        }
    }
    lt_arena_destroy(&scratch);
    return LEAT_OK;
}

static void put_initializer(sink *s, const tensor *t)
{
    put_message(s, 5, tensor_message, t);
}

static void graph_message(sink *s, const void *argument)
{
    const lt_graph *graph = argument;
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        node_argument a = {graph, graph->nodes[i]};
        put_message(s, 1, node_message, &a);
    }
    put_string(s, 2, graph->name[0] != '\0' ? graph->name : "graph");
    put_kept(s, &graph->kept);
    leat_status status = each_constant(graph, s, s->err, put_initializer);
    s->status = s->status == LEAT_OK ? status : s->status;
    for (uint32_t i = 0; i < graph->n_inputs; i++) {
        value_info info = {graph, &graph->values[graph->inputs[i]], 0};
        put_message(s, 11, value_message, &info);
    }
    for (uint32_t i = 0; i < graph->n_outputs; i++) {
        value_info info = {graph, &graph->values[graph->outputs[i]], 0};
        put_message(s, 12, value_message, &info);
    }
}

void lt_write_model(lt_write_sink *s, const lt_graph *graph)
{
    bool known = graph->producer[0] != '\0';
    bool functions = has_functions(s->opsets);
    int64_t ir = graph->ir_version > 0 ? graph->ir_version : FUNCTION_IR_VERSION;
    put_int(s, 1, functions && ir < FUNCTION_IR_VERSION ? FUNCTION_IR_VERSION : ir);
    put_string(s, 2, known ? graph->producer : "leat");
    put_kept(s, &graph->kept_model);
    put_message(s, 7, graph_message, graph);
    for (size_t i = 0; i < s->opsets->count; i++) {
        put_message(s, 8, opset_message, &s->opsets->opsets[i]);
    }
    s->n_functions = 0;
    if (functions) {
        put_functions(s, graph);
    }
}

/* Writes one constant of the external file. */
static void put_external(sink *s, const tensor *t)
{
    static const char zeros[EXTERNAL_ALIGNMENT];
    if (!is_outside(s, t)) {
        return;
    }
    put(s, zeros, (size_t)(aligned(s->bytes) - s->bytes));
    put(s, t->data, t->bytes);
}

void lt_write_external(lt_write_sink *s, const lt_graph *graph)
{
    leat_status status = each_constant(graph, s, s->err, put_external);
    s->status = s->status == LEAT_OK ? status : s->status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A graph as text. */
#include "graph/internal.h"

#include <stdarg.h>
#include <stdio.h>

typedef struct writer {
    char *text;
    size_t capacity;
    size_t length;
    int indent;
} writer;

static void put(writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(writer *w, const char *format, ...)
{
    size_t left = w->length < w->capacity ? w->capacity - w->length : 0;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(left ? w->text + w->length : NULL, left, format, args);
    va_end(args);
    w->length += n > 0 ? (size_t)n : 0;
}

static void put_value(writer *w, const lt_graph *graph, uint32_t value)
{
    put(w, "%s", value == LEAT_NO_VALUE ? "" : graph->values[value].name);
}

static void put_type(writer *w, const lt_graph *graph, const leat_value *value)
{
    put(w, "%s", leat_dtype_name(value->dtype));
    if (value->rank < 0) {
        put(w, "?");
        return;
    }
    put(w, "[");
    for (int32_t i = 0; i < value->rank; i++) {
        const char *name = lt_graph_symbol_name(graph, value->shape[i]);
        put(w, "%s", i ? "," : "");
        if (value->shape[i] >= 0) {
            put(w, "%lld", (long long)value->shape[i]);
        } else {
            put(w, "%s", name ? name : "?");
        }
    }
    put(w, "]");
}

static void put_graph(writer *w, const lt_graph *graph);

static void put_attr(writer *w, const leat_attr *attr)
{
    put(w, "%s=", attr->name);
    switch (attr->type) {
    case LEAT_ATTR_FLOAT:
        put(w, "%g", (double)attr->u.f);
        break;
    case LEAT_ATTR_INT:
        put(w, "%lld", (long long)attr->u.i);
        break;
    case LEAT_ATTR_STRING:
        put(w, "\"%.*s\"", (int)attr->u.s.bytes, attr->u.s.data);
        break;
    case LEAT_ATTR_FLOATS:
        for (size_t i = 0; i < attr->count; i++) {
            put(w, "%s%g", i ? "," : "[", (double)attr->u.floats[i]);
        }
        put(w, "%s", attr->count ? "]" : "[]");
        break;
    case LEAT_ATTR_INTS:
        for (size_t i = 0; i < attr->count; i++) {
            put(w, "%s%lld", i ? "," : "[", (long long)attr->u.ints[i]);
        }
        put(w, "%s", attr->count ? "]" : "[]");
        break;
    case LEAT_ATTR_STRINGS:
        for (size_t i = 0; i < attr->count; i++) {
            put(w, "%s\"%.*s\"", i ? "," : "[", (int)attr->u.strings[i].bytes,
                attr->u.strings[i].data);
        }
        put(w, "%s", attr->count ? "]" : "[]");
        break;
    case LEAT_ATTR_TENSOR:
        put(w, "tensor");
        break;
    case LEAT_ATTR_TYPE:
        put(w, "type");
        break;
    case LEAT_ATTR_GRAPH:
        put(w, "{\n");
        w->indent++;
        put_graph(w, lt_attr_graph(attr));
        w->indent--;
        put(w, "%*s}", 2 * w->indent, "");
        break;
    }
}

static void put_node(writer *w, const lt_graph *graph, const leat_node *node)
{
    put(w, "%*s", 2 * w->indent, "");
    for (uint32_t i = 0; i < node->n_outputs; i++) {
        put(w, "%s", i ? ", " : "");
        put_value(w, graph, node->outputs[i]);
    }
    put(w, " = %s%s%s(", node->domain, node->domain[0] ? "." : "", node->op);
    for (uint32_t i = 0; i < node->n_inputs; i++) {
        put(w, "%s", i ? ", " : "");
        put_value(w, graph, node->inputs[i]);
    }
    put(w, ")");
    for (uint32_t i = 0; i < node->n_attrs; i++) {
        put(w, "%s", i ? ", " : " {");
        put_attr(w, &node->attrs[i]);
    }
    put(w, "%s :", node->n_attrs ? "}" : "");
    for (uint32_t i = 0; i < node->n_outputs; i++) {
        if (node->outputs[i] != LEAT_NO_VALUE) {
            put(w, " ");
            put_type(w, graph, &graph->values[node->outputs[i]]);
        }
    }
    put(w, "\n");
}

static void put_graph(writer *w, const lt_graph *graph)
{
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        put_node(w, graph, graph->nodes[i]);
    }
}

size_t lt_graph_text(const lt_graph *graph, char *text, size_t capacity)
{
    writer w = {text, capacity, 0, 0};
    if (capacity != 0) {
        text[0] = '\0';
    }
    put_graph(&w, graph);
    return w.length;
}

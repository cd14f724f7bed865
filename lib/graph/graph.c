/* SPDX-License-Identifier: Apache-2.0 */
/* Creating graphs, values and nodes. */
#include "graph/graph.h"

#include "base/error.h"
#include "base/tensor.h"
#include "graph/internal.h"

#include <stdio.h>

static leat_status no_memory(leat_error *err)
{
    return lt_fail(err, LEAT_NO_MEMORY, "graph: out of memory");
}

lt_arena *lt_graph_arena(lt_graph *graph)
{
    return &graph->root->arena;
}

leat_status lt_graph_create(lt_memory *memory, lt_graph *parent, lt_graph **out_graph,
                            leat_error *err)
{
    lt_graph *graph = parent ? lt_arena_alloc(lt_graph_arena(parent), sizeof(*graph), 16)
                             : lt_alloc_zeroed(memory, sizeof(*graph), 16);
    *out_graph = graph;
    if (graph == NULL) {
        return no_memory(err);
    }
    graph->parent = parent;
    graph->root = parent ? parent->root : graph;
    graph->name = "";
    graph->producer = "";
    if (parent == NULL) {
        lt_arena_init(&graph->arena, memory, 0);
    }
    return LEAT_OK;
}

void lt_graph_destroy(lt_graph *graph)
{
    if (graph != NULL && graph->parent == NULL) {
        lt_memory *memory = graph->arena.memory;
        lt_arena_destroy(&graph->arena);
        lt_free(memory, graph, sizeof(*graph));
    }
}

bool lt_graph_grow(lt_graph *graph, void *array, uint32_t *capacity, uint32_t count,
                   size_t element_bytes)
{
    void **items = array;
    if (count < *capacity) {
        return true;
    }
    if (*capacity > UINT32_MAX / 4) {
        return false;
    }
    uint32_t wanted = *capacity ? *capacity * 2 : 16;
    void *larger = lt_arena_array(lt_graph_arena(graph), wanted, element_bytes);
    if (larger == NULL) {
        return false;
    }
    if (count != 0) {
        memcpy(larger, *items, count * element_bytes);
    }
    *items = larger;
    *capacity = wanted;
    return true;
}

/* A name that no value of this graph or of one around it has: a model that leat wrote holds such
 * names already. */
static void make_name(const lt_graph *graph, char *name, size_t capacity)
{
    snprintf(name, capacity, "_leat_%u", graph->n_values);
    const lt_graph *other = graph;
    for (uint32_t i = 1; other != NULL; i++) {
        for (other = graph; other != NULL; other = other->parent) {
            if (lt_graph_find_value(other, name) != LEAT_NO_VALUE) {
                snprintf(name, capacity, "_leat_%u_%u", graph->n_values, i);
                break;
            }
        }
    }
}

leat_status lt_graph_add_value(lt_graph *graph, const char *name, uint32_t *out_value,
                               leat_error *err)
{
    char unique[40];
    *out_value = LEAT_NO_VALUE;
    if (!lt_graph_grow(graph, &graph->values, &graph->values_capacity, graph->n_values,
                       sizeof(*graph->values))) {
        return no_memory(err);
    }
    if (name == NULL) {
        make_name(graph, unique, sizeof(unique));
        name = unique;
    }
    const char *copy = lt_arena_string(lt_graph_arena(graph), name);
    if (copy == NULL) {
        return no_memory(err);
    }
    leat_value *value = &graph->values[graph->n_values];
    memset(value, 0, sizeof(*value));
    value->name = copy;
    value->rank = -1;
    *out_value = graph->n_values++;
    return LEAT_OK;
}

/* A copy of the array's data, strings with their text; NULL when there is no memory. */
static void *copy_data(lt_arena *arena, const leat_array *array)
{
    void *data = lt_arena_alloc(arena, array->bytes ? array->bytes : 1, LT_ALIGNMENT);
    if (data == NULL || array->bytes == 0) {
        return data;
    }
    memcpy(data, array->data, array->bytes);
    leat_string *strings = array->dtype == LEAT_DTYPE_STRING ? data : NULL;
    for (size_t i = 0; strings != NULL && i < array->bytes / sizeof(*strings); i++) {
        strings[i].data = lt_arena_string_n(arena, strings[i].data, strings[i].bytes);
        if (strings[i].data == NULL) {
            return NULL;
        }
    }
    return data;
}

leat_status lt_graph_add_constant(lt_graph *graph, const char *name, const leat_array *array,
                                  bool copy, uint32_t *out_value, leat_error *err)
{
    size_t bytes;
    *out_value = LEAT_NO_VALUE;
    if (array->rank < 0 || array->rank > LEAT_MAX_RANK ||
        !lt_shape_bytes(array->dtype, array->rank, array->shape, &bytes) || bytes != array->bytes ||
        (bytes != 0 && array->data == NULL)) {
        return lt_fail(err, LEAT_INVALID, "constant '%s': %zu bytes do not fit its type and shape",
                       name ? name : "", array->bytes);
    }
    /* Constants are never NULL, even empty ones: data tells a constant from other values. */
    void *data = array->data;
    if (copy || data == NULL) {
        data = copy_data(lt_graph_arena(graph), array);
        if (data == NULL) {
            return no_memory(err);
        }
    }
    leat_status status = lt_graph_add_value(graph, name, out_value, err);
    if (status != LEAT_OK) {
        return status;
    }
    leat_value *value = &graph->values[*out_value];
    value->dtype = array->dtype;
    value->rank = array->rank;
    memcpy(value->shape, array->shape, sizeof(value->shape));
    value->data = data;
    value->bytes = bytes;
    return LEAT_OK;
}

/* --- attributes ---------------------------------------------------------------------------------
 */

bool lt_attr_copy(lt_arena *arena, const leat_attr *from, leat_attr *to)
{
    *to = *from;
    to->name = lt_arena_string(arena, from->name);
    if (to->name == NULL) {
        return false;
    }
    size_t bytes;
    switch (from->type) {
    case LEAT_ATTR_STRING:
    case LEAT_ATTR_TYPE:
        to->u.s.data = lt_arena_string_n(arena, from->u.s.data, from->u.s.bytes);
        return to->u.s.data != NULL;
    case LEAT_ATTR_FLOATS:
        return lt_mul(from->count, sizeof(float), &bytes) &&
               (to->u.floats = lt_arena_copy(arena, from->u.floats, bytes)) != NULL;
    case LEAT_ATTR_INTS:
        return lt_mul(from->count, sizeof(int64_t), &bytes) &&
               (to->u.ints = lt_arena_copy(arena, from->u.ints, bytes)) != NULL;
    case LEAT_ATTR_STRINGS: {
        leat_string *strings = lt_arena_array(arena, from->count, sizeof(*strings));
        for (size_t i = 0; strings != NULL && i < from->count; i++) {
            strings[i].bytes = from->u.strings[i].bytes;
            strings[i].data =
                lt_arena_string_n(arena, from->u.strings[i].data, from->u.strings[i].bytes);
            if (strings[i].data == NULL) {
                return false;
            }
        }
        to->u.strings = strings;
        return strings != NULL;
    }
    default:
        return true;
    }
}

leat_status lt_node_set_attr(lt_graph *graph, leat_node *node, const leat_attr *attr,
                             leat_error *err)
{
    lt_arena *arena = lt_graph_arena(graph);
    leat_attr *attrs = (leat_attr *)node->attrs;
    uint32_t at = 0;
    while (at < node->n_attrs && strcmp(attrs[at].name, attr->name) != 0) {
        at++;
    }
    if (at == node->n_attrs) {
        attrs = lt_arena_array(arena, (size_t)node->n_attrs + 1, sizeof(*attrs));
        if (attrs == NULL) {
            return no_memory(err);
        }
        if (node->n_attrs != 0) {
            memcpy(attrs, node->attrs, node->n_attrs * sizeof(*attrs));
        }
    }
    if (!lt_attr_copy(arena, attr, &attrs[at])) {
        return no_memory(err);
    }
    node->n_attrs += at == node->n_attrs;
    node->attrs = attrs;
    return LEAT_OK;
}

leat_status lt_node_set_int(lt_graph *graph, leat_node *node, const char *name, int64_t i,
                            leat_error *err)
{
    leat_attr attr = {name, LEAT_ATTR_INT, 1, {.i = i}};
    return lt_node_set_attr(graph, node, &attr, err);
}

leat_status lt_node_set_float(lt_graph *graph, leat_node *node, const char *name, float f,
                              leat_error *err)
{
    leat_attr attr = {name, LEAT_ATTR_FLOAT, 1, {.f = f}};
    return lt_node_set_attr(graph, node, &attr, err);
}

leat_status lt_node_set_ints(lt_graph *graph, leat_node *node, const char *name,
                             const int64_t *ints, size_t count, leat_error *err)
{
    leat_attr attr = {name, LEAT_ATTR_INTS, count, {.ints = ints}};
    return lt_node_set_attr(graph, node, &attr, err);
}

leat_status lt_node_set_string(lt_graph *graph, leat_node *node, const char *name, const char *text,
                               leat_error *err)
{
    leat_attr attr = {name, LEAT_ATTR_STRING, 1, {.s = {text, strlen(text)}}};
    return lt_node_set_attr(graph, node, &attr, err);
}

/* --- nodes --------------------------------------------------------------------------------------
 */

/* Nodes of the domain "leat" mean what the model's version of ai.onnx means. */
static int32_t domain_opset(const lt_graph *graph, const char *domain)
{
    return (int32_t)lt_graph_opset(graph, strcmp(domain, "leat") == 0 ? "" : domain);
}

leat_status lt_node_set_op(lt_graph *graph, leat_node *node, const char *op, const char *domain,
                           leat_error *err)
{
    const char *op_copy = lt_arena_string(lt_graph_arena(graph), op);
    const char *domain_copy = lt_arena_string(lt_graph_arena(graph), domain);
    if (op_copy == NULL || domain_copy == NULL) {
        return no_memory(err);
    }
    /* A node that moves to leat's own domain keeps the meaning of the version that it had. */
    bool keeps = strcmp(domain, "leat") == 0 && node->domain[0] == '\0';
    node->op = op_copy;
    node->domain = domain_copy;
    node->opset = keeps ? node->opset : domain_opset(graph, domain_copy);
    return LEAT_OK;
}

static leat_node *copy_node(lt_graph *graph, const lt_node_desc *desc)
{
    lt_arena *arena = lt_graph_arena(graph);
    leat_node *node = lt_arena_alloc(arena, sizeof(*node), 16);
    leat_attr *attrs = lt_arena_array(arena, desc->n_attrs, sizeof(*attrs));
    if (node == NULL || attrs == NULL) {
        return NULL;
    }
    node->op = lt_arena_string(arena, desc->op);
    node->domain = lt_arena_string(arena, desc->domain ? desc->domain : "");
    node->name = lt_arena_string(arena, desc->name ? desc->name : "");
    node->inputs = lt_arena_copy(arena, desc->inputs, desc->n_inputs * sizeof(uint32_t));
    node->outputs = lt_arena_copy(arena, desc->outputs, desc->n_outputs * sizeof(uint32_t));
    node->n_inputs = desc->n_inputs;
    node->n_outputs = desc->n_outputs;
    node->n_attrs = desc->n_attrs;
    node->attrs = attrs;
    if (node->op == NULL || node->domain == NULL || node->name == NULL || node->inputs == NULL ||
        node->outputs == NULL) {
        return NULL;
    }
    node->opset = domain_opset(graph, node->domain);
    for (uint32_t i = 0; i < desc->n_attrs; i++) {
        if (!lt_attr_copy(arena, &desc->attrs[i], &attrs[i])) {
            return NULL;
        }
    }
    return node;
}

leat_status lt_graph_add_node(lt_graph *graph, const lt_node_desc *desc, uint32_t at,
                              leat_node **out_node, leat_error *err)
{
    leat_node *node = copy_node(graph, desc);
    if (out_node != NULL) {
        *out_node = NULL;
    }
    if (node == NULL || !lt_graph_grow(graph, &graph->nodes, &graph->nodes_capacity, graph->n_nodes,
                                       sizeof(*graph->nodes))) {
        return no_memory(err);
    }
    at = at < graph->n_nodes ? at : graph->n_nodes;
    memmove(&graph->nodes[at + 1], &graph->nodes[at],
            (graph->n_nodes - at) * sizeof(*graph->nodes));
    graph->nodes[at] = node;
    graph->n_nodes++;
    if (out_node != NULL) {
        *out_node = node;
    }
    return LEAT_OK;
}

void lt_node_set_input(leat_node *node, uint32_t i, uint32_t value)
{
    ((uint32_t *)node->inputs)[i] = value;
}

void lt_node_set_output(leat_node *node, uint32_t i, uint32_t value)
{
    ((uint32_t *)node->outputs)[i] = value;
}

void lt_graph_remove_node(lt_graph *graph, const leat_node *node)
{
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        if (graph->nodes[i] == node) {
            graph->n_nodes--;
            memmove(&graph->nodes[i], &graph->nodes[i + 1],
                    (graph->n_nodes - i) * sizeof(*graph->nodes));
            return;
        }
    }
}

/* --- symbols, opsets, names ---------------------------------------------------------------------
 */

leat_status lt_graph_symbol(lt_graph *graph, const char *name, int64_t *out_dim, leat_error *err)
{
    lt_graph *root = graph->root;
    *out_dim = -1;
    for (uint32_t i = 0; name != NULL && i < root->n_symbols; i++) {
        if (root->symbols[i] != NULL && strcmp(root->symbols[i], name) == 0) {
            *out_dim = -1 - (int64_t)i;
            return LEAT_OK;
        }
    }
    const char *copy = name ? lt_arena_string(&root->arena, name) : NULL;
    if ((name != NULL && copy == NULL) ||
        !lt_graph_grow(root, &root->symbols, &root->symbols_capacity, root->n_symbols,
                       sizeof(*root->symbols))) {
        return no_memory(err);
    }
    root->symbols[root->n_symbols] = copy;
    *out_dim = -1 - (int64_t)root->n_symbols++;
    return LEAT_OK;
}

const char *lt_graph_symbol_name(const lt_graph *graph, int64_t dim)
{
    uint64_t i = (uint64_t)(-1 - dim);
    return dim < 0 && i < graph->root->n_symbols ? graph->root->symbols[i] : NULL;
}

/* ai.onnx goes by two names. */
static const char *short_domain(const char *domain)
{
    return strcmp(domain, "ai.onnx") == 0 ? "" : domain;
}

int64_t lt_graph_opset(const lt_graph *graph, const char *domain)
{
    const char *wanted = short_domain(domain);
    const lt_graph *root = graph->root;
    for (size_t i = 0; i < root->n_opsets; i++) {
        if (strcmp(short_domain(root->opsets[i].domain), wanted) == 0) {
            return root->opsets[i].version;
        }
    }
    return strcmp(wanted, "leat") == 0 ? 1 : 0;
}

const char *lt_node_label(const lt_graph *graph, const leat_node *node)
{
    if (node->name[0] != '\0') {
        return node->name;
    }
    for (uint32_t i = 0; i < node->n_outputs; i++) {
        if (node->outputs[i] < graph->n_values) {
            return graph->values[node->outputs[i]].name;
        }
    }
    return "";
}

uint32_t lt_graph_find_value(const lt_graph *graph, const char *name)
{
    for (uint32_t i = 0; i < graph->n_values; i++) {
        if (strcmp(graph->values[i].name, name) == 0) {
            return i;
        }
    }
    return LEAT_NO_VALUE;
}

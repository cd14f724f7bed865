/* SPDX-License-Identifier: Apache-2.0 */
#include "support/infer_case.h"

#include "base/tensor.h"
#include "graph/infer.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ITEMS 32

typedef struct parser {
    const char *at;
    const char *whole;
    lt_graph *graph;
    lt_arena *arena;
    leat_attr attrs[MAX_ITEMS];
    uint32_t n_attrs;
    uint32_t inputs[MAX_ITEMS];
    uint32_t n_inputs;
} parser;

static void blank(parser *p)
{
    p->at += strspn(p->at, " ");
}

static bool take(parser *p, char c)
{
    blank(p);
    if (*p->at != c) {
        return false;
    }
    p->at++;
    return true;
}

static void expect(parser *p, char c)
{
    if (!take(p, c)) {
        fail_msg("'%c' expected before \"%s\" in \"%s\"", c, p->at, p->whole);
    }
}

/* A run of letters, digits and underscores. */
static const char *word(parser *p)
{
    blank(p);
    size_t n = 0;
    while (isalnum((unsigned char)p->at[n]) || p->at[n] == '_') {
        n++;
    }
    const char *copy = lt_arena_string_n(p->arena, p->at, n);
    p->at += n;
    return copy;
}

static int64_t integer(parser *p)
{
    char *end;
    long long v = strtoll(p->at, &end, 10);
    p->at = end;
    return v;
}

static void put_number(leat_value *value, size_t i, double v, int64_t n)
{
    size_t bytes = lt_dtype_bits(value->dtype) / 8;
    char *to = (char *)(uintptr_t)value->data + i * bytes;
    float f = (float)v;
    if (value->dtype == LEAT_DTYPE_F32) {
        memcpy(to, &f, sizeof(f));
    } else if (value->dtype == LEAT_DTYPE_F64) {
        memcpy(to, &v, sizeof(v));
    } else {
        memcpy(to, &n, bytes); /* little-endian integers, and bits of f16 */
    }
}

/* "<1,2>" after a shape: the value's data. */
static void read_data(parser *p, leat_value *value)
{
    if (!take(p, '<')) {
        return;
    }
    value->data = lt_arena_alloc(p->arena, value->bytes + 8, 16);
    for (size_t i = 0; !take(p, '>'); i++) {
        char *end;
        const char *start = p->at;
        double v = strtod(start, &end);
        int64_t n = strtoll(start, NULL, 10);
        if (end == start || (i + 1) * (lt_dtype_bits(value->dtype) / 8) > value->bytes) {
            fail_msg("data that does not fit before \"%s\"", p->at);
        }
        p->at = end;
        put_number(value, i, v, n);
        take(p, ',');
    }
}

static void read_dims(parser *p, leat_value *value)
{
    leat_error err;
    bool known = true;
    value->rank = 0;
    while (!take(p, ']')) {
        int64_t *dim = &value->shape[value->rank++];
        blank(p);
        if (*p->at == '?') {
            p->at++;
            assert_ok(lt_graph_symbol(p->graph, NULL, dim, &err), &err);
        } else if (isalpha((unsigned char)*p->at)) {
            assert_ok(lt_graph_symbol(p->graph, word(p), dim, &err), &err);
        } else {
            *dim = integer(p);
        }
        known &= *dim >= 0;
        take(p, ',');
    }
    if (known) {
        assert_true(lt_shape_bytes(value->dtype, value->rank, value->shape, &value->bytes));
    }
}

static uint32_t read_input(parser *p)
{
    leat_error err;
    uint32_t index;
    if (take(p, '-')) {
        return LEAT_NO_VALUE;
    }
    assert_ok(lt_graph_add_value(p->graph, NULL, &index, &err), &err);
    leat_value value = p->graph->values[index];
    value.dtype = lt_dtype_from_name(word(p));
    if (value.dtype == LEAT_DTYPE_UNDEFINED) {
        fail_msg("a type expected before \"%s\" in \"%s\"", p->at, p->whole);
    }
    expect(p, '[');
    if (strncmp(p->at, "...]", 4) == 0) {
        p->at += 4;
    } else {
        read_dims(p, &value);
        read_data(p, &value);
    }
    p->graph->values[index] = value;
    return index;
}

static bool is_float(const char *text)
{
    return text[strspn(text, "-0123456789")] == '.';
}

static void read_list(parser *p, leat_attr *attr)
{
    int64_t *ints = lt_arena_array(p->arena, MAX_ITEMS, sizeof(*ints));
    float *floats = lt_arena_array(p->arena, MAX_ITEMS, sizeof(*floats));
    attr->type = LEAT_ATTR_INTS;
    attr->u.ints = ints;
    while (!take(p, ']')) {
        if (is_float(p->at)) {
            attr->type = LEAT_ATTR_FLOATS;
            attr->u.floats = floats;
        }
        char *end;
        floats[attr->count] = strtof(p->at, &end);
        ints[attr->count++] = strtoll(p->at, NULL, 10);
        p->at = end;
        take(p, ',');
    }
}

static void read_attr(parser *p, leat_attr *attr)
{
    attr->name = word(p);
    attr->count = 1;
    expect(p, '=');
    if (take(p, '[')) {
        attr->count = 0;
        read_list(p, attr);
    } else if (take(p, '"')) {
        attr->type = LEAT_ATTR_STRING;
        attr->u.s.bytes = strcspn(p->at, "\"");
        attr->u.s.data = p->at;
        p->at += attr->u.s.bytes + 1;
    } else if (strncmp(p->at, "t:", 2) == 0) {
        p->at += 2;
        leat_array *tensor = lt_arena_alloc(p->arena, sizeof(*tensor), 16);
        *tensor = (leat_array){.dtype = lt_dtype_from_name(word(p)), .rank = 1, .shape = {1}};
        attr->type = LEAT_ATTR_TENSOR;
        attr->u.tensor = tensor;
    } else if (is_float(p->at)) {
        char *end;
        attr->type = LEAT_ATTR_FLOAT;
        attr->u.f = strtof(p->at, &end);
        p->at = end;
    } else {
        attr->type = LEAT_ATTR_INT;
        attr->u.i = integer(p);
    }
}

static leat_node *read_node(parser *p)
{
    leat_error err;
    leat_node *node;
    uint32_t outputs[MAX_ITEMS], n_outputs = 1;
    bool own = strncmp(p->at, "leat.", 5) == 0;
    p->at += own ? 5 : 0;
    lt_node_desc desc = {.domain = own ? "leat" : "", .name = "n"};
    desc.op = word(p);
    expect(p, '(');
    while (!take(p, ')')) {
        p->inputs[p->n_inputs++] = read_input(p);
        take(p, ',');
    }
    if (take(p, '{')) {
        while (!take(p, '}')) {
            read_attr(p, &p->attrs[p->n_attrs++]);
            take(p, ',');
        }
    }
    int32_t opset = take(p, '@') ? (int32_t)integer(p) : 22;
    if (take(p, '#')) {
        n_outputs = (uint32_t)integer(p);
    }
    assert_string_equal(p->at, "");
    for (uint32_t i = 0; i < n_outputs; i++) {
        assert_ok(lt_graph_add_value(p->graph, NULL, &outputs[i], &err), &err);
    }
    desc.inputs = p->inputs;
    desc.n_inputs = p->n_inputs;
    desc.outputs = outputs;
    desc.n_outputs = n_outputs;
    desc.attrs = p->attrs;
    desc.n_attrs = p->n_attrs;
    assert_ok(lt_graph_add_node(p->graph, &desc, 0, &node, &err), &err);
    node->opset = opset;
    return node;
}

static void print_value(const lt_graph *graph, const leat_value *value, char *text, size_t capacity)
{
    size_t used = (size_t)snprintf(text, capacity, "%s[", leat_dtype_name(value->dtype));
    for (int32_t i = 0; i < value->rank; i++) {
        const char *symbol = lt_graph_symbol_name(graph, value->shape[i]);
        char number[24];
        snprintf(number, sizeof(number), "%lld", (long long)value->shape[i]);
        const char *dim = value->shape[i] >= 0 ? number : symbol ? symbol : "?";
        used += (size_t)snprintf(text + used, capacity - used, "%s%s", i ? "," : "", dim);
    }
    snprintf(text + used, capacity - used, value->rank < 0 ? "...]" : "]");
}

/* The bytes that inference sets are those of the shape. */
static void check_bytes(const leat_value *value)
{
    size_t bytes = 0;
    if (value->rank >= 0 && lt_shape_bytes(value->dtype, value->rank, value->shape, &bytes)) {
        assert_int_equal(value->bytes, bytes);
    } else {
        assert_int_equal(value->bytes, 0);
    }
}

static void print_result(const lt_infer *infer, const leat_node *node, char *text, size_t capacity)
{
    for (uint32_t i = 0; i < node->n_inputs && infer->needs != LEAT_NO_VALUE; i++) {
        if (node->inputs[i] == infer->needs) {
            snprintf(text, capacity, "needs %u", i);
            return;
        }
    }
    text[0] = '\0';
    for (uint32_t i = 0; i < node->n_outputs; i++) {
        const leat_value *value = &infer->values[node->outputs[i]];
        size_t used = strlen(text);
        snprintf(text + used, capacity - used, "%s", i ? " " : "");
        used = strlen(text);
        print_value(infer->graph, value, text + used, capacity - used);
        check_bytes(value);
    }
}

static void run(const char *text, bool concrete, const char *expected)
{
    lt_memory memory;
    leat_error err = {0};
    char result[512];
    parser p = {.at = text, .whole = text};
    lt_memory_init(&memory, NULL, 0);
    assert_ok(lt_graph_create(&memory, NULL, &p.graph, &err), &err);
    p.arena = lt_graph_arena(p.graph);
    const leat_node *node = read_node(&p);
    lt_infer infer = {.graph = p.graph, .values = p.graph->values, .concrete = concrete};
    leat_status status = lt_infer_node(&infer, node, &err);
    if (status != LEAT_OK) {
        snprintf(result, sizeof(result), "%s: %s", leat_status_text(status), err.message);
    } else {
        print_result(&infer, node, result, sizeof(result));
    }
    bool fits = expected[0] == '!' ? status == LEAT_INVALID && strstr(result, "node 'n' (") &&
                                         strstr(result, expected + 1)
                                   : strcmp(result, expected) == 0;
    if (!fits) {
        fail_msg("%s\n    is       %s\n    expected %s", text, result, expected);
    }
    lt_graph_destroy(p.graph);
    assert_int_equal(memory.live_blocks, 0);
}

void infer_concrete(const char *node, const char *expected)
{
    run(node, true, expected);
}

void infer_symbolic(const char *node, const char *expected)
{
    run(node, false, expected);
}

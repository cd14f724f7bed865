/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes of nodes, made in one line. Texts and lists stay the caller's. */
#ifndef TESTS_SUPPORT_ATTRS_H
#define TESTS_SUPPORT_ATTRS_H

#include <leat/backend.h>
#include <string.h>

static inline leat_attr test_attr_int(const char *name, int64_t i)
{
    leat_attr attr = {name, LEAT_ATTR_INT, 1, {.i = i}};
    return attr;
}

static inline leat_attr test_attr_float(const char *name, float f)
{
    leat_attr attr = {name, LEAT_ATTR_FLOAT, 1, {.f = f}};
    return attr;
}

static inline leat_attr test_attr_ints(const char *name, const int64_t *ints, size_t count)
{
    leat_attr attr = {name, LEAT_ATTR_INTS, count, {.ints = ints}};
    return attr;
}

static inline leat_attr test_attr_string(const char *name, const char *text)
{
    leat_attr attr = {name, LEAT_ATTR_STRING, 1, {.s = {text, strlen(text)}}};
    return attr;
}

/* For onnx_builder_node: `body` is another builder, of which only the graph counts. */
static inline leat_attr test_attr_graph(const char *name, const void *body)
{
    leat_attr attr = {name, LEAT_ATTR_GRAPH, 1, {.graph = body}};
    return attr;
}

#endif

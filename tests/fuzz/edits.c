/* SPDX-License-Identifier: Apache-2.0 */
/* Edits that know ONNX's messages (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto): another
 * operator, another value for an input, other types, dimensions, attributes and numbers of tensors,
 * another opset, one more node. They keep the file a model more often than blind edits do, so that
 * shape inference, passes and kernels are reached. */
#include "fuzz/mutate.h"

#include <stdio.h>
#include <string.h>

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

/* Field numbers of onnx.proto that are not clear from the paths below. */
enum {
    MODEL_GRAPH = 7,
    GRAPH_NODE = 1,
    NODE_INPUT = 1,
    NODE_OUTPUT = 2,
    NODE_OP = 4
};

static const char *const ops[] = {
#define LT_OP(domain, name, ...) name,
#include "graph/ops.def"
#undef LT_OP
};

static const char *const attribute_names[] = {"axis",
                                              "axes",
                                              "keepdims",
                                              "pads",
                                              "strides",
                                              "dilations",
                                              "kernel_shape",
                                              "group",
                                              "auto_pad",
                                              "mode",
                                              "perm",
                                              "to",
                                              "alpha",
                                              "beta",
                                              "epsilon",
                                              "transA",
                                              "transB",
                                              "ceil_mode",
                                              "output_padding",
                                              "largest",
                                              "sorted",
                                              "batch_dims",
                                              "num_heads",
                                              "hidden_size",
                                              "direction",
                                              "layout",
                                              "block_size",
                                              "blocksize",
                                              "num_outputs",
                                              "split",
                                              "reduction",
                                              "storage_order",
                                              "exclusive",
                                              "reverse",
                                              "noop_with_empty_axes",
                                              "select_last_index",
                                              "count_include_pad",
                                              "output_shape",
                                              "activations",
                                              "clip",
                                              "value",
                                              "size",
                                              "bits",
                                              "K",
                                              "N",
                                              "scale",
                                              "is_causal",
                                              "kv_num_heads",
                                              "q_num_heads",
                                              "softcap",
                                              "do_rotary",
                                              "past_present_share_buffer"};

static const char *const texts[] = {
    "linear",    "nearest", "cubic",         "SAME_UPPER",    "SAME_LOWER", "VALID",
    "NOTSET",    "reflect", "edge",          "wrap",          "constant",   "forward",
    "reverse",   "add",     "bidirectional", "mul",           "max",        "min",
    "none",      "mean",    "sum",           "avg",           "ij,jk->ik",  "ii->i",
    "...i->...", "tanh",    "bilinear",      "align_corners", "asymmetric", "tf_crop_and_resize",
    "Relu",      "Sigmoid", "DCR",           "CRD",           "right",      ""};

static size_t pick(mutator *m, size_t count)
{
    return (size_t)(mutate_random(m) % count);
}

/* Mostly what an axis, a size or a flag can be. */
static uint64_t small_number(mutator *m)
{
    return pick(m, 8) == 0 ? mutate_odd_number(m) : (uint64_t)((int64_t)pick(m, 12) - 3);
}

/* --- what happens to the field at the end of a path ------------------------------------------ */

typedef size_t (*edit_fn)(mutator *m, uint8_t *data, size_t bytes, const field *f);

static size_t set_number(mutator *m, uint8_t *data, size_t bytes, const field *f)
{
    return f->type == 0 ? mutate_number(m, data, bytes, f, small_number(m)) : bytes;
}

static size_t set_type(mutator *m, uint8_t *data, size_t bytes, const field *f)
{
    static const uint8_t common[] = {1, 2, 3, 6, 7, 9, 10, 11, 16};
    uint64_t type = pick(m, 2) ? common[pick(m, COUNT(common))] : pick(m, 28);
    return f->type == 0 ? mutate_number(m, data, bytes, f, type) : bytes;
}

static size_t set_opset(mutator *m, uint8_t *data, size_t bytes, const field *f)
{
    return f->type == 0 ? mutate_number(m, data, bytes, f, pick(m, 28)) : bytes;
}

static size_t set_text(mutator *m, uint8_t *data, size_t bytes, const field *f,
                       const char *const *list, size_t count)
{
    const char *text = list[pick(m, count)];
    return f->type == 2 ? mutate_text(m, data, bytes, f, text, strlen(text)) : bytes;
}

static size_t set_op(mutator *m, uint8_t *data, size_t bytes, const field *f)
{
    return set_text(m, data, bytes, f, ops, COUNT(ops));
}

static size_t set_attribute_name(mutator *m, uint8_t *data, size_t bytes, const field *f)
{
    return set_text(m, data, bytes, f, attribute_names, COUNT(attribute_names));
}

static size_t set_attribute_text(mutator *m, uint8_t *data, size_t bytes, const field *f)
{
    return set_text(m, data, bytes, f, texts, COUNT(texts));
}

static size_t set_float(mutator *m, uint8_t *data, size_t bytes, const field *f)
{
    static const float odd[] = {0.0f, 1.0f, -1.0f, 0.5f, 1e-5f, 1e38f, -3e38f, 1e-45f, 65536.0f};
    float value = odd[pick(m, COUNT(odd))];
    uint32_t bits = pick(m, 2) ? 0x7fc00000u : 0x7f800000u;
    if (pick(m, 5) == 0) {
        memcpy(&value, &bits, sizeof(value));
    }
    if (f->type == 5) {
        memcpy(data + f->body, &value, sizeof(value));
        m->done = true;
    }
    return bytes;
}

/* One element of raw data, of a size that its length allows. */
static size_t set_element(mutator *m, uint8_t *data, size_t bytes, const field *f)
{
    static const size_t sizes[] = {8, 4, 8, 1, 2};
    size_t length = f->end - f->body, size = sizes[pick(m, COUNT(sizes))];
    uint64_t value = small_number(m);
    float number = (float)(int64_t)value;
    if (f->type == 2 && length >= size) {
        if (size == 4 && pick(m, 2)) {
            memcpy(&value, &number, sizeof(number));
        }
        memcpy(data + f->body + pick(m, length / size) * size, &value, size);
        m->done = true;
    }
    return bytes;
}

/* A dimension of a value: a number, a symbol or nothing known. */
static size_t set_dimension(mutator *m, uint8_t *data, size_t bytes, const field *f)
{
    uint8_t text[12] = {1 << 3};
    if (f->type != 2) {
        return bytes;
    }
    switch (pick(m, 4)) {
    case 0:
        return mutate_text(m, data, bytes, f, "\x12\x01N", 3);
    case 1:
        return mutate_text(m, data, bytes, f, "", 0);
    default:
        return mutate_text(m, data, bytes, f, text, 1 + mutate_varint(text + 1, small_number(m)));
    }
}

static size_t drop(mutator *m, uint8_t *data, size_t bytes, const field *f)
{
    const span whole = {f->begin, f->end};
    return mutate_replace(m, data, bytes, &whole, NULL, 0);
}

static size_t repeat(mutator *m, uint8_t *data, size_t bytes, const field *f)
{
    const span behind = {f->end, f->end};
    memcpy(m->scratch, data + f->begin, f->end - f->begin);
    return mutate_replace(m, data, bytes, &behind, m->scratch, f->end - f->begin);
}

/* --- paths ----------------------------------------------------------------------------------- */

#define MOST_STEPS 7

typedef struct edit {
    uint8_t path[MOST_STEPS]; /* field numbers from a graph on; 0 ends it */
    edit_fn fn;
} edit;

static const edit graph_edits[] = {
    {{1, 4}, set_op},
    {{1, 4}, set_op},
    {{1, 5, 3}, set_number},
    {{1, 5, 8}, set_number},
    {{1, 5, 8}, drop},
    {{1, 5, 8}, repeat},
    {{1, 5, 2}, set_float},
    {{1, 5, 4}, set_attribute_text},
    {{1, 5, 1}, set_attribute_name},
    {{1, 5}, drop},
    {{1, 5, 5, 1}, set_number},
    {{1, 5, 5, 2}, set_type},
    {{1, 5, 5, 9}, set_element},
    {{1, 1}, drop},
    {{1, 1}, repeat},
    {{1, 2}, drop},
    {{5, 1}, set_number},
    {{5, 2}, set_type},
    {{5, 4}, set_element},
    {{5, 7}, set_number},
    {{5, 9}, set_element},
    {{5, 9}, set_element},
    {{11, 2, 1, 1}, set_type},
    {{11, 2, 1, 2, 1}, set_dimension},
    {{11, 2, 1, 2, 1}, set_dimension},
    {{11, 2, 1, 2, 1}, drop},
    {{11, 2, 1, 2, 1}, repeat},
    {{11, 2, 1, 2}, drop},
    {{12, 2}, drop},
    {{12, 2, 1, 1}, set_type},
    {{13, 2, 1, 2, 1}, set_dimension},
};

static const edit opset_edit = {{2}, set_opset};

typedef struct walk {
    const edit *edit;
    size_t step;
} walk;

/* A random field of that number; false when there is none. */
static bool choose(mutator *m, const uint8_t *data, size_t bytes, uint32_t number, field *out)
{
    field fields[MOST_FIELDS];
    size_t n = mutate_split(data, bytes, fields), found = 0;
    for (size_t i = 0; i < n; i++) {
        if (fields[i].number == number && pick(m, ++found) == 0) {
            *out = fields[i];
        }
    }
    return found != 0;
}

static size_t follow(mutator *m, uint8_t *data, size_t bytes, const void *argument)
{
    const walk *w = argument, deeper = {w->edit, w->step + 1};
    const mutate_inner inner = {follow, &deeper};
    field f;
    if (!choose(m, data, bytes, w->edit->path[w->step], &f)) {
        return bytes;
    }
    bool last = w->step + 1 == MOST_STEPS || w->edit->path[w->step + 1] == 0;
    if (last) {
        return w->edit->fn(m, data, bytes, &f);
    }
    return f.type == 2 ? mutate_inside(m, data, bytes, &f, &inner) : bytes;
}

/* --- edits of a whole graph ------------------------------------------------------------------ */

typedef struct value_name {
    uint8_t text[64];
    size_t length;
} value_name;

/* The name of an input, an initializer or some node's output. */
static bool choose_value(mutator *m, const uint8_t *data, size_t bytes, value_name *out)
{
    static const uint8_t kinds[] = {1, 1, 1, 11, 11, 5};
    uint8_t kind = kinds[pick(m, COUNT(kinds))];
    uint32_t name = kind == GRAPH_NODE ? NODE_OUTPUT : kind == 5 ? 8 : 1;
    field f, inner;
    if (!choose(m, data, bytes, kind, &f) || f.type != 2 ||
        !choose(m, data + f.body, f.end - f.body, name, &inner) || inner.type != 2 ||
        inner.end - inner.body > sizeof(out->text)) {
        return false;
    }
    out->length = inner.end - inner.body;
    memcpy(out->text, data + f.body + inner.body, out->length);
    return true;
}

static size_t rename_input(mutator *m, uint8_t *data, size_t bytes, const void *argument)
{
    const value_name *name = argument;
    field f;
    if (!choose(m, data, bytes, NODE_INPUT, &f) || f.type != 2) {
        return bytes;
    }
    return mutate_text(m, data, bytes, &f, name->text, name->length);
}

/* Another value for one input of a node, or none. */
static size_t rewire(mutator *m, uint8_t *data, size_t bytes)
{
    value_name name = {.length = 0};
    field node;
    if ((pick(m, 6) != 0 && !choose_value(m, data, bytes, &name)) ||
        !choose(m, data, bytes, GRAPH_NODE, &node) || node.type != 2) {
        return bytes;
    }
    const mutate_inner inner = {rename_input, &name};
    return mutate_inside(m, data, bytes, &node, &inner);
}

static size_t put(uint8_t *out, uint8_t number, const void *text, size_t length)
{
    out[0] = (uint8_t)(number << 3 | 2);
    out[1] = (uint8_t)length; /* below 128 */
    memcpy(out + 2, text, length);
    return length + 2;
}

/* A node of one to three inputs at the end, its output one of the graph's. */
static size_t append_node(mutator *m, uint8_t *data, size_t bytes)
{
    static const char *const frequent[] = {"Add", "Mul",     "Relu",      "Sqrt",    "Div",
                                           "Sub", "Sigmoid", "Transpose", "MatMul",  "ReduceMean",
                                           "Erf", "Reshape", "Concat",    "Softmax", "Clip"};
    uint8_t node[400], output[64];
    char made[24];
    size_t n = 0;
    value_name name;
    const char *op = pick(m, 2) ? frequent[pick(m, COUNT(frequent))] : ops[pick(m, COUNT(ops))];
    snprintf(made, sizeof(made), "z%u", (unsigned)(mutate_random(m) % 100000));
    for (size_t i = pick(m, 3) + 1; i > 0; i--) {
        if (!choose_value(m, data, bytes, &name)) {
            return bytes;
        }
        n += put(node + n, NODE_INPUT, name.text, name.length);
    }
    n += put(node + n, NODE_OUTPUT, made, strlen(made));
    n += put(node + n, NODE_OP, op, strlen(op));
    size_t room = 0, digits;
    m->scratch[room++] = GRAPH_NODE << 3 | 2;
    digits = mutate_varint(m->scratch + room, n);
    memcpy(m->scratch + room + digits, node, n);
    room += digits + n;
    n = put(output, 1, made, strlen(made));
    room += put(m->scratch + room, 12, output, n);
    const span end = {bytes, bytes};
    return mutate_replace(m, data, bytes, &end, m->scratch, room);
}

/* A node gets one more attribute, a number or two numbers. */
static size_t add_attribute(mutator *m, uint8_t *data, size_t bytes, const void *argument)
{
    const char *name = attribute_names[pick(m, COUNT(attribute_names))];
    uint8_t text[96];
    size_t n = put(text, 1, name, strlen(name));
    bool list = pick(m, 2);
    (void)argument;
    for (int i = 0; i < (list ? 2 : 1); i++) {
        text[n++] = (uint8_t)((list ? 8 : 3) << 3);
        n += mutate_varint(text + n, small_number(m));
    }
    memcpy(text + n, list ? "\xa0\x01\x07" : "\xa0\x01\x02", 3); /* its type: INTS or INT */
    uint8_t whole[128];
    size_t made = put(whole, 5, text, n + 3);
    const span end = {bytes, bytes};
    return mutate_replace(m, data, bytes, &end, whole, made);
}

static size_t edit_graph(mutator *m, uint8_t *data, size_t bytes, const void *argument);

/* The graph that an attribute of this node holds, if one does. */
static size_t edit_body(mutator *m, uint8_t *data, size_t bytes, const void *argument)
{
    static const uint8_t node_attribute = 5, attribute_graph = 6;
    const uint8_t *next = argument ? NULL : &attribute_graph;
    const mutate_inner deeper = {next ? edit_body : edit_graph, next};
    field f;
    if (!choose(m, data, bytes, argument ? attribute_graph : node_attribute, &f) || f.type != 2) {
        return bytes;
    }
    return mutate_inside(m, data, bytes, &f, &deeper);
}

/* One edit of a graph, one time in five of a body in one of its nodes. */
static size_t edit_graph(mutator *m, uint8_t *data, size_t bytes, const void *argument)
{
    const mutate_inner body = {edit_body, NULL}, attribute = {add_attribute, NULL};
    const walk w = {&graph_edits[pick(m, COUNT(graph_edits))], 0};
    const size_t kind = pick(m, 10);
    field node;
    (void)argument;
    if (kind < 3) {
        if (!choose(m, data, bytes, GRAPH_NODE, &node) || node.type != 2) {
            return bytes;
        }
        return mutate_inside(m, data, bytes, &node, kind < 2 ? &body : &attribute);
    }
    if (kind == 3) {
        return append_node(m, data, bytes);
    }
    return kind < 6 ? rewire(m, data, bytes) : follow(m, data, bytes, &w);
}

size_t mutate_onnx(mutator *m, uint8_t *data, size_t bytes)
{
    static const uint8_t opset = 8;
    const walk w = {&opset_edit, 0};
    const mutate_inner version = {follow, &w}, graph = {edit_graph, NULL};
    bool of_opset = pick(m, 24) == 0;
    field f;
    if (!choose(m, data, bytes, of_opset ? opset : MODEL_GRAPH, &f) || f.type != 2) {
        return bytes;
    }
    return mutate_inside(m, data, bytes, &f, of_opset ? &version : &graph);
}

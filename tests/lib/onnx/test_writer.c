/* SPDX-License-Identifier: Apache-2.0 */
/* Round trips: what is written reads as the graph that it was. */
#include "lib/onnx/model.h"

#include "base/tensor.h"
#include "onnx/writer.h"
#include "support/file.h"
#include "support/run.h"

#include <math.h>
#include <stdio.h>

#define PATH TEST_BUILD "/test_writer.onnx"

static lt_memory memory;
static leat_error err;

/* A graph of the model's opset 18. */
static lt_graph *new_graph(void)
{
    lt_graph *graph;
    lt_memory_init(&memory, NULL, 0);
    assert_ok(lt_graph_create(&memory, NULL, &graph, &err), &err);
    graph->ir_version = 10;
    graph->opsets = lt_arena_array(lt_graph_arena(graph), 2, sizeof(lt_opset));
    graph->opsets[0] = (lt_opset){"", 18};
    graph->opsets[1] = (lt_opset){"acme", 3};
    graph->n_opsets = 2;
    return graph;
}

/* Writes the graph and reads it into `r`, which the caller frees. */
static void round_trip(const lt_graph *graph, reading *r)
{
    size_t bytes;
    assert_ok(lt_onnx_write(graph, PATH, 0, &err), &err);
    uint8_t *data = test_read_file(PATH, &bytes);
    remove(PATH);
    memset(r, 0, sizeof(*r));
    assert_ok(reading_try(r, data, bytes), &r->err);
    free(data);
}

static void free_all(lt_graph *graph, reading *r)
{
    reading_free(r);
    lt_graph_destroy(graph);
    assert_int_equal(memory.live_blocks, 0);
}

static void assert_same_data(leat_dtype dtype, size_t bytes, const void *a, const void *b)
{
    if (dtype != LEAT_DTYPE_STRING) {
        assert_true(bytes == 0 || memcmp(a, b, bytes) == 0);
        return;
    }
    const leat_string *s = a, *t = b;
    for (size_t i = 0; i < bytes / sizeof(*s); i++) {
        assert_int_equal(s[i].bytes, t[i].bytes);
        assert_true(s[i].bytes == 0 || memcmp(s[i].data, t[i].data, s[i].bytes) == 0);
    }
}

static void assert_same_value(const leat_value *a, const leat_value *b)
{
    assert_int_equal(a->dtype, b->dtype);
    assert_int_equal(a->rank, b->rank);
    for (int32_t d = 0; d < a->rank; d++) {
        assert_int_equal(a->shape[d] < 0, b->shape[d] < 0);
        assert_true(a->shape[d] < 0 || a->shape[d] == b->shape[d]);
    }
    assert_int_equal(a->data == NULL, b->data == NULL);
    if (a->data != NULL) {
        assert_int_equal(a->bytes, b->bytes);
        assert_same_data(a->dtype, a->bytes, a->data, b->data);
    }
}

static void assert_same_attr(const leat_attr *a, const leat_attr *b)
{
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->count, b->count);
    switch (a->type) {
    case LEAT_ATTR_FLOAT:
        assert_memory_equal(&a->u.f, &b->u.f, sizeof(float));
        break;
    case LEAT_ATTR_INT:
        assert_int_equal(a->u.i, b->u.i);
        break;
    case LEAT_ATTR_STRING:
    case LEAT_ATTR_TYPE:
        assert_same_data(LEAT_DTYPE_STRING, sizeof(leat_string), &a->u.s, &b->u.s);
        break;
    case LEAT_ATTR_TENSOR:
        assert_int_equal(a->u.tensor->dtype, b->u.tensor->dtype);
        assert_int_equal(a->u.tensor->rank, b->u.tensor->rank);
        assert_int_equal(a->u.tensor->bytes, b->u.tensor->bytes);
        assert_same_data(a->u.tensor->dtype, a->u.tensor->bytes, a->u.tensor->data,
                         b->u.tensor->data);
        break;
    case LEAT_ATTR_FLOATS:
        assert_same_data(LEAT_DTYPE_F32, a->count * 4, a->u.floats, b->u.floats);
        break;
    case LEAT_ATTR_INTS:
        assert_same_data(LEAT_DTYPE_I64, a->count * 8, a->u.ints, b->u.ints);
        break;
    case LEAT_ATTR_STRINGS:
        assert_same_data(LEAT_DTYPE_STRING, a->count * 16, a->u.strings, b->u.strings);
        break;
    default:
        fail_msg("an attribute of type %d", a->type);
    }
}

/* An input x and a node acme.Op(x) -> y with these attributes. */
static lt_graph *graph_of_node(const leat_attr *attrs, uint32_t n_attrs)
{
    lt_graph *graph = new_graph();
    uint32_t x, y;
    assert_ok(lt_graph_add_value(graph, "x", &x, &err), &err);
    assert_ok(lt_graph_add_value(graph, "y", &y, &err), &err);
    graph->values[x].dtype = graph->values[y].dtype = LEAT_DTYPE_F32;
    const lt_node_desc desc = {"Op", "acme", "the node", &x, 1, &y, 1, attrs, n_attrs};
    assert_ok(lt_graph_add_node(graph, &desc, 0, NULL, &err), &err);
    graph->inputs = lt_arena_copy(lt_graph_arena(graph), &x, sizeof(x));
    graph->outputs = lt_arena_copy(lt_graph_arena(graph), &y, sizeof(y));
    graph->n_inputs = graph->n_outputs = 1;
    return graph;
}

static void every_kind_of_attribute_survives(void **state)
{
    (void)state;
    const float floats[] = {-0.0f, 1e-40f, __builtin_nanf("7"), -__builtin_inff()};
    const int64_t ints[] = {INT64_MIN, -1, 0, 127, 128, INT64_MAX};
    const leat_string strings[] = {{"", 0}, {"a\0b", 3}, {"\xc3\xa9", 2}};
    float numbers[6] = {1, 2, 3, 4, 5, 6};
    leat_array tensor = test_f32(numbers, "2x3"), none = test_f32(numbers, "0x3");
    const char type[] = {0x0a, 0x02, 0x08, 0x01}; /* TypeProto: a tensor of f32 */
    const leat_attr attrs[] = {
        {"f", LEAT_ATTR_FLOAT, 1, {.f = -0.1f}},
        {"i", LEAT_ATTR_INT, 1, {.i = INT64_MIN}},
        {"s", LEAT_ATTR_STRING, 1, {.s = strings[1]}},
        {"empty", LEAT_ATTR_STRING, 1, {.s = {"", 0}}},
        {"t", LEAT_ATTR_TENSOR, 1, {.tensor = &tensor}},
        {"t0", LEAT_ATTR_TENSOR, 1, {.tensor = &none}},
        {"tp", LEAT_ATTR_TYPE, 1, {.s = {type, sizeof(type)}}},
        {"floats", LEAT_ATTR_FLOATS, 4, {.floats = floats}},
        {"ints", LEAT_ATTR_INTS, 6, {.ints = ints}},
        {"strings", LEAT_ATTR_STRINGS, 3, {.strings = strings}},
        {"nothing", LEAT_ATTR_INTS, 0, {.ints = ints}},
        {"no_floats", LEAT_ATTR_FLOATS, 0, {.floats = floats}},
        {"no_strings", LEAT_ATTR_STRINGS, 0, {.strings = strings}},
    };
    const uint32_t count = sizeof(attrs) / sizeof(attrs[0]);
    lt_graph *graph = graph_of_node(attrs, count);
    reading r;
    round_trip(graph, &r);
    assert_int_equal(r.graph->n_nodes, 1);
    const leat_node *node = r.graph->nodes[0];
    assert_string_equal(node->op, "Op");
    assert_string_equal(node->domain, "acme");
    assert_string_equal(node->name, "the node");
    assert_int_equal(node->opset, 3);
    assert_int_equal(node->n_attrs, count);
    for (uint32_t i = 0; i < count; i++) {
        assert_same_attr(&attrs[i], &node->attrs[i]);
    }
    free_all(graph, &r);
}

/* Constants of every type in shapes whose packed elements end within a byte; as an initializer and
 * as a tensor in an attribute. */
static void every_type_of_tensor_survives(void **state)
{
    (void)state;
    static const char *const shapes[] = {"3x5", "", "0x2", "1"};
    for (int dtype = 1; dtype < LEAT_DTYPE_COUNT; dtype++) {
        for (size_t k = 0; k < sizeof(shapes) / sizeof(shapes[0]); k++) {
            uint8_t bytes[16 * 15];
            leat_string strings[15];
            for (size_t i = 0; i < sizeof(bytes); i++) {
                bytes[i] = (uint8_t)(dtype == LEAT_DTYPE_BOOL ? i & 1 : i * 37 + (size_t)dtype);
            }
            for (size_t i = 0; i < 15; i++) {
                strings[i] = (leat_string){&"some\0 text"[i % 7], i % 4};
            }
            leat_array array = test_f32((float *)(void *)bytes, shapes[k]);
            array.dtype = (leat_dtype)dtype;
            array.data = dtype == LEAT_DTYPE_STRING ? (void *)strings : bytes;
            assert_true(lt_shape_bytes(array.dtype, array.rank, array.shape, &array.bytes));
            const leat_attr attr = {"t", LEAT_ATTR_TENSOR, 1, {.tensor = &array}};
            lt_graph *graph = graph_of_node(&attr, 1);
            uint32_t c;
            assert_ok(lt_graph_add_constant(graph, "c", &array, true, &c, &err), &err);
            lt_node_set_input(graph->nodes[0], 0, c);
            reading r;
            round_trip(graph, &r);
            assert_same_value(&graph->values[c], read_value(&r, "c"));
            assert_same_attr(&attr, &r.graph->nodes[0]->attrs[0]);
            free_all(graph, &r);
        }
    }
}

static void signature_with_symbols_and_unknown_rank_survives(void **state)
{
    (void)state;
    lt_graph *graph = graph_of_node(NULL, 0);
    leat_value *x = &graph->values[graph->inputs[0]];
    x->rank = 4;
    x->shape[1] = 3;
    x->shape[3] = 0;
    assert_ok(lt_graph_symbol(graph, "N", &x->shape[0], &err), &err);
    assert_ok(lt_graph_symbol(graph, NULL, &x->shape[2], &err), &err);
    reading r;
    round_trip(graph, &r);
    const leat_value *read = read_value(&r, "x");
    assert_same_value(x, read);
    assert_string_equal(lt_graph_symbol_name(r.graph, read->shape[0]), "N");
    assert_null(lt_graph_symbol_name(r.graph, read->shape[2]));
    assert_int_equal(read_value(&r, "y")->rank, -1);
    free_all(graph, &r);
}

/* Constants that no node reads are dropped; omitted inputs and outputs stay omitted. */
static void omitted_values_stay_omitted_and_unused_constants_go(void **state)
{
    (void)state;
    lt_graph *graph = new_graph();
    float number = 7;
    leat_array one = test_f32(&number, "1");
    uint32_t unused, values[4] = {0, LEAT_NO_VALUE, LEAT_NO_VALUE, 0};
    assert_ok(lt_graph_add_constant(graph, "unused", &one, true, &unused, &err), &err);
    assert_ok(lt_graph_add_constant(graph, "c", &one, true, &values[0], &err), &err);
    assert_ok(lt_graph_add_value(graph, "y", &values[3], &err), &err);
    const lt_node_desc desc = {"Op", "acme", "", values, 2, values + 2, 2, NULL, 0};
    assert_ok(lt_graph_add_node(graph, &desc, 0, NULL, &err), &err);
    graph->outputs = lt_arena_copy(lt_graph_arena(graph), &values[3], sizeof(uint32_t));
    graph->n_outputs = 1;
    reading r;
    round_trip(graph, &r);
    assert_int_equal(lt_graph_find_value(r.graph, "unused"), LEAT_NO_VALUE);
    const leat_node *node = r.graph->nodes[0];
    assert_int_equal(node->n_inputs, 2);
    assert_int_equal(node->n_outputs, 2);
    assert_int_equal(node->inputs[1], LEAT_NO_VALUE);
    assert_int_equal(node->outputs[0], LEAT_NO_VALUE);
    free_all(graph, &r);
}

/* --- models that were read ----------------------------------------------------------------------
 */

static void assert_same_text(const lt_graph *a, const lt_graph *b)
{
    char one[4096], two[4096];
    assert_true(lt_graph_text(a, one, sizeof(one)) < sizeof(one));
    lt_graph_text(b, two, sizeof(two));
    assert_string_equal(one, two);
}

/* y = If(x > 0) {x + w} else {x}: a body that captures an input, a constant outside, and has one of
 * its own. */
static void bodies_and_captures_survive(void **state)
{
    (void)state;
    float w[2] = {1, 2}, own[1] = {3};
    bool yes = true;
    const leat_array condition = {LEAT_DTYPE_BOOL, 0, {0}, &yes, 1};
    onnx_builder *b = onnx_builder_create(18), *then = onnx_builder_create(18),
                 *other = onnx_builder_create(18);
    onnx_builder_floats(then, "own", "1", own);
    onnx_builder_node(then, "Add", "x,w", "t", NULL, 0);
    onnx_builder_node(then, "Mul", "t,own", "u", NULL, 0);
    onnx_builder_output(then, "u", LEAT_DTYPE_F32, "2");
    onnx_builder_node(other, "Identity", "x", "v", NULL, 0);
    onnx_builder_output(other, "v", LEAT_DTYPE_F32, "2");
    const leat_attr bodies[] = {{"then_branch", LEAT_ATTR_GRAPH, 1, {.graph = then}},
                                {"else_branch", LEAT_ATTR_GRAPH, 1, {.graph = other}}};
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "2");
    onnx_builder_floats(b, "w", "2", w);
    onnx_builder_constant(b, "yes", &condition);
    onnx_builder_node(b, "If", "yes", "y", bodies, 2);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "2");
    size_t bytes;
    const void *data = onnx_builder_finish(b, &bytes);
    reading first = {0}, second;
    assert_ok(reading_try(&first, data, bytes), &first.err);
    round_trip(first.graph, &second);
    assert_same_text(first.graph, second.graph);
    const lt_graph *body = first.graph->nodes[0]->attrs[0].u.graph;
    const lt_graph *again = second.graph->nodes[0]->attrs[0].u.graph;
    assert_same_text(body, again);
    assert_int_equal(again->n_captures, body->n_captures);
    assert_same_value(&body->values[lt_graph_find_value(body, "own")],
                      &again->values[lt_graph_find_value(again, "own")]);
    reading_free(&second);
    reading_free(&first);
    onnx_builder_destroy(b);
    onnx_builder_destroy(then);
    onnx_builder_destroy(other);
}

static pb property(const char *key, const char *value)
{
    pb m = {0};
    pb_text(&m, 1, key);
    pb_text(&m, 2, value);
    return m;
}

static bool contains(const uint8_t *data, size_t bytes, const pb *part)
{
    return memmem(data, bytes, part->data, part->bytes) != NULL;
}

static void texts_and_metadata_survive_and_clones_have_them(void **state)
{
    (void)state;
    pb graph = pb_graph(), about = {0}, about_graph = {0};
    pb_text(&about, 3, "2.7.1");
    pb_text(&about, 4, "org.example");
    pb_int(&about, 5, 42);
    pb_text(&about, 6, "what the model is for");
    pb_message(&about, 14, property("author", "someone"));
    pb_message(&about, 14, property("licence", "some"));
    pb_text(&about_graph, 10, "what the graph does");
    pb_message(&about_graph, 16, property("source", "a file"));
    pb_message(&graph, 1, pb_node("Neg", "x", "y"));
    pb_raw(&graph, about_graph.data, about_graph.bytes);
    pb model = pb_model(&graph);
    pb_text(&model, 2, "pytorch");
    pb_raw(&model, about.data, about.bytes);
    reading r = {0};
    read_model(&r, &model);
    lt_graph *clone;
    assert_ok(lt_graph_clone(r.graph, &clone, &err), &err);
    const lt_graph *const graphs[] = {r.graph, clone};
    for (size_t i = 0; i < 2; i++) {
        size_t bytes;
        assert_ok(lt_onnx_write(graphs[i], PATH, 0, &err), &err);
        uint8_t *data = test_read_file(PATH, &bytes);
        pb producer = {0};
        pb_text(&producer, 2, "pytorch");
        assert_true(contains(data, bytes, &producer));
        assert_true(contains(data, bytes, &about));
        assert_true(contains(data, bytes, &about_graph));
        free(data);
    }
    remove(PATH);
    lt_graph_destroy(clone);
    reading_free(&r);
}

static void model_without_producer_names_leat(void **state)
{
    (void)state;
    lt_graph *graph = graph_of_node(NULL, 0);
    reading r;
    round_trip(graph, &r);
    assert_string_equal(r.graph->producer, "leat");
    assert_int_equal(r.graph->ir_version, 10);
    assert_int_equal(r.graph->n_opsets, 2);
    assert_int_equal(lt_graph_opset(r.graph, "acme"), 3);
    free_all(graph, &r);
}

/* --- versions -----------------------------------------------------------------------------------
 */

/* A function F(a, b) = Op(Clip(a, , b)) that imports ai.onnx 13 and other 5, in a model of 22 that
 * does not import `other`. */
static pb model_with_function(const char *op)
{
    pb graph = pb_graph(), function = {0}, call = pb_node("F", "x", "y");
    pb_text(&function, 1, "F");
    pb_names(&function, 4, "a,b");
    pb_names(&function, 5, "c");
    pb clip = {0}, inner = {0};
    pb_text(&clip, 1, "a");
    pb_text(&clip, 1, "");
    pb_text(&clip, 1, "b");
    pb_text(&clip, 2, "t");
    pb_text(&clip, 4, "Clip");
    pb_message(&function, 7, clip);
    inner = pb_node(op, "t", "c");
    pb_text(&inner, 7, "other");
    pb_message(&function, 7, inner);
    pb_message(&function, 9, pb_opset("", 13));
    pb_message(&function, 9, pb_opset("other", 5));
    pb_text(&function, 10, "local");
    pb_text(&call, 7, "local");
    pb_message(&graph, 1, pb_node("Neg", "x", "n"));
    pb_message(&graph, 1, call);
    pb model = pb_model(&graph);
    pb_message(&model, 25, function);
    pb_message(&model, 8, pb_opset("local", 1));
    return model;
}

static void nodes_of_other_versions_keep_them(void **state)
{
    (void)state;
    pb model = model_with_function("Op");
    reading first = {0}, second, third;
    read_model(&first, &model);
    round_trip(first.graph, &second);
    round_trip(second.graph, &third);
    const reading *const all[] = {&first, &second, &third};
    for (size_t i = 0; i < 3; i++) {
        const lt_graph *g = all[i]->graph;
        assert_int_equal(g->n_nodes, 3);
        assert_int_equal(lt_graph_opset(g, ""), 22);
        for (uint32_t k = 0; k < 3; k++) {
            const leat_node *node = g->nodes[k];
            bool clip = strcmp(node->op, "Clip") == 0, neg = strcmp(node->op, "Neg") == 0;
            assert_int_equal(node->opset, clip ? 13 : neg ? 22 : 5);
            assert_true(!clip || (node->n_inputs == 3 && node->inputs[1] == LEAT_NO_VALUE));
            assert_true(clip || neg || strcmp(node->domain, "other") == 0);
        }
    }
    assert_int_equal(lt_graph_opset(second.graph, "other"), 5);
    reading_free(&third);
    reading_free(&second);
    reading_free(&first);
}

/* y = F(x), F being Softmax as it was before opset 13, over all of 3 x 2, in a model of 22, whose
 * Softmax goes along one axis. */
static pb model_of_two_softmaxes(void)
{
    pb graph = {0}, function = {0}, softmax = pb_node("Softmax", "a", "c"), axis = {0},
       call = pb_node("F", "x", "y");
    pb_text(&axis, 1, "axis");
    pb_int(&axis, 3, 1);
    pb_int(&axis, 20, LEAT_ATTR_INT);
    pb_message(&softmax, 5, axis);
    pb_text(&function, 1, "F");
    pb_text(&function, 4, "a");
    pb_text(&function, 5, "c");
    pb_message(&function, 7, softmax);
    pb_message(&function, 9, pb_opset("", 12));
    pb_text(&function, 10, "local");
    pb_text(&call, 7, "local");
    pb_message(&graph, 11, pb_value("x", LEAT_DTYPE_F32, "1x3x2"));
    pb_message(&graph, 12, pb_value("y", LEAT_DTYPE_F32, "1x3x2"));
    pb_message(&graph, 1, call);
    pb model = pb_model(&graph);
    pb_message(&model, 25, function);
    pb_message(&model, 8, pb_opset("local", 1));
    return model;
}

static void functions_of_older_versions_mean_the_same_when_read(void **state)
{
    (void)state;
    float x[6] = {0};
    leat_array in = test_f32(x, "1x3x2");
    pb bytes = model_of_two_softmaxes();
    leat_context *context;
    leat_model *model;
    leat_session *session;
    assert_ok(leat_context_create(NULL, &context, &err), &err);
    assert_ok(leat_model_load_memory(context, bytes.data, bytes.bytes, NULL, &model, &err), &err);
    for (int time = 0; time < 3; time++) {
        leat_array out = {0};
        assert_ok(leat_session_create(model, NULL, &session, &err), &err);
        assert_ok(leat_session_run(session, &in, 1, &out, 1, &err), &err);
        for (size_t i = 0; i < 6; i++) {
            assert_true(fabsf(((const float *)out.data)[i] - 1.0f / 6) < 1e-6f);
        }
        leat_session_destroy(session);
        assert_ok(leat_model_save(model, PATH, NULL, &err), &err);
        leat_model_destroy(model);
        assert_ok(leat_model_load(context, PATH, NULL, &model, &err), &err);
    }
    leat_model_destroy(model);
    leat_context_destroy(context);
    remove(PATH);
}

/* A body cannot move into a function: it may capture. */
static void if_of_another_version_is_refused(void **state)
{
    (void)state;
    pb graph = pb_graph(), function = {0}, call = pb_node("F", "x", "y"), body = {0}, attr = {0},
       node = pb_node("If", "yes", "c"), yes = pb_tensor("", LEAT_DTYPE_BOOL, ""),
       constant = pb_node("Constant", "", "yes"), value = {0};
    pb_bytes(&yes, 9, "\1", 1);
    pb_text(&value, 1, "value");
    pb_message(&value, 5, yes);
    pb_int(&value, 20, LEAT_ATTR_TENSOR);
    pb_message(&constant, 5, value);
    pb_text(&body, 2, "body");
    pb_message(&body, 1, pb_node("Neg", "a", "d"));
    pb_message(&body, 12, pb_value("d", LEAT_DTYPE_F32, "2"));
    pb_text(&attr, 1, "then_branch");
    pb_message(&attr, 6, body);
    pb_int(&attr, 20, LEAT_ATTR_GRAPH);
    pb_message(&node, 5, attr);
    pb_text(&function, 1, "F");
    pb_text(&function, 4, "a");
    pb_text(&function, 5, "c");
    pb_message(&function, 7, constant);
    pb_message(&function, 7, node);
    pb_message(&function, 9, pb_opset("", 12));
    pb_text(&function, 10, "local");
    pb_text(&call, 7, "local");
    pb_message(&graph, 1, call);
    pb model = pb_model(&graph);
    pb_message(&model, 25, function);
    reading r = {0};
    read_model(&r, &model);
    assert_int_equal(lt_onnx_write(r.graph, PATH, 0, &err), LEAT_UNSUPPORTED);
    assert_non_null(strstr(err.message, "'y' (If)"));
    reading_free(&r);
}

static void containers_in_the_signature_are_refused(void **state)
{
    (void)state;
    lt_graph *graph = graph_of_node(NULL, 0);
    graph->values[graph->inputs[0]].dtype = LEAT_DTYPE_SEQUENCE;
    assert_int_equal(lt_onnx_write(graph, PATH, 0, &err), LEAT_UNSUPPORTED);
    assert_non_null(strstr(err.message, "'x' is a sequence"));
    lt_graph_destroy(graph);
}

static leat_status attempt(void *argument, const leat_allocator *allocator, leat_error *e)
{
    const pb *model = argument;
    lt_memory own;
    lt_graph *graph;
    lt_memory_init(&own, allocator, 0);
    const lt_onnx_source source = {.data = model->data, .bytes = model->bytes};
    leat_status status = lt_onnx_read(&own, &source, &graph, e);
    status = status ? status : lt_onnx_write(graph, PATH, 4, e);
    lt_graph_destroy(graph);
    return status;
}

static void failing_allocations_leave_nothing(void **state)
{
    (void)state;
    pb model = model_with_function("Op");
    pb_text(&model, 6, "a text");
    test_walk_allocations(attempt, &model);
    remove(PATH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_attribute_survives),
        cmocka_unit_test(every_type_of_tensor_survives),
        cmocka_unit_test(signature_with_symbols_and_unknown_rank_survives),
        cmocka_unit_test(omitted_values_stay_omitted_and_unused_constants_go),
        cmocka_unit_test(bodies_and_captures_survive),
        cmocka_unit_test(texts_and_metadata_survive_and_clones_have_them),
        cmocka_unit_test(model_without_producer_names_leat),
        cmocka_unit_test(nodes_of_other_versions_keep_them),
        cmocka_unit_test(functions_of_older_versions_mean_the_same_when_read),
        cmocka_unit_test(if_of_another_version_is_refused),
        cmocka_unit_test(containers_in_the_signature_are_refused),
        cmocka_unit_test(failing_allocations_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

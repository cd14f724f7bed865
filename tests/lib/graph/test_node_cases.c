/* SPDX-License-Identifier: Apache-2.0 */
/* Inference against ONNX's own node tests: every case all of whose operators leat knows, at
 * concrete shapes, must give the types and shapes of the stored outputs. The folder of cases
 * (backend/test/ data/node of the onnx package) is given by LEAT_ONNX_DATA. */
#include "support/test.h"

#include "base/file.h"
#include "base/tensor.h"
#include "graph/infer.h"
#include "onnx/reader.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILES 64

typedef enum outcome {
    PASSED,
    SKIPPED, /* an operator that leat does not know, or a shape that needs a computed value */
    FAILED
} outcome;

typedef struct one_case {
    const char *directory;
    lt_memory memory;
    lt_arena arena;
    lt_graph *graph;
    leat_value *values;
    lt_file_map files[MAX_FILES];
    size_t n_files;
    leat_error err;
    char note[512];
} one_case;

/* Maps DIRECTORY/name; false when there is no such file. */
static bool map(one_case *c, const char *name, lt_file_map *out)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s", c->directory, name);
    if (c->n_files == MAX_FILES || lt_file_map_open(path, out, &c->err) != LEAT_OK) {
        return false;
    }
    c->files[c->n_files++] = *out;
    return true;
}

/* Reads test_data_set_0/KIND_I.pb; false when there is none or it is no tensor. */
static bool tensor(one_case *c, const char *kind, uint32_t i, leat_array *out)
{
    char name[64];
    lt_file_map file;
    snprintf(name, sizeof(name), "test_data_set_0/%s_%u.pb", kind, i);
    return map(c, name, &file) &&
           lt_onnx_read_tensor(&c->arena, file.data, file.bytes, out, NULL, &c->err) == LEAT_OK;
}

static bool set_inputs(one_case *c)
{
    for (uint32_t i = 0; i < c->graph->n_inputs; i++) {
        leat_array array;
        leat_value *value = &c->values[c->graph->inputs[i]];
        if (!tensor(c, "input", i, &array)) {
            return false; /* a sequence or an optional */
        }
        value->dtype = array.dtype;
        value->rank = array.rank;
        memcpy(value->shape, array.shape, sizeof(value->shape));
        value->bytes = array.bytes;
        value->data = array.data ? array.data : "";
    }
    return true;
}

/* At load, with the declared (symbolic or fixed) inputs, nothing may be refused. */
static outcome infer_at_load(one_case *c)
{
    if (lt_infer_graph(c->graph, false, &c->err) != LEAT_OK) {
        snprintf(c->note, sizeof(c->note), "at load: %s", c->err.message);
        return FAILED;
    }
    if (lt_graph_check(c->graph, &c->err) != LEAT_OK) {
        snprintf(c->note, sizeof(c->note), "after load: %s", c->err.message);
        return FAILED;
    }
    return PASSED;
}

static outcome infer_nodes(one_case *c)
{
    for (uint32_t i = 0; i < c->graph->n_nodes; i++) {
        const leat_node *node = c->graph->nodes[i];
        if (lt_op_find(node->domain, node->op, node->opset) == NULL) {
            snprintf(c->note, sizeof(c->note), "%s is not known", node->op);
            return SKIPPED;
        }
        lt_infer infer = {.graph = c->graph, .values = c->values, .concrete = true};
        leat_status status = lt_infer_node(&infer, node, &c->err);
        if (status == LEAT_UNSUPPORTED && strstr(c->err.message, "known in a run only")) {
            return infer_at_load(c) == PASSED ? SKIPPED : FAILED; /* control flow, sequences */
        }
        if (status != LEAT_OK) {
            snprintf(c->note, sizeof(c->note), "%s", c->err.message);
            return FAILED;
        }
        if (infer.needs != LEAT_NO_VALUE) {
            snprintf(c->note, sizeof(c->note), "%s needs computed '%s'", node->op,
                     c->values[infer.needs].name);
            return c->values[infer.needs].data ? FAILED : SKIPPED;
        }
    }
    return PASSED;
}

static outcome compare(one_case *c)
{
    for (uint32_t i = 0; i < c->graph->n_outputs; i++) {
        leat_array wanted;
        const leat_value *value = &c->values[c->graph->outputs[i]];
        char a[160], b[160];
        if (!tensor(c, "output", i, &wanted)) {
            snprintf(c->note, sizeof(c->note), "output %u is no tensor", i);
            return SKIPPED;
        }
        if (value->dtype != wanted.dtype ||
            !lt_shape_equal(value->rank, value->shape, wanted.rank, wanted.shape) ||
            value->bytes != wanted.bytes) {
            snprintf(c->note, sizeof(c->note), "output %u is %s %s of %zu bytes, not %s %s of %zu",
                     i, leat_dtype_name(value->dtype),
                     lt_shape_text(value->rank, value->shape, a, sizeof(a)), value->bytes,
                     leat_dtype_name(wanted.dtype),
                     lt_shape_text(wanted.rank, wanted.shape, b, sizeof(b)), wanted.bytes);
            return FAILED;
        }
    }
    return PASSED;
}

static outcome read_and_infer(one_case *c)
{
    lt_file_map model;
    if (!map(c, "model.onnx", &model)) {
        return SKIPPED;
    }
    lt_onnx_source source = {.data = model.data, .bytes = model.bytes};
    if (lt_onnx_read(&c->memory, &source, &c->graph, &c->err) != LEAT_OK) {
        snprintf(c->note, sizeof(c->note), "%s", c->err.message);
        return SKIPPED; /* the reader has tests of its own */
    }
    c->values = lt_arena_copy(&c->arena, c->graph->values, c->graph->n_values * sizeof(*c->values));
    assert_non_null(c->values);
    if (!set_inputs(c)) {
        snprintf(c->note, sizeof(c->note), "an input is no tensor");
        return SKIPPED;
    }
    outcome result = infer_nodes(c);
    result = result == PASSED ? compare(c) : result;
    return result == PASSED ? infer_at_load(c) : result;
}

static outcome run_case(const char *directory, char *note, size_t capacity)
{
    one_case c = {.directory = directory};
    lt_memory_init(&c.memory, NULL, 0);
    lt_arena_init(&c.arena, &c.memory, 0);
    outcome result = read_and_infer(&c);
    snprintf(note, capacity, "%s", c.note);
    lt_graph_destroy(c.graph);
    lt_arena_destroy(&c.arena);
    for (size_t i = 0; i < c.n_files; i++) {
        lt_file_map_close(&c.files[i]);
    }
    assert_int_equal(c.memory.live_blocks, 0);
    return result;
}

static void infer_onnx_node_cases_gives_stored_shapes(void **state)
{
    (void)state;
    const char *folder = getenv("LEAT_ONNX_DATA");
    DIR *cases = folder ? opendir(folder) : NULL;
    size_t count[3] = {0};
    bool verbose = getenv("LEAT_VERBOSE") != NULL;
    if (cases == NULL) {
        print_message("LEAT_ONNX_DATA does not name the folder of ONNX's node tests\n");
        skip();
    }
    for (struct dirent *entry; (entry = readdir(cases)) != NULL;) {
        char directory[768], note[512];
        if (strncmp(entry->d_name, "test_", 5) != 0) {
            continue;
        }
        snprintf(directory, sizeof(directory), "%s/%s", folder, entry->d_name);
        outcome result = run_case(directory, note, sizeof(note));
        count[result]++;
        if (result == FAILED || (verbose && result == SKIPPED)) {
            print_message("%s %s: %s\n", result == FAILED ? "failed" : "skipped", entry->d_name,
                          note);
        }
    }
    closedir(cases);
    print_message("%zu cases agree, %zu failed, %zu skipped\n", count[PASSED], count[FAILED],
                  count[SKIPPED]);
    assert_int_equal(count[FAILED], 0);
    assert_true(count[PASSED] > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(infer_onnx_node_cases_gives_stored_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

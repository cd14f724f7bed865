/* SPDX-License-Identifier: Apache-2.0 */
/* ONNX's node cases between pages that no access survives (support/guarded.h): inputs, the caller's
 * memory for outputs and all that the context allocates end at one; then inputs and outputs begin
 * at one. Whether the numbers are right is for `leat test`. */
#include "support/test.h"

#include "base/file.h"
#include "onnx/reader.h"
#include "support/guarded.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 32

typedef struct node_case {
    char directory[640];
    lt_memory memory;
    lt_arena arena;
    leat_array inputs[MOST], outputs[MOST]; /* as the files have them */
    size_t n_inputs, n_outputs;
} node_case;

static char running[700]; /* for who looks for a fault */
static bool whole;        /* nothing wrote beside a block of a context */

static void *take(void *user, size_t bytes, size_t alignment)
{
    guarded g;
    (void)user;
    return guarded_make(&g, bytes, alignment, true);
}

static void give_back(void *user, void *block, size_t bytes)
{
    guarded g = guarded_of(block, bytes);
    (void)user;
    whole = guarded_free(&g) && whole;
}

/* Reads KIND_0.pb, ...; false when one is no plain tensor. */
static bool read_arrays(node_case *c, const char *kind, const leat_io *ios, size_t n,
                        leat_array *out)
{
    leat_error err = {0};
    for (size_t i = 0; i < n; i++) {
        char path[720];
        lt_file_map map;
        snprintf(path, sizeof(path), "%s/test_data_set_0/%s_%zu.pb", c->directory, kind, i);
        if (ios[i].dtype == LEAT_DTYPE_STRING || ios[i].dtype >= LEAT_DTYPE_SEQUENCE ||
            lt_file_map_open(path, &map, &err) != LEAT_OK) {
            return false;
        }
        void *copy = lt_arena_copy(&c->arena, map.data, map.bytes);
        leat_status status =
            lt_onnx_read_value(&c->arena, ios[i].dtype, copy, map.bytes, &out[i], &err);
        lt_file_map_close(&map);
        if (status != LEAT_OK) {
            return false;
        }
    }
    return true;
}

static void place(guarded *g, leat_array *array, bool at_end)
{
    const void *from = array->data;
    array->data = guarded_make(g, array->bytes, 1, at_end);
    assert_non_null(array->data);
    if (array->bytes > 0) {
        memcpy(array->data, from, array->bytes);
    }
}

static void run_placed(const node_case *c, leat_session *session, bool at_end)
{
    leat_array in[MOST], out[MOST];
    guarded guards[2 * MOST];
    leat_error err = {0};
    for (size_t i = 0; i < c->n_inputs; i++) {
        in[i] = c->inputs[i];
        place(&guards[i], &in[i], at_end);
    }
    for (size_t i = 0; i < c->n_outputs; i++) {
        out[i] = c->outputs[i];
        place(&guards[c->n_inputs + i], &out[i], at_end);
    }
    assert_ok(leat_session_run(session, in, c->n_inputs, out, c->n_outputs, &err), &err);
    for (size_t i = 0; i < c->n_inputs + c->n_outputs; i++) {
        whole = guarded_free(&guards[i]) && whole;
    }
    if (!whole) {
        fail_msg("%s wrote outside of an array", running);
    }
}

/* True when it ran: what leat does not have, and what is no tensor, is not run. */
static bool run_case(leat_context *context, node_case *c)
{
    char path[720];
    leat_error err = {0};
    leat_model *model = NULL;
    leat_session *session = NULL;
    bool ran = false;
    snprintf(path, sizeof(path), "%s/model.onnx", c->directory);
    if (leat_model_load(context, path, NULL, &model, &err) == LEAT_OK &&
        leat_session_create(model, NULL, &session, &err) == LEAT_OK) {
        const leat_model_signature *io = leat_model_io(model);
        c->n_inputs = io->n_inputs;
        c->n_outputs = io->n_outputs;
        ran = io->n_inputs <= MOST && io->n_outputs <= MOST &&
              read_arrays(c, "input", io->inputs, io->n_inputs, c->inputs) &&
              read_arrays(c, "output", io->outputs, io->n_outputs, c->outputs);
        for (int at_end = 0; at_end < 2 && ran; at_end++) {
            run_placed(c, session, at_end);
        }
    }
    leat_session_destroy(session);
    leat_model_destroy(model);
    return ran;
}

static size_t run_folder(leat_context *context, const char *folder, const char *isa)
{
    DIR *cases = opendir(folder);
    size_t n = 0;
    assert_non_null(cases);
    for (struct dirent *entry; (entry = readdir(cases)) != NULL;) {
        /* What a function expands to is of operators that have cases of their own. */
        if (strncmp(entry->d_name, "test_", 5) != 0 || strstr(entry->d_name, "_expanded")) {
            continue;
        }
        node_case c = {.n_inputs = 0};
        snprintf(c.directory, sizeof(c.directory), "%s/%s", folder, entry->d_name);
        snprintf(running, sizeof(running), "%s with %s", entry->d_name, isa);
        lt_memory_init(&c.memory, NULL, 0);
        lt_arena_init(&c.arena, &c.memory, 0);
        n += run_case(context, &c);
        lt_arena_destroy(&c.arena);
    }
    closedir(cases);
    return n;
}

static void node_cases_stay_within_their_arrays(void **state)
{
    static const char *const isas[] = {"portable", "avx2", "avx512"};
    const char *folder = getenv("LEAT_ONNX_DATA");
    const leat_allocator allocator = {take, give_back, NULL};
    const leat_context_desc desc = {
        .struct_size = sizeof(desc), .allocator = &allocator, .threads = 1};
    (void)state;
    if (folder == NULL) {
        print_message("LEAT_ONNX_DATA is not set: make check sets it\n");
        skip();
    }
    for (size_t i = 0; i < sizeof(isas) / sizeof(isas[0]); i++) {
        leat_context *context;
        leat_error err = {0};
        whole = true;
        setenv("LEAT_CPU_ISA", isas[i], 1);
        assert_ok(leat_context_create(&desc, &context, &err), &err);
        const size_t n = run_folder(context, folder, isas[i]);
        leat_context_destroy(context);
        assert_true(whole && n > 1000);
        running[0] = '\0';
    }
}

static int tell_who_ran(void **state)
{
    (void)state;
    unsetenv("LEAT_CPU_ISA");
    if (running[0] != '\0') {
        print_message("it was %s\n", running);
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(node_cases_stay_within_their_arrays, tell_who_ran)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

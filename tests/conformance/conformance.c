/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "conformance/conformance.h"
#include "conformance/nodes.h"
#include "runtime/executor.h"
#include "support/oracle.h"

#include <stdio.h>
#include <stdlib.h>

#define MAX_CHECKS 128

/* What every check gets: the target, and for node checks the node. */
typedef struct check_input {
    const conformance_target *target;
    const node_case *node;
    const char *name;
} check_input;

/* A context with the backend loaded and its device open. */
typedef struct bench {
    leat_context *context;
    lt_device *device;
    const leat_backend *backend;
} bench;

static leat_status open_bench(const conformance_target *target, const leat_allocator *allocator,
                              bench *out_bench, leat_error *err)
{
    memset(out_bench, 0, sizeof(*out_bench));
    leat_context_desc desc = {.struct_size = sizeof(desc), .allocator = allocator, .threads = 1};
    leat_status status = leat_context_create(&desc, &out_bench->context, err);
    if (status == LEAT_OK && target->plugin != NULL) {
        status = leat_context_load_backend(out_bench->context, target->plugin, err);
    }
    if (status == LEAT_OK) {
        status = lt_device_get(out_bench->context, target->device, &out_bench->device, err);
    }
    if (status != LEAT_OK) {
        leat_context_destroy(out_bench->context);
        out_bench->context = NULL;
        return status;
    }
    out_bench->backend = out_bench->device->backend;
    return LEAT_OK;
}

/* Skips the running test when the target has an exclusion for it, or no device. */
static void enter(const check_input *input, bench *out_bench)
{
    const conformance_target *target = input->target;
    leat_error err = {0};
    for (size_t i = 0; i < target->n_exclusions; i++) {
        const conformance_exclusion *row = &target->exclusions[i];
        if (strncmp(input->name, row->pattern, strlen(row->pattern)) == 0) {
            print_message("%s: %s\n", input->name, row->reason);
            skip();
        }
    }
    leat_status status = open_bench(target, NULL, out_bench, &err);
    if (status == LEAT_NO_DEVICE) {
        print_message("%s: %s\n", input->name, err.message);
        skip();
    }
    if (status != LEAT_OK) {
        fail_msg("%s", err.message);
    }
}

static void leave(bench *b)
{
    leat_context_destroy(b->context);
}

/* ------------------------------------------------------------------------------------------------
 * Structure and devices
 * --------------------------------------------------------------------------------------------- */

static void backend_structure_is_complete(void **state)
{
    bench b;
    enter(*state, &b);
    assert_int_equal(b.backend->abi, LEAT_BACKEND_ABI);
    assert_true(b.backend->struct_size >= offsetof(leat_backend, stream_wrap));
    assert_non_null(b.backend->version);
    assert_string_equal(b.backend->sanitizer, LEAT_BACKEND_SANITIZER);
    assert_true((b.backend->rows != NULL) != (b.backend->compile != NULL));
    bool host = (b.backend->features & LEAT_BACKEND_HOST_MEMORY) != 0;
    assert_true(host || (b.backend->copy != NULL && b.backend->stream_wait != NULL));
    leave(&b);
}

static void rows_have_sane_fields(void **state)
{
    bench b;
    enter(*state, &b);
    for (size_t i = 0; i < b.backend->n_rows; i++) {
        const leat_op_row *row = &b.backend->rows[i];
        assert_true(row->since >= 1);
        assert_true(row->until == 0 || row->until >= row->since);
        if (row->dtypes == 0 || (row->dtypes >> (LEAT_DTYPE_OPTIONAL + 1)) != 0) {
            fail_msg("row %s: types %llx", row->op, (unsigned long long)row->dtypes);
        }
    }
    leave(&b);
}

static void device_info_names_every_device(void **state)
{
    bench b;
    enter(*state, &b);
    size_t count = b.backend->device_count(b.device->entry->instance);
    assert_true(count >= 1);
    for (size_t i = 0; i < count; i++) {
        leat_error err = {0};
        leat_device_properties info = {.struct_size = sizeof(info)};
        assert_ok(b.backend->device_info(b.device->entry->instance, i, &info, &err), &err);
        assert_non_null(info.name);
        assert_int_equal(strncmp(info.name, b.backend->name, strlen(b.backend->name)), 0);
        assert_true(info.available || info.reason[0] != '\0');
    }
    leave(&b);
}

static void device_info_bad_index_returns_invalid(void **state)
{
    bench b;
    enter(*state, &b);
    leat_error err = {0};
    leat_device_properties info = {.struct_size = sizeof(info)};
    size_t count = b.backend->device_count(b.device->entry->instance);
    assert_int_equal(b.backend->device_info(b.device->entry->instance, count, &info, &err),
                     LEAT_INVALID);
    assert_true(err.message[0] != '\0');
    leave(&b);
}

static void device_open_bad_index_fails(void **state)
{
    bench b;
    enter(*state, &b);
    leat_error err = {0};
    void *device = &b;
    size_t count = b.backend->device_count(b.device->entry->instance);
    assert_int_not_equal(b.backend->device_open(b.device->entry->instance, count, &device, &err),
                         LEAT_OK);
    assert_null(device);
    leave(&b);
}

/* ------------------------------------------------------------------------------------------------
 * Memory and copies
 * --------------------------------------------------------------------------------------------- */

static void alloc_blocks_are_aligned_and_distinct(void **state)
{
    static const size_t sizes[] = {0, 1, 63, 64, 4097, 1u << 20};
    enum {
        N = sizeof(sizes) / sizeof(sizes[0])
    };
    bench b;
    enter(*state, &b);
    leat_error err = {0};
    void *blocks[N];
    for (size_t i = 0; i < N; i++) {
        assert_ok(lt_device_alloc(b.device, sizes[i], &blocks[i], &err), &err);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % 64, 0);
        for (size_t k = 0; k < i; k++) {
            assert_ptr_not_equal(blocks[i], blocks[k]);
        }
    }
    for (size_t i = 0; i < N; i++) {
        lt_device_free(b.device, blocks[i], sizes[i]);
    }
    leave(&b);
}

/* host -> a -> b -> host, at odd offsets. */
static void copy_round_trip_keeps_bytes(void **state)
{
    static const size_t sizes[] = {1, 3, 64, 1000, 65537};
    bench b;
    enter(*state, &b);
    leat_error err = {0};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t bytes = sizes[i];
        unsigned char *sent = malloc(bytes), *got = malloc(bytes);
        void *first = NULL, *second = NULL;
        for (size_t k = 0; k < bytes; k++) {
            sent[k] = (unsigned char)(k * 7 + 13);
            got[k] = 0;
        }
        assert_ok(lt_device_alloc(b.device, bytes + 8, &first, &err), &err);
        assert_ok(lt_device_alloc(b.device, bytes + 8, &second, &err), &err);
        char *from = (char *)((uintptr_t)first + 5), *to = (char *)((uintptr_t)second + 3);
        assert_ok(lt_device_copy(b.device, LEAT_COPY_HOST_TO_DEVICE, from, sent, bytes, &err),
                  &err);
        assert_ok(lt_device_copy(b.device, LEAT_COPY_DEVICE_TO_DEVICE, to, from, bytes, &err),
                  &err);
        assert_ok(lt_device_copy(b.device, LEAT_COPY_DEVICE_TO_HOST, got, to, bytes, &err), &err);
        assert_memory_equal(sent, got, bytes);
        lt_device_free(b.device, first, bytes + 8);
        lt_device_free(b.device, second, bytes + 8);
        free(sent);
        free(got);
    }
    leave(&b);
}

/* Copies of one stream go in order. */
static void copy_stream_keeps_order(void **state)
{
    bench b;
    enter(*state, &b);
    leat_error err = {0};
    if (lt_device_is_host(b.device)) {
        leave(&b);
        print_message("host memory has no streams\n");
        skip();
    }
    int first = 1, second = 2, got = 0;
    void *block = NULL, *stream = NULL;
    assert_ok(lt_device_alloc(b.device, sizeof(int), &block, &err), &err);
    assert_ok(b.backend->stream_create(b.device->handle, &stream, &err), &err);
    assert_ok(b.backend->copy(b.device->handle, stream, LEAT_COPY_HOST_TO_DEVICE, block, &first,
                              sizeof(int), &err),
              &err);
    assert_ok(b.backend->copy(b.device->handle, stream, LEAT_COPY_HOST_TO_DEVICE, block, &second,
                              sizeof(int), &err),
              &err);
    assert_ok(b.backend->copy(b.device->handle, stream, LEAT_COPY_DEVICE_TO_HOST, &got, block,
                              sizeof(int), &err),
              &err);
    assert_ok(b.backend->stream_wait(b.device->handle, stream, &err), &err);
    assert_int_equal(got, 2);
    b.backend->stream_destroy(b.device->handle, stream);
    lt_device_free(b.device, block, sizeof(int));
    leave(&b);
}

/* ------------------------------------------------------------------------------------------------
 * Nodes
 * --------------------------------------------------------------------------------------------- */

/* A node case with data. */
typedef struct built_node {
    leat_node node;
    leat_value values[NODE_MAX_INPUTS + 1];
    uint32_t indices[NODE_MAX_INPUTS + 1];
    uint32_t inputs[NODE_MAX_INPUTS]; /* of the segment */
    leat_array data[NODE_MAX_INPUTS];
    leat_segment segment;
} built_node;

static void fill_input(const node_case *c, uint32_t i, leat_array *array)
{
    *array = c->inputs[i];
    array->bytes = leat_dtype_bytes(array->dtype, oracle_count(array));
    array->data = malloc(array->bytes + 1);
    if (c->content[i] != NULL) {
        memcpy(array->data, c->content[i], array->bytes);
    } else {
        oracle_fill(array, 17 + i);
    }
}

static void describe_value(leat_value *value, const char *name, const leat_array *array)
{
    value->name = name;
    value->dtype = array->dtype;
    value->rank = array->rank;
    memcpy(value->shape, array->shape, sizeof(value->shape));
    value->bytes = leat_dtype_bytes(array->dtype, oracle_count(array));
}

static void build_node(const node_case *c, built_node *b)
{
    static const char *const names[] = {"x0", "x1", "x2", "x3"};
    memset(b, 0, sizeof(*b));
    for (uint32_t i = 0; i < c->n_inputs; i++) {
        fill_input(c, i, &b->data[i]);
        describe_value(&b->values[i], names[i], &b->data[i]);
        b->indices[i] = i;
        if (c->constants >> i & 1) {
            b->values[i].data = b->data[i].data;
        } else {
            b->inputs[b->segment.n_inputs++] = i;
        }
    }
    describe_value(&b->values[c->n_inputs], "y", &c->output);
    b->indices[c->n_inputs] = c->n_inputs;
    b->node = (leat_node){.op = c->op,
                          .domain = "",
                          .name = "node",
                          .opset = 22,
                          .n_inputs = c->n_inputs,
                          .n_outputs = 1,
                          .n_attrs = c->n_attrs,
                          .inputs = b->indices,
                          .outputs = b->indices + c->n_inputs,
                          .attrs = c->attrs};
    b->segment.n_nodes = 1;
    b->segment.nodes = &b->node;
    b->segment.n_values = c->n_inputs + 1;
    b->segment.values = b->values;
    b->segment.inputs = b->inputs;
    b->segment.n_outputs = 1;
    b->segment.outputs = b->indices + c->n_inputs;
}

static void free_node(const node_case *c, built_node *b)
{
    for (uint32_t i = 0; i < c->n_inputs; i++) {
        free(b->data[i].data);
    }
}

/* Buffers of one launch on the device. */
typedef struct launch_buffers {
    void *inputs[NODE_MAX_INPUTS];
    void *output;
    void *workspace;
    void *stream;
    size_t workspace_bytes;
} launch_buffers;

static void make_buffers(const bench *b, const built_node *n, const lt_executable *executable,
                         launch_buffers *out, leat_error *err)
{
    memset(out, 0, sizeof(*out));
    for (size_t i = 0; i < n->segment.n_inputs; i++) {
        const leat_array *data = &n->data[n->inputs[i]];
        assert_ok(lt_device_alloc(b->device, data->bytes, &out->inputs[i], err), err);
        assert_ok(lt_device_copy(b->device, LEAT_COPY_HOST_TO_DEVICE, out->inputs[i], data->data,
                                 data->bytes, err),
                  err);
    }
    size_t bytes = n->values[n->segment.outputs[0]].bytes;
    assert_ok(lt_device_alloc(b->device, bytes, &out->output, err), err);
    out->workspace_bytes = lt_executable_requirements(executable).workspace_bytes;
    assert_ok(lt_device_alloc(b->device, out->workspace_bytes, &out->workspace, err), err);
    if (!lt_device_is_host(b->device)) {
        assert_ok(b->backend->stream_create(b->device->handle, &out->stream, err), err);
    }
}

static void free_buffers(const bench *b, const built_node *n, launch_buffers *buffers)
{
    for (size_t i = 0; i < n->segment.n_inputs; i++) {
        lt_device_free(b->device, buffers->inputs[i], n->data[n->inputs[i]].bytes);
    }
    lt_device_free(b->device, buffers->output, n->values[n->segment.outputs[0]].bytes);
    lt_device_free(b->device, buffers->workspace, buffers->workspace_bytes);
    if (buffers->stream != NULL) {
        b->backend->stream_destroy(b->device->handle, buffers->stream);
    }
}

/* Launches and brings the result to host memory. */
static void launch(const bench *b, lt_executable *executable, launch_buffers *buffers, void *result,
                   size_t bytes, leat_error *err)
{
    const leat_launch what = {.inputs = (const void *const *)buffers->inputs,
                              .outputs = &buffers->output,
                              .workspace = buffers->workspace,
                              .stream = buffers->stream,
                              .pool = b->context->pool};
    assert_ok(lt_executable_launch(executable, &what, err), err);
    if (buffers->stream != NULL) {
        assert_ok(b->backend->stream_wait(b->device->handle, buffers->stream, err), err);
    }
    assert_ok(
        lt_device_copy(b->device, LEAT_COPY_DEVICE_TO_HOST, result, buffers->output, bytes, err),
        err);
}

static void check_result(const node_case *c, const built_node *n, leat_array *actual)
{
    double *x[NODE_MAX_INPUTS];
    double *y = calloc(oracle_count(actual) + 1, sizeof(double));
    for (uint32_t i = 0; i < c->n_inputs; i++) {
        size_t count = oracle_count(&n->data[i]);
        x[i] = malloc((count + 1) * sizeof(double));
        for (size_t k = 0; k < count; k++) {
            x[i][k] = oracle_get(&n->data[i], k);
        }
    }
    c->oracle(c, (const double *const *)x, y);
    double rtol = oracle_rtol(actual->dtype, c->length + 1);
    oracle_assert_close(actual, y, rtol, rtol);
    for (uint32_t i = 0; i < c->n_inputs; i++) {
        free(x[i]);
    }
    free(y);
}

/* Compiles and launches twice, with other buffers the second time. */
static void node_gives_what_the_oracle_gives(void **state)
{
    const check_input *input = *state;
    const node_case *c = input->node;
    bench b;
    enter(input, &b);
    leat_error err = {0};
    built_node n;
    build_node(c, &n);
    leat_node_support answer;
    assert_ok(lt_executor_describe(b.device, &n.segment, &answer, &err), &err);
    if (!answer.supported) {
        fail_msg("%s does not support it (%s), and no exclusion says why", input->target->device,
                 answer.reason);
    }
    lt_executable *executable = NULL;
    assert_ok(lt_executor_compile(b.device, &n.segment, &(lt_compile_context){0}, &executable, NULL,
                                  &err),
              &err);
    leat_array actual = c->output;
    actual.bytes = n.values[c->n_inputs].bytes;
    actual.data = malloc(actual.bytes + 1);
    for (int round = 0; round < 2; round++) {
        launch_buffers buffers;
        make_buffers(&b, &n, executable, &buffers, &err);
        memset(actual.data, 0xff, actual.bytes);
        launch(&b, executable, &buffers, actual.data, actual.bytes, &err);
        check_result(c, &n, &actual);
        free_buffers(&b, &n, &buffers);
    }
    free(actual.data);
    lt_executable_destroy(executable);
    free_node(c, &n);
    leave(&b);
}

static void describe_unknown_operator_gives_a_reason(void **state)
{
    node_case c = node_cases[1];
    c.op = "NoSuchOperator";
    bench b;
    enter(*state, &b);
    leat_error err = {0};
    built_node n;
    build_node(&c, &n);
    leat_node_support answer = {.supported = 1};
    assert_ok(lt_executor_describe(b.device, &n.segment, &answer, &err), &err);
    assert_false(answer.supported);
    assert_true(answer.reason[0] != '\0');
    free_node(&c, &n);
    leave(&b);
}

static void compile_unknown_operator_returns_unsupported(void **state)
{
    node_case c = node_cases[1];
    c.op = "NoSuchOperator";
    bench b;
    enter(*state, &b);
    leat_error err = {0};
    built_node n;
    build_node(&c, &n);
    lt_executable *executable = NULL;
    assert_int_equal(lt_executor_compile(b.device, &n.segment, &(lt_compile_context){0},
                                         &executable, NULL, &err),
                     LEAT_UNSUPPORTED);
    assert_null(executable);
    assert_true(err.message[0] != '\0');
    free_node(&c, &n);
    leave(&b);
}

/* ------------------------------------------------------------------------------------------------
 * Failing allocations
 * --------------------------------------------------------------------------------------------- */

static leat_status open_and_compile(void *argument, const leat_allocator *allocator,
                                    leat_error *err)
{
    const check_input *input = argument;
    bench b;
    leat_status status = open_bench(input->target, allocator, &b, err);
    if (status != LEAT_OK) {
        return status;
    }
    const node_case *c = &node_cases[1];
    built_node n;
    build_node(c, &n);
    lt_executable *executable = NULL;
    status =
        lt_executor_compile(b.device, &n.segment, &(lt_compile_context){0}, &executable, NULL, err);
    lt_executable_destroy(executable);
    free_node(c, &n);
    leave(&b);
    return status;
}

static void failing_allocations_return_no_memory(void **state)
{
    bench b;
    enter(*state, &b); /* for exclusions */
    leave(&b);
    test_walk_allocations(open_and_compile, *state);
}

/* ------------------------------------------------------------------------------------------------
 */

typedef struct fixed_check {
    const char *name;
    CMUnitTestFunction function;
} fixed_check;

#define CHECK(function)                                                                            \
    {                                                                                              \
#function, function                                                                        \
    }
static const fixed_check fixed_checks[] = {
    CHECK(backend_structure_is_complete),
    CHECK(rows_have_sane_fields),
    CHECK(device_info_names_every_device),
    CHECK(device_info_bad_index_returns_invalid),
    CHECK(device_open_bad_index_fails),
    CHECK(alloc_blocks_are_aligned_and_distinct),
    CHECK(copy_round_trip_keeps_bytes),
    CHECK(copy_stream_keeps_order),
    CHECK(describe_unknown_operator_gives_a_reason),
    CHECK(compile_unknown_operator_returns_unsupported),
    CHECK(failing_allocations_return_no_memory),
};

int conformance_run(const conformance_target *target)
{
    static struct CMUnitTest tests[MAX_CHECKS];
    static check_input inputs[MAX_CHECKS];
    size_t n_fixed = sizeof(fixed_checks) / sizeof(fixed_checks[0]);
    size_t count = n_fixed + n_node_cases;
    if (count > MAX_CHECKS) {
        print_error("raise MAX_CHECKS to %zu\n", count);
        return 1;
    }
    for (size_t i = 0; i < count; i++) {
        const node_case *node = i < n_fixed ? NULL : &node_cases[i - n_fixed];
        inputs[i] = (check_input){target, node, node ? node->name : fixed_checks[i].name};
        tests[i] = (struct CMUnitTest){.name = inputs[i].name,
                                       .test_func = node ? node_gives_what_the_oracle_gives
                                                         : fixed_checks[i].function,
                                       .initial_state = &inputs[i]};
    }
    return _cmocka_run_group_tests(target->device, tests, count, NULL, NULL);
}

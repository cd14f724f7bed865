/* SPDX-License-Identifier: Apache-2.0 */
/* Operators of the application: shapes, runs, refusals, threads, failing allocations. */
#include "support/test.h"

#include "support/run.h"

#include <leat/operator.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* What acme.Affine, y = factor * x + offset (an input of one number, optional), is to do wrong. */
typedef struct behaviour {
    float offset;              /* without a second input */
    leat_status shapes_status; /* returned by the functions */
    leat_status compute_status;
    const char *message;
    leat_dtype dtype; /* of the output; 0: f32 */
    int32_t rank;     /* of the output; 0: the input's */
    bool forget;      /* leaves the first dimension unknown */
    bool later;       /* dtype only when shapes are known */
    int destroyed;
    int computed;
} behaviour;

static void say(leat_error *err, const behaviour *b)
{
    if (b->message != NULL) {
        snprintf(err->message, sizeof(err->message), "%s", b->message);
    }
}

static leat_status affine_shapes(void *user, const leat_node *node, const leat_op_value *inputs,
                                 leat_op_value *outputs, leat_error *err)
{
    const behaviour *b = user;
    assert_string_equal(node->op, "Affine");
    assert_int_equal(outputs[0].dtype, LEAT_DTYPE_UNDEFINED);
    if (inputs[0].dtype != LEAT_DTYPE_F32) {
        snprintf(err->message, sizeof(err->message), "f32 is wanted");
        return LEAT_INVALID;
    }
    outputs[0] = inputs[0];
    if (b->dtype && !(b->later && inputs[0].shape[0] < 0)) {
        outputs[0].dtype = b->dtype;
    }
    outputs[0].rank = b->rank ? b->rank : inputs[0].rank;
    outputs[0].shape[0] = b->forget ? -1 : inputs[0].shape[0];
    say(err, b);
    return b->shapes_status;
}

static leat_status affine_compute(void *user, const leat_op_call *call, leat_error *err)
{
    behaviour *b = user;
    float factor = leat_node_float(call->node, "factor", 2.0f), offset = b->offset;
    const float *x = call->inputs[0].data;
    float *scratch = call->workspace, *y = call->outputs[0].data;
    size_t count = call->inputs[0].bytes / sizeof(float);
    if (call->node->n_inputs > 1 && call->inputs[1].data != NULL) {
        offset = *(const float *)call->inputs[1].data;
    }
    for (size_t i = 0; i < count; i++) {
        scratch[i] = factor * x[i];
    }
    for (size_t i = 0; i < count; i++) {
        y[i] = scratch[i] + offset;
    }
    __atomic_add_fetch(&b->computed, 1, __ATOMIC_RELAXED);
    say(err, b);
    return b->compute_status;
}

static size_t affine_workspace(void *user, const leat_node *node, const leat_op_value *inputs)
{
    size_t count = 1;
    (void)user;
    (void)node;
    for (int32_t d = 0; d < inputs[0].rank; d++) {
        count *= (size_t)inputs[0].shape[d];
    }
    return count * sizeof(float);
}

static void count_destroyed(void *user)
{
    ((behaviour *)user)->destroyed++;
}

static leat_op_desc affine(behaviour *b)
{
    return (leat_op_desc){.struct_size = sizeof(leat_op_desc),
                          .domain = "acme",
                          .name = "Affine",
                          .min_inputs = 1,
                          .max_inputs = 2,
                          .min_outputs = 1,
                          .max_outputs = 1,
                          .shapes = affine_shapes,
                          .compute = affine_compute,
                          .workspace = affine_workspace,
                          .user = b,
                          .destroy = count_destroyed};
}

/* y = Relu(Affine(Neg(x))), x of N x 2. */
static onnx_builder *build(const char *inputs, leat_dtype dtype)
{
    onnx_builder *b = onnx_builder_create(17);
    float offset = 10;
    leat_attr factor = test_attr_float("factor", 3);
    onnx_builder_import(b, "acme", 1);
    onnx_builder_input(b, "x", dtype, "Nx2");
    onnx_builder_floats(b, "ten", "", &offset);
    onnx_builder_node(b, "Neg", "x", "n", NULL, 0);
    onnx_builder_node(b, "acme.Affine", inputs, "u", &factor, 1);
    onnx_builder_node(b, "Relu", "u", "y", NULL, 0);
    onnx_builder_output(b, "y", dtype, NULL);
    return b;
}

/* Context with the operator, model and session; what fails is returned. */
static leat_status open_run(test_run *run, onnx_builder *builder, const leat_op_desc *op,
                            const leat_allocator *allocator)
{
    size_t bytes;
    const void *data = onnx_builder_finish(builder, &bytes);
    leat_context_desc desc = {.struct_size = sizeof(desc), .allocator = allocator, .threads = 1};
    memset(run, 0, sizeof(*run));
    leat_status status = leat_context_create(&desc, &run->context, &run->err);
    if (status == LEAT_OK) {
        status = leat_context_add_op(run->context, op, &run->err);
    }
    if (status == LEAT_OK) {
        status = leat_model_load_memory(run->context, data, bytes, NULL, &run->model, &run->err);
    }
    return status ? status : leat_session_create(run->model, NULL, &run->session, &run->err);
}

static leat_status run_rows(test_run *run, const char *shape, leat_array *out)
{
    float x[6] = {1, -2, 3, -4, 0.5f, -0.5f};
    leat_array in = test_f32(x, shape);
    memset(out, 0, sizeof(*out));
    return leat_session_run(run->session, &in, 1, out, 1, &run->err);
}

static void run_dynamic_shapes_computes(void **state)
{
    (void)state;
    behaviour b = {.offset = 1};
    leat_op_desc op = affine(&b);
    test_run run;
    leat_array out;
    leat_memory_info before, after;
    onnx_builder *builder = build("n", LEAT_DTYPE_F32);
    assert_ok(open_run(&run, builder, &op, NULL), &run.err);
    const leat_io *y = &leat_model_io(run.model)->outputs[0];
    assert_int_equal(y->rank, 2); /* N went through the shape function */
    assert_string_equal(y->dim_names[0], "N");
    assert_int_equal(y->shape[1], 2);
    assert_ok(run_rows(&run, "2x2", &out), &run.err);
    test_assert_f32(&out, "2x2", (const float[]){0, 7, 0, 13});
    assert_ok(run_rows(&run, "3x2", &out), &run.err);
    test_assert_f32(&out, "3x2", (const float[]){0, 7, 0, 13, 0, 2.5f});
    leat_context_memory(run.context, &before);
    assert_ok(run_rows(&run, "3x2", &out), &run.err);
    leat_context_memory(run.context, &after);
    assert_int_equal(after.allocations, before.allocations);
    assert_int_equal(b.computed, 3);
    test_run_free(&run);
    assert_int_equal(b.destroyed, 1);
    onnx_builder_destroy(builder);
}

static void run_optional_input_and_constant_folding_leaves_it(void **state)
{
    (void)state;
    behaviour b = {.offset = 1};
    leat_op_desc op = affine(&b);
    test_run run;
    leat_array out;
    onnx_builder *builder = build("ten,ten", LEAT_DTYPE_F32);
    assert_ok(open_run(&run, builder, &op, NULL), &run.err);
    assert_int_equal(b.computed, 0); /* all inputs are constants, yet it runs in runs only */
    assert_ok(run_rows(&run, "1x2", &out), &run.err);
    test_assert_f32(&out, "", (const float[]){40});
    assert_ok(run_rows(&run, "1x2", &out), &run.err);
    assert_int_equal(b.computed, 2);
    test_run_free(&run);
    onnx_builder_destroy(builder);
}

static void save_keeps_the_operator(void **state)
{
    (void)state;
    const char *path = TEST_BUILD "/custom_op_saved.onnx";
    behaviour b = {.offset = 1};
    leat_op_desc op = affine(&b);
    test_run run;
    leat_array out;
    leat_model *again;
    onnx_builder *builder = build("n", LEAT_DTYPE_F32);
    assert_ok(open_run(&run, builder, &op, NULL), &run.err);
    assert_ok(leat_model_save(run.model, path, NULL, &run.err), &run.err);
    assert_ok(leat_model_load(run.context, path, NULL, &again, &run.err), &run.err);
    leat_session_destroy(run.session);
    leat_model_destroy(run.model);
    run.model = again;
    test_run_session(&run, NULL);
    assert_ok(run_rows(&run, "1x2", &out), &run.err);
    test_assert_f32(&out, "1x2", (const float[]){0, 7});
    test_run_free(&run);
    onnx_builder_destroy(builder);
    remove(path);
}

/* The model or its run ends with `status`, and the message says `text`. */
static void expect_failure(behaviour b, const char *inputs, leat_dtype dtype, leat_status status,
                           const char *text)
{
    leat_op_desc op = affine(&b);
    test_run run;
    leat_array out;
    onnx_builder *builder = build(inputs, dtype);
    leat_status got = open_run(&run, builder, &op, NULL);
    got = got ? got : run_rows(&run, "2x2", &out);
    if (got != status || strstr(run.err.message, text) == NULL) {
        fail_msg("%s instead of %s, \"%s\" does not say \"%s\"", leat_status_text(got),
                 leat_status_text(status), run.err.message, text);
    }
    test_run_free(&run);
    assert_int_equal(b.destroyed, 1);
    onnx_builder_destroy(builder);
}

static void bad_callbacks_are_refused_with_the_node(void **state)
{
    (void)state;
    const leat_dtype f32 = LEAT_DTYPE_F32;
    const behaviour none = {0};
    expect_failure((behaviour){.shapes_status = LEAT_LIMIT, .message = "too long"}, "n", f32,
                   LEAT_LIMIT, "node 'u': acme.Affine: too long");
    expect_failure((behaviour){.shapes_status = LEAT_INVALID}, "n", f32, LEAT_INVALID,
                   "node 'u': acme.Affine: its function returned 'invalid'");
    expect_failure((behaviour){.compute_status = LEAT_IO, .message = "no disk"}, "n", f32, LEAT_IO,
                   "node 'u': acme.Affine: no disk");
    expect_failure((behaviour){.compute_status = (leat_status)99}, "n", f32, LEAT_INVALID,
                   "returned 99");
    expect_failure((behaviour){.compute_status = (leat_status)-1}, "n", f32, LEAT_INVALID,
                   "node 'u'");
    expect_failure((behaviour){.rank = 9}, "n", f32, LEAT_INVALID, "output 0 rank 9");
    expect_failure((behaviour){.rank = -1}, "n", f32, LEAT_INVALID, "output 0 rank -1");
    expect_failure((behaviour){.dtype = LEAT_DTYPE_STRING}, "n", f32, LEAT_INVALID, "no type");
    expect_failure((behaviour){.dtype = (leat_dtype)1000}, "n", f32, LEAT_INVALID, "no type");
    expect_failure((behaviour){.dtype = LEAT_DTYPE_SEQUENCE}, "n", f32, LEAT_INVALID, "no type");
    expect_failure((behaviour){.dtype = LEAT_DTYPE_I32, .later = true}, "n", f32, LEAT_INVALID,
                   "output 0 was f32 at load and is i32 now");
    expect_failure((behaviour){.forget = true}, "n", f32, LEAT_INVALID, "leaves output 0 unknown");
    expect_failure(none, "n", LEAT_DTYPE_I64, LEAT_INVALID, "acme.Affine: f32 is wanted");
    expect_failure(none, "n,ten,ten", f32, LEAT_INVALID, "3 inputs, not 1 to 2");
    expect_failure(none, ",ten", f32, LEAT_INVALID, "input 0 is missing");
}

static void refuse(leat_context *context, leat_op_desc op, const char *text)
{
    leat_error err = {0};
    assert_int_equal(leat_context_add_op(context, &op, &err), LEAT_INVALID);
    if (strstr(err.message, text) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.message, text);
    }
}

#define WITH(field, value, text)                                                                   \
    do {                                                                                           \
        leat_op_desc op_ = affine(&b);                                                             \
        op_.field = value;                                                                         \
        refuse(context, op_, text);                                                                \
    } while (0)

static void add_op_bad_desc_or_conflict_returns_invalid(void **state)
{
    (void)state;
    behaviour b = {0};
    leat_context *context;
    leat_error err = {0};
    assert_ok(leat_context_create(NULL, &context, &err), &err);
    WITH(struct_size, 8, "struct_size");
    WITH(domain, NULL, "needs domain");
    WITH(name, "", "needs domain");
    WITH(shapes, NULL, "needs domain");
    WITH(compute, NULL, "needs domain");
    WITH(domain, "", "cannot be added");
    WITH(domain, "ai.onnx", "cannot be added");
    WITH(domain, "leat", "cannot be added");
    WITH(max_inputs, 17, "at most 16");
    WITH(max_outputs, 17, "at most 16");
    WITH(min_inputs, 3, "3 to 2 inputs");
    WITH(min_outputs, 0, "an output at least");
    WITH(since, -1, "versions");
    leat_op_desc op = affine(&b);
    op.since = 5, op.until = 4;
    refuse(context, op, "versions 5 to 4");
    op = affine(&b);
    op.domain = "ai.onnx.ml", op.name = "Scaler";
    refuse(context, op, "leat has this operator itself");
    op.domain = "com.microsoft", op.name = "BiasGelu";
    refuse(context, op, "leat has this operator itself");
    op = affine(&b);
    op.since = 2, op.until = 3;
    assert_ok(leat_context_add_op(context, &op, &err), &err);
    refuse(context, op, "already");
    WITH(since, 3, "already");
    WITH(since, 0, "already");
    op.since = 4, op.until = 0;
    assert_ok(leat_context_add_op(context, &op, &err), &err);
    assert_int_equal(leat_context_add_op(NULL, &op, &err), LEAT_INVALID);
    assert_int_equal(leat_context_add_op(context, NULL, &err), LEAT_INVALID);
    assert_int_equal(b.destroyed, 0); /* of refused ones it is the caller's */
    leat_context_destroy(context);
    assert_int_equal(b.destroyed, 2);
}

static void versions_outside_of_the_range_are_unsupported(void **state)
{
    (void)state;
    behaviour b = {0};
    leat_op_desc op = affine(&b);
    op.since = 2; /* the model imports version 1 */
    test_run run;
    onnx_builder *builder = build("n", LEAT_DTYPE_F32);
    assert_int_equal(open_run(&run, builder, &op, NULL), LEAT_UNSUPPORTED);
    assert_non_null(strstr(run.err.message, "Affine"));
    test_run_free(&run);
    onnx_builder_destroy(builder);
}

static void contexts_have_operators_of_their_own(void **state)
{
    (void)state;
    behaviour one = {.offset = 1}, two = {.offset = 2};
    leat_op_desc first = affine(&one), second = affine(&two);
    test_run a, b;
    leat_array out;
    onnx_builder *builder = build("n", LEAT_DTYPE_F32);
    assert_ok(open_run(&a, builder, &first, NULL), &a.err);
    assert_ok(open_run(&b, builder, &second, NULL), &b.err);
    assert_ok(run_rows(&a, "1x2", &out), &a.err);
    test_assert_f32(&out, "1x2", (const float[]){0, 7});
    test_run_free(&a);
    assert_ok(run_rows(&b, "1x2", &out), &b.err);
    test_assert_f32(&out, "1x2", (const float[]){0, 8});
    test_run_free(&b);
    assert_int_equal(one.computed, 1);
    assert_int_equal(two.computed, 1);
    onnx_builder_destroy(builder);
}

/* z of as many elements as the integer in input 0 says, each of them that integer. */
static leat_status count_shapes(void *user, const leat_node *node, const leat_op_value *inputs,
                                leat_op_value *outputs, leat_error *err)
{
    (void)user;
    (void)node;
    (void)err;
    assert_non_null(inputs[0].data);
    outputs[0] = (leat_op_value){.dtype = LEAT_DTYPE_F32, .rank = 1};
    outputs[0].shape[0] = *(const int64_t *)inputs[0].data;
    return LEAT_OK;
}

static leat_status count_compute(void *user, const leat_op_call *call, leat_error *err)
{
    (void)user;
    (void)err;
    for (int64_t i = 0; i < call->outputs[0].shape[0]; i++) {
        ((float *)call->outputs[0].data)[i] = (float)*(const int64_t *)call->inputs[0].data;
    }
    return LEAT_OK;
}

static void shape_from_data_is_known_in_the_run(void **state)
{
    (void)state;
    leat_op_desc op = {.struct_size = sizeof(op),
                       .domain = "acme",
                       .name = "Count",
                       .min_inputs = 1,
                       .max_inputs = 1,
                       .min_outputs = 1,
                       .max_outputs = 1,
                       .shape_inputs = 1,
                       .shapes = count_shapes,
                       .compute = count_compute};
    test_run run;
    int64_t n = 3;
    leat_array in = test_i64(&n, ""), out = {0};
    onnx_builder *b = onnx_builder_create(17);
    onnx_builder_import(b, "acme", 7);
    onnx_builder_text(b, "n: i64[]; m = Abs(n); c = acme.Count(m); z = Neg(c); -> z: f32");
    assert_ok(open_run(&run, b, &op, NULL), &run.err);
    assert_ok(leat_session_run(run.session, &in, 1, &out, 1, &run.err), &run.err);
    test_assert_f32(&out, "3", (const float[]){-3, -3, -3});
    n = -1;
    memset(&out, 0, sizeof(out));
    assert_ok(leat_session_run(run.session, &in, 1, &out, 1, &run.err), &run.err);
    test_assert_f32(&out, "1", (const float[]){-1});
    test_run_free(&run);
    onnx_builder_destroy(b);
}

static void *run_often(void *argument)
{
    leat_model *model = argument;
    test_run run = {.model = model};
    leat_array out;
    size_t wrong = 0;
    if (leat_session_create(model, NULL, &run.session, &run.err) != LEAT_OK) {
        return (void *)1;
    }
    for (int i = 0; i < 200; i++) {
        wrong += run_rows(&run, i % 2 ? "2x2" : "3x2", &out) != LEAT_OK ||
                 ((const float *)out.data)[1] != 7 || ((const float *)out.data)[3] != 13;
    }
    leat_session_destroy(run.session);
    return (void *)wrong;
}

static void sessions_in_threads_share_the_operator(void **state)
{
    (void)state;
    behaviour b = {.offset = 1};
    leat_op_desc op = affine(&b);
    test_run run;
    pthread_t threads[4];
    onnx_builder *builder = build("n", LEAT_DTYPE_F32);
    assert_ok(open_run(&run, builder, &op, NULL), &run.err);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_often, run.model), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    assert_int_equal(b.computed, 800);
    test_run_free(&run);
    onnx_builder_destroy(builder);
}

static leat_status attempt(void *argument, const leat_allocator *allocator, leat_error *err)
{
    behaviour b = {.offset = 1};
    leat_op_desc op = affine(&b);
    test_run run;
    leat_array out;
    leat_status status = open_run(&run, argument, &op, allocator);
    status = status ? status : run_rows(&run, "2x2", &out);
    status = status ? status : run_rows(&run, "3x2", &out);
    *err = run.err;
    test_run_free(&run);
    return status;
}

static void failing_allocations_leave_nothing(void **state)
{
    (void)state;
    onnx_builder *builder = build("n,ten", LEAT_DTYPE_F32);
    test_walk_allocations(attempt, builder);
    onnx_builder_destroy(builder);
}

static void example_prints_its_numbers(void **state)
{
    (void)state;
    char line[64] = "";
    FILE *pipe = popen(TEST_BUILD "/examples/custom_op", "r");
    assert_non_null(pipe);
    assert_non_null(fgets(line, sizeof(line), pipe));
    assert_int_equal(pclose(pipe), 0);
    assert_string_equal(line, "3 0 0 0 0.5 7.5\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_dynamic_shapes_computes),
        cmocka_unit_test(run_optional_input_and_constant_folding_leaves_it),
        cmocka_unit_test(save_keeps_the_operator),
        cmocka_unit_test(bad_callbacks_are_refused_with_the_node),
        cmocka_unit_test(add_op_bad_desc_or_conflict_returns_invalid),
        cmocka_unit_test(versions_outside_of_the_range_are_unsupported),
        cmocka_unit_test(contexts_have_operators_of_their_own),
        cmocka_unit_test(shape_from_data_is_known_in_the_run),
        cmocka_unit_test(sessions_in_threads_share_the_operator),
        cmocka_unit_test(failing_allocations_leave_nothing),
        cmocka_unit_test(example_prints_its_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

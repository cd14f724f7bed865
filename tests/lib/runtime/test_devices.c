/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions on several devices: the fake device (tests/plugins/backend_fake.c), whose memory faults
 * when the host touches it and whose work is done only when somebody waits, and the skeleton. */
#include "support/test.h"

#include "support/run.h"

#define FAKE TEST_BUILD "/tests/plugins/backend_fake.so"
#define GRAPH TEST_BUILD "/tests/plugins/backend_graph.so"
#define SKELETON TEST_BUILD "/examples/backend_skeleton.so"

static const char *const fake_names[] = {"fake:0"};
static const char *const two_fakes[] = {"fake:0", "fake:1"};
static float x[6] = {1, -2, 3, -4, 5, -6};
static const float zeros_and_more[6] = {1, 0, 3, 0, 5, 0};

/* Loads the model, the fake backend with it, and opens a session; the builder is freed by finish.
 */
static void start(test_run *r, onnx_builder *b, const char *const *devices, size_t n_devices,
                  leat_fallback fallback)
{
    test_run_load(r, b);
    assert_ok(leat_context_load_backend(r->context, FAKE, &r->err), &r->err);
    leat_session_desc desc = {.struct_size = sizeof(desc),
                              .devices = devices,
                              .n_devices = n_devices,
                              .fallback = fallback};
    test_run_session(r, &desc);
}

static void finish(test_run *r, onnx_builder *b)
{
    test_run_free(r);
    onnx_builder_destroy(b);
}

static const leat_node_report *find_node(const leat_plan_report *report, const char *name)
{
    for (size_t i = 0; i < report->n_nodes; i++) {
        if (strcmp(report->nodes[i].name, name) == 0) {
            return &report->nodes[i];
        }
    }
    fail_msg("no node '%s' in the report", name);
    return NULL;
}

static void assert_device(test_run *r, const char *node, const char *device)
{
    leat_plan_report report = {.struct_size = sizeof(report)};
    assert_ok(leat_session_report(r->session, &report, &r->err), &r->err);
    assert_string_equal(find_node(&report, node)->device, device);
    assert_true(find_node(&report, node)->reason[0] != '\0');
}

static onnx_builder *build_relu(void)
{
    onnx_builder *b = onnx_builder_create(17);
    onnx_builder_text(b, "x: f32[Nx3]; y = Relu(x); -> y: f32[Nx3]");
    return b;
}

/* A device that does not say what it makes of precisions has f32 only. */
static void narrow_precision_needs_a_device_that_has_it(void **state)
{
    onnx_builder *b = build_relu();
    const char *names[] = {"skeleton"};
    test_run r;
    (void)state;
    test_run_load(&r, b);
    assert_ok(leat_context_load_backend(r.context, SKELETON, &r.err), &r.err);
    leat_session_desc desc = {.struct_size = sizeof(desc),
                              .devices = names,
                              .n_devices = 1,
                              .precision = LEAT_PRECISION_BF16};
    assert_int_equal(leat_session_create(r.model, &desc, &r.session, &r.err), LEAT_UNSUPPORTED);
    assert_non_null(strstr(r.err.message, "bf16"));
    assert_non_null(strstr(r.err.message, "skeleton"));
    desc.precision = LEAT_PRECISION_TF32 + 1;
    assert_int_equal(leat_session_create(r.model, &desc, &r.session, &r.err), LEAT_INVALID);
    for (int tf32 = 0; tf32 < 2; tf32++) { /* these it may compute in f32 */
        desc.precision = tf32 ? LEAT_PRECISION_TF32 : LEAT_PRECISION_AUTO;
        test_run_session(&r, &desc);
        leat_session_destroy(r.session);
        r.session = NULL;
    }
    finish(&r, b);
}

static void skeleton_runs_its_operator(void **state)
{
    (void)state;
    onnx_builder *b = build_relu();
    test_run r;
    test_run_load(&r, b);
    assert_ok(leat_context_load_backend(r.context, SKELETON, &r.err), &r.err);
    const char *names[] = {"skeleton"};
    leat_session_desc desc = {.struct_size = sizeof(desc), .devices = names, .n_devices = 1};
    test_run_session(&r, &desc);
    leat_array in = test_f32(x, "2x3"), out = {0};
    assert_ok(leat_session_run(r.session, &in, 1, &out, 1, &r.err), &r.err);
    test_assert_f32(&out, "2x3", zeros_and_more);
    assert_device(&r, "y", "skeleton");
    finish(&r, b);
}

static void fake_runs_through_its_own_memory(void **state)
{
    (void)state;
    onnx_builder *b = build_relu();
    test_run r;
    start(&r, b, fake_names, 1, LEAT_FALLBACK_NONE);
    for (int round = 0; round < 3; round++) { /* the caller's buffers, then the session's */
        float y[6];
        leat_array in = test_f32(x, "2x3"), out = {0};
        out.data = round < 2 ? y : NULL;
        out.bytes = sizeof(y);
        assert_ok(leat_session_run(r.session, &in, 1, &out, 1, &r.err), &r.err);
        test_assert_f32(&out, "2x3", zeros_and_more);
    }
    assert_device(&r, "y", "fake:0");
    finish(&r, b);
}

/* Constants reach the device, plain and packed; intermediate values stay there. */
static void fake_chain_with_weights_gives_result(void **state)
{
    (void)state;
    static const float w[6] = {1, 2, 3, -1, -2, -3}, c[4] = {10, 20, 30, 40};
    static const int64_t shape[2] = {2, 2};
    onnx_builder *b = onnx_builder_create(17);
    onnx_builder_floats(b, "w", "3x2", w);
    onnx_builder_floats(b, "c", "4", c);
    onnx_builder_ints(b, "four", "1", (const int64_t[]){4});
    onnx_builder_ints(b, "square", "2", shape);
    onnx_builder_text(b, "x: f32[2x3]; "
                         "t = MatMul(x, w); flat = Reshape(t, four); u = Add(flat, c); "
                         "v = Reshape(u, square); y = Relu(v); "
                         "-> y: f32[2x2]; -> flat: f32[4]");
    test_run r;
    start(&r, b, fake_names, 1, LEAT_FALLBACK_NONE);
    leat_array in = test_f32(x, "2x3"), out[2] = {{0}};
    /* x = [1 -2 3; -4 5 -6]: x w = [1 - 6 + -6, 2 + 2 - 9; -4 + 15 + 12, -8 - 5 + 18] */
    const float flat[4] = {-11, -5, 23, 5}, y[4] = {0, 15, 53, 45};
    for (int round = 0; round < 2; round++) {
        assert_ok(leat_session_run(r.session, &in, 1, out, 2, &r.err), &r.err);
        test_assert_f32(&out[0], "2x2", y);
        test_assert_f32(&out[1], "4", flat);
    }
    finish(&r, b);
}

static onnx_builder *build_sandwich(const char *middle)
{
    onnx_builder *b = onnx_builder_create(17);
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "2x3");
    onnx_builder_node(b, "Relu", "x", "first", NULL, 0);
    onnx_builder_node(b, middle, "first,first", "middle", NULL, 0);
    onnx_builder_text(b, "last = Relu(middle); y = Add(last, first); -> y: f32[2x3]");
    return b;
}

static void fallback_takes_what_the_device_lacks(void **state)
{
    (void)state;
    onnx_builder *b = build_sandwich("Max");
    test_run r;
    start(&r, b, fake_names, 1, LEAT_FALLBACK_CPU);
    leat_array in = test_f32(x, "2x3"), out = {0};
    const float y[6] = {2, 0, 6, 0, 10, 0};
    for (int round = 0; round < 2; round++) {
        assert_ok(leat_session_run(r.session, &in, 1, &out, 1, &r.err), &r.err);
        test_assert_f32(&out, "2x3", y);
    }
    assert_device(&r, "first", "fake:0");
    assert_device(&r, "middle", "cpu");
    assert_device(&r, "last", "fake:0");
    leat_plan_report report = {.struct_size = sizeof(report)};
    assert_ok(leat_session_report(r.session, &report, &r.err), &r.err);
    assert_true(strstr(find_node(&report, "middle")->reason, "Max") != NULL);
    finish(&r, b);
}

static void no_fallback_names_the_node(void **state)
{
    (void)state;
    onnx_builder *b = build_sandwich("Max");
    test_run r;
    test_run_load(&r, b);
    assert_ok(leat_context_load_backend(r.context, FAKE, &r.err), &r.err);
    leat_session_desc desc = {.struct_size = sizeof(desc), .devices = fake_names, .n_devices = 1};
    leat_session *session;
    assert_int_equal(leat_session_create(r.model, &desc, &session, &r.err), LEAT_UNSUPPORTED);
    assert_true(strstr(r.err.message, "'middle'") && strstr(r.err.message, "Max"));
    finish(&r, b);
}

/* Sub is claimed by describe, refused by prepare. The Relu behind it is not fused into it: the CPU
 * could run that, but the fake device, which comes first, could not. */
static void refusal_moves_the_node_to_the_fallback(void **state)
{
    (void)state;
    onnx_builder *b = build_sandwich("Sub");
    test_run r;
    start(&r, b, fake_names, 1, LEAT_FALLBACK_CPU);
    leat_array in = test_f32(x, "2x3"), out = {0};
    assert_ok(leat_session_run(r.session, &in, 1, &out, 1, &r.err), &r.err);
    test_assert_f32(&out, "2x3", zeros_and_more);
    assert_device(&r, "middle", "cpu");
    assert_device(&r, "last", "fake:0");
    finish(&r, b);
}

static void refusal_without_fallback_is_the_answer(void **state)
{
    (void)state;
    onnx_builder *b = build_sandwich("Sub");
    test_run r;
    start(&r, b, fake_names, 1, LEAT_FALLBACK_NONE);
    leat_array in = test_f32(x, "2x3"), out = {0};
    assert_int_equal(leat_session_run(r.session, &in, 1, &out, 1, &r.err), LEAT_UNSUPPORTED);
    assert_true(strstr(r.err.message, "refused on purpose") != NULL);
    finish(&r, b);
}

/* Both fakes and the CPU: a value travels from one fake to the other only through the host. */
static void two_devices_prefer_the_first(void **state)
{
    (void)state;
    onnx_builder *b = build_sandwich("Max");
    test_run r;
    start(&r, b, two_fakes, 2, LEAT_FALLBACK_CPU);
    leat_array in = test_f32(x, "2x3"), out = {0};
    const float y[6] = {2, 0, 6, 0, 10, 0};
    assert_ok(leat_session_run(r.session, &in, 1, &out, 1, &r.err), &r.err);
    test_assert_f32(&out, "2x3", y);
    assert_device(&r, "first", "fake:0");
    assert_device(&r, "last", "fake:0");
    finish(&r, b);
}

static void unavailable_device_is_never_replaced(void **state)
{
    (void)state;
    onnx_builder *b = build_relu();
    test_run r;
    test_run_load(&r, b);
    assert_ok(leat_context_load_backend(r.context, FAKE, &r.err), &r.err);
    const char *names[] = {"fake:2"};
    leat_session_desc desc = {.struct_size = sizeof(desc),
                              .devices = names,
                              .n_devices = 1,
                              .fallback = LEAT_FALLBACK_CPU};
    leat_session *session;
    assert_int_equal(leat_session_create(r.model, &desc, &session, &r.err), LEAT_NO_DEVICE);
    assert_true(strstr(r.err.message, "cable") != NULL);
    finish(&r, b);
}

/* A whole-graph backend compiles what it supports into segments of its own. */
static void graph_backend_compiles_segments(void **state)
{
    (void)state;
    onnx_builder *b = build_sandwich("Max");
    test_run r;
    test_run_load(&r, b);
    assert_ok(leat_context_load_backend(r.context, GRAPH, &r.err), &r.err);
    const char *names[] = {"graph"};
    leat_session_desc desc = {.struct_size = sizeof(desc),
                              .devices = names,
                              .n_devices = 1,
                              .fallback = LEAT_FALLBACK_CPU,
                              .profile = 1};
    test_run_session(&r, &desc);
    leat_array in = test_f32(x, "2x3"), out = {0};
    const float y[6] = {2, 0, 6, 0, 10, 0};
    for (int round = 0; round < 2; round++) {
        assert_ok(leat_session_run(r.session, &in, 1, &out, 1, &r.err), &r.err);
        test_assert_f32(&out, "2x3", y);
    }
    assert_device(&r, "first", "graph:0");
    assert_device(&r, "middle", "cpu");
    assert_device(&r, "y", "graph:0");
    leat_plan_report report = {.struct_size = sizeof(report)};
    assert_ok(leat_session_report(r.session, &report, &r.err), &r.err);
    assert_true(find_node(&report, "first")->last_ns == 1);
    finish(&r, b);
}

/* Three backends at once: values cross between two kinds of memory. */
static void graph_and_fake_and_cpu_work_together(void **state)
{
    (void)state;
    static const float w[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    onnx_builder *b = onnx_builder_create(17);
    onnx_builder_floats(b, "w", "3x3", w);
    onnx_builder_text(b, "x: f32[2x3]; "
                         "first = Relu(x); second = MatMul(first, w); third = Neg(second); "
                         "fourth = Add(third, x); y = MatMul(fourth, w); "
                         "-> y: f32[2x3]; -> second: f32[2x3]");
    test_run r;
    test_run_load(&r, b);
    assert_ok(leat_context_load_backend(r.context, GRAPH, &r.err), &r.err);
    assert_ok(leat_context_load_backend(r.context, FAKE, &r.err), &r.err);
    const char *names[] = {"graph", "fake:1"};
    leat_session_desc desc = {.struct_size = sizeof(desc),
                              .devices = names,
                              .n_devices = 2,
                              .fallback = LEAT_FALLBACK_CPU};
    test_run_session(&r, &desc);
    const float y[6] = {0, -2, 0, -4, 0, -6};
    for (int round = 0; round < 2; round++) {
        leat_array in = test_f32(x, "2x3"), out[2] = {{0}};
        assert_ok(leat_session_run(r.session, &in, 1, out, 2, &r.err), &r.err);
        test_assert_f32(&out[0], "2x3", y);
        test_assert_f32(&out[1], "2x3", zeros_and_more);
    }
    assert_device(&r, "first", "graph:0");
    assert_device(&r, "second", "fake:1");
    assert_device(&r, "third", "cpu");
    assert_device(&r, "fourth", "graph:0");
    finish(&r, b);
}

/* ------------------------------------------------------------------------------------------------
 * Tensors
 * --------------------------------------------------------------------------------------------- */

static void tensor_copies_across_devices(void **state)
{
    (void)state;
    onnx_builder *b = build_relu();
    test_run r;
    test_run_load(&r, b);
    assert_ok(leat_context_load_backend(r.context, FAKE, &r.err), &r.err);
    static const char *const where[] = {"cpu", "fake:0", "fake:1", "fake:1", "cpu"};
    leat_tensor *tensors[5];
    int64_t shape[2] = {2, 3};
    leat_array array;
    for (int i = 0; i < 5; i++) {
        assert_ok(
            leat_tensor_create(r.context, where[i], LEAT_DTYPE_F32, 2, shape, &tensors[i], &r.err),
            &r.err);
    }
    assert_ok(leat_tensor_map(tensors[0], &array, &r.err), &r.err);
    memcpy(array.data, x, sizeof(x));
    assert_int_equal(leat_tensor_map(tensors[1], &array, &r.err), LEAT_UNSUPPORTED);
    for (int i = 1; i < 5; i++) {
        assert_ok(leat_tensor_copy(tensors[i], tensors[i - 1], &r.err), &r.err);
    }
    assert_ok(leat_tensor_map(tensors[4], &array, &r.err), &r.err);
    test_assert_f32(&array, "2x3", x);
    leat_tensor *other;
    assert_ok(leat_tensor_create(r.context, "cpu", LEAT_DTYPE_F32, 1, shape, &other, &r.err),
              &r.err);
    assert_int_equal(leat_tensor_copy(other, tensors[0], &r.err), LEAT_INVALID);
    leat_tensor_destroy(other);
    for (int i = 0; i < 5; i++) {
        leat_tensor_destroy(tensors[i]);
    }
    finish(&r, b);
}

static void tensor_on_a_device_can_be_bound(void **state)
{
    (void)state;
    onnx_builder *b = build_relu();
    test_run r;
    start(&r, b, fake_names, 1, LEAT_FALLBACK_NONE);
    int64_t shape[2] = {2, 3};
    float y[6];
    leat_array in = test_f32(x, "2x3"), got = test_f32(y, "2x3");
    leat_tensor *host, *device_in, *device_out, *back;
    assert_ok(leat_tensor_wrap(r.context, "cpu", &in, &host, &r.err), &r.err);
    assert_ok(leat_tensor_wrap(r.context, "cpu", &got, &back, &r.err), &r.err);
    assert_ok(leat_tensor_create(r.context, "fake", LEAT_DTYPE_F32, 2, shape, &device_in, &r.err),
              &r.err);
    assert_ok(leat_tensor_create(r.context, "fake", LEAT_DTYPE_F32, 2, shape, &device_out, &r.err),
              &r.err);
    assert_ok(leat_tensor_copy(device_in, host, &r.err), &r.err);
    assert_ok(leat_session_bind(r.session, "x", device_in, &r.err), &r.err);
    assert_ok(leat_session_bind(r.session, "y", device_out, &r.err), &r.err);
    assert_ok(leat_session_run(r.session, NULL, 0, NULL, 0, &r.err), &r.err);
    assert_ok(leat_tensor_copy(back, device_out, &r.err), &r.err);
    test_assert_f32(&got, "2x3", zeros_and_more);
    assert_ok(leat_session_bind(r.session, "x", NULL, &r.err), &r.err);
    assert_ok(leat_session_bind(r.session, "y", NULL, &r.err), &r.err);
    leat_tensor_destroy(host);
    leat_tensor_destroy(back);
    leat_tensor_destroy(device_in);
    leat_tensor_destroy(device_out);
    finish(&r, b);
}

/* A tensor on the fake device holding those floats. */
static leat_tensor *put(test_run *r, const float *data, int32_t rank, const int64_t *shape)
{
    leat_array array = {LEAT_DTYPE_F32, rank, {0}, (void *)(uintptr_t)data, sizeof(float)};
    for (int32_t d = 0; d < rank; d++) {
        array.shape[d] = shape[d];
        array.bytes *= (size_t)shape[d];
    }
    leat_tensor *host, *there;
    assert_ok(leat_tensor_wrap(r->context, "cpu", &array, &host, &r->err), &r->err);
    assert_ok(leat_tensor_create(r->context, "fake", LEAT_DTYPE_F32, rank, shape, &there, &r->err),
              &r->err);
    assert_ok(leat_tensor_copy(there, host, &r->err), &r->err);
    leat_tensor_destroy(host);
    return there;
}

static void assert_holds(test_run *r, const leat_tensor *tensor, const char *shape,
                         const float *want)
{
    float data[16];
    leat_array array = test_f32(data, shape);
    leat_tensor *host;
    assert_ok(leat_tensor_wrap(r->context, "cpu", &array, &host, &r->err), &r->err);
    assert_ok(leat_tensor_copy(host, tensor, &r->err), &r->err);
    test_assert_f32(&array, shape, want);
    leat_tensor_destroy(host);
}

/* Values go where they are bound: one tensor as input and output (Relu may be in place), an output
 * that also is read on the CPU, one that is an input. */
static void bound_tensors_stay_on_the_device(void **state)
{
    (void)state;
    onnx_builder *b = build_sandwich("Max");
    onnx_builder_output(b, "first", LEAT_DTYPE_F32, "2x3");
    test_run r;
    start(&r, b, fake_names, 1, LEAT_FALLBACK_CPU);
    const int64_t shape[2] = {2, 3};
    const float y[6] = {2, 0, 6, 0, 10, 0}, none[6] = {0};
    leat_tensor *in = put(&r, x, 2, shape), *first = put(&r, none, 2, shape);
    assert_ok(leat_session_bind(r.session, "x", in, &r.err), &r.err);
    assert_ok(leat_session_bind(r.session, "first", first, &r.err), &r.err);
    leat_array out[2] = {{0}};
    for (int round = 0; round < 3; round++) { /* the arrays still point at the last run's */
        assert_ok(leat_session_run(r.session, NULL, 0, out, 2, &r.err), &r.err);
        test_assert_f32(&out[0], "2x3", y);
        assert_holds(&r, first, "2x3", zeros_and_more);
    }
    /* A buffer that is given goes before the tensor, an array before a bound input. */
    float buffer[6], other[6] = {-1, 7, -1, -1, -1, -1};
    const float from_other[6] = {0, 7, 0, 0, 0, 0};
    leat_array given = test_f32(other, "2x3");
    out[1] = test_f32(buffer, "2x3");
    assert_ok(leat_session_run(r.session, &given, 1, out, 2, &r.err), &r.err);
    test_assert_f32(&out[1], "2x3", from_other);
    assert_holds(&r, first, "2x3", zeros_and_more);
    /* Other tensors in the place of those that a graph may have been made of. */
    leat_tensor *others[2] = {put(&r, other, 2, shape), put(&r, none, 2, shape)};
    assert_ok(leat_session_bind(r.session, "x", others[0], &r.err), &r.err);
    assert_ok(leat_session_bind(r.session, "first", others[1], &r.err), &r.err);
    for (int round = 0; round < 4; round++) {
        out[1].data = NULL;
        assert_ok(leat_session_run(r.session, NULL, 0, out, 2, &r.err), &r.err);
        assert_holds(&r, others[1], "2x3", from_other);
        assert_holds(&r, first, "2x3", zeros_and_more);
    }
    leat_session_destroy(r.session);
    r.session = NULL;
    leat_tensor_destroy(in);
    leat_tensor_destroy(first);
    leat_tensor_destroy(others[0]);
    leat_tensor_destroy(others[1]);
    finish(&r, b);
}

/* What the CPU makes of a bound input, and a constant, go to bound outputs: copies of a span whose
 * addresses change. */
static void outputs_made_elsewhere_are_copied(void **state)
{
    (void)state;
    const int64_t shape[2] = {2, 3};
    const float none[6] = {0}, three[6] = {3, 3, 3, 3, 3, 3};
    onnx_builder *b = build_relu();
    onnx_builder_floats(b, "c", "2x3", three);
    onnx_builder_text(b, "copy = Identity(x); constant = Identity(c); -> copy: f32[Nx3]; "
                         "-> constant: f32[2x3]");
    test_run r;
    start(&r, b, fake_names, 1, LEAT_FALLBACK_CPU);
    leat_tensor *in[2] = {put(&r, x, 2, shape), put(&r, three, 2, shape)};
    leat_tensor *copy = put(&r, none, 2, shape), *constant = put(&r, none, 2, shape);
    assert_ok(leat_session_bind(r.session, "copy", copy, &r.err), &r.err);
    assert_ok(leat_session_bind(r.session, "constant", constant, &r.err), &r.err);
    for (int round = 0; round < 8; round++) { /* each input four times, then from the host */
        const float *data = round / 4 ? three : x;
        leat_array given = test_f32(x, "2x3"), out[3] = {{0}};
        assert_ok(leat_session_bind(r.session, "x", in[round / 4], &r.err), &r.err);
        assert_ok(leat_session_run(r.session, NULL, 0, out, 3, &r.err), &r.err);
        test_assert_f32(&out[0], "2x3", round / 4 ? three : zeros_and_more);
        assert_holds(&r, copy, "2x3", data);
        assert_holds(&r, constant, "2x3", three);
        assert_ok(leat_session_run(r.session, &given, 1, out, 3, &r.err), &r.err);
        assert_holds(&r, copy, "2x3", x);
    }
    leat_session_destroy(r.session);
    r.session = NULL;
    leat_tensor_destroy(in[0]);
    leat_tensor_destroy(in[1]);
    leat_tensor_destroy(copy);
    leat_tensor_destroy(constant);
    finish(&r, b);
}

/* Relu writes its input's memory where nobody else reads that. */
static void bound_tensor_is_written_in_place(void **state)
{
    (void)state;
    const int64_t shape[2] = {2, 3};
    for (int late = 0; late < 2; late++) {
        onnx_builder *b = build_relu();
        if (late) {
            onnx_builder_node(b, "Add", "x,y", "z", NULL, 0);
            onnx_builder_output(b, "z", LEAT_DTYPE_F32, "Nx3");
        }
        test_run r;
        start(&r, b, fake_names, 1, LEAT_FALLBACK_NONE);
        leat_tensor *both = put(&r, x, 2, shape);
        leat_array out[2] = {{0}};
        assert_ok(leat_session_bind(r.session, "x", both, &r.err), &r.err);
        assert_ok(leat_session_bind(r.session, "y", both, &r.err), &r.err);
        leat_status status = leat_session_run(r.session, NULL, 0, out, 1 + (size_t)late, &r.err);
        if (late) {
            assert_int_equal(status, LEAT_INVALID);
            assert_non_null(strstr(r.err.message, "overlaps input 'x'"));
        } else {
            assert_ok(status, &r.err);
            assert_holds(&r, both, "2x3", zeros_and_more);
        }
        leat_session_destroy(r.session);
        r.session = NULL;
        leat_tensor_destroy(both);
        finish(&r, b);
    }
}

static void tensor_bad_shapes_return_invalid(void **state)
{
    (void)state;
    onnx_builder *b = build_relu();
    test_run r;
    test_run_load(&r, b);
    leat_tensor *tensor;
    int64_t shape[2] = {2, -3}, huge[2] = {INT64_MAX, 8};
    assert_int_equal(
        leat_tensor_create(r.context, "cpu", LEAT_DTYPE_F32, 2, shape, &tensor, &r.err),
        LEAT_INVALID);
    assert_null(tensor);
    assert_int_equal(leat_tensor_create(r.context, "cpu", LEAT_DTYPE_F32, 2, huge, &tensor, &r.err),
                     LEAT_INVALID);
    assert_int_equal(leat_tensor_create(r.context, "cpu", LEAT_DTYPE_F32, 9, huge, &tensor, &r.err),
                     LEAT_INVALID);
    assert_int_equal(leat_tensor_create(r.context, "cpu", (leat_dtype)99, 0, NULL, &tensor, &r.err),
                     LEAT_INVALID);
    assert_int_equal(
        leat_tensor_create(r.context, "moon", LEAT_DTYPE_F32, 0, NULL, &tensor, &r.err),
        LEAT_NO_DEVICE);
    leat_array small = test_f32(x, "2x3");
    small.bytes = 20;
    assert_int_equal(leat_tensor_wrap(r.context, "cpu", &small, &tensor, &r.err), LEAT_INVALID);
    assert_null(tensor);
    finish(&r, b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(skeleton_runs_its_operator),
        cmocka_unit_test(narrow_precision_needs_a_device_that_has_it),
        cmocka_unit_test(fake_runs_through_its_own_memory),
        cmocka_unit_test(fake_chain_with_weights_gives_result),
        cmocka_unit_test(fallback_takes_what_the_device_lacks),
        cmocka_unit_test(no_fallback_names_the_node),
        cmocka_unit_test(refusal_moves_the_node_to_the_fallback),
        cmocka_unit_test(refusal_without_fallback_is_the_answer),
        cmocka_unit_test(two_devices_prefer_the_first),
        cmocka_unit_test(unavailable_device_is_never_replaced),
        cmocka_unit_test(graph_backend_compiles_segments),
        cmocka_unit_test(graph_and_fake_and_cpu_work_together),
        cmocka_unit_test(tensor_copies_across_devices),
        cmocka_unit_test(tensor_on_a_device_can_be_bound),
        cmocka_unit_test(bound_tensors_stay_on_the_device),
        cmocka_unit_test(outputs_made_elsewhere_are_copied),
        cmocka_unit_test(bound_tensor_is_written_in_place),
        cmocka_unit_test(tensor_bad_shapes_return_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

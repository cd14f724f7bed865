/* SPDX-License-Identifier: Apache-2.0 */
/* Control flow and the promises of a session: nothing is allocated when warm, loops end when asked,
 * failures leave the session good, reports list what runs in bodies, threads share a model. */
#include "support/test.h"

#include "runtime/frame.h"
#include "support/run.h"

#include <pthread.h>

/* for i < m: s = relu(s w) if i < half, else s - x; every s is stacked. Weights and x are captured
 * through the loop's body. */
static const float weights[4] = {1, -1, 2, 0.5f};

static onnx_builder *build_mixed(void)
{
    onnx_builder *b = onnx_builder_create(17), *body = onnx_builder_create(17),
                 *yes = onnx_builder_create(17), *no = onnx_builder_create(17);
    onnx_builder_floats(b, "w", "2x2", weights);
    onnx_builder_text(b, "m: i64[]; half: i64[]; s0: f32[Nx2]; x: f32[Nx2]");
    onnx_builder_text(yes, "sw = MatMul(s, w); r = Relu(sw); -> r: f32[Nx2]");
    onnx_builder_node(no, "Sub", "s,x", "d", NULL, 0);
    onnx_builder_output(no, "d", LEAT_DTYPE_F32, "Nx2");
    onnx_builder_text(body, "i: i64[]; go: bool[]; s: f32[Nx2]; early = Less(i, half)");
    const leat_attr branches[] = {test_attr_graph("then_branch", yes),
                                  test_attr_graph("else_branch", no)};
    onnx_builder_node(body, "If", "early", "t", branches, 2);
    onnx_builder_text(body, "-> go: bool[]; -> t: f32[Nx2]; -> t: f32[Nx2]");
    leat_attr attr = test_attr_graph("body", body);
    onnx_builder_node(b, "Loop", "m,,s0", "s1,all", &attr, 1);
    onnx_builder_output(b, "s1", LEAT_DTYPE_F32, "Nx2");
    onnx_builder_output(b, "all", LEAT_DTYPE_F32, NULL);
    onnx_builder_destroy(body);
    onnx_builder_destroy(yes);
    onnx_builder_destroy(no);
    return b;
}

/* Rows of s, in place, and of every step. */
static void mixed_oracle(int64_t m, int64_t half, size_t n, float *s, const float *x, float *all)
{
    for (int64_t i = 0; i < m; i++) {
        for (size_t row = 0; row < n; row++) {
            float *v = s + 2 * row, a = v[0], b = v[1];
            for (size_t k = 0; k < 2; k++) {
                float sum = a * weights[k] + b * weights[2 + k];
                v[k] = i < half ? (sum > 0 ? sum : 0) : v[k] - x[2 * row + k];
            }
        }
        memcpy(all + (size_t)i * 2 * n, s, 2 * n * sizeof(*s));
    }
}

typedef struct mixed {
    int64_t m, half;
    float s[6], x[6], all[6 * 16];
    leat_array in[4];
} mixed;

static void mixed_start(mixed *c, int64_t m, int64_t half, size_t n)
{
    static const char *const shapes[] = {"0x2", "1x2", "2x2", "3x2"};
    *c = (mixed){.m = m, .half = half};
    for (size_t i = 0; i < 6; i++) {
        c->s[i] = (float)i - 1;
        c->x[i] = 0.25f * (float)i;
    }
    c->in[0] = test_i64(&c->m, "");
    c->in[1] = test_i64(&c->half, "");
    c->in[2] = test_f32(c->s, shapes[n]);
    c->in[3] = test_f32(c->x, shapes[n]);
}

static void mixed_check(mixed *c, const leat_array *out)
{
    size_t n = (size_t)c->in[2].shape[0];
    float s[6];
    memcpy(s, c->s, sizeof(s));
    mixed_oracle(c->m, c->half, n, s, c->x, c->all);
    assert_int_equal(out[0].bytes, n * 2 * sizeof(float));
    assert_memory_equal(out[0].data, s, out[0].bytes);
    assert_int_equal(out[1].shape[0], c->m);
    assert_int_equal(out[1].bytes, (size_t)c->m * n * 2 * sizeof(float));
    assert_memory_equal(out[1].data, c->all, out[1].bytes);
}

static void run_warmed_control_flow_allocates_nothing(void **state)
{
    (void)state;
    test_run r;
    onnx_builder *b = build_mixed();
    leat_memory_info before, after;
    test_run_open(&r, b);
    for (int round = 0; round < 4; round++) {
        leat_context_memory(r.context, &before);
        for (size_t n = 1; n <= 3; n++) {
            for (int64_t m = 1; m <= 4; m++) {
                mixed c;
                leat_array out[2];
                mixed_start(&c, m, 2, n);
                test_run_ok(&r, c.in, 4, out, 2);
                mixed_check(&c, out);
            }
        }
        leat_context_memory(r.context, &after);
        assert_true(round == 0 || before.allocations == after.allocations);
    }
    test_run_free(&r);
    onnx_builder_destroy(b);
}

/* Captured constants are inputs of the bodies then. */
static void run_without_optimization_gives_the_same(void **state)
{
    (void)state;
    test_run r = {0};
    onnx_builder *b = build_mixed();
    size_t bytes;
    const void *data = onnx_builder_finish(b, &bytes);
    const leat_model_desc desc = {.struct_size = sizeof(desc), .no_optimization = 1};
    assert_ok(leat_context_create(NULL, &r.context, &r.err), &r.err);
    assert_ok(leat_model_load_memory(r.context, data, bytes, &desc, &r.model, &r.err), &r.err);
    test_run_session(&r, NULL);
    for (int64_t m = 0; m < 5; m++) {
        mixed c;
        leat_array out[2];
        mixed_start(&c, m, 2, 2);
        test_run_ok(&r, c.in, 4, out, 2);
        mixed_check(&c, out);
    }
    test_run_free(&r);
    onnx_builder_destroy(b);
}

static void run_after_trim_gives_the_same(void **state)
{
    (void)state;
    test_run r;
    onnx_builder *b = build_mixed();
    leat_memory_info full, trimmed;
    test_run_open(&r, b);
    for (int round = 0; round < 3; round++) {
        mixed c;
        leat_array out[2];
        mixed_start(&c, 9, 5, 3);
        test_run_ok(&r, c.in, 4, out, 2);
        leat_context_memory(r.context, &full);
        leat_context_trim(r.context);
        leat_context_memory(r.context, &trimmed);
        assert_true(trimmed.live_bytes < full.live_bytes);
        mixed_check(&c, out); /* what was given out stays */
    }
    test_run_free(&r);
    onnx_builder_destroy(b);
}

/* ------------------------------------------------------------------------------------------------
 * Ending loops
 * --------------------------------------------------------------------------------------------- */

typedef struct asked {
    int calls;
    int cancel;
} asked;

static int tell(void *user, const char *stage, uint64_t done, uint64_t total)
{
    asked *a = user;
    if (strcmp(stage, "loop") != 0) {
        return 0;
    }
    assert_true(done < total);
    a->calls++;
    return a->cancel;
}

static void run_endless_loop_ends_when_asked(void **state)
{
    (void)state;
    test_run r;
    onnx_builder *b = onnx_builder_create(17), *body = onnx_builder_create(17);
    onnx_builder_input(b, "m", LEAT_DTYPE_I64, "");
    onnx_builder_input(b, "s0", LEAT_DTYPE_F32, "1");
    onnx_builder_text(body, "i: i64[]; go: bool[]; s: f32[1]; "
                            "t = Neg(s); "
                            "-> go: bool[]; -> t: f32[1]");
    leat_attr attr = test_attr_graph("body", body);
    onnx_builder_node(b, "Loop", "m,,s0", "s1", &attr, 1);
    onnx_builder_output(b, "s1", LEAT_DTYPE_F32, "1");
    asked a = {.cancel = 1};
    const leat_session_desc desc = {
        .struct_size = sizeof(desc), .progress = tell, .progress_user = &a};
    int64_t m = INT64_C(1) << 62;
    float s = 3;
    leat_array in[2] = {test_i64(&m, ""), test_f32(&s, "1")}, out = {0};
    test_run_load(&r, b);
    test_run_session(&r, &desc);
    assert_int_equal(leat_session_run(r.session, in, 2, &out, 1, &r.err), LEAT_CANCELLED);
    assert_int_equal(a.calls, 1);
    m = 7;
    const float seven = -3;
    test_run_ok(&r, in, 2, &out, 1);
    test_assert_f32(&out, "1", &seven);
    test_run_free(&r);
    onnx_builder_destroy(b);
    onnx_builder_destroy(body);
}

static void tick_without_callback_has_a_limit(void **state)
{
    (void)state;
    lt_runner runner = {.iterations = LT_MOST_ITERATIONS - 1};
    leat_error err = {0};
    assert_ok(lt_runner_tick(&runner, 0, 1, &err), &err);
    assert_int_equal(lt_runner_tick(&runner, 1, 2, &err), LEAT_LIMIT);
    assert_non_null(strstr(err.message, "progress"));
    asked a = {0};
    runner.progress = tell; /* which can end it: no limit then */
    runner.progress_user = &a;
    assert_ok(lt_runner_tick(&runner, 1, 2, &err), &err);
}

/* A loop that doubles what it carries hits the budget, and the session goes on. */
static void run_loop_beyond_the_budget_is_no_memory(void **state)
{
    (void)state;
    leat_attr axis = test_attr_int("axis", 0);
    onnx_builder *b = onnx_builder_create(17), *body = onnx_builder_create(17);
    onnx_builder_input(b, "m", LEAT_DTYPE_I64, "");
    onnx_builder_input(b, "s0", LEAT_DTYPE_F32, "N");
    onnx_builder_text(body, "i: i64[]; go: bool[]; s: f32");
    onnx_builder_node(body, "Concat", "s,s", "t", &axis, 1);
    onnx_builder_output(body, "go", LEAT_DTYPE_BOOL, "");
    onnx_builder_output(body, "t", LEAT_DTYPE_F32, NULL);
    leat_attr attr = test_attr_graph("body", body);
    onnx_builder_node(b, "Loop", "m,,s0", "s1", &attr, 1);
    onnx_builder_output(b, "s1", LEAT_DTYPE_F32, NULL);
    size_t bytes;
    const void *data = onnx_builder_finish(b, &bytes);
    test_run r = {0};
    const leat_context_desc desc = {
        .struct_size = sizeof(desc), .threads = 1, .memory_budget = 32u << 20};
    assert_ok(leat_context_create(&desc, &r.context, &r.err), &r.err);
    assert_ok(leat_model_load_memory(r.context, data, bytes, NULL, &r.model, &r.err), &r.err);
    test_run_session(&r, NULL);
    int64_t m = 60;
    float s = 3;
    leat_array in[2] = {test_i64(&m, ""), test_f32(&s, "1")}, out = {0};
    assert_int_equal(leat_session_run(r.session, in, 2, &out, 1, &r.err), LEAT_NO_MEMORY);
    leat_context_trim(r.context);
    m = 2;
    const float four[4] = {3, 3, 3, 3};
    test_run_ok(&r, in, 2, &out, 1);
    test_assert_f32(&out, "4", four);
    test_run_free(&r);
    onnx_builder_destroy(b);
    onnx_builder_destroy(body);
}

/* ------------------------------------------------------------------------------------------------
 * Reports, threads, failing allocations
 * --------------------------------------------------------------------------------------------- */

static void report_lists_the_nodes_of_bodies(void **state)
{
    (void)state;
    test_run r;
    onnx_builder *b = build_mixed();
    const leat_session_desc desc = {.struct_size = sizeof(desc), .profile = 1};
    mixed c;
    leat_array out[2];
    test_run_load(&r, b);
    test_run_session(&r, &desc);
    for (int round = 0; round < 2; round++) {
        mixed_start(&c, 9, 5, 3);
        test_run_ok(&r, c.in, 4, out, 2);
    }
    leat_plan_report report = {.struct_size = sizeof(report)};
    assert_ok(leat_session_report(r.session, &report, &r.err), &r.err);
    int loops = 0, ifs = 0, products = 0, differences = 0;
    for (size_t i = 0; i < report.n_nodes; i++) {
        const leat_node_report *n = &report.nodes[i];
        loops += strcmp(n->op, "Loop") == 0 && n->last_ns > 0;
        ifs += strcmp(n->op, "If") == 0 && strstr(n->reason, "runtime") != NULL;
        products += strcmp(n->op, "MatMul+Relu") == 0 && n->kernel[0] != '\0' && n->last_ns > 0;
        differences += strcmp(n->op, "Sub") == 0 && n->last_ns > 0;
    }
    assert_int_equal(loops, 1);
    assert_int_equal(ifs, 1);
    assert_int_equal(products, 1); /* fused inside of the body */
    assert_int_equal(differences, 1);
    assert_true(report.weight_bytes > 0); /* the captured weights are packed */
    test_run_free(&r);
    onnx_builder_destroy(b);
}

static void *run_many(void *argument)
{
    leat_model *model = argument;
    leat_session *session = NULL;
    leat_error err = {0};
    assert_ok(leat_session_create(model, NULL, &session, &err), &err);
    for (int i = 0; i < 50; i++) {
        mixed c;
        leat_array out[2] = {{0}};
        mixed_start(&c, 1 + i % 7, i % 4, 1 + (size_t)i % 3);
        assert_ok(leat_session_run(session, c.in, 4, out, 2, &err), &err);
        mixed_check(&c, out);
    }
    leat_session_destroy(session);
    return NULL;
}

static void run_from_several_threads_agrees(void **state)
{
    (void)state;
    test_run r;
    onnx_builder *b = build_mixed();
    pthread_t threads[3];
    test_run_load(&r, b);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_many, r.model), 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    test_run_free(&r);
    onnx_builder_destroy(b);
}

static leat_status mixed_once(void *argument, const leat_allocator *allocator, leat_error *err)
{
    const leat_array *model = argument;
    leat_context_desc desc = {.struct_size = sizeof(desc), .allocator = allocator, .threads = 1};
    leat_context *context = NULL;
    leat_model *m = NULL;
    leat_session *session = NULL;
    mixed c;
    leat_array out[2] = {{0}};
    mixed_start(&c, 4, 2, 2);
    leat_status status = leat_context_create(&desc, &context, err);
    status =
        status ? status : leat_model_load_memory(context, model->data, model->bytes, NULL, &m, err);
    status = status ? status : leat_session_create(m, NULL, &session, err);
    status = status ? status : leat_session_run(session, c.in, 4, out, 2, err);
    if (status == LEAT_OK) {
        mixed_check(&c, out);
    }
    leat_session_destroy(session);
    leat_model_destroy(m);
    leat_context_destroy(context);
    return status;
}

static void run_walks_failing_allocations(void **state)
{
    (void)state;
    onnx_builder *b = build_mixed();
    leat_array model = {0};
    model.data = (void *)onnx_builder_finish(b, &model.bytes);
    test_walk_allocations(mixed_once, &model);
    onnx_builder_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_warmed_control_flow_allocates_nothing),
        cmocka_unit_test(run_without_optimization_gives_the_same),
        cmocka_unit_test(run_after_trim_gives_the_same),
        cmocka_unit_test(run_endless_loop_ends_when_asked),
        cmocka_unit_test(tick_without_callback_has_a_limit),
        cmocka_unit_test(run_loop_beyond_the_budget_is_no_memory),
        cmocka_unit_test(report_lists_the_nodes_of_bodies),
        cmocka_unit_test(run_from_several_threads_agrees),
        cmocka_unit_test(run_walks_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Operators of the application inside If, Loop and Scan, work that they share among threads, and
 * where UNSUPPORTED of a shape function surfaces. */
#include "support/test.h"

#include "support/run.h"

#include <leat/operator.h>
#include <string.h>

/* acme.Scale: y = factor * x, by `tasks` tasks. */
typedef struct scaling {
    uint32_t tasks;
    leat_status shapes_status; /* returned by the shape function */
    int64_t refused;           /* a first dimension that is UNSUPPORTED; 0: none */
    int computed;
    int calls;             /* of tasks */
    uint32_t most_threads; /* the pool's */
    bool bad_thread;       /* a task had a thread that the pool does not have */
    int overlaps;          /* two tasks of one thread number at the same time */
    int busy[64];          /* per thread number */
} scaling;

typedef struct job {
    scaling *s;
    const float *x;
    float *y;
    float factor;
    size_t count;
} job;

static void scale_part(void *argument, uint32_t task, uint32_t thread)
{
    const job *j = argument;
    scaling *s = j->s;
    if (thread >= s->most_threads) {
        __atomic_store_n(&s->bad_thread, true, __ATOMIC_RELAXED);
        return;
    }
    if (__atomic_add_fetch(&s->busy[thread], 1, __ATOMIC_ACQ_REL) != 1) {
        __atomic_add_fetch(&s->overlaps, 1, __ATOMIC_RELAXED);
    }
    for (size_t i = task; i < j->count; i += s->tasks) {
        j->y[i] = j->factor * j->x[i];
    }
    __atomic_add_fetch(&s->calls, 1, __ATOMIC_RELAXED);
    __atomic_sub_fetch(&s->busy[thread], 1, __ATOMIC_ACQ_REL);
}

static leat_status scale_shapes(void *user, const leat_node *node, const leat_op_value *inputs,
                                leat_op_value *outputs, leat_error *err)
{
    const scaling *s = user;
    (void)node;
    (void)err;
    outputs[0] = inputs[0];
    outputs[0].data = NULL;
    bool refused = s->refused != 0 && inputs[0].rank > 0 && inputs[0].shape[0] == s->refused;
    return refused ? LEAT_UNSUPPORTED : s->shapes_status;
}

static leat_status scale_compute(void *user, const leat_op_call *call, leat_error *err)
{
    scaling *s = user;
    (void)err;
    job j = {s, call->inputs[0].data, call->outputs[0].data,
             leat_node_float(call->node, "factor", 1), call->inputs[0].bytes / sizeof(float)};
    s->most_threads = call->host->pool_threads(call->pool);
    call->host->parallel(call->pool, s->tasks, scale_part, &j);
    s->computed++;
    return LEAT_OK;
}

static leat_status load(test_run *run, onnx_builder *b, scaling *s, uint32_t threads)
{
    size_t bytes;
    const void *data = onnx_builder_finish(b, &bytes);
    const leat_context_desc desc = {.struct_size = sizeof(desc), .threads = threads};
    const leat_op_desc op = {.struct_size = sizeof(op),
                             .domain = "acme",
                             .name = "Scale",
                             .min_inputs = 1,
                             .max_inputs = 1,
                             .min_outputs = 1,
                             .max_outputs = 1,
                             .shapes = scale_shapes,
                             .compute = scale_compute,
                             .user = s};
    memset(run, 0, sizeof(*run));
    s->tasks = s->tasks ? s->tasks : 1;
    assert_ok(leat_context_create(&desc, &run->context, &run->err), &run->err);
    assert_ok(leat_context_add_op(run->context, &op, &run->err), &run->err);
    return leat_model_load_memory(run->context, data, bytes, NULL, &run->model, &run->err);
}

static void open_run(test_run *run, onnx_builder *b, scaling *s, uint32_t threads)
{
    assert_ok(load(run, b, s, threads), &run->err);
    test_run_session(run, NULL);
}

static void close_run(test_run *run, onnx_builder *b)
{
    test_run_free(run);
    onnx_builder_destroy(b);
}

static onnx_builder *new_builder(void)
{
    onnx_builder *b = onnx_builder_create(17);
    onnx_builder_import(b, "acme", 1);
    return b;
}

static void scale(onnx_builder *b, const char *in, const char *out, float factor)
{
    const leat_attr attr = test_attr_float("factor", factor);
    onnx_builder_node(b, "acme.Scale", in, out, &attr, 1);
}

/* A warmed run of the same shapes allocates nothing. */
static void run_twice(test_run *run, const leat_array *in, size_t n_in, leat_array *out,
                      size_t n_out)
{
    leat_memory_info before, after;
    test_run_ok(run, in, n_in, out, n_out);
    leat_context_memory(run->context, &before);
    test_run_ok(run, in, n_in, out, n_out);
    leat_context_memory(run->context, &after);
    assert_int_equal(after.allocations, before.allocations);
}

/* y = c ? 3 x : -x */
static onnx_builder *build_if(const char *shape)
{
    onnx_builder *b = new_builder(), *yes = new_builder(), *no = new_builder();
    onnx_builder_input(b, "c", LEAT_DTYPE_BOOL, "");
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, shape);
    scale(yes, "x", "t", 3);
    onnx_builder_output(yes, "t", LEAT_DTYPE_F32, NULL);
    onnx_builder_node(no, "Neg", "x", "e", NULL, 0);
    onnx_builder_output(no, "e", LEAT_DTYPE_F32, NULL);
    const leat_attr branches[] = {test_attr_graph("then_branch", yes),
                                  test_attr_graph("else_branch", no)};
    onnx_builder_node(b, "If", "c", "y", branches, 2);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, NULL);
    onnx_builder_destroy(yes);
    onnx_builder_destroy(no);
    return b;
}

static void branch_of_if_computes_with_a_capture(void **state)
{
    (void)state;
    float x[3] = {1, -2, 0.5f};
    uint8_t c = 1;
    scaling s = {0};
    test_run run;
    leat_array in[] = {test_bool(&c), test_f32(x, "3")}, out;
    onnx_builder *b = build_if("N");
    open_run(&run, b, &s, 1);
    run_twice(&run, in, 2, &out, 1);
    test_assert_f32(&out, "3", (const float[]){3, -6, 1.5f});
    assert_int_equal(s.computed, 2);
    c = 0;
    test_run_ok(&run, in, 2, &out, 1);
    test_assert_f32(&out, "3", (const float[]){-1, 2, -0.5f});
    assert_int_equal(s.computed, 2); /* the branch not taken does not run */
    in[1] = test_f32(x, "2");
    c = 1;
    test_run_ok(&run, in, 2, &out, 1);
    test_assert_f32(&out, "2", (const float[]){3, -6});
    close_run(&run, b);
}

/* for i < m: v = 2 v, or -v where i is odd, by an If in the Loop; every v is stacked. */
static onnx_builder *build_loop(void)
{
    onnx_builder *b = new_builder(), *body = new_builder(), *yes = new_builder(),
                 *no = new_builder();
    const int64_t two = 2, zero = 0;
    onnx_builder_input(b, "m", LEAT_DTYPE_I64, "");
    onnx_builder_input(b, "v0", LEAT_DTYPE_F32, "N");
    onnx_builder_ints(b, "two", "", &two);
    onnx_builder_ints(b, "zero", "", &zero);
    scale(yes, "v", "t", 2);
    onnx_builder_output(yes, "t", LEAT_DTYPE_F32, NULL);
    scale(no, "v", "e", -1);
    onnx_builder_output(no, "e", LEAT_DTYPE_F32, NULL);
    const leat_attr branches[] = {test_attr_graph("then_branch", yes),
                                  test_attr_graph("else_branch", no)};
    onnx_builder_text(body, "i: i64[]; go: bool[]; v: f32[N]; "
                            "r = Mod(i, two); even = Equal(r, zero)");
    onnx_builder_node(body, "If", "even", "w", branches, 2);
    onnx_builder_text(body, "-> go: bool[]; -> w: f32; -> w: f32");
    const leat_attr attr = test_attr_graph("body", body);
    onnx_builder_node(b, "Loop", "m,,v0", "v1,all", &attr, 1);
    onnx_builder_output(b, "v1", LEAT_DTYPE_F32, NULL);
    onnx_builder_output(b, "all", LEAT_DTYPE_F32, NULL);
    onnx_builder_destroy(body);
    onnx_builder_destroy(yes);
    onnx_builder_destroy(no);
    return b;
}

static void body_of_loop_computes_in_every_iteration(void **state)
{
    (void)state;
    int64_t m = 5;
    float v[2] = {1, 3};
    scaling s = {0};
    test_run run;
    leat_array in[] = {test_i64(&m, ""), test_f32(v, "2")}, out[2];
    onnx_builder *b = build_loop();
    open_run(&run, b, &s, 1);
    run_twice(&run, in, 2, out, 2);
    assert_int_equal(s.computed, 10);
    test_assert_f32(&out[0], "2", (const float[]){8, 24});
    test_assert_f32(&out[1], "5x2", (const float[]){2, 6, -2, -6, -4, -12, 4, 12, 8, 24});
    m = 0;
    test_run_ok(&run, in, 2, out, 2);
    test_assert_f32(&out[0], "2", v);
    assert_int_equal(s.computed, 10);
    close_run(&run, b);
}

/* s = 2 (s + x_i) over the rows of x; y_i = s. */
static void body_of_scan_computes_in_every_step(void **state)
{
    (void)state;
    float x[6] = {1, 2, 3, 4, 5, 6}, s0[2] = {0, 1};
    scaling s = {0};
    test_run run;
    leat_array in[] = {test_f32(s0, "2"), test_f32(x, "3x2")}, out[2];
    onnx_builder *b = new_builder(), *body = new_builder();
    onnx_builder_text(body, "s: f32[2]; xi: f32[2]; a = Add(s, xi)");
    scale(body, "a", "t", 2);
    onnx_builder_output(body, "t", LEAT_DTYPE_F32, "2");
    onnx_builder_output(body, "t", LEAT_DTYPE_F32, "2");
    const leat_attr attrs[] = {test_attr_graph("body", body), test_attr_int("num_scan_inputs", 1)};
    onnx_builder_input(b, "s0", LEAT_DTYPE_F32, "2");
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Tx2");
    onnx_builder_node(b, "Scan", "s0,x", "s1,y", attrs, 2);
    onnx_builder_output(b, "s1", LEAT_DTYPE_F32, "2");
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Tx2");
    onnx_builder_destroy(body);
    open_run(&run, b, &s, 1);
    run_twice(&run, in, 2, out, 2);
    assert_int_equal(s.computed, 6);
    test_assert_f32(&out[0], "2", (const float[]){30, 52});
    test_assert_f32(&out[1], "3x2", (const float[]){2, 6, 10, 20, 30, 52});
    close_run(&run, b);
}

/* --- threads ------------------------------------------------------------------------------------
 */

static void check_parallel(uint32_t threads, uint32_t tasks, onnx_builder *b, int times)
{
    static float x[1001];
    uint8_t c = 1;
    int64_t one = 1;
    scaling s = {.tasks = tasks};
    test_run run;
    leat_array out[2];
    for (size_t i = 0; i < 1001; i++) {
        x[i] = (float)i;
    }
    leat_array in[] = {test_bool(&c), test_f32(x, "1001")};
    if (times == 2) { /* the Loop, once around: 2 x */
        in[0] = test_i64(&one, "");
    }
    open_run(&run, b, &s, threads);
    test_run_ok(&run, in, 2, out, times == 2 ? 2 : 1);
    for (size_t i = 0; i < 1001; i++) {
        assert_true(((const float *)out[0].data)[i] == (times == 2 ? 2.0f : 3.0f) * x[i]);
    }
    assert_int_equal(s.most_threads, threads);
    assert_int_equal(s.calls, tasks);
    assert_false(s.bad_thread);
    assert_int_equal(s.overlaps, 0);
    close_run(&run, b);
}

static void parallel_runs_every_task_once_in_bodies_too(void **state)
{
    (void)state;
    for (uint32_t threads = 1; threads <= 4; threads++) {
        check_parallel(threads, 1, build_if("N"), 1);
        check_parallel(threads, 7, build_if("N"), 1);
        check_parallel(threads, 100, build_loop(), 2);
    }
}

/* --- UNSUPPORTED --------------------------------------------------------------------------------
 */

static onnx_builder *build_scale(const char *shape)
{
    onnx_builder *b = new_builder();
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, shape);
    scale(b, "x", "y", 3);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, NULL);
    return b;
}

static void unsupported_fixed_shapes_surface_at_load(void **state)
{
    (void)state;
    scaling s = {.refused = 3};
    test_run run;
    onnx_builder *b = build_scale("3x2");
    assert_int_equal(load(&run, b, &s, 1), LEAT_UNSUPPORTED);
    assert_non_null(strstr(run.err.message, "node 'y': acme.Scale"));
    close_run(&run, b);
    b = build_scale("2x2");
    assert_ok(load(&run, b, &s, 1), &run.err);
    close_run(&run, b);
}

static void unsupported_shapes_of_a_run_surface_there(void **state)
{
    (void)state;
    scaling s = {.refused = 3};
    float x[6] = {1, 2, 3, 4, 5, 6};
    uint8_t c = 0;
    test_run run;
    leat_array in = test_f32(x, "3x2"), out = {0};
    onnx_builder *b = build_scale("Nx2");
    open_run(&run, b, &s, 1);
    assert_int_equal(leat_session_warm(run.session, &in, 1, &run.err), LEAT_UNSUPPORTED);
    assert_int_equal(leat_session_run(run.session, &in, 1, &out, 1, &run.err), LEAT_UNSUPPORTED);
    assert_non_null(strstr(run.err.message, "node 'y': acme.Scale"));
    in = test_f32(x, "2x2"); /* the session is good for what is served */
    test_run_ok(&run, &in, 1, &out, 1);
    test_assert_f32(&out, "2x2", (const float[]){3, 6, 9, 12});
    close_run(&run, b);
    /* In a body: only when it is reached. */
    leat_array both[] = {test_bool(&c), test_f32(x, "3")};
    b = build_if("3");
    open_run(&run, b, &s, 1);
    test_run_ok(&run, both, 2, &out, 1);
    test_assert_f32(&out, "3", (const float[]){-1, -2, -3});
    c = 1;
    assert_int_equal(leat_session_run(run.session, both, 2, &out, 1, &run.err), LEAT_UNSUPPORTED);
    close_run(&run, b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(branch_of_if_computes_with_a_capture),
        cmocka_unit_test(body_of_loop_computes_in_every_iteration),
        cmocka_unit_test(body_of_scan_computes_in_every_step),
        cmocka_unit_test(parallel_runs_every_task_once_in_bodies_too),
        cmocka_unit_test(unsupported_fixed_shapes_surface_at_load),
        cmocka_unit_test(unsupported_shapes_of_a_run_surface_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* leat_metrics_write of a batcher whose requests are known, and of GPUs of a library that the test
 * brings along. */
#include "support/test.h"

#include "runtime/context.h"
#include "support/run.h"

#include <dlfcn.h>
#include <leat/metrics.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct bench {
    test_run run;
    onnx_builder *builder;
    leat_batcher *batcher;
    leat_error err;
    char text[32768];
    size_t bytes;
} bench;

static bench b;

static void open_bench(void)
{
    const leat_batcher_desc desc = {.struct_size = sizeof(desc), .no_threads = 1};
    memset(&b, 0, sizeof(b));
    b.builder = test_build_mlp();
    test_run_load(&b.run, b.builder);
    assert_ok(leat_batcher_create(b.run.model, &desc, &b.batcher, &b.err), &b.err);
}

static void close_bench(void)
{
    leat_batcher_destroy(b.batcher);
    test_run_free(&b.run);
    onnx_builder_destroy(b.builder);
}

static leat_metrics_desc describe(const leat_metrics_batcher *batcher)
{
    return (leat_metrics_desc){.struct_size = sizeof(leat_metrics_desc),
                               .context = b.run.context,
                               .batchers = batcher,
                               .n_batchers = 1};
}

static void write_all(const leat_metrics_desc *desc)
{
    assert_ok(leat_metrics_text(desc, b.text, sizeof(b.text), &b.bytes, &b.err), &b.err);
    assert_int_equal(strlen(b.text), b.bytes);
}

static void assert_line(const char *line)
{
    char whole[256];
    snprintf(whole, sizeof(whole), "\n%s\n", line);
    if (strstr(b.text, whole) == NULL) {
        fail_msg("no line '%s' in:\n%s", line, b.text);
    }
}

static float x[8 * 4];

static void submit(uint32_t rows, uint64_t deadline_ns, leat_request **out)
{
    static float memory[8][8 * 3];
    static leat_array outputs[8];
    static int n;
    leat_array *y = &outputs[n++ % 8];
    const leat_array in = {LEAT_DTYPE_F32, 2, {rows, 4}, x, rows * 4 * sizeof(float)};
    *y = (leat_array){LEAT_DTYPE_F32, 2, {rows, 3}, memory[y - outputs], sizeof(memory[0])};
    const leat_request_desc desc = {.struct_size = sizeof(desc),
                                    .inputs = &in,
                                    .n_inputs = 1,
                                    .outputs = y,
                                    .n_outputs = 1,
                                    .deadline_ns = deadline_ns};
    assert_ok(leat_batcher_submit(b.batcher, &desc, out, &b.err), &b.err);
}

static void batchers_requests_are_counted(void **state)
{
    (void)state;
    open_bench();
    leat_request *cancelled = NULL;
    submit(2, 0, NULL);
    submit(3, 0, NULL);
    submit(1, 0, &cancelled);
    assert_ok(leat_request_cancel(cancelled, &b.err), &b.err);
    leat_request_release(cancelled);
    assert_ok(leat_batcher_drain(b.batcher, 0, &b.err), &b.err);
    submit(1, 0, NULL);
    const leat_metrics_batcher named = {"mlp \"small\"", b.batcher};
    const leat_metrics_desc desc = describe(&named);
    write_all(&desc);
    assert_line("leat_requests_total{model=\"mlp \\\"small\\\"\",outcome=\"succeeded\"} 2");
    assert_line("leat_requests_total{model=\"mlp \\\"small\\\"\",outcome=\"cancelled\"} 1");
    assert_line("leat_requests_total{model=\"mlp \\\"small\\\"\",outcome=\"failed\"} 0");
    assert_line("leat_requests_accepted_total{model=\"mlp \\\"small\\\"\"} 4");
    assert_line("leat_requests_waiting{model=\"mlp \\\"small\\\"\"} 1");
    assert_line("leat_batches_total{model=\"mlp \\\"small\\\"\"} 1");
    assert_line("leat_batch_rows_sum{model=\"mlp \\\"small\\\"\"} 5");
    assert_line("leat_batch_rows_bucket{model=\"mlp \\\"small\\\"\",le=\"4\"} 0");
    assert_line("leat_batch_rows_bucket{model=\"mlp \\\"small\\\"\",le=\"8\"} 1");
    assert_line("leat_batch_rows_bucket{model=\"mlp \\\"small\\\"\",le=\"+Inf\"} 1");
    assert_line("leat_request_duration_seconds_count{model=\"mlp \\\"small\\\"\",class=\"0\"} 2");
    assert_line("leat_batch_compute_seconds_count{model=\"mlp \\\"small\\\"\"} 1");
    assert_null(strstr(b.text, "class=\"1\""));
    assert_line("leat_batch_input_bytes_total{model=\"mlp \\\"small\\\"\"} 80");
    assert_line("leat_batch_pad_changes_total{model=\"mlp \\\"small\\\"\"} 0");
    assert_line("# TYPE leat_batches_closed_total counter");
    assert_null(strstr(b.text, "leat_gpu_"));
    assert_null(strstr(b.text, "budget"));
    close_bench();
}

static void kept_answers_are_counted(void **state)
{
    (void)state;
    const leat_batcher_desc kept = {
        .struct_size = sizeof(kept), .no_threads = 1, .answer_bytes = 4096};
    open_bench();
    leat_batcher_destroy(b.batcher);
    assert_ok(leat_batcher_create(b.run.model, &kept, &b.batcher, &b.err), &b.err);
    submit(2, 0, NULL);
    submit(2, 0, NULL); /* while the other waits */
    assert_ok(leat_batcher_drain(b.batcher, 0, &b.err), &b.err);
    submit(2, 0, NULL);
    for (uint32_t i = 0; i < 16; i++) { /* each its own but one; they do not fit all */
        x[0] = (float)(i / 8);
        submit(i % 8 + 1, 0, NULL);
        assert_ok(leat_batcher_drain(b.batcher, 0, &b.err), &b.err);
    }
    leat_batcher_stats stats = {.struct_size = sizeof(stats)};
    leat_batcher_read_stats(b.batcher, &stats);
    char line[128];
    const leat_metrics_batcher named = {"m", b.batcher};
    const leat_metrics_desc desc = describe(&named);
    write_all(&desc);
    assert_line("# TYPE leat_response_cache_hits_total counter");
    assert_line("leat_response_cache_hits_total{model=\"m\",source=\"kept\"} 2");
    assert_line("leat_response_cache_hits_total{model=\"m\",source=\"under_way\"} 1");
    assert_line("leat_response_cache_misses_total{model=\"m\"} 16");
    assert_true(stats.answer_evictions > 0 && stats.answers + stats.answer_evictions == 16);
    snprintf(line, sizeof(line), "leat_response_cache_evictions_total{model=\"m\"} %llu",
             (unsigned long long)stats.answer_evictions);
    assert_line(line);
    snprintf(line, sizeof(line), "leat_response_cache_entries{model=\"m\"} %llu",
             (unsigned long long)stats.answers);
    assert_line(line);
    snprintf(line, sizeof(line), "leat_response_cache_bytes{model=\"m\"} %llu",
             (unsigned long long)stats.answer_bytes);
    assert_line(line);
    close_bench();
}

static void a_buffer_that_is_too_small_tells_its_need(void **state)
{
    (void)state;
    open_bench();
    const leat_metrics_batcher named = {"m", b.batcher};
    const leat_metrics_desc desc = describe(&named);
    size_t need = 0;
    assert_int_equal(leat_metrics_text(&desc, NULL, 0, &need, &b.err), LEAT_LIMIT);
    assert_true(need > 100);
    assert_int_equal(leat_metrics_text(&desc, b.text, need, &b.bytes, &b.err), LEAT_LIMIT);
    assert_int_equal(leat_metrics_text(&desc, b.text, need + 1, &b.bytes, &b.err), LEAT_OK);
    close_bench();
}

static leat_status refuse(void *user, const char *text, size_t bytes)
{
    (void)user;
    (void)text;
    (void)bytes;
    return LEAT_IO;
}

static void bad_descriptors_are_refused(void **state)
{
    (void)state;
    open_bench();
    leat_metrics_batcher two[2] = {{"m", b.batcher}, {"m", b.batcher}};
    leat_metrics_desc desc = describe(two);
    assert_int_equal(leat_metrics_write(&desc, refuse, NULL, &b.err), LEAT_IO);
    desc.n_batchers = 2;
    assert_int_equal(leat_metrics_write(&desc, refuse, NULL, &b.err), LEAT_INVALID);
    two[1].model = NULL;
    assert_int_equal(leat_metrics_write(&desc, refuse, NULL, &b.err), LEAT_INVALID);
    two[1] = (leat_metrics_batcher){"n", NULL};
    assert_int_equal(leat_metrics_write(&desc, refuse, NULL, &b.err), LEAT_INVALID);
    desc.struct_size--;
    assert_int_equal(leat_metrics_write(&desc, refuse, NULL, &b.err), LEAT_INVALID);
    close_bench();
}

static uint64_t clock_now(void *user)
{
    return *(uint64_t *)user;
}

static void schedulers_work_is_written(void **state)
{
    (void)state;
    open_bench();
    uint64_t now = 1000;
    uint32_t queue;
    void *items[4];
    leat_scheduler *s;
    leat_dispatch dispatch = {.items = items};
    const leat_scheduler_desc desc = {.struct_size = sizeof(desc),
                                      .context = b.run.context,
                                      .n_devices = 2,
                                      .clock = clock_now,
                                      .clock_user = &now};
    const leat_cost_point cost = {1, 1, 2000000};
    const leat_queue_desc queue_desc = {.struct_size = sizeof(queue_desc),
                                        .class_index = 1,
                                        .max_batch = 1,
                                        .costs = &cost,
                                        .n_costs = 1};
    assert_ok(leat_scheduler_create(&desc, &s, &b.err), &b.err);
    assert_ok(leat_scheduler_add(s, &queue_desc, &queue, &b.err), &b.err);
    for (int i = 0; i < 3; i++) {
        assert_ok(leat_scheduler_submit(s, queue, NULL, 3000000, &b.err), &b.err);
    }
    assert_ok(leat_scheduler_begin(s, 1, &dispatch, &b.err), &b.err);
    now += 2000000;
    assert_ok(leat_scheduler_end(s, 1, &b.err), &b.err);
    assert_ok(leat_scheduler_begin(s, 1, &dispatch, &b.err), &b.err); /* the rest is too late */
    leat_metrics_scheduler named[2] = {{"g", s}, {"g", s}};
    leat_metrics_desc metrics = describe(NULL);
    metrics.n_batchers = 0;
    metrics.schedulers = named;
    metrics.n_schedulers = 2;
    assert_int_equal(leat_metrics_text(&metrics, b.text, sizeof(b.text), &b.bytes, &b.err),
                     LEAT_INVALID);
    metrics.n_schedulers = 1;
    write_all(&metrics);
    assert_line("leat_scheduler_submitted_total{scheduler=\"g\",class=\"1\"} 3");
    assert_line("leat_scheduler_on_time_total{scheduler=\"g\",class=\"1\"} 1");
    assert_line("leat_scheduler_expired_total{scheduler=\"g\",class=\"1\"} 2");
    assert_line("leat_scheduler_busy_seconds_total{scheduler=\"g\",device=\"1\"} 0.002");
    assert_line("leat_scheduler_work_submitted_seconds_total{scheduler=\"g\"} 0.006");
    assert_null(strstr(b.text, "class=\"0\""));
    assert_null(strstr(b.text, "device=\"0\""));
    leat_scheduler_destroy(s);
    close_bench();
}

/* ---- GPUs ------------------------------------------------------------------------------------ */

/* By its name it is the one that is loaded already. */
static int *load_fake(const char *how)
{
    void *library = dlopen(TEST_BUILD "/tests/plugins/nvml.so", RTLD_NOW | RTLD_LOCAL);
    if (how != NULL) {
        setenv("LEAT_FAKE_NVML", how, 1);
    } else {
        unsetenv("LEAT_FAKE_NVML");
    }
    if (library == NULL) {
        fail_msg("%s", dlerror());
    }
    return dlsym(library, "fake_nvml_live");
}

static void gpus_activity_is_since_the_last_read(void **state)
{
    (void)state;
    leat_gpu_monitor *gpus;
    int *live = load_fake(NULL);
    open_bench();
    assert_ok(leat_gpu_monitor_create(b.run.context, &gpus, &b.err), &b.err);
    leat_metrics_desc desc = describe(NULL);
    desc.n_batchers = 0;
    desc.gpus = gpus;
    for (int i = 0; i < 3; i++) {
        write_all(&desc);
        assert_line("leat_gpu_sm_activity_ratio{gpu=\"0\"} 0.2");
        assert_line("leat_gpu_dram_activity_ratio{gpu=\"0\"} 1");
        assert_null(strstr(b.text, "tensor"));
        assert_null(strstr(b.text, "sm_activity_ratio{gpu=\"1\"}"));
        assert_line("leat_gpu_memory_used_bytes{gpu=\"1\"} 1001");
        assert_line("leat_gpu_memory_size_bytes{gpu=\"0\"} 80000000000");
    }
    setenv("LEAT_FAKE_NVML", "sample", 1);
    write_all(&desc);
    assert_null(strstr(b.text, "activity"));
    assert_line("leat_gpu_memory_used_bytes{gpu=\"0\"} 1000");
    leat_gpu_monitor_destroy(gpus);
    assert_int_equal(*live, 0);
    close_bench();
}

static void no_gpu_is_an_error_with_its_reason(void **state)
{
    (void)state;
    static const char *const ways[] = {"none", "fails"};
    open_bench();
    for (int i = 0; i < 2; i++) {
        leat_gpu_monitor *gpus = (leat_gpu_monitor *)&b;
        int *live = load_fake(ways[i]);
        assert_int_equal(leat_gpu_monitor_create(b.run.context, &gpus, &b.err), LEAT_NO_DEVICE);
        assert_null(gpus);
        assert_non_null(strstr(b.err.message, "no GPU"));
        assert_int_equal(*live, 0);
    }
    close_bench();
}

static leat_status attempt(void *argument, const leat_allocator *allocator, leat_error *err)
{
    (void)argument;
    const leat_context_desc desc = {
        .struct_size = sizeof(desc), .allocator = allocator, .threads = 1};
    leat_context *context = NULL;
    leat_gpu_monitor *gpus = NULL;
    size_t bytes;
    leat_status status = leat_context_create(&desc, &context, err);
    status = status ? status : leat_gpu_monitor_create(context, &gpus, err);
    const leat_metrics_desc metrics = {
        .struct_size = sizeof(metrics), .context = context, .gpus = gpus};
    status = status ? status : leat_metrics_text(&metrics, b.text, sizeof(b.text), &bytes, err);
    leat_gpu_monitor_destroy(gpus);
    leat_context_destroy(context);
    return status;
}

static void failing_allocations_leave_nothing(void **state)
{
    (void)state;
    (void)load_fake(NULL);
    test_walk_allocations(attempt, NULL);
}

static void plans_are_counted_beyond_their_sessions(void **state)
{
    float x[3 * 4] = {0};
    const leat_metrics_batcher named = {"mlp", NULL};
    (void)state;
    open_bench();
    leat_metrics_desc desc = describe(&named);
    desc.n_batchers = 0;
    for (int round = 1; round <= 2; round++) {
        test_run_session(&b.run, NULL);
        for (int i = 0; i < 5; i++) {
            const leat_array in = {LEAT_DTYPE_F32, 2, {1 + i % 2, 4}, x, (size_t)(1 + i % 2) * 16};
            leat_array out = {0};
            assert_ok(leat_session_run(b.run.session, &in, 1, &out, 1, &b.err), &b.err);
        }
        if (round == 1) {
            write_all(&desc);
            assert_line("leat_plan_cache_hits_total 3");
            assert_line("leat_plan_cache_misses_total 2");
        }
        leat_session_destroy(b.run.session);
        b.run.session = NULL;
    }
    write_all(&desc);
    assert_line("leat_plan_cache_hits_total 6");
    assert_line("leat_plan_cache_misses_total 4");
    assert_null(strstr(b.text, "leat_cpu_worker")); /* this context has none */
    close_bench();
}

/* Sessions of one model share what is packed; what is kept goes with the model. */
static void packed_weights_are_counted(void **state)
{
    (void)state;
    open_bench(); /* the batcher's session is the first */
    leat_metrics_desc desc = describe(NULL);
    desc.n_batchers = 0;
    float x[4] = {0};
    const leat_array in = {LEAT_DTYPE_F32, 2, {1, 4}, x, sizeof(x)};
    const lt_memory *m = &b.run.context->memory;
    for (int i = 0; i < 2; i++) {
        leat_array out = {0}; /* the session's own memory, gone with it */
        test_run_session(&b.run, NULL);
        assert_ok(leat_session_run(b.run.session, &in, 1, &out, 1, &b.err), &b.err);
        write_all(&desc);
        const uint64_t made = atomic_load(&b.run.context->weight_misses);
        assert_true(made > 0 && atomic_load(&b.run.context->weight_bytes) > 0 &&
                    m->live_blocks > 0);
        char line[96];
        snprintf(line, sizeof(line), "leat_weight_cache_misses_total %llu",
                 (unsigned long long)made);
        assert_line(line);
        snprintf(line, sizeof(line), "leat_weight_cache_hits_total %llu",
                 (unsigned long long)i * made);
        assert_line(line); /* the second session finds all that the first one made */
        leat_session_destroy(b.run.session);
        b.run.session = NULL;
    }
    leat_batcher_destroy(b.batcher);
    b.batcher = NULL;
    leat_model_destroy(b.run.model);
    b.run.model = NULL;
    write_all(&desc);
    assert_line("leat_weight_cache_bytes 0");
    close_bench();
}

/* y = x behind what came before: states that are copied. */
static void sequences_are_counted(void **state)
{
    (void)state;
    const float x[3] = {1, 2, 3};
    leat_sequences *sequences;
    uint64_t ids[2];
    open_bench();
    onnx_builder *builder = onnx_builder_create(18);
    test_run run;
    onnx_builder_input(builder, "x", LEAT_DTYPE_F32, "N");
    onnx_builder_input(builder, "past_sum", LEAT_DTYPE_F32, "N");
    onnx_builder_node(builder, "Add", "x,past_sum", "present_sum", NULL, 0);
    onnx_builder_node(builder, "Neg", "present_sum", "y", NULL, 0);
    onnx_builder_output(builder, "y", LEAT_DTYPE_F32, "N");
    onnx_builder_output(builder, "present_sum", LEAT_DTYPE_F32, "N");
    test_run_load(&run, builder);
    assert_ok(leat_sequences_create(run.model, NULL, &sequences, &b.err), &b.err);
    for (int i = 0; i < 2; i++) {
        assert_ok(leat_sequences_join(sequences, &ids[i], &b.err), &b.err);
        assert_ok(leat_sequences_push(sequences, ids[i], x, 1 + (size_t)i, &b.err), &b.err);
    }
    for (int i = 0; i < 3; i++) { /* 2 positions, 1, none */
        leat_step step = {.struct_size = sizeof(step)};
        assert_ok(leat_sequences_step(sequences, &step, &b.err), &b.err);
    }
    leat_sequences_leave(sequences, ids[0]);
    leat_metrics_sequences named[2] = {{"talk", sequences}, {"talk", sequences}};
    leat_metrics_desc desc = describe(NULL);
    desc.n_batchers = 0;
    write_all(&desc);
    assert_null(strstr(b.text, "leat_sequences_"));
    desc.sequences = named;
    desc.n_sequences = 1;
    write_all(&desc);
    assert_line("# TYPE leat_sequences_active gauge");
    assert_line("leat_sequences_active{model=\"talk\"} 1");
    assert_line("leat_sequences_joined_total{model=\"talk\"} 2");
    assert_line("leat_sequences_left_total{model=\"talk\"} 1");
    assert_line("leat_sequences_failed_total{model=\"talk\"} 0");
    assert_line("leat_sequences_tokens_total{model=\"talk\"} 3");
    assert_line("# TYPE leat_sequences_step_seconds histogram");
    assert_line("leat_sequences_step_seconds_count{model=\"talk\"} 2");
    desc.n_sequences = 2;
    assert_int_equal(leat_metrics_text(&desc, b.text, sizeof(b.text), &b.bytes, &b.err),
                     LEAT_INVALID);
    assert_non_null(strstr(b.err.message, "'talk'"));
    named[1].sequences = NULL;
    assert_int_equal(leat_metrics_text(&desc, b.text, sizeof(b.text), &b.bytes, &b.err),
                     LEAT_INVALID);
    desc.sequences = NULL;
    assert_int_equal(leat_metrics_text(&desc, b.text, sizeof(b.text), &b.bytes, &b.err),
                     LEAT_INVALID);
    leat_sequences_destroy(sequences);
    test_run_free(&run);
    onnx_builder_destroy(builder);
    close_bench();
}

/* 20 ms of processor time of each of two threads: no task begins before both have a thread. */
static void burn(void *argument, uint32_t task, uint32_t thread)
{
    atomic_int *begun = argument;
    struct timespec begin, now;
    (void)task;
    (void)thread;
    atomic_fetch_add(begun, 1);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do { /* 60 s: a worker that never comes fails the test instead of hanging it */
        sched_yield();
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (atomic_load(begun) < 2 && now.tv_sec - begin.tv_sec < 60);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    do {
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    } while ((now.tv_sec - begin.tv_sec) * 1000000000 + now.tv_nsec - begin.tv_nsec < 20000000);
}

static void workers_processor_time_is_told(void **state)
{
    const leat_context_desc two = {.struct_size = sizeof(two), .threads = 2};
    atomic_int begun = 0;
    (void)state;
    memset(&b, 0, sizeof(b));
    assert_ok(leat_context_create(&two, &b.run.context, &b.err), &b.err);
    leat_metrics_desc desc = describe(NULL);
    desc.n_batchers = 0;
    write_all(&desc);
    assert_null(strstr(b.text, "leat_cpu_worker")); /* none has been needed yet */
    lt_pool_parallel(b.run.context->pool, 2, burn, &begun);
    write_all(&desc);
    const char *value = strstr(b.text, "leat_cpu_worker_seconds_total{worker=\"0\"} ");
    assert_non_null(value);
    const double seconds = atof(strchr(value, '}') + 2);
    assert_true(seconds >= 0.02 && seconds < 60);
    assert_null(strstr(b.text, "worker=\"1\""));
    leat_context_destroy(b.run.context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batchers_requests_are_counted),
        cmocka_unit_test(kept_answers_are_counted),
        cmocka_unit_test(a_buffer_that_is_too_small_tells_its_need),
        cmocka_unit_test(bad_descriptors_are_refused),
        cmocka_unit_test(schedulers_work_is_written),
        cmocka_unit_test(gpus_activity_is_since_the_last_read),
        cmocka_unit_test(no_gpu_is_an_error_with_its_reason),
        cmocka_unit_test(plans_are_counted_beyond_their_sessions),
        cmocka_unit_test(packed_weights_are_counted),
        cmocka_unit_test(sequences_are_counted),
        cmocka_unit_test(workers_processor_time_is_told),
        cmocka_unit_test(failing_allocations_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

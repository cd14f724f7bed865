/* SPDX-License-Identifier: Apache-2.0 */
/* The batcher without threads, by a clock that the test sets: which requests meet, when, in what
 * order, and what each gets. */
#include "support/test.h"

#include "support/run.h"

#include <leat/batcher.h>
#include <stdlib.h>
#include <string.h>

enum {
    MS = 1000000,
    WIDTH = 3,
    MOST_RUNS = 64
};

/* y = x, rows of f32, run by a function that notes what it was given. */
typedef struct bench {
    test_run run; /* its session is not used */
    onnx_builder *builder;
    leat_batcher *batcher;
    leat_error err;
    uint64_t now;
    uint64_t cost_ns; /* the clock goes on by this in a run */
    int n_runs;
    int64_t rows[MOST_RUNS];
    float first[MOST_RUNS]; /* element of each run */
    float poison;           /* runs with this element fail; 0: none */
    leat_status poison_status;
    float memory[4096];
} bench;

static uint64_t clock_now(void *user)
{
    return ((bench *)user)->now;
}

static leat_status echo(void *user, int32_t instance, const leat_array *inputs, size_t n_inputs,
                        leat_array *outputs, size_t n_outputs, leat_error *err)
{
    bench *b = user;
    const leat_array *x = &inputs[0];
    const size_t count = x->bytes / sizeof(float);
    assert_int_equal(instance, 0);
    assert_int_equal(n_outputs, 1);
    assert_true(n_inputs >= 1 && count <= 4096 && b->n_runs < MOST_RUNS);
    b->rows[b->n_runs] = x->shape[0];
    b->first[b->n_runs++] = count ? ((const float *)x->data)[0] : 0;
    b->now += b->cost_ns;
    for (size_t i = 0; b->poison != 0 && i < count; i++) {
        if (((const float *)x->data)[i] == b->poison) {
            err->status = b->poison_status;
            strcpy(err->message, "poison");
            return b->poison_status;
        }
    }
    void *data = outputs[0].data ? outputs[0].data : b->memory;
    assert_true(outputs[0].data == NULL || outputs[0].bytes >= x->bytes);
    memcpy(data, x->data, x->bytes);
    outputs[0] = *x;
    outputs[0].data = data;
    return LEAT_OK;
}

static void open_model(bench *b, onnx_builder *builder, leat_batcher_desc desc)
{
    b->builder = builder;
    test_run_load(&b->run, builder);
    desc.struct_size = sizeof(desc);
    desc.no_threads = 1;
    desc.run = desc.run ? desc.run : echo;
    desc.run_user = b;
    desc.clock = clock_now;
    desc.clock_user = b;
    b->now = 1000 * (uint64_t)MS;
    b->poison_status = LEAT_INVALID;
    assert_ok(leat_batcher_create(b->run.model, &desc, &b->batcher, &b->err), &b->err);
}

static bench *open_bench(leat_batcher_desc desc)
{
    bench *b = calloc(1, sizeof(*b));
    onnx_builder *builder = onnx_builder_create(17);
    onnx_builder_input(builder, "x", LEAT_DTYPE_F32, "NxS");
    onnx_builder_node(builder, "Identity", "x", "y", NULL, 0);
    onnx_builder_output(builder, "y", LEAT_DTYPE_F32, "NxS");
    open_model(b, builder, desc);
    return b;
}

static void close_bench(bench *b)
{
    leat_batcher_destroy(b->batcher);
    test_run_free(&b->run);
    onnx_builder_destroy(b->builder);
    free(b);
}

/* One request of a test: rows x width elements of `value`, and what became of it. */
typedef struct asked {
    float in[64], out[64];
    leat_array x, y;
    leat_request *handle;
    int completions;
    leat_status status;
    int64_t rows;
} asked;

static void completed(void *user, leat_status status, const leat_array *outputs, size_t n_outputs,
                      const leat_error *error)
{
    asked *a = user;
    a->completions++;
    a->status = status;
    assert_true((status == LEAT_OK) == (outputs != NULL));
    assert_true((status == LEAT_OK) == (error == NULL));
    if (outputs != NULL) {
        assert_int_equal(n_outputs, 1);
        assert_int_equal(outputs[0].bytes, a->x.bytes);
        assert_memory_equal(outputs[0].data, a->in, a->x.bytes);
        a->rows = outputs[0].shape[0];
    }
}

static leat_request_desc ask(asked *a, float value, int rows, int width)
{
    memset(a, 0, sizeof(*a));
    for (int i = 0; i < rows * width; i++) {
        a->in[i] = value;
    }
    a->x = (leat_array){.dtype = LEAT_DTYPE_F32,
                        .rank = 2,
                        .shape = {rows, width},
                        .data = a->in,
                        .bytes = (size_t)(rows * width) * sizeof(float)};
    a->y = (leat_array){.data = a->out, .bytes = sizeof(a->out)};
    return (leat_request_desc){.struct_size = sizeof(leat_request_desc),
                               .inputs = &a->x,
                               .n_inputs = 1,
                               .outputs = &a->y,
                               .n_outputs = 1,
                               .done = completed,
                               .done_user = a};
}

static void submit(bench *b, asked *a, float value, int rows, int width)
{
    leat_request_desc desc = ask(a, value, rows, width);
    assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
}

static uint64_t poll(bench *b)
{
    uint64_t wait;
    assert_ok(leat_batcher_poll(b->batcher, &wait, &b->err), &b->err);
    return wait;
}

static leat_batcher_stats stats_of(bench *b)
{
    leat_batcher_stats stats = {.struct_size = sizeof(stats)};
    leat_batcher_read_stats(b->batcher, &stats);
    return stats;
}

static void assert_got(const asked *a, leat_status status)
{
    assert_int_equal(a->completions, 1);
    assert_int_equal(a->status, status);
    if (status == LEAT_OK) {
        assert_memory_equal(a->out, a->in, a->x.bytes);
        assert_int_equal(a->y.shape[0], a->x.shape[0]);
        assert_int_equal(a->y.rank, 2);
    }
}

static void lone_request_runs_at_once_in_place(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){0});
    asked a;
    submit(b, &a, 1, 1, WIDTH);
    assert_int_equal(a.completions, 0);
    assert_int_equal(poll(b), 0);
    assert_got(&a, LEAT_OK);
    assert_int_equal(poll(b), UINT64_MAX);
    assert_int_equal(b->n_runs, 1);
    assert_int_equal(stats_of(b).closed_idle, 1);
    close_bench(b);
}

static void requests_of_one_shape_run_together_and_get_their_own_rows(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.max_batch_size = 8});
    asked a[5];
    for (int i = 0; i < 5; i++) {
        submit(b, &a[i], (float)(i + 1), 1 + i % 2, WIDTH);
    }
    poll(b);
    assert_int_equal(b->n_runs, 1);
    assert_int_equal(b->rows[0], 7);
    for (int i = 0; i < 5; i++) {
        assert_got(&a[i], LEAT_OK);
    }
    close_bench(b);
}

static void full_batches_leave_the_rest_and_keep_whole_requests(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.max_batch_size = 4});
    asked a[4];
    for (int i = 0; i < 4; i++) {
        submit(b, &a[i], (float)(i + 1), i == 1 ? 2 : 3 - (i == 0) * 2, WIDTH); /* 1 2 3 3 */
    }
    poll(b);
    assert_int_equal(b->rows[0], 3);
    poll(b);
    poll(b);
    assert_int_equal(b->n_runs, 3);
    assert_int_equal(stats_of(b).closed_full, 2);
    for (int i = 0; i < 4; i++) {
        assert_got(&a[i], LEAT_OK);
    }
    close_bench(b);
}

static uint64_t by_first_element(void *user, const leat_array *inputs, size_t n_inputs)
{
    (void)user;
    (void)n_inputs;
    return (uint64_t)((const float *)inputs[0].data)[0] % 2;
}

/* Shapes, tags and the callback's groups each keep requests apart; none waits for another's. */
static void requests_of_other_keys_run_apart(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.group = by_first_element});
    asked a[8];
    for (int i = 0; i < 8; i++) {
        leat_request_desc desc = ask(&a[i], (float)(1 + i % 2), 1, i < 4 ? 2 : 3);
        desc.group = i == 7 ? 9 : 0;
        assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    }
    while (poll(b) == 0) {
    }
    assert_int_equal(b->n_runs, 5);
    for (int i = 0; i < 8; i++) {
        assert_got(&a[i], LEAT_OK);
    }
    close_bench(b);
}

static void batches_go_by_deadline_then_by_arrival(void **state)
{
    (void)state;
    static const uint64_t deadlines[] = {0, 50, 20, 0, 30}; /* ms */
    static const float order[] = {3, 5, 2, 1, 4};
    bench *b = open_bench((leat_batcher_desc){.max_batch_size = 1});
    asked a[5];
    for (int i = 0; i < 5; i++) {
        leat_request_desc desc = ask(&a[i], (float)(i + 1), 1, WIDTH);
        desc.deadline_ns = deadlines[i] * MS;
        assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    }
    for (int i = 0; i < 5; i++) {
        poll(b);
        assert_true(b->first[i] == order[i]);
    }
    close_bench(b);
}

/* A request of a low class goes behind a high one's, but not behind those that come after its
 * max_wait less theirs has passed. */
static void low_classes_wait_but_not_for_ever(void **state)
{
    (void)state;
    bench *b =
        open_bench((leat_batcher_desc){.max_batch_size = 1, .max_wait_ns = {10 * MS, 100 * MS}});
    asked a[3];
    for (int i = 0; i < 3; i++) {
        leat_request_desc desc = ask(&a[i], (float)(i + 1), 1, WIDTH);
        desc.class_index = i == 0 ? 1 : 0;
        assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
        b->now += i == 0 ? 89 * MS : 2 * MS;
    }
    for (int i = 0; i < 3; i++) {
        poll(b);
    }
    assert_true(b->first[0] == 2 && b->first[1] == 1 && b->first[2] == 3);
    close_bench(b);
}

static void request_not_begun_in_time_expires(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){0});
    asked a[3];
    for (int i = 0; i < 3; i++) {
        leat_request_desc desc = ask(&a[i], (float)(i + 1), 1, WIDTH);
        desc.deadline_ns = i == 1 ? 0 : (uint64_t)(5 + i) * MS;
        assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    }
    b->now += 6 * MS;
    poll(b);
    assert_got(&a[0], LEAT_EXPIRED);
    assert_got(&a[1], LEAT_OK);
    assert_got(&a[2], LEAT_OK);
    assert_int_equal(b->rows[0], 2);
    assert_int_equal(stats_of(b).expired, 1);
    close_bench(b);
}

/* The cost of a run is known from the first; a deadline behind what waits cannot be met. */
static void deadline_that_cannot_be_met_is_refused(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.max_batch_size = 1});
    asked a[4];
    b->cost_ns = 10 * MS;
    submit(b, &a[0], 1, 1, WIDTH);
    poll(b);
    submit(b, &a[1], 2, 1, WIDTH);
    submit(b, &a[2], 3, 1, WIDTH);
    leat_request_desc desc = ask(&a[3], 4, 1, WIDTH);
    desc.deadline_ns = 29 * MS;
    assert_int_equal(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), LEAT_EXPIRED);
    assert_non_null(strstr(b->err.message, "30.000 ms"));
    desc.deadline_ns = 31 * MS;
    assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    while (poll(b) == 0) {
    }
    assert_got(&a[3], LEAT_OK);
    assert_int_equal(stats_of(b).refused, 1);
    close_bench(b);
}

/* A request runs with those that wait before it: a full batch takes longer than it alone. */
static void prediction_counts_the_batch_that_a_request_will_be_in(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.max_batch_size = 2, .timeout_ns = UINT64_MAX});
    asked a[4];
    for (int n = 1; n <= 2; n++) {
        b->cost_ns = n == 1 ? 10 * MS : 30 * MS;
        for (int i = 0; i < n; i++) {
            submit(b, &a[i], 1, 1, WIDTH);
        }
        poll(b);
    }
    submit(b, &a[0], 1, 1, WIDTH);
    leat_request_desc desc = ask(&a[1], 1, 1, WIDTH);
    desc.deadline_ns = 29 * MS;
    assert_int_equal(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), LEAT_EXPIRED);
    desc.deadline_ns = 31 * MS;
    assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    desc = ask(&a[2], 1, 1, WIDTH);
    desc.deadline_ns = 59 * MS; /* behind a full batch; others may join it */
    assert_int_equal(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), LEAT_EXPIRED);
    desc.deadline_ns = 61 * MS;
    assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    while (poll(b) == 0) {
    }
    assert_got(&a[1], LEAT_OK);
    assert_got(&a[2], LEAT_OK);
    close_bench(b);
}

/* A run that once took long does not have all deadlines refused for ever. */
static void times_that_refuse_all_are_doubted(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){0});
    asked a;
    b->cost_ns = 100 * MS;
    submit(b, &a, 1, 1, WIDTH);
    poll(b);
    leat_request_desc desc = ask(&a, 2, 1, WIDTH);
    desc.deadline_ns = 5 * MS;
    int refused = 0;
    while (leat_batcher_submit(b->batcher, &desc, NULL, &b->err) == LEAT_EXPIRED) {
        refused++;
        assert_true(refused < 100);
    }
    assert_true(refused > 10);
    b->cost_ns = MS;
    poll(b);
    assert_got(&a, LEAT_OK);
    close_bench(b);
}

/* Rows that come 1 ms apart, runs of 20 ms or so whatever they hold: waiting for the next pays. */
static bench *open_steady(uint64_t timeout_ns, asked *a)
{
    bench *b = open_bench((leat_batcher_desc){.max_batch_size = 8, .timeout_ns = timeout_ns});
    b->cost_ns = 20 * MS;
    submit(b, &a[0], 1, 1, WIDTH);
    poll(b);
    for (int batch = 0; batch < 4; batch++) {
        for (int i = 0; i < 8; i++) {
            b->now += MS;
            submit(b, &a[i], 1, 1, WIDTH);
        }
        poll(b);
        assert_int_equal(b->rows[b->n_runs - 1], 8);
        b->cost_ns = 0; /* as if it ran elsewhere: rows keep coming */
    }
    b->now += MS;
    b->n_runs = 0;
    return b;
}

static void batch_is_held_while_that_pays_and_begun_when_none_comes(void **state)
{
    (void)state;
    asked a[12];
    bench *b = open_steady(0, a);
    submit(b, &a[9], 2, 1, WIDTH);
    b->now += MS;
    submit(b, &a[10], 3, 1, WIDTH);
    uint64_t wait = poll(b);
    assert_int_equal(b->n_runs, 0); /* held */
    assert_true(wait > MS && wait < 5 * MS);
    b->now += wait;
    assert_int_equal(poll(b), 0);
    assert_int_equal(b->rows[0], 2);
    assert_int_equal(stats_of(b).closed_held, 1);
    close_bench(b);
}

static void flush_ends_holding_of_what_waits(void **state)
{
    (void)state;
    asked a[12];
    bench *b = open_steady(0, a);
    submit(b, &a[9], 2, 1, WIDTH);
    b->now += MS;
    submit(b, &a[10], 3, 1, WIDTH);
    assert_true(poll(b) > 0);
    leat_batcher_flush(b->batcher);
    assert_int_equal(poll(b), 0);
    assert_int_equal(b->n_runs, 1);
    close_bench(b);
}

static void timeout_bounds_holding_and_never_means_none(void **state)
{
    (void)state;
    asked a[12];
    bench *b = open_steady(300000, a);
    submit(b, &a[9], 2, 1, WIDTH);
    assert_int_equal(poll(b), 300000);
    close_bench(b);
    b = open_steady(UINT64_MAX, a);
    submit(b, &a[9], 2, 1, WIDTH);
    assert_int_equal(poll(b), 0);
    close_bench(b);
}

static void batch_is_not_held_beyond_where_its_deadline_can_be_met(void **state)
{
    (void)state;
    asked a[12];
    bench *b = open_steady(0, a);
    leat_request_desc desc = ask(&a[9], 2, 1, WIDTH);
    desc.deadline_ns = 20 * MS + 300000;
    assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    const uint64_t bounded = poll(b);
    close_bench(b);
    b = open_steady(0, a);
    submit(b, &a[9], 2, 1, WIDTH);
    const uint64_t unbounded = poll(b);
    assert_true(bounded > 0 && bounded < unbounded);
    close_bench(b);
}

static void bad_request_does_not_fail_its_neighbours(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.max_batch_size = 16});
    asked a[9];
    for (int i = 0; i < 9; i++) {
        submit(b, &a[i], (float)(i + 1), 1, WIDTH);
    }
    b->poison = 6;
    poll(b);
    for (int i = 0; i < 9; i++) {
        assert_got(&a[i], i == 5 ? LEAT_INVALID : LEAT_OK);
    }
    leat_batcher_stats stats = stats_of(b);
    assert_int_equal(stats.failed, 1);
    assert_int_equal(stats.succeeded, 8);
    assert_true(stats.bisected >= 3 && stats.bisected <= 4);
    assert_int_equal(poll(b), UINT64_MAX);
    close_bench(b);
}

static void lost_device_fails_the_batch_at_once(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){0});
    asked a[4];
    for (int i = 0; i < 4; i++) {
        submit(b, &a[i], (float)(i + 1), 1, WIDTH);
    }
    b->poison = 2;
    b->poison_status = LEAT_DEVICE_LOST;
    poll(b);
    assert_int_equal(b->n_runs, 1);
    for (int i = 0; i < 4; i++) {
        assert_got(&a[i], LEAT_DEVICE_LOST);
    }
    close_bench(b);
}

static void cancelled_request_completes_once_and_does_not_run(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){0});
    asked a[3];
    for (int i = 0; i < 3; i++) {
        leat_request_desc desc = ask(&a[i], (float)(i + 1), 1, WIDTH);
        assert_ok(leat_batcher_submit(b->batcher, &desc, &a[i].handle, &b->err), &b->err);
    }
    assert_int_equal(leat_request_wait(NULL, 1, &b->err), LEAT_INVALID);
    assert_ok(leat_request_cancel(a[1].handle, &b->err), &b->err);
    assert_got(&a[1], LEAT_CANCELLED);
    assert_int_equal(leat_request_cancel(a[1].handle, &b->err), LEAT_BUSY);
    assert_int_equal(leat_request_wait(a[1].handle, 0, &b->err), LEAT_CANCELLED);
    assert_ok(leat_request_wait(a[0].handle, 0, &b->err), &b->err); /* polls */
    assert_int_equal(b->rows[0], 2);
    assert_int_equal(leat_request_cancel(a[2].handle, &b->err), LEAT_BUSY);
    for (int i = 0; i < 3; i++) {
        leat_request_release(a[i].handle);
    }
    assert_got(&a[0], LEAT_OK);
    assert_got(&a[2], LEAT_OK);
    close_bench(b);
}

static void results_without_memory_are_the_callbacks(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){0});
    asked a[3];
    for (int i = 0; i < 3; i++) {
        leat_request_desc desc = ask(&a[i], (float)(i + 1), 1 + i, WIDTH);
        desc.outputs = NULL;
        desc.n_outputs = 0;
        assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    }
    poll(b);
    for (int i = 0; i < 3; i++) { /* `completed` compared the numbers */
        assert_int_equal(a[i].completions, 1);
        assert_int_equal(a[i].rows, 1 + i);
    }
    close_bench(b);
}

static void output_that_is_too_small_fails_its_request_alone(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){0});
    asked a[2];
    for (int i = 0; i < 2; i++) {
        leat_request_desc desc = ask(&a[i], (float)(i + 1), 2, WIDTH);
        a[i].y.bytes = i == 0 ? 8 : sizeof(a[i].out);
        assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    }
    poll(b);
    assert_got(&a[0], LEAT_INVALID);
    assert_got(&a[1], LEAT_OK);
    close_bench(b);
}

static void full_queue_is_busy_until_one_completes(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.queue_limit = 2});
    asked a[3];
    submit(b, &a[0], 1, 1, WIDTH);
    submit(b, &a[1], 2, 1, WIDTH);
    leat_request_desc desc = ask(&a[2], 3, 1, WIDTH);
    assert_int_equal(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), LEAT_BUSY);
    poll(b);
    assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    assert_ok(leat_batcher_drain(b->batcher, 0, &b->err), &b->err);
    assert_got(&a[2], LEAT_OK);
    close_bench(b);
}

/* Two keys: a third one takes the place of one that waits for nothing. */
static void keys_are_used_again_when_nothing_waits_for_them(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.max_keys = 2});
    asked a[3];
    submit(b, &a[0], 1, 1, 1);
    submit(b, &a[1], 2, 1, 2);
    leat_request_desc desc = ask(&a[2], 3, 1, 3);
    assert_int_equal(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), LEAT_BUSY);
    poll(b);
    assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    assert_ok(leat_batcher_drain(b->batcher, 0, &b->err), &b->err);
    for (int i = 0; i < 3; i++) {
        assert_got(&a[i], LEAT_OK);
    }
    close_bench(b);
}

/* The place of a key whose times are known is not given to a request that is refused. */
static void refused_request_takes_no_keys_place(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.max_keys = 2, .queue_limit = 1});
    asked a[3];
    b->cost_ns = 10 * MS;
    submit(b, &a[0], 1, 1, 1);
    poll(b);
    submit(b, &a[1], 2, 1, 2);
    leat_request_desc desc = ask(&a[2], 3, 1, 3);
    assert_int_equal(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), LEAT_BUSY);
    poll(b);
    desc = ask(&a[2], 3, 1, 1);
    desc.deadline_ns = 5 * MS; /* the first shape takes 10 ms, it is remembered */
    assert_int_equal(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), LEAT_EXPIRED);
    assert_int_equal(stats_of(b).refused, 2);
    assert_int_equal(stats_of(b).refused_late, 1);
    assert_int_equal(stats_of(b).missed_by_class[0], 1);
    close_bench(b);
}

/* Many more shapes than keys, in all orders: each finds its own queue again or a new one. */
static void keys_come_and_go(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.max_keys = 5});
    static asked a[MOST_RUNS];
    uint32_t seed = 1;
    for (int round = 0; round < 40; round++) {
        b->n_runs = 0;
        for (int i = 0; i < 5; i++) {
            seed = seed * 1664525u + 1013904223u;
            submit(b, &a[i], (float)(i + 1), 1, 1 + (int)(seed >> 16) % 17);
        }
        while (poll(b) == 0) {
        }
        for (int i = 0; i < 5; i++) {
            assert_got(&a[i], LEAT_OK);
        }
    }
    assert_int_equal(stats_of(b).succeeded, 200);
    close_bench(b);
}

static void batches_are_filled_up_to_a_size(void **state)
{
    (void)state;
    static const int32_t sizes[] = {1, 4};
    bench *b = open_bench((leat_batcher_desc){
        .max_batch_size = 6, .batch_sizes = sizes, .n_batch_sizes = 2, .timeout_ns = UINT64_MAX});
    asked a[5];
    for (int n = 1; n <= 5; n++) {
        b->n_runs = 0;
        for (int i = 0; i < n; i++) {
            submit(b, &a[i], (float)(i + 1), 1, WIDTH);
        }
        poll(b);
        assert_int_equal(b->n_runs, 1);
        assert_int_equal(b->rows[0], n == 1 ? 1 : n < 5 ? 4 : 6);
        for (int i = 0; i < n; i++) {
            assert_got(&a[i], LEAT_OK);
        }
    }
    assert_int_equal(stats_of(b).rows, 15);
    assert_int_equal(stats_of(b).fill_rows, 2 + 1 + 0 + 1);
    assert_int_equal(stats_of(b).batch_rows[0], 1);
    assert_int_equal(stats_of(b).batch_rows[2], 2);
    close_bench(b);
}

/* Rows that would be filled up dearly are left to the next batch. */
static void batch_is_cut_to_a_size_where_rows_cost_less(void **state)
{
    (void)state;
    static const int32_t sizes[] = {1, 4};
    bench *b = open_bench((leat_batcher_desc){
        .max_batch_size = 8, .batch_sizes = sizes, .n_batch_sizes = 2, .timeout_ns = UINT64_MAX});
    asked a[8];
    for (int n = 4; n <= 8; n += 4) {
        b->cost_ns = n == 4 ? 10 * MS : 20 * MS;
        for (int i = 0; i < n; i++) {
            submit(b, &a[i], 1, 1, WIDTH);
        }
        poll(b);
    }
    b->n_runs = 0;
    for (int i = 0; i < 5; i++) { /* 5 rows for 20 ms, or 4 for 10 */
        submit(b, &a[i], 1, 1, WIDTH);
    }
    poll(b);
    assert_int_equal(b->rows[0], 4);
    poll(b);
    assert_int_equal(b->rows[1], 1);
    close_bench(b);
}

static void sizes_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static const int32_t wrong[][2] = {{0, 4}, {4, 4}, {4, 9}, {5, 4}};
    onnx_builder *builder = test_build_mlp();
    test_run run;
    test_run_load(&run, builder);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        leat_batcher *batcher;
        const leat_batcher_desc desc = {.struct_size = sizeof(desc),
                                        .max_batch_size = 8,
                                        .batch_sizes = wrong[i],
                                        .n_batch_sizes = 2};
        assert_int_equal(leat_batcher_create(run.model, &desc, &batcher, &run.err), LEAT_INVALID);
        assert_null(batcher);
    }
    test_run_free(&run);
    onnx_builder_destroy(builder);
}

static void times_are_counted_by_class(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.max_batch_size = 1});
    asked a[3];
    b->cost_ns = 3 * MS;
    for (int i = 0; i < 3; i++) {
        leat_request_desc desc = ask(&a[i], 1, 1, WIDTH);
        desc.class_index = i == 0 ? 2 : 5;
        desc.deadline_ns = i == 2 ? 4 * MS : 0; /* due first, but it takes 5 */
        assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    }
    b->now += 2 * MS;
    while (poll(b) == 0) {
    }
    leat_batcher_stats s = stats_of(b);
    assert_int_equal(s.compute.total_ns, 9 * MS);
    assert_int_equal(s.compute.counts[12], 3); /* 2.048 to 4.096 ms */
    assert_int_equal(s.queue[2].total_ns, 5 * MS);
    assert_int_equal(s.queue[2].counts[13], 1); /* 4.096 to 8.192 ms */
    assert_int_equal(s.queue[5].total_ns, 2 * MS + 8 * MS);
    assert_int_equal(s.request[5].total_ns, 5 * MS + 11 * MS);
    assert_int_equal(s.accepted_by_class[5], 2);
    assert_int_equal(s.missed_by_class[5], 1);
    close_bench(b);
}

static void warm_runs_every_size_and_measures_it(void **state)
{
    (void)state;
    static const int32_t sizes[] = {1, 3};
    bench *b = open_bench((leat_batcher_desc){
        .max_batch_size = 5, .batch_sizes = sizes, .n_batch_sizes = 2, .timeout_ns = UINT64_MAX});
    asked a;
    leat_request_desc desc = ask(&a, 7, 1, WIDTH);
    b->cost_ns = 10 * MS;
    assert_ok(leat_batcher_warm(b->batcher, desc.inputs, 1, 0, &b->err), &b->err);
    int seen[6] = {0};
    for (int i = 0; i < b->n_runs; i++) {
        seen[b->rows[i]]++;
    }
    assert_true(seen[1] >= 3 && seen[3] >= 3 && seen[5] >= 3 && seen[2] + seen[4] == 0);
    desc.deadline_ns = 9 * MS;
    assert_int_equal(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), LEAT_EXPIRED);
    desc.deadline_ns = 0;
    assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    poll(b);
    assert_got(&a, LEAT_OK);
    assert_int_equal(stats_of(b).batches, 1); /* of requests only */
    assert_int_equal(leat_batcher_warm(b->batcher, desc.inputs, 2, 0, &b->err), LEAT_INVALID);
    b->poison = 7;
    assert_int_equal(leat_batcher_warm(b->batcher, desc.inputs, 1, 0, &b->err), LEAT_INVALID);
    close_bench(b);
}

static void bad_requests_are_refused_with_what_is_wrong(void **state)
{
    (void)state;
    bench *b = open_bench((leat_batcher_desc){.max_batch_size = 4, .n_classes = 2});
    asked a;
    const struct {
        int rows, width, class_index;
        leat_dtype dtype;
        size_t less;
        const char *says;
    } bad[] = {
        {5, 1, 0, LEAT_DTYPE_F32, 0, "5 rows"},      {0, 1, 0, LEAT_DTYPE_F32, 0, "rows"},
        {1, 2, 2, LEAT_DTYPE_F32, 0, "class 2"},     {1, 2, 0, LEAT_DTYPE_I32, 0, "i32"},
        {1, 2, 0, LEAT_DTYPE_F32, 4, "has 4 bytes"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        leat_request_desc desc = ask(&a, 1, bad[i].rows, bad[i].width);
        desc.class_index = (uint32_t)bad[i].class_index;
        a.x.dtype = bad[i].dtype;
        a.x.bytes -= bad[i].less;
        assert_int_equal(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), LEAT_INVALID);
        if (strstr(b->err.message, bad[i].says) == NULL) {
            fail_msg("'%s' does not say '%s'", b->err.message, bad[i].says);
        }
    }
    leat_request_desc desc = ask(&a, 1, 1, 1);
    desc.outputs = NULL;
    desc.done = NULL;
    assert_int_equal(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), LEAT_INVALID);
    assert_int_equal(stats_of(b).accepted, 0);
    close_bench(b);
}

/* ---- with sessions --------------------------------------------------------------------------- */

static void process_gives_every_request_the_models_results(void **state)
{
    (void)state;
    enum {
        N = 700 /* more than the queue */
    };
    static float x[N][4], y[N][3], expected[N][3];
    static leat_array in[N], out[N];
    static leat_status statuses[N];
    test_run run;
    onnx_builder *builder = test_build_mlp();
    test_run_load(&run, builder);
    const leat_batcher_desc desc = {
        .struct_size = sizeof(desc), .max_batch_size = 32, .queue_limit = 100};
    leat_batcher *batcher;
    assert_ok(leat_batcher_create(run.model, &desc, &batcher, &run.err), &run.err);
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < 4; k++) {
            x[i][k] = (float)((i * 7 + k * 3) % 11) - 5;
        }
        in[i] = test_f32(x[i], "1x4");
        out[i] = (leat_array){.data = y[i], .bytes = sizeof(y[i])};
    }
    test_mlp_oracle(&x[0][0], N, &expected[0][0]);
    assert_ok(leat_batcher_process(batcher, N, in, out, statuses, &run.err), &run.err);
    for (int i = 0; i < N; i++) {
        assert_int_equal(statuses[i], LEAT_OK);
        for (int k = 0; k < 3; k++) {
            assert_float_equal(y[i][k], expected[i][k], 1e-5f);
        }
    }
    in[40].shape[1] = 3; /* one that does not fit its type */
    assert_int_equal(leat_batcher_process(batcher, N, in, out, statuses, &run.err), LEAT_INVALID);
    assert_non_null(strstr(run.err.message, "request 40"));
    for (int i = 0; i < N; i++) {
        assert_int_equal(statuses[i], i == 40 ? LEAT_INVALID : LEAT_OK);
    }
    leat_batcher_destroy(batcher);
    test_run_free(&run);
    onnx_builder_destroy(builder);
}

/* y = x * s: s has no batch dimension, so that requests with another s do not meet. */
static void inputs_without_rows_are_part_of_the_key(void **state)
{
    (void)state;
    bench *b = calloc(1, sizeof(*b));
    onnx_builder *builder = onnx_builder_create(17);
    onnx_builder_input(builder, "x", LEAT_DTYPE_F32, "Nx3");
    onnx_builder_input(builder, "s", LEAT_DTYPE_F32, "");
    onnx_builder_node(builder, "Mul", "x,s", "y", NULL, 0);
    onnx_builder_output(builder, "y", LEAT_DTYPE_F32, "Nx3");
    open_model(b, builder, (leat_batcher_desc){0});
    asked a[4];
    float scales[] = {1, 2, 1, 2};
    leat_array in[4][2];
    for (int i = 0; i < 4; i++) {
        leat_request_desc desc = ask(&a[i], (float)(i + 1), 1, 3);
        in[i][0] = a[i].x;
        in[i][1] = test_f32(&scales[i], "");
        desc.inputs = in[i];
        desc.n_inputs = 2;
        assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    }
    while (poll(b) == 0) {
    }
    assert_int_equal(b->n_runs, 2);
    assert_int_equal(b->rows[0], 2);
    assert_int_equal(b->rows[1], 2);
    close_bench(b);
}

static leat_status create(const char *x_shape, const char *y_shape, leat_dtype dtype,
                          const leat_batcher_desc *desc, leat_error *err)
{
    test_run run;
    onnx_builder *builder = onnx_builder_create(17);
    onnx_builder_input(builder, "x", dtype, x_shape);
    onnx_builder_node(builder, "Identity", "x", "y", NULL, 0);
    onnx_builder_output(builder, "y", dtype, y_shape);
    test_run_load(&run, builder);
    leat_batcher *batcher;
    leat_status status = leat_batcher_create(run.model, desc, &batcher, err);
    assert_true((status == LEAT_OK) == (batcher != NULL));
    leat_batcher_destroy(batcher);
    test_run_free(&run);
    onnx_builder_destroy(builder);
    return status;
}

static void models_without_a_batch_dimension_are_refused(void **state)
{
    (void)state;
    leat_error err;
    leat_batcher_desc one = {.struct_size = sizeof(one), .max_batch_size = 1};
    leat_batcher_desc wrong = {.struct_size = 4};
    assert_int_equal(create("1x3", "1x3", LEAT_DTYPE_F32, NULL, &err), LEAT_UNSUPPORTED);
    assert_non_null(strstr(err.message, "batch dimension"));
    assert_int_equal(create("Nx3", "Nx3", LEAT_DTYPE_STRING, NULL, &err), LEAT_UNSUPPORTED);
    assert_int_equal(create("Nx3", "Nx3", LEAT_DTYPE_F32, &wrong, &err), LEAT_INVALID);
    assert_ok(create("1x3", "1x3", LEAT_DTYPE_F32, &one, &err), &err);
    assert_ok(create("Nx3", "Nx3", LEAT_DTYPE_F32, NULL, &err), &err);
}

/* Requests of 3 to 5 elements meet as rows of 6; zeros are added and taken away again. */
static void shorter_requests_are_padded_and_cut_back(void **state)
{
    (void)state;
    static const int64_t lengths[] = {2, 6, 8};
    bench *b = open_bench(
        (leat_batcher_desc){.pad_dimension = "S", .pad_lengths = lengths, .n_pad_lengths = 3});
    asked a[5];
    static const int widths[] = {3, 5, 4, 7, 9};
    for (int i = 0; i < 5; i++) {
        leat_request_desc desc = ask(&a[i], (float)(i + 1), 1 + i % 2, widths[i]);
        if (i == 1) { /* to the callback */
            desc.outputs = NULL;
            desc.n_outputs = 0;
        }
        assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
    }
    while (poll(b) == 0) {
    }
    assert_int_equal(b->n_runs, 3); /* 6, 8 and 9 wide */
    assert_int_equal(b->rows[0], 4);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(a[i].completions, 1);
        assert_int_equal(a[i].status, LEAT_OK);
        if (i != 1) {
            assert_got(&a[i], LEAT_OK);
            assert_int_equal(a[i].y.shape[1], widths[i]);
        }
    }
    const leat_batcher_stats stats = stats_of(b);
    assert_int_equal(stats.pad_bytes, (3 + 2 * 1 + 2 + 2 * 1) * (int)sizeof(float));
    assert_int_equal(stats.input_bytes, (4 * 6 + 2 * 8) * (int)sizeof(float));
    close_bench(b);
}

static void padding_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const int64_t wrong[] = {4, 4};
    leat_error err;
    leat_batcher_desc desc = {.struct_size = sizeof(desc),
                              .pad_dimension = "S",
                              .pad_lengths = wrong,
                              .n_pad_lengths = 2};
    assert_int_equal(create("NxS", "NxS", LEAT_DTYPE_F32, &desc, &err), LEAT_INVALID);
    desc.n_pad_lengths = 0;
    assert_ok(create("NxS", "NxS", LEAT_DTYPE_F32, &desc, &err), &err);
    desc.pad_dimension = "N"; /* the batch itself */
    assert_int_equal(create("NxS", "NxS", LEAT_DTYPE_F32, &desc, &err), LEAT_NOT_FOUND);
}

static leat_status attempt(void *argument, const leat_allocator *allocator, leat_error *err)
{
    size_t bytes;
    const void *data = onnx_builder_finish(argument, &bytes);
    leat_context_desc desc = {.struct_size = sizeof(desc), .threads = 1, .allocator = allocator};
    leat_context *context = NULL;
    leat_model *model = NULL;
    leat_batcher *batcher = NULL;
    leat_status status = leat_context_create(&desc, &context, err);
    status = status ? status : leat_model_load_memory(context, data, bytes, NULL, &model, err);
    status = status ? status : leat_batcher_create(model, NULL, &batcher, err);
    leat_batcher_destroy(batcher);
    leat_model_destroy(model);
    leat_context_destroy(context);
    return status;
}

static void create_with_failing_allocations_leaves_nothing(void **state)
{
    (void)state;
    onnx_builder *builder = test_build_mlp();
    test_walk_allocations(attempt, builder);
    onnx_builder_destroy(builder);
}

/* Batches of every size once; after that no submit, run or completion allocates. */
static void warmed_batches_allocate_nothing(void **state)
{
    (void)state;
    enum {
        N = 8
    };
    float x[N][4] = {{0}}, y[N][3];
    leat_array in[N], out[N];
    test_run run;
    onnx_builder *builder = test_build_mlp();
    test_run_load(&run, builder);
    const leat_batcher_desc desc = {
        .struct_size = sizeof(desc), .max_batch_size = N, .no_threads = 1};
    leat_batcher *batcher;
    assert_ok(leat_batcher_create(run.model, &desc, &batcher, &run.err), &run.err);
    uint64_t before = 0;
    for (int round = 0; round < 4; round++) {
        for (int n = 1; n <= N; n++) {
            for (int i = 0; i < n; i++) {
                in[i] = test_f32(x[i], "1x4");
                out[i] = (leat_array){.data = y[i], .bytes = sizeof(y[i])};
            }
            assert_ok(leat_batcher_process(batcher, (size_t)n, in, out, NULL, &run.err), &run.err);
        }
        leat_memory_info info;
        leat_context_memory(run.context, &info);
        if (round == 1) {
            before = info.allocations;
        }
        assert_true(round < 2 || info.allocations == before);
    }
    leat_batcher_destroy(batcher);
    test_run_free(&run);
    onnx_builder_destroy(builder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lone_request_runs_at_once_in_place),
        cmocka_unit_test(requests_of_one_shape_run_together_and_get_their_own_rows),
        cmocka_unit_test(full_batches_leave_the_rest_and_keep_whole_requests),
        cmocka_unit_test(requests_of_other_keys_run_apart),
        cmocka_unit_test(batches_go_by_deadline_then_by_arrival),
        cmocka_unit_test(low_classes_wait_but_not_for_ever),
        cmocka_unit_test(request_not_begun_in_time_expires),
        cmocka_unit_test(deadline_that_cannot_be_met_is_refused),
        cmocka_unit_test(prediction_counts_the_batch_that_a_request_will_be_in),
        cmocka_unit_test(times_that_refuse_all_are_doubted),
        cmocka_unit_test(batch_is_held_while_that_pays_and_begun_when_none_comes),
        cmocka_unit_test(flush_ends_holding_of_what_waits),
        cmocka_unit_test(timeout_bounds_holding_and_never_means_none),
        cmocka_unit_test(batch_is_not_held_beyond_where_its_deadline_can_be_met),
        cmocka_unit_test(bad_request_does_not_fail_its_neighbours),
        cmocka_unit_test(lost_device_fails_the_batch_at_once),
        cmocka_unit_test(cancelled_request_completes_once_and_does_not_run),
        cmocka_unit_test(results_without_memory_are_the_callbacks),
        cmocka_unit_test(output_that_is_too_small_fails_its_request_alone),
        cmocka_unit_test(full_queue_is_busy_until_one_completes),
        cmocka_unit_test(keys_are_used_again_when_nothing_waits_for_them),
        cmocka_unit_test(refused_request_takes_no_keys_place),
        cmocka_unit_test(keys_come_and_go),
        cmocka_unit_test(batches_are_filled_up_to_a_size),
        cmocka_unit_test(batch_is_cut_to_a_size_where_rows_cost_less),
        cmocka_unit_test(sizes_that_make_no_sense_are_refused),
        cmocka_unit_test(times_are_counted_by_class),
        cmocka_unit_test(warm_runs_every_size_and_measures_it),
        cmocka_unit_test(bad_requests_are_refused_with_what_is_wrong),
        cmocka_unit_test(process_gives_every_request_the_models_results),
        cmocka_unit_test(inputs_without_rows_are_part_of_the_key),
        cmocka_unit_test(models_without_a_batch_dimension_are_refused),
        cmocka_unit_test(shorter_requests_are_padded_and_cut_back),
        cmocka_unit_test(padding_that_makes_no_sense_is_refused),
        cmocka_unit_test(create_with_failing_allocations_leaves_nothing),
        cmocka_unit_test(warmed_batches_allocate_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A batcher without threads, with a clock that the test sets and a model that gives back what it
 * was given. */
#ifndef TESTS_LIB_BATCHER_BENCH_H
#define TESTS_LIB_BATCHER_BENCH_H

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
    uint64_t cost_ns;    /* the clock goes on by this in a run, */
    uint64_t element_ns; /* and by this for each element */
    int n_runs;
    int64_t rows[MOST_RUNS], widths[MOST_RUNS];
    float first[MOST_RUNS]; /* element of each run */
    float poison;           /* runs with this element fail; 0: none */
    leat_status poison_status;
    float memory[4096];
} bench;

static inline uint64_t clock_now(void *user)
{
    return ((bench *)user)->now;
}

static inline leat_status echo(void *user, int32_t instance, const leat_array *inputs,
                               size_t n_inputs, leat_array *outputs, size_t n_outputs,
                               leat_error *err)
{
    bench *b = user;
    const leat_array *x = &inputs[0];
    const size_t count = x->bytes / sizeof(float);
    assert_int_equal(instance, 0);
    assert_int_equal(n_outputs, 1);
    assert_true(n_inputs >= 1 && count <= 4096 && b->n_runs < MOST_RUNS);
    b->rows[b->n_runs] = x->shape[0];
    b->widths[b->n_runs] = x->rank > 1 ? x->shape[1] : 1;
    b->first[b->n_runs++] = count ? ((const float *)x->data)[0] : 0;
    b->now += b->cost_ns + count * b->element_ns;
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

static inline void open_model(bench *b, onnx_builder *builder, leat_batcher_desc desc)
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

static inline bench *open_bench(leat_batcher_desc desc)
{
    bench *b = calloc(1, sizeof(*b));
    onnx_builder *builder = onnx_builder_create(17);
    onnx_builder_input(builder, "x", LEAT_DTYPE_F32, "NxS");
    onnx_builder_node(builder, "Identity", "x", "y", NULL, 0);
    onnx_builder_output(builder, "y", LEAT_DTYPE_F32, "NxS");
    open_model(b, builder, desc);
    return b;
}

static inline void close_bench(bench *b)
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

static inline void completed(void *user, leat_status status, const leat_array *outputs,
                             size_t n_outputs, const leat_error *error)
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

static inline leat_request_desc ask(asked *a, float value, int rows, int width)
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

static inline void submit(bench *b, asked *a, float value, int rows, int width)
{
    leat_request_desc desc = ask(a, value, rows, width);
    assert_ok(leat_batcher_submit(b->batcher, &desc, NULL, &b->err), &b->err);
}

static inline uint64_t poll(bench *b)
{
    uint64_t wait;
    assert_ok(leat_batcher_poll(b->batcher, &wait, &b->err), &b->err);
    return wait;
}

static inline leat_batcher_stats stats_of(bench *b)
{
    leat_batcher_stats stats = {.struct_size = sizeof(stats)};
    leat_batcher_read_stats(b->batcher, &stats);
    return stats;
}

static inline void assert_got(const asked *a, leat_status status)
{
    assert_int_equal(a->completions, 1);
    assert_int_equal(a->status, status);
    if (status == LEAT_OK) {
        assert_memory_equal(a->out, a->in, a->x.bytes);
        assert_int_equal(a->y.shape[0], a->x.shape[0]);
        assert_int_equal(a->y.rank, 2);
    }
}

static inline leat_status create(const char *x_shape, const char *y_shape, leat_dtype dtype,
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

/* What is created with each allocation failing in turn (walk_creation). */
typedef struct creation {
    onnx_builder *builder;
    const leat_batcher_desc *desc;
} creation;

static inline leat_status create_all(void *argument, const leat_allocator *allocator,
                                     leat_error *err)
{
    const creation *c = argument;
    size_t bytes;
    const void *data = onnx_builder_finish(c->builder, &bytes);
    leat_context_desc desc = {.struct_size = sizeof(desc), .threads = 1, .allocator = allocator};
    leat_context *context = NULL;
    leat_model *model = NULL;
    leat_batcher *batcher = NULL;
    leat_status status = leat_context_create(&desc, &context, err);
    status = status ? status : leat_model_load_memory(context, data, bytes, NULL, &model, err);
    status = status ? status : leat_batcher_create(model, c->desc, &batcher, err);
    leat_batcher_destroy(batcher);
    leat_model_destroy(model);
    leat_context_destroy(context);
    return status;
}

/* A batcher of the MLP that tests have, where every allocation fails once. desc: NULL: defaults. */
static inline void walk_creation(const leat_batcher_desc *desc)
{
    creation c = {test_build_mlp(), desc};
    test_walk_allocations(create_all, &c);
    onnx_builder_destroy(c.builder);
}

#endif

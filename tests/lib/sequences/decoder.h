/* SPDX-License-Identifier: Apache-2.0 */
/* A decoder of one layer in sequences, and what its words give by plain loops. */
#ifndef TESTS_LIB_SEQUENCES_DECODER_H
#define TESTS_LIB_SEQUENCES_DECODER_H

#include "support/test.h"

#include "runtime/tensor.h"
#include "sequences/sequences.h"
#include "support/run.h"

#include <leat/sequences.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    WORDS = 13,
    WIDTH = 8,
    HEADS = 2, /* of queries, over one of keys */
    HEAD = 4,
    PLACES = 40,
    MOST = 8 /* slots */
};

/* --- a decoder of one layer ---------------------------------------------------------------------
 */

typedef struct weights {
    float words[WORDS * WIDTH], places[PLACES * WIDTH];
    float q[WIDTH * HEADS * HEAD], k[WIDTH * HEAD], v[WIDTH * HEAD];
    float out[HEADS * HEAD * WORDS];
} weights;

static uint32_t random_state; /* of a program, which is one file */

static inline uint32_t random_below(uint32_t n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % n;
}

static inline void fill(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)random_below(2001) / 1000.0f - 1.0f;
    }
}

static inline void make_weights(weights *w)
{
    random_state = 7;
    fill((float *)w, sizeof(*w) / sizeof(float));
}

/* The last word is poison: its keys and values are not numbers. */
static inline void poison(weights *w)
{
    for (int i = 0; i < WIDTH; i++) {
        w->words[(WORDS - 1) * WIDTH + i] = NAN;
    }
}

static inline void heads(onnx_builder *b, const char *x, const char *weight, const char *shape,
                         const char *out)
{
    static const int64_t order[4] = {0, 2, 1, 3};
    const leat_attr perm = test_attr_ints("perm", order, 4);
    char in[64], product[32], split[32];
    snprintf(in, sizeof(in), "%s,%s", x, weight);
    snprintf(product, sizeof(product), "%s_flat", out);
    onnx_builder_node(b, "MatMul", in, product, NULL, 0);
    snprintf(in, sizeof(in), "%s,%s", product, shape);
    snprintf(split, sizeof(split), "%s_split", out);
    onnx_builder_node(b, "Reshape", in, split, NULL, 0);
    onnx_builder_node(b, "Transpose", split, out, &perm, 1);
}

/* A model with the inputs that every decoder has, and the weights. */
static inline onnx_builder *begin_decoder(int opset, const weights *w)
{
    onnx_builder *b = onnx_builder_create(opset);
    onnx_builder_input(b, "input_ids", LEAT_DTYPE_I64, "NxS");
    onnx_builder_input(b, "position_ids", LEAT_DTYPE_I64, "NxS");
    onnx_builder_input(b, "past_length", LEAT_DTYPE_I64, "N");
    onnx_builder_floats(b, "words", "13x8", w->words);
    onnx_builder_floats(b, "places", "40x8", w->places);
    onnx_builder_floats(b, "wq", "8x8", w->q);
    onnx_builder_floats(b, "wk", "8x4", w->k);
    onnx_builder_floats(b, "wv", "8x4", w->v);
    onnx_builder_floats(b, "wo", "8x13", w->out);
    return b;
}

/* past, present: of the caches' names. */
static inline onnx_builder *build_decoder(const weights *w, const char *past, const char *present)
{
    static const int64_t many[4] = {0, 0, HEADS, HEAD}, one[4] = {0, 0, 1, HEAD},
                         merged[3] = {0, 0, HEADS * HEAD}, order[4] = {0, 2, 1, 3};
    static const int64_t flat[2] = {-1, HEADS * HEAD}, vocabulary = WORDS;
    const leat_attr first = test_attr_int("axis", 0);
    const leat_attr axis = test_attr_int("axis", 2), causal = test_attr_int("is_causal", 1);
    const leat_attr perm = test_attr_ints("perm", order, 4);
    const leat_attr range[2] = {test_attr_int("start", 1), test_attr_int("end", 2)};
    char name[2][2][40], in[256];
    onnx_builder *b = begin_decoder(24, w);
    onnx_builder_ints(b, "many", "4", many);
    onnx_builder_ints(b, "single", "4", one);
    onnx_builder_ints(b, "merged", "3", merged);
    onnx_builder_ints(b, "flat", "2", flat);
    onnx_builder_ints(b, "vocabulary", "1", &vocabulary);
    onnx_builder_node(b, "Gather", "words,input_ids", "word", NULL, 0);
    onnx_builder_node(b, "Gather", "places,position_ids", "place", NULL, 0);
    onnx_builder_node(b, "Add", "word,place", "x", NULL, 0);
    heads(b, "x", "wq", "many", "q");
    heads(b, "x", "wk", "single", "k");
    heads(b, "x", "wv", "single", "v");
    for (int s = 0; s < 2; s++) {
        snprintf(name[0][s], sizeof(name[0][s]), "%s.0.%s", past, s ? "value" : "key");
        snprintf(name[1][s], sizeof(name[1][s]), "%s.0.%s", present, s ? "value" : "key");
        onnx_builder_input(b, name[0][s], LEAT_DTYPE_F32, "Nx1xCx4");
        snprintf(in, sizeof(in), "%s,%s,past_length", name[0][s], s ? "v" : "k");
        onnx_builder_node(b, "TensorScatter", in, name[1][s], &axis, 1);
    }
    onnx_builder_node(b, "Shape", "input_ids", "count", range, 2);
    onnx_builder_node(b, "Add", "past_length,count", "total", NULL, 0);
    snprintf(in, sizeof(in), "q,%s,%s,,,,total", name[1][0], name[1][1]);
    onnx_builder_node(b, "Attention", in, "y", &causal, 1);
    onnx_builder_node(b, "Transpose", "y", "y_merged", &perm, 1);
    onnx_builder_node(b, "Reshape", "y_merged,merged", "y_flat", NULL, 0);
    /* As exports of tied embeddings have it: inference loses that the output's length is time. */
    onnx_builder_node(b, "Reshape", "y_flat,flat", "y_rows", NULL, 0);
    onnx_builder_node(b, "MatMul", "y_rows,wo", "logit_rows", NULL, 0);
    onnx_builder_node(b, "Shape", "input_ids", "ids_shape", NULL, 0);
    onnx_builder_node(b, "Concat", "ids_shape,vocabulary", "logits_shape", &first, 1);
    onnx_builder_node(b, "Reshape", "logit_rows,logits_shape", "logits", NULL, 0);
    onnx_builder_output(b, "logits", LEAT_DTYPE_F32, "NxSx13");
    onnx_builder_output(b, name[1][0], LEAT_DTYPE_F32, "Nx1xCx4");
    onnx_builder_output(b, name[1][1], LEAT_DTYPE_F32, "Nx1xCx4");
    return b;
}

static inline void times(const double *x, const float *m, int rows, int columns, double *y)
{
    for (int c = 0; c < columns; c++) {
        y[c] = 0;
        for (int r = 0; r < rows; r++) {
            y[c] += x[r] * (double)m[r * columns + c];
        }
    }
}

/* Logits behind the last of n words. */
static inline void oracle(const weights *w, const int64_t *words, int n, double *logits)
{
    double x[WIDTH] = {0}, q[HEADS * HEAD], k[PLACES][HEAD], v[PLACES][HEAD], y[HEADS * HEAD] = {0};
    for (int t = 0; t < n; t++) {
        for (int i = 0; i < WIDTH; i++) {
            x[i] = (double)w->words[words[t] * WIDTH + i] + (double)w->places[t * WIDTH + i];
        }
        times(x, w->k, WIDTH, HEAD, k[t]);
        times(x, w->v, WIDTH, HEAD, v[t]);
    }
    times(x, w->q, WIDTH, HEADS * HEAD, q);
    for (int h = 0; h < HEADS; h++) {
        double sum = 0;
        for (int t = 0; t < n; t++) {
            double score = 0;
            for (int i = 0; i < HEAD; i++) {
                score += q[h * HEAD + i] * k[t][i];
            }
            score = exp(score / 2); /* 1 / sqrt(HEAD) */
            sum += score;
            for (int i = 0; i < HEAD; i++) {
                y[h * HEAD + i] += score * v[t][i];
            }
        }
        for (int i = 0; i < HEAD; i++) {
            y[h * HEAD + i] /= sum;
        }
    }
    times(y, w->out, HEADS * HEAD, WORDS, logits);
}

/* --- conversations ------------------------------------------------------------------------------
 */

typedef struct talk {
    uint64_t id; /* 0: none */
    int64_t words[PLACES];
    int n, results;
} talk;

typedef struct fixture {
    weights w;
    onnx_builder *builder;
    test_run run;
    leat_sequences *sequences;
    talk talks[MOST];
    leat_error err;
} fixture;

static inline void open_decoder(fixture *f, const leat_sequences_desc *desc)
{
    f->builder = build_decoder(&f->w, "past_key_values", "present");
    test_run_load(&f->run, f->builder);
    assert_ok(leat_sequences_create(f->run.model, desc, &f->sequences, &f->err), &f->err);
}

/* With seeded weights. */
static inline void begin(fixture *f, uint32_t slots, uint32_t capacity, uint32_t piece)
{
    const leat_sequences_desc desc = {
        .struct_size = sizeof(desc), .n_slots = slots, .capacity = capacity, .max_piece = piece};
    make_weights(&f->w);
    open_decoder(f, &desc);
}

static inline void close_decoder(fixture *f)
{
    leat_sequences_destroy(f->sequences);
    test_run_free(&f->run);
    onnx_builder_destroy(f->builder);
}

static inline void join(fixture *f, talk *t)
{
    *t = (talk){0};
    assert_ok(leat_sequences_join(f->sequences, &t->id, &f->err), &f->err);
}

static inline void push(fixture *f, talk *t, int n)
{
    for (int i = 0; i < n; i++) {
        t->words[t->n + i] = random_below(WORDS - 1);
    }
    assert_ok(leat_sequences_push(f->sequences, t->id, t->words + t->n, (size_t)n, &f->err),
              &f->err);
    t->n += n;
}

static inline void leave(fixture *f, talk *t)
{
    leat_sequences_leave(f->sequences, t->id);
    t->id = 0;
}

/* What the sequence gave is what its words give alone. */
static inline void check_result(fixture *f, talk *t)
{
    leat_array y;
    double expected[WORDS];
    assert_ok(leat_sequences_result(f->sequences, t->id, 0, &y, &f->err), &f->err);
    assert_int_equal(y.rank, 3);
    assert_true(y.shape[0] == 1 && y.shape[1] == 1 && y.shape[2] == WORDS);
    assert_int_equal(y.bytes, WORDS * sizeof(float));
    oracle(&f->w, t->words, t->n, expected);
    for (int i = 0; i < WORDS; i++) {
        const double got = (double)((const float *)y.data)[i];
        if (!(fabs(got - expected[i]) < 2e-5)) {
            fail_msg("word %d behind %d: %g, not %g", i, t->n, got, expected[i]);
        }
    }
    t->results++;
}

static inline talk *talk_of(fixture *f, uint64_t id)
{
    for (int i = 0; i < MOST; i++) {
        if (f->talks[i].id == id) {
            return &f->talks[i];
        }
    }
    fail_msg("a result of nobody's");
    return NULL;
}

static inline leat_step step(fixture *f)
{
    leat_step now = {.struct_size = sizeof(now)};
    assert_ok(leat_sequences_step(f->sequences, &now, &f->err), &f->err);
    for (size_t i = 0; i < now.n_results; i++) {
        if (now.results[i].status == LEAT_OK) {
            check_result(f, talk_of(f, now.results[i].sequence));
        }
    }
    return now;
}

static inline leat_sequences_stats stats_of(const fixture *f)
{
    leat_sequences_stats stats = {.struct_size = sizeof(stats)};
    leat_sequences_read_stats(f->sequences, &stats);
    return stats;
}

/* y = the sum of all values so far, and of a half for each, over time; its state is copied. */
static inline onnx_builder *build_sums(void)
{
    const int64_t axis = 1;
    const leat_attr keep = test_attr_int("keepdims", 1);
    const float half = 0.5f;
    onnx_builder *b = onnx_builder_create(18);
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "NxT");
    onnx_builder_input(b, "state", LEAT_DTYPE_F32, "Nx1");
    onnx_builder_ints(b, "axis", "1", &axis);
    onnx_builder_ints(b, "time", "", &axis);
    onnx_builder_floats(b, "half", "", &half);
    onnx_builder_node(b, "Add", "x,half", "more", NULL, 0);
    onnx_builder_node(b, "ReduceSum", "more,axis", "sum", &keep, 1);
    onnx_builder_node(b, "Add", "state,sum", "stateN", NULL, 0);
    onnx_builder_node(b, "CumSum", "more,time", "sums", NULL, 0);
    onnx_builder_node(b, "Add", "sums,state", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "NxT");
    onnx_builder_output(b, "stateN", LEAT_DTYPE_F32, "Nx1");
    return b;
}

#endif

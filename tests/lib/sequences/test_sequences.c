/* SPDX-License-Identifier: Apache-2.0 */
/* Sequences that join, leave and wait at any step give what each gives alone, by plain loops. */
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

static uint32_t random_state;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % n;
}

static void fill(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)random_below(2001) / 1000.0f - 1.0f;
    }
}

static void make_weights(weights *w)
{
    random_state = 7;
    fill((float *)w, sizeof(*w) / sizeof(float));
}

/* The last word is poison: its keys and values are not numbers. */
static void poison(weights *w)
{
    for (int i = 0; i < WIDTH; i++) {
        w->words[(WORDS - 1) * WIDTH + i] = NAN;
    }
}

static void heads(onnx_builder *b, const char *x, const char *weight, const char *shape,
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

/* past, present: of the caches' names. */
static onnx_builder *build_decoder(const weights *w, const char *past, const char *present)
{
    static const int64_t many[4] = {0, 0, HEADS, HEAD}, one[4] = {0, 0, 1, HEAD},
                         merged[3] = {0, 0, HEADS * HEAD}, order[4] = {0, 2, 1, 3};
    static const int64_t flat[2] = {-1, HEADS * HEAD}, vocabulary = WORDS;
    const leat_attr first = test_attr_int("axis", 0);
    const leat_attr axis = test_attr_int("axis", 2), causal = test_attr_int("is_causal", 1);
    const leat_attr perm = test_attr_ints("perm", order, 4);
    const leat_attr range[2] = {test_attr_int("start", 1), test_attr_int("end", 2)};
    char name[2][2][40], in[256];
    onnx_builder *b = onnx_builder_create(24);
    onnx_builder_input(b, "input_ids", LEAT_DTYPE_I64, "NxS");
    onnx_builder_input(b, "position_ids", LEAT_DTYPE_I64, "NxS");
    onnx_builder_input(b, "past_length", LEAT_DTYPE_I64, "N");
    onnx_builder_floats(b, "words", "13x8", w->words);
    onnx_builder_floats(b, "places", "40x8", w->places);
    onnx_builder_floats(b, "wq", "8x8", w->q);
    onnx_builder_floats(b, "wk", "8x4", w->k);
    onnx_builder_floats(b, "wv", "8x4", w->v);
    onnx_builder_floats(b, "wo", "8x13", w->out);
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

static void times(const double *x, const float *m, int rows, int columns, double *y)
{
    for (int c = 0; c < columns; c++) {
        y[c] = 0;
        for (int r = 0; r < rows; r++) {
            y[c] += x[r] * (double)m[r * columns + c];
        }
    }
}

/* Logits behind the last of n words. */
static void oracle(const weights *w, const int64_t *words, int n, double *logits)
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

static void open_decoder(fixture *f, const leat_sequences_desc *desc)
{
    f->builder = build_decoder(&f->w, "past_key_values", "present");
    test_run_load(&f->run, f->builder);
    assert_ok(leat_sequences_create(f->run.model, desc, &f->sequences, &f->err), &f->err);
}

static void close_decoder(fixture *f)
{
    leat_sequences_destroy(f->sequences);
    test_run_free(&f->run);
    onnx_builder_destroy(f->builder);
}

static void join(fixture *f, talk *t)
{
    *t = (talk){0};
    assert_ok(leat_sequences_join(f->sequences, &t->id, &f->err), &f->err);
}

static void push(fixture *f, talk *t, int n)
{
    for (int i = 0; i < n; i++) {
        t->words[t->n + i] = random_below(WORDS - 1);
    }
    assert_ok(leat_sequences_push(f->sequences, t->id, t->words + t->n, (size_t)n, &f->err),
              &f->err);
    t->n += n;
}

static void leave(fixture *f, talk *t)
{
    leat_sequences_leave(f->sequences, t->id);
    t->id = 0;
}

/* What the sequence gave is what its words give alone. */
static void check_result(fixture *f, talk *t)
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

static talk *talk_of(fixture *f, uint64_t id)
{
    for (int i = 0; i < MOST; i++) {
        if (f->talks[i].id == id) {
            return &f->talks[i];
        }
    }
    fail_msg("a result of nobody's");
    return NULL;
}

static leat_step step(fixture *f)
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

static leat_sequences_stats stats_of(const fixture *f)
{
    leat_sequences_stats stats = {.struct_size = sizeof(stats)};
    leat_sequences_read_stats(f->sequences, &stats);
    return stats;
}

static void random_life(uint32_t slots, uint32_t piece)
{
    fixture f = {0};
    const leat_sequences_desc desc = {
        .struct_size = sizeof(desc), .n_slots = slots, .capacity = PLACES - 1, .max_piece = piece};
    int results = 0, joined = 0;
    make_weights(&f.w);
    open_decoder(&f, &desc);
    random_state = slots * 31 + piece;
    for (int s = 0; s < 600; s++) {
        for (uint32_t i = 0; i < slots; i++) {
            talk *t = &f.talks[i];
            if (t->id == 0 && random_below(8) == 0) {
                join(&f, t);
                joined++;
            } else if (t->id != 0 && random_below(25) == 0) {
                results += t->results;
                leave(&f, t); /* whatever waits */
            } else if (t->id != 0 && random_below(3) > 0 && t->n < PLACES - 1) {
                const int room = PLACES - 1 - t->n;
                const int n = t->n == 0 || random_below(12) == 0 ? 1 + (int)random_below(12) : 1;
                push(&f, t, n < room ? n : room);
            }
        }
        (void)step(&f);
    }
    const leat_sequences_stats stats = stats_of(&f);
    assert_int_equal(stats.joined, joined);
    assert_int_equal(stats.failed, 0);
    assert_true(results > 100 && stats.steps > 100 && stats.positions > stats.steps);
    assert_true(slots == 1 || (stats.moves > 0 && stats.fill_rows > 0 && stats.rows > stats.steps));
    assert_true(piece == 1 ? stats.pieces == 0 : stats.pieces > 10);
    close_decoder(&f);
}

static void sequences_that_come_and_go_give_what_each_gives_alone(void **state)
{
    (void)state;
    random_life(MOST, 8);
    random_life(5, 4);
    random_life(3, 1);
    random_life(1, 16);
}

static void assert_all_numbers(const fixture *f)
{
    for (size_t i = 0; i < f->sequences->n_states; i++) {
        const leat_array *all = &f->sequences->states[i].store->array;
        for (size_t k = 0; k < all->bytes / sizeof(float); k++) {
            assert_false(isnan(((const float *)all->data)[k]));
        }
    }
}

static void slot_of_another_has_nothing_of_it(void **state)
{
    fixture f = {0};
    const leat_sequences_desc desc = {
        .struct_size = sizeof(desc), .n_slots = 2, .capacity = 30, .max_piece = 8};
    const int64_t bad[7] = {1, WORDS - 1, 2, WORDS - 1, 3, WORDS - 1, WORDS - 1};
    (void)state;
    make_weights(&f.w);
    poison(&f.w);
    open_decoder(&f, &desc);
    for (int round = 0; round < 3; round++) {
        uint64_t poisoned;
        leat_array y;
        leat_step now = {.struct_size = sizeof(now)};
        join(&f, &f.talks[1]);
        assert_ok(leat_sequences_join(f.sequences, &poisoned, &f.err), &f.err);
        assert_ok(leat_sequences_push(f.sequences, poisoned, bad, 7, &f.err), &f.err);
        for (int i = 0; i < 3; i++) {
            push(&f, &f.talks[1], 1);
            assert_ok(leat_sequences_step(f.sequences, &now, &f.err), &f.err);
            check_result(&f, &f.talks[1]); /* beside it */
            if (i == 0) {
                assert_int_equal(now.n_results, 2);
                assert_ok(leat_sequences_result(f.sequences, poisoned, 0, &y, &f.err), &f.err);
                assert_true(isnan(((const float *)y.data)[0]));
            }
        }
        leave(&f, &f.talks[1]);
        leat_sequences_leave(f.sequences, poisoned);
        /* In its row: the padding of prompts reaches over what it had. */
        for (int i = 0; i < 2; i++) {
            join(&f, &f.talks[i]);
            push(&f, &f.talks[i], 3 + i);
        }
        (void)step(&f);
        (void)step(&f);
        assert_all_numbers(&f); /* nothing of it is left in the memory of both */
        for (int s = 0; s < 6; s++) {
            (void)step(&f);
            push(&f, &f.talks[s % 2], 1);
        }
        leave(&f, &f.talks[0]);
        leave(&f, &f.talks[1]);
    }
    close_decoder(&f);
}

static void prompt_that_is_cancelled_leaves_others_alone(void **state)
{
    fixture f = {0};
    const leat_sequences_desc desc = {
        .struct_size = sizeof(desc), .n_slots = 3, .capacity = 39, .max_piece = 4};
    (void)state;
    make_weights(&f.w);
    open_decoder(&f, &desc);
    for (int i = 0; i < 3; i++) {
        join(&f, &f.talks[i]);
        push(&f, &f.talks[i], i == 2 ? 1 : 21);
    }
    (void)step(&f);
    (void)step(&f);
    const uint64_t gone = f.talks[0].id;
    leave(&f, &f.talks[0]); /* in the middle of its prompt */
    leat_sequences_leave(f.sequences, gone);
    assert_int_equal(leat_sequences_push(f.sequences, gone, f.talks[1].words, 1, &f.err),
                     LEAT_INVALID);
    join(&f, &f.talks[0]);
    push(&f, &f.talks[0], 2);
    for (int s = 0; s < 12; s++) {
        push(&f, &f.talks[2], 1);
        (void)step(&f);
    }
    for (int i = 0; i < 3; i++) {
        assert_true(f.talks[i].results > 0);
        leave(&f, &f.talks[i]);
    }
    assert_int_equal(stats_of(&f).live, 0);
    assert_int_equal(step(&f).positions, 0);
    close_decoder(&f);
}

static void waiting_prompt_goes_on_with_the_others(void **state)
{
    fixture f = {0};
    const leat_sequences_desc desc = {
        .struct_size = sizeof(desc), .n_slots = 3, .capacity = 39, .max_piece = 4};
    (void)state;
    make_weights(&f.w);
    open_decoder(&f, &desc);
    for (int i = 0; i < 3; i++) {
        join(&f, &f.talks[i]);
    }
    push(&f, &f.talks[0], 8);
    push(&f, &f.talks[1], 3);
    push(&f, &f.talks[2], 1);
    /* A piece of the first, one position of each of the others in one run. */
    assert_int_equal(step(&f).positions, 4 + 1 + 1);
    assert_int_equal(f.talks[2].results, 1);
    /* The others have nothing due: the piece alone. */
    assert_int_equal(step(&f).positions, 4);
    assert_int_equal(f.talks[0].results, 1);
    assert_int_equal(step(&f).positions, 2);
    assert_int_equal(f.talks[1].results, 1);
    close_decoder(&f);
}

static void what_is_wrong_is_refused(void **state)
{
    fixture f = {0};
    const leat_sequences_desc desc = {
        .struct_size = sizeof(desc), .n_slots = 2, .capacity = 6, .max_piece = 4};
    leat_array y;
    uint64_t third = 1;
    (void)state;
    make_weights(&f.w);
    open_decoder(&f, &desc);
    join(&f, &f.talks[0]);
    join(&f, &f.talks[1]);
    assert_int_equal(leat_sequences_join(f.sequences, &third, &f.err), LEAT_BUSY);
    assert_int_equal(third, 0);
    assert_int_equal(leat_sequences_result(f.sequences, f.talks[0].id, 0, &y, &f.err),
                     LEAT_INVALID);
    assert_int_equal(leat_sequences_push(f.sequences, 12345, f.talks[0].words, 1, &f.err),
                     LEAT_INVALID);
    assert_int_equal(leat_sequences_push(f.sequences, 0, f.talks[0].words, 1, &f.err),
                     LEAT_INVALID);
    assert_int_equal(leat_sequences_push(f.sequences, f.talks[0].id, NULL, 1, &f.err),
                     LEAT_INVALID);
    assert_int_equal(leat_sequences_push(f.sequences, f.talks[0].id, f.talks[0].words, 7, &f.err),
                     LEAT_LIMIT);
    push(&f, &f.talks[0], 5);
    assert_int_equal(leat_sequences_push(f.sequences, f.talks[0].id, f.talks[0].words, 2, &f.err),
                     LEAT_LIMIT);
    push(&f, &f.talks[0], 1);
    (void)step(&f);
    (void)step(&f);
    assert_int_equal(f.talks[0].results, 1);
    assert_int_equal(leat_sequences_push(f.sequences, f.talks[0].id, f.talks[0].words, 1, &f.err),
                     LEAT_LIMIT);
    assert_int_equal(leat_sequences_result(f.sequences, f.talks[0].id, 1, &y, &f.err),
                     LEAT_INVALID); /* a state */
    /* Full caches lie in the way of nobody. */
    for (int s = 0; s < 6; s++) {
        push(&f, &f.talks[1], 1);
        assert_int_equal(step(&f).n_results, 1);
    }
    close_decoder(&f);
}

static void bad_token_fails_its_sequence_alone(void **state)
{
    fixture f = {0};
    const leat_sequences_desc desc = {
        .struct_size = sizeof(desc), .n_slots = 3, .capacity = 30, .max_piece = 4};
    const int64_t bad[3] = {1, 2, WORDS + 5};
    leat_array y;
    (void)state;
    make_weights(&f.w);
    open_decoder(&f, &desc);
    for (int n = 1; n <= 3; n += 2) { /* in a batched run, in a piece */
        for (int i = 0; i < 3; i++) {
            join(&f, &f.talks[i]);
            push(&f, &f.talks[i], 1);
        }
        (void)step(&f);
        push(&f, &f.talks[0], 1);
        push(&f, &f.talks[2], 1);
        assert_ok(leat_sequences_push(f.sequences, f.talks[1].id, bad + 3 - n, (size_t)n, &f.err),
                  &f.err);
        const leat_step now = step(&f);
        assert_int_equal(now.n_results, 3);
        assert_int_equal(now.positions, 2);
        assert_int_equal(now.results[1].sequence, f.talks[1].id);
        assert_int_equal(now.results[1].status, LEAT_INVALID);
        assert_int_equal(f.talks[0].results, 2);
        assert_int_equal(f.talks[2].results, 2);
        assert_int_equal(leat_sequences_result(f.sequences, f.talks[1].id, 0, &y, &f.err),
                         LEAT_INVALID);
        assert_true(strlen(f.err.message) > 0);
        assert_int_equal(leat_sequences_push(f.sequences, f.talks[1].id, bad, 1, &f.err),
                         LEAT_INVALID);
        /* All that is there is bad. */
        leave(&f, &f.talks[1]);
        join(&f, &f.talks[1]);
        assert_ok(leat_sequences_push(f.sequences, f.talks[1].id, bad + 2, 1, &f.err), &f.err);
        assert_int_equal(step(&f).results[0].status, LEAT_INVALID);
        for (int i = 0; i < 3; i++) {
            leave(&f, &f.talks[i]);
        }
    }
    assert_int_equal(stats_of(&f).failed, 4);
    close_decoder(&f);
}

static void warmed_steps_allocate_nothing(void **state)
{
    fixture f = {0};
    const leat_sequences_desc desc = {
        .struct_size = sizeof(desc), .n_slots = 4, .capacity = 39, .max_piece = 8};
    leat_memory_info before, after;
    (void)state;
    make_weights(&f.w);
    open_decoder(&f, &desc);
    assert_ok(leat_sequences_warm(f.sequences, &f.err), &f.err);
    leat_context_memory(f.run.context, &before);
    for (int s = 0; s < 60; s++) {
        for (int i = 0; i < 4; i++) {
            talk *t = &f.talks[i];
            if (t->id == 0) {
                join(&f, t);
                push(&f, t, 1 + (s + i) % 11);
            } else if (t->n > 20 || (s + i) % 13 == 0) {
                leave(&f, t);
            } else {
                push(&f, t, 1);
            }
        }
        (void)step(&f);
    }
    assert_ok(leat_sequences_warm(f.sequences, &f.err), &f.err); /* between steps, too */
    (void)step(&f);
    leat_context_memory(f.run.context, &after);
    assert_int_equal(after.allocations, before.allocations);
    assert_true(stats_of(&f).moves > 0);
    close_decoder(&f);
}

/* --- models -------------------------------------------------------------------------------------
 */

static leat_status create_of(onnx_builder *b, const leat_sequences_desc *desc, leat_error *err)
{
    test_run run;
    leat_sequences *sequences = NULL;
    test_run_load(&run, b);
    leat_status status = leat_sequences_create(run.model, desc, &sequences, err);
    assert_true((status == LEAT_OK) == (sequences != NULL));
    leat_sequences_destroy(sequences);
    test_run_free(&run);
    onnx_builder_destroy(b);
    return status;
}

/* present = past and what is new behind it. */
static onnx_builder *build_growing(void)
{
    const leat_attr axis = test_attr_int("axis", 1);
    onnx_builder *b = onnx_builder_create(18);
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "NxSx4");
    onnx_builder_input(b, "past_x", LEAT_DTYPE_F32, "NxPx4");
    onnx_builder_node(b, "Concat", "past_x,x", "present_x", &axis, 1);
    onnx_builder_output(b, "present_x", LEAT_DTYPE_F32, "NxTx4");
    return b;
}

static void models_that_cannot_be_stepped_are_refused(void **state)
{
    static weights w;
    leat_sequences_desc desc = {.struct_size = sizeof(desc), .capacity = 30};
    leat_error err;
    (void)state;
    make_weights(&w);
    assert_int_equal(create_of(build_growing(), &desc, &err), LEAT_UNSUPPORTED);
    assert_non_null(strstr(err.message, "grows"));
    assert_int_equal(create_of(build_decoder(&w, "cache", "after"), &desc, &err), LEAT_UNSUPPORTED);
    assert_int_equal(create_of(test_build_mlp(), &desc, &err), LEAT_UNSUPPORTED);
    /* Named they are found. */
    const leat_state_names names[2] = {{"cache.0.key", "after.0.key"},
                                       {"cache.0.value", "after.0.value"}};
    desc.states = names;
    desc.n_states = 2;
    desc.tokens = "input_ids";
    assert_int_equal(create_of(build_decoder(&w, "cache", "after"), &desc, &err), LEAT_OK);
    desc.n_states = 1;
    assert_int_equal(create_of(build_decoder(&w, "cache", "after"), &desc, &err), LEAT_INVALID);
    assert_non_null(strstr(err.message, "cache.0.value"));
    desc.n_states = 2;
    desc.lengths = "nothing";
    assert_int_equal(create_of(build_decoder(&w, "cache", "after"), &desc, &err), LEAT_NOT_FOUND);
    desc.lengths = NULL;
    desc.max_piece = 3;
    assert_int_equal(create_of(build_decoder(&w, "cache", "after"), &desc, &err), LEAT_INVALID);
    desc.max_piece = 0;
    desc.n_slots = 5000;
    assert_int_equal(create_of(build_decoder(&w, "cache", "after"), &desc, &err), LEAT_INVALID);
}

/* state' = state / 2 + scale * frame, in two layers that differ in sign; y = the first one's sum
 * over a row. The batch dimension of the state is its second. */
static onnx_builder *build_filter(void)
{
    static const float half = 0.5f, signs[2] = {1, -1};
    static const int64_t axis = 1;
    const leat_attr keep = test_attr_int("keepdims", 0), first = test_attr_int("axis", 0);
    static const int64_t zero = 0;
    onnx_builder *b = onnx_builder_create(18);
    onnx_builder_input(b, "frame", LEAT_DTYPE_F32, "NxS");
    onnx_builder_input(b, "state", LEAT_DTYPE_F32, "2xNx3");
    onnx_builder_input(b, "scale", LEAT_DTYPE_F32, "");
    onnx_builder_floats(b, "half", "", &half);
    onnx_builder_floats(b, "signs", "2x1x1", signs);
    onnx_builder_ints(b, "zero", "", &zero);
    onnx_builder_ints(b, "axis", "1", &axis);
    onnx_builder_node(b, "Mul", "state,half", "decayed", NULL, 0);
    onnx_builder_node(b, "Mul", "frame,scale", "scaled", NULL, 0);
    onnx_builder_node(b, "Mul", "scaled,signs", "input", NULL, 0);
    onnx_builder_node(b, "Add", "decayed,input", "stateN", NULL, 0);
    onnx_builder_node(b, "Gather", "stateN,zero", "layer", &first, 1);
    onnx_builder_node(b, "ReduceSum", "layer,axis", "y", &keep, 1);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "N");
    onnx_builder_output(b, "stateN", LEAT_DTYPE_F32, "2xNx3");
    return b;
}

static void frames_carry_copied_states_along(void **state)
{
    float two = 2;
    const leat_state_names names = {"state", "stateN"};
    const leat_fixed_input scale = {"scale",
                                    {.dtype = LEAT_DTYPE_F32, .data = &two, .bytes = sizeof(two)}};
    leat_sequences_desc desc = {.struct_size = sizeof(desc),
                                .n_slots = 4,
                                .capacity = 5,
                                .frame = 3,
                                .states = &names,
                                .n_states = 1,
                                .fixed = &scale,
                                .n_fixed = 1};
    double sums[4] = {0};
    uint64_t ids[4] = {0};
    fixture f = {0};
    (void)state;
    random_state = 5;
    f.builder = build_filter();
    test_run_load(&f.run, f.builder);
    desc.n_fixed = 0;
    assert_int_equal(leat_sequences_create(f.run.model, &desc, &f.sequences, &f.err), LEAT_INVALID);
    desc.n_fixed = 1;
    assert_ok(leat_sequences_create(f.run.model, &desc, &f.sequences, &f.err), &f.err);
    for (int s = 0; s < 200; s++) {
        for (int i = 0; i < 4; i++) {
            float frame[6];
            const size_t n = 1 + random_below(2);
            if (ids[i] == 0 || random_below(10) == 0) {
                leat_sequences_leave(f.sequences, ids[i]);
                assert_ok(leat_sequences_join(f.sequences, &ids[i], &f.err), &f.err);
                sums[i] = 0;
            }
            if (random_below(3) == 0) {
                continue;
            }
            fill(frame, 6);
            for (size_t k = 0; k < n; k++) {
                const float *x = frame + 3 * k;
                sums[i] = sums[i] / 2 + 2 * ((double)x[0] + (double)x[1] + (double)x[2]);
            }
            assert_ok(leat_sequences_push(f.sequences, ids[i], frame, n, &f.err), &f.err);
        }
        leat_step now = {.struct_size = sizeof(now)};
        do {
            assert_ok(leat_sequences_step(f.sequences, &now, &f.err), &f.err);
            for (size_t k = 0; k < now.n_results; k++) {
                const int i = (int)(now.results[k].sequence % 4096);
                leat_array y;
                assert_int_equal(now.results[k].sequence, ids[i]);
                assert_ok(leat_sequences_result(f.sequences, ids[i], 0, &y, &f.err), &f.err);
                assert_true(y.rank == 1 && y.shape[0] == 1);
                assert_true(fabs((double)*(const float *)y.data - sums[i]) < 1e-5);
            }
        } while (now.positions > 0);
    }
    assert_true(stats_of(&f).fill_rows > 0 && stats_of(&f).moves > 0);
    close_decoder(&f);
}

/* y = the sum of all values so far, and of a half for each, over time: pieces are exact, and its
 * last is the answer. */
static void pieces_of_copied_states_are_not_padded(void **state)
{
    const int64_t axis = 1;
    const leat_state_names names = {"state", "stateN"};
    const leat_sequences_desc desc = {.struct_size = sizeof(desc),
                                      .n_slots = 2,
                                      .capacity = 50,
                                      .max_piece = 8,
                                      .states = &names,
                                      .n_states = 1};
    const leat_attr keep = test_attr_int("keepdims", 1);
    const float half = 0.5f;
    fixture f = {0};
    leat_array y;
    uint64_t id;
    float values[50];
    double sum = 0;
    (void)state;
    onnx_builder *b = f.builder = onnx_builder_create(18);
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
    test_run_load(&f.run, b);
    assert_ok(leat_sequences_create(f.run.model, &desc, &f.sequences, &f.err), &f.err);
    random_state = 3;
    fill(values, 50);
    assert_ok(leat_sequences_join(f.sequences, &id, &f.err), &f.err);
    for (int done = 0, n = 1; done + n <= 50; done += n, n = n % 11 + 1) {
        leat_step now = {.struct_size = sizeof(now)};
        assert_ok(leat_sequences_push(f.sequences, id, values + done, (size_t)n, &f.err), &f.err);
        while (now.n_results == 0) {
            assert_ok(leat_sequences_step(f.sequences, &now, &f.err), &f.err);
            assert_true(now.positions > 0);
        }
        for (int i = 0; i < n; i++) {
            sum += (double)values[done + i] + 0.5;
        }
        assert_ok(leat_sequences_result(f.sequences, id, 0, &y, &f.err), &f.err);
        assert_true(y.rank == 2 && y.shape[1] == 1 && y.bytes == sizeof(float));
        assert_true(fabs((double)*(const float *)y.data - sum) < 1e-5);
    }
    close_decoder(&f);
}

/* --- threads, memory ----------------------------------------------------------------------------
 */

typedef struct user {
    fixture *f;
    pthread_t thread;
    uint32_t seed;
    int rounds;
} user;

/* Joins, asks, leaves at once. */
static void *come_and_go(void *argument)
{
    user *u = argument;
    leat_error err;
    for (int i = 0; i < u->rounds; i++) {
        uint64_t id;
        const int64_t words[5] = {1, 2, 3, 4, (int64_t)(u->seed + (uint32_t)i) % WORDS};
        if (leat_sequences_join(u->f->sequences, &id, &err) == LEAT_BUSY) {
            continue;
        }
        leat_status pushed =
            leat_sequences_push(u->f->sequences, id, words, 1 + (size_t)i % 5, &err);
        leat_status again = leat_sequences_push(u->f->sequences, id, words, 1, &err);
        leat_sequences_leave(u->f->sequences, id);
        if (pushed != LEAT_OK || again != LEAT_OK) {
            return u;
        }
    }
    return NULL;
}

static void others_come_and_go_while_steps_run(void **state)
{
    fixture f = {0};
    const leat_sequences_desc desc = {
        .struct_size = sizeof(desc), .n_slots = 6, .capacity = 39, .max_piece = 4};
    user users[3];
    (void)state;
    make_weights(&f.w);
    open_decoder(&f, &desc);
    join(&f, &f.talks[0]);
    for (int i = 0; i < 3; i++) {
        users[i] = (user){.f = &f, .seed = (uint32_t)i, .rounds = 2000};
        assert_int_equal(pthread_create(&users[i].thread, NULL, come_and_go, &users[i]), 0);
    }
    for (int s = 0; s < 400; s++) {
        if (f.talks[0].n == 39) {
            leave(&f, &f.talks[0]);
            while (f.talks[0].id == 0) { /* others may have the slots */
                f.talks[0] = (talk){0};
                (void)!leat_sequences_join(f.sequences, &f.talks[0].id, &f.err);
            }
        }
        push(&f, &f.talks[0], 1);
        leat_step now = {.struct_size = sizeof(now)};
        assert_ok(leat_sequences_step(f.sequences, &now, &f.err), &f.err);
        check_result(&f, &f.talks[0]);
    }
    for (int i = 0; i < 3; i++) {
        void *wrong;
        pthread_join(users[i].thread, &wrong);
        assert_null(wrong);
    }
    leave(&f, &f.talks[0]);
    assert_int_equal(stats_of(&f).live, 0);
    assert_int_equal(stats_of(&f).joined, stats_of(&f).left);
    close_decoder(&f);
}

typedef struct blob {
    const void *data;
    size_t bytes;
} blob;

static leat_status attempt(void *argument, const leat_allocator *allocator, leat_error *err)
{
    const blob *model_bytes = argument;
    const leat_context_desc one = {
        .struct_size = sizeof(one), .allocator = allocator, .threads = 1};
    const leat_sequences_desc desc = {
        .struct_size = sizeof(desc), .n_slots = 2, .capacity = 10, .max_piece = 2};
    leat_context *context = NULL;
    leat_model *model = NULL;
    leat_sequences *sequences = NULL;
    leat_status status = leat_context_create(&one, &context, err);
    status = status ? status
                    : leat_model_load_memory(context, model_bytes->data, model_bytes->bytes, NULL,
                                             &model, err);
    status = status ? status : leat_sequences_create(model, &desc, &sequences, err);
    assert_true(status == LEAT_OK || sequences == NULL);
    leat_sequences_destroy(sequences);
    leat_model_destroy(model);
    leat_context_destroy(context);
    return status;
}

static void failing_allocations_leave_nothing(void **state)
{
    static weights w;
    blob bytes;
    (void)state;
    make_weights(&w);
    onnx_builder *b = build_decoder(&w, "past_key_values", "present");
    bytes.data = onnx_builder_finish(b, &bytes.bytes);
    test_walk_allocations(attempt, &bytes);
    onnx_builder_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sequences_that_come_and_go_give_what_each_gives_alone),
        cmocka_unit_test(slot_of_another_has_nothing_of_it),
        cmocka_unit_test(prompt_that_is_cancelled_leaves_others_alone),
        cmocka_unit_test(waiting_prompt_goes_on_with_the_others),
        cmocka_unit_test(what_is_wrong_is_refused),
        cmocka_unit_test(bad_token_fails_its_sequence_alone),
        cmocka_unit_test(warmed_steps_allocate_nothing),
        cmocka_unit_test(models_that_cannot_be_stepped_are_refused),
        cmocka_unit_test(frames_carry_copied_states_along),
        cmocka_unit_test(pieces_of_copied_states_are_not_padded),
        cmocka_unit_test(others_come_and_go_while_steps_run),
        cmocka_unit_test(failing_allocations_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Prompts of several sequences in one run, where what was measured says so. */
#include "lib/sequences/decoder.h"

/* Nothing takes any time. */
static uint64_t still(void *user)
{
    (void)user;
    return 0;
}

/* Runs of pieces take `fixed` and `each` for each position. */
static void set_times(fixture *f, float fixed, float each)
{
    for (uint32_t c = 0; c < LT_PIECE_STEPS; c++) {
        for (uint32_t r = 0; r < LT_ROW_STEPS; r++) {
            f->sequences->piece_ns[c][r] = fixed + each * (float)(1u << c) * (float)(1u << r);
        }
    }
}

static leat_sequences_desc describe(uint32_t slots, uint32_t piece)
{
    return (leat_sequences_desc){.struct_size = sizeof(leat_sequences_desc),
                                 .n_slots = slots,
                                 .capacity = PLACES - 1,
                                 .max_piece = piece,
                                 .clock = still};
}

/* Sequences with prompts of these lengths, which give no result yet. */
static void open_prompts(fixture *f, const leat_sequences_desc *desc, const int *lengths, int n)
{
    make_weights(&f->w);
    open_decoder(f, desc);
    for (int i = 0; i < n; i++) {
        join(f, &f->talks[i]);
        push(f, &f->talks[i], lengths[i]);
    }
}

static void prompts_run_together_where_that_takes_less(void **state)
{
    fixture f = {0};
    const leat_sequences_desc desc = describe(6, 32);
    (void)state;
    open_prompts(&f, &desc, (const int[]){7, 8, 3, 6, 2}, 5);
    set_times(&f, 1000, 1); /* a run costs the same whatever it has */
    /* 4 of the 5 in 8 positions each; the fifth has one run in the batch of none. */
    assert_int_equal(step(&f).positions, 7 + 8 + 3 + 6);
    assert_int_equal(stats_of(&f).piece_runs, 1);
    assert_int_equal(stats_of(&f).pieces, 4);
    assert_int_equal(step(&f).positions, 2);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(f.talks[i].results, 1); /* `step` compared it */
    }
    assert_int_equal(step(&f).positions, 0);
    close_decoder(&f);
}

static void prompts_run_alone_where_that_takes_less(void **state)
{
    fixture f = {0};
    const leat_sequences_desc desc = describe(4, 32);
    (void)state;
    /* By the position: 3 and 9 padded to 16 and 16 take longer than 4 and 16. */
    open_prompts(&f, &desc, (const int[]){3, 9}, 2);
    set_times(&f, 0, 1);
    assert_int_equal(step(&f).positions, 3);
    assert_int_equal(step(&f).positions, 9);
    assert_int_equal(stats_of(&f).piece_runs, 2);
    close_decoder(&f);
    /* Without warm nothing is known, and nothing is tried. */
    memset(&f, 0, sizeof(f));
    open_prompts(&f, &desc, (const int[]){8, 8}, 2);
    assert_int_equal(step(&f).positions, 8);
    assert_int_equal(step(&f).positions, 8);
    close_decoder(&f);
}

/* Longer ones share max_piece: pieces of each in each run, as long as that pays. */
static void long_prompts_share_the_positions_of_a_run(void **state)
{
    fixture f = {0};
    const leat_sequences_desc desc = describe(4, 8);
    (void)state;
    open_prompts(&f, &desc, (const int[]){16, 16, 16, 16}, 4);
    set_times(&f, 0, 1);
    f.sequences->piece_ns[1][2] = 1; /* 2 positions of 4 rows */
    for (int i = 0; i < 8; i++) {
        assert_int_equal(step(&f).positions, 8);
    }
    assert_int_equal(stats_of(&f).piece_runs, 8);
    assert_int_equal(stats_of(&f).pieces, 32);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(f.talks[i].results, 1);
    }
    close_decoder(&f);
}

static void failing_prompt_fails_alone_among_others(void **state)
{
    fixture f = {0};
    const leat_sequences_desc desc = describe(4, 32);
    const int64_t bad[3] = {1, WORDS + 5, 2};
    (void)state;
    open_prompts(&f, &desc, (const int[]){5, 1, 5, 4}, 4);
    assert_ok(leat_sequences_push(f.sequences, f.talks[1].id, bad, 3, &f.err), &f.err);
    set_times(&f, 1000, 1);
    const leat_step now = step(&f);
    assert_int_equal(now.n_results, 4);
    assert_int_equal(now.positions, 5 + 5 + 4);
    assert_int_equal(now.results[1].status, LEAT_INVALID);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(f.talks[i].results, i != 1);
    }
    /* The others go on from where they are. */
    push(&f, &f.talks[0], 1);
    push(&f, &f.talks[3], 2);
    (void)step(&f);
    assert_int_equal(f.talks[3].results, 2);
    close_decoder(&f);
}

/* Prompts of all lengths come and go; whatever times say, each gives what it gives alone. */
static void live(fixture *f, uint32_t slots, int steps)
{
    for (int s = 0; s < steps; s++) {
        for (uint32_t i = 0; i < slots; i++) {
            talk *t = &f->talks[i];
            if (t->id == 0 && random_below(4) == 0) {
                join(f, t);
            } else if (t->id != 0 && random_below(15) == 0) {
                leave(f, t);
            } else if (t->id != 0 && random_below(3) > 0 && t->n < PLACES - 1) {
                const int room = PLACES - 1 - t->n, n = 1 + (int)random_below(12);
                push(f, t, n < room ? n : room);
            }
        }
        set_times(f, (float)random_below(100), 1);
        (void)step(f);
    }
}

static void prompts_that_come_and_go_give_what_each_gives_alone(void **state)
{
    (void)state;
    for (uint32_t slots = 2; slots <= MOST; slots += 3) {
        fixture f = {0};
        const leat_sequences_desc desc = describe(slots, 32);
        make_weights(&f.w);
        open_decoder(&f, &desc);
        random_state = slots;
        live(&f, slots, 400);
        const leat_sequences_stats stats = stats_of(&f);
        assert_true(stats.pieces > stats.piece_runs + (slots > 2 ? 50 : 0));
        assert_int_equal(stats.failed, 0);

        close_decoder(&f);
    }
}

/* The same by GroupQueryAttention, whose caches are of one length, too. */
static onnx_builder *build_group_query(const weights *w)
{
    static const int64_t flat[2] = {-1, HEADS * HEAD}, vocabulary = WORDS, one = 1;
    const leat_attr first = test_attr_int("axis", 0), type = test_attr_int("to", 6); /* INT32 */
    const leat_attr keep = test_attr_int("keepdims", 0);
    const leat_attr range[2] = {test_attr_int("start", 1), test_attr_int("end", 2)};
    const leat_attr numbers[2] = {test_attr_int("num_heads", HEADS),
                                  test_attr_int("kv_num_heads", 1)};
    onnx_builder *b = begin_decoder(21, w);
    onnx_builder_import(b, "com.microsoft", 1);
    onnx_builder_input(b, "past_key_values.0.key", LEAT_DTYPE_F32, "Nx1xCx4");
    onnx_builder_input(b, "past_key_values.0.value", LEAT_DTYPE_F32, "Nx1xCx4");
    onnx_builder_ints(b, "flat", "2", flat);
    onnx_builder_ints(b, "vocabulary", "1", &vocabulary);
    onnx_builder_ints(b, "one", "", &one);
    onnx_builder_node(b, "Gather", "words,input_ids", "word", NULL, 0);
    onnx_builder_node(b, "Gather", "places,position_ids", "place", NULL, 0);
    onnx_builder_node(b, "Add", "word,place", "x", NULL, 0);
    onnx_builder_node(b, "MatMul", "x,wq", "q", NULL, 0);
    onnx_builder_node(b, "MatMul", "x,wk", "k", NULL, 0);
    onnx_builder_node(b, "MatMul", "x,wv", "v", NULL, 0);
    onnx_builder_node(b, "Shape", "input_ids", "count", range, 2);
    onnx_builder_node(b, "Add", "past_length,count", "total", NULL, 0);
    onnx_builder_node(b, "Sub", "total,one", "last", NULL, 0);
    onnx_builder_node(b, "Cast", "last", "seqlens_k", &type, 1);
    onnx_builder_node(b, "ReduceMax", "total", "longest", &keep, 1);
    onnx_builder_node(b, "Cast", "longest", "total_length", &type, 1);
    onnx_builder_node(b, "com.microsoft.GroupQueryAttention",
                      "q,k,v,past_key_values.0.key,past_key_values.0.value,seqlens_k,"
                      "total_length",
                      "y,present.0.key,present.0.value", numbers, 2);
    onnx_builder_node(b, "Reshape", "y,flat", "y_rows", NULL, 0);
    onnx_builder_node(b, "MatMul", "y_rows,wo", "logit_rows", NULL, 0);
    onnx_builder_node(b, "Shape", "input_ids", "ids_shape", NULL, 0);
    onnx_builder_node(b, "Concat", "ids_shape,vocabulary", "logits_shape", &first, 1);
    onnx_builder_node(b, "Reshape", "logit_rows,logits_shape", "logits", NULL, 0);
    onnx_builder_output(b, "logits", LEAT_DTYPE_F32, "NxSx13");
    onnx_builder_output(b, "present.0.key", LEAT_DTYPE_F32, "Nx1xCx4");
    onnx_builder_output(b, "present.0.value", LEAT_DTYPE_F32, "Nx1xCx4");
    return b;
}

static void caches_of_group_query_attention_are_kept(void **state)
{
    fixture f = {0};
    const leat_sequences_desc desc = describe(5, 16);
    (void)state;
    make_weights(&f.w);
    f.builder = build_group_query(&f.w);
    test_run_load(&f.run, f.builder);
    assert_ok(leat_sequences_create(f.run.model, &desc, &f.sequences, &f.err), &f.err);
    random_state = 3;
    live(&f, 5, 300);
    const leat_sequences_stats stats = stats_of(&f);
    assert_true(stats.pieces > stats.piece_runs + 20 && stats.moves > 0 && stats.failed == 0);
    close_decoder(&f);
}

/* States that are copied: as many positions of each, none of them padding. */
static void copied_states_run_together_without_padding(void **state)
{
    const leat_state_names names = {"state", "stateN"};
    leat_sequences_desc desc = describe(3, 16);
    static const size_t lengths[3] = {5, 9, 4};
    float values[3][9];
    uint64_t ids[3];
    fixture f = {0};
    (void)state;
    desc.states = &names;
    desc.n_states = 1;
    f.builder = build_sums();
    test_run_load(&f.run, f.builder);
    assert_ok(leat_sequences_create(f.run.model, &desc, &f.sequences, &f.err), &f.err);
    random_state = 9;
    fill(&values[0][0], 27);
    for (int i = 0; i < 3; i++) {
        assert_ok(leat_sequences_join(f.sequences, &ids[i], &f.err), &f.err);
        assert_ok(leat_sequences_push(f.sequences, ids[i], values[i], lengths[i], &f.err), &f.err);
    }
    set_times(&f, 1000, 1);
    leat_step now = {.struct_size = sizeof(now)};
    do {
        assert_ok(leat_sequences_step(f.sequences, &now, &f.err), &f.err);
        for (size_t k = 0; k < now.n_results; k++) {
            const size_t i = now.results[k].sequence % 4096;
            double sum = 0;
            leat_array y;
            for (size_t v = 0; v < lengths[i]; v++) {
                sum += (double)values[i][v] + 0.5;
            }
            assert_ok(leat_sequences_result(f.sequences, ids[i], 0, &y, &f.err), &f.err);
            assert_true(fabs((double)*(const float *)y.data - sum) < 1e-5);
        }
    } while (now.positions > 0);
    assert_int_equal(stats_of(&f).positions, 5 + 9 + 4);
    assert_true(stats_of(&f).pieces > stats_of(&f).piece_runs);
    close_decoder(&f);
}

/* A microsecond a reading: what steps take is counted. */
static uint64_t ticking(void *user)
{
    return *(uint64_t *)user += 1000;
}

static void warm_measures_and_steps_are_timed(void **state)
{
    fixture f = {0};
    uint64_t now = 0;
    leat_sequences_desc desc = describe(4, 16);
    desc.clock = ticking;
    desc.clock_user = &now;
    (void)state;
    make_weights(&f.w);
    open_decoder(&f, &desc);
    assert_ok(leat_sequences_warm(f.sequences, &f.err), &f.err);
    for (uint32_t r = 0; r <= 2; r++) {
        for (uint32_t c = 0; c < LT_PIECE_STEPS; c++) {
            const bool there = c + r <= 4 && (r == 0 || c > 0);
            assert_true(f.sequences->piece_ns[c][r] == (there ? 1000.0f : 0.0f));
        }
    }
    join(&f, &f.talks[0]);
    push(&f, &f.talks[0], 1);
    (void)step(&f);
    (void)step(&f); /* nothing waits: not counted */
    const leat_sequences_stats stats = stats_of(&f);
    assert_int_equal(stats.steps, 1);
    assert_true(stats.step.total_ns >= 1000 && stats.step.total_ns < 10000);
    close_decoder(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts_run_together_where_that_takes_less),
        cmocka_unit_test(prompts_run_alone_where_that_takes_less),
        cmocka_unit_test(long_prompts_share_the_positions_of_a_run),
        cmocka_unit_test(failing_prompt_fails_alone_among_others),
        cmocka_unit_test(prompts_that_come_and_go_give_what_each_gives_alone),
        cmocka_unit_test(caches_of_group_query_attention_are_kept),
        cmocka_unit_test(copied_states_run_together_without_padding),
        cmocka_unit_test(warm_measures_and_steps_are_timed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Sequences that join, leave and wait at any step give what each gives alone, by plain loops. */
#include "lib/sequences/decoder.h"

static void random_life(uint32_t slots, uint32_t piece)
{
    fixture f = {0};
    int results = 0, joined = 0;
    begin(&f, slots, PLACES - 1, piece);
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
    (void)state;
    begin(&f, 3, 39, 4);
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
    (void)state;
    begin(&f, 3, 39, 4);
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
    leat_array y;
    uint64_t third = 1;
    (void)state;
    begin(&f, 2, 6, 4);
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
    const int64_t bad[3] = {1, 2, WORDS + 5};
    leat_array y;
    (void)state;
    begin(&f, 3, 30, 4);
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
    leat_memory_info before, after;
    (void)state;
    begin(&f, 4, 39, 8);
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
    user users[3];
    (void)state;
    begin(&f, 6, 39, 4);
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
        cmocka_unit_test(others_come_and_go_while_steps_run),
        cmocka_unit_test(failing_allocations_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The lengths to pad to, against all subsets of the candidates. */
#include "support/test.h"

#include "batcher/buckets.h"

#include <math.h>
#include <string.h>

enum {
    ROWS = 8, /* of the largest batch */
    MOST = 8  /* candidates */
};

typedef struct fixture {
    lt_memory memory;
    lt_arena arena;
    lt_buckets b;
} fixture;

static uint32_t planned[ROWS + 1];
static uint32_t random_state;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % n;
}

static void open_more(fixture *f, uint32_t most, const int64_t *lengths, uint32_t n)
{
    lt_memory_init(&f->memory, NULL, 0);
    lt_arena_init(&f->arena, &f->memory, 0);
    for (uint32_t i = 0; i <= ROWS; i++) {
        planned[i] = i;
    }
    f->b.most = most;
    f->b.max_rows = ROWS;
    f->b.planned = planned;
    assert_true(lt_buckets_make(&f->b, &f->arena, lengths, n));
}

static void open_buckets(fixture *f, uint32_t most, const int64_t *lengths, uint32_t n)
{
    memset(f, 0, sizeof(*f));
    open_more(f, most, lengths, n);
}

static void close_buckets(fixture *f)
{
    lt_arena_destroy(&f->arena);
    assert_int_equal(f->memory.live_blocks, 0);
}

static bool choose(fixture *f)
{
    lt_buckets_note(&f->b);
    return lt_buckets_choose(&f->b);
}

/* Rows of the lengths, `together` of them waiting at a time, and what runs cost. */
static void tell(fixture *f, uint32_t n, const int *rows, int together,
                 const double cost[MOST][ROWS + 1])
{
    for (uint32_t i = 0; i < n; i++) {
        for (int r = 0; r < rows[i]; r++) {
            lt_buckets_arrival(&f->b, f->b.lengths[i], 1);
        }
        for (uint32_t r = 1; r <= ROWS; r++) {
            lt_buckets_run(&f->b, f->b.lengths[i], r, (uint64_t)cost[i][r], 1);
        }
    }
    f->b.waiting = (uint64_t)together;
    lt_buckets_begin(&f->b);
}

/* Of padding to the candidates in a set of bits, by the formula of buckets.h. Infinite where some
 * are not padded, or nothing has just the length of one. */
static double cost_of_set(uint32_t set, uint32_t n, const int *rows, int together,
                          const double cost[MOST][ROWS + 1])
{
    double sum = 0, all = 0, bucket = 0;
    for (uint32_t i = 0; i < n; i++) {
        all += rows[i];
    }
    for (uint32_t i = 0; i < n; i++) {
        bucket += rows[i];
        if ((set >> i & 1) != 0) {
            double share = floor(together * bucket / all + 0.5);
            share = share < 1 ? 1 : share > ROWS ? ROWS : share;
            sum += rows[i] > 0 ? bucket * floor(cost[i][(int)share]) / share : INFINITY;
            bucket = 0;
        }
    }
    return bucket > 0 ? INFINITY : sum;
}

static double least_of_all(uint32_t most, uint32_t n, const int *rows, int together,
                           const double cost[MOST][ROWS + 1])
{
    double least = INFINITY;
    for (uint32_t set = 1; set < 1u << n; set++) {
        if (__builtin_popcount(set) <= (int)most) {
            const double sum = cost_of_set(set, n, rows, together, cost);
            least = sum < least ? sum : least;
        }
    }
    return least;
}

/* Those in use, as a set of candidates that have rows. */
static uint32_t set_of(const fixture *f, uint32_t n, const int *rows)
{
    uint32_t set = 0;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < n && rows[i] > 0; k++) {
            set |= lt_buckets_padded(&f->b, f->b.lengths[i]) == f->b.lengths[k] ? 1u << k : 0;
        }
    }
    return set;
}

static void choice_costs_as_little_as_the_best_subset(void **state)
{
    (void)state;
    random_state = 11;
    for (int round = 0; round < 300; round++) {
        const uint32_t n = 1 + random_below(MOST), most = 1 + random_below(4);
        const int together = 1 + (int)random_below(20);
        int64_t lengths[MOST];
        int rows[MOST], all = 0;
        double cost[MOST][ROWS + 1];
        for (uint32_t i = 0; i < n; i++) {
            lengths[i] = (i > 0 ? lengths[i - 1] : 0) + 1 + random_below(30);
            rows[i] = random_below(3) > 0 ? (int)random_below(40) : 0;
            all += rows[i];
            for (uint32_t r = 0; r <= ROWS; r++) {
                cost[i][r] = 1000.0 * (1 + random_below(50) + r * (1 + random_below(20)));
            }
        }
        fixture f;
        open_buckets(&f, most, lengths, n);
        tell(&f, n, rows, together, cost);
        const bool changed = choose(&f);
        const double least = least_of_all(most, n, rows, together, cost);
        const double got = cost_of_set(set_of(&f, n, rows), n, rows, together, cost);
        if (all > 0) {
            /* 3 % more where those in use were no more than may be. */
            assert_true(got <= least * (changed ? 1 + 1e-6 : 1 / 0.97));
        }
        for (uint32_t i = 0; i < n; i++) {
            assert_true(lt_buckets_padded(&f.b, lengths[i]) >= lengths[i]);
        }
        close_buckets(&f);
    }
}

static void nothing_is_chosen_before_anything_is_known(void **state)
{
    (void)state;
    static const int64_t lengths[] = {8, 16, 24};
    fixture f;
    open_buckets(&f, 1, lengths, 3);
    for (int i = 0; i < 63; i++) {
        lt_buckets_arrival(&f.b, 5, 1);
        assert_false(lt_buckets_due(&f.b));
    }
    lt_buckets_arrival(&f.b, 11, 1);
    assert_true(lt_buckets_due(&f.b));
    assert_false(choose(&f)); /* no run was measured */
    assert_false(lt_buckets_due(&f.b));
    assert_int_equal(lt_buckets_padded(&f.b, 5), 8);
    assert_int_equal(lt_buckets_padded(&f.b, 16), 16);
    assert_int_equal(lt_buckets_padded(&f.b, 25), 25);
    lt_buckets_run(&f.b, 8, 1, 100, 1);
    lt_buckets_run(&f.b, 25, 1, 1, 1); /* no candidate's */
    assert_true(choose(&f));
    assert_int_equal(lt_buckets_padded(&f.b, 5), 16); /* one is all that may be */
    close_buckets(&f);
}

/* Lengths that were never run are taken to cost what lies between their neighbours. */
static void what_was_not_measured_lies_between(void **state)
{
    (void)state;
    static const int64_t lengths[] = {10, 20, 30, 40};
    fixture f;
    open_buckets(&f, 2, lengths, 4);
    for (int i = 0; i < 10; i++) {
        lt_buckets_arrival(&f.b, 10, 1);
        lt_buckets_arrival(&f.b, 20, 1);
        lt_buckets_arrival(&f.b, 40, 1);
    }
    f.b.waiting = 1;
    lt_buckets_begin(&f.b);
    lt_buckets_run(&f.b, 10, 1, 1000, 1);
    lt_buckets_run(&f.b, 40, 1, 31000, 1); /* so 20 takes 11000 */
    assert_true(choose(&f));
    assert_int_equal(lt_buckets_padded(&f.b, 10), 20); /* 20 * 11 + 10 * 31, not 10 + 20 * 31 */
    lt_buckets_run(&f.b, 20, 1, 30900, 1);             /* measured it is as dear as 40 */
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < 10; k++) {
            lt_buckets_arrival(&f.b, 10 << (k % 3), 1);
        }
        (void)choose(&f);
    }
    assert_int_equal(lt_buckets_padded(&f.b, 10), 10);
    assert_int_equal(lt_buckets_padded(&f.b, 20), 40);
    close_buckets(&f);
}

/* Runs that make plans are no measure: a length that ran but once is not taken to be dear. */
static void first_runs_are_not_measured(void **state)
{
    (void)state;
    static const int64_t lengths[] = {10, 20};
    fixture f;
    memset(&f, 0, sizeof(f));
    f.b.settling = 2;
    open_more(&f, 1, lengths, 2);
    const float *ns = f.b.run_ns + 3; /* of 3 rows of 10 */
    lt_buckets_run(&f.b, 10, 3, 900000, 1);
    lt_buckets_run(&f.b, 10, 3, 500000, 1);
    assert_true(*ns == 0);
    lt_buckets_run(&f.b, 10, 3, 1000, 1);
    assert_true(*ns == 1000);
    lt_buckets_run(&f.b, 20, 3, 2000, 3); /* warmed: the last of three */
    assert_true(ns[ROWS + 1] == 2000);
    close_buckets(&f);
}

static void default_lengths_are_fine_only_to_choose_from(void **state)
{
    (void)state;
    for (uint32_t most = 0; most < 2; most++) {
        fixture f;
        open_buckets(&f, most * 6, NULL, 0);
        assert_int_equal(lt_buckets_padded(&f.b, 1), 16);
        assert_int_equal(lt_buckets_padded(&f.b, 17), most ? 32 : 24);
        assert_int_equal(lt_buckets_padded(&f.b, 33), 48);
        assert_int_equal(lt_buckets_padded(&f.b, 70), 96);
        assert_int_equal(lt_buckets_padded(&f.b, 257), 384);
        assert_int_equal(lt_buckets_padded(&f.b, 98304), 98304);
        assert_int_equal(lt_buckets_padded(&f.b, 98305), 98305);
        assert_int_equal(f.b.n, most ? 84 : 26);
        close_buckets(&f);
    }
}

static bool make(void *argument, const leat_allocator *allocator)
{
    fixture *f = argument;
    memset(f, 0, sizeof(*f));
    lt_memory_init(&f->memory, allocator, 0);
    lt_arena_init(&f->arena, &f->memory, 0);
    f->b.most = 3;
    f->b.max_rows = 1000;
    const bool made = lt_buckets_make(&f->b, &f->arena, NULL, 0);
    lt_arena_destroy(&f->arena);
    return made;
}

static leat_status attempt(void *argument, const leat_allocator *allocator, leat_error *err)
{
    (void)err;
    return make(argument, allocator) ? LEAT_OK : LEAT_NO_MEMORY;
}

static void making_with_failing_allocations_leaves_nothing(void **state)
{
    (void)state;
    static fixture f;
    test_walk_allocations(attempt, &f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choice_costs_as_little_as_the_best_subset),
        cmocka_unit_test(nothing_is_chosen_before_anything_is_known),
        cmocka_unit_test(what_was_not_measured_lies_between),
        cmocka_unit_test(first_runs_are_not_measured),
        cmocka_unit_test(default_lengths_are_fine_only_to_choose_from),
        cmocka_unit_test(making_with_failing_allocations_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

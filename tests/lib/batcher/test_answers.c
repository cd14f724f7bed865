/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept, and where: one input, one output of bytes. */
#include "support/test.h"

#include "batcher/answers.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK = 16384
};

static const leat_io one_io = {.dtype = LEAT_DTYPE_U8, .rank = 1};

typedef struct bench {
    test_allocator state;
    leat_allocator allocator;
    lt_memory memory;
    leat_model_signature io;
    lt_answers answers;
} bench;

static bench b;

static void open_bench(uint64_t bytes)
{
    memset(&b, 0, sizeof(b));
    b.allocator = test_allocator_init(&b.state);
    lt_memory_init(&b.memory, &b.allocator, 0);
    b.io = (leat_model_signature){
        .inputs = &one_io, .n_inputs = 1, .outputs = &one_io, .n_outputs = 1};
    assert_true(lt_answers_make(&b.answers, &b.memory, &b.io, bytes));
    assert_int_equal(b.memory.live_blocks, 1);
    assert_true(b.memory.live_bytes <= bytes);
}

static void close_bench(void)
{
    assert_int_equal(b.memory.allocations, 1); /* nothing later */
    lt_answers_free(&b.answers);
    assert_int_equal(b.memory.live_blocks, 0);
}

static leat_array array_of(void *data, size_t bytes)
{
    return (leat_array){LEAT_DTYPE_U8, 1, {(int64_t)bytes}, data, bytes};
}

/* Bytes that a number has. */
static leat_array fill(unsigned char *data, size_t bytes, uint32_t number)
{
    for (size_t i = 0; i < bytes; i++) {
        data[i] = (unsigned char)(number * 31 + i * 7 + (number >> 8));
    }
    return array_of(data, bytes);
}

static bool put(uint32_t number, size_t in_bytes, size_t out_bytes)
{
    static unsigned char in[BLOCK], out[BLOCK];
    const leat_array x = fill(in, in_bytes, number), y = fill(out, out_bytes, ~number);
    lt_answer *answer = lt_answers_place(&b.answers, &x, &y);
    if (answer == NULL) {
        return false;
    }
    lt_answers_fill(&b.io, answer, &x, &y);
    assert_null(lt_answers_find(&b.answers, number + 1));
    lt_answers_publish(&b.answers, answer, number + 1, number);
    return true;
}

/* Whether it is there; whole, then. */
static bool has(uint32_t number, size_t in_bytes, size_t out_bytes)
{
    static unsigned char in[BLOCK], out[BLOCK];
    const leat_array x = fill(in, in_bytes, number), y = fill(out, out_bytes, ~number);
    const lt_answer *answer = lt_answers_find(&b.answers, number + 1);
    if (answer == NULL) {
        return false;
    }
    assert_int_equal(answer->group, number);
    assert_true(lt_answers_same(&b.io, answer->inputs, &x));
    assert_int_equal(answer->outputs[0].bytes, out_bytes);
    assert_memory_equal(answer->outputs[0].data, y.data, out_bytes);
    assert_int_equal((uintptr_t)answer->outputs[0].data % LT_ALIGNMENT, 0);
    return true;
}

static void hashes_tell_bytes_shapes_and_groups_apart(void **state)
{
    (void)state;
    static uint64_t seen[4096];
    unsigned char data[70] = {0};
    size_t n = 0;
    b.io = (leat_model_signature){.inputs = &one_io, .n_inputs = 1};
    for (size_t bytes = 0; bytes <= sizeof(data); bytes++) {
        leat_array x = array_of(data, bytes);
        seen[n++] = lt_answers_hash(&b.io, 0, &x);
        for (size_t i = 0; i < bytes; i++) { /* each byte by a bit */
            data[i] ^= (unsigned char)(1u << i % 8);
            seen[n++] = lt_answers_hash(&b.io, 0, &x);
            data[i] = 0;
        }
        seen[n++] = lt_answers_hash(&b.io, 1, &x);
        x.shape[0] = (int64_t)bytes / 2;
        x.shape[1] = 2;
        x.rank = 2;
        seen[n++] = lt_answers_hash(&b.io, 0, &x);
    }
    for (size_t i = 0; i < n; i++) {
        assert_true(seen[i] != 0);
        for (size_t k = 0; k < i; k++) {
            assert_true(seen[i] != seen[k]);
        }
    }
}

static void inputs_that_differ_anywhere_are_not_the_same(void **state)
{
    (void)state;
    unsigned char data[2][9] = {{0}};
    leat_array x = array_of(data[0], 8), y = array_of(data[1], 8);
    b.io = (leat_model_signature){.inputs = &one_io, .n_inputs = 1};
    assert_true(lt_answers_same(&b.io, &x, &y));
    data[1][7] = 1;
    assert_false(lt_answers_same(&b.io, &x, &y));
    data[1][7] = 0;
    y = array_of(data[1], 9);
    assert_false(lt_answers_same(&b.io, &x, &y));
    y = (leat_array){LEAT_DTYPE_U8, 2, {4, 2}, data[1], 8};
    assert_false(lt_answers_same(&b.io, &x, &y));
    y.shape[1] = 0;
    y.bytes = x.bytes = 0;
    y.data = NULL;
    assert_false(lt_answers_same(&b.io, &x, &y));
}

static void what_was_not_asked_for_goes_when_bytes_run_out(void **state)
{
    (void)state;
    open_bench(BLOCK);
    const uint32_t each = 64 + 2 * sizeof(leat_array); /* at least */
    uint32_t n = 0;
    while (b.answers.n_evicted == 0) {
        assert_true(put(n++, 500, 300));
        assert_true(b.answers.listed_bytes <= BLOCK);
    }
    assert_in_range(n, 8, BLOCK / (800 + each) + 1);
    assert_int_equal(b.answers.n_listed, n - 1);
    assert_false(has(0, 500, 300));
    for (uint32_t i = 1; i < n; i++) {
        assert_true(has(i, 500, 300));
    }
    lt_answers_find(&b.answers, 1 + 1)->recent = true;
    assert_true(put(n, 500, 300)); /* in the place of 2, not of 1 */
    assert_true(has(1, 500, 300) && !has(2, 500, 300) && has(3, 500, 300));
    for (uint32_t i = 1; i < 4 * n; i++) { /* 1 has had its turn, and goes */
        assert_true(put(n + i, 500, 300));
        assert_int_equal(b.answers.n_listed, n - 1);
    }
    assert_false(has(1, 500, 300));
    assert_true(has(5 * n - 1, 500, 300));
    close_bench();
}

static void what_is_read_stays(void **state)
{
    (void)state;
    open_bench(BLOCK);
    uint32_t n = 0;
    assert_true(put(n++, 100, 100));
    lt_answer *read = lt_answers_find(&b.answers, 1);
    atomic_fetch_add(&read->readers, 1);
    while (n < 500) {
        assert_true(put(n++, 100, 100));
        assert_true(has(0, 100, 100));
    }
    assert_false(put(n, BLOCK, 1)); /* never fits */
    const size_t room = (size_t)(b.answers.end - b.answers.first);
    assert_false(put(n, room - 500, 1)); /* it is in the way */
    atomic_fetch_sub(&read->readers, 1);
    assert_true(put(n, room - 500, 1));
    assert_int_equal(b.answers.n_listed, 1);
    close_bench();
}

static void a_hash_has_one_answer(void **state)
{
    (void)state;
    open_bench(BLOCK);
    unsigned char data[8] = {1};
    const leat_array x = array_of(data, 8);
    lt_answer *first = lt_answers_place(&b.answers, &x, &x);
    lt_answer *second = lt_answers_place(&b.answers, &x, &x);
    assert_true(first != NULL && second != NULL && first != second);
    lt_answers_fill(&b.io, second, &x, &x);
    lt_answers_publish(&b.answers, second, 7, 0);
    lt_answers_fill(&b.io, first, &x, &x);
    lt_answers_publish(&b.answers, first, 7, 0);
    assert_ptr_equal(lt_answers_find(&b.answers, 7), second);
    assert_int_equal(b.answers.n_listed, 1);
    close_bench();
}

/* Sizes at random: what is found is whole, and nothing is lost but for room. */
static void answers_of_any_size_stay_whole(void **state)
{
    (void)state;
    enum {
        N = 20000
    };
    static size_t in_bytes[N], out_bytes[N];
    uint32_t seed = 5;
    open_bench(BLOCK + 17);
    for (uint32_t n = 0; n < N; n++) {
        seed = seed * 1664525u + 1013904223u;
        in_bytes[n] = (seed >> 8) % (n % 10 == 0 ? 5000 : 200);
        out_bytes[n] = (seed >> 20) % 300;
        assert_true(put(n, in_bytes[n], out_bytes[n]));
        if (n % 50 == 0) {
            uint64_t found = 0;
            for (uint32_t i = n > 2000 ? n - 2000 : 0; i <= n; i++) {
                found += has(i, in_bytes[i], out_bytes[i]);
            }
            assert_int_equal(found, b.answers.n_listed);
            assert_true(n < 100 || found > 5);
        }
        const uint32_t again = n - (seed >> 4) % (n < 30 ? n + 1 : 30);
        lt_answer *asked = lt_answers_find(&b.answers, again + 1);
        if (asked != NULL) {
            asked->recent = true;
        }
    }
    assert_int_equal(b.answers.n_listed + b.answers.n_evicted, N);
    close_bench();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_tell_bytes_shapes_and_groups_apart),
        cmocka_unit_test(inputs_that_differ_anywhere_are_not_the_same),
        cmocka_unit_test(what_was_not_asked_for_goes_when_bytes_run_out),
        cmocka_unit_test(what_is_read_stays),
        cmocka_unit_test(a_hash_has_one_answer),
        cmocka_unit_test(answers_of_any_size_stay_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

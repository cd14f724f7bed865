/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "runtime/host.h"
#include "runtime/weights.h"

#include <unistd.h>

static leat_context *context;
static lt_weights *weights;
static const float shared[4] = {1, 2, 3, 4};
static const float alone[4] = {5, 6, 7, 8};
static const void *constants[1] = {shared};
static int fills;

static int setup(void **state)
{
    (void)state;
    leat_context_desc desc = {.struct_size = sizeof(desc), .threads = 1};
    fills = 0;
    return leat_context_create(&desc, &context, NULL) != LEAT_OK ||
           lt_weights_create(lt_device_cpu(context), constants, 1, &weights, NULL) != LEAT_OK;
}

static int teardown(void **state)
{
    (void)state;
    lt_weights_destroy(weights);
    leat_context_destroy(context);
    return 0;
}

static leat_value value_of(const float *data)
{
    return (leat_value){
        .name = "w", .dtype = LEAT_DTYPE_F32, .rank = 1, .shape = {4}, .data = data, .bytes = 16};
}

static leat_status twice(void *out, size_t bytes, const leat_value *constant, const void *argument,
                         leat_error *err)
{
    (void)err;
    fills++;
    for (size_t i = 0; i < bytes / 4; i++) {
        ((float *)out)[i] = ((const float *)constant->data)[i] * *(const float *)argument;
    }
    return LEAT_OK;
}

static leat_status refuse(void *out, size_t bytes, const leat_value *constant, const void *argument,
                          leat_error *err)
{
    (void)out, (void)bytes, (void)constant, (void)argument;
    if (err != NULL) {
        err->status = LEAT_UNSUPPORTED;
    }
    return LEAT_UNSUPPORTED;
}

static const float two = 2, three = 3;

static void get_same_key_fills_once(void **state)
{
    (void)state;
    leat_error err = {0};
    leat_value w = value_of(shared);
    const void *first, *second, *other;
    assert_ok(lt_weights_get(weights, &w, 1, 16, twice, &two, &first, &err), &err);
    assert_ok(lt_weights_get(weights, &w, 1, 16, twice, &two, &second, &err), &err);
    assert_int_equal(fills, 1);
    assert_ptr_equal(first, second);
    assert_int_equal((uintptr_t)first % 64, 0);
    assert_true(((const float *)first)[3] == 8);
    assert_ok(lt_weights_get(weights, &w, 2, 16, twice, &three, &other, &err), &err);
    assert_ptr_not_equal(first, other);
    assert_true(((const float *)other)[3] == 12);
    assert_int_equal(lt_weights_bytes(weights), 32);
}

static leat_status number_words(void *out, size_t bytes, const leat_value *constant,
                                const void *argument, leat_error *err)
{
    (void)constant, (void)err;
    for (size_t i = 0; i < bytes / 4; i++) {
        ((uint32_t *)out)[i] = (uint32_t)i * 2654435761u + *(const uint32_t *)argument;
    }
    return LEAT_OK;
}

/* Large blocks pass through the context's threads first, several in one region. */
static void get_large_blocks_keep_what_others_hold(void **state)
{
    (void)state;
    static const size_t words[] = {1310721, 262147, 17, 1179651, 3, 2097153};
    enum {
        N = sizeof(words) / sizeof(words[0])
    };
    leat_context_desc desc = {.struct_size = sizeof(desc), .threads = 2};
    leat_context *two_threads;
    lt_weights *large;
    leat_error err = {0};
    leat_value w = value_of(shared);
    const void *blocks[N];
    assert_ok(leat_context_create(&desc, &two_threads, &err), &err);
    assert_ok(lt_weights_create(lt_device_cpu(two_threads), constants, 1, &large, &err), &err);
    for (uint32_t i = 0; i < N; i++) {
        assert_ok(lt_weights_get(large, &w, i, words[i] * 4, number_words, &i, &blocks[i], &err),
                  &err);
    }
    for (uint32_t i = 0; i < N; i++) {
        for (size_t j = 0; j < words[i]; j++) {
            if (((const uint32_t *)blocks[i])[j] != (uint32_t)j * 2654435761u + i) {
                fail_msg("block %u differs at word %zu", i, j);
            }
        }
    }
    lt_weights_destroy(large);
    leat_context_destroy(two_threads);
}

/* Four megabytes in smaller regions, then one of two large pages. */
static void get_opens_large_region_at_large_page(void **state)
{
    (void)state;
    const size_t mib = (size_t)1 << 20;
    const uint32_t zero = 0;
    leat_error err = {0};
    leat_value w = value_of(shared);
    const void *block = NULL;
    for (uint32_t i = 0; i < 5; i++) {
        assert_ok(lt_weights_get(weights, &w, i, mib, number_words, &zero, &block, &err), &err);
    }
    assert_int_equal((uintptr_t)block % (2 * mib), 0);
}

/* Weights that fill half of the second-level cache lie side by side in one large page, the more of
 * them than was expected behind it. */
static void get_expected_weights_lie_in_one_large_page(void **state)
{
    (void)state;
    const long cache = sysconf(_SC_LEVEL2_CACHE_SIZE);
    const size_t quarter = (size_t)(cache > 0 ? cache / 4 : 0) / 64 * 64;
    const size_t page = (size_t)2 << 20;
    if (quarter < 4096 || 2 * quarter > page / 2) {
        print_message("the size of the second-level cache is not known, or too large\n");
        skip();
    }
    leat_error err = {0};
    leat_value w = value_of(shared);
    const void *blocks[8] = {NULL};
    lt_weights_expect(weights, 2 * quarter);
    for (uint32_t i = 0; i < 8; i++) {
        assert_ok(lt_weights_get(weights, &w, i, quarter, number_words, &i, &blocks[i], &err),
                  &err);
    }
    assert_ptr_equal(blocks[1], (const char *)blocks[0] + quarter);
    assert_int_equal((uintptr_t)blocks[0] / page, ((uintptr_t)blocks[0] + 2 * quarter - 1) / page);
    for (uint32_t i = 0; i < 8; i++) {
        for (size_t j = 0; j < quarter / 4; j++) {
            if (((const uint32_t *)blocks[i])[j] != (uint32_t)j * 2654435761u + i) {
                fail_msg("block %u differs at word %zu", i, j);
            }
        }
    }
}

static void get_other_shape_is_another_form(void **state)
{
    (void)state;
    leat_error err = {0};
    leat_value w = value_of(shared), square = value_of(shared);
    square.rank = 2;
    square.shape[0] = square.shape[1] = 2;
    const void *first, *second;
    assert_ok(lt_weights_get(weights, &w, 1, 16, twice, &two, &first, &err), &err);
    assert_ok(lt_weights_get(weights, &square, 1, 16, twice, &two, &second, &err), &err);
    assert_ptr_not_equal(first, second);
}

static void get_failing_fill_leaves_nothing(void **state)
{
    (void)state;
    leat_error err = {0};
    leat_value w = value_of(shared);
    const void *block = &w;
    assert_int_equal(lt_weights_get(weights, &w, 1, 16, refuse, NULL, &block, &err),
                     LEAT_UNSUPPORTED);
    assert_null(block);
    assert_int_equal(lt_weights_bytes(weights), 0);
    assert_ok(lt_weights_get(weights, &w, 1, 16, twice, &two, &block, &err), &err);
}

static void get_other_size_under_one_key_returns_internal(void **state)
{
    (void)state;
    leat_error err = {0};
    leat_value w = value_of(shared);
    const void *block;
    assert_ok(lt_weights_get(weights, &w, 1, 16, twice, &two, &block, &err), &err);
    assert_int_equal(lt_weights_get(weights, &w, 1, 12, twice, &two, &block, &err), LEAT_INTERNAL);
}

/* Data that does not live as long as the weights is packed for its plan alone. */
static void pack_passing_constant_is_not_shared(void **state)
{
    (void)state;
    leat_error err = {0};
    leat_plan plan;
    const leat_host *host = &context->host;
    leat_value lasting = value_of(shared), passing = value_of(alone), no_constant = value_of(NULL);
    const void *a, *b;
    lt_host_plan_init(&plan, lt_device_cpu(context), &(lt_compile_context){.weights = weights});
    assert_ok(host->plan_pack(&plan, &lasting, 1, 16, twice, &two, &a, &err), &err);
    assert_ok(host->plan_pack(&plan, &lasting, 1, 16, twice, &two, &b, &err), &err);
    assert_ptr_equal(a, b);
    assert_ok(host->plan_pack(&plan, &passing, 1, 16, twice, &two, &a, &err), &err);
    assert_ok(host->plan_pack(&plan, &passing, 1, 16, twice, &two, &b, &err), &err);
    assert_ptr_not_equal(a, b);
    assert_int_equal(fills, 3);
    assert_int_equal(lt_weights_bytes(weights), 16);
    assert_int_equal(host->plan_pack(&plan, &no_constant, 1, 16, twice, &two, &a, &err),
                     LEAT_INVALID);
    unsigned char *memory = host->plan_alloc(&plan, 1000);
    assert_int_equal((uintptr_t)memory % 64, 0);
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(memory[i], 0);
    }
    lt_host_plan_destroy(&plan);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(get_same_key_fills_once),
        TEST(get_large_blocks_keep_what_others_hold),
        TEST(get_opens_large_region_at_large_page),
        TEST(get_expected_weights_lie_in_one_large_page),
        TEST(get_other_shape_is_another_form),
        TEST(get_failing_fill_leaves_nothing),
        TEST(get_other_size_under_one_key_returns_internal),
        TEST(pack_passing_constant_is_not_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

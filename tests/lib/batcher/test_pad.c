/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "batcher/pad.h"

#include <stdlib.h>
#include <string.h>

static size_t count_of(const leat_array *x)
{
    size_t count = 1;
    for (int32_t d = 0; d < x->rank; d++) {
        count *= (size_t)x->shape[d];
    }
    return count;
}

/* Element `at` (row-major) of y must be x's at the same indices, or 0. */
static uint16_t expected(const leat_array *x, const leat_array *y, size_t at)
{
    int64_t index[LEAT_MAX_RANK];
    size_t from = 0;
    for (int32_t d = y->rank - 1; d >= 0; d--) {
        index[d] = (int64_t)(at % (size_t)y->shape[d]);
        at /= (size_t)y->shape[d];
    }
    for (int32_t d = 0; d < x->rank; d++) {
        if (index[d] >= x->shape[d]) {
            return 0;
        }
        from = from * (size_t)x->shape[d] + (size_t)index[d];
    }
    return ((const uint16_t *)x->data)[from];
}

/* All pairs of shapes up to 3x3x3x3, longer and shorter in each dimension. */
static void every_pair_of_shapes_copies_what_both_have(void **state)
{
    static uint16_t source[81], target[82];
    (void)state;
    for (int i = 0; i < 81; i++) {
        source[i] = (uint16_t)(i + 1);
    }
    for (int pair = 0; pair < 81 * 81; pair++) {
        leat_array x = {.dtype = LEAT_DTYPE_U16, .rank = 4, .data = source}, y = x;
        for (int d = 0, rest = pair; d < 4; d++, rest /= 9) {
            x.shape[d] = 1 + rest % 3;
            y.shape[d] = 1 + rest / 3 % 3;
        }
        y.data = target;
        x.bytes = 2 * count_of(&x);
        y.bytes = 2 * count_of(&y);
        memset(target, 0xff, sizeof(target));
        lt_pad_copy(&x, &y);
        for (size_t i = 0; i < count_of(&y); i++) {
            assert_int_equal(target[i], expected(&x, &y, i));
        }
        assert_int_equal(target[count_of(&y)], 0xffff);
    }
}

static void cutting_back_in_place_keeps_the_elements(void **state)
{
    uint16_t data[24], before[24];
    (void)state;
    for (int i = 0; i < 24; i++) {
        before[i] = data[i] = (uint16_t)(i + 1);
    }
    const leat_array x = {
        .dtype = LEAT_DTYPE_U16, .rank = 3, .shape = {2, 4, 3}, .data = before, .bytes = 48};
    leat_array there = x, y = x;
    there.data = y.data = data;
    y.shape[1] = 3;
    y.shape[2] = 2;
    y.bytes = 24;
    lt_pad_copy(&there, &y);
    for (size_t i = 0; i < 12; i++) {
        assert_int_equal(data[i], expected(&x, &y, i));
    }
}

static void empty_and_scalar_arrays_are_copied_too(void **state)
{
    uint16_t one = 7, other = 0;
    (void)state;
    const leat_array x = {.dtype = LEAT_DTYPE_U16, .data = &one, .bytes = 2};
    leat_array y = x;
    y.data = &other;
    lt_pad_copy(&x, &y);
    assert_int_equal(other, 7);
    const leat_array none = {.dtype = LEAT_DTYPE_U16, .rank = 2, .shape = {1, 0}};
    y.rank = 2;
    y.shape[0] = y.shape[1] = 1;
    lt_pad_copy(&none, &y);
    assert_int_equal(other, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_of_shapes_copies_what_both_have),
        cmocka_unit_test(cutting_back_in_place_keeps_the_elements),
        cmocka_unit_test(empty_and_scalar_arrays_are_copied_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

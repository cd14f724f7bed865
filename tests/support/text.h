/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors and strings of tests that are about running. */
#ifndef TESTS_SUPPORT_TEXT_H
#define TESTS_SUPPORT_TEXT_H

#include "support/test.h"

#include <string.h>

static inline leat_string test_text(const char *s)
{
    return (leat_string){s, strlen(s)};
}

/* n elements of a type at data. */
static inline leat_array test_vector(leat_dtype dtype, void *data, int64_t n)
{
    return (leat_array){dtype, 1, {n}, data, leat_dtype_bytes(dtype, (size_t)n)};
}

/* Element i of an array of strings is `wanted`. */
static inline void test_assert_text(const leat_array *array, int64_t i, const char *wanted)
{
    const leat_string *s = (const leat_string *)array->data + i;
    assert_int_equal(array->dtype, LEAT_DTYPE_STRING);
    assert_int_equal(s->bytes, strlen(wanted));
    assert_memory_equal(s->data, wanted, s->bytes);
}

/* All elements of an array, n along its last dimension. */
static inline void test_assert_texts(const leat_array *array, const char *const *wanted, int64_t n)
{
    assert_int_equal(array->shape[array->rank - 1], n);
    for (int64_t i = 0; i < n; i++) {
        test_assert_text(array, i, wanted[i]);
    }
}

#endif

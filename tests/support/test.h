/* SPDX-License-Identifier: Apache-2.0 */
/* What every test includes first. */
#ifndef TESTS_SUPPORT_TEST_H
#define TESTS_SUPPORT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"

#include <leat/leat.h>

/* Fails the test with the error's message unless the call returned LEAT_OK. */
#define assert_ok(call, err)                                                                       \
    do {                                                                                           \
        leat_status status_ = (call);                                                              \
        if (status_ != LEAT_OK) {                                                                  \
            fail_msg("%s: %s: %s", #call, leat_status_text(status_), (err)->message);              \
        }                                                                                          \
    } while (0)

/* An allocator for tests: counts live blocks and fails after `allow` allocations. */
typedef struct test_allocator {
    long allow; /* allocations that still succeed; negative: all */
    long live;
    long calls;
} test_allocator;

/* allocator->user is `state`; state->allow is set to -1. Thread-safe. */
leat_allocator test_allocator_init(test_allocator *state);

/* A walk over failing allocations: calls attempt(argument, allocator, err) with 0, 1, 2, ...
 * allocations allowed until it returns LEAT_OK. Each failure must be NO_MEMORY and leave no live
 * block; `attempt` itself frees what it made on success. Fails the test otherwise. */
void test_walk_allocations(leat_status (*attempt)(void *argument, const leat_allocator *allocator,
                                                  leat_error *err),
                           void *argument);

#endif

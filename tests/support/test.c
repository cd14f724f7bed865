/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include <stdlib.h>

static void *counting_alloc(void *user, size_t bytes, size_t alignment)
{
    test_allocator *state = user;
    __atomic_add_fetch(&state->calls, 1, __ATOMIC_RELAXED);
    if (state->allow >= 0 && __atomic_sub_fetch(&state->allow, 1, __ATOMIC_RELAXED) < 0) {
        __atomic_store_n(&state->allow, 0, __ATOMIC_RELAXED);
        return NULL;
    }
    void *block = NULL;
    if (posix_memalign(&block, alignment < sizeof(void *) ? sizeof(void *) : alignment, bytes)) {
        return NULL;
    }
    __atomic_add_fetch(&state->live, 1, __ATOMIC_RELAXED);
    return block;
}

static void counting_free(void *user, void *block, size_t bytes)
{
    test_allocator *state = user;
    (void)bytes;
    __atomic_sub_fetch(&state->live, 1, __ATOMIC_RELAXED);
    free(block);
}

leat_allocator test_allocator_init(test_allocator *state)
{
    state->allow = -1;
    state->live = 0;
    state->calls = 0;
    leat_allocator allocator = {counting_alloc, counting_free, state};
    return allocator;
}

void test_walk_allocations(leat_status (*attempt)(void *argument, const leat_allocator *allocator,
                                                  leat_error *err),
                           void *argument)
{
    for (long allow = 0; allow < 100000; allow++) {
        test_allocator state;
        leat_allocator allocator = test_allocator_init(&state);
        leat_error err = {0};
        state.allow = allow;
        leat_status status = attempt(argument, &allocator, &err);
        if (state.live != 0) {
            fail_msg("%ld blocks left after %ld allocations (status %s)", state.live, allow,
                     leat_status_text(status));
        }
        if (status == LEAT_OK) {
            assert_true(allow > 0 || state.calls == 0);
            return;
        }
        if (status != LEAT_NO_MEMORY) {
            fail_msg("allowed %ld allocations: %s instead of no memory: %s", allow,
                     leat_status_text(status), err.message);
        }
    }
    fail_msg("never succeeded");
}

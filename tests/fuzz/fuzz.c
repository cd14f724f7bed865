/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fuzz_fail(const char *what)
{
    fprintf(stderr, "fuzz: %s\n", what);
    abort();
}

static void *allocate(void *user, size_t bytes, size_t alignment)
{
    void *block = NULL;
    alignment = alignment < sizeof(void *) ? sizeof(void *) : alignment;
    if (posix_memalign(&block, alignment, bytes ? bytes : 1) != 0) {
        return NULL;
    }
    __atomic_fetch_add((long *)user, 1, __ATOMIC_RELAXED);
    return block;
}

static void release(void *user, void *block, size_t bytes)
{
    (void)bytes;
    if (block != NULL) {
        __atomic_fetch_sub((long *)user, 1, __ATOMIC_RELAXED);
        free(block);
    }
}

void fuzz_open(fuzz_context *fuzz)
{
    leat_error err;
    memset(fuzz, 0, sizeof(*fuzz));
    fuzz->allocator = (leat_allocator){.user = &fuzz->live, .alloc = allocate, .free = release};
    leat_context_desc desc = {.struct_size = sizeof(desc),
                              .allocator = &fuzz->allocator,
                              .threads = 1,
                              .memory_budget = FUZZ_BUDGET};
    if (leat_context_create(&desc, &fuzz->context, &err) != LEAT_OK) {
        fuzz_fail(err.message);
    }
}

void fuzz_close(fuzz_context *fuzz)
{
    leat_context_destroy(fuzz->context);
    if (fuzz->live != 0) {
        fuzz_fail("memory is still allocated");
    }
}

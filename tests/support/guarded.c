/* SPDX-License-Identifier: Apache-2.0 */
#include "support/guarded.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if __has_include(<sanitizer/asan_interface.h>)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(from, bytes) ((void)(from), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(from, bytes) ((void)(from), (void)(bytes))
#endif

#define PATTERN 0xa5

uint8_t *guarded_make(guarded *g, size_t bytes, size_t alignment, bool at_end)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    memset(g, 0, sizeof(*g));
    const size_t inner = (bytes + page - 1) / page * page;
    uint8_t *all = mmap(NULL, inner + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) {
        return NULL;
    }
    g->bytes = bytes;
    g->pages = all + page;
    g->pages_bytes = inner;
    g->data = g->pages + (at_end ? (inner - bytes) / alignment * alignment : 0);
    if (inner > 0 && mprotect(g->pages, inner, PROT_READ | PROT_WRITE) != 0) {
        (void)guarded_free(g);
        return NULL;
    }
    memset(g->pages, PATTERN, inner);
    /* What is left of the pages: the address sanitizer sees what leaves the array by less. */
    ASAN_POISON_MEMORY_REGION(g->pages, g->data - g->pages);
    ASAN_POISON_MEMORY_REGION(g->data + bytes, inner - bytes - (size_t)(g->data - g->pages));
    return g->data;
}

guarded guarded_of(void *data, size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *first = data;
    return (guarded){first, bytes, first - (uintptr_t)first % page,
                     (bytes + page - 1) / page * page};
}

static bool untouched(const uint8_t *from, const uint8_t *to)
{
    while (from < to && *from == PATTERN) {
        from++;
    }
    return from == to;
}

bool guarded_free(guarded *g)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (g->pages == NULL) {
        return true;
    }
    ASAN_UNPOISON_MEMORY_REGION(g->pages, g->pages_bytes);
    const bool whole =
        untouched(g->pages, g->data) && untouched(g->data + g->bytes, g->pages + g->pages_bytes);
    munmap(g->pages - page, g->pages_bytes + 2 * page);
    memset(g, 0, sizeof(*g));
    return whole;
}

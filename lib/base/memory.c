/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LARGE_PAGE ((size_t)2 << 20)
/* A large page is cleared in a tenth of it; one that the host must find takes several times as
 * long. */
#define SLOW_NS 1500000u

static void *libc_alloc(void *user, size_t bytes, size_t alignment)
{
    (void)user;
    if (alignment <= _Alignof(max_align_t)) {
        return malloc(bytes);
    }
    void *block = NULL;
    return posix_memalign(&block, alignment, bytes) == 0 ? block : NULL;
}

static void libc_free(void *user, void *block, size_t bytes)
{
    (void)user;
    (void)bytes;
    free(block);
}

void lt_memory_init(lt_memory *memory, const leat_allocator *allocator, uint64_t budget)
{
    static const leat_allocator libc = {libc_alloc, libc_free, NULL};
    memset(memory, 0, sizeof(*memory));
    memory->base = allocator ? *allocator : libc;
    memory->budget = budget;
}

static bool reserve(lt_memory *memory, size_t bytes)
{
    uint64_t live = atomic_fetch_add_explicit(&memory->live_bytes, bytes, memory_order_relaxed);
    uint64_t now = live + bytes;
    if (now < live || (memory->budget != 0 && now > memory->budget)) {
        atomic_fetch_sub_explicit(&memory->live_bytes, bytes, memory_order_relaxed);
        return false;
    }
    uint64_t peak = atomic_load_explicit(&memory->peak_bytes, memory_order_relaxed);
    while (now > peak &&
           !atomic_compare_exchange_weak_explicit(&memory->peak_bytes, &peak, now,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
    return true;
}

void *lt_alloc(lt_memory *memory, size_t bytes, size_t alignment)
{
    bytes = bytes ? bytes : 1;
    if (!reserve(memory, bytes)) {
        return NULL;
    }
    void *block = memory->base.alloc(memory->base.user, bytes, alignment);
    if (block == NULL) {
        atomic_fetch_sub_explicit(&memory->live_bytes, bytes, memory_order_relaxed);
        return NULL;
    }
    atomic_fetch_add_explicit(&memory->live_blocks, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&memory->allocations, 1, memory_order_relaxed);
    return block;
}

void lt_memory_advise_large(void *block, size_t bytes)
{
#ifdef MADV_HUGEPAGE
    uintptr_t begin = ((uintptr_t)block + LARGE_PAGE - 1) & ~(LARGE_PAGE - 1);
    uintptr_t end = ((uintptr_t)block + bytes) & ~(LARGE_PAGE - 1);
    if (begin < end) {
        (void)madvise((void *)begin, end - begin, MADV_HUGEPAGE);
    }
#else
    (void)block;
    (void)bytes;
#endif
}

void lt_memory_touch_large(void *block, size_t bytes)
{
    char *end = (char *)block + bytes;
    char *page = (char *)block + (LARGE_PAGE - (uintptr_t)block % LARGE_PAGE) % LARGE_PAGE;
    bool quick = true;
    for (; quick && page < end && (size_t)(end - page) >= LARGE_PAGE; page += LARGE_PAGE) {
        lt_memory_advise_large(page, LARGE_PAGE);
        uint64_t start = lt_clock_ns();
        *(volatile char *)page = 0;
        quick = lt_clock_ns() - start < SLOW_NS;
    }
}

void *lt_alloc_zeroed(lt_memory *memory, size_t bytes, size_t alignment)
{
    void *block = lt_alloc(memory, bytes, alignment);
    if (block != NULL) {
        memset(block, 0, bytes);
    }
    return block;
}

char *lt_copy_text(lt_memory *memory, const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = lt_alloc(memory, bytes, 1);
    return copy ? memcpy(copy, text, bytes) : NULL;
}

void lt_free(lt_memory *memory, void *block, size_t bytes)
{
    if (block == NULL) {
        return;
    }
    bytes = bytes ? bytes : 1;
    memory->base.free(memory->base.user, block, bytes);
    atomic_fetch_sub_explicit(&memory->live_bytes, bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&memory->live_blocks, 1, memory_order_relaxed);
}

struct lt_arena_chunk {
    lt_arena_chunk *next;
    size_t bytes; /* of the whole chunk, this header included */
    size_t used;
};

void lt_arena_init(lt_arena *arena, lt_memory *memory, size_t chunk_bytes)
{
    arena->memory = memory;
    arena->chunks = NULL;
    arena->chunk_bytes = chunk_bytes ? chunk_bytes : 64u << 10;
}

void lt_arena_destroy(lt_arena *arena)
{
    while (arena->chunks != NULL) {
        lt_arena_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        lt_free(arena->memory, chunk, chunk->bytes);
    }
}

/* Places a block in a chunk, or returns NULL when it does not fit. */
static void *place(lt_arena_chunk *chunk, size_t bytes, size_t alignment)
{
    uintptr_t base = (uintptr_t)chunk;
    uintptr_t start = (base + chunk->used + alignment - 1) & ~(uintptr_t)(alignment - 1);
    size_t offset = (size_t)(start - base);
    if (offset > chunk->bytes || bytes > chunk->bytes - offset) {
        return NULL;
    }
    chunk->used = offset + bytes;
    return (void *)start;
}

void *lt_arena_take(lt_arena *arena, size_t bytes, size_t alignment)
{
    void *block = arena->chunks ? place(arena->chunks, bytes, alignment) : NULL;
    if (block == NULL) {
        size_t need;
        if (!lt_add(bytes, sizeof(lt_arena_chunk) + alignment, &need)) {
            return NULL;
        }
        size_t chunk_bytes = need > arena->chunk_bytes ? need : arena->chunk_bytes;
        lt_arena_chunk *chunk = lt_alloc(arena->memory, chunk_bytes, LT_ALIGNMENT);
        if (chunk == NULL) {
            return NULL;
        }
        chunk->bytes = chunk_bytes;
        chunk->used = sizeof(*chunk);
        /* A chunk made for one large block goes behind the current one, which may have room. */
        if (arena->chunks != NULL && need > arena->chunk_bytes) {
            chunk->next = arena->chunks->next;
            arena->chunks->next = chunk;
        } else {
            chunk->next = arena->chunks;
            arena->chunks = chunk;
        }
        block = place(chunk, bytes, alignment);
    }
    return block;
}

void *lt_arena_alloc(lt_arena *arena, size_t bytes, size_t alignment)
{
    void *block = lt_arena_take(arena, bytes, alignment);
    if (block != NULL) {
        memset(block, 0, bytes);
    }
    return block;
}

void *lt_arena_array(lt_arena *arena, size_t count, size_t element_bytes)
{
    size_t bytes;
    return lt_mul(count, element_bytes, &bytes) ? lt_arena_alloc(arena, bytes, 16) : NULL;
}

char *lt_arena_string_n(lt_arena *arena, const char *text, size_t bytes)
{
    size_t with_end;
    if (!lt_add(bytes, 1, &with_end)) {
        return NULL;
    }
    char *copy = lt_arena_alloc(arena, with_end, 1);
    if (copy != NULL && bytes != 0) {
        memcpy(copy, text, bytes);
    }
    return copy;
}

char *lt_arena_string(lt_arena *arena, const char *text)
{
    return lt_arena_string_n(arena, text, strlen(text));
}

void *lt_arena_copy(lt_arena *arena, const void *source, size_t bytes)
{
    void *copy = lt_arena_alloc(arena, bytes, 16);
    if (copy != NULL && bytes != 0) {
        memcpy(copy, source, bytes);
    }
    return copy;
}

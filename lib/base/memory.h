/* SPDX-License-Identifier: Apache-2.0 */
/* Counted memory with a budget, arenas, and size arithmetic that cannot overflow. */
#ifndef LT_BASE_MEMORY_H
#define LT_BASE_MEMORY_H

#include <leat/leat.h>
#include <stdatomic.h>
#include <stdbool.h>

/* Bytes from which a buffer is worth its own cache lines. */
#define LT_ALIGNMENT 64u

/* An allocator with counters and a bound. One per context; everything that the context and its
 * children allocate goes through it.
 * Threads:  any. */
typedef struct lt_memory {
    leat_allocator base;
    uint64_t budget; /* bytes; 0: none */
    _Atomic uint64_t live_bytes;
    _Atomic uint64_t peak_bytes;
    _Atomic uint64_t live_blocks;
    _Atomic uint64_t allocations;
} lt_memory;

/* allocator NULL: the C library's. */
void lt_memory_init(lt_memory *memory, const leat_allocator *allocator, uint64_t budget);

/* Allocates at least one byte.
 * Units:    alignment a power of two of at most 4096.
 * Errors:   NULL when there is no memory or the budget would be passed. */
void *lt_alloc(lt_memory *memory, size_t bytes, size_t alignment);
void *lt_alloc_zeroed(lt_memory *memory, size_t bytes, size_t alignment);

/* A copy of a text, of strlen(text) + 1 bytes; NULL as above. */
char *lt_copy_text(lt_memory *memory, const char *text);

/* Frees a block of lt_alloc; `bytes` as asked for then; NULL does nothing. */
void lt_free(lt_memory *memory, void *block, size_t bytes);

/* Asks the system for large pages where a block is large enough to hold some. A hint: nothing
 * happens where there are none. */
void lt_memory_advise_large(void *block, size_t bytes);

/* The same for fresh memory that is used once: touches its large pages until one takes long. On a
 * virtual machine whose host takes back what is free, a large page may be twenty times as long in
 * coming as small ones, which the guest has at hand; what is left of the block then gets those. */
void lt_memory_touch_large(void *block, size_t bytes);

/* A region whose blocks are freed all at once. Not safe for several threads. */
typedef struct lt_arena_chunk lt_arena_chunk;
typedef struct lt_arena {
    lt_memory *memory;
    lt_arena_chunk *chunks;
    size_t chunk_bytes;
} lt_arena;

/* chunk_bytes: least size of one piece asked from `memory`; 0: 64 KiB. Allocates nothing. */
void lt_arena_init(lt_arena *arena, lt_memory *memory, size_t chunk_bytes);
void lt_arena_destroy(lt_arena *arena);

/* Zeroed memory that lives as long as the arena. NULL when there is none. */
void *lt_arena_alloc(lt_arena *arena, size_t bytes, size_t alignment);
/* The same, not zeroed: for blocks that are written whole at once. */
void *lt_arena_take(lt_arena *arena, size_t bytes, size_t alignment);
/* A zeroed array; NULL also when count * element_bytes overflows. */
void *lt_arena_array(lt_arena *arena, size_t count, size_t element_bytes);
/* Copies of strings, terminated. */
char *lt_arena_string(lt_arena *arena, const char *text);
char *lt_arena_string_n(lt_arena *arena, const char *text, size_t bytes);
void *lt_arena_copy(lt_arena *arena, const void *source, size_t bytes);

/* false on overflow; *out is then untouched. */
static inline bool lt_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool lt_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* Rounds up to a multiple of a power of two; false on overflow. */
static inline bool lt_align_up(size_t value, size_t alignment, size_t *out)
{
    size_t sum;
    if (!lt_add(value, alignment - 1, &sum)) {
        return false;
    }
    *out = sum & ~(alignment - 1);
    return true;
}

#endif

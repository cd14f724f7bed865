/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays with a page behind or before them that no access survives. Compilers do not instrument
 * masked vector loads and stores, so that a sanitizer does not see one that leaves its array. */
#ifndef TESTS_SUPPORT_GUARDED_H
#define TESTS_SUPPORT_GUARDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct guarded {
    uint8_t *data;
    size_t bytes;
    uint8_t *pages; /* those between the two guards, and their bytes; NULL: nothing is held */
    size_t pages_bytes;
} guarded;

/* Makes `bytes` of memory: from the first byte of a page, or (`at_end`) up to the last one that
 * keeps the alignment, a power of two. What is left of its pages has a pattern. Returns its data;
 * NULL without memory. */
uint8_t *guarded_make(guarded *g, size_t bytes, size_t alignment, bool at_end);
/* What guarded_make made at an end. */
guarded guarded_of(void *data, size_t bytes);
/* Frees it (or nothing); false when a byte outside of it was written to. */
bool guarded_free(guarded *g);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A map from names to numbers: open addressing, in an arena. */
#ifndef LT_ONNX_NAMES_H
#define LT_ONNX_NAMES_H

#include "base/memory.h"

typedef struct lt_name_slot {
    const char *name; /* not terminated; NULL: free */
    size_t bytes;
    uint32_t value;
} lt_name_slot;

/* All zero is an empty map. Names are borrowed. */
typedef struct lt_names {
    lt_name_slot *slots;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
} lt_names;

/* The number of a name; `otherwise` when it is not there. */
uint32_t lt_names_find(const lt_names *names, const char *name, size_t bytes, uint32_t otherwise);

/* Sets the number of a name.
 * Errors:   false when there is no memory. */
bool lt_names_put(lt_names *names, lt_arena *arena, const char *name, size_t bytes, uint32_t value);

#endif

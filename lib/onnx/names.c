/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/names.h"

#include <string.h>

/* FNV-1a (Fowler, Noll, Vo), with a last mix so that the low bits depend on all of it. */
static size_t hash(const char *name, size_t bytes)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < bytes; i++) {
        h = (h ^ (uint8_t)name[i]) * 0x100000001b3u;
    }
    return (size_t)(h ^ h >> 32);
}

static lt_name_slot *slot_of(const lt_names *names, const char *name, size_t bytes)
{
    for (size_t i = hash(name, bytes);; i++) {
        lt_name_slot *slot = &names->slots[i & (names->capacity - 1)];
        /* The empty name may be a null pointer. */
        if (slot->name == NULL ||
            (slot->bytes == bytes && (bytes == 0 || memcmp(slot->name, name, bytes) == 0))) {
            return slot;
        }
    }
}

uint32_t lt_names_find(const lt_names *names, const char *name, size_t bytes, uint32_t otherwise)
{
    if (names->capacity == 0) {
        return otherwise;
    }
    const lt_name_slot *slot = slot_of(names, name, bytes);
    return slot->name ? slot->value : otherwise;
}

bool lt_names_put(lt_names *names, lt_arena *arena, const char *name, size_t bytes, uint32_t value)
{
    if (names->count * 2 >= names->capacity) {
        lt_names larger = {NULL, names->capacity ? names->capacity * 2 : 32, 0};
        larger.slots = lt_arena_array(arena, larger.capacity, sizeof(*larger.slots));
        if (larger.slots == NULL) {
            return false;
        }
        for (size_t i = 0; i < names->capacity; i++) {
            if (names->slots[i].name != NULL) {
                *slot_of(&larger, names->slots[i].name, names->slots[i].bytes) = names->slots[i];
                larger.count++;
            }
        }
        *names = larger;
    }
    lt_name_slot *slot = slot_of(names, name, bytes);
    names->count += slot->name == NULL;
    *slot = (lt_name_slot){name, bytes, value};
    return true;
}

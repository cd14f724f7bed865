/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files that build steps: steps_build.c (kernels, pointer table) and steps_place.c
 * (who shares memory with whom, and where it lies). */
#ifndef LT_RUNTIME_STEPS_BUILDER_H
#define LT_RUNTIME_STEPS_BUILDER_H

#include "runtime/memory_plan.h"
#include "runtime/steps.h"

/* Where a value's bytes are. Values that share memory (views, in-place results) form a set; the
 * set's facts are kept at its root. */
typedef enum place_kind {
    PLACE_NONE = 0, /* not of this segment */
    PLACE_INPUT,    /* index: input of the segment */
    PLACE_CONSTANT,
    PLACE_LOCAL /* made by a node; in an output of the segment when output >= 0, else workspace */
} place_kind;

typedef struct lt_place {
    place_kind kind;
    uint32_t parent; /* value; itself at a root */
    uint32_t index;  /* input of the segment, or item of the memory plan */
    int32_t output;  /* output of the segment whose buffer holds the set; -1: none */
    uint32_t first;  /* node that writes it first */
    uint32_t last;   /* node that reads it last; n_nodes for outputs of the segment */
    size_t bytes;
} lt_place;

/* A copy that ends the segment: an output which cannot be written in place. */
typedef struct lt_late_copy {
    uint32_t value;
    uint32_t output;
} lt_late_copy;

typedef struct lt_steps_builder {
    const leat_segment *segment;
    lt_device *device;
    leat_plan *plan;
    lt_steps *steps;
    lt_arena scratch;
    lt_place *places;
    lt_late_copy *copies;
    uint32_t n_copies;
    lt_memory_item *items; /* sets, then kernel workspaces */
    uint32_t n_items;
    uint32_t *scratch_items; /* per node: item of its kernel's workspace, or LEAT_NO_VALUE */
    uint32_t n_slots;        /* filled so far */
    leat_error *err;
} lt_steps_builder;

/* The place that holds the set of `value`. */
static inline lt_place *lt_steps_root(const lt_steps_builder *b, uint32_t value)
{
    while (b->places[value].parent != value) {
        value = b->places[value].parent;
    }
    return &b->places[value];
}

/* The node's name, or its first output's. */
const char *lt_steps_label(const lt_steps_builder *b, const leat_node *node);
leat_status lt_steps_no_memory(const lt_steps_builder *b);

/* Finds places and sets, turns views that need memory of their own into copies, and gives every set
 * and every kernel's workspace an offset. The kernels are prepared before.
 * Errors:   INTERNAL for a segment or kernel that contradicts itself; NO_MEMORY; LIMIT. */
leat_status lt_steps_place(lt_steps_builder *b) LEAT_MUST_CHECK;

/* Fills steps->over, after lt_steps_place: outputs that may be the same memory as an input, because
 * the node that writes them may do so in place and reads that input last. */
void lt_steps_find_over(const lt_steps_builder *b);

/* Makes a kernel that copies input 0 to output 0. */
leat_status lt_steps_make_copy(const lt_steps_builder *b, size_t bytes,
                               leat_kernel *out_kernel) LEAT_MUST_CHECK;
/* Whether a kernel is one of those. */
bool lt_steps_is_copy(const leat_kernel *kernel);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Values that live on beyond the plan that made them: the elements of sequences and optionals.
 *
 * A sequence is an array of leat_array. Its elements, and the sequence itself, are blocks with a
 * count of holders, so that inserting into a sequence copies pointers and no tensors. An element
 * without a block (held NULL) is borrowed from what outlives the run: the caller's input, or a
 * constant. Blocks nest three deep at most: an optional, a sequence, a tensor. */
#ifndef LT_RUNTIME_HELD_H
#define LT_RUNTIME_HELD_H

#include "base/memory.h"

typedef struct lt_held lt_held;

/* An array and the block that its data is in; held NULL: the data is someone else's. */
typedef struct lt_item {
    leat_array array;
    lt_held *held;
} lt_item;

/* One more holder; NULL is left alone. Threads: one at a time per session. */
lt_held *lt_held_retain(lt_held *held);
void lt_held_release(lt_held *held);

/* A block with a copy of a tensor, the text of strings included. With source->data NULL the block's
 * data is the caller's to fill.
 * Owns:     out_item->held has one holder, the caller.
 * Errors:   NO_MEMORY; LIMIT when sizes overflow. */
leat_status lt_held_tensor(lt_memory *memory, const leat_array *source, lt_item *out_item,
                           leat_error *err) LEAT_MUST_CHECK;

/* A block for strings and `text_bytes` of text behind them, at *out_text; both are the caller's to
 * fill.
 * Owns, Errors: as lt_held_tensor. */
leat_status lt_held_strings(lt_memory *memory, int32_t rank, const int64_t *shape,
                            size_t text_bytes, lt_item *out_item, char **out_text,
                            leat_error *err) LEAT_MUST_CHECK;

/* A block for a sequence or optional of n elements, to be filled by lt_held_put.
 * Owns:     as lt_held_tensor. */
leat_status lt_held_arrays(lt_memory *memory, leat_dtype dtype, size_t n, lt_item *out_item,
                           leat_error *err) LEAT_MUST_CHECK;

/* Element i of a new sequence or optional; its block gets one more holder. */
void lt_held_put(lt_item *container, size_t i, const lt_item *element);

/* Element i of a sequence or optional, without one more holder. */
lt_item lt_held_get(const lt_item *container, size_t i);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Which requests may share a batch: the model's batch dimension, and a request's key. */
#ifndef LT_BATCHER_KEY_H
#define LT_BATCHER_KEY_H

#include <leat/leat.h>
#include <stdbool.h>

/* Bytes of an input without the batch dimension that fit a key. */
#define LT_KEY_CONTENT_BYTES 64u

/* Words of a key: the group, and for every input its rank, its dimensions but the batch, and the
 * content of one without it. */
#define LT_KEY_WORDS(n_inputs) (1u + (n_inputs) * (1u + LEAT_MAX_RANK + LT_KEY_CONTENT_BYTES / 8u))

/* Whether the first dimension of each input is the batch: out_batched[n_inputs].
 * Errors:   UNSUPPORTED when none is, when an output's first dimension is fixed, or for a type that
 *           cannot be put in rows. */
leat_status lt_key_batched(const leat_model_signature *io, bool *out_batched,
                           leat_error *err) LEAT_MUST_CHECK;

/* Checks a request's inputs and makes its key. words: LT_KEY_WORDS. batched NULL: every request is
 * one row, and its inputs' contents do not matter.
 * Errors:   INVALID for inputs that are not the model's or do not agree in rows. */
leat_status lt_key_make(const leat_model_signature *io, const bool *batched,
                        const leat_array *inputs, uint64_t group, uint64_t *words,
                        uint32_t *out_rows, leat_error *err) LEAT_MUST_CHECK;

/* FNV-1a over words (Fowler, Noll and Vo). */
uint64_t lt_key_hash(const uint64_t *words, uint32_t n_words);

/* Bytes of one row of an array whose first dimension is rows (at least 1). */
static inline size_t lt_key_row_bytes(const leat_array *array)
{
    return array->shape[0] > 0 ? array->bytes / (size_t)array->shape[0] : 0;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Which requests may share a batch: the model's batch dimension, and a request's key. */
#ifndef LT_BATCHER_KEY_H
#define LT_BATCHER_KEY_H

#include "batcher/buckets.h"

#include <leat/leat.h>
#include <stdbool.h>

/* Bytes of an input without the batch dimension that fit a key. */
#define LT_KEY_CONTENT_BYTES 64u

/* Words of a key: the group, and for every input its rank, its dimensions but the batch, and the
 * content of one without it. */
#define LT_KEY_WORDS(n_inputs) (1u + (n_inputs) * (1u + LEAT_MAX_RANK + LT_KEY_CONTENT_BYTES / 8u))

#define LT_BATCHER_MAX_INPUTS 64u

/* What a request is to the batcher. */
typedef struct lt_request_kind {
    uint64_t words[LT_KEY_WORDS(LT_BATCHER_MAX_INPUTS)];
    uint64_t hash; /* of the words */
    uint32_t rows;
    int64_t length; /* of the dimension that is padded; 0: none is */
    int64_t padded; /* to this length */
} lt_request_kind;

/* What tells which requests may meet. */
typedef struct lt_key_rules {
    const leat_model_signature *io;
    bool *batched; /* [n_inputs]: the first dimension is the batch; NULL: every request is one row,
                      and its inputs' contents do not matter */
    uint32_t *padded_in;       /* [n_inputs]: bit d: dimension d is padded; NULL: none is */
    uint32_t *padded_out;      /* [n_outputs]: bit d: dimension d is cut back */
    const lt_buckets *buckets; /* to which lengths dimensions are padded */
} lt_key_rules;

/* Whether all inputs and outputs can be moved by whole bytes.
 * Errors:   UNSUPPORTED. */
leat_status lt_key_check_types(const leat_model_signature *io, leat_error *err) LEAT_MUST_CHECK;

/* Fills batched from the model.
 * Errors:   UNSUPPORTED when no input has rows, when an output's first dimension is fixed, or for a
 *           type that cannot be put in rows. */
leat_status lt_key_find_rows(lt_key_rules *rules, leat_error *err) LEAT_MUST_CHECK;

/* Fills padded_in and padded_out with the dimensions of that symbol but the first.
 * Errors:   NOT_FOUND when no input has it. */
leat_status lt_key_find_padded(lt_key_rules *rules, const char *symbol,
                               leat_error *err) LEAT_MUST_CHECK;

/* Checks a request's inputs and says what it is, all but the hash.
 * Errors:   INVALID for inputs that are not the model's or do not agree in rows or length. */
leat_status lt_key_make(const lt_key_rules *rules, const leat_array *inputs, uint64_t group,
                        lt_request_kind *out_kind, leat_error *err) LEAT_MUST_CHECK;

/* FNV-1a over words (Fowler, Noll and Vo). */
uint64_t lt_key_hash(const uint64_t *words, uint32_t n_words);

/* Bytes of one row of an array whose first dimension is rows (at least 1). */
static inline size_t lt_key_row_bytes(const leat_array *array)
{
    return array->shape[0] > 0 ? array->bytes / (size_t)array->shape[0] : 0;
}

#endif

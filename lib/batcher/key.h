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

/* What tells which requests may meet. */
typedef struct lt_key_rules {
    const leat_model_signature *io;
    bool *batched; /* [n_inputs]: the first dimension is the batch; NULL: every request is one row,
                      and its inputs' contents do not matter */
    uint32_t *padded_in;    /* [n_inputs]: bit d: dimension d is padded; NULL: none is */
    uint32_t *padded_out;   /* [n_outputs]: bit d: dimension d is cut back */
    const int64_t *lengths; /* [n_lengths], ascending, to which dimensions are padded */
    uint32_t n_lengths;
} lt_key_rules;

/* Fills batched from the model.
 * Errors:   UNSUPPORTED when no input has rows, when an output's first dimension is fixed, or for a
 *           type that cannot be put in rows. */
leat_status lt_key_find_rows(lt_key_rules *rules, leat_error *err) LEAT_MUST_CHECK;

/* Fills padded_in and padded_out with the dimensions of that symbol but the first.
 * Errors:   NOT_FOUND when no input has it. */
leat_status lt_key_find_padded(lt_key_rules *rules, const char *symbol,
                               leat_error *err) LEAT_MUST_CHECK;

/* The length to which one is padded: the least that is not shorter; itself behind the last. */
int64_t lt_key_padded(const lt_key_rules *rules, int64_t length);

/* Checks a request's inputs and makes its key. words: LT_KEY_WORDS. *out_length: of the dimension
 * that is padded; 0 without.
 * Errors:   INVALID for inputs that are not the model's or do not agree in rows or length. */
leat_status lt_key_make(const lt_key_rules *rules, const leat_array *inputs, uint64_t group,
                        uint64_t *words, uint32_t *out_rows, int64_t *out_length,
                        leat_error *err) LEAT_MUST_CHECK;

/* FNV-1a over words (Fowler, Noll and Vo). */
uint64_t lt_key_hash(const uint64_t *words, uint32_t n_words);

/* Bytes of one row of an array whose first dimension is rows (at least 1). */
static inline size_t lt_key_row_bytes(const leat_array *array)
{
    return array->shape[0] > 0 ? array->bytes / (size_t)array->shape[0] : 0;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that are kept: a request's inputs and outputs, found by a hash of the inputs. All lies in
 * one block of memory, made once:
 *
 *     | buckets | answer, its arrays, its data | free | answer ... |
 *
 * A hand goes round by address. Where room is needed it frees what lies ahead until there is enough
 * in one piece, but for what was asked for since it last came by: that has its mark taken away and
 * stays (CLOCK; Corbato, A paging experiment with the Multics system, 1968). So nothing is ever
 * moved, and answers of one size leave no holes. */
#ifndef LT_BATCHER_ANSWERS_H
#define LT_BATCHER_ANSWERS_H

#include "base/memory.h"

#include <leat/leat.h>

/* A piece of the block. */
typedef struct lt_answer lt_answer;
struct lt_answer {
    size_t bytes; /* of the piece, up to the next one */
    bool used;    /* by an answer */
    bool recent;  /* it was asked for since the hand came by */
    bool listed;  /* in its bucket */
    uint64_t hash;
    uint64_t group;
    lt_answer *chain;         /* next in the bucket */
    _Atomic uint32_t readers; /* while there are any it stays; only the caller's lock adds one */
    leat_array *inputs;
    leat_array *outputs;
};

typedef struct lt_answers {
    lt_memory *memory;
    const leat_model_signature *io;
    unsigned char *block;
    size_t bytes; /* of it */
    lt_answer **buckets;
    size_t n_buckets;     /* a power of two */
    unsigned char *first; /* the first piece */
    unsigned char *end;
    lt_answer *hand;
    uint64_t n_listed, listed_bytes, n_evicted;
} lt_answers;

enum {
    LT_LEAST_ANSWERS = 4096 /* bytes of a block */
};

/* Makes the block, of `bytes`. False: no memory. */
bool lt_answers_make(lt_answers *answers, lt_memory *memory, const leat_model_signature *io,
                     uint64_t bytes);
void lt_answers_free(lt_answers *answers);

/* Of a request's group, its inputs' shapes and their bytes; never 0. */
uint64_t lt_answers_hash(const leat_model_signature *io, uint64_t group, const leat_array *inputs);
/* Whether the inputs are the same, byte by byte. */
bool lt_answers_same(const leat_model_signature *io, const leat_array *a, const leat_array *b);

/* The answer of a hash; NULL: none. The caller holds the lock, here and below. */
lt_answer *lt_answers_find(const lt_answers *answers, uint64_t hash);
/* A piece for such an answer, which is not listed yet and has one reader, who is to fill it. NULL:
 * it is too large, or too much is being read. */
lt_answer *lt_answers_place(lt_answers *answers, const leat_array *inputs,
                            const leat_array *outputs);
/* Copies the arrays and their data there. Without the lock. */
void lt_answers_fill(const leat_model_signature *io, lt_answer *answer, const leat_array *inputs,
                     const leat_array *outputs);
/* Lets what was filled be found, or drops it where the hash has an answer by now. Its reader leaves
 * it. */
void lt_answers_publish(lt_answers *answers, lt_answer *answer, uint64_t hash, uint64_t group);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The lengths to which requests are padded, and which of them are used: those with which the
 * requests seen so far cost the least, by the times of runs measured so far.
 *
 *     lengths (candidates)   16   32   48   64   80   96  112  128
 *     rows seen               3    9   40   12    0    1   30    5
 *     padded to              48   48   48   64  128  128  128  128   (3 buckets)
 *
 * A bucket (i, j] of n rows of all N costs n L(b, j) / b: L(b, j) is the time of a run of b rows of
 * length j (its share of it, share.h, where others run beside it: else short ones would seem to
 * cost what those do), and b the rows that such a run finds waiting, the bucket's share n / N of
 * all that wait when a batch is begun, 1 to the largest batch. So fewer buckets make larger
 * batches, more of them less padding; where a row costs as much in a batch as alone only padding
 * counts. The least sum is found by dynamic programming over the candidates of which rows were
 * seen: O(candidates^2 buckets), on integers and times that tests can set. */
#ifndef LT_BATCHER_BUCKETS_H
#define LT_BATCHER_BUCKETS_H

#include "base/memory.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define LT_MOST_LENGTHS 128u /* candidates to choose from */

typedef struct lt_length_choice lt_length_choice;

typedef struct lt_buckets {
    const int64_t *lengths; /* [n] candidates, ascending */
    uint32_t n;             /* 0: nothing is padded */
    uint32_t most;          /* of them used; 0: all */
    uint32_t max_rows;
    uint8_t settling;        /* first runs of each shape that make plans or graphs: not measured */
    const uint32_t *planned; /* [max_rows + 1]: rows of the run for so many */
    _Atomic uint32_t *tops;  /* [n]: the candidate to which each is padded. Read without a lock, one
                                at a time: each alone is never too short */
    /* With `most` alone: */
    float *seen;              /* [n]: rows; those before the last choice count half */
    float *run_ns;            /* [n * (max_rows + 1)]: L(b, j); 0: not measured */
    uint8_t *young;           /* [n * (max_rows + 1)]: how many of them are still to come */
    uint64_t waiting;         /* rows, now */
    double together;          /* mean of those waiting when a batch is begun; 0: none yet */
    uint32_t arrived;         /* requests since the last choice */
    bool chosen;              /* once at least */
    lt_length_choice *choice; /* scratch memory, of whoever chooses */
} lt_buckets;

/* Makes the candidates, these or the defaults, and scratch memory. most, max_rows, settling
 * and planned are set. False: no memory. */
bool lt_buckets_make(lt_buckets *buckets, lt_arena *arena, const int64_t *lengths, uint32_t n);

/* The length to which one is padded; itself behind the last candidate. Needs no lock. */
int64_t lt_buckets_padded(const lt_buckets *buckets, int64_t length);

/* What happened: a request came, a batch is begun, one of a padded length was run; `runs`: the last
 * of so many on one instance, which are behind its first ones when they are several. */
void lt_buckets_arrival(lt_buckets *buckets, int64_t length, uint32_t rows);
void lt_buckets_begin(lt_buckets *buckets);
void lt_buckets_run(lt_buckets *buckets, int64_t padded, uint32_t rows, uint64_t ns, uint8_t runs);

/* Whether it is time to choose. */
bool lt_buckets_due(const lt_buckets *buckets);
/* Notes what is known, with whatever lock guards it. */
void lt_buckets_note(lt_buckets *buckets);
/* Chooses by what was noted, without a lock. Others replace those in use only where they cost 3 %
 * less: each new one costs a plan. Returns whether they did. */
bool lt_buckets_choose(lt_buckets *buckets);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A device's time as the batches that are under way share it: of dt nanoseconds in which n of them
 * are each has dt / n. What a batch has had is what it cost, whoever ran beside it; from its begin
 * to its end it may have been n times as long.
 *
 *     batch A   |-----------------|          4 alone, 8 beside B:  4 + 8 / 2 = 8
 *     batch B         |----------------|     8 beside A, 4 alone:  8 / 2 + 4 = 8 */
#ifndef LT_BATCHER_SHARE_H
#define LT_BATCHER_SHARE_H

#include <stdint.h>

typedef struct lt_share {
    double had_ns; /* by each batch that has been under way all the time */
    uint64_t at;   /* up to then */
} lt_share;

/* Goes on to `now`, up to which n_busy batches have been under way. Returns what each that was has
 * had since the beginning: a batch's own is the difference from its begin to its end. */
static inline double lt_share_go_on(lt_share *share, uint64_t now, int32_t n_busy)
{
    if (now > share->at) {
        share->had_ns += n_busy > 0 ? (double)(now - share->at) / n_busy : 0;
        share->at = now;
    }
    return share->had_ns;
}

#endif

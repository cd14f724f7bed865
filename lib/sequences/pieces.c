/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces of prompts: which sequences have how many positions run at once.
 *
 * max_piece positions are one row's, or those of 2, 4, 8, ... rows beside each other, padded to the
 * same number where the model allows it:
 *
 *     row 4   a a a a     row 3, 4   b b b .     more of b than of a waits, 3 of its 4 positions
 *                                    a a a a     count
 *
 * Which is taken is a matter of measured time a position that counts. */
#include "sequences/sequences.h"

#include <string.h>

#define NEWEST 0.125f /* weight in a moving mean */
#define GAIN 0.97     /* several must take less than this part of the time of one alone */

static uint32_t logarithm(uint32_t power)
{
    return (uint32_t)__builtin_ctz(power);
}

void lt_pieces_ran(leat_sequences *s, const lt_rows *r, uint64_t ns, bool measured)
{
    if ((r->n & (r->n - 1)) != 0) {
        return;
    }
    float *mean = &s->piece_ns[logarithm(r->count)][logarithm(r->n)];
    if (measured) {
        *mean = ns > 0 ? (float)ns : 1;
    } else if (*mean > 0) {
        *mean += NEWEST * ((float)ns - *mean);
    }
}

static bool has_prompt(const leat_sequences *s, uint32_t row)
{
    const lt_sequence *q = s->owners[row];
    return q != NULL && q->use == LT_SLOT_LIVE && q->waiting > 1 && !q->fresh;
}

/* Positions of a run of n rows from `first` on: what the one with the most needs, all of them if
 * padding is no matter, else what all have; 0: none. *out_useful: those that count. */
static uint32_t count_for(const leat_sequences *s, uint32_t first, uint32_t n, uint32_t *out_useful)
{
    const uint32_t most = s->max_piece / n;
    uint32_t count = s->exact ? most : 1;
    for (uint32_t row = first; row < first + n; row++) {
        const uint32_t waiting = s->owners[row]->waiting;
        const uint32_t wanted = waiting < most ? waiting : most;
        while (s->exact ? count > wanted : count < wanted) {
            count = s->exact ? count / 2 : 2 * count;
        }
    }
    *out_useful = 0;
    for (uint32_t row = first; row < first + n; row++) {
        while (!s->exact && s->caches &&
               (uint64_t)s->owners[row]->length + count > (uint64_t)s->capacity + 1) {
            count /= 2;
        }
    }
    for (uint32_t row = first; row < first + n; row++) {
        const uint32_t waiting = s->owners[row]->waiting;
        *out_useful += waiting < count ? waiting : count;
    }
    return count;
}

/* The first of n rows with prompts of which `row` is one; LT_NO_ROW: there are not as many. */
static uint32_t first_of(const leat_sequences *s, uint32_t row, uint32_t n)
{
    uint32_t first = row, last = row;
    while (last + 1 < s->n_slots && last + 1 < row + n && has_prompt(s, last + 1)) {
        last++;
    }
    while (first > 0 && last - first + 1 < n && has_prompt(s, first - 1)) {
        first--;
    }
    return last - first + 1 == n ? first : LT_NO_ROW;
}

/* Nanoseconds a position that counts; 0: not measured. */
static double cost(const leat_sequences *s, uint32_t n, uint32_t count, uint32_t useful)
{
    return (double)s->piece_ns[logarithm(count)][logarithm(n)] / useful;
}

/* Of those with prompts, the one that has waited longest; NULL: there are none. */
static const lt_sequence *find_oldest(const leat_sequences *s)
{
    const lt_sequence *oldest = NULL;
    for (uint32_t row = 0; row < s->n_slots && s->max_piece > 1; row++) {
        if (has_prompt(s, row) && (oldest == NULL || s->owners[row]->order < oldest->order)) {
            oldest = s->owners[row];
        }
    }
    return oldest;
}

lt_rows lt_pieces_take(leat_sequences *s)
{
    const lt_sequence *oldest = find_oldest(s);
    if (oldest == NULL) {
        return (lt_rows){.piece = true};
    }
    uint32_t useful;
    lt_rows best = {true, oldest->row, 1, 0, s->piece_tokens};
    best.count = count_for(s, best.first, 1, &useful);
    double least = cost(s, 1, best.count, useful);
    for (uint32_t n = 2; least > 0 && 2 * n <= s->max_piece; n *= 2) {
        const uint32_t first = first_of(s, oldest->row, n);
        const uint32_t count = first != LT_NO_ROW ? count_for(s, first, n, &useful) : 0;
        const double ns = count > 1 ? cost(s, n, count, useful) : 0;
        if (ns > 0 && ns < GAIN * least) {
            best = (lt_rows){true, first, n, count, s->piece_tokens};
            least = ns;
        }
    }
    memset(s->piece_tokens, 0, (size_t)best.n * best.count * s->item.bytes);
    for (uint32_t i = 0; i < best.n; i++) {
        lt_sequence *q = s->owners[best.first + i];
        q->in_piece = true;
        q->taken = q->waiting < best.count ? q->waiting : best.count;
        memcpy(s->piece_tokens + (size_t)i * best.count * s->item.bytes, q->items,
               q->taken * s->item.bytes);
    }
    return best;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "batcher/buckets.h"

#include "batcher/curve.h"

#include <math.h>
#include <string.h>

enum {
    FIRST = 64, /* requests before the first choice, */
    EVERY = 256 /* and before each other one */
};

#define NEWEST 0.125 /* weight in a moving mean */
#define GAIN 0.97    /* others must cost less than this part */

/* What is noted for a choice, and what is made of it. m candidates have rows. */
struct lt_length_choice {
    float seen[LT_MOST_LENGTHS];
    float *run_ns; /* [n * (max_rows + 1)] */
    double together;
    uint32_t m;
    uint32_t used[LT_MOST_LENGTHS];      /* [m]: the candidates that have */
    double rows_to[LT_MOST_LENGTHS + 1]; /* [m + 1]: rows of those before each */
    /* [k * (n + 1) + j]: of the first j candidates in k buckets, the least cost, and how many
     * candidates are before the last bucket. */
    double *cost;
    uint8_t *from;
};

/* Steps of 1/2 and 3/4 of powers of two from 16 to 2^16: 25 % of a row is padding at most. To
 * choose from: sixteens to 256, then eighths. */
static uint32_t default_lengths(int64_t *lengths, bool fine)
{
    uint32_t n = 0;
    for (int64_t at = 16; at <= 3 << 15;) {
        lengths[n++] = at;
        int64_t power = 16;
        while (2 * power <= at) {
            power *= 2;
        }
        const int64_t eighth = power / 8 > 16 ? power / 8 : 16;
        at += fine ? eighth : power / 2;
    }
    return n;
}

static uint32_t index_of(const lt_buckets *b, int64_t length)
{
    uint32_t low = 0, high = b->n;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (b->lengths[middle] < length) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static uint32_t top_of(const lt_buckets *b, uint32_t i)
{
    return atomic_load_explicit(&b->tops[i], memory_order_relaxed);
}

static bool make_choice(lt_buckets *b, lt_arena *arena)
{
    const size_t times = (size_t)b->n * ((size_t)b->max_rows + 1);
    b->seen = lt_arena_array(arena, b->n, sizeof(*b->seen));
    b->run_ns = lt_arena_array(arena, times, sizeof(*b->run_ns));
    b->young = lt_arena_array(arena, times, sizeof(*b->young));
    b->choice = lt_arena_array(arena, 1, sizeof(*b->choice));
    if (b->seen == NULL || b->run_ns == NULL || b->young == NULL || b->choice == NULL) {
        return false;
    }
    memset(b->young, b->settling, times);
    const size_t sums = ((size_t)b->n + 1) * ((size_t)b->most + 1);
    b->choice->run_ns = lt_arena_array(arena, times, sizeof(*b->run_ns));
    b->choice->cost = lt_arena_array(arena, sums, sizeof(*b->choice->cost));
    b->choice->from = lt_arena_array(arena, sums, sizeof(*b->choice->from));
    return b->choice->run_ns != NULL && b->choice->cost != NULL && b->choice->from != NULL;
}

bool lt_buckets_make(lt_buckets *b, lt_arena *arena, const int64_t *lengths, uint32_t n)
{
    int64_t coarse[LT_MOST_LENGTHS], fine[LT_MOST_LENGTHS];
    const uint32_t n_coarse = default_lengths(coarse, false);
    const bool given = n > 0;
    if (!given) {
        n = default_lengths(fine, true);
        lengths = fine;
        if (b->most == 0) {
            n = n_coarse;
            lengths = coarse;
        }
    }
    b->lengths = lt_arena_copy(arena, lengths, n * sizeof(*lengths));
    b->tops = lt_arena_array(arena, n, sizeof(*b->tops));
    if (b->lengths == NULL || b->tops == NULL) {
        return false;
    }
    b->n = n;
    b->most = b->most < n ? b->most : n;
    /* All candidates to begin with, but of the fine ones those that there are without choosing. */
    for (uint32_t i = n, top = n - 1, c = n_coarse; i-- > 0;) {
        while (c > 0 && coarse[c - 1] >= b->lengths[i]) {
            c--;
        }
        top = given || b->most == 0 || (c < n_coarse && coarse[c] == b->lengths[i]) ? i : top;
        atomic_init(&b->tops[i], top);
    }
    return b->most == 0 || make_choice(b, arena);
}

int64_t lt_buckets_padded(const lt_buckets *b, int64_t length)
{
    const uint32_t i = index_of(b, length);
    return i < b->n ? b->lengths[top_of(b, i)] : length;
}

void lt_buckets_arrival(lt_buckets *b, int64_t length, uint32_t rows)
{
    if (b->most == 0 || b->n == 0 || length == 0) {
        return;
    }
    const uint32_t i = index_of(b, length);
    b->arrived++;
    if (i < b->n) {
        b->seen[i] += (float)rows;
    }
}

void lt_buckets_begin(lt_buckets *b)
{
    if (b->most == 0) {
        return;
    }
    const double now = (double)b->waiting;
    b->together = b->together == 0 ? now : b->together + NEWEST * (now - b->together);
}

static lt_curve curve_of(const lt_buckets *b, float *run_ns, uint32_t i)
{
    return (lt_curve){.run_ns = run_ns + (size_t)i * (b->max_rows + 1),
                      .max_rows = b->max_rows,
                      .planned = b->planned};
}

void lt_buckets_run(lt_buckets *b, int64_t padded, uint32_t rows, uint64_t ns, uint8_t runs)
{
    const uint32_t i = b->most > 0 ? index_of(b, padded) : b->n;
    if (padded <= 0 || i >= b->n || b->lengths[i] != padded || rows > b->max_rows) {
        return;
    }
    uint8_t *young = &b->young[(size_t)i * (b->max_rows + 1) + rows];
    const bool first = *young > 0;
    *young = *young > runs ? *young - runs : 0;
    if (*young == 0 && !(first && runs == 1)) {
        lt_curve curve = curve_of(b, b->run_ns, i);
        lt_curve_run(&curve, rows, ns);
    }
}

bool lt_buckets_due(const lt_buckets *b)
{
    return b->most > 0 && b->arrived >= (b->chosen ? EVERY : FIRST);
}

void lt_buckets_note(lt_buckets *b)
{
    lt_length_choice *c = b->choice;
    memcpy(c->seen, b->seen, b->n * sizeof(*b->seen));
    memcpy(c->run_ns, b->run_ns, (size_t)b->n * (b->max_rows + 1) * sizeof(*b->run_ns));
    c->together = b->together;
    for (uint32_t i = 0; i < b->n; i++) {
        b->seen[i] /= 2;
    }
    b->arrived = 0;
    b->chosen = true;
}

/* L(rows, lengths[i]): of its own runs, between its neighbours', or by length from the nearest.
 * What was never run is thus no dearer than those, and is tried. 0: nothing is known. */
static double estimate(const lt_buckets *b, uint32_t i, uint32_t rows)
{
    double below = 0, above = 0;
    uint32_t low = i + 1, high = i;
    while (low > 0 && below == 0) {
        const lt_curve curve = curve_of(b, b->choice->run_ns, --low);
        below = lt_curve_estimate(&curve, rows);
    }
    if (below > 0 && low == i) {
        return below;
    }
    while (high + 1 < b->n && above == 0) {
        const lt_curve curve = curve_of(b, b->choice->run_ns, ++high);
        above = lt_curve_estimate(&curve, rows);
    }
    const double at = (double)b->lengths[i];
    if (below == 0 || above == 0) {
        return below > 0 ? below * at / (double)b->lengths[low]
                         : above * at / (double)b->lengths[high];
    }
    const double from = (double)b->lengths[low], to = (double)b->lengths[high];
    return below + (above - below) * (at - from) / (to - from);
}

/* Of `n` rows padded to a candidate. */
static double cost_of(const lt_buckets *b, uint32_t top, double n)
{
    const lt_length_choice *c = b->choice;
    const double share = floor(c->together * n / c->rows_to[c->m] + 0.5);
    const uint32_t rows = share < 1 ? 1 : share < b->max_rows ? (uint32_t)share : b->max_rows;
    return n * estimate(b, top, rows) / rows;
}

/* The candidates that have rows. */
static void count_rows(const lt_buckets *b)
{
    lt_length_choice *c = b->choice;
    c->m = 0;
    c->rows_to[0] = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        if (c->seen[i] >= 0.5f) { /* what came once is forgotten at the second choice behind it */
            c->used[c->m] = i;
            c->rows_to[c->m + 1] = c->rows_to[c->m] + (double)c->seen[i];
            c->m++;
        }
    }
}

/* With the lengths in use. */
static double cost_now(const lt_buckets *b)
{
    const lt_length_choice *c = b->choice;
    double cost = 0, n = 0;
    for (uint32_t u = 0; u < c->m; u++) {
        const uint32_t top = top_of(b, c->used[u]);
        n += (double)c->seen[c->used[u]];
        if (u + 1 == c->m || top_of(b, c->used[u + 1]) != top) {
            cost += cost_of(b, top, n);
            n = 0;
        }
    }
    return cost;
}

/* Fills `cost` and `from` for the first j candidates, from what they have for fewer. */
static void extend(const lt_buckets *b, uint32_t j)
{
    const size_t line = (size_t)b->n + 1;
    lt_length_choice *c = b->choice;
    for (uint32_t k = 0; k <= b->most; k++) {
        c->cost[k * line + j] = k == 0 && j == 0 ? 0 : INFINITY;
    }
    for (uint32_t i = 0; i < j; i++) {
        const double last = cost_of(b, c->used[j - 1], c->rows_to[j] - c->rows_to[i]);
        for (uint32_t k = 1; k <= b->most; k++) {
            const double cost = c->cost[(k - 1) * line + i] + last;
            if (cost < c->cost[k * line + j]) {
                c->cost[k * line + j] = cost;
                c->from[k * line + j] = (uint8_t)i;
            }
        }
    }
}

/* The number of buckets of least cost. */
static uint32_t find_least(const lt_buckets *b, double *out_cost)
{
    const lt_length_choice *c = b->choice;
    uint32_t best = 0;
    for (uint32_t j = 0; j <= c->m; j++) {
        extend(b, j);
    }
    *out_cost = INFINITY;
    for (uint32_t k = 1; k <= b->most; k++) {
        const double cost = c->cost[k * ((size_t)b->n + 1) + c->m];
        if (cost < *out_cost) {
            *out_cost = cost;
            best = k;
        }
    }
    return best;
}

/* Whether more candidates are used than may be, as before the first choice. */
static bool too_many(const lt_buckets *b)
{
    const lt_length_choice *c = b->choice;
    uint32_t n = 0;
    for (uint32_t u = 0; u < c->m; u++) {
        n += u == 0 || top_of(b, c->used[u]) != top_of(b, c->used[u - 1]);
    }
    return n > b->most;
}

/* Puts the choice to use. Behind its last length each candidate is its own. */
static bool use(lt_buckets *b, uint32_t buckets)
{
    const lt_length_choice *c = b->choice;
    bool changed = false;
    uint32_t j = c->m;
    for (uint32_t i = b->n, top = b->n; i-- > 0;) {
        if (buckets > 0 && i == c->used[j - 1]) {
            top = i;
            j = c->from[buckets * ((size_t)b->n + 1) + j];
            buckets--;
        }
        const uint32_t to = top < b->n ? top : i;
        changed |= top_of(b, i) != to;
        atomic_store_explicit(&b->tops[i], to, memory_order_relaxed);
    }
    return changed;
}

bool lt_buckets_choose(lt_buckets *b)
{
    double cost;
    count_rows(b);
    if (b->choice->m == 0 || estimate(b, b->choice->used[0], 1) == 0) {
        return false;
    }
    const uint32_t buckets = find_least(b, &cost);
    return buckets > 0 && (too_many(b) || cost < GAIN * cost_now(b)) && use(b, buckets);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The learned policy: each candidate (a queue, a number of rows, whether those in front for whom
 * that is too late are given back; or to wait) has a score, the
 * weighted sum of what is known about it in constant time; the highest wins. The weights come from
 * bench/sched.c, which searches for those with which most work is done in time.
 *
 * Of a batch of b rows of queue q, with e(b) = (L(B) / B) / (L(b) / b) its efficiency against the
 * full batch, s its first request's slack (deadline - now - L(b)) and R the load asked for, all
 * numbers between -4 and 4 or so:
 *
 *   0 e(b)          1 e(b)^2        2 e(b) R       3 s in units of L(B), up to 4    4 1 / (1 + s)
 *   5 class 0       6 class         7 log2(L(b) / chunk)          8 that times class-0 requests
 * expected 9 b / B        10 waiting time of the first over max_wait    11 backlog of q over slack
 *  12 requests given back over B   13 whether the next batch would be too late for the first
 *  14 13 times e(b)                15 what is left of the queue over B       16 log2(L(B) / mean)
 *  17 16 times R   18 slack of the batch's last request, as 3           19 growth of b while
 * waiting: expected arrivals in L(b) over B
 *
 *   20 to wait: 1   21 R           22 best e(b) of all candidates    23 least slack of any head */
#include "scheduler/core.h"

#include <math.h>

enum {
    N_BATCH = 20
};

/* What is the same for all candidates. */
typedef struct scene {
    float load;    /* work asked for over what the devices can do */
    float urgent;  /* class-0 requests a nanosecond */
    float mean;    /* of full batches' L */
    float soonest; /* least slack of a head, in chunks */
    float gap;     /* of all arrivals */
} scene;

static float bounded(float x, float low, float high)
{
    return x < low ? low : x > high ? high : x;
}

/* log2 to 0.01, of positive numbers: a policy needs no more. */
static float rough_log2(float x)
{
    union {
        float f;
        uint32_t u;
    } v = {x};
    const float exponent = (float)(int32_t)(v.u >> 23) - 127;
    v.u = (v.u & 0x7fffffu) | 0x3f800000u;
    return exponent + (-0.344845f * v.f + 2.024658f) * v.f - 1.674873f;
}

/* Of request i, when it is complete in `cost`. */
static float slack_of(const lt_queue *q, uint32_t i, uint64_t now, float cost)
{
    const uint64_t deadline = lt_queue_at(q, i)->deadline;
    return deadline == LT_NEVER ? 1e12f : (float)((double)deadline - (double)now) - cost;
}

static scene look_around(const lt_core *c, uint32_t device, uint64_t now)
{
    scene s = {.soonest = 4};
    uint32_t n = 0;
    float rate = 0;
    for (uint32_t i = 0; i < c->n_queues; i++) {
        const lt_queue *q = &c->queues[i];
        /* A queue that has been silent for long has a long gap, whatever the mean says. */
        const float silent = (float)(now - q->last_arrival);
        const float gap = silent > 8 * q->gap_ns ? silent : q->gap_ns;
        if (q->gap_ns > 0) {
            s.load += q->least / gap;
            s.urgent += q->class_index == 0 ? 1 / gap : 0;
            rate += 1 / gap;
        }
        if (q->waiting > 0 && q->cost[device] != NULL) {
            const float slack = slack_of(q, 0, now, q->cost[device][1]) / (float)c->chunk_ns;
            s.soonest = slack < s.soonest ? slack : s.soonest;
        }
        if (q->cost[device] != NULL) {
            s.mean += q->cost[device][q->max_batch];
            n++;
        }
    }
    s.mean /= n ? (float)n : 1;
    s.load = bounded(s.load / (float)c->n_devices, 0, 3);
    s.gap = rate > 0 ? 1 / rate : 0;
    return s;
}

static float efficiency(const lt_queue *q, uint32_t device, uint32_t rows)
{
    return q->least * (float)rows / q->cost[device][rows];
}

static float score(const lt_core *c, const scene *s, const lt_queue *q, uint32_t device,
                   uint64_t now, uint32_t shed, uint32_t rows)
{
    const float *w = c->weights;
    const float cost = q->cost[device][rows], full = q->cost[device][q->max_batch];
    const float e = efficiency(q, device, rows);
    const float slack = slack_of(q, shed, now, cost);
    const float s_full = bounded(slack / full, -1, 4);
    const float grown = (float)q->waiting + (q->gap_ns > 0 ? s->mean / q->gap_ns : 0);
    const float later =
        efficiency(q, device, grown < (float)q->max_batch ? (uint32_t)grown : q->max_batch);
    const float last = slack_of(q, shed + rows - 1, now, cost);
    const float length = bounded(rough_log2(cost / (float)c->chunk_ns), -4, 4);
    const float rest = (float)(q->waiting - shed - rows) / (float)q->max_batch;
    const float size = bounded(rough_log2(full / s->mean), -4, 4);
    const float critical = slack < s->mean ? 1 : 0;
    const float x[N_BATCH] = {
        e,
        e * e,
        e * s->load,
        s_full,
        1 / (1 + bounded(slack / full, 0, 100)),
        q->class_index == 0 ? 1.f : 0.f,
        (float)q->class_index,
        length,
        length * bounded(s->urgent * cost, 0, 4),
        (float)rows / (float)q->max_batch,
        later - e,
        bounded((float)q->waiting * q->least / (slack > 1 ? slack : 1), 0, 4),
        bounded((float)shed / (float)q->max_batch, 0, 4),
        critical,
        critical * e,
        bounded(rest, 0, 4),
        size,
        size * s->load,
        bounded(last / full, -1, 4),
        q->gap_ns > 0 ? bounded(cost / q->gap_ns / (float)q->max_batch, 0, 2) : 0,
    };
    float sum = 0;
    for (int i = 0; i < N_BATCH; i++) {
        sum += w[i] * x[i];
    }
    return sum;
}

/* Until when an idle device may wait: for the next request, but so that every head that could be
 * met now still can be, and a quarter of a chunk at most. LT_NEVER: it may not. */
static uint64_t may_wait(const lt_core *c, const scene *s, uint64_t now)
{
    const float most = (float)c->chunk_ns / 4;
    const float slack = s->soonest * (float)c->chunk_ns / 2;
    float wait = s->gap > 0 && s->gap < most ? s->gap : most;
    wait = wait < slack ? wait : slack;
    return wait < 1000 ? LT_NEVER : now + (uint64_t)wait;
}

/* Requests in front that a batch of so many rows would be too late for. They are by deadline. */
static uint32_t n_late(const lt_queue *q, uint32_t device, uint64_t now, uint32_t rows)
{
    const double end = (double)now + (double)q->cost[device][rows] * LT_MARGIN;
    uint32_t low = 0, high = q->waiting;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if ((double)lt_queue_at(q, middle)->deadline < end) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

lt_choice lt_core_pick_learned(const lt_core *c, uint32_t device, uint64_t now)
{
    const scene s = look_around(c, device, now);
    lt_choice best = {.until = LT_NEVER};
    float best_score = 0, best_e = 0;
    bool any_starved = false;
    for (uint32_t i = 0; i < c->n_queues; i++) {
        const lt_queue *q = &c->queues[i];
        if (q->waiting == 0 || q->cost[device] == NULL) {
            continue;
        }
        const bool starved = now - lt_queue_at(q, 0)->arrived > c->max_wait[q->class_index];
        if (any_starved && !starved) {
            continue;
        }
        if (starved && !any_starved) {
            any_starved = true;
            best.rows = 0;
        }
        const uint32_t all = q->waiting < q->most[1][device] ? q->waiting : q->most[1][device];
        const uint32_t shed = n_late(q, device, now, all);
        const uint32_t left = q->waiting - shed;
        const uint32_t sizes[3] = {lt_queue_fit(q, device, now, q->most[0][device]),
                                   lt_queue_fit(q, device, now, q->most[1][device]),
                                   shed > 0 && left < all ? left
                                   : shed > 0             ? all
                                                          : 0};
        for (int k = 0; k < 3; k++) {
            if (sizes[k] == 0 || (k == 1 && sizes[1] == sizes[0])) {
                continue;
            }
            const uint32_t back = k == 2 ? shed : 0;
            const float mark = score(c, &s, q, device, now, back, sizes[k]);
            const float e = efficiency(q, device, sizes[k]);
            best_e = e > best_e ? e : best_e;
            if (best.rows == 0 || mark > best_score) {
                best_score = mark;
                best.queue = i;
                best.shed = back;
                best.rows = sizes[k];
            }
        }
    }
    if (best.rows > 0 && !any_starved) {
        const float *w = c->weights + N_BATCH;
        const float mark = w[0] + w[1] * s.load + w[2] * best_e + w[3] * bounded(s.soonest, -1, 4);
        const uint64_t until = may_wait(c, &s, now);
        if (mark > best_score && until != LT_NEVER) {
            return (lt_choice){.until = until};
        }
    }
    return best;
}

const leat_policy_weights *leat_policy_default(void)
{
    /* bench/sched --seconds 1.5 --train 60 */
    static const leat_policy_weights weights = {
        {1.580855f,  -2.629401f,   2.947392f, -1.993713f, 2.847556f,  1.493599f,
         0.6847951f, 0.9727311f,   1.241817f, 0.4637838f, -2.536226f, 2.623321f,
         1.403375f,  3.870549f,    2.70162f,  -1.242639f, -2.74822f,  -2.777681f,
         1.264038f,  -0.04369232f, 2.538728f, 0.3006705f, -1.409333f, -2.062491f}};
    return &weights;
}

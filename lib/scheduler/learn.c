/* SPDX-License-Identifier: Apache-2.0 */
/* Learning while serving: a third shadow begins where the policy's is and decides about the same
 * requests by weights that are a step away, each by as much, in a direction taken by chance. Once
 * one of the two has done more work in time than chance makes it (counted as the guard does, of
 * requests whose deadlines have passed), the weights take that step, or the opposite one is tried
 * next; if neither has after some time, another direction is. A step that helped is tried again.
 * The devices know nothing of what is tried; what batches really take has come to the table.
 *
 * So a random search (Matyas, 1965) with common random numbers and a sequential test. */
#include "scheduler/scheduler.h"

#include <math.h>
#include <string.h>

#define MOST_WEIGHT 16.f

enum {
    LEAST_BATCHES = 64, /* of a trial */
    MOST_ROUNDS = 8     /* times the least time of a trial, after which it is given up */
};

static uint64_t next_chance(uint64_t *seed)
{
    uint64_t z = (*seed += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Queues and devices as another core's. Both have the same costs. */
static void copy_core(lt_core *to, const lt_core *from)
{
    for (uint32_t i = 0; i < from->n_queues; i++) {
        lt_queue *q = &to->queues[i];
        lt_waiting *ring = q->ring;
        *q = from->queues[i];
        q->ring = ring;
        q->first = 0;
        for (uint32_t k = 0; k < q->waiting; k++) {
            ring[k] = *lt_queue_at(&from->queues[i], k);
        }
    }
    for (uint32_t d = 0; d < from->n_devices; d++) {
        lt_running *r = &to->devices[d];
        lt_waiting *batch = r->batch;
        *r = from->devices[d];
        r->batch = batch;
        if (r->busy) {
            memcpy(batch, from->devices[d].batch, r->rows * sizeof(*batch));
        }
    }
    to->virtual_time = from->virtual_time;
    to->stats = from->stats;
}

static void begin_trial(leat_scheduler *s, uint64_t now)
{
    lt_learning *l = &s->learning;
    lt_ledger *ledger = &s->ledgers[LT_TRIAL_TO_POLICY];
    if (l->turn == 0) {
        l->direction = (uint32_t)next_chance(&l->seed);
    } else if (l->turn < 0) {
        l->direction = ~l->direction;
    }
    for (int i = 0; i < LEAT_POLICY_WEIGHTS; i++) {
        const float step = l->direction >> i & 1 ? s->desc.learn_step : -s->desc.learn_step;
        const float w = s->weights.weights[i] + step;
        l->tried.weights[i] = w > MOST_WEIGHT ? MOST_WEIGHT : w < -MOST_WEIGHT ? -MOST_WEIGHT : w;
    }
    copy_core(&s->shadows[LT_SHADOW_TRIAL], &s->shadows[LT_SHADOW_POLICY]);
    memcpy(s->open[LT_SHADOW_TRIAL], s->open[LT_SHADOW_POLICY], sizeof(s->open[0]));
    *ledger = (lt_ledger){0};
    l->begun = now;
    l->batches = s->shadows[LT_SHADOW_TRIAL].stats.batches;
    l->active = true;
}

void lt_scheduler_learn(leat_scheduler *s, uint64_t now)
{
    lt_learning *l = &s->learning;
    if (!l->active) {
        begin_trial(s, now);
        return;
    }
    const uint64_t least = s->horizon;
    if (now - l->begun < least ||
        s->shadows[LT_SHADOW_TRIAL].stats.batches - l->batches < LEAST_BATCHES) {
        return;
    }
    const lt_ledger *ledger = &s->ledgers[LT_TRIAL_TO_POLICY];
    const double chance = 2 * sqrt(ledger->squares) + s->largest_work;
    const bool over =
        now - l->begun >= MOST_ROUNDS * least &&
        s->shadows[LT_SHADOW_TRIAL].stats.batches - l->batches >= MOST_ROUNDS * LEAST_BATCHES;
    if (fabs(ledger->gain) <= chance && !over) {
        return;
    }
    const bool better = ledger->gain > chance;
    if (better) {
        s->weights = l->tried;
        l->steps++;
    }
    l->turn = better ? 1 : ledger->gain < -chance && l->turn >= 0 ? -1 : 0;
    l->trials++;
    l->active = false;
}

void leat_scheduler_read_weights(leat_scheduler *s, leat_policy_weights *out_weights)
{
    if (s == NULL || out_weights == NULL) {
        return;
    }
    pthread_mutex_lock(&s->lock);
    *out_weights = s->weights;
    pthread_mutex_unlock(&s->lock);
}

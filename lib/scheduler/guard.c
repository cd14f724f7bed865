/* SPDX-License-Identifier: Apache-2.0 */
/* The guard: two schedulers decide in the real one's shadow about the same requests, each batch
 * taking what the table of costs says: EDF with admission, and the policy. The policy decides for
 * the devices only while its shadow is ahead of EDF's, so that it must have shown itself before.
 *
 * What is compared is work in time, of requests whose deadlines have passed: by then both have done
 * or lost them all. (A policy that leaves for later what is due later has done less at any moment,
 * but lost nothing; one that starves it has done more, and will have lost it.) */
#include "scheduler/scheduler.h"

#include <math.h>
#include <string.h>

enum {
    MOST_DOUBTS = 6
};

#define LONGEST_NS (1ull << 40) /* of a deadline; one beyond counts as none */

static uint64_t tick_of(const leat_scheduler *s, uint64_t time)
{
    return time >> s->tick_shift;
}

/* Work of a request that is complete in time. */
static void credit(const leat_scheduler *s, lt_ledger *l, uint64_t deadline, double work)
{
    const uint64_t tick = tick_of(s, deadline);
    if (tick >= l->tick && tick < l->tick + LT_OPEN_TICKS) {
        l->open[tick % LT_OPEN_TICKS] += work;
    } else {
        l->gain += work;
    }
}

static void close_ticks(const leat_scheduler *s, lt_ledger *l, uint64_t now, double most)
{
    const uint64_t tick = tick_of(s, now);
    for (int i = 0; i < LT_OPEN_TICKS && l->tick < tick; i++, l->tick++) {
        const double part = l->open[l->tick % LT_OPEN_TICKS];
        l->gain += part;
        l->squares += part * part;
        l->open[l->tick % LT_OPEN_TICKS] = 0;
    }
    l->tick = tick;
    l->gain = l->gain > most ? most : l->gain < -most ? -most : l->gain;
}

/* Twice as long ticks, until a deadline so far ahead has one. */
static void reach(leat_scheduler *s, uint64_t ahead)
{
    if (ahead <= s->horizon || ahead > LONGEST_NS) {
        return;
    }
    s->horizon = ahead;
    while (ahead >> s->tick_shift >= LT_OPEN_TICKS - 1) {
        for (int k = 0; k < LT_N_LEDGERS; k++) {
            lt_ledger *l = &s->ledgers[k];
            double merged[LT_OPEN_TICKS] = {0};
            for (uint64_t t = l->tick; t < l->tick + LT_OPEN_TICKS; t++) {
                merged[t / 2 % LT_OPEN_TICKS] += l->open[t % LT_OPEN_TICKS];
            }
            memcpy(l->open, merged, sizeof(merged));
            l->tick /= 2;
        }
        s->tick_shift++;
    }
}

void lt_shadow_credit(leat_scheduler *s, const lt_core *c, uint32_t device, uint64_t end)
{
    const lt_running *r = &c->devices[device];
    const double work = c->queues[r->queue].work;
    for (uint32_t i = 0; i < r->rows; i++) {
        const uint64_t deadline = r->batch[i].deadline;
        if (deadline < end) {
            continue;
        }
        if (c == &s->core) {
            credit(s, &s->ledgers[LT_REAL_TO_EDF], deadline, work);
        } else if (c == &s->shadows[LT_SHADOW_EDF]) {
            credit(s, &s->ledgers[LT_REAL_TO_EDF], deadline, -work);
            credit(s, &s->ledgers[LT_POLICY_TO_EDF], deadline, -work);
        } else {
            const bool trial = c == &s->shadows[LT_SHADOW_TRIAL];
            if (!trial) {
                credit(s, &s->ledgers[LT_POLICY_TO_EDF], deadline, work);
            }
            if (s->learning.active) {
                credit(s, &s->ledgers[LT_TRIAL_TO_POLICY], deadline, trial ? work : -work);
            }
        }
    }
}

static void begin_shadow(lt_core *c, uint32_t device, uint64_t now)
{
    void *item;
    for (uint32_t q = 0; q < c->n_queues; q++) {
        while (lt_core_expire(c, q, now, &item)) {
        }
    }
    const lt_choice choice = lt_core_pick(c, device, now);
    for (uint32_t i = 0; i < choice.shed; i++) {
        (void)lt_core_give_back(c, choice.queue);
    }
    c->devices[device].until = choice.until;
    if (choice.rows > 0) {
        lt_core_begin(c, device, &choice, now);
    }
}

/* Lets a shadow's devices go on until `now`. */
static void follow(leat_scheduler *s, lt_core *c, uint64_t now)
{
    for (;;) {
        uint32_t first = LEAT_MAX_DEVICES;
        uint64_t time = now;
        for (uint32_t d = 0; d < c->n_devices; d++) {
            const lt_running *r = &c->devices[d];
            const uint64_t event = r->busy ? r->end : c->stats.waiting ? r->until : LT_NEVER;
            if (!r->lost && event <= time) {
                time = event;
                first = d;
            }
        }
        if (first == LEAT_MAX_DEVICES) {
            return;
        }
        if (c->devices[first].busy) {
            lt_shadow_credit(s, c, first, time);
            lt_core_end(c, first, time);
        }
        begin_shadow(c, first, time);
    }
}

void lt_shadow_submit(leat_scheduler *s, uint32_t queue, uint64_t now, uint64_t deadline)
{
    if (s->first_ns == 0) {
        s->first_ns = now;
    }
    if (deadline != LT_NEVER) {
        reach(s, deadline - now);
    }
    for (uint32_t k = 0; k < s->n_shadows; k++) {
        lt_core *c = &s->shadows[k];
        follow(s, c, now);
        (void)!lt_scheduler_take(c, k == LT_SHADOW_EDF, queue, now, deadline, NULL, NULL);
        for (uint32_t d = 0; c->stats.waiting > 0 && d < c->n_devices; d++) {
            if (!c->devices[d].busy && !c->devices[d].lost) {
                begin_shadow(c, d, now);
            }
        }
    }
}

void lt_shadow_lose(leat_scheduler *s, uint32_t device, bool lost, uint64_t now)
{
    for (uint32_t k = 0; k < s->n_shadows; k++) {
        follow(s, &s->shadows[k], now);
        lt_core_put_back(&s->shadows[k], device);
        s->shadows[k].devices[device].lost = lost;
        s->shadows[k].devices[device].until = now;
    }
}

/* The policy decides once it is ahead by more than chance makes it (four times the square root of
 * the squares of what they differed by in every tick; some batches at most), and does so until it
 * is behind; or until the devices have done so much less than EDF's shadow (the table was wrong
 * about what the policy does). Each time that it has to go it must show twice as much; as long as
 * it is ahead by all that counts, half. */
void lt_shadow_guard(leat_scheduler *s, uint64_t now)
{
    const double bound = 4 * (double)s->core.chunk_ns + 8 * s->largest_work;
    lt_ledger *shown = &s->ledgers[LT_POLICY_TO_EDF], *real = &s->ledgers[LT_REAL_TO_EDF];
    const double chance = 4 * sqrt(shown->squares) + 2 * s->largest_work;
    const double need = ldexp(fmin(chance, 2 * bound), (int)s->doubts);
    close_ticks(s, shown, now, 2 * need);
    close_ticks(s, real, now, 4 * bound);
    close_ticks(s, &s->ledgers[LT_TRIAL_TO_POLICY], now, INFINITY);
    if (s->core.policy != LEAT_POLICY_LEARNED) {
        if (shown->gain > need && now - s->first_ns >= s->horizon) {
            s->core.policy = LEAT_POLICY_LEARNED;
            s->edf_done = s->shadows[LT_SHADOW_EDF].stats.work_on_time_ns;
            real->gain = 0;
        }
        return;
    }
    const double done = (double)(s->shadows[LT_SHADOW_EDF].stats.work_on_time_ns - s->edf_done);
    const bool worse = real->gain < -bound - s->desc.guard_loss * done;
    if (worse || shown->gain < 0) {
        s->core.policy = LEAT_POLICY_EDF;
        s->takeovers++;
        s->doubts += s->doubts < MOST_DOUBTS;
        shown->gain = worse ? -need : shown->gain;
    } else if (s->doubts > 0 && shown->gain >= 2 * need) {
        s->doubts--;
        shown->gain = need;
    }
}

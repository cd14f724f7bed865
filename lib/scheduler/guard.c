/* SPDX-License-Identifier: Apache-2.0 */
/* The guard: an EDF scheduler with admission decides in the learned policy's shadow about the same
 * requests. */
#include "scheduler/scheduler.h"

#define MOST_CREDIT_NS 1e9

static void begin_shadow(leat_scheduler *s, uint32_t device, uint64_t now)
{
    lt_core *c = &s->shadow;
    void *item;
    for (uint32_t q = 0; q < c->n_queues; q++) {
        while (lt_core_expire(c, q, now, &item)) {
        }
    }
    const lt_choice choice = lt_core_pick(c, device, now);
    if (choice.rows > 0) {
        lt_core_begin(c, device, &choice, now, NULL, s->shadow_deadlines[device]);
    }
}

void lt_shadow_follow(leat_scheduler *s, uint64_t now)
{
    lt_core *c = &s->shadow;
    for (;;) {
        uint32_t first = LEAT_MAX_DEVICES;
        for (uint32_t d = 0; d < c->n_devices; d++) {
            if (c->devices[d].busy && c->devices[d].end <= now &&
                (first == LEAT_MAX_DEVICES || c->devices[d].end < c->devices[first].end)) {
                first = d;
            }
        }
        if (first == LEAT_MAX_DEVICES) {
            break;
        }
        const uint64_t end = c->devices[first].end;
        lt_core_end(c, first, end, s->shadow_deadlines[first]);
        begin_shadow(s, first, end);
    }
    for (uint32_t d = 0; c->stats.waiting > 0 && d < c->n_devices; d++) {
        if (!c->devices[d].busy) {
            begin_shadow(s, d, now);
        }
    }
}

/* EDF takes over when the learned policy has done less work in time than its shadow by guard_loss
 * (and a few batches, which are chance), and hands back when half of that is made good. What it has
 * done more is credit up to one second: a shadow that is behind catches up on requests with long
 * deadlines later. */
void lt_shadow_guard(leat_scheduler *s)
{
    const double done = (double)s->shadow.stats.work_on_time_ns;
    const double bound = s->desc.guard_loss * done + 4 * (double)s->core.chunk_ns;
    double loss = done - (double)s->core.stats.work_on_time_ns - s->shadow_base;
    if (loss < -MOST_CREDIT_NS) {
        s->shadow_base += loss + MOST_CREDIT_NS;
        loss = -MOST_CREDIT_NS;
    }
    if (s->core.policy == LEAT_POLICY_LEARNED && loss > bound) {
        s->core.policy = LEAT_POLICY_EDF;
        s->takeovers++;
    } else if (s->core.policy != LEAT_POLICY_LEARNED && loss < bound / 2) {
        s->core.policy = LEAT_POLICY_LEARNED;
    }
}

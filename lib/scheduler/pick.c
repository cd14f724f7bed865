/* SPDX-License-Identifier: Apache-2.0 */
/* The policies that follow a rule. */
#include "scheduler/core.h"

/* What a policy takes the least of. */
static double key_of(const lt_core *c, const lt_queue *q, uint32_t device, uint32_t rows)
{
    switch (c->policy) {
    case LEAT_POLICY_FIFO:
        return (double)lt_queue_at(q, 0)->arrived;
    case LEAT_POLICY_SJF:
        return q->cost[device][rows];
    case LEAT_POLICY_FAIR:
        return q->served;
    default:
        return (double)lt_queue_due(c, q);
    }
}

/* Whether the queue waits for more requests; *until is then when it stops doing so. */
static bool held(const lt_core *c, const lt_queue *q, uint32_t device, uint64_t now, uint32_t rows,
                 uint64_t *until)
{
    const lt_waiting *head = lt_queue_at(q, 0);
    uint64_t end = head->arrived + c->hold_ns;
    if (c->hold_ns == 0 || rows >= q->most[c->longer][device]) {
        return false;
    }
    if (head->deadline != LT_NEVER) { /* twice its time, so that it can still be met */
        const uint64_t need = 2 * (uint64_t)q->cost[device][rows];
        const uint64_t latest = head->deadline > need ? head->deadline - need : 0;
        end = latest < end ? latest : end;
    }
    *until = end < *until ? end : *until;
    return now < end;
}

lt_choice lt_core_pick(const lt_core *c, uint32_t device, uint64_t now)
{
    lt_choice best = {.until = LT_NEVER};
    double best_key = 0;
    uint32_t best_class = 0;
    bool best_starved = false;
    if (c->policy == LEAT_POLICY_LEARNED) {
        return lt_core_pick_learned(c, device, now);
    }
    for (uint32_t i = 0; i < c->n_queues; i++) {
        const lt_queue *q = &c->queues[i];
        if (q->waiting == 0 || q->cost[device] == NULL) {
            continue;
        }
        const uint32_t rows = lt_queue_fit(q, device, now, q->most[c->longer][device]);
        const bool starved = now - lt_queue_at(q, 0)->arrived > c->max_wait[q->class_index];
        const uint32_t class_index = c->strict ? q->class_index : 0;
        uint64_t until = best.until;
        if (!starved && held(c, q, device, now, rows, &until)) {
            best.until = until;
            continue;
        }
        const double key = key_of(c, q, device, rows);
        if (best.rows == 0 || starved > best_starved ||
            (starved == best_starved &&
             (class_index < best_class || (class_index == best_class && key < best_key)))) {
            best.queue = i;
            best.rows = rows;
            best_key = key;
            best_class = class_index;
            best_starved = starved;
        }
    }
    return best;
}

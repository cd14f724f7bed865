/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that come, are begun and end, and what is counted. */
#include "base/error.h"
#include "scheduler/scheduler.h"

#include <string.h>

leat_status lt_scheduler_take(lt_core *c, bool admit, uint32_t queue, uint64_t now,
                              uint64_t deadline, void *item, leat_error *err)
{
    if (admit && deadline != LT_NEVER) {
        const double predicted = lt_core_predict(c, queue, now, deadline);
        if (predicted > (double)(deadline - now)) {
            lt_core_refuse(c, queue, now);
            return lt_fail(err, LEAT_EXPIRED,
                           "the request would be complete after %.3f ms, its deadline is %.3f ms",
                           predicted / 1e6, (double)(deadline - now) / 1e6);
        }
    }
    if (!lt_core_push(c, queue, now, deadline, item)) {
        return lt_fail(err, LEAT_BUSY, "%u requests wait in queue %u", c->queues[queue].limit,
                       queue);
    }
    return LEAT_OK;
}

leat_status leat_scheduler_submit(leat_scheduler *s, uint32_t queue, void *item,
                                  uint64_t deadline_ns, leat_error *err)
{
    leat_status status = LEAT_OK;
    if (s == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_scheduler_submit: the scheduler is NULL");
    }
    pthread_mutex_lock(&s->lock);
    const uint64_t now = lt_scheduler_now(s);
    const uint64_t deadline =
        deadline_ns == 0 || deadline_ns > LT_NEVER - now ? LT_NEVER : now + deadline_ns;
    lt_core *c = &s->core;
    if (queue >= c->n_queues) {
        status = lt_fail(err, LEAT_INVALID, "queue %u: there are %u", queue, c->n_queues);
        goto out;
    }
    if (deadline != LT_NEVER) {
        lt_scheduler_doubt(s, queue, deadline - now);
    }
    if (s->n_shadows > 0) {
        lt_shadow_submit(s, queue, now, deadline);
        lt_shadow_guard(s, now);
        if (s->n_shadows > LT_SHADOW_TRIAL) {
            lt_scheduler_learn(s, now);
        }
    }
    const bool admit = s->desc.admit || (lt_scheduler_guarded(s) && lt_rules[s->acting].admit);
    status = lt_scheduler_take(c, admit, queue, now, deadline, item, err);
    if (status == LEAT_OK) {
        lt_scheduler_wake(s);
    }
out:
    pthread_mutex_unlock(&s->lock);
    return status;
}

/* The caller holds the lock. */
void lt_scheduler_begin(leat_scheduler *s, uint32_t device, uint64_t now, leat_dispatch *out)
{
    lt_core *c = &s->core;
    void *item;
    *out = (leat_dispatch){.items = out->items, .until_ns = LT_NEVER};
    if (c->devices[device].lost) {
        return;
    }
    for (uint32_t q = 0; q < c->n_queues; q++) {
        while (lt_core_expire(c, q, now, &item)) {
            if (s->desc.expired != NULL) {
                s->desc.expired(s->desc.user, q, item);
            }
        }
    }
    const lt_choice choice = lt_core_pick(c, device, now);
    for (uint32_t i = 0; i < choice.shed; i++) {
        item = lt_core_give_back(c, choice.queue);
        if (s->desc.expired != NULL) {
            s->desc.expired(s->desc.user, choice.queue, item);
        }
    }
    out->queue = choice.queue;
    out->rows = choice.rows;
    out->until_ns = choice.until;
    if (choice.rows > 0) {
        lt_core_begin(c, device, &choice, now);
        for (uint32_t i = 0; i < choice.rows; i++) {
            out->items[i] = c->devices[device].batch[i].item;
        }
    }
    if (s->desc.decided != NULL && c->stats.waiting + choice.rows > 0) {
        const leat_decision log = {now,         device,    choice.queue,
                                   choice.rows, c->policy, choice.rows ? 0 : choice.until};
        s->desc.decided(s->desc.user, &log);
    }
}

leat_status leat_scheduler_begin(leat_scheduler *s, uint32_t device, leat_dispatch *dispatch,
                                 leat_error *err)
{
    leat_status status = LEAT_OK;
    if (s == NULL || dispatch == NULL || dispatch->items == NULL || device >= s->desc.n_devices ||
        s->desc.run != NULL) {
        return lt_fail(err, LEAT_INVALID,
                       "leat_scheduler_begin: an argument is NULL, there is no device %u, or the "
                       "scheduler has threads",
                       device);
    }
    pthread_mutex_lock(&s->lock);
    if (s->core.devices[device].busy) {
        status = lt_fail(err, LEAT_INVALID, "device %u has not ended", device);
    } else {
        lt_scheduler_begin(s, device, lt_scheduler_now(s), dispatch);
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

/* The caller holds the lock. */
void lt_scheduler_end(leat_scheduler *s, uint32_t device, uint64_t now)
{
    const lt_running *r = &s->core.devices[device];
    if (!r->busy) {
        return; /* lost meanwhile; its requests wait again */
    }
    lt_scheduler_correct(s, r->queue, device, r->rows, (double)(now - r->begun) + 1);
    if (s->n_shadows > 0) {
        lt_shadow_credit(s, &s->core, device, now);
    }
    lt_core_end(&s->core, device, now);
}

leat_status leat_scheduler_end(leat_scheduler *s, uint32_t device, leat_error *err)
{
    leat_status status = LEAT_OK;
    if (s == NULL || device >= s->desc.n_devices || s->desc.run != NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_scheduler_end: no scheduler or no device %u",
                       device);
    }
    pthread_mutex_lock(&s->lock);
    if (s->core.devices[device].busy) {
        lt_scheduler_end(s, device, lt_scheduler_now(s));
    } else if (s->core.devices[device].lost) {
        status = lt_fail(err, LEAT_NO_DEVICE, "device %u was lost", device);
    } else {
        status = lt_fail(err, LEAT_INVALID, "device %u has not begun", device);
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

/* Its requests wait again; or it is there again. */
static leat_status set_lost(leat_scheduler *s, uint32_t device, bool lost, leat_error *err)
{
    if (s == NULL || device >= s->desc.n_devices) {
        return lt_fail(err, LEAT_INVALID, "no scheduler, or no device %u", device);
    }
    pthread_mutex_lock(&s->lock);
    if (s->core.devices[device].lost != lost) {
        lt_core_put_back(&s->core, device);
        s->core.devices[device].lost = lost;
        lt_shadow_lose(s, device, lost, lt_scheduler_now(s));
        pthread_cond_broadcast(&s->work);
    }
    pthread_mutex_unlock(&s->lock);
    return LEAT_OK;
}

leat_status leat_scheduler_lose(leat_scheduler *s, uint32_t device, leat_error *err)
{
    return set_lost(s, device, true, err);
}

leat_status leat_scheduler_restore(leat_scheduler *s, uint32_t device, leat_error *err)
{
    return set_lost(s, device, false, err);
}

void leat_scheduler_read_stats(leat_scheduler *s, leat_scheduler_stats *out)
{
    if (s == NULL || out == NULL || out->struct_size != sizeof(*out)) {
        return;
    }
    pthread_mutex_lock(&s->lock);
    *out = s->core.stats;
    out->takeovers = s->takeovers;
    out->stand_in_changes = s->stand_in_changes;
    out->trials = s->learning.trials;
    out->steps = s->learning.steps;
    out->guarded = lt_scheduler_guarded(s);
    out->stand_in = (int32_t)s->acting;
    pthread_mutex_unlock(&s->lock);
    out->struct_size = sizeof(*out);
}

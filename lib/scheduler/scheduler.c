/* SPDX-License-Identifier: Apache-2.0 */
/* The scheduler's life and its threads. */
#include "scheduler/scheduler.h"

#include "base/error.h"

#include <math.h>
#include <string.h>

static leat_status check_desc(const leat_scheduler_desc *d, leat_error *err)
{
    if (d == NULL || d->struct_size != sizeof(*d) || d->context == NULL) {
        return lt_fail(err, LEAT_INVALID,
                       "leat_scheduler_desc: struct_size must be its size, context not NULL");
    }
    if (d->n_devices < 1 || d->n_devices > LEAT_MAX_DEVICES) {
        return lt_fail(err, LEAT_INVALID, "n_devices is %u: 1 to %d", d->n_devices,
                       LEAT_MAX_DEVICES);
    }
    if ((unsigned)d->policy > LEAT_POLICY_LEARNED || !(d->guard_loss >= 0)) {
        return lt_fail(err, LEAT_INVALID, "no policy %d, or guard_loss below 0", (int)d->policy);
    }
    if (!(d->learn_step >= 0 && d->learn_step <= 1) || (d->learn_step > 0 && d->guard_loss >= 1)) {
        return lt_fail(
            err, LEAT_INVALID,
            "learn_step is %g: 0 to 1, and above 0 only with a guard (guard_loss below 1)",
            (double)d->learn_step);
    }
    if (d->run != NULL && d->clock != NULL) {
        return lt_fail(err, LEAT_INVALID, "a clock of one's own goes without `run`");
    }
    for (int i = 0; d->weights != NULL && i < LEAT_POLICY_WEIGHTS; i++) {
        if (!isfinite(d->weights->weights[i])) {
            return lt_fail(err, LEAT_INVALID, "weight %d is not finite", i);
        }
    }
    return LEAT_OK;
}

static leat_status init_core(leat_scheduler *s, lt_core *c, leat_policy policy, leat_error *err)
{
    const leat_scheduler_desc *d = &s->desc;
    c->policy = policy;
    c->strict = d->policy != LEAT_POLICY_LEARNED && d->strict_classes;
    c->hold_ns = d->hold_ns;
    c->chunk_ns = d->chunk_ns ? d->chunk_ns : 2000000;
    c->margin = policy == LEAT_POLICY_EDF && d->admit ? 1 : 0;
    c->weights = s->weights.weights;
    c->n_devices = d->n_devices;
    for (int i = 0; i < LEAT_MAX_CLASSES; i++) {
        c->max_wait[i] = d->max_wait_ns[i] ? d->max_wait_ns[i]
                         : i == 0          ? 1000000000
                                           : 4 * c->max_wait[i - 1];
    }
    for (uint32_t i = 0; i < d->n_devices; i++) {
        c->devices[i].batch = lt_arena_array(&s->arena, LT_MOST_BATCH, sizeof(lt_waiting));
        if (c->devices[i].batch == NULL) {
            return lt_fail(err, LEAT_NO_MEMORY, "no memory for a scheduler's batches");
        }
    }
    return LEAT_OK;
}

/* The policy begins in the shadow: a rule decides until it has shown itself there. */
static leat_status init_cores(leat_scheduler *s, leat_error *err)
{
    const leat_policy own = s->desc.policy;
    if (own == LEAT_POLICY_LEARNED && s->desc.guard_loss < 1) {
        s->n_shadows = s->desc.learn_step > 0 ? LT_N_SHADOWS : LT_SHADOW_TRIAL;
    }
    s->learning.seed = s->desc.seed;
    leat_status status = init_core(s, &s->core, s->n_shadows ? LEAT_POLICY_EDF : own, err);
    for (uint32_t k = 0; status == LEAT_OK && k < s->n_shadows; k++) {
        const bool rule = k < LT_N_RULES;
        lt_core *c = &s->shadows[k];
        status = init_core(s, c, rule ? LEAT_POLICY_EDF : LEAT_POLICY_LEARNED, err);
        c->hold_ns = rule && lt_rules[k].holds ? c->chunk_ns / 2 : 0;
        c->longer = rule && lt_rules[k].longer;
        c->margin = rule && lt_rules[k].admit ? 1 : 0;
    }
    if (s->n_shadows > 0) {
        s->stand_in = s->acting = LT_RULE_FIRST;
        s->core.hold_ns = s->shadows[LT_RULE_FIRST].hold_ns;
        s->core.margin = s->shadows[LT_RULE_FIRST].margin;
    }
    s->shadows[LT_SHADOW_TRIAL].weights = s->learning.tried.weights;
    return status;
}

static void *device_loop(void *argument);

static leat_status start_threads(leat_scheduler *s, leat_error *err)
{
    if (s->desc.run == NULL) {
        return LEAT_OK;
    }
    s->threads = lt_arena_array(&s->arena, s->desc.n_devices, sizeof(*s->threads));
    if (s->threads == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for a scheduler's threads");
    }
    for (uint32_t d = 0; d < s->desc.n_devices; d++) {
        s->threads[d].scheduler = s;
        s->threads[d].device = d;
        if (pthread_create(&s->threads[d].thread, NULL, device_loop, &s->threads[d]) != 0) {
            return lt_fail(err, LEAT_IO, "a scheduler's thread cannot be made");
        }
        s->n_threads++;
    }
    return LEAT_OK;
}

leat_status leat_scheduler_create(const leat_scheduler_desc *desc, leat_scheduler **out_scheduler,
                                  leat_error *err)
{
    leat_status status = check_desc(desc, err);
    if (status != LEAT_OK || out_scheduler == NULL) {
        return status ? status : lt_fail(err, LEAT_INVALID, "out_scheduler is NULL");
    }
    *out_scheduler = NULL;
    lt_memory *memory = &desc->context->memory;
    leat_scheduler *s = lt_alloc_zeroed(memory, sizeof(*s), LT_ALIGNMENT);
    if (s == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for a scheduler");
    }
    s->memory = memory;
    s->desc = *desc;
    s->desc.guard_loss = desc->guard_loss > 0 ? desc->guard_loss : 0.003;
    lt_arena_init(&s->arena, memory, 0);
    pthread_mutex_init(&s->lock, NULL);
    lt_clock_cond_init(&s->work);
    s->weights = desc->weights ? *desc->weights : *leat_policy_default();
    status = init_cores(s, err);
    status = status ? status : start_threads(s, err);
    if (status != LEAT_OK) {
        leat_scheduler_destroy(s);
        return status;
    }
    *out_scheduler = s;
    return LEAT_OK;
}

void leat_scheduler_destroy(leat_scheduler *s)
{
    if (s == NULL) {
        return;
    }
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    pthread_cond_broadcast(&s->work);
    pthread_mutex_unlock(&s->lock);
    for (uint32_t i = 0; i < s->n_threads; i++) {
        pthread_join(s->threads[i].thread, NULL);
    }
    for (uint32_t i = 0; i < s->core.n_queues; i++) {
        const lt_queue *q = &s->core.queues[i];
        for (uint32_t r = 0; s->desc.expired != NULL && r < q->waiting; r++) {
            s->desc.expired(s->desc.user, i, lt_queue_at(q, r)->item);
        }
    }
    pthread_cond_destroy(&s->work);
    pthread_mutex_destroy(&s->lock);
    lt_arena_destroy(&s->arena);
    lt_free(s->memory, s, sizeof(*s));
}

/* The caller holds the lock. */
static void wait_for_work(leat_scheduler *s, uint64_t until)
{
    if (until == LT_NEVER) {
        pthread_cond_wait(&s->work, &s->lock);
        return;
    }
    const struct timespec limit = {.tv_sec = (time_t)(until / 1000000000u),
                                   .tv_nsec = (long)(until % 1000000000u)};
    (void)pthread_cond_timedwait(&s->work, &s->lock, &limit);
}

static void *device_loop(void *argument)
{
    lt_device_thread *t = argument;
    leat_scheduler *s = t->scheduler;
    leat_dispatch dispatch = {.items = t->items};
    pthread_mutex_lock(&s->lock);
    while (!s->closing) {
        lt_scheduler_begin(s, t->device, lt_clock_ns(), &dispatch);
        if (dispatch.rows == 0) {
            wait_for_work(s, dispatch.until_ns);
            continue;
        }
        if (s->core.stats.waiting > 0) {
            lt_scheduler_wake(s); /* another device may be idle */
        }
        pthread_mutex_unlock(&s->lock);
        s->desc.run(s->desc.user, t->device, dispatch.queue, t->items, dispatch.rows);
        pthread_mutex_lock(&s->lock);
        lt_scheduler_end(s, t->device, lt_clock_ns());
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

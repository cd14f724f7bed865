/* SPDX-License-Identifier: Apache-2.0 */
/* The scheduler's life, its lock and its threads, and the guard. */
#include "base/clock.h"
#include "base/error.h"
#include "runtime/context.h"
#include "scheduler/core.h"

#include <math.h>
#include <string.h>

enum {
    MOST_BATCH = 1024
};

#define MOST_CREDIT_NS 1e9

typedef struct device_thread {
    leat_scheduler *scheduler;
    uint32_t device;
    pthread_t thread;
    void *items[MOST_BATCH];
} device_thread;

struct leat_scheduler {
    lt_memory *memory;
    leat_scheduler_desc desc;
    leat_policy_weights weights;
    lt_arena arena;
    device_thread *threads; /* of desc.run; NULL: none */
    uint32_t n_threads;

    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t work;
    bool closing;
    lt_core core;
    uint64_t deadlines[LEAT_MAX_DEVICES][MOST_BATCH]; /* of what runs */

    bool has_shadow;
    lt_core shadow; /* the same requests by EDF */
    uint64_t shadow_deadlines[LEAT_MAX_DEVICES][MOST_BATCH];
    double shadow_base; /* nanoseconds of work beyond what counts as credit */
    uint64_t takeovers;
};

static uint64_t now_of(const leat_scheduler *s)
{
    return s->desc.clock ? s->desc.clock(s->desc.clock_user) : lt_clock_ns();
}

/* ---- life ------------------------------------------------------------------------------------ */

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

static void init_core(leat_scheduler *s, lt_core *c, leat_policy policy)
{
    const leat_scheduler_desc *d = &s->desc;
    c->policy = policy;
    c->strict = policy != LEAT_POLICY_LEARNED && d->strict_classes;
    c->hold_ns = d->hold_ns;
    c->chunk_ns = d->chunk_ns ? d->chunk_ns : 2000000;
    c->weights = s->weights.weights;
    c->n_devices = d->n_devices;
    for (int i = 0; i < LEAT_MAX_CLASSES; i++) {
        c->max_wait[i] = d->max_wait_ns[i] ? d->max_wait_ns[i]
                         : i == 0          ? 1000000000
                                           : 4 * c->max_wait[i - 1];
    }
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
    init_core(s, &s->core, desc->policy);
    s->has_shadow = desc->policy == LEAT_POLICY_LEARNED && s->desc.guard_loss < 1;
    init_core(s, &s->shadow, LEAT_POLICY_EDF);
    status = start_threads(s, err);
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

/* ---- queues ---------------------------------------------------------------------------------- */

/* L(rows) of a device from the points; 0: it has none. */
static double interpolate(const leat_queue_desc *d, uint32_t device, uint32_t rows)
{
    const leat_cost_point *below = NULL, *above = NULL;
    for (size_t i = 0; i < d->n_costs; i++) {
        const leat_cost_point *p = &d->costs[i];
        if (p->device == device && p->rows <= rows && (below == NULL || p->rows > below->rows)) {
            below = p;
        }
        if (p->device == device && p->rows >= rows && (above == NULL || p->rows < above->rows)) {
            above = p;
        }
    }
    if (below == NULL || above == NULL) {
        return above ? (double)above->ns : below ? (double)below->ns * rows / below->rows : 0;
    }
    const double part =
        above == below ? 0 : (double)(rows - below->rows) / (above->rows - below->rows);
    return (double)below->ns + part * ((double)above->ns - (double)below->ns);
}

/* The most rows that take `ns` at most; 1 at least. */
static uint32_t rows_within(const lt_queue *q, const float *cost, uint64_t ns)
{
    uint32_t rows = q->max_batch;
    while (rows > 1 && cost[rows] > (float)ns) {
        rows--;
    }
    return rows;
}

static bool fill_queue(leat_scheduler *s, lt_core *c, const leat_queue_desc *d)
{
    lt_queue *q = &c->queues[c->n_queues];
    uint32_t capacity = 1;
    while (capacity < (d->capacity ? d->capacity : 1024)) {
        capacity *= 2;
    }
    *q = (lt_queue){.class_index = d->class_index,
                    .max_batch = d->max_batch,
                    .weight = d->weight > 0 ? d->weight : 1,
                    .capacity = capacity};
    q->ring = lt_arena_array(&s->arena, capacity, sizeof(*q->ring));
    bool ok = q->ring != NULL;
    for (uint32_t v = 0; ok && v < c->n_devices; v++) {
        if (interpolate(d, v, 1) == 0) {
            continue;
        }
        float *cost = lt_arena_array(&s->arena, d->max_batch + 1, sizeof(*cost));
        ok = cost != NULL;
        for (uint32_t b = 1; ok && b <= d->max_batch; b++) {
            cost[b] = (float)interpolate(d, v, b);
            const float work = cost[b] / (float)b;
            q->work = q->work == 0 || work < q->work ? work : q->work;
        }
        q->cost[v] = cost;
        if (ok) {
            const bool urgent = d->class_index == 0;
            q->most[0][v] = urgent ? d->max_batch : rows_within(q, cost, c->chunk_ns);
            q->most[1][v] = urgent ? d->max_batch : rows_within(q, cost, 4 * c->chunk_ns);
        }
    }
    return ok;
}

static leat_status check_queue(const leat_scheduler *s, const leat_queue_desc *d, leat_error *err)
{
    if (d->struct_size != sizeof(*d) || d->class_index >= LEAT_MAX_CLASSES || d->max_batch < 1 ||
        d->max_batch > MOST_BATCH || d->capacity > 1u << 24 || !(d->weight >= 0) ||
        !(d->weight < 1e9) || d->costs == NULL || d->n_costs == 0) {
        return lt_fail(err, LEAT_INVALID,
                       "leat_queue_desc: class %u of %d, max_batch %u (1 to %d), capacity %u, "
                       "weight %g, %zu costs (one at least)",
                       d->class_index, LEAT_MAX_CLASSES, d->max_batch, MOST_BATCH, d->capacity,
                       d->weight, d->n_costs);
    }
    for (size_t i = 0; i < d->n_costs; i++) {
        const leat_cost_point *p = &d->costs[i];
        if (p->device >= s->desc.n_devices || p->rows == 0 || p->ns == 0 || p->ns > 1ull << 53) {
            return lt_fail(err, LEAT_INVALID, "cost %zu: device %u, %u rows, %llu ns", i, p->device,
                           p->rows, (unsigned long long)p->ns);
        }
    }
    return LEAT_OK;
}

leat_status leat_scheduler_add(leat_scheduler *s, const leat_queue_desc *desc, uint32_t *out_queue,
                               leat_error *err)
{
    if (s == NULL || desc == NULL || out_queue == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_scheduler_add: an argument is NULL");
    }
    leat_status status = check_queue(s, desc, err);
    if (status != LEAT_OK) {
        return status;
    }
    pthread_mutex_lock(&s->lock);
    if (s->core.n_queues == LEAT_MAX_QUEUES) {
        status = lt_fail(err, LEAT_LIMIT, "a scheduler has %d queues", LEAT_MAX_QUEUES);
    } else if (!fill_queue(s, &s->core, desc) ||
               (s->has_shadow && !fill_queue(s, &s->shadow, desc))) {
        status = lt_fail(err, LEAT_NO_MEMORY, "no memory for a queue");
    } else {
        *out_queue = s->core.n_queues++;
        s->shadow.n_queues += s->has_shadow;
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

/* ---- the guard ------------------------------------------------------------------------------- */

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

/* Lets the shadow's devices go on until `now`, each batch taking what the table says. */
static void follow_shadow(leat_scheduler *s, uint64_t now)
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
static void guard(leat_scheduler *s)
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

/* ---- requests -------------------------------------------------------------------------------- */

/* A request into its queue, or refused. */
static leat_status take(lt_core *c, bool admit, uint32_t queue, uint64_t now, uint64_t deadline,
                        void *item, leat_error *err)
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
        return lt_fail(err, LEAT_BUSY, "%u requests wait in queue %u", c->queues[queue].capacity,
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
    const uint64_t now = now_of(s);
    const uint64_t deadline =
        deadline_ns == 0 || deadline_ns > LT_NEVER - now ? LT_NEVER : now + deadline_ns;
    lt_core *c = &s->core;
    if (queue >= c->n_queues) {
        status = lt_fail(err, LEAT_INVALID, "queue %u: there are %u", queue, c->n_queues);
        goto out;
    }
    if (s->has_shadow) {
        follow_shadow(s, now);
        (void)take(&s->shadow, true, queue, now, deadline, NULL, NULL);
        follow_shadow(s, now);
        guard(s);
    }
    const bool guarded = s->has_shadow && c->policy != LEAT_POLICY_LEARNED;
    status = take(c, s->desc.admit || guarded, queue, now, deadline, item, err);
    if (status == LEAT_OK) {
        pthread_cond_signal(&s->work);
    }
out:
    pthread_mutex_unlock(&s->lock);
    return status;
}

/* The caller holds the lock. */
static void begin(leat_scheduler *s, uint32_t device, uint64_t now, leat_dispatch *out)
{
    lt_core *c = &s->core;
    void *item;
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
        lt_core_begin(c, device, &choice, now, out->items, s->deadlines[device]);
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
        begin(s, device, now_of(s), dispatch);
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

/* The caller holds the lock. Costs are corrected by an eighth of what they were wrong. */
static void end(leat_scheduler *s, uint32_t device, uint64_t now)
{
    const lt_running *r = &s->core.devices[device];
    float *cost = &s->core.queues[r->queue].cost[device][r->rows];
    *cost += ((float)(now - r->begun) + 1 - *cost) / 8;
    if (s->has_shadow) {
        s->shadow.queues[r->queue].cost[device][r->rows] = *cost;
    }
    lt_core_end(&s->core, device, now, s->deadlines[device]);
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
        end(s, device, now_of(s));
    } else {
        status = lt_fail(err, LEAT_INVALID, "device %u has not begun", device);
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

void leat_scheduler_read_stats(leat_scheduler *s, leat_scheduler_stats *out)
{
    if (s == NULL || out == NULL || out->struct_size != sizeof(*out)) {
        return;
    }
    pthread_mutex_lock(&s->lock);
    *out = s->core.stats;
    out->takeovers = s->takeovers;
    out->guarded = s->has_shadow && s->core.policy != LEAT_POLICY_LEARNED;
    pthread_mutex_unlock(&s->lock);
    out->struct_size = sizeof(*out);
}

/* ---- threads --------------------------------------------------------------------------------- */

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
    device_thread *t = argument;
    leat_scheduler *s = t->scheduler;
    leat_dispatch dispatch = {.items = t->items};
    pthread_mutex_lock(&s->lock);
    while (!s->closing) {
        begin(s, t->device, lt_clock_ns(), &dispatch);
        if (dispatch.rows == 0) {
            wait_for_work(s, dispatch.until_ns);
            continue;
        }
        if (s->core.stats.waiting > 0) {
            pthread_cond_signal(&s->work); /* another device may be idle */
        }
        pthread_mutex_unlock(&s->lock);
        s->desc.run(s->desc.user, t->device, dispatch.queue, t->items, dispatch.rows);
        pthread_mutex_lock(&s->lock);
        end(s, t->device, lt_clock_ns());
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Queues and what batches of them cost. */
#include "base/error.h"
#include "scheduler/scheduler.h"

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
        d->max_batch > LT_MOST_BATCH || d->capacity > 1u << 24 || !(d->weight >= 0) ||
        !(d->weight < 1e9) || d->costs == NULL || d->n_costs == 0) {
        return lt_fail(err, LEAT_INVALID,
                       "leat_queue_desc: class %u of %d, max_batch %u (1 to %d), capacity %u, "
                       "weight %g, %zu costs (one at least)",
                       d->class_index, LEAT_MAX_CLASSES, d->max_batch, LT_MOST_BATCH, d->capacity,
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

/* SPDX-License-Identifier: Apache-2.0 */
/* Queues and what batches of them cost. */
#include "base/error.h"
#include "scheduler/scheduler.h"

#include <string.h>

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

static void set_most(const leat_scheduler *s, lt_queue *q, uint32_t device)
{
    const uint64_t chunk = s->core.chunk_ns;
    const float *cost = q->cost[device];
    const bool preemptible = s->desc.preemptible >> device & 1;
    const bool whole = q->class_index == 0 && !preemptible;
    q->most[0][device] = whole ? q->max_batch : rows_within(q, cost, chunk);
    q->most[1][device] =
        whole ? q->max_batch : rows_within(q, cost, preemptible ? chunk : 4 * chunk);
}

static void set_least(const leat_scheduler *s, lt_queue *q)
{
    q->least = 0;
    for (uint32_t v = 0; v < s->desc.n_devices; v++) {
        for (uint32_t b = 1; q->cost[v] != NULL && b <= q->max_batch; b++) {
            const float each = q->cost[v][b] / (float)b;
            q->least = q->least == 0 || each < q->least ? each : q->least;
        }
    }
}

static lt_waiting *make_ring(leat_scheduler *s, const lt_queue *q)
{
    return lt_arena_array(&s->arena, q->capacity, sizeof(lt_waiting));
}

/* The queue of the real scheduler; the shadows' have the same costs. */
static bool fill_queue(leat_scheduler *s, const leat_queue_desc *d)
{
    const uint32_t at = s->core.n_queues;
    lt_queue *q = &s->core.queues[at];
    *q = (lt_queue){.class_index = d->class_index,
                    .max_batch = d->max_batch,
                    .weight = d->weight > 0 ? d->weight : 1,
                    .limit = d->capacity ? d->capacity : 1024,
                    .capacity = 1};
    while (q->capacity < q->limit + s->desc.n_devices * q->max_batch) {
        q->capacity *= 2;
    }
    q->ring = make_ring(s, q);
    bool ok = q->ring != NULL;
    for (uint32_t v = 0; ok && v < s->desc.n_devices; v++) {
        if (interpolate(d, v, 1) == 0) {
            continue;
        }
        q->cost[v] = lt_arena_array(&s->arena, d->max_batch + 1, sizeof(*q->cost[v]));
        ok = q->cost[v] != NULL;
        for (uint32_t b = 1; ok && b <= d->max_batch; b++) {
            q->cost[v][b] = (float)interpolate(d, v, b);
        }
        if (ok) {
            set_most(s, q, v);
        }
    }
    if (ok) {
        set_least(s, q);
        q->work = q->least;
        s->largest_work = q->work > s->largest_work ? q->work : s->largest_work;
    }
    for (uint32_t k = 0; ok && k < s->n_shadows; k++) {
        s->shadows[k].queues[at] = *q;
        s->shadows[k].queues[at].ring = make_ring(s, q);
        ok = s->shadows[k].queues[at].ring != NULL;
    }
    return ok;
}

/* What is the same for all cores. */
static void spread_costs(leat_scheduler *s, uint32_t queue)
{
    lt_queue *q = &s->core.queues[queue];
    set_least(s, q);
    for (uint32_t k = 0; k < s->n_shadows; k++) {
        lt_queue *other = &s->shadows[k].queues[queue];
        other->least = q->least;
        memcpy(other->most, q->most, sizeof(q->most));
    }
}

/* By an eighth of what the cost was wrong, less of batches less alike, none of half or twice the
 * rows. A run that took more than twice or less than half counts as that: one that the machine held
 * up says nothing of those to come. */
void lt_scheduler_correct(leat_scheduler *s, uint32_t queue, uint32_t device, uint32_t rows,
                          double ns)
{
    lt_queue *q = &s->core.queues[queue];
    float *cost = q->cost[device];
    const float ratio = (float)ns / cost[rows];
    const float wrong = ((ratio > 2 ? 2 : ratio < 0.5f ? 0.5f : ratio) - 1) / 8;
    for (uint32_t b = rows / 2 + 1; b < 2 * rows && b <= q->max_batch; b++) {
        const uint32_t apart = b < rows ? 2 * (rows - b) : b - rows;
        cost[b] *= 1 + wrong * (1 - (float)apart / (float)rows);
    }
    if (++q->corrected % 16 == 0) {
        set_most(s, q, device);
        spread_costs(s, queue);
    }
}

void lt_scheduler_doubt(leat_scheduler *s, uint32_t queue, uint64_t within)
{
    lt_queue *q = &s->core.queues[queue];
    for (uint32_t v = 0; v < s->desc.n_devices; v++) {
        if (q->cost[v] != NULL && q->cost[v][1] <= (float)within) {
            return;
        }
    }
    for (uint32_t v = 0; v < s->desc.n_devices; v++) {
        for (uint32_t b = 1; q->cost[v] != NULL && b <= q->max_batch; b++) {
            q->cost[v][b] *= 255 / 256.f;
        }
    }
    spread_costs(s, queue);
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
    } else if (!fill_queue(s, desc)) {
        status = lt_fail(err, LEAT_NO_MEMORY, "no memory for a queue");
    } else {
        *out_queue = s->core.n_queues++;
        for (uint32_t k = 0; k < s->n_shadows; k++) {
            s->shadows[k].n_queues++;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

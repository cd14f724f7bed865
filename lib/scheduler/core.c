/* SPDX-License-Identifier: Apache-2.0 */
/* Queues and what is counted of them. */
#include "scheduler/core.h"

uint32_t lt_queue_fit(const lt_queue *q, uint32_t device, uint64_t now, uint32_t most)
{
    const lt_waiting *head = lt_queue_at(q, 0);
    uint32_t low = 1, high = q->waiting < most ? q->waiting : most;
    if (head->deadline == LT_NEVER) {
        return high;
    }
    const double slack = head->deadline > now ? (double)(head->deadline - now) : 0;
    while (low < high) {
        const uint32_t middle = (low + high + 1) / 2;
        if ((double)q->cost[device][middle] * LT_MARGIN <= slack) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

/* Counts a request that came, and how long after the last one. */
static void note_arrival(lt_core *c, lt_queue *q, uint64_t now)
{
    c->stats.submitted[q->class_index]++;
    c->stats.work_submitted_ns += (uint64_t)q->work;
    if (q->last_arrival != 0 && now >= q->last_arrival) {
        const float gap = (float)(now - q->last_arrival) + 1;
        q->gap_ns = q->gap_ns == 0 ? gap : q->gap_ns + (gap - q->gap_ns) / 16;
    }
    q->last_arrival = now;
}

void lt_core_refuse(lt_core *c, uint32_t queue, uint64_t now)
{
    note_arrival(c, &c->queues[queue], now);
    c->stats.refused[c->queues[queue].class_index]++;
}

/* Behind those that are due before it. */
static void insert(lt_core *c, lt_queue *q, lt_waiting request)
{
    uint32_t at = q->waiting++;
    for (; at > 0 && lt_queue_at(q, at - 1)->deadline > request.deadline; at--) {
        *lt_queue_at(q, at) = *lt_queue_at(q, at - 1);
    }
    *lt_queue_at(q, at) = request;
    c->stats.waiting++;
}

bool lt_core_push(lt_core *c, uint32_t queue, uint64_t now, uint64_t deadline, void *item)
{
    lt_queue *q = &c->queues[queue];
    if (q->waiting >= q->limit) {
        lt_core_refuse(c, queue, now);
        return false;
    }
    note_arrival(c, q, now);
    if (q->waiting == 0 && q->served < c->virtual_time) {
        q->served = c->virtual_time;
    }
    insert(c, q, (lt_waiting){now, deadline, item});
    return true;
}

static void drop_head(lt_core *c, lt_queue *q)
{
    q->first = (q->first + 1) & (q->capacity - 1);
    q->waiting--;
    c->stats.waiting--;
}

void *lt_core_give_back(lt_core *c, uint32_t queue)
{
    lt_queue *q = &c->queues[queue];
    const lt_waiting *head = lt_queue_at(q, 0);
    void *item = head->item;
    c->stats.expired[q->class_index]++;
    lt_core_note_late(c, head, LT_NEVER);
    drop_head(c, q);
    return item;
}

bool lt_core_expire(lt_core *c, uint32_t queue, uint64_t now, void **out_item)
{
    lt_queue *q = &c->queues[queue];
    if (q->waiting == 0) {
        return false;
    }
    const lt_waiting *head = lt_queue_at(q, 0);
    float least = 0; /* the soonest that any device could have it done */
    for (uint32_t d = 0; d < c->n_devices; d++) {
        if (q->cost[d] != NULL && (least == 0 || q->cost[d][1] < least)) {
            least = q->cost[d][1];
        }
    }
    if (head->deadline == LT_NEVER || (double)head->deadline >= (double)now + (double)least) {
        return false;
    }
    *out_item = lt_core_give_back(c, queue);
    return true;
}

void lt_core_begin(lt_core *c, uint32_t device, const lt_choice *choice, uint64_t now)
{
    lt_queue *q = &c->queues[choice->queue];
    lt_running *r = &c->devices[device];
    const double cost = q->cost[device][choice->rows];
    c->virtual_time = q->served;
    q->served += cost / q->weight;
    for (uint32_t i = 0; i < choice->rows; i++) {
        r->batch[i] = *lt_queue_at(q, 0);
        drop_head(c, q);
    }
    r->busy = true;
    r->queue = choice->queue;
    r->rows = choice->rows;
    r->begun = now;
    r->end = now + (uint64_t)cost;
    c->stats.batches++;
}

void lt_core_end(lt_core *c, uint32_t device, uint64_t now)
{
    lt_running *r = &c->devices[device];
    const lt_queue *q = &c->queues[r->queue];
    for (uint32_t i = 0; i < r->rows; i++) {
        const bool good = r->batch[i].deadline >= now;
        c->stats.on_time[q->class_index] += good;
        c->stats.late[q->class_index] += !good;
        lt_core_note_late(c, &r->batch[i], now);
        c->stats.work_on_time_ns += good ? (uint64_t)q->work : 0;
    }
    c->stats.busy_ns[device] += now - r->begun;
    r->busy = false;
}

void lt_core_put_back(lt_core *c, uint32_t device)
{
    lt_running *r = &c->devices[device];
    for (uint32_t i = 0; r->busy && i < r->rows; i++) {
        insert(c, &c->queues[r->queue], r->batch[i]);
    }
    r->busy = false;
}

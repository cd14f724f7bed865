/* SPDX-License-Identifier: Apache-2.0 */
/* Admission: when a request would be complete, behind what goes before it.
 *
 * By EDF, on n devices (of its queue, that are not lost):
 *
 *     finish = (what runs + margin * batches before) / n + own batch
 *
 * Batches before are those of what waits and is due before it, each as large as it may be; in other
 * queues the last is filled up by what is due later. Its own is of those due before it that do not
 * fill a batch, and itself. What makes it later (batches cut for a deadline, or held; what comes
 * later and is due sooner) the margin is for: one late request lifts it as much as a hundred in
 * time lower it. It is of what goes before only: a request that nothing goes before is refused by
 * its cost alone, so that a margin can fall again. (More than twice the time refused more than was
 * late, in bench/sched: what is late then is so by holding.)
 *
 * By other rules all may go before that waits in queues that are due before, at the cost of their
 * best batches: counting what is due before gained on some of bench/sched's traces and lost on
 * others. */
#include "scheduler/core.h"

#define MOST_MARGIN 2.
#define MARGIN_STEP 0.001

void lt_core_note_late(lt_core *c, const lt_waiting *request, uint64_t end)
{
    if (c->margin > 0 && request->deadline != LT_NEVER) {
        c->margin += end > request->deadline ? MARGIN_STEP : -MARGIN_STEP / 100;
        c->margin = c->margin < 1 ? 1 : c->margin > MOST_MARGIN ? MOST_MARGIN : c->margin;
    }
}

/* Of requests in a queue, those that are due by a deadline. They are by deadline. */
static uint32_t n_due(const lt_core *c, const lt_queue *q, uint64_t deadline)
{
    uint32_t low = 0, high = q->waiting;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (lt_queue_at(q, middle)->deadline <= deadline) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == 0 && lt_queue_due(c, q) <= deadline ? 1 : low;
}

/* L(rows) of the device that is quickest at that; 0: there is none. */
static double least_cost(const lt_core *c, const lt_queue *q, uint32_t rows)
{
    float least = 0;
    for (uint32_t d = 0; d < c->n_devices; d++) {
        if (q->cost[d] != NULL && !c->devices[d].lost && (least == 0 || q->cost[d][rows] < least)) {
            least = q->cost[d][rows];
        }
    }
    return (double)least;
}

/* Costs on the device that runs a queue's largest batches, *out_rows; NULL: there is none. */
static const float *largest_batch(const lt_core *c, const lt_queue *q, uint32_t *out_rows)
{
    const float *cost = NULL;
    for (uint32_t d = 0; d < c->n_devices; d++) {
        const uint32_t rows = q->most[c->longer][d];
        if (q->cost[d] != NULL && !c->devices[d].lost &&
            (cost == NULL || rows > *out_rows ||
             (rows == *out_rows && q->cost[d][rows] < cost[rows]))) {
            cost = q->cost[d];
            *out_rows = rows;
        }
    }
    return cost;
}

/* What the batches of another queue take that go before a request with a deadline: those of what is
 * due by then, others filling up the last. */
static double others_before(const lt_core *c, const lt_queue *q, uint64_t deadline)
{
    uint32_t most = 1;
    const float *cost = q->waiting > 0 ? largest_batch(c, q, &most) : NULL;
    if (cost == NULL) {
        return 0;
    }
    const uint32_t due = n_due(c, q, deadline), full = due / most, rest = q->waiting - full * most;
    double ns = full * (double)cost[most];
    if (due > full * most) {
        ns += (double)cost[rest < most ? rest : most];
    }
    return ns;
}

/* What runs on a queue's devices and has not ended; *out_n of them. */
static double still_running(const lt_core *c, const lt_queue *q, uint64_t now, uint32_t *out_n)
{
    double ns = 0;
    *out_n = 0;
    for (uint32_t d = 0; d < c->n_devices; d++) {
        const lt_running *r = &c->devices[d];
        if (q->cost[d] != NULL && !r->lost) {
            ns += r->busy && r->end > now ? (double)(r->end - now) : 0;
            ++*out_n;
        }
    }
    return ns;
}

/* EDF: batches before it on all the queue's devices at once, then its own, of those that are due
 * before it in its queue. */
static double predict_by_due(const lt_core *c, uint32_t queue, uint64_t now, uint64_t deadline)
{
    const lt_queue *own = &c->queues[queue];
    uint32_t n, most = 1;
    const double running = still_running(c, own, now, &n);
    const float *cost = largest_batch(c, own, &most);
    const uint32_t due = own->waiting > 0 ? n_due(c, own, deadline) : 0;
    if (cost == NULL) {
        return 0; /* it waits for a device */
    }
    double before = due / most * (double)cost[most];
    for (uint32_t i = 0; i < c->n_queues; i++) {
        before += i == queue ? 0 : others_before(c, &c->queues[i], deadline);
    }
    return (running + c->margin * before) / n +
           (due % most ? c->margin : 1) * least_cost(c, own, due % most + 1);
}

static double predict_by_all(const lt_core *c, uint32_t queue, uint64_t now, uint64_t deadline)
{
    const lt_queue *own = &c->queues[queue];
    uint32_t n;
    double ahead = still_running(c, own, now, &n);
    for (uint32_t i = 0; i < c->n_queues; i++) {
        const lt_queue *q = &c->queues[i];
        if (q->waiting > 0 && (i == queue || lt_queue_due(c, q) <= deadline)) {
            ahead += (double)q->waiting * q->least;
        }
    }
    return ahead / (n ? n : 1) + least_cost(c, own, 1);
}

double lt_core_predict(const lt_core *c, uint32_t queue, uint64_t now, uint64_t deadline)
{
    return c->margin > 0 ? predict_by_due(c, queue, now, deadline)
                         : predict_by_all(c, queue, now, deadline);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A policy in simulated time: a clock that jumps from one event to the next. */
#include "sched/sched.h"

#include "base/clock.h"

typedef struct simulation {
    uint64_t now;
    uint32_t *times; /* [TIME_STEPS]: what leat_scheduler_begin took; NULL: not wanted */
    uint64_t decisions;
    FILE *log;
} simulation;

static uint64_t clock_of(void *user)
{
    return ((simulation *)user)->now;
}

static void decided(void *user, const leat_decision *d)
{
    simulation *s = user;
    s->decisions++;
    if (s->log != NULL) {
        fprintf(s->log, "%llu device %u queue %u rows %u policy %d until %llu\n",
                (unsigned long long)d->time_ns, d->device, d->queue, d->rows, (int)d->policy,
                (unsigned long long)d->until_ns);
    }
}

leat_scheduler *make_scheduler(const world *w, leat_scheduler_desc desc)
{
    leat_scheduler *scheduler;
    leat_error err;
    desc.struct_size = sizeof(desc);
    desc.context = w->context;
    desc.n_devices = w->n_devices;
    if (leat_scheduler_create(&desc, &scheduler, &err) != LEAT_OK) {
        fail("scheduler", &err);
    }
    for (size_t i = 0; i < w->n_streams; i++) {
        const stream *t = &w->streams[i];
        uint32_t queue;
        const leat_queue_desc q = {.struct_size = sizeof(q),
                                   .class_index = t->class_index,
                                   .max_batch = t->max_batch,
                                   .capacity = 4096,
                                   .weight = t->share,
                                   .costs = t->costs,
                                   .n_costs = t->n_costs};
        if (leat_scheduler_add(scheduler, &q, &queue, &err) != LEAT_OK) {
            fail(t->model, &err);
        }
    }
    return scheduler;
}

double cost_ns(const stream *s, uint32_t rows)
{
    const leat_cost_point *below = NULL, *above = NULL;
    for (size_t i = 0; i < s->n_costs && s->costs[i].device == 0; i++) {
        below = s->costs[i].rows <= rows ? &s->costs[i] : below;
        above = above == NULL && s->costs[i].rows >= rows ? &s->costs[i] : above;
    }
    if (above == NULL) {
        return (double)below->ns * rows / below->rows;
    }
    if (below == NULL || above == below) {
        return (double)above->ns;
    }
    return (double)below->ns + ((double)above->ns - (double)below->ns) * (rows - below->rows) /
                                   (above->rows - below->rows);
}

static void subtract(leat_scheduler_stats *s, const leat_scheduler_stats *before)
{
    for (int c = 0; c < LEAT_MAX_CLASSES; c++) {
        s->submitted[c] -= before->submitted[c];
        s->on_time[c] -= before->on_time[c];
        s->late[c] -= before->late[c];
        s->expired[c] -= before->expired[c];
        s->refused[c] -= before->refused[c];
    }
    for (int d = 0; d < LEAT_MAX_DEVICES; d++) {
        s->busy_ns[d] -= before->busy_ns[d];
    }
    s->work_on_time_ns -= before->work_on_time_ns;
}

result result_of(const world *w, leat_scheduler *scheduler, double time_ns,
                 const leat_scheduler_stats *before)
{
    leat_scheduler_stats stats = {.struct_size = sizeof(stats)};
    leat_scheduler_read_stats(scheduler, &stats);
    if (before != NULL) {
        subtract(&stats, before);
    }
    uint64_t on_time = 0, submitted = 0, used = 0;
    double worst = 1;
    for (int c = 0; c < LEAT_MAX_CLASSES; c++) {
        const double lost = (double)(stats.late[c] + stats.expired[c] + stats.refused[c]);
        if (stats.submitted[c] > 0 && 1 - lost / (double)stats.submitted[c] < worst) {
            worst = 1 - lost / (double)stats.submitted[c];
        }
        on_time += stats.on_time[c];
        submitted += stats.submitted[c];
    }
    for (uint32_t d = 0; d < w->n_devices; d++) {
        used += stats.busy_ns[d];
    }
    const double time = time_ns * w->n_devices;
    return (result){.goodput = (double)stats.work_on_time_ns / time,
                    .busy = (double)used / time,
                    .on_time = (double)on_time / (double)submitted,
                    .worst_class = worst,
                    .trials = stats.trials,
                    .steps = stats.steps,
                    .takeovers = stats.takeovers,
                    .changes = stats.stand_in_changes};
}

static void count_time(uint32_t *times, uint64_t begin)
{
    const uint64_t step = (lt_clock_ns() - begin) / 16;
    times[step < TIME_STEPS ? step : TIME_STEPS - 1]++;
}

result simulate(const world *w, int trace, uint64_t seed, leat_scheduler_desc desc)
{
    void *items[MOST_BATCH];
    simulation s = {.now = 1, .log = w->log, .times = w->times};
    desc.clock = clock_of;
    desc.clock_user = desc.user = &s;
    desc.decided = decided;
    leat_scheduler *scheduler = make_scheduler(w, desc);
    leat_scheduler_stats before = {.struct_size = sizeof(before)};
    bool warm = w->warm <= 0;
    const uint64_t horizon = (uint64_t)(w->seconds * 1e9);
    double arrival[MOST_STREAMS];
    uint64_t seeds[MOST_STREAMS], noise = seed * 77 + 5;
    uint64_t ends[LEAT_MAX_DEVICES] = {0}, until[LEAT_MAX_DEVICES] = {0};
    bool busy[LEAT_MAX_DEVICES] = {false};
    for (size_t i = 0; i < w->n_streams; i++) {
        seeds[i] = arrival_seed(seed, i, trace);
        arrival[i] = next_arrival(w, trace, &w->streams[i], 0, &seeds[i]);
    }
    for (;;) {
        size_t first = 0;
        for (size_t i = 1; i < w->n_streams; i++) {
            first = arrival[i] < arrival[first] ? i : first;
        }
        uint64_t next = (uint64_t)(arrival[first] * 1e9) + 1;
        int device = -1;
        for (uint32_t d = 0; d < w->n_devices; d++) {
            const uint64_t event = busy[d] ? ends[d] : until[d];
            if (event < next) {
                next = event;
                device = (int)d;
            }
        }
        if (next >= horizon) {
            break;
        }
        if (!warm && next >= (uint64_t)(w->warm * 1e9)) {
            leat_scheduler_read_stats(scheduler, &before);
            warm = true;
        }
        s.now = next > s.now ? next : s.now;
        if (device < 0) {
            const stream *t = &w->streams[first];
            const uint64_t begin = w->submit_times ? lt_clock_ns() : 0;
            (void)!leat_scheduler_submit(scheduler, (uint32_t)first, NULL,
                                         (uint64_t)(t->deadline_ms * 1e6), NULL);
            if (w->submit_times != NULL) {
                count_time(w->submit_times, begin);
            }
            arrival[first] = next_arrival(w, trace, t, arrival[first], &seeds[first]);
        } else if (busy[device]) {
            (void)!leat_scheduler_end(scheduler, (uint32_t)device, NULL);
            busy[device] = false;
        }
        for (uint32_t d = 0; d < w->n_devices; d++) {
            leat_dispatch out = {.items = items};
            if (busy[d]) {
                continue;
            }
            const uint64_t begin = s.times ? lt_clock_ns() : 0;
            if (leat_scheduler_begin(scheduler, d, &out, NULL) != LEAT_OK) {
                fail("begin", NULL);
            }
            if (s.times != NULL) {
                count_time(s.times, begin);
            }
            until[d] = out.until_ns;
            if (out.rows > 0) {
                const double cost = cost_ns(&w->streams[out.queue], out.rows);
                busy[d] = true;
                ends[d] = s.now + (uint64_t)(cost * (1 + 0.03 * (2 * uniform(&noise) - 1)));
            }
        }
    }
    result r = result_of(w, scheduler, (double)horizon - w->warm * 1e9, &before);
    r.decisions = s.decisions;
    leat_scheduler_destroy(scheduler);
    return r;
}

const char *const policy_names[N_FIXED + 1] = {"EDF", "FIFO", "SJF", "FAIR", "LEARNED"};

leat_scheduler_desc combination(int i)
{
    static const uint64_t holds[] = {0, 1000000, 4000000, 12000000};
    return (leat_scheduler_desc){.policy = (leat_policy)(i % 4),
                                 .strict_classes = i / 4 % 2,
                                 .hold_ns = holds[i / 8 % 4],
                                 .chunk_ns = i / 32 % 2 ? 8000000 : 2000000,
                                 .admit = i / 64 % 2};
}

result best_of_grid(const world *w, int trace, uint64_t seed, leat_scheduler_desc *out_desc,
                    double *goodputs)
{
    result best = {.goodput = -1};
    for (int i = 0; i < w->n_fixed; i++) {
        const leat_scheduler_desc desc = combination(w->fixed[i]);
        const result r = simulate(w, trace, seed, desc);
        if (goodputs != NULL) {
            goodputs[i] = r.goodput;
        }
        if (r.goodput > best.goodput) {
            best = r;
            *out_desc = desc;
        }
    }
    return best;
}

void name_policy(const leat_scheduler_desc *d, char *text, size_t bytes)
{
    snprintf(text, bytes, "%s%s hold %.1f chunk %d%s", policy_names[d->policy],
             d->strict_classes ? " strict" : "", (double)d->hold_ns / 1e6,
             (int)(d->chunk_ns / 1000000), d->admit ? " admit" : "");
}

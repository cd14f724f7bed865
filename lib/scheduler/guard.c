/* SPDX-License-Identifier: Apache-2.0 */
/* The guard: other schedulers decide in the real one's shadow about the same requests, each batch
 * taking what the table of costs says: a few rules that are safe, and the policy. The policy
 * decides for the devices only while its shadow is ahead of the best rule's, so that it must have
 * shown itself before; else that rule does, or the bold one while that is ahead of it. (Admission
 * helps where too much is asked for, holding where batches can grow, neither where the load is
 * light; longer batches gain more than urgent requests lose by them under most loads.)
 *
 * What is compared is work in time, of requests whose deadlines have passed: by then all have done
 * or lost them. (A policy that leaves for later what is due later has done less at any moment, but
 * lost nothing; one that starves it has done more, and will have lost it.) */
#include "scheduler/scheduler.h"

#include <math.h>
#include <string.h>

enum {
    MOST_DOUBTS = 6
};

#define LONGEST_NS (1ull << 40) /* of a deadline; one beyond counts as none */

const lt_rule lt_rules[LT_N_RULES] = {{.admit = true},
                                      {.holds = true},
                                      {.admit = false},
                                      {.admit = true, .holds = true, .longer = true}};

/* Whose work each ledger is about: the rules', by their numbers, and of others behind them. */
static const uint32_t compared[LT_N_LEDGERS] = {0,
                                                1,
                                                2,
                                                LT_RULE_BOLD,
                                                [LT_POLICY_TO_STAND_IN] = LT_SHADOW_POLICY,
                                                [LT_TRIAL_TO_POLICY] = LT_SHADOW_TRIAL,
                                                [LT_POLICY_TO_BOLD] = LT_SHADOW_POLICY,
                                                [LT_REAL_TO_STAND_IN] = LT_REAL};

static uint64_t tick_of(const leat_scheduler *s, uint64_t time)
{
    return time >> s->tick_shift;
}

/* One has done more than the other of requests with deadlines in the same tick. */
static void note(lt_ledger *l, double more)
{
    l->gain += more;
    l->squares += more * more;
}

static void bound(lt_ledger *l, double most)
{
    l->gain = l->gain > most ? most : l->gain < -most ? -most : l->gain;
}

static void close_ticks(leat_scheduler *s, uint64_t now)
{
    const uint64_t tick = tick_of(s, now);
    for (int i = 0; i < LT_OPEN_TICKS && s->tick < tick; i++, s->tick++) {
        double done[LT_N_SHADOWS + 1];
        for (int k = 0; k <= LT_N_SHADOWS; k++) {
            double *open = &s->open[k][s->tick % LT_OPEN_TICKS];
            done[k] = *open;
            *open = 0;
        }
        for (int k = 0; k < LT_N_LEDGERS; k++) {
            const uint32_t to = k == LT_TRIAL_TO_POLICY  ? LT_SHADOW_POLICY
                                : k == LT_POLICY_TO_BOLD ? LT_RULE_BOLD
                                                         : s->stand_in;
            note(&s->ledgers[k], done[compared[k]] - done[to]);
        }
    }
    s->tick = tick;
}

/* Twice as long ticks, until a deadline so far ahead has one. */
static void reach(leat_scheduler *s, uint64_t ahead)
{
    if (ahead <= s->horizon || ahead > LONGEST_NS) {
        return;
    }
    s->horizon = ahead;
    while (ahead >> s->tick_shift >= LT_OPEN_TICKS - 1) {
        for (int k = 0; k <= LT_N_SHADOWS; k++) {
            double merged[LT_OPEN_TICKS] = {0};
            for (uint64_t t = s->tick; t < s->tick + LT_OPEN_TICKS; t++) {
                merged[t / 2 % LT_OPEN_TICKS] += s->open[k][t % LT_OPEN_TICKS];
            }
            memcpy(s->open[k], merged, sizeof(merged));
        }
        s->tick /= 2;
        s->tick_shift++;
    }
}

void lt_shadow_credit(leat_scheduler *s, const lt_core *c, uint32_t device, uint64_t end)
{
    const lt_running *r = &c->devices[device];
    const double work = c->queues[r->queue].work;
    double *open = s->open[c == &s->core ? LT_REAL : c - s->shadows];
    for (uint32_t i = 0; i < r->rows; i++) {
        const uint64_t deadline = r->batch[i].deadline, tick = tick_of(s, deadline);
        if (deadline >= end) { /* without one, or far ahead: at once */
            const bool known = tick >= s->tick && tick < s->tick + LT_OPEN_TICKS;
            open[(known ? tick : s->tick) % LT_OPEN_TICKS] += work;
        }
    }
}

static void begin_shadow(lt_core *c, uint32_t device, uint64_t now)
{
    void *item;
    for (uint32_t q = 0; q < c->n_queues; q++) {
        while (lt_core_expire(c, q, now, &item)) {
        }
    }
    const lt_choice choice = lt_core_pick(c, device, now);
    for (uint32_t i = 0; i < choice.shed; i++) {
        (void)lt_core_give_back(c, choice.queue);
    }
    c->devices[device].until = choice.until;
    if (choice.rows > 0) {
        lt_core_begin(c, device, &choice, now);
    }
}

/* Lets a shadow's devices go on until `now`. */
static void follow(leat_scheduler *s, lt_core *c, uint64_t now)
{
    for (;;) {
        uint32_t first = LEAT_MAX_DEVICES;
        uint64_t time = now;
        for (uint32_t d = 0; d < c->n_devices; d++) {
            const lt_running *r = &c->devices[d];
            const uint64_t event = r->busy ? r->end : c->stats.waiting ? r->until : LT_NEVER;
            if (!r->lost && event <= time) {
                time = event;
                first = d;
            }
        }
        if (first == LEAT_MAX_DEVICES) {
            return;
        }
        if (c->devices[first].busy) {
            lt_shadow_credit(s, c, first, time);
            lt_core_end(c, first, time);
        }
        begin_shadow(c, first, time);
    }
}

void lt_shadow_submit(leat_scheduler *s, uint32_t queue, uint64_t now, uint64_t deadline)
{
    if (s->first_ns == 0) {
        s->first_ns = now;
    }
    if (deadline != LT_NEVER) {
        reach(s, deadline - now);
    }
    for (uint32_t k = 0; k < s->n_shadows; k++) {
        lt_core *c = &s->shadows[k];
        follow(s, c, now);
        (void)!lt_scheduler_take(c, k < LT_N_RULES && lt_rules[k].admit, queue, now, deadline, NULL,
                                 NULL);
        for (uint32_t d = 0; c->stats.waiting > 0 && d < c->n_devices; d++) {
            if (!c->devices[d].busy && !c->devices[d].lost) {
                begin_shadow(c, d, now);
            }
        }
    }
}

void lt_shadow_lose(leat_scheduler *s, uint32_t device, bool lost, uint64_t now)
{
    for (uint32_t k = 0; k < s->n_shadows; k++) {
        follow(s, &s->shadows[k], now);
        lt_core_put_back(&s->shadows[k], device);
        s->shadows[k].devices[device].lost = lost;
        s->shadows[k].devices[device].until = now;
    }
}

/* What somebody must be ahead by: more than chance makes it, in standard deviations. */
static double enough(const leat_scheduler *s, const lt_ledger *l, double deviations)
{
    return deviations * sqrt(l->squares) + 2 * s->largest_work;
}

/* Some batches of work. */
static double batches_of(const leat_scheduler *s)
{
    return 4 * (double)s->core.chunk_ns + 8 * s->largest_work;
}

/* Another rule stands in: all are compared with that now. */
static void change(leat_scheduler *s, uint32_t rule)
{
    const double ahead = s->ledgers[rule].gain, squares = s->ledgers[rule].squares;
    for (int k = 0; k < LT_N_LEDGERS; k++) {
        s->ledgers[k].gain -= k == LT_TRIAL_TO_POLICY || k == LT_POLICY_TO_BOLD ? 0 : ahead;
    }
    s->ledgers[s->stand_in].squares = squares;
    s->ledgers[rule] = (lt_ledger){0};
    s->stand_in_done +=
        s->shadows[rule].stats.work_on_time_ns - s->shadows[s->stand_in].stats.work_on_time_ns;
    s->stand_in = rule;
}

/* Whether a shadow is ahead of the stand-in's by more than it needs. Until the longest deadline has
 * passed once it must be so by all that both have done, too: what is due later counts there. */
static bool ahead(const leat_scheduler *s, const lt_ledger *l, uint32_t shadow, double need,
                  bool settled)
{
    const double all = (double)s->shadows[shadow].stats.work_on_time_ns -
                       (double)s->shadows[s->stand_in].stats.work_on_time_ns;
    return l->gain > need && (settled || all > need);
}

/* What the devices are to do while the policy does not decide. Then the margin is their own: what
 * runs may take longer than in the shadow. */
static void follow_rule(leat_scheduler *s, uint32_t rule)
{
    if (s->acting != rule || s->core.policy == LEAT_POLICY_LEARNED) {
        s->core.margin = s->shadows[rule].margin;
    }
    s->stand_in_changes += s->acting != rule;
    s->acting = rule;
    s->core.hold_ns = s->shadows[rule].hold_ns;
    s->core.longer = s->shadows[rule].longer;
}

/* Rules come and go by what chance does not make, however long that takes to see. The bold one does
 * more than the others under most loads, but not all: it acts while it is ahead of the best of
 * them, and that remains what the policy is compared with. Before the longest deadline has passed
 * once two requests are enough: the rule that is first in charge admits all, and where too much is
 * asked for each moment of that is lost. */
static void choose_rule(leat_scheduler *s, bool settled)
{
    uint32_t best = s->stand_in;
    for (uint32_t k = 0; k < LT_RULE_BOLD; k++) {
        lt_ledger *l = &s->ledgers[k];
        const double need = enough(s, l, 2.5);
        bound(l, 2 * need);
        if (settled && l->gain > need && l->gain > s->ledgers[best].gain) {
            best = k;
        }
    }
    if (best != s->stand_in) {
        change(s, best);
    }
    lt_ledger *bold = &s->ledgers[LT_RULE_BOLD];
    const double need = settled ? fmin(enough(s, bold, 4), 2 * batches_of(s)) : enough(s, bold, 0);
    bound(bold, 2 * need);
    const bool acts =
        s->acting == LT_RULE_BOLD ? bold->gain >= 0 : ahead(s, bold, LT_RULE_BOLD, need, settled);
    follow_rule(s, acts ? LT_RULE_BOLD : s->stand_in);
}

/* The policy comes when its shadow is ahead by more than chance makes it, of the bold rule's, too,
 * where that acts; it goes when that is lost, or when the devices have done so much less than the
 * stand-in's shadow (the table was wrong about what the policy does, or it begins with queues that
 * do not suit it). Each time that it has to go it must show twice as much; as long as it is ahead
 * by all that counts, half. */
void lt_shadow_guard(leat_scheduler *s, uint64_t now)
{
    const double batches = batches_of(s);
    lt_ledger *shown = &s->ledgers[LT_POLICY_TO_STAND_IN], *real = &s->ledgers[LT_REAL_TO_STAND_IN];
    lt_ledger *bold = &s->ledgers[LT_POLICY_TO_BOLD];
    const bool settled = now - s->first_ns >= s->horizon;
    close_ticks(s, now);
    choose_rule(s, settled);
    const double need = ldexp(fmin(enough(s, shown, 4), 2 * batches), (int)s->doubts);
    bound(shown, 2 * need);
    bound(real, 4 * batches);
    bound(bold, 4 * batches);
    const uint64_t done = s->shadows[s->stand_in].stats.work_on_time_ns;
    if (s->core.policy != LEAT_POLICY_LEARNED) {
        const bool best =
            s->acting != LT_RULE_BOLD || bold->gain > fmin(enough(s, bold, 2.5), batches);
        if (best && ahead(s, shown, LT_SHADOW_POLICY, need, settled)) {
            s->core.policy = LEAT_POLICY_LEARNED;
            s->stand_in_done = done;
            real->gain = 0;
        }
        return;
    }
    const bool worse =
        real->gain < -batches - s->desc.guard_loss * (double)(done - s->stand_in_done);
    if (worse || shown->gain < 0) {
        s->core.policy = LEAT_POLICY_EDF;
        s->takeovers++;
        s->doubts += s->doubts < MOST_DOUBTS;
        shown->gain = worse ? -need : shown->gain;
    } else if (s->doubts > 0 && shown->gain >= 2 * need) {
        s->doubts--;
        shown->gain = need;
    }
}

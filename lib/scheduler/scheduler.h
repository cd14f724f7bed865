/* SPDX-License-Identifier: Apache-2.0 */
/* The scheduler's parts, as its files share them: scheduler.c its life and threads, requests.c what
 * comes, runs and ends, queue.c its queues, guard.c the shadow of the learned policy. */
#ifndef LT_SCHEDULER_SCHEDULER_H
#define LT_SCHEDULER_SCHEDULER_H

#include "base/clock.h"
#include "runtime/context.h"
#include "scheduler/core.h"

/* A rule that may stand in for the learned policy: EDF, and what else. */
typedef struct lt_rule {
    bool admit;
    bool holds;  /* batches that are not full, for half a chunk */
    bool longer; /* batches below class 0, up to four chunks */
} lt_rule;

/* Who decides in the real scheduler's shadow about the same requests. */
enum {
    LT_RULE_FIRST = 1, /* in charge at first: it refuses nothing that could be done */
    LT_RULE_BOLD = 3,  /* the last of the rules */
    LT_N_RULES,        /* they are the first shadows */
    LT_SHADOW_POLICY = LT_N_RULES,
    LT_SHADOW_TRIAL, /* the policy with weights that are tried; only where it learns */
    LT_N_SHADOWS,
    LT_REAL = LT_N_SHADOWS, /* not a shadow; behind them in what is counted of each */
    LT_OPEN_TICKS = 256
};

extern const lt_rule lt_rules[LT_N_RULES];

/* Who is compared with whom. */
enum {
    LT_RULE_TO_STAND_IN,                /* and the other rules behind it */
    LT_POLICY_TO_STAND_IN = LT_N_RULES, /* both in the shadow */
    LT_TRIAL_TO_POLICY,
    LT_POLICY_TO_BOLD,
    LT_REAL_TO_STAND_IN,
    LT_N_LEDGERS
};

/* What one has done more than another, in nanoseconds of work in time. */
typedef struct lt_ledger {
    double gain;    /* of requests whose deadlines have passed */
    double squares; /* of what came to it in each tick */
} lt_ledger;

/* What is being tried, learn.c. */
typedef struct lt_learning {
    bool active;
    int turn; /* of the next trial: 1 the same direction again, -1 the opposite, 0 another */
    uint32_t direction; /* bit i: up */
    leat_policy_weights tried;
    uint64_t seed;
    uint64_t begun;
    uint64_t batches; /* when it began */
    uint64_t trials, steps;
} lt_learning;

typedef struct lt_device_thread {
    leat_scheduler *scheduler;
    uint32_t device;
    pthread_t thread;
    void *items[LT_MOST_BATCH];
} lt_device_thread;

struct leat_scheduler {
    lt_memory *memory;
    leat_scheduler_desc desc;
    leat_policy_weights weights;
    lt_arena arena;
    lt_device_thread *threads; /* of desc.run; NULL: none */
    uint32_t n_threads;

    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t work;
    bool closing;
    lt_core core;

    uint32_t n_shadows; /* 0: not LEARNED, or no guard */
    lt_core shadows[LT_N_SHADOWS];
    uint32_t stand_in; /* of the rules but the bold one: whom all are compared with */
    uint32_t acting;   /* that or the bold one: decides while the policy does not */
    uint64_t stand_in_changes;
    lt_ledger ledgers[LT_N_LEDGERS];
    double open[LT_N_SHADOWS + 1][LT_OPEN_TICKS]; /* work in time that each has done, of requests
                                                     with deadlines in the next ticks */
    uint64_t tick;                                /* the first that has not passed */
    uint32_t tick_shift;                          /* a tick takes 1 << tick_shift nanoseconds */
    uint64_t first_ns;                            /* when the first request came; 0: none has */
    uint64_t horizon;                             /* the longest deadline */
    double largest_work;                          /* of any request */
    uint64_t stand_in_done; /* in its shadow, when the policy last began to decide */
    uint64_t takeovers;
    lt_learning learning;
    uint32_t doubts; /* doublings of what the policy must be ahead by */
};

/* Whether a rule stands in for the learned policy. */
static inline bool lt_scheduler_guarded(const leat_scheduler *s)
{
    return s->n_shadows > 0 && s->core.policy != LEAT_POLICY_LEARNED;
}

/* Something has come: with several devices all threads look, since the one that is woken alone may
 * be of a device that is lost, or does not run that queue. The caller holds the lock. */
static inline void lt_scheduler_wake(leat_scheduler *s)
{
    if (s->n_threads > 1) {
        pthread_cond_broadcast(&s->work);
    } else {
        pthread_cond_signal(&s->work);
    }
}

static inline uint64_t lt_scheduler_now(const leat_scheduler *s)
{
    return s->desc.clock ? s->desc.clock(s->desc.clock_user) : lt_clock_ns();
}

/* requests.c: what a device is to do now. The caller holds the lock. */
void lt_scheduler_begin(leat_scheduler *scheduler, uint32_t device, uint64_t now,
                        leat_dispatch *out);
/* The device has ended. The caller holds the lock. */
void lt_scheduler_end(leat_scheduler *scheduler, uint32_t device, uint64_t now);
/* A request into a core's queue, or refused. The caller holds the lock. */
leat_status lt_scheduler_take(lt_core *core, bool admit, uint32_t queue, uint64_t now,
                              uint64_t deadline, void *item, leat_error *err) LEAT_MUST_CHECK;

/* queue.c: a batch has taken so long; costs of batches about as large are corrected. The caller
 * holds the lock. */
void lt_scheduler_correct(leat_scheduler *scheduler, uint32_t queue, uint32_t device, uint32_t rows,
                          double ns);

/* A request comes that no device could have done in time: costs of its queue become a little less,
 * so that at times one such is tried. Else costs that are too high, by mishap, would stay, as
 * nothing runs that could correct them. The caller holds the lock. */
void lt_scheduler_doubt(leat_scheduler *scheduler, uint32_t queue, uint64_t within);

/* guard.c, the caller holds the lock: a request comes to the shadows, too. */
void lt_shadow_submit(leat_scheduler *scheduler, uint32_t queue, uint64_t now, uint64_t deadline);
/* Counts what a device of a core is about to end. */
void lt_shadow_credit(leat_scheduler *scheduler, const lt_core *core, uint32_t device,
                      uint64_t end);
/* A device is lost or there again. */
void lt_shadow_lose(leat_scheduler *scheduler, uint32_t device, bool lost, uint64_t now);
/* Lets the policy decide, or the rule that does best. */
void lt_shadow_guard(leat_scheduler *scheduler, uint64_t now);

/* learn.c: a trial begins, goes on or is judged. The caller holds the lock. */
void lt_scheduler_learn(leat_scheduler *scheduler, uint64_t now);

#endif

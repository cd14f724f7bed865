/* SPDX-License-Identifier: Apache-2.0 */
/* How far two cores are from each other: cores [A B], 0 and 1 if not said. Prints the nanoseconds
 * that a line of memory takes from one to the other, the least of several series.
 *
 * Cores that share a cache hand a line over in 20 to 40 ns, others in 150 to 300. In a virtual
 * machine the host may move them apart and together again while programs run; what two threads read
 * of each other's results then takes two times as long and more, for no reason inside the program:
 * note this number beside times on several threads. */
#include "base/clock.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define SERIES 9
#define TURNS 4000

typedef struct pair {
    _Alignas(128) atomic_int turn; /* odd: the other one's */
    int core;
} pair;

static int stay_on(int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)core, &set);
    return sched_setaffinity(0, sizeof(set), &set);
}

static void take_turns(pair *p, int first)
{
    for (int i = first; i < 2 * TURNS; i += 2) {
        while (atomic_load_explicit(&p->turn, memory_order_acquire) != i) {
        }
        atomic_store_explicit(&p->turn, i + 1, memory_order_release);
    }
}

static void *other(void *argument)
{
    pair *p = argument;
    if (stay_on(p->core) == 0) {
        take_turns(p, 1);
    } else {
        atomic_store(&p->turn, -1);
    }
    return NULL;
}

/* Nanoseconds of one handover. */
static double series(pair *p)
{
    pthread_t thread;
    atomic_store(&p->turn, 1);
    if (pthread_create(&thread, NULL, other, p) != 0) {
        return -1;
    }
    while (atomic_load(&p->turn) == 1) { /* until it has started */
    }
    uint64_t start = lt_clock_ns();
    if (atomic_load(&p->turn) > 0) {
        take_turns(p, 2);
    }
    double ns = (double)(lt_clock_ns() - start) / (2 * TURNS - 2);
    int end = atomic_load(&p->turn);
    pthread_join(thread, NULL);
    return end < 0 ? -1 : ns;
}

int main(int argc, char **argv)
{
    int a = argc == 3 ? atoi(argv[1]) : 0, b = argc == 3 ? atoi(argv[2]) : 1;
    pair p = {.core = b};
    double least = -1;
    if (argc != 1 && argc != 3) {
        fprintf(stderr, "usage: cores [A B]\n");
        return 2;
    }
    if (a < 0 || b < 0 || a >= CPU_SETSIZE || b >= CPU_SETSIZE || a == b || stay_on(a) != 0) {
        fprintf(stderr, "cores: cannot run on cores %d and %d\n", a, b);
        return 1;
    }
    for (int i = 0; i < SERIES; i++) {
        double ns = series(&p);
        if (ns < 0) {
            fprintf(stderr, "cores: cannot run on core %d\n", b);
            return 1;
        }
        least = least < 0 || ns < least ? ns : least;
    }
    printf("cores %d and %d: %.0f ns from one to the other\n", a, b, least);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* When requests come: five traces. */
#include "sched/sched.h"

#include <math.h>

const char *const trace_names[N_TRACES] = {"Poisson", "burst", "diurnal", "flash crowd",
                                           "on/off bulk"};

uint64_t next_random(uint64_t *seed)
{
    uint64_t z = (*seed += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

double uniform(uint64_t *seed)
{
    return ((double)(next_random(seed) >> 11) + 0.5) / 9007199254740992.0;
}

double normal(uint64_t *seed)
{
    return sqrt(-2 * log(uniform(seed))) * cos(6.283185307179586 * uniform(seed));
}

/* How many times its mean a stream's rate is at a part of the whole time. */
static double intensity(int trace, const stream *s, double part, double seconds)
{
    const double t = part * seconds;
    switch (trace) {
    case 1: /* bursts of 60 ms, five a second */
        return fmod(t, 0.2) < 0.06 ? 2.4 : 0.4;
    case 2:
        return 1 - 0.75 * cos(6.283185307179586 * part);
    case 3:
        return !s->crowd ? 0.8 : part < 0.4 ? 0.5 : 0.5 + 5 * exp(-(part - 0.4) * 8);
    case 4:
        return !s->bulk ? 0.7 : fmod(t, 0.5) < 0.25 ? 3 : 0;
    default:
        return 1;
    }
}

#define MOST_INTENSITY 6.0

/* Arrivals by thinning (Lewis and Shedler, 1979): of a stream, from `at` on. */
double next_arrival(const world *w, int trace, const stream *s, double at, uint64_t *seed)
{
    const double rate = w->load * w->n_devices * s->share * 1e9 / s->work_ns; /* a second */
    do {
        at -= log(uniform(seed)) / (rate * MOST_INTENSITY);
    } while (at < w->seconds &&
             uniform(seed) * MOST_INTENSITY > intensity(trace, s, at / w->seconds, w->seconds));
    return at;
}

uint64_t arrival_seed(uint64_t seed, size_t stream, int trace)
{
    return seed * 1000 + stream * 17 + (uint64_t)trace;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/load.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

void print_class(const load *l, const settings *s, const result *r, uint32_t c)
{
    const times *t = &l->times[c];
    const double q[] = {times_quantile(t, 0.5), times_quantile(t, 0.9), times_quantile(t, 0.99),
                        times_quantile(t, 0.999)};
    if (s->json) {
        printf("{\"asked\": %.1f, \"class\": %u, \"completed_per_s\": %.1f, \"p50_ms\": %.4f, "
               "\"p90_ms\": %.4f, \"p99_ms\": %.4f, \"p999_ms\": %.4f, \"rows_per_batch\": %.2f, "
               "\"refused\": %llu, \"failed\": %llu, \"late\": %llu, \"in_time_per_s\": %.1f}\n",
               r->asked, c, (double)t->completed / r->took, q[0], q[1], q[2], q[3], r->rows,
               (unsigned long long)t->refused, (unsigned long long)t->failed,
               (unsigned long long)t->late, (double)(t->completed + t->failed - t->late) / r->took);
    } else {
        printf("%s%9.0f asked, %9.0f/s completed, ms: 50 %% %.3f, 90 %% %.3f, 99 %% %.3f, 99.9 %% "
               "%.3f; %.1f rows a batch, %llu refused, %llu late or failed",
               c == 0 && s->urgent > 0 ? "urgent: " : "", r->asked, (double)t->completed / r->took,
               q[0], q[1], q[2], q[3], r->rows, (unsigned long long)t->refused,
               (unsigned long long)t->late);
    }
}

double begun_within(const load *l, const leat_batcher_stats *before, uint32_t c)
{
    leat_batcher_stats now = {.struct_size = sizeof(now)};
    uint64_t total = 0, seen = 0;
    leat_batcher_read_stats(l->batcher, &now);
    for (int i = 0; i < LEAT_TIME_BUCKETS; i++) {
        total += now.queue[c].counts[i] - before->queue[c].counts[i];
    }
    for (int i = 0; i < LEAT_TIME_BUCKETS; i++) {
        const uint64_t here = now.queue[c].counts[i] - before->queue[c].counts[i];
        if (here > 0 && (double)(seen + here) >= 0.99 * (double)total) {
            const double part = (0.99 * (double)total - (double)seen) / (double)here;
            return (i == 0 ? part : ldexp(1 + part, i - 1)) * 1e-3;
        }
        seen += here;
    }
    return 0;
}

/* Megabytes that the process has in memory. */
static double resident(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file != NULL) {
        (void)(fscanf(file, "%*d %ld", &pages) + fclose(file));
    }
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1e6;
}

void print_stretch(load *l, const settings *s, double seconds)
{
    static times stretch;
    const times *t = &stretch;
    times_since(&l->times[s->urgent > 0 ? 1 : 0], &l->reported, &stretch);
    printf(
        s->json ? "{\"until_s\": %.0f, \"completed\": %llu, \"p50_ms\": %.4f, \"p99_ms\": %.4f, "
                  "\"refused\": %llu, \"failed\": %llu, \"resident_mb\": %.2f}\n"
                : "until %6.0f s: %8llu completed, ms: 50 %% %.3f, 99 %% %.3f; %llu refused, %llu "
                  "failed; %.2f MB in memory\n",
        seconds, (unsigned long long)t->completed, times_quantile(t, 0.5), times_quantile(t, 0.99),
        (unsigned long long)t->refused, (unsigned long long)t->failed, resident());
    fflush(stdout);
}

void print_answers(const load *l, const settings *s)
{
    leat_batcher_stats now = {.struct_size = sizeof(now)};
    leat_batcher_read_stats(l->batcher, &now);
    const uint64_t all = now.answer_hits + now.answer_joins + now.answer_misses;
    printf(s->json
               ? "{\"answer_hits\": %llu, \"answer_joins\": %llu, \"answer_misses\": %llu, "
                 "\"hit_ratio\": %.4f, \"evictions\": %llu, \"kept\": %llu, \"kept_mb\": %.2f}\n"
               : "answers kept: %llu requests were answered by one, %llu by an equal one under "
                 "way, %llu ran: %.4f without a run; %llu went, %llu are kept in %.2f MB\n",
           (unsigned long long)now.answer_hits, (unsigned long long)now.answer_joins,
           (unsigned long long)now.answer_misses,
           all ? 1 - (double)now.answer_misses / (double)all : 0,
           (unsigned long long)now.answer_evictions, (unsigned long long)now.answers,
           (double)now.answer_bytes / 1e6);
}

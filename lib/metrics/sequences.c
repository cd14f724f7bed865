/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics/sequences.h"

#include <stddef.h>
#include <string.h>

static const struct family {
    const char *name, *type, *help;
    size_t offset;
} families[] = {
#define AT(field) offsetof(leat_sequences_stats, field)
    {"leat_sequences_active", "gauge", "Sequences that have a slot.", AT(live)},
    {"leat_sequences_joined_total", "counter", "Sequences that came.", AT(joined)},
    {"leat_sequences_left_total", "counter", "Sequences that went.", AT(left)},
    {"leat_sequences_failed_total", "counter", "Sequences that failed.", AT(failed)},
    {"leat_sequences_tokens_total", "counter", "Positions run, of prompts too.", AT(positions)},
    {"leat_sequences_rows_total", "counter", "Rows of batched runs with a position.", AT(rows)},
    {"leat_sequences_fill_rows_total", "counter", "Rows of batched runs without.", AT(fill_rows)},
    {"leat_sequences_pieces_total", "counter", "Pieces of prompts.", AT(pieces)},
    {"leat_sequences_piece_runs_total", "counter", "Runs that they were in.", AT(piece_runs)},
    {"leat_sequences_moves_total", "counter", "Caches moved to other rows.", AT(moves)},
#undef AT
};

static leat_sequences_stats stats_of(const leat_metrics_sequences *s)
{
    leat_sequences_stats stats = {.struct_size = sizeof(stats)};
    leat_sequences_read_stats(s->sequences, &stats);
    return stats;
}

void lt_write_sequences(lt_text *t, const leat_metrics_desc *d)
{
    static const char step[] = "leat_sequences_step_seconds";
    for (size_t f = 0; f < sizeof(families) / sizeof(families[0]) && d->n_sequences > 0; f++) {
        lt_text_family(t, families[f].name, families[f].type, families[f].help);
        for (size_t i = 0; i < d->n_sequences; i++) {
            const lt_label labels[2] = {{"model", d->sequences[i].model}, {NULL, NULL}};
            const leat_sequences_stats stats = stats_of(&d->sequences[i]);
            uint64_t value;
            memcpy(&value, (const char *)&stats + families[f].offset, sizeof(value));
            lt_text_sample(t, families[f].name, labels, value, LT_UNIT_ONE);
        }
    }
    for (size_t i = 0; i < d->n_sequences; i++) {
        const lt_label labels[2] = {{"model", d->sequences[i].model}, {NULL, NULL}};
        const leat_sequences_stats stats = stats_of(&d->sequences[i]);
        if (i == 0) {
            lt_text_family(t, step, "histogram", "Time of a step that ran something.");
        }
        lt_text_powers(t, step, labels, stats.step.counts, LEAT_TIME_BUCKETS, stats.step.total_ns,
                       LT_UNIT_NANOSECONDS);
    }
}

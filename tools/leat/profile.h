/* SPDX-License-Identifier: Apache-2.0 */
/* The per-node view of `leat bench --profile`. */
#ifndef LEAT_PROFILE_H
#define LEAT_PROFILE_H

#include "leat/peaks.h"
#include "leat/tool.h"

#define PROFILE_RUNS 63 /* runs whose times are kept; later ones are not needed */

/* Times of every node over the runs so far. */
typedef struct profile {
    size_t n_nodes;
    size_t n_runs;
    uint64_t *ns; /* [node * PROFILE_RUNS + run] */
} profile;

/* Keeps the node times of the session's last run. The first call makes room.
 * Errors:   NO_MEMORY; INTERNAL when the nodes are not those of the run before; of the report. */
leat_status profile_add(profile *p, leat_session *session, leat_error *err);
void profile_free(profile *p);

/* `machine` is NULL for devices whose peaks nobody knows: rates are printed, shares are not. */
/* Prints groups of nodes alike, and the nodes, by median time, the slowest first. */
leat_status profile_print(profile *p, leat_session *session, const peaks *machine, leat_error *err);
/* Prints `"peaks": {...}, "profile": [...]` for a JSON object. */
leat_status profile_print_json(profile *p, leat_session *session, const peaks *machine,
                               leat_error *err);

#endif

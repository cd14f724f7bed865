/* SPDX-License-Identifier: Apache-2.0 */
/* Copies, launches and computing of a device, apart. */
#ifndef LEAT_PHASES_H
#define LEAT_PHASES_H

#include "leat/tool.h"

/* Medians of one run, in ms; bound: "transfer", "enqueue" or "compute", whichever a run would gain
 * most from. */
typedef struct phases {
    double h2d_ms, enqueue_ms, compute_ms, d2h_ms;
    const char *bound;
} phases;

/* Whether the device named by the options has memory of its own. */
bool phases_apply(const options *o);

/* Runs a second session of the model, which waits for each phase.
 * Errors:   NO_MEMORY; those of a session and its runs. */
leat_status phases_measure(const options *o, const opened *all, const inputs *in, phases *out,
                           leat_error *err);
/* A line for people, or members of a JSON object. */
void phases_print(const options *o, const phases *p);

#endif

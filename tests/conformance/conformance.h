/* SPDX-License-Identifier: Apache-2.0 */
/* One set of checks that every backend must pass, through the plugin ABI alone: the structure, the
 * devices, memory, copies, and small nodes against plain double-precision loops.
 *
 * A node that the device does not support is skipped only when an exclusion row says why. */
#ifndef TESTS_CONFORMANCE_CONFORMANCE_H
#define TESTS_CONFORMANCE_CONFORMANCE_H

#include <leat/backend.h>

/* What a backend is excused from. */
typedef struct conformance_exclusion {
    const char *pattern; /* start of a check's name, such as "node_Softmax" */
    const char *reason;
} conformance_exclusion;

typedef struct conformance_target {
    const char *plugin; /* path; NULL for the built-in CPU backend */
    const char *device; /* "cpu", "fake:0" */
    const conformance_exclusion *exclusions;
    size_t n_exclusions;
} conformance_target;

/* Runs all checks as a CMocka group; returns the number that failed. When the device cannot be
 * opened all are skipped with its reason. */
int conformance_run(const conformance_target *target);

#endif

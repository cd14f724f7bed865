/* SPDX-License-Identifier: Apache-2.0 */
/* What tests ask of the fake device, and tell it, by dlsym. */
#ifndef LEAT_TEST_BACKEND_FAKE_H
#define LEAT_TEST_BACKEND_FAKE_H

#include <leat/leat.h>
#include <stdatomic.h>

enum {
    FAKE_DEVICES = 3
};

/* Since the plugin was loaded: captures, launches of graphs, kernels queued plainly, graphs that
 * are alive, pinned blocks that are alive. */
typedef struct fake_counts {
    atomic_size_t captures, replays, plain, graphs, pinned;
    atomic_size_t waits[FAKE_DEVICES]; /* for the work of each device */
} fake_counts;

LEAT_API const fake_counts *backend_fake_counts(void);

/* Memory of a test that counts as pinned; NULL: none. */
LEAT_API void backend_fake_pin(const void *address, size_t bytes);

/* The devices whose bits are set are lost: whoever waits for one is told so. */
LEAT_API void backend_fake_lose(unsigned devices);

#endif

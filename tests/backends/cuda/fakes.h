/* SPDX-License-Identifier: Apache-2.0 */
/* Tests in this process on the fake driver (fake_driver.cpp) and the fake cuBLASLt (fake_blaslt.c).
 */
#ifndef LT_TESTS_CUDA_FAKES_H
#define LT_TESTS_CUDA_FAKES_H

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

/* Where the plugin, the driver and the library for tests lie. */
#define FAKES TEST_BUILD "/tests/backends/cuda"

/* As in fake_driver.cpp. */
typedef struct fake_cuda_counts {
    _Atomic size_t device_blocks, pinned_blocks, streams, events, graphs;
    _Atomic size_t allocations, launches, graph_launches, copies, captures, wakes, zeros;
} fake_cuda_counts;

/* Starts this program again such that the loader finds the fakes in `folder`, for it reads that
 * only when a program starts. Returns 0 in the program that was started so, else -1. */
static inline int start_with_fakes(char **argv, const char *folder)
{
    if (getenv("LEAT_FAKE_CUDA") != NULL) {
        return 0;
    }
    setenv("LEAT_FAKE_CUDA", "good", 1);
    setenv("LD_LIBRARY_PATH", folder, 1);
    execv("/proc/self/exe", argv);
    return -1;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* NVIDIA's management library (NVML), found when it is there. Activity comes from its GPU
 * performance monitoring (GPM; Hopper and newer): utilization.memory of the older interface is the
 * time in which memory was used at all, not its bandwidth.
 * https://docs.nvidia.com/deploy/nvml-api/group__nvmlGpmFunctions.html */
#ifndef LT_METRICS_GPU_H
#define LT_METRICS_GPU_H

#include <leat/metrics.h>
#include <stdbool.h>

typedef enum lt_gpu_activity {
    LT_GPU_SM = 0,
    LT_GPU_TENSOR,
    LT_GPU_DRAM,
    LT_GPU_N_ACTIVITIES
} lt_gpu_activity;

/* What could be read of a GPU. */
typedef struct lt_gpu_state {
    bool has_activity[LT_GPU_N_ACTIVITIES];
    double activity[LT_GPU_N_ACTIVITIES]; /* 0 to 1, since the last read */
    bool has_memory;
    uint64_t memory_used; /* bytes */
    uint64_t memory_total;
} lt_gpu_state;

uint32_t lt_gpu_count(const leat_gpu_monitor *monitor);
lt_gpu_state lt_gpu_read(leat_gpu_monitor *monitor, uint32_t gpu);

#endif

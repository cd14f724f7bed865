/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics/gpu.h"

#include "base/error.h"
#include "runtime/context.h"

#include <dlfcn.h>
#include <string.h>

#define LIBRARY "libnvidia-ml.so.1"

/* NVML's own types, by nvml.h of CUDA 12 (version 1 of GPM's structures). Only as many metrics as
 * n_metrics says are touched. */
typedef struct nvml_memory {
    unsigned long long total, free, used;
} nvml_memory;

typedef struct nvml_gpm_support {
    unsigned version;
    unsigned supported;
} nvml_gpm_support;

typedef struct nvml_gpm_metric {
    unsigned id;
    int result;
    double value; /* per cent */
    const char *names[3];
} nvml_gpm_metric;

typedef struct nvml_gpm_query {
    unsigned version;
    unsigned n_metrics;
    void *before, *after;
    nvml_gpm_metric metrics[LT_GPU_N_ACTIVITIES];
} nvml_gpm_query;

static const unsigned gpm_ids[LT_GPU_N_ACTIVITIES] = {
    [LT_GPU_SM] = 2, [LT_GPU_TENSOR] = 5, [LT_GPU_DRAM] = 10};

#define FUNCTIONS(X)                                                                               \
    X(init, "nvmlInit_v2", (void))                                                                 \
    X(shutdown, "nvmlShutdown", (void))                                                            \
    X(count, "nvmlDeviceGetCount_v2", (unsigned *count))                                           \
    X(handle, "nvmlDeviceGetHandleByIndex_v2", (unsigned index, void **handle))                    \
    X(memory_info, "nvmlDeviceGetMemoryInfo", (void *handle, nvml_memory *memory))                 \
    X(gpm_support, "nvmlGpmQueryDeviceSupport", (void *handle, nvml_gpm_support *support))         \
    X(sample_alloc, "nvmlGpmSampleAlloc", (void **sample))                                         \
    X(sample_free, "nvmlGpmSampleFree", (void *sample))                                            \
    X(sample_get, "nvmlGpmSampleGet", (void *handle, void *sample))                                \
    X(metrics_get, "nvmlGpmMetricsGet", (nvml_gpm_query * query))

typedef struct gpu {
    void *handle;
    void *samples[2]; /* the last read's and the next one's; NULL: no GPM */
} gpu;

struct leat_gpu_monitor {
    lt_memory *memory;
    void *library;
#define DECLARE(field, name, arguments) int(*field) arguments;
    FUNCTIONS(DECLARE)
#undef DECLARE
    bool initialised;
    uint32_t n_gpus;
    gpu *gpus;
};

static leat_status find_functions(leat_gpu_monitor *m, leat_error *err)
{
    void *function;
#define FIND(field, name, arguments)                                                               \
    function = dlsym(m->library, name);                                                            \
    if (function == NULL) {                                                                        \
        return lt_fail(err, LEAT_NO_DEVICE,                                                        \
                       LIBRARY " has no " name ": a driver of 525 or newer is needed");            \
    }                                                                                              \
    memcpy(&m->field, &function, sizeof(function));
    FUNCTIONS(FIND)
#undef FIND
    return LEAT_OK;
}

static void open_samples(leat_gpu_monitor *m, gpu *g)
{
    nvml_gpm_support support = {.version = 1};
    if (m->gpm_support(g->handle, &support) != 0 || !support.supported) {
        return;
    }
    if (m->sample_alloc(&g->samples[0]) != 0) {
        g->samples[0] = NULL;
    } else if (m->sample_alloc(&g->samples[1]) != 0) {
        (void)m->sample_free(g->samples[0]);
        g->samples[0] = g->samples[1] = NULL;
    } else {
        (void)m->sample_get(g->handle, g->samples[0]);
    }
}

static leat_status open_gpus(leat_gpu_monitor *m, leat_error *err)
{
    unsigned n = 0;
    const int result = m->init();
    m->initialised = result == 0;
    if (result != 0 || m->count(&n) != 0 || n == 0) {
        return lt_fail(err, LEAT_NO_DEVICE, LIBRARY " finds no GPU (nvmlInit: %d)", result);
    }
    m->gpus = lt_alloc_zeroed(m->memory, n * sizeof(*m->gpus), sizeof(void *));
    if (m->gpus == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for a GPU monitor");
    }
    m->n_gpus = n;
    for (uint32_t i = 0; i < n; i++) {
        if (m->handle(i, &m->gpus[i].handle) != 0) {
            return lt_fail(err, LEAT_NO_DEVICE, LIBRARY " does not open GPU %u", i);
        }
        open_samples(m, &m->gpus[i]);
    }
    return LEAT_OK;
}

leat_status leat_gpu_monitor_create(leat_context *context, leat_gpu_monitor **out_monitor,
                                    leat_error *err)
{
    if (out_monitor != NULL) {
        *out_monitor = NULL;
    }
    if (context == NULL || out_monitor == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_gpu_monitor_create: an argument is NULL");
    }
    leat_gpu_monitor *m = lt_alloc_zeroed(&context->memory, sizeof(*m), sizeof(void *));
    if (m == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for a GPU monitor");
    }
    m->memory = &context->memory;
    m->library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    leat_status status =
        m->library ? find_functions(m, err)
                   : lt_fail(err, LEAT_NO_DEVICE, "NVIDIA's driver is not there: no " LIBRARY);
    status = status ? status : open_gpus(m, err);
    if (status != LEAT_OK) {
        leat_gpu_monitor_destroy(m);
        return status;
    }
    *out_monitor = m;
    return LEAT_OK;
}

void leat_gpu_monitor_destroy(leat_gpu_monitor *m)
{
    if (m == NULL) {
        return;
    }
    for (uint32_t i = 0; i < m->n_gpus; i++) {
        for (int s = 0; s < 2; s++) {
            if (m->gpus[i].samples[s] != NULL) {
                (void)m->sample_free(m->gpus[i].samples[s]);
            }
        }
    }
    if (m->initialised) {
        (void)m->shutdown();
    }
    if (m->library != NULL) {
        (void)dlclose(m->library);
    }
    lt_free(m->memory, m->gpus, m->n_gpus * sizeof(*m->gpus));
    lt_free(m->memory, m, sizeof(*m));
}

uint32_t lt_gpu_count(const leat_gpu_monitor *m)
{
    return m->n_gpus;
}

static void read_activity(leat_gpu_monitor *m, gpu *g, lt_gpu_state *state)
{
    nvml_gpm_query query = {.version = 1,
                            .n_metrics = LT_GPU_N_ACTIVITIES,
                            .before = g->samples[0],
                            .after = g->samples[1]};
    for (int a = 0; a < LT_GPU_N_ACTIVITIES; a++) {
        query.metrics[a].id = gpm_ids[a];
    }
    if (m->sample_get(g->handle, g->samples[1]) != 0) {
        return;
    }
    const bool good = m->metrics_get(&query) == 0;
    for (int a = 0; good && a < LT_GPU_N_ACTIVITIES; a++) {
        state->has_activity[a] = query.metrics[a].result == 0 && query.metrics[a].value >= 0;
        state->activity[a] = query.metrics[a].value / 100;
    }
    void *newest = g->samples[1];
    g->samples[1] = g->samples[0];
    g->samples[0] = newest;
}

lt_gpu_state lt_gpu_read(leat_gpu_monitor *m, uint32_t index)
{
    gpu *g = &m->gpus[index];
    lt_gpu_state state = {0};
    nvml_memory memory;
    if (g->samples[0] != NULL) {
        read_activity(m, g, &state);
    }
    if (m->memory_info(g->handle, &memory) == 0) {
        state.has_memory = true;
        state.memory_used = memory.used;
        state.memory_total = memory.total;
    }
    return state;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A libnvidia-ml.so.1 for tests: two GPUs, the second without performance monitoring.
 * LEAT_FAKE_NVML says how it behaves: unset, or "none" (no GPU), "fails" (nvmlInit fails), "sample"
 * (samples cannot be taken). fake_nvml_live: what is initialised or allocated. */
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef struct sample {
    unsigned time;
} sample;

EXPORT int fake_nvml_live;
static unsigned reads;

static int behaves(const char *how)
{
    const char *wanted = getenv("LEAT_FAKE_NVML");
    return wanted != NULL && strcmp(wanted, how) == 0;
}

EXPORT int nvmlInit_v2(void)
{
    fake_nvml_live += !behaves("fails");
    return behaves("fails") ? 9 : 0;
}

EXPORT int nvmlShutdown(void)
{
    fake_nvml_live--;
    return 0;
}

EXPORT int nvmlDeviceGetCount_v2(unsigned *count)
{
    *count = behaves("none") ? 0 : 2;
    return 0;
}

EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle)
{
    static char handles[2];
    *handle = &handles[index];
    *(char *)*handle = (char)index;
    return 0;
}

EXPORT int nvmlDeviceGetMemoryInfo(void *handle, unsigned long long memory[3])
{
    memory[0] = 80000000000u; /* total, free, used */
    memory[2] = 1000u + (unsigned)*(char *)handle;
    memory[1] = memory[0] - memory[2];
    return 0;
}

EXPORT int nvmlGpmQueryDeviceSupport(void *handle, unsigned support[2])
{
    support[1] = *(char *)handle == 0;
    return support[0] == 1 ? 0 : 2;
}

EXPORT int nvmlGpmSampleAlloc(void **out)
{
    *out = calloc(1, sizeof(sample));
    fake_nvml_live++;
    return 0;
}

EXPORT int nvmlGpmSampleFree(void *s)
{
    free(s);
    fake_nvml_live--;
    return 0;
}

EXPORT int nvmlGpmSampleGet(void *handle, void *s)
{
    (void)handle;
    ((sample *)s)->time = ++reads;
    return behaves("sample") ? 3 : 0;
}

typedef struct query {
    unsigned version, n;
    sample *before, *after;
    struct {
        unsigned id;
        int result;
        double value;
        const char *names[3];
    } metrics[8];
} query;

/* Metric id has 10 id per cent; the tensor cores' (5) is not there. Samples must be in order. */
EXPORT int nvmlGpmMetricsGet(query *q)
{
    if (q->version != 1 || q->n > 8 || q->before->time >= q->after->time) {
        return 2;
    }
    for (unsigned i = 0; i < q->n; i++) {
        q->metrics[i].value = 10 * q->metrics[i].id;
        q->metrics[i].result = q->metrics[i].id == 5 ? 3 : 0;
    }
    return 0;
}

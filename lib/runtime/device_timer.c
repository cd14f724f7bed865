/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/device_timer.h"

#include "base/clock.h"

#define MOST_LAUNCHES 16
#define GRAPH_NS 300000.0 /* of launches in a graph, if MOST_LAUNCHES give so much */
#define LEAST_RUNS 3
#define MOST_RUNS 9
#define MOST_NS 10000000u /* of the timed runs of one graph */

/* What is timed. */
typedef struct launches {
    const leat_kernel *kernel;
    const leat_kernel_args *args;
    const void *const *const *inputs;
    size_t n_inputs;
    int count;
} launches;

void lt_device_timer_close(lt_device_timer *timer)
{
    if (timer->stream != NULL) { /* never of the host */
        timer->device->backend->stream_destroy(timer->device->handle, timer->stream);
    }
}

leat_status lt_device_timer_open(lt_device_timer *timer, lt_device *device)
{
    *timer = (lt_device_timer){.device = device};
    return device->backend->stream_create(device->handle, &timer->stream, NULL);
}

static leat_status queue(const launches *l)
{
    leat_kernel_args args = *l->args;
    leat_status status = LEAT_OK;
    for (int i = 0; i < l->count && status == LEAT_OK; i++) {
        args.inputs = l->inputs[(size_t)i % l->n_inputs];
        status = l->kernel->launch(l->kernel->state, &args, NULL);
    }
    return status;
}

/* The same as a graph; NULL where the device makes none. */
static void *record(const lt_device_timer *timer, const launches *l)
{
    const lt_device *device = timer->device;
    const leat_backend *backend = device->backend;
    void *graph = NULL;
    if (!LT_BACKEND_HAS(backend, capture_begin) || l->kernel->not_capturable ||
        backend->capture_begin(device->handle, timer->stream, NULL) != LEAT_OK) {
        return NULL;
    }
    leat_status status = queue(l);
    leat_status ended = backend->capture_end(device->handle, timer->stream, &graph, NULL);
    if (status != LEAT_OK && ended == LEAT_OK) {
        backend->graph_destroy(device->handle, graph);
    }
    return status == LEAT_OK && ended == LEAT_OK ? graph : NULL;
}

static leat_status run_once(const lt_device_timer *timer, void *graph, const launches *l,
                            uint64_t *out_ns)
{
    const lt_device *device = timer->device;
    uint64_t start = lt_clock_ns();
    leat_status status =
        graph != NULL ? device->backend->graph_launch(device->handle, timer->stream, graph, NULL)
                      : queue(l);
    status = status ? status : device->backend->stream_wait(device->handle, timer->stream, NULL);
    *out_ns = lt_clock_ns() - start;
    return status;
}

double lt_device_timer_run(const lt_device_timer *timer, const leat_kernel *kernel,
                           const leat_kernel_args *args, const void *const *const *inputs,
                           size_t n_inputs)
{
    const lt_device *device = timer->device;
    launches l = {kernel, args, inputs, n_inputs, 1};
    uint64_t least = UINT64_MAX, total = 0, ns;
    if (run_once(timer, NULL, &l, &ns) != LEAT_OK || run_once(timer, NULL, &l, &ns) != LEAT_OK) {
        return -1;
    }
    double wanted = GRAPH_NS / (double)(ns + 1) + 1;
    l.count = wanted > MOST_LAUNCHES ? MOST_LAUNCHES : (int)wanted;
    void *graph = record(timer, &l);
    leat_status status = run_once(timer, graph, &l, &ns); /* warms up */
    for (int i = 0; i < MOST_RUNS && (i < LEAST_RUNS || total < MOST_NS) && status == LEAT_OK;
         i++) {
        status = run_once(timer, graph, &l, &ns);
        total += ns;
        least = ns < least ? ns : least;
    }
    if (graph != NULL) {
        device->backend->graph_destroy(device->handle, graph);
    }
    return status == LEAT_OK ? (double)least / l.count : -1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Spans: what a device does in a row, queued action by action or replayed as a graph. See lt_span.
 *
 * A run of a span:
 *   1. The host copies the caller's inputs to pinned memory. Large ones go to the device in pieces
 *      meanwhile ("streamed"), and are no part of the graph; nor are those that lie in the caller's
 *      own pinned memory, whose address may be another in every run.
 *   2. The rest is queued. Addresses that differ from run to run are the span's keys: with those of
 *      a graph, the graph is launched; with those of the last plain run, a graph is recorded first;
 *      with others the actions are queued one by one. */
#include "base/clock.h"
#include "base/error.h"
#include "runtime/plan.h"

#include <string.h>

/* Copies of at least as many bytes are streamed, in pieces of this size. */
#define PIECE ((size_t)1 << 20)
/* From so many bytes on a pool of threads copies faster than one. */
#define POOL_BYTES ((size_t)1 << 20)
#define POOL_PIECE ((size_t)128 << 10)
#define ENOUGH_THREADS 4u
/* Copies below this are not worth asking whether the caller's memory is pinned. */
#define ASK_BYTES ((size_t)16 << 10)
/* Graphs that are recorded for a span at most: a caller with new addresses in every other run is
 * served by plain launches in the end. */
#define MOST_CAPTURES 64u

/* ------------------------------------------------------------------------------------------------
 * Host copies
 * --------------------------------------------------------------------------------------------- */

typedef struct moving {
    char *target;
    const char *source;
    size_t bytes;
} moving;

static void move_piece(void *argument, uint32_t task, uint32_t thread)
{
    const moving *m = argument;
    size_t at = (size_t)task * POOL_PIECE;
    size_t bytes = m->bytes - at < POOL_PIECE ? m->bytes - at : POOL_PIECE;
    (void)thread;
    memcpy(m->target + at, m->source + at, bytes);
}

void lt_span_move(leat_pool *pool, void *target, const void *source, size_t bytes)
{
    moving m = {target, source, bytes};
    bool apart = (char *)target + bytes <= (const char *)source ||
                 (const char *)source + bytes <= (char *)target;
    if (bytes < POOL_BYTES || !apart) {
        memmove(target, source, bytes);
        return;
    }
    lt_pool_parallel(pool, (uint32_t)((bytes + POOL_PIECE - 1) / POOL_PIECE), move_piece, &m);
}

static bool is_pinned(const lt_device *device, const void *address, size_t bytes)
{
    return LT_BACKEND_HAS(device->backend, host_is_pinned) &&
           device->backend->host_is_pinned(device->handle, address, bytes);
}

/* Whether the copy goes before the rest of its span, in pieces or directly. */
static bool is_streamed(const lt_action *copy)
{
    return copy->kind == LT_ACTION_COPY && copy->copy_kind == LEAT_COPY_HOST_TO_DEVICE &&
           copy->staging != NULL && (copy->direct || copy->bytes >= PIECE);
}

/* One thread copies no faster than the driver, which takes pageable memory then. Pieces grow, so
 * that the first is on its way soon and large copies need few. */
static leat_status stream_copy(const lt_stage *stage, const lt_action *copy, const lt_run *run,
                               leat_error *err)
{
    const lt_device *device = stage->program->devices[copy->device];
    const char *source = lt_ref_resolve(run, &copy->source);
    char *target = lt_ref_resolve(run, &copy->target), *staging = copy->staging;
    leat_status status = LEAT_OK;
    if (copy->direct || lt_pool_threads(run->pool) < ENOUGH_THREADS) {
        return device->backend->copy(device->handle, run->streams[copy->device],
                                     LEAT_COPY_HOST_TO_DEVICE, target, source, copy->bytes, err);
    }
    size_t piece = PIECE;
    for (size_t at = 0; at < copy->bytes && status == LEAT_OK; at += piece) {
        piece = at >= 8 * PIECE ? 8 * PIECE : PIECE;
        piece = copy->bytes - at < piece ? copy->bytes - at : piece;
        lt_span_move(run->pool, staging + at, source + at, piece);
        status =
            device->backend->copy(device->handle, run->streams[copy->device],
                                  LEAT_COPY_HOST_TO_DEVICE, target + at, staging + at, piece, err);
    }
    return status;
}

/* Chooses how each copy goes in this run, and copies the inputs to where the device reads them. */
static leat_status send_inputs(lt_stage *stage, const lt_span *span, const lt_run *run,
                               leat_error *err)
{
    const lt_device *device = stage->program->devices[span->device];
    leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < span->count && status == LEAT_OK; i++) {
        lt_action *copy = &stage->actions[span->first + i];
        if (copy->kind != LT_ACTION_COPY || copy->staging == NULL) {
            continue;
        }
        bool in = copy->copy_kind == LEAT_COPY_HOST_TO_DEVICE;
        void *host = lt_ref_resolve(run, in ? &copy->source : &copy->target);
        copy->direct = copy->bytes >= ASK_BYTES && host != copy->staging &&
                       is_pinned(device, host, copy->bytes);
        if (is_streamed(copy)) {
            status = stream_copy(stage, copy, run, err);
        } else if (in && !copy->direct) {
            memcpy(copy->staging, host, copy->bytes);
        }
    }
    return status;
}

static leat_status queue_actions(lt_stage *stage, const lt_span *span, const lt_run *run,
                                 leat_error *err)
{
    leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < span->count && status == LEAT_OK; i++) {
        lt_action *action = &stage->actions[span->first + i];
        if (!is_streamed(action)) {
            status = lt_stage_act(stage, action, run, err);
        }
    }
    return status;
}

/* ------------------------------------------------------------------------------------------------
 * Graphs
 * --------------------------------------------------------------------------------------------- */

/* An address that decides what a copy is recorded as; NULL where it is the same in all runs. */
static const void *copy_key(const lt_action *copy, const lt_run *run)
{
    bool in = copy->copy_kind == LEAT_COPY_HOST_TO_DEVICE;
    const lt_ref *host = in ? &copy->source : &copy->target;
    if (is_streamed(copy) || (copy->staging != NULL && !copy->direct)) {
        return NULL;
    }
    return lt_ref_resolve(run, host);
}

static void read_keys(const lt_stage *stage, lt_span *span, const lt_run *run)
{
    uint32_t n = 0;
    span->now[n++] = run->streams[span->device];
    span->now[n++] = run->workspaces[span->device];
    for (uint32_t i = 0; i < span->count; i++) {
        const lt_action *action = &stage->actions[span->first + i];
        if (action->kind == LT_ACTION_COPY) {
            bool in = action->copy_kind == LEAT_COPY_HOST_TO_DEVICE;
            span->now[n++] = copy_key(action, run);
            span->now[n++] = lt_ref_resolve(run, in ? &action->target : &action->source);
            continue;
        }
        for (uint32_t p = 0; p < action->segment->n_patches; p++) {
            span->now[n++] = lt_patch_resolve(run, &action->segment->patches[p]);
        }
    }
}

static bool are_now(const lt_span *span, const void *const *keys)
{
    return memcmp(span->now, keys, span->n_keys * sizeof(*keys)) == 0;
}

static void drop_graph(const lt_stage *stage, lt_span *span, uint32_t which)
{
    const lt_device *device = stage->program->devices[span->device];
    if (span->graphs[which] != NULL) {
        device->backend->graph_destroy(device->handle, span->graphs[which]);
        span->graphs[which] = NULL;
    }
}

void lt_span_destroy(lt_stage *stage, lt_span *span)
{
    for (uint32_t g = 0; g < LT_SPAN_GRAPHS; g++) {
        drop_graph(stage, span, g);
    }
}

/* Devices that fail to record or to replay are not asked again; nothing has been lost. */
static void give_up(lt_stage *stage, lt_span *span)
{
    lt_span_destroy(stage, span);
    span->capturable = false;
}

/* Records the span. The graph; NULL when it cannot be had. */
static void *capture(lt_stage *stage, lt_span *span, const lt_run *run)
{
    const lt_device *device = stage->program->devices[span->device];
    const leat_backend *backend = device->backend;
    void *stream = run->streams[span->device], *graph = NULL;
    if (span->n_captures >= MOST_CAPTURES ||
        backend->capture_begin(device->handle, stream, NULL) != LEAT_OK) {
        give_up(stage, span);
        return NULL;
    }
    leat_status queued = queue_actions(stage, span, run, NULL);
    leat_status ended = backend->capture_end(device->handle, stream, &graph, NULL);
    if (ended == LEAT_OK && queued != LEAT_OK) {
        backend->graph_destroy(device->handle, graph);
    }
    if (ended != LEAT_OK || queued != LEAT_OK) {
        give_up(stage, span);
        return NULL;
    }
    uint32_t which = span->n_captures++ % LT_SPAN_GRAPHS;
    drop_graph(stage, span, which);
    span->graphs[which] = graph;
    memcpy(span->keys + (size_t)which * span->n_keys, span->now,
           span->n_keys * sizeof(*span->keys));
    return graph;
}

static void *find_graph(const lt_span *span)
{
    for (uint32_t g = 0; g < LT_SPAN_GRAPHS; g++) {
        if (span->graphs[g] != NULL && are_now(span, span->keys + (size_t)g * span->n_keys)) {
            return span->graphs[g];
        }
    }
    return NULL;
}

leat_status lt_span_run(lt_stage *stage, lt_span *span, const lt_run *run, leat_error *err)
{
    const lt_device *device = stage->program->devices[span->device];
    leat_status status = send_inputs(stage, span, run, err);
    if (status != LEAT_OK || !span->capturable || run->joined) {
        return status ? status : queue_actions(stage, span, run, err);
    }
    read_keys(stage, span, run);
    void *graph = find_graph(span);
    if (graph == NULL && are_now(span, span->last)) {
        graph = capture(stage, span, run);
    }
    if (graph != NULL) {
        if (device->backend->graph_launch(device->handle, run->streams[span->device], graph,
                                          NULL) == LEAT_OK) {
            return LEAT_OK;
        }
        give_up(stage, span);
    }
    status = queue_actions(stage, span, run, err);
    if (status == LEAT_OK) {
        memcpy(span->last, span->now, span->n_keys * sizeof(*span->last));
    }
    return status;
}

leat_status lt_span_time(lt_stage *stage, lt_span *span, const lt_run *run, leat_error *err)
{
    const lt_device *device = stage->program->devices[span->device];
    const lt_action *first = &stage->actions[span->first];
    uint64_t *phases = stage->phases, start = lt_clock_ns();
    leat_status status = lt_span_run(stage, span, run, err);
    uint64_t queued = lt_clock_ns();
    if (status == LEAT_OK) {
        status = device->backend->stream_wait(device->handle, run->streams[span->device], err);
    }
    uint64_t ended = lt_clock_ns();
    bool launches = first->kind == LT_ACTION_LAUNCH;
    lt_trace_add(&device->context->trace, launches ? LT_LANE_KERNEL : LT_LANE_COPY,
                 launches ? "kernels" : "copy", device->info.name, 0, start, ended);
    if (launches) {
        phases[LT_PHASE_ENQUEUE] += queued - start;
        phases[LT_PHASE_COMPUTE] += ended - start;
    } else {
        bool in = first->copy_kind == LEAT_COPY_HOST_TO_DEVICE;
        phases[in ? LT_PHASE_H2D : LT_PHASE_D2H] += ended - start;
    }
    return status;
}

/* ------------------------------------------------------------------------------------------------
 * Finding them
 * --------------------------------------------------------------------------------------------- */

static bool belongs(const lt_stage *stage, const lt_action *action)
{
    bool work = action->kind == LT_ACTION_LAUNCH ||
                (action->kind == LT_ACTION_COPY && action->copy_kind != 0);
    return work && !lt_device_is_host(stage->program->devices[action->device]);
}

/* Whether two actions are of one span. Phases that are timed are spans of their own. */
static bool goes_with(const lt_stage *stage, const lt_action *first, const lt_action *action)
{
    return first->device == action->device &&
           (stage->phases == NULL ||
            (first->kind == action->kind && first->copy_kind == action->copy_kind));
}

/* Counts keys and says whether the span can be recorded. */
static void examine(const lt_stage *stage, lt_span *span, bool graphs)
{
    const lt_device *device = stage->program->devices[span->device];
    bool launches = false, capturable = true;
    span->n_keys = 2;
    for (uint32_t i = 0; i < span->count; i++) {
        const lt_action *action = &stage->actions[span->first + i];
        if (action->kind == LT_ACTION_COPY) {
            span->n_keys += 2;
            continue;
        }
        launches = true;
        capturable &= lt_executable_requirements(action->segment->executable).capturable != 0;
        span->n_keys += action->segment->n_patches;
    }
    span->capturable =
        graphs && launches && capturable && LT_BACKEND_HAS(device->backend, capture_begin);
}

static leat_status add_span(lt_stage *stage, uint32_t first, uint32_t count, bool graphs,
                            leat_error *err)
{
    lt_span *span = &stage->spans[stage->n_spans++];
    span->device = stage->actions[first].device;
    span->first = first;
    span->count = count;
    examine(stage, span, graphs);
    if (!span->capturable) {
        return LEAT_OK;
    }
    const void **keys =
        lt_arena_array(&stage->arena, (size_t)span->n_keys * (2 + LT_SPAN_GRAPHS), sizeof(*keys));
    if (keys == NULL) {
        span->capturable = false;
        return lt_fail(err, LEAT_NO_MEMORY, "no memory to plan a run");
    }
    span->now = keys;
    span->last = keys + span->n_keys;
    span->keys = keys + 2 * (size_t)span->n_keys;
    return LEAT_OK;
}

leat_status lt_plan_find_spans(lt_stage *stage, bool graphs, leat_error *err)
{
    leat_status status = LEAT_OK;
    stage->spans = lt_arena_array(&stage->arena, stage->n_actions + 1u, sizeof(*stage->spans));
    if (stage->spans == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory to plan a run");
    }
    for (uint32_t i = 0; i < stage->n_actions && status == LEAT_OK;) {
        uint32_t end = i;
        while (end < stage->n_actions && belongs(stage, &stage->actions[end]) &&
               goes_with(stage, &stage->actions[i], &stage->actions[end])) {
            end++;
        }
        if (end != i) {
            status = add_span(stage, i, end - i, graphs, err);
        }
        i = end != i ? end : i + 1;
    }
    return status;
}

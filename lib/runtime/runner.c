/* SPDX-License-Identifier: Apache-2.0 */
/* The frames of a session: making, trimming and freeing them, times of nodes, progress. */
#include "base/clock.h"
#include "base/error.h"
#include "runtime/frame.h"

#include <string.h>

static leat_status create_frame(lt_frame *frame, lt_runner *runner, const lt_body *body,
                                lt_arena *arena, leat_error *err)
{
    const lt_graph *graph = body->graph;
    frame->runner = runner;
    frame->body = body;
    frame->run.input_data = lt_arena_array(arena, graph->n_inputs + 1u, sizeof(void *));
    frame->run.output_data = lt_arena_array(arena, graph->n_outputs + 1u, sizeof(void *));
    frame->completed = lt_arena_array(arena, graph->n_outputs + 1u, sizeof(*frame->completed));
    frame->inputs = lt_arena_array(arena, graph->n_inputs + 1u, sizeof(*frame->inputs));
    frame->input_held = lt_arena_array(arena, graph->n_inputs + 1u, sizeof(lt_held *));
    if (frame->run.input_data == NULL || frame->run.output_data == NULL ||
        frame->completed == NULL || frame->inputs == NULL || frame->input_held == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for a session");
    }
    if (body->n_hosts == 0) {
        return LEAT_OK;
    }
    frame->run.made = lt_arena_array(arena, graph->n_values + 1u, sizeof(*frame->run.made));
    return frame->run.made ? lt_frame_make_states(frame, arena, err)
                           : lt_fail(err, LEAT_NO_MEMORY, "no memory for a session");
}

leat_status lt_runner_create(lt_runner *runner, lt_arena *arena, leat_error *err)
{
    const lt_program *program = runner->program;
    leat_status status = LEAT_OK;
    runner->frames = lt_arena_array(arena, program->n_bodies, sizeof(*runner->frames));
    if (runner->frames == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for a session");
    }
    for (uint32_t b = 0; b < program->n_bodies && status == LEAT_OK; b++) {
        runner->n_frames = b + 1;
        status = create_frame(&runner->frames[b], runner, &program->bodies[b], arena, err);
    }
    return status;
}

/* Frees a frame's plans but one, and its buffers. */
static void trim_frame(lt_frame *frame, lt_stage *kept)
{
    while (frame->plans != NULL) {
        lt_stage *plan = frame->plans;
        frame->plans = plan->next;
        if (plan != kept) {
            lt_stage_destroy(plan);
        }
    }
    frame->plans = kept;
    if (kept != NULL) {
        kept->next = NULL;
    } else {
        frame->last = NULL;
        lt_frame_release_made(frame);
    }
    lt_frame_drop_buffers(frame);
}

void lt_runner_trim(lt_runner *runner, lt_stage *kept)
{
    for (uint32_t f = 0; f < runner->n_frames; f++) {
        if (runner->frames[f].body != NULL) {
            trim_frame(&runner->frames[f], f == 0 ? kept : NULL);
        }
    }
    size_t n_devices = runner->workspaces ? runner->program->n_devices : 0;
    for (size_t d = 0; d < n_devices; d++) {
        lt_device_free(runner->program->devices[d], runner->workspaces[d],
                       runner->workspace_bytes[d]);
        runner->workspaces[d] = NULL;
        runner->workspace_bytes[d] = 0;
    }
}

static void clear_times(lt_stage *stage)
{
    for (; stage != NULL; stage = stage->next) {
        for (uint32_t i = 0; i < stage->n_segments; i++) {
            const lt_segment *segment = &stage->segments[i];
            if (segment->node_ns != NULL) {
                memset(segment->node_ns, 0, segment->n_nodes * sizeof(*segment->node_ns));
            }
        }
        clear_times(stage->children);
    }
}

void lt_runner_start(lt_runner *runner)
{
    runner->iterations = 0;
    runner->told_ns = 0;
    memset(runner->phases, 0, sizeof(runner->phases));
    if (!runner->profile) {
        return;
    }
    for (uint32_t f = 0; f < runner->n_frames; f++) {
        clear_times(runner->frames[f].plans);
        lt_frame_clear_times(&runner->frames[f]);
    }
}

static uint64_t stage_time(const lt_stage *stage)
{
    uint64_t total = 0;
    for (; stage != NULL; stage = stage->next) {
        for (uint32_t i = 0; i < stage->n_segments; i++) {
            const lt_segment *segment = &stage->segments[i];
            for (uint32_t n = 0; segment->node_ns != NULL && n < segment->n_nodes; n++) {
                total += segment->node_ns[n];
            }
        }
        total += stage_time(stage->children);
    }
    return total;
}

uint64_t lt_frame_time(const lt_frame *frame)
{
    const lt_body *body = frame->body;
    uint64_t total = stage_time(frame->plans);
    for (uint32_t i = 0; i < body->n_hosts; i++) {
        const lt_host_node *host = body->hosts[body->host_nodes[i]];
        total += lt_frame_host_time(frame, body->host_nodes[i]);
        for (uint32_t k = 0; k < 2; k++) {
            const lt_body *inner = host->bodies[k];
            total += inner ? lt_frame_time(&frame->runner->frames[inner->index]) : 0;
        }
    }
    return total;
}

/* Between two calls of the progress callback. */
#define TELL_NS 100000000u

leat_status lt_runner_tick(lt_runner *runner, uint64_t done, uint64_t total, leat_error *err)
{
    runner->iterations++;
    if (runner->progress == NULL) {
        return runner->iterations <= LT_MOST_ITERATIONS
                   ? LEAT_OK
                   : lt_fail(err, LEAT_LIMIT,
                             "more than %u iterations in one run: give the session a progress "
                             "callback, which can end it",
                             LT_MOST_ITERATIONS);
    }
    uint64_t now = lt_clock_ns();
    if (runner->told_ns == 0) {
        runner->told_ns = now;
    }
    if (now - runner->told_ns < TELL_NS) {
        return LEAT_OK;
    }
    runner->told_ns = now;
    return runner->progress(runner->progress_user, "loop", done, total) == 0
               ? LEAT_OK
               : lt_fail(err, LEAT_CANCELLED, "the progress callback asked to stop");
}

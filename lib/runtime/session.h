/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LT_RUNTIME_SESSION_H
#define LT_RUNTIME_SESSION_H

#include "runtime/frame.h"
#include "runtime/tensor.h"

/* A tensor bound to an input or output. */
typedef struct lt_binding {
    leat_tensor *tensor;
    uint32_t space; /* of a tensor on a device of the session; 0: in host memory */
    void *staging;  /* host copy of a tensor on any other device; NULL otherwise */
} lt_binding;

/* What holds a session. A trim is short and holds the context's lock: a run waits for it. */
enum lt_session_state {
    LT_SESSION_FREE = 0,
    LT_SESSION_RUNNING,
    LT_SESSION_TRIMMING
};

struct leat_session {
    leat_context *context;
    leat_model *model;
    lt_program *program;
    leat_session *previous, *next; /* in context->sessions; guarded by context->lock */
    _Atomic int busy;              /* an lt_session_state */

    lt_runner runner; /* the frames of the model's graph and of all bodies */

    size_t n_inputs;
    size_t n_outputs;
    leat_array *inputs;      /* of the run under way, bound tensors put in */
    uint32_t *input_spaces;  /* where they are */
    uint32_t *output_spaces; /* where the outputs of the run under way go */
    lt_binding *input_bindings;
    lt_binding *output_bindings;
    size_t n_bound_inputs;
    size_t n_bound_outputs;
    bool urgent;      /* its work comes before other sessions' on devices */
    void **given_out; /* per output: the session's own memory that the last run gave out, or NULL */

    lt_arena arena;        /* of what lives as long as the session */
    lt_arena report_arena; /* of the latest report */
};

/* The frame of the model's own graph. */
static inline lt_frame *lt_session_frame(leat_session *session)
{
    return &session->runner.frames[0];
}

/* Drops all plans and the workspace. keep_given_out: not the plan whose output buffers the last run
 * gave to the caller, who may read them until the next run. The caller holds `busy`. */
void lt_session_drop_plans(leat_session *session, bool keep_given_out);

/* run.c: a run whose caller holds `busy`. */
leat_status lt_session_run_held(leat_session *session, const leat_array *inputs, size_t n_inputs,
                                leat_array *outputs, size_t n_outputs,
                                leat_error *err) LEAT_MUST_CHECK;

/* Position of a device among the session's; their number when it is not one of them. */
uint32_t lt_session_device_index(const leat_session *session, const lt_device *device);

/* leat_session_run in a queue of the caller's on one of the session's devices (`queue`: what the
 * backend's stream_wrap gave), plainly: recording would take the caller's own work with it. */
leat_status lt_session_run_joined(leat_session *session, const lt_device *device, void *queue,
                                  const leat_array *inputs, size_t n_inputs, leat_array *outputs,
                                  size_t n_outputs, leat_error *err) LEAT_MUST_CHECK;

/* How often runs of the context's sessions, those that are gone among them, had a plan, and had
 * not.
 */
void lt_sessions_count_plans(leat_context *context, uint64_t *out_hits, uint64_t *out_misses);

/* Takes a session for a run (or report), or a trim. A run waits for a trim to end; false when it is
 * taken otherwise. A caller that trims holds the context's lock. */
bool lt_session_hold(leat_session *session, int state);
void lt_session_let_go(leat_session *session);

#endif

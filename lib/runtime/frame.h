/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: what a session keeps to run one graph of its program, the model's own or a body: the
 * plans, and what the runtime's own nodes need. Bodies run through the same code as models do. */
#ifndef LT_RUNTIME_FRAME_H
#define LT_RUNTIME_FRAME_H

#include "runtime/plan.h"

typedef struct lt_frame lt_frame;
typedef struct lt_host_state lt_host_state;

/* Iterations of all Loops and Scans of one run that a session without a progress callback allows:
 * nobody could end it. */
#define LT_MOST_ITERATIONS (1u << 28)

/* What the frames of a session share. */
typedef struct lt_runner {
    lt_program *program;
    lt_frame *frames;  /* per body of the program */
    uint32_t n_frames; /* initialised so far */
    uint32_t max_plans;
    bool profile;
    bool graphs; /* devices may record runs */
    bool time_phases;
    uint64_t phases[LT_N_PHASES]; /* of the latest run */
    leat_progress_fn progress;
    void *progress_user;
    lt_tuning *tuning;                       /* NULL: none */
    _Atomic uint64_t plan_hits, plan_misses; /* written by the run under way alone */
    /* Per device. Frames use one workspace in turns: what outlives a segment is in buffers. */
    void **workspaces;
    size_t *workspace_bytes;
    void **streams;
    bool joined; /* the run under way is in a queue of the caller's, which must not be recorded */
    leat_pool *pool;
    uint64_t iterations; /* of the run under way */
    uint64_t told_ns;    /* when progress was last called in a loop; 0: not in this run */
} lt_runner;

struct lt_frame {
    lt_runner *runner;
    const lt_body *body;
    lt_stage *plans; /* first stages, the latest used first */
    lt_stage *last;  /* last stage of the latest run or warm; NULL: none */
    lt_run run;
    const uint32_t *input_spaces;      /* per input: where it is; NULL: all in host memory */
    const uint32_t *output_spaces;     /* per output, likewise: where it shall go */
    const leat_array *given;           /* inputs of the run under way */
    lt_held *const *given_held;        /* their blocks; NULL: none has one */
    const lt_stage_output **completed; /* per output of the graph: by the latest run */
    lt_host_state **states;            /* per node */
    leat_array *inputs;                /* bodies: filled before a run by their node */
    lt_held **input_held;
};

/* Makes the frames of all bodies in `arena`. The runner's other fields are set.
 * Owns:     on failure, too, lt_runner_trim frees what was made.
 * Errors:   NO_MEMORY. */
leat_status lt_runner_create(lt_runner *runner, lt_arena *arena, leat_error *err) LEAT_MUST_CHECK;

/* Starts a run of the session: counters, times of nodes. */
void lt_runner_start(lt_runner *runner);

/* Frees plans, workspaces and buffers; not the plan `kept` of the model's own graph (NULL: none)
 * and, with it, what that graph's nodes made. */
void lt_runner_trim(lt_runner *runner, lt_stage *kept);

/* One more iteration of a loop. Asks the progress callback now and then.
 * Errors:   CANCELLED; LIMIT without a callback. */
leat_status lt_runner_tick(lt_runner *runner, uint64_t done, uint64_t total,
                           leat_error *err) LEAT_MUST_CHECK;

/* Tells where an output goes; *out_place NULL: to the plan's own buffer. */
typedef leat_status (*lt_place_fn)(void *user, const lt_stage_output *output, void **out_place,
                                   leat_error *err);

/* Runs the graph once. `held` has the blocks of the inputs' data, NULL: none has one. `place` NULL:
 * all outputs go to the plan's own buffers, valid until the frame's next run.
 * Errors:   as leat_session_run. */
leat_status lt_frame_run(lt_frame *frame, const leat_array *inputs, lt_held *const *held,
                         lt_place_fn place, void *user, leat_error *err) LEAT_MUST_CHECK;

/* Makes the first stage for these inputs, workspace and output buffers. */
leat_status lt_frame_warm(lt_frame *frame, const leat_array *inputs,
                          leat_error *err) LEAT_MUST_CHECK;

/* Output i of the latest run, without one more holder. */
lt_item lt_frame_output(const lt_frame *frame, uint32_t output);

/* A value at the end of a stage that has just run, without one more holder. */
lt_item lt_frame_value(const lt_frame *frame, const lt_stage *stage, uint32_t value);

/* Lets go of what nodes made in the latest run. */
void lt_frame_release_made(lt_frame *frame);

/* frame_inputs.c: whether inputs fit what the graph declares; not the data of sequences and
 * optionals, which differ in every run.
 * Errors:   INVALID. */
leat_status lt_frame_check_inputs(const lt_frame *frame, const leat_array *inputs,
                                  leat_error *err) LEAT_MUST_CHECK;
const char *lt_frame_input_name(const lt_frame *frame, size_t i);
/* A sequence or optional that the caller made, and all in it. */
bool lt_frame_input_is_sound(const leat_array *array);

/* host_node.c: carries out the node that the stage ends before; its outputs are in run.made. */
leat_status lt_frame_run_host(lt_frame *frame, const lt_stage *stage,
                              leat_error *err) LEAT_MUST_CHECK;
/* Makes the state of every node. */
leat_status lt_frame_make_states(lt_frame *frame, lt_arena *arena, leat_error *err) LEAT_MUST_CHECK;
/* With profile: nanoseconds of all nodes of the graph and of the bodies in it. */
uint64_t lt_frame_time(const lt_frame *frame);
uint64_t lt_frame_host_time(const lt_frame *frame, uint32_t node);
void lt_frame_clear_times(lt_frame *frame);
/* Frees the buffers of the states. */
void lt_frame_drop_buffers(lt_frame *frame);

#endif

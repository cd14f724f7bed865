/* SPDX-License-Identifier: Apache-2.0 */
/* What a graph (the model's own, or the body of a control flow node) runs for one set of input
 * shapes.
 *
 * A run is a chain of stages, nearly always of one. A stage ends early
 *   - where the shape of a value depends on another value that must be computed first (NonZero, or
 *     a Reshape to a computed shape): the runner runs the stage, reads that value, and goes on with
 *     the child stage made for it;
 *   - before a node that the runtime carries out itself (If, Loop, SequenceAt, ...): the runner
 *     does so, and goes on with the child stage made for the shapes of what came out.
 *
 * A stage is a list of actions: launch a segment, copy a value between memories, wait for a device.
 * Each value lives in one or more spaces: space 0 is host memory, each other device has its own.
 */
#ifndef LT_RUNTIME_PLAN_H
#define LT_RUNTIME_PLAN_H

#include "base/error.h"
#include "base/tensor.h"
#include "runtime/executor.h"
#include "runtime/held.h"
#include "runtime/program.h"

/* Elements up to which a value is computed when the plan is made. */
#define LT_HOST_ELEMENTS (64u << 10)
/* Stages of one chain: a bound for hostile graphs, whose every stage has tables of its own. */
#define LT_MOST_STAGES 16384u

typedef enum lt_ref_kind {
    LT_REF_NONE = 0,
    LT_REF_FIXED,  /* pointer */
    LT_REF_INPUT,  /* the run's input `index` */
    LT_REF_OUTPUT, /* the run's output `index` */
    LT_REF_MADE,   /* what a node of the runtime's own made of value `index` */
} lt_ref_kind;

/* Where a value is during a run. */
typedef struct lt_ref {
    lt_ref_kind kind;
    uint32_t index;
    void *pointer;
} lt_ref;

/* A pointer of a segment that each run sets. */
typedef struct lt_patch {
    const void **slot;
    lt_ref_kind kind; /* all but LT_REF_FIXED */
    uint32_t index;
} lt_patch;

typedef struct lt_segment {
    uint32_t device; /* of the program */
    uint32_t n_nodes;
    const uint32_t *nodes; /* of the graph */
    lt_executable *executable;
    const void **inputs;
    void **outputs;
    lt_patch *patches;
    uint32_t n_patches;
    uint64_t *node_ns; /* NULL unless profiling */
} lt_segment;

typedef enum lt_action_kind {
    LT_ACTION_LAUNCH,
    LT_ACTION_COPY,
    LT_ACTION_WAIT,
    LT_ACTION_UNSTAGE /* after the wait: from the staging of copy `from` to where it goes */
} lt_action_kind;

typedef struct lt_action {
    lt_action_kind kind;
    uint32_t device; /* of the program */
    lt_segment *segment;
    int32_t copy_kind; /* leat_copy_kind; 0: both in host memory */
    lt_ref target;
    lt_ref source;
    size_t bytes;
    /* Copies between host and device (span.c): */
    void *staging; /* pinned memory between the caller's and the device's; NULL: none */
    bool direct;   /* in this run without the staging: the caller's memory is pinned */
    bool settled;  /* while compiling: its WAIT and UNSTAGE follow already */
    uint32_t from; /* of LT_ACTION_UNSTAGE: an action */
} lt_action;

/* Graphs of a span that are kept, for callers that take turns with buffers. */
#define LT_SPAN_GRAPHS 4u

/* Actions in a row that one device carries out without the host in between: copies and launches. A
 * device that can record them replays them as a whole. */
typedef struct lt_span {
    uint32_t device; /* of the program */
    uint32_t first;  /* action */
    uint32_t count;
    bool capturable;
    uint32_t n_keys;   /* addresses that may differ from run to run, stream and workspace first */
    const void **now;  /* those of the run under way */
    const void **last; /* those of the last run that was queued plainly; [0] NULL: none */
    const void **keys; /* [graph * n_keys]: those of a graph */
    void *graphs[LT_SPAN_GRAPHS];
    uint32_t n_captures; /* so far */
} lt_span;

/* Memory of values that several segments or stages use. */
typedef struct lt_buffer {
    struct lt_buffer *next;
    lt_device *device;
    void *block;
    size_t bytes;
    bool pinned; /* host memory pinned for the device */
} lt_buffer;

/* Shape and content of a value that a stage was made for. Of maps, sequences and optionals the
 * type counts alone: only nodes of the runtime's own look into them. */
typedef struct lt_input_key {
    int32_t rank;
    leat_dtype dtype;
    int64_t shape[LEAT_MAX_RANK];
    size_t bytes;
    uint32_t space;      /* where the data is */
    const void *content; /* what the input must hold; NULL: anything */
} lt_input_key;

/* An output of the graph that a stage completes. */
typedef struct lt_stage_output {
    uint32_t index;
    leat_dtype dtype;
    int32_t rank;
    int64_t shape[LEAT_MAX_RANK];
    size_t bytes;    /* 0 for sequences and optionals, which are not copied */
    void *own;       /* the plan's buffer, when the caller gives none; made when first needed */
    bool is_staging; /* own is the staging of a copy, which is one of `buffers` */
    uint32_t over;   /* input of the graph whose memory it may be; LEAT_NO_VALUE: none */
} lt_stage_output;

/* Parts of a run on a device, for sessions that time them. */
enum {
    LT_PHASE_H2D,
    LT_PHASE_ENQUEUE,
    LT_PHASE_COMPUTE, /* from the first launch until all have ended */
    LT_PHASE_D2H,
    LT_N_PHASES
};

typedef struct lt_stage lt_stage;
struct lt_stage {
    lt_program *program;
    const lt_body *body;
    lt_stage *parent; /* NULL for a first stage */
    lt_stage *next;   /* sibling, or the next plan */
    lt_stage *children;
    lt_arena arena;

    lt_input_key *inputs; /* first stage: one per input of the graph */
    const void *content;  /* child: what the parent's barrier value holds; or else */
    lt_input_key *made;   /* child: one per output of the node that the parent ends before */

    leat_value *values;      /* of the graph, with this plan's shapes */
    lt_ref *refs;            /* [space * n_values + value] */
    bool *output_done;       /* per output of the graph, those of earlier stages among them */
    uint32_t *output_spaces; /* per output of the graph: where it goes; the first stage's */
    bool *evaluated;         /* per node: its result is part of the plan */
    const char **reasons;    /* per node: why its device; NULL: the only one */

    lt_action *actions;
    uint32_t n_actions;
    uint64_t *phases; /* LT_N_PHASES, of the session, added to; NULL: not timed */
    lt_span *spans;   /* in the order of their actions */
    uint32_t n_spans;
    lt_segment *segments;
    uint32_t n_segments;
    lt_stage_output *outputs;
    uint32_t n_outputs;
    lt_buffer *buffers;
    size_t workspace_bytes[LT_MAX_DEVICES + 1]; /* per device: the most that a segment needs */

    uint32_t first_node;   /* where the stage starts in the graph's order */
    uint32_t barrier_node; /* where it ends; n_nodes when the graph ends there */
    uint32_t barrier;      /* the value that the rest waits for; LEAT_NO_VALUE: none */
    bool at_host;          /* it ends before a node of the runtime's own */
    uint32_t depth;        /* stages before it */
};

typedef struct lt_stage_desc {
    const lt_body *body;
    lt_stage *parent;
    const leat_array *inputs;      /* of the run; data may be NULL where no shape depends on it */
    const uint32_t *input_spaces;  /* per input; NULL: all in host memory */
    const uint32_t *output_spaces; /* likewise */
    const void *content;           /* child: data of the parent's barrier value; or else */
    const lt_item *made; /* child: per value of the graph, what nodes of the runtime made */
    bool profile;
    bool graphs;
    uint64_t *phases;
    leat_progress_fn progress; /* may be NULL */
    void *progress_user;
    lt_tuning *tuning; /* of ways to compute a node; NULL: by estimates */
} lt_stage_desc;

/* Makes the stage for these inputs.
 * Owns:     *out_stage is the caller's; desc->content and the inputs' data are copied if kept.
 * Errors:   INVALID for inputs that do not fit; UNSUPPORTED; CANCELLED; NO_MEMORY; LIMIT. */
leat_status lt_stage_create(const lt_stage_desc *desc, lt_stage **out_stage,
                            leat_error *err) LEAT_MUST_CHECK;
/* Frees what `buffers` lists. */
void lt_plan_free_buffers(lt_stage *stage);
/* Frees the stage and its children. */
void lt_stage_destroy(lt_stage *stage);

/* Whether a first stage serves these inputs. Spaces as in lt_stage_desc. */
bool lt_stage_matches(const lt_stage *stage, const leat_array *inputs, const uint32_t *input_spaces,
                      const uint32_t *output_spaces);

/* The child made for that content of the barrier value; NULL when there is none. */
lt_stage *lt_stage_find_child(const lt_stage *stage, const void *content);
/* The child made for those shapes of the outputs of the node that the stage ends before. */
lt_stage *lt_stage_find_made(const lt_stage *stage, const lt_item *made);

/* Allocates the buffers of outputs that the caller gives none for. */
leat_status lt_stage_own_outputs(lt_stage *stage, leat_error *err) LEAT_MUST_CHECK;

/* What a run of a graph needs. */
typedef struct lt_run {
    void **input_data;  /* per input of the graph */
    void **output_data; /* per output of the graph */
    lt_item *made;      /* per value of the graph; NULL without nodes of the runtime's own */
    void **workspaces;  /* per device of the program */
    void **streams;     /* per device of the program; NULL for host memory */
    bool joined;        /* one of them is the caller's: nothing is recorded */
    leat_pool *pool;
} lt_run;

/* Carries out the actions; on return all of it has ended.
 * Threads:  one at a time per stage. Allocates nothing. */
leat_status lt_stage_run(lt_stage *stage, const lt_run *run, leat_error *err) LEAT_MUST_CHECK;

/* Host memory of the barrier value after the stage has run. */
const void *lt_stage_barrier_data(const lt_stage *stage, const lt_run *run);

/* --- parts of making a stage, in files of their own ------------------------------------------- */

/* Where a value is during a run, for a ref that is not LT_REF_NONE. */
static inline void *lt_ref_resolve(const lt_run *run, const lt_ref *ref)
{
    return ref->kind == LT_REF_FIXED   ? ref->pointer
           : ref->kind == LT_REF_INPUT ? run->input_data[ref->index]
           : ref->kind == LT_REF_MADE  ? run->made[ref->index].array.data
                                       : run->output_data[ref->index];
}

static inline leat_status lt_plan_no_memory(leat_error *err)
{
    return lt_fail(err, LEAT_NO_MEMORY, "no memory to plan a run");
}

/* Calls fn for every value that node `node` of the graph reads, the captures of its bodies among
 * them. */
void lt_plan_each_read(const lt_graph *graph, uint32_t node,
                       void (*fn)(void *argument, uint32_t value), void *argument);

/* Space of a device: 0 for host memory. */
uint32_t lt_plan_space(const lt_program *program, uint32_t device);
uint32_t lt_plan_spaces(const lt_program *program);

/* plan_walk.c: infers shapes from first_node on, computes on the host what is small and known, and
 * lists the nodes that must run. Sets barrier and barrier_node. */
leat_status lt_plan_walk(lt_stage *stage, const lt_stage_desc *desc, uint32_t **out_nodes,
                         uint32_t *out_n_nodes, leat_error *err) LEAT_MUST_CHECK;

/* plan_place.c: a device for each node; may_run excludes what was refused. */
typedef struct lt_placement {
    uint32_t *nodes; /* of the graph, in the order of running */
    uint32_t n_nodes;
    struct lt_part *parts;
    uint32_t n_parts;
} lt_placement;
leat_status lt_plan_place(lt_stage *stage, const uint32_t *nodes, uint32_t n_nodes,
                          const bool *refused, lt_placement *out_placement,
                          leat_error *err) LEAT_MUST_CHECK;

/* Where a patch or a copy finds what it is about. */
static inline const void *lt_patch_resolve(const lt_run *run, const lt_patch *patch)
{
    const lt_ref from = {patch->kind, patch->index, NULL};
    return lt_ref_resolve(run, &from);
}

/* plan.c: carries out one action. */
leat_status lt_stage_act(lt_stage *stage, lt_action *action, const lt_run *run,
                         leat_error *err) LEAT_MUST_CHECK;

/* span.c: finds the spans of a stage whose actions are all there. */
leat_status lt_plan_find_spans(lt_stage *stage, bool graphs, leat_error *err) LEAT_MUST_CHECK;
/* Carries out a span: by a graph if there is one for these addresses. Records one when it has been
 * run with them before. */
leat_status lt_span_run(lt_stage *stage, lt_span *span, const lt_run *run,
                        leat_error *err) LEAT_MUST_CHECK;
/* The same, waited for and timed; stage->phases is not NULL. */
leat_status lt_span_time(lt_stage *stage, lt_span *span, const lt_run *run,
                         leat_error *err) LEAT_MUST_CHECK;
void lt_span_destroy(lt_stage *stage, lt_span *span);
/* Copies between host memories, a large one by all threads. */
void lt_span_move(leat_pool *pool, void *target, const void *source, size_t bytes);

/* plan_compile.c and plan_transfer.c: segments, buffers, actions. */
leat_status lt_plan_compile(lt_stage *stage, const lt_stage_desc *desc, const uint32_t *nodes,
                            uint32_t n_nodes, leat_error *err) LEAT_MUST_CHECK;

#endif

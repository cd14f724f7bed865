/* SPDX-License-Identifier: Apache-2.0 */
/* A program: a model made ready for a list of devices. It holds the graph after the passes that
 * depend on devices, and the packed weights; the sessions of a model that ask for the same share
 * it. It does not change once made. */
#ifndef LT_RUNTIME_PROGRAM_H
#define LT_RUNTIME_PROGRAM_H

#include "runtime/model.h"
#include "runtime/weights.h"

#define LT_MAX_DEVICES 16u /* of one session */

typedef struct lt_program_desc {
    lt_device *devices[LT_MAX_DEVICES]; /* in order of preference */
    size_t n_devices;
    leat_fallback fallback;
    leat_plan_options options;
} lt_program_desc;

typedef struct lt_program lt_program;
typedef struct lt_body lt_body;
struct lt_host_op; /* host_node.h */

/* A node that the runtime itself carries out between segments: control flow, sequences, optionals.
 */
typedef struct lt_host_node {
    const struct lt_host_op *op;
    lt_body *bodies[2]; /* If: then, else; Loop, Scan, SequenceMap: the body; NULL: none */
} lt_host_node;

/* A graph of the program that runs: the model's own, or the body of a control flow node. */
struct lt_body {
    lt_program *program;
    uint32_t index; /* in program->bodies */
    lt_body *outer; /* NULL for the model's own graph */
    lt_graph *graph;
    uint32_t n_formals; /* inputs that the node feeds; what the body captures follows in
                           graph->inputs, in the order of graph->captures */
    bool *is_shape;     /* per node: it depends on shapes and constants only; the CPU may run it */
    lt_host_node **hosts;     /* per node; NULL: a backend runs it */
    const struct lt_op **ops; /* per node; NULL: none of leat's. Every plan infers every node */
    uint32_t *host_nodes;     /* those nodes */
    uint32_t n_hosts;
};

struct lt_program {
    leat_model *model;
    lt_program *next; /* in model->programs */
    uint32_t n_users; /* guarded by model->lock */
    lt_program_desc desc;
    lt_device *devices[LT_MAX_DEVICES + 1]; /* desc.devices, then the CPU when it is needed for
                                               fallback or for shape computations */
    size_t n_devices;
    size_t n_wanted; /* the first n_wanted may run any node; the others only what is left over */
    lt_graph *graph;
    lt_body *bodies; /* the model's own graph, then the bodies in it, outer ones first */
    uint32_t n_bodies;
    const void **constants; /* data of all graphs' constants, sorted; in the graph's arena */
    size_t n_constants;
    uint64_t constant_bytes;
    lt_weights *weights[LT_MAX_DEVICES + 1];
    _Atomic uint64_t released_bytes; /* packed weights when the file's pages were last given back */
};

/* The model's program for `desc`, made when there is none.
 * Owns:     *out_program is held until lt_program_release.
 * Threads:  any.
 * Errors:   UNSUPPORTED naming a node; NO_MEMORY; those of the passes. */
leat_status lt_program_acquire(leat_model *model, const lt_program_desc *desc,
                               lt_program **out_program, leat_error *err) LEAT_MUST_CHECK;
void lt_program_release(lt_program *program);

/* Gives the pages of the model's files back when weights have been packed since the last time: what
 * is packed is not read from the file again. */
void lt_program_release_pages(lt_program *program);

/* Whether device d of the program may run the node at all (ignoring what the backend says). */
static inline bool lt_body_may_run(const lt_body *body, size_t d, uint32_t node)
{
    return d < body->program->n_wanted || body->program->desc.fallback == LEAT_FALLBACK_CPU ||
           body->is_shape[node];
}

#endif

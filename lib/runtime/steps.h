/* SPDX-License-Identifier: Apache-2.0 */
/* The step runner: a segment on a kernel backend as a list of kernel calls.
 *
 * Everything that a launch needs is made by the build: one flat table of pointers ("slots"), in
 * which each step has its inputs and outputs side by side, and lists of the slots that hold an
 * input, an output or a place in the workspace of the segment. A launch writes the slots whose
 * pointer has changed since the last one, and calls the kernels.
 *
 *     slots:   | step 0: in in in out | step 1: in out | step 2: in in out out | ...
 *     patches:   input 0: 0  output 0: 9  workspace: 3+0, 4+0, 5+4096, ...
 */
#ifndef LT_RUNTIME_STEPS_H
#define LT_RUNTIME_STEPS_H

#include "runtime/host.h"

typedef struct lt_step {
    leat_status (*launch)(const void *state, const leat_kernel_args *args, leat_error *err);
    const void *state;
    leat_kernel_args args;
    uint32_t node; /* of the segment */
} lt_step;

/* Slots that hold the same external pointer. */
typedef struct lt_slot_list {
    uint32_t *slots;
    uint32_t count;
    const void *last; /* what they hold now */
} lt_slot_list;

/* A slot that holds a place in the workspace. */
typedef struct lt_slot_offset {
    uint32_t slot;
    size_t offset;
} lt_slot_offset;

typedef struct lt_steps {
    lt_device *device;
    lt_step *steps;
    uint32_t n_steps;
    void **slots;
    lt_slot_list *inputs; /* of the segment */
    uint32_t n_inputs;
    lt_slot_list *outputs;
    uint32_t n_outputs;
    uint32_t *over; /* per output: the input of the segment whose memory it may be; or
                       LEAT_NO_VALUE */
    lt_slot_offset *locals;
    uint32_t n_locals;
    size_t *scratch_offsets; /* per step: its kernel's workspace; SIZE_MAX for none */
    void *workspace;         /* what the locals are relative to now */
    void *stream;
    leat_pool *pool;
    size_t workspace_bytes;
    leat_kernel *kernels; /* per node, for reports */
    const char **labels;  /* per node */
    uint32_t n_nodes;
} lt_steps;

/* Prepares every node. All memory comes from `plan`, and is freed with it.
 * Errors:   as the rows' prepare, naming the node, *out_refused being its index. */
leat_status lt_steps_build(lt_device *device, const leat_segment *segment, leat_plan *plan,
                           lt_steps *out_steps, uint32_t *out_refused,
                           leat_error *err) LEAT_MUST_CHECK;

/* As lt_executable_launch. */
leat_status lt_steps_launch(lt_steps *steps, const leat_launch *launch,
                            leat_error *err) LEAT_MUST_CHECK;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files that compile a stage: plan_compile.c (segments) and plan_transfer.c (where
 * values are, and the copies that bring them where they are needed). */
#ifndef LT_RUNTIME_PLAN_COMPILER_H
#define LT_RUNTIME_PLAN_COMPILER_H

#include "runtime/partition.h"
#include "runtime/plan.h"

typedef struct lt_plan_compiler {
    lt_stage *stage;
    const lt_stage_desc *desc;
    const lt_graph *graph;
    uint32_t n_spaces;
    lt_placement placement;
    uint32_t *part_of; /* per value: part that makes it + 1; 0: none */
    uint32_t *stamp;   /* per value: last part that listed it as an input, + 1 */
    bool *leaves;      /* per value: needed outside of the part that makes it */
    bool *used;        /* per device: it has work that nobody has waited for */
    uint32_t actions_capacity;
} lt_plan_compiler;

/* Where a value is in a space. */
static inline lt_ref *lt_plan_ref(const lt_plan_compiler *c, uint32_t space, uint32_t value)
{
    return &c->stage->refs[(size_t)space * c->graph->n_values + value];
}

/* Adds an action behind the others; NULL without memory. */
lt_action *lt_plan_add_action(lt_plan_compiler *c, lt_action_kind kind, uint32_t device);

/* A place for a value in a space: the caller's buffer if it is an output, else one of the plan's.
 */
leat_status lt_plan_make_place(lt_plan_compiler *c, uint32_t space, uint32_t value,
                               leat_error *err) LEAT_MUST_CHECK;

/* Brings a value to the space of a device, through host memory if need be. */
leat_status lt_plan_bring(lt_plan_compiler *c, uint32_t device, uint32_t value,
                          leat_error *err) LEAT_MUST_CHECK;

/* Waits for the copies to host memory that are under way: the host is about to read it. */
leat_status lt_plan_settle(lt_plan_compiler *c, leat_error *err) LEAT_MUST_CHECK;

/* Completes the outputs of the model whose values are there by now, brings the barrier value to
 * host memory, and waits for all devices at the end. */
leat_status lt_plan_finish(lt_plan_compiler *c, leat_error *err) LEAT_MUST_CHECK;

#endif

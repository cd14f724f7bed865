/* SPDX-License-Identifier: Apache-2.0 */
/* leat_plan of the plugin ABI: what prepare and compile allocate, freed with the executable. */
#ifndef LT_RUNTIME_HOST_H
#define LT_RUNTIME_HOST_H

#include "runtime/context.h"
#include "runtime/tuning.h"
#include "runtime/weights.h"

typedef struct lt_plan_block {
    struct lt_plan_block *next;
    void *block; /* on the device */
    size_t bytes;
} lt_plan_block;

struct leat_plan {
    lt_arena arena;
    lt_device *device;
    lt_weights *weights; /* where packed constants are shared; NULL: none are */
    leat_plan_options options;
    lt_tuning *tuning;         /* where plan_choose looks and records; NULL: it does not measure */
    uint64_t constant_bytes;   /* of the whole model */
    leat_progress_fn progress; /* told of measurements; may be NULL */
    void *progress_user;
    lt_plan_block *blocks; /* device memory that only this plan uses */
};

/* What compiling depends on beside the device and the segment. */
typedef struct lt_compile_context {
    lt_weights *weights;              /* as leat_plan.weights */
    const leat_plan_options *options; /* copied; NULL: the defaults */
    lt_tuning *tuning;                /* as leat_plan.tuning */
    uint64_t constant_bytes;          /* as leat_plan.constant_bytes */
    leat_progress_fn progress;        /* likewise */
    void *progress_user;
} lt_compile_context;

void lt_host_plan_init(leat_plan *plan, lt_device *device, const lt_compile_context *context);
void lt_host_plan_destroy(leat_plan *plan);

/* A kernel all of whose outputs are empty has nothing to write, yet may loop over any number of
 * empty rows: its launch becomes one that does nothing. For what prepare made; not for operators of
 * the application. */
void lt_host_skip_empty(const leat_kernel_node *node, leat_kernel *kernel);

/* The device's copy of a constant as it is, shared like packed constants. Host memory: the
 * constant itself.
 * Errors:   NO_MEMORY; LIMIT; those of the device. */
leat_status lt_host_plan_upload(leat_plan *plan, const leat_value *constant, const void **out_block,
                                leat_error *err) LEAT_MUST_CHECK;

#endif

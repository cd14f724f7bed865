/* SPDX-License-Identifier: Apache-2.0 */
/* What the ways to compute a ConvDepthwise share (conv_depthwise.c says what it is). */
#ifndef LT_CPU_CONV_CONV_DEPTHWISE_H
#define LT_CPU_CONV_CONV_DEPTHWISE_H

#include "conv/depthwise.h"
#include "conv/igemm.h"
#include "elementwise/half.h"

/* Rates that the choice between the ways rests on, of one core. */
#define LT_CONV_DEPTHWISE_FLOPS_PER_NS 100.0
#define LT_CONV_DEPTHWISE_CALL_NS 200.0 /* around one product */

typedef struct lt_conv_depthwise_parts {
    lt_igemm first;
    lt_depthwise_plan lines;
    const lt_half_kernels *half;
    leat_dtype y_dtype;
} lt_conv_depthwise_parts;

/* Plans both parts; `strassen`: the first one's weights serve Strassen's product, too.
 * Errors:   NO_MEMORY; INVALID for attributes that do not fit the shapes; LIMIT. */
leat_status lt_conv_depthwise_plan_parts(lt_conv_depthwise_parts *parts,
                                         const leat_kernel_node *node, bool strassen,
                                         const lt_cpu_device *device, const leat_host *host,
                                         leat_plan *plan, leat_error *err);

uint64_t lt_conv_depthwise_flops(const lt_conv_depthwise_parts *parts);

/* How the way "channels" cuts its work: into units of one image and one block of channels each. */
typedef struct lt_conv_depthwise_channels {
    double cost_ns;     /* of a run; 0: the way is not offered */
    size_t panels;      /* of weights a block */
    int64_t blocks;     /* of an image; the last one has what channels are left */
    int64_t units;      /* of all images */
    int64_t per_thread; /* units that a thread takes whole; ... */
    int64_t cut;        /* ... lines of those behind them are cut into so many parts */
} lt_conv_depthwise_channels;

lt_conv_depthwise_channels
lt_conv_depthwise_channels_plan(const lt_conv *first, const lt_conv_geometry *g,
                                const leat_value *y, const lt_cpu_device *device, uint32_t threads);

/* leat_way.prepare; the argument is the plan. */
leat_status lt_conv_depthwise_channels_prepare(const leat_kernel_node *node, void *device,
                                               const leat_host *host, leat_plan *plan,
                                               const void *argument, leat_kernel *out_kernel,
                                               leat_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* How long a device takes for a kernel in a run: launches of it queue up in a graph, so that each
 * begins while the one before it ends, and neither launching nor waiting counts. */
#ifndef LT_RUNTIME_DEVICE_TIMER_H
#define LT_RUNTIME_DEVICE_TIMER_H

#include "runtime/context.h"

typedef struct lt_device_timer {
    lt_device *device;
    void *stream;
} lt_device_timer;

/* Owns:     close a timer whatever open said.
 * Errors:   those of the device. */
leat_status lt_device_timer_open(lt_device_timer *timer, lt_device *device) LEAT_MUST_CHECK;
void lt_device_timer_close(lt_device_timer *timer);

/* Least nanoseconds of a launch; negative when one failed. args->stream is the timer's; launch i
 * takes its inputs from inputs[i % n_inputs], where the same constants lie elsewhere: a cache that
 * does not hold them all has none of them. */
double lt_device_timer_run(const lt_device_timer *timer, const leat_kernel *kernel,
                           const leat_kernel_args *args, const void *const *const *inputs,
                           size_t n_inputs);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* One way to run a segment, whichever kind of backend the device has: a kernel backend goes through
 * the step runner (steps.h), a whole-graph backend through its own functions. */
#ifndef LT_RUNTIME_EXECUTOR_H
#define LT_RUNTIME_EXECUTOR_H

#include "runtime/context.h"
#include "runtime/host.h"

typedef struct lt_executable lt_executable;

/* One answer per node of the segment.
 * Errors:   as the backend; a node that is not supported is an answer, not an error. */
leat_status lt_executor_describe(lt_device *device, const leat_segment *segment,
                                 leat_node_support *answers, leat_error *err) LEAT_MUST_CHECK;

/* Compiles a segment whose shapes are all known.
 * Owns:     *out_executable is the caller's. The segment is borrowed during the call only; node
 *           and value names, constants and context->weights must outlive the executable.
 *           *out_refused (may be NULL) is the node that failed, LEAT_NO_VALUE when it is not known.
 * Errors:   UNSUPPORTED naming the node; NO_MEMORY; LIMIT. */
leat_status lt_executor_compile(lt_device *device, const leat_segment *segment,
                                const lt_compile_context *context, lt_executable **out_executable,
                                uint32_t *out_refused, leat_error *err) LEAT_MUST_CHECK;
void lt_executable_destroy(lt_executable *executable);

/* Bytes of workspace, alignment, capturable. */
leat_requirements lt_executable_requirements(const lt_executable *executable);

/* The input of the segment whose memory output `output` may be; LEAT_NO_VALUE: none. */
uint32_t lt_executable_over(const lt_executable *executable, size_t output);

/* Runs (host memory) or queues (other devices) the segment.
 * Threads:  one launch of an executable at a time. Allocates nothing.
 * Errors:   as the kernels; DEVICE_LOST. */
leat_status lt_executable_launch(lt_executable *executable, const leat_launch *launch,
                                 leat_error *err) LEAT_MUST_CHECK;

/* For reports: kernel and operation count of node i of the segment ("" and 0 when not known). */
const char *lt_executable_kernel(const lt_executable *executable, size_t node, uint64_t *out_flops);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/executor.h"

#include "base/error.h"
#include "runtime/steps.h"

#include <stdio.h>
#include <string.h>

struct lt_executable {
    lt_device *device;
    leat_plan plan;
    lt_steps steps; /* kernel backends */
    void *foreign;  /* whole-graph backends: their own executable */
    leat_requirements requirements;
};

static bool has_rows(const lt_device *device)
{
    return device->backend->rows != NULL;
}

leat_status lt_executor_describe(lt_device *device, const leat_segment *segment,
                                 leat_node_support *answers, leat_error *err)
{
    memset(answers, 0, segment->n_nodes * sizeof(*answers));
    if (!has_rows(device)) {
        return device->backend->describe(device->handle, segment, answers, err);
    }
    for (size_t i = 0; i < segment->n_nodes; i++) {
        leat_kernel_node node = {&segment->nodes[i], segment->values};
        leat_error reason = {0};
        const leat_op_row *row = lt_device_row(device, &node, &reason);
        answers[i].supported = row != NULL;
        if (row != NULL) {
            answers[i].layout = row->layout;
        } else {
            snprintf(answers[i].reason, sizeof(answers[i].reason), "%.*s",
                     (int)sizeof(answers[i].reason) - 1, reason.message);
        }
    }
    return LEAT_OK;
}

static leat_status compile_foreign(lt_executable *executable, const leat_segment *segment,
                                   leat_error *err)
{
    const leat_backend *backend = executable->device->backend;
    leat_status status = backend->compile(executable->device->handle, segment, &executable->plan,
                                          &executable->foreign, err);
    if (status != LEAT_OK) {
        executable->foreign = NULL;
        return status;
    }
    return backend->executable_require(executable->foreign, &executable->requirements, err);
}

static int32_t are_capturable(const lt_steps *steps)
{
    for (uint32_t i = 0; i < steps->n_nodes; i++) {
        if (steps->kernels[i].not_capturable) {
            return 0;
        }
    }
    return 1;
}

leat_status lt_executor_compile(lt_device *device, const leat_segment *segment,
                                const lt_compile_context *context, lt_executable **out_executable,
                                uint32_t *out_refused, leat_error *err)
{
    uint32_t ignored;
    out_refused = out_refused ? out_refused : &ignored;
    *out_refused = LEAT_NO_VALUE;
    *out_executable = NULL;
    lt_memory *memory = &device->context->memory;
    lt_executable *executable = lt_alloc_zeroed(memory, sizeof(*executable), LT_ALIGNMENT);
    if (executable == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for an executable");
    }
    executable->device = device;
    lt_host_plan_init(&executable->plan, device, context);
    leat_status status;
    if (has_rows(device)) {
        status = lt_steps_build(device, segment, &executable->plan, &executable->steps, out_refused,
                                err);
        executable->requirements.workspace_bytes = executable->steps.workspace_bytes;
        executable->requirements.alignment = LT_ALIGNMENT;
        executable->requirements.capturable =
            status == LEAT_OK && are_capturable(&executable->steps);
    } else {
        status = compile_foreign(executable, segment, err);
    }
    if (status != LEAT_OK) {
        lt_executable_destroy(executable);
        return status;
    }
    *out_executable = executable;
    return LEAT_OK;
}

void lt_executable_destroy(lt_executable *executable)
{
    if (executable == NULL) {
        return;
    }
    if (executable->foreign != NULL) {
        executable->device->backend->executable_destroy(executable->foreign);
    }
    lt_host_plan_destroy(&executable->plan);
    lt_free(&executable->device->context->memory, executable, sizeof(*executable));
}

leat_requirements lt_executable_requirements(const lt_executable *executable)
{
    return executable->requirements;
}

uint32_t lt_executable_over(const lt_executable *executable, size_t output)
{
    if (executable->foreign != NULL || output >= executable->steps.n_outputs) {
        return LEAT_NO_VALUE;
    }
    return executable->steps.over[output];
}

leat_status lt_executable_launch(lt_executable *executable, const leat_launch *launch,
                                 leat_error *err)
{
    if (executable->foreign != NULL) {
        return executable->device->backend->launch(executable->foreign, launch, err);
    }
    return lt_steps_launch(&executable->steps, launch, err);
}

const char *lt_executable_kernel(const lt_executable *executable, size_t node, uint64_t *out_flops)
{
    *out_flops = 0;
    if (executable->foreign != NULL || node >= executable->steps.n_nodes) {
        return "";
    }
    const leat_kernel *kernel = &executable->steps.kernels[node];
    *out_flops = kernel->flops;
    return kernel->name ? kernel->name : "";
}

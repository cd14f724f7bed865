/* SPDX-License-Identifier: Apache-2.0 */
/* CenterCropPad: the middle of the data, or the data in the middle of zeros, axis by axis. */
#include "movement/movement.h"

static leat_status launch_center(const void *state, const leat_kernel_args *args, leat_error *err)
{
    (void)err;
    lt_mapped_run(state, args, args->outputs[0], args->inputs[0]);
    return LEAT_OK;
}

/* Where each output index of an axis comes from. */
static int64_t *make_map(const leat_host *host, leat_plan *plan, int64_t in, int64_t out)
{
    int64_t *map = host->plan_alloc(plan, (size_t)(out + 1) * sizeof(*map));
    int64_t shift = in > out ? (in - out) / 2 : -((out - in) / 2);
    for (int64_t i = 0; map != NULL && i < out; i++) {
        int64_t from = i + shift;
        map[i] = from >= 0 && from < in ? from : -1;
    }
    return map;
}

leat_status lt_cpu_center_crop_pad_prepare(const leat_kernel_node *node, void *device,
                                           const leat_host *host, leat_plan *plan,
                                           leat_kernel *out_kernel, leat_error *err)
{
    static const uint64_t zero[2];
    const leat_value *in = leat_kernel_input(node, 0), *out = leat_kernel_output(node, 0);
    lt_mapped *copy = host->plan_alloc(plan, sizeof(*copy));
    (void)device;
    if (copy == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    if (in->rank != out->rank || in->rank == 0) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: its rank must stay",
                           lt_move_name(node->node).text);
    }
    copy->rank = in->rank;
    copy->element_bytes = lt_cpu_element_bytes(in->dtype);
    copy->unit = 1;
    copy->fill = zero;
    for (int32_t i = 0; i < in->rank; i++) {
        copy->in_shape[i] = in->shape[i];
        copy->out_shape[i] = out->shape[i];
        copy->maps[i] = make_map(host, plan, in->shape[i], out->shape[i]);
        if (copy->maps[i] == NULL) {
            return lt_move_no_memory(node->node, err);
        }
    }
    out_kernel->name = "center_crop_pad";
    out_kernel->launch = launch_center;
    out_kernel->state = copy;
    out_kernel->unread_mask = 2;
    return LEAT_OK;
}

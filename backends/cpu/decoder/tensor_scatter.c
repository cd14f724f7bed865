/* SPDX-License-Identifier: Apache-2.0 */
/* TensorScatter: an update written into a cache along one axis, from an index of each batch item
 * on; circular caches wrap. In place where the plan allows: then only the update is written. */
#include "movement/movement.h"

typedef struct tensor_scatter {
    lt_move_label label;
    bool circular;
    int64_t batch, rows, length, update; /* rows: between batch and axis; elements along the axis */
    size_t run;                          /* bytes behind the axis */
} tensor_scatter;

static leat_status launch_tensor_scatter(const void *state, const leat_kernel_args *args,
                                         leat_error *err)
{
    const tensor_scatter *t = state;
    const int64_t *indices = args->inputs[2];
    const uint8_t *update = args->inputs[1];
    uint8_t *out = args->outputs[0];
    for (int64_t b = 0; indices != NULL && b < t->batch && !t->circular; b++) {
        if (indices[b] < 0 || indices[b] > t->length - t->update) {
            return lt_cpu_fail(err, LEAT_INVALID,
                               "%s: %lld elements at index %lld of a cache of %lld", t->label.text,
                               (long long)t->update, (long long)indices[b], (long long)t->length);
        }
    }
    size_t bytes = (size_t)(t->batch * t->rows * t->length) * t->run;
    if (out != args->inputs[0] && bytes != 0) {
        lt_move_rows copy = {out,           args->inputs[0], 1, (int64_t)bytes, (int64_t)bytes,
                             (int64_t)bytes};
        lt_move_copy_rows(&copy, args);
    }
    for (int64_t row = 0; row < t->batch * t->rows; row++) {
        int64_t first = indices ? indices[row / t->rows] % (t->length ? t->length : 1) : 0;
        first += first < 0 ? t->length : 0;
        for (int64_t i = 0; i < t->update;) {
            int64_t to = (first + i) % t->length, n = t->length - to;
            n = n < t->update - i ? n : t->update - i;
            memcpy(out + (size_t)(row * t->length + to) * t->run,
                   update + (size_t)(row * t->update + i) * t->run, (size_t)n * t->run);
            i += n;
        }
    }
    return LEAT_OK;
}

/* Input 2 may be left out of the list altogether. */
static leat_status launch_from_start(const void *state, const leat_kernel_args *args,
                                     leat_error *err)
{
    const void *inputs[3] = {args->inputs[0], args->inputs[1], NULL};
    leat_kernel_args all = *args;
    all.inputs = inputs;
    return launch_tensor_scatter(state, &all, err);
}

leat_status lt_cpu_tensor_scatter_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *cache = leat_kernel_input(node, 0), *update = leat_kernel_input(node, 1);
    const leat_value *indices = leat_kernel_input(node, 2);
    if (cache == NULL || update == NULL || update->dtype != cache->dtype ||
        (indices != NULL && indices->dtype != LEAT_DTYPE_I64)) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: the update must be of the cache's type",
                           lt_move_name(node->node).text);
    }
    return LEAT_OK;
}

leat_status lt_cpu_tensor_scatter_prepare(const leat_kernel_node *node, void *device,
                                          const leat_host *host, leat_plan *plan,
                                          leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *cache = leat_kernel_input(node, 0), *update = leat_kernel_input(node, 1);
    const leat_value *indices = leat_kernel_input(node, 2);
    tensor_scatter *t = host->plan_alloc(plan, sizeof(*t));
    int32_t axis = 0;
    (void)device;
    if (t == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    t->label = lt_move_name(node->node);
    leat_status status =
        lt_move_axis(node->node, leat_node_int(node->node, "axis", -2), cache->rank, &axis, err);
    bool fits = status == LEAT_OK && axis > 0 && update->rank == cache->rank;
    for (int32_t i = 0; fits && i < cache->rank; i++) {
        fits =
            i == axis ? update->shape[i] <= cache->shape[i] : update->shape[i] == cache->shape[i];
    }
    fits = fits && (indices == NULL || leat_value_count(indices) == cache->shape[0]);
    if (status == LEAT_OK && !fits) {
        status =
            lt_cpu_fail(err, LEAT_INVALID, "%s: the update does not fit the cache", t->label.text);
    }
    if (status != LEAT_OK) {
        return status;
    }
    t->circular = leat_node_string_is(node->node, "mode", "circular");
    t->batch = cache->shape[0];
    t->rows = lt_move_product(cache->shape, 1, axis);
    t->length = cache->shape[axis];
    t->update = update->shape[axis];
    t->run = (size_t)lt_move_product(cache->shape, axis + 1, cache->rank) *
             lt_cpu_element_bytes(cache->dtype);
    out_kernel->name = "tensor_scatter";
    out_kernel->launch = indices != NULL ? launch_tensor_scatter : launch_from_start;
    out_kernel->state = t;
    out_kernel->inplace_mask = 1;
    return LEAT_OK;
}

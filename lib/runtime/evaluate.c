/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/evaluate.h"

#include "base/error.h"
#include "base/tensor.h"
#include "runtime/host.h"

#include <string.h>

/* Pointers of inputs; NULL for omitted ones. */
static leat_status collect_inputs(const leat_node *node, const leat_value *values, lt_arena *arena,
                                  const void ***out_inputs, leat_error *err)
{
    const void **inputs = lt_arena_array(arena, node->n_inputs + 1u, sizeof(*inputs));
    if (inputs == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory to compute a constant");
    }
    for (uint32_t i = 0; i < node->n_inputs; i++) {
        if (node->inputs[i] == LEAT_NO_VALUE) {
            continue;
        }
        inputs[i] = values[node->inputs[i]].data;
        if (inputs[i] == NULL) {
            return lt_fail(err, LEAT_INTERNAL, "input %u of a constant node has no data", i);
        }
    }
    *out_inputs = inputs;
    return LEAT_OK;
}

static leat_status launch(leat_context *context, const leat_kernel *kernel, const leat_node *node,
                          const leat_value *values, const void *const *inputs, void *const *out,
                          leat_error *err)
{
    if (kernel->launch == NULL) {
        if (kernel->view_of < 1 || (uint32_t)kernel->view_of > node->n_inputs || out[0] == NULL) {
            return lt_fail(err, LEAT_INTERNAL, "%s: a kernel without launch", node->op);
        }
        const leat_value *source = &values[node->inputs[kernel->view_of - 1]];
        size_t bytes;
        if (!lt_shape_bytes(source->dtype, source->rank, source->shape, &bytes)) {
            return lt_fail(err, LEAT_INTERNAL, "%s: a view of unknown size", node->op);
        }
        memcpy(out[0], source->data, bytes);
        return LEAT_OK;
    }
    void *workspace = lt_alloc(&context->memory, kernel->workspace_bytes, LT_ALIGNMENT);
    if (workspace == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "%s: no memory for %zu bytes", node->op,
                       kernel->workspace_bytes);
    }
    const leat_kernel_args args = {.inputs = inputs,
                                   .outputs = out,
                                   .workspace = workspace,
                                   .pool = context->pool,
                                   .host = &context->host};
    leat_status status = kernel->launch(kernel->state, &args, err);
    lt_free(&context->memory, workspace, kernel->workspace_bytes);
    return status;
}

leat_status lt_evaluate_node(leat_context *context, const leat_node *node, const leat_value *values,
                             void *const *out, leat_error *err)
{
    lt_device *cpu = lt_device_cpu(context);
    const leat_kernel_node kernel_node = {node, values};
    const leat_op_row *row = lt_device_row(cpu, &kernel_node, err);
    if (row == NULL) {
        return LEAT_UNSUPPORTED;
    }
    leat_plan plan;
    lt_host_plan_init(&plan, cpu, &(lt_compile_context){0});
    leat_kernel kernel = {0};
    const void **inputs = NULL;
    leat_status status = collect_inputs(node, values, &plan.arena, &inputs, err);
    if (status == LEAT_OK) {
        status = row->prepare(&kernel_node, cpu->handle, &context->host, &plan, &kernel, err);
    }
    if (status == LEAT_OK) {
        lt_host_skip_empty(&kernel_node, &kernel);
        status = launch(context, &kernel, node, values, inputs, out, err);
    }
    lt_host_plan_destroy(&plan);
    return status;
}

bool lt_evaluate_is_pure(const leat_node *node)
{
    static const char *const random[] = {"RandomNormal",      "RandomNormalLike", "RandomUniform",
                                         "RandomUniformLike", "Bernoulli",        "Multinomial"};
    for (size_t i = 0; i < sizeof(random) / sizeof(random[0]); i++) {
        if (strcmp(node->op, random[i]) == 0) {
            return false;
        }
    }
    if (node->domain[0] != '\0' && strcmp(node->domain, "leat") != 0 &&
        strcmp(node->domain, "ai.onnx.ml") != 0) { /* the application's: may do anything */
        return false;
    }
    for (uint32_t i = 0; i < node->n_attrs; i++) {
        if (node->attrs[i].type == LEAT_ATTR_GRAPH) {
            return false;
        }
    }
    return true;
}

bool lt_evaluate_is_shape(const leat_node *node)
{
    return node->domain[0] == '\0' && node->n_inputs == 1 && node->n_outputs == 1 &&
           node->inputs[0] != LEAT_NO_VALUE && node->outputs[0] != LEAT_NO_VALUE &&
           (strcmp(node->op, "Shape") == 0 || strcmp(node->op, "Size") == 0);
}

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

bool lt_evaluate_shape(const leat_node *node, const leat_value *input, int64_t *out,
                       size_t *out_count)
{
    int64_t rank = input->rank;
    if (rank < 0) {
        return false;
    }
    int64_t start = 0, end = rank;
    bool is_size = node->op[1] == 'i';
    if (!is_size) {
        start = leat_node_int(node, "start", 0);
        end = leat_node_int(node, "end", rank);
        start = clamp(start < 0 ? start + rank : start, 0, rank);
        end = clamp(end < 0 ? end + rank : end, start, rank);
    }
    for (int64_t i = start; i < end; i++) {
        if (input->shape[i] < 0) {
            return false;
        }
        out[i - start] = input->shape[i];
    }
    *out_count = (size_t)(end - start);
    if (is_size) {
        size_t count;
        if (!lt_shape_count(input->rank, input->shape, &count)) {
            return false;
        }
        out[0] = (int64_t)count;
        *out_count = 1;
    }
    return true;
}

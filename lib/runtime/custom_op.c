/* SPDX-License-Identifier: Apache-2.0 */
/* Operators of the application: adding them, and running them as rows of the CPU device. */
#include "runtime/custom_op.h"

#include "base/error.h"
#include "passes/passes.h"

#include <string.h>

/* One node at fixed shapes. */
typedef struct custom_state {
    const lt_custom_op *op;
    leat_node node;
    size_t arrays_bytes; /* of the workspace: a run's arrays come first */
    leat_array arrays[]; /* inputs, then outputs; data NULL */
} custom_state;

static leat_status launch(const void *data, const leat_kernel_args *args, leat_error *err)
{
    const custom_state *state = data;
    const leat_node *node = &state->node;
    leat_array *arrays = args->workspace; /* one set a run: sessions may run together */
    memcpy(arrays, state->arrays, ((size_t)node->n_inputs + node->n_outputs) * sizeof(*arrays));
    for (uint32_t i = 0; i < node->n_inputs; i++) {
        arrays[i].data = (void *)args->inputs[i];
    }
    for (uint32_t i = 0; i < node->n_outputs; i++) {
        arrays[node->n_inputs + i].data = args->outputs[i];
    }
    const leat_op_call call = {.node = node,
                               .inputs = arrays,
                               .outputs = arrays + node->n_inputs,
                               .workspace = (char *)args->workspace + state->arrays_bytes,
                               .host = args->host,
                               .pool = args->pool};
    leat_error own; /* callbacks may always write a message */
    err = err ? err : &own;
    lt_error_clear(err);
    leat_status status = state->op->desc.compute(state->op->desc.user, &call, err);
    return status == LEAT_OK ? LEAT_OK : lt_custom_failed(state->op, status, err);
}

static void describe(leat_array *array, const leat_value *value)
{
    if (value == NULL) {
        return;
    }
    array->dtype = value->dtype;
    array->rank = value->rank;
    array->bytes = value->bytes;
    memcpy(array->shape, value->shape, sizeof(array->shape));
}

static leat_status measure_workspace(custom_state *state, const leat_kernel_node *k, size_t *out,
                                     leat_error *err)
{
    const leat_op_desc *desc = &state->op->desc;
    const size_t arrays = (size_t)k->node->n_inputs + k->node->n_outputs;
    leat_op_value inputs[LEAT_OP_MAX_VALUES];
    size_t own = 0;
    if (desc->workspace != NULL) {
        lt_custom_inputs(k->node, k->values, inputs);
        own = desc->workspace(desc->user, k->node, inputs);
    }
    if (!lt_align_up(arrays * sizeof(leat_array), LT_ALIGNMENT, &state->arrays_bytes) ||
        !lt_add(state->arrays_bytes, own, out)) {
        return lt_fail(err, LEAT_INVALID, "%s.%s: a workspace of %zu bytes", desc->domain,
                       desc->name, own);
    }
    return LEAT_OK;
}

static leat_status prepare(const leat_kernel_node *k, void *device, const leat_host *host,
                           leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const leat_node *node = k->node;
    const leat_context *context = host->context;
    const lt_custom_op *op = lt_custom_find(&context->custom, node);
    (void)device;
    if (op == NULL || node->n_inputs > op->desc.max_inputs ||
        node->n_outputs > op->desc.max_outputs) {
        return lt_fail(err, LEAT_INTERNAL, "%s: not as it was inferred", node->op);
    }
    const size_t arrays = (size_t)node->n_inputs + node->n_outputs;
    custom_state *state =
        host->plan_alloc(plan, sizeof(*state) + arrays * sizeof(state->arrays[0]));
    if (state == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for a node");
    }
    state->op = op;
    state->node = *node; /* its texts and attributes are the graph's; its values a segment's */
    state->node.inputs = state->node.outputs = NULL;
    for (uint32_t i = 0; i < node->n_inputs; i++) {
        describe(&state->arrays[i], leat_kernel_input(k, i));
    }
    for (uint32_t i = 0; i < node->n_outputs; i++) {
        describe(&state->arrays[node->n_inputs + i], leat_kernel_output(k, i));
    }
    out_kernel->name = "custom";
    out_kernel->launch = launch;
    out_kernel->state = state;
    return measure_workspace(state, k, &out_kernel->workspace_bytes, err);
}

static leat_status check_desc(const leat_op_desc *desc, leat_error *err)
{
    if (desc == NULL || desc->struct_size != sizeof(*desc)) {
        return lt_fail(err, LEAT_INVALID,
                       "leat_op_desc.struct_size is %zu: set it to sizeof(leat_op_desc)",
                       desc ? desc->struct_size : 0);
    }
    if (desc->domain == NULL || desc->name == NULL || desc->name[0] == '\0' ||
        desc->shapes == NULL || desc->compute == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_op_desc needs domain, name, shapes and compute");
    }
    if (desc->since < 0 || desc->until < 0 ||
        (desc->until != 0 && desc->until < (desc->since ? desc->since : 1))) {
        return lt_fail(err, LEAT_INVALID, "%s.%s: versions %d to %d", desc->domain, desc->name,
                       desc->since, desc->until);
    }
    if (desc->min_inputs > desc->max_inputs || desc->max_inputs > LEAT_OP_MAX_VALUES ||
        desc->min_outputs > desc->max_outputs || desc->max_outputs > LEAT_OP_MAX_VALUES ||
        desc->min_outputs == 0) {
        return lt_fail(err, LEAT_INVALID,
                       "%s.%s: %u to %u inputs, %u to %u outputs; at most %d, and an output at "
                       "least",
                       desc->domain, desc->name, desc->min_inputs, desc->max_inputs,
                       desc->min_outputs, desc->max_outputs, LEAT_OP_MAX_VALUES);
    }
    return LEAT_OK;
}

/* leat's own operators keep their meaning: passes know them by name. */
static leat_status check_name(const leat_op_desc *desc, leat_error *err)
{
    static const char *const own[] = {"", "ai.onnx", "leat"};
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        if (strcmp(desc->domain, own[i]) == 0) {
            return lt_fail(err, LEAT_INVALID, "'%s': operators of the domain '%s' cannot be added",
                           desc->name, desc->domain);
        }
    }
    if (lt_op_find(desc->domain, desc->name, INT64_MAX) != NULL ||
        lt_contrib_knows(desc->domain, desc->name)) {
        return lt_fail(err, LEAT_INVALID, "%s.%s: leat has this operator itself", desc->domain,
                       desc->name);
    }
    return LEAT_OK;
}

static bool overlaps(const leat_op_desc *a, const leat_op_desc *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->domain, b->domain) == 0 &&
           (b->until == 0 || a->since <= b->until) && (a->until == 0 || b->since <= a->until);
}

static void free_op(lt_memory *memory, lt_custom_op *op)
{
    if (op->desc.domain != NULL) {
        lt_free(memory, (void *)op->desc.domain, strlen(op->desc.domain) + 1);
    }
    if (op->desc.name != NULL) {
        lt_free(memory, (void *)op->desc.name, strlen(op->desc.name) + 1);
    }
    lt_free(memory, op, sizeof(*op));
}

static lt_custom_op *make_op(lt_memory *memory, const leat_op_desc *desc)
{
    lt_custom_op *op = lt_alloc_zeroed(memory, sizeof(*op), 16);
    if (op == NULL) {
        return NULL;
    }
    op->desc = *desc;
    op->desc.since = desc->since ? desc->since : 1;
    op->desc.domain = lt_copy_text(memory, desc->domain);
    op->desc.name = lt_copy_text(memory, desc->name);
    if (op->desc.domain == NULL || op->desc.name == NULL) {
        free_op(memory, op);
        return NULL;
    }
    op->row = (leat_op_row){.op = op->desc.name,
                            .domain = op->desc.domain,
                            .since = op->desc.since,
                            .until = op->desc.until,
                            .dtypes = ~0ull,
                            .prepare = prepare};
    return op;
}

leat_status leat_context_add_op(leat_context *context, const leat_op_desc *desc, leat_error *err)
{
    if (context == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_context_add_op: context is NULL");
    }
    leat_status status = check_desc(desc, err);
    if (status == LEAT_OK) {
        status = check_name(desc, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    lt_custom_op *op = make_op(&context->memory, desc);
    if (op == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for an operator");
    }
    pthread_mutex_lock(&context->lock);
    op->next = atomic_load_explicit(&context->custom.first, memory_order_relaxed);
    for (const lt_custom_op *other = op->next; other && status == LEAT_OK; other = other->next) {
        if (overlaps(&op->desc, &other->desc)) {
            status = lt_fail(err, LEAT_INVALID, "%s.%s was added for such a version already",
                             desc->domain, desc->name);
        }
    }
    if (status == LEAT_OK) {
        atomic_store_explicit(&context->custom.first, op, memory_order_release);
        op = NULL; /* the list's */
    }
    pthread_mutex_unlock(&context->lock);
    if (op != NULL) {
        free_op(&context->memory, op);
    }
    return status;
}

void lt_custom_ops_destroy(leat_context *context)
{
    lt_custom_op *op = atomic_load(&context->custom.first);
    while (op != NULL) {
        lt_custom_op *next = op->next;
        if (op->desc.destroy != NULL) {
            op->desc.destroy(op->desc.user);
        }
        free_op(&context->memory, op);
        op = next;
    }
}

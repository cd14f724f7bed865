/* SPDX-License-Identifier: Apache-2.0 */
/* The services that backends get (leat_host). */
#include "runtime/host.h"

#include "base/error.h"
#include "base/tensor.h"
#include "graph/graph.h"
#include "runtime/choose.h"

#include <string.h>

static void *host_alloc(void *context, size_t bytes, size_t alignment)
{
    return lt_alloc(&((leat_context *)context)->memory, bytes, alignment);
}

static void host_free(void *context, void *block, size_t bytes)
{
    lt_free(&((leat_context *)context)->memory, block, bytes);
}

static void host_log(void *context, leat_log_level level, const char *line)
{
    lt_log_write(&((leat_context *)context)->log, level, "%s", line);
}

static void *host_plan_alloc(leat_plan *plan, size_t bytes)
{
    return lt_arena_alloc(&plan->arena, bytes, LT_ALIGNMENT);
}

/* Makes a packed form that only this plan uses. */
static leat_status pack_alone(leat_plan *plan, const leat_value *constant, size_t bytes,
                              leat_pack_fn fill, const void *argument, const void **out_block,
                              leat_error *err)
{
    lt_plan_block *link = lt_arena_alloc(&plan->arena, sizeof(*link), 16);
    if (link == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory to pack a constant");
    }
    leat_status status =
        lt_weights_make(plan->device, constant, bytes, fill, argument, &link->block, err);
    if (status != LEAT_OK) {
        return status;
    }
    link->bytes = bytes;
    link->next = plan->blocks;
    plan->blocks = link;
    *out_block = link->block;
    return LEAT_OK;
}

static leat_status host_plan_pack(leat_plan *plan, const leat_value *constant, uint64_t key,
                                  size_t bytes, leat_pack_fn fill, const void *argument,
                                  const void **out_block, leat_error *err)
{
    *out_block = NULL;
    if (constant->data == NULL) {
        return lt_fail(err, LEAT_INVALID, "plan_pack: the value '%s' is no constant",
                       constant->name ? constant->name : "");
    }
    if (plan->weights != NULL && lt_weights_covers(plan->weights, constant->data)) {
        return lt_weights_get(plan->weights, constant, key, bytes, fill, argument, out_block, err);
    }
    return pack_alone(plan, constant, bytes, fill, argument, out_block, err);
}

static const leat_plan_options *host_plan_options(const leat_plan *plan)
{
    return &plan->options;
}

static leat_status host_plan_choose(leat_plan *plan, const leat_kernel_node *node,
                                    const leat_way *ways, size_t n_ways, leat_kernel *out_kernel,
                                    leat_error *err)
{
    if (n_ways == 0) {
        return lt_fail(err, LEAT_INVALID, "plan_choose: no way to compute the node");
    }
    size_t best;
    leat_status status = lt_choose(plan, node, ways, n_ways, &best, err);
    const leat_way *way = &ways[best];
    return status ? status
                  : way->prepare(node, plan->device->handle, &plan->device->context->host, plan,
                                 way->argument, out_kernel, err);
}

void lt_host_init(leat_context *context)
{
    context->host = (leat_host){
        .abi = LEAT_BACKEND_ABI,
        .struct_size = sizeof(leat_host),
        .context = context,
        .alloc = host_alloc,
        .free = host_free,
        .log = host_log,
        .pool = context->pool,
        .pool_threads = lt_pool_threads,
        .parallel = lt_pool_parallel,
        .plan_alloc = host_plan_alloc,
        .plan_pack = host_plan_pack,
        .plan_options = host_plan_options,
        .plan_choose = host_plan_choose,
    };
}

void lt_host_plan_init(leat_plan *plan, lt_device *device, const lt_compile_context *context)
{
    lt_arena_init(&plan->arena, &device->context->memory, 16u << 10);
    plan->device = device;
    plan->weights = context->weights;
    plan->options = context->options ? *context->options : (leat_plan_options){0};
    plan->options.struct_size = sizeof(plan->options);
    plan->tuning = context->tuning;
    plan->options.measures = plan->tuning != NULL;
    plan->constant_bytes = context->constant_bytes;
    plan->progress = context->progress;
    plan->progress_user = context->progress_user;
    plan->blocks = NULL;
}

void lt_host_plan_destroy(leat_plan *plan)
{
    for (lt_plan_block *link = plan->blocks; link != NULL; link = link->next) {
        lt_device_free(plan->device, link->block, link->bytes);
    }
    lt_arena_destroy(&plan->arena);
}

static leat_status launch_nothing(const void *state, const leat_kernel_args *args, leat_error *err)
{
    (void)state;
    (void)args;
    (void)err;
    return LEAT_OK;
}

void lt_host_skip_empty(const leat_kernel_node *node, leat_kernel *kernel)
{
    for (uint32_t i = 0; i < node->node->n_outputs; i++) {
        const leat_value *out = leat_kernel_output(node, i);
        size_t bytes;
        if (out != NULL &&
            (lt_value_is_container(out) ||
             !lt_shape_bytes(out->dtype, out->rank, out->shape, &bytes) || bytes != 0)) {
            return;
        }
    }
    if (kernel->launch != NULL) {
        kernel->launch = launch_nothing;
        kernel->workspace_bytes = 0;
    }
}

static leat_status fill_as_is(void *out, size_t bytes, const leat_value *constant,
                              const void *argument, leat_error *err)
{
    (void)argument;
    (void)err;
    memcpy(out, constant->data, bytes);
    return LEAT_OK;
}

leat_status lt_host_plan_upload(leat_plan *plan, const leat_value *constant, const void **out_block,
                                leat_error *err)
{
    if (lt_device_is_host(plan->device)) {
        *out_block = constant->data;
        return LEAT_OK;
    }
    const uint64_t as_is = 0x75706c6f61640000u; /* apart from the keys of kernels */
    return host_plan_pack(plan, constant, as_is, constant->bytes, fill_as_is, NULL, out_block, err);
}

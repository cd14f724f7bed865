/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/context.h"

#include "base/error.h"
#include "runtime/custom_op.h"

#include <string.h>

/* Enough to bridge the gaps between the operators of a run: waking a worker takes tens of us. */
#define DEFAULT_SPIN_US 200

#ifndef LEAT_PLUGIN_DIRECTORY
#define LEAT_PLUGIN_DIRECTORY "/usr/local/lib/leat"
#endif

uint32_t leat_version(void)
{
    return LEAT_VERSION_MAJOR * 10000u + LEAT_VERSION_MINOR * 100u + LEAT_VERSION_PATCH;
}

static leat_status check_desc(const leat_context_desc *desc, leat_error *err)
{
    if (desc->struct_size != sizeof(*desc)) {
        return lt_fail(err, LEAT_INVALID,
                       "leat_context_desc.struct_size is %zu, this library's is %zu: set it to "
                       "sizeof(leat_context_desc) and build against the library's own header",
                       desc->struct_size, sizeof(*desc));
    }
    if (desc->allocator && (desc->allocator->alloc == NULL || desc->allocator->free == NULL)) {
        return lt_fail(err, LEAT_INVALID, "leat_allocator needs both alloc and free");
    }
    if (desc->threads < 0) {
        return lt_fail(err, LEAT_INVALID, "threads is %d: 0 means one per core, 1 none but yours",
                       desc->threads);
    }
    if ((int)desc->log_level < 0 || desc->log_level > LEAT_LOG_DEBUG) {
        return lt_fail(err, LEAT_INVALID, "log_level %d is none of LEAT_LOG_*",
                       (int)desc->log_level);
    }
    return LEAT_OK;
}

static uint32_t spin_us(const leat_context_desc *desc)
{
    return desc->spin_us == 0 ? DEFAULT_SPIN_US : desc->spin_us < 0 ? 0 : (uint32_t)desc->spin_us;
}

static leat_status start(leat_context *context, const leat_context_desc *desc, leat_error *err)
{
    const char *directory = desc->plugin_directory ? desc->plugin_directory : LEAT_PLUGIN_DIRECTORY;
    context->plugin_directory = lt_copy_text(&context->memory, directory);
    if (context->plugin_directory == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "context: no memory");
    }
    leat_status status =
        lt_pool_create(&context->memory, desc->threads, spin_us(desc), &context->pool, err);
    if (status != LEAT_OK) {
        return status;
    }
    lt_host_init(context);
    status = lt_backend_register(context, lt_cpu_backend_query(LEAT_BACKEND_ABI), NULL, NULL, err);
    if (status != LEAT_OK) {
        return lt_fail_within(err, status, "the built-in CPU backend");
    }
    return lt_device_get(context, "cpu", &context->cpu, err);
}

leat_status leat_context_create(const leat_context_desc *desc, leat_context **out_context,
                                leat_error *err)
{
    static const leat_context_desc defaults = {.struct_size = sizeof(defaults)};
    if (out_context == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_context_create: out_context is NULL");
    }
    *out_context = NULL;
    desc = desc ? desc : &defaults;
    leat_status status = check_desc(desc, err);
    if (status != LEAT_OK) {
        return status;
    }
    lt_memory memory;
    lt_memory_init(&memory, desc->allocator, desc->memory_budget);
    leat_context *context = lt_alloc_zeroed(&memory, sizeof(*context), LT_ALIGNMENT);
    if (context == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "context: no memory for %zu bytes", sizeof(*context));
    }
    context->memory = memory; /* counts the context itself */
    context->log.fn = desc->log;
    context->log.user = desc->log_user;
    context->log.level = desc->log_level ? desc->log_level : LEAT_LOG_WARNING;
    pthread_mutex_init(&context->lock, NULL);
    lt_trace_init(&context->trace);
    status = start(context, desc, err);
    if (status != LEAT_OK) {
        leat_context_destroy(context);
        return status;
    }
    *out_context = context;
    return LEAT_OK;
}

void leat_context_destroy(leat_context *context)
{
    if (context == NULL) {
        return;
    }
    /* Workers end first: no task of theirs may run in a backend that is shut down. */
    lt_pool_destroy(context->pool);
    for (size_t i = context->n_devices; i-- > 0;) {
        lt_device *device = context->devices[i];
        if (device->handle != NULL) {
            device->backend->device_close(device->handle);
        }
        lt_free(&context->memory, device, sizeof(*device));
    }
    lt_free(&context->memory, context->devices, context->devices_capacity * sizeof(lt_device *));
    for (size_t i = context->n_backends; i-- > 0;) {
        lt_backend_unregister(context, context->backends[i]);
    }
    lt_free(&context->memory, context->backends,
            context->backends_capacity * sizeof(lt_backend_entry *));
    lt_custom_ops_destroy(context);
    if (context->plugin_directory != NULL) {
        lt_free(&context->memory, context->plugin_directory, strlen(context->plugin_directory) + 1);
    }
    lt_trace_destroy(&context->trace, &context->memory);
    pthread_mutex_destroy(&context->lock);
    lt_memory memory = context->memory;
    lt_free(&memory, context, sizeof(*context));
}

void leat_context_memory(const leat_context *context, leat_memory_info *out_info)
{
    const lt_memory *memory = &context->memory;
    out_info->live_bytes = atomic_load_explicit(&memory->live_bytes, memory_order_relaxed);
    out_info->peak_bytes = atomic_load_explicit(&memory->peak_bytes, memory_order_relaxed);
    out_info->live_blocks = atomic_load_explicit(&memory->live_blocks, memory_order_relaxed);
    out_info->allocations = atomic_load_explicit(&memory->allocations, memory_order_relaxed);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The context: memory, log, workers, backends, devices. */
#ifndef LT_RUNTIME_CONTEXT_H
#define LT_RUNTIME_CONTEXT_H

#include "base/log.h"
#include "base/memory.h"
#include "base/thread.h"

#include <leat/backend.h>
#include <pthread.h>

/* One device of one backend. Lives as long as the context. */
typedef struct lt_device {
    struct leat_context *context;
    const leat_backend *backend;
    void *instance; /* of the backend */
    size_t index;   /* within the backend */
    leat_device_properties info;
    pthread_mutex_t lock; /* guards handle */
    void *handle;         /* from device_open; NULL until first used */
} lt_device;

/* A backend that is loaded. */
typedef struct lt_backend_entry {
    const leat_backend *backend;
    void *instance;
    void *library; /* dlopen handle; NULL for the built-in */
    char *path;
    size_t first_device; /* into leat_context.devices */
    size_t n_devices;
} lt_backend_entry;

struct leat_context {
    lt_memory memory;
    lt_log log;
    leat_pool *pool;
    leat_host host; /* what backends get; host.context is this context */
    char *plugin_directory;
    pthread_mutex_t lock; /* guards the lists below; devices never move once added */
    lt_backend_entry *backends;
    size_t n_backends;
    lt_device **devices;
    size_t n_devices;
    struct leat_session *sessions; /* list for leat_context_trim */
};

/* Devices are named NAME (the first of that backend) or NAME:INDEX. A backend that is not loaded is
 * looked for in the plugin directory. Opens the device.
 * Errors:   NO_DEVICE with the reason and what to do; NOT_FOUND for an unknown name. */
leat_status lt_device_get(leat_context *context, const char *name, lt_device **out_device,
                          leat_error *err) LEAT_MUST_CHECK;

/* The built-in CPU device, open. Never fails after leat_context_create. */
lt_device *lt_device_cpu(leat_context *context);

/* Whether the device's memory is host memory. */
static inline bool lt_device_is_host(const lt_device *device)
{
    return (device->backend->features & LEAT_BACKEND_HOST_MEMORY) != 0;
}

/* Memory on a device (the context's allocator for host memory). 64-byte aligned.
 * Errors:   NO_MEMORY; LIMIT. */
leat_status lt_device_alloc(lt_device *device, size_t bytes, void **out_block,
                            leat_error *err) LEAT_MUST_CHECK;
void lt_device_free(lt_device *device, void *block, size_t bytes);

/* The built-in backend (backends/cpu/cpu.c). */
const leat_backend *lt_cpu_backend_query(uint32_t host_abi);

#endif

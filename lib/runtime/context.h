/* SPDX-License-Identifier: Apache-2.0 */
/* The context: memory, log, workers, backends, devices. */
#ifndef LT_RUNTIME_CONTEXT_H
#define LT_RUNTIME_CONTEXT_H

#include "base/log.h"
#include "base/memory.h"
#include "base/thread.h"
#include "base/trace.h"
#include "graph/custom.h"

#include <leat/backend.h>
#include <pthread.h>
#include <stddef.h>

/* A backend that is loaded. Lives as long as the context. */
typedef struct lt_backend_entry {
    const leat_backend *backend;
    void *instance;
    void *library;            /* dlopen handle; NULL for the built-in */
    char *path;               /* as given to load, NULL for the built-in */
    const leat_op_row **rows; /* backend->rows sorted by operator, for lookup */
    bool opened;              /* a device was opened: never unloaded then */
} lt_backend_entry;

/* One device of one backend. Lives as long as the context. */
typedef struct lt_device {
    leat_context *context;
    lt_backend_entry *entry;
    const leat_backend *backend;
    size_t index; /* within the backend */
    leat_device_properties info;
    void *handle; /* from device_open; NULL until first used; guarded by context->lock */
} lt_device;

struct leat_context {
    lt_memory memory;
    lt_log log;
    lt_trace trace;
    leat_pool *pool;
    leat_host host; /* what backends get; host.context is this context */
    char *plugin_directory;
    pthread_mutex_t lock; /* guards everything below; entries and devices never move */
    lt_backend_entry **backends;
    size_t n_backends;
    size_t backends_capacity;
    lt_device **devices;
    size_t n_devices;
    size_t devices_capacity;
    lt_custom_ops custom;            /* read without the lock */
    lt_device *cpu;                  /* the first device; set once by create */
    leat_session *sessions;          /* list for leat_context_trim, and what is counted */
    uint64_t plan_hits, plan_misses; /* of sessions that are gone */
    /* Of packed weights (weights.h); without the lock. */
    _Atomic uint64_t weight_hits, weight_misses, weight_bytes;
};

/* Devices are named NAME (the first of that backend) or NAME:INDEX. A backend that is not loaded is
 * looked for in the plugin directory. Opens the device.
 * Errors:   NO_DEVICE with the reason and what to do; those of loading a plugin. */
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

/* Whether a backend has an optional function. */
#define LT_BACKEND_HAS(backend, function)                                                          \
    ((backend)->struct_size >= offsetof(leat_backend, function) + sizeof((backend)->function) &&   \
     (backend)->function != NULL)

/* Pinned host memory of a device; NULL where there is none to be had. */
void *lt_device_alloc_pinned(lt_device *device, size_t bytes);
void lt_device_free_pinned(lt_device *device, void *block, size_t bytes);

/* Copies in a stream of its own and waits; host devices copy at once. Not for the run path. */
leat_status lt_device_copy(lt_device *device, leat_copy_kind kind, void *target, const void *source,
                           size_t bytes, leat_error *err) LEAT_MUST_CHECK;

/* The row of a kernel backend that serves the node; NULL with the reason in err (UNSUPPORTED). */
const leat_op_row *lt_device_row(const lt_device *device, const leat_kernel_node *node,
                                 leat_error *err);

/* Checks a backend's structure before any of its code acts, initialises it and adds its devices.
 * `library` is kept on success only. Called with context->lock held.
 * Errors:   UNSUPPORTED for another ABI or sanitizer; INVALID for a missing function; NO_DEVICE
 *           with the backend's reason; NO_MEMORY. */
leat_status lt_backend_register(leat_context *context, const leat_backend *backend, void *library,
                                const char *path, leat_error *err) LEAT_MUST_CHECK;
void lt_backend_unregister(leat_context *context, lt_backend_entry *entry);

/* Fills the services that backends get. */
void lt_host_init(leat_context *context);

/* The built-in backend (backends/cpu/cpu.c). */
const leat_backend *lt_cpu_backend_query(uint32_t host_abi);

#endif

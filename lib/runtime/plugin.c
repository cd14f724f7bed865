/* SPDX-License-Identifier: Apache-2.0 */
/* Backends: loading plugins, and the checks that a backend passes before any of its code acts. */
#include "base/error.h"
#include "runtime/context.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static leat_status missing(const leat_backend *backend, const char *function, leat_error *err)
{
    return lt_fail(err, LEAT_INVALID, "backend '%s' lacks the function %s", backend->name,
                   function);
}

static bool good_name(const char *name)
{
    size_t length = name ? strlen(name) : 0;
    for (size_t i = 0; i < length; i++) {
        bool letter = name[i] >= 'a' && name[i] <= 'z';
        bool other = (name[i] >= '0' && name[i] <= '9') || name[i] == '_';
        if (!letter && !other) {
            return false;
        }
    }
    return length > 0 && length < 64;
}

static leat_status check_rows(const leat_backend *backend, leat_error *err)
{
    for (size_t i = 0; i < backend->n_rows; i++) {
        const leat_op_row *row = &backend->rows[i];
        if (row->op == NULL || row->domain == NULL || row->prepare == NULL) {
            return lt_fail(err, LEAT_INVALID, "backend '%s': row %zu has no op, domain or prepare",
                           backend->name, i);
        }
    }
    return LEAT_OK;
}

static leat_status check_functions(const leat_backend *b, leat_error *err)
{
    const struct {
        bool needed, there;
        const char *name;
    } table[] = {
        {true, b->init, "init"},
        {true, b->shutdown, "shutdown"},
        {true, b->device_count, "device_count"},
        {true, b->device_info, "device_info"},
        {true, b->device_open, "device_open"},
        {true, b->device_close, "device_close"},
        {(b->features & LEAT_BACKEND_HOST_MEMORY) == 0, b->alloc, "alloc"},
        {(b->features & LEAT_BACKEND_HOST_MEMORY) == 0, b->free, "free"},
        {(b->features & LEAT_BACKEND_HOST_MEMORY) == 0, b->stream_create, "stream_create"},
        {(b->features & LEAT_BACKEND_HOST_MEMORY) == 0, b->stream_destroy, "stream_destroy"},
        {(b->features & LEAT_BACKEND_HOST_MEMORY) == 0, b->stream_wait, "stream_wait"},
        {(b->features & LEAT_BACKEND_HOST_MEMORY) == 0, b->copy, "copy"},
        {b->rows == NULL, b->describe, "describe (or rows)"},
        {b->rows == NULL, b->compile, "compile"},
        {b->rows == NULL, b->executable_require, "executable_require"},
        {b->rows == NULL, b->launch, "launch"},
        {b->rows == NULL, b->executable_destroy, "executable_destroy"},
        {LT_BACKEND_HAS(b, capture_begin), LT_BACKEND_HAS(b, capture_end), "capture_end"},
        {LT_BACKEND_HAS(b, capture_begin), LT_BACKEND_HAS(b, graph_launch), "graph_launch"},
        {LT_BACKEND_HAS(b, capture_begin), LT_BACKEND_HAS(b, graph_destroy), "graph_destroy"},
        {LT_BACKEND_HAS(b, host_alloc), LT_BACKEND_HAS(b, host_free), "host_free"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].needed && !table[i].there) {
            return missing(b, table[i].name, err);
        }
    }
    return check_rows(b, err);
}

static leat_status check_backend(const leat_backend *backend, leat_error *err)
{
    if (backend == NULL) {
        return lt_fail(err, LEAT_UNSUPPORTED,
                       "the plugin cannot serve plugin ABI %u of this library: build it again "
                       "with this library's leat/backend.h",
                       LEAT_BACKEND_ABI);
    }
    if (backend->abi != LEAT_BACKEND_ABI) {
        return lt_fail(err, LEAT_UNSUPPORTED,
                       "the plugin was built for plugin ABI %u, this library has %u", backend->abi,
                       LEAT_BACKEND_ABI);
    }
    if (backend->struct_size < offsetof(leat_backend, stream_wrap)) {
        return lt_fail(err, LEAT_UNSUPPORTED,
                       "the plugin's leat_backend has %u bytes, this library needs at least %zu",
                       backend->struct_size, offsetof(leat_backend, stream_wrap));
    }
    if (!good_name(backend->name)) {
        return lt_fail(err, LEAT_INVALID, "the plugin's name must be of a-z, 0-9 and _");
    }
    const char *sanitizer = backend->sanitizer ? backend->sanitizer : "";
    if (strcmp(sanitizer, LEAT_BACKEND_SANITIZER) != 0) {
        return lt_fail(err, LEAT_UNSUPPORTED,
                       "backend '%s' was built with the sanitizer '%s', this library with '%s': "
                       "build both alike",
                       backend->name, sanitizer, LEAT_BACKEND_SANITIZER);
    }
    return check_functions(backend, err);
}

static int compare_rows(const void *a, const void *b)
{
    const leat_op_row *left = *(const leat_op_row *const *)a;
    const leat_op_row *right = *(const leat_op_row *const *)b;
    int order = strcmp(left->op, right->op);
    /* Rows of one operator keep the table's order: the first that fits serves. */
    return order ? order : left < right ? -1 : 1;
}

static leat_status sort_rows(leat_context *context, lt_backend_entry *entry, leat_error *err)
{
    const leat_backend *backend = entry->backend;
    if (backend->rows == NULL) {
        return LEAT_OK;
    }
    entry->rows = lt_alloc(&context->memory, backend->n_rows * sizeof(*entry->rows), 16);
    if (entry->rows == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "backend '%s': no memory", backend->name);
    }
    for (size_t i = 0; i < backend->n_rows; i++) {
        entry->rows[i] = &backend->rows[i];
    }
    qsort(entry->rows, backend->n_rows, sizeof(*entry->rows), compare_rows);
    return LEAT_OK;
}

/* Makes room for `more` pointers behind the `count` there are. */
static bool reserve(lt_memory *memory, void ***array, size_t count, size_t *capacity, size_t more)
{
    if (more <= *capacity - count) {
        return true;
    }
    size_t wanted = count + more + 4;
    void **larger = lt_alloc(memory, wanted * sizeof(void *), 16);
    if (larger == NULL) {
        return false;
    }
    if (count != 0) {
        memcpy(larger, *array, count * sizeof(void *));
    }
    lt_free(memory, *array, *capacity * sizeof(void *));
    *array = larger;
    *capacity = wanted;
    return true;
}

static leat_status make_device(leat_context *context, lt_backend_entry *entry, size_t index,
                               lt_device **out_device, leat_error *err)
{
    lt_device *device = lt_alloc_zeroed(&context->memory, sizeof(*device), 16);
    if (device == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "backend '%s': no memory", entry->backend->name);
    }
    device->context = context;
    device->entry = entry;
    device->backend = entry->backend;
    device->index = index;
    device->info.struct_size = sizeof(device->info);
    leat_status status = device->backend->device_info(entry->instance, index, &device->info, err);
    if (status == LEAT_OK && device->info.name == NULL) {
        status = lt_fail(err, LEAT_INVALID, "backend '%s': device %zu has no name",
                         entry->backend->name, index);
    }
    if (status != LEAT_OK) {
        lt_free(&context->memory, device, sizeof(*device));
        return status;
    }
    device->info.description = device->info.description ? device->info.description : "";
    device->info.features = device->info.features ? device->info.features : "";
    device->info.reason = device->info.reason ? device->info.reason : "";
    *out_device = device;
    return LEAT_OK;
}

/* Adds the backend's devices, all or none. */
static leat_status add_devices(leat_context *context, lt_backend_entry *entry, leat_error *err)
{
    size_t count = entry->backend->device_count(entry->instance);
    size_t before = context->n_devices;
    if (count > 1024) {
        return lt_fail(err, LEAT_INVALID, "backend '%s' claims %zu devices", entry->backend->name,
                       count);
    }
    if (!reserve(&context->memory, (void ***)&context->devices, before, &context->devices_capacity,
                 count)) {
        return lt_fail(err, LEAT_NO_MEMORY, "backend '%s': no memory", entry->backend->name);
    }
    for (size_t i = 0; i < count; i++) {
        leat_status status = make_device(context, entry, i, &context->devices[before + i], err);
        if (status != LEAT_OK) {
            while (i-- > 0) {
                lt_free(&context->memory, context->devices[before + i], sizeof(lt_device));
            }
            return status;
        }
    }
    context->n_devices = before + count;
    return LEAT_OK;
}

static leat_status check_unique(const leat_context *context, const char *name, leat_error *err)
{
    for (size_t i = 0; i < context->n_backends; i++) {
        if (strcmp(context->backends[i]->backend->name, name) == 0) {
            return lt_fail(err, LEAT_INVALID, "a backend named '%s' is loaded already", name);
        }
    }
    return LEAT_OK;
}

/* Frees what register made; the library is the caller's. */
static void drop_entry(leat_context *context, lt_backend_entry *entry)
{
    if (entry->instance != NULL) {
        entry->backend->shutdown(entry->instance);
    }
    if (entry->path != NULL) {
        lt_free(&context->memory, entry->path, strlen(entry->path) + 1);
    }
    lt_free(&context->memory, entry->rows, entry->backend->n_rows * sizeof(*entry->rows));
    lt_free(&context->memory, entry, sizeof(*entry));
}

static leat_status fill_entry(leat_context *context, lt_backend_entry *entry, const char *path,
                              leat_error *err)
{
    if (path != NULL) {
        entry->path = lt_copy_text(&context->memory, path);
        if (entry->path == NULL) {
            return lt_fail(err, LEAT_NO_MEMORY, "backend '%s': no memory", entry->backend->name);
        }
    }
    leat_status status = sort_rows(context, entry, err);
    if (status != LEAT_OK) {
        return status;
    }
    lt_error_clear(err);
    status = entry->backend->init(&context->host, &entry->instance, err);
    if (status != LEAT_OK) {
        entry->instance = NULL;
        return lt_fail_within(err, status, "backend '%s'", entry->backend->name);
    }
    return add_devices(context, entry, err);
}

leat_status lt_backend_register(leat_context *context, const leat_backend *backend, void *library,
                                const char *path, leat_error *err)
{
    leat_status status = check_backend(backend, err);
    if (status == LEAT_OK) {
        status = check_unique(context, backend->name, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    lt_backend_entry *entry = lt_alloc_zeroed(&context->memory, sizeof(*entry), 16);
    if (entry == NULL || !reserve(&context->memory, (void ***)&context->backends,
                                  context->n_backends, &context->backends_capacity, 1)) {
        lt_free(&context->memory, entry, sizeof(*entry));
        return lt_fail(err, LEAT_NO_MEMORY, "backend '%s': no memory", backend->name);
    }
    entry->backend = backend;
    status = fill_entry(context, entry, path, err);
    if (status != LEAT_OK) {
        drop_entry(context, entry);
        return status;
    }
    entry->library = library;
    context->backends[context->n_backends++] = entry;
    return LEAT_OK;
}

void lt_backend_unregister(leat_context *context, lt_backend_entry *entry)
{
    void *library = entry->opened ? NULL : entry->library;
    drop_entry(context, entry);
    if (library != NULL) {
        dlclose(library); /* a device that was opened may have left threads or handlers behind */
    }
}

static leat_status plugin_path(const leat_context *context, const char *path_or_name, char *path,
                               size_t capacity, leat_error *err)
{
    int length;
    if (strchr(path_or_name, '/') != NULL) {
        length = snprintf(path, capacity, "%s", path_or_name);
    } else if (good_name(path_or_name)) {
        length =
            snprintf(path, capacity, "%s/libleat_%s.so", context->plugin_directory, path_or_name);
    } else {
        return lt_fail(err, LEAT_NOT_FOUND, "'%s' is neither a path nor the name of a backend",
                       path_or_name);
    }
    if (length < 0 || (size_t)length >= capacity) {
        return lt_fail(err, LEAT_INVALID, "the plugin's path is longer than %zu bytes", capacity);
    }
    return LEAT_OK;
}

static bool is_loaded(const leat_context *context, const char *path, const void *library)
{
    for (size_t i = 0; i < context->n_backends; i++) {
        const lt_backend_entry *entry = context->backends[i];
        if (library ? entry->library == library : entry->path && strcmp(entry->path, path) == 0) {
            return true;
        }
    }
    return false;
}

static leat_status open_library(leat_context *context, const char *path, void **out_library,
                                leat_backend_query_fn *out_query, leat_error *err)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        const char *reason = dlerror();
        return lt_fail(err, LEAT_NOT_FOUND, "cannot load the plugin: %s",
                       reason ? reason : "unknown reason");
    }
    *out_library = library;
    *out_query = NULL;
    if (is_loaded(context, path, library)) {
        return LEAT_OK;
    }
    void *symbol = dlsym(library, "leat_backend_query");
    if (symbol == NULL) {
        dlclose(library);
        *out_library = NULL;
        return lt_fail(err, LEAT_INVALID, "'%s' is no leat plugin: it has no leat_backend_query",
                       path);
    }
    memcpy(out_query, &symbol, sizeof(symbol)); /* ISO C has no cast from object to function */
    return LEAT_OK;
}

static leat_status load_locked(leat_context *context, const char *path, leat_error *err)
{
    if (is_loaded(context, path, NULL)) {
        return LEAT_OK;
    }
    void *library = NULL;
    leat_backend_query_fn query = NULL;
    leat_status status = open_library(context, path, &library, &query, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (query == NULL) { /* the same file under another name */
        dlclose(library);
        return LEAT_OK;
    }
    status = lt_backend_register(context, query(LEAT_BACKEND_ABI), library, path, err);
    if (status != LEAT_OK) {
        dlclose(library);
        return lt_fail_within(err, status, "plugin '%s'", path);
    }
    lt_log_write(&context->log, LEAT_LOG_INFO, "loaded the backend '%s' from '%s'",
                 context->backends[context->n_backends - 1]->backend->name, path);
    return LEAT_OK;
}

leat_status leat_context_load_backend(leat_context *context, const char *path_or_name,
                                      leat_error *err)
{
    char path[4096];
    if (context == NULL || path_or_name == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_context_load_backend: an argument is NULL");
    }
    leat_status status = plugin_path(context, path_or_name, path, sizeof(path), err);
    if (status != LEAT_OK) {
        return status;
    }
    pthread_mutex_lock(&context->lock);
    status = load_locked(context, path, err);
    pthread_mutex_unlock(&context->lock);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Devices: names, opening, memory, and which kernel row serves a node. */
#include "base/error.h"
#include "base/tensor.h"
#include "runtime/context.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

size_t leat_device_count(const leat_context *context)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)&context->lock;
    pthread_mutex_lock(lock);
    size_t count = context->n_devices;
    pthread_mutex_unlock(lock);
    return count;
}

leat_status leat_device_info(const leat_context *context, size_t index,
                             leat_device_properties *out_info, leat_error *err)
{
    if (context == NULL || out_info == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_device_info: an argument is NULL");
    }
    if (out_info->struct_size != sizeof(*out_info)) {
        return lt_fail(err, LEAT_INVALID,
                       "leat_device_properties.struct_size is %zu: set it to "
                       "sizeof(leat_device_properties)",
                       out_info->struct_size);
    }
    pthread_mutex_t *lock = (pthread_mutex_t *)&context->lock;
    leat_status status = LEAT_OK;
    pthread_mutex_lock(lock);
    if (index < context->n_devices) {
        *out_info = context->devices[index]->info;
    } else {
        status = lt_fail(err, LEAT_INVALID, "there is no device %zu: %zu are known", index,
                         context->n_devices);
    }
    pthread_mutex_unlock(lock);
    return status;
}

/* Splits NAME or NAME:INDEX. */
static bool parse_name(const char *text, char *name, size_t capacity, size_t *out_index)
{
    const char *colon = strchr(text, ':');
    size_t length = colon ? (size_t)(colon - text) : strlen(text);
    if (length == 0 || length >= capacity) {
        return false;
    }
    memcpy(name, text, length);
    name[length] = '\0';
    *out_index = 0;
    if (colon == NULL) {
        return true;
    }
    size_t digits = strspn(colon + 1, "0123456789");
    if (digits == 0 || digits > 6 || colon[1 + digits] != '\0') {
        return false;
    }
    *out_index = (size_t)strtoul(colon + 1, NULL, 10);
    return true;
}

/* out_known: the backend itself is loaded. */
static lt_device *find(const leat_context *context, const char *backend, size_t index,
                       bool *out_known)
{
    *out_known = false;
    for (size_t i = 0; i < context->n_backends; i++) {
        *out_known = *out_known || strcmp(context->backends[i]->backend->name, backend) == 0;
    }
    for (size_t i = 0; i < context->n_devices; i++) {
        lt_device *device = context->devices[i];
        if (device->index == index && strcmp(device->backend->name, backend) == 0) {
            return device;
        }
    }
    return NULL;
}

static leat_status open_locked(lt_device *device, leat_error *err)
{
    if (device->handle != NULL) {
        return LEAT_OK;
    }
    if (!device->info.available) {
        return lt_fail(err, LEAT_NO_DEVICE, "the device '%s' is not available: %s",
                       device->info.name, device->info.reason);
    }
    lt_error_clear(err);
    leat_status status =
        device->backend->device_open(device->entry->instance, device->index, &device->handle, err);
    if (status != LEAT_OK) {
        device->handle = NULL;
        return lt_fail_within(err, status == LEAT_NO_MEMORY ? status : LEAT_NO_DEVICE,
                              "the device '%s' cannot be opened", device->info.name);
    }
    device->entry->opened = true;
    return LEAT_OK;
}

static leat_status load_for(leat_context *context, const char *device, const char *backend,
                            leat_error *err)
{
    char path[4096];
    int length =
        snprintf(path, sizeof(path), "%s/libleat_%s.so", context->plugin_directory, backend);
    if (length < 0 || (size_t)length >= sizeof(path) || access(path, F_OK) != 0) {
        return lt_fail(err, LEAT_NO_DEVICE,
                       "there is no device '%s': no backend '%s' is loaded and '%s' does not "
                       "exist",
                       device, backend, path);
    }
    return leat_context_load_backend(context, backend, err);
}

leat_status lt_device_get(leat_context *context, const char *name, lt_device **out_device,
                          leat_error *err)
{
    char backend[64];
    size_t index;
    *out_device = NULL;
    if (name == NULL || !parse_name(name, backend, sizeof(backend), &index)) {
        return lt_fail(err, LEAT_NO_DEVICE,
                       "'%s' names no device: a name is like 'cpu' or 'cuda:0'",
                       name ? name : "(null)");
    }
    bool known;
    pthread_mutex_lock(&context->lock);
    lt_device *device = find(context, backend, index, &known);
    pthread_mutex_unlock(&context->lock);
    if (device == NULL && !known) {
        leat_status status = load_for(context, name, backend, err);
        if (status != LEAT_OK) {
            return status;
        }
    }
    pthread_mutex_lock(&context->lock);
    device = find(context, backend, index, &known);
    leat_status status = device ? open_locked(device, err)
                                : lt_fail(err, LEAT_NO_DEVICE,
                                          "there is no device '%s': the backend '%s' has none "
                                          "of that index",
                                          name, backend);
    pthread_mutex_unlock(&context->lock);
    *out_device = status == LEAT_OK ? device : NULL;
    return status;
}

lt_device *lt_device_cpu(leat_context *context)
{
    return context->cpu;
}

leat_status lt_device_alloc(lt_device *device, size_t bytes, void **out_block, leat_error *err)
{
    *out_block = NULL;
    if (!lt_device_is_host(device)) {
        lt_error_clear(err);
        leat_status status =
            device->backend->alloc(device->handle, bytes ? bytes : 1, out_block, err);
        return status == LEAT_OK ? LEAT_OK
                                 : lt_fail_within(err, status,
                                                  "device '%s': no memory for %zu "
                                                  "bytes",
                                                  device->info.name, bytes);
    }
    *out_block = lt_alloc(&device->context->memory, bytes, LT_ALIGNMENT);
    if (*out_block != NULL) {
        return LEAT_OK;
    }
    const lt_memory *memory = &device->context->memory;
    if (memory->budget != 0 && atomic_load(&memory->live_bytes) + bytes > memory->budget) {
        return lt_fail(err, LEAT_LIMIT, "%zu bytes more would pass the memory budget of %llu",
                       bytes, (unsigned long long)memory->budget);
    }
    return lt_fail(err, LEAT_NO_MEMORY, "no memory for %zu bytes", bytes);
}

void lt_device_free(lt_device *device, void *block, size_t bytes)
{
    if (block == NULL) {
        return;
    }
    if (lt_device_is_host(device)) {
        lt_free(&device->context->memory, block, bytes);
    } else {
        device->backend->free(device->handle, block, bytes ? bytes : 1);
    }
}

void *lt_device_alloc_pinned(lt_device *device, size_t bytes)
{
    void *block = NULL;
    if (!LT_BACKEND_HAS(device->backend, host_alloc) || lt_device_is_host(device) ||
        device->backend->host_alloc(device->handle, bytes, &block, NULL) != LEAT_OK) {
        return NULL;
    }
    return block;
}

void lt_device_free_pinned(lt_device *device, void *block, size_t bytes)
{
    if (block != NULL) {
        device->backend->host_free(device->handle, block, bytes);
    }
}

leat_status lt_device_copy(lt_device *device, leat_copy_kind kind, void *target, const void *source,
                           size_t bytes, leat_error *err)
{
    if (bytes == 0) {
        return LEAT_OK;
    }
    if (lt_device_is_host(device)) {
        memmove(target, source, bytes);
        return LEAT_OK;
    }
    const leat_backend *backend = device->backend;
    void *stream = NULL;
    leat_status status = backend->stream_create(device->handle, &stream, err);
    if (status != LEAT_OK) {
        return status;
    }
    status = backend->copy(device->handle, stream, kind, target, source, bytes, err);
    leat_status waited = backend->stream_wait(device->handle, stream, status ? NULL : err);
    backend->stream_destroy(device->handle, stream);
    return status ? status : waited;
}

/* First position in the sorted rows whose operator is not below `op`. */
static size_t lower_bound(const lt_backend_entry *entry, const char *op)
{
    size_t low = 0, high = entry->backend->n_rows;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(entry->rows[middle]->op, op) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The type that a row's mask is about: the first input that is there, else the first output. */
static leat_dtype deciding_dtype(const leat_kernel_node *node)
{
    const leat_node *n = node->node;
    for (uint32_t i = 0; i < n->n_inputs; i++) {
        if (n->inputs[i] != LEAT_NO_VALUE) {
            return node->values[n->inputs[i]].dtype;
        }
    }
    const leat_value *output = leat_kernel_output(node, 0);
    return output ? output->dtype : LEAT_DTYPE_UNDEFINED;
}

const leat_op_row *lt_device_row(const lt_device *device, const leat_kernel_node *node,
                                 leat_error *err)
{
    const lt_backend_entry *entry = device->entry;
    const leat_node *n = node->node;
    const char *dot = n->domain[0] ? "." : "";
    leat_dtype dtype = deciding_dtype(node);
    const lt_custom_op *custom =
        device == device->context->cpu ? lt_custom_find(&device->context->custom, n) : NULL;
    if (custom != NULL) {
        return &custom->row;
    }
    bool op_known = false, opset_known = false;
    leat_error refusal = {0};
    for (size_t i = lower_bound(entry, n->op); i < entry->backend->n_rows; i++) {
        const leat_op_row *row = entry->rows[i];
        if (strcmp(row->op, n->op) != 0) {
            break;
        }
        if (strcmp(row->domain, n->domain) != 0) {
            continue;
        }
        op_known = true;
        if (n->opset < row->since || (row->until != 0 && n->opset > row->until)) {
            continue;
        }
        opset_known = true;
        if ((unsigned)dtype >= 64 || ((row->dtypes >> (unsigned)dtype) & 1) == 0) {
            continue;
        }
        if (row->supports == NULL || row->supports(node, &refusal) == LEAT_OK) {
            return row;
        }
    }
    if (refusal.message[0] != '\0') {
        lt_fail(err, LEAT_UNSUPPORTED, "%s", refusal.message);
    } else if (!op_known) {
        const bool own = n->domain[0] != '\0' && strncmp(n->domain, "ai.onnx", 7) != 0;
        lt_fail(err, LEAT_UNSUPPORTED, "%s has no kernel for the operator %s%s%s%s",
                device->info.name, n->domain, dot, n->op,
                own ? "; leat_context_add_op adds one" : "");
    } else if (!opset_known) {
        lt_fail(err, LEAT_UNSUPPORTED, "%s has no kernel for %s%s%s of opset %d", device->info.name,
                n->domain, dot, n->op, n->opset);
    } else {
        lt_fail(err, LEAT_UNSUPPORTED, "%s has no kernel for %s%s%s of type %s", device->info.name,
                n->domain, dot, n->op, leat_dtype_name(dtype));
    }
    return NULL;
}

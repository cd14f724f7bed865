/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/tensor.h"

#include "base/error.h"
#include "base/tensor.h"

#include <string.h>

static leat_status check_shape(leat_dtype dtype, int32_t rank, const int64_t *shape,
                               size_t *out_bytes, leat_error *err)
{
    if (rank < 0 || rank > LEAT_MAX_RANK || (rank > 0 && shape == NULL)) {
        return lt_fail(err, LEAT_INVALID, "a tensor's rank is 0 to %d, not %d", LEAT_MAX_RANK,
                       rank);
    }
    if (!lt_shape_bytes(dtype, rank, shape, out_bytes)) {
        return lt_fail(err, LEAT_INVALID,
                       "a tensor of type %s: a dimension is negative, the size overflows, or the "
                       "type is none",
                       leat_dtype_name(dtype));
    }
    return LEAT_OK;
}

static leat_status create(leat_context *context, const char *device, leat_dtype dtype, int32_t rank,
                          const int64_t *shape, leat_tensor **out_tensor, leat_error *err)
{
    *out_tensor = NULL;
    size_t bytes;
    leat_status status = check_shape(dtype, rank, shape, &bytes, err);
    lt_device *opened = NULL;
    status = status ? status : lt_device_get(context, device, &opened, err);
    if (status != LEAT_OK) {
        return status;
    }
    leat_tensor *tensor = lt_alloc_zeroed(&context->memory, sizeof(*tensor), 16);
    if (tensor == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for a tensor");
    }
    tensor->context = context;
    tensor->device = opened;
    tensor->array.dtype = dtype;
    tensor->array.rank = rank;
    if (rank > 0) {
        memcpy(tensor->array.shape, shape, (size_t)rank * sizeof(*shape));
    }
    tensor->array.bytes = bytes;
    *out_tensor = tensor;
    return LEAT_OK;
}

leat_status leat_tensor_create(leat_context *context, const char *device, leat_dtype dtype,
                               int32_t rank, const int64_t *shape, leat_tensor **out_tensor,
                               leat_error *err)
{
    if (out_tensor != NULL) {
        *out_tensor = NULL;
    }
    if (context == NULL || device == NULL || out_tensor == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_tensor_create: an argument is NULL");
    }
    leat_tensor *tensor;
    leat_status status = create(context, device, dtype, rank, shape, &tensor, err);
    if (status != LEAT_OK) {
        return status;
    }
    status = lt_device_alloc(tensor->device, tensor->array.bytes, &tensor->array.data, err);
    if (status != LEAT_OK) {
        leat_tensor_destroy(tensor);
        return status;
    }
    tensor->owned = true;
    *out_tensor = tensor;
    return LEAT_OK;
}

leat_status leat_tensor_wrap(leat_context *context, const char *device, const leat_array *array,
                             leat_tensor **out_tensor, leat_error *err)
{
    if (out_tensor != NULL) {
        *out_tensor = NULL;
    }
    if (context == NULL || device == NULL || array == NULL || out_tensor == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_tensor_wrap: an argument is NULL");
    }
    leat_tensor *tensor;
    leat_status status =
        create(context, device, array->dtype, array->rank, array->shape, &tensor, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (array->bytes < tensor->array.bytes || (array->data == NULL && tensor->array.bytes != 0)) {
        status = lt_fail(err, LEAT_INVALID, "the array has %zu bytes, its shape needs %zu",
                         array->data ? array->bytes : 0, tensor->array.bytes);
        leat_tensor_destroy(tensor);
        return status;
    }
    tensor->array.data = array->data;
    *out_tensor = tensor;
    return LEAT_OK;
}

leat_status leat_tensor_map(leat_tensor *tensor, leat_array *out_array, leat_error *err)
{
    if (out_array != NULL) {
        *out_array = (leat_array){0};
    }
    if (tensor == NULL || out_array == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_tensor_map: an argument is NULL");
    }
    if (!lt_device_is_host(tensor->device)) {
        return lt_fail(err, LEAT_UNSUPPORTED,
                       "the host cannot address memory of '%s': use leat_tensor_copy",
                       tensor->device->info.name);
    }
    *out_array = tensor->array;
    return LEAT_OK;
}

void leat_tensor_info(const leat_tensor *tensor, leat_array *out_array)
{
    *out_array = tensor->array;
}

static leat_status copy_through_host(leat_tensor *target, const leat_tensor *source,
                                     leat_error *err)
{
    lt_memory *memory = &target->context->memory;
    size_t bytes = source->array.bytes;
    void *host = lt_alloc(memory, bytes, LT_ALIGNMENT);
    if (host == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for %zu bytes", bytes);
    }
    leat_status status = lt_device_copy(source->device, LEAT_COPY_DEVICE_TO_HOST, host,
                                        source->array.data, bytes, err);
    if (status == LEAT_OK) {
        status = lt_device_copy(target->device, LEAT_COPY_HOST_TO_DEVICE, target->array.data, host,
                                bytes, err);
    }
    lt_free(memory, host, bytes);
    return status;
}

leat_status leat_tensor_copy(leat_tensor *target, const leat_tensor *source, leat_error *err)
{
    if (target == NULL || source == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_tensor_copy: an argument is NULL");
    }
    if (target->array.dtype != source->array.dtype || target->array.bytes != source->array.bytes) {
        return lt_fail(err, LEAT_INVALID, "cannot copy %zu bytes of %s to %zu bytes of %s",
                       source->array.bytes, leat_dtype_name(source->array.dtype),
                       target->array.bytes, leat_dtype_name(target->array.dtype));
    }
    bool from_host = lt_device_is_host(source->device);
    bool to_host = lt_device_is_host(target->device);
    if (!from_host && !to_host && source->device != target->device) {
        return copy_through_host(target, source, err);
    }
    leat_copy_kind kind = from_host ? LEAT_COPY_HOST_TO_DEVICE
                          : to_host ? LEAT_COPY_DEVICE_TO_HOST
                                    : LEAT_COPY_DEVICE_TO_DEVICE;
    return lt_device_copy(from_host ? target->device : source->device, kind, target->array.data,
                          source->array.data, source->array.bytes, err);
}

void leat_tensor_destroy(leat_tensor *tensor)
{
    if (tensor == NULL) {
        return;
    }
    if (tensor->owned) {
        lt_device_free(tensor->device, tensor->array.data, tensor->array.bytes);
    }
    lt_free(&tensor->context->memory, tensor, sizeof(*tensor));
}

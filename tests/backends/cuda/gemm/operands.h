/* SPDX-License-Identifier: Apache-2.0 */
/* Operands of kernels under test, on host and device. */
#ifndef TESTS_BACKENDS_CUDA_GEMM_OPERANDS_H
#define TESTS_BACKENDS_CUDA_GEMM_OPERANDS_H

#include "device.h"

#include "support/oracle.h"

#include <stdlib.h>

#define MARGIN 64 /* bytes behind an output that no kernel may touch */

/* An operand on host and device. */
typedef struct operand {
    leat_array array;
    uint64_t address;
} operand;

static inline size_t dtype_bytes(leat_dtype dtype)
{
    if (dtype == LEAT_DTYPE_I8 || dtype == LEAT_DTYPE_U8) {
        return 1;
    }
    return dtype == LEAT_DTYPE_F32 || dtype == LEAT_DTYPE_I32 ? 4 : 2;
}

static inline operand operand_make(const test_device *device, leat_dtype dtype, int64_t count,
                                   uint64_t seed)
{
    operand o = {{.dtype = dtype, .rank = 1, .shape = {count}}, 0};
    if (dtype == LEAT_DTYPE_UNDEFINED) {
        return o;
    }
    o.array.bytes = (size_t)count * dtype_bytes(dtype);
    o.array.data = malloc(o.array.bytes + MARGIN);
    assert_non_null(o.array.data);
    assert_int_equal(device->memory_alloc(&o.address, o.array.bytes + MARGIN), 0);
    if (seed != 0) {
        oracle_fill(&o.array, seed);
        for (int64_t i = 0; dtype == LEAT_DTYPE_F32 && i < count; i++) {
            ((uint32_t *)o.array.data)[i] |= 1; /* no TF32 is as near as another */
        }
        assert_int_equal(device->to_device(o.address, o.array.data, o.array.bytes), 0);
    } else {
        assert_int_equal(device->fill_bytes(o.address, 0xff, o.array.bytes + MARGIN), 0);
    }
    return o;
}

static inline void operand_free(const test_device *device, operand *o)
{
    free(o->array.data);
    if (o->address != 0) {
        device->memory_free(o->address);
    }
}

static inline const void *device_pointer(const operand *o)
{
    return (const void *)(uintptr_t)o->address;
}

/* What lies between rows and behind the last one is as before. */
static inline void check_untouched(const operand *d, int64_t begin, int64_t end, const char *what)
{
    const unsigned char *bytes = d->array.data;
    size_t unit = dtype_bytes(d->array.dtype);
    for (size_t i = (size_t)begin * unit; i < (size_t)end * unit; i++) {
        if (bytes[i] != 0xff) {
            fail_msg("%s: byte %zu outside the result was written", what, i);
        }
    }
}

static inline void fetch(const test_device *device, operand *d)
{
    assert_int_equal(device->synchronize(), 0);
    assert_int_equal(device->to_host(d->array.data, d->address, d->array.bytes + MARGIN), 0);
}

static inline test_device *require_device(void **state)
{
    test_device *device = *state;
    if (device == NULL) {
        skip();
    }
    return device;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of moving operators share: arrays in static storage, a run on every instruction
 * set and number of threads, and comparison with an oracle that names, for every output position,
 * the input element that belongs there. */
#ifndef TESTS_BACKENDS_CPU_MOVEMENT_MOVE_H
#define TESTS_BACKENDS_CPU_MOVEMENT_MOVE_H

#include "support/test.h"

#include "smallfloat.h"
#include "support/kernel.h"

#define MOVE_BYTES (1 << 20)

/* Element sizes 1, 2, 4, 8, 16 bytes, 4 and 2 bits. */
static const leat_dtype move_dtypes[] = {LEAT_DTYPE_U8,  LEAT_DTYPE_F16,  LEAT_DTYPE_F32,
                                         LEAT_DTYPE_F64, LEAT_DTYPE_C128, LEAT_DTYPE_I4,
                                         LEAT_DTYPE_U2};
#define MOVE_DTYPES 7
#define MOVE_WHOLE_DTYPES 5

static inline leat_array move_array(leat_dtype dtype, int32_t rank, const int64_t *shape,
                                    void *data)
{
    leat_array array = {dtype, rank, {0}, data, 0};
    size_t count = 1;
    for (int32_t i = 0; i < rank; i++) {
        array.shape[i] = shape[i];
        count *= (size_t)shape[i];
    }
    array.bytes = leat_dtype_bytes(dtype, count);
    return array;
}

static inline leat_array move_list(int64_t *values, int64_t count)
{
    return move_array(LEAT_DTYPE_I64, 1, &count, values);
}

/* Bytes that differ from element to element. */
static inline void move_fill(leat_array *array, uint32_t seed)
{
    for (size_t i = 0; i < array->bytes; i++) {
        seed = seed * 1664525u + 1013904223u;
        ((uint8_t *)array->data)[i] = (uint8_t)(seed >> 24);
    }
}

static inline int64_t move_count(const leat_array *array)
{
    int64_t count = 1;
    for (int32_t i = 0; i < array->rank; i++) {
        count *= array->shape[i];
    }
    return count;
}

/* Element i of `a` equals element k of `b`. */
static inline bool move_same(const leat_array *a, int64_t i, const leat_array *b, int64_t k)
{
    unsigned bits = lt_packed_bits(a->dtype);
    if (bits != 0) {
        return lt_packed_get(a->data, i, bits) == lt_packed_get(b->data, k, bits);
    }
    size_t bytes = lt_cpu_element_bytes(a->dtype);
    return memcmp((const uint8_t *)a->data + (size_t)i * bytes,
                  (const uint8_t *)b->data + (size_t)k * bytes, bytes) == 0;
}

/* The input element of output position `at`; -1: the fill, all bytes 0. */
typedef int64_t (*move_source)(const void *argument, const int64_t *at);

static inline void move_compare(const leat_array *out, const leat_array *in, move_source source,
                                const void *argument)
{
    static uint8_t zero_bytes[16];
    leat_array zero = move_array(out->dtype, 0, NULL, zero_bytes);
    for (int64_t i = 0; i < move_count(out); i++) {
        int64_t at[LEAT_MAX_RANK], rest = i;
        for (int32_t k = out->rank - 1; k >= 0; k--) {
            at[k] = rest % out->shape[k];
            rest /= out->shape[k];
        }
        int64_t from = source(argument, at);
        bool same = from < 0 ? move_same(out, i, &zero, 0) : move_same(out, i, in, from);
        if (!same) {
            fail_msg("element %lld of %s, rank %d, is not element %lld of the input", (long long)i,
                     leat_dtype_name(out->dtype), out->rank, (long long)from);
        }
    }
}

/* Runs on all instruction sets, with 1 and 3 threads, inputs from 1 on constant or not; after
 * every run output 0 must match, and the bytes behind it must be untouched. */
static inline void move_check(test_kernel *kernel, move_source source, const void *argument)
{
    leat_error err = {0};
    leat_array *out = &kernel->outputs[0];
    for (int run = 0; run < 12; run++) {
        kernel->isa = test_isas[run % 3];
        kernel->threads = run / 3 % 2 ? 3 : 1;
        kernel->constants = run / 6 ? ~1ull : 0;
        memset(out->data, 0xa5, out->bytes + 16);
        assert_ok(test_kernel_run(kernel, NULL, &err), &err);
        move_compare(out, &kernel->inputs[0], source, argument);
        for (size_t i = 0; i < 16; i++) {
            assert_int_equal(((uint8_t *)out->data)[out->bytes + i], 0xa5);
        }
    }
}

/* Runs with inputs from 1 on constant and not: both must say `status`. */
static inline void move_check_fails(test_kernel *kernel, leat_status status)
{
    for (int constant = 0; constant < 2; constant++) {
        leat_error err = {0};
        kernel->constants = constant ? ~1ull : 0;
        assert_int_equal(test_kernel_run(kernel, NULL, &err), status);
        assert_int_not_equal(err.message[0], '\0');
    }
}

#endif

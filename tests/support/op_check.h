/* SPDX-License-Identifier: Apache-2.0 */
/* One operator against expected numbers on every instruction set, with one thread and several, and
 * with inputs constant or not. */
#ifndef TESTS_SUPPORT_OP_CHECK_H
#define TESTS_SUPPORT_OP_CHECK_H

#include "support/test.h"

#include "support/kernel.h"
#include "support/oracle.h"

/* An array of up to 8 dimensions over `data`, which the caller has made large enough. */
static inline leat_array op_array(leat_dtype dtype, int32_t rank, const int64_t *shape, void *data)
{
    leat_array array = {dtype, rank, {0}, data, 0};
    for (int32_t i = 0; i < rank; i++) {
        array.shape[i] = shape[i];
    }
    array.bytes = leat_dtype_bytes(dtype, oracle_count(&array));
    return array;
}

static inline leat_array op_filled(leat_dtype dtype, int32_t rank, const int64_t *shape, void *data,
                                   uint64_t seed)
{
    leat_array array = op_array(dtype, rank, shape, data);
    oracle_fill(&array, seed);
    return array;
}

/* Runs 12 ways; output i must be expected[i] (NULL: not compared), bytes behind it untouched: 16
 * more must be there. */
static inline void op_check(test_kernel *kernel, const double *const *expected, double rtol,
                            double atol)
{
    for (int run = 0; run < 12; run++) {
        leat_error err = {0};
        kernel->isa = test_isas[run % 3];
        kernel->threads = run / 3 % 2 ? 3 : 1;
        kernel->constants = run / 6 ? ~1ull : 0;
        for (uint32_t i = 0; i < kernel->n_outputs; i++) {
            memset(kernel->outputs[i].data, 0xa5, kernel->outputs[i].bytes + 16);
        }
        assert_ok(test_kernel_run(kernel, NULL, &err), &err);
        for (uint32_t i = 0; i < kernel->n_outputs; i++) {
            const leat_array *out = &kernel->outputs[i];
            if (expected[i] != NULL) {
                oracle_assert_close(out, expected[i], rtol, atol);
            }
            for (size_t k = 0; k < 16; k++) {
                assert_int_equal(((uint8_t *)out->data)[out->bytes + k], 0xa5);
            }
        }
    }
}

/* Runs with inputs from 1 on constant and not: each must be INVALID and say `text`. */
static inline void op_check_invalid(test_kernel *kernel, const char *text)
{
    for (int constant = 0; constant < 2; constant++) {
        leat_error err = {0};
        kernel->constants = constant ? ~1ull : 0;
        assert_int_equal(test_kernel_run(kernel, NULL, &err), LEAT_INVALID);
        if (strstr(err.message, text) == NULL) {
            fail_msg("\"%s\" does not say \"%s\"", err.message, text);
        }
    }
}

#endif

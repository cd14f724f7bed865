/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the quantizer share. */
#ifndef TESTS_SUPPORT_QUANTIZE_H
#define TESTS_SUPPORT_QUANTIZE_H

#include "support/run.h"

#include <leat/quantizer.h>

/* Where quantized models go, of this process; for cmocka_run_group_tests, which the second
 * removes. */
extern char test_quantized_path[64];
int test_quantized_setup(void **state);
int test_quantized_teardown(void **state);

/* In [-1, 1). */
float test_seeded(uint32_t *state);
/* A constant of scale * test_seeded, and `lift` more in every seventh. */
void test_random_constant(onnx_builder *b, const char *name, const char *shape, float scale,
                          float lift, uint32_t seed);

/* A quantizer of the run's model, in which nothing is decided by time; desc NULL for defaults. */
leat_quantizer *test_quantizer(test_run *run, const leat_quantizer_desc *desc);
leat_quantizer_report test_quantizer_report(const leat_quantizer *q);
/* The call failed with this status, and says so. */
void test_assert_refused(leat_status status, leat_status wanted, const leat_error *err,
                         const char *part);

/* Signal to noise of the first n elements of two arrays of f32, in decibels. */
typedef struct test_noise {
    double signal, noise;
} test_noise;
void test_add_noise(test_noise *to, const void *before, const void *after, size_t n);
double test_noise_db(const test_noise *noise);

/* A walk over failing allocations: loads, quantizes (fed x, when it has data) and, with n_outputs,
 * loads the result and runs it on x. */
typedef struct test_quantizing {
    leat_quantizer_desc desc;
    leat_array x;
    size_t n_outputs;
    const void *model;
    size_t model_bytes;
} test_quantizing;
void test_walk_quantizing(onnx_builder *model, test_quantizing *what);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* From a model built in memory to a session, in tests that are about running. */
#ifndef TESTS_SUPPORT_RUN_H
#define TESTS_SUPPORT_RUN_H

#include "support/onnx_builder.h"
#include "support/test.h"

typedef struct test_run {
    leat_context *context;
    leat_model *model;
    leat_session *session;
    leat_error err;
} test_run;

/* Context with one thread, model from the builder's bytes (the builder must live as long). Fails
 * the test on an error. */
void test_run_load(test_run *run, onnx_builder *builder);
/* Creates the session; desc NULL for defaults. */
void test_run_session(test_run *run, const leat_session_desc *desc);
/* Both. */
void test_run_open(test_run *run, onnx_builder *builder);
void test_run_free(test_run *run);

/* Runs with outputs of the session's own. */
void test_run_ok(test_run *run, const leat_array *in, size_t n_in, leat_array *out, size_t n_out);

/* An f32 or i64 array over `data`, shape as for onnx_builder ("2x3"); a scalar bool. */
leat_array test_f32(float *data, const char *shape);
leat_array test_i64(int64_t *data, const char *shape);
leat_array test_bool(uint8_t *data);

/* An f32 array from the session equals `expected` exactly. */
void test_assert_f32(const leat_array *array, const char *shape, const float *expected);

/* Builds y = Relu(Gemm(x, w, b)): x Nx4, w 4x3, b of 3. */
onnx_builder *test_build_mlp(void);
/* What it gives for n rows. */
void test_mlp_oracle(const float *x, size_t n, float *y);

#endif

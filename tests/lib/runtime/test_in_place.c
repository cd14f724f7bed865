/* SPDX-License-Identifier: Apache-2.0 */
/* Outputs in the memory of inputs. */
#include "support/test.h"

#include "support/run.h"

/* present = cache with the update written at `index`; y = Neg(present); with `late`, z reads the
 * cache after it was written. */
static onnx_builder *build(const char *late)
{
    const leat_attr axis = {.name = "axis", .type = LEAT_ATTR_INT, .count = 1, .u.i = 1};
    onnx_builder *b = onnx_builder_create(24);
    onnx_builder_text(b, "cache: f32[1xCx2]; update: f32[1xNx2]; index: i64[1]");
    onnx_builder_node(b, "TensorScatter", "cache,update,index", "present", &axis, 1);
    onnx_builder_node(b, "Neg", "present", "y", NULL, 0);
    if (late != NULL) {
        onnx_builder_node(b, "Add", late, "z", NULL, 0);
        onnx_builder_output(b, "z", LEAT_DTYPE_F32, "1xCx2");
    }
    onnx_builder_output(b, "present", LEAT_DTYPE_F32, "1xCx2");
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "1xCx2");
    return b;
}

static void cache_given_as_both_is_appended_to(void **state)
{
    float cache[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, update[4] = {-1, -2, -3, -4}, y[10];
    int64_t index = 1;
    const float once[10] = {1, 2, -1, -2, -3, -4, 7, 8, 9, 10};
    test_run r;
    (void)state;
    onnx_builder *b = build(NULL);
    test_run_open(&r, b);
    leat_array in[3] = {test_f32(cache, "1x5x2"), test_f32(update, "1x2x2"), test_i64(&index, "1")};
    leat_array out[2] = {{.data = cache, .bytes = sizeof(cache)}, {.data = y, .bytes = sizeof(y)}};
    assert_ok(leat_session_run(r.session, in, 3, out, 2, &r.err), &r.err);
    test_assert_f32(&out[0], "1x5x2", once);
    assert_ptr_equal(out[0].data, cache);
    for (int i = 0; i < 10; i++) {
        assert_true(y[i] == -once[i]);
    }
    /* Through bound tensors. */
    leat_tensor *tensor = NULL;
    assert_ok(leat_tensor_wrap(r.context, "cpu", &in[0], &tensor, &r.err), &r.err);
    assert_ok(leat_session_bind(r.session, "cache", tensor, &r.err), &r.err);
    assert_ok(leat_session_bind(r.session, "present", tensor, &r.err), &r.err);
    in[0].data = NULL;
    out[0].data = NULL;
    index = 3;
    assert_ok(leat_session_run(r.session, in, 3, out, 2, &r.err), &r.err);
    const float then[10] = {1, 2, -1, -2, -3, -4, -1, -2, -3, -4};
    test_assert_f32(&out[0], "1x5x2", then);
    assert_ptr_equal(out[0].data, cache);
    leat_session_destroy(r.session);
    r.session = NULL;
    leat_tensor_destroy(tensor);
    test_run_free(&r);
    onnx_builder_destroy(b);
}

/* Runs with outputs at those places; `late` as above. */
static leat_status run_at(const char *late, float *cache, float *present, float *y, leat_error *err)
{
    float update[4] = {-1, -2, -3, -4}, z[10];
    int64_t index = 1;
    test_run r;
    onnx_builder *b = build(late);
    test_run_open(&r, b);
    leat_array in[3] = {test_f32(cache, "1x5x2"), test_f32(update, "1x2x2"), test_i64(&index, "1")};
    leat_array outs[3] = {
        {.data = z, .bytes = 40}, {.data = present, .bytes = 40}, {.data = y, .bytes = 40}};
    size_t first = late == NULL;
    leat_status status = leat_session_run(r.session, in, 3, outs + first, 3 - first, &r.err);
    *err = r.err;
    test_run_free(&r);
    onnx_builder_destroy(b);
    return status;
}

static void memory_that_is_read_later_is_refused(void **state)
{
    float memory[24] = {0}, y[10];
    leat_error err;
    (void)state;
    assert_int_equal(run_at("cache,present", memory, memory, y, &err), LEAT_INVALID);
    assert_non_null(strstr(err.message, "output 'present' overlaps input 'cache'"));
    assert_int_equal(run_at("cache,cache", memory, memory + 12, y, &err), LEAT_OK);
    /* Beginning elsewhere, and another output. */
    assert_int_equal(run_at(NULL, memory, memory + 2, y, &err), LEAT_INVALID);
    assert_int_equal(run_at(NULL, memory + 2, memory, y, &err), LEAT_INVALID);
    assert_int_equal(run_at(NULL, memory, y, memory, &err), LEAT_INVALID);
    assert_int_equal(run_at(NULL, memory, memory + 10, y, &err), LEAT_OK);
    assert_int_equal(run_at(NULL, memory, memory, y, &err), LEAT_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cache_given_as_both_is_appended_to),
        cmocka_unit_test(memory_that_is_read_later_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

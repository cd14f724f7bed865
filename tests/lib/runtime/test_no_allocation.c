/* SPDX-License-Identifier: Apache-2.0 */
/* A warmed run allocates nothing, seen from below the library: this program replaces malloc and its
 * kin by functions that count. */
#include "support/test.h"

#include "support/run.h"

#include <errno.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
#define COUNTS 0 /* the sanitizer's own malloc must stay */
#else
#define COUNTS 1
#endif

static _Atomic long calls;

#if COUNTS
/* glibc's own names for what is replaced. */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *block, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *block);

void *malloc(size_t bytes)
{
    calls++;
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    calls++;
    return __libc_calloc(count, bytes);
}

void *realloc(void *block, size_t bytes)
{
    calls++;
    return __libc_realloc(block, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    calls++;
    return __libc_memalign(alignment, bytes);
}

int posix_memalign(void **out_block, size_t alignment, size_t bytes)
{
    calls++;
    *out_block = __libc_memalign(alignment, bytes);
    return *out_block ? 0 : ENOMEM;
}

void free(void *block)
{
    calls++;
    __libc_free(block);
}
#endif

static void assert_silent(test_run *r, float *data, const char *const *shapes, size_t n_shapes,
                          float *buffer, size_t buffer_bytes)
{
    leat_memory_info before, after;
    leat_array in, out;
    for (size_t i = 0; i < n_shapes; i++) {
        in = test_f32(data, shapes[i]);
        assert_ok(leat_session_warm(r->session, &in, 1, &r->err), &r->err);
    }
    leat_context_memory(r->context, &before);
    long calls_before = calls;
    leat_status status = LEAT_OK;
    for (size_t i = 0; i < 10 * n_shapes && status == LEAT_OK; i++) {
        in = test_f32(data, shapes[i % n_shapes]);
        out = (leat_array){.data = i % 2 ? buffer : NULL, .bytes = buffer_bytes};
        status = leat_session_run(r->session, &in, 1, &out, 1, &r->err);
    }
    long calls_after = calls;
    leat_context_memory(r->context, &after);
    assert_ok(status, &r->err);
    assert_int_equal(calls_after - calls_before, 0);
    assert_int_equal(after.allocations, before.allocations);
    assert_int_equal(after.live_bytes, before.live_bytes);
}

static void interposer_counts(void **state)
{
    (void)state;
    if (!COUNTS) {
        print_message("a sanitizer owns malloc\n");
        skip();
    }
    long before = calls;
    void *volatile block = malloc(10);
    free(block);
    assert_int_equal(calls - before, 2);
}

static void warmed_mlp_run_allocates_nothing(void **state)
{
    (void)state;
    static const char *const shapes[] = {"2x4", "1x4", "32x4"};
    static float data[32 * 4], y[32 * 3];
    onnx_builder *b = test_build_mlp();
    test_run r;
    test_run_open(&r, b);
    assert_silent(&r, data, shapes, 3, y, sizeof(y));
    test_run_free(&r);
    onnx_builder_destroy(b);
}

static void warmed_convolution_run_allocates_nothing(void **state)
{
    (void)state;
    static const char *const shapes[] = {"1x3x32x32", "2x3x17x19"};
    static float data[3 * 32 * 32], y[8 * 32 * 32], w[8 * 3 * 9];
    static const int64_t pads[4] = {1, 1, 1, 1};
    const leat_attr attr = test_attr_ints("pads", pads, 4);
    onnx_builder *b = onnx_builder_create(17);
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx3xHxW");
    onnx_builder_floats(b, "w", "8x3x3x3", w);
    onnx_builder_node(b, "Conv", "x,w", "c", &attr, 1);
    onnx_builder_node(b, "Relu", "c", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx8xHxW");
    test_run r;
    test_run_open(&r, b);
    assert_silent(&r, data, shapes, 2, y, sizeof(y));
    test_run_free(&r);
    onnx_builder_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(interposer_counts),
        cmocka_unit_test(warmed_mlp_run_allocates_nothing),
        cmocka_unit_test(warmed_convolution_run_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Resize and ConvTranspose on the CUDA plugin (the fake driver's fibres) against the CPU. */
#include "support/test.h"

#include "support/attrs.h"
#include "support/onnx_builder.h"
#include "support/run.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static float numbers[8192];

static void fill_numbers(void)
{
    uint32_t seed = 54321;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        seed = seed * 1664525u + 1013904223u;
        numbers[i] = (float)(int32_t)seed * 0x1p-32f;
    }
}

/* Runs a model of one input x and one output y on both; the largest difference, as a part of the
 * largest number. n_transposes: of CUDA's plan. */
static double compare(onnx_builder *b, leat_array *x, size_t *n_transposes)
{
    const char *const devices[] = {"cpu", "cuda:0"};
    test_run r;
    leat_array out[2] = {{0}};
    leat_session *sessions[2];
    double error = 0, largest = 0;
    test_run_load(&r, b);
    assert_ok(leat_context_load_backend(r.context,
                                        TEST_BUILD "/tests/backends/cuda/libleat_cuda.so", &r.err),
              &r.err);
    for (int i = 0; i < 2; i++) {
        leat_session_desc desc = {
            .struct_size = sizeof(desc), .devices = &devices[i], .n_devices = 1};
        assert_ok(leat_session_create(r.model, &desc, &sessions[i], &r.err), &r.err);
        assert_ok(leat_session_run(sessions[i], x, 1, &out[i], 1, &r.err), &r.err);
    }
    assert_int_equal(out[1].rank, out[0].rank);
    assert_memory_equal(out[1].shape, out[0].shape, (size_t)out[0].rank * sizeof(int64_t));
    assert_int_equal(out[1].bytes, out[0].bytes);
    assert_true(out[0].bytes > 0);
    for (size_t i = 0; i < out[0].bytes / sizeof(float) && out[0].dtype == LEAT_DTYPE_F32; i++) {
        double want = ((const float *)out[0].data)[i], got = ((const float *)out[1].data)[i];
        assert_true(isfinite(got));
        error = fmax(error, fabs(got - want));
        largest = fmax(largest, fabs(want));
    }
    if (out[0].dtype != LEAT_DTYPE_F32) {
        assert_memory_equal(out[1].data, out[0].data, out[0].bytes);
        largest = 1;
    }
    leat_plan_report report = {.struct_size = sizeof(report)};
    assert_ok(leat_session_report(sessions[1], &report, &r.err), &r.err);
    *n_transposes = 0;
    for (size_t i = 0; i < report.n_nodes; i++) {
        *n_transposes += strcmp(report.nodes[i].op, "Transpose") == 0;
    }
    leat_session_destroy(sessions[0]);
    leat_session_destroy(sessions[1]);
    test_run_free(&r);
    return error / largest;
}

/* Scales or (scales NULL) sizes of a value 2 x 3 x 5 x 7, or of its last two dimensions. */
static double resize(int opset, const leat_attr *attrs, size_t n_attrs, const float *scales,
                     const int64_t *sizes, const char *count)
{
    leat_array x = test_f32(numbers, "2x3x5x7");
    onnx_builder *b = onnx_builder_create(opset);
    size_t unused;
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "2x3x5x7");
    if (scales != NULL) {
        onnx_builder_floats(b, "scales", count, scales);
    } else {
        onnx_builder_ints(b, "sizes", count, sizes);
    }
    onnx_builder_node(b, "Resize",
                      opset < 11       ? "x,scales"
                      : scales != NULL ? "x,,scales"
                                       : "x,,,sizes",
                      "y", attrs, n_attrs);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "AxBxCxD");
    double error = compare(b, &x, &unused);
    onnx_builder_destroy(b);
    return error;
}

static const float scales[4] = {1, 1, 2, 0.6f};
static const int64_t sizes[4] = {2, 4, 9, 3};

static void resize_by_nearest_gives_the_same(void **state)
{
    static const char *const wheres[] = {"half_pixel",    "half_pixel_symmetric",
                                         "align_corners", "pytorch_half_pixel",
                                         "asymmetric",    "tf_half_pixel_for_nn"};
    static const char *const rounds[] = {"round_prefer_floor", "round_prefer_ceil", "floor",
                                         "ceil"};
    (void)state;
    for (int i = 0; i < 24; i++) {
        const leat_attr attrs[] = {
            test_attr_string("coordinate_transformation_mode", wheres[i / 4]),
            test_attr_string("nearest_mode", rounds[i % 4])};
        assert_true(resize(19, attrs, 2, scales, NULL, "4") == 0);
        assert_true(resize(19, attrs, 2, NULL, sizes, "4") == 0);
    }
    assert_true(resize(10, NULL, 0, scales, NULL, "4") == 0);
    assert_true(resize(11, NULL, 0, (const float[]){1, 1, 1, 1}, NULL, "4") == 0);
}

static void resize_by_linear_and_cubic_agrees(void **state)
{
    static const char *const wheres[] = {"half_pixel", "half_pixel_symmetric", "align_corners",
                                         "pytorch_half_pixel", "asymmetric"};
    static const int64_t axes[] = {3, -2};
    (void)state;
    for (int i = 0; i < 40; i++) {
        const leat_attr attrs[] = {
            test_attr_string("coordinate_transformation_mode", wheres[i / 8]),
            test_attr_string("mode", i % 2 ? "cubic" : "linear"),
            test_attr_int("antialias", i / 2 % 2), test_attr_int("exclude_outside", i / 4 % 2),
            test_attr_ints("axes", axes, 2)};
        assert_true(resize(19, attrs, 4, scales, NULL, "4") < 1e-6);
        assert_true(resize(19, attrs, 4, NULL, sizes, "4") < 1e-6);
        assert_true(resize(19, attrs, 5, scales + 2, NULL, "2") < 1e-6);
    }
}

static void resize_of_bytes_gives_the_same(void **state)
{
    leat_array x = {
        .dtype = LEAT_DTYPE_U8, .rank = 4, .shape = {1, 2, 5, 6}, .data = numbers, .bytes = 60};
    onnx_builder *b = onnx_builder_create(19);
    size_t unused;
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_U8, "1x2x5x6");
    onnx_builder_floats(b, "scales", "4", scales);
    onnx_builder_node(b, "Resize", "x,,scales", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_U8, "AxBxCxD");
    assert_true(compare(b, &x, &unused) == 0);
    onnx_builder_destroy(b);
}

typedef struct transposed_case {
    const char *x, *w;
    int64_t group;
    int64_t strides[2], dilations[2], pads[4], extra[2], shape[2];
    const char *auto_pad;
} transposed_case;

static const transposed_case cases[] = {
    {"2x6x5x4", "6x4x3x3", 1, {2, 2}, {1, 1}, {1, 1, 1, 1}, {1, 1}, {0, 0}, NULL},
    {"1x8x4x5", "8x3x2x2", 1, {2, 2}, {1, 1}, {0, 0, 0, 0}, {0, 0}, {0, 0}, NULL},
    {"1x6x4x5", "6x2x3x2", 3, {1, 3}, {2, 1}, {0, 1, 2, 0}, {0, 2}, {0, 0}, NULL},
    {"2x4x3x3", "4x1x4x4", 4, {2, 2}, {1, 1}, {1, 1, 1, 1}, {0, 0}, {0, 0}, NULL},
    {"1x3x4x4", "3x5x3x3", 1, {2, 2}, {1, 1}, {0, 0, 0, 0}, {0, 0}, {0, 0}, "SAME_UPPER"},
    {"1x3x4x4", "3x5x3x3", 1, {2, 3}, {1, 1}, {0, 0, 0, 0}, {0, 0}, {0, 0}, "SAME_LOWER"},
    {"1x3x4x4", "3x5x3x3", 1, {3, 2}, {1, 1}, {0, 0, 0, 0}, {0, 0}, {10, 8}, NULL},
    {"1x3x4x4", "3x5x1x1", 1, {1, 1}, {1, 1}, {1, 1, 1, 1}, {0, 0}, {0, 0}, NULL},
};

static void transposed_convolutions_agree(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const transposed_case *c = &cases[i];
        leat_attr attrs[7] = {test_attr_int("group", c->group),
                              test_attr_ints("strides", c->strides, 2),
                              test_attr_ints("dilations", c->dilations, 2),
                              test_attr_ints("output_padding", c->extra, 2)};
        size_t n = 4, unused;
        if (c->auto_pad != NULL) {
            attrs[n++] = test_attr_string("auto_pad", c->auto_pad);
        } else if (c->shape[0] != 0) {
            attrs[n++] = test_attr_ints("output_shape", c->shape, 2);
        } else {
            attrs[n++] = test_attr_ints("pads", c->pads, 4);
        }
        leat_array x = test_f32(numbers, c->x);
        const int64_t filters = (c->w[2] - '0') * c->group;
        char count[8];
        snprintf(count, sizeof(count), "%lld", (long long)filters);
        onnx_builder *b = onnx_builder_create(17);
        onnx_builder_input(b, "x", LEAT_DTYPE_F32, c->x);
        onnx_builder_floats(b, "w", c->w, numbers + 1000);
        onnx_builder_floats(b, "bias", count, numbers + 3000);
        onnx_builder_node(b, "ConvTranspose", i % 2 ? "x,w,bias" : "x,w", "t", attrs, n);
        onnx_builder_node(b, "Relu", "t", "y", NULL, 0);
        onnx_builder_output(b, "y", LEAT_DTYPE_F32, "AxBxCxD");
        assert_true(compare(b, &x, &unused) < 1e-6);
        onnx_builder_destroy(b);
    }
}

/* One spatial dimension. */
static void transposed_convolution_of_a_line_agrees(void **state)
{
    static const int64_t stride[] = {3}, pads[] = {2, 1};
    const leat_attr attrs[] = {test_attr_ints("strides", stride, 1),
                               test_attr_ints("pads", pads, 2)};
    leat_array x = test_f32(numbers, "2x5x11");
    onnx_builder *b = onnx_builder_create(17);
    size_t unused;
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "2x5x11");
    onnx_builder_floats(b, "w", "5x7x4", numbers + 1000);
    onnx_builder_node(b, "ConvTranspose", "x,w", "y", attrs, 2);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "AxBxC");
    assert_true(compare(b, &x, &unused) < 1e-6);
    onnx_builder_destroy(b);
}

/* Between convolutions both take channels-last data: it is transposed at the ends alone. */
static void images_grow_without_transposes(void **state)
{
    static const int64_t two[] = {2, 2}, ones[] = {1, 1, 1, 1};
    const leat_attr pads = test_attr_ints("pads", ones, 4);
    const leat_attr strides = test_attr_ints("strides", two, 2);
    const leat_attr mode = test_attr_string("mode", "linear");
    leat_array x = test_f32(numbers, "2x3x6x5");
    onnx_builder *b = onnx_builder_create(17);
    size_t n_transposes;
    (void)state;
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "2x3x6x5");
    onnx_builder_floats(b, "w0", "16x3x3x3", numbers + 1000);
    onnx_builder_floats(b, "w1", "16x8x2x2", numbers + 2000);
    onnx_builder_floats(b, "w2", "4x8x3x3", numbers + 3000);
    onnx_builder_floats(b, "scales", "4", (const float[]){1, 1, 2, 2});
    onnx_builder_node(b, "Conv", "x,w0", "a", &pads, 1);
    onnx_builder_node(b, "Resize", "a,,scales", "r", &mode, 1);
    onnx_builder_node(b, "ConvTranspose", "r,w1", "t", &strides, 1);
    onnx_builder_node(b, "Conv", "t,w2", "y", &pads, 1);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "AxBxCxD");
    assert_true(compare(b, &x, &n_transposes) < 1e-5);
    assert_true(n_transposes <= 2);
    onnx_builder_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resize_by_nearest_gives_the_same),
        cmocka_unit_test(resize_by_linear_and_cubic_agrees),
        cmocka_unit_test(resize_of_bytes_gives_the_same),
        cmocka_unit_test(transposed_convolutions_agree),
        cmocka_unit_test(transposed_convolution_of_a_line_agrees),
        cmocka_unit_test(images_grow_without_transposes),
    };
    /* A loaded library serves every later dlopen of its soname, here the plugin's of the driver. */
    void *driver = dlopen(TEST_BUILD "/tests/backends/cuda/libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (driver == NULL || dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL) != driver) {
        fprintf(stderr, "the fake driver does not serve: %s\n", dlerror());
        return 1;
    }
    fill_numbers();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

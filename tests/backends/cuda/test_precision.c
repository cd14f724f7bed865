/* SPDX-License-Identifier: Apache-2.0 */
/* Models of f32 in a narrow precision on the CUDA plugin (the fake driver's fibres) against the
 * CPU's f32: the results agree within the type's tolerance, and nodes run as told. */
#include "support/test.h"

#include "support/onnx_builder.h"
#include "support/run.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct precision_case {
    leat_context *context;
    leat_model *model;
    leat_error err;
} precision_case;

static float numbers[8192];

static void fill_numbers(void)
{
    uint32_t seed = 12345;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        seed = seed * 1664525u + 1013904223u;
        numbers[i] = (float)(int32_t)seed * 0x1p-32f;
    }
}

/* conv - pool - conv with residual and clip - mean - gemm with bias; a filter a channel, too. */
static onnx_builder *build_image_net(void)
{
    onnx_builder *b = onnx_builder_create(13);
    const int64_t two[] = {2, 2}, ones[] = {1, 1, 1, 1};
    const leat_attr kernel[] = {{"kernel_shape", LEAT_ATTR_INTS, 2, {.ints = two}},
                                {"strides", LEAT_ATTR_INTS, 2, {.ints = two}}};
    const leat_attr pads = {"pads", LEAT_ATTR_INTS, 4, {.ints = ones}};
    const leat_attr depth[] = {pads, {"group", LEAT_ATTR_INT, 1, {.i = 12}}};
    const float low = -0.5f, high = 0.75f;
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx3x9x11");
    onnx_builder_floats(b, "w0", "12x3x3x3", numbers);
    onnx_builder_floats(b, "b0", "12", numbers + 400);
    onnx_builder_floats(b, "w1", "12x1x3x3", numbers + 500);
    onnx_builder_floats(b, "w2", "12x12x1x1", numbers + 700);
    onnx_builder_floats(b, "b2", "12", numbers + 900);
    onnx_builder_floats(b, "fc", "12x7", numbers + 1000);
    onnx_builder_floats(b, "fb", "7", numbers + 1100);
    onnx_builder_floats(b, "low", "", &low);
    onnx_builder_floats(b, "high", "", &high);
    onnx_builder_node(b, "Conv", "x,w0,b0", "c0", &pads, 1);
    onnx_builder_node(b, "Relu", "c0", "r0", NULL, 0);
    onnx_builder_node(b, "MaxPool", "r0", "p", kernel, 2);
    onnx_builder_node(b, "Conv", "p,w1", "c1", depth, 2);
    onnx_builder_node(b, "Clip", "c1,low,high", "k", NULL, 0);
    onnx_builder_node(b, "Conv", "k,w2,b2", "c2", NULL, 0);
    onnx_builder_node(b, "Add", "c2,p", "s", NULL, 0);
    onnx_builder_node(b, "GlobalAveragePool", "s", "m", NULL, 0);
    onnx_builder_node(b, "Flatten", "m", "f", NULL, 0);
    onnx_builder_node(b, "Gemm", "f,fc,fb", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx7");
    return b;
}

/* Three products of one value, scores through a softmax in f32, a stream that stays f32. */
static onnx_builder *build_text_net(void)
{
    onnx_builder *b = onnx_builder_create(17);
    const int64_t perm[] = {0, 2, 1};
    const leat_attr swap = {"perm", LEAT_ATTR_INTS, 3, {.ints = perm}};
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx5x16");
    onnx_builder_floats(b, "scale", "16", numbers + 2000);
    onnx_builder_floats(b, "shift", "16", numbers + 2100);
    onnx_builder_floats(b, "wq", "16x16", numbers + 2200);
    onnx_builder_floats(b, "wk", "16x16", numbers + 2500);
    onnx_builder_floats(b, "wv", "16x16", numbers + 2800);
    onnx_builder_floats(b, "bv", "16", numbers + 3100);
    onnx_builder_node(b, "LayerNormalization", "x,scale,shift", "n", NULL, 0);
    onnx_builder_node(b, "MatMul", "n,wq", "q", NULL, 0);
    onnx_builder_node(b, "MatMul", "n,wk", "k", NULL, 0);
    onnx_builder_node(b, "MatMul", "n,wv", "v0", NULL, 0);
    onnx_builder_node(b, "Add", "v0,bv", "v", NULL, 0);
    onnx_builder_node(b, "Transpose", "k", "kt", &swap, 1);
    onnx_builder_node(b, "MatMul", "q,kt", "s", NULL, 0);
    onnx_builder_node(b, "Softmax", "s", "p", NULL, 0);
    onnx_builder_node(b, "MatMul", "p,v", "o", NULL, 0);
    onnx_builder_node(b, "Add", "o,x", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx5x16");
    return b;
}

static void open_case(precision_case *c, onnx_builder *b)
{
    size_t bytes;
    memset(c, 0, sizeof(*c));
    leat_context_desc desc = {.struct_size = sizeof(desc), .threads = 1};
    assert_ok(leat_context_create(&desc, &c->context, &c->err), &c->err);
    assert_ok(leat_context_load_backend(c->context,
                                        TEST_BUILD "/tests/backends/cuda/libleat_cuda.so", &c->err),
              &c->err);
    const void *data = onnx_builder_finish(b, &bytes);
    leat_model_desc source = {.struct_size = sizeof(source)};
    assert_ok(leat_model_load_memory(c->context, data, bytes, &source, &c->model, &c->err),
              &c->err);
}

static leat_session *open_session(precision_case *c, const char *device, leat_precision precision)
{
    leat_session *session;
    leat_session_desc desc = {
        .struct_size = sizeof(desc), .devices = &device, .n_devices = 1, .precision = precision};
    assert_ok(leat_session_create(c->model, &desc, &session, &c->err), &c->err);
    return session;
}

static void close_case(precision_case *c, onnx_builder *b)
{
    leat_model_destroy(c->model);
    leat_context_destroy(c->context);
    onnx_builder_destroy(b);
}

/* Nodes of that operator in the session's last plan. */
static size_t count_nodes(leat_session *session, const char *op, leat_error *err)
{
    leat_plan_report report = {.struct_size = sizeof(report)};
    size_t count = 0;
    assert_ok(leat_session_report(session, &report, err), err);
    for (size_t i = 0; i < report.n_nodes; i++) {
        count += strncmp(report.nodes[i].op, op, strlen(op)) == 0;
    }
    return count;
}

/* Largest difference, as a part of the largest number. */
static double difference(const leat_array *got, const leat_array *want)
{
    double error = 0, largest = 0;
    assert_int_equal(got->dtype, LEAT_DTYPE_F32);
    assert_int_equal(got->bytes, want->bytes);
    for (size_t i = 0; i < want->bytes / sizeof(float); i++) {
        double a = ((const float *)got->data)[i], b = ((const float *)want->data)[i];
        assert_true(isfinite(a));
        error = fmax(error, fabs(a - b));
        largest = fmax(largest, fabs(b));
    }
    return error / largest;
}

static void check_net(onnx_builder *b, leat_array *x, size_t casts)
{
    static const struct {
        leat_precision precision;
        double least, most; /* difference in units of the type's half step */
        double half_step;
    } ways[] = {{LEAT_PRECISION_F32, 0, 4, 0x1p-20},
                {LEAT_PRECISION_F16, 0.01, 8, 0x1p-11},
                {LEAT_PRECISION_BF16, 0.01, 8, 0x1p-8},
                {LEAT_PRECISION_AUTO, 0.01, 8, 0x1p-8}};
    precision_case c;
    leat_array want = {0};
    open_case(&c, b);
    leat_session *cpu = open_session(&c, "cpu", LEAT_PRECISION_F32);
    assert_ok(leat_session_run(cpu, x, 1, &want, 1, &c.err), &c.err);
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        leat_array got = {0};
        leat_session *cuda = open_session(&c, "cuda:0", ways[i].precision);
        assert_ok(leat_session_run(cuda, x, 1, &got, 1, &c.err), &c.err);
        double error = difference(&got, &want);
        if (error < ways[i].least * ways[i].half_step || error > ways[i].most * ways[i].half_step) {
            fail_msg("precision %d: difference %g", (int)ways[i].precision, error);
        }
        assert_int_equal(count_nodes(cuda, "Cast", &c.err), i == 0 ? 0 : casts);
        leat_session_destroy(cuda);
    }
    leat_session_destroy(cpu);
    close_case(&c, b);
}

static void images_agree_with_f32(void **state)
{
    (void)state;
    leat_array x = test_f32(numbers + 4000, "2x3x9x11");
    check_net(build_image_net(), &x, 1);
}

/* The casts: of the normalized value for three products, and of the softmax's result. */
static void texts_agree_with_f32(void **state)
{
    (void)state;
    leat_array x = test_f32(numbers + 5000, "3x5x16");
    check_net(build_text_net(), &x, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_agree_with_f32),
        cmocka_unit_test(texts_agree_with_f32),
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

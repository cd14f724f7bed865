/* SPDX-License-Identifier: Apache-2.0 */
/* Small models on the CUDA plugin (the fake driver's fibres) against the CPU: those of f32 in every
 * precision within the type's tolerance, quantized ones within a step of the last grid; and nodes
 * run as told. */
#include "support/test.h"

#include "support/onnx_builder.h"
#include "support/run.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct model_case {
    leat_context *context;
    leat_model *model;
    leat_error err;
} model_case;

static float numbers[8192];
static int8_t weights[4096];
static const int32_t biases[16] = {300, -200, 0, 50, 1000, -1500, 7, 90, 3, -3, 20, 40, -60};
static float weight_scales[16];

static void fill_numbers(void)
{
    uint32_t seed = 12345;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        seed = seed * 1664525u + 1013904223u;
        numbers[i] = (float)(int32_t)seed * 0x1p-32f;
    }
}

static void fill_weights(void)
{
    for (size_t i = 0; i < sizeof(weights); i++) {
        weights[i] = (int8_t)(numbers[i] * 250);
    }
    for (size_t i = 0; i < 16; i++) {
        weight_scales[i] = 1.0f / (100.0f + 7.0f * (float)i);
    }
}

/* conv - pool - conv with residual and clip - mean - gemm with bias; a filter a channel, too. */
static onnx_builder *build_image_net(void)
{
    onnx_builder *b = onnx_builder_create(13);
    const int64_t two[] = {2, 2}, ones[] = {1, 1, 1, 1};
    const leat_attr kernel[] = {{"kernel_shape", LEAT_ATTR_INTS, 2, {.ints = two}},
                                {"strides", LEAT_ATTR_INTS, 2, {.ints = two}}};
    const leat_attr pads = test_attr_ints("pads", ones, 4);
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
    const leat_attr swap = test_attr_ints("perm", perm, 3);
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

static void open_case(model_case *c, onnx_builder *b)
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

static leat_session *open_session(model_case *c, const char *device, leat_precision precision)
{
    leat_session *session;
    leat_session_desc desc = {
        .struct_size = sizeof(desc), .devices = &device, .n_devices = 1, .precision = precision};
    assert_ok(leat_session_create(c->model, &desc, &session, &c->err), &c->err);
    return session;
}

static void close_case(model_case *c, onnx_builder *b)
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
                {LEAT_PRECISION_TF32, 0, 4, 0x1p-20}, /* no tensor cores for it: f32 */
                {LEAT_PRECISION_F16, 0.01, 8, 0x1p-11},
                {LEAT_PRECISION_BF16, 0.01, 8, 0x1p-8},
                {LEAT_PRECISION_AUTO, 0.01, 8, 0x1p-8}};
    model_case c;
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
        assert_int_equal(count_nodes(cuda, "Cast", &c.err), i < 2 ? 0 : casts);
        leat_session_destroy(cuda);
    }
    leat_session_destroy(cpu);
    close_case(&c, b);
}

/* A constant `name` of F16: folded from one of F32. */
static void add_halves(onnx_builder *b, const char *name, const char *shape, const float *data)
{
    char from[48];
    const leat_attr to = {"to", LEAT_ATTR_INT, 1, {.i = LEAT_DTYPE_F16}};
    snprintf(from, sizeof(from), "f32_%s", name);
    onnx_builder_floats(b, from, shape, data);
    onnx_builder_node(b, "Cast", from, name, &to, 1);
}

/* In F16, where a stage of a residual network begins: conv by 2 - conv, plus a conv of one tap by
 * 2; their sum is one node. */
static void sums_of_two_convolutions_agree(void **state)
{
    (void)state;
    const int64_t two[] = {2, 2}, ones[] = {1, 1, 1, 1};
    const leat_attr half = {"to", LEAT_ATTR_INT, 1, {.i = LEAT_DTYPE_F16}};
    const leat_attr single = {"to", LEAT_ATTR_INT, 1, {.i = LEAT_DTYPE_F32}};
    const leat_attr by_two[] = {{"strides", LEAT_ATTR_INTS, 2, {.ints = two}},
                                {"pads", LEAT_ATTR_INTS, 4, {.ints = ones}}};
    model_case c;
    leat_array x = test_f32(numbers + 4000, "2x16x9x7"), want = {0}, got = {0};
    onnx_builder *b = onnx_builder_create(13);
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx16x9x7");
    add_halves(b, "w0", "8x16x3x3", numbers);
    add_halves(b, "w1", "24x8x1x1", numbers + 1200);
    add_halves(b, "b1", "24", numbers + 1500);
    add_halves(b, "w2", "24x16x1x1", numbers + 1600);
    add_halves(b, "b2", "24", numbers + 2100);
    onnx_builder_node(b, "Cast", "x", "h", &half, 1);
    onnx_builder_node(b, "Conv", "h,w0", "c0", by_two, 2);
    onnx_builder_node(b, "Relu", "c0", "r0", NULL, 0);
    onnx_builder_node(b, "Conv", "r0,w1,b1", "c1", NULL, 0);
    onnx_builder_node(b, "Conv", "h,w2,b2", "c2", by_two, 1);
    onnx_builder_node(b, "Add", "c1,c2", "s", NULL, 0);
    onnx_builder_node(b, "Relu", "s", "r", NULL, 0);
    onnx_builder_node(b, "Cast", "r", "y", &single, 1);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx24x5x4");
    open_case(&c, b);
    leat_session *cpu = open_session(&c, "cpu", LEAT_PRECISION_MODEL);
    leat_session *cuda = open_session(&c, "cuda:0", LEAT_PRECISION_MODEL);
    assert_ok(leat_session_run(cpu, &x, 1, &want, 1, &c.err), &c.err);
    assert_ok(leat_session_run(cuda, &x, 1, &got, 1, &c.err), &c.err);
    assert_int_equal(got.bytes, 2 * 24 * 5 * 4 * sizeof(float));
    assert_true(difference(&got, &want) <= 4 * 0x1p-11);
    assert_int_equal(count_nodes(cuda, "ConvPair", &c.err), 1);
    assert_int_equal(count_nodes(cpu, "ConvPair", &c.err), 0);
    leat_session_destroy(cpu);
    leat_session_destroy(cuda);
    close_case(&c, b);
}

/* In F16: LayerNormalization of x w + b + r is one node. */
static void norms_of_products_agree(void **state)
{
    (void)state;
    const leat_attr half = {"to", LEAT_ATTR_INT, 1, {.i = LEAT_DTYPE_F16}};
    const leat_attr single = {"to", LEAT_ATTR_INT, 1, {.i = LEAT_DTYPE_F32}};
    model_case c;
    leat_array x[2] = {test_f32(numbers + 4000, "3x5x16"), test_f32(numbers + 4500, "3x5x24")};
    leat_array want = {0}, got = {0};
    onnx_builder *b = onnx_builder_create(17);
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx5x16");
    onnx_builder_input(b, "r", LEAT_DTYPE_F32, "Nx5x24");
    add_halves(b, "w", "16x24", numbers);
    add_halves(b, "b", "24", numbers + 500);
    add_halves(b, "g", "24", numbers + 600);
    add_halves(b, "h", "24", numbers + 700);
    onnx_builder_node(b, "Cast", "x", "hx", &half, 1);
    onnx_builder_node(b, "Cast", "r", "hr", &half, 1);
    onnx_builder_node(b, "MatMul", "hx,w", "p", NULL, 0);
    onnx_builder_node(b, "Add", "p,b", "q", NULL, 0);
    onnx_builder_node(b, "Add", "q,hr", "s", NULL, 0);
    onnx_builder_node(b, "LayerNormalization", "s,g,h", "n", NULL, 0);
    onnx_builder_node(b, "Cast", "n", "y", &single, 1);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx5x24");
    open_case(&c, b);
    leat_session *cpu = open_session(&c, "cpu", LEAT_PRECISION_MODEL);
    leat_session *cuda = open_session(&c, "cuda:0", LEAT_PRECISION_MODEL);
    assert_ok(leat_session_run(cpu, x, 2, &want, 1, &c.err), &c.err);
    assert_ok(leat_session_run(cuda, x, 2, &got, 1, &c.err), &c.err);
    assert_int_equal(got.bytes, 3 * 5 * 24 * sizeof(float));
    assert_true(difference(&got, &want) <= 8 * 0x1p-11);
    assert_int_equal(count_nodes(cuda, "MatMulNorm", &c.err), 1);
    assert_int_equal(count_nodes(cuda, "LayerNormalization", &c.err), 0);
    assert_int_equal(count_nodes(cpu, "MatMulNorm", &c.err), 0);
    leat_session_destroy(cpu);
    leat_session_destroy(cuda);
    close_case(&c, b);
}

/* ---- quantized --------------------------------------------------------------------------------
 */

static void add_bytes(onnx_builder *b, const char *name, leat_dtype dtype, int32_t rank,
                      const int64_t *shape, const void *data)
{
    leat_array a = {.dtype = dtype, .rank = rank, .data = (void *)(uintptr_t)data};
    size_t count = 1;
    for (int32_t i = 0; i < rank; i++) {
        a.shape[i] = shape[i];
        count *= (size_t)shape[i];
    }
    a.bytes = leat_dtype_bytes(dtype, count);
    onnx_builder_constant(b, name, &a);
}

/* QuantizeLinear of `from` and DequantizeLinear of that, to `to`: "qTO" lies between. */
static void add_grid(onnx_builder *b, const char *from, const char *to, float scale, uint8_t zero)
{
    char line[160], name[48], zero_name[48];
    snprintf(name, sizeof(name), "scale_%s", to);
    onnx_builder_floats(b, name, "", &scale);
    snprintf(zero_name, sizeof(zero_name), "zero_%s", to);
    add_bytes(b, zero_name, LEAT_DTYPE_U8, 0, NULL, &zero);
    snprintf(line, sizeof(line), "%s,%s,%s", from, name, zero_name);
    snprintf(name, sizeof(name), "q%s", to);
    onnx_builder_node(b, "QuantizeLinear", line, name, NULL, 0);
    snprintf(line, sizeof(line), "q%s,scale_%s,zero_%s", to, to, to);
    onnx_builder_node(b, "DequantizeLinear", line, to, NULL, 0);
}

/* The f32 weights `name` of i8 with a scale for each of shape[axis], and with `bias` a bias b_NAME
 * whose scales are those times x_scale. */
static void add_weights(onnx_builder *b, const char *name, int32_t rank, const int64_t *shape,
                        int64_t axis, float bias)
{
    char raw[48], line[160], out[48];
    float scales[16];
    const leat_attr along = {"axis", LEAT_ATTR_INT, 1, {.i = axis}},
                    first = {"axis", LEAT_ATTR_INT, 1, {.i = 0}};
    snprintf(raw, sizeof(raw), "i_%s", name);
    add_bytes(b, raw, LEAT_DTYPE_I8, rank, shape, weights);
    snprintf(raw, sizeof(raw), "s_%s", name);
    add_bytes(b, raw, LEAT_DTYPE_F32, 1, &shape[axis], weight_scales);
    snprintf(line, sizeof(line), "i_%s,s_%s", name, name);
    onnx_builder_node(b, "DequantizeLinear", line, name, &along, 1);
    for (int i = 0; i < 16; i++) {
        scales[i] = weight_scales[i] * bias;
    }
    if (bias == 0) {
        return;
    }
    snprintf(raw, sizeof(raw), "ib_%s", name);
    add_bytes(b, raw, LEAT_DTYPE_I32, 1, &shape[axis], biases);
    snprintf(raw, sizeof(raw), "sb_%s", name);
    add_bytes(b, raw, LEAT_DTYPE_F32, 1, &shape[axis], scales);
    snprintf(line, sizeof(line), "ib_%s,sb_%s", name, name);
    snprintf(out, sizeof(out), "b_%s", name);
    onnx_builder_node(b, "DequantizeLinear", line, out, &first, 1);
}

#define LAST_STEP 0.0625f

/* conv of three channels with padding on a grid with a zero point - pool - conv with residual -
 * conv with a filter a channel - conv in groups - mean - matmul. */
static onnx_builder *build_quantized_net(void)
{
    onnx_builder *b = onnx_builder_create(13);
    const int64_t two[] = {2, 2}, ones[] = {1, 1, 1, 1};
    const leat_attr kernel[] = {{"kernel_shape", LEAT_ATTR_INTS, 2, {.ints = two}},
                                {"strides", LEAT_ATTR_INTS, 2, {.ints = two}}};
    const leat_attr pads = test_attr_ints("pads", ones, 4);
    const leat_attr depth[] = {pads, {"group", LEAT_ATTR_INT, 1, {.i = 12}}};
    const leat_attr half = test_attr_int("group", 2);
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx3x9x11");
    add_grid(b, "x", "gx", 1.0f / 128, 110);
    add_weights(b, "w0", 4, (const int64_t[]){12, 3, 3, 3}, 0, 1.0f / 128);
    onnx_builder_node(b, "Conv", "gx,w0,b_w0", "c0", &pads, 1);
    onnx_builder_node(b, "Relu", "c0", "r0", NULL, 0);
    add_grid(b, "r0", "g0", 0.02f, 0);
    onnx_builder_node(b, "MaxPool", "g0", "p", kernel, 2);
    add_grid(b, "p", "gp", 0.02f, 0);
    add_weights(b, "w1", 4, (const int64_t[]){12, 12, 1, 1}, 0, 0.02f);
    onnx_builder_node(b, "Conv", "gp,w1,b_w1", "c1", NULL, 0);
    add_grid(b, "c1", "g1", 0.03f, 120);
    onnx_builder_node(b, "Add", "g1,gp", "s", NULL, 0);
    onnx_builder_node(b, "Relu", "s", "r1", NULL, 0);
    add_grid(b, "r1", "g2", 0.04f, 0);
    add_weights(b, "w2", 4, (const int64_t[]){12, 1, 3, 3}, 0, 0.04f);
    onnx_builder_node(b, "Conv", "g2,w2,b_w2", "c2", depth, 2);
    add_grid(b, "c2", "g3", 0.05f, 128);
    add_weights(b, "w3", 4, (const int64_t[]){12, 6, 1, 1}, 0, 0);
    onnx_builder_node(b, "Conv", "g3,w3", "c3", &half, 1);
    add_grid(b, "c3", "g4", 0.05f, 128);
    onnx_builder_node(b, "GlobalAveragePool", "g4", "m", NULL, 0);
    add_grid(b, "m", "g5", 0.03f, 128);
    onnx_builder_node(b, "Flatten", "g5", "f", NULL, 0);
    add_weights(b, "w4", 2, (const int64_t[]){12, 7}, 1, 0);
    onnx_builder_floats(b, "b4", "7", numbers + 100);
    onnx_builder_node(b, "MatMul", "f,w4", "t", NULL, 0);
    onnx_builder_node(b, "Add", "t,b4", "u", NULL, 0);
    add_grid(b, "u", "y", LAST_STEP, 100);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx7");
    return b;
}

static void quantized_images_agree_within_a_step(void **state)
{
    (void)state;
    model_case c;
    leat_array x = test_f32(numbers + 4000, "2x3x9x11"), want = {0}, got = {0};
    onnx_builder *b = build_quantized_net();
    open_case(&c, b);
    leat_session *cpu = open_session(&c, "cpu", LEAT_PRECISION_MODEL);
    leat_session *cuda = open_session(&c, "cuda:0", LEAT_PRECISION_MODEL);
    assert_ok(leat_session_run(cpu, &x, 1, &want, 1, &c.err), &c.err);
    assert_ok(leat_session_run(cuda, &x, 1, &got, 1, &c.err), &c.err);
    assert_int_equal(got.bytes, 2 * 7 * sizeof(float));
    int equal = 0, different = 0;
    for (int i = 0; i < 14; i++) {
        float a = ((const float *)got.data)[i], e = ((const float *)want.data)[i];
        assert_true(fabsf(a - e) <= LAST_STEP * 1.001f);
        equal += a == e;
        different += e != ((const float *)want.data)[0];
    }
    assert_true(equal >= 10);    /* a step of the mean moves several */
    assert_true(different >= 7); /* it computes something */
    assert_int_equal(count_nodes(cuda, "QConv", &c.err), 4);
    assert_int_equal(count_nodes(cuda, "QMatMul", &c.err), 1);
    assert_int_equal(count_nodes(cuda, "Add", &c.err), 0);
    assert_int_equal(count_nodes(cuda, "Relu", &c.err), 0);
    assert_int_equal(count_nodes(cuda, "QGlobalAveragePool", &c.err), 1);
    assert_int_equal(count_nodes(cuda, "QuantizeLinear", &c.err), 0);   /* the first conv does */
    assert_int_equal(count_nodes(cuda, "DequantizeLinear", &c.err), 1); /* the result */
    assert_int_equal(count_nodes(cpu, "QGlobalAveragePool", &c.err), 0);
    assert_int_equal(count_nodes(cpu, "QuantizeLinear", &c.err), 2);
    leat_session_destroy(cpu);
    leat_session_destroy(cuda);
    close_case(&c, b);
}

/* Data quantized while the model runs, as quantize_dynamic writes it. */
static void dynamic_products_agree(void **state)
{
    (void)state;
    model_case c;
    leat_array x = test_f32(numbers + 5000, "3x5x16"), want = {0}, got = {0};
    onnx_builder *b = onnx_builder_create(13);
    const int8_t zero = 0;
    const float scale = 1.0f / 256;
    const leat_attr to = test_attr_int("to", LEAT_DTYPE_F32);
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx5x16");
    add_bytes(b, "w", LEAT_DTYPE_I8, 2, (const int64_t[]){16, 9}, weights);
    add_bytes(b, "wz", LEAT_DTYPE_I8, 0, NULL, &zero);
    onnx_builder_floats(b, "ws", "", &scale);
    onnx_builder_floats(b, "bias", "9", numbers);
    onnx_builder_node(b, "DynamicQuantizeLinear", "x", "q,s,z", NULL, 0);
    onnx_builder_node(b, "MatMulInteger", "q,w,z,wz", "i", NULL, 0);
    onnx_builder_node(b, "Cast", "i", "f", &to, 1);
    onnx_builder_node(b, "Mul", "s,ws", "m", NULL, 0);
    onnx_builder_node(b, "Mul", "f,m", "p", NULL, 0);
    onnx_builder_node(b, "Add", "p,bias", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx5x9");
    open_case(&c, b);
    leat_session *cpu = open_session(&c, "cpu", LEAT_PRECISION_MODEL);
    leat_session *cuda = open_session(&c, "cuda:0", LEAT_PRECISION_MODEL);
    assert_ok(leat_session_run(cpu, &x, 1, &want, 1, &c.err), &c.err);
    assert_ok(leat_session_run(cuda, &x, 1, &got, 1, &c.err), &c.err);
    assert_true(difference(&got, &want) < 1e-6);
    assert_int_equal(count_nodes(cuda, "QMatMul", &c.err), 1);
    assert_int_equal(count_nodes(cuda, "Add", &c.err), 0);
    leat_session_destroy(cpu);
    leat_session_destroy(cuda);
    close_case(&c, b);
}

/* A dynamic product whose data is evened out, and one of its result, in every precision: between
 * them floats are narrow. */
static void smoothed_products_agree_in_every_precision(void **state)
{
    static const struct {
        leat_precision precision;
        double most;
    } ways[] = {
        {LEAT_PRECISION_F32, 1e-6}, {LEAT_PRECISION_F16, 0.02}, {LEAT_PRECISION_BF16, 0.06}};
    (void)state;
    model_case c;
    leat_array x = test_f32(numbers + 5000, "3x5x16"), want = {0};
    onnx_builder *b = onnx_builder_create(13);
    const int8_t zero = 0;
    const float scale = 1.0f / 256;
    const int64_t again[] = {3, 15};
    const leat_attr to = test_attr_int("to", LEAT_DTYPE_F32), last = test_attr_int("axis", -1);
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "Nx5x16");
    add_bytes(b, "w", LEAT_DTYPE_I8, 2, (const int64_t[]){18, 16}, weights);
    add_bytes(b, "wz", LEAT_DTYPE_I8, 0, NULL, &zero);
    onnx_builder_floats(b, "ws", "", &scale);
    onnx_builder_floats(b, "bias", "16", numbers);
    onnx_builder_floats(b, "even", "16", numbers + 300);
    onnx_builder_ints(b, "again", "2", again);
    for (int i = 0; i < 2; i++) {
        const char *n = i == 0 ? "0" : "1";
        char line[8][64];
        snprintf(line[0], 64, "%s,even", i == 0 ? "x" : "g0");
        snprintf(line[1], 64, "e%s", n);
        onnx_builder_node(b, "Mul", line[0], line[1], NULL, 0);
        snprintf(line[2], 64, "q%s,s%s,z%s", n, n, n);
        onnx_builder_node(b, "DynamicQuantizeLinear", line[1], line[2], NULL, 0);
        snprintf(line[3], 64, "q%s,again", n);
        snprintf(line[4], 64, "a%s", n);
        onnx_builder_node(b, "Gather", line[3], line[4], &last, 1);
        snprintf(line[3], 64, "q%s,a%s", n, n);
        snprintf(line[4], 64, "c%s", n);
        onnx_builder_node(b, "Concat", line[3], line[4], &last, 1);
        snprintf(line[3], 64, "c%s,w,z%s,wz", n, n);
        snprintf(line[4], 64, "i%s", n);
        onnx_builder_node(b, "MatMulInteger", line[3], line[4], NULL, 0);
        snprintf(line[5], 64, "f%s", n);
        onnx_builder_node(b, "Cast", line[4], line[5], &to, 1);
        snprintf(line[3], 64, "s%s,ws", n);
        snprintf(line[4], 64, "m%s", n);
        onnx_builder_node(b, "Mul", line[3], line[4], NULL, 0);
        snprintf(line[3], 64, "f%s,m%s", n, n);
        snprintf(line[4], 64, "p%s", n);
        onnx_builder_node(b, "Mul", line[3], line[4], NULL, 0);
        snprintf(line[3], 64, "p%s,bias", n);
        snprintf(line[4], 64, "b%s", n);
        onnx_builder_node(b, "Add", line[3], line[4], NULL, 0);
        snprintf(line[3], 64, i == 0 ? "g0" : "y");
        onnx_builder_node(b, "Relu", line[4], line[3], NULL, 0);
    }
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "Nx5x16");
    open_case(&c, b);
    leat_session *cpu = open_session(&c, "cpu", LEAT_PRECISION_F32);
    assert_ok(leat_session_run(cpu, &x, 1, &want, 1, &c.err), &c.err);
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        leat_array got = {0};
        leat_session *cuda = open_session(&c, "cuda:0", ways[i].precision);
        assert_ok(leat_session_run(cuda, &x, 1, &got, 1, &c.err), &c.err);
        double error = difference(&got, &want);
        if (error > ways[i].most) {
            fail_msg("precision %d: difference %g", (int)ways[i].precision, error);
        }
        assert_true(i == 0 || error > 1e-6); /* the first product's result is narrow */
        assert_int_equal(count_nodes(cuda, "QMatMul", &c.err), 2);
        assert_int_equal(count_nodes(cuda, "SmoothQuantize", &c.err), 2);
        assert_int_equal(count_nodes(cuda, "Mul", &c.err), 0);
        assert_int_equal(count_nodes(cuda, "Concat", &c.err), 0);
        assert_int_equal(count_nodes(cuda, "Cast", &c.err), 0);
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

/* Constant pads (some crop), every mode, and repeats. */
static void pads_and_tiles_agree(void **state)
{
    static const char *const modes[] = {"constant", "reflect", "edge", "wrap"};
    static const int64_t pads[] = {0, 2, 1, 1, -1, 3}, repeats[] = {2, 1, 3};
    (void)state;
    for (int i = 0; i < 4; i++) {
        model_case c;
        leat_array x = test_f32(numbers, "2x5x6"), want = {0}, got = {0};
        const leat_attr mode = {"mode", LEAT_ATTR_STRING, 1, {.s = {modes[i], strlen(modes[i])}}};
        onnx_builder *b = onnx_builder_create(19);
        onnx_builder_input(b, "x", LEAT_DTYPE_F32, "2x5x6");
        onnx_builder_ints(b, "pads", "6", pads);
        onnx_builder_ints(b, "repeats", "3", repeats);
        onnx_builder_floats(b, "value", "", numbers + 77);
        onnx_builder_node(b, "Pad", i == 0 ? "x,pads,value" : "x,pads", "p", &mode, 1);
        onnx_builder_node(b, "Tile", "p,repeats", "y", NULL, 0);
        onnx_builder_output(b, "y", LEAT_DTYPE_F32, "6x6x30");
        open_case(&c, b);
        leat_session *cpu = open_session(&c, "cpu", LEAT_PRECISION_MODEL);
        leat_session *cuda = open_session(&c, "cuda:0", LEAT_PRECISION_MODEL);
        assert_ok(leat_session_run(cpu, &x, 1, &want, 1, &c.err), &c.err);
        assert_ok(leat_session_run(cuda, &x, 1, &got, 1, &c.err), &c.err);
        assert_int_equal(got.bytes, 6 * 6 * 30 * sizeof(float));
        assert_memory_equal(got.data, want.data, want.bytes);
        leat_session_destroy(cpu);
        leat_session_destroy(cuda);
        close_case(&c, b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_agree_with_f32),
        cmocka_unit_test(texts_agree_with_f32),
        cmocka_unit_test(sums_of_two_convolutions_agree),
        cmocka_unit_test(norms_of_products_agree),
        cmocka_unit_test(quantized_images_agree_within_a_step),
        cmocka_unit_test(dynamic_products_agree),
        cmocka_unit_test(smoothed_products_agree_in_every_precision),
        cmocka_unit_test(pads_and_tiles_agree),
    };
    /* A loaded library serves every later dlopen of its soname, here the plugin's of the driver. */
    void *driver = dlopen(TEST_BUILD "/tests/backends/cuda/libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (driver == NULL || dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL) != driver) {
        fprintf(stderr, "the fake driver does not serve: %s\n", dlerror());
        return 1;
    }
    fill_numbers();
    fill_weights();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

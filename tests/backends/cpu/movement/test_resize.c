/* SPDX-License-Identifier: Apache-2.0 */
/* Resize against a dense matrix per axis: row j holds the weight of every input element in output
 * element j, built in f64 from the operator's text, and applied axis by axis. */
#include "support/test.h"

#include "support/kernel.h"
#include "support/oracle.h"

#include <math.h>

#define MOST 20000

static uint64_t in_bytes[MOST], out_bytes[MOST];
static double data[2][MOST];

typedef struct resize_case {
    const char *mode, *where, *nearest; /* NULL: absent */
    double a;                           /* cubic */
    int antialias, exclude;
    int64_t in[4], out[4];
    float scales[4]; /* 0 in front: sizes are given */
    float roi[8];
    const char *policy;
    int64_t sizes[4]; /* with a policy: what is asked for */
} resize_case;

#define HALF "half_pixel"
#define ASYM "asymmetric"
#define ALIGN "align_corners"
#define CROP "tf_crop_and_resize"

static const resize_case cases[] = {
    {"linear", HALF, .in = {1, 3, 5, 7}, .out = {1, 3, 10, 14}, .scales = {1, 1, 2, 2}},
    {"linear", ASYM, .in = {2, 17, 4, 4}, .out = {2, 17, 8, 8}, .scales = {1, 1, 2, 2}},
    {"linear", ALIGN, .in = {1, 2, 6, 5}, .out = {1, 2, 4, 9}},
    {"linear", HALF, .antialias = 1, .in = {1, 3, 20, 30}, .out = {1, 3, 7, 8}},
    {"linear", HALF, .antialias = 1, .in = {1, 1, 200, 3}, .out = {1, 1, 5, 3}},
    {"linear", HALF, .exclude = 1, .in = {1, 16, 3, 3}, .out = {1, 16, 7, 8}},
    {"linear", "pytorch_half_pixel", .in = {1, 1, 4, 4}, .out = {1, 1, 1, 3}},
    {"linear", "half_pixel_symmetric", .in = {1, 1, 1, 4}, .out = {1, 1, 1, 2},
     .scales = {1, 1, 1, 0.6f}},
    {"linear", HALF, .in = {2, 3, 4, 5}, .out = {4, 5, 6, 7}}, /* all axes */
    {"linear", HALF, .in = {3, 4, 2, 5}, .out = {5, 4, 3, 5}},
    {"linear", HALF, .in = {1, 33, 9, 4}, .out = {1, 33, 12, 4}},
    {"cubic", HALF, .a = -0.75, .in = {1, 3, 5, 7}, .out = {1, 3, 9, 4}},
    {"cubic", HALF, .a = -0.5, .exclude = 1, .in = {1, 20, 4, 4}, .out = {1, 20, 8, 8}},
    {"cubic", ALIGN, .a = -0.75, .in = {1, 1, 4, 4}, .out = {1, 1, 8, 3},
     .scales = {1, 1, 2, 0.8f}},
    {"cubic", HALF, .a = -0.75, .antialias = 1, .in = {1, 2, 30, 31}, .out = {1, 2, 6, 17}},
    {"linear", CROP, .in = {1, 3, 6, 7}, .out = {1, 3, 5, 4},
     .roi = {0, 0, 0.2f, -0.3f, 1, 1, 0.9f, 0.7f}},
    {"nearest", CROP, .nearest = "floor", .in = {1, 3, 6, 7}, .out = {1, 3, 5, 4},
     .roi = {0, 0, 0.2f, 0.5f, 1, 1, 1.4f, 0.9f}},
    {"nearest", ASYM, .nearest = "floor", .in = {2, 5, 7, 9}, .out = {2, 5, 14, 18},
     .scales = {1, 1, 2, 2}},
    {"nearest", HALF, .nearest = "round_prefer_floor", .in = {1, 3, 6, 8}, .out = {1, 3, 3, 4}},
    {"nearest", HALF, .nearest = "round_prefer_ceil", .in = {1, 3, 6, 8}, .out = {1, 3, 3, 4}},
    {"nearest", ALIGN, .nearest = "ceil", .in = {1, 20, 4, 5}, .out = {1, 20, 9, 2}},
    {"nearest", "tf_half_pixel_for_nn", .nearest = "floor", .in = {1, 2, 4, 4},
     .out = {1, 2, 4, 8}},
    {"linear", HALF, .antialias = 1, .in = {3, 3, 6, 9}, .out = {1, 1, 2, 3},
     .policy = "not_larger", .sizes = {9, 9, 2, 4}},
    {"nearest", HALF, .nearest = "floor", .in = {4, 4, 4, 6}, .out = {7, 7, 7, 11},
     .policy = "not_smaller", .sizes = {1, 1, 7, 8}},
};

/* Source position of output j, and the output's width before rounding. */
static double position(const resize_case *c, int axis, double scale, double j)
{
    double in = (double)c->in[axis], out = (double)c->out[axis], width = scale * in;
    if (strcmp(c->where, ALIGN) == 0) {
        return width == 1 ? 0 : j * (in - 1) / (width - 1);
    }
    if (strcmp(c->where, ASYM) == 0) {
        return j / scale;
    }
    if (strcmp(c->where, CROP) == 0) {
        double begin = (double)c->roi[axis], end = (double)c->roi[4 + axis];
        return out > 1 ? begin * (in - 1) + j * (end - begin) * (in - 1) / (width - 1)
                       : 0.5 * (begin + end) * (in - 1);
    }
    if (strcmp(c->where, "tf_half_pixel_for_nn") == 0) {
        return (j + 0.5) / scale;
    }
    double plain = (j + 0.5) / scale - 0.5;
    if (strcmp(c->where, "half_pixel_symmetric") == 0) {
        return in / 2 * (1 - out / width) + plain;
    }
    return strcmp(c->where, "pytorch_half_pixel") == 0 && c->out[axis] == 1 ? 0 : plain;
}

static double kernel_weight(const resize_case *c, double d)
{
    d = fabs(d);
    if (c->mode[0] == 'l') {
        return d < 1 ? 1 - d : 0;
    }
    if (d <= 1) {
        return (c->a + 2) * d * d * d - (c->a + 3) * d * d + 1;
    }
    return d < 2 ? c->a * d * d * d - 5 * c->a * d * d + 8 * c->a * d - 4 * c->a : 0;
}

static int64_t clamped(int64_t i, int64_t n)
{
    return i < 0 ? 0 : i < n ? i : n - 1;
}

static int64_t nearest_index(const resize_case *c, double x)
{
    if (strcmp(c->nearest, "floor") == 0) {
        return (int64_t)floor(x);
    }
    if (strcmp(c->nearest, "ceil") == 0) {
        return (int64_t)ceil(x);
    }
    double up = strcmp(c->nearest, "round_prefer_ceil") == 0 ? floor(x + 0.5) : ceil(x - 0.5);
    return (int64_t)up;
}

/* Row j of the axis's matrix; false: outside, the extrapolation value. */
static bool matrix_row(const resize_case *c, int axis, double scale, int64_t j, double *row)
{
    int64_t in = c->in[axis];
    double x = position(c, axis, scale, (double)j), sum = 0;
    memset(row, 0, (size_t)in * sizeof(*row));
    if (strcmp(c->where, CROP) == 0 && (x < 0 || x > (double)(in - 1))) {
        return false;
    }
    if (c->mode[0] == 'n') {
        row[clamped(nearest_index(c, x), in)] = 1;
        return true;
    }
    double stretch = c->antialias && scale < 1 ? scale : 1;
    for (int64_t i = (int64_t)floor(x - 3 / stretch); (double)i <= x + 3 / stretch; i++) {
        double w = kernel_weight(c, ((double)i - x) * stretch);
        if (c->exclude && (i < 0 || i >= in)) {
            continue;
        }
        row[clamped(i, in)] += w;
        sum += w;
    }
    for (int64_t i = 0; i < in; i++) {
        row[i] /= sum;
    }
    return true;
}

static double scale_of(const resize_case *c, int axis)
{
    double shared = 0;
    if (c->scales[0] > 0) {
        return (double)c->scales[axis];
    }
    if (c->policy == NULL) {
        return (double)c->out[axis] / (double)c->in[axis];
    }
    for (int i = 0; i < 4; i++) {
        double scale = (double)c->sizes[i] / (double)c->in[i];
        bool less = strcmp(c->policy, "not_larger") == 0;
        shared = i == 0 || (less ? scale < shared : scale > shared) ? scale : shared;
    }
    return shared;
}

/* Applies all axes to data[0]; the result's place is returned. */
static const double *expect(const resize_case *c, double outside)
{
    int64_t shape[4];
    int at = 0;
    memcpy(shape, c->in, sizeof(shape));
    for (int axis = 0; axis < 4; axis++) {
        int64_t outer = 1, inner = 1, in = c->in[axis], out = c->out[axis];
        double row[256];
        for (int i = 0; i < 4; i++) {
            outer *= i < axis ? shape[i] : 1;
            inner *= i > axis ? shape[i] : 1;
        }
        for (int64_t j = 0; j < out; j++) {
            bool inside = matrix_row(c, axis, scale_of(c, axis), j, row);
            for (int64_t k = 0; k < outer * inner; k++) {
                double sum = inside ? 0 : outside;
                for (int64_t i = 0; inside && i < in; i++) {
                    if (row[i] != 0) {
                        sum += row[i] * data[at][(k / inner * in + i) * inner + k % inner];
                    }
                }
                data[1 - at][(k / inner * out + j) * inner + k % inner] = sum;
            }
        }
        shape[axis] = out;
        at = 1 - at;
    }
    return data[at];
}

/* Element i of an N, H, W, C array is this element of the N, C, H, W one. */
static int64_t first_place(const int64_t *shape, int64_t i)
{
    int64_t c = i % shape[1], s = i / shape[1] % (shape[2] * shape[3]);
    int64_t n = i / shape[1] / (shape[2] * shape[3]);
    return (n * shape[1] + c) * shape[2] * shape[3] + s;
}

static leat_array make_array(leat_dtype dtype, const int64_t *shape, bool last, void *bytes)
{
    leat_array array = {dtype, 4, {shape[0], shape[1], shape[2], shape[3]}, bytes, 0};
    if (last) {
        array.shape[1] = shape[2], array.shape[2] = shape[3], array.shape[3] = shape[1];
    }
    array.bytes = leat_dtype_bytes(dtype, oracle_count(&array));
    assert_true(array.bytes < sizeof(in_bytes));
    return array;
}

typedef struct resize_node {
    leat_attr attrs[9];
    leat_array inputs[4];
    test_kernel kernel;
} resize_node;

static void make_node(resize_node *node, const resize_case *c, bool last, leat_array *out)
{
    uint32_t n = 0;
    node->attrs[n++] = test_attr_string("mode", c->mode);
    node->attrs[n++] = test_attr_string("coordinate_transformation_mode", c->where);
    node->attrs[n++] = test_attr_float("cubic_coeff_a", (float)c->a);
    node->attrs[n++] = test_attr_int("antialias", c->antialias);
    node->attrs[n++] = test_attr_int("exclude_outside", c->exclude);
    node->attrs[n++] = test_attr_int("channels_last", last);
    node->attrs[n++] = test_attr_float("extrapolation_value", 5);
    if (c->nearest != NULL) {
        node->attrs[n++] = test_attr_string("nearest_mode", c->nearest);
    }
    if (c->policy != NULL) {
        node->attrs[n++] = test_attr_string("keep_aspect_ratio_policy", c->policy);
    }
    bool sizes = !(c->scales[0] > 0);
    const int64_t *asked = c->policy ? c->sizes : c->out;
    leat_array lists[3] = {{LEAT_DTYPE_F32, 1, {8}, (void *)c->roi, 32},
                           {LEAT_DTYPE_F32, 1, {4}, (void *)c->scales, 16},
                           {LEAT_DTYPE_I64, 1, {4}, (void *)asked, 32}};
    memcpy(node->inputs + 1, lists, sizeof(lists));
    if (sizes) {
        node->inputs[2].dtype = LEAT_DTYPE_UNDEFINED;
    }
    node->kernel = (test_kernel){.op = "Resize",
                                 .domain = last ? "leat" : "",
                                 .opset = last ? 1 : 19,
                                 .attrs = node->attrs,
                                 .n_attrs = n,
                                 .inputs = node->inputs,
                                 .n_inputs = sizes ? 4 : 3,
                                 .outputs = out,
                                 .n_outputs = 1};
}

static void run_case(const resize_case *c, leat_dtype dtype, bool last, double rtol, double atol)
{
    static double reordered[MOST];
    resize_node node;
    leat_array out = make_array(dtype, c->out, last, out_bytes);
    make_node(&node, c, last, &out);
    leat_array in = make_array(dtype, c->in, last, in_bytes);
    oracle_fill(&in, 3);
    for (size_t i = 0; i < oracle_count(&in); i++) {
        data[0][last ? first_place(c->in, (int64_t)i) : (int64_t)i] = oracle_get(&in, i);
    }
    const double *expected = expect(c, 5);
    for (size_t i = 0; i < oracle_count(&out); i++) {
        double v = expected[last ? first_place(c->out, (int64_t)i) : (int64_t)i];
        bool byte = dtype == LEAT_DTYPE_U8;
        reordered[i] = byte ? fmin(fmax(v, 0), 255) : v;
    }
    node.inputs[0] = in;
    for (int run = 0; run < 12; run++) {
        leat_error err = {0};
        node.kernel.isa = test_isas[run % 3];
        node.kernel.threads = run / 3 % 2 ? 4 : 1;
        node.kernel.constants = run / 6 ? ~1ull : 0;
        memset(out_bytes, 0xa5, sizeof(out_bytes));
        assert_ok(test_kernel_run(&node.kernel, NULL, &err), &err);
        oracle_assert_close(&out, reordered, rtol, atol);
        assert_int_equal(((uint8_t *)out_bytes)[out.bytes], 0xa5);
    }
}

static void resize_modes_match_dense_matrices(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
        bool exact = cases[k].mode[0] == 'n';
        for (int last = 0; last < 2; last++) {
            run_case(&cases[k], LEAT_DTYPE_F32, last, exact ? 0 : 1e-5, exact ? 0 : 2e-6);
            run_case(&cases[k], LEAT_DTYPE_F64, last, exact ? 0 : 1e-12, exact ? 0 : 1e-12);
            run_case(&cases[k], LEAT_DTYPE_F16, last, exact ? 0 : 1e-3, exact ? 0 : 1e-4);
            run_case(&cases[k], LEAT_DTYPE_U8, last, 0, exact ? 0 : 0.5001);
        }
    }
}

static void upsample_scales_by_attribute_and_input(void **state)
{
    (void)state;
    float x[] = {1, 2, 3, 4}, y[8], scales[] = {1, 2};
    static const float nearest[] = {1, 1, 2, 2, 3, 3, 4, 4},
                       linear[] = {1, 1.5f, 2, 2, 3, 3.5f, 4, 4};
    for (int k = 0; k < 6; k++) {
        leat_error err = {0};
        leat_array in[2] = {{LEAT_DTYPE_F32, 2, {2, 2}, x, sizeof(x)},
                            {LEAT_DTYPE_F32, 1, {2}, scales, sizeof(scales)}};
        leat_array out = {LEAT_DTYPE_F32, 2, {2, 4}, y, sizeof(y)};
        leat_attr attrs[] = {test_attr_string("mode", k % 2 ? "linear" : "nearest"),
                             {"scales", LEAT_ATTR_FLOATS, 2, {.floats = scales}}};
        /* Upsample 7, Upsample 9, Resize 10 */
        test_kernel kernel = {.op = k < 4 ? "Upsample" : "Resize",
                              .opset = k < 2   ? 7
                                       : k < 4 ? 9
                                               : 10,
                              .attrs = attrs,
                              .n_attrs = k < 2 ? 2 : 1,
                              .inputs = in,
                              .n_inputs = k < 2 ? 1 : 2,
                              .outputs = &out,
                              .n_outputs = 1};
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        assert_memory_equal(y, k % 2 ? linear : nearest, sizeof(y));
    }
}

static void resize_lists_that_make_no_sense_are_invalid(void **state)
{
    (void)state;
    static const float bad[][4] = {
        {1, 1, 2, 0.5f}, {1, 1, -2, 2}, {1, 1, NAN, 2}, {1, 1, INFINITY, 2}, {1, 1, 1e-30f, 2}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        for (int constant = 0; constant < 2; constant++) {
            leat_error err = {0};
            resize_node node;
            resize_case c = cases[0];
            memcpy(c.scales, bad[i], sizeof(c.scales));
            c.scales[0] = 1;
            leat_array out = make_array(LEAT_DTYPE_F32, c.out, false, out_bytes);
            make_node(&node, &c, false, &out);
            node.inputs[0] = make_array(LEAT_DTYPE_F32, c.in, false, in_bytes);
            node.kernel.constants = constant ? ~1ull : 0;
            assert_int_equal(test_kernel_run(&node.kernel, NULL, &err), LEAT_INVALID);
            assert_non_null(strstr(err.message, "Resize"));
        }
    }
}

static void resize_unknown_modes_are_unsupported(void **state)
{
    (void)state;
    static const char *const names[] = {"mode", "coordinate_transformation_mode", "nearest_mode",
                                        "keep_aspect_ratio_policy"};
    for (int i = 0; i < 4; i++) {
        leat_error err = {0};
        resize_node node;
        leat_array out = make_array(LEAT_DTYPE_F32, cases[0].out, false, out_bytes);
        make_node(&node, &cases[0], false, &out);
        node.inputs[0] = make_array(LEAT_DTYPE_F32, cases[0].in, false, in_bytes);
        node.attrs[0] = test_attr_string(names[i], "sideways");
        node.attrs[1] = test_attr_int("unused", 0);
        assert_int_equal(test_kernel_run(&node.kernel, NULL, &err), LEAT_UNSUPPORTED);
        assert_non_null(strstr(err.message, names[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resize_modes_match_dense_matrices),
        cmocka_unit_test(upsample_scales_by_attribute_and_input),
        cmocka_unit_test(resize_lists_that_make_no_sense_are_invalid),
        cmocka_unit_test(resize_unknown_modes_are_unsupported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

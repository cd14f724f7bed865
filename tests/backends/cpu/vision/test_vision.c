/* SPDX-License-Identifier: Apache-2.0 */
/* GridSample, RoiAlign, MaxRoiPool, DeformConv, Col2Im, MaxUnpool, NonMaxSuppression against their
 * definitions, written out pixel by pixel. */
#include "support/op_check.h"

#include <math.h>

#define MOST 16384

static double x[MOST], w[MOST], extra[3][MOST], out[MOST], want[MOST];
static int64_t list[MOST], sizes[2][8];

static const leat_dtype dtypes[] = {LEAT_DTYPE_F32, LEAT_DTYPE_F64, LEAT_DTYPE_F16,
                                    LEAT_DTYPE_BF16};

static double value(const leat_array *a, int64_t i)
{
    return oracle_get(a, (size_t)i);
}

/* Pixel of a plane; 0 outside. */
static double pixel(const leat_array *a, int64_t plane, int64_t i, int64_t j)
{
    int64_t h = a->shape[2], width = a->shape[3];
    return i < 0 || i >= h || j < 0 || j >= width ? 0 : value(a, (plane * h + i) * width + j);
}

static double tent(double d)
{
    return fmax(0, 1 - fabs(d));
}

/* Bilinear with zeros outside: every pixel by its distance. */
static double bilinear(const leat_array *a, int64_t plane, double y, double over)
{
    double sum = 0;
    for (int64_t i = 0; i < a->shape[2]; i++) {
        for (int64_t j = 0; j < a->shape[3]; j++) {
            sum += tent(y - (double)i) * tent(over - (double)j) * pixel(a, plane, i, j);
        }
    }
    return sum;
}

static void run(const char *op, leat_array *in, uint32_t n_in, leat_attr *attrs, uint32_t n_attrs,
                leat_array *y, double tolerance)
{
    test_kernel kernel = {.op = op,
                          .attrs = attrs,
                          .n_attrs = n_attrs,
                          .inputs = in,
                          .n_inputs = n_in,
                          .outputs = y,
                          .n_outputs = 1};
    const double *expected[] = {want};
    op_check(&kernel, expected, tolerance, tolerance);
}

/* A coordinate brought inside [0, size - 1] (align_corners: both paddings act on that range). */
static double inside(double at, double size, bool mirror)
{
    if (mirror) {
        double period = 2 * (size - 1);
        at = fmod(fmod(at, period) + period, period);
        return at > size - 1 ? period - at : at;
    }
    return fmin(fmax(at, 0), size - 1);
}

static void grid_sample_matches_definition(void **state)
{
    (void)state;
    static const char *const paddings[] = {"zeros", "border", "reflection"};
    const int64_t shape[] = {2, 3, 5, 7}, g_shape[] = {2, 4, 6, 2}, y_shape[] = {2, 3, 4, 6};
    for (int i = 0; i < 12; i++) {
        leat_dtype dtype = dtypes[i % 4];
        const char *padding = paddings[i / 4];
        leat_array in[2] = {op_filled(dtype, 4, shape, x, 1),
                            op_filled(LEAT_DTYPE_F32, 4, g_shape, w, 2)};
        leat_array y = op_array(dtype, 4, y_shape, out);
        leat_attr attrs[] = {test_attr_string("mode", "bilinear"),
                             test_attr_int("align_corners", 1),
                             test_attr_string("padding_mode", padding)};
        for (size_t k = 0; k < 96; k++) {
            oracle_set(&in[1], k, 2.6 * oracle_get(&in[1], k)); /* many places outside */
        }
        for (int64_t k = 0; k < 144; k++) {
            int64_t n = k / 72, c = k / 24 % 3, p = n * 24 + k % 24;
            double over = (value(&in[1], 2 * p) + 1) / 2 * 6;
            double down = (value(&in[1], 2 * p + 1) + 1) / 2 * 4;
            if (padding[0] != 'z') {
                over = inside(over, 7, padding[0] == 'r');
                down = inside(down, 5, padding[0] == 'r');
            }
            want[k] = bilinear(&in[0], n * 3 + c, down, over);
        }
        run("GridSample", in, 2, attrs, 3, &y, fmax(oracle_rtol(dtype, 4), 1e-6));
    }
}

/* Hostile grids read nothing outside, whatever the mode. */
static void grid_sample_of_any_grid_stays_inside(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY, 1e30f, -1e30f, 3e9f};
    static const char *const modes[] = {"bilinear", "nearest", "bicubic"};
    static const char *const paddings[] = {"zeros", "border", "reflection"};
    const int64_t shape[] = {1, 1, 3, 4}, g_shape[] = {1, 1, 6, 2}, y_shape[] = {1, 1, 1, 6};
    for (int i = 0; i < 18; i++) {
        leat_array in[2] = {op_filled(LEAT_DTYPE_F32, 4, shape, x, 1),
                            op_array(LEAT_DTYPE_F32, 4, g_shape, w)};
        leat_array y = op_array(LEAT_DTYPE_F32, 4, y_shape, out);
        leat_attr attrs[] = {test_attr_string("mode", modes[i % 3]),
                             test_attr_string("padding_mode", paddings[i / 3 % 3]),
                             test_attr_int("align_corners", i / 9)};
        for (size_t k = 0; k < 12; k++) {
            ((float *)(void *)w)[k] = bad[k * (size_t)(i + 1) % 6];
        }
        test_kernel kernel = {.op = "GridSample",
                              .attrs = attrs,
                              .n_attrs = 3,
                              .inputs = in,
                              .n_inputs = 2,
                              .outputs = &y,
                              .n_outputs = 1};
        leat_error err = {0};
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        for (size_t k = 0; k < 6; k++) {
            assert_true(fabs(oracle_get(&y, k)) <= 4); /* a cubic overshoots a little */
        }
    }
}

static void roi_align_averages_samples(void **state)
{
    (void)state;
    const int64_t shape[] = {2, 3, 9, 11}, rois[] = {4, 4}, four = 4, y_shape[] = {4, 3, 2, 3};
    for (int d = 0; d < 4; d++) {
        leat_array in[3] = {op_filled(dtypes[d], 4, shape, x, 1), op_array(dtypes[d], 2, rois, w),
                            op_array(LEAT_DTYPE_I64, 1, &four, list)};
        leat_array y = op_array(dtypes[d], 4, y_shape, out);
        leat_attr attrs[] = {test_attr_int("output_height", 2), test_attr_int("output_width", 3),
                             test_attr_int("sampling_ratio", 2),
                             test_attr_float("spatial_scale", 0.5f)};
        for (int64_t r = 0; r < 4; r++) { /* inside, so that pixels outside do not matter */
            const double corners[] = {2 + r, 3 + r, 10 + 2 * r, 9 + r};
            list[r] = r % 2;
            for (int64_t k = 0; k < 4; k++) {
                oracle_set(&in[1], (size_t)(4 * r + k), corners[k]);
            }
        }
        for (int64_t i = 0; i < 72; i++) {
            int64_t r = i / 18, plane = list[r] * 3 + i / 6 % 3, row = i / 3 % 2, column = i % 3;
            double left = 0.5 * value(&in[1], 4 * r) - 0.5,
                   top = 0.5 * value(&in[1], 4 * r + 1) - 0.5;
            double width = 0.5 * value(&in[1], 4 * r + 2) - 0.5 - left;
            double height = 0.5 * value(&in[1], 4 * r + 3) - 0.5 - top;
            want[i] = 0;
            for (int k = 0; k < 4; k++) {
                double down = top + height / 2 * ((double)row + (k / 2 + 0.5) / 2);
                double over = left + width / 3 * ((double)column + (k % 2 + 0.5) / 2);
                want[i] += bilinear(&in[0], plane, down, over) / 4;
            }
        }
        run("RoiAlign", in, 3, attrs, 4, &y, oracle_rtol(dtypes[d], 16));
    }
}

static void roi_of_no_image_is_invalid(void **state)
{
    (void)state;
    const int64_t shape[] = {2, 1, 4, 4}, rois[] = {1, 4}, one = 1, y_shape[] = {1, 1, 1, 1};
    leat_array in[3] = {op_filled(LEAT_DTYPE_F32, 4, shape, x, 1),
                        op_filled(LEAT_DTYPE_F32, 2, rois, w, 2),
                        op_array(LEAT_DTYPE_I64, 1, &one, list)};
    leat_array y = op_array(LEAT_DTYPE_F32, 4, y_shape, out);
    test_kernel kernel = {
        .op = "RoiAlign", .inputs = in, .n_inputs = 3, .outputs = &y, .n_outputs = 1};
    for (int64_t bad = -1; bad < 3; bad += 3) {
        list[0] = bad;
        op_check_invalid(&kernel, "is of image");
    }
    list[0] = 0;
    oracle_set(&in[1], 2, NAN);
    op_check_invalid(&kernel, "not finite or too large");
    oracle_set(&in[1], 2, 1e9);
    op_check_invalid(&kernel, "not finite or too large");
    const int64_t five[] = {1, 5};
    leat_array pool[2] = {in[0], op_filled(LEAT_DTYPE_F32, 2, five, w, 2)};
    kernel.op = "MaxRoiPool";
    kernel.inputs = pool;
    kernel.n_inputs = 2;
    oracle_set(&pool[1], 0, 2);
    op_check_invalid(&kernel, "is of image 2");
}

static void deform_conv_matches_definition(void **state)
{
    (void)state;
    /* 2 groups of 2 channels, 2 offset groups, 3 x 2 taps, 5 x 7 places: more than a block */
    const int64_t shape[] = {2, 4, 11, 13}, w_shape[] = {6, 2, 3, 2}, six = 6;
    const int64_t o_shape[] = {2, 24, 11, 13}, m_shape[] = {2, 12, 11, 13},
                  y_shape[] = {2, 6, 11, 13};
    static const int64_t pads[] = {1, 0, 1, 1}, strides[] = {1, 1}, dilations[] = {1, 1};
    for (int d = 0; d < 4; d++) {
        leat_array in[5] = {op_filled(dtypes[d], 4, shape, x, 1),
                            op_filled(dtypes[d], 4, w_shape, w, 2),
                            op_filled(dtypes[d], 4, o_shape, extra[0], 3),
                            op_filled(dtypes[d], 1, &six, extra[1], 4),
                            op_filled(dtypes[d], 4, m_shape, extra[2], 5)};
        leat_array y = op_array(dtypes[d], 4, y_shape, out);
        leat_attr attrs[] = {test_attr_int("group", 2), test_attr_int("offset_group", 2),
                             test_attr_ints("pads", pads, 4), test_attr_ints("strides", strides, 2),
                             test_attr_ints("dilations", dilations, 2)};
        for (int64_t i = 0; i < 2 * 6 * 143; i++) {
            int64_t n = i / 858, o = i / 143 % 6, p = i % 143;
            want[i] = value(&in[3], o);
            for (int64_t k = 0; k < 12; k++) {
                int64_t c = o / 3 * 2 + k / 6, t = k % 6, g = n * 2 + c / 2;
                double down =
                    (double)(p / 13 - 1 + t / 2) + value(&in[2], ((g * 6 + t) * 2) * 143 + p);
                double over =
                    (double)(p % 13 + t % 2) + value(&in[2], ((g * 6 + t) * 2 + 1) * 143 + p);
                want[i] += value(&in[1], o * 12 + k) * value(&in[4], (g * 6 + t) * 143 + p) *
                           bilinear(&in[0], n * 4 + c, down, over);
            }
        }
        run("DeformConv", in, 5, attrs, 5, &y, oracle_rtol(dtypes[d], 16));
    }
}

static void col2im_adds_windows_up(void **state)
{
    (void)state;
    const int64_t two = 2, shape[] = {2, 3 * 6, 5 * 3}, y_shape[] = {2, 3, 9, 8};
    static const int64_t dilations[] = {2, 1}, strides[] = {2, 3}, pads[] = {1, 0, 2, 2};
    sizes[0][0] = 9;
    sizes[0][1] = 8;
    sizes[1][0] = 2;
    sizes[1][1] = 3;
    for (int d = 0; d < 4; d++) {
        leat_array in[3] = {op_filled(dtypes[d], 3, shape, x, 1),
                            op_array(LEAT_DTYPE_I64, 1, &two, sizes[0]),
                            op_array(LEAT_DTYPE_I64, 1, &two, sizes[1])};
        leat_array y = op_array(dtypes[d], 4, y_shape, out);
        leat_attr attrs[] = {test_attr_ints("dilations", dilations, 2),
                             test_attr_ints("strides", strides, 2),
                             test_attr_ints("pads", pads, 4)};
        memset(want, 0, sizeof(want));
        for (int64_t i = 0; i < 2 * 3 * 6 * 15; i++) {
            int64_t t = i / 15 % 6, b = i % 15;
            int64_t row = b / 3 * 2 - 1 + t / 3 * 2, column = b % 3 * 3 + t % 3;
            if (row >= 0 && row < 9 && column < 8) {
                want[(i / 90 * 9 + row) * 8 + column] += value(&in[0], i);
            }
        }
        test_kernel kernel = {.op = "Col2Im",
                              .attrs = attrs,
                              .n_attrs = 3,
                              .inputs = in,
                              .n_inputs = 3,
                              .outputs = &y,
                              .n_outputs = 1,
                              .constants = 6};
        for (int threads = 1; threads < 4; threads += 2) {
            leat_error err = {0};
            kernel.threads = threads;
            assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
            oracle_assert_close(&y, want, 4 * oracle_rtol(dtypes[d], 4), oracle_rtol(dtypes[d], 4));
        }
    }
}

static void max_unpool_puts_elements_back(void **state)
{
    (void)state;
    const int64_t shape[] = {2, 1, 2, 3}, y_shape[] = {2, 1, 5, 7};
    static const int64_t kernel_shape[] = {2, 2}, strides[] = {2, 2};
    leat_array in[2] = {op_filled(LEAT_DTYPE_F32, 4, shape, x, 1),
                        op_array(LEAT_DTYPE_I64, 4, shape, list)};
    leat_array y = op_array(LEAT_DTYPE_F32, 4, y_shape, out);
    leat_attr attrs[] = {test_attr_ints("kernel_shape", kernel_shape, 2),
                         test_attr_ints("strides", strides, 2)};
    memset(want, 0, sizeof(want));
    for (int64_t i = 0; i < 12; i++) { /* indices count over 2 x 1 x 4 x 6 */
        list[i] = i * 4 + 1;
        want[(list[i] / 24 * 5 + list[i] / 6 % 4) * 7 + list[i] % 6] = value(&in[0], i);
    }
    run("MaxUnpool", in, 2, attrs, 2, &y, 0);
    test_kernel kernel = {.op = "MaxUnpool",
                          .attrs = attrs,
                          .n_attrs = 2,
                          .inputs = in,
                          .n_inputs = 2,
                          .outputs = &y,
                          .n_outputs = 1};
    list[5] = 48;
    op_check_invalid(&kernel, "index 48 at position 5");
    list[5] = -1;
    op_check_invalid(&kernel, "index -1 at position 5");
}

/* Overlap of boxes given by two corners. */
static double overlap(const float *a, const float *b)
{
    double height =
        fmin(fmax(a[0], a[2]), fmax(b[0], b[2])) - fmax(fmin(a[0], a[2]), fmin(b[0], b[2]));
    double width =
        fmin(fmax(a[1], a[3]), fmax(b[1], b[3])) - fmax(fmin(a[1], a[3]), fmin(b[1], b[3]));
    double both = fmax(height, 0) * fmax(width, 0);
    double areas = fabs(((double)a[2] - a[0]) * ((double)a[3] - a[1])) +
                   fabs(((double)b[2] - b[0]) * ((double)b[3] - b[1]));
    return both / (areas - both);
}

static void nms_takes_the_best_that_do_not_overlap(void **state)
{
    (void)state;
    const int64_t boxes[] = {2, 50, 4}, scores[] = {2, 3, 50}, one = 1, room[] = {2 * 3 * 7, 3};
    int64_t most = 7, found[1], selected[42 * 3 + 2];
    float limits[] = {0.35f, 0.1f};
    leat_array in[5] = {
        op_filled(LEAT_DTYPE_F32, 3, boxes, x, 1), op_filled(LEAT_DTYPE_F32, 3, scores, w, 2),
        op_array(LEAT_DTYPE_I64, 1, &one, &most), op_array(LEAT_DTYPE_F32, 1, &one, &limits[0]),
        op_array(LEAT_DTYPE_F32, 1, &one, &limits[1])};
    leat_array outs[2] = {op_array(LEAT_DTYPE_I64, 2, room, selected),
                          op_array(LEAT_DTYPE_I64, 1, &one, found)};
    const float *b = (const float *)(const void *)x;
    float *s = (float *)(void *)w;
    s[10] = s[20] = 0.5f; /* a tie */
    for (int threads = 1; threads < 4; threads += 2) {
        leat_error err = {0};
        test_kernel kernel = {.op = "NonMaxSuppressionAll",
                              .domain = "leat",
                              .inputs = in,
                              .n_inputs = 5,
                              .outputs = outs,
                              .n_outputs = 2,
                              .threads = threads};
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        int64_t at = 0;
        for (int64_t c = 0; c < 6; c++) {
            bool gone[50] = {false};
            for (int64_t taken = 0; taken < most;) {
                int64_t best = -1;
                for (int64_t i = 0; i < 50; i++) {
                    bool counts = !gone[i] && s[c * 50 + i] > limits[1];
                    best = counts && (best < 0 || s[c * 50 + i] > s[c * 50 + best]) ? i : best;
                }
                if (best < 0) {
                    break;
                }
                for (int64_t i = 0; i < 50; i++) {
                    const float *first = b + (c / 3 * 50 + best) * 4,
                                *other = b + (c / 3 * 50 + i) * 4;
                    gone[i] = gone[i] || i == best || overlap(first, other) > (double)limits[0];
                }
                assert_int_equal(selected[3 * at], c / 3);
                assert_int_equal(selected[3 * at + 1], c % 3);
                assert_int_equal(selected[3 * at++ + 2], best);
                taken++;
            }
        }
        assert_int_equal(found[0], at);
        limits[0] = 1.5f;
        op_check_invalid(&kernel, "iou_threshold is 1.5");
        limits[0] = 0.35f;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grid_sample_matches_definition),
        cmocka_unit_test(grid_sample_of_any_grid_stays_inside),
        cmocka_unit_test(roi_align_averages_samples),
        cmocka_unit_test(roi_of_no_image_is_invalid),
        cmocka_unit_test(deform_conv_matches_definition),
        cmocka_unit_test(col2im_adds_windows_up),
        cmocka_unit_test(max_unpool_puts_elements_back),
        cmocka_unit_test(nms_takes_the_best_that_do_not_overlap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

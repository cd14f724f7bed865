/* SPDX-License-Identifier: Apache-2.0 */
/* Indices, lengths and boxes that come with the data and point elsewhere: each operator refuses
 * them by name, or gives what it defines for them, and writes nothing beyond its outputs (the
 * sanitizers watch reads). Trees have tests of their own in ml/test_tree.c. */
#include "support/op_check.h"

#include <math.h>
#include <stdlib.h>

#define MOST 4096

static double x[MOST], updates[MOST], out[MOST];
static int64_t indices[64];

/* An operator on f32 data with one input of indices, of which one is hostile. */
typedef struct indexed {
    const char *op, *domain, *says;
    int32_t opset;
    uint32_t at; /* the input that holds indices */
    uint32_t n_inputs;
    int32_t rank[3], y_rank;
    int64_t shape[3][3], y_shape[3];
    int64_t low, high; /* what is inside: [low, high) */
    const char *axis;  /* an attribute to be 1; NULL: none */
    bool only_i64;
} indexed;

static const indexed operators[] = {
    {"Gather", .says = "index", .opset = 22, .at = 1, .n_inputs = 2, .rank = {2, 1}, .y_rank = 2,
     .shape = {{3, 4}, {5}}, .y_shape = {3, 5}, .low = -4, .high = 4, .axis = "axis"},
    {"GatherElements", .says = "index", .opset = 22, .at = 1, .n_inputs = 2, .rank = {2, 2},
     .y_rank = 2, .shape = {{3, 4}, {2, 3}}, .y_shape = {2, 3}, .low = -3, .high = 3},
    {"GatherND", .says = "index", .opset = 22, .at = 1, .n_inputs = 2, .rank = {2, 2}, .y_rank = 2,
     .shape = {{3, 4}, {5, 1}}, .y_shape = {5, 4}, .low = -3, .high = 3, .only_i64 = true},
    {"ScatterElements", .says = "index", .opset = 22, .at = 1, .n_inputs = 3, .rank = {2, 2, 2},
     .y_rank = 2, .shape = {{3, 4}, {2, 3}, {2, 3}}, .y_shape = {3, 4}, .low = -3, .high = 3},
    {"Scatter", .says = "index", .opset = 9, .at = 1, .n_inputs = 3, .rank = {2, 2, 2}, .y_rank = 2,
     .shape = {{3, 4}, {2, 3}, {2, 3}}, .y_shape = {3, 4}, .low = -3, .high = 3},
    {"ScatterND", .says = "index", .opset = 22, .at = 1, .n_inputs = 3, .rank = {2, 2, 2},
     .y_rank = 2, .shape = {{3, 4}, {2, 1}, {2, 4}}, .y_shape = {3, 4}, .low = -3, .high = 3,
     .only_i64 = true},
    {"ReverseSequence", .says = "sequence_lens", .opset = 22, .at = 1, .n_inputs = 2,
     .rank = {2, 1}, .y_rank = 2, .shape = {{3, 4}, {4}}, .y_shape = {3, 4}, .high = 4,
     .only_i64 = true},
    {"TensorScatter", .says = "at index", .opset = 24, .at = 2, .n_inputs = 3, .rank = {3, 3, 1},
     .y_rank = 3, .shape = {{2, 5, 3}, {2, 2, 3}, {2}}, .y_shape = {2, 5, 3}, .high = 4,
     .only_i64 = true},
    {"ArrayFeatureExtractor", .domain = "ai.onnx.ml", .says = "column", .opset = 1, .at = 1,
     .n_inputs = 2, .rank = {2, 1}, .y_rank = 2, .shape = {{3, 4}, {2}}, .y_shape = {3, 2},
     .high = 4, .only_i64 = true},
};

static void set_index(const leat_array *list, size_t i, int64_t value)
{
    if (list->dtype == LEAT_DTYPE_I32) {
        ((int32_t *)list->data)[i] = (int32_t)value;
    } else {
        ((int64_t *)list->data)[i] = value;
    }
}

static void try_index(const indexed *o, leat_dtype dtype, int64_t value)
{
    leat_array in[3], y = op_array(LEAT_DTYPE_F32, o->y_rank, o->y_shape, out);
    leat_attr axis = test_attr_int(o->axis ? o->axis : "", 1);
    memset(indices, 0, sizeof(indices));
    for (uint32_t i = 0; i < o->n_inputs; i++) {
        in[i] = i == o->at ? op_array(dtype, o->rank[i], o->shape[i], indices)
                           : op_filled(LEAT_DTYPE_F32, o->rank[i], o->shape[i], i ? updates : x, i);
    }
    test_kernel kernel = {.op = o->op,
                          .domain = o->domain,
                          .opset = o->opset,
                          .attrs = &axis,
                          .n_attrs = o->axis != NULL,
                          .inputs = in,
                          .n_inputs = o->n_inputs,
                          .outputs = &y,
                          .n_outputs = 1};
    size_t last = oracle_count(&in[o->at]) - 1;
    set_index(&in[o->at], last, value);
    if (value < o->low || value >= o->high) {
        op_check_invalid(&kernel, o->says);
    } else {
        const double *any[] = {NULL};
        op_check(&kernel, any, 0, 0);
    }
}

static void index_out_of_range_is_invalid(void **state)
{
    static const int64_t wide[] = {INT64_MIN, INT64_MIN + 1, -(1ll << 32) - 1,
                                   1ll << 32, INT64_MAX - 1, INT64_MAX};
    (void)state;
    for (size_t k = 0; k < sizeof(operators) / sizeof(operators[0]); k++) {
        const indexed *o = &operators[k];
        for (int narrow = 0; narrow < (o->only_i64 ? 1 : 2); narrow++) {
            leat_dtype dtype = narrow ? LEAT_DTYPE_I32 : LEAT_DTYPE_I64;
            for (int64_t i = o->low - 3; i < o->high + 4; i++) {
                try_index(o, dtype, i);
            }
            try_index(o, dtype, INT32_MIN);
            try_index(o, dtype, INT32_MAX);
            for (size_t w = 0; w < sizeof(wide) / sizeof(wide[0]) && !narrow; w++) {
                try_index(o, dtype, wide[w]);
            }
        }
    }
}

/* An index outside marks nothing. */
static void one_hot_index_outside_marks_nothing(void **state)
{
    static const double bad[] = {-4, 3, 1e30, -1e30, NAN, INFINITY};
    const int64_t n = 6, depth_shape = 1, two = 2, y_shape[] = {6, 3};
    double want[18];
    int64_t depth = 3;
    float values[] = {-1, 7};
    leat_array in[] = {op_array(LEAT_DTYPE_F32, 1, &n, x),
                       op_array(LEAT_DTYPE_I64, 1, &depth_shape, &depth),
                       op_array(LEAT_DTYPE_F32, 1, &two, values)};
    leat_array y = op_array(LEAT_DTYPE_F32, 2, y_shape, out);
    test_kernel kernel = {
        .op = "OneHot", .inputs = in, .n_inputs = 3, .outputs = &y, .n_outputs = 1};
    const double *expected[] = {want};
    (void)state;
    for (size_t i = 0; i < 6; i++) {
        oracle_set(&in[0], i, bad[i]);
    }
    for (size_t i = 0; i < 18; i++) {
        want[i] = -1;
    }
    op_check(&kernel, expected, 0, 0);
}

/* Boxes and scores that are no numbers: what is selected is within range, no box twice, and no box
 * whose score is NaN. */
static void nms_of_any_boxes_stays_inside(void **state)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY, 1e38f, -1e38f, 0};
    const int64_t boxes[] = {1, 40, 4}, scores[] = {1, 2, 40}, one = 1, room[] = {2 * 40, 3};
    static const int64_t limits[] = {40, 0, -1, INT64_MIN, INT64_MAX};
    static int64_t selected[80 * 3 + 2], found[3];
    int64_t most;
    float overlap = 0.5f, least = -INFINITY;
    leat_array in[] = {
        op_filled(LEAT_DTYPE_F32, 3, boxes, x, 1), op_filled(LEAT_DTYPE_F32, 3, scores, updates, 2),
        op_array(LEAT_DTYPE_I64, 1, &one, &most), op_array(LEAT_DTYPE_F32, 1, &one, &overlap),
        op_array(LEAT_DTYPE_F32, 1, &one, &least)};
    leat_array outs[] = {op_array(LEAT_DTYPE_I64, 2, room, selected),
                         op_array(LEAT_DTYPE_I64, 1, &one, found)};
    (void)state;
    for (size_t i = 0; i < 160; i += 3) {
        oracle_set(&in[0], i, (double)odd[i % 6]);
    }
    for (size_t i = 0; i < 80; i += 7) {
        oracle_set(&in[1], i, i % 2 ? NAN : INFINITY);
    }
    for (size_t l = 0; l < 5; l++) {
        for (int64_t centers = 0; centers < 2; centers++) {
            leat_attr attr = test_attr_int("center_point_box", centers);
            test_kernel kernel = {.op = "NonMaxSuppressionAll",
                                  .domain = "leat",
                                  .attrs = &attr,
                                  .n_attrs = 1,
                                  .inputs = in,
                                  .n_inputs = 5,
                                  .outputs = outs,
                                  .n_outputs = 2};
            leat_error err = {0};
            bool taken[80] = {false};
            most = limits[l];
            overlap = NAN;
            assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID);
            overlap = 0.5f;
            assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
            assert_true(found[0] >= 0 && found[0] <= 80 && (most > 0 || found[0] == 0));
            for (int64_t i = 0; i < found[0]; i++) {
                const int64_t *s = selected + 3 * i;
                assert_true(s[0] == 0 && s[1] >= 0 && s[1] < 2 && s[2] >= 0 && s[2] < 40);
                assert_false(taken[s[1] * 40 + s[2]]);
                assert_false(isnan(oracle_get(&in[1], (size_t)(s[1] * 40 + s[2]))));
                taken[s[1] * 40 + s[2]] = true;
            }
        }
    }
}

/* Regions of numbers that are none, of no image, or far outside. */
static void roi_of_any_box_is_refused_or_inside(void **state)
{
    static const double odd[] = {NAN, INFINITY, -INFINITY, 1e30, -1e30, -1, 3, 0.5, 1e5};
    const int64_t shape[] = {2, 1, 4, 4}, five[] = {1, 5}, y_shape[] = {1, 1, 2, 2}, two[] = {2, 2};
    leat_attr attrs[] = {test_attr_ints("pooled_shape", two, 2)};
    leat_array in[] = {op_filled(LEAT_DTYPE_F32, 4, shape, x, 1),
                       op_filled(LEAT_DTYPE_F32, 2, five, updates, 2)};
    leat_array y = op_array(LEAT_DTYPE_F32, 4, y_shape, out);
    test_kernel kernel = {.op = "MaxRoiPool",
                          .attrs = attrs,
                          .n_attrs = 1,
                          .inputs = in,
                          .n_inputs = 2,
                          .outputs = &y,
                          .n_outputs = 1};
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        for (size_t k = 0; k < sizeof(odd) / sizeof(odd[0]); k++) {
            leat_error err = {0};
            for (size_t j = 0; j < 5; j++) {
                oracle_set(&in[1], j, j == i ? odd[k] : j > 2 ? 2 : 0);
            }
            leat_status status = test_kernel_run(&kernel, NULL, &err);
            bool near = fabs(odd[k]) < 1e4, image = odd[k] >= 0 && odd[k] < 2;
            if (near) {
                assert_int_equal(status, i == 0 && !image ? LEAT_INVALID : LEAT_OK);
            } else if ((i == 1 || i == 2) && odd[k] != 1e5) { /* where it begins */
                assert_int_equal(status, LEAT_INVALID);
            }
            for (size_t b = 0; b < 4 && status == LEAT_OK; b++) {
                assert_true(fabs(oracle_get(&y, b)) <= 2); /* a pixel, or 0 outside */
            }
            assert_true(status == LEAT_OK || err.message[0] != '\0');
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(index_out_of_range_is_invalid),
        cmocka_unit_test(one_hot_index_outside_marks_nothing),
        cmocka_unit_test(nms_of_any_boxes_stays_inside),
        cmocka_unit_test(roi_of_any_box_is_refused_or_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

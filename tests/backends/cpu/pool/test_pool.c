/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "support/kernel.h"
#include "support/oracle.h"

#include <math.h>

#define MOST 40000

static uint64_t in_bytes[MOST], out_bytes[MOST], index_bytes[MOST];
static double expected[MOST];
static int64_t expected_index[MOST];

typedef struct pool_case {
    int spatial;
    int64_t n, c;
    int64_t in[3], out[3], kernel[3], stride[3], dilation[3], before[3], after[3];
    int include_pad;
} pool_case;

static const pool_case cases[] = {
    {1, 1, 3, {10}, {9}, {2}, {1}, {1}, {0}, {0}, 0},
    {1, 2, 17, {700}, {350}, {3}, {2}, {1}, {1}, {0}, 0}, /* longer than a piece of a row */
    {2, 1, 64, {7, 9}, {7, 9}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 0},
    {2, 2, 67, {8, 11}, {4, 6}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {0, 1}, 0}, /* tails of channels */
    {2, 2, 67, {8, 11}, {4, 6}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {0, 1}, 1},
    {2, 1, 5, {9, 9}, {2, 3}, {2, 3}, {3, 2}, {3, 2}, {0, 0}, {0, 0}, 0},  /* dilated */
    {2, 1, 16, {5, 6}, {3, 3}, {3, 2}, {2, 3}, {1, 1}, {0, 1}, {0, 0}, 1}, /* ceil: overhangs */
    {3, 1, 19, {4, 5, 6}, {2, 3, 5}, {2, 3, 2}, {2, 2, 1}, {1, 1, 1}, {0, 1, 0}, {0, 1, 0}, 0},
    {3, 2, 2, {3, 3, 3}, {1, 1, 1}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {0}, {0}, 0},
};

typedef struct one_window {
    double max, sum, squares;
    int64_t counted, index;
} one_window;

/* Reads every tap of the window at output position o, in plane `plane` of an N, C, ... array. */
static one_window window_at(const pool_case *p, const leat_array *in, int64_t plane,
                            const int64_t *o)
{
    one_window w = {-INFINITY, 0, 0, 0, 0};
    int64_t k[3] = {0};
    for (k[0] = 0; k[0] < p->kernel[0]; k[0]++) {
        for (k[1] = 0; k[1] < (p->spatial > 1 ? p->kernel[1] : 1); k[1]++) {
            for (k[2] = 0; k[2] < (p->spatial > 2 ? p->kernel[2] : 1); k[2]++) {
                int64_t flat = plane;
                bool inside = true, padded = true;
                for (int i = 0; i < p->spatial; i++) {
                    int64_t at = o[i] * p->stride[i] - p->before[i] + k[i] * p->dilation[i];
                    inside = inside && at >= 0 && at < p->in[i];
                    padded = padded && at < p->in[i] + p->after[i];
                    flat = flat * p->in[i] + at;
                }
                w.counted += p->include_pad ? padded : inside;
                if (inside) {
                    double x = oracle_get(in, (size_t)flat);
                    w.index = x > w.max ? flat : w.index;
                    w.max = x > w.max ? x : w.max;
                    w.sum += x;
                    w.squares += x * x;
                }
            }
        }
    }
    return w;
}

/* Fills expected and expected_index for N, C, ... data. */
static void expect(const pool_case *p, const char *op, const leat_array *in)
{
    int64_t size = 1;
    for (int i = 0; i < p->spatial; i++) {
        size *= p->out[i];
    }
    for (int64_t item = 0; item < p->n * p->c * size; item++) {
        int64_t o[3] = {0}, rest = item % size;
        for (int i = p->spatial - 1; i >= 0; i--) {
            o[i] = rest % p->out[i];
            rest /= p->out[i];
        }
        one_window w = window_at(p, in, item / size, o);
        expected[item] = op[0] == 'M'   ? w.max
                         : op[0] == 'A' ? w.sum / (double)w.counted
                                        : sqrt(w.squares);
        expected_index[item] = w.index;
    }
}

static leat_array make_array(const pool_case *p, leat_dtype dtype, const int64_t *spatial,
                             bool last, void *data)
{
    leat_array array = {dtype, p->spatial + 2, {p->n}, data, 0};
    array.shape[last ? p->spatial + 1 : 1] = p->c;
    for (int i = 0; i < p->spatial; i++) {
        array.shape[i + (last ? 1 : 2)] = spatial[i];
    }
    array.bytes = leat_dtype_bytes(dtype, oracle_count(&array));
    assert_true(array.bytes <= sizeof(in_bytes));
    return array;
}

/* Element i of an N, ..., C array is element *out of the N, C, ... one. */
static int64_t first_place(const leat_array *array, int64_t i)
{
    int64_t c = array->shape[array->rank - 1], size = 1;
    for (int32_t k = 1; k < array->rank - 1; k++) {
        size *= array->shape[k];
    }
    return (i / (size * c) * c + i % c) * size + i / c % size;
}

/* Runs one case in one layout and compares; `indices` asks for the second output, too. */
static void run_case(const pool_case *p, const char *op, leat_dtype dtype, bool last, bool indices)
{
    static double reordered[MOST];
    static uint64_t source_bytes[MOST];
    leat_array source = make_array(p, dtype, p->in, false, source_bytes);
    leat_array in = make_array(p, dtype, p->in, last, in_bytes);
    leat_array outputs[2] = {make_array(p, dtype, p->out, last, out_bytes),
                             make_array(p, LEAT_DTYPE_I64, p->out, last, index_bytes)};
    int64_t pads[6];
    for (int i = 0; i < p->spatial; i++) {
        pads[i] = p->before[i];
        pads[p->spatial + i] = p->after[i];
    }
    size_t s = (size_t)p->spatial, count = oracle_count(&outputs[0]);
    leat_attr attrs[] = {test_attr_ints("kernel_shape", p->kernel, s),
                         test_attr_ints("strides", p->stride, s),
                         test_attr_ints("dilations", p->dilation, s),
                         test_attr_ints("pads", pads, 2 * s),
                         test_attr_int("ceil_mode", 1),
                         test_attr_int("channels_last", last),
                         test_attr_int("count_include_pad", p->include_pad)};
    oracle_fill(&source, 7);
    expect(p, op, &source);
    for (size_t i = 0; i < oracle_count(&in); i++) {
        int64_t from = last ? first_place(&in, (int64_t)i) : (int64_t)i;
        oracle_set(&in, i, oracle_get(&source, (size_t)from));
    }
    for (size_t i = 0; i < count; i++) {
        reordered[i] = expected[last ? first_place(&outputs[0], (int64_t)i) : (int64_t)i];
    }
    for (int run = 0; run < 6; run++) {
        leat_error err = {0};
        test_kernel kernel = {.op = op,
                              .domain = last ? "leat" : "",
                              .attrs = attrs,
                              .n_attrs = 7,
                              .inputs = &in,
                              .n_inputs = 1,
                              .outputs = outputs,
                              .n_outputs = indices ? 2 : 1,
                              .isa = test_isas[run % 3],
                              .threads = run / 3 ? 3 : 1};
        memset(out_bytes, 0xa5, sizeof(out_bytes));
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        oracle_assert_close(&outputs[0], reordered, op[0] == 'M' ? 0 : oracle_rtol(dtype, 27),
                            op[0] == 'M' ? 0 : 1e-6);
        for (size_t i = 0; indices && i < count; i++) {
            int64_t at = last ? first_place(&outputs[0], (int64_t)i) : (int64_t)i;
            assert_int_equal(((int64_t *)index_bytes)[i], expected_index[at]);
        }
        assert_int_equal(((uint8_t *)out_bytes)[outputs[0].bytes], 0xa5);
    }
}

static const leat_dtype dtypes[] = {LEAT_DTYPE_F32,  LEAT_DTYPE_F64, LEAT_DTYPE_F16,
                                    LEAT_DTYPE_BF16, LEAT_DTYPE_U8,  LEAT_DTYPE_I8};

static void max_pool_matches_plain_loops(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
        for (int d = 0; d < 6; d++) {
            run_case(&cases[k], "MaxPool", dtypes[d], false, false);
            run_case(&cases[k], "MaxPool", dtypes[d], true, false);
        }
    }
}

static void max_pool_indices_name_the_largest(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
        run_case(&cases[k], "MaxPool", LEAT_DTYPE_F32, false, true);
        run_case(&cases[k], "MaxPool", LEAT_DTYPE_U8, true, true);
    }
}

static void average_pool_matches_plain_loops(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
        for (int d = 0; d < 4; d++) {
            run_case(&cases[k], "AveragePool", dtypes[d], false, false);
            run_case(&cases[k], "AveragePool", dtypes[d], true, false);
        }
    }
}

static void lp_pool_matches_plain_loops(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
        run_case(&cases[k], "LpPool", LEAT_DTYPE_F32, false, false);
    }
}

static void global_pools_cover_the_plane(void **state)
{
    (void)state;
    static const pool_case whole[] = {
        {2, 2, 70, {7, 9}, {1, 1}, {7, 9}, {1, 1}, {1, 1}, {0}, {0}, 0},
        {3, 1, 33, {3, 5, 7}, {1, 1, 1}, {3, 5, 7}, {1, 1, 1}, {1, 1, 1}, {0}, {0}, 0},
        {1, 1, 4, {300}, {1}, {300}, {1}, {1}, {0}, {0}, 0}};
    for (int k = 0; k < 3; k++) {
        for (int d = 0; d < 4; d++) {
            run_case(&whole[k], "AveragePool", dtypes[d], true, false);
        }
    }
    for (int k = 0; k < 3; k++) {
        for (int run = 0; run < 12; run++) {
            leat_error err = {0};
            const pool_case *p = &whole[k];
            bool last = run % 2, max = run / 2 % 2;
            leat_array in = make_array(p, LEAT_DTYPE_F32, p->in, false, in_bytes);
            leat_array out = make_array(p, LEAT_DTYPE_F32, p->out, last, out_bytes);
            leat_attr attr = test_attr_int("channels_last", last);
            oracle_fill(&in, 3);
            expect(p, max ? "MaxPool" : "AveragePool", &in);
            if (last) {
                static float copy[MOST];
                leat_array turned = make_array(p, LEAT_DTYPE_F32, p->in, true, copy);
                for (size_t i = 0; i < oracle_count(&in); i++) {
                    copy[i] = ((float *)in.data)[first_place(&turned, (int64_t)i)];
                }
                memcpy(in_bytes, copy, in.bytes);
                in = make_array(p, LEAT_DTYPE_F32, p->in, true, in_bytes);
            }
            test_kernel kernel = {.op = max ? "GlobalMaxPool" : "GlobalAveragePool",
                                  .domain = last ? "leat" : "",
                                  .attrs = &attr,
                                  .n_attrs = 1,
                                  .inputs = &in,
                                  .n_inputs = 1,
                                  .outputs = &out,
                                  .n_outputs = 1,
                                  .isa = test_isas[run / 4]};
            assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
            oracle_assert_close(&out, expected, max ? 0 : oracle_rtol(LEAT_DTYPE_F32, 300), 1e-6);
        }
    }
}

static void max_pool_nan_is_passed_over(void **state)
{
    (void)state;
    float x[] = {1, NAN, -2, NAN, NAN, 3}, y[3];
    static const int64_t two[] = {2};
    leat_attr attrs[] = {test_attr_ints("kernel_shape", two, 1), test_attr_ints("strides", two, 1)};
    leat_array in = {LEAT_DTYPE_F32, 3, {1, 1, 6}, x, sizeof(x)};
    leat_array out = {LEAT_DTYPE_F32, 3, {1, 1, 3}, y, sizeof(y)};
    for (int isa = 0; isa < 3; isa++) {
        leat_error err = {0};
        test_kernel kernel = {.op = "MaxPool",
                              .attrs = attrs,
                              .n_attrs = 2,
                              .inputs = &in,
                              .n_inputs = 1,
                              .outputs = &out,
                              .n_outputs = 1,
                              .isa = test_isas[isa]};
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        assert_true(y[0] == 1 && y[1] == -2 && y[2] == 3);
    }
}

static void same_padding_is_split_as_its_name_says(void **state)
{
    (void)state;
    float x[] = {1, 2, 3, 4}, y[4];
    static const int64_t two[] = {2};
    static const float upper[] = {3, 5, 7, 4}, lower[] = {1, 3, 5, 7};
    leat_array in = {LEAT_DTYPE_F32, 3, {1, 1, 4}, x, sizeof(x)};
    leat_array out = {LEAT_DTYPE_F32, 3, {1, 1, 4}, y, sizeof(y)};
    for (int k = 0; k < 2; k++) {
        leat_error err = {0};
        leat_attr attrs[] = {test_attr_ints("kernel_shape", two, 1),
                             test_attr_string("auto_pad", k ? "SAME_LOWER" : "SAME_UPPER"),
                             test_attr_int("count_include_pad", 1)};
        test_kernel kernel = {.op = "AveragePool",
                              .attrs = attrs,
                              .n_attrs = 3,
                              .inputs = &in,
                              .n_inputs = 1,
                              .outputs = &out,
                              .n_outputs = 1};
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        for (int i = 0; i < 4; i++) {
            assert_true(y[i] == (k ? lower[i] : upper[i]) / 2);
        }
    }
}

static void bad_attributes_are_refused(void **state)
{
    (void)state;
    static const int64_t two[] = {2, 2}, zero[] = {0}, minus[] = {-1, 0}, huge[] = {1ll << 40};
    leat_array in = {LEAT_DTYPE_F32, 3, {1, 1, 4}, in_bytes, 16};
    leat_array out = {LEAT_DTYPE_F32, 3, {1, 1, 3}, out_bytes, 12};
    leat_attr sets[][2] = {
        {test_attr_ints("kernel_shape", zero, 1), test_attr_int("ceil_mode", 0)},
        {test_attr_ints("strides", two, 1), test_attr_int("ceil_mode", 0)},
        {test_attr_ints("kernel_shape", two, 1), test_attr_ints("pads", minus, 2)},
        {test_attr_ints("kernel_shape", two, 1), test_attr_ints("pads", two, 1)},
        {test_attr_ints("kernel_shape", two, 1), test_attr_ints("dilations", huge, 1)},
        {test_attr_ints("kernel_shape", two, 1), test_attr_string("auto_pad", "SAME")},
    };
    for (size_t i = 0; i < sizeof(sets) / sizeof(*sets); i++) {
        leat_error err = {0};
        test_kernel kernel = {.op = "MaxPool",
                              .attrs = sets[i],
                              .n_attrs = 2,
                              .inputs = &in,
                              .n_inputs = 1,
                              .outputs = &out,
                              .n_outputs = 1};
        assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID);
        assert_non_null(strstr(err.message, "MaxPool"));
    }
    in.rank = 2;
    leat_error err = {0};
    test_kernel kernel = {.op = "MaxPool",
                          .attrs = sets[5],
                          .n_attrs = 1,
                          .inputs = &in,
                          .n_inputs = 1,
                          .outputs = &out,
                          .n_outputs = 1};
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(max_pool_matches_plain_loops),
        cmocka_unit_test(max_pool_indices_name_the_largest),
        cmocka_unit_test(average_pool_matches_plain_loops),
        cmocka_unit_test(lp_pool_matches_plain_loops),
        cmocka_unit_test(global_pools_cover_the_plane),
        cmocka_unit_test(max_pool_nan_is_passed_over),
        cmocka_unit_test(same_padding_is_split_as_its_name_says),
        cmocka_unit_test(bad_attributes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

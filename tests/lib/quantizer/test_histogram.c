/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test.h"

#include "quantizer/histogram.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COUNT 20000

/* A seeded normal number, by the sum of twelve uniform ones. */
static float normal(uint32_t *state)
{
    double sum = -6;
    for (int i = 0; i < 12; i++) {
        *state = *state * 1664525u + 1013904223u;
        sum += (*state >> 8) * 0x1p-24;
    }
    return (float)sum;
}

static lt_histogram *make(const float *data, size_t count)
{
    lt_histogram *h = calloc(1, sizeof(*h));
    assert_non_null(h);
    assert_true(lt_histogram_add(h, data, count));
    return h;
}

static float *normals(size_t count, float mean, float outlier)
{
    float *data = malloc(count * sizeof(*data));
    uint32_t state = 7;
    assert_non_null(data);
    for (size_t i = 0; i < count; i++) {
        data[i] = mean + normal(&state);
    }
    data[count / 2] = outlier;
    return data;
}

/* What quantizing each number really costs. */
static double error_of(const float *data, size_t count, lt_grid g)
{
    double sum = 0, least = g.is_signed ? -127 : 0, most = g.is_signed ? 127 : 255;
    for (size_t i = 0; i < count; i++) {
        double q = rint((double)data[i] / (double)g.scale) + g.zero;
        q = q < least ? least : q > most ? most : q;
        double e = (double)data[i] - (q - g.zero) * (double)g.scale;
        sum += e * e;
    }
    return sum / (double)count;
}

static void add_any_order_gives_the_same_bins(void **state)
{
    (void)state;
    float *data = normals(COUNT, 0.5f, 900);
    lt_histogram *whole = make(data, COUNT), *parts = calloc(1, sizeof(*parts));
    for (size_t at = 0; at < COUNT; at += 777) {
        size_t n = COUNT - at < 777 ? COUNT - at : 777;
        assert_true(lt_histogram_add(parts, data + COUNT - at - n, n));
    }
    assert_memory_equal(whole, parts, sizeof(*whole));
    uint64_t total = 0;
    for (size_t i = 0; i < LT_HISTOGRAM_BINS; i++) {
        total += whole->bins[i];
    }
    assert_int_equal(total, COUNT);
    assert_true(whole->limit == 1024 && whole->most == 900);
    free(whole);
    free(parts);
    free(data);
}

static void add_zeros_first_keeps_them(void **state)
{
    static const float zeros[3] = {0, -0.0f, 0}, more[2] = {-3, 1.5f};
    (void)state;
    lt_histogram *h = make(zeros, 3);
    float low, high;
    assert_true(h->limit == 0);
    lt_histogram_range(h, LEAT_RANGE_MSE, false, &low, &high);
    assert_true(low == 0 && high == 0);
    assert_true(lt_grid_of_range(low, high, false).scale == 1.0f);
    assert_true(lt_histogram_add(h, more, 2));
    assert_int_equal(h->count, 5);
    assert_int_equal(h->bins[LT_HISTOGRAM_BINS / 2], 3);
    free(h);
}

static void add_not_finite_adds_nothing(void **state)
{
    const float bad[3][2] = {{1, NAN}, {INFINITY, 2}, {-INFINITY, 2}};
    (void)state;
    lt_histogram *h = calloc(1, sizeof(*h)), *empty = calloc(1, sizeof(*h));
    for (int i = 0; i < 3; i++) {
        assert_false(lt_histogram_add(h, bad[i], 2));
        assert_memory_equal(h, empty, sizeof(*h));
    }
    free(h);
    free(empty);
}

static void add_largest_and_smallest_floats_stay_in_bins(void **state)
{
    static const float data[4] = {3.4028235e38f, -3.4028235e38f, 1e-45f, 0};
    (void)state;
    lt_histogram *h = make(data, 4);
    assert_int_equal(h->count, 4);
    assert_int_equal(h->bins[LT_HISTOGRAM_BINS - 1] + h->bins[0], 2);
    lt_grid grid = lt_grid_of_range(h->least, h->most, false);
    assert_true(isfinite(grid.scale) && grid.zero == 128);
    free(h);
}

static void grid_holds_zero_exactly(void **state)
{
    static const float ranges[][2] = {{-1, 3}, {0.5f, 2}, {-4, -1}, {-1e-6f, 5}, {0, 0}, {-7, 7}};
    (void)state;
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        lt_grid u = lt_grid_of_range(ranges[i][0], ranges[i][1], false);
        lt_grid s = lt_grid_of_range(ranges[i][0], ranges[i][1], true);
        assert_true(u.zero >= 0 && u.zero <= 255 && u.scale > 0 && !u.is_signed);
        assert_true(s.zero == 0 && s.scale > 0 && s.is_signed);
        /* both ends are within half a step of what the grid reaches */
        float low = fminf(ranges[i][0], 0), high = fmaxf(ranges[i][1], 0);
        assert_true((float)-u.zero * u.scale <= low + 0.51f * u.scale);
        assert_true((float)(255 - u.zero) * u.scale >= high - 0.51f * u.scale);
        assert_true(127 * s.scale >= fmaxf(-low, high) * 0.9999f);
    }
}

static void error_is_that_of_the_numbers(void **state)
{
    (void)state;
    float *data = normals(COUNT, 0.3f, 2);
    lt_histogram *h = make(data, COUNT);
    for (int symmetric = 0; symmetric < 2; symmetric++) {
        lt_grid g = lt_grid_of_range(-2.5f, 3, symmetric);
        double have = lt_histogram_error(h, g), want = error_of(data, COUNT, g);
        assert_true(fabs(have - want) < 0.03 * want);
    }
    free(h);
    free(data);
}

/* One outlier: everything that is cut must err less than the whole range, on the numbers. */
static void range_outlier_is_cut_where_it_pays(void **state)
{
    (void)state;
    float *data = normals(COUNT, 0, 40);
    lt_histogram *h = make(data, COUNT);
    for (int symmetric = 0; symmetric < 2; symmetric++) {
        float low, high;
        lt_histogram_range(h, LEAT_RANGE_MIN_MAX, symmetric, &low, &high);
        assert_true(low == h->least && high == 40);
        double whole = error_of(data, COUNT, lt_grid_of_range(low, high, symmetric));
        double mse = 0;
        for (int m = LEAT_RANGE_PERCENTILE; m <= LEAT_RANGE_ENTROPY; m++) {
            lt_histogram_range(h, (leat_quantize_range)m, symmetric, &low, &high);
            assert_true(low >= h->least && high <= 40 && low < -2 && high > 2);
            double e = error_of(data, COUNT, lt_grid_of_range(low, high, symmetric));
            mse = m == LEAT_RANGE_MSE ? e : mse;
            if (m != LEAT_RANGE_MSE) {
                assert_true(high < 10); /* a number in 20,000 is no reason to reach for it */
            }
        }
        assert_true(mse <= whole);
    }
    free(h);
    free(data);
}

static void range_percentile_leaves_out_as_many_as_it_says(void **state)
{
    (void)state;
    enum {
        N = 200000
    };
    float *data = malloc(N * sizeof(*data));
    for (int i = 0; i < N; i++) {
        data[i] = (float)i / N; /* 10 numbers at either end may go */
    }
    lt_histogram *h = make(data, N);
    float low, high;
    lt_histogram_range(h, LEAT_RANGE_PERCENTILE, false, &low, &high);
    size_t out = 0;
    for (int i = 0; i < N; i++) {
        out += data[i] > high;
    }
    assert_true(low == 0 && out <= N / 20000 && high < 1);
    free(h);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(add_any_order_gives_the_same_bins),
        cmocka_unit_test(add_zeros_first_keeps_them),
        cmocka_unit_test(add_not_finite_adds_nothing),
        cmocka_unit_test(add_largest_and_smallest_floats_stay_in_bins),
        cmocka_unit_test(grid_holds_zero_exactly),
        cmocka_unit_test(error_is_that_of_the_numbers),
        cmocka_unit_test(range_outlier_is_cut_where_it_pays),
        cmocka_unit_test(range_percentile_leaves_out_as_many_as_it_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Winograd convolution against double loops: sizes with tails, pads, groups, epilogues, threads,
 * and the error that winograd.h states. */
#include "support/test.h"

#include "conv/winograd.h"
#include "support/kernel.h"
#include "support/oracle.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const ways[] = {"winograd_4x4", "winograd_2x2"};

/* How the data is made. */
typedef enum fill {
    FILL_RANDOM, /* in [-1, 1) */
    FILL_OFFSET, /* 1000 + [-1, 1): sums cancel in the transforms */
    FILL_SIGNS   /* +-1 in the patterns that make the transformed values largest */
} fill;

typedef enum form {
    FORM_PLAIN,    /* no bias */
    FORM_BIAS,     /* bias */
    FORM_RESIDUAL, /* bias, residual and Relu */
    FORM_CLIP,     /* Clip to [-0.25, 0.5] */
    FORM_SIGMOID   /* bias and Sigmoid: no clamp */
} form;

typedef struct layer {
    int64_t batch, in, out, groups, height, width;
    int64_t pads[4]; /* top, left, bottom, right */
    fill fill;
    form form;
} layer;

/* One layer's arrays and what the definition gives, in double. */
typedef struct data {
    leat_array in[4]; /* X, W, B, residual */
    leat_array y;
    int64_t height, width; /* of y */
    double *exact;
    double *scale; /* per output channel: max |x| * sum |w| */
} data;

/* Signs of rows of B^T of F(4x4), so that rows are hit where tiles begin. */
static float pattern(int64_t i, int64_t row)
{
    static const int sign[6][6] = {{1, 1, -1, 1, 1, 1},  {1, -1, -1, 1, 1, 1}, {1, 1, -1, -1, 1, 1},
                                   {1, -1, -1, 1, 1, 1}, {1, 1, -1, -1, 1, 1}, {1, 1, 1, -1, 1, 1}};
    return (float)sign[row][i % 4 + (i % 8 == 4 ? 2 : 0)];
}

static void fill_x(const layer *l, leat_array *x)
{
    float *v = x->data;
    oracle_fill(x, 11);
    for (int64_t i = 0; i < l->batch * l->height * l->width * l->in; i++) {
        int64_t c = i % l->in, px = i / l->in % l->width, py = i / l->in / l->width % l->height;
        if (l->fill == FILL_OFFSET) {
            v[i] += 1000;
        } else if (l->fill == FILL_SIGNS) {
            v[i] = pattern(py, c % 6) * pattern(px, c / 6 % 6);
        }
    }
}

static double sum_at(const layer *l, const data *d, int64_t n, int64_t y, int64_t x, int64_t m)
{
    int64_t gi = l->in / l->groups, group = m / (l->out / l->groups);
    const float *in = d->in[0].data, *w = d->in[1].data;
    double sum = 0;
    for (int64_t k = 0; k < 9; k++) {
        int64_t py = y - l->pads[0] + k / 3, px = x - l->pads[1] + k % 3;
        if (py < 0 || py >= l->height || px < 0 || px >= l->width) {
            continue;
        }
        const float *pixel = in + ((n * l->height + py) * l->width + px) * l->in + group * gi;
        for (int64_t c = 0; c < gi; c++) {
            sum += (double)pixel[c] * (double)w[(m * gi + c) * 9 + k];
        }
    }
    return sum;
}

static double finish(const layer *l, const data *d, int64_t at, int64_t m, double v)
{
    v += l->form == FORM_PLAIN || l->form == FORM_CLIP ? 0 : oracle_get(&d->in[2], (size_t)m);
    v += l->form == FORM_RESIDUAL ? oracle_get(&d->in[3], (size_t)at) : 0;
    switch (l->form) {
    case FORM_RESIDUAL:
        return v > 0 ? v : 0;
    case FORM_CLIP:
        return v < -0.25 ? -0.25 : v > 0.5 ? 0.5 : v;
    case FORM_SIGMOID:
        return 1 / (1 + exp(-v));
    default:
        return v;
    }
}

static data make_data(const layer *l)
{
    data d = {.height = l->height + l->pads[0] + l->pads[2] - 2,
              .width = l->width + l->pads[1] + l->pads[3] - 2};
    d.in[0] = oracle_array(LEAT_DTYPE_F32, 4, (int64_t[]){l->batch, l->height, l->width, l->in});
    d.in[1] = oracle_array(LEAT_DTYPE_F32, 4, (int64_t[]){l->out, l->in / l->groups, 3, 3});
    d.in[2] = oracle_array(LEAT_DTYPE_F32, 1, (int64_t[]){l->out});
    d.in[3] = oracle_array(LEAT_DTYPE_F32, 4, (int64_t[]){l->batch, d.height, d.width, l->out});
    d.y = oracle_array(LEAT_DTYPE_F32, 4, (int64_t[]){l->batch, d.height, d.width, l->out});
    for (size_t i = 1; i < 4; i++) {
        oracle_fill(&d.in[i], 20 + i);
    }
    fill_x(l, &d.in[0]);
    int64_t pixels = l->batch * d.height * d.width, per = l->in / l->groups * 9;
    d.exact = calloc((size_t)(pixels * l->out), sizeof(double));
    d.scale = calloc((size_t)l->out, sizeof(double));
    for (int64_t i = 0; i < pixels * l->out; i++) {
        int64_t m = i % l->out, x = i / l->out % d.width, y = i / l->out / d.width % d.height;
        int64_t n = i / l->out / d.width / d.height;
        d.exact[i] = finish(l, &d, i, m, sum_at(l, &d, n, y, x, m));
    }
    for (int64_t i = 0; i < l->out * per; i++) {
        d.scale[i / per] +=
            fabs(oracle_get(&d.in[1], (size_t)i)) * (l->fill == FILL_OFFSET ? 1001 : 1);
    }
    return d;
}

static void free_data(data *d)
{
    for (size_t i = 0; i < 4; i++) {
        free(d->in[i].data);
    }
    free(d->y.data);
    free(d->exact);
    free(d->scale);
}

static uint32_t make_attrs(const layer *l, leat_attr *attrs)
{
    uint32_t n = 0;
    attrs[n++] = test_attr_ints("pads", l->pads, 4);
    attrs[n++] = test_attr_int("group", l->groups);
    attrs[n++] = test_attr_int("channels_last", 1);
    if (l->form == FORM_RESIDUAL) {
        attrs[n++] = test_attr_int("residual", 1);
        attrs[n++] = test_attr_string("activation", "Relu");
    } else if (l->form == FORM_CLIP) {
        attrs[n++] = test_attr_string("activation", "Clip");
        attrs[n++] = test_attr_float("activation_alpha", -0.25f);
        attrs[n++] = test_attr_float("activation_beta", 0.5f);
    } else if (l->form == FORM_SIGMOID) {
        attrs[n++] = test_attr_string("activation", "Sigmoid");
    }
    return n;
}

/* Runs the layer by one way into d->y, NaN where nothing was written. */
static void run_layer(const layer *l, data *d, const char *way, lt_cpu_isa isa, int32_t threads)
{
    leat_attr attrs[8];
    leat_array in[4] = {d->in[0], d->in[1], d->in[2], d->in[3]};
    if (l->form == FORM_PLAIN || l->form == FORM_CLIP) {
        in[2] = (leat_array){0};
    }
    const test_kernel kernel = {.op = "Conv",
                                .domain = "leat",
                                .attrs = attrs,
                                .n_attrs = make_attrs(l, attrs),
                                .inputs = in,
                                .n_inputs = l->form == FORM_RESIDUAL ? 4 : 3,
                                .constants = 0x6,
                                .outputs = &d->y,
                                .n_outputs = 1,
                                .isa = isa,
                                .threads = threads,
                                .way = way};
    leat_error err = {0};
    const char *name = "";
    memset(d->y.data, 0xff, d->y.bytes);
    if (test_kernel_run(&kernel, &name, &err) != LEAT_OK) {
        fail_msg("%s: %s", way, err.message);
    }
    assert_int_equal(strncmp(name, way, 8) == 0, strncmp(way, "winograd", 8) == 0);
}

/* Largest error in units of u * max |x| * sum |w|; *out_rms the root mean square in the same. */
static double measure(const layer *l, const data *d, double *out_rms)
{
    const float *y = d->y.data;
    size_t count = oracle_count(&d->y);
    double most = 0, sum = 0;
    for (size_t i = 0; i < count; i++) {
        double error = fabs((double)y[i] - d->exact[i]) * 0x1p24 / d->scale[i % (size_t)l->out];
        most = error > most || isnan(error) ? error : most;
        sum += error * error;
    }
    *out_rms = sqrt(sum / (double)count);
    return most;
}

static void check(const layer *l)
{
    data d = make_data(l);
    for (size_t isa = 0; isa < 3; isa++) {
        for (size_t way = 0; way < 2; way++) {
            double rms, bound = LT_WINOGRAD_ERROR(way == 0 ? 4 : 2);
            run_layer(l, &d, ways[way], test_isas[isa], isa == 1 ? 1 : 3);
            double most = measure(l, &d, &rms);
            if (!(most <= bound)) {
                fail_msg("%s, isa %d: %lldx%lldx%lldx%lld to %lld in %lld, pads %lld %lld %lld "
                         "%lld, form %d, fill %d: error %g > %g",
                         ways[way], (int)test_isas[isa], (long long)l->batch, (long long)l->height,
                         (long long)l->width, (long long)l->in, (long long)l->out,
                         (long long)l->groups, (long long)l->pads[0], (long long)l->pads[1],
                         (long long)l->pads[2], (long long)l->pads[3], (int)l->form, (int)l->fill,
                         most, bound);
            }
        }
    }
    free_data(&d);
}

static int64_t draw(uint64_t *state, int64_t low, int64_t high)
{
    return low + (int64_t)(oracle_random(state) * (double)(high - low + 1));
}

static void winograd_any_size_matches_double_loops(void **state)
{
    uint64_t seed = 1;
    (void)state;
    for (int i = 0; i < 120; i++) {
        layer l = {.batch = draw(&seed, 1, 3),
                   .in = draw(&seed, 1, 70),
                   .out = draw(&seed, 1, 70),
                   .groups = 1,
                   .height = draw(&seed, 1, 17),
                   .width = draw(&seed, 1, 17),
                   .fill = (fill)(i % 3),
                   .form = (form)(i % 5)};
        for (int k = 0; k < 4; k++) {
            l.pads[k] = draw(&seed, 0, 2);
        }
        l.pads[0] += l.height + l.pads[0] + l.pads[2] < 3 ? 2 : 0;
        l.pads[1] += l.width + l.pads[1] + l.pads[3] < 3 ? 2 : 0;
        check(&l);
    }
}

static void winograd_groups_match_double_loops(void **state)
{
    static const layer layers[] = {
        {1, 6, 4, 2, 5, 6, {1, 1, 1, 1}, FILL_RANDOM, FORM_RESIDUAL},
        {2, 51, 102, 3, 9, 7, {0, 1, 2, 1}, FILL_RANDOM, FORM_BIAS},
        {1, 64, 34, 2, 13, 14, {1, 1, 1, 1}, FILL_RANDOM, FORM_SIGMOID},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(layers) / sizeof(layers[0]); i++) {
        check(&layers[i]);
    }
}

/* Many tiles and channels: several blocks a thread, and all threads on one block. */
static void winograd_blocks_match_double_loops(void **state)
{
    static const layer layers[] = {
        {1, 64, 48, 1, 57, 50, {1, 1, 1, 1}, FILL_RANDOM, FORM_RESIDUAL},
        {3, 136, 96, 1, 14, 14, {1, 1, 1, 1}, FILL_RANDOM, FORM_BIAS},
        {1, 264, 160, 1, 7, 7, {1, 1, 1, 1}, FILL_RANDOM, FORM_RESIDUAL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(layers) / sizeof(layers[0]); i++) {
        check(&layers[i]);
    }
}

/* Beside the plain sum in f32, on the same data. */
static void winograd_error_is_near_the_plain_sums(void **state)
{
    static const double factors[2] = {LT_WINOGRAD_RMS_4X4, LT_WINOGRAD_RMS_2X2};
    (void)state;
    for (int64_t channels = 4; channels <= 256; channels *= 4) {
        layer l = {1, channels, 32, 1, 16, 16, {1, 1, 1, 1}, FILL_RANDOM, FORM_PLAIN};
        data d = make_data(&l);
        for (size_t isa = 0; isa < 3; isa++) {
            double plain, rms;
            run_layer(&l, &d, "igemm", test_isas[isa], 1);
            measure(&l, &d, &plain);
            for (size_t way = 0; way < 2; way++) {
                run_layer(&l, &d, ways[way], test_isas[isa], 1);
                double most = measure(&l, &d, &rms);
                print_message("%lld channels, isa %zu, %s: %.2f times the plain sum's, most %.2f\n",
                              (long long)channels, isa, ways[way], rms / plain, most);
                assert_true(rms <= factors[way] * plain);
            }
        }
        free_data(&d);
    }
}

static void plain_algorithms_offer_no_winograd(void **state)
{
    layer l = {1, 64, 64, 1, 56, 56, {1, 1, 1, 1}, FILL_RANDOM, FORM_PLAIN};
    leat_attr attrs[8];
    (void)state;
    data d = make_data(&l);
    test_kernel kernel = {.op = "Conv",
                          .domain = "leat",
                          .attrs = attrs,
                          .n_attrs = make_attrs(&l, attrs),
                          .inputs = d.in,
                          .n_inputs = 2,
                          .constants = 0x2,
                          .outputs = &d.y,
                          .n_outputs = 1,
                          .isa = LT_CPU_AVX512};
    const char *name = "";
    assert_int_equal(test_kernel_run(&kernel, &name, NULL), LEAT_OK);
    assert_int_equal(strncmp(name, "winograd_f32_4x4", 16), 0); /* by its cost */
    kernel.options.plain_algorithms = 1;
    assert_int_equal(test_kernel_run(&kernel, &name, NULL), LEAT_OK);
    assert_int_equal(strncmp(name, "gemm_f32", 8), 0);
    free_data(&d);
}

/* Where the definition gives NaN or infinity for one pixel, so does Winograd, at that pixel: it may
 * spread over the tile, but must not vanish. */
static void winograd_keeps_not_a_number(void **state)
{
    layer l = {1, 5, 3, 1, 9, 9, {1, 1, 1, 1}, FILL_RANDOM, FORM_RESIDUAL};
    (void)state;
    for (size_t way = 0; way < 2; way++) {
        for (size_t isa = 0; isa < 3; isa++) {
            data d = make_data(&l);
            ((float *)d.in[0].data)[(4 * 9 + 4) * 5 + 2] = NAN;
            run_layer(&l, &d, ways[way], test_isas[isa], 1);
            const float *y = d.y.data;
            for (int64_t k = 0; k < 9; k++) {
                assert_true(isnan(y[((3 + k / 3) * 9 + 3 + k % 3) * 3]));
            }
            assert_false(isnan(y[0]));
            free_data(&d);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(winograd_any_size_matches_double_loops),
        cmocka_unit_test(winograd_groups_match_double_loops),
        cmocka_unit_test(winograd_blocks_match_double_loops),
        cmocka_unit_test(winograd_error_is_near_the_plain_sums),
        cmocka_unit_test(plain_algorithms_offer_no_winograd),
        cmocka_unit_test(winograd_keeps_not_a_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

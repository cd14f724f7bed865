/* SPDX-License-Identifier: Apache-2.0 */
/* ConvDepthwise, by all ways, against double loops on all instruction sets. */
#include "support/test.h"

#include "conv/depthwise.h"
#include "support/kernel.h"
#include "support/oracle.h"

#include <math.h>
#include <stdlib.h>

typedef struct fused_case {
    int64_t batch, height, width, in_channels, channels;
    int64_t kernel[2], stride[2], dilation[2], pad[2]; /* pad: both sides */
} fused_case;

static const fused_case cases[] = {
    {2, 9, 13, 5, 35, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {1, 12, 15, 16, 48, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
    {1, 30, 29, 7, 33, {5, 5}, {1, 1}, {1, 1}, {2, 2}}, /* several bands a thread */
    {2, 11, 16, 19, 40, {5, 5}, {2, 2}, {1, 1}, {2, 2}},
    {1, 15, 9, 3, 17, {3, 2}, {3, 1}, {2, 2}, {2, 1}},
    {1, 8, 29, 24, 144, {4, 7}, {1, 3}, {1, 1}, {2, 3}},
    {3, 6, 6, 2, 3, {3, 3}, {1, 1}, {1, 1}, {1, 1}},  /* fewer channels than lanes */
    {1, 2, 2, 4, 18, {5, 5}, {1, 1}, {1, 1}, {2, 2}}, /* a filter wider than the data */
    {1, 141, 11, 6, 32, {3, 3}, {2, 1}, {1, 1}, {1, 1}},
    {1, 70, 60, 3, 600, {3, 3}, {1, 1}, {1, 1}, {0, 0}}, /* a line is much of a cache */
    {1, 13, 21, 9, 38, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {2, 9, 14, 4, 226, {5, 5}, {1, 1}, {1, 1}, {2, 2}}, /* blocks of channels */
    {2, 9, 15, 5, 8, {3, 3}, {1, 1}, {1, 1}, {1, 1}},   /* a vector of half the width, ... */
    {1, 11, 22, 3, 13, {5, 5}, {2, 2}, {1, 1}, {2, 2}}, /* and more than one */
};

/* What a run is like beyond its sizes. */
typedef struct form {
    leat_dtype dtype; /* of X and weights */
    leat_dtype y_dtype;
    const char *way;
    lt_cpu_isa isa;
    int32_t threads;
    int epilogue;  /* 0: none, no biases; 1: Clip, then Relu; 2: HardSwish, then Sigmoid */
    int32_t order; /* of tasks */
} form;

static double activated(double v, int kind, bool first)
{
    if (kind == 1) {
        return first ? fmin(0.75, fmax(-0.25, v)) : fmax(0, v);
    }
    if (kind == 2) {
        return first ? v * fmax(0, fmin(1, v / 6 + 0.5)) : 1 / (1 + exp(-v));
    }
    return v;
}

/* Arrays of one run: X, W1, B1, W2, B2. */
typedef struct run {
    const fused_case *c;
    int epilogue;
    leat_array in[5], y;
    double *exact[5];
    double *e;   /* between the parts, ... */
    bool rounds; /* ... to bf16 */
    int64_t out[2];
} run;

static run make_run(const fused_case *c, const form *f)
{
    run r = {.c = c, .epilogue = f->epilogue};
    const int64_t x[] = {c->batch, c->height, c->width, c->in_channels};
    const int64_t w1[] = {c->channels, c->in_channels, 1, 1};
    const int64_t w2[] = {c->channels, 1, c->kernel[0], c->kernel[1]};
    for (int i = 0; i < 2; i++) {
        r.out[i] =
            (x[1 + i] + 2 * c->pad[i] - (c->kernel[i] - 1) * c->dilation[i] - 1) / c->stride[i] + 1;
    }
    const int64_t y[] = {c->batch, r.out[0], r.out[1], c->channels};
    r.in[0] = oracle_filled(f->dtype, 4, x, 3);
    r.in[1] = oracle_filled(f->dtype, 4, w1, 4);
    r.in[2] = oracle_filled(LEAT_DTYPE_F32, 1, w1, 5);
    r.in[3] = oracle_filled(f->dtype, 4, w2, 6);
    r.in[4] = oracle_filled(LEAT_DTYPE_F32, 1, w1, 7);
    r.y = oracle_filled(f->y_dtype, 4, y, 8);
    for (int i = 0; i < 5; i++) {
        r.exact[i] = oracle_doubles(&r.in[i]);
    }
    return r;
}

/* Whether E is stored in bf16. */
static bool rounds_middle(const fused_case *c, const form *f)
{
    static const lt_cpu_activation_kind kinds[] = {LT_CPU_ACTIVATION_NONE, LT_CPU_ACTIVATION_CLIP,
                                                   LT_CPU_ACTIVATION_SIGMOID};
    const lt_conv_geometry g = {.in_channels = c->channels};
    const lt_cpu_activation activation = {.kind = kinds[f->epilogue], .beta = INFINITY};
    lt_cpu_device device;
    lt_cpu_device_detect(&device, f->isa);
    return f->dtype == LEAT_DTYPE_BF16 && f->y_dtype == LEAT_DTYPE_BF16 &&
           lt_depthwise_takes_bf16(&g, &activation, &device);
}

static double rounded(double v)
{
    uint16_t bits;
    leat_array one = {.dtype = LEAT_DTYPE_BF16, .data = &bits, .bytes = sizeof(bits)};
    oracle_set(&one, 0, v);
    return oracle_get(&one, 0);
}

static void free_run(run *r)
{
    for (int i = 0; i < 5; i++) {
        free(r->in[i].data);
        free(r->exact[i]);
    }
    free(r->y.data);
    free(r->e);
}

static void make_middle(run *r)
{
    const fused_case *c = r->c;
    int64_t pixels = c->batch * c->height * c->width;
    r->e = calloc((size_t)(pixels * c->channels), sizeof(*r->e));
    for (int64_t p = 0; p < pixels; p++) {
        for (int64_t m = 0; m < c->channels; m++) {
            double sum = r->epilogue ? r->exact[2][m] : 0;
            for (int64_t k = 0; k < c->in_channels; k++) {
                sum += r->exact[0][p * c->in_channels + k] * r->exact[1][m * c->in_channels + k];
            }
            double e = activated(sum, r->epilogue, true);
            r->e[p * c->channels + m] = r->rounds ? rounded(e) : e;
        }
    }
}

/* One output; adds up the sizes of its terms, which its rounding errors are in proportion to, and
 * raises *unit to what one of them changes by where E beside a tie is rounded the other way. */
static double output_at(const run *r, int64_t n, int64_t y, int64_t x, int64_t m, double *size,
                        double *unit)
{
    const fused_case *c = r->c;
    double sum = r->epilogue ? r->exact[4][m] : 0;
    *size = fabs(sum);
    for (int64_t ky = 0; ky < c->kernel[0]; ky++) {
        for (int64_t kx = 0; kx < c->kernel[1]; kx++) {
            int64_t row = y * c->stride[0] - c->pad[0] + ky * c->dilation[0];
            int64_t column = x * c->stride[1] - c->pad[1] + kx * c->dilation[1];
            if (row < 0 || row >= c->height || column < 0 || column >= c->width) {
                continue;
            }
            double w = r->exact[3][(m * c->kernel[0] + ky) * c->kernel[1] + kx];
            double e = r->e[((n * c->height + row) * c->width + column) * c->channels + m];
            sum += e * w;
            *size += fabs(w) * (fabs(e) + sqrt((double)c->in_channels) / 3);
            *unit = fmax(*unit, r->rounds ? fabs(w * e) / 128 : 0);
        }
    }
    return activated(sum, r->epilogue, false);
}

static void compare(run *r, const form *f)
{
    const fused_case *c = r->c;
    size_t count = oracle_count(&r->y), i = 0;
    double *expected = calloc(count, sizeof(*expected)), largest = 0, unit = 0;
    r->rounds = rounds_middle(c, f);
    make_middle(r);
    for (int64_t n = 0; n < c->batch; n++) {
        for (int64_t y = 0; y < r->out[0]; y++) {
            for (int64_t x = 0; x < r->out[1]; x++) {
                for (int64_t m = 0; m < c->channels; m++, i++) {
                    double size;
                    expected[i] = output_at(r, n, y, x, m, &size, &unit);
                    largest = fmax(largest, size);
                }
            }
        }
    }
    size_t length = (size_t)(c->in_channels + c->kernel[0] * c->kernel[1] + 2);
    oracle_assert_close(&r->y, expected, oracle_rtol(f->y_dtype, length),
                        unit + largest * oracle_rtol(LEAT_DTYPE_F32, length));
    free(expected);
}

static void check(const fused_case *c, const form *f)
{
    run r = make_run(c, f);
    const int64_t pads[] = {c->pad[0], c->pad[1], c->pad[0], c->pad[1]};
    leat_attr attrs[12] = {test_attr_int("channels_last", 1), test_attr_int("group", c->channels),
                           test_attr_ints("strides", c->stride, 2),
                           test_attr_ints("dilations", c->dilation, 2),
                           test_attr_ints("pads", pads, 4)};
    uint32_t n = 5;
    if (f->epilogue == 1) {
        attrs[n++] = test_attr_string("first_activation", "Clip");
        attrs[n++] = test_attr_float("first_activation_alpha", -0.25f);
        attrs[n++] = test_attr_float("first_activation_beta", 0.75f);
        attrs[n++] = test_attr_string("activation", "Relu");
    } else if (f->epilogue == 2) {
        attrs[n++] = test_attr_string("first_activation", "HardSwish");
        attrs[n++] = test_attr_string("activation", "Sigmoid");
    }
    if (f->dtype != LEAT_DTYPE_F32) {
        attrs[n++] = test_attr_int("compute", f->dtype);
        attrs[n++] = test_attr_int("storage", f->y_dtype);
    }
    leat_array none = {0};
    leat_array in[5] = {r.in[0], r.in[1], f->epilogue ? r.in[2] : none, r.in[3],
                        f->epilogue ? r.in[4] : none};
    test_kernel kernel = {.op = "ConvDepthwise",
                          .domain = "leat",
                          .attrs = attrs,
                          .n_attrs = n,
                          .inputs = in,
                          .n_inputs = 5,
                          .constants = 0x1e,
                          .outputs = &r.y,
                          .n_outputs = 1,
                          .isa = f->isa,
                          .threads = f->threads,
                          .order = f->order,
                          .way = f->way};
    leat_error err = {0};
    leat_status status = test_kernel_run(&kernel, NULL, &err);
    if (status != LEAT_OK) {
        fail_msg("%lld x %lld x %lld: %s", (long long)c->height, (long long)c->width,
                 (long long)c->channels, err.message);
    }
    compare(&r, f);
    free_run(&r);
}

static void check_all(leat_dtype dtype, leat_dtype y_dtype)
{
    static const char *const ways[] = {"ring", "whole"};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int n = 0; n < 3 * 2 * 3; n++) {
            const form f = {
                dtype,           y_dtype, ways[n / 3 % 2], test_isas[n % 3], n % 2 ? 1 : 3,
                (n + n / 6) % 3, n / 6};
            check(&cases[i], &f);
        }
    }
}

static void conv_depthwise_matches_double_loops(void **state)
{
    (void)state;
    check_all(LEAT_DTYPE_F32, LEAT_DTYPE_F32);
}

/* By ranges of channels: blocks of one panel and of several, the last one wider than the others or
 * narrower, units cut by lines, more lines than a band has, a filter that sees no line at all. */
static void conv_depthwise_by_channels_matches_double_loops(void **state)
{
    static const fused_case more[] = {
        {1, 14, 14, 24, 480, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
        {1, 14, 13, 16, 168, {5, 5}, {2, 2}, {1, 1}, {2, 2}},
        {2, 7, 7, 40, 200, {5, 5}, {1, 1}, {1, 1}, {2, 2}},
        {1, 131, 9, 5, 72, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
        {1, 5, 8, 6, 40, {3, 3}, {1, 1}, {1, 1}, {8, 1}},
        {1, 6, 5, 8, 16, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    };
    const size_t n_more = sizeof(more) / sizeof(more[0]),
                 n_cases = sizeof(cases) / sizeof(cases[0]);
    (void)state;
    for (size_t i = 0; i < n_cases + n_more; i++) {
        const fused_case *c = i < n_cases ? &cases[i] : &more[i - n_cases];
        for (int n = 0; n < 3 * 3 && c->channels >= 16; n++) {
            const form f = {LEAT_DTYPE_F32, LEAT_DTYPE_F32,  "channels", test_isas[n % 3],
                            n / 3 + 1,      (n + n / 3) % 3, n % 2};
            check(c, &f);
        }
    }
}

/* The first part by Strassen's product: odd rows, columns behind the last pair of panels. */
static void conv_depthwise_by_strassen_matches_double_loops(void **state)
{
    static const fused_case large[] = {
        {1, 9, 9, 34, 70, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
        {2, 12, 15, 48, 128, {5, 5}, {2, 1}, {1, 1}, {2, 2}},
    };
    (void)state;
    for (int n = 0; n < 2 * 3 * 3; n++) {
        const form f = {LEAT_DTYPE_F32, LEAT_DTYPE_F32, "strassen", test_isas[n / 2 % 3],
                        n % 2 ? 1 : 3,  n / 6,          0};
        check(&large[n % 2], &f);
        check(&large[(n + 1) % 2], &f);
    }
}

static void conv_depthwise_of_halves_matches_double_loops(void **state)
{
    (void)state;
    check_all(LEAT_DTYPE_BF16, LEAT_DTYPE_BF16);
    check_all(LEAT_DTYPE_F16, LEAT_DTYPE_F32);
}

static void conv_depthwise_weights_that_change_are_unsupported(void **state)
{
    const form f = {LEAT_DTYPE_F32, LEAT_DTYPE_F32, NULL, LT_CPU_AVX512, 1, 0, 0};
    run r = make_run(&cases[0], &f);
    leat_attr attr = test_attr_int("channels_last", 1);
    leat_error err = {0};
    test_kernel kernel = {.op = "ConvDepthwise",
                          .domain = "leat",
                          .attrs = &attr,
                          .n_attrs = 1,
                          .inputs = r.in,
                          .n_inputs = 5,
                          .constants = 0x16, /* not W2 */
                          .outputs = &r.y,
                          .n_outputs = 1};
    (void)state;
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_UNSUPPORTED);
    free_run(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conv_depthwise_matches_double_loops),
        cmocka_unit_test(conv_depthwise_by_channels_matches_double_loops),
        cmocka_unit_test(conv_depthwise_by_strassen_matches_double_loops),
        cmocka_unit_test(conv_depthwise_of_halves_matches_double_loops),
        cmocka_unit_test(conv_depthwise_weights_that_change_are_unsupported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

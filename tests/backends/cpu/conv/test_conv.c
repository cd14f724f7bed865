/* SPDX-License-Identifier: Apache-2.0 */
/* Every way to compute Conv and ConvTranspose against double loops, on all instruction sets. */
#include "support/test.h"

#include "support/kernel.h"
#include "support/oracle.h"

#include <math.h>
#include <stdlib.h>

/* Sizes of one convolution; three spatial axes, unused ones 1. */
typedef struct conv_case {
    const char *name;
    int32_t spatial;
    int64_t batch, in_channels, out_channels, groups;
    int64_t in[3], kernel[3], stride[3], dilation[3], pad[3]; /* pad: both sides */
} conv_case;

static const conv_case cases[] = {
    {"1x1", 2, 2, 24, 40, 1, {1, 7, 9}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {0}},
    {"1x1 stride 2", 2, 1, 19, 33, 1, {1, 9, 8}, {1, 1, 1}, {1, 2, 2}, {1, 1, 1}, {0}},
    {"3x3", 2, 2, 17, 35, 1, {1, 8, 11}, {1, 3, 3}, {1, 1, 1}, {1, 1, 1}, {0, 1, 1}},
    {"3x3 stride 2", 2, 1, 32, 16, 1, {1, 13, 12}, {1, 3, 3}, {1, 2, 2}, {1, 1, 1}, {0, 1, 1}},
    {"3x3 dilated", 2, 1, 20, 20, 1, {1, 11, 10}, {1, 3, 3}, {1, 1, 1}, {1, 2, 3}, {0, 2, 3}},
    {"few channels", 2, 2, 3, 34, 1, {1, 15, 17}, {1, 7, 7}, {1, 2, 2}, {1, 1, 1}, {0, 3, 3}},
    {"few channels, 1x5", 2, 1, 5, 7, 1, {1, 4, 19}, {1, 1, 5}, {1, 1, 3}, {1, 1, 1}, {0, 0, 2}},
    {"few channels, wide padding",
     2,
     1,
     2,
     3,
     1,
     {1, 3, 3},
     {1, 2, 2},
     {1, 1, 1},
     {1, 1, 1},
     {0, 3, 3}},
    {"1x1 stride 2, many channels",
     2,
     1,
     2048,
     40,
     1,
     {1, 13, 13},
     {1, 1, 1},
     {1, 2, 2},
     {1, 1, 1},
     {0}},
    {"3x3, many channels", 2, 1, 512, 70, 1, {1, 7, 7}, {1, 3, 3}, {1, 1, 1}, {1, 1, 1}, {0, 1, 1}},
    {"2x2 stride 2", 2, 2, 24, 1, 1, {1, 6, 9}, {1, 2, 2}, {1, 2, 2}, {1, 1, 1}, {0}},
    {"3x6 stride 3", 2, 1, 20, 17, 1, {1, 5, 7}, {1, 3, 6}, {1, 1, 3}, {1, 1, 1}, {0, 0, 3}},
    {"2x2x2 stride 2", 3, 1, 7, 5, 1, {3, 4, 6}, {2, 2, 2}, {2, 2, 2}, {1, 1, 1}, {0}},
    {"groups", 2, 2, 36, 48, 4, {1, 6, 7}, {1, 3, 3}, {1, 1, 1}, {1, 1, 1}, {0, 1, 1}},
    {"depthwise 3x3", 2, 2, 33, 33, 33, {1, 9, 13}, {1, 3, 3}, {1, 1, 1}, {1, 1, 1}, {0, 1, 1}},
    {"depthwise 3x3 stride 2",
     2,
     1,
     48,
     48,
     48,
     {1, 12, 15},
     {1, 3, 3},
     {1, 2, 2},
     {1, 1, 1},
     {0, 1, 1}},
    {"depthwise 5x5", 2, 1, 20, 20, 20, {1, 14, 11}, {1, 5, 5}, {1, 1, 1}, {1, 1, 1}, {0, 2, 2}},
    {"depthwise 5x5 stride 2",
     2,
     1,
     16,
     16,
     16,
     {1, 11, 16},
     {1, 5, 5},
     {1, 2, 2},
     {1, 1, 1},
     {0, 2, 2}},
    {"depthwise 5x5, blocks of channels",
     2,
     1,
     211,
     211,
     211,
     {1, 9, 9},
     {1, 5, 5},
     {1, 1, 1},
     {1, 1, 1},
     {0, 2, 2}},
    {"depthwise 5x5 stride 2, strips of 7",
     2,
     2,
     34,
     34,
     34,
     {1, 9, 41},
     {1, 5, 5},
     {1, 1, 2},
     {1, 1, 1},
     {0, 2, 2}},
    {"depthwise 3x3 stride 2, bands of lines",
     2,
     1,
     24,
     24,
     24,
     {1, 141, 15},
     {1, 3, 3},
     {1, 2, 2},
     {1, 1, 1},
     {0, 1, 1}},
    {"depthwise 4x7 stride 3",
     2,
     1,
     19,
     19,
     19,
     {1, 8, 29},
     {1, 4, 7},
     {1, 1, 3},
     {1, 1, 1},
     {0, 2, 3}},
    {"depthwise few channels",
     2,
     1,
     3,
     3,
     3,
     {1, 6, 6},
     {1, 3, 3},
     {1, 1, 1},
     {1, 1, 1},
     {0, 1, 1}},
    {"depthwise 8 channels", 2, 2, 8, 8, 8, {1, 6, 17}, {1, 3, 3}, {1, 1, 1}, {1, 1, 1}, {0, 1, 1}},
    {"depthwise 15 channels",
     2,
     1,
     15,
     15,
     15,
     {1, 9, 16},
     {1, 5, 5},
     {1, 1, 2},
     {1, 1, 1},
     {0, 2, 2}},
    {"depthwise dilated 7x2",
     2,
     1,
     40,
     40,
     40,
     {1, 15, 9},
     {1, 7, 2},
     {1, 3, 1},
     {1, 2, 2},
     {0, 4, 1}},
    {"depthwise, filter wider than the data",
     2,
     1,
     18,
     18,
     18,
     {1, 2, 2},
     {1, 5, 5},
     {1, 1, 1},
     {1, 1, 1},
     {0, 2, 2}},
    {"depthwise 3x3, strips of 7",
     2,
     1,
     38,
     38,
     38,
     {1, 9, 28},
     {1, 3, 3},
     {1, 1, 1},
     {1, 1, 1},
     {0, 1, 1}},
    {"depthwise 5x5, blocks of even channels",
     2,
     1,
     226,
     226,
     226,
     {1, 6, 15},
     {1, 5, 5},
     {1, 1, 1},
     {1, 1, 1},
     {0, 2, 2}},
    {"few channels, no padding", 2, 2, 3, 20, 1, {1, 9, 14}, {1, 3, 5}, {1, 2, 2}, {1, 1, 1}, {0}},
    {"1-d", 1, 2, 18, 20, 1, {1, 1, 21}, {1, 1, 3}, {1, 1, 2}, {1, 1, 1}, {0, 0, 1}},
    {"3-d", 3, 1, 6, 10, 1, {5, 6, 7}, {3, 3, 3}, {1, 2, 1}, {1, 1, 1}, {1, 1, 1}},
    {"3-d groups", 3, 2, 34, 4, 2, {4, 5, 3}, {2, 3, 1}, {1, 1, 1}, {2, 1, 1}, {0, 1, 0}},
};

static int64_t out_size(const conv_case *c, int axis, bool transposed)
{
    int64_t reach = (c->kernel[axis] - 1) * c->dilation[axis] + 1;
    if (transposed) {
        return (c->in[axis] - 1) * c->stride[axis] + reach - 2 * c->pad[axis];
    }
    return (c->in[axis] + 2 * c->pad[axis] - reach) / c->stride[axis] + 1;
}

/* Arrays and attributes of one run. */
typedef struct run {
    leat_array in[4]; /* X, W, B, residual */
    leat_array y;
    int64_t out[3];
    bool last;
    double *exact[2]; /* X and W, once for all the sums */
} run;

static leat_array data_array(const conv_case *c, leat_dtype dtype, bool last, int64_t channels,
                             const int64_t size[3])
{
    leat_array a = {.dtype = dtype, .rank = c->spatial + 2};
    a.shape[0] = c->batch;
    a.shape[last ? c->spatial + 1 : 1] = channels;
    size_t count = (size_t)(c->batch * channels);
    for (int32_t i = 0; i < c->spatial; i++) {
        a.shape[(last ? 1 : 2) + i] = size[3 - c->spatial + i];
        count *= (size_t)size[3 - c->spatial + i];
    }
    a.bytes = leat_dtype_bytes(dtype, count);
    a.data = calloc(1, a.bytes);
    return a;
}

static size_t data_index(const run *r, const int64_t size[3], int64_t channels, int64_t n,
                         int64_t ch, const int64_t at[3])
{
    int64_t pixel = (at[0] * size[1] + at[1]) * size[2] + at[2];
    int64_t pixels = size[0] * size[1] * size[2];
    return (size_t)(r->last ? (n * pixels + pixel) * channels + ch
                            : (n * channels + ch) * pixels + pixel);
}

static run make_run(const conv_case *c, leat_dtype dtype, bool last, bool transposed)
{
    run r = {.last = last};
    for (int i = 0; i < 3; i++) {
        r.out[i] = out_size(c, i, transposed);
    }
    r.in[0] = data_array(c, dtype, last, c->in_channels, c->in);
    r.y = data_array(c, dtype, last, c->out_channels, r.out);
    r.in[3] = data_array(c, dtype, last, c->out_channels, r.out);
    r.in[1].dtype = r.in[2].dtype = dtype;
    r.in[1].rank = c->spatial + 2;
    r.in[1].shape[0] = transposed ? c->in_channels : c->out_channels;
    r.in[1].shape[1] = (transposed ? c->out_channels : c->in_channels) / c->groups;
    size_t count = (size_t)(r.in[1].shape[0] * r.in[1].shape[1]);
    for (int32_t i = 0; i < c->spatial; i++) {
        r.in[1].shape[2 + i] = c->kernel[3 - c->spatial + i];
        count *= (size_t)c->kernel[3 - c->spatial + i];
    }
    r.in[1].bytes = leat_dtype_bytes(dtype, count);
    r.in[1].data = calloc(1, r.in[1].bytes);
    r.in[2].rank = 1;
    r.in[2].shape[0] = c->out_channels;
    r.in[2].bytes = leat_dtype_bytes(dtype, (size_t)c->out_channels);
    r.in[2].data = calloc(1, r.in[2].bytes);
    for (int i = 0; i < 4; i++) {
        oracle_fill(&r.in[i], (uint64_t)i + 3);
    }
    return r;
}

static void free_run(run *r)
{
    for (int i = 0; i < 4; i++) {
        free(r->in[i].data);
    }
    free(r->y.data);
}

/* The sum for one output, and how many terms it can have. */
static double conv_at(const conv_case *c, const run *r, int64_t n, int64_t m, const int64_t o[3],
                      bool transposed)
{
    int64_t gi = c->in_channels / c->groups, go = c->out_channels / c->groups, group = m / go;
    double sum = 0;
    int64_t k[3];
    for (k[0] = 0; k[0] < c->kernel[0]; k[0]++) {
        for (k[1] = 0; k[1] < c->kernel[1]; k[1]++) {
            for (k[2] = 0; k[2] < c->kernel[2]; k[2]++) {
                int64_t at[3];
                bool inside = true;
                for (int i = 0; i < 3; i++) {
                    at[i] = transposed ? o[i] + c->pad[i] - k[i] * c->dilation[i]
                                       : o[i] * c->stride[i] - c->pad[i] + k[i] * c->dilation[i];
                    if (transposed) {
                        inside &= at[i] >= 0 && at[i] % c->stride[i] == 0;
                        at[i] = at[i] >= 0 ? at[i] / c->stride[i] : -1;
                    }
                    inside &= at[i] >= 0 && at[i] < c->in[i];
                }
                int64_t tap = (k[0] * c->kernel[1] + k[1]) * c->kernel[2] + k[2];
                int64_t taps = c->kernel[0] * c->kernel[1] * c->kernel[2];
                size_t x = data_index(r, c->in, c->in_channels, n, group * gi, at);
                size_t step = data_index(r, c->in, c->in_channels, n, group * gi + 1, at) - x;
                for (int64_t ch = 0; ch < gi && inside; ch++, x += step) {
                    size_t w = (size_t)(transposed ? ((group * gi + ch) * go + m % go) * taps + tap
                                                   : (m * gi + ch) * taps + tap);
                    sum += r->exact[0][x] * r->exact[1][w];
                }
            }
        }
    }
    return sum;
}

/* form: 0 bias only; 1 bias, residual and Relu; 2 Clip to [-0.25, 0.5] without bias; 3 bias,
 * Sigmoid; 4 bias, ScaledHardSwish */
static double finish(double v, int form)
{
    switch (form) {
    case 1:
        return v > 0 ? v : 0;
    case 2:
        return v < -0.25 ? -0.25 : v > 0.5 ? 0.5 : v;
    case 3:
        return 1 / (1 + exp(-v));
    case 4:
        return 1.5 * v * fmax(0, fmin(1, v / 6 + 0.5)) - 0.75;
    default:
        return v;
    }
}

static uint32_t make_attrs(const conv_case *c, bool last, int form, leat_attr *attrs,
                           int64_t pads[6])
{
    uint32_t n = 0;
    int32_t first = 3 - c->spatial;
    for (int32_t i = 0; i < c->spatial; i++) {
        pads[i] = pads[c->spatial + i] = c->pad[first + i];
    }
    attrs[n++] = test_attr_ints("strides", c->stride + first, (size_t)c->spatial);
    attrs[n++] = test_attr_ints("dilations", c->dilation + first, (size_t)c->spatial);
    attrs[n++] = test_attr_ints("pads", pads, 2 * (size_t)c->spatial);
    attrs[n++] = test_attr_int("group", c->groups);
    if (last) {
        attrs[n++] = test_attr_int("channels_last", 1);
    }
    if (form == 1) {
        attrs[n++] = test_attr_int("residual", 1);
        attrs[n++] = test_attr_string("activation", "Relu");
    } else if (form == 2) {
        attrs[n++] = test_attr_string("activation", "Clip");
        attrs[n++] = test_attr_float("activation_alpha", -0.25f);
        attrs[n++] = test_attr_float("activation_beta", 0.5f);
    } else if (form == 3) {
        attrs[n++] = test_attr_string("activation", "Sigmoid");
    } else if (form == 4) {
        attrs[n++] = test_attr_string("activation", "ScaledHardSwish");
        attrs[n++] = test_attr_float("activation_alpha", 1.5f);
        attrs[n++] = test_attr_float("activation_beta", -0.75f);
    }
    return n;
}

/* What a run is like beyond its sizes. */
typedef struct conv_form {
    leat_dtype dtype;
    bool last;
    int epilogue; /* as for finish */
    lt_cpu_isa isa;
    bool transposed;
    uint64_t constants;
    /* Bits 0 to 4: X, W, B, residual, Y are f32, the others of dtype, in which it computes. */
    uint32_t wide;
    const char *way; /* NULL: by the definition */
} conv_form;

/* The same numbers as f32. */
static void widen(leat_array *a)
{
    leat_array wide = *a;
    wide.dtype = LEAT_DTYPE_F32;
    wide.bytes = 2 * a->bytes;
    wide.data = calloc(1, wide.bytes);
    for (size_t i = 0; i < oracle_count(a); i++) {
        oracle_set(&wide, i, oracle_get(a, i));
    }
    free(a->data);
    *a = wide;
}

static void check_form(const conv_case *c, const conv_form *f)
{
    const leat_dtype dtype = f->dtype;
    const bool last = f->last, transposed = f->transposed;
    const int form = f->epilogue;
    run r = make_run(c, dtype, last, transposed);
    leat_attr attrs[12];
    int64_t pads[6];
    for (int i = 0; i < 5; i++) {
        if (f->wide >> i & 1) {
            widen(i < 4 ? &r.in[i] : &r.y);
        }
    }
    bool bias = form != 2;
    leat_array none = {0};
    leat_array in[4] = {r.in[0], r.in[1], bias ? r.in[2] : none, r.in[3]};
    uint32_t n_attrs = make_attrs(c, last, form, attrs, pads);
    if (f->wide != 0) {
        attrs[n_attrs++] = test_attr_int("compute", dtype);
        attrs[n_attrs++] = test_attr_int("storage", r.y.dtype);
    }
    test_kernel kernel = {.op = transposed ? "ConvTranspose" : "Conv",
                          .domain = last || form ? "leat" : "",
                          .attrs = attrs,
                          .n_attrs = n_attrs,
                          .inputs = in,
                          .n_inputs = form == 1 ? 4
                                      : bias    ? 3
                                                : 2,
                          .constants = f->constants,
                          .outputs = &r.y,
                          .n_outputs = 1,
                          .isa = f->isa,
                          .threads = 3,
                          .way = f->way,
                          .options.plain_algorithms = f->way == NULL};
    leat_error err = {0};
    leat_status status = test_kernel_run(&kernel, NULL, &err);
    if (status != LEAT_OK) {
        fail_msg("%s: %s", c->name, err.message);
    }
    r.exact[0] = oracle_doubles(&r.in[0]);
    r.exact[1] = oracle_doubles(&r.in[1]);
    size_t count = (size_t)(c->batch * c->out_channels * r.out[0] * r.out[1] * r.out[2]);
    double *expected = calloc(count, sizeof(*expected));
    for (int64_t n = 0; n < c->batch; n++) {
        for (int64_t m = 0; m < c->out_channels; m++) {
            int64_t o[3];
            for (o[0] = 0; o[0] < r.out[0]; o[0]++) {
                for (o[1] = 0; o[1] < r.out[1]; o[1]++) {
                    for (o[2] = 0; o[2] < r.out[2]; o[2]++) {
                        size_t at = data_index(&r, r.out, c->out_channels, n, m, o);
                        double v = conv_at(c, &r, n, m, o, transposed);
                        v += bias ? oracle_get(&r.in[2], (size_t)m) : 0;
                        v += form == 1 ? oracle_get(&r.in[3], at) : 0;
                        expected[at] = finish(v, form);
                    }
                }
            }
        }
    }
    int64_t taps = c->kernel[0] * c->kernel[1] * c->kernel[2];
    size_t length = (size_t)(taps * c->in_channels / c->groups + 2);
    oracle_assert_close(&r.y, expected, oracle_rtol(r.y.dtype, length),
                        oracle_atol(r.y.dtype, length));
    free(expected);
    free(r.exact[0]);
    free(r.exact[1]);
    free_run(&r);
}

static void check(const conv_case *c, leat_dtype dtype, bool last, int form, lt_cpu_isa isa,
                  bool transposed, uint64_t constants)
{
    const conv_form f = {dtype, last, form, isa, transposed, constants, 0, NULL};
    check_form(c, &f);
}

#define N_CASES (sizeof(cases) / sizeof(cases[0]))

static void conv_channels_last_matches_double_loops(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        for (size_t isa = 0; isa < 3; isa++) {
            check(&cases[i], LEAT_DTYPE_F32, true, 0, test_isas[isa], false, 0x6);
            check(&cases[i], LEAT_DTYPE_F64, true, 0, test_isas[isa], false, 0x6);
        }
    }
}

static void conv_epilogues_match_double_loops(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        for (size_t isa = 0; isa < 3; isa++) {
            for (int form = 1; form <= 4; form++) {
                check(&cases[i], LEAT_DTYPE_F32, true, form, test_isas[isa], false, 0x6);
            }
        }
    }
}

/* All in f16 or bf16, as in a model of that type, and with f32 among them. */
static void conv_of_halves_matches_double_loops(void **state)
{
    static const leat_dtype dtypes[] = {LEAT_DTYPE_F16, LEAT_DTYPE_BF16};
    static const uint32_t wide[] = {0, 0x6, 0x7, 0x1e, 0x1f};
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        for (size_t n = 0; n < 3 * 2 * 5 * 5; n++) {
            const conv_form f = {dtypes[n % 2], true, (int)(n / 2 % 5), test_isas[n / 10 % 3],
                                 false,         0x6,  wide[n / 30],     NULL};
            check_form(&cases[i], &f);
        }
    }
}

/* Winograd's ways with data, residual and output in f16 or bf16; test_winograd.c has f32. */
static void conv_winograd_of_halves_matches_double_loops(void **state)
{
    static const char *const ways[] = {"winograd_4x4", "winograd_2x2"};
    static const leat_dtype dtypes[] = {LEAT_DTYPE_F16, LEAT_DTYPE_BF16};
    static const uint32_t wide[] = {0x6, 0x7, 0xe};
    static const conv_case large = {"3x3, several pieces",
                                    2,
                                    2,
                                    70,
                                    130,
                                    1,
                                    {1, 9, 6},
                                    {1, 3, 3},
                                    {1, 1, 1},
                                    {1, 1, 1},
                                    {0, 1, 1}};
    const conv_case *const some[] = {&cases[2], &cases[8], &large};
    (void)state;
    for (size_t n = 0; n < 2 * 2 * 3 * 3 * 4; n++) {
        const conv_form f = {dtypes[n % 2], true, (int)(n / 2 % 4), test_isas[n / 8 % 3],
                             false,         0x6,  wide[n / 24 % 3], ways[n / 72]};
        /* Every fifth form of the large one: 5 divides none of the counts, so that each type, form,
         * instruction set and way is among them. */
        for (size_t i = 0; i < (n % 5 == 0 ? 3 : 2); i++) {
            check_form(some[i], &f);
        }
    }
}

/* All heights of tiles by last panels of all widths, with and without columns that do not exist. */
static void conv_last_panels_match_double_loops(void **state)
{
    static const int64_t columns[] = {8, 9, 16, 17, 23, 24, 25, 33, 40, 41, 49, 56, 65, 72};
    (void)state;
    for (int64_t m = 5; m <= 29; m++) {
        for (size_t n = 0; n < sizeof(columns) / sizeof(columns[0]); n++) {
            const conv_case c = {"1x1, one line", 2,         1,         19,        columns[n], 1,
                                 {1, 1, m},       {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {0}};
            check(&c, LEAT_DTYPE_F32, true, (int)((m + (int64_t)n) % 5), LT_CPU_AVX512, false, 0x6);
        }
    }
}

/* Strassen's product where the data is a matrix: odd rows, tails of columns, chunks of k. */
static void conv_by_strassen_matches_double_loops(void **state)
{
    static const conv_case large[] = {
        {"1x1, odd rows", 2, 1, 34, 70, 1, {1, 9, 9}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {0}},
        {"1x1, images", 2, 3, 1090, 130, 1, {1, 5, 8}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {0}},
        {"1x1x1", 3, 1, 48, 200, 1, {3, 5, 4}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {0}},
    };
    (void)state;
    for (size_t n = 0; n < 3 * 3 * 5; n++) {
        const conv_form f = {
            LEAT_DTYPE_F32, true, (int)(n / 9), test_isas[n / 3 % 3], false, 0x6, 0, "strassen"};
        check_form(&large[n % 3], &f);
    }
}

/* Rows of several pixels: a line that they divide and one that they do not, strides, data padded
 * and not, columns in half a panel and a whole one. */
static void conv_spread_matches_double_loops(void **state)
{
    static const conv_case few[] = {
        {"5x5 to 1", 2, 2, 8, 1, 1, {1, 9, 33}, {1, 5, 5}, {1, 1, 1}, {1, 1, 1}, {0, 2, 2}},
        {"3x9 to 8", 2, 1, 8, 8, 1, {1, 7, 24}, {1, 3, 9}, {1, 1, 1}, {1, 1, 1}, {0, 1, 4}},
        {"3x9 to 7", 2, 1, 5, 7, 1, {1, 6, 31}, {1, 3, 9}, {1, 2, 1}, {1, 1, 1}, {0, 1, 4}},
        {"7x3 to 1", 2, 2, 32, 1, 1, {1, 10, 22}, {1, 7, 3}, {1, 1, 1}, {1, 1, 1}, {0, 3, 1}},
        {"3x3 to 2", 2, 2, 33, 2, 1, {1, 8, 19}, {1, 3, 3}, {1, 1, 1}, {1, 2, 1}, {0, 2, 1}},
        {"1x16 stride 2", 1, 1, 1, 1, 1, {1, 1, 301}, {1, 1, 16}, {1, 1, 2}, {1, 1, 1}, {0}},
        {"1x31 stride 3", 1, 3, 2, 3, 1, {1, 1, 97}, {1, 1, 31}, {1, 1, 3}, {1, 1, 1}, {0, 0, 15}},
        {"3x3x5", 3, 1, 4, 2, 1, {3, 5, 18}, {3, 3, 5}, {1, 1, 1}, {1, 1, 1}, {1, 1, 2}},
    };
    static const leat_dtype dtypes[] = {LEAT_DTYPE_F32, LEAT_DTYPE_BF16, LEAT_DTYPE_F16};
    static const uint32_t wide[] = {0, 0x7, 0x1e};
    (void)state;
    for (size_t i = 0; i < sizeof(few) / sizeof(few[0]); i++) {
        for (size_t n = 0; n < 3 * 3 * 5; n++) {
            const int form = (int)(n / 9);
            for (size_t k = 0; k < 3 && (form != 1 || few[i].in[2] % 11 == 0); k++) {
                const leat_dtype dtype = dtypes[n % 3];
                const conv_form f = {dtype,
                                     true,
                                     form,
                                     test_isas[n / 3 % 3],
                                     false,
                                     0x6,
                                     dtype == LEAT_DTYPE_F32 ? 0 : wide[k],
                                     "spread"};
                check_form(&few[i], &f);
            }
        }
    }
}

static void conv_channels_first_matches_double_loops(void **state)
{
    static const leat_dtype dtypes[] = {LEAT_DTYPE_F32, LEAT_DTYPE_F64, LEAT_DTYPE_F16,
                                        LEAT_DTYPE_BF16};
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        for (size_t d = 0; d < 4; d++) {
            check(&cases[i], dtypes[d], false, 0, LT_CPU_AVX512, false, 0x6);
        }
    }
}

static void conv_weights_that_change_match_double_loops(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        check(&cases[i], LEAT_DTYPE_F32, true, 0, LT_CPU_AVX512, false, 0);
    }
}

static void conv_transpose_matches_double_loops(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        bool possible = true;
        for (int axis = 0; axis < 3; axis++) {
            possible &= out_size(&cases[i], axis, true) > 0;
        }
        if (possible) {
            check(&cases[i], LEAT_DTYPE_F32, false, 0, LT_CPU_AVX512, true, 0x6);
            check(&cases[i], LEAT_DTYPE_F64, true, 0, LT_CPU_AVX512, true, 0);
            check(&cases[i], LEAT_DTYPE_F16, false, 0, LT_CPU_AVX512, true, 0);
            for (int isa = 0; isa < 3; isa++) { /* as products */
                check(&cases[i], LEAT_DTYPE_F32, true, 0, test_isas[isa], true, 0x6);
                check(&cases[i], LEAT_DTYPE_F64, true, 0, test_isas[isa], true, 0x6);
            }
        }
    }
}

/* Phases of 1, 2 and 4 taps at the same time on many threads: their products need workspaces of
 * different sizes, which once overlapped. */
static void conv_transpose_threads_have_their_own_workspace(void **state)
{
    const conv_case c = {.name = "phases of a stride of 2",
                         .spatial = 2,
                         .batch = 2,
                         .in_channels = 16,
                         .out_channels = 32,
                         .groups = 1,
                         .in = {1, 20, 24},
                         .kernel = {1, 3, 3},
                         .stride = {1, 2, 2},
                         .dilation = {1, 1, 1},
                         .pad = {0, 1, 1}};
    leat_attr attrs[12];
    int64_t pads[6];
    (void)state;
    run r = make_run(&c, LEAT_DTYPE_F32, true, true);
    const test_kernel kernel = {.op = "ConvTranspose",
                                .domain = "leat",
                                .attrs = attrs,
                                .n_attrs = make_attrs(&c, true, 0, attrs, pads),
                                .inputs = r.in,
                                .n_inputs = 3,
                                .constants = 0x6,
                                .outputs = &r.y,
                                .n_outputs = 1,
                                .threads = 8};
    void *first = NULL;
    for (int i = 0; i < 600; i++) {
        leat_error err = {0};
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        if (i == 0) {
            first = malloc(r.y.bytes);
            memcpy(first, r.y.data, r.y.bytes);
        }
        assert_memory_equal(r.y.data, first, r.y.bytes);
    }
    free(first);
    free_run(&r);
}

static void conv_bad_group_is_invalid(void **state)
{
    conv_case c = cases[0];
    (void)state;
    run r = make_run(&c, LEAT_DTYPE_F32, false, false);
    leat_attr attr = test_attr_int("group", 7);
    test_kernel kernel = {.op = "Conv",
                          .attrs = &attr,
                          .n_attrs = 1,
                          .inputs = r.in,
                          .n_inputs = 2,
                          .outputs = &r.y,
                          .n_outputs = 1};
    leat_error err = {0};
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID);
    assert_non_null(strstr(err.message, "groups"));
    free_run(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conv_channels_last_matches_double_loops),
        cmocka_unit_test(conv_epilogues_match_double_loops),
        cmocka_unit_test(conv_of_halves_matches_double_loops),
        cmocka_unit_test(conv_winograd_of_halves_matches_double_loops),
        cmocka_unit_test(conv_last_panels_match_double_loops),
        cmocka_unit_test(conv_by_strassen_matches_double_loops),
        cmocka_unit_test(conv_spread_matches_double_loops),
        cmocka_unit_test(conv_channels_first_matches_double_loops),
        cmocka_unit_test(conv_weights_that_change_match_double_loops),
        cmocka_unit_test(conv_transpose_matches_double_loops),
        cmocka_unit_test(conv_transpose_threads_have_their_own_workspace),
        cmocka_unit_test(conv_bad_group_is_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

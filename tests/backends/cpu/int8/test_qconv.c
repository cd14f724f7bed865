/* SPDX-License-Identifier: Apache-2.0 */
/* QConv, QLinearConv and ConvInteger against integer and double loops, on all instruction sets and
 * in both layouts. */
#include "backends/cpu/int8/quantized_case.h"

static const lt_cpu_isa isas[] = {LT_CPU_PORTABLE, LT_CPU_AVX2, LT_CPU_AVXVNNI, LT_CPU_AVX512};
#define N_ISAS (sizeof(isas) / sizeof(isas[0]))

typedef struct conv_case {
    const char *name;
    int64_t batch, in_channels, out_channels, groups;
    int64_t in[2], kernel[2], stride[2], dilation[2], pad[2]; /* pad: both sides */
} conv_case;

static const conv_case cases[] = {
    {"1x1", 2, 24, 40, 1, {7, 9}, {1, 1}, {1, 1}, {1, 1}, {0, 0}},
    {"1x1 stride 2", 1, 19, 33, 1, {9, 8}, {1, 1}, {2, 2}, {1, 1}, {0, 0}},
    {"3x3", 2, 17, 35, 1, {8, 11}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"3x3 stride 2", 1, 32, 16, 1, {13, 12}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
    {"3x3 dilated", 1, 20, 20, 1, {11, 10}, {3, 3}, {1, 1}, {2, 3}, {2, 3}},
    {"7x7, 3 channels", 2, 3, 34, 1, {15, 17}, {7, 7}, {2, 2}, {1, 1}, {3, 3}},
    {"few channels, 1x5", 1, 5, 7, 1, {4, 19}, {1, 5}, {1, 3}, {1, 1}, {0, 2}},
    {"groups", 2, 36, 48, 4, {6, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"depthwise 3x3", 2, 35, 35, 35, {9, 13}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"depthwise 3x3 stride 2", 1, 48, 48, 48, {12, 15}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
    {"depthwise 5x5", 1, 70, 70, 70, {14, 11}, {5, 5}, {1, 1}, {1, 1}, {2, 2}},
    {"depthwise dilated 7x2", 1, 40, 40, 40, {15, 9}, {7, 2}, {3, 1}, {2, 2}, {4, 1}},
    {"depthwise, several strips", 1, 144, 144, 144, {3, 101}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"depthwise, channels shared", 1, 712, 712, 712, {7, 6}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {"depthwise 5x5 stride 2", 1, 112, 112, 112, {9, 47}, {5, 5}, {2, 2}, {1, 1}, {2, 2}},
    {"depthwise 1x7", 2, 97, 97, 97, {3, 20}, {1, 7}, {1, 1}, {1, 2}, {0, 6}},
    {"depthwise 4x4, no padding", 1, 65, 65, 65, {7, 12}, {4, 4}, {1, 3}, {1, 1}, {0, 0}},
    {"depthwise 2x9", 1, 33, 33, 33, {4, 30}, {2, 9}, {1, 1}, {1, 1}, {1, 8}},
    {"depthwise, dilated far", 1, 64, 64, 64, {5, 90}, {3, 3}, {1, 1}, {1, 31}, {1, 31}},
    {"depthwise, too far for cells", 1, 20, 20, 20, {5, 190}, {5, 3}, {1, 1}, {1, 90}, {2, 90}},
    {"depthwise, filter wider than the data",
     1,
     18,
     18,
     18,
     {2, 2},
     {5, 5},
     {1, 1},
     {1, 1},
     {2, 2}},
};

static const q_epilogue epilogues[] = {
    {{LEAT_DTYPE_U8, 0.03f, 117}, {0}, {0}, NULL},
    {{LEAT_DTYPE_I8, 0.021f, -9}, {0}, {0}, "Relu"},
    {{LEAT_DTYPE_U8, 0.02f, 120}, {LEAT_DTYPE_U8, 0.017f, 99}, {LEAT_DTYPE_U8, 0.027f, 3}, "Relu"},
    {{LEAT_DTYPE_I8, 0.02f, 4}, {LEAT_DTYPE_I8, 0.03f, -7}, {LEAT_DTYPE_I8, 0.04f, 11}, NULL},
    {{0}, {LEAT_DTYPE_F32, 1, 0}, {LEAT_DTYPE_U8, 0.04f, 128}, "Clip"},
    {{0}, {LEAT_DTYPE_U8, 0.017f, 99}, {LEAT_DTYPE_U8, 0.027f, 3}, "Relu"},
    {{0}, {LEAT_DTYPE_I8, 0.03f, -7}, {LEAT_DTYPE_I8, 0.04f, 11}, NULL},
    {{0}, {0}, {0}, "Tanh"},
    {{LEAT_DTYPE_U8, 0.01f, 128}, {0}, {0}, "Tanh"},
};

typedef struct qconv_run {
    leat_array in[14];
    leat_array y;
    float scales[4];
    int8_t zeros[5];
    q_grid x, w;
    bool last, bias;
    int64_t out[2];
} qconv_run;

static leat_array data_array(const conv_case *c, leat_dtype dtype, bool last, int64_t channels,
                             const int64_t size[2])
{
    int64_t first[4] = {c->batch, channels, size[0], size[1]};
    int64_t then[4] = {c->batch, size[0], size[1], channels};
    return oracle_array(dtype, 4, last ? then : first);
}

static size_t data_index(bool last, const int64_t size[2], int64_t channels, const int64_t at[4])
{
    int64_t i = last ? ((at[0] * size[0] + at[2]) * size[1] + at[3]) * channels + at[1]
                     : ((at[0] * channels + at[1]) * size[0] + at[2]) * size[1] + at[3];
    return (size_t)i;
}

static void build(qconv_run *r, const conv_case *c, const q_epilogue *e, unsigned variant)
{
    memset(r, 0, sizeof(*r));
    r->x = (q_grid){variant & 1 ? LEAT_DTYPE_I8 : LEAT_DTYPE_U8, 0.011f, variant & 1 ? -20 : 131};
    r->w = (q_grid){variant & 2 ? LEAT_DTYPE_U8 : LEAT_DTYPE_I8, 0.009f, variant & 2 ? 128 : 0};
    r->w.zero += variant & 4 ? 3 : 0;
    r->last = variant & 8;
    r->bias = variant & 16;
    for (int i = 0; i < 2; i++) {
        int64_t reach = (c->kernel[i] - 1) * c->dilation[i] + 1;
        r->out[i] = (c->in[i] + 2 * c->pad[i] - reach) / c->stride[i] + 1;
    }
    int64_t per_group = c->in_channels / c->groups, k = per_group * c->kernel[0] * c->kernel[1];
    r->in[0] = data_array(c, r->x.dtype, r->last, c->in_channels, c->in);
    r->in[3] = oracle_array(r->w.dtype, 4,
                            (int64_t[]){c->out_channels, per_group, c->kernel[0], c->kernel[1]});
    q_fill(&r->in[0], variant + 1, false);
    q_fill(&r->in[3], variant + 2, false);
    r->scales[0] = r->x.scale;
    r->in[1] = q_float(&r->scales[0]);
    r->in[2] = q_zero(&r->x, &r->zeros[0]);
    r->in[4] = oracle_array(LEAT_DTYPE_F32, 1, variant & 32 ? &c->out_channels : (int64_t[]){1});
    for (size_t i = 0; i < oracle_count(&r->in[4]); i++) {
        ((float *)r->in[4].data)[i] = r->w.scale / (float)(sqrt((double)k) * (1 + i % 3));
    }
    r->in[5] = q_zero(&r->w, &r->zeros[1]);
    const q_grid *grids[3] = {&e->y, &e->r, &e->z};
    static const int at[3] = {6, 9, 11};
    for (int i = 0; i < 3; i++) {
        bool byte = grids[i]->dtype == LEAT_DTYPE_U8 || grids[i]->dtype == LEAT_DTYPE_I8;
        r->scales[i + 1] = grids[i]->scale;
        r->in[at[i]] = byte ? q_float(&r->scales[i + 1]) : (leat_array){0};
        r->in[at[i] + 1] = q_zero(grids[i], &r->zeros[i + 2]);
    }
    if (r->bias) {
        r->in[8] = oracle_array(LEAT_DTYPE_I32, 1, &c->out_channels);
        oracle_fill(&r->in[8], 5);
    }
    if (e->r.dtype != LEAT_DTYPE_UNDEFINED) {
        r->in[13] = data_array(c, e->r.dtype, r->last, c->out_channels, r->out);
        oracle_fill(&r->in[13], 6);
    }
    r->y = data_array(c, q_result_type(e), r->last, c->out_channels, r->out);
}

/* The exact sum at one output element. */
static int64_t sum_at(const conv_case *c, const qconv_run *r, const leat_array *x,
                      const leat_array *w, const int64_t at[4])
{
    int64_t per_group = c->in_channels / c->groups, sum = 0;
    int64_t group = at[1] / (c->out_channels / c->groups);
    for (int64_t i = 0; i < per_group * c->kernel[0] * c->kernel[1]; i++) {
        int64_t ky = i / c->kernel[1] % c->kernel[0], kx = i % c->kernel[1];
        int64_t y = at[2] * c->stride[0] - c->pad[0] + ky * c->dilation[0];
        int64_t z = at[3] * c->stride[1] - c->pad[1] + kx * c->dilation[1];
        if (y < 0 || y >= c->in[0] || z < 0 || z >= c->in[1]) {
            continue;
        }
        int64_t ci = i / (c->kernel[0] * c->kernel[1]);
        int64_t from[4] = {at[0], group * per_group + ci, y, z};
        int64_t v = (int64_t)oracle_get(x, data_index(r->last, c->in, c->in_channels, from));
        int64_t f =
            (int64_t)oracle_get(w, (size_t)(at[1] * per_group * c->kernel[0] * c->kernel[1] + i));
        sum += (v - r->x.zero) * (f - r->w.zero);
    }
    return sum;
}

static uint32_t make_attrs(const conv_case *c, bool last, const q_epilogue *e, leat_attr *attrs,
                           int64_t pads[4])
{
    uint32_t n = 0;
    pads[0] = pads[2] = c->pad[0];
    pads[1] = pads[3] = c->pad[1];
    attrs[n++] = test_attr_ints("strides", c->stride, 2);
    attrs[n++] = test_attr_ints("dilations", c->dilation, 2);
    attrs[n++] = test_attr_ints("pads", pads, 4);
    attrs[n++] = test_attr_int("group", c->groups);
    attrs[n++] = test_attr_int("channels_last", last);
    if (e->activation != NULL) {
        attrs[n++] = test_attr_string("activation", e->activation);
        attrs[n++] = test_attr_float("activation_alpha", -0.5f);
        attrs[n++] = test_attr_float("activation_beta", 0.5f);
    }
    return n;
}

static void check_elements(const conv_case *c, const qconv_run *r, const q_epilogue *e,
                           const char *what)
{
    bool integer = r->y.dtype == LEAT_DTYPE_I32;
    for (size_t i = 0; i < oracle_count(&r->y); i++) {
        int64_t rest = (int64_t)i, at[4];
        at[3] = rest % r->out[1], rest /= r->out[1];
        at[2] = rest % r->out[0], rest /= r->out[0];
        at[1] = rest % c->out_channels, at[0] = rest / c->out_channels;
        size_t y_at = data_index(r->last, r->out, c->out_channels, at);
        int64_t sum = sum_at(c, r, &r->in[0], &r->in[integer ? 1 : 3], at);
        if (integer) {
            assert_int_equal(((const int32_t *)r->y.data)[y_at], sum);
            continue;
        }
        size_t scale_at = oracle_count(&r->in[4]) == 1 ? 0 : (size_t)at[1];
        double scale = (double)r->x.scale * oracle_get(&r->in[4], scale_at);
        double bias = r->bias ? oracle_get(&r->in[8], (size_t)at[1]) : 0;
        double residual = r->in[13].data != NULL ? oracle_get(&r->in[13], y_at) : 0;
        q_check(e, oracle_get(&r->y, y_at), ((double)sum + bias) * scale, residual, 1, what);
    }
}

static void free_run(qconv_run *r)
{
    free(r->in[0].data);
    free(r->in[3].data);
    free(r->in[4].data);
    free(r->in[8].data);
    free(r->in[13].data);
    free(r->y.data);
}

static void check_qconv(const conv_case *c, const q_epilogue *e, unsigned variant, lt_cpu_isa isa,
                        uint64_t constants)
{
    qconv_run r;
    leat_error err = {0};
    leat_attr attrs[8];
    int64_t pads[4];
    char what[128];
    build(&r, c, e, variant);
    leat_array inputs[14];
    memcpy(inputs, r.in, sizeof(inputs));
    if (r.bias && e->r.dtype == q_result_type(e)) { /* the result over its residual */
        memcpy(r.y.data, r.in[13].data, r.y.bytes);
        inputs[13].data = r.y.data;
    }
    test_kernel kernel = {.op = "QConv",
                          .domain = "leat",
                          .attrs = attrs,
                          .n_attrs = make_attrs(c, r.last, e, attrs, pads),
                          .inputs = inputs,
                          .n_inputs = e->r.dtype != LEAT_DTYPE_UNDEFINED ? 14 : 9,
                          .constants = constants,
                          .outputs = &r.y,
                          .n_outputs = 1,
                          .isa = isa,
                          .threads = 2};
    assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
    snprintf(what, sizeof(what), "%s, zeros %d %d %d, variant %u, isa %d, constants %x", c->name,
             (int)e->y.zero, (int)e->r.zero, (int)e->z.zero, variant, (int)isa,
             (unsigned)constants);
    check_elements(c, &r, e, what);
    free_run(&r);
}

static void qconv_every_shape_and_epilogue_matches_loops(void **state)
{
    static const uint64_t constants[] = {0x1ffe, 0x1ff8, 0};
    (void)state;
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        for (size_t e = 0; e < sizeof(epilogues) / sizeof(epilogues[0]) * N_ISAS; e++) {
            for (unsigned i = 0; i < 3; i++) {
                unsigned variant = (unsigned)(c * 19 + e * 7 + i * 21) % 64;
                check_qconv(&cases[c], &epilogues[e / N_ISAS], variant, isas[e % N_ISAS],
                            constants[i]);
            }
        }
    }
}

/* Whole tiles of 14 rows by whole panels, which AVX-512 kernels take several at a time: more tiles
 * than one call has, taps, weights that stay in the cache and not, k from shortest to longest. */
static void qconv_whole_tiles_match_loops(void **state)
{
    static const conv_case whole[] = {
        {"1x1, 18 tiles", 2, 64, 96, 1, {14, 9}, {1, 1}, {1, 1}, {1, 1}, {0, 0}},
        {"1x1, 20 tiles, k 28", 1, 28, 32, 1, {14, 20}, {1, 1}, {1, 1}, {1, 1}, {0, 0}},
        {"1x1, 18 tiles of a task", 1, 28, 1536, 1, {7, 6}, {1, 1}, {1, 1}, {1, 1}, {0, 0}},
        {"1x1, k 52", 1, 52, 64, 1, {14, 9}, {1, 1}, {1, 1}, {1, 1}, {0, 0}},
        {"1x1, k 56", 1, 56, 64, 1, {14, 9}, {1, 1}, {1, 1}, {1, 1}, {0, 0}},
        {"1x1, k 24", 1, 24, 32, 1, {14, 4}, {1, 1}, {1, 1}, {1, 1}, {0, 0}},
        {"1x1, k 16, 18 tiles", 1, 16, 96, 1, {14, 6}, {1, 1}, {1, 1}, {1, 1}, {0, 0}},
        {"1x1, k 12", 1, 12, 32, 1, {14, 4}, {1, 1}, {1, 1}, {1, 1}, {0, 0}},
        {"1x1, three tiles and a half", 1, 64, 80, 1, {7, 7}, {1, 1}, {1, 1}, {1, 1}, {0, 0}},
        {"1x1, 14 and 13 rows, 384 KB", 1, 256, 1536, 1, {9, 3}, {1, 1}, {1, 1}, {1, 1}, {0, 0}},
        {"3x3, 6 tiles", 1, 32, 64, 1, {14, 6}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
        {"3x3, 60 channels", 1, 60, 64, 1, {14, 6}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
        {"3x3, groups", 1, 64, 64, 2, {7, 4}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
        {"7x7 over 3 channels", 2, 3, 64, 1, {17, 28}, {7, 7}, {2, 2}, {1, 1}, {3, 3}},
        {"5x3 over 13 channels", 1, 13, 70, 1, {14, 6}, {5, 3}, {1, 1}, {1, 1}, {2, 1}},
        {"3x3 over 3 channels, stride 2", 1, 3, 32, 1, {14, 20}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
        {"1x1, many channels", 1, 1024, 160, 1, {7, 4}, {1, 1}, {1, 1}, {1, 1}, {0, 0}},
        {"1x1, a panel and a half", 1, 40, 48, 1, {7, 8}, {1, 1}, {1, 1}, {1, 1}, {0, 0}},
    };
    static const q_epilogue ends[] = {
        {{LEAT_DTYPE_U8, 0.03f, 117}, {0}, {0}, NULL},
        {{LEAT_DTYPE_U8, 0.03f, 0}, {0}, {0}, "Relu"},
        {{LEAT_DTYPE_I8, 0.021f, -9}, {0}, {0}, NULL},
        {{LEAT_DTYPE_U8, 0.02f, 120},
         {LEAT_DTYPE_U8, 0.017f, 9},
         {LEAT_DTYPE_U8, 0.027f, 0},
         "Relu"},
        {{LEAT_DTYPE_I8, 0.02f, 4}, {LEAT_DTYPE_I8, 0.03f, -7}, {LEAT_DTYPE_I8, 0.04f, 11}, NULL},
        {{LEAT_DTYPE_I8, 0.02f, 4}, {LEAT_DTYPE_U8, 0.03f, 130}, {LEAT_DTYPE_U8, 0.04f, 99}, NULL},
        {{LEAT_DTYPE_U8, 0.02f, 0}, {LEAT_DTYPE_U8, 0.03f, 130}, {LEAT_DTYPE_U8, 0.04f, 99}, NULL},
        {{LEAT_DTYPE_U8, 0.02f, 255}, {LEAT_DTYPE_I8, 0.03f, 0}, {LEAT_DTYPE_U8, 0.04f, 0}, NULL},
        {{0}, {LEAT_DTYPE_U8, 0.017f, 9}, {LEAT_DTYPE_U8, 0.027f, 0}, "Relu"},
        {{0}, {LEAT_DTYPE_I8, 0.03f, -7}, {LEAT_DTYPE_I8, 0.04f, 11}, NULL},
    };
    (void)state;
    for (size_t c = 0; c < sizeof(whole) / sizeof(whole[0]); c++) {
        for (unsigned e = 0; e < sizeof(ends) / sizeof(ends[0]); e++) {
            for (unsigned i = 0; i < 4; i++) { /* u8 and s8 data, u8 and s8 weights, both layouts */
                unsigned variant = (unsigned)(c + e * 5 + i * 25) % 64 & ~4u;
                check_qconv(&whole[c], &ends[e], variant, isas[N_ISAS - 1 - i / 2 - i / 3], 0x1ffe);
            }
        }
    }
}

/* Zero points of padding count: ConvInteger's are inputs. */
static void conv_integer_is_exact(void **state)
{
    q_epilogue none = {{0}, {0}, {0}, NULL};
    (void)state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]) * 16; i++) {
        const conv_case *c = &cases[i / 16];
        qconv_run r;
        leat_error err = {0};
        leat_attr attrs[8];
        int64_t pads[4];
        build(&r, c, &none, i % 4 + (i & 4));
        free(r.y.data);
        r.y = data_array(c, LEAT_DTYPE_I32, false, c->out_channels, r.out);
        leat_array zeros[2] = {r.in[2], r.in[5]}, scales = r.in[4];
        memset(&r.in[4], 0, sizeof(r.in[4]));
        leat_array in[4] = {r.in[0], r.in[3], zeros[0], zeros[1]};
        uint32_t n_attrs = make_attrs(c, false, &none, attrs, pads);
        test_kernel kernel = {.op = "ConvInteger",
                              .attrs = attrs,
                              .n_attrs = n_attrs - 1,
                              .inputs = in,
                              .n_inputs = 4,
                              .constants = i & 1 ? 0xe : 0,
                              .outputs = &r.y,
                              .n_outputs = 1,
                              .isa = isas[(i + i / 4) % N_ISAS]};
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        r.in[1] = r.in[3];
        check_elements(c, &r, &none, c->name);
        free(scales.data);
        free_run(&r);
    }
}

static void qconv_bad_operands_are_refused(void **state)
{
    qconv_run r;
    leat_error err = {0};
    leat_attr attrs[8];
    int64_t pads[4], wrong = 3;
    (void)state;
    build(&r, &cases[0], &epilogues[0], 16);
    test_kernel kernel = {.op = "QConv",
                          .domain = "leat",
                          .attrs = attrs,
                          .n_attrs = make_attrs(&cases[0], false, &epilogues[0], attrs, pads),
                          .inputs = r.in,
                          .n_inputs = 9,
                          .outputs = &r.y,
                          .n_outputs = 1,
                          .isa = LT_CPU_PORTABLE};
    assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
    r.in[4].rank = 1, r.in[4].shape[0] = wrong; /* scales for 3 of 40 channels */
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_UNSUPPORTED);
    r.in[4].shape[0] = 1;
    r.in[8].shape[0] = wrong;
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID);
    free_run(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(qconv_every_shape_and_epilogue_matches_loops),
        cmocka_unit_test(qconv_whole_tiles_match_loops),
        cmocka_unit_test(conv_integer_is_exact),
        cmocka_unit_test(qconv_bad_operands_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* QMatMul, QLinearMatMul and MatMulInteger against integer and double loops, on all instruction
 * sets: tails, extreme values that would saturate in 16 bits, every epilogue. */
#include "backends/cpu/int8/quantized_case.h"

static const lt_cpu_isa isas[] = {LT_CPU_PORTABLE, LT_CPU_AVX2, LT_CPU_AVXVNNI, LT_CPU_AVX512};
#define N_ISAS (sizeof(isas) / sizeof(isas[0]))

typedef struct size_case {
    int64_t m, k, n;
} size_case;

static const size_case sizes[] = {{1, 1, 1},    {1, 64, 33},   {3, 7, 5},
                                  {14, 4, 32},  {15, 66, 48},  {29, 21, 16},
                                  {5, 300, 17}, {31, 129, 95}, {2, 1030, 7}};

/* Exact sum of one element. */
static int64_t sum_of(const leat_array *a, const leat_array *b, const size_case *s, bool trans,
                      int64_t row, int64_t column, int64_t a_zero, int64_t b_zero)
{
    int64_t sum = 0;
    for (int64_t j = 0; j < s->k; j++) {
        int64_t x = (int64_t)oracle_get(a, (size_t)(row * s->k + j));
        int64_t w = (int64_t)oracle_get(b, (size_t)(trans ? column * s->k + j : j * s->n + column));
        sum += (x - a_zero) * (w - b_zero);
    }
    return sum;
}

/* --- MatMulInteger ------------------------------------------------------------------------------
 */

/* a_zeros, b_zeros: 0 none, 1 one number, 2 one a row or column. */
static void check_integer(const size_case *s, leat_dtype at, leat_dtype bt, int a_zeros,
                          int b_zeros, lt_cpu_isa isa, bool constant, bool extreme)
{
    leat_array in[4] = {oracle_array(at, 2, (int64_t[]){s->m, s->k}),
                        oracle_array(bt, 2, (int64_t[]){s->k, s->n})};
    leat_array y = oracle_array(LEAT_DTYPE_I32, 2, (int64_t[]){s->m, s->n});
    leat_error err = {0};
    q_fill(&in[0], 1, extreme);
    q_fill(&in[1], 2, extreme);
    if (a_zeros != 0) {
        in[2] = oracle_array(at, a_zeros - 1, &s->m);
        q_fill(&in[2], 3, false);
    }
    if (b_zeros != 0) {
        in[3] = oracle_array(bt, b_zeros - 1, &s->n);
        q_fill(&in[3], 4, false);
    }
    test_kernel kernel = {.op = "MatMulInteger",
                          .inputs = in,
                          .n_inputs = 4,
                          .constants = constant ? 0xa : 0, /* B and its zero point */
                          .outputs = &y,
                          .n_outputs = 1,
                          .isa = isa,
                          .threads = 3};
    assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
    for (int64_t i = 0; i < s->m * s->n; i++) {
        int64_t row = i / s->n, column = i % s->n;
        int64_t az = a_zeros ? (int64_t)oracle_get(&in[2], a_zeros == 2 ? (size_t)row : 0) : 0;
        int64_t bz = b_zeros ? (int64_t)oracle_get(&in[3], b_zeros == 2 ? (size_t)column : 0) : 0;
        int64_t wanted = sum_of(&in[0], &in[1], s, false, row, column, az, bz);
        if (((const int32_t *)y.data)[i] != (int32_t)wanted) {
            fail_msg("%lldx%lldx%lld isa %d: [%lld] is %d, not %lld", (long long)s->m,
                     (long long)s->k, (long long)s->n, (int)isa, (long long)i,
                     ((const int32_t *)y.data)[i], (long long)wanted);
        }
    }
    for (int i = 0; i < 4; i++) {
        free(in[i].data);
    }
    free(y.data);
}

static void matmul_integer_is_exact(void **state)
{
    static const leat_dtype types[] = {LEAT_DTYPE_U8, LEAT_DTYPE_I8};
    (void)state;
    for (size_t c = 0; c < sizeof(sizes) / sizeof(sizes[0]) * N_ISAS * 8; c++) {
        size_t size = c / 8 / N_ISAS, isa = c / 8 % N_ISAS, types_of = c % 4, extreme = c / 4 % 2;
        for (int zeros = 0; zeros < 9; zeros++) {
            check_integer(&sizes[size], types[types_of & 1], types[types_of >> 1], zeros / 3,
                          zeros % 3, isas[isa], zeros & 1, extreme);
        }
    }
}

/* --- QMatMul ------------------------------------------------------------------------------------
 */

static const q_epilogue epilogues[] = {
    {{0}, {0}, {0}, NULL},
    {{0}, {0}, {0}, "Relu"},
    {{0}, {0}, {0}, "Tanh"},
    {{0}, {LEAT_DTYPE_F32, 1, 0}, {0}, "Clip"},
    {{0}, {LEAT_DTYPE_I8, 0.013f, -5}, {0}, NULL},
    {{LEAT_DTYPE_U8, 0.03f, 117}, {0}, {0}, NULL},
    {{LEAT_DTYPE_I8, 0.021f, -9}, {0}, {0}, "Relu"},
    {{LEAT_DTYPE_U8, 0.004f, 100}, {0}, {0}, "Clip"},
    {{LEAT_DTYPE_U8, 0.01f, 128}, {0}, {0}, "Tanh"},
    {{LEAT_DTYPE_U8, 0.02f, 120}, {LEAT_DTYPE_U8, 0.017f, 99}, {LEAT_DTYPE_U8, 0.027f, 3}, "Relu"},
    {{LEAT_DTYPE_I8, 0.02f, 4}, {LEAT_DTYPE_I8, 0.03f, -7}, {LEAT_DTYPE_I8, 0.04f, 11}, NULL},
    {{LEAT_DTYPE_I8, 0.02f, 4}, {LEAT_DTYPE_F32, 1, 0}, {LEAT_DTYPE_I8, 0.04f, 11}, "Tanh"},
    {{0}, {LEAT_DTYPE_U8, 0.03f, 128}, {LEAT_DTYPE_U8, 0.02f, 127}, "Clip"},
    {{LEAT_DTYPE_U8, 0.02f, 120}, {LEAT_DTYPE_U8, 0.017f, 99}, {0}, NULL},
};

/* One product with all operands; `variant` chooses types, biases and what is constant. */
typedef struct qmatmul_run {
    leat_array in[14];
    leat_array y;
    float scales[5];
    int8_t zeros[5];
    q_grid x, w;
    bool trans, per_column, float_bias, bias;
} qmatmul_run;

static void build(qmatmul_run *r, const size_case *s, const q_epilogue *e, unsigned variant)
{
    memset(r, 0, sizeof(*r));
    r->x = (q_grid){variant & 1 ? LEAT_DTYPE_I8 : LEAT_DTYPE_U8, 0.011f, variant & 1 ? -20 : 131};
    r->w = (q_grid){variant & 2 ? LEAT_DTYPE_U8 : LEAT_DTYPE_I8, 0.009f, variant & 2 ? 128 : 0};
    r->w.zero += variant & 4 ? 3 : 0;
    r->trans = variant & 8;
    r->per_column = variant & 16;
    r->bias = variant & 32;
    r->float_bias = variant & 64;
    r->in[0] = oracle_array(r->x.dtype, 2, (int64_t[]){s->m, s->k});
    q_fill(&r->in[0], variant + 1, false);
    r->in[3] = r->trans ? oracle_array(r->w.dtype, 2, (int64_t[]){s->n, s->k})
                        : oracle_array(r->w.dtype, 2, (int64_t[]){s->k, s->n});
    q_fill(&r->in[3], variant + 2, false);
    r->scales[0] = r->x.scale;
    r->in[1] = q_float(&r->scales[0]);
    r->in[2] = q_zero(&r->x, &r->zeros[0]);
    r->in[4] = oracle_array(LEAT_DTYPE_F32, 1, r->per_column ? &s->n : (int64_t[]){1});
    for (size_t i = 0; i < oracle_count(&r->in[4]); i++) {
        ((float *)r->in[4].data)[i] = r->w.scale / (float)(sqrt((double)s->k) * (1 + i % 3));
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
        r->in[8] = oracle_array(r->float_bias ? LEAT_DTYPE_F32 : LEAT_DTYPE_I32, 1, &s->n);
        oracle_fill(&r->in[8], 5);
    }
    if (e->r.dtype != LEAT_DTYPE_UNDEFINED) {
        r->in[13] = oracle_array(e->r.dtype, 2, (int64_t[]){s->m, s->n});
        oracle_fill(&r->in[13], 6);
    }
    r->y = oracle_array(q_result_type(e), 2, (int64_t[]){s->m, s->n});
}

static void check_result(const qmatmul_run *r, const size_case *s, const q_epilogue *e,
                         const char *what)
{
    for (int64_t i = 0; i < s->m * s->n; i++) {
        int64_t row = i / s->n, column = i % s->n;
        double scale =
            (double)r->x.scale * oracle_get(&r->in[4], r->per_column ? (size_t)column : 0);
        double x =
            (double)sum_of(&r->in[0], &r->in[3], s, r->trans, row, column, r->x.zero, r->w.zero) *
            scale;
        if (r->bias) {
            double b = oracle_get(&r->in[8], (size_t)column);
            x += r->float_bias ? b : b * scale;
        }
        double residual =
            e->r.dtype != LEAT_DTYPE_UNDEFINED ? oracle_get(&r->in[13], (size_t)i) : 0;
        q_check(e, oracle_get(&r->y, (size_t)i), x, residual, 1, what);
    }
}

static void check_qmatmul(const size_case *s, const q_epilogue *e, unsigned variant, lt_cpu_isa isa,
                          uint64_t constants)
{
    qmatmul_run r;
    leat_error err = {0};
    char what[96];
    build(&r, s, e, variant);
    leat_attr attrs[4] = {test_attr_int("transB", r.trans)};
    uint32_t n = 1;
    if (e->activation != NULL) {
        attrs[n++] = test_attr_string("activation", e->activation);
        attrs[n++] = test_attr_float("activation_alpha", -0.5f);
        attrs[n++] = test_attr_float("activation_beta", 0.5f);
    }
    test_kernel kernel = {.op = "QMatMul",
                          .domain = "leat",
                          .attrs = attrs,
                          .n_attrs = n,
                          .inputs = r.in,
                          .n_inputs = e->r.dtype != LEAT_DTYPE_UNDEFINED ? 14 : 9,
                          .constants = constants,
                          .outputs = &r.y,
                          .n_outputs = 1,
                          .isa = isa,
                          .threads = 2};
    assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
    snprintf(what, sizeof(what), "%lldx%lldx%lld, epilogue %d, variant %u, isa %d, constants %x",
             (long long)s->m, (long long)s->k, (long long)s->n, (int)(e - epilogues), variant,
             (int)isa, (unsigned)constants);
    check_result(&r, s, e, what);
    free(r.in[0].data);
    free(r.in[3].data);
    free(r.in[4].data);
    free(r.in[8].data);
    free(r.in[13].data);
    free(r.y.data);
}

/* All constant, the data's scale changing (dynamic quantization), nothing constant. */
static void qmatmul_every_epilogue_matches_loops(void **state)
{
    static const uint64_t constants[] = {0x1ffe, 0x1ff8, 0};
    (void)state;
    for (size_t e = 0; e < sizeof(epilogues) / sizeof(epilogues[0]); e++) {
        for (size_t c = 0; c < sizeof(sizes) / sizeof(sizes[0]) * N_ISAS; c++) {
            for (unsigned i = 0; i < 3; i++) {
                unsigned variant = (unsigned)(c * 37 + e * 11 + i * 5) % 128;
                check_qmatmul(&sizes[c / N_ISAS], &epilogues[e], variant, isas[c % N_ISAS],
                              constants[i]);
            }
        }
    }
}

/* Scales so large that conversions to s32 would not saturate: the result is an end of the type. */
static void qmatmul_enormous_scale_saturates(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ISAS; i++) {
        uint8_t a[4] = {255, 255, 0, 0}, y[2] = {9, 9}, zero = 0;
        int8_t b[4] = {127, -128, 127, -128};
        float x_scale = 1e20f, w_scale = 1e10f, y_scale = 1.0f;
        leat_array in[8] = {{LEAT_DTYPE_U8, 2, {1, 2}, a, 2},
                            q_float(&x_scale),
                            {0},
                            {LEAT_DTYPE_I8, 2, {2, 2}, b, 4},
                            q_float(&w_scale),
                            {0},
                            q_float(&y_scale),
                            {LEAT_DTYPE_U8, 0, {0}, &zero, 1}};
        leat_array out = {LEAT_DTYPE_U8, 2, {1, 2}, y, 2};
        leat_error err = {0};
        test_kernel kernel = {.op = "QMatMul",
                              .domain = "leat",
                              .inputs = in,
                              .n_inputs = 8,
                              .constants = 0xfe,
                              .outputs = &out,
                              .n_outputs = 1,
                              .isa = isas[i]};
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        assert_int_equal(y[0], 255);
        assert_int_equal(y[1], 0);
    }
}

static void qmatmul_bad_operands_are_refused(void **state)
{
    uint8_t a[4] = {0}, y[4], zero = 0;
    float scale[2] = {1, 1};
    leat_error err = {0};
    (void)state;
    leat_array bytes = {LEAT_DTYPE_U8, 2, {2, 2}, a, 4};
    leat_array in[9] = {bytes,
                        q_float(scale),
                        {0},
                        bytes,
                        {LEAT_DTYPE_F32, 1, {2}, scale, 8},
                        {0},
                        q_float(scale),
                        {LEAT_DTYPE_U8, 0, {0}, &zero, 1},
                        {0}};
    leat_array out = {LEAT_DTYPE_U8, 2, {2, 2}, y, 4};
    test_kernel kernel = {.op = "QMatMul",
                          .domain = "leat",
                          .inputs = in,
                          .n_inputs = 9,
                          .outputs = &out,
                          .n_outputs = 1,
                          .isa = LT_CPU_PORTABLE};
    assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
    in[7].dtype = LEAT_DTYPE_I8; /* the output is u8 */
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_UNSUPPORTED);
    in[7].dtype = LEAT_DTYPE_U8;
    in[1] = (leat_array){LEAT_DTYPE_F32, 1, {2}, scale, 8}; /* a scale a row */
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_UNSUPPORTED);
    in[1] = q_float(scale);
    in[8] = (leat_array){LEAT_DTYPE_F32, 1, {1}, scale, 4}; /* one bias for two columns */
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matmul_integer_is_exact),
        cmocka_unit_test(qmatmul_every_epilogue_matches_loops),
        cmocka_unit_test(qmatmul_enormous_scale_saturates),
        cmocka_unit_test(qmatmul_bad_operands_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

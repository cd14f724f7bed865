/* SPDX-License-Identifier: Apache-2.0 */
/* LSTM, GRU and RNN against the operators' equations in plain double-precision loops. */
#include "support/test.h"

#include "support/kernel.h"
#include "support/oracle.h"

#include <math.h>

#define MOST 300000 /* elements of an array */

typedef struct rnn_case {
    const char *op;
    int64_t dirs, seq, batch, inputs, hidden;
    bool reverse, batch_first, biases, lengths, states, peephole, input_forget, linear;
    double clip;
    bool own_functions;
    leat_dtype dtype;
} rnn_case;

/* Data of the arrays: X, W, R, B, lengths, h, c, P; Y, Y_h, Y_c; and what is expected. */
static double bytes_in[8][MOST], bytes_out[3][MOST], expected[3][MOST];

static leat_array array_of(leat_dtype dtype, int32_t rank, const int64_t *shape, void *data)
{
    leat_array array = {dtype, rank, {0}, data, 0};
    memcpy(array.shape, shape, (size_t)rank * sizeof(*shape));
    array.bytes = leat_dtype_bytes(dtype, oracle_count(&array));
    assert_true(oracle_count(&array) <= MOST);
    return array;
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* The functions of the cases with own_functions, by place: see set_attributes. */
static double apply(const rnn_case *c, int which, double x)
{
    if (!c->own_functions) {
        return which == 0 && strcmp(c->op, "RNN") != 0 ? sigmoid(x) : tanh(x);
    }
    switch (which) {
    case 0:
        return fmax(0, fmin(1, 0.3 * x + 0.4));
    case 1:
        return x / (1 + fabs(x));
    default:
        return 0.5 * tanh(0.7 * x);
    }
}

static double gate(const rnn_case *c, int which, double x)
{
    if (c->clip > 0) {
        x = fmax(-c->clip, fmin(c->clip, x));
    }
    return apply(c, which, x);
}

static double at(const leat_array *array, int64_t i)
{
    return array->dtype == LEAT_DTYPE_UNDEFINED ? 0 : oracle_get(array, (size_t)i);
}

/* Row `row` of W x + biases, and of R h. */
static double from_x(const rnn_case *c, const leat_array *in, int64_t d, int64_t row, int64_t x_row)
{
    int64_t gates = in[1].shape[1];
    double sum = at(&in[3], d * 2 * gates + row);
    for (int64_t k = 0; k < c->inputs; k++) {
        sum += at(&in[1], (d * gates + row) * c->inputs + k) * at(&in[0], x_row * c->inputs + k);
    }
    return sum;
}

static double from_h(const rnn_case *c, const leat_array *in, int64_t d, int64_t row,
                     const double *h)
{
    int64_t gates = in[1].shape[1];
    double sum = at(&in[3], d * 2 * gates + gates + row);
    for (int64_t k = 0; k < c->hidden; k++) {
        sum += at(&in[2], (d * gates + row) * c->hidden + k) * h[k];
    }
    return sum;
}

/* One step of one row: h and cell become the next. */
static void step(const rnn_case *c, const leat_array *in, int64_t d, int64_t x_row, double *h,
                 double *cell)
{
    static double next[512], r_h[512];
    int64_t n = c->hidden;
    for (int64_t u = 0; u < n; u++) {
        double s[4] = {0};
        for (int64_t g = 0; g < in[1].shape[1] / n; g++) {
            s[g] = from_x(c, in, d, g * n + u, x_row) + from_h(c, in, d, g * n + u, h);
        }
        const int64_t p = d * 3 * n + u;
        if (c->op[0] == 'L') {
            double i = gate(c, 0, s[0] + at(&in[7], p) * cell[u]);
            double f = gate(c, 0, s[2] + at(&in[7], p + 2 * n) * cell[u]);
            cell[u] = (c->input_forget ? 1 - i : f) * cell[u] + i * gate(c, 1, s[3]);
            next[u] = gate(c, 0, s[1] + at(&in[7], p + n) * cell[u]) * apply(c, 2, cell[u]);
        } else if (c->op[0] == 'G') {
            double r = gate(c, 0, s[1]);
            r_h[u] = r * h[u];
            next[u] = gate(c, 0, s[0]);
            if (c->linear) {
                double of_x = from_x(c, in, d, 2 * n + u, x_row);
                double state = gate(c, 1, of_x + r * from_h(c, in, d, 2 * n + u, h));
                next[u] = (1 - next[u]) * state + next[u] * h[u];
            }
        } else {
            next[u] = gate(c, 0, s[0]);
        }
    }
    for (int64_t u = 0; u < n && c->op[0] == 'G' && !c->linear; u++) {
        double state = from_x(c, in, d, 2 * n + u, x_row) + from_h(c, in, d, 2 * n + u, r_h);
        next[u] = (1 - next[u]) * gate(c, 1, state) + next[u] * h[u];
    }
    memcpy(h, next, (size_t)n * sizeof(*h));
}

static void expect_row(const rnn_case *c, const leat_array *in, int64_t d, int64_t b)
{
    double h[512], cell[512];
    int64_t state = (c->batch_first ? b * c->dirs + d : d * c->batch + b) * c->hidden;
    int64_t length = in[4].dtype == LEAT_DTYPE_UNDEFINED ? c->seq : (int64_t)at(&in[4], b);
    for (int64_t u = 0; u < c->hidden; u++) {
        h[u] = at(&in[5], state + u);
        cell[u] = at(&in[6], state + u);
    }
    for (int64_t s = 0; s < c->seq; s++) {
        int64_t t = s >= length ? s : d == 1 || c->reverse ? length - 1 - s : s;
        if (s < length) {
            step(c, in, d, c->batch_first ? b * c->seq + t : t * c->batch + b, h, cell);
        }
        int64_t row =
            c->batch_first ? (b * c->seq + t) * c->dirs + d : (t * c->dirs + d) * c->batch + b;
        for (int64_t u = 0; u < c->hidden; u++) {
            expected[0][row * c->hidden + u] = s < length ? h[u] : 0;
        }
    }
    memcpy(&expected[1][state], h, (size_t)c->hidden * sizeof(*h));
    memcpy(&expected[2][state], cell, (size_t)c->hidden * sizeof(*h));
}

static void make_inputs(const rnn_case *c, leat_array *in)
{
    int64_t gates = (c->op[0] == 'L' ? 4 : c->op[0] == 'G' ? 3 : 1) * c->hidden;
    const int64_t x[] = {c->batch_first ? c->batch : c->seq, c->batch_first ? c->seq : c->batch,
                         c->inputs};
    const int64_t w[] = {c->dirs, gates, c->inputs}, r[] = {c->dirs, gates, c->hidden};
    const int64_t b[] = {c->dirs, 2 * gates}, p[] = {c->dirs, 3 * c->hidden};
    const int64_t state[] = {c->batch_first ? c->batch : c->dirs,
                             c->batch_first ? c->dirs : c->batch, c->hidden};
    memset(in, 0, 8 * sizeof(*in));
    in[0] = array_of(c->dtype, 3, x, bytes_in[0]);
    in[1] = array_of(c->dtype, 3, w, bytes_in[1]);
    in[2] = array_of(c->dtype, 3, r, bytes_in[2]);
    if (c->biases) {
        in[3] = array_of(c->dtype, 2, b, bytes_in[3]);
    }
    if (c->lengths) {
        in[4] = array_of(LEAT_DTYPE_I32, 1, &c->batch, bytes_in[4]);
    }
    if (c->states) {
        in[5] = array_of(c->dtype, 3, state, bytes_in[5]);
    }
    if (c->op[0] == 'L' && c->states) {
        in[6] = array_of(c->dtype, 3, state, bytes_in[6]);
    }
    if (c->op[0] == 'L' && c->peephole) {
        in[7] = array_of(c->dtype, 2, p, bytes_in[7]);
    }
    for (int i = 0; i < 8; i++) {
        oracle_fill(&in[i], (uint64_t)(17 + i));
        double scale = i == 2 ? 1 / sqrt((double)c->hidden) : 1; /* keeps errors from growing */
        for (size_t k = 0; in[i].dtype != LEAT_DTYPE_UNDEFINED && k < oracle_count(&in[i]); k++) {
            oracle_set(&in[i], k,
                       i == 4 ? (double)((k * 5 + 3) % (size_t)(c->seq + 1))
                              : oracle_get(&in[i], k) * scale);
        }
    }
}

static uint32_t set_attributes(const rnn_case *c, leat_attr *attrs)
{
    static const leat_string names[] = {{"HardSigmoid", 11}, {"softsign", 8}, {"ScaledTanh", 10},
                                        {"HardSigmoid", 11}, {"softsign", 8}, {"ScaledTanh", 10}};
    static const leat_string two[] = {
        {"HardSigmoid", 11}, {"softsign", 8}, {"HardSigmoid", 11}, {"softsign", 8}};
    static const leat_string one[] = {{"HardSigmoid", 11}, {"HardSigmoid", 11}};
    static const float alpha[] = {0.3f, 0.5f, 0.3f, 0.5f}, beta[] = {0.4f, 0.7f, 0.4f, 0.7f};
    static const float alphas[] = {0.3f, 0.3f}, betas[] = {0.4f, 0.4f};
    bool lstm = c->op[0] == 'L';
    uint32_t n = 0;
    attrs[n++] = test_attr_int("hidden_size", c->hidden);
    attrs[n++] = test_attr_int("layout", c->batch_first);
    attrs[n++] = test_attr_string("direction", c->dirs == 2 ? "bidirectional"
                                               : c->reverse ? "reverse"
                                                            : "forward");
    attrs[n++] = test_attr_int("linear_before_reset", c->linear);
    attrs[n++] = test_attr_int("input_forget", c->input_forget);
    if (c->clip > 0) {
        attrs[n++] = test_attr_float("clip", (float)c->clip);
    }
    if (c->own_functions) {
        size_t count = (lstm ? 3u : c->op[0] == 'G' ? 2u : 1u) * (size_t)c->dirs;
        leat_attr list = {"activations", LEAT_ATTR_STRINGS, count, {.strings = names}};
        list.u.strings = lstm ? names : c->op[0] == 'G' ? two : one;
        attrs[n++] = list;
        leat_attr a = {"activation_alpha", LEAT_ATTR_FLOATS, lstm ? 4 : 2, {.floats = alpha}};
        leat_attr b = {"activation_beta", LEAT_ATTR_FLOATS, lstm ? 4 : 2, {.floats = beta}};
        a.u.floats = lstm ? alpha : alphas;
        b.u.floats = lstm ? beta : betas;
        attrs[n++] = a;
        attrs[n++] = b;
    }
    return n;
}

static void check(const rnn_case *c)
{
    leat_array in[8], out[3];
    leat_attr attrs[12];
    make_inputs(c, in);
    uint32_t n_attrs = set_attributes(c, attrs);
    for (int64_t d = 0; d < c->dirs; d++) {
        for (int64_t b = 0; b < c->batch; b++) {
            expect_row(c, in, d, b);
        }
    }
    const int64_t y[] = {c->batch_first ? c->batch : c->seq, c->batch_first ? c->seq : c->dirs,
                         c->batch_first ? c->dirs : c->batch, c->hidden};
    const int64_t state[] = {c->batch_first ? c->batch : c->dirs,
                             c->batch_first ? c->dirs : c->batch, c->hidden};
    bool lstm = c->op[0] == 'L';
    out[0] = array_of(c->dtype, 4, y, bytes_out[0]);
    out[1] = array_of(c->dtype, 3, state, bytes_out[1]);
    out[2] = array_of(c->dtype, 3, state, bytes_out[2]);
    for (int run = 0; run < 12; run++) {
        leat_error err = {0};
        test_kernel kernel = {.op = c->op,
                              .attrs = attrs,
                              .n_attrs = n_attrs,
                              .inputs = in,
                              .n_inputs = lstm ? 8 : 6,
                              .constants = run / 6 ? 0xffu : 0,
                              .outputs = out,
                              .n_outputs = lstm ? 3 : 2,
                              .isa = test_isas[run % 3],
                              .threads = run / 3 % 2 ? 3 : 1};
        memset(bytes_out, 0xa5, sizeof(bytes_out));
        assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
        size_t length = (size_t)(c->inputs + c->hidden) * (size_t)(c->seq + 1);
        double rtol = oracle_rtol(c->dtype, length);
        for (uint32_t i = 0; i < kernel.n_outputs; i++) {
            oracle_assert_close(&out[i], expected[i], rtol, rtol);
            assert_int_equal(((uint8_t *)out[i].data)[out[i].bytes], 0xa5);
        }
    }
}

static const char *const ops[] = {"LSTM", "GRU", "RNN"};

static void recurrent_sizes_match_equations(void **state)
{
    (void)state;
    static const int64_t sizes[][5] = {/* dirs, seq, batch, inputs, hidden */
                                       {1, 1, 1, 5, 16}, {1, 1, 1, 128, 128}, {1, 5, 1, 3, 1},
                                       {2, 3, 1, 7, 17}, {1, 4, 7, 2, 15},    {2, 2, 13, 9, 33},
                                       {1, 6, 3, 1, 70}, {2, 1, 2, 4, 129},   {1, 2, 1, 8, 260},
                                       {2, 0, 2, 3, 4},  {1, 3, 0, 3, 4}};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (int op = 0; op < 3; op++) {
            const int64_t *s = sizes[i];
            rnn_case c = {.op = ops[op],
                          .dirs = s[0],
                          .seq = s[1],
                          .batch = s[2],
                          .inputs = s[3],
                          .hidden = s[4],
                          .dtype = LEAT_DTYPE_F32,
                          .biases = i % 2 == 0,
                          .states = i % 3 != 0,
                          .linear = i % 2 != 0};
            check(&c);
        }
    }
}

/* Bit i of `mask` sets option i. */
static void recurrent_options_match_equations(void **state)
{
    (void)state;
    for (uint32_t mask = 0; mask < 1024; mask += mask < 16 ? 1 : 29) {
        for (int op = 0; op < 3; op++) {
            rnn_case c = {.op = ops[op],
                          .seq = 4,
                          .batch = 3,
                          .inputs = 5,
                          .hidden = 19,
                          .dtype = LEAT_DTYPE_F32};
            c.dirs = mask & 1 ? 2 : 1;
            c.reverse = (mask & 2) && c.dirs == 1;
            c.batch_first = mask & 4;
            c.biases = mask & 8;
            c.lengths = mask & 16;
            c.states = mask & 32;
            c.linear = c.peephole = mask & 64;
            c.input_forget = mask & 128;
            c.clip = mask & 256 ? 0.3 : 0;
            c.own_functions = mask & 512;
            check(&c);
        }
    }
}

static void recurrent_types_match_equations(void **state)
{
    (void)state;
    static const leat_dtype dtypes[] = {LEAT_DTYPE_F64, LEAT_DTYPE_F16, LEAT_DTYPE_BF16};
    for (int i = 0; i < 3; i++) {
        for (int op = 0; op < 3; op++) {
            rnn_case c = {.op = ops[op],
                          .dirs = 2,
                          .seq = 3,
                          .batch = 5,
                          .inputs = 6,
                          .hidden = 21,
                          .dtype = dtypes[i],
                          .biases = true,
                          .states = true,
                          .lengths = true,
                          .peephole = true};
            check(&c);
        }
    }
}

static void recurrent_length_beyond_sequence_is_invalid(void **state)
{
    (void)state;
    for (int op = 0; op < 3; op++) {
        for (int bad = -1; bad < 4; bad += 4) {
            leat_error err = {0};
            leat_array in[8];
            rnn_case c = {.op = ops[op],
                          .dirs = 1,
                          .seq = 2,
                          .batch = 2,
                          .inputs = 3,
                          .hidden = 4,
                          .dtype = LEAT_DTYPE_F32,
                          .lengths = true};
            make_inputs(&c, in);
            oracle_set(&in[4], 1, bad);
            const int64_t y[] = {2, 1, 2, 4};
            leat_array out = array_of(LEAT_DTYPE_F32, 4, y, bytes_out[0]);
            test_kernel kernel = {
                .op = c.op, .inputs = in, .n_inputs = 6, .outputs = &out, .n_outputs = 1};
            assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID);
            assert_non_null(strstr(err.message, "sequence_lens[1]"));
        }
    }
}

static void recurrent_unknown_activation_is_unsupported(void **state)
{
    (void)state;
    leat_error err = {0};
    leat_array in[8];
    rnn_case c = {.op = "RNN",
                  .dirs = 1,
                  .seq = 2,
                  .batch = 2,
                  .inputs = 3,
                  .hidden = 4,
                  .dtype = LEAT_DTYPE_F32};
    make_inputs(&c, in);
    const int64_t y[] = {2, 1, 2, 4};
    static const leat_string name = {"Sigmoids", 8};
    leat_attr attr = {"activations", LEAT_ATTR_STRINGS, 1, {.strings = &name}};
    leat_array out = array_of(LEAT_DTYPE_F32, 4, y, bytes_out[0]);
    test_kernel kernel = {.op = "RNN",
                          .attrs = &attr,
                          .n_attrs = 1,
                          .inputs = in,
                          .n_inputs = 3,
                          .outputs = &out,
                          .n_outputs = 1};
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recurrent_sizes_match_equations),
        cmocka_unit_test(recurrent_options_match_equations),
        cmocka_unit_test(recurrent_types_match_equations),
        cmocka_unit_test(recurrent_length_beyond_sequence_is_invalid),
        cmocka_unit_test(recurrent_unknown_activation_is_unsupported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

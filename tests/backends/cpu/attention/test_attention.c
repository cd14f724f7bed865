/* SPDX-License-Identifier: Apache-2.0 */
/* Attention against double loops, on all instruction sets, with odd sizes. */
#include "support/test.h"

#include "support/kernel.h"
#include "support/oracle.h"

#include <math.h>
#include <stdlib.h>

typedef struct attention_case {
    int64_t batch, heads, kv_heads, q_len, kv_len, past, d, dv;
    int rank;  /* 3 or 4 */
    char mask; /* 0 none, 'k' keys [B,1,1,T], 's' [S,T], 'f' [B,H,S,T], 'b' bool [B,1,S,T],
                  '1' [1], 'p' [B,1,1,T - 3], narrower */
    bool causal, present;
    float scale, softcap; /* 0: the attribute is absent */
    leat_dtype dtype;
    int32_t threads;
    int64_t lengths[3]; /* keys that count, for each batch item; all 0: the input is absent */
} attention_case;

/* An operand of `heads` heads of `length` rows of `features`. */
static leat_array operand(const attention_case *t, int64_t heads, int64_t length, int64_t features,
                          uint64_t seed)
{
    int64_t four[] = {t->batch, heads, length, features};
    int64_t three[] = {t->batch, length, heads * features};
    return t->rank == 4 ? oracle_filled(t->dtype, 4, four, seed)
                        : oracle_filled(t->dtype, 3, three, seed);
}

static double at(const leat_array *a, int64_t b, int64_t h, int64_t i, int64_t j, int64_t heads,
                 int64_t features)
{
    int64_t length = a->rank == 4 ? a->shape[2] : a->shape[1];
    int64_t index = a->rank == 4 ? ((b * heads + h) * length + i) * features + j
                                 : (b * length + i) * heads * features + h * features + j;
    return oracle_get(a, (size_t)index);
}

static bool has_lengths(const attention_case *t)
{
    return t->lengths[0] != 0;
}

static leat_array make_mask(const attention_case *t)
{
    int64_t keys = t->past + t->kv_len;
    int64_t k[] = {t->batch, 1, 1, keys}, s[] = {t->q_len, keys}, one[] = {1};
    int64_t f[] = {t->batch, t->heads, t->q_len, keys}, b[] = {t->batch, 1, t->q_len, keys};
    int64_t p[] = {t->batch, 1, 1, keys - 3};
    leat_array none = {0};
    switch (t->mask) {
    case 'k':
        return oracle_filled(t->dtype, 4, k, 7);
    case 's':
        return oracle_filled(t->dtype, 2, s, 8);
    case 'f':
        return oracle_filled(t->dtype, 4, f, 9);
    case 'b':
        return oracle_filled(LEAT_DTYPE_BOOL, 4, b, 10);
    case '1':
        return oracle_filled(t->dtype, 1, one, 11);
    case 'p':
        return oracle_filled(t->dtype, 4, p, 12);
    default:
        return none;
    }
}

/* What the mask adds. */
static double mask_at(const leat_array *mask, int64_t b, int64_t h, int64_t i, int64_t j)
{
    int64_t index[4] = {b, h, i, j}, flat = 0;
    for (int32_t d = 0; d < mask->rank; d++) {
        int64_t own = index[d + 4 - mask->rank];
        if (d == mask->rank - 1 && mask->shape[d] != 1 && own >= mask->shape[d]) {
            return -INFINITY; /* narrower than the keys */
        }
        flat = flat * mask->shape[d] + (mask->shape[d] == 1 ? 0 : own);
    }
    double v = oracle_get(mask, (size_t)flat);
    return mask->dtype == LEAT_DTYPE_BOOL ? (v != 0 ? 0 : -INFINITY) : v;
}

/* Row i of head h in double; in[] as the node's inputs. */
static void oracle_row(const attention_case *t, const leat_array *in, int64_t b, int64_t h,
                       int64_t i, double *out)
{
    int64_t keys = t->past + t->kv_len, kv = h / (t->heads / t->kv_heads);
    double *p = calloc((size_t)keys, sizeof(*p)), top = -INFINITY, sum = 0;
    double scale = t->scale != 0 ? (double)t->scale : 1 / sqrt((double)t->d);
    for (int64_t j = 0; j < keys; j++) {
        for (int64_t c = 0; c < t->d; c++) {
            double k = j < t->past
                           ? oracle_get(&in[4],
                                        (size_t)(((b * t->kv_heads + kv) * t->past + j) * t->d + c))
                           : at(&in[1], b, kv, j - t->past, c, t->kv_heads, t->d);
            p[j] += at(&in[0], b, h, i, c, t->heads, t->d) * k * scale;
        }
        p[j] = t->softcap != 0 ? (double)t->softcap * tanh(p[j] / (double)t->softcap) : p[j];
        p[j] += t->mask ? mask_at(&in[3], b, h, i, j) : 0;
        int64_t before = has_lengths(t) ? t->lengths[b] - t->q_len : t->past;
        p[j] = t->causal && j > before + i ? -INFINITY : p[j];
        p[j] = has_lengths(t) && j >= t->lengths[b] ? -INFINITY : p[j];
        top = fmax(top, p[j]);
    }
    for (int64_t j = 0; j < keys; j++) {
        p[j] = exp(p[j] - top);
        sum += p[j];
    }
    for (int64_t c = 0; c < t->dv; c++) {
        out[c] = 0;
        for (int64_t j = 0; j < keys; j++) {
            double v =
                j < t->past
                    ? oracle_get(&in[5],
                                 (size_t)(((b * t->kv_heads + kv) * t->past + j) * t->dv + c))
                    : at(&in[2], b, kv, j - t->past, c, t->kv_heads, t->dv);
            out[c] += p[j] / sum * v;
        }
    }
    free(p);
}

static void check_output(const attention_case *t, const leat_array *in, const leat_array *y)
{
    double *expected = calloc(oracle_count(y) + 1, sizeof(*expected));
    double *row = calloc((size_t)t->dv, sizeof(*row));
    for (int64_t b = 0; b < t->batch; b++) {
        for (int64_t h = 0; h < t->heads; h++) {
            for (int64_t i = 0; i < t->q_len; i++) {
                oracle_row(t, in, b, h, i, row);
                for (int64_t c = 0; c < t->dv; c++) {
                    int64_t index = t->rank == 4 ? ((b * t->heads + h) * t->q_len + i) * t->dv + c
                                                 : ((b * t->q_len + i) * t->heads + h) * t->dv + c;
                    expected[index] = row[c];
                }
            }
        }
    }
    double rtol = oracle_rtol(t->dtype, (size_t)(t->d + t->past + t->kv_len));
    oracle_assert_close(y, expected, rtol, rtol);
    free(expected);
    free(row);
}

/* present = past, new rows. */
static void check_present(const attention_case *t, const leat_array *past, const leat_array *added,
                          const leat_array *present, int64_t features)
{
    int64_t keys = t->past + t->kv_len;
    for (int64_t b = 0; b < t->batch; b++) {
        for (int64_t h = 0; h < t->kv_heads; h++) {
            for (int64_t j = 0; j < keys; j++) {
                for (int64_t c = 0; c < features; c++) {
                    int64_t unit = b * t->kv_heads + h;
                    double want =
                        j < t->past
                            ? oracle_get(past, (size_t)((unit * t->past + j) * features + c))
                            : at(added, b, h, j - t->past, c, t->kv_heads, features);
                    double got = oracle_get(present, (size_t)((unit * keys + j) * features + c));
                    assert_true(want == got);
                }
            }
        }
    }
}

static void check(const attention_case *t, lt_cpu_isa isa)
{
    int64_t past_k[] = {t->batch, t->kv_heads, t->past, t->d};
    int64_t past_v[] = {t->batch, t->kv_heads, t->past, t->dv};
    int64_t all_k[] = {t->batch, t->kv_heads, t->past + t->kv_len, t->d};
    int64_t all_v[] = {t->batch, t->kv_heads, t->past + t->kv_len, t->dv};
    leat_array in[7] = {operand(t, t->heads, t->q_len, t->d, 1),
                        operand(t, t->kv_heads, t->kv_len, t->d, 2),
                        operand(t, t->kv_heads, t->kv_len, t->dv, 3), make_mask(t)};
    leat_array out[3] = {operand(t, t->heads, t->q_len, t->dv, 0)};
    if (t->past != 0) {
        in[4] = oracle_filled(t->dtype, 4, past_k, 4);
        in[5] = oracle_filled(t->dtype, 4, past_v, 5);
    }
    if (t->present) {
        out[1] = oracle_array(t->dtype, 4, all_k);
        out[2] = oracle_array(t->dtype, 4, all_v);
    }
    if (has_lengths(t)) {
        in[6] = oracle_array(LEAT_DTYPE_I64, 1, &t->batch);
        memcpy(in[6].data, t->lengths, in[6].bytes);
    }
    leat_attr attrs[5];
    uint32_t n = 0;
    if (t->rank == 3) {
        attrs[n++] = test_attr_int("q_num_heads", t->heads);
        attrs[n++] = test_attr_int("kv_num_heads", t->kv_heads);
    }
    if (t->scale != 0) {
        attrs[n++] = test_attr_float("scale", t->scale);
    }
    if (t->softcap != 0) {
        attrs[n++] = test_attr_float("softcap", t->softcap);
    }
    attrs[n++] = test_attr_int("is_causal", t->causal);
    test_kernel kernel = {.op = "Attention",
                          .opset = 24,
                          .attrs = attrs,
                          .n_attrs = n,
                          .inputs = in,
                          .n_inputs = 7,
                          .outputs = out,
                          .n_outputs = 3,
                          .isa = isa,
                          .threads = t->threads};
    leat_error err = {0};
    assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
    check_output(t, in, &out[0]);
    if (t->present) {
        check_present(t, &in[4], &in[1], &out[1], t->d);
        check_present(t, &in[5], &in[2], &out[2], t->dv);
    }
    for (int i = 0; i < 7; i++) {
        free(in[i].data);
        free(i < 3 ? out[i].data : NULL);
    }
}

static void attention_matches_double_loops(void **state)
{
    static const attention_case cases[] = {
        {1, 1, 1, 1, 1, 0, 1, 1, 4, 0, false, false, 0, 0, LEAT_DTYPE_F32, 1, {0}},
        {1, 2, 2, 17, 33, 0, 8, 8, 3, 'k', false, false, 0, 0, LEAT_DTYPE_F32, 1, {0}},
        {2, 3, 3, 29, 29, 0, 32, 32, 3, 's', true, false, 0, 0, LEAT_DTYPE_F32, 3, {0}},
        {2, 3, 3, 15, 31, 0, 33, 17, 4, 'f', false, false, 0.3f, 0, LEAT_DTYPE_F32, 2, {0}},
        {3, 4, 2, 13, 65, 0, 5, 40, 3, 'b', false, false, 0, 0, LEAT_DTYPE_F32, 1, {0}},
        {1, 6, 2, 1, 100, 37, 16, 16, 4, 0, true, true, 0, 0, LEAT_DTYPE_F32, 1, {0}},
        {2, 4, 1, 9, 70, 600, 24, 7, 3, 'k', true, true, 0, 3, LEAT_DTYPE_F32, 2, {0}},
        {1, 1, 1, 60, 1300, 0, 16, 20, 4, 's', true, false, 0, 0, LEAT_DTYPE_F32, 4, {0}},
        {1, 1, 1, 1100, 40, 0, 8, 8, 4, 0, false, false, 0, 0, LEAT_DTYPE_F32, 1, {0}},
        {1, 2, 2, 14, 64, 0, 64, 64, 3, '1', false, false, -0.5f, 0, LEAT_DTYPE_F32, 1, {0}},
        {2, 2, 2, 7, 22, 0, 9, 9, 4, 'p', false, false, 0, 0, LEAT_DTYPE_F32, 1, {0}},
        {1, 2, 2, 11, 530, 0, 9, 9, 4, 'p', false, false, 0, 0, LEAT_DTYPE_F32, 1, {0}},
        {2, 4, 2, 19, 45, 6, 16, 12, 3, 'f', true, true, 0, 2, LEAT_DTYPE_F16, 2, {0}},
        {2, 2, 2, 19, 45, 0, 16, 12, 4, 'k', false, false, 0, 0, LEAT_DTYPE_BF16, 1, {0}},
        {3, 6, 2, 1, 70, 0, 16, 16, 4, 0, true, false, 0, 0, LEAT_DTYPE_F32, 2, {70, 1, 33}},
        {2, 4, 2, 5, 600, 0, 64, 24, 4, 0, true, false, 0, 0, LEAT_DTYPE_F32, 1, {530, 5}},
        {2, 2, 1, 7, 40, 0, 12, 12, 3, 'k', false, false, 0, 0, LEAT_DTYPE_F32, 3, {3, 40}},
        {2, 2, 2, 3, 21, 0, 12, 8, 4, 'b', true, false, 0, 2, LEAT_DTYPE_F16, 2, {9, 21}},
        /* Few queries, several parts of keys a head. */
        {1, 3, 1, 1, 1, 700, 64, 64, 4, 0, true, true, 0, 0, LEAT_DTYPE_F32, 4, {0}},
        {2, 8, 2, 2, 2, 300, 33, 70, 4, 0, true, false, 0.2f, 0, LEAT_DTYPE_F32, 3, {0}},
        {1, 2, 2, 8, 533, 0, 100, 129, 3, 0, false, false, 0, 1.5f, LEAT_DTYPE_F32, 2, {0}},
        {3, 9, 3, 1, 1000, 0, 64, 64, 4, 0, true, false, 0, 0, LEAT_DTYPE_F32, 2, {1000, 63, 1}},
        {1, 7, 1, 1, 257, 0, 5, 3, 4, 0, false, false, 0, 0, LEAT_DTYPE_F32, 4, {256}},
        {2, 3, 3, 31, 128, 0, 64, 64, 3, 'k', false, false, 0, 0, LEAT_DTYPE_F32, 1, {0}},
        {2, 3, 3, 31, 128, 0, 64, 64, 3, 'k', false, false, 0, 0, LEAT_DTYPE_BF16, 1, {0}},
        {2, 4, 2, 5, 600, 0, 64, 24, 4, 0, true, false, 0, 0, LEAT_DTYPE_BF16, 1, {531, 5}},
        {1, 4, 2, 45, 45, 0, 18, 37, 3, 's', true, false, 0, 0, LEAT_DTYPE_BF16, 2, {0}},
        {1, 2, 1, 30, 33, 7, 6, 50, 4, 'b', true, true, 0, 0, LEAT_DTYPE_BF16, 1, {0}},
        {2, 1, 1, 9, 601, 0, 64, 33, 4, 'f', false, false, 0, 2, LEAT_DTYPE_BF16, 1, {0}},
        {1, 2, 2, 40, 1, 1100, 2, 1, 4, 0, true, true, 0.7f, 0, LEAT_DTYPE_BF16, 1, {0}},
        {1, 2, 2, 15, 63, 0, 7, 65, 3, 0, false, false, 0, 0, LEAT_DTYPE_BF16, 1, {0}},
        {1, 2, 2, 15, 63, 0, 7, 65, 3, 0, false, false, 0, 0, LEAT_DTYPE_F16, 1, {0}},
        /* One mask for all rows, rows in sixteens and what is left of them, several blocks of keys,
         * scales of both signs, a mask too large to go before the scale. */
        {1, 3, 3, 53, 1101, 0, 16, 20, 4, 'k', false, false, 0, 0, LEAT_DTYPE_BF16, 2, {0}},
        {2, 2, 1, 33, 47, 0, 8, 24, 3, 'k', false, false, 0.9f, 0, LEAT_DTYPE_BF16, 1, {0}},
        {1, 2, 2, 21, 90, 0, 8, 24, 3, 'k', false, false, -0.9f, 0, LEAT_DTYPE_BF16, 1, {0}},
        {1, 2, 2, 21, 90, 0, 8, 24, 3, 0, false, false, -0.9f, 0, LEAT_DTYPE_BF16, 1, {0}},
        {1, 2, 2, 21, 90, 0, 8, 24, 3, 'k', false, false, 1e-35f, 0, LEAT_DTYPE_BF16, 1, {0}},
        {1, 2, 2, 21, 90, 0, 8, 24, 3, 'k', false, false, 1e-35f, 0, LEAT_DTYPE_F32, 1, {0}},
        {1, 2, 2, 21, 90, 0, 8, 24, 3, 'k', false, false, -0.9f, 0, LEAT_DTYPE_F32, 1, {0}},
        {2, 3, 3, 18, 1030, 0, 12, 9, 4, 'k', false, false, 1.5f, 0, LEAT_DTYPE_F32, 1, {0}},
    };
    (void)state;
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        for (size_t i = 0; i < 3; i++) {
            check(&cases[c], test_isas[i]);
        }
    }
}

static void lengths_outside_the_keys_are_refused(void **state)
{
    float x[64] = {0}, y[64];
    int64_t lengths[2] = {3, 4};
    leat_array in[7] = {{LEAT_DTYPE_F32, 4, {2, 1, 1, 2}, x, 16},
                        {LEAT_DTYPE_F32, 4, {2, 1, 3, 2}, x, 48},
                        {LEAT_DTYPE_F32, 4, {2, 1, 3, 2}, x, 48}};
    in[6] = (leat_array){LEAT_DTYPE_I64, 1, {2}, lengths, 16};
    leat_array out = {LEAT_DTYPE_F32, 4, {2, 1, 1, 2}, y, 16};
    test_kernel kernel = {.op = "Attention",
                          .opset = 24,
                          .inputs = in,
                          .n_inputs = 7,
                          .outputs = &out,
                          .n_outputs = 1};
    leat_error err = {0};
    (void)state;
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID);
    lengths[1] = -1;
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID);
    lengths[1] = 0;
    assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
    in[6].shape[0] = 1;
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID);
}

#define MASKED_KEYS 100

static void to_type(leat_dtype dtype, const float *x, size_t n, void *out)
{
    for (size_t i = 0; i < n; i++) {
        if (dtype == LEAT_DTYPE_BF16) {
            ((uint16_t *)out)[i] = lt_f32_to_bf16(x[i]);
        } else {
            ((float *)out)[i] = x[i];
        }
    }
}

typedef struct masked_case {
    const char *domain;
    const float *mask; /* f32 [mask_rows, MASKED_KEYS]; 1 row: that of all queries */
    int64_t mask_rows;
    float query; /* all of Q */
    leat_dtype dtype;
    lt_cpu_isa isa;
} masked_case;

/* Runs one head of 3 queries and MASKED_KEYS keys of 2 features, all of K one. */
static void run_masked(const masked_case *t, const float *v, float *y)
{
    enum {
        N = MASKED_KEYS
    };
    float ones[2 * N], queries[6];
    char q[24], k[8 * N], values[8 * N], out_data[24];
    for (int i = 0; i < 2 * N; i++) {
        ones[i] = 1;
        queries[i % 6] = t->query;
    }
    to_type(t->dtype, queries, 6, q);
    to_type(t->dtype, ones, 2 * N, k);
    to_type(t->dtype, v, 2 * N, values);
    const size_t element = leat_dtype_bytes(t->dtype, 1);
    leat_array in[] = {
        {t->dtype, 4, {1, 1, 3, 2}, q, 6 * element},
        {t->dtype, 4, {1, 1, N, 2}, k, 2 * N * element},
        {t->dtype, 4, {1, 1, N, 2}, values, 2 * N * element},
        {LEAT_DTYPE_F32, 2, {t->mask_rows, N}, (void *)t->mask, (size_t)t->mask_rows * N * 4}};
    leat_array out = {t->dtype, 4, {1, 1, 3, 2}, out_data, 6 * element};
    test_kernel kernel = {.op = "Attention",
                          .domain = t->domain,
                          .opset = 23,
                          .inputs = in,
                          .n_inputs = 4,
                          .outputs = &out,
                          .n_outputs = 1,
                          .isa = t->isa};
    leat_error err = {0};
    assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
    for (size_t i = 0; i < 6; i++) {
        y[i] = (float)oracle_get(&out, i);
    }
}

static void fill_masked(float *mask, float *v)
{
    for (int i = 0; i < MASKED_KEYS; i++) {
        mask[i] = i < 40 ? 0 : -10000;
        mask[MASKED_KEYS + i] = i == 99 ? 5 : -INFINITY;
        mask[2 * MASKED_KEYS + i] = -INFINITY;
        v[2 * i] = i < 40 ? 2 : 1e6f;
        v[2 * i + 1] = (float)i;
    }
}

static bool near_by(float a, float b, leat_dtype dtype)
{
    return fabsf(a - b) <= fabsf(b) * (dtype == LEAT_DTYPE_BF16 ? 0x1p-8f : 1e-5f);
}

/* Row `row` of the masks, whose results are a and b. */
static void check_limits(const float *y, int row, leat_dtype dtype, bool zero)
{
    const float a = y[0], b = y[1];
    if (row == 0) {
        assert_true(near_by(a, 2, dtype) && near_by(b, 19.5f, dtype));
    } else if (row == 1) {
        assert_true(near_by(a, 1e6f, dtype) && near_by(b, 99, dtype));
    } else {
        assert_true(zero ? a == 0 && b == 0 : isnan(a) && isnan(b));
    }
}

/* -infinity leaves a key out, -10000 does so, too. A row without any key is 0, or NaN, as Softmax's
 * is, where the node was made of one. NaN and infinity in the mask come out as NaN, and so does NaN
 * of the data. With a mask of each query, and with one of all, in both types. */
static void masks_at_the_limits_give_the_limits(void **state)
{
    static const leat_dtype dtypes[] = {LEAT_DTYPE_F32, LEAT_DTYPE_BF16};
    float mask[3 * MASKED_KEYS], v[2 * MASKED_KEYS], y[6];
    (void)state;
    for (size_t c = 0; c < 12; c++) {
        const bool zero = c % 2 == 0;
        masked_case t = {zero ? "" : "leat", mask, 3, 1, dtypes[c / 2 % 2], test_isas[c / 4]};
        fill_masked(mask, v);
        run_masked(&t, v, y);
        for (int row = 0; row < 3; row++) {
            check_limits(y + 2 * row, row, t.dtype, zero);
        }
        t.mask_rows = 1;
        for (int row = 0; row < 3; row++) {
            t.mask = mask + row * MASKED_KEYS;
            run_masked(&t, v, y);
            for (int i = 0; i < 3; i++) {
                check_limits(y + 2 * i, row, t.dtype, zero);
            }
        }
        t.mask = mask;
        t.query = NAN;
        run_masked(&t, v, y);
        assert_true(isnan(y[0]) && isnan(y[5]));
        t.query = 1;
        for (int odd = 0; odd < 2; odd++) {
            mask[7] = odd ? INFINITY : NAN;
            t.mask_rows = 3;
            run_masked(&t, v, y);
            assert_true(isnan(y[0]) && isnan(y[1]));
            check_limits(y + 2, 1, t.dtype, zero);
            t.mask_rows = 1;
            run_masked(&t, v, y);
            assert_true(isnan(y[0]) && isnan(y[1]) && isnan(y[4]));
        }
    }
}

static void attention_refuses_what_does_not_fit(void **state)
{
    float x[64] = {0}, y[64];
    leat_array in[] = {{LEAT_DTYPE_F32, 3, {1, 2, 8}, x, 64},
                       {LEAT_DTYPE_F32, 3, {1, 2, 8}, x, 64},
                       {LEAT_DTYPE_F32, 3, {1, 3, 8}, x, 96},
                       {LEAT_DTYPE_F32, 2, {2, 2}, x, 16}};
    leat_array out = {LEAT_DTYPE_F32, 3, {1, 2, 8}, y, 64};
    leat_attr attrs[] = {test_attr_int("q_num_heads", 2), test_attr_int("kv_num_heads", 2)};
    test_kernel kernel = {.op = "Attention",
                          .opset = 23,
                          .attrs = attrs,
                          .n_attrs = 2,
                          .inputs = in,
                          .n_inputs = 4,
                          .outputs = &out,
                          .n_outputs = 1};
    leat_error err = {0};
    (void)state;
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID); /* rows of V */
    in[2].shape[1] = 2;
    assert_ok(test_kernel_run(&kernel, NULL, &err), &err);
    in[3].shape[0] = 3;
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID); /* the mask */
    in[3].shape[0] = 2;
    attrs[0].u.i = 3;
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID); /* heads */
    attrs[0].u.i = 2;
    attrs[1].u.i = 4;
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID); /* heads of K */
    attrs[1].u.i = 2;
    out.dtype = LEAT_DTYPE_F16;
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_matches_double_loops),
        cmocka_unit_test(lengths_outside_the_keys_are_refused),
        cmocka_unit_test(masks_at_the_limits_give_the_limits),
        cmocka_unit_test(attention_refuses_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* RotaryEmbedding, TensorScatter, LinearAttention, CausalConvWithState. */
#include "support/op_check.h"

#include <math.h>

#define MOST 8192

static double x[MOST], a[5][MOST], out[MOST], next[MOST], want[MOST], want_next[MOST];
static int64_t list[64];

static const leat_dtype dtypes[] = {LEAT_DTYPE_F32, LEAT_DTYPE_F16, LEAT_DTYPE_BF16};

static double get(const leat_array *array, int64_t i)
{
    return oracle_get(array, (size_t)i);
}

static void check_rotary(leat_dtype dtype, bool interleaved, bool four, int64_t turned)
{
    const int64_t shape4[] = {2, 3, 5, 14}, shape3[] = {2, 5, 42}, table[] = {9, turned / 2};
    const int64_t tokens[] = {2, 5};
    leat_array in[4] = {op_filled(dtype, four ? 4 : 3, four ? shape4 : shape3, x, 1),
                        op_filled(dtype, 2, table, a[0], 2), op_filled(dtype, 2, table, a[1], 3),
                        op_array(LEAT_DTYPE_I64, 2, tokens, list)};
    leat_array y = op_array(dtype, in[0].rank, in[0].shape, out);
    leat_attr attrs[] = {test_attr_int("num_heads", 3), test_attr_int("interleaved", interleaved),
                         test_attr_int("rotary_embedding_dim", turned == 14 ? 0 : turned)};
    for (int64_t t = 0; t < 10; t++) {
        list[t] = (t * 5 + 2) % 9;
    }
    for (int64_t i = 0; i < 420; i++) {
        int64_t e = i % 14, first = i - e;
        int64_t t = four ? i / 210 * 5 + i / 14 % 5 : i / 42;
        int64_t half = turned / 2, k = interleaved ? e / 2 : e % half;
        bool second = interleaved ? e % 2 : e >= half;
        double c = get(&in[1], list[t] * half + k), s = get(&in[2], list[t] * half + k);
        double p = get(&in[0], first + (interleaved ? 2 * k : k));
        double q = get(&in[0], first + (interleaved ? 2 * k + 1 : k + half));
        want[i] = e >= turned ? get(&in[0], i) : second ? p * s + q * c : p * c - q * s;
    }
    test_kernel kernel = {.op = "RotaryEmbedding",
                          .opset = 23,
                          .attrs = attrs,
                          .n_attrs = 3,
                          .inputs = in,
                          .n_inputs = 4,
                          .outputs = &y,
                          .n_outputs = 1};
    const double *expected[] = {want};
    op_check(&kernel, expected, oracle_rtol(dtype, 2), oracle_rtol(dtype, 2));
    list[3] = 9;
    op_check_invalid(&kernel, "position 9 of token 3");
}

static void rotary_turns_pairs(void **state)
{
    (void)state;
    for (int i = 0; i < 24; i++) {
        check_rotary(dtypes[i % 3], i & 1, i & 2, i & 4 ? 14 : 8);
    }
}

static void tensor_scatter_writes_into_the_cache(void **state)
{
    (void)state;
    const int64_t cache[] = {3, 2, 5, 4}, update[] = {3, 2, 3, 4}, three = 3;
    for (int circular = 0; circular < 2; circular++) {
        leat_array in[3] = {op_filled(LEAT_DTYPE_F32, 4, cache, x, 1),
                            op_filled(LEAT_DTYPE_F32, 4, update, a[0], 2),
                            op_array(LEAT_DTYPE_I64, 1, &three, list)};
        leat_array y = op_array(LEAT_DTYPE_F32, 4, cache, out);
        leat_attr attr = test_attr_string("mode", circular ? "circular" : "linear");
        list[0] = 0;
        list[1] = 2;
        list[2] = circular ? 9 : 1; /* wraps to 4, 0, 1 */
        for (int64_t i = 0; i < 120; i++) {
            want[i] = get(&in[0], i);
        }
        for (int64_t i = 0; i < 72; i++) {
            int64_t to = (list[i / 24] + i / 4 % 3) % 5;
            want[(i / 12 * 5 + to) * 4 + i % 4] = get(&in[1], i);
        }
        test_kernel kernel = {.op = "TensorScatter",
                              .opset = 24,
                              .attrs = &attr,
                              .n_attrs = 1,
                              .inputs = in,
                              .n_inputs = 3,
                              .outputs = &y,
                              .n_outputs = 1};
        const double *expected[] = {want};
        op_check(&kernel, expected, 0, 0);
        for (int64_t bad = -1; bad < 4 && !circular; bad += 4) {
            list[2] = bad;
            op_check_invalid(&kernel, "of a cache of 5");
        }
    }
}

typedef struct attention_case {
    leat_dtype dtype;
    const char *rule;
    bool gated, delta, each, past;
} attention_case;

/* 2 batch items, 4 tokens, 2 key heads with 3 query heads each, d_k 5, d_v 7. */
static void expect_attention(const attention_case *c, const leat_array *in)
{
    for (int64_t bh = 0; bh < 4; bh++) {
        double s[5][7];
        for (int64_t i = 0; i < 35; i++) {
            s[i / 7][i % 7] = c->past ? get(&in[3], bh * 35 + i) : 0;
        }
        for (int64_t t = 0; t < 4; t++) {
            int64_t token = bh / 2 * 4 + t, head = token * 2 + bh % 2;
            for (int64_t i = 0; i < 5 && c->gated; i++) {
                double g = exp(get(&in[4], c->each ? head * 5 + i : head));
                for (int64_t j = 0; j < 7; j++) {
                    s[i][j] *= g;
                }
            }
            double v[7];
            for (int64_t j = 0; j < 7; j++) {
                double seen = 0;
                for (int64_t i = 0; i < 5; i++) {
                    seen += s[i][j] * get(&in[1], head * 5 + i);
                }
                v[j] = get(&in[2], head * 7 + j);
                v[j] = c->delta ? get(&in[5], head) * (v[j] - seen) : v[j];
            }
            for (int64_t k = 0; k < 35; k++) {
                s[k / 7][k % 7] += get(&in[1], head * 5 + k / 7) * v[k % 7];
            }
            for (int64_t k = 0; k < 21; k++) {
                int64_t q = head * 3 + k / 7;
                want[q * 7 + k % 7] = 0;
                for (int64_t i = 0; i < 5; i++) {
                    want[q * 7 + k % 7] += get(&in[0], q * 5 + i) * s[i][k % 7] / sqrt(5);
                }
            }
        }
        for (int64_t i = 0; i < 35; i++) {
            want_next[bh * 35 + i] = s[i / 7][i % 7];
        }
    }
}

static void linear_attention_matches_recurrence(void **state)
{
    (void)state;
    static const char *const rules[] = {"linear", "gated", "delta", "gated_delta"};
    const int64_t q[] = {2, 4, 30}, k[] = {2, 4, 10}, v[] = {2, 4, 14}, s[] = {2, 2, 5, 7};
    const int64_t heads[] = {2, 4, 2}, y_shape[] = {2, 4, 42};
    for (int i = 0; i < 48; i++) {
        attention_case c = {dtypes[i % 3], rules[i / 3 % 4], i / 3 % 2,
                            i / 6 % 2,     i / 12 % 2,       i / 24};
        leat_array in[6] = {op_filled(c.dtype, 3, q, x, 1),
                            op_filled(c.dtype, 3, k, a[0], 2),
                            op_filled(c.dtype, 3, v, a[1], 3),
                            op_filled(c.dtype, 4, s, a[2], 4),
                            op_filled(c.dtype, 3, c.each ? k : heads, a[3], 5),
                            op_filled(c.dtype, 3, heads, a[4], 6)};
        leat_array outs[2] = {op_array(c.dtype, 3, y_shape, out), op_array(c.dtype, 4, s, next)};
        leat_attr attrs[] = {test_attr_int("q_num_heads", 6), test_attr_int("kv_num_heads", 2),
                             test_attr_string("update_rule", c.rule)};
        expect_attention(&c, in);
        static const leat_array none = {.dtype = LEAT_DTYPE_UNDEFINED};
        in[3] = c.past ? in[3] : none;
        in[4] = c.gated ? in[4] : none;
        in[5] = c.delta ? in[5] : none;
        test_kernel kernel = {.op = "LinearAttention",
                              .opset = 27,
                              .attrs = attrs,
                              .n_attrs = 3,
                              .inputs = in,
                              .n_inputs = 6,
                              .outputs = outs,
                              .n_outputs = 2};
        const double *expected[] = {want, want_next};
        double tolerance = 4 * oracle_rtol(c.dtype, 64);
        op_check(&kernel, expected, tolerance, tolerance);
    }
}

static void causal_conv_looks_back(void **state)
{
    (void)state;
    for (int i = 0; i < 24; i++) {
        leat_dtype dtype = dtypes[i % 3];
        bool bias = i & 1, past = i & 2, silu = i & 4;
        int64_t length = i < 12 ? 2 : 37, five = 5; /* shorter than the taps, and longer */
        const int64_t shape[] = {3, 5, length}, w[] = {5, 1, 4}, state_shape[] = {3, 5, 3};
        leat_array in[4] = {op_filled(dtype, 3, shape, x, 1), op_filled(dtype, 3, w, a[0], 2),
                            op_filled(dtype, 1, &five, a[1], 3),
                            op_filled(dtype, 3, state_shape, a[2], 4)};
        static const leat_array none = {.dtype = LEAT_DTYPE_UNDEFINED};
        in[2] = bias ? in[2] : none;
        in[3] = past ? in[3] : none;
        leat_array outs[2] = {op_array(dtype, 3, shape, out),
                              op_array(dtype, 3, state_shape, next)};
        leat_attr attr = test_attr_string("activation", silu ? "silu" : "none");
        for (int64_t r = 0; r < 15; r++) {
            double line[64];
            for (int64_t l = 0; l < length + 3; l++) {
                line[l] = l >= 3 ? get(&in[0], r * length + l - 3)
                          : past ? get(&in[3], r * 3 + l)
                                 : 0;
            }
            for (int64_t l = 0; l < length; l++) {
                double sum = bias ? get(&in[2], r % 5) : 0;
                for (int64_t j = 0; j < 4; j++) {
                    sum += get(&in[1], r % 5 * 4 + j) * line[l + j];
                }
                want[r * length + l] = silu ? sum / (1 + exp(-sum)) : sum;
            }
            for (int64_t l = 0; l < 3; l++) {
                want_next[r * 3 + l] = line[length + l];
            }
        }
        test_kernel kernel = {.op = "CausalConvWithState",
                              .opset = 27,
                              .attrs = &attr,
                              .n_attrs = 1,
                              .inputs = in,
                              .n_inputs = 4,
                              .outputs = outs,
                              .n_outputs = 2};
        const double *expected[] = {want, want_next};
        op_check(&kernel, expected, oracle_rtol(dtype, 4), oracle_rtol(dtype, 4));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rotary_turns_pairs),
        cmocka_unit_test(tensor_scatter_writes_into_the_cache),
        cmocka_unit_test(linear_attention_matches_recurrence),
        cmocka_unit_test(causal_conv_looks_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

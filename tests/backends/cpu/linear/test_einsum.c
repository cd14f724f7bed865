/* SPDX-License-Identifier: Apache-2.0 */
/* Einsum against a sum over all labels at once. */
#include "support/op_check.h"

#include <ctype.h>

#define MOST 8192

static double data[3][MOST], out[MOST], want[MOST], scale[MOST];

typedef struct einsum_case {
    const char *inputs[3]; /* labels of each operand */
    const char *output;
    const char *equation;
} einsum_case;

static const char all_labels[] = "abcdefgh";
static const int64_t extents[] = {3, 5, 1, 4, 7, 2, 6, 9};

static int64_t extent(char label)
{
    return extents[label - 'a'];
}

static leat_array shaped(leat_dtype dtype, const char *labels, void *storage)
{
    int64_t shape[LEAT_MAX_RANK];
    for (size_t i = 0; labels[i]; i++) {
        shape[i] = extent(labels[i]);
    }
    return op_array(dtype, (int32_t)strlen(labels), shape, storage);
}

/* Element of an operand at these indices of the labels. */
static size_t element(const char *labels, const int64_t *index)
{
    int64_t at = 0;
    for (size_t i = 0; labels[i]; i++) {
        at = at * extent(labels[i]) + index[labels[i] - 'a'];
    }
    return (size_t)at;
}

static bool appears(const einsum_case *c, char label)
{
    bool found = false;
    for (int i = 0; i < 3; i++) {
        found = found || (c->inputs[i] && strchr(c->inputs[i], label));
    }
    return found;
}

static void expect(const einsum_case *c, const leat_array *in, size_t n_out)
{
    int64_t index[8] = {0};
    memset(want, 0, n_out * sizeof(*want));
    memset(scale, 0, n_out * sizeof(*scale));
    for (bool more = true; more;) {
        double product = 1;
        for (int i = 0; i < 3 && c->inputs[i]; i++) {
            product *= oracle_get(&in[i], element(c->inputs[i], index));
        }
        want[element(c->output, index)] += product;
        scale[element(c->output, index)] += product < 0 ? -product : product;
        more = false;
        for (int l = 7; l >= 0 && !more; l--) {
            bool moves = appears(c, all_labels[l]);
            more = moves && ++index[l] < extents[l];
            index[l] = more || !moves ? index[l] : 0;
        }
    }
}

static const einsum_case cases[] = {
    {{"ab", "bd"}, "ad", "ab,bd->ad"},
    {{"abd", "ade"}, "abe", "abd,ade->abe"},
    {{"ab"}, "ba", "ab->ba"},
    {{"abd"}, "", "abd->"},
    {{"aab"}, "ab", "aab->ab"},
    {{"ab", "de"}, "abde", "ab,de"},
    {{"abf", "bdf", "de"}, "ae", "abf,bdf,de->ae"},
    {{"ea", "ea"}, "e", "ea,ea->e"},
    {{"abcd", "bef"}, "dafe", " abcd , bef -> dafe"},
    {{"g", "g"}, "", "g,g->"},
    {{"abd", "bd"}, "a", "a...,...->a"},
    {{"bae", "bed"}, "bad", "...ae,...ed->...ad"},
};

static void einsum_matches_sum_over_labels(void **state)
{
    (void)state;
    static const leat_dtype dtypes[] = {LEAT_DTYPE_F32,  LEAT_DTYPE_F64, LEAT_DTYPE_F16,
                                        LEAT_DTYPE_BF16, LEAT_DTYPE_I32, LEAT_DTYPE_I64};
    for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
        for (int d = 0; d < 6; d++) {
            const einsum_case *c = &cases[k];
            leat_array in[3];
            uint32_t n = 0;
            for (; n < 3 && c->inputs[n]; n++) {
                in[n] = shaped(dtypes[d], c->inputs[n], data[n]);
                oracle_fill(&in[n], k + n);
            }
            leat_array y = shaped(dtypes[d], c->output, out);
            leat_attr attr = test_attr_string("equation", c->equation);
            expect(c, in, oracle_count(&y));
            test_kernel kernel = {.op = "Einsum",
                                  .attrs = &attr,
                                  .n_attrs = 1,
                                  .inputs = in,
                                  .n_inputs = n,
                                  .outputs = &y,
                                  .n_outputs = 1};
            const double *expected[] = {want};
            double most = 0;
            for (size_t i = 0; i < oracle_count(&y); i++) {
                most = scale[i] > most ? scale[i] : most;
            }
            double rtol = d < 4 ? oracle_rtol(dtypes[d], 256) : 0;
            op_check(&kernel, expected, rtol, rtol * most);
        }
    }
}

static void einsum_bad_equation_is_invalid(void **state)
{
    (void)state;
    static const char *const equations[] = {
        "ab", "ab,bd->az", "ab,bd->aa", "abc,bd", "a,b-", "ab,bd->ad,", "a..b,bd", "ab bd", ""};
    for (size_t i = 0; i < sizeof(equations) / sizeof(equations[0]); i++) {
        leat_array in[2] = {shaped(LEAT_DTYPE_F32, "ab", data[0]),
                            shaped(LEAT_DTYPE_F32, "bd", data[1])};
        leat_array y = shaped(LEAT_DTYPE_F32, "ad", out);
        leat_attr attr = test_attr_string("equation", equations[i]);
        test_kernel kernel = {.op = "Einsum",
                              .attrs = &attr,
                              .n_attrs = 1,
                              .inputs = in,
                              .n_inputs = 2,
                              .outputs = &y,
                              .n_outputs = 1};
        op_check_invalid(&kernel, "equation");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(einsum_matches_sum_over_labels),
        cmocka_unit_test(einsum_bad_equation_is_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

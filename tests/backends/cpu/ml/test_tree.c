/* SPDX-License-Identifier: Apache-2.0 */
/* Trees that no exporter writes: what they describe must be refused, or walked without a loop. What
 * good trees give is compared with ONNX Runtime by scripts/ort_cases.sh. */
#include "support/test.h"

#include "support/kernel.h"

#include <math.h>

#define MOST 128

/* A TreeEnsembleRegressor of one tree set, lists of at most MOST nodes. */
typedef struct trees {
    size_t n, n_weights;
    int64_t tree[MOST], id[MOST], feature[MOST], yes[MOST], no[MOST];
    float value[MOST];
    leat_string mode[MOST];
    int64_t weight_tree[MOST], weight_id[MOST], weight_target[MOST];
    float weight[MOST];
} trees;

static void add(trees *t, int64_t id, const char *mode, int64_t feature, float value, int64_t yes,
                int64_t no)
{
    size_t i = t->n++;
    t->tree[i] = 0;
    t->id[i] = id;
    t->mode[i] = (leat_string){mode, strlen(mode)};
    t->feature[i] = feature;
    t->value[i] = value;
    t->yes[i] = yes;
    t->no[i] = no;
}

static void add_leaf(trees *t, int64_t id, int64_t target, float weight)
{
    size_t i = t->n_weights++;
    add(t, id, "LEAF", 0, 0, 0, 0);
    t->weight_tree[i] = 0;
    t->weight_id[i] = id;
    t->weight_target[i] = target;
    t->weight[i] = weight;
}

static leat_attr floats(const char *name, const float *data, size_t count)
{
    leat_attr attr = {name, LEAT_ATTR_FLOATS, count, {.floats = data}};
    return attr;
}

static leat_attr strings(const char *name, const leat_string *data, size_t count)
{
    leat_attr attr = {name, LEAT_ATTR_STRINGS, count, {.strings = data}};
    return attr;
}

/* rows x features of x to rows x 1 of y. */
static leat_status run(const trees *t, const float *x, int64_t rows, int64_t features, float *y,
                       leat_error *err)
{
    const leat_attr attrs[] = {test_attr_ints("nodes_treeids", t->tree, t->n),
                               test_attr_ints("nodes_nodeids", t->id, t->n),
                               test_attr_ints("nodes_featureids", t->feature, t->n),
                               test_attr_ints("nodes_truenodeids", t->yes, t->n),
                               test_attr_ints("nodes_falsenodeids", t->no, t->n),
                               floats("nodes_values", t->value, t->n),
                               strings("nodes_modes", t->mode, t->n),
                               test_attr_ints("target_treeids", t->weight_tree, t->n_weights),
                               test_attr_ints("target_nodeids", t->weight_id, t->n_weights),
                               test_attr_ints("target_ids", t->weight_target, t->n_weights),
                               floats("target_weights", t->weight, t->n_weights)};
    leat_array in = {LEAT_DTYPE_F32, 2, {rows, features}, (void *)x, (size_t)(rows * features) * 4};
    leat_array out = {LEAT_DTYPE_F32, 2, {rows, 1}, y, (size_t)rows * 4};
    test_kernel kernel = {.op = "TreeEnsembleRegressor",
                          .domain = "ai.onnx.ml",
                          .opset = 3,
                          .attrs = attrs,
                          .n_attrs = sizeof(attrs) / sizeof(attrs[0]),
                          .inputs = &in,
                          .n_inputs = 1,
                          .outputs = &out,
                          .n_outputs = 1,
                          .isa = LT_CPU_AVX512};
    return test_kernel_run(&kernel, NULL, err);
}

static void assert_refused(const trees *t, const char *text)
{
    const float x[2] = {0, 0};
    float y[1];
    leat_error err = {0};
    leat_status status = run(t, x, 1, 2, y, &err);
    if (status != LEAT_INVALID || strstr(err.message, text) == NULL) {
        fail_msg("%s \"%s\" instead of INVALID \"%s\"", leat_status_text(status), err.message,
                 text);
    }
}

static void run_nodes_in_any_order_gives_the_same(void **state)
{
    trees t = {0};
    float y[9];
    const float x[18] = {-1, -1, -1, 1, 1, -1, 1, 1, 0, 0, -2, 3, 5, 5, NAN, -1, NAN, NAN};
    const float expected[9] = {3, 3, 1, 2, 3, 3, 2, 1, 2};
    leat_error err = {0};
    (void)state;
    add_leaf(&t, 9, 0, 3); /* ids neither ascending nor dense, the root not first */
    add(&t, 7, "BRANCH_LEQ", 0, 0, 9, 8);
    add_leaf(&t, 40, 0, 2);
    add(&t, 8, "BRANCH_LEQ", 1, 0, -3, 40);
    add_leaf(&t, -3, 0, 1);
    assert_ok(run(&t, x, 9, 2, y, &err), &err);
    assert_memory_equal(y, expected, sizeof(y));
}

static void run_one_leaf_gives_its_weight(void **state)
{
    trees t = {0};
    float y[3];
    const float x[6] = {0};
    leat_error err = {0};
    (void)state;
    add_leaf(&t, 0, 0, 2.5f);
    assert_ok(run(&t, x, 3, 2, y, &err), &err);
    assert_true(y[0] == 2.5f && y[1] == 2.5f && y[2] == 2.5f);
}

/* A chain of MOST / 2 branches: as deep as its nodes allow. */
static void run_chain_reaches_every_leaf(void **state)
{
    enum {
        N = MOST / 2 - 1
    };
    trees t = {0};
    float x[2 * (N + 1)], y[N + 1];
    leat_error err = {0};
    (void)state;
    for (int64_t i = 0; i < N; i++) {
        add(&t, 2 * i, "BRANCH_LEQ", 0, (float)i, 2 * i + 1, 2 * i + 2);
        add_leaf(&t, 2 * i + 1, 0, (float)i);
    }
    add_leaf(&t, 2 * N, 0, N);
    for (int i = 0; i <= N; i++) {
        x[2 * i] = (float)i;
        x[2 * i + 1] = 0;
    }
    assert_ok(run(&t, x, N + 1, 2, y, &err), &err);
    for (int i = 0; i <= N; i++) {
        assert_true(y[i] == (float)i);
    }
}

static void prepare_cycle_returns_invalid(void **state)
{
    trees t = {0};
    (void)state;
    add(&t, 0, "BRANCH_LEQ", 0, 0, 1, 0);
    add_leaf(&t, 1, 0, 1);
    assert_refused(&t, "2 nodes lie on a cycle");
    memset(&t, 0, sizeof(t));
    add(&t, 0, "BRANCH_LEQ", 0, 0, 1, 2);
    add(&t, 1, "BRANCH_LEQ", 0, 0, 2, 2);
    add_leaf(&t, 2, 0, 1);
    assert_refused(&t, "is reached twice");
}

static void prepare_branch_to_nowhere_returns_invalid(void **state)
{
    trees t = {0};
    (void)state;
    add(&t, 0, "BRANCH_LEQ", 0, 0, 1, 5);
    add_leaf(&t, 1, 0, 1);
    assert_refused(&t, "a branch leads to node -1");
}

static void prepare_feature_out_of_range_returns_invalid(void **state)
{
    static const int64_t bad[] = {2, -1, INT64_MAX, INT64_MIN};
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        trees t = {0};
        add(&t, 0, "BRANCH_LEQ", bad[i], 0, 1, 2);
        add_leaf(&t, 1, 0, 1);
        add_leaf(&t, 2, 0, 1);
        assert_refused(&t, "asks for feature");
    }
}

static void prepare_target_out_of_range_returns_invalid(void **state)
{
    trees t = {0};
    (void)state;
    add_leaf(&t, 0, 1, 1);
    assert_refused(&t, "a leaf names target 1 of 1");
    t.weight_target[0] = -1;
    assert_refused(&t, "belongs to no node");
    t.weight_target[0] = INT64_MAX;
    assert_refused(&t, "belongs to no node");
    t.weight_target[0] = 0;
    t.weight_id[0] = 3;
    assert_refused(&t, "belongs to no node");
}

static void prepare_unknown_mode_returns_invalid(void **state)
{
    trees t = {0};
    (void)state;
    add(&t, 0, "BRANCH_MAYBE", 0, 0, 1, 2);
    add_leaf(&t, 1, 0, 1);
    add_leaf(&t, 2, 0, 1);
    assert_refused(&t, "unknown mode 'BRANCH_MAYBE'");
}

/* A member node has its list in an attribute that this operator does not have. */
static void prepare_member_without_list_returns_invalid(void **state)
{
    trees t = {0};
    (void)state;
    add(&t, 0, "BRANCH_MEMBER", 0, 0, 1, 2);
    add_leaf(&t, 1, 0, 1);
    add_leaf(&t, 2, 0, 1);
    assert_refused(&t, "membership_values ends");
}

static void prepare_lists_of_other_lengths_returns_invalid(void **state)
{
    trees t = {0};
    const float x[2] = {0, 0};
    float y[1];
    leat_error err = {0};
    (void)state;
    add_leaf(&t, 0, 0, 1);
    const leat_attr attrs[] = {test_attr_ints("nodes_treeids", t.tree, 1),
                               test_attr_ints("nodes_nodeids", t.id, 2)};
    leat_array in = {LEAT_DTYPE_F32, 2, {1, 2}, (void *)x, 8};
    leat_array out = {LEAT_DTYPE_F32, 2, {1, 1}, y, 4};
    test_kernel kernel = {.op = "TreeEnsembleRegressor",
                          .domain = "ai.onnx.ml",
                          .attrs = attrs,
                          .n_attrs = 2,
                          .inputs = &in,
                          .n_inputs = 1,
                          .outputs = &out,
                          .n_outputs = 1};
    assert_int_equal(test_kernel_run(&kernel, NULL, &err), LEAT_INVALID);
    assert_non_null(strstr(err.message, "has 2 elements, not 1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_nodes_in_any_order_gives_the_same),
        cmocka_unit_test(run_one_leaf_gives_its_weight),
        cmocka_unit_test(run_chain_reaches_every_leaf),
        cmocka_unit_test(prepare_cycle_returns_invalid),
        cmocka_unit_test(prepare_branch_to_nowhere_returns_invalid),
        cmocka_unit_test(prepare_feature_out_of_range_returns_invalid),
        cmocka_unit_test(prepare_target_out_of_range_returns_invalid),
        cmocka_unit_test(prepare_unknown_mode_returns_invalid),
        cmocka_unit_test(prepare_member_without_list_returns_invalid),
        cmocka_unit_test(prepare_lists_of_other_lengths_returns_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

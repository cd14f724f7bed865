/* SPDX-License-Identifier: Apache-2.0 */
#include "conformance/nodes.h"

#include "support/oracle.h"

#include <math.h>

#define F32(...)                                                                                   \
    {                                                                                              \
        .dtype = LEAT_DTYPE_F32, __VA_ARGS__                                                       \
    }
#define SHAPE1(a) .rank = 1, .shape = {a}
#define SHAPE2(a, b) .rank = 2, .shape = {a, b}
#define SHAPE3(a, b, c) .rank = 3, .shape = {a, b, c}
#define SHAPE4(a, b, c, d) .rank = 4, .shape = {a, b, c, d}

static size_t count_of(const node_case *c)
{
    return oracle_count(&c->output);
}

/* Index into an input of the element that broadcasts to output element i. */
static size_t broadcast_index(const leat_array *input, const leat_array *output, size_t i)
{
    size_t index = 0, stride = 1;
    for (int32_t d = output->rank - 1; d >= 0; d--) {
        size_t at = i % (size_t)output->shape[d];
        int32_t k = d - (output->rank - input->rank);
        i /= (size_t)output->shape[d];
        if (k >= 0) {
            index += input->shape[k] == 1 ? 0 : at * stride;
            stride *= (size_t)input->shape[k];
        }
    }
    return index;
}

static void relu(const node_case *c, const double *const *x, double *y)
{
    for (size_t i = 0; i < count_of(c); i++) {
        y[i] = x[0][i] < 0 ? 0 : x[0][i];
    }
}

static void sigmoid(const node_case *c, const double *const *x, double *y)
{
    for (size_t i = 0; i < count_of(c); i++) {
        y[i] = 1 / (1 + exp(-x[0][i]));
    }
}

static void same(const node_case *c, const double *const *x, double *y)
{
    for (size_t i = 0; i < count_of(c); i++) {
        y[i] = x[0][i];
    }
}

#define BINARY(name, expression)                                                                   \
    static void name(const node_case *c, const double *const *x, double *y)                        \
    {                                                                                              \
        for (size_t i = 0; i < count_of(c); i++) {                                                 \
            double a = x[0][broadcast_index(&c->inputs[0], &c->output, i)];                        \
            double b = x[1][broadcast_index(&c->inputs[1], &c->output, i)];                        \
            y[i] = expression;                                                                     \
        }                                                                                          \
    }
BINARY(add, a + b)
BINARY(sub, a - b)
BINARY(mul, a *b)

/* Matrices of rank 2. */
static void matmul(const node_case *c, const double *const *x, double *y)
{
    size_t k = (size_t)c->inputs[0].shape[1], n = (size_t)c->output.shape[1];
    for (size_t i = 0; i < count_of(c); i++) {
        y[i] = 0;
        for (size_t t = 0; t < k; t++) {
            y[i] += x[0][i / n * k + t] * x[1][t * n + i % n];
        }
    }
}

/* Over the last axis. */
static void softmax(const node_case *c, const double *const *x, double *y)
{
    size_t n = (size_t)c->output.shape[c->output.rank - 1];
    for (size_t row = 0; row < count_of(c) / n; row++) {
        const double *in = x[0] + row * n;
        double most = -INFINITY, sum = 0;
        for (size_t i = 0; i < n; i++) {
            most = fmax(most, in[i]);
        }
        for (size_t i = 0; i < n; i++) {
            sum += exp(in[i] - most);
        }
        for (size_t i = 0; i < n; i++) {
            y[row * n + i] = exp(in[i] - most) / sum;
        }
    }
}

/* 3x3 kernel, padding 1, N = 1. */
static void conv(const node_case *c, const double *const *x, double *y)
{
    int64_t channels = c->inputs[0].shape[1], h = c->inputs[0].shape[2], w = c->inputs[0].shape[3];
    for (int64_t o = 0; o < c->output.shape[1]; o++) {
        for (int64_t i = 0; i < h * w; i++) {
            double sum = c->n_inputs > 2 ? x[2][o] : 0;
            for (int64_t t = 0; t < channels * 9; t++) {
                int64_t row = i / w + t % 9 / 3 - 1, column = i % w + t % 3 - 1;
                if (row >= 0 && row < h && column >= 0 && column < w) {
                    sum += x[0][(t / 9 * h + row) * w + column] * x[1][o * channels * 9 + t];
                }
            }
            y[o * h * w + i] = sum;
        }
    }
}

/* Rank 2. */
static void transpose(const node_case *c, const double *const *x, double *y)
{
    int64_t rows = c->output.shape[0], columns = c->output.shape[1];
    for (int64_t i = 0; i < rows * columns; i++) {
        y[i] = x[0][i % columns * rows + i / columns];
    }
}

static const int64_t three_by_three[] = {3, 3};
static const int64_t pads[] = {1, 1, 1, 1};
static const leat_attr conv_attrs[] = {
    {"kernel_shape", LEAT_ATTR_INTS, 2, {.ints = three_by_three}},
    {"pads", LEAT_ATTR_INTS, 4, {.ints = pads}},
};
static const int64_t swap[] = {1, 0};
static const leat_attr transpose_attrs[] = {{"perm", LEAT_ATTR_INTS, 2, {.ints = swap}}};
static const leat_attr softmax_attrs[] = {{"axis", LEAT_ATTR_INT, 1, {.i = -1}}};
static const int64_t reshape_to[] = {3, 10};

#define UNARY_CASE(name_, op_, oracle_, ...)                                                       \
    {                                                                                              \
        .name = name_, .op = op_, .n_inputs = 1, .inputs = {F32(__VA_ARGS__)},                     \
        .output = F32(__VA_ARGS__), .oracle = oracle_                                              \
    }
#define EQUAL_CASE(name_, op_, oracle_, ...)                                                       \
    {                                                                                              \
        .name = name_, .op = op_, .n_inputs = 2, .inputs = {F32(__VA_ARGS__), F32(__VA_ARGS__)},   \
        .output = F32(__VA_ARGS__), .oracle = oracle_                                              \
    }
#define MATMUL_CASE(name_, m, k, n, constants_)                                                    \
    {                                                                                              \
        .name = name_, .op = "MatMul", .n_inputs = 2,                                              \
        .inputs = {F32(SHAPE2(m, k)), F32(SHAPE2(k, n))}, .constants = constants_,                 \
        .output = F32(SHAPE2(m, n)), .length = k, .oracle = matmul                                 \
    }

const node_case node_cases[] = {
    UNARY_CASE("node_Relu_one", "Relu", relu, SHAPE1(1)),
    UNARY_CASE("node_Relu_odd", "Relu", relu, SHAPE3(3, 5, 17)),
    UNARY_CASE("node_Relu_empty", "Relu", relu, SHAPE2(0, 4)),
    UNARY_CASE("node_Relu_scalar", "Relu", relu, .rank = 0),
    UNARY_CASE("node_Sigmoid_odd", "Sigmoid", sigmoid, SHAPE2(7, 19)),
    UNARY_CASE("node_Identity_odd", "Identity", same, SHAPE2(7, 19)),
    EQUAL_CASE("node_Add_equal", "Add", add, SHAPE2(9, 31)),
    EQUAL_CASE("node_Sub_equal", "Sub", sub, SHAPE2(9, 31)),
    EQUAL_CASE("node_Mul_equal", "Mul", mul, SHAPE1(257)),
    {.name = "node_Add_broadcast",
     .op = "Add",
     .n_inputs = 2,
     .inputs = {F32(SHAPE3(4, 1, 7)), F32(SHAPE2(5, 1))},
     .output = F32(SHAPE3(4, 5, 7)),
     .oracle = add},
    {.name = "node_Mul_broadcast_constant",
     .op = "Mul",
     .n_inputs = 2,
     .inputs = {F32(SHAPE3(4, 3, 7)), F32(SHAPE1(7))},
     .constants = 2,
     .output = F32(SHAPE3(4, 3, 7)),
     .oracle = mul},
    MATMUL_CASE("node_MatMul_one", 1, 1, 1, 0),
    MATMUL_CASE("node_MatMul_odd", 13, 37, 19, 0),
    MATMUL_CASE("node_MatMul_constant", 5, 64, 33, 2),
    MATMUL_CASE("node_MatMul_vector", 1, 129, 65, 2),
    {.name = "node_Softmax_odd",
     .op = "Softmax",
     .n_inputs = 1,
     .inputs = {F32(SHAPE2(5, 37))},
     .output = F32(SHAPE2(5, 37)),
     .attrs = softmax_attrs,
     .n_attrs = 1,
     .length = 37,
     .oracle = softmax},
    {.name = "node_Conv_3x3",
     .op = "Conv",
     .n_inputs = 3,
     .inputs = {F32(SHAPE4(1, 3, 9, 11)), F32(SHAPE4(5, 3, 3, 3)), F32(SHAPE1(5))},
     .constants = 6,
     .output = F32(SHAPE4(1, 5, 9, 11)),
     .attrs = conv_attrs,
     .n_attrs = 2,
     .length = 27,
     .oracle = conv},
    {.name = "node_Transpose_odd",
     .op = "Transpose",
     .n_inputs = 1,
     .inputs = {F32(SHAPE2(7, 19))},
     .output = F32(SHAPE2(19, 7)),
     .attrs = transpose_attrs,
     .n_attrs = 1,
     .oracle = transpose},
    {.name = "node_Reshape_constant",
     .op = "Reshape",
     .n_inputs = 2,
     .inputs = {F32(SHAPE2(5, 6)), {.dtype = LEAT_DTYPE_I64, SHAPE1(2)}},
     .constants = 2,
     .content = {NULL, reshape_to},
     .output = F32(SHAPE2(3, 10)),
     .oracle = same},
};
const size_t n_node_cases = sizeof(node_cases) / sizeof(node_cases[0]);

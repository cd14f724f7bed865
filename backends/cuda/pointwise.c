/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of pointwise operators: one launch each over 16 bytes a thread. */
#include "cuda.h"
#include "rows.h"

#include "../gpu/params/pointwise.h"

#include <math.h>
#include <stddef.h>

/* ---- one input ------------------------------------------------------------------------------- */

static const struct {
    const char *op;
    lt_gpu_function function;
    float alpha, beta; /* where the attributes are absent */
} unary_ops[] = {
    {"Abs", LT_GPU_ABS, 0, 0},
    {"Ceil", LT_GPU_CEIL, 0, 0},
    {"Clip", LT_GPU_CLIP, 0, 0},
    {"Cos", LT_GPU_COS, 0, 0},
    {"Elu", LT_GPU_ELU, 1, 0},
    {"Erf", LT_GPU_ERF, 0, 0},
    {"Exp", LT_GPU_EXP, 0, 0},
    {"Floor", LT_GPU_FLOOR, 0, 0},
    {"Gelu", LT_GPU_GELU, 0, 0},
    {"HardSigmoid", LT_GPU_HARD_SIGMOID, 0.2f, 0.5f},
    {"HardSwish", LT_GPU_HARD_SWISH, 0, 0},
    {"LeakyRelu", LT_GPU_LEAKY_RELU, 0.01f, 0},
    {"Log", LT_GPU_LOG, 0, 0},
    {"Mish", LT_GPU_MISH, 0, 0},
    {"Neg", LT_GPU_NEG, 0, 0},
    {"Reciprocal", LT_GPU_RECIPROCAL, 0, 0},
    {"Relu", LT_GPU_RELU, 0, 0},
    {"Round", LT_GPU_ROUND, 0, 0},
    {"Selu", LT_GPU_SELU, 1.67326319217681884765625f, 1.05070102214813232421875f},
    {"Sigmoid", LT_GPU_SIGMOID, 0, 0},
    {"Sign", LT_GPU_SIGN, 0, 0},
    {"Sin", LT_GPU_SIN, 0, 0},
    {"Softplus", LT_GPU_SOFTPLUS, 0, 0},
    {"Softsign", LT_GPU_SOFTSIGN, 0, 0},
    {"Sqrt", LT_GPU_SQRT, 0, 0},
    {"Swish", LT_GPU_SWISH, 1, 0},
    {"Tanh", LT_GPU_TANH, 0, 0},
};

static float f16_number(uint16_t bits)
{
    uint32_t magnitude = (uint32_t)(bits & 0x7fff) << 13, sign = (uint32_t)(bits & 0x8000) << 16;
    float v;
    memcpy(&v, &magnitude, sizeof(v));
    v = magnitude >= 0x0f800000u ? (magnitude > 0x0f800000u ? NAN : INFINITY) : v * 0x1p112f;
    return sign ? -v : v;
}

/* A bound of Clip: a constant number, or `otherwise` when absent. False when it is not known. */
static bool clip_bound(const leat_kernel_node *node, uint32_t input, float otherwise, float *out)
{
    const leat_value *value = leat_kernel_input(node, input);
    *out = otherwise;
    if (value == NULL) {
        return true;
    }
    if (value->data == NULL || leat_value_count(value) != 1) {
        return false;
    }
    uint16_t bits;
    switch (value->dtype) {
    case LEAT_DTYPE_F32:
        memcpy(out, value->data, sizeof(*out));
        return true;
    case LEAT_DTYPE_F16:
        memcpy(&bits, value->data, sizeof(bits));
        *out = f16_number(bits);
        return true;
    case LEAT_DTYPE_BF16:
        memcpy(&bits, value->data, sizeof(bits));
        memcpy((char *)out + 2, &bits, sizeof(bits)); /* the upper half of an f32 */
        memset(out, 0, 2);
        return true;
    default:
        return false;
    }
}

static bool read_unary(const leat_kernel_node *node, lt_gpu_activation *out)
{
    const leat_node *n = node->node;
    for (size_t i = 0; i < sizeof(unary_ops) / sizeof(unary_ops[0]); i++) {
        if (strcmp(unary_ops[i].op, n->op) == 0) {
            out->function = (int32_t)unary_ops[i].function;
            out->alpha = leat_node_float(n, "alpha", unary_ops[i].alpha);
            out->beta = leat_node_float(n, "gamma", leat_node_float(n, "beta", unary_ops[i].beta));
            break;
        }
    }
    if (out->function == LT_GPU_GELU && leat_node_string_is(n, "approximate", "tanh")) {
        out->function = LT_GPU_GELU_TANH;
    }
    if (out->function == LT_GPU_CLIP) {
        float low = leat_node_float(n, "min", -INFINITY),
              high = leat_node_float(n, "max", INFINITY);
        return clip_bound(node, 1, low, &out->alpha) && clip_bound(node, 2, high, &out->beta);
    }
    return true;
}

leat_status lt_cuda_unary_supports(const leat_kernel_node *node, leat_error *err)
{
    lt_gpu_activation op = {.function = LT_GPU_IDENTITY};
    if (!read_unary(node, &op)) {
        return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: %s: bounds that are not constant numbers",
                            node->node->op);
    }
    return lt_cuda_fits(node, err);
}

leat_status lt_cuda_unary_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                  leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    lt_cuda_builder b;
    const leat_value *x = leat_kernel_input(node, 0);
    lt_gpu_unary p = {.count = leat_value_count(x)};
    char name[64];
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 1, err);
    if (status != LEAT_OK || p.count == 0 || !read_unary(node, &p.op)) {
        return status;
    }
    lt_cuda_kernel_name(name, "unary", lt_cuda_type_name(x->dtype));
    out_kernel->inplace_mask = 1;
    out_kernel->unread_mask = ~1u; /* Clip's bounds */
    out_kernel->flops = (uint64_t)p.count;
    return lt_cuda_add(&b, &(lt_cuda_launch){
                               .kernel = name,
                               .grid = {lt_cuda_blocks(&b, p.count, x->dtype)},
                               .parameters = &p,
                               .parameter_bytes = sizeof(p),
                               .n_pointers = 2,
                               .pointers = {{offsetof(lt_gpu_unary, x), LT_CUDA_INPUT, 0, 0},
                                            {offsetof(lt_gpu_unary, y), LT_CUDA_OUTPUT, 0, 0}},
                           });
}

/* ---- two inputs ------------------------------------------------------------------------------ */

static const struct {
    const char *op;
    lt_gpu_binary_op number;
} binary_ops[] = {
    {"Add", LT_GPU_ADD},
    {"Sub", LT_GPU_SUB},
    {"Mul", LT_GPU_MUL},
    {"Div", LT_GPU_DIV},
    {"Min", LT_GPU_MIN},
    {"Max", LT_GPU_MAX},
    {"Pow", LT_GPU_POW},
    {"PRelu", LT_GPU_PRELU},
    {"Mod", LT_GPU_MOD},
    {"And", LT_GPU_AND},
    {"Or", LT_GPU_OR},
    {"Xor", LT_GPU_XOR},
    {"Equal", LT_GPU_EQUAL},
    {"Less", LT_GPU_LESS},
    {"Greater", LT_GPU_GREATER},
    {"LessOrEqual", LT_GPU_LESS_EQUAL},
    {"GreaterOrEqual", LT_GPU_GREATER_EQUAL},
};

static lt_gpu_binary_op read_binary(const leat_node *node)
{
    lt_gpu_binary_op op = LT_GPU_ADD;
    for (size_t i = 0; i < sizeof(binary_ops) / sizeof(binary_ops[0]); i++) {
        if (strcmp(binary_ops[i].op, node->op) == 0) {
            op = binary_ops[i].number;
        }
    }
    return op == LT_GPU_MOD && leat_node_int(node, "fmod", 0) != 0 ? LT_GPU_FMOD : op;
}

leat_status lt_cuda_binary_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *a = leat_kernel_input(node, 0), *b = leat_kernel_input(node, 1);
    lt_gpu_activation activation;
    bool floats = (LT_CUDA_FLOATS >> a->dtype & 1) != 0;
    if (node->node->n_inputs != 2 || b == NULL || b->dtype != a->dtype) {
        return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: %s: takes two inputs of one type",
                            node->node->op);
    }
    if (!lt_cuda_activation(node->node, &activation) ||
        (activation.function != LT_GPU_IDENTITY && !floats) ||
        leat_node_int(node->node, "residual", 0) != 0) {
        return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: %s: this activation or residual",
                            node->node->op);
    }
    lt_gpu_binary_op op = read_binary(node->node);
    if (op == LT_GPU_FMOD && !floats) {
        return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: Mod: fmod of integers");
    }
    return lt_cuda_fits(node, err);
}

leat_status lt_cuda_binary_prepare(const leat_kernel_node *node, void *device,
                                   const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                   leat_error *err)
{
    lt_cuda_builder b;
    const leat_value *in[2] = {leat_kernel_input(node, 0), leat_kernel_input(node, 1)};
    const leat_value *out = leat_kernel_output(node, 0);
    lt_gpu_binary p = {.count = leat_value_count(out), .op = (int32_t)read_binary(node->node)};
    lt_cuda_walk walk = {.rank = out->rank};
    char name[64];
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 1, err);
    if (status != LEAT_OK || p.count == 0 || !lt_cuda_activation(node->node, &p.activation)) {
        return status;
    }
    memcpy(walk.shape, out->shape, sizeof(walk.shape));
    for (int i = 0; i < 2; i++) {
        if (!lt_cuda_broadcast(in[i], out->rank, out->shape, walk.strides[i])) {
            return lt_cuda_fail(err, LEAT_INVALID,
                                "cuda: %s node '%s': input %d does not broadcast", node->node->op,
                                node->node->name, i);
        }
        if (leat_value_count(in[i]) == p.count && in[i]->dtype == out->dtype) {
            out_kernel->inplace_mask |= 1u << i;
        }
    }
    lt_cuda_walk_merge(&walk, 2);
    lt_cuda_walk_index(&walk, &p.index);
    memcpy(p.a_stride, walk.strides[0], sizeof(p.a_stride));
    memcpy(p.b_stride, walk.strides[1], sizeof(p.b_stride));
    lt_cuda_kernel_name(name, p.op >= LT_GPU_EQUAL ? "compare" : "binary",
                        lt_cuda_type_name(in[0]->dtype));
    out_kernel->flops = (uint64_t)p.count;
    return lt_cuda_add(&b, &(lt_cuda_launch){
                               .kernel = name,
                               .grid = {lt_cuda_blocks(&b, p.count, in[0]->dtype)},
                               .parameters = &p,
                               .parameter_bytes = sizeof(p),
                               .n_pointers = 3,
                               .pointers = {{offsetof(lt_gpu_binary, a), LT_CUDA_INPUT, 0, 0},
                                            {offsetof(lt_gpu_binary, b), LT_CUDA_INPUT, 1, 0},
                                            {offsetof(lt_gpu_binary, y), LT_CUDA_OUTPUT, 0, 0}},
                           });
}

/* ---- Where ----------------------------------------------------------------------------------- */

leat_status lt_cuda_where_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *a = leat_kernel_input(node, 1), *b = leat_kernel_input(node, 2);
    if (a == NULL || b == NULL || a->dtype != b->dtype || !(LT_CUDA_MOVABLE >> a->dtype & 1)) {
        return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: Where: values of this type");
    }
    return lt_cuda_fits(node, err);
}

leat_status lt_cuda_where_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                  leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    lt_cuda_builder b;
    const leat_value *out = leat_kernel_output(node, 0);
    lt_gpu_where p = {.count = leat_value_count(out)};
    lt_cuda_walk walk = {.rank = out->rank};
    char name[64];
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 1, err);
    if (status != LEAT_OK || p.count == 0) {
        return status;
    }
    memcpy(walk.shape, out->shape, sizeof(walk.shape));
    for (uint32_t i = 0; i < 3; i++) {
        if (!lt_cuda_broadcast(leat_kernel_input(node, i), out->rank, out->shape,
                               walk.strides[i])) {
            return lt_cuda_fail(err, LEAT_INVALID,
                                "cuda: Where node '%s': input %u does not broadcast",
                                node->node->name, i);
        }
    }
    lt_cuda_walk_merge(&walk, 3);
    lt_cuda_walk_index(&walk, &p.index);
    memcpy(p.condition_stride, walk.strides[0], sizeof(p.condition_stride));
    memcpy(p.a_stride, walk.strides[1], sizeof(p.a_stride));
    memcpy(p.b_stride, walk.strides[2], sizeof(p.b_stride));
    lt_cuda_kernel_name(name, "where", lt_cuda_by_bytes(out->dtype));
    return lt_cuda_add(&b,
                       &(lt_cuda_launch){
                           .kernel = name,
                           .grid = {lt_cuda_blocks(&b, p.count, out->dtype)},
                           .parameters = &p,
                           .parameter_bytes = sizeof(p),
                           .n_pointers = 4,
                           .pointers = {{offsetof(lt_gpu_where, condition), LT_CUDA_INPUT, 0, 0},
                                        {offsetof(lt_gpu_where, a), LT_CUDA_INPUT, 1, 0},
                                        {offsetof(lt_gpu_where, b), LT_CUDA_INPUT, 2, 0},
                                        {offsetof(lt_gpu_where, y), LT_CUDA_OUTPUT, 0, 0}},
                       });
}

/* ---- Cast ------------------------------------------------------------------------------------ */

static int32_t cast_dtype(leat_dtype dtype)
{
    switch (dtype) {
    case LEAT_DTYPE_F32:
        return LT_GPU_F32;
    case LEAT_DTYPE_F16:
        return LT_GPU_F16;
    case LEAT_DTYPE_BF16:
        return LT_GPU_BF16;
    case LEAT_DTYPE_I32:
        return LT_GPU_I32;
    case LEAT_DTYPE_I64:
        return LT_GPU_I64;
    case LEAT_DTYPE_U8:
        return LT_GPU_U8;
    case LEAT_DTYPE_I8:
        return LT_GPU_I8;
    case LEAT_DTYPE_BOOL:
        return LT_GPU_BOOL;
    default:
        return -1;
    }
}

leat_status lt_cuda_cast_supports(const leat_kernel_node *node, leat_error *err)
{
    if (cast_dtype(leat_kernel_output(node, 0)->dtype) < 0) {
        return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: Cast to this type");
    }
    return lt_cuda_fits(node, err);
}

/* The kernel that takes 16 bytes at a time, where there is one. */
static const char *fast_cast(int32_t x, int32_t y)
{
    if (x == LT_GPU_F32 && (y == LT_GPU_F16 || y == LT_GPU_BF16)) {
        return y == LT_GPU_F16 ? "f32_f16" : "f32_bf16";
    }
    if (y == LT_GPU_F32 && (x == LT_GPU_F16 || x == LT_GPU_BF16)) {
        return x == LT_GPU_F16 ? "f16_f32" : "bf16_f32";
    }
    return "any";
}

leat_status lt_cuda_cast_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                 leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    lt_cuda_builder b;
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    lt_gpu_cast p = {.count = leat_value_count(x),
                     .x_dtype = cast_dtype(x->dtype),
                     .y_dtype = cast_dtype(y->dtype)};
    char name[64];
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 1, err);
    if (status != LEAT_OK || p.count == 0) {
        return status;
    }
    lt_cuda_kernel_name(name, "cast", fast_cast(p.x_dtype, p.y_dtype));
    return lt_cuda_add(&b, &(lt_cuda_launch){
                               .kernel = name,
                               .grid = {lt_cuda_blocks(&b, p.count, x->dtype)},
                               .parameters = &p,
                               .parameter_bytes = sizeof(p),
                               .n_pointers = 2,
                               .pointers = {{offsetof(lt_gpu_cast, x), LT_CUDA_INPUT, 0, 0},
                                            {offsetof(lt_gpu_cast, y), LT_CUDA_OUTPUT, 0, 0}},
                           });
}

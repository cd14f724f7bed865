/* SPDX-License-Identifier: Apache-2.0 */
/* Binary operators with broadcasting: arithmetic, comparison, Pow, Mod, PRelu; Min, Max, Sum and
 * Mean of any number of inputs, one pair after the other (f16 and bf16 round after each pair).
 * f16 and bf16 go through f32 block by block. Nodes of the domain leat apply an activation to each
 * stretch while it is in the first cache. */
#include "elementwise/activation.h"
#include "elementwise/binary.h"
#include "elementwise/broadcast.h"
#include "elementwise/element.h"
#include "elementwise/half.h"
#include "elementwise/short_lines.h"

#include <math.h>

#define STRETCH 1024 /* elements between an operation and its activation: 4 KB stay in L1 */

typedef struct binary {
    lt_binary_op op;
    leat_dtype dtype;
    leat_dtype exponent; /* Pow: type of the second input */
    bool to_bool;
    lt_binary_fn fn;
    const lt_half_kernels *half;
    lt_cpu_activation activation;
    lt_cpu_activate_fn activate; /* NULL: none */
    uint32_t pairs;              /* broadcasts that follow: inputs (0, 1), (result, 2), ... */
    float mean;                  /* Mean: what to divide by at the end; 0 for none */
    int64_t count;               /* of the output */
    lt_broadcast plan[];
} binary;

typedef struct pair {
    const binary *b;
    lt_binary_op op;
    const lt_broadcast *plan;
    const char *x[2];
    char *y;
} pair;

/* f16 and bf16: blocks through f32; an operand that repeats is widened once. */
static void half_line(const pair *p, const int64_t *from, int64_t to, int64_t n)
{
    const binary *b = p->b;
    float x[2][LT_HALF_BLOCK], y[LT_HALF_BLOCK];
    int64_t stride[2];
    for (int i = 0; i < 2; i++) {
        stride[i] = p->plan->strides[i][p->plan->rank - 1];
        if (stride[i] == 0) {
            x[i][0] = lt_cpu_get_f32(b->dtype, p->x[i], (size_t)from[i]);
        }
    }
    for (int64_t at = 0; at < n; at += LT_HALF_BLOCK) {
        int64_t part = n - at < LT_HALF_BLOCK ? n - at : LT_HALF_BLOCK;
        for (int i = 0; i < 2; i++) {
            if (stride[i] != 0) {
                b->half->widen(b->dtype, p->x[i] + (from[i] + at) * 2, x[i], part);
            }
        }
        if (b->to_bool) {
            b->fn(p->op, x[0], stride[0], x[1], stride[1], p->y + to + at, part);
        } else {
            b->fn(p->op, x[0], stride[0], x[1], stride[1], y, part);
            b->half->narrow(b->dtype, y, p->y + (to + at) * 2, part);
        }
    }
}

static void activated_line(const pair *p, const int64_t *from, int64_t to, int64_t n)
{
    const binary *b = p->b;
    const float *x = (const float *)(const void *)p->x[0] + from[0];
    const float *z = (const float *)(const void *)p->x[1] + from[1];
    float *y = (float *)(void *)p->y + to;
    int64_t sx = p->plan->strides[0][p->plan->rank - 1];
    int64_t sz = p->plan->strides[1][p->plan->rank - 1];
    for (int64_t at = 0; at < n; at += STRETCH) {
        int64_t part = n - at < STRETCH ? n - at : STRETCH;
        b->fn(p->op, x + at * sx, sx, z + at * sz, sz, y + at, part);
        b->activate(y + at, part, &b->activation);
    }
}

static void line(const void *argument, const int64_t *from, int64_t to, int64_t n)
{
    const pair *p = argument;
    const binary *b = p->b;
    int32_t last = p->plan->rank - 1;
    if (lt_is_half(b->dtype)) {
        half_line(p, from, to, n);
        return;
    }
    if (b->activate != NULL) {
        activated_line(p, from, to, n);
        return;
    }
    size_t element = lt_cpu_element_bytes(b->dtype);
    b->fn(p->op, p->x[0] + (size_t)from[0] * element, p->plan->strides[0][last],
          p->x[1] + (size_t)from[1] * element, p->plan->strides[1][last],
          p->y + (size_t)to * (b->to_bool ? 1 : element), n);
}

/* A tile of short lines of f32. */
static void tile(const void *argument, const float *const *x, const int64_t *stride, int64_t to,
                 int64_t n)
{
    const pair *p = argument;
    const binary *b = p->b;
    char *y = p->y + (size_t)to * (b->to_bool ? 1 : sizeof(float));
    b->fn(p->op, x[0], stride[0], x[1], stride[1], y, n);
    if (b->activate != NULL) {
        b->activate((float *)(void *)y, n, &b->activation);
    }
}

/* Pow whose exponent has another type: through double, integers to an integer exactly. */
static void mixed_power_line(const void *argument, const int64_t *from, int64_t to, int64_t n)
{
    const pair *p = argument;
    const binary *b = p->b;
    int64_t sa = p->plan->strides[0][p->plan->rank - 1];
    int64_t sb = p->plan->strides[1][p->plan->rank - 1];
    bool whole = !(CPU_FLOATS >> b->dtype & 1);
    bool exact = whole && !(CPU_FLOATS >> b->exponent & 1);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = from[0] + i * sa, exponent_at = from[1] + i * sb;
        if (exact) {
            int64_t base = lt_element_int(b->dtype, p->x[0], at);
            int64_t exponent = lt_element_int(b->exponent, p->x[1], exponent_at);
            bool huge = b->exponent == LEAT_DTYPE_U64 && exponent < 0;
            lt_element_set_int(b->dtype, p->y, to + i, lt_power_i64(base, exponent, huge));
            continue;
        }
        double v = pow(lt_element_get(b->dtype, p->x[0], at),
                       lt_element_get(b->exponent, p->x[1], exponent_at));
        if (whole) {
            lt_element_set_int(b->dtype, p->y, to + i, lt_saturate_i64(v));
        } else {
            lt_element_set(b->dtype, p->y, to + i, v);
        }
    }
}

/* Bytes of memory traffic that take as long as one element does. */
static double cost(const binary *b)
{
    double bytes = 3 * (double)lt_cpu_element_bytes(b->dtype);
    bool slow = b->op == LT_BINARY_POW || b->op == LT_BINARY_MOD || b->op == LT_BINARY_FMOD;
    return slow ? 40 * bytes : bytes;
}

static leat_status binary_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const binary *b = state;
    char *y = args->outputs[0];
    lt_line_fn fn = b->exponent == b->dtype ? line : mixed_power_line;
    (void)err;
    for (uint32_t i = 0; i < b->pairs; i++) {
        pair p = {b, b->op, &b->plan[i], {i == 0 ? args->inputs[0] : y, args->inputs[i + 1]}, y};
        if (b->dtype == LEAT_DTYPE_F32 && fn == line && lt_broadcast_is_short(p.plan)) {
            const float *x[2] = {(const void *)p.x[0], (const void *)p.x[1]};
            lt_broadcast_run_short(p.plan, cost(b), x, tile, &p, args);
        } else {
            lt_broadcast_run(p.plan, cost(b), fn, &p, args);
        }
    }
    if (b->pairs == 0 && y != args->inputs[0]) {
        memcpy(y, args->inputs[0], (size_t)b->count * lt_cpu_element_bytes(b->dtype));
    }
    if (b->mean != 0) {
        uint64_t divisor;
        lt_element_set(b->dtype, &divisor, 0, (double)b->mean);
        pair p = {b, LT_BINARY_DIV, &b->plan[b->pairs], {y, (const char *)&divisor}, y};
        lt_broadcast_run(p.plan, cost(b), line, &p, args);
    }
    return LEAT_OK;
}

static const struct {
    const char *name;
    lt_binary_op op;
} names[] = {
    {"Add", LT_BINARY_ADD},
    {"Sub", LT_BINARY_SUB},
    {"Mul", LT_BINARY_MUL},
    {"Div", LT_BINARY_DIV},
    {"Min", LT_BINARY_MIN},
    {"Max", LT_BINARY_MAX},
    {"Sum", LT_BINARY_ADD},
    {"Mean", LT_BINARY_ADD},
    {"PRelu", LT_BINARY_PRELU},
    {"Pow", LT_BINARY_POW},
    {"Mod", LT_BINARY_MOD},
    {"Equal", LT_BINARY_EQUAL},
    {"Less", LT_BINARY_LESS},
    {"Greater", LT_BINARY_GREATER},
    {"LessOrEqual", LT_BINARY_LESS_EQUAL},
    {"GreaterOrEqual", LT_BINARY_GREATER_EQUAL},
};

static bool find_op(const leat_node *node, lt_binary_op *out)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i].name, node->op) == 0) {
            *out = names[i].op;
            if (*out == LT_BINARY_MOD && leat_node_int(node, "fmod", 0)) {
                *out = LT_BINARY_FMOD;
            }
            return true;
        }
    }
    return false;
}

/* In nodes of the domain leat an activation, in f32. */
leat_status lt_cpu_binary_supports(const leat_kernel_node *node, leat_error *err)
{
    lt_cpu_activation activation;
    if (!lt_cpu_activation_read(node->node, &activation)) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: unknown activation", node->node->op);
    }
    if (leat_node_int(node->node, "residual", 0) != 0) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: residual is not supported", node->node->op);
    }
    if (activation.kind != LT_CPU_ACTIVATION_NONE &&
        leat_kernel_input(node, 0)->dtype != LEAT_DTYPE_F32) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: activations are fused in f32 only",
                           node->node->op);
    }
    return LEAT_OK;
}

/* Every input has the type of the first, but for the exponent of Pow, and the output too. */
static leat_status check_types(const binary *b, const leat_kernel_node *node, leat_error *err)
{
    leat_dtype wanted = b->to_bool ? LEAT_DTYPE_BOOL : b->dtype;
    bool good = leat_kernel_output(node, 0)->dtype == wanted;
    for (uint32_t i = 1; i < node->node->n_inputs; i++) {
        const leat_value *in = leat_kernel_input(node, i);
        bool exponent = b->op == LT_BINARY_POW && in && (CPU_NUMBERS >> in->dtype & 1);
        good = good && in != NULL && (in->dtype == b->dtype || exponent);
    }
    if (!good) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s node '%s': the types of its values differ",
                           node->node->op, node->node->name);
    }
    return LEAT_OK;
}

static leat_status plan_pairs(binary *b, const leat_kernel_node *node, leat_error *err)
{
    const leat_value *out = leat_kernel_output(node, 0);
    const leat_value scalar = {.dtype = b->dtype, .rank = 0};
    leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < b->pairs && status == LEAT_OK; i++) {
        const leat_value *inputs[2] = {i == 0 ? leat_kernel_input(node, 0) : out,
                                       leat_kernel_input(node, i + 1)};
        status = lt_broadcast_plan(&b->plan[i], node->node, out, inputs, 2, err);
    }
    if (b->mean != 0 && status == LEAT_OK) {
        const leat_value *inputs[2] = {out, &scalar};
        status = lt_broadcast_plan(&b->plan[b->pairs], node->node, out, inputs, 2, err);
    }
    if (b->pairs == 0 && leat_value_count(leat_kernel_input(node, 0)) != b->count) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s node '%s': the output has another shape",
                           node->node->op, node->node->name);
    }
    return status;
}

/* Inputs that have the output's type and shape may give it their memory; with more than one pair
 * only the first, and only if it does not come again, since the result is written before the
 * others are read. */
static uint32_t inplace_inputs(const binary *b, const leat_kernel_node *node)
{
    const leat_value *out = leat_kernel_output(node, 0);
    uint32_t mask = 0;
    for (uint32_t i = 0; i < 2 && i < node->node->n_inputs && !b->to_bool; i++) {
        const leat_value *in = leat_kernel_input(node, i);
        bool same = in->dtype == out->dtype && in->rank == out->rank &&
                    memcmp(in->shape, out->shape, (size_t)in->rank * sizeof(*in->shape)) == 0;
        mask |= (uint32_t)(same && (i == 0 || b->pairs == 1)) << i;
    }
    for (uint32_t i = 2; i < node->node->n_inputs; i++) {
        mask = node->node->inputs[i] == node->node->inputs[0] ? 0 : mask;
    }
    return mask;
}

static const char *kernel_name(const binary *b, const lt_cpu_device *cpu)
{
    if (b->dtype != LEAT_DTYPE_F32 && !lt_is_half(b->dtype)) {
        return "binary_portable";
    }
    return cpu->isa == LT_CPU_AVX512 ? "binary_f32_avx512"
           : cpu->isa == LT_CPU_AVX2 ? "binary_f32_avx2"
                                     : "binary_f32_portable";
}

leat_status lt_cpu_binary_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                  leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const lt_cpu_device *cpu = device;
    uint32_t pairs = node->node->n_inputs - 1;
    bool mean = strcmp(node->node->op, "Mean") == 0;
    binary *b = host->plan_alloc(plan, sizeof(*b) + (pairs + 1) * sizeof(b->plan[0]));
    if (b == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for the plan", node->node->op);
    }
    if (!find_op(node->node, &b->op)) {
        return lt_cpu_fail(err, LEAT_INTERNAL, "%s is not a binary operator", node->node->op);
    }
    b->dtype = leat_kernel_input(node, 0)->dtype;
    b->exponent = b->op == LT_BINARY_POW ? leat_kernel_input(node, 1)->dtype : b->dtype;
    b->to_bool = b->op >= LT_BINARY_EQUAL;
    b->fn = lt_cpu_binary_for(lt_is_half(b->dtype) ? LEAT_DTYPE_F32 : b->dtype, cpu);
    b->half = lt_half_for(cpu);
    b->pairs = pairs;
    b->count = leat_value_count(leat_kernel_output(node, 0));
    b->mean = mean && pairs != 0 ? (float)(pairs + 1) : 0.0f;
    lt_cpu_activation_read(node->node, &b->activation);
    if (b->activation.kind != LT_CPU_ACTIVATION_NONE) {
        b->activate = lt_cpu_activate_for(cpu);
    }
    leat_status status = check_types(b, node, err);
    if (status == LEAT_OK) {
        status = plan_pairs(b, node, err);
    }
    out_kernel->name = kernel_name(b, cpu);
    out_kernel->launch = binary_run;
    out_kernel->state = b;
    out_kernel->inplace_mask = inplace_inputs(b, node);
    return status;
}

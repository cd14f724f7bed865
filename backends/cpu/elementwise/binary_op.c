/* SPDX-License-Identifier: Apache-2.0 */
/* Binary operators with broadcasting: arithmetic, comparison, Pow, Mod, PRelu; Min, Max, Sum and
 * Mean of any number of inputs, one pair after the other. f16 and bf16 go through f32 block by
 * block. Nodes of the domain leat apply an activation to each stretch while it is in the first
 * cache. */
#include "elementwise/activation.h"
#include "elementwise/binary.h"
#include "elementwise/broadcast.h"
#include "elementwise/element.h"

#include <math.h>

#define BLOCK 512

typedef struct binary {
    lt_binary_op op;
    leat_dtype dtype;
    leat_dtype exponent; /* Pow: type of the second input */
    bool to_bool;
    lt_binary_fn fn;
    lt_cpu_activation activation;
    lt_cpu_activate_fn activate;
    uint32_t pairs; /* broadcasts that follow: inputs (0, 1), (result, 2), ... */
    float mean;     /* factor at the end; 1 for none */
    int64_t count;  /* of the output */
    lt_broadcast plan[];
} binary;

typedef struct pair {
    const binary *b;
    const lt_broadcast *plan;
    const char *x[2];
    char *y;
} pair;

/* f16 and bf16: blocks through f32; an operand that repeats is widened once. */
static void narrow_line(const pair *p, const int64_t *from, int64_t to, int64_t n)
{
    const binary *b = p->b;
    float x[2][BLOCK], y[BLOCK];
    int64_t stride[2];
    for (int i = 0; i < 2; i++) {
        stride[i] = p->plan->strides[i][p->plan->rank - 1];
        if (stride[i] == 0) {
            x[i][0] = lt_cpu_get_f32(b->dtype, p->x[i], (size_t)from[i]);
        }
    }
    for (int64_t at = 0; at < n; at += BLOCK) {
        int64_t part = n - at < BLOCK ? n - at : BLOCK;
        for (int i = 0; i < 2; i++) {
            if (stride[i] != 0) {
                lt_cpu_widen_f32(b->dtype, p->x[i] + (from[i] + at) * 2, x[i], (size_t)part);
            }
        }
        if (b->to_bool) {
            b->fn(b->op, x[0], stride[0], x[1], stride[1], p->y + to + at, part);
        } else {
            b->fn(b->op, x[0], stride[0], x[1], stride[1], y, part);
            lt_cpu_narrow_f32(b->dtype, y, p->y + (to + at) * 2, (size_t)part);
        }
    }
}

static void line(const void *argument, const int64_t *from, int64_t to, int64_t n)
{
    const pair *p = argument;
    const binary *b = p->b;
    int32_t last = p->plan->rank - 1;
    int64_t sa = p->plan->strides[0][last], sb = p->plan->strides[1][last];
    if (b->op == LT_BINARY_POW && b->exponent != b->dtype) {
        for (int64_t i = 0; i < n; i++) {
            double base = lt_element_get(b->dtype, p->x[0], from[0] + i * sa);
            double exponent = lt_element_get(b->exponent, p->x[1], from[1] + i * sb);
            lt_element_set(b->dtype, p->y, to + i, pow(base, exponent));
        }
        return;
    }
    if (b->dtype == LEAT_DTYPE_F16 || b->dtype == LEAT_DTYPE_BF16) {
        narrow_line(p, from, to, n);
        return;
    }
    size_t element = lt_cpu_element_bytes(b->dtype);
    char *y = p->y + (size_t)to * (b->to_bool ? 1 : element);
    b->fn(b->op, p->x[0] + (size_t)from[0] * element, sa, p->x[1] + (size_t)from[1] * element, sb,
          y, n);
    if (b->activate != NULL) {
        b->activate((float *)(void *)y, n, &b->activation);
    }
}

static leat_status binary_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const binary *b = state;
    double bytes = 3 * (double)lt_cpu_element_bytes(b->dtype) * (b->op >= LT_BINARY_PRELU ? 8 : 1);
    char *y = args->outputs[0];
    (void)err;
    for (uint32_t i = 0; i < b->pairs; i++) {
        pair p = {b, &b->plan[i], {i == 0 ? args->inputs[0] : y, args->inputs[i + 1]}, y};
        lt_broadcast_run(p.plan, bytes, line, &p, args);
    }
    if (b->pairs == 0) {
        memcpy(y, args->inputs[0], (size_t)b->count * lt_cpu_element_bytes(b->dtype));
    }
    for (int64_t i = 0; b->mean != 1 && i < b->count; i++) {
        lt_element_set(b->dtype, y, i, lt_element_get(b->dtype, y, i) * (double)b->mean);
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
    if (activation.kind != LT_CPU_ACTIVATION_NONE &&
        leat_kernel_input(node, 0)->dtype != LEAT_DTYPE_F32) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: activations are fused in f32 only",
                           node->node->op);
    }
    return LEAT_OK;
}

static void plan_pairs(binary *b, const leat_kernel_node *node)
{
    const leat_value *out = leat_kernel_output(node, 0);
    for (uint32_t i = 0; i < b->pairs; i++) {
        const leat_value *inputs[2] = {i == 0 ? leat_kernel_input(node, 0) : out,
                                       leat_kernel_input(node, i + 1)};
        lt_broadcast_plan(&b->plan[i], out, inputs, 2);
    }
}

/* Inputs that have the output's type and shape may give it their memory; with more than one pair
 * only the first, since the result is written before the others are read. */
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
    return mask;
}

leat_status lt_cpu_binary_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                  leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const lt_cpu_device *cpu = device;
    uint32_t pairs = node->node->n_inputs - 1;
    binary *b = host->plan_alloc(plan, sizeof(*b) + pairs * sizeof(b->plan[0]));
    if (b == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for the plan", node->node->op);
    }
    if (!find_op(node->node, &b->op)) {
        return lt_cpu_fail(err, LEAT_INTERNAL, "%s is not a binary operator", node->node->op);
    }
    b->dtype = leat_kernel_input(node, 0)->dtype;
    b->exponent = pairs ? leat_kernel_input(node, 1)->dtype : b->dtype;
    b->to_bool = b->op >= LT_BINARY_EQUAL;
    bool narrow = b->dtype == LEAT_DTYPE_F16 || b->dtype == LEAT_DTYPE_BF16;
    b->fn = lt_cpu_binary_for(narrow ? LEAT_DTYPE_F32 : b->dtype, cpu);
    b->pairs = pairs;
    b->count = leat_value_count(leat_kernel_output(node, 0));
    b->mean = strcmp(node->node->op, "Mean") == 0 ? 1.0f / (float)(pairs + 1) : 1.0f;
    lt_cpu_activation_read(node->node, &b->activation);
    if (b->activation.kind != LT_CPU_ACTIVATION_NONE) {
        b->activate = lt_cpu_activate_for(cpu);
    }
    plan_pairs(b, node);
    out_kernel->name = "binary";
    out_kernel->launch = binary_run;
    out_kernel->state = b;
    out_kernel->inplace_mask = inplace_inputs(b, node);
    return LEAT_OK;
}

/* --- And, Or, Xor, bits, Equal of strings -------------------------------------------------------
 */

typedef enum bits_op {
    BITS_AND,
    BITS_OR,
    BITS_XOR,
    BITS_LEFT,
    BITS_RIGHT,
    BITS_STRINGS
} bits_op;

typedef struct bits {
    bits_op op;
    size_t element;
    lt_broadcast plan;
} bits;

typedef struct bits_launch {
    const bits *b;
    const char *x, *z;
    char *y;
} bits_launch;

static bool strings_equal(const char *a, const char *b)
{
    leat_string p, q;
    memcpy(&p, a, sizeof(p));
    memcpy(&q, b, sizeof(q));
    return p.bytes == q.bytes && (p.bytes == 0 || memcmp(p.data, q.data, p.bytes) == 0);
}

static void bits_line(const void *argument, const int64_t *from, int64_t to, int64_t n)
{
    const bits_launch *l = argument;
    const bits *b = l->b;
    size_t element = b->element;
    int64_t sa = b->plan.strides[0][b->plan.rank - 1], sb = b->plan.strides[1][b->plan.rank - 1];
    for (int64_t i = 0; i < n; i++) {
        const char *p = l->x + (size_t)(from[0] + i * sa) * element;
        const char *q = l->z + (size_t)(from[1] + i * sb) * element;
        uint64_t u = 0, v = 0;
        if (b->op == BITS_STRINGS) {
            l->y[to + i] = strings_equal(p, q);
            continue;
        }
        memcpy(&u, p, element);
        memcpy(&v, q, element);
        switch (b->op) {
        case BITS_AND:
            u &= v;
            break;
        case BITS_OR:
            u |= v;
            break;
        case BITS_XOR:
            u ^= v;
            break;
        case BITS_LEFT:
            u = v < 64 ? u << v : 0;
            break;
        default:
            u = v < 64 ? u >> v : 0;
            break;
        }
        memcpy(l->y + (size_t)(to + i) * element, &u, element);
    }
}

static leat_status bits_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const bits *b = state;
    bits_launch l = {b, args->inputs[0], args->inputs[1], args->outputs[0]};
    (void)err;
    lt_broadcast_run(&b->plan, 16, bits_line, &l, args);
    return LEAT_OK;
}

leat_status lt_cpu_bits_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    bits *b = host->plan_alloc(plan, sizeof(*b));
    const char *op = node->node->op;
    (void)device;
    if (b == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for the plan", op);
    }
    const leat_value *inputs[2] = {leat_kernel_input(node, 0), leat_kernel_input(node, 1)};
    bool left = leat_node_string_is(node->node, "direction", "LEFT");
    b->op = strstr(op, "And")     ? BITS_AND
            : strstr(op, "Xor")   ? BITS_XOR
            : strstr(op, "Or")    ? BITS_OR
            : strstr(op, "Equal") ? BITS_STRINGS
            : left                ? BITS_LEFT
                                  : BITS_RIGHT;
    b->element = lt_cpu_element_bytes(inputs[0]->dtype);
    lt_broadcast_plan(&b->plan, leat_kernel_output(node, 0), inputs, 2);
    out_kernel->name = "bits";
    out_kernel->launch = bits_run;
    out_kernel->state = b;
    return LEAT_OK;
}

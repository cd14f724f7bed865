/* SPDX-License-Identifier: Apache-2.0 */
/* RandomNormal, RandomUniform and their Like forms, Bernoulli, Multinomial.
 *
 * Number i of run r is a hash of (seed, r, i): splitmix64 (Steele et al., OOPSLA 2014) of a
 * counter. So threads need no order, and a node with a seed gives the same numbers in every
 * session, others in every run. Without a seed it comes from the clock when the node is planned.
 * Normal numbers by Box and Muller (1958). */
#include "elementwise/element.h"
#include "movement/movement.h"

#include <math.h>
#include <time.h>

typedef struct random_node {
    lt_move_label label;
    leat_dtype dtype, in_dtype;
    bool normal, bernoulli;
    double a, b; /* mean and scale, or low and high */
    int64_t count;
    int64_t rows, classes, samples; /* Multinomial */
    uint64_t seed;
    uint64_t runs; /* the one thing that a run changes: sessions run one at a time */
} random_node;

static uint64_t hash(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* In [0, 1). */
static double uniform(uint64_t key, uint64_t i)
{
    return (double)(hash(key + hash(i)) >> 11) * 0x1p-53;
}

static double normal(uint64_t key, uint64_t i)
{
    double u = 1 - uniform(key, 2 * i), v = uniform(key, 2 * i + 1);
    return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

static uint64_t next_key(const random_node *r)
{
    random_node *own = (random_node *)(uintptr_t)r; /* plan memory of this one executable */
    return hash(r->seed + hash(own->runs++));
}

typedef struct random_job {
    const random_node *r;
    uint64_t key;
    const void *x;
    void *y;
} random_job;

static void random_range(void *argument, int64_t begin, int64_t end)
{
    const random_job *job = argument;
    const random_node *r = job->r;
    for (int64_t i = begin; i < end; i++) {
        double v;
        if (r->bernoulli) {
            v = uniform(job->key, (uint64_t)i) < lt_element_get(r->in_dtype, job->x, i);
        } else if (r->normal) {
            v = r->a + r->b * normal(job->key, (uint64_t)i);
        } else {
            v = r->a + (r->b - r->a) * uniform(job->key, (uint64_t)i);
        }
        lt_element_set(r->dtype, job->y, i, v);
    }
}

static leat_status launch_random(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const random_node *r = state;
    random_job job = {r, next_key(r), r->bernoulli ? args->inputs[0] : NULL, args->outputs[0]};
    (void)err;
    lt_cpu_parallel_range(args, r->count, 1, 64.0, random_range, &job);
    return LEAT_OK;
}

/* Scores are logarithms of weights; a class of each row is drawn by where a number falls in their
 * sum. */
static leat_status launch_multinomial(const void *state, const leat_kernel_args *args,
                                      leat_error *err)
{
    const random_node *r = state;
    double *sums = args->workspace;
    uint64_t key = next_key(r);
    (void)err;
    for (int64_t row = 0; row < r->rows; row++) {
        double most = -INFINITY, total = 0;
        for (int64_t c = 0; c < r->classes; c++) {
            most = fmax(most, lt_element_get(r->in_dtype, args->inputs[0], row * r->classes + c));
        }
        for (int64_t c = 0; c < r->classes; c++) {
            double x = lt_element_get(r->in_dtype, args->inputs[0], row * r->classes + c);
            sums[c] = total += exp(x - most);
        }
        for (int64_t s = 0; s < r->samples; s++) {
            double u = uniform(key, (uint64_t)(row * r->samples + s)) * total;
            int64_t low = 0, high = r->classes - 1;
            while (low < high) { /* the first class whose sum is beyond u */
                int64_t middle = (low + high) / 2;
                if (sums[middle] > u) {
                    high = middle;
                } else {
                    low = middle + 1;
                }
            }
            lt_element_set(r->dtype, args->outputs[0], row * r->samples + s, (double)low);
        }
    }
    return LEAT_OK;
}

leat_status lt_cpu_random_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *y = leat_kernel_output(node, 0);
    bool whole = node->node->op[0] == 'B' || node->node->op[0] == 'M';
    uint64_t served = whole ? CPU_NUMBERS | CPU_T(BOOL) : CPU_FLOATS;
    return y == NULL || !(served >> y->dtype & 1)
               ? lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: an output of this type is not served",
                             lt_move_name(node->node).text)
               : LEAT_OK;
}

static uint64_t read_seed(const leat_node *node, const void *own)
{
    const leat_attr *attr = leat_node_attr(node, "seed");
    uint32_t bits;
    struct timespec now = {0, 0};
    if (attr != NULL && attr->type == LEAT_ATTR_FLOAT) {
        memcpy(&bits, &attr->u.f, sizeof(bits));
        return hash(bits);
    }
    clock_gettime(CLOCK_REALTIME, &now);
    return hash((uint64_t)now.tv_sec) ^ hash((uint64_t)now.tv_nsec) ^ hash((uintptr_t)own);
}

static random_node *new_state(const leat_kernel_node *node, const leat_host *host, leat_plan *plan)
{
    const leat_value *y = leat_kernel_output(node, 0), *x = leat_kernel_input(node, 0);
    random_node *r = host->plan_alloc(plan, sizeof(*r));
    if (r != NULL) {
        r->label = lt_move_name(node->node);
        r->dtype = y->dtype;
        r->in_dtype = x ? x->dtype : y->dtype;
        r->count = leat_value_count(y);
        r->seed = read_seed(node->node, r);
    }
    return r;
}

leat_status lt_cpu_random_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                  leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const leat_node *n = node->node;
    random_node *r = new_state(node, host, plan);
    (void)device;
    if (r == NULL) {
        return lt_move_no_memory(n, err);
    }
    r->normal = strncmp(n->op, "RandomN", 7) == 0;
    r->bernoulli = n->op[0] == 'B';
    r->a = (double)(r->normal ? leat_node_float(n, "mean", 0) : leat_node_float(n, "low", 0));
    r->b = (double)(r->normal ? leat_node_float(n, "scale", 1) : leat_node_float(n, "high", 1));
    if (r->bernoulli && leat_value_count(leat_kernel_input(node, 0)) != r->count) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: its shape must stay", r->label.text);
    }
    out_kernel->name = "random";
    out_kernel->launch = launch_random;
    out_kernel->state = r;
    out_kernel->unread_mask = r->bernoulli ? 0 : 1;
    return LEAT_OK;
}

leat_status lt_cpu_multinomial_prepare(const leat_kernel_node *node, void *device,
                                       const leat_host *host, leat_plan *plan,
                                       leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    random_node *r = new_state(node, host, plan);
    (void)device;
    if (r == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    if (x->rank != 2 || y->rank != 2 || x->shape[0] != y->shape[0] || x->shape[1] < 1) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: scores must be rows of classes", r->label.text);
    }
    r->rows = x->shape[0];
    r->classes = x->shape[1];
    r->samples = y->shape[1];
    out_kernel->name = "multinomial";
    out_kernel->launch = launch_multinomial;
    out_kernel->state = r;
    out_kernel->workspace_bytes = (size_t)r->classes * sizeof(double);
    return LEAT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* One update of Adagrad, Adam or Momentum for any number of tensors. Inputs are the learning rate
 * R, the count of updates T, then all X, all gradients, and the states (Adagrad H; Adam V and H;
 * Momentum V); outputs are all new X and the new states. With g = G + norm_coefficient * X:
 *
 *     Adagrad    H = H + g g                                      X -= r g / (sqrt(H) + epsilon)
 *     Adam       V = alpha V + (1 - alpha) g, H = beta H + (1 - beta) g g
 *                                       X = (X - r V / (sqrt(H) + epsilon)) (1 - coefficient_post)
 *     Momentum   V = alpha V + beta g            X -= R V, or with Nesterov R (g + alpha V)
 *
 * Computed in f64, stored in the type of X. */
#include "elementwise/element.h"
#include "movement/movement.h"

#include <math.h>

typedef struct optimizer {
    char kind; /* 'g' Adagrad, 'a' Adam, 'm' Momentum */
    bool nesterov;
    leat_dtype rate_dtype, dtype;
    uint32_t tensors, states;
    double alpha, beta, norm, post, epsilon, decay;
    int64_t *counts; /* elements by tensor */
} optimizer;

typedef struct update_job {
    const optimizer *o;
    double rate, alpha, beta;
    const void *x, *g, *in[2];
    void *out_x, *out[2];
} update_job;

static void update_range(void *argument, int64_t begin, int64_t end)
{
    const update_job *job = argument;
    const optimizer *o = job->o;
    for (int64_t i = begin; i < end; i++) {
        double x = lt_element_get(o->dtype, job->x, i);
        double g = lt_element_get(o->dtype, job->g, i) + o->norm * x;
        double first = lt_element_get(o->dtype, job->in[0], i), second = 0;
        if (o->kind == 'g') {
            first += g * g;
            x -= job->rate * g / (sqrt(first) + o->epsilon);
        } else if (o->kind == 'a') {
            first = job->alpha * first + (1 - job->alpha) * g;
            second = job->beta * lt_element_get(o->dtype, job->in[1], i) + (1 - job->beta) * g * g;
            x = (x - job->rate * first / (sqrt(second) + o->epsilon)) * (1 - o->post);
            lt_element_set(o->dtype, job->out[1], i, second);
        } else {
            first = job->alpha * first + job->beta * g;
            x -= job->rate * (o->nesterov ? g + job->alpha * first : first);
        }
        lt_element_set(o->dtype, job->out[0], i, first);
        lt_element_set(o->dtype, job->out_x, i, x);
    }
}

static leat_status launch_optimizer(const void *state, const leat_kernel_args *args,
                                    leat_error *err)
{
    const optimizer *o = state;
    double rate = lt_element_get(o->rate_dtype, args->inputs[0], 0);
    double t = (double)((const int64_t *)args->inputs[1])[0];
    update_job job = {.o = o, .rate = rate, .alpha = o->alpha, .beta = o->beta};
    (void)err;
    if (o->kind == 'g') {
        job.rate = rate / (1 + t * o->decay);
    } else if (o->kind == 'a' && t > 0) {
        job.rate = rate * sqrt(1 - pow(o->beta, t)) / (1 - pow(o->alpha, t));
    } else if (o->kind == 'm' && !(t > 0)) {
        job.beta = 1;
    }
    for (uint32_t i = 0; i < o->tensors; i++) {
        const void *const *in = args->inputs + 2 + i;
        void *const *out = args->outputs + i;
        job.x = in[0];
        job.g = in[o->tensors];
        job.out_x = out[0];
        for (uint32_t s = 0; s < o->states; s++) {
            job.in[s] = in[(2 + s) * o->tensors];
            job.out[s] = out[(1 + s) * o->tensors];
        }
        lt_cpu_parallel_range(args, o->counts[i], 1, 64.0, update_range, &job);
    }
    return LEAT_OK;
}

static char kind_of(const leat_node *node)
{
    return node->op[0] == 'M' ? 'm' : strcmp(node->op, "Adam") == 0 ? 'a' : 'g';
}

/* Tensors of the node; 0 when its inputs and outputs are not whole sets of them. */
static uint32_t count_tensors(const leat_node *node)
{
    uint32_t each = kind_of(node) == 'a' ? 4 : 3, n = (node->n_inputs - 2) / each;
    bool whole =
        node->n_inputs > 2 && n * each == node->n_inputs - 2 && node->n_outputs == n * (each - 1);
    return whole ? n : 0;
}

leat_status lt_cpu_optimizer_supports(const leat_kernel_node *node, leat_error *err)
{
    lt_move_label label = lt_move_name(node->node);
    uint32_t n = count_tensors(node->node);
    const leat_value *x = n ? leat_kernel_input(node, 2) : NULL;
    if (x == NULL || (x->dtype != LEAT_DTYPE_F32 && x->dtype != LEAT_DTYPE_F64)) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: tensors must be f32 or f64, in whole sets",
                           label.text);
    }
    for (uint32_t i = 2; i < node->node->n_inputs; i++) {
        const leat_value *value = leat_kernel_input(node, i);
        if (value == NULL || value->dtype != x->dtype) {
            return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: input %u is missing or of another type",
                               label.text, i);
        }
    }
    return leat_kernel_input(node, 1) == NULL || leat_kernel_input(node, 1)->dtype != LEAT_DTYPE_I64
               ? lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: T must be i64", label.text)
               : LEAT_OK;
}

/* Every state, gradient and output has the elements of its X. */
static leat_status read_counts(const leat_kernel_node *node, optimizer *o, leat_error *err)
{
    bool fits = leat_value_count(leat_kernel_input(node, 0)) == 1 &&
                leat_value_count(leat_kernel_input(node, 1)) == 1;
    for (uint32_t i = 0; i < o->tensors; i++) {
        o->counts[i] = leat_value_count(leat_kernel_input(node, 2 + i));
    }
    for (uint32_t i = 2; fits && i < node->node->n_inputs; i++) {
        fits = leat_value_count(leat_kernel_input(node, i)) == o->counts[(i - 2) % o->tensors];
    }
    for (uint32_t i = 0; fits && i < node->node->n_outputs; i++) {
        const leat_value *out = leat_kernel_output(node, i);
        fits = out != NULL && leat_value_count(out) == o->counts[i % o->tensors];
    }
    return fits ? LEAT_OK
                : lt_cpu_fail(err, LEAT_INVALID, "%s: shapes do not fit",
                              lt_move_name(node->node).text);
}

leat_status lt_cpu_optimizer_prepare(const leat_kernel_node *node, void *device,
                                     const leat_host *host, leat_plan *plan,
                                     leat_kernel *out_kernel, leat_error *err)
{
    const leat_node *n = node->node;
    optimizer *o = host->plan_alloc(plan, sizeof(*o));
    (void)device;
    if (o == NULL) {
        return lt_move_no_memory(n, err);
    }
    o->tensors = count_tensors(n);
    o->counts = host->plan_alloc(plan, (o->tensors + 1) * sizeof(*o->counts));
    if (o->counts == NULL) {
        return lt_move_no_memory(n, err);
    }
    o->kind = kind_of(n);
    o->states = o->kind == 'a' ? 2 : 1;
    o->rate_dtype = leat_kernel_input(node, 0)->dtype;
    o->dtype = leat_kernel_input(node, 2)->dtype;
    o->nesterov = leat_node_string_is(n, "mode", "nesterov");
    o->alpha = (double)leat_node_float(n, "alpha", 0.9f);
    o->beta = (double)leat_node_float(n, "beta", 0.999f);
    o->norm = (double)leat_node_float(n, "norm_coefficient", 0);
    o->post = (double)leat_node_float(n, "norm_coefficient_post", 0);
    o->epsilon = (double)leat_node_float(n, "epsilon", 1e-6f);
    o->decay = (double)leat_node_float(n, "decay_factor", 0);
    out_kernel->name = "optimizer";
    out_kernel->launch = launch_optimizer;
    out_kernel->state = o;
    return read_counts(node, o, err);
}

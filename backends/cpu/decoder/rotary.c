/* SPDX-License-Identifier: Apache-2.0 */
/* RotaryEmbedding (Su et al., arXiv:2104.09864): pairs of a head's elements turned by the angle of
 * their position.
 *
 *     (a, b) -> (a cos - b sin, a sin + b cos)      a, b: element k of each half, or neighbours
 *
 * x is batch x heads x sequence x size, or batch x sequence x (heads * size); cosines and sines are
 * looked up by position, or given for each token. Computed in f32. Bound by memory. */
#include "convert.h"
#include "movement/movement.h"

#define MOST_HALF 4096

typedef struct rotary {
    lt_move_label label;
    leat_dtype dtype;
    bool interleaved, by_position;
    bool heads_first; /* 4 dimensions */
    int64_t batch, heads, seq, size, half;
    int64_t positions; /* rows of the tables */
} rotary;

typedef struct rotary_job {
    const rotary *r;
    const void *x, *cosines, *sines;
    const int64_t *positions;
    void *y;
} rotary_job;

static void turn(const rotary *r, const float *x, const float *c, const float *s, float *y)
{
    int64_t half = r->half;
    memcpy(y + 2 * half, x + 2 * half, (size_t)(r->size - 2 * half) * sizeof(*y));
    if (r->interleaved) {
        for (int64_t k = 0; k < half; k++) {
            float a = x[2 * k], b = x[2 * k + 1];
            y[2 * k] = a * c[k] - b * s[k];
            y[2 * k + 1] = a * s[k] + b * c[k];
        }
        return;
    }
    for (int64_t k = 0; k < half; k++) {
        float a = x[k], b = x[half + k];
        y[k] = a * c[k] - b * s[k];
        y[half + k] = a * s[k] + b * c[k];
    }
}

/* Items are tokens: batch * sequence. */
static void rotary_range(void *argument, int64_t begin, int64_t end)
{
    const rotary_job *job = argument;
    const rotary *r = job->r;
    size_t bytes = lt_cpu_element_bytes(r->dtype);
    float c[MOST_HALF], s[MOST_HALF], x[2 * MOST_HALF], y[2 * MOST_HALF];
    for (int64_t token = begin; token < end; token++) {
        int64_t row = r->by_position ? job->positions[token] : token;
        size_t table = (size_t)(row * r->half) * bytes;
        lt_cpu_widen_f32(r->dtype, (const char *)job->cosines + table, c, (size_t)r->half);
        lt_cpu_widen_f32(r->dtype, (const char *)job->sines + table, s, (size_t)r->half);
        for (int64_t h = 0; h < r->heads; h++) {
            int64_t b = token / r->seq, t = token % r->seq;
            int64_t head = r->heads_first ? (b * r->heads + h) * r->seq + t : token * r->heads + h;
            size_t at = (size_t)(head * r->size) * bytes;
            lt_cpu_widen_f32(r->dtype, (const char *)job->x + at, x, (size_t)r->size);
            turn(r, x, c, s, y);
            lt_cpu_narrow_f32(r->dtype, y, (char *)job->y + at, (size_t)r->size);
        }
    }
}

static leat_status launch_rotary(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const rotary *r = state;
    rotary_job job = {r,
                      args->inputs[0],
                      args->inputs[1],
                      args->inputs[2],
                      r->by_position ? args->inputs[3] : NULL,
                      args->outputs[0]};
    for (int64_t i = 0; r->by_position && i < r->batch * r->seq; i++) {
        if (job.positions[i] < 0 || job.positions[i] >= r->positions) {
            return lt_cpu_fail(
                err, LEAT_INVALID, "%s: position %lld of token %lld is outside [0, %lld)",
                r->label.text, (long long)job.positions[i], (long long)i, (long long)r->positions);
        }
    }
    lt_cpu_parallel_range(args, r->batch * r->seq, 1,
                          3.0 * (double)(r->heads * r->size) *
                              (double)lt_cpu_element_bytes(r->dtype),
                          rotary_range, &job);
    return LEAT_OK;
}

leat_status lt_cpu_rotary_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *positions = leat_kernel_input(node, 3);
    for (uint32_t i = 1; i < 3; i++) {
        const leat_value *table = leat_kernel_input(node, i);
        if (x == NULL || table == NULL || table->dtype != x->dtype) {
            return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: tables must be of the data's type",
                               lt_move_name(node->node).text);
        }
    }
    return positions != NULL && positions->dtype != LEAT_DTYPE_I64
               ? lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: positions must be i64",
                             lt_move_name(node->node).text)
               : LEAT_OK;
}

leat_status lt_cpu_rotary_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                  leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *table = leat_kernel_input(node, 1);
    const leat_value *sines = leat_kernel_input(node, 2), *positions = leat_kernel_input(node, 3);
    rotary *r = host->plan_alloc(plan, sizeof(*r));
    (void)device;
    if (r == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    r->label = lt_move_name(node->node);
    r->dtype = x->dtype;
    r->interleaved = leat_node_int(node->node, "interleaved", 0) != 0;
    r->by_position = positions != NULL;
    r->heads_first = x->rank == 4;
    r->heads = r->heads_first ? x->shape[1] : leat_node_int(node->node, "num_heads", 0);
    if ((x->rank != 3 && x->rank != 4) || r->heads < 1 ||
        (x->rank == 3 && x->shape[2] % r->heads != 0)) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: data of rank %d and %lld heads", r->label.text,
                           x->rank, (long long)r->heads);
    }
    r->batch = x->shape[0];
    r->seq = x->shape[r->heads_first ? 2 : 1];
    r->size = r->heads_first ? x->shape[3] : x->shape[2] / r->heads;
    int64_t turned = leat_node_int(node->node, "rotary_embedding_dim", 0);
    r->half = (turned > 0 ? turned : r->size) / 2;
    int64_t tokens = r->batch * r->seq;
    r->positions = r->half != 0 ? leat_value_count(table) / r->half : 0;
    if (turned < 0 || turned > r->size || r->size > 2 * MOST_HALF || table->rank < 1 ||
        table->shape[table->rank - 1] != r->half ||
        leat_value_count(sines) != leat_value_count(table) ||
        (r->by_position ? leat_value_count(positions) != tokens : r->positions != tokens)) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: tables do not fit heads of %lld", r->label.text,
                           (long long)r->size);
    }
    out_kernel->name = "rotary";
    out_kernel->launch = launch_rotary;
    out_kernel->state = r;
    out_kernel->inplace_mask = 1;
    return LEAT_OK;
}

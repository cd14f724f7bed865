/* SPDX-License-Identifier: Apache-2.0 */
/* LinearAttention: a state S of d_k x d_v for each key head, token after token
 *
 *     S = exp(g) S (gated)      S = S + k (beta (v - S^T k))^T (delta), else S + k v^T
 *     o = scale * S^T q         for each query head of the key head's group
 *
 * (Katharopoulos et al., arXiv:2006.16236; Yang et al., arXiv:2412.06464.) A task takes one key
 * head of one batch item through all tokens; its state, a few hundred KB at most, stays in the
 * cache. Rows of S lie together, so that each update is a loop over d_v. Computed in f32; bound by
 * reads of S: three passes a token. */
#include "convert.h"
#include "movement/movement.h"

#include <math.h>

typedef struct linear_attention {
    leat_dtype dtype, state_dtype;
    bool gated, delta;
    bool decay_each; /* one for each element of k, not each head */
    float scale;
    int64_t batch, seq, heads, group, d_k, d_v, betas; /* heads: of keys; betas: heads or 1 */
} linear_attention;

typedef struct attention_job {
    const linear_attention *a;
    const void *q, *k, *v, *past, *decay, *beta;
    void *y, *present;
    char *workspace;
} attention_job;

static float get(const attention_job *job, const void *data, int64_t i)
{
    return lt_cpu_get_f32(job->a->dtype, data, (size_t)i);
}

static void decay_state(const attention_job *job, float *state, int64_t token, int64_t head)
{
    const linear_attention *a = job->a;
    for (int64_t i = 0; i < a->d_k; i++) {
        int64_t at = token * a->heads + head;
        float g = expf(get(job, job->decay, a->decay_each ? at * a->d_k + i : at));
        for (int64_t j = 0; j < a->d_v; j++) {
            state[i * a->d_v + j] *= g;
        }
    }
}

/* v becomes what is added along k. */
static void correct(const attention_job *job, const float *state, const float *k, float *v,
                    int64_t token, int64_t head)
{
    const linear_attention *a = job->a;
    float beta = get(job, job->beta, token * a->betas + (a->betas == 1 ? 0 : head));
    for (int64_t i = 0; i < a->d_k; i++) {
        for (int64_t j = 0; j < a->d_v; j++) {
            v[j] -= k[i] * state[i * a->d_v + j];
        }
    }
    for (int64_t j = 0; j < a->d_v; j++) {
        v[j] *= beta;
    }
}

static void step(const attention_job *job, float *state, float *rows, int64_t token, int64_t head)
{
    const linear_attention *a = job->a;
    float *k = rows, *v = k + a->d_k, *o = v + a->d_v;
    size_t bytes = lt_cpu_element_bytes(a->dtype);
    int64_t key = token * a->heads + head;
    lt_cpu_widen_f32(a->dtype, (const char *)job->k + (size_t)(key * a->d_k) * bytes, k,
                     (size_t)a->d_k);
    lt_cpu_widen_f32(a->dtype, (const char *)job->v + (size_t)(key * a->d_v) * bytes, v,
                     (size_t)a->d_v);
    if (a->gated) {
        decay_state(job, state, token, head);
    }
    if (a->delta) {
        correct(job, state, k, v, token, head);
    }
    for (int64_t i = 0; i < a->d_k; i++) {
        for (int64_t j = 0; j < a->d_v; j++) {
            state[i * a->d_v + j] += k[i] * v[j];
        }
    }
    for (int64_t q = key * a->group; q < (key + 1) * a->group; q++) {
        memset(o, 0, (size_t)a->d_v * sizeof(*o));
        for (int64_t i = 0; i < a->d_k; i++) {
            float x = a->scale * get(job, job->q, q * a->d_k + i);
            for (int64_t j = 0; j < a->d_v; j++) {
                o[j] += x * state[i * a->d_v + j];
            }
        }
        lt_cpu_narrow_f32(a->dtype, o, (char *)job->y + (size_t)(q * a->d_v) * bytes,
                          (size_t)a->d_v);
    }
}

static size_t thread_floats(const linear_attention *a)
{
    return (size_t)(a->d_k * a->d_v + a->d_k + 2 * a->d_v);
}

static void head_task(void *argument, uint32_t task, uint32_t thread)
{
    const attention_job *job = argument;
    const linear_attention *a = job->a;
    float *state = (float *)(void *)job->workspace + thread * thread_floats(a);
    int64_t b = task / a->heads, head = task % a->heads;
    size_t count = (size_t)(a->d_k * a->d_v), bytes = lt_cpu_element_bytes(a->state_dtype);
    if (job->past != NULL) {
        lt_cpu_widen_f32(a->state_dtype, (const char *)job->past + task * count * bytes, state,
                         count);
    } else {
        memset(state, 0, count * sizeof(*state));
    }
    for (int64_t t = 0; t < a->seq; t++) {
        step(job, state, state + count, b * a->seq + t, head);
    }
    if (job->present != NULL) {
        lt_cpu_narrow_f32(a->state_dtype, state, (char *)job->present + task * count * bytes,
                          count);
    }
}

typedef struct attention_state {
    linear_attention a;
    bool has_past, has_present;
} attention_state;

static leat_status launch_linear_attention(const void *opaque, const leat_kernel_args *args,
                                           leat_error *err)
{
    const attention_state *s = opaque;
    const linear_attention *a = &s->a;
    attention_job job = {a,
                         args->inputs[0],
                         args->inputs[1],
                         args->inputs[2],
                         s->has_past ? args->inputs[3] : NULL,
                         a->gated ? args->inputs[4] : NULL,
                         a->delta ? args->inputs[5] : NULL,
                         args->outputs[0],
                         s->has_present ? args->outputs[1] : NULL,
                         args->workspace};
    (void)err;
    args->host->parallel(args->pool, (uint32_t)(a->batch * a->heads), head_task, &job);
    return LEAT_OK;
}

leat_status lt_cpu_linear_attention_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *past = leat_kernel_input(node, 3);
    for (uint32_t i = 1; i < 6; i++) {
        const leat_value *value = leat_kernel_input(node, i);
        if (x == NULL || (i < 3 && value == NULL) ||
            (i != 3 && value != NULL && value->dtype != x->dtype)) {
            return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: input %u is missing or of another type",
                               lt_move_name(node->node).text, i);
        }
    }
    return past != NULL && !((CPU_T(F32) | CPU_T(F16) | CPU_T(BF16)) >> past->dtype & 1)
               ? lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: its state must be f32, f16 or bf16",
                             lt_move_name(node->node).text)
               : LEAT_OK;
}

static void read_rule(const leat_node *node, linear_attention *a)
{
    bool other = leat_node_attr(node, "update_rule") != NULL;
    bool both = !other || leat_node_string_is(node, "update_rule", "gated_delta");
    a->gated = both || leat_node_string_is(node, "update_rule", "gated");
    a->delta = both || leat_node_string_is(node, "update_rule", "delta");
}

static bool fits(const leat_kernel_node *node, linear_attention *a)
{
    const leat_value *q = leat_kernel_input(node, 0), *k = leat_kernel_input(node, 1);
    const leat_value *v = leat_kernel_input(node, 2), *past = leat_kernel_input(node, 3);
    const leat_value *decay = leat_kernel_input(node, 4), *beta = leat_kernel_input(node, 5);
    int64_t heads = leat_node_int(node->node, "q_num_heads", 0);
    a->heads = leat_node_int(node->node, "kv_num_heads", 0);
    if (q->rank != 3 || k->rank != 3 || v->rank != 3 || a->heads < 1 || heads < 1 ||
        heads % a->heads != 0 || q->shape[2] % heads != 0 || v->shape[2] % a->heads != 0) {
        return false;
    }
    a->group = heads / a->heads;
    a->batch = q->shape[0];
    a->seq = q->shape[1];
    a->d_k = q->shape[2] / heads;
    a->d_v = v->shape[2] / a->heads;
    int64_t tokens = a->batch * a->seq, keys = tokens * a->heads;
    a->decay_each = a->gated && decay != NULL && leat_value_count(decay) == keys * a->d_k &&
                    decay->shape[decay->rank - 1] != a->heads;
    a->betas = a->delta && beta != NULL && leat_value_count(beta) == keys ? a->heads : 1;
    return leat_value_count(k) == keys * a->d_k && leat_value_count(v) == keys * a->d_v &&
           (past == NULL || leat_value_count(past) == a->batch * a->heads * a->d_k * a->d_v) &&
           (!a->gated || (decay != NULL && (a->decay_each || leat_value_count(decay) == keys))) &&
           (!a->delta || (beta != NULL && leat_value_count(beta) == tokens * a->betas)) &&
           a->batch * a->heads < UINT32_MAX;
}

leat_status lt_cpu_linear_attention_prepare(const leat_kernel_node *node, void *device,
                                            const leat_host *host, leat_plan *plan,
                                            leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *past = leat_kernel_input(node, 3), *present = leat_kernel_output(node, 1);
    attention_state *s = host->plan_alloc(plan, sizeof(*s));
    (void)device;
    if (s == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    linear_attention *a = &s->a;
    a->dtype = leat_kernel_input(node, 0)->dtype;
    a->state_dtype = past ? past->dtype : present ? present->dtype : a->dtype;
    s->has_past = past != NULL;
    s->has_present = present != NULL;
    read_rule(node->node, a);
    if (!fits(node, a)) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: shapes do not fit its heads",
                           lt_move_name(node->node).text);
    }
    a->scale = leat_node_float(node->node, "scale", 0);
    a->scale = a->scale != 0 ? a->scale : 1 / sqrtf((float)a->d_k);
    out_kernel->name = "linear_attention";
    out_kernel->launch = launch_linear_attention;
    out_kernel->state = s;
    out_kernel->workspace_bytes = thread_floats(a) * sizeof(float) * host->pool_threads(host->pool);
    return LEAT_OK;
}

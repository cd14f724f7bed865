/* SPDX-License-Identifier: Apache-2.0 */
/* Attention of ai.onnx (opset 23 and later): reads the node, joins caches, and runs
 * attention_run.c. Q, K and V are [B, heads, S, D] or [B, S, heads * D]; both are only strides
 * here. */
#include "attention/decode.h"

#include <math.h>

typedef struct attention {
    lt_attention a;
    uint32_t n_outputs;
} attention;

leat_status lt_cpu_attention_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *mask = leat_kernel_input(node, 3);
    if (leat_kernel_output(node, 3) != NULL) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "Attention: the output qk_matmul_output");
    }
    if (mask != NULL && mask->dtype != LEAT_DTYPE_BOOL && mask->dtype != LEAT_DTYPE_F32 &&
        mask->dtype != LEAT_DTYPE_F16 && mask->dtype != LEAT_DTYPE_BF16) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "Attention: a mask of this type");
    }
    return LEAT_OK;
}

/* --- launch -------------------------------------------------------------------------------------
 */

/* present = past, then new. */
static void join(const lt_attention *a, int64_t features, const void *past,
                 const lt_attention_strides *ps, const void *added, const lt_attention_strides *as,
                 void *out)
{
    size_t element = lt_cpu_element_bytes(a->dtype), row = (size_t)features * element;
    char *to = out;
    for (int64_t unit = 0; unit < a->batch * a->kv_heads; unit++) {
        int64_t b = unit / a->kv_heads, h = unit % a->kv_heads;
        for (int64_t i = 0; i < a->past_len; i++, to += row) {
            int64_t at = b * ps->batch + h * ps->head + i * ps->row;
            memcpy(to, (const char *)past + (size_t)at * element, row);
        }
        for (int64_t i = 0; i < a->kv_len; i++, to += row) {
            int64_t at = b * as->batch + h * as->head + i * as->row;
            memcpy(to, (const char *)added + (size_t)at * element, row);
        }
    }
}

static leat_status check_lengths(const lt_attention *a, const int64_t *lengths, leat_error *err)
{
    for (int64_t b = 0; b < a->batch; b++) {
        if (lengths[b] < 0 || lengths[b] > a->kv_len) {
            return lt_cpu_fail(err, LEAT_INVALID, "Attention: nonpad_kv_seqlen is %lld of %lld",
                               (long long)lengths[b], (long long)a->kv_len);
        }
    }
    return LEAT_OK;
}

static leat_status attention_launch(const void *state, const leat_kernel_args *args,
                                    leat_error *err)
{
    const attention *s = state;
    const lt_attention *a = &s->a;
    lt_attention_data data = {
        .q = args->inputs[0], .k = args->inputs[1], .v = args->inputs[2], .y = args->outputs[0]};
    if (a->mask_dtype != LEAT_DTYPE_UNDEFINED) {
        data.mask = args->inputs[3];
    }
    if (a->has_past) {
        data.past_k = args->inputs[4];
        data.past_v = args->inputs[5];
    }
    if (a->has_lengths) {
        data.lengths = args->inputs[6];
        leat_status status = check_lengths(a, data.lengths, err);
        if (status != LEAT_OK) {
            return status;
        }
    }
    if (s->n_outputs > 1 && args->outputs[1] != NULL) {
        join(a, a->d, data.past_k, &a->past_k, data.k, &a->k, args->outputs[1]);
    }
    if (s->n_outputs > 2 && args->outputs[2] != NULL) {
        join(a, a->dv, data.past_v, &a->past_v, data.v, &a->v, args->outputs[2]);
    }
    if (a->batch * a->heads * a->q_len * a->dv != 0) {
        (a->decode ? lt_decode_run : lt_attention_run)(a, &data, args->workspace, args);
    }
    return LEAT_OK;
}

/* --- prepare ------------------------------------------------------------------------------------
 */

static leat_status misfit(const leat_kernel_node *node, const char *what, leat_error *err)
{
    return lt_cpu_fail(err, LEAT_INVALID, "Attention node '%s': %s", node->node->name, what);
}

/* Sizes and strides of an operand. */
typedef struct operand {
    int64_t batch, heads, rows, features;
    lt_attention_strides strides;
} operand;

/* heads: of a value of rank 3; its last dimension is divided among them. */
static bool read_operand(const leat_value *value, int64_t heads, operand *o)
{
    const int64_t *s = value->shape;
    if (value->rank == 4) {
        *o = (operand){s[0], s[1], s[2], s[3], {s[1] * s[2] * s[3], s[2] * s[3], s[3]}};
        return true;
    }
    if (value->rank != 3 || heads < 1 || s[2] % heads != 0) {
        return false;
    }
    *o = (operand){s[0], heads, s[1], s[2] / heads, {s[1] * s[2], s[2] / heads, s[2]}};
    return true;
}

static leat_status read_shapes(attention *s, const leat_kernel_node *node, leat_error *err)
{
    lt_attention *a = &s->a;
    const leat_value *in[3], *y = leat_kernel_output(node, 0);
    operand q, k, v, out;
    int64_t heads = leat_node_int(node->node, "q_num_heads", 0);
    int64_t kv_heads = leat_node_int(node->node, "kv_num_heads", 0);
    for (uint32_t i = 0; i < 3; i++) {
        in[i] = leat_kernel_input(node, i);
        if (in[i] == NULL || in[i]->dtype != y->dtype || in[i]->rank != y->rank) {
            return misfit(node, "Q, K, V and Y must have one type and rank", err);
        }
    }
    if (!read_operand(in[0], heads, &q) || !read_operand(in[1], kv_heads, &k) ||
        !read_operand(in[2], kv_heads, &v) || !read_operand(y, heads, &out)) {
        return misfit(node, "the number of heads does not divide the last dimension", err);
    }
    if (k.batch != q.batch || v.batch != q.batch || k.heads != v.heads || k.rows != v.rows ||
        k.features != q.features || (k.heads != 0 && q.heads % k.heads != 0) ||
        out.batch != q.batch || out.heads != q.heads || out.rows != q.rows ||
        out.features != v.features || (k.heads == 0 && q.heads != 0)) {
        return misfit(node, "the shapes of Q, K, V and Y do not fit together", err);
    }
    a->dtype = y->dtype;
    a->batch = q.batch, a->heads = q.heads, a->kv_heads = k.heads;
    a->q_len = q.rows, a->kv_len = k.rows, a->d = q.features, a->dv = v.features;
    a->q = q.strides, a->k = k.strides, a->v = v.strides, a->y = out.strides;
    return LEAT_OK;
}

/* The caches, of rank 4. */
static leat_status read_past(attention *s, const leat_kernel_node *node, leat_error *err)
{
    lt_attention *a = &s->a;
    const leat_value *pk = leat_kernel_input(node, 4), *pv = leat_kernel_input(node, 5);
    operand k, v;
    if (pk == NULL && pv == NULL) {
        return LEAT_OK;
    }
    if (pk == NULL || pv == NULL || pk->rank != 4 || pv->rank != 4 || pk->dtype != a->dtype ||
        pv->dtype != a->dtype || !read_operand(pk, 0, &k) || !read_operand(pv, 0, &v) ||
        k.batch != a->batch || v.batch != a->batch || k.heads != a->kv_heads ||
        v.heads != a->kv_heads || k.rows != v.rows || k.features != a->d || v.features != a->dv) {
        return misfit(node, "past_key and past_value do not fit K and V", err);
    }
    a->has_past = true;
    a->past_len = k.rows;
    a->past_k = k.strides, a->past_v = v.strides;
    return LEAT_OK;
}

/* Strides of a mask that broadcasts to [batch, heads, q_len, keys]; fewer keys are allowed. */
static leat_status read_mask(attention *s, const leat_kernel_node *node, leat_error *err)
{
    lt_attention *a = &s->a;
    const leat_value *mask = leat_kernel_input(node, 3);
    int64_t keys = a->past_len + a->kv_len, stride = 1;
    int64_t want[4] = {a->batch, a->heads, a->q_len, keys};
    int64_t *strides[4] = {&a->mask_batch, &a->mask_head, &a->mask_row, &a->mask_column};
    if (mask == NULL) {
        return LEAT_OK;
    }
    if (mask->rank > 4) {
        return misfit(node, "the mask has more than four dimensions", err);
    }
    a->mask_dtype = mask->dtype;
    a->mask_len = keys;
    for (int32_t i = 3; i >= 0; i--) {
        int32_t from = i - (4 - mask->rank);
        int64_t dim = from < 0 ? 1 : mask->shape[from];
        bool shorter = i == 3 && dim < keys && dim != 1;
        if (dim != 1 && dim != want[i] && !shorter) {
            return misfit(node, "the mask does not broadcast", err);
        }
        a->mask_len = shorter ? dim : a->mask_len;
        *strides[i] = dim == 1 ? 0 : stride;
        stride *= dim;
    }
    return LEAT_OK;
}

static leat_status read_lengths(attention *s, const leat_kernel_node *node, leat_error *err)
{
    const leat_value *lengths = leat_kernel_input(node, 6);
    s->a.has_lengths = lengths != NULL;
    if (lengths != NULL && (lengths->dtype != LEAT_DTYPE_I64 || lengths->rank != 1 ||
                            lengths->shape[0] != s->a.batch || s->a.has_past)) {
        return misfit(node, "nonpad_kv_seqlen is one i64 for each sequence, without a past", err);
    }
    return LEAT_OK;
}

static leat_status check_present(const attention *s, const leat_kernel_node *node, leat_error *err)
{
    const lt_attention *a = &s->a;
    for (uint32_t i = 1; i < 3; i++) {
        const leat_value *out = leat_kernel_output(node, i);
        int64_t features = i == 1 ? a->d : a->dv;
        if (out != NULL && (out->dtype != a->dtype ||
                            leat_value_count(out) !=
                                a->batch * a->kv_heads * (a->past_len + a->kv_len) * features)) {
            return misfit(node, "present_key or present_value has another type or shape", err);
        }
    }
    return LEAT_OK;
}

static const lt_decode_kernels *decode_for(const lt_cpu_device *device)
{
#if defined(__x86_64__)
    if (device->isa != LT_CPU_PORTABLE) {
        return device->isa == LT_CPU_AVX512 ? &lt_decode_avx512 : &lt_decode_avx2;
    }
#endif
    (void)device;
    return &lt_decode_portable;
}

static void choose_kernels(lt_attention *a, const lt_cpu_device *device)
{
    a->gemm = lt_gemm_kernels_for(device, LEAT_DTYPE_F32);
    a->half = lt_half_for(device);
    a->rows = &lt_softmax_rows_portable;
    a->transpose = lt_cpu_transpose_portable(sizeof(float));
#if defined(__x86_64__)
    if (device->isa == LT_CPU_AVX512) {
        a->rows = &lt_softmax_rows_avx512;
        a->transpose = lt_cpu_transpose_avx512(sizeof(float));
        a->far_scores = device->full_width && a->dtype == LEAT_DTYPE_F32;
        if (device->avx512_bf16 && a->dtype == LEAT_DTYPE_BF16 && a->d % 2 == 0) {
            a->rows = &lt_softmax_rows_avx512bf16;
            a->gemm = &lt_cpu_gemm_bf16_14x32_avx512bf16_to_f32;
        }
    } else if (device->isa == LT_CPU_AVX2) {
        a->rows = &lt_softmax_rows_avx2;
        a->transpose = lt_cpu_transpose_avx2(sizeof(float));
    }
#endif
}

leat_status lt_cpu_attention_prepare(const leat_kernel_node *node, void *device,
                                     const leat_host *host, leat_plan *plan,
                                     leat_kernel *out_kernel, leat_error *err)
{
    attention *s = host->plan_alloc(plan, sizeof(*s));
    uint32_t threads = host->pool_threads(host->pool);
    if (s == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "Attention: no memory for the plan");
    }
    leat_status status = read_shapes(s, node, err);
    if (status == LEAT_OK) {
        status = read_past(s, node, err);
    }
    if (status == LEAT_OK) {
        status = read_mask(s, node, err);
    }
    if (status == LEAT_OK) {
        status = read_lengths(s, node, err);
    }
    if (status == LEAT_OK) {
        status = check_present(s, node, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    lt_attention *a = &s->a;
    /* ai.onnx says 0; a Softmax in the model, of which the node was made, gives NaN. */
    a->zero_masked = strcmp(node->node->domain, "leat") != 0;
    a->causal = leat_node_int(node->node, "is_causal", 0) != 0;
    a->softcap = leat_node_float(node->node, "softcap", 0);
    a->scale = leat_node_float(node->node, "scale", 1 / sqrtf(a->d ? (float)a->d : 1));
    s->n_outputs = node->node->n_outputs;
    choose_kernels(a, device);
    if (a->batch * a->heads * a->q_len != 0 && !lt_attention_cut(a, threads)) {
        return lt_cpu_fail(err, LEAT_LIMIT, "Attention node '%s' is too large", node->node->name);
    }
    out_kernel->name = a->rows->factor == LEAT_DTYPE_BF16 ? "attention_bf16" : "attention";
    out_kernel->launch = attention_launch;
    out_kernel->state = s;
    out_kernel->workspace_bytes = a->thread_bytes * threads;
    size_t decode_bytes = lt_decode_fits(a) ? lt_decode_workspace(a, threads) : 0;
    if (decode_bytes != 0) {
        a->decode = decode_for(device);
        out_kernel->name = "attention_decode";
        out_kernel->workspace_bytes = decode_bytes;
    }
    out_kernel->flops = 2 * (uint64_t)(a->batch * a->heads * a->q_len) *
                        (uint64_t)(a->past_len + a->kv_len) * (uint64_t)(a->d + a->dv);
    return LEAT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of Attention: ai.onnx's (opset 23) without caches, leat's, and leat's of packed Q, K, V. Q,
 * K and V are [B, heads, S, D] or [B, S, heads * D]; both are only strides here. */
#include "cuda.h"
#include "heads.h"
#include "rows.h"
#include "tensor.h"

#include "../gpu/params/attention.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>

#define LARGEST_HEAD 128

typedef lt_cuda_attention_inputs places;

static bool is_packed(const leat_kernel_node *node)
{
    return strcmp(node->node->op, "PackedAttention") == 0;
}

static const leat_value *mask_of(const leat_kernel_node *node)
{
    return leat_kernel_input(node, is_packed(node) ? 1 : 3);
}

/* Elements of a head of Q, K or V; -1 when that is not known. */
static int64_t head_size(const leat_kernel_node *node, uint32_t input)
{
    const leat_value *x = leat_kernel_input(node, input);
    int64_t heads = leat_node_int(node->node, input == 0 ? "q_num_heads" : "kv_num_heads", 0);
    if (is_packed(node)) {
        heads += 2 * leat_node_int(node->node, "kv_num_heads", 0);
    }
    if (x == NULL || (x->rank != 4 && (x->rank != 3 || heads < 1)) || x->shape[x->rank - 1] < 0) {
        return -1;
    }
    return x->rank == 4 ? x->shape[3] : x->shape[2] / heads;
}

/* What only ai.onnx's node may have. */
static leat_status check_extras(const leat_kernel_node *node, leat_error *err)
{
    for (uint32_t i = 4; i < node->node->n_inputs; i++) {
        if (leat_kernel_input(node, i) != NULL) {
            return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: Attention: a cache or lengths");
        }
    }
    for (uint32_t i = 1; i < node->node->n_outputs; i++) {
        if (leat_kernel_output(node, i) != NULL) {
            return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: Attention: output %u", i);
        }
    }
    return leat_node_float(node->node, "softcap", 0) == 0
               ? LEAT_OK
               : lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: Attention: a softcap");
}

leat_status lt_cuda_attention_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *q = leat_kernel_input(node, 0), *mask = mask_of(node);
    leat_status status = check_extras(node, err);
    if (status != LEAT_OK) {
        return status;
    }
    for (uint32_t i = 0; i < (is_packed(node) ? 1 : 3); i++) {
        const leat_value *x = leat_kernel_input(node, i);
        int64_t size = head_size(node, i);
        if (size < 0 || size > LARGEST_HEAD) {
            return lt_cuda_fail(err, LEAT_UNSUPPORTED,
                                "cuda: Attention: heads of more than %d elements or of unknown "
                                "size",
                                LARGEST_HEAD);
        }
        if (x->dtype != q->dtype) {
            return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: Attention: several types");
        }
    }
    if (mask != NULL && mask->dtype != q->dtype && mask->dtype != LEAT_DTYPE_BOOL &&
        mask->dtype != LEAT_DTYPE_F32) {
        return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: Attention: a mask of another type");
    }
    return lt_cuda_fits(node, err);
}

/* Q, K and V of a packed value, and where the latter two begin. */
static bool unpack(const leat_value *x, int64_t heads, int64_t kv_heads, lt_cuda_heads o[3],
                   places *at)
{
    int64_t all = heads + 2 * kv_heads, bytes = lt_cuda_element_bytes(x->dtype);
    if (heads < 1 || kv_heads < 1 || !lt_cuda_read_heads(x, all, &o[0])) {
        return false;
    }
    o[1] = o[2] = o[0];
    o[0].heads = heads;
    o[1].heads = o[2].heads = kv_heads;
    at->k = at->v = 0;
    at->k_bytes = heads * o[0].size * bytes;
    at->v_bytes = (heads + kv_heads) * o[0].size * bytes;
    return true;
}

static bool read_operands(const leat_kernel_node *node, lt_gpu_attention *p, places *at)
{
    lt_cuda_heads o[3], y;
    int64_t heads = leat_node_int(node->node, "q_num_heads", 0);
    int64_t kv_heads = leat_node_int(node->node, "kv_num_heads", 0);
    *at = (places){.k = 1, .v = 2, .mask = mask_of(node) == NULL ? -1 : is_packed(node) ? 1 : 3};
    if (!lt_cuda_read_heads(leat_kernel_output(node, 0), heads, &y)) {
        return false;
    }
    if (is_packed(node)) {
        if (!unpack(leat_kernel_input(node, 0), heads, kv_heads, o, at)) {
            return false;
        }
    } else if (!lt_cuda_read_heads(leat_kernel_input(node, 0), heads, &o[0]) ||
               !lt_cuda_read_heads(leat_kernel_input(node, 1), kv_heads, &o[1]) ||
               !lt_cuda_read_heads(leat_kernel_input(node, 2), kv_heads, &o[2])) {
        return false;
    }
    const lt_cuda_heads *q = &o[0], *k = &o[1], *v = &o[2];
    p->batch = (int32_t)q->batch;
    p->heads = (int32_t)q->heads;
    p->kv_heads = (int32_t)k->heads;
    p->q_rows = (int32_t)q->rows;
    p->kv_rows = (int32_t)k->rows;
    p->head_size = (int32_t)q->size;
    p->v_size = (int32_t)v->size;
    memcpy(p->q_stride, q->stride, sizeof(p->q_stride));
    memcpy(p->k_stride, k->stride, sizeof(p->k_stride));
    memcpy(p->v_stride, v->stride, sizeof(p->v_stride));
    memcpy(p->y_stride, y.stride, sizeof(p->y_stride));
    return k->batch == q->batch && v->batch == q->batch && k->heads == v->heads &&
           k->rows == v->rows && k->size == q->size && k->heads > 0 && q->heads % k->heads == 0 &&
           y.batch == q->batch && y.heads == q->heads && y.rows == q->rows && y.size == v->size &&
           q->size <= LARGEST_HEAD && v->size <= LARGEST_HEAD;
}

/* A mask that broadcasts to [batch, heads, rows of q, of k]; fewer columns are allowed. */
static bool read_mask(const leat_value *mask, lt_gpu_attention *p)
{
    int64_t want[4] = {p->batch, p->heads, p->q_rows, p->kv_rows}, stride = 1;
    p->mask_columns = p->kv_rows;
    if (mask == NULL) {
        return true;
    }
    p->mask_kind = mask->dtype == LEAT_DTYPE_BOOL  ? LT_GPU_MASK_BOOL
                   : mask->dtype == LEAT_DTYPE_F32 ? LT_GPU_MASK_F32
                                                   : LT_GPU_MASK_ADDED;
    for (int32_t i = 3; i >= 0; i--) {
        int32_t from = i - 4 + mask->rank;
        int64_t dim = from < 0 ? 1 : mask->shape[from];
        if (i == 3 && dim < want[3] && dim != 1) {
            p->mask_columns = (int32_t)dim;
        } else if (dim != 1 && dim != want[i]) {
            return false;
        }
        p->mask_stride[i] = dim == 1 ? 0 : stride;
        stride *= dim;
    }
    return mask->rank <= 4;
}

/* Whether the kernels of tensor cores take these sizes, and f32 as TF32. */
static bool suits_tensor_cores(const lt_cuda_builder *b, const lt_gpu_attention *p,
                               leat_dtype dtype)
{
    const bool tf32 =
        dtype == LEAT_DTYPE_F32 && b->host->plan_options(b->plan)->precision == LEAT_PRECISION_TF32;
    int64_t all = p->head_size | p->v_size;
    for (int i = 0; i < 3; i++) {
        all |= p->q_stride[i] | p->k_stride[i] | p->v_stride[i] | p->y_stride[i];
    }
    return ((LT_CUDA_HALVES >> dtype & 1) != 0 && all % 8 == 0) || (tf32 && all % 4 == 0);
}

/* Adds the kernel; `rows` of q a block. */
static leat_status add(lt_cuda_builder *b, const lt_gpu_attention *p, const places *at,
                       const char *kernel, int32_t rows)
{
    lt_cuda_launch launch = {
        .kernel = kernel,
        .grid = {lt_cuda_item_blocks(b, lt_gpu_attention_items(p, rows))},
        .parameters = p,
        .parameter_bytes = sizeof(*p),
        .n_pointers = 4,
        .pointers = {{offsetof(lt_gpu_attention, q), LT_CUDA_INPUT, 0, 0},
                     {offsetof(lt_gpu_attention, k), LT_CUDA_INPUT, at->k, at->k_bytes},
                     {offsetof(lt_gpu_attention, v), LT_CUDA_INPUT, at->v, at->v_bytes},
                     {offsetof(lt_gpu_attention, y), LT_CUDA_OUTPUT, 0, 0}}};
    if (at->mask >= 0) {
        launch.pointers[launch.n_pointers++] = (lt_cuda_pointer){
            offsetof(lt_gpu_attention, mask), LT_CUDA_INPUT, (uint32_t)at->mask, 0};
    }
    return lt_cuda_add(b, &launch);
}

/* Blocks of 128 rows read keys and values half as often; of 64, when those would be too few. Where
 * gemm/attend.h is for them and faster, it is taken. */
static leat_status add_kernel(lt_cuda_builder *b, const lt_gpu_attention *p, const places *at)
{
    leat_dtype dtype = leat_kernel_input(b->node, 0)->dtype;
    const char *type = lt_cuda_type_name(dtype);
    bool small = p->head_size <= 64 && p->v_size <= 64;
    char family[32], name[64];
    if (suits_tensor_cores(b, p, dtype)) {
        bool many = lt_gpu_attention_items(p, 128) >= (int64_t)b->device->processors;
        const char *shape = small ? many ? "64x128" : "64x64" : many ? "128x128" : "128x64";
        snprintf(family, sizeof(family), "attention_%s%s", dtype == LEAT_DTYPE_F32 ? "" : "mma_",
                 dtype == LEAT_DTYPE_F32 ? "tf32" : type);
        lt_cuda_kernel_name(name, family, shape);
        leat_status status = add(b, p, at, name, many ? 128 : 64);
        if (status == LEAT_OK) {
            (void)lt_cuda_tensor_attention(b, p, dtype, at);
        }
        return status;
    }
    snprintf(family, sizeof(family), "attention_%s", type);
    lt_cuda_kernel_name(name, family, small ? "64" : "128");
    return add(b, p, at, name, LT_GPU_ATTENTION_ROWS);
}

leat_status lt_cuda_attention_prepare(const leat_kernel_node *node, void *device,
                                      const leat_host *host, leat_plan *plan,
                                      leat_kernel *out_kernel, leat_error *err)
{
    lt_cuda_builder b;
    places at;
    lt_gpu_attention p = {.causal = leat_node_int(node->node, "is_causal", 0) != 0};
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 1, err);
    if (status != LEAT_OK || leat_value_count(leat_kernel_output(node, 0)) == 0) {
        return status;
    }
    if (!read_operands(node, &p, &at) || !read_mask(mask_of(node), &p)) {
        return lt_cuda_fail(err, LEAT_INVALID, "cuda: Attention node '%s': shapes that do not fit",
                            node->node->name);
    }
    /* ai.onnx says 0; a Softmax in the model, of which leat's node was made, gives NaN. */
    p.nothing = strcmp(node->node->domain, "leat") == 0 ? NAN : 0;
    p.scale =
        leat_node_float(node->node, "scale", 1 / sqrtf(p.head_size > 0 ? (float)p.head_size : 1));
    out_kernel->flops = 2 * (uint64_t)p.batch * (uint64_t)p.heads * (uint64_t)p.q_rows *
                        (uint64_t)p.kv_rows * (uint64_t)(p.head_size + p.v_size);
    return add_kernel(&b, &p, &at);
}

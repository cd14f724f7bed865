/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of what language models run token by token: Attention of ai.onnx over caches, with the
 * number of keys as data; RotaryEmbedding; TensorScatter. Kernels: gpu/decode.hpp. */
#include "cuda.h"
#include "heads.h"
#include "rows.h"

#include "../gpu/params/decode.h"
#include "../gpu/params/layout.h"

#include <math.h>
#include <stddef.h>

static leat_status unsupported(leat_error *err, const leat_kernel_node *node, const char *what)
{
    return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: %s: %s", node->node->op, what);
}

static leat_status misfit(leat_error *err, const leat_kernel_node *node, const char *what)
{
    return lt_cuda_fail(err, LEAT_INVALID, "cuda: %s node '%s': %s", node->node->op,
                        node->node->name, what);
}

/* ---- Attention ------------------------------------------------------------------------------- */

enum {
    Q = 0,
    K,
    V,
    MASK,
    PAST_K,
    PAST_V,
    LENGTHS
};

#define MOST_HEAD 128
/* Keys of a part of a row: fewer are not worth the kernel that joins the parts. */
#define KEYS_OF_A_PART 1024
#define MOST_PARTS 32

leat_status lt_cuda_decode_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *q = leat_kernel_input(node, Q), *mask = leat_kernel_input(node, MASK);
    const leat_value *lengths = leat_kernel_input(node, LENGTHS);
    for (uint32_t i = K; i <= PAST_V; i++) {
        const leat_value *value = leat_kernel_input(node, i);
        if (i == MASK ? value != NULL && value->dtype != LEAT_DTYPE_BOOL && value->dtype != q->dtype
                      : value != NULL && value->dtype != q->dtype) {
            return unsupported(err, node, "inputs of several types");
        }
    }
    if (leat_kernel_input(node, K) == NULL || leat_kernel_input(node, V) == NULL ||
        leat_kernel_output(node, 3) != NULL) {
        return unsupported(err, node, "the output qk_matmul_output");
    }
    if ((lengths != NULL && lengths->dtype != LEAT_DTYPE_I64) || (mask != NULL && mask->rank > 4)) {
        return unsupported(err, node, "lengths or a mask of this kind");
    }
    return lt_cuda_fits(node, err);
}

static bool same_outside(const lt_cuda_heads *a, const lt_cuda_heads *b)
{
    return a->batch == b->batch && a->heads == b->heads && a->size == b->size;
}

/* Sizes and strides of q, k, v, y and the past; false when they do not fit together. */
static bool fill_operands(const leat_kernel_node *node, lt_gpu_decode *p)
{
    const leat_value *past_k = leat_kernel_input(node, PAST_K);
    const leat_value *past_v = leat_kernel_input(node, PAST_V);
    int64_t heads = leat_node_int(node->node, "q_num_heads", 0);
    int64_t kv_heads = leat_node_int(node->node, "kv_num_heads", 0);
    lt_cuda_heads q, k, v, y, pk = {.rows = 0}, pv = {.rows = 0};
    if (!lt_cuda_read_heads(leat_kernel_input(node, Q), heads, &q) ||
        !lt_cuda_read_heads(leat_kernel_input(node, K), kv_heads, &k) ||
        !lt_cuda_read_heads(leat_kernel_input(node, V), kv_heads, &v) ||
        !lt_cuda_read_heads(leat_kernel_output(node, 0), heads, &y)) {
        return false;
    }
    if (k.batch != q.batch || v.batch != q.batch || k.heads != v.heads || k.rows != v.rows ||
        k.size != q.size || k.heads < 1 || q.heads % k.heads != 0 || y.batch != q.batch ||
        y.heads != q.heads || y.rows != q.rows || y.size != v.size) {
        return false;
    }
    if ((past_k == NULL) != (past_v == NULL) ||
        (past_k != NULL &&
         (past_k->rank != 4 || past_v->rank != 4 || !lt_cuda_read_heads(past_k, 0, &pk) ||
          !lt_cuda_read_heads(past_v, 0, &pv) || !same_outside(&pk, &k) || !same_outside(&pv, &v) ||
          pk.rows != pv.rows))) {
        return false;
    }
    p->batch = (int32_t)q.batch;
    p->heads = (int32_t)q.heads;
    p->kv_heads = (int32_t)k.heads;
    p->q_rows = (int32_t)q.rows;
    p->kv_rows = (int32_t)k.rows;
    p->past_rows = (int32_t)pk.rows;
    p->head_size = (int32_t)q.size;
    p->v_size = (int32_t)v.size;
    memcpy(p->q_stride, q.stride, sizeof(p->q_stride));
    memcpy(p->k_stride, k.stride, sizeof(p->k_stride));
    memcpy(p->v_stride, v.stride, sizeof(p->v_stride));
    memcpy(p->y_stride, y.stride, sizeof(p->y_stride));
    memcpy(p->past_k_stride, pk.stride, sizeof(p->past_k_stride));
    memcpy(p->past_v_stride, pv.stride, sizeof(p->past_v_stride));
    return true;
}

/* A mask that broadcasts to [batch, heads, q_rows, keys]; fewer keys are allowed. */
static bool fill_mask(const leat_kernel_node *node, lt_gpu_decode *p)
{
    const leat_value *mask = leat_kernel_input(node, MASK);
    int64_t keys = (int64_t)p->past_rows + p->kv_rows, stride = 1;
    const int64_t want[4] = {p->batch, p->heads, p->q_rows, keys};
    p->mask_columns = (int32_t)keys;
    if (mask == NULL) {
        return true;
    }
    p->mask_kind = mask->dtype == LEAT_DTYPE_BOOL ? LT_GPU_DECODE_BOOL : LT_GPU_DECODE_ADDED;
    for (int32_t i = 3; i >= 0; i--) {
        int32_t from = i - (4 - mask->rank);
        int64_t dim = from < 0 ? 1 : mask->shape[from];
        bool shorter = i == 3 && dim < keys && dim != 1;
        if (dim != 1 && dim != want[i] && !shorter) {
            return false;
        }
        p->mask_columns = shorter ? (int32_t)dim : p->mask_columns;
        p->mask_stride[i] = dim == 1 ? 0 : stride;
        stride *= dim;
    }
    return true;
}

/* present = past, then the new rows: two copies. */
static leat_status add_present(lt_cuda_builder *b, const lt_gpu_decode *p, bool values)
{
    const leat_value *present = leat_kernel_output(b->node, values ? 2 : 1);
    leat_dtype dtype = leat_kernel_input(b->node, Q)->dtype;
    int64_t size = values ? p->v_size : p->head_size, bytes = lt_cuda_element_bytes(dtype);
    int64_t all = (int64_t)p->past_rows + p->kv_rows;
    leat_status status = LEAT_OK;
    if (present == NULL) {
        return LEAT_OK;
    }
    if (present->dtype != dtype ||
        leat_value_count(present) != (int64_t)p->batch * p->kv_heads * all * size) {
        return misfit(b->err, b->node, "a present of another type or shape");
    }
    for (int fresh = 0; fresh < 2 && status == LEAT_OK; fresh++) {
        const int64_t *from = fresh ? (values ? p->v_stride : p->k_stride)
                                    : (values ? p->past_v_stride : p->past_k_stride);
        int64_t rows = fresh ? p->kv_rows : p->past_rows;
        uint32_t input = fresh ? (values ? V : K) : (values ? PAST_V : PAST_K);
        lt_cuda_walk walk = {.rank = 4,
                             .shape = {p->batch, p->kv_heads, rows, size},
                             .strides = {{from[0], from[1], from[2], 1},
                                         {p->kv_heads * all * size, all * size, size, 1}}};
        lt_gpu_copy c = {.count = (int64_t)p->batch * p->kv_heads * rows * size};
        char name[64];
        if (c.count == 0) {
            continue;
        }
        lt_cuda_walk_merge(&walk, 2);
        lt_cuda_walk_index(&walk, &c.index);
        memcpy(c.x_stride, walk.strides[0], sizeof(c.x_stride));
        memcpy(c.y_stride, walk.strides[1], sizeof(c.y_stride));
        lt_cuda_kernel_name(name, "copy", lt_cuda_by_bytes(dtype));
        status = lt_cuda_add(
            b, &(lt_cuda_launch){
                   .kernel = name,
                   .grid = {lt_cuda_blocks(b, c.count, dtype)},
                   .parameters = &c,
                   .parameter_bytes = sizeof(c),
                   .n_pointers = 2,
                   .pointers = {{offsetof(lt_gpu_copy, x), LT_CUDA_INPUT, input, 0},
                                {offsetof(lt_gpu_copy, y), LT_CUDA_OUTPUT, values ? 2u : 1u,
                                 fresh ? p->past_rows * size * bytes : 0}}});
    }
    return status;
}

/* The kernel, and the one that joins its parts. */
static leat_status add_decode(lt_cuda_builder *b, const lt_gpu_decode *p)
{
    static const size_t places[] = {
        offsetof(lt_gpu_decode, q),      offsetof(lt_gpu_decode, k),
        offsetof(lt_gpu_decode, v),      offsetof(lt_gpu_decode, mask),
        offsetof(lt_gpu_decode, past_k), offsetof(lt_gpu_decode, past_v),
        offsetof(lt_gpu_decode, lengths)};
    const char *type = lt_cuda_type_name(leat_kernel_input(b->node, Q)->dtype);
    bool wide = p->head_size > 64 || p->v_size > 64;
    char name[64], suffix[16];
    lt_cuda_launch launch = {.kernel = name,
                             .grid = {lt_cuda_item_blocks(b, lt_gpu_decode_items(p))},
                             .parameters = p,
                             .parameter_bytes = sizeof(*p),
                             .n_pointers = 2,
                             .pointers = {{offsetof(lt_gpu_decode, y), LT_CUDA_OUTPUT, 0, 0},
                                          {offsetof(lt_gpu_decode, error), LT_CUDA_FAULTS, 0, 0}}};
    for (uint32_t i = Q; i <= LENGTHS; i++) {
        if (leat_kernel_input(b->node, i) != NULL) {
            launch.pointers[launch.n_pointers++] =
                (lt_cuda_pointer){(uint32_t)places[i], LT_CUDA_INPUT, i, 0};
        }
    }
    if (p->splits > 1) {
        launch.pointers[launch.n_pointers++] =
            (lt_cuda_pointer){offsetof(lt_gpu_decode, parts), LT_CUDA_WORKSPACE, 0, 0};
        b->kernel->workspace_bytes =
            (size_t)lt_gpu_decode_items(p) * (size_t)lt_gpu_decode_part(p) * sizeof(float);
    }
    size_t n = strlen(type);
    memcpy(suffix, type, n);
    memcpy(suffix + n, wide ? "_128" : "_64", wide ? 5 : 4);
    lt_cuda_kernel_name(name, "decode", suffix);
    leat_status status = lt_cuda_add(b, &launch);
    if (status == LEAT_OK && p->splits > 1) {
        lt_cuda_kernel_name(name, "decode_join", type);
        launch.grid[0] = lt_cuda_item_blocks(b, (lt_gpu_decode_rows(p) + 7) / 8);
        status = lt_cuda_add(b, &launch);
    }
    return status;
}

leat_status lt_cuda_decode_prepare(const leat_kernel_node *node, void *device,
                                   const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                   leat_error *err)
{
    lt_cuda_builder b;
    lt_gpu_decode p = {.causal = leat_node_int(node->node, "is_causal", 0) != 0,
                       .splits = 1,
                       .softcap = leat_node_float(node->node, "softcap", 0)};
    const leat_value *lengths = leat_kernel_input(node, LENGTHS);
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 6, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (!fill_operands(node, &p)) {
        return misfit(err, node, "Q, K, V, their pasts and Y do not fit together");
    }
    if (!fill_mask(node, &p)) {
        return misfit(err, node, "the mask does not broadcast");
    }
    if (lengths != NULL && (leat_value_count(lengths) != p.batch || p.past_rows != 0)) {
        return misfit(err, node, "nonpad_kv_seqlen is one for each sequence, without a past");
    }
    if (p.head_size > MOST_HEAD || p.v_size > MOST_HEAD) {
        return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: %s: heads of more than %d elements",
                            node->node->op, MOST_HEAD);
    }
    p.scale = leat_node_float(node->node, "scale",
                              1.0f / sqrtf(p.head_size > 0 ? (float)p.head_size : 1.0f));
    int64_t keys = (int64_t)p.past_rows + p.kv_rows, rows = lt_gpu_decode_rows(&p);
    int64_t parts = keys / KEYS_OF_A_PART, room = rows > 0 ? 2 * b.device->processors / rows : 1;
    parts = parts < room ? parts : room;
    p.splits = parts < 1 ? 1 : parts > MOST_PARTS ? MOST_PARTS : (int32_t)parts;
    out_kernel->flops = 2 * (uint64_t)rows * (uint64_t)keys * (uint64_t)(p.head_size + p.v_size);
    if (rows * p.v_size != 0) {
        status = add_decode(&b, &p);
    }
    status = status ? status : add_present(&b, &p, false);
    return status ? status : add_present(&b, &p, true);
}

/* ---- RotaryEmbedding ------------------------------------------------------------------------- */

leat_status lt_cuda_rotary_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *positions = leat_kernel_input(node, 3);
    for (uint32_t i = 1; i < 3; i++) {
        const leat_value *table = leat_kernel_input(node, i);
        if (table == NULL || table->dtype != x->dtype) {
            return unsupported(err, node, "tables of another type than the data");
        }
    }
    if (positions != NULL && positions->dtype != LEAT_DTYPE_I64) {
        return unsupported(err, node, "positions that are not i64");
    }
    return lt_cuda_fits(node, err);
}

/* False when the shapes do not fit together. */
static bool fill_rotary(const leat_kernel_node *node, lt_gpu_rotary *p)
{
    const leat_value *x = leat_kernel_input(node, 0), *table = leat_kernel_input(node, 1);
    const leat_value *sines = leat_kernel_input(node, 2), *positions = leat_kernel_input(node, 3);
    bool heads_first = x->rank == 4;
    int64_t heads = heads_first ? x->shape[1] : leat_node_int(node->node, "num_heads", 0);
    int64_t turned = leat_node_int(node->node, "rotary_embedding_dim", 0);
    if ((x->rank != 3 && x->rank != 4) || heads < 1 || (!heads_first && x->shape[2] % heads != 0)) {
        return false;
    }
    int64_t seq = x->shape[heads_first ? 2 : 1], tokens = x->shape[0] * seq;
    int64_t size = heads_first ? x->shape[3] : x->shape[2] / heads;
    int64_t half = (turned > 0 ? turned : size) / 2;
    if (half < 1 || 2 * half > size || table->rank < 1 || sines->rank != table->rank ||
        table->shape[table->rank - 1] != half || leat_value_count(table) % half != 0 ||
        leat_value_count(table) != leat_value_count(sines) ||
        (positions != NULL && leat_value_count(positions) != tokens) ||
        (positions == NULL && leat_value_count(table) != tokens * half)) {
        return false;
    }
    p->size = lt_gpu_divisor_make((uint32_t)size);
    p->seq = lt_gpu_divisor_make((uint32_t)seq);
    p->heads = lt_gpu_divisor_make((uint32_t)heads);
    p->half = (int32_t)half;
    p->table_rows = (int32_t)(leat_value_count(table) / half);
    p->heads_first = heads_first;
    return true;
}

leat_status lt_cuda_rotary_prepare(const leat_kernel_node *node, void *device,
                                   const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                   leat_error *err)
{
    lt_cuda_builder b;
    const leat_value *x = leat_kernel_input(node, 0);
    lt_gpu_rotary p = {.count = leat_value_count(x),
                       .interleaved = leat_node_int(node->node, "interleaved", 0) != 0};
    char name[64];
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 1, err);
    if (status != LEAT_OK || p.count == 0) {
        return status;
    }
    if (!fill_rotary(node, &p)) {
        return misfit(err, node, "data, tables and positions do not fit together");
    }
    lt_cuda_launch launch = {.kernel = name,
                             .grid = {lt_cuda_blocks(&b, p.count, LEAT_DTYPE_I64)},
                             .parameters = &p,
                             .parameter_bytes = sizeof(p),
                             .n_pointers = 5,
                             .pointers = {{offsetof(lt_gpu_rotary, x), LT_CUDA_INPUT, 0, 0},
                                          {offsetof(lt_gpu_rotary, cosines), LT_CUDA_INPUT, 1, 0},
                                          {offsetof(lt_gpu_rotary, sines), LT_CUDA_INPUT, 2, 0},
                                          {offsetof(lt_gpu_rotary, y), LT_CUDA_OUTPUT, 0, 0},
                                          {offsetof(lt_gpu_rotary, error), LT_CUDA_FAULTS, 0, 0}}};
    if (leat_kernel_input(node, 3) != NULL) {
        launch.pointers[launch.n_pointers++] =
            (lt_cuda_pointer){offsetof(lt_gpu_rotary, positions), LT_CUDA_INPUT, 3, 0};
    }
    lt_cuda_kernel_name(name, "rotary", lt_cuda_type_name(x->dtype));
    return lt_cuda_add(&b, &launch);
}

/* ---- TensorScatter --------------------------------------------------------------------------- */

leat_status lt_cuda_tensor_scatter_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *update = leat_kernel_input(node, 1);
    const leat_value *indices = leat_kernel_input(node, 2);
    if (update == NULL || update->dtype != x->dtype ||
        (indices != NULL && indices->dtype != LEAT_DTYPE_I64)) {
        return unsupported(err, node, "an update of another type than the cache");
    }
    return lt_cuda_fits(node, err);
}

static bool fill_scatter(const leat_kernel_node *node, lt_gpu_tensor_scatter *p)
{
    const leat_value *x = leat_kernel_input(node, 0), *update = leat_kernel_input(node, 1);
    const leat_value *indices = leat_kernel_input(node, 2);
    int64_t axis = leat_node_int(node->node, "axis", -2), rows = 1, run = 1;
    axis += axis < 0 ? x->rank : 0;
    if (axis < 1 || axis >= x->rank || update->rank != x->rank ||
        (indices != NULL && leat_value_count(indices) != x->shape[0])) {
        return false;
    }
    for (int32_t i = 0; i < x->rank; i++) {
        if (i == axis ? update->shape[i] > x->shape[i] : update->shape[i] != x->shape[i]) {
            return false;
        }
        if (i != 0 && i != axis) {
            *(i < axis ? &rows : &run) *= x->shape[i];
        }
    }
    p->batch = (int32_t)x->shape[0];
    p->rows = lt_gpu_divisor_make((uint32_t)rows);
    p->length = lt_gpu_divisor_make((uint32_t)x->shape[axis]);
    /* An empty update launches nothing. */
    p->added = lt_gpu_divisor_make(update->shape[axis] > 0 ? (uint32_t)update->shape[axis] : 1u);
    p->run = lt_gpu_divisor_make((uint32_t)run);
    return true;
}

leat_status lt_cuda_tensor_scatter_prepare(const leat_kernel_node *node, void *device,
                                           const leat_host *host, leat_plan *plan,
                                           leat_kernel *out_kernel, leat_error *err)
{
    lt_cuda_builder b;
    const leat_value *x = leat_kernel_input(node, 0);
    lt_gpu_tensor_scatter p = {.circular = leat_node_string_is(node->node, "mode", "circular")};
    char name[64];
    if (leat_value_count(leat_kernel_input(node, 1)) == 0 && leat_value_count(x) != 0) {
        out_kernel->name = "view";
        out_kernel->view_of = 1;
        out_kernel->unread_mask = ~1u;
        return LEAT_OK;
    }
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 1, err);
    if (status != LEAT_OK || leat_value_count(x) == 0) {
        return status;
    }
    if (!fill_scatter(node, &p)) {
        return misfit(err, node, "the update does not fit the cache");
    }
    lt_cuda_launch launch = {
        .kernel = name,
        .grid = {lt_cuda_blocks(&b, leat_value_count(x), LEAT_DTYPE_I64)},
        .parameters = &p,
        .parameter_bytes = sizeof(p),
        .n_pointers = 4,
        .pointers = {{offsetof(lt_gpu_tensor_scatter, x), LT_CUDA_INPUT, 0, 0},
                     {offsetof(lt_gpu_tensor_scatter, update), LT_CUDA_INPUT, 1, 0},
                     {offsetof(lt_gpu_tensor_scatter, y), LT_CUDA_OUTPUT, 0, 0},
                     {offsetof(lt_gpu_tensor_scatter, error), LT_CUDA_FAULTS, 0, 0}}};
    if (leat_kernel_input(node, 2) != NULL) {
        launch.pointers[launch.n_pointers++] =
            (lt_cuda_pointer){offsetof(lt_gpu_tensor_scatter, indices), LT_CUDA_INPUT, 2, 0};
    }
    lt_cuda_kernel_name(name, "tensor_scatter", lt_cuda_by_bytes(x->dtype));
    out_kernel->inplace_mask = 1;
    return lt_cuda_add(&b, &launch);
}

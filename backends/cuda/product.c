/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of Gemm and MatMul. */
#include "blaslt_way.h"
#include "cuda.h"
#include "gemv.h"
#include "rows.h"
#include "tensor.h"

#include "../gpu/params/gemm.h"

#include <stddef.h>

enum {
    A = 0,
    B,
    C
};

/* The bias, NULL for none. */
static const leat_value *bias_of(const leat_kernel_node *node)
{
    int32_t input = lt_cuda_bias_input(node);
    return input < 0 ? NULL : leat_kernel_input(node, (uint32_t)input);
}

leat_status lt_cuda_product_supports(const leat_kernel_node *node, leat_error *err)
{
    lt_gpu_activation activation;
    if (!lt_cuda_product_types(node) || !lt_cuda_activation(node->node, &activation)) {
        return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: %s: this activation or type",
                            node->node->op);
    }
    const leat_value *bias = bias_of(node);
    if (strcmp(node->node->op, "MatMul") == 0 && bias != NULL && bias->data == NULL) {
        return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: MatMul: a bias that is not constant");
    }
    return lt_cuda_fits(node, err);
}

/* Sums of parts of k go to the workspace when whole sums would leave multiprocessors idle. */
static void choose_splits(lt_gpu_gemm *p, int64_t items, uint32_t processors)
{
    int64_t most = p->k / 128, wanted = items > 0 ? processors / items : 1;
    p->splits = (int32_t)(wanted < most ? wanted : most);
    p->splits = p->splits < 1 ? 1 : p->splits > 32 ? 32 : p->splits;
    int64_t part = (p->k + p->splits - 1) / p->splits;
    part = part < 1 ? LT_GPU_GEMM_K : (part + LT_GPU_GEMM_K - 1) / LT_GPU_GEMM_K * LT_GPU_GEMM_K;
    p->k_split = (int32_t)part;
    p->splits = p->k > 0 ? (int32_t)((p->k + part - 1) / part) : 1;
}

typedef struct choice {
    const char *family;
    const char *tile; /* end of the kernel's name, "" for none */
    uint32_t blocks;
} choice;

static choice choose(lt_gpu_gemm *p, leat_dtype dtype, uint32_t processors)
{
    int32_t bytes = (int32_t)lt_cuda_element_bytes(dtype);
    int64_t most = (int64_t)processors * 16;
    p->splits = 1;
    p->k_split = (p->k / LT_GPU_GEMM_K + 1) * LT_GPU_GEMM_K;
    if (p->m <= LT_GPU_GEMV_ROWS && p->a_column == 1 && p->b_row == 1) {
        int64_t blocks = ((int64_t)p->n * p->batch + 7) / 8;
        return (choice){"gemv_nt", "", (uint32_t)(blocks < most ? blocks : most)};
    }
    if (p->m <= LT_GPU_GEMV_ROWS && p->b_column == 1) {
        choose_splits(p, lt_gpu_gemv_nn_items(p, bytes), processors);
        int64_t blocks = lt_gpu_gemv_nn_items(p, bytes);
        return (choice){"gemv_nn", "", (uint32_t)(blocks < most ? blocks : most)};
    }
    bool large = lt_gpu_gemm_items(p, 128) >= processors;
    int32_t tile = large ? 128 : 64;
    choose_splits(p, lt_gpu_gemm_items(p, tile), processors);
    int64_t blocks = lt_gpu_gemm_items(p, tile);
    return (choice){"gemm", large ? "_128x128" : "_64x64",
                    (uint32_t)(blocks < most ? blocks : most)};
}

/* The product in gemm/'s words. False where it has none: A not dense along k, several batch
 * strides, a bias that is no row, another activation. */
static bool describe(const lt_cuda_builder *b, const lt_gpu_gemm *p, bool bias, uint32_t residual,
                     lt_cuda_gemm_desc *out)
{
    leat_dtype none = LEAT_DTYPE_UNDEFINED;
    const bool transposed = p->b_row == 1 && p->b_column != 1, batches = p->batch_index.rank != 0;
    *out = (lt_cuda_gemm_desc){
        .dtype = leat_kernel_input(b->node, A)->dtype,
        .out_dtype = leat_kernel_output(b->node, 0)->dtype,
        .bias_dtype = bias ? leat_kernel_input(b->node, C)->dtype : none,
        .residual_dtype = residual ? leat_kernel_input(b->node, residual)->dtype : none,
        .b_transposed = transposed,
        .alpha = p->activation.alpha,
        .beta = p->activation.beta,
        .scale = p->alpha,
        .m = p->m,
        .n = p->n,
        .k = p->k,
        .batch = p->batch,
        .lda = p->a_row,
        .ldb = transposed ? p->b_column : p->b_row,
        .ldd = p->n,
        .ldr = p->n,
        .a_batch = batches ? p->a_stride[0] : 0,
        .b_batch = batches ? p->b_stride[0] : 0,
        .d_batch = (int64_t)p->m * p->n,
        .r_batch = (int64_t)p->m * p->n,
        .overlap = 1,
        .b_constant = leat_kernel_input(b->node, B)->data != NULL,
    };
    bool row = !bias || (p->bias_row == 0 && p->bias_column == 1 && p->beta == 1);
    return row && p->a_column == 1 && p->k != 0 && p->batch_index.rank <= 1 &&
           lt_cuda_tensor_activation(&p->activation, &out->activation);
}

/* The same product on the tensor cores, where they take it: halves or TF32. B of F32 has to lie
 * along k: a constant is packed so. UNSUPPORTED where they do not. */
static leat_status on_tensor_cores(lt_cuda_builder *b, const lt_gpu_gemm *p,
                                   const lt_cuda_gemm_desc *described, lt_cuda_tensor_inputs inputs)
{
    lt_cuda_gemm_desc desc = *described;
    if (!lt_cuda_tensor_takes(b, desc.dtype)) {
        return LEAT_UNSUPPORTED;
    }
    if (desc.dtype == LEAT_DTYPE_F32 && !desc.b_transposed) {
        leat_status status = lt_cuda_pack_columns(b, B, p, &inputs.packed_b);
        if (inputs.packed_b == NULL) {
            return status ? status : LEAT_UNSUPPORTED;
        }
        desc.b_transposed = 1;
        desc.ldb = p->k;
    }
    const uint32_t unread = b->kernel->unread_mask;
    b->kernel->unread_mask |= inputs.packed_b ? 1u << B : 0;
    leat_status status = lt_cuda_tensor_product(b, &desc, &inputs);
    b->kernel->unread_mask = status ? unread : b->kernel->unread_mask;
    return status;
}

/* The product, and the sum of its parts where it has some. residual: its input, 0 for none. */
static leat_status add_product(lt_cuda_builder *b, lt_gpu_gemm *p, bool bias, uint32_t residual)
{
    leat_dtype dtype = leat_kernel_input(b->node, A)->dtype;
    const char *type = lt_cuda_type_name(dtype);
    char name[64], suffix[32];
    const lt_cuda_tensor_inputs inputs = {
        .a = A, .b = B, .bias = bias ? C : -1, .residual = residual ? (int32_t)residual : -1};
    lt_cuda_gemm_desc desc;
    leat_status status = lt_cuda_gemv_pack(b, B, p);
    const bool by_rows = lt_cuda_gemv_fits(p), described = describe(b, p, bias, residual, &desc);
    if (status == LEAT_OK && !by_rows && described) {
        status = on_tensor_cores(b, p, &desc, inputs);
        if (status != LEAT_UNSUPPORTED) {
            return status;
        }
        status = LEAT_OK;
    }
    if (status != LEAT_OK) {
        return status;
    }
    p->wide_y = leat_kernel_output(b->node, 0)->dtype == LEAT_DTYPE_F32;
    p->wide_bias = bias && leat_kernel_input(b->node, C)->dtype == LEAT_DTYPE_F32;
    p->wide_residual =
        residual != 0 && leat_kernel_input(b->node, residual)->dtype == LEAT_DTYPE_F32;
    choice c = choose(p, dtype, b->device->processors);
    lt_cuda_launch launch = {.kernel = name,
                             .grid = {c.blocks},
                             .parameters = p,
                             .parameter_bytes = sizeof(*p),
                             .n_pointers = 2,
                             .pointers = {{offsetof(lt_gpu_gemm, a), LT_CUDA_INPUT, A, 0},
                                          {offsetof(lt_gpu_gemm, y), LT_CUDA_OUTPUT, 0, 0}}};
    if (p->b == NULL) {
        launch.pointers[launch.n_pointers++] =
            (lt_cuda_pointer){offsetof(lt_gpu_gemm, b), LT_CUDA_INPUT, B, 0};
    }
    if (bias) {
        launch.pointers[launch.n_pointers++] =
            (lt_cuda_pointer){offsetof(lt_gpu_gemm, bias), LT_CUDA_INPUT, C, 0};
    }
    if (residual != 0) {
        launch.pointers[launch.n_pointers++] =
            (lt_cuda_pointer){offsetof(lt_gpu_gemm, residual), LT_CUDA_INPUT, residual, 0};
    }
    if (p->splits > 1) {
        launch.pointers[launch.n_pointers++] =
            (lt_cuda_pointer){offsetof(lt_gpu_gemm, workspace), LT_CUDA_WORKSPACE, 0, 0};
        b->kernel->workspace_bytes =
            (size_t)p->splits * (size_t)p->batch * (size_t)p->m * (size_t)p->n * sizeof(float);
    }
    memcpy(suffix, type, strlen(type) + 1);
    memcpy(suffix + strlen(type), c.tile, strlen(c.tile) + 1);
    lt_cuda_kernel_name(name, c.family, suffix);
    status = lt_cuda_add(b, &launch);
    if (status == LEAT_OK && p->splits > 1) {
        int64_t count = (int64_t)p->batch * p->m * p->n;
        lt_cuda_kernel_name(name, "gemm_finish", type);
        launch.grid[0] = lt_cuda_blocks(b, count, dtype);
        status = lt_cuda_add(b, &launch);
    }
    return status || by_rows || !described || dtype == LEAT_DTYPE_F32
               ? status
               : lt_cuda_blaslt_instead(b, &desc, &inputs);
}

/* The residual's input; 0 for none. It has the output's shape, as the host promises. */
static leat_status check_residual(const leat_kernel_node *node, uint32_t *out_input,
                                  leat_error *err)
{
    int32_t input = lt_cuda_residual_input(node->node);
    *out_input = input < 0 ? 0 : (uint32_t)input;
    const leat_value *residual = *out_input ? leat_kernel_input(node, *out_input) : NULL;
    if (residual != NULL &&
        leat_value_count(residual) != leat_value_count(leat_kernel_output(node, 0))) {
        return lt_cuda_fail(err, LEAT_INVALID, "cuda: %s node '%s': a residual of another shape",
                            node->node->op, node->node->name);
    }
    return LEAT_OK;
}

/* bias_row and bias_column of a bias that is broadcast to m x n; false when it cannot be. */
static bool spread_bias(const leat_value *bias, lt_gpu_gemm *p)
{
    int64_t shape[2] = {p->m, p->n}, strides[2];
    leat_value c = *bias;
    while (c.rank > 2 && c.shape[0] == 1) {
        memmove(c.shape, c.shape + 1, sizeof(c.shape) - sizeof(c.shape[0]));
        c.rank--;
    }
    if (!lt_cuda_broadcast(&c, 2, shape, strides)) {
        return false;
    }
    p->bias_row = strides[0];
    p->bias_column = strides[1];
    return true;
}

leat_status lt_cuda_gemm_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                 leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    lt_cuda_builder b;
    const leat_value *a = leat_kernel_input(node, A), *w = leat_kernel_input(node, B);
    const leat_value *bias = bias_of(node);
    bool ta = leat_node_int(node->node, "transA", 0) != 0;
    bool tb = leat_node_int(node->node, "transB", 0) != 0;
    uint32_t residual = 0;
    lt_gpu_gemm p = {.batch = 1,
                     .alpha = leat_node_float(node->node, "alpha", 1),
                     .beta = leat_node_float(node->node, "beta", 1)};
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 2, err);
    status = status ? status : check_residual(node, &residual, err);
    if (status != LEAT_OK || leat_value_count(leat_kernel_output(node, 0)) == 0) {
        return status;
    }
    if (a->rank != 2 || w->rank != 2 || a->shape[ta ? 0 : 1] != w->shape[tb ? 1 : 0]) {
        return lt_cuda_fail(err, LEAT_INVALID, "cuda: Gemm node '%s': the matrices do not fit",
                            node->node->name);
    }
    p.m = (int32_t)a->shape[ta ? 1 : 0];
    p.k = (int32_t)a->shape[ta ? 0 : 1];
    p.n = (int32_t)w->shape[tb ? 0 : 1];
    p.a_row = ta ? 1 : p.k;
    p.a_column = ta ? p.m : 1;
    p.b_row = tb ? 1 : p.n;
    p.b_column = tb ? p.k : 1;
    if (bias != NULL && !spread_bias(bias, &p)) {
        return lt_cuda_fail(err, LEAT_INVALID, "cuda: Gemm node '%s': C does not broadcast",
                            node->node->name);
    }
    (void)lt_cuda_activation(node->node, &p.activation);
    out_kernel->flops = 2 * (uint64_t)p.m * (uint64_t)p.n * (uint64_t)p.k;
    return add_product(&b, &p, bias != NULL, residual);
}

/* Matrix dimensions and batch of a MatMul; false when the operands do not fit. Rows of A join the
 * batch into one product where B is one matrix. */
static bool fill_matmul(const leat_kernel_node *node, lt_gpu_gemm *p)
{
    leat_value a = *leat_kernel_input(node, A), b = *leat_kernel_input(node, B);
    lt_cuda_walk walk = {.rank = 0};
    if (a.rank == 0 || b.rank == 0) {
        return false;
    }
    if (a.rank == 1) {
        a = (leat_value){.rank = 2, .shape = {1, a.shape[0]}};
    }
    if (b.rank == 1) {
        b = (leat_value){.rank = 2, .shape = {b.shape[0], 1}};
    }
    int64_t m = a.shape[a.rank - 2], k = a.shape[a.rank - 1], n = b.shape[b.rank - 1];
    if (b.shape[b.rank - 2] != k) {
        return false;
    }
    int32_t rank = (a.rank > b.rank ? a.rank : b.rank) - 2;
    for (int32_t i = 0; i < rank; i++) {
        int32_t da = i - rank + a.rank - 2, db = i - rank + b.rank - 2;
        int64_t sa = da >= 0 ? a.shape[da] : 1, sb = db >= 0 ? b.shape[db] : 1;
        if (sa != sb && sa != 1 && sb != 1) {
            return false;
        }
        walk.shape[i] = sa == 1 ? sb : sa;
    }
    leat_value batch_a = a, batch_b = b;
    batch_a.rank -= 2;
    batch_b.rank -= 2;
    walk.rank = rank;
    if (!lt_cuda_broadcast(&batch_a, rank, walk.shape, walk.strides[0]) ||
        !lt_cuda_broadcast(&batch_b, rank, walk.shape, walk.strides[1])) {
        return false;
    }
    for (int32_t i = 0; i < rank; i++) {
        walk.strides[0][i] *= m * k;
        walk.strides[1][i] *= k * n;
    }
    lt_cuda_walk_merge(&walk, 2);
    if (walk.rank == 1 && walk.strides[0][0] == m * k && walk.strides[1][0] == 0) {
        m *= walk.shape[0];
        walk.rank = 0;
    }
    int64_t batch = 1;
    for (int32_t i = 0; i < walk.rank; i++) {
        batch *= walk.shape[i];
    }
    lt_cuda_walk_index(&walk, &p->batch_index);
    memcpy(p->a_stride, walk.strides[0], sizeof(p->a_stride));
    memcpy(p->b_stride, walk.strides[1], sizeof(p->b_stride));
    p->m = (int32_t)m;
    p->n = (int32_t)n;
    p->k = (int32_t)k;
    p->batch = (int32_t)batch;
    p->a_row = k;
    p->a_column = 1;
    p->b_row = n;
    p->b_column = 1;
    return true;
}

bool lt_cuda_matmul_desc(const lt_cuda_builder *b, lt_cuda_gemm_desc *out)
{
    const int32_t residual = lt_cuda_residual_input(b->node->node);
    const bool bias = bias_of(b->node) != NULL;
    lt_gpu_gemm p = {.alpha = 1, .beta = 1, .bias_column = bias};
    return fill_matmul(b->node, &p) &&
           describe(b, &p, bias, residual < 0 ? 0 : (uint32_t)residual, out);
}

leat_status lt_cuda_matmul_prepare(const leat_kernel_node *node, void *device,
                                   const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                   leat_error *err)
{
    lt_cuda_builder b;
    const leat_value *bias = bias_of(node);
    uint32_t residual = 0;
    lt_gpu_gemm p = {.alpha = 1, .beta = 1};
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 2, err);
    status = status ? status : check_residual(node, &residual, err);
    if (status != LEAT_OK || leat_value_count(leat_kernel_output(node, 0)) == 0) {
        return status;
    }
    if (!fill_matmul(node, &p) || (bias != NULL && leat_value_count(bias) != p.n)) {
        return lt_cuda_fail(err, LEAT_INVALID, "cuda: MatMul node '%s': the operands do not fit",
                            node->node->name);
    }
    p.bias_column = bias != NULL ? 1 : 0;
    (void)lt_cuda_activation(node->node, &p.activation);
    out_kernel->flops = 2 * (uint64_t)p.batch * (uint64_t)p.m * (uint64_t)p.n * (uint64_t)p.k;
    return add_product(&b, &p, bias != NULL, residual);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* QLinearMatMul, MatMulInteger and leat's QMatMul: bytes by bytes, with the epilogue of int8.h. One
 * constant B is packed at load; others by each launch, one product of a batch after the other. */
#include "gemm/product.h"
#include "int8/quantized.h"

/* Where things lie in the workspace. */
typedef struct parts {
    size_t data, data_bytes; /* s8 data as u8 */
    size_t weights, params, gemm, total;
} parts;

typedef struct qmatmul {
    lt_int8_node q;
    lt_product_desc desc; /* batch, m, n, k, trans_b, offsets */
    const lt_gemm_kernels *kernels;
    size_t sums_at;     /* in the packed block */
    const void *packed; /* weights and their column sums; NULL: made by launch */
    lt_int8_params params;
    parts at;
} qmatmul;

static void pack_matrix(const qmatmul *w, const void *b, char *out)
{
    const lt_product_desc *d = &w->desc;
    lt_gemm_source source = {.data = b,
                             .dtype = w->q.w_type,
                             .k = d->k,
                             .n = d->n,
                             .row_stride = d->trans_b ? 1 : d->n,
                             .column_stride = d->trans_b ? d->k : 1,
                             .scale = 1};
    lt_gemm_pack(w->kernels, &source, out, 0, lt_gemm_panels(w->kernels, d->n));
    int32_t *sums = (int32_t *)(void *)(out + w->sums_at);
    lt_int8_column_sums(&w->q, w->kernels, out, 0, sums);
}

static leat_status fill_weights(void *out, size_t bytes, const leat_value *constant,
                                const void *argument, leat_error *err)
{
    (void)bytes;
    (void)err;
    pack_matrix(argument, constant->data, out);
    return LEAT_OK;
}

/* --- launch -------------------------------------------------------------------------------------
 */

/* One product: rows [0, m) of A at `a`, result and residual at element `c0` of theirs. */
static void run_product(const qmatmul *w, const leat_kernel_args *args, const char *a,
                        const char *packed, const lt_int8_params *params, size_t rows, size_t c0)
{
    const lt_product_desc *d = &w->desc;
    lt_int8_epilogue epilogue = lt_int8_group(&w->q, params, 0);
    if (epilogue.residual_kind != LT_INT8_RESIDUAL_NONE) {
        size_t element = epilogue.residual_kind == LT_INT8_RESIDUAL_F32 ? sizeof(float) : 1;
        epilogue.residual = (const char *)args->inputs[w->q.in.residual] + c0 * element;
        epilogue.residual_ld = d->n;
    }
    lt_gemm_job job = {.kernels = w->kernels,
                       .m = rows,
                       .n = d->n,
                       .k = d->k,
                       .taps = 1,
                       .a = a,
                       .lda = d->k,
                       .b = packed,
                       .bias = params->offset,
                       .c = (char *)args->outputs[0] + c0 * w->kernels->c_bytes,
                       .ldc = d->n,
                       .epilogue = &epilogue};
    if (w->q.result == LT_INT8_RESULT_F32 && w->q.activate != NULL) {
        job.activation = w->q.activation;
    }
    lt_gemm_run(&job, (char *)args->workspace + w->at.gemm, args);
}

/* Packed weights (B from `b` where they are not constant) and parameters. */
static const char *stage_constants(const qmatmul *w, const leat_kernel_args *args, const char *b,
                                   lt_int8_params *params)
{
    char *workspace = args->workspace;
    const char *packed = w->packed;
    *params = w->params;
    if (packed == NULL) {
        pack_matrix(w, b, workspace + w->at.weights);
        packed = workspace + w->at.weights;
    }
    if (!w->q.fixed) {
        const int32_t *sums = (const int32_t *)(const void *)(packed + w->sums_at);
        lt_int8_make_params(&w->q, args->inputs, sums, workspace + w->at.params, params);
    }
    return packed;
}

static leat_status qmatmul_launch(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const qmatmul *w = state;
    const lt_product_desc *d = &w->desc;
    const char *a = args->inputs[w->q.in.x], *b = args->inputs[w->q.in.w];
    lt_int8_params params;
    (void)err;
    if (w->at.data_bytes != 0) {
        char *to = (char *)args->workspace + w->at.data;
        lt_int8_flip(a, to, (int64_t)w->at.data_bytes, args);
        a = to;
    }
    if (d->b_offsets == NULL) {
        const char *packed = stage_constants(w, args, b, &params);
        run_product(w, args, a, packed, &params, d->batch * d->m, 0);
        return LEAT_OK;
    }
    for (size_t i = 0; i < d->batch; i++) {
        const char *packed = stage_constants(w, args, b + d->b_offsets[i], &params);
        run_product(w, args, a + d->a_offsets[i], packed, &params, d->m, i * d->m * d->n);
    }
    return LEAT_OK;
}

/* --- prepare ------------------------------------------------------------------------------------
 */

/* Batch, m, n, k from a view of the node whose inputs are A and B. A transposed B is a matrix. */
static leat_status read_shapes(const leat_kernel_node *node, const lt_int8_node *q,
                               const leat_host *host, leat_plan *plan, lt_product_desc *d,
                               leat_error *err)
{
    uint32_t inputs[2] = {0, 1};
    leat_value values[2] = {*leat_kernel_input(node, q->in.x), *leat_kernel_input(node, q->in.w)};
    leat_node plain = *node->node;
    plain.inputs = inputs;
    plain.n_inputs = 2;
    leat_kernel_node view = {&plain, values};
    d->trans_b = leat_node_int(node->node, "transB", 0) != 0;
    if (d->trans_b) {
        if (values[1].rank != 2) {
            return lt_cpu_fail(err, LEAT_INVALID, "%s: a transposed B must have rank 2",
                               node->node->op);
        }
        int64_t columns = values[1].shape[0];
        values[1].shape[0] = values[1].shape[1];
        values[1].shape[1] = columns;
    }
    return lt_matmul_shapes(&view, host, plan, d, err);
}

static leat_status prepare_constants(qmatmul *w, const leat_kernel_node *node,
                                     const leat_host *host, leat_plan *plan, leat_error *err)
{
    const lt_product_desc *d = &w->desc;
    size_t packed = lt_gemm_packed_bytes(w->kernels, 1, d->k, d->n), block;
    w->sums_at = lt_whole_lines(packed);
    if ((packed == 0 && d->k != 0 && d->n != 0) ||
        __builtin_add_overflow(w->sums_at, lt_int8_sums_bytes(&w->q), &block)) {
        return lt_cpu_fail(err, LEAT_LIMIT, "%s node '%s': B is too large", node->node->op,
                           node->node->name);
    }
    if (!w->q.constant_weights || d->b_offsets != NULL) {
        return LEAT_OK;
    }
    uint64_t key = 0x801 | (uint64_t)w->kernels->nr << 16 | (uint64_t)d->trans_b << 24;
    key |= (uint64_t)(w->q.limits != NULL) << 25;
    leat_status status = host->plan_pack(plan, leat_kernel_input(node, w->q.in.w), key, block,
                                         fill_weights, w, &w->packed, err);
    if (status != LEAT_OK || !w->q.fixed) {
        return status;
    }
    const void *data[14] = {NULL};
    for (uint32_t i = 0; i < node->node->n_inputs && i < 14; i++) {
        const leat_value *value = leat_kernel_input(node, i);
        data[i] = value ? value->data : NULL;
    }
    void *memory = host->plan_alloc(plan, lt_int8_params_bytes(&w->q));
    if (memory == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for the plan", node->node->op);
    }
    const int32_t *sums = (const int32_t *)(const void *)((const char *)w->packed + w->sums_at);
    lt_int8_make_params(&w->q, data, sums, memory, &w->params);
    return LEAT_OK;
}

static void plan_parts(qmatmul *w, const leat_kernel_node *node, uint32_t threads)
{
    const lt_product_desc *d = &w->desc;
    parts *at = &w->at;
    size_t total = 0, block = w->sums_at + lt_int8_sums_bytes(&w->q);
    bool flip = w->q.x_type == LEAT_DTYPE_I8;
    at->data_bytes = flip ? (size_t)leat_value_count(leat_kernel_input(node, w->q.in.x)) : 0;
    at->data = lt_int8_take(&total, at->data_bytes);
    at->weights = lt_int8_take(&total, w->packed ? 0 : block);
    at->params = lt_int8_take(&total, w->q.fixed ? 0 : lt_int8_params_bytes(&w->q));
    at->gemm = total;
    const lt_gemm_job job = {.kernels = w->kernels,
                             .m = d->b_offsets ? d->m : d->batch * d->m,
                             .n = d->n,
                             .k = d->k,
                             .taps = 1};
    at->total = total + lt_gemm_workspace(&job, threads);
}

leat_status lt_cpu_qmatmul_prepare(const leat_kernel_node *node, void *device,
                                   const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                   leat_error *err)
{
    qmatmul *w = host->plan_alloc(plan, sizeof(*w));
    if (w == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for the plan", node->node->op);
    }
    leat_status status = lt_int8_read(node, &w->q, err);
    if (status == LEAT_OK) {
        status = read_shapes(node, &w->q, host, plan, &w->desc, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    lt_product_desc *d = &w->desc;
    w->q.groups = 1;
    w->q.m = d->b_offsets ? d->m : d->batch * d->m;
    w->q.n = d->n;
    w->q.k = d->k;
    status = lt_int8_check_sizes(node, &w->q, err);
    if (status != LEAT_OK) {
        return status;
    }
    w->q.fixed &= d->b_offsets == NULL;
    w->kernels = lt_int8_kernels_for(device, w->q.result == LT_INT8_RESULT_BYTE ? 1 : 4);
    w->q.panels = lt_gemm_panels(w->kernels, d->n);
    w->q.columns = w->q.panels * w->kernels->nr;
    w->q.packed_k = lt_gemm_padded_k(w->kernels, d->k);
    w->q.limits = lt_int8_limits_for(w->kernels);
    double low, high;
    bool clamp = lt_cpu_activation_clamp(&w->q.activation, &low, &high);
    w->q.activate = clamp ? NULL : lt_cpu_activate_for(device);
    status = prepare_constants(w, node, host, plan, err);
    plan_parts(w, node, host->pool_threads(host->pool));
    out_kernel->name = w->kernels->name;
    out_kernel->launch = qmatmul_launch;
    out_kernel->state = w;
    out_kernel->workspace_bytes = w->at.total;
    out_kernel->flops = 2 * (uint64_t)(d->batch * d->m * d->n) * d->k;
    return status;
}

leat_status lt_cpu_qmatmul_supports(const leat_kernel_node *node, leat_error *err)
{
    lt_int8_node q;
    return lt_int8_read(node, &q, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* MatMul (numpy.matmul's shapes) and Gemm, of ai.onnx and with leat's epilogues. */
#include "gemm/product.h"

/* Reads the attributes that passes add. The residual is the last input. Of nodes without `compute`
 * all types agree. */
static void read_epilogue(const leat_kernel_node *node, lt_product_desc *desc)
{
    lt_cpu_activation_read(node->node, &desc->activation);
    desc->compute = lt_cpu_compute_dtype(node);
    desc->residual_input = LT_PRODUCT_NONE;
    if (strcmp(node->node->domain, "leat") == 0 && leat_node_int(node->node, "residual", 0)) {
        desc->residual_input = node->node->n_inputs - 1;
    }
}

leat_status lt_cpu_product_supports(const leat_kernel_node *node, leat_error *err)
{
    lt_cpu_activation activation;
    const leat_value *a = leat_kernel_input(node, 0);
    if (strcmp(node->node->domain, "leat") != 0) {
        return LEAT_OK;
    }
    leat_status status = lt_cpu_compute_supports(node, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (!lt_cpu_activation_read(node->node, &activation)) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: unknown activation", node->node->op);
    }
    if (a->dtype == LEAT_DTYPE_F64 && activation.kind != LT_CPU_ACTIVATION_NONE &&
        activation.kind != LT_CPU_ACTIVATION_RELU && activation.kind != LT_CPU_ACTIVATION_CLIP) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: this activation is not fused in f64",
                           node->node->op);
    }
    const leat_value *bias = leat_kernel_input(node, 2);
    bool residual = leat_node_int(node->node, "residual", 0) != 0;
    bool row = bias == NULL || bias->rank <= 1 || (bias->rank == 2 && bias->shape[0] == 1);
    if (residual && node->node->n_inputs > 3 && !row) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: a bias of rank 2 and a residual",
                           node->node->op);
    }
    return LEAT_OK;
}

/* --- MatMul -------------------------------------------------------------------------------------
 */

/* Shape of a matrix operand, vectors promoted: batch dimensions, rows, columns. */
typedef struct operand {
    int32_t batch_rank;
    const int64_t *batch;
    size_t rows, columns;
} operand;

static operand operand_of(const leat_value *value, bool is_b)
{
    operand o = {0, value->shape, 1, 1};
    if (value->rank == 1) {
        *(is_b ? &o.rows : &o.columns) = (size_t)value->shape[0];
        return o;
    }
    o.batch_rank = value->rank - 2;
    o.rows = (size_t)value->shape[value->rank - 2];
    o.columns = (size_t)value->shape[value->rank - 1];
    return o;
}

/* Batch dimension i of `rank` aligned ones; 1 where the operand has none. */
static int64_t batch_dim(const operand *o, int32_t rank, int32_t i)
{
    int32_t at = i - (rank - o->batch_rank);
    return at < 0 ? 1 : o->batch[at];
}

/* Element offset of the operand's matrix for every product of the batch. */
static void fill_offsets(const operand *o, int32_t rank, const int64_t *dims, size_t batch,
                         size_t *offsets)
{
    for (size_t b = 0; b < batch; b++) {
        size_t rest = b, offset = 0, stride = o->rows * o->columns;
        for (int32_t i = rank - 1; i >= 0; i--) {
            size_t at = rest % (size_t)dims[i];
            rest /= (size_t)dims[i];
            int64_t own = batch_dim(o, rank, i);
            offset += own == 1 ? 0 : at * stride;
            stride *= (size_t)own;
        }
        offsets[b] = offset;
    }
}

leat_status lt_matmul_shapes(const leat_kernel_node *node, const leat_host *host, leat_plan *plan,
                             lt_product_desc *desc, leat_error *err)
{
    const leat_value *a = leat_kernel_input(node, 0), *b = leat_kernel_input(node, 1);
    operand oa = operand_of(a, false), ob = operand_of(b, true);
    int32_t rank = oa.batch_rank > ob.batch_rank ? oa.batch_rank : ob.batch_rank;
    int64_t dims[LEAT_MAX_RANK];
    if (oa.columns != ob.rows) {
        return lt_cpu_fail(err, LEAT_INVALID, "MatMul: A has %zu columns, B has %zu rows",
                           oa.columns, ob.rows);
    }
    desc->m = oa.rows, desc->n = ob.columns, desc->k = oa.columns;
    desc->batch = 1;
    bool b_shared = true, a_dense = true;
    for (int32_t i = 0; i < rank; i++) {
        int64_t da = batch_dim(&oa, rank, i), db = batch_dim(&ob, rank, i);
        dims[i] = da == 1 ? db : da;
        desc->batch *= (size_t)dims[i];
        b_shared &= db == 1;
        a_dense &= da == dims[i];
    }
    if (desc->batch == 0 || (b_shared && a_dense)) {
        return LEAT_OK;
    }
    size_t *offsets = host->plan_alloc(plan, 2 * desc->batch * sizeof(*offsets));
    if (offsets == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "MatMul: no memory for %zu offsets",
                           2 * desc->batch);
    }
    fill_offsets(&oa, rank, dims, desc->batch, offsets);
    fill_offsets(&ob, rank, dims, desc->batch, offsets + desc->batch);
    desc->a_offsets = offsets;
    desc->b_offsets = offsets + desc->batch;
    return LEAT_OK;
}

leat_status lt_cpu_matmul_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                  leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    lt_product_desc desc = {.alpha = 1, .beta = 1, .bias_input = LT_PRODUCT_NONE};
    leat_status status = lt_matmul_shapes(node, host, plan, &desc, err);
    if (status != LEAT_OK) {
        return status;
    }
    read_epilogue(node, &desc);
    if (leat_kernel_input(node, 2) != NULL && desc.residual_input != 2) {
        desc.bias_input = 2;
        desc.bias_rows = 1;
        desc.bias_columns = (size_t)leat_value_count(leat_kernel_input(node, 2));
    }
    return lt_product_prepare(&desc, node, device, host, plan, out_kernel, err);
}

/* --- Gemm ---------------------------------------------------------------------------------------
 */

leat_status lt_cpu_gemm_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *a = leat_kernel_input(node, 0), *b = leat_kernel_input(node, 1);
    const leat_value *c = leat_kernel_input(node, 2);
    lt_product_desc desc = {.batch = 1,
                            .trans_a = leat_node_int(node->node, "transA", 0) != 0,
                            .trans_b = leat_node_int(node->node, "transB", 0) != 0,
                            .alpha = leat_node_float(node->node, "alpha", 1),
                            .beta = leat_node_float(node->node, "beta", 1),
                            .bias_input = LT_PRODUCT_NONE};
    if (a->rank != 2 || b->rank != 2) {
        return lt_cpu_fail(err, LEAT_INVALID, "Gemm: A and B must have rank 2");
    }
    desc.m = (size_t)a->shape[desc.trans_a ? 1 : 0];
    desc.k = (size_t)a->shape[desc.trans_a ? 0 : 1];
    desc.n = (size_t)b->shape[desc.trans_b ? 0 : 1];
    if ((size_t)b->shape[desc.trans_b ? 1 : 0] != desc.k) {
        return lt_cpu_fail(err, LEAT_INVALID, "Gemm: A and B disagree: %zu and %lld", desc.k,
                           (long long)b->shape[desc.trans_b ? 1 : 0]);
    }
    read_epilogue(node, &desc);
    if (c != NULL && desc.residual_input != 2) {
        desc.bias_input = 2;
        desc.bias_columns = c->rank >= 1 ? (size_t)c->shape[c->rank - 1] : 1;
        desc.bias_rows = c->rank >= 2 ? (size_t)c->shape[c->rank - 2] : 1;
        if ((desc.bias_columns != 1 && desc.bias_columns != desc.n) ||
            (desc.bias_rows != 1 && desc.bias_rows != desc.m)) {
            return lt_cpu_fail(err, LEAT_INVALID,
                               "Gemm: C of %zux%zu does not broadcast to %zux%zu", desc.bias_rows,
                               desc.bias_columns, desc.m, desc.n);
        }
    }
    return lt_product_prepare(&desc, node, device, host, plan, out_kernel, err);
}

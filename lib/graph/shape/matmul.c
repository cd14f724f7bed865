/* SPDX-License-Identifier: Apache-2.0 */
/* Gemm and the MatMul family. */
#include "graph/shape/shape.h"

leat_status lt_infer_gemm(lt_infer *infer, leat_error *err)
{
    const leat_value *a = lt_in(infer, 0), *b = lt_in(infer, 1);
    int ta = leat_node_int(infer->node, "transA", 0) != 0;
    int tb = leat_node_int(infer->node, "transB", 0) != 0;
    leat_status status = lt_same_type(infer, 0, 1, err);
    if (status == LEAT_OK) {
        status = lt_same_type(infer, 0, 2, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    if (a->rank != 2 || b->rank != 2) {
        return lt_bad(infer, err, "A and B must have rank 2, not %d and %d", a->rank, b->rank);
    }
    int64_t ka = a->shape[ta ? 0 : 1], kb = b->shape[tb ? 1 : 0];
    if (ka >= 0 && kb >= 0 && ka != kb) {
        return lt_bad(infer, err, "A has %lld columns, B has %lld rows", (long long)ka,
                      (long long)kb);
    }
    int64_t shape[LEAT_MAX_RANK] = {a->shape[ta ? 1 : 0], b->shape[tb ? 0 : 1]};
    bool residual = leat_node_int(infer->node, "residual", 0) && infer->node->n_inputs == 3;
    status = residual ? LEAT_OK : lt_fits(infer, 2, 2, shape, err);
    return status != LEAT_OK ? status : lt_set(infer, 0, a->dtype, 2, shape, err);
}

/* numpy.matmul of inputs ia and ib. */
static leat_status matmul(lt_infer *infer, uint32_t ia, uint32_t ib, leat_dtype dtype,
                          leat_error *err)
{
    leat_value a = *lt_in(infer, ia), b = *lt_in(infer, ib);
    bool va = a.rank == 1, vb = b.rank == 1;
    if (a.rank == 0 || b.rank == 0) {
        return lt_bad(infer, err, "a scalar operand");
    }
    if (va) {
        a.shape[1] = a.shape[0], a.shape[0] = 1, a.rank = 2;
    }
    if (vb) {
        b.shape[1] = 1, b.rank = 2;
    }
    int64_t ka = a.shape[a.rank - 1], kb = b.shape[b.rank - 2];
    if (ka >= 0 && kb >= 0 && ka != kb) {
        return lt_bad(infer, err, "A has %lld columns, B has %lld rows", (long long)ka,
                      (long long)kb);
    }
    int64_t m = a.shape[a.rank - 2], n = b.shape[b.rank - 1];
    int64_t shape[LEAT_MAX_RANK] = {0};
    int32_t rank = a.rank - 2;
    memcpy(shape, a.shape, (size_t)rank * sizeof(*shape));
    b.rank -= 2;
    leat_status status = lt_broadcast(infer, &rank, shape, &b, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (rank + 2 > LEAT_MAX_RANK) {
        return lt_bad(infer, err, "rank %d is too large", rank + 2);
    }
    if (!va) {
        shape[rank++] = m;
    }
    if (!vb) {
        shape[rank++] = n;
    }
    return lt_set(infer, 0, dtype, rank, shape, err);
}

leat_status lt_infer_matmul(lt_infer *infer, leat_error *err)
{
    leat_status status = lt_same_type(infer, 0, 1, err);
    return status != LEAT_OK ? status : matmul(infer, 0, 1, lt_in(infer, 0)->dtype, err);
}

leat_status lt_infer_matmul_integer(lt_infer *infer, leat_error *err)
{
    const leat_value *a = lt_in(infer, 0), *b = lt_in(infer, 1);
    leat_status status = lt_same_type(infer, 0, 2, err);
    if (status == LEAT_OK) {
        status = lt_same_type(infer, 1, 3, err);
    }
    if (status == LEAT_OK) {
        status = lt_zero_point(infer, 2, a->rank > 1 ? a->shape[a->rank - 2] : 1, err);
    }
    if (status == LEAT_OK) {
        status = lt_zero_point(infer, 3, b->rank > 1 ? b->shape[b->rank - 1] : 1, err);
    }
    return status != LEAT_OK ? status : matmul(infer, 0, 1, LEAT_DTYPE_I32, err);
}

leat_status lt_infer_qlinear_matmul(lt_infer *infer, leat_error *err)
{
    return matmul(infer, 0, 3, lt_in(infer, 7)->dtype, err);
}

/* Square matrices; one number for each. */
leat_status lt_infer_det(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    if (x.rank < 2) {
        return lt_bad(infer, err, "data of rank %d", x.rank);
    }
    int64_t rows = x.shape[x.rank - 2], columns = x.shape[x.rank - 1];
    if (rows >= 0 && columns >= 0 && rows != columns) {
        return lt_bad(infer, err, "matrices of %lld x %lld", (long long)rows, (long long)columns);
    }
    return lt_set(infer, 0, x.dtype, x.rank - 2, x.shape, err);
}

leat_status lt_infer_qmatmul(lt_infer *infer, leat_error *err)
{
    leat_value a = *lt_in(infer, 0), b = *lt_in(infer, 3);
    if (leat_node_int(infer->node, "transB", 0) == 0) {
        return matmul(infer, 0, 3, lt_quantized_type(infer), err);
    }
    if (a.rank < 1 || b.rank != 2) {
        return lt_bad(infer, err, "a transposed B of rank %d", b.rank);
    }
    int64_t k = a.shape[a.rank - 1];
    if (k >= 0 && b.shape[1] >= 0 && k != b.shape[1]) {
        return lt_bad(infer, err, "A has %lld columns, B has %lld rows", (long long)k,
                      (long long)b.shape[1]);
    }
    a.shape[a.rank - 1] = b.shape[0];
    return lt_set(infer, 0, lt_quantized_type(infer), a.rank, a.shape, err);
}

/* Rows of K numbers become rows of N. */
leat_status lt_infer_matmul_n_bits(lt_infer *infer, leat_error *err)
{
    leat_value a = *lt_in(infer, 0);
    int64_t k = leat_node_int(infer->node, "K", 0), n = leat_node_int(infer->node, "N", 0);
    if (a.rank < 1 || n < 1 || (a.shape[a.rank - 1] >= 0 && a.shape[a.rank - 1] != k)) {
        return lt_bad(infer, err, "the last dimension of A is not K, %lld", (long long)k);
    }
    a.shape[a.rank - 1] = n;
    return lt_set(infer, 0, a.dtype, a.rank, a.shape, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Integer products: MatMul of 32- and 64-bit integers, and MatMulInteger
 *
 *     C[m, n] = sum over k of (A[m, k] - a_zero[m]) * (B[k, n] - b_zero[n])        in s32
 *
 * Storage u8 or s8, products and sums s32 (wrapping, as ONNX leaves overflow open). A task takes
 * rows of C and walks B row by row over blocks of BLOCK columns, so that sums stay in the first
 * cache. Arithmetic bounds it: this is the plain form, not the VNNI one. */
#include "gemm/product.h"

#define BLOCK 512

typedef struct integer_product {
    lt_product_desc desc;
    leat_dtype a_type, b_type;
    bool quantized;          /* MatMulInteger */
    size_t a_zeros, b_zeros; /* 0, 1, or one a row, one a column */
} integer_product;

typedef struct integer_launch {
    const integer_product *p;
    const leat_kernel_args *args;
} integer_launch;

static int32_t get_8(leat_dtype dtype, const void *data, size_t i)
{
    return dtype == LEAT_DTYPE_U8 ? ((const uint8_t *)data)[i] : ((const int8_t *)data)[i];
}

/* One block of one row of MatMulInteger. */
static void quantized_block(const integer_launch *l, size_t a0, size_t b0, size_t row,
                            size_t column, size_t columns, int32_t *out)
{
    const integer_product *p = l->p;
    const void *const *in = l->args->inputs;
    int32_t zero[BLOCK] = {0};
    int32_t sum[BLOCK] = {0};
    int32_t a_zero = p->a_zeros ? get_8(p->a_type, in[2], p->a_zeros == 1 ? 0 : row) : 0;
    for (size_t c = 0; c < columns && p->b_zeros; c++) {
        zero[c] = get_8(p->b_type, in[3], p->b_zeros == 1 ? 0 : column + c);
    }
    for (size_t k = 0; k < p->desc.k; k++) {
        int32_t a = get_8(p->a_type, in[0], a0 + row * p->desc.k + k) - a_zero;
        const uint8_t *b = (const uint8_t *)in[1] + b0 + k * p->desc.n + column;
        if (p->b_type == LEAT_DTYPE_U8) {
            for (size_t c = 0; c < columns; c++) {
                sum[c] += a * ((int32_t)b[c] - zero[c]);
            }
        } else {
            for (size_t c = 0; c < columns; c++) {
                sum[c] += a * ((int32_t)(int8_t)b[c] - zero[c]);
            }
        }
    }
    memcpy(out, sum, columns * sizeof(*sum));
}

/* One row of a plain product; unsigned arithmetic wraps and serves both signs. */
#define DEFINE_PLAIN_ROW(T, bits)                                                                  \
    static void plain_row_##bits(const T *a, const T *b, T *c, size_t k, size_t n)                 \
    {                                                                                              \
        memset(c, 0, n * sizeof(T));                                                               \
        for (size_t j = 0; j < k; j++) {                                                           \
            for (size_t i = 0; i < n; i++) {                                                       \
                c[i] += a[j] * b[j * n + i];                                                       \
            }                                                                                      \
        }                                                                                          \
    }
DEFINE_PLAIN_ROW(uint32_t, 32)
DEFINE_PLAIN_ROW(uint64_t, 64)

static void run_row(const integer_launch *l, size_t item)
{
    const integer_product *p = l->p;
    const lt_product_desc *d = &p->desc;
    size_t batch = item / d->m, row = item % d->m;
    size_t a0 = d->a_offsets ? d->a_offsets[batch] : batch * d->m * d->k;
    size_t b0 = d->b_offsets ? d->b_offsets[batch] : 0;
    const char *a = l->args->inputs[0], *b = l->args->inputs[1];
    char *c = l->args->outputs[0];
    if (p->quantized) {
        for (size_t column = 0; column < d->n; column += BLOCK) {
            size_t columns = d->n - column < BLOCK ? d->n - column : BLOCK;
            quantized_block(l, a0, b0, row, column, columns,
                            (int32_t *)(void *)c + item * d->n + column);
        }
    } else if (lt_cpu_element_bytes(p->a_type) == 4) {
        plain_row_32((const uint32_t *)(const void *)a + a0 + row * d->k,
                     (const uint32_t *)(const void *)b + b0, (uint32_t *)(void *)c + item * d->n,
                     d->k, d->n);
    } else {
        plain_row_64((const uint64_t *)(const void *)a + a0 + row * d->k,
                     (const uint64_t *)(const void *)b + b0, (uint64_t *)(void *)c + item * d->n,
                     d->k, d->n);
    }
}

static void run_rows(void *argument, int64_t begin, int64_t end)
{
    for (int64_t i = begin; i < end; i++) {
        run_row(argument, (size_t)i);
    }
}

static leat_status integer_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const integer_product *p = state;
    integer_launch l = {p, args};
    (void)err;
    if (p->desc.n != 0) {
        lt_cpu_parallel_range(args, (int64_t)(p->desc.batch * p->desc.m), 1,
                              (double)p->desc.k * (double)p->desc.n, run_rows, &l);
    }
    return LEAT_OK;
}

static leat_status prepare(const leat_kernel_node *node, const leat_host *host, leat_plan *plan,
                           bool quantized, leat_kernel *out_kernel, leat_error *err)
{
    integer_product *p = host->plan_alloc(plan, sizeof(*p));
    if (p == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for the plan", node->node->op);
    }
    leat_status status = lt_matmul_shapes(node, host, plan, &p->desc, err);
    if (status != LEAT_OK) {
        return status;
    }
    p->a_type = leat_kernel_input(node, 0)->dtype;
    p->b_type = leat_kernel_input(node, 1)->dtype;
    p->quantized = quantized;
    const leat_value *a_zero = quantized ? leat_kernel_input(node, 2) : NULL;
    const leat_value *b_zero = quantized ? leat_kernel_input(node, 3) : NULL;
    p->a_zeros = a_zero ? (size_t)leat_value_count(a_zero) : 0;
    p->b_zeros = b_zero ? (size_t)leat_value_count(b_zero) : 0;
    if ((p->a_zeros > 1 && p->a_zeros != p->desc.m) ||
        (p->b_zeros > 1 && p->b_zeros != p->desc.n)) {
        return lt_cpu_fail(
            err, LEAT_UNSUPPORTED,
            "MatMulInteger: zero points of a shape other than one, a row or a column");
    }
    out_kernel->name = quantized ? "matmul_integer_s32" : "matmul_integers";
    out_kernel->launch = integer_run;
    out_kernel->state = p;
    out_kernel->flops = 2 * (uint64_t)(p->desc.batch * p->desc.m * p->desc.n) * p->desc.k;
    return LEAT_OK;
}

leat_status lt_cpu_matmul_integers_prepare(const leat_kernel_node *node, void *device,
                                           const leat_host *host, leat_plan *plan,
                                           leat_kernel *out_kernel, leat_error *err)
{
    (void)device;
    return prepare(node, host, plan, false, out_kernel, err);
}

leat_status lt_cpu_matmul_integer_prepare(const leat_kernel_node *node, void *device,
                                          const leat_host *host, leat_plan *plan,
                                          leat_kernel *out_kernel, leat_error *err)
{
    (void)device;
    return prepare(node, host, plan, true, out_kernel, err);
}

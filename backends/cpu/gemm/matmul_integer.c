/* SPDX-License-Identifier: Apache-2.0 */
/* MatMul of 32- and 64-bit integers. Products and sums wrap, as ONNX leaves overflow open; plain
 * loops: shapes and indices are computed so, not layers. */
#include "gemm/product.h"

typedef struct integer_product {
    lt_product_desc desc;
    leat_dtype type;
} integer_product;

typedef struct integer_launch {
    const integer_product *p;
    const leat_kernel_args *args;
} integer_launch;

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
    if (lt_cpu_element_bytes(p->type) == 4) {
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

leat_status lt_cpu_matmul_integers_prepare(const leat_kernel_node *node, void *device,
                                           const leat_host *host, leat_plan *plan,
                                           leat_kernel *out_kernel, leat_error *err)
{
    integer_product *p = host->plan_alloc(plan, sizeof(*p));
    (void)device;
    if (p == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for the plan", node->node->op);
    }
    leat_status status = lt_matmul_shapes(node, host, plan, &p->desc, err);
    if (status != LEAT_OK) {
        return status;
    }
    p->type = leat_kernel_input(node, 0)->dtype;
    out_kernel->name = "matmul_integers";
    out_kernel->launch = integer_run;
    out_kernel->state = p;
    out_kernel->flops = 2 * (uint64_t)(p->desc.batch * p->desc.m * p->desc.n) * p->desc.k;
    return LEAT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "gemm/product.h"

#include "convert.h"
#include "gemm/mixed.h"
#include "gemm/strassen.h"
#include "sizes.h"

/* Parts of the workspace, in bytes from its start. */
typedef struct parts {
    size_t a;          /* A transposed */
    size_t pack;       /* packed B: one, or one a thread */
    size_t pack_bytes; /* of one */
    size_t bias;       /* a row padded to whole panels, or all of C's shape */
    size_t run;
    size_t run_bytes;
} parts;

typedef struct product {
    lt_product_desc desc;
    const lt_gemm_kernels *kernels;
    const lt_strassen_kernels *strassen; /* NULL: the plain product */
    const void *packed;                  /* B, when it is constant */
    const void *bias_row;                /* when it is constant */
    leat_dtype wide;                     /* of sums and bias: f32 or f64 */
    leat_dtype given_a;                  /* of the input */
    leat_dtype a_dtype;                  /* of the rows that the job gets */
    leat_dtype b_dtype, bias_dtype;
    bool mixed;          /* by the kernels of mixed.h: the next two hold */
    lt_gemm_mixed types; /* epilogue */
    lt_gemm_mixed_copy copy;
    bool expand_bias; /* bias is brought to C's shape and added as a residual */
    bool per_batch;   /* B differs: products go to the threads whole */
    size_t a_elements;
    parts parts;
    lt_gemm_job row_job; /* of a small product of one row ... */
    lt_gemm_row row;     /* ... which is all that a launch needs then */
} product;

/* --- packing and bias ---------------------------------------------------------------------------
 */

static lt_gemm_source source_of(const product *p, const void *b, size_t offset)
{
    const lt_product_desc *d = &p->desc;
    lt_gemm_source source = {.data = (const char *)b + offset * lt_cpu_element_bytes(p->b_dtype),
                             .dtype = p->b_dtype,
                             .k = d->k,
                             .n = d->n,
                             .row_stride = d->trans_b ? 1 : d->n,
                             .column_stride = d->trans_b ? d->k : 1,
                             .scale = d->alpha};
    return source;
}

static leat_status fill_packed(void *out, size_t bytes, const leat_value *constant,
                               const void *argument, leat_error *err)
{
    const product *p = argument;
    (void)bytes;
    (void)err;
    lt_gemm_source source = source_of(p, constant->data, 0);
    lt_gemm_pack(p->kernels, &source, out, 0, lt_gemm_panels(p->kernels, p->desc.n));
    return LEAT_OK;
}

/* rows x padded columns of beta * bias, broadcast; columns beyond n are zero. */
static void spread_bias(const product *p, const void *bias, void *out, size_t rows, size_t padded)
{
    const lt_product_desc *d = &p->desc;
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < padded; c++) {
            size_t from =
                (d->bias_rows == 1 ? 0 : r) * d->bias_columns + (d->bias_columns == 1 ? 0 : c);
            if (p->wide == LEAT_DTYPE_F64) {
                double v = 0;
                if (c < d->n) {
                    memcpy(&v, (const char *)bias + from * sizeof(v), sizeof(v));
                }
                ((double *)out)[r * padded + c] = v * (double)d->beta;
            } else {
                ((float *)out)[r * padded + c] =
                    c < d->n ? lt_cpu_get_f32(p->bias_dtype, bias, from) * d->beta : 0;
            }
        }
    }
}

static size_t padded_columns(const product *p)
{
    return lt_gemm_panels(p->kernels, p->desc.n) * p->kernels->nr;
}

static leat_status fill_bias_row(void *out, size_t bytes, const leat_value *constant,
                                 const void *argument, leat_error *err)
{
    const product *p = argument;
    (void)bytes;
    (void)err;
    spread_bias(p, constant->data, out, 1, padded_columns(p));
    return LEAT_OK;
}

/* --- launch -------------------------------------------------------------------------------------
 */

typedef struct launch {
    const product *p;
    const leat_kernel_args *args;
    const char *a; /* of a_dtype, batch x m x k unless offsets say otherwise */
    const void *bias_row;
    const char *residual;
    char *c;
    char *workspace;
} launch;

static lt_gemm_job job_of(const launch *l, size_t rows, size_t first_a, size_t first_c,
                          const void *packed)
{
    const product *p = l->p;
    size_t wide = lt_cpu_element_bytes(p->wide);
    size_t a = lt_cpu_element_bytes(p->a_dtype);
    size_t c = p->mixed ? lt_cpu_element_bytes(p->types.c_dtype) : wide;
    size_t residual = p->mixed ? lt_cpu_element_bytes(p->types.residual_dtype) : wide;
    lt_gemm_job job = {.kernels = p->kernels,
                       .m = rows,
                       .n = p->desc.n,
                       .k = p->desc.k,
                       .taps = 1,
                       .a = lt_cpu_offset(l->a, first_a * a),
                       .lda = p->desc.k,
                       .b = packed,
                       .bias = l->bias_row,
                       .c = lt_cpu_offset(l->c, first_c * c),
                       .ldc = p->desc.n,
                       .residual = lt_cpu_offset(l->residual, first_c * residual),
                       .ldr = p->desc.n,
                       .activation = p->desc.activation,
                       .epilogue = &p->types};
    if (p->copy.half != NULL) {
        job.copy = lt_gemm_mixed_copy_row;
        job.copy_argument = &p->copy;
        job.copy_bytes = (uint32_t)a;
    }
    return job;
}

static void pack_task(void *argument, uint32_t task, uint32_t thread)
{
    const launch *l = argument;
    (void)thread;
    lt_gemm_source source = source_of(l->p, l->args->inputs[1], 0);
    size_t panels = lt_gemm_panels(l->p->kernels, l->p->desc.n);
    size_t end = ((size_t)task + 1) * 8;
    lt_gemm_pack(l->p->kernels, &source, l->workspace + l->p->parts.pack, (size_t)task * 8,
                 end < panels ? end : panels);
}

static void batch_task(void *argument, uint32_t task, uint32_t thread)
{
    const launch *l = argument;
    const product *p = l->p;
    const lt_product_desc *d = &p->desc;
    const void *packed = p->packed;
    if (packed == NULL) {
        char *own = l->workspace + p->parts.pack + thread * p->parts.pack_bytes;
        lt_gemm_source source = source_of(p, l->args->inputs[1], d->b_offsets[task]);
        lt_gemm_pack(p->kernels, &source, own, 0, lt_gemm_panels(p->kernels, d->n));
        packed = own;
    }
    size_t first_a = d->a_offsets ? d->a_offsets[task] : task * d->m * d->k;
    lt_gemm_job job = job_of(l, d->m, first_a, task * d->m * d->n, packed);
    lt_gemm_run_serial(&job, l->workspace + p->parts.run, thread);
}

/* A as rows of k elements. */
static const void *ready_a(const product *p, const void *a, leat_dtype dtype, char *out)
{
    const lt_product_desc *d = &p->desc;
    if (!d->trans_a) {
        return a;
    }
    for (size_t i = 0; i < d->m; i++) {
        for (size_t j = 0; j < d->k; j++) {
            size_t from = j * d->m + i, to = i * d->k + j;
            if (p->wide == LEAT_DTYPE_F64) {
                ((double *)(void *)out)[to] = ((const double *)a)[from];
            } else {
                ((float *)(void *)out)[to] = lt_cpu_get_f32(dtype, a, from);
            }
        }
    }
    return out;
}

static void run_product(const product *p, launch *l)
{
    const lt_product_desc *d = &p->desc;
    const leat_kernel_args *args = l->args;
    if (p->per_batch) {
        args->host->parallel(args->pool, (uint32_t)d->batch, batch_task, l);
        return;
    }
    const void *packed = p->packed;
    if (packed == NULL) {
        size_t panels = lt_gemm_panels(p->kernels, d->n);
        args->host->parallel(args->pool, (uint32_t)((panels + 7) / 8), pack_task, l);
        packed = l->workspace + p->parts.pack;
    }
    lt_gemm_job job = job_of(l, d->batch * d->m, 0, 0, packed);
    if (p->strassen != NULL) {
        lt_strassen_run(p->strassen, &job, l->workspace + p->parts.run, args);
    } else {
        lt_gemm_run(&job, l->workspace + p->parts.run, args);
    }
}

static leat_status product_launch(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const product *p = state;
    const lt_product_desc *d = &p->desc;
    char *workspace = args->workspace;
    launch l = {.p = p, .args = args, .workspace = workspace, .bias_row = p->bias_row};
    (void)err;
    if (d->batch == 0 || d->m == 0 || d->n == 0) {
        return LEAT_OK;
    }
    l.a = ready_a(p, args->inputs[0], p->given_a, workspace + p->parts.a);
    l.c = args->outputs[0];
    if (d->residual_input != LT_PRODUCT_NONE) {
        l.residual = args->inputs[d->residual_input];
    }
    if (d->bias_input != LT_PRODUCT_NONE && p->bias_row == NULL) {
        char *bias = workspace + p->parts.bias;
        if (p->expand_bias) {
            spread_bias(p, args->inputs[d->bias_input], bias, d->m, d->n);
            l.residual = bias;
        } else {
            spread_bias(p, args->inputs[d->bias_input], bias, 1, padded_columns(p));
            l.bias_row = bias;
        }
    }
    run_product(p, &l);
    return LEAT_OK;
}

static leat_status row_launch(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const product *p = state;
    const uint32_t residual = p->desc.residual_input;
    (void)err;
    lt_gemm_row_run(&p->row, args->inputs[0],
                    residual != LT_PRODUCT_NONE ? args->inputs[residual] : NULL, args->outputs[0]);
    return LEAT_OK;
}

/* --- prepare ------------------------------------------------------------------------------------
 */

/* Whether row_launch serves; prepares for it. */
static bool prepare_row(product *p)
{
    const lt_product_desc *d = &p->desc;
    const bool settled = p->packed != NULL && p->strassen == NULL && !p->per_batch && !d->trans_a &&
                         (d->bias_input == LT_PRODUCT_NONE || p->bias_row != NULL);
    const launch l = {.p = p, .bias_row = p->bias_row};
    if (!settled || d->batch != 1 || d->m != 1) {
        return false;
    }
    p->row_job = job_of(&l, 1, 0, 0, p->packed);
    return lt_gemm_row_prepare(&p->row_job, &p->row);
}

static size_t take(size_t *total, size_t elements, size_t element)
{
    size_t at = *total;
    *total += lt_whole_lines(elements * element);
    return at;
}

/* Sizes were checked: every factor is at most that of a tensor that exists. */
static size_t plan_workspace(product *p, const leat_kernel_node *node, uint32_t threads)
{
    const lt_product_desc *d = &p->desc;
    size_t element = lt_cpu_element_bytes(p->wide), total = 0;
    size_t c = d->batch * d->m * d->n;
    parts *parts = &p->parts;
    p->a_elements = (size_t)leat_value_count(leat_kernel_input(node, 0));
    parts->a = take(&total, d->trans_a ? p->a_elements : 0, element);
    parts->pack_bytes = lt_whole_lines(lt_gemm_packed_bytes(p->kernels, 1, d->k, d->n));
    parts->pack = total;
    total += p->packed ? 0 : parts->pack_bytes * (p->per_batch ? threads : 1);
    if (d->bias_input != LT_PRODUCT_NONE && p->bias_row == NULL) {
        parts->bias = take(&total, p->expand_bias ? c : padded_columns(p), element);
    }
    parts->run = total;
    const lt_gemm_job job = {.kernels = p->kernels,
                             .m = p->per_batch ? d->m : d->batch * d->m,
                             .n = d->n,
                             .k = d->k,
                             .taps = 1,
                             .copy = p->copy.half != NULL ? lt_gemm_mixed_copy_row : NULL};
    total += p->strassen != NULL ? lt_strassen_workspace(p->strassen, &job, threads)
                                 : lt_gemm_workspace(&job, threads);
    return total;
}

/* Distinguishes packings of one constant. */
static uint64_t pack_key(const product *p, uint64_t kind)
{
    const lt_product_desc *d = &p->desc;
    uint32_t scale;
    float factor = kind == 1 ? d->alpha : d->beta;
    memcpy(&scale, &factor, sizeof(scale));
    uint64_t key = kind | (uint64_t)p->kernels->nr << 8 | (uint64_t)d->trans_b << 20;
    key |= (uint64_t)p->kernels->k_group << 16 | (uint64_t)d->compute << 56;
    return (key ^ (uint64_t)scale << 24) ^ (uint64_t)d->n * 0x9e3779b97f4a7c15u;
}

static leat_status pack_constants(product *p, const leat_kernel_node *node, const leat_host *host,
                                  leat_plan *plan, leat_error *err)
{
    const lt_product_desc *d = &p->desc;
    const leat_value *b = leat_kernel_input(node, 1);
    if (b->data != NULL && d->b_offsets == NULL) {
        size_t bytes = lt_gemm_packed_bytes(p->kernels, 1, d->k, d->n);
        leat_status status =
            host->plan_pack(plan, b, pack_key(p, 1), bytes, fill_packed, p, &p->packed, err);
        if (status != LEAT_OK) {
            return status;
        }
    }
    if (d->bias_input != LT_PRODUCT_NONE && !p->expand_bias) {
        const leat_value *bias = leat_kernel_input(node, d->bias_input);
        size_t bytes = padded_columns(p) * lt_cpu_element_bytes(p->wide);
        if (bias->data != NULL) {
            return host->plan_pack(plan, bias, pack_key(p, 2), bytes, fill_bias_row, p,
                                   &p->bias_row, err);
        }
    }
    return LEAT_OK;
}

static bool is_half(leat_dtype dtype)
{
    return dtype == LEAT_DTYPE_F16 || dtype == LEAT_DTYPE_BF16;
}

static leat_dtype dtype_or(const leat_value *value, leat_dtype otherwise)
{
    return value ? value->dtype : otherwise;
}

/* Kernels, and what they need to know of the operands' types. */
static void choose_kernels(product *p, const leat_kernel_node *node, const lt_cpu_device *device)
{
    const lt_product_desc *d = &p->desc;
    p->wide = d->compute == LEAT_DTYPE_F64 ? LEAT_DTYPE_F64 : LEAT_DTYPE_F32;
    p->given_a = leat_kernel_input(node, 0)->dtype;
    p->a_dtype = d->trans_a ? p->wide : p->given_a;
    p->b_dtype = leat_kernel_input(node, 1)->dtype;
    p->bias_dtype = dtype_or(leat_kernel_input(node, d->bias_input), p->wide);
    p->mixed = is_half(d->compute);
    if (!p->mixed) {
        p->kernels = lt_gemm_kernels_for(device, p->wide);
        return;
    }
    p->kernels = lt_gemm_mixed_kernels_for(device, d->compute, leat_kernel_output(node, 0)->dtype);
    p->types.c_dtype = leat_kernel_output(node, 0)->dtype;
    p->types.residual_dtype =
        p->expand_bias ? LEAT_DTYPE_F32
                       : dtype_or(leat_kernel_input(node, d->residual_input), LEAT_DTYPE_F32);
    if (p->a_dtype != p->kernels->dtype) {
        p->copy = (lt_gemm_mixed_copy){lt_half_for(device), p->a_dtype, p->kernels->dtype};
    }
}

/* A way for plan_choose. */
typedef struct product_way {
    const lt_product_desc *desc;
    const lt_strassen_kernels *strassen; /* NULL: the plain product */
} product_way;

static leat_status prepare_way(const leat_kernel_node *node, void *device, const leat_host *host,
                               leat_plan *plan, const void *argument, leat_kernel *out_kernel,
                               leat_error *err)
{
    const product_way *way = argument;
    const lt_product_desc *desc = way->desc;
    product *p = host->plan_alloc(plan, sizeof(*p));
    if (p == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for the plan", node->node->op);
    }
    p->desc = *desc;
    p->strassen = way->strassen;
    p->expand_bias = desc->bias_input != LT_PRODUCT_NONE && desc->bias_rows > 1;
    p->per_batch = desc->b_offsets != NULL;
    choose_kernels(p, node, device);
    leat_status status = pack_constants(p, node, host, plan, err);
    if (status != LEAT_OK) {
        return status;
    }
    out_kernel->name = p->strassen ? p->strassen->name : p->kernels->name;
    out_kernel->launch = prepare_row(p) ? row_launch : product_launch;
    out_kernel->state = p;
    out_kernel->workspace_bytes = plan_workspace(p, node, host->pool_threads(host->pool));
    out_kernel->flops = 2 * (uint64_t)(desc->batch * desc->m * desc->n) * desc->k;
    return LEAT_OK;
}

/* Whether Strassen's product can compute the node. */
static bool strassen_applies(const lt_product_desc *d, const leat_kernel_node *node,
                             const lt_strassen_kernels *kernels)
{
    const leat_value *b = leat_kernel_input(node, 1);
    return d->compute == LEAT_DTYPE_F32 && b->data != NULL && d->b_offsets == NULL &&
           lt_strassen_applies(kernels, d->batch * d->m, d->n, d->k);
}

leat_status lt_product_prepare(const lt_product_desc *desc, const leat_kernel_node *node,
                               const lt_cpu_device *device, const leat_host *host, leat_plan *plan,
                               leat_kernel *out_kernel, leat_error *err)
{
    const lt_strassen_kernels *kernels = lt_strassen_kernels_for(device);
    const product_way plain = {desc, NULL}, strassen = {desc, kernels};
    if (host->plan_options(plan)->plain_algorithms || !strassen_applies(desc, node, kernels)) {
        return prepare_way(node, (void *)device, host, plan, &plain, out_kernel, err);
    }
    const lt_gemm_job job = {.m = desc->batch * desc->m, .n = desc->n, .k = desc->k};
    lt_strassen_costs costs = lt_strassen_estimate(kernels, &job, host->pool_threads(host->pool));
    const leat_way ways[] = {{"gemm", costs.plain_ns, prepare_way, &plain},
                             {"strassen", costs.strassen_ns, prepare_way, &strassen}};
    return host->plan_choose(plan, node, ways, 2, out_kernel, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution of channels-last data as a matrix product whose rows are found by pointers
 * (window.h).
 *
 *     Y[p, m] = act( sum over t, c of X[pixel(p, t), c] * W[t, c, m] + B[m] + R[p, m] )
 *
 * Weights are packed as B of gemm.h with rows in the order (t, c). For factors of f16 or bf16 the
 * kernels are those of mixed.h. */
#include "conv/igemm.h"

#include "conv/spread.h"
#include "convert.h"

/* --- packing ------------------------------------------------------------------------------------
 */

static leat_status fill_weights(void *out, size_t bytes, const leat_value *constant,
                                const void *argument, leat_error *err)
{
    const lt_igemm *w = argument;
    const lt_conv_geometry *g = &w->conv.g;
    size_t element = lt_cpu_element_bytes(w->conv.w_dtype);
    size_t reordered = lt_conv_window_scratch(&w->window, element), scratch_bytes = reordered;
    const void *weights = constant->data;
    if (w->conv.spread > 1) {
        scratch_bytes += (size_t)(g->out_channels * g->in_channels * g->taps) * element;
    }
    char *scratch = scratch_bytes ? w->host->alloc(w->host->context, scratch_bytes, 64) : NULL;
    (void)bytes;
    if (scratch_bytes != 0 && scratch == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "Conv: no memory to pack weights");
    }
    if (w->conv.spread > 1) {
        lt_conv_spread_weights(g, w->conv.spread, element, weights, scratch + reordered);
        weights = scratch + reordered;
    }
    lt_conv_window_pack(&w->window, w->kernels, weights, w->conv.w_dtype, w->group_packed, scratch,
                        out);
    if (scratch != NULL) {
        w->host->free(w->host->context, scratch, scratch_bytes);
    }
    return LEAT_OK;
}

static leat_status fill_bias(void *out, size_t bytes, const leat_value *constant,
                             const void *argument, leat_error *err)
{
    const lt_igemm *w = argument;
    /* Of a group's columns, those that have biases of their own: the others' are the same again. */
    size_t n = w->window.n, own = w->conv.spread > 1 ? n / (size_t)w->conv.spread : n;
    (void)err;
    memset(out, 0, bytes);
    for (size_t i = 0; i < (size_t)w->conv.g.groups; i++) {
        if (w->conv.bias_dtype == LEAT_DTYPE_F64) {
            memcpy((double *)out + i * w->group_bias, (const double *)constant->data + i * n,
                   n * sizeof(double));
            continue;
        }
        for (size_t c = 0; c < n; c++) {
            ((float *)out)[i * w->group_bias + c] =
                lt_cpu_get_f32(w->conv.bias_dtype, constant->data, i * n + c % own);
        }
    }
    return LEAT_OK;
}

/* --- launch -------------------------------------------------------------------------------------
 */

static lt_gemm_job group_job(const lt_igemm *w, size_t group, const lt_conv_rows *source, void *c)
{
    const lt_conv_window *window = &w->window;
    size_t n = window->n;
    lt_gemm_job job = {
        .kernels = w->kernels,
        .m = window->m,
        .n = n,
        .k = window->k,
        .taps = window->taps,
        .rows = window->matrix ? NULL : lt_conv_window_rows,
        .rows_argument = source,
        .a = source->data,
        .lda = (size_t)window->g.in_channels,
        .b = lt_cpu_offset(w->conv.weights, group * w->group_packed),
        .bias = lt_cpu_offset(w->conv.bias, group * w->group_bias * w->kernels->bias_bytes),
        .c = lt_cpu_offset(c, group * n * lt_cpu_element_bytes(w->conv.y_dtype)),
        .ldc = (size_t)window->g.out_channels,
        .ldr = (size_t)window->g.out_channels,
        .activation = w->conv.activation,
        .copy = w->copies_rows ? lt_gemm_mixed_copy_row : NULL,
        .copy_argument = &w->copy,
        .copy_bytes = (uint32_t)lt_cpu_element_bytes(w->row_dtype),
        .epilogue = &w->types};
    return job;
}

lt_gemm_job lt_igemm_matrix_job(const lt_igemm *w, const void *data, size_t first, size_t count,
                                void *c)
{
    const size_t row = (size_t)w->window.g.in_channels * lt_cpu_element_bytes(w->row_dtype);
    const lt_conv_rows source = {&w->window, lt_cpu_offset(data, first * row), w->zeros};
    lt_gemm_job job = group_job(w, 0, &source, c);
    job.m = count;
    job.rows_argument = NULL;
    return job;
}

size_t lt_igemm_workspace(const lt_igemm *w, const lt_gemm_job *job, uint32_t threads)
{
    return w->strassen != NULL ? lt_strassen_workspace(w->strassen, job, threads)
                               : lt_gemm_workspace(job, threads);
}

void lt_igemm_run(const lt_igemm *w, const lt_gemm_job *job, void *workspace,
                  const leat_kernel_args *args)
{
    if (w->strassen != NULL) {
        lt_strassen_run(w->strassen, job, workspace, args);
    } else {
        lt_gemm_run(job, workspace, args);
    }
}

void lt_igemm_convolve(const lt_igemm *w, const leat_kernel_args *args, void *y,
                       void *workspace_argument)
{
    const lt_conv_window *window = &w->window;
    const lt_conv_geometry *g = &window->g;
    size_t x = lt_cpu_element_bytes(w->row_dtype);
    const char *data = args->inputs[0];
    char *workspace = workspace_argument;
    if (window->copy_bytes != 0) {
        lt_conv_window_pad(window, data, workspace, 0, args);
        data = workspace;
    }
    size_t n = window->n, ci = (size_t)(g->in_channels / g->groups);
    for (int64_t i = 0; i < g->groups; i++) {
        size_t group = (size_t)i;
        lt_conv_rows source = {window, data + group * ci * x, w->zeros};
        lt_gemm_job job = group_job(w, group, &source, y);
        if (w->conv.residual_input != LEAT_NO_VALUE) {
            job.residual = (const char *)args->inputs[w->conv.residual_input] +
                           group * n * lt_cpu_element_bytes(w->conv.residual_dtype);
        }
        lt_igemm_run(w, &job, workspace + window->copy_bytes, args);
    }
}

size_t lt_igemm_convolve_workspace(const lt_igemm *w, uint32_t threads)
{
    const lt_conv_window *window = &w->window;
    const lt_gemm_job job = {.kernels = w->kernels,
                             .m = window->m,
                             .n = window->n,
                             .k = window->k,
                             .taps = window->taps,
                             .rows = window->matrix ? NULL : lt_conv_window_rows,
                             .copy = w->copies_rows ? lt_gemm_mixed_copy_row : NULL};
    return window->copy_bytes + lt_igemm_workspace(w, &job, threads);
}

static leat_status igemm_launch(const void *state, const leat_kernel_args *args, leat_error *err)
{
    (void)err;
    lt_igemm_convolve(state, args, args->outputs[0], args->workspace);
    return LEAT_OK;
}

/* --- prepare ------------------------------------------------------------------------------------
 */

static leat_status pack(lt_igemm *w, const leat_kernel_node *node, const leat_host *host,
                        leat_plan *plan, leat_error *err)
{
    size_t groups = (size_t)w->conv.g.groups;
    const lt_conv_window *window = &w->window;
    size_t n = window->n;
    size_t packed = lt_whole_lines(lt_gemm_packed_bytes(w->kernels, window->taps, window->k, n)),
           all;
    w->group_packed = packed;
    w->group_bias = lt_gemm_columns(w->kernels, n);
    if (__builtin_mul_overflow(packed, groups, &all)) {
        return lt_cpu_fail(err, LEAT_LIMIT, "Conv: weights are too large");
    }
    uint64_t key = 0x100 | (uint64_t)w->kernels->nr << 16 | (uint64_t)groups << 24;
    key ^= (uint64_t)w->kernels->k_group << 36 | (uint64_t)w->conv.compute << 40;
    key ^= (uint64_t)window->taps << 48; /* lines of a filter, or single elements */
    key ^= (uint64_t)w->conv.spread << 1;
    key ^= (uint64_t)(w->kernels->quarters != NULL) << 62;
    leat_status status = host->plan_pack(plan, leat_kernel_input(node, 1), key, all, fill_weights,
                                         w, &w->conv.weights, err);
    if (status != LEAT_OK || !w->conv.has_bias) {
        return status;
    }
    return host->plan_pack(plan, leat_kernel_input(node, 2), key + 1,
                           groups * w->group_bias * w->kernels->bias_bytes, fill_bias, w,
                           &w->conv.bias, err);
}

/* Padded data is copied to the type that the kernels read; other rows are where they differ. */
static leat_status plan_window(lt_igemm *w, const lt_cpu_device *device, const leat_host *host,
                               leat_plan *plan, leat_error *err)
{
    const lt_conv *conv = &w->conv;
    leat_dtype wanted = w->kernels->dtype;
    bool same = conv->dtype == wanted, exact = w->kernels->k_group == 1 || w->kernels->any_k;
    w->row_dtype = wanted;
    w->copy = (lt_gemm_mixed_copy){lt_half_for(device), conv->dtype, wanted};
    leat_status status = lt_conv_window_plan(&conv->g, lt_cpu_element_bytes(wanted), same && exact,
                                             host, plan, &w->window, err);
    if (status == LEAT_OK && !same && w->window.padded) {
        w->window.convert = lt_gemm_mixed_copy_row;
        w->window.convert_argument = &w->copy;
        w->window.from_element = lt_cpu_element_bytes(conv->dtype);
    } else if (status == LEAT_OK && !same) {
        w->copies_rows = true;
        w->row_dtype = conv->dtype;
        status = lt_conv_window_plan(&conv->g, lt_cpu_element_bytes(conv->dtype), false, host, plan,
                                     &w->window, err);
    }
    return status;
}

leat_status lt_igemm_plan(const leat_kernel_node *node, const lt_conv *conv, size_t least_m,
                          const lt_cpu_device *device, const leat_host *host, leat_plan *plan,
                          lt_igemm *w, leat_error *err)
{
    *w = (lt_igemm){.conv = *conv, .host = host};
    bool mixed = conv->compute == LEAT_DTYPE_F16 || conv->compute == LEAT_DTYPE_BF16;
    w->types = (lt_gemm_mixed){conv->y_dtype, conv->residual_dtype};
    w->kernels = mixed ? lt_gemm_mixed_kernels_for(device, conv->compute, conv->y_dtype)
                       : lt_gemm_kernels_fitting(device, conv->dtype, least_m,
                                                 (size_t)(conv->g.out_channels / conv->g.groups));
    leat_status status = plan_window(w, device, host, plan, err);
    w->zeros = host->plan_alloc(plan, w->window.k * lt_cpu_element_bytes(w->row_dtype));
    if (status == LEAT_OK && w->zeros == NULL) {
        status = lt_cpu_fail(err, LEAT_NO_MEMORY, "Conv: no memory for the plan");
    }
    return status == LEAT_OK ? pack(w, node, host, plan, err) : status;
}

const lt_strassen_kernels *lt_igemm_strassen(const lt_conv *conv, const lt_cpu_device *device,
                                             uint32_t threads, lt_strassen_costs *out_costs)
{
    const lt_strassen_kernels *kernels = lt_strassen_kernels_for(device);
    const lt_conv_geometry *g = &conv->g;
    const lt_gemm_job job = {.m = (size_t)(g->batch * g->in[0] * g->in[1] * g->in[2]),
                             .n = (size_t)g->out_channels,
                             .k = (size_t)g->in_channels};
    if (conv->dtype != LEAT_DTYPE_F32 || conv->compute != LEAT_DTYPE_F32 || g->groups != 1 ||
        !lt_conv_window_is_matrix(g) || !lt_strassen_applies(kernels, job.m, job.n, job.k)) {
        return NULL;
    }
    *out_costs = lt_strassen_estimate(kernels, &job, threads);
    return kernels;
}

static leat_status prepare(const leat_kernel_node *node, const lt_conv *conv,
                           const lt_cpu_device *device, const leat_host *host, leat_plan *plan,
                           const lt_strassen_kernels *strassen, leat_kernel *out_kernel,
                           leat_error *err)
{
    lt_igemm *w = host->plan_alloc(plan, sizeof(*w));
    if (w == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "Conv: no memory for the plan");
    }
    const lt_conv_geometry *g = &conv->g;
    size_t m = (size_t)(g->batch * g->out[0] * g->out[1] * g->out[2]);
    leat_status status =
        lt_igemm_plan(node, conv, strassen != NULL ? 0 : m, device, host, plan, w, err);
    w->strassen = strassen;
    out_kernel->name = strassen != NULL ? strassen->name : w->kernels->name;
    out_kernel->launch = igemm_launch;
    out_kernel->state = w;
    out_kernel->workspace_bytes = lt_igemm_convolve_workspace(w, host->pool_threads(host->pool));
    out_kernel->flops =
        2 * (uint64_t)m * w->window.k * w->window.taps * (uint64_t)conv->g.out_channels;
    return status;
}

leat_status lt_conv_igemm_prepare(const leat_kernel_node *node, const lt_conv *conv,
                                  const lt_cpu_device *device, const leat_host *host,
                                  leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    return prepare(node, conv, device, host, plan, NULL, out_kernel, err);
}

leat_status lt_conv_strassen_prepare(const leat_kernel_node *node, const lt_conv *conv,
                                     const lt_cpu_device *device, const leat_host *host,
                                     leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    return prepare(node, conv, device, host, plan, lt_strassen_kernels_for(device), out_kernel,
                   err);
}

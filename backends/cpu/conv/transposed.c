/* SPDX-License-Identifier: Apache-2.0 */
/* Transposed convolution of channels-last data as matrix products. Along one axis output position
 * o = q * stride + phase is reached from input position i by the filter positions k with
 *
 *     phase + pad - k * dilation = (i - q) * stride
 *
 * a list that depends on the phase alone. So the pixels of one phase are those of an ordinary
 * convolution of stride 1 with that part of the filter:
 *
 *     Y[q * stride + phase, m] = act( B[m] + sum over t of the phase, c of
 *                                            X[q + shift(t), c] * W[c, m, k(t)] )
 *
 * computed as the indirect product of gemm.h; nothing is added to Y twice, and no buffer between is
 * needed. A task is one line of output with all its phases of the last axis. Where these read the
 * same pixels (a filter as wide as the stride, say), one product makes all of them: its columns are
 * (phase, m), which lie together in Y. Bound by arithmetic where a product has at least half a
 * panel of columns (`leat bench --profile`). */
#include "conv/conv.h"
#include "convert.h"

/* A filter position of a phase. */
typedef struct tap {
    int64_t k;        /* index among the filter's positions */
    int64_t shift[3]; /* of the input pixel from q */
} tap;

typedef struct phase {
    const tap *taps;
    size_t n_taps;
    size_t packed; /* bytes of packed weights before this phase's, in a group */
} phase;

typedef struct transposed {
    lt_conv conv;
    const lt_gemm_kernels *kernels;
    const phase *phases; /* [stride 0][stride 1][stride 2] */
    size_t most_taps;
    size_t k, n;         /* input and output channels of a group */
    int64_t joined;      /* phases of the last axis that one product makes: 1, or all */
    size_t group_packed; /* bytes of a group's packed weights, all phases */
    size_t group_bias;   /* elements of a group's padded bias */
    size_t thread_bytes; /* workspace of a thread: the largest of any phase's products */
    const void *zeros;   /* k elements */
} transposed;

/* Columns of a product. */
static size_t columns(const transposed *w)
{
    return w->n * (size_t)w->joined;
}

/* --- phases -------------------------------------------------------------------------------------
 */

/* Whether filter position k reaches the phase along an axis; the shift if so. */
static bool reaches(const lt_conv_geometry *g, int axis, int64_t p, int64_t k, int64_t *out_shift)
{
    int64_t distance = p + g->pad[axis] - k * g->dilation[axis];
    *out_shift = distance / g->stride[axis];
    return distance % g->stride[axis] == 0;
}

/* Lists the taps of one phase; taps NULL: only counts. */
static size_t list_taps(const lt_conv_geometry *g, const int64_t at[3], tap *taps)
{
    size_t n = 0;
    for (int64_t i = 0; i < g->taps; i++) {
        const int64_t k[3] = {i / (g->kernel[1] * g->kernel[2]), i / g->kernel[2] % g->kernel[1],
                              i % g->kernel[2]};
        tap t = {.k = i};
        bool in = true;
        for (int axis = 0; axis < 3; axis++) {
            in = reaches(g, axis, at[axis], k[axis], &t.shift[axis]) && in;
        }
        if (in && taps != NULL) {
            taps[n] = t;
        }
        n += in;
    }
    return n;
}

/* Whether the phases of the last axis read the same pixels and lie side by side in Y. */
static bool phases_alike(const lt_conv_geometry *g, const phase *phases)
{
    const int64_t stride = g->stride[2];
    bool alike = g->groups == 1 && g->out[2] % stride == 0;
    for (int64_t i = 0; alike && i < g->stride[0] * g->stride[1] * stride; i++) {
        const phase *first = &phases[i - i % stride];
        alike = phases[i].n_taps == first->n_taps;
        for (size_t t = 0; alike && t < first->n_taps; t++) {
            alike = memcmp(phases[i].taps[t].shift, first->taps[t].shift,
                           sizeof(first->taps[t].shift)) == 0;
        }
    }
    return alike;
}

static leat_status make_phases(transposed *w, const leat_host *host, leat_plan *plan,
                               leat_error *err)
{
    const lt_conv_geometry *g = &w->conv.g;
    size_t count = (size_t)(g->stride[0] * g->stride[1] * g->stride[2]);
    phase *phases = host->plan_alloc(plan, count * sizeof(*phases));
    tap *taps = host->plan_alloc(plan, (size_t)g->taps * sizeof(*taps)); /* each is in one phase */
    if (phases == NULL || taps == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "ConvTranspose: no memory for the plan");
    }
    for (size_t i = 0; i < count; i++) {
        const int64_t at[3] = {(int64_t)i / (g->stride[1] * g->stride[2]),
                               (int64_t)i / g->stride[2] % g->stride[1], (int64_t)i % g->stride[2]};
        phases[i] = (phase){.taps = taps, .n_taps = list_taps(g, at, taps)};
        taps += phases[i].n_taps;
        w->most_taps = phases[i].n_taps > w->most_taps ? phases[i].n_taps : w->most_taps;
    }
    w->joined = phases_alike(g, phases) ? g->stride[2] : 1;
    for (size_t i = 0; i < count; i += (size_t)w->joined) {
        phases[i].packed = w->group_packed;
        w->group_packed += lt_gemm_packed_bytes(w->kernels, phases[i].n_taps, w->k, columns(w));
        w->group_packed = lt_whole_lines(w->group_packed);
    }
    w->phases = phases;
    return LEAT_OK;
}

/* --- packing ------------------------------------------------------------------------------------
 */

/* Tap t of one group and of the joined phases from ph on, W[c, m, k], as rows c of columns (phase,
 * m). */
static void gather_tap(const transposed *w, const leat_value *weights, size_t group,
                       const phase *ph, size_t t, char *out)
{
    size_t element = lt_cpu_element_bytes(w->conv.dtype), taps = (size_t)w->conv.g.taps;
    for (size_t c = 0; c < w->k; c++) {
        for (size_t j = 0; j < columns(w); j++, out += element) {
            size_t k = (size_t)ph[j / w->n].taps[t].k;
            size_t from = ((group * w->k + c) * w->n + j % w->n) * taps + k;
            memcpy(out, (const char *)weights->data + from * element, element);
        }
    }
}

static leat_status fill_weights(void *out, size_t bytes, const leat_value *constant,
                                const void *argument, leat_error *err)
{
    const transposed *w = ((const void *const *)argument)[0];
    const leat_host *host = ((const void *const *)argument)[1];
    const lt_conv_geometry *g = &w->conv.g;
    size_t element = lt_cpu_element_bytes(w->conv.dtype), tap_bytes = w->k * columns(w) * element;
    size_t scratch_bytes = tap_bytes * (w->most_taps + 1);
    char *scratch = host->alloc(host->context, scratch_bytes, 64);
    (void)bytes;
    if (scratch == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "ConvTranspose: no memory to pack weights");
    }
    for (size_t group = 0; group < (size_t)g->groups; group++) {
        for (int64_t p = 0; p < g->stride[0] * g->stride[1] * g->stride[2]; p += w->joined) {
            const phase *ph = &w->phases[p];
            for (size_t t = 0; t < ph->n_taps; t++) {
                gather_tap(w, constant, group, ph, t, scratch + t * tap_bytes);
            }
            lt_gemm_source source = {.data = scratch,
                                     .dtype = w->conv.dtype,
                                     .taps = ph->n_taps,
                                     .k = w->k,
                                     .n = columns(w),
                                     .tap_stride = w->k * columns(w),
                                     .row_stride = columns(w),
                                     .column_stride = 1,
                                     .scale = 1};
            if (ph->n_taps != 0) {
                lt_gemm_pack(w->kernels, &source,
                             (char *)out + group * w->group_packed + ph->packed, 0,
                             lt_gemm_panels(w->kernels, columns(w)));
            }
        }
    }
    host->free(host->context, scratch, scratch_bytes);
    return LEAT_OK;
}

static leat_status fill_bias(void *out, size_t bytes, const leat_value *constant,
                             const void *argument, leat_error *err)
{
    const transposed *w = argument;
    size_t element = lt_cpu_element_bytes(w->conv.dtype);
    (void)err;
    memset(out, 0, bytes);
    for (size_t i = 0; i < (size_t)(w->conv.g.groups * w->joined); i++) {
        const size_t group = i / (size_t)w->joined, at = i % (size_t)w->joined;
        memcpy((char *)out + (group * w->group_bias + at * w->n) * element,
               (const char *)constant->data + group * w->n * element, w->n * element);
    }
    return LEAT_OK;
}

static leat_status pack(transposed *w, const leat_kernel_node *node, const leat_host *host,
                        leat_plan *plan, leat_error *err)
{
    const lt_conv_geometry *g = &w->conv.g;
    const void *argument[2] = {w, host};
    size_t all;
    w->group_bias = lt_gemm_panels(w->kernels, columns(w)) * w->kernels->nr;
    if (__builtin_mul_overflow(w->group_packed + 64, (size_t)g->groups, &all)) {
        return lt_cpu_fail(err, LEAT_LIMIT, "ConvTranspose: weights are too large");
    }
    /* Which filter positions a phase has depends on pads, strides and dilations. */
    uint64_t key = 0x7472616e73u;
    for (int i = 0; i < 3; i++) {
        key = (key ^ (uint64_t)g->stride[i]) * 0x100000001b3u;
        key = (key ^ (uint64_t)g->pad[i]) * 0x100000001b3u;
        key = (key ^ (uint64_t)g->dilation[i]) * 0x100000001b3u;
    }
    key ^= ((uint64_t)g->groups * 0x9e3779b97f4a7c15u + w->kernels->nr) ^ (uint64_t)w->joined << 32;
    leat_status status = host->plan_pack(plan, leat_kernel_input(node, 1), key, all, fill_weights,
                                         argument, &w->conv.weights, err);
    if (status != LEAT_OK || !w->conv.has_bias) {
        return status;
    }
    return host->plan_pack(plan, leat_kernel_input(node, 2), key + 1,
                           (size_t)g->groups * w->group_bias * lt_cpu_element_bytes(w->conv.dtype),
                           fill_bias, w, &w->conv.bias, err);
}

/* --- launch -------------------------------------------------------------------------------------
 */

typedef struct launch {
    const transposed *w;
    const char *x;
    char *y;
    char *workspace;
} launch;

/* Pixels q = 0, 1, ... of one phase in one line. */
typedef struct line_rows {
    const transposed *w;
    const phase *phase;
    const char *x; /* the batch's first pixel, at the group's first channel */
    int64_t q[2];  /* of the leading axes */
} line_rows;

static void point_rows(const void *argument, size_t first, size_t count, const void **rows)
{
    const line_rows *l = argument;
    const lt_conv_geometry *g = &l->w->conv.g;
    const int64_t pixel = g->in_channels * (int64_t)lt_cpu_element_bytes(l->w->conv.dtype);
    for (size_t t = 0; t < l->phase->n_taps; t++, rows += LT_GEMM_MAX_MR) {
        const int64_t *shift = l->phase->taps[t].shift;
        int64_t z = l->q[0] + shift[0], y = l->q[1] + shift[1];
        bool inside = z >= 0 && z < g->in[0] && y >= 0 && y < g->in[1];
        const char *line = l->x + (z * g->in[1] + y) * g->in[2] * pixel;
        for (size_t i = 0; i < count; i++) {
            int64_t x = (int64_t)(first + i) + shift[2];
            rows[i] = inside && x >= 0 && x < g->in[2] ? line + x * pixel : l->w->zeros;
        }
    }
}

/* Pixels of phase px of the last axis in a line. */
static size_t line_pixels(const lt_conv_geometry *g, int64_t px)
{
    return (size_t)((g->out[2] - px + g->stride[2] - 1) / g->stride[2]);
}

/* One phase, or the joined ones from px on, of one line of one group. */
static void run_phase(const launch *l, const int64_t at[3], int64_t batch, int64_t px, size_t group,
                      uint32_t thread)
{
    const transposed *w = l->w;
    const lt_conv_geometry *g = &w->conv.g;
    size_t element = lt_cpu_element_bytes(w->conv.dtype);
    int64_t in_pixels = g->in[0] * g->in[1] * g->in[2];
    const int64_t p[2] = {at[0] % g->stride[0], at[1] % g->stride[1]};
    const line_rows rows = {w,
                            &w->phases[(p[0] * g->stride[1] + p[1]) * g->stride[2] + px],
                            l->x + ((size_t)(batch * in_pixels * g->in_channels) + group * w->k) *
                                       element,
                            {at[0] / g->stride[0], at[1] / g->stride[1]}};
    size_t first = (size_t)((((batch * g->out[0] + at[0]) * g->out[1] + at[1]) * g->out[2] + px) *
                            g->out_channels) +
                   group * w->n;
    lt_gemm_job job = {
        .kernels = w->kernels,
        .m = line_pixels(g, px),
        .n = columns(w),
        .k = w->k,
        .taps = rows.phase->n_taps,
        .rows = point_rows,
        .rows_argument = &rows,
        .b = (const char *)w->conv.weights + group * w->group_packed + rows.phase->packed,
        .bias = w->conv.bias ? (const char *)w->conv.bias + group * w->group_bias * element : NULL,
        .c = l->y + first * element,
        .ldc = (size_t)(g->stride[2] * g->out_channels),
        .activation = w->conv.activation};
    lt_gemm_run_serial(&job, l->workspace + thread * w->thread_bytes, 0);
}

static void line_task(void *argument, uint32_t task, uint32_t thread)
{
    const launch *l = argument;
    const lt_conv_geometry *g = &l->w->conv.g;
    const int64_t at[3] = {task / g->out[1] % g->out[0], task % g->out[1], 0};
    for (int64_t px = 0; px < g->stride[2] && px < g->out[2]; px += l->w->joined) {
        for (size_t group = 0; group < (size_t)g->groups; group++) {
            run_phase(l, at, task / (g->out[0] * g->out[1]), px, group, thread);
        }
    }
}

static leat_status transposed_launch(const void *state, const leat_kernel_args *args,
                                     leat_error *err)
{
    const transposed *w = state;
    const lt_conv_geometry *g = &w->conv.g;
    launch l = {w, args->inputs[0], args->outputs[0], args->workspace};
    (void)err;
    args->host->parallel(args->pool, (uint32_t)(g->batch * g->out[0] * g->out[1]), line_task, &l);
    return LEAT_OK;
}

/* Phases differ in their taps and by a pixel a line, and neither of two products that differ needs
 * the larger workspace in general. */
static size_t most_workspace(const transposed *w)
{
    const lt_conv_geometry *g = &w->conv.g;
    size_t most = 0;
    for (int64_t p = 0; p < g->stride[0] * g->stride[1] * g->stride[2]; p += w->joined) {
        for (int64_t px = 0; px < g->stride[2] && px < g->out[2]; px += w->joined) {
            const lt_gemm_job job = {.kernels = w->kernels,
                                     .m = line_pixels(g, px),
                                     .n = columns(w),
                                     .k = w->k,
                                     .taps = w->phases[p].n_taps,
                                     .rows = point_rows};
            const size_t bytes = lt_gemm_workspace(&job, 1);
            most = bytes > most ? bytes : most;
        }
    }
    return lt_whole_lines(most);
}

leat_status lt_conv_transposed_prepare(const leat_kernel_node *node, const lt_conv *conv,
                                       const lt_cpu_device *device, const leat_host *host,
                                       leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const lt_conv_geometry *g = &conv->g;
    transposed *w = host->plan_alloc(plan, sizeof(*w));
    if (w == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "ConvTranspose: no memory for the plan");
    }
    w->conv = *conv;
    w->kernels = lt_gemm_kernels_for(device, conv->dtype);
    w->k = (size_t)(g->in_channels / g->groups);
    w->n = (size_t)(g->out_channels / g->groups);
    w->joined = 1;
    w->zeros = host->plan_alloc(plan, w->k * lt_cpu_element_bytes(conv->dtype) + 64);
    if (w->zeros == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "ConvTranspose: no memory for the plan");
    }
    leat_status status = make_phases(w, host, plan, err);
    status = status ? status : pack(w, node, host, plan, err);
    out_kernel->name = "conv_transpose_gemm";
    out_kernel->launch = transposed_launch;
    out_kernel->state = w;
    w->thread_bytes = most_workspace(w);
    out_kernel->workspace_bytes = w->thread_bytes * host->pool_threads(host->pool);
    out_kernel->flops = 2 * (uint64_t)(g->batch * g->in[0] * g->in[1] * g->in[2] * g->taps *
                                       g->in_channels * (int64_t)w->n);
    return status;
}

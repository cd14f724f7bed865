/* SPDX-License-Identifier: Apache-2.0 */
/* QLinearConv, ConvInteger and leat's QConv as a matrix product over channels-last bytes whose rows
 * are found by pointers (conv/window.h), with the epilogue of int8.h.
 *
 * Pixels outside of the data have the zero point's value. Data that is s8 or channels-first is
 * brought to u8, channels-last before, results back after: the layout pass and quantizers that make
 * u8 activations avoid both. */
#include "conv/window.h"
#include "int8/depthwise.h"
#include "int8/quantized.h"

/* Where things lie in the workspace; 0 bytes: not needed. */
typedef struct parts {
    size_t data, data_bytes; /* u8, channels-last */
    size_t padded;           /* lt_conv_window.copy_bytes */
    size_t outside;          /* a row of zero points */
    size_t weights, sums, scratch, params;
    size_t result, residual; /* channels-last */
    size_t gemm;
    size_t total;
} parts;

typedef struct qconv {
    lt_int8_node q;
    lt_conv_window window;
    const lt_gemm_kernels *kernels;
    const leat_host *host;
    size_t product_k;     /* of one tap as the product sees it */
    size_t outside_bytes; /* of the row that stands for a pixel outside of the data */
    size_t group_packed;  /* bytes of one group's packed weights */
    size_t sums_at;       /* in the packed block */
    const void *packed;   /* weights and their column sums; NULL: made by launch */
    lt_int8_params params;
    parts at;
    size_t y_element, residual_element;
    bool by_channel; /* one filter a channel: by ... */
    lt_int8_depthwise depthwise;
    const void *w_zeros; /* constant zero points, for packing */
} qconv;

static size_t channel_bytes(const lt_conv_geometry *g)
{
    return (size_t)(g->in_channels / g->groups);
}

/* The weights by channel, and the sums of the bytes as the other packing has them. */
static void pack_depthwise(const qconv *w, const void *weights, const void *zeros, char *out)
{
    size_t channels = w->q.groups, taps = w->window.taps;
    bool u8 = w->q.w_type == LEAT_DTYPE_U8;
    int32_t *sums = (int32_t *)(void *)(out + w->sums_at);
    lt_int8_depthwise_pack(&w->depthwise, weights, w->q.w_type, zeros, zeros ? w->q.w_zeros : 0,
                           out);
    for (size_t c = 0; c < channels; c++) {
        sums[c] = 0;
        for (size_t t = c * taps; t < (c + 1) * taps; t++) {
            sums[c] += u8 ? ((const uint8_t *)weights)[t] - 128 : ((const int8_t *)weights)[t];
        }
    }
}

static void pack_weights(const qconv *w, const void *weights, const void *zeros, void *scratch,
                         char *out)
{
    if (w->by_channel) {
        pack_depthwise(w, weights, zeros, out);
        return;
    }
    lt_conv_window_pack(&w->window, w->kernels, weights, w->q.w_type, w->group_packed, scratch,
                        out);
    for (size_t g = 0; g < w->q.groups; g++) {
        int32_t *sums = (int32_t *)(void *)(out + w->sums_at);
        lt_int8_column_sums(&w->q, w->kernels, out + g * w->group_packed, g, sums);
    }
}

static leat_status fill_weights(void *out, size_t bytes, const leat_value *constant,
                                const void *argument, leat_error *err)
{
    const qconv *w = argument;
    size_t scratch_bytes = lt_conv_window_scratch(&w->window, 1);
    void *scratch = scratch_bytes ? w->host->alloc(w->host->context, scratch_bytes, 64) : NULL;
    (void)bytes;
    if (scratch_bytes != 0 && scratch == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "QLinearConv: no memory to pack weights");
    }
    pack_weights(w, constant->data, w->w_zeros, scratch, out);
    if (scratch != NULL) {
        w->host->free(w->host->context, scratch, scratch_bytes);
    }
    return LEAT_OK;
}

/* --- launch -------------------------------------------------------------------------------------
 */

/* The data as u8, channels-last, with its padding where the window wants that. */
static const char *stage_data(const qconv *w, const leat_kernel_args *args, int fill)
{
    const lt_conv_geometry *g = &w->window.from;
    const char *x = args->inputs[w->q.in.x];
    char *workspace = args->workspace;
    if (w->at.data_bytes != 0) {
        char *to = workspace + w->at.data;
        int64_t pixels = g->in[0] * g->in[1] * g->in[2];
        uint8_t flip = w->q.x_type == LEAT_DTYPE_I8 ? 0x80 : 0;
        if (g->channels_last) {
            lt_int8_flip(x, to, (int64_t)w->at.data_bytes, args);
        }
        for (int64_t i = 0; !g->channels_last && i < g->batch; i++) {
            int64_t at = i * pixels * g->in_channels;
            lt_int8_transpose(x + at, to + at, g->in_channels, pixels, 1, flip);
        }
        x = to;
    }
    if (w->window.padded) {
        lt_conv_window_pad(&w->window, x, workspace + w->at.padded, fill, args);
        x = workspace + w->at.padded;
    }
    return x;
}

/* Results or residuals of all images between channels-first and channels-last. */
static void turn_images(const lt_conv_geometry *g, const char *from, char *to, size_t element,
                        bool to_last)
{
    int64_t pixels = g->out[0] * g->out[1] * g->out[2], channels = g->out_channels;
    for (int64_t i = 0; i < g->batch; i++) {
        size_t at = (size_t)(i * pixels * channels) * element;
        lt_int8_transpose(from + at, to + at, to_last ? channels : pixels,
                          to_last ? pixels : channels, element, 0);
    }
}

/* Weights and parameters that are not constant. */
static const char *stage_constants(const qconv *w, const leat_kernel_args *args,
                                   lt_int8_params *params)
{
    char *workspace = args->workspace;
    const char *packed = w->packed;
    *params = w->params;
    if (packed == NULL) {
        char *made = workspace + w->at.weights;
        pack_weights(w, args->inputs[w->q.in.w], lt_int8_input(args->inputs, w->q.in.w_zero),
                     workspace + w->at.scratch, made);
        packed = made;
    }
    if (!w->q.fixed) {
        const int32_t *sums = (const int32_t *)(const void *)(packed + w->sums_at);
        lt_int8_make_params(&w->q, args->inputs, sums, workspace + w->at.params, params);
    }
    return packed;
}

static int zero_byte(const qconv *w, const leat_kernel_args *args)
{
    const uint8_t *zero = lt_int8_input(args->inputs, w->q.in.x_zero);
    return (zero ? zero[0] : 0) ^ (w->q.x_type == LEAT_DTYPE_I8 ? 0x80 : 0);
}

static void run_depthwise(const qconv *w, const leat_kernel_args *args, const char *data,
                          const char *packed, lt_int8_params *params, char *result)
{
    bool activate = w->q.result == LT_INT8_RESULT_F32;
    params->epilogue.column_zero = NULL; /* the weights have none */
    if (params->epilogue.way == LT_INT8_WAY_ANY) {
        lt_int8_choose_way(&params->epilogue, params->largest, w->q.groups);
    }
    const lt_int8_depthwise_call call = {.d = &w->depthwise,
                                         .data = (const uint8_t *)data,
                                         .outside =
                                             (const uint8_t *)args->workspace + w->at.outside,
                                         .packed = packed,
                                         .offset = params->offset,
                                         .epilogue = &params->epilogue,
                                         .result = result,
                                         .element = w->y_element,
                                         .activate = activate ? w->q.activate : NULL,
                                         .activation = &w->q.activation};
    lt_int8_depthwise_run(&call, args);
}

static void run_products(const qconv *w, const leat_kernel_args *args, const char *data,
                         const char *packed, const lt_int8_params *params, char *result)
{
    const lt_conv_window *window = &w->window;
    const lt_conv_geometry *g = &window->from;
    char *workspace = args->workspace;
    for (size_t i = 0; i < w->q.groups; i++) {
        lt_conv_rows source = {window, data + i * channel_bytes(g), workspace + w->at.outside};
        lt_int8_epilogue epilogue = lt_int8_group(&w->q, params, i);
        lt_gemm_job job = {.kernels = w->kernels,
                           .m = window->m,
                           .n = window->n,
                           .k = w->product_k,
                           .taps = window->taps,
                           .rows = window->matrix ? NULL : lt_conv_window_rows,
                           .rows_argument = &source,
                           .a = source.data,
                           .lda = (size_t)g->in_channels,
                           .b = packed + i * w->group_packed,
                           .bias = params->offset + i * w->q.columns,
                           .c = result + i * w->q.n * w->y_element,
                           .ldc = (size_t)g->out_channels,
                           .epilogue = &epilogue};
        if (w->q.result == LT_INT8_RESULT_F32 && w->q.activate != NULL) {
            job.activation = w->q.activation;
        }
        lt_gemm_run(&job, workspace + w->at.gemm, args);
    }
}

static leat_status qconv_launch(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const qconv *w = state;
    const lt_conv_geometry *g = &w->window.from;
    char *workspace = args->workspace;
    lt_int8_params params;
    (void)err;
    const char *packed = stage_constants(w, args, &params);
    int fill = zero_byte(w, args);
    const char *data = stage_data(w, args, fill);
    char *result = g->channels_last ? args->outputs[0] : workspace + w->at.result;
    memset(workspace + w->at.outside, fill, w->outside_bytes);
    if (w->q.in.residual != LEAT_NO_VALUE) {
        params.epilogue.residual = args->inputs[w->q.in.residual];
        if (!g->channels_last) {
            turn_images(g, params.epilogue.residual, workspace + w->at.residual,
                        w->residual_element, true);
            params.epilogue.residual = workspace + w->at.residual;
        }
    }
    params.epilogue.residual_ld = (size_t)g->out_channels;
    if (w->by_channel) {
        run_depthwise(w, args, data, packed, &params, result);
    } else {
        run_products(w, args, data, packed, &params, result);
    }
    if (!g->channels_last) {
        turn_images(g, result, args->outputs[0], w->y_element, false);
    }
    return LEAT_OK;
}

/* --- prepare ------------------------------------------------------------------------------------
 */

/* The convolution's shape, from a view of the node whose inputs are data and weights. */
static leat_status read_geometry(const leat_kernel_node *node, const lt_int8_node *q,
                                 lt_conv_geometry *out, leat_error *err)
{
    uint32_t inputs[2] = {node->node->inputs[q->in.x], node->node->inputs[q->in.w]};
    leat_node plain = *node->node;
    plain.inputs = inputs;
    plain.n_inputs = 2;
    leat_kernel_node view = {&plain, node->values};
    return lt_conv_geometry_read(&view, false, out, err);
}

/* Whether all weights, their zero points taken away, are s8 for certain. */
static bool weights_narrow(const qconv *w)
{
    int32_t want = w->q.w_type == LEAT_DTYPE_U8 ? 0x80 : 0;
    const uint8_t *zeros = w->w_zeros;
    for (size_t i = 0; zeros != NULL && i < w->q.w_zeros; i++) {
        if (zeros[i] != want) {
            return false;
        }
    }
    return zeros != NULL || (want == 0 && w->q.in.w_zero == LEAT_NO_VALUE);
}

/* One filter a channel, few taps: sums by the channel instead of a product for each. */
static leat_status choose_depthwise(qconv *w, const lt_cpu_device *device, leat_plan *plan,
                                    leat_error *err)
{
    const lt_conv_geometry *g = &w->window.from;
    if (g->groups == 1 || g->groups != g->in_channels || g->groups != g->out_channels ||
        w->window.matrix) {
        return LEAT_OK;
    }
    leat_status status = lt_int8_depthwise_plan(g, device, weights_narrow(w), w->host, plan,
                                                &w->depthwise, &w->by_channel, err);
    if (w->by_channel) {
        w->q.columns = 1; /* channels side by side */
    }
    return status;
}

static void plan_parts(qconv *w, uint32_t threads)
{
    const lt_conv_geometry *g = &w->window.from;
    parts *at = &w->at;
    size_t total = 0, pixels = (size_t)(g->batch * g->in[0] * g->in[1] * g->in[2]);
    size_t outputs = w->window.m * (size_t)g->out_channels;
    bool last = g->channels_last;
    at->data_bytes = !last || w->q.x_type == LEAT_DTYPE_I8 ? pixels * (size_t)g->in_channels : 0;
    at->data = lt_int8_take(&total, at->data_bytes);
    at->padded = lt_int8_take(&total, w->window.copy_bytes);
    at->outside = lt_int8_take(&total, w->outside_bytes);
    size_t block = w->sums_at + lt_int8_sums_bytes(&w->q);
    at->weights = lt_int8_take(&total, w->packed ? 0 : block);
    at->scratch = lt_int8_take(&total, w->packed ? 0 : lt_conv_window_scratch(&w->window, 1));
    at->params = lt_int8_take(&total, w->q.fixed ? 0 : lt_int8_params_bytes(&w->q));
    at->result = lt_int8_take(&total, last ? 0 : outputs * w->y_element);
    at->residual = lt_int8_take(&total, last ? 0 : outputs * w->residual_element);
    at->gemm = total;
    const lt_gemm_job job = {.kernels = w->kernels,
                             .m = w->window.m,
                             .n = w->window.n,
                             .k = w->product_k,
                             .taps = w->window.taps,
                             .rows = w->window.matrix ? NULL : lt_conv_window_rows};
    at->total = total + lt_gemm_workspace(&job, threads);
}

/* Zero points are taken away from packed weights by channel, so they are part of the key. */
static uint64_t depthwise_key(const qconv *w)
{
    const uint8_t *zeros = w->w_zeros;
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; zeros != NULL && i < w->q.w_zeros; i++) {
        hash = (hash ^ zeros[i]) * 0x100000001b3u;
    }
    return hash << 32 | (uint64_t)w->depthwise.kernels->group << 12 | 1u << 15;
}

/* Packs constant weights, and makes parameters when all that they depend on is constant. */
static leat_status prepare_constants(qconv *w, const leat_kernel_node *node, leat_plan *plan,
                                     leat_error *err)
{
    const leat_host *host = w->host;
    size_t groups = w->q.groups, packed;
    size_t group = lt_gemm_packed_bytes(w->kernels, w->window.taps, w->window.k, w->window.n);
    if (w->by_channel) { /* all channels together */
        group = (lt_int8_depthwise_packed_bytes(&w->depthwise) + groups - 1) / groups;
    }
    w->group_packed = lt_whole_lines(group);
    if (group == 0 || __builtin_mul_overflow(w->group_packed, groups, &w->sums_at) ||
        __builtin_add_overflow(w->sums_at, lt_int8_sums_bytes(&w->q), &packed)) {
        return lt_cpu_fail(err, LEAT_LIMIT, "%s node '%s': weights are too large", node->node->op,
                           node->node->name);
    }
    if (!w->q.constant_weights) {
        return LEAT_OK;
    }
    uint64_t key = 0x800 | (uint64_t)w->kernels->nr << 16 | (uint64_t)groups << 24;
    key ^= (uint64_t)w->window.taps << 48 ^ (uint64_t)(w->q.limits != NULL) << 14;
    if (w->by_channel) {
        key ^= depthwise_key(w);
    }
    leat_status status = host->plan_pack(plan, leat_kernel_input(node, w->q.in.w), key, packed,
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

leat_status lt_cpu_qconv_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                 leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    qconv *w = host->plan_alloc(plan, sizeof(*w));
    lt_conv_geometry g;
    if (w == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for the plan", node->node->op);
    }
    leat_status status = lt_int8_read(node, &w->q, err);
    if (status == LEAT_OK) {
        status = read_geometry(node, &w->q, &g, err);
    }
    if (status == LEAT_OK) {
        status = lt_conv_window_plan(&g, 1, false, host, plan, &w->window, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    w->host = host;
    w->q.groups = (size_t)g.groups;
    w->q.m = w->window.m;
    w->q.n = w->window.n;
    w->q.k = w->window.k * w->window.taps;
    status = lt_int8_check_sizes(node, &w->q, err);
    if (status != LEAT_OK) {
        return status;
    }
    w->y_element = w->q.result == LT_INT8_RESULT_BYTE ? 1 : 4;
    w->residual_element = w->q.in.residual == LEAT_NO_VALUE      ? 0
                          : w->q.residual_type == LEAT_DTYPE_F32 ? 4
                                                                 : 1;
    w->kernels = lt_int8_kernels_for(device, (uint32_t)w->y_element);
    w->q.panels = lt_gemm_panels(w->kernels, w->q.n);
    w->q.columns = w->q.panels * w->kernels->nr;
    w->q.packed_k = lt_gemm_padded_k(w->kernels, w->window.k) * w->window.taps;
    const leat_value *w_zeros = leat_kernel_input(node, w->q.in.w_zero);
    w->w_zeros = w_zeros ? w_zeros->data : NULL;
    status = choose_depthwise(w, device, plan, err);
    if (status != LEAT_OK) {
        return status;
    }
    w->q.limits = w->by_channel ? NULL : lt_int8_limits_for(w->kernels);
    w->q.constant_weights &= !w->by_channel || w_zeros == NULL || w_zeros->data != NULL;
    w->q.fixed &= w->q.constant_weights;
    double low, high;
    bool clamp = lt_cpu_activation_clamp(&w->q.activation, &low, &high);
    w->q.activate = clamp ? NULL : lt_cpu_activate_for(device);
    status = prepare_constants(w, node, plan, err);
    /* The copy may be read beyond a row, where weights are 0, unless rows are summed up. */
    bool over = w->window.padded && w->q.fixed && w->params.epilogue.column_zero == NULL;
    w->product_k = over ? lt_gemm_padded_k(w->kernels, w->window.k) : w->window.k;
    w->outside_bytes = w->by_channel ? LT_INT8_DEPTHWISE_CHANNELS : w->product_k;
    plan_parts(w, host->pool_threads(host->pool));
    out_kernel->name = w->by_channel ? w->depthwise.kernels->name : w->kernels->name;
    out_kernel->launch = qconv_launch;
    out_kernel->state = w;
    out_kernel->workspace_bytes = w->at.total;
    if (w->residual_element == w->y_element && w->q.in.residual < 32) {
        /* A tile reads its part before it writes it: one buffer less passes through the caches. */
        out_kernel->inplace_mask = 1u << w->q.in.residual;
    }
    out_kernel->flops = 2 * (uint64_t)w->q.m * w->q.k * (uint64_t)g.out_channels;
    return status;
}

leat_status lt_cpu_qconv_supports(const leat_kernel_node *node, leat_error *err)
{
    lt_int8_node q;
    const leat_value *x = leat_kernel_input(node, 0);
    if (x == NULL || x->rank > 5 || (x->rank >= 0 && x->rank < 3)) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: data of rank %d; 3 to 5 are supported",
                           node->node->op, x ? x->rank : 0);
    }
    return lt_int8_read(node, &q, err);
}

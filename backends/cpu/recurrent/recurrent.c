/* SPDX-License-Identifier: Apache-2.0 */
/* LSTM, GRU, RNN: attributes, shapes, packed weights, the plan of the workspace. */
#include "recurrent/recurrent.h"

#include "sizes.h"

#include <ctype.h>

#define FUSED_ROWS 4 /* up to so many rows in all W is applied step by step */

/* ---- activations ---------------------------------------------------------------------------- */

typedef struct function_entry {
    const char *name;
    lt_cell_function function;
    bool takes_alpha, takes_beta;
    float alpha, beta;
} function_entry;

static const function_entry functions[] = {
    {"sigmoid", LT_CELL_SIGMOID, false, false, 0, 0},
    {"tanh", LT_CELL_TANH, false, false, 0, 0},
    {"relu", LT_CELL_RELU, false, false, 0, 0},
    {"affine", LT_CELL_AFFINE, true, true, 1, 0},
    {"leakyrelu", LT_CELL_LEAKY_RELU, true, false, 0.01f, 0},
    {"thresholdedrelu", LT_CELL_THRESHOLDED_RELU, true, false, 1, 0},
    {"scaledtanh", LT_CELL_SCALED_TANH, true, true, 1, 1},
    {"hardsigmoid", LT_CELL_HARD_SIGMOID, true, true, 0.2f, 0.5f},
    {"elu", LT_CELL_ELU, true, false, 1, 0},
    {"softsign", LT_CELL_SOFTSIGN, false, false, 0, 0},
    {"softplus", LT_CELL_SOFTPLUS, false, false, 0, 0},
};

/* The function of that name in any case; NULL for an unknown one. */
static const function_entry *find_function(const leat_string *name)
{
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        size_t k = 0;
        while (k < name->bytes && functions[i].name[k] != '\0' &&
               tolower((unsigned char)name->data[k]) == functions[i].name[k]) {
            k++;
        }
        if (k == name->bytes && functions[i].name[k] == '\0') {
            return &functions[i];
        }
    }
    return NULL;
}

/* The next number of a list of floats; `otherwise` once it has ended. */
static float next_float(const leat_attr *list, size_t *at, float otherwise)
{
    bool there = list != NULL && list->type == LEAT_ATTR_FLOATS && *at < list->count;
    return there ? list->u.floats[(*at)++] : otherwise;
}

/* Functions of all directions in order; alphas and betas go to those that take them. */
static leat_status read_activations(const leat_node *node, lt_rnn *rnn, leat_error *err)
{
    size_t each = rnn->kind == LT_CELL_RNN ? 1 : rnn->kind == LT_CELL_GRU ? 2 : 3;
    const leat_attr *names = leat_node_attr(node, "activations");
    const leat_attr *alphas = leat_node_attr(node, "activation_alpha");
    const leat_attr *betas = leat_node_attr(node, "activation_beta");
    size_t n_alphas = 0, n_betas = 0;
    bool given = names != NULL && names->type == LEAT_ATTR_STRINGS && names->count != 0;
    if (given && names->count < each * (size_t)rnn->dirs) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: %zu activations, %zu are needed",
                           rnn->label.text, names->count, each * (size_t)rnn->dirs);
    }
    for (size_t i = 0; i < each * (size_t)rnn->dirs; i++) {
        lt_cell_activation *out = &rnn->cell[i / each].activation[i % each];
        out->function = rnn->kind != LT_CELL_RNN && i % each == 0 ? LT_CELL_SIGMOID : LT_CELL_TANH;
        if (!given) {
            continue;
        }
        const function_entry *entry = find_function(&names->u.strings[i]);
        if (entry == NULL) {
            return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: activation %zu is not known",
                               rnn->label.text, i);
        }
        out->function = entry->function;
        out->alpha = entry->takes_alpha ? next_float(alphas, &n_alphas, entry->alpha) : 0;
        out->beta = entry->takes_beta ? next_float(betas, &n_betas, entry->beta) : 0;
    }
    return LEAT_OK;
}

/* ---- shapes --------------------------------------------------------------------------------- */

static leat_status expect(const lt_rnn *rnn, const leat_value *value, const char *what,
                          int32_t rank, const int64_t *shape, leat_error *err)
{
    bool fits = value == NULL || value->rank == rank;
    for (int32_t i = 0; value != NULL && fits && i < rank; i++) {
        fits = value->shape[i] == shape[i];
    }
    return fits
               ? LEAT_OK
               : lt_cpu_fail(err, LEAT_INVALID, "%s: %s has not the shape that the weights ask for",
                             rnn->label.text, what);
}

static leat_status read_shapes(const leat_kernel_node *node, lt_rnn *rnn, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, LT_RNN_X), *w = leat_kernel_input(node, LT_RNN_W);
    const leat_value *r = leat_kernel_input(node, LT_RNN_R);
    if (x->rank != 3 || w->rank != 3 || r->rank != 3) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: X, W and R must have rank 3", rnn->label.text);
    }
    rnn->batch_first = leat_node_int(node->node, "layout", 0) == 1;
    rnn->seq = x->shape[rnn->batch_first ? 1 : 0];
    rnn->batch = x->shape[rnn->batch_first ? 0 : 1];
    rnn->inputs = x->shape[2];
    rnn->dirs = leat_node_string_is(node->node, "direction", "bidirectional") ? 2 : 1;
    rnn->hidden = r->shape[2];
    rnn->gates = lt_cell_gates(rnn->kind);
    int64_t d = rnn->dirs, h = rnn->hidden, g = rnn->gates;
    bool first = rnn->batch_first;
    const int64_t w_shape[] = {d, g * h, rnn->inputs}, r_shape[] = {d, g * h, h};
    const int64_t b_shape[] = {d, 2 * g * h}, p_shape[] = {d, 3 * h};
    const int64_t state[] = {first ? rnn->batch : d, first ? d : rnn->batch, h};
    const int64_t y_first[] = {rnn->batch, rnn->seq, d, h},
                  y_shape[] = {rnn->seq, d, rnn->batch, h};
    bool lstm = rnn->kind == LT_CELL_LSTM;
    leat_status status = expect(rnn, w, "W", 3, w_shape, err);
    status = status ? status : expect(rnn, r, "R", 3, r_shape, err);
    status = status ? status : expect(rnn, leat_kernel_input(node, 3), "B", 2, b_shape, err);
    status = status ? status
                    : expect(rnn, leat_kernel_input(node, LT_RNN_LENGTHS), "sequence_lens", 1,
                             &rnn->batch, err);
    status = status ? status : expect(rnn, leat_kernel_input(node, 5), "initial_h", 3, state, err);
    if (lstm && status == LEAT_OK) {
        status = expect(rnn, leat_kernel_input(node, LT_RNN_C), "initial_c", 3, state, err);
        status =
            status ? status : expect(rnn, leat_kernel_input(node, LT_RNN_P), "P", 2, p_shape, err);
        status = status ? status : expect(rnn, leat_kernel_output(node, 2), "Y_c", 3, state, err);
    }
    status = status
                 ? status
                 : expect(rnn, leat_kernel_output(node, 0), "Y", 4, first ? y_first : y_shape, err);
    return status ? status : expect(rnn, leat_kernel_output(node, 1), "Y_h", 3, state, err);
}

/* All floating-point inputs are of one type, lengths are i32. */
static leat_status check_types(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0);
    for (uint32_t i = 0; i < node->node->n_inputs; i++) {
        const leat_value *value = leat_kernel_input(node, i);
        leat_dtype wanted = i == LT_RNN_LENGTHS ? LEAT_DTYPE_I32 : x->dtype;
        if (value != NULL && value->dtype != wanted) {
            return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: input %u is %s, not %s",
                               lt_move_name(node->node).text, i, leat_dtype_name(value->dtype),
                               leat_dtype_name(wanted));
        }
    }
    return LEAT_OK;
}

leat_status lt_cpu_recurrent_supports(const leat_kernel_node *node, leat_error *err)
{
    if (leat_kernel_input(node, 0) == NULL || leat_kernel_input(node, 1) == NULL ||
        leat_kernel_input(node, 2) == NULL) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: X, W and R are needed",
                           lt_move_name(node->node).text);
    }
    return check_types(node, err);
}

/* ---- the plan ------------------------------------------------------------------------------- */

/* Takes `bytes` of the workspace. */
static size_t take(lt_rnn_parts *parts, size_t bytes)
{
    size_t at = parts->total;
    parts->total += lt_whole_lines(bytes);
    return at;
}

/* Sizes fit: every part is a small multiple of an input's or output's bytes, which were checked. */
static void plan_workspace(lt_rnn *rnn, const leat_host *host)
{
    lt_rnn_parts *p = &rnn->parts;
    size_t rows = (size_t)(rnn->seq * rnn->batch), states = (size_t)(rnn->dirs * rnn->batch);
    size_t gates = (size_t)(rnn->gates * rnn->hidden), state = (size_t)rnn->padded * rnn->element;
    size_t slack = (size_t)rnn->kernels->vl * rnn->element;
    uint32_t threads = host->pool_threads(host->pool);
    if (rnn->narrow) {
        p->x = take(p, rows * (size_t)rnn->inputs * rnn->element);
        p->y = take(p, rows * (size_t)(rnn->dirs * rnn->hidden) * rnn->element);
    }
    if (!rnn->fused) {
        p->xw_one = lt_whole_lines(rows * gates * rnn->element + slack);
        p->xw = take(p, p->xw_one * (size_t)rnn->dirs);
        lt_gemm_job job = lt_rnn_input_job(rnn);
        p->gemm = take(p, lt_gemm_workspace(&job, threads));
    }
    size_t w = rnn->fused ? lt_rnn_panel_bytes(rnn, rnn->inputs) : lt_rnn_gemm_bytes(rnn);
    p->pack_one = w + lt_rnn_panel_bytes(rnn, rnn->hidden);
    if (rnn->w[0] == NULL || rnn->r[0] == NULL) {
        p->pack = take(p, p->pack_one * (size_t)rnn->dirs);
    }
    if (rnn->small == NULL) {
        p->small = take(p, rnn->small_one * (size_t)rnn->dirs);
    }
    p->h = take(p, 2 * states * state);
    p->c = take(p, rnn->kind == LT_CELL_LSTM ? states * state : 0);
    if (rnn->kind == LT_CELL_GRU && !rnn->cell[0].linear_before_reset) {
        p->z = take(p, states * state);
        p->r_h = take(p, states * state);
    }
    p->rows = take(p, states * sizeof(lt_cell_row));
}

typedef struct pack_argument {
    const lt_rnn *rnn;
    int64_t d, k; /* k 0: for the product */
} pack_argument;

static leat_status fill_pack(void *out, size_t bytes, const leat_value *constant,
                             const void *argument, leat_error *err)
{
    const pack_argument *a = argument;
    (void)bytes;
    (void)err;
    if (a->k == 0) {
        lt_rnn_pack_gemm(a->rnn, constant->data, a->d, out);
    } else {
        lt_rnn_pack_panels(a->rnn, constant->data, a->d, a->k, out);
    }
    return LEAT_OK;
}

/* Packs W and R of all directions where they are constant. */
static leat_status pack_constants(const leat_kernel_node *node, lt_rnn *rnn, const leat_host *host,
                                  leat_plan *plan, leat_error *err)
{
    const leat_value *w = leat_kernel_input(node, LT_RNN_W), *r = leat_kernel_input(node, LT_RNN_R);
    uint64_t key = 0x700u | (uint64_t)rnn->kernels->vl << 16 | (uint64_t)rnn->kind << 24 |
                   (uint64_t)rnn->gemm->nr << 32;
    leat_status status = LEAT_OK;
    for (int64_t d = 0; d < rnn->dirs && status == LEAT_OK; d++) {
        pack_argument argument = {rnn, d, rnn->hidden};
        if (r->data != NULL && rnn->hidden != 0) {
            status =
                host->plan_pack(plan, r, key | (uint64_t)d, lt_rnn_panel_bytes(rnn, rnn->hidden),
                                fill_pack, &argument, &rnn->r[d], err);
        }
        argument.k = rnn->fused ? rnn->inputs : 0;
        size_t bytes = rnn->fused ? lt_rnn_panel_bytes(rnn, rnn->inputs) : lt_rnn_gemm_bytes(rnn);
        if (w->data != NULL && bytes != 0 && status == LEAT_OK) {
            status = host->plan_pack(plan, w, key | (uint64_t)d | (rnn->fused ? 4 : 8), bytes,
                                     fill_pack, &argument, &rnn->w[d], err);
        }
    }
    return status;
}

/* Biases and peepholes, now when they are constant. */
static leat_status make_small(const leat_kernel_node *node, lt_rnn *rnn, const leat_host *host,
                              leat_plan *plan, leat_error *err)
{
    const leat_value *b = leat_kernel_input(node, LT_RNN_B);
    const leat_value *p = rnn->kind == LT_CELL_LSTM ? leat_kernel_input(node, LT_RNN_P) : NULL;
    size_t count = (size_t)(rnn->gates * rnn->hidden);
    size_t panels = lt_gemm_panels(rnn->gemm, count) * rnn->gemm->nr;
    rnn->has_p = p != NULL;
    rnn->bias_bytes = (panels + (size_t)rnn->kernels->vl) * rnn->element;
    rnn->bias_bytes = lt_whole_lines(rnn->bias_bytes);
    rnn->small_one = rnn->bias_bytes + 4 * (size_t)rnn->padded * rnn->element;
    rnn->small_one = lt_whole_lines(rnn->small_one);
    if ((b != NULL && b->data == NULL) || (p != NULL && p->data == NULL)) {
        return LEAT_OK;
    }
    void *small = host->plan_alloc(plan, rnn->small_one * (size_t)rnn->dirs);
    if (small == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    lt_rnn_small(rnn, b ? b->data : NULL, p ? p->data : NULL, small);
    rnn->small = small;
    return LEAT_OK;
}

static void choose_kernels(lt_rnn *rnn, const lt_cpu_device *device)
{
    rnn->kernels = &lt_cpu_cell_f32_portable;
    if (rnn->dtype == LEAT_DTYPE_F64) {
        rnn->kernels = &lt_cpu_cell_f64_portable;
    }
#if defined(__x86_64__)
    else if (device->isa >= LT_CPU_AVX512) {
        rnn->kernels = &lt_cpu_cell_f32_avx512;
    } else if (device->isa >= LT_CPU_AVX2) {
        rnn->kernels = &lt_cpu_cell_f32_avx2;
    }
#endif
    rnn->gemm =
        lt_gemm_kernels_for(device, rnn->dtype == LEAT_DTYPE_F64 ? LEAT_DTYPE_F64 : LEAT_DTYPE_F32);
    int64_t units = lt_cell_units(rnn->kind, rnn->kernels->vl);
    rnn->panels = (rnn->hidden + units - 1) / units;
    rnn->padded = rnn->panels * units;
    rnn->fused = rnn->seq * rnn->batch <= FUSED_ROWS && rnn->inputs > 0;
}

static void read_attributes(const leat_node *node, lt_rnn *rnn)
{
    bool reverse = leat_node_string_is(node, "direction", "reverse");
    for (int64_t d = 0; d < 2; d++) {
        lt_cell *cell = &rnn->cell[d];
        cell->kind = rnn->kind;
        cell->clip = (double)leat_node_float(node, "clip", 0);
        cell->input_forget = leat_node_int(node, "input_forget", 0) != 0;
        cell->linear_before_reset =
            rnn->kind == LT_CELL_GRU && leat_node_int(node, "linear_before_reset", 0) != 0;
        rnn->reverse[d] = d == 1 || reverse;
    }
}

leat_status lt_cpu_recurrent_prepare(const leat_kernel_node *node, void *device,
                                     const leat_host *host, leat_plan *plan,
                                     leat_kernel *out_kernel, leat_error *err)
{
    lt_rnn *rnn = host->plan_alloc(plan, sizeof(*rnn));
    if (rnn == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    const char *op = node->node->op;
    rnn->label = lt_move_name(node->node);
    rnn->n_inputs = node->node->n_inputs < 8 ? node->node->n_inputs : 8;
    rnn->n_outputs = node->node->n_outputs < 3 ? node->node->n_outputs : 3;
    rnn->kind = op[0] == 'L' ? LT_CELL_LSTM : op[0] == 'G' ? LT_CELL_GRU : LT_CELL_RNN;
    rnn->dtype = leat_kernel_input(node, 0)->dtype;
    rnn->narrow = rnn->dtype == LEAT_DTYPE_F16 || rnn->dtype == LEAT_DTYPE_BF16;
    rnn->element = rnn->dtype == LEAT_DTYPE_F64 ? sizeof(double) : sizeof(float);
    leat_status status = read_shapes(node, rnn, err);
    status = status ? status : read_activations(node->node, rnn, err);
    if (status != LEAT_OK) {
        return status;
    }
    choose_kernels(rnn, device);
    read_attributes(node->node, rnn);
    status = make_small(node, rnn, host, plan, err);
    status = status ? status : pack_constants(node, rnn, host, plan, err);
    plan_workspace(rnn, host);
    for (int64_t d = 0; d < 2; d++) {
        rnn->cell[d].hidden = rnn->hidden;
        rnn->cell[d].inputs = rnn->inputs;
    }
    out_kernel->name = rnn->kernels->name[rnn->kind];
    out_kernel->launch = lt_rnn_launch;
    out_kernel->state = rnn;
    out_kernel->workspace_bytes = rnn->parts.total;
    out_kernel->unread_mask = (rnn->w[0] ? 1u << LT_RNN_W : 0) | (rnn->r[0] ? 1u << LT_RNN_R : 0);
    out_kernel->flops = (uint64_t)(2 * rnn->dirs * rnn->seq * rnn->batch) *
                        (uint64_t)(rnn->gates * rnn->hidden * (rnn->inputs + rnn->hidden));
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Rounding with error feedback: Frantar et al., "GPTQ: Accurate Post-Training Quantization for
 * Generative Pre-trained Transformers", ICLR 2023. A layer's results x w should err least, not its
 * weights:
 *
 *     min over q of  sum over x of (x (w - q))^2  =  |R (w - q)|^2,    R^T R = sum of x^T x
 *
 * with R upper triangular. From the last row to the first, q[j] is the level nearest to
 *
 *     w[j] + sum over i > j of R[j][i] (w[i] - q[i]) / R[j][j]
 *
 * which makes up for what the levels behind it err. (GPTQ goes by the inverse of R^T R and in the
 * other direction; that the two are one is shown in Chen et al., "The Geometry of LLM Quantization:
 * GPTQ as Babai's Nearest Plane Algorithm", 2025.) Steps stay as they are. A channel whose results
 * err no less so than by the nearest levels keeps those.
 *
 * x are rows of the data that is kept to measure with, patches for convolutions, at most ROWS of a
 * layer. Sums of several layers are made in one pass over the data, as many as MOST_BYTES hold; a
 * layer whose own are larger is rounded to the nearest. */
#include "base/error.h"
#include "base/tensor.h"
#include "graph/shape/shape.h"
#include "quantizer/quantizer.h"

#include <math.h>
#include <string.h>

#define MOST_BYTES ((size_t)256 << 20)
#define ROWS 2048
/* Rows that go into the sums at a time, and channels that are rounded together. */
#define TOGETHER 8
#define LANES 16
/* Part of the mean of the diagonal that is added to it. */
#define DAMPING 0.01
#define DIMS 3

/* What the compiler makes of the vectors that the target has. */
#define WIDE 8
typedef float vector __attribute__((vector_size(WIDE * sizeof(float)), aligned(4), may_alias));

/* Sums of one layer: R^T R, then R, of each group. */
typedef struct moments {
    lt_quant_layer *layer;
    size_t k, groups;
    float *h; /* [groups][k][k], on and above the diagonal */
} moments;

/* Row i of h += sign * sum over r of rows[r][i] * rows[r], for i from `first` on. */
static void add_products(float *h, size_t k, size_t first, float *const rows[TOGETHER], float sign)
{
    for (size_t i = first; i < k; i++) {
        float *restrict to = h + i * k, by[TOGETHER];
        for (int r = 0; r < TOGETHER; r++) {
            by[r] = sign * rows[r][i];
        }
        size_t j = i;
        for (; j + WIDE <= k; j += WIDE) {
            vector sum = *(const vector *)(to + j);
            for (int r = 0; r < TOGETHER; r++) {
                sum += by[r] * *(const vector *)(rows[r] + j);
            }
            *(vector *)(to + j) = sum;
        }
        for (; j < k; j++) {
            for (int r = 0; r < TOGETHER; r++) {
                to[j] += by[r] * rows[r][j];
            }
        }
    }
}

/* Row i, from which rows before `first` are taken away already, of R; false when it is none. */
static bool finish_row(float *h, size_t k, size_t first, size_t i)
{
    float *row = h + i * k;
    for (size_t p = first; p < i; p++) {
        const float *above = h + p * k, by = above[i];
        for (size_t j = i; j < k; j++) {
            row[j] -= by * above[j];
        }
    }
    if (!(row[i] > 0)) {
        return false;
    }
    const float root = sqrtf(row[i]);
    for (size_t j = i; j < k; j++) {
        row[j] /= root;
    }
    return true;
}

/* h becomes R with R^T R = h, damped; false when it is not positive. */
static bool factorize(float *h, size_t k)
{
    double mean = 0;
    for (size_t i = 0; i < k; i++) {
        mean += (double)h[i * k + i] / (double)k;
    }
    if (!(mean > 0) || !isfinite(mean)) {
        return false;
    }
    for (size_t i = 0; i < k; i++) {
        h[i * k + i] += (float)(mean * DAMPING);
    }
    for (size_t first = 0; first < k; first += TOGETHER) {
        float *rows[TOGETHER];
        const size_t n = k - first < TOGETHER ? k - first : TOGETHER;
        for (size_t i = first; i < first + n; i++) {
            rows[i - first] = h + i * k;
            if (!finish_row(h, k, first, i)) {
                return false;
            }
        }
        if (n == TOGETHER) {
            add_products(h, k, first + n, rows, -1);
        }
    }
    return true;
}

/* --- rows of data -------------------------------------------------------------------------------
 */

/* A convolution's data, sums and windows; of a matrix product dims is 0. */
typedef struct patches {
    const float *x;
    const float *factors;       /* NULL: none */
    size_t channels, inputs, k; /* of all groups, of one, and with taps */
    int32_t dims;
    int64_t in[DIMS], kernel[DIMS], stride[DIMS], dilation[DIMS], before[DIMS], out[DIMS];
    uint64_t rows;
} patches;

/* Where the windows of a convolution lie; false: attributes that do not fit the data. */
static bool read_window(const leat_quantizer *q, const leat_node *node, const leat_value *w,
                        const leat_array *x, patches *out)
{
    lt_graph *graph = q->model->graph;
    lt_infer infer = {.graph = graph, .values = graph->values, .node = node, .concrete = true};
    lt_window window;
    out->dims = w->rank - 2;
    out->rows = (uint64_t)x->shape[0];
    if (out->dims > DIMS || x->rank != w->rank ||
        lt_window_read(&infer, out->dims, w->shape + 2, &window, NULL) != LEAT_OK) {
        return false;
    }
    for (int32_t d = 0; d < out->dims; d++) {
        out->in[d] = x->shape[d + 2];
        out->kernel[d] = window.kernel[d];
        out->stride[d] = window.stride[d];
        out->dilation[d] = window.dilation[d];
        if (lt_window_output(&infer, &window, d, out->in[d], &out->out[d], NULL) != LEAT_OK) {
            return false;
        }
        const int64_t reach = (out->kernel[d] - 1) * out->dilation[d] + 1;
        const int64_t least = (out->out[d] - 1) * out->stride[d] + reach - out->in[d];
        const int64_t all = least > 0 ? least : 0;
        out->before[d] = window.same ? (all + window.lower) / 2 : window.pad[d];
        out->rows *= (uint64_t)out->out[d];
    }
    return true;
}

static bool open_patches(const leat_quantizer *q, const moments *m, const leat_array *x,
                         patches *out)
{
    const lt_quant_layer *layer = m->layer;
    const leat_value *w = &q->model->graph->values[layer->node->inputs[1]];
    const bool conv = strcmp(layer->node->op, "Conv") == 0;
    *out = (patches){.x = x->data, .k = m->k, .inputs = m->k};
    out->factors = q->tensors[q->tensor_of[layer->x]].factors;
    if (x->rank < 1 || x->dtype != LEAT_DTYPE_F32) {
        return false;
    }
    if (!conv) {
        out->rows = x->bytes / sizeof(float) / m->k;
        return x->shape[x->rank - 1] == (int64_t)m->k;
    }
    out->inputs = (size_t)w->shape[1];
    out->channels = out->inputs * m->groups;
    return x->rank > 2 && x->shape[1] == (int64_t)out->channels &&
           read_window(q, layer->node, w, x, out);
}

/* Row `row` of one group, k numbers. */
static void read_patch(const patches *p, uint64_t row, size_t group, float *to)
{
    int64_t at[DIMS] = {0}, plane = 1;
    size_t taps = p->inputs > 0 ? p->k / p->inputs : 0;
    if (p->dims == 0) {
        for (size_t i = 0; i < p->k; i++) {
            to[i] = p->x[row * p->k + i] / (p->factors ? p->factors[i] : 1);
        }
        return;
    }
    for (int32_t d = p->dims - 1; d >= 0; d--) {
        at[d] = (int64_t)(row % (uint64_t)p->out[d]) * p->stride[d] - p->before[d];
        row /= (uint64_t)p->out[d];
        plane *= p->in[d];
    }
    const float *image = p->x + (row * p->channels + group * p->inputs) * (size_t)plane;
    for (size_t t = 0; t < taps; t++) {
        int64_t rest = (int64_t)t, from = 0, step = 1;
        bool inside = true;
        for (int32_t d = p->dims - 1; d >= 0; d--) {
            const int64_t i = at[d] + rest % p->kernel[d] * p->dilation[d];
            rest /= p->kernel[d];
            inside = inside && i >= 0 && i < p->in[d];
            from += i * step;
            step *= p->in[d];
        }
        for (size_t c = 0; c < p->inputs; c++) {
            to[c * taps + t] = inside ? image[c * (size_t)plane + (size_t)from] : 0;
        }
    }
}

/* Adds at most `most` of the batch's rows, evenly spread, to the layer's sums. */
static void add_batch(const leat_quantizer *q, moments *m, const leat_array *x, uint64_t most,
                      float *room)
{
    patches p;
    float *rows[TOGETHER];
    if (m->h == NULL || !open_patches(q, m, x, &p) || p.rows == 0) {
        return;
    }
    const uint64_t step = (p.rows - 1) / most + 1, count = (p.rows - 1) / step + 1;
    for (int r = 0; r < TOGETHER; r++) {
        rows[r] = room + (size_t)r * m->k;
    }
    for (size_t g = 0; g < m->groups; g++) {
        for (uint64_t i = 0; i < count; i += TOGETHER) {
            for (uint64_t r = 0; r < TOGETHER; r++) {
                if (i + r < count) {
                    read_patch(&p, (i + r) * step, g, rows[r]);
                } else {
                    memset(rows[r], 0, m->k * sizeof(float));
                }
            }
            add_products(m->h + g * m->k * m->k, m->k, 0, rows, 1);
        }
    }
}

/* --- rounding -----------------------------------------------------------------------------------
 */

/* LANES channels of one group, [k][LANES] each. */
typedef struct lanes {
    float *w, *step, *zero; /* of a level: w ~ step (level - zero) */
    float *level, *near;    /* by feedback, and the nearest */
    float *error, *near_error;
    double lost[LANES], near_lost[LANES]; /* |R (w - q)|^2 */
    float low, high;
} lanes;

static bool open_lanes(lanes *l, size_t k, lt_arena *scratch)
{
    float **arrays[] = {&l->w, &l->step, &l->zero, &l->level, &l->near, &l->error, &l->near_error};
    bool good = true;
    for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]) && good; i++) {
        *arrays[i] = lt_arena_array(scratch, k * LANES + 1, sizeof(float));
        good = *arrays[i] != NULL;
    }
    return good;
}

static float level_of(const lanes *l, size_t at, float w)
{
    return fmaxf(l->low, fminf(l->high, rintf(w / l->step[at]) + l->zero[at]));
}

/* Row j of R times the errors behind it. */
static void dot(const float *row, const float *error, size_t first, size_t k, float out[LANES])
{
    vector sum[LANES / WIDE] = {{0}};
    for (size_t i = first; i < k; i++) {
        for (size_t v = 0; v < LANES / WIDE; v++) {
            sum[v] += row[i] * *(const vector *)(error + i * LANES + v * WIDE);
        }
    }
    memcpy(out, sum, sizeof(sum));
}

static void round_lanes(const float *h, size_t k, lanes *l)
{
    float behind[LANES], near_behind[LANES];
    memset(l->lost, 0, sizeof(l->lost));
    memset(l->near_lost, 0, sizeof(l->near_lost));
    for (size_t i = 0; i < k * LANES; i++) {
        l->near[i] = level_of(l, i, l->w[i]);
        l->near_error[i] = l->w[i] - l->step[i] * (l->near[i] - l->zero[i]);
    }
    for (size_t j = k; j-- > 0;) {
        const float *row = h + j * k;
        dot(row, l->error, j + 1, k, behind);
        dot(row, l->near_error, j + 1, k, near_behind);
        for (size_t c = 0; c < LANES; c++) {
            const size_t at = j * LANES + c;
            l->level[at] = level_of(l, at, l->w[at] + behind[c] / row[j]);
            l->error[at] = l->w[at] - l->step[at] * (l->level[at] - l->zero[at]);
            const double e = (double)(row[j] * l->error[at] + behind[c]);
            const double n = (double)(row[j] * l->near_error[at] + near_behind[c]);
            l->lost[c] += e * e;
            l->near_lost[c] += n * n;
        }
    }
}

/* Where weight (k, c) of a layer lies, k counted in its group. */
static size_t place(const lt_quant_layer *layer, size_t k_all, size_t k, size_t c)
{
    return layer->axis == 1 ? k * layer->channels + c : c * k_all + k;
}

static int32_t get_level(const uint8_t *from, size_t at, int32_t bits)
{
    return bits == 8 ? (int8_t)from[at] : from[at / 2] >> at % 2 * 4 & 15;
}

static void set_level(uint8_t *to, size_t at, int32_t bits, int32_t level)
{
    const unsigned shift = at % 2 * 4;
    if (bits == 8) {
        to[at] = (uint8_t)level;
    } else {
        to[at / 2] = (uint8_t)((to[at / 2] & ~(15u << shift)) | (unsigned)level << shift);
    }
}

static void fill_lanes(const leat_quantizer *q, const moments *m, size_t first, size_t n, lanes *l)
{
    const lt_quant_layer *layer = m->layer;
    const leat_value *v = &q->model->graph->values[layer->node->inputs[1]];
    const float *factors = q->tensors[q->tensor_of[layer->x]].factors;
    const bool blocks = layer->blocks.levels != NULL;
    l->low = blocks && layer->blocks.bits == 4 ? 0 : -127;
    l->high = blocks && layer->blocks.bits == 4 ? 15 : 127;
    for (size_t i = 0; i < m->k; i++) {
        for (size_t c = 0; c < LANES; c++) {
            const size_t at = i * LANES + c, channel = first + c;
            l->w[at] = l->zero[at] = 0;
            l->step[at] = 1;
            if (c >= n) {
                continue;
            }
            memcpy(&l->w[at], (const char *)v->data + place(layer, m->k, i, channel) * 4, 4);
            l->w[at] *= !blocks && factors ? factors[i] : 1;
            if (blocks) {
                const size_t b = i / (size_t)q->block * layer->channels + channel;
                l->step[at] = layer->blocks.scales[b];
                l->zero[at] =
                    layer->blocks.bits == 4 ? (float)get_level(layer->blocks.zeros, b, 4) : 0;
            } else {
                l->step[at] = layer->scales[channel];
            }
        }
    }
}

/* Keeps what errs less, channel by channel; adds to the noise of the weights. */
static void keep_lanes(const moments *m, size_t first, size_t n, const lanes *l, double sums[2])
{
    lt_quant_layer *layer = m->layer;
    for (size_t c = 0; c < n; c++) {
        const bool better = l->lost[c] < l->near_lost[c];
        for (size_t i = 0; i < m->k; i++) {
            const size_t at = i * LANES + c;
            const int32_t level = (int32_t)(better ? l->level[at] : l->near[at]);
            const double error = (double)(better ? l->error[at] : l->near_error[at]);
            if (layer->blocks.levels != NULL) {
                set_level(layer->blocks.levels, i * layer->channels + first + c, layer->blocks.bits,
                          level);
            } else {
                layer->weights[place(layer, m->k, i, first + c)] = (int8_t)level;
            }
            sums[0] += (double)l->w[at] * (double)l->w[at];
            sums[1] += error * error;
        }
    }
}

/* Where nothing is known about the data all levels are the nearest. */
static void set_identity(float *h, size_t k)
{
    memset(h, 0, k * k * sizeof(*h));
    for (size_t i = 0; i < k; i++) {
        h[i * k + i] = 1;
    }
}

static void round_layer(leat_quantizer *q, moments *m, lanes *l)
{
    double sums[2] = {0, 0};
    const size_t each = m->layer->channels / m->groups;
    for (size_t g = 0; g < m->groups; g++) {
        float *h = m->h + g * m->k * m->k;
        if (!factorize(h, m->k)) {
            set_identity(h, m->k);
        }
        for (size_t c = 0; c < each; c += LANES) {
            const size_t n = each - c < LANES ? each - c : LANES;
            fill_lanes(q, m, g * each + c, n, l);
            round_lanes(h, m->k, l);
            keep_lanes(m, g * each + c, n, l, sums);
        }
    }
    m->layer->report.weight_sqnr_db = sums[1] > 0 ? 10 * log10(sums[0] / sums[1]) : INFINITY;
}

/* --- passes over the data -----------------------------------------------------------------------
 */

static bool size_of(const leat_quantizer *q, moments *m, lt_quant_layer *layer, size_t *out_bytes)
{
    const leat_value *w = &q->model->graph->values[layer->node->inputs[1]];
    const bool conv = strcmp(layer->node->op, "Conv") == 0;
    size_t count;
    *m = (moments){layer, w->bytes / sizeof(float) / layer->channels, 1, NULL};
    m->groups = conv ? (size_t)leat_node_int(layer->node, "group", 1) : 1;
    return m->groups > 0 && layer->channels % m->groups == 0 && lt_mul(m->k, m->k, &count) &&
           lt_mul(count, m->groups, &count) && lt_mul(count, sizeof(float), out_bytes) &&
           *out_bytes <= MOST_BYTES;
}

/* Runs the kept batches and sums up for the layers of one pass. */
static leat_status sum_up(leat_quantizer *q, moments *all, uint32_t count, float *room,
                          leat_error *err)
{
    const size_t n_inputs = leat_model_io(q->model)->n_inputs;
    const size_t n = q->tapped->graph->n_outputs;
    const uint64_t most = ROWS / q->n_batches > TOGETHER ? ROWS / q->n_batches : TOGETHER;
    leat_array *outputs =
        lt_alloc_zeroed(&q->context->memory, n * sizeof(*outputs) + 1, LT_ALIGNMENT);
    leat_status status =
        outputs ? LEAT_OK : lt_fail(err, LEAT_NO_MEMORY, "no memory to round weights");
    for (uint32_t b = 0; b < q->n_batches && status == LEAT_OK; b++) {
        const leat_array *inputs = q->batches[b].inputs;
        status = leat_session_run(q->session, inputs, n_inputs, outputs, n, err);
        for (uint32_t i = 0; i < count && status == LEAT_OK; i++) {
            add_batch(q, &all[i], lt_quant_tapped(q, all[i].layer->x, inputs, outputs), most, room);
        }
    }
    lt_free(&q->context->memory, outputs, n * sizeof(*outputs) + 1);
    return status;
}

/* Rounds layers from *first on, as many as fit. */
static leat_status round_some(leat_quantizer *q, uint32_t *first, lt_arena *scratch,
                              leat_error *err)
{
    moments *all = lt_arena_array(scratch, q->n_layers, sizeof(*all));
    size_t total = 0, bytes, most_k = 0;
    uint32_t count = 0;
    for (; all != NULL && *first < q->n_layers; ++*first) {
        moments *m = &all[count];
        if (!q->layers[*first].on || !size_of(q, m, &q->layers[*first], &bytes)) {
            continue;
        }
        if (total + bytes > MOST_BYTES) {
            break;
        }
        m->h = lt_arena_array(scratch, bytes / sizeof(float), sizeof(float));
        if (m->h == NULL) {
            return lt_fail(err, LEAT_NO_MEMORY, "no memory to round weights");
        }
        total += bytes;
        most_k = m->k > most_k ? m->k : most_k;
        count++;
    }
    lanes l;
    float *room = all && open_lanes(&l, most_k, scratch)
                      ? lt_arena_array(scratch, most_k * TOGETHER + 1, sizeof(*room))
                      : NULL;
    if (room == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory to round weights");
    }
    leat_status status = sum_up(q, all, count, room, err);
    for (uint32_t i = 0; i < count && status == LEAT_OK; i++) {
        round_layer(q, &all[i], &l);
        lt_model_release_pages(q->model);
        status = lt_quant_progress(q, "feedback", *first - count + i + 1, q->n_layers, err);
    }
    return status;
}

leat_status lt_quant_feedback(leat_quantizer *q, leat_error *err)
{
    if (q->n_batches == 0) {
        return lt_fail(err, LEAT_INVALID,
                       "rounding with error feedback needs data to try it on: feed some");
    }
    leat_status status = lt_quant_open_tapped(q, err);
    for (uint32_t first = 0; first < q->n_layers && status == LEAT_OK;) {
        lt_arena scratch;
        lt_arena_init(&scratch, &q->context->memory, 0);
        status = round_some(q, &first, &scratch, err);
        lt_arena_destroy(&scratch);
    }
    lt_quant_stop_feeding(q);
    return status;
}

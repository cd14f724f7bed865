/* SPDX-License-Identifier: Apache-2.0 */
/* Sums over rows x of a layer's data: x^T x, and its factor R.
 *
 * Rows are read into strips of WIDE columns, [strip][row][WIDE], and a tile of [WIDE][WIDE] of the
 * sums is a product of two strips, which stays in registers over the rows. The factor is made from
 * the first row to the last: a strip is finished and taken away from all behind it, by the same
 * products. Sums are f32; a product of two strips is bound by arithmetic, 4 vectors of products for
 * one that is read. */
#include "quantizer/feedback.h"

#include "graph/shape/shape.h"

#include <math.h>
#include <string.h>

#define WIDE LT_FEEDBACK_WIDE
#define HALF (WIDE / 2)
#define DIMS 3
/* Rows of a layer over all batches: so many for each that is summed over, within bounds. */
#define ROWS_EACH 16
#define LEAST_ROWS 512
#define MOST_ROWS 2048
/* Part of the mean of the diagonal that is added to it. */
#define DAMPING 0.01

typedef lt_feedback_vector vector;

static size_t padded(size_t k)
{
    return (k + WIDE - 1) / WIDE * WIDE;
}

size_t lt_feedback_floats(size_t k)
{
    const size_t all = padded(k);
    return (all * all + all * WIDE) / 2;
}

float *lt_feedback_row(float *h, size_t k, size_t i)
{
    const size_t strip = i / WIDE, all = padded(k);
    const size_t before = strip * WIDE * all - strip * (strip - (strip > 0)) / 2 * WIDE * WIDE;
    return h + before + i % WIDE * (all - strip * WIDE) - strip * WIDE;
}

/* --- products of strips -------------------------------------------------------------------------
 */

/* WIDE columns of `rows` rows, that are `stride` apart. */
typedef struct strip {
    const float *data;
    size_t stride;
} strip;

/* Rows [first, first + HALF) of a tile: to[i] += sign * sum over r of a[r][first + i] * b[r]. */
static void add_tile(float *to, size_t to_stride, strip a, size_t first, strip b, size_t rows,
                     float sign)
{
    vector low[HALF] = {{0}}, high[HALF] = {{0}};
    const float *left = a.data + first, *right = b.data;
    for (size_t r = 0; r < rows; r++, left += a.stride, right += b.stride) {
        const vector by_low = *(const vector *)right, by_high = *(const vector *)(right + HALF);
#pragma GCC unroll 4
        for (size_t i = 0; i < HALF; i++) {
            low[i] += left[i] * by_low;
            high[i] += left[i] * by_high;
        }
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < HALF; i++, to += to_stride) {
        *(vector *)to += sign * low[i];
        *(vector *)(to + HALF) += sign * high[i];
    }
}

/* Strip `at` of the triangle, its columns [from, k), += sign * a^T b, `b` being strips of columns
 * `b_step` apart. */
static void add_strip(float *h, size_t k, size_t at, strip a, strip b, size_t b_step, size_t rows,
                      float sign)
{
    const size_t all = padded(k), stride = all - at * WIDE;
    for (size_t j = at * WIDE; j < all; j += WIDE, b.data += b_step) {
        for (size_t first = 0; first < WIDE; first += HALF) {
            float *to = lt_feedback_row(h, k, at * WIDE + first) + j;
            add_tile(to, stride, a, first, b, rows, sign);
        }
    }
}

/* h += x^T x of rows in strips. */
static void add_panel(float *h, size_t k, const float *panel, size_t rows)
{
    for (size_t s = 0; s < padded(k) / WIDE; s++) {
        const strip columns = {panel + s * rows * WIDE, WIDE};
        add_strip(h, k, s, columns, columns, rows * WIDE, rows, 1);
    }
}

/* --- the factor ---------------------------------------------------------------------------------
 */

/* Row i, from which rows before its strip are taken away already, of R; false when it is none. */
static bool finish_row(float *h, size_t k, size_t i)
{
    float *row = lt_feedback_row(h, k, i);
    for (size_t p = i / WIDE * WIDE; p < i; p++) {
        const float *above = lt_feedback_row(h, k, p), by = above[i];
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

/* Adds to the diagonal; false when there is no data, or it was no data of numbers. */
static bool damp(float *h, size_t k)
{
    double mean = 0;
    for (size_t i = 0; i < k; i++) {
        mean += (double)lt_feedback_row(h, k, i)[i] / (double)k;
    }
    if (!(mean > 0) || !isfinite(mean)) {
        return false;
    }
    for (size_t i = 0; i < k; i++) {
        lt_feedback_row(h, k, i)[i] += (float)(mean * DAMPING);
    }
    return true;
}

void lt_feedback_factorize(lt_feedback_piece *piece)
{
    float *h = piece->h;
    const size_t k = piece->k;
    piece->triangle = false;
    if (!damp(h, k)) {
        return;
    }
    for (size_t first = 0; first < k; first += WIDE) {
        for (size_t i = first; i < first + WIDE && i < k; i++) {
            if (!finish_row(h, k, i)) {
                return;
            }
        }
        const size_t stride = padded(k) - first;
        const float *rows = lt_feedback_row(h, k, first);
        for (size_t at = first / WIDE + 1; at < padded(k) / WIDE; at++) {
            const strip columns = {rows + at * WIDE, stride};
            add_strip(h, k, at, columns, columns, WIDE, WIDE, -1);
        }
    }
    piece->triangle = true;
}

/* --- rows of data -------------------------------------------------------------------------------
 */

/* A convolution's data and windows; of a matrix product dims is 0. */
typedef struct patches {
    const float *x;
    const float *factors;         /* NULL: none */
    size_t channels, first, taps; /* of all groups; the piece's first one */
    size_t row_length;            /* of a matrix product's data */
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
        out->taps *= (size_t)out->kernel[d];
    }
    return true;
}

static bool open_patches(const leat_quantizer *q, const lt_feedback_piece *piece,
                         const leat_array *x, patches *out)
{
    const lt_quant_layer *layer = piece->layer;
    const leat_value *w = &q->model->graph->values[layer->node->inputs[1]];
    *out = (patches){.x = x->data, .taps = 1};
    if (x->rank < 1 || x->dtype != LEAT_DTYPE_F32) {
        return false;
    }
    if (strcmp(layer->node->op, "Conv") != 0) {
        const float *factors = q->tensors[q->tensor_of[layer->x]].factors;
        out->factors = factors ? factors + piece->first : NULL;
        out->x += piece->first;
        out->row_length = (size_t)x->shape[x->rank - 1];
        out->rows = out->row_length > 0 ? x->bytes / sizeof(float) / out->row_length : 0;
        return out->row_length == w->bytes / sizeof(float) / layer->channels;
    }
    out->channels = (size_t)x->shape[x->rank > 1];
    if (x->rank < 3 || !read_window(q, layer->node, w, x, out)) {
        return false;
    }
    const size_t groups = (size_t)leat_node_int(layer->node, "group", 1);
    out->first = piece->group * (size_t)w->shape[1] + piece->first / out->taps;
    return out->channels == groups * (size_t)w->shape[1];
}

/* Number i of row `row` goes to to[i / WIDE * strip + i % WIDE]. */
static void read_product_row(const patches *p, uint64_t row, size_t k, float *to, size_t strip_size)
{
    const float *x = p->x + row * p->row_length;
    for (size_t i = 0; i < k; i++) {
        to[i / WIDE * strip_size + i % WIDE] = x[i] / (p->factors ? p->factors[i] : 1);
    }
}

static void read_patch(const patches *p, uint64_t row, size_t k, float *to, size_t strip_size)
{
    static const float zero = 0; /* around the image */
    int64_t at[DIMS] = {0}, plane = 1;
    for (int32_t d = p->dims - 1; d >= 0; d--) {
        at[d] = (int64_t)(row % (uint64_t)p->out[d]) * p->stride[d] - p->before[d];
        row /= (uint64_t)p->out[d];
        plane *= p->in[d];
    }
    const float *image = p->x + (row * p->channels + p->first) * (size_t)plane;
    for (size_t t = 0; t < p->taps; t++) {
        int64_t rest = (int64_t)t, from = 0, step = 1;
        bool inside = true;
        for (int32_t d = p->dims - 1; d >= 0; d--) {
            const int64_t i = at[d] + rest % p->kernel[d] * p->dilation[d];
            rest /= p->kernel[d];
            inside = inside && i >= 0 && i < p->in[d];
            from += i * step;
            step *= p->in[d];
        }
        const float *x = inside ? image + from : &zero;
        const size_t hop = inside ? (size_t)plane : 0;
        for (size_t i = t, channel = 0; i < k; i += p->taps, channel += hop) {
            to[i / WIDE * strip_size + i % WIDE] = x[channel];
        }
    }
}

static uint64_t wanted_rows(size_t k)
{
    const uint64_t all = ROWS_EACH * (uint64_t)k;
    return all < LEAST_ROWS ? LEAST_ROWS : all > MOST_ROWS ? MOST_ROWS : all;
}

bool lt_feedback_full(const lt_feedback_piece *piece)
{
    return piece->rows >= wanted_rows(piece->k);
}

void lt_feedback_add(const leat_quantizer *q, lt_feedback_piece *piece, const leat_array *x,
                     float *room)
{
    patches p;
    const bool all = q->desc.feedback > 0 || q->n_batches < LT_FEEDBACK_BATCHES;
    const uint64_t batches = all ? q->n_batches : LT_FEEDBACK_BATCHES;
    if (lt_feedback_full(piece) || !open_patches(q, piece, x, &p) || p.rows == 0) {
        return;
    }
    /* of this batch, evenly spread */
    const uint64_t most = (wanted_rows(piece->k) - 1) / batches + 1;
    const uint64_t step = (p.rows - 1) / most + 1, count = (p.rows - 1) / step + 1;
    piece->rows += count;
    for (uint64_t first = 0; first < count; first += LT_FEEDBACK_PANEL) {
        const uint64_t rest = count - first;
        const size_t n = (size_t)(rest < LT_FEEDBACK_PANEL ? rest : LT_FEEDBACK_PANEL);
        memset(room + (padded(piece->k) - WIDE) * n, 0, n * WIDE * sizeof(*room));
        for (size_t r = 0; r < n; r++) {
            const uint64_t row = (first + r) * step;
            if (p.dims == 0) {
                read_product_row(&p, row, piece->k, room + r * WIDE, n * WIDE);
            } else {
                read_patch(&p, row, piece->k, room + r * WIDE, n * WIDE);
            }
        }
        add_panel(piece->h, piece->k, room, n);
    }
}

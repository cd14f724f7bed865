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
 * x are rows of the data that is kept to measure with, patches for convolutions. What a layer sums
 * over is cut into pieces that make up for themselves, of EACH numbers at most where it was not
 * asked for: work is then bounded for each weight, by about 2 EACH products, and memory by PASS, or
 * one layer's if that is more. Sums of several layers are made in one pass over the data, as many
 * as PASS holds; only what they need of the model runs. The last layers go first: then as little as
 * may be is quantized while all of the model is in memory to be run. */
#include "quantizer/feedback.h"

#include "base/error.h"
#include "base/tensor.h"

#include <math.h>
#include <string.h>

#define EACH 1280
#define EACH_ASKED 8192
#define PASS ((size_t)32 << 20)
#define MOST_BYTES ((size_t)256 << 20)
#define LANES LT_FEEDBACK_LANES

/* One pass over the data. */
typedef struct pass {
    leat_quantizer *q;
    lt_arena scratch;
    lt_feedback_piece *pieces;
    size_t n_pieces, most_k;
    lt_feedback_lanes *lanes; /* one a thread */
    float **rooms;            /* the same; NULL: the sums have no memory yet */
    /* of the batch that was run last */
    const leat_array *inputs, *outputs;
    /* of the layer that is rounded */
    size_t first_piece, end_piece, blocks; /* blocks of LANES channels of a group */
    double (*sums)[2];                     /* one a task */
} pass;

static leat_status no_memory(leat_error *err)
{
    return lt_fail(err, LEAT_NO_MEMORY, "no memory to round weights");
}

/* --- pieces -------------------------------------------------------------------------------------
 */

/* How a layer is cut. */
typedef struct cut {
    size_t k, groups, each; /* each: numbers of a piece, the last one's may be fewer */
    size_t pieces, bytes;   /* of the layer */
} cut;

/* False where the layer is too large, or odd. */
static bool cut_layer(const leat_quantizer *q, const lt_quant_layer *layer, cut *out)
{
    const leat_value *w = &q->model->graph->values[layer->node->inputs[1]];
    const bool conv = strcmp(layer->node->op, "Conv") == 0;
    const size_t most = q->desc.feedback > 0 ? EACH_ASKED : EACH;
    size_t taps = 1;
    for (int32_t d = 2; conv && d < w->rank; d++) {
        taps *= (size_t)w->shape[d];
    }
    out->k = w->bytes / sizeof(float) / layer->channels;
    out->groups = conv ? (size_t)leat_node_int(layer->node, "group", 1) : 1;
    if (out->k == 0 || out->groups == 0 || layer->channels % out->groups != 0 || taps > most) {
        return false;
    }
    const size_t inputs = out->k / taps, parts = (out->k - 1) / (most / taps * taps) + 1;
    out->each = ((inputs - 1) / parts + 1) * taps;
    const size_t in_group = (out->k - 1) / out->each + 1;
    return lt_mul(in_group, out->groups, &out->pieces) &&
           lt_mul(lt_feedback_floats(out->each) * sizeof(float), out->pieces, &out->bytes) &&
           out->bytes <= MOST_BYTES;
}

static void add_pieces(pass *p, lt_quant_layer *layer, const cut *c)
{
    for (size_t g = 0; g < c->groups; g++) {
        for (size_t first = 0; first < c->k; first += c->each) {
            const size_t k = c->k - first < c->each ? c->k - first : c->each;
            p->pieces[p->n_pieces++] = (lt_feedback_piece){layer, g, first, k, 0, NULL, false};
        }
    }
    p->most_k = c->each > p->most_k ? c->each : p->most_k;
}

/* Takes layers before *end, as many as fit. */
static leat_status take_layers(pass *p, uint32_t *end, leat_error *err)
{
    leat_quantizer *q = p->q;
    size_t count = 0, bytes = 0;
    uint32_t first = *end;
    cut c;
    for (; first > 0; first--) {
        if (q->layers[first - 1].on && cut_layer(q, &q->layers[first - 1], &c)) {
            if (bytes > 0 && bytes + c.bytes > PASS) {
                break;
            }
            bytes += c.bytes;
            count += c.pieces;
        }
    }
    p->pieces = lt_arena_array(&p->scratch, count + 1, sizeof(*p->pieces));
    if (p->pieces == NULL) {
        return no_memory(err);
    }
    for (; *end > first; --*end) {
        lt_quant_layer *layer = &q->layers[*end - 1];
        if (layer->on && cut_layer(q, layer, &c)) {
            add_pieces(p, layer, &c);
        }
    }
    return LEAT_OK;
}

/* The pieces' sums, and what threads work with: once the model's weights are where they stay, which
 * takes more memory for a while. */
static leat_status open_sums(pass *p, leat_error *err)
{
    const size_t n = lt_pool_threads(p->q->context->pool);
    const size_t columns = p->most_k + LT_FEEDBACK_WIDE;
    p->lanes = lt_arena_array(&p->scratch, n, sizeof(*p->lanes));
    p->rooms = lt_arena_array(&p->scratch, n, sizeof(*p->rooms));
    bool good = p->lanes != NULL && p->rooms != NULL;
    for (size_t i = 0; i < n && good; i++) {
        p->rooms[i] = lt_arena_array(&p->scratch, columns * LT_FEEDBACK_PANEL, sizeof(float));
        good = p->rooms[i] != NULL && lt_feedback_open_lanes(&p->lanes[i], p->most_k, &p->scratch);
    }
    for (size_t i = 0; i < p->n_pieces && good; i++) {
        const size_t floats = lt_feedback_floats(p->pieces[i].k);
        p->pieces[i].h = lt_arena_array(&p->scratch, floats, sizeof(float));
        good = p->pieces[i].h != NULL;
    }
    return good ? LEAT_OK : no_memory(err);
}

/* --- the data -----------------------------------------------------------------------------------
 */

static void add_task(void *argument, uint32_t task, uint32_t thread)
{
    pass *p = argument;
    lt_feedback_piece *piece = &p->pieces[task];
    const leat_array *x = lt_quant_tapped(p->q, piece->layer->x, p->inputs, p->outputs);
    lt_feedback_add(p->q, piece, x, p->rooms[thread]);
}

static void factorize_task(void *argument, uint32_t task, uint32_t thread)
{
    pass *p = argument;
    (void)thread;
    lt_feedback_factorize(&p->pieces[task]);
}

static bool is_full(const pass *p)
{
    for (size_t i = 0; i < p->n_pieces; i++) {
        if (!lt_feedback_full(&p->pieces[i])) {
            return false;
        }
    }
    return true;
}

/* Runs kept batches, spread over all, until the pieces are full, and sums up. */
static leat_status run_batches(pass *p, leat_array *outputs, leat_error *err)
{
    const leat_quantizer *q = p->q;
    const size_t n_inputs = leat_model_io(q->model)->n_inputs;
    const size_t n_outputs = q->tapped->graph->n_outputs;
    const uint32_t step = (q->n_batches - 1) / LT_FEEDBACK_BATCHES + 1;
    leat_status status = LEAT_OK;
    p->outputs = outputs;
    for (uint32_t first = 0; first < step; first++) {
        for (uint32_t b = first; b < q->n_batches && !is_full(p); b += step) {
            p->inputs = q->batches[b].inputs;
            status = leat_session_run(q->session, p->inputs, n_inputs, outputs, n_outputs, err);
            if (status == LEAT_OK && p->rooms == NULL) { /* the first run packs weights */
                lt_model_release_pages(q->model);
                status = open_sums(p, err);
            }
            if (status != LEAT_OK) {
                return status;
            }
            lt_pool_parallel(q->context->pool, (uint32_t)p->n_pieces, add_task, p);
        }
    }
    return LEAT_OK;
}

/* Makes R of all pieces, with as much of the model as the pass needs. */
static leat_status make_factors(pass *p, leat_error *err)
{
    leat_quantizer *q = p->q;
    bool *wanted = lt_arena_array(&p->scratch, q->n_tensors + 1u, sizeof(*wanted));
    if (wanted == NULL) {
        return no_memory(err);
    }
    for (size_t i = 0; i < p->n_pieces; i++) {
        wanted[q->tensor_of[p->pieces[i].layer->x]] = true;
    }
    leat_status status = lt_quant_open_tapped(q, wanted, err);
    if (status != LEAT_OK) {
        return status;
    }
    leat_array *outputs =
        lt_arena_array(&p->scratch, q->tapped->graph->n_outputs + 1u, sizeof(*outputs));
    status = outputs ? run_batches(p, outputs, err) : no_memory(err);
    lt_quant_stop_feeding(q);
    if (status == LEAT_OK) {
        lt_pool_parallel(q->context->pool, (uint32_t)p->n_pieces, factorize_task, p);
    }
    return status;
}

/* --- rounding -----------------------------------------------------------------------------------
 */

/* One block of channels of one group, all its pieces. */
static void round_task(void *argument, uint32_t task, uint32_t thread)
{
    pass *p = argument;
    const lt_feedback_piece *any = &p->pieces[p->first_piece];
    const size_t groups = p->pieces[p->end_piece - 1].group + 1;
    const size_t group = task / p->blocks, c = task % p->blocks * LANES;
    const size_t rest = any->layer->channels / groups - c;
    const size_t in_group = (p->end_piece - p->first_piece) / groups;
    for (size_t i = 0; i < in_group; i++) {
        lt_feedback_round(p->q, any + group * in_group + i, c, rest < LANES ? rest : LANES,
                          &p->lanes[thread], p->sums[task]);
    }
}

/* Pieces [first, end) are a layer's. */
static leat_status round_layer(pass *p, size_t first, size_t end, leat_error *err)
{
    lt_quant_layer *layer = p->pieces[first].layer;
    const size_t groups = p->pieces[end - 1].group + 1;
    double sums[2] = {0, 0};
    p->first_piece = first;
    p->end_piece = end;
    p->blocks = (layer->channels / groups - 1) / LANES + 1;
    const uint32_t tasks = (uint32_t)(groups * p->blocks);
    p->sums = lt_arena_array(&p->scratch, tasks, sizeof(*p->sums));
    if (p->sums == NULL) {
        return no_memory(err);
    }
    leat_status status = lt_quant_levels(p->q, layer, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (layer->blocks.levels == NULL) {
        lt_pool_parallel(p->q->context->pool, tasks, round_task, p);
    }
    for (uint32_t t = 0; t < tasks; t++) {
        if (layer->blocks.levels != NULL) { /* two channels may share a byte */
            round_task(p, t, 0);
        }
        sums[0] += p->sums[t][0];
        sums[1] += p->sums[t][1];
    }
    layer->report.weight_sqnr_db = sums[1] > 0 ? 10 * log10(sums[0] / sums[1]) : INFINITY;
    lt_model_release_pages(p->q->model);
    const uint64_t before = (uint64_t)(layer - p->q->layers);
    return lt_quant_progress(p->q, "feedback", p->q->n_layers - before, p->q->n_layers, err);
}

/* Rounds layers before *end, as many as fit. */
static leat_status round_some(leat_quantizer *q, uint32_t *end, leat_error *err)
{
    pass p = {.q = q};
    lt_arena_init(&p.scratch, &q->context->memory, 0);
    leat_status status = take_layers(&p, end, err);
    if (status == LEAT_OK && p.n_pieces > 0) {
        status = make_factors(&p, err);
    }
    for (size_t i = 0, last = 0; i < p.n_pieces && status == LEAT_OK; i = last) {
        while (last < p.n_pieces && p.pieces[last].layer == p.pieces[i].layer) {
            last++;
        }
        status = round_layer(&p, i, last, err);
    }
    lt_arena_destroy(&p.scratch);
    return status;
}

leat_status lt_quant_feedback(leat_quantizer *q, leat_error *err)
{
    leat_status status = LEAT_OK;
    if (q->n_batches == 0) {
        return lt_fail(err, LEAT_INVALID,
                       "rounding with error feedback needs data to try it on: feed some");
    }
    for (uint32_t end = q->n_layers; end > 0 && status == LEAT_OK;) {
        status = round_some(q, &end, err);
    }
    return status;
}

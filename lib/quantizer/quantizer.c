/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a quantizer: create, feed, finish, report. */
#include "quantizer/quantizer.h"

#include "base/error.h"
#include "onnx/writer.h"

#include <math.h>
#include <string.h>

static leat_status check_desc(const leat_quantizer_desc *desc, leat_error *err)
{
    if (desc->struct_size != sizeof(*desc)) {
        return lt_fail(err, LEAT_INVALID,
                       "leat_quantizer_desc.struct_size is %zu: set it to "
                       "sizeof(leat_quantizer_desc)",
                       desc->struct_size);
    }
    if ((desc->bits != 0 && desc->bits != 4 && desc->bits != 8) ||
        (desc->bits == 4 && desc->method == LEAT_QUANTIZE_STATIC)) {
        return lt_fail(err, LEAT_UNSUPPORTED,
                       "%d bits: 8, and for the weights alone 4, are supported", desc->bits);
    }
    if (desc->block != 0 &&
        (desc->block < 16 || desc->block > 256 || (desc->block & (desc->block - 1)) != 0)) {
        return lt_fail(err, LEAT_INVALID, "blocks of %d: give 16, 32, 64, 128 or 256", desc->block);
    }
    if ((unsigned)desc->method > LEAT_QUANTIZE_WEIGHTS ||
        (unsigned)desc->target > LEAT_QUANTIZE_FOR_ANY ||
        (unsigned)desc->range > LEAT_RANGE_ENTROPY || !(desc->max_drop >= 0) ||
        (desc->n_keep > 0 && desc->keep == NULL)) {
        return lt_fail(err, LEAT_INVALID, "leat_quantizer_desc: a field has no meaning");
    }
    return LEAT_OK;
}

leat_status leat_quantizer_create(leat_model *model, const leat_quantizer_desc *desc,
                                  leat_quantizer **out_quantizer, leat_error *err)
{
    static const leat_quantizer_desc defaults = {.struct_size = sizeof(defaults)};
    if (out_quantizer != NULL) {
        *out_quantizer = NULL;
    }
    if (model == NULL || out_quantizer == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_quantizer_create: an argument is NULL");
    }
    desc = desc ? desc : &defaults;
    leat_status status = check_desc(desc, err);
    if (status == LEAT_OK && model->no_optimization) {
        status = lt_fail(err, LEAT_INVALID,
                         "the model was loaded without optimization: load it with, so that "
                         "normalizations are folded");
    }
    leat_quantizer *q =
        status ? NULL : lt_alloc_zeroed(&model->context->memory, sizeof(*q), LT_ALIGNMENT);
    if (q == NULL) {
        return status ? status : lt_fail(err, LEAT_NO_MEMORY, "no memory for a quantizer");
    }
    q->context = model->context;
    q->model = model;
    q->desc = *desc;
    q->desc.keep = NULL;
    q->desc.cache = NULL;
    q->desc.n_keep = 0;
    q->bits = desc->bits == 4 ? 4 : 8;
    q->by_time = !desc->any_speed && desc->target == LEAT_QUANTIZE_FOR_CPU;
    q->block = desc->block ? desc->block : 32;
    q->all_labelled = true;
    q->drop = q->sqnr_db = NAN;
    q->drop_measure = "";
    lt_arena_init(&q->arena, &q->context->memory, 1u << 20);
    q->cache = desc->cache ? lt_arena_string(&q->arena, desc->cache) : NULL;
    status = desc->cache != NULL && q->cache == NULL
                 ? lt_fail(err, LEAT_NO_MEMORY, "no memory for a quantizer")
                 : lt_quant_select(q, desc, err);
    if (status == LEAT_OK && desc->equalize) {
        status = lt_quant_equalize(q, err);
    }
    if (status != LEAT_OK) {
        leat_quantizer_destroy(q);
        return status;
    }
    *out_quantizer = q;
    return LEAT_OK;
}

void leat_quantizer_destroy(leat_quantizer *q)
{
    if (q != NULL) {
        lt_quant_stop_feeding(q);
        lt_arena_destroy(&q->arena);
        leat_model_destroy(q->equalized);
        lt_free(&q->context->memory, q, sizeof(*q));
    }
}

leat_status leat_quantizer_feed(leat_quantizer *q, const leat_array *inputs, size_t n_inputs,
                                const int64_t *labels, size_t n_labels, leat_error *err)
{
    if (q == NULL || (inputs == NULL && n_inputs > 0) || (labels == NULL) != (n_labels == 0)) {
        return lt_fail(err, LEAT_INVALID, "leat_quantizer_feed: an argument is NULL");
    }
    if (q->finished) {
        return lt_fail(err, LEAT_INVALID, "the quantizer has finished: create another");
    }
    return lt_quant_feed(q, inputs, n_inputs, labels, n_labels, err);
}

leat_status lt_quant_progress(const leat_quantizer *q, const char *stage, uint64_t done,
                              uint64_t total, leat_error *err)
{
    if (q->desc.progress != NULL &&
        q->desc.progress(q->desc.progress_user, stage, done, total) != 0) {
        return lt_fail(err, LEAT_CANCELLED, "quantization was cancelled (%s)", stage);
    }
    return LEAT_OK;
}

/* --- finishing ----------------------------------------------------------------------------------
 */

/* Uses of each number of a convolution's data, from which on quantizing it at run time pays:
 * reading it twice and writing a byte takes about 0.15 ns, and each use saves about 0.01 ns (Zen
 * 4). */
#define LEAST_USES 16

/* Why a convolution is not quantized dynamically; NULL: it is. */
static const char *not_dynamic(const lt_graph *graph, const leat_node *node)
{
    const leat_value *w = &graph->values[node->inputs[1]];
    const leat_attr *strides = leat_node_attr(node, "strides");
    uint32_t bias = node->n_inputs > 2 ? node->inputs[2] : LEAT_NO_VALUE;
    double uses = (double)w->shape[0] / (double)leat_node_int(node, "group", 1);
    for (int32_t d = 2; d < w->rank; d++) {
        bool strided = strides != NULL && strides->count > (size_t)(d - 2);
        uses *= (double)w->shape[d] / (strided ? (double)strides->u.ints[d - 2] : 1);
    }
    if (uses < LEAST_USES) {
        return "each number is used too rarely for quantizing it to pay";
    }
    const leat_value *b = bias == LEAT_NO_VALUE ? NULL : &graph->values[bias];
    return b != NULL && (b->data == NULL || b->rank != 1) ? "its bias is no constant" : NULL;
}

/* Why a layer stays f32 with the method; NULL: it need not. */
static const char *not_by_method(const leat_quantizer *q, const lt_quant_layer *layer)
{
    const lt_graph *graph = q->model->graph;
    const leat_value *w = &graph->values[layer->node->inputs[1]];
    const bool conv = strcmp(layer->node->op, "Conv") == 0;
    if (q->method == LEAT_QUANTIZE_STATIC) {
        return NULL;
    }
    if (q->method == LEAT_QUANTIZE_DYNAMIC) {
        return conv ? not_dynamic(graph, layer->node) : NULL;
    }
    if (conv) {
        return "the method is for matrix products";
    }
    return w->shape[1 - layer->axis] % q->block == 0 ? NULL : "its rows are no whole blocks";
}

static leat_status choose_method(leat_quantizer *q, leat_error *err)
{
    q->method = q->bits == 4 ? LEAT_QUANTIZE_WEIGHTS : q->desc.method;
    if (q->method == LEAT_QUANTIZE_AUTO) {
        q->method = q->n_fed > 0 ? LEAT_QUANTIZE_STATIC : LEAT_QUANTIZE_DYNAMIC;
    }
    if (q->method == LEAT_QUANTIZE_STATIC && q->n_fed == 0) {
        return lt_fail(err, LEAT_INVALID,
                       "static quantization needs calibration data: feed some, or choose dynamic");
    }
    if (q->desc.max_drop > 0 && q->n_batches == 0) {
        return lt_fail(err, LEAT_INVALID,
                       "a bound on the drop needs data to measure it with: feed some");
    }
    uint32_t able = 0;
    for (uint32_t i = 0; i < q->n_layers; i++) {
        lt_quant_layer *layer = &q->layers[i];
        const char *reason = layer->able ? not_by_method(q, layer) : NULL;
        if (reason != NULL) {
            layer->able = false;
            layer->report.reason = reason;
        }
        layer->on = layer->able;
        able += layer->able;
    }
    return able ? LEAT_OK
                : lt_fail(err, LEAT_UNSUPPORTED,
                          "nothing to quantize: the method is for none of the model's products, or "
                          "they are kept (the static method, with calibration data, takes more)");
}

/* Constants that something reads. */
static leat_status constant_bytes(leat_quantizer *q, const lt_graph *graph, uint64_t *out,
                                  leat_error *err)
{
    lt_uses uses;
    leat_status status = lt_uses_build(graph, &q->arena, &uses, err);
    *out = 0;
    for (uint32_t i = 0; i < graph->n_values && status == LEAT_OK; i++) {
        bool counts = graph->values[i].data != NULL && uses.count[i] > 0;
        *out += counts ? graph->values[i].bytes : 0;
    }
    return status;
}

static void fill_layers(leat_quantizer *q)
{
    for (uint32_t i = 0; i < q->n_layers; i++) {
        lt_quant_layer *layer = &q->layers[i];
        layer->report.bits = layer->on ? q->bits : 32;
        if (layer->on && q->method == LEAT_QUANTIZE_STATIC) {
            const lt_quant_tensor *x = &q->tensors[q->tensor_of[layer->x]];
            layer->report.range = x->range;
            layer->report.scale = x->grid.scale;
            layer->report.zero_point = x->grid.zero;
        }
        layer->report.ns_before = layer->f32_ns;
        layer->report.ns_after = layer->own_ns;
        q->reports[i] = layer->report;
    }
}

/* Without data nothing shows what an error does to the outputs: layers that are expected to err by
 * more stay as they are. */
#define LEAST_DB 36.5 /* 1.5 % of a layer's results */

static void keep_doubtful(leat_quantizer *q)
{
    for (uint32_t i = 0; i < q->n_layers; i++) {
        lt_quant_layer *layer = &q->layers[i];
        if (layer->on && q->n_fed == 0 && layer->report.own_sqnr_db < LEAST_DB) {
            layer->on = false;
            layer->report.reason =
                "would err by more than 1.5 %, and there is no data to try it on";
        }
    }
}

/* Static products of 8 bits are rounded so unless it is not wanted: there it costs little, and the
 * data is there. */
static bool takes_feedback(const leat_quantizer *q)
{
    const bool usual = q->method == LEAT_QUANTIZE_STATIC && q->n_batches > 0;
    return q->desc.feedback > 0 || (q->desc.feedback == 0 && usual);
}

static leat_status make_weights(leat_quantizer *q, leat_error *err)
{
    leat_status status = takes_feedback(q) ? lt_quant_feedback(q, err) : LEAT_OK;
    for (uint32_t i = 0; i < q->n_layers && status == LEAT_OK; i++) {
        if (q->layers[i].on) {
            status = lt_quant_levels(q, &q->layers[i], err);
        }
    }
    lt_model_release_pages(q->model);
    return status;
}

/* Everything but writing. */
static leat_status decide(leat_quantizer *q, leat_error *err)
{
    lt_quant_score score;
    leat_status status = choose_method(q, err);
    lt_quant_cache_settle(q);
    const bool dynamic = q->method == LEAT_QUANTIZE_DYNAMIC;
    if (status == LEAT_OK && dynamic && q->n_fed == 0) {
        status = lt_quant_synthesize(q, err);
    }
    if (status == LEAT_OK && (dynamic || (q->method == LEAT_QUANTIZE_STATIC && q->desc.smooth))) {
        status = lt_quant_smooth(q, err);
        keep_doubtful(q);
    }
    status = status ? status : make_weights(q, err);
    if (status == LEAT_OK && q->method == LEAT_QUANTIZE_STATIC) {
        status = lt_quant_choose_ranges(q, err);
    }
    status = status ? status : lt_quant_cache_save(q, false, err);
    const bool chosen = status == LEAT_OK && lt_quant_cache_choose(q);
    if (!chosen) {
        status = status ? status : lt_quant_pay(q, err);
    }
    status = status ? status : lt_quant_measure(q, q->n_batches, &score, err);
    if (status != LEAT_OK) {
        return status;
    }
    q->sqnr_db = score.sqnr_db;
    q->drop = score.drop;
    bool over = q->desc.max_drop > 0 && score.drop > q->desc.max_drop;
    if (q->desc.sensitivity || over) {
        status = lt_quant_sensitivity(q, err);
    }
    if (chosen) {
        return status;
    }
    status = status ? status : lt_quant_revert(q, err);
    status = status ? status : lt_quant_never_slower(q, err);
    return status ? status : lt_quant_cache_save(q, true, err);
}

static leat_status write_result(leat_quantizer *q, const char *path, leat_error *err)
{
    lt_graph *graph;
    leat_model *model;
    leat_status status = lt_quant_build(q, &graph, err);
    lt_model_release_pages(q->model);
    if (status != LEAT_OK ||
        (status = lt_model_of_graph(q->context, graph, q->model, &model, err))) {
        return status;
    }
    status = constant_bytes(q, graph, &q->bytes_after, err);
    status = status ? status : lt_quant_time(q, model, &q->ns_after, err);
    status = status ? status : lt_onnx_write(graph, path, 0, err);
    leat_model_destroy(model);
    return status;
}

leat_status leat_quantizer_finish(leat_quantizer *q, const char *path, leat_error *err)
{
    if (q == NULL || path == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_quantizer_finish: an argument is NULL");
    }
    if (q->finished) {
        return lt_fail(err, LEAT_INVALID, "the quantizer has finished: create another");
    }
    lt_quant_stop_feeding(q);
    leat_status status = decide(q, err);
    q->finished = status == LEAT_OK || status == LEAT_LIMIT;
    status = status ? status : constant_bytes(q, q->model->graph, &q->bytes_before, err);
    status = status ? status : write_result(q, path, err);
    if (q->finished) {
        fill_layers(q); /* with the times of what was written */
    }
    return status;
}

/* The f32 model's time less what the layers save, each by its own times. */
static uint64_t predicted(const leat_quantizer *q)
{
    int64_t ns = (int64_t)q->ns_before;
    for (uint32_t i = 0; i < q->n_layers; i++) {
        const leat_quantized_layer *l = &q->reports[i];
        if (l->bits < 32 && l->ns_before > 0 && l->ns_after > 0) {
            ns -= (int64_t)l->ns_before - (int64_t)l->ns_after;
        }
    }
    return ns > 0 ? (uint64_t)ns : 0;
}

leat_status leat_quantizer_report_get(const leat_quantizer *q, leat_quantizer_report *out,
                                      leat_error *err)
{
    if (q == NULL || out == NULL || out->struct_size != sizeof(*out)) {
        return lt_fail(err, LEAT_INVALID,
                       "leat_quantizer_report_get: an argument is NULL, or struct_size is not "
                       "sizeof(leat_quantizer_report)");
    }
    if (!q->finished) {
        return lt_fail(err, LEAT_INVALID, "the quantizer has not finished yet");
    }
    *out = (leat_quantizer_report){.struct_size = sizeof(*out),
                                   .method = q->method,
                                   .n_layers = q->n_layers,
                                   .layers = q->reports,
                                   .n_batches = q->n_fed,
                                   .n_measured = q->n_batches,
                                   .bytes_before = q->bytes_before,
                                   .bytes_after = q->bytes_after,
                                   .sqnr_db = q->sqnr_db,
                                   .drop_measure = q->drop_measure,
                                   .drop = q->drop,
                                   .ns_before = q->ns_before,
                                   .ns_after = q->ns_after,
                                   .ns_predicted = predicted(q)};
    return LEAT_OK;
}

leat_status leat_quantize_file(leat_context *context, const char *model_path, const char *out_path,
                               const leat_quantizer_desc *desc, const char *calibration_data,
                               leat_error *err)
{
    const leat_quantizer_file file = {NULL, calibration_data};
    leat_model *model = NULL;
    leat_quantizer *q = NULL;
    leat_status status = leat_quantizer_load(context, model_path, out_path, &model, err);
    status = status ? status : leat_quantizer_create(model, desc, &q, err);
    if (status == LEAT_OK && calibration_data != NULL) {
        status = leat_quantizer_feed_files(q, &file, 1, NULL, err);
    }
    status = status ? status : leat_quantizer_finish(q, out_path, err);
    leat_quantizer_destroy(q);
    leat_model_destroy(model);
    return status;
}

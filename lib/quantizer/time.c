/* SPDX-License-Identifier: Apache-2.0 */
/* What 8 bits save, layer by layer, measured on this CPU, and which layers go back for it.
 *
 * A node's time belongs to the layer whose name it has; one that puts data on a grid to the layers
 * that read the data. Layers that are slower in 8 bits by their own times go back to f32, as long
 * as the whole becomes faster: where a layer goes back its neighbours may have to convert. A
 * pointwise convolution that f32 runs as one with the depthwise one behind it goes back with that
 * one: in 8 bits they are two. */
#include "base/clock.h"
#include "base/error.h"
#include "quantizer/quantizer.h"

#include <stdlib.h>
#include <string.h>

/* Runs of one measurement, beyond the first, which makes the plan. */
#define LEAST_RUNS 4
#define MOST_RUNS 200
#define FEW_RUNS 10 /* where nothing is decided by time */
#define MOST_NS 200000000u
#define ROUNDS 4

/* Behind the name of what is quantized, or of a product's result. */
static bool names(const char *node, const char *value, const char *const *endings)
{
    size_t n = strlen(value);
    for (; *endings != NULL && strncmp(node, value, n) == 0; endings++) {
        if (strncmp(node + n, *endings, strlen(*endings)) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_of(const leat_quantizer *q, const lt_quant_layer *layer, const char *node)
{
    static const char *const results[] = {"_integer", "_scaled", "_scales", "_float", "_sum", NULL};
    const leat_value *y = &q->model->graph->values[layer->node->outputs[0]];
    return strcmp(node, layer->report.name) == 0 || (layer->on && names(node, y->name, results));
}

/* A node that works on a layer's data. */
static bool feeds(const leat_quantizer *q, const lt_quant_layer *layer, const char *node)
{
    static const char *const data[] = {"_quantized", "_dequantized", "_smooth",
                                       "_again",     "_split",       NULL};
    return layer->on && names(node, q->model->graph->values[layer->x].name, data);
}

static void attribute(leat_quantizer *q, const leat_node_report *node, bool quantized)
{
    uint32_t readers = 0;
    for (uint32_t i = 0; i < q->n_layers; i++) {
        lt_quant_layer *layer = &q->layers[i];
        if (is_of(q, layer, node->name)) {
            *(quantized ? &layer->own_ns : &layer->f32_ns) += node->last_ns;
            return;
        }
        readers += quantized && feeds(q, layer, node->name);
    }
    for (uint32_t i = 0; i < q->n_layers && readers > 0; i++) {
        lt_quant_layer *layer = &q->layers[i];
        layer->own_ns += feeds(q, layer, node->name) ? node->last_ns / readers : 0;
    }
}

/* The layers' times, of the session's last run. Those that are f32 keep what they took in 8 bits.
 */
static leat_status read_layers(leat_quantizer *q, leat_session *session, bool quantized,
                               leat_error *err)
{
    leat_plan_report plan = {.struct_size = sizeof(plan)};
    leat_status status = leat_session_report(session, &plan, err);
    for (uint32_t i = 0; i < q->n_layers && status == LEAT_OK; i++) {
        if (!quantized) {
            q->layers[i].f32_ns = 0;
        } else if (q->layers[i].on) {
            q->layers[i].own_ns = 0;
        }
    }
    for (size_t i = 0; i < plan.n_nodes && status == LEAT_OK; i++) {
        attribute(q, &plan.nodes[i], quantized);
    }
    return status;
}

static leat_status time_model(leat_quantizer *q, leat_model *model, const leat_array *inputs,
                              size_t n_inputs, bool quantized, uint64_t *out_ns, leat_error *err)
{
    const leat_session_desc desc = {.struct_size = sizeof(desc), .profile = 1};
    const size_t n = leat_model_io(model)->n_outputs, bytes = n * sizeof(leat_array) + 1;
    leat_session *session;
    leat_array *outputs = lt_alloc_zeroed(&q->context->memory, bytes, LT_ALIGNMENT);
    if (outputs == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory to measure a model");
    }
    leat_status status = leat_session_create(model, &desc, &session, err);
    const uint64_t begin = lt_clock_ns();
    const int most = q->by_time ? MOST_RUNS : FEW_RUNS;
    for (int i = 0; i <= most && status == LEAT_OK; i++) {
        uint64_t start = lt_clock_ns();
        status = leat_session_run(session, inputs, n_inputs, outputs, n, err);
        uint64_t ns = lt_clock_ns() - start;
        if (status == LEAT_OK && i > 0 && (*out_ns == 0 || ns < *out_ns)) {
            *out_ns = ns;
            status = read_layers(q, session, quantized, err);
        }
        if (i >= LEAST_RUNS && lt_clock_ns() - begin > MOST_NS) {
            break;
        }
    }
    leat_session_destroy(session);
    lt_free(&q->context->memory, outputs, bytes);
    return status;
}

leat_status lt_quant_time_source(leat_quantizer *q, const leat_array *inputs, size_t n_inputs,
                                 leat_error *err)
{
    q->ns_before = 0;
    return time_model(q, q->model, inputs, n_inputs, false, &q->ns_before, err);
}

leat_status lt_quant_time(leat_quantizer *q, leat_model *variant, uint64_t *out_ns, leat_error *err)
{
    *out_ns = 0;
    return q->first == NULL ? LEAT_OK
                            : time_model(q, variant, q->first, leat_model_io(q->model)->n_inputs,
                                         true, out_ns, err);
}

/* --- deciding -----------------------------------------------------------------------------------
 */

/* Times what the layers' `on` makes. */
static leat_status time_variant(leat_quantizer *q, uint64_t *out_ns, leat_error *err)
{
    lt_graph *graph;
    leat_model *model;
    leat_status status = lt_quant_build(q, &graph, err);
    lt_model_release_pages(q->model);
    if (status != LEAT_OK ||
        (status = lt_model_of_graph(q->context, graph, q->model, &model, err))) {
        return status;
    }
    status = lt_quant_time(q, model, out_ns, err);
    leat_model_destroy(model);
    return status;
}

typedef struct loser {
    int64_t loss; /* nanoseconds that the layer takes more in 8 bits */
    lt_quant_layer *layer;
    lt_quant_layer *with; /* in 8 bits too, and part of the layer's node in f32; NULL: none */
} loser;

static int by_loss(const void *a, const void *b)
{
    const loser *x = a, *y = b;
    if (x->loss != y->loss) {
        return x->loss > y->loss ? -1 : 1;
    }
    return x->layer < y->layer ? -1 : 1;
}

/* Whether a node goes on with `value` of the chain that begins with `first`: beside them it reads
 * constants only, as the parts of an activation do. */
static bool goes_on(const lt_graph *graph, const leat_node *node, uint32_t first, uint32_t value)
{
    bool reads = false;
    for (uint32_t i = 0; i < node->n_inputs; i++) {
        const uint32_t in = node->inputs[i];
        reads |= in == value;
        if (in != value && in != first && in != LEAT_NO_VALUE && graph->values[in].data == NULL) {
            return false;
        }
    }
    return reads;
}

/* The depthwise convolution behind a layer, with an activation between them at most; NULL: none. */
static lt_quant_layer *depthwise_behind(leat_quantizer *q, const lt_quant_layer *layer)
{
    const lt_graph *graph = q->model->graph;
    const uint32_t first = layer->node->outputs[0];
    uint32_t value = first;
    for (uint32_t n = layer->position + 1; n < graph->n_nodes; n++) {
        const leat_node *node = graph->nodes[n];
        if (!goes_on(graph, node, first, value)) {
            continue;
        }
        for (lt_quant_layer *l = q->layers; l < q->layers + q->n_layers; l++) {
            if (l->node == node) {
                return leat_node_int(node, "group", 1) > 1 ? l : NULL;
            }
        }
        value = node->outputs[0];
    }
    return NULL;
}

/* For each layer the one that is part of its node in f32, of those whose times in 8 bits are known;
 * NULL: no memory. */
static lt_quant_layer **list_parts(leat_quantizer *q)
{
    lt_quant_layer **parts = lt_arena_array(&q->arena, q->n_layers + 1u, sizeof(lt_quant_layer *));
    for (uint32_t i = 0; i < q->n_layers && parts != NULL; i++) {
        lt_quant_layer *layer = &q->layers[i];
        lt_quant_layer *behind = layer->on && layer->f32_ns == 0 && layer->own_ns > 0
                                     ? depthwise_behind(q, layer)
                                     : NULL;
        if (behind != NULL && behind->on && behind->f32_ns > 0 && behind->own_ns > 0) {
            parts[behind - q->layers] = layer;
        }
    }
    return parts;
}

/* The layers that are on, those that lose most first; NULL: no memory. */
static loser *list(leat_quantizer *q, uint32_t *out_count, leat_error *err)
{
    loser *all = lt_arena_array(&q->arena, q->n_layers + 1u, sizeof(*all));
    lt_quant_layer **parts = list_parts(q);
    *out_count = 0;
    for (uint32_t i = 0; i < q->n_layers && all != NULL && parts != NULL; i++) {
        lt_quant_layer *layer = &q->layers[i], *part = parts[i];
        if (layer->on) { /* what is not known loses nothing */
            bool known = layer->f32_ns > 0 && layer->own_ns > 0;
            uint64_t own = layer->own_ns + (part ? part->own_ns : 0);
            all[(*out_count)++] =
                (loser){known ? (int64_t)own - (int64_t)layer->f32_ns : 0, layer, part};
        }
    }
    if (all == NULL || parts == NULL) {
        (void)lt_fail(err, LEAT_NO_MEMORY, "no memory to measure a model");
        return NULL;
    }
    qsort(all, *out_count, sizeof(*all), by_loss);
    return all;
}

static void switch_layers(const loser *all, uint32_t n, bool on)
{
    for (uint32_t i = 0; i < n; i++) {
        all[i].layer->on = on;
        if (all[i].with != NULL) {
            all[i].with->on = on;
        }
    }
}

/* Whether the whole is still slower with all of them: the machine may have been disturbed when that
 * was measured first. */
static leat_status confirm(leat_quantizer *q, const loser *all, uint32_t n, uint64_t ns, bool *out,
                           leat_error *err)
{
    uint64_t with = 0;
    switch_layers(all, n, true);
    leat_status status = time_variant(q, &with, err);
    switch_layers(all, n, false);
    *out = ns < with - with / 128;
    return status;
}

/* The first n go back when the whole then takes less than `limit`; *now is its time then, and
 * *out_taken true. */
static leat_status try_without(leat_quantizer *q, const loser *all, uint32_t n, uint64_t limit,
                               lt_quant_back why, uint64_t *now, bool *out_taken, leat_error *err)
{
    uint64_t ns = 0;
    switch_layers(all, n, false);
    leat_status status = time_variant(q, &ns, err);
    *out_taken = status == LEAT_OK && ns < limit;
    if (*out_taken && why == LT_QUANT_SLOWER) {
        status = confirm(q, all, n, ns, out_taken, err);
    }
    if (*out_taken) {
        *now = ns;
    } else {
        switch_layers(all, n, true);
    }
    for (uint32_t i = 0; i < n && *out_taken; i++) {
        lt_quant_take_back(all[i].layer, why);
        if (all[i].with != NULL) {
            lt_quant_take_back(all[i].with, why);
        }
    }
    return status;
}

static bool decides(const leat_quantizer *q)
{
    return q->by_time && q->first != NULL && q->method != LEAT_QUANTIZE_WEIGHTS;
}

leat_status lt_quant_pay(leat_quantizer *q, leat_error *err)
{
    uint64_t now = 0;
    if (!decides(q)) {
        return LEAT_OK;
    }
    leat_status status = time_variant(q, &now, err);
    bool taken = true;
    for (int round = 0; round < ROUNDS && taken && status == LEAT_OK; round++) {
        uint32_t count, n = 0;
        loser *all = list(q, &count, err);
        if (all == NULL) {
            return LEAT_NO_MEMORY;
        }
        while (n < count && all[n].loss > (int64_t)(all[n].layer->f32_ns / 32)) {
            n++;
        }
        taken = false;
        for (uint32_t some = n; some > 0 && !taken && some > n / 8 && status == LEAT_OK;
             some /= 2) {
            status = try_without(q, all, some, now - now / 128, LT_QUANT_SLOWER, &now, &taken, err);
        }
        status = status ? status : lt_quant_progress(q, "time", (uint64_t)round + 1, ROUNDS, err);
    }
    return status;
}

leat_status lt_quant_never_slower(leat_quantizer *q, leat_error *err)
{
    lt_quant_score score;
    uint32_t count;
    uint64_t now = 0;
    bool taken = false;
    loser *all = decides(q) ? list(q, &count, err) : NULL;
    if (!decides(q) || all == NULL) {
        return decides(q) ? LEAT_NO_MEMORY : LEAT_OK;
    }
    leat_status status = count > 0 ? time_variant(q, &now, err) : LEAT_OK;
    if (status != LEAT_OK || now < q->ns_before - q->ns_before / 8) {
        return status; /* or nothing is quantized */
    }
    status = lt_quant_time_source(q, q->first, leat_model_io(q->model)->n_inputs, err);
    uint64_t limit = q->ns_before - q->ns_before / 32;
    if (status != LEAT_OK || now < limit) {
        return status;
    }
    for (uint32_t left = count / 2; left > 0 && !taken && status == LEAT_OK; left /= 2) {
        status = try_without(q, all, count - left, limit, LT_QUANT_NO_FASTER, &now, &taken, err);
    }
    if (status == LEAT_OK && !taken) {
        status = try_without(q, all, count, UINT64_MAX, LT_QUANT_NO_FASTER, &now, &taken, err);
    }
    status = status ? status : lt_quant_measure(q, q->n_batches, &score, err);
    if (status == LEAT_OK) {
        q->sqnr_db = score.sqnr_db;
        q->drop = score.drop;
    }
    return status;
}

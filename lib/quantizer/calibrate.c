/* SPDX-License-Identifier: Apache-2.0 */
/* Feeding: the f32 model runs with its tensors as further outputs, and they are counted. */
#include "base/error.h"
#include "base/tensor.h"
#include "graph/infer.h"
#include "passes/passes.h"
#include "quantizer/quantizer.h"

#include <string.h>

#define MOST_BATCHES 64
#define MOST_BATCH_BYTES (24u << 20)

static leat_status no_memory(leat_error *err)
{
    return lt_fail(err, LEAT_NO_MEMORY, "no memory to calibrate");
}

/* --- the tapped model ---------------------------------------------------------------------------
 */

static bool is_among(const uint32_t *values, uint32_t count, uint32_t value)
{
    for (uint32_t i = 0; i < count; i++) {
        if (values[i] == value) {
            return true;
        }
    }
    return false;
}

/* Makes tensors outputs too; with `wanted` only those, and nothing else is computed. */
static leat_status add_taps(const leat_quantizer *q, lt_graph *graph, const bool *wanted,
                            leat_error *err)
{
    const lt_pass_context context = {.user = NULL};
    const uint32_t given = graph->n_outputs;
    bool changed;
    uint32_t *outputs = lt_arena_array(lt_graph_arena(graph), graph->n_outputs + q->n_tensors + 1u,
                                       sizeof(*outputs));
    if (outputs == NULL) {
        return no_memory(err);
    }
    memcpy(outputs, graph->outputs, graph->n_outputs * sizeof(*outputs));
    graph->outputs = outputs;
    graph->n_outputs = wanted ? 0 : given;
    for (uint32_t i = 0; i < q->n_tensors; i++) {
        uint32_t value = q->tensors[i].value;
        if ((wanted == NULL || wanted[i]) && !is_among(graph->inputs, graph->n_inputs, value) &&
            !is_among(graph->outputs, graph->n_outputs, value)) {
            graph->outputs[graph->n_outputs++] = value;
        }
    }
    if (graph->n_outputs == 0) { /* inputs alone are wanted, but a model has outputs */
        graph->n_outputs = given;
    }
    return wanted ? lt_pass_remove_dead(graph, &context, &changed, err) : LEAT_OK;
}

/* Plain algorithms: their weights take less memory, and they round less. */
leat_status lt_quant_open_tapped(leat_quantizer *q, const bool *wanted, leat_error *err)
{
    const leat_session_desc desc = {.struct_size = sizeof(desc), .plain_algorithms = 1};
    lt_graph *graph;
    leat_status status = lt_graph_clone(q->model->graph, &graph, err);
    if (status != LEAT_OK) {
        return status;
    }
    status = add_taps(q, graph, wanted, err);
    if (status != LEAT_OK) {
        lt_graph_destroy(graph);
        return status;
    }
    status = lt_model_of_graph(q->context, graph, q->model, &q->tapped, err);
    return status ? status : leat_session_create(q->tapped, &desc, &q->session, err);
}

const leat_array *lt_quant_tapped(const leat_quantizer *q, uint32_t value, const leat_array *inputs,
                                  const leat_array *outputs)
{
    const lt_graph *graph = q->tapped->graph;
    for (uint32_t i = 0; i < graph->n_inputs; i++) {
        if (graph->inputs[i] == value) {
            return &inputs[i];
        }
    }
    for (uint32_t i = 0; i < graph->n_outputs; i++) {
        if (graph->outputs[i] == value) {
            return &outputs[i];
        }
    }
    return NULL; /* never: every tensor is one of them */
}

/* --- counting -----------------------------------------------------------------------------------
 */

static bool is_finite(const leat_array *array)
{
    const float *data = array->data;
    float sum = 0;
    for (size_t i = 0; array->dtype == LEAT_DTYPE_F32 && i < array->bytes / sizeof(float); i++) {
        sum += data[i] * 0.0f;
    }
    return sum == 0;
}

static leat_status check_finite(const leat_quantizer *q, const leat_array *inputs,
                                const leat_array *outputs, leat_error *err)
{
    const lt_graph *graph = q->tapped->graph;
    for (uint32_t i = 0; i < graph->n_inputs + graph->n_outputs; i++) {
        bool in = i < graph->n_inputs;
        const leat_array *array = in ? &inputs[i] : &outputs[i - graph->n_inputs];
        uint32_t value = in ? graph->inputs[i] : graph->outputs[i - graph->n_inputs];
        if (!is_finite(array)) {
            return lt_fail(
                err, LEAT_INVALID, "batch %llu: %s '%s' holds NaN or infinity: leave the batch out",
                (unsigned long long)q->n_fed, in ? "input" : "tensor", graph->values[value].name);
        }
    }
    return LEAT_OK;
}

/* The channels that the layers sum over, from the shapes of the first run. */
static leat_status prepare_sums(leat_quantizer *q, const leat_array *inputs,
                                const leat_array *outputs, leat_error *err)
{
    for (uint32_t i = 0; i < q->n_layers; i++) {
        const lt_quant_layer *layer = &q->layers[i];
        bool conv = strcmp(layer->node->op, "Conv") == 0;
        if (q->tensor_of[layer->x] == LT_QUANT_NONE) {
            continue;
        }
        lt_quant_tensor *x = &q->tensors[q->tensor_of[layer->x]];
        const leat_array *array = lt_quant_tapped(q, layer->x, inputs, outputs);
        if (x->sums != NULL || array->rank < 2) {
            continue;
        }
        size_t channels = (size_t)array->shape[conv ? 1 : array->rank - 1];
        x->sums = lt_arena_array(&q->arena, channels + 1, sizeof(*x->sums));
        if (x->sums == NULL) {
            return no_memory(err);
        }
        x->axis = conv ? 1 : -1;
        x->channels = channels;
        if (!conv) {
            x->least = lt_arena_array(&q->arena, channels + 1, sizeof(*x->least));
            x->most = lt_arena_array(&q->arena, channels + 1, sizeof(*x->most));
            x->squares = lt_arena_array(&q->arena, channels + 1, sizeof(*x->squares));
            if (x->least == NULL || x->most == NULL || x->squares == NULL) {
                return no_memory(err);
            }
        }
    }
    return LEAT_OK;
}

/* One row of the channels of the last axis. */
static void add_row(lt_quant_tensor *x, const float *row)
{
    for (size_t c = 0; c < x->channels; c++) {
        x->sums[c] += (double)row[c];
        x->squares[c] += (double)row[c] * (double)row[c];
        x->least[c] = row[c] < x->least[c] ? row[c] : x->least[c];
        x->most[c] = row[c] > x->most[c] ? row[c] : x->most[c];
    }
}

static void add_sums(lt_quant_tensor *x, const leat_array *array)
{
    const float *data = array->data;
    size_t inner = 1, all = array->bytes / sizeof(float);
    int32_t axis = x->axis < 0 ? array->rank - 1 : x->axis;
    if (x->channels == 0) {
        return;
    }
    if (axis >= array->rank || (size_t)array->shape[axis] != x->channels) {
        x->channels = 0; /* another number of channels than before: there is no mean */
        return;
    }
    for (int32_t d = axis + 1; d < array->rank; d++) {
        inner *= (size_t)array->shape[d];
    }
    if (x->squares != NULL) {
        for (size_t at = 0; at < all; at += x->channels) {
            add_row(x, data + at);
        }
        return;
    }
    for (size_t at = 0; at < all && inner > 0; at += x->channels * inner) {
        for (size_t c = 0; c < x->channels; c++) {
            double sum = 0;
            for (size_t i = 0; i < inner; i++) {
                sum += (double)data[at + c * inner + i];
            }
            x->sums[c] += sum;
        }
    }
}

static leat_status count_tensors(leat_quantizer *q, const leat_array *inputs,
                                 const leat_array *outputs, leat_error *err)
{
    for (uint32_t i = 0; i < q->n_tensors; i++) {
        if (q->tensors[i].histogram == NULL) {
            q->tensors[i].histogram = lt_arena_alloc(&q->arena, sizeof(lt_histogram), LT_ALIGNMENT);
            if (q->tensors[i].histogram == NULL) {
                return no_memory(err);
            }
        }
    }
    for (uint32_t i = 0; i < q->n_tensors; i++) {
        const leat_array *array = lt_quant_tapped(q, q->tensors[i].value, inputs, outputs);
        (void)lt_histogram_add(q->tensors[i].histogram, array->data, array->bytes / sizeof(float));
        add_sums(&q->tensors[i], array);
    }
    return LEAT_OK;
}

/* Operations of each layer, from the shapes of this run. */
static leat_status count_flops(leat_quantizer *q, const leat_array *inputs,
                               const leat_array *outputs, leat_error *err)
{
    lt_graph *graph = q->model->graph;
    size_t bytes;
    leat_value *values = lt_mul(graph->n_values + 1u, sizeof(*values), &bytes)
                             ? lt_alloc(&q->context->memory, bytes, LT_ALIGNMENT)
                             : NULL;
    if (values == NULL) {
        return no_memory(err);
    }
    memcpy(values, graph->values, graph->n_values * sizeof(*values));
    for (uint32_t i = 0; i < q->n_layers; i++) {
        lt_quant_layer *layer = &q->layers[i];
        const leat_value *w = &values[layer->node->inputs[1]];
        const leat_array *x = q->tensor_of[layer->x] == LT_QUANT_NONE
                                  ? NULL
                                  : lt_quant_tapped(q, layer->x, inputs, outputs);
        if (x == NULL) { /* kept by the caller */
            continue;
        }
        values[layer->x].rank = x->rank;
        memcpy(values[layer->x].shape, x->shape, sizeof(x->shape));
        lt_infer infer = {
            .graph = graph, .values = values, .concrete = true, .needs = LEAT_NO_VALUE};
        size_t count;
        if (lt_infer_node(&infer, layer->node, NULL) == LEAT_OK) {
            const leat_value *y = &values[layer->node->outputs[0]];
            if (lt_shape_count(y->rank, y->shape, &count)) {
                layer->report.flops =
                    2 * (uint64_t)count * (w->bytes / sizeof(float) / layer->channels);
            }
        }
    }
    lt_free(&q->context->memory, values, bytes);
    return LEAT_OK;
}

/* --- batches that are kept ----------------------------------------------------------------------
 */

static leat_status copy_arrays(leat_quantizer *q, const leat_array *from, size_t count,
                               leat_array **out, leat_error *err)
{
    *out = lt_arena_array(&q->arena, count + 1, sizeof(**out));
    for (size_t i = 0; *out != NULL && i < count; i++) {
        (*out)[i] = from[i];
        (*out)[i].data = lt_arena_take(&q->arena, from[i].bytes + 1, LT_ALIGNMENT);
        if ((*out)[i].data == NULL) {
            return no_memory(err);
        }
        memcpy((*out)[i].data, from[i].data, from[i].bytes);
    }
    return *out ? LEAT_OK : no_memory(err);
}

/* Containers and strings point at more than their bytes: such batches are not kept. */
static bool is_plain(const leat_array *arrays, size_t count, uint64_t *bytes)
{
    for (size_t i = 0; i < count; i++) {
        if (arrays[i].dtype >= LEAT_DTYPE_COUNT || arrays[i].dtype == LEAT_DTYPE_STRING) {
            return false;
        }
        *bytes += arrays[i].bytes;
    }
    return true;
}

static leat_status keep_first(leat_quantizer *q, const leat_array *inputs, leat_error *err)
{
    const leat_model_signature *io = leat_model_io(q->model);
    uint64_t bytes = 0;
    q->first = NULL;
    return is_plain(inputs, io->n_inputs, &bytes)
               ? copy_arrays(q, inputs, io->n_inputs, &q->first, err)
               : LEAT_OK;
}

static leat_status keep(leat_quantizer *q, const leat_array *inputs, const leat_array *outputs,
                        const int64_t *labels, size_t n_labels, leat_error *err)
{
    const leat_model_signature *io = leat_model_io(q->model);
    uint64_t bytes = q->batch_bytes;
    if (q->synthetic || q->n_batches == MOST_BATCHES || !is_plain(inputs, io->n_inputs, &bytes) ||
        !is_plain(outputs, io->n_outputs, &bytes) ||
        (bytes > MOST_BATCH_BYTES && q->n_batches > 0)) {
        q->full = true;
        return LEAT_OK;
    }
    if (q->batches == NULL) {
        q->batches = lt_arena_array(&q->arena, MOST_BATCHES, sizeof(*q->batches));
        if (q->batches == NULL) {
            return no_memory(err);
        }
    }
    lt_quant_batch *batch = &q->batches[q->n_batches];
    leat_status status = LEAT_OK;
    if (q->n_batches == 0 && q->first != NULL) {
        batch->inputs = q->first;
    } else {
        status = copy_arrays(q, inputs, io->n_inputs, &batch->inputs, err);
    }
    status = status ? status : copy_arrays(q, outputs, io->n_outputs, &batch->outputs, err);
    if (status == LEAT_OK && n_labels > 0) {
        batch->n_labels = n_labels;
        batch->labels = lt_arena_copy(&q->arena, labels, n_labels * sizeof(*labels));
        status = batch->labels ? LEAT_OK : no_memory(err);
    }
    if (status == LEAT_OK) {
        q->n_batches++;
        q->batch_bytes = bytes;
    }
    return status;
}

/* ------------------------------------------------------------------------------------------------
 */

static leat_status check_labels(const leat_array *first, const int64_t *labels, size_t n_labels,
                                leat_error *err)
{
    if (n_labels == 0) {
        return LEAT_OK;
    }
    if (first->rank != 2 || first->dtype != LEAT_DTYPE_F32 || (size_t)first->shape[0] != n_labels) {
        return lt_fail(err, LEAT_INVALID,
                       "%zu labels, but the first output is no f32 array of [%zu, classes]",
                       n_labels, n_labels);
    }
    for (size_t i = 0; i < n_labels; i++) {
        if (labels[i] < 0 || labels[i] >= first->shape[1]) {
            return lt_fail(err, LEAT_INVALID, "label %lld of row %zu is not in [0, %lld)",
                           (long long)labels[i], i, (long long)first->shape[1]);
        }
    }
    return LEAT_OK;
}

leat_status lt_quant_feed(leat_quantizer *q, const leat_array *inputs, size_t n_inputs,
                          const int64_t *labels, size_t n_labels, leat_error *err)
{
    if (q->counted && q->full) {
        q->n_fed++;
        q->all_labelled &= n_labels > 0;
        return LEAT_OK;
    }
    /* before the tapped model takes its memory */
    leat_status status = q->session ? LEAT_OK : lt_quant_time_source(q, inputs, n_inputs, err);
    status = status || q->session ? status : lt_quant_open_tapped(q, NULL, err);
    if (status != LEAT_OK) {
        lt_quant_stop_feeding(q);
        return status;
    }
    size_t n_outputs = q->tapped->graph->n_outputs;
    leat_array *outputs =
        lt_alloc_zeroed(&q->context->memory, n_outputs * sizeof(*outputs) + 1, LT_ALIGNMENT);
    if (outputs == NULL) {
        return no_memory(err);
    }
    status = leat_session_run(q->session, inputs, n_inputs, outputs, n_outputs, err);
    status = status ? status : check_finite(q, inputs, outputs, err);
    status = status ? status : check_labels(&outputs[0], labels, n_labels, err);
    if (status == LEAT_OK && q->n_fed == 0) {
        status = keep_first(q, inputs, err);
    }
    if (status == LEAT_OK && q->n_fed == 0 && !q->counted) {
        status = count_flops(q, inputs, outputs, err);
        status = status ? status : prepare_sums(q, inputs, outputs, err);
    }
    status = status ? status : keep(q, inputs, outputs, labels, n_labels, err);
    if (status == LEAT_OK && !q->counted) {
        status = count_tensors(q, inputs, outputs, err);
    }
    if (status == LEAT_OK) {
        q->n_fed++;
        q->all_labelled &= n_labels > 0;
    }
    lt_free(&q->context->memory, outputs, n_outputs * sizeof(*outputs) + 1);
    return status;
}

void lt_quant_stop_feeding(leat_quantizer *q)
{
    leat_session_destroy(q->session);
    leat_model_destroy(q->tapped);
    q->session = NULL;
    q->tapped = NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What a quantized variant loses: it runs the kept batches, and its outputs are compared with those
 * of the f32 model. */
#include "base/error.h"
#include "quantizer/quantizer.h"

#include <math.h>
#include <string.h>

typedef struct sums {
    double signal, noise;
    uint64_t rows, right_before, right_after, same;
} sums;

static void add_error(const leat_array *before, const leat_array *after, sums *out)
{
    const float *a = before->data, *b = after->data;
    for (size_t i = 0; i < before->bytes / sizeof(float); i++) {
        double e = (double)b[i] - (double)a[i];
        out->signal += (double)a[i] * (double)a[i];
        out->noise += e * e;
    }
}

static int64_t largest(const float *row, int64_t count)
{
    int64_t best = 0;
    for (int64_t i = 1; i < count; i++) {
        best = row[i] > row[best] ? i : best;
    }
    return best;
}

static void add_rows(const lt_quant_batch *batch, const leat_array *after, sums *out)
{
    const leat_array *before = &batch->outputs[0];
    int64_t classes = before->shape[1];
    for (int64_t r = 0; r < before->shape[0]; r++) {
        int64_t a = largest((const float *)before->data + r * classes, classes);
        int64_t b = largest((const float *)after->data + r * classes, classes);
        out->rows++;
        out->same += a == b;
        if ((size_t)r < batch->n_labels) {
            out->right_before += a == batch->labels[r];
            out->right_after += b == batch->labels[r];
        }
    }
}

static bool has_classes(const leat_array *output)
{
    return output->dtype == LEAT_DTYPE_F32 && output->rank == 2 && output->shape[1] >= 2;
}

static leat_status add_batch(const leat_quantizer *q, leat_session *session,
                             const lt_quant_batch *batch, leat_array *outputs, sums *out,
                             leat_error *err)
{
    const leat_model_signature *io = leat_model_io(q->model);
    leat_status status =
        leat_session_run(session, batch->inputs, io->n_inputs, outputs, io->n_outputs, err);
    for (size_t i = 0; i < io->n_outputs && status == LEAT_OK; i++) {
        if (outputs[i].bytes != batch->outputs[i].bytes) {
            return LEAT_OK; /* a shape that hangs on a value: nothing to compare */
        }
        if (outputs[i].dtype == LEAT_DTYPE_F32) {
            add_error(&batch->outputs[i], &outputs[i], out);
        }
    }
    if (status == LEAT_OK && has_classes(&batch->outputs[0])) {
        add_rows(batch, &outputs[0], out);
    }
    return status;
}

static void score(leat_quantizer *q, const sums *s, lt_quant_score *out)
{
    out->sqnr_db = s->noise > 0 ? 10 * log10(s->signal / s->noise) : INFINITY;
    if (s->rows > 0 && q->all_labelled) {
        q->drop_measure = "accuracy";
        out->drop = ((double)s->right_before - (double)s->right_after) / (double)s->rows;
    } else if (s->rows > 0) {
        q->drop_measure = "class";
        out->drop = (double)(s->rows - s->same) / (double)s->rows;
    } else {
        q->drop_measure = "error";
        out->drop = s->signal > 0 ? sqrt(s->noise / s->signal) : s->noise > 0;
    }
}

static leat_array *new_outputs(leat_quantizer *q, size_t count, leat_error *err)
{
    leat_array *outputs =
        lt_alloc_zeroed(&q->context->memory, count * sizeof(*outputs) + 1, LT_ALIGNMENT);
    if (outputs == NULL) {
        (void)lt_fail(err, LEAT_NO_MEMORY, "no memory to measure a model");
    }
    return outputs;
}

static leat_status run_batches(leat_quantizer *q, leat_model *model, uint32_t n_batches, sums *out,
                               leat_error *err)
{
    leat_session *session;
    size_t n_outputs = leat_model_io(model)->n_outputs;
    leat_array *outputs = new_outputs(q, n_outputs, err);
    if (outputs == NULL) {
        return LEAT_NO_MEMORY;
    }
    leat_status status = leat_session_create(model, NULL, &session, err);
    for (uint32_t i = 0; i < n_batches && status == LEAT_OK; i++) {
        status = add_batch(q, session, &q->batches[i], outputs, out, err);
    }
    leat_session_destroy(session);
    lt_free(&q->context->memory, outputs, n_outputs * sizeof(*outputs) + 1);
    return status;
}

leat_status lt_quant_measure(leat_quantizer *q, uint32_t most_batches, lt_quant_score *out,
                             leat_error *err)
{
    lt_graph *graph;
    leat_model *model;
    sums s = {0, 0, 0, 0, 0, 0};
    uint32_t n = most_batches < q->n_batches ? most_batches : q->n_batches;
    *out = (lt_quant_score){NAN, NAN};
    if (n == 0) {
        return LEAT_OK;
    }
    leat_status status = lt_quant_build(q, &graph, err);
    if (status != LEAT_OK ||
        (status = lt_model_of_graph(q->context, graph, q->model, &model, err))) {
        return status;
    }
    lt_model_release_pages(q->model); /* biases are corrected from the weights */
    status = run_batches(q, model, n, &s, err);
    leat_model_destroy(model);
    if (status == LEAT_OK) {
        score(q, &s, out);
    }
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Data for models that nobody gave any for, where the model itself says what it may be: inputs of
 * integers of which each is an index into a constant table (tokens, types, positions), or a mask.
 * Tokens at random show which channels of a transformer are large: that is a matter of its weights
 * far more than of what is read. Other inputs (images, sound) have no such data: nothing is fed. */
#include "base/error.h"
#include "base/tensor.h"
#include "passes/match.h"
#include "quantizer/quantizer.h"

#include <string.h>

#define RUNS 16
#define LENGTH 64 /* of dimensions that are open, beyond the first, which is 1 */

/* Rows of the constant table that a value indexes; 0: it indexes none. */
static int64_t table_rows(const lt_graph *graph, uint32_t value)
{
    for (uint32_t n = 0; n < graph->n_nodes; n++) {
        const leat_node *node = graph->nodes[n];
        if (!lt_is_onnx(node, "Gather") || node->inputs[1] != value ||
            node->inputs[0] == LEAT_NO_VALUE) {
            continue;
        }
        const leat_value *table = &graph->values[node->inputs[0]];
        if (table->data != NULL && table->rank == 2 && leat_node_int(node, "axis", 0) == 0) {
            return table->shape[0];
        }
    }
    return 0;
}

/* Indices into small tables (types) are 0, into larger ones anything; a mask hides nothing. */
static void fill(leat_array *array, int64_t rows, uint32_t *state)
{
    size_t width = leat_dtype_bytes(array->dtype, 1), count = array->bytes / width;
    for (size_t i = 0; i < count; i++) {
        *state = *state * 1664525u + 1013904223u;
        int64_t value = rows == 0 ? 1 : rows <= 4 ? 0 : (int64_t)(*state >> 4) % rows;
        const int32_t narrow = (int32_t)value;
        if (array->dtype == LEAT_DTYPE_I64) {
            ((int64_t *)array->data)[i] = value;
        } else {
            memcpy((char *)array->data + i * width, &narrow, width);
        }
    }
}

/* The inputs' arrays; false where the model does not say what they are. */
static bool describe(const leat_quantizer *q, leat_array *arrays)
{
    const lt_graph *graph = q->model->graph;
    bool some = false;
    for (uint32_t i = 0; i < graph->n_inputs; i++) {
        const leat_value *v = &graph->values[graph->inputs[i]];
        leat_array *a = &arrays[i];
        *a = (leat_array){.dtype = v->dtype, .rank = v->rank};
        if (v->rank < 1 || v->rank > 2 ||
            (v->dtype != LEAT_DTYPE_I64 && v->dtype != LEAT_DTYPE_I32)) {
            return false;
        }
        for (int32_t d = 0; d < v->rank; d++) {
            a->shape[d] = v->shape[d] >= 0 ? v->shape[d] : d == 0 ? 1 : LENGTH;
        }
        some |= table_rows(graph, graph->inputs[i]) > 4;
        if (!lt_shape_bytes(a->dtype, a->rank, a->shape, &a->bytes)) {
            return false;
        }
    }
    return some;
}

leat_status lt_quant_synthesize(leat_quantizer *q, leat_error *err)
{
    const lt_graph *graph = q->model->graph;
    uint32_t state = 1;
    lt_arena scratch;
    lt_arena_init(&scratch, &q->context->memory, 0);
    leat_array *arrays = lt_arena_array(&scratch, graph->n_inputs + 1u, sizeof(*arrays));
    bool told = arrays != NULL && describe(q, arrays);
    leat_status status =
        arrays ? LEAT_OK : lt_fail(err, LEAT_NO_MEMORY, "no memory for made-up data");
    for (uint32_t i = 0; told && i < graph->n_inputs; i++) {
        arrays[i].data = lt_arena_alloc(&scratch, arrays[i].bytes + 1, LT_ALIGNMENT);
        if (arrays[i].data == NULL) {
            status = lt_fail(err, LEAT_NO_MEMORY, "no memory for made-up data");
            told = false;
        }
    }
    q->synthetic = true;
    for (int run = 0; told && run < RUNS && status == LEAT_OK; run++) {
        for (uint32_t i = 0; i < graph->n_inputs; i++) {
            fill(&arrays[i], table_rows(graph, graph->inputs[i]), &state);
        }
        /* A model that does not run on this is quantized as one without data. */
        leat_status fed = lt_quant_feed(q, arrays, graph->n_inputs, NULL, 0, err);
        if (fed == LEAT_NO_MEMORY) {
            status = fed;
            break;
        }
        told = fed == LEAT_OK;
        status = lt_quant_progress(q, "calibrate", (uint64_t)run + 1, RUNS, err);
    }
    lt_quant_stop_feeding(q);
    lt_arena_destroy(&scratch);
    q->synthetic = false;
    q->n_fed = 0;
    q->all_labelled = true;
    for (uint32_t i = 0; i < q->n_tensors && !told; i++) {
        q->tensors[i].channels = 0;
    }
    return status;
}

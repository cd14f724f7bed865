/* SPDX-License-Identifier: Apache-2.0 */
/* What a caller gives a graph: types, shapes, symbols, sequences. */
#include "base/error.h"
#include "base/tensor.h"
#include "runtime/frame.h"

const char *lt_frame_input_name(const lt_frame *frame, size_t i)
{
    const lt_graph *graph = frame->body->graph;
    return graph->values[graph->inputs[i]].name;
}

/* Symbols stand for one number each, over all inputs. */
static leat_status check_symbol(const lt_frame *frame, const leat_array *inputs, size_t i,
                                int32_t d, leat_error *err)
{
    const lt_graph *graph = frame->body->graph;
    int64_t symbol = graph->values[graph->inputs[i]].shape[d];
    for (size_t other = 0; other <= i; other++) {
        const leat_value *value = &graph->values[graph->inputs[other]];
        for (int32_t k = 0; k < value->rank && !lt_is_container(value->dtype); k++) {
            if (value->shape[k] == symbol && inputs[other].shape[k] != inputs[i].shape[d]) {
                const char *name = lt_graph_symbol_name(graph, symbol);
                return lt_fail(err, LEAT_INVALID,
                               "dimension '%s' is %lld in input '%s' and %lld in input '%s'",
                               name ? name : "?", (long long)inputs[other].shape[k],
                               lt_frame_input_name(frame, other), (long long)inputs[i].shape[d],
                               lt_frame_input_name(frame, i));
            }
        }
    }
    return LEAT_OK;
}

static leat_status check_shape(const lt_frame *frame, const leat_array *inputs, size_t i,
                               leat_error *err)
{
    const lt_graph *graph = frame->body->graph;
    const leat_value *value = &graph->values[graph->inputs[i]];
    const leat_array *array = &inputs[i];
    char declared[64], given[64];
    if (array->rank < 0 || array->rank > LEAT_MAX_RANK ||
        (value->rank >= 0 && array->rank != value->rank)) {
        return lt_fail(err, LEAT_INVALID, "input '%s' has rank %d, not %d",
                       lt_frame_input_name(frame, i), value->rank, array->rank);
    }
    for (int32_t d = 0; d < array->rank; d++) {
        int64_t wanted = value->rank < 0 ? -1 : value->shape[d];
        if (array->shape[d] < 0 || (wanted >= 0 && array->shape[d] != wanted)) {
            return lt_fail(err, LEAT_INVALID, "input '%s' has the shape %s, not %s",
                           lt_frame_input_name(frame, i),
                           lt_shape_text(value->rank < 0 ? 0 : value->rank, value->shape, declared,
                                         sizeof(declared)),
                           lt_shape_text(array->rank, array->shape, given, sizeof(given)));
        }
        leat_status status =
            value->rank < 0 || wanted >= 0 ? LEAT_OK : check_symbol(frame, inputs, i, d, err);
        if (status != LEAT_OK) {
            return status;
        }
    }
    return LEAT_OK;
}

static leat_status check_input(const lt_frame *frame, const leat_array *inputs, size_t i,
                               leat_error *err)
{
    const lt_graph *graph = frame->body->graph;
    const leat_value *value = &graph->values[graph->inputs[i]];
    const leat_array *array = &inputs[i];
    char given[64];
    size_t bytes;
    if (array->dtype != value->dtype && value->dtype != LEAT_DTYPE_UNDEFINED) {
        return lt_fail(err, LEAT_INVALID, "input '%s' is of type %s, not %s",
                       lt_frame_input_name(frame, i), leat_dtype_name(value->dtype),
                       leat_dtype_name(array->dtype));
    }
    if (lt_is_container(array->dtype)) {
        return LEAT_OK; /* looked at in every run */
    }
    leat_status status = check_shape(frame, inputs, i, err);
    if (status == LEAT_OK && (!lt_shape_bytes(array->dtype, array->rank, array->shape, &bytes) ||
                              (array->data != NULL && array->bytes < bytes))) {
        status =
            lt_fail(err, LEAT_INVALID, "input '%s' of shape %s has only %zu bytes of data",
                    lt_frame_input_name(frame, i),
                    lt_shape_text(array->rank, array->shape, given, sizeof(given)), array->bytes);
    }
    return status;
}

/* A tensor in a sequence or optional that the caller made. */
static bool is_sound_tensor(const leat_array *array)
{
    size_t bytes;
    return (unsigned)array->dtype < LEAT_DTYPE_COUNT && array->rank >= 0 &&
           array->rank <= LEAT_MAX_RANK &&
           lt_shape_bytes(array->dtype, array->rank, array->shape, &bytes) &&
           array->bytes >= bytes && (array->data != NULL || bytes == 0);
}

/* Two vectors of one length, the keys of a type that maps have. */
static bool is_sound_map(const leat_array *elements, int64_t n)
{
    return n == 2 && is_sound_tensor(&elements[0]) && is_sound_tensor(&elements[1]) &&
           (elements[0].dtype == LEAT_DTYPE_I64 || elements[0].dtype == LEAT_DTYPE_STRING) &&
           lt_dtype_bits(elements[1].dtype) % 8 == 0 && elements[0].rank == 1 &&
           elements[1].rank == 1 && elements[0].shape[0] == elements[1].shape[0];
}

/* A map, sequence or optional that the caller made, and all in it. */
static bool is_sound(const leat_array *array, bool nested)
{
    size_t bytes;
    const leat_array *elements = array->data;
    if (array->rank != 1 || !lt_shape_bytes(array->dtype, 1, array->shape, &bytes) ||
        array->bytes < bytes || (elements == NULL && bytes != 0) ||
        (array->dtype == LEAT_DTYPE_OPTIONAL && array->shape[0] > 1)) {
        return false;
    }
    if (array->dtype == LEAT_DTYPE_MAP) {
        return is_sound_map(elements, array->shape[0]);
    }
    for (int64_t i = 0; i < array->shape[0]; i++) {
        bool may_nest = array->dtype == LEAT_DTYPE_OPTIONAL && !nested;
        if (may_nest && elements[i].dtype == LEAT_DTYPE_SEQUENCE ? !is_sound(&elements[i], true)
                                                                 : !is_sound_tensor(&elements[i])) {
            return false;
        }
    }
    return true;
}

bool lt_frame_input_is_sound(const leat_array *array)
{
    return is_sound(array, false);
}

leat_status lt_frame_check_inputs(const lt_frame *frame, const leat_array *inputs, leat_error *err)
{
    leat_status status = LEAT_OK;
    for (size_t i = 0; i < frame->body->graph->n_inputs && status == LEAT_OK; i++) {
        status = check_input(frame, inputs, i, err);
    }
    return status;
}

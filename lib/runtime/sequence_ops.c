/* SPDX-License-Identifier: Apache-2.0 */
/* Operators on sequences. Tensors are copied when they enter a sequence, since what they are in is
 * written again by the next run or iteration; from then on only pointers are copied. */
#include "base/error.h"
#include "base/tensor.h"
#include "runtime/host_node.h"

#include <string.h>

/* A sequence that is input i. */
static leat_status sequence_input(const lt_host_call *call, uint32_t i, lt_item *out,
                                  size_t *out_count, leat_error *err)
{
    *out = lt_call_input(call, i);
    *out_count = 0; /* also for a caller that fails later */
    if (out->array.dtype != LEAT_DTYPE_SEQUENCE) {
        return lt_fail(err, LEAT_INVALID, "input %u is a tensor of %s, not a sequence", i,
                       leat_dtype_name(out->array.dtype));
    }
    *out_count = (size_t)out->array.shape[0];
    return LEAT_OK;
}

/* A tensor that is input i, as an element: with a block of its own unless it has one already or is
 * a constant of the model. The caller lets go of it. */
static leat_status tensor_element(const lt_host_call *call, uint32_t i, lt_item *out,
                                  leat_error *err)
{
    memset(out, 0, sizeof(*out));
    if (!lt_call_has(call, i)) {
        return lt_fail(err, LEAT_INVALID, "input %u is missing", i);
    }
    const lt_item item = lt_call_input(call, i);
    const leat_value *value = &call->frame->body->graph->values[call->node->inputs[i]];
    if (lt_is_container(item.array.dtype)) {
        return lt_fail(err, LEAT_UNSUPPORTED, "a sequence of other things than tensors");
    }
    if (item.held != NULL || value->data != NULL) {
        *out = item;
        lt_held_retain(out->held);
        return LEAT_OK;
    }
    return lt_held_tensor(lt_call_memory(call), &item.array, out, err);
}

/* Position in input i (may be absent): within 0..count, negative from the end. */
static leat_status position(const lt_host_call *call, uint32_t i, size_t count, size_t last,
                            size_t *out_at, leat_error *err)
{
    int64_t at = (int64_t)last;
    leat_status status = lt_call_has(call, i) ? lt_call_int(call, i, &at, err) : LEAT_OK;
    int64_t wanted = at;
    at += at < 0 ? (int64_t)count : 0;
    if (status == LEAT_OK && (at < 0 || at > (int64_t)last)) {
        status = lt_fail(err, LEAT_INVALID, "position %lld in a sequence of %zu", (long long)wanted,
                         count);
    }
    *out_at = (size_t)at;
    return status;
}

static leat_status empty(const lt_host_call *call, leat_error *err)
{
    lt_item made;
    leat_status status = lt_held_arrays(lt_call_memory(call), LEAT_DTYPE_SEQUENCE, 0, &made, err);
    if (status == LEAT_OK) {
        lt_call_give(call, 0, &made);
    }
    return status;
}

leat_status lt_host_sequence_empty(lt_host_call *call, leat_error *err)
{
    return empty(call, err);
}

leat_status lt_host_sequence_construct(lt_host_call *call, leat_error *err)
{
    lt_item made;
    leat_status status =
        lt_held_arrays(lt_call_memory(call), LEAT_DTYPE_SEQUENCE, call->node->n_inputs, &made, err);
    if (status != LEAT_OK) {
        return status;
    }
    for (uint32_t i = 0; i < call->node->n_inputs && status == LEAT_OK; i++) {
        lt_item element;
        status = tensor_element(call, i, &element, err);
        if (status == LEAT_OK) {
            if (i != 0 && element.array.dtype != ((leat_array *)made.array.data)[0].dtype) {
                status = lt_fail(err, LEAT_INVALID, "the inputs are of different types");
            } else {
                lt_held_put(&made, i, &element);
            }
            lt_held_release(element.held);
        }
    }
    if (status != LEAT_OK) {
        lt_held_release(made.held);
        return status;
    }
    lt_call_give(call, 0, &made);
    return LEAT_OK;
}

/* A copy of a sequence, `extra` (1, 0 or -1) longer at `at`: where it is longer the element is left
 * to the caller. */
static leat_status copy_with_gap(const lt_host_call *call, const lt_item *from, size_t at,
                                 int extra, lt_item *out, leat_error *err)
{
    size_t count = (size_t)from->array.shape[0];
    size_t n = extra < 0 ? count - 1 : count + (size_t)extra;
    leat_status status = lt_held_arrays(lt_call_memory(call), LEAT_DTYPE_SEQUENCE, n, out, err);
    for (size_t i = 0; i < count && status == LEAT_OK; i++) {
        if (extra < 0 && i == at) {
            continue;
        }
        lt_item element = lt_held_get(from, i);
        lt_held_put(out, extra < 0 ? i - (i > at) : i + (extra > 0 && i >= at), &element);
    }
    return status;
}

leat_status lt_host_sequence_insert(lt_host_call *call, leat_error *err)
{
    lt_item from, element = {.held = NULL}, made;
    size_t count, at;
    leat_status status = sequence_input(call, 0, &from, &count, err);
    status = status ? status : position(call, 2, count, count, &at, err);
    status = status ? status : tensor_element(call, 1, &element, err);
    if (status == LEAT_OK && count != 0 &&
        ((const leat_array *)from.array.data)[0].dtype != element.array.dtype) {
        status = lt_fail(err, LEAT_INVALID, "a tensor of %s into a sequence of %s",
                         leat_dtype_name(element.array.dtype),
                         leat_dtype_name(((const leat_array *)from.array.data)[0].dtype));
    }
    status = status ? status : copy_with_gap(call, &from, at, 1, &made, err);
    if (status == LEAT_OK) {
        lt_held_put(&made, at, &element);
        lt_call_give(call, 0, &made);
    }
    lt_held_release(element.held);
    return status;
}

leat_status lt_host_sequence_erase(lt_host_call *call, leat_error *err)
{
    lt_item from, made;
    size_t count, at;
    leat_status status = sequence_input(call, 0, &from, &count, err);
    if (status == LEAT_OK && count == 0) {
        return lt_fail(err, LEAT_INVALID, "nothing to erase in an empty sequence");
    }
    status = status ? status : position(call, 1, count, count - 1, &at, err);
    status = status ? status : copy_with_gap(call, &from, at, -1, &made, err);
    if (status == LEAT_OK) {
        lt_call_give(call, 0, &made);
    }
    return status;
}

leat_status lt_host_sequence_at(lt_host_call *call, leat_error *err)
{
    lt_item from;
    size_t count, at;
    leat_status status = sequence_input(call, 0, &from, &count, err);
    if (status == LEAT_OK && count == 0) {
        return lt_fail(err, LEAT_INVALID, "an element of an empty sequence");
    }
    status = status ? status : position(call, 1, count, count - 1, &at, err);
    if (status == LEAT_OK) {
        lt_item element = lt_held_get(&from, at);
        lt_held_retain(element.held);
        lt_call_give(call, 0, &element);
    }
    return status;
}

leat_status lt_host_sequence_length(lt_host_call *call, leat_error *err)
{
    lt_item from;
    size_t count;
    leat_status status = sequence_input(call, 0, &from, &count, err);
    status = status ? status : lt_call_reserve(call, 0, sizeof(int64_t), 0, err);
    if (status == LEAT_OK) {
        int64_t *length = call->state->buffers[0].data;
        *length = (int64_t)count;
        const lt_item made = {{.dtype = LEAT_DTYPE_I64, .data = length, .bytes = sizeof(*length)},
                              NULL};
        lt_call_give(call, 0, &made);
    }
    return status;
}

/* ------------------------------------------------------------------------------------------------
 * SplitToSequence
 * --------------------------------------------------------------------------------------------- */

typedef struct splitting {
    leat_array input;
    int32_t axis;
    bool keepdims;
    size_t outer, inner; /* inner in bytes */
    size_t n;            /* parts */
    const leat_array *sizes;
    int64_t each; /* without sizes */
} splitting;

static int64_t integer_at(const leat_array *array, size_t i)
{
    return array->dtype == LEAT_DTYPE_I32 ? ((const int32_t *)array->data)[i]
                                          : ((const int64_t *)array->data)[i];
}

static leat_status split_sizes(splitting *s, leat_error *err)
{
    int64_t length = s->input.shape[s->axis], sum = 0;
    size_t count;
    const leat_array *sizes = s->sizes;
    if (sizes == NULL) {
        s->each = 1;
        s->n = (size_t)length;
        return LEAT_OK;
    }
    if ((sizes->dtype != LEAT_DTYPE_I64 && sizes->dtype != LEAT_DTYPE_I32) || sizes->rank > 1 ||
        !lt_shape_count(sizes->rank, sizes->shape, &count)) {
        return lt_fail(err, LEAT_INVALID, "split must be one integer or a vector of integers");
    }
    s->keepdims = true;
    if (sizes->rank == 0) {
        s->each = integer_at(sizes, 0);
        if (s->each < 1) {
            return lt_fail(err, LEAT_INVALID, "parts of %lld", (long long)s->each);
        }
        s->n = (size_t)(length / s->each + (length % s->each != 0));
        return LEAT_OK;
    }
    s->n = count;
    for (size_t i = 0; i < count; i++) {
        int64_t size = integer_at(sizes, i);
        if (size < 0 || size > length - sum) {
            return lt_fail(err, LEAT_INVALID, "parts that do not add up to %lld",
                           (long long)length);
        }
        sum += size;
    }
    return sum == length ? LEAT_OK
                         : lt_fail(err, LEAT_INVALID, "parts that add up to %lld, not %lld",
                                   (long long)sum, (long long)length);
}

static leat_status start_split(const lt_host_call *call, splitting *s, leat_array *sizes,
                               leat_error *err)
{
    s->input = lt_call_input(call, 0).array;
    int64_t axis = leat_node_int(call->node, "axis", 0);
    int32_t rank = s->input.rank;
    if (lt_is_container(s->input.dtype) || lt_dtype_bits(s->input.dtype) % 8 != 0) {
        return lt_fail(err, LEAT_UNSUPPORTED, "input 0 is of type %s",
                       leat_dtype_name(s->input.dtype));
    }
    if (rank < 1 || axis < -(int64_t)rank || axis >= rank) {
        return lt_fail(err, LEAT_INVALID, "axis %lld is not within rank %d", (long long)axis, rank);
    }
    s->axis = (int32_t)(axis < 0 ? axis + rank : axis);
    s->keepdims = leat_node_int(call->node, "keepdims", 1) != 0;
    if (lt_call_has(call, 1)) {
        *sizes = lt_call_input(call, 1).array;
        s->sizes = sizes;
    }
    if (!lt_shape_count(s->axis, s->input.shape, &s->outer) ||
        !lt_shape_bytes(s->input.dtype, rank - 1 - s->axis, s->input.shape + s->axis + 1,
                        &s->inner)) {
        return lt_fail(err, LEAT_LIMIT, "input 0 is too large");
    }
    return split_sizes(s, err);
}

/* The part from `at` on, `size` long. */
static leat_status take_part(const lt_host_call *call, const splitting *s, size_t at, size_t size,
                             lt_item *out, leat_error *err)
{
    size_t length = (size_t)s->input.shape[s->axis];
    leat_array shape = s->input;
    shape.data = NULL;
    shape.shape[s->axis] = (int64_t)size;
    if (!s->keepdims) {
        memmove(shape.shape + s->axis, shape.shape + s->axis + 1,
                (size_t)(shape.rank - 1 - s->axis) * sizeof(int64_t));
        shape.rank--;
    }
    if (s->outer == 1) { /* in one piece: strings keep their text */
        shape.data = (char *)s->input.data + at * s->inner;
        return lt_held_tensor(lt_call_memory(call), &shape, out, err);
    }
    if (s->input.dtype == LEAT_DTYPE_STRING) {
        return lt_fail(err, LEAT_UNSUPPORTED, "strings are split along their first axis only");
    }
    leat_status status = lt_held_tensor(lt_call_memory(call), &shape, out, err);
    for (size_t o = 0; o < s->outer && status == LEAT_OK && size * s->inner != 0; o++) {
        memcpy((char *)out->array.data + o * size * s->inner,
               (const char *)s->input.data + (o * length + at) * s->inner, size * s->inner);
    }
    return status;
}

leat_status lt_host_split_to_sequence(lt_host_call *call, leat_error *err)
{
    splitting s = {.outer = 1};
    leat_array sizes;
    lt_item made;
    leat_status status = start_split(call, &s, &sizes, err);
    if (status != LEAT_OK) {
        return status;
    }
    status = lt_held_arrays(lt_call_memory(call), LEAT_DTYPE_SEQUENCE, s.n, &made, err);
    if (status != LEAT_OK) {
        return status;
    }
    size_t length = (size_t)s.input.shape[s.axis];
    for (size_t i = 0, at = 0; i < s.n && status == LEAT_OK; i++) {
        bool by_list = s.sizes != NULL && s.sizes->rank == 1;
        size_t size = by_list ? (size_t)integer_at(s.sizes, i) : (size_t)s.each;
        size = size < length - at ? size : length - at;
        lt_item part;
        status = take_part(call, &s, at, size, &part, err);
        if (status == LEAT_OK) {
            lt_held_put(&made, i, &part);
            lt_held_release(part.held);
        }
        at += size;
    }
    if (status != LEAT_OK) {
        lt_held_release(made.held);
        return status;
    }
    lt_call_give(call, 0, &made);
    return LEAT_OK;
}

/* ------------------------------------------------------------------------------------------------
 * ConcatFromSequence
 * --------------------------------------------------------------------------------------------- */

/* Shape of the result; every element must fit it. */
static leat_status concat_shape(const leat_node *node, const leat_array *elements, size_t count,
                                leat_array *out, int32_t *out_axis, leat_error *err)
{
    bool new_axis = leat_node_int(node, "new_axis", 0) != 0;
    int64_t axis = leat_node_int(node, "axis", 0);
    const leat_array *first = &elements[0];
    int32_t rank = first->rank + new_axis;
    if (rank > LEAT_MAX_RANK || lt_dtype_bits(first->dtype) % 8 != 0) {
        return lt_fail(err, LEAT_UNSUPPORTED, "elements of type %s and rank %d",
                       leat_dtype_name(first->dtype), first->rank);
    }
    if (rank < 1 || axis < -(int64_t)rank || axis >= rank) {
        return lt_fail(err, LEAT_INVALID, "axis %lld is not within rank %d", (long long)axis, rank);
    }
    *out_axis = (int32_t)(axis < 0 ? axis + rank : axis);
    int64_t along = 0;
    for (size_t i = 0; i < count; i++) {
        const leat_array *e = &elements[i];
        bool fits = e->dtype == first->dtype && e->rank == first->rank;
        for (int32_t d = 0; fits && d < e->rank; d++) {
            fits = e->shape[d] == first->shape[d] || (!new_axis && d == *out_axis);
        }
        if (!fits || __builtin_add_overflow(along, new_axis ? 1 : e->shape[*out_axis], &along)) {
            return lt_fail(err, LEAT_INVALID, "element %zu does not fit the first", i);
        }
    }
    *out = (leat_array){.dtype = first->dtype, .rank = rank};
    for (int32_t d = 0; d < rank; d++) {
        out->shape[d] = d == *out_axis ? along : first->shape[d - (new_axis && d > *out_axis)];
    }
    return lt_shape_bytes(out->dtype, rank, out->shape, &out->bytes)
               ? LEAT_OK
               : lt_fail(err, LEAT_LIMIT, "the result is too large");
}

leat_status lt_host_concat_from_sequence(lt_host_call *call, leat_error *err)
{
    lt_item from, made = {.held = NULL};
    size_t count, outer, whole = 0, at = 0;
    int32_t axis = 0;
    leat_status status = sequence_input(call, 0, &from, &count, err);
    if (status == LEAT_OK && count == 0) {
        return lt_fail(err, LEAT_INVALID, "nothing to concatenate in an empty sequence");
    }
    const leat_array *elements = from.array.data;
    status = status ? status : concat_shape(call->node, elements, count, &made.array, &axis, err);
    status = status ? status : lt_call_reserve(call, 0, made.array.bytes, 0, err);
    if (status != LEAT_OK) {
        return status;
    }
    made.array.data = call->state->buffers[0].data;
    if (lt_shape_count(axis, made.array.shape, &outer) && outer != 0) {
        whole = made.array.bytes / outer;
    }
    for (size_t i = 0; i < count && whole != 0; i++) {
        size_t bytes = leat_dtype_bytes(elements[i].dtype, 1), part;
        (void)lt_shape_bytes(elements[i].dtype, elements[i].rank, elements[i].shape, &bytes);
        part = bytes / outer;
        for (size_t o = 0; o < outer && part != 0; o++) {
            memcpy((char *)made.array.data + o * whole + at,
                   (const char *)elements[i].data + o * part, part);
        }
        at += part;
    }
    lt_call_give(call, 0, &made);
    return LEAT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Cast and CastLike to and from text; other types are the backends'.
 *
 * Floats become text of at most 8 digits as ONNX Runtime writes it ("1.5", "1e+20", "NaN", "INF",
 * "-INF"), bool "1" or "0". Text must be one number of the type; to bool it is true unless 0. */
#include "base/error.h"
#include "base/number.h"
#include "base/tensor.h"
#include "runtime/host_node.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

leat_dtype lt_host_cast_target(const leat_node *node, const leat_value *values)
{
    if (strcmp(node->op, "Cast") == 0) {
        return (leat_dtype)leat_node_int(node, "to", LEAT_DTYPE_UNDEFINED);
    }
    bool like = node->n_inputs > 1 && node->inputs[1] != LEAT_NO_VALUE;
    return like ? values[node->inputs[1]].dtype : LEAT_DTYPE_UNDEFINED;
}

static size_t float_text(double value, char *text)
{
    const char *name = isnan(value) ? "NaN" : isinf(value) ? (value < 0 ? "-INF" : "INF") : NULL;
    return name ? (size_t)snprintf(text, LT_NUMBER_TEXT, "%s", name)
                : lt_number_text(value, -1, text);
}

/* Element i as text; its length, or 0 for a type without text. */
static size_t element_text(const leat_array *x, size_t i, char *text)
{
    int64_t whole;
    switch (x->dtype) {
    case LEAT_DTYPE_F32:
        return float_text((double)((const float *)x->data)[i], text);
    case LEAT_DTYPE_F64:
        return float_text(((const double *)x->data)[i], text);
    case LEAT_DTYPE_F16:
    case LEAT_DTYPE_BF16:
        return float_text(lt_half_read(x->dtype, ((const uint16_t *)x->data)[i]), text);
    case LEAT_DTYPE_U64:
        return (size_t)snprintf(text, LT_NUMBER_TEXT, "%" PRIu64, ((const uint64_t *)x->data)[i]);
    case LEAT_DTYPE_U32:
        whole = ((const uint32_t *)x->data)[i];
        break;
    case LEAT_DTYPE_U16:
        whole = ((const uint16_t *)x->data)[i];
        break;
    case LEAT_DTYPE_U8:
        whole = ((const uint8_t *)x->data)[i];
        break;
    case LEAT_DTYPE_BOOL:
        whole = ((const uint8_t *)x->data)[i] != 0;
        break;
    case LEAT_DTYPE_I64:
        whole = ((const int64_t *)x->data)[i];
        break;
    case LEAT_DTYPE_I32:
        whole = ((const int32_t *)x->data)[i];
        break;
    case LEAT_DTYPE_I16:
        whole = ((const int16_t *)x->data)[i];
        break;
    case LEAT_DTYPE_I8:
        whole = ((const int8_t *)x->data)[i];
        break;
    default:
        return 0;
    }
    return (size_t)snprintf(text, LT_NUMBER_TEXT, "%" PRId64, whole);
}

static leat_status to_text(lt_host_call *call, const leat_array *x, size_t count, leat_error *err)
{
    char number[LT_NUMBER_TEXT], *to;
    size_t text = 0;
    lt_item made;
    for (size_t i = 0; i < count; i++) {
        size_t bytes = element_text(x, i, number);
        if (bytes == 0) {
            return lt_fail(err, LEAT_UNSUPPORTED, "%s as text", leat_dtype_name(x->dtype));
        }
        if (!lt_add(text, bytes, &text)) {
            return lt_fail(err, LEAT_LIMIT, "its text is too long");
        }
    }
    leat_status status =
        lt_held_strings(lt_call_memory(call), x->rank, x->shape, text, &made, &to, err);
    for (size_t i = 0; i < count && status == LEAT_OK; i++) {
        size_t bytes = element_text(x, i, number);
        memcpy(to, number, bytes);
        ((leat_string *)made.array.data)[i] = (leat_string){to, bytes};
        to += bytes;
    }
    if (status == LEAT_OK) {
        lt_call_give(call, 0, &made);
    }
    return status;
}

/* A signed integer of `bits` bits, or an unsigned one. */
static bool read_whole(const leat_string *text, leat_dtype dtype, void *to)
{
    size_t bytes = leat_dtype_bytes(dtype, 1);
    int unused = 64 - 8 * (int)bytes;
    bool is_unsigned = dtype == LEAT_DTYPE_U8 || dtype == LEAT_DTYPE_U16 ||
                       dtype == LEAT_DTYPE_U32 || dtype == LEAT_DTYPE_U64;
    uint64_t u = 0;
    int64_t s = 0;
    bool good = is_unsigned ? lt_number_read_u64(text, &u) && u <= UINT64_MAX >> unused
                            : lt_number_read_i64(text, &s) && s <= INT64_MAX >> unused &&
                                  s >= INT64_MIN >> unused;
    memcpy(to, is_unsigned ? (const void *)&u : (const void *)&s, bytes); /* the low bytes */
    return good;
}

/* False when the text is no number of the type. */
static bool read_element(const leat_string *text, const leat_array *y, size_t i)
{
    size_t bytes = leat_dtype_bytes(y->dtype, 1);
    double value = 0;
    bool good;
    switch (y->dtype) {
    case LEAT_DTYPE_F32:
        good = lt_number_read(text, &value);
        ((float *)y->data)[i] = (float)value;
        return good;
    case LEAT_DTYPE_F64:
        return lt_number_read(text, (double *)y->data + i);
    case LEAT_DTYPE_F16:
    case LEAT_DTYPE_BF16:
        good = lt_number_read(text, &value);
        ((uint16_t *)y->data)[i] = lt_half_write(y->dtype, value);
        return good;
    case LEAT_DTYPE_BOOL:
        good = lt_number_read(text, &value);
        ((uint8_t *)y->data)[i] = value != 0;
        return good;
    default:
        return read_whole(text, y->dtype, (char *)y->data + i * bytes);
    }
}

static leat_status from_text(lt_host_call *call, const leat_array *x, leat_dtype to, size_t count,
                             leat_error *err)
{
    enum {
        SHOWN = 40
    };
    const uint64_t readable = 1u << LEAT_DTYPE_F32 | 1u << LEAT_DTYPE_F64 | 1u << LEAT_DTYPE_F16 |
                              1u << LEAT_DTYPE_BF16 | 1u << LEAT_DTYPE_BOOL | 1u << LEAT_DTYPE_U8 |
                              1u << LEAT_DTYPE_I8 | 1u << LEAT_DTYPE_U16 | 1u << LEAT_DTYPE_I16 |
                              1u << LEAT_DTYPE_I32 | 1u << LEAT_DTYPE_I64 | 1u << LEAT_DTYPE_U32 |
                              1u << LEAT_DTYPE_U64;
    if ((unsigned)to >= LEAT_DTYPE_COUNT || !(readable >> to & 1)) {
        return lt_fail(err, LEAT_UNSUPPORTED, "text as %s", leat_dtype_name(to));
    }
    lt_item made = {.array = *x};
    made.array.dtype = to;
    made.array.bytes = leat_dtype_bytes(to, count);
    leat_status status = lt_call_reserve(call, 0, made.array.bytes, 0, err);
    made.array.data = call->state->buffers[0].data;
    const leat_string *texts = x->data;
    for (size_t i = 0; i < count && status == LEAT_OK; i++) {
        if (!read_element(&texts[i], &made.array, i)) {
            size_t shown = texts[i].bytes < SHOWN ? texts[i].bytes : SHOWN;
            status = lt_fail(err, LEAT_INVALID, "element %zu, '%.*s', is no number of type %s", i,
                             (int)shown, texts[i].data ? texts[i].data : "", leat_dtype_name(to));
        }
    }
    if (status == LEAT_OK) {
        lt_call_give(call, 0, &made);
    }
    return status;
}

leat_status lt_host_cast_text(lt_host_call *call, leat_error *err)
{
    const leat_array x = lt_call_input(call, 0).array;
    leat_dtype to = strcmp(call->node->op, "Cast") == 0 ? lt_host_cast_target(call->node, NULL)
                                                        : lt_call_input(call, 1).array.dtype;
    size_t count;
    lt_item made;
    if (lt_is_container(x.dtype) || !lt_shape_count(x.rank, x.shape, &count)) {
        return lt_fail(err, LEAT_INVALID, "input 0 is no tensor");
    }
    if (x.dtype != LEAT_DTYPE_STRING) {
        return to_text(call, &x, count, err);
    }
    if (to != LEAT_DTYPE_STRING) {
        return from_text(call, &x, to, count, err);
    }
    leat_status status = lt_held_tensor(lt_call_memory(call), &x, &made, err);
    if (status == LEAT_OK) {
        lt_call_give(call, 0, &made);
    }
    return status;
}

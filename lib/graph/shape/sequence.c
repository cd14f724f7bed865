/* SPDX-License-Identifier: Apache-2.0 */
/* Sequences and optionals: the type of what is in them goes along, shapes do not. */
#include "graph/shape/shape.h"

/* Output 0 becomes a sequence or an optional. */
static leat_status set_container(lt_infer *infer, leat_dtype container, leat_dtype element,
                                 bool of_sequences, leat_error *err)
{
    int64_t length;
    leat_status status = lt_fresh(infer, &length, err);
    status = status ? status : lt_set(infer, 0, container, 1, &length, err);
    if (status == LEAT_OK) {
        lt_set_element(&infer->values[infer->node->outputs[0]], element, of_sequences);
    }
    return status;
}

leat_status lt_infer_empty(lt_infer *infer, leat_error *err)
{
    int64_t dtype = leat_node_int(infer->node, "dtype", LEAT_DTYPE_F32);
    if (dtype <= 0 || dtype >= LEAT_DTYPE_COUNT) {
        return lt_bad(infer, err, "dtype %lld", (long long)dtype);
    }
    return set_container(infer, LEAT_DTYPE_SEQUENCE, (leat_dtype)dtype, false, err);
}

leat_status lt_infer_construct(lt_infer *infer, leat_error *err)
{
    return set_container(infer, LEAT_DTYPE_SEQUENCE, lt_in(infer, 0)->dtype, false, err);
}

leat_status lt_infer_insert(lt_infer *infer, leat_error *err)
{
    const leat_value *sequence = lt_in(infer, 0), *tensor = lt_in(infer, 1);
    bool known = lt_value_is_container(sequence) && lt_element_dtype(sequence) != 0;
    return set_container(infer, LEAT_DTYPE_SEQUENCE,
                         known ? lt_element_dtype(sequence) : tensor->dtype, false, err);
}

leat_status lt_infer_split_to(lt_infer *infer, leat_error *err)
{
    return set_container(infer, LEAT_DTYPE_SEQUENCE, lt_in(infer, 0)->dtype, false, err);
}

/* A tensor from a sequence, of any shape. */
leat_status lt_infer_element(lt_infer *infer, leat_error *err)
{
    const leat_value *sequence = lt_in(infer, 0);
    if (sequence->dtype != LEAT_DTYPE_SEQUENCE && sequence->dtype != LEAT_DTYPE_UNDEFINED) {
        return lt_bad(infer, err, "input 0 is no sequence but of type %s",
                      leat_dtype_name(sequence->dtype));
    }
    bool known = sequence->dtype == LEAT_DTYPE_SEQUENCE;
    return lt_set_unknown(infer, 0, known ? lt_element_dtype(sequence) : LEAT_DTYPE_UNDEFINED, err);
}

leat_status lt_infer_optional(lt_infer *infer, leat_error *err)
{
    const leat_value *value = lt_in(infer, 0);
    leat_dtype element = LEAT_DTYPE_UNDEFINED;
    bool sequence = value != NULL && value->dtype == LEAT_DTYPE_SEQUENCE;
    if (value != NULL && value->dtype == LEAT_DTYPE_MAP) {
        return lt_bad(infer, err, "an optional of a map");
    }
    if (value != NULL) {
        element = sequence ? lt_element_dtype(value) : value->dtype;
    }
    return set_container(infer, LEAT_DTYPE_OPTIONAL, element, sequence, err);
}

leat_status lt_infer_get_element(lt_infer *infer, leat_error *err)
{
    const leat_value *value = lt_in(infer, 0);
    if (value->dtype != LEAT_DTYPE_OPTIONAL) {
        return lt_set_like(infer, 0, value->dtype, value, err);
    }
    leat_dtype element = lt_element_dtype(value);
    return lt_is_of_sequences(value)
               ? set_container(infer, LEAT_DTYPE_SEQUENCE, element, false, err)
               : lt_set_unknown(infer, 0, element, err);
}

leat_status lt_infer_has_element(lt_infer *infer, leat_error *err)
{
    return lt_set(infer, 0, LEAT_DTYPE_BOOL, 0, NULL, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/held.h"

#include "base/error.h"
#include "base/tensor.h"

#include <string.h>

/* Behind it: `n` children, then the data. */
struct lt_held {
    lt_memory *memory;
    size_t bytes; /* of the whole block */
    size_t n;
    uint32_t holders;
    lt_held *children[];
};

lt_held *lt_held_retain(lt_held *held)
{
    if (held != NULL) {
        held->holders++;
    }
    return held;
}

void lt_held_release(lt_held *held)
{
    if (held == NULL || --held->holders != 0) {
        return;
    }
    for (size_t i = 0; i < held->n; i++) {
        lt_held_release(held->children[i]);
    }
    lt_free(held->memory, held, held->bytes);
}

/* A block with room for n children and `bytes` of data. */
static leat_status make(lt_memory *memory, size_t n, size_t bytes, lt_held **out_held,
                        void **out_data, leat_error *err)
{
    size_t head, total;
    *out_held = NULL;
    if (!lt_mul(n, sizeof(lt_held *), &head) || !lt_add(head, sizeof(lt_held), &head) ||
        !lt_align_up(head, LT_ALIGNMENT, &head) || !lt_add(head, bytes, &total)) {
        return lt_fail(err, LEAT_LIMIT, "a sequence or an element of it is too large");
    }
    lt_held *held = lt_alloc(memory, total, LT_ALIGNMENT);
    if (held == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for %zu bytes of a sequence", total);
    }
    memset(held, 0, head);
    held->memory = memory;
    held->bytes = total;
    held->n = n;
    held->holders = 1;
    *out_held = held;
    *out_data = (char *)held + head;
    return LEAT_OK;
}

/* Bytes of the text of strings. */
static bool text_bytes(const leat_array *source, size_t count, size_t *out_bytes)
{
    const leat_string *strings = source->data;
    *out_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        if (!lt_add(*out_bytes, strings[i].bytes, out_bytes)) {
            return false;
        }
    }
    return true;
}

/* Strings point at text behind them. */
static void copy_text(leat_string *strings, size_t count)
{
    char *at = (char *)(strings + count);
    for (size_t i = 0; i < count; i++) {
        if (strings[i].bytes != 0) {
            memcpy(at, strings[i].data, strings[i].bytes);
        }
        strings[i].data = at;
        at += strings[i].bytes;
    }
}

leat_status lt_held_tensor(lt_memory *memory, const leat_array *source, lt_item *out_item,
                           leat_error *err)
{
    size_t bytes, count, text = 0, total;
    bool strings = source->dtype == LEAT_DTYPE_STRING && source->data != NULL;
    void *data = NULL;
    memset(out_item, 0, sizeof(*out_item));
    if (!lt_shape_bytes(source->dtype, source->rank, source->shape, &bytes) ||
        !lt_shape_count(source->rank, source->shape, &count) ||
        (strings && !text_bytes(source, count, &text)) || !lt_add(bytes, text, &total)) {
        return lt_fail(err, LEAT_LIMIT, "an element of a sequence is too large");
    }
    leat_status status = make(memory, 0, total, &out_item->held, &data, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (bytes != 0 && source->data != NULL) {
        memcpy(data, source->data, bytes);
    }
    if (strings) {
        copy_text(data, count);
    }
    out_item->array = *source;
    out_item->array.data = data;
    out_item->array.bytes = bytes;
    return LEAT_OK;
}

leat_status lt_held_strings(lt_memory *memory, int32_t rank, const int64_t *shape,
                            size_t text_bytes, lt_item *out_item, char **out_text, leat_error *err)
{
    size_t bytes, total;
    void *data = NULL;
    memset(out_item, 0, sizeof(*out_item));
    if (!lt_shape_bytes(LEAT_DTYPE_STRING, rank, shape, &bytes) ||
        !lt_add(bytes, text_bytes, &total)) {
        return lt_fail(err, LEAT_LIMIT, "its strings are too large");
    }
    leat_status status = make(memory, 0, total, &out_item->held, &data, err);
    if (status == LEAT_OK) {
        out_item->array =
            (leat_array){.dtype = LEAT_DTYPE_STRING, .rank = rank, .data = data, .bytes = bytes};
        memcpy(out_item->array.shape, shape, (size_t)rank * sizeof(*shape));
        *out_text = (char *)data + bytes;
    }
    return status;
}

leat_status lt_held_arrays(lt_memory *memory, leat_dtype dtype, size_t n, lt_item *out_item,
                           leat_error *err)
{
    size_t bytes;
    void *data = NULL;
    memset(out_item, 0, sizeof(*out_item));
    if (n > INT64_MAX || !lt_mul(n, sizeof(leat_array), &bytes)) {
        return lt_fail(err, LEAT_LIMIT, "a sequence of %zu elements", n);
    }
    leat_status status = make(memory, n, bytes, &out_item->held, &data, err);
    if (status == LEAT_OK) {
        out_item->array = (leat_array){
            .dtype = dtype, .rank = 1, .shape = {(int64_t)n}, .data = data, .bytes = bytes};
    }
    return status;
}

void lt_held_put(lt_item *container, size_t i, const lt_item *element)
{
    ((leat_array *)container->array.data)[i] = element->array;
    container->held->children[i] = lt_held_retain(element->held);
}

lt_item lt_held_get(const lt_item *container, size_t i)
{
    return (lt_item){((const leat_array *)container->array.data)[i],
                     container->held ? container->held->children[i] : NULL};
}

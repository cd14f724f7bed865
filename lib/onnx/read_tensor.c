/* SPDX-License-Identifier: Apache-2.0 */
/* TensorProto -> leat_array. */
#include "base/tensor.h"
#include "onnx/external.h"
#include "onnx/reader_internal.h"

#include <string.h>

enum {
    TENSOR_DIMS = 1,
    TENSOR_DATA_TYPE = 2,
    TENSOR_SEGMENT = 3,
    TENSOR_FLOAT_DATA = 4,
    TENSOR_INT32_DATA = 5,
    TENSOR_STRING_DATA = 6,
    TENSOR_INT64_DATA = 7,
    TENSOR_NAME = 8,
    TENSOR_RAW_DATA = 9,
    TENSOR_DOUBLE_DATA = 10,
    TENSOR_UINT64_DATA = 11,
    TENSOR_EXTERNAL_DATA = 13,
    TENSOR_DATA_LOCATION = 14
};

/* What the fields of a TensorProto say, before the data is read. */
typedef struct header {
    leat_array array;
    leat_string name;
    bool has_raw;
    bool external;
    lt_wire raw;
} header;

leat_status lt_read_string(const lt_field *field, const lt_wire *wire, const char *what,
                           leat_string *out, leat_error *err)
{
    leat_status status = lt_wire_expect(field, wire, LT_WIRE_BYTES, what, err);
    if (status == LEAT_OK) {
        out->data = (const char *)field->bytes.at;
        out->bytes = lt_wire_left(&field->bytes);
        if (memchr(out->data, '\0', out->bytes) != NULL) {
            return lt_fail(err, LEAT_CORRUPT, "byte %zu: %s contains a zero byte",
                           lt_wire_offset(&field->bytes), what);
        }
    }
    return status;
}

static leat_status add_dim(leat_array *array, uint64_t value, const lt_wire *wire, leat_error *err)
{
    if (array->rank == LEAT_MAX_RANK) {
        return lt_fail(err, LEAT_UNSUPPORTED, "byte %zu: a tensor of more than %d dimensions",
                       lt_wire_offset(wire), LEAT_MAX_RANK);
    }
    if (value > INT64_MAX) {
        return lt_fail(err, LEAT_CORRUPT, "byte %zu: a negative dimension", lt_wire_offset(wire));
    }
    array->shape[array->rank++] = (int64_t)value;
    return LEAT_OK;
}

static leat_status read_dims(const lt_field *field, leat_array *array, const lt_wire *wire,
                             leat_error *err)
{
    if (field->type == LT_WIRE_VARINT) {
        return add_dim(array, field->value, wire, err);
    }
    leat_status status = lt_wire_expect(field, wire, LT_WIRE_BYTES, "dims", err);
    lt_wire packed = field->bytes;
    while (status == LEAT_OK && packed.at != packed.end) {
        uint64_t value;
        status = lt_wire_varint(&packed, &value, err);
        if (status == LEAT_OK) {
            status = add_dim(array, value, wire, err);
        }
    }
    return status;
}

static leat_status read_header(lt_wire wire, header *h, leat_error *err)
{
    leat_status status = LEAT_OK;
    lt_field field;
    memset(h, 0, sizeof(*h));
    while (lt_wire_more(&wire, &field, &status, err)) {
        switch (field.number) {
        case TENSOR_DIMS:
            status = read_dims(&field, &h->array, &wire, err);
            break;
        case TENSOR_DATA_TYPE:
            status = lt_wire_expect(&field, &wire, LT_WIRE_VARINT, "data_type", err);
            h->array.dtype =
                field.value < LEAT_DTYPE_COUNT ? (leat_dtype)field.value : LEAT_DTYPE_UNDEFINED;
            break;
        case TENSOR_SEGMENT:
            return lt_fail(err, LEAT_UNSUPPORTED, "byte %zu: tensors in segments are not supported",
                           lt_wire_offset(&wire));
        case TENSOR_NAME:
            status = lt_read_string(&field, &wire, "a tensor's name", &h->name, err);
            break;
        case TENSOR_RAW_DATA:
            status = lt_wire_expect(&field, &wire, LT_WIRE_BYTES, "raw_data", err);
            h->raw = field.bytes;
            h->has_raw = true;
            break;
        case TENSOR_DATA_LOCATION:
            status = lt_wire_expect(&field, &wire, LT_WIRE_VARINT, "data_location", err);
            h->external = field.value == 1;
            break;
        default:
            break;
        }
    }
    return status;
}

/* --- typed fields -------------------------------------------------------------------------------
 */

/* The field that holds elements of a type, and the bytes that one of its entries stands for. */
static uint32_t typed_field(leat_dtype dtype, size_t *out_entry_bytes)
{
    *out_entry_bytes = lt_dtype_bits(dtype) < 8 ? 1 : lt_dtype_bits(dtype) / 8;
    switch (dtype) {
    case LEAT_DTYPE_C64:
        *out_entry_bytes = 4;
        return TENSOR_FLOAT_DATA;
    case LEAT_DTYPE_F32:
        return TENSOR_FLOAT_DATA;
    case LEAT_DTYPE_C128:
        *out_entry_bytes = 8;
        return TENSOR_DOUBLE_DATA;
    case LEAT_DTYPE_F64:
        return TENSOR_DOUBLE_DATA;
    case LEAT_DTYPE_I64:
        return TENSOR_INT64_DATA;
    case LEAT_DTYPE_U32:
    case LEAT_DTYPE_U64:
        return TENSOR_UINT64_DATA;
    default:
        return TENSOR_INT32_DATA;
    }
}

typedef struct entry_sink {
    char *out;
    size_t entry_bytes;
    size_t entries; /* that fit */
    size_t count;   /* that came */
} entry_sink;

/* Little-endian: the low bytes of the number are the element. */
static void put_entry(entry_sink *sink, uint64_t value)
{
    if (sink->count < sink->entries) {
        memcpy(sink->out + sink->count * sink->entry_bytes, &value, sink->entry_bytes);
    }
    sink->count++;
}

static leat_status read_packed(lt_wire packed, uint32_t number, entry_sink *sink, leat_error *err)
{
    size_t fixed = number == TENSOR_FLOAT_DATA ? 4 : number == TENSOR_DOUBLE_DATA ? 8 : 0;
    if (fixed != 0 && lt_wire_left(&packed) % fixed != 0) {
        return lt_fail(err, LEAT_CORRUPT, "byte %zu: packed numbers of %zu bytes in %zu bytes",
                       lt_wire_offset(&packed), fixed, lt_wire_left(&packed));
    }
    while (packed.at != packed.end) {
        uint64_t value = 0;
        if (fixed != 0) {
            memcpy(&value, packed.at, fixed);
            packed.at += fixed;
        } else {
            leat_status status = lt_wire_varint(&packed, &value, err);
            if (status != LEAT_OK) {
                return status;
            }
        }
        put_entry(sink, value);
    }
    return LEAT_OK;
}

static leat_status read_typed(lt_reader *reader, lt_wire wire, leat_array *array, leat_error *err)
{
    size_t entry_bytes;
    uint32_t number = typed_field(array->dtype, &entry_bytes);
    /* Every entry takes at least a byte of the message, so a short file cannot ask for much. */
    if (array->bytes / entry_bytes > lt_wire_left(&wire)) {
        return lt_fail(err, LEAT_CORRUPT, "byte %zu: a tensor of %zu bytes in a message of %zu",
                       lt_wire_offset(&wire), array->bytes, lt_wire_left(&wire));
    }
    array->data = lt_arena_alloc(reader->arena, array->bytes ? array->bytes : 1, LT_ALIGNMENT);
    if (array->data == NULL) {
        return lt_read_no_memory(err);
    }
    entry_sink sink = {array->data, entry_bytes, array->bytes / entry_bytes, 0};
    size_t start = lt_wire_offset(&wire);
    leat_status status = LEAT_OK;
    lt_field field;
    while (lt_wire_find(&wire, number, &field, &status, err)) {
        if (field.type == LT_WIRE_BYTES) {
            status = read_packed(field.bytes, number, &sink, err);
        } else {
            put_entry(&sink, field.value);
        }
    }
    if (status != LEAT_OK) {
        return status;
    }
    if (sink.count != sink.entries) {
        return lt_fail(err, LEAT_CORRUPT, "byte %zu: a tensor has %zu elements where %zu belong",
                       start, sink.count, sink.entries);
    }
    return LEAT_OK;
}

static leat_status read_strings(lt_reader *reader, lt_wire wire, leat_array *array, leat_error *err)
{
    size_t count = array->bytes / sizeof(leat_string), found = 0;
    if (count > lt_wire_left(&wire)) {
        return lt_fail(err, LEAT_CORRUPT, "byte %zu: %zu strings in a message of %zu bytes",
                       lt_wire_offset(&wire), count, lt_wire_left(&wire));
    }
    leat_string *strings = lt_arena_array(reader->arena, count + 1, sizeof(*strings));
    if (strings == NULL) {
        return lt_read_no_memory(err);
    }
    size_t start = lt_wire_offset(&wire);
    leat_status status = LEAT_OK;
    lt_field field;
    while (lt_wire_find(&wire, TENSOR_STRING_DATA, &field, &status, err)) {
        if (field.type != LT_WIRE_BYTES) {
            continue;
        }
        if (found < count) {
            strings[found].data = (const char *)field.bytes.at;
            strings[found].bytes = lt_wire_left(&field.bytes);
        }
        found++;
    }
    if (status != LEAT_OK) {
        return status;
    }
    array->data = strings;
    if (found != count) {
        return lt_fail(err, LEAT_CORRUPT, "byte %zu: a tensor has %zu strings where %zu belong",
                       start, found, count);
    }
    return LEAT_OK;
}

/* --- raw and external data ----------------------------------------------------------------------
 */

static leat_status read_raw(lt_reader *reader, const header *h, leat_array *array, leat_error *err)
{
    size_t have = lt_wire_left(&h->raw);
    size_t element = lt_dtype_bits(array->dtype) / 8;
    if (array->dtype == LEAT_DTYPE_STRING) {
        return lt_fail(err, LEAT_CORRUPT, "byte %zu: strings cannot be raw data",
                       lt_wire_offset(&h->raw));
    }
    if (have != array->bytes) {
        return lt_fail(err, LEAT_CORRUPT, "byte %zu: a tensor has %zu bytes where %zu belong",
                       lt_wire_offset(&h->raw), have, array->bytes);
    }
    array->data = (void *)h->raw.at;
    bool aligned = element <= 1 || (uintptr_t)h->raw.at % element == 0;
    if (have == 0 || (!aligned && have < LT_COPY_UNALIGNED_BELOW)) {
        array->data = lt_arena_alloc(reader->arena, have ? have : 1, LT_ALIGNMENT);
        if (array->data == NULL) {
            return lt_read_no_memory(err);
        }
        if (have != 0) {
            memcpy(array->data, h->raw.at, have);
        }
    }
    return LEAT_OK;
}

/* Where external data lies. Keys other than these three have no effect (CVE-2026-34445). */
typedef struct external_entry {
    leat_string location;
    uint64_t offset;
    uint64_t length;
    bool has_length;
} external_entry;

static leat_status parse_number(leat_string text, const char *key, uint64_t *out, leat_error *err)
{
    uint64_t value = 0;
    bool good = text.bytes != 0;
    for (size_t i = 0; i < text.bytes && good; i++) {
        char c = text.data[i];
        good = c >= '0' && c <= '9' && !__builtin_mul_overflow(value, 10u, &value) &&
               !__builtin_add_overflow(value, (uint64_t)(c - '0'), &value);
    }
    *out = value;
    return good ? LEAT_OK
                : lt_fail(err, LEAT_CORRUPT, "external data: %s '%.*s' is not a number", key,
                          (int)(text.bytes < 40 ? text.bytes : 40), text.data);
}

static leat_status read_external_entry(lt_wire wire, external_entry *entry, leat_error *err)
{
    leat_string pair[2] = {{"", 0}, {"", 0}};
    leat_status status = LEAT_OK;
    lt_field field;
    while (lt_wire_more(&wire, &field, &status, err)) {
        if (field.number == 1 || field.number == 2) {
            status = lt_read_string(&field, &wire, "external data", &pair[field.number - 1], err);
        }
    }
    if (status != LEAT_OK) {
        return status;
    }
    if (lt_read_is(pair[0], "location")) {
        entry->location = pair[1];
    } else if (lt_read_is(pair[0], "offset")) {
        return parse_number(pair[1], "offset", &entry->offset, err);
    } else if (lt_read_is(pair[0], "length")) {
        entry->has_length = true;
        return parse_number(pair[1], "length", &entry->length, err);
    }
    return LEAT_OK;
}

static leat_status fetch_external(lt_reader *reader, const external_entry *entry, leat_array *array,
                                  leat_error *err)
{
    const lt_onnx_source *source = reader->source;
    const char *location =
        lt_arena_string_n(&reader->scratch, entry->location.data, entry->location.bytes);
    const void *data = NULL;
    if (location == NULL) {
        return lt_read_no_memory(err);
    }
    if (source != NULL && source->files != NULL) {
        leat_status status =
            lt_external_files_map(source->files, location, entry->offset, array->bytes, &data, err);
        array->data = (void *)data;
        return status;
    }
    if (source == NULL || source->external_data == NULL) {
        return lt_fail(err, LEAT_INVALID,
                       "the model keeps data in '%s', but was loaded from memory without an "
                       "external_data callback",
                       location);
    }
    array->data = lt_arena_alloc(reader->arena, array->bytes ? array->bytes : 1, LT_ALIGNMENT);
    if (array->data == NULL) {
        return lt_read_no_memory(err);
    }
    leat_status status = source->external_data(source->external_data_user, location, entry->offset,
                                               array->data, array->bytes);
    return status == LEAT_OK
               ? LEAT_OK
               : lt_fail(err, status, "the external_data callback refused '%s'", location);
}

static leat_status read_external(lt_reader *reader, lt_wire wire, leat_array *array,
                                 leat_error *err)
{
    external_entry entry = {{"", 0}, 0, 0, false};
    leat_status status = LEAT_OK;
    lt_field field;
    while (lt_wire_find(&wire, TENSOR_EXTERNAL_DATA, &field, &status, err)) {
        status = lt_wire_expect(&field, &wire, LT_WIRE_BYTES, "external_data", err);
        if (status == LEAT_OK) {
            status = read_external_entry(field.bytes, &entry, err);
        }
    }
    if (status != LEAT_OK) {
        return status;
    }
    if (array->dtype == LEAT_DTYPE_STRING) {
        return lt_fail(err, LEAT_CORRUPT, "strings cannot be external data");
    }
    if (entry.has_length && entry.length != array->bytes) {
        return lt_fail(err, LEAT_CORRUPT, "external data has %llu bytes where %zu belong",
                       (unsigned long long)entry.length, array->bytes);
    }
    status = fetch_external(reader, &entry, array, err);
    size_t element = lt_dtype_bits(array->dtype) / 8;
    if (status == LEAT_OK && element > 1 && (uintptr_t)array->data % element != 0 &&
        array->bytes < LT_COPY_UNALIGNED_BELOW) {
        array->data = lt_arena_copy(reader->arena, array->data, array->bytes);
        status = array->data ? LEAT_OK : lt_read_no_memory(err);
    }
    return status;
}

leat_status lt_read_tensor(lt_reader *reader, lt_wire message, leat_array *out_array,
                           leat_string *out_name, leat_error *err)
{
    header h;
    leat_status status = read_header(message, &h, err);
    *out_array = h.array;
    *out_name = h.name;
    if (status != LEAT_OK) {
        return status;
    }
    if (h.array.dtype == LEAT_DTYPE_UNDEFINED) {
        return lt_fail(err, LEAT_UNSUPPORTED, "byte %zu: tensor '%.*s' is of an unknown type",
                       lt_wire_offset(&message), (int)(h.name.bytes < 80 ? h.name.bytes : 80),
                       h.name.data ? h.name.data : "");
    }
    if (!lt_shape_bytes(h.array.dtype, h.array.rank, h.array.shape, &out_array->bytes)) {
        return lt_fail(err, LEAT_CORRUPT, "byte %zu: the size of a tensor overflows",
                       lt_wire_offset(&message));
    }
    if (h.external) {
        status = read_external(reader, message, out_array, err);
    } else if (h.has_raw) {
        status = read_raw(reader, &h, out_array, err);
    } else if (h.array.dtype == LEAT_DTYPE_STRING) {
        status = read_strings(reader, message, out_array, err);
    } else {
        status = read_typed(reader, message, out_array, err);
    }
    if (status != LEAT_OK && h.name.bytes != 0) {
        return lt_fail_within(err, status, "tensor '%.*s'",
                              (int)(h.name.bytes < 80 ? h.name.bytes : 80), h.name.data);
    }
    return status;
}

leat_status lt_onnx_read_tensor(lt_arena *arena, const void *data, size_t bytes,
                                leat_array *out_array, const char **out_name, leat_error *err)
{
    lt_reader reader = {.arena = arena};
    lt_wire wire = {data, data, (const uint8_t *)data + bytes};
    leat_string name;
    lt_arena_init(&reader.scratch, arena->memory, 0);
    leat_status status = lt_read_tensor(&reader, wire, out_array, &name, err);
    if (status == LEAT_OK && out_name != NULL) {
        *out_name = lt_arena_string_n(arena, name.data ? name.data : "", name.bytes);
        status = *out_name ? LEAT_OK : lt_read_no_memory(err);
    }
    lt_arena_destroy(&reader.scratch);
    return status;
}

/* --- sequences and optionals, for tests ---------------------------------------------------------
 */

enum {
    CONTAINER_TENSOR = 3,
    CONTAINER_SEQUENCE = 5
};

/* The elements of a SequenceProto, or the one of an OptionalProto. */
static leat_status read_elements(lt_reader *reader, lt_wire wire, leat_dtype dtype,
                                 leat_array *out_array, leat_error *err)
{
    size_t tensors, sequences, at = 0;
    leat_status status = lt_count_fields(wire, CONTAINER_TENSOR, &tensors, err);
    if (status == LEAT_OK) {
        status = lt_count_fields(wire, CONTAINER_SEQUENCE, &sequences, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    size_t count = tensors + (dtype == LEAT_DTYPE_OPTIONAL ? sequences : 0);
    leat_array *elements = lt_arena_array(reader->arena, count + 1, sizeof(*elements));
    if (elements == NULL) {
        return lt_read_no_memory(err);
    }
    lt_field field;
    while (lt_wire_more(&wire, &field, &status, err)) {
        leat_string name;
        if (field.type != LT_WIRE_BYTES) {
            continue;
        }
        if (field.number == CONTAINER_TENSOR) {
            status = lt_read_tensor(reader, field.bytes, &elements[at++], &name, err);
        } else if (field.number == CONTAINER_SEQUENCE && dtype == LEAT_DTYPE_OPTIONAL) {
            status = read_elements(reader, field.bytes, LEAT_DTYPE_SEQUENCE, &elements[at++], err);
        }
    }
    memset(out_array, 0, sizeof(*out_array));
    out_array->dtype = dtype;
    out_array->rank = 1;
    out_array->shape[0] = (int64_t)count;
    out_array->data = elements;
    out_array->bytes = count * sizeof(*elements);
    return status;
}

leat_status lt_onnx_read_value(lt_arena *arena, leat_dtype dtype, const void *data, size_t bytes,
                               leat_array *out_array, leat_error *err)
{
    lt_reader reader = {.arena = arena};
    lt_wire wire = {data, data, (const uint8_t *)data + bytes};
    if (dtype != LEAT_DTYPE_SEQUENCE && dtype != LEAT_DTYPE_OPTIONAL) {
        return lt_onnx_read_tensor(arena, data, bytes, out_array, NULL, err);
    }
    lt_arena_init(&reader.scratch, arena->memory, 0);
    leat_status status = read_elements(&reader, wire, dtype, out_array, err);
    lt_arena_destroy(&reader.scratch);
    return status;
}

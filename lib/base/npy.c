/* SPDX-License-Identifier: Apache-2.0 */
#include "base/npy.h"

#include "base/error.h"
#include "base/file.h"
#include "base/tensor.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *descr; /* without the byte order */
    leat_dtype dtype;
} types[] = {{"f4", LEAT_DTYPE_F32}, {"f8", LEAT_DTYPE_F64},  {"f2", LEAT_DTYPE_F16},
             {"i1", LEAT_DTYPE_I8},  {"i2", LEAT_DTYPE_I16},  {"i4", LEAT_DTYPE_I32},
             {"i8", LEAT_DTYPE_I64}, {"u1", LEAT_DTYPE_U8},   {"u2", LEAT_DTYPE_U16},
             {"u4", LEAT_DTYPE_U32}, {"u8", LEAT_DTYPE_U64},  {"b1", LEAT_DTYPE_BOOL},
             {"c8", LEAT_DTYPE_C64}, {"c16", LEAT_DTYPE_C128}};

#define N_TYPES (sizeof(types) / sizeof(types[0]))

/* What the header says. */
typedef struct header {
    leat_array array;
    bool swap;
    bool fortran;
    size_t data_offset;
} header;

/* --- the header's dictionary --------------------------------------------------------------------
 */

typedef struct text {
    const char *at;
    const char *end;
} text;

/* The text behind "'key':" in the dictionary, one byte at least; at NULL when it is not there. */
static text value_of(text dict, const char *key)
{
    size_t length = strlen(key);
    for (const char *p = dict.at; p + length + 2 < dict.end; p++) {
        if ((*p == '\'' || *p == '"') && memcmp(p + 1, key, length) == 0 && p[length + 1] == *p) {
            text found = {p + length + 2, dict.end};
            while (found.at < found.end && (*found.at == ' ' || *found.at == ':')) {
                found.at++;
            }
            return found.at < found.end ? found : (text){NULL, NULL};
        }
    }
    return (text){NULL, NULL};
}

static leat_status parse_descr(text dict, header *h, leat_error *err)
{
    text v = value_of(dict, "descr");
    char descr[16] = {0};
    size_t n = 0;
    if (v.at == NULL || (*v.at != '\'' && *v.at != '"')) {
        return lt_fail(err, LEAT_UNSUPPORTED, ".npy: records are not supported");
    }
    for (const char *p = v.at + 1; p < v.end && *p != *v.at && n + 1 < sizeof(descr); p++) {
        descr[n++] = *p;
    }
    const char *name = descr + (strchr("<>|=", descr[0]) != NULL && descr[0] != '\0');
    h->swap = descr[0] == '>';
    for (size_t i = 0; i < N_TYPES; i++) {
        if (strcmp(types[i].descr, name) == 0) {
            h->array.dtype = types[i].dtype;
            return LEAT_OK;
        }
    }
    return lt_fail(err, LEAT_UNSUPPORTED, ".npy: type '%s' is not supported", descr);
}

static leat_status parse_shape(text dict, header *h, leat_error *err)
{
    text v = value_of(dict, "shape");
    if (v.at == NULL || *v.at != '(') {
        return lt_fail(err, LEAT_CORRUPT, ".npy: the header has no shape");
    }
    for (v.at++; v.at < v.end && *v.at != ')';) {
        if (*v.at == ',' || *v.at == ' ' || *v.at == 'L') {
            v.at++;
            continue;
        }
        int64_t dim = 0;
        const char *start = v.at;
        while (v.at < v.end && *v.at >= '0' && *v.at <= '9') {
            if (__builtin_mul_overflow(dim, 10, &dim) ||
                __builtin_add_overflow(dim, *v.at - '0', &dim)) {
                return lt_fail(err, LEAT_CORRUPT, ".npy: a dimension is too large");
            }
            v.at++;
        }
        if (v.at == start) {
            return lt_fail(err, LEAT_CORRUPT, ".npy: the shape is not made of numbers");
        }
        if (h->array.rank == LEAT_MAX_RANK) {
            return lt_fail(err, LEAT_UNSUPPORTED, ".npy: more than %d dimensions", LEAT_MAX_RANK);
        }
        h->array.shape[h->array.rank++] = dim;
    }
    return LEAT_OK;
}

static leat_status parse_header(const uint8_t *data, size_t bytes, header *h, leat_error *err)
{
    memset(h, 0, sizeof(*h));
    if (bytes < 12 || memcmp(data, "\x93NUMPY", 6) != 0 || data[6] < 1 || data[6] > 3) {
        return lt_fail(err, LEAT_CORRUPT, "byte 0: this is not a .npy file of version 1 to 3");
    }
    size_t prefix = data[6] == 1 ? 10 : 12;
    size_t length = data[8] | (size_t)data[9] << 8;
    if (data[6] > 1) {
        length |= (size_t)data[10] << 16 | (size_t)data[11] << 24;
    }
    if (length > bytes - prefix) {
        return lt_fail(err, LEAT_CORRUPT, "byte 8: a .npy header of %zu bytes in a file of %zu",
                       length, bytes);
    }
    h->data_offset = prefix + length;
    text dict = {(const char *)data + prefix, (const char *)data + h->data_offset};
    text fortran = value_of(dict, "fortran_order");
    h->fortran = fortran.at != NULL && *fortran.at == 'T';
    leat_status status = parse_descr(dict, h, err);
    return status != LEAT_OK ? status : parse_shape(dict, h, err);
}

/* --- reading ------------------------------------------------------------------------------------
 */

/* Copies element by element into C order, bytes swapped if need be. */
static void rearrange(const header *h, const uint8_t *from, uint8_t *to, size_t element,
                      size_t count)
{
    int32_t rank = h->array.rank;
    /* A complex number is two numbers, each with its own byte order. */
    bool pairs = h->array.dtype == LEAT_DTYPE_C64 || h->array.dtype == LEAT_DTYPE_C128;
    size_t unit = pairs ? element / 2 : element;
    for (size_t i = 0; i < count; i++) {
        size_t source = i;
        if (h->fortran) {
            size_t rest = i, at[LEAT_MAX_RANK], stride = 1;
            for (int32_t d = rank - 1; d >= 0; d--) {
                at[d] = rest % (size_t)h->array.shape[d];
                rest /= (size_t)h->array.shape[d];
            }
            source = 0;
            for (int32_t d = 0; d < rank; d++) {
                source += at[d] * stride;
                stride *= (size_t)h->array.shape[d];
            }
        }
        for (size_t b = 0; b < element; b++) {
            size_t byte = h->swap ? b / unit * unit + (unit - 1 - b % unit) : b;
            to[i * element + b] = from[source * element + byte];
        }
    }
}

leat_status lt_npy_read(lt_arena *arena, const void *data, size_t bytes, leat_array *out_array,
                        leat_error *err)
{
    header h;
    size_t need, count;
    memset(out_array, 0, sizeof(*out_array));
    leat_status status = parse_header(data, bytes, &h, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (!lt_shape_bytes(h.array.dtype, h.array.rank, h.array.shape, &need) ||
        !lt_shape_count(h.array.rank, h.array.shape, &count) || need > bytes - h.data_offset) {
        return lt_fail(err, LEAT_CORRUPT, "byte %zu: the data of a .npy file is cut off",
                       h.data_offset);
    }
    size_t element = lt_dtype_bits(h.array.dtype) / 8;
    const uint8_t *from = (const uint8_t *)data + h.data_offset;
    h.array.bytes = need;
    h.array.data = (void *)from;
    bool is_bool = h.array.dtype == LEAT_DTYPE_BOOL;
    if (h.swap || (h.fortran && h.array.rank > 1) || is_bool || (uintptr_t)from % element != 0) {
        uint8_t *copy = lt_arena_alloc(arena, need ? need : 1, LT_ALIGNMENT);
        if (copy == NULL) {
            return lt_fail(err, LEAT_NO_MEMORY, ".npy: out of memory");
        }
        rearrange(&h, from, copy, element, count);
        for (size_t i = 0; is_bool && i < count; i++) {
            copy[i] = copy[i] != 0;
        }
        h.array.data = copy;
    }
    *out_array = h.array;
    return LEAT_OK;
}

/* --- writing ------------------------------------------------------------------------------------
 */

static const char *descr_of(leat_dtype dtype)
{
    for (size_t i = 0; i < N_TYPES; i++) {
        if (types[i].dtype == dtype) {
            return types[i].descr;
        }
    }
    switch (dtype) {
    case LEAT_DTYPE_BF16:
        return "u2";
    case LEAT_DTYPE_I4:
    case LEAT_DTYPE_I2:
        return "i1";
    case LEAT_DTYPE_STRING:
    case LEAT_DTYPE_UNDEFINED:
        return NULL;
    default:
        return "u1";
    }
}

static leat_status write_header(lt_file_writer *file, const leat_array *array, leat_error *err)
{
    char head[320], shape[200] = "";
    size_t used = 0;
    const char *descr = descr_of(array->dtype);
    bool one_byte = descr[1] == '1' && descr[2] == '\0';
    for (int32_t i = 0; i < array->rank; i++) {
        used += (size_t)snprintf(shape + used, sizeof(shape) - used, "%lld%s",
                                 (long long)array->shape[i],
                                 array->rank == 1      ? ","
                                 : i + 1 < array->rank ? ", "
                                                       : "");
    }
    int n = snprintf(head + 10, sizeof(head) - 10,
                     "{'descr': '%c%s', 'fortran_order': False, 'shape': (%s), }",
                     one_byte ? '|' : '<', descr, shape);
    /* Spaces and a line end bring the data to a multiple of 64. */
    size_t total = ((size_t)n + 10 + 1 + 63) / 64 * 64;
    memset(head + 10 + n, ' ', total - 10 - (size_t)n);
    head[total - 1] = '\n';
    memcpy(head, "\x93NUMPY\x01\x00", 8);
    head[8] = (char)((total - 10) & 0xff);
    head[9] = (char)((total - 10) >> 8);
    return lt_file_writer_write(file, head, total, err);
}

/* Packed elements as bytes of their own, signed types sign-extended. */
static leat_status write_packed(lt_file_writer *file, const leat_array *array, size_t count,
                                leat_error *err)
{
    unsigned bits = lt_dtype_bits(array->dtype);
    bool is_signed = array->dtype == LEAT_DTYPE_I4 || array->dtype == LEAT_DTYPE_I2;
    leat_status status = LEAT_OK;
    for (size_t i = 0; i < count && status == LEAT_OK; i++) {
        unsigned byte = ((const uint8_t *)array->data)[i * bits / 8];
        unsigned v = byte >> (i * bits % 8) & ((1u << bits) - 1);
        int8_t out = (int8_t)(is_signed && v >> (bits - 1) ? (int)v - (1 << bits) : (int)v);
        status = lt_file_writer_write(file, &out, 1, err);
    }
    return status;
}

leat_status lt_npy_write(lt_memory *memory, const char *path, const leat_array *array,
                         leat_error *err)
{
    lt_file_writer file;
    size_t count;
    if (descr_of(array->dtype) == NULL || !lt_shape_count(array->rank, array->shape, &count)) {
        return lt_fail(err, LEAT_UNSUPPORTED, "cannot write '%s': .npy has no form for type %s",
                       path, leat_dtype_name(array->dtype));
    }
    leat_status status = lt_file_writer_open(memory, path, &file, err);
    if (status != LEAT_OK) {
        return status;
    }
    status = write_header(&file, array, err);
    if (status == LEAT_OK && lt_dtype_bits(array->dtype) < 8) {
        status = write_packed(&file, array, count, err);
    } else if (status == LEAT_OK) {
        status = lt_file_writer_write(&file, array->data, array->bytes, err);
    }
    if (status != LEAT_OK) {
        lt_file_writer_close(&file);
        return status;
    }
    return lt_file_writer_commit(&file, err);
}

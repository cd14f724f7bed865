/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/wire.h"

#include "base/error.h"

#include <string.h>

leat_status lt_wire_varint(lt_wire *wire, uint64_t *out_value, leat_error *err)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (wire->at == wire->end) {
            return lt_fail(err, LEAT_CORRUPT, "byte %zu: a number is cut off",
                           lt_wire_offset(wire));
        }
        uint8_t byte = *wire->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *out_value = value;
            return LEAT_OK;
        }
    }
    return lt_fail(err, LEAT_CORRUPT, "byte %zu: a number is longer than 10 bytes",
                   lt_wire_offset(wire));
}

static leat_status read_fixed(lt_wire *wire, size_t bytes, uint64_t *out_value, leat_error *err)
{
    if (lt_wire_left(wire) < bytes) {
        return lt_fail(err, LEAT_CORRUPT, "byte %zu: a number is cut off", lt_wire_offset(wire));
    }
    *out_value = 0;
    memcpy(out_value, wire->at, bytes);
    wire->at += bytes;
    return LEAT_OK;
}

leat_status lt_wire_next(lt_wire *wire, lt_field *out_field, bool *out_more, leat_error *err)
{
    size_t start = lt_wire_offset(wire);
    uint64_t key = 0;
    memset(out_field, 0, sizeof(*out_field));
    *out_more = wire->at != wire->end;
    if (!*out_more) {
        return LEAT_OK;
    }
    leat_status status = lt_wire_varint(wire, &key, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (key >> 3 == 0 || key >> 3 > 0x1fffffff) {
        return lt_fail(err, LEAT_CORRUPT, "byte %zu: field number %llu is not possible", start,
                       (unsigned long long)(key >> 3));
    }
    out_field->number = (uint32_t)(key >> 3);
    out_field->type = (lt_wire_type)(key & 7);
    switch (key & 7) {
    case LT_WIRE_VARINT:
        return lt_wire_varint(wire, &out_field->value, err);
    case LT_WIRE_FIXED64:
        return read_fixed(wire, 8, &out_field->value, err);
    case LT_WIRE_FIXED32:
        return read_fixed(wire, 4, &out_field->value, err);
    case LT_WIRE_BYTES:
        status = lt_wire_varint(wire, &out_field->value, err);
        if (status != LEAT_OK) {
            return status;
        }
        if (out_field->value > lt_wire_left(wire)) {
            return lt_fail(
                err, LEAT_CORRUPT, "byte %zu: field %u wants %llu bytes where %zu are left", start,
                out_field->number, (unsigned long long)out_field->value, lt_wire_left(wire));
        }
        out_field->bytes = (lt_wire){wire->file, wire->at, wire->at + out_field->value};
        wire->at += out_field->value;
        return LEAT_OK;
    default:
        return lt_fail(err, LEAT_CORRUPT, "byte %zu: field %u has wire type %u", start,
                       out_field->number, (unsigned)(key & 7));
    }
}

bool lt_wire_more(lt_wire *wire, lt_field *out_field, leat_status *status, leat_error *err)
{
    bool more = false;
    if (*status == LEAT_OK) {
        *status = lt_wire_next(wire, out_field, &more, err);
    }
    return *status == LEAT_OK && more;
}

bool lt_wire_find(lt_wire *wire, uint32_t number, lt_field *out_field, leat_status *status,
                  leat_error *err)
{
    while (lt_wire_more(wire, out_field, status, err)) {
        if (out_field->number == number) {
            return true;
        }
    }
    return false;
}

leat_status lt_wire_expect(const lt_field *field, const lt_wire *wire, lt_wire_type type,
                           const char *what, leat_error *err)
{
    if (field->type == type) {
        return LEAT_OK;
    }
    return lt_fail(err, LEAT_CORRUPT, "byte %zu: %s has wire type %d instead of %d",
                   lt_wire_offset(wire), what, (int)field->type, (int)type);
}

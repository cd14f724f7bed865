/* SPDX-License-Identifier: Apache-2.0 */
/* Protobuf's wire format, pulled field by field from memory:
 * https://protobuf.dev/programming-guides/encoding/
 * Nothing is trusted: lengths are bounded by the enclosing message, errors give the offset. */
#ifndef LT_ONNX_WIRE_H
#define LT_ONNX_WIRE_H

#include <leat/leat.h>
#include <stdbool.h>

typedef enum lt_wire_type {
    LT_WIRE_VARINT = 0,
    LT_WIRE_FIXED64 = 1,
    LT_WIRE_BYTES = 2,
    LT_WIRE_FIXED32 = 5
} lt_wire_type;

/* A message, or a run of packed numbers. */
typedef struct lt_wire {
    const uint8_t *file; /* start of the whole file, for offsets */
    const uint8_t *at;
    const uint8_t *end;
} lt_wire;

typedef struct lt_field {
    uint32_t number;
    lt_wire_type type;
    uint64_t value; /* of a varint or fixed field */
    lt_wire bytes;  /* of LT_WIRE_BYTES */
} lt_field;

static inline size_t lt_wire_offset(const lt_wire *wire)
{
    return (size_t)(wire->at - wire->file);
}

static inline size_t lt_wire_left(const lt_wire *wire)
{
    return (size_t)(wire->end - wire->at);
}

/* Reads the next field; *out_more is false at the end of the message.
 * Errors:   CORRUPT for a truncated or over-long number, a length beyond the message, field 0 or a
 *           group. */
leat_status lt_wire_next(lt_wire *wire, lt_field *out_field, bool *out_more,
                         leat_error *err) LEAT_MUST_CHECK;

/* The next field, for loops over a message; false at its end, and on an error, which is in *status
 * then. *status must be LEAT_OK before the first call; a body that sets it to an error ends the
 * loop too:
 *
 *     leat_status status = LEAT_OK;
 *     lt_field field;
 *     while (lt_wire_more(&wire, &field, &status, err)) {
 *         status = ...;
 *     }
 */
bool lt_wire_more(lt_wire *wire, lt_field *out_field, leat_status *status, leat_error *err);

/* The same, for the fields of one number. */
bool lt_wire_find(lt_wire *wire, uint32_t number, lt_field *out_field, leat_status *status,
                  leat_error *err);

/* Reads a bare varint (an element of a packed field).
 * Errors:   CORRUPT. */
leat_status lt_wire_varint(lt_wire *wire, uint64_t *out_value, leat_error *err) LEAT_MUST_CHECK;

/* Checks that a field is of a type, naming what it is for.
 * Errors:   CORRUPT. */
leat_status lt_wire_expect(const lt_field *field, const lt_wire *wire, lt_wire_type type,
                           const char *what, leat_error *err) LEAT_MUST_CHECK;

#endif

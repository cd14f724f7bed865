/* SPDX-License-Identifier: Apache-2.0 */
/* Editing protobuf messages in place: what mutate.c and edits.c share. A message lies in
 * data[0, bytes); every edit returns its new size and leaves it as it was where it would grow over
 * `most`. */
#ifndef TESTS_FUZZ_MUTATE_H
#define TESTS_FUZZ_MUTATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MOST_FIELDS 512
#define MOST_BYTES (1u << 20)

typedef struct field {
    size_t begin, body, end; /* tag, payload, behind it */
    uint32_t number;
    uint32_t type; /* wire type */
} field;

typedef struct span {
    size_t begin, end;
} span;

typedef struct mutator {
    uint64_t random;
    size_t most;
    int depth; /* messages that the one in hand lies in */
    bool done; /* something was written */
    uint8_t scratch[MOST_BYTES];
} mutator;

uint64_t mutate_random(mutator *m);
/* A number that is often wrong: near zero, a power of two or a type's end. */
uint64_t mutate_odd_number(mutator *m);

/* Bytes that the number takes in `out`, ten at most. */
size_t mutate_varint(uint8_t *out, uint64_t value);

/* The fields of a message, MOST_FIELDS at most; 0 when the bytes are none. */
size_t mutate_split(const uint8_t *data, size_t bytes, field *fields);

/* Puts other bytes in the place of a span. */
size_t mutate_replace(mutator *m, uint8_t *data, size_t bytes, const span *old, const uint8_t *with,
                      size_t with_bytes);
/* Another payload of a field of bytes; `text` is not in `data`. */
size_t mutate_text(mutator *m, uint8_t *data, size_t bytes, const field *f, const void *text,
                   size_t length);
/* Another number in a field of numbers. */
size_t mutate_number(mutator *m, uint8_t *data, size_t bytes, const field *f, uint64_t value);

typedef struct mutate_inner {
    size_t (*fn)(mutator *m, uint8_t *data, size_t bytes, const void *argument);
    const void *argument;
} mutate_inner;

/* Edits the message in a field's payload and corrects its length. */
size_t mutate_inside(mutator *m, uint8_t *data, size_t bytes, const field *f,
                     const mutate_inner *inner);

/* One random edit of a model that is likely to leave it a model (edits.c). */
size_t mutate_onnx(mutator *m, uint8_t *data, size_t bytes);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A mutator that knows protobuf's wire format (https://protobuf.dev/programming-guides/encoding),
 * so that most of what it makes is still a message: it walks down to a random field and removes,
 * doubles or moves it, replaces it by another field of the message, or changes its number or text;
 * the lengths of everything around are corrected on the way up. One time in four the bytes are left
 * to libFuzzer's own mutator. Linked into the targets that read models. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t bytes, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t most, unsigned seed);

#define MOST_FIELDS 512
#define MOST_DEPTH 12
#define MOST_BYTES (1u << 20)

typedef struct field {
    size_t begin, body, end; /* tag, payload, behind it */
    uint32_t type;           /* wire type */
} field;

typedef struct mutator {
    uint64_t random;
    size_t most;
    uint8_t scratch[MOST_BYTES];
} mutator;

static uint64_t next(mutator *m)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return m->random;
}

static bool read_varint(const uint8_t *data, size_t bytes, size_t *at, uint64_t *out)
{
    *out = 0;
    for (int shift = 0; shift < 64 && *at < bytes; shift += 7) {
        uint8_t byte = data[(*at)++];
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            return true;
        }
    }
    return false;
}

static size_t write_varint(uint8_t *out, uint64_t value)
{
    size_t n = 0;
    while (value > 0x7f) {
        out[n++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[n++] = (uint8_t)value;
    return n;
}

/* The fields of a message; 0 when the bytes are none. */
static size_t split(const uint8_t *data, size_t bytes, field *fields)
{
    size_t n = 0, at = 0;
    while (at < bytes && n < MOST_FIELDS) {
        field f = {.begin = at};
        uint64_t tag, length = 0;
        if (!read_varint(data, bytes, &at, &tag) || tag >> 3 == 0) {
            return 0;
        }
        f.type = tag & 7;
        f.body = at;
        if (f.type == 0) {
            if (!read_varint(data, bytes, &at, &length)) {
                return 0;
            }
        } else if (f.type == 1 || f.type == 5) {
            at += f.type == 1 ? 8 : 4;
        } else if (f.type == 2) {
            if (!read_varint(data, bytes, &at, &length) || length > bytes - at) {
                return 0;
            }
            f.body = at;
            at += (size_t)length;
        } else {
            return 0;
        }
        if (at > bytes) {
            return 0;
        }
        f.end = at;
        fields[n++] = f;
    }
    return n;
}

/* Replaces bytes [begin, end) by `with`; the new size, or the old one where it would be too large.
 */
static size_t replace(mutator *m, uint8_t *data, size_t bytes, size_t begin, size_t end,
                      const uint8_t *with, size_t with_bytes)
{
    size_t size = bytes - (end - begin) + with_bytes;
    if (size > m->most) {
        return bytes;
    }
    memmove(data + begin + with_bytes, data + end, bytes - end);
    if (with_bytes != 0) {
        memcpy(data + begin, with, with_bytes);
    }
    return size;
}

static uint64_t odd_number(mutator *m)
{
    static const uint64_t odd[] = {0,
                                   1,
                                   2,
                                   3,
                                   7,
                                   8,
                                   127,
                                   128,
                                   255,
                                   65535,
                                   1u << 20,
                                   INT32_MAX,
                                   1ull << 31,
                                   UINT32_MAX,
                                   1ull << 32,
                                   1ull << 40,
                                   INT64_MAX,
                                   1ull << 63,
                                   UINT64_MAX,
                                   UINT64_MAX - 1,
                                   (uint64_t)-8,
                                   4611686018427387904u};
    return odd[next(m) % (sizeof(odd) / sizeof(odd[0]))];
}

/* Another number, or other bytes within a text or array. */
static size_t change(mutator *m, uint8_t *data, size_t bytes, const field *f)
{
    uint8_t number[10];
    size_t length = f->end - f->body;
    if (f->type == 0) {
        uint64_t old;
        size_t at = f->body;
        read_varint(data, bytes, &at, &old);
        uint64_t value = next(m) % 2 ? odd_number(m) : old + next(m) % 5 - 2;
        return replace(m, data, bytes, f->body, f->end, number, write_varint(number, value));
    }
    if (f->type == 2) {
        size_t room = length + 16 < sizeof(m->scratch) ? length + 16 : length;
        memcpy(m->scratch, data + f->body, length);
        size_t made = LLVMFuzzerMutate(m->scratch, length, room ? room : 1);
        size_t header = f->body, tag_end = f->begin;
        uint64_t tag;
        read_varint(data, bytes, &tag_end, &tag);
        bytes = replace(m, data, bytes, f->body, f->end, m->scratch, made);
        return replace(m, data, bytes, tag_end, header, number, write_varint(number, made));
    }
    data[f->body + next(m) % length] ^= (uint8_t)(1u << next(m) % 8);
    return bytes;
}

static size_t change_list(mutator *m, uint8_t *data, size_t bytes, const field *fields, size_t n)
{
    const field *f = &fields[next(m) % n], *other = &fields[next(m) % n];
    size_t length = f->end - f->begin, other_length = other->end - other->begin;
    if (length > sizeof(m->scratch) || other_length > sizeof(m->scratch)) {
        return bytes;
    }
    switch (next(m) % 5) {
    case 0: /* remove */
        return replace(m, data, bytes, f->begin, f->end, NULL, 0);
    case 1: /* double, somewhere else */
        memcpy(m->scratch, data + f->begin, length);
        return replace(m, data, bytes, other->begin, other->begin, m->scratch, length);
    case 2: /* another field of the message in its place */
        memcpy(m->scratch, data + other->begin, other_length);
        return replace(m, data, bytes, f->begin, f->end, m->scratch, other_length);
    default:
        return change(m, data, bytes, f);
    }
}

/* Mutates the message in [0, bytes), or one inside it; the new size. */
static size_t mutate_message(mutator *m, uint8_t *data, size_t bytes, int depth)
{
    field fields[MOST_FIELDS];
    size_t n = split(data, bytes, fields);
    if (n == 0) {
        return bytes;
    }
    const field *f = &fields[next(m) % n];
    bool inside = f->type == 2 && depth < MOST_DEPTH && next(m) % 8 != 0;
    field inner[MOST_FIELDS];
    if (!inside || split(data + f->body, f->end - f->body, inner) == 0) {
        return change_list(m, data, bytes, fields, n);
    }
    /* Down: the inner message is mutated where it is, with what follows kept aside. */
    size_t behind = bytes - f->end, length = f->end - f->body, tag_end = f->begin;
    static uint8_t kept[MOST_DEPTH + 1][MOST_BYTES];
    uint8_t number[10];
    uint64_t tag;
    memcpy(kept[depth], data + f->end, behind);
    size_t most = m->most;
    m->most = most - behind - f->body >= 16 ? most - behind - f->body - 10 : length;
    size_t made = mutate_message(m, data + f->body, length, depth + 1);
    m->most = most;
    memcpy(data + f->body + made, kept[depth], behind);
    bytes = f->body + made + behind;
    read_varint(data, bytes, &tag_end, &tag);
    return replace(m, data, bytes, tag_end, f->body, number, write_varint(number, made));
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t most, unsigned seed)
{
    static mutator m;
    m.random = seed * 0x9e3779b97f4a7c15u | 1;
    m.most = most;
    if (bytes == 0 || most > MOST_BYTES || next(&m) % 4 == 0) {
        return LLVMFuzzerMutate(data, bytes, most);
    }
    size_t made = bytes;
    for (uint64_t i = next(&m) % 3 + 1; i > 0; i--) {
        made = mutate_message(&m, data, made, 0);
    }
    return made ? made : LLVMFuzzerMutate(data, bytes, most);
}

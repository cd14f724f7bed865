/* SPDX-License-Identifier: Apache-2.0 */
/* A mutator that knows protobuf's wire format (https://protobuf.dev/programming-guides/encoding),
 * so that most of what it makes is still a message: it walks down to a random field and removes,
 * doubles or moves it, replaces it by another field of the message, or changes its number or text;
 * the lengths of everything around are corrected on the way up. Every other edit is one of edits.c,
 * which know ONNX; one time in eight the bytes are left to libFuzzer's own mutator. Linked into the
 * targets that read models. */
#include "fuzz/mutate.h"

#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t bytes, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t most, unsigned seed);

#define MOST_DEPTH 12

uint64_t mutate_random(mutator *m)
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

size_t mutate_varint(uint8_t *out, uint64_t value)
{
    size_t n = 0;
    while (value > 0x7f) {
        out[n++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[n++] = (uint8_t)value;
    return n;
}

size_t mutate_split(const uint8_t *data, size_t bytes, field *fields)
{
    size_t n = 0, at = 0;
    while (at < bytes && n < MOST_FIELDS) {
        field f = {.begin = at};
        uint64_t tag, length = 0;
        if (!read_varint(data, bytes, &at, &tag) || tag >> 3 == 0) {
            return 0;
        }
        f.type = tag & 7;
        f.number = (uint32_t)(tag >> 3);
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

size_t mutate_replace(mutator *m, uint8_t *data, size_t bytes, const span *old, const uint8_t *with,
                      size_t with_bytes)
{
    size_t size = bytes - (old->end - old->begin) + with_bytes;
    if (size > m->most) {
        return bytes;
    }
    m->done = true;
    memmove(data + old->begin + with_bytes, data + old->end, bytes - old->end);
    if (with_bytes != 0) {
        memcpy(data + old->begin, with, with_bytes);
    }
    return size;
}

uint64_t mutate_odd_number(mutator *m)
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
    return odd[mutate_random(m) % (sizeof(odd) / sizeof(odd[0]))];
}

size_t mutate_text(mutator *m, uint8_t *data, size_t bytes, const field *f, const void *text,
                   size_t length)
{
    uint8_t number[10];
    uint64_t tag;
    size_t tag_end = f->begin, made;
    read_varint(data, bytes, &tag_end, &tag);
    size_t digits = mutate_varint(number, length);
    const span payload = {f->body, f->end}, header = {tag_end, f->body};
    if (bytes + length + digits > m->most + (f->end - tag_end)) {
        return bytes;
    }
    made = mutate_replace(m, data, bytes, &payload, text, length);
    return mutate_replace(m, data, made, &header, number, digits);
}

size_t mutate_number(mutator *m, uint8_t *data, size_t bytes, const field *f, uint64_t value)
{
    uint8_t number[10];
    const span payload = {f->body, f->end};
    return mutate_replace(m, data, bytes, &payload, number, mutate_varint(number, value));
}

/* Another number, or other bytes within a text or array. */
static size_t change(mutator *m, uint8_t *data, size_t bytes, const field *f)
{
    size_t length = f->end - f->body;
    if (f->type == 0) {
        uint64_t old;
        size_t at = f->body;
        read_varint(data, bytes, &at, &old);
        uint64_t value =
            mutate_random(m) % 2 ? mutate_odd_number(m) : old + mutate_random(m) % 5 - 2;
        return mutate_number(m, data, bytes, f, value);
    }
    if (f->type == 2) {
        size_t room = length + 16 < sizeof(m->scratch) ? length + 16 : length;
        memcpy(m->scratch, data + f->body, length);
        size_t made = LLVMFuzzerMutate(m->scratch, length, room ? room : 1);
        return mutate_text(m, data, bytes, f, m->scratch, made);
    }
    data[f->body + mutate_random(m) % length] ^= (uint8_t)(1u << mutate_random(m) % 8);
    return bytes;
}

static size_t change_list(mutator *m, uint8_t *data, size_t bytes, const field *fields, size_t n)
{
    const field *f = &fields[mutate_random(m) % n], *other = &fields[mutate_random(m) % n];
    size_t length = f->end - f->begin, other_length = other->end - other->begin;
    if (length > sizeof(m->scratch) || other_length > sizeof(m->scratch)) {
        return bytes;
    }
    const span whole = {f->begin, f->end}, before = {other->begin, other->begin};
    switch (mutate_random(m) % 5) {
    case 0: /* remove */
        return mutate_replace(m, data, bytes, &whole, NULL, 0);
    case 1: /* double, somewhere else */
        memcpy(m->scratch, data + f->begin, length);
        return mutate_replace(m, data, bytes, &before, m->scratch, length);
    case 2: /* another field of the message in its place */
        memcpy(m->scratch, data + other->begin, other_length);
        return mutate_replace(m, data, bytes, &whole, m->scratch, other_length);
    default:
        return change(m, data, bytes, f);
    }
}

size_t mutate_inside(mutator *m, uint8_t *data, size_t bytes, const field *f,
                     const mutate_inner *inner)
{
    static uint8_t kept[MOST_DEPTH][MOST_BYTES];
    size_t behind = bytes - f->end, length = f->end - f->body, most = m->most;
    /* Room for what follows, and for a length of more digits. */
    if (m->depth >= MOST_DEPTH || most < behind + f->body + length + 10) {
        return bytes;
    }
    uint8_t *rest = kept[m->depth++];
    memcpy(rest, data + f->end, behind);
    m->most = most - behind - f->body - 10;
    size_t made = inner->fn(m, data + f->body, length, inner->argument);
    m->most = most;
    m->depth--;
    memcpy(data + f->body + made, rest, behind);
    uint8_t number[10];
    uint64_t tag;
    size_t tag_end = f->begin;
    bytes = f->body + made + behind;
    read_varint(data, bytes, &tag_end, &tag);
    const span header = {tag_end, f->body};
    return mutate_replace(m, data, bytes, &header, number, mutate_varint(number, made));
}

/* Mutates the message in [0, bytes), or one inside it; the new size. */
static size_t mutate_message(mutator *m, uint8_t *data, size_t bytes, const void *argument)
{
    field fields[MOST_FIELDS], inside[MOST_FIELDS];
    size_t n = mutate_split(data, bytes, fields);
    (void)argument;
    if (n == 0) {
        return bytes;
    }
    const field *f = &fields[mutate_random(m) % n];
    if (f->type == 2 && mutate_random(m) % 8 != 0 &&
        mutate_split(data + f->body, f->end - f->body, inside) != 0) {
        const mutate_inner inner = {mutate_message, NULL};
        return mutate_inside(m, data, bytes, f, &inner);
    }
    return change_list(m, data, bytes, fields, n);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t most, unsigned seed)
{
    static mutator m;
    m.random = seed * 0x9e3779b97f4a7c15u | 1;
    m.most = most;
    m.depth = 0;
    mutate_random(&m); /* the first numbers of close seeds are alike */
    if (bytes == 0 || most > MOST_BYTES || mutate_random(&m) % 8 == 0) {
        return LLVMFuzzerMutate(data, bytes, most);
    }
    size_t made = bytes;
    for (uint64_t i = mutate_random(&m) % 3 + 1; i > 0; i--) {
        m.done = false;
        /* Many edits are of something that this model lacks. */
        for (int tries = 0; tries < 12 && !m.done; tries++) {
            made = mutate_onnx(&m, data, made);
        }
        if (!m.done || mutate_random(&m) % 3 == 0) {
            made = mutate_message(&m, data, made, NULL);
        }
    }
    return made ? made : LLVMFuzzerMutate(data, bytes, most);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "quantizer/npz.h"

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define END_BYTES 22u       /* end of central directory, without its comment */
#define CENTRAL_BYTES 46u   /* entry of the central directory, without names */
#define LOCAL_BYTES 30u     /* header before the data */
#define UNKNOWN 0xffffffffu /* the number is in a zip64 extra field */

static uint32_t get(const uint8_t *p, unsigned bytes)
{
    uint32_t v = 0;
    for (unsigned i = 0; i < bytes; i++) {
        v |= (uint32_t)p[i] << (8 * i);
    }
    return v;
}

static leat_status corrupt(size_t offset, leat_error *err)
{
    return lt_fail(err, LEAT_CORRUPT, "no zip archive, or a damaged one, at offset %zu", offset);
}

/* The record at the end; a comment of up to 65,535 bytes may follow it. */
static const uint8_t *find_end(const uint8_t *data, size_t bytes)
{
    for (size_t back = END_BYTES; back <= bytes && back <= END_BYTES + 0xffffu; back++) {
        const uint8_t *p = data + bytes - back;
        if (get(p, 4) == 0x06054b50u && get(p + 20, 2) == back - END_BYTES) {
            return p;
        }
    }
    return NULL;
}

/* 64-bit numbers of an entry stand in extra field 1, those that did not fit, in this order. numpy
 * writes the field for every entry. */
static bool read_zip64(const uint8_t *extra, size_t extra_bytes, uint64_t *numbers, size_t count)
{
    for (size_t at = 0; at + 4 <= extra_bytes;) {
        size_t length = get(extra + at + 2, 2);
        if (length > extra_bytes - at - 4) {
            return false;
        }
        if (get(extra + at, 2) == 1) {
            for (size_t i = 0, from = 0; i < count; i++) {
                if (numbers[i] == UNKNOWN) {
                    if (from + 8 > length) {
                        return false;
                    }
                    const uint8_t *p = extra + at + 4 + from;
                    numbers[i] = get(p, 4) | (uint64_t)get(p + 4, 4) << 32;
                    from += 8;
                }
            }
            return true;
        }
        at += 4 + length;
    }
    return true;
}

/* The data of the entry whose central record is at `p`. */
static leat_status entry_data(const uint8_t *data, size_t bytes, const uint8_t *p,
                              const void **out_data, size_t *out_bytes, leat_error *err)
{
    size_t name_bytes = get(p + 28, 2), extra_bytes = get(p + 30, 2);
    uint64_t numbers[3] = {get(p + 24, 4), get(p + 20, 4), get(p + 42, 4)};
    if (get(p + 10, 2) != 0 || (get(p + 8, 2) & 1) != 0) {
        return lt_fail(err, LEAT_UNSUPPORTED,
                       "'%.*s' is compressed: write the file with np.savez, not "
                       "np.savez_compressed",
                       (int)name_bytes, (const char *)p + CENTRAL_BYTES);
    }
    if (!read_zip64(p + CENTRAL_BYTES + name_bytes, extra_bytes, numbers, 3) ||
        numbers[0] != numbers[1] || numbers[2] > bytes || bytes - numbers[2] < LOCAL_BYTES) {
        return corrupt((size_t)(p - data), err);
    }
    const uint8_t *local = data + numbers[2];
    uint64_t start = numbers[2] + LOCAL_BYTES + get(local + 26, 2) + get(local + 28, 2);
    if (get(local, 4) != 0x04034b50u || start > bytes || numbers[0] > bytes - start) {
        return corrupt((size_t)numbers[2], err);
    }
    *out_data = data + start;
    *out_bytes = (size_t)numbers[0];
    return LEAT_OK;
}

static bool is_named(const uint8_t *p, size_t name_bytes, const char *name)
{
    size_t length = strlen(name);
    return name_bytes == length + 4 && memcmp(p + CENTRAL_BYTES, name, length) == 0 &&
           memcmp(p + CENTRAL_BYTES + length, ".npy", 4) == 0;
}

leat_status lt_npz_entry(const void *data, size_t bytes, const char *name, const void **out_data,
                         size_t *out_bytes, leat_error *err)
{
    const uint8_t *begin = data, *end = find_end(begin, bytes);
    if (end == NULL) {
        return corrupt(bytes, err);
    }
    size_t count = get(end + 10, 2), at = get(end + 16, 4);
    if (count == 0xffff || at == UNKNOWN) {
        return lt_fail(err, LEAT_UNSUPPORTED, "archives of 4 GB or 65,535 entries are not read");
    }
    if (name == NULL && count != 1) {
        return lt_fail(err, LEAT_NOT_FOUND, "the archive has %zu entries: say which", count);
    }
    for (size_t i = 0; i < count; i++) {
        if (at > bytes || bytes - at < CENTRAL_BYTES || get(begin + at, 4) != 0x02014b50u) {
            return corrupt(at, err);
        }
        const uint8_t *p = begin + at;
        size_t name_bytes = get(p + 28, 2);
        size_t length = CENTRAL_BYTES + name_bytes + get(p + 30, 2) + get(p + 32, 2);
        if (length > bytes - at) {
            return corrupt(at, err);
        }
        if (name == NULL || is_named(p, name_bytes, name)) {
            return entry_data(begin, bytes, p, out_data, out_bytes, err);
        }
        at += length;
    }
    return lt_fail(err, LEAT_NOT_FOUND, "the archive has no '%s.npy'", name);
}

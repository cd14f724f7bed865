/* SPDX-License-Identifier: Apache-2.0 */
#include "base/letters.h"

#include <stdbool.h>

/* Letters first, first + step, ... last, whose other case is `distance` further on. */
typedef struct lt_letters {
    uint32_t first, last;
    uint32_t step;
    int32_t distance;
} lt_letters;

#include "base/letters.inc"

#define MOST_CHARACTER 0x10ffffu

/* The runs are sorted and do not overlap. */
static uint32_t change(const lt_letters *runs, size_t n, uint32_t letter)
{
    size_t low = 0, high = n;
    while (low < high) { /* the first run that does not end before the letter */
        size_t middle = (low + high) / 2;
        if (runs[middle].last < letter) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool there =
        low < n && letter >= runs[low].first && (letter - runs[low].first) % runs[low].step == 0;
    return there ? (uint32_t)((int32_t)letter + runs[low].distance) : letter;
}

uint32_t lt_letter_lower(uint32_t letter)
{
    return change(to_lower, sizeof(to_lower) / sizeof(to_lower[0]), letter);
}

uint32_t lt_letter_upper(uint32_t letter)
{
    return change(to_upper, sizeof(to_upper) / sizeof(to_upper[0]), letter);
}

uint32_t lt_utf8_take(leat_string *text, size_t *out_bytes)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *s = (const unsigned char *)text->data;
    size_t n = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0;
    uint32_t value = n > 1 ? s[0] & (0xffu >> (n + 1)) : s[0];
    bool good = n != 0 && n <= text->bytes;
    for (size_t i = 1; good && i < n; i++) {
        good = s[i] >> 6 == 2;
        value = value << 6 | (s[i] & 63u);
    }
    if (!good || value < least[n] || value > MOST_CHARACTER) {
        n = 1;
        value = MOST_CHARACTER + 1 + s[0];
    }
    text->data += n;
    text->bytes -= n;
    *out_bytes = n;
    return value;
}

size_t lt_utf8_put(uint32_t character, char to[LT_UTF8_MOST_BYTES])
{
    size_t n = character < 0x80 ? 1 : character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
    if (n == 1) {
        to[0] = (char)character;
        return n;
    }
    for (size_t i = n - 1; i > 0; i--) {
        to[i] = (char)(0x80 | (character & 63));
        character >>= 6;
    }
    to[0] = (char)(0xf00 >> n | character);
    return n;
}

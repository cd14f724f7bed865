/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LT_CPU_TEXT_UTF8_H
#define LT_CPU_TEXT_UTF8_H

#include "cpu.h"

#define LT_UTF8_MOST 0x10ffffu

/* Takes the first character off; a byte that begins none stands for itself. The text is not empty.
 */
static inline uint32_t lt_utf8_next(leat_string *text)
{
    const unsigned char *s = (const unsigned char *)text->data;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0;
    uint32_t value = n > 1 ? s[0] & (0xffu >> (n + 1)) : s[0];
    for (size_t i = 1; i < n && n <= text->bytes; i++) {
        n = s[i] >> 6 == 2 ? n : 0;
        value = value << 6 | (s[i] & 63u);
    }
    if (n == 0 || n > text->bytes || value < least[n] || value > LT_UTF8_MOST) {
        n = 1;
        value = s[0];
    }
    text->data += n;
    text->bytes -= n;
    return value;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The locale "C" is the thread's for one call; in glibc and musl it is a constant, and nothing is
 * allocated. */
#include "base/number.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_TEXT 1000u

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* A terminated copy without the white space around it; false when it is too long or empty. */
static bool copy_number(const leat_string *text, char to[MOST_TEXT + 1])
{
    const char *from = text->data, *end = text->data + text->bytes;
    while (from != end && is_space(*from)) {
        from++;
    }
    while (from != end && is_space(end[-1])) {
        end--;
    }
    size_t bytes = (size_t)(end - from);
    if (bytes == 0 || bytes > MOST_TEXT || memchr(from, '\0', bytes) != NULL) {
        return false;
    }
    memcpy(to, from, bytes);
    to[bytes] = '\0';
    return true;
}

bool lt_number_read(const leat_string *text, double *out)
{
    char copy[MOST_TEXT + 1], *end = copy;
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (plain == (locale_t)0) {
        return false;
    }
    if (copy_number(text, copy)) {
        *out = strtod_l(copy, &end, plain);
    }
    freelocale(plain);
    return end != copy && *end == '\0';
}

bool lt_number_read_i64(const leat_string *text, int64_t *out)
{
    char copy[MOST_TEXT + 1], *end = copy;
    int before = errno;
    errno = 0;
    if (copy_number(text, copy)) {
        *out = strtoll(copy, &end, 10);
    }
    bool good = end != copy && *end == '\0' && errno == 0;
    errno = before;
    return good;
}

bool lt_number_read_u64(const leat_string *text, uint64_t *out)
{
    char copy[MOST_TEXT + 1], *end = copy;
    int before = errno;
    errno = 0;
    if (copy_number(text, copy) && copy[0] != '-') {
        *out = strtoull(copy, &end, 10);
    }
    bool good = end != copy && *end == '\0' && errno == 0;
    errno = before;
    return good;
}

size_t lt_number_text(double value, int digits, char text[LT_NUMBER_TEXT])
{
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0), before = uselocale(plain);
    int length = digits < 0 ? snprintf(text, LT_NUMBER_TEXT, "%.8g", value)
                            : snprintf(text, LT_NUMBER_TEXT, "%.*f", digits, value);
    uselocale(before);
    if (plain != (locale_t)0) {
        freelocale(plain);
    }
    return length < 0 ? 0 : (size_t)length < LT_NUMBER_TEXT ? (size_t)length : LT_NUMBER_TEXT - 1;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

double lt_half_read(leat_dtype dtype, uint16_t bits)
{
    if (dtype == LEAT_DTYPE_BF16) {
        return (double)float_of((uint32_t)bits << 16);
    }
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double value = exponent == 31 ? (fraction != 0 ? (double)NAN : (double)INFINITY)
                                  : ldexp(exponent != 0 ? 1024 + fraction : fraction,
                                          (exponent != 0 ? exponent : 1) - 25);
    return bits & 0x8000 ? -value : value;
}

uint16_t lt_half_write(leat_dtype dtype, double value)
{
    bool bf16 = dtype == LEAT_DTYPE_BF16;
    int kept = bf16 ? 7 : 10, bias = bf16 ? 127 : 15, most = 2 * bias + 1;
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    double size = fabs(value);
    if (isnan(value)) {
        return (uint16_t)(most << kept | 1 << (kept - 1));
    }
    int exponent = size == 0 ? 1 - bias : isinf(size) ? bias + 1 : ilogb(size);
    exponent = exponent < 1 - bias ? 1 - bias : exponent;
    double steps = rint(ldexp(size, kept - exponent)); /* of the last bit; up to 2 << kept */
    if (exponent > bias || (exponent == bias && steps >= ldexp(2, kept))) {
        return (uint16_t)(sign | most << kept);
    }
    /* The leading bit of a normal number adds one to the exponent, and so does a carry. */
    return (uint16_t)(sign | ((uint32_t)steps + ((uint32_t)(exponent + bias - 1) << kept)));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers as text, the same in every locale: the decimal point is '.'. */
#ifndef LT_BASE_NUMBER_H
#define LT_BASE_NUMBER_H

#include <leat/leat.h>
#include <stdbool.h>

/* Room for any number that lt_number_text writes, its terminator included. */
#define LT_NUMBER_TEXT 64u

/* Reads a floating-point number as strtod does ("1.5", "-2e3", "nan", "INF", "0x1p3"), or a decimal
 * integer; white space may stand around it, nothing else. False for anything else, for an integer
 * that is out of range, and for more than 1,000 bytes. */
bool lt_number_read(const leat_string *text, double *out);
bool lt_number_read_i64(const leat_string *text, int64_t *out);
bool lt_number_read_u64(const leat_string *text, uint64_t *out); /* no sign */

/* Writes `value` with `digits` behind the point, or, where negative, with at most 8 digits in all
 * ("%.8g"). Returns the length. A number that is too long is cut: the least room that always does
 * is LT_NUMBER_TEXT, for |value| within f32's range. */
size_t lt_number_text(double value, int digits, char text[LT_NUMBER_TEXT]);

/* f16 or bf16 -> number; number -> f16 or bf16, rounded to nearest even. */
double lt_half_read(leat_dtype dtype, uint16_t bits);
uint16_t lt_half_write(leat_dtype dtype, double value);

#endif

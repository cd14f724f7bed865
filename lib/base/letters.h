/* SPDX-License-Identifier: Apache-2.0 */
/* Upper and lower case of all letters of Unicode, one letter to one letter, and UTF-8. */
#ifndef LT_BASE_LETTERS_H
#define LT_BASE_LETTERS_H

#include <leat/leat.h>

#define LT_UTF8_MOST_BYTES 4u /* of one character */

/* Anything that has no other case comes back as it is. */
uint32_t lt_letter_lower(uint32_t letter);
uint32_t lt_letter_upper(uint32_t letter);

/* Takes the first character off a text that is not empty; its bytes at *out_bytes. A byte that
 * begins none stands for itself, as a number above all characters. */
uint32_t lt_utf8_take(leat_string *text, size_t *out_bytes);

/* Writes a character; returns its bytes. */
size_t lt_utf8_put(uint32_t character, char to[LT_UTF8_MOST_BYTES]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Byte-level byte-pair encoding, as GPT-2 has it (Sennrich et al., arXiv:1508.07909; Radford et
 * al., 2019), every digit a piece of its own.
 *
 * Reads the file that scripts/models/make_smollm2.py writes:
 *     bpe TOKENS MERGES LETTERS NUMBERS
 *     t PIECE  or  s PIECE      a line a token; s: a special one, which no text becomes
 *     LEFT RIGHT                a line a merge, the one to make first first
 *     FIRST LAST                Unicode's letters, then numbers, as ranges of hexadecimal numbers
 * Pieces are written in GPT-2's letters: each byte is one character, none is white space. */
#ifndef EXAMPLES_CHAT_TOKENIZER_H
#define EXAMPLES_CHAT_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

typedef struct tokenizer tokenizer;

/* NULL, with the reason in `why`, when the file cannot be used. */
tokenizer *tokenizer_open(const char *path, const char **why);
void tokenizer_close(tokenizer *t);

/* Appends the tokens of a text to ids[n..most); returns the new count, or -1 when there is no room
 * or no memory. */
int64_t tokenizer_encode(const tokenizer *t, const char *text, int64_t *ids, int64_t n,
                         int64_t most);
/* The token of a special piece, such as "<|im_end|>"; -1: there is none. */
int64_t tokenizer_special(const tokenizer *t, const char *piece);
/* Bytes of a token (not terminated), at most 256 of them; special ones have none. */
size_t tokenizer_decode(const tokenizer *t, int64_t id, char *out);

#endif

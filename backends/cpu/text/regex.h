/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions of RE2's syntax, matched as a whole in time proportional to the text: an
 * automaton whose states advance together (Thompson, CACM 1968), so that no pattern takes longer
 * than program length times text length.
 *
 * Served: literals, ., classes with ranges and \d \s \w and their opposites, groups, alternatives,
 * * + ? {m,n} (and their lazy forms, which match the same texts), ^ $ \A \z \b \B, escapes. Not
 * served: flags, \p classes, [:names:]. Texts are UTF-8; a byte that is none stands for itself. */
#ifndef LT_CPU_TEXT_REGEX_H
#define LT_CPU_TEXT_REGEX_H

#include "cpu.h"

#define LT_REGEX_MOST 8192 /* steps of a program, and ranges of its classes */

typedef enum lt_regex_op {
    LT_REGEX_RANGES, /* one character of `count` ranges from `first` on, or none of them */
    LT_REGEX_SPLIT,  /* go on at both a and b */
    LT_REGEX_JUMP,   /* go on at a */
    LT_REGEX_BEGIN,
    LT_REGEX_END,
    LT_REGEX_WORD_EDGE,
    LT_REGEX_NO_WORD_EDGE,
    LT_REGEX_MATCH
} lt_regex_op;

/* a and b are relative to the step's own place, so that blocks can be moved and copied. */
typedef struct lt_regex_step {
    lt_regex_op op;
    int32_t a, b;
    uint32_t first, count;
    bool negated;
} lt_regex_step;

typedef struct lt_regex_range {
    uint32_t low, high;
} lt_regex_range;

typedef struct lt_regex {
    uint32_t n_steps, n_ranges;
    lt_regex_step steps[LT_REGEX_MOST];
    lt_regex_range ranges[LT_REGEX_MOST];
} lt_regex;

/* Compiles a pattern. Returns NULL, or what is wrong with it; *out_unsupported tells a pattern that
 * is well formed but not served. */
const char *lt_regex_compile(lt_regex *regex, leat_string pattern, bool *out_unsupported);

/* Room that lt_regex_match needs. */
static inline size_t lt_regex_workspace(const lt_regex *regex)
{
    return (size_t)regex->n_steps * 5 * sizeof(uint32_t);
}

/* Whether the whole text matches. */
bool lt_regex_match(const lt_regex *regex, leat_string text, uint32_t *workspace);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "text/regex.h"

#include "text/utf8.h"

#define MOST_DEPTH 200 /* of groups */
#define MOST_REPEAT 1000

typedef struct compiler {
    lt_regex *regex;
    leat_string rest;
    int depth;
    const char *wrong;
    bool unsupported;
    lt_regex_step nowhere; /* what a step that has no room is written to */
} compiler;

static void fail(compiler *c, const char *what, bool unsupported)
{
    if (c->wrong == NULL) {
        c->wrong = what;
        c->unsupported = unsupported;
    }
}

static bool more(const compiler *c)
{
    return c->wrong == NULL && c->rest.bytes > 0;
}

static bool accept(compiler *c, char wanted)
{
    if (!more(c) || c->rest.data[0] != wanted) {
        return false;
    }
    c->rest.data++;
    c->rest.bytes--;
    return true;
}

static lt_regex_step *add_step(compiler *c, lt_regex_op op)
{
    if (c->regex->n_steps == LT_REGEX_MOST) {
        fail(c, "it is too long", true);
        c->nowhere = (lt_regex_step){.op = op};
        return &c->nowhere;
    }
    lt_regex_step *step = &c->regex->steps[c->regex->n_steps++];
    *step = (lt_regex_step){.op = op};
    return step;
}

/* Makes room for one step at `at`; what follows moves, relative jumps within it stay right. */
static lt_regex_step *insert_step(compiler *c, uint32_t at, lt_regex_op op)
{
    lt_regex_step *last = add_step(c, op);
    if (c->wrong != NULL) {
        return last;
    }
    lt_regex_step *steps = c->regex->steps;
    memmove(&steps[at + 1], &steps[at], (c->regex->n_steps - 1 - at) * sizeof(*steps));
    steps[at] = (lt_regex_step){.op = op};
    return &steps[at];
}

static void add_range(compiler *c, uint32_t low, uint32_t high)
{
    if (c->regex->n_ranges == LT_REGEX_MOST) {
        fail(c, "its classes are too long", true);
        return;
    }
    c->regex->ranges[c->regex->n_ranges++] = (lt_regex_range){low, high};
}

/* Ranges of \d, \s, \w and their opposites; false for another letter. */
static bool add_named(compiler *c, char name)
{
    static const lt_regex_range digits[] = {{'0', '9'}},
                                spaces[] = {{'\t', '\n'}, {'\f', '\r'}, {' ', ' '}};
    static const lt_regex_range words[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    char lower = (char)(name | 0x20);
    const lt_regex_range *list = lower == 'd' ? digits : lower == 's' ? spaces : words;
    size_t n = lower == 'd' ? 1 : lower == 's' ? 3 : 4;
    uint32_t next = 0;
    if (lower != 'd' && lower != 's' && lower != 'w') {
        return false;
    }
    for (size_t i = 0; i < n && name == lower; i++) {
        add_range(c, list[i].low, list[i].high);
    }
    for (size_t i = 0; i <= n && name != lower; i++) { /* what lies between */
        uint32_t end = i < n ? list[i].low : LT_UTF8_MOST + 1;
        if (end > next) {
            add_range(c, next, end - 1);
        }
        next = i < n ? list[i].high + 1 : next;
    }
    return true;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'                     ? c - '0'
           : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                    : -1;
}

/* The character behind a backslash that stands for one. */
static uint32_t escaped(compiler *c)
{
    static const char names[] = "ntrfva", values[] = "\n\t\r\f\v\a";
    if (!more(c)) {
        fail(c, "it ends in a backslash", false);
        return 0;
    }
    char letter = c->rest.data[0];
    const char *known = strchr(names, letter);
    bool alphanumeric = hex(letter) >= 0 || ((letter | 0x20) >= 'a' && (letter | 0x20) <= 'z');
    if (letter == 'x' && c->rest.bytes >= 3 && hex(c->rest.data[1]) >= 0 &&
        hex(c->rest.data[2]) >= 0) {
        uint32_t value = (uint32_t)(hex(c->rest.data[1]) * 16 + hex(c->rest.data[2]));
        c->rest.data += 3;
        c->rest.bytes -= 3;
        return value;
    }
    if (letter != '\0' && known != NULL) {
        accept(c, letter);
        return (unsigned char)values[known - names];
    }
    if (alphanumeric) {
        fail(c, "an escape that is not served", true);
        return 0;
    }
    return lt_utf8_next(&c->rest);
}

static void parse_class(compiler *c)
{
    uint32_t first = c->regex->n_ranges;
    bool negated = accept(c, '^'), any = false;
    while (more(c) && (c->rest.data[0] != ']' || !any)) {
        any = true;
        if (c->rest.bytes >= 2 && memcmp(c->rest.data, "[:", 2) == 0) {
            fail(c, "a named class", true);
            return;
        }
        bool backslash = accept(c, '\\');
        if (backslash && more(c) && add_named(c, c->rest.data[0])) {
            accept(c, c->rest.data[0]);
            continue;
        }
        uint32_t low = backslash ? escaped(c) : lt_utf8_next(&c->rest), high = low;
        if (c->rest.bytes >= 2 && c->rest.data[0] == '-' && c->rest.data[1] != ']') {
            accept(c, '-');
            high = accept(c, '\\') ? escaped(c) : lt_utf8_next(&c->rest);
        }
        if (high < low) {
            fail(c, "a range that runs backwards", false);
        }
        add_range(c, low, high);
    }
    if (!accept(c, ']')) {
        fail(c, "a class without an end", false);
    }
    lt_regex_step *step = add_step(c, LT_REGEX_RANGES);
    step->first = first;
    step->count = c->regex->n_ranges - first;
    step->negated = negated;
}

static void add_character(compiler *c, uint32_t character)
{
    uint32_t first = c->regex->n_ranges;
    add_range(c, character, character);
    lt_regex_step *step = add_step(c, LT_REGEX_RANGES);
    step->first = first;
    step->count = 1;
}

static void parse_escape(compiler *c)
{
    static const char names[] = "bBAz";
    static const lt_regex_op ops[] = {LT_REGEX_WORD_EDGE, LT_REGEX_NO_WORD_EDGE, LT_REGEX_BEGIN,
                                      LT_REGEX_END};
    char letter = more(c) ? c->rest.data[0] : '\0';
    const char *edge = letter ? strchr(names, letter) : NULL;
    uint32_t first = c->regex->n_ranges;
    if (edge != NULL) {
        accept(c, letter);
        add_step(c, ops[edge - names]);
    } else if (letter != '\0' && add_named(c, letter)) {
        accept(c, letter);
        lt_regex_step *step = add_step(c, LT_REGEX_RANGES);
        step->first = first;
        step->count = c->regex->n_ranges - first;
    } else {
        add_character(c, escaped(c));
    }
}

static void parse_alternatives(compiler *c);

static void parse_group(compiler *c)
{
    if (accept(c, '?') && !accept(c, ':')) {
        fail(c, "a group with flags or a name", true);
        return;
    }
    if (++c->depth > MOST_DEPTH) {
        fail(c, "groups within too many groups", true);
        return;
    }
    parse_alternatives(c);
    c->depth--;
    if (!accept(c, ')')) {
        fail(c, "a group without an end", false);
    }
}

static void parse_atom(compiler *c)
{
    if (accept(c, '(')) {
        parse_group(c);
    } else if (accept(c, '[')) {
        parse_class(c);
    } else if (accept(c, '\\')) {
        parse_escape(c);
    } else if (accept(c, '.')) {
        add_character(c, '\n');
        if (c->wrong == NULL) {
            c->regex->steps[c->regex->n_steps - 1].negated = true;
        }
    } else if (accept(c, '^')) {
        add_step(c, LT_REGEX_BEGIN);
    } else if (accept(c, '$')) {
        add_step(c, LT_REGEX_END);
    } else if (more(c) && strchr("*+?", c->rest.data[0]) != NULL && c->rest.data[0] != '\0') {
        fail(c, "a repetition of nothing", false);
    } else {
        add_character(c, lt_utf8_next(&c->rest));
    }
}

/* The block from `at` on, as often as one likes, at least once with `once`. */
static void repeat(compiler *c, uint32_t at, bool once)
{
    int32_t length = (int32_t)(c->regex->n_steps - at);
    if (once) {
        lt_regex_step *split = add_step(c, LT_REGEX_SPLIT);
        split->a = -length;
        split->b = 1;
        return;
    }
    lt_regex_step *split = insert_step(c, at, LT_REGEX_SPLIT);
    split->a = 1;
    split->b = length + 2;
    add_step(c, LT_REGEX_JUMP)->a = -(length + 1);
}

static void make_optional(compiler *c, uint32_t at)
{
    int32_t length = (int32_t)(c->regex->n_steps - at);
    lt_regex_step *split = insert_step(c, at, LT_REGEX_SPLIT);
    split->a = 1;
    split->b = length + 1;
}

/* Appends a copy of steps [at, at + length). */
static void append_copy(compiler *c, uint32_t at, uint32_t length)
{
    for (uint32_t i = 0; i < length && c->wrong == NULL; i++) {
        lt_regex_step *step = add_step(c, LT_REGEX_JUMP);
        *step = c->regex->steps[at + i];
    }
}

/* At least `least` times, at most `most` (negative: no bound). */
static void repeat_counted(compiler *c, uint32_t at, int least, int most)
{
    uint32_t length = c->regex->n_steps - at;
    for (int i = 1; i < least; i++) {
        append_copy(c, at, length);
    }
    if (most < 0) {
        uint32_t last = least == 0 ? at : c->regex->n_steps - length;
        repeat(c, last, least > 0);
        return;
    }
    if (least == 0 && most > 0) {
        make_optional(c, at);
        for (int i = 1; i < most; i++) {
            append_copy(c, at, length + 1);
        }
        return;
    }
    for (int i = least; i < most; i++) {
        uint32_t from = c->regex->n_steps;
        append_copy(c, at, length);
        make_optional(c, from);
    }
    if (most == 0) {
        c->regex->n_steps = at;
    }
}

/* A number; -1 when there is none. */
static int parse_number(compiler *c)
{
    int n = -1;
    while (more(c) && c->rest.data[0] >= '0' && c->rest.data[0] <= '9') {
        n = (n < 0 ? 0 : n) * 10 + (c->rest.data[0] - '0');
        accept(c, c->rest.data[0]);
        if (n > MOST_REPEAT) {
            fail(c, "a repetition of more than 1000", true);
        }
    }
    return n;
}

static void parse_counts(compiler *c, uint32_t at)
{
    int least = parse_number(c), most = least;
    if (least < 0) {
        fail(c, "a repetition without a number", false);
    }
    if (accept(c, ',')) {
        most = parse_number(c);
    }
    if (!accept(c, '}') || (most >= 0 && most < least)) {
        fail(c, "a repetition that is no range", false);
    }
    if (c->wrong == NULL) {
        repeat_counted(c, at, least, most);
    }
}

static void parse_repeated(compiler *c)
{
    uint32_t at = c->regex->n_steps;
    parse_atom(c);
    while (more(c)) {
        if (accept(c, '*')) {
            repeat(c, at, false);
        } else if (accept(c, '+')) {
            repeat(c, at, true);
        } else if (accept(c, '?')) {
            make_optional(c, at);
        } else if (accept(c, '{')) {
            parse_counts(c, at);
        } else {
            return;
        }
        accept(c, '?'); /* lazy: the same texts match as a whole */
    }
}

static void parse_sequence(compiler *c)
{
    while (more(c) && c->rest.data[0] != '|' && c->rest.data[0] != ')') {
        parse_repeated(c);
    }
}

static void parse_alternatives(compiler *c)
{
    uint32_t at = c->regex->n_steps;
    parse_sequence(c);
    if (!accept(c, '|')) {
        return;
    }
    lt_regex_step *split = insert_step(c, at, LT_REGEX_SPLIT);
    split->a = 1;
    split->b = (int32_t)(c->regex->n_steps - at) + 1;
    uint32_t jump = c->regex->n_steps;
    add_step(c, LT_REGEX_JUMP);
    if (++c->depth > MOST_DEPTH) {
        fail(c, "too many alternatives", true);
        return;
    }
    parse_alternatives(c);
    c->depth--;
    if (c->wrong == NULL) {
        c->regex->steps[jump].a = (int32_t)(c->regex->n_steps - jump);
    }
}

const char *lt_regex_compile(lt_regex *regex, leat_string pattern, bool *out_unsupported)
{
    compiler c = {.regex = regex, .rest = pattern};
    regex->n_steps = regex->n_ranges = 0;
    parse_alternatives(&c);
    if (more(&c)) {
        fail(&c, "a parenthesis too many", false);
    }
    add_step(&c, LT_REGEX_MATCH);
    *out_unsupported = c.unsupported;
    return c.wrong;
}

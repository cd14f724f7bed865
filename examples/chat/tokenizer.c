/* SPDX-License-Identifier: Apache-2.0 */
/* See tokenizer.h. Pieces and merges are found through two hash tables of open addresses. */
#include "tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_LINES (1u << 20)
#define MOST_PIECE 256
#define NONE UINT32_MAX

typedef struct range {
    uint32_t first, last;
} range;

/* left and right become `whole`; merges of a lower rank come first. */
typedef struct merge {
    uint32_t left, right, whole, rank;
} merge;

struct tokenizer {
    char **pieces; /* bytes of GPT-2's letters, in UTF-8; NULL from n_tokens on */
    char *special; /* per token */
    uint32_t n_tokens, n_merges, n_letters, n_numbers;
    range *letters, *numbers;
    uint32_t *by_text; /* hash table: token, or NONE */
    merge *by_pair;    /* hash table: rank NONE is empty */
    uint32_t text_mask, pair_mask;
    uint32_t byte_token[256]; /* NONE: the byte is left out (control characters, no UTF-8) */
    char byte_letter[256][3]; /* UTF-8, terminated */
    uint8_t letter_byte[512]; /* GPT-2's letter, below 512, to its byte */
};

/* --- tables -------------------------------------------------------------------------------------
 */

static uint32_t hash_text(const char *text, size_t n)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ (uint8_t)text[i]) * 16777619u;
    }
    return h ^ h >> 15;
}

static uint32_t hash_pair(uint32_t left, uint32_t right)
{
    uint64_t h = ((uint64_t)left << 32 | right) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(h >> 33);
}

static uint32_t find_piece(const tokenizer *t, const char *text, size_t n)
{
    for (uint32_t at = hash_text(text, n);; at++) {
        uint32_t token = t->by_text[at & t->text_mask];
        if (token == NONE || (strncmp(t->pieces[token], text, n) == 0 && !t->pieces[token][n])) {
            return token;
        }
    }
}

static merge *find_merge(const tokenizer *t, uint32_t left, uint32_t right)
{
    for (uint32_t at = hash_pair(left, right);; at++) {
        merge *m = &t->by_pair[at & t->pair_mask];
        if (m->rank == NONE || (m->left == left && m->right == right)) {
            return m;
        }
    }
}

static uint32_t table_size(uint32_t count)
{
    uint32_t size = 64;
    while (size < 2 * count) {
        size *= 2;
    }
    return size;
}

/* GPT-2's letters: printable bytes are themselves, the others 256, 257, ... in their order. */
static void fill_letters(tokenizer *t)
{
    uint32_t next = 256;
    for (uint32_t b = 0; b < 256; b++) {
        int printable = (b >= 33 && b <= 126) || (b >= 161 && b != 173);
        uint32_t c = printable ? b : next++;
        t->letter_byte[c] = (uint8_t)b;
        if (c < 128) {
            t->byte_letter[b][0] = (char)c;
        } else {
            t->byte_letter[b][0] = (char)(0xC0 | c >> 6);
            t->byte_letter[b][1] = (char)(0x80 | (c & 63));
        }
    }
}

/* --- the file -----------------------------------------------------------------------------------
 */

static int read_line(FILE *file, char *line, size_t room)
{
    if (fgets(line, (int)room, file) == NULL) {
        return 0;
    }
    size_t n = strcspn(line, "\n");
    if (line[n] != '\n') {
        return 0; /* too long, or the end is missing */
    }
    line[n] = '\0';
    return 1;
}

static int read_pieces(tokenizer *t, FILE *file)
{
    char line[4 * MOST_PIECE];
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        if (!read_line(file, line, sizeof(line)) || (line[0] != 't' && line[0] != 's') ||
            line[1] != ' ' || strlen(line + 2) > MOST_PIECE || line[2] == '\0') {
            return 0;
        }
        t->special[i] = line[0] == 's';
        t->pieces[i] = strdup(line + 2);
        if (t->pieces[i] == NULL) {
            return 0;
        }
        uint32_t at = hash_text(line + 2, strlen(line + 2));
        while (t->by_text[at & t->text_mask] != NONE) {
            at++;
        }
        t->by_text[at & t->text_mask] = i;
    }
    return 1;
}

static int read_merges(tokenizer *t, FILE *file)
{
    char line[4 * MOST_PIECE], whole[4 * MOST_PIECE];
    for (uint32_t i = 0; i < t->n_merges; i++) {
        char *gap = read_line(file, line, sizeof(line)) ? strchr(line, ' ') : NULL;
        if (gap == NULL) {
            return 0;
        }
        size_t left = (size_t)(gap - line), right = strlen(gap + 1);
        memcpy(whole, line, left);
        memcpy(whole + left, gap + 1, right);
        merge m = {find_piece(t, line, left), find_piece(t, gap + 1, right),
                   find_piece(t, whole, left + right), i};
        if (m.left == NONE || m.right == NONE || m.whole == NONE) {
            return 0;
        }
        merge *to = find_merge(t, m.left, m.right);
        if (to->rank == NONE) {
            *to = m;
        }
    }
    return 1;
}

static int read_ranges(range *ranges, uint32_t count, FILE *file)
{
    char line[64];
    for (uint32_t i = 0; i < count; i++) {
        if (!read_line(file, line, sizeof(line)) ||
            sscanf(line, "%x %x", &ranges[i].first, &ranges[i].last) != 2) {
            return 0;
        }
    }
    return 1;
}

static int allocate(tokenizer *t)
{
    uint32_t texts = table_size(t->n_tokens), pairs = table_size(t->n_merges);
    t->text_mask = texts - 1;
    t->pair_mask = pairs - 1;
    t->pieces = calloc(t->n_tokens + 1u, sizeof(*t->pieces));
    t->special = calloc(t->n_tokens + 1u, 1);
    t->letters = calloc(t->n_letters + 1u, sizeof(range));
    t->numbers = calloc(t->n_numbers + 1u, sizeof(range));
    t->by_text = malloc(texts * sizeof(*t->by_text));
    t->by_pair = malloc(pairs * sizeof(*t->by_pair));
    if (t->pieces == NULL || t->special == NULL || t->letters == NULL || t->numbers == NULL ||
        t->by_text == NULL || t->by_pair == NULL) {
        return 0;
    }
    memset(t->by_text, 0xff, texts * sizeof(*t->by_text));
    memset(t->by_pair, 0xff, pairs * sizeof(*t->by_pair));
    return 1;
}

static const char *read_file(tokenizer *t, FILE *file)
{
    char line[128];
    if (!read_line(file, line, sizeof(line)) ||
        sscanf(line, "bpe %u %u %u %u", &t->n_tokens, &t->n_merges, &t->n_letters, &t->n_numbers) !=
            4 ||
        t->n_tokens > MOST_LINES || t->n_merges > MOST_LINES || t->n_letters > MOST_LINES ||
        t->n_numbers > MOST_LINES) {
        return "it does not begin with a line 'bpe TOKENS MERGES LETTERS NUMBERS'";
    }
    if (!allocate(t)) {
        return "no memory";
    }
    if (!read_pieces(t, file) || !read_merges(t, file) ||
        !read_ranges(t->letters, t->n_letters, file) ||
        !read_ranges(t->numbers, t->n_numbers, file)) {
        return "it ends early, or has a line that is not as tokenizer.h says";
    }
    fill_letters(t);
    for (uint32_t b = 0; b < 256; b++) {
        t->byte_token[b] = find_piece(t, t->byte_letter[b], strlen(t->byte_letter[b]));
    }
    return NULL;
}

tokenizer *tokenizer_open(const char *path, const char **why)
{
    FILE *file = fopen(path, "r");
    tokenizer *t = calloc(1, sizeof(*t));
    *why = file == NULL ? "it cannot be opened" : t == NULL ? "no memory" : read_file(t, file);
    if (file != NULL) {
        fclose(file);
    }
    if (*why != NULL) {
        tokenizer_close(t);
        return NULL;
    }
    return t;
}

void tokenizer_close(tokenizer *t)
{
    if (t == NULL) {
        return;
    }
    for (uint32_t i = 0; t->pieces != NULL && i < t->n_tokens; i++) {
        free(t->pieces[i]);
    }
    free(t->pieces);
    free(t->special);
    free(t->letters);
    free(t->numbers);
    free(t->by_text);
    free(t->by_pair);
    free(t);
}

/* --- cutting a text into words ------------------------------------------------------------------
 * GPT-2's expression, after every number was cut out as a fragment of its own:
 *     's|'t|'re|'ve|'m|'ll|'d| ?LETTER+| ?NUMBER+| ?OTHER+|SPACE+(?!not SPACE)|SPACE+ */

typedef enum kind {
    LETTER,
    NUMBER,
    SPACE,
    OTHER
} kind;

/* A character of UTF-8; a byte that is none stands alone. */
static uint32_t character(const char *text, size_t n, size_t *out_bytes)
{
    const uint8_t *s = (const uint8_t *)text;
    size_t length = s[0] < 0x80 ? 1 : s[0] < 0xC2 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    uint32_t c = length < 2 ? s[0] : s[0] & (0x7Fu >> length);
    *out_bytes = 1;
    if (length == 0 || length > n || s[0] > 0xF4) {
        return 0xFFFD;
    }
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xC0) != 0x80) {
            return 0xFFFD;
        }
        c = c << 6 | (s[i] & 0x3F);
    }
    *out_bytes = length;
    return c;
}

static int in_ranges(const range *ranges, uint32_t count, uint32_t c)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (c > ranges[middle].last) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < count && c >= ranges[low].first;
}

static kind kind_at(const tokenizer *t, const char *text, size_t n, size_t *out_bytes)
{
    uint32_t c = character(text, n, out_bytes);
    if ((c >= 9 && c <= 13) || c == 32 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
        (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
        c == 0x3000) {
        return SPACE;
    }
    return in_ranges(t->letters, t->n_letters, c)   ? LETTER
           : in_ranges(t->numbers, t->n_numbers, c) ? NUMBER
                                                    : OTHER;
}

/* Bytes at the start of the text that are of the kind; the last character's in *out_last. */
static size_t run_of(const tokenizer *t, const char *text, size_t n, kind wanted, size_t *out_last)
{
    size_t at = 0, bytes;
    *out_last = 0;
    while (at < n && kind_at(t, text + at, n - at, &bytes) == wanted) {
        at += bytes;
        *out_last = bytes;
    }
    return at;
}

static size_t contraction(const char *text, size_t n)
{
    static const char *const endings[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (size_t i = 0; i < sizeof(endings) / sizeof(*endings); i++) {
        size_t length = strlen(endings[i]);
        if (length <= n && memcmp(text, endings[i], length) == 0) {
            return length;
        }
    }
    return 0;
}

/* Bytes of the first word of a fragment without numbers, n > 0. */
static size_t first_word(const tokenizer *t, const char *text, size_t n)
{
    size_t bytes, last, length = contraction(text, n);
    if (length != 0) {
        return length;
    }
    size_t lead = text[0] == ' ' && n > 1;
    kind k = kind_at(t, text + lead, n - lead, &bytes);
    if (k != SPACE) {
        return lead + run_of(t, text + lead, n - lead, k, &last);
    }
    length = run_of(t, text, n, SPACE, &last);
    return length < n && length > last ? length - last : length;
}

/* --- merging ------------------------------------------------------------------------------------
 */

/* Tokens of a word, merged in place; returns their count. */
static size_t merge_all(const tokenizer *t, uint32_t *tokens, size_t n)
{
    while (n > 1) {
        const merge *best = NULL;
        size_t where = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            const merge *m = find_merge(t, tokens[i], tokens[i + 1]);
            if (m->rank != NONE && (best == NULL || m->rank < best->rank)) {
                best = m;
                where = i;
            }
        }
        if (best == NULL) {
            break;
        }
        tokens[where] = best->whole;
        memmove(tokens + where + 1, tokens + where + 2, (n - where - 2) * sizeof(*tokens));
        n--;
    }
    return n;
}

static int64_t add_word(const tokenizer *t, const char *word, size_t bytes, int64_t *ids, int64_t n,
                        int64_t most)
{
    uint32_t *tokens = malloc(bytes * sizeof(*tokens));
    size_t count = 0;
    for (size_t i = 0; tokens != NULL && i < bytes; i++) {
        tokens[count] = t->byte_token[(uint8_t)word[i]];
        count += tokens[count] != NONE;
    }
    count = tokens ? merge_all(t, tokens, count) : 0;
    if (tokens == NULL || (int64_t)count > most - n) {
        free(tokens);
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        ids[n++] = tokens[i];
    }
    free(tokens);
    return n;
}

int64_t tokenizer_encode(const tokenizer *t, const char *text, int64_t *ids, int64_t n,
                         int64_t most)
{
    size_t left = strlen(text), bytes;
    while (left != 0 && n >= 0) {
        size_t fragment = 0;
        while (fragment < left && kind_at(t, text + fragment, left - fragment, &bytes) != NUMBER) {
            fragment += bytes;
        }
        if (fragment == 0) {
            kind_at(t, text, left, &fragment);
            n = add_word(t, text, fragment, ids, n, most);
            text += fragment;
            left -= fragment;
            continue;
        }
        left -= fragment;
        while (fragment != 0 && n >= 0) {
            size_t word = first_word(t, text, fragment);
            n = add_word(t, text, word, ids, n, most);
            text += word;
            fragment -= word;
        }
    }
    return n;
}

int64_t tokenizer_special(const tokenizer *t, const char *piece)
{
    uint32_t token = find_piece(t, piece, strlen(piece));
    return token != NONE && t->special[token] ? (int64_t)token : -1;
}

size_t tokenizer_decode(const tokenizer *t, int64_t id, char *out)
{
    size_t n = 0, bytes;
    if (id < 0 || id >= (int64_t)t->n_tokens || t->special[id]) {
        return 0;
    }
    const char *piece = t->pieces[id];
    for (size_t left = strlen(piece); left != 0; left -= bytes, piece += bytes) {
        uint32_t c = character(piece, left, &bytes);
        if (c < 512 && n < MOST_PIECE) {
            out[n++] = (char)t->letter_byte[c];
        }
    }
    return n;
}

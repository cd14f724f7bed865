/* SPDX-License-Identifier: Apache-2.0 */
/* How alike are texts?  embed MINILM.onnx VOCAB.txt TEXT [TEXT...]
 * Build:  cc embed.c $(pkg-config --cflags --libs leat) -lm -o embed
 *
 * Each text is cut into WordPiece tokens (Devlin et al., arXiv:1810.04805; lower case, ASCII
 * letters and digits make words, other characters stand alone), run through all-MiniLM-L6-v2,
 * averaged over its tokens and brought to length 1. With one text its first numbers are printed,
 * with several the cosine of each with the first. */
#include <leat/leat.h>

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TOKENS 256
#define HIDDEN 384

/* A line of the vocabulary: its number is the token. */
typedef struct piece {
    char *text;
    int64_t id;
} piece;

static int by_text(const void *a, const void *b)
{
    return strcmp(((const piece *)a)->text, ((const piece *)b)->text);
}

static piece *read_vocabulary(const char *path, size_t *count)
{
    FILE *file = fopen(path, "r");
    char line[512];
    piece *pieces = NULL;
    size_t room = 0;
    for (*count = 0; file != NULL && fgets(line, sizeof(line), file) != NULL; ++*count) {
        if (*count == room) {
            room = room ? room * 2 : 1024;
            piece *more = realloc(pieces, room * sizeof(*pieces));
            if (more == NULL) {
                break;
            }
            pieces = more;
        }
        line[strcspn(line, "\n")] = '\0';
        pieces[*count].text = strdup(line);
        pieces[*count].id = (int64_t)*count;
    }
    if (file != NULL) {
        fclose(file);
    }
    if (pieces != NULL) {
        qsort(pieces, *count, sizeof(*pieces), by_text);
    }
    return pieces;
}

static int64_t find(const piece *pieces, size_t count, const char *text)
{
    piece key = {(char *)text, 0};
    const piece *found = bsearch(&key, pieces, count, sizeof(*pieces), by_text);
    return found ? found->id : -1;
}

/* Longest pieces first; a word that has none is [UNK]. */
static int add_word(const piece *pieces, size_t count, const char *word, size_t length,
                    int64_t *ids, int n)
{
    char text[128];
    int start = n;
    for (size_t at = 0; at < length && n < MAX_TOKENS - 1;) {
        int64_t id = -1;
        size_t end = length < at + 100 ? length : at + 100;
        for (; end > at; end--) {
            snprintf(text, sizeof(text), "%s%.*s", at ? "##" : "", (int)(end - at), word + at);
            id = find(pieces, count, text);
            if (id >= 0) {
                break;
            }
        }
        if (id < 0) {
            ids[start] = find(pieces, count, "[UNK]");
            return start + 1;
        }
        ids[n++] = id;
        at = end;
    }
    return n;
}

static int tokenize(const piece *pieces, size_t count, const char *text, int64_t *ids)
{
    int n = 0;
    ids[n++] = find(pieces, count, "[CLS]");
    while (*text != '\0' && n < MAX_TOKENS - 1) {
        char word[256];
        size_t length = 0;
        while ((isalnum((unsigned char)*text) || (*text & 0x80)) && length < sizeof(word) - 1) {
            word[length++] = (char)tolower((unsigned char)*text++);
        }
        if (length == 0 && !isspace((unsigned char)*text)) {
            word[length++] = *text;
        }
        if (length == 0 || (length == 1 && word[0] == *text && !isalnum((unsigned char)*text))) {
            text++;
        }
        if (length != 0) {
            n = add_word(pieces, count, word, length, ids, n);
        }
    }
    ids[n++] = find(pieces, count, "[SEP]");
    return n;
}

static int embed(leat_session *session, const piece *pieces, size_t count, const char *text,
                 float *out, leat_error *err)
{
    int64_t ids[MAX_TOKENS], mask[MAX_TOKENS], types[MAX_TOKENS] = {0};
    int n = tokenize(pieces, count, text, ids);
    size_t bytes = (size_t)n * sizeof(*ids);
    for (int i = 0; i < n; i++) {
        mask[i] = 1;
    }
    leat_array in[3] = {{LEAT_DTYPE_I64, 2, {1, n}, ids, bytes},
                        {LEAT_DTYPE_I64, 2, {1, n}, mask, bytes},
                        {LEAT_DTYPE_I64, 2, {1, n}, types, bytes}};
    leat_array hidden = {LEAT_DTYPE_UNDEFINED, 0, {0}, NULL, 0};
    if (leat_session_run(session, in, 3, &hidden, 1, err)) {
        return 0;
    }
    float length = 0;
    for (int j = 0; j < HIDDEN; j++) {
        out[j] = 0;
        for (int i = 0; i < n; i++) {
            out[j] += ((const float *)hidden.data)[i * HIDDEN + j];
        }
        length += out[j] * out[j];
    }
    for (int j = 0; j < HIDDEN; j++) {
        out[j] /= sqrtf(length);
    }
    return 1;
}

int main(int argc, char **argv)
{
    leat_error err = {LEAT_OK, ""};
    leat_context *context = NULL;
    leat_model *model = NULL;
    leat_session *session = NULL;
    float first[HIDDEN], other[HIDDEN];
    size_t count = 0;
    if (argc < 4) {
        fprintf(stderr, "usage: embed MINILM.onnx VOCAB.txt TEXT [TEXT...]\n");
        return 2;
    }
    piece *pieces = read_vocabulary(argv[2], &count);
    if (pieces == NULL) {
        fprintf(stderr, "embed: cannot read the vocabulary in '%s'\n", argv[2]);
        return 1;
    }
    int good = !leat_context_create(NULL, &context, &err) &&
               !leat_model_load(context, argv[1], NULL, &model, &err) &&
               !leat_session_create(model, NULL, &session, &err) &&
               embed(session, pieces, count, argv[3], first, &err);
    for (int j = 0; good && argc == 4 && j < 8; j++) {
        printf("%s%.6f", j ? " " : "", (double)first[j]);
    }
    if (good && argc == 4) {
        printf(" ...\n");
    }
    for (int i = 4; good && i < argc; i++) {
        double cosine = 0;
        good = embed(session, pieces, count, argv[i], other, &err);
        for (int j = 0; good && j < HIDDEN; j++) {
            cosine += (double)first[j] * (double)other[j];
        }
        if (good) {
            printf("%.6f  %s\n", cosine, argv[i]);
        }
    }
    if (!good) {
        fprintf(stderr, "embed: %s\n", err.message);
    }
    leat_session_destroy(session);
    leat_model_destroy(model);
    leat_context_destroy(context);
    for (size_t i = 0; i < count; i++) {
        free(pieces[i].text);
    }
    free(pieces);
    return good ? 0 : 1;
}

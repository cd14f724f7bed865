/* SPDX-License-Identifier: Apache-2.0 */
/* A language model that answers: chat MODEL.onnx TOKENIZER.txt [OPTION...] [QUESTION]
 *
 * Runs SmolLM2-135M-Instruct as scripts/models/make_smollm2.py writes it. With a QUESTION it is
 * answered; without, lines of the standard input are a conversation. Tokens appear as they come,
 * always the likeliest; their rate goes to standard error.
 *
 * Build:  cc chat.c chat/tokenizer.c $(pkg-config --cflags --libs leat) -lm -o leat_chat
 *
 *   --precision f32|bf16|auto    --threads N    --capacity N   tokens that the caches hold
 *   --tokens N   longest answer  --ids   print token numbers instead of text, the prompt's first
 *   --encode     print the numbers of QUESTION's own tokens and end
 *   --device D   such as cuda:0, caches and all    --plugins DIR   where its backend is
 *
 * The caches of keys and values are tensors of a fixed capacity, bound as both past and present:
 * the model writes new ones behind the old, and nothing is copied. Prompts go in pieces of 1, 2, 4,
 * ... or MOST_PIECE tokens, the last one padded: a session plans each of these lengths once,
 * however long the conversation becomes. What padding leaves in the caches lies behind their length
 * and is written over by the next tokens. */
#include "chat/tokenizer.h"

#include <leat/leat.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST_PIECE 32

typedef struct options {
    const char *model, *pieces, *question, *device, *plugins;
    leat_precision precision;
    int32_t threads;
    int64_t capacity, tokens;
    int ids, encode;
} options;

typedef struct chat {
    const options *o;
    tokenizer *words;
    leat_context *context;
    leat_model *model;
    leat_session *session;
    leat_array *in, *out;
    leat_tensor **caches; /* per input; NULL: none */
    size_t n_in, n_out;
    size_t ids_at, length_at, logits_at; /* which input, which output */
    int64_t length;                      /* tokens in the caches */
    int64_t start, end, stop;            /* special tokens */
    leat_error err;
} chat;

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int fail(chat *c, const char *message)
{
    snprintf(c->err.message, sizeof(c->err.message), "%s", message);
    return 0;
}

/* --- the model ----------------------------------------------------------------------------------
 */

/* Zeros, for padding behind the prompt is read though it does not count. */
static int clear(chat *c, leat_tensor *tensor)
{
    leat_array array;
    leat_tensor *zeros = NULL;
    leat_tensor_info(tensor, &array);
    array.data = calloc(1, array.bytes);
    int good = array.data != NULL ? 1 : fail(c, "no memory");
    good = good && !leat_tensor_wrap(c->context, "cpu", &array, &zeros, &c->err) &&
           !leat_tensor_copy(tensor, zeros, &c->err);
    leat_tensor_destroy(zeros);
    free(array.data);
    return good;
}

/* One tensor, bound to past_key_values.N.S and present.N.S. */
static int bind_cache(chat *c, size_t i, const leat_io *io)
{
    char present[96];
    int64_t shape[4] = {1, io->shape[1], c->o->capacity, io->shape[3]};
    snprintf(present, sizeof(present), "present%s", io->name + strlen("past_key_values"));
    if (io->rank != 4 || shape[1] < 1 || shape[3] < 1) {
        return fail(c, "a cache of the model is not batch x heads x capacity x size");
    }
    if (leat_tensor_create(c->context, c->o->device, io->dtype, 4, shape, &c->caches[i], &c->err)) {
        return 0;
    }
    return clear(c, c->caches[i]) &&
           !leat_session_bind(c->session, io->name, c->caches[i], &c->err) &&
           !leat_session_bind(c->session, present, c->caches[i], &c->err);
}

static int find_inputs(chat *c)
{
    const leat_model_signature *io = leat_model_io(c->model);
    c->n_in = io->n_inputs;
    c->n_out = io->n_outputs;
    c->in = calloc(c->n_in + 1, sizeof(*c->in));
    c->out = calloc(c->n_out + 1, sizeof(*c->out));
    c->caches = calloc(c->n_in + 1, sizeof(*c->caches));
    if (c->in == NULL || c->out == NULL || c->caches == NULL) {
        return fail(c, "no memory");
    }
    c->ids_at = c->length_at = c->n_in;
    c->logits_at = c->n_out;
    for (size_t i = 0; i < c->n_in; i++) {
        const leat_io *input = &io->inputs[i];
        if (strcmp(input->name, "input_ids") == 0) {
            c->ids_at = i;
        } else if (strcmp(input->name, "past_length") == 0) {
            c->length_at = i;
        } else if (strncmp(input->name, "past_key_values.", 16) == 0 && !bind_cache(c, i, input)) {
            return 0;
        }
    }
    for (size_t i = 0; i < c->n_out; i++) {
        c->logits_at = strcmp(io->outputs[i].name, "logits") == 0 ? i : c->logits_at;
    }
    return c->ids_at != c->n_in && c->length_at != c->n_in && c->logits_at != c->n_out
               ? 1
               : fail(c, "the model lacks input_ids, past_length or logits");
}

static int open_tokenizer(chat *c)
{
    const char *why = NULL;
    c->words = tokenizer_open(c->o->pieces, &why);
    if (c->words == NULL) {
        snprintf(c->err.message, sizeof(c->err.message), "'%s': %s", c->o->pieces, why);
        return 0;
    }
    c->start = tokenizer_special(c->words, "<|im_start|>");
    c->end = tokenizer_special(c->words, "<|im_end|>");
    c->stop = tokenizer_special(c->words, "<|endoftext|>");
    if (c->start < 0 || c->end < 0) {
        return fail(c, "the tokenizer lacks <|im_start|> or <|im_end|>");
    }
    return 1;
}

static int load(chat *c)
{
    const leat_context_desc threads = {.struct_size = sizeof(threads),
                                       .threads = c->o->threads,
                                       .plugin_directory = c->o->plugins};
    const leat_session_desc precision = {.struct_size = sizeof(precision),
                                         .devices = &c->o->device,
                                         .n_devices = 1,
                                         .precision = c->o->precision};
    return !leat_context_create(&threads, &c->context, &c->err) &&
           !leat_model_load(c->context, c->o->model, NULL, &c->model, &c->err) &&
           !leat_session_create(c->model, &precision, &c->session, &c->err) && find_inputs(c);
}

static void unload(chat *c)
{
    leat_session_destroy(c->session);
    for (size_t i = 0; c->caches != NULL && i < c->n_in; i++) {
        leat_tensor_destroy(c->caches[i]);
    }
    leat_model_destroy(c->model);
    leat_context_destroy(c->context);
    tokenizer_close(c->words);
    free(c->in);
    free(c->out);
    free(c->caches);
}

/* Runs up to MOST_PIECE tokens, whose keys and values go behind the others. */
static int run_piece(chat *c, const int64_t *ids, int64_t n)
{
    int64_t padded[MOST_PIECE] = {0}, count = 1;
    while (count < n) {
        count *= 2;
    }
    if (c->length + count > c->o->capacity) {
        return fail(c, "the conversation is longer than the caches: see --capacity");
    }
    memcpy(padded, ids, (size_t)n * sizeof(*ids));
    c->in[c->ids_at] = (leat_array){LEAT_DTYPE_I64, 2, {1, count}, padded, (size_t)count * 8};
    c->in[c->length_at] = (leat_array){LEAT_DTYPE_I64, 1, {1}, &c->length, 8};
    if (leat_session_run(c->session, c->in, c->n_in, c->out, c->n_out, &c->err)) {
        return 0;
    }
    c->length += n;
    return 1;
}

/* Runs the tokens; *next is the likeliest one after the last. */
static int run(chat *c, const int64_t *ids, int64_t n, int64_t *next)
{
    int64_t done = 0, piece = 0;
    for (; done < n; done += piece) {
        piece = n - done < MOST_PIECE ? n - done : MOST_PIECE;
        if (!run_piece(c, ids + done, piece)) {
            return 0;
        }
    }
    const leat_array *logits = &c->out[c->logits_at];
    const float *row = (const float *)logits->data + (piece - 1) * logits->shape[2];
    *next = 0;
    for (int64_t i = 1; i < logits->shape[2]; i++) {
        *next = row[i] > row[*next] ? i : *next;
    }
    return 1;
}

/* --- talking ------------------------------------------------------------------------------------
 */

/* <|im_start|>ROLE\nTEXT<|im_end|>\n; without a text the beginning of an answer. */
static int64_t add_turn(const chat *c, const char *role, const char *text, int64_t *ids, int64_t n)
{
    int64_t most = c->o->capacity;
    if (n < 0 || n + 2 > most) {
        return -1;
    }
    ids[n++] = c->start;
    n = tokenizer_encode(c->words, role, ids, n, most);
    n = n < 0 ? n : tokenizer_encode(c->words, "\n", ids, n, most);
    if (text == NULL || n < 0) {
        return n;
    }
    n = tokenizer_encode(c->words, text, ids, n, most - 1);
    if (n < 0) {
        return n;
    }
    ids[n++] = c->end;
    return tokenizer_encode(c->words, "\n", ids, n, most);
}

static void show(const chat *c, int64_t token)
{
    char text[256];
    if (c->o->ids) {
        printf(" %lld", (long long)token);
    } else {
        fwrite(text, 1, tokenizer_decode(c->words, token, text), stdout);
    }
    fflush(stdout);
}

/* The answer, token by token. */
static int say(chat *c, int64_t token, int64_t *out_count)
{
    for (*out_count = 0; *out_count < c->o->tokens; ++*out_count) {
        int64_t now = token;
        int ends = now == c->end || now == c->stop;
        if (!ends) {
            show(c, now);
        }
        if (!run(c, &now, 1, &token)) { /* the end, too: the next question follows it */
            return 0;
        }
        if (ends) {
            break;
        }
    }
    printf("\n");
    return 1;
}

static int answer(chat *c, const char *question)
{
    int64_t *ids = malloc((size_t)c->o->capacity * sizeof(*ids)), n = 0, token = 0, count = 0;
    if (ids == NULL) {
        return fail(c, "no memory");
    }
    if (c->length == 0) {
        n = add_turn(c, "system",
                     "You are a helpful AI assistant named SmolLM, trained by Hugging Face", ids,
                     n);
    } else {
        n = tokenizer_encode(c->words, "\n", ids, n, c->o->capacity);
    }
    n = add_turn(c, "user", question, ids, n);
    n = add_turn(c, "assistant", NULL, ids, n);
    if (n < 0) {
        free(ids);
        return fail(c, "the question is longer than the caches: see --capacity");
    }
    for (int64_t i = 0; c->o->ids && i < n; i++) {
        printf("%s%lld", i ? " " : "", (long long)ids[i]);
    }
    printf("%s", c->o->ids ? "\n" : "");
    double begin = seconds();
    int good = run(c, ids, n, &token);
    double prompt = seconds();
    good = good && say(c, token, &count);
    double end = seconds();
    free(ids);
    if (good) {
        fprintf(stderr, "[%lld tokens of prompt in %.2f s, then %.1f tokens/s]\n", (long long)n,
                prompt - begin, count ? (double)count / (end - prompt) : 0.0);
    }
    return good;
}

/* The tokens of the question alone, as numbers. */
static int encode(chat *c)
{
    size_t most = strlen(c->o->question) + 1;
    int64_t *ids = malloc(most * sizeof(*ids));
    int64_t n = ids ? tokenizer_encode(c->words, c->o->question, ids, 0, (int64_t)most) : -1;
    for (int64_t i = 0; i < n; i++) {
        printf("%s%lld", i ? " " : "", (long long)ids[i]);
    }
    printf("\n");
    free(ids);
    return n >= 0 ? 1 : fail(c, "no memory");
}

static int converse(chat *c)
{
    char line[4096];
    int good = 1;
    while (good && fprintf(stderr, "> ") > 0 && fgets(line, sizeof(line), stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        good = line[0] == '\0' || answer(c, line);
    }
    return good;
}

static int read_options(options *o, int argc, char **argv)
{
    static const char *const precisions[] = {"", "f32", "bf16", "f16", "auto"};
    const char **names[] = {&o->model, &o->pieces, &o->question};
    size_t n = 0;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        int known = 1;
        if (strcmp(argv[i], "--ids") == 0 || strcmp(argv[i], "--encode") == 0) {
            *(argv[i][2] == 'i' ? &o->ids : &o->encode) = 1;
            continue;
        }
        if (strncmp(argv[i], "--", 2) != 0) {
            if (n == 3) {
                return 0;
            }
            *names[n++] = argv[i];
            continue;
        }
        if (strcmp(argv[i], "--threads") == 0) {
            o->threads = atoi(value);
        } else if (strcmp(argv[i], "--capacity") == 0) {
            o->capacity = atoll(value);
        } else if (strcmp(argv[i], "--tokens") == 0) {
            o->tokens = atoll(value);
        } else if (strcmp(argv[i], "--device") == 0) {
            o->device = value;
        } else if (strcmp(argv[i], "--plugins") == 0) {
            o->plugins = value;
        } else if (strcmp(argv[i], "--precision") == 0) {
            for (known = 4; known > 0 && strcmp(value, precisions[known]) != 0; known--) {
            }
            o->precision = (leat_precision)known;
        } else {
            known = 0;
        }
        i++;
        if (!known) {
            return 0;
        }
    }
    return n >= 2u + (o->encode != 0) && o->capacity > 0 && o->capacity <= 8192;
}

int main(int argc, char **argv)
{
    options o = {
        .device = "cpu", .precision = LEAT_PRECISION_MODEL, .capacity = 2048, .tokens = 512};
    if (!read_options(&o, argc, argv)) {
        fprintf(stderr, "usage: chat MODEL.onnx TOKENIZER.txt [--precision f32|bf16|auto] "
                        "[--threads N] [--capacity N (at most 8192)] [--tokens N] [--ids] "
                        "[--encode] [--device D] [--plugins DIR] [QUESTION]\n");
        return 2;
    }
    chat c = {.o = &o};
    int good = open_tokenizer(&c);
    if (good && o.encode) {
        good = encode(&c);
    } else {
        good = good && load(&c) && (o.question ? answer(&c, o.question) : converse(&c));
    }
    if (!good) {
        fprintf(stderr, "chat: %s\n", c.err.message);
    }
    unload(&c);
    return good ? 0 : 1;
}

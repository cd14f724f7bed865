/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations with a language model together and one after the other:
 *
 *   sequences MODEL.onnx [--threads N] [--precision f32|bf16|f16] [--device D] [--plugins DIR]
 *             [--counts 1,2,4,8] [--prompt N] [--tokens N] [--piece N] [--ids "1 2 3"]...
 *
 * The model is as examples/chat's (scripts/models/make_smollm2.py). For each count: tokens a second
 * of as many conversations, each with a prompt of N tokens (32) and an answer of N (32), always the
 * likeliest, one after the other and together; the part of it behind the prompts, too.
 *
 * Then both are run again and compared: as long as a conversation has said the same, its logits
 * must be the same but for rounding, and where it says another token the two likeliest must be
 * nearer than that. The bound: kernels for other numbers of rows add in another order, so that a
 * value rounded to the precision's u (2^-9 of bf16, 2^-12 of f16, 2^-24 of f32, of which a sum of
 * 1,000 makes 32) may come out as its neighbour. Of 8 such roundings a layer that are independent
 * the errors add like noise: with n in all, each way has u sqrt(n) of the logits' root mean square,
 * both together sqrt(2) of that, and the largest of 50,000 is 4.5 times as much:
 *
 *     |difference| <= 4.5 sqrt(2) u sqrt(8 layers) rms     in bf16, 30 layers: 0.19 rms
 *
 * It ends with 1 when that does not hold.
 *
 * With --ids there are no times: the prompts are these, conversation i joins at step 2 * i and has
 * --tokens / (1 + i % 2) tokens. A line for each has its tokens. */
#include <leat/sequences.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MOST = 64,
    MOST_TOKENS = 1024,
    MOST_WORDS = 1 << 16
};

typedef struct options {
    const char *model, *device, *plugins;
    leat_precision precision;
    int threads, prompt, tokens, piece, n_counts, n_prompts;
    int counts[8];
    const char *ids[MOST];
} options;

typedef struct conversation {
    uint64_t id;
    int n_prompt, n_said, most;
    int64_t prompt[MOST_TOKENS], said[MOST_TOKENS];
    float margin[MOST_TOKENS];  /* between the two likeliest */
    float *logits;              /* of `most` tokens; NULL: not kept */
    struct conversation *other; /* whose logits these are compared with; NULL: nobody's */
    double difference;          /* the largest so far, in roots of the mean square */
    int compared;               /* tokens */
} conversation;

static conversation alone[MOST], together[MOST];

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int join(leat_sequences *s, conversation *c, leat_error *err)
{
    c->n_said = 0;
    return leat_sequences_join(s, &c->id, err) == LEAT_OK &&
           leat_sequences_push(s, c->id, c->prompt, (size_t)c->n_prompt, err) == LEAT_OK;
}

/* Keeps the logits, or compares them with those of the other that has said the same so far. */
static void keep(conversation *c, const float *x, int64_t n)
{
    const int at = c->n_said;
    if (c->logits != NULL) {
        memcpy(c->logits + at * n, x, (size_t)n * sizeof(*x));
    }
    if (c->other == NULL || (at > 0 && c->said[at - 1] != c->other->said[at - 1])) {
        c->other = NULL;
        return;
    }
    const float *y = c->other->logits + at * n;
    double square = 0, most = 0, mean = 0;
    for (int64_t i = 0; i < n; i++) {
        mean += (double)x[i] / (double)n;
    }
    for (int64_t i = 0; i < n; i++) {
        const double d = fabs((double)x[i] - (double)y[i]);
        most = d > most ? d : most;
        square += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n;
    }
    const double relative = most / sqrt(square);
    c->difference = relative > c->difference ? relative : c->difference;
    c->margin[at] /= (float)sqrt(square);
    c->other->margin[at] /= (float)sqrt(square);
    c->compared++;
}

/* Takes the likeliest token; the conversation leaves when it has said enough. */
static int go_on(leat_sequences *s, conversation *c, leat_error *err)
{
    leat_array logits;
    if (leat_sequences_result(s, c->id, 0, &logits, err)) {
        return 0;
    }
    const float *x = logits.data;
    const int64_t n = logits.shape[2];
    if (logits.dtype != LEAT_DTYPE_F32 || n > MOST_WORDS) {
        snprintf(err->message, sizeof(err->message), "logits are to be f32, of %d words at most",
                 MOST_WORDS);
        return 0;
    }
    int64_t best = 0;
    float second = -1e30f;
    for (int64_t i = 1; i < n; i++) {
        if (x[i] > x[best]) {
            second = x[best];
            best = i;
        } else if (x[i] > second) {
            second = x[i];
        }
    }
    c->margin[c->n_said] = x[best] - second;
    keep(c, x, n);
    c->said[c->n_said++] = best;
    if (c->n_said == c->most) {
        leat_sequences_leave(s, c->id);
        c->id = 0;
        return 1;
    }
    return leat_sequences_push(s, c->id, &best, 1, err) == LEAT_OK;
}

/* What was said when all prompts were done, and in how long. */
typedef struct pace {
    double seconds;
    int tokens;
} pace;

/* Runs until all have left. Conversation i joins at step i * every. */
static int converse(leat_sequences *s, conversation *all, int n, int every, pace *behind,
                    leat_error *err)
{
    int joined = 0, begun = 0, tokens = 0;
    double since = 0;
    for (int step_at = 0;; step_at++) {
        while (joined < n && joined * every <= step_at) {
            if (!join(s, &all[joined++], err)) {
                return 0;
            }
        }
        leat_step step = {.struct_size = sizeof(step)};
        if (leat_sequences_step(s, &step, err)) {
            return 0;
        }
        if (step.positions == 0 && joined == n) {
            behind->seconds += seconds() - since;
            behind->tokens += tokens;
            return 1;
        }
        tokens += begun == n ? (int)step.n_results : 0;
        const int beginning = begun < n;
        for (size_t r = 0; r < step.n_results; r++) {
            conversation *c = all;
            while (c->id != step.results[r].sequence) {
                c++;
            }
            begun += c->n_said == 0;
            if (!go_on(s, c, err)) {
                return 0;
            }
        }
        if (beginning && begun == n) {
            since = seconds();
        }
    }
}

/* Both ways once more, with logits. bound: of their differences, in roots of the mean square. */
static int compare(leat_sequences *s, const options *o, int n, double bound, leat_error *err)
{
    pace unused = {0, 0};
    double most = 0;
    int compared = 0, ties = 0, good = 1;
    for (int i = 0; i < n && good; i++) {
        if (alone[i].logits == NULL) {
            alone[i].logits = calloc((size_t)o->tokens * MOST_WORDS, sizeof(float));
        }
        good = alone[i].logits != NULL && converse(s, &alone[i], 1, 0, &unused, err);
        together[i].other = &alone[i];
        together[i].compared = 0;
        together[i].difference = 0;
    }
    if (!good || !converse(s, together, n, 0, &unused, err)) {
        return 0;
    }
    for (int i = 0; i < n; i++) {
        const int t = together[i].compared - 1;
        compared += together[i].compared;
        most = together[i].difference > most ? together[i].difference : most;
        if (alone[i].said[t] != together[i].said[t]) {
            const double margin = (double)together[i].margin[t];
            printf("    conversation %d says another token at %d, margins %.4f and %.4f rms\n", i,
                   t, (double)alone[i].margin[t], margin);
            good = good && margin <= 2 * bound && (double)alone[i].margin[t] <= 2 * bound;
            ties++;
        }
    }
    printf("    logits of %d tokens differ by %.2g rms at most (bound %.2g); %d others said\n",
           compared, most, bound, ties);
    return good && most <= bound;
}

/* By the argument above. */
static double bound_of(leat_model *model, leat_precision precision)
{
    const leat_model_signature *io = leat_model_io(model);
    double layers = 0;
    for (size_t i = 0; i < io->n_inputs; i++) {
        layers += strncmp(io->inputs[i].name, "past_key", 8) == 0 ? 0.5 : 0;
    }
    const double u = precision == LEAT_PRECISION_BF16  ? 0x1p-9
                     : precision == LEAT_PRECISION_F16 ? 0x1p-12
                                                       : 32 * 0x1p-24;
    return 4.5 * sqrt(2) * u * sqrt(8 * layers);
}

static int time_count(leat_sequences *s, const options *o, int n, double bound, leat_error *err)
{
    pace one_behind = {0, 0}, all_behind = {0, 0};
    const double begin = seconds();
    for (int i = 0; i < n; i++) {
        if (!converse(s, &alone[i], 1, 0, &one_behind, err)) {
            return 0;
        }
    }
    const double middle = seconds();
    if (!converse(s, together, n, 0, &all_behind, err)) {
        return 0;
    }
    const double one = middle - begin, all = seconds() - middle;
    const double said = (double)n * o->tokens;
    const double one_pace = one_behind.tokens / one_behind.seconds,
                 all_pace = all_behind.tokens / all_behind.seconds;
    printf("%2d  %7.1f %8.1f %6.2f   %7.1f %8.1f %6.2f\n", n, said / one, said / all, one / all,
           one_pace, all_pace, all_pace / one_pace);
    fflush(stdout);
    if (!compare(s, o, n, bound, err)) {
        if (err->status == LEAT_OK) {
            snprintf(err->message, sizeof(err->message), "together is not what each is alone");
        }
        return 0;
    }
    return 1;
}

static int time_all(leat_sequences *s, const options *o, double bound, leat_error *err)
{
    uint32_t seed = 1;
    for (int i = 0; i < MOST; i++) {
        for (int t = 0; t < o->prompt; t++) {
            seed = seed * 1664525u + 1013904223u;
            alone[i].prompt[t] = together[i].prompt[t] = (seed >> 8) % 40000 + 100;
        }
        alone[i].n_prompt = together[i].n_prompt = o->prompt;
        alone[i].most = together[i].most = o->tokens;
    }
    if (leat_sequences_warm(s, err)) {
        return 0;
    }
    printf("    tokens/s, with prompts       behind the prompts\n"
           " n    alone together ratio     alone together  ratio\n");
    for (int i = 0; i < o->n_counts; i++) {
        if (!time_count(s, o, o->counts[i], bound, err)) {
            return 0;
        }
    }
    return 1;
}

static int answer(leat_sequences *s, const options *o, leat_error *err)
{
    pace behind = {0, 0};
    for (int i = 0; i < o->n_prompts; i++) {
        char *at = (char *)o->ids[i];
        while (together[i].n_prompt < MOST_TOKENS && *at != '\0') {
            together[i].prompt[together[i].n_prompt++] = strtoll(at, &at, 10);
            at += strspn(at, " ");
        }
        together[i].most = o->tokens / (1 + i % 2);
    }
    if (!converse(s, together, o->n_prompts, 2, &behind, err)) {
        return 0;
    }
    for (int i = 0; i < o->n_prompts; i++) {
        for (int t = 0; t < together[i].n_said; t++) {
            printf("%s%lld", t ? " " : "", (long long)together[i].said[t]);
        }
        printf("\n");
    }
    return 1;
}

static void read_counts(options *o, const char *text)
{
    for (o->n_counts = 0; o->n_counts < 8 && *text != '\0'; text += *text == ',') {
        char *end;
        const long n = strtol(text, &end, 10);
        o->counts[o->n_counts++] = n < 1 ? 1 : n > MOST ? MOST : (int)n;
        text = end > text ? end : "";
    }
}

static int read_options(options *o, int argc, char **argv)
{
    static const char *const precisions[] = {"", "f32", "bf16", "f16"};
    o->model = argc > 1 ? argv[1] : NULL;
    for (int i = 2; i + 1 < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (strcmp(name, "--threads") == 0) {
            o->threads = atoi(value);
        } else if (strcmp(name, "--prompt") == 0) {
            o->prompt = atoi(value);
        } else if (strcmp(name, "--tokens") == 0) {
            o->tokens = atoi(value);
        } else if (strcmp(name, "--piece") == 0) {
            o->piece = atoi(value);
        } else if (strcmp(name, "--device") == 0) {
            o->device = value;
        } else if (strcmp(name, "--plugins") == 0) {
            o->plugins = value;
        } else if (strcmp(name, "--counts") == 0) {
            read_counts(o, value);
        } else if (strcmp(name, "--ids") == 0 && o->n_prompts < MOST) {
            o->ids[o->n_prompts++] = value;
        } else if (strcmp(name, "--precision") == 0) {
            int p = 3;
            while (p > 0 && strcmp(value, precisions[p]) != 0) {
                p--;
            }
            o->precision = (leat_precision)p;
        } else {
            return 0;
        }
    }
    return o->model != NULL && argc % 2 == 0 && o->prompt > 0 && o->tokens > 1 &&
           o->prompt <= MOST_TOKENS && o->tokens <= MOST_TOKENS;
}

int main(int argc, char **argv)
{
    options o = {
        .device = "cpu", .prompt = 32, .tokens = 32, .n_counts = 4, .counts = {1, 2, 4, 8}};
    leat_context *context = NULL;
    leat_model *model = NULL;
    leat_sequences *sequences = NULL;
    leat_error err = {LEAT_OK, ""};
    if (!read_options(&o, argc, argv)) {
        fprintf(stderr, "usage: sequences MODEL.onnx [--threads N] [--precision P] [--device D] "
                        "[--plugins DIR] [--counts N,N] [--prompt N] [--tokens N] [--piece N] "
                        "[--ids TEXT]\n");
        return 2;
    }
    uint32_t most = (uint32_t)(o.n_prompts > 0 ? o.n_prompts : 1);
    for (int i = 0; i < o.n_counts && o.n_prompts == 0; i++) {
        most = (uint32_t)o.counts[i] > most ? (uint32_t)o.counts[i] : most;
    }
    const leat_context_desc threads = {
        .struct_size = sizeof(threads), .threads = o.threads, .plugin_directory = o.plugins};
    const leat_session_desc session = {.struct_size = sizeof(session),
                                       .devices = &o.device,
                                       .n_devices = 1,
                                       .precision = o.precision};
    const leat_sequences_desc desc = {.struct_size = sizeof(desc),
                                      .n_slots = most,
                                      .max_piece = (uint32_t)o.piece,
                                      .capacity = o.n_prompts > 0 ? MOST_TOKENS
                                                                  : (uint32_t)(o.prompt + o.tokens),
                                      .session = &session};
    const int good =
        leat_context_create(&threads, &context, &err) == LEAT_OK &&
        leat_model_load(context, o.model, NULL, &model, &err) == LEAT_OK &&
        leat_sequences_create(model, &desc, &sequences, &err) == LEAT_OK &&
        (o.n_prompts > 0 ? answer(sequences, &o, &err)
                         : time_all(sequences, &o, bound_of(model, o.precision), &err));
    if (!good) {
        fprintf(stderr, "sequences: %s\n", err.message);
    }
    leat_sequences_destroy(sequences);
    leat_model_destroy(model);
    leat_context_destroy(context);
    return good ? 0 : 1;
}

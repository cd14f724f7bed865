/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations with a language model together and one after the other:
 *
 *   sequences MODEL.onnx [--threads N] [--precision f32|bf16|f16] [--device D] [--plugins DIR]
 *             [--counts 1,2,4,8] [--prompt N] [--tokens N] [--piece N] [--ids "1 2 3"]...
 *
 * The model is as examples/chat's (scripts/models/make_smollm2.py). For each count: tokens a second
 * of as many conversations, each with a prompt of N tokens (32) and an answer of N (32), always the
 * likeliest, one after the other and together; the part of it behind the prompts, too. Both ways
 * must give the same tokens, or differ first where the two likeliest are about as likely (logits
 * within 2e-3 of each other, in bf16 and f16 0.2); else it ends with 1.
 *
 * With --ids there are no times: the prompts are these, conversation i joins at step 2 * i and has
 * --tokens / (1 + i % 2) tokens. A line for each has its tokens. */
#include <leat/sequences.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MOST = 64,
    MOST_TOKENS = 1024
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
    float margin[MOST_TOKENS]; /* between the two likeliest */
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

/* Takes the likeliest token; the conversation leaves when it has said enough. */
static int go_on(leat_sequences *s, conversation *c, leat_error *err)
{
    leat_array logits;
    if (leat_sequences_result(s, c->id, 0, &logits, err)) {
        return 0;
    }
    const float *x = logits.data;
    const int64_t n = logits.shape[2];
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

static int same(const conversation *a, const conversation *b, int n, float most)
{
    int good = 1;
    for (int i = 0; i < n; i++) {
        for (int t = 0; t < a[i].n_said; t++) {
            if (a[i].said[t] != b[i].said[t]) {
                const int tie = a[i].margin[t] < most && b[i].margin[t] < most;
                printf("conversation %d differs at token %d (margins %g, %g)%s\n", i, t,
                       (double)a[i].margin[t], (double)b[i].margin[t], tie ? ": a tie" : "");
                good &= tie;
                break;
            }
        }
    }
    return good;
}

static int time_count(leat_sequences *s, const options *o, int n, leat_error *err)
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
    if (!same(alone, together, n, o->precision > LEAT_PRECISION_F32 ? 0.2f : 2e-3f)) {
        snprintf(err->message, sizeof(err->message), "together is not what each is alone");
        return 0;
    }
    return 1;
}

static int time_all(leat_sequences *s, const options *o, leat_error *err)
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
        if (!time_count(s, o, o->counts[i], err)) {
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
    const int good = leat_context_create(&threads, &context, &err) == LEAT_OK &&
                     leat_model_load(context, o.model, NULL, &model, &err) == LEAT_OK &&
                     leat_sequences_create(model, &desc, &sequences, &err) == LEAT_OK &&
                     (o.n_prompts > 0 ? answer : time_all)(sequences, &o, &err);
    if (!good) {
        fprintf(stderr, "sequences: %s\n", err.message);
    }
    leat_sequences_destroy(sequences);
    leat_model_destroy(model);
    leat_context_destroy(context);
    return good ? 0 : 1;
}

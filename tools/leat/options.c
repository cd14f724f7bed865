/* SPDX-License-Identifier: Apache-2.0 */
#include "leat/tool.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* What the commands take, and notes; "" of a note is for all commands. */
typedef struct usage {
    const char *commands; /* with spaces between */
    const char *text;
} usage;

static const usage commands[] = {
    {"run",
     "leat run MODEL [-i NAME=FILE.npy]... [-o DIR] [--shape NAME=1x3x224x224]... [--seed N]\n"
     "         [--device cpu|cuda:0|...] [--precision f32|tf32|bf16|f16|auto] [--threads N]\n"
     "         [--plain] [--cache DIR] [--json]\n"
     "    Runs a model once and says what comes out.\n"},
    {"bench", "leat bench MODEL [--device D] [--shape ...]... [--batch 1,8,32] [--threads 1,2]\n"
              "         [--precision ...] [--plain] [--cache DIR] [--seconds S] [--rate R]\n"
              "         [--trace FILE] [--profile] [--no-graphs] [--json]\n"
              "    Times it; with --profile node by node, beside the peaks of this machine.\n"},
    {"inspect",
     "leat inspect MODEL [--device D] [--shape ...]... [--threads N] [--precision ...]\n"
     "         [--plain] [--cache DIR] [--json]\n"
     "    Says what goes in and out, and for each node where it runs, by what, and why.\n"},
    {"devices", "leat devices [--device D] [--json]\n"
                "    Lists the devices there are, and why one cannot be used.\n"},
    {"quantize", "leat quantize IN.onnx OUT.onnx [--data [NAME=]calib.npy|calib.npz|DIR]...\n"
                 "         [--labels y.npy] [--method dynamic|static|weights] [--max-drop 1%]\n"
                 "         [--bits 8|4] [--block 32]\n"
                 "         [--target cpu|cuda|any] [--range min-max|percentile|mse|entropy]\n"
                 "         [--keep NODE]... [--sensitivity] [--any-speed] [--cache FILE]\n"
                 "         [--equalize] [--smooth] [--feedback|--no-feedback]\n"
                 "         [--report FILE] [--threads N] [--json]\n"
                 "    Makes an 8-bit (or 4-bit) model of an f32 one, as standard ONNX.\n"},
    {"test", "leat test PATH... [--device D] [--rtol R] [--atol A] [--threads N]\n"
             "    Runs folders of ONNX's backend tests (model.onnx, test_data_set_N).\n"},
};

static const usage notes[] = {
    {"run bench inspect", "--shape: of an input with open dimensions; without it these are 1.\n"},
    {"run", "-i: an input's data; others are random, by --seed. -o: outputs go to DIR/NAME.npy.\n"},
    {"bench",
     "--batch, --threads: each of these in turn. --rate: R runs a second instead of one after "
     "the other.\n"
     "--trace: what ran when, as JSON for chrome://tracing or ui.perfetto.dev.\n"
     "--no-graphs: work of devices is queued anew in every run.\n"},
    {"run bench inspect",
     "--precision: factors of products and convolutions of an f32 model; auto: what is fast here.\n"
     "--plain: no algorithm that rounds otherwise than the definition (Winograd, Strassen).\n"
     "--cache: measure the ways to compute a layer, and keep the results in DIR.\n"},
    {"quantize",
     "--data: samples along the first axis. --labels: the right classes, for --max-drop.\n"
     "--max-drop: take layers back to f32 until no more of accuracy (or signal) is lost.\n"
     "--method: static with --data, else dynamic; weights: products in f32, weights in blocks.\n"
     "--cache: keep in FILE what calibration found; it is used again for the same model and data.\n"
     "--any-speed: quantize also layers that are slower in 8 bits on this CPU (--target cpu).\n"
     "--equalize: even out the channels of weights between products in a chain.\n"
     "--smooth: static too: even out the channels of what matrix products read (SmoothQuant).\n"
     "--feedback: round weights so that errors make up for each other on the data (GPTQ), "
     "whatever\n"
     "the method and the time; static does so by itself, in pieces. --no-feedback: to the "
     "nearest.\n"},
    {"run bench inspect devices test",
     "--plugins DIR: where the backend of --device is looked for (libleat_NAME.so).\n"},
    {"", "Exit codes: 0 fine, 1 failed or mismatched, 2 usage, 3 model refused, 4 no device.\n"},
};

/* Whether a command is among words with a space between. */
static bool is_among(const char *words, const char *command)
{
    const size_t n = strlen(command);
    for (const char *at = words; (at = strstr(at, command)) != NULL; at += n) {
        if ((at == words || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0')) {
            return true;
        }
    }
    return false;
}

/* Lines that are about a command (NULL: any). */
static void print_lines(FILE *to, const usage *lines, size_t n, const char *command)
{
    for (size_t i = 0; i < n; i++) {
        bool all = command == NULL || lines[i].commands[0] == '\0';
        if (all || is_among(lines[i].commands, command)) {
            fputs(lines[i].text, to);
        }
    }
}

void print_usage(FILE *to, const char *command)
{
    if (command == NULL) {
        fputs("leat runs, times, inspects, quantizes and tests ONNX models.\n\n", to);
    }
    print_lines(to, commands, sizeof(commands) / sizeof(commands[0]), command);
    fputs("\n", to);
    print_lines(to, notes, sizeof(notes) / sizeof(notes[0]), command);
}

/* --- values -------------------------------------------------------------------------------------
 */

static pair split_pair(char *text)
{
    char *equals = strchr(text, '=');
    pair p = {NULL, text};
    if (equals != NULL) {
        *equals = '\0';
        p.name = text;
        p.value = equals + 1;
    }
    return p;
}

/* "1,8,32"; false for anything that is not a list of numbers from `least` on. */
static bool parse_list(const char *text, int least, int *out, int *out_count)
{
    *out_count = 0;
    while (*out_count < MAX_LIST) {
        char *end;
        long v = strtol(text, &end, 10);
        if (end == text || v < least || v > 1 << 20) {
            return false;
        }
        out[(*out_count)++] = (int)v;
        if (*end == '\0') {
            return true;
        }
        if (*end != ',') {
            return false;
        }
        text = end + 1;
    }
    return false;
}

/* "0.01", or as a share also "1%". */
static bool parse_number(const char *text, bool share, double *out)
{
    char *end;
    *out = strtod(text, &end);
    if (share && end != text && *end == '%') {
        *out /= 100;
        end++;
    }
    return end != text && *end == '\0' && *out >= 0 && isfinite(*out);
}

/* Digits alone. */
static bool parse_whole(const char *text, uint64_t most, uint64_t *out)
{
    char *end;
    *out = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && *out <= most;
}

/* --- options ------------------------------------------------------------------------------------
 */

enum {
    RUN = 1,
    BENCH = 2,
    INSPECT = 4,
    DEVICES = 8,
    TEST = 16,
    QUANTIZE = 32,
    SESSION = RUN | BENCH | INSPECT,
    ANY = SESSION | DEVICES | TEST | QUANTIZE
};

static const char *const command_names[] = {"run",     "bench", "inspect",
                                            "devices", "test",  "quantize"};

typedef enum kind {
    FLAG,
    TEXT,
    PAIRS,  /* [NAME=]TEXT, many times: what is at `count` is how many */
    TEXTS,  /* many times */
    LIST,   /* 1,8,32 */
    NUMBER, /* not negative */
    SHARE,
    SEED,   /* a whole number */
    SMALL,  /* one from 1 to 256 */
    CHOICE, /* one of words with a space between, as its position among them */
} kind;

typedef struct option {
    const char *name;
    unsigned commands; /* that know it */
    kind kind;
    size_t at, count; /* offsets in options */
    const char *what; /* what a value must be; of a CHOICE the words */
    int least;        /* of a LIST */
} option;

/* In the order of leat_precision. */
#define PRECISIONS "model f32 bf16 f16 auto tf32"

#define AT(field) offsetof(options, field)

static const option table[] = {
    {"--help", ANY, FLAG, AT(help), 0, NULL, 0},
    {"-h", ANY, FLAG, AT(help), 0, NULL, 0},
    {"--json", ANY & ~TEST, FLAG, AT(json), 0, NULL, 0},
    {"--plugins", ANY & ~QUANTIZE, TEXT, AT(plugins), 0, NULL, 0},
    {"--device", ANY & ~QUANTIZE, TEXT, AT(device), 0, NULL, 0},
    {"--threads", ANY & ~DEVICES, LIST, AT(threads), AT(n_threads), "numbers from 0, such as 1,2",
     0},
    {"--cache", SESSION | QUANTIZE, TEXT, AT(cache), 0, NULL, 0},
    {"--shape", SESSION, PAIRS, AT(shapes), AT(n_shapes), "64 times at most", 0},
    {"-i", SESSION, PAIRS, AT(inputs), AT(n_inputs), "64 times at most", 0},
    {"--seed", SESSION, SEED, AT(seed), 0, "a whole number", 0},
    {"--precision", SESSION, CHOICE, AT(precision), 0, PRECISIONS, 0},
    {"--plain", SESSION, FLAG, AT(plain), 0, NULL, 0},
    {"--no-graphs", SESSION, FLAG, AT(no_graphs), 0, NULL, 0},
    {"-o", RUN, TEXT, AT(out_directory), 0, NULL, 0},
    {"--batch", BENCH, LIST, AT(batches), AT(n_batches), "numbers from 1 to 1048576, such as 1,8",
     1},
    {"--seconds", BENCH, NUMBER, AT(seconds), 0, "a number from 0", 0},
    {"--rate", BENCH, NUMBER, AT(rate), 0, "a number from 0", 0},
    {"--trace", BENCH, TEXT, AT(trace), 0, NULL, 0},
    {"--profile", BENCH, FLAG, AT(profile), 0, NULL, 0},
    {"--rtol", TEST, NUMBER, AT(rtol), 0, "a number from 0", 0},
    {"--atol", TEST, NUMBER, AT(atol), 0, "a number from 0", 0},
    {"--data", QUANTIZE, PAIRS, AT(data), AT(n_data), "64 times at most", 0},
    {"--labels", QUANTIZE, TEXT, AT(labels), 0, NULL, 0},
    {"--method", QUANTIZE, CHOICE, AT(method), 0, "auto dynamic static weights", 0},
    {"--target", QUANTIZE, CHOICE, AT(target), 0, "cpu cuda any", 0},
    {"--range", QUANTIZE, CHOICE, AT(range), 0, "best min-max percentile mse entropy", 0},
    {"--bits", QUANTIZE, SMALL, AT(bits), 0, "8 or 4", 0},
    {"--block", QUANTIZE, SMALL, AT(block), 0, "16, 32, 64, 128 or 256", 0},
    {"--max-drop", QUANTIZE, SHARE, AT(max_drop), 0, "a share such as 1% or 0.01", 0},
    {"--keep", QUANTIZE, TEXTS, AT(keep), AT(n_keep), "64 times at most", 0},
    {"--report", QUANTIZE, TEXT, AT(report), 0, NULL, 0},
    {"--sensitivity", QUANTIZE, FLAG, AT(sensitivity), 0, NULL, 0},
    {"--any-speed", QUANTIZE, FLAG, AT(any_speed), 0, NULL, 0},
    {"--equalize", QUANTIZE, FLAG, AT(equalize), 0, NULL, 0},
    {"--smooth", QUANTIZE, FLAG, AT(smooth), 0, NULL, 0},
    {"--feedback", QUANTIZE, FLAG, AT(feedback), 0, NULL, 0},
    {"--no-feedback", QUANTIZE, FLAG, AT(no_feedback), 0, NULL, 0},
};

/* Position of a text among words with a space between; false when it is none of them. */
static bool parse_choice(const char *text, const char *words, int *out)
{
    const size_t n = strlen(text);
    *out = 0;
    for (const char *at = words; *at != '\0'; (*out)++) {
        const size_t length = strcspn(at, " ");
        if (length == n && memcmp(at, text, n) == 0) {
            return true;
        }
        at += length + (at[length] == ' ');
    }
    return false;
}

/* False for a value that is none, or one too many. */
static bool take_value(options *o, const option *option, char *value)
{
    void *at = (char *)o + option->at;
    int *count = (int *)(void *)((char *)o + option->count);
    uint64_t whole;
    switch (option->kind) {
    case TEXT:
        *(const char **)at = value;
        return true;
    case PAIRS:
        return *count < MAX_LIST && (((pair *)at)[(*count)++] = split_pair(value), true);
    case TEXTS:
        return *count < MAX_LIST && (((const char **)at)[(*count)++] = value, true);
    case LIST:
        return parse_list(value, option->least, at, count);
    case NUMBER:
    case SHARE:
        return parse_number(value, option->kind == SHARE, at);
    case SEED:
        return parse_whole(value, UINT64_MAX, at);
    case SMALL:
        *(int *)at = parse_whole(value, 256, &whole) ? (int)whole : 0;
        return *(int *)at > 0;
    default:
        return parse_choice(value, option->what, at);
    }
}

/* --- the command line ---------------------------------------------------------------------------
 */

static unsigned command_bit(const char *command)
{
    for (size_t i = 0; i < sizeof(command_names) / sizeof(command_names[0]); i++) {
        if (strcmp(command_names[i], command) == 0) {
            return 1u << i;
        }
    }
    return 0;
}

static int usage_error(const options *o, const char *text)
{
    fprintf(stderr, "leat %s: %s; see leat %s --help\n", o->command, text, o->command);
    return EXIT_USAGE;
}

/* The option of that name if the command knows it; NULL: an error was printed. */
static const option *find_option(const options *o, const char *name)
{
    char text[256];
    const unsigned command = command_bit(o->command);
    const option *other = NULL;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (strcmp(table[i].name, name) == 0) {
            if (table[i].commands & command) {
                return &table[i];
            }
            other = &table[i];
        }
    }
    for (size_t i = 0; other != NULL; i++) {
        if (other->commands >> i & 1) {
            snprintf(text, sizeof(text), "'%.40s' is an option of 'leat %s'", name,
                     command_names[i]);
            (void)usage_error(o, text);
            return NULL;
        }
    }
    snprintf(text, sizeof(text), "there is no option '%.80s'", name);
    (void)usage_error(o, text);
    return NULL;
}

/* Takes argv[i], an option, and its value; *out_next is behind it. */
static int take_option(options *o, int argc, char **argv, int i, int *out_next)
{
    char text[512], value[80];
    const option *option = find_option(o, argv[i]);
    if (option == NULL) {
        return EXIT_USAGE;
    }
    *out_next = i + 1;
    if (option->kind == FLAG) {
        *(bool *)((char *)o + option->at) = true;
        return EXIT_FINE;
    }
    if (i + 1 == argc) {
        snprintf(text, sizeof(text), "a value is missing after '%s'", option->name);
        return usage_error(o, text);
    }
    *out_next = i + 2;
    snprintf(value, sizeof(value), "%s", argv[i + 1]); /* as it was: a pair is split */
    if (!take_value(o, option, argv[i + 1])) {
        snprintf(text, sizeof(text), "'%s' is no value for %s, which takes %s%s", value,
                 option->name, option->kind == CHOICE ? "one of: " : "", option->what);
        return usage_error(o, text);
    }
    return EXIT_FINE;
}

/* Paths that a command takes; the most of `test` is no bound. */
static int check_paths(const options *o)
{
    const unsigned command = command_bit(o->command);
    char text[256];
    if (command == QUANTIZE && o->n_paths != 2) {
        return usage_error(o, "give two paths, IN.onnx and OUT.onnx");
    }
    if (command == QUANTIZE && o->labels != NULL && o->n_data == 0) {
        return usage_error(o, "--labels belongs to --data, which is missing");
    }
    if (command == QUANTIZE && o->cache != NULL && o->n_data == 0) {
        return usage_error(o, "--cache belongs to --data, which is missing");
    }
    if (command != DEVICES && o->n_paths == 0) {
        return usage_error(o, "which model? A path is missing");
    }
    const int most = command == DEVICES ? 0 : command & SESSION ? 1 : o->n_paths;
    if (command != QUANTIZE && o->n_paths > most) {
        snprintf(text, sizeof(text), "'%.80s' is one path too many", o->paths[most]);
        return usage_error(o, text);
    }
    return EXIT_FINE;
}

int options_parse(int argc, char **argv, options *o)
{
    memset(o, 0, sizeof(*o));
    o->command = argv[1];
    o->paths = argv + 2;
    o->device = "cpu";
    o->seconds = 1;
    o->rtol = o->atol = -1;
    for (int i = 2; i < argc;) {
        if (argv[i][0] != '-' || argv[i][1] == '\0') {
            o->paths[o->n_paths++] = argv[i++]; /* never overtakes i */
            continue;
        }
        int code = take_option(o, argc, argv, i, &i);
        if (code != EXIT_FINE || o->help) {
            return code;
        }
    }
    return check_paths(o);
}

void precision_name(int precision, char *out, size_t room)
{
    const char *at = PRECISIONS;
    for (int i = 0; i < precision; i++) {
        at += strcspn(at, " ") + 1;
    }
    snprintf(out, room, "%.*s", (int)strcspn(at, " "), at);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "leat/tool.h"

#include <stdlib.h>
#include <string.h>

/* What the commands take, and notes; "" of a note is for all commands. */
typedef struct usage {
    const char *commands; /* with spaces between */
    const char *text;
} usage;

static const usage commands[] = {
    {"run", "leat run MODEL [-i NAME=FILE.npy]... [-o DIR] [--shape NAME=1x3x224x224] [--seed N]\n"
            "         [--device cpu|cuda:0|...] [--precision f32|tf32|bf16|f16|auto] [--threads N] "
            "[--plain]\n"
            "         [--cache DIR] [--json]\n"},
    {"bench", "leat bench MODEL [--device D] [--shape ...] [--batch 1,8,32] [--threads 1,2]\n"
              "         [--precision ...] [--plain] [--cache DIR] [--seconds S] [--rate R]\n"
              "         [--trace FILE] [--profile] [--no-graphs] [--json]\n"},
    {"inspect", "leat inspect MODEL [--shape NAME=1x3x224x224] [--device D] [--json]\n"},
    {"devices", "leat devices [--device D] [--json]\n"},
    {"quantize", "leat quantize IN.onnx OUT.onnx [--data [NAME=]calib.npy|calib.npz|DIR]...\n"
                 "         [--labels y.npy] [--method dynamic|static|weights] [--max-drop 1%]\n"
                 "         [--bits 8|4] [--block 32]\n"
                 "         [--target cpu|cuda|any] [--range min-max|percentile|mse|entropy]\n"
                 "         [--keep NODE]... [--sensitivity] [--any-speed] [--cache FILE]\n"
                 "         [--equalize] [--smooth] [--feedback]\n"
                 "         [--report FILE] [--threads N] [--json]\n"},
    {"test", "leat test PATH... [--device D] [--rtol R] [--atol A]\n"},
};

static const usage notes[] = {
    {"run bench",
     "--plain: no algorithm that rounds otherwise than the definition (Winograd, Strassen).\n"
     "--cache: measure the ways to compute a layer, and keep the results in DIR.\n"},
    {"quantize",
     "--cache: keep in FILE what calibration found; it is used again for the same model and data.\n"
     "--any-speed: quantize also layers that are slower in 8 bits on this CPU (--target cpu).\n"
     "--equalize: even out the channels of weights between products in a chain.\n"
     "--smooth: static too: even out the channels of what matrix products read (SmoothQuant).\n"
     "--feedback: round weights so that errors make up for each other on the data (GPTQ).\n"},
    {"", "--plugins DIR: where the backend of --device is looked for (libleat_NAME.so).\n"
         "Exit codes: 0 fine, 1 failed or mismatched, 2 usage, 3 model refused, 4 no device.\n"},
};

/* Lines that are about a command (NULL: any). */
static void print_lines(FILE *to, const usage *lines, size_t n, const char *command)
{
    for (size_t i = 0; i < n; i++) {
        bool all = command == NULL || lines[i].commands[0] == '\0';
        if (all || strstr(lines[i].commands, command) != NULL) {
            fputs(lines[i].text, to);
        }
    }
}

void print_usage(FILE *to, const char *command)
{
    print_lines(to, commands, sizeof(commands) / sizeof(commands[0]), command);
    fputs("\n", to);
    print_lines(to, notes, sizeof(notes) / sizeof(notes[0]), command);
}

static int usage_error(const char *command, const char *what, const char *value)
{
    fprintf(stderr, "leat %s: %s '%s'; see leat --help\n", command, what, value);
    return EXIT_USAGE;
}

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

/* "1,8,32"; false for anything that is not a list of positive numbers. */
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

static bool parse_number(const char *text, double *out)
{
    char *end;
    *out = strtod(text, &end);
    return end != text && *end == '\0' && *out >= 0;
}

/* "1%" or "0.01" */
static bool parse_share(const char *text, double *out)
{
    char *end;
    *out = strtod(text, &end);
    if (end != text && *end == '%') {
        *out /= 100;
        end++;
    }
    return end != text && *end == '\0' && *out >= 0;
}

/* Position of the text among `count` names; false when it is none of them. */
static bool parse_choice(const char *text, const char *const *names, int count, int *out)
{
    for (int i = 0; i < count; i++) {
        if (names[i] != NULL && strcmp(names[i], text) == 0) {
            *out = i;
            return true;
        }
    }
    return false;
}

static bool parse_precision(const char *text, leat_precision *out)
{
    static const struct {
        const char *name;
        leat_precision precision;
    } names[] = {{"model", LEAT_PRECISION_MODEL}, {"f32", LEAT_PRECISION_F32},
                 {"bf16", LEAT_PRECISION_BF16},   {"f16", LEAT_PRECISION_F16},
                 {"auto", LEAT_PRECISION_AUTO},   {"tf32", LEAT_PRECISION_TF32}};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i].name, text) == 0) {
            *out = names[i].precision;
            return true;
        }
    }
    return false;
}

/* Options of `leat quantize`; *known is false when it is none. */
static bool take_quantize_value(options *o, const char *name, char *value, bool *known)
{
    static const char *const methods[] = {"auto", "dynamic", "static", "weights"};
    static const char *const targets[] = {"cpu", "cuda", "any"};
    static const char *const ranges[] = {"best", "min-max", "percentile", "mse", "entropy"};
    if (strcmp(name, "--data") == 0 && o->n_data < MAX_LIST) {
        o->data[o->n_data++] = split_pair(value);
        return true;
    }
    if (strcmp(name, "--keep") == 0 && o->n_keep < MAX_LIST) {
        o->keep[o->n_keep++] = value;
        return true;
    }
    if (strcmp(name, "--labels") == 0) {
        o->labels = value;
        return true;
    }
    if (strcmp(name, "--report") == 0) {
        o->report = value;
        return true;
    }
    if (strcmp(name, "--method") == 0) {
        return parse_choice(value, methods, 4, &o->method);
    }
    if (strcmp(name, "--target") == 0) {
        return parse_choice(value, targets, 3, &o->target);
    }
    if (strcmp(name, "--range") == 0) {
        return parse_choice(value, ranges, 5, &o->range);
    }
    if (strcmp(name, "--bits") == 0 || strcmp(name, "--block") == 0) {
        char *end;
        long number = strtol(value, &end, 10);
        *(name[3] == 'i' ? &o->bits : &o->block) = (int)number;
        return *value != '\0' && *end == '\0' && number > 0 && number <= 256;
    }
    if (strcmp(name, "--max-drop") == 0) {
        return parse_share(value, &o->max_drop);
    }
    *known = false;
    return false;
}

/* An option with a value; *known is false when there is no such option. */
static bool take_value(options *o, const char *name, char *value, bool *known)
{
    double number;
    *known = true;
    if (strcmp(name, "-i") == 0 && o->n_inputs < MAX_LIST) {
        o->inputs[o->n_inputs++] = split_pair(value);
        return true;
    }
    if (strcmp(name, "--shape") == 0 && o->n_shapes < MAX_LIST) {
        o->shapes[o->n_shapes++] = split_pair(value);
        return true;
    }
    if (strcmp(name, "-o") == 0) {
        o->out_directory = value;
        return true;
    }
    if (strcmp(name, "--device") == 0) {
        o->device = value;
        return true;
    }
    if (strcmp(name, "--plugins") == 0) {
        o->plugins = value;
        return true;
    }
    if (strcmp(name, "--cache") == 0) {
        o->cache = value;
        return true;
    }
    if (strcmp(name, "--trace") == 0) {
        o->trace = value;
        return true;
    }
    if (strcmp(name, "--precision") == 0) {
        o->precision_name = value;
        return parse_precision(value, &o->precision);
    }
    if (strcmp(name, "--threads") == 0) {
        return parse_list(value, 0, o->threads, &o->n_threads);
    }
    if (strcmp(name, "--batch") == 0) {
        return parse_list(value, 1, o->batches, &o->n_batches);
    }
    if (strcmp(name, "--seed") == 0 && parse_number(value, &number)) {
        o->seed = strtoull(value, NULL, 10);
        return true;
    }
    if (strcmp(name, "--seconds") == 0) {
        return parse_number(value, &o->seconds);
    }
    if (strcmp(name, "--rate") == 0) {
        return parse_number(value, &o->rate);
    }
    if (strcmp(name, "--rtol") == 0) {
        return parse_number(value, &o->rtol);
    }
    if (strcmp(name, "--atol") == 0) {
        return parse_number(value, &o->atol);
    }
    if (strcmp(name, "--seed") == 0) {
        return false;
    }
    return take_quantize_value(o, name, value, known);
}

int options_parse(int argc, char **argv, options *o)
{
    memset(o, 0, sizeof(*o));
    o->command = argv[1];
    o->paths = argv + 2;
    o->device = "cpu";
    o->precision_name = "model";
    o->seconds = 1;
    o->rtol = o->atol = -1;
    for (int i = 2; i < argc; i++) {
        bool known;
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            o->help = true;
            return EXIT_FINE;
        } else if (strcmp(argv[i], "--json") == 0) {
            o->json = true;
        } else if (strcmp(argv[i], "--profile") == 0) {
            o->profile = true;
        } else if (strcmp(argv[i], "--sensitivity") == 0) {
            o->sensitivity = true;
        } else if (strcmp(argv[i], "--any-speed") == 0) {
            o->any_speed = true;
        } else if (strcmp(argv[i], "--equalize") == 0) {
            o->equalize = true;
        } else if (strcmp(argv[i], "--smooth") == 0) {
            o->smooth = true;
        } else if (strcmp(argv[i], "--feedback") == 0) {
            o->feedback = true;
        } else if (strcmp(argv[i], "--plain") == 0) {
            o->plain = true;
        } else if (strcmp(argv[i], "--no-graphs") == 0) {
            o->no_graphs = true;
        } else if (argv[i][0] == '-' && argv[i][1] != '\0') {
            if (i + 1 == argc) {
                return usage_error(o->command, "a value is missing after", argv[i]);
            }
            if (!take_value(o, argv[i], argv[i + 1], &known)) {
                return known ? usage_error(o->command, "not a good value:", argv[i + 1])
                             : usage_error(o->command, "unknown option", argv[i]);
            }
            i++;
        } else {
            o->paths[o->n_paths++] = argv[i]; /* never overtakes i */
        }
    }
    if (o->n_paths == 0 && strcmp(o->command, "devices") != 0) {
        return usage_error(o->command, "which model? A path is missing after", o->command);
    }
    return EXIT_FINE;
}

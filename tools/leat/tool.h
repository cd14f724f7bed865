/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands of the `leat` tool share. */
#ifndef LEAT_TOOL_H
#define LEAT_TOOL_H

#include "base/memory.h"

#include <leat/leat.h>
#include <stdio.h>

/* Exit codes: a contract with scripts. */
enum {
    EXIT_FINE = 0,
    EXIT_FAILED = 1, /* failed or mismatched */
    EXIT_USAGE = 2,
    EXIT_MODEL_REFUSED = 3,
    EXIT_NO_DEVICE = 4
};

#define MAX_LIST 64

/* NAME=VALUE; name NULL when only VALUE was given. */
typedef struct pair {
    const char *name;
    const char *value;
} pair;

/* The command line of all commands together; each uses what it knows. */
typedef struct options {
    const char *command;
    char **paths; /* arguments that are not options; in argv */
    int n_paths;
    pair inputs[MAX_LIST]; /* -i */
    int n_inputs;
    pair shapes[MAX_LIST]; /* --shape */
    int n_shapes;
    const char *out_directory; /* -o */
    const char *device;
    const char *plugins; /* directory of plugins; NULL: the installed one */
    int precision;       /* a leat_precision */
    int threads[MAX_LIST];
    int n_threads;
    int batches[MAX_LIST];
    int n_batches;
    uint64_t seed;
    double seconds;
    double rate;
    double rtol, atol; /* negative: the default */
    const char *trace;
    const char *cache; /* leat_session_desc.cache_directory */
    bool json, profile;
    bool plain; /* leat_session_desc.plain_algorithms */
    bool no_graphs;
    bool help;
    /* leat quantize */
    pair data[MAX_LIST];
    int n_data;
    const char *keep[MAX_LIST];
    int n_keep;
    const char *labels, *report;
    int method, target, range; /* values of the enumerations in leat/quantizer.h */
    double max_drop;
    bool sensitivity, any_speed, equalize, smooth, feedback, no_feedback;
    int bits, block;
} options;

/* Parses argv up to a --help; on an error prints what is wrong and returns EXIT_USAGE. */
int options_parse(int argc, char **argv, options *out);
/* What a command takes; NULL: all of them. */
void print_usage(FILE *to, const char *command);
/* Its name on the command line, of `room` bytes. */
void precision_name(int precision, char *out, size_t room);

/* Exit code of a status, at load or session creation. */
int exit_code(leat_status status);
/* Of reading data: a bad file of data is no model that is refused. */
leat_status data_status(leat_status status);
/* What loading a model gave: one that is wrong in itself is a model refused, too. */
leat_status model_status(leat_status status);
/* Prints "leat COMMAND: MESSAGE" to standard error; returns exit_code. */
int report_error(const options *o, leat_status status, const leat_error *err);

/* A context, a model and a session. */
typedef struct opened {
    leat_context *context;
    leat_model *model;
    leat_session *session;
    int threads; /* that compute */
    double load_ms;
    double create_ms;
} opened;

/* Opens the model at `path` with `threads` (0: all cores). On failure prints the error and returns
 * the exit code; EXIT_FINE otherwise. close_all frees what there is. */
int open_all(const options *o, const char *path, int threads, bool profile, opened *out);
/* What the options say about a session. Points into `o`. */
leat_session_desc describe_session(const options *o, int32_t profile);
void close_all(opened *all);

/* Input arrays of one run, in an arena. */
typedef struct inputs {
    lt_memory memory;
    lt_arena arena;
    leat_array arrays[MAX_LIST];
    size_t count;
    const char *guessed; /* the first whose sizes, but its batch, are 1 because nobody gave them */
    const leat_array *guess;
} inputs;

/* Reads or makes the inputs: -i files, else seeded random numbers of the shape that --shape, or the
 * model with 1 for unknown dimensions, gives. batch > 0 replaces the first dimension where it is
 * unknown. Free with inputs_free.
 * Errors:   NOT_FOUND for a name that the model does not have, or a file; INVALID for what is wrong
 *           with one; LIMIT for a model of more than MAX_LIST inputs or outputs; NO_MEMORY. */
leat_status inputs_make(const options *o, const leat_model *model, int batch, inputs *out,
                        leat_error *err);
void inputs_free(inputs *in);
/* report_error of a run, and what to give when sizes were guessed. */
int report_run_error(const options *o, const inputs *in, leat_status status, const leat_error *err);

/* JSON to standard output. */
void json_string(FILE *to, const char *text);

double now_ms(void);

int cmd_run(const options *o);
int cmd_bench(const options *o);
int cmd_inspect(const options *o);
int cmd_devices(const options *o);
int cmd_test(const options *o);
int cmd_quantize(const options *o);

#endif

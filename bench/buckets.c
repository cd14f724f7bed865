/* SPDX-License-Identifier: Apache-2.0 */
/* Which lengths to pad to, of a text model on real lengths:
 *
 *   buckets MODEL.onnx LENGTHS [--symbol sequence] [--device D] [--plugins DIR] [--threads N]
 *           [--precision f32|bf16|f16] [--texts N] [--max-batch N] [--rounds N] [--warm N]
 *           [--only POLICY]
 *
 * LENGTHS: a text file of numbers. Its first N texts (all) are asked for at once, and again, by
 * leat_batcher_process: until --warm (1,024) have been, not timed, so that every length has its
 * plan and what is to be chosen is chosen; then N rounds (2), whose median is what counts. One line
 * for each policy: no padding, powers of two, leat's default steps, and lengths chosen by cost, 2,
 * 4 and 8 of them: texts a second, rows of a batch, and the part of the inputs that is padding. */
#include <leat/batcher.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MOST_TEXTS = 4096,
    MOST_INPUTS = 4
};

typedef struct options {
    const char *model, *lengths, *symbol, *device, *plugins, *only;
    leat_precision precision;
    int threads, texts, max_batch, rounds, warm;
} options;

typedef struct policy {
    const char *name;
    const char *symbol; /* NULL: no padding */
    const int64_t *lengths;
    uint32_t n_lengths, buckets;
} policy;

static leat_array inputs[MOST_TEXTS * MOST_INPUTS], outputs[MOST_TEXTS];

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int read_options(options *o, int argc, char **argv)
{
    static const char *const precisions[] = {"", "f32", "bf16", "f16"};
    for (int i = 3; i + 1 < argc; i += 2) {
        const struct {
            const char *name;
            const char **text;
            int *number;
        } known[] = {{"--symbol", &o->symbol, NULL},      {"--device", &o->device, NULL},
                     {"--plugins", &o->plugins, NULL},    {"--only", &o->only, NULL},
                     {"--threads", NULL, &o->threads},    {"--texts", NULL, &o->texts},
                     {"--rounds", NULL, &o->rounds},      {"--warm", NULL, &o->warm},
                     {"--max-batch", NULL, &o->max_batch}};
        int found = 0;
        for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
            if (strcmp(argv[i], known[k].name) == 0) {
                found = 1;
                *(known[k].text ? known[k].text : &(const char *){NULL}) = argv[i + 1];
                *(known[k].number ? known[k].number : &(int){0}) = atoi(argv[i + 1]);
            }
        }
        for (int p = 1; p < 4 && strcmp(argv[i], "--precision") == 0; p++) {
            if (strcmp(argv[i + 1], precisions[p]) == 0) {
                o->precision = (leat_precision)p;
                found = 1;
            }
        }
        if (!found) {
            return 0;
        }
    }
    o->model = argc > 1 ? argv[1] : NULL;
    o->lengths = argc > 2 ? argv[2] : NULL;
    return argc > 2 && argc % 2 == 1 && o->rounds > 0 && o->rounds <= 64;
}

/* Ids, a mask of ones, types: whatever the model takes, of these lengths. */
static int make_texts(const options *o, const leat_model_signature *io)
{
    FILE *file = fopen(o->lengths, "r");
    long long length;
    int n = 0;
    while (file != NULL && n < MOST_TEXTS && (o->texts == 0 || n < o->texts) &&
           fscanf(file, "%lld", &length) == 1 && length > 0) {
        for (size_t i = 0; i < io->n_inputs; i++) {
            int64_t *x = calloc((size_t)length, sizeof(*x));
            for (long long t = 0; t < length && x != NULL; t++) {
                x[t] = strstr(io->inputs[i].name, "mask") != NULL ? 1
                       : strstr(io->inputs[i].name, "ids") != NULL &&
                               strstr(io->inputs[i].name, "type") == NULL
                           ? 100 + (t * 37 + n) % 20000
                           : 0;
            }
            inputs[(size_t)n * io->n_inputs + i] =
                (leat_array){LEAT_DTYPE_I64, 2, {1, length}, x, (size_t)length * sizeof(*x)};
        }
        outputs[n].bytes = (size_t)length * 4096 * sizeof(float);
        outputs[n].data = calloc(1, outputs[n].bytes);
        n++;
    }
    if (file != NULL) {
        fclose(file);
    }
    return n;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Outputs have room for any of the policies. */
static leat_status one_round(leat_batcher *b, int n, double *out_seconds, leat_error *err)
{
    static leat_array results[MOST_TEXTS];
    memcpy(results, outputs, sizeof(results));
    const double begin = seconds();
    leat_status status = leat_batcher_process(b, (size_t)n, inputs, results, NULL, err);
    *out_seconds = seconds() - begin;
    return status;
}

static leat_status measure(const options *o, leat_model *model, const policy *p, int n,
                           leat_error *err)
{
    const leat_session_desc session = {.struct_size = sizeof(session),
                                       .devices = &o->device,
                                       .n_devices = 1,
                                       .precision = o->precision,
                                       .max_plans = 4096};
    const leat_batcher_desc desc = {.struct_size = sizeof(desc),
                                    .max_batch_size = o->max_batch,
                                    .max_keys = 512,
                                    .session = &session,
                                    .pad_dimension = p->symbol,
                                    .pad_lengths = p->lengths,
                                    .n_pad_lengths = p->n_lengths,
                                    .pad_buckets = p->buckets};
    leat_batcher *b;
    double times[64], unused;
    leat_batcher_stats before = {.struct_size = sizeof(before)}, after = before;
    leat_status status = leat_batcher_create(model, &desc, &b, err);
    for (int done = 0; done < o->warm && status == LEAT_OK; done += n) {
        status = one_round(b, n, &unused, err);
    }
    if (status == LEAT_OK) {
        leat_batcher_read_stats(b, &before);
    }
    for (int r = 0; r < o->rounds && status == LEAT_OK; r++) {
        status = one_round(b, n, &times[r], err);
    }
    if (status == LEAT_OK) {
        leat_batcher_read_stats(b, &after);
        qsort(times, (size_t)o->rounds, sizeof(double), by_value);
        printf("%-28s %8.1f texts/s, %5.1f rows a batch, %4.1f %% padding, lengths chosen %llu "
               "times\n",
               p->name, n / times[o->rounds / 2],
               (double)(after.rows - before.rows) / (double)(after.batches - before.batches),
               100 * (double)(after.pad_bytes - before.pad_bytes) /
                   (double)(after.input_bytes - before.input_bytes),
               (unsigned long long)after.pad_changes);
        fflush(stdout);
    }
    leat_batcher_destroy(b);
    return status;
}

static leat_status measure_all(const options *o, leat_model *model, leat_error *err)
{
    static const int64_t powers[] = {16, 32, 64, 128, 256, 512, 1024, 2048, 4096};
    const policy policies[] = {{"no padding", NULL, NULL, 0, 0},
                               {"powers of two", o->symbol, powers, 9, 0},
                               {"default steps", o->symbol, NULL, 0, 0},
                               {"chosen by cost, 2", o->symbol, NULL, 0, 2},
                               {"chosen by cost, 4", o->symbol, NULL, 0, 4},
                               {"chosen by cost, 8", o->symbol, NULL, 0, 8}};
    const int n = make_texts(o, leat_model_io(model));
    leat_status status = n > 0 ? LEAT_OK : LEAT_INVALID;
    for (size_t p = 0; p < sizeof(policies) / sizeof(policies[0]) && status == LEAT_OK; p++) {
        if (o->only == NULL || strcmp(o->only, policies[p].name) == 0) {
            status = measure(o, model, &policies[p], n, err);
        }
    }
    return status;
}

int main(int argc, char **argv)
{
    options o = {.device = "cpu", .symbol = "sequence", .rounds = 2, .warm = 1024, .max_batch = 32};
    leat_error err = {0};
    leat_context *context = NULL;
    leat_model *model = NULL;
    if (!read_options(&o, argc, argv)) {
        fprintf(stderr, "usage: buckets MODEL.onnx LENGTHS [--symbol S] [--device D] "
                        "[--plugins DIR] [--threads N] [--precision P] [--texts N] "
                        "[--max-batch N] [--rounds N] [--warm N] [--only POLICY]\n");
        return 2;
    }
    const leat_context_desc desc = {
        .struct_size = sizeof(desc), .threads = o.threads, .plugin_directory = o.plugins};
    leat_status status = leat_context_create(&desc, &context, &err);
    status = status ? status : leat_model_load(context, o.model, NULL, &model, &err);
    if (status == LEAT_OK &&
        (leat_model_io(model)->n_inputs > MOST_INPUTS || leat_model_io(model)->n_outputs != 1)) {
        status = LEAT_UNSUPPORTED;
    }
    status = status ? status : measure_all(&o, model, &err);
    if (status != LEAT_OK) {
        fprintf(stderr, "buckets: %s: %s\n", leat_status_text(status), err.message);
    }
    leat_model_destroy(model);
    leat_context_destroy(context);
    return status != LEAT_OK;
}

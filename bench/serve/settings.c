/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is wrong with the command line (NULL: nothing, it was asked for), and what would be right.
 */
static _Noreturn void explain(const char *what, const char *value)
{
    FILE *to = what != NULL ? stderr : stdout;
    if (what != NULL) {
        fprintf(to, "serve: %s%s%s\n", what, value ? " " : "", value ? value : "");
    }
    fprintf(to,
            "usage: serve MODEL.onnx --rate R | --light R | --p99 MS | --users N | --trace FILE\n"
            "  [--device D]... [--plugins DIR] [--threads N] [--seconds 2] [--every S]\n"
            "  [--shape NAME=1x3x8x8]... [--mixed NAME=1x3x9x9]... [--groups 1 | --group-rows 1]\n"
            "  [--lengths FILE --length DIMENSION] [--max-batch 32] [--step N] [--instances N]\n"
            "  [--pad DIMENSION [--pad-buckets N]] [--poll US] [--fifo 1] [--null A:B]\n"
            "  [--answers MB] [--distinct N] [--senders 1]\n"
            "  [--bursts ON_MS:OFF_MS] [--deadline MS] [--urgent R [--urgent-deadline MS]]\n"
            "  [--overload 2] [--from R] [--growth 2] [--json 1]\n");
    exit(what != NULL ? 2 : 0);
}

static bool read_text(settings *s, const char *name, const char *value)
{
    const struct {
        const char *name;
        const char **at;
    } texts[] = {{"--plugins", &s->plugins},
                 {"--pad", &s->pad},
                 {"--lengths", &s->lengths},
                 {"--length", &s->length},
                 {"--trace", &s->trace}};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (strcmp(name, texts[i].name) == 0) {
            *texts[i].at = value;
            return true;
        }
    }
    if (strcmp(name, "--device") == 0 && s->n_devices < MOST_DEVICES) {
        s->devices[s->n_devices++] = value;
        return true;
    }
    if (strcmp(name, "--shape") == 0 && s->n_shapes < MOST_INPUTS) {
        s->shapes[s->n_shapes++] = value;
        return true;
    }
    if (strcmp(name, "--mixed") == 0 && s->n_mixed < MOST_KINDS - 1) {
        s->mixed[s->n_mixed++] = value;
        return true;
    }
    return false;
}

static bool read_number(settings *s, const char *name, const char *value)
{
    const struct {
        const char *name;
        int *whole;
        double *real, *second; /* behind a colon */
    } numbers[] = {{"--threads", &s->threads, NULL, NULL},
                   {"--max-batch", &s->max_batch, NULL, NULL},
                   {"--step", &s->step, NULL, NULL},
                   {"--senders", &s->senders, NULL, NULL},
                   {"--instances", &s->instances, NULL, NULL},
                   {"--users", &s->users, NULL, NULL},
                   {"--groups", &s->groups, NULL, NULL},
                   {"--group-rows", &s->group_rows, NULL, NULL},
                   {"--fifo", &s->fifo, NULL, NULL},
                   {"--json", &s->json, NULL, NULL},
                   {"--distinct", &s->distinct, NULL, NULL},
                   {"--pad-buckets", &s->pad_buckets, NULL, NULL},
                   {"--answers", NULL, &s->answers_mb, NULL},
                   {"--seconds", NULL, &s->seconds, NULL},
                   {"--poll", NULL, &s->poll_us, NULL},
                   {"--rate", NULL, &s->rate, NULL},
                   {"--light", NULL, &s->light, NULL},
                   {"--every", NULL, &s->every, NULL},
                   {"--p99", NULL, &s->p99_ms, NULL},
                   {"--deadline", NULL, &s->deadline_ms, NULL},
                   {"--urgent", NULL, &s->urgent, NULL},
                   {"--urgent-deadline", NULL, &s->urgent_deadline_ms, NULL},
                   {"--overload", NULL, &s->overload, NULL},
                   {"--from", NULL, &s->from, NULL},
                   {"--growth", NULL, &s->growth, NULL},
                   {"--bursts", NULL, &s->on_ms, &s->off_ms},
                   {"--null", NULL, &s->null_us, &s->null_row_us}};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (strcmp(name, numbers[i].name) != 0) {
            continue;
        }
        char *end;
        const double number = strtod(value, &end);
        if (number < 0 || end == value) {
            return false;
        }
        if (numbers[i].whole != NULL) {
            *numbers[i].whole = (int)number;
        } else {
            *numbers[i].real = number;
        }
        if (numbers[i].second != NULL) {
            *numbers[i].second = *end == ':' ? strtod(end + 1, NULL) : 0;
        }
        return true;
    }
    return false;
}

settings read_settings(int argc, char **argv)
{
    settings s = {.max_batch = 32, .groups = 1, .seconds = 2};
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strncmp(name, "--", 2) != 0) {
            s.model = name;
            continue;
        }
        if (strcmp(name, "--help") == 0) {
            explain(NULL, NULL);
        }
        if (value == NULL) {
            explain("nothing follows", name);
        }
        if (!read_text(&s, name, value) && !read_number(&s, name, value)) {
            explain("no such option, too many of it, or no value for it:", name);
        }
        i++;
    }
    s.groups = s.groups < 1 ? 1 : s.groups;
    if (s.model == NULL ||
        (s.rate <= 0 && s.light <= 0 && s.p99_ms <= 0 && s.users <= 0 && s.trace == NULL)) {
        explain("MODEL and --rate, --light, --p99, --users or --trace are needed", NULL);
    }
    if (s.distinct > MOST_KINDS || (s.distinct > 1 && (s.n_mixed > 0 || s.lengths != NULL))) {
        explain("--distinct takes no --mixed and no --lengths, and is 1024 at most", NULL);
    }
    if (s.answers_mb > 0 && s.fifo != 0) {
        explain("--fifo keeps no --answers", NULL);
    }
    if (s.fifo != 0 && (s.users > 0 || s.light > 0)) {
        explain("--fifo takes no --users and no --light", NULL);
    }
    return s;
}

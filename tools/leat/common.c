/* SPDX-License-Identifier: Apache-2.0 */
/* Opening models, errors, JSON, time. */
#include "leat/tool.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/letters.h"

#include <sched.h>
#include <string.h>

double now_ms(void)
{
    return (double)lt_clock_ns() / 1e6;
}

void json_string(FILE *to, const char *text)
{
    fputc('"', to);
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            fprintf(to, "\\%c", c);
        } else if (c < 0x20) {
            fprintf(to, "\\u%04x", c);
        } else {
            leat_string rest = {text, strlen(text)};
            size_t bytes;
            const uint32_t letter = lt_utf8_take(&rest, &bytes);
            const bool character = letter <= 0x10ffff && letter >> 11 != 0xd800 >> 11;
            fprintf(to, "%.*s", character ? (int)bytes : 3, character ? text : "\xef\xbf\xbd");
            text += bytes - 1;
        }
    }
    fputc('"', to);
}

int exit_code(leat_status status)
{
    switch (status) {
    case LEAT_OK:
        return EXIT_FINE;
    case LEAT_NO_DEVICE:
    case LEAT_DEVICE_LOST:
        return EXIT_NO_DEVICE;
    case LEAT_CORRUPT:
    case LEAT_UNSUPPORTED:
    case LEAT_LIMIT:
        return EXIT_MODEL_REFUSED;
    default:
        return EXIT_FAILED;
    }
}

leat_status data_status(leat_status status)
{
    return status == LEAT_CORRUPT || status == LEAT_UNSUPPORTED ? LEAT_INVALID : status;
}

leat_status model_status(leat_status status)
{
    return status == LEAT_INVALID ? LEAT_CORRUPT : status;
}

int report_error(const options *o, leat_status status, const leat_error *err)
{
    fprintf(stderr, "leat %s: %s\n", o->command,
            err->message[0] != '\0' ? err->message : leat_status_text(status));
    return exit_code(status);
}

static void log_line(void *user, leat_log_level level, const char *line)
{
    (void)user;
    (void)level;
    fprintf(stderr, "leat: %s\n", line);
}

/* As many as a context makes threads for by default. */
static int count_cores(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
}

leat_session_desc describe_session(const options *o, int32_t profile)
{
    return (leat_session_desc){.struct_size = sizeof(leat_session_desc),
                               .devices = &o->device,
                               .n_devices = 1,
                               .precision = (leat_precision)o->precision,
                               .profile = profile,
                               .cache_directory = o->cache,
                               .plain_algorithms = o->plain,
                               .no_graphs = o->no_graphs};
}

int open_all(const options *o, const char *path, int threads, bool profile, opened *out)
{
    leat_error err = {0};
    leat_context_desc context = {.struct_size = sizeof(context),
                                 .log = log_line,
                                 .plugin_directory = o->plugins,
                                 .threads = threads};
    memset(out, 0, sizeof(*out));
    out->threads = threads > 0 ? threads : count_cores();
    double start = now_ms();
    leat_status status = leat_context_create(&context, &out->context, &err);
    if (status == LEAT_OK) {
        status = model_status(leat_model_load(out->context, path, NULL, &out->model, &err));
    }
    out->load_ms = now_ms() - start;
    leat_session_desc desc = describe_session(o, profile);
    start = now_ms();
    if (status == LEAT_OK) {
        status = leat_session_create(out->model, &desc, &out->session, &err);
        /* An unknown device is a missing device. */
        status = status == LEAT_NOT_FOUND ? LEAT_NO_DEVICE : status;
        if (status == LEAT_UNSUPPORTED || status == LEAT_INVALID) {
            (void)lt_fail_within(&err, status, "'%s'", path);
        }
    }
    out->create_ms = now_ms() - start;
    if (status != LEAT_OK) {
        close_all(out);
        return report_error(o, status, &err);
    }
    return EXIT_FINE;
}

void close_all(opened *all)
{
    leat_session_destroy(all->session);
    leat_model_destroy(all->model);
    leat_context_destroy(all->context);
    memset(all, 0, sizeof(*all));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* leat devices: what there is, and why what cannot be used cannot. */
#include "leat/tool.h"

#include "base/error.h"
#include "runtime/context.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

static void print_device(const options *o, const leat_device_properties *d, bool first)
{
    if (!o->json) {
        printf("%-10s %-40s %s%s\n", d->name, d->description,
               d->available ? "" : "not available: ", d->available ? d->features : d->reason);
        return;
    }
    printf("%s{\"name\": ", first ? "" : ", ");
    json_string(stdout, d->name);
    printf(", \"description\": ");
    json_string(stdout, d->description);
    printf(", \"memory_bytes\": %llu, \"features\": ", (unsigned long long)d->memory_bytes);
    json_string(stdout, d->features);
    printf(", \"available\": %s, \"reason\": ", d->available ? "true" : "false");
    json_string(stdout, d->reason);
    printf("}");
}

static int is_plugin(const struct dirent *entry)
{
    const size_t n = strlen(entry->d_name);
    return strncmp(entry->d_name, "libleat_", 8) == 0 && n > 11 &&
           strcmp(entry->d_name + n - 3, ".so") == 0;
}

/* A plugin that cannot be loaded. */
typedef struct refused {
    char name[64], path[1024];
    leat_error err;
} refused;

/* Loads all plugins of the directory, so that their devices are listed; those that cannot be
 * loaded are `*out`, which the caller frees. */
static leat_status load_plugins(leat_context *context, refused **out, size_t *out_count,
                                leat_error *err)
{
    struct dirent **entries;
    const int n = scandir(context->plugin_directory, &entries, is_plugin, alphasort);
    *out_count = 0;
    *out = NULL;
    if (n < 0) {
        return LEAT_OK; /* no such directory: no plugins */
    }
    *out = calloc((size_t)n + 1, sizeof(**out));
    for (int i = 0; i < n; i++) {
        refused *r = *out != NULL ? &(*out)[*out_count] : NULL;
        const char *file = entries[i]->d_name;
        if (r != NULL) {
            snprintf(r->path, sizeof(r->path), "%s/%s", context->plugin_directory, file);
            snprintf(r->name, sizeof(r->name), "%.*s", (int)strlen(file) - 11, file + 8);
            *out_count += leat_context_load_backend(context, r->path, &r->err) != LEAT_OK;
        }
        free(entries[i]);
    }
    free(entries);
    return *out != NULL ? LEAT_OK : lt_fail(err, LEAT_NO_MEMORY, "no memory to list plugins");
}

static void print_refused(const options *o, const refused *refusals, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const leat_device_properties d = {.name = refusals[i].name,
                                          .description = refusals[i].path,
                                          .features = "",
                                          .reason = refusals[i].err.message};
        print_device(o, &d, false);
    }
}

int cmd_devices(const options *o)
{
    leat_error err = {0};
    leat_context *context;
    refused *refusals = NULL;
    size_t n_refusals = 0;
    leat_context_desc desc = {.struct_size = sizeof(desc), .plugin_directory = o->plugins};
    leat_status status = leat_context_create(&desc, &context, &err);
    if (status != LEAT_OK) {
        return report_error(o, status, &err);
    }
    const bool all = strcmp(o->device, "cpu") == 0; /* as without --device */
    if (all) {
        status = load_plugins(context, &refusals, &n_refusals, &err);
    } else {
        char name[64];
        size_t n = strcspn(o->device, ":");
        snprintf(name, sizeof(name), "%.*s", (int)n, o->device);
        status = leat_context_load_backend(context, name, &err);
    }
    if (status == LEAT_OK && o->json) {
        printf("[");
    }
    for (size_t i = 0; status == LEAT_OK && i < leat_device_count(context); i++) {
        leat_device_properties d = {.struct_size = sizeof(d)};
        status = leat_device_info(context, i, &d, &err);
        if (status == LEAT_OK) {
            print_device(o, &d, i == 0);
        }
    }
    if (status == LEAT_OK) {
        print_refused(o, refusals, n_refusals);
        printf("%s", o->json ? "]\n" : "");
    }
    free(refusals);
    int code = EXIT_FINE;
    if (status != LEAT_OK) {
        code = report_error(o, status == LEAT_NOT_FOUND ? LEAT_NO_DEVICE : status, &err);
    }
    leat_context_destroy(context);
    return code;
}

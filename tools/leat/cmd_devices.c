/* SPDX-License-Identifier: Apache-2.0 */
/* leat devices: what there is, and why what cannot be used cannot. */
#include "leat/tool.h"

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

/* Loads all plugins of the directory that are not loaded yet, so that their devices are listed;
 * with `tell`, what cannot be loaded is printed as a device that is not available. */
static void load_plugins(const options *o, leat_context *context, bool tell)
{
    struct dirent **entries;
    const int n = scandir(context->plugin_directory, &entries, is_plugin, alphasort);
    for (int i = 0; i < n; i++) {
        char path[1024], name[64];
        leat_error err = {0};
        snprintf(path, sizeof(path), "%s/%s", context->plugin_directory, entries[i]->d_name);
        snprintf(name, sizeof(name), "%.*s", (int)strlen(entries[i]->d_name) - 11,
                 entries[i]->d_name + 8);
        if (leat_context_load_backend(context, path, &err) != LEAT_OK && tell) {
            const leat_device_properties d = {
                .name = name, .description = path, .features = "", .reason = err.message};
            print_device(o, &d, false);
        }
        free(entries[i]);
    }
    if (n >= 0) {
        free(entries);
    }
}

int cmd_devices(const options *o)
{
    leat_error err = {0};
    leat_context *context;
    leat_context_desc desc = {.struct_size = sizeof(desc), .plugin_directory = o->plugins};
    leat_status status = leat_context_create(&desc, &context, &err);
    if (status != LEAT_OK) {
        return report_error(o, status, &err);
    }
    const bool all = strcmp(o->device, "cpu") == 0; /* as without --device */
    if (all) {
        load_plugins(o, context, false);
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
    if (status == LEAT_OK && all) {
        load_plugins(o, context, true);
    }
    if (status == LEAT_OK && o->json) {
        printf("]\n");
    }
    int code = EXIT_FINE;
    if (status != LEAT_OK) {
        code = report_error(o, status == LEAT_NOT_FOUND ? LEAT_NO_DEVICE : status, &err);
    }
    leat_context_destroy(context);
    return code;
}

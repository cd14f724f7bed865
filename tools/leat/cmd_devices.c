/* SPDX-License-Identifier: Apache-2.0 */
/* leat devices: what there is, and why what cannot be used cannot. */
#include "leat/tool.h"

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

int cmd_devices(const options *o)
{
    leat_error err = {0};
    leat_context *context;
    leat_context_desc desc = {.struct_size = sizeof(desc), .plugin_directory = o->plugins};
    leat_status status = leat_context_create(&desc, &context, &err);
    if (status != LEAT_OK) {
        return report_error(o, status, &err);
    }
    /* Naming a backend loads its plugin, so that its devices are listed too. */
    if (strcmp(o->device, "cpu") != 0) {
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

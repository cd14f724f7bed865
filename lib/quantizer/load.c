/* SPDX-License-Identifier: Apache-2.0 */
/* The model to be quantized, in little memory. */
#include "base/error.h"

#include <leat/quantizer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Memory that loading may take before the weights are put into a file. */
#define MOST_FOLDED ((uint64_t)16 << 20)

/* Saves the model, with what was folded, under a name that is gone at once, and loads that: *model
 * is then as it was, its weights views of the file. Left alone where that fails: no room, a
 * directory that nothing can be written to, more than 2 GB. */
static leat_status move_to_file(leat_context *context, const char *path, leat_model **model,
                                leat_error *err)
{
    leat_model *moved;
    int fd = mkstemp((char *)(uintptr_t)path);
    if (fd < 0) {
        return LEAT_OK;
    }
    close(fd);
    leat_status status = leat_model_save(*model, path, NULL, err);
    if (status == LEAT_OK) {
        leat_model_destroy(*model);
        *model = NULL;
        status = leat_model_load(context, path, NULL, &moved, err);
        *model = status == LEAT_OK ? moved : NULL;
    } else if (status != LEAT_NO_MEMORY) {
        status = LEAT_OK;
    }
    unlink(path);
    return status;
}

leat_status leat_quantizer_load(leat_context *context, const char *path, const char *beside,
                                leat_model **out_model, leat_error *err)
{
    leat_memory_info before, after;
    if (out_model != NULL) {
        *out_model = NULL;
    }
    if (context == NULL || path == NULL || out_model == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_quantizer_load: an argument is NULL");
    }
    leat_context_memory(context, &before);
    leat_status status = leat_model_load(context, path, NULL, out_model, err);
    leat_context_memory(context, &after);
    if (status != LEAT_OK || beside == NULL || after.live_bytes < before.live_bytes + MOST_FOLDED) {
        return status;
    }
    char name[4096];
    if ((size_t)snprintf(name, sizeof(name), "%s.XXXXXX", beside) < sizeof(name)) {
        status = move_to_file(context, name, out_model, err);
    }
    return status;
}

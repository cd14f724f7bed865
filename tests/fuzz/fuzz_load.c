/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes -> model -> session, and the model written back and read again: the reader, shape
 * inference, every pass, the writer. External data comes from a callback that gives zeros. */
#include "fuzz/fuzz.h"

#include <string.h>

static leat_status give_zeros(void *user, const char *location, uint64_t offset, void *out,
                              size_t bytes)
{
    (void)user;
    (void)location;
    (void)offset;
    memset(out, 0, bytes);
    return LEAT_OK;
}

/* Some weights of every fourth model go to a file beside it.
 * What leat writes it must also read; but passes have made shapes known that were not, so that it
 * may find more wrong with the model. */
static void save_and_load(leat_context *context, const leat_model *model, int outside)
{
    leat_error err;
    leat_model *again;
    leat_model_save_desc desc = {.struct_size = sizeof(desc),
                                 .external_threshold = outside ? 16 : 0};
    const char *path = fuzz_path("saved.onnx");
    if (leat_model_save(model, path, &desc, &err) == LEAT_OK) {
        leat_status status = leat_model_load(context, path, NULL, &again, &err);
        if (status == LEAT_CORRUPT || status == LEAT_IO || status == LEAT_NOT_FOUND) {
            fuzz_fail(err.message);
        }
        leat_model_destroy(again);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    fuzz_context fuzz;
    leat_error err;
    leat_model *model;
    leat_session *session;
    leat_model_desc desc = {.struct_size = sizeof(desc), .external_data = give_zeros};
    fuzz_open(&fuzz);
    fuzz_fail_memory(&fuzz, data, bytes);
    if (leat_model_load_memory(fuzz.context, data, bytes, &desc, &model, &err) == LEAT_OK) {
        if (leat_session_create(model, NULL, &session, &err) == LEAT_OK) {
            leat_session_destroy(session);
        }
        save_and_load(fuzz.context, model, bytes % 4 == 0);
        leat_model_destroy(model);
    }
    fuzz_close(&fuzz);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as a file of tuning results. Where the first byte is even the rest are its lines, and the
 * header and the right sum are put around them. Whatever was there, what is recorded afterwards is
 * found again by the next who reads the file, without a complaint. */
#include "fuzz/fuzz.h"
#include "runtime/tuning.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void count_line(void *user, leat_log_level level, const char *line)
{
    (void)level;
    (void)line;
    ++*(int *)user;
}

static void write_results(const uint8_t *data, size_t bytes)
{
    static const char header[] = "leat tuning 1\n";
    const size_t head = sizeof(header) - 1;
    const char *path = fuzz_path(LT_TUNING_FILE);
    if (bytes == 0 || data[0] % 2 != 0) {
        fuzz_write(path, data + (bytes != 0), bytes - (bytes != 0));
        return;
    }
    char *text = malloc(head + bytes + 32);
    if (text == NULL) {
        return;
    }
    memcpy(text, header, head);
    memcpy(text + head, data + 1, bytes - 1);
    const size_t lines = head + bytes - 1;
    const int end =
        snprintf(text + lines, 32, "end %016" PRIx64 "\n", lt_hash(LT_HASH_START, text, lines));
    fuzz_write(path, text, lines + (size_t)end);
    free(text);
}

static lt_tuning *open_results(leat_context *context, const char *folder)
{
    leat_error err;
    lt_tuning *tuning;
    if (lt_tuning_create(context, folder, &tuning, &err) != LEAT_OK) {
        fuzz_fail(err.message);
    }
    return tuning;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const char *const ways[] = {"blocked", "flat"};
    char folder[64];
    int lines = 0;
    fuzz_context fuzz;
    fuzz_open(&fuzz);
    fuzz.context->log.fn = count_line;
    fuzz.context->log.user = &lines;
    write_results(data, bytes);
    snprintf(folder, sizeof(folder), "%s", fuzz_path("."));
    lt_tuning *tuning = open_results(fuzz.context, folder);
    for (uint64_t key = 0; key < 2; key++) {
        lt_tuning_add(tuning, key ? UINT64_MAX : 0, ways[key], 1e300, "label");
    }
    lt_tuning_save(tuning);
    lt_tuning_destroy(tuning);
    lines = 0;
    tuning = open_results(fuzz.context, folder);
    for (uint64_t key = 0; key < 2; key++) {
        const char *way = lt_tuning_find(tuning, key ? UINT64_MAX : 0);
        if (way == NULL || strcmp(way, ways[key]) != 0 || lines != 0) {
            fuzz_fail("what was recorded is not found again");
        }
    }
    lt_tuning_destroy(tuning);
    fuzz_close(&fuzz);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Weights as a file: "leat policy 1", a line of 8 hexadecimal digits (the number's bits) for each
 * weight, and "sum" with a hash of all that (FNV-1a, 32 bits). */
#include "base/error.h"
#include "base/file.h"
#include "runtime/context.h"
#include "scheduler/core.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define HEAD "leat policy 1\n"
#define HEAD_BYTES (sizeof(HEAD) - 1)
#define SUM_AT (HEAD_BYTES + LEAT_POLICY_WEIGHTS * 9u)
#define FILE_BYTES (SUM_AT + 4 + 9)

static uint32_t hash(const char *text, size_t bytes)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < bytes; i++) {
        h = (h ^ (unsigned char)text[i]) * 16777619u;
    }
    return h;
}

static void write_file(char text[FILE_BYTES + 1], const leat_policy_weights *w)
{
    memcpy(text, HEAD, HEAD_BYTES);
    for (size_t i = 0; i < LEAT_POLICY_WEIGHTS; i++) {
        uint32_t bits;
        memcpy(&bits, &w->weights[i], sizeof(bits));
        snprintf(text + HEAD_BYTES + 9 * i, 10, "%08x\n", bits);
    }
    snprintf(text + SUM_AT, 14, "sum %08x\n", hash(text, SUM_AT));
}

static bool read_hex(const char *text, uint32_t *out)
{
    uint32_t value = 0;
    for (int i = 0; i < 8; i++) {
        const char c = text[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
        value = value << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *out = value;
    return text[8] == '\n';
}

static bool read_file(const char *text, size_t bytes, leat_policy_weights *out)
{
    uint32_t sum;
    if (bytes != FILE_BYTES || memcmp(text, HEAD, HEAD_BYTES) != 0 ||
        memcmp(text + SUM_AT, "sum ", 4) != 0 || !read_hex(text + SUM_AT + 4, &sum) ||
        sum != hash(text, SUM_AT)) {
        return false;
    }
    for (size_t i = 0; i < LEAT_POLICY_WEIGHTS; i++) {
        uint32_t bits;
        if (!read_hex(text + HEAD_BYTES + 9 * i, &bits)) {
            return false;
        }
        memcpy(&out->weights[i], &bits, sizeof(bits));
        if (!isfinite(out->weights[i])) {
            return false;
        }
    }
    return true;
}

leat_status leat_policy_load(leat_context *context, const char *path,
                             leat_policy_weights *out_weights, leat_error *err)
{
    void *text = NULL;
    size_t bytes = 0;
    if (context == NULL || path == NULL || out_weights == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_policy_load: an argument is NULL");
    }
    leat_status status = lt_file_read(&context->memory, path, 2 * FILE_BYTES, &text, &bytes, err);
    leat_policy_weights read;
    if (status == LEAT_LIMIT || (status == LEAT_OK && !read_file(text, bytes, &read))) {
        status = lt_fail(err, LEAT_CORRUPT, "%s: not a policy's weights, or damaged", path);
    } else if (status == LEAT_OK) {
        *out_weights = read;
    }
    lt_free(&context->memory, text, bytes);
    return status;
}

leat_status leat_policy_save(leat_context *context, const char *path,
                             const leat_policy_weights *weights, leat_error *err)
{
    lt_file_writer writer;
    char text[FILE_BYTES + 1];
    if (context == NULL || path == NULL || weights == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_policy_save: an argument is NULL");
    }
    write_file(text, weights);
    leat_status status = lt_file_writer_open(&context->memory, path, &writer, err);
    if (status != LEAT_OK) {
        return status;
    }
    status = lt_file_writer_write(&writer, text, FILE_BYTES, err);
    status = status ? status : lt_file_writer_commit(&writer, err);
    lt_file_writer_close(&writer);
    return status;
}

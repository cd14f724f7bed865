/* SPDX-License-Identifier: Apache-2.0 */
/* A model in a directory of its own, with weights in files beside it: the bytes up to the first
 * occurrence of "\nDATA\n" are the model, the rest is the file w.bin. Links and a directory lie
 * there too, and a secret above it; no byte of the secret may come out. */
#include "fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char secret[] = "LEAT-FUZZ-SECRET";
static char folder[64];

static void write_file(const char *name, const void *data, size_t bytes)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    fuzz_write(path, data, bytes);
}

static void remove_folder(void)
{
    static const char *const names[] = {"model/m.onnx", "model/w.bin", "model/link",  "model/up",
                                        "model/hard",   "secret",      "model/folder"};
    char path[128];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        remove(path);
    }
    snprintf(path, sizeof(path), "%s/model", folder);
    remove(path);
    remove(folder);
}

static void make_folder(void)
{
    char path[128], target[128];
    strcpy(folder, "/dev/shm/leat-fuzz-XXXXXX"); /* in memory, or else on the disk */
    if (mkdtemp(folder) == NULL && mkdtemp(strcpy(folder, "/tmp/leat-fuzz-XXXXXX")) == NULL) {
        fuzz_fail("cannot make a directory");
    }
    snprintf(path, sizeof(path), "%s/model", folder);
    mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s/model/folder", folder);
    mkdir(path, 0700);
    write_file("secret", secret, sizeof(secret) - 1);
    snprintf(target, sizeof(target), "%s/secret", folder);
    snprintf(path, sizeof(path), "%s/model/link", folder);
    int failed = symlink(target, path);
    snprintf(path, sizeof(path), "%s/model/up", folder);
    failed |= symlink("..", path);
    snprintf(path, sizeof(path), "%s/model/hard", folder);
    failed |= link(target, path);
    if (failed) {
        fuzz_fail("cannot make links");
    }
    atexit(remove_folder);
}

static const uint8_t *find(const uint8_t *data, size_t bytes, const char *text)
{
    return bytes ? memmem(data, bytes, text, strlen(text)) : NULL;
}

/* The model written whole would hold what was read from outside. */
static void look_for_secret(const leat_model *model)
{
    char path[128];
    leat_error err;
    leat_model_save_desc desc = {.struct_size = sizeof(desc)};
    snprintf(path, sizeof(path), "%s/saved", folder);
    if (leat_model_save(model, path, &desc, &err) != LEAT_OK) {
        return;
    }
    FILE *f = fopen(path, "rb");
    static uint8_t text[1 << 20];
    size_t bytes = f ? fread(text, 1, sizeof(text), f) : 0;
    if (f != NULL) {
        fclose(f);
    }
    remove(path);
    if (find(text, bytes, secret) != NULL) {
        fuzz_fail("a file outside of the model's directory was read");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const char mark[] = "\nDATA\n";
    fuzz_context fuzz;
    leat_error err;
    leat_model *model;
    char path[128];
    if (folder[0] == '\0') {
        make_folder();
    }
    if (find(data, bytes, secret) != NULL) {
        return -1; /* it would find itself */
    }
    const uint8_t *split = find(data, bytes, mark);
    size_t model_bytes = split ? (size_t)(split - data) : bytes;
    write_file("model/m.onnx", data, model_bytes);
    write_file("model/w.bin", split ? split + 6 : data, split ? bytes - model_bytes - 6 : 0);
    fuzz_open(&fuzz);
    snprintf(path, sizeof(path), "%s/model/m.onnx", folder);
    if (leat_model_load(fuzz.context, path, NULL, &model, &err) == LEAT_OK) {
        look_for_secret(model);
        leat_model_destroy(model);
    }
    fuzz_close(&fuzz);
    return 0;
}

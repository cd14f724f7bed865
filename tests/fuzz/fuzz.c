/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void fuzz_fail(const char *what)
{
    fprintf(stderr, "fuzz: %s\n", what);
    abort();
}

static void *allocate(void *user, size_t bytes, size_t alignment)
{
    fuzz_context *fuzz = user;
    void *block = NULL;
    if (fuzz->allow >= 0 && __atomic_fetch_sub(&fuzz->allow, 1, __ATOMIC_RELAXED) <= 0) {
        __atomic_store_n(&fuzz->allow, 0, __ATOMIC_RELAXED);
        return NULL;
    }
    alignment = alignment < sizeof(void *) ? sizeof(void *) : alignment;
    if (posix_memalign(&block, alignment, bytes ? bytes : 1) != 0) {
        return NULL;
    }
    __atomic_fetch_add(&fuzz->live, 1, __ATOMIC_RELAXED);
    return block;
}

static void release(void *user, void *block, size_t bytes)
{
    (void)bytes;
    if (block != NULL) {
        __atomic_fetch_sub(&((fuzz_context *)user)->live, 1, __ATOMIC_RELAXED);
        free(block);
    }
}

void fuzz_open(fuzz_context *fuzz)
{
    leat_error err;
    memset(fuzz, 0, sizeof(*fuzz));
    fuzz->allow = -1;
    fuzz->allocator = (leat_allocator){.user = fuzz, .alloc = allocate, .free = release};
    leat_context_desc desc = {.struct_size = sizeof(desc),
                              .allocator = &fuzz->allocator,
                              .threads = 1,
                              .memory_budget = FUZZ_BUDGET};
    if (leat_context_create(&desc, &fuzz->context, &err) != LEAT_OK) {
        fuzz_fail(err.message);
    }
}

void fuzz_fail_memory(fuzz_context *fuzz, const uint8_t *data, size_t bytes)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < bytes; i++) {
        hash = (hash ^ data[i]) * 16777619u; /* FNV-1a */
    }
    fuzz->allow = hash >> 29 == 0 ? (long)(hash % 300) : -1;
}

void fuzz_close(fuzz_context *fuzz)
{
    leat_context_destroy(fuzz->context);
    if (fuzz->live != 0) {
        fuzz_fail("memory is still allocated");
    }
}

/* --- files ----------------------------------------------------------------------------------- */

static char folder[32];

static void remove_folder(void)
{
    DIR *files = opendir(folder);
    for (struct dirent *e; files != NULL && (e = readdir(files)) != NULL;) {
        if (e->d_type != DT_DIR) {
            unlink(fuzz_path(e->d_name));
        }
    }
    if (files != NULL) {
        closedir(files);
    }
    rmdir(folder);
}

const char *fuzz_path(const char *name)
{
    static char path[sizeof(folder) + 256];
    if (folder[0] == '\0') {
        /* in memory where there is such a place: files that are written whole wait for the disk */
        strcpy(folder, "/dev/shm/leat-fuzz-XXXXXX");
        if (mkdtemp(folder) == NULL && mkdtemp(strcpy(folder, "/tmp/leat-fuzz-XXXXXX")) == NULL) {
            fuzz_fail("cannot make a folder");
        }
        atexit(remove_folder);
    }
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

void fuzz_write(const char *path, const void *data, size_t bytes)
{
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(data, 1, bytes, f) != bytes || fclose(f) != 0) {
        fuzz_fail("cannot write a file");
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the fuzz targets share. A target is one file with LLVMFuzzerTestOneInput
 * (https://llvm.org/docs/LibFuzzer.html); `make fuzz` builds it with libFuzzer, `make check` with
 * replay.c, which gives it the files of a corpus. Whatever the bytes are, a target must return,
 * with every block of memory freed. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <leat/leat.h>

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* Memory that a context of a target may use: what a file claims must not be believed. */
#define FUZZ_BUDGET (64u << 20)

/* A context of one thread, that budget, and an allocator that counts live blocks. */
typedef struct fuzz_context {
    leat_allocator allocator;
    long live;
    long allow; /* allocations that still succeed; negative: all */
    leat_context *context;
} fuzz_context;

/* Stops the program (for libFuzzer: a finding) when there is none. */
void fuzz_open(fuzz_context *fuzz);
/* For one input in eight, as its bytes say, memory runs out after some allocations. */
void fuzz_fail_memory(fuzz_context *fuzz, const uint8_t *data, size_t bytes);
/* Stops the program when a block is still live. */
void fuzz_close(fuzz_context *fuzz);

/* A finding. */
void fuzz_fail(const char *what);

/* The path of a file in a folder of this process, which is removed with all files in it when the
 * process ends. Valid until the next call. */
const char *fuzz_path(const char *name);
void fuzz_write(const char *path, const void *data, size_t bytes);

#endif

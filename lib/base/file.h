/* SPDX-License-Identifier: Apache-2.0 */
/* Files: mapping for reading, and writing that appears whole or not at all. */
#ifndef LT_BASE_FILE_H
#define LT_BASE_FILE_H

#include "base/memory.h"

/* A regular file mapped for reading. */
typedef struct lt_file_map {
    const void *data; /* NULL for an empty file */
    size_t bytes;
} lt_file_map;

/* Errors:   NOT_FOUND; INVALID when it is not a regular file; IO. */
leat_status lt_file_map_open(const char *path, lt_file_map *out_map,
                             leat_error *err) LEAT_MUST_CHECK;
void lt_file_map_close(lt_file_map *map);

/* Tells the system that the pages are not needed now; they are read again when touched. */
void lt_file_map_release_pages(const lt_file_map *map);

/* Reads a whole small file: *out_data (lt_alloc, *out_bytes, for lt_free) is the caller's. Unlike a
 * map it stays good when the file is cut or overwritten meanwhile.
 * Errors:   NOT_FOUND; INVALID when it is not a regular file; LIMIT above `most` bytes; IO;
 *           NO_MEMORY. */
leat_status lt_file_read(lt_memory *memory, const char *path, size_t most, void **out_data,
                         size_t *out_bytes, leat_error *err) LEAT_MUST_CHECK;

/* A file being written under a temporary name beside `path`. */
typedef struct lt_file_writer {
    lt_memory *memory;
    int fd;
    char *path;
    char *temporary;
    uint64_t offset; /* bytes written so far */
    unsigned char *buffer;
    size_t buffered;
} lt_file_writer;

/* Errors:   IO; NO_MEMORY. */
leat_status lt_file_writer_open(lt_memory *memory, const char *path, lt_file_writer *out_writer,
                                leat_error *err) LEAT_MUST_CHECK;
leat_status lt_file_writer_write(lt_file_writer *writer, const void *data, size_t bytes,
                                 leat_error *err) LEAT_MUST_CHECK;
/* Flushes and syncs, renames onto `path`, closes. On failure nothing is left behind. */
leat_status lt_file_writer_commit(lt_file_writer *writer, leat_error *err) LEAT_MUST_CHECK;
/* The same in two steps, for files that must appear in an order: finish flushes and syncs; publish
 * renames onto `path` (NULL: that of open), which must be in the same directory, and closes. */
leat_status lt_file_writer_finish(lt_file_writer *writer, leat_error *err) LEAT_MUST_CHECK;
leat_status lt_file_writer_publish(lt_file_writer *writer, const char *path,
                                   leat_error *err) LEAT_MUST_CHECK;
/* Drops what was written unless published. */
void lt_file_writer_close(lt_file_writer *writer);

/* Waits until the renames in the directory of `path` are on the disk.
 * Errors:   IO; NO_MEMORY. */
leat_status lt_file_sync_directory(lt_memory *memory, const char *path,
                                   leat_error *err) LEAT_MUST_CHECK;

#endif

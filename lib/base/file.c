/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_BYTES (256u << 10)

/* The error of a system call on a path. */
static leat_status system_error(leat_error *err, const char *doing, const char *path)
{
    int code = errno;
    leat_status status = code == ENOENT || code == ENOTDIR ? LEAT_NOT_FOUND : LEAT_IO;
    return lt_fail(err, status, "cannot %s '%s': %s", doing, path, strerror(code));
}

leat_status lt_file_map_open(const char *path, lt_file_map *out_map, leat_error *err)
{
    struct stat info;
    leat_status status = LEAT_OK;
    memset(out_map, 0, sizeof(*out_map));
    /* O_NONBLOCK: opening a FIFO must not wait for its writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return system_error(err, "open", path);
    }
    if (fstat(fd, &info) != 0) {
        status = system_error(err, "inspect", path);
    } else if (!S_ISREG(info.st_mode)) {
        status = lt_fail(err, LEAT_INVALID, "'%s' is not a regular file", path);
    } else if (info.st_size > 0) {
        void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            status = system_error(err, "map", path);
        } else {
            out_map->data = data;
            out_map->bytes = (size_t)info.st_size;
        }
    }
    close(fd);
    return status;
}

void lt_file_map_close(lt_file_map *map)
{
    if (map->data != NULL) {
        munmap((void *)map->data, map->bytes);
    }
    map->data = NULL;
    map->bytes = 0;
}

void lt_file_map_release_pages(const lt_file_map *map)
{
    if (map->data != NULL) {
        madvise((void *)map->data, map->bytes, MADV_DONTNEED);
    }
}

/* Reads exactly `bytes`; a file that has become shorter is an error. */
static leat_status read_all(int fd, const char *path, void *data, size_t bytes, leat_error *err)
{
    char *to = data;
    while (bytes != 0) {
        ssize_t n = read(fd, to, bytes);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return system_error(err, "read", path);
        }
        if (n == 0) {
            return lt_fail(err, LEAT_IO, "'%s' became shorter while it was read", path);
        }
        to += n;
        bytes -= (size_t)n;
    }
    return LEAT_OK;
}

leat_status lt_file_read(lt_memory *memory, const char *path, size_t most, void **out_data,
                         size_t *out_bytes, leat_error *err)
{
    struct stat info;
    leat_status status = LEAT_OK;
    void *data = NULL;
    *out_data = NULL;
    *out_bytes = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return system_error(err, "open", path);
    }
    size_t bytes = 0;
    if (fstat(fd, &info) != 0) {
        status = system_error(err, "inspect", path);
    } else if (!S_ISREG(info.st_mode)) {
        status = lt_fail(err, LEAT_INVALID, "'%s' is not a regular file", path);
    } else if ((uint64_t)info.st_size > most) {
        status = lt_fail(err, LEAT_LIMIT, "'%s' has more than %zu bytes", path, most);
    } else {
        bytes = (size_t)info.st_size;
        data = lt_alloc(memory, bytes, 1);
        status = data ? read_all(fd, path, data, bytes, err)
                      : lt_fail(err, LEAT_NO_MEMORY, "no memory to read '%s'", path);
    }
    close(fd);
    if (status != LEAT_OK) {
        lt_free(memory, data, bytes);
        return status;
    }
    *out_data = data;
    *out_bytes = bytes;
    return LEAT_OK;
}

/* --- writing ------------------------------------------------------------------------------------
 */

static void free_writer(lt_file_writer *writer)
{
    if (writer->path != NULL) {
        lt_free(writer->memory, writer->path, strlen(writer->path) + 1);
    }
    if (writer->temporary != NULL) {
        lt_free(writer->memory, writer->temporary, strlen(writer->temporary) + 1);
    }
    lt_free(writer->memory, writer->buffer, BUFFER_BYTES);
    lt_memory *memory = writer->memory;
    memset(writer, 0, sizeof(*writer));
    writer->memory = memory;
    writer->fd = -1;
}

leat_status lt_file_writer_open(lt_memory *memory, const char *path, lt_file_writer *out_writer,
                                leat_error *err)
{
    static const char ending[] = ".tmpXXXXXX";
    size_t length = strlen(path);
    struct stat there;
    if (stat(path, &there) == 0 && !S_ISREG(there.st_mode)) { /* a rename would replace a device */
        *out_writer = (lt_file_writer){.memory = memory, .fd = -1};
        return lt_fail(err, LEAT_IO, "'%s' is there and not a regular file", path);
    }
    lt_file_writer w = {.memory = memory, .fd = -1};
    w.path = lt_alloc(memory, length + 1, 1);
    if (w.path != NULL) {
        memcpy(w.path, path, length + 1);
    }
    w.temporary = lt_alloc(memory, length + sizeof(ending), 1);
    if (w.temporary != NULL) {
        memcpy(w.temporary, path, length);
        memcpy(w.temporary + length, ending, sizeof(ending));
    }
    w.buffer = lt_alloc(memory, BUFFER_BYTES, LT_ALIGNMENT);
    leat_status status = LEAT_OK;
    if (w.path == NULL || w.temporary == NULL || w.buffer == NULL) {
        status = lt_fail(err, LEAT_NO_MEMORY, "cannot write '%s': out of memory", path);
    } else {
        w.fd = mkostemp(w.temporary, O_CLOEXEC);
        if (w.fd < 0) {
            status = system_error(err, "create a file beside", path);
        } else {
            fchmod(w.fd, 0644);
        }
    }
    if (status != LEAT_OK) {
        free_writer(&w);
    }
    *out_writer = w;
    return status;
}

static leat_status write_all(lt_file_writer *writer, const void *data, size_t bytes,
                             leat_error *err)
{
    const char *from = data;
    while (bytes != 0) {
        ssize_t n = write(writer->fd, from, bytes);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return system_error(err, "write", writer->path);
        }
        from += n;
        bytes -= (size_t)n;
    }
    return LEAT_OK;
}

static leat_status flush(lt_file_writer *writer, leat_error *err)
{
    size_t bytes = writer->buffered;
    writer->buffered = 0;
    return write_all(writer, writer->buffer, bytes, err);
}

leat_status lt_file_writer_write(lt_file_writer *writer, const void *data, size_t bytes,
                                 leat_error *err)
{
    leat_status status = LEAT_OK;
    if (bytes > BUFFER_BYTES - writer->buffered) {
        status = flush(writer, err);
    }
    if (status == LEAT_OK && bytes >= BUFFER_BYTES) {
        status = write_all(writer, data, bytes, err);
    } else if (status == LEAT_OK && bytes != 0) {
        memcpy(writer->buffer + writer->buffered, data, bytes);
        writer->buffered += bytes;
    }
    writer->offset += bytes;
    return status;
}

leat_status lt_file_writer_finish(lt_file_writer *writer, leat_error *err)
{
    leat_status status = flush(writer, err);
    if (status == LEAT_OK && fsync(writer->fd) != 0) {
        status = system_error(err, "write", writer->path);
    }
    if (status != LEAT_OK) {
        lt_file_writer_close(writer);
    }
    return status;
}

leat_status lt_file_writer_publish(lt_file_writer *writer, const char *path, leat_error *err)
{
    path = path ? path : writer->path;
    if (rename(writer->temporary, path) != 0) {
        leat_status status = system_error(err, "rename a file to", path);
        lt_file_writer_close(writer);
        return status;
    }
    close(writer->fd);
    free_writer(writer);
    return LEAT_OK;
}

leat_status lt_file_writer_commit(lt_file_writer *writer, leat_error *err)
{
    leat_status status = lt_file_writer_finish(writer, err);
    return status ? status : lt_file_writer_publish(writer, NULL, err);
}

void lt_file_writer_close(lt_file_writer *writer)
{
    if (writer->fd >= 0 && writer->temporary != NULL) {
        unlink(writer->temporary);
        close(writer->fd);
    }
    if (writer->memory != NULL) {
        free_writer(writer);
    }
}

leat_status lt_file_sync_directory(lt_memory *memory, const char *path, leat_error *err)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash == NULL ? 1 : slash == path ? 1 : (size_t)(slash - path);
    char *directory = lt_alloc(memory, length + 1, 1);
    if (directory == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "cannot write '%s': out of memory", path);
    }
    memcpy(directory, slash ? path : ".", length);
    directory[length] = '\0';
    leat_status status = LEAT_OK;
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* A directory that may be written but not read, or that cannot be synced, is no failure. */
    if (fd >= 0 && fsync(fd) != 0 && errno != EINVAL && errno != EROFS) {
        status = system_error(err, "sync the directory", directory);
    }
    if (fd >= 0) {
        close(fd);
    }
    lt_free(memory, directory, length + 1);
    return status;
}

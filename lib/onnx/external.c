/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/external.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* One mapped file. */
typedef struct mapped {
    struct mapped *next;
    char *location;
    void *data; /* NULL when it is empty */
    size_t bytes;
} mapped;

struct lt_external_files {
    lt_memory *memory;
    lt_arena arena;
    int directory;
    mapped *files;
};

leat_status lt_external_files_create(lt_memory *memory, const char *directory,
                                     lt_external_files **out_files, leat_error *err)
{
    *out_files = NULL;
    lt_external_files *files = lt_alloc_zeroed(memory, sizeof(*files), 16);
    if (files == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "external data: out of memory");
    }
    files->memory = memory;
    lt_arena_init(&files->arena, memory, 1024);
    files->directory = open(directory[0] ? directory : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (files->directory < 0) {
        leat_status status = errno == ENOENT ? LEAT_NOT_FOUND : LEAT_IO;
        lt_fail(err, status, "cannot open the directory '%s': %s", directory, strerror(errno));
        lt_external_files_destroy(files);
        return status;
    }
    *out_files = files;
    return LEAT_OK;
}

void lt_external_files_destroy(lt_external_files *files)
{
    if (files == NULL) {
        return;
    }
    for (mapped *m = files->files; m != NULL; m = m->next) {
        if (m->data != NULL) {
            munmap(m->data, m->bytes);
        }
    }
    if (files->directory >= 0) {
        close(files->directory);
    }
    lt_memory *memory = files->memory;
    lt_arena_destroy(&files->arena);
    lt_free(memory, files, sizeof(*files));
}

/* Refuses what could lead out of the directory, whatever the system can check itself. */
static leat_status check_location(const char *location, leat_error *err)
{
    const char *why = NULL;
    if (location[0] == '\0') {
        why = "is empty";
    } else if (location[0] == '/') {
        why = "is an absolute path";
    } else if (strchr(location, '\\') != NULL) {
        why = "contains a backslash";
    }
    for (const char *part = location; why == NULL && part != NULL;) {
        const char *slash = strchr(part, '/');
        size_t bytes = slash ? (size_t)(slash - part) : strlen(part);
        if (bytes == 2 && memcmp(part, "..", 2) == 0) {
            why = "leaves the model's directory";
        }
        part = slash ? slash + 1 : NULL;
    }
    return why == NULL
               ? LEAT_OK
               : lt_fail(err, LEAT_INVALID, "external data location '%.100s' %s", location, why);
}

/* Opens component by component, none of them through a link: for kernels without openat2. */
static int open_by_parts(int directory, const char *location)
{
    int at = dup(directory);
    while (at >= 0) {
        const char *slash = strchr(location, '/');
        size_t bytes = slash ? (size_t)(slash - location) : strlen(location);
        char part[256];
        if (bytes >= sizeof(part)) {
            close(at);
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(part, location, bytes);
        part[bytes] = '\0';
        int flags = slash ? O_PATH | O_DIRECTORY : O_RDONLY | O_NONBLOCK;
        int next = bytes ? openat(at, part, flags | O_NOFOLLOW | O_CLOEXEC) : dup(at);
        int code = errno;
        struct stat info;
        if (next < 0 && code == ENOTDIR && fstatat(at, part, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISLNK(info.st_mode)) {
            code = ELOOP; /* as openat2 says */
        }
        close(at);
        errno = code;
        if (slash == NULL) {
            return next;
        }
        location = slash + 1;
        at = next;
    }
    return -1;
}

static int open_beneath(int directory, const char *location)
{
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                           .resolve =
                               RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, directory, location, &how, sizeof(how));
    if (fd < 0 && (errno == ENOSYS || errno == EPERM || errno == EINVAL)) {
        fd = open_by_parts(directory, location);
    }
    return fd;
}

static leat_status open_error(const char *location, leat_error *err)
{
    int code = errno;
    if (code == ELOOP || code == EXDEV) {
        return lt_fail(err, LEAT_INVALID,
                       "external data '%.100s' is, or lies behind, a symbolic link", location);
    }
    return lt_fail(err, code == ENOENT || code == ENOTDIR ? LEAT_NOT_FOUND : LEAT_IO,
                   "cannot open external data '%.100s': %s", location, strerror(code));
}

static leat_status map_file(lt_external_files *files, const char *location, mapped **out,
                            leat_error *err)
{
    struct stat info;
    leat_status status = check_location(location, err);
    if (status != LEAT_OK) {
        return status;
    }
    int fd = open_beneath(files->directory, location);
    if (fd < 0) {
        return open_error(location, err);
    }
    mapped *m = lt_arena_alloc(&files->arena, sizeof(*m), 16);
    char *copy = lt_arena_string(&files->arena, location);
    if (m == NULL || copy == NULL) {
        status = lt_fail(err, LEAT_NO_MEMORY, "external data: out of memory");
    } else if (fstat(fd, &info) != 0) {
        status = open_error(location, err);
    } else if (!S_ISREG(info.st_mode)) {
        status =
            lt_fail(err, LEAT_INVALID, "external data '%.100s' is not a regular file", location);
    } else if (info.st_nlink != 1) {
        status =
            lt_fail(err, LEAT_INVALID, "external data '%.100s' has %llu hard links; copy the file",
                    location, (unsigned long long)info.st_nlink);
    } else {
        m->location = copy;
        m->bytes = (size_t)info.st_size;
        if (m->bytes != 0) {
            m->data = mmap(NULL, m->bytes, PROT_READ, MAP_PRIVATE, fd, 0);
            if (m->data == MAP_FAILED) {
                status = open_error(location, err);
            }
        }
    }
    close(fd);
    if (status == LEAT_OK) {
        m->next = files->files;
        files->files = m;
        *out = m;
    }
    return status;
}

leat_status lt_external_files_map(lt_external_files *files, const char *location, uint64_t offset,
                                  uint64_t bytes, const void **out_data, leat_error *err)
{
    static const char empty[1];
    mapped *m = files->files;
    *out_data = NULL;
    while (m != NULL && strcmp(m->location, location) != 0) {
        m = m->next;
    }
    if (m == NULL) {
        leat_status status = map_file(files, location, &m, err);
        if (status != LEAT_OK) {
            return status;
        }
    }
    if (offset > m->bytes || bytes > m->bytes - offset) {
        return lt_fail(err, LEAT_CORRUPT,
                       "external data '%.100s' has %zu bytes; %llu at %llu are wanted", location,
                       m->bytes, (unsigned long long)bytes, (unsigned long long)offset);
    }
    *out_data = m->data ? (const char *)m->data + offset : empty;
    return LEAT_OK;
}

void lt_external_files_release_pages(lt_external_files *files)
{
    for (mapped *m = files ? files->files : NULL; m != NULL; m = m->next) {
        if (m->data != NULL) {
            madvise(m->data, m->bytes, MADV_DONTNEED);
        }
    }
}

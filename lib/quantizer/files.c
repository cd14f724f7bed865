/* SPDX-License-Identifier: Apache-2.0 */
/* Calibration data in files: .npy, .npz and directories of them. */
#include "base/error.h"
#include "base/file.h"
#include "base/npy.h"
#include "base/tensor.h"
#include "quantizer/npz.h"
#include "quantizer/quantizer.h"
#include "runtime/tuning.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Bytes of an input after which pages that were read are given back. */
#define RELEASE ((size_t)2 << 20)

/* One pass over files that hold all inputs: arrays[i] is that of input i. */
typedef struct feeding {
    leat_quantizer *q;
    const leat_model_signature *io;
    lt_arena arena;
    lt_file_map *maps;  /* per input, and one for labels */
    const char **paths; /* of them */
    leat_array *arrays;
    leat_array labels; /* data NULL: none */
    uint64_t row;      /* of labels: the next one */
    bool hashing;      /* nothing is fed: the hash of the data is taken */
    uint64_t hash;
} feeding;

static bool ends_with(const char *text, const char *ending)
{
    size_t a = strlen(text), b = strlen(ending);
    return a >= b && strcmp(text + a - b, ending) == 0;
}

static leat_status no_memory(leat_error *err)
{
    return lt_fail(err, LEAT_NO_MEMORY, "no memory to read calibration data");
}

/* --- one file -----------------------------------------------------------------------------------
 */

static leat_status open_array(feeding *f, size_t slot, const char *path, const char *name,
                              leat_array *out, leat_error *err)
{
    lt_file_map *map = &f->maps[slot];
    f->paths[slot] = path;
    leat_status status = lt_file_map_open(path, map, err);
    if (status != LEAT_OK) {
        memset(map, 0, sizeof(*map));
        return status;
    }
    const void *data = map->data;
    size_t bytes = map->bytes;
    if (ends_with(path, ".npz")) {
        status = lt_npz_entry(map->data, map->bytes, name, &data, &bytes, err);
    }
    status = status ? status : lt_npy_read(&f->arena, data, bytes, out, err);
    return status ? lt_fail_within(err, status, "'%s'", path) : LEAT_OK;
}

static void close_files(feeding *f)
{
    for (size_t i = 0; i < f->io->n_inputs; i++) {
        if (f->maps[i].data != NULL) {
            lt_file_map_close(&f->maps[i]);
            memset(&f->maps[i], 0, sizeof(f->maps[i]));
        }
    }
    memset(f->arrays, 0, (f->io->n_inputs + 1) * sizeof(*f->arrays));
}

/* --- batches ------------------------------------------------------------------------------------
 */

/* How many inputs lie in an array one after the other, and what one of them is like. */
static leat_status split(const feeding *f, size_t input, leat_array *out_one, size_t *out_count,
                         leat_error *err)
{
    const leat_io *io = &f->io->inputs[input];
    const leat_array *array = &f->arrays[input];
    char have[160];
    bool whole = array->rank == io->rank + 1;
    int64_t batch = whole ? 1 : io->rank > 0 && io->shape[0] > 0 ? io->shape[0] : 1;
    bool fits = array->dtype == io->dtype && (whole || (array->rank == io->rank && io->rank > 0));
    *out_one = *array;
    out_one->rank = io->rank;
    for (int32_t d = whole ? 0 : 1; d < io->rank && fits; d++) {
        out_one->shape[d] = array->shape[d + whole];
        fits = io->shape[d] < 0 || io->shape[d] == out_one->shape[d];
    }
    if (!fits) {
        char want[160];
        leat_array shape = {.rank = io->rank < 0 ? 0 : io->rank};
        for (int32_t d = 0; d < shape.rank; d++) {
            shape.shape[d] = d == 0 ? -1 : io->shape[d];
        }
        return lt_fail(err, LEAT_INVALID,
                       "'%.80s' is %s[%.40s], but input '%.40s' takes %s[%.40s], samples along the "
                       "first axis",
                       f->paths[input], leat_dtype_name(array->dtype),
                       lt_shape_text(array->rank, array->shape, have, sizeof(have)), io->name,
                       leat_dtype_name(io->dtype),
                       lt_shape_text(shape.rank, shape.shape, want, sizeof(want)));
    }
    if (!whole) {
        out_one->shape[0] = batch;
    }
    if (array->shape[0] == 0 || array->shape[0] % batch != 0) {
        return lt_fail(err, LEAT_INVALID,
                       "'%.80s' has %lld samples for input '%.40s': the model takes %lld at once",
                       f->paths[input], (long long)array->shape[0], io->name, (long long)batch);
    }
    *out_count = (size_t)(array->shape[0] / batch);
    return lt_shape_bytes(out_one->dtype, out_one->rank, out_one->shape, &out_one->bytes)
               ? LEAT_OK
               : lt_fail(err, LEAT_INVALID, "calibration data for '%s' is too large", io->name);
}

/* Rows of labels for the next batch, as i64. */
static leat_status next_labels(feeding *f, const leat_array *first, int64_t **out, size_t *out_n,
                               leat_error *err)
{
    const leat_array *labels = &f->labels;
    *out_n = 0;
    if (labels->data == NULL) {
        return LEAT_OK;
    }
    size_t n = first->rank > 0 ? (size_t)first->shape[0] : 1;
    *out = lt_arena_array(&f->arena, n + 1, sizeof(**out));
    if (*out == NULL) {
        return no_memory(err);
    }
    if (f->row + n > (uint64_t)labels->shape[0]) {
        return lt_fail(err, LEAT_INVALID, "there are %lld labels, but more samples",
                       (long long)labels->shape[0]);
    }
    for (size_t i = 0; i < n; i++, f->row++) {
        const char *at = (const char *)labels->data + f->row * leat_dtype_bytes(labels->dtype, 1);
        int32_t narrow;
        switch (labels->dtype) {
        case LEAT_DTYPE_I64:
            memcpy(*out + i, at, sizeof(int64_t));
            break;
        case LEAT_DTYPE_I32:
            memcpy(&narrow, at, sizeof(narrow));
            (*out)[i] = narrow;
            break;
        default:
            (*out)[i] = *(const uint8_t *)at;
        }
    }
    *out_n = n;
    return LEAT_OK;
}

static void hash_arrays(feeding *f)
{
    for (size_t i = 0; i < f->io->n_inputs; i++) {
        const leat_array *a = &f->arrays[i];
        const int64_t kind[2] = {a->dtype, a->rank};
        f->hash = lt_hash(f->hash, kind, sizeof(kind));
        f->hash = lt_hash(f->hash, a->shape, (size_t)a->rank * sizeof(*a->shape));
        for (size_t at = 0; at < a->bytes; at += RELEASE) {
            size_t left = a->bytes - at;
            f->hash = lt_hash(f->hash, (const char *)a->data + at, left < RELEASE ? left : RELEASE);
            lt_file_map_release_pages(&f->maps[i]);
        }
    }
}

/* Feeds the arrays that are open. */
static leat_status feed_arrays(feeding *f, leat_error *err)
{
    if (f->hashing) {
        hash_arrays(f);
        return LEAT_OK;
    }
    size_t n = f->io->n_inputs, count = 0;
    leat_array *ones = lt_arena_array(&f->arena, n + 1, sizeof(*ones));
    leat_status status = ones ? LEAT_OK : no_memory(err);
    for (size_t i = 0; i < n && status == LEAT_OK; i++) {
        size_t own = 0;
        if (f->arrays[i].data == NULL) {
            status = lt_fail(err, LEAT_INVALID, "calibration data for input '%s' is missing",
                             f->io->inputs[i].name);
            break;
        }
        status = split(f, i, &ones[i], &own, err);
        count = i == 0 ? own : count;
        if (status == LEAT_OK && own != count) {
            status = lt_fail(err, LEAT_INVALID,
                             "input '%s' has %zu batches of calibration data, but '%s' has %zu",
                             f->io->inputs[i].name, own, f->io->inputs[0].name, count);
        }
    }
    for (size_t b = 0; b < count && status == LEAT_OK; b++) {
        int64_t *labels = NULL;
        size_t n_labels;
        status = next_labels(f, &ones[0], &labels, &n_labels, err);
        if (status == LEAT_OK) {
            status = leat_quantizer_feed(f->q, ones, n, labels, n_labels, err);
            if (status != LEAT_OK && n == 1) {
                (void)lt_fail_within(err, status, "'%s'", f->paths[0]);
            }
        }
        status = status ? status : lt_quant_progress(f->q, "calibrate", b + 1, count, err);
        for (size_t i = 0; i < n; i++) {
            size_t bytes = ones[i].bytes;
            if ((b + 1) * bytes / RELEASE != b * bytes / RELEASE) {
                lt_file_map_release_pages(&f->maps[i]);
            }
            ones[i].data = (char *)ones[i].data + ones[i].bytes;
        }
    }
    return status;
}

/* --- directories --------------------------------------------------------------------------------
 */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Paths of the data files in a directory, sorted. */
static leat_status list_directory(lt_arena *arena, const char *path, const char ***out_paths,
                                  size_t *out_count, leat_error *err)
{
    size_t capacity = 0;
    DIR *dir = opendir(path);
    *out_paths = NULL;
    *out_count = 0;
    if (dir == NULL) {
        return lt_fail(err, LEAT_IO, "'%s' cannot be listed", path);
    }
    leat_status status = LEAT_OK;
    for (struct dirent *entry; status == LEAT_OK && (entry = readdir(dir)) != NULL;) {
        if (!ends_with(entry->d_name, ".npy") && !ends_with(entry->d_name, ".npz")) {
            continue;
        }
        size_t bytes = strlen(path) + strlen(entry->d_name) + 2;
        if (*out_count == capacity) {
            capacity = capacity ? 2 * capacity : 64;
            const char **grown = lt_arena_array(arena, capacity, sizeof(*grown));
            if (grown != NULL && *out_count > 0) {
                memcpy(grown, *out_paths, *out_count * sizeof(*grown));
            }
            *out_paths = grown;
        }
        char *name = *out_paths ? lt_arena_alloc(arena, bytes, 1) : NULL;
        if (name == NULL) {
            status = no_memory(err);
            break;
        }
        snprintf(name, bytes, "%s/%s", path, entry->d_name);
        (*out_paths)[(*out_count)++] = name;
    }
    closedir(dir);
    if (status == LEAT_OK && *out_count == 0) {
        status = lt_fail(err, LEAT_INVALID, "'%s' holds no .npy or .npz file", path);
    }
    if (status == LEAT_OK) {
        qsort(*out_paths, *out_count, sizeof(**out_paths), by_name);
    }
    return status;
}

/* --- all of it ----------------------------------------------------------------------------------
 */

/* Opens a file for the input it is named for, or for all. */
static leat_status open_for(feeding *f, const leat_quantizer_file *file, const char *path,
                            leat_error *err)
{
    bool all = file->input == NULL && ends_with(path, ".npz") && f->io->n_inputs > 1;
    bool found = false;
    char names[120];
    leat_status status = LEAT_OK;
    lt_io_names(f->io->inputs, f->io->n_inputs, names, sizeof(names));
    if (file->input == NULL && !all && f->io->n_inputs != 1) {
        return lt_fail(err, LEAT_INVALID,
                       "'%s': the model has %zu inputs (%s): say for which it is", path,
                       f->io->n_inputs, names);
    }
    for (size_t i = 0; i < f->io->n_inputs && status == LEAT_OK; i++) {
        const char *name = f->io->inputs[i].name;
        if (file->input != NULL && strcmp(file->input, name) != 0) {
            continue;
        }
        found = true;
        if (f->maps[i].data != NULL) {
            return lt_fail(err, LEAT_INVALID, "input '%s' has two files: give one", name);
        }
        status = open_array(f, i, path, all ? name : NULL, &f->arrays[i], err);
    }
    if (!found && status == LEAT_OK) {
        status = lt_fail(err, LEAT_INVALID, "the model has no input '%s'; the inputs are %s",
                         file->input, names);
    }
    return status;
}

/* A directory: each file a pass of its own. */
static leat_status feed_directory(feeding *f, const leat_quantizer_file *file, leat_error *err)
{
    const char **paths;
    size_t count;
    lt_arena names;
    lt_arena_init(&names, &f->q->context->memory, 0);
    leat_status status = list_directory(&names, file->path, &paths, &count, err);
    for (size_t i = 0; i < count && status == LEAT_OK; i++) {
        status = open_for(f, file, paths[i], err);
        status = status ? status : feed_arrays(f, err);
        close_files(f);
    }
    lt_arena_destroy(&names);
    return status;
}

static leat_status open_labels(feeding *f, const char *path, leat_error *err)
{
    leat_status status = open_array(f, f->io->n_inputs, path, NULL, &f->labels, err);
    const leat_dtype dtype = f->labels.dtype;
    if (status == LEAT_OK &&
        (f->labels.rank != 1 ||
         (dtype != LEAT_DTYPE_I64 && dtype != LEAT_DTYPE_I32 && dtype != LEAT_DTYPE_U8))) {
        status =
            lt_fail(err, LEAT_INVALID, "labels in '%s' must be i64, i32 or u8 of one axis", path);
    }
    return status;
}

static leat_status feed_all(feeding *f, const leat_quantizer_file *files, size_t n_files,
                            leat_error *err)
{
    struct stat info;
    leat_status status = LEAT_OK;
    if (n_files == 1 && stat(files[0].path, &info) == 0 && S_ISDIR(info.st_mode)) {
        status = feed_directory(f, &files[0], err);
    } else {
        for (size_t i = 0; i < n_files && status == LEAT_OK; i++) {
            status = open_for(f, &files[i], files[i].path, err);
        }
        status = status ? status : feed_arrays(f, err);
        close_files(f);
    }
    if (status == LEAT_OK && !f->hashing && f->labels.data != NULL &&
        f->row != (uint64_t)f->labels.shape[0]) {
        status = lt_fail(err, LEAT_INVALID, "there are %lld labels, but %llu samples",
                         (long long)f->labels.shape[0], (unsigned long long)f->row);
    }
    return status;
}

leat_status leat_quantizer_feed_files(leat_quantizer *q, const leat_quantizer_file *files,
                                      size_t n_files, const char *labels_path, leat_error *err)
{
    if (q == NULL || files == NULL || n_files == 0) {
        return lt_fail(err, LEAT_INVALID, "leat_quantizer_feed_files: an argument is NULL");
    }
    feeding f = {.q = q, .io = leat_model_io(q->model)};
    lt_arena_init(&f.arena, &q->context->memory, 0);
    f.maps = lt_arena_array(&f.arena, f.io->n_inputs + 1, sizeof(*f.maps));
    f.paths = lt_arena_array(&f.arena, f.io->n_inputs + 1, sizeof(*f.paths));
    f.arrays = lt_arena_array(&f.arena, f.io->n_inputs + 1, sizeof(*f.arrays));
    leat_status status = f.maps && f.paths && f.arrays ? LEAT_OK : no_memory(err);
    if (status == LEAT_OK && labels_path != NULL) {
        status = open_labels(&f, labels_path, err);
    }
    if (status == LEAT_OK && q->cache != NULL) {
        f.hashing = true;
        f.hash = LT_HASH_START;
        status = feed_all(&f, files, n_files, err);
        f.hashing = false;
        status = status ? status : lt_quant_cache_open(q, f.hash, err);
    }
    status = status ? status : feed_all(&f, files, n_files, err);
    if (f.maps != NULL && f.maps[f.io->n_inputs].data != NULL) {
        lt_file_map_close(&f.maps[f.io->n_inputs]);
    }
    lt_arena_destroy(&f.arena);
    return status;
}

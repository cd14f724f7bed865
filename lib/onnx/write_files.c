/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a saved model, and the order in which they appear. */
#include "base/error.h"
#include "base/tensor.h"
#include "onnx/wire.h"
#include "onnx/writer_internal.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Protobuf readers refuse messages of 2 GiB and more. */
#define MOST_BYTES 0x7fffffffu
/* ".HASH.data" */
#define DATA_ENDING_BYTES 22u
#define HASH_DIGITS 16u

/* --- what can be written ------------------------------------------------------------------------
 */

/* The graph does not keep all that a map, sequence or optional holds, so their types cannot be
 * written.
 */
static leat_status check_types(const lt_graph *graph, leat_error *err)
{
    for (uint32_t i = 0; i < graph->n_inputs + graph->n_outputs; i++) {
        uint32_t at = i < graph->n_inputs ? graph->inputs[i] : graph->outputs[i - graph->n_inputs];
        if (graph->values[at].dtype > LEAT_DTYPE_COUNT) {
            return lt_fail(err, LEAT_UNSUPPORTED, "'%s' is a %s; models with one cannot be written",
                           graph->values[at].name, leat_dtype_name(graph->values[at].dtype));
        }
    }
    return LEAT_OK;
}

/* --- names of data files ------------------------------------------------------------------------
 */

static void hash_digits(uint64_t hash, char *digits)
{
    for (size_t i = 0; i < HASH_DIGITS; i++) {
        digits[i] = "0123456789abcdef"[hash >> (60 - 4 * i) & 15];
    }
}

/* Whether a location is NAME.HASH.data, NAME being the model's. */
static bool is_data_name(leat_string location, const char *name)
{
    size_t length = strlen(name);
    if (location.bytes != length + DATA_ENDING_BYTES || memcmp(location.data, name, length) != 0 ||
        location.data[length] != '.' || memcmp(location.data + location.bytes - 5, ".data", 5)) {
        return false;
    }
    for (size_t i = 0; i < HASH_DIGITS; i++) {
        char c = location.data[length + 1 + i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
    }
    return true;
}

/* Looks along a path of message fields (ends with 0) for a data name of the model `name`. What
 * cannot be read has none. */
static bool find_data_name(lt_wire wire, const uint32_t *fields, const char *name, leat_string *out)
{
    lt_field field;
    bool more = true;
    while (lt_wire_next(&wire, &field, &more, NULL) == LEAT_OK && more) {
        if (field.number != fields[0] || field.type != LT_WIRE_BYTES) {
            continue;
        }
        *out = (leat_string){(const char *)field.bytes.at, lt_wire_left(&field.bytes)};
        if (fields[1] != 0 ? find_data_name(field.bytes, fields + 1, name, out)
                           : is_data_name(*out, name)) {
            return true;
        }
    }
    return false;
}

/* --- saving -------------------------------------------------------------------------------------
 */

typedef struct saving {
    const lt_graph *graph;
    lt_written_opsets opsets;
    const char *path;
    const char *name; /* of the file: the end of path */
    char *data_path;  /* "" : no data file */
    char *old_data;   /* the data file that the model there names; "" : none is ours */
    uint64_t threshold;
    leat_error *err;
} saving;

static leat_status no_memory(const saving *s)
{
    return lt_fail(s->err, LEAT_NO_MEMORY, "cannot write '%s': out of memory", s->path);
}

/* Finds what the model that is there names, before it is replaced. Only a name that this file makes
 * counts: whatever a stranger's model names must stay. */
static void find_old_data(saving *s)
{
    static const uint32_t fields[] = {7, 5, 13, 2,
                                      0}; /* graph, initializer, external_data, value */
    lt_file_map map;
    leat_string location;
    s->old_data[0] = '\0';
    if (lt_file_map_open(s->path, &map, NULL) != LEAT_OK) {
        return;
    }
    lt_wire wire = {map.data, map.data, map.data};
    wire.end += map.bytes;
    if (map.data != NULL && find_data_name(wire, fields, s->name, &location)) {
        size_t folder = (size_t)(s->name - s->path);
        memcpy(s->old_data, s->path, folder);
        memcpy(s->old_data + folder, location.data, location.bytes);
        s->old_data[folder + location.bytes] = '\0';
    }
    lt_file_map_close(&map);
}

/* The name depends on the content, its length does not. */
static void name_data(saving *s, uint64_t hash)
{
    size_t length = strlen(s->path);
    memcpy(s->data_path, s->path, length);
    s->data_path[length] = '.';
    hash_digits(hash, s->data_path + length + 1);
    memcpy(s->data_path + length + 1 + HASH_DIGITS, ".data", 6);
}

static const char *data_name(const saving *s)
{
    return s->data_path + (s->name - s->path);
}

/* Decides which constants go outside; *out_external tells whether there are any. */
static leat_status plan_sizes(saving *s, bool *out_external)
{
    const lt_write_sink empty = {
        .opsets = &s->opsets, .location = data_name(s), .threshold = s->threshold, .err = s->err};
    lt_write_sink count = empty;
    lt_write_model(&count, s->graph);
    if (count.status == LEAT_OK && count.bytes > MOST_BYTES && s->threshold == 0) {
        /* As documented: beyond 2 GB constants go outside by themselves. */
        s->threshold = 1024;
        count = empty;
        count.threshold = s->threshold;
        lt_write_model(&count, s->graph);
    }
    *out_external = count.external != 0;
    if (count.status == LEAT_OK && count.bytes > MOST_BYTES) {
        return lt_fail(s->err, LEAT_LIMIT, "'%s' would have %llu bytes; 2 GiB is the most", s->path,
                       (unsigned long long)count.bytes);
    }
    return count.status;
}

/* Writes one of the two files under its temporary name. */
static leat_status write_file(saving *s, void (*write)(lt_write_sink *, const lt_graph *),
                              lt_write_sink *sink, lt_file_writer *out_file)
{
    lt_memory *memory = s->graph->root->arena.memory;
    leat_status status = lt_file_writer_open(memory, s->path, out_file, s->err);
    if (status != LEAT_OK) {
        return status;
    }
    sink->opsets = &s->opsets;
    sink->file = out_file;
    sink->threshold = s->threshold;
    sink->err = s->err;
    write(sink, s->graph);
    status = sink->status ? sink->status : lt_file_writer_finish(out_file, s->err);
    if (status != LEAT_OK) {
        lt_file_writer_close(out_file);
    }
    return status;
}

static leat_status write_data(saving *s, lt_file_writer *out_file)
{
    uint64_t hash = 0x6c656174u;
    lt_write_sink sink = {.hash = &hash};
    leat_status status = write_file(s, lt_write_external, &sink, out_file);
    name_data(s, hash);
    return status;
}

/* Takes both files, complete under temporary names, to their own: the data first, for nothing names
 * it yet, then the model. */
static leat_status publish(saving *s, lt_file_writer *data, lt_file_writer *model)
{
    lt_memory *memory = s->graph->root->arena.memory;
    struct stat info;
    leat_status status = LEAT_OK;
    /* Data of the same name has the same content, and the model that is there may use it. */
    bool was_there = s->data_path[0] != '\0' && lstat(s->data_path, &info) == 0;
    bool is_there = false;
    if (s->data_path[0] != '\0') {
        status = lt_file_writer_publish(data, s->data_path, s->err);
        is_there = status == LEAT_OK;
        status = status ? status : lt_file_sync_directory(memory, s->path, s->err);
    }
    if (status == LEAT_OK) {
        status = lt_file_writer_publish(model, NULL, s->err);
    }
    if (status != LEAT_OK) {
        if (is_there && !was_there) {
            unlink(s->data_path);
        }
        return status;
    }
    status = lt_file_sync_directory(memory, s->path, s->err);
    if (status == LEAT_OK && s->old_data[0] != '\0' && strcmp(s->old_data, s->data_path) != 0) {
        unlink(s->old_data);
    }
    return status;
}

static leat_status save(saving *s)
{
    lt_file_writer data = {.fd = -1}, model = {.fd = -1};
    bool external;
    name_data(s, 0);
    leat_status status = plan_sizes(s, &external);
    if (status != LEAT_OK) {
        return status;
    }
    if (external) {
        status = write_data(s, &data);
    } else {
        s->data_path[0] = '\0';
    }
    if (status == LEAT_OK) {
        lt_write_sink sink = {.location = data_name(s)};
        status = write_file(s, lt_write_model, &sink, &model);
    }
    if (status == LEAT_OK) {
        find_old_data(s);
        status = publish(s, &data, &model);
    }
    lt_file_writer_close(&data);
    lt_file_writer_close(&model);
    return status;
}

leat_status lt_onnx_write(const lt_graph *graph, const char *path, uint64_t external_threshold,
                          leat_error *err)
{
    saving s = {.graph = graph, .path = path, .threshold = external_threshold, .err = err};
    leat_status status = check_types(graph, err);
    status = status ? status : lt_write_opsets(graph, &s.opsets, err);
    if (status != LEAT_OK) {
        return status;
    }
    lt_arena scratch;
    lt_arena_init(&scratch, graph->root->arena.memory, 1024);
    size_t capacity = strlen(path) + DATA_ENDING_BYTES + 1;
    const char *slash = strrchr(path, '/');
    s.name = slash ? slash + 1 : path;
    s.data_path = lt_arena_alloc(&scratch, capacity, 1);
    s.old_data = lt_arena_alloc(&scratch, capacity, 1);
    status = s.data_path && s.old_data ? save(&s) : no_memory(&s);
    lt_arena_destroy(&scratch);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/tuning.h"

#include "base/error.h"
#include "base/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HEADER "leat tuning 1\n"
#define END_BYTES (4 + 16 + 1) /* "end ", the sum, a line end */
#define MOST_ENTRIES (1u << 16)
#define MOST_FILE_BYTES (16u << 20)
#define LINE_BYTES (16 + 1 + LT_TUNING_WAY_BYTES + 24 + LT_TUNING_LABEL_BYTES + 2)

typedef struct entry {
    uint64_t key;
    double ns;
    char way[LT_TUNING_WAY_BYTES];
    char label[LT_TUNING_LABEL_BYTES];
} entry;

struct lt_tuning {
    leat_context *context;
    char *path;
    size_t path_bytes;
    entry *entries; /* by rising key */
    size_t n_entries;
    size_t capacity;
    bool changed; /* since the last save */
};

uint64_t lt_hash(uint64_t hash, const void *data, size_t bytes)
{
    const unsigned char *from = data;
    for (size_t i = 0; i < bytes; i++) {
        hash = (hash ^ from[i]) * 0x100000001b3u;
    }
    return hash;
}

uint64_t lt_hash_text(uint64_t hash, const char *text)
{
    return lt_hash(hash, text, strlen(text) + 1);
}

uint64_t lt_hash_attr_data(uint64_t hash, const leat_attr *attr)
{
    switch (attr->type) {
    case LEAT_ATTR_FLOAT:
        return lt_hash(hash, &attr->u.f, sizeof(attr->u.f));
    case LEAT_ATTR_INT:
        return lt_hash(hash, &attr->u.i, sizeof(attr->u.i));
    case LEAT_ATTR_STRING:
        return lt_hash(hash, attr->u.s.data, attr->u.s.bytes);
    case LEAT_ATTR_FLOATS:
        return lt_hash(hash, attr->u.floats, attr->count * sizeof(*attr->u.floats));
    case LEAT_ATTR_INTS:
        return lt_hash(hash, attr->u.ints, attr->count * sizeof(*attr->u.ints));
    default:
        return hash;
    }
}

/* --- the table ---------------------------------------------------------------------------------
 */

/* Index of the first entry whose key is not below `key`. */
static size_t position(const lt_tuning *tuning, uint64_t key)
{
    size_t low = 0, high = tuning->n_entries;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (tuning->entries[middle].key < key) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool grow(lt_tuning *tuning)
{
    lt_memory *memory = &tuning->context->memory;
    size_t capacity = tuning->capacity ? 2 * tuning->capacity : 64;
    entry *entries = lt_alloc(memory, capacity * sizeof(*entries), LT_ALIGNMENT);
    if (entries == NULL) {
        return false;
    }
    if (tuning->n_entries != 0) {
        memcpy(entries, tuning->entries, tuning->n_entries * sizeof(*entries));
    }
    lt_free(memory, tuning->entries, tuning->capacity * sizeof(*entries));
    tuning->entries = entries;
    tuning->capacity = capacity;
    return true;
}

/* Adds an entry, or replaces the one of its key if `replace`. */
static bool insert(lt_tuning *tuning, const entry *added, bool replace)
{
    size_t at = position(tuning, added->key);
    if (at < tuning->n_entries && tuning->entries[at].key == added->key) {
        if (replace) {
            tuning->entries[at] = *added;
        }
        return true;
    }
    if (tuning->n_entries == MOST_ENTRIES ||
        (tuning->n_entries == tuning->capacity && !grow(tuning))) {
        return false;
    }
    entry *place = tuning->entries + at;
    memmove(place + 1, place, (tuning->n_entries - at) * sizeof(*place));
    *place = *added;
    tuning->n_entries++;
    return true;
}

const char *lt_tuning_find(const lt_tuning *tuning, uint64_t key)
{
    size_t at = position(tuning, key);
    bool found = at < tuning->n_entries && tuning->entries[at].key == key;
    return found ? tuning->entries[at].way : NULL;
}

/* Printable ASCII; spaces only where allowed. */
static bool is_clean(const char *text, size_t bytes, bool spaces)
{
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] < (spaces ? ' ' : '!') || text[i] > '~') {
            return false;
        }
    }
    return true;
}

void lt_tuning_add(lt_tuning *tuning, uint64_t key, const char *way, double ns, const char *label)
{
    entry added = {.key = key, .ns = ns};
    size_t bytes = strlen(way);
    if (bytes == 0 || bytes >= sizeof(added.way) || !is_clean(way, bytes, false)) {
        return;
    }
    memcpy(added.way, way, bytes);
    snprintf(added.label, sizeof(added.label), "%s",
             is_clean(label, strlen(label), true) ? label : "");
    tuning->changed |= insert(tuning, &added, true);
}

/* --- reading -----------------------------------------------------------------------------------
 */

/* 16 hexadecimal digits, lower case. */
static bool read_hash(const char *text, uint64_t *out)
{
    static const char digits[] = "0123456789abcdef";
    *out = 0;
    for (int i = 0; i < 16; i++) {
        const char *digit = text[i] != '\0' ? strchr(digits, text[i]) : NULL;
        if (digit == NULL) {
            return false;
        }
        *out = *out << 4 | (uint64_t)(digit - digits);
    }
    return true;
}

/* One line, without its end and followed by a byte that is no part of it. */
static bool read_line(const char *line, size_t bytes, entry *out)
{
    memset(out, 0, sizeof(*out));
    if (bytes < 18 || !is_clean(line, bytes, true) || !read_hash(line, &out->key) ||
        line[16] != ' ') {
        return false;
    }
    const char *way = line + 17, *end = line + bytes;
    const char *space = memchr(way, ' ', (size_t)(end - way));
    if (space == NULL || space == way || (size_t)(space - way) >= sizeof(out->way)) {
        return false;
    }
    memcpy(out->way, way, (size_t)(space - way));
    const char *number = space + 1;
    space = memchr(number, ' ', (size_t)(end - number));
    if (space == NULL || space == number || space - number > 15) {
        return false;
    }
    for (const char *digit = number; digit < space; digit++) {
        if (*digit < '0' || *digit > '9') {
            return false;
        }
        out->ns = 10 * out->ns + (*digit - '0');
    }
    size_t label = (size_t)(end - space) - 1;
    if (label >= sizeof(out->label)) {
        return false;
    }
    memcpy(out->label, space + 1, label);
    return true;
}

/* Whether the text is a whole file: header, lines, end with the right sum. */
static bool is_whole(const char *text, size_t bytes)
{
    size_t header = sizeof(HEADER) - 1;
    if (bytes < header + END_BYTES || memcmp(text, HEADER, header) != 0) {
        return false;
    }
    const char *end = text + bytes - END_BYTES;
    uint64_t sum;
    return end[-1] == '\n' && memcmp(end, "end ", 4) == 0 && end[END_BYTES - 1] == '\n' &&
           read_hash(end + 4, &sum) && sum == lt_hash(LT_HASH_START, text, (size_t)(end - text));
}

/* Takes the entries of a file's text, those of keys that are there already left out. False when it
 * is not one; what came before the flaw stays. */
static bool take_text(lt_tuning *tuning, const char *text, size_t bytes)
{
    if (!is_whole(text, bytes)) {
        return false;
    }
    const char *at = text + sizeof(HEADER) - 1, *end = text + bytes - END_BYTES;
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        entry read;
        if (line_end == NULL || !read_line(at, (size_t)(line_end - at), &read) ||
            !insert(tuning, &read, false)) {
            return false;
        }
        at = line_end + 1;
    }
    return true;
}

/* Adds what the file has. */
static void load(lt_tuning *tuning)
{
    leat_error err = {0};
    void *text = NULL;
    size_t bytes = 0;
    lt_memory *memory = &tuning->context->memory;
    leat_status status = lt_file_read(memory, tuning->path, MOST_FILE_BYTES, &text, &bytes, &err);
    if (status == LEAT_NOT_FOUND) {
        return;
    }
    if (status != LEAT_OK) {
        lt_log_write(&tuning->context->log, LEAT_LOG_WARNING, "tuning results: %s", err.message);
    } else if (!take_text(tuning, text, bytes)) {
        lt_log_write(&tuning->context->log, LEAT_LOG_WARNING,
                     "'%s' is damaged or no file of tuning results: it is not used, and the next "
                     "measurement replaces it",
                     tuning->path);
    }
    lt_free(memory, text, bytes);
}

/* --- writing -----------------------------------------------------------------------------------
 */

static leat_status write_summed(lt_file_writer *writer, uint64_t *sum, const char *text,
                                size_t bytes, leat_error *err)
{
    *sum = lt_hash(*sum, text, bytes);
    return lt_file_writer_write(writer, text, bytes, err);
}

static leat_status write_all(const lt_tuning *tuning, lt_file_writer *writer, leat_error *err)
{
    uint64_t sum = LT_HASH_START;
    char line[LINE_BYTES];
    leat_status status = write_summed(writer, &sum, HEADER, sizeof(HEADER) - 1, err);
    for (size_t i = 0; i < tuning->n_entries && status == LEAT_OK; i++) {
        const entry *e = &tuning->entries[i];
        double ns = e->ns >= 1 ? (e->ns < 1e14 ? e->ns : 1e14) : 1;
        int bytes = snprintf(line, sizeof(line), "%016" PRIx64 " %s %.0f %s\n", e->key, e->way, ns,
                             e->label);
        status = write_summed(writer, &sum, line, (size_t)bytes, err);
    }
    snprintf(line, sizeof(line), "end %016" PRIx64 "\n", sum);
    status = status ? status : lt_file_writer_write(writer, line, END_BYTES, err);
    return status ? status : lt_file_writer_commit(writer, err);
}

void lt_tuning_save(lt_tuning *tuning)
{
    if (!tuning->changed) {
        return;
    }
    leat_error err = {0};
    lt_file_writer writer;
    load(tuning); /* what others have added */
    leat_status status = lt_file_writer_open(&tuning->context->memory, tuning->path, &writer, &err);
    if (status == LEAT_OK) {
        status = write_all(tuning, &writer, &err);
        lt_file_writer_close(&writer);
    }
    if (status != LEAT_OK) {
        lt_log_write(&tuning->context->log, LEAT_LOG_WARNING, "tuning results are not kept: %s",
                     err.message);
    }
    tuning->changed = false; /* a directory that cannot be written is not tried at every plan */
}

/* --- life --------------------------------------------------------------------------------------
 */

leat_status lt_tuning_create(leat_context *context, const char *directory, lt_tuning **out_tuning,
                             leat_error *err)
{
    *out_tuning = NULL;
    lt_tuning *tuning = lt_alloc_zeroed(&context->memory, sizeof(*tuning), LT_ALIGNMENT);
    if (tuning == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for tuning results");
    }
    tuning->context = context;
    tuning->path_bytes = strlen(directory) + 1 + sizeof(LT_TUNING_FILE);
    tuning->path = lt_alloc(&context->memory, tuning->path_bytes, 1);
    if (tuning->path == NULL) {
        lt_tuning_destroy(tuning);
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for tuning results");
    }
    snprintf(tuning->path, tuning->path_bytes, "%s/%s", directory, LT_TUNING_FILE);
    load(tuning);
    *out_tuning = tuning;
    return LEAT_OK;
}

void lt_tuning_destroy(lt_tuning *tuning)
{
    if (tuning == NULL) {
        return;
    }
    lt_memory *memory = &tuning->context->memory;
    if (tuning->path != NULL) {
        lt_free(memory, tuning->path, tuning->path_bytes);
    }
    lt_free(memory, tuning->entries, tuning->capacity * sizeof(entry));
    lt_free(memory, tuning, sizeof(*tuning));
}

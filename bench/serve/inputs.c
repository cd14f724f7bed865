/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/load.h"

#include "base/memory.h"
#include "base/npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The text behind NAME= if text is about that input. */
static const char *shape_for(const char *text, const char *name)
{
    size_t n = strlen(name);
    return strncmp(text, name, n) == 0 && text[n] == '=' ? text + n + 1 : NULL;
}

/* Numbers between -1 and 1, integers 0 or 1: what any table has. */
static void fill(leat_array *x, size_t count, uint64_t *seed)
{
    for (size_t i = 0; i < count; i++) {
        const double r = uniform(seed);
        switch (x->dtype) {
        case LEAT_DTYPE_F32:
            ((float *)x->data)[i] = (float)(2 * r - 1);
            break;
        case LEAT_DTYPE_F16: /* 1/8 to 1/4, either sign */
            ((uint16_t *)x->data)[i] =
                (uint16_t)(0x3000 | (uint32_t)(r * 65536) % 0x400 | (r < 0.5 ? 0x8000 : 0));
            break;
        case LEAT_DTYPE_I64:
            ((int64_t *)x->data)[i] = (int64_t)(r * 2);
            break;
        case LEAT_DTYPE_I32:
            ((int32_t *)x->data)[i] = (int32_t)(r * 2);
            break;
        case LEAT_DTYPE_U8:
            ((uint8_t *)x->data)[i] = (uint8_t)(r * 100);
            break;
        default:
            break; /* zeros */
        }
    }
}

/* An array's shape and contents from a .npy file, which stays in memory. */
static void read_array(const leat_io *io, const char *path, leat_array *out)
{
    static lt_memory memory;
    static lt_arena arena;
    leat_error err;
    long bytes = -1;
    FILE *file = fopen(path, "rb");
    if (file != NULL && fseek(file, 0, SEEK_END) == 0) {
        bytes = ftell(file);
        rewind(file);
    }
    void *data = bytes > 0 ? malloc((size_t)bytes) : NULL;
    if (data == NULL || fread(data, 1, (size_t)bytes, file) != (size_t)bytes) {
        fail(path, NULL);
    }
    fclose(file);
    lt_memory_init(&memory, NULL, 0);
    lt_arena_init(&arena, &memory, 0);
    if (lt_npy_read(&arena, data, (size_t)bytes, out, &err) != LEAT_OK) {
        fail(path, &err);
    }
    if (out->dtype != io->dtype || out->rank != io->rank) {
        fail("a .npy file's type or rank is not that of the input", NULL);
    }
}

/* length: of the dimension of that symbol, when it is not 0. */
static void make_array(const leat_io *io, const char *text, const char *symbol, int64_t length,
                       uint64_t *seed, leat_array *out)
{
    size_t count = 1;
    if (text != NULL && text[0] == '@') {
        read_array(io, text + 1, out);
        return;
    }
    *out = (leat_array){.dtype = io->dtype, .rank = io->rank};
    for (int32_t d = 0; d < io->rank; d++) {
        char *end = NULL;
        out->shape[d] = text ? strtoll(text, &end, 10) : io->shape[d] < 0 ? 1 : io->shape[d];
        text = text && *end == 'x' ? end + 1 : text ? end : NULL;
        if (length > 0 && io->dim_names[d] != NULL && strcmp(io->dim_names[d], symbol) == 0) {
            out->shape[d] = length;
        }
        count *= (size_t)out->shape[d];
    }
    out->bytes = leat_dtype_bytes(io->dtype, count);
    out->data = calloc(1, out->bytes + 1);
    fill(out, count, seed);
}

/* The kinds of requests: --shape, and each --mixed; or one for each of the lengths. */
static void make_kind(const settings *s, load *l, size_t kind, const char *mixed, int64_t length)
{
    const leat_model_signature *io = leat_model_io(l->model);
    uint64_t seed = 7 + kind;
    for (size_t i = 0; i < io->n_inputs && i < MOST_INPUTS; i++) {
        const char *text = NULL;
        for (size_t j = 0; j < s->n_shapes; j++) {
            const char *own = shape_for(s->shapes[j], io->inputs[i].name);
            text = own ? own : text;
        }
        const char *other = mixed ? shape_for(mixed, io->inputs[i].name) : NULL;
        make_array(&io->inputs[i], other ? other : text, s->length, length, &seed,
                   &l->inputs[kind][i]);
    }
}

static void read_lengths(const settings *s, load *l)
{
    static uint32_t order[65536];
    int64_t lengths[MOST_KINDS];
    FILE *file = fopen(s->lengths, "r");
    long long length;
    if (file == NULL || s->length == NULL) {
        fail("--lengths FILE and --length DIMENSION", NULL);
    }
    while (l->n_order < sizeof(order) / sizeof(order[0]) && fscanf(file, "%lld", &length) == 1) {
        size_t k = 0;
        while (k < l->n_kinds && lengths[k] != length) {
            k++;
        }
        if (k == l->n_kinds && k < MOST_KINDS) {
            lengths[l->n_kinds++] = length;
            make_kind(s, l, k, NULL, length);
        }
        order[l->n_order++] = (uint32_t)k;
    }
    fclose(file);
    l->order = order;
}

/* Requests of one shape with different contents, the k-th asked for 1 / k times as often as the
 * first, as is usual where many ask (Zipf). */
static void make_distinct(const settings *s, load *l)
{
    static uint32_t order[65536];
    double total = 0;
    uint64_t seed = 3;
    for (; l->n_kinds < (size_t)s->distinct; l->n_kinds++) {
        make_kind(s, l, l->n_kinds, NULL, 0);
        total += 1 / (double)(l->n_kinds + 1);
    }
    for (l->n_order = 0; l->n_order < sizeof(order) / sizeof(order[0]); l->n_order++) {
        double left = total * uniform(&seed);
        uint32_t k = 0;
        for (; k + 1 < l->n_kinds && left > 1 / (double)(k + 1); k++) {
            left -= 1 / (double)(k + 1);
        }
        order[l->n_order] = k;
    }
    l->order = order;
}

static void read_kinds(const settings *s, load *l)
{
    if (s->distinct > 1) {
        make_distinct(s, l);
        return;
    }
    if (s->lengths != NULL) {
        read_lengths(s, l);
        return;
    }
    make_kind(s, l, l->n_kinds++, NULL, 0);
    for (size_t k = 0; k < s->n_mixed; k++) {
        make_kind(s, l, l->n_kinds++, s->mixed[k], 0);
    }
}

void make_inputs(const settings *s, load *l)
{
    l->n_inputs = leat_model_io(l->model)->n_inputs;
    l->n_groups = (size_t)s->groups;
    l->group_rows = s->group_rows != 0;
    read_kinds(s, l);
    for (size_t k = 0; k < l->n_kinds; k++) {
        l->mean_rows += (double)l->inputs[k][0].shape[0] / (double)l->n_kinds;
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Inputs of a run: from .npy files, or seeded. */
#include "leat/tool.h"

#include "base/error.h"
#include "base/file.h"
#include "base/npy.h"
#include "base/tensor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const pair *find_pair(const pair *pairs, int count, const char *name, bool only)
{
    for (int i = 0; i < count; i++) {
        if (pairs[i].name == NULL ? only : strcmp(pairs[i].name, name) == 0) {
            return &pairs[i];
        }
    }
    return NULL;
}

static leat_status read_npy(inputs *in, const char *path, leat_array *out, leat_error *err)
{
    lt_file_map map;
    leat_status status = lt_file_map_open(path, &map, err);
    if (status != LEAT_OK) {
        return status;
    }
    void *copy = lt_arena_copy(&in->arena, map.data, map.bytes);
    status = copy ? lt_npy_read(&in->arena, copy, map.bytes, out, err)
                  : lt_fail(err, LEAT_NO_MEMORY, "no memory for '%s'", path);
    lt_file_map_close(&map);
    return status == LEAT_OK ? LEAT_OK : lt_fail_within(err, status, "'%s'", path);
}

/* What was given on the command line is as the model wants it. */
static leat_status check_given(const leat_io *want, const leat_array *have, const char *given,
                               leat_error *err)
{
    char takes[160], is[160];
    bool fits = want->rank < 0 || want->rank == have->rank;
    for (int32_t d = 0; d < want->rank && fits; d++) {
        fits = want->shape[d] < 0 || want->shape[d] == have->shape[d];
    }
    if (fits && want->dtype == have->dtype) {
        return LEAT_OK;
    }
    return lt_fail(
        err, LEAT_INVALID, "'%.80s' is %s[%.40s], but input '%.40s' takes %s[%.40s]%s", given,
        leat_dtype_name(have->dtype), lt_shape_text(have->rank, have->shape, is, sizeof(is)),
        want->name, leat_dtype_name(want->dtype),
        want->rank < 0 ? "any shape" : lt_shape_text(want->rank, want->shape, takes, sizeof(takes)),
        fits ? ": convert it, with numpy's astype" : "");
}

/* "1x3x224x224" */
static leat_status parse_shape(const char *text, leat_array *out, leat_error *err)
{
    out->rank = 0;
    for (const char *p = text; out->rank < LEAT_MAX_RANK;) {
        char *end;
        long long dim = strtoll(p, &end, 10);
        if (end == p || dim < 0) {
            break;
        }
        out->shape[out->rank++] = dim;
        if (*end == '\0') {
            return LEAT_OK;
        }
        if (*end != 'x') {
            break;
        }
        p = end + 1;
    }
    return lt_fail(err, LEAT_INVALID, "'%s' is not a shape such as 1x3x224x224", text);
}

/* splitmix64: Steele, Lea and Flood, OOPSLA 2014. */
static double random_number(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

/* Floats in [-1, 1); integers small enough to be indices; masks all ones. */
static void fill(leat_array *array, const char *name, uint64_t seed)
{
    uint64_t state = seed;
    size_t count = 0;
    bool mask = strstr(name, "mask") != NULL;
    (void)lt_shape_count(array->rank, array->shape, &count);
    for (size_t i = 0; i < count; i++) {
        double r = random_number(&state);
        int64_t whole = mask ? 1 : (int64_t)(r * (strstr(name, "type") ? 2 : 200));
        switch (array->dtype) {
        case LEAT_DTYPE_F32:
            ((float *)array->data)[i] = (float)(2 * r - 1);
            break;
        case LEAT_DTYPE_F64:
            ((double *)array->data)[i] = 2 * r - 1;
            break;
        case LEAT_DTYPE_I64:
        case LEAT_DTYPE_U64:
            ((int64_t *)array->data)[i] = whole;
            break;
        case LEAT_DTYPE_I32:
        case LEAT_DTYPE_U32:
            ((int32_t *)array->data)[i] = (int32_t)whole;
            break;
        case LEAT_DTYPE_F16: /* 1 + r in [1, 2): exponent 15 */
            ((uint16_t *)array->data)[i] = (uint16_t)(0x3c00 | (unsigned)(r * 1024));
            break;
        case LEAT_DTYPE_BF16:
            ((uint16_t *)array->data)[i] = (uint16_t)(0x3f80 | (unsigned)(r * 128));
            break;
        case LEAT_DTYPE_BOOL:
            ((uint8_t *)array->data)[i] = r < 0.5 || mask;
            break;
        case LEAT_DTYPE_U8:
        case LEAT_DTYPE_I8:
            ((uint8_t *)array->data)[i] = (uint8_t)(r * 256);
            break;
        default:
            break; /* zeros */
        }
    }
}

static leat_status make_input(const options *o, const leat_model_signature *io, size_t i, int batch,
                              inputs *in, leat_error *err)
{
    const leat_io *want = &io->inputs[i];
    leat_array *array = &in->arrays[i];
    bool only = io->n_inputs == 1;
    const pair *file = find_pair(o->inputs, o->n_inputs, want->name, only);
    const pair *shape = find_pair(o->shapes, o->n_shapes, want->name, only);
    if (file != NULL && shape != NULL) {
        return lt_fail(err, LEAT_INVALID,
                       "input '%s' has a shape by its file; --shape %s is refused", want->name,
                       shape->value);
    }
    if (file != NULL) {
        leat_status status = read_npy(in, file->value, array, err);
        return status ? status : check_given(want, array, file->value, err);
    }
    array->dtype = want->dtype;
    array->rank = want->rank < 0 ? 0 : want->rank;
    for (int32_t d = 0; d < array->rank; d++) {
        array->shape[d] = want->shape[d] < 0 ? 1 : want->shape[d];
        if (d > 0 && want->shape[d] < 0 && shape == NULL && in->guessed == NULL) {
            in->guessed = want->name;
            in->guess = array;
        }
    }
    if (shape != NULL) {
        leat_status status = parse_shape(shape->value, array, err);
        status = status ? status : check_given(want, array, shape->value, err);
        if (status != LEAT_OK) {
            return status;
        }
    }
    if (batch > 0 && array->rank > 0 && (want->rank < 1 || want->shape[0] < 0)) {
        array->shape[0] = batch;
    }
    if (!lt_shape_bytes(array->dtype, array->rank, array->shape, &array->bytes)) {
        return lt_fail(err, LEAT_INVALID, "input '%s' is too large", want->name);
    }
    array->data = lt_arena_alloc(&in->arena, array->bytes ? array->bytes : 1, LT_ALIGNMENT);
    if (array->data == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for input '%s'", want->name);
    }
    fill(array, want->name, o->seed + i);
    return LEAT_OK;
}

static leat_status no_such_input(const pair *given, const leat_model_signature *io, leat_error *err)
{
    char names[160];
    lt_io_names(io->inputs, io->n_inputs, names, sizeof(names));
    if (given->name == NULL) {
        return lt_fail(err, LEAT_NOT_FOUND, "NAME= is missing before '%s'; the inputs are %s",
                       given->value, names);
    }
    return lt_fail(err, LEAT_NOT_FOUND, "the model has no input '%s'; the inputs are %s",
                   given->name, names);
}

/* Every NAME= on the command line must be an input. */
static leat_status check_names(const pair *pairs, int count, const leat_model_signature *io,
                               leat_error *err)
{
    for (int i = 0; i < count; i++) {
        bool found = pairs[i].name == NULL && io->n_inputs == 1;
        for (size_t j = 0; j < io->n_inputs && pairs[i].name != NULL; j++) {
            found |= strcmp(io->inputs[j].name, pairs[i].name) == 0;
        }
        if (found && find_pair(pairs, i, pairs[i].name ? pairs[i].name : "", true) != NULL) {
            return lt_fail(err, LEAT_INVALID, "input '%s' is given twice: '%s' is the second",
                           pairs[i].name ? pairs[i].name : io->inputs[0].name, pairs[i].value);
        }
        if (!found) {
            return no_such_input(&pairs[i], io, err);
        }
    }
    return LEAT_OK;
}

leat_status inputs_make(const options *o, const leat_model *model, int batch, inputs *out,
                        leat_error *err)
{
    const leat_model_signature *io = leat_model_io(model);
    memset(out, 0, sizeof(*out));
    lt_memory_init(&out->memory, NULL, 0);
    lt_arena_init(&out->arena, &out->memory, 0);
    if (io->n_inputs > MAX_LIST || io->n_outputs > MAX_LIST) {
        return lt_fail(err, LEAT_LIMIT, "the model has more than %d inputs or outputs", MAX_LIST);
    }
    leat_status status = check_names(o->inputs, o->n_inputs, io, err);
    if (status == LEAT_OK) {
        status = check_names(o->shapes, o->n_shapes, io, err);
    }
    for (size_t i = 0; i < io->n_inputs && status == LEAT_OK; i++) {
        status = make_input(o, io, i, batch, out, err);
    }
    out->count = io->n_inputs;
    out->guessed = status == LEAT_OK ? out->guessed : NULL;
    return data_status(status);
}

int report_run_error(const options *o, const inputs *in, leat_status status, const leat_error *err)
{
    char shape[160];
    const int code = report_error(o, status, err);
    if (status == LEAT_INVALID && in->guessed != NULL) {
        fprintf(stderr,
                "leat %s: input '%s' was made of %s, 1 for sizes that the model leaves open; "
                "--shape %s=... gives others\n",
                o->command, in->guessed,
                lt_shape_text(in->guess->rank, in->guess->shape, shape, sizeof(shape)),
                in->guessed);
    }
    return code;
}

void inputs_free(inputs *in)
{
    lt_arena_destroy(&in->arena);
}

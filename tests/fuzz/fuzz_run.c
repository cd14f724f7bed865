/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes -> model -> session -> two runs with other shapes: shape inference at plan time, the memory
 * plan, every kernel's checks. The inputs' numbers are small, odd and sometimes hostile, from a
 * generator that the bytes seed. */
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#define MOST_IO 16
#define MOST_ELEMENTS (1u << 16)
#define MOST_FLOPS 200000000u

typedef struct numbers {
    uint64_t state;
} numbers;

/* xorshift64* (Vigna, arXiv:1402.6246). */
static uint64_t next(numbers *n)
{
    n->state ^= n->state >> 12;
    n->state ^= n->state << 25;
    n->state ^= n->state >> 27;
    return n->state * 0x2545f4914f6cdd1du;
}

static void fill_words(leat_array *array, numbers *n)
{
    static const leat_string words[] = {{"", 0}, {"a", 1}, {"leat", 4}, {"\xc3\xa4 1", 4}};
    for (size_t i = 0; i < array->bytes / sizeof(leat_string); i++) {
        ((leat_string *)array->data)[i] = words[next(n) % 4];
    }
}

/* Mostly small integers in the type's own form, so that indices, axes and sizes can be right. */
static void fill(leat_array *array, numbers *n)
{
    size_t element = leat_dtype_bytes(array->dtype, 1);
    unsigned char *at = array->data;
    if (array->dtype == LEAT_DTYPE_STRING) {
        fill_words(array, n);
        return;
    }
    for (size_t i = 0; element != 0 && i + element <= array->bytes; i += element) {
        uint64_t r = next(n);
        int64_t small = (int64_t)(r >> 8) % 6 - 1;
        float f = (float)small;
        double d = (double)small;
        if (r % 64 == 0 && array->dtype != LEAT_DTYPE_BOOL) {
            memcpy(at + i, &r, element < 8 ? element : 8);
        } else if (array->dtype == LEAT_DTYPE_F32) {
            memcpy(at + i, &f, 4);
        } else if (array->dtype == LEAT_DTYPE_F64) {
            memcpy(at + i, &d, 8);
        } else {
            small = array->dtype == LEAT_DTYPE_BOOL ? small & 1 : small;
            memcpy(at + i, &small, element < 8 ? element : 8);
        }
    }
}

/* A map of i64 to f32, three entries in no order. */
static int make_map(leat_array *out)
{
    static int64_t keys[] = {2, 0, 1};
    static float values[] = {1.5f, -2, 7};
    leat_array *parts = malloc(2 * sizeof(*parts));
    if (parts != NULL) {
        parts[0] = (leat_array){LEAT_DTYPE_I64, 1, {3}, keys, sizeof(keys)};
        parts[1] = (leat_array){LEAT_DTYPE_F32, 1, {3}, values, sizeof(values)};
        *out = (leat_array){LEAT_DTYPE_MAP, 1, {2}, parts, 2 * sizeof(*parts)};
    }
    return parts != NULL;
}

/* False when the input is none that can be made: a sequence, an unknown rank, too large. */
static int make_input(const leat_io *io, int64_t unknown, numbers *n, leat_array *out)
{
    size_t count = 1;
    memset(out, 0, sizeof(*out));
    if (io->dtype == LEAT_DTYPE_MAP) {
        return make_map(out);
    }
    if (io->dtype >= LEAT_DTYPE_COUNT || io->dtype == LEAT_DTYPE_UNDEFINED || io->rank < 0) {
        return 0;
    }
    out->dtype = io->dtype;
    out->rank = io->rank;
    for (int32_t i = 0; i < io->rank; i++) {
        out->shape[i] = io->shape[i] < 0 ? unknown : io->shape[i];
        if (out->shape[i] > MOST_ELEMENTS || (count *= (size_t)out->shape[i]) > MOST_ELEMENTS) {
            return 0;
        }
    }
    out->bytes = leat_dtype_bytes(io->dtype, count);
    out->data = malloc(out->bytes + 1);
    if (out->data != NULL) {
        fill(out, n);
    }
    return out->data != NULL;
}

/* False for more work than MOST_FLOPS, which a small file may well ask for: it is planned only. */
static int is_bearable(leat_session *session, const leat_array *in, size_t n)
{
    leat_plan_report plan = {.struct_size = sizeof(plan)};
    leat_error err;
    uint64_t flops = 0;
    if (leat_session_warm(session, in, n, &err) != LEAT_OK ||
        leat_session_report(session, &plan, &err) != LEAT_OK) {
        return 1; /* as the run will find */
    }
    for (size_t i = 0; i < plan.n_nodes && flops <= MOST_FLOPS; i++) {
        flops += plan.nodes[i].flops < MOST_FLOPS ? plan.nodes[i].flops : MOST_FLOPS + 1;
    }
    return flops <= MOST_FLOPS;
}

static void run(leat_session *session, const leat_model_signature *io, int64_t unknown, numbers *n)
{
    leat_array in[MOST_IO], out[MOST_IO];
    leat_error err;
    size_t made = 0;
    memset(in, 0, sizeof(in));
    memset(out, 0, sizeof(out));
    while (made < io->n_inputs && make_input(&io->inputs[made], unknown, n, &in[made])) {
        made++;
    }
    if (made == io->n_inputs && is_bearable(session, in, io->n_inputs) &&
        leat_session_run(session, in, io->n_inputs, out, io->n_outputs, &err) == LEAT_OK) {
        unsigned sum = 0;
        for (size_t i = 0; i < io->n_outputs; i++) {
            for (size_t k = 0; out[i].dtype != LEAT_DTYPE_STRING && k < out[i].bytes; k++) {
                sum += ((const unsigned char *)out[i].data)[k];
            }
        }
        (void)sum; /* read for the sanitizers' sake */
    }
    for (size_t i = 0; i < made; i++) {
        free(in[i].data);
    }
}

/* A loop may be as long as the file says: here it ends after a second, that is, ten reports, and
 * whatever else reports, plans of iterations, after a hundred. */
typedef struct reports {
    int of_loops;
    int all;
} reports;

static int stop_loops(void *user, const char *stage, uint64_t done, uint64_t total)
{
    reports *r = user;
    (void)done;
    (void)total;
    r->of_loops += strcmp(stage, "loop") == 0;
    return ++r->all > 100 || r->of_loops > 10;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    fuzz_context fuzz;
    leat_error err;
    leat_model *model;
    leat_session *session;
    reports seen = {0, 0};
    numbers n = {0x9e3779b97f4a7c15u};
    for (size_t i = 0; i < bytes; i++) {
        n.state = (n.state ^ data[i]) * 0x100000001b3u; /* FNV-1a */
    }
    n.state |= 1;
    fuzz_open(&fuzz);
    if (leat_model_load_memory(fuzz.context, data, bytes, NULL, &model, &err) == LEAT_OK) {
        const leat_model_signature *io = leat_model_io(model);
        leat_session_desc desc = {
            .struct_size = sizeof(desc), .progress = stop_loops, .progress_user = &seen};
        if (io->n_inputs <= MOST_IO && io->n_outputs <= MOST_IO &&
            leat_session_create(model, &desc, &session, &err) == LEAT_OK) {
            run(session, io, 2, &n);
            run(session, io, 3, &n);
            leat_session_destroy(session);
        }
        leat_model_destroy(model);
    }
    fuzz_close(&fuzz);
    return 0;
}

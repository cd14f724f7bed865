/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/inputs.h"

#include <stdlib.h>
#include <string.h>

#define MOST_ELEMENTS (1u << 16)

fuzz_numbers fuzz_numbers_of(const uint8_t *data, size_t bytes)
{
    fuzz_numbers n = {0x9e3779b97f4a7c15u};
    for (size_t i = 0; i < bytes; i++) {
        n.state = (n.state ^ data[i]) * 0x100000001b3u; /* FNV-1a */
    }
    n.state |= 1;
    return n;
}

/* xorshift64* (Vigna, arXiv:1402.6246). */
uint64_t fuzz_next(fuzz_numbers *n)
{
    n->state ^= n->state >> 12;
    n->state ^= n->state << 25;
    n->state ^= n->state >> 27;
    return n->state * 0x2545f4914f6cdd1du;
}

static void fill_words(leat_array *array, fuzz_numbers *n)
{
    static const leat_string words[] = {{"", 0}, {"a", 1}, {"leat", 4}, {"\xc3\xa4 1", 4}};
    for (size_t i = 0; i < array->bytes / sizeof(leat_string); i++) {
        ((leat_string *)array->data)[i] = words[fuzz_next(n) % 4];
    }
}

/* Mostly small integers in the type's own form, so that indices, axes and sizes can be right. */
static void fill(leat_array *array, fuzz_numbers *n)
{
    size_t element = leat_dtype_bytes(array->dtype, 1);
    unsigned char *at = array->data;
    if (array->dtype == LEAT_DTYPE_STRING) {
        fill_words(array, n);
        return;
    }
    for (size_t i = 0; element != 0 && i + element <= array->bytes; i += element) {
        uint64_t r = fuzz_next(n);
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

int fuzz_make_input(const leat_io *io, int64_t unknown, fuzz_numbers *n, leat_array *out)
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

int fuzz_is_bearable(leat_session *session, const leat_array *in, size_t n, uint64_t most)
{
    leat_plan_report plan = {.struct_size = sizeof(plan)};
    leat_error err;
    uint64_t flops = 0;
    if (leat_session_warm(session, in, n, &err) != LEAT_OK ||
        leat_session_report(session, &plan, &err) != LEAT_OK) {
        return 1; /* as the run will find */
    }
    for (size_t i = 0; i < plan.n_nodes && flops <= most; i++) {
        flops += plan.nodes[i].flops < most ? plan.nodes[i].flops : most + 1;
    }
    return flops <= most;
}

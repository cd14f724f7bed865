/* SPDX-License-Identifier: Apache-2.0 */
#include "batcher/key.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/tensor.h"

#include <string.h>

static leat_status check_type(const leat_io *io, leat_error *err)
{
    return lt_is_movable(io->dtype)
               ? LEAT_OK
               : lt_fail(err, LEAT_UNSUPPORTED, "'%s': values of type %s cannot be batched",
                         io->name, leat_dtype_name(io->dtype));
}

leat_status lt_key_check_types(const leat_model_signature *io, leat_error *err)
{
    leat_status status = LEAT_OK;
    for (size_t i = 0; status == LEAT_OK && i < io->n_inputs; i++) {
        status = check_type(&io->inputs[i], err);
    }
    for (size_t o = 0; status == LEAT_OK && o < io->n_outputs; o++) {
        status = check_type(&io->outputs[o], err);
    }
    return status;
}

/* Whether the first dimension is not known, and not known to be another than `symbol`. */
static bool may_be_batch(const leat_io *io, const char *symbol)
{
    if (io->rank < 0) {
        return true;
    }
    return io->rank > 0 && io->shape[0] < 0 &&
           (symbol == NULL || io->dim_names[0] == NULL || strcmp(symbol, io->dim_names[0]) == 0);
}

leat_status lt_key_find_rows(lt_key_rules *rules, leat_error *err)
{
    const leat_model_signature *io = rules->io;
    const char *symbol = NULL;
    bool any = false;
    for (size_t i = 0; i < io->n_inputs; i++) {
        const leat_io *input = &io->inputs[i];
        leat_status status = check_type(input, err);
        if (status != LEAT_OK) {
            return status;
        }
        rules->batched[i] = may_be_batch(input, symbol);
        if (rules->batched[i] && !any) {
            symbol = input->rank > 0 ? input->dim_names[0] : NULL;
        }
        any |= rules->batched[i];
    }
    if (!any) {
        return lt_fail(err, LEAT_UNSUPPORTED,
                       "no input begins with a symbolic dimension: export the model with a dynamic "
                       "batch dimension, or set max_batch_size to 1");
    }
    for (size_t i = 0; i < io->n_outputs; i++) {
        const leat_io *output = &io->outputs[i];
        leat_status status = check_type(output, err);
        if (status == LEAT_OK &&
            !(output->rank < 0 || (output->rank > 0 && output->shape[0] < 0))) {
            status = lt_fail(err, LEAT_UNSUPPORTED,
                             "output '%s' does not begin with the batch dimension: its rows cannot "
                             "be told apart (max_batch_size 1 needs none)",
                             output->name);
        }
        if (status != LEAT_OK) {
            return status;
        }
    }
    return LEAT_OK;
}

static leat_status check_input(const leat_io *io, const leat_array *x, leat_error *err)
{
    if (x->dtype != io->dtype) {
        return lt_fail(err, LEAT_INVALID, "input '%s' is %s, the model takes %s", io->name,
                       leat_dtype_name(x->dtype), leat_dtype_name(io->dtype));
    }
    if (x->rank < 0 || x->rank > LEAT_MAX_RANK || (io->rank >= 0 && x->rank != io->rank)) {
        return lt_fail(err, LEAT_INVALID, "input '%s' has rank %d, the model takes %d", io->name,
                       x->rank, io->rank);
    }
    size_t count = 1;
    for (int32_t d = 0; d < x->rank; d++) {
        if (x->shape[d] < 0 ||
            (io->rank >= 0 && io->shape[d] >= 0 && x->shape[d] != io->shape[d]) ||
            !lt_mul(count, (size_t)x->shape[d], &count)) {
            return lt_fail(err, LEAT_INVALID, "input '%s': dimension %d is %lld", io->name, d,
                           (long long)x->shape[d]);
        }
    }
    size_t bytes = leat_dtype_bytes(x->dtype, count);
    if (x->bytes != bytes || (bytes == 0) != (count == 0) || (x->data == NULL && bytes > 0)) {
        return lt_fail(err, LEAT_INVALID, "input '%s' has %zu bytes, its shape asks for %zu",
                       io->name, x->data == NULL ? 0 : x->bytes, bytes);
    }
    return LEAT_OK;
}

/* rows: those of the inputs before, -1 for none. */
static leat_status check_rows(const leat_io *io, const leat_array *x, int64_t rows, leat_error *err)
{
    if (x->rank == 0 || x->shape[0] < 1 || x->shape[0] > INT32_MAX ||
        (rows >= 0 && x->shape[0] != rows)) {
        return lt_fail(
            err, LEAT_INVALID,
            "input '%s' must begin with the request's rows: at least 1, the same for all "
            "inputs",
            io->name);
    }
    return LEAT_OK;
}

static uint32_t axes_of(const leat_io *io, const char *symbol)
{
    uint32_t axes = 0;
    for (int32_t d = 1; d < io->rank; d++) {
        if (io->shape[d] < 0 && io->dim_names[d] != NULL && strcmp(io->dim_names[d], symbol) == 0) {
            axes |= 1u << d;
        }
    }
    return axes;
}

leat_status lt_key_find_padded(lt_key_rules *rules, const char *symbol, leat_error *err)
{
    uint32_t any = 0;
    for (size_t i = 0; i < rules->io->n_inputs; i++) {
        rules->padded_in[i] = axes_of(&rules->io->inputs[i], symbol);
        any |= rules->padded_in[i];
    }
    for (size_t o = 0; o < rules->io->n_outputs; o++) {
        rules->padded_out[o] = axes_of(&rules->io->outputs[o], symbol);
    }
    return any != 0
               ? LEAT_OK
               : lt_fail(err, LEAT_NOT_FOUND,
                         "no input has a dimension '%s' behind its first, which could be padded",
                         symbol);
}

/* Notes the length of input i's padded dimensions; *length is -1 before the first. */
static leat_status check_length(const lt_key_rules *rules, size_t i, const leat_array *x,
                                int64_t *length, leat_error *err)
{
    for (int32_t d = 1; rules->padded_in != NULL && d < x->rank; d++) {
        if ((rules->padded_in[i] >> d & 1) == 0) {
            continue;
        }
        if (*length >= 0 && x->shape[d] != *length) {
            return lt_fail(err, LEAT_INVALID, "input '%s': dimension %d is %lld, another's is %lld",
                           rules->io->inputs[i].name, d, (long long)x->shape[d],
                           (long long)*length);
        }
        *length = x->shape[d];
    }
    return LEAT_OK;
}

/* Writes the words of input i, whose padded dimensions have that length, and returns how many they
 * are. */
static uint32_t put_input(const lt_key_rules *rules, size_t i, const leat_array *x, int64_t length,
                          uint64_t *words)
{
    const bool rowwise = rules->batched != NULL && rules->batched[i];
    uint32_t n = 0;
    words[n++] = (uint64_t)x->rank;
    for (int32_t d = rowwise ? 1 : 0; d < x->rank; d++) {
        const bool padded = rules->padded_in != NULL && (rules->padded_in[i] >> d & 1) != 0;
        words[n++] = (uint64_t)(padded ? length : x->shape[d]);
    }
    if (rules->batched != NULL && !rowwise && x->bytes > 0) {
        memcpy(&words[n], x->data, x->bytes);
        n += (uint32_t)((x->bytes + 7) / 8);
    }
    return n;
}

leat_status lt_key_make(const lt_key_rules *rules, const leat_array *inputs, uint64_t group,
                        lt_request_kind *out, leat_error *err)
{
    const leat_model_signature *io = rules->io;
    int64_t rows = -1, length = -1;
    uint32_t at = 0;
    memset(out->words, 0, LT_KEY_WORDS((uint32_t)io->n_inputs) * sizeof(*out->words));
    out->words[at++] = group;
    out->length = out->padded = 0;
    for (size_t i = 0; i < io->n_inputs; i++) {
        const leat_array *x = &inputs[i];
        leat_status status = check_input(&io->inputs[i], x, err);
        status = status ? status : check_length(rules, i, x, &length, err);
        if (length > 0 && out->length == 0) { /* once: what it is padded to may change */
            out->length = length;
            out->padded = lt_buckets_padded(rules->buckets, length);
        }
        if (status == LEAT_OK && rules->batched != NULL && rules->batched[i]) {
            status = check_rows(&io->inputs[i], x, rows, err);
            rows = x->rank > 0 ? x->shape[0] : 0;
        } else if (status == LEAT_OK && rules->batched != NULL && x->bytes > LT_KEY_CONTENT_BYTES) {
            status = lt_fail(err, LEAT_INVALID,
                             "input '%s' has no batch dimension and %zu bytes: %u at most",
                             io->inputs[i].name, x->bytes, LT_KEY_CONTENT_BYTES);
        }
        if (status != LEAT_OK) {
            return status;
        }
        at += put_input(rules, i, x, out->padded, out->words + at);
    }
    out->rows = (uint32_t)(rows < 0 ? 1 : rows);
    return LEAT_OK;
}

uint64_t lt_key_hash(const uint64_t *words, uint32_t n_words)
{
    uint64_t hash = 14695981039346656037u;
    for (uint32_t i = 0; i < n_words; i++) {
        hash = (hash ^ words[i]) * 1099511628211u;
    }
    return hash ^ hash >> 32;
}

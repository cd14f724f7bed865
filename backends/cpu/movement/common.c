/* SPDX-License-Identifier: Apache-2.0 */
/* Names, axes and index lists; copies of rows. */
#include "movement/movement.h"

#include <stdio.h>

lt_move_label lt_move_name(const leat_node *node)
{
    lt_move_label label;
    snprintf(label.text, sizeof(label.text), "%s node '%s'", node->op, node->name);
    return label;
}

leat_status lt_move_no_memory(const leat_node *node, leat_error *err)
{
    return lt_cpu_fail(err, LEAT_NO_MEMORY, "%s: no memory for its plan", lt_move_name(node).text);
}

leat_status lt_move_axis(const leat_node *node, int64_t axis, int32_t rank, int32_t *out_axis,
                         leat_error *err)
{
    if (axis < -(int64_t)rank || axis >= rank) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: axis %lld is outside [-%d, %d)",
                           lt_move_name(node).text, (long long)axis, rank, rank);
    }
    *out_axis = (int32_t)(axis < 0 ? axis + rank : axis);
    return LEAT_OK;
}

leat_status lt_move_ints(const char *label, const char *what, leat_dtype dtype, const void *data,
                         int64_t count, int64_t *out, leat_error *err)
{
    if (dtype == LEAT_DTYPE_I64) {
        memcpy(out, data, (size_t)count * sizeof(int64_t));
    } else if (dtype == LEAT_DTYPE_I32) {
        for (int64_t i = 0; i < count; i++) {
            out[i] = ((const int32_t *)data)[i];
        }
    } else {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: %s has type %s, must be i32 or i64", label, what,
                           leat_dtype_name(dtype));
    }
    return LEAT_OK;
}

leat_status lt_move_list(const leat_node *node, const char *what, const leat_value *value,
                         int64_t limit, int64_t *out_count, leat_error *err)
{
    *out_count = value ? leat_value_count(value) : 0;
    if (*out_count > limit) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: %s has %lld elements, at most %lld make sense",
                           lt_move_name(node).text, what, (long long)*out_count, (long long)limit);
    }
    return LEAT_OK;
}

/* Runs of a length that the compiler knows. */
static inline void copy_runs(uint8_t *restrict out, int64_t out_stride, const uint8_t *restrict in,
                             int64_t in_stride, int64_t rows, const size_t bytes)
{
#pragma GCC unroll 4
    for (int64_t row = 0; row < rows; row++) {
        memcpy(out + row * out_stride, in + row * in_stride, bytes);
    }
}

void lt_move_runs(uint8_t *out, int64_t out_stride, const uint8_t *in, int64_t in_stride,
                  int64_t rows, int64_t bytes)
{
    switch (bytes) {
    case 0:
        break;
    case 1:
        copy_runs(out, out_stride, in, in_stride, rows, 1);
        break;
    case 2:
        copy_runs(out, out_stride, in, in_stride, rows, 2);
        break;
    case 4:
        copy_runs(out, out_stride, in, in_stride, rows, 4);
        break;
    case 8:
        copy_runs(out, out_stride, in, in_stride, rows, 8);
        break;
    default:
        for (int64_t row = 0; row < rows; row++) {
            lt_move_run(out + row * out_stride, in + row * in_stride, bytes);
        }
    }
}

/* Ranges are bytes of all rows in a line; they may begin and end inside a row. */
static void copy_row_range(void *argument, int64_t begin, int64_t end)
{
    const lt_move_rows *copy = argument;
    int64_t row = begin / copy->bytes, skip = begin % copy->bytes;
    if (skip != 0) {
        int64_t part = copy->bytes - skip < end - begin ? copy->bytes - skip : end - begin;
        lt_move_run(copy->out + row * copy->out_stride + skip,
                    copy->in + row * copy->in_stride + skip, part);
        begin += part;
        row++;
    }
    int64_t whole = (end - begin) / copy->bytes;
    lt_move_runs(copy->out + row * copy->out_stride, copy->out_stride,
                 copy->in + row * copy->in_stride, copy->in_stride, whole, copy->bytes);
    begin += whole * copy->bytes;
    if (begin < end) {
        lt_move_run(copy->out + (row + whole) * copy->out_stride,
                    copy->in + (row + whole) * copy->in_stride, end - begin);
    }
}

void lt_move_copy_rows(const lt_move_rows *copy, const leat_kernel_args *args)
{
    lt_move_rows job = *copy;
    if (job.out_stride == job.bytes && job.in_stride == job.bytes) {
        job.bytes *= job.rows;
        job.rows = 1;
    }
    lt_cpu_parallel_range(args, job.rows * job.bytes, 64, 2.0, copy_row_range, &job);
}

void lt_move_copy_packed(const lt_move_packed_rows *copy)
{
    int64_t group = 8 / copy->bits;
    bool whole = copy->count % group == 0 && copy->out_offset % group == 0 &&
                 copy->out_stride % group == 0 && copy->in_offset % group == 0 &&
                 copy->in_stride % group == 0;
    for (int64_t row = 0; row < copy->rows; row++) {
        int64_t to = copy->out_offset + row * copy->out_stride;
        int64_t from = copy->in_offset + row * copy->in_stride;
        if (whole) {
            memcpy(copy->out + to / group, copy->in + from / group, (size_t)(copy->count / group));
            continue;
        }
        for (int64_t i = 0; i < copy->count; i++) {
            lt_packed_set(copy->out, to + i, copy->bits,
                          lt_packed_get(copy->in, from + i, copy->bits));
        }
    }
}

#define FILL(type)                                                                                 \
    do {                                                                                           \
        type value;                                                                                \
        memcpy(&value, element, sizeof(value));                                                    \
        for (int64_t i = 0; i < count; i++) {                                                      \
            ((type *)out)[i] = value;                                                              \
        }                                                                                          \
    } while (0)

void lt_move_fill(uint8_t *out, const void *element, size_t bytes, int64_t count)
{
    switch (bytes) {
    case 1:
        memset(out, *(const uint8_t *)element, (size_t)count);
        break;
    case 2:
        FILL(lt_any16);
        break;
    case 4:
        FILL(lt_any32);
        break;
    case 8:
        FILL(lt_any64);
        break;
    default:
        for (int64_t i = 0; i < count; i++) {
            memcpy(out + i * (int64_t)bytes, element, bytes);
        }
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Copies by one index map per axis: padding and nearest-neighbour resizing.
 *
 * An output row, over the last axis, is one fill, or pieces of one input row: neighbouring indices
 * are copied together. A row with the same source as the row before it is copied from there, which
 * is in the cache. Bound by memory. */
#include "movement/movement.h"

typedef struct mapped_job {
    const lt_mapped *copy;
    uint8_t *out;
    const uint8_t *in;
    bool gather; /* runs are too short to be worth a memcpy each */
} mapped_job;

/* Input row of output row `row`, or -1 for the fill. */
static int64_t source_row(const lt_mapped *copy, int64_t row)
{
    int64_t at = 0, stride = 1;
    for (int32_t i = copy->rank - 2; i >= 0; i--) {
        int64_t index = copy->maps[i][row % copy->out_shape[i]];
        if (index < 0) {
            return -1;
        }
        row /= copy->out_shape[i];
        at += index * stride;
        stride *= copy->in_shape[i];
    }
    return at;
}

static void copy_row(const lt_mapped *copy, uint8_t *out, const uint8_t *in)
{
    int32_t last = copy->rank - 1;
    const int64_t *map = copy->maps[last];
    int64_t count = copy->out_shape[last];
    int64_t unit = copy->unit * (int64_t)copy->element_bytes;
    for (int64_t i = 0, run; i < count; i += run) {
        run = 1;
        if (map[i] < 0) {
            while (i + run < count && map[i + run] < 0) {
                run++;
            }
            lt_move_fill(out + i * unit, copy->fill, copy->element_bytes, run * copy->unit);
            continue;
        }
        while (i + run < count && map[i + run] == map[i] + run) {
            run++;
        }
        memcpy(out + i * unit, in + map[i] * unit, (size_t)(run * unit));
    }
}

#define GATHER(type)                                                                               \
    do {                                                                                           \
        type fill = 0;                                                                             \
        memcpy(&fill, copy->fill, sizeof(fill));                                                   \
        for (int64_t i = 0; i < count; i++) {                                                      \
            ((type *)out)[i] = map[i] < 0 ? fill : ((const type *)in)[map[i]];                     \
        }                                                                                          \
    } while (0)

static void gather_row(const lt_mapped *copy, uint8_t *out, const uint8_t *in)
{
    int32_t last = copy->rank - 1;
    const int64_t *map = copy->maps[last];
    int64_t count = copy->out_shape[last];
    switch (copy->element_bytes) {
    case 1:
        GATHER(uint8_t);
        break;
    case 2:
        GATHER(lt_any16);
        break;
    case 4:
        GATHER(lt_any32);
        break;
    default:
        GATHER(lt_any64);
    }
}

static void run_rows(void *argument, int64_t begin, int64_t end)
{
    const mapped_job *job = argument;
    const lt_mapped *copy = job->copy;
    int32_t last = copy->rank - 1;
    int64_t unit = copy->unit * (int64_t)copy->element_bytes;
    int64_t out_bytes = copy->out_shape[last] * unit, in_bytes = copy->in_shape[last] * unit;
    int64_t before = -2;
    for (int64_t row = begin; row < end; row++) {
        uint8_t *out = job->out + row * out_bytes;
        int64_t from = source_row(copy, row);
        if (from == before) {
            memcpy(out, out - out_bytes, (size_t)out_bytes);
        } else if (from < 0) {
            lt_move_fill(out, copy->fill, copy->element_bytes, copy->out_shape[last] * copy->unit);
        } else if (job->gather) {
            gather_row(copy, out, job->in + from * in_bytes);
        } else {
            copy_row(copy, out, job->in + from * in_bytes);
        }
        before = from;
    }
}

void lt_mapped_run(const lt_mapped *copy, const leat_kernel_args *args, void *out, const void *in)
{
    mapped_job job = {copy, out, in, false};
    int32_t last = copy->rank - 1;
    int64_t rows = lt_move_product(copy->out_shape, 0, last);
    int64_t cols = copy->out_shape[last];
    if (rows == 0 || cols == 0 || copy->unit == 0) {
        return;
    }
    if (copy->unit == 1 && copy->element_bytes <= 8) {
        int64_t runs = 1;
        for (int64_t i = 1; i < cols; i++) {
            runs += copy->maps[last][i] != copy->maps[last][i - 1] + 1;
        }
        job.gather = runs > cols / 16 + 4;
    }
    double bytes = 2.0 * (double)cols * (double)copy->unit * (double)copy->element_bytes;
    lt_cpu_parallel_range(args, rows, 1, bytes, run_rows, &job);
}

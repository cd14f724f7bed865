/* SPDX-License-Identifier: Apache-2.0 */
/* Broadcasts of f32 whose lines are short: an operand that is not one run is written out for a tile
 * of lines, so that the function sees runs of a tile.
 *
 *     a  [ 0 1 | 2 3 | 4 5 ]     b  [ 0 ] [ 1 ] [ 2 ]  ->  [ 0 0 | 1 1 | 2 2 ]    one tile
 */
#include "elementwise/short_lines.h"

#define TILE 1024       /* elements: 4 KB an operand stay in L1 */
#define SHORT_LENGTH 15 /* of a line; longer ones go one by one */
#define LEAST_LINES 8

typedef float loose __attribute__((aligned(1), may_alias)); /* constants may be unaligned */

typedef struct short_run {
    const lt_broadcast *b;
    const float *const *x;
    lt_tile_fn fn;
    const void *argument;
    int64_t tile;  /* lines, neighbours in the dimension before the last */
    int64_t tiles; /* of that dimension */
} short_run;

bool lt_broadcast_is_short(const lt_broadcast *b)
{
    return b->inputs == 2 && b->rank >= 2 && b->length <= SHORT_LENGTH &&
           b->dims[b->rank - 2] >= LEAST_LINES;
}

/* Each number `length` times. */
static inline void repeat_numbers(float *restrict out, const loose *restrict in, int64_t step,
                                  int64_t lines, const int64_t length)
{
    for (int64_t i = 0; i < lines; i++) {
        for (int64_t k = 0; k < length; k++) {
            out[i * length + k] = in[i * step];
        }
    }
}

/* `lines` lines that are `step` apart and advance by `inner`, 0 or 1, as one run. */
static void write_out(float *out, const float *in, int64_t step, int64_t inner, int64_t lines,
                      int64_t length)
{
    if (inner == 0 && length == 2 && step == 1) {
        repeat_numbers(out, in, 1, lines, 2);
    } else if (inner == 0) {
        repeat_numbers(out, in, step, lines, length);
    } else {
        for (int64_t i = 0; i < lines; i++) {
            memcpy(out + i * length, (const char *)in + (size_t)(i * step) * sizeof(float),
                   (size_t)length * sizeof(float));
        }
    }
}

/* Ranges are of tiles. A line that repeats is written out once while it stays the same. */
static void run_tiles(void *argument, int64_t begin, int64_t end)
{
    const short_run *r = argument;
    const lt_broadcast *b = r->b;
    const int32_t last = b->rank - 1;
    const int64_t length = b->length, lines = b->dims[last - 1];
    float written[2][TILE];
    int64_t held_at[2] = {-1, -1}, held_lines[2] = {0, 0};
    for (int64_t item = begin; item < end; item++) {
        const int64_t first = item % r->tiles * r->tile;
        const int64_t n = lines - first < r->tile ? lines - first : r->tile;
        const float *x[2];
        int64_t stride[2];
        for (int i = 0; i < 2; i++) {
            const int64_t step = b->strides[i][last - 1], inner = b->strides[i][last];
            int64_t at = first * step, rest = item / r->tiles;
            for (int32_t d = last - 2; d >= 0; d--) {
                at += rest % b->dims[d] * b->strides[i][d];
                rest /= b->dims[d];
            }
            const bool one = step == 0 && inner == 0, run = inner == 1 && step == length;
            x[i] = one || run ? r->x[i] + at : written[i];
            stride[i] = !one;
            if (!one && !run && (step != 0 || held_at[i] != at || held_lines[i] < n)) {
                write_out(written[i], r->x[i] + at, step, inner, n, length);
                held_at[i] = at;
                held_lines[i] = n;
            }
        }
        r->fn(r->argument, x, stride, (item / r->tiles * lines + first) * length, n * length);
    }
}

void lt_broadcast_run_short(const lt_broadcast *b, double bytes_per_element, const float *const *x,
                            lt_tile_fn fn, const void *argument, const leat_kernel_args *args)
{
    if (b->length == 0 || b->lines == 0) {
        return;
    }
    const int64_t lines = b->dims[b->rank - 2];
    const int64_t most = TILE / b->length, tile = lines < most ? lines : most;
    short_run r = {b, x, fn, argument, tile, (lines + tile - 1) / tile};
    lt_cpu_parallel_range(args, b->lines / lines * r.tiles, 1,
                          bytes_per_element * (double)(tile * b->length), run_tiles, &r);
}

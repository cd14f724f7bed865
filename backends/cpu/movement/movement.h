/* SPDX-License-Identifier: Apache-2.0 */
/* What the operators that only move elements share. */
#ifndef LT_CPU_MOVEMENT_MOVEMENT_H
#define LT_CPU_MOVEMENT_MOVEMENT_H

#include "smallfloat.h"

#define LT_MOVE_DIMS 16 /* of a strided copy: twice LEAT_MAX_RANK, for blocks and repeats */

/* Elements seen as bits: any type may be under them, at any address. */
typedef uint16_t lt_any16 __attribute__((aligned(1), may_alias));
typedef uint32_t lt_any32 __attribute__((aligned(1), may_alias));
typedef uint64_t lt_any64 __attribute__((aligned(1), may_alias));

/* "Slice node 'name'", cut to fit: how messages begin. Kernels whose launch can fail keep it. */
typedef struct lt_move_label {
    char text[80];
} lt_move_label;
lt_move_label lt_move_name(const leat_node *node);

/* NO_MEMORY for a plan_alloc that returned NULL. */
leat_status lt_move_no_memory(const leat_node *node, leat_error *err);

/* An axis attribute counted from the front.
 * Errors:   INVALID when it is outside [-rank, rank). */
leat_status lt_move_axis(const leat_node *node, int64_t axis, int32_t rank, int32_t *out_axis,
                         leat_error *err);

/* Copies `count` integers (I32 or I64) to out. `what` names the input in messages.
 * Errors:   INVALID for another dtype. */
leat_status lt_move_ints(const char *label, const char *what, leat_dtype dtype, const void *data,
                         int64_t count, int64_t *out, leat_error *err);

/* Elements of a list input; 0 when it is absent.
 * Errors:   INVALID when it has more than `limit`. */
leat_status lt_move_list(const leat_node *node, const char *what, const leat_value *value,
                         int64_t limit, int64_t *out_count, leat_error *err);

/* True when prepare can read the input: it is absent or its data is known. */
static inline bool lt_move_known(const leat_value *value)
{
    return value == NULL || value->data != NULL || leat_value_count(value) == 0;
}

/* Product of shape[begin..end). */
static inline int64_t lt_move_product(const int64_t *shape, int32_t begin, int32_t end)
{
    int64_t product = 1;
    for (int32_t i = begin; i < end; i++) {
        product *= shape[i];
    }
    return product;
}

/* Copies a run. Short ones, as of a head or of a few channels, by words in place: a call of memcpy
 * costs more than they do. */
static inline void lt_move_run(uint8_t *out, const uint8_t *in, int64_t bytes)
{
    if (bytes < 16 || bytes > 256) {
        memcpy(out, in, (size_t)bytes);
        return;
    }
    for (int64_t i = 0; i < bytes - 16; i += 16) {
        memcpy(out + i, in + i, 16);
    }
    memcpy(out + bytes - 16, in + bytes - 16, 16); /* the last word may lie over the one before */
}

/* Copies `rows` runs of `bytes` bytes, `out_stride` and `in_stride` bytes apart. Those of one
 * number go word by word. */
void lt_move_runs(uint8_t *out, int64_t out_stride, const uint8_t *in, int64_t in_stride,
                  int64_t rows, int64_t bytes);

/* Copies `rows` runs of `bytes` bytes, in parallel when that is much. */
typedef struct lt_move_rows {
    uint8_t *out;
    const uint8_t *in;
    int64_t rows;
    int64_t bytes;
    int64_t out_stride; /* bytes from a row to the next */
    int64_t in_stride;
} lt_move_rows;
void lt_move_copy_rows(const lt_move_rows *copy, const leat_kernel_args *args);

/* The same for packed elements; strides and offsets in elements, `bits` wide. Serial. */
typedef struct lt_move_packed_rows {
    uint8_t *out;
    const uint8_t *in;
    unsigned bits;
    int64_t rows;
    int64_t count;
    int64_t out_offset, out_stride;
    int64_t in_offset, in_stride;
} lt_move_packed_rows;
void lt_move_copy_packed(const lt_move_packed_rows *copy);

/* The kernel of an operator whose output 0 is the bytes of input 0. */
leat_status lt_cpu_view_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                leat_plan *plan, leat_kernel *out_kernel, leat_error *err);

/* Writes `count` elements of `bytes` (1, 2, 4, 8, 16) each. */
void lt_move_fill(uint8_t *out, const void *element, size_t bytes, int64_t count);

/* ---- strided copies ------------------------------------------------------------------------- */

/* out, dense and row-major, of `shape`:  out[i0, i1, ...] = in[offset + i0 * strides[0] + ...].
 * Strides and offset are in elements and may be 0 or negative. */
typedef struct lt_strided {
    int32_t rank;
    int64_t shape[LT_MOVE_DIMS];
    int64_t strides[LT_MOVE_DIMS];
    int64_t offset;
    leat_dtype dtype;
} lt_strided;

typedef void (*lt_transpose_fn)(void *out, int64_t out_stride, const void *in, int64_t in_stride,
                                int64_t rows, int64_t cols);

/* A strided copy made ready: dimensions merged, inner loop chosen. */
typedef struct lt_strided_plan {
    const char *name; /* of the inner loop */
    int32_t rank;
    int64_t shape[LT_MOVE_DIMS];
    int64_t strides[LT_MOVE_DIMS];
    int64_t offset;
    size_t bytes;  /* of an element; 0: packed */
    unsigned bits; /* of a packed element */
    int32_t kind;
    lt_transpose_fn transpose;
} lt_strided_plan;

void lt_strided_prepare(const lt_strided *copy, lt_cpu_isa isa, lt_strided_plan *out_plan);
void lt_strided_run(const lt_strided_plan *plan, const leat_kernel_args *args, void *out,
                    const void *in);

/* out[i * out_stride + j] = in[j * in_stride + i], i < rows, j < cols, strides in elements of
 * `bytes` = 1, 2, 4, 8 or 16. */
lt_transpose_fn lt_cpu_transpose_portable(size_t bytes);
lt_transpose_fn lt_cpu_transpose_avx2(size_t bytes);
lt_transpose_fn lt_cpu_transpose_avx512(size_t bytes);

/* ---- mapped copies -------------------------------------------------------------------------- */

/* out[i0, i1, ..., :] = in[maps[0][i0], maps[1][i1], ..., :], or the fill element where any map
 * says -1. Each map has out_shape[k] entries below in_shape[k]. */
typedef struct lt_mapped {
    int32_t rank;
    int64_t in_shape[LEAT_MAX_RANK];
    int64_t out_shape[LEAT_MAX_RANK];
    const int64_t *maps[LEAT_MAX_RANK];
    size_t element_bytes;
    int64_t unit; /* elements that go together: what follows the last axis */
    const void *fill;
} lt_mapped;
void lt_mapped_run(const lt_mapped *copy, const leat_kernel_args *args, void *out, const void *in);

#endif

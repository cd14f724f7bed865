/* SPDX-License-Identifier: Apache-2.0 */
/* Strided copies:  out[i0, ..., in] = in[offset + i0 * s0 + ... + in * sn],  out dense.
 *
 * Dimensions of one element vanish, neighbours that advance together merge, and a short innermost
 * run becomes one wider element. Then one of four loops runs:
 *
 *   runs       innermost stride 1: memcpy
 *   transpose  another dimension has stride 1: rectangles of it and the innermost one are turned
 *   elements   anything else: one element at a time (stride 0 and negative strides)
 *   packed     2- and 4-bit elements whose runs are not whole bytes: a byte of output at a time
 *
 * Bound by memory. Work is split over the outer dimensions and, for long runs, within them. */
#include "movement/movement.h"

#include "sizes.h"

enum {
    KIND_RUNS,
    KIND_TRANSPOSE,
    KIND_ELEMENTS,
    KIND_PACKED
};

#define RUN_BYTES (32 << 10) /* a long run is split into pieces of this many bytes */
#define TILE_COLS 256        /* columns of a rectangle */
#define TILE_ELEMENTS 16384  /* elements of a rectangle, about */

#if defined(__x86_64__)
static lt_transpose_fn pick_transpose(lt_cpu_isa isa, size_t bytes)
{
    return isa == LT_CPU_AVX512 ? lt_cpu_transpose_avx512(bytes)
           : isa == LT_CPU_AVX2 ? lt_cpu_transpose_avx2(bytes)
                                : lt_cpu_transpose_portable(bytes);
}
#else
static lt_transpose_fn pick_transpose(lt_cpu_isa isa, size_t bytes)
{
    (void)isa;
    return lt_cpu_transpose_portable(bytes);
}
#endif

/* Drops dimensions of one element and merges those that advance together. */
static void merge_dimensions(lt_strided_plan *plan)
{
    int32_t rank = 0;
    for (int32_t i = 0; i < plan->rank; i++) {
        if (plan->shape[i] == 1) {
            continue;
        }
        if (rank > 0 && plan->strides[rank - 1] == plan->strides[i] * plan->shape[i]) {
            plan->shape[rank - 1] *= plan->shape[i];
            plan->strides[rank - 1] = plan->strides[i];
        } else {
            plan->shape[rank] = plan->shape[i];
            plan->strides[rank] = plan->strides[i];
            rank++;
        }
    }
    if (rank == 0) {
        plan->shape[0] = 1;
        plan->strides[0] = 1;
        rank = 1;
    }
    plan->rank = rank;
}

/* Makes `group` elements one, if the innermost run and every stride are multiples of it. */
static bool widen(lt_strided_plan *plan, int64_t group)
{
    int32_t last = plan->rank - 1;
    if (plan->strides[last] != 1 || plan->shape[last] % group != 0 || plan->offset % group != 0) {
        return false;
    }
    for (int32_t i = 0; i < last; i++) {
        if (plan->strides[i] % group != 0) {
            return false;
        }
    }
    plan->shape[last] /= group;
    for (int32_t i = 0; i < last; i++) {
        plan->strides[i] /= group;
    }
    plan->offset /= group;
    return true;
}

/* The dimension with stride 1 that the transposing loop takes beside the last one, or -1. */
static int32_t find_unit_stride(const lt_strided_plan *plan)
{
    for (int32_t i = plan->rank - 2; i >= 0; i--) {
        if (plan->strides[i] == 1) {
            return i;
        }
    }
    return -1;
}

static void choose_kind(lt_strided_plan *plan, lt_cpu_isa isa)
{
    int32_t last = plan->rank - 1;
    int32_t unit = find_unit_stride(plan);
    if (plan->strides[last] == 1) {
        plan->kind = KIND_RUNS;
        plan->name = "copy_runs";
    } else if (unit >= 0 && plan->strides[last] > 0) {
        plan->kind = KIND_TRANSPOSE;
        plan->name = "copy_transpose";
        plan->transpose = pick_transpose(isa, plan->bytes);
    } else {
        plan->kind = KIND_ELEMENTS;
        plan->name = "copy_elements";
    }
}

void lt_strided_prepare(const lt_strided *copy, lt_cpu_isa isa, lt_strided_plan *out_plan)
{
    memset(out_plan, 0, sizeof(*out_plan));
    out_plan->rank = copy->rank;
    memcpy(out_plan->shape, copy->shape, sizeof(copy->shape));
    memcpy(out_plan->strides, copy->strides, sizeof(copy->strides));
    out_plan->offset = copy->offset;
    out_plan->bits = lt_packed_bits(copy->dtype);
    out_plan->bytes = lt_cpu_element_bytes(copy->dtype);
    merge_dimensions(out_plan);
    if (out_plan->bits != 0) {
        if (widen(out_plan, 8 / out_plan->bits)) {
            out_plan->bits = 0;
            merge_dimensions(out_plan);
        } else {
            out_plan->bytes = 0;
            out_plan->kind = KIND_PACKED;
            out_plan->name = "copy_packed";
            return;
        }
    }
    int32_t last = out_plan->rank - 1;
    int64_t group = out_plan->shape[last];
    size_t bytes = out_plan->bytes * (size_t)group;
    if (out_plan->rank > 1 && group <= 16 && out_plan->strides[last] == 1 &&
        (bytes == 2 || bytes == 4 || bytes == 8 || bytes == 16) && widen(out_plan, group)) {
        out_plan->bytes = bytes;
        merge_dimensions(out_plan);
    }
    choose_kind(out_plan, isa);
}

typedef struct strided_job {
    const lt_strided_plan *plan;
    uint8_t *out;
    const uint8_t *in;
    int32_t n_outer;
    int64_t shape[LT_MOVE_DIMS]; /* of the outer dimensions */
    int64_t in_strides[LT_MOVE_DIMS];
    int64_t out_strides[LT_MOVE_DIMS];
    int64_t pieces; /* work items per outer index */
    int64_t piece;  /* elements of a run, or columns of a rectangle, of one item */
    int64_t rows, row_piece;
    int64_t cols;
    int64_t row_stride, col_stride; /* transpose: of the output's rows, of the input's columns */
} strided_job;

/* Position of an outer index in input and output, elements. */
static void locate(const strided_job *job, int64_t index, int64_t *out_in, int64_t *out_out)
{
    int64_t in = job->plan->offset, out = 0;
    for (int32_t i = job->n_outer - 1; i >= 0; i--) {
        int64_t at = index % job->shape[i];
        index /= job->shape[i];
        in += at * job->in_strides[i];
        out += at * job->out_strides[i];
    }
    *out_in = in;
    *out_out = out;
}

/* Outer indices one after the other: without the divisions of locate(). */
typedef struct walk {
    int64_t at[LT_MOVE_DIMS];
    int64_t in, out; /* position, elements */
} walk;

static void walk_start(const strided_job *job, int64_t index, walk *w)
{
    locate(job, index, &w->in, &w->out);
    for (int32_t i = job->n_outer - 1; i >= 0; i--) {
        w->at[i] = index % job->shape[i];
        index /= job->shape[i];
    }
}

static inline void walk_next(const strided_job *job, walk *w)
{
    for (int32_t i = job->n_outer - 1; i >= 0; i--) {
        w->in += job->in_strides[i];
        w->out += job->out_strides[i];
        if (++w->at[i] < job->shape[i]) {
            return;
        }
        w->in -= job->shape[i] * job->in_strides[i];
        w->out -= job->shape[i] * job->out_strides[i];
        w->at[i] = 0;
    }
}

/* A range begins and ends at any piece of a run. */
static void run_runs(void *argument, int64_t begin, int64_t end)
{
    const strided_job *job = argument;
    int64_t bytes = (int64_t)job->plan->bytes, piece = begin % job->pieces;
    walk w;
    walk_start(job, begin / job->pieces, &w);
    for (int64_t item = begin; item < end; item++) {
        int64_t from = piece * job->piece;
        int64_t count = job->cols - from < job->piece ? job->cols - from : job->piece;
        lt_move_run(job->out + (w.out + from) * bytes, job->in + (w.in + from) * bytes,
                    count * bytes);
        if (++piece == job->pieces) {
            piece = 0;
            walk_next(job, &w);
        }
    }
}

static void run_transpose(void *argument, int64_t begin, int64_t end)
{
    const strided_job *job = argument;
    int64_t bytes = (int64_t)job->plan->bytes;
    int64_t row_pieces = (job->rows + job->row_piece - 1) / job->row_piece;
    for (int64_t item = begin; item < end; item++) {
        int64_t in, out;
        locate(job, item / job->pieces, &in, &out);
        int64_t row = item % job->pieces % row_pieces * job->row_piece;
        int64_t col = item % job->pieces / row_pieces * job->piece;
        int64_t rows = job->rows - row < job->row_piece ? job->rows - row : job->row_piece;
        int64_t cols = job->cols - col < job->piece ? job->cols - col : job->piece;
        job->plan->transpose(job->out + (out + row * job->row_stride + col) * bytes,
                             job->row_stride, job->in + (in + col * job->col_stride + row) * bytes,
                             job->col_stride, rows, cols);
    }
}

#define COPY_STRIDED(type)                                                                         \
    do {                                                                                           \
        const type *from = (const type *)job->in + w.in;                                           \
        type *to = (type *)job->out + w.out;                                                       \
        for (int64_t i = 0; i < job->cols; i++) {                                                  \
            to[i] = from[i * job->col_stride];                                                     \
        }                                                                                          \
    } while (0)

static void run_elements(void *argument, int64_t begin, int64_t end)
{
    const strided_job *job = argument;
    walk w;
    walk_start(job, begin, &w);
    for (int64_t item = begin; item < end; item++, walk_next(job, &w)) {
        switch (job->plan->bytes) {
        case 1:
            COPY_STRIDED(uint8_t);
            break;
        case 2:
            COPY_STRIDED(lt_any16);
            break;
        case 4:
            COPY_STRIDED(lt_any32);
            break;
        case 8:
            COPY_STRIDED(lt_any64);
            break;
        default:
            for (int64_t i = 0; i < job->cols; i++) {
                memcpy(job->out + (w.out + i) * 16, job->in + (w.in + i * job->col_stride) * 16,
                       16);
            }
        }
    }
}

/* Items are bytes of the output. */
static void run_packed(void *argument, int64_t begin, int64_t end)
{
    const strided_job *job = argument;
    unsigned bits = job->plan->bits;
    int64_t per_byte = 8 / bits, total = lt_move_product(job->shape, 0, job->n_outer);
    for (int64_t byte = begin; byte < end; byte++) {
        unsigned value = 0;
        for (int64_t k = 0; k < per_byte && byte * per_byte + k < total; k++) {
            int64_t in, out;
            locate(job, byte * per_byte + k, &in, &out);
            value |= lt_packed_get(job->in, in, bits) << (unsigned)k * bits;
        }
        job->out[byte] = (uint8_t)value;
    }
}

/* Dimensions [0, count) without `skip` become the outer ones. */
static void set_outer(strided_job *job, int32_t count, int32_t skip)
{
    const lt_strided_plan *plan = job->plan;
    int64_t out_stride = lt_move_product(plan->shape, count, plan->rank);
    int64_t out_strides[LT_MOVE_DIMS];
    for (int32_t i = count - 1; i >= 0; i--) {
        out_strides[i] = out_stride;
        out_stride *= plan->shape[i];
    }
    for (int32_t i = 0; i < count; i++) {
        if (i != skip) {
            job->shape[job->n_outer] = plan->shape[i];
            job->in_strides[job->n_outer] = plan->strides[i];
            job->out_strides[job->n_outer++] = out_strides[i];
        }
    }
    job->row_stride = skip >= 0 ? out_strides[skip] : 0;
}

void lt_strided_run(const lt_strided_plan *plan, const leat_kernel_args *args, void *out,
                    const void *in)
{
    strided_job job = {.plan = plan, .out = out, .in = in, .pieces = 1};
    int32_t last = plan->rank - 1;
    int64_t total = lt_move_product(plan->shape, 0, plan->rank);
    if (total == 0) {
        return;
    }
    double bytes = 2.0 * (double)plan->bytes * (double)total;
    job.cols = plan->shape[last];
    job.col_stride = plan->strides[last];
    if (plan->kind == KIND_PACKED) {
        set_outer(&job, plan->rank, -1);
        int64_t items = lt_divide_up(total, 8 / plan->bits);
        lt_cpu_parallel_range(args, items, 1, 32.0, run_packed, &job);
    } else if (plan->kind == KIND_TRANSPOSE) {
        int32_t unit = find_unit_stride(plan);
        set_outer(&job, last, unit);
        job.rows = plan->shape[unit];
        job.piece = job.cols < TILE_COLS ? job.cols : TILE_COLS;
        job.row_piece = lt_divide_up(TILE_ELEMENTS / job.piece, 64) * 64;
        job.pieces = lt_divide_up(job.cols, job.piece) * lt_divide_up(job.rows, job.row_piece);
        int64_t items = total / (job.rows * job.cols) * job.pieces;
        lt_cpu_parallel_range(args, items, 1, bytes / (double)items, run_transpose, &job);
    } else {
        set_outer(&job, last, -1);
        if (plan->kind == KIND_RUNS) {
            job.piece = lt_divide_up(RUN_BYTES, (int64_t)plan->bytes);
            job.pieces = lt_divide_up(job.cols, job.piece);
        }
        int64_t items = total / job.cols * job.pieces;
        lt_cpu_parallel_range(args, items, 1, bytes / (double)items,
                              plan->kind == KIND_RUNS ? run_runs : run_elements, &job);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* One pass of linear or cubic resizing over up to two neighbouring axes:
 *
 *     [outer, h, w, inner]  ->  [outer, out_h, out_w, inner]
 *
 * A task makes a range of output rows. It keeps the last few input rows, resized across, in a ring
 * in its workspace, so that every input row is read and resized once per task; then it combines
 * them downwards. Types other than f32 and f64 are widened and narrowed row by row. */
#include "movement/resize.h"

#include "sizes.h"

#include <math.h>

/* ---- conversion ----------------------------------------------------------------------------- */

#define LOAD(type, convert)                                                                        \
    if (wide) {                                                                                    \
        for (int64_t i = 0; i < n; i++) {                                                          \
            ((double *)out)[i] = (double)convert(((const type *)in)[at + i]);                      \
        }                                                                                          \
    } else {                                                                                       \
        for (int64_t i = 0; i < n; i++) {                                                          \
            ((float *)out)[i] = (float)convert(((const type *)in)[at + i]);                        \
        }                                                                                          \
    }                                                                                              \
    break

#define SAME(x) (x)

void lt_resize_load(leat_dtype dtype, const void *in, int64_t at, int64_t n, bool wide, void *out)
{
    switch (dtype) {
    case LEAT_DTYPE_F64:
        LOAD(double, SAME);
    case LEAT_DTYPE_F16:
        LOAD(uint16_t, lt_f16_to_f32);
    case LEAT_DTYPE_BF16:
        LOAD(uint16_t, lt_bf16_to_f32);
    case LEAT_DTYPE_I8:
        LOAD(int8_t, SAME);
    case LEAT_DTYPE_U8:
        LOAD(uint8_t, SAME);
    case LEAT_DTYPE_I16:
        LOAD(int16_t, SAME);
    case LEAT_DTYPE_U16:
        LOAD(uint16_t, SAME);
    case LEAT_DTYPE_I32:
        LOAD(int32_t, SAME);
    case LEAT_DTYPE_U32:
        LOAD(uint32_t, SAME);
    case LEAT_DTYPE_I64:
        LOAD(int64_t, SAME);
    case LEAT_DTYPE_U64:
        LOAD(uint64_t, SAME);
    default:
        LOAD(float, SAME);
    }
}

#define STORE(type, convert)                                                                       \
    for (int64_t i = 0; i < n; i++) {                                                              \
        double x = wide ? ((const double *)in)[i] : (double)((const float *)in)[i];                \
        ((type *)out)[at + i] = (type)convert(x);                                                  \
    }                                                                                              \
    break

/* high is exclusive: a power of two, exact also for 64 bits */
#define STORE_INT(type, low, high, largest)                                                        \
    for (int64_t i = 0; i < n; i++) {                                                              \
        double x = wide ? ((const double *)in)[i] : (double)((const float *)in)[i];                \
        x = nearbyint(x);                                                                          \
        ((type *)out)[at + i] = x >= (high) ? (type)(largest) : x > (low) ? (type)x : (type)(low); \
    }                                                                                              \
    break

#define TO_F16(x) lt_f32_to_f16((float)(x))
#define TO_BF16(x) lt_f32_to_bf16((float)(x))

void lt_resize_store(leat_dtype dtype, void *out, int64_t at, int64_t n, bool wide, const void *in)
{
    switch (dtype) {
    case LEAT_DTYPE_F64:
        STORE(double, SAME);
    case LEAT_DTYPE_F16:
        STORE(uint16_t, TO_F16);
    case LEAT_DTYPE_BF16:
        STORE(uint16_t, TO_BF16);
    case LEAT_DTYPE_BOOL:
        STORE(uint8_t, 0.0 !=);
    case LEAT_DTYPE_I8:
        STORE_INT(int8_t, -0x1p7, 0x1p7, INT8_MAX);
    case LEAT_DTYPE_U8:
        STORE_INT(uint8_t, 0.0, 0x1p8, UINT8_MAX);
    case LEAT_DTYPE_I16:
        STORE_INT(int16_t, -0x1p15, 0x1p15, INT16_MAX);
    case LEAT_DTYPE_U16:
        STORE_INT(uint16_t, 0.0, 0x1p16, UINT16_MAX);
    case LEAT_DTYPE_I32:
        STORE_INT(int32_t, -0x1p31, 0x1p31, INT32_MAX);
    case LEAT_DTYPE_U32:
        STORE_INT(uint32_t, 0.0, 0x1p32, UINT32_MAX);
    case LEAT_DTYPE_I64:
        STORE_INT(int64_t, -0x1p63, 0x1p63, INT64_MAX);
    case LEAT_DTYPE_U64:
        STORE_INT(uint64_t, 0.0, 0x1p64, UINT64_MAX);
    default:
        STORE(float, SAME);
    }
}

/* ---- rows ----------------------------------------------------------------------------------- */

typedef struct pass_job {
    const lt_resize_pass *pass;
    const uint8_t *in;
    uint8_t *out;
    uint8_t *workspace;
    size_t task_bytes;
    int64_t rows, step;
} pass_job;

/* A task's workspace: a ring of resized rows, a widened input row, an output row to be narrowed. */
typedef struct task_space {
    uint8_t *ring, *in_row, *out_row;
    int64_t row_bytes; /* of a row of the ring */
} task_space;

static int64_t ring_rows(const lt_resize_pass *pass)
{
    return pass->down.taps > 1 ? pass->down.taps : 1;
}

static leat_dtype inner_dtype(const lt_resize_pass *pass)
{
    return pass->wide ? LEAT_DTYPE_F64 : LEAT_DTYPE_F32;
}

size_t lt_resize_pass_bytes(const lt_resize_pass *pass)
{
    int64_t element = pass->wide ? 8 : 4;
    int64_t out_row = (int64_t)lt_whole_lines((size_t)(pass->out_w * pass->inner * element));
    int64_t in_row = (int64_t)lt_whole_lines((size_t)(pass->w * pass->inner * element));
    return (size_t)((ring_rows(pass) + 1) * out_row + in_row);
}

/* Input row `row`, widened if need be and resized across; in place when nothing is to be done. */
static const void *resized_row(const pass_job *job, const task_space *space, int64_t row,
                               int64_t slot)
{
    const lt_resize_pass *pass = job->pass;
    int64_t n = pass->w * pass->inner;
    bool same = pass->from == inner_dtype(pass);
    void *target = space->ring + slot * space->row_bytes;
    const void *in = job->in + row * n * (int64_t)lt_cpu_element_bytes(pass->from);
    if (!same) {
        void *widened = pass->across.taps ? space->in_row : target;
        lt_resize_load(pass->from, in, 0, n, pass->wide, widened);
        in = widened;
    }
    if (pass->across.taps == 0) {
        return in;
    }
    if (pass->wide) {
        pass->kernels->across_wide(target, in, &pass->across, pass->out_w, pass->inner,
                                   pass->outside);
    } else {
        pass->kernels->across(target, in, &pass->across, pass->out_w, pass->inner,
                              (float)pass->outside);
    }
    return target;
}

/* Combines the rows of one output row; pointers hold their places in `at`. */
static void combine(const lt_resize_pass *pass, void *out, const void *const *at, int64_t oh,
                    int64_t n)
{
    int64_t taps = pass->down.taps;
    if (taps == 0) {
        memcpy(out, at[0], (size_t)n * (pass->wide ? 8 : 4));
    } else if (pass->wide) {
        pass->kernels->down_wide(out, (const double *const *)at,
                                 (const double *)pass->down.weights + oh * taps, taps, n);
    } else {
        pass->kernels->down(out, (const float *const *)at,
                            (const float *)pass->down.weights + oh * taps, taps, n);
    }
}

static void fill_outside(const lt_resize_pass *pass, void *out, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (pass->wide) {
            ((double *)out)[i] = pass->outside;
        } else {
            ((float *)out)[i] = (float)pass->outside;
        }
    }
}

/* Many taps (antialias) are combined a few rows at a time. */
#define MOST_TAPS 16

static void add_rows(const lt_resize_pass *pass, void *out, const void *const *at, int64_t oh,
                     int64_t first, int64_t count, int64_t n)
{
    for (int64_t t = 0; t < count; t++) {
        int64_t w = oh * pass->down.taps + first + t;
        for (int64_t i = 0; i < n; i++) {
            if (pass->wide) {
                ((double *)out)[i] +=
                    ((const double *)pass->down.weights)[w] * ((const double *)at[t])[i];
            } else {
                ((float *)out)[i] +=
                    ((const float *)pass->down.weights)[w] * ((const float *)at[t])[i];
            }
        }
    }
}

typedef struct ring_state {
    int64_t plane;     /* outer index whose rows are held */
    int64_t low, high; /* input rows held: [low, high) */
} ring_state;

/* Makes sure that input row ih of plane o is in the ring, and returns its place. */
static const void *held_row(const pass_job *job, const task_space *space, ring_state *ring,
                            int64_t o, int64_t ih)
{
    const lt_resize_pass *pass = job->pass;
    int64_t size = ring_rows(pass), slot = ih % size;
    bool direct = pass->across.taps == 0 && pass->from == inner_dtype(pass);
    if (!direct && ring->plane == o && ih >= ring->low && ih < ring->high) {
        return space->ring + slot * space->row_bytes;
    }
    if (ring->plane == o && ih == ring->high) {
        ring->high++;
        ring->low = ring->high - size > ring->low ? ring->high - size : ring->low;
    } else {
        ring->plane = o;
        ring->low = ih;
        ring->high = ih + 1;
    }
    return resized_row(job, space, o * pass->h + ih, slot);
}

static void make_row(const pass_job *job, const task_space *space, ring_state *ring, int64_t row)
{
    const lt_resize_pass *pass = job->pass;
    int64_t oh = row % pass->out_h, o = row / pass->out_h, n = pass->out_w * pass->inner;
    int64_t element = (int64_t)lt_cpu_element_bytes(pass->to), taps = pass->down.taps;
    bool same = pass->to == inner_dtype(pass);
    void *out = same ? (void *)(job->out + row * n * element) : space->out_row;
    const void *at[MOST_TAPS];
    if (taps == 0) {
        at[0] = held_row(job, space, ring, o, oh);
        combine(pass, out, at, oh, n);
    } else if (pass->down.index[oh * taps] < 0) {
        fill_outside(pass, out, n);
    } else if (taps <= MOST_TAPS) {
        for (int64_t t = 0; t < taps; t++) {
            at[t] = held_row(job, space, ring, o, pass->down.index[oh * taps + t]);
        }
        combine(pass, out, at, oh, n);
    } else {
        memset(out, 0, (size_t)n * (pass->wide ? 8 : 4));
        for (int64_t t = 0; t < taps; t++) {
            at[0] = held_row(job, space, ring, o, pass->down.index[oh * taps + t]);
            add_rows(pass, out, at, oh, t, 1, n);
        }
    }
    if (!same) {
        lt_resize_store(pass->to, job->out, row * n, n, pass->wide, out);
    }
}

static void run_task(void *argument, uint32_t task, uint32_t thread)
{
    const pass_job *job = argument;
    (void)thread;
    const lt_resize_pass *pass = job->pass;
    int64_t element = pass->wide ? 8 : 4;
    task_space space;
    space.row_bytes = (int64_t)lt_whole_lines((size_t)(pass->out_w * pass->inner * element));
    space.ring = job->workspace + task * job->task_bytes;
    space.out_row = space.ring + ring_rows(pass) * space.row_bytes;
    space.in_row = space.out_row + space.row_bytes;
    ring_state ring = {-1, 0, 0};
    int64_t begin = task * job->step, end = begin + job->step;
    for (int64_t row = begin; row < end && row < job->rows; row++) {
        make_row(job, &space, &ring, row);
    }
}

void lt_resize_pass_run(const lt_resize_pass *pass, const leat_kernel_args *args, void *workspace,
                        uint32_t tasks, const void *in, void *out)
{
    pass_job job = {pass, in, out, workspace, lt_resize_pass_bytes(pass), 0, 0};
    job.rows = pass->outer * pass->out_h;
    if (job.rows == 0 || pass->out_w == 0 || pass->inner == 0) {
        return;
    }
    double bytes = 8.0 * (double)job.rows * (double)pass->out_w * (double)pass->inner;
    int64_t worth = (int64_t)(bytes / LT_CPU_GRAIN_BYTES) + 1;
    int64_t count = worth < (int64_t)tasks ? worth : (int64_t)tasks;
    count = count < job.rows ? count : job.rows;
    job.step = (job.rows + count - 1) / count;
    count = (job.rows + job.step - 1) / job.step;
    if (count == 1) {
        run_task(&job, 0, 0);
    } else {
        args->host->parallel(args->pool, (uint32_t)count, run_task, &job);
    }
}

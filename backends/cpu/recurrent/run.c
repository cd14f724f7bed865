/* SPDX-License-Identifier: Apache-2.0 */
/* Running a recurrent node: one product of W with all steps, then the steps. A task takes one
 * direction of some rows of the batch through all of its steps. Where R is large the threads share
 * each step's panels instead, so that each keeps its part of R in its second-level cache. */
#include "recurrent/recurrent.h"

#include "convert.h"

/* Work of all steps that is worth a second thread, and bytes of R that are worth one in a step. */
#define TASK_FLOPS 400e3
#define STEP_BYTES (768u << 10)

typedef struct run {
    const lt_rnn *rnn;
    const leat_kernel_args *args;
    char *workspace;
    lt_cell cell[2];
    const char *x; /* as the kernels read it */
    char *y;       /* NULL: not asked for */
    const int32_t *lengths;
    int64_t rows_per_task;
    int64_t chunks;
    bool share_steps;
} run;

/* The node's type to the kernels'. */
static void widen(const lt_rnn *rnn, const void *from, int64_t at, void *to, int64_t n)
{
    const char *data = (const char *)from + (size_t)at * lt_cpu_element_bytes(rnn->dtype);
    if (rnn->narrow) {
        lt_cpu_widen_f32(rnn->dtype, data, to, (size_t)n);
    } else {
        memcpy(to, data, (size_t)n * rnn->element);
    }
}

static void narrow(const lt_rnn *rnn, const void *from, void *to, int64_t at, int64_t n)
{
    char *data = (char *)to + (size_t)at * lt_cpu_element_bytes(rnn->dtype);
    if (rnn->narrow) {
        lt_cpu_narrow_f32(rnn->dtype, from, data, (size_t)n);
    } else {
        memcpy(data, from, (size_t)n * rnn->element);
    }
}

/* State `which` (of 2) of direction d and row b. */
static char *state_at(const run *r, size_t part, int64_t which, int64_t d, int64_t b)
{
    const lt_rnn *rnn = r->rnn;
    int64_t at = (which * rnn->dirs + d) * rnn->batch + b;
    return r->workspace + part + (size_t)(at * rnn->padded) * rnn->element;
}

/* First element of row b, direction d in initial_h, Y_h and the like. */
static int64_t outside(const lt_rnn *rnn, int64_t d, int64_t b)
{
    return (rnn->batch_first ? b * rnn->dirs + d : d * rnn->batch + b) * rnn->hidden;
}

/* First element of a step in Y. */
static int64_t y_at(const lt_rnn *rnn, int64_t t, int64_t d, int64_t b)
{
    int64_t row = rnn->batch_first ? (b * rnn->seq + t) * rnn->dirs + d
                                   : (t * rnn->dirs + d) * rnn->batch + b;
    return row * rnn->hidden;
}

static void init_state(const run *r, size_t part, int64_t d, int64_t b, const void *initial)
{
    const lt_rnn *rnn = r->rnn;
    char *to = state_at(r, part, 0, d, b);
    memset(to, 0, (size_t)rnn->padded * rnn->element);
    if (initial != NULL) {
        widen(rnn, initial, outside(rnn, d, b), to, rnn->hidden);
    }
}

static int64_t length_of(const run *r, int64_t b)
{
    return r->lengths != NULL ? r->lengths[b] : r->rnn->seq;
}

/* Steps that a row does not have are zero. */
static void clear_rest(const run *r, int64_t d, int64_t b)
{
    const lt_rnn *rnn = r->rnn;
    for (int64_t t = length_of(r, b); t < rnn->seq && r->y != NULL; t++) {
        memset(r->y + (size_t)y_at(rnn, t, d, b) * rnn->element, 0,
               (size_t)rnn->hidden * rnn->element);
    }
}

/* Pointers of the rows [b0, b1) that have a step s; returns how many. */
static int64_t list_rows(const run *r, int64_t d, int64_t b0, int64_t b1, int64_t s,
                         lt_cell_row *rows)
{
    const lt_rnn *rnn = r->rnn;
    const lt_rnn_parts *parts = &rnn->parts;
    int64_t n = 0;
    for (int64_t b = b0; b < b1; b++) {
        int64_t length = length_of(r, b);
        if (s >= length) {
            continue;
        }
        int64_t t = rnn->reverse[d] ? length - 1 - s : s;
        int64_t x_row = rnn->batch_first ? b * rnn->seq + t : t * rnn->batch + b;
        lt_cell_row *row = &rows[n++];
        row->x = r->x + (size_t)(x_row * rnn->inputs) * rnn->element;
        row->xw = r->workspace + parts->xw + (size_t)d * parts->xw_one +
                  (size_t)(x_row * rnn->gates * rnn->hidden) * rnn->element;
        row->h = state_at(r, parts->h, s % 2, d, b);
        row->h_next = state_at(r, parts->h, 1 - s % 2, d, b);
        row->c = state_at(r, parts->c, 0, d, b);
        row->z = state_at(r, parts->z, 0, d, b);
        row->r_h = state_at(r, parts->r_h, 0, d, b);
        row->y = r->y ? r->y + (size_t)y_at(rnn, t, d, b) * rnn->element : NULL;
    }
    return n;
}

typedef struct step_job {
    const lt_cell_kernels *kernels;
    const lt_cell *cell;
    lt_cell_part part;
} step_job;

static void run_panels(void *argument, int64_t begin, int64_t end)
{
    const step_job *job = argument;
    lt_cell_part part = job->part;
    part.panel_begin = begin;
    part.panel_end = end;
    job->kernels->run(job->cell, &part);
}

static void run_step(const run *r, int64_t d, const lt_cell_row *rows, int64_t n)
{
    const lt_rnn *rnn = r->rnn;
    int phases = rnn->kind == LT_CELL_GRU && !rnn->cell[d].linear_before_reset ? 2 : 1;
    for (int phase = 0; phase < phases; phase++) {
        step_job job = {rnn->kernels, &r->cell[d], {rows, n, 0, rnn->panels, phase}};
        if (r->share_steps) {
            double bytes = (double)lt_rnn_panel_bytes(rnn, rnn->hidden) / (double)rnn->panels;
            lt_cpu_parallel_range(r->args, rnn->panels, 1, bytes, run_panels, &job);
        } else {
            run_panels(&job, 0, rnn->panels);
        }
    }
}

/* Direction d of rows [b0, b1): all steps, then the last states. */
static void run_rows(const run *r, int64_t d, int64_t b0, int64_t b1)
{
    const lt_rnn *rnn = r->rnn;
    void *const *out = r->args->outputs;
    bool lstm = rnn->kind == LT_CELL_LSTM;
    lt_cell_row *rows =
        (lt_cell_row *)(void *)(r->workspace + rnn->parts.rows) + d * rnn->batch + b0;
    int64_t steps = 0;
    for (int64_t b = b0; b < b1; b++) {
        init_state(r, rnn->parts.h, d, b, r->args->inputs[LT_RNN_H]);
        if (lstm) {
            init_state(r, rnn->parts.c, d, b, r->args->inputs[LT_RNN_C]);
        }
        clear_rest(r, d, b);
        steps = length_of(r, b) > steps ? length_of(r, b) : steps;
    }
    for (int64_t s = 0; s < steps; s++) {
        run_step(r, d, rows, list_rows(r, d, b0, b1, s, rows));
    }
    for (int64_t b = b0; b < b1; b++) {
        const char *h = state_at(r, rnn->parts.h, length_of(r, b) % 2, d, b);
        if (out[1] != NULL) {
            narrow(rnn, h, out[1], outside(rnn, d, b), rnn->hidden);
        }
        if (lstm && out[2] != NULL) {
            narrow(rnn, state_at(r, rnn->parts.c, 0, d, b), out[2], outside(rnn, d, b),
                   rnn->hidden);
        }
    }
}

static void run_task(void *argument, uint32_t task, uint32_t thread)
{
    const run *r = argument;
    (void)thread;
    int64_t b0 = (int64_t)task % r->chunks * r->rows_per_task, b1 = b0 + r->rows_per_task;
    run_rows(r, (int64_t)task / r->chunks, b0, b1 < r->rnn->batch ? b1 : r->rnn->batch);
}

/* Packs what was not constant and points the cells at their weights. */
static void set_weights(run *r, const void **gemm_w)
{
    const lt_rnn *rnn = r->rnn;
    char *small = (char *)rnn->small;
    if (small == NULL) {
        small = r->workspace + rnn->parts.small;
        lt_rnn_small(rnn, r->args->inputs[LT_RNN_B], rnn->has_p ? r->args->inputs[LT_RNN_P] : NULL,
                     small);
    }
    for (int64_t d = 0; d < rnn->dirs; d++, small += rnn->small_one) {
        lt_cell *cell = &r->cell[d];
        char *pack = r->workspace + rnn->parts.pack + (size_t)d * rnn->parts.pack_one;
        *cell = rnn->cell[d];
        cell->bias = small;
        cell->r_bias = small + rnn->bias_bytes;
        cell->peephole =
            rnn->has_p ? (const char *)cell->r_bias + (size_t)rnn->padded * rnn->element : NULL;
        const void *w = rnn->w[d];
        if (w == NULL) {
            w = pack;
            if (rnn->fused) {
                lt_rnn_pack_panels(rnn, r->args->inputs[LT_RNN_W], d, rnn->inputs, pack);
            } else {
                lt_rnn_pack_gemm(rnn, r->args->inputs[LT_RNN_W], d, pack);
            }
        }
        cell->r = rnn->r[d];
        if (cell->r == NULL) {
            size_t of_w =
                rnn->fused ? lt_rnn_panel_bytes(rnn, rnn->inputs) : lt_rnn_gemm_bytes(rnn);
            lt_rnn_pack_panels(rnn, r->args->inputs[LT_RNN_R], d, rnn->hidden, pack + of_w);
            cell->r = pack + of_w;
        }
        cell->w = rnn->fused ? w : NULL;
        gemm_w[d] = w;
    }
}

/* xw of all steps. */
static void multiply_inputs(const run *r, const void *const *w)
{
    const lt_rnn *rnn = r->rnn;
    for (int64_t d = 0; d < rnn->dirs; d++) {
        lt_gemm_job job = lt_rnn_input_job(rnn);
        job.a = r->x;
        job.b = w[d];
        job.bias = r->cell[d].bias;
        job.c = r->workspace + rnn->parts.xw + (size_t)d * rnn->parts.xw_one;
        lt_gemm_run(&job, r->workspace + rnn->parts.gemm, r->args);
    }
}

static void choose_tasks(run *r)
{
    const lt_rnn *rnn = r->rnn;
    int64_t threads = r->args->host->pool_threads(r->args->pool);
    double flops = 2.0 * (double)(rnn->dirs * rnn->seq * rnn->batch) *
                   (double)(rnn->gates * rnn->hidden) * (double)rnn->hidden;
    int64_t most = (threads + rnn->dirs - 1) / rnn->dirs; /* chunks of a direction */
    most = most < rnn->batch ? most : rnn->batch;
    r->share_steps =
        threads > 1 && rnn->dirs == 1 && lt_rnn_panel_bytes(rnn, rnn->hidden) >= STEP_BYTES;
    r->chunks = flops < TASK_FLOPS || r->share_steps ? 1 : most;
    r->rows_per_task = (rnn->batch + r->chunks - 1) / r->chunks;
    r->chunks = (rnn->batch + r->rows_per_task - 1) / r->rows_per_task;
}

static leat_status check_lengths(const run *r, leat_error *err)
{
    const lt_rnn *rnn = r->rnn;
    for (int64_t b = 0; r->lengths != NULL && b < rnn->batch; b++) {
        if (r->lengths[b] < 0 || r->lengths[b] > rnn->seq) {
            return lt_cpu_fail(err, LEAT_INVALID,
                               "%s: sequence_lens[%lld] is %d, not within 0 and %lld",
                               rnn->label.text, (long long)b, r->lengths[b], (long long)rnn->seq);
        }
    }
    return LEAT_OK;
}

/* Optional inputs and outputs that the node does not list must read as NULL. */
typedef struct pointers {
    const void *inputs[8];
    void *outputs[3];
} pointers;

static leat_status launch_all(const lt_rnn *rnn, const leat_kernel_args *args, leat_error *err)
{
    run r = {.rnn = rnn,
             .args = args,
             .workspace = args->workspace,
             .x = args->inputs[LT_RNN_X],
             .y = args->outputs[0],
             .lengths = args->inputs[LT_RNN_LENGTHS]};
    const void *w[2] = {NULL, NULL};
    int64_t rows = rnn->seq * rnn->batch;
    leat_status status = check_lengths(&r, err);
    if (status != LEAT_OK || rnn->batch == 0) {
        return status;
    }
    if (rnn->narrow) {
        float *wide = (float *)(void *)(r.workspace + rnn->parts.x);
        widen(rnn, args->inputs[LT_RNN_X], 0, wide, rows * rnn->inputs);
        r.x = (const char *)wide;
        r.y = args->outputs[0] ? r.workspace + rnn->parts.y : NULL;
    }
    set_weights(&r, w);
    if (!rnn->fused) {
        multiply_inputs(&r, w);
    }
    choose_tasks(&r);
    uint32_t tasks = (uint32_t)(rnn->dirs * r.chunks);
    double flops = 2.0 * (double)(rows * rnn->dirs * rnn->gates * rnn->hidden * rnn->hidden);
    if (tasks > 1 && flops >= TASK_FLOPS) {
        args->host->parallel(args->pool, tasks, run_task, &r);
    } else {
        for (uint32_t i = 0; i < tasks; i++) {
            run_task(&r, i, 0);
        }
    }
    if (rnn->narrow && args->outputs[0] != NULL) {
        narrow(rnn, r.y, args->outputs[0], 0, rows * rnn->dirs * rnn->hidden);
    }
    return LEAT_OK;
}

leat_status lt_rnn_launch(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const lt_rnn *rnn = state;
    pointers p = {{NULL}, {NULL}};
    for (uint32_t i = 0; i < rnn->n_inputs; i++) {
        p.inputs[i] = args->inputs[i];
    }
    for (uint32_t i = 0; i < rnn->n_outputs; i++) {
        p.outputs[i] = args->outputs[i];
    }
    leat_kernel_args all = *args;
    all.inputs = p.inputs;
    all.outputs = p.outputs;
    return launch_all(rnn, &all, err);
}

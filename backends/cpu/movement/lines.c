/* SPDX-License-Identifier: Apache-2.0 */
/* Trilu, EyeLike, ReverseSequence, CumSum, CumProd: line by line. */
#include "movement/movement.h"

#include "sizes.h"

typedef struct line_state {
    lt_move_label label;
    leat_dtype dtype, list_dtype;
    int64_t batch, rows, cols; /* Trilu, EyeLike */
    int64_t outer, dim, inner; /* CumSum */
    int64_t shape[LEAT_MAX_RANK];
    int32_t rank;
    int64_t k;    /* the diagonal */
    bool upper;   /* Trilu */
    bool product; /* CumProd */
    bool exclusive, reverse;
    bool batch_first; /* ReverseSequence */
    bool has_list;    /* input 1 is read at launch */
    uint8_t one[16];  /* EyeLike: 1 in the output's type */
} line_state;

static line_state *new_state(const leat_kernel_node *node, const leat_host *host, leat_plan *plan)
{
    const leat_value *in = leat_kernel_input(node, 0);
    line_state *s = host->plan_alloc(plan, sizeof(*s));
    if (s != NULL) {
        s->label = lt_move_name(node->node);
        s->dtype = leat_kernel_output(node, 0)->dtype;
        s->rank = in->rank;
        memcpy(s->shape, in->shape, sizeof(in->shape));
        s->rows = in->rank >= 2 ? in->shape[in->rank - 2] : 1;
        s->cols = in->rank >= 1 ? in->shape[in->rank - 1] : 1;
        s->batch = in->rank >= 2 ? lt_move_product(in->shape, 0, in->rank - 2) : 1;
    }
    return s;
}

static leat_status finish(const leat_kernel_node *node, line_state *s, const char *name,
                          leat_status (*launch)(const void *, const leat_kernel_args *,
                                                leat_error *),
                          leat_kernel *out_kernel, leat_error *err)
{
    if (leat_value_count(leat_kernel_output(node, 0)) !=
        leat_value_count(leat_kernel_input(node, 0))) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: its shape must stay", s->label.text);
    }
    out_kernel->name = name;
    out_kernel->launch = launch;
    out_kernel->state = s;
    return LEAT_OK;
}

typedef struct line_job {
    const line_state *state;
    const uint8_t *in;
    uint8_t *out;
    int64_t k;
    const void *list;
} line_job;

/* ---- Trilu ---------------------------------------------------------------------------------- */

static void run_trilu(void *argument, int64_t begin, int64_t end)
{
    const line_job *job = argument;
    const line_state *s = job->state;
    size_t bytes = lt_cpu_element_bytes(s->dtype);
    for (int64_t row = begin; row < end; row++) {
        int64_t k = lt_clamp(job->k, -s->rows, s->cols);
        int64_t from = s->upper ? lt_clamp(row % s->rows + k, 0, s->cols) : 0;
        int64_t to = s->upper ? s->cols : lt_clamp(row % s->rows + k + 1, 0, s->cols);
        uint8_t *out = job->out + (size_t)(row * s->cols) * bytes;
        memset(out, 0, (size_t)from * bytes);
        memmove(out + (size_t)from * bytes, job->in + (size_t)(row * s->cols + from) * bytes,
                (size_t)(to - from) * bytes);
        memset(out + (size_t)to * bytes, 0, (size_t)(s->cols - to) * bytes);
    }
}

static leat_status launch_trilu(const void *opaque, const leat_kernel_args *args, leat_error *err)
{
    (void)err;
    const line_state *s = opaque;
    line_job job = {s, args->inputs[0], args->outputs[0], 0, NULL};
    if (s->has_list) {
        job.k = *(const int64_t *)args->inputs[1];
    }
    double bytes = 2.0 * (double)s->cols * (double)lt_cpu_element_bytes(s->dtype);
    if (s->cols > 0) { /* else there can be any number of rows */
        lt_cpu_parallel_range(args, s->batch * s->rows, 1, bytes, run_trilu, &job);
    }
    return LEAT_OK;
}

leat_status lt_cpu_trilu_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *in = leat_kernel_input(node, 0), *k = leat_kernel_input(node, 1);
    if (in == NULL || (in->rank >= 0 && in->rank < 2) ||
        (k != NULL && k->dtype != LEAT_DTYPE_I64)) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: it takes matrices and k of i64",
                           lt_move_name(node->node).text);
    }
    return LEAT_OK;
}

leat_status lt_cpu_trilu_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                 leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    (void)device;
    const leat_value *k = leat_kernel_input(node, 1);
    line_state *s = new_state(node, host, plan);
    if (s == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    s->has_list = k != NULL;
    s->upper = leat_node_int(node->node, "upper", 1) != 0;
    if (k != NULL && leat_value_count(k) != 1) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: k must be one number", s->label.text);
    }
    out_kernel->inplace_mask = 1;
    return finish(node, s, "trilu", launch_trilu, out_kernel, err);
}

/* ---- EyeLike -------------------------------------------------------------------------------- */

static leat_status launch_eye(const void *opaque, const leat_kernel_args *args, leat_error *err)
{
    (void)err;
    const line_state *s = opaque;
    size_t bytes = lt_cpu_element_bytes(s->dtype);
    memset(args->outputs[0], 0, (size_t)(s->rows * s->cols) * bytes);
    for (int64_t row = 0; row < s->rows; row++) {
        int64_t col = row + s->k;
        if (col >= 0 && col < s->cols) {
            memcpy((uint8_t *)args->outputs[0] + (size_t)(row * s->cols + col) * bytes, s->one,
                   bytes);
        }
    }
    return LEAT_OK;
}

leat_status lt_cpu_eye_like_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *in = leat_kernel_input(node, 0), *out = leat_kernel_output(node, 0);
    if (in == NULL || (in->rank >= 0 && in->rank != 2) ||
        !((CPU_NUMBERS | CPU_T(BOOL)) >> out->dtype & 1)) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: it makes matrices of numbers",
                           lt_move_name(node->node).text);
    }
    return LEAT_OK;
}

leat_status lt_cpu_eye_like_prepare(const leat_kernel_node *node, void *device,
                                    const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                    leat_error *err)
{
    (void)device;
    line_state *s = new_state(node, host, plan);
    if (s == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    double f64 = 1.0;
    float f32 = 1.0f;
    uint16_t half = s->dtype == LEAT_DTYPE_BF16 ? lt_f32_to_bf16(1.0f) : lt_f32_to_f16(1.0f);
    s->k = lt_clamp(leat_node_int(node->node, "k", 0), -s->rows, s->cols);
    s->one[0] = 1; /* of every integer type: the lowest byte comes first */
    if (s->dtype == LEAT_DTYPE_F64) {
        memcpy(s->one, &f64, sizeof(f64));
    } else if (s->dtype == LEAT_DTYPE_F32) {
        memcpy(s->one, &f32, sizeof(f32));
    } else if (s->dtype == LEAT_DTYPE_F16 || s->dtype == LEAT_DTYPE_BF16) {
        memcpy(s->one, &half, sizeof(half));
    }
    out_kernel->unread_mask = 1;
    return finish(node, s, "eye_like", launch_eye, out_kernel, err);
}

/* ---- ReverseSequence ------------------------------------------------------------------------ */

static void run_reverse(void *argument, int64_t begin, int64_t end)
{
    const line_job *job = argument;
    const line_state *s = job->state;
    int64_t batch = s->batch_first ? s->shape[0] : s->shape[1];
    int64_t time = s->batch_first ? s->shape[1] : s->shape[0];
    size_t bytes = (size_t)s->inner * lt_cpu_element_bytes(s->dtype);
    for (int64_t item = begin; item < end; item++) {
        int64_t b = s->batch_first ? item / time : item % batch;
        int64_t t = s->batch_first ? item % time : item / batch;
        int64_t length = ((const int64_t *)job->list)[b];
        int64_t from = t < length ? length - 1 - t : t;
        from = s->batch_first ? b * time + from : from * batch + b;
        memcpy(job->out + (size_t)item * bytes, job->in + (size_t)from * bytes, bytes);
    }
}

static leat_status launch_reverse(const void *opaque, const leat_kernel_args *args, leat_error *err)
{
    const line_state *s = opaque;
    line_job job = {s, args->inputs[0], args->outputs[0], 0, args->inputs[1]};
    int64_t batch = s->shape[s->batch_first ? 0 : 1], time = s->shape[s->batch_first ? 1 : 0];
    for (int64_t b = 0; b < batch; b++) {
        int64_t length = ((const int64_t *)args->inputs[1])[b];
        if (length < 0 || length > time) {
            return lt_cpu_fail(err, LEAT_INVALID,
                               "%s: sequence_lens[%lld] is %lld, outside [0, %lld]", s->label.text,
                               (long long)b, (long long)length, (long long)time);
        }
    }
    double bytes = 2.0 * (double)s->inner * (double)lt_cpu_element_bytes(s->dtype);
    lt_cpu_parallel_range(args, batch * time, 1, bytes, run_reverse, &job);
    return LEAT_OK;
}

leat_status lt_cpu_reverse_sequence_prepare(const leat_kernel_node *node, void *device,
                                            const leat_host *host, leat_plan *plan,
                                            leat_kernel *out_kernel, leat_error *err)
{
    (void)device;
    const leat_value *lengths = leat_kernel_input(node, 1);
    line_state *s = new_state(node, host, plan);
    if (s == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    int64_t batch_axis = leat_node_int(node->node, "batch_axis", 1);
    int64_t time_axis = leat_node_int(node->node, "time_axis", 0);
    if (s->rank < 2 || batch_axis + time_axis != 1 || batch_axis < 0 || batch_axis > 1 ||
        lengths == NULL || lengths->dtype != LEAT_DTYPE_I64 ||
        leat_value_count(lengths) != s->shape[batch_axis]) {
        return lt_cpu_fail(err, LEAT_INVALID,
                           "%s: batch and time must be the first two axes, and sequence_lens i64 "
                           "with one length for each of the batch",
                           s->label.text);
    }
    s->batch_first = batch_axis == 0;
    s->inner = lt_move_product(s->shape, 2, s->rank);
    return finish(node, s, "reverse_sequence", launch_reverse, out_kernel, err);
}

/* ---- CumSum and CumProd --------------------------------------------------------------------- */

#define SAME(x) (x)
#define CUMULATE(type, wide, load, store)                                                          \
    do {                                                                                           \
        wide sum = s->product;                                                                     \
        for (int64_t i = 0; i < s->dim; i++) {                                                     \
            int64_t at = first + (s->reverse ? s->dim - 1 - i : i) * step;                         \
            wide x = load(((const type *)job->in)[at]);                                            \
            wide next = s->product ? (wide)(sum * x) : (wide)(sum + x);                            \
            ((type *)job->out)[at] = (type)store(s->exclusive ? sum : next);                       \
            sum = next;                                                                            \
        }                                                                                          \
    } while (0);                                                                                   \
    break

static void run_cumulate(void *argument, int64_t begin, int64_t end)
{
    const line_job *job = argument;
    const line_state *s = job->state;
    for (int64_t line = begin; line < end; line++) {
        int64_t step = s->inner;
        int64_t first = line / s->inner * s->dim * s->inner + line % s->inner;
        switch (s->dtype) {
        case LEAT_DTYPE_F32:
            CUMULATE(float, float, SAME, SAME);
        case LEAT_DTYPE_F64:
            CUMULATE(double, double, SAME, SAME);
        case LEAT_DTYPE_F16:
            CUMULATE(uint16_t, float, lt_f16_to_f32, lt_f32_to_f16);
        case LEAT_DTYPE_BF16:
            CUMULATE(uint16_t, float, lt_bf16_to_f32, lt_f32_to_bf16);
        case LEAT_DTYPE_I32:
        case LEAT_DTYPE_U32: /* integers wrap around: the sign does not matter */
            CUMULATE(uint32_t, uint32_t, SAME, SAME);
        default:
            CUMULATE(uint64_t, uint64_t, SAME, SAME);
        }
    }
}

static leat_status launch_cumulate(const void *opaque, const leat_kernel_args *args,
                                   leat_error *err)
{
    line_state s = *(const line_state *)opaque;
    int64_t axis = 0;
    leat_status status =
        lt_move_ints(s.label.text, "axis", s.list_dtype, args->inputs[1], 1, &axis, err);
    if (status != LEAT_OK) {
        return status;
    }
    if (axis < -(int64_t)s.rank || axis >= s.rank) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: axis %lld is outside [-%d, %d)", s.label.text,
                           (long long)axis, s.rank, s.rank);
    }
    axis += axis < 0 ? s.rank : 0;
    s.dim = s.shape[axis];
    s.outer = lt_move_product(s.shape, 0, (int32_t)axis);
    s.inner = lt_move_product(s.shape, (int32_t)axis + 1, s.rank);
    line_job job = {&s, args->inputs[0], args->outputs[0], 0, NULL};
    lt_cpu_parallel_range(args, s.outer * s.inner, 1, 8.0 * (double)s.dim, run_cumulate, &job);
    return LEAT_OK;
}

leat_status lt_cpu_cumulate_prepare(const leat_kernel_node *node, void *device,
                                    const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                    leat_error *err)
{
    (void)device;
    const leat_value *axis = leat_kernel_input(node, 1);
    line_state *s = new_state(node, host, plan);
    if (s == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    if (axis == NULL || leat_value_count(axis) != 1 || s->rank == 0) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: axis must be one number, the data no scalar",
                           s->label.text);
    }
    s->list_dtype = axis->dtype;
    s->product = strcmp(node->node->op, "CumProd") == 0;
    s->exclusive = leat_node_int(node->node, "exclusive", 0) != 0;
    s->reverse = leat_node_int(node->node, "reverse", 0) != 0;
    return finish(node, s, "cumulate", launch_cumulate, out_kernel, err);
}

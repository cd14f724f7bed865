/* SPDX-License-Identifier: Apache-2.0 */
/* Running Resize: from lists to axes, from axes to tables, from tables to passes.
 *
 * Nearest is a mapped copy. Linear and cubic are separable: passes over one or two neighbouring
 * axes each, through two buffers of the workspace in turn. */
#include "movement/resize.h"

#include "sizes.h"

#include <math.h>

/* ---- from inputs to axes -------------------------------------------------------------------- */

leat_status lt_resize_read_list(const lt_resize_state *s, int which, const void *data,
                                lt_resize_lists *lists, leat_error *err)
{
    int64_t count = which == RESIZE_ROI ? 2 * s->n_axes : s->n_axes;
    for (int64_t i = 0; i < count; i++) {
        double value = 0.0;
        switch (s->list_dtype[which]) {
        case LEAT_DTYPE_F32:
            value = ((const float *)data)[i];
            break;
        case LEAT_DTYPE_F64:
            value = ((const double *)data)[i];
            break;
        case LEAT_DTYPE_F16:
            value = lt_f16_to_f32(((const uint16_t *)data)[i]);
            break;
        case LEAT_DTYPE_BF16:
            value = lt_bf16_to_f32(((const uint16_t *)data)[i]);
            break;
        default:
            value = (double)((const int64_t *)data)[i];
        }
        if (!isfinite(value) || (which == RESIZE_SCALES && !(value > 0.0)) ||
            (which == RESIZE_SIZES && value < 0.0)) {
            return lt_cpu_fail(err, LEAT_INVALID, "%s: element %lld of %s is %g", s->label.text,
                               (long long)i,
                               which == RESIZE_ROI      ? "roi"
                               : which == RESIZE_SCALES ? "scales"
                                                        : "sizes",
                               value);
        }
        lists->values[which][i] = value;
    }
    lists->has[which] = true;
    return LEAT_OK;
}

/* The scale that all axes share under a keep_aspect_ratio_policy. */
static double shared_scale(const lt_resize_state *s, const lt_resize_lists *lists)
{
    double shared = 0.0;
    for (int32_t i = 0; i < s->n_axes; i++) {
        double scale = lists->values[RESIZE_SIZES][i] / (double)s->in_shape[s->axes[i]];
        bool take = i == 0 || (s->policy == 1 ? scale < shared : scale > shared);
        shared = take ? scale : shared;
    }
    return shared;
}

/* Whether the planned size is what a scale leads to; both roundings that are in use are taken. */
static bool size_fits(const lt_resize_axis *axis, bool crop)
{
    double exact = (double)axis->in * axis->scale;
    double cropped = (double)axis->in * (axis->roi_end - axis->roi_begin) * axis->scale;
    return (double)axis->out == floor(exact) ||
           (float)axis->out == floorf((float)axis->in * (float)axis->scale) ||
           (crop &&
            ((double)axis->out == floor(cropped) || (float)axis->out == floorf((float)cropped)));
}

leat_status lt_resize_make_axes(const lt_resize_state *s, const lt_resize_lists *lists,
                                lt_resize_axis *axes, leat_error *err)
{
    bool crop = s->rule.where == RESIZE_TF_CROP_AND_RESIZE;
    for (int32_t i = 0; i < s->rank; i++) {
        axes[i] = (lt_resize_axis){
            s->in_shape[i], s->out_shape[i], 1.0, (double)s->in_shape[i], 0.0, 1.0};
    }
    double shared = s->policy && lists->has[RESIZE_SIZES] ? shared_scale(s, lists) : 0.0;
    for (int32_t i = 0; i < s->n_axes; i++) {
        lt_resize_axis *axis = &axes[s->axes[i]];
        bool fits;
        if (crop && lists->has[RESIZE_ROI]) {
            axis->roi_begin = lists->values[RESIZE_ROI][i];
            axis->roi_end = lists->values[RESIZE_ROI][s->n_axes + i];
        }
        if (lists->has[RESIZE_SCALES]) {
            axis->scale = lists->values[RESIZE_SCALES][i];
            axis->width = axis->scale * (double)axis->in;
            fits = size_fits(axis, crop);
        } else if (s->policy) {
            axis->scale = shared;
            axis->width = shared * (double)axis->in;
            fits = (double)axis->out == floor(axis->width + 0.5);
        } else {
            axis->width = lists->values[RESIZE_SIZES][i];
            axis->scale = axis->in ? axis->width / (double)axis->in : 1.0;
            fits = (double)axis->out == axis->width;
        }
        if (!fits || (axis->in == 0 && axis->out != 0)) {
            return lt_cpu_fail(
                err, LEAT_INVALID, "%s: axis of %lld, scaled by %g, is not the planned %lld",
                s->label.text, (long long)axis->in, axis->scale, (long long)axis->out);
        }
    }
    for (int32_t i = 0; i < s->rank; i++) {
        if (axes[i].scale == 1.0 && axes[i].in != axes[i].out) {
            return lt_cpu_fail(err, LEAT_INVALID, "%s: an axis of %lld cannot become %lld",
                               s->label.text, (long long)axes[i].in, (long long)axes[i].out);
        }
    }
    return LEAT_OK;
}

/* ---- tables --------------------------------------------------------------------------------- */

/* An axis that is copied as it is: every output index reads itself with weight 1. */
static bool is_identity(const lt_resize_state *s, const lt_resize_axis *axis)
{
    return axis->in == axis->out && axis->scale == 1.0 &&
           s->rule.where != RESIZE_TF_HALF_PIXEL_FOR_NN && axis->roi_begin == 0.0 &&
           axis->roi_end == 1.0;
}

size_t lt_resize_axis_table_bytes(const lt_resize_state *s, const lt_resize_axis *axis)
{
    int64_t taps = lt_resize_taps(&s->rule, axis->scale);
    size_t bytes = 0;
    if (__builtin_mul_overflow((size_t)taps, (size_t)axis->out, &bytes) ||
        __builtin_mul_overflow(bytes, 16u, &bytes)) {
        return SIZE_MAX / 64;
    }
    return bytes;
}

/* Fills the tables of all axes into `room`.
 * Errors:   INVALID when they do not fit: the scale differs from the planned one. */
leat_status lt_resize_make_tables(const lt_resize_state *s, const lt_resize_axis *axes,
                                  uint8_t *room, lt_resize_tables *out_tables, leat_error *err)
{
    size_t used = 0;
    memset(out_tables, 0, sizeof(*out_tables));
    for (int32_t i = 0; i < s->rank; i++) {
        if (is_identity(s, &axes[i])) {
            continue;
        }
        int64_t taps = lt_resize_taps(&s->rule, axes[i].scale);
        size_t bytes = lt_resize_axis_table_bytes(s, &axes[i]);
        if (taps > s->most_taps[i]) {
            return lt_cpu_fail(err, LEAT_INVALID, "%s: scale %g needs more taps than planned",
                               s->label.text, axes[i].scale);
        }
        int64_t *index = (int64_t *)(void *)(room + used);
        void *weights = index + taps * axes[i].out;
        lt_resize_fill(&s->rule, &axes[i], taps, s->wide, index, weights);
        out_tables->table[i] = (lt_resize_table){taps, index, weights};
        used += bytes;
    }
    return LEAT_OK;
}

/* ---- launch --------------------------------------------------------------------------------- */

static void run_nearest(const lt_resize_state *s, const lt_resize_tables *tables, int64_t *identity,
                        const leat_kernel_args *args)
{
    lt_mapped copy = {.element_bytes = lt_cpu_element_bytes(s->dtype), .unit = 1};
    copy.fill = s->fill.bytes;
    copy.rank = s->rank;
    while (copy.rank > 1 && tables->table[copy.rank - 1].taps == 0) {
        copy.unit *= s->in_shape[--copy.rank];
    }
    memcpy(copy.in_shape, s->in_shape, sizeof(copy.in_shape));
    memcpy(copy.out_shape, s->out_shape, sizeof(copy.out_shape));
    for (int32_t i = 0; i < copy.rank; i++) {
        copy.maps[i] = tables->table[i].taps ? tables->table[i].index : identity;
        for (int64_t k = 0; tables->table[i].taps == 0 && k < s->out_shape[i]; k++) {
            *identity++ = k;
        }
    }
    lt_mapped_run(&copy, args, args->outputs[0], args->inputs[0]);
}

/* The next axes that one pass takes: `first` and, if it is its neighbour's turn, the next one. */
static int32_t plan_pass(const lt_resize_state *s, const lt_resize_tables *tables, int32_t first,
                         const int64_t *shape, lt_resize_pass *pass)
{
    int32_t second = first + 1;
    bool two = second < s->rank && tables->table[second].taps != 0;
    *pass = (lt_resize_pass){.kernels = s->kernels, .wide = s->wide, .outside = s->outside};
    pass->outer = lt_move_product(shape, 0, first);
    pass->down = tables->table[first];
    pass->h = shape[first];
    pass->out_h = s->out_shape[first];
    if (two) {
        pass->across = tables->table[second];
        pass->w = shape[second];
        pass->out_w = s->out_shape[second];
        pass->inner = lt_move_product(shape, second + 1, s->rank);
    } else {
        pass->w = pass->out_w = lt_move_product(shape, second, s->rank);
        pass->inner = 1;
    }
    return two ? second : first;
}

/* The last axis alone goes across, not down. */
static void turn_last(lt_resize_pass *pass)
{
    if (pass->across.taps == 0 && pass->w == 1 && pass->inner == 1 && pass->down.taps != 0) {
        pass->across = pass->down;
        pass->w = pass->h;
        pass->out_w = pass->out_h;
        pass->down.taps = 0;
        pass->h = pass->out_h = 1;
    }
}

static int32_t next_axis(const lt_resize_state *s, const lt_resize_tables *tables, int32_t from)
{
    while (from < s->rank && tables->table[from].taps == 0) {
        from++;
    }
    return from;
}

void lt_resize_run_passes(const lt_resize_state *s, const lt_resize_tables *tables,
                          uint8_t *buffers, const leat_kernel_args *args, size_t *out_buffer,
                          size_t *out_task)
{
    int64_t shape[LEAT_MAX_RANK];
    memcpy(shape, s->in_shape, sizeof(shape));
    leat_dtype middle = s->wide ? LEAT_DTYPE_F64 : LEAT_DTYPE_F32;
    const void *from = args ? args->inputs[0] : NULL;
    leat_dtype from_dtype = s->dtype;
    int turn = 0;
    *out_buffer = *out_task = 0;
    for (int32_t axis = next_axis(s, tables, 0); axis < s->rank;) {
        lt_resize_pass pass;
        int32_t last = plan_pass(s, tables, axis, shape, &pass);
        turn_last(&pass);
        for (; axis <= last; axis++) {
            shape[axis] = s->out_shape[axis];
        }
        axis = next_axis(s, tables, axis);
        bool final = axis == s->rank;
        pass.from = from_dtype;
        pass.to = final ? s->dtype : middle;
        size_t task = lt_resize_pass_bytes(&pass);
        size_t buffer = (size_t)lt_move_product(shape, 0, s->rank) * (s->wide ? 8 : 4);
        *out_task = task > *out_task ? task : *out_task;
        *out_buffer = !final && buffer > *out_buffer ? buffer : *out_buffer;
        if (args != NULL) {
            size_t half = s->buffer_bytes;
            void *to = final ? args->outputs[0] : buffers + (size_t)turn * half;
            lt_resize_pass_run(&pass, args, buffers + 2 * half, s->tasks, from, to);
            from = to;
            turn ^= 1;
        }
        from_dtype = middle;
    }
}

leat_status lt_resize_launch(const void *opaque, const leat_kernel_args *args, leat_error *err)
{
    const lt_resize_state *s = opaque;
    lt_resize_tables found;
    const lt_resize_tables *tables = &s->tables;
    uint8_t *room = args->workspace;
    if (lt_move_product(s->out_shape, 0, s->rank) == 0) {
        return LEAT_OK;
    }
    if (!s->planned) {
        lt_resize_lists lists = {0};
        lt_resize_axis axes[LEAT_MAX_RANK];
        leat_status status = LEAT_OK;
        for (int i = 0; status == LEAT_OK && i < RESIZE_LISTS; i++) {
            if (s->input[i] >= 0) {
                status = lt_resize_read_list(s, i, args->inputs[s->input[i]], &lists, err);
            }
        }
        if (status == LEAT_OK) {
            status = lt_resize_make_axes(s, &lists, axes, err);
        }
        if (status == LEAT_OK) {
            status = lt_resize_make_tables(s, axes, room, &found, err);
        }
        if (status != LEAT_OK) {
            return status;
        }
        tables = &found;
        room += lt_whole_lines(s->table_bytes);
    }
    if (s->rule.mode == RESIZE_NEAREST) {
        run_nearest(s, tables, (int64_t *)(void *)room, args);
    } else if (next_axis(s, tables, 0) == s->rank) {
        memcpy(args->outputs[0], args->inputs[0],
               (size_t)lt_move_product(s->in_shape, 0, s->rank) * lt_cpu_element_bytes(s->dtype));
    } else {
        size_t buffer, task;
        lt_resize_run_passes(s, tables, room, args, &buffer, &task);
    }
    return LEAT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Resize (opset 10 and newer) and Upsample (7, 9).
 *
 * Nearest is a mapped copy. Linear and cubic are separable: passes over one or two neighbouring
 * axes each, through two buffers of the workspace in turn. With channels_last scales, sizes, roi
 * and axes keep the order N, C, spatial; only the data is N, spatial, C. */
#include "movement/resize.h"

#include <math.h>

enum {
    ROI,
    SCALES,
    SIZES,
    N_LISTS
};

typedef struct resize_tables {
    lt_resize_table table[LEAT_MAX_RANK]; /* of each axis of the data in memory */
} resize_tables;

typedef struct resize_state {
    lt_move_label label;
    const lt_resize_kernels *kernels;
    lt_resize_rule rule;
    leat_dtype dtype;
    bool wide;
    int32_t rank;
    int64_t in_shape[LEAT_MAX_RANK], out_shape[LEAT_MAX_RANK]; /* as in memory */
    int32_t n_axes;
    int32_t axes[LEAT_MAX_RANK]; /* in memory, in the order of the lists */
    int32_t policy;              /* 0 stretch, 1 not_larger, 2 not_smaller */
    double outside;
    union {
        uint8_t bytes[16];
        uint64_t align[2];
    } fill; /* the extrapolation value in dtype */
    /* Inputs: which they are, or -1; what is known of them. */
    int32_t input[N_LISTS];
    leat_dtype list_dtype[N_LISTS];
    bool planned;
    resize_tables tables;
    size_t table_bytes; /* room for tables */
    int64_t most_taps[LEAT_MAX_RANK];
    size_t buffer_bytes;
    uint32_t tasks;
} resize_state;

typedef struct resize_lists {
    bool has[N_LISTS];
    double values[N_LISTS][2 * LEAT_MAX_RANK];
} resize_lists;

/* ---- from inputs to axes -------------------------------------------------------------------- */

static leat_status read_list(const resize_state *s, int which, const void *data,
                             resize_lists *lists, leat_error *err)
{
    int64_t count = which == ROI ? 2 * s->n_axes : s->n_axes;
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
        if (!isfinite(value) || (which == SCALES && !(value > 0.0)) ||
            (which == SIZES && value < 0.0)) {
            return lt_cpu_fail(err, LEAT_INVALID, "%s: element %lld of %s is %g", s->label.text,
                               (long long)i,
                               which == ROI      ? "roi"
                               : which == SCALES ? "scales"
                                                 : "sizes",
                               value);
        }
        lists->values[which][i] = value;
    }
    lists->has[which] = true;
    return LEAT_OK;
}

/* The scale that all axes share under a keep_aspect_ratio_policy. */
static double shared_scale(const resize_state *s, const resize_lists *lists)
{
    double shared = 0.0;
    for (int32_t i = 0; i < s->n_axes; i++) {
        double scale = lists->values[SIZES][i] / (double)s->in_shape[s->axes[i]];
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

static leat_status make_axes(const resize_state *s, const resize_lists *lists, lt_resize_axis *axes,
                             leat_error *err)
{
    bool crop = s->rule.where == RESIZE_TF_CROP_AND_RESIZE;
    for (int32_t i = 0; i < s->rank; i++) {
        axes[i] = (lt_resize_axis){
            s->in_shape[i], s->out_shape[i], 1.0, (double)s->in_shape[i], 0.0, 1.0};
    }
    double shared = s->policy && lists->has[SIZES] ? shared_scale(s, lists) : 0.0;
    for (int32_t i = 0; i < s->n_axes; i++) {
        lt_resize_axis *axis = &axes[s->axes[i]];
        bool fits;
        if (crop && lists->has[ROI]) {
            axis->roi_begin = lists->values[ROI][i];
            axis->roi_end = lists->values[ROI][s->n_axes + i];
        }
        if (lists->has[SCALES]) {
            axis->scale = lists->values[SCALES][i];
            axis->width = axis->scale * (double)axis->in;
            fits = size_fits(axis, crop);
        } else if (s->policy) {
            axis->scale = shared;
            axis->width = shared * (double)axis->in;
            fits = (double)axis->out == floor(axis->width + 0.5);
        } else {
            axis->width = lists->values[SIZES][i];
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
static bool is_identity(const resize_state *s, const lt_resize_axis *axis)
{
    return axis->in == axis->out && axis->scale == 1.0 &&
           s->rule.where != RESIZE_TF_HALF_PIXEL_FOR_NN && axis->roi_begin == 0.0 &&
           axis->roi_end == 1.0;
}

static size_t axis_table_bytes(const resize_state *s, const lt_resize_axis *axis)
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
static leat_status make_tables(const resize_state *s, const lt_resize_axis *axes, uint8_t *room,
                               resize_tables *out_tables, leat_error *err)
{
    size_t used = 0;
    memset(out_tables, 0, sizeof(*out_tables));
    for (int32_t i = 0; i < s->rank; i++) {
        if (is_identity(s, &axes[i])) {
            continue;
        }
        int64_t taps = lt_resize_taps(&s->rule, axes[i].scale);
        size_t bytes = axis_table_bytes(s, &axes[i]);
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

static void run_nearest(const resize_state *s, const resize_tables *tables, int64_t *identity,
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
static int32_t plan_pass(const resize_state *s, const resize_tables *tables, int32_t first,
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

static int32_t next_axis(const resize_state *s, const resize_tables *tables, int32_t from)
{
    while (from < s->rank && tables->table[from].taps == 0) {
        from++;
    }
    return from;
}

/* Runs, or with args NULL only measures: bytes of a buffer and of a task's space. */
static void run_passes(const resize_state *s, const resize_tables *tables, uint8_t *buffers,
                       const leat_kernel_args *args, size_t *out_buffer, size_t *out_task)
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

static leat_status launch_resize(const void *opaque, const leat_kernel_args *args, leat_error *err)
{
    const resize_state *s = opaque;
    resize_tables found;
    const resize_tables *tables = &s->tables;
    uint8_t *room = args->workspace;
    if (!s->planned) {
        resize_lists lists = {0};
        lt_resize_axis axes[LEAT_MAX_RANK];
        leat_status status = LEAT_OK;
        for (int i = 0; status == LEAT_OK && i < N_LISTS; i++) {
            if (s->input[i] >= 0) {
                status = read_list(s, i, args->inputs[s->input[i]], &lists, err);
            }
        }
        if (status == LEAT_OK) {
            status = make_axes(s, &lists, axes, err);
        }
        if (status == LEAT_OK) {
            status = make_tables(s, axes, room, &found, err);
        }
        if (status != LEAT_OK) {
            return status;
        }
        tables = &found;
        room += (s->table_bytes + 63) / 64 * 64;
    }
    if (lt_move_product(s->out_shape, 0, s->rank) == 0) {
        return LEAT_OK;
    }
    if (s->rule.mode == RESIZE_NEAREST) {
        run_nearest(s, tables, (int64_t *)(void *)room, args);
    } else if (next_axis(s, tables, 0) == s->rank) {
        memcpy(args->outputs[0], args->inputs[0],
               (size_t)lt_move_product(s->in_shape, 0, s->rank) * lt_cpu_element_bytes(s->dtype));
    } else {
        size_t buffer, task;
        run_passes(s, tables, room, args, &buffer, &task);
    }
    return LEAT_OK;
}

/* ---- supports ------------------------------------------------------------------------------- */

static const char *const where_names[RESIZE_WHERES] = {
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
    "asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize"};
static const char *const round_names[] = {"round_prefer_floor", "round_prefer_ceil", "floor",
                                          "ceil"};

/* Upsample and Resize 10: inputs X and scales, asymmetric positions. Newer ones have an input more.
 */
static bool is_old(const leat_node *node)
{
    if (strcmp(node->op, "Upsample") == 0) {
        return true;
    }
    return strcmp(node->domain, "leat") == 0 ? node->n_inputs == 2 : node->opset < 11;
}

/* Reads the attributes that say how; *out_bad names one that is not known. */
static lt_resize_rule read_rule(const leat_node *node, const char **out_bad)
{
    lt_resize_rule rule = {.cubic_a = leat_node_float(node, "cubic_coeff_a", -0.75f)};
    bool old = is_old(node), known = false;
    *out_bad = NULL;
    rule.mode = leat_node_string_is(node, "mode", "linear")  ? RESIZE_LINEAR
                : leat_node_string_is(node, "mode", "cubic") ? RESIZE_CUBIC
                                                             : RESIZE_NEAREST;
    if (rule.mode == RESIZE_NEAREST && leat_node_attr(node, "mode") != NULL &&
        !leat_node_string_is(node, "mode", "nearest")) {
        *out_bad = "mode";
    }
    rule.where = old ? RESIZE_ASYMMETRIC : RESIZE_HALF_PIXEL;
    known = old || leat_node_attr(node, "coordinate_transformation_mode") == NULL;
    for (int i = 0; i < RESIZE_WHERES && !known; i++) {
        if (leat_node_string_is(node, "coordinate_transformation_mode", where_names[i])) {
            rule.where = (lt_resize_where)i;
            known = true;
        }
    }
    *out_bad = known ? *out_bad : "coordinate_transformation_mode";
    rule.round = old ? RESIZE_SIMPLE : RESIZE_ROUND_PREFER_FLOOR;
    known = old || leat_node_attr(node, "nearest_mode") == NULL;
    for (int i = 0; i < 4 && !known; i++) {
        if (leat_node_string_is(node, "nearest_mode", round_names[i])) {
            rule.round = (lt_resize_round)i;
            known = true;
        }
    }
    *out_bad = known ? *out_bad : "nearest_mode";
    rule.antialias =
        !old && leat_node_int(node, "antialias", 0) == 1 && rule.mode != RESIZE_NEAREST;
    rule.exclude_outside = !old && leat_node_int(node, "exclude_outside", 0) == 1;
    return rule;
}

leat_status lt_cpu_resize_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *in = leat_kernel_input(node, 0);
    const char *bad;
    lt_resize_rule rule = read_rule(node->node, &bad);
    if (in == NULL || bad != NULL) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: unknown %s", lt_move_name(node->node).text,
                           bad ? bad : "input");
    }
    if (rule.mode != RESIZE_NEAREST && !(CPU_NUMBERS >> in->dtype & 1)) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: %s can only be resized by nearest",
                           lt_move_name(node->node).text, leat_dtype_name(in->dtype));
    }
    const leat_attr *policy = leat_node_attr(node->node, "keep_aspect_ratio_policy");
    if (policy != NULL && !leat_node_string_is(node->node, "keep_aspect_ratio_policy", "stretch") &&
        !leat_node_string_is(node->node, "keep_aspect_ratio_policy", "not_larger") &&
        !leat_node_string_is(node->node, "keep_aspect_ratio_policy", "not_smaller")) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: unknown keep_aspect_ratio_policy",
                           lt_move_name(node->node).text);
    }
    return LEAT_OK;
}

#if defined(__x86_64__)
static const lt_resize_kernels *pick_kernels(lt_cpu_isa isa)
{
    return isa == LT_CPU_AVX512 ? &lt_resize_avx512
           : isa == LT_CPU_AVX2 ? &lt_resize_avx2
                                : &lt_resize_portable;
}
#else
static const lt_resize_kernels *pick_kernels(lt_cpu_isa isa)
{
    (void)isa;
    return &lt_resize_portable;
}
#endif

/* ---- prepare -------------------------------------------------------------------------------- */

/* Place in memory of axis `axis` of N, C, spatial. */
static int32_t memory_axis(int32_t axis, int32_t rank, bool channels_last)
{
    if (!channels_last || axis == 0) {
        return axis;
    }
    return axis == 1 ? rank - 1 : axis - 1;
}

static leat_status read_axes(const leat_node *node, resize_state *s, leat_error *err)
{
    size_t count;
    const int64_t *axes = leat_node_ints(node, "axes", &count);
    bool last = leat_node_int(node, "channels_last", 0) == 1;
    uint32_t seen = 0;
    s->n_axes = axes ? (int32_t)(count < 99 ? count : 99) : s->rank;
    if (s->n_axes > s->rank || (last && s->rank < 3)) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: %zu axes for rank %d", s->label.text, count,
                           s->rank);
    }
    for (int32_t i = 0; i < s->n_axes; i++) {
        int32_t axis = i;
        leat_status status = axes ? lt_move_axis(node, axes[i], s->rank, &axis, err) : LEAT_OK;
        if (status != LEAT_OK) {
            return status;
        }
        if (seen >> axis & 1) {
            return lt_cpu_fail(err, LEAT_INVALID, "%s: axis %d comes twice", s->label.text, axis);
        }
        seen |= 1u << axis;
        s->axes[i] = memory_axis(axis, s->rank, last);
    }
    return LEAT_OK;
}

/* Finds roi, scales and sizes among the inputs, and reads what is known of them. */
static leat_status read_inputs(const leat_kernel_node *node, resize_state *s, resize_lists *lists,
                               leat_error *err)
{
    bool old = is_old(node->node);
    const int places[N_LISTS] = {old ? -1 : 1, old ? 1 : 2, old ? -1 : 3};
    s->planned = true;
    for (int i = 0; i < N_LISTS; i++) {
        const leat_value *value =
            places[i] < 0 ? NULL : leat_kernel_input(node, (uint32_t)places[i]);
        int64_t count = value ? leat_value_count(value) : 0;
        int64_t wanted = i == ROI ? 2 * s->n_axes : s->n_axes;
        bool used = count > 0 && (i != ROI || s->rule.where == RESIZE_TF_CROP_AND_RESIZE);
        s->input[i] = used ? places[i] : -1;
        if (!used) {
            continue;
        }
        uint64_t dtypes = i == SIZES ? CPU_T(I64) : CPU_FLOATS;
        if (count != wanted || !(dtypes >> value->dtype & 1)) {
            return lt_cpu_fail(err, LEAT_INVALID, "%s: input %d has %lld elements of %s, not %lld",
                               s->label.text, places[i], (long long)count,
                               leat_dtype_name(value->dtype), (long long)wanted);
        }
        s->list_dtype[i] = value->dtype;
        s->planned = s->planned && value->data != NULL;
        leat_status status =
            value->data != NULL ? read_list(s, i, value->data, lists, err) : LEAT_OK;
        if (status != LEAT_OK) {
            return status;
        }
    }
    return LEAT_OK;
}

/* Upsample 7: scales are an attribute. */
static leat_status read_attribute(const leat_node *node, resize_state *s, resize_lists *lists,
                                  leat_error *err)
{
    const leat_attr *scales = leat_node_attr(node, "scales");
    s->planned = true;
    for (int i = 0; i < N_LISTS; i++) {
        s->input[i] = -1;
    }
    if (scales == NULL || scales->type != LEAT_ATTR_FLOATS || (int64_t)scales->count != s->rank) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: scales must be %d floats", s->label.text,
                           s->rank);
    }
    s->list_dtype[SCALES] = LEAT_DTYPE_F32;
    return read_list(s, SCALES, scales->u.floats, lists, err);
}

static void fill_shapes(const leat_kernel_node *node, resize_state *s)
{
    const leat_value *in = leat_kernel_input(node, 0), *out = leat_kernel_output(node, 0);
    s->rank = in->rank;
    s->dtype = in->dtype;
    s->wide = in->dtype == LEAT_DTYPE_F64 || in->dtype == LEAT_DTYPE_I32 ||
              in->dtype == LEAT_DTYPE_U32 || in->dtype == LEAT_DTYPE_I64 ||
              in->dtype == LEAT_DTYPE_U64;
    memcpy(s->in_shape, in->shape, sizeof(in->shape));
    memcpy(s->out_shape, out->shape, sizeof(out->shape));
    s->outside = leat_node_float(node->node, "extrapolation_value", 0.0f);
    if (CPU_NUMBERS >> s->dtype & 1) {
        lt_resize_store(s->dtype, s->fill.bytes, 0, 1, true, &s->outside);
    } else if (s->dtype == LEAT_DTYPE_STRING) {
        leat_string empty = {"", 0};
        memcpy(s->fill.bytes, &empty, sizeof(empty));
    }
    s->policy = leat_node_string_is(node->node, "keep_aspect_ratio_policy", "not_larger")    ? 1
                : leat_node_string_is(node->node, "keep_aspect_ratio_policy", "not_smaller") ? 2
                                                                                             : 0;
}

/* Axes as the shapes say: what the workspace is measured with before scales are known. */
static void guess_axes(const resize_state *s, lt_resize_axis *axes)
{
    for (int32_t i = 0; i < s->rank; i++) {
        double in = (double)s->in_shape[i], out = (double)s->out_shape[i];
        axes[i] = (lt_resize_axis){
            s->in_shape[i], s->out_shape[i], in > 0 ? out / in : 1.0, out, 0.0, 2.0};
        axes[i].scale = axes[i].scale > 0.0 ? axes[i].scale : 1.0;
    }
}

/* Workspace of the passes. Before the tables are known any set of the axes that keep their size may
 * turn out to be copied as it is: the largest need of all sets. */
static void measure_passes(resize_state *s, size_t *out_task)
{
    size_t buffer, task;
    if (s->planned) {
        run_passes(s, &s->tables, NULL, NULL, &s->buffer_bytes, out_task);
        return;
    }
    *out_task = 0;
    for (uint32_t set = 0; set < 1u << s->rank; set++) {
        resize_tables tables = {0};
        for (int32_t i = 0; i < s->rank; i++) {
            bool moves = s->in_shape[i] != s->out_shape[i] || (set >> i & 1);
            tables.table[i].taps = moves ? s->most_taps[i] : 0;
        }
        run_passes(s, &tables, NULL, NULL, &buffer, &task);
        *out_task = task > *out_task ? task : *out_task;
        s->buffer_bytes = buffer > s->buffer_bytes ? buffer : s->buffer_bytes;
    }
}

static leat_status plan_workspace(const leat_node *node, resize_state *s, resize_lists *lists,
                                  const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                  leat_error *err)
{
    lt_resize_axis axes[LEAT_MAX_RANK];
    leat_status status = LEAT_OK;
    guess_axes(s, axes);
    if (s->planned) {
        status = make_axes(s, lists, axes, err);
    }
    size_t dims = 0;
    for (int32_t i = 0; status == LEAT_OK && i < s->rank; i++) {
        size_t bytes = axis_table_bytes(s, &axes[i]);
        s->table_bytes += bytes;
        s->most_taps[i] = lt_resize_taps(&s->rule, axes[i].scale);
        dims += (size_t)s->out_shape[i];
        if (bytes >= SIZE_MAX / 64) {
            status = lt_cpu_fail(err, LEAT_INVALID, "%s: scale %g is too small", s->label.text,
                                 axes[i].scale);
        }
    }
    if (status == LEAT_OK && s->planned) {
        uint8_t *room = host->plan_alloc(plan, s->table_bytes + 64);
        status = room ? make_tables(s, axes, room, &s->tables, err) : lt_move_no_memory(node, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    size_t task, tables = s->planned ? 0 : (s->table_bytes + 63) / 64 * 64;
    if (s->rule.mode == RESIZE_NEAREST) {
        out_kernel->workspace_bytes = tables + (dims + 1) * sizeof(int64_t);
        return LEAT_OK;
    }
    measure_passes(s, &task);
    s->buffer_bytes = (s->buffer_bytes + 63) / 64 * 64;
    out_kernel->workspace_bytes = tables + 2 * s->buffer_bytes + s->tasks * task;
    return LEAT_OK;
}

leat_status lt_cpu_resize_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                  leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const lt_cpu_device *cpu = device;
    const leat_value *in = leat_kernel_input(node, 0), *out = leat_kernel_output(node, 0);
    const char *bad;
    resize_state *s = host->plan_alloc(plan, sizeof(*s));
    resize_lists lists = {0};
    if (s == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    s->label = lt_move_name(node->node);
    if (out->rank != in->rank || out->dtype != in->dtype) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: rank and type must stay", s->label.text);
    }
    fill_shapes(node, s);
    s->rule = read_rule(node->node, &bad);
    s->tasks = host->pool_threads(host->pool);
    s->kernels = pick_kernels(cpu->isa);
    leat_status status = read_axes(node->node, s, err);
    if (status == LEAT_OK && strcmp(node->node->op, "Upsample") == 0 && node->node->opset < 9) {
        status = read_attribute(node->node, s, &lists, err);
    } else if (status == LEAT_OK) {
        status = read_inputs(node, s, &lists, err);
        if (status == LEAT_OK && (s->input[SCALES] < 0) == (s->input[SIZES] < 0)) {
            status = lt_cpu_fail(err, LEAT_INVALID, "%s: it needs either scales or sizes",
                                 s->label.text);
        }
    }
    if (status == LEAT_OK) {
        status = plan_workspace(node->node, s, &lists, host, plan, out_kernel, err);
    }
    out_kernel->name = s->rule.mode == RESIZE_NEAREST  ? "resize_nearest"
                       : s->rule.mode == RESIZE_LINEAR ? "resize_linear"
                                                       : "resize_cubic";
    out_kernel->launch = launch_resize;
    out_kernel->state = s;
    out_kernel->unread_mask = s->planned ? ~1u : 0;
    return status;
}

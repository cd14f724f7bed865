/* SPDX-License-Identifier: Apache-2.0 */
/* Resize (opset 10 and newer) and Upsample (7, 9): attributes, inputs, workspace.
 *
 * With channels_last scales, sizes, roi and axes keep the order N, C, spatial; only the data is
 * N, spatial, C. */
#include "movement/resize.h"

#include "sizes.h"

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

static leat_status read_axes(const leat_node *node, lt_resize_state *s, leat_error *err)
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
static leat_status read_inputs(const leat_kernel_node *node, lt_resize_state *s,
                               lt_resize_lists *lists, leat_error *err)
{
    bool old = is_old(node->node);
    const int places[RESIZE_LISTS] = {old ? -1 : 1, old ? 1 : 2, old ? -1 : 3};
    s->planned = true;
    for (int i = 0; i < RESIZE_LISTS; i++) {
        const leat_value *value =
            places[i] < 0 ? NULL : leat_kernel_input(node, (uint32_t)places[i]);
        int64_t count = value ? leat_value_count(value) : 0;
        int64_t wanted = i == RESIZE_ROI ? 2 * s->n_axes : s->n_axes;
        bool used = count > 0 && (i != RESIZE_ROI || s->rule.where == RESIZE_TF_CROP_AND_RESIZE);
        s->input[i] = used ? places[i] : -1;
        if (!used) {
            continue;
        }
        uint64_t dtypes = i == RESIZE_SIZES ? CPU_T(I64) : CPU_FLOATS;
        if (count != wanted || !(dtypes >> value->dtype & 1)) {
            return lt_cpu_fail(err, LEAT_INVALID, "%s: input %d has %lld elements of %s, not %lld",
                               s->label.text, places[i], (long long)count,
                               leat_dtype_name(value->dtype), (long long)wanted);
        }
        s->list_dtype[i] = value->dtype;
        s->planned = s->planned && value->data != NULL;
        leat_status status =
            value->data != NULL ? lt_resize_read_list(s, i, value->data, lists, err) : LEAT_OK;
        if (status != LEAT_OK) {
            return status;
        }
    }
    return LEAT_OK;
}

/* Upsample 7: scales are an attribute. */
static leat_status read_attribute(const leat_node *node, lt_resize_state *s, lt_resize_lists *lists,
                                  leat_error *err)
{
    const leat_attr *scales = leat_node_attr(node, "scales");
    s->planned = true;
    for (int i = 0; i < RESIZE_LISTS; i++) {
        s->input[i] = -1;
    }
    if (scales == NULL || scales->type != LEAT_ATTR_FLOATS || (int64_t)scales->count != s->rank) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: scales must be %d floats", s->label.text,
                           s->rank);
    }
    s->list_dtype[RESIZE_SCALES] = LEAT_DTYPE_F32;
    return lt_resize_read_list(s, RESIZE_SCALES, scales->u.floats, lists, err);
}

static void fill_shapes(const leat_kernel_node *node, lt_resize_state *s)
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

/* Axes as the shapes say: what the workspace is measured with before scales are known. Scales are
 * the smallest that lead to the shape: a policy rounds half up; a crop, whose size only its data
 * tells, is taken to be at most four times the image. */
static void guess_axes(const lt_resize_state *s, lt_resize_axis *axes)
{
    bool crop = s->rule.where == RESIZE_TF_CROP_AND_RESIZE;
    for (int32_t i = 0; i < s->rank; i++) {
        double in = (double)s->in_shape[i], out = (double)s->out_shape[i];
        double least = s->policy ? out - 0.5 : crop ? out / 4.0 : out;
        axes[i] = (lt_resize_axis){
            s->in_shape[i], s->out_shape[i], in > 0 && least > 0 ? least / in : 1.0, out, 0.0, 1.0};
    }
}

/* Workspace of the passes. Before the tables are known any set of the axes that keep their size may
 * turn out to be copied as it is: the largest need of all sets. */
static void measure_passes(lt_resize_state *s, size_t *out_task)
{
    size_t buffer, task;
    if (s->planned) {
        lt_resize_run_passes(s, &s->tables, NULL, NULL, &s->buffer_bytes, out_task);
        return;
    }
    *out_task = 0;
    for (uint32_t set = 0; set < 1u << s->rank; set++) {
        lt_resize_tables tables = {0};
        for (int32_t i = 0; i < s->rank; i++) {
            bool moves = s->in_shape[i] != s->out_shape[i] || (set >> i & 1);
            tables.table[i].taps = moves ? s->most_taps[i] : 0;
        }
        lt_resize_run_passes(s, &tables, NULL, NULL, &buffer, &task);
        *out_task = task > *out_task ? task : *out_task;
        s->buffer_bytes = buffer > s->buffer_bytes ? buffer : s->buffer_bytes;
    }
}

static leat_status plan_workspace(const leat_node *node, lt_resize_state *s, lt_resize_lists *lists,
                                  const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                  leat_error *err)
{
    lt_resize_axis axes[LEAT_MAX_RANK];
    leat_status status = LEAT_OK;
    guess_axes(s, axes);
    if (s->planned) {
        status = lt_resize_make_axes(s, lists, axes, err);
    }
    size_t dims = 0;
    for (int32_t i = 0; status == LEAT_OK && i < s->rank; i++) {
        size_t bytes = lt_resize_axis_table_bytes(s, &axes[i]);
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
        status = room ? lt_resize_make_tables(s, axes, room, &s->tables, err)
                      : lt_move_no_memory(node, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    size_t task, tables = s->planned ? 0 : lt_whole_lines(s->table_bytes);
    if (s->rule.mode == RESIZE_NEAREST) {
        out_kernel->workspace_bytes = tables + (dims + 1) * sizeof(int64_t);
        return LEAT_OK;
    }
    measure_passes(s, &task);
    s->buffer_bytes = lt_whole_lines(s->buffer_bytes);
    out_kernel->workspace_bytes = tables + 2 * s->buffer_bytes + s->tasks * task;
    return LEAT_OK;
}

leat_status lt_cpu_resize_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                  leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const lt_cpu_device *cpu = device;
    const leat_value *in = leat_kernel_input(node, 0), *out = leat_kernel_output(node, 0);
    const char *bad;
    lt_resize_state *s = host->plan_alloc(plan, sizeof(*s));
    lt_resize_lists lists = {0};
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
        if (status == LEAT_OK && (s->input[RESIZE_SCALES] < 0) == (s->input[RESIZE_SIZES] < 0)) {
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
    out_kernel->launch = lt_resize_launch;
    out_kernel->state = s;
    out_kernel->unread_mask = s->planned ? ~1u : 0;
    return status;
}

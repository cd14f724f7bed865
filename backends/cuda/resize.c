/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of Resize and Upsample. The host computes where every element of a dimension that changes
 * comes from, and with which weights, by the operator's text: of nearest in f32, as other runtimes
 * do, so that a position that should be whole stays whole, of linear and cubic in f64. */
#include "cuda.h"
#include "rows.h"

#include "../gpu/params/resize.h"

#include <math.h>
#include <stddef.h>

typedef enum mode {
    NEAREST,
    LINEAR,
    CUBIC
} mode;

typedef enum where {
    HALF_PIXEL,
    HALF_PIXEL_SYMMETRIC,
    PYTORCH_HALF_PIXEL,
    ALIGN_CORNERS,
    ASYMMETRIC,
    TF_HALF_PIXEL_FOR_NN,
    N_WHERES
} where;

typedef enum rounding {
    PREFER_FLOOR,
    PREFER_CEIL,
    FLOOR,
    CEIL,
    N_ROUNDINGS,
    SIMPLE /* of opset 10 and before */
} rounding;

typedef struct rule {
    int32_t mode, where, rounding;
    int32_t antialias, exclude_outside;
    float cubic_a;
} rule;

/* A dimension that changes. Without padding between the fields: keys are made of them. */
typedef struct axis {
    int64_t in, out, taps;
    double scale;
    double width; /* of the whole result, which may be no whole number */
    int64_t dimension;
} axis;

/* Everything that the table depends on. */
typedef struct sizes {
    rule rule;
    int64_t n_axes;
    axis axes[LT_GPU_RESIZE_AXES];
} sizes;

/* ---- reading a node -------------------------------------------------------------------------- */

static bool is_old(const leat_node *node)
{
    return strcmp(node->op, "Upsample") == 0 ||
           (strcmp(node->domain, "leat") == 0 ? node->n_inputs == 2 : node->opset < 11);
}

/* The attribute's place among names; `otherwise` when it is absent, -1 when it is none of them. */
static int32_t find(const leat_node *node, const char *attribute, const char *const *names,
                    int32_t count, int32_t otherwise)
{
    if (leat_node_attr(node, attribute) == NULL) {
        return otherwise;
    }
    for (int32_t i = 0; i < count; i++) {
        if (leat_node_string_is(node, attribute, names[i])) {
            return i;
        }
    }
    return -1;
}

/* False for what these kernels do not know. */
static bool read_rule(const leat_node *node, rule *out)
{
    static const char *const modes[] = {"nearest", "linear", "cubic"};
    static const char *const wheres[N_WHERES] = {"half_pixel",         "half_pixel_symmetric",
                                                 "pytorch_half_pixel", "align_corners",
                                                 "asymmetric",         "tf_half_pixel_for_nn"};
    static const char *const roundings[N_ROUNDINGS] = {"round_prefer_floor", "round_prefer_ceil",
                                                       "floor", "ceil"};
    const bool old = is_old(node);
    *out = (rule){
        .mode = find(node, "mode", modes, 3, NEAREST),
        .where = old ? ASYMMETRIC
                     : find(node, "coordinate_transformation_mode", wheres, N_WHERES, HALF_PIXEL),
        .rounding = old ? SIMPLE : find(node, "nearest_mode", roundings, N_ROUNDINGS, PREFER_FLOOR),
        .cubic_a = leat_node_float(node, "cubic_coeff_a", -0.75f)};
    out->antialias = !old && out->mode != NEAREST && leat_node_int(node, "antialias", 0) == 1;
    out->exclude_outside = !old && leat_node_int(node, "exclude_outside", 0) == 1;
    return out->mode >= 0 && out->where >= 0 && out->rounding >= 0;
}

/* The constant scales or sizes, of which one must be there; NULL when it is not so. */
static const leat_value *list_of(const leat_kernel_node *node, bool *out_sizes)
{
    const bool old = is_old(node->node);
    const leat_value *scales = leat_kernel_input(node, old ? 1 : 2);
    const leat_value *sizes = old ? NULL : leat_kernel_input(node, 3);
    const bool scaled = scales != NULL && leat_value_count(scales) != 0;
    const bool sized = sizes != NULL && leat_value_count(sizes) != 0;
    const leat_value *list = scaled ? scales : sizes;
    *out_sizes = sized;
    if (scaled == sized || list->data == NULL || list->rank != 1 ||
        list->dtype != (sized ? LEAT_DTYPE_I64 : LEAT_DTYPE_F32)) {
        return NULL;
    }
    return list;
}

leat_status lt_cuda_resize_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0);
    const leat_attr *policy = leat_node_attr(node->node, "keep_aspect_ratio_policy");
    bool sized;
    rule r;
    if (!read_rule(node->node, &r)) {
        return lt_cuda_fail(err, LEAT_UNSUPPORTED,
                            "cuda: Resize: this mode, or a crop of the image");
    }
    if (list_of(node, &sized) == NULL ||
        (policy != NULL &&
         !leat_node_string_is(node->node, "keep_aspect_ratio_policy", "stretch"))) {
        return lt_cuda_fail(err, LEAT_UNSUPPORTED,
                            "cuda: Resize: scales or sizes that are not constant, or a policy");
    }
    if (r.mode != NEAREST && (LT_CUDA_FLOATS >> x->dtype & 1) == 0) {
        return lt_cuda_fail(err, LEAT_UNSUPPORTED, "cuda: Resize: this type by nearest only");
    }
    return lt_cuda_fits(node, err);
}

/* Place in memory of dimension i of N, C, spatial. */
static int32_t in_memory(const leat_kernel_node *node, int32_t i, int32_t rank)
{
    const bool last = leat_node_int(node->node, "channels_last", 0) != 0;
    return !last || i == 0 ? i : i == 1 ? rank - 1 : i - 1;
}

static int64_t taps_of(const rule *r, double scale)
{
    const double radius = r->mode == CUBIC ? 2 : 1;
    if (r->mode == NEAREST) {
        return 1;
    }
    if (!r->antialias || scale >= 1) {
        return (int64_t)(2 * radius);
    }
    return (int64_t)fmin(2 - 2 * (floor(-radius / scale) + 1), 0x1p40);
}

/* Dimension d of list entry `at`; false where it makes no sense. One that stays is left out. */
static bool read_axis(const leat_kernel_node *node, const leat_value *list, bool sized, int64_t at,
                      int32_t d, sizes *out)
{
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    const int64_t in = x->shape[d], result = y->shape[d];
    double scale = sized ? 0 : ((const float *)list->data)[at], width = scale * (double)in;
    if (sized) {
        width = (double)((const int64_t *)list->data)[at];
        scale = in ? width / (double)in : 1;
    }
    const bool fits =
        (double)result == floor(width) || (float)result == floorf((float)in * (float)scale);
    if (!(scale > 0) || !isfinite(scale) || !fits || in < 1 || result < 1) {
        return false;
    }
    if (scale == 1 && out->rule.where != TF_HALF_PIXEL_FOR_NN) {
        return in == result;
    }
    if (out->n_axes == LT_GPU_RESIZE_AXES) {
        return false;
    }
    out->axes[out->n_axes++] = (axis){in, result, taps_of(&out->rule, scale), scale, width, d};
    return true;
}

/* False where the node makes no sense, or more dimensions change than kernels walk. */
static bool read_sizes(const leat_kernel_node *node, sizes *out)
{
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    size_t n_listed;
    const int64_t *listed = leat_node_ints(node->node, "axes", &n_listed);
    bool sized;
    const leat_value *list = list_of(node, &sized);
    memset(out, 0, sizeof(*out));
    if (list == NULL || !read_rule(node->node, &out->rule) || y->rank != x->rank ||
        list->shape[0] != (listed ? (int64_t)n_listed : x->rank)) {
        return false;
    }
    for (int64_t i = 0; i < list->shape[0]; i++) {
        int64_t named = listed ? listed[i] + (listed[i] < 0 ? x->rank : 0) : i;
        if (named < 0 || named >= x->rank ||
            !read_axis(node, list, sized, i, in_memory(node, (int32_t)named, x->rank), out)) {
            return false;
        }
    }
    for (int64_t i = 1; i < out->n_axes; i++) {
        for (int64_t k = 0; k < i; k++) {
            if (out->axes[i].dimension == out->axes[k].dimension) {
                return false;
            }
        }
    }
    return true;
}

/* ---- tables ---------------------------------------------------------------------------------- */

static double position_f32(int32_t where, const axis *a, float j)
{
    const float scale = (float)a->scale, in = (float)a->in, width = (float)a->width;
    switch (where) {
    case HALF_PIXEL_SYMMETRIC:
        return in / 2.0f * (1.0f - (float)a->out / width) + (j + 0.5f) / scale - 0.5f;
    case PYTORCH_HALF_PIXEL:
        return a->out > 1 ? (j + 0.5f) / scale - 0.5f : 0.0f;
    case ALIGN_CORNERS:
        return width == 1.0f ? 0.0f : j * (in - 1.0f) / (width - 1.0f);
    case ASYMMETRIC:
        return j / scale;
    case TF_HALF_PIXEL_FOR_NN:
        return (j + 0.5f) / scale;
    default:
        return (j + 0.5f) / scale - 0.5f;
    }
}

static double position_f64(int32_t where, const axis *a, double j)
{
    const double in = (double)a->in;
    switch (where) {
    case HALF_PIXEL_SYMMETRIC:
        return in / 2 * (1 - (double)a->out / a->width) + (j + 0.5) / a->scale - 0.5;
    case PYTORCH_HALF_PIXEL:
        return a->out > 1 ? (j + 0.5) / a->scale - 0.5 : 0;
    case ALIGN_CORNERS:
        return a->width == 1 ? 0 : j * (in - 1) / (a->width - 1);
    case ASYMMETRIC:
        return j / a->scale;
    case TF_HALF_PIXEL_FOR_NN:
        return (j + 0.5) / a->scale;
    default:
        return (j + 0.5) / a->scale - 0.5;
    }
}

static double rounded(int32_t rounding, double x, double scale)
{
    switch (rounding) {
    case FLOOR:
        return floor(x);
    case CEIL:
        return ceil(x);
    case PREFER_CEIL:
        return floor(x + 0.5);
    case SIMPLE:
        return scale < 1 ? ceil(x) : trunc(x);
    default:
        return ceil(x - 0.5);
    }
}

static int32_t inside(double x, int64_t count)
{
    return x > 0 ? (int32_t)fmin(x, (double)(count - 1)) : 0;
}

/* Weight of a tap at distance d: a triangle, or Keys' cubic. */
static double weight_at(const rule *r, double d)
{
    const double a = r->cubic_a;
    d = fabs(d);
    if (r->mode == LINEAR) {
        return d < 1 ? 1 - d : 0;
    }
    return d <= 1  ? ((a + 2) * d - (a + 3)) * d * d + 1
           : d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
                   : 0;
}

/* The taps around position x, their weights made to sum to 1. */
static void fill_taps(const rule *r, const axis *a, double x, int32_t *index, float *weight)
{
    const double stretch = r->antialias && a->scale < 1 ? a->scale : 1;
    const double limit = (double)(a->in + a->taps);
    x = fmin(fmax(x, -limit), limit);
    const double first = ceil(x) - (double)(a->taps / 2);
    double sum = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t t = 0; t < a->taps; t++) {
            const double at = first + (double)t;
            const bool left_out = r->exclude_outside && (at < 0 || at > (double)(a->in - 1));
            const double w = left_out ? 0 : weight_at(r, (at - x) * stretch);
            if (pass == 0) {
                sum += w;
                continue;
            }
            index[t] = inside(at, a->in);
            weight[t] = (float)(sum != 0 ? w / sum : w);
        }
    }
}

/* For plan_pack: of each axis in turn indices, then weights. */
static leat_status fill_table(void *out, size_t bytes, const leat_value *constant,
                              const void *argument, leat_error *err)
{
    const sizes *s = argument;
    int32_t *words = out;
    (void)bytes, (void)constant, (void)err;
    for (int64_t i = 0; i < s->n_axes; i++) {
        const axis *a = &s->axes[i];
        float *weights = (float *)(void *)(words + a->out * a->taps);
        for (int64_t j = 0; j < a->out; j++) {
            if (s->rule.mode == NEAREST) {
                const double x = position_f32(s->rule.where, a, (float)j);
                words[j] = inside(rounded(s->rule.rounding, x, a->scale), a->in);
                weights[j] = 1;
            } else {
                fill_taps(&s->rule, a, position_f64(s->rule.where, a, (double)j),
                          words + j * a->taps, weights + j * a->taps);
            }
        }
        words += 2 * a->out * a->taps;
    }
    return LEAT_OK;
}

/* FNV-1a. */
static uint64_t hash(const void *data, size_t bytes)
{
    uint64_t sum = 0xcbf29ce484222325u;
    for (size_t i = 0; i < bytes; i++) {
        sum = (sum ^ ((const unsigned char *)data)[i]) * 0x100000001b3u;
    }
    return sum;
}

/* ---- prepare --------------------------------------------------------------------------------- */

/* Axes of the kernel's parameters. False for more entries than it counts. */
static bool fill_axes(const sizes *s, lt_gpu_resize *p, size_t *out_words)
{
    int64_t words = 0;
    for (int64_t i = 0; i < s->n_axes; i++) {
        const axis *a = &s->axes[i];
        if (a->taps > (1 << 28) / a->out || words > 1 << 28) {
            return false;
        }
        p->axis[i] = (lt_gpu_resize_axis){.dimension = (int32_t)a->dimension,
                                          .taps = (int32_t)a->taps,
                                          .index = (int32_t)words,
                                          .weight = (int32_t)(words + a->out * a->taps),
                                          .x_stride = p->x_stride[a->dimension]};
        p->x_stride[a->dimension] = 0;
        words += 2 * a->out * a->taps;
    }
    p->n_axes = (int32_t)s->n_axes;
    *out_words = (size_t)words;
    return true;
}

leat_status lt_cuda_resize_prepare(const leat_kernel_node *node, void *device,
                                   const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                   leat_error *err)
{
    lt_cuda_builder b;
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    lt_gpu_resize p = {.count = leat_value_count(y)};
    lt_cuda_walk walk = {.rank = y->rank};
    int64_t stride = 1;
    size_t words = 0;
    bool sized;
    char name[64];
    sizes s;
    leat_status status = lt_cuda_begin(&b, node, device, host, plan, out_kernel, 1, err);
    if (status != LEAT_OK || p.count == 0) {
        return status;
    }
    for (int32_t i = x->rank - 1; i >= 0; i--) {
        p.x_stride[i] = stride;
        stride *= x->shape[i];
    }
    memcpy(walk.shape, y->shape, sizeof(walk.shape));
    lt_cuda_walk_index(&walk, &p.index);
    if (!read_sizes(node, &s) || !fill_axes(&s, &p, &words)) {
        return lt_cuda_fail(err, LEAT_UNSUPPORTED,
                            "cuda: Resize node '%s': sizes that do not fit, or more than %d "
                            "dimensions that change",
                            node->node->name, LT_GPU_RESIZE_AXES);
    }
    p.packed = p.x_stride[x->rank - 1] == 1;
    if (s.n_axes != 0) {
        status = host->plan_pack(plan, list_of(node, &sized), hash(&s, sizeof(s)), 4 * words,
                                 fill_table, &s, &p.table, err);
    }
    out_kernel->unread_mask = ~1u;
    lt_cuda_kernel_name(name, "resize",
                        s.rule.mode == NEAREST ? lt_cuda_by_bytes(x->dtype)
                                               : lt_cuda_type_name(x->dtype));
    return status
               ? status
               : lt_cuda_add(
                     &b,
                     &(lt_cuda_launch){
                         .kernel = name,
                         .grid = {lt_gpu_blocks(p.count, p.packed ? 4 : 1, b.device->processors)},
                         .parameters = &p,
                         .parameter_bytes = sizeof(p),
                         .n_pointers = 2,
                         .pointers = {{offsetof(lt_gpu_resize, x), LT_CUDA_INPUT, 0, 0},
                                      {offsetof(lt_gpu_resize, y), LT_CUDA_OUTPUT, 0, 0}}});
}

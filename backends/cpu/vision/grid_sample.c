/* SPDX-License-Identifier: Apache-2.0 */
/* GridSample: y[n, c, p] is x[n, c] at the place that grid[n, p] names, -1 to 1 on each axis, the
 * last axis first. AffineGrid makes such a grid.
 *
 * Nearest, linear (2^d taps) or cubic (16 taps, Keys 1981 with a = -0.75, two axes only). Places
 * outside are 0, the border, or mirrored. The taps of a place are found once and serve all
 * channels, whose planes lie side by side. Interpolation in f64; bound by the reads of taps. */
#include "elementwise/element.h"
#include "movement/movement.h"

#include <math.h>

#define MOST_TAPS 16

typedef enum sample_mode {
    NEAREST,
    LINEAR,
    CUBIC
} sample_mode;

typedef enum sample_padding {
    ZEROS,
    BORDER,
    REFLECTION
} sample_padding;

typedef struct grid_sample {
    leat_dtype dtype, grid_dtype;
    sample_mode mode;
    sample_padding padding;
    bool align;
    int32_t spatial; /* 1 to 3 */
    int64_t batch, channels, places;
    int64_t in[3]; /* extents, first axis first */
    int64_t plane;
} grid_sample;

/* What is read for one place: offsets into a plane and their weights. */
typedef struct taps {
    int count;
    int64_t at[MOST_TAPS];
    double weight[MOST_TAPS];
} taps;

/* Mirrors x at both ends of [low, high]. */
static double reflect(double x, double low, double high)
{
    double range = high - low;
    if (!(range > 0)) {
        return low;
    }
    double past = x < low ? low - x : x > high ? x - high : 0;
    double times = floor(past / range), rest = past - times * range;
    bool even = fmod(times, 2) == 0;
    if (x < low) {
        return even ? low + rest : high - rest;
    }
    return x > high ? (even ? high - rest : low + rest) : x;
}

/* Coordinate of axis i in elements, brought inside as the padding says. */
static double coordinate(const grid_sample *s, int i, double normal)
{
    double size = (double)s->in[i];
    double x = s->align ? (normal + 1) / 2 * (size - 1) : ((normal + 1) * size - 1) / 2;
    if (s->mode == NEAREST) {
        x = nearbyint(x);
    }
    if (s->padding == BORDER && s->mode != CUBIC) { /* whose taps are brought inside one by one */
        x = x > 0 ? x : 0;                          /* NaN becomes 0 */
        return x < size - 1 ? x : size - 1;
    }
    if (s->padding == REFLECTION) {
        x = fabs(x) < 0x1p52 ? x : 0;
        return s->align ? reflect(x, 0, size - 1) : reflect(x, -0.5, size - 0.5);
    }
    return x > -0x1p40 && x < 0x1p40 ? x : -0x1p40;
}

/* Element that stands for index `at` of axis i; -1: nothing does. */
static int64_t inside(const grid_sample *s, int i, int64_t at)
{
    int64_t size = s->in[i];
    if (at >= 0 && at < size) {
        return at;
    }
    if (s->padding == ZEROS || size == 0) {
        return -1;
    }
    if (s->padding == REFLECTION) {
        double x = s->align ? reflect((double)at, 0, (double)(size - 1))
                            : reflect((double)at, -0.5, (double)size - 0.5);
        at = (int64_t)x;
    }
    return at < 0 ? 0 : at >= size ? size - 1 : at;
}

/* Indices and weights along one axis; returns how many. */
static int axis_taps(const grid_sample *s, int i, double x, int64_t *at, double *weight)
{
    double base = floor(x), t = x - base;
    if (s->mode == NEAREST) {
        at[0] = inside(s, i, (int64_t)nearbyint(x));
        weight[0] = 1;
        return 1;
    }
    if (s->mode == LINEAR) {
        weight[0] = 1 - t;
        weight[1] = t;
        for (int k = 0; k < 2; k++) {
            at[k] = inside(s, i, (int64_t)base + k);
        }
        return 2;
    }
    const double a = -0.75;
    for (int k = 0; k < 4; k++) {
        double d = fabs(t + 1 - k);
        at[k] = inside(s, i, (int64_t)base - 1 + k);
        weight[k] = d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1
                           : ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
    }
    return 4;
}

static void find_taps(const grid_sample *s, const void *grid, int64_t place, taps *out)
{
    out->count = 1;
    out->at[0] = 0;
    out->weight[0] = 1;
    for (int i = 0; i < s->spatial; i++) {
        int64_t at[4];
        double weight[4];
        double normal =
            lt_element_get(s->grid_dtype, grid, place * s->spatial + s->spatial - 1 - i);
        int n = axis_taps(s, i, coordinate(s, i, normal), at, weight);
        taps so_far = *out;
        out->count = 0;
        for (int k = 0; k < so_far.count * n; k++) {
            if (at[k % n] >= 0) {
                out->at[out->count] = so_far.at[k / n] * s->in[i] + at[k % n];
                out->weight[out->count++] = so_far.weight[k / n] * weight[k % n];
            }
        }
    }
}

typedef struct sample_job {
    const grid_sample *s;
    const void *x, *grid;
    void *y;
} sample_job;

static void sample_range(void *argument, int64_t begin, int64_t end)
{
    const sample_job *job = argument;
    const grid_sample *s = job->s;
    for (int64_t place = begin; place < end; place++) {
        int64_t n = place / s->places, p = place % s->places;
        taps t;
        find_taps(s, job->grid, place, &t);
        for (int64_t c = n * s->channels; c < (n + 1) * s->channels; c++) {
            double sum = 0;
            for (int k = 0; k < t.count; k++) {
                sum += t.weight[k] * lt_element_get(s->dtype, job->x, c * s->plane + t.at[k]);
            }
            lt_element_set(s->dtype, job->y, c * s->places + p, lt_element_fit(s->dtype, sum));
        }
    }
}

static leat_status launch_grid_sample(const void *state, const leat_kernel_args *args,
                                      leat_error *err)
{
    const grid_sample *s = state;
    sample_job job = {s, args->inputs[0], args->inputs[1], args->outputs[0]};
    (void)err;
    lt_cpu_parallel_range(args, s->batch * s->places, 1, 32.0 * (double)(s->channels + 8),
                          sample_range, &job);
    return LEAT_OK;
}

leat_status lt_cpu_grid_sample_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *grid = leat_kernel_input(node, 1);
    if (x == NULL || grid == NULL || !(CPU_FLOATS >> grid->dtype & 1) || x->rank > 5) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED,
                           "%s: a grid of floats and 1 to 3 spatial dimensions are served",
                           lt_move_name(node->node).text);
    }
    return LEAT_OK;
}

static leat_status read_modes(const leat_kernel_node *node, grid_sample *s, leat_error *err)
{
    const leat_node *n = node->node;
    s->mode = leat_node_string_is(n, "mode", "nearest") ? NEAREST
              : leat_node_string_is(n, "mode", "bicubic") || leat_node_string_is(n, "mode", "cubic")
                  ? CUBIC
                  : LINEAR;
    s->padding = leat_node_string_is(n, "padding_mode", "border")       ? BORDER
                 : leat_node_string_is(n, "padding_mode", "reflection") ? REFLECTION
                                                                        : ZEROS;
    s->align = leat_node_int(n, "align_corners", 0) != 0;
    return s->mode == CUBIC && s->spatial > 2
               ? lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: cubic in more than two dimensions",
                             lt_move_name(n).text)
               : LEAT_OK;
}

leat_status lt_cpu_grid_sample_prepare(const leat_kernel_node *node, void *device,
                                       const leat_host *host, leat_plan *plan,
                                       leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *grid = leat_kernel_input(node, 1);
    const leat_value *y = leat_kernel_output(node, 0);
    grid_sample *s = host->plan_alloc(plan, sizeof(*s));
    (void)device;
    if (s == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    s->spatial = x->rank - 2;
    if (x->rank < 3 || grid->rank != x->rank || grid->shape[0] != x->shape[0] ||
        grid->shape[x->rank - 1] != s->spatial) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: the grid does not fit the data",
                           lt_move_name(node->node).text);
    }
    s->dtype = x->dtype;
    s->grid_dtype = grid->dtype;
    s->batch = x->shape[0];
    s->channels = x->shape[1];
    s->places = lt_move_product(grid->shape, 1, x->rank - 1);
    s->plane = lt_move_product(x->shape, 2, x->rank);
    memcpy(s->in, x->shape + 2, (size_t)s->spatial * sizeof(*s->in));
    out_kernel->name = "grid_sample";
    out_kernel->launch = launch_grid_sample;
    out_kernel->state = s;
    if (leat_value_count(y) != s->batch * s->channels * s->places) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: its output does not fit",
                           lt_move_name(node->node).text);
    }
    return read_modes(node, s, err);
}

/* ---- AffineGrid ----------------------------------------------------------------------------- */

typedef struct affine_grid {
    leat_dtype dtype;
    bool align;
    int32_t spatial;
    int64_t batch, extent[3];
} affine_grid;

/* grid[n, p, i] = sum over k of theta[n, i, k] * place[k], the last axis first, 1 at the end. */
static leat_status launch_affine_grid(const void *state, const leat_kernel_args *args,
                                      leat_error *err)
{
    const affine_grid *g = state;
    int32_t d = g->spatial;
    int64_t places = lt_move_product(g->extent, 0, d);
    (void)err;
    for (int64_t item = 0; item < g->batch * places; item++) {
        double place[4] = {0};
        int64_t rest = item % places;
        for (int32_t i = 0; i < d; i++) {
            int64_t size = g->extent[d - 1 - i], at = rest % size;
            rest /= size;
            place[i] = g->align ? (size > 1 ? 2 * (double)at / (double)(size - 1) - 1 : -1)
                                : (2 * (double)at + 1) / (double)size - 1;
        }
        place[d] = 1;
        for (int32_t i = 0; i < d; i++) {
            double sum = 0;
            for (int32_t k = 0; k <= d; k++) {
                int64_t at = (item / places * d + i) * (d + 1) + k;
                sum += lt_element_get(g->dtype, args->inputs[0], at) * place[k];
            }
            lt_element_set(g->dtype, args->outputs[0], item * d + i, sum);
        }
    }
    return LEAT_OK;
}

leat_status lt_cpu_affine_grid_prepare(const leat_kernel_node *node, void *device,
                                       const leat_host *host, leat_plan *plan,
                                       leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *theta = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    affine_grid *g = host->plan_alloc(plan, sizeof(*g));
    (void)device;
    if (g == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    g->spatial = y->rank - 2;
    if (theta->rank != 3 || g->spatial < 1 || g->spatial > 3 || theta->shape[1] != g->spatial ||
        theta->shape[2] != g->spatial + 1 || theta->shape[0] != y->shape[0] ||
        y->shape[y->rank - 1] != g->spatial) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: theta does not fit the size",
                           lt_move_name(node->node).text);
    }
    g->dtype = theta->dtype;
    g->align = leat_node_int(node->node, "align_corners", 0) != 0;
    g->batch = y->shape[0];
    memcpy(g->extent, y->shape + 1, (size_t)g->spatial * sizeof(*g->extent));
    out_kernel->name = "affine_grid";
    out_kernel->launch = launch_affine_grid;
    out_kernel->state = g;
    return LEAT_OK;
}

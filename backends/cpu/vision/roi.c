/* SPDX-License-Identifier: Apache-2.0 */
/* RoiAlign (He et al., arXiv:1703.06870) and MaxRoiPool (Girshick, arXiv:1504.08083): each region
 * of interest of an image is cut into bins; a bin is the mean or maximum of samples between
 * pixels, or the maximum of its pixels. Regions are checked before they are used. */
#include "elementwise/element.h"
#include "movement/movement.h"

#include <math.h>

#define MOST_SAMPLES 4096 /* along one axis of a bin */

typedef struct roi_pool {
    lt_move_label label;
    leat_dtype dtype, index_dtype;
    bool align; /* RoiAlign */
    bool maximum, half_pixel;
    int64_t sampling;
    double scale;
    int64_t batch, channels, height, width, rois, out_height, out_width;
} roi_pool;

typedef struct roi_job {
    const roi_pool *p;
    const void *x, *rois, *batches;
    void *y;
} roi_job;

/* A region in pixels. */
typedef struct region {
    int64_t batch;
    double top, left, height, width;
} region;

static region read_region(const roi_job *job, int64_t r)
{
    const roi_pool *p = job->p;
    int64_t each = p->align ? 4 : 5, at = r * each + (p->align ? 0 : 1);
    double offset = p->align && p->half_pixel ? 0.5 : 0, v[4];
    region out;
    for (int64_t i = 0; i < 4; i++) {
        v[i] = lt_element_get(p->dtype, job->rois, at + i) * p->scale - offset;
    }
    out.batch = p->align ? lt_element_int(p->index_dtype, job->batches, r)
                         : lt_saturate_i64(lt_element_get(p->dtype, job->rois, r * 5));
    if (p->align) {
        out.left = v[0];
        out.top = v[1];
        out.width = v[2] - v[0];
        out.height = v[3] - v[1];
        if (!p->half_pixel) {
            out.width = fmax(out.width, 1);
            out.height = fmax(out.height, 1);
        }
    } else {
        out.left = round(v[0]);
        out.top = round(v[1]);
        out.width = fmax(round(v[2]) - out.left + 1, 1);
        out.height = fmax(round(v[3]) - out.top + 1, 1);
    }
    return out;
}

/* Samples along one axis of a bin. */
static int64_t samples(const roi_pool *p, double extent, int64_t bins)
{
    return p->sampling > 0 ? p->sampling : lt_saturate_i64(ceil(extent / (double)bins));
}

static leat_status check_regions(const roi_job *job, leat_error *err)
{
    const roi_pool *p = job->p;
    for (int64_t r = 0; r < p->rois; r++) {
        region g = read_region(job, r);
        if (g.batch < 0 || g.batch >= p->batch) {
            return lt_cpu_fail(err, LEAT_INVALID, "%s: region %lld is of image %lld of %lld",
                               p->label.text, (long long)r, (long long)g.batch,
                               (long long)p->batch);
        }
        bool sane = fabs(g.left) < 0x1p40 && fabs(g.top) < 0x1p40 && fabs(g.width) < 0x1p40 &&
                    fabs(g.height) < 0x1p40;
        if (!sane || samples(p, g.height, p->out_height) > MOST_SAMPLES ||
            samples(p, g.width, p->out_width) > MOST_SAMPLES) {
            return lt_cpu_fail(err, LEAT_INVALID, "%s: region %lld is not finite or too large",
                               p->label.text, (long long)r);
        }
    }
    return LEAT_OK;
}

/* Between the four pixels around (y, x): their sum by weight, or their largest weighted value. */
static double sample(const roi_job *job, int64_t plane, double y, double x)
{
    const roi_pool *p = job->p;
    if (y < -1 || y > (double)p->height || x < -1 || x > (double)p->width) {
        return 0;
    }
    y = fmax(y, 0);
    x = fmax(x, 0);
    int64_t top = (int64_t)y, left = (int64_t)x;
    top = top < p->height - 1 ? top : p->height - 1;
    left = left < p->width - 1 ? left : p->width - 1;
    int64_t bottom = top < p->height - 1 ? top + 1 : top;
    int64_t right = left < p->width - 1 ? left + 1 : left;
    double down = bottom == top ? 0 : y - (double)top, over = right == left ? 0 : x - (double)left;
    int64_t first = plane * p->height * p->width;
    double a =
        (1 - down) * (1 - over) * lt_element_get(p->dtype, job->x, first + top * p->width + left);
    double b = (1 - down) * over * lt_element_get(p->dtype, job->x, first + top * p->width + right);
    double c =
        down * (1 - over) * lt_element_get(p->dtype, job->x, first + bottom * p->width + left);
    double d = down * over * lt_element_get(p->dtype, job->x, first + bottom * p->width + right);
    return p->maximum ? fmax(fmax(a, b), fmax(c, d)) : a + b + c + d;
}

static double align_bin(const roi_job *job, const region *g, int64_t plane, int64_t i, int64_t j)
{
    const roi_pool *p = job->p;
    double bin_height = g->height / (double)p->out_height;
    double bin_width = g->width / (double)p->out_width;
    int64_t rows = samples(p, g->height, p->out_height);
    int64_t columns = samples(p, g->width, p->out_width);
    double sum = 0;
    bool first = true;
    for (int64_t r = 0; r < rows; r++) {
        double y = g->top + ((double)i + ((double)r + 0.5) / (double)rows) * bin_height;
        for (int64_t c = 0; c < columns; c++) {
            double x = g->left + ((double)j + ((double)c + 0.5) / (double)columns) * bin_width;
            double v = sample(job, plane, y, x);
            sum = !p->maximum ? sum + v : first ? v : fmax(sum, v);
            first = false;
        }
    }
    double count = (double)(rows * columns);
    return p->maximum || count < 1 ? sum : sum / count;
}

static double clamp(double v, double low, double high)
{
    return fmin(fmax(v, low), high);
}

static double pool_bin(const roi_job *job, const region *g, int64_t plane, int64_t i, int64_t j)
{
    const roi_pool *p = job->p;
    double bin_height = g->height / (double)p->out_height;
    double bin_width = g->width / (double)p->out_width, h = (double)p->height, w = (double)p->width;
    int64_t top = (int64_t)clamp(floor((double)i * bin_height) + g->top, 0, h);
    int64_t bottom = (int64_t)clamp(ceil((double)(i + 1) * bin_height) + g->top, 0, h);
    int64_t left = (int64_t)clamp(floor((double)j * bin_width) + g->left, 0, w);
    int64_t right = (int64_t)clamp(ceil((double)(j + 1) * bin_width) + g->left, 0, w);
    double most = top < bottom && left < right ? -INFINITY : 0;
    for (int64_t y = top; y < bottom; y++) {
        for (int64_t x = left; x < right; x++) {
            int64_t at = (plane * p->height + y) * p->width + x;
            most = fmax(most, lt_element_get(p->dtype, job->x, at));
        }
    }
    return most;
}

/* Items are (region, channel) pairs. */
static void roi_range(void *argument, int64_t begin, int64_t end)
{
    const roi_job *job = argument;
    const roi_pool *p = job->p;
    int64_t bins = p->out_height * p->out_width;
    for (int64_t item = begin; item < end; item++) {
        region g = read_region(job, item / p->channels);
        int64_t plane = g.batch * p->channels + item % p->channels;
        for (int64_t k = 0; k < bins; k++) {
            int64_t i = k / p->out_width, j = k % p->out_width;
            double v = p->align ? align_bin(job, &g, plane, i, j) : pool_bin(job, &g, plane, i, j);
            lt_element_set(p->dtype, job->y, item * bins + k, v);
        }
    }
}

static leat_status launch_roi(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const roi_pool *p = state;
    roi_job job = {p, args->inputs[0], args->inputs[1], p->align ? args->inputs[2] : NULL,
                   args->outputs[0]};
    leat_status status = check_regions(&job, err);
    if (status == LEAT_OK && (p->height == 0 || p->width == 0)) { /* no pixels: as outside */
        size_t element = lt_cpu_element_bytes(p->dtype);
        memset(job.y, 0, (size_t)(p->rois * p->channels * p->out_height * p->out_width) * element);
    } else if (status == LEAT_OK) {
        double work = 256.0 * (double)(p->out_height * p->out_width);
        lt_cpu_parallel_range(args, p->rois * p->channels, 1, work, roi_range, &job);
    }
    return status;
}

leat_status lt_cpu_roi_align_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *rois = leat_kernel_input(node, 1);
    const leat_value *batches = leat_kernel_input(node, 2);
    if (x == NULL || rois == NULL || rois->dtype != x->dtype ||
        (batches != NULL && batches->dtype != LEAT_DTYPE_I64)) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED,
                           "%s: regions must be of the data's type, batch indices i64",
                           lt_move_name(node->node).text);
    }
    return LEAT_OK;
}

static leat_status prepare_roi(const leat_kernel_node *node, const leat_host *host, leat_plan *plan,
                               roi_pool **out, leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *rois = leat_kernel_input(node, 1);
    const leat_value *y = leat_kernel_output(node, 0);
    roi_pool *p = host->plan_alloc(plan, sizeof(*p));
    *out = p;
    if (p == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    p->label = lt_move_name(node->node);
    if (x->rank != 4 || rois->rank != 2 || y->rank != 4 || y->shape[0] != rois->shape[0] ||
        y->shape[1] != x->shape[1]) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: shapes do not fit", p->label.text);
    }
    p->dtype = x->dtype;
    p->scale = (double)leat_node_float(node->node, "spatial_scale", 1);
    p->batch = x->shape[0];
    p->channels = x->shape[1];
    p->height = x->shape[2];
    p->width = x->shape[3];
    p->rois = rois->shape[0];
    p->out_height = y->shape[2];
    p->out_width = y->shape[3];
    out_kernel->launch = launch_roi;
    out_kernel->state = p;
    return LEAT_OK;
}

leat_status lt_cpu_roi_align_prepare(const leat_kernel_node *node, void *device,
                                     const leat_host *host, leat_plan *plan,
                                     leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *rois = leat_kernel_input(node, 1), *batches = leat_kernel_input(node, 2);
    const leat_node *n = node->node;
    roi_pool *p;
    (void)device;
    leat_status status = prepare_roi(node, host, plan, &p, out_kernel, err);
    if (status != LEAT_OK) {
        return status;
    }
    p->align = true;
    p->sampling = leat_node_int(n, "sampling_ratio", 0);
    p->maximum = leat_node_string_is(n, "mode", "max");
    p->half_pixel = leat_node_attr(n, "coordinate_transformation_mode") == NULL
                        ? n->opset >= 16
                        : leat_node_string_is(n, "coordinate_transformation_mode", "half_pixel");
    out_kernel->name = "roi_align";
    if (rois->shape[1] != 4 || batches == NULL || leat_value_count(batches) != p->rois ||
        p->sampling > MOST_SAMPLES) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: regions must be 4 numbers and a batch index",
                           p->label.text);
    }
    p->index_dtype = batches->dtype;
    return LEAT_OK;
}

leat_status lt_cpu_max_roi_pool_prepare(const leat_kernel_node *node, void *device,
                                        const leat_host *host, leat_plan *plan,
                                        leat_kernel *out_kernel, leat_error *err)
{
    roi_pool *p;
    (void)device;
    leat_status status = prepare_roi(node, host, plan, &p, out_kernel, err);
    if (status != LEAT_OK) {
        return status;
    }
    out_kernel->name = "max_roi_pool";
    if (leat_kernel_input(node, 1)->shape[1] != 5) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: regions must be 5 numbers", p->label.text);
    }
    p->sampling = 1;
    return LEAT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* leat's NonMaxSuppressionAll: what ONNX's NonMaxSuppression selects, in room for the most that
 * there can be, and how many they are (passes/count_first.c makes it).
 *
 *     boxes N x M x 4, scores N x C x M   ->   (batch, class, box) x room, count
 *
 * For each batch and class boxes are taken from the highest score down, those that overlap one
 * taken already by more than the threshold left out. Scores are kept in a heap, so that only what
 * is looked at is sorted. */
#include "movement/movement.h"

#include <math.h>

typedef struct nms {
    lt_move_label label;
    bool centers; /* boxes are center x, center y, width, height */
    bool has_limit, has_overlap, has_score;
    int64_t batch, classes, boxes, room; /* room: of one class */
} nms;

typedef struct nms_job {
    const nms *n;
    const float *boxes, *scores;
    int64_t limit;
    float overlap, score;
    bool by_score;
    int64_t *out;
    int64_t *counts; /* by batch and class */
    int64_t *heaps;  /* by thread */
} nms_job;

typedef struct box {
    float top, left, bottom, right;
} box;

static box read_box(const nms_job *job, int64_t batch, int64_t i)
{
    const float *b = job->boxes + (batch * job->n->boxes + i) * 4;
    float v[4];
    memcpy(v, b, sizeof(v));
    if (job->n->centers) {
        box out = {v[1] - v[3] / 2, v[0] - v[2] / 2, v[1] + v[3] / 2, v[0] + v[2] / 2};
        return out;
    }
    box out = {fminf(v[0], v[2]), fminf(v[1], v[3]), fmaxf(v[0], v[2]), fmaxf(v[1], v[3])};
    return out;
}

static float area(const box *b)
{
    return (b->bottom - b->top) * (b->right - b->left);
}

/* Intersection over union above the threshold. */
static bool overlaps(const nms_job *job, const box *a, const box *b)
{
    float height = fminf(a->bottom, b->bottom) - fmaxf(a->top, b->top);
    float width = fminf(a->right, b->right) - fmaxf(a->left, b->left);
    if (!(height > 0 && width > 0)) {
        return false;
    }
    float both = height * width, all = area(a) + area(b) - both;
    return all > 0 && both / all > job->overlap;
}

/* Whether box i comes before box j. */
static bool before(const float *scores, int64_t i, int64_t j)
{
    return scores[i] > scores[j] || (scores[i] == scores[j] && i < j);
}

static void sift(const float *scores, int64_t *heap, int64_t at, int64_t n)
{
    for (;;) {
        int64_t first = at, left = 2 * at + 1;
        for (int64_t child = left; child < n && child < left + 2; child++) {
            first = before(scores, heap[child], heap[first]) ? child : first;
        }
        if (first == at) {
            return;
        }
        int64_t other = heap[at];
        heap[at] = heap[first];
        heap[first] = other;
        at = first;
    }
}

/* A heap of the boxes whose score counts; returns how many. */
static int64_t make_heap(const nms_job *job, const float *scores, int64_t *heap)
{
    int64_t n = 0;
    for (int64_t i = 0; i < job->n->boxes; i++) {
        if (job->by_score ? scores[i] > job->score : !isnan(scores[i])) {
            heap[n++] = i;
        }
    }
    for (int64_t i = n / 2; i-- > 0;) {
        sift(scores, heap, i, n);
    }
    return n;
}

static void nms_task(void *argument, uint32_t task, uint32_t thread)
{
    const nms_job *job = argument;
    const nms *n = job->n;
    int64_t batch = task / n->classes, taken = 0;
    int64_t *heap = job->heaps + thread * n->boxes, *out = job->out + task * n->room * 3;
    const float *scores = job->scores + (int64_t)task * n->boxes;
    int64_t most = job->limit < n->room ? job->limit : n->room;
    for (int64_t left = make_heap(job, scores, heap); left > 0 && taken < most;) {
        int64_t i = heap[0];
        heap[0] = heap[--left];
        sift(scores, heap, 0, left);
        box b = read_box(job, batch, i);
        bool free = true;
        for (int64_t k = 0; k < taken && free; k++) {
            box other = read_box(job, batch, out[k * 3 + 2]);
            free = !overlaps(job, &b, &other);
        }
        if (free) {
            out[taken * 3] = batch;
            out[taken * 3 + 1] = task % n->classes;
            out[taken++ * 3 + 2] = i;
        }
    }
    job->counts[task] = taken;
}

static leat_status launch_nms(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const nms *n = state;
    int64_t tasks = n->batch * n->classes, total = 0;
    nms_job job = {.n = n, .boxes = args->inputs[0], .scores = args->inputs[1]};
    job.limit = 0;
    if (n->has_limit) {
        memcpy(&job.limit, args->inputs[2], sizeof(job.limit));
    }
    if (n->has_overlap) {
        memcpy(&job.overlap, args->inputs[3], sizeof(job.overlap));
    }
    if (n->has_score) {
        memcpy(&job.score, args->inputs[4], sizeof(job.score));
    }
    job.by_score = n->has_score;
    if (!(job.overlap >= 0 && job.overlap <= 1)) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: iou_threshold is %g, not within 0 and 1",
                           n->label.text, (double)job.overlap);
    }
    job.out = args->outputs[0];
    job.counts = args->workspace;
    job.heaps = job.counts + tasks;
    args->host->parallel(args->pool, (uint32_t)tasks, nms_task, &job);
    for (int64_t t = 0; t < tasks; t++) { /* close the gaps */
        memmove(job.out + total * 3, job.out + t * n->room * 3,
                (size_t)job.counts[t] * 3 * sizeof(int64_t));
        total += job.counts[t];
    }
    memset(job.out + total * 3, 0, (size_t)(tasks * n->room - total) * 3 * sizeof(int64_t));
    *(int64_t *)args->outputs[1] = total;
    return LEAT_OK;
}

leat_status lt_cpu_nms_supports(const leat_kernel_node *node, leat_error *err)
{
    static const leat_dtype wanted[] = {LEAT_DTYPE_F32, LEAT_DTYPE_F32, LEAT_DTYPE_I64,
                                        LEAT_DTYPE_F32, LEAT_DTYPE_F32};
    for (uint32_t i = 0; i < 5; i++) {
        const leat_value *value = leat_kernel_input(node, i);
        if ((value == NULL && i < 2) || (value != NULL && value->dtype != wanted[i])) {
            return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: input %u is missing or not %s",
                               lt_move_name(node->node).text, i, leat_dtype_name(wanted[i]));
        }
    }
    return LEAT_OK;
}

leat_status lt_cpu_nms_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                               leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *boxes = leat_kernel_input(node, 0), *scores = leat_kernel_input(node, 1);
    const leat_value *y = leat_kernel_output(node, 0);
    nms *n = host->plan_alloc(plan, sizeof(*n));
    (void)device;
    if (n == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    n->label = lt_move_name(node->node);
    bool fits = boxes->rank == 3 && scores->rank == 3 && boxes->shape[2] == 4 &&
                boxes->shape[0] == scores->shape[0] && boxes->shape[1] == scores->shape[2];
    for (uint32_t i = 2; i < 5; i++) {
        const leat_value *value = leat_kernel_input(node, i);
        fits = fits && (value == NULL || leat_value_count(value) == 1);
    }
    n->batch = fits ? scores->shape[0] : 0;
    n->classes = fits ? scores->shape[1] : 0;
    n->boxes = fits ? scores->shape[2] : 0;
    int64_t tasks = n->batch * n->classes;
    n->room = tasks != 0 ? y->shape[0] / tasks : 0;
    if (!fits || y->rank != 2 || n->room * tasks != y->shape[0] || tasks >= UINT32_MAX) {
        return lt_cpu_fail(err, LEAT_INVALID, "%s: boxes and scores do not fit", n->label.text);
    }
    n->centers = leat_node_int(node->node, "center_point_box", 0) != 0;
    n->has_limit = leat_kernel_input(node, 2) != NULL;
    n->has_overlap = leat_kernel_input(node, 3) != NULL;
    n->has_score = leat_kernel_input(node, 4) != NULL;
    out_kernel->name = "non_max_suppression";
    out_kernel->launch = launch_nms;
    out_kernel->state = n;
    out_kernel->workspace_bytes =
        (size_t)(tasks + n->boxes * host->pool_threads(host->pool)) * sizeof(int64_t);
    return LEAT_OK;
}

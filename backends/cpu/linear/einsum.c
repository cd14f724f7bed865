/* SPDX-License-Identifier: Apache-2.0 */
/* Einsum, operand by operand from the left. Two operands become one batched matrix product:
 *
 *     labels in both and needed later: batch   in both and not needed: k
 *     in the first and needed: m               in the second and needed: n
 *     in one only and not needed: summed while the operand is brought to batch x m x k
 *
 * f32 and f64 by the packed product (gemm/gemm.h), f16 and bf16 through f32, integers by plain
 * loops in i64, which wrap as the type does. */
#include "convert.h"
#include "elementwise/element.h"
#include "gemm/gemm.h"
#include "linear/equation.h"
#include "movement/movement.h"
#include "sizes.h"

#define MOST_DIMS 16

/* A tensor on the way: labels and strides in elements of the type that is computed in. */
typedef struct operand {
    int32_t rank;
    uint8_t label[MOST_DIMS];
    int64_t stride[MOST_DIMS];
    int64_t count;
    size_t at; /* of its data in the workspace; SIZE_MAX: input `input` itself */
    uint32_t input;
} operand;

/* An operand brought to the order of some labels: outer loops by `order`, sums over `summed`. */
typedef struct gather {
    operand from;
    int32_t rank, n_summed;
    int64_t shape[MOST_DIMS], stride[MOST_DIMS];
    int64_t sum_shape[MOST_DIMS], sum_stride[MOST_DIMS];
    int64_t count;
    size_t to;
} gather;

typedef struct contraction {
    gather a, b;
    int64_t batch, m, n, k;
    size_t c;
} contraction;

typedef struct einsum {
    leat_dtype dtype;
    bool narrow, whole; /* f16 or bf16; integers */
    size_t element;     /* of what is computed in */
    uint32_t n_inputs;
    int64_t counts[LT_EINSUM_OPERANDS];
    size_t wide[LT_EINSUM_OPERANDS]; /* inputs converted; SIZE_MAX: not */
    uint32_t n_steps;
    contraction steps[LT_EINSUM_OPERANDS];
    gather last; /* to the output's order */
    const lt_gemm_kernels *kernels;
    size_t pack, pack_one, run, out; /* out: before it is narrowed; SIZE_MAX: none */
    size_t total;
} einsum;

/* ---- running -------------------------------------------------------------------------------- */

/* A value of the type that is computed in. */
typedef union number {
    float f;
    double d;
    int64_t i;
} number;

static void add_at(const einsum *e, const char *data, int64_t at, number *sum)
{
    if (e->whole) {
        sum->i = (int64_t)((uint64_t)sum->i + (uint64_t)((const int64_t *)(const void *)data)[at]);
    } else if (e->element == sizeof(double)) {
        double v;
        memcpy(&v, data + (size_t)at * sizeof(v), sizeof(v));
        sum->d += v;
    } else {
        float v;
        memcpy(&v, data + (size_t)at * sizeof(v), sizeof(v));
        sum->f += v;
    }
}

/* Steps to the next index; returns false past the last. *at follows. */
static bool advance(int64_t *index, const int64_t *shape, const int64_t *stride, int32_t rank,
                    int64_t *at)
{
    for (int32_t i = rank; i-- > 0;) {
        *at += stride[i];
        if (++index[i] < shape[i]) {
            return true;
        }
        *at -= index[i] * stride[i];
        index[i] = 0;
    }
    return false;
}

static void run_gather(const einsum *e, const gather *g, const char *from, char *to)
{
    int64_t index[MOST_DIMS] = {0}, at = 0;
    int64_t sums = lt_move_product(g->sum_shape, 0, g->n_summed);
    for (int64_t i = 0; i < g->count; i++) {
        number sum = {.i = 0};
        int64_t inner[MOST_DIMS] = {0}, place = at;
        for (int64_t s = 0; s < sums; s++) {
            add_at(e, from, place, &sum);
            advance(inner, g->sum_shape, g->sum_stride, g->n_summed, &place);
        }
        memcpy(to + (size_t)i * e->element, &sum, e->element);
        advance(index, g->shape, g->stride, g->rank, &at);
    }
}

typedef struct einsum_job {
    const einsum *e;
    const leat_kernel_args *args;
    const contraction *step;
    char *workspace;
} einsum_job;

static const char *data_of(const einsum_job *job, const operand *o)
{
    return o->at == SIZE_MAX ? (const char *)job->args->inputs[o->input] : job->workspace + o->at;
}

static void multiply_integers(const contraction *c, const int64_t *a, const int64_t *b, int64_t *y)
{
    for (int64_t i = 0; i < c->m; i++) {
        for (int64_t j = 0; j < c->n; j++) {
            uint64_t sum = 0;
            for (int64_t k = 0; k < c->k; k++) {
                sum += (uint64_t)a[i * c->k + k] * (uint64_t)b[k * c->n + j];
            }
            y[i * c->n + j] = (int64_t)sum;
        }
    }
}

static void product_task(void *argument, uint32_t task, uint32_t thread)
{
    const einsum_job *job = argument;
    const einsum *e = job->e;
    const contraction *c = job->step;
    const char *a = job->workspace + c->a.to + (size_t)(task * c->m * c->k) * e->element;
    const char *b = job->workspace + c->b.to + (size_t)(task * c->k * c->n) * e->element;
    char *y = job->workspace + c->c + (size_t)(task * c->m * c->n) * e->element;
    if (e->whole) {
        multiply_integers(c, (const void *)a, (const void *)b, (void *)y);
        return;
    }
    char *packed = job->workspace + e->pack + thread * e->pack_one;
    lt_gemm_source source = {.data = b,
                             .dtype = e->kernels->dtype,
                             .k = (size_t)c->k,
                             .n = (size_t)c->n,
                             .row_stride = (size_t)c->n,
                             .column_stride = 1,
                             .scale = 1.0f};
    lt_gemm_pack(e->kernels, &source, packed, 0, lt_gemm_panels(e->kernels, (size_t)c->n));
    lt_gemm_job product = {.kernels = e->kernels,
                           .m = (size_t)c->m,
                           .n = (size_t)c->n,
                           .k = (size_t)c->k,
                           .taps = 1,
                           .a = a,
                           .lda = (size_t)c->k,
                           .b = packed,
                           .c = y,
                           .ldc = (size_t)c->n};
    if (c->batch == 1) {
        lt_gemm_run(&product, job->workspace + e->run, job->args);
    } else {
        lt_gemm_run_serial(&product, job->workspace + e->run, thread);
    }
}

static void widen_inputs(const einsum *e, const leat_kernel_args *args, char *workspace)
{
    for (uint32_t i = 0; i < e->n_inputs; i++) {
        if (e->wide[i] == SIZE_MAX) {
            continue;
        }
        char *to = workspace + e->wide[i];
        if (e->narrow) {
            lt_cpu_widen_f32(e->dtype, args->inputs[i], (float *)(void *)to, (size_t)e->counts[i]);
        }
        for (int64_t k = 0; k < e->counts[i] && e->whole; k++) {
            ((int64_t *)(void *)to)[k] = lt_element_int(e->dtype, args->inputs[i], k);
        }
    }
}

static void store_output(const einsum *e, const char *from, void *to)
{
    if (e->narrow) {
        lt_cpu_narrow_f32(e->dtype, (const float *)(const void *)from, to, (size_t)e->last.count);
    }
    for (int64_t k = 0; k < e->last.count && e->whole; k++) {
        lt_element_set_int(e->dtype, to, k, ((const int64_t *)(const void *)from)[k]);
    }
}

static leat_status launch_einsum(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const einsum *e = state;
    einsum_job job = {e, args, NULL, args->workspace};
    (void)err;
    widen_inputs(e, args, job.workspace);
    for (uint32_t i = 0; i < e->n_steps; i++) {
        const contraction *c = &e->steps[i];
        job.step = c;
        run_gather(e, &c->a, data_of(&job, &c->a.from), job.workspace + c->a.to);
        run_gather(e, &c->b, data_of(&job, &c->b.from), job.workspace + c->b.to);
        if (c->batch == 1) {
            product_task(&job, 0, 0);
        } else if (c->batch > 1) {
            args->host->parallel(args->pool, (uint32_t)c->batch, product_task, &job);
        }
    }
    bool direct = e->out == SIZE_MAX;
    char *to = direct ? args->outputs[0] : job.workspace + e->out;
    run_gather(e, &e->last, data_of(&job, &e->last.from), to);
    if (!direct) {
        store_output(e, to, args->outputs[0]);
    }
    return LEAT_OK;
}

/* ---- planning ------------------------------------------------------------------------------- */

typedef struct planner {
    const leat_kernel_node *node;
    const lt_einsum_equation *equation;
    einsum *e;
    bool overflow;
    leat_error *err;
} planner;

static size_t take(planner *p, int64_t count, size_t element)
{
    size_t at = p->e->total, bytes = 0;
    p->overflow |= count < 0 || __builtin_mul_overflow((size_t)count, element, &bytes) ||
                   bytes > SIZE_MAX / 4 || at > SIZE_MAX / 4;
    p->e->total = p->overflow ? 0 : at + lt_whole_lines(bytes);
    return at;
}

static int64_t stride_of(const operand *o, uint8_t label)
{
    for (int32_t i = 0; i < o->rank; i++) {
        if (o->label[i] == label) {
            return o->stride[i];
        }
    }
    return -1;
}

/* An input: a label that appears twice walks the diagonal, a broadcast one does not move. */
static operand input_operand(planner *p, uint32_t i)
{
    const lt_einsum_term *term = &p->equation->terms[i];
    const leat_value *value = leat_kernel_input(p->node, i);
    operand o = {.at = p->e->wide[i], .input = i};
    int64_t stride = 1;
    for (int32_t d = term->rank; d-- > 0;) {
        uint8_t label = term->label[d];
        int64_t step = value->shape[d] == 1 ? 0 : stride;
        int32_t k = 0;
        while (k < o.rank && o.label[k] != label) {
            k++;
        }
        if (k == o.rank) {
            o.label[o.rank] = label;
            o.stride[o.rank++] = 0;
        }
        o.stride[k] += step;
        stride *= value->shape[d];
    }
    return o;
}

/* Appends a label to a gather's order. */
static void append(planner *p, gather *g, uint8_t label)
{
    int64_t stride = stride_of(&g->from, label);
    if (g->rank == MOST_DIMS) {
        p->overflow = true;
        return;
    }
    g->shape[g->rank] = p->equation->extent[label];
    g->stride[g->rank++] = stride < 0 ? 0 : stride;
    p->overflow |= __builtin_mul_overflow(g->count, p->equation->extent[label], &g->count);
}

static gather start_gather(const operand *from)
{
    gather g = {.from = *from, .count = 1};
    return g;
}

/* Labels of the operand that are in no order are summed. */
static void sum_rest(planner *p, gather *g, uint64_t kept)
{
    for (int32_t i = 0; i < g->from.rank; i++) {
        if (!(kept >> g->from.label[i] & 1)) {
            g->sum_shape[g->n_summed] = p->equation->extent[g->from.label[i]];
            g->sum_stride[g->n_summed++] = g->from.stride[i];
        }
    }
}

static uint64_t labels_of(const uint8_t *labels, int32_t rank)
{
    uint64_t set = 0;
    for (int32_t i = 0; i < rank; i++) {
        set |= 1ull << labels[i];
    }
    return set;
}

static int64_t append_set(planner *p, gather *g, uint64_t set)
{
    int64_t before = g->count;
    for (uint8_t l = 0; l < LT_EINSUM_LABELS; l++) {
        if (set >> l & 1) {
            append(p, g, l);
        }
    }
    return before > 0 ? g->count / before : 0;
}

/* a becomes the product of a and b; `needed` are the labels that come later. */
static void plan_step(planner *p, operand *a, const operand *b, uint64_t needed)
{
    contraction *c = &p->e->steps[p->e->n_steps++];
    uint64_t in_a = labels_of(a->label, a->rank), in_b = labels_of(b->label, b->rank);
    uint64_t batch = in_a & in_b & needed, k = in_a & in_b & ~needed;
    uint64_t m = in_a & ~in_b & needed, n = in_b & ~in_a & needed;
    c->a = start_gather(a);
    c->b = start_gather(b);
    c->batch = append_set(p, &c->a, batch);
    c->m = append_set(p, &c->a, m);
    c->k = append_set(p, &c->a, k);
    append_set(p, &c->b, batch);
    append_set(p, &c->b, k);
    c->n = append_set(p, &c->b, n);
    sum_rest(p, &c->a, batch | m | k);
    sum_rest(p, &c->b, batch | n | k);
    if (c->a.count == 0 || c->b.count == 0) { /* sums over nothing are written as such */
        c->batch = c->m = c->n = c->k = 1;
        for (uint8_t l = 0; l < LT_EINSUM_LABELS; l++) {
            int64_t extent = p->equation->extent[l];
            c->batch *= batch >> l & 1 ? extent : 1;
            c->m *= m >> l & 1 ? extent : 1;
            c->n *= n >> l & 1 ? extent : 1;
            c->k *= k >> l & 1 ? extent : 1;
        }
    }
    c->a.to = take(p, c->a.count, p->e->element);
    c->b.to = take(p, c->b.count, p->e->element);
    operand out = {.rank = 0, .input = 0};
    int64_t size = 1;
    const uint64_t order[] = {batch, m, n};
    for (int s = 0; s < 3; s++) {
        for (uint8_t l = 0; l < LT_EINSUM_LABELS; l++) {
            if ((order[s] >> l & 1) && out.rank < MOST_DIMS) {
                out.label[out.rank++] = l;
            } else if (order[s] >> l & 1) {
                p->overflow = true;
            }
        }
    }
    for (int32_t i = out.rank; i-- > 0;) {
        out.stride[i] = size;
        p->overflow |= __builtin_mul_overflow(size, p->equation->extent[out.label[i]], &size);
    }
    c->c = out.at = take(p, size, p->e->element);
    p->overflow |= c->batch >= UINT32_MAX;
    *a = out;
}

static void plan_products(planner *p, const leat_host *host)
{
    einsum *e = p->e;
    uint32_t threads = host->pool_threads(host->pool);
    size_t run = 0;
    for (uint32_t i = 0; i < e->n_steps && !e->whole && !p->overflow; i++) {
        const contraction *c = &e->steps[i];
        size_t pack = lt_gemm_packed_bytes(e->kernels, 1, (size_t)c->k, (size_t)c->n);
        lt_gemm_job job = {.kernels = e->kernels,
                           .m = (size_t)c->m,
                           .n = (size_t)c->n,
                           .k = (size_t)c->k,
                           .taps = 1};
        size_t bytes = lt_gemm_workspace(&job, threads);
        pack = lt_whole_lines(pack);
        e->pack_one = pack > e->pack_one ? pack : e->pack_one;
        run = bytes > run ? bytes : run;
    }
    e->pack = take(p, (int64_t)e->pack_one, threads);
    e->run = take(p, (int64_t)run, 1);
}

static void plan_all(planner *p, const leat_host *host)
{
    einsum *e = p->e;
    const lt_einsum_equation *q = p->equation;
    for (uint32_t i = 0; i < e->n_inputs; i++) {
        e->counts[i] = leat_value_count(leat_kernel_input(p->node, i));
        e->wide[i] = e->narrow || e->whole ? take(p, e->counts[i], e->element) : SIZE_MAX;
    }
    uint64_t out = labels_of(q->out.label, q->out.rank);
    operand a = input_operand(p, 0);
    for (uint32_t i = 1; i < e->n_inputs; i++) {
        operand b = input_operand(p, i);
        uint64_t needed = out;
        for (uint32_t k = i + 1; k < e->n_inputs; k++) {
            needed |= labels_of(q->terms[k].label, q->terms[k].rank);
        }
        plan_step(p, &a, &b, needed);
    }
    e->last = start_gather(&a);
    for (int32_t i = 0; i < q->out.rank; i++) {
        append(p, &e->last, q->out.label[i]);
    }
    sum_rest(p, &e->last, out);
    e->out = e->narrow || e->whole ? take(p, e->last.count, e->element) : SIZE_MAX;
    plan_products(p, host);
}

leat_status lt_cpu_einsum_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *first = leat_kernel_input(node, 0);
    for (uint32_t i = 1; i < node->node->n_inputs; i++) {
        const leat_value *value = leat_kernel_input(node, i);
        if (value == NULL || value->dtype != first->dtype) {
            return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: input %u is missing or of another type",
                               lt_move_name(node->node).text, i);
        }
    }
    return LEAT_OK;
}

leat_status lt_cpu_einsum_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                  leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    lt_einsum_equation equation;
    einsum *e = host->plan_alloc(plan, sizeof(*e));
    if (e == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    leat_status status = lt_einsum_read(node, &equation, err);
    if (status != LEAT_OK) {
        return status;
    }
    e->dtype = leat_kernel_input(node, 0)->dtype;
    e->narrow = e->dtype == LEAT_DTYPE_F16 || e->dtype == LEAT_DTYPE_BF16;
    e->whole = CPU_INTS >> e->dtype & 1;
    e->element = e->whole || e->dtype == LEAT_DTYPE_F64 ? 8 : 4;
    e->n_inputs = node->node->n_inputs;
    e->kernels =
        lt_gemm_kernels_for(device, e->dtype == LEAT_DTYPE_F64 ? LEAT_DTYPE_F64 : LEAT_DTYPE_F32);
    planner p = {node, &equation, e, false, err};
    plan_all(&p, host);
    if (p.overflow || e->last.count != leat_value_count(leat_kernel_output(node, 0))) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: too large, or of too many dimensions",
                           lt_move_name(node->node).text);
    }
    out_kernel->name = "einsum";
    out_kernel->launch = launch_einsum;
    out_kernel->state = e;
    out_kernel->workspace_bytes = e->total;
    return LEAT_OK;
}

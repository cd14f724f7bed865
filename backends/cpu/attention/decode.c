/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of decode.h, and how they are added up. */
#include "attention/decode.h"

#include "sizes.h"

#include <math.h>

#define BLOCK 256     /* keys whose scores are in memory */
#define LEAST_KEYS 64 /* of a part */
#define PARTS_PER_THREAD 4

/* A part's workspace: states, sums and scores of all rows, the scores at vectors. */
typedef struct layout {
    size_t sums, scores, bytes;
    int64_t width; /* of a row of sums */
} layout;

static int64_t rows_of(const lt_attention *a)
{
    return a->heads / a->kv_heads * a->q_len;
}

static layout layout_of(const lt_attention *a)
{
    layout l = {.sums = lt_whole_lines(LT_DECODE_ROWS * sizeof(lt_softmax_state))};
    l.width = (a->dv + 15) & ~(int64_t)15;
    l.scores = l.sums + (size_t)(rows_of(a) * l.width) * sizeof(float);
    l.bytes = l.scores + (size_t)rows_of(a) * BLOCK * sizeof(float);
    return l;
}

bool lt_decode_fits(const lt_attention *a)
{
    return a->dtype == LEAT_DTYPE_F32 && a->mask_dtype == LEAT_DTYPE_UNDEFINED && a->kv_heads > 0 &&
           rows_of(a) <= LT_DECODE_ROWS;
}

/* Parts of a head's keys: all heads together give each thread several. */
static int64_t most_parts(const lt_attention *a, uint32_t threads)
{
    int64_t units = a->batch * a->kv_heads;
    return threads < 2 ? 1 : (PARTS_PER_THREAD * (int64_t)threads + units - 1) / units;
}

size_t lt_decode_workspace(const lt_attention *a, uint32_t threads)
{
    size_t bytes;
    int64_t parts = a->batch * a->kv_heads * most_parts(a, threads);
    return parts > INT32_MAX || __builtin_mul_overflow(layout_of(a).bytes, (size_t)parts, &bytes)
               ? 0
               : bytes;
}

typedef struct job {
    const lt_attention *a;
    const lt_attention_data *data;
    char *workspace;
    layout layout;
    int64_t parts;
} job;

/* Keys of an item that count, and those before its first query's own. */
static int64_t keys_of(const job *j, int64_t batch, int64_t *out_before)
{
    const lt_attention *a = j->a;
    int64_t end = a->has_lengths ? j->data->lengths[batch] : a->past_len + a->kv_len;
    *out_before = a->has_lengths ? end - a->q_len : a->past_len;
    return end;
}

/* Where key `key` of a head is, and how many follow in the same memory. */
typedef struct run {
    const float *k, *v;
    int64_t k_stride, v_stride, n;
} run;

static run run_at(const job *j, int64_t batch, int64_t head, int64_t key)
{
    const lt_attention *a = j->a;
    bool past = key < a->past_len;
    const lt_attention_strides *ks = past ? &a->past_k : &a->k, *vs = past ? &a->past_v : &a->v;
    int64_t row = past ? key : key - a->past_len;
    return (run){(const float *)(past ? j->data->past_k : j->data->k) + batch * ks->batch +
                     head * ks->head + row * ks->row,
                 (const float *)(past ? j->data->past_v : j->data->v) + batch * vs->batch +
                     head * vs->head + row * vs->row,
                 ks->row, vs->row, past ? a->past_len - key : a->kv_len - row};
}

/* Scores to powers; what was summed up is brought to the new maximum. */
static void soften(const job *j, char *own, int64_t row, int64_t n, int64_t visible)
{
    const lt_attention *a = j->a;
    lt_softmax_state *state = (lt_softmax_state *)(void *)own + row;
    float *scores = (float *)(void *)(own + j->layout.scores) + row * BLOCK;
    float *sums = (float *)(void *)(own + j->layout.sums) + row * j->layout.width;
    float scale = a->scale * LT_LOG2_E;
    visible = visible < 0 ? 0 : visible < n ? visible : n;
    if (a->softcap > 0) {
        a->rows->cap(scores, visible, a->scale, a->softcap);
        scale = LT_LOG2_E;
    }
    float factor = a->rows->exponentials(scores, visible, scale, NULL, state);
    memset(scores + visible, 0, (size_t)(n - visible) * sizeof(*scores));
    if (factor != 1.0f) {
        a->rows->scale(sums, sums, a->dv, factor);
    }
}

static void run_part(void *argument, uint32_t index, uint32_t thread)
{
    const job *j = argument;
    const lt_attention *a = j->a;
    int64_t unit = index / j->parts, part = index % j->parts, rows = rows_of(a), before;
    int64_t batch = unit / a->kv_heads, head = unit % a->kv_heads, group = a->heads / a->kv_heads;
    int64_t all = keys_of(j, batch, &before), end = all * (part + 1) / j->parts;
    char *own = j->workspace + index * j->layout.bytes;
    lt_softmax_state *states = (lt_softmax_state *)(void *)own;
    const float *queries[LT_DECODE_ROWS];
    (void)thread;
    for (int64_t r = 0; r < rows; r++) {
        states[r] = (lt_softmax_state){-INFINITY, 0};
        queries[r] = (const float *)j->data->q + batch * a->q.batch +
                     (head * group + r / a->q_len) * a->q.head + r % a->q_len * a->q.row;
    }
    memset(own + j->layout.sums, 0, j->layout.scores - j->layout.sums);
    for (int64_t key = all * part / j->parts, n; key < end; key += n) {
        run at = run_at(j, batch, head, key);
        n = at.n < end - key ? at.n : end - key;
        n = n < BLOCK ? n : BLOCK;
        float *scores = (float *)(void *)(own + j->layout.scores);
        a->decode->scores(queries, rows, at.k, at.k_stride, n, a->d, scores, BLOCK);
        for (int64_t r = 0; r < rows; r++) {
            soften(j, own, r, n, a->causal ? before + r % a->q_len + 1 - key : n);
        }
        a->decode->mix(scores, BLOCK, rows, at.v, at.v_stride, n, a->dv,
                       (float *)(void *)(own + j->layout.sums), j->layout.width);
    }
}

/* Adds the parts of a row up. */
static void finish_row(const job *j, int64_t unit, int64_t row, float *y)
{
    const lt_attention *a = j->a;
    const char *parts = j->workspace + (size_t)(unit * j->parts) * j->layout.bytes;
    float top = -INFINITY, sum = 0;
    for (int64_t p = 0; p < j->parts; p++) {
        const lt_softmax_state *state =
            (const lt_softmax_state *)(const void *)(parts + (size_t)p * j->layout.bytes) + row;
        top = state->top > top ? state->top : top;
    }
    memset(y, 0, (size_t)a->dv * sizeof(*y));
    for (int64_t p = 0; p < j->parts; p++) {
        const char *own = parts + (size_t)p * j->layout.bytes;
        const lt_softmax_state *state = (const lt_softmax_state *)(const void *)own + row;
        const float *sums =
            (const float *)(const void *)(own + j->layout.sums) + row * j->layout.width;
        float factor = state->top == -INFINITY ? 1.0f : exp2f(state->top - top);
        sum += state->sum * factor; /* NaN comes through */
        for (int64_t c = 0; c < a->dv; c++) {
            y[c] += sums[c] * factor;
        }
    }
    if (sum == 0 && a->zero_masked) {
        return; /* y is 0 */
    }
    a->rows->scale(y, y, a->dv, 1.0f / sum);
}

static void finish(const job *j)
{
    const lt_attention *a = j->a;
    int64_t group = a->heads / a->kv_heads, before;
    for (int64_t unit = 0; unit < a->batch * a->kv_heads; unit++) {
        int64_t batch = unit / a->kv_heads, head = unit % a->kv_heads;
        for (int64_t r = 0; r < rows_of(a); r++) {
            float *y = (float *)j->data->y + batch * a->y.batch +
                       (head * group + r / a->q_len) * a->y.head + r % a->q_len * a->y.row;
            if (keys_of(j, batch, &before) == 0) {
                memset(y, 0, (size_t)a->dv * sizeof(*y));
            } else {
                finish_row(j, unit, r, y);
            }
        }
    }
}

void lt_decode_run(const lt_attention *a, const lt_attention_data *data, void *workspace,
                   const leat_kernel_args *args)
{
    job j = {a, data, workspace, layout_of(a), 1};
    int64_t longest = 0, before, most = most_parts(a, args->host->pool_threads(args->pool));
    for (int64_t b = 0; b < a->batch; b++) {
        int64_t keys = keys_of(&j, b, &before);
        longest = keys > longest ? keys : longest;
    }
    j.parts = longest / LEAST_KEYS < most ? longest / LEAST_KEYS : most;
    j.parts = j.parts < 1 ? 1 : j.parts;
    args->host->parallel(args->pool, (uint32_t)(a->batch * a->kv_heads * j.parts), run_part, &j);
    finish(&j);
}

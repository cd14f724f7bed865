/* SPDX-License-Identifier: Apache-2.0 */
/* The blocks of attention.h. */
#include "attention/attention.h"

#include "sizes.h"

#include <math.h>

#define MOST_FEATURES (1 << 24) /* of a head */
#define MAX_KEYS 512            /* of a block: 128 KB of K and of V at 64 elements a head */
#define MAX_ROWS 504            /* of a task: packing K and V costs about as much as 8 rows */
/* A block of s stays in the first cache with a panel, or ... */
#define SCORE_BYTES (24u << 10)
/* ... in the second, where products of full width are short of time to fetch K and V for every tile
 * of rows anew. */
#define FAR_SCORE_BYTES (96u << 10)

/* Columns of all panels. */
static int64_t padded(const lt_gemm_kernels *gemm, int64_t n)
{
    return lt_divide_up(n, gemm->nr) * gemm->nr;
}

static void cut_rows(lt_attention *a, uint32_t threads)
{
    int64_t mr = a->gemm->mr, rows = a->heads / a->kv_heads * a->q_len;
    int64_t units = a->batch * a->kv_heads;
    int64_t tiles = lt_divide_up(rows, mr), wanted = 1;
    if (threads > 1 && units < 4 * (int64_t)threads) {
        wanted = lt_divide_up(4 * (int64_t)threads, units);
        wanted = wanted < tiles / 4 ? wanted : tiles / 4;
    }
    wanted = wanted > lt_divide_up(rows, MAX_ROWS) ? wanted : lt_divide_up(rows, MAX_ROWS);
    wanted = wanted < 1 ? 1 : wanted;
    a->chunk = lt_divide_up(tiles, wanted) * mr;
    a->chunk = a->chunk < rows ? a->chunk : rows;
    a->chunks = lt_divide_up(rows, a->chunk);
}

static size_t take(size_t *total, int64_t elements)
{
    size_t at = *total;
    *total += lt_whole_lines((size_t)elements * sizeof(float));
    return at;
}

/* Whether the products read the data as it is. */
static bool as_it_is(const lt_attention *a)
{
    return a->dtype == a->rows->factor;
}

bool lt_attention_cut(lt_attention *a, uint32_t threads)
{
    int64_t keys = a->past_len > a->kv_len ? a->past_len : a->kv_len, tasks;
    if (a->d > MOST_FEATURES || a->dv > MOST_FEATURES) {
        return false;
    }
    cut_rows(a, threads);
    if (__builtin_mul_overflow(a->batch * a->kv_heads, a->chunks, &tasks) || tasks > INT32_MAX) {
        return false;
    }
    keys = keys < 1 ? 1 : keys;
    a->key_block = lt_divide_up(keys, lt_divide_up(keys, MAX_KEYS));
    int64_t width = padded(a->gemm, a->key_block);
    const int64_t bytes = a->far_scores ? FAR_SCORE_BYTES : SCORE_BYTES;
    int64_t tiles = bytes / ((int64_t)sizeof(float) * width * a->gemm->mr);
    tiles = tiles < 1 ? 1 : tiles;
    a->block = tiles * a->gemm->mr < a->chunk ? tiles * a->gemm->mr : a->chunk;
    size_t total = 0;
    take(&total, width * a->d); /* K, at 0 */
    a->at_values = take(&total, a->key_block * padded(a->gemm, a->dv));
    a->at_scores = take(&total, a->block * width);
    a->at_sums = take(&total, 2 * a->chunk);
    a->at_out = take(&total, a->chunk * padded(a->gemm, a->dv));
    if (!as_it_is(a)) {
        int64_t keys_of_panel = a->gemm->nr * a->d, values = a->key_block * a->dv;
        a->at_query = take(&total, a->block * a->d);
        a->at_wide = take(&total, keys_of_panel > values ? keys_of_panel : values);
    }
    a->at_mask = take(&total, width);
    a->thread_bytes = total;
    return true;
}

/* --- one task -----------------------------------------------------------------------------------
 */

/* Rows that the next task will read. */
typedef struct coming {
    const char *at; /* NULL: none */
    int64_t rows, row_bytes, stride_bytes;
} coming;

typedef struct task {
    const lt_attention *a;
    const lt_attention_data *data;
    char *own; /* workspace */
    int64_t batch, kv_head;
    int64_t first_row, n_rows; /* of the chunk */
    int64_t key, n_keys;       /* the block of keys, counted over past and new ones */
    int64_t before;            /* keys before the first query's own, where causal */
    bool first_block;          /* nothing was summed up before it */
    int64_t mask_row;          /* where the row in the mask buffer begins; -1: none is */
    bool mask_added;           /* by the product that makes s, to all rows alike */
    coming next[3];            /* of Q, K, V */
} task;

static float *part(const task *t, size_t at)
{
    return (float *)(void *)(t->own + at);
}

static const char *element(const lt_attention *a, const void *data, int64_t at)
{
    return (const char *)data + (size_t)at * lt_cpu_element_bytes(a->dtype);
}

/* Which row of Q: heads of the group come one after the other, each with all its queries. */
typedef struct place {
    int64_t head, query;
} place;

static place place_of(const task *t, int64_t row)
{
    int64_t group = t->a->heads / t->a->kv_heads;
    return (place){t->kv_head * group + row / t->a->q_len, row % t->a->q_len};
}

static void advance(const lt_attention *a, place *p)
{
    if (++p->query == a->q_len) {
        p->query = 0;
        p->head++;
    }
}

/* `rows` rows of `n` elements to f32, without gaps; returns them. */
static const float *widen(const task *t, const char *x, int64_t stride, int64_t rows, int64_t n)
{
    const lt_attention *a = t->a;
    float *wide = part(t, a->at_wide);
    for (int64_t i = 0; i < rows; i++) {
        a->half->widen(a->dtype, element(a, x, i * stride), wide + i * n, n);
    }
    return wide;
}

/* K of the block, d rows of n_keys columns, in panels: a transposition of f32, or of pairs. */
static void pack_keys(const task *t, const char *k, int64_t stride)
{
    const lt_attention *a = t->a;
    int64_t nr = a->gemm->nr, group = a->gemm->k_group, d = a->d / group;
    bool wide = !as_it_is(a);
    float *out = part(t, 0);
    for (int64_t key = 0; key < t->n_keys; key += nr, out += nr * d) {
        int64_t left = t->n_keys - key, width = left > nr / 2 ? nr : nr / 2;
        int64_t n = left < width ? left : width;
        const void *rows = element(a, k, key * stride);
        if (wide) {
            rows = widen(t, rows, stride, n, d);
        }
        a->transpose(out, width, rows, wide ? d : stride / group, d, n);
        for (int64_t j = 0; j < d && n < width; j++) {
            memset(out + j * width + n, 0, (size_t)(width - n) * sizeof(*out));
        }
    }
}

static void pack_values(const task *t, const char *v, int64_t stride)
{
    const lt_attention *a = t->a;
    const void *rows = v;
    if (!as_it_is(a)) {
        rows = widen(t, v, stride, t->n_keys, a->dv);
        stride = a->dv;
    }
    a->rows->panels(rows, stride, t->n_keys, a->dv, a->gemm->nr, part(t, a->at_values));
}

/* C of `rows` rows and n columns = A * panels, with A's rows at table[...]; adds to C, or to a bias
 * of each column. */
static void multiply(const task *t, const void *const *table, int64_t rows, const float *b,
                     const float *bias, int64_t k, int64_t n, float *c, bool add)
{
    static const lt_gemm_mixed sums = {LEAT_DTYPE_F32, LEAT_DTYPE_F32};
    const lt_gemm_kernels *gemm = t->a->gemm;
    int64_t mr = gemm->mr, nr = gemm->nr, ldc = padded(gemm, n);
    int64_t panel = (int64_t)lt_gemm_padded_k(gemm, (size_t)k) * nr * gemm->b_bytes;
    lt_gemm_tile tile = {.taps = 1,
                         .k = (size_t)k,
                         .b = b,
                         .ldc = (size_t)ldc,
                         .ldr = (size_t)ldc,
                         .low = -INFINITY,
                         .high = INFINITY,
                         .epilogue = &sums};
    for (int64_t column = 0; column < n; column += nr) {
        int64_t left = n - column;
        const lt_gemm_kernel_fn *kernels = left > nr / 2 ? gemm->full : gemm->half;
        tile.n = (uint32_t)(left < nr ? left : nr);
        tile.column = (size_t)column;
        tile.bias = bias ? bias + column : NULL;
        for (int64_t row = 0; row < rows; row += mr) {
            int64_t count = rows - row < mr ? rows - row : mr;
            tile.rows = table + row;
            tile.row = (size_t)row;
            tile.c = (char *)c + (row * ldc + column) * gemm->c_bytes; /* 0: the kernel adds it */
            tile.residual = add ? tile.c : NULL;
            kernels[count - 1](&tile);
        }
        tile.b = (const char *)tile.b + panel;
    }
}

/* The mask's row for a query, to base 2, or NULL. */
static const float *mask_row(task *t, const place *p)
{
    const lt_attention *a = t->a;
    if (a->mask_dtype == LEAT_DTYPE_UNDEFINED) {
        return NULL;
    }
    int64_t at = t->batch * a->mask_batch + p->head * a->mask_head + p->query * a->mask_row;
    int64_t there = a->mask_len - t->key;
    there = there < 0 ? 0 : there < t->n_keys ? there : t->n_keys;
    float *out = part(t, a->at_mask);
    if (t->mask_row == at) {
        return out;
    }
    t->mask_row = at;
    for (int64_t j = there; j < t->n_keys; j++) {
        out[j] = -INFINITY;
    }
    if (a->mask_dtype == LEAT_DTYPE_F32 && a->mask_column == 1) {
        a->rows->scale((const float *)t->data->mask + at + t->key, out, there, LT_LOG2_E);
        return out;
    }
    for (int64_t j = 0; j < there; j++) {
        int64_t from = at + (t->key + j) * a->mask_column;
        if (a->mask_dtype == LEAT_DTYPE_BOOL) {
            out[j] = ((const uint8_t *)t->data->mask)[from] ? 0.0f : -INFINITY;
        } else {
            out[j] = lt_cpu_get_f32(a->mask_dtype, t->data->mask, (size_t)from) * LT_LOG2_E;
        }
    }
    return out;
}

/* Where all rows have one mask, it can be what the sums of s begin with: divided by the scale. Not
 * where that would come near the largest numbers, nor with a scale that turns signs. */
static const float *mask_of_all_rows(task *t)
{
    const lt_attention *a = t->a;
    const place first = place_of(t, t->first_row);
    t->mask_added = false;
    if (a->mask_dtype == LEAT_DTYPE_UNDEFINED || a->mask_row != 0 || a->mask_head != 0 ||
        a->softcap > 0 || !(a->scale > 0)) {
        return NULL;
    }
    float *mask = part(t, a->at_mask), largest = 0;
    const float inverse = 1 / (a->scale * LT_LOG2_E);
    mask_row(t, &first);
    for (int64_t j = 0; j < t->n_keys; j++) {
        float size = mask[j] == -INFINITY ? 0 : fabsf(mask[j]);
        largest = size > largest ? size : largest;
    }
    if (!(largest * inverse < 1e30f)) {
        return NULL;
    }
    a->rows->scale(mask, mask, t->n_keys, inverse);
    memset(mask + t->n_keys, 0, (size_t)(padded(a->gemm, t->n_keys) - t->n_keys) * sizeof(*mask));
    t->mask_added = true;
    return mask;
}

/* Keys of the block that a query may see. */
static int64_t visible(const task *t, int64_t query)
{
    int64_t n = t->n_keys;
    if (t->a->causal) {
        int64_t end = t->before + query + 1 - t->key;
        n = end < 0 ? 0 : end < n ? end : n;
    }
    return n;
}

/* Brings what was summed up for a row to its new maximum. */
static void rescale(const task *t, int64_t row, float factor)
{
    const lt_attention *a = t->a;
    if (!t->first_block && factor != 1.0f) {
        float *out = part(t, a->at_out) + row * padded(a->gemm, a->dv);
        a->rows->scale(out, out, a->dv, factor);
    }
}

/* Logits of one row to powers. */
static void row_softmax(task *t, const place *p, int64_t row, float *scores)
{
    const lt_attention *a = t->a;
    int64_t n = visible(t, p->query);
    lt_softmax_state *states = (lt_softmax_state *)(void *)(t->own + a->at_sums);
    float scale = a->scale * LT_LOG2_E;
    if (a->softcap > 0) {
        a->rows->cap(scores, n, a->scale, a->softcap);
        scale = LT_LOG2_E;
    }
    const float *bias = t->mask_added ? NULL : mask_row(t, p);
    if (bias == NULL && !(scale > 0)) {
        bias = memset(part(t, a->at_mask), 0, (size_t)t->n_keys * sizeof(float));
    }
    float factor = a->rows->exponentials(scores, n, scale, bias, &states[row]);
    if (n < t->n_keys) {
        size_t power = lt_cpu_element_bytes(a->rows->factor);
        memset((char *)scores + (size_t)n * power, 0, (size_t)(t->n_keys - n) * power);
    }
    rescale(t, row, factor);
}

/* Whether rows of s can be handed on together: of one length, without a mask of their own. */
static bool rows_are_alike(const task *t)
{
    const lt_attention *a = t->a;
    return a->rows->exponentials_of_rows != NULL && !a->causal && !(a->softcap > 0) &&
           a->scale > 0 && (t->mask_added || a->mask_dtype == LEAT_DTYPE_UNDEFINED);
}

static void block_softmax(task *t, int64_t row, int64_t count, float *scores, int64_t width)
{
    const lt_attention *a = t->a;
    lt_softmax_state *states = (lt_softmax_state *)(void *)(t->own + a->at_sums) + row;
    place p = place_of(t, t->first_row + row);
    for (int64_t i = 0; i < count && t->first_block; i++) {
        states[i] = (lt_softmax_state){-INFINITY, 0};
    }
    if (rows_are_alike(t)) {
        float factors[MAX_ROWS];
        a->rows->exponentials_of_rows(scores, width, count, t->n_keys, a->scale * LT_LOG2_E, states,
                                      factors);
        for (int64_t i = 0; i < count; i++) {
            rescale(t, row + i, factors[i]);
        }
        return;
    }
    for (int64_t i = 0; i < count; i++, advance(a, &p)) {
        row_softmax(t, &p, row + i, scores + i * width);
    }
}

/* Asks for row i of each operand of the next task: heads lie strided in far caches, and nothing but
 * the arithmetic of this task hides them. */
static void expect_row(const task *t, int64_t i)
{
    for (int o = 0; o < 3; o++) {
        const coming *c = &t->next[o];
        for (int64_t line = 0; i < c->rows && line < c->row_bytes; line += 64) {
            __builtin_prefetch(c->at + i * c->stride_bytes + line, 0, 2);
        }
    }
}

static const void *query_row(const task *t, const place *p, float *wide)
{
    const lt_attention *a = t->a;
    int64_t at = t->batch * a->q.batch + p->head * a->q.head + p->query * a->q.row;
    const char *q = element(a, t->data->q, at);
    if (as_it_is(a)) {
        return q;
    }
    a->half->widen(a->dtype, q, wide, a->d);
    return wide;
}

/* Rows [row, row + count) of the chunk against the block of keys. */
static void attend(task *t, int64_t row, int64_t count, const float *mask)
{
    const lt_attention *a = t->a;
    const void *table[MAX_ROWS] = {NULL};
    float *scores = part(t, a->at_scores);
    int64_t width = padded(a->gemm, t->n_keys), out_width = padded(a->gemm, a->dv);
    place p = place_of(t, t->first_row + row);
    for (int64_t i = 0; i < count; i++, advance(a, &p)) {
        table[i] = query_row(t, &p, part(t, a->at_query) + i * a->d);
    }
    multiply(t, table, count, part(t, 0), mask, a->d, t->n_keys, scores, false);
    block_softmax(t, row, count, scores, width);
    for (int64_t i = 0; i < count; i++) {
        expect_row(t, row + i);
        table[i] = scores + i * width;
    }
    multiply(t, table, count, part(t, a->at_values), NULL, t->n_keys, a->dv,
             part(t, a->at_out) + row * out_width, !t->first_block);
}

static void attend_keys(task *t, const void *k, const lt_attention_strides *ks, const void *v,
                        const lt_attention_strides *vs, int64_t first)
{
    const lt_attention *a = t->a;
    int64_t k_at = t->batch * ks->batch + t->kv_head * ks->head + (t->key - first) * ks->row;
    int64_t v_at = t->batch * vs->batch + t->kv_head * vs->head + (t->key - first) * vs->row;
    pack_keys(t, element(a, k, k_at), ks->row);
    pack_values(t, element(a, v, v_at), vs->row);
    t->mask_row = -1;
    const float *mask = mask_of_all_rows(t);
    for (int64_t row = 0; row < t->n_rows; row += a->block) {
        attend(t, row, t->n_rows - row < a->block ? t->n_rows - row : a->block, mask);
    }
    t->first_block = false;
}

static void store_rows(const task *t)
{
    const lt_attention *a = t->a;
    const lt_softmax_state *states = (const lt_softmax_state *)(void *)(t->own + a->at_sums);
    int64_t width = padded(a->gemm, a->dv);
    place p = place_of(t, t->first_row);
    for (int64_t i = 0; i < t->n_rows; i++, advance(a, &p)) {
        int64_t at = t->batch * a->y.batch + p.head * a->y.head + p.query * a->y.row;
        char *y = (char *)t->data->y + (size_t)at * lt_cpu_element_bytes(a->dtype);
        float *out = part(t, a->at_out) + i * width;
        if (t->first_block ||
            (a->zero_masked && states[i].sum == 0)) { /* no keys at all, or all are masked */
            memset(y, 0, (size_t)a->dv * lt_cpu_element_bytes(a->dtype));
        } else if (as_it_is(a)) {
            a->rows->store(out, y, a->dv, 1.0f / states[i].sum);
        } else {
            a->rows->scale(out, out, a->dv, 1.0f / states[i].sum);
            a->half->narrow(a->dtype, out, y, a->dv);
        }
    }
}

typedef struct launch {
    const lt_attention *a;
    const lt_attention_data *data;
    char *workspace;
} launch;

/* The next task is that of the next head, unless several share one. */
static void set_next(task *t, int64_t unit)
{
    const lt_attention *a = t->a;
    const void *data[3] = {t->data->q, t->data->k, t->data->v};
    const lt_attention_strides *strides[3] = {&a->q, &a->k, &a->v};
    const int64_t rows[3] = {a->q_len, a->kv_len, a->kv_len}, features[3] = {a->d, a->d, a->dv};
    int64_t element_bytes = (int64_t)lt_cpu_element_bytes(a->dtype);
    if (a->chunks > 1 || a->has_past || unit + 1 >= a->batch * a->kv_heads) {
        return;
    }
    for (int o = 0; o < 3; o++) {
        int64_t head = (unit + 1) % a->kv_heads * (o == 0 ? a->heads / a->kv_heads : 1);
        int64_t at = (unit + 1) / a->kv_heads * strides[o]->batch + head * strides[o]->head;
        t->next[o] = (coming){element(a, data[o], at), rows[o], features[o] * element_bytes,
                              strides[o]->row * element_bytes};
    }
}

static void run_task(void *argument, uint32_t index, uint32_t thread)
{
    const launch *l = argument;
    const lt_attention *a = l->a;
    int64_t unit = index / a->chunks, rows = a->heads / a->kv_heads * a->q_len;
    task t = {.a = a,
              .data = l->data,
              .own = l->workspace + thread * a->thread_bytes,
              .batch = unit / a->kv_heads,
              .kv_head = unit % a->kv_heads,
              .first_row = index % a->chunks * a->chunk,
              .before = a->past_len,
              .first_block = true};
    int64_t end = a->past_len + a->kv_len;
    if (a->has_lengths) {
        end = l->data->lengths[t.batch];
        t.before = end - a->q_len;
    }
    t.n_rows = rows - t.first_row < a->chunk ? rows - t.first_row : a->chunk;
    set_next(&t, unit);
    for (t.key = 0; t.key < a->past_len; t.key += t.n_keys) {
        t.n_keys = a->past_len - t.key < a->key_block ? a->past_len - t.key : a->key_block;
        attend_keys(&t, l->data->past_k, &a->past_k, l->data->past_v, &a->past_v, 0);
    }
    for (; t.key < end; t.key += t.n_keys) {
        t.n_keys = end - t.key < a->key_block ? end - t.key : a->key_block;
        attend_keys(&t, l->data->k, &a->k, l->data->v, &a->v, a->past_len);
    }
    store_rows(&t);
}

void lt_attention_run(const lt_attention *a, const lt_attention_data *data, void *workspace,
                      const leat_kernel_args *args)
{
    launch l = {a, data, workspace};
    args->host->parallel(args->pool, (uint32_t)(a->batch * a->kv_heads * a->chunks), run_task, &l);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* TfIdfVectorizer: how often each n-gram of a pool occurs in each row, weighted. Grams may skip
 * items. The pool is a hash table by content, so that each place and length costs one look-up. */
#include "elementwise/element.h"
#include "movement/movement.h"

#define MOST_LENGTH 64

typedef enum weighting {
    TF,
    IDF,
    TF_IDF
} weighting;

typedef struct gram {
    size_t first; /* item of the pool */
    int64_t length, column;
    float weight;
} gram;

typedef struct tf_idf {
    leat_dtype dtype;
    weighting mode;
    int64_t rows, items, columns, shortest, longest, skips;
    const int64_t *numbers; /* the pool, one of the two */
    const leat_string *strings;
    gram *grams;
    size_t n_grams;
    uint32_t *table; /* gram + 1, by hash; 0: free */
    size_t mask;
} tf_idf;

/* FNV-1a, Fowler, Noll and Vo. */
static uint64_t mix(uint64_t hash, const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        hash = (hash ^ ((const unsigned char *)data)[i]) * 0x100000001b3u;
    }
    return hash;
}

static uint64_t mix_item(uint64_t hash, const leat_string *s, int64_t number)
{
    hash = s ? mix(hash, s->data, s->bytes) : mix(hash, &number, sizeof(number));
    return mix(hash, "\xff", 1); /* an end, so that "ab" "c" and "a" "bc" differ */
}

static leat_string string_at(const void *strings, int64_t i)
{
    leat_string s;
    memcpy(&s, (const leat_string *)strings + i, sizeof(s));
    return s;
}

static uint64_t hash_pool(const tf_idf *t, const gram *g)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (int64_t k = 0; k < g->length; k++) {
        size_t at = g->first + (size_t)k;
        hash = mix_item(hash, t->strings ? &t->strings[at] : NULL, t->numbers ? t->numbers[at] : 0);
    }
    return hash;
}

/* Items at, at + step, ... of the data are the gram. */
static bool matches(const tf_idf *t, const gram *g, const void *x, int64_t at, int64_t step)
{
    for (int64_t k = 0; k < g->length; k++, at += step) {
        size_t from = g->first + (size_t)k;
        if (t->strings != NULL) {
            leat_string s = string_at(x, at);
            if (s.bytes != t->strings[from].bytes ||
                (s.bytes != 0 && memcmp(s.data, t->strings[from].data, s.bytes) != 0)) {
                return false;
            }
        } else if (lt_element_int(t->dtype, x, at) != t->numbers[from]) {
            return false;
        }
    }
    return true;
}

/* All grams of these items: a pool may list one twice. */
static void count_gram(const tf_idf *t, const void *x, int64_t at, int64_t step, int64_t length,
                       uint64_t hash, float *y)
{
    for (size_t slot = hash & t->mask; t->table[slot] != 0; slot = (slot + 1) & t->mask) {
        const gram *g = &t->grams[t->table[slot] - 1];
        if (g->length == length && matches(t, g, x, at, step)) {
            y[g->column] += 1;
            return;
        }
    }
}

static void count_row(const tf_idf *t, const void *x, int64_t row, float *y)
{
    int64_t first = row * t->items, shortest = t->shortest;
    for (int64_t step = 1; step <= t->skips + 1 && shortest <= t->longest; step++) {
        for (int64_t i = 0; i < t->items; i++) {
            uint64_t hash = 0xcbf29ce484222325u;
            for (int64_t n = 1; n <= t->longest && i + (n - 1) * step < t->items; n++) {
                int64_t at = first + i + (n - 1) * step;
                leat_string s = t->strings ? string_at(x, at) : (leat_string){NULL, 0};
                hash = mix_item(hash, t->strings ? &s : NULL,
                                t->strings ? 0 : lt_element_int(t->dtype, x, at));
                if (n >= shortest) {
                    count_gram(t, x, first + i, step, n, hash, y);
                }
            }
        }
        shortest = shortest == 1 ? 2 : shortest; /* single items know no step */
    }
}

typedef struct tf_job {
    const tf_idf *t;
    const void *x;
    float *y;
} tf_job;

static void tf_range(void *argument, int64_t begin, int64_t end)
{
    const tf_job *job = argument;
    const tf_idf *t = job->t;
    for (int64_t row = begin; row < end; row++) {
        float *y = job->y + row * t->columns;
        memset(y, 0, (size_t)t->columns * sizeof(*y));
        count_row(t, job->x, row, y);
        for (size_t g = 0; g < t->n_grams && t->mode != TF; g++) {
            float *at = &y[t->grams[g].column];
            if (t->mode == IDF) {
                *at = *at > 0 ? 1 : 0;
            }
        }
        for (size_t g = 0; g < t->n_grams && t->mode != TF; g++) {
            y[t->grams[g].column] *= t->grams[g].weight;
        }
    }
}

static leat_status launch_tf_idf(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const tf_idf *t = state;
    tf_job job = {t, args->inputs[0], args->outputs[0]};
    (void)err;
    lt_cpu_parallel_range(args, t->rows, 1,
                          64.0 * (double)(t->items * t->longest) + 4.0 * (double)t->columns,
                          tf_range, &job);
    return LEAT_OK;
}

/* ---- the pool ------------------------------------------------------------------------------- */

static leat_status bad(const leat_node *node, const char *what, leat_error *err)
{
    return lt_cpu_fail(err, LEAT_INVALID, "%s: %s", lt_move_name(node).text, what);
}

/* Grams of lengths 1, 2, ... follow each other; ngram_counts says where each length begins. */
static leat_status list_grams(const leat_node *node, tf_idf *t, size_t n_pool, leat_error *err)
{
    size_t n_counts, n_columns;
    const int64_t *counts = leat_node_ints(node, "ngram_counts", &n_counts);
    const int64_t *columns = leat_node_ints(node, "ngram_indexes", &n_columns);
    const leat_attr *weights = leat_node_attr(node, "weights");
    bool weighted = weights != NULL && weights->type == LEAT_ATTR_FLOATS;
    size_t n = 0;
    for (size_t l = 0; l < n_counts; l++) {
        int64_t begin = counts[l], end = l + 1 < n_counts ? counts[l + 1] : (int64_t)n_pool;
        int64_t length = (int64_t)l + 1;
        if (begin < 0 || end < begin || end > (int64_t)n_pool || (end - begin) % length != 0) {
            return bad(node, "ngram_counts do not divide the pool", err);
        }
        for (int64_t at = begin; at < end; at += length, n++) {
            if (n >= n_columns || columns[n] < 0 || columns[n] >= t->columns ||
                (weighted && n >= weights->count)) {
                return bad(node, "an n-gram has no column or weight", err);
            }
            if (length >= t->shortest && length <= t->longest) {
                t->grams[t->n_grams++] =
                    (gram){(size_t)at, length, columns[n], weighted ? weights->u.floats[n] : 1};
            }
        }
    }
    return LEAT_OK;
}

static void fill_table(tf_idf *t)
{
    for (size_t g = 0; g < t->n_grams; g++) {
        size_t slot = hash_pool(t, &t->grams[g]) & t->mask;
        while (t->table[slot] != 0) {
            slot = (slot + 1) & t->mask;
        }
        t->table[slot] = (uint32_t)g + 1;
    }
}

static leat_status read_pool(const leat_kernel_node *node, tf_idf *t, const leat_host *host,
                             leat_plan *plan, leat_error *err)
{
    const leat_attr *strings = leat_node_attr(node->node, "pool_strings");
    size_t n_pool;
    t->numbers = leat_node_ints(node->node, "pool_int64s", &n_pool);
    if (t->numbers == NULL && strings != NULL && strings->type == LEAT_ATTR_STRINGS) {
        t->strings = strings->u.strings;
        n_pool = strings->count;
    }
    if ((t->dtype == LEAT_DTYPE_STRING) != (t->strings != NULL) || n_pool >= UINT32_MAX / 4) {
        return bad(node->node, "its pool is not of the data's type", err);
    }
    size_t slots = 4;
    while (slots < 2 * n_pool) {
        slots *= 2;
    }
    t->mask = slots - 1;
    t->grams = host->plan_alloc(plan, (n_pool + 1) * sizeof(*t->grams));
    t->table = host->plan_alloc(plan, slots * sizeof(*t->table));
    if (t->grams == NULL || t->table == NULL) {
        return lt_move_no_memory(node->node, err);
    }
    leat_status status = list_grams(node->node, t, n_pool, err);
    if (status == LEAT_OK) {
        fill_table(t);
    }
    return status;
}

leat_status lt_cpu_tf_idf_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                  leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    const leat_node *n = node->node;
    tf_idf *t = host->plan_alloc(plan, sizeof(*t));
    (void)device;
    if (t == NULL) {
        return lt_move_no_memory(n, err);
    }
    t->dtype = x->dtype;
    t->mode = leat_node_string_is(n, "mode", "IDF")     ? IDF
              : leat_node_string_is(n, "mode", "TFIDF") ? TF_IDF
                                                        : TF;
    t->rows = x->rank == 2 ? x->shape[0] : 1;
    t->items = x->rank > 0 ? x->shape[x->rank - 1] : 1;
    t->columns = y->rank > 0 ? y->shape[y->rank - 1] : 0;
    t->shortest = leat_node_int(n, "min_gram_length", 1);
    t->longest = leat_node_int(n, "max_gram_length", 1);
    t->skips = leat_node_int(n, "max_skip_count", 0);
    if (t->shortest < 1 || t->longest < t->shortest || t->longest > MOST_LENGTH || t->skips < 0 ||
        x->rank > 2 || leat_value_count(y) != t->rows * t->columns) {
        return bad(n, "its lengths or its shapes do not fit", err);
    }
    t->skips = t->skips < t->items ? t->skips : t->items;
    out_kernel->name = "tf_idf";
    out_kernel->launch = launch_tf_idf;
    out_kernel->state = t;
    return read_pool(node, t, host, plan, err);
}

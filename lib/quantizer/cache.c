/* SPDX-License-Identifier: Apache-2.0 */
/* What calibration found, in a file, so that the same data need not be run again:
 *
 *     head     magic, hashes of model, data and settings, numbers of things
 *     tensor   counts and ranges, the histogram's bins that are not 0, sums of channels, the grid
 *     ...
 *     layer    operations, its two times, whether and why it went back to f32
 *     ...
 *     sum      FNV-1a of all before
 *
 * all in the machine's own byte order, which the magic shows. Grids hold for the same settings,
 * what was decided by time for the same processor and number of threads, too; else they are chosen
 * anew. */
#include "base/error.h"
#include "base/file.h"
#include "quantizer/quantizer.h"
#include "runtime/tuning.h"

#include <math.h>
#include <string.h>

#define MAGIC 0x326c61637461656cu /* "leatcal2" */
#define MOST_BYTES ((size_t)1 << 30)

typedef struct head {
    uint64_t magic, model, data, settings;
    uint64_t n_tensors, n_layers, n_fed, correct_bias;
    uint64_t choice; /* what the layers' choice hangs on; 0: none was made */
} head;

typedef struct tensor_head {
    double limit;
    float least, most;
    uint64_t count, n_bins, channels;
    int32_t axis, range;
    float scale;
    int32_t zero, is_signed;
    int32_t has_rows; /* least, most and squares follow the sums */
} tensor_head;

typedef struct layer_record {
    uint64_t flops, f32_ns, own_ns, back;
} layer_record;

typedef struct bin {
    uint64_t index, count;
} bin;

/* --- hashes -------------------------------------------------------------------------------------
 */

static uint64_t hash_attr(uint64_t hash, const leat_attr *attr)
{
    hash = lt_hash_text(hash, attr->name);
    return lt_hash_attr_data(hash, attr);
}

static uint64_t hash_model(const leat_model *model)
{
    const lt_graph *graph = model->graph;
    uint64_t hash = LT_HASH_START;
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        const leat_node *node = graph->nodes[i];
        hash = lt_hash_text(lt_hash_text(hash, node->op), node->domain);
        hash = lt_hash(hash, node->inputs, node->n_inputs * sizeof(*node->inputs));
        hash = lt_hash(hash, node->outputs, node->n_outputs * sizeof(*node->outputs));
        for (uint32_t a = 0; a < node->n_attrs; a++) {
            hash = hash_attr(hash, &node->attrs[a]);
        }
    }
    for (uint32_t i = 0; i < graph->n_values; i++) {
        const leat_value *v = &graph->values[i];
        hash = lt_hash_text(hash, v->name);
        if (v->data != NULL) {
            hash = lt_hash(hash, v->data, v->bytes);
            lt_model_release_pages(model);
        }
    }
    return hash;
}

/* What the choice of grids depends on beside the data. */
static uint64_t hash_settings(const leat_quantizer *q)
{
    uint64_t hash = LT_HASH_START;
    const uint32_t all[] = {(uint32_t)q->method,      (uint32_t)q->desc.target,
                            (uint32_t)q->desc.range,  q->n_batches,
                            (uint32_t)q->desc.smooth, (uint32_t)q->desc.feedback};
    hash = lt_hash(hash, all, sizeof(all));
    for (uint32_t i = 0; i < q->n_layers; i++) {
        hash = lt_hash(hash, &q->layers[i].able, sizeof(bool));
    }
    return hash;
}

/* The same of the choice that is made by time; never 0. */
static uint64_t hash_choice(const leat_quantizer *q)
{
    const leat_device_properties *cpu = &lt_device_cpu(q->context)->info;
    const uint32_t all[] = {leat_version(), lt_pool_threads(q->context->pool), (uint32_t)q->bits,
                            (uint32_t)q->block};
    uint64_t hash = lt_hash(hash_settings(q), all, sizeof(all));
    hash = lt_hash(hash, &q->desc.max_drop, sizeof(q->desc.max_drop));
    hash = lt_hash_text(hash, cpu->description ? cpu->description : "");
    return lt_hash_text(hash, cpu->features ? cpu->features : "") | 1;
}

/* --- writing ------------------------------------------------------------------------------------
 */

typedef struct writing {
    lt_file_writer file;
    uint64_t sum;
    leat_status status;
    leat_error *err;
} writing;

static void put(writing *w, const void *data, size_t bytes)
{
    w->sum = lt_hash(w->sum, data, bytes);
    if (w->status == LEAT_OK) {
        w->status = lt_file_writer_write(&w->file, data, bytes, w->err);
    }
}

static void put_tensor(writing *w, const lt_quant_tensor *t)
{
    const lt_histogram *h = t->histogram;
    tensor_head th = {.limit = 0};
    th.limit = h->limit;
    th.least = h->least;
    th.most = h->most;
    th.count = h->count;
    th.channels = t->channels;
    th.axis = t->axis;
    th.range = (int32_t)t->range;
    th.scale = t->grid.scale;
    th.zero = t->grid.zero;
    th.is_signed = t->grid.is_signed;
    th.has_rows = t->squares != NULL;
    for (uint32_t i = 0; i < LT_HISTOGRAM_BINS; i++) {
        th.n_bins += h->bins[i] != 0;
    }
    put(w, &th, sizeof(th));
    for (uint64_t i = 0; i < LT_HISTOGRAM_BINS; i++) {
        const bin b = {i, h->bins[i]};
        if (b.count != 0) {
            put(w, &b, sizeof(b));
        }
    }
    put(w, t->sums, t->channels * sizeof(*t->sums));
    if (th.has_rows) {
        put(w, t->least, t->channels * sizeof(*t->least));
        put(w, t->most, t->channels * sizeof(*t->most));
        put(w, t->squares, t->channels * sizeof(*t->squares));
    }
}

leat_status lt_quant_cache_save(const leat_quantizer *q, bool chosen, leat_error *err)
{
    const bool news = chosen ? q->by_time : !q->counted || !q->grids_known;
    if (q->cache == NULL || !q->cache_keyed || !news) {
        return LEAT_OK;
    }
    writing w = {.sum = LT_HASH_START, .err = err};
    const head h = {
        MAGIC,       q->model_hash, q->data_hash,    hash_settings(q),           q->n_tensors,
        q->n_layers, q->n_fed,      q->correct_bias, chosen ? hash_choice(q) : 0};
    w.status = lt_file_writer_open(&q->context->memory, q->cache, &w.file, err);
    if (w.status != LEAT_OK) {
        return w.status;
    }
    put(&w, &h, sizeof(h));
    for (uint32_t i = 0; i < q->n_tensors; i++) {
        put_tensor(&w, &q->tensors[i]);
    }
    for (uint32_t i = 0; i < q->n_layers; i++) {
        const lt_quant_layer *l = &q->layers[i];
        const layer_record r = {l->report.flops, l->f32_ns, l->own_ns, l->back};
        put(&w, &r, sizeof(r));
    }
    const uint64_t sum = w.sum;
    put(&w, &sum, sizeof(sum));
    w.status = w.status ? w.status : lt_file_writer_commit(&w.file, err);
    lt_file_writer_close(&w.file);
    return w.status;
}

/* --- reading ------------------------------------------------------------------------------------
 */

typedef struct reading {
    const char *at;
    size_t left;
    bool no_memory;
} reading;

/* False at the end of the file. */
static bool take(reading *r, void *out, size_t bytes)
{
    if (bytes > r->left) {
        return false;
    }
    memcpy(out, r->at, bytes);
    r->at += bytes;
    r->left -= bytes;
    return true;
}

/* A row of the tensor's channels; NULL when there is no memory or no more file. */
static void *take_row(leat_quantizer *q, reading *r, uint64_t channels, size_t each)
{
    if (channels > r->left / each) {
        return NULL;
    }
    void *row = lt_arena_array(&q->arena, channels + 1, each);
    r->no_memory |= row == NULL;
    return row != NULL && take(r, row, channels * each) ? row : NULL;
}

/* Whether counting could have made the histogram: searches of a range rely on it. */
static bool take_histogram(reading *r, const tensor_head *th, lt_histogram *out)
{
    int exponent;
    uint64_t all = 0;
    out->limit = th->limit;
    out->least = th->least;
    out->most = th->most;
    out->count = th->count;
    for (uint64_t i = 0; i < th->n_bins; i++) {
        bin b;
        if (!take(r, &b, sizeof(b)) || b.index >= LT_HISTOGRAM_BINS || out->bins[b.index] != 0 ||
            b.count > th->count - all) {
            return false;
        }
        out->bins[b.index] = b.count;
        all += b.count;
    }
    const bool scaled = th->limit == 0 || (isfinite(th->limit) && th->limit > 0 &&
                                           frexp(th->limit, &exponent) == 0.5);
    return all == th->count && scaled &&
           (all == 0 || (th->least <= th->most && fabs((double)th->least) <= th->limit &&
                         fabs((double)th->most) <= th->limit));
}

static bool are_finite(const lt_quant_tensor *t)
{
    for (size_t c = 0; c < t->channels; c++) {
        if (!isfinite(t->sums[c]) ||
            (t->squares != NULL && !(isfinite(t->squares[c]) && t->squares[c] >= 0 &&
                                     isfinite(t->least[c]) && isfinite(t->most[c])))) {
            return false;
        }
    }
    return true;
}

static bool take_rows(leat_quantizer *q, reading *r, const tensor_head *th, lt_quant_tensor *t)
{
    t->axis = th->axis;
    t->channels = th->channels;
    t->sums = take_row(q, r, th->channels, sizeof(*t->sums));
    if (th->has_rows) {
        t->least = take_row(q, r, th->channels, sizeof(*t->least));
        t->most = take_row(q, r, th->channels, sizeof(*t->most));
        t->squares = take_row(q, r, th->channels, sizeof(*t->squares));
    }
    return t->sums != NULL &&
           (!th->has_rows || (t->least != NULL && t->most != NULL && t->squares != NULL)) &&
           (th->channels == 0 || th->count % th->channels == 0) && are_finite(t);
}

static bool take_tensor(leat_quantizer *q, reading *r, lt_quant_tensor *t)
{
    tensor_head th;
    t->histogram = lt_arena_alloc(&q->arena, sizeof(*t->histogram), LT_ALIGNMENT);
    r->no_memory |= t->histogram == NULL;
    if (t->histogram == NULL || !take(r, &th, sizeof(th)) || th.n_bins > LT_HISTOGRAM_BINS ||
        (th.axis != 1 && th.axis != -1 && th.axis != 0) || th.range < 0 ||
        th.range > LEAT_RANGE_ENTROPY || !(th.scale > 0 && isfinite(th.scale)) ||
        th.zero < (th.is_signed ? -128 : 0) || th.zero > (th.is_signed ? 127 : 255)) {
        return false;
    }
    t->range = (leat_quantize_range)th.range;
    t->grid = (lt_grid){th.scale, th.zero, th.is_signed != 0};
    return take_histogram(r, &th, t->histogram) && take_rows(q, r, &th, t);
}

static bool take_layer(reading *r, lt_quant_layer *layer)
{
    layer_record record;
    if (!take(r, &record, sizeof(record)) || record.back >= LT_QUANT_BACKS) {
        return false;
    }
    layer->report.flops = record.flops;
    layer->chosen.f32_ns = record.f32_ns;
    layer->chosen.own_ns = record.own_ns;
    layer->chosen.back = (lt_quant_back)record.back;
    return true;
}

static leat_status refuse(const leat_quantizer *q, const char *what, leat_error *err)
{
    return lt_fail(err, LEAT_INVALID,
                   "the calibration cache '%s' %s: name another file, or remove it", q->cache,
                   what);
}

static leat_status read_cache(leat_quantizer *q, const void *data, size_t bytes, leat_error *err)
{
    reading r = {data, bytes, false};
    head h;
    uint64_t sum;
    if (bytes < sizeof(h) + sizeof(sum) || !take(&r, &h, sizeof(h)) || h.magic != MAGIC) {
        return refuse(q, "is none of this version", err);
    }
    r.left -= sizeof(sum);
    memcpy(&sum, r.at + r.left, sizeof(sum));
    if (sum != lt_hash(LT_HASH_START, data, bytes - sizeof(sum))) {
        return refuse(q, "is damaged", err);
    }
    if (h.model != q->model_hash || h.n_tensors != q->n_tensors || h.n_layers != q->n_layers) {
        return refuse(q, "is of another model", err);
    }
    if (h.data != q->data_hash) {
        return refuse(q, "is of other data", err);
    }
    bool good = true;
    for (uint32_t i = 0; i < q->n_tensors && good; i++) {
        good = take_tensor(q, &r, &q->tensors[i]);
    }
    for (uint32_t i = 0; i < q->n_layers && good; i++) {
        good = take_layer(&r, &q->layers[i]);
    }
    q->cache_choice = h.choice;
    q->cache_settings = h.settings;
    q->correct_bias = h.correct_bias == 1;
    q->counted = good && r.left == 0;
    if (r.no_memory) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for the calibration cache '%s'", q->cache);
    }
    return q->counted ? LEAT_OK : refuse(q, "is damaged", err);
}

leat_status lt_quant_cache_open(leat_quantizer *q, uint64_t data_hash, leat_error *err)
{
    void *data;
    size_t bytes;
    if (q->n_fed > 0 || q->cache_keyed) {
        return lt_fail(err, LEAT_INVALID,
                       "with a calibration cache all data comes from one call of "
                       "leat_quantizer_feed_files");
    }
    q->model_hash = hash_model(q->model);
    q->data_hash = data_hash;
    q->cache_keyed = true;
    leat_status status =
        lt_file_read(&q->context->memory, q->cache, MOST_BYTES, &data, &bytes, err);
    if (status == LEAT_NOT_FOUND) {
        return LEAT_OK;
    }
    if (status == LEAT_OK) {
        status = read_cache(q, data, bytes, err);
        lt_free(&q->context->memory, data, bytes);
    }
    return status;
}

void lt_quant_cache_settle(leat_quantizer *q)
{
    q->grids_known =
        q->counted && (q->method != LEAT_QUANTIZE_STATIC || q->cache_settings == hash_settings(q));
    q->correct_bias &= q->grids_known;
}

bool lt_quant_cache_choose(leat_quantizer *q)
{
    if (!q->counted || !q->by_time || q->cache_choice != hash_choice(q)) {
        return false;
    }
    for (uint32_t i = 0; i < q->n_layers; i++) {
        lt_quant_layer *layer = &q->layers[i];
        if (layer->on && layer->chosen.back != LT_QUANT_STAYS) {
            lt_quant_take_back(layer, layer->chosen.back);
            layer->f32_ns = layer->chosen.f32_ns;
            layer->own_ns = layer->chosen.own_ns;
        }
    }
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Running a batch: rows put together, one run, rows handed out. */
#include "base/clock.h"
#include "base/error.h"
#include "base/thread.h"
#include "batcher/batcher.h"
#include "batcher/pad.h"
#include "batcher/times.h"

#include <string.h>

uint64_t lt_batcher_now(const leat_batcher *b)
{
    return b->desc.clock != NULL ? b->desc.clock(b->desc.clock_user) : lt_clock_ns();
}

static void count(leat_batcher *b, const leat_request *r, leat_status status, uint64_t now)
{
    leat_batcher_stats *s = &b->stats;
    const bool ran = status != LEAT_CANCELLED && status != LEAT_EXPIRED;
    s->succeeded += status == LEAT_OK;
    s->cancelled += status == LEAT_CANCELLED;
    s->expired += status == LEAT_EXPIRED;
    s->failed += status != LEAT_OK && ran;
    const bool late = status == LEAT_EXPIRED || (status == LEAT_OK && now > r->deadline);
    s->missed_by_class[r->class_index] += late;
    if (r->deadline != LT_NEVER && status != LEAT_CANCELLED) {
        /* In balance with one late of a hundred. */
        b->margin += late ? 0.001 : -0.00001;
        b->margin = b->margin < 1 ? 1 : b->margin > 3 ? 3 : b->margin;
    }
    if (ran) {
        lt_time_count(&s->request[r->class_index], now - r->arrived);
    }
}

/* Sets what a request came to, and calls back. Without the lock. */
static void tell(leat_request *r, leat_status status, const leat_array *outputs,
                 const leat_error *error)
{
    const size_t n_outputs = r->batcher->io->n_outputs;
    if (r->hash != 0) {
        lt_flight_end(r, status, outputs);
    }
    lt_slot_settle(r);
    if (outputs != NULL && r->caller_outputs != NULL) {
        memcpy(r->caller_outputs, outputs, n_outputs * sizeof(*outputs));
    }
    r->status = status;
    r->err = error ? *error : (leat_error){0};
    r->err.status = status;
    if (r->done != NULL) {
        r->done(r->done_user, status, outputs, outputs ? n_outputs : 0,
                status == LEAT_OK ? NULL : &r->err);
    }
}

/* Counts requests that were told, from the first up to `end`, and lets waiters go: whoever sees one
 * DONE may give it back at once. */
static void end_all(leat_batcher *b, leat_request *first, const leat_request *end)
{
    const uint64_t now = lt_batcher_now(b);
    pthread_mutex_lock(&b->lock);
    for (leat_request *r = first, *next; r != end; r = next) {
        next = r->next;
        count(b, r, r->status, now);
        lt_slot_leave(b, r);
        if (r->held) {
            pthread_cond_broadcast(&r->completed);
            atomic_store_explicit(&r->state, LT_REQUEST_DONE, memory_order_release);
        } else {
            atomic_store_explicit(&r->state, LT_REQUEST_FREE, memory_order_relaxed);
            r->next = b->free;
            b->free = r;
            atomic_fetch_sub_explicit(&b->n_taken, 1, memory_order_relaxed);
        }
    }
    pthread_cond_broadcast(&b->ended);
    pthread_mutex_unlock(&b->lock);
}

void lt_batcher_complete(leat_request *r, leat_status status, const leat_array *outputs,
                         const leat_error *error)
{
    const leat_request *next = r->next;
    tell(r, status, outputs, error);
    end_all(r->batcher, r, next);
}

/* Memory for `rows` rows of input i, enough for the largest batch so that it need not grow for
 * another one of the same key. */
static void *block_for(lt_instance *at, size_t i, size_t row_bytes, leat_error *err)
{
    leat_batcher *b = at->batcher;
    size_t bytes;
    if (!lt_mul(row_bytes, (size_t)b->desc.max_batch_size, &bytes)) {
        (void)lt_fail(err, LEAT_LIMIT, "a batch is too large to address");
        return NULL;
    }
    if (!lt_block_fit(b, &at->blocks[i], bytes)) {
        (void)lt_fail(err, LEAT_NO_MEMORY, "no memory for a batch of %zu bytes", bytes);
        return NULL;
    }
    return at->blocks[i].data;
}

leat_array lt_batcher_padded_input(const leat_batcher *b, const leat_request *r, size_t i)
{
    leat_array x = r->inputs[i];
    const uint32_t axes = r->length != 0 ? b->rules.padded_in[i] : 0;
    size_t count = 1;
    for (int32_t d = 0; d < x.rank; d++) {
        x.shape[d] = (axes >> d & 1) != 0 ? r->padded : x.shape[d];
        count *= (size_t)x.shape[d];
    }
    x.bytes = leat_dtype_bytes(x.dtype, count);
    return x;
}

/* Puts the requests' input i together, padded where they are shorter, unless `there` it is. */
static void put_rows(lt_instance *at, size_t i, const leat_request *first, bool there)
{
    unsigned char *block = at->blocks[i].data;
    for (const leat_request *r = first; r != NULL; r = r->next) {
        leat_array x = lt_batcher_padded_input(at->batcher, r, i);
        x.data = block;
        if (x.bytes > 0 && !there) {
            lt_pad_copy(&r->inputs[i], &x);
        }
        block = there || x.bytes == 0 ? block : block + x.bytes;
        at->input_bytes += x.bytes;
        at->pad_bytes += x.bytes - r->inputs[i].bytes;
    }
}

/* Copies row `rows` - 1 of a block to all behind it, up to `planned`: values that the model takes.
 */
static void fill_up(unsigned char *block, size_t row_bytes, uint32_t rows, uint32_t planned)
{
    const unsigned char *last = block + (size_t)(rows - 1) * row_bytes;
    for (uint32_t row = rows; row < planned; row++) {
        memcpy(block + (size_t)row * row_bytes, last, row_bytes);
    }
}

/* The inputs of several requests as one, of `rows` rows filled up to `planned`. slot: where they
 * are together; NULL: nowhere. */
static leat_status gather(lt_instance *at, const lt_slot *slot, const leat_request *first,
                          uint32_t rows, uint32_t planned, leat_error *err)
{
    const leat_batcher *b = at->batcher;
    for (size_t i = 0; i < b->io->n_inputs; i++) {
        leat_array *x = &at->inputs[i];
        if (!b->rules.batched[i]) {
            *x = first->inputs[i];
            continue;
        }
        *x = lt_batcher_padded_input(b, first, i);
        const size_t row_bytes = lt_key_row_bytes(x);
        x->data = slot ? slot->blocks[i].data : block_for(at, i, row_bytes, err);
        if (x->data == NULL) {
            return err->status;
        }
        x->shape[0] = planned;
        x->bytes = row_bytes * planned;
        put_rows(at, i, first, slot != NULL);
        fill_up(x->data, row_bytes, rows, planned);
    }
    return LEAT_OK;
}

static leat_status run(lt_instance *at, const leat_array *inputs, leat_array *outputs,
                       leat_error *err)
{
    const leat_batcher *b = at->batcher;
    const size_t n_inputs = b->io->n_inputs, n_outputs = b->io->n_outputs;
    if (b->desc.run != NULL) {
        return b->desc.run(b->desc.run_user, at->index, inputs, n_inputs, outputs, n_outputs, err);
    }
    if (at->session == NULL) {
        return lt_fail(err, LEAT_DEVICE_LOST, "the device is lost, and no other can be opened");
    }
    if (b->pool == NULL) {
        return leat_session_run(at->session, inputs, n_inputs, outputs, n_outputs, err);
    }
    lt_pool_enter(b->pool);
    leat_status status = leat_session_run(at->session, inputs, n_inputs, outputs, n_outputs, err);
    lt_pool_leave(b->pool);
    return status;
}

/* Every output has the batch's rows. */
static leat_status check_outputs(const lt_instance *at, uint32_t rows, leat_error *err)
{
    const leat_model_signature *io = at->batcher->io;
    for (size_t o = 0; o < io->n_outputs; o++) {
        const leat_array *y = &at->outputs[o];
        if (y->rank < 1 || y->shape[0] != (int64_t)rows || y->bytes % rows != 0) {
            return lt_fail(err, LEAT_UNSUPPORTED,
                           "output '%s' of a batch of %u rows does not have as many: this model "
                           "cannot be batched",
                           io->outputs[o].name, rows);
        }
    }
    return LEAT_OK;
}

static void complete_all(leat_request *first, leat_status status, const leat_error *err)
{
    for (leat_request *r = first; r != NULL; r = r->next) {
        tell(r, status, NULL, err);
    }
    end_all(first->batcher, first, NULL);
}

void lt_batcher_note_gain(leat_batcher *b, const lt_curve *curve, uint32_t rows, uint64_t ns)
{
    const double alone = curve->run_ns[1];
    if (rows > 1 && alone > 0 && curve->run_ns[rows] > 0 && b->weighs) {
        const double ratio = (double)ns / rows / alone;
        b->n_gains += b->n_gains < 7;
        b->together += ((ratio < 1.5 ? ratio : 1.5) - b->together) / (b->n_gains + 1);
    }
}

static void learn(lt_instance *at, const lt_batch *batch, uint32_t rows, uint64_t ns,
                  leat_status status)
{
    leat_batcher *b = at->batcher;
    pthread_mutex_lock(&b->lock);
    const double share = lt_batcher_share(b, at->place), own = share - at->share;
    at->share = share;
    b->stats.batches++;
    b->stats.rows += rows;
    b->stats.fill_rows += b->planned[rows] - rows;
    b->stats.batch_rows[lt_bits(rows - 1)]++;
    lt_time_count(&b->stats.compute, ns);
    b->stats.input_bytes += at->input_bytes;
    b->stats.pad_bytes += at->pad_bytes;
    at->input_bytes = at->pad_bytes = 0;
    if (status == LEAT_OK && b->keys[batch->key].hash == batch->hash) {
        lt_batcher_note_gain(b, &b->keys[batch->key].curve, rows, ns);
        lt_curve_run(&b->keys[batch->key].curve, b->planned[rows], ns);
        lt_buckets_run(&b->pads, b->keys[batch->key].padded, b->planned[rows], (uint64_t)own, 1);
    }
    pthread_mutex_unlock(&b->lock);
}

bool lt_batcher_in_place(const leat_batcher *b, const leat_request *r)
{
    return r->next == NULL && b->planned[r->rows] == r->rows && r->padded == r->length;
}

static leat_status run_many(lt_instance *at, const lt_slot *slot, const leat_request *first,
                            uint32_t rows, uint32_t planned, leat_error *err)
{
    memset(at->outputs, 0, at->batcher->io->n_outputs * sizeof(*at->outputs));
    const uint64_t start = lt_trace_begin(at->batcher->trace);
    leat_status status = gather(at, slot, first, rows, planned, err);
    lt_trace_end(at->batcher->trace, LT_LANE_COPY, "gather", start);
    status = status ? status : run(at, at->inputs, at->outputs, err);
    return status ? status : check_outputs(at, planned, err);
}

leat_status lt_batcher_try(lt_instance *at, const leat_request *r, uint32_t planned, bool direct,
                           leat_error *err)
{
    if (!direct) {
        return run_many(at, NULL, r, r->rows, planned, err);
    }
    memset(at->outputs, 0, at->batcher->io->n_outputs * sizeof(*at->outputs));
    return run(at, r->inputs, at->outputs, err);
}

static void serve(lt_instance *at, const lt_batch *batch, const lt_slot *slot, leat_request *first,
                  uint32_t rows);

/* Runs both halves of a batch that failed. */
static void bisect(lt_instance *at, const lt_batch *batch, leat_request *first, uint32_t rows)
{
    uint32_t n = 0, left = 0;
    for (const leat_request *r = first; r != NULL; r = r->next) {
        n++;
    }
    leat_request *last = first;
    left = last->rows;
    for (uint32_t i = 1; i < n / 2; i++) {
        last = last->next;
        left += last->rows;
    }
    leat_request *second = last->next;
    last->next = NULL;
    pthread_mutex_lock(&at->batcher->lock);
    at->batcher->stats.bisected++;
    pthread_mutex_unlock(&at->batcher->lock);
    serve(at, batch, NULL, first, left);
    serve(at, batch, NULL, second, rows - left);
}

/* Bytes handed out until those who have them are let go, although others of the batch have not. */
#define SOON (256u << 10)

/* Gives each its rows of a batch that ran. */
static void hand_out_all(lt_instance *at, leat_request *first)
{
    lt_trace *trace = at->batcher->trace;
    leat_request *told = first;
    size_t bytes = 0;
    uint32_t row = 0;
    for (leat_request *r = first, *next; r != NULL; r = next) {
        leat_error err = {0};
        next = r->next;
        const uint64_t start = lt_trace_begin(trace);
        leat_status status = lt_batcher_hand_out(at->batcher, at->outputs, r, row, &err);
        lt_trace_end(trace, LT_LANE_COPY, "hand out", start);
        row += r->rows;
        for (size_t o = 0; o < at->batcher->io->n_outputs; o++) {
            bytes += r->outputs[o].bytes;
        }
        tell(r, status, status ? NULL : r->outputs, &err);
        if (bytes > SOON || next == NULL) {
            end_all(at->batcher, told, next);
            told = next;
            bytes = 0;
        }
    }
}

static void settle_all(const leat_request *first)
{
    for (; first != NULL; first = first->next) {
        lt_slot_settle(first);
    }
}

/* Requests in a list, `rows` rows of them: the depth of halving is the logarithm of a batch. */
static void serve(lt_instance *at, const lt_batch *batch, const lt_slot *slot, leat_request *first,
                  uint32_t rows)
{
    leat_error err = {0};
    const bool direct = slot == NULL && lt_batcher_in_place(at->batcher, first);
    const uint64_t begin = lt_batcher_now(at->batcher);
    leat_status status = direct ? run(at, first->inputs, first->outputs, &err)
                                : run_many(at, slot, first, rows, at->batcher->planned[rows], &err);
    const uint64_t end = lt_batcher_now(at->batcher);
    learn(at, batch, rows, end - begin, status);
    lt_batcher_trace(at->batcher, first, rows, begin, end);
    if (status == LEAT_DEVICE_LOST && lt_batcher_move(at)) {
        serve(at, batch, NULL, first, rows); /* as often as there are devices */
    } else if (direct) {
        lt_batcher_complete(first, status, status ? NULL : first->outputs, &err);
    } else if (status == LEAT_OK) {
        hand_out_all(at, first);
    } else if (status == LEAT_DEVICE_LOST || first->next == NULL) {
        complete_all(first, status, &err);
    } else {
        bisect(at, batch, first, rows);
    }
}

static void serve_all(lt_instance *at, const lt_batch *batch)
{
    if (batch->expired != NULL) {
        leat_error err = {0};
        (void)lt_fail(&err, LEAT_EXPIRED, "the deadline passed before the request was begun");
        complete_all(batch->expired, LEAT_EXPIRED, &err);
    }
    if (batch->first != NULL) {
        settle_all(batch->first);
        serve(at, batch, batch->slot, batch->first, batch->rows);
    }
}

double lt_batcher_share(leat_batcher *b, int32_t place)
{
    return b->pads.most > 0 ? lt_share_go_on(&b->shares[place], lt_batcher_now(b), b->busy[place])
                            : 0;
}

lt_instance *lt_batcher_take(leat_batcher *b, const lt_instance *wanted)
{
    lt_instance **from = &b->idle;
    while (*from != NULL && *from != wanted) {
        from = &(*from)->next;
    }
    lt_instance *at = *from;
    if (at != NULL) {
        *from = at->next;
        b->n_idle--;
        at->share = lt_batcher_share(b, at->place);
        b->busy[at->place]++;
    }
    return at;
}

lt_instance *lt_batcher_take_instance(leat_batcher *b, bool urgent)
{
    const lt_instance *best = b->idle;
    for (const lt_instance *at = best->next; at != NULL; at = at->next) {
        const bool fits = at->urgent == urgent, better = b->busy[at->place] < b->busy[best->place];
        best = fits != (best->urgent == urgent) ? (fits ? at : best) : better ? at : best;
    }
    return lt_batcher_take(b, best);
}

void lt_batcher_return_instance(leat_batcher *b, lt_instance *at)
{
    at->next = b->idle;
    b->idle = at;
    b->n_idle++;
    (void)lt_batcher_share(b, at->place);
    b->busy[at->place]--;
}

void lt_batcher_choose_lengths(leat_batcher *b)
{
    if (b->choosing || !lt_buckets_due(&b->pads)) {
        return;
    }
    b->choosing = true;
    lt_buckets_note(&b->pads);
    pthread_mutex_unlock(&b->lock);
    const bool changed = lt_buckets_choose(&b->pads);
    pthread_mutex_lock(&b->lock);
    b->stats.pad_changes += changed;
    b->choosing = false;
}

bool lt_batcher_step(leat_batcher *b, uint64_t *out_next)
{
    *out_next = LT_NEVER;
    if (b->idle == NULL) {
        return false;
    }
    lt_batch batch = lt_batcher_pick(b, lt_batcher_now(b), out_next);
    if (batch.first == NULL && batch.expired == NULL) {
        return false;
    }
    const bool urgent = b->classes && batch.first != NULL && batch.first->class_index == 0;
    lt_instance *at = lt_batcher_take_instance(b, urgent);
    b->stats.running++;
    for (const leat_request *r = batch.first; r != NULL && batch.slot != NULL; r = r->next) {
        b->stats.staged++;
    }
    pthread_mutex_unlock(&b->lock);
    serve_all(at, &batch);
    pthread_mutex_lock(&b->lock);
    b->stats.running--;
    lt_batcher_return_instance(b, at);
    if (b->n_warming > 0) {
        pthread_cond_broadcast(&b->ended);
    }
    lt_batcher_choose_lengths(b);
    return true;
}

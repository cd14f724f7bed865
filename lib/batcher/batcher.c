/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a batcher: create, poll, counts, destroy. */
#include "batcher/batcher.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/thread.h"
#include "batcher/sizes.h"
#include "runtime/context.h"
#include "runtime/model.h"

#include <string.h>

static leat_status check_desc(const leat_batcher_desc *d, leat_error *err)
{
    if (d->struct_size != sizeof(*d)) {
        return lt_fail(err, LEAT_INVALID,
                       "leat_batcher_desc.struct_size is %zu: set it to sizeof(leat_batcher_desc)",
                       d->struct_size);
    }
    if (d->max_batch_size < 0 || d->max_batch_size > 1 << 20 || d->n_instances < 0 ||
        d->n_instances > 64 || d->max_keys > 1 << 16 || d->queue_limit > 1 << 24 ||
        d->n_classes > LEAT_MAX_CLASSES) {
        return lt_fail(
            err, LEAT_INVALID,
            "leat_batcher_desc: a number is out of range (rows up to 2^20, instances 64, "
            "keys 2^16, requests 2^24, classes %d)",
            LEAT_MAX_CLASSES);
    }
    if (d->reserved_instances > 0 && d->reserved_instances >= d->n_instances) {
        return lt_fail(
            err, LEAT_INVALID,
            "leat_batcher_desc: %d instances are reserved of n_instances %d: one must be "
            "left to all",
            d->reserved_instances, d->n_instances);
    }
    if (d->answer_bytes > 0 && d->answer_bytes < LT_LEAST_ANSWERS) {
        return lt_fail(err, LEAT_INVALID, "leat_batcher_desc: answer_bytes is %llu: 0, or %d",
                       (unsigned long long)d->answer_bytes, LT_LEAST_ANSWERS);
    }
    if (d->clock != NULL && !d->no_threads) {
        return lt_fail(err, LEAT_INVALID, "leat_batcher_desc: a clock needs no_threads");
    }
    return LEAT_OK;
}

/* Batches under way at once, unless the caller says. Two threads do more as two batches of one
 * thread each than as one of two: nobody waits for the other. With more threads than batches that
 * would leave cores idle. */
static int32_t default_instances(const leat_batcher *b)
{
    const leat_batcher_desc *d = &b->desc;
    if (d->no_threads || (d->run != NULL && lt_on_cpu(d->session))) {
        return 1;
    }
    return !lt_on_cpu(d->session)                             ? 4 * b->n_places
           : b->pool != NULL && lt_pool_threads(b->pool) == 2 ? 2
                                                              : 1;
}

static void fill_defaults(leat_batcher *b)
{
    leat_batcher_desc *d = &b->desc;
    uint64_t wait = 1000000000u;
    b->n_places = lt_batcher_count_places(d);
    d->max_batch_size = d->max_batch_size ? d->max_batch_size : 32;
    d->timeout_ns = d->timeout_ns ? d->timeout_ns : 50000000u;
    d->queue_limit = d->queue_limit ? d->queue_limit : 1024;
    d->max_keys = d->max_keys ? d->max_keys : 64;
    d->n_classes = d->n_classes ? d->n_classes : LEAT_MAX_CLASSES;
    if (d->n_instances == 0) {
        d->n_instances = default_instances(b);
    }
    if (d->reserved_instances == 0) {
        d->reserved_instances =
            d->n_instances >= 4 * b->n_places ? b->n_places : d->n_instances >= 4;
    }
    for (uint32_t c = 0; c < LEAT_MAX_CLASSES; c++) {
        d->max_wait_ns[c] = d->max_wait_ns[c] ? d->max_wait_ns[c] : wait;
        wait = d->max_wait_ns[c] > LT_NEVER / 4 ? LT_NEVER : 4 * d->max_wait_ns[c];
    }
}

static bool make_requests(leat_batcher *b)
{
    const size_t n = b->desc.queue_limit, n_in = b->io->n_inputs, n_out = b->io->n_outputs;
    b->requests = lt_arena_array(&b->arena, n, sizeof(*b->requests));
    leat_array *arrays = lt_arena_array(&b->arena, n, (n_in + n_out) * sizeof(*arrays));
    if (b->requests == NULL || (arrays == NULL && n_in + n_out > 0)) {
        return false;
    }
    for (size_t i = n; i-- > 0;) {
        leat_request *r = &b->requests[i];
        r->batcher = b;
        r->inputs = arrays + i * (n_in + n_out);
        r->outputs = r->inputs + n_in;
        lt_clock_cond_init(&r->completed);
        r->next = b->free;
        b->free = r;
    }
    return true;
}

/* Whether the runs' sizes are every number. */
static bool any_size(const leat_batcher_desc *d)
{
    return d->batch_sizes == NULL && (d->run != NULL || lt_on_cpu(d->session));
}

/* The least size of the caller's that is not less than n; max where there is none. */
static uint32_t wanted_size(const leat_batcher_desc *d, uint32_t n, uint32_t max)
{
    for (uint32_t i = 0; i < d->n_batch_sizes; i++) {
        if ((uint32_t)d->batch_sizes[i] >= n) {
            return (uint32_t)d->batch_sizes[i];
        }
    }
    return max;
}

static leat_status make_sizes(leat_batcher *b, const leat_batcher_desc *d, leat_error *err)
{
    const uint32_t max = (uint32_t)b->desc.max_batch_size;
    for (uint32_t i = 0; i < d->n_batch_sizes; i++) {
        if (d->batch_sizes == NULL || d->batch_sizes[i] < 1 || (uint32_t)d->batch_sizes[i] > max ||
            (i > 0 && d->batch_sizes[i] <= d->batch_sizes[i - 1])) {
            return lt_fail(err, LEAT_INVALID, "batch_sizes must ascend from 1 to max_batch_size");
        }
    }
    /* A device's times say little of it: those of several instances overlap. */
    b->weighs = any_size(d) && (d->run == NULL || b->desc.n_instances == 1);
    b->together = 0.5; /* so it is taken to be until it is known */
    b->planned = lt_arena_array(&b->arena, (size_t)max + 1, sizeof(*b->planned));
    for (uint32_t n = 0; b->planned != NULL && n <= max; n++) {
        b->planned[n] = any_size(d) || n == 0    ? n
                        : d->batch_sizes != NULL ? wanted_size(d, n, max)
                                                 : lt_stepped_size(n, max);
    }
    return b->planned != NULL ? LEAT_OK : lt_fail(err, LEAT_NO_MEMORY, "no memory for a batcher");
}

static bool make_instances(leat_batcher *b)
{
    const size_t n_in = b->io->n_inputs, n_out = b->io->n_outputs;
    b->instances = lt_arena_array(&b->arena, (size_t)b->desc.n_instances, sizeof(*b->instances));
    b->busy = lt_arena_array(&b->arena, (size_t)b->n_places, sizeof(*b->busy));
    b->lost = lt_arena_array(&b->arena, (size_t)b->n_places, sizeof(*b->lost));
    b->shares = lt_arena_array(&b->arena, (size_t)b->n_places, sizeof(*b->shares));
    if (b->busy == NULL || b->lost == NULL || b->shares == NULL) {
        return false;
    }
    for (int32_t i = 0; b->instances != NULL && i < b->desc.n_instances; i++) {
        lt_instance *at = &b->instances[i];
        at->batcher = b;
        at->index = i;
        at->place = i % b->n_places;
        at->urgent = i >= b->desc.n_instances - b->desc.reserved_instances;
        b->busy[at->place]++;
        lt_batcher_return_instance(b, at);
        at->inputs = lt_arena_array(&b->arena, n_in + 1, sizeof(*at->inputs));
        at->outputs = lt_arena_array(&b->arena, n_out + 1, sizeof(*at->outputs));
        at->blocks = lt_arena_array(&b->arena, n_in + 1, sizeof(*at->blocks));
        if (at->inputs == NULL || at->outputs == NULL || at->blocks == NULL) {
            return false;
        }
    }
    return b->instances != NULL;
}

static leat_status find_padded(leat_batcher *b, const leat_batcher_desc *d, leat_error *err)
{
    lt_key_rules *rules = &b->rules;
    for (uint32_t i = 0; i < d->n_pad_lengths; i++) {
        if (d->pad_lengths == NULL || d->pad_lengths[i] < 1 ||
            (i > 0 && d->pad_lengths[i] <= d->pad_lengths[i - 1])) {
            return lt_fail(err, LEAT_INVALID, "pad_lengths must be positive and ascend");
        }
    }
    if (d->pad_buckets > 0 && d->n_pad_lengths > LT_MOST_LENGTHS) {
        return lt_fail(err, LEAT_INVALID, "pad_buckets are chosen of %u pad_lengths at most",
                       LT_MOST_LENGTHS);
    }
    rules->padded_in = lt_arena_array(&b->arena, b->io->n_inputs + 1, sizeof(*rules->padded_in));
    rules->padded_out = lt_arena_array(&b->arena, b->io->n_outputs + 1, sizeof(*rules->padded_out));
    rules->buckets = &b->pads;
    b->pads.most = d->pad_buckets;
    b->pads.max_rows = (uint32_t)b->desc.max_batch_size;
    b->pads.planned = b->planned;
    /* A plan for each instance, on devices a graph, too. */
    b->pads.settling =
        (uint8_t)(d->run != NULL ? 0 : (lt_on_cpu(d->session) ? 1 : 2) * b->desc.n_instances);
    const bool ok = rules->padded_in != NULL && rules->padded_out != NULL &&
                    lt_buckets_make(&b->pads, &b->arena, d->pad_lengths, d->n_pad_lengths);
    return ok ? lt_key_find_padded(rules, d->pad_dimension, err)
              : lt_fail(err, LEAT_NO_MEMORY, "no memory for a batcher");
}

/* Which inputs have rows (none need to where a batch is one request), and what is padded. */
static leat_status find_rules(leat_batcher *b, const leat_batcher_desc *d, leat_error *err)
{
    b->rules.io = b->io;
    if (b->io->n_inputs > LT_BATCHER_MAX_INPUTS) {
        return lt_fail(err, LEAT_UNSUPPORTED, "%zu inputs: a batcher takes %u at most",
                       b->io->n_inputs, LT_BATCHER_MAX_INPUTS);
    }
    if (b->desc.max_batch_size == 1) {
        return LEAT_OK;
    }
    b->rules.batched = lt_arena_array(&b->arena, b->io->n_inputs + 1, sizeof(bool));
    if (b->rules.batched == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for a batcher");
    }
    leat_status status = lt_key_find_rows(&b->rules, err);
    return status || d->pad_dimension == NULL ? status : find_padded(b, d, err);
}

static leat_status keep_answers(leat_batcher *b, leat_error *err)
{
    leat_status status = b->desc.answer_bytes > 0 ? lt_key_check_types(b->io, err) : LEAT_OK;
    if (status == LEAT_OK && b->desc.answer_bytes > 0 && !lt_flights_make(b)) {
        status = lt_fail(err, LEAT_NO_MEMORY, "no memory for answers of %llu bytes",
                         (unsigned long long)b->desc.answer_bytes);
    }
    return status;
}

static leat_status start_threads(leat_batcher *b, leat_error *err)
{
    b->threads = lt_arena_array(&b->arena, (size_t)b->desc.n_instances, sizeof(*b->threads));
    if (b->threads == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for a batcher");
    }
    for (int32_t i = 0; i < b->desc.n_instances && !b->desc.no_threads; i++) {
        lt_sleeper *s = &b->threads[i];
        s->batcher = b;
        lt_clock_cond_init(&s->wake);
        int error = pthread_create(&s->thread, NULL, lt_batcher_thread, s);
        if (error != 0) {
            pthread_cond_destroy(&s->wake);
            return lt_fail(err, LEAT_IO, "cannot start a batcher's thread: %s", strerror(error));
        }
        b->n_threads++;
    }
    return LEAT_OK;
}

/* The lock is held for some 0.2 us at a time by threads on all cores: whoever finds it taken polls
 * for about as long before it sleeps, where that can be had. */
#ifdef __GLIBC__
static void init_lock(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ADAPTIVE_NP);
    pthread_mutex_init(lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
}
#else
static void init_lock(pthread_mutex_t *lock)
{
    pthread_mutex_init(lock, NULL);
}
#endif

leat_status leat_batcher_create(leat_model *model, const leat_batcher_desc *desc,
                                leat_batcher **out_batcher, leat_error *err)
{
    static const leat_batcher_desc defaults = {.struct_size = sizeof(defaults)};
    leat_batcher *b = NULL;
    if (out_batcher != NULL) {
        *out_batcher = NULL;
    }
    if (model == NULL || out_batcher == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_batcher_create: an argument is NULL");
    }
    desc = desc ? desc : &defaults;
    leat_status status = check_desc(desc, err);
    if (status != LEAT_OK) {
        return status;
    }
    lt_memory *memory = &model->context->memory;
    b = lt_alloc_zeroed(memory, sizeof(*b), LT_ALIGNMENT);
    if (b == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for a batcher");
    }
    b->memory = memory;
    b->trace = &model->context->trace;
    b->io = leat_model_io(model);
    b->desc = *desc;
    b->margin = 1;
    b->pool = desc->run == NULL && lt_on_cpu(desc->session) ? model->context->pool : NULL;
    fill_defaults(b);
    b->desc.session = NULL;
    b->desc.pad_dimension = NULL;
    b->desc.pad_lengths = NULL;
    b->desc.batch_sizes = NULL;
    lt_arena_init(&b->arena, memory, 0);
    init_lock(&b->lock);
    lt_clock_cond_init(&b->ended);
    status = make_sizes(b, desc, err);
    status = status ? status : find_rules(b, desc, err);
    if (status == LEAT_OK && !(make_requests(b) && lt_keys_make(b) && make_instances(b))) {
        status = lt_fail(err, LEAT_NO_MEMORY, "no memory for a batcher of %u requests",
                         b->desc.queue_limit);
    }
    if (status == LEAT_OK && b->desc.run == NULL) {
        status = lt_batcher_open(b, model, desc->session, err);
    }
    if (status == LEAT_OK && !lt_slots_make(b)) {
        status = lt_fail(err, LEAT_NO_MEMORY, "no memory for a batcher");
    }
    status = status ? status : keep_answers(b, err);
    status = status ? status : start_threads(b, err);
    if (status == LEAT_OK) {
        *out_batcher = b;
        b = NULL;
    }
    leat_batcher_destroy(b);
    return status;
}

leat_status leat_batcher_poll(leat_batcher *b, uint64_t *out_wait_ns, leat_error *err)
{
    if (b == NULL || !b->desc.no_threads) {
        return lt_fail(err, LEAT_INVALID, "leat_batcher_poll: a batcher with no_threads is needed");
    }
    uint64_t next;
    pthread_mutex_lock(&b->lock);
    const uint64_t now = lt_batcher_now(b);
    const bool ran = lt_batcher_step(b, &next);
    pthread_mutex_unlock(&b->lock);
    if (out_wait_ns != NULL) {
        *out_wait_ns = ran ? 0 : next == LT_NEVER ? LT_NEVER : next - now;
    }
    return LEAT_OK;
}

void leat_batcher_read_stats(leat_batcher *b, leat_batcher_stats *out_stats)
{
    if (b == NULL || out_stats == NULL) {
        return;
    }
    const size_t size = out_stats->struct_size;
    pthread_mutex_lock(&b->lock);
    leat_batcher_stats stats = b->stats;
    if (b->answers != NULL) {
        stats.answers = b->answers->n_listed;
        stats.answer_bytes = b->answers->listed_bytes;
        stats.answer_evictions = b->answers->n_evicted;
    }
    pthread_mutex_unlock(&b->lock);
    stats.struct_size = size;
    stats.n_instances = (uint64_t)b->desc.n_instances;
    memcpy(out_stats, &stats, size < sizeof(stats) ? size : sizeof(stats));
}

static void free_instances(leat_batcher *b)
{
    for (int32_t i = 0; b->instances != NULL && i < b->desc.n_instances; i++) {
        lt_instance *at = &b->instances[i];
        leat_session_destroy(at->session);
        for (size_t k = 0; at->blocks != NULL && k < b->io->n_inputs; k++) {
            lt_block_free(b, &at->blocks[k]);
        }
    }
}

/* Runs all that waits, on this thread. */
static void run_out(leat_batcher *b)
{
    uint64_t wait_ns = 0;
    while (wait_ns != LT_NEVER && leat_batcher_poll(b, &wait_ns, NULL) == LEAT_OK) {
    }
}

void leat_batcher_destroy(leat_batcher *b)
{
    if (b == NULL) {
        return;
    }
    pthread_mutex_lock(&b->lock);
    b->closing = true; /* threads end when nothing waits; nothing is held back now */
    lt_batcher_wake_all(b);
    pthread_mutex_unlock(&b->lock);
    if (b->desc.no_threads && b->instances != NULL) {
        run_out(b);
    }
    for (int32_t i = 0; i < b->n_threads; i++) {
        pthread_join(b->threads[i].thread, NULL);
    }
    for (int32_t i = 0; i < b->n_threads; i++) {
        pthread_cond_destroy(&b->threads[i].wake);
    }
    if (b->answers != NULL) {
        lt_answers_free(b->answers);
    }
    lt_slots_free(b);
    free_instances(b);
    for (uint32_t i = 0; b->requests != NULL && i < b->desc.queue_limit; i++) {
        pthread_cond_destroy(&b->requests[i].completed);
    }
    pthread_cond_destroy(&b->ended);
    pthread_mutex_destroy(&b->lock);
    lt_arena_destroy(&b->arena);
    lt_free(b->memory, b, sizeof(*b));
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/weights.h"

#include "base/error.h"
#include "base/placement.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

typedef struct packed packed;
struct packed {
    packed *next; /* in its bucket */
    const void *data;
    uint64_t key;
    leat_dtype dtype;
    int32_t rank;
    int64_t shape[LEAT_MAX_RANK];
    void *block;
    size_t bytes;
};

#define N_BUCKETS 256u

/* Host memory for packed weights comes in regions that grow up to this size: large enough for the
 * system to give large pages. Weights are read once a run from end to end, and with small pages
 * every 4 KiB costs a walk through the page table. */
#define MAX_REGION_BYTES ((size_t)32 << 20)
#define MIN_REGION_BYTES ((size_t)64 << 10)
/* A region of several large pages begins at one. */
#define LARGE_PAGE ((size_t)2 << 20)

typedef struct region region;
struct region {
    region *next;
    char *base;
    size_t bytes;
    size_t used;
};

struct lt_weights {
    lt_device *device;
    const void *const *constants;
    size_t n_constants;
    pthread_mutex_t lock; /* guards the rest */
    packed *buckets[N_BUCKETS];
    region *regions; /* host devices only */
    uint64_t total_bytes;
    uint64_t expected_bytes; /* of all; 0: not known */
    uint64_t growth_step;    /* 0: nobody is told */
    uint64_t growth_next;
    void (*growth_fn)(void *user);
    void *growth_user;
};

leat_status lt_weights_create(lt_device *device, const void *const *constants, size_t n_constants,
                              lt_weights **out_weights, leat_error *err)
{
    lt_weights *weights = lt_alloc_zeroed(&device->context->memory, sizeof(*weights), 64);
    *out_weights = weights;
    if (weights == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for the list of weights");
    }
    weights->device = device;
    weights->constants = constants;
    weights->n_constants = n_constants;
    pthread_mutex_init(&weights->lock, NULL);
    return LEAT_OK;
}

void lt_weights_destroy(lt_weights *weights)
{
    if (weights == NULL) {
        return;
    }
    lt_memory *memory = &weights->device->context->memory;
    bool own_blocks = !lt_device_is_host(weights->device);
    atomic_fetch_sub(&weights->device->context->weight_bytes, weights->total_bytes);
    for (size_t i = 0; i < N_BUCKETS; i++) {
        while (weights->buckets[i] != NULL) {
            packed *entry = weights->buckets[i];
            weights->buckets[i] = entry->next;
            if (own_blocks) {
                lt_device_free(weights->device, entry->block, entry->bytes);
            }
            lt_free(memory, entry, sizeof(*entry));
        }
    }
    while (weights->regions != NULL) {
        region *first = weights->regions;
        weights->regions = first->next;
        lt_free(memory, first->base, first->bytes);
        lt_free(memory, first, sizeof(*first));
    }
    pthread_mutex_destroy(&weights->lock);
    lt_free(memory, weights, sizeof(*weights));
}

bool lt_weights_covers(const lt_weights *weights, const void *data)
{
    size_t low = 0, high = weights->n_constants;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((uintptr_t)weights->constants[middle] < (uintptr_t)data) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < weights->n_constants && weights->constants[low] == data;
}

static packed **bucket_of(lt_weights *weights, const void *data, uint64_t key)
{
    uint64_t hash = ((uint64_t)(uintptr_t)data ^ key * 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu;
    return &weights->buckets[hash >> 56];
}

static bool same(const packed *entry, const leat_value *constant, uint64_t key)
{
    return entry->data == constant->data && entry->key == key && entry->dtype == constant->dtype &&
           entry->rank == constant->rank &&
           memcmp(entry->shape, constant->shape, (size_t)entry->rank * sizeof(int64_t)) == 0;
}

leat_status lt_weights_make(lt_device *device, const leat_value *constant, size_t bytes,
                            leat_pack_fn fill, const void *argument, void **out_block,
                            leat_error *err)
{
    void *block = NULL;
    leat_status status = lt_device_alloc(device, bytes, &block, err);
    *out_block = NULL;
    if (status != LEAT_OK) {
        return status;
    }
    void *target = block;
    if (!lt_device_is_host(device)) {
        target = lt_alloc(&device->context->memory, bytes, LT_ALIGNMENT);
    }
    status = target
                 ? fill(target, bytes, constant, argument, err)
                 : lt_fail(err, LEAT_NO_MEMORY, "no memory to pack a constant of %zu bytes", bytes);
    if (target != block && target != NULL) {
        if (status == LEAT_OK) {
            status = lt_device_copy(device, LEAT_COPY_HOST_TO_DEVICE, block, target, bytes, err);
        }
        lt_free(&device->context->memory, target, bytes);
    }
    if (status != LEAT_OK) {
        lt_device_free(device, block, bytes);
        return status;
    }
    *out_block = block;
    return LEAT_OK;
}

/* Distance of the windows that are tried. */
#define WINDOW_STEP ((size_t)128 << 10)

/* Bytes of a window for all weights that are to come, where they fit into the second-level cache
 * but not with ease; else 0. */
static size_t window_bytes(const lt_weights *weights)
{
    const long cache = sysconf(_SC_LEVEL2_CACHE_SIZE);
    const uint64_t wanted = weights->expected_bytes;
    if (weights->device->context->memory.budget != 0) { /* others need it more */
        return 0;
    }
    const bool fits =
        cache > 0 && wanted >= (uint64_t)cache / 4 && wanted <= (uint64_t)cache / 8 * 7;
    return fits && wanted + WINDOW_STEP <= LARGE_PAGE ? (size_t)wanted : 0;
}

/* Opens a region at the window of a large page that is read the fastest (placement.h). False: there
 * is no memory for it. */
static bool add_window(lt_weights *weights, region *added, size_t window)
{
    const size_t bytes = 2 * LARGE_PAGE; /* there is a boundary in it; the rest is never touched */
    void *base = NULL;
    if (lt_device_alloc(weights->device, bytes, &base, NULL) != LEAT_OK) {
        return false;
    }
    const size_t skip = (LARGE_PAGE - (uintptr_t)base % LARGE_PAGE) % LARGE_PAGE;
    char *page = (char *)base + skip;
    lt_memory_advise_large(base, bytes);
    memset(page, 0, LARGE_PAGE);
    const size_t at =
        lt_placement_best(page, LARGE_PAGE, window, WINDOW_STEP, lt_placement_time, NULL);
    *added = (region){weights->regions, base, bytes, skip + at};
    weights->regions = added;
    return true;
}

/* Twice what there is, within the bounds, and at least `bytes`. */
static leat_status add_region(lt_weights *weights, size_t bytes, leat_error *err)
{
    lt_memory *memory = &weights->device->context->memory;
    size_t wanted = MIN_REGION_BYTES;
    while (wanted < MAX_REGION_BYTES && wanted < weights->total_bytes) {
        wanted *= 2;
    }
    wanted = wanted < bytes ? bytes : wanted;
    region *added = lt_alloc_zeroed(memory, sizeof(*added), 16);
    if (added == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory to pack a constant");
    }
    const size_t window = weights->total_bytes == 0 ? window_bytes(weights) : 0;
    if (window >= bytes && window != 0 && add_window(weights, added, window)) {
        return LEAT_OK;
    }
    void *base = NULL;
    leat_status status = LEAT_NO_MEMORY;
    if (wanted > bytes) {
        status = lt_device_alloc(weights->device, wanted, &base, NULL);
    }
    if (status != LEAT_OK) { /* or near the budget: no more than needed */
        wanted = bytes;
        status = lt_device_alloc(weights->device, wanted, &base, err);
    }
    if (status != LEAT_OK) {
        lt_free(memory, added, sizeof(*added));
        return status;
    }
    lt_memory_advise_large(base, wanted);
    *added = (region){weights->regions, base, wanted, 0};
    size_t skip = (LARGE_PAGE - (uintptr_t)base % LARGE_PAGE) % LARGE_PAGE;
    if (wanted >= 2 * LARGE_PAGE && wanted - bytes >= skip) {
        added->used = skip;
    }
    weights->regions = added;
    return LEAT_OK;
}

/* The system clears fresh memory where it is first touched, which takes longer than to pack weights
 * into it. Large blocks are therefore touched by all threads before they are filled. */
#define TOUCH_BYTES ((size_t)2 << 20) /* of a task: a large page */

typedef struct touch_job {
    char *block;
    size_t bytes;
} touch_job;

/* Task 0 has what lies before the first boundary of a large page. */
static void touch_piece(void *argument, uint32_t task, uint32_t thread)
{
    const touch_job *job = argument;
    const size_t first = TOUCH_BYTES - (uintptr_t)job->block % TOUCH_BYTES;
    size_t begin = task == 0 ? 0 : first + (task - 1) * TOUCH_BYTES;
    size_t end = first + task * TOUCH_BYTES;
    end = end < job->bytes ? end : job->bytes;
    (void)thread;
    for (; begin < end; begin += 4096) {
        *(volatile char *)(job->block + begin) = 0;
    }
}

static void touch(leat_pool *pool, char *block, size_t bytes)
{
    touch_job job = {block, bytes};
    size_t pieces = bytes / TOUCH_BYTES + 2; /* parts of two large pages at the ends */
    if (bytes >= 2 * TOUCH_BYTES && pieces <= UINT32_MAX && lt_pool_threads(pool) > 1) {
        lt_pool_parallel(pool, (uint32_t)pieces, touch_piece, &job);
    }
}

/* Allocates and fills on a host device: like lt_weights_make, but from the regions. */
static leat_status make_in_region(lt_weights *weights, const leat_value *constant, size_t bytes,
                                  leat_pack_fn fill, const void *argument, void **out_block,
                                  leat_error *err)
{
    size_t needed;
    if (!lt_align_up(bytes ? bytes : 1, LT_ALIGNMENT, &needed)) {
        return lt_fail(err, LEAT_LIMIT, "a packed constant of %zu bytes", bytes);
    }
    region *place = weights->regions;
    while (place != NULL && place->bytes - place->used < needed) {
        place = place->next;
    }
    if (place == NULL) {
        leat_status status = add_region(weights, needed, err);
        if (status != LEAT_OK) {
            return status;
        }
        place = weights->regions;
    }
    void *block = place->base + place->used;
    touch(weights->device->context->pool, block, bytes);
    leat_status status = fill(block, bytes, constant, argument, err);
    if (status == LEAT_OK) {
        place->used += needed;
        *out_block = block;
    }
    return status;
}

static leat_status get_locked(lt_weights *weights, const leat_value *constant, uint64_t key,
                              size_t bytes, leat_pack_fn fill, const void *argument,
                              const void **out_block, leat_error *err)
{
    packed **bucket = bucket_of(weights, constant->data, key);
    for (packed *entry = *bucket; entry != NULL; entry = entry->next) {
        if (same(entry, constant, key)) {
            if (entry->bytes != bytes) {
                return lt_fail(err, LEAT_INTERNAL,
                               "constant '%s' was packed to %zu bytes and now to %zu under one key",
                               constant->name ? constant->name : "", entry->bytes, bytes);
            }
            *out_block = entry->block;
            atomic_fetch_add(&weights->device->context->weight_hits, 1);
            return LEAT_OK;
        }
    }
    lt_memory *memory = &weights->device->context->memory;
    packed *entry = lt_alloc_zeroed(memory, sizeof(*entry), 16);
    if (entry == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory to pack a constant");
    }
    leat_status status =
        lt_device_is_host(weights->device)
            ? make_in_region(weights, constant, bytes, fill, argument, &entry->block, err)
            : lt_weights_make(weights->device, constant, bytes, fill, argument, &entry->block, err);
    if (status != LEAT_OK) {
        lt_free(memory, entry, sizeof(*entry));
        return status;
    }
    entry->data = constant->data;
    entry->key = key;
    entry->dtype = constant->dtype;
    entry->rank = constant->rank;
    memcpy(entry->shape, constant->shape, sizeof(entry->shape));
    entry->bytes = bytes;
    entry->next = *bucket;
    *bucket = entry;
    weights->total_bytes += bytes;
    atomic_fetch_add(&weights->device->context->weight_misses, 1);
    atomic_fetch_add(&weights->device->context->weight_bytes, bytes);
    if (weights->growth_step != 0 && weights->total_bytes >= weights->growth_next) {
        weights->growth_next = weights->total_bytes + weights->growth_step;
        weights->growth_fn(weights->growth_user);
    }
    *out_block = entry->block;
    return LEAT_OK;
}

void lt_weights_on_growth(lt_weights *weights, uint64_t step_bytes, void (*fn)(void *user),
                          void *user)
{
    weights->growth_step = step_bytes;
    weights->growth_next = step_bytes;
    weights->growth_fn = fn;
    weights->growth_user = user;
}

void lt_weights_expect(lt_weights *weights, uint64_t bytes)
{
    weights->expected_bytes = bytes;
}

leat_status lt_weights_get(lt_weights *weights, const leat_value *constant, uint64_t key,
                           size_t bytes, leat_pack_fn fill, const void *argument,
                           const void **out_block, leat_error *err)
{
    *out_block = NULL;
    /* Packing goes under the lock: a second session that wants the same form waits for it. */
    pthread_mutex_lock(&weights->lock);
    leat_status status = get_locked(weights, constant, key, bytes, fill, argument, out_block, err);
    pthread_mutex_unlock(&weights->lock);
    return status;
}

uint64_t lt_weights_bytes(lt_weights *weights)
{
    pthread_mutex_lock(&weights->lock);
    uint64_t bytes = weights->total_bytes;
    pthread_mutex_unlock(&weights->lock);
    return bytes;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Which device an instance runs on. With spread_devices instances take turns ("places"), and those
 * of a device that is lost go on where others run. */
#include "base/error.h"
#include "batcher/batcher.h"
#include "batcher/sizes.h"

#include <string.h>

int32_t lt_batcher_count_places(const leat_batcher_desc *d)
{
    int32_t n = 0;
    for (size_t i = 0; d->spread_devices && d->session != NULL && i < d->session->n_devices; i++) {
        n += !lt_is_cpu(d->session->devices[i]);
    }
    return n > 1 ? n : 1;
}

/* The device of a place, and the CPU behind it where it is wanted. Returns how many. */
static size_t devices_of(const leat_session_desc *wanted, int32_t place, const char *out[2])
{
    size_t n = 1;
    for (size_t i = 0; i < wanted->n_devices; i++) {
        const char *device = wanted->devices[i];
        if (lt_is_cpu(device)) {
            out[1] = device;
            n = 2;
        } else if (place-- == 0) {
            out[0] = device;
        }
    }
    return n;
}

static leat_status open_one(leat_batcher *b, lt_instance *at, leat_error *err)
{
    const char *devices[2];
    leat_session_desc desc = b->session;
    if (b->n_places > 1) {
        desc.n_devices = devices_of(&b->session, at->place, devices);
        desc.devices = devices;
    }
    desc.urgent = at->urgent || desc.urgent != 0;
    return leat_session_create(b->model, &desc, &at->session, err);
}

static const char *copy_string(leat_batcher *b, const char *string)
{
    return lt_arena_copy(&b->arena, string, strlen(string) + 1);
}

/* The caller's strings are copied: what is lost is opened elsewhere, later. */
static leat_status copy_strings(leat_batcher *b, leat_error *err)
{
    leat_session_desc *d = &b->session;
    const char **names = lt_arena_array(&b->arena, d->n_devices, sizeof(*names));
    bool ok = names != NULL;
    for (size_t i = 0; ok && i < d->n_devices; i++) {
        names[i] = copy_string(b, d->devices[i]);
        ok = names[i] != NULL;
    }
    d->devices = names;
    if (d->cache_directory != NULL) {
        d->cache_directory = copy_string(b, d->cache_directory);
        ok = ok && d->cache_directory != NULL;
    }
    return ok ? LEAT_OK : lt_fail(err, LEAT_NO_MEMORY, "no memory for a batcher");
}

leat_status lt_batcher_open(leat_batcher *b, leat_model *model, const leat_session_desc *wanted,
                            leat_error *err)
{
    b->model = model;
    b->session = (leat_session_desc){.struct_size = sizeof(b->session)};
    if (wanted != NULL) {
        if (wanted->struct_size != sizeof(*wanted)) {
            return lt_fail(err, LEAT_INVALID, "leat_session_desc.struct_size is %zu",
                           wanted->struct_size);
        }
        b->session = *wanted;
    }
    if (b->session.max_plans == 0) {
        b->session.max_plans = 2 * (uint32_t)b->desc.max_batch_size + 16;
    }
    leat_status status = b->n_places > 1 ? copy_strings(b, err) : LEAT_OK;
    for (int32_t i = 0; i < b->desc.n_instances && status == LEAT_OK; i++) {
        status = open_one(b, &b->instances[i], err);
    }
    return status;
}

/* Notes that the instance's device is lost, and counts the instance where the fewest run. False
 * when no device is left. */
static bool change_place(lt_instance *at)
{
    leat_batcher *b = at->batcher;
    int32_t best = -1;
    pthread_mutex_lock(&b->lock);
    b->lost[at->place] = true;
    for (int32_t i = 0; i < b->n_places; i++) {
        if (!b->lost[i] && (best < 0 || b->busy[i] < b->busy[best])) {
            best = i;
        }
    }
    if (best >= 0) {
        (void)lt_batcher_share(b, at->place);
        at->share = lt_batcher_share(b, best);
        b->busy[at->place]--;
        b->busy[best]++;
        at->place = best;
        b->stats.moved++;
    }
    pthread_mutex_unlock(&b->lock);
    return best >= 0;
}

bool lt_batcher_move(lt_instance *at)
{
    leat_error err = {0};
    if (at->session == NULL || !change_place(at)) {
        return false;
    }
    leat_session_destroy(at->session);
    at->session = NULL;
    while (open_one(at->batcher, at, &err) != LEAT_OK) {
        if (err.status != LEAT_DEVICE_LOST || !change_place(at)) {
            return false; /* its batches fail from now on, but are answered */
        }
    }
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics/names.h"

#include "base/error.h"

#include <assert.h>
#include <string.h>

/* What leat_metrics_batcher, _scheduler and _sequences each are. */
typedef struct named {
    const char *name;
    const void *thing;
} named;
static_assert(sizeof(named) == sizeof(leat_metrics_batcher) &&
                  sizeof(named) == sizeof(leat_metrics_scheduler) &&
                  sizeof(named) == sizeof(leat_metrics_sequences),
              "they have one form");

static named named_at(const void *things, size_t i)
{
    named it;
    memcpy(&it, (const char *)things + i * sizeof(it), sizeof(it));
    return it;
}

static leat_status check_kind(const char *kind, const void *things, size_t n, leat_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const named it = named_at(things, i);
        if (it.name == NULL || it.thing == NULL) {
            return lt_fail(err, LEAT_INVALID, "%s %zu: its name is NULL, or what it names", kind,
                           i);
        }
        for (size_t j = 0; j < i; j++) {
            if (strcmp(it.name, named_at(things, j).name) == 0) {
                return lt_fail(err, LEAT_INVALID, "%s %zu: '%s' is another's name, too", kind, i,
                               it.name);
            }
        }
    }
    return LEAT_OK;
}

leat_status lt_check_names(const leat_metrics_desc *d, leat_error *err)
{
    leat_status status = check_kind("batcher", d->batchers, d->n_batchers, err);
    status = status ? status : check_kind("scheduler", d->schedulers, d->n_schedulers, err);
    return status ? status : check_kind("sequences", d->sequences, d->n_sequences, err);
}

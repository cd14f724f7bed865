/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/load.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

typedef struct null_device {
    pthread_mutex_t lock;
    uint64_t free_at; /* when what was asked of it so far is done, in the order it was asked */
    double fixed_us, row_us;
    const leat_model_signature *io;
    void *zeros;
} null_device;

leat_status null_run(void *opaque, int32_t instance, const leat_array *inputs, size_t n_inputs,
                     leat_array *outputs, size_t n_outputs, leat_error *err)
{
    null_device *d = opaque;
    const int64_t rows = inputs[0].shape[0];
    const uint64_t ns = (uint64_t)((d->fixed_us + d->row_us * (double)rows) * 1e3);
    (void)instance;
    (void)n_inputs;
    (void)err;
    pthread_mutex_lock(&d->lock);
    const uint64_t begin = now_ns();
    d->free_at = (d->free_at > begin ? d->free_at : begin) + ns;
    const uint64_t end = d->free_at;
    pthread_mutex_unlock(&d->lock);
    nanosleep(&(struct timespec){(time_t)((end - begin) / 1000000000u),
                                 (long)((end - begin) % 1000000000u)},
              NULL);
    for (size_t o = 0; o < n_outputs; o++) {
        const leat_io *io = &d->io->outputs[o];
        outputs[o] = (leat_array){.dtype = io->dtype,
                                  .rank = 1,
                                  .shape = {rows},
                                  .data = d->zeros,
                                  .bytes = leat_dtype_bytes(io->dtype, (size_t)rows)};
    }
    return LEAT_OK;
}

void *null_create(const leat_model_signature *io, double fixed_us, double row_us)
{
    null_device *d = calloc(1, sizeof(*d));
    *d =
        (null_device){.fixed_us = fixed_us, .row_us = row_us, .io = io, .zeros = calloc(65536, 16)};
    pthread_mutex_init(&d->lock, NULL);
    return d;
}

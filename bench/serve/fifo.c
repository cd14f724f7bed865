/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/load.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct worker {
    fifo *f;
    pthread_t thread;
    leat_session *session;
    void *blocks[MOST_INPUTS];
    size_t block_bytes[MOST_INPUTS];
} worker;

struct fifo {
    load *l;
    pthread_mutex_t lock;
    pthread_cond_t work, ended;
    ticket *first, **end;
    int n_workers, max_batch, running;
    bool closing;
    uint64_t batches, rows;
    worker *workers;
};

/* Takes the head and what follows it as far as it fits. The caller holds the lock. */
static int take(fifo *f, ticket **batch)
{
    int n = 0;
    while (f->first != NULL && n < f->max_batch &&
           (n == 0 || (f->first->kind == batch[0]->kind && f->first->group == batch[0]->group))) {
        batch[n++] = f->first;
        f->first = f->first->next;
    }
    if (f->first == NULL) {
        f->end = &f->first;
    }
    return n;
}

static leat_status run(worker *w, uint32_t kind, int n)
{
    const load *l = w->f->l;
    leat_array inputs[MOST_INPUTS], outputs[MOST_OUTPUTS];
    memset(outputs, 0, sizeof(outputs));
    for (size_t i = 0; i < l->n_inputs; i++) {
        const leat_array *one = &l->inputs[kind][i];
        inputs[i] = *one;
        if (n == 1) {
            continue;
        }
        const size_t bytes = one->bytes * (size_t)n;
        if (w->block_bytes[i] < bytes) {
            free(w->blocks[i]);
            w->blocks[i] = malloc(bytes);
            w->block_bytes[i] = bytes;
        }
        for (int k = 0; k < n; k++) {
            memcpy((char *)w->blocks[i] + (size_t)k * one->bytes, one->data, one->bytes);
        }
        inputs[i].data = w->blocks[i];
        inputs[i].bytes = bytes;
        inputs[i].shape[0] *= n;
    }
    return leat_session_run(w->session, inputs, l->n_inputs, outputs,
                            leat_model_io(l->model)->n_outputs, NULL);
}

static void *work(void *argument)
{
    worker *w = argument;
    fifo *f = w->f;
    ticket **batch = calloc((size_t)f->max_batch, sizeof(ticket *));
    pthread_mutex_lock(&f->lock);
    while (!f->closing) {
        const int n = take(f, batch);
        if (n == 0) {
            pthread_cond_wait(&f->work, &f->lock);
            continue;
        }
        f->running++;
        f->batches++;
        f->rows += (uint64_t)n;
        pthread_mutex_unlock(&f->lock);
        const leat_status status = run(w, batch[0]->kind, n);
        for (int i = 0; i < n; i++) {
            ticket_done(batch[i], status);
        }
        pthread_mutex_lock(&f->lock);
        f->running--;
        pthread_cond_broadcast(&f->ended);
    }
    pthread_mutex_unlock(&f->lock);
    free(batch);
    return NULL;
}

fifo *fifo_create(load *l, const leat_session_desc *session, int workers, int max_batch)
{
    fifo *f = calloc(1, sizeof(*f));
    leat_error err;
    f->l = l;
    f->end = &f->first;
    f->n_workers = workers;
    f->max_batch = max_batch;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->work, NULL);
    pthread_cond_init(&f->ended, NULL);
    f->workers = calloc((size_t)workers, sizeof(*f->workers));
    for (int i = 0; i < workers; i++) {
        worker *w = &f->workers[i];
        w->f = f;
        if (leat_session_create(l->model, session, &w->session, &err) != LEAT_OK ||
            pthread_create(&w->thread, NULL, work, w) != 0) {
            fail("fifo", &err);
        }
    }
    return f;
}

bool fifo_submit(fifo *f, ticket *t)
{
    pthread_mutex_lock(&f->lock);
    t->next = NULL;
    *f->end = t;
    f->end = &t->next;
    pthread_cond_signal(&f->work);
    pthread_mutex_unlock(&f->lock);
    return true;
}

void fifo_drain(fifo *f)
{
    pthread_mutex_lock(&f->lock);
    while (f->first != NULL || f->running > 0) {
        pthread_cond_wait(&f->ended, &f->lock);
    }
    pthread_mutex_unlock(&f->lock);
}

void fifo_counts(fifo *f, uint64_t *batches, uint64_t *rows)
{
    pthread_mutex_lock(&f->lock);
    *batches = f->batches;
    *rows = f->rows;
    pthread_mutex_unlock(&f->lock);
}

void fifo_warm(fifo *f, size_t kind)
{
    for (int i = 0; i < f->n_workers; i++) {
        for (int n = 1; n <= f->max_batch; n++) {
            for (int k = 0; k < 3; k++) {
                if (run(&f->workers[i], (uint32_t)kind, n) != LEAT_OK) {
                    fail("warming up", NULL);
                }
            }
        }
    }
}

void fifo_destroy(fifo *f)
{
    pthread_mutex_lock(&f->lock);
    f->closing = true;
    pthread_cond_broadcast(&f->work);
    pthread_mutex_unlock(&f->lock);
    for (int i = 0; i < f->n_workers; i++) {
        pthread_join(f->workers[i].thread, NULL);
        leat_session_destroy(f->workers[i].session);
        for (int k = 0; k < MOST_INPUTS; k++) {
            free(f->workers[i].blocks[k]);
        }
    }
    pthread_cond_destroy(&f->ended);
    pthread_cond_destroy(&f->work);
    pthread_mutex_destroy(&f->lock);
    free(f->workers);
    free(f);
}

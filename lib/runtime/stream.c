/* SPDX-License-Identifier: Apache-2.0 */
/* Streams: a queue of submitted runs and the thread that carries them out.
 *
 * A run that waits is one block: the job, its copy of the input arrays behind it. The thread takes
 * jobs in order; it sleeps while there is none. */
#include "base/clock.h"
#include "base/error.h"
#include "runtime/session.h"

#include <errno.h>
#include <string.h>

typedef struct job job;
struct job {
    job *next;
    leat_stream *stream;
    leat_session *session;
    leat_array *inputs;
    size_t n_inputs;
    leat_array *outputs;
    size_t n_outputs;
    leat_done_fn done;
    void *done_user;
    size_t bytes; /* of this block */
};

struct leat_stream {
    leat_context *context;
    lt_device *device;
    void *queue; /* the backend's handle of the caller's own; NULL: none */
    pthread_t thread;
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t work;  /* a job has come, or the stream ends */
    pthread_cond_t idle;  /* a job has ended */
    job *first, *last;
    uint64_t submitted;
    uint64_t ended;
    bool closing;
};

static void carry_out(job *j)
{
    leat_error err = {0};
    const leat_stream *stream = j->stream;
    leat_status status =
        stream->queue == NULL
            ? leat_session_run(j->session, j->inputs, j->n_inputs, j->outputs, j->n_outputs, &err)
            : lt_session_run_joined(j->session, stream->device, stream->queue, j->inputs,
                                    j->n_inputs, j->outputs, j->n_outputs, &err);
    if (j->done != NULL) {
        j->done(j->done_user, status, status == LEAT_OK ? NULL : &err);
    }
}

static void *serve(void *argument)
{
    leat_stream *stream = argument;
    pthread_mutex_lock(&stream->lock);
    for (;;) {
        while (stream->first == NULL && !stream->closing) {
            pthread_cond_wait(&stream->work, &stream->lock);
        }
        job *j = stream->first;
        if (j == NULL) {
            break;
        }
        stream->first = j->next;
        if (stream->first == NULL) {
            stream->last = NULL;
        }
        pthread_mutex_unlock(&stream->lock);
        carry_out(j);
        lt_free(&stream->context->memory, j, j->bytes);
        pthread_mutex_lock(&stream->lock);
        stream->ended++;
        pthread_cond_broadcast(&stream->idle);
    }
    pthread_mutex_unlock(&stream->lock);
    return NULL;
}

static void drop_queue(const lt_device *device, void *queue)
{
    if (queue != NULL) {
        device->backend->stream_destroy(device->handle, queue);
    }
}

/* What is left when the thread has ended, or never began. */
static void drop(leat_stream *stream)
{
    drop_queue(stream->device, stream->queue);
    pthread_cond_destroy(&stream->idle);
    pthread_cond_destroy(&stream->work);
    pthread_mutex_destroy(&stream->lock);
    lt_free(&stream->context->memory, stream, sizeof(*stream));
}

/* A stream on an open device. Owns `queue`, also on failure. */
static leat_status create(leat_context *context, lt_device *device, void *queue,
                          leat_stream **out_stream, leat_error *err)
{
    leat_stream *stream = lt_alloc_zeroed(&context->memory, sizeof(*stream), LT_ALIGNMENT);
    if (stream == NULL) {
        drop_queue(device, queue);
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for a stream");
    }
    stream->context = context;
    stream->device = device;
    stream->queue = queue;
    pthread_mutex_init(&stream->lock, NULL);
    pthread_cond_init(&stream->work, NULL);
    lt_clock_cond_init(&stream->idle);
    int error = pthread_create(&stream->thread, NULL, serve, stream);
    if (error != 0) {
        drop(stream);
        return lt_fail(err, LEAT_IO, "cannot start the stream's thread: %s", strerror(error));
    }
    *out_stream = stream;
    return LEAT_OK;
}

leat_status leat_stream_create(leat_context *context, const char *device, leat_stream **out_stream,
                               leat_error *err)
{
    if (out_stream != NULL) {
        *out_stream = NULL;
    }
    if (context == NULL || device == NULL || out_stream == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_stream_create: an argument is NULL");
    }
    lt_device *opened;
    leat_status status = lt_device_get(context, device, &opened, err);
    return status ? status : create(context, opened, NULL, out_stream, err);
}

leat_status leat_stream_wrap(leat_context *context, const char *device, void *native,
                             leat_stream **out_stream, leat_error *err)
{
    if (out_stream != NULL) {
        *out_stream = NULL;
    }
    if (context == NULL || device == NULL || out_stream == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_stream_wrap: an argument is NULL");
    }
    lt_device *opened;
    void *queue = NULL;
    leat_status status = lt_device_get(context, device, &opened, err);
    if (status == LEAT_OK && !LT_BACKEND_HAS(opened->backend, stream_wrap)) {
        status = lt_fail(err, LEAT_UNSUPPORTED, "'%s' has no native queues that leat can join",
                         opened->info.name);
    }
    status = status ? status : opened->backend->stream_wrap(opened->handle, native, &queue, err);
    return status ? status : create(context, opened, queue, out_stream, err);
}

/* Pending jobs are counted by number, so that jobs submitted while waiting do not prolong it. */
static leat_status wait_until(leat_stream *stream, uint64_t number, const struct timespec *limit,
                              leat_error *err)
{
    while (stream->ended < number) {
        int error = limit ? pthread_cond_timedwait(&stream->idle, &stream->lock, limit)
                          : pthread_cond_wait(&stream->idle, &stream->lock);
        if (error == ETIMEDOUT && stream->ended < number) {
            return lt_fail(err, LEAT_TIMEOUT, "%llu runs are still to end",
                           (unsigned long long)(number - stream->ended));
        }
    }
    return LEAT_OK;
}

leat_status leat_stream_wait(leat_stream *stream, uint64_t timeout_ns, leat_error *err)
{
    if (stream == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_stream_wait: the stream is NULL");
    }
    if (pthread_equal(pthread_self(), stream->thread)) {
        return lt_fail(err, LEAT_INVALID, "a done callback cannot wait for its own stream");
    }
    const struct timespec limit = lt_clock_limit(timeout_ns);
    pthread_mutex_lock(&stream->lock);
    leat_status status = wait_until(stream, stream->submitted, timeout_ns ? &limit : NULL, err);
    pthread_mutex_unlock(&stream->lock);
    return status;
}

void leat_stream_destroy(leat_stream *stream)
{
    if (stream == NULL) {
        return;
    }
    pthread_mutex_lock(&stream->lock);
    stream->closing = true;
    pthread_cond_signal(&stream->work);
    pthread_mutex_unlock(&stream->lock);
    pthread_join(stream->thread, NULL); /* ends when the queue is empty */
    drop(stream);
}

leat_status leat_session_submit(leat_session *session, leat_stream *stream,
                                const leat_array *inputs, size_t n_inputs, leat_array *outputs,
                                size_t n_outputs, leat_done_fn done, void *done_user,
                                leat_error *err)
{
    if (session == NULL || stream == NULL || (inputs == NULL && n_inputs != 0) ||
        (outputs == NULL && n_outputs != 0)) {
        return lt_fail(err, LEAT_INVALID, "leat_session_submit: an argument is NULL");
    }
    if (session->context != stream->context) {
        return lt_fail(err, LEAT_INVALID, "the session and the stream are of different contexts");
    }
    if (stream->queue != NULL &&
        lt_session_device_index(session, stream->device) == session->program->n_devices) {
        return lt_fail(err, LEAT_INVALID, "the session does not run on '%s', whose queue this is",
                       stream->device->info.name);
    }
    size_t array_bytes, bytes;
    if (!lt_mul(n_inputs, sizeof(*inputs), &array_bytes) ||
        !lt_add(array_bytes, sizeof(job), &bytes)) {
        return lt_fail(err, LEAT_INVALID, "%zu inputs are too many", n_inputs);
    }
    job *j = lt_alloc(&session->context->memory, bytes, 16);
    if (j == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory to queue a run");
    }
    *j = (job){.stream = stream,
               .session = session,
               .inputs = (leat_array *)(j + 1),
               .n_inputs = n_inputs,
               .outputs = outputs,
               .n_outputs = n_outputs,
               .done = done,
               .done_user = done_user,
               .bytes = bytes};
    if (n_inputs != 0) {
        memcpy(j->inputs, inputs, array_bytes);
    }
    pthread_mutex_lock(&stream->lock);
    if (stream->last != NULL) {
        stream->last->next = j;
    } else {
        stream->first = j;
    }
    stream->last = j;
    stream->submitted++;
    pthread_cond_signal(&stream->work);
    pthread_mutex_unlock(&stream->lock);
    return LEAT_OK;
}

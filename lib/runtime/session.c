/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions: creation, binding, trimming. Running is in run.c, reports in report.c. */
#include "runtime/session.h"

#include "base/error.h"
#include "base/tensor.h"

#include <string.h>

#define DEFAULT_MAX_PLANS 16u

static leat_status no_memory(leat_error *err)
{
    return lt_fail(err, LEAT_NO_MEMORY, "no memory for a session");
}

/* What the device that is preferred most makes of the precision asked for. The options say the
 * outcome, so that sessions that come to the same share a program. */
static leat_status choose_precision(lt_program_desc *desc, leat_error *err)
{
    static const char *const names[] = {"the model's own", "f32", "bf16", "f16", "auto", "tf32"};
    const lt_device *device = desc->devices[0];
    const leat_backend *backend = device->backend;
    leat_precision wanted = desc->options.precision;
    if ((int)wanted < 0 || wanted > LEAT_PRECISION_TF32) {
        return lt_fail(err, LEAT_INVALID, "precision %d is none of LEAT_PRECISION_*", (int)wanted);
    }
    if (wanted == LEAT_PRECISION_MODEL || wanted == LEAT_PRECISION_F32) {
        return LEAT_OK;
    }
    leat_precision got = LT_BACKEND_HAS(backend, precision)
                             ? backend->precision(device->handle, wanted)
                         : wanted >= LEAT_PRECISION_AUTO ? LEAT_PRECISION_F32
                                                         : LEAT_PRECISION_MODEL;
    if (got != LEAT_PRECISION_F32 && got != LEAT_PRECISION_BF16 && got != LEAT_PRECISION_F16 &&
        (got != LEAT_PRECISION_TF32 || wanted != LEAT_PRECISION_TF32)) {
        return lt_fail(err, LEAT_UNSUPPORTED,
                       "precision %s: '%s' computes in the model's own types and f32 only",
                       names[wanted], device->info.name);
    }
    desc->options.precision = got;
    return LEAT_OK;
}

static leat_status open_devices(leat_context *context, const leat_session_desc *desc,
                                lt_program_desc *out, leat_error *err)
{
    static const char *const cpu[] = {"cpu"};
    const char *const *names = desc->devices ? desc->devices : cpu;
    size_t count = desc->devices ? desc->n_devices : 1;
    memset(out, 0, sizeof(*out)); /* compared as bytes */
    if (count == 0 || count > LT_MAX_DEVICES) {
        return lt_fail(err, LEAT_INVALID, "a session has 1 to %u devices, not %zu", LT_MAX_DEVICES,
                       count);
    }
    if (desc->fallback != LEAT_FALLBACK_NONE && desc->fallback != LEAT_FALLBACK_CPU) {
        return lt_fail(err, LEAT_INVALID, "fallback %d is none of LEAT_FALLBACK_*",
                       (int)desc->fallback);
    }
    out->fallback = desc->fallback;
    out->options = (leat_plan_options){.struct_size = sizeof(out->options),
                                       .precision = desc->precision,
                                       .plain_algorithms = desc->plain_algorithms != 0};
    for (size_t i = 0; i < count; i++) {
        lt_device *device;
        leat_status status = lt_device_get(context, names[i], &device, err);
        if (status != LEAT_OK) {
            return status;
        }
        for (size_t k = 0; k < out->n_devices; k++) {
            if (out->devices[k] == device) {
                return lt_fail(err, LEAT_INVALID, "the device '%s' is listed twice",
                               device->info.name);
            }
        }
        out->devices[out->n_devices++] = device;
    }
    return choose_precision(out, err);
}

static leat_status make_tables(leat_session *session, leat_error *err)
{
    lt_arena *arena = &session->arena;
    size_t n_devices = session->program->n_devices;
    session->n_inputs = session->model->signature.n_inputs;
    session->n_outputs = session->model->signature.n_outputs;
    session->inputs = lt_arena_array(arena, session->n_inputs + 1, sizeof(leat_array));
    session->input_bindings = lt_arena_array(arena, session->n_inputs + 1, sizeof(lt_binding));
    session->output_bindings = lt_arena_array(arena, session->n_outputs + 1, sizeof(lt_binding));
    session->given_out = lt_arena_array(arena, session->n_outputs + 1, sizeof(void *));
    session->input_spaces = lt_arena_array(arena, session->n_inputs + 1, sizeof(uint32_t));
    session->output_spaces = lt_arena_array(arena, session->n_outputs + 1, sizeof(uint32_t));
    session->runner.program = session->program;
    session->runner.workspace_bytes = lt_arena_array(arena, n_devices, sizeof(size_t));
    session->runner.workspaces = lt_arena_array(arena, n_devices, sizeof(void *));
    session->runner.streams = lt_arena_array(arena, n_devices, sizeof(void *));
    session->runner.pool = session->context->pool;
    if (session->inputs == NULL || session->input_bindings == NULL ||
        session->output_bindings == NULL || session->given_out == NULL ||
        session->input_spaces == NULL || session->output_spaces == NULL ||
        session->runner.workspace_bytes == NULL || session->runner.workspaces == NULL ||
        session->runner.streams == NULL) {
        return no_memory(err);
    }
    for (size_t d = 0; d < n_devices; d++) {
        const lt_device *device = session->program->devices[d];
        if (!lt_device_is_host(device)) {
            const leat_backend *backend = device->backend;
            leat_status status =
                (session->urgent && LT_BACKEND_HAS(backend, stream_create_urgent)
                     ? backend->stream_create_urgent
                     : backend->stream_create)(device->handle, &session->runner.streams[d], err);
            if (status != LEAT_OK) {
                session->runner.streams[d] = NULL;
                return status;
            }
        }
    }
    leat_status status = lt_runner_create(&session->runner, arena, err);
    if (status == LEAT_OK) {
        lt_session_frame(session)->input_spaces = session->input_spaces;
        lt_session_frame(session)->output_spaces = session->output_spaces;
    }
    return status;
}

static leat_status report_progress(const leat_session *session, uint64_t done, leat_error *err)
{
    const lt_runner *runner = &session->runner;
    if (runner->progress != NULL &&
        runner->progress(runner->progress_user, "optimise", done, 1) != 0) {
        return lt_fail(err, LEAT_CANCELLED, "the progress callback asked to stop");
    }
    return LEAT_OK;
}

static leat_status start(leat_session *session, const lt_program_desc *devices, leat_error *err)
{
    leat_status status = report_progress(session, 0, err);
    if (status == LEAT_OK) {
        status = lt_program_acquire(session->model, devices, &session->program, err);
    }
    status = status ? status : make_tables(session, err);
    return status ? status : report_progress(session, 1, err);
}

static void enlist(leat_session *session)
{
    leat_context *context = session->context;
    pthread_mutex_lock(&context->lock);
    session->next = context->sessions;
    if (session->next != NULL) {
        session->next->previous = session;
    }
    context->sessions = session;
    pthread_mutex_unlock(&context->lock);
}

leat_status leat_session_create(leat_model *model, const leat_session_desc *desc,
                                leat_session **out_session, leat_error *err)
{
    static const leat_session_desc defaults = {.struct_size = sizeof(defaults)};
    if (out_session != NULL) {
        *out_session = NULL;
    }
    if (model == NULL || out_session == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_session_create: an argument is NULL");
    }
    desc = desc ? desc : &defaults;
    if (desc->struct_size != sizeof(*desc)) {
        return lt_fail(err, LEAT_INVALID,
                       "leat_session_desc.struct_size is %zu: set it to sizeof(leat_session_desc)",
                       desc->struct_size);
    }
    leat_context *context = model->context;
    lt_program_desc devices;
    leat_status status = open_devices(context, desc, &devices, err);
    if (status != LEAT_OK) {
        return status;
    }
    leat_session *session = lt_alloc_zeroed(&context->memory, sizeof(*session), LT_ALIGNMENT);
    if (session == NULL) {
        return no_memory(err);
    }
    session->context = context;
    session->model = model;
    session->runner.max_plans = desc->max_plans ? desc->max_plans : DEFAULT_MAX_PLANS;
    session->runner.profile = desc->profile == 1;
    session->runner.time_phases = desc->profile == 2;
    session->runner.graphs = desc->no_graphs == 0;
    session->urgent = desc->urgent != 0;
    session->runner.progress = desc->progress;
    session->runner.progress_user = desc->progress_user;
    atomic_store(&session->busy, LT_SESSION_FREE);
    lt_arena_init(&session->arena, &context->memory, 4096);
    lt_arena_init(&session->report_arena, &context->memory, 16u << 10);
    if (desc->cache_directory != NULL) {
        status = lt_tuning_create(context, desc->cache_directory, &session->runner.tuning, err);
    }
    status = status ? status : start(session, &devices, err);
    enlist(session);
    if (status != LEAT_OK) {
        leat_session_destroy(session);
        return status;
    }
    *out_session = session;
    return LEAT_OK;
}

void lt_session_drop_plans(leat_session *session, bool keep_given_out)
{
    lt_stage *kept = NULL;
    lt_frame *frame = session->runner.n_frames ? lt_session_frame(session) : NULL;
    lt_stage *last = frame ? frame->last : NULL;
    for (size_t i = 0; keep_given_out && last != NULL && i < session->n_outputs; i++) {
        kept = session->given_out[i] != NULL ? last : kept;
    }
    while (kept != NULL && kept->parent != NULL) {
        kept = kept->parent;
    }
    lt_runner_trim(&session->runner, kept);
}

static void unbind(leat_session *session, lt_binding *binding)
{
    if (binding->tensor != NULL) {
        lt_free(&session->context->memory, binding->staging, binding->tensor->array.bytes);
    }
    memset(binding, 0, sizeof(*binding));
}

static void delist(leat_session *session)
{
    leat_context *context = session->context;
    pthread_mutex_lock(&context->lock);
    if (session->previous != NULL) {
        session->previous->next = session->next;
    } else {
        context->sessions = session->next;
    }
    if (session->next != NULL) {
        session->next->previous = session->previous;
    }
    context->plan_hits += atomic_load(&session->runner.plan_hits);
    context->plan_misses += atomic_load(&session->runner.plan_misses);
    pthread_mutex_unlock(&context->lock);
}

void leat_session_destroy(leat_session *session)
{
    if (session == NULL) {
        return;
    }
    delist(session);
    lt_session_drop_plans(session, false);
    for (size_t i = 0; session->input_bindings != NULL && i < session->n_inputs; i++) {
        unbind(session, &session->input_bindings[i]);
    }
    for (size_t i = 0; session->output_bindings != NULL && i < session->n_outputs; i++) {
        unbind(session, &session->output_bindings[i]);
    }
    for (size_t d = 0; session->runner.streams != NULL && d < session->program->n_devices; d++) {
        const lt_device *device = session->program->devices[d];
        if (session->runner.streams[d] != NULL) {
            device->backend->stream_destroy(device->handle, session->runner.streams[d]);
        }
    }
    lt_program_release(session->program);
    lt_tuning_destroy(session->runner.tuning);
    lt_arena_destroy(&session->report_arena);
    lt_arena_destroy(&session->arena);
    lt_free(&session->context->memory, session, sizeof(*session));
}

static bool find_name(const leat_io *ios, size_t count, const char *name, size_t *out_index)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(ios[i].name, name) == 0) {
            *out_index = i;
            return true;
        }
    }
    return false;
}

static leat_status find_binding(leat_session *session, const char *name, lt_binding **out_binding,
                                const leat_io **out_io, leat_error *err)
{
    const leat_model_signature *signature = &session->model->signature;
    size_t i;
    if (find_name(signature->inputs, signature->n_inputs, name, &i)) {
        *out_binding = &session->input_bindings[i];
        *out_io = &signature->inputs[i];
        return LEAT_OK;
    }
    if (find_name(signature->outputs, signature->n_outputs, name, &i)) {
        *out_binding = &session->output_bindings[i];
        *out_io = &signature->outputs[i];
        return LEAT_OK;
    }
    char inputs[80], outputs[80];
    return lt_fail(err, LEAT_NOT_FOUND,
                   "the model has no input or output '%s'; the inputs are %s, the outputs %s", name,
                   lt_io_names(signature->inputs, signature->n_inputs, inputs, sizeof(inputs)),
                   lt_io_names(signature->outputs, signature->n_outputs, outputs, sizeof(outputs)));
}

/* The space of a device in the session's plans; 0 for host memory and for other devices. */
static uint32_t space_of_device(const leat_session *session, const lt_device *device)
{
    for (uint32_t d = 0; d < session->program->n_devices; d++) {
        if (session->program->devices[d] == device) {
            return lt_plan_space(session->program, d);
        }
    }
    return 0;
}

leat_status leat_session_bind(leat_session *session, const char *name, leat_tensor *tensor,
                              leat_error *err)
{
    if (session == NULL || name == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_session_bind: an argument is NULL");
    }
    lt_binding *binding = NULL;
    const leat_io *io = NULL;
    leat_status status = find_binding(session, name, &binding, &io, err);
    if (status != LEAT_OK) {
        return status;
    }
    void *staging = NULL;
    uint32_t space = tensor ? space_of_device(session, tensor->device) : 0;
    if (tensor != NULL) {
        const leat_array *array = &tensor->array;
        if (array->dtype != io->dtype || (io->rank >= 0 && array->rank != io->rank)) {
            return lt_fail(err, LEAT_INVALID, "'%s' is %s of rank %d, the tensor %s of rank %d",
                           name, leat_dtype_name(io->dtype), io->rank,
                           leat_dtype_name(array->dtype), array->rank);
        }
        if (space == 0 && !lt_device_is_host(tensor->device)) {
            staging = lt_alloc(&session->context->memory, array->bytes, LT_ALIGNMENT);
            if (staging == NULL) {
                return no_memory(err);
            }
        }
    }
    size_t *n_bound =
        binding >= session->input_bindings && binding < session->input_bindings + session->n_inputs
            ? &session->n_bound_inputs
            : &session->n_bound_outputs;
    *n_bound += (size_t)(tensor != NULL) - (size_t)(binding->tensor != NULL);
    unbind(session, binding);
    binding->tensor = tensor;
    binding->space = space;
    binding->staging = staging;
    return LEAT_OK;
}

bool lt_session_hold(leat_session *session, int state)
{
    for (;;) {
        int seen = LT_SESSION_FREE;
        if (atomic_compare_exchange_strong_explicit(&session->busy, &seen, state,
                                                    memory_order_acquire, memory_order_relaxed)) {
            return true;
        }
        if (seen != LT_SESSION_TRIMMING || state == LT_SESSION_TRIMMING) {
            return false;
        }
        pthread_mutex_lock(&session->context->lock);
        pthread_mutex_unlock(&session->context->lock);
    }
}

void lt_session_let_go(leat_session *session)
{
    atomic_store_explicit(&session->busy, LT_SESSION_FREE, memory_order_release);
}

void leat_context_trim(leat_context *context)
{
    pthread_mutex_lock(&context->lock);
    for (leat_session *session = context->sessions; session != NULL; session = session->next) {
        if (lt_session_hold(session, LT_SESSION_TRIMMING)) {
            lt_session_drop_plans(session, true);
            lt_session_let_go(session);
        }
    }
    pthread_mutex_unlock(&context->lock);
}

void lt_sessions_count_plans(leat_context *context, uint64_t *out_hits, uint64_t *out_misses)
{
    pthread_mutex_lock(&context->lock);
    *out_hits = context->plan_hits;
    *out_misses = context->plan_misses;
    for (const leat_session *s = context->sessions; s != NULL; s = s->next) {
        *out_hits += atomic_load(&s->runner.plan_hits);
        *out_misses += atomic_load(&s->runner.plan_misses);
    }
    pthread_mutex_unlock(&context->lock);
}

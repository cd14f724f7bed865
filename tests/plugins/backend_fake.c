/* SPDX-License-Identifier: Apache-2.0 */
/* A device for tests, as strict as a real one is in the worst case:
 *
 *   - Its memory cannot be touched by the host: a device address is a host address plus a bias
 *     that makes it non-canonical, so that reading it faults.
 *   - Nothing happens before somebody waits: copies and kernels are only noted in the stream, and
 *     carried out by stream_wait. A host that forgets to wait, or changes a buffer too early, gets
 *     wrong results.
 *   - It knows few operators: Relu, Add (equal shapes), MatMul (rank 2, constant or not), Reshape
 *     (a view) in f32; Sub is claimed but always refused when it is prepared.
 *
 *   - It has pinned memory, and graphs, which hold the commands as they were queued: replaying one
 *     after an address has changed gives wrong results. LEAT_FAKE_GRAPHS makes it fail: "begin",
 *     "end" (with the stream still capturing nothing), "launch" or "queue" (a kernel that refuses
 *     to be recorded). backend_fake_counts tells a test what has happened.
 *
 * Devices: fake:0, fake:1, and fake:2, which cannot be opened.
 */
#include "backend_fake.h"

#include <leat/backend.h>

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define BIAS ((uintptr_t)1 << 62)
#define MAX_COMMANDS 4096
#define MAX_POINTERS 4

static void *to_device(void *host)
{
    return (void *)((uintptr_t)host + BIAS);
}

static void *to_host(const void *device)
{
    return (void *)((uintptr_t)device - BIAS);
}

static leat_status fail(leat_error *err, leat_status status, const char *format, ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->message, sizeof(err->message), format, args);
        va_end(args);
        err->status = status;
    }
    return status;
}

typedef struct fake_instance {
    const leat_host *host;
    struct fake_device {
        const leat_host *host;
        size_t index;
    } devices[FAKE_DEVICES];
} fake_instance;
typedef struct fake_device fake_device;

/* ------------------------------------------------------------------------------------------------
 * Streams
 * --------------------------------------------------------------------------------------------- */

typedef void (*fake_work)(const void *state, void *const *pointers);

typedef struct command {
    fake_work work; /* NULL: a copy of `bytes` from pointers[1] to pointers[0] */
    const void *state;
    void *pointers[MAX_POINTERS]; /* addresses as the host knows them */
    size_t bytes;
} command;

typedef struct fake_graph {
    size_t n_commands;
    command commands[];
} fake_graph;

typedef struct fake_stream {
    size_t n_commands;
    command commands[MAX_COMMANDS];
    int capturing;
    size_t first_captured;
} fake_stream;

static fake_counts counts;

LEAT_API const fake_counts *backend_fake_counts(void)
{
    return &counts;
}

static const char *pinned_from;
static size_t pinned_bytes;
static atomic_uint lost;

LEAT_API void backend_fake_lose(unsigned devices)
{
    lost = devices;
}

LEAT_API void backend_fake_pin(const void *address, size_t bytes)
{
    pinned_from = address;
    pinned_bytes = bytes;
}

static int32_t fake_host_is_pinned(void *device, const void *address, size_t bytes)
{
    const char *from = address;
    (void)device;
    return pinned_from != NULL && from >= pinned_from && from + bytes <= pinned_from + pinned_bytes;
}

static int fails(const char *at)
{
    const char *wanted = getenv("LEAT_FAKE_GRAPHS");
    return wanted != NULL && strcmp(wanted, at) == 0;
}

static void carry_out(fake_stream *stream)
{
    for (size_t i = 0; i < stream->n_commands; i++) {
        const command *c = &stream->commands[i];
        if (c->work != NULL) {
            c->work(c->state, c->pointers);
        } else {
            memmove(c->pointers[0], c->pointers[1], c->bytes);
        }
    }
    stream->n_commands = 0;
}

static command *add_command(fake_stream *stream)
{
    if (stream->n_commands == MAX_COMMANDS) {
        carry_out(stream);
    }
    command *c = &stream->commands[stream->n_commands++];
    memset(c, 0, sizeof(*c));
    return c;
}

static leat_status fake_stream_create(void *device, void **out_stream, leat_error *err)
{
    const leat_host *host = ((fake_device *)device)->host;
    fake_stream *stream = host->alloc(host->context, sizeof(*stream), 64);
    *out_stream = stream;
    if (stream == NULL) {
        return fail(err, LEAT_NO_MEMORY, "fake: no memory for a stream");
    }
    stream->n_commands = 0;
    stream->capturing = 0;
    return LEAT_OK;
}

static void fake_stream_destroy(void *device, void *stream)
{
    const leat_host *host = ((fake_device *)device)->host;
    host->free(host->context, stream, sizeof(fake_stream));
}

static leat_status fake_stream_wait(void *device, void *stream, leat_error *err)
{
    const size_t index = ((fake_device *)device)->index;
    counts.waits[index]++;
    if ((lost >> index & 1) != 0) {
        return fail(err, LEAT_DEVICE_LOST, "fake: the device fell off the bus");
    }
    carry_out(stream);
    return LEAT_OK;
}

static leat_status fake_copy(void *device, void *stream, leat_copy_kind kind, void *target,
                             const void *source, size_t bytes, leat_error *err)
{
    (void)device, (void)err;
    command *c = add_command(stream);
    c->pointers[0] = kind == LEAT_COPY_DEVICE_TO_HOST ? target : to_host(target);
    c->pointers[1] = kind == LEAT_COPY_HOST_TO_DEVICE ? (void *)source : to_host(source);
    c->bytes = bytes;
    return LEAT_OK;
}

static leat_status fake_capture_begin(void *device, void *opaque, leat_error *err)
{
    fake_stream *stream = opaque;
    (void)device;
    if (fails("begin")) {
        return fail(err, LEAT_UNSUPPORTED, "fake: no graphs today");
    }
    stream->capturing = 1;
    stream->first_captured = stream->n_commands;
    return LEAT_OK;
}

static leat_status fake_capture_end(void *device, void *opaque, void **out_graph, leat_error *err)
{
    const leat_host *host = ((fake_device *)device)->host;
    fake_stream *stream = opaque;
    size_t n = stream->n_commands - stream->first_captured;
    fake_graph *graph =
        fails("end") ? NULL : host->alloc(host->context, sizeof(*graph) + n * sizeof(command), 64);
    *out_graph = graph;
    stream->capturing = 0;
    stream->n_commands = stream->first_captured;
    if (graph == NULL) {
        return fail(err, LEAT_UNSUPPORTED, "fake: no graph can be made");
    }
    graph->n_commands = n;
    memcpy(graph->commands, stream->commands + stream->first_captured, n * sizeof(command));
    counts.captures++;
    counts.graphs++;
    return LEAT_OK;
}

static leat_status fake_graph_launch(void *device, void *stream, void *opaque, leat_error *err)
{
    const fake_graph *graph = opaque;
    (void)device;
    if (fails("launch")) {
        return fail(err, LEAT_DEVICE_LOST, "fake: the graph does not start");
    }
    for (size_t i = 0; i < graph->n_commands; i++) {
        *add_command(stream) = graph->commands[i];
    }
    counts.replays++;
    return LEAT_OK;
}

static void fake_graph_destroy(void *device, void *opaque)
{
    const leat_host *host = ((fake_device *)device)->host;
    fake_graph *graph = opaque;
    host->free(host->context, graph, sizeof(*graph) + graph->n_commands * sizeof(command));
    counts.graphs--;
}

/* Not by the host's allocator: a walk over failing allocations is about those that are needed. */
static leat_status fake_host_alloc(void *device, size_t bytes, void **out_block, leat_error *err)
{
    (void)device;
    *out_block = malloc(bytes ? bytes : 1);
    if (*out_block == NULL) {
        return fail(err, LEAT_NO_MEMORY, "fake: no pinned memory");
    }
    memset(*out_block, 0x5a, bytes);
    counts.pinned++;
    return LEAT_OK;
}

static void fake_host_free(void *device, void *block, size_t bytes)
{
    (void)device, (void)bytes;
    free(block);
    counts.pinned--;
}

/* Work of one stream only is ever in order, and tests use one at a time: events have no work. */
static leat_status fake_event_create(void *device, void **out_event, leat_error *err)
{
    (void)err;
    *out_event = device;
    return LEAT_OK;
}

static void fake_event_destroy(void *device, void *event)
{
    (void)device, (void)event;
}

static leat_status fake_event_record(void *device, void *stream, void *event, leat_error *err)
{
    (void)device, (void)event, (void)err;
    carry_out(stream);
    return LEAT_OK;
}

static leat_status fake_event_wait(void *device, void *stream, void *event, leat_error *err)
{
    (void)device, (void)stream, (void)event, (void)err;
    return LEAT_OK;
}

static leat_status fake_alloc(void *device, size_t bytes, void **out_block, leat_error *err)
{
    const leat_host *host = ((fake_device *)device)->host;
    void *block = host->alloc(host->context, bytes, 64);
    *out_block = NULL;
    if (block == NULL) {
        return fail(err, LEAT_NO_MEMORY, "fake: no memory for %zu bytes", bytes);
    }
    memset(block, 0xa5, bytes); /* nobody may rely on zeros */
    *out_block = to_device(block);
    return LEAT_OK;
}

static void fake_free(void *device, void *block, size_t bytes)
{
    const leat_host *host = ((fake_device *)device)->host;
    host->free(host->context, to_host(block), bytes);
}

/* ------------------------------------------------------------------------------------------------
 * Operators
 * --------------------------------------------------------------------------------------------- */

typedef struct op_state {
    size_t count;   /* elements */
    size_t m, n, k; /* MatMul */
    const void *packed;
    fake_work work;
    uint32_t n_inputs;
} op_state;

static leat_status launch(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const op_state *op = state;
    const fake_stream *stream = args->stream;
    if (stream->capturing && fails("queue")) {
        return fail(err, LEAT_UNSUPPORTED, "fake: this kernel is not recorded");
    }
    counts.plain += !stream->capturing;
    command *c = add_command(args->stream);
    c->work = op->work;
    c->state = op;
    c->pointers[0] = to_host(args->outputs[0]);
    for (uint32_t i = 0; i < op->n_inputs; i++) {
        c->pointers[1 + i] = args->inputs[i] ? to_host(args->inputs[i]) : NULL;
    }
    return LEAT_OK;
}

static void relu_work(const void *state, void *const *pointers)
{
    const op_state *op = state;
    const float *x = pointers[1];
    float *y = pointers[0];
    for (size_t i = 0; i < op->count; i++) {
        y[i] = x[i] < 0 ? 0 : x[i];
    }
}

static void add_work(const void *state, void *const *pointers)
{
    const op_state *op = state;
    const float *a = pointers[1], *b = pointers[2];
    float *y = pointers[0];
    for (size_t i = 0; i < op->count; i++) {
        y[i] = a[i] + b[i];
    }
}

/* b is n x k when it was packed, else k x n. */
static void matmul_work(const void *state, void *const *pointers)
{
    const op_state *op = state;
    const float *a = pointers[1];
    const float *b = op->packed ? to_host(op->packed) : pointers[2];
    float *y = pointers[0];
    for (size_t i = 0; i < op->m; i++) {
        for (size_t j = 0; j < op->n; j++) {
            double sum = 0;
            for (size_t t = 0; t < op->k; t++) {
                sum +=
                    (double)a[i * op->k + t] * (op->packed ? b[j * op->k + t] : b[t * op->n + j]);
            }
            y[i * op->n + j] = (float)sum;
        }
    }
}

static leat_status make_state(const leat_host *host, leat_plan *plan, fake_work work,
                              uint32_t n_inputs, op_state **out_state, leat_error *err)
{
    *out_state = host->plan_alloc(plan, sizeof(**out_state));
    if (*out_state == NULL) {
        return fail(err, LEAT_NO_MEMORY, "fake: no memory for a kernel");
    }
    (*out_state)->work = work;
    (*out_state)->n_inputs = n_inputs;
    return LEAT_OK;
}

static leat_status prepare_pointwise(const leat_kernel_node *node, const leat_host *host,
                                     leat_plan *plan, fake_work work, leat_kernel *out_kernel,
                                     leat_error *err)
{
    op_state *op;
    leat_status status = make_state(host, plan, work, node->node->n_inputs, &op, err);
    if (status != LEAT_OK) {
        return status;
    }
    op->count = (size_t)leat_value_count(leat_kernel_output(node, 0));
    out_kernel->launch = launch;
    out_kernel->state = op;
    out_kernel->inplace_mask = 3;
    out_kernel->flops = op->count;
    return LEAT_OK;
}

static leat_status relu_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    (void)device;
    out_kernel->name = "fake_relu";
    return prepare_pointwise(node, host, plan, relu_work, out_kernel, err);
}

static leat_status add_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                               leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    (void)device;
    out_kernel->name = "fake_add";
    return prepare_pointwise(node, host, plan, add_work, out_kernel, err);
}

static leat_status add_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *a = leat_kernel_input(node, 0), *b = leat_kernel_input(node, 1);
    int same = a->rank == b->rank && a->rank >= 0;
    for (int32_t d = 0; same && d < a->rank; d++) {
        same = a->shape[d] == b->shape[d];
    }
    return same ? LEAT_OK : fail(err, LEAT_UNSUPPORTED, "fake: Add does not broadcast");
}

static leat_status matmul_supports(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *a = leat_kernel_input(node, 0), *b = leat_kernel_input(node, 1);
    return a->rank == 2 && b->rank == 2
               ? LEAT_OK
               : fail(err, LEAT_UNSUPPORTED, "fake: MatMul takes matrices of rank 2");
}

static leat_status transpose(void *out, size_t bytes, const leat_value *constant,
                             const void *argument, leat_error *err)
{
    (void)bytes, (void)argument, (void)err;
    const float *b = constant->data;
    float *packed = out;
    for (int64_t t = 0; t < constant->shape[0]; t++) {
        for (int64_t j = 0; j < constant->shape[1]; j++) {
            packed[j * constant->shape[0] + t] = b[t * constant->shape[1] + j];
        }
    }
    return LEAT_OK;
}

static leat_status matmul_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                  leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    (void)device;
    const leat_value *a = leat_kernel_input(node, 0), *b = leat_kernel_input(node, 1);
    op_state *op;
    leat_status status = make_state(host, plan, matmul_work, 2, &op, err);
    if (status != LEAT_OK) {
        return status;
    }
    op->m = (size_t)a->shape[0];
    op->k = (size_t)a->shape[1];
    op->n = (size_t)b->shape[1];
    if (b->data != NULL) {
        status = host->plan_pack(plan, b, 1, b->bytes, transpose, NULL, &op->packed, err);
        out_kernel->unread_mask = 2;
    }
    out_kernel->name = b->data ? "fake_matmul_packed" : "fake_matmul";
    out_kernel->launch = launch;
    out_kernel->state = op;
    out_kernel->flops = 2 * op->m * op->n * op->k;
    return status;
}

static leat_status reshape_prepare(const leat_kernel_node *node, void *device,
                                   const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                   leat_error *err)
{
    (void)node, (void)device, (void)host, (void)plan, (void)err;
    out_kernel->name = "fake_view";
    out_kernel->view_of = 1;
    out_kernel->unread_mask = 2;
    return LEAT_OK;
}

static leat_status sub_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                               leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    (void)node, (void)device, (void)host, (void)plan, (void)out_kernel;
    return fail(err, LEAT_UNSUPPORTED, "fake: Sub is refused on purpose");
}

#define F32 (1ull << LEAT_DTYPE_F32)
static const leat_op_row rows[] = {
    {"Relu", "", 6, 0, F32, LEAT_LAYOUT_ANY, NULL, relu_prepare},
    {"Add", "", 7, 0, F32, LEAT_LAYOUT_ANY, add_supports, add_prepare},
    {"MatMul", "", 1, 0, F32, LEAT_LAYOUT_ANY, matmul_supports, matmul_prepare},
    {"Reshape", "", 5, 0, F32, LEAT_LAYOUT_ANY, NULL, reshape_prepare},
    {"Sub", "", 7, 0, F32, LEAT_LAYOUT_ANY, NULL, sub_prepare},
};

/* ------------------------------------------------------------------------------------------------
 * Devices
 * --------------------------------------------------------------------------------------------- */

static leat_status fake_init(const leat_host *host, void **out_instance, leat_error *err)
{
    fake_instance *self = host->alloc(host->context, sizeof(*self), 64);
    *out_instance = self;
    if (self == NULL) {
        return fail(err, LEAT_NO_MEMORY, "fake: no memory");
    }
    self->host = host;
    for (size_t i = 0; i < 3; i++) {
        self->devices[i] = (fake_device){host, i};
    }
    return LEAT_OK;
}

static void fake_shutdown(void *instance)
{
    fake_instance *self = instance;
    self->host->free(self->host->context, self, sizeof(*self));
}

static size_t fake_device_count(void *instance)
{
    (void)instance;
    return 3;
}

static leat_status fake_device_info(void *instance, size_t index, leat_device_properties *out_info,
                                    leat_error *err)
{
    static const char *const names[] = {"fake:0", "fake:1", "fake:2"};
    (void)instance;
    if (index >= 3) {
        return fail(err, LEAT_INVALID, "fake: no device %zu", index);
    }
    out_info->name = names[index];
    out_info->description = "device for tests";
    out_info->kind = LEAT_DEVICE_ACCELERATOR;
    out_info->memory_bytes = 1u << 30;
    out_info->features = "deferred";
    out_info->available = index != 2;
    out_info->reason = index == 2 ? "the cable is not plugged in: plug it in" : "";
    return LEAT_OK;
}

static leat_status fake_device_open(void *instance, size_t index, void **out_device,
                                    leat_error *err)
{
    fake_instance *self = instance;
    *out_device = NULL;
    if (index >= 2) {
        return fail(err, LEAT_NO_DEVICE, "fake: no device %zu", index);
    }
    *out_device = &self->devices[index];
    return LEAT_OK;
}

static void fake_device_close(void *device)
{
    (void)device;
}

static const leat_backend backend = {
    .abi = LEAT_BACKEND_ABI,
    .struct_size = sizeof(leat_backend),
    .name = "fake",
    .version = "1",
    .features = 0,
    .sanitizer = LEAT_BACKEND_SANITIZER,
    .init = fake_init,
    .shutdown = fake_shutdown,
    .device_count = fake_device_count,
    .device_info = fake_device_info,
    .device_open = fake_device_open,
    .device_close = fake_device_close,
    .alloc = fake_alloc,
    .free = fake_free,
    .stream_create = fake_stream_create,
    .stream_destroy = fake_stream_destroy,
    .stream_wait = fake_stream_wait,
    .copy = fake_copy,
    .event_create = fake_event_create,
    .event_destroy = fake_event_destroy,
    .event_record = fake_event_record,
    .event_wait = fake_event_wait,
    .rows = rows,
    .n_rows = sizeof(rows) / sizeof(rows[0]),
    .capture_begin = fake_capture_begin,
    .capture_end = fake_capture_end,
    .graph_launch = fake_graph_launch,
    .graph_destroy = fake_graph_destroy,
    .host_alloc = fake_host_alloc,
    .host_free = fake_host_free,
    .host_is_pinned = fake_host_is_pinned,
};

LEAT_API const leat_backend *leat_backend_query(uint32_t host_abi);

LEAT_API const leat_backend *leat_backend_query(uint32_t host_abi)
{
    return host_abi == LEAT_BACKEND_ABI ? &backend : NULL;
}

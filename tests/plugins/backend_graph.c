/* SPDX-License-Identifier: Apache-2.0 */
/* A whole-graph backend for tests, in host memory: it fills describe, compile and launch itself. It
 * knows Relu and Add (equal shapes) in f32, says that Relu costs 1,000 ns and Add 1,000,000 ns a
 * node, and executes a segment by interpreting a copy of it. A segment with the node name "refuse"
 * is not compiled. */
#include <leat/backend.h>

#include <stdarg.h>
#include <stdio.h>

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

/* One operation; operands are positions in the executable's table of pointers. */
typedef struct operation {
    int is_add;
    uint32_t a, b, y;
    size_t count;
} operation;

typedef struct executable {
    const leat_host *host;
    size_t bytes; /* of this block */
    size_t n_operations;
    size_t n_values;
    size_t n_inputs, n_outputs;
    size_t workspace_bytes;
    operation *operations;
    const void **pointers; /* per value; constants are set once */
    size_t *offsets;       /* per value: in the workspace + 1; 0: elsewhere */
    uint32_t *inputs;
    uint32_t *outputs;
} executable;

static int is_supported(const leat_segment *segment, const leat_node *node)
{
    const leat_value *x = &segment->values[node->inputs[0]];
    if (node->domain[0] != '\0' || x->dtype != LEAT_DTYPE_F32) {
        return 0;
    }
    if (strcmp(node->op, "Relu") == 0) {
        return 1;
    }
    if (strcmp(node->op, "Add") != 0) {
        return 0;
    }
    const leat_value *b = &segment->values[node->inputs[1]];
    return x->rank == b->rank && x->rank >= 0 &&
           memcmp(x->shape, b->shape, (size_t)x->rank * sizeof(int64_t)) == 0;
}

static leat_status graph_describe(void *device, const leat_segment *segment,
                                  leat_node_support *answers, leat_error *err)
{
    (void)device, (void)err;
    for (size_t i = 0; i < segment->n_nodes; i++) {
        const leat_node *node = &segment->nodes[i];
        answers[i].supported = node->n_inputs > 0 && is_supported(segment, node);
        answers[i].cost_ns = strcmp(node->op, "Add") == 0 ? 1e6f : 1e3f;
        if (!answers[i].supported) {
            snprintf(answers[i].reason, sizeof(answers[i].reason), "graph: no %s here", node->op);
        }
    }
    return LEAT_OK;
}

static executable *allocate(const leat_host *host, const leat_segment *s)
{
    size_t bytes = sizeof(executable) + s->n_nodes * sizeof(operation) +
                   s->n_values * (sizeof(void *) + sizeof(size_t)) +
                   (s->n_inputs + s->n_outputs) * sizeof(uint32_t);
    executable *e = host->alloc(host->context, bytes, 64);
    if (e == NULL) {
        return NULL;
    }
    memset(e, 0, bytes);
    e->host = host;
    e->bytes = bytes;
    e->operations = (operation *)(e + 1);
    e->pointers = (const void **)(e->operations + s->n_nodes);
    e->offsets = (size_t *)(e->pointers + s->n_values);
    e->inputs = (uint32_t *)(e->offsets + s->n_values);
    e->outputs = e->inputs + s->n_inputs;
    return e;
}

static void plan(executable *e, const leat_segment *s)
{
    e->n_values = s->n_values;
    e->n_inputs = s->n_inputs;
    e->n_outputs = s->n_outputs;
    e->n_operations = s->n_nodes;
    memcpy(e->inputs, s->inputs, s->n_inputs * sizeof(uint32_t));
    memcpy(e->outputs, s->outputs, s->n_outputs * sizeof(uint32_t));
    for (size_t v = 0; v < s->n_values; v++) {
        e->pointers[v] = s->values[v].data;
    }
    for (size_t i = 0; i < s->n_nodes; i++) {
        const leat_node *node = &s->nodes[i];
        uint32_t y = node->outputs[0];
        e->operations[i] = (operation){node->n_inputs == 2, node->inputs[0],
                                       node->n_inputs == 2 ? node->inputs[1] : 0, y,
                                       (size_t)leat_value_count(&s->values[y])};
        e->offsets[y] = e->workspace_bytes + 1; /* outputs are copied out at the end */
        e->workspace_bytes += (s->values[y].bytes + 63) / 64 * 64;
    }
}

static leat_status graph_compile(void *device, const leat_segment *segment, leat_plan *unused,
                                 void **out_executable, leat_error *err)
{
    (void)unused;
    *out_executable = NULL;
    for (size_t i = 0; i < segment->n_nodes; i++) {
        if (strcmp(segment->nodes[i].name, "refuse") == 0) {
            return fail(err, LEAT_UNSUPPORTED, "graph: node 'refuse' is refused");
        }
        if (!is_supported(segment, &segment->nodes[i])) {
            return fail(err, LEAT_UNSUPPORTED, "graph: no %s", segment->nodes[i].op);
        }
    }
    executable *e = allocate(device, segment);
    if (e == NULL) {
        return fail(err, LEAT_NO_MEMORY, "graph: no memory for an executable");
    }
    plan(e, segment);
    *out_executable = e;
    return LEAT_OK;
}

static leat_status graph_require(void *executable_, leat_requirements *out, leat_error *err)
{
    (void)err;
    *out = (leat_requirements){((executable *)executable_)->workspace_bytes, 64, 0};
    return LEAT_OK;
}

static leat_status graph_launch(void *executable_, const leat_launch *launch, leat_error *err)
{
    executable *e = executable_;
    (void)err;
    for (size_t i = 0; i < e->n_inputs; i++) {
        e->pointers[e->inputs[i]] = launch->inputs[i];
    }
    for (size_t i = 0; i < e->n_operations; i++) {
        const operation *op = &e->operations[i];
        float *y = (float *)((char *)launch->workspace + e->offsets[op->y] - 1);
        const float *a = e->pointers[op->a], *b = op->is_add ? e->pointers[op->b] : NULL;
        for (size_t k = 0; k < op->count; k++) {
            y[k] = op->is_add ? a[k] + b[k] : a[k] < 0 ? 0 : a[k];
        }
        e->pointers[op->y] = y;
        for (size_t k = 0; k < e->n_outputs; k++) {
            if (e->outputs[k] == op->y) {
                memcpy(launch->outputs[k], y, op->count * sizeof(float));
            }
        }
        if (launch->node_ns != NULL) {
            launch->node_ns[i] = 1;
        }
    }
    return LEAT_OK;
}

static void graph_executable_destroy(void *executable_)
{
    executable *e = executable_;
    e->host->free(e->host->context, e, e->bytes);
}

static leat_status graph_init(const leat_host *host, void **out_instance, leat_error *err)
{
    (void)err;
    *out_instance = (void *)host;
    return LEAT_OK;
}

static void graph_shutdown(void *instance)
{
    (void)instance;
}

static size_t graph_device_count(void *instance)
{
    (void)instance;
    return 1;
}

static leat_status graph_device_info(void *instance, size_t index, leat_device_properties *out_info,
                                     leat_error *err)
{
    (void)instance;
    if (index != 0) {
        return fail(err, LEAT_INVALID, "graph: no device %zu", index);
    }
    out_info->name = "graph:0";
    out_info->kind = LEAT_DEVICE_ACCELERATOR;
    out_info->available = 1;
    return LEAT_OK;
}

static leat_status graph_device_open(void *instance, size_t index, void **out_device,
                                     leat_error *err)
{
    *out_device = NULL;
    if (index != 0) {
        return fail(err, LEAT_INVALID, "graph: no device %zu", index);
    }
    *out_device = instance;
    return LEAT_OK;
}

static void graph_device_close(void *device)
{
    (void)device;
}

static const leat_backend backend = {
    .abi = LEAT_BACKEND_ABI,
    .struct_size = sizeof(leat_backend),
    .name = "graph",
    .version = "1",
    .features = LEAT_BACKEND_HOST_MEMORY,
    .sanitizer = LEAT_BACKEND_SANITIZER,
    .init = graph_init,
    .shutdown = graph_shutdown,
    .device_count = graph_device_count,
    .device_info = graph_device_info,
    .device_open = graph_device_open,
    .device_close = graph_device_close,
    .describe = graph_describe,
    .compile = graph_compile,
    .executable_require = graph_require,
    .launch = graph_launch,
    .executable_destroy = graph_executable_destroy,
};

LEAT_API const leat_backend *leat_backend_query(uint32_t host_abi);

LEAT_API const leat_backend *leat_backend_query(uint32_t host_abi)
{
    return host_abi == LEAT_BACKEND_ABI ? &backend : NULL;
}

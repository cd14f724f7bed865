/* SPDX-License-Identifier: Apache-2.0 */
/* leat_session_report: where each node of the latest plan runs, and why. */
#include "base/error.h"
#include "base/tensor.h"
#include "runtime/session.h"

#include <stdio.h>
#include <string.h>

static leat_status no_memory(leat_error *err)
{
    return lt_fail(err, LEAT_NO_MEMORY, "no memory for a report");
}

/* "Conv", or "Conv+Relu" for a node that passes have fused. */
static const char *op_text(leat_session *session, const leat_node *node)
{
    const leat_attr *activation = leat_node_attr(node, "activation");
    bool residual = leat_node_int(node, "residual", 0) != 0;
    bool active = activation != NULL && activation->type == LEAT_ATTR_STRING;
    if (!active && !residual) {
        return node->op;
    }
    char text[128];
    snprintf(text, sizeof(text), "%s%s%s%.*s", node->op, residual ? "+Add" : "", active ? "+" : "",
             active ? (int)activation->u.s.bytes : 0, active ? activation->u.s.data : "");
    return lt_arena_string(&session->report_arena, text);
}

/* Bytes of a value; 0 for none. */
static uint64_t value_bytes(const lt_stage *stage, uint32_t value)
{
    const leat_value *v = value == LEAT_NO_VALUE ? NULL : &stage->values[value];
    size_t bytes;
    bool known = v != NULL && v->rank >= 0 && lt_shape_bytes(v->dtype, v->rank, v->shape, &bytes);
    return known ? bytes : 0;
}

/* Nodes that read of their first input no more than they write. */
static bool picks(const leat_node *node)
{
    return strcmp(node->op, "Gather") == 0 || strcmp(node->op, "GatherND") == 0 ||
           strcmp(node->op, "GatherElements") == 0 || strcmp(node->op, "Slice") == 0;
}

static void count_bytes(const lt_stage *stage, const leat_node *node, leat_node_report *out)
{
    uint64_t written = 0;
    out->bytes = out->weight_bytes = 0;
    for (uint32_t k = 0; k < node->n_outputs; k++) {
        written += value_bytes(stage, node->outputs[k]);
    }
    for (uint32_t k = 0; k < node->n_inputs; k++) {
        uint64_t bytes = value_bytes(stage, node->inputs[k]);
        bytes = k == 0 && picks(node) && bytes > written ? written : bytes;
        out->bytes += bytes;
        if (node->inputs[k] != LEAT_NO_VALUE && stage->values[node->inputs[k]].data != NULL) {
            out->weight_bytes += bytes;
        }
    }
    out->bytes += written;
}

/* Appends the value's shape to `text` behind `before`; nothing when it does not fit. */
static void add_shape(char *text, size_t capacity, const char *before, const leat_value *value)
{
    char shape[96];
    size_t used = strlen(text);
    lt_shape_text(value->rank, value->shape, shape, sizeof(shape));
    size_t bytes = strlen(before) + strlen(shape);
    if (used + bytes < capacity) {
        snprintf(text + used, capacity - used, "%s%s", before, shape);
    }
}

/* NULL without memory. */
static const char *shapes_text(leat_session *session, const lt_stage *stage, const leat_node *node)
{
    char text[256] = "";
    for (uint32_t k = 0; k < node->n_inputs; k++) {
        const leat_value *v =
            node->inputs[k] == LEAT_NO_VALUE ? NULL : &stage->values[node->inputs[k]];
        if (v != NULL && v->rank >= 2) {
            add_shape(text, sizeof(text), text[0] ? ", " : "", v);
        }
    }
    if (node->n_outputs != 0 && node->outputs[0] != LEAT_NO_VALUE &&
        stage->values[node->outputs[0]].rank >= 0) {
        add_shape(text, sizeof(text), text[0] ? " -> " : "-> ", &stage->values[node->outputs[0]]);
    }
    return lt_arena_string(&session->report_arena, text);
}

/* "f32 -> bf16", or "f32" where that is both or the only one. NULL without memory. */
static const char *types_text(leat_session *session, const lt_stage *stage, const leat_node *node)
{
    uint32_t in = node->n_inputs ? node->inputs[0] : LEAT_NO_VALUE;
    uint32_t out = node->n_outputs ? node->outputs[0] : LEAT_NO_VALUE;
    const char *from = in == LEAT_NO_VALUE ? NULL : leat_dtype_name(stage->values[in].dtype);
    const char *to = out == LEAT_NO_VALUE ? NULL : leat_dtype_name(stage->values[out].dtype);
    if (from == NULL || to == NULL || strcmp(from, to) == 0) {
        return to ? to : from ? from : "";
    }
    char text[64];
    snprintf(text, sizeof(text), "%s -> %s", from, to);
    return lt_arena_string(&session->report_arena, text);
}

/* A report being filled for one graph. */
typedef struct filling {
    leat_session *session;
    const lt_frame *frame;
    leat_node_report *nodes; /* per node of the graph */
    bool *known;             /* per node: it is part of the latest plan */
    leat_plan_report *report;
} filling;

/* A copy: the plan may go before the report. NULL without memory. */
static const char *reason_of(leat_session *session, const lt_stage *stage, uint32_t node)
{
    const char *reason = stage->reasons ? stage->reasons[node] : NULL;
    return reason ? lt_arena_string(&session->report_arena, reason) : "the only device asked for";
}

static bool fill_common(const filling *f, const lt_stage *stage, uint32_t index)
{
    const lt_graph *graph = f->frame->body->graph;
    const leat_node *node = graph->nodes[index];
    leat_node_report *out = &f->nodes[index];
    out->name = lt_node_label(graph, node);
    out->op = op_text(f->session, node);
    count_bytes(stage, node, out);
    out->shapes = shapes_text(f->session, stage, node);
    out->types = types_text(f->session, stage, node);
    f->known[index] = true;
    return out->op != NULL && out->shapes != NULL && out->types != NULL;
}

static bool fill_segment(const filling *f, const lt_stage *stage, const lt_segment *segment)
{
    for (uint32_t i = 0; i < segment->n_nodes; i++) {
        uint32_t index = segment->nodes[i];
        leat_node_report *out = &f->nodes[index];
        if (!fill_common(f, stage, index)) {
            return false;
        }
        out->device = f->session->program->devices[segment->device]->info.name;
        out->kernel = lt_executable_kernel(segment->executable, i, &out->flops);
        out->reason = reason_of(f->session, stage, index);
        if (out->reason == NULL) {
            return false;
        }
    }
    return true;
}

static bool fill_on_cpu(const filling *f, const lt_stage *stage, uint32_t index, const char *reason)
{
    leat_node_report *out = &f->nodes[index];
    out->device = lt_device_cpu(f->session->context)->info.name;
    out->kernel = "";
    out->reason = reason;
    return fill_common(f, stage, index);
}

static bool fill_stage(const filling *f, const lt_stage *stage)
{
    leat_plan_report *report = f->report;
    for (uint32_t i = 0; i < stage->n_segments; i++) {
        if (!fill_segment(f, stage, &stage->segments[i])) {
            return false;
        }
    }
    for (uint32_t i = stage->first_node; i < stage->barrier_node; i++) {
        if (stage->evaluated[i] &&
            !fill_on_cpu(f, stage, i,
                         "known from shapes and constants: computed once, when planned")) {
            return false;
        }
    }
    if (stage->at_host) {
        if (!fill_on_cpu(f, stage, stage->barrier_node,
                         "control flow, sequences and optionals are the runtime's own")) {
            return false;
        }
        f->nodes[stage->barrier_node].last_ns = lt_frame_host_time(f->frame, stage->barrier_node);
    }
    for (uint32_t i = 0; i < stage->n_outputs; i++) {
        report->output_bytes += stage->outputs[i].own ? stage->outputs[i].bytes : 0;
    }
    for (const lt_buffer *buffer = stage->buffers; buffer != NULL; buffer = buffer->next) {
        report->workspace_bytes += buffer->bytes;
    }
    return true;
}

/* Times of all plans: iterations of a loop may use several. */
static void add_times(const filling *f, const lt_stage *stage)
{
    for (; stage != NULL; stage = stage->next) {
        for (uint32_t s = 0; s < stage->n_segments; s++) {
            const lt_segment *segment = &stage->segments[s];
            for (uint32_t i = 0; segment->node_ns != NULL && i < segment->n_nodes; i++) {
                f->nodes[segment->nodes[i]].last_ns += segment->node_ns[i];
            }
        }
        add_times(f, stage->children);
    }
}

/* Adds the nodes of a graph that has run, each followed by those of its bodies. Nodes that nobody
 * needs are not listed. */
static bool fill_frame(leat_session *session, const lt_frame *frame, leat_node_report *all,
                       leat_plan_report *report)
{
    const lt_body *body = frame->body;
    lt_arena *arena = &session->report_arena;
    filling f = {.session = session, .frame = frame, .report = report};
    f.nodes = lt_arena_array(arena, body->graph->n_nodes + 1u, sizeof(*f.nodes));
    f.known = lt_arena_array(arena, body->graph->n_nodes + 1u, sizeof(*f.known));
    if (f.nodes == NULL || f.known == NULL) {
        return false;
    }
    for (const lt_stage *stage = frame->last; stage != NULL; stage = stage->parent) {
        if (!fill_stage(&f, stage)) {
            return false;
        }
    }
    add_times(&f, frame->plans);
    for (uint32_t i = 0; i < body->graph->n_nodes; i++) {
        if (!f.known[i]) {
            continue;
        }
        all[report->n_nodes++] = f.nodes[i];
        for (uint32_t k = 0; body->hosts[i] != NULL && k < 2; k++) {
            const lt_body *inner = body->hosts[i]->bodies[k];
            if (inner != NULL &&
                !fill_frame(session, &session->runner.frames[inner->index], all, report)) {
                return false;
            }
        }
    }
    return true;
}

static leat_status fill(leat_session *session, leat_plan_report *report, leat_error *err)
{
    const lt_program *program = session->program;
    size_t n_nodes = 0;
    for (uint32_t b = 0; b < program->n_bodies; b++) {
        n_nodes += program->bodies[b].graph->n_nodes;
    }
    leat_node_report *nodes = lt_arena_array(&session->report_arena, n_nodes + 1, sizeof(*nodes));
    if (nodes == NULL || !fill_frame(session, lt_session_frame(session), nodes, report)) {
        return no_memory(err);
    }
    report->nodes = nodes;
    for (size_t d = 0; d < program->n_devices; d++) {
        report->workspace_bytes += session->runner.workspace_bytes[d];
        report->weight_bytes += lt_weights_bytes(program->weights[d]);
    }
    for (const lt_stage *plan = lt_session_frame(session)->plans; plan; plan = plan->next) {
        report->n_plans++;
    }
    const uint64_t *phases = session->runner.phases;
    report->h2d_ns = phases[LT_PHASE_H2D];
    report->enqueue_ns = phases[LT_PHASE_ENQUEUE];
    report->compute_ns = phases[LT_PHASE_COMPUTE];
    report->d2h_ns = phases[LT_PHASE_D2H];
    return LEAT_OK;
}

leat_status leat_session_report(leat_session *session, leat_plan_report *out_report,
                                leat_error *err)
{
    if (session == NULL || out_report == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_session_report: an argument is NULL");
    }
    if (out_report->struct_size != sizeof(*out_report)) {
        return lt_fail(err, LEAT_INVALID,
                       "leat_plan_report.struct_size is %zu: set it to sizeof(leat_plan_report)",
                       out_report->struct_size);
    }
    memset(out_report, 0, sizeof(*out_report));
    out_report->struct_size = sizeof(*out_report);
    if (!lt_session_hold(session, LT_SESSION_RUNNING)) {
        return lt_fail(err, LEAT_BUSY, "the session runs");
    }
    leat_status status = LEAT_OK;
    if (lt_session_frame(session)->last == NULL) {
        status = lt_fail(err, LEAT_INVALID, "there is no plan to report: run or warm first");
    } else {
        lt_arena_destroy(&session->report_arena);
        status = fill(session, out_report, err);
    }
    lt_session_let_go(session);
    if (status != LEAT_OK) {
        memset(out_report, 0, sizeof(*out_report));
        out_report->struct_size = sizeof(*out_report);
    }
    return status;
}

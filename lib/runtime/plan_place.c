/* SPDX-License-Identifier: Apache-2.0 */
/* Making a stage: which device runs which node. */
#include "base/error.h"
#include "runtime/partition.h"
#include "runtime/plan.h"

#include <string.h>

/* Between two memories, when nothing better is known: a PCIe 4.0 x8 link and one submission. */
#define LINK_NS_PER_BYTE 0.08
#define LINK_LATENCY_NS 10000.0
#define HOST_SWITCH_NS 200.0

typedef struct placer {
    lt_stage *stage;
    const uint32_t *graph_nodes;
    uint32_t n_nodes;
    uint32_t n_devices;
    const bool *refused; /* [graph node * n_devices + device] */
    leat_node *nodes;    /* in a row, for describe */
    const leat_node **pointers;
    bool *supported;
    float *cost_ns;
    double *cut_bytes;
    double *latency_ns, *ns_per_byte, *host_latency_ns, *host_ns_per_byte;
    const char **refusals; /* [node * n_devices + device] */
} placer;

static leat_status no_memory(leat_error *err)
{
    return lt_fail(err, LEAT_NO_MEMORY, "no memory to share nodes out to devices");
}

static leat_status allocate(placer *p, leat_error *err)
{
    lt_arena *arena = &p->stage->arena;
    size_t n = p->n_nodes, d = p->n_devices;
    p->nodes = lt_arena_array(arena, n, sizeof(*p->nodes));
    p->pointers = lt_arena_array(arena, n, sizeof(*p->pointers));
    p->supported = lt_arena_array(arena, n * d, sizeof(bool));
    p->cost_ns = lt_arena_array(arena, n * d, sizeof(float));
    p->refusals = lt_arena_array(arena, n * d, sizeof(*p->refusals));
    p->cut_bytes = lt_arena_array(arena, n + 1, sizeof(double));
    double *links = lt_arena_array(arena, 2 * d * d + 2 * d, sizeof(double));
    if (p->nodes == NULL || p->pointers == NULL || p->supported == NULL || p->cost_ns == NULL ||
        p->refusals == NULL || p->cut_bytes == NULL || links == NULL) {
        return no_memory(err);
    }
    p->latency_ns = links;
    p->ns_per_byte = links + d * d;
    p->host_latency_ns = links + 2 * d * d;
    p->host_ns_per_byte = p->host_latency_ns + d;
    return LEAT_OK;
}

static void fill_links(placer *p)
{
    const lt_program *program = p->stage->program;
    for (uint32_t a = 0; a < p->n_devices; a++) {
        bool a_is_host = lt_plan_space(program, a) == 0;
        p->host_latency_ns[a] = a_is_host ? 0 : LINK_LATENCY_NS;
        p->host_ns_per_byte[a] = a_is_host ? 0 : LINK_NS_PER_BYTE;
        for (uint32_t b = 0; b < p->n_devices; b++) {
            /* From device to device the data passes through host memory. */
            double links = !a_is_host + (lt_plan_space(program, b) != 0);
            p->latency_ns[a * p->n_devices + b] = links ? links * LINK_LATENCY_NS : HOST_SWITCH_NS;
            p->ns_per_byte[a * p->n_devices + b] = links * LINK_NS_PER_BYTE;
        }
    }
}

/* Bytes of the values that are made before and read after each position. */
static leat_status fill_cuts(placer *p, leat_error *err)
{
    const lt_stage *stage = p->stage;
    const lt_graph *graph = stage->body->graph;
    uint32_t *last = lt_arena_array(&p->stage->arena, graph->n_values + 1u, sizeof(*last));
    bool *seen = lt_arena_array(&p->stage->arena, graph->n_values + 1u, sizeof(*seen));
    if (last == NULL || seen == NULL) {
        return no_memory(err);
    }
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        for (uint32_t k = 0; k < p->nodes[i].n_inputs; k++) {
            if (p->nodes[i].inputs[k] != LEAT_NO_VALUE) {
                last[p->nodes[i].inputs[k]] = i;
            }
        }
    }
    for (uint32_t i = 0; i < graph->n_outputs; i++) {
        last[graph->outputs[i]] = p->n_nodes;
    }
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        for (uint32_t side = 0; side < 2; side++) {
            uint32_t count = side ? p->nodes[i].n_outputs : p->nodes[i].n_inputs;
            const uint32_t *values = side ? p->nodes[i].outputs : p->nodes[i].inputs;
            for (uint32_t k = 0; k < count; k++) {
                uint32_t v = values[k];
                if (v == LEAT_NO_VALUE || seen[v] || stage->values[v].data != NULL) {
                    continue;
                }
                seen[v] = true;
                /* A value seen first as an input comes from before: alive from the start. */
                for (uint32_t at = side ? i + 1 : 0; at <= last[v]; at++) {
                    p->cut_bytes[at] += (double)stage->values[v].bytes;
                }
            }
        }
    }
    return LEAT_OK;
}

static leat_status ask_device(placer *p, uint32_t d, leat_node_support *answers, leat_error *err)
{
    lt_stage *stage = p->stage;
    const lt_program *program = stage->program;
    const lt_graph *graph = stage->body->graph;
    const leat_segment segment = {.n_nodes = p->n_nodes,
                                  .nodes = p->nodes,
                                  .n_values = graph->n_values,
                                  .values = stage->values,
                                  .n_inputs = graph->n_inputs,
                                  .inputs = graph->inputs,
                                  .n_outputs = graph->n_outputs,
                                  .outputs = graph->outputs};
    leat_status status = lt_executor_describe(program->devices[d], &segment, answers, err);
    for (uint32_t i = 0; i < p->n_nodes && status == LEAT_OK; i++) {
        size_t at = (size_t)i * p->n_devices + d;
        uint32_t node = p->graph_nodes[i];
        bool refused = p->refused[(size_t)node * p->n_devices + d];
        p->supported[at] =
            answers[i].supported && !refused && lt_body_may_run(stage->body, d, node);
        p->cost_ns[at] = answers[i].cost_ns;
        if (!p->supported[at]) {
            const char *why = refused ? "refused when it was compiled" : answers[i].reason;
            p->refusals[at] = lt_arena_string_n(&stage->arena, why, strnlen(why, 115));
            status = p->refusals[at] ? LEAT_OK : no_memory(err);
        }
    }
    return status;
}

static leat_status ask_devices(placer *p, leat_error *err)
{
    leat_node_support *answers = lt_arena_array(&p->stage->arena, p->n_nodes, sizeof(*answers));
    if (answers == NULL) {
        return no_memory(err);
    }
    leat_status status = LEAT_OK;
    for (uint32_t d = 0; d < p->n_devices && status == LEAT_OK; d++) {
        status = ask_device(p, d, answers, err);
    }
    return status;
}

static void note_reasons(placer *p, const uint32_t *device)
{
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        const char **refusals = &p->refusals[(size_t)i * p->n_devices];
        const char *reason = refusals[0] ? refusals[0] : "the first device asked for";
        if (device[i] != 0 && refusals[0] == NULL) {
            reason = "cheaper here, moving the data counted";
        }
        p->stage->reasons[p->graph_nodes[i]] = reason;
    }
}

static leat_status assign(placer *p, uint32_t *device, leat_error *err)
{
    const lt_partition_problem problem = {
        .n_nodes = p->n_nodes,
        .n_devices = p->n_devices,
        .supported = p->supported,
        .cost_ns = p->cost_ns,
        .cut_bytes = p->cut_bytes,
        .latency_ns = p->latency_ns,
        .ns_per_byte = p->ns_per_byte,
        .host_latency_ns = p->host_latency_ns,
        .host_ns_per_byte = p->host_ns_per_byte,
    };
    uint32_t culprit = 0;
    leat_status status = lt_partition_assign(&problem, &p->stage->arena, device, &culprit, err);
    if (status == LEAT_UNSUPPORTED) {
        const char *reason = p->refusals[(size_t)culprit * p->n_devices];
        return lt_fail(err, status, "node '%s' (%s): %s",
                       lt_node_label(p->stage->body->graph, p->pointers[culprit]),
                       p->pointers[culprit]->op, reason ? reason : "no device supports it");
    }
    if (status == LEAT_OK) {
        note_reasons(p, device);
    }
    return status;
}

/* One device: one part, and nothing to ask. */
static leat_status place_all(lt_stage *stage, const uint32_t *nodes, uint32_t n_nodes,
                             lt_placement *out, leat_error *err)
{
    out->parts = lt_arena_array(&stage->arena, 1, sizeof(*out->parts));
    out->nodes = lt_arena_copy(&stage->arena, nodes, n_nodes * sizeof(*nodes));
    if (out->parts == NULL || out->nodes == NULL) {
        return no_memory(err);
    }
    out->n_nodes = n_nodes;
    out->n_parts = n_nodes ? 1 : 0;
    out->parts[0] = (lt_part){0, 0, n_nodes};
    return LEAT_OK;
}

static leat_status place_several(placer *p, lt_placement *out, leat_error *err)
{
    lt_arena *arena = &p->stage->arena;
    const lt_graph *graph = p->stage->body->graph;
    uint32_t *device = lt_arena_array(arena, p->n_nodes, sizeof(*device));
    uint32_t *order = lt_arena_array(arena, p->n_nodes, sizeof(*order));
    out->nodes = lt_arena_array(arena, p->n_nodes, sizeof(*out->nodes));
    if (device == NULL || order == NULL || out->nodes == NULL) {
        return no_memory(err);
    }
    leat_status status = allocate(p, err);
    for (uint32_t i = 0; i < p->n_nodes && status == LEAT_OK; i++) {
        p->pointers[i] = graph->nodes[p->graph_nodes[i]];
        p->nodes[i] = *p->pointers[i];
    }
    status = status ? status : fill_cuts(p, err);
    status = status ? status : ask_devices(p, err);
    if (status != LEAT_OK) {
        return status;
    }
    fill_links(p);
    status = assign(p, device, err);
    if (status == LEAT_OK) {
        status = lt_partition_group(p->pointers, p->n_nodes, device, graph->n_values, arena, order,
                                    &out->parts, &out->n_parts, err);
    }
    for (uint32_t i = 0; i < p->n_nodes && status == LEAT_OK; i++) {
        out->nodes[i] = p->graph_nodes[order[i]];
    }
    out->n_nodes = p->n_nodes;
    return status;
}

leat_status lt_plan_place(lt_stage *stage, const uint32_t *nodes, uint32_t n_nodes,
                          const bool *refused, lt_placement *out_placement, leat_error *err)
{
    memset(out_placement, 0, sizeof(*out_placement));
    if (stage->program->n_devices == 1 || n_nodes == 0) {
        return place_all(stage, nodes, n_nodes, out_placement, err);
    }
    stage->reasons =
        lt_arena_array(&stage->arena, stage->body->graph->n_nodes + 1u, sizeof(*stage->reasons));
    if (stage->reasons == NULL) {
        return no_memory(err);
    }
    placer p = {.stage = stage,
                .graph_nodes = nodes,
                .n_nodes = n_nodes,
                .n_devices = (uint32_t)stage->program->n_devices,
                .refused = refused};
    return place_several(&p, out_placement, err);
}

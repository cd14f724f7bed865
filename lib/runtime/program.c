/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/program.h"

#include "base/error.h"
#include "graph/infer.h"
#include "passes/passes.h"
#include "runtime/evaluate.h"
#include "runtime/executor.h"
#include "runtime/host_node.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------
 * What the passes ask
 * --------------------------------------------------------------------------------------------- */

/* Packed bytes after which the pages of the model's file are given back. */
#define RELEASE_STEP (32u << 20)

static void release_pages(void *model)
{
    lt_model_release_pages(model);
}

static leat_status evaluate(void *user, const leat_node *node, const leat_value *values,
                            void *const *out, leat_error *err)
{
    const lt_program *program = user;
    return lt_evaluate_node(program->model->context, node, values, out, err);
}

/* Asks a device about one node. */
static bool ask(lt_device *device, const lt_graph *graph, const leat_node *node,
                leat_layout *out_layout, leat_error *err)
{
    if (device->backend->rows != NULL) {
        const leat_kernel_node kernel_node = {node, graph->values};
        const leat_op_row *row = lt_device_row(device, &kernel_node, err);
        *out_layout = row ? row->layout : LEAT_LAYOUT_ANY;
        return row != NULL;
    }
    const leat_segment segment = {.n_nodes = 1,
                                  .nodes = node,
                                  .n_values = graph->n_values,
                                  .values = graph->values,
                                  .n_inputs = node->n_inputs,
                                  .inputs = node->inputs,
                                  .n_outputs = node->n_outputs,
                                  .outputs = node->outputs};
    leat_node_support answer;
    if (lt_executor_describe(device, &segment, &answer, err) != LEAT_OK) {
        return false;
    }
    *out_layout = answer.layout;
    if (!answer.supported) {
        lt_fail(err, LEAT_UNSUPPORTED, "%s: %.*s", device->info.name,
                (int)sizeof(answer.reason) - 1, answer.reason);
    }
    return answer.supported != 0;
}

static bool may_run(const lt_program *program, size_t d)
{
    return d < program->n_wanted || program->desc.fallback == LEAT_FALLBACK_CPU;
}

/* The first device that runs the node; n_devices when none does. */
static size_t first_device(const lt_program *program, const lt_graph *graph, const leat_node *node,
                           leat_layout *out_layout)
{
    size_t d = 0;
    while (d < program->n_devices &&
           !(may_run(program, d) && ask(program->devices[d], graph, node, out_layout, NULL))) {
        d++;
    }
    return d;
}

/* A node of the domain leat must suit the device that would run its standard form: a fusion must
 * not move work to a device that is preferred less. */
static bool supports(void *user, const lt_graph *graph, const leat_node *node,
                     leat_layout *out_layout)
{
    const lt_program *program = user;
    if (strcmp(node->domain, "leat") == 0) {
        leat_node plain = *node;
        plain.domain = "";
        plain.n_inputs -= leat_node_int(node, "residual", 0) != 0 && plain.n_inputs > 0;
        leat_layout ignored;
        size_t d = first_device(program, graph, &plain, &ignored);
        if (d != program->n_devices) {
            return ask(program->devices[d], graph, node, out_layout, NULL);
        }
    }
    return first_device(program, graph, node, out_layout) != program->n_devices;
}

/* ------------------------------------------------------------------------------------------------
 * Making a program
 * --------------------------------------------------------------------------------------------- */

static leat_status no_memory(leat_error *err)
{
    return lt_fail(err, LEAT_NO_MEMORY, "no memory to prepare the model");
}

static int by_address(const void *a, const void *b)
{
    uintptr_t left = (uintptr_t) * (const void *const *)a;
    uintptr_t right = (uintptr_t) * (const void *const *)b;
    return left < right ? -1 : left > right;
}

static leat_status list_constants(lt_program *program, leat_error *err)
{
    size_t n_values = 0;
    for (uint32_t b = 0; b < program->n_bodies; b++) {
        n_values += program->bodies[b].graph->n_values;
    }
    program->constants =
        lt_arena_array(lt_graph_arena(program->graph), n_values + 1, sizeof(*program->constants));
    if (program->constants == NULL) {
        return no_memory(err);
    }
    for (uint32_t b = 0; b < program->n_bodies; b++) {
        const lt_graph *graph = program->bodies[b].graph;
        for (uint32_t v = 0; v < graph->n_values; v++) {
            if (graph->values[v].data != NULL) {
                program->constants[program->n_constants++] = graph->values[v].data;
                program->constant_bytes += graph->values[v].bytes;
            }
        }
    }
    qsort(program->constants, program->n_constants, sizeof(*program->constants), by_address);
    for (size_t d = 0; d < program->n_devices; d++) {
        leat_status status = lt_weights_create(program->devices[d], program->constants,
                                               program->n_constants, &program->weights[d], err);
        if (status != LEAT_OK) {
            return status;
        }
        lt_weights_expect(program->weights[d], program->constant_bytes);
        lt_weights_on_growth(program->weights[d], RELEASE_STEP, release_pages, program->model);
    }
    return LEAT_OK;
}

static bool inputs_are_shapes(const lt_graph *graph, const leat_node *node, const bool *known)
{
    for (uint32_t k = 0; k < node->n_inputs; k++) {
        uint32_t v = node->inputs[k];
        if (v != LEAT_NO_VALUE && graph->values[v].data == NULL && !known[v]) {
            return false;
        }
    }
    return true;
}

/* Marks nodes whose results follow from shapes and constants. */
static leat_status find_shape_nodes(lt_body *body, leat_error *err)
{
    lt_graph *graph = body->graph;
    lt_arena *arena = lt_graph_arena(graph);
    body->is_shape = lt_arena_array(arena, graph->n_nodes + 1u, sizeof(bool));
    bool *known = lt_arena_array(arena, graph->n_values + 1u, sizeof(bool));
    if (body->is_shape == NULL || known == NULL) {
        return no_memory(err);
    }
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        const leat_node *node = graph->nodes[i];
        body->is_shape[i] = lt_evaluate_is_shape(node) ||
                            (lt_evaluate_is_pure(node) && inputs_are_shapes(graph, node, known));
        for (uint32_t k = 0; k < node->n_outputs && body->is_shape[i]; k++) {
            if (node->outputs[k] != LEAT_NO_VALUE) {
                known[node->outputs[k]] = true;
            }
        }
    }
    return LEAT_OK;
}

/* Every node must have a device that supports it, or be one of the runtime's own. Where the type of
 * the first input shows only in a run, so does the answer. */
static leat_status check_support(const lt_body *body, leat_error *err)
{
    const lt_program *program = body->program;
    const lt_graph *graph = body->graph;
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        const leat_node *node = graph->nodes[i];
        bool supported = lt_evaluate_is_shape(node) || body->hosts[i] != NULL ||
                         lt_host_type_is_open(graph, node);
        leat_error reason = {0}; /* that of the device preferred most */
        for (size_t d = 0; d < program->n_devices && !supported; d++) {
            leat_layout layout;
            supported =
                lt_body_may_run(body, d, i) &&
                ask(program->devices[d], graph, node, &layout, reason.message[0] ? NULL : &reason);
        }
        if (!supported) {
            return lt_fail(err, LEAT_UNSUPPORTED, "node '%s' (%s): %s", lt_node_label(graph, node),
                           node->op, reason.message);
        }
    }
    return LEAT_OK;
}

/* ------------------------------------------------------------------------------------------------
 * Bodies
 * --------------------------------------------------------------------------------------------- */

static size_t count_bodies(const lt_graph *graph)
{
    size_t count = 1;
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        for (uint32_t a = 0; a < graph->nodes[i]->n_attrs; a++) {
            const leat_attr *attr = &graph->nodes[i]->attrs[a];
            count += attr->type == LEAT_ATTR_GRAPH ? count_bodies(attr->u.graph) : 0;
        }
    }
    return count;
}

/* Captured constants are the body's own by now. */
static void forget_constants(lt_graph *body)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < body->n_captures; i++) {
        if (body->values[body->captures[i].inner].data == NULL) {
            body->captures[kept++] = body->captures[i];
        }
    }
    body->n_captures = kept;
}

/* What a body captures becomes inputs behind those that its node feeds. */
static leat_status add_body(lt_program *program, lt_body *outer, lt_graph *graph,
                            lt_body **out_body, leat_error *err)
{
    lt_arena *arena = lt_graph_arena(program->graph);
    lt_body *body = &program->bodies[program->n_bodies];
    body->program = program;
    body->index = program->n_bodies++;
    body->outer = outer;
    body->graph = graph;
    forget_constants(graph);
    body->n_formals = graph->n_inputs;
    body->hosts = lt_arena_array(arena, graph->n_nodes + 1u, sizeof(lt_host_node *));
    body->host_nodes = lt_arena_array(arena, graph->n_nodes + 1u, sizeof(uint32_t));
    body->ops = lt_arena_array(arena, graph->n_nodes + 1u, sizeof(lt_op *));
    uint32_t *inputs =
        lt_arena_array(arena, (size_t)graph->n_inputs + graph->n_captures + 1, sizeof(*inputs));
    if (inputs == NULL || body->hosts == NULL || body->host_nodes == NULL || body->ops == NULL) {
        return no_memory(err);
    }
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        const leat_node *node = graph->nodes[i];
        body->ops[i] = lt_op_find(node->domain, node->op, node->opset);
    }
    if (graph->n_inputs != 0) {
        memcpy(inputs, graph->inputs, graph->n_inputs * sizeof(*inputs));
    }
    for (uint32_t i = 0; i < graph->n_captures; i++) {
        inputs[graph->n_inputs + i] = graph->captures[i].inner;
    }
    graph->inputs = inputs;
    graph->n_inputs += graph->n_captures;
    *out_body = body;
    return LEAT_OK;
}

/* The nodes that the runtime carries out itself, and their bodies. */
static leat_status find_hosts(lt_body *body, leat_error *err)
{
    lt_arena *arena = lt_graph_arena(body->graph);
    for (uint32_t i = 0; i < body->graph->n_nodes; i++) {
        const leat_node *node = body->graph->nodes[i];
        const struct lt_host_op *op = lt_host_op_find(node);
        if (!lt_host_may_run(body->graph, node)) {
            continue;
        }
        lt_host_node *host = lt_arena_alloc(arena, sizeof(*host), 16);
        if (host == NULL) {
            return no_memory(err);
        }
        host->op = op;
        for (uint32_t k = 0; k < 2 && op->bodies[k] != NULL; k++) {
            const leat_attr *attr = leat_node_attr(node, op->bodies[k]);
            if (attr == NULL || attr->type != LEAT_ATTR_GRAPH) {
                return lt_fail(err, LEAT_INVALID, "node '%s' (%s) has no graph '%s'",
                               lt_node_label(body->graph, node), node->op, op->bodies[k]);
            }
            leat_status status =
                add_body(body->program, body, (lt_graph *)attr->u.graph, &host->bodies[k], err);
            if (status != LEAT_OK) {
                return status;
            }
        }
        body->hosts[i] = host;
        body->host_nodes[body->n_hosts++] = i;
    }
    return LEAT_OK;
}

static leat_status make_bodies(lt_program *program, leat_error *err)
{
    lt_body *main;
    program->bodies = lt_arena_array(lt_graph_arena(program->graph), count_bodies(program->graph),
                                     sizeof(*program->bodies));
    if (program->bodies == NULL) {
        return no_memory(err);
    }
    leat_status status = add_body(program, NULL, program->graph, &main, err);
    for (uint32_t b = 0; b < program->n_bodies && status == LEAT_OK; b++) { /* it grows */
        lt_body *body = &program->bodies[b];
        status = find_hosts(body, err);
        status = status ? status : find_shape_nodes(body, err);
        status = status ? status : check_support(body, err);
    }
    return status;
}

static leat_status build(lt_program *program, leat_error *err)
{
    leat_status status = lt_graph_clone(program->model->graph, &program->graph, err);
    if (status != LEAT_OK) {
        program->graph = NULL;
        return status;
    }
    const lt_pass_context passes = {.user = program,
                                    .evaluate = evaluate,
                                    .supports = supports,
                                    .options = &program->desc.options};
    bool expanded = false;
    status = lt_pass_expand_contrib(program->graph, &passes, &expanded, err);
    if (status == LEAT_OK && !program->model->no_optimization) {
        status = expanded ? lt_passes_run_load(program->graph, &passes, err) : LEAT_OK;
        status = status ? status : lt_passes_run_device(program->graph, &passes, err);
    }
    status = status ? status : make_bodies(program, err);
    return status ? status : list_constants(program, err);
}

static void destroy(lt_program *program)
{
    for (size_t d = 0; d < program->n_devices; d++) {
        lt_weights_destroy(program->weights[d]);
    }
    if (program->graph != NULL) {
        lt_graph_destroy(program->graph);
    }
    lt_free(&program->model->context->memory, program, sizeof(*program));
}

static leat_status create(leat_model *model, const lt_program_desc *desc, lt_program **out_program,
                          leat_error *err)
{
    *out_program = NULL;
    lt_program *program = lt_alloc_zeroed(&model->context->memory, sizeof(*program), 64);
    if (program == NULL) {
        return no_memory(err);
    }
    program->model = model;
    program->desc = *desc;
    memcpy(program->devices, desc->devices, sizeof(desc->devices));
    program->n_devices = program->n_wanted = desc->n_devices;
    lt_device *cpu = lt_device_cpu(model->context);
    bool has_cpu = false;
    for (size_t d = 0; d < desc->n_devices; d++) {
        has_cpu = has_cpu || desc->devices[d] == cpu;
    }
    if (!has_cpu) {
        program->devices[program->n_devices++] = cpu;
    }
    leat_status status = build(program, err);
    if (status != LEAT_OK) {
        destroy(program);
        return status;
    }
    *out_program = program;
    return LEAT_OK;
}

/* ------------------------------------------------------------------------------------------------
 * Sharing
 * --------------------------------------------------------------------------------------------- */

static bool same_desc(const lt_program_desc *a, const lt_program_desc *b)
{
    return a->n_devices == b->n_devices && a->fallback == b->fallback &&
           memcmp(&a->options, &b->options, sizeof(a->options)) == 0 &&
           memcmp(a->devices, b->devices, a->n_devices * sizeof(a->devices[0])) == 0;
}

leat_status lt_program_acquire(leat_model *model, const lt_program_desc *desc,
                               lt_program **out_program, leat_error *err)
{
    *out_program = NULL;
    leat_status status = LEAT_OK;
    pthread_mutex_lock(&model->lock); /* held while one is made, so that it is made once */
    lt_program *program = model->programs;
    while (program != NULL && !same_desc(&program->desc, desc)) {
        program = program->next;
    }
    if (program == NULL) {
        status = create(model, desc, &program, err);
        if (status == LEAT_OK) {
            program->next = model->programs;
            model->programs = program;
        }
    }
    if (program != NULL) {
        program->n_users++;
    }
    pthread_mutex_unlock(&model->lock);
    *out_program = program;
    return status;
}

void lt_program_release(lt_program *program)
{
    if (program == NULL) {
        return;
    }
    leat_model *model = program->model;
    pthread_mutex_lock(&model->lock);
    bool last = --program->n_users == 0;
    if (last) {
        lt_program **link = &model->programs;
        while (*link != program) {
            link = &(*link)->next;
        }
        *link = program->next;
    }
    pthread_mutex_unlock(&model->lock);
    if (last) {
        destroy(program);
    }
}

void lt_program_release_pages(lt_program *program)
{
    uint64_t bytes = 0;
    for (size_t d = 0; d < program->n_devices; d++) {
        bytes += lt_weights_bytes(program->weights[d]);
    }
    if (atomic_exchange(&program->released_bytes, bytes) != bytes) {
        lt_model_release_pages(program->model);
    }
}

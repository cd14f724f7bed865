/* SPDX-License-Identifier: Apache-2.0 */
/* What bodies capture: constants become constants in the body too, so that it can be folded and
 * packed; types and names follow the captured value; what the body does not read (any more) is not
 * captured.
 *
 * A captured constant stays a capture, its data in both graphs: a model that is written has it
 * once, where it was made. */
#include "passes/match.h"

static bool is_body(const leat_attr *attr)
{
    return attr->type == LEAT_ATTR_GRAPH;
}

static void mark(bool *used, const uint32_t *values, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (values[i] != LEAT_NO_VALUE) {
            used[values[i]] = true;
        }
    }
}

/* Drops captures that nothing in the body reads. */
static leat_status drop_unread(lt_graph *body, lt_arena *scratch, bool *out_changed,
                               leat_error *err)
{
    uint32_t kept = 0;
    bool *used = lt_arena_array(scratch, body->n_values + 1u, sizeof(*used));
    if (used == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "captures: out of memory");
    }
    mark(used, body->outputs, body->n_outputs);
    for (uint32_t i = 0; i < body->n_nodes; i++) {
        const leat_node *node = body->nodes[i];
        mark(used, node->inputs, node->n_inputs);
        for (uint32_t a = 0; a < node->n_attrs; a++) {
            const lt_graph *inner = is_body(&node->attrs[a]) ? node->attrs[a].u.graph : NULL;
            for (uint32_t c = 0; inner != NULL && c < inner->n_captures; c++) {
                used[inner->captures[c].outer] = true;
            }
        }
    }
    for (uint32_t c = 0; c < body->n_captures; c++) {
        if (used[body->captures[c].inner]) {
            body->captures[kept++] = body->captures[c];
        }
    }
    *out_changed |= kept != body->n_captures;
    body->n_captures = kept;
    return LEAT_OK;
}

static void take_over(const lt_graph *graph, lt_graph *body, bool *out_changed)
{
    for (uint32_t c = 0; c < body->n_captures; c++) {
        const leat_value *outer = &graph->values[body->captures[c].outer];
        leat_value *inner = &body->values[body->captures[c].inner];
        inner->name = outer->name;
        if (outer->data != NULL && inner->data == NULL) {
            *inner = *outer;
            *out_changed = true;
        }
    }
}

/* Outer graphs first, so that constants come all the way in at once. */
static leat_status run(lt_graph *graph, const lt_pass_context *context, lt_arena *scratch,
                       bool *out_changed, leat_error *err)
{
    leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < graph->n_nodes && status == LEAT_OK; i++) {
        const leat_node *node = graph->nodes[i];
        for (uint32_t a = 0; a < node->n_attrs && status == LEAT_OK; a++) {
            if (!is_body(&node->attrs[a])) {
                continue;
            }
            lt_graph *body = (lt_graph *)node->attrs[a].u.graph;
            take_over(graph, body, out_changed);
            status = run(body, context, scratch, out_changed, err);
            status = status ? status : drop_unread(body, scratch, out_changed, err);
        }
    }
    return status;
}

leat_status lt_pass_captures(lt_graph *graph, const lt_pass_context *context, bool *out_changed,
                             leat_error *err)
{
    return lt_run_on_graph(graph, context, run, out_changed, err);
}

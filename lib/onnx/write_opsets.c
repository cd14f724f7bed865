/* SPDX-License-Identifier: Apache-2.0 */
/* Versions of domains in a written model. Nodes of functions, inlined, come with the versions that
 * these import. */
#include "base/error.h"
#include "onnx/writer_internal.h"

#include <string.h>

static const lt_opset *find(const lt_written_opsets *opsets, const char *domain)
{
    for (size_t i = 0; i < opsets->count; i++) {
        if (strcmp(opsets->opsets[i].domain, domain) == 0) {
            return &opsets->opsets[i];
        }
    }
    return NULL;
}

bool lt_write_as_function(const lt_written_opsets *opsets, const leat_node *node)
{
    const lt_opset *opset = find(opsets, node->domain);
    return strcmp(node->domain, "leat") != 0 && opset != NULL && opset->version != node->opset;
}

static leat_status add(lt_written_opsets *out, const char *domain, int64_t version, leat_error *err)
{
    if (find(out, domain) != NULL) {
        return LEAT_OK;
    }
    if (out->count == LT_MOST_WRITTEN_DOMAINS) {
        return lt_fail(err, LEAT_LIMIT, "a model with more than %u domains cannot be written",
                       LT_MOST_WRITTEN_DOMAINS);
    }
    out->opsets[out->count++] = (lt_opset){domain, version};
    return LEAT_OK;
}

static leat_status add_nodes(const lt_graph *graph, lt_written_opsets *out, leat_error *err)
{
    leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < graph->n_nodes && status == LEAT_OK; i++) {
        const leat_node *node = graph->nodes[i];
        bool own = strcmp(node->domain, "leat") == 0;
        if (own || node->opset > 0) { /* 0: of a domain that nothing imports */
            status = add(out, node->domain, own ? 1 : node->opset, err);
        }
        if (status == LEAT_OK && lt_write_as_function(out, node)) {
            status = add(out, LT_FUNCTION_DOMAIN, 1, err);
        }
        for (uint32_t a = 0; a < node->n_attrs && status == LEAT_OK; a++) {
            if (node->attrs[a].type == LEAT_ATTR_GRAPH) {
                status = lt_write_as_function(out, node)
                             ? lt_fail(err, LEAT_UNSUPPORTED,
                                       "node '%s' (%s) has a body and is of another version of its "
                                       "domain than the model: it cannot be written",
                                       lt_node_label(graph, node), node->op)
                             : add_nodes(node->attrs[a].u.graph, out, err);
            }
        }
    }
    return status;
}

leat_status lt_write_opsets(const lt_graph *graph, lt_written_opsets *out, leat_error *err)
{
    leat_status status = LEAT_OK;
    out->count = 0;
    for (size_t i = 0; i < graph->n_opsets && status == LEAT_OK; i++) {
        status = add(out, graph->opsets[i].domain, graph->opsets[i].version, err);
    }
    return status ? status : add_nodes(graph, out, err);
}

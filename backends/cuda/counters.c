/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of recorded products.
 *
 * The blocks of cuBLASLt's kernels for large products take their tiles by a counter in the
 * workspace, which the library sets to zero in front of each kernel. In a graph that costs 4 us a
 * product on an H100: two more hand-overs from one node to the next. Here every product of a graph
 * has a counter of its own, all side by side in memory of the stream, so that one node sets all of
 * them to zero when the graph begins:
 *
 *     a, zero, product, b, zero, product   ->   zero all, a, product, b, product
 */
#include "cuda.h"

/* Bytes between counters: no two in one line of a cache. */
#define STRIDE 256u
#define MOST_COUNTERS 256u
/* Nodes before or after one that sets a counter to zero: in what a stream recorded, one. */
#define MOST_NEIGHBOURS 4u

void lt_cuda_counters_make(lt_cuda_stream *stream)
{
    const size_t bytes = (size_t)MOST_COUNTERS * STRIDE;
    if (stream->device->cu->mem_alloc(&stream->counters, bytes) != 0) {
        stream->counters = 0;
    }
}

void lt_cuda_counters_free(lt_cuda_stream *stream)
{
    if (stream->counters != 0) {
        (void)stream->device->cu->mem_free(stream->counters);
    }
}

void lt_cuda_counters_begin(lt_cuda_stream *stream)
{
    stream->n_counters = 0;
    stream->records = stream->counters != 0;
}

void *lt_cuda_counters_take(lt_cuda_stream *stream, size_t bytes)
{
    if (!stream->records || bytes == 0 || bytes > STRIDE || stream->n_counters == MOST_COUNTERS) {
        return NULL;
    }
    return (void *)(uintptr_t)(stream->counters + (cu_address)STRIDE * stream->n_counters++);
}

/* ---- what was recorded ------------------------------------------------------------------------
 */

/* A graph whose counters are gathered. */
typedef struct gathering {
    const lt_cuda_driver *cu;
    const lt_cuda_stream *stream;
    cu_graph graph;
    cu_graph_node all;               /* which sets all of them to zero; NULL: not yet */
    uint8_t settings[MOST_COUNTERS]; /* nodes that set a counter to zero */
} gathering;

/* The counter that a node sets to zero; MOST_COUNTERS when it does something else. */
static uint32_t counter_of(const gathering *g, cu_graph_node node)
{
    cu_memset_params p = {.value = 1};
    int type = -1;
    if (g->cu->graph_node_get_type(node, &type) != 0 || type != CU_GRAPH_NODE_TYPE_MEMSET ||
        g->cu->graph_memset_node_get_params(node, &p) != 0) {
        return MOST_COUNTERS;
    }
    const cu_address offset = p.target - g->stream->counters; /* huge when before them */
    const bool is_one = p.value == 0 && p.height == 1 && offset % STRIDE == 0 &&
                        p.width * p.element_bytes <= STRIDE &&
                        offset / STRIDE < g->stream->n_counters;
    return is_one ? (uint32_t)(offset / STRIDE) : MOST_COUNTERS;
}

/* Makes the node that sets all counters to zero, before all that begins the graph. */
static cu_result begin_with_all(gathering *g)
{
    cu_graph_node roots[MOST_NEIGHBOURS];
    size_t count = 0;
    const cu_memset_params params = {.target = g->stream->counters,
                                     .element_bytes = 1,
                                     .width = (size_t)STRIDE * g->stream->n_counters,
                                     .height = 1};
    cu_result result = g->cu->graph_get_root_nodes(g->graph, NULL, &count);
    if (result != 0 || count > MOST_NEIGHBOURS) {
        return result ? result : CU_ERROR_INVALID_VALUE;
    }
    result = g->cu->graph_get_root_nodes(g->graph, roots, &count);
    result = result ? result
                    : g->cu->graph_add_memset_node(&g->all, g->graph, NULL, 0, &params,
                                                   g->stream->device->context);
    for (size_t i = 0; i < count && result == 0; i++) {
        result = g->cu->graph_add_dependencies(g->graph, &g->all, &roots[i], 1);
    }
    return result;
}

/* Takes a node out: what came after it comes after what was before it. Nothing is lost where that
 * fails on the way. */
static void take_out(const gathering *g, cu_graph_node node)
{
    cu_graph_node before[MOST_NEIGHBOURS], after[MOST_NEIGHBOURS];
    size_t n_before = 0, n_after = 0;
    cu_result result = g->cu->graph_node_get_dependencies(node, NULL, &n_before);
    result = result ? result : g->cu->graph_node_get_dependents(node, NULL, &n_after);
    if (result != 0 || n_before > MOST_NEIGHBOURS || n_after > MOST_NEIGHBOURS) {
        return;
    }
    result = g->cu->graph_node_get_dependencies(node, before, &n_before);
    result = result ? result : g->cu->graph_node_get_dependents(node, after, &n_after);
    for (size_t i = 0; i < n_before; i++) {
        for (size_t k = 0; k < n_after && result == 0; k++) {
            result = g->cu->graph_add_dependencies(g->graph, &before[i], &after[k], 1);
        }
    }
    if (result == 0) {
        (void)g->cu->graph_destroy_node(node);
    }
}

/* A counter that is set to zero twice is needed twice: it stays as it is. */
static cu_result gather(gathering *g, const cu_graph_node *nodes, size_t count)
{
    cu_result result = 0;
    for (size_t i = 0; i < count; i++) {
        const uint32_t counter = counter_of(g, nodes[i]);
        if (counter < MOST_COUNTERS && g->settings[counter] < 2) {
            g->settings[counter]++;
        }
    }
    for (size_t i = 0; i < count && result == 0; i++) {
        const uint32_t counter = counter_of(g, nodes[i]);
        if (counter < MOST_COUNTERS && g->settings[counter] == 1) {
            result = g->all == NULL ? begin_with_all(g) : 0;
            if (result == 0) {
                take_out(g, nodes[i]);
            }
        }
    }
    return result;
}

cu_result lt_cuda_counters_end(lt_cuda_stream *stream, cu_graph graph)
{
    const leat_host *host = stream->device->host;
    gathering g = {.cu = stream->device->cu, .stream = stream, .graph = graph};
    size_t count = 0;
    stream->records = false;
    if (graph == NULL || stream->n_counters == 0 ||
        g.cu->graph_get_nodes(graph, NULL, &count) != 0 || count == 0) {
        return 0;
    }
    const size_t bytes = count * sizeof(cu_graph_node);
    cu_graph_node *nodes = host->alloc(host->context, bytes, 64);
    if (nodes == NULL) {
        return 0; /* one by one, then */
    }
    cu_result result = g.cu->graph_get_nodes(graph, nodes, &count);
    result = result ? result : gather(&g, nodes, count);
    host->free(host->context, nodes, bytes);
    return result;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/partition.h"

#include "base/error.h"

#include <string.h>

static leat_status no_memory(leat_error *err)
{
    return lt_fail(err, LEAT_NO_MEMORY, "no memory to share nodes out to devices");
}

/* Cost of going on on device `to` before node i when node i - 1 ran on `from`. */
static double move_cost(const lt_partition_problem *p, uint32_t i, uint32_t from, uint32_t to)
{
    uint32_t pair = from * p->n_devices + to;
    return from == to ? 0 : p->latency_ns[pair] + p->cut_bytes[i] * p->ns_per_byte[pair];
}

static double host_cost(const lt_partition_problem *p, uint32_t i, uint32_t device)
{
    return p->host_latency_ns[device] + p->cut_bytes[i] * p->host_ns_per_byte[device];
}

static double total_cost(const lt_partition_problem *p, const uint32_t *device)
{
    double total = host_cost(p, 0, device[0]);
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        total += p->cost_ns[i * p->n_devices + device[i]];
        total += i ? move_cost(p, i, device[i - 1], device[i]) : 0;
    }
    return total + host_cost(p, p->n_nodes, device[p->n_nodes - 1]);
}

static bool costs_known(const lt_partition_problem *p)
{
    for (size_t i = 0; i < (size_t)p->n_nodes * p->n_devices; i++) {
        if (p->supported[i] && !(p->cost_ns[i] > 0)) {
            return false;
        }
    }
    return true;
}

/* Fills best[d] for node i from those of node i - 1, and the device each came from. */
static void advance(const lt_partition_problem *p, uint32_t i, const double *before, double *best,
                    uint8_t *came_from)
{
    for (uint32_t d = 0; d < p->n_devices; d++) {
        best[d] = 1e300;
        if (!p->supported[i * p->n_devices + d]) {
            continue;
        }
        for (uint32_t from = 0; from < p->n_devices; from++) {
            double cost = before[from] + move_cost(p, i, from, d);
            if (cost < best[d]) {
                best[d] = cost;
                came_from[d] = (uint8_t)from;
            }
        }
        best[d] += p->cost_ns[i * p->n_devices + d];
    }
}

/* The cheapest assignment when only the step from one node to the next has a cost. */
static leat_status cheapest(const lt_partition_problem *p, lt_arena *arena, uint32_t *device,
                            leat_error *err)
{
    uint32_t n = p->n_devices;
    double *rows = lt_arena_array(arena, 2 * (size_t)n, sizeof(double));
    uint8_t *came_from = lt_arena_array(arena, (size_t)p->n_nodes * n, 1);
    if (rows == NULL || came_from == NULL) {
        return no_memory(err);
    }
    double *best = rows, *before = rows + n;
    for (uint32_t d = 0; d < n; d++) {
        best[d] = p->supported[d] ? host_cost(p, 0, d) + p->cost_ns[d] : 1e300;
    }
    for (uint32_t i = 1; i < p->n_nodes; i++) {
        double *swap = before;
        before = best;
        best = swap;
        advance(p, i, before, best, came_from + (size_t)i * n);
    }
    uint32_t last = 0;
    for (uint32_t d = 0; d < n; d++) {
        best[d] += host_cost(p, p->n_nodes, d);
        last = best[d] < best[last] ? d : last;
    }
    for (uint32_t i = p->n_nodes; i-- > 0;) {
        device[i] = last;
        last = came_from[(size_t)i * n + last];
    }
    return LEAT_OK;
}

leat_status lt_partition_assign(const lt_partition_problem *p, lt_arena *arena,
                                uint32_t *out_device, uint32_t *out_node, leat_error *err)
{
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        uint32_t d = 0;
        while (d < p->n_devices && !p->supported[i * p->n_devices + d]) {
            d++;
        }
        if (d == p->n_devices) {
            *out_node = i;
            return lt_fail(err, LEAT_UNSUPPORTED, "no device supports the node");
        }
        out_device[i] = d;
    }
    if (p->n_nodes == 0 || p->n_devices == 1 || !costs_known(p)) {
        return LEAT_OK;
    }
    uint32_t *other = lt_arena_array(arena, p->n_nodes, sizeof(*other));
    if (other == NULL) {
        return no_memory(err);
    }
    leat_status status = cheapest(p, arena, other, err);
    if (status == LEAT_OK && total_cost(p, other) < 0.97 * total_cost(p, out_device)) {
        memcpy(out_device, other, p->n_nodes * sizeof(*other));
    }
    return status;
}

/* ------------------------------------------------------------------------------------------------
 * Grouping
 * --------------------------------------------------------------------------------------------- */

typedef struct grouping {
    const leat_node *const *nodes;
    uint32_t n_nodes;
    const uint32_t *device;
    uint32_t *producer; /* per value: position of its node + 1, or 0 */
    bool *done;         /* per node */
} grouping;

static bool is_ready(const grouping *g, uint32_t i)
{
    const leat_node *node = g->nodes[i];
    for (uint32_t k = 0; k < node->n_inputs; k++) {
        uint32_t from = node->inputs[k] == LEAT_NO_VALUE ? 0 : g->producer[node->inputs[k]];
        if (from != 0 && !g->done[from - 1]) {
            return false;
        }
    }
    return true;
}

/* The first node from `low` on that can run now, on `device` if there is one; n_nodes: none. */
static uint32_t first_ready(const grouping *g, uint32_t low, uint32_t device)
{
    uint32_t other = g->n_nodes;
    for (uint32_t i = low; i < g->n_nodes; i++) {
        if (g->done[i] || (g->device[i] != device && other != g->n_nodes) || !is_ready(g, i)) {
            continue;
        }
        if (g->device[i] == device) {
            return i;
        }
        other = i;
    }
    return other;
}

static leat_status cut(const grouping *g, const uint32_t *order, lt_arena *arena,
                       lt_part **out_parts, uint32_t *out_n_parts, leat_error *err)
{
    lt_part *parts = lt_arena_array(arena, g->n_nodes + 1u, sizeof(*parts));
    if (parts == NULL) {
        return no_memory(err);
    }
    uint32_t n_parts = 0;
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        uint32_t device = g->device[order[i]];
        if (n_parts == 0 || parts[n_parts - 1].device != device) {
            parts[n_parts++] = (lt_part){device, i, 0};
        }
        parts[n_parts - 1].count++;
    }
    *out_parts = parts;
    *out_n_parts = n_parts;
    return LEAT_OK;
}

leat_status lt_partition_group(const leat_node *const *nodes, uint32_t n_nodes,
                               const uint32_t *device, uint32_t n_values, lt_arena *arena,
                               uint32_t *order, lt_part **out_parts, uint32_t *out_n_parts,
                               leat_error *err)
{
    grouping g = {.nodes = nodes, .n_nodes = n_nodes, .device = device};
    bool several = false;
    for (uint32_t i = 0; i < n_nodes; i++) {
        order[i] = i;
        several = several || device[i] != device[0];
    }
    if (!several) {
        return cut(&g, order, arena, out_parts, out_n_parts, err);
    }
    g.producer = lt_arena_array(arena, n_values, sizeof(*g.producer));
    g.done = lt_arena_array(arena, n_nodes, sizeof(*g.done));
    if (g.producer == NULL || g.done == NULL) {
        return no_memory(err);
    }
    for (uint32_t i = 0; i < n_nodes; i++) {
        for (uint32_t k = 0; k < nodes[i]->n_outputs; k++) {
            if (nodes[i]->outputs[k] != LEAT_NO_VALUE) {
                g.producer[nodes[i]->outputs[k]] = i + 1;
            }
        }
    }
    uint32_t now = device[0], low = 0;
    for (uint32_t i = 0; i < n_nodes; i++) {
        uint32_t pick = first_ready(&g, low, now);
        if (pick == n_nodes) {
            return lt_fail(err, LEAT_INTERNAL, "the nodes are not in an order of data flow");
        }
        order[i] = pick;
        g.done[pick] = true;
        now = device[pick];
        while (low < n_nodes && g.done[low]) {
            low++;
        }
    }
    return cut(&g, order, arena, out_parts, out_n_parts, err);
}

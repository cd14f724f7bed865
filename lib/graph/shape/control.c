/* SPDX-License-Identifier: Apache-2.0 */
/* If, Loop, Scan, SequenceMap: the values of the bodies, and from them the node's outputs. At load
 * only.
 *
 * What a loop carries may change its shape from one iteration to the next. Its shape is first taken
 * to be that of the initial value; the body is inferred, and where it gives something else the
 * dimension (or the rank) is taken to be unknown, until the body agrees. Each round makes something
 * unknown, so that there are few. */
#include "graph/shape/shape.h"

/* Bodies nested deeper take the shapes of what they carry to be unknown at once: rounds within
 * rounds would take exponential time. */
#define MOST_DEPTH 3

static lt_graph *body_of(const lt_infer *infer, const char *name, leat_error *err)
{
    const leat_attr *attr = leat_node_attr(infer->node, name);
    if (attr == NULL || attr->type != LEAT_ATTR_GRAPH) {
        (void)lt_bad(infer, err, "has no graph '%s'", name);
        return NULL;
    }
    return (lt_graph *)attr->u.graph;
}

static uint32_t depth_of(const lt_graph *graph)
{
    uint32_t depth = 0;
    for (; graph->parent != NULL; graph = graph->parent) {
        depth++;
    }
    return depth;
}

/* Type and shape of one value for another; a type that is not known leaves what is declared. */
static void copy_type(leat_value *to, const leat_value *from)
{
    if (from->dtype == LEAT_DTYPE_UNDEFINED) {
        to->rank = lt_value_is_container(to) ? 1 : -1;
        to->bytes = 0;
        return;
    }
    to->dtype = from->dtype;
    to->rank = from->rank;
    to->bytes = from->bytes;
    memcpy(to->shape, from->shape, sizeof(to->shape));
}

static void take_captures(const lt_infer *infer, lt_graph *body)
{
    for (uint32_t i = 0; i < body->n_captures; i++) {
        leat_value *inner = &body->values[body->captures[i].inner];
        if (inner->data == NULL) {
            copy_type(inner, &infer->values[body->captures[i].outer]);
        }
    }
}

/* Infers the nodes of a body whose inputs have types. What the file declares of values within is
 * not trusted: it may hold for one iteration only. */
static leat_status infer_body(lt_graph *body, leat_error *err)
{
    for (uint32_t i = 0; i < body->n_nodes; i++) {
        const leat_node *node = body->nodes[i];
        for (uint32_t k = 0; k < node->n_outputs; k++) {
            leat_value *v =
                node->outputs[k] == LEAT_NO_VALUE ? NULL : &body->values[node->outputs[k]];
            if (v != NULL && !lt_value_is_container(v)) {
                v->rank = -1;
                v->bytes = 0;
            }
        }
        lt_infer inner = {.graph = body, .values = body->values};
        leat_status status = lt_infer_node(&inner, node, err);
        if (status == LEAT_UNSUPPORTED) {
            lt_error_clear(err); /* whoever runs the model finds out */
        } else if (status != LEAT_OK) {
            return status;
        }
    }
    return LEAT_OK;
}

/* Output i gets the type of a value of a body with `lead` unknown dimensions in front (negative:
 * the first ones dropped). */
static leat_status set_from(lt_infer *infer, uint32_t i, const leat_value *from, int32_t lead,
                            leat_error *err)
{
    int64_t shape[2 * LEAT_MAX_RANK];
    if (i >= infer->node->n_outputs || infer->node->outputs[i] == LEAT_NO_VALUE) {
        return LEAT_OK;
    }
    if (lt_value_is_container(from) || (lead == 0 && from->rank >= 0)) {
        return lt_set_like(infer, i, from->dtype, from, err);
    }
    int32_t rank = from->rank;
    if (rank < 0) {
        return lt_set_unknown(infer, i, from->dtype, err);
    }
    leat_dtype dtype = from->dtype;
    memcpy(shape + lead, from->shape, (size_t)rank * sizeof(*shape));
    for (int32_t d = 0; d < lead; d++) {
        leat_status status = lt_fresh(infer, &shape[d], err);
        if (status != LEAT_OK) {
            return status;
        }
    }
    return lt_set(infer, i, dtype, rank + lead, shape, err);
}

/* --- If -----------------------------------------------------------------------------------------
 */

/* Output i: what both branches agree on. */
static leat_status merge(lt_infer *infer, uint32_t i, const leat_value *a, const leat_value *b,
                         leat_error *err)
{
    if (a->dtype != b->dtype && a->dtype != LEAT_DTYPE_UNDEFINED &&
        b->dtype != LEAT_DTYPE_UNDEFINED) {
        return lt_bad(infer, err, "output %u is %s in one branch and %s in the other", i,
                      leat_dtype_name(a->dtype), leat_dtype_name(b->dtype));
    }
    const leat_value *known = a->dtype != LEAT_DTYPE_UNDEFINED ? a : b;
    if (lt_value_is_container(known)) {
        bool better = a->dtype == b->dtype && lt_element_dtype(a) == LEAT_DTYPE_UNDEFINED;
        return set_from(infer, i, better ? b : known, 0, err);
    }
    if (a->rank < 0 || a->rank != b->rank) {
        leat_value unknown = {.dtype = known->dtype, .rank = -1};
        return set_from(infer, i, &unknown, 0, err);
    }
    leat_value both = *known;
    for (int32_t d = 0; d < both.rank; d++) {
        if (a->shape[d] != b->shape[d]) {
            leat_status status = lt_fresh(infer, &both.shape[d], err);
            if (status != LEAT_OK) {
                return status;
            }
        }
    }
    return set_from(infer, i, &both, 0, err);
}

leat_status lt_infer_if(lt_infer *infer, leat_error *err)
{
    static const char *const names[] = {"then_branch", "else_branch"};
    lt_graph *branches[2];
    for (int b = 0; b < 2; b++) {
        branches[b] = body_of(infer, names[b], err);
        if (branches[b] == NULL) {
            return LEAT_INVALID;
        }
        if (branches[b]->n_inputs != 0 || branches[b]->n_outputs != infer->node->n_outputs) {
            return lt_bad(infer, err, "%s has %u inputs and %u outputs", names[b],
                          branches[b]->n_inputs, branches[b]->n_outputs);
        }
        take_captures(infer, branches[b]);
        leat_status status = infer_body(branches[b], err);
        if (status != LEAT_OK) {
            return status;
        }
    }
    leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < infer->node->n_outputs && status == LEAT_OK; i++) {
        leat_value a = branches[0]->values[branches[0]->outputs[i]];
        leat_value b = branches[1]->values[branches[1]->outputs[i]];
        status = merge(infer, i, &a, &b, err);
    }
    return status;
}

/* --- what loops carry ---------------------------------------------------------------------------
 */

/* Makes what `assumed` (an input of a body) says agree with what the body makes of it; whether
 * something changed. `open` has a bit for each dimension that is unknown already. */
static leat_status widen(lt_graph *body, leat_value *assumed, const leat_value *made,
                         uint32_t *open, bool *out_changed, leat_error *err)
{
    if (lt_value_is_container(assumed)) {
        bool learns = made->dtype == assumed->dtype &&
                      lt_element_dtype(assumed) == LEAT_DTYPE_UNDEFINED &&
                      lt_element_dtype(made) != LEAT_DTYPE_UNDEFINED;
        if (learns) {
            lt_set_element(assumed, lt_element_dtype(made), lt_is_of_sequences(made));
        }
        *out_changed |= learns;
        return LEAT_OK;
    }
    if (assumed->rank >= 0 && made->rank != assumed->rank) {
        assumed->rank = -1;
        assumed->bytes = 0;
        *out_changed = true;
    }
    for (int32_t d = 0; d < assumed->rank; d++) {
        if ((*open >> d & 1) || assumed->shape[d] == made->shape[d]) {
            continue;
        }
        int64_t dim;
        leat_status status = lt_graph_symbol(body, NULL, &dim, err);
        if (status != LEAT_OK) {
            return status;
        }
        assumed->shape[d] = dim;
        assumed->bytes = 0;
        *open |= 1u << d;
        *out_changed = true;
    }
    return LEAT_OK;
}

/* Inputs `first` .. `first` + count of the body become its outputs `first_out` .. */
typedef struct carried {
    uint32_t first, first_out, count;
    uint32_t *open; /* per carried value */
} carried;

static leat_status infer_rounds(lt_graph *body, const carried *c, leat_error *err)
{
    bool changed = true;
    for (uint32_t i = 0; i < c->count && depth_of(body) > MOST_DEPTH; i++) {
        leat_value *v = &body->values[body->inputs[c->first + i]];
        v->rank = lt_value_is_container(v) ? 1 : -1;
        v->bytes = 0;
    }
    while (changed) {
        leat_status status = infer_body(body, err);
        changed = false;
        for (uint32_t i = 0; i < c->count && status == LEAT_OK; i++) {
            leat_value *assumed = &body->values[body->inputs[c->first + i]];
            const leat_value *made = &body->values[body->outputs[c->first_out + i]];
            if (assumed->dtype != made->dtype && assumed->dtype != LEAT_DTYPE_UNDEFINED &&
                assumed->dtype != LEAT_DTYPE_OPTIONAL && made->dtype != LEAT_DTYPE_UNDEFINED) {
                return lt_fail(err, LEAT_INVALID, "'%s' is %s and becomes %s", assumed->name,
                               leat_dtype_name(assumed->dtype), leat_dtype_name(made->dtype));
            }
            status = widen(body, assumed, made, &c->open[i], &changed, err);
        }
        if (status != LEAT_OK) {
            return status;
        }
    }
    return LEAT_OK;
}

static leat_status infer_loop_body(lt_infer *infer, lt_graph *body, const carried *c,
                                   leat_error *err)
{
    carried with = *c;
    lt_arena scratch;
    lt_arena_init(&scratch, lt_graph_arena(body)->memory, 256);
    with.open = lt_arena_array(&scratch, c->count + 1u, sizeof(*with.open));
    leat_status status = with.open ? infer_rounds(body, &with, err)
                                   : lt_fail(err, LEAT_NO_MEMORY, "graph: out of memory");
    for (uint32_t i = 0; i < c->count && status == LEAT_OK; i++) {
        leat_value after = body->values[body->inputs[c->first + i]];
        if (after.dtype == LEAT_DTYPE_OPTIONAL) { /* the runtime wraps up what the body gives */
            after = body->values[body->outputs[c->first_out + i]];
        }
        for (int32_t d = 0; d < after.rank && !lt_value_is_container(&after); d++) {
            if ((with.open[i] >> d & 1) && status == LEAT_OK) { /* of the last iteration */
                status = lt_graph_symbol(body, NULL, &after.shape[d], err);
            }
        }
        status = status ? status : set_from(infer, i, &after, 0, err);
    }
    lt_arena_destroy(&scratch);
    return status;
}

/* A number that the runtime feeds: a scalar, or a vector of one when the body says so. */
static void set_number(leat_value *value, leat_dtype dtype)
{
    bool vector = value->rank == 1;
    value->dtype = dtype;
    value->rank = vector;
    value->shape[0] = 1;
    value->bytes = dtype == LEAT_DTYPE_I64 ? 8 : 1;
}

leat_status lt_infer_loop(lt_infer *infer, leat_error *err)
{
    const leat_node *node = infer->node;
    lt_graph *body = body_of(infer, "body", err);
    carried c = {.first = 2, .first_out = 1, .count = node->n_inputs > 2 ? node->n_inputs - 2 : 0};
    if (body == NULL) {
        return LEAT_INVALID;
    }
    if (node->n_inputs < 2 || body->n_inputs != node->n_inputs || body->n_outputs < c.count + 1 ||
        node->n_outputs > body->n_outputs - 1) {
        return lt_bad(infer, err, "the body has %u inputs and %u outputs for %u carried values",
                      body->n_inputs, body->n_outputs, c.count);
    }
    take_captures(infer, body);
    set_number(&body->values[body->inputs[0]], LEAT_DTYPE_I64);
    set_number(&body->values[body->inputs[1]], LEAT_DTYPE_BOOL);
    for (uint32_t i = 0; i < c.count; i++) {
        const leat_value *initial = lt_in(infer, 2 + i);
        if (initial == NULL) {
            return lt_bad(infer, err, "input %u is missing", 2 + i);
        }
        copy_type(&body->values[body->inputs[2 + i]], initial);
    }
    leat_status status = infer_loop_body(infer, body, &c, err);
    for (uint32_t i = c.count; i + 1 < body->n_outputs && status == LEAT_OK; i++) {
        status = set_from(infer, i, &body->values[body->outputs[1 + i]], 1, err);
    }
    return status;
}

/* --- Scan ---------------------------------------------------------------------------------------
 */

/* A value of the node without the dimension `axis` (and, batched, without the first). */
static void without_axis(leat_value *value, int32_t axis)
{
    value->bytes = 0;
    if (value->rank <= axis || axis < 0) {
        value->rank = -1;
        return;
    }
    memmove(value->shape + axis, value->shape + axis + 1,
            (size_t)(value->rank - 1 - axis) * sizeof(int64_t));
    value->rank--;
}

static int32_t scan_axis(const leat_node *node, uint32_t i, int32_t rank)
{
    size_t count;
    const int64_t *axes = leat_node_ints(node, "scan_input_axes", &count);
    int64_t axis = i < count ? axes[i] : 0;
    axis += axis < 0 ? rank : 0;
    return axis < 0 || axis >= rank ? -1 : (int32_t)axis;
}

/* The body's inputs: states, then slices. */
static leat_status feed_scan(lt_infer *infer, lt_graph *body, uint32_t first, uint32_t n_states,
                             leat_error *err)
{
    for (uint32_t i = 0; i < body->n_inputs; i++) {
        const leat_value *from = lt_in(infer, first + i);
        if (from == NULL) {
            return lt_bad(infer, err, "input %u is missing", first + i);
        }
        leat_value value = *from;
        bool batched = first != 0;
        if (batched) {
            without_axis(&value, 0);
        }
        if (i >= n_states) {
            int32_t axis = batched ? 0 : scan_axis(infer->node, i - n_states, value.rank);
            without_axis(&value, axis);
        }
        copy_type(&body->values[body->inputs[i]], &value);
    }
    return LEAT_OK;
}

/* A stacked output has a dimension more, in a place that an attribute says. */
static leat_status set_stacked(lt_infer *infer, uint32_t i, uint32_t stacked,
                               const leat_value *part, leat_error *err)
{
    size_t count;
    const int64_t *axes = leat_node_ints(infer->node, "scan_output_axes", &count);
    int64_t axis = stacked < count ? axes[stacked] : 0;
    if (axis == 0 || part->rank < 0 || part->rank >= LEAT_MAX_RANK) {
        return set_from(infer, i, part, 1, err);
    }
    leat_value whole = *part;
    axis += axis < 0 ? whole.rank + 1 : 0;
    if (axis < 0 || axis > whole.rank) {
        return lt_bad(infer, err, "scan_output_axes has %lld for rank %d", (long long)axis,
                      whole.rank + 1);
    }
    memmove(whole.shape + axis + 1, whole.shape + axis,
            (size_t)(whole.rank - axis) * sizeof(int64_t));
    whole.rank++;
    leat_status status = lt_fresh(infer, &whole.shape[axis], err);
    return status ? status : set_from(infer, i, &whole, 0, err);
}

leat_status lt_infer_scan(lt_infer *infer, leat_error *err)
{
    const leat_node *node = infer->node;
    lt_graph *body = body_of(infer, "body", err);
    uint32_t first = node->opset < 9 ? 1 : 0;
    int64_t n_slices = leat_node_int(node, "num_scan_inputs", 0);
    if (body == NULL) {
        return LEAT_INVALID;
    }
    if (n_slices < 1 || (uint64_t)n_slices + first > node->n_inputs ||
        body->n_inputs != node->n_inputs - first ||
        body->n_outputs < body->n_inputs - (uint32_t)n_slices ||
        node->n_outputs > body->n_outputs) {
        return lt_bad(infer, err, "the body has %u inputs and %u outputs for %lld sequences",
                      body->n_inputs, body->n_outputs, (long long)n_slices);
    }
    carried c = {.count = body->n_inputs - (uint32_t)n_slices};
    take_captures(infer, body);
    leat_status status = feed_scan(infer, body, first, c.count, err);
    status = status ? status : infer_loop_body(infer, body, &c, err);
    for (uint32_t i = 0; i < body->n_outputs && status == LEAT_OK; i++) {
        const leat_value *part = &body->values[body->outputs[i]];
        if (first != 0) { /* (batch, state) or (batch, length, slice) */
            status = set_from(infer, i, part, i < c.count ? 1 : 2, err);
        } else if (i >= c.count) {
            status = set_stacked(infer, i, i - c.count, part, err);
        }
    }
    return status;
}

/* --- SequenceMap --------------------------------------------------------------------------------
 */

leat_status lt_infer_sequence_map(lt_infer *infer, leat_error *err)
{
    const leat_node *node = infer->node;
    lt_graph *body = body_of(infer, "body", err);
    if (body == NULL) {
        return LEAT_INVALID;
    }
    if (body->n_inputs != node->n_inputs || body->n_outputs != node->n_outputs) {
        return lt_bad(infer, err, "the body has %u inputs and %u outputs", body->n_inputs,
                      body->n_outputs);
    }
    take_captures(infer, body);
    for (uint32_t i = 0; i < node->n_inputs; i++) {
        const leat_value *from = lt_in(infer, i);
        if (from == NULL) {
            return lt_bad(infer, err, "input %u is missing", i);
        }
        leat_value element = *from;
        if (from->dtype == LEAT_DTYPE_SEQUENCE) {
            element = (leat_value){.dtype = lt_element_dtype(from), .rank = -1};
        }
        copy_type(&body->values[body->inputs[i]], &element);
    }
    leat_status status = infer_body(body, err);
    for (uint32_t i = 0; i < node->n_outputs && status == LEAT_OK; i++) {
        leat_value sequence = {.dtype = LEAT_DTYPE_SEQUENCE, .rank = 1};
        status = lt_fresh(infer, &sequence.shape[0], err);
        lt_set_element(&sequence, body->values[body->outputs[i]].dtype, false);
        status = status ? status : set_from(infer, i, &sequence, 0, err);
    }
    return status;
}

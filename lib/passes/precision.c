/* SPDX-License-Identifier: Apache-2.0 */
/* Where the session asks for bf16 or f16: the matrix products and convolutions of an f32 model
 * compute in that type, and what they read is stored in it as far as the nodes on the way allow.
 *
 *     Conv -> MaxPool -> Conv        both values become bf16
 *     MatMul -> Softmax -> MatMul    the products round what they read; both values stay f32
 *     MatMul -> Attention -> MatMul  both values become bf16
 *
 * Nodes come in three kinds. Products (the attributes `compute` and `storage` of domain leat) take
 * their data and give their result in any type, so that no Cast is needed: where an f32 value comes
 * in, the kernel rounds it on the way. On a device whose products want their factors in the narrow
 * type (it refuses an f32 one with `compute`) constants are rounded here once, and a Cast, shared
 * by all products that read the value, rounds the others. Carriers give what they get: data
 * movement, pooling, elementwise functions without a sum over many elements. Attention is both:
 * what it gets are factors of its products. Quantized products give their result in any type; what
 * is quantized while the model runs is rounded there anyway and counts as a factor. All others
 * (normalisations, softmax, reductions, shapes, bodies of control flow) keep f32.
 *
 * Values that carriers tie together share one type. It becomes narrow when nothing holds it at f32
 * (a graph input or output, a node of the third kind) and at least one product reads it as a
 * factor: then its bytes are halved where it counts, and it would have been rounded there anyway. A
 * value that is only added, such as the residual stream of a transformer, stays f32. */
#include "passes/qdq.h"

/* A carrier; bit i of `data`: input i has the output's type. */
typedef struct carrier {
    const char *op;
    uint32_t data;
} carrier;

#define ALL UINT32_MAX
#define QKV (1 | 2 | 4 | 16 | 32) /* and the caches of K and V */

static const carrier carriers[] = {
    {"Add", ALL},         {"AveragePool", 1},
    {"Clip", ALL},        {"Concat", ALL},
    {"DepthToSpace", 1},  {"Expand", 1},
    {"Flatten", 1},       {"Gather", 1},
    {"Gelu", 1},          {"GlobalAveragePool", 1},
    {"GlobalMaxPool", 1}, {"HardSigmoid", 1},
    {"HardSwish", 1},     {"Identity", 1},
    {"LeakyRelu", 1},     {"Max", ALL},
    {"MaxPool", 1},       {"Min", ALL},
    {"Mul", ALL},         {"Pad", 1 | 4},
    {"Relu", 1},          {"Reshape", 1},
    {"Resize", 1},        {"Sigmoid", 1},
    {"Slice", 1},         {"SpaceToDepth", 1},
    {"Split", 1},         {"Squeeze", 1},
    {"Sub", ALL},         {"Swish", 1},
    {"Tanh", 1},          {"Tile", 1},
    {"Transpose", 1},     {"Unsqueeze", 1},
};

typedef enum role {
    NO_PRODUCT = 0,
    PRODUCT_OF_ANY,   /* the device takes f32 factors, too */
    PRODUCT_OF_NARROW /* factors must be of the narrow type */
} role;

typedef struct plan {
    lt_graph *graph;
    const lt_pass_context *context;
    lt_arena *scratch;
    leat_dtype narrow;
    uint32_t n_values;    /* before constants are added */
    uint32_t *tied;       /* per value: another of its group, or itself */
    bool *fixed, *factor; /* per value, valid for the group's root */
    role *roles;          /* per node */
    uint32_t *copies;     /* per value: its narrow copy; LEAT_NO_VALUE: not made yet */
} plan;

static leat_status no_memory(leat_error *err)
{
    return lt_fail(err, LEAT_NO_MEMORY, "precision: out of memory");
}

/* --- groups of values ---------------------------------------------------------------------------
 */

static uint32_t root_of(const plan *p, uint32_t v)
{
    while (p->tied[v] != v) {
        v = p->tied[v] = p->tied[p->tied[v]];
    }
    return v;
}

static void tie(const plan *p, uint32_t a, uint32_t b)
{
    a = root_of(p, a);
    b = root_of(p, b);
    p->tied[a] = b;
    p->fixed[b] |= p->fixed[a];
    p->factor[b] |= p->factor[a];
}

static bool is_narrow(const plan *p, uint32_t v)
{
    uint32_t root = root_of(p, v);
    return !p->fixed[root] && p->factor[root];
}

/* Whether the value could change its type at all. */
static bool is_free(const plan *p, uint32_t v)
{
    return v != LEAT_NO_VALUE && p->graph->values[v].data == NULL &&
           p->graph->values[v].dtype == LEAT_DTYPE_F32;
}

/* --- nodes --------------------------------------------------------------------------------------
 */

static bool is_constant_f32(const plan *p, uint32_t v)
{
    return v != LEAT_NO_VALUE && p->graph->values[v].data != NULL &&
           p->graph->values[v].dtype == LEAT_DTYPE_F32;
}

/* Whether a device runs the node when its data and, with `results`, its results are of the narrow
 * type. */
static bool runs_with(const plan *p, const leat_node *node, uint32_t data, bool results)
{
    leat_value *values = p->graph->values;
    leat_layout layout;
    uint32_t n = node->n_inputs + node->n_outputs;
    bool *changed = lt_arena_array(p->scratch, n + 1, sizeof(*changed));
    if (changed == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        bool input = i < node->n_inputs;
        uint32_t v = input ? node->inputs[i] : node->outputs[i - node->n_inputs];
        bool wanted = input ? i < 32 && (data >> i & 1) != 0 : results;
        if (wanted && v != LEAT_NO_VALUE && values[v].dtype == LEAT_DTYPE_F32) {
            values[v].dtype = p->narrow;
            changed[i] = true;
        }
    }
    bool runs = p->context->supports(p->context->user, p->graph, node, &layout);
    for (uint32_t i = 0; i < n; i++) {
        if (changed[i]) {
            values[i < node->n_inputs ? node->inputs[i] : node->outputs[i - node->n_inputs]].dtype =
                LEAT_DTYPE_F32;
        }
    }
    return runs;
}

static bool runs_narrow(const plan *p, const leat_node *node, uint32_t data)
{
    return runs_with(p, node, data, true);
}

/* Whether and how a device computes a product in the narrow type. */
static role role_of(const plan *p, const leat_node *node)
{
    uint32_t x = lt_input_of(node, 0), y = lt_output_of(node, 0);
    bool known = lt_is_op(node, "Conv") || lt_is_op(node, "Gemm") || lt_is_op(node, "MatMul");
    if (!known || node->n_outputs != 1 || x == LEAT_NO_VALUE || y == LEAT_NO_VALUE ||
        p->graph->values[x].dtype != LEAT_DTYPE_F32) {
        return NO_PRODUCT;
    }
    leat_attr *attrs = lt_arena_array(p->scratch, node->n_attrs + 1u, sizeof(*attrs));
    if (attrs == NULL) {
        return NO_PRODUCT;
    }
    if (node->n_attrs != 0) {
        memcpy(attrs, node->attrs, node->n_attrs * sizeof(*attrs));
    }
    attrs[node->n_attrs] = (leat_attr){"compute", LEAT_ATTR_INT, 1, {.i = (int64_t)p->narrow}};
    leat_node probe = *node;
    leat_layout layout;
    probe.domain = "leat";
    probe.attrs = attrs;
    probe.n_attrs = node->n_attrs + 1u;
    if (p->context->supports(p->context->user, p->graph, &probe, &layout)) {
        return runs_narrow(p, &probe, 1) ? PRODUCT_OF_ANY : NO_PRODUCT;
    }
    return runs_narrow(p, &probe, 3) ? PRODUCT_OF_NARROW : NO_PRODUCT;
}

static void add_product(const plan *p, const leat_node *node)
{
    bool residual = leat_node_int(node, "residual", 0) != 0;
    for (uint32_t i = 0; i < node->n_inputs; i++) {
        uint32_t v = node->inputs[i];
        if (is_free(p, v) && i < 2) {
            p->factor[root_of(p, v)] = true;
        } else if (is_free(p, v) && !(residual && i + 1 == node->n_inputs)) {
            p->fixed[root_of(p, v)] = true; /* a bias that is computed */
        }
    }
}

/* A quantized product whose result a device gives in the narrow type, too. */
static bool is_quantized(const plan *p, const leat_node *node)
{
    return strcmp(node->op, "QMatMul") == 0 && lt_qdq_is_open(node) &&
           is_free(p, lt_output_of(node, 0)) && lt_input_of(node, LT_Q_R_SCALE) == LEAT_NO_VALUE &&
           runs_narrow(p, node, 1u << LT_Q_RESIDUAL);
}

/* The residual may have any type, and so may the result. */
static void add_quantized(const plan *p, const leat_node *node)
{
    for (uint32_t i = 0; i < node->n_inputs; i++) {
        if (i != LT_Q_RESIDUAL && node->inputs[i] != LEAT_NO_VALUE) {
            p->fixed[root_of(p, node->inputs[i])] = true;
        }
    }
    p->factor[root_of(p, node->outputs[0])] = true;
}

/* Data that is quantized while the model runs. */
static bool is_quantizing(const plan *p, const leat_node *node)
{
    return (lt_is_op(node, "DynamicQuantizeLinear") || lt_is_op(node, "SmoothQuantize")) &&
           is_free(p, lt_input_of(node, 0)) && runs_with(p, node, 1, false);
}

static void add_quantizing(const plan *p, const leat_node *node)
{
    for (uint32_t i = 1; i < node->n_inputs + node->n_outputs; i++) {
        uint32_t v = i < node->n_inputs ? node->inputs[i] : node->outputs[i - node->n_inputs];
        if (v != LEAT_NO_VALUE) {
            p->fixed[root_of(p, v)] = true;
        }
    }
    p->factor[root_of(p, node->inputs[0])] = true;
}

/* Inputs that have the output's type; 0 for a node that is no carrier. */
static uint32_t carried(const leat_node *node)
{
    if (lt_is_op(node, "Attention")) {
        return QKV;
    }
    if (lt_is_op(node, "PackedAttention")) {
        return 1;
    }
    for (size_t i = 0; i < sizeof(carriers) / sizeof(carriers[0]); i++) {
        if (lt_is_op(node, carriers[i].op)) {
            return carriers[i].data;
        }
    }
    return 0;
}

static void add_carrier(const plan *p, const leat_node *node, uint32_t data)
{
    uint32_t first = LEAT_NO_VALUE;
    for (uint32_t i = 0; i < node->n_inputs + node->n_outputs; i++) {
        bool input = i < node->n_inputs;
        uint32_t v = input ? node->inputs[i] : node->outputs[i - node->n_inputs];
        if (!is_free(p, v)) {
            continue;
        }
        if (input && (i >= 32 || (data >> i & 1) == 0)) {
            p->fixed[root_of(p, v)] = true;
        } else if (first == LEAT_NO_VALUE) {
            first = v;
        } else {
            tie(p, first, v);
        }
    }
}

static void hold(const plan *p, const leat_node *node)
{
    for (uint32_t i = 0; i < node->n_inputs + node->n_outputs; i++) {
        uint32_t v = i < node->n_inputs ? node->inputs[i] : node->outputs[i - node->n_inputs];
        if (v != LEAT_NO_VALUE) {
            p->fixed[root_of(p, v)] = true;
        }
    }
}

/* --- the plan -----------------------------------------------------------------------------------
 */

static leat_status make_plan(plan *p, leat_error *err)
{
    lt_graph *graph = p->graph;
    lt_uses uses;
    leat_status status = lt_uses_build(graph, p->scratch, &uses, err);
    p->n_values = graph->n_values;
    p->tied = lt_arena_array(p->scratch, graph->n_values + 1u, sizeof(*p->tied));
    p->fixed = lt_arena_array(p->scratch, graph->n_values + 1u, sizeof(*p->fixed));
    p->factor = lt_arena_array(p->scratch, graph->n_values + 1u, sizeof(*p->factor));
    p->copies = lt_arena_array(p->scratch, graph->n_values + 1u, sizeof(*p->copies));
    p->roles = lt_arena_array(p->scratch, graph->n_nodes + 1u, sizeof(*p->roles));
    if (status == LEAT_OK && (p->tied == NULL || p->fixed == NULL || p->factor == NULL ||
                              p->copies == NULL || p->roles == NULL)) {
        status = no_memory(err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    for (uint32_t v = 0; v < graph->n_values; v++) {
        p->tied[v] = v;
        p->fixed[v] = !is_free(p, v) || uses.producer[v] == NULL || uses.is_output[v];
        p->copies[v] = LEAT_NO_VALUE;
    }
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        const leat_node *node = graph->nodes[i];
        uint32_t data = carried(node);
        p->roles[i] = role_of(p, node);
        if (p->roles[i] != NO_PRODUCT) {
            add_product(p, node);
        } else if (is_quantized(p, node)) {
            add_quantized(p, node);
        } else if (is_quantizing(p, node)) {
            add_quantizing(p, node);
        } else if (data != 0 && runs_narrow(p, node, data)) {
            add_carrier(p, node, data);
            if (strstr(node->op, "Attention") != NULL && is_free(p, lt_output_of(node, 0))) {
                p->factor[root_of(p, lt_output_of(node, 0))] = true;
            }
        } else {
            hold(p, node);
        }
    }
    return LEAT_OK;
}

/* --- carrying it out ----------------------------------------------------------------------------
 */

/* The narrow copy of an f32 constant. */
static leat_status narrow_constant(plan *p, uint32_t v, uint32_t *out, leat_error *err)
{
    const leat_value from = p->graph->values[v];
    const leat_attr to = {"to", LEAT_ATTR_INT, 1, {.i = (int64_t)p->narrow}};
    const uint32_t first = 0, second = 1;
    const leat_node cast = {.op = "Cast",
                            .domain = "",
                            .name = "",
                            .opset = 13,
                            .n_inputs = 1,
                            .n_outputs = 1,
                            .n_attrs = 1,
                            .inputs = &first,
                            .outputs = &second,
                            .attrs = &to};
    *out = p->copies[v];
    if (*out != LEAT_NO_VALUE) {
        return LEAT_OK;
    }
    leat_value values[2] = {from, from};
    values[1].dtype = p->narrow;
    values[1].data = NULL;
    values[1].bytes = from.bytes / 2;
    leat_array array = {.dtype = p->narrow, .rank = from.rank, .bytes = from.bytes / 2};
    memcpy(array.shape, from.shape, sizeof(array.shape));
    array.data = lt_arena_alloc(lt_graph_arena(p->graph), array.bytes + 1, LT_ALIGNMENT);
    if (array.data == NULL) {
        return no_memory(err);
    }
    void *outputs[1] = {array.data};
    leat_status status = p->context->evaluate(p->context->user, &cast, values, outputs, err);
    if (status == LEAT_OK) {
        status = lt_graph_add_constant(p->graph, NULL, &array, false, &p->copies[v], err);
        *out = p->copies[v];
    }
    return status;
}

/* The value behind a Cast to the narrow type, made before `at`. */
static leat_status narrow_copy(plan *p, uint32_t v, const leat_node *at, uint32_t *out,
                               leat_error *err)
{
    const leat_value from = p->graph->values[v];
    const leat_attr to = {"to", LEAT_ATTR_INT, 1, {.i = (int64_t)p->narrow}};
    *out = p->copies[v];
    if (*out != LEAT_NO_VALUE) {
        return LEAT_OK; /* nodes are visited in order: it lies before this one, too */
    }
    leat_status status = lt_new_value(p->graph, p->narrow, from.rank, from.shape, out, err);
    lt_node_desc desc = {.op = "Cast",
                         .domain = "",
                         .name = "",
                         .inputs = &v,
                         .n_inputs = 1,
                         .outputs = out,
                         .n_outputs = 1,
                         .attrs = &to,
                         .n_attrs = 1};
    if (status == LEAT_OK) {
        status = lt_graph_add_node(p->graph, &desc, lt_position(p->graph, at), NULL, err);
        p->copies[v] = *out;
    }
    return status;
}

/* Both factors in the narrow type. */
static leat_status narrow_factors(plan *p, leat_node *node, leat_error *err)
{
    leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < 2 && status == LEAT_OK; i++) {
        uint32_t v = node->inputs[i], copy;
        if (p->graph->values[v].dtype != LEAT_DTYPE_F32) {
            continue;
        }
        status = is_constant_f32(p, v) ? narrow_constant(p, v, &copy, err)
                                       : narrow_copy(p, v, node, &copy, err);
        if (status == LEAT_OK) {
            lt_node_set_input(node, i, copy);
        }
    }
    return status;
}

static leat_status rewrite_product(plan *p, leat_node *node, role kind, leat_error *err)
{
    leat_status status = kind == PRODUCT_OF_NARROW ? narrow_factors(p, node, err) : LEAT_OK;
    leat_dtype x = p->graph->values[node->inputs[0]].dtype;
    leat_dtype y = p->graph->values[node->outputs[0]].dtype;
    if (status == LEAT_OK) {
        status = lt_node_set_op(p->graph, node, node->op, "leat", err);
    }
    if (status == LEAT_OK) {
        status = lt_node_set_int(p->graph, node, "compute", (int64_t)p->narrow, err);
    }
    return status == LEAT_OK && x != y ? lt_node_set_int(p->graph, node, "storage", (int64_t)y, err)
                                       : status;
}

static leat_status rewrite_carrier(plan *p, leat_node *node, leat_error *err)
{
    uint32_t data = carried(node), y = lt_output_of(node, 0);
    leat_status status = LEAT_OK;
    if (lt_qdq_is_product(node) && p->graph->values[y].dtype == p->narrow) {
        return lt_node_set_int(p->graph, node, "storage", (int64_t)p->narrow, err);
    }
    if (data == 0 || y == LEAT_NO_VALUE || p->graph->values[y].dtype != p->narrow) {
        return LEAT_OK;
    }
    for (uint32_t i = 0; i < node->n_inputs && status == LEAT_OK; i++) {
        uint32_t v = node->inputs[i], copy;
        if (i < 32 && (data >> i & 1) != 0 && is_constant_f32(p, v)) {
            status = narrow_constant(p, v, &copy, err);
            if (status == LEAT_OK) {
                lt_node_set_input(node, i, copy);
            }
        }
    }
    return status;
}

static leat_status run(lt_graph *graph, const lt_pass_context *context, lt_arena *scratch,
                       bool *out_changed, leat_error *err)
{
    plan p = {.graph = graph, .context = context, .scratch = scratch};
    p.narrow = context->options->precision == LEAT_PRECISION_F16 ? LEAT_DTYPE_F16 : LEAT_DTYPE_BF16;
    leat_status status = make_plan(&p, err);
    for (uint32_t v = 0; v < p.n_values && status == LEAT_OK; v++) {
        if (is_narrow(&p, v)) {
            graph->values[v].dtype = p.narrow;
            graph->values[v].bytes /= 2;
        }
    }
    /* The nodes as they are now: Casts made on the way are not to be visited. */
    uint32_t n_nodes = graph->n_nodes;
    leat_node **nodes = lt_arena_array(scratch, n_nodes + 1u, sizeof(*nodes));
    if (status == LEAT_OK && nodes == NULL) {
        status = no_memory(err);
    }
    if (status == LEAT_OK && n_nodes != 0) {
        memcpy(nodes, graph->nodes, n_nodes * sizeof(*nodes));
    }
    for (uint32_t i = 0; i < n_nodes && status == LEAT_OK; i++) {
        bool product = p.roles[i] != NO_PRODUCT;
        status = product ? rewrite_product(&p, nodes[i], p.roles[i], err)
                         : rewrite_carrier(&p, nodes[i], err);
        *out_changed |= product;
    }
    return status;
}

leat_status lt_pass_precision(lt_graph *graph, const lt_pass_context *context, bool *out_changed,
                              leat_error *err)
{
    leat_precision wanted = context->options ? context->options->precision : LEAT_PRECISION_MODEL;
    bool narrow = wanted == LEAT_PRECISION_BF16 || wanted == LEAT_PRECISION_F16;
    return narrow && context->supports != NULL
               ? lt_run_on_graph(graph, context, run, out_changed, err)
               : LEAT_OK;
}

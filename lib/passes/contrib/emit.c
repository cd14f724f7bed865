/* SPDX-License-Identifier: Apache-2.0 */
/* Emitting nodes; see contrib.h. */
#include "passes/contrib/contrib.h"

#include "base/error.h"
#include "passes/inline.h"

#include <math.h>
#include <string.h>

/* --- asking -------------------------------------------------------------------------------------
 */

uint32_t lt_contrib_in(const lt_contrib *c, uint32_t i)
{
    return lt_input_of(c->node, i);
}

bool lt_contrib_wants(const lt_contrib *c, uint32_t output)
{
    return lt_output_of(c->node, output) != LEAT_NO_VALUE;
}

const leat_value *lt_contrib_value(lt_contrib *c, uint32_t value)
{
    static const leat_value unknown = {.name = "", .rank = -1};
    lt_contrib_infer(c);
    return value == LEAT_NO_VALUE ? &unknown : &c->graph->values[value];
}

void lt_contrib_refuse(lt_contrib *c, const char *what)
{
    if (c->status == LEAT_OK) {
        c->status = lt_fail(c->err, LEAT_UNSUPPORTED, "node '%s' (%s%s%s): %s",
                            lt_node_label(c->graph, c->node), c->node->domain,
                            c->node->domain[0] ? "." : "", c->node->op, what);
    }
}

/* --- nodes --------------------------------------------------------------------------------------
 */

void lt_contrib_to(lt_contrib *c, uint32_t output)
{
    c->target = lt_output_of(c->node, output);
}

void lt_contrib_infer(lt_contrib *c)
{
    lt_infer state = {.graph = c->graph, .values = c->graph->values};
    if (c->status == LEAT_OK && c->last != NULL) {
        c->status = lt_infer_node(&state, c->last, c->err);
    }
    c->last = NULL;
}

void lt_emit_outputs(lt_contrib *c, const char *op, const uint32_t *inputs, uint32_t n_inputs,
                     uint32_t *outputs, uint32_t n_outputs)
{
    while (n_inputs > 0 && inputs[n_inputs - 1] == LEAT_NO_VALUE) {
        n_inputs--;
    }
    for (uint32_t i = 0; i < n_outputs; i++) {
        bool given = i == 0 && c->target != LEAT_NO_VALUE;
        outputs[i] = given ? c->target : LEAT_NO_VALUE;
        if (!given && c->status == LEAT_OK) {
            c->status = lt_graph_add_value(c->graph, NULL, &outputs[i], c->err);
        }
    }
    c->target = LEAT_NO_VALUE;
    lt_contrib_infer(c);
    if (c->status != LEAT_OK) {
        return;
    }
    lt_node_desc desc = {.op = op,
                         .domain = "",
                         .name = c->node->name,
                         .inputs = inputs,
                         .n_inputs = n_inputs,
                         .outputs = outputs,
                         .n_outputs = n_outputs};
    c->status = lt_graph_add_node(c->graph, &desc, c->at, &c->last, c->err);
    if (c->status == LEAT_OK) {
        c->last->opset = LT_CONTRIB_OPSET;
        c->at++;
    }
}

uint32_t lt_emit(lt_contrib *c, const char *op, const uint32_t *inputs, uint32_t n_inputs)
{
    uint32_t output;
    lt_emit_outputs(c, op, inputs, n_inputs, &output, 1);
    return output;
}

uint32_t lt_emit1(lt_contrib *c, const char *op, uint32_t a)
{
    return lt_emit(c, op, &a, 1);
}

uint32_t lt_emit2(lt_contrib *c, const char *op, uint32_t a, uint32_t b)
{
    const uint32_t inputs[2] = {a, b};
    return lt_emit(c, op, inputs, 2);
}

uint32_t lt_emit3(lt_contrib *c, const char *op, uint32_t a, uint32_t b, uint32_t d)
{
    const uint32_t inputs[3] = {a, b, d};
    return lt_emit(c, op, inputs, 3);
}

bool lt_emit_own(lt_contrib *c, const char *op, const uint32_t *inputs, uint32_t n_inputs,
                 uint32_t *output)
{
    uint32_t target = c->target;
    leat_layout ignored;
    lt_contrib_infer(c);
    if (c->context->supports == NULL || c->status != LEAT_OK) {
        return false;
    }
    lt_emit_outputs(c, op, inputs, n_inputs, output, 1);
    for (uint32_t i = 0; c->status == LEAT_OK && i < c->node->n_attrs; i++) {
        c->status = lt_node_set_attr(c->graph, c->last, &c->node->attrs[i], c->err);
    }
    if (c->status != LEAT_OK) {
        return false;
    }
    leat_node *made = c->last;
    made->domain = "leat";
    lt_contrib_infer(c);
    if (c->status == LEAT_OK && c->context->supports(c->context->user, c->graph, made, &ignored)) {
        return true;
    }
    lt_graph_remove_node(c->graph, made);
    c->at--;
    c->target = target;
    return false;
}

uint32_t lt_emit_body(lt_contrib *c, const char *name, uint32_t x)
{
    const leat_attr *attr = leat_node_attr(c->node, name);
    const lt_graph *body = attr && attr->type == LEAT_ATTR_GRAPH ? attr->u.graph : NULL;
    uint32_t output = LEAT_NO_VALUE;
    if (attr == NULL) {
        return x;
    }
    lt_contrib_infer(c);
    if (body == NULL || body->n_inputs != 1 || body->n_outputs != 1) {
        lt_contrib_refuse(c, "an attribute that must be a graph of one input and one output");
        return x;
    }
    c->status = c->status ? c->status : lt_graph_add_value(c->graph, NULL, &output, c->err);
    const lt_inline_desc desc = {.graph = c->graph,
                                 .body = body,
                                 .inputs = &x,
                                 .outputs = &output,
                                 .opset = LT_CONTRIB_OPSET,
                                 .at = c->at};
    c->status = c->status ? c->status : lt_inline_body(&desc, c->scratch, &c->at, c->err);
    for (uint32_t i = desc.at; i < c->at && c->status == LEAT_OK; i++) {
        c->last = c->graph->nodes[i];
        lt_contrib_infer(c);
    }
    return output;
}

/* --- attributes ---------------------------------------------------------------------------------
 */

static void with(lt_contrib *c, const leat_attr *attr)
{
    if (c->status == LEAT_OK && c->last == NULL) { /* inferred already: a mistake of the caller */
        c->status = lt_fail(c->err, LEAT_INTERNAL, "attribute '%s' comes too late", attr->name);
    }
    if (c->status == LEAT_OK) {
        c->status = lt_node_set_attr(c->graph, c->last, attr, c->err);
    }
}

void lt_with_int(lt_contrib *c, const char *name, int64_t i)
{
    leat_attr attr = {name, LEAT_ATTR_INT, 1, {.i = i}};
    with(c, &attr);
}

static void with_ints(lt_contrib *c, const char *name, const int64_t *ints, size_t count)
{
    leat_attr attr = {name, LEAT_ATTR_INTS, count, {.ints = ints}};
    with(c, &attr);
}

void lt_with_float(lt_contrib *c, const char *name, float f)
{
    leat_attr attr = {name, LEAT_ATTR_FLOAT, 1, {.f = f}};
    with(c, &attr);
}

void lt_with_text(lt_contrib *c, const char *name, const char *text)
{
    leat_attr attr = {name, LEAT_ATTR_STRING, 1, {.s = {text, strlen(text)}}};
    with(c, &attr);
}

void lt_with_attr(lt_contrib *c, const char *name, const char *as)
{
    const leat_attr *found = leat_node_attr(c->node, name);
    if (found != NULL) {
        leat_attr attr = *found;
        attr.name = as ? as : name;
        with(c, &attr);
    }
}

/* --- constants ----------------------------------------------------------------------------------
 */

uint32_t lt_emit_constant(lt_contrib *c, const leat_array *array)
{
    uint32_t value = LEAT_NO_VALUE;
    if (c->status == LEAT_OK) {
        c->status = lt_graph_add_constant(c->graph, NULL, array, true, &value, c->err);
    }
    return value;
}

uint32_t lt_emit_ints(lt_contrib *c, const int64_t *ints, size_t count)
{
    leat_array array = {LEAT_DTYPE_I64, 1, {(int64_t)count}, (void *)ints, count * sizeof(*ints)};
    return lt_emit_constant(c, &array);
}

uint32_t lt_emit_number(lt_contrib *c, uint32_t like, double number)
{
    float f = (float)number;
    leat_array array = {LEAT_DTYPE_F32, 0, {0}, &f, sizeof(f)};
    leat_dtype dtype = lt_contrib_value(c, like)->dtype;
    if (dtype == LEAT_DTYPE_F64) {
        leat_array wide = {LEAT_DTYPE_F64, 0, {0}, &number, sizeof(number)};
        return lt_emit_constant(c, &wide);
    }
    uint32_t value = lt_emit_constant(c, &array);
    return dtype == LEAT_DTYPE_F32 || dtype == LEAT_DTYPE_UNDEFINED ? value
                                                                    : lt_emit_cast(c, value, dtype);
}

/* --- compositions -------------------------------------------------------------------------------
 */

uint32_t lt_emit_reshape(lt_contrib *c, uint32_t x, const int64_t *shape, size_t rank)
{
    uint32_t target = c->target;
    c->target = LEAT_NO_VALUE;
    uint32_t to = lt_emit_ints(c, shape, rank);
    c->target = target;
    return lt_emit2(c, "Reshape", x, to);
}

uint32_t lt_emit_transpose(lt_contrib *c, uint32_t x, const int64_t *perm, size_t rank)
{
    uint32_t y = lt_emit1(c, "Transpose", x);
    with_ints(c, "perm", perm, rank);
    return y;
}

uint32_t lt_emit_split_heads(lt_contrib *c, uint32_t x, int64_t heads)
{
    static const int64_t perm[4] = {0, 2, 1, 3};
    const int64_t shape[4] = {0, 0, heads, -1};
    return lt_emit_transpose(c, lt_emit_reshape(c, x, shape, 4), perm, 4);
}

uint32_t lt_emit_cast(lt_contrib *c, uint32_t x, leat_dtype dtype)
{
    uint32_t y = lt_emit1(c, "Cast", x);
    lt_with_int(c, "to", (int64_t)dtype);
    return y;
}

uint32_t lt_emit_dim(lt_contrib *c, uint32_t x, int64_t axis)
{
    uint32_t y = lt_emit1(c, "Shape", x);
    lt_with_int(c, "start", axis);
    lt_with_int(c, "end", axis + 1);
    return y;
}

uint32_t lt_emit_add_if(lt_contrib *c, uint32_t x, uint32_t b)
{
    return b == LEAT_NO_VALUE ? x : lt_emit2(c, "Add", x, b);
}

/* Parameter i of the activation: FusedConv lists them, FusedGemm names them. */
static float parameter(const lt_contrib *c, size_t i, const char *name, float otherwise)
{
    const leat_attr *list = leat_node_attr(c->node, "activation_params");
    if (list != NULL && list->type == LEAT_ATTR_FLOATS && i < list->count) {
        return list->u.floats[i];
    }
    return leat_node_float(c->node, name, otherwise);
}

uint32_t lt_emit_activation(lt_contrib *c, uint32_t x)
{
    static const char *const plain[] = {"Relu", "Tanh", "Sigmoid"};
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        if (leat_node_string_is(c->node, "activation", plain[i])) {
            return lt_emit1(c, plain[i], x);
        }
    }
    uint32_t target = c->target, y;
    c->target = LEAT_NO_VALUE;
    if (leat_node_string_is(c->node, "activation", "Clip")) {
        uint32_t low = lt_emit_number(c, x, (double)parameter(c, 0, "activation_min", -INFINITY));
        uint32_t high = lt_emit_number(c, x, (double)parameter(c, 1, "activation_max", INFINITY));
        c->target = target;
        return lt_emit3(c, "Clip", x, low, high);
    }
    c->target = target;
    if (leat_node_string_is(c->node, "activation", "LeakyRelu")) {
        y = lt_emit1(c, "LeakyRelu", x);
        lt_with_float(c, "alpha", parameter(c, 0, "activation_alpha", 0.01f));
        return y;
    }
    if (leat_node_string_is(c->node, "activation", "HardSigmoid")) {
        y = lt_emit1(c, "HardSigmoid", x);
        lt_with_float(c, "alpha", parameter(c, 0, "activation_alpha", 0.2f));
        lt_with_float(c, "beta", parameter(c, 1, "activation_beta", 0.5f));
        return y;
    }
    const leat_attr *attr = leat_node_attr(c->node, "activation");
    if (attr != NULL && attr->type == LEAT_ATTR_STRING && attr->u.s.bytes != 0) {
        lt_contrib_refuse(c, "this activation is not known");
    }
    return lt_emit1(c, "Identity", x);
}

/* One scale for all: a vector of one element counts as a scalar. */
static uint32_t scalar_if_one(lt_contrib *c, uint32_t x)
{
    const leat_value *v = lt_contrib_value(c, x);
    uint32_t target = c->target;
    if (v->rank != 1 || v->shape[0] != 1) {
        return x;
    }
    c->target = LEAT_NO_VALUE;
    uint32_t y = lt_emit_reshape(c, x, NULL, 0);
    c->target = target;
    return y;
}

uint32_t lt_emit_dequantize(lt_contrib *c, uint32_t x, uint32_t scale, uint32_t zero)
{
    return lt_emit3(c, "DequantizeLinear", x, scalar_if_one(c, scale), scalar_if_one(c, zero));
}

uint32_t lt_emit_quantize(lt_contrib *c, uint32_t x, uint32_t scale, uint32_t zero)
{
    return lt_emit3(c, "QuantizeLinear", x, scalar_if_one(c, scale), scalar_if_one(c, zero));
}

void lt_contrib_give(lt_contrib *c, uint32_t output, uint32_t value)
{
    lt_contrib_to(c, output);
    lt_emit1(c, "Identity", value);
}

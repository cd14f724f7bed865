/* SPDX-License-Identifier: Apache-2.0 */
/* GELU and its approximations in the ways exporters spell them:
 *
 *     0.5 x (1 + erf(x / sqrt(2)))                            -> Gelu(x)
 *     0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))       -> Gelu(x, approximate = "tanh")
 *     x sigmoid(c x)                                          -> Swish(x, alpha = c)
 *
 * whatever the order of factors, Div for Mul, x (1 + 0.044715 x^2) for x + 0.044715 x^3. */
#include "passes/monomial.h"

#include <math.h>

/* value = number * x. */
static bool is_multiple(const lt_graph *graph, const lt_uses *uses, uint32_t value, uint32_t x,
                        lt_formula *formula, double *out_number)
{
    lt_monomial m = {.factor = 1};
    if (value != x && (!lt_read_monomial(graph, uses, value, formula, &m) || m.n != 1 ||
                       m.values[0] != x || m.powers[0] != 1)) {
        return false;
    }
    *out_number = m.factor;
    return true;
}

/* value = number * x^power. */
static bool is_power(const lt_graph *graph, const lt_uses *uses, uint32_t value, uint32_t x,
                     int power, double number, lt_formula *formula)
{
    lt_monomial m;
    return lt_read_monomial(graph, uses, value, formula, &m) && m.n == 1 && m.values[0] == x &&
           m.powers[0] == power && lt_about(m.factor, number, graph->values[x].dtype);
}

/* value = x + 0.044715 x^3. */
static bool is_cubic(const lt_graph *graph, const lt_uses *uses, uint32_t value, uint32_t x,
                     lt_formula *formula)
{
    const leat_node *add = lt_read_node(uses, value, "Add", formula);
    for (uint32_t i = 0; add != NULL && i < 2; i++) {
        if (add->inputs[i] == x) {
            return is_power(graph, uses, add->inputs[1 - i], x, 3, 0.044715, formula);
        }
    }
    return false;
}

/* value = sqrt(2 / pi) (x + 0.044715 x^3). */
static bool is_tanh_argument(const lt_graph *graph, const lt_uses *uses, uint32_t value, uint32_t x,
                             lt_formula *formula)
{
    lt_monomial m;
    uint32_t rest;
    double one;
    if (!lt_read_monomial(graph, uses, value, formula, &m) ||
        !lt_about(m.factor, sqrt(2 / 3.14159265358979323846), graph->values[x].dtype)) {
        return false;
    }
    if (m.n == 1 && m.powers[0] == 1) {
        return is_cubic(graph, uses, m.values[0], x, formula);
    }
    if (m.n != 2 || lt_monomial_power(&m, x) != 1) {
        return false;
    }
    uint32_t other = m.values[m.values[0] == x];
    return lt_monomial_power(&m, other) == 1 &&
           lt_read_sum(graph, uses, other, formula, &rest, &one) && one == 1 &&
           is_power(graph, uses, rest, x, 2, 0.044715, formula);
}

/* What a product of x and `gate` is; op NULL when it is nothing known. */
typedef struct gelu {
    const char *op;
    bool by_tanh;
    float alpha;
} gelu;

static gelu read_gate(const lt_graph *graph, const lt_uses *uses, uint32_t x, uint32_t gate,
                      double factor, lt_formula *formula)
{
    gelu none = {NULL, false, 0};
    uint32_t rest;
    double number;
    const leat_node *sigmoid = lt_read_node(uses, gate, "Sigmoid", formula);
    if (sigmoid != NULL) {
        bool good =
            factor == 1 && is_multiple(graph, uses, sigmoid->inputs[0], x, formula, &number);
        return good ? (gelu){"Swish", false, (float)number} : none;
    }
    if (factor != 0.5 || !lt_read_sum(graph, uses, gate, formula, &rest, &number) || number != 1) {
        return none;
    }
    const leat_node *inner = lt_read_node(uses, rest, "Erf", formula);
    if (inner != NULL) {
        bool good = is_multiple(graph, uses, inner->inputs[0], x, formula, &number) &&
                    lt_about(number, sqrt(0.5), graph->values[x].dtype);
        return good ? (gelu){"Gelu", false, 0} : none;
    }
    inner = lt_read_node(uses, rest, "Tanh", formula);
    bool good = inner != NULL && is_tanh_argument(graph, uses, inner->inputs[0], x, formula);
    return good ? (gelu){"Gelu", true, 0} : none;
}

static leat_status fuse(lt_graph *graph, lt_uses *uses, const leat_node *mul, uint32_t x,
                        const gelu *found, const lt_formula *formula, leat_error *err)
{
    leat_attr by_tanh = {"approximate", LEAT_ATTR_STRING, 1, {.s = {"tanh", 4}}};
    leat_attr alpha = {"alpha", LEAT_ATTR_FLOAT, 1, {.f = found->alpha}};
    bool swish = strcmp(found->op, "Swish") == 0;
    lt_node_desc desc = {.op = found->op,
                         .domain = "",
                         .name = mul->name,
                         .inputs = &x,
                         .n_inputs = 1,
                         .outputs = mul->outputs,
                         .n_outputs = 1,
                         .attrs = swish ? &alpha : &by_tanh,
                         .n_attrs = swish || found->by_tanh};
    leat_node *made;
    leat_status status = lt_graph_add_node(graph, &desc, lt_position(graph, mul), &made, err);
    if (status == LEAT_OK) {
        uses->producer[mul->outputs[0]] = made;
        lt_formula_remove(graph, formula);
    }
    return status;
}

/* `mul` is the last multiplication of the formula, since it reads x and the gate once. */
static leat_status try_at(lt_graph *graph, lt_uses *uses, const leat_node *mul, bool *out_changed,
                          leat_error *err)
{
    lt_formula product = {.n_nodes = 0};
    lt_monomial m;
    if ((!lt_is_onnx(mul, "Mul") && !lt_is_onnx(mul, "Div")) ||
        !lt_read_product(graph, uses, mul, &product, &m) || m.n != 2 || m.powers[0] != 1 ||
        m.powers[1] != 1) {
        return LEAT_OK;
    }
    for (uint32_t i = 0; i < 2; i++) {
        lt_formula formula = product;
        gelu found = read_gate(graph, uses, m.values[i], m.values[1 - i], m.factor, &formula);
        if (found.op != NULL && !formula.full &&
            lt_same_shape(graph, m.values[i], mul->outputs[0])) {
            *out_changed = true;
            return fuse(graph, uses, mul, m.values[i], &found, &formula, err);
        }
    }
    return LEAT_OK;
}

static leat_status run(lt_graph *graph, const lt_pass_context *context, lt_arena *scratch,
                       bool *out_changed, leat_error *err)
{
    lt_uses uses;
    leat_status status = lt_uses_build(graph, scratch, &uses, err);
    (void)context;
    /* Backwards: nodes of a formula stand before its last one, so that `i` stays in range. */
    for (uint32_t i = graph->n_nodes; i-- > 0 && status == LEAT_OK;) {
        if (i < graph->n_nodes) {
            status = try_at(graph, &uses, graph->nodes[i], out_changed, err);
        }
    }
    return status;
}

leat_status lt_pass_fuse_gelu(lt_graph *graph, const lt_pass_context *context, bool *out_changed,
                              leat_error *err)
{
    return context->supports ? lt_run_on_graph(graph, context, run, out_changed, err) : LEAT_OK;
}

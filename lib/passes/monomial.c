/* SPDX-License-Identifier: Apache-2.0 */
#include "passes/monomial.h"

#include <math.h>

#define DEEPEST 8

void lt_formula_add(lt_formula *formula, const leat_node *node)
{
    size_t room = sizeof(formula->nodes) / sizeof(formula->nodes[0]);
    for (uint32_t i = 0; i < formula->n_nodes; i++) {
        if (formula->nodes[i] == node) {
            return;
        }
    }
    formula->full |= formula->n_nodes == room;
    if (!formula->full) {
        formula->nodes[formula->n_nodes++] = node;
    }
}

void lt_formula_remove(lt_graph *graph, const lt_formula *formula)
{
    for (uint32_t i = 0; i < formula->n_nodes; i++) {
        lt_graph_remove_node(graph, formula->nodes[i]);
    }
}

bool lt_about(double a, double b, leat_dtype dtype)
{
    double unit = dtype == LEAT_DTYPE_F16 ? 0x1p-10 : dtype == LEAT_DTYPE_BF16 ? 0x1p-7 : 2e-5;
    return fabs(a - b) <= unit * fabs(b);
}

int lt_monomial_power(const lt_monomial *m, uint32_t value)
{
    for (uint32_t i = 0; i < m->n; i++) {
        if (m->values[i] == value) {
            return m->powers[i];
        }
    }
    return 0;
}

static bool multiply(lt_monomial *m, uint32_t value, int power)
{
    for (uint32_t i = 0; i < m->n; i++) {
        if (m->values[i] == value) {
            m->powers[i] += power;
            return true;
        }
    }
    if (m->n == sizeof(m->values) / sizeof(m->values[0])) {
        return false;
    }
    m->values[m->n] = value;
    m->powers[m->n++] = power;
    return true;
}

/* All reads of the value are by one node (x * x reads x twice). */
static bool read_by_one(const lt_uses *uses, uint32_t value)
{
    const leat_node *reader = uses->reader[value];
    uint32_t reads = 0;
    for (uint32_t i = 0; reader != NULL && i < reader->n_inputs; i++) {
        reads += reader->inputs[i] == value;
    }
    return reader != NULL && !uses->is_output[value] && uses->count[value] == reads;
}

typedef struct walk {
    const lt_graph *graph;
    const lt_uses *uses;
    lt_formula *formula;
    lt_monomial *m;
    const leat_node *last; /* may have any readers; NULL for none */
} walk;

/* Multiplies m by value^power; `power` is small. */
static bool descend(const walk *w, uint32_t value, int power, int depth)
{
    double number;
    if (value == LEAT_NO_VALUE) {
        return false;
    }
    const leat_node *node = w->uses->producer[value];
    if (lt_constant_float(w->graph, value, &number)) {
        w->m->factor *= pow(number, power);
        return true;
    }
    bool inner = node != NULL && (node == w->last || read_by_one(w->uses, value));
    if (!inner || depth == DEEPEST || node->n_outputs != 1) {
        return multiply(w->m, value, power);
    }
    if (lt_is_onnx(node, "Mul")) {
        lt_formula_add(w->formula, node);
        return descend(w, node->inputs[0], power, depth + 1) &&
               descend(w, node->inputs[1], power, depth + 1);
    }
    if (lt_is_onnx(node, "Neg")) {
        lt_formula_add(w->formula, node);
        w->m->factor *= power % 2 ? -1 : 1;
        return descend(w, node->inputs[0], power, depth + 1);
    }
    if (lt_is_onnx(node, "Div") && lt_constant_float(w->graph, node->inputs[1], &number)) {
        lt_formula_add(w->formula, node);
        w->m->factor /= pow(number, power);
        return descend(w, node->inputs[0], power, depth + 1);
    }
    if (lt_is_onnx(node, "Pow") && lt_constant_float(w->graph, node->inputs[1], &number) &&
        (number == 2 || number == 3)) {
        lt_formula_add(w->formula, node);
        return descend(w, node->inputs[0], power * (int)number, depth + 1);
    }
    return multiply(w->m, value, power);
}

bool lt_read_monomial(const lt_graph *graph, const lt_uses *uses, uint32_t value,
                      lt_formula *formula, lt_monomial *out)
{
    walk w = {graph, uses, formula, out, NULL};
    memset(out, 0, sizeof(*out));
    out->factor = 1;
    return descend(&w, value, 1, 0);
}

bool lt_read_product(const lt_graph *graph, const lt_uses *uses, const leat_node *last,
                     lt_formula *formula, lt_monomial *out)
{
    walk w = {graph, uses, formula, out, last};
    memset(out, 0, sizeof(*out));
    out->factor = 1;
    return descend(&w, last->outputs[0], 1, 0);
}

const leat_node *lt_read_node(const lt_uses *uses, uint32_t value, const char *op,
                              lt_formula *formula)
{
    const leat_node *node = value == LEAT_NO_VALUE ? NULL : uses->producer[value];
    if (node == NULL || !lt_is_onnx(node, op) || node->n_outputs != 1 ||
        !read_by_one(uses, value)) {
        return NULL;
    }
    lt_formula_add(formula, node);
    return node;
}

bool lt_read_sum(const lt_graph *graph, const lt_uses *uses, uint32_t value, lt_formula *formula,
                 uint32_t *out_rest, double *out_number)
{
    const leat_node *add = lt_read_node(uses, value, "Add", formula);
    for (uint32_t i = 0; add != NULL && i < 2; i++) {
        if (lt_constant_float(graph, add->inputs[i], out_number)) {
            *out_rest = add->inputs[1 - i];
            return true;
        }
    }
    return false;
}

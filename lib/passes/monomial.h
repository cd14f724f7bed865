/* SPDX-License-Identifier: Apache-2.0 */
/* Formulas as exporters spell them: a value read back as a number times powers of other values,
 * however its multiplications are ordered and nested. */
#ifndef LT_PASSES_MONOMIAL_H
#define LT_PASSES_MONOMIAL_H

#include "passes/match.h"

/* Nodes that a formula consists of; `full` once there were too many. */
typedef struct lt_formula {
    const leat_node *nodes[24];
    uint32_t n_nodes;
    bool full;
} lt_formula;

void lt_formula_add(lt_formula *formula, const leat_node *node);
/* Removes the nodes from the graph. */
void lt_formula_remove(lt_graph *graph, const lt_formula *formula);

/* factor * values[0]^powers[0] * values[1]^powers[1] * ... */
typedef struct lt_monomial {
    double factor;
    uint32_t n;
    uint32_t values[3];
    int powers[3];
} lt_monomial;

/* Reads `value` through Mul, Div by a number, Neg and Pow by a small whole number; a node whose
 * result has other readers, or is not one of these, is taken as a value of its own. Adds the nodes
 * it went through to `formula`. False when there are more than three different values. */
bool lt_read_monomial(const lt_graph *graph, const lt_uses *uses, uint32_t value,
                      lt_formula *formula, lt_monomial *out);
/* The same for a formula's last node, whose result anything may read. */
bool lt_read_product(const lt_graph *graph, const lt_uses *uses, const leat_node *last,
                     lt_formula *formula, lt_monomial *out);

/* The power of `value` in the product; 0 when it is not there. */
int lt_monomial_power(const lt_monomial *m, uint32_t value);

/* Whether two numbers agree as far as a formula of that type tells: to single precision's sixth
 * digit, for exporters write constants such as sqrt(2 / pi) with five digits or more; halves to two
 * roundings. */
bool lt_about(double a, double b, leat_dtype dtype);

/* `value` = *out_rest + *out_number, a constant of one element; the Add's result must have one
 * reader. Adds the node to `formula`. */
bool lt_read_sum(const lt_graph *graph, const lt_uses *uses, uint32_t value, lt_formula *formula,
                 uint32_t *out_rest, double *out_number);

/* The node of that operator that makes `value`, read once; NULL otherwise. Adds it to `formula`. */
const leat_node *lt_read_node(const lt_uses *uses, uint32_t value, const char *op,
                              lt_formula *formula);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A graph built from ONNX bytes, passes run on it, and its text compared. */
#ifndef TESTS_PASSES_CASE_H
#define TESTS_PASSES_CASE_H

#include "support/test.h"

#include "passes/passes.h"
#include "support/onnx_builder.h"

typedef struct passes_case {
    onnx_builder *builder;
    lt_memory memory;
    lt_graph *graph;
    lt_pass_context context; /* evaluates by the CPU's kernels; supports everything */
    bool refuse_leat;        /* the device takes no node of the domain leat */
    bool narrow_factors;     /* its products with `compute` take no f32 factors */
} passes_case;

/* Reads and infers what the builder holds; builder is the case's from then on. */
void passes_case_start(passes_case *c, onnx_builder *builder);
void passes_case_end(passes_case *c);

/* Runs a pass, checks the graph, and fails unless *changed comes out as said. */
void passes_case_run(passes_case *c, lt_pass_fn pass, bool changed);

/* Runs all passes for a device, and checks the graph. */
void passes_case_run_device(passes_case *c);

/* Fails unless the graph's text is `expected`. */
void passes_case_expect(passes_case *c, const char *expected);

/* The f32 constant of that name, or of the given input of the given node. */
const float *passes_case_floats(passes_case *c, uint32_t node, uint32_t input);

/* Nodes with that operator, and the one of them at `which`; the value of that name. */
uint32_t passes_case_count(const passes_case *c, const char *op);
const leat_node *passes_case_node(const passes_case *c, const char *op, uint32_t which);
const leat_value *passes_case_value(const passes_case *c, const char *name);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* One node's inference as text, so that a test is a line:
 *
 *     Conv(f32[N,3,8,8], f32[4,3,3,3]) {pads=[1,1,1,1], auto_pad="NOTSET"} @22   ->  f32[N,4,8,8]
 *
 * An input is a type and a shape; a word is a symbol, "?" a fresh one, "[...]" an unknown rank, "-"
 * an omitted input. Data follows in <>: i64[2]<3,-1>, f32[]<0.5>. Attributes are ints, floats (with
 * a point), strings, and lists of them; `value=t:f16` is a tensor of one element. "@" is the opset
 * (22 when left out), "#" the number of outputs. A node of the domain leat begins with "leat.". */
#ifndef TESTS_SUPPORT_INFER_CASE_H
#define TESTS_SUPPORT_INFER_CASE_H

#include "support/test.h"

/* Infers the node and fails the test unless the outputs' types, in the same notation and separated
 * by a space, are `expected`. "needs I" is expected where input I's data decides; a text that
 * begins with "!" is expected to be part of the message of an INVALID node. */
void infer_concrete(const char *node, const char *expected);
/* The same at load, where dimensions may be symbols. */
void infer_symbolic(const char *node, const char *expected);

#endif

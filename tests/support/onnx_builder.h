/* SPDX-License-Identifier: Apache-2.0 */
/* Writes small ONNX models in memory: onnx.proto3's ModelProto, field by field. For tests only:
 * running out of memory aborts. */
#ifndef TESTS_SUPPORT_ONNX_BUILDER_H
#define TESTS_SUPPORT_ONNX_BUILDER_H

#include "support/attrs.h"

#include <leat/backend.h>
#include <stdbool.h>

typedef struct onnx_builder onnx_builder;

/* A model that imports ai.onnx of that version. */
onnx_builder *onnx_builder_create(int64_t opset);
void onnx_builder_destroy(onnx_builder *builder);

/* Adds an input or output. `shape` is text: "2x3", "Nx3" with a symbol, "" for a scalar, NULL for
 * an unknown rank. */
void onnx_builder_input(onnx_builder *builder, const char *name, leat_dtype dtype,
                        const char *shape);
void onnx_builder_output(onnx_builder *builder, const char *name, leat_dtype dtype,
                         const char *shape);

/* The same for a sequence or an optional of tensors of a type. */
void onnx_builder_container(onnx_builder *builder, bool is_output, const char *name,
                            leat_dtype container, leat_dtype element);

/* The same for a map of keys to tensors. */
void onnx_builder_map(onnx_builder *builder, bool is_output, const char *name, leat_dtype key,
                      leat_dtype value);

/* Adds an initializer with raw data. */
void onnx_builder_constant(onnx_builder *builder, const char *name, const leat_array *array);
void onnx_builder_floats(onnx_builder *builder, const char *name, const char *shape,
                         const float *data);
void onnx_builder_ints(onnx_builder *builder, const char *name, const char *shape,
                       const int64_t *data);

/* Adds a node. Names are separated by commas; an empty name is an omitted value: "x,,w". The node
 * is named after its first output; "acme.Op" is of the domain acme. An attribute that is a graph
 * has another builder as u.graph, of which only the graph counts. */
void onnx_builder_node(onnx_builder *builder, const char *op, const char *inputs,
                       const char *outputs, const leat_attr *attrs, size_t n_attrs);

/* Adds inputs, nodes without attributes and outputs as one reads them, separated by semicolons:
 * "x: f32[Nx8]; m = MatMul(x, w); y, i = TopK(m, k); -> y: f32[Nx8]". No brackets: unknown rank. */
void onnx_builder_text(onnx_builder *builder, const char *text);

/* Imports another domain. */
void onnx_builder_import(onnx_builder *builder, const char *domain, int64_t version);

/* The model's bytes, which live as long as the builder. Nothing may be added afterwards. */
const void *onnx_builder_finish(onnx_builder *builder, size_t *out_bytes);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Graph -> ONNX bytes. load -> save -> load gives the same graph, and the `onnx` checker accepts
 * what is written as long as the graph has only standard nodes. Functions are written inlined, as
 * they were read; only nodes of another version than the model's become functions, one each.
 * Producer, versions, documentation and metadata of the model and its graphs are kept; those of
 * nodes and values are not. */
#ifndef LT_ONNX_WRITER_H
#define LT_ONNX_WRITER_H

#include "graph/graph.h"

/* Writes PATH and, when constants of at least external_threshold bytes (0 for none) are kept
 * outside, PATH.HASH.data beside it, HASH being 16 hexadecimal digits of its content: a model never
 * names data that was written for another one. Each file appears whole, the data first; on failure
 * PATH is what it was, and nothing is left behind. Last, a file PATH.HASH.data that the model
 * replaced had named is removed.
 * Errors:   IO; NO_MEMORY; LIMIT above 2 GB without external data; UNSUPPORTED for sequences and
 * optionals as inputs or outputs, and for If, Loop and Scan of another version than the model's. */
leat_status lt_onnx_write(const lt_graph *graph, const char *path, uint64_t external_threshold,
                          leat_error *err) LEAT_MUST_CHECK;

#endif

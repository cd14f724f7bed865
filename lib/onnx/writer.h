/* SPDX-License-Identifier: Apache-2.0 */
/* Graph -> ONNX bytes. load -> save -> load gives the same graph, and the `onnx` checker accepts
 * what is written as long as the graph has only standard nodes. */
#ifndef LT_ONNX_WRITER_H
#define LT_ONNX_WRITER_H

#include "graph/graph.h"

/* Writes PATH (and PATH.data when constants of at least external_threshold bytes, 0 for none, are
 * kept outside). Both appear whole or not at all (written beside, then renamed).
 * Errors:   IO; NO_MEMORY; LIMIT above 2 GB without external data. */
leat_status lt_onnx_write(const lt_graph *graph, const char *path, uint64_t external_threshold,
                          leat_error *err) LEAT_MUST_CHECK;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the writer's files: writer.c (messages), write_files.c (files). */
#ifndef LT_ONNX_WRITER_INTERNAL_H
#define LT_ONNX_WRITER_INTERNAL_H

#include "base/file.h"
#include "onnx/writer.h"

#define LT_MOST_WRITTEN_DOMAINS 64
/* Of functions that leat writes. */
#define LT_FUNCTION_DOMAIN "leat.function"

/* The version of each domain that the written model imports: the source's, and those of further
 * domains that only nodes of functions have. */
typedef struct lt_written_opsets {
    lt_opset opsets[LT_MOST_WRITTEN_DOMAINS];
    size_t count;
} lt_written_opsets;

/* Errors:   LIMIT for too many domains; UNSUPPORTED for nodes with bodies that are of another
 *           version than their domain's. */
leat_status lt_write_opsets(const lt_graph *graph, lt_written_opsets *out,
                            leat_error *err) LEAT_MUST_CHECK;

/* Whether a node is of another version than its domain's; such a node is written as a function of
 * its own, which imports that version. */
bool lt_write_as_function(const lt_written_opsets *opsets, const leat_node *node);

/* Where bytes go. */
typedef struct lt_write_sink {
    const lt_written_opsets *opsets;
    uint32_t n_functions; /* named so far */
    lt_file_writer *file; /* NULL: only count */
    uint64_t bytes;
    uint64_t *hash;       /* of all bytes; NULL: not wanted */
    uint64_t threshold;   /* constants of at least this size are outside; 0: none are */
    uint64_t external;    /* next free byte of the external file */
    const char *location; /* its name */
    leat_status status;   /* the first failure */
    leat_error *err;
} lt_write_sink;

/* Writes the ModelProto. */
void lt_write_model(lt_write_sink *sink, const lt_graph *graph);

/* Writes the external file: the constants of the outermost graph only, those of bodies are small.
 */
void lt_write_external(lt_write_sink *sink, const lt_graph *graph);

#endif

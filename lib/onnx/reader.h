/* SPDX-License-Identifier: Apache-2.0 */
/* ONNX bytes -> graph. Zero copy: constants point into the bytes wherever ONNX's layout allows
 * (raw_data), and names are copied. Nothing from the bytes is used before it is checked. */
#ifndef LT_ONNX_READER_H
#define LT_ONNX_READER_H

#include "graph/graph.h"

typedef struct lt_onnx_source {
    const void *data; /* the model; outlives the graph */
    size_t bytes;
    const char *directory;               /* where external data may lie; NULL: none from files */
    leat_external_data_fn external_data; /* used when directory is NULL; may be NULL */
    void *external_data_user;
    struct lt_external_files
        *files; /* receives the mapped external files; NULL with no directory */
} lt_onnx_source;

/* Reads a ModelProto; functions are inlined.
 * Owns:     *out_graph is the caller's.
 * Errors:   CORRUPT with the byte offset; UNSUPPORTED; LIMIT; NO_MEMORY; NOT_FOUND, IO for
 *           external data. */
leat_status lt_onnx_read(lt_memory *memory, const lt_onnx_source *source, lt_graph **out_graph,
                         leat_error *err) LEAT_MUST_CHECK;

/* Reads one TensorProto (the .pb files of ONNX's backend tests).
 * Owns:     out_array->data points into `bytes` or into the arena; *out_name (may be NULL)
 *           receives the tensor's name, in the arena.
 * Errors:   CORRUPT; UNSUPPORTED; NO_MEMORY. */
leat_status lt_onnx_read_tensor(lt_arena *arena, const void *data, size_t bytes,
                                leat_array *out_array, const char **out_name,
                                leat_error *err) LEAT_MUST_CHECK;

/* Reads what the tests keep for a value of that dtype: a TensorProto, a SequenceProto
 * (LEAT_DTYPE_SEQUENCE) or an OptionalProto (LEAT_DTYPE_OPTIONAL). Otherwise as
 * lt_onnx_read_tensor. */
leat_status lt_onnx_read_value(lt_arena *arena, leat_dtype dtype, const void *data, size_t bytes,
                               leat_array *out_array, leat_error *err) LEAT_MUST_CHECK;

#endif

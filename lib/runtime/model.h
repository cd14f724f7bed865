/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LT_RUNTIME_MODEL_H
#define LT_RUNTIME_MODEL_H

#include "base/file.h"
#include "graph/graph.h"
#include "runtime/context.h"

struct lt_external_files;

struct leat_model {
    leat_context *context;
    lt_file_map map;                 /* empty when loaded from memory */
    struct lt_external_files *files; /* NULL when loaded from memory */
    lt_graph *graph;                 /* after the passes that hold for every device; unchanged */
    leat_model_signature signature;  /* in the graph's arena */
    const leat_model *source;        /* whose files hold data of the graph too; NULL: nobody's */
    bool no_optimization;
    pthread_mutex_t lock;        /* guards programs */
    struct lt_program *programs; /* shared by sessions */
};

/* A model of a graph that is ready to run: inferred, with the passes of load behind it.
 * Owns:     the graph, also on failure; it may borrow data that outlives the model, such as that of
 *           `source` (NULL: of nobody), whose pages are then given back with its own.
 * Errors:   NO_MEMORY; *out_model is NULL then. */
leat_status lt_model_of_graph(leat_context *context, lt_graph *graph, const leat_model *source,
                              leat_model **out_model, leat_error *err) LEAT_MUST_CHECK;

/* Lets the system take back the pages of the model's files; they are read again when touched. */
void lt_model_release_pages(const leat_model *model);

#endif

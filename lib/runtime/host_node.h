/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes that the runtime carries out itself, between segments: If, Loop and Scan, whose bodies it
 * runs, everything that looks into a sequence or an optional, and what makes new text. */
#ifndef LT_RUNTIME_HOST_NODE_H
#define LT_RUNTIME_HOST_NODE_H

#include "runtime/frame.h"

/* Memory that grows and stays: a warmed run finds it large enough. */
typedef struct lt_grow {
    void *data;
    size_t bytes;
} lt_grow;

/* What a node keeps from run to run. */
struct lt_host_state {
    lt_grow *buffers;
    uint32_t n_buffers;
    uint64_t ns; /* of the run under way, without the nodes of the bodies; with profile */
};

/* One execution of a node. */
typedef struct lt_host_call {
    lt_frame *frame;
    const lt_stage *stage; /* which ends before the node */
    const leat_node *node;
    const lt_host_node *host;
    lt_host_state *state;
} lt_host_call;

/* Backends run the node in all other cases. */
typedef enum lt_host_when {
    LT_HOST_ALWAYS,
    LT_HOST_CONTAINERS, /* the first input is no tensor */
    LT_HOST_TEXT        /* of Cast and CastLike: to or from strings */
} lt_host_when;

typedef struct lt_host_op {
    const char *op;
    const char *domain; /* NULL: ai.onnx */
    leat_status (*run)(lt_host_call *call, leat_error *err);
    /* Buffers that the node's state has; NULL: none. */
    uint32_t (*n_buffers)(const leat_node *node, const lt_host_node *host);
    const char *bodies[2]; /* attributes that hold them */
    lt_host_when when;
} lt_host_op;

/* The operator's entry; NULL when backends always run it. */
const lt_host_op *lt_host_op_find(const leat_node *node);

/* Whether the runtime may have to carry out the node: types that are not known say so in a run. */
bool lt_host_may_run(const lt_graph *graph, const leat_node *node);

/* Whether the runtime carries out node `index`, given the types of values. */
bool lt_host_runs(const lt_body *body, uint32_t index, const leat_value *values);

/* Whether the type that decides who runs the node is not known before a run. */
bool lt_host_type_is_open(const lt_graph *graph, const leat_node *node);

/* --- for the operators ------------------------------------------------------------------------ */

bool lt_call_has(const lt_host_call *call, uint32_t input);

/* Input i, which must be there, without one more holder. */
lt_item lt_call_input(const lt_host_call *call, uint32_t input);

/* Sets output i and takes over the caller's hold of item->held. */
void lt_call_give(const lt_host_call *call, uint32_t output, const lt_item *item);

/* Feeds a body's inputs behind the formal ones: what it captures. */
void lt_call_captures(const lt_host_call *call, lt_frame *body);

/* A dimension of a value of a body that has not run: a symbol is looked for in the shapes of the
 * body's inputs, which are set; 0 when it is not there. */
int64_t lt_body_dim(const lt_frame *body, int64_t dim);

/* Item -> number. An integer input of one element, i32 or i64; a condition (bool of one element).
 * Errors:   INVALID. */
leat_status lt_call_int(const lt_host_call *call, uint32_t input, int64_t *out,
                        leat_error *err) LEAT_MUST_CHECK;
leat_status lt_item_bool(const lt_item *item, bool *out, leat_error *err) LEAT_MUST_CHECK;

/* Room for `bytes` in a buffer of the state; the first `kept` bytes stay.
 * Errors:   NO_MEMORY. */
leat_status lt_call_reserve(const lt_host_call *call, uint32_t buffer, size_t bytes, size_t kept,
                            leat_error *err) LEAT_MUST_CHECK;

/* Text of strings that is gone before the strings are, kept in a buffer of the state behind what is
 * there. Until lt_call_point_text `data` of a string is its place there; of a string whose memory
 * is 0, nowhere.
 * Errors:   NO_MEMORY; LIMIT. */
leat_status lt_call_keep_text(const lt_host_call *call, uint32_t buffer, leat_string *strings,
                              size_t count, leat_error *err) LEAT_MUST_CHECK;
void lt_call_point_text(const lt_host_call *call, uint32_t buffer, leat_string *strings,
                        size_t count);
/* Empties the buffer; its memory stays. */
void lt_call_drop_text(const lt_host_call *call, uint32_t buffer);

static inline lt_memory *lt_call_memory(const lt_host_call *call)
{
    return &call->frame->runner->program->model->context->memory;
}

/* --- the operators ---------------------------------------------------------------------------- */

leat_status lt_host_if(lt_host_call *call, leat_error *err);
leat_status lt_host_loop(lt_host_call *call, leat_error *err);
uint32_t lt_host_loop_buffers(const leat_node *node, const lt_host_node *host);
leat_status lt_host_scan(lt_host_call *call, leat_error *err);
uint32_t lt_host_scan_buffers(const leat_node *node, const lt_host_node *host);
leat_status lt_host_sequence_map(lt_host_call *call, leat_error *err);

leat_status lt_host_sequence_empty(lt_host_call *call, leat_error *err);
leat_status lt_host_sequence_construct(lt_host_call *call, leat_error *err);
leat_status lt_host_sequence_insert(lt_host_call *call, leat_error *err);
leat_status lt_host_sequence_erase(lt_host_call *call, leat_error *err);
leat_status lt_host_sequence_at(lt_host_call *call, leat_error *err);
leat_status lt_host_sequence_length(lt_host_call *call, leat_error *err);
leat_status lt_host_split_to_sequence(lt_host_call *call, leat_error *err);
leat_status lt_host_concat_from_sequence(lt_host_call *call, leat_error *err);
leat_status lt_host_optional(lt_host_call *call, leat_error *err);
leat_status lt_host_optional_get(lt_host_call *call, leat_error *err);
leat_status lt_host_optional_has(lt_host_call *call, leat_error *err);
leat_status lt_host_cast_text(lt_host_call *call, leat_error *err);
/* Type that a Cast or CastLike gives. */
leat_dtype lt_host_cast_target(const leat_node *node, const leat_value *values);
leat_status lt_host_cast_map(lt_host_call *call, leat_error *err);
leat_status lt_host_dict_vectorizer(lt_host_call *call, leat_error *err);
leat_status lt_host_string_concat(lt_host_call *call, leat_error *err);
leat_status lt_host_string_normalizer(lt_host_call *call, leat_error *err);
leat_status lt_host_identity(lt_host_call *call, leat_error *err);

#endif

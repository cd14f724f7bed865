/* SPDX-License-Identifier: Apache-2.0 */
/* Operators of the application: a shape function and a kernel on host memory.
 *
 *     leat_context_add_op  ->  leat_model_load  ->  leat_session_create  ->  leat_session_run
 *
 * Such a node is planned like any other: its buffers lie in the session's workspace, and a warmed
 * run allocates nothing. Passes leave it alone, except that a node whose results nobody reads is
 * dropped; it is never computed ahead of a run. leat_model_save keeps it.
 */
#ifndef LEAT_OPERATOR_H
#define LEAT_OPERATOR_H

#include <leat/backend.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Most inputs, and most outputs, of an operator of the application. */
#define LEAT_OP_MAX_VALUES 16

/* The leat_error of a callback is never NULL, and empty: a failing one may write a message. */

/* An input or output as the shape function sees it.
 * Shapes:   at load a dimension may be a symbol, below -1: equal numbers are equal dimensions, and
 *           an output may repeat an input's. -1 in an output: not known before the run's shapes
 *           are. At plan time every dimension is >= 0 and must be.
 * Owns:     data is an input's, where it is a constant or one of leat_op_desc.shape_inputs. */
typedef struct leat_op_value {
    leat_dtype dtype; /* UNDEFINED: an optional input or output that is not there */
    int32_t rank;
    int64_t shape[LEAT_MAX_RANK];
    const void *data; /* NULL: not known */
} leat_op_value;

/* Sets dtype, rank and shape of every output that is there from inputs and attributes.
 * Called at load when all inputs' types and ranks are known, and again for each new set of shapes;
 * the same inputs must give the same answer. Outputs arrive with dtype UNDEFINED.
 * Threads:  any, several at once; must not call leat.
 * Errors:   INVALID for inputs that do not fit; err names the node already. UNSUPPORTED for inputs
 *           that fit but are not served: leat_model_load fails when all dimensions are known then;
 *           otherwise, and in the bodies of If, Loop and Scan, the first leat_session_warm or
 *           leat_session_run that reaches the node. All others fail where they arise. */
typedef leat_status (*leat_op_shapes_fn)(void *user, const leat_node *node,
                                         const leat_op_value *inputs, leat_op_value *outputs,
                                         leat_error *err);

/* What a kernel gets. Nothing here may be kept. */
typedef struct leat_op_call {
    const leat_node *node;     /* attributes; node->inputs and ->outputs are NULL here */
    const leat_array *inputs;  /* node->n_inputs; not there: data NULL, dtype UNDEFINED */
    const leat_array *outputs; /* node->n_outputs, likewise; contents undefined: write all of it */
    void *workspace;           /* leat_op_desc.workspace bytes, 64-byte aligned */
    const leat_host *host;     /* host->parallel(pool, ...) shares the work among threads */
    leat_pool *pool;
} leat_op_call;

/* Computes the outputs. Must not write outside of them, nor into inputs.
 * Threads:  the caller's of leat_session_run; several at once when sessions run together.
 * Errors:   any status but OK ends the run; the message is given the node's name. */
typedef leat_status (*leat_op_compute_fn)(void *user, const leat_op_call *call, leat_error *err);

typedef struct leat_op_desc {
    size_t struct_size;
    const char *domain;  /* neither ai.onnx ("") nor leat; copied */
    const char *name;    /* copied */
    int32_t since;       /* first version of the domain served; 0: 1 */
    int32_t until;       /* last version served; 0: no end */
    uint32_t min_inputs; /* these must be there; further ones may be left out */
    uint32_t max_inputs; /* at most LEAT_OP_MAX_VALUES, as max_outputs */
    uint32_t min_outputs;
    uint32_t max_outputs;
    uint32_t shape_inputs; /* bit i: shapes needs the data of input i, where it is there */
    leat_op_shapes_fn shapes;
    leat_op_compute_fn compute;
    /* Bytes of scratch memory for fixed shapes; may be NULL: none. As shapes otherwise. */
    size_t (*workspace)(void *user, const leat_node *node, const leat_op_value *inputs);
    void *user;                  /* first argument of all functions */
    void (*destroy)(void *user); /* called by leat_context_destroy, once; may be NULL */
} leat_op_desc;

/* Adds an operator to the context, for models that are loaded from now on. A function of that name
 * in a model comes first. Types: tensors of any type; outputs of any but strings.
 * Owns:     on success the context owns `user`, where there is destroy; on failure the caller.
 * Threads:  any.
 * Errors:   INVALID for a bad descriptor, an operator that leat has itself, or one that was added
 *           for some of these versions already; NO_MEMORY. */
LEAT_API leat_status leat_context_add_op(leat_context *context, const leat_op_desc *desc,
                                         leat_error *err) LEAT_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif

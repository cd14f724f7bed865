/* SPDX-License-Identifier: Apache-2.0 */
/* Operators of com.microsoft, which ONNX Runtime's optimizer and quantizer write into files, and
 * those of ai.onnx that are formulas of others or meant something else before opset 7, as standard
 * operators of today: they are expanded where a session is made, and leat's own fusions then find
 * what they look for in any graph. The model itself keeps the nodes as they were written.
 *
 * Each operator is a function that emits nodes in front of the node that it replaces. After a
 * failure every further emit does nothing, so that such a function needs no checks in between. */
#ifndef LT_PASSES_CONTRIB_H
#define LT_PASSES_CONTRIB_H

#include "passes/match.h"

/* The opset whose meaning emitted nodes have, whatever the model imports. */
#define LT_CONTRIB_OPSET 24

typedef struct lt_contrib {
    lt_graph *graph;
    const leat_node *node; /* the one to be expanded */
    const lt_pass_context *context;
    lt_arena *scratch;
    uint32_t at;     /* its position */
    leat_node *last; /* emitted last; attributes go there */
    uint32_t target; /* what the next emitted node writes; LEAT_NO_VALUE: a new value */
    leat_status status;
    leat_error *err;
} lt_contrib;

typedef void (*lt_contrib_fn)(lt_contrib *c);

/* --- asking -------------------------------------------------------------------------------------
 */

/* Input i of the node, LEAT_NO_VALUE when it is omitted. */
uint32_t lt_contrib_in(const lt_contrib *c, uint32_t i);
bool lt_contrib_wants(const lt_contrib *c, uint32_t output);
/* The value with its type and shape as far as known. Attributes of the node emitted last must be
 * complete. */
const leat_value *lt_contrib_value(lt_contrib *c, uint32_t value);
/* Infers the node emitted last; called by the next emit and by the driver at the end. */
void lt_contrib_infer(lt_contrib *c);

/* Fails with UNSUPPORTED, naming the node; `what` says which form of it is not served. */
void lt_contrib_refuse(lt_contrib *c, const char *what);

/* --- emitting -----------------------------------------------------------------------------------
 */

/* The next node emitted writes output i of the node. */
void lt_contrib_to(lt_contrib *c, uint32_t output);

/* Emits a node of ai.onnx with one output, which is returned. Trailing inputs may be
 * LEAT_NO_VALUE. */
uint32_t lt_emit(lt_contrib *c, const char *op, const uint32_t *inputs, uint32_t n_inputs);
uint32_t lt_emit1(lt_contrib *c, const char *op, uint32_t a);
uint32_t lt_emit2(lt_contrib *c, const char *op, uint32_t a, uint32_t b);
uint32_t lt_emit3(lt_contrib *c, const char *op, uint32_t a, uint32_t b, uint32_t d);
/* Likewise with several outputs. */
void lt_emit_outputs(lt_contrib *c, const char *op, const uint32_t *inputs, uint32_t n_inputs,
                     uint32_t *outputs, uint32_t n_outputs);

/* Attributes of the node emitted last. */
void lt_with_int(lt_contrib *c, const char *name, int64_t i);
void lt_with_float(lt_contrib *c, const char *name, float f);
void lt_with_text(lt_contrib *c, const char *name, const char *text);
/* Copies an attribute of the node, if it is there, under another name (NULL: the same). */
void lt_with_attr(lt_contrib *c, const char *name, const char *as);

/* Constants: a vector of i64, one number of the type of `like` (f32 when that is not known). */
uint32_t lt_emit_ints(lt_contrib *c, const int64_t *ints, size_t count);
uint32_t lt_emit_number(lt_contrib *c, uint32_t like, double number);
uint32_t lt_emit_constant(lt_contrib *c, const leat_array *array);

/* Compositions. */
uint32_t lt_emit_reshape(lt_contrib *c, uint32_t x, const int64_t *shape, size_t rank);
uint32_t lt_emit_transpose(lt_contrib *c, uint32_t x, const int64_t *perm, size_t rank);
/* B x S x (heads * size) to B x heads x S x size. */
uint32_t lt_emit_split_heads(lt_contrib *c, uint32_t x, int64_t heads);
uint32_t lt_emit_cast(lt_contrib *c, uint32_t x, leat_dtype dtype);
/* Dimension `axis` of x, a vector of one i64. */
uint32_t lt_emit_dim(lt_contrib *c, uint32_t x, int64_t axis);
/* x itself when b is LEAT_NO_VALUE. */
uint32_t lt_emit_add_if(lt_contrib *c, uint32_t x, uint32_t b);
/* The activation that attributes `activation` and activation_* (as FusedConv's) ask for. */
uint32_t lt_emit_activation(lt_contrib *c, uint32_t x);
/* (x - zero) * scale, and its inverse. */
uint32_t lt_emit_dequantize(lt_contrib *c, uint32_t x, uint32_t scale, uint32_t zero);
uint32_t lt_emit_quantize(lt_contrib *c, uint32_t x, uint32_t scale, uint32_t zero);

/* Emits a node of the domain leat with the node's own attributes, if the devices run it; else
 * nothing is emitted and false returned. */
bool lt_emit_own(lt_contrib *c, const char *op, const uint32_t *inputs, uint32_t n_inputs,
                 uint32_t *output);

/* What a graph of one input and one output, the node's attribute of that name, makes of x: its
 * nodes move to here. x itself without the attribute. */
uint32_t lt_emit_body(lt_contrib *c, const char *name, uint32_t x);

/* Writes a value that is there already to output i. */
void lt_contrib_give(lt_contrib *c, uint32_t output, uint32_t value);

/* --- the operators, by family -------------------------------------------------------------------
 */

typedef struct lt_contrib_op {
    const char *op;
    lt_contrib_fn expand;
} lt_contrib_op;

extern const lt_contrib_op lt_contrib_products[];
extern const lt_contrib_op lt_contrib_norms[];
extern const lt_contrib_op lt_contrib_attention[];
extern const lt_contrib_op lt_contrib_quantized[];
extern const lt_contrib_op lt_contrib_decoder[];
extern const lt_contrib_op lt_contrib_older[];    /* of ai.onnx before opset 7 */
extern const lt_contrib_op lt_contrib_removed[];  /* of ai.onnx before opset 10, on trial */
extern const lt_contrib_op lt_contrib_formulas[]; /* of ai.onnx, any opset, where */
/* graph NULL: the types of the node's inputs are not known. */
bool lt_contrib_is_formula(const lt_graph *graph, const leat_node *node);

#endif

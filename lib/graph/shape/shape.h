/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the inference functions of all operator families. */
#ifndef LT_GRAPH_SHAPE_H
#define LT_GRAPH_SHAPE_H

#include "base/error.h"
#include "base/tensor.h"
#include "graph/infer.h"

/* Input or output i of the node; NULL when it is not there. */
const leat_value *lt_in(const lt_infer *infer, uint32_t i);

/* Fails with the node's label and operator in front. */
leat_status lt_bad(const lt_infer *infer, leat_error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Sets output i; does nothing when it is not there. A negative dimension is symbolic.
 * Errors:   INVALID when a size overflows or a dimension cannot be. */
leat_status lt_set(lt_infer *infer, uint32_t i, leat_dtype dtype, int32_t rank,
                   const int64_t *shape, leat_error *err) LEAT_MUST_CHECK;

/* Sets the type of output i, of unknown rank. Not at plan time. */
leat_status lt_set_unknown(lt_infer *infer, uint32_t i, leat_dtype dtype,
                           leat_error *err) LEAT_MUST_CHECK;

/* A dimension that is not known: a fresh symbol. */
leat_status lt_fresh(lt_infer *infer, int64_t *out_dim, leat_error *err) LEAT_MUST_CHECK;

/* The product, or -1 when a factor is symbolic; *out_overflow on overflow. */
int64_t lt_product_of(const int64_t *dims, int32_t count, bool *out_overflow);

/* Reads the integers of input i (i32 or i64). *out_known is false when the data is not there: at
 * plan time infer->needs is then set and the caller returns LEAT_OK at once.
 * Errors:   INVALID for another type, or more than `capacity` elements. */
leat_status lt_ints(lt_infer *infer, uint32_t i, int64_t *out, size_t capacity, size_t *out_count,
                    bool *out_known, leat_error *err) LEAT_MUST_CHECK;

/* Broadcasts shape b into a (numpy's rules, symbols respected).
 * Errors:   INVALID when they do not fit. */
leat_status lt_broadcast(lt_infer *infer, int32_t *rank, int64_t *shape, const leat_value *b,
                         leat_error *err) LEAT_MUST_CHECK;

/* -rank <= axis < rank, made non-negative.
 * Errors:   INVALID. */
leat_status lt_axis(const lt_infer *infer, int64_t axis, int32_t rank, int32_t *out_axis,
                    leat_error *err) LEAT_MUST_CHECK;

/* Inputs a and b are of one type; b may be absent.
 * Errors:   INVALID. */
leat_status lt_same_type(const lt_infer *infer, uint32_t a, uint32_t b,
                         leat_error *err) LEAT_MUST_CHECK;

/* Output 0 gets dtype, rank and shape of a value. */
leat_status lt_set_like(lt_infer *infer, uint32_t i, leat_dtype dtype, const leat_value *like,
                        leat_error *err) LEAT_MUST_CHECK;

/* Input i, when it is there, is of rank 1 and has `length` elements (negative: any).
 * Errors:   INVALID. */
leat_status lt_vector(const lt_infer *infer, uint32_t i, int64_t length,
                      leat_error *err) LEAT_MUST_CHECK;

/* Input i, when it is there, has this rank and these dimensions (negative: any).
 * Errors:   INVALID. */
leat_status lt_shaped(const lt_infer *infer, uint32_t i, int32_t rank, const int64_t *shape,
                      leat_error *err) LEAT_MUST_CHECK;

/* Input i, when it is there, has one element.
 * Errors:   INVALID. */
leat_status lt_single(const lt_infer *infer, uint32_t i, leat_error *err) LEAT_MUST_CHECK;

/* Zero point i, when it is there: one number, or one for each of `count` rows or channels
 * (negative: any count).
 * Errors:   INVALID. */
leat_status lt_zero_point(const lt_infer *infer, uint32_t i, int64_t count,
                          leat_error *err) LEAT_MUST_CHECK;

/* Input i, when it is there, broadcasts to a shape without changing it.
 * Errors:   INVALID. */
leat_status lt_fits(const lt_infer *infer, uint32_t i, int32_t rank, const int64_t *shape,
                    leat_error *err) LEAT_MUST_CHECK;

/* Input i holds i32 or i64.
 * Errors:   INVALID. */
leat_status lt_indices(const lt_infer *infer, uint32_t i, leat_error *err) LEAT_MUST_CHECK;

/* Type of the result of leat's QConv or QMatMul. */
leat_dtype lt_quantized_type(const lt_infer *infer);

/* Whether data is N, spatial..., C. */
bool lt_channels_last(const lt_infer *infer);

/* Attributes of a window over `spatial` axes. */
typedef struct lt_window {
    int32_t spatial;
    int64_t kernel[LEAT_MAX_RANK], stride[LEAT_MAX_RANK], dilation[LEAT_MAX_RANK];
    int64_t pad[2 * LEAT_MAX_RANK]; /* all begins, then all ends */
    bool same;                      /* auto_pad SAME_*: output is input / stride, rounded up; */
    bool lower;                     /* SAME_LOWER: what is odd of the padding lies in front */
    bool ceil;
} lt_window;

/* Reads the attributes of infer->node; kernel: the weights' spatial sizes, NULL: of kernel_shape.
 * Errors:   INVALID. */
leat_status lt_window_read(const lt_infer *infer, int32_t spatial, const int64_t *kernel,
                           lt_window *w, leat_error *err) LEAT_MUST_CHECK;

/* Output size of axis i; a fresh symbol when the input's is not known.
 * Errors:   INVALID for a window larger than the padded axis. */
leat_status lt_window_output(lt_infer *infer, const lt_window *w, int32_t i, int64_t in,
                             int64_t *out, leat_error *err) LEAT_MUST_CHECK;

/* The inference functions that ops.def names. */
#define LT_OP(domain, name, since, min_in, max_in, min_out, max_out, infer)                        \
    leat_status infer(lt_infer *, leat_error *);
#include "graph/ops.def"
#undef LT_OP

#endif

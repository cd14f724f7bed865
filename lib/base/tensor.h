/* SPDX-License-Identifier: Apache-2.0 */
/* Element types and shapes: sizes, counts, printing; names of inputs in messages. */
#ifndef LT_BASE_TENSOR_H
#define LT_BASE_TENSOR_H

#include <leat/leat.h>
#include <stdbool.h>

/* Bits of one element; 0 for an undefined type. */
uint32_t lt_dtype_bits(leat_dtype dtype);

/* Whether elements of the type are arrays. */
static inline bool lt_is_container(leat_dtype dtype)
{
    return dtype == LEAT_DTYPE_MAP || dtype == LEAT_DTYPE_SEQUENCE || dtype == LEAT_DTYPE_OPTIONAL;
}

/* Whether rows of the type can be moved as bytes: of whole bytes, and no strings. */
static inline bool lt_is_movable(leat_dtype dtype)
{
    return dtype > LEAT_DTYPE_UNDEFINED && dtype < LEAT_DTYPE_COUNT && dtype != LEAT_DTYPE_STRING &&
           lt_dtype_bits(dtype) >= 8;
}

/* Product of the dimensions; false when one is negative or the product of those that are not 0
 * overflows int64_t. */
bool lt_shape_count(int32_t rank, const int64_t *shape, size_t *out_count);

/* Bytes of a dense array; false as lt_shape_count, of bytes, or for an undefined type. */
bool lt_shape_bytes(leat_dtype dtype, int32_t rank, const int64_t *shape, size_t *out_bytes);

bool lt_shape_equal(int32_t rank_a, const int64_t *a, int32_t rank_b, const int64_t *b);

/* Writes "2x3x4" ("scalar" for rank 0, "?" for a negative dimension), cut to fit; returns text. */
char *lt_shape_text(int32_t rank, const int64_t *shape, char *text, size_t capacity);

/* Writes "'x', 'z'", ending in ", ..." where not all fit, or "none"; returns text. capacity is 8 or
 * more. */
char *lt_io_names(const leat_io *ios, size_t count, char *text, size_t capacity);

/* Type of a name as leat_dtype_name gives it; LEAT_DTYPE_UNDEFINED when there is none. */
leat_dtype lt_dtype_from_name(const char *name);

#endif

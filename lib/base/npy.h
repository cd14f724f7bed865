/* SPDX-License-Identifier: Apache-2.0 */
/* NumPy's .npy format, versions 1 to 3:
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html */
#ifndef LT_BASE_NPY_H
#define LT_BASE_NPY_H

#include "base/memory.h"

/* Reads a .npy from memory: little- and big-endian, C and Fortran order, all types that leat has a
 * NumPy equivalent for. f16 is numpy's float16.
 * Owns:     out_array->data points into `data` when it needs no change, else into the arena.
 * Errors:   CORRUPT with the offset; UNSUPPORTED for a type (objects, records); NO_MEMORY. */
leat_status lt_npy_read(lt_arena *arena, const void *data, size_t bytes, leat_array *out_array,
                        leat_error *err) LEAT_MUST_CHECK;

/* Writes PATH as version 1.0. Types without a NumPy equivalent are written as: bf16 as u16 bits,
 * float8 as u8 bits, 4- and 2-bit integers widened to int8/uint8.
 * Errors:   IO; NO_MEMORY; UNSUPPORTED for strings. */
leat_status lt_npy_write(lt_memory *memory, const char *path, const leat_array *array,
                         leat_error *err) LEAT_MUST_CHECK;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* lt_cpu_shuffle(mask, a, b, indices...): elements of two vectors (GCC's extension) of one type,
 * b's behind a's, by constant indices. `mask`: a vector type of integers as wide as the elements.
 * GCC before 12 and clang have no spelling in common. */
#ifndef LT_CPU_SHUFFLE_H
#define LT_CPU_SHUFFLE_H

#ifdef __clang__
#define lt_cpu_shuffle(mask, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define lt_cpu_shuffle(mask, a, b, ...) __builtin_shuffle(a, b, (mask){__VA_ARGS__})
#endif

#endif

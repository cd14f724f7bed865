/* SPDX-License-Identifier: Apache-2.0 */
/* Numeric truth for tests: elements of any type as double, seeded data, comparison. */
#ifndef TESTS_SUPPORT_ORACLE_H
#define TESTS_SUPPORT_ORACLE_H

#include <leat/leat.h>

/* Element i of an array as double; packed types are unpacked. Strings and complex numbers are not
 * served (0). */
double oracle_get(const leat_array *array, size_t i);
/* All elements, in memory for the caller to free. */
double *oracle_doubles(const leat_array *array);

/* Stores v, rounded to nearest even and saturated as the type needs. */
void oracle_set(leat_array *array, size_t i, double v);

size_t oracle_count(const leat_array *array);

/* A zeroed array in memory of its own (at least a byte), for oracle_free. */
leat_array oracle_array(leat_dtype dtype, int32_t rank, const int64_t *shape);
/* The same, filled from a seed. */
leat_array oracle_filled(leat_dtype dtype, int32_t rank, const int64_t *shape, uint64_t seed);
/* Frees the data of `count` arrays; those without data are passed over. */
void oracle_free(leat_array *arrays, size_t count);

/* Fills with numbers from a seed: floats in [-1, 1), bytes over their whole range, other integers
 * in
 * [-100, 100] or [0, 200], booleans. */
void oracle_fill(leat_array *array, uint64_t seed);

/* A number in [0, 1) from a state that advances (splitmix64, Steele et al., OOPSLA 2014). */
double oracle_random(uint64_t *state);

/* Relative tolerance for a sum of `length` products of the type, stated here once: the unit of the
 * storage type, plus length^0.5 units of the accumulator (f32; f64 for f64), with a factor of 8. */
double oracle_rtol(leat_dtype dtype, size_t length);

/* Absolute tolerance beside it: for long sums (over 1024) of products of numbers from oracle_fill
 * the unit belongs to partial sums of about sqrt(length) / 3, whatever is left in the end. */
double oracle_atol(leat_dtype dtype, size_t length);

/* Fails the test unless every element is within atol + rtol * |expected|; NaN equals NaN,
 * infinities equal themselves. Integers are compared exactly when both tolerances are 0. */
void oracle_assert_close(const leat_array *actual, const double *expected, double rtol,
                         double atol);

#endif

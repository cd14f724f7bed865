/* SPDX-License-Identifier: Apache-2.0 */
#include "attention/softmax_rows.h"
#include "elementwise/vmath.h"

#define TABLE lt_softmax_rows_portable
#define VL 4
#define CHAINS 2
#define WHOLE 2

typedef float vec __attribute__((vector_size(VL * sizeof(float)), may_alias));

static inline vec largest(vec a, vec b)
{
    vec most;
    for (int i = 0; i < VL; i++) {
        most[i] = a[i] > b[i] ? a[i] : b[i];
    }
    return most;
}

#include "attention/softmax_floats.inc"

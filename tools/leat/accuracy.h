/* SPDX-License-Identifier: Apache-2.0 */
/* How far the outputs of a session in a narrow precision are from those in f32. */
#ifndef LEAT_TOOL_ACCURACY_H
#define LEAT_TOOL_ACCURACY_H

#include "leat/tool.h"

/* Over all outputs of float types; 0 where there are none. */
typedef struct accuracy {
    double max_error;  /* largest |y - f32's y| of an output, over the largest |f32's y| of it */
    double mean_error; /* sum of |y - f32's y| over sum of |f32's y|, of the worst output */
} accuracy;

/* Runs the inputs once in all's session and once in one of the same model in f32.
 * Errors:   those of creating and running sessions. */
leat_status accuracy_measure(const options *o, const opened *all, const inputs *in, accuracy *out,
                             leat_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "movement/resize.h"

#define FORM avx2
#include "movement/resize_loops.inc"

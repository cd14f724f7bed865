/* SPDX-License-Identifier: Apache-2.0 */
#include "movement/resize.h"

#define FORM avx512
#include "movement/resize_loops.inc"

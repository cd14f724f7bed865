/* SPDX-License-Identifier: Apache-2.0 */
#include "movement/resize.h"

#define FORM portable
#include "movement/resize_loops.inc"

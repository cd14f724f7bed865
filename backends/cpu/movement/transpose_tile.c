/* SPDX-License-Identifier: Apache-2.0 */
#include "movement/movement.h"

#define FORM portable
#include "movement/transpose.inc"

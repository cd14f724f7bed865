/* SPDX-License-Identifier: Apache-2.0 */
#include "movement/movement.h"

#include "movement/transpose_x86.h"

#define BLOCK_4 square_8x8_u32
#define SIDE_4 8
#define FORM avx2
#include "movement/transpose.inc"

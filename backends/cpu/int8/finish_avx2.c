/* SPDX-License-Identifier: Apache-2.0 */
#include "int8/finish.h"

#define FINISH lt_int8_finish_avx2
#include "int8/finish.inc"

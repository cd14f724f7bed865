/* SPDX-License-Identifier: Apache-2.0 */
/* Copies between arrays whose dimensions differ: padding and cutting back. */
#ifndef LT_BATCHER_PAD_H
#define LT_BATCHER_PAD_H

#include <leat/leat.h>

/* Copies source to target, both dense, of one rank and type with whole bytes; of each dimension
 * what both have. Where target is longer it gets zeros. They may begin at the same place when
 * target is longer nowhere. */
void lt_pad_copy(const leat_array *source, const leat_array *target);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Packed weights of one model on one device, shared by all its sessions: the cache behind
 * leat_host.plan_pack. */
#ifndef LT_RUNTIME_WEIGHTS_H
#define LT_RUNTIME_WEIGHTS_H

#include "base/memory.h"

#include <leat/backend.h>

typedef struct lt_weights lt_weights;

/* Errors:   NO_MEMORY. */
leat_status lt_weights_create(lt_memory *memory, lt_weights **out_weights,
                              leat_error *err) LEAT_MUST_CHECK;
void lt_weights_destroy(lt_weights *weights);

/* The packed form of (constant->data, key); filled at most once.
 * Threads:  any.
 * Errors:   NO_MEMORY; those of fill. */
leat_status lt_weights_get(lt_weights *weights, const leat_value *constant, uint64_t key,
                           size_t bytes, leat_pack_fn fill, const void *argument,
                           const void **out_block, leat_error *err) LEAT_MUST_CHECK;

/* Bytes of all packed forms. */
uint64_t lt_weights_bytes(lt_weights *weights);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Packed weights of one model on one device, shared by all its sessions: the cache behind
 * leat_host.plan_pack. */
#ifndef LT_RUNTIME_WEIGHTS_H
#define LT_RUNTIME_WEIGHTS_H

#include "runtime/context.h"

typedef struct lt_weights lt_weights;

/* Packed forms on `device`. `constants` lists, in rising order, the data of the constants that live
 * as long as the weights: only those are cached, since another address may be used again for other
 * data.
 * Owns:     `constants` is borrowed.
 * Errors:   NO_MEMORY. */
leat_status lt_weights_create(lt_device *device, const void *const *constants, size_t n_constants,
                              lt_weights **out_weights, leat_error *err) LEAT_MUST_CHECK;
void lt_weights_destroy(lt_weights *weights);

/* Has fn(user) called whenever `step_bytes` more have been packed, so that what the constants were
 * read from can be given back on the way and the peak stays near one copy of the weights. fn runs
 * under the weights' lock: it must not come back here. Threads:  before the first lt_weights_get.
 */
void lt_weights_on_growth(lt_weights *weights, uint64_t step_bytes, void (*fn)(void *user),
                          void *user);

/* Says how many bytes all packed forms will have, about. Those that fill most of the second-level
 * cache are then put where they stay in it.
 * Threads:  before the first lt_weights_get. */
void lt_weights_expect(lt_weights *weights, uint64_t bytes);

/* Whether a constant with that data is one of those. */
bool lt_weights_covers(const lt_weights *weights, const void *data);

/* The packed form of (constant, key), in the device's memory; filled at most once.
 * Threads:  any.
 * Errors:   NO_MEMORY; LIMIT; those of fill and of the device. */
leat_status lt_weights_get(lt_weights *weights, const leat_value *constant, uint64_t key,
                           size_t bytes, leat_pack_fn fill, const void *argument,
                           const void **out_block, leat_error *err) LEAT_MUST_CHECK;

/* Allocates `bytes` on the device and fills them: the part of lt_weights_get that makes. */
leat_status lt_weights_make(lt_device *device, const leat_value *constant, size_t bytes,
                            leat_pack_fn fill, const void *argument, void **out_block,
                            leat_error *err) LEAT_MUST_CHECK;

/* Bytes of all packed forms. */
uint64_t lt_weights_bytes(lt_weights *weights);

#endif

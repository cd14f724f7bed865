/* SPDX-License-Identifier: Apache-2.0 */
#include "batcher/pad.h"

#include <string.h>

/* Dimensions from `d` on; steps: bytes of one index of each. */
static void copy(const leat_array *source, const leat_array *target, int32_t d,
                 const size_t *source_steps, const size_t *target_steps, const unsigned char *from,
                 unsigned char *to)
{
    const int64_t have = source->shape[d], want = target->shape[d];
    const int64_t both = have < want ? have : want;
    /* Everything behind d is the same: one piece. */
    if (source_steps[d] == target_steps[d] &&
        memcmp(&source->shape[d + 1], &target->shape[d + 1],
               (size_t)(source->rank - d - 1) * sizeof(int64_t)) == 0) {
        memmove(to, from, (size_t)both * source_steps[d]);
    } else {
        for (int64_t i = 0; i < both; i++) {
            copy(source, target, d + 1, source_steps, target_steps,
                 from + (size_t)i * source_steps[d], to + (size_t)i * target_steps[d]);
        }
    }
    memset(to + (size_t)both * target_steps[d], 0, (size_t)(want - both) * target_steps[d]);
}

void lt_pad_copy(const leat_array *source, const leat_array *target)
{
    size_t source_steps[LEAT_MAX_RANK], target_steps[LEAT_MAX_RANK];
    size_t s = leat_dtype_bytes(source->dtype, 1), t = s;
    if (source->bytes == 0) {
        memset(target->data, 0, target->bytes);
        return;
    }
    if (source->rank == 0 || target->bytes == 0) {
        memcpy(target->data, source->data, target->bytes);
        return;
    }
    for (int32_t d = source->rank - 1; d >= 0; d--) {
        source_steps[d] = s;
        target_steps[d] = t;
        s *= (size_t)source->shape[d];
        t *= (size_t)target->shape[d];
    }
    copy(source, target, 0, source_steps, target_steps, source->data, target->data);
}

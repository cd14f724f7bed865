/* SPDX-License-Identifier: Apache-2.0 */
/* What a batch and its requests' waiting are in a trace. */
#include "batcher/batcher.h"

void lt_batcher_trace(leat_batcher *b, const leat_request *first, uint32_t rows, uint64_t begin_ns,
                      uint64_t end_ns)
{
    if (!lt_trace_is_on(b->trace)) {
        return;
    }
    for (const leat_request *r = first; r != NULL; r = r->next) {
        lt_trace_add(b->trace, LT_LANE_QUEUE, "wait", NULL, r->node.order, r->arrived, begin_ns);
    }
    lt_trace_add(b->trace, LT_LANE_BATCH, "batch", NULL, rows, begin_ns, end_ns);
}

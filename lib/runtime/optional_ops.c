/* SPDX-License-Identifier: Apache-2.0 */
/* Operators on optionals, and Identity of whatever is no tensor. */
#include "base/error.h"
#include "runtime/host_node.h"

#include <string.h>

leat_status lt_host_identity(lt_host_call *call, leat_error *err)
{
    lt_item item = lt_call_input(call, 0);
    (void)err;
    lt_held_retain(item.held);
    lt_call_give(call, 0, &item);
    return LEAT_OK;
}

leat_status lt_host_optional(lt_host_call *call, leat_error *err)
{
    lt_item made, element = {.held = NULL};
    bool full = lt_call_has(call, 0);
    leat_status status = LEAT_OK;
    if (full) {
        element = lt_call_input(call, 0);
        if (element.array.dtype == LEAT_DTYPE_OPTIONAL || element.array.dtype == LEAT_DTYPE_MAP) {
            return lt_fail(err, LEAT_INVALID, "an optional of a %s",
                           leat_dtype_name(element.array.dtype));
        }
        if (lt_is_container(element.array.dtype) || element.held != NULL) {
            lt_held_retain(element.held);
        } else {
            const leat_array tensor = element.array;
            status = lt_held_tensor(lt_call_memory(call), &tensor, &element, err);
        }
    }
    if (status == LEAT_OK) {
        status = lt_held_arrays(lt_call_memory(call), LEAT_DTYPE_OPTIONAL, full, &made, err);
    }
    if (status == LEAT_OK) {
        if (full) {
            lt_held_put(&made, 0, &element);
        }
        lt_call_give(call, 0, &made);
    }
    lt_held_release(element.held);
    return status;
}

leat_status lt_host_optional_get(lt_host_call *call, leat_error *err)
{
    lt_item item = lt_call_input(call, 0);
    if (item.array.dtype == LEAT_DTYPE_OPTIONAL) {
        if (item.array.shape[0] == 0) {
            return lt_fail(err, LEAT_INVALID, "the element of an empty optional");
        }
        item = lt_held_get(&item, 0);
    }
    lt_held_retain(item.held);
    lt_call_give(call, 0, &item);
    return LEAT_OK;
}

leat_status lt_host_optional_has(lt_host_call *call, leat_error *err)
{
    bool has = false;
    if (lt_call_has(call, 0)) {
        const leat_array array = lt_call_input(call, 0).array;
        has = array.dtype != LEAT_DTYPE_OPTIONAL || array.shape[0] != 0;
    }
    leat_status status = lt_call_reserve(call, 0, 1, 0, err);
    if (status == LEAT_OK) {
        uint8_t *flag = call->state->buffers[0].data;
        *flag = has;
        const lt_item made = {{.dtype = LEAT_DTYPE_BOOL, .data = flag, .bytes = 1}, NULL};
        lt_call_give(call, 0, &made);
    }
    return status;
}

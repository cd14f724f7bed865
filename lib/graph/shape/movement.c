/* SPDX-License-Identifier: Apache-2.0 */
/* Operators that rearrange or select elements. */
#include "graph/shape/shape.h"

/* A list of integers from an input, or from an attribute in old opsets. */
static leat_status list_of(lt_infer *infer, uint32_t input, const char *name, int64_t *out,
                           size_t capacity, size_t *count, bool *given, bool *known,
                           leat_error *err)
{
    size_t n;
    *known = true;
    *count = 0;
    if (lt_in(infer, input) != NULL) {
        *given = true;
        return lt_ints(infer, input, out, capacity, count, known, err);
    }
    const int64_t *list = leat_node_ints(infer->node, name, &n);
    *given = list != NULL;
    if (n > capacity) {
        return lt_bad(infer, err, "%s has %zu entries", name, n);
    }
    for (size_t i = 0; i < n; i++) {
        out[i] = list[i];
    }
    *count = n;
    return LEAT_OK;
}

/* Number of elements of a rank-1 input that decides a rank, cut to one above the highest; -1 when
 * it is symbolic. */
static int64_t length_of(const lt_infer *infer, uint32_t input)
{
    const leat_value *value = lt_in(infer, input);
    int64_t length = value != NULL && value->rank == 1 ? value->shape[0] : -1;
    return length > LEAT_MAX_RANK ? LEAT_MAX_RANK + 1 : length;
}

/* Output 0 of a rank with fresh symbols (load time only). */
static leat_status set_fresh(lt_infer *infer, leat_dtype dtype, int64_t rank, leat_error *err)
{
    int64_t shape[LEAT_MAX_RANK];
    leat_status status = LEAT_OK;
    if (rank < 0 || rank > LEAT_MAX_RANK) {
        return lt_set_unknown(infer, 0, dtype, err);
    }
    for (int64_t i = 0; i < rank && status == LEAT_OK; i++) {
        status = lt_fresh(infer, &shape[i], err);
    }
    return status != LEAT_OK ? status : lt_set(infer, 0, dtype, (int32_t)rank, shape, err);
}

/* The symbol that is left when the known factors of both sides cancel. */
static bool lone_symbol(const int64_t *left, int32_t n_left, const int64_t *right, int32_t n_right,
                        int64_t *out)
{
    int64_t have = 1, want = 1, symbol = 0;
    bool overflow = false;
    for (int32_t i = 0; i < n_left; i++) {
        if (left[i] >= 0) {
            overflow |= __builtin_mul_overflow(have, left[i], &have);
        } else if (symbol != 0) {
            return false;
        } else {
            symbol = left[i];
        }
    }
    for (int32_t i = 0; i < n_right; i++) {
        if (right[i] < 0 || __builtin_mul_overflow(want, right[i], &want)) {
            return false;
        }
    }
    *out = symbol;
    return symbol != 0 && !overflow && have == want && have != 0;
}

leat_status lt_infer_reshape(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    int64_t shape[LEAT_MAX_RANK];
    size_t count;
    bool given, known, overflow;
    leat_status status =
        list_of(infer, 1, "shape", shape, LEAT_MAX_RANK, &count, &given, &known, err);
    if (status != LEAT_OK || (!known && infer->concrete)) {
        return status;
    }
    if (!known) {
        return set_fresh(infer, x.dtype, length_of(infer, 1), err);
    }
    bool zero_is_zero = leat_node_int(infer->node, "allowzero", 0) != 0;
    int32_t minus = -1;
    for (size_t i = 0; i < count; i++) {
        if (shape[i] == 0 && !zero_is_zero) {
            if ((int32_t)i >= x.rank) {
                return lt_bad(infer, err, "shape[%zu] is 0, but the data has rank %d", i, x.rank);
            }
            shape[i] = x.shape[i];
        } else if (shape[i] == -1) {
            if (minus >= 0) {
                return lt_bad(infer, err, "the shape has two dimensions of -1");
            }
            minus = (int32_t)i;
        } else if (shape[i] < -1) {
            return lt_bad(infer, err, "shape[%zu] is %lld", i, (long long)shape[i]);
        }
    }
    /* Symbols on both sides cancel. */
    int64_t left[LEAT_MAX_RANK], right[LEAT_MAX_RANK];
    int32_t n_left = x.rank, n_right = 0;
    memcpy(left, x.shape, sizeof(left));
    for (size_t i = 0; i < count; i++) {
        bool cancelled = false;
        for (int32_t j = 0; (int32_t)i != minus && shape[i] < 0 && j < n_left; j++) {
            if (left[j] == shape[i]) {
                left[j] = left[--n_left];
                cancelled = true;
                break;
            }
        }
        if ((int32_t)i != minus && !cancelled) {
            right[n_right++] = shape[i];
        }
    }
    bool right_overflow;
    int64_t have = lt_product_of(left, n_left, &overflow);
    int64_t want = lt_product_of(right, n_right, &right_overflow);
    if (overflow || right_overflow) {
        return lt_bad(infer, err, "the size of the shape overflows");
    }
    if (minus >= 0) {
        if (have >= 0 && want > 0 && have % want == 0) {
            shape[minus] = have / want;
        } else if (have >= 0 && want >= 0) {
            return lt_bad(infer, err, "%lld elements do not divide into the shape",
                          (long long)have);
        } else if (!lone_symbol(left, n_left, right, n_right, &shape[minus])) {
            status = lt_fresh(infer, &shape[minus], err);
        }
    } else if (have >= 0 && want >= 0 && have != want) {
        return lt_bad(infer, err, "%lld elements do not fill a shape of %lld", (long long)have,
                      (long long)want);
    }
    return status != LEAT_OK ? status : lt_set(infer, 0, x.dtype, (int32_t)count, shape, err);
}

/* Product of dimensions; a fresh symbol when one is symbolic, unless it is the only one not 1. */
static leat_status merged(lt_infer *infer, const int64_t *dims, int32_t count, int64_t *out,
                          leat_error *err)
{
    bool overflow;
    int32_t symbols = 0;
    int64_t rest = 1, symbol = 0;
    for (int32_t i = 0; i < count; i++) {
        symbols += dims[i] < 0;
        symbol = dims[i] < 0 ? dims[i] : symbol;
        rest = dims[i] >= 0 && dims[i] != 1 ? 0 : rest;
    }
    if (symbols == 1 && rest == 1) {
        *out = symbol;
        return LEAT_OK;
    }
    *out = lt_product_of(dims, count, &overflow);
    if (overflow) {
        return lt_bad(infer, err, "the size of a dimension overflows");
    }
    return *out < 0 ? lt_fresh(infer, out, err) : LEAT_OK;
}

leat_status lt_infer_flatten(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    int64_t axis = leat_node_int(infer->node, "axis", 1), shape[LEAT_MAX_RANK];
    if (axis < -x.rank || axis > x.rank) {
        return lt_bad(infer, err, "axis %lld is not within rank %d", (long long)axis, x.rank);
    }
    axis = axis < 0 ? axis + x.rank : axis;
    leat_status status = merged(infer, x.shape, (int32_t)axis, &shape[0], err);
    if (status == LEAT_OK) {
        status = merged(infer, x.shape + axis, x.rank - (int32_t)axis, &shape[1], err);
    }
    return status != LEAT_OK ? status : lt_set(infer, 0, x.dtype, 2, shape, err);
}

leat_status lt_infer_transpose(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    int64_t shape[LEAT_MAX_RANK];
    bool seen[LEAT_MAX_RANK] = {false};
    size_t n;
    const int64_t *perm = leat_node_ints(infer->node, "perm", &n);
    if (perm != NULL && n != (size_t)x.rank) {
        return lt_bad(infer, err, "perm has %zu entries for rank %d", n, x.rank);
    }
    for (int32_t i = 0; i < x.rank; i++) {
        int64_t from = perm ? perm[i] : x.rank - 1 - i;
        if (from < 0 || from >= x.rank || seen[from]) {
            return lt_bad(infer, err, "perm is not a permutation");
        }
        seen[from] = true;
        shape[i] = x.shape[from];
    }
    return lt_set(infer, 0, x.dtype, x.rank, shape, err);
}

leat_status lt_infer_squeeze(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    int64_t axes[LEAT_MAX_RANK], shape[LEAT_MAX_RANK];
    bool drop[LEAT_MAX_RANK] = {false}, given, known;
    size_t count;
    leat_status status =
        list_of(infer, 1, "axes", axes, LEAT_MAX_RANK, &count, &given, &known, err);
    if (status != LEAT_OK || (!known && infer->concrete)) {
        return status;
    }
    if (!known) {
        int64_t n = length_of(infer, 1);
        return set_fresh(infer, x.dtype, n < 0 ? -1 : x.rank - n, err);
    }
    for (size_t i = 0; i < count; i++) {
        int32_t axis;
        status = lt_axis(infer, axes[i], x.rank, &axis, err);
        if (status == LEAT_OK && x.shape[axis] >= 0 && x.shape[axis] != 1) {
            status = lt_bad(infer, err, "axis %d has %lld elements, not 1", axis,
                            (long long)x.shape[axis]);
        }
        if (status != LEAT_OK) {
            return status;
        }
        drop[axis] = true;
    }
    int32_t rank = 0;
    for (int32_t i = 0; i < x.rank; i++) {
        if (!given && x.shape[i] < 0) {
            return lt_set_unknown(infer, 0, x.dtype, err);
        }
        if (given ? !drop[i] : x.shape[i] != 1) {
            shape[rank++] = x.shape[i];
        }
    }
    return lt_set(infer, 0, x.dtype, rank, shape, err);
}

leat_status lt_infer_unsqueeze(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    int64_t axes[LEAT_MAX_RANK], shape[LEAT_MAX_RANK];
    bool insert[LEAT_MAX_RANK] = {false}, given, known;
    size_t count;
    leat_status status =
        list_of(infer, 1, "axes", axes, LEAT_MAX_RANK, &count, &given, &known, err);
    if (status != LEAT_OK || (!known && infer->concrete)) {
        return status;
    }
    if (!known) {
        int64_t n = length_of(infer, 1);
        return set_fresh(infer, x.dtype, n < 0 ? -1 : x.rank + n, err);
    }
    int32_t rank = x.rank + (int32_t)count, from = 0;
    if (rank > LEAT_MAX_RANK) {
        return lt_bad(infer, err, "rank %d is too large", rank);
    }
    for (size_t i = 0; i < count; i++) {
        int32_t axis;
        status = lt_axis(infer, axes[i], rank, &axis, err);
        if (status == LEAT_OK && insert[axis]) {
            status = lt_bad(infer, err, "axis %d appears twice", axis);
        }
        if (status != LEAT_OK) {
            return status;
        }
        insert[axis] = true;
    }
    for (int32_t i = 0; i < rank; i++) {
        shape[i] = insert[i] ? 1 : x.shape[from++];
    }
    return lt_set(infer, 0, x.dtype, rank, shape, err);
}

leat_status lt_infer_concat(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    int32_t axis;
    int64_t sum = 0;
    leat_status status = lt_axis(infer, leat_node_int(infer->node, "axis", 1), x.rank, &axis, err);
    for (uint32_t i = 0; i < infer->node->n_inputs && status == LEAT_OK; i++) {
        const leat_value *part = lt_in(infer, i);
        if (part == NULL || part->rank != x.rank) {
            return lt_bad(infer, err, "input %u has another rank than input 0", i);
        }
        status = lt_same_type(infer, 0, i, err);
        for (int32_t d = 0; d < x.rank && status == LEAT_OK; d++) {
            if (d != axis && x.shape[d] < 0 && part->shape[d] >= 0) {
                x.shape[d] = part->shape[d];
            } else if (d != axis && part->shape[d] >= 0 && part->shape[d] != x.shape[d]) {
                status = lt_bad(infer, err, "input %u has %lld elements on axis %d, not %lld", i,
                                (long long)part->shape[d], d, (long long)x.shape[d]);
            }
        }
        int64_t extent = part->shape[axis];
        if (sum >= 0 && extent >= 0 && __builtin_add_overflow(sum, extent, &sum)) {
            return lt_bad(infer, err, "the size of the output overflows");
        }
        sum = extent < 0 ? -1 : sum;
    }
    if (status == LEAT_OK && infer->node->n_inputs == 1) {
        sum = x.shape[axis];
    } else if (status == LEAT_OK && sum < 0) {
        status = lt_fresh(infer, &sum, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    x.shape[axis] = sum;
    return lt_set(infer, 0, x.dtype, x.rank, x.shape, err);
}

leat_status lt_infer_split(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    int64_t parts[1024];
    int32_t axis;
    bool given, known;
    size_t count;
    uint32_t outputs = infer->node->n_outputs;
    leat_status status = lt_axis(infer, leat_node_int(infer->node, "axis", 0), x.rank, &axis, err);
    if (status == LEAT_OK) {
        status = list_of(infer, 1, "split", parts, 1024, &count, &given, &known, err);
    }
    if (status != LEAT_OK || (!known && infer->concrete)) {
        return status;
    }
    int64_t extent = x.shape[axis], sum = 0;
    if (given && known && count != outputs) {
        return lt_bad(infer, err, "split has %zu entries for %u outputs", count, outputs);
    }
    int64_t wanted = leat_node_int(infer->node, "num_outputs", outputs);
    if (!given && wanted != outputs) {
        return lt_bad(infer, err, "num_outputs is %lld, there are %u", (long long)wanted, outputs);
    }
    if (!given && infer->node->opset < 18 && extent >= 0 && extent % outputs != 0) {
        return lt_bad(infer, err, "%lld elements do not split into %u equal parts",
                      (long long)extent, outputs);
    }
    int64_t chunk = extent < 0 ? -1 : extent / outputs + (extent % outputs != 0);
    for (uint32_t i = 0; i < outputs && status == LEAT_OK; i++) {
        if (given && known) {
            x.shape[axis] = parts[i];
            if (parts[i] < 0 || __builtin_add_overflow(sum, parts[i], &sum)) {
                return lt_bad(infer, err, "split[%u] is %lld", i, (long long)parts[i]);
            }
        } else if (!given && extent >= 0) {
            int64_t left = extent - sum;
            x.shape[axis] = left < chunk ? left : chunk;
            sum += x.shape[axis];
        } else {
            status = lt_fresh(infer, &x.shape[axis], err);
        }
        if (status == LEAT_OK) {
            status = lt_set(infer, i, x.dtype, x.rank, x.shape, err);
        }
    }
    if (status == LEAT_OK && extent >= 0 && known && sum != extent) {
        status = lt_bad(infer, err, "split adds up to %lld, the axis has %lld", (long long)sum,
                        (long long)extent);
    }
    return status;
}

/* Elements that a slice takes, after the specification of Slice 13: negative positions count from
 * the end, then both are clamped to [0, extent], or [-1, extent - 1] for a negative step. */
static int64_t slice_length(int64_t start, int64_t end, int64_t step, int64_t extent)
{
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? extent : extent - 1;
    start += start < 0 ? extent : 0; /* a negative plus a positive number cannot overflow */
    end += end < 0 ? extent : 0;
    start = start < low ? low : start > high ? high : start;
    end = end < low ? low : end > high ? high : end;
    if (step > 0) {
        return end > start ? (end - start - 1) / step + 1 : 0;
    }
    uint64_t down = (uint64_t)0 - (uint64_t)step;
    return start > end ? (int64_t)((uint64_t)(start - end - 1) / down) + 1 : 0;
}

leat_status lt_infer_slice(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    int64_t list[4][LEAT_MAX_RANK]; /* starts, ends, axes, steps */
    static const char *const names[] = {"starts", "ends", "axes", "steps"};
    size_t count[4];
    bool given[4], known[4], all = true;
    for (uint32_t i = 0; i < 4; i++) {
        leat_status status = list_of(infer, i + 1, names[i], list[i], LEAT_MAX_RANK, &count[i],
                                     &given[i], &known[i], err);
        if (status != LEAT_OK || (!known[i] && infer->concrete)) {
            return status;
        }
        all &= known[i];
    }
    if (!given[0] || !given[1]) {
        return lt_bad(infer, err, "starts or ends is missing");
    }
    for (uint32_t i = 0; i < 4; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (given[i] && known[i] && given[j] && known[j] && count[i] != count[j]) {
                return lt_bad(infer, err, "%s has %zu entries, %s has %zu", names[i], count[i],
                              names[j], count[j]);
            }
        }
    }
    if (!known[2] || (!given[2] && !known[0])) {
        return set_fresh(infer, x.dtype, x.rank, err);
    }
    size_t n = given[2] ? count[2] : count[0];
    bool seen[LEAT_MAX_RANK] = {false};
    if (n > (size_t)x.rank) {
        return lt_bad(infer, err, "%zu axes for rank %d", n, x.rank);
    }
    for (size_t i = 0; i < n; i++) {
        int32_t axis;
        leat_status status = lt_axis(infer, given[2] ? list[2][i] : (int64_t)i, x.rank, &axis, err);
        if (status != LEAT_OK) {
            return status;
        }
        int64_t step = given[3] && known[3] ? list[3][i] : 1;
        if (step == 0) {
            return lt_bad(infer, err, "a step of 0");
        }
        if (seen[axis]) {
            return lt_bad(infer, err, "axis %d appears twice", axis);
        }
        seen[axis] = true;
        if (all && x.shape[axis] >= 0) {
            x.shape[axis] = slice_length(list[0][i], list[1][i], step, x.shape[axis]);
        } else {
            status = lt_fresh(infer, &x.shape[axis], err);
            if (status != LEAT_OK) {
                return status;
            }
        }
    }
    return lt_set(infer, 0, x.dtype, x.rank, x.shape, err);
}

leat_status lt_infer_expand(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0), target = {.rank = 0};
    size_t count;
    bool known;
    leat_status status = lt_ints(infer, 1, target.shape, LEAT_MAX_RANK, &count, &known, err);
    if (status != LEAT_OK || (!known && infer->concrete)) {
        return status;
    }
    if (!known) {
        int64_t n = length_of(infer, 1);
        return set_fresh(infer, x.dtype, n < 0 ? -1 : n > x.rank ? n : x.rank, err);
    }
    target.rank = (int32_t)count;
    for (int32_t i = 0; i < target.rank; i++) {
        if (target.shape[i] < 0) {
            return lt_bad(infer, err, "shape[%d] is %lld", i, (long long)target.shape[i]);
        }
    }
    int32_t rank = x.rank;
    status = lt_broadcast(infer, &rank, x.shape, &target, err);
    return status != LEAT_OK ? status : lt_set(infer, 0, x.dtype, rank, x.shape, err);
}

leat_status lt_infer_pad(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    int64_t pads[2 * LEAT_MAX_RANK], axes[LEAT_MAX_RANK];
    size_t count, n_axes = 0;
    bool given, known, axes_known = true;
    leat_status status =
        list_of(infer, 1, "pads", pads, 2 * LEAT_MAX_RANK, &count, &given, &known, err);
    if (status == LEAT_OK && infer->needs == LEAT_NO_VALUE && lt_in(infer, 3) != NULL) {
        status = lt_ints(infer, 3, axes, LEAT_MAX_RANK, &n_axes, &axes_known, err);
    } else {
        n_axes = (size_t)x.rank;
        for (int32_t i = 0; i < x.rank; i++) {
            axes[i] = i;
        }
    }
    if (status != LEAT_OK || (infer->concrete && (!known || !axes_known))) {
        return status;
    }
    if (!known || !axes_known) {
        return set_fresh(infer, x.dtype, x.rank, err);
    }
    bool seen[LEAT_MAX_RANK] = {false};
    status = lt_same_type(infer, 0, 2, err);
    if (status == LEAT_OK) {
        status = lt_single(infer, 2, err);
    }
    if (status != LEAT_OK) {
        return status;
    }
    if (count != 2 * n_axes) {
        return lt_bad(infer, err, "pads has %zu entries, not %zu", count, 2 * n_axes);
    }
    for (size_t i = 0; i < n_axes; i++) {
        int32_t axis;
        status = lt_axis(infer, axes[i], x.rank, &axis, err);
        if (status == LEAT_OK && seen[axis]) {
            status = lt_bad(infer, err, "axis %d appears twice", axis);
        }
        if (status != LEAT_OK) {
            return status;
        }
        seen[axis] = true;
        if (x.shape[axis] < 0) {
            if (pads[i] != 0 || pads[i + n_axes] != 0) {
                status = lt_fresh(infer, &x.shape[axis], err);
            }
        } else if (__builtin_add_overflow(x.shape[axis], pads[i], &x.shape[axis]) ||
                   __builtin_add_overflow(x.shape[axis], pads[i + n_axes], &x.shape[axis]) ||
                   x.shape[axis] < 0) {
            status = lt_bad(infer, err, "axis %d would have a size that cannot be", axis);
        }
        if (status != LEAT_OK) {
            return status;
        }
    }
    return lt_set(infer, 0, x.dtype, x.rank, x.shape, err);
}

leat_status lt_infer_tile(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    int64_t repeats[LEAT_MAX_RANK];
    size_t count;
    bool known;
    leat_status status = lt_ints(infer, 1, repeats, LEAT_MAX_RANK, &count, &known, err);
    if (status != LEAT_OK || (!known && infer->concrete)) {
        return status;
    }
    if (!known) {
        return set_fresh(infer, x.dtype, x.rank, err);
    }
    if (count != (size_t)x.rank) {
        return lt_bad(infer, err, "%zu repeats for rank %d", count, x.rank);
    }
    for (int32_t i = 0; i < x.rank; i++) {
        if (repeats[i] < 0) {
            return lt_bad(infer, err, "repeats[%d] is %lld", i, (long long)repeats[i]);
        }
        if (x.shape[i] < 0) {
            status = repeats[i] == 1 ? LEAT_OK : lt_fresh(infer, &x.shape[i], err);
        } else if (__builtin_mul_overflow(x.shape[i], repeats[i], &x.shape[i])) {
            status = lt_bad(infer, err, "the size of the output overflows");
        }
        if (status != LEAT_OK) {
            return status;
        }
    }
    return lt_set(infer, 0, x.dtype, x.rank, x.shape, err);
}

/* DepthToSpace when `deeper` is false, SpaceToDepth when it is true. */
static leat_status blocks(lt_infer *infer, bool deeper, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    int64_t b = leat_node_int(infer->node, "blocksize", 0);
    if (x.rank != 4 || b < 1 || b > INT32_MAX) {
        return lt_bad(infer, err, "rank %d and blocksize %lld", x.rank, (long long)b);
    }
    for (int32_t i = 1; i < 4; i++) {
        int64_t factor = i == 1 ? b * b : b;
        bool divide = deeper ? i != 1 : i == 1;
        leat_status status = LEAT_OK;
        if (x.shape[i] < 0) {
            status = lt_fresh(infer, &x.shape[i], err);
        } else if (divide && x.shape[i] % factor != 0) {
            status = lt_bad(infer, err, "axis %d (%lld) does not divide by %lld", i,
                            (long long)x.shape[i], (long long)factor);
        } else if (divide) {
            x.shape[i] /= factor;
        } else if (__builtin_mul_overflow(x.shape[i], factor, &x.shape[i])) {
            status = lt_bad(infer, err, "the size of the output overflows");
        }
        if (status != LEAT_OK) {
            return status;
        }
    }
    return lt_set(infer, 0, x.dtype, 4, x.shape, err);
}

leat_status lt_infer_depth_to_space(lt_infer *infer, leat_error *err)
{
    return blocks(infer, false, err);
}

leat_status lt_infer_space_to_depth(lt_infer *infer, leat_error *err)
{
    return blocks(infer, true, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Operators on strings. */
#include "graph/shape/shape.h"

static leat_status strings(const lt_infer *infer, uint32_t i, leat_error *err)
{
    leat_dtype dtype = lt_in(infer, i)->dtype;
    return dtype == LEAT_DTYPE_STRING || dtype == LEAT_DTYPE_UNDEFINED
               ? LEAT_OK
               : lt_bad(infer, err, "input %u is %s, not string", i, leat_dtype_name(dtype));
}

leat_status lt_infer_regex(lt_infer *infer, leat_error *err)
{
    leat_status status = strings(infer, 0, err);
    return status ? status : lt_set_like(infer, 0, LEAT_DTYPE_BOOL, lt_in(infer, 0), err);
}

/* The runtime makes new text; inputs may be of unknown rank. */
leat_status lt_infer_string_concat(lt_infer *infer, leat_error *err)
{
    leat_value a = *lt_in(infer, 0);
    leat_status status = strings(infer, 0, err);
    status = status ? status : strings(infer, 1, err);
    if (status == LEAT_OK && (a.rank < 0 || lt_in(infer, 1)->rank < 0)) {
        return lt_set_unknown(infer, 0, LEAT_DTYPE_STRING, err);
    }
    status = status ? status : lt_broadcast(infer, &a.rank, a.shape, lt_in(infer, 1), err);
    return status ? status : lt_set(infer, 0, LEAT_DTYPE_STRING, a.rank, a.shape, err);
}

/* The strings that are left, at least one. */
leat_status lt_infer_string_normalizer(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    leat_status status = strings(infer, 0, err);
    if (status == LEAT_OK && x.rank < 0) {
        return lt_set_unknown(infer, 0, LEAT_DTYPE_STRING, err);
    }
    if (status == LEAT_OK && x.rank != 1 && (x.rank != 2 || (x.shape[0] >= 0 && x.shape[0] != 1))) {
        status = lt_bad(infer, err, "its input must have the shape C or 1 x C");
    }
    status = status ? status : lt_fresh(infer, &x.shape[x.rank - 1], err);
    return status ? status : lt_set(infer, 0, LEAT_DTYPE_STRING, x.rank, x.shape, err);
}

leat_status lt_infer_tf_idf(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    size_t n;
    const int64_t *columns = leat_node_ints(infer->node, "ngram_indexes", &n);
    int64_t most = -1;
    for (size_t i = 0; i < n; i++) {
        if (columns[i] < 0 || columns[i] >= INT32_MAX) {
            return lt_bad(infer, err, "ngram_indexes[%zu] is %lld", i, (long long)columns[i]);
        }
        most = columns[i] > most ? columns[i] : most;
    }
    if (n == 0 || (x.rank != 1 && x.rank != 2)) {
        return lt_bad(infer, err, "%zu n-grams for data of rank %d", n, x.rank);
    }
    x.shape[x.rank - 1] = most + 1;
    return lt_set(infer, 0, LEAT_DTYPE_F32, x.rank, x.shape, err);
}

/* Pieces along a new last axis, and how many there are of each string. */
static leat_status set_split(lt_infer *infer, int64_t pieces, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    int64_t shape[LEAT_MAX_RANK + 1];
    memcpy(shape, x.shape, (size_t)x.rank * sizeof(*shape));
    shape[x.rank] = pieces;
    leat_status status = lt_set(infer, 0, LEAT_DTYPE_STRING, x.rank + 1, shape, err);
    return status ? status : lt_set(infer, 1, LEAT_DTYPE_I64, x.rank, shape, err);
}

leat_status lt_infer_string_split(lt_infer *infer, leat_error *err)
{
    int64_t pieces;
    leat_status status = strings(infer, 0, err);
    if (status == LEAT_OK && infer->concrete) {
        return lt_fail(err, LEAT_UNSUPPORTED,
                       "node '%s' (%s): the size of its output is known in a run only, and no "
                       "device counts it first",
                       lt_node_label(infer->graph, infer->node), infer->node->op);
    }
    status = status ? status : lt_fresh(infer, &pieces, err);
    return status ? status : set_split(infer, pieces, err);
}

leat_status lt_infer_string_split_count(lt_infer *infer, leat_error *err)
{
    const int64_t one = 1;
    leat_status status = strings(infer, 0, err);
    return status ? status : lt_set(infer, 0, LEAT_DTYPE_I64, 1, &one, err);
}

leat_status lt_infer_string_split_to(lt_infer *infer, leat_error *err)
{
    int64_t pieces;
    size_t count;
    bool known;
    leat_status status = strings(infer, 0, err);
    status = status ? status : lt_ints(infer, 1, &pieces, 1, &count, &known, err);
    if (status != LEAT_OK || (!known && infer->concrete)) {
        return status;
    }
    if (!known) {
        status = lt_fresh(infer, &pieces, err);
    } else if (count != 1 || pieces < 0) {
        status = lt_bad(infer, err, "a count of %lld", (long long)(count ? pieces : 0));
    }
    return status ? status : set_split(infer, pieces, err);
}

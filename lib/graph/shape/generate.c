/* SPDX-License-Identifier: Apache-2.0 */
/* Operators that make shapes, numbers or grids. */
#include "graph/shape/shape.h"

#include <math.h>

leat_status lt_infer_shape(lt_infer *infer, leat_error *err)
{
    int64_t rank = lt_in(infer, 0)->rank;
    int64_t start = leat_node_int(infer->node, "start", 0);
    int64_t end = leat_node_int(infer->node, "end", rank);
    start += start < 0 ? rank : 0;
    end += end < 0 ? rank : 0;
    start = start < 0 ? 0 : start > rank ? rank : start;
    end = end < 0 ? 0 : end > rank ? rank : end;
    int64_t count = end > start ? end - start : 0;
    return lt_set(infer, 0, LEAT_DTYPE_I64, 1, &count, err);
}

leat_status lt_infer_size(lt_infer *infer, leat_error *err)
{
    return lt_set(infer, 0, LEAT_DTYPE_I64, 0, NULL, err);
}

leat_status lt_infer_constant_of_shape(lt_infer *infer, leat_error *err)
{
    const leat_attr *attr = leat_node_attr(infer->node, "value");
    leat_dtype dtype =
        attr && attr->type == LEAT_ATTR_TENSOR ? attr->u.tensor->dtype : LEAT_DTYPE_F32;
    int64_t shape[LEAT_MAX_RANK];
    size_t count;
    bool known;
    if (attr && attr->type == LEAT_ATTR_TENSOR &&
        (!lt_shape_count(attr->u.tensor->rank, attr->u.tensor->shape, &count) || count != 1)) {
        return lt_bad(infer, err, "attribute 'value' must be one number");
    }
    leat_status status = lt_ints(infer, 0, shape, LEAT_MAX_RANK, &count, &known, err);
    if (status != LEAT_OK || (!known && infer->concrete)) {
        return status;
    }
    if (!known) {
        const leat_value *list = lt_in(infer, 0); /* its length is the rank */
        if (list->rank != 1 || list->shape[0] < 0 || list->shape[0] > LEAT_MAX_RANK) {
            return lt_set_unknown(infer, 0, dtype, err);
        }
        for (int64_t i = 0; i < list->shape[0] && status == LEAT_OK; i++) {
            status = lt_fresh(infer, &shape[i], err);
        }
        return status != LEAT_OK ? status
                                 : lt_set(infer, 0, dtype, (int32_t)list->shape[0], shape, err);
    }
    for (size_t i = 0; i < count; i++) {
        if (shape[i] < 0) {
            return lt_bad(infer, err, "shape[%zu] is %lld", i, (long long)shape[i]);
        }
    }
    return lt_set(infer, 0, dtype, (int32_t)count, shape, err);
}

/* A scalar of any number type as double; false when its data is not there. */
static bool scalar_of(const leat_value *v, double *out)
{
    size_t count;
    if (v == NULL || v->data == NULL || !lt_shape_count(v->rank, v->shape, &count) || count != 1) {
        return false;
    }
    switch (v->dtype) {
    case LEAT_DTYPE_F32: {
        float f;
        memcpy(&f, v->data, sizeof(f));
        *out = (double)f;
        return true;
    }
    case LEAT_DTYPE_F64:
        memcpy(out, v->data, sizeof(*out));
        return true;
    case LEAT_DTYPE_U8:
    case LEAT_DTYPE_I8: {
        unsigned char b;
        memcpy(&b, v->data, sizeof(b));
        *out = v->dtype == LEAT_DTYPE_I8 ? (double)(int8_t)b : b;
        return true;
    }
    case LEAT_DTYPE_U32: {
        uint32_t n;
        memcpy(&n, v->data, sizeof(n));
        *out = n;
        return true;
    }
    case LEAT_DTYPE_U64: {
        uint64_t n;
        memcpy(&n, v->data, sizeof(n));
        *out = (double)n;
        return true;
    }
    case LEAT_DTYPE_I16: {
        int16_t h;
        memcpy(&h, v->data, sizeof(h));
        *out = h;
        return true;
    }
    case LEAT_DTYPE_I32: {
        int32_t n;
        memcpy(&n, v->data, sizeof(n));
        *out = n;
        return true;
    }
    case LEAT_DTYPE_I64: {
        int64_t n;
        memcpy(&n, v->data, sizeof(n));
        *out = (double)n;
        return true;
    }
    case LEAT_DTYPE_F16:
    case LEAT_DTYPE_BF16: {
        uint16_t h;
        memcpy(&h, v->data, sizeof(h));
        int e = h >> 10 & 31, m = h & 1023;
        uint32_t wide = (uint32_t)h << 16;
        float f;
        memcpy(&f, &wide, sizeof(f));
        *out = v->dtype == LEAT_DTYPE_BF16 ? (double)f
               : e == 31                   ? NAN
                                           : ldexp(e ? 1024 + m : m, (e ? e : 1) - 25);
        *out = v->dtype == LEAT_DTYPE_F16 && (h & 0x8000) ? -*out : *out;
        return true;
    }
    default:
        return false;
    }
}

/* Elements from v[0] to v[1] by v[2] in whole numbers, which double would round from 2^53 on. */
static bool count_exactly(const lt_infer *infer, int64_t *out)
{
    int64_t v[3];
    for (uint32_t i = 0; i < 3; i++) {
        memcpy(&v[i], lt_in(infer, i)->data, sizeof(v[i]));
    }
    if (v[2] == 0) {
        return false;
    }
    bool up = v[2] > 0;
    uint64_t span = up ? (uint64_t)v[1] - (uint64_t)v[0] : (uint64_t)v[0] - (uint64_t)v[1];
    uint64_t step = up ? (uint64_t)v[2] : 0 - (uint64_t)v[2];
    bool none = up ? v[1] <= v[0] : v[1] >= v[0];
    uint64_t count = none ? 0 : (span - 1) / step + 1;
    *out = (int64_t)count;
    return count <= INT64_MAX;
}

leat_status lt_infer_range(lt_infer *infer, leat_error *err)
{
    double v[3];
    leat_dtype dtype = lt_in(infer, 0)->dtype;
    for (uint32_t i = 0; i < 3; i++) {
        if (lt_in(infer, i)->data == NULL) {
            int64_t count;
            if (infer->concrete) {
                infer->needs = infer->node->inputs[i];
                return LEAT_OK;
            }
            leat_status status = lt_fresh(infer, &count, err);
            return status != LEAT_OK ? status : lt_set(infer, 0, dtype, 1, &count, err);
        }
        leat_status status = lt_same_type(infer, 0, i, err);
        if (status != LEAT_OK) {
            return status;
        }
        if (!scalar_of(lt_in(infer, i), &v[i])) {
            return lt_bad(infer, err, "input %u must be one number, not %s", i,
                          leat_dtype_name(lt_in(infer, i)->dtype));
        }
    }
    double count = ceil((v[1] - v[0]) / v[2]);
    int64_t n = count > 0 && count < 0x1p53 ? (int64_t)count : 0;
    if (v[2] == 0 || (dtype == LEAT_DTYPE_I64 ? !count_exactly(infer, &n) : !(count < 0x1p53))) {
        return lt_bad(infer, err, "from %g to %g by %g", v[0], v[1], v[2]);
    }
    return lt_set(infer, 0, dtype, 1, &n, err);
}

leat_status lt_infer_eye_like(lt_infer *infer, leat_error *err)
{
    int64_t dtype = leat_node_int(infer->node, "dtype", 0);
    const leat_value *x = lt_in(infer, 0);
    return lt_set_like(
        infer, 0, dtype > 0 && dtype < LEAT_DTYPE_COUNT ? (leat_dtype)dtype : x->dtype, x, err);
}

leat_status lt_infer_one_hot(lt_infer *infer, leat_error *err)
{
    const leat_value *x = lt_in(infer, 0), *values = lt_in(infer, 2);
    int64_t shape[LEAT_MAX_RANK + 1], axis = leat_node_int(infer->node, "axis", -1);
    double depth;
    int32_t rank = x->rank + 1, at;
    leat_dtype dtype = values->dtype;
    leat_status status = lt_axis(infer, axis, rank, &at, err);
    if (status != LEAT_OK) {
        return status;
    }
    for (int32_t i = 0, from = 0; i < rank; i++) {
        shape[i] = i == at ? 0 : x->shape[from++];
    }
    if (scalar_of(lt_in(infer, 1), &depth)) {
        if (!(depth >= 1 && depth < 0x1p53)) {
            return lt_bad(infer, err, "depth is %g", depth);
        }
        shape[at] = (int64_t)depth;
    } else if (lt_in(infer, 1)->data != NULL) {
        return lt_bad(infer, err, "depth must be one number, not %s",
                      leat_dtype_name(lt_in(infer, 1)->dtype));
    } else if (infer->concrete) {
        infer->needs = infer->node->inputs[1];
        return LEAT_OK;
    } else {
        status = lt_fresh(infer, &shape[at], err);
    }
    if (status == LEAT_OK) {
        status = lt_vector(infer, 2, 2, err);
    }
    return status != LEAT_OK ? status : lt_set(infer, 0, dtype, rank, shape, err);
}

/* --- Resize and Upsample ------------------------------------------------------------------------
 */

/* Where the inputs of the opset at hand lie; scales and sizes are 0 when there is no such input. */
static void resize_inputs(const lt_infer *infer, uint32_t *scales, uint32_t *sizes)
{
    bool old = strcmp(infer->node->op, "Upsample") == 0 || infer->node->opset < 11;
    *scales = old ? 1 : 2;
    *sizes = old ? 0 : 3;
}

/* The floats of an input. *out_count is 0 when it is absent or empty. */
static bool read_scales(const lt_infer *infer, uint32_t input, float *out, size_t *out_count)
{
    const leat_value *v = lt_in(infer, input);
    size_t count;
    *out_count = 0;
    if (v == NULL) {
        return true;
    }
    if (v->rank == 1 && v->shape[0] == 0) {
        return true;
    }
    if (v->data == NULL) {
        return false;
    }
    if (v->dtype != LEAT_DTYPE_F32 || !lt_shape_count(v->rank, v->shape, &count) ||
        count > LEAT_MAX_RANK) {
        return true;
    }
    memcpy(out, v->data, count * sizeof(*out));
    *out_count = count;
    return true;
}

static leat_status resize_axes(const lt_infer *infer, int32_t rank, int32_t *axes, size_t *count,
                               leat_error *err)
{
    size_t n;
    const int64_t *list = leat_node_ints(infer->node, "axes", &n);
    *count = list ? n : (size_t)rank;
    if (*count > (size_t)rank) {
        return lt_bad(infer, err, "axes has %zu entries", n);
    }
    bool last = lt_channels_last(infer);
    uint32_t seen = 0;
    for (size_t i = 0; i < *count; i++) {
        leat_status status = lt_axis(infer, list ? list[i] : (int64_t)i, rank, &axes[i], err);
        if (status != LEAT_OK) {
            return status;
        }
        if (seen >> axes[i] & 1) {
            return lt_bad(infer, err, "axis %d appears twice", axes[i]);
        }
        seen |= 1u << axes[i];
        if (last && axes[i] != 0) { /* axes, scales and sizes name N, C, spatial... */
            axes[i] = axes[i] == 1 ? rank - 1 : axes[i] - 1;
        }
    }
    return LEAT_OK;
}

/* Number i of a list of floats of any type. */
static double float_at(const leat_value *v, size_t i)
{
    leat_value one = {.dtype = v->dtype, .rank = 0};
    one.data = (const char *)v->data + i * (lt_dtype_bits(v->dtype) / 8);
    double f = 0;
    return scalar_of(&one, &f) ? f : 0;
}

/* Whether the sizes depend on a region of interest: the part of the input, from 0 to 1 on each
 * axis, that is resized. */
static bool crops(const lt_infer *infer)
{
    return leat_node_string_is(infer->node, "coordinate_transformation_mode", "tf_crop_and_resize");
}

static leat_status by_scales(lt_infer *infer, leat_value *x, const float *scales, size_t count,
                             const int32_t *axes, leat_error *err)
{
    const leat_value *roi = crops(infer) ? lt_in(infer, 1) : NULL;
    size_t n_roi;
    if (roi != NULL && roi->data != NULL &&
        (!lt_shape_count(roi->rank, roi->shape, &n_roi) || n_roi != 2 * count)) {
        return lt_bad(infer, err, "roi must have %zu elements", 2 * count);
    }
    for (size_t i = 0; i < count; i++) {
        int64_t *dim = &x->shape[axes[i]];
        if (!(scales[i] > 0) || !isfinite(scales[i])) {
            return lt_bad(infer, err, "scales[%zu] is %g", i, (double)scales[i]);
        }
        if (*dim < 0 || (roi != NULL && roi->data == NULL)) {
            leat_status status =
                scales[i] == 1.0f && roi == NULL ? LEAT_OK : lt_fresh(infer, dim, err);
            if (status != LEAT_OK) {
                return status;
            }
            continue;
        }
        /* In float, as ONNX Runtime: 10 * 1.3f is 13; in double, as onnx.shape_inference has it,
         * it is a little less. */
        float extent = (float)*dim;
        if (roi != NULL) {
            extent *= (float)(float_at(roi, i + count) - float_at(roi, i));
        }
        double size = (double)floorf(extent * scales[i]);
        if (scales[i] == 1.0f && roi == NULL) {
            size = (double)*dim; /* float would round long axes */
        }
        if (!(size >= 0 && size < 0x1p53)) {
            return lt_bad(infer, err, "axis %d would have %g elements", axes[i], size);
        }
        *dim = (int64_t)size;
    }
    return LEAT_OK;
}

/* Sizes, under keep_aspect_ratio_policy. */
static leat_status by_sizes(lt_infer *infer, leat_value *x, const int64_t *sizes, size_t count,
                            const int32_t *axes, leat_error *err)
{
    bool larger = leat_node_string_is(infer->node, "keep_aspect_ratio_policy", "not_larger");
    bool smaller = leat_node_string_is(infer->node, "keep_aspect_ratio_policy", "not_smaller");
    double scale = larger ? INFINITY : 0;
    bool known = true;
    leat_status status = LEAT_OK;
    for (size_t i = 0; i < count; i++) {
        if (sizes[i] < 0) {
            return lt_bad(infer, err, "sizes[%zu] is %lld", i, (long long)sizes[i]);
        }
        if ((larger || smaller) && x->shape[axes[i]] == 0) {
            return lt_bad(infer, err, "axis %d is empty: no ratio to keep", axes[i]);
        }
        known &= x->shape[axes[i]] >= 0;
        double ratio = (double)sizes[i] / (double)x->shape[axes[i]];
        scale = larger ? fmin(scale, ratio) : fmax(scale, ratio);
    }
    for (size_t i = 0; i < count && status == LEAT_OK; i++) {
        int64_t *dim = &x->shape[axes[i]];
        double size = floor(scale * (double)*dim + 0.5);
        if (!larger && !smaller) {
            *dim = sizes[i];
        } else if (!known) {
            status = lt_fresh(infer, dim, err);
        } else if (size < 0x1p53) {
            *dim = (int64_t)size;
        } else {
            status = lt_bad(infer, err, "axis %d would have %g elements", axes[i], size);
        }
    }
    return status;
}

leat_status lt_infer_resize(lt_infer *infer, leat_error *err)
{
    leat_value x = *lt_in(infer, 0);
    uint32_t at_scales, at_sizes;
    float scales[LEAT_MAX_RANK];
    int32_t axes[LEAT_MAX_RANK];
    int64_t sizes[LEAT_MAX_RANK];
    size_t n_axes, n_scales = 0, n_sizes = 0;
    bool known = true;
    resize_inputs(infer, &at_scales, &at_sizes);
    leat_status status = resize_axes(infer, x.rank, axes, &n_axes, err);
    if (status != LEAT_OK) {
        return status;
    }
    size_t n_attr = 0;
    const leat_attr *attr = leat_node_attr(infer->node, "scales"); /* Upsample 7 */
    if (attr != NULL && attr->type == LEAT_ATTR_FLOATS && attr->count <= LEAT_MAX_RANK) {
        n_attr = attr->count;
        memcpy(scales, attr->u.floats, n_attr * sizeof(*scales));
        n_scales = n_attr;
    } else {
        known = read_scales(infer, at_scales, scales, &n_scales);
        if (!known && infer->concrete) {
            infer->needs = infer->node->inputs[at_scales];
            return LEAT_OK;
        }
    }
    if (n_scales != 0 && crops(infer) && infer->concrete && lt_in(infer, 1) != NULL &&
        lt_in(infer, 1)->data == NULL) {
        infer->needs = infer->node->inputs[1];
        return LEAT_OK;
    }
    if (known && n_scales == 0 && at_sizes != 0 && lt_in(infer, at_sizes) != NULL) {
        status = lt_ints(infer, at_sizes, sizes, LEAT_MAX_RANK, &n_sizes, &known, err);
        if (status != LEAT_OK || (!known && infer->concrete)) {
            return status;
        }
    }
    if (!known) {
        for (size_t i = 0; i < n_axes && status == LEAT_OK; i++) {
            status = lt_fresh(infer, &x.shape[axes[i]], err);
        }
    } else if (n_scales == n_axes && n_scales != 0) {
        status = by_scales(infer, &x, scales, n_scales, axes, err);
    } else if (n_sizes == n_axes && n_sizes != 0) {
        status = by_sizes(infer, &x, sizes, n_sizes, axes, err);
    } else {
        status =
            lt_bad(infer, err, "%zu scales and %zu sizes for %zu axes", n_scales, n_sizes, n_axes);
    }
    return status != LEAT_OK ? status : lt_set(infer, 0, x.dtype, x.rank, x.shape, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Pooling one element at a time: MaxPool with Indices, LpPool. Accumulates in f64. */
#include "pool/pool.h"

#include <math.h>

static double load(leat_dtype dtype, const void *data, int64_t i)
{
    switch (dtype) {
    case LEAT_DTYPE_F64:
        return ((const double *)data)[i];
    case LEAT_DTYPE_F16:
        return lt_f16_to_f32(((const uint16_t *)data)[i]);
    case LEAT_DTYPE_BF16:
        return lt_bf16_to_f32(((const uint16_t *)data)[i]);
    case LEAT_DTYPE_U8:
        return ((const uint8_t *)data)[i];
    case LEAT_DTYPE_I8:
        return ((const int8_t *)data)[i];
    default:
        return ((const float *)data)[i];
    }
}

static void store(leat_dtype dtype, void *data, int64_t i, double value)
{
    switch (dtype) {
    case LEAT_DTYPE_F64:
        ((double *)data)[i] = value;
        break;
    case LEAT_DTYPE_F16:
        ((uint16_t *)data)[i] = lt_f32_to_f16((float)value);
        break;
    case LEAT_DTYPE_BF16:
        ((uint16_t *)data)[i] = lt_f32_to_bf16((float)value);
        break;
    case LEAT_DTYPE_U8:
        ((uint8_t *)data)[i] = (uint8_t)value;
        break;
    case LEAT_DTYPE_I8:
        ((int8_t *)data)[i] = (int8_t)value;
        break;
    default:
        ((float *)data)[i] = (float)value;
    }
}

/* Number of an input position in Indices: channels first whatever the layout. */
static int64_t index_of(const lt_pool_geometry *g, int64_t plane, const int64_t *at)
{
    int64_t size = g->in[0] * g->in[1] * g->in[2], inside;
    if (g->column_major) {
        inside = at[0] + g->in[0] * (at[1] + g->in[1] * at[2]);
    } else {
        inside = (at[0] * g->in[1] + at[1]) * g->in[2] + at[2];
    }
    return plane * size + inside;
}

static double lowest(leat_dtype dtype)
{
    return dtype == LEAT_DTYPE_U8 ? 0.0 : dtype == LEAT_DTYPE_I8 ? -128.0 : -INFINITY;
}

static double magnitude(double x, int64_t p)
{
    x = fabs(x);
    return p == 1 ? x : p == 2 ? x * x : pow(x, (double)p);
}

/* One window; `o` is its place, `plane` batch * channels + channel. */
static void window_at(const lt_pool_geometry *g, const void *in, int64_t plane, const int64_t *o,
                      double *out_value, int64_t *out_index)
{
    int64_t channel = plane % g->channels, n = plane / g->channels, at[3];
    lt_pool_taps t[3];
    for (int i = 0; i < 3; i++) {
        t[i] = lt_pool_axis(g, i, o[i]);
        at[i] = t[i].first;
    }
    bool max = g->op == LT_POOL_MAX;
    double value = max ? lowest(g->dtype) : 0.0;
    int64_t taps = t[0].count * t[1].count * t[2].count;
    int64_t index = taps > 0 ? index_of(g, plane, at) : 0;
    for (int64_t k = 0; k < taps; k++) {
        at[0] = t[0].first + k / (t[1].count * t[2].count) * g->dilation[0];
        at[1] = t[1].first + k / t[2].count % t[1].count * g->dilation[1];
        at[2] = t[2].first + k % t[2].count * g->dilation[2];
        int64_t inside = (at[0] * g->in[1] + at[1]) * g->in[2] + at[2];
        int64_t size = g->in[0] * g->in[1] * g->in[2];
        double x = load(g->dtype, in,
                        g->channels_last ? (n * size + inside) * g->channels + channel
                                         : plane * size + inside);
        if (!max) {
            value += magnitude(x, g->p);
        } else if (x > value) {
            value = x;
            index = index_of(g, plane, at);
        }
    }
    if (!max) {
        value = g->p == 1 ? value : g->p == 2 ? sqrt(value) : pow(value, 1.0 / (double)g->p);
    }
    *out_value = value;
    *out_index = index;
}

void lt_pool_plain(const lt_pool_geometry *g, const void *in, void *out, int64_t *indices,
                   int64_t begin, int64_t end)
{
    for (int64_t item = begin; item < end; item++) {
        int64_t rest = g->channels_last ? item / g->channels : item;
        int64_t o[3];
        for (int i = 2; i >= 0; i--) {
            o[i] = rest % g->out[i];
            rest /= g->out[i];
        }
        int64_t plane = g->channels_last ? rest * g->channels + item % g->channels : rest;
        double value;
        int64_t index;
        window_at(g, in, plane, o, &value, &index);
        store(g->dtype, out, item, value);
        if (indices != NULL) {
            indices[item] = index;
        }
    }
}

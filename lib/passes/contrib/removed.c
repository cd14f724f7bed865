/* SPDX-License-Identifier: Apache-2.0 */
/* Operators that ai.onnx once had on trial, which ONNX Runtime still runs below opset 10: Affine,
 * Crop, DynamicSlice, ImageScaler, ParametricSoftplus, Scale, ScaledTanh. */
#include "passes/contrib/contrib.h"

#include <string.h>

/* x, times a number, unless it is 1. */
static uint32_t times(lt_contrib *c, uint32_t x, const char *name)
{
    float by = leat_node_float(c->node, name, 1);
    return by == 1 ? x : lt_emit2(c, "Mul", x, lt_emit_number(c, x, (double)by));
}

/* alpha * x + beta */
static void affine(lt_contrib *c)
{
    uint32_t x = times(c, lt_contrib_in(c, 0), "alpha");
    uint32_t beta = lt_emit_number(c, x, (double)leat_node_float(c->node, "beta", 0));
    lt_contrib_to(c, 0);
    lt_emit2(c, "Add", x, beta);
}

static void scale(lt_contrib *c)
{
    uint32_t x = lt_contrib_in(c, 0);
    uint32_t by = lt_emit_number(c, x, (double)leat_node_float(c->node, "scale", 1));
    lt_contrib_to(c, 0);
    lt_emit2(c, "Mul", x, by);
}

/* scale * x + bias of the channel */
static void image_scaler(lt_contrib *c)
{
    static const float none[1];
    const leat_attr *attr = leat_node_attr(c->node, "bias");
    bool given = attr != NULL && attr->type == LEAT_ATTR_FLOATS && attr->count != 0;
    size_t count = given ? attr->count : 1;
    const leat_array bias = {LEAT_DTYPE_F32,
                             4,
                             {1, (int64_t)count, 1, 1},
                             (void *)(given ? attr->u.floats : none),
                             count * sizeof(float)};
    uint32_t x = times(c, lt_contrib_in(c, 0), "scale"), add = lt_emit_constant(c, &bias);
    lt_contrib_to(c, 0);
    lt_emit2(c, "Add", x, add);
}

/* alpha * function(beta * x) */
static void scaled(lt_contrib *c, const char *function)
{
    if (leat_node_attr(c->node, "alpha") == NULL || leat_node_attr(c->node, "beta") == NULL) {
        lt_contrib_refuse(c, "needs alpha and beta");
        return;
    }
    uint32_t y = lt_emit1(c, function, times(c, lt_contrib_in(c, 0), "beta"));
    uint32_t alpha = lt_emit_number(c, y, (double)leat_node_float(c->node, "alpha", 1));
    lt_contrib_to(c, 0);
    lt_emit2(c, "Mul", alpha, y);
}

static void scaled_tanh(lt_contrib *c)
{
    scaled(c, "Tanh");
}

static void parametric_softplus(lt_contrib *c)
{
    scaled(c, "Softplus");
}

static void slice(lt_contrib *c, uint32_t x, uint32_t starts, uint32_t ends, uint32_t axes)
{
    const uint32_t inputs[4] = {x, starts, ends, axes};
    lt_contrib_to(c, 0);
    lt_emit(c, "Slice", inputs, 4);
}

static void dynamic_slice(lt_contrib *c)
{
    slice(c, lt_contrib_in(c, 0), lt_contrib_in(c, 1), lt_contrib_in(c, 2), lt_contrib_in(c, 3));
}

/* border: left, top, right, bottom; scale: height and width instead of the last two */
static void crop(lt_contrib *c)
{
    static const int64_t axes[2] = {2, 3};
    size_t n_border, n_scale;
    const int64_t *border = leat_node_ints(c->node, "border", &n_border);
    const int64_t *size = leat_node_ints(c->node, "scale", &n_scale);
    bool sound = n_border == 4 && (n_scale == 0 || n_scale == 2);
    for (size_t i = 0; i < n_border; i++) {
        sound = sound && border[i] >= 0 && border[i] <= INT32_MAX;
    }
    for (size_t i = 0; i < n_scale; i++) {
        sound = sound && size[i] >= 0 && size[i] <= INT32_MAX;
    }
    if (!sound) {
        lt_contrib_refuse(c, "needs a border of four numbers, and a scale of two or none");
        return;
    }
    const int64_t starts[2] = {border[1], border[0]};
    const int64_t ends[2] = {n_scale     ? border[1] + size[0]
                             : border[3] ? -border[3]
                                         : INT64_MAX,
                             n_scale     ? border[0] + size[1]
                             : border[2] ? -border[2]
                                         : INT64_MAX};
    uint32_t from = lt_emit_ints(c, starts, 2), to = lt_emit_ints(c, ends, 2);
    slice(c, lt_contrib_in(c, 0), from, to, lt_emit_ints(c, axes, 2));
}

const lt_contrib_op lt_contrib_removed[] = {{"Affine", affine},
                                            {"Crop", crop},
                                            {"DynamicSlice", dynamic_slice},
                                            {"ImageScaler", image_scaler},
                                            {"ParametricSoftplus", parametric_softplus},
                                            {"Scale", scale},
                                            {"ScaledTanh", scaled_tanh},
                                            {NULL, NULL}};

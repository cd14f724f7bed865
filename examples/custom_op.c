/* SPDX-License-Identifier: Apache-2.0 */
/* An operator of the application: acme.SoftThreshold moves every number by `alpha` towards zero.
 * The model, y = SoftThreshold(x) * x, is in the bytes below.
 * Build:  cc custom_op.c $(pkg-config --cflags --libs leat) -lm -o custom_op */
#include <leat/operator.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

/* helper.make_model(make_graph([make_node("SoftThreshold", ["x"], ["u"], domain="acme", alpha=0.5),
 *     make_node("Mul", ["u", "x"], ["y"])], "g", [x: float[N,3]], [y: float[N,3]]),
 *     opset_imports=[("", 17), ("acme", 1)]).SerializeToString() */
static const unsigned char model_bytes[] = {
    0x08, 0x08, 0x3a, 0x6d, 0x0a, 0x2c, 0x0a, 0x01, 0x78, 0x12, 0x01, 0x75, 0x22, 0x0d, 0x53,
    0x6f, 0x66, 0x74, 0x54, 0x68, 0x72, 0x65, 0x73, 0x68, 0x6f, 0x6c, 0x64, 0x2a, 0x0f, 0x0a,
    0x05, 0x61, 0x6c, 0x70, 0x68, 0x61, 0x15, 0x00, 0x00, 0x00, 0x3f, 0xa0, 0x01, 0x01, 0x3a,
    0x04, 0x61, 0x63, 0x6d, 0x65, 0x0a, 0x0e, 0x0a, 0x01, 0x75, 0x0a, 0x01, 0x78, 0x12, 0x01,
    0x79, 0x22, 0x03, 0x4d, 0x75, 0x6c, 0x12, 0x01, 0x67, 0x5a, 0x14, 0x0a, 0x01, 0x78, 0x12,
    0x0f, 0x0a, 0x0d, 0x08, 0x01, 0x12, 0x09, 0x0a, 0x03, 0x12, 0x01, 0x4e, 0x0a, 0x02, 0x08,
    0x03, 0x62, 0x14, 0x0a, 0x01, 0x79, 0x12, 0x0f, 0x0a, 0x0d, 0x08, 0x01, 0x12, 0x09, 0x0a,
    0x03, 0x12, 0x01, 0x4e, 0x0a, 0x02, 0x08, 0x03, 0x42, 0x04, 0x0a, 0x00, 0x10, 0x11, 0x42,
    0x08, 0x0a, 0x04, 0x61, 0x63, 0x6d, 0x65, 0x10, 0x01};

/* The output is like the input; a dimension that is a symbol (N) is passed on as it is. */
static leat_status shapes(void *user, const leat_node *node, const leat_op_value *inputs,
                          leat_op_value *outputs, leat_error *err)
{
    (void)user;
    (void)node;
    if (inputs[0].dtype != LEAT_DTYPE_F32) {
        snprintf(err->message, sizeof(err->message), "its input must be f32, not %s",
                 leat_dtype_name(inputs[0].dtype));
        return LEAT_INVALID;
    }
    outputs[0] = inputs[0];
    return LEAT_OK;
}

static leat_status compute(void *user, const leat_op_call *call, leat_error *err)
{
    const float alpha = leat_node_float(call->node, "alpha", 1.0f);
    const float *x = (const float *)call->inputs[0].data;
    float *y = (float *)call->outputs[0].data;
    (void)user;
    (void)err;
    for (size_t i = 0; i < call->inputs[0].bytes / sizeof(*x); i++) {
        y[i] = copysignf(fmaxf(fabsf(x[i]) - alpha, 0), x[i]);
    }
    return LEAT_OK;
}

int main(void)
{
    leat_op_desc op;
    leat_error err;
    leat_context *context = NULL;
    leat_model *model = NULL;
    leat_session *session = NULL;
    float x[6] = {-2, -0.25f, 0, 0.5f, 1, 3};
    leat_array in = {LEAT_DTYPE_F32, 2, {2, 3}, x, sizeof(x)}, out;
    int result = 1;

    memset(&op, 0, sizeof(op));
    memset(&out, 0, sizeof(out));
    op.struct_size = sizeof(op);
    op.domain = "acme";
    op.name = "SoftThreshold";
    op.min_inputs = op.max_inputs = 1;
    op.min_outputs = op.max_outputs = 1;
    op.shapes = shapes;
    op.compute = compute;
    if (leat_context_create(NULL, &context, &err) || leat_context_add_op(context, &op, &err) ||
        leat_model_load_memory(context, model_bytes, sizeof(model_bytes), NULL, &model, &err) ||
        leat_session_create(model, NULL, &session, &err) ||
        leat_session_run(session, &in, 1, &out, 1, &err)) {
        fprintf(stderr, "custom_op: %s\n", err.message);
    } else {
        const float *y = (const float *)out.data;
        for (size_t i = 0; i < out.bytes / sizeof(*y); i++) {
            printf("%g%s", (double)y[i], i + 1 < out.bytes / sizeof(*y) ? " " : "\n");
        }
        result = 0;
    }
    leat_session_destroy(session);
    leat_model_destroy(model);
    leat_context_destroy(context);
    return result;
}

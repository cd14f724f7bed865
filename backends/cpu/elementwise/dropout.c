/* SPDX-License-Identifier: Apache-2.0 */
/* Dropout: at inference the data passes through and the mask is all true; with training_mode
 * y = x * mask / (1 - ratio), the mask drawn as ONNX's reference draws it for the seed. Drawing is
 * serial, as the sequence is: the models that leat runs are trained already. */
#include "elementwise/element.h"
#include "elementwise/mt19937.h"

typedef struct dropout {
    leat_dtype dtype, ratio_dtype;
    int64_t count;
    uint32_t seed;
    bool has_ratio, has_training, has_mask;
} dropout;

static leat_status dropout_run(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const dropout *d = state;
    uint8_t *mask = d->has_mask ? args->outputs[1] : NULL;
    bool training = d->has_training && *(const uint8_t *)args->inputs[2];
    double ratio = d->has_ratio ? lt_element_get(d->ratio_dtype, args->inputs[1], 0) : 0.5;
    if (!training || ratio == 0) {
        if (args->outputs[0] != args->inputs[0]) {
            memcpy(args->outputs[0], args->inputs[0],
                   (size_t)d->count * lt_cpu_element_bytes(d->dtype));
        }
        if (mask != NULL) {
            memset(mask, 1, (size_t)d->count);
        }
        return LEAT_OK;
    }
    if (!(ratio > 0 && ratio < 1)) {
        return lt_cpu_fail(err, LEAT_INVALID, "Dropout: ratio is %g; it must be in [0, 1)", ratio);
    }
    lt_mt19937 *random = args->workspace;
    lt_mt19937_seed(random, d->seed);
    for (int64_t i = 0; i < d->count; i++) {
        bool keep = lt_mt19937_uniform(random) >= ratio;
        double v = lt_element_get(d->dtype, args->inputs[0], i);
        lt_element_set(d->dtype, args->outputs[0], i, keep ? v / (1 - ratio) : 0);
        if (mask != NULL) {
            mask[i] = keep;
        }
    }
    return LEAT_OK;
}

/* The mask of opset 7 to 9 has the data's type: no model was found that asks for it. */
leat_status lt_cpu_dropout_supports(const leat_kernel_node *node, leat_error *err)
{
    if (node->node->opset < 10 && leat_kernel_output(node, 1) != NULL) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "Dropout: the mask of opset %d is not supported",
                           node->node->opset);
    }
    return LEAT_OK;
}

static leat_status check(const leat_kernel_node *node, leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *y = leat_kernel_output(node, 0);
    const leat_value *ratio = leat_kernel_input(node, 1), *training = leat_kernel_input(node, 2);
    const leat_value *mask = leat_kernel_output(node, 1);
    bool good = y->dtype == x->dtype && leat_value_count(y) == leat_value_count(x);
    good = good &&
           (ratio == NULL || ((CPU_FLOATS >> ratio->dtype & 1) && leat_value_count(ratio) == 1));
    good = good && (training == NULL ||
                    (training->dtype == LEAT_DTYPE_BOOL && leat_value_count(training) == 1));
    good = good && (mask == NULL || (mask->dtype == LEAT_DTYPE_BOOL &&
                                     leat_value_count(mask) == leat_value_count(x)));
    return good ? LEAT_OK
                : lt_cpu_fail(err, LEAT_INVALID,
                              "Dropout node '%s': an input or output has another type or shape",
                              node->node->name);
}

leat_status lt_cpu_dropout_prepare(const leat_kernel_node *node, void *device,
                                   const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                                   leat_error *err)
{
    const leat_value *x = leat_kernel_input(node, 0), *ratio = leat_kernel_input(node, 1);
    const leat_value *training = leat_kernel_input(node, 2);
    (void)device;
    leat_status status = check(node, err);
    if (status != LEAT_OK) {
        return status;
    }
    bool off = training == NULL || (training->data && *(const uint8_t *)training->data == 0);
    if (off && leat_kernel_output(node, 1) == NULL) {
        out_kernel->name = "view";
        out_kernel->view_of = 1;
        return LEAT_OK;
    }
    if (!off && !(CPU_FLOATS >> x->dtype & 1)) {
        return lt_cpu_fail(err, LEAT_UNSUPPORTED, "Dropout: training_mode in %s is not supported",
                           leat_dtype_name(x->dtype));
    }
    dropout *d = host->plan_alloc(plan, sizeof(*d));
    if (d == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "Dropout: no memory for the plan");
    }
    d->dtype = x->dtype;
    d->has_ratio = ratio != NULL;
    d->has_training = training != NULL;
    d->has_mask = leat_kernel_output(node, 1) != NULL;
    d->ratio_dtype = ratio ? ratio->dtype : LEAT_DTYPE_F32;
    d->count = leat_value_count(x);
    d->seed = (uint32_t)leat_node_int(node->node, "seed", 0);
    out_kernel->name = "dropout";
    out_kernel->workspace_bytes = sizeof(lt_mt19937);
    out_kernel->launch = dropout_run;
    out_kernel->state = d;
    out_kernel->inplace_mask = 1;
    return LEAT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Chooses how a convolution is computed. */
#include "conv/conv.h"

static bool is_depthwise(const lt_conv_geometry *g)
{
    return g->groups > 1 && g->groups == g->in_channels && g->in_channels == g->out_channels &&
           g->in[0] == 1 && g->kernel[0] == 1;
}

leat_status lt_cpu_conv_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *w = leat_kernel_input(node, 1), *bias = leat_kernel_input(node, 2);
    lt_conv conv = {.dtype = leat_kernel_input(node, 0)->dtype,
                    .residual_input = lt_conv_residual_input(node)};
    leat_status status = lt_conv_geometry_read(node, false, &conv.g, err);
    if (status != LEAT_OK) {
        return status;
    }
    lt_cpu_activation_read(node->node, &conv.activation);
    conv.has_bias = bias != NULL && conv.residual_input != 2;
    bool constant = w->data != NULL && (!conv.has_bias || bias->data != NULL);
    lt_conv_way_fn way = lt_conv_direct_prepare;
    if (constant && conv.g.channels_last) {
        if (conv.dtype == LEAT_DTYPE_F32 && is_depthwise(&conv.g)) {
            way = lt_conv_depthwise_prepare;
        } else if (conv.dtype == LEAT_DTYPE_F32 || conv.dtype == LEAT_DTYPE_F64) {
            way = lt_conv_igemm_prepare;
        }
    }
    return way(node, &conv, device, host, plan, out_kernel, err);
}

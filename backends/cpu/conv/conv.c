/* SPDX-License-Identifier: Apache-2.0 */
/* Chooses how a convolution is computed. */
#include "conv/conv.h"
#include "conv/depthwise.h"
#include "conv/igemm.h"
#include "conv/spread.h"
#include "conv/winograd.h"

static bool is_depthwise(const lt_conv_geometry *g)
{
    return g->groups > 1 && g->groups == g->in_channels && g->in_channels == g->out_channels &&
           g->in[0] == 1 && g->kernel[0] == 1;
}

/* How a depthwise convolution is computed. */
static lt_conv_way_fn depthwise_way(const lt_conv *conv, const lt_cpu_device *device)
{
    bool brain = conv->compute == LEAT_DTYPE_BF16 && conv->dtype == LEAT_DTYPE_BF16 &&
                 conv->y_dtype == LEAT_DTYPE_BF16 && conv->residual_dtype == LEAT_DTYPE_BF16;
    if (conv->compute == LEAT_DTYPE_F32 ||
        (brain && lt_depthwise_takes_bf16(&conv->g, &conv->activation, device))) {
        return lt_conv_depthwise_prepare;
    }
    return lt_conv_depthwise_mixed_prepare;
}

/* A way for plan_choose. */
typedef struct conv_way {
    const lt_conv *conv;
    lt_conv_way_fn prepare;
} conv_way;

static leat_status prepare_way(const leat_kernel_node *node, void *device, const leat_host *host,
                               leat_plan *plan, const void *argument, leat_kernel *out_kernel,
                               leat_error *err)
{
    const conv_way *way = argument;
    return way->prepare(node, way->conv, device, host, plan, out_kernel, err);
}

/* Indirect GEMM, with rows of several pixels or not, or one of Winograd's. */
static leat_status choose(const leat_kernel_node *node, const lt_conv *conv,
                          const lt_cpu_device *device, const leat_host *host, leat_plan *plan,
                          leat_kernel *out_kernel, leat_error *err)
{
    const lt_conv_costs costs = lt_winograd_costs(conv, device, host->pool_threads(host->pool));
    const conv_way ways[] = {{conv, lt_conv_igemm_prepare},
                             {conv, lt_conv_winograd_4x4_prepare},
                             {conv, lt_conv_winograd_2x2_prepare},
                             {conv, lt_conv_spread_prepare}};
    double gain;
    leat_way offered[4] = {{"igemm", costs.igemm_ns, prepare_way, &ways[0]}};
    size_t count = 1;
    if (costs.winograd_4x4_ns > 0) {
        offered[count++] = (leat_way){"winograd_4x4", costs.winograd_4x4_ns, prepare_way, &ways[1]};
    }
    if (costs.winograd_2x2_ns > 0) {
        offered[count++] = (leat_way){"winograd_2x2", costs.winograd_2x2_ns, prepare_way, &ways[2]};
    }
    if (lt_conv_spread_pixels(conv, device, &gain) > 1) {
        offered[count++] = (leat_way){"spread", costs.igemm_ns / gain, prepare_way, &ways[3]};
    }
    return host->plan_choose(plan, node, offered, count, out_kernel, err);
}

/* Indirect GEMM, with rows of several pixels or not. */
static leat_status choose_rows(const leat_kernel_node *node, const lt_conv *conv,
                               const lt_cpu_device *device, const leat_host *host, leat_plan *plan,
                               leat_kernel *out_kernel, leat_error *err)
{
    const conv_way igemm = {conv, lt_conv_igemm_prepare}, spread = {conv, lt_conv_spread_prepare};
    const lt_conv_costs costs = lt_winograd_costs(conv, device, host->pool_threads(host->pool));
    double gain;
    lt_conv_spread_pixels(conv, device, &gain);
    const leat_way ways[] = {{"igemm", costs.igemm_ns, prepare_way, &igemm},
                             {"spread", costs.igemm_ns / gain, prepare_way, &spread}};
    return host->plan_choose(plan, node, ways, 2, out_kernel, err);
}

/* Indirect GEMM or, for a matrix that it may be, Strassen's product. */
static leat_status choose_product(const leat_kernel_node *node, const lt_conv *conv,
                                  const lt_cpu_device *device, const leat_host *host,
                                  leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    lt_strassen_costs costs;
    if (host->plan_options(plan)->plain_algorithms ||
        lt_igemm_strassen(conv, device, host->pool_threads(host->pool), &costs) == NULL) {
        return lt_conv_igemm_prepare(node, conv, device, host, plan, out_kernel, err);
    }
    const conv_way igemm = {conv, lt_conv_igemm_prepare};
    const conv_way strassen = {conv, lt_conv_strassen_prepare};
    const leat_way ways[] = {{"igemm", costs.plain_ns, prepare_way, &igemm},
                             {"strassen", costs.strassen_ns, prepare_way, &strassen}};
    return host->plan_choose(plan, node, ways, 2, out_kernel, err);
}

/* How a convolution is computed that is no depthwise one. */
static lt_conv_way_fn product_way(const lt_conv *conv, const lt_cpu_device *device, bool plain)
{
    double gain;
    if (!plain && lt_winograd_applies(conv)) {
        return choose;
    }
    return !plain && lt_conv_spread_pixels(conv, device, &gain) > 1 ? choose_rows : choose_product;
}

leat_status lt_cpu_conv_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    const leat_value *w = leat_kernel_input(node, 1), *bias = leat_kernel_input(node, 2);
    lt_conv conv = {.dtype = leat_kernel_input(node, 0)->dtype,
                    .compute = lt_cpu_compute_dtype(node),
                    .w_dtype = w->dtype,
                    .y_dtype = leat_kernel_output(node, 0)->dtype,
                    .residual_input = lt_conv_residual_input(node)};
    const leat_value *residual = leat_kernel_input(node, conv.residual_input);
    conv.bias_dtype = bias ? bias->dtype : conv.dtype;
    conv.residual_dtype = residual ? residual->dtype : conv.dtype;
    leat_status status = lt_conv_geometry_read(node, false, &conv.g, err);
    if (status != LEAT_OK) {
        return status;
    }
    lt_cpu_activation_read(node->node, &conv.activation);
    conv.has_bias = bias != NULL && conv.residual_input != 2;
    bool constant = w->data != NULL && (!conv.has_bias || bias->data != NULL);
    lt_conv_way_fn way = lt_conv_direct_prepare;
    if (constant && conv.g.channels_last) {
        if (conv.compute != LEAT_DTYPE_F64 && is_depthwise(&conv.g)) {
            way = depthwise_way(&conv, device);
        } else {
            way = product_way(&conv, device, host->plan_options(plan)->plain_algorithms);
        }
    }
    return way(node, &conv, device, host, plan, out_kernel, err);
}

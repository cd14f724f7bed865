/* SPDX-License-Identifier: Apache-2.0 */
#include "conformance/conformance.h"

int main(void)
{
    static const conformance_exclusion exclusions[] = {
        {"node_Sigmoid", "the graph device knows Relu and Add only"},
        {"node_Identity", "the graph device knows Relu and Add only"},
        {"node_Sub", "the graph device knows Relu and Add only"},
        {"node_Mul", "the graph device knows Relu and Add only"},
        {"node_Add_broadcast", "the graph device does not broadcast"},
        {"node_MatMul", "the graph device knows Relu and Add only"},
        {"node_Softmax", "the graph device knows Relu and Add only"},
        {"node_Conv", "the graph device knows Relu and Add only"},
        {"node_Transpose", "the graph device knows Relu and Add only"},
        {"node_Reshape", "the graph device knows Relu and Add only"},
    };
    const conformance_target target = {.plugin = TEST_BUILD "/tests/plugins/backend_graph.so",
                                       .device = "graph:0",
                                       .exclusions = exclusions,
                                       .n_exclusions = sizeof(exclusions) / sizeof(exclusions[0])};
    return conformance_run(&target);
}

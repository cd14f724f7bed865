/* SPDX-License-Identifier: Apache-2.0 */
#include "conformance/conformance.h"

int main(void)
{
    static const conformance_exclusion exclusions[] = {
        {"node_Sigmoid", "the fake device has no Sigmoid"},
        {"node_Identity", "the fake device has no Identity"},
        {"node_Sub", "the fake device refuses Sub on purpose"},
        {"node_Mul", "the fake device has no Mul"},
        {"node_Add_broadcast", "the fake device does not broadcast"},
        {"node_Softmax", "the fake device has no Softmax"},
        {"node_Conv", "the fake device has no Conv"},
        {"node_Transpose", "the fake device has no Transpose"},
    };
    const conformance_target target = {.plugin = TEST_BUILD "/tests/plugins/backend_fake.so",
                                       .device = "fake:0",
                                       .exclusions = exclusions,
                                       .n_exclusions = sizeof(exclusions) / sizeof(exclusions[0])};
    return conformance_run(&target);
}

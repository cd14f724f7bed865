/* SPDX-License-Identifier: Apache-2.0 */
#include "conformance/conformance.h"

int main(void)
{
    const conformance_target target = {.device = "cpu"};
    return conformance_run(&target);
}

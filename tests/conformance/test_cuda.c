/* SPDX-License-Identifier: Apache-2.0 */
/* The CUDA plugin's host side and kernels, on a driver whose GPU threads are fibres
 * (tests/backends/cuda/fake_driver.cpp). */
#include "conformance/conformance.h"

#include <dlfcn.h>
#include <stdio.h>

int main(void)
{
    const conformance_target target = {.plugin = TEST_BUILD "/tests/backends/cuda/libleat_cuda.so",
                                       .device = "cuda:0"};
    /* A loaded library serves every later dlopen of its soname, here the plugin's of the driver. */
    void *driver = dlopen(TEST_BUILD "/tests/backends/cuda/libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (driver == NULL || dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL) != driver) {
        fprintf(stderr, "the fake driver does not serve: %s\n", dlerror());
        return 1;
    }
    return conformance_run(&target);
}

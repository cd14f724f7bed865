/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LT_RUNTIME_TENSOR_H
#define LT_RUNTIME_TENSOR_H

#include "runtime/context.h"

struct leat_tensor {
    leat_context *context;
    lt_device *device;
    leat_array array;
    bool owned; /* array.data is freed with the tensor */
};

#endif

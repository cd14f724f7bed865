/* SPDX-License-Identifier: Apache-2.0 */
/* The end of the operators that leat_context_add_op added. */
#ifndef LT_RUNTIME_CUSTOM_OP_H
#define LT_RUNTIME_CUSTOM_OP_H

#include "runtime/context.h"

/* Calls their destroy functions and frees them; no model may be left. */
void lt_custom_ops_destroy(leat_context *context);

#endif

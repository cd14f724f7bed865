/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin that serves no ABI, and says each time that it was asked (as no other plugin may). */
#include <leat/backend.h>

#include <stdio.h>

LEAT_API const leat_backend *leat_backend_query(uint32_t host_abi);

LEAT_API const leat_backend *leat_backend_query(uint32_t host_abi)
{
    fprintf(stderr, "refusing ABI %u\n", host_abi);
    return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as a .npy file. */
#include "base/npy.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    lt_memory memory;
    lt_arena arena;
    leat_array array;
    leat_error err;
    unsigned sum = 0;
    lt_memory_init(&memory, NULL, FUZZ_BUDGET);
    lt_arena_init(&arena, &memory, 1024);
    if (lt_npy_read(&arena, data, bytes, &array, &err) == LEAT_OK) {
        for (size_t i = 0; array.dtype != LEAT_DTYPE_STRING && i < array.bytes; i++) {
            sum += ((const unsigned char *)array.data)[i];
        }
    }
    (void)sum;
    lt_arena_destroy(&arena);
    if (memory.live_blocks != 0) {
        fuzz_fail("memory is still allocated");
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as a .npz archive: its entries by name and the only one, each read as a .npy file. */
#include "base/npy.h"
#include "fuzz/fuzz.h"
#include "quantizer/npz.h"

static void read_entry(lt_memory *memory, const uint8_t *data, size_t bytes, const char *name)
{
    lt_arena arena;
    leat_array array;
    leat_error err;
    const void *entry;
    size_t entry_bytes;
    unsigned sum = 0;
    lt_arena_init(&arena, memory, 1024);
    if (lt_npz_entry(data, bytes, name, &entry, &entry_bytes, &err) == LEAT_OK &&
        lt_npy_read(&arena, entry, entry_bytes, &array, &err) == LEAT_OK) {
        for (size_t i = 0; array.dtype != LEAT_DTYPE_STRING && i < array.bytes; i++) {
            sum += ((const unsigned char *)array.data)[i];
        }
    }
    (void)sum; /* read for the sanitizers' sake */
    lt_arena_destroy(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const char *const names[] = {NULL, "x", "arr_0", ""};
    lt_memory memory;
    lt_memory_init(&memory, NULL, FUZZ_BUDGET);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        read_entry(&memory, data, bytes, names[i]);
    }
    if (memory.live_blocks != 0) {
        fuzz_fail("memory is still allocated");
    }
    return 0;
}

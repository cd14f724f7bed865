/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as a value of ONNX's test data: behind the first byte, which says what it is read as, a
 * tensor, a sequence or an optional. */
#include "fuzz/fuzz.h"
#include "onnx/reader.h"

static unsigned sum_of(const leat_array *array, int depth)
{
    const size_t step = sizeof(leat_array);
    unsigned sum = 0;
    if (array->dtype == LEAT_DTYPE_SEQUENCE || array->dtype == LEAT_DTYPE_OPTIONAL) {
        for (size_t i = 0; depth < 8 && i < array->bytes / step; i++) {
            sum += sum_of((const leat_array *)array->data + i, depth + 1);
        }
        return sum;
    }
    if (array->dtype == LEAT_DTYPE_STRING) {
        const leat_string *words = array->data;
        for (size_t i = 0; i < array->bytes / sizeof(*words); i++) {
            for (size_t k = 0; k < words[i].bytes; k++) {
                sum += (unsigned char)words[i].data[k];
            }
        }
        return sum;
    }
    for (size_t i = 0; array->dtype != LEAT_DTYPE_MAP && i < array->bytes; i++) {
        sum += ((const unsigned char *)array->data)[i];
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const leat_dtype kinds[] = {LEAT_DTYPE_F32, LEAT_DTYPE_SEQUENCE, LEAT_DTYPE_OPTIONAL};
    unsigned sum = 0;
    lt_memory memory;
    lt_arena arena;
    leat_array array;
    leat_error err;
    const char *name;
    if (bytes == 0) {
        return 0;
    }
    lt_memory_init(&memory, NULL, FUZZ_BUDGET);
    lt_arena_init(&arena, &memory, 1024);
    if (lt_onnx_read_value(&arena, kinds[data[0] % 3], data + 1, bytes - 1, &array, &err) ==
        LEAT_OK) {
        sum += sum_of(&array, 0);
    }
    if (lt_onnx_read_tensor(&arena, data + 1, bytes - 1, &array, &name, &err) == LEAT_OK) {
        sum += sum_of(&array, 0) + (name != NULL);
    }
    (void)sum; /* read for the sanitizers' sake */
    lt_arena_destroy(&arena);
    if (memory.live_blocks != 0) {
        fuzz_fail("memory is still allocated");
    }
    return 0;
}

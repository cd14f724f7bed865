/* SPDX-License-Identifier: Apache-2.0 */
#include "base/tensor.h"

#include "base/memory.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    uint32_t bits;
} dtypes[LEAT_DTYPE_COUNT] = {
    [LEAT_DTYPE_UNDEFINED] = {"undefined", 0},
    [LEAT_DTYPE_F32] = {"f32", 32},
    [LEAT_DTYPE_U8] = {"u8", 8},
    [LEAT_DTYPE_I8] = {"i8", 8},
    [LEAT_DTYPE_U16] = {"u16", 16},
    [LEAT_DTYPE_I16] = {"i16", 16},
    [LEAT_DTYPE_I32] = {"i32", 32},
    [LEAT_DTYPE_I64] = {"i64", 64},
    [LEAT_DTYPE_STRING] = {"string", 8 * sizeof(leat_string)},
    [LEAT_DTYPE_BOOL] = {"bool", 8},
    [LEAT_DTYPE_F16] = {"f16", 16},
    [LEAT_DTYPE_F64] = {"f64", 64},
    [LEAT_DTYPE_U32] = {"u32", 32},
    [LEAT_DTYPE_U64] = {"u64", 64},
    [LEAT_DTYPE_C64] = {"c64", 64},
    [LEAT_DTYPE_C128] = {"c128", 128},
    [LEAT_DTYPE_BF16] = {"bf16", 16},
    [LEAT_DTYPE_F8E4M3FN] = {"f8e4m3fn", 8},
    [LEAT_DTYPE_F8E4M3FNUZ] = {"f8e4m3fnuz", 8},
    [LEAT_DTYPE_F8E5M2] = {"f8e5m2", 8},
    [LEAT_DTYPE_F8E5M2FNUZ] = {"f8e5m2fnuz", 8},
    [LEAT_DTYPE_U4] = {"u4", 4},
    [LEAT_DTYPE_I4] = {"i4", 4},
    [LEAT_DTYPE_F4E2M1] = {"f4e2m1", 4},
    [LEAT_DTYPE_F8E8M0] = {"f8e8m0", 8},
    [LEAT_DTYPE_U2] = {"u2", 2},
    [LEAT_DTYPE_I2] = {"i2", 2},
};

uint32_t lt_dtype_bits(leat_dtype dtype)
{
    if (lt_is_container(dtype)) {
        return 8 * sizeof(leat_array);
    }
    return (unsigned)dtype < LEAT_DTYPE_COUNT ? dtypes[dtype].bits : 0;
}

const char *leat_dtype_name(leat_dtype dtype)
{
    if (lt_is_container(dtype)) {
        return dtype == LEAT_DTYPE_MAP        ? "map"
               : dtype == LEAT_DTYPE_SEQUENCE ? "sequence"
                                              : "optional";
    }
    return dtypes[(unsigned)dtype < LEAT_DTYPE_COUNT ? dtype : LEAT_DTYPE_UNDEFINED].name;
}

leat_dtype lt_dtype_from_name(const char *name)
{
    for (int i = 1; i < LEAT_DTYPE_COUNT; i++) {
        if (strcmp(dtypes[i].name, name) == 0) {
            return (leat_dtype)i;
        }
    }
    return LEAT_DTYPE_UNDEFINED;
}

size_t leat_dtype_bytes(leat_dtype dtype, size_t count)
{
    size_t bits = lt_dtype_bits(dtype);
    size_t total;
    if (bits < 8) { /* several elements a byte */
        size_t per_byte = bits ? 8 / bits : 1;
        return bits ? count / per_byte + (count % per_byte != 0) : 0;
    }
    return lt_mul(count, bits / 8, &total) ? total : 0;
}

/* Product of the dimensions that are not 0: an empty array has strides, too, and kernels compute
 * them in int64_t. */
static bool extent(int32_t rank, const int64_t *shape, size_t *out_extent, bool *out_empty)
{
    size_t count = 1;
    *out_empty = false;
    for (int32_t i = 0; i < rank; i++) {
        if (shape[i] < 0) {
            return false;
        }
        *out_empty |= shape[i] == 0;
        if (shape[i] != 0 && (!lt_mul(count, (size_t)shape[i], &count) || count > INT64_MAX)) {
            return false;
        }
    }
    *out_extent = count;
    return true;
}

bool lt_shape_count(int32_t rank, const int64_t *shape, size_t *out_count)
{
    bool empty;
    if (!extent(rank, shape, out_count, &empty)) {
        return false;
    }
    *out_count = empty ? 0 : *out_count;
    return true;
}

bool lt_shape_bytes(leat_dtype dtype, int32_t rank, const int64_t *shape, size_t *out_bytes)
{
    size_t count;
    bool empty;
    if (lt_dtype_bits(dtype) == 0 || !extent(rank, shape, &count, &empty)) {
        return false;
    }
    size_t bytes = leat_dtype_bytes(dtype, count);
    if (bytes == 0 || bytes > INT64_MAX) {
        return false;
    }
    *out_bytes = empty ? 0 : bytes;
    return true;
}

bool lt_shape_equal(int32_t rank_a, const int64_t *a, int32_t rank_b, const int64_t *b)
{
    return rank_a == rank_b && (rank_a <= 0 || memcmp(a, b, (size_t)rank_a * sizeof(*a)) == 0);
}

char *lt_shape_text(int32_t rank, const int64_t *shape, char *text, size_t capacity)
{
    size_t used = 0;
    if (capacity == 0) {
        return text;
    }
    snprintf(text, capacity, "%s", rank < 0 ? "?" : rank == 0 ? "scalar" : "");
    for (int32_t i = 0; i < rank && used < capacity; i++) {
        const char *separator = i ? "x" : "";
        int n = shape[i] < 0 ? snprintf(text + used, capacity - used, "%s?", separator)
                             : snprintf(text + used, capacity - used, "%s%lld", separator,
                                        (long long)shape[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    return text;
}

char *lt_io_names(const leat_io *ios, size_t count, char *text, size_t capacity)
{
    size_t used = 0;
    snprintf(text, capacity, "none");
    for (size_t i = 0; i < count; i++) {
        const size_t left = capacity - used;
        const int n = snprintf(text + used, left, "%s'%s'", i ? ", " : "", ios[i].name);
        const size_t rest = i + 1 < count ? sizeof(", ...") : 1;
        if (n < 0 || (size_t)n + rest > left) {
            snprintf(text + used, left, "%s", used ? ", ..." : "...");
            break;
        }
        used += (size_t)n;
    }
    return text;
}

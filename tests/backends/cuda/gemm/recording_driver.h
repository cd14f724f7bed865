/* SPDX-License-Identifier: Apache-2.0 */
/* A driver that writes down what it is asked, and sizes to ask it for; no device is needed. */
#ifndef TESTS_BACKENDS_CUDA_GEMM_RECORDING_DRIVER_H
#define TESTS_BACKENDS_CUDA_GEMM_RECORDING_DRIVER_H

#include "support/test.h"

#include "../../../../backends/cuda/gemm/stream.h"

#include <string.h>

typedef struct map_call {
    int dtype, swizzle;
    uint32_t rank;
    uint64_t dims[4], strides[3];
    uint32_t box[3], steps[4];
    int lower[2], upper[2];
    uint32_t channels, pixels;
} map_call;

/* What the driver was asked last; tests run one after the other. */
static struct {
    map_call maps[6];
    int n_maps, n_functions, n_attributes, last_attribute;
    const void *replaced[6];
    int n_replaced;
    uint32_t grid[3], block[3], shared_bytes, n_launch_attributes;
    uint32_t cluster;
    void *function, *stream;
    lt_cuda_gemm_params params;
    int fail; /* result of every call */
} asked;

static inline int get_function(void **out, void *module, const char *name)
{
    assert_non_null(module);
    assert_memory_equal(name, "lt_cuda_gemm_", 13);
    *out = (void *)(uintptr_t)(++asked.n_functions);
    return asked.fail;
}

static inline int set_attribute(void *function, int attribute, int value)
{
    assert_non_null(function);
    assert_int_equal(attribute, 8);
    assert_true(value > 50000 && value <= 232448);
    asked.n_attributes++;
    return asked.fail;
}

static inline int encode_tiled(void *map, int dtype, uint32_t rank, void *address,
                               const uint64_t *dims, const uint64_t *strides, const uint32_t *box,
                               const uint32_t *steps, int interleave, int swizzle, int promotion,
                               int fill)
{
    assert_int_equal((uintptr_t)map % 64, 0);
    assert_int_equal((uintptr_t)address % 16, 0);
    assert_true(interleave == 0 && fill == 0 && promotion == 3);
    map_call *m = &asked.maps[asked.n_maps++];
    *m = (map_call){.dtype = dtype, .rank = rank, .swizzle = swizzle};
    memcpy(m->dims, dims, rank * sizeof *dims);
    memcpy(m->strides, strides, (rank - 1) * sizeof *strides);
    memcpy(m->box, box, rank * sizeof *box);
    memcpy(m->steps, steps, rank * sizeof *steps);
    return asked.fail;
}

static inline int encode_im2col(void *map, int dtype, uint32_t rank, void *address,
                                const uint64_t *dims, const uint64_t *strides, const int *lower,
                                const int *upper, uint32_t channels, uint32_t pixels,
                                const uint32_t *steps, int interleave, int swizzle, int promotion,
                                int fill)
{
    assert_non_null(map);
    assert_non_null(address);
    assert_true(interleave == 0 && fill == 0 && promotion == 3);
    map_call *m = &asked.maps[asked.n_maps++];
    *m = (map_call){.dtype = dtype, .rank = rank, .swizzle = swizzle};
    memcpy(m->dims, dims, rank * sizeof *dims);
    memcpy(m->strides, strides, (rank - 1) * sizeof *strides);
    memcpy(m->steps, steps, rank * sizeof *steps);
    memcpy(m->lower, lower, sizeof m->lower);
    memcpy(m->upper, upper, sizeof m->upper);
    m->channels = channels;
    m->pixels = pixels;
    return asked.fail;
}

static inline int replace_address(void *map, void *address)
{
    assert_int_equal((uintptr_t)map % 64, 0);
    asked.replaced[asked.n_replaced++] = address;
    return asked.fail;
}

static inline int launch_kernel(const void *config, void *function, void **params, void **extra)
{
    struct {
        uint32_t grid[3], block[3], shared_bytes;
        void *stream;
        const struct {
            int32_t id, pad;
            uint32_t value[16];
        } * attributes;
        uint32_t n_attributes;
    } c;
    memcpy(&c, config, sizeof c);
    assert_null(extra);
    memcpy(asked.grid, c.grid, sizeof c.grid);
    memcpy(asked.block, c.block, sizeof c.block);
    asked.shared_bytes = c.shared_bytes;
    asked.stream = c.stream;
    asked.n_launch_attributes = c.n_attributes;
    assert_int_equal(c.attributes[0].id, 4);
    asked.cluster = c.attributes[0].value[0];
    if (c.n_attributes == 2) {
        assert_int_equal(c.attributes[1].id, 6);
        assert_int_equal(c.attributes[1].value[0], 1);
    }
    asked.function = function;
    memcpy(&asked.params, params[0], sizeof asked.params);
    return asked.fail;
}

static inline lt_cuda_gemm open_kernels(void)
{
    static const lt_cuda_gemm_driver driver = {get_function,  set_attribute,   encode_tiled,
                                               encode_im2col, replace_address, launch_kernel};
    static int module;
    void *const modules[LT_GEMM_N_MODULES] = {&module, &module, &module, &module, &module};
    lt_cuda_gemm gemm;
    leat_error err = {0};
    memset(&asked, 0, sizeof asked);
    assert_ok(lt_cuda_gemm_open(&driver, modules, 132, &gemm, &err), &err);
    assert_int_equal(asked.n_functions, LT_GEMM_N_KERNELS);
    assert_int_equal(asked.n_attributes, LT_GEMM_N_KERNELS);
    return gemm;
}

static inline lt_cuda_gemm_desc square(int64_t size)
{
    return (lt_cuda_gemm_desc){.dtype = LEAT_DTYPE_F16,
                               .out_dtype = LEAT_DTYPE_F16,
                               .scale = 1,
                               .m = size,
                               .n = size,
                               .k = size,
                               .batch = 1,
                               .lda = size,
                               .ldb = size,
                               .ldd = size,
                               .ldr = size};
}

static inline lt_cuda_gemm_desc bytes_square(int64_t size)
{
    lt_cuda_gemm_desc d = square(size);
    d.dtype = LEAT_DTYPE_U8;
    d.out_dtype = LEAT_DTYPE_I8;
    d.b_transposed = 1;
    d.requantize = (lt_cuda_gemm_requantize){.mid_factor = 1, .post = 1, .low = -128, .high = 127};
    return d;
}

#endif

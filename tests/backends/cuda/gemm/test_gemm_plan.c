/* SPDX-License-Identifier: Apache-2.0 */
/* Plans and launches against a driver that writes down what it is asked; no device is needed. */
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

static int get_function(void **out, void *module, const char *name)
{
    assert_non_null(module);
    assert_memory_equal(name, "lt_cuda_gemm_", 13);
    *out = (void *)(uintptr_t)(++asked.n_functions);
    return asked.fail;
}

static int set_attribute(void *function, int attribute, int value)
{
    assert_non_null(function);
    assert_int_equal(attribute, 8);
    assert_true(value > 50000 && value <= 232448);
    asked.n_attributes++;
    return asked.fail;
}

static int encode_tiled(void *map, int dtype, uint32_t rank, void *address, const uint64_t *dims,
                        const uint64_t *strides, const uint32_t *box, const uint32_t *steps,
                        int interleave, int swizzle, int promotion, int fill)
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

static int encode_im2col(void *map, int dtype, uint32_t rank, void *address, const uint64_t *dims,
                         const uint64_t *strides, const int *lower, const int *upper,
                         uint32_t channels, uint32_t pixels, const uint32_t *steps, int interleave,
                         int swizzle, int promotion, int fill)
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

static int replace_address(void *map, void *address)
{
    assert_int_equal((uintptr_t)map % 64, 0);
    asked.replaced[asked.n_replaced++] = address;
    return asked.fail;
}

static int launch_kernel(const void *config, void *function, void **params, void **extra)
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

static lt_cuda_gemm open_kernels(void)
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

static lt_cuda_gemm_desc square(int64_t size)
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

static void kernel_names_differ(void **state)
{
    (void)state;
    assert_string_equal(lt_cuda_gemm_kernel_name(0), "lt_cuda_gemm_f16_nk_128x256x64_sm90");
    assert_string_equal(lt_cuda_gemm_kernel_name(LT_GEMM_N_TILE_KERNELS - 1),
                        "lt_cuda_gemm_tf32_conv_64x64x32_sm90");
    assert_string_equal(lt_cuda_gemm_kernel_name(LT_GEMM_N_KERNELS - 1),
                        "lt_cuda_gemm_u8_conv_512x128x128_sm90");
    for (uint32_t i = 0; i < LT_GEMM_N_KERNELS; i++) {
        for (uint32_t j = 0; j < i; j++) {
            assert_string_not_equal(lt_cuda_gemm_kernel_name(i), lt_cuda_gemm_kernel_name(j));
        }
    }
}

static void open_driver_refuses_returns_no_device(void **state)
{
    (void)state;
    lt_cuda_gemm gemm = open_kernels();
    asked.fail = 500;
    void *const modules[LT_GEMM_N_MODULES] = {&gemm};
    leat_error err = {0};
    lt_cuda_gemm again;
    assert_int_equal(lt_cuda_gemm_open(&gemm.driver, modules, 132, &again, &err), LEAT_NO_DEVICE);
    assert_non_null(strstr(err.message, "500"));
}

static void plan_large_product_takes_the_large_tile(void **state)
{
    (void)state;
    lt_cuda_gemm gemm = open_kernels();
    leat_error err = {0};
    lt_cuda_gemm_plan plan;
    lt_cuda_gemm_desc d = square(4096);
    assert_ok(lt_cuda_gemm_plan_product(&gemm, &d, &plan, &err), &err);
    assert_string_equal(lt_cuda_gemm_kernel_name(plan.kernel),
                        "lt_cuda_gemm_f16_kn_128x256x64_sm90");
    assert_int_equal(plan.grid, 132);
    assert_int_equal(plan.cluster, 1);
    assert_int_equal(plan.params.n_tiles, 32 * 16);
    assert_int_equal(plan.params.steps, 64);
    assert_true(plan.cost_ns > 100e3 && plan.cost_ns < 400e3);
    const map_call *a = &asked.maps[0], *b = &asked.maps[1];
    assert_true(a->dtype == 6 && a->rank == 3 && a->swizzle == 3);
    assert_true(a->box[0] == 64 && a->box[1] == 128 && a->box[2] == 1);
    assert_true(b->box[0] == 64 && b->box[1] == 64 && b->box[2] == 1);
    assert_true(a->dims[0] == 4096 && a->strides[0] == 8192);
}

static void plan_f32_takes_tf32(void **state)
{
    (void)state;
    lt_cuda_gemm gemm = open_kernels();
    leat_error err = {0};
    lt_cuda_gemm_plan plan;
    lt_cuda_gemm_desc d = square(4096);
    d.dtype = d.out_dtype = LEAT_DTYPE_F32;
    d.b_transposed = 1;
    assert_ok(lt_cuda_gemm_plan_product(&gemm, &d, &plan, &err), &err);
    assert_memory_equal(lt_cuda_gemm_kernel_name(plan.kernel), "lt_cuda_gemm_tf32_nk_", 21);
    assert_int_equal(plan.params.steps, 128);
    assert_int_equal(plan.params.bytes, 0);
    for (int i = 0; i < 2; i++) {
        const map_call *m = &asked.maps[i];
        assert_true(m->dtype == 11 && m->swizzle == 3 && m->box[0] == 32);
        assert_true(m->dims[0] == 4096 && m->strides[0] == 16384);
    }
    for (uint32_t tile = 1; tile <= LT_GEMM_N_ALL_TILES; tile++) {
        d.tile = tile;
        d.splits = 1;
        asked.n_maps = 0;
        assert_ok(lt_cuda_gemm_plan_product(&gemm, &d, &plan, &err), &err);
        assert_memory_equal(lt_cuda_gemm_kernel_name(plan.kernel), "lt_cuda_gemm_tf32_nk_", 21);
    }
    d.tile = 0;
    d.lda = 4098; /* not of 16 bytes */
    assert_int_equal(lt_cuda_gemm_plan_product(&gemm, &d, &plan, &err), LEAT_UNSUPPORTED);
    d.lda = 4100;
    d.b_transposed = 0;
    assert_int_equal(lt_cuda_gemm_plan_product(&gemm, &d, &plan, &err), LEAT_UNSUPPORTED);
}

static void plan_few_tiles_covers_the_device(void **state)
{
    (void)state;
    lt_cuda_gemm gemm = open_kernels();
    leat_error err = {0};
    lt_cuda_gemm_plan plan;
    lt_cuda_gemm_desc d = square(1024);
    d.m = 384;
    d.k = d.lda = 4096;
    assert_ok(lt_cuda_gemm_plan_product(&gemm, &d, &plan, &err), &err);
    assert_true(plan.grid >= 80);
    assert_int_equal(plan.grid % plan.cluster, 0);
    assert_int_equal(plan.params.splits, plan.cluster);
}

static void plan_every_size_keeps_its_bounds(void **state)
{
    (void)state;
    lt_cuda_gemm gemm = open_kernels();
    leat_error err = {0};
    for (int64_t m = 1; m < 3000; m = m * 3 + 1) {
        for (int64_t k = 8; k < 9000; k = k * 5 + 8) {
            for (uint32_t tile = 0; tile <= LT_GEMM_N_ALL_TILES; tile++) {
                lt_cuda_gemm_desc d = square(136);
                lt_cuda_gemm_plan plan;
                d.m = m;
                d.k = d.lda = k;
                d.tile = tile;
                d.splits = 1;
                asked.n_maps = 0;
                assert_ok(lt_cuda_gemm_plan_product(&gemm, &d, &plan, &err), &err);
                const lt_cuda_gemm_params *p = &plan.params;
                assert_true(p->splits >= 1 && p->splits <= LT_GEMM_MAX_SPLIT);
                assert_true(p->splits <= p->steps);
                assert_int_equal(p->steps, (k + 63) / 64);
                assert_int_equal(plan.grid % plan.cluster, 0);
                assert_true(p->splits == 1
                                ? plan.grid <= 264 && plan.grid <= p->n_tiles * plan.cluster
                                : plan.grid == p->n_tiles * p->splits);
                assert_true(p->a_box_rows % 8 == 0 && p->a_box_rows <= 128);
                assert_true((int64_t)p->a_box_rows >= (m < 64 ? m : 64));
                assert_true(plan.shared_bytes <= 232448);
            }
        }
    }
}

static lt_cuda_gemm_desc bytes_square(int64_t size)
{
    lt_cuda_gemm_desc d = square(size);
    d.dtype = LEAT_DTYPE_U8;
    d.out_dtype = LEAT_DTYPE_I8;
    d.b_transposed = 1;
    d.requantize = (lt_cuda_gemm_requantize){.mid_factor = 1, .post = 1, .low = -128, .high = 127};
    return d;
}

/* A cluster's blocks each copy half of B to both. */
static void plan_shared_columns_makes_clusters(void **state)
{
    (void)state;
    lt_cuda_gemm gemm = open_kernels();
    leat_error err = {0};
    for (int32_t transposed = 0; transposed < 2; transposed++) {
        lt_cuda_gemm_plan plan;
        lt_cuda_gemm_desc d = square(4096);
        d.b_transposed = transposed;
        d.tile = LT_GEMM_N_TILES + 2;
        d.splits = 1;
        asked.n_maps = 0;
        assert_ok(lt_cuda_gemm_plan_product(&gemm, &d, &plan, &err), &err);
        assert_string_equal(lt_cuda_gemm_kernel_name(plan.kernel),
                            transposed ? "lt_cuda_gemm_f16_nk_512x128x64_sm90"
                                       : "lt_cuda_gemm_f16_kn_512x128x64_sm90");
        assert_true(plan.cluster == 2 && plan.grid == 132 && plan.params.splits == 1);
        assert_int_equal(plan.params.n_tiles, 8 * 32);
        assert_true(asked.maps[0].box[1] == 128 && asked.maps[1].box[1] == 64);
    }
}

static void plan_misfits_are_refused(void **state)
{
    (void)state;
    lt_cuda_gemm gemm = open_kernels();
    const struct {
        size_t offset;
        int64_t value;
        leat_status status;
    } cases[] = {
        {offsetof(lt_cuda_gemm_desc, lda), 260, LEAT_UNSUPPORTED},
        {offsetof(lt_cuda_gemm_desc, ldb), 257, LEAT_UNSUPPORTED},
        {offsetof(lt_cuda_gemm_desc, lda), 248, LEAT_INVALID},
        {offsetof(lt_cuda_gemm_desc, ldd), 255, LEAT_INVALID},
        {offsetof(lt_cuda_gemm_desc, m), 0, LEAT_INVALID},
        {offsetof(lt_cuda_gemm_desc, k), -1, LEAT_INVALID},
        {offsetof(lt_cuda_gemm_desc, m), (int64_t)1 << 40, LEAT_UNSUPPORTED},
        {offsetof(lt_cuda_gemm_desc, batch), (int64_t)1 << 30, LEAT_UNSUPPORTED},
        {offsetof(lt_cuda_gemm_desc, a_batch), 12, LEAT_UNSUPPORTED},
        {offsetof(lt_cuda_gemm_desc, b_batch), -8, LEAT_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lt_cuda_gemm_desc d = square(256);
        lt_cuda_gemm_plan plan;
        leat_error err = {0};
        memcpy((char *)&d + cases[i].offset, &cases[i].value, sizeof cases[i].value);
        assert_int_equal(lt_cuda_gemm_plan_product(&gemm, &d, &plan, &err), cases[i].status);
        assert_int_equal(err.status, cases[i].status);
        assert_true(err.message[0] != '\0');
    }
    lt_cuda_gemm_desc d = square(256);
    lt_cuda_gemm_plan plan;
    leat_error err;
    d.dtype = LEAT_DTYPE_F32;
    assert_int_equal(lt_cuda_gemm_plan_product(&gemm, &d, &plan, &err), LEAT_UNSUPPORTED);
    d = square(256);
    d.bias_dtype = LEAT_DTYPE_I32;
    assert_int_equal(lt_cuda_gemm_plan_product(&gemm, &d, &plan, &err), LEAT_UNSUPPORTED);
    d = square(256);
    d.activation = LT_GEMM_N_ACTIVATIONS;
    assert_int_equal(lt_cuda_gemm_plan_product(&gemm, &d, &plan, &err), LEAT_UNSUPPORTED);
    d = square(256);
    d.tile = 2;
    d.splits = 5; /* of four steps */
    assert_int_equal(lt_cuda_gemm_plan_product(&gemm, &d, &plan, &err), LEAT_INVALID);
    d = square(256);
    d.tile = LT_GEMM_N_TILES + 1; /* whose warpgroups take turns */
    d.splits = 2;
    assert_int_equal(lt_cuda_gemm_plan_product(&gemm, &d, &plan, &err), LEAT_INVALID);
    d = bytes_square(256);
    d.tile = LT_GEMM_N_TILES + 1;
    d.splits = 2;
    assert_int_equal(lt_cuda_gemm_plan_product(&gemm, &d, &plan, &err), LEAT_INVALID);
    d.tile = LT_GEMM_N_ALL_TILES + 1;
    d.splits = 1;
    assert_int_equal(lt_cuda_gemm_plan_product(&gemm, &d, &plan, &err), LEAT_INVALID);
}

static void plan_bytes_takes_steps_of_128(void **state)
{
    (void)state;
    lt_cuda_gemm gemm = open_kernels();
    leat_error err = {0};
    lt_cuda_gemm_plan plan;
    lt_cuda_gemm_desc d = bytes_square(4096);
    assert_ok(lt_cuda_gemm_plan_product(&gemm, &d, &plan, &err), &err);
    assert_string_equal(lt_cuda_gemm_kernel_name(plan.kernel),
                        "lt_cuda_gemm_u8_nk_256x128x128_sm90");
    const map_call *a = &asked.maps[0], *b = &asked.maps[1];
    assert_true(a->dtype == 0 && a->box[0] == 128 && a->strides[0] == 4096);
    assert_true(b->dtype == 0 && b->box[0] == 128 && b->box[1] == 128);
    assert_int_equal(plan.params.steps, 32);
    assert_true(plan.params.wide && plan.params.bytes && plan.params.q.high == 127);
    asked.n_maps = 0;
    lt_cuda_gemm_conv_desc c = {.dtype = LEAT_DTYPE_I8,
                                .out_dtype = LEAT_DTYPE_U8,
                                .images = 2,
                                .h = 14,
                                .w = 14,
                                .c = 144,
                                .n = 24,
                                .kh = 3,
                                .kw = 3,
                                .stride_h = 1,
                                .stride_w = 1,
                                .dilation_h = 1,
                                .dilation_w = 1,
                                .pad = {1, 1, 1, 1}};
    assert_ok(lt_cuda_gemm_plan_conv(&gemm, &c, &plan, &err), &err);
    assert_int_equal(plan.params.steps, 9 * 2);
    assert_int_equal(asked.maps[0].channels, 128);
    assert_false(plan.params.wide); /* rows of 24 bytes */
    assert_memory_equal(lt_cuda_gemm_kernel_name(plan.kernel), "lt_cuda_gemm_i8_conv_", 21);
    asked.n_maps = 0;
    c.images = 64;
    c.n = 256;
    c.tile = LT_GEMM_N_TILES + 2; /* whose blocks share B */
    c.splits = 1;
    assert_ok(lt_cuda_gemm_plan_conv(&gemm, &c, &plan, &err), &err);
    assert_string_equal(lt_cuda_gemm_kernel_name(plan.kernel),
                        "lt_cuda_gemm_i8_conv_512x128x128_sm90");
    assert_true(asked.maps[0].pixels == 128 && asked.maps[1].box[1] == 64 && plan.cluster == 2);
    c.dtype = c.out_dtype = LEAT_DTYPE_F16; /* has none */
    assert_int_equal(lt_cuda_gemm_plan_conv(&gemm, &c, &plan, &err), LEAT_INVALID);
}

static void plan_bytes_keeps_few_weights_resident(void **state)
{
    static int module;
    void *const modules[LT_GEMM_N_MODULES] = {&module, &module, &module, &module, &module};
    (void)state;
    lt_cuda_gemm gemm = open_kernels();
    lt_cuda_gemm_plan plan;
    leat_error err = {0};
    assert_ok(lt_cuda_gemm_open_resident(&gemm, modules, &err), &err);
    lt_cuda_gemm_desc d = bytes_square(256);
    d.m = 100352;
    d.k = d.lda = d.ldb = 64;
    assert_ok(lt_cuda_gemm_plan_product(&gemm, &d, &plan, &err), &err);
    asked.n_maps = 0;
    assert_true(lt_cuda_gemm_resident_product(&gemm, &d, 0, &plan));
    assert_string_equal(lt_cuda_gemm_kernel_name(plan.kernel),
                        "lt_cuda_gemm_u8_resident_128x64x64_sm90");
    assert_true(asked.maps[0].swizzle == 2 && asked.maps[0].box[0] == 64);
    assert_true(asked.maps[1].swizzle == 2 && asked.maps[1].box[1] == 64);
    assert_true(plan.grid == 264 && plan.params.steps == 1 && plan.params.tiles_n == 4);
    assert_true(plan.shared_bytes <= 233472 / 2 - 1024 && plan.params.stages == 8);
    d.m = 2048; /* too few tiles */
    assert_ok(lt_cuda_gemm_plan_product(&gemm, &d, &plan, &err), &err);
    assert_false(lt_cuda_gemm_resident_product(&gemm, &d, 0, &plan));
    assert_true(lt_cuda_gemm_resident_product(&gemm, &d, 1, &plan));
    d.k = d.lda = d.ldb = 4096; /* too many weights */
    assert_ok(lt_cuda_gemm_plan_product(&gemm, &d, &plan, &err), &err);
    const uint32_t kernel = plan.kernel;
    assert_false(lt_cuda_gemm_resident_product(&gemm, &d, 1, &plan));
    assert_int_equal(plan.kernel, kernel);
}

static void plan_bytes_misfits_are_refused(void **state)
{
    (void)state;
    lt_cuda_gemm gemm = open_kernels();
    const struct {
        size_t offset;
        int32_t value;
    } cases[] = {
        {offsetof(lt_cuda_gemm_desc, b_transposed), 0},
        {offsetof(lt_cuda_gemm_desc, lda), 264},
        {offsetof(lt_cuda_gemm_desc, ldb), 264},
        {offsetof(lt_cuda_gemm_desc, bias_dtype), LEAT_DTYPE_F16},
        {offsetof(lt_cuda_gemm_desc, residual_dtype), LEAT_DTYPE_I32},
        {offsetof(lt_cuda_gemm_desc, out_dtype), LEAT_DTYPE_I64},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lt_cuda_gemm_desc d = bytes_square(256);
        lt_cuda_gemm_plan plan;
        leat_error err = {0};
        memcpy((char *)&d + cases[i].offset, &cases[i].value, sizeof cases[i].value);
        assert_int_equal(lt_cuda_gemm_plan_product(&gemm, &d, &plan, &err), LEAT_UNSUPPORTED);
        assert_true(err.message[0] != '\0');
    }
    lt_cuda_gemm_desc d = square(256); /* halves do not become bytes */
    lt_cuda_gemm_plan plan;
    leat_error err;
    d.out_dtype = LEAT_DTYPE_I8;
    assert_int_equal(lt_cuda_gemm_plan_product(&gemm, &d, &plan, &err), LEAT_UNSUPPORTED);
}

static void launch_bytes_wants_scales(void **state)
{
    (void)state;
    lt_cuda_gemm gemm = open_kernels();
    leat_error err = {0};
    lt_cuda_gemm_plan plan;
    lt_cuda_gemm_desc d = bytes_square(512);
    assert_ok(lt_cuda_gemm_plan_product(&gemm, &d, &plan, &err), &err);
    lt_cuda_gemm_operands o = {.a = (void *)0x1000, .b = (void *)0x2000, .d = (void *)0x5000};
    assert_int_equal(lt_cuda_gemm_launch(&gemm, &plan, &o, NULL, &err), LEAT_INVALID);
    o.scale = (void *)0x6004;
    o.offset = (void *)0x7004;
    assert_ok(lt_cuda_gemm_launch(&gemm, &plan, &o, NULL, &err), &err);
    assert_true(asked.params.column_scale == 0x6004 && asked.params.offset == 0x7004);
    d.out_dtype = LEAT_DTYPE_I32;
    asked.n_maps = asked.n_replaced = 0;
    assert_ok(lt_cuda_gemm_plan_product(&gemm, &d, &plan, &err), &err);
    assert_int_equal(lt_cuda_gemm_launch(&gemm, &plan, &o, NULL, &err), LEAT_INVALID);
    o.scale = NULL;
    assert_ok(lt_cuda_gemm_launch(&gemm, &plan, &o, NULL, &err), &err);
}

static void plan_conv_describes_the_padded_image(void **state)
{
    (void)state;
    lt_cuda_gemm gemm = open_kernels();
    leat_error err = {0};
    lt_cuda_gemm_plan plan;
    lt_cuda_gemm_conv_desc d = {.dtype = LEAT_DTYPE_BF16,
                                .out_dtype = LEAT_DTYPE_BF16,
                                .scale = 1,
                                .images = 2,
                                .h = 15,
                                .w = 30,
                                .c = 72,
                                .n = 100,
                                .kh = 3,
                                .kw = 5,
                                .stride_h = 2,
                                .stride_w = 1,
                                .dilation_h = 1,
                                .dilation_w = 2,
                                .pad = {1, 4, 0, 3}};
    assert_ok(lt_cuda_gemm_plan_conv(&gemm, &d, &plan, &err), &err);
    const map_call *a = &asked.maps[0], *b = &asked.maps[1];
    assert_int_equal(plan.params.out_h, 7);
    assert_int_equal(plan.params.out_w, 29);
    assert_int_equal(plan.params.m, 2 * 7 * 29);
    assert_int_equal(plan.params.steps, 15 * 2);
    assert_true(a->dtype == 9 && a->rank == 4 && a->channels == 64);
    assert_int_equal(a->pixels, plan.params.a_box_rows);
    assert_true(a->lower[0] == -4 && a->lower[1] == -1);
    assert_true(a->upper[0] == 3 - 8 && a->upper[1] == -2);
    assert_true(a->steps[1] == 1 && a->steps[2] == 2);
    assert_true(a->dims[0] == 72 && a->dims[1] == 30 && a->dims[2] == 15 && a->dims[3] == 2);
    assert_true(b->dims[0] == 72 && b->dims[1] == 100 && b->dims[2] == 15);
    assert_true(b->strides[0] == 15 * 72 * 2 && b->strides[1] == 72 * 2);
    d.c = 70;
    assert_int_equal(lt_cuda_gemm_plan_conv(&gemm, &d, &plan, &err), LEAT_UNSUPPORTED);
    d.c = 72;
    d.stride_h = 9;
    assert_int_equal(lt_cuda_gemm_plan_conv(&gemm, &d, &plan, &err), LEAT_UNSUPPORTED);
    d.stride_h = 1;
    d.h = 1;
    d.pad[0] = 0;
    assert_int_equal(lt_cuda_gemm_plan_conv(&gemm, &d, &plan, &err), LEAT_INVALID);
}

static void plan_conv_takes_overlapping_pixels(void **state)
{
    (void)state;
    lt_cuda_gemm gemm = open_kernels();
    leat_error err = {0};
    lt_cuda_gemm_plan plan;
    lt_cuda_gemm_conv_desc d = {.dtype = LEAT_DTYPE_F16,
                                .out_dtype = LEAT_DTYPE_F16,
                                .scale = 1,
                                .images = 2,
                                .h = 115,
                                .w = 112,
                                .c = 56,
                                .n = 64,
                                .kh = 4,
                                .kw = 1,
                                .stride_h = 1,
                                .stride_w = 1,
                                .dilation_h = 1,
                                .dilation_w = 1,
                                .x_strides = {16, 1840, 211600}};
    assert_ok(lt_cuda_gemm_plan_conv(&gemm, &d, &plan, &err), &err);
    const map_call *a = &asked.maps[0];
    assert_int_equal(plan.params.m, 2 * 112 * 112);
    assert_int_equal(plan.params.steps, 4);
    assert_true(a->dims[0] == 56 && a->dims[1] == 112 && a->dims[2] == 115);
    assert_true(a->strides[0] == 32 && a->strides[1] == 3680 && a->strides[2] == 423200);
    d.x_strides[1] = 1844;
    assert_int_equal(lt_cuda_gemm_plan_conv(&gemm, &d, &plan, &err), LEAT_UNSUPPORTED);
    d.x_strides[1] = 0;
    assert_int_equal(lt_cuda_gemm_plan_conv(&gemm, &d, &plan, &err), LEAT_INVALID);
}

static void launch_passes_addresses_and_grid(void **state)
{
    (void)state;
    lt_cuda_gemm gemm = open_kernels();
    leat_error err = {0};
    lt_cuda_gemm_plan plan;
    lt_cuda_gemm_desc d = square(512);
    d.bias_dtype = LEAT_DTYPE_F32;
    d.overlap = 1;
    d.tile = 2;
    d.splits = 4;
    assert_ok(lt_cuda_gemm_plan_product(&gemm, &d, &plan, &err), &err);
    lt_cuda_gemm_operands o = {
        .a = (void *)0x1000, .b = (void *)0x2010, .bias = (void *)0x3004, .d = (void *)0x5000};
    assert_ok(lt_cuda_gemm_launch(&gemm, &plan, &o, &gemm, &err), &err);
    assert_ptr_equal(asked.replaced[0], o.a);
    assert_ptr_equal(asked.replaced[1], o.b);
    assert_ptr_equal(asked.stream, &gemm);
    assert_ptr_equal(asked.function, gemm.functions[plan.kernel]);
    assert_true(asked.grid[0] == 16 * 4 && asked.grid[1] == 1 && asked.cluster == 4);
    assert_true(asked.block[0] == LT_GEMM_THREADS(128) && asked.n_launch_attributes == 2);
    assert_int_equal(asked.shared_bytes, plan.shared_bytes);
    assert_true(asked.params.d == 0x5000 && asked.params.bias == 0x3004);
    assert_true(asked.params.wide);
    o.d = (void *)0x5002; /* aligned on its elements alone */
    assert_ok((asked.n_replaced = 0, lt_cuda_gemm_launch(&gemm, &plan, &o, NULL, &err)), &err);
    assert_false(asked.params.wide);
    o.a = (void *)0x1008;
    assert_int_equal(lt_cuda_gemm_launch(&gemm, &plan, &o, NULL, &err), LEAT_INVALID);
    o.a = (void *)0x1000;
    o.bias = NULL;
    assert_int_equal(lt_cuda_gemm_launch(&gemm, &plan, &o, NULL, &err), LEAT_INVALID);
    o.bias = (void *)0x3004;
    asked.n_replaced = 0;
    asked.fail = 700;
    assert_int_equal(lt_cuda_gemm_launch(&gemm, &plan, &o, NULL, &err), LEAT_DEVICE_LOST);
}

/* ---- streams -------------------------------------------------------------------------------- */

static lt_cuda_stream_kernels open_streams(const lt_cuda_gemm *gemm)
{
    static int module;
    void *const modules[2] = {&module, &module};
    lt_cuda_stream_kernels streams;
    leat_error err = {0};
    const int before = asked.n_functions;
    assert_ok(lt_cuda_stream_open(gemm, modules, &streams, &err), &err);
    assert_int_equal(asked.n_functions, before + 2 * LT_STREAM_N_TILES);
    asked.n_maps = asked.n_replaced = 0;
    return streams;
}

static lt_cuda_gemm_conv_desc pixels(int32_t images, int32_t size, int32_t c, int32_t n, int32_t k)
{
    return (lt_cuda_gemm_conv_desc){.dtype = LEAT_DTYPE_F16,
                                    .out_dtype = LEAT_DTYPE_F16,
                                    .scale = 1,
                                    .images = images,
                                    .h = size,
                                    .w = size,
                                    .c = c,
                                    .n = n,
                                    .kh = k,
                                    .kw = k,
                                    .stride_h = 1,
                                    .stride_w = 1,
                                    .dilation_h = 1,
                                    .dilation_w = 1,
                                    .pad = {k / 2, k / 2, k / 2, k / 2}};
}

static void plan_stream_keeps_small_weights(void **state)
{
    (void)state;
    lt_cuda_gemm gemm = open_kernels();
    lt_cuda_stream_kernels streams = open_streams(&gemm);
    leat_error err = {0};
    lt_cuda_stream_plan plan;
    lt_cuda_gemm_plan other;
    lt_cuda_gemm_conv_desc d = pixels(256, 56, 64, 256, 1);
    d.residual_dtype = LEAT_DTYPE_F16;
    assert_ok(lt_cuda_stream_plan_conv(&streams, &d, NULL, &plan, &err), &err);
    assert_string_equal(lt_cuda_stream_kernel_name(plan.kernel),
                        "lt_cuda_gemm_f16_stream_128x128x64_1_sm90");
    const lt_cuda_gemm_params *p = &plan.params.gemm;
    assert_true(plan.params.resident && plan.params.slots == 3 && p->swath == 1);
    assert_true(plan.launch.grid == 132 && p->tiles_n == 2 && p->n_tiles == 6272 * 2);
    assert_true(asked.n_maps == 4 && asked.maps[0].pixels == 128 && asked.maps[1].box[1] == 128);
    for (int i = 2; i < 4; i++) {
        const map_call *m = &asked.maps[i];
        assert_true(m->dims[0] == 256 && m->dims[1] == p->m && m->strides[0] == 512);
        assert_true(m->box[0] == 64 && m->box[1] == 64);
    }
    asked.n_maps = 0;
    assert_ok(lt_cuda_gemm_plan_conv(&gemm, &d, &other, &err), &err);
    assert_true(lt_cuda_stream_is_faster(&streams, &other, &plan));
    d = pixels(256, 56, 256, 64, 1); /* narrow: two blocks */
    asked.n_maps = 0;
    assert_ok(lt_cuda_stream_plan_conv(&streams, &d, NULL, &plan, &err), &err);
    assert_string_equal(lt_cuda_stream_kernel_name(plan.kernel),
                        "lt_cuda_gemm_f16_stream_128x64x64_2_sm90");
    assert_true(plan.params.resident && plan.launch.grid == 264);
    d = pixels(256, 28, 128, 128, 3); /* 18 steps of weights do not fit */
    asked.n_maps = 0;
    assert_ok(lt_cuda_stream_plan_conv(&streams, &d, NULL, &plan, &err), &err);
    assert_string_equal(lt_cuda_stream_kernel_name(plan.kernel),
                        "lt_cuda_gemm_f16_stream_128x128x64_1_sm90");
    assert_false(plan.params.resident);
    d = pixels(1, 7, 512, 512, 3); /* few tiles of many steps: shared among blocks */
    asked.n_maps = 0;
    assert_ok(lt_cuda_stream_plan_conv(&streams, &d, NULL, &plan, &err), &err);
    assert_ok(lt_cuda_gemm_plan_conv(&gemm, &d, &other, &err), &err);
    assert_false(lt_cuda_stream_is_faster(&streams, &other, &plan));
}

static void plan_stream_every_size_keeps_its_bounds(void **state)
{
    (void)state;
    lt_cuda_gemm gemm = open_kernels();
    lt_cuda_stream_kernels streams = open_streams(&gemm);
    leat_error err = {0};
    int resident = 0, other = 0;
    for (int32_t images = 1; images < 300; images *= 7) {
        for (int32_t c = 8; c < 3000; c = c * 3 + 8) {
            for (int32_t n = 8; n < 5000; n = n * 3 + 16) {
                for (uint32_t way = 0; way < 4 * (LT_STREAM_N_TILES + 1); way++) {
                    lt_cuda_gemm_conv_desc d = pixels(images, 9, c, n, way & 1 ? 3 : 1);
                    lt_cuda_stream_plan plan;
                    d.residual_dtype = way & 2 ? LEAT_DTYPE_F16 : LEAT_DTYPE_UNDEFINED;
                    d.tile = way / 4;
                    asked.n_maps = 0;
                    leat_status status = lt_cuda_stream_plan_conv(&streams, &d, NULL, &plan, &err);
                    if (d.tile == 3 && status == LEAT_UNSUPPORTED) { /* no room for two blocks */
                        continue;
                    }
                    assert_ok(status, &err);
                    const lt_cuda_gemm_params *p = &plan.params.gemm;
                    const uint32_t slots = plan.params.slots, grid = plan.launch.grid;
                    assert_true(p->stages >= 3 && p->stages <= LT_STREAM_MAX_STAGES);
                    assert_true(slots >= (way & 2 ? 2u : 1u) && slots <= LT_STREAM_MAX_SLOTS);
                    const uint32_t blocks = plan.kernel == 2 ? 2 : 1;
                    assert_true(grid >= 1 && grid <= 132 * blocks && grid <= p->n_tiles);
                    assert_true(plan.launch.shared_bytes <= LT_STREAM_SHARED_BYTES(blocks));
                    assert_true(plan.params.resident || blocks == 1);
                    assert_int_equal(p->n_tiles, p->tiles_m * p->tiles_n);
                    if (plan.params.resident) {
                        assert_int_equal(grid % p->tiles_n, 0);
                        assert_int_equal(p->swath, 1);
                    }
                    resident += plan.params.resident != 0;
                    other += plan.params.resident == 0;
                }
            }
        }
    }
    assert_true(resident > 100 && other > 100);
}

static void plan_stream_takes_a_second_source(void **state)
{
    (void)state;
    lt_cuda_gemm gemm = open_kernels();
    lt_cuda_stream_kernels streams = open_streams(&gemm);
    leat_error err = {0};
    lt_cuda_stream_plan plan;
    lt_cuda_gemm_conv_desc d = pixels(32, 28, 128, 512, 3), second = pixels(32, 56, 256, 512, 1);
    second.stride_h = second.stride_w = 2;
    second.bias_dtype = LEAT_DTYPE_F16;
    assert_ok(lt_cuda_stream_plan_conv(&streams, &d, &second, &plan, &err), &err);
    const lt_cuda_stream_source *s = &plan.params.second;
    assert_true(plan.params.gemm.steps == 18 && s->steps == 4 && s->stride_h == 2);
    assert_true(s->bias_type == LT_GEMM_F16 && plan.params.gemm.bias_type == LT_GEMM_NONE);
    const map_call *a = &asked.maps[2], *b = &asked.maps[3];
    assert_true(asked.n_maps == 6 && a->rank == 4 && a->dims[0] == 256 && a->dims[1] == 56);
    assert_true(a->steps[1] == 2 && a->steps[2] == 2 && a->pixels == 128);
    assert_true(b->dims[0] == 256 && b->dims[1] == 512 && b->box[1] == asked.maps[1].box[1]);
    lt_cuda_gemm_operands o = {.a = (void *)0x1000, .b = (void *)0x2000, .d = (void *)0x3000};
    lt_cuda_gemm_operands other = {
        .a = (void *)0x4000, .b = (void *)0x5000, .bias = (void *)0x6002};
    assert_ok(lt_cuda_stream_launch(&streams, &plan, &o, &other, NULL, &err), &err);
    assert_int_equal(asked.n_replaced, 5);
    assert_ptr_equal(asked.replaced[3], other.a);
    assert_ptr_equal(asked.replaced[4], other.b);
    assert_int_equal(lt_cuda_stream_launch(&streams, &plan, &o, NULL, NULL, &err), LEAT_INVALID);
    const struct {
        size_t offset;
        int32_t value;
    } cases[] = {
        {offsetof(lt_cuda_gemm_conv_desc, stride_h), 1},
        {offsetof(lt_cuda_gemm_conv_desc, n), 504},
        {offsetof(lt_cuda_gemm_conv_desc, images), 31},
        {offsetof(lt_cuda_gemm_conv_desc, kh), 2},
        {offsetof(lt_cuda_gemm_conv_desc, activation), LT_GEMM_RELU},
        {offsetof(lt_cuda_gemm_conv_desc, residual_dtype), LEAT_DTYPE_F16},
        {offsetof(lt_cuda_gemm_conv_desc, dtype), LEAT_DTYPE_F32},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lt_cuda_gemm_conv_desc wrong = second;
        memcpy((char *)&wrong + cases[i].offset, &cases[i].value, sizeof cases[i].value);
        assert_int_equal(lt_cuda_stream_plan_conv(&streams, &d, &wrong, &plan, &err),
                         LEAT_UNSUPPORTED);
    }
}

static void plan_stream_misfits_are_refused(void **state)
{
    (void)state;
    lt_cuda_gemm gemm = open_kernels();
    lt_cuda_stream_kernels streams = open_streams(&gemm);
    leat_error err = {0};
    lt_cuda_stream_plan plan;
    lt_cuda_gemm_conv_desc d = pixels(2, 14, 64, 100, 1);
    assert_int_equal(lt_cuda_stream_plan_conv(&streams, &d, NULL, &plan, &err), LEAT_UNSUPPORTED);
    d.n = 104;
    d.out_dtype = LEAT_DTYPE_F32;
    assert_int_equal(lt_cuda_stream_plan_conv(&streams, &d, NULL, &plan, &err), LEAT_UNSUPPORTED);
    d.out_dtype = LEAT_DTYPE_F16;
    d.residual_dtype = LEAT_DTYPE_F32;
    assert_int_equal(lt_cuda_stream_plan_conv(&streams, &d, NULL, &plan, &err), LEAT_UNSUPPORTED);
    d.residual_dtype = LEAT_DTYPE_UNDEFINED;
    d.tile = LT_STREAM_N_TILES + 1;
    assert_int_equal(lt_cuda_stream_plan_conv(&streams, &d, NULL, &plan, &err), LEAT_INVALID);
    d.tile = 0;
    d.c = 60;
    assert_int_equal(lt_cuda_stream_plan_conv(&streams, &d, NULL, &plan, &err), LEAT_UNSUPPORTED);
}

static void launch_stream_passes_addresses(void **state)
{
    (void)state;
    lt_cuda_gemm gemm = open_kernels();
    lt_cuda_stream_kernels streams = open_streams(&gemm);
    leat_error err = {0};
    lt_cuda_stream_plan plan;
    lt_cuda_gemm_conv_desc d = pixels(32, 14, 64, 128, 1);
    d.bias_dtype = LEAT_DTYPE_F32;
    d.residual_dtype = LEAT_DTYPE_F16;
    d.overlap = 1;
    assert_ok(lt_cuda_stream_plan_conv(&streams, &d, NULL, &plan, &err), &err);
    lt_cuda_gemm_operands o = {.a = (void *)0x1000,
                               .b = (void *)0x2010,
                               .bias = (void *)0x3004,
                               .residual = (void *)0x4000,
                               .d = (void *)0x5000};
    assert_ok(lt_cuda_stream_launch(&streams, &plan, &o, NULL, &gemm, &err), &err);
    assert_ptr_equal(asked.replaced[0], o.a);
    assert_ptr_equal(asked.replaced[1], o.b);
    assert_ptr_equal(asked.replaced[2], o.d);
    assert_ptr_equal(asked.replaced[3], o.residual);
    assert_ptr_equal(asked.function, streams.functions[plan.kernel]);
    assert_true(asked.grid[0] == plan.launch.grid && asked.block[0] == LT_STREAM_THREADS);
    assert_true(asked.params.bias == 0x3004 && asked.n_launch_attributes == 2);
    asked.n_replaced = 0;
    o.residual = (void *)0x4008;
    assert_int_equal(lt_cuda_stream_launch(&streams, &plan, &o, NULL, NULL, &err), LEAT_INVALID);
    o.residual = NULL;
    assert_int_equal(lt_cuda_stream_launch(&streams, &plan, &o, NULL, NULL, &err), LEAT_INVALID);
    o.residual = (void *)0x4000;
    o.bias = (void *)0x3002;
    assert_int_equal(lt_cuda_stream_launch(&streams, &plan, &o, NULL, NULL, &err), LEAT_INVALID);
    o.bias = (void *)0x3004;
    asked.n_replaced = 0;
    asked.fail = 700;
    assert_int_equal(lt_cuda_stream_launch(&streams, &plan, &o, NULL, NULL, &err),
                     LEAT_DEVICE_LOST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernel_names_differ),
        cmocka_unit_test(open_driver_refuses_returns_no_device),
        cmocka_unit_test(plan_large_product_takes_the_large_tile),
        cmocka_unit_test(plan_f32_takes_tf32),
        cmocka_unit_test(plan_few_tiles_covers_the_device),
        cmocka_unit_test(plan_shared_columns_makes_clusters),
        cmocka_unit_test(plan_every_size_keeps_its_bounds),
        cmocka_unit_test(plan_misfits_are_refused),
        cmocka_unit_test(plan_bytes_takes_steps_of_128),
        cmocka_unit_test(plan_bytes_keeps_few_weights_resident),
        cmocka_unit_test(plan_bytes_misfits_are_refused),
        cmocka_unit_test(launch_bytes_wants_scales),
        cmocka_unit_test(plan_conv_describes_the_padded_image),
        cmocka_unit_test(plan_conv_takes_overlapping_pixels),
        cmocka_unit_test(launch_passes_addresses_and_grid),
        cmocka_unit_test(plan_stream_keeps_small_weights),
        cmocka_unit_test(plan_stream_every_size_keeps_its_bounds),
        cmocka_unit_test(plan_stream_takes_a_second_source),
        cmocka_unit_test(plan_stream_misfits_are_refused),
        cmocka_unit_test(launch_stream_passes_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

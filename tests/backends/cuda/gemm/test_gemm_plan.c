/* SPDX-License-Identifier: Apache-2.0 */
/* Plans and launches of products and convolutions, against a driver that writes down what it is
 * asked. */
#include "backends/cuda/gemm/convs.h"
#include "backends/cuda/gemm/recording_driver.h"

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

static void plan_conv_describes_the_padded_image(void **state)
{
    (void)state;
    lt_cuda_gemm gemm = open_kernels();
    leat_error err = {0};
    lt_cuda_gemm_plan plan;
    static const int32_t sizes[15] = {2, 15, 30, 72, 100, 3, 5, 2, 1, 1, 2, 1, 4, 0, 3};
    lt_cuda_gemm_conv_desc d = conv_of(LEAT_DTYPE_BF16, sizes);
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
    static const int32_t sizes[15] = {2, 115, 112, 56, 64, 4, 1, 1, 1, 1, 1, 0, 0, 0, 0};
    lt_cuda_gemm_conv_desc d = conv_of(LEAT_DTYPE_F16, sizes);
    d.x_strides[0] = 16;
    d.x_strides[1] = 1840;
    d.x_strides[2] = 211600;
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

/* Of BERT-large's attention, 32 sequences of 384. */
static lt_cuda_gemm_desc with_norm(void)
{
    lt_cuda_gemm_desc d = square(1024);
    d.m = 12288;
    d.bias_dtype = d.residual_dtype = d.dtype;
    return d;
}

static void plan_norm_runs_rows_together(void **state)
{
    (void)state;
    lt_cuda_gemm gemm = open_kernels();
    leat_error err = {0};
    lt_cuda_gemm_plan plan;
    lt_cuda_gemm_desc d = with_norm();
    assert_ok(lt_cuda_gemm_plan_norm(&gemm, &d, 1e-12f, &plan, &err), &err);
    assert_string_equal(lt_cuda_gemm_kernel_name(plan.kernel),
                        "lt_cuda_gemm_f16_kn_512x128x64_sm90");
    const lt_cuda_gemm_params *p = &plan.params;
    assert_true(p->norms == 1 && p->epsilon == 1e-12f && p->swath == 1 && p->by_engine == 1);
    assert_int_equal(plan.grid, 128); /* of 132: eight tiles of a row, of two blocks each */
    assert_int_equal(plan.grid / plan.cluster % p->tiles_n, 0);
    assert_int_equal(lt_cuda_gemm_norm_moments(&plan), 12288 * 8 * 2 * 4);
    assert_int_equal(lt_cuda_gemm_norm_meetings(&plan), 96 * 4);
    lt_cuda_gemm_operands o = {.a = (void *)0x1000,
                               .b = (void *)0x2000,
                               .bias = (void *)0x3000,
                               .residual = (void *)0x4000,
                               .d = (void *)0x5000,
                               .norm_scale = (void *)0x6000,
                               .norm_bias = (void *)0x7000,
                               .moments = (void *)0x8000,
                               .meetings = (void *)0x9000};
    asked.n_replaced = 0;
    assert_ok(lt_cuda_gemm_launch(&gemm, &plan, &o, NULL, &err), &err);
    assert_true(asked.params.norm_scale == 0x6000 && asked.params.norm_bias == 0x7000 &&
                asked.params.moments == 0x8000 && asked.params.meetings == 0x9000);
    assert_true(asked.params.by_engine && asked.params.residual_stages > 0);
    o.d = (void *)0x5008; /* not for the copy engine */
    assert_int_equal(lt_cuda_gemm_launch(&gemm, &plan, &o, NULL, &err), LEAT_INVALID);
    o.d = (void *)0x5000;
    o.meetings = NULL;
    assert_int_equal(lt_cuda_gemm_launch(&gemm, &plan, &o, NULL, &err), LEAT_INVALID);
}

/* 14 blocks of a stream may wait: 99 of 132 multiprocessors have room for those of seven. */
static void norms_of_many_streams_leave_room(void **state)
{
    (void)state;
    lt_cuda_gemm gemm = open_kernels();
    leat_error err = {0};
    lt_cuda_gemm_plan plan;
    lt_cuda_gemm_desc d = with_norm();
    _Atomic uint32_t all = 0;
    uint32_t own[8] = {0};
    assert_ok(lt_cuda_gemm_plan_norm(&gemm, &d, 1e-12f, &plan, &err), &err);
    assert_true(plan.params.tiles_n == 8 && plan.cluster == 2);
    for (uint32_t i = 0; i < 8; i++) {
        assert_true(lt_cuda_gemm_norm_may_wait(&gemm, &plan, &all, &own[i]) == (i < 7));
        assert_true(lt_cuda_gemm_norm_may_wait(&gemm, &plan, &all, &own[0])); /* again */
        assert_int_equal(own[i], i < 7 ? 14 : 0);
        assert_int_equal(all, i < 7 ? 14 * (i + 1) : 98);
    }
    all -= own[3]; /* that stream goes */
    assert_true(lt_cuda_gemm_norm_may_wait(&gemm, &plan, &all, &own[7]));
    assert_int_equal(all, 98);
}

static void plan_norm_misfits_are_refused(void **state)
{
    (void)state;
    lt_cuda_gemm gemm = open_kernels();
    leat_error err = {0};
    lt_cuda_gemm_plan plan;
    for (int i = 0; i < 7; i++) {
        lt_cuda_gemm_desc d = with_norm();
        d.m = i == 0 ? 384 : d.m; /* too few rows */
        d.n = i == 1 ? 1000 : d.n;
        d.activation = i == 2 ? LT_GEMM_RELU : d.activation;
        d.residual_dtype = i == 3 ? LEAT_DTYPE_UNDEFINED : d.residual_dtype;
        d.bias_dtype = i == 4 ? LEAT_DTYPE_F32 : d.bias_dtype;
        d.scale = i == 5 ? 0.5f : d.scale;
        d.out_dtype = i == 6 ? LEAT_DTYPE_F32 : d.out_dtype;
        asked.n_maps = 0;
        assert_int_equal(lt_cuda_gemm_plan_norm(&gemm, &d, 1e-5f, &plan, &err), LEAT_UNSUPPORTED);
    }
    gemm.n_multiprocessors = 14; /* fewer than the blocks of a row */
    lt_cuda_gemm_desc d = with_norm();
    asked.n_maps = 0;
    assert_int_equal(lt_cuda_gemm_plan_norm(&gemm, &d, 1e-5f, &plan, &err), LEAT_UNSUPPORTED);
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
        cmocka_unit_test(plan_conv_describes_the_padded_image),
        cmocka_unit_test(plan_conv_takes_overlapping_pixels),
        cmocka_unit_test(launch_passes_addresses_and_grid),
        cmocka_unit_test(plan_norm_runs_rows_together),
        cmocka_unit_test(norms_of_many_streams_leave_room),
        cmocka_unit_test(plan_norm_misfits_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Plans and launches of products of bytes, against a driver that writes down what it is asked. */
#include "backends/cuda/gemm/convs.h"
#include "backends/cuda/gemm/recording_driver.h"

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
    static const int32_t sizes[8] = {2, 14, 14, 144, 24, 3, 1, 1};
    lt_cuda_gemm_conv_desc c = conv_square(LEAT_DTYPE_I8, sizes);
    c.out_dtype = LEAT_DTYPE_U8;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plan_bytes_takes_steps_of_128),
        cmocka_unit_test(plan_bytes_keeps_few_weights_resident),
        cmocka_unit_test(plan_bytes_misfits_are_refused),
        cmocka_unit_test(launch_bytes_wants_scales),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

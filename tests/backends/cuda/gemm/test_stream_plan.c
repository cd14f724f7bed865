/* SPDX-License-Identifier: Apache-2.0 */
/* Plans and launches of streams, against a driver that writes down what it is asked. */
#include "backends/cuda/gemm/convs.h"
#include "backends/cuda/gemm/recording_driver.h"

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
    const int32_t sizes[8] = {images, size, size, c, n, k, 1, k / 2};
    return conv_square(LEAT_DTYPE_F16, sizes);
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
        cmocka_unit_test(plan_stream_keeps_small_weights),
        cmocka_unit_test(plan_stream_every_size_keeps_its_bounds),
        cmocka_unit_test(plan_stream_takes_a_second_source),
        cmocka_unit_test(plan_stream_misfits_are_refused),
        cmocka_unit_test(launch_stream_passes_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

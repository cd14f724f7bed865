/* SPDX-License-Identifier: Apache-2.0 */
/* The fibres themselves: what they report, their order, and the words of gpu.hpp. */
#include "gpu_test.hpp"

struct nothing {
    uint32_t *out;
};

static const char *run(void (*kernel)(const nothing &), uint32_t *out, way w,
                       unsigned threads = 256)
{
    const nothing p = {out};
    gpu::launch_options options = {{2, 1, 1}, threads, w.warp, w.seed};
    return gpu::launch(kernel, p, options);
}

static void expect_fault(void (*kernel)(const nothing &), const char *text)
{
    for (const way &w : all_ways) {
        const char *fault = run(kernel, nullptr, w);
        assert_non_null(fault);
        if (strstr(fault, text) == nullptr) {
            fail_msg("\"%s\" does not contain \"%s\"", fault, text);
        }
    }
}

GPU_KERNEL(barrier_in_branch, nothing)
{
    (void)p;
    if (gpu::thread_x() < 100) {
        gpu::barrier();
    } else {
        gpu::barrier();
    }
}

GPU_KERNEL(barrier_after_return, nothing)
{
    (void)p;
    if (gpu::thread_x() == 255) {
        return;
    }
    gpu::barrier();
}

GPU_KERNEL(shuffle_of_half_a_warp, nothing)
{
    (void)p;
    if (gpu::thread_x() % gpu::warp_width() < gpu::warp_width() / 2) {
        gpu::shuffle(1.0f, 0);
    }
}

GPU_KERNEL(shuffle_from_beyond, nothing)
{
    (void)p;
    gpu::shuffle(1.0f, gpu::warp_width());
}

GPU_KERNEL(shared_past_its_end, nothing)
{
    (void)p;
    GPU_SHARED(float, array, 256);
    array[gpu::thread_x() + 1] = 1.0f;
}

static void waits_that_differ_are_faults(void **)
{
    expect_fault(barrier_in_branch, "waits at a barrier");
    expect_fault(barrier_after_return, "has returned");
    expect_fault(shuffle_of_half_a_warp, "waits at a shuffle");
    expect_fault(shuffle_from_beyond, "asks lane");
    expect_fault(shared_past_its_end, "elements 256 to 256 of a shared array of 256");
}

static void blocks_of_parts_of_warps_are_refused(void **)
{
    assert_non_null(run(shared_past_its_end, nullptr, {64, 0}, 96));
    assert_non_null(run(shared_past_its_end, nullptr, {32, 0}, 2048));
    assert_non_null(run(shared_past_its_end, nullptr, {16, 0}, 64));
}

/* Thread i hands its number on by shared memory, through a barrier or without one. */
GPU_KERNEL(neighbour, nothing)
{
    GPU_SHARED(uint32_t, array, 256);
    const int i = gpu::thread_x();
    array[i] = (uint32_t)i;
    gpu::barrier();
    p.out[gpu::block_x() * 256 + i] = array[(i + 1) % 256];
}

GPU_KERNEL(neighbour_racing, nothing)
{
    GPU_SHARED(uint32_t, array, 256);
    const int i = gpu::thread_x();
    array[i] = (uint32_t)i;
    p.out[gpu::block_x() * 256 + i] = array[(i + 1) % 256];
}

static void barriers_order_shared_memory(void **)
{
    for (const way &w : all_ways) {
        uint32_t out[512];
        assert_null(run(neighbour, out, w));
        for (uint32_t i = 0; i < 512; i++) {
            assert_int_equal(out[i], (i + 1) % 256);
        }
    }
}

static void orders_show_a_race_and_repeat(void **)
{
    uint32_t first[512], last[512], random[512], again[512];
    assert_null(run(neighbour_racing, first, {32, 0}));
    assert_null(run(neighbour_racing, last, {32, 1}));
    assert_null(run(neighbour_racing, random, {32, 5}));
    assert_null(run(neighbour_racing, again, {32, 5}));
    assert_int_equal(first[3], UINT32_MAX);
    assert_int_equal(last[3], 4);
    assert_memory_equal(random, again, sizeof again);
    assert_memory_not_equal(random, first, sizeof first);
    assert_memory_not_equal(random, last, sizeof last);
}

GPU_KERNEL(shuffles, nothing)
{
    const int lane = gpu::thread_x() % gpu::warp_width();
    uint32_t v = (uint32_t)gpu::shuffle_xor(lane, 5);
    v = v * 1000 + (uint32_t)gpu::shuffle(lane * 2, 7);
    p.out[gpu::block_x() * 256 + gpu::thread_x()] = v;
}

static void shuffles_exchange_between_lanes(void **)
{
    for (const way &w : all_ways) {
        uint32_t out[512];
        assert_null(run(shuffles, out, w));
        for (uint32_t i = 0; i < 512; i++) {
            assert_int_equal(out[i], ((i % w.warp) ^ 5) * 1000 + 14);
        }
    }
}

GPU_KERNEL(reductions, nothing)
{
    const float v = (float)gpu::thread_x();
    float sum = gpu::block_reduce<gpu::add_op>(v);
    float largest = gpu::block_reduce<gpu::max_op>(v);
    float smallest = gpu::block_reduce<gpu::min_op>(v + 3);
    p.out[gpu::block_x() * 256 + gpu::thread_x()] = (uint32_t)(sum + largest * 100000 + smallest);
}

static void block_reductions_give_all_threads_the_result(void **)
{
    for (const way &w : all_ways) {
        uint32_t out[512];
        assert_null(run(reductions, out, w));
        for (uint32_t i = 0; i < 512; i++) {
            float expected = 255 * 128 + 255 * 100000.0f + 3;
            assert_int_equal(out[i], (uint32_t)expected);
        }
    }
}

/* Nearest, ties to even, by search among all halves. */
static void halves_round_to_nearest_even(void **)
{
    for (uint32_t h = 0; h < 0x7c00; h++) {
        float f = gpu::f16_to_f32((uint16_t)h);
        double exact = h < 0x400 ? h * 0x1p-24 : ldexp(1024 + (h & 1023), (int)(h >> 10) - 25);
        assert_true((double)f == exact);
        assert_int_equal(gpu::f32_to_f16(f), h);
        assert_int_equal(gpu::f32_to_f16(-f), h | 0x8000);
        if (h < 0x7bff) {
            float next = gpu::f16_to_f32((uint16_t)(h + 1)), middle = 0.5f * (f + next);
            assert_int_equal(gpu::f32_to_f16(middle), h + (h & 1));
            assert_int_equal(gpu::f32_to_f16(nextafterf(middle, 0)), h);
            assert_int_equal(gpu::f32_to_f16(nextafterf(middle, next)), h + 1);
        }
    }
    assert_int_equal(gpu::f32_to_f16(65519.99f), 0x7bff);
    assert_int_equal(gpu::f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(gpu::f32_to_f16(INFINITY), 0x7c00);
    assert_true(isnan(gpu::f16_to_f32(gpu::f32_to_f16(NAN))));
    assert_true(isinf(gpu::f16_to_f32(0xfc00)));
    assert_int_equal(gpu::f32_to_bf16(1.00390625f), 0x3f80);
    assert_int_equal(gpu::f32_to_bf16(1.01171875f), 0x3f82);
    assert_true(isnan(gpu::bf16_to_f32(gpu::f32_to_bf16(NAN))));
}

static void dot4_knows_signs(void **)
{
    const uint32_t a = 0xff028001u, b = 0x01ff7f80u;
    assert_int_equal((gpu::dot4<int8_t, int8_t>(a, b, 10)), 10 - 128 - 128 * 127 - 2 - 1);
    assert_int_equal((gpu::dot4<uint8_t, int8_t>(a, b, 0)), -128 + 128 * 127 - 2 + 255);
    assert_int_equal((gpu::dot4<int8_t, uint8_t>(a, b, 0)), 128 - 128 * 127 + 2 * 255 - 1);
    assert_int_equal((gpu::dot4<uint8_t, uint8_t>(a, b, 0)), 128 + 128 * 127 + 2 * 255 + 255);
}

static void divisors_divide(void **)
{
    const uint32_t divisors[] = {1, 2, 3, 5, 7, 10, 64, 641, 65535, 65536, 1000003, 0x7fffffff};
    uint64_t seed = 3;
    for (uint32_t d : divisors) {
        const lt_gpu_divisor divisor = lt_gpu_divisor_make(d);
        for (int i = 0; i < 2000; i++) {
            uint32_t n = (uint32_t)((random_number(&seed) + 1) * 0x3fffffff);
            assert_int_equal(gpu::divide(n, divisor), n / d);
            n = n / d * d;
            assert_int_equal(gpu::divide(n, divisor), n / d);
            assert_int_equal(gpu::divide(n > 0 ? n - 1 : 0, divisor), (n > 0 ? n - 1 : 0) / d);
        }
        assert_int_equal(gpu::divide(0x7fffffff, divisor), 0x7fffffff / d);
    }
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_that_differ_are_faults),
        cmocka_unit_test(blocks_of_parts_of_warps_are_refused),
        cmocka_unit_test(barriers_order_shared_memory),
        cmocka_unit_test(orders_show_a_race_and_repeat),
        cmocka_unit_test(shuffles_exchange_between_lanes),
        cmocka_unit_test(block_reductions_give_all_threads_the_result),
        cmocka_unit_test(halves_round_to_nearest_even),
        cmocka_unit_test(dot4_knows_signs),
        cmocka_unit_test(divisors_divide),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

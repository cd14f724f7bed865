/* SPDX-License-Identifier: Apache-2.0 */
/* GELU at the end of a product on a Hopper device: of every number of F16, infinities and what is
 * no number among them. Skipped, with the reason, where there is no device. */
#include "products.h"

#define ROWS 65536

/* x where B's first row is ones and the rest zeros: row r of the product is the number of bits r.
 */
static void fill(const test_device *device, operand *a, operand *b)
{
    uint16_t *x = a->array.data, *w = b->array.data;
    for (int r = 0; r < ROWS; r++) {
        for (int k = 0; k < 8; k++) {
            x[r * 8 + k] = k == 0 ? (uint16_t)r : 0;
        }
    }
    for (int i = 0; i < 64; i++) {
        w[i] = i < 8 ? 0x3c00 : 0;
    }
    assert_int_equal(device->to_device(a->address, x, a->array.bytes), 0);
    assert_int_equal(device->to_device(b->address, w, b->array.bytes), 0);
}

static void check_row(int64_t r, double x, double actual)
{
    const double y = x == INFINITY ? x : x == -INFINITY ? 0 : 0.5 * x * erfc(-x / sqrt(2));
    if (isnan(x)   ? !isnan(actual)
        : isinf(y) ? actual != y
                   : !(fabs(actual - y) <= 0x1p-11 * fabs(y) + 7e-6)) {
        fail_msg("row %lld: GELU of %.9g is %.9g, not %.9g", (long long)r, x, actual, y);
    }
}

static void gelu_of_every_half_matches(void **state)
{
    test_device *device = require_device(state);
    leat_error err = {0};
    for (uint32_t tile = 0; tile <= LT_GEMM_N_ALL_TILES; tile++) {
        lt_cuda_gemm_plan plan;
        lt_cuda_gemm_desc d = dense(LEAT_DTYPE_F16, 0, ROWS, 8, 8);
        d.activation = LT_GEMM_GELU;
        d.tile = tile;
        d.splits = 1;
        assert_ok(lt_cuda_gemm_plan_product(&device->gemm, &d, &plan, &err), &err);
        operand a = operand_make(device, d.dtype, ROWS * 8, 1);
        operand b = operand_make(device, d.dtype, 64, 2);
        operand y = operand_make(device, d.dtype, ROWS * 8, 0);
        fill(device, &a, &b);
        lt_cuda_gemm_operands o = {
            .a = device_pointer(&a), .b = device_pointer(&b), .d = (void *)(uintptr_t)y.address};
        assert_ok(lt_cuda_gemm_launch(&device->gemm, &plan, &o, NULL, &err), &err);
        fetch(device, &y);
        for (int64_t r = 0; r < ROWS; r++) {
            check_row(r, oracle_get(&a.array, (size_t)r * 8),
                      oracle_get(&y.array, (size_t)r * 8 + tile % 8));
        }
        operand_free(device, &a);
        operand_free(device, &b);
        operand_free(device, &y);
    }
}

int main(void)
{
    static test_device device;
    void *state = test_device_state(&device, TEST_KERNELS);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(gelu_of_every_half_matches, state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

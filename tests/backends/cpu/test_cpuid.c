/* SPDX-License-Identifier: Apache-2.0 */
/* What a limit leaves of the machine's abilities. */
#include "support/test.h"

#include "cpu.h"

static lt_cpu_device detect(lt_cpu_isa limit)
{
    lt_cpu_device device;
    lt_cpu_device_detect(&device, limit);
    return device;
}

static void limits_cap_what_lies_above_them(void **state)
{
    const lt_cpu_device most = detect(LT_CPU_AVX512);
    (void)state;
    for (int limit = LT_CPU_PORTABLE; limit <= LT_CPU_AVX512; limit++) {
        const lt_cpu_device device = detect((lt_cpu_isa)limit);
        const bool wide = limit == LT_CPU_AVX512;
        const lt_cpu_isa cap = limit == LT_CPU_AVXVNNI ? LT_CPU_AVX2 : (lt_cpu_isa)limit;
        assert_int_equal(device.isa, most.isa < cap ? most.isa : cap);
        assert_int_equal(device.avx512_vnni, wide && most.avx512_vnni);
        assert_int_equal(device.avx512_bf16, wide && most.avx512_bf16);
        assert_int_equal(device.full_width, wide && most.full_width);
        assert_int_equal(device.avx_vnni, limit >= LT_CPU_AVXVNNI && most.avx_vnni);
        assert_true(device.cores > 0 && device.l1_bytes > 0 && device.l2_bytes > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_cap_what_lies_above_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

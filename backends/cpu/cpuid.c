/* SPDX-License-Identifier: Apache-2.0 */
/* What this processor can do, by CPUID: Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E.
 */
#include "cpu.h"

#include <sched.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>

static uint64_t enabled_state(void)
{
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* Where AVX-512 is there. AMD's say whether 512 bits pass at once (bit 3), else that 256 do (bit
 * 2); some virtual machines say neither, where the family tells: 0x1a is Zen 5. Of Intel's those
 * with instructions for bf16 are servers, which have two such units. */
static bool has_full_width(bool bf16)
{
    uint32_t a, b, c, d;
    if (!__get_cpuid(0, &a, &b, &c, &d)) {
        return false;
    }
    if (b != signature_AMD_ebx) {
        return b == signature_INTEL_ebx && bf16;
    }
    if (__get_cpuid(0x8000001au, &a, &b, &c, &d) && (a & (3u << 2)) != 0) {
        return (a & (1u << 3)) != 0;
    }
    return __get_cpuid(1, &a, &b, &c, &d) && (a >> 8 & 0xf) + (a >> 20 & 0xff) >= 0x1a;
}

static void detect_isa(lt_cpu_device *device)
{
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) {
        return;
    }
    bool fma = (c & bit_FMA) != 0;
    bool f16c = (c & bit_F16C) != 0;
    uint64_t state = enabled_state();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        return;
    }
    uint32_t leaf7_c = c;
    bool avx2 = (b & bit_AVX2) && fma && f16c && (state & 0x6) == 0x6;
    bool avx512 = (b & bit_AVX512F) && (b & bit_AVX512BW) && (b & bit_AVX512DQ) &&
                  (b & bit_AVX512VL) && (state & 0xe6) == 0xe6;
    device->isa = avx2 && avx512 ? LT_CPU_AVX512 : avx2 ? LT_CPU_AVX2 : LT_CPU_PORTABLE;
    device->avx512_vnni = avx512 && (leaf7_c & (1u << 11));
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) {
        device->avx_vnni = avx2 && (a & (1u << 4));
        device->avx512_bf16 = avx512 && (a & (1u << 5));
    }
    device->full_width = avx512 && has_full_width(device->avx512_bf16);
}

/* The processor's name without spaces around it. */
static void read_name(char name[49])
{
    uint32_t text[12] = {0};
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t *four = text + 4 * i;
        if (!__get_cpuid(0x80000002u + i, four, four + 1, four + 2, four + 3)) {
            return;
        }
    }
    const char *from = (const char *)text;
    size_t start = 0, end = sizeof(text);
    while (start < end && from[start] == ' ') {
        start++;
    }
    while (end > start && (from[end - 1] == ' ' || from[end - 1] == '\0')) {
        end--;
    }
    if (end > start) {
        memset(name, 0, 49);
        memcpy(name, from + start, end - start);
    }
}
#else
static void read_name(char name[49])
{
    (void)name;
}

static void detect_isa(lt_cpu_device *device)
{
    (void)device;
}
#endif

static size_t cache_bytes(int name, size_t otherwise)
{
    long bytes = sysconf(name);
    return bytes > 0 ? (size_t)bytes : otherwise;
}

static uint32_t count_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0) {
        return (uint32_t)CPU_COUNT(&set);
    }
    return 1;
}

void lt_cpu_device_detect(lt_cpu_device *device, lt_cpu_isa limit)
{
    memset(device, 0, sizeof(*device));
    detect_isa(device);
    memcpy(device->name, "host processor", sizeof("host processor"));
    read_name(device->name);
    const lt_cpu_isa most = limit == LT_CPU_AVXVNNI ? LT_CPU_AVX2 : limit;
    if (device->isa > most) {
        device->isa = most;
    }
    if (device->isa < LT_CPU_AVX512) {
        device->avx512_vnni = false;
        device->avx512_bf16 = false;
        device->full_width = false;
    }
    if (limit < LT_CPU_AVXVNNI) {
        device->avx_vnni = false;
    }
    device->cores = count_cores();
    device->l1_bytes = cache_bytes(_SC_LEVEL1_DCACHE_SIZE, 32u << 10);
    device->l2_bytes = cache_bytes(_SC_LEVEL2_CACHE_SIZE, 512u << 10);
    device->l3_bytes = cache_bytes(_SC_LEVEL3_CACHE_SIZE, 8u << 20);
}

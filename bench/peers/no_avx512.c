/* SPDX-License-Identifier: Apache-2.0 */
/* Answers CPUID as a processor whose best instruction set is AVX2 would, to code whose CPUID
 * instructions (0F A2) were replaced by UD2 (0F 0B), as no_avx512.py does: UD2 raises SIGILL, and
 * the handler answers in its place. Everything is the machine's own but the bits of AVX-512,
 * AVX-VNNI, AVX10 and AMX. Loaded before that code:
 *
 *     cc -O2 -shared -fPIC no_avx512.c -o no_avx512.so      ctypes.CDLL("no_avx512.so")
 *
 * keep_avx_vnni set to 1 leaves AVX-VNNI of u8 by s8 as it is: a processor like Alder Lake.
 *
 * A program has one handler of SIGILL: an illegal instruction elsewhere ends it as ever. */
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

#define BIT(n) (1u << (n))

/* Leaf 7, subleaf 0. */
#define EBX_WIDE (BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31))
#define ECX_WIDE (BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14))
#define EDX_WIDE (BIT(2) | BIT(3) | BIT(8) | BIT(22) | BIT(23) | BIT(24) | BIT(25))
/* Subleaf 1: AVX-VNNI, AVX512-BF16, AVX-IFMA; AVX-VNNI of other widths, AVX10. */
#define EAX_1_WIDE (BIT(4) | BIT(5) | BIT(23))
#define EAX_1_VNNI BIT(4)
#define EDX_1_WIDE (BIT(4) | BIT(5) | BIT(10) | BIT(19))

int keep_avx_vnni = 0;

static void answer(int signal_number, siginfo_t *info, void *context)
{
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    unsigned leaf = (unsigned)r[REG_RAX], subleaf = (unsigned)r[REG_RCX], a, b, c, d;
    (void)info;
    if (memcmp((const void *)r[REG_RIP], "\x0f\x0b", 2) != 0) {
        signal(signal_number, SIG_DFL); /* not ours: happens again, and ends the process */
        return;
    }
    __cpuid_count(leaf, subleaf, a, b, c, d);
    if (leaf == 7 && subleaf == 0) {
        b &= ~EBX_WIDE, c &= ~ECX_WIDE, d &= ~EDX_WIDE;
    } else if (leaf == 7 && subleaf == 1) {
        a &= ~(EAX_1_WIDE & ~(keep_avx_vnni ? EAX_1_VNNI : 0)), d &= ~EDX_1_WIDE;
    }
    r[REG_RAX] = a, r[REG_RBX] = b, r[REG_RCX] = c, r[REG_RDX] = d;
    r[REG_RIP] += 2;
}

__attribute__((constructor)) static void install(void)
{
    struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &action, NULL);
}

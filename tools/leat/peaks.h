/* SPDX-License-Identifier: Apache-2.0 */
/* What this machine can do at most, measured: the yardstick of `leat bench --profile`. */
#ifndef LEAT_PEAKS_H
#define LEAT_PEAKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Levels of memory, from the core outwards. */
enum {
    LEVEL_L1,
    LEVEL_L2,
    LEVEL_L3,
    LEVEL_DRAM,
    N_LEVELS
};

/* Sums over `threads` threads that work at once; 0 where the processor has no such instruction.
 * Units:    1e9 operations a second, a multiply and add being two; 1e9 bytes read a second; bytes
 *           of a cache that serves all threads (L3) or one (L1, L2). */
typedef struct peaks {
    int threads;
    double f32_gflops;
    double bf16_gflops;
    double u8s8_gops;
    double read_gbs[N_LEVELS];
    size_t level_bytes[N_LEVELS]; /* the last is SIZE_MAX */
} peaks;

/* Measures in about 0.2 s with `threads` threads (at least 1). `features` are those of the CPU
 * device (leat_device_properties). False without memory or threads. */
bool peaks_measure(int threads, const char *features, peaks *out);

extern const char *const level_names[N_LEVELS];

/* For peaks.inc: an operand of asm that is read and written in a vector register. */
#if defined(__x86_64__)
#define REGISTER(x) "+v"(x)
#elif defined(__aarch64__)
#define REGISTER(x) "+w"(x)
#else
#define REGISTER(x) "+m"(x)
#endif

/* --- kernels, one file per instruction set ---------------------------------------------------- */

/* Does arithmetic in registers only; returns how many operations. */
typedef double (*peak_arithmetic_fn)(void);
/* Reads all of a buffer, a multiple of 4096 bytes; returns a value that depends on it. */
typedef uint64_t (*peak_read_fn)(const void *data, size_t bytes);

double peak_f32_portable(void);
uint64_t peak_read_portable(const void *data, size_t bytes);
#if defined(__x86_64__)
double peak_f32_avx2(void);
double peak_u8s8_avx2(void); /* vpmaddubsw, vpmaddwd, vpaddd */
double peak_u8s8_avxvnni(void);
uint64_t peak_read_avx2(const void *data, size_t bytes);
double peak_f32_avx512(void);
uint64_t peak_read_avx512(const void *data, size_t bytes);
double peak_u8s8_avx512vnni(void);
double peak_bf16_avx512bf16(void);
#endif

#endif

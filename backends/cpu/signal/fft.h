/* SPDX-License-Identifier: Apache-2.0 */
/* Discrete Fourier transforms of complex f64 sequences of any length n:
 *
 *     X[k] = sum over j of x[j] * exp(-2 pi i j k / n)
 *
 * Powers of two by radix 2; other lengths as a convolution of a power of two (Bluestein, 1970):
 * n log n for all n. */
#ifndef LT_CPU_SIGNAL_FFT_H
#define LT_CPU_SIGNAL_FFT_H

#include "cpu.h"

typedef struct lt_complex {
    double re, im;
} lt_complex;

typedef struct lt_fft {
    int64_t n;
    int64_t size;               /* of the transforms by radix 2: n, or at least 2 n - 1 */
    const lt_complex *roots;    /* exp(-2 pi i k / size), k < size / 2 */
    const lt_complex *chirp;    /* exp(-pi i k^2 / n), k < n; NULL where n is a power of two */
    const lt_complex *response; /* transform of the conjugate chirp, both ways */
} lt_fft;

/* Makes the tables. False without memory, or for an n of 2^40 or more. */
bool lt_fft_prepare(lt_fft *fft, int64_t n, const leat_host *host, leat_plan *plan);

/* lt_complex elements that lt_fft_run needs beside the data. */
static inline int64_t lt_fft_workspace(const lt_fft *fft)
{
    return fft->chirp ? fft->size : 0;
}

/* Transforms x, n elements, in place. */
void lt_fft_run(const lt_fft *fft, lt_complex *x, lt_complex *workspace);

#endif

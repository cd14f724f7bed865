/* SPDX-License-Identifier: Apache-2.0 */
#include "signal/fft.h"

#include <math.h>

static lt_complex times(lt_complex a, lt_complex b)
{
    lt_complex c = {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
    return c;
}

static void reverse_bits(lt_complex *x, int64_t n)
{
    for (int64_t i = 1, j = 0; i < n; i++) {
        int64_t bit = n >> 1;
        for (; j & bit; bit >>= 1) {
            j ^= bit;
        }
        j |= bit;
        if (i < j) {
            lt_complex other = x[i];
            x[i] = x[j];
            x[j] = other;
        }
    }
}

/* Decimation in time; n is a power of two, roots are those of n. */
static void radix2(lt_complex *x, int64_t n, const lt_complex *roots)
{
    reverse_bits(x, n);
    for (int64_t half = 1; half < n; half *= 2) {
        int64_t step = n / (2 * half);
        for (int64_t first = 0; first < n; first += 2 * half) {
            for (int64_t k = 0; k < half; k++) {
                lt_complex a = x[first + k], b = times(x[first + k + half], roots[k * step]);
                x[first + k].re = a.re + b.re;
                x[first + k].im = a.im + b.im;
                x[first + k + half].re = a.re - b.re;
                x[first + k + half].im = a.im - b.im;
            }
        }
    }
}

static lt_complex unit(double turns)
{
    double angle = -2 * M_PI * turns;
    lt_complex c = {cos(angle), sin(angle)};
    return c;
}

/* exp(-pi i k^2 / n): k^2 is taken modulo 2 n, so that the angle stays exact. */
static lt_complex chirp_at(int64_t k, int64_t n)
{
    unsigned __int128 square = (unsigned __int128)k * (unsigned __int128)k;
    int64_t rest = (int64_t)(square % (unsigned __int128)(2 * n));
    return unit((double)rest / (double)(2 * n));
}

bool lt_fft_prepare(lt_fft *fft, int64_t n, const leat_host *host, leat_plan *plan)
{
    bool power = (n & (n - 1)) == 0;
    int64_t size = 1;
    if (n < 1 || n >= (int64_t)1 << 40) {
        return false;
    }
    while (size < (power ? n : 2 * n - 1)) {
        size *= 2;
    }
    lt_complex *roots = host->plan_alloc(plan, (size_t)(size / 2 + 1) * sizeof(*roots));
    if (roots == NULL) {
        return false;
    }
    for (int64_t k = 0; k < size / 2; k++) {
        roots[k] = unit((double)k / (double)size);
    }
    *fft = (lt_fft){.n = n, .size = size, .roots = roots};
    if (power) {
        return true;
    }
    lt_complex *chirp = host->plan_alloc(plan, (size_t)n * sizeof(*chirp));
    lt_complex *response = host->plan_alloc(plan, (size_t)size * sizeof(*response));
    if (chirp == NULL || response == NULL) {
        return false;
    }
    for (int64_t k = 0; k < n; k++) {
        chirp[k] = chirp_at(k, n);
        lt_complex back = {chirp[k].re, -chirp[k].im};
        response[k] = back;
        response[(size - k) % size] = back;
    }
    radix2(response, size, roots);
    fft->chirp = chirp;
    fft->response = response;
    return true;
}

void lt_fft_run(const lt_fft *fft, lt_complex *x, lt_complex *workspace)
{
    int64_t n = fft->n, size = fft->size;
    if (fft->chirp == NULL) {
        radix2(x, n, fft->roots);
        return;
    }
    memset(workspace, 0, (size_t)size * sizeof(*workspace));
    for (int64_t k = 0; k < n; k++) {
        workspace[k] = times(x[k], fft->chirp[k]);
    }
    radix2(workspace, size, fft->roots);
    for (int64_t k = 0; k < size; k++) { /* the inverse by conjugates */
        workspace[k] = times(workspace[k], fft->response[k]);
        workspace[k].im = -workspace[k].im;
    }
    radix2(workspace, size, fft->roots);
    for (int64_t k = 0; k < n; k++) {
        lt_complex back = {workspace[k].re / (double)size, -workspace[k].im / (double)size};
        x[k] = times(back, fft->chirp[k]);
    }
}

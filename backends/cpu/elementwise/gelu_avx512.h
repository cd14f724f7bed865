/* SPDX-License-Identifier: Apache-2.0 */
/* Gelu of 16 floats with AVX-512: x * Phi(x) as
 *
 *     max(x, 0) - g(|x|)     g(a) = a * Phi(-a), a polynomial of degree 5 in each of 16 ranges
 *                            of 3/8, around its middle
 *
 * A coefficient is found by one vpermps, whose index is the number of the range: 7 FMAs, 6
 * permutations and 5 simple operations, which have units of their own, where the form without
 * tables (vmath.h) takes 17 FMAs that wait for each other.
 *
 * Error: for x > 0 two units of the last place. For x < 0 4e-7 of the result down to -3.5, 4e-5
 * down to -5.8, below which it stays at -1.8e-8; nowhere more than 2.5e-8. The polynomials are
 * minimax fits of the relative error, made for this file. NaN gives NaN. */
#ifndef LT_CPU_GELU_AVX512_H
#define LT_CPU_GELU_AVX512_H

#include <immintrin.h>

#define LT_GELU_DEGREE 5

/* Coefficient j of range i at [j][i]. */
static const float lt_gelu_coefficients[LT_GELU_DEGREE + 1][16] __attribute__((aligned(64))) = {
    {0, 0x1.0fbddap-3f, 0x1.5c198p-3f, 0x1.2c32d6p-3f, 0x1.9a76a6p-4f, 0x1.d2e35cp-5f,
     0x1.c2a496p-6f, 0x1.74a8eap-7f, 0x1.096694p-8f, 0x1.468978p-10f, 0x1.5babccp-12f,
     0x1.40b6c8p-14f, 0x1.008448p-16f, 0x1.63f9c6p-19f, 0x1.acb53ap-22f, 0x1.c02e5p-25f},
    {0x1p-1f, 0x1.b70f5p-3f, 0x1.95f4dcp-11f, -0x1.baa41ep-4f, -0x1.050e8ep-3f, -0x1.93c66ep-4f,
     -0x1.e4e1f4p-5f, -0x1.dc425cp-6f, -0x1.876f74p-7f, -0x1.107234p-8f, -0x1.436fc4p-10f,
     -0x1.48ed6p-12f, -0x1.1f6cf2p-14f, -0x1.b0897p-17f, -0x1.18ae38p-19f, -0x1.3a883ap-22f},
    {-0x1.9884p-2f, -0x1.620082p-2f, -0x1.bb471ap-3f, -0x1.3eae7cp-4f, 0x1.093268p-6f,
     0x1.ab0576p-5f, 0x1.8e26dcp-5f, 0x1.fdccf6p-6f, 0x1.fc4bfp-7f, 0x1.9cae7p-8f, 0x1.16b96cp-9f,
     0x1.3cfc9ep-11f, 0x1.31cbb6p-13f, 0x1.f6fa42p-16f, 0x1.61e34p-18f, 0x1.ab233ep-21f},
    {-0x1.b4862ep-15f, 0x1.6f579ep-4f, 0x1.08fe22p-3f, 0x1.bcec58p-4f, 0x1.d02b84p-5f,
     0x1.5537fep-7f, -0x1.9e475ap-7f, -0x1.0798a6p-6f, -0x1.6b0472p-7f, -0x1.6d63dep-8f,
     -0x1.22b654p-9f, -0x1.7a0a1p-11f, -0x1.98e558p-13f, -0x1.73cea6p-15f, -0x1.1e37b4p-17f,
     -0x1.76e48ap-20f},
    {0x1.137ee2p-4f, 0x1.7ecbbap-5f, 0x1.3fe618p-8f, -0x1.d15f44p-6f, -0x1.258bacp-5f,
     -0x1.82cea8p-6f, -0x1.fd6a8cp-8f, 0x1.ab6e9p-10f, 0x1.079bb6p-8f, 0x1.8b228ep-9f,
     0x1.8fefep-10f, 0x1.364244p-11f, 0x1.82c4d4p-13f, 0x1.8c9934p-15f, 0x1.53234p-17f,
     0x1.e7f798p-20f},
    {-0x1.31c80ep-8f, -0x1.334c3ep-6f, -0x1.72d5fap-6f, -0x1.6e094ep-7f, 0x1.6690c2p-9f,
     0x1.222384p-7f, 0x1.d01f54p-8f, 0x1.70dca8p-9f, -0x1.e2620cp-17f, -0x1.b7cfp-11f,
     -0x1.5acec8p-11f, -0x1.55b99cp-12f, -0x1.f660acp-14f, -0x1.245916p-15f, -0x1.151ef6p-17f,
     -0x1.b2e324p-20f}};

static inline __attribute__((always_inline)) __m512 lt_gelu_avx512(__m512 x)
{
    const __m512 width = _mm512_set1_ps(0.375f), inverse = _mm512_set1_ps(1 / 0.375f);
    const __m512 magic = _mm512_set1_ps(0x1.8p23f);        /* adding it rounds to an integer */
    const __m512 end = _mm512_set1_ps(0x1.73fffp+2f);      /* of the last range, 15.5 widths */
    const __m512 a = _mm512_min_ps(_mm512_abs_ps(x), end); /* of NaN end */
    const __m512 shifted = _mm512_fmadd_ps(a, inverse, magic);
    const __m512 r = _mm512_fnmadd_ps(_mm512_sub_ps(shifted, magic), width, a);
    const __m512i range = _mm512_castps_si512(shifted); /* its low four bits count */
    __m512 g = _mm512_permutexvar_ps(range, _mm512_load_ps(lt_gelu_coefficients[LT_GELU_DEGREE]));
#pragma GCC unroll 8
    for (int j = LT_GELU_DEGREE - 1; j >= 0; j--) {
        const __m512 c = _mm512_permutexvar_ps(range, _mm512_load_ps(lt_gelu_coefficients[j]));
        g = _mm512_fmadd_ps(g, r, c);
    }
    return _mm512_sub_ps(_mm512_max_ps(_mm512_setzero_ps(), x), g); /* max: NaN stays */
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Functions of f32 that compilers vectorise: no branch, no call, no table. Use them in plain loops
 * of files that are compiled per instruction set.
 *
 * Errors, in units of the last place against double (tests/backends/cpu/elementwise/test_vmath.c):
 *   exp 1.1, log 1, tanh 1.5, erf 1.5, sigmoid 2.5, softplus 2 (results below 2^-126 lose bits as
 *   they must); exp2 2.1 within its range; gelu 2 for x > 0, below that 1e-7 of the absolute value.
 * NaN gives NaN; infinities and overflow give the limit.
 *
 * exp: argument reduction of W. Cody and W. Waite, Software Manual for the Elementary Functions
 * (1980); its polynomial, that of tanh and that of log are those of S. Moshier's Cephes library
 * (expf, tanhf, logf); erf: Chebyshev fits made for this file, of erf(x)/x in x^2 and of
 * -log(erfc(x)); exp2 and gelu: minimax fits made for this file, of 2^r on [-1/2, 1/2] and of
 * log2(erfc(x / sqrt(2))) / x on [0, 6]. */
#ifndef LT_CPU_VMATH_H
#define LT_CPU_VMATH_H

#include <stdint.h>

typedef union lt_bits {
    float f;
    uint32_t u;
} lt_bits;

static inline float lt_from_bits(uint32_t u)
{
    lt_bits b = {.u = u};
    return b.f;
}

static inline uint32_t lt_to_bits(float f)
{
    lt_bits b = {.f = f};
    return b.u;
}

static inline float lt_abs_f32(float x)
{
    return lt_from_bits(lt_to_bits(x) & 0x7fffffffu);
}

/* |x| with the sign of s. */
static inline float lt_copysign_f32(float x, float s)
{
    return lt_from_bits((lt_to_bits(x) & 0x7fffffffu) | (lt_to_bits(s) & 0x80000000u));
}

static inline float lt_exp_f32(float x)
{
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;
    const float magic = 0x1.8p23f; /* adding it rounds to an integer in the low bits */
    float shifted = x * 0x1.715476p0f + magic;
    float n = shifted - magic;
    float r = x - n * 0x1.63p-1f;
    r = r - n * -0x1.bd0106p-13f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    /* 2^n in two factors, so that both are normal numbers: n is -150 to 129. */
    int32_t k = (int32_t)(lt_to_bits(shifted) - lt_to_bits(magic));
    int32_t half = k >> 1;
    float scale_a = lt_from_bits((uint32_t)(half + 127) << 23);
    float scale_b = lt_from_bits((uint32_t)(k - half + 127) << 23);
    return p * scale_a * scale_b;
}

/* 2^x for -126 <= x <= 127 or NaN; no care for other numbers. */
static inline float lt_exp2_f32(float x)
{
    const float magic = 0x1.8p23f;
    float shifted = x + magic;
    float r = x - (shifted - magic);
    float p = 0x1.5bba14p-10f;
    p = p * r + 0x1.3cea88p-7f;
    p = p * r + 0x1.c6b752p-5f;
    p = p * r + 0x1.ebf9bcp-3f;
    p = p * r + 0x1.62e42ap-1f;
    p = p * r + 1.0f;
    return p * lt_from_bits((lt_to_bits(shifted) + 127u) << 23);
}

/* By exp of -|x|, so that nothing overflows and small results keep their bits. */
static inline float lt_sigmoid_f32(float x)
{
    float e = lt_exp_f32(-lt_abs_f32(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

static inline float lt_tanh_f32(float x)
{
    float a = lt_abs_f32(x);
    float z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    float small = p * z * x + x;
    float large = lt_copysign_f32(1.0f - 2.0f / (lt_exp_f32(a + a) + 1.0f), x);
    return lt_copysign_f32(a < 0.625f ? small : large, x); /* -0 stays -0 */
}

static inline float lt_erf_f32(float x)
{
    float a = lt_abs_f32(x);
    float z = x * x;
    float s = -0x1.449784p-17f;
    s = s * z + 0x1.d89ff4p-14f;
    s = s * z - 0x1.bcd3a4p-11f;
    s = s * z + 0x1.562abep-8f;
    s = s * z - 0x1.b829d0p-6f;
    s = s * z + 0x1.ce2f0ap-4f;
    s = s * z - 0x1.812746p-2f;
    s = s * z + 0x1.06eba8p-3f; /* 2 / sqrt(pi) - 1 */
    float small = x * s + x;
    float b = a > 4.0f ? 4.0f : a;
    float t = -0x1.b03ee2p-20f;
    t = t * b + 0x1.7dc9f0p-15f;
    t = t * b - 0x1.366d58p-11f;
    t = t * b + 0x1.3670d8p-8f;
    t = t * b - 0x1.afcd64p-6f;
    t = t * b + 0x1.c26642p-4f;
    t = t * b + 0x1.438fc4p-1f;
    t = t * b + 0x1.2151d8p0f;
    t = t * b - 0x1.3adaccp-12f;
    float large = lt_copysign_f32(1.0f - lt_exp_f32(-t), x);
    return a < 1.0f ? small : large;
}

/* x * (1 + erf(x / sqrt(2))) / 2 as max(x, 0) - a * 2^(a * q(a) - 1) with a = |x|, where the power
 * is erfc(a / sqrt(2)) / 2: nothing cancels for x < 0. At a = 6 the product is 6e-9 and stays. */
static inline float lt_gelu_f32(float x)
{
    uint32_t u = lt_to_bits(x) & 0x7fffffffu;
    float a = lt_from_bits(u < 0x40c00000u ? u : 0x40c00000u); /* min(|x|, 6), as integers */
    float q = 0x1.6895eep-23f;
    q = q * a - 0x1.18a71cp-18f;
    q = q * a + 0x1.592950p-15f;
    q = q * a - 0x1.6d663cp-13f;
    q = q * a - 0x1.80dcacp-13f;
    q = q * a + 0x1.d33110p-8f;
    q = q * a - 0x1.ae62a8p-5f;
    q = q * a - 0x1.d637d8p-2f;
    q = q * a - 0x1.26aee2p+0f;
    float positive = x < 0.0f ? 0.0f : x; /* NaN stays */
    return positive - 0.5f * a * lt_exp2_f32(q * a);
}

/* x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2, which is x * sigmoid(2 * ...). */
static inline float lt_gelu_tanh_f32(float x)
{
    return x * lt_sigmoid_f32(x * (0x1.988454p+0f + 0x1.2444f2p-4f * x * x));
}

/* Of a negative number NaN, of 0 -infinity. */
static inline float lt_log_f32(float x)
{
    /* Subnormal numbers are scaled to normal ones first. */
    float scaled = x < 0x1p-126f ? x * 0x1p25f : x;
    float bias = x < 0x1p-126f ? -25.0f : 0.0f;
    uint32_t u = lt_to_bits(scaled) - 0x3f3504f3u; /* exponent 0 for [sqrt(1/2), sqrt(2)) */
    float e = (float)((int32_t)u >> 23) + bias;
    float m = lt_from_bits((u & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
    float z = m * m;
    float p = 7.0376836292e-2f;
    p = p * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    float y = p * m * z;
    y = y + e * -2.12194440e-4f;
    y = y - 0.5f * z;
    float r = m + y + e * 0.693359375f;
    const float infinity = lt_from_bits(0x7f800000u);
    r = x == 0.0f ? -infinity : r;
    r = x < 0.0f ? lt_from_bits(0x7fc00000u) : r;
    return x < infinity ? r : x; /* infinity and NaN */
}

/* log(1 + e) for e in [0, 1]: what adding 1 rounds away comes back to first order. */
static inline float lt_log1p_unit_f32(float e)
{
    float u = 1.0f + e;
    return lt_log_f32(u) + (e - (u - 1.0f)) / u;
}

/* log(1 + exp(x)). */
static inline float lt_softplus_f32(float x)
{
    float positive = x < 0.0f ? 0.0f : x; /* NaN stays */
    return positive + lt_log1p_unit_f32(lt_exp_f32(-lt_abs_f32(x)));
}

#endif

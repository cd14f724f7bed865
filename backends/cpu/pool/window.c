/* SPDX-License-Identifier: Apache-2.0 */
#include "pool/pool.h"

#include <math.h>

typedef struct lanes4 {
    float f[4];
} lanes4;

#define EACH(expression)                                                                           \
    lanes4 out;                                                                                    \
    for (int i = 0; i < 4; i++) {                                                                  \
        out.f[i] = expression;                                                                     \
    }                                                                                              \
    return out

static inline lanes4 load4(const float *x)
{
    EACH(x[i]);
}

static inline lanes4 load4_f16(const uint16_t *x)
{
    EACH(lt_f16_to_f32(x[i]));
}

static inline lanes4 load4_bf16(const uint16_t *x)
{
    EACH(lt_bf16_to_f32(x[i]));
}

static inline lanes4 set4(float x)
{
    EACH(x);
}

static inline lanes4 add4(lanes4 a, lanes4 b)
{
    EACH(a.f[i] + b.f[i]);
}

static inline lanes4 divide4(lanes4 a, lanes4 b)
{
    EACH(a.f[i] / b.f[i]);
}

static inline lanes4 max4(lanes4 x, lanes4 a)
{
    EACH(x.f[i] > a.f[i] ? x.f[i] : a.f[i]);
}

static inline void store4(float *out, lanes4 x)
{
    memcpy(out, x.f, sizeof(x.f));
}

static inline void store4_f16(uint16_t *out, lanes4 x)
{
    for (int i = 0; i < 4; i++) {
        out[i] = lt_f32_to_f16(x.f[i]);
    }
}

typedef struct bytes16 {
    uint8_t b[16];
} bytes16;

static inline bytes16 load16(const void *x)
{
    bytes16 out;
    memcpy(out.b, x, sizeof(out.b));
    return out;
}

static inline void store16(void *out, bytes16 x)
{
    memcpy(out, x.b, sizeof(x.b));
}

static inline bytes16 set16(char x)
{
    bytes16 out;
    memset(out.b, x, sizeof(out.b));
    return out;
}

static inline bytes16 max16_u8(bytes16 x, bytes16 a)
{
    for (int i = 0; i < 16; i++) {
        a.b[i] = x.b[i] > a.b[i] ? x.b[i] : a.b[i];
    }
    return a;
}

static inline bytes16 max16_i8(bytes16 x, bytes16 a)
{
    for (int i = 0; i < 16; i++) {
        a.b[i] = (int8_t)x.b[i] > (int8_t)a.b[i] ? x.b[i] : a.b[i];
    }
    return a;
}

#define FORM portable
#define V lanes4
#define LANES 4
#define V_LOAD load4
#define V_STORE store4
#define V_SET set4
#define V_ADD add4
#define V_DIV divide4
#define V_MAX max4
#define V_LOAD_F16 load4_f16
#define V_STORE_F16 store4_f16
#define V_LOAD_BF16 load4_bf16
#define HALF_TO_F32 lt_f16_to_f32
#define B bytes16
#define B_LOAD load16
#define B_STORE store16
#define B_SET set16
#define B_MAX_U8 max16_u8
#define B_MAX_I8 max16_i8
#include "pool/window.inc"

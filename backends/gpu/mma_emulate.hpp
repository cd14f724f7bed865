/* SPDX-License-Identifier: Apache-2.0 */
/* mma.hpp's words for a plain C++ compiler. */
#ifndef LT_GPU_MMA_EMULATE_HPP
#define LT_GPU_MMA_EMULATE_HPP

namespace gpu
{

/* This lane of 32, and a value of another of the same 32. */
inline int lane_32()
{
    return thread_x() % 32;
}
inline uint32_t from_lane(uint32_t v, int lane)
{
    return shuffle(v, thread_x() % warp_width() / 32 * 32 + lane);
}

template <class T> float half_of(uint32_t v, int i)
{
    return to_f32(T{(uint16_t)(v >> 16 * i)});
}

template <class T> void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    const int group = lane_32() / 4, column = 2 * (lane_32() % 4);
    uint32_t rows[4][4], columns[2][2][4];
    for (int j = 0; j < 4; j++) {
        for (int i = 0; i < 4; i++) {
            rows[i][j] = from_lane(a[i], 4 * group + j);
        }
        for (int i = 0; i < 2; i++) {
            columns[i][0][j] = from_lane(b0, 4 * (column + i) + j);
            columns[i][1][j] = from_lane(b1, 4 * (column + i) + j);
        }
    }
    for (int k = 0; k < 16; k++) {
        const int part = k / 8, j = k % 8 / 2, half = k % 2;
        for (int i = 0; i < 4; i++) {
            c[i] += half_of<T>(rows[i / 2 + 2 * part][j], half) *
                    half_of<T>(columns[i % 2][part][j], half);
        }
    }
}

inline uint32_t to_tf32(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return x != x ? 0x7fffe000u : (bits + 0x1000u) & ~0x1fffu;
}
inline void mma_tf32(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    const int group = lane_32() / 4, column = 2 * (lane_32() % 4);
    for (int k = 0; k < 8; k++) {
        const int part = k / 4, j = k % 4;
        float rows[2], columns[2];
        for (int i = 0; i < 2; i++) {
            const uint32_t row = from_lane(a[i + 2 * part], 4 * group + j);
            const uint32_t one = from_lane(part ? b1 : b0, 4 * (column + i) + j);
            if (((row | one) & 0x1fffu) != 0) {
                fault("a factor that is no TF32: %x, %x", row, one);
            }
            memcpy(&rows[i], &row, 4);
            memcpy(&columns[i], &one, 4);
        }
        for (int i = 0; i < 4; i++) {
            c[i] += rows[i / 2] * columns[i % 2];
        }
    }
}

template <int N> void load_matrices(uint32_t (&v)[4], shared_array<uint16_t, N> &s, int at)
{
    for (int i = 0; i < 4; i++) {
        const int row = (int)from_lane((uint32_t)at, 8 * i + lane_32() / 4);
        if (row % 8 != 0) {
            fault("a matrix row at %d", row);
        }
        memcpy(&v[i], s.span(row + 2 * (lane_32() % 4), 2), 4);
    }
}
template <int N> void load_transposed(uint32_t (&v)[4], shared_array<uint16_t, N> &s, int at)
{
    for (int i = 0; i < 4; i++) {
        const int row = 8 * i + 2 * (lane_32() % 4), column = lane_32() / 4;
        const int first = (int)from_lane((uint32_t)at, row);
        const int second = (int)from_lane((uint32_t)at, row + 1);
        if (first % 8 != 0 || second % 8 != 0) {
            fault("matrix rows at %d, %d", first, second);
        }
        v[i] = s[first + column] | (uint32_t)s[second + column] << 16;
    }
}

template <int N> void copy_8(shared_array<uint16_t, N> &s, int at, const void *source, bool take)
{
    if (at % 8 != 0 || (take && ((uintptr_t)source & 15u) != 0)) {
        fault("a copy that is not aligned, to %d", at);
    }
    if (take) {
        memcpy(s.span(at, 8), source, 16);
    } else {
        memset(s.span(at, 8), 0, 16);
    }
}
inline void copies_wait()
{
}

template <class T> uint32_t pair(float low, float high)
{
    return from_f32<T>(low).bits | (uint32_t)from_f32<T>(high).bits << 16;
}

inline float f_exp2(float x)
{
    return __builtin_exp2f(x);
}

inline float f_larger(float a, float b)
{
    return __builtin_fmaxf(a, b);
}

} // namespace gpu

#endif

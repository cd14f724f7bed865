/* SPDX-License-Identifier: Apache-2.0 */
/* The main loop of products without tensor cores: a block of 256 threads computes a tile of BM x BN
 * from panels of 16 columns of a and rows of b that pass through shared memory, as f32 or (int8) as
 * words of four bytes. Thread (tx, ty) of 16 x 16 sums rows ty * 4 + 64 r + 0..3 and columns tx * 4
 * + 64 c + 0..3 in registers. What a and b are, loaders say: the next panel's elements are fetched
 * while this one is summed. */
#ifndef LT_GPU_GEMM_TILE_HPP
#define LT_GPU_GEMM_TILE_HPP

#include "gpu.hpp"
#include "params/gemm.h"

namespace gpu
{

constexpr int gemm_k = LT_GPU_GEMM_K;

/* A dense or strided matrix: element (i, k) at data + i * row + k * column; `rows` bounds i, `end`
 * bounds k. Neighbouring threads take neighbours in memory. */
template <class T, int B> struct strided_loader {
    static constexpr int per_thread = B * gemm_k / LT_GPU_THREADS;
    const T *data;
    int64_t row;
    int64_t column;
    int rows;
    int end;
    bool row_major;

    GPU_FN void place(int e, int &i, int &k) const
    {
        const int t = thread_x() + e * LT_GPU_THREADS;
        i = row_major ? t / gemm_k : t % B;
        k = row_major ? t % gemm_k : t / B;
    }
    GPU_FN void fetch(int k0, float (&v)[per_thread]) const
    {
        for (int e = 0; e < per_thread; e++) {
            int i, k;
            place(e, i, k);
            const bool inside = i < rows && k0 + k < end;
            v[e] = inside ? to_f32(data[i * row + (k0 + k) * column]) : 0.0f;
        }
    }
};

/* f32 sums of f32 products. */
struct float_math {
    typedef float element;
    typedef float sum;
    static constexpr bool row_sums = false;
    GPU_FN static float fma(float a, float b, float c)
    {
        return f_fma(a, b, c);
    }
    GPU_FN static float add(float, float c)
    {
        return c;
    }
};

template <int BM, int BN, class Sum = float> struct tile_sums {
    Sum v[BM / 16][BN / 16];
    Sum rows[BM / 16]; /* of a's elements, if Math::row_sums */
};

/* Four elements of a panel. */
template <class E, class Panel> GPU_FN void take_4(Panel &panel, int at, E *out)
{
    const pack<E, 4> v = load_pack<4>(panel.span(at, 4));
    for (int i = 0; i < 4; i++) {
        out[i] = v.v[i];
    }
}

/* sums of k in [begin, end). Every thread of the block calls it. */
template <int BM, int BN, class Math = float_math, class A, class B>
GPU_FN void gemm_tile(const A &a, const B &b, int begin, int end,
                      tile_sums<BM, BN, typename Math::sum> &sums)
{
    typedef typename Math::element E;
    constexpr int TM = BM / 16, TN = BN / 16;
    GPU_SHARED(E, a_panel, gemm_k * (BM + 4));
    GPU_SHARED(E, b_panel, gemm_k * (BN + 4));
    const int tx = thread_x() % 16, ty = thread_x() / 16;
    E a_next[A::per_thread], b_next[B::per_thread];
    for (int i = 0; i < TM; i++) {
        sums.rows[i] = 0;
        for (int j = 0; j < TN; j++) {
            sums.v[i][j] = 0;
        }
    }
    a.fetch(begin, a_next);
    b.fetch(begin, b_next);
    for (int k0 = begin; k0 < end; k0 += gemm_k) {
        barrier(); /* nobody reads the panel before */
        for (int e = 0; e < A::per_thread; e++) {
            int i, k;
            a.place(e, i, k);
            a_panel[k * (BM + 4) + i] = a_next[e];
        }
        for (int e = 0; e < B::per_thread; e++) {
            int j, k;
            b.place(e, j, k);
            b_panel[k * (BN + 4) + j] = b_next[e];
        }
        barrier();
        if (k0 + gemm_k < end) {
            a.fetch(k0 + gemm_k, a_next);
            b.fetch(k0 + gemm_k, b_next);
        }
        for (int k = 0; k < gemm_k; k++) {
            E u[TM], w[TN];
            for (int i = 0; i < TM; i += 4) {
                take_4(a_panel, k * (BM + 4) + ty * 4 + i * 16, u + i);
            }
            for (int j = 0; j < TN; j += 4) {
                take_4(b_panel, k * (BN + 4) + tx * 4 + j * 16, w + j);
            }
            for (int i = 0; i < TM; i++) {
                if (Math::row_sums) {
                    sums.rows[i] = Math::add(u[i], sums.rows[i]);
                }
                for (int j = 0; j < TN; j++) {
                    sums.v[i][j] = Math::fma(u[i], w[j], sums.v[i][j]);
                }
            }
        }
    }
}

/* Row (or column) of the tile that sum number i of this thread belongs to. */
GPU_FN int tile_row(int i)
{
    return thread_x() / 16 * 4 + i / 4 * 64 + i % 4;
}
GPU_FN int tile_column(int j)
{
    return thread_x() % 16 * 4 + j / 4 * 64 + j % 4;
}

} // namespace gpu

#endif

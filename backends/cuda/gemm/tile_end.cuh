/* SPDX-License-Identifier: Apache-2.0 */
/* What a kernel is made of (its tile, its shared memory, the order of tiles), and the end of a
 * tile: numbers of its columns, sums of a cluster's blocks added in their order, its finishing. */
#ifndef LEAT_CUDA_GEMM_TILE_END_H
#define LEAT_CUDA_GEMM_TILE_END_H

#include "requantize.cuh"

namespace gemm
{

template <class T> struct sum_of {
    using type = float;
};
template <> struct sum_of<int8_t> {
    using type = int32_t;
};
template <> struct sum_of<uint8_t> {
    using type = int32_t;
};

template <bool BYTES, int COUNT> struct residual_of {
    using type = residual_rows<COUNT>;
};
template <int COUNT> struct residual_of<true, COUNT> {
    using type = byte_rows<COUNT>;
};

template <class T_, int SOURCE_, int ROWS_, int COLUMNS_, int STAGES_> struct config {
    using T = T_;
    using S = typename sum_of<T>::type;
    static constexpr int SOURCE = SOURCE_;
    static constexpr uint32_t ROWS = ROWS_, COLUMNS = COLUMNS_;
    static constexpr uint32_t STAGES = STAGES_; /* at most */
    /* Two warpgroups that take turns, each with 128 rows; blocks of a cluster that share B. */
    static constexpr bool TURNS = ROWS > 128;
    static constexpr uint32_t SHARERS = LT_GEMM_SHARERS(ROWS);
    static constexpr uint32_t STAGE_ROWS = LT_GEMM_STAGE_ROWS(ROWS);
    static constexpr uint32_t PARTS = TURNS ? 2 : 1;      /* of 64 rows each, of a warpgroup */
    static constexpr uint32_t SUMS = PARTS * COLUMNS / 2; /* of a thread */
    static constexpr uint32_t GROUPS = STAGE_ROWS / 64;   /* warpgroups that compute */
    static constexpr uint32_t COMPUTING = GROUPS * 128;
    static constexpr uint32_t BLOCKS = GROUPS == 1 ? 2 : 1; /* on a multiprocessor */
    static constexpr uint32_t STEP = LT_GEMM_STEP_BYTES / sizeof(T);
    static constexpr uint32_t A_BYTES = STAGE_ROWS * 128, B_BYTES = COLUMNS * 128;
    static constexpr uint32_t STAGE_BYTES = A_BYTES + B_BYTES;
    static constexpr uint32_t STAGE_PANELS = LT_GEMM_STAGE_PANELS(ROWS, COLUMNS);
    /* Columns finished at a time, in a loop whose sums always lie in the same registers: unrolled,
     * the code would not stay in the instruction cache, and a tile's end took 6 us. */
    static constexpr uint32_t PASS = 64;
    static constexpr bool BYTES = sizeof(T) == 1;
    static constexpr bool NORMS = sizeof(T) == 2 && ROWS == LT_GEMM_NORM_ROWS; /* norm_end.cuh */
    /* A thread's residual of as many columns. */
    template <uint32_t WIDTH> using rows = typename residual_of<BYTES, WIDTH / 2>::type;
    /* Where a column's numbers lie in an array of them. */
    __device__ __forceinline__ static constexpr uint32_t number_place(uint32_t column)
    {
        return BYTES ? byte_number_place(column) : column;
    }
    /* The first of group g of 16 columns: a thread's four of bytes are neighbours. */
    __device__ __forceinline__ static constexpr uint32_t group_column(uint32_t g)
    {
        return BYTES ? g / 4 * 64 + g % 4 * 4 : g * 16;
    }
};

/* Addresses in shared memory. */
struct shared_map {
    uint32_t stages, staging, full, empty, numbers;
};

template <class C> __device__ __forceinline__ shared_map map_shared(const lt_cuda_gemm_params &p)
{
    extern __shared__ uint8_t shared[];
    shared_map s;
    s.stages = (ptx::shared_address(shared) + 1023) / 1024 * 1024;
    s.staging = s.stages + p.stages * C::STAGE_BYTES;
    s.full = s.staging + LT_GEMM_STAGING_BYTES(C::ROWS);
    s.empty = s.full + p.stages * 8;
    s.numbers = s.full + LT_GEMM_BARRIER_BYTES;
    return s;
}

/* A position in the ring of stages; parity flips with each turn. */
struct ring {
    uint32_t stage = 0, parity = 0;
    __device__ __forceinline__ void next(uint32_t stages)
    {
        if (++stage == stages) {
            stage = 0;
            parity ^= 1;
        }
    }
    __device__ __forceinline__ void skip(uint32_t count, uint32_t stages)
    {
        stage += count;
        parity ^= stage / stages % 2;
        stage %= stages;
    }
};

struct tile {
    uint32_t row, column, batch;
};

/* The order of tiles: see lt_cuda_gemm_params. */
template <class C> __device__ __forceinline__ tile locate(const lt_cuda_gemm_params &p, uint32_t t)
{
    uint32_t product_tiles = p.tiles_m * p.tiles_n;
    uint32_t batch = t / product_tiles;
    uint32_t local = t - batch * product_tiles;
    uint32_t swath_tiles = p.swath * p.tiles_n;
    uint32_t first = local / swath_tiles * p.swath;
    uint32_t height = min(p.swath, p.tiles_m - first);
    local %= swath_tiles;
    return {(first + local % height) * C::ROWS, local / height * C::COLUMNS, batch};
}

/* Where block `from` of a cluster leaves 4 sums of each thread for the block that finishes them:
 * half a group of 16 columns, the i-th group of the latter. */
template <class C>
__device__ __forceinline__ uint32_t partial(const shared_map &s, uint32_t splits, uint32_t from,
                                            uint32_t i, uint32_t half)
{
    const uint32_t most = (C::COLUMNS / 16 + splits - 1) / splits; /* groups of a block */
    return s.stages + (((from * most + i) * 2 + half) * C::COMPUTING + threadIdx.x) * 16;
}

__device__ __forceinline__ void add_bits(float &sum, uint32_t bits)
{
    sum += __uint_as_float(bits);
}

__device__ __forceinline__ void add_bits(int32_t &sum, uint32_t bits)
{
    sum += (int32_t)bits;
}

/* Sums of the i-th group of 16 columns over a cluster's blocks, in their order. */
template <class C>
__device__ __forceinline__ void add_partials(typename C::S (&total)[8], const shared_map &s,
                                             uint32_t splits, uint32_t i)
{
#pragma unroll
    for (int e = 0; e < 8; e++) {
        total[e] = 0;
    }
#pragma unroll
    for (uint32_t block = 0; block < LT_GEMM_MAX_SPLIT; block++) {
        if (block < splits) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const uint4 v = ptx::load_16(partial<C>(s, splits, block, i, half));
                add_bits(total[4 * half], v.x);
                add_bits(total[4 * half + 1], v.y);
                add_bits(total[4 * half + 2], v.z);
                add_bits(total[4 * half + 3], v.w);
            }
        }
    }
}

/* What the epilogue needs of a tile's columns: fetched ahead of the sums, a column or two a thread,
 * and left in the warpgroup's own shared memory behind them. */
template <class C> struct column_numbers {
    static constexpr uint32_t PER_THREAD = (C::COLUMNS + 127) / 128;
    float bias[PER_THREAD], scale[PER_THREAD];
    int32_t offset[PER_THREAD];

    __device__ __forceinline__ void load(const lt_cuda_gemm_params &p, uint32_t first)
    {
        const float x_scale = C::BYTES && p.x_scale ? *(const float *)p.x_scale : 1.0f;
        const int32_t x_zero =
            C::BYTES && p.x_zero ? -(int32_t) * (const typename C::T *)p.x_zero : 1;
#pragma unroll
        for (uint32_t i = 0; i < PER_THREAD; i++) {
            const uint32_t own = threadIdx.x % 128 + i * 128, c = first + own;
            const bool inside = own < C::COLUMNS && c < p.n;
            bias[i] = inside && p.bias ? load_real(p.bias, p.bias_type, c) : 0.0f;
            if (C::BYTES) {
                scale[i] =
                    inside && p.column_scale ? x_scale * ((const float *)p.column_scale)[c] : 0.0f;
                offset[i] = inside && p.offset ? x_zero * ((const int32_t *)p.offset)[c] : 0;
            } else if (C::NORMS && p.norms && inside) {
                scale[i] = load_real(p.norm_scale, p.out_type, c);
                offset[i] = __float_as_int(load_real(p.norm_bias, p.out_type, c));
            }
        }
    }
    /* all: scales and offsets, too. */
    __device__ __forceinline__ void keep(uint32_t numbers, uint32_t group, bool all = C::BYTES) const
    {
        ptx::group_sync(1 + group, 128); /* those of the tile before have been read */
#pragma unroll
        for (uint32_t i = 0; i < PER_THREAD; i++) {
            const uint32_t own = threadIdx.x % 128 + i * 128;
            if (own < C::COLUMNS) {
                const uint32_t to = numbers + C::number_place(own) * 4;
                ptx::store_4(to, __float_as_uint(bias[i]));
                if (all) {
                    ptx::store_4(to + C::number_place(C::COLUMNS) * 4, __float_as_uint(scale[i]));
                    ptx::store_4(to + C::number_place(C::COLUMNS) * 8, (uint32_t)offset[i]);
                }
            }
        }
        ptx::group_sync(1 + group, 128);
    }
};

/* Gives each block of a cluster the sums that it finishes, and finishes this block's. */
template <class C>
__device__ __forceinline__ void finish_split(const lt_cuda_gemm_params &p,
                                             typename C::S (&sums)[C::COLUMNS / 2],
                                             const shared_map &s, place at, uint32_t rank)
{
    uint32_t to = 0, i = 0;
    ptx::cluster_sync(); /* all stages of all blocks have been read */
#pragma unroll
    for (uint32_t g = 0; g < C::COLUMNS / 16; g++) {
#pragma unroll
        for (uint32_t half = 0; half < 2; half++) {
            ptx::store_cluster(ptx::cluster_address(partial<C>(s, p.splits, rank, i, half), to),
                               &sums[8 * g + 4 * half]);
        }
        if (++to == p.splits) {
            to = 0;
            i++;
        }
    }
    ptx::cluster_sync();
    const uint32_t column = at.column, numbers = at.numbers;
    for (uint32_t g = rank, own = 0; g < C::COLUMNS / 16; g += p.splits, own++) {
        typename C::S total[8];
        typename C::template rows<16> rows;
        at.column = column + C::group_column(g);
        at.numbers = numbers + C::number_place(C::group_column(g)) * 4;
        rows.load(p, at.row, at.column, at.batch);
        add_partials<C>(total, s, p.splits, own);
        finish(p, total, rows, at);
    }
}

/* Finishes a tile whose sums are whole: the residual of the first 64 columns is in `rows`. */
template <class C>
__device__ __forceinline__ void finish_tile(const lt_cuda_gemm_params &p,
                                            typename C::S (&sums)[C::SUMS],
                                            typename C::template rows<C::PASS> &rows, place at)
{
    constexpr uint32_t TAKEN = C::PASS / 2, PASSES = C::SUMS / TAKEN; /* sums of a pass */
    /* Passes before the rest move down: moves take issue slots and power, longer code the
     * instruction cache. (Measured for halves: two where warpgroups take turns, not four; one
     * elsewhere.) */
    constexpr uint32_t AT_ONCE = C::TURNS && !C::BYTES ? 2 : 1;
    static_assert(PASSES % AT_ONCE == 0, "whole groups of passes");
#pragma unroll 1
    for (uint32_t first = 0; first < PASSES; first += AT_ONCE) {
#pragma unroll
        for (uint32_t i = 0; i < AT_ONCE; i++) {
            const uint32_t pass = first + i;
            const bool more = (C::BYTES || p.residual_wide) && pass + 1 < PASSES;
            typename C::template rows<C::PASS> next;
            const bool ends = C::PARTS > 1 && (pass + 1) * C::PASS % C::COLUMNS == 0; /* a part */
            if (C::BYTES && more) { /* while these are finished; of halves they would be too many */
                next.load(p, at.row + (ends ? 64 : 0),
                          at.column + C::PASS - (ends ? C::COLUMNS : 0), at.batch);
            }
            finish(p, reinterpret_cast<typename C::S(&)[TAKEN]>(sums[i * TAKEN]), rows, at);
            at.column += C::PASS;
            at.numbers += C::number_place(C::PASS) * 4;
            if (ends) { /* 64 rows further */
                at.row += 64;
                at.column -= C::COLUMNS;
                at.numbers -= C::number_place(C::COLUMNS) * 4;
            }
            if (C::BYTES) {
                rows = next;
            } else if (more) {
                rows.load(p, at.row, at.column, at.batch);
            }
        }
#pragma unroll
        for (uint32_t i = AT_ONCE * TAKEN; i < C::SUMS; i++) {
            sums[i - AT_ONCE * TAKEN] = sums[i];
        }
    }
}

/* The same where results leave by the copy engine. GELU: the activation. */
template <class C, bool GELU>
__device__ __forceinline__ void finish_by_engine(const lt_cuda_gemm_params &p,
                                                 float (&sums)[C::SUMS], place at)
{
    constexpr uint32_t TAKEN = C::PASS / 2, PASSES = C::SUMS / TAKEN; /* sums of a pass */
    constexpr uint32_t AT_ONCE = C::TURNS ? 2 : 1; /* as above */
    static_assert(PASSES % AT_ONCE == 0, "whole groups of passes");
#pragma unroll 1
    for (uint32_t first = 0; first < PASSES; first += AT_ONCE) {
#pragma unroll
        for (uint32_t i = 0; i < AT_ONCE; i++) {
            float(&s)[TAKEN] = reinterpret_cast<float(&)[TAKEN]>(sums[i * TAKEN]);
            if (at.column < p.n) {
                scale_and_bias(s, p.scale, at);
                if (GELU) {
#pragma unroll
                    for (uint32_t e = 0; e < TAKEN; e++) {
                        s[e] = gelu_of_half(s[e]);
                    }
                } else {
                    activate(p, s);
                }
                store_by_engine<typename C::T>(p, s, at);
            }
            at.column += C::PASS;
            at.numbers += C::PASS * 4;
            if (C::PARTS > 1 && (first + i + 1) * C::PASS % C::COLUMNS == 0) { /* 64 rows further */
                at.row += 64;
                at.column -= C::COLUMNS;
                at.numbers -= C::COLUMNS * 4;
            }
        }
#pragma unroll
        for (uint32_t i = AT_ONCE * TAKEN; i < C::SUMS; i++) {
            sums[i - AT_ONCE * TAKEN] = sums[i];
        }
    }
}

} // namespace gemm

#endif

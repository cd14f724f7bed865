/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of backends/gpu share: guarded buffers, and a run of a kernel at both warp widths
 * and in three orders of its threads, every result against the same doubles. */
#ifndef TESTS_BACKENDS_GPU_GPU_TEST_HPP
#define TESTS_BACKENDS_GPU_GPU_TEST_HPP

#include "gpu.hpp"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

extern "C" {
#include <cmocka.h>
}

/* Sizes of a fixed array as an index. */
inline lt_gpu_index make_index(int rank, const int *size)
{
    lt_gpu_index index = {};
    index.rank = rank;
    for (int d = 0; d < rank; d++) {
        index.size[d] = lt_gpu_divisor_make((uint32_t)size[d]);
    }
    return index;
}

/* Memory that ends within 16 bytes of a page that cannot be touched: a read past it is a crash, a
 * write before it or in those bytes is found by check(). `shift` elements off 16-byte alignment. */
template <class T> class buffer
{
  public:
    T *data;
    size_t count;

    explicit buffer(size_t n, size_t shift = 0) : count(n)
    {
        const size_t page = 4096;
        size_t bytes = (n + shift) * sizeof(T);
        bytes_ = (bytes + 31 + page) / page * page + page;
        base_ = static_cast<unsigned char *>(
            mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        assert_true(base_ != MAP_FAILED);
        end_ = base_ + bytes_ - page;
        assert_int_equal(mprotect(end_, page, PROT_NONE), 0);
        data = reinterpret_cast<T *>(end_ - (bytes + 15) / 16 * 16) + shift;
        fill_bytes(0xa5);
    }
    buffer(const buffer &) = delete;
    buffer &operator=(const buffer &) = delete;
    ~buffer()
    {
        munmap(base_, bytes_);
    }
    void fill_bytes(int value)
    {
        memset(base_, value, static_cast<size_t>(end_ - base_));
        guard_ = static_cast<unsigned char>(value);
    }
    T &operator[](size_t i)
    {
        return data[i];
    }
    /* For outputs, after fill_bytes: nothing around the elements was written. */
    void check() const
    {
        for (const unsigned char *p = base_; p < reinterpret_cast<unsigned char *>(data); p++) {
            assert_int_equal(*p, guard_);
        }
        for (const unsigned char *p = reinterpret_cast<unsigned char *>(data + count); p < end_;
             p++) {
            assert_int_equal(*p, guard_);
        }
    }

  private:
    unsigned char *base_;
    unsigned char *end_;
    size_t bytes_;
    unsigned char guard_;
};

/* A number in [-1, 1) from a state that advances (splitmix64). */
inline double random_number(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-52 - 1.0;
}

inline double value(float v)
{
    return v;
}
inline double value(gpu::f16 v)
{
    return gpu::to_f32(v);
}
inline double value(gpu::bf16 v)
{
    return gpu::to_f32(v);
}
template <class T> double value(T v)
{
    return (double)v;
}

template <class T> T stored(double v)
{
    return (T)v;
}
template <> inline gpu::f16 stored<gpu::f16>(double v)
{
    return gpu::from_f32<gpu::f16>((float)v);
}
template <> inline gpu::bf16 stored<gpu::bf16>(double v)
{
    return gpu::from_f32<gpu::bf16>((float)v);
}

/* Half a unit in the last place of a type, relative. */
template <class T> double rounding()
{
    return 0;
}
template <> inline double rounding<float>()
{
    return 0x1p-24;
}
template <> inline double rounding<gpu::f16>()
{
    return 0x1p-11;
}
template <> inline double rounding<gpu::bf16>()
{
    return 0x1p-8;
}

/* `low` and `high` bound floats; integers come from [low, high). */
template <class T> void fill(buffer<T> &b, uint64_t seed, double low = -1, double high = 1)
{
    for (size_t i = 0; i < b.count; i++) {
        b[i] = stored<T>(low + (high - low) * 0.5 * (random_number(&seed) + 1));
    }
}

struct tolerance {
    double relative;
    double absolute;
};

/* f32 arithmetic of `units` roundings, then storage as T. */
template <class T> tolerance within(double units, double magnitude = 1)
{
    double relative = rounding<T>() * 1.01 + units * 0x1p-24;
    return {relative, (units * 0x1p-24 + (rounding<T>() > 0x1p-12 ? 0x1p-24 : 0)) * magnitude};
}

inline bool close(double actual, double expected, tolerance t)
{
    if (isnan(expected) || isnan(actual)) {
        return isnan(expected) && isnan(actual);
    }
    if (isinf(expected) || isinf(actual)) {
        return actual == expected;
    }
    return fabs(actual - expected) <= t.absolute + t.relative * fabs(expected);
}

template <class T> void compare(buffer<T> &y, const double *expected, tolerance t, const char *what)
{
    for (size_t i = 0; i < y.count; i++) {
        if (!close(value(y[i]), expected[i], t)) {
            fail_msg("%s: element %zu of %zu: %.9g, not %.9g", what, i, y.count, value(y[i]),
                     expected[i]);
        }
    }
    y.check();
}

/* One way to run a kernel. */
struct way {
    unsigned warp;
    uint64_t seed;
};
static const way all_ways[] = {{32, 0}, {32, 1}, {32, 77}, {64, 0}, {64, 1}, {64, 78}};

template <class P>
void launch_ok(void (*kernel)(const P &), const P &p, unsigned x, unsigned y, unsigned z, way w)
{
    gpu::launch_options options = {{x, y, z}, LT_GPU_THREADS, w.warp, w.seed};
    const char *fault = gpu::launch(kernel, p, options);
    if (fault != nullptr) {
        fail_msg("warp %u, seed %lu: %s", w.warp, (unsigned long)w.seed, fault);
    }
}

/* Runs in all ways; `y` must be within t of `expected` after each. */
template <class P, class T>
void check_kernel(void (*kernel)(const P &), const P &p, unsigned blocks, buffer<T> &y,
                  const double *expected, tolerance t)
{
    for (const way &w : all_ways) {
        char what[64];
        snprintf(what, sizeof what, "warp %u, seed %lu", w.warp, (unsigned long)w.seed);
        y.fill_bytes(0xa5);
        launch_ok(kernel, p, blocks, 1, 1, w);
        compare(y, expected, t, what);
    }
}

#endif

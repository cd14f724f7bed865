/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu_test.hpp"
#include "layout.hpp"

#include <vector>

/* Transposes all dimensions' order by `order`; y dense. */
template <class T>
static void check_permutation(void (*kernel)(const lt_gpu_copy &), int rank, const int *x_size,
                              const int *order)
{
    int64_t x_stride[8], n = 1;
    for (int d = rank - 1; d >= 0; d--) {
        x_stride[d] = n;
        n *= x_size[d];
    }
    buffer<T> x((size_t)n), y((size_t)n);
    fill(x, 3, 0, 250);
    int size[8];
    lt_gpu_copy p = {};
    p.x = x.data;
    p.y = y.data;
    p.count = n;
    int64_t y_stride = 1;
    for (int d = rank - 1; d >= 0; d--) {
        size[d] = x_size[order[d]];
        p.x_stride[d] = x_stride[order[d]];
        p.y_stride[d] = y_stride;
        y_stride *= size[d];
    }
    p.index = make_index(rank, size);
    std::vector<double> expected((size_t)n);
    for (int64_t i = 0; i < n; i++) {
        int64_t left = i, from = 0;
        for (int d = rank - 1; d >= 0; d--) {
            from += left % size[d] * p.x_stride[d];
            left /= size[d];
        }
        expected[(size_t)i] = value(x[(size_t)from]);
    }
    check_kernel(kernel, p, 2, y, expected.data(), {0, 0});
}

template <class T> static void check_permutations(void (*kernel)(const lt_gpu_copy &))
{
    const int one[] = {777}, one_order[] = {0};
    check_permutation<T>(kernel, 1, one, one_order);
    const int four[] = {3, 5, 7, 16}, heads[] = {0, 2, 1, 3}, reverse[] = {3, 2, 1, 0};
    check_permutation<T>(kernel, 4, four, heads);
    check_permutation<T>(kernel, 4, four, reverse);
    const int eight[] = {2, 3, 1, 2, 3, 2, 1, 5}, mixed[] = {7, 0, 3, 2, 5, 1, 6, 4};
    check_permutation<T>(kernel, 8, eight, mixed);
}

static void copies_permute_any_rank(void **)
{
    check_permutations<uint8_t>(lt_gpu_copy_1);
    check_permutations<uint16_t>(lt_gpu_copy_2);
    check_permutations<uint32_t>(lt_gpu_copy_4);
    check_permutations<uint64_t>(lt_gpu_copy_8);
}

/* A reversed slice with a step of 2 of the last dimension, expanded over a new first one, into a
 * part of y. */
static void copies_slice_expand_and_place(void **)
{
    buffer<uint32_t> x(5 * 9), y(3 * 5 * 7);
    fill(x, 4, 0, 1000);
    lt_gpu_copy p = {};
    p.x = x.data + 8;
    p.y = y.data + 2;
    p.count = 3 * 5 * 4;
    const int size[] = {3, 5, 4};
    p.index = make_index(3, size);
    p.x_stride[1] = 9;
    p.x_stride[2] = -2;
    p.y_stride[0] = 35;
    p.y_stride[1] = 7;
    p.y_stride[2] = 1;
    std::vector<double> expected(3 * 5 * 7);
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 5; j++) {
            for (int k = 0; k < 7; k++) {
                bool inside = k >= 2 && k < 6;
                expected[(size_t)(i * 35 + j * 7 + k)] =
                    inside ? x[(size_t)(j * 9 + 8 - 2 * (k - 2))] : 0xa5a5a5a5u;
            }
        }
    }
    check_kernel(lt_gpu_copy_4, p, 1, y, expected.data(), {0, 0});
}

template <class T> static void check_transpose(void (*kernel)(const lt_gpu_transpose &))
{
    const int cases[][3] = {{1, 1, 1},   {2, 3, 224}, {1, 64, 49}, {3, 33, 65}, {2, 100, 1},
                            {5, 2, 160}, {3, 4, 48},  {3, 3, 57},  {2, 4, 1024}};
    for (const int(&c)[3] : cases) {
        const size_t n = (size_t)(c[0] * c[1] * c[2]);
        buffer<T> x(n), y(n);
        fill(x, 6, 0, 250);
        std::vector<double> expected(n);
        for (int b = 0; b < c[0]; b++) {
            for (int r = 0; r < c[1]; r++) {
                for (int k = 0; k < c[2]; k++) {
                    expected[(size_t)((b * c[2] + k) * c[1] + r)] =
                        value(x[(size_t)((b * c[1] + r) * c[2] + k)]);
                }
            }
        }
        const lt_gpu_transpose p = {x.data, y.data, c[0], c[1], c[2]};
        check_kernel(kernel, p, 1, y, expected.data(), {0, 0});
        check_kernel(kernel, p, (unsigned)lt_gpu_transpose_tiles(&p) + 1, y, expected.data(),
                     {0, 0});
    }
}

static void tiles_transpose(void **)
{
    check_transpose<uint8_t>(lt_gpu_transpose_1);
    check_transpose<uint16_t>(lt_gpu_transpose_2);
    check_transpose<uint32_t>(lt_gpu_transpose_4);
    check_transpose<uint64_t>(lt_gpu_transpose_8);
}

/* By walking: one step at a time from 0. */
static int padded_from(int i, int size, int mode)
{
    if (mode == LT_GPU_PAD_CONSTANT) {
        return i >= 0 && i < size ? i : -1;
    }
    if (mode == LT_GPU_PAD_EDGE) {
        return i < 0 ? 0 : i >= size ? size - 1 : i;
    }
    int at = 0, step = 1;
    for (int k = 0; k < abs(i); k++) {
        if (mode == LT_GPU_PAD_WRAP) {
            at = i > 0 ? (at + 1) % size : (at + size - 1) % size;
        } else if (size > 1) {
            step = at == size - 1 ? -1 : at == 0 ? 1 : step;
            at += step;
        }
    }
    return at;
}

static void pads_in_every_mode(void **)
{
    const int x_size[] = {4, 1, 5}, size[] = {11, 3, 9}, before[] = {5, 1, -2};
    buffer<uint16_t> x(20), y(11 * 3 * 9);
    fill(x, 8, 0, 999);
    for (int mode = LT_GPU_PAD_CONSTANT; mode <= LT_GPU_PAD_WRAP; mode++) {
        lt_gpu_pad p = {};
        p.x = x.data;
        p.y = y.data;
        p.count = 11 * 3 * 9;
        p.index = make_index(3, size);
        const int64_t strides[] = {5, 5, 1};
        memcpy(p.before, before, sizeof before);
        memcpy(p.x_size, x_size, sizeof x_size);
        memcpy(p.x_stride, strides, sizeof strides);
        p.mode = mode;
        p.value = 4242;
        std::vector<double> expected((size_t)p.count);
        for (int i = 0; i < 11 * 3 * 9; i++) {
            int a = padded_from(i / 27 - 5, 4, mode), b = padded_from(i / 9 % 3 - 1, 1, mode);
            int c = padded_from(i % 9 + 2, 5, mode);
            expected[(size_t)i] = a < 0 || b < 0 || c < 0 ? 4242 : x[(size_t)(a * 5 + b * 5 + c)];
        }
        check_kernel(lt_gpu_pad_2, p, 1, y, expected.data(), {0, 0});
    }
}

template <class T, class I>
static void check_gather(void (*kernel)(const lt_gpu_gather &), int inner)
{
    const int outer = 3, axis = 7, n = 5;
    buffer<T> x((size_t)(outer * axis * inner)), y((size_t)(outer * n * inner));
    buffer<I> indices(n);
    buffer<uint32_t> error(1);
    fill(x, 8, 0, 250);
    const int good[] = {6, 0, -1, -7, 3}, bad[] = {6, 7, -8, 1, 2};
    for (int faulty = 0; faulty < 2; faulty++) {
        std::vector<double> expected(y.count);
        for (int i = 0; i < n; i++) {
            indices[(size_t)i] = (I)(faulty ? bad[i] : good[i]);
        }
        for (size_t i = 0; i < y.count; i++) {
            int o = (int)i / (n * inner), k = (int)indices[i / inner % n];
            k = k < 0 ? k + axis : k;
            bool inside = k >= 0 && k < axis;
            expected[i] = inside ? value(x[(size_t)(o * axis + k) * inner + i % inner]) : 0.0;
        }
        lt_gpu_gather p = {x.data,         indices.data,           y.data,
                           error.data,     (int64_t)y.count,       axis,
                           sizeof(I) == 8, lt_gpu_divisor_make(n), lt_gpu_divisor_make(inner)};
        error[0] = 0;
        check_kernel(kernel, p, 1, y, expected.data(), {0, 0});
        assert_int_equal(error[0], faulty);
    }
}

static void gather_checks_its_indices(void **)
{
    for (int inner : {9, 32}) { /* by elements, by 16 bytes */
        check_gather<uint8_t, int32_t>(lt_gpu_gather_1, inner);
        check_gather<uint16_t, int64_t>(lt_gpu_gather_2, inner);
        check_gather<uint32_t, int32_t>(lt_gpu_gather_4, inner);
        check_gather<uint64_t, int64_t>(lt_gpu_gather_8, inner);
    }
}

/* Rows side by side: stride, slots, channels; from NHWC or NCHW. */
template <class T>
static void check_interleave(void (*interleave)(const lt_gpu_interleave &), uint32_t outside,
                             int rows, int slots_log2, int channels, bool first)
{
    const int images = 2, height = 7, width = 9, top = 2, left = 3, groups = 5;
    const int slots = 1 << slots_log2, columns = 16;
    buffer<T> x((size_t)(images * height * width * channels));
    buffer<T> y((size_t)(images * groups * columns * rows * slots));
    fill(x, 41, 1, sizeof(T) == 1 ? 250 : 60000);
    lt_gpu_interleave p = {};
    p.x = x.data;
    p.y = y.data;
    p.count = (int64_t)y.count;
    p.x_stride[0] = height * width * channels;
    p.x_stride[1] = first ? height * width : 1;
    p.x_stride[2] = width * (first ? 1 : channels);
    p.x_stride[3] = first ? 1 : channels;
    p.groups = lt_gpu_divisor_make(groups);
    p.columns = lt_gpu_divisor_make((uint32_t)columns);
    p.pixel = lt_gpu_divisor_make((uint32_t)(rows * slots));
    p.rows = rows;
    p.slots_log2 = slots_log2;
    p.channels = channels;
    p.height = height;
    p.width = width;
    p.top = top;
    p.left = left;
    p.fill = outside;
    std::vector<double> expected(y.count);
    for (int i = 0; i < (int)y.count; i++) {
        const int c = i % slots, r = i / slots % rows;
        const int column = i / slots / rows % columns - left;
        const int row = i / slots / rows / columns % groups * rows + r - top;
        const int image = i / slots / rows / columns / groups;
        const bool inside =
            c < channels && row >= 0 && row < height && column >= 0 && column < width;
        expected[(size_t)i] = inside
                                  ? value(x[(size_t)(image * p.x_stride[0] + c * p.x_stride[1] +
                                                     row * p.x_stride[2] + column * p.x_stride[3])])
                                  : outside;
    }
    check_kernel(interleave, p, 2, y, expected.data(), {0, 0});
}

static void rows_are_interleaved(void **)
{
    for (bool first : {false, true}) {
        check_interleave<uint16_t>(lt_gpu_interleave_2, 0, 2, 2, 3, first);
        check_interleave<uint16_t>(lt_gpu_interleave_2, 0, 1, 3, 5, first);
        check_interleave<uint16_t>(lt_gpu_interleave_2, 9, 3, 3, 7, first);
        check_interleave<uint16_t>(lt_gpu_interleave_2, 0, 1, 2, 1, first);
        check_interleave<uint32_t>(lt_gpu_interleave_4, 0, 2, 2, 3, first);
        check_interleave<uint32_t>(lt_gpu_interleave_4, 0, 1, 3, 5, first);
        check_interleave<uint8_t>(lt_gpu_interleave_1, 7, 2, 2, 3, first);
        check_interleave<uint8_t>(lt_gpu_interleave_1, 255, 1, 4, 9, first);
        check_interleave<uint8_t>(lt_gpu_interleave_1, 0, 3, 3, 7, first);
    }
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_permute_any_rank),
        cmocka_unit_test(copies_slice_expand_and_place),
        cmocka_unit_test(tiles_transpose),
        cmocka_unit_test(pads_in_every_mode),
        cmocka_unit_test(gather_checks_its_indices),
        cmocka_unit_test(rows_are_interleaved),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

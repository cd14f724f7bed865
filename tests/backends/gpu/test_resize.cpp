/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu_test.hpp"
#include "resize.hpp"

#include <vector>

/* y of [2][3 or 5][7][c] from x of [2][4][9][c]: the dimensions that change, their taps. */
struct resize_case {
    int channels, n_axes;
    int dimension[4], taps[4];
};

static const resize_case cases[] = {
    {1, 1, {2}, {1}},
    {5, 2, {1, 2}, {2, 2}},
    {16, 2, {2, 1}, {4, 3}},
    {16, 1, {1}, {2}},
    {8, 3, {0, 2, 1}, {1, 2, 5}},
    {6, 2, {3, 1}, {2, 2}}, /* the last dimension, too */
    {7, 4, {3, 2, 0, 1}, {1, 2, 2, 3}},
    {16, 0, {}, {}},
};

static const int x_shape[3] = {2, 4, 9}, changed[4] = {3, 5, 7, 11};

/* Tables of random taps; y is the sum over them in double. */
template <class T>
static void check_resize(const resize_case &c, void (*kernel)(const lt_gpu_resize &), bool copies)
{
    const int from[4] = {x_shape[0], x_shape[1], x_shape[2], c.channels};
    int to[4] = {from[0], from[1], from[2], from[3]}, axis_of[4] = {-1, -1, -1, -1};
    size_t words = 1;
    for (int a = 0; a < c.n_axes; a++) {
        to[c.dimension[a]] = changed[c.dimension[a]];
        axis_of[c.dimension[a]] = a;
        words += 2 * (size_t)(to[c.dimension[a]] * c.taps[a]);
    }
    buffer<T> x((size_t)(from[0] * from[1] * from[2] * from[3]));
    buffer<T> y((size_t)(to[0] * to[1] * to[2] * to[3]));
    buffer<int32_t> table(words);
    fill(x, 5, sizeof(T) == 1 ? 0 : -1, sizeof(T) == 1 ? 250 : 1);
    lt_gpu_resize p = {};
    int64_t stride = 1;
    int32_t next = 0;
    uint64_t seed = 11;
    p.x = x.data;
    p.y = y.data;
    p.table = table.data;
    p.count = (int64_t)y.count;
    p.index.rank = 4;
    p.n_axes = c.n_axes;
    for (int d = 3; d >= 0; d--) {
        p.index.size[d] = lt_gpu_divisor_make((uint32_t)to[d]);
        p.x_stride[d] = axis_of[d] < 0 ? stride : 0;
        if (axis_of[d] >= 0) {
            const int taps = copies ? 1 : c.taps[axis_of[d]], count = to[d] * taps;
            p.axis[axis_of[d]] = {d, taps, next, next + count, stride};
            for (int i = 0; i < count; i++) {
                const float w = (float)random_number(&seed);
                table[(size_t)(next + i)] = (int32_t)((random_number(&seed) + 1) / 2 * from[d]);
                memcpy(&table[(size_t)(next + count + i)], &w, 4);
            }
            next += 2 * count;
        }
        stride *= from[d];
    }
    p.packed = axis_of[3] < 0;
    std::vector<double> expected(y.count);
    int taps = 1;
    for (size_t i = 0; i < y.count; i++) {
        int at[4], left = (int)i;
        for (int d = 3; d >= 0; d--) {
            at[d] = left % to[d];
            left /= to[d];
        }
        taps = 1;
        for (int a = 0; a < c.n_axes; a++) {
            taps *= p.axis[a].taps;
        }
        for (int t = 0; t < taps; t++) {
            double w = 1;
            int from_at[4] = {at[0], at[1], at[2], at[3]}, tap = t;
            for (int a = 0; a < c.n_axes; a++) {
                const lt_gpu_resize_axis &axis = p.axis[a];
                const int entry = at[axis.dimension] * axis.taps + tap % axis.taps;
                float weight;
                tap /= axis.taps;
                from_at[axis.dimension] = table[(size_t)(axis.index + entry)];
                memcpy(&weight, &table[(size_t)(axis.weight + entry)], 4);
                w *= copies ? 1 : weight;
            }
            const int flat =
                ((from_at[0] * from[1] + from_at[1]) * from[2] + from_at[2]) * from[3] + from_at[3];
            expected[i] += w * value(x[(size_t)flat]);
        }
    }
    check_kernel(kernel, p, 2, y, expected.data(),
                 copies ? tolerance{0, 0} : within<T>(taps + 4, taps));
}

static void tables_say_where_elements_come_from(void **)
{
    for (const resize_case &c : cases) {
        check_resize<float>(c, lt_gpu_resize_f32, false);
        check_resize<gpu::f16>(c, lt_gpu_resize_f16, false);
        check_resize<gpu::bf16>(c, lt_gpu_resize_bf16, false);
        check_resize<uint8_t>(c, lt_gpu_resize_1, true);
        check_resize<gpu::f16>(c, (void (*)(const lt_gpu_resize &))lt_gpu_resize_2, true);
        check_resize<float>(c, lt_gpu_resize_4, true);
        check_resize<double>(c, lt_gpu_resize_8, true);
    }
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_say_where_elements_come_from),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

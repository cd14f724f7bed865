/* SPDX-License-Identifier: Apache-2.0 */
#include "attention.hpp"
#include "attention_mma.hpp"
#include "attention_mma_tf32.hpp"
#include "gpu_test.hpp"

#include <vector>

struct attention_case {
    int batch, heads, kv_heads, q_rows, kv_rows, head_size, v_size;
    int mask; /* lt_gpu_mask; the added one is alike for all heads, the other for
                 all rows */
    int causal, past;
    int hidden; /* columns that the mask lacks */
};

template <class T> static double score(const lt_gpu_attention &p, int b, int h, int i, int c)
{
    const int kv = h / (p.heads / p.kv_heads);
    const T *q = (const T *)p.q + b * p.q_stride[0] + h * p.q_stride[1] + i * p.q_stride[2];
    const T *k = (const T *)p.k + b * p.k_stride[0] + kv * p.k_stride[1] + c * p.k_stride[2];
    double s = 0;
    for (int d = 0; d < p.head_size; d++) {
        s += value(q[d]) * value(k[d]);
    }
    s *= p.scale;
    const int64_t at =
        b * p.mask_stride[0] + h * p.mask_stride[1] + i * p.mask_stride[2] + c * p.mask_stride[3];
    if (p.mask_kind == LT_GPU_MASK_ADDED) {
        s += value(((const T *)p.mask)[at]);
    } else if (p.mask_kind == LT_GPU_MASK_F32) {
        s += ((const float *)p.mask)[at];
    } else if (p.mask_kind == LT_GPU_MASK_BOOL && ((const uint8_t *)p.mask)[at] == 0) {
        s = -INFINITY;
    }
    const bool cut = p.mask_kind != LT_GPU_MASK_NONE && c >= p.mask_columns;
    return cut || (p.causal && c > i + p.past) ? -INFINITY : s;
}

/* One row of y. */
template <class T> static void expect_row(const lt_gpu_attention &p, int b, int h, int i, double *y)
{
    const int kv = h / (p.heads / p.kv_heads);
    const T *v = (const T *)p.v + b * p.v_stride[0] + kv * p.v_stride[1];
    std::vector<double> s;
    double largest = -INFINITY, total = 0;
    for (int c = 0; c < p.kv_rows; c++) {
        s.push_back(score<T>(p, b, h, i, c));
        largest = fmax(largest, s.back());
    }
    for (int d = 0; d < p.v_size; d++) {
        y[d] = isinf(largest) ? p.nothing : 0;
    }
    if (isinf(largest)) {
        return;
    }
    for (double &x : s) {
        x = exp(x - largest);
        total += x;
    }
    for (int c = 0; c < p.kv_rows; c++) {
        for (int d = 0; d < p.v_size; d++) {
            y[d] += s[(size_t)c] / total * value(v[c * p.v_stride[2] + d]);
        }
    }
}

/* Rows of heads side by side: [batch][row][head][size]. */
static void set_strides(int64_t (&stride)[3], int rows, int heads, int size)
{
    stride[0] = (int64_t)rows * heads * size;
    stride[1] = size;
    stride[2] = (int64_t)heads * size;
}

/* Factors that tensor cores take as they are. */
template <class T> static void make_exact(buffer<T> &)
{
}
static void make_exact(buffer<float> &x)
{
    for (size_t i = 0; i < x.count; i++) {
        const uint32_t bits = gpu::to_tf32(x[i]);
        memcpy(&x[i], &bits, 4);
    }
}

/* A kernel; rows of q in a block, 0 without tensor cores: those with them round weights to
 * T, of f32 to TF32. */
struct attention_kernel {
    void (*run)(const lt_gpu_attention &);
    int rows;
};

template <class T>
static void run_in_all_ways(const attention_kernel &k, const lt_gpu_attention &p, buffer<T> &y,
                            const double *expected, tolerance t)
{
    static const way ways[] = {{32, 1}, {32, 77}, {64, 0}}; /* fragments move lane by lane: slow */
    for (const way &w : ways) {
        const int64_t items = lt_gpu_attention_items(&p, k.rows);
        gpu::launch_options options = {
            {(unsigned)(items > 1 ? items - 1 : 1), 1, 1}, LT_GPU_THREADS, w.warp, w.seed};
        y.fill_bytes(0xa5);
        const char *fault = gpu::launch(k.run, p, options);
        if (fault != nullptr) {
            fail_msg("warp %u, seed %lu: %s", w.warp, (unsigned long)w.seed, fault);
        }
        compare(y, expected, t, "on tensor cores");
    }
}

/* `shift`: elements that q, k, v and y are off 16 bytes. */
template <class T>
static void check_attention(const attention_case &c, const attention_kernel &kernel,
                            size_t shift = 0)
{
    buffer<T> q((size_t)(c.batch * c.q_rows * c.heads * c.head_size), shift);
    buffer<T> k((size_t)(c.batch * c.kv_rows * c.kv_heads * c.head_size), shift);
    buffer<T> v((size_t)(c.batch * c.kv_rows * c.kv_heads * c.v_size), shift);
    buffer<T> y((size_t)(c.batch * c.q_rows * c.heads * c.v_size), shift);
    buffer<T> added((size_t)(c.batch * c.q_rows * c.kv_rows));
    buffer<float> added_f32(added.count);
    buffer<uint8_t> shown((size_t)(c.batch * c.kv_rows));
    fill(q, 1, -2, 2);
    fill(k, 2, -2, 2);
    fill(v, 3);
    if (kernel.rows != 0) {
        make_exact(q);
        make_exact(k);
        make_exact(v);
    }
    fill(added, 4, -3, 3);
    fill(added_f32, 6, -3, 3);
    fill(shown, 5, 0, 2);
    for (int i = 0; i < c.kv_rows; i++) { /* the first row sees nothing */
        added[(size_t)i] = stored<T>(-INFINITY);
    }
    lt_gpu_attention p = {};
    p.q = q.data;
    p.k = k.data;
    p.v = v.data;
    p.y = y.data;
    p.mask = added.data;
    if (c.mask == LT_GPU_MASK_BOOL) {
        p.mask = shown.data;
    } else if (c.mask == LT_GPU_MASK_F32) {
        p.mask = added_f32.data;
    }
    p.batch = c.batch;
    p.heads = c.heads;
    p.kv_heads = c.kv_heads;
    p.q_rows = c.q_rows;
    p.kv_rows = c.kv_rows;
    p.head_size = c.head_size;
    p.v_size = c.v_size;
    p.mask_kind = c.mask;
    p.causal = c.causal;
    p.past = c.past;
    p.mask_columns = c.kv_rows - c.hidden;
    p.nothing = c.hidden ? NAN : 0;
    p.scale = 1 / sqrtf((float)c.head_size);
    set_strides(p.q_stride, c.q_rows, c.heads, c.head_size);
    set_strides(p.k_stride, c.kv_rows, c.kv_heads, c.head_size);
    set_strides(p.v_stride, c.kv_rows, c.kv_heads, c.v_size);
    set_strides(p.y_stride, c.q_rows, c.heads, c.v_size);
    p.mask_stride[0] = c.mask == LT_GPU_MASK_BOOL ? c.kv_rows : c.q_rows * c.kv_rows;
    p.mask_stride[2] = c.mask == LT_GPU_MASK_BOOL ? 0 : c.kv_rows;
    p.mask_stride[3] = 1;
    std::vector<double> expected(y.count);
    for (int b = 0; b < c.batch; b++) {
        for (int h = 0; h < c.heads; h++) {
            for (int i = 0; i < c.q_rows; i++) {
                int64_t at = b * p.y_stride[0] + h * p.y_stride[1] + i * p.y_stride[2];
                expect_row<T>(p, b, h, i, expected.data() + at);
            }
        }
    }
    tolerance t = within<T>(c.head_size + c.kv_rows + 32);
    if (kernel.rows != 0) {
        t.absolute += sizeof(T) == 4 ? 0x1p-11 : rounding<T>();
        run_in_all_ways<T>(kernel, p, y, expected.data(), t);
        return;
    }
    const int64_t items = lt_gpu_attention_items(&p, LT_GPU_ATTENTION_ROWS);
    check_kernel(kernel.run, p, (unsigned)(items > 1 ? items - 1 : 1), y, expected.data(), t);
}

static const attention_case cases[] = {
    {1, 1, 1, 1, 1, 1, 1, LT_GPU_MASK_NONE, 0, 0, 0},
    {2, 3, 3, 33, 65, 40, 24, LT_GPU_MASK_ADDED, 0, 0, 0},
    {1, 4, 2, 40, 40, 64, 64, LT_GPU_MASK_NONE, 1, 0, 0},
    {2, 2, 1, 5, 37, 16, 33, LT_GPU_MASK_BOOL, 1, 32, 0},
    {1, 2, 2, 7, 31, 64, 63, LT_GPU_MASK_BOOL, 0, 0, 4},
    {1, 2, 2, 7, 31, 32, 24, LT_GPU_MASK_F32, 0, 0, 0},
};

template <class T>
static void check_attentions(void (*small)(const lt_gpu_attention &),
                             void (*large)(const lt_gpu_attention &))
{
    for (const attention_case &c : cases) {
        check_attention<T>(c, {small, 0});
    }
    check_attention<T>(cases[1], {large, 0});
    const attention_case wide = {1, 2, 1, 35, 70, 128, 100, LT_GPU_MASK_ADDED, 1, 3, 0};
    check_attention<T>(wide, {large, 0});
}

static void attention_with_masks_and_shared_heads(void **)
{
    check_attentions<float>(lt_gpu_attention_f32_64, lt_gpu_attention_f32_128);
    check_attentions<gpu::f16>(lt_gpu_attention_f16_64, lt_gpu_attention_f16_128);
    check_attentions<gpu::bf16>(lt_gpu_attention_bf16_64, lt_gpu_attention_bf16_128);
}

/* Sizes are multiples of 8; several tiles of keys, tails of them and of the queries. */
static const attention_case mma_cases[] = {
    {1, 1, 1, 1, 1, 8, 8, LT_GPU_MASK_NONE, 0, 0, 0},
    {1, 2, 1, 70, 97, 64, 64, LT_GPU_MASK_BOOL, 0, 0, 0},
    {2, 1, 1, 33, 65, 40, 24, LT_GPU_MASK_ADDED, 0, 0, 0},
    {1, 2, 2, 90, 150, 64, 56, LT_GPU_MASK_NONE, 1, 5, 0},
    {1, 1, 1, 20, 140, 16, 64, LT_GPU_MASK_BOOL, 1, 100, 70},
    {1, 1, 1, 17, 70, 32, 40, LT_GPU_MASK_F32, 0, 0, 0},
};

template <class T>
static void check_mma(const attention_kernel &small, const attention_kernel &small_wide,
                      const attention_kernel &large, const attention_kernel &large_wide)
{
    for (const attention_case &c : mma_cases) {
        check_attention<T>(c, small);
    }
    check_attention<T>(mma_cases[1], small, 3);
    check_attention<T>(mma_cases[3], small_wide);
    check_attention<T>(mma_cases[2], large);
    const attention_case wide = {1, 2, 1, 35, 70, 128, 104, LT_GPU_MASK_ADDED, 1, 3, 2};
    check_attention<T>(wide, large);
    check_attention<T>(wide, large_wide);
}

static void attention_on_tensor_cores(void **)
{
    check_mma<gpu::f16>(
        {lt_gpu_attention_mma_f16_64x64, 64}, {lt_gpu_attention_mma_f16_64x128, 128},
        {lt_gpu_attention_mma_f16_128x64, 64}, {lt_gpu_attention_mma_f16_128x128, 128});
    check_mma<gpu::bf16>(
        {lt_gpu_attention_mma_bf16_64x64, 64}, {lt_gpu_attention_mma_bf16_64x128, 128},
        {lt_gpu_attention_mma_bf16_128x64, 64}, {lt_gpu_attention_mma_bf16_128x128, 128});
}

static void attention_in_tf32(void **)
{
    check_mma<float>({lt_gpu_attention_tf32_64x64, 64}, {lt_gpu_attention_tf32_64x128, 128},
                     {lt_gpu_attention_tf32_128x64, 64}, {lt_gpu_attention_tf32_128x128, 128});
    const attention_case fours = {1, 2, 2, 30, 50, 20, 12, LT_GPU_MASK_NONE, 0, 0, 0};
    check_attention<float>(fours, {lt_gpu_attention_tf32_64x64, 64});
}

/* To the nearest, ties away from zero; infinities stay, NaN stays one. */
static void numbers_round_to_tf32(void **)
{
    static const uint32_t cases[][2] = {{0x3f800000, 0x3f800000}, {0x3f800fff, 0x3f800000},
                                        {0x3f801000, 0x3f802000}, {0xbf801000, 0xbf802000},
                                        {0x3fffffff, 0x40000000}, {0x7f800000, 0x7f800000},
                                        {0xff800000, 0xff800000}, {0x7f7fffff, 0x7f800000},
                                        {0x00000fff, 0x00000000}, {0x7fc00001, 0x7fffe000}};
    for (const auto &c : cases) {
        float x;
        memcpy(&x, &c[0], 4);
        assert_int_equal(gpu::to_tf32(x), c[1]);
    }
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_with_masks_and_shared_heads),
        cmocka_unit_test(attention_on_tensor_cores),
        cmocka_unit_test(attention_in_tf32),
        cmocka_unit_test(numbers_round_to_tf32),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "decode.hpp"
#include "gpu_test.hpp"

#include <vector>

/* ---- attention ------------------------------------------------------------------------------- */

struct decode_case {
    int batch, heads, kv_heads, q_rows, kv_rows, past_rows, head_size, v_size;
    int mask, mask_columns, causal, splits;
    int lengths; /* of the first batch item; each next one has one less; -1: none */
    float softcap;
};

template <class T> struct operands {
    buffer<T> q, k, v, past_k, past_v, added, y;
    buffer<uint8_t> shown;
    buffer<int64_t> lengths;
    buffer<float> parts;

    explicit operands(const decode_case &c)
        : q((size_t)(c.batch * c.heads * c.q_rows * c.head_size)),
          k((size_t)(c.batch * c.kv_heads * c.kv_rows * c.head_size)),
          v((size_t)(c.batch * c.kv_heads * c.kv_rows * c.v_size)),
          past_k((size_t)(c.batch * c.kv_heads * c.past_rows * c.head_size)),
          past_v((size_t)(c.batch * c.kv_heads * c.past_rows * c.v_size)),
          added((size_t)(c.q_rows * c.mask_columns)),
          y((size_t)(c.batch * c.heads * c.q_rows * c.v_size)),
          shown((size_t)(c.batch * c.mask_columns)), lengths((size_t)c.batch),
          parts((size_t)(c.batch * c.heads * c.q_rows * c.splits * (c.v_size + 2)))
    {
        fill(q, 1, -2, 2);
        fill(k, 2, -2, 2);
        fill(v, 3);
        fill(past_k, 4, -2, 2);
        fill(past_v, 5);
        fill(added, 6, -3, 3);
        fill(shown, 7, 0, 2);
        for (int b = 0; b < c.batch; b++) {
            lengths[(size_t)b] = c.lengths - b;
        }
    }
};

/* [batch][head][row][size], or [batch][row][head][size]. */
static void set_strides(int64_t (&stride)[3], bool heads_first, int rows, int heads, int size)
{
    stride[0] = (int64_t)rows * heads * size;
    stride[1] = heads_first ? (int64_t)rows * size : size;
    stride[2] = heads_first ? size : (int64_t)heads * size;
}

template <class T> static lt_gpu_decode parameters(const decode_case &c, operands<T> &o)
{
    lt_gpu_decode p = {};
    p.q = o.q.data;
    p.k = o.k.data;
    p.v = o.v.data;
    p.past_k = c.past_rows ? o.past_k.data : nullptr;
    p.past_v = c.past_rows ? o.past_v.data : nullptr;
    p.mask = c.mask == LT_GPU_DECODE_BOOL ? (const void *)o.shown.data : o.added.data;
    p.lengths = c.lengths < 0 ? nullptr : o.lengths.data;
    p.y = o.y.data;
    p.parts = o.parts.data;
    p.batch = c.batch;
    p.heads = c.heads;
    p.kv_heads = c.kv_heads;
    p.q_rows = c.q_rows;
    p.kv_rows = c.kv_rows;
    p.past_rows = c.past_rows;
    p.head_size = c.head_size;
    p.v_size = c.v_size;
    p.mask_kind = c.mask;
    p.mask_columns = c.mask_columns;
    p.causal = c.causal;
    p.splits = c.splits;
    p.scale = 1 / sqrtf((float)c.head_size);
    p.softcap = c.softcap;
    set_strides(p.q_stride, false, c.q_rows, c.heads, c.head_size);
    set_strides(p.k_stride, true, c.kv_rows, c.kv_heads, c.head_size);
    set_strides(p.v_stride, false, c.kv_rows, c.kv_heads, c.v_size);
    set_strides(p.past_k_stride, true, c.past_rows, c.kv_heads, c.head_size);
    set_strides(p.past_v_stride, true, c.past_rows, c.kv_heads, c.v_size);
    set_strides(p.y_stride, false, c.q_rows, c.heads, c.v_size);
    /* The added mask is alike for all batch items and heads, the other for all heads and rows. */
    p.mask_stride[0] = c.mask == LT_GPU_DECODE_BOOL ? c.mask_columns : 0;
    p.mask_stride[2] = c.mask == LT_GPU_DECODE_BOOL ? 0 : c.mask_columns;
    p.mask_stride[3] = 1;
    return p;
}

/* Element d of row c of the past and the new rows. */
template <class T>
static double element(const void *past, const int64_t (&ps)[3], const void *fresh,
                      const int64_t (&s)[3], int past_rows, int b, int h, int c, int d)
{
    if (c < past_rows) {
        return value(((const T *)past)[b * ps[0] + h * ps[1] + c * ps[2] + d]);
    }
    return value(((const T *)fresh)[b * s[0] + h * s[1] + (c - past_rows) * s[2] + d]);
}

template <class T>
static std::vector<double> expect_row(const lt_gpu_decode &p, int b, int h, int i)
{
    const int kv = h / (p.heads / p.kv_heads), all = p.past_rows + p.kv_rows;
    const int count = p.lengths ? (int)p.lengths[b] : all;
    const int before = p.lengths ? count - p.q_rows : p.past_rows;
    std::vector<double> scores, y((size_t)p.v_size);
    double largest = -INFINITY, total = 0;
    for (int c = 0; c < count; c++) {
        double s = 0;
        for (int d = 0; d < p.head_size; d++) {
            s += value(((const T *)
                            p.q)[b * p.q_stride[0] + h * p.q_stride[1] + i * p.q_stride[2] + d]) *
                 element<T>(p.past_k, p.past_k_stride, p.k, p.k_stride, p.past_rows, b, kv, c, d);
        }
        s *= p.scale;
        s = p.softcap != 0 ? p.softcap * tanh(s / p.softcap) : s;
        const int64_t at = b * p.mask_stride[0] + i * p.mask_stride[2] + c;
        if (p.mask_kind == LT_GPU_DECODE_ADDED && c < p.mask_columns) {
            s += value(((const T *)p.mask)[at]);
        }
        if ((p.causal && c > before + i) || (p.mask_kind && c >= p.mask_columns) ||
            (p.mask_kind == LT_GPU_DECODE_BOOL && ((const uint8_t *)p.mask)[at] == 0)) {
            s = -INFINITY;
        }
        scores.push_back(s);
        largest = fmax(largest, s);
    }
    for (int c = 0; c < count && !isinf(largest); c++) {
        scores[(size_t)c] = exp(scores[(size_t)c] - largest);
        total += scores[(size_t)c];
    }
    for (int d = 0; d < p.v_size; d++) {
        for (int c = 0; c < count && total != 0; c++) {
            y[(size_t)d] +=
                scores[(size_t)c] / total *
                element<T>(p.past_v, p.past_v_stride, p.v, p.v_stride, p.past_rows, b, kv, c, d);
        }
    }
    return y;
}

template <class T>
static void check_decode(const decode_case &c, void (*kernel)(const lt_gpu_decode &),
                         void (*join)(const lt_gpu_decode &))
{
    operands<T> o(c);
    lt_gpu_decode p = parameters(c, o);
    std::vector<double> expected(o.y.count);
    for (int b = 0; b < c.batch; b++) {
        for (int h = 0; h < c.heads; h++) {
            for (int i = 0; i < c.q_rows; i++) {
                const std::vector<double> row = expect_row<T>(p, b, h, i);
                const int64_t at = b * p.y_stride[0] + h * p.y_stride[1] + i * p.y_stride[2];
                std::copy(row.begin(), row.end(), expected.begin() + at);
            }
        }
    }
    const unsigned items = (unsigned)lt_gpu_decode_items(&p);
    for (const way &w : all_ways) {
        o.y.fill_bytes(0xa5);
        o.parts.fill_bytes(0xa5);
        launch_ok(kernel, p, items > 1 ? items - 1 : 1, 1, 1, w);
        if (c.splits > 1) {
            o.parts.check();
            launch_ok(join, p, 1, 1, 1, w);
        }
        compare(o.y, expected.data(), within<T>(c.head_size + c.kv_rows + c.past_rows + 64),
                "decode");
    }
}

/* batch, heads, kv_heads, q_rows, kv_rows, past_rows, head_size, v_size, mask, columns, causal,
 * splits, lengths, softcap */
static const decode_case cases[] = {
    {1, 1, 1, 1, 1, 0, 1, 1, 0, 1, 0, 1, -1, 0},
    {1, 9, 3, 1, 100, 0, 64, 64, 0, 100, 1, 1, 77, 0},
    {2, 4, 2, 3, 70, 0, 64, 48, 0, 70, 1, 3, 41, 0},
    {2, 3, 3, 2, 9, 33, 40, 24, LT_GPU_DECODE_ADDED, 42, 0, 1, -1, 0},
    {1, 2, 1, 5, 5, 37, 17, 33, LT_GPU_DECODE_BOOL, 30, 1, 2, -1, 5},
    {1, 2, 2, 4, 6, 0, 64, 64, 0, 6, 1, 2, 2, 0}, /* the first queries see nothing */
    {1, 1, 1, 1, 8, 0, 8, 8, 0, 8, 0, 4, 0, 0},   /* nobody does */
};

template <class T>
static void check_decodes(void (*small)(const lt_gpu_decode &),
                          void (*large)(const lt_gpu_decode &), void (*join)(const lt_gpu_decode &))
{
    for (const decode_case &c : cases) {
        check_decode<T>(c, small, join);
    }
    check_decode<T>(cases[2], large, join);
    const decode_case wide = {1, 2, 1, 2, 65, 0, 128, 100, 0, 65, 1, 3, 60, 0};
    check_decode<T>(wide, large, join);
}

static void attention_of_few_queries(void **)
{
    check_decodes<float>(lt_gpu_decode_f32_64, lt_gpu_decode_f32_128, lt_gpu_decode_join_f32);
    check_decodes<gpu::f16>(lt_gpu_decode_f16_64, lt_gpu_decode_f16_128, lt_gpu_decode_join_f16);
    check_decodes<gpu::bf16>(lt_gpu_decode_bf16_64, lt_gpu_decode_bf16_128,
                             lt_gpu_decode_join_bf16);
}

static void length_out_of_range_is_reported(void **)
{
    for (int64_t length : {(int64_t)-1, (int64_t)101, INT64_MAX}) {
        operands<float> o(cases[1]);
        lt_gpu_decode p = parameters(cases[1], o);
        uint32_t error = 0;
        p.error = &error;
        o.lengths[0] = length;
        launch_ok(lt_gpu_decode_f32_64, p, 9, 1, 1, {32, 0});
        assert_int_equal(error, 1);
    }
}

/* ---- rotary embedding ------------------------------------------------------------------------ */

template <class T>
static void check_rotary(bool heads_first, bool interleaved, bool by_position, int size, int half,
                         void (*kernel)(const lt_gpu_rotary &))
{
    const int batch = 2, heads = 3, seq = 5, rows = by_position ? 7 : batch * seq;
    const size_t count = (size_t)(batch * heads * seq * size);
    buffer<T> x(count), y(count), cosines((size_t)(rows * half)), sines((size_t)(rows * half));
    buffer<int64_t> positions((size_t)(batch * seq));
    fill(x, 1);
    fill(cosines, 2);
    fill(sines, 3);
    fill(positions, 4, 0, rows);
    lt_gpu_rotary p = {};
    p.x = x.data;
    p.cosines = cosines.data;
    p.sines = sines.data;
    p.positions = by_position ? positions.data : nullptr;
    p.y = y.data;
    p.count = (int64_t)count;
    p.size = lt_gpu_divisor_make((uint32_t)size);
    p.seq = lt_gpu_divisor_make((uint32_t)seq);
    p.heads = lt_gpu_divisor_make((uint32_t)heads);
    p.half = half;
    p.table_rows = rows;
    p.interleaved = interleaved;
    p.heads_first = heads_first;
    std::vector<double> expected(count);
    for (int token = 0; token < batch * seq; token++) {
        for (int h = 0; h < heads; h++) {
            const int head =
                heads_first ? (token / seq * heads + h) * seq + token % seq : token * heads + h;
            const size_t at = (size_t)(head * size);
            const int64_t row = by_position ? positions[(size_t)token] : token;
            for (int e = 0; e < size; e++) {
                expected[at + (size_t)e] = value(x[at + (size_t)e]);
            }
            for (int i = 0; i < half; i++) {
                const size_t first = at + (size_t)(interleaved ? 2 * i : i);
                const size_t second = at + (size_t)(interleaved ? 2 * i + 1 : half + i);
                const double a = value(x[first]), b = value(x[second]);
                const double c = value(cosines[(size_t)(row * half + i)]);
                const double s = value(sines[(size_t)(row * half + i)]);
                expected[first] = a * c - b * s;
                expected[second] = a * s + b * c;
            }
        }
    }
    check_kernel(kernel, p, 1, y, expected.data(), within<T>(4));
    if (by_position) {
        uint32_t error = 0;
        p.error = &error;
        positions[3] = rows;
        launch_ok(kernel, p, 1, 1, 1, {32, 0});
        assert_int_equal(error, 1);
    }
}

static void rotary_embedding(void **)
{
    for (int way = 0; way < 8; way++) {
        check_rotary<float>(way & 1, way & 2, way & 4, 10, 5, lt_gpu_rotary_f32);
        check_rotary<gpu::f16>(way & 1, way & 2, way & 4, 64, 32, lt_gpu_rotary_f16);
        check_rotary<gpu::bf16>(way & 1, way & 2, way & 4, 11, 3, lt_gpu_rotary_bf16);
    }
}

/* ---- writing into a cache -------------------------------------------------------------------- */

template <class T>
static void check_scatter(bool in_place, bool circular, bool indexed,
                          void (*kernel)(const lt_gpu_tensor_scatter &))
{
    const int batch = 2, rows = 3, length = 7, added = 4, run = 5;
    const int64_t first[2] = {indexed ? 3 : 0, indexed ? (circular ? 12 : 1) : 0};
    buffer<T> x((size_t)(batch * rows * length * run)), y(x.count);
    buffer<T> update((size_t)(batch * rows * added * run));
    buffer<int64_t> indices(2);
    fill(x, 1, 0, 100);
    fill(update, 2, 100, 120);
    indices[0] = first[0];
    indices[1] = first[1];
    lt_gpu_tensor_scatter p = {};
    p.x = in_place ? y.data : x.data;
    p.update = update.data;
    p.indices = indexed ? indices.data : nullptr;
    p.y = y.data;
    p.batch = batch;
    p.rows = lt_gpu_divisor_make(rows);
    p.length = lt_gpu_divisor_make(length);
    p.added = lt_gpu_divisor_make(added);
    p.run = lt_gpu_divisor_make(run);
    p.circular = circular;
    std::vector<double> expected;
    for (size_t i = 0; i < x.count; i++) {
        expected.push_back(value(x[i]));
    }
    for (int row = 0; row < batch * rows; row++) {
        for (int i = 0; i < added; i++) {
            const int64_t to = (first[row / rows] + i) % length;
            for (int e = 0; e < run; e++) {
                expected[(size_t)((row * length + to) * run + e)] =
                    value(update[(size_t)((row * added + i) * run + e)]);
            }
        }
    }
    for (const way &w : all_ways) {
        y.fill_bytes(0xa5);
        for (size_t i = 0; in_place && i < x.count; i++) {
            y[i] = x[i];
        }
        launch_ok(kernel, p, 1, 1, 1, w);
        compare(y, expected.data(), {0, 0}, "scatter");
    }
    if (indexed && !circular) {
        uint32_t error = 0;
        p.error = &error;
        indices[1] = 4; /* one too far */
        launch_ok(kernel, p, 1, 1, 1, {32, 0});
        assert_int_equal(error, 1);
    }
}

static void tensor_scatter(void **)
{
    for (int way = 0; way < 8; way++) {
        check_scatter<uint8_t>(way & 1, way & 2, way & 4, lt_gpu_tensor_scatter_1);
        check_scatter<uint16_t>(way & 1, way & 2, way & 4, lt_gpu_tensor_scatter_2);
        check_scatter<uint32_t>(way & 1, way & 2, way & 4, lt_gpu_tensor_scatter_4);
        check_scatter<uint64_t>(way & 1, way & 2, way & 4, lt_gpu_tensor_scatter_8);
    }
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_of_few_queries),
        cmocka_unit_test(length_out_of_range_is_reported),
        cmocka_unit_test(rotary_embedding),
        cmocka_unit_test(tensor_scatter),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}

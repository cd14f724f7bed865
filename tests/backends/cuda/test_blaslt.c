/* SPDX-License-Identifier: Apache-2.0 */
/* Products by cuBLASLt in sessions: with the fake driver and the fake library (fake_blaslt.c), or,
 * where LEAT_CUDA_PLUGIN names the plugin, on a real device with the real library; results against
 * sums in double. */
#include "backends/cuda/fakes.h"
#include "support/test.h"

#include "base/number.h"
#include "runtime/tuning.h"
#include "support/run.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static size_t (*matmuls)(void); /* NULL: the real library */
static size_t (*frugals)(void);
static size_t (*handles)(void);
static fake_cuda_counts *driver; /* NULL: the real one */
static const char *plugin = FAKES "/libleat_cuda.so";

static int behave(void **state)
{
    (void)state;
    setenv("LEAT_FAKE_CUDA", "good", 1);
    setenv("LEAT_FAKE_CUBLASLT", "good", 1);
    setenv("LEAT_CUBLASLT", "prefer", 1);
    unsetenv("LEAT_CUBLASLT_PATH");
    return 0;
}

typedef enum function {
    LINEAR,
    RELU,
    GELU_TANH
} function;

/* y = f(x w + bias + residual); x [batch][m][k], w [k][n], [n][k] or [batch][k][n] */
typedef struct product {
    leat_dtype dtype;
    int64_t batch, m, n, k;
    int turned, own_w; /* w an input with the batch */
    int bias, residual;
    function f;
} product;

#define MOST 40000
static uint16_t xs[MOST], ws[MOST], rs[MOST], bs[512];

static void fill(uint16_t *out, size_t count, leat_dtype dtype, uint32_t seed)
{
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        out[i] = lt_half_write(dtype, (int32_t)seed * 0x1p-31);
    }
}

static leat_array array_of(void *data, leat_dtype dtype, int64_t batch, int64_t rows, int64_t n)
{
    leat_array a = {.data = data, .dtype = dtype, .rank = batch ? 3 : 2};
    const int64_t shape[3] = {batch ? batch : rows, batch ? rows : n, n};
    memcpy(a.shape, shape, sizeof(shape));
    a.bytes = (size_t)((batch ? batch : 1) * rows * n) * 2;
    return a;
}

static void write_shape(char out[64], int64_t batch, int64_t rows, int64_t n)
{
    int used = batch ? snprintf(out, 64, "%lldx", (long long)batch) : 0;
    snprintf(out + used, 64 - (size_t)used, "%lldx%lld", (long long)rows, (long long)n);
}

static void add_factors(onnx_builder *b, const product *p)
{
    char shape[64];
    leat_array bias = {.data = bs, .dtype = p->dtype, .rank = 1, .shape = {p->n}};
    leat_array w =
        p->turned ? array_of(ws, p->dtype, 0, p->n, p->k) : array_of(ws, p->dtype, 0, p->k, p->n);
    write_shape(shape, p->batch, p->m, p->k);
    onnx_builder_input(b, "x", p->dtype, shape);
    if (p->own_w) {
        write_shape(shape, p->batch, p->k, p->n);
        onnx_builder_input(b, "w", p->dtype, shape);
    } else {
        onnx_builder_constant(b, "w", &w);
    }
    bias.bytes = (size_t)p->n * 2;
    onnx_builder_constant(b, "b", &bias);
}

static onnx_builder *build(const product *p)
{
    onnx_builder *b = onnx_builder_create(20);
    char shape[64], inputs[16];
    const leat_attr turned = {"transB", LEAT_ATTR_INT, 1, {.i = 1}};
    const leat_attr tanh_ = {"approximate", LEAT_ATTR_STRING, 1, {.s = {"tanh", 4}}};
    const char *at = "p";
    fill(xs, MOST, p->dtype, 1);
    fill(ws, MOST, p->dtype, 2);
    fill(rs, MOST, p->dtype, 3);
    fill(bs, 512, p->dtype, 4);
    add_factors(b, p);
    if (p->turned) {
        onnx_builder_node(b, "Gemm", p->bias ? "x,w,b" : "x,w", "p", &turned, 1);
    } else {
        onnx_builder_node(b, "MatMul", "x,w", "p", NULL, 0);
    }
    if (p->bias && !p->turned) {
        onnx_builder_node(b, "Add", "p,b", "pb", NULL, 0);
        at = "pb";
    }
    write_shape(shape, p->batch, p->m, p->n);
    if (p->residual) {
        snprintf(inputs, sizeof(inputs), "%s,r", at);
        onnx_builder_input(b, "r", p->dtype, shape);
        onnx_builder_node(b, "Add", inputs, "pr", NULL, 0);
        at = "pr";
    }
    if (p->f != LINEAR) {
        onnx_builder_node(b, p->f == RELU ? "Relu" : "Gelu", at, "y", &tanh_, p->f == GELU_TANH);
        at = "y";
    }
    onnx_builder_output(b, at, p->dtype, shape);
    return b;
}

static double apply(function f, double x)
{
    return f == RELU        ? (x > 0 ? x : 0)
           : f == GELU_TANH ? 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))
                            : x;
}

/* Allowed: one rounding of the result, those of sums in f32, and what a tanh.approx may be off. */
static bool is_right(const product *p, const leat_array *y)
{
    const double half = p->dtype == LEAT_DTYPE_F16 ? 0x1p-11 : 0x1p-8;
    const int64_t batch = p->batch ? p->batch : 1;
    assert_int_equal(y->bytes, (size_t)(batch * p->m * p->n) * 2);
    for (int64_t i = 0; i < batch * p->m * p->n; i++) {
        const int64_t c = i % p->n, row = i / p->n, z = row / p->m;
        double sum = 0, size = 0;
        for (int64_t k = 0; k < p->k; k++) {
            int64_t at = p->turned ? c * p->k + k : k * p->n + c;
            at += p->own_w ? z * p->k * p->n : 0;
            double v = lt_half_read(p->dtype, xs[row * p->k + k]) * lt_half_read(p->dtype, ws[at]);
            sum += v;
            size += fabs(v);
        }
        sum += p->bias ? lt_half_read(p->dtype, bs[c]) : 0;
        sum += p->residual ? lt_half_read(p->dtype, rs[i]) : 0;
        const double want = apply(p->f, sum);
        const double got = lt_half_read(p->dtype, ((const uint16_t *)y->data)[i]);
        const double allowed = 1.01 * half * fabs(want) + 0x1p-22 * size + 0x1p-24 +
                               (p->f == GELU_TANH ? 0x1p-11 * fabs(sum) : 0);
        if (!(fabs(got - want) <= allowed)) {
            print_error("%lldx%lldx%lld: element %lld is %g, not %g\n", (long long)p->m,
                        (long long)p->n, (long long)p->k, (long long)i, got, want);
            return false;
        }
    }
    return true;
}

/* Whether the session's product is cuBLASLt's; it is one node with all that follows it. */
static bool is_theirs(leat_session *session, leat_error *err)
{
    leat_plan_report report = {.struct_size = sizeof(report)};
    assert_ok(leat_session_report(session, &report, err), err);
    assert_int_equal(report.n_nodes, 1);
    return strcmp(report.nodes[0].kernel, "cublaslt") == 0;
}

static size_t run_product(const product *p, test_run *r, size_t *wrong)
{
    leat_array in[3], y;
    size_t n = 0, before = matmuls ? matmuls() : 0;
    in[n++] = array_of(xs, p->dtype, p->batch, p->m, p->k);
    if (p->own_w) {
        in[n++] = array_of(ws, p->dtype, p->batch, p->k, p->n);
    }
    if (p->residual) {
        in[n++] = array_of(rs, p->dtype, p->batch, p->m, p->n);
    }
    for (int run = 0; run < 4; run++) { /* plain, recorded, replayed */
        memset(&y, 0, sizeof(y));
        test_run_ok(r, in, n, &y, 1);
        *wrong += !is_right(p, &y);
    }
    return (matmuls ? matmuls() : 1) - before;
}

static void open_product(test_run *r, onnx_builder *b, const char *cache)
{
    static const char *const device[] = {"cuda:0"};
    const leat_session_desc desc = {
        .struct_size = sizeof(desc), .devices = device, .n_devices = 1, .cache_directory = cache};
    test_run_load(r, b);
    assert_ok(leat_context_load_backend(r->context, plugin, &r->err), &r->err);
    test_run_session(r, &desc);
}

static void close_product(test_run *r, onnx_builder *b)
{
    test_run_free(r);
    onnx_builder_destroy(b);
    if (handles != NULL) {
        assert_int_equal(handles(), 0);
    }
}

static const product products[] = {
    {LEAT_DTYPE_F16, 0, 64, 48, 40, 0, 0, 0, 0, LINEAR},
    {LEAT_DTYPE_F16, 0, 33, 72, 24, 0, 0, 1, 0, RELU},
    {LEAT_DTYPE_F16, 0, 40, 64, 128, 1, 0, 1, 0, GELU_TANH},
    {LEAT_DTYPE_F16, 0, 70, 40, 56, 1, 0, 1, 1, LINEAR},
    {LEAT_DTYPE_F16, 0, 35, 88, 96, 0, 0, 0, 1, RELU},
    {LEAT_DTYPE_BF16, 0, 40, 56, 72, 0, 0, 1, 1, RELU},
    {LEAT_DTYPE_BF16, 0, 50, 33, 47, 0, 0, 0, 0, LINEAR}, /* rows that are not aligned */
    {LEAT_DTYPE_BF16, 3, 40, 24, 48, 0, 1, 0, 0, LINEAR},
    {LEAT_DTYPE_F16, 3, 40, 24, 48, 0, 1, 0, 1, LINEAR},
    {LEAT_DTYPE_F16, 2, 40, 24, 48, 0, 0, 1, 0, GELU_TANH}, /* rows of both are one matrix */
};

static void products_agree_with_sums_in_double(void **state)
{
    size_t wrong = 0;
    (void)state;
    for (size_t i = 0; i < sizeof(products) / sizeof(products[0]); i++) {
        const product *p = &products[i];
        onnx_builder *b = build(p);
        test_run r;
        open_product(&r, b, NULL);
        size_t launches = run_product(p, &r, &wrong);
        if (!is_theirs(r.session, &r.err)) {
            fail_msg("product %zu is not cuBLASLt's", i);
        }
        assert_true(launches >= 1);
        close_product(&r, b);
    }
    assert_int_equal(wrong, 0);
}

/* Products of few rows, of odd rows with a bias, and small ones stay with the own kernels. */
static void other_products_are_left_alone(void **state)
{
    const product few = {LEAT_DTYPE_F16, 0, 1, 48, 40, 0, 0, 1, 0, RELU};
    const product whole = {LEAT_DTYPE_F16, 0, 40, 48, 40, 0, 0, 1, 0, RELU};
    const product odd = {LEAT_DTYPE_BF16, 0, 50, 33, 47, 0, 0, 1, 0, LINEAR};
    const product *const all[] = {&few, &odd, &whole};
    (void)state;
    for (int i = 0; i < 3; i++) {
        const product *p = all[i];
        onnx_builder *b = build(p);
        test_run r;
        if (p == &whole) { /* small ones are not worth it */
            unsetenv("LEAT_CUBLASLT");
        }
        open_product(&r, b, NULL);
        size_t wrong = 0;
        (void)run_product(p, &r, &wrong);
        assert_int_equal(wrong, 0);
        assert_false(is_theirs(r.session, &r.err));
        close_product(&r, b);
    }
}

/* Of large products, but not of the largest, the tiles that take the least energy come first,
 * wherever they are proposed. */
static void large_products_take_the_frugal_proposal(void **state)
{
    const product large = {LEAT_DTYPE_F16, 0, 400, 496, 16, 0, 0, 1, 0, LINEAR};
    const product largest = {LEAT_DTYPE_F16, 0, 2400, 496, 8, 0, 0, 1, 0, LINEAR};
    const product *const all[] = {&products[0], &large, &largest};
    (void)state;
    for (int i = 0; i < 3; i++) {
        onnx_builder *b = build(all[i]);
        test_run r;
        open_product(&r, b, NULL);
        size_t before = frugals ? frugals() : 0, wrong = 0;
        size_t launches = run_product(all[i], &r, &wrong);
        assert_int_equal(wrong, 0);
        assert_true(is_theirs(r.session, &r.err));
        assert_true(frugals == NULL || frugals() - before == (i == 1 ? launches : 0));
        close_product(&r, b);
    }
}

/* Without the library, a symbol of it, a handle or a proposal results come from the own kernels. */
static void missing_library_is_borne(void **state)
{
    static const char *const fakes[] = {"no_handle", "no_proposal"};
    const product *p = &products[3];
    (void)state;
    for (int i = 0; i < 5; i++) {
        onnx_builder *b = build(p);
        test_run r;
        behave(NULL);
        if (i < 2) {
            if (matmuls == NULL) {
                onnx_builder_destroy(b);
                continue;
            }
            setenv("LEAT_FAKE_CUBLASLT", fakes[i], 1);
        } else if (i == 2) {
            setenv("LEAT_CUBLASLT", "off", 1);
        } else {
            setenv("LEAT_CUBLASLT_PATH", i == 3 ? "/nonexistent/libcublasLt.so" : "libm.so.6", 1);
        }
        open_product(&r, b, NULL);
        size_t wrong = 0, launches = run_product(p, &r, &wrong);
        assert_int_equal(wrong, 0);
        assert_false(is_theirs(r.session, &r.err));
        assert_true(matmuls == NULL || launches == 0);
        close_product(&r, b);
    }
}

static void failing_launch_is_an_error(void **state)
{
    const product *p = &products[0];
    (void)state;
    if (matmuls == NULL) {
        skip();
    }
    onnx_builder *b = build(p);
    test_run r;
    open_product(&r, b, NULL);
    setenv("LEAT_FAKE_CUBLASLT", "no_launch", 1);
    leat_array x = array_of(xs, p->dtype, 0, p->m, p->k), y = {0};
    assert_int_equal(leat_session_run(r.session, &x, 1, &y, 1, &r.err), LEAT_DEVICE_LOST);
    assert_non_null(strstr(r.err.message, "cuBLASLt"));
    close_product(&r, b);
}

/* y = three products of x in a row */
static onnx_builder *build_chain(const leat_array *w)
{
    onnx_builder *b = onnx_builder_create(20);
    onnx_builder_input(b, "x", LEAT_DTYPE_F16, "40x48");
    onnx_builder_constant(b, "w", w);
    onnx_builder_node(b, "MatMul", "x,w", "p", NULL, 0);
    onnx_builder_node(b, "Relu", "p", "q", NULL, 0);
    onnx_builder_node(b, "MatMul", "q,w", "r", NULL, 0);
    onnx_builder_node(b, "Relu", "r", "s", NULL, 0);
    onnx_builder_node(b, "MatMul", "s,w", "y", NULL, 0);
    onnx_builder_output(b, "y", LEAT_DTYPE_F16, "40x48");
    return b;
}

/* Runs the chain so often that the last runs are a graph's, all with the same result, while the
 * driver behaves so. How often something was set to zero in the last one. */
static size_t zeros_of_a_graph(const char *behaviour)
{
    leat_array x = array_of(xs, LEAT_DTYPE_F16, 0, 40, 48), y;
    const leat_array w = array_of(ws, LEAT_DTYPE_F16, 0, 48, 48);
    static uint16_t first[40 * 48];
    size_t before = 0;
    fill(xs, 40 * 48, LEAT_DTYPE_F16, 5);
    fill(ws, 48 * 48, LEAT_DTYPE_F16, 6);
    onnx_builder *b = build_chain(&w);
    test_run r;
    open_product(&r, b, NULL);
    setenv("LEAT_FAKE_CUDA", behaviour, 1);
    for (int run = 0; run < 6; run++) {
        before = driver ? driver->zeros : 0;
        memset(&y, 0, sizeof(y));
        test_run_ok(&r, &x, 1, &y, 1);
        if (run == 0) {
            memcpy(first, y.data, sizeof(first));
        }
        assert_memory_equal(y.data, first, sizeof(first));
    }
    for (int i = 0; i < 40 * 48; i++) {
        assert_true(isfinite(lt_half_read(LEAT_DTYPE_F16, first[i])));
    }
    size_t zeros = driver ? driver->zeros - before : 0;
    setenv("LEAT_FAKE_CUDA", "good", 1);
    close_product(&r, b);
    return zeros;
}

/* Each has its own counter, and the graph begins by setting all of them to zero: once. A driver
 * that does not tell of nodes, or makes none, leaves what was recorded, or plain launches. */
static void recorded_products_set_their_counters_to_zero_at_once(void **state)
{
    (void)state;
    const size_t once = zeros_of_a_graph("good"), untold = zeros_of_a_graph("nodes");
    const size_t kept = zeros_of_a_graph("dependencies"), plain = zeros_of_a_graph("add_memset");
    if (driver != NULL) {
        assert_int_equal(once, 1);
        assert_int_equal(untold, 3);
        assert_int_equal(kept, 4);
        assert_int_equal(plain, 3);
    }
}

/* A session that tunes measures the proposals, too, and any that is chosen is right. */
static void proposals_are_measured(void **state)
{
    const product *p = &products[3];
    char directory[] = "/tmp/leat-blaslt-XXXXXX", path[128];
    (void)state;
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/%s", directory, LT_TUNING_FILE);
    for (int i = 0; i < 2; i++) { /* measured, then found */
        onnx_builder *b = build(p);
        test_run r;
        open_product(&r, b, directory);
        size_t before = matmuls ? matmuls() : 0;
        size_t wrong = 0;
        (void)run_product(p, &r, &wrong);
        assert_int_equal(wrong, 0);
        if (matmuls != NULL && i == 0) {
            assert_true(matmuls() - before >= 3); /* each of the fake's at least once */
        }
        close_product(&r, b);
    }
    unlink(path);
    assert_int_equal(rmdir(directory), 0);
}

static int find_library(void **state)
{
    void *library = dlopen("libcublasLt.so.13", RTLD_NOW | RTLD_LOCAL);
    void *symbols[3] = {NULL, NULL, NULL};
    (void)state;
    if (library != NULL) {
        symbols[0] = dlsym(library, "fake_blaslt_matmuls");
        symbols[1] = dlsym(library, "fake_blaslt_handles");
        symbols[2] = dlsym(library, "fake_blaslt_frugals");
    }
    memcpy(&matmuls, &symbols[0], sizeof(symbols[0]));
    memcpy(&handles, &symbols[1], sizeof(symbols[1]));
    memcpy(&frugals, &symbols[2], sizeof(symbols[2]));
    void *fake = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    void *symbol = fake ? dlsym(fake, "fake_cuda_read_counts") : NULL;
    if (symbol != NULL) {
        fake_cuda_counts *(*read)(void);
        memcpy(&read, &symbol, sizeof(symbol));
        driver = read();
    }
    if (getenv("LEAT_CUDA_PLUGIN") == NULL && matmuls == NULL) {
        print_error("%s/libcublasLt.so.13, the library for tests, is not what the loader finds; on "
                    "a device LEAT_CUDA_PLUGIN=FILE names the plugin to test\n",
                    FAKES);
        return -1;
    }
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, behave, behave)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(products_agree_with_sums_in_double),
        TEST(other_products_are_left_alone),
        TEST(large_products_take_the_frugal_proposal),
        TEST(missing_library_is_borne),
        TEST(failing_launch_is_an_error),
        TEST(recorded_products_set_their_counters_to_zero_at_once),
        TEST(proposals_are_measured),
    };
    (void)argc;
    if (getenv("LEAT_CUDA_PLUGIN") != NULL) {
        plugin = getenv("LEAT_CUDA_PLUGIN");
    } else if (start_with_fakes(argv, FAKES) != 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, find_library, NULL);
}

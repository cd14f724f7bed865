/* SPDX-License-Identifier: Apache-2.0 */
/* Plans and launches of attention against a driver that writes down what it is asked; no device is
 * needed. */
#include "support/test.h"

#include "../../../../backends/cuda/gemm/attend.h"

#include <string.h>

typedef struct map_call {
    uint64_t dims[4], strides[3];
    uint32_t box[4];
} map_call;

/* What the driver was asked last; tests run one after the other. */
static struct {
    map_call maps[4];
    int n_maps;
    const void *replaced[4];
    int n_replaced;
    uint32_t grid, threads, shared_bytes;
    lt_cuda_attend_params params;
    int n_launches, fail; /* result of every call */
} asked;

static int get_function(void **out, void *module, const char *name)
{
    *out = module;
    assert_non_null(strstr(name, "_attend_192x128x64_sm90"));
    return asked.fail;
}

static int set_attribute(void *function, int attribute, int value)
{
    assert_non_null(function);
    assert_int_equal(attribute, 8);
    assert_true(value <= 232448);
    return asked.fail;
}

static int encode_tiled(void *map, int dtype, uint32_t rank, void *address, const uint64_t *dims,
                        const uint64_t *strides, const uint32_t *box, const uint32_t *steps,
                        int interleave, int swizzle, int promotion, int fill)
{
    assert_int_equal((uintptr_t)map % 64, 0);
    assert_int_equal((uintptr_t)address % 16, 0);
    assert_true((dtype == 6 || dtype == 9) && rank == 4 && interleave == 0 && fill == 0);
    assert_true(swizzle == 3 && promotion == 3 && steps[3] == 1);
    map_call *m = &asked.maps[asked.n_maps++ % 4];
    memcpy(m->dims, dims, sizeof m->dims);
    memcpy(m->strides, strides, sizeof m->strides);
    memcpy(m->box, box, sizeof m->box);
    return asked.fail;
}

static int replace_address(void *map, void *address)
{
    assert_int_equal((uintptr_t)map % 64, 0);
    asked.replaced[asked.n_replaced++ % 4] = address;
    return asked.fail;
}

static int launch_kernel(const void *config, void *function, void **params, void **extra)
{
    uint32_t c[7]; /* grid, block, shared memory: the start of a CUlaunchConfig */
    memcpy(c, config, sizeof c);
    assert_true(function != NULL && extra == NULL);
    asked.grid = c[0];
    asked.threads = c[3];
    asked.shared_bytes = c[6];
    asked.n_launches++;
    memcpy(&asked.params, params[0], sizeof asked.params);
    return asked.fail;
}

static lt_cuda_gemm gemm;

static lt_cuda_attend_kernels open_kernels(void)
{
    static int module;
    void *const modules[2] = {&module, &module};
    lt_cuda_attend_kernels kernels;
    leat_error err = {0};
    memset(&asked, 0, sizeof asked);
    gemm = (lt_cuda_gemm){.driver = {.module_get_function = get_function,
                                     .func_set_attribute = set_attribute,
                                     .tensor_map_encode_tiled = encode_tiled,
                                     .tensor_map_replace_address = replace_address,
                                     .launch_kernel_ex = launch_kernel},
                          .n_multiprocessors = 132};
    assert_ok(lt_cuda_attend_open(&gemm, modules, &kernels, &err), &err);
    return kernels;
}

/* Packed Q, K and V of `heads` heads of 64: [batch][rows][3][heads][64]. */
static lt_gpu_attention packed(int batch, int rows, int heads)
{
    const int64_t width = 64 * (int64_t)heads;
    lt_gpu_attention p = {.batch = batch,
                          .heads = heads,
                          .kv_heads = heads,
                          .q_rows = rows,
                          .kv_rows = rows,
                          .head_size = 64,
                          .v_size = 64,
                          .mask_kind = LT_GPU_MASK_ADDED,
                          .mask_columns = rows,
                          .scale = 0.125f,
                          .mask_stride = {rows, 0, 0, 1}};
    for (int i = 0; i < 3; i++) {
        const int64_t in[3] = {3 * width * rows, 64, 3 * width};
        p.q_stride[i] = p.k_stride[i] = p.v_stride[i] = in[i];
        p.y_stride[i] = i == 1 ? 64 : in[i] / 3;
    }
    return p;
}

static void plan_maps_rows_and_heads_in_their_order(void **state)
{
    const lt_cuda_attend_kernels kernels = open_kernels();
    lt_gpu_attention p = packed(2, 400, 4);
    lt_cuda_attend_plan plan;
    leat_error err = {0};
    (void)state;
    assert_ok(lt_cuda_attend_plan_make(&kernels, &p, LEAT_DTYPE_F16, &plan, &err), &err);
    assert_int_equal(asked.n_maps, 4);
    const map_call *q = &asked.maps[0], *k = &asked.maps[1], *y = &asked.maps[3];
    assert_true(q->dims[0] == 64 && q->dims[1] == 4 && q->dims[2] == 400 && q->dims[3] == 2);
    assert_true(q->strides[0] == 128 && q->strides[1] == 1536 && q->strides[2] == 614400);
    assert_true(q->box[0] == 64 && q->box[1] == 1 && q->box[2] == LT_ATTEND_ROWS);
    assert_int_equal(k->box[2], LT_ATTEND_KEYS);
    assert_int_equal(y->box[2], 16);
    assert_true(plan.params.row_tiles == 3 && plan.params.key_tiles == 4);
    assert_true(plan.params.n_items == 24 && plan.launch.grid == 24);
    p.q_stride[1] = 400 * 64; /* [batch][heads][rows][64] */
    p.q_stride[2] = 64;
    p.q_stride[0] = 4 * 400 * 64;
    assert_ok(lt_cuda_attend_plan_make(&kernels, &p, LEAT_DTYPE_BF16, &plan, &err), &err);
    assert_true(q->dims[1] == 400 && q->dims[2] == 4 && q->box[1] == LT_ATTEND_ROWS);
    assert_true(plan.params.q.heads_first == 0 && plan.params.k.heads_first == 1);
    assert_int_equal(plan.kernel, 1);
}

static void plan_refuses_what_the_kernel_has_not(void **state)
{
    const lt_cuda_attend_kernels kernels = open_kernels();
    lt_cuda_attend_plan plan;
    lt_gpu_attention p[7];
    (void)state;
    for (int i = 0; i < 7; i++) {
        p[i] = packed(1, 384, 2);
    }
    p[0].causal = 1;
    p[1].mask_stride[2] = 384;
    p[2].head_size = 72;
    p[3].v_size = 60;
    p[4].k_stride[2] = 388;
    p[5].v_stride[0] = (int64_t)1 << 40;
    p[6].batch = 1 << 30;
    for (int i = 0; i < 7; i++) {
        leat_error err = {0};
        assert_int_equal(lt_cuda_attend_plan_make(&kernels, &p[i], LEAT_DTYPE_F16, &plan, &err),
                         LEAT_UNSUPPORTED);
        assert_true(err.message[0] != 0);
    }
    lt_gpu_attention empty = packed(1, 384, 2);
    assert_int_equal(lt_cuda_attend_plan_make(&kernels, &empty, LEAT_DTYPE_F32, &plan, NULL),
                     LEAT_UNSUPPORTED);
    empty.kv_rows = 0;
    assert_int_equal(lt_cuda_attend_plan_make(&kernels, &empty, LEAT_DTYPE_F16, &plan, NULL),
                     LEAT_INVALID);
    empty = packed(1, 384, 2);
    asked.fail = 1;
    assert_int_equal(lt_cuda_attend_plan_make(&kernels, &empty, LEAT_DTYPE_F16, &plan, NULL),
                     LEAT_UNSUPPORTED);
}

static void plan_is_for_many_rows(void **state)
{
    static const struct {
        int batch, rows, heads, faster;
    } cases[] = {
        {32, 384, 16, 1}, {1, 384, 16, 1}, {1, 128, 16, 0}, {64, 20, 16, 1}, {1, 192, 8, 0}};
    const lt_cuda_attend_kernels kernels = open_kernels();
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const lt_gpu_attention p = packed(cases[i].batch, cases[i].rows, cases[i].heads);
        lt_cuda_attend_plan plan;
        leat_error err = {0};
        assert_ok(lt_cuda_attend_plan_make(&kernels, &p, LEAT_DTYPE_F16, &plan, &err), &err);
        assert_int_equal(lt_cuda_attend_is_faster(&kernels, &plan), cases[i].faster);
    }
}

static void plan_gives_a_block_whole_heads(void **state)
{
    static const struct {
        int batch, rows, heads;
        uint32_t together, grid;
    } cases[] = {{32, 384, 16, 2, 132}, /* four heads a block at most, or eight halves */
                 {8, 384, 16, 2, 128},
                 {1, 384, 16, 1, 32},    /* half of the blocks would have nothing to do */
                 {8, 384, 17, 1, 132},   /* 136 heads: four items for some, three are enough */
                 {4, 2048, 16, 1, 132}}; /* keys do not fit */
    const lt_cuda_attend_kernels kernels = open_kernels();
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const lt_gpu_attention p = packed(cases[i].batch, cases[i].rows, cases[i].heads);
        lt_cuda_attend_plan plan;
        leat_error err = {0};
        assert_ok(lt_cuda_attend_plan_make(&kernels, &p, LEAT_DTYPE_F16, &plan, &err), &err);
        assert_int_equal(plan.params.together, cases[i].together);
        assert_int_equal(plan.launch.grid, cases[i].grid);
    }
}

static void launch_passes_addresses(void **state)
{
    const lt_cuda_attend_kernels kernels = open_kernels();
    const lt_gpu_attention p = packed(32, 384, 16);
    lt_cuda_attend_plan plan;
    leat_error err = {0};
    _Alignas(16) static char memory[64];
    lt_cuda_attend_operands o = {memory, memory + 16, memory + 32, memory + 2, memory + 48};
    (void)state;
    assert_ok(lt_cuda_attend_plan_make(&kernels, &p, LEAT_DTYPE_F16, &plan, &err), &err);
    assert_ok(lt_cuda_attend_launch(&kernels, &plan, &o, NULL, &err), &err);
    assert_true(asked.n_launches == 1 && asked.grid == 132 && asked.threads == 512);
    assert_int_equal(asked.shared_bytes, LT_ATTEND_SHARED_BYTES);
    assert_true(asked.n_replaced == 4 && asked.replaced[0] == o.q && asked.replaced[3] == o.y);
    assert_true(asked.params.mask == (uint64_t)(uintptr_t)o.mask);
    o.k = memory + 8;
    assert_int_equal(lt_cuda_attend_launch(&kernels, &plan, &o, NULL, &err), LEAT_INVALID);
    o.k = memory;
    o.mask = NULL;
    assert_int_equal(lt_cuda_attend_launch(&kernels, &plan, &o, NULL, &err), LEAT_INVALID);
    o.mask = memory;
    asked.fail = 700;
    assert_int_equal(lt_cuda_attend_launch(&kernels, &plan, &o, NULL, &err), LEAT_DEVICE_LOST);
    assert_int_equal(asked.n_launches, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plan_maps_rows_and_heads_in_their_order),
        cmocka_unit_test(plan_refuses_what_the_kernel_has_not),
        cmocka_unit_test(plan_is_for_many_rows),
        cmocka_unit_test(plan_gives_a_block_whole_heads),
        cmocka_unit_test(launch_passes_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Attention on a Hopper device against double-precision loops: tails, heads that share keys, both
 * orders of rows and heads, masks of every kind, rows that see nothing. Skipped, with the reason,
 * where there is no device. */
#include "operands.h"

#include <math.h>
#include <stdlib.h>

typedef struct attend_case {
    int batch, heads, kv_heads, q_rows, kv_rows, head_size, v_size;
    int rows_first; /* [batch][rows][heads][size], else [batch][heads][rows][size] */
    int mask;       /* lt_gpu_mask; of each image, the f32 one of each head */
    int hidden;     /* columns that the mask lacks */
    leat_dtype dtype;
} attend_case;

static void set_strides(int64_t out[3], int rows, int heads, int size, int rows_first)
{
    out[0] = (int64_t)rows * heads * size;
    out[1] = rows_first ? size : (int64_t)rows * size;
    out[2] = rows_first ? (int64_t)heads * size : size;
}

static lt_gpu_attention describe(const attend_case *c)
{
    lt_gpu_attention p = {.batch = c->batch,
                          .heads = c->heads,
                          .kv_heads = c->kv_heads,
                          .q_rows = c->q_rows,
                          .kv_rows = c->kv_rows,
                          .head_size = c->head_size,
                          .v_size = c->v_size,
                          .mask_kind = c->mask,
                          .mask_columns = c->kv_rows - c->hidden,
                          .scale = 1 / sqrtf((float)c->head_size),
                          .nothing = 0.25f};
    set_strides(p.q_stride, c->q_rows, c->heads, c->head_size, c->rows_first);
    set_strides(p.k_stride, c->kv_rows, c->kv_heads, c->head_size, c->rows_first);
    set_strides(p.v_stride, c->kv_rows, c->kv_heads, c->v_size, c->rows_first);
    set_strides(p.y_stride, c->q_rows, c->heads, c->v_size, c->rows_first);
    const int by_head = c->mask == LT_GPU_MASK_F32;
    p.mask_stride[0] = (int64_t)c->kv_rows * (by_head ? c->heads : 1);
    p.mask_stride[1] = by_head ? c->kv_rows : 0;
    p.mask_stride[3] = 1;
    return p;
}

/* What the mask adds to a score; `shown`: bytes of a mask of truth. */
static double added(const lt_gpu_attention *p, const double *mask, int b, int h, int c)
{
    const int64_t at = b * p->mask_stride[0] + h * p->mask_stride[1] + c;
    if (p->mask_kind == LT_GPU_MASK_NONE) {
        return 0;
    }
    if (c >= p->mask_columns) {
        return -INFINITY;
    }
    if (p->mask_kind == LT_GPU_MASK_BOOL) {
        return mask[at] != 0 ? 0 : -INFINITY;
    }
    return mask[at];
}

/* Weights of one row, their sum in front of them; 0 where nothing is seen. */
static double weigh(const lt_gpu_attention *p, const double *const x[4], int b, int h, int row,
                    double *w)
{
    const int kv = h / (p->heads / p->kv_heads);
    const double *q = x[0] + b * p->q_stride[0] + h * p->q_stride[1] + row * p->q_stride[2];
    double most = -INFINITY, total = 0;
    for (int c = 0; c < p->kv_rows; c++) {
        const double *k = x[1] + b * p->k_stride[0] + kv * p->k_stride[1] + c * p->k_stride[2];
        w[c] = 0;
        for (int i = 0; i < p->head_size; i++) {
            w[c] += q[i] * k[i];
        }
        w[c] = w[c] * (double)p->scale + added(p, x[3], b, h, c);
        most = fmax(most, w[c]);
    }
    for (int c = 0; c < p->kv_rows && !isinf(most); c++) {
        w[c] = exp(w[c] - most);
        total += w[c];
    }
    return total;
}

/* Weights and results are rounded to the type: half a unit of what is added, twice. */
static void check_row(const lt_gpu_attention *p, const double *const x[4], const operand *y, int b,
                      int h, int row, double *w)
{
    const int kv = h / (p->heads / p->kv_heads);
    const double unit = y->array.dtype == LEAT_DTYPE_F16 ? 0x1p-11 : 0x1p-8;
    const double total = weigh(p, x, b, h, row, w);
    for (int d = 0; d < p->v_size; d++) {
        double sum = 0, sizes = 0;
        for (int c = 0; c < p->kv_rows && total > 0; c++) {
            double v = w[c] / total *
                       x[2][b * p->v_stride[0] + kv * p->v_stride[1] + c * p->v_stride[2] + d];
            sum += v;
            sizes += fabs(v);
        }
        sum = total > 0 ? sum : (double)p->nothing;
        double actual = oracle_get(&y->array, (size_t)(b * p->y_stride[0] + h * p->y_stride[1] +
                                                       row * p->y_stride[2] + d));
        if (!(fabs(actual - sum) <= unit * (fabs(sum) + sizes) + 1e-5)) {
            fail_msg("%d x %d heads, %d rows of %d, mask %d: [%d][%d][%d][%d] is %.9g, not %.9g",
                     p->batch, p->heads, p->q_rows, p->head_size, p->mask_kind, b, h, row, d,
                     actual, sum);
        }
    }
}

static int64_t count_of(const int64_t stride[3], int batch)
{
    return stride[0] * batch;
}

/* Bytes 0 and 1 of a mask of truth; of the added ones the first image hides all. */
static void make_mask(const test_device *device, const lt_gpu_attention *p, operand *mask)
{
    for (int64_t i = 0; i < p->mask_stride[0] * p->batch && p->mask_kind; i++) {
        if (p->mask_kind == LT_GPU_MASK_BOOL) {
            ((uint8_t *)mask->array.data)[i] = (uint8_t)(i * 7 % 3 != 0);
        } else if (p->mask_kind == LT_GPU_MASK_ADDED && i < p->kv_rows) {
            oracle_set(&mask->array, (size_t)i, -INFINITY);
        }
    }
    if (p->mask_kind != LT_GPU_MASK_NONE) {
        assert_int_equal(device->to_device(mask->address, mask->array.data, mask->array.bytes), 0);
    }
}

static void run_case(const test_device *device, const attend_case *c)
{
    const lt_gpu_attention p = describe(c);
    leat_error err = {0};
    lt_cuda_attend_plan plan;
    assert_ok(lt_cuda_attend_plan_make(&device->attend, &p, c->dtype, &plan, &err), &err);
    const leat_dtype mask_dtype = c->mask == LT_GPU_MASK_NONE   ? LEAT_DTYPE_UNDEFINED
                                  : c->mask == LT_GPU_MASK_F32  ? LEAT_DTYPE_F32
                                  : c->mask == LT_GPU_MASK_BOOL ? LEAT_DTYPE_U8
                                                                : c->dtype;
    operand o[5] = {
        operand_make(device, c->dtype, count_of(p.q_stride, c->batch), 1),
        operand_make(device, c->dtype, count_of(p.k_stride, c->batch), 2),
        operand_make(device, c->dtype, count_of(p.v_stride, c->batch), 3),
        operand_make(device, mask_dtype, p.mask_stride[0] * c->batch, 4),
        operand_make(device, c->dtype, count_of(p.y_stride, c->batch), 0),
    };
    make_mask(device, &p, &o[3]);
    const lt_cuda_attend_operands operands = {
        .q = device_pointer(&o[0]),
        .k = device_pointer(&o[1]),
        .v = device_pointer(&o[2]),
        .mask = c->mask ? device_pointer(&o[3]) : NULL,
        .y = (void *)(uintptr_t)o[4].address,
    };
    assert_ok(lt_cuda_attend_launch(&device->attend, &plan, &operands, NULL, &err), &err);
    fetch(device, &o[4]);
    double *x[4], *w = malloc(sizeof(*w) * (size_t)c->kv_rows);
    assert_non_null(w);
    for (int i = 0; i < 4; i++) {
        x[i] = o[i].address ? oracle_doubles(&o[i].array) : NULL;
    }
    const int step = c->q_rows * c->heads * c->batch > 4096 ? 17 : 1;
    for (int r = 0; r < c->batch * c->heads * c->q_rows; r += step) {
        check_row(&p, (const double *const *)x, &o[4], r / c->q_rows / c->heads,
                  r / c->q_rows % c->heads, r % c->q_rows, w);
    }
    int64_t end = count_of(p.y_stride, c->batch);
    check_untouched(&o[4], end, end + MARGIN / 2, "attention");
    free(w);
    for (int i = 0; i < 4; i++) {
        free(x[i]);
    }
    for (int i = 0; i < 5; i++) {
        operand_free(device, &o[i]);
    }
}

#define F16 LEAT_DTYPE_F16
#define BF16 LEAT_DTYPE_BF16

static void attention_matches(void **state)
{
    test_device *device = require_device(state);
    static const attend_case cases[] = {
        {1, 1, 1, 1, 1, 8, 8, 0, LT_GPU_MASK_NONE, 0, F16},
        {2, 2, 2, 384, 384, 64, 64, 1, LT_GPU_MASK_ADDED, 0, F16},
        {2, 4, 2, 200, 129, 64, 56, 0, LT_GPU_MASK_BOOL, 0, BF16},
        {1, 4, 1, 193, 257, 40, 24, 1, LT_GPU_MASK_F32, 0, F16},
        {2, 3, 3, 63, 128, 16, 64, 0, LT_GPU_MASK_BOOL, 70, F16},
        {1, 2, 1, 65, 127, 64, 64, 1, LT_GPU_MASK_NONE, 0, BF16},
        {3, 2, 2, 130, 700, 32, 40, 0, LT_GPU_MASK_ADDED, 20, BF16},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        run_case(device, &cases[i]);
    }
}

/* Several items a block: rings, slots and results are used again. */
static void attention_of_more_items_than_blocks_matches(void **state)
{
    test_device *device = require_device(state);
    static const attend_case cases[] = {
        {16, 16, 16, 384, 384, 64, 64, 1, LT_GPU_MASK_ADDED, 0, F16},
        {40, 12, 4, 20, 130, 64, 64, 1, LT_GPU_MASK_F32, 0, F16},
        {9, 32, 32, 190, 60, 64, 64, 0, LT_GPU_MASK_NONE, 0, BF16},
        /* As many heads as fill 132 blocks evenly: each takes all rows of a head in turn. */
        {66, 4, 2, 200, 300, 40, 24, 0, LT_GPU_MASK_BOOL, 5, BF16},
        {33, 4, 4, 400, 500, 64, 64, 1, LT_GPU_MASK_F32, 0, F16},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        run_case(device, &cases[i]);
    }
}

int main(void)
{
    static test_device device;
    void *state = test_device_state(&device, TEST_KERNELS);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(attention_matches, state),
        cmocka_unit_test_prestate(attention_of_more_items_than_blocks_matches, state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

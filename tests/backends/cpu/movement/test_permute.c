/* SPDX-License-Identifier: Apache-2.0 */
#include "backends/cpu/movement/move.h"

static uint8_t in_bytes[MOVE_BYTES], out_bytes[MOVE_BYTES];

typedef struct permutation {
    int32_t rank;
    int64_t shape[LEAT_MAX_RANK];
    int64_t perm[LEAT_MAX_RANK];
} permutation;

static int64_t permuted(const void *argument, const int64_t *at)
{
    const permutation *p = argument;
    int64_t index[LEAT_MAX_RANK], flat = 0;
    for (int32_t i = 0; i < p->rank; i++) {
        index[p->perm[i]] = at[i];
    }
    for (int32_t i = 0; i < p->rank; i++) {
        flat = flat * p->shape[i] + index[i];
    }
    return flat;
}

static void transpose_any_order_moves_every_element(void **state)
{
    (void)state;
    static const permutation cases[] = {
        {2, {37, 53}, {1, 0}},       /* tails in both directions */
        {2, {64, 64}, {1, 0}},       /* whole squares */
        {3, {2, 3, 130}, {0, 2, 1}}, /* planes to interleaved channels */
        {3, {2, 130, 3}, {0, 2, 1}}, /* and back */
        {3, {1, 131, 4}, {0, 2, 1}},
        {3, {2, 2, 77}, {0, 2, 1}},
        {4, {2, 5, 3, 7}, {0, 2, 3, 1}},   /* NCHW to NHWC */
        {4, {2, 17, 9, 20}, {0, 3, 1, 2}}, /* NHWC to NCHW */
        {4, {3, 4, 5, 6}, {3, 2, 1, 0}},
        {4, {3, 4, 5, 2}, {1, 0, 2, 3}},    /* runs */
        {4, {2, 12, 10, 16}, {0, 2, 1, 3}}, /* attention heads */
        {3, {5, 1, 6}, {1, 0, 2}},          /* a view */
        {5, {2, 3, 1, 5, 4}, {4, 0, 2, 3, 1}},
        {1, {9}, {0}},
    };
    for (size_t c = 0; c < sizeof(cases) / sizeof(*cases); c++) {
        const permutation *p = &cases[c];
        int64_t shape[LEAT_MAX_RANK];
        for (int32_t i = 0; i < p->rank; i++) {
            shape[i] = p->shape[p->perm[i]];
        }
        leat_attr attr = test_attr_ints("perm", p->perm, (size_t)p->rank);
        for (int d = 0; d < MOVE_DTYPES; d++) {
            leat_array in = move_array(move_dtypes[d], p->rank, p->shape, in_bytes);
            leat_array out = move_array(move_dtypes[d], p->rank, shape, out_bytes);
            move_fill(&in, (uint32_t)c);
            test_kernel kernel = {.op = "Transpose",
                                  .attrs = &attr,
                                  .n_attrs = 1,
                                  .inputs = &in,
                                  .n_inputs = 1,
                                  .outputs = &out,
                                  .n_outputs = 1};
            move_check(&kernel, permuted, p);
        }
    }
}

static void transpose_no_perm_reverses(void **state)
{
    (void)state;
    static const permutation p = {3, {2, 3, 4}, {2, 1, 0}};
    static const int64_t shape[] = {4, 3, 2};
    leat_array in = move_array(LEAT_DTYPE_F32, 3, p.shape, in_bytes);
    leat_array out = move_array(LEAT_DTYPE_F32, 3, shape, out_bytes);
    move_fill(&in, 1);
    test_kernel kernel = {
        .op = "Transpose", .inputs = &in, .n_inputs = 1, .outputs = &out, .n_outputs = 1};
    move_check(&kernel, permuted, &p);
}

static void transpose_bad_perm_is_invalid(void **state)
{
    (void)state;
    static const int64_t shape[] = {2, 3}, twice[] = {1, 1}, range[] = {0, 2}, longer[] = {0, 1, 2};
    static const int64_t *const perms[] = {twice, range, longer};
    for (size_t i = 0; i < 3; i++) {
        leat_attr attr = test_attr_ints("perm", perms[i], i == 2 ? 3 : 2);
        leat_array in = move_array(LEAT_DTYPE_F32, 2, shape, in_bytes);
        leat_array out = move_array(LEAT_DTYPE_F32, 2, shape, out_bytes);
        test_kernel kernel = {.op = "Transpose",
                              .attrs = &attr,
                              .n_attrs = 1,
                              .inputs = &in,
                              .n_inputs = 1,
                              .outputs = &out,
                              .n_outputs = 1};
        move_check_fails(&kernel, LEAT_INVALID);
    }
}

typedef struct repeat {
    int32_t in_rank, out_rank;
    int64_t in[LEAT_MAX_RANK], out[LEAT_MAX_RANK];
} repeat;

static int64_t repeated(const void *argument, const int64_t *at)
{
    const repeat *r = argument;
    int64_t flat = 0;
    for (int32_t i = 0; i < r->in_rank; i++) {
        flat = flat * r->in[i] + at[i + r->out_rank - r->in_rank] % r->in[i];
    }
    return flat;
}

static void run_repeat(const char *op, const repeat *r, int64_t *list, int64_t count)
{
    for (int d = 0; d < MOVE_DTYPES; d++) {
        leat_array inputs[2] = {move_array(move_dtypes[d], r->in_rank, r->in, in_bytes),
                                move_list(list, count)};
        leat_array out = move_array(move_dtypes[d], r->out_rank, r->out, out_bytes);
        move_fill(&inputs[0], 3);
        test_kernel kernel = {
            .op = op, .inputs = inputs, .n_inputs = 2, .outputs = &out, .n_outputs = 1};
        move_check(&kernel, repeated, r);
    }
}

static void expand_repeats_axes_of_one(void **state)
{
    (void)state;
    static const repeat cases[] = {
        {2, 3, {3, 1}, {2, 3, 4}},      {3, 3, {1, 5, 1}, {7, 5, 33}}, {0, 2, {0}, {3, 5}},
        {3, 3, {2, 1, 17}, {2, 6, 17}}, {2, 2, {3, 4}, {3, 4}},
    };
    for (size_t c = 0; c < sizeof(cases) / sizeof(*cases); c++) {
        int64_t list[LEAT_MAX_RANK];
        memcpy(list, cases[c].out, sizeof(list));
        run_repeat("Expand", &cases[c], list, cases[c].out_rank);
    }
    int64_t one[1] = {1}; /* a shape shorter than the input */
    run_repeat("Expand", &cases[4], one, 1);
}

static void tile_repeats_the_whole(void **state)
{
    (void)state;
    static const repeat cases[] = {{2, 2, {3, 5}, {6, 15}}, {3, 3, {1, 2, 7}, {4, 2, 14}}};
    for (size_t c = 0; c < 2; c++) {
        int64_t list[LEAT_MAX_RANK];
        for (int32_t i = 0; i < cases[c].in_rank; i++) {
            list[i] = cases[c].out[i] / cases[c].in[i];
        }
        run_repeat("Tile", &cases[c], list, cases[c].in_rank);
    }
}

static void expand_shape_that_differs_from_plan_is_invalid(void **state)
{
    (void)state;
    static const int64_t in_shape[] = {3, 1}, out_shape[] = {3, 4};
    int64_t lists[3][2] = {{3, 5}, {4, 4}, {3, -4}};
    for (int i = 0; i < 3; i++) {
        leat_array inputs[2] = {move_array(LEAT_DTYPE_F32, 2, in_shape, in_bytes),
                                move_list(lists[i], 2)};
        leat_array out = move_array(LEAT_DTYPE_F32, 2, out_shape, out_bytes);
        test_kernel kernel = {
            .op = "Expand", .inputs = inputs, .n_inputs = 2, .outputs = &out, .n_outputs = 1};
        move_check_fails(&kernel, LEAT_INVALID);
    }
}

/* in: N, C, H, W; block b */
typedef struct blocks {
    int64_t b, c, h, w; /* of the input */
    bool crd;
} blocks;

static int64_t from_depth(const void *argument, const int64_t *at)
{
    const blocks *k = argument;
    int64_t depth = k->c / (k->b * k->b), row = at[2] % k->b, col = at[3] % k->b;
    int64_t c = k->crd ? (at[1] * k->b + row) * k->b + col : (row * k->b + col) * depth + at[1];
    return ((at[0] * k->c + c) * k->h + at[2] / k->b) * k->w + at[3] / k->b;
}

static int64_t from_space(const void *argument, const int64_t *at)
{
    const blocks *k = argument;
    int64_t block = at[1] / k->c, c = at[1] % k->c;
    return ((at[0] * k->c + c) * k->h + at[2] * k->b + block / k->b) * k->w + at[3] * k->b +
           block % k->b;
}

static void run_blocks(const char *op, const blocks *k, const int64_t *out_shape,
                       move_source source)
{
    int64_t in_shape[] = {2, k->c, k->h, k->w};
    leat_attr attrs[2] = {test_attr_int("blocksize", k->b),
                          test_attr_string("mode", k->crd ? "CRD" : "DCR")};
    for (int d = 0; d < MOVE_DTYPES; d++) {
        leat_array in = move_array(move_dtypes[d], 4, in_shape, in_bytes);
        leat_array out = move_array(move_dtypes[d], 4, out_shape, out_bytes);
        move_fill(&in, 4);
        test_kernel kernel = {.op = op,
                              .attrs = attrs,
                              .n_attrs = 2,
                              .inputs = &in,
                              .n_inputs = 1,
                              .outputs = &out,
                              .n_outputs = 1};
        move_check(&kernel, source, k);
    }
}

static void block_operators_move_every_element(void **state)
{
    (void)state;
    static const blocks dcr = {2, 12, 5, 7, false}, crd = {3, 18, 2, 3, true};
    static const blocks space = {3, 5, 6, 9, false};
    static const int64_t dcr_out[] = {2, 3, 10, 14}, crd_out[] = {2, 2, 6, 9};
    static const int64_t space_out[] = {2, 45, 2, 3};
    run_blocks("DepthToSpace", &dcr, dcr_out, from_depth);
    run_blocks("DepthToSpace", &crd, crd_out, from_depth);
    run_blocks("SpaceToDepth", &space, space_out, from_space);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transpose_any_order_moves_every_element),
        cmocka_unit_test(transpose_no_perm_reverses),
        cmocka_unit_test(transpose_bad_perm_is_invalid),
        cmocka_unit_test(expand_repeats_axes_of_one),
        cmocka_unit_test(tile_repeats_the_whole),
        cmocka_unit_test(expand_shape_that_differs_from_plan_is_invalid),
        cmocka_unit_test(block_operators_move_every_element),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

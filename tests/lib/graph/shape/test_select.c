/* SPDX-License-Identifier: Apache-2.0 */
#include "support/infer_case.h"

static void gather_joins_shapes(void **state)
{
    (void)state;
    infer_concrete("Gather(f32[5,4,3], i64[2,6])", "f32[2,6,4,3]");
    infer_concrete("Gather(f32[5,4,3], i32[]) {axis=1}", "f32[5,3]");
    infer_concrete("Gather(f32[5,4,3], i64[2]) {axis=-1}", "f32[5,4,2]");
    infer_concrete("Gather(f32[5], f32[2])", "!i32 or i64, not f32");
    infer_concrete("Gather(f32[], i64[2])", "!axis 0 is not within rank 0");
    infer_symbolic("Gather(f32[30522,768], i64[N,L])", "f32[N,L,768]");
}

static void gather_rank_above_limit_returns_unsupported(void **state)
{
    (void)state;
    infer_concrete("Gather(f32[1,1,1,1,1], i64[1,1,1,1,1])",
                   "unsupported: node 'n' (Gather): an output of rank 9; 8 is the most");
}

static void gather_elements_has_shape_of_indices(void **state)
{
    (void)state;
    infer_concrete("GatherElements(f32[3,4], i64[2,4])", "f32[2,4]");
    infer_concrete("GatherElements(f32[3,4], i64[9,3])", "f32[9,3]");
    infer_concrete("GatherElements(f32[3,4], i64[3,5])", "!5 elements on axis 1, the data 4");
    infer_concrete("GatherElements(f32[3,4], i64[3])", "!indices of rank 1");
    infer_concrete("GatherElements(f32[3,4], u8[3,4])", "!i32 or i64");
}

static void gather_nd_takes_slices(void **state)
{
    (void)state;
    infer_concrete("GatherND(f32[2,3,4], i64[5,2])", "f32[5,4]");
    infer_concrete("GatherND(f32[2,3,4], i64[2,5,1]) {batch_dims=1}", "f32[2,5,4]");
    infer_concrete("GatherND(f32[2,3,4], i64[5,4])", "!depth 4");
    infer_concrete("GatherND(f32[2,3,4], i64[3,5,1]) {batch_dims=1}", "!batch dimension 0");
    infer_concrete("GatherND(f32[2,3,4], i64[0,1152921504606846975])",
                   "!depth 1152921504606846975");
    infer_concrete("GatherND(f32[2,3,4], i64[5,2]) {batch_dims=2}", "!2 batch dimensions");
}

static void scatter_keeps_shape_of_data(void **state)
{
    (void)state;
    infer_concrete("ScatterElements(f32[3,4], i64[2,4], f32[2,4])", "f32[3,4]");
    infer_concrete("ScatterElements(f32[3,4], i64[2,4], f32[2,3])", "!differ in shape");
    infer_concrete("ScatterElements(f32[3,4], i64[2,5], f32[2,5])", "!5 elements on axis 1");
    infer_concrete("ScatterElements(f32[3,4], i64[2,4], f64[2,4])", "!types");
    infer_concrete("ScatterND(f32[4,5,6], i64[3,1], f32[3,5,6])", "f32[4,5,6]");
    infer_concrete("ScatterND(f32[4,5,6], i64[3,1], f32[3,5])", "!shape of updates");
    infer_concrete("ScatterND(f32[4,5,6], i64[3,4], f32[3])", "!depth 4");
    infer_symbolic("ScatterND(f32[N,5,6], i64[3,K], f32[3])", "f32[N,5,6]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gather_joins_shapes),
        cmocka_unit_test(gather_rank_above_limit_returns_unsupported),
        cmocka_unit_test(gather_elements_has_shape_of_indices),
        cmocka_unit_test(gather_nd_takes_slices),
        cmocka_unit_test(scatter_keeps_shape_of_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

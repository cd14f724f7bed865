/* SPDX-License-Identifier: Apache-2.0 */
#include "support/infer_case.h"

static void reshape_fills_in_dimensions(void **state)
{
    (void)state;
    infer_concrete("Reshape(f32[2,3,4], i64[2]<4,-1>)", "f32[4,6]");
    infer_concrete("Reshape(f32[2,3,4], i64[2]<0,-1>)", "f32[2,12]");
    infer_concrete("Reshape(f32[0,3], i64[2]<0,3>) {allowzero=1}", "f32[0,3]");
    infer_concrete("Reshape(f32[1], i64[0]<>)", "f32[]");
    infer_concrete("Reshape(f32[2,3,4], i64[2])", "needs 1");
    infer_concrete("Reshape(f32[2,3], i64[1]<7>)", "!6 elements do not fill a shape of 7");
    infer_concrete("Reshape(f32[2,3], i64[2]<4,-1>)", "!do not divide");
    infer_concrete("Reshape(f32[2,3], i64[2]<-1,-1>)", "!two dimensions of -1");
    infer_concrete("Reshape(f32[2,3], i64[1]<-2>)", "!shape[0] is -2");
    infer_concrete("Reshape(f32[6], i64[2]<6,0>)", "!shape[1] is 0");
    infer_concrete("Reshape(f32[0], i64[2]<0,-1>) {allowzero=1}", "!do not divide");
    infer_concrete("Reshape(f32[2], i64[3]<4611686018427387904,4,2>)", "!overflows");
    infer_concrete("Reshape(f32[2], i64[9]<1,1,1,1,1,1,1,1,2>)", "!9 elements");
    infer_concrete("Reshape(f32[2,3], f32[1]<6>)", "!must hold integers");
}

static void reshape_cancels_symbols(void **state)
{
    (void)state;
    infer_symbolic("Reshape(f32[N,4,4], i64[2]<0,-1>)", "f32[N,16]");
    infer_symbolic("Reshape(f32[N,L,768], i64[4]<0,0,12,64>)", "f32[N,L,12,64]");
    infer_symbolic("Reshape(f32[N,L,12,64], i64[3]<0,0,-1>)", "f32[N,L,768]");
    infer_symbolic("Reshape(f32[N,768], i64[2]<-1,768>)", "f32[N,768]");
    infer_symbolic("Reshape(f32[N,768], i64[3]<-1,12,64>)", "f32[N,12,64]");
    infer_symbolic("Reshape(f32[N,768], i64[2]<-1,64>)", "f32[?,64]");
    infer_symbolic("Reshape(f32[N,M,8], i64[2]<-1,8>)", "f32[?,8]");
    infer_symbolic("Reshape(f32[N,4], i64[3])", "f32[?,?,?]");
    infer_symbolic("Reshape(f32[N,4], i64[K])", "f32[...]");
}

static void flatten_merges(void **state)
{
    (void)state;
    infer_concrete("Flatten(f32[2,3,4])", "f32[2,12]");
    infer_concrete("Flatten(f32[2,3,4]) {axis=0}", "f32[1,24]");
    infer_concrete("Flatten(f32[2,3,4]) {axis=3}", "f32[24,1]");
    infer_concrete("Flatten(f32[2,3,4]) {axis=-1}", "f32[6,4]");
    infer_concrete("Flatten(f32[2,3,4]) {axis=4}", "!axis 4");
    infer_symbolic("Flatten(f32[N,8,1,1])", "f32[N,8]");
    infer_symbolic("Flatten(f32[N,C,2])", "f32[N,?]");
}

static void transpose_permutes(void **state)
{
    (void)state;
    infer_concrete("Transpose(f32[2,3,4])", "f32[4,3,2]");
    infer_concrete("Transpose(f32[2,3,4]) {perm=[1,0,2]}", "f32[3,2,4]");
    infer_concrete("Transpose(f32[])", "f32[]");
    infer_symbolic("Transpose(f32[N,L,12]) {perm=[0,2,1]}", "f32[N,12,L]");
    infer_concrete("Transpose(f32[2,3]) {perm=[0]}", "!perm has 1");
    infer_concrete("Transpose(f32[2,3]) {perm=[0,0]}", "!not a permutation");
    infer_concrete("Transpose(f32[2,3]) {perm=[0,2]}", "!not a permutation");
    infer_concrete("Transpose(f32[2,3]) {perm=[0,-1]}", "!not a permutation");
}

static void squeeze_and_unsqueeze_take_axes_from_both(void **state)
{
    (void)state;
    infer_concrete("Squeeze(f32[1,3,1])", "f32[3]");
    infer_concrete("Squeeze(f32[1,3,1]) {axes=[-1]} @11", "f32[1,3]");
    infer_concrete("Squeeze(f32[1,3,1], i64[1]<0>)", "f32[3,1]");
    infer_concrete("Squeeze(f32[1,3,1], i64[1]<1>)", "!axis 1 has 3 elements");
    infer_concrete("Squeeze(f32[1,3,1], i64[1])", "needs 1");
    infer_symbolic("Squeeze(f32[N,1], i64[1]<1>)", "f32[N]");
    infer_symbolic("Squeeze(f32[N,1])", "f32[...]");
    infer_symbolic("Squeeze(f32[N,1], i64[1])", "f32[?]");
    infer_concrete("Unsqueeze(f32[3], i64[2]<0,-1>)", "f32[1,3,1]");
    infer_concrete("Unsqueeze(f32[3]) {axes=[1]} @11", "f32[3,1]");
    infer_concrete("Unsqueeze(f32[3], i64[2]<0,0>)", "!axis 0 appears twice");
    infer_concrete("Unsqueeze(f32[3], i64[1]<2>)", "!axis 2");
    infer_concrete("Unsqueeze(f32[1,1,1,1,1,1,1,1], i64[1]<0>)", "!rank 9");
    infer_symbolic("Unsqueeze(f32[N], i64[1]<1>)", "f32[N,1]");
    infer_symbolic("Unsqueeze(f32[N], i64[2])", "f32[?,?,?]");
}

static void concat_adds_up(void **state)
{
    (void)state;
    infer_concrete("Concat(f32[2,3], f32[2,4]) {axis=1}", "f32[2,7]");
    infer_concrete("Concat(f32[2,3], f32[0,3]) {axis=-2}", "f32[2,3]");
    infer_concrete("Concat(f32[2,3], f32[3,3]) {axis=1}", "!input 1 has 3 elements on axis 0");
    infer_concrete("Concat(f32[2,3], f32[2]) {axis=0}", "!another rank");
    infer_concrete("Concat(f32[2,3], i64[2,3]) {axis=0}", "!types");
    infer_concrete("Concat(f32[2,3]) {axis=2}", "!axis 2");
    infer_concrete("Concat(u8[0,9000000000000000000], u8[0,9000000000000000000]) {axis=1}",
                   "!overflows");
    infer_symbolic("Concat(f32[N,3], f32[N,4]) {axis=1}", "f32[N,7]");
    infer_symbolic("Concat(f32[N,3], f32[M,3]) {axis=0}", "f32[?,3]");
    infer_symbolic("Concat(f32[N,3], f32[2,4]) {axis=1}", "f32[2,7]");
    infer_symbolic("Concat(f32[2,3], f32[N,4]) {axis=1}", "f32[2,7]");
    infer_symbolic("Concat(f32[N,3]) {axis=0}", "f32[N,3]");
}

static void split_divides(void **state)
{
    (void)state;
    infer_concrete("Split(f32[6,2]) #3", "f32[2,2] f32[2,2] f32[2,2]");
    infer_concrete("Split(f32[7]) {num_outputs=3} #3", "f32[3] f32[3] f32[1]");
    infer_concrete("Split(f32[7], i64[2]<2,5>) #2", "f32[2] f32[5]");
    infer_concrete("Split(f32[2,7]) {split=[3,4], axis=1} @11 #2", "f32[2,3] f32[2,4]");
    infer_concrete("Split(f32[7]) @13 #3", "!do not split into 3 equal parts");
    infer_concrete("Split(f32[7]) {num_outputs=4} #3", "!num_outputs is 4");
    infer_concrete("Split(f32[7], i64[2]<2,4>) #2", "!adds up to 6");
    infer_concrete("Split(f32[7], i64[2]<-1,8>) #2", "!split[0] is -1");
    infer_concrete("Split(f32[7], i64[2]<3,4>) #3", "!2 entries for 3 outputs");
    infer_concrete("Split(f32[7], i64[2]) #2", "needs 1");
    infer_symbolic("Split(f32[N,6]) {axis=1} #2", "f32[N,3] f32[N,3]");
    infer_symbolic("Split(f32[N]) #2", "f32[?] f32[?]");
    infer_symbolic("Split(f32[N], i64[2]<1,2>) #2", "f32[1] f32[2]");
}

static void slice_clamps(void **state)
{
    (void)state;
    infer_concrete("Slice(f32[20,10,5], i64[2]<0,0>, i64[2]<3,10>, i64[2]<0,1>, i64[2]<1,1>)",
                   "f32[3,10,5]");
    infer_concrete("Slice(f32[20,10], i64[1]<1>, i64[1]<1000>)", "f32[19,10]");
    infer_concrete("Slice(f32[20], i64[1]<-1>, i64[1]<-9223372036854775808>, i64[1]<0>, "
                   "i64[1]<-1>)",
                   "f32[20]");
    infer_concrete("Slice(f32[20], i64[1]<-9223372036854775808>, i64[1]<9223372036854775807>, "
                   "i64[1]<0>, i64[1]<9223372036854775807>)",
                   "f32[1]");
    infer_concrete("Slice(f32[20], i64[1]<19>, i64[1]<-9223372036854775808>, i64[1]<0>, "
                   "i64[1]<-9223372036854775808>)",
                   "f32[1]");
    infer_concrete("Slice(f32[20], i64[1]<5>, i64[1]<2>)", "f32[0]");
    infer_concrete("Slice(f32[20], i32[1]<2>, i32[1]<9>, i32[1]<-1>, i32[1]<3>)", "f32[3]");
    infer_concrete("Slice(f32[20,10]) {starts=[0,1], ends=[5,-1]} @9", "f32[5,8]");
}

static void slice_bad_node_returns_invalid(void **state)
{
    (void)state;
    infer_concrete("Slice(f32[20], i64[1]<0>, i64[2]<1,2>)", "!ends has 2 entries, starts has 1");
    infer_concrete("Slice(f32[20], i64[1]<0>, i64[1]<1>, i64[1]<0>, i64[1]<0>)", "!step of 0");
    infer_concrete("Slice(f32[20], i64[1]<0>, i64[1]<1>, i64[1]<1>)", "!axis 1");
    infer_concrete("Slice(f32[20,4], i64[2]<0,0>, i64[2]<1,1>, i64[2]<0,-2>)", "!twice");
    infer_concrete("Slice(f32[20], i64[2]<0,0>, i64[2]<1,1>)", "!2 axes for rank 1");
    infer_concrete("Slice(f32[20], i64[1]<0>)", "!starts or ends is missing");
    infer_concrete("Slice(f32[20], i64[1], i64[1]<0>)", "needs 1");
    infer_concrete("Slice(f32[20], i64[1]<0>, i64[1]<1>, i64[1]<0>, i64[1])", "needs 4");
}

static void slice_symbols_become_fresh_where_cut(void **state)
{
    (void)state;
    infer_symbolic("Slice(f32[N,10], i64[1]<0>, i64[1]<3>, i64[1]<1>)", "f32[N,3]");
    infer_symbolic("Slice(f32[N,10], i64[1]<0>, i64[1]<3>, i64[1]<0>)", "f32[?,10]");
    infer_symbolic("Slice(f32[N,10], i64[1], i64[1], i64[1]<1>)", "f32[N,?]");
    infer_symbolic("Slice(f32[N,10], i64[1], i64[1], i64[1])", "f32[?,?]");
    /* Steps shorter than the axes while starts are not known: nothing past their end is read. */
    infer_symbolic("Slice(f32[N,10], i64[2], i64[2], i64[2]<0,1>, i64[1]<1>)", "!steps has 1");
}

static void expand_and_tile_repeat(void **state)
{
    (void)state;
    infer_concrete("Expand(f32[3,1], i64[3]<2,1,6>)", "f32[2,3,6]");
    infer_concrete("Expand(f32[3,4], i64[1]<1>)", "f32[3,4]");
    infer_concrete("Expand(f32[3], i64[1]<4>)", "!do not broadcast");
    infer_concrete("Expand(f32[3], i64[1]<-1>)", "!shape[0] is -1");
    infer_concrete("Expand(f32[3], i64[1])", "needs 1");
    infer_symbolic("Expand(f32[3], i64[3])", "f32[?,?,?]");
    infer_symbolic("Expand(f32[N,1], i64[2]<1,4>)", "f32[N,4]");
    infer_concrete("Tile(f32[2,3], i64[2]<2,0>)", "f32[4,0]");
    infer_concrete("Tile(f32[2,3], i64[1]<2>)", "!1 repeats");
    infer_concrete("Tile(f32[2,3], i64[2]<1,-2>)", "!repeats[1]");
    infer_concrete("Tile(u8[4], i64[1]<9000000000000000000>)", "!overflows");
    infer_symbolic("Tile(f32[N,3], i64[2]<1,2>)", "f32[N,6]");
}

static void pad_adds(void **state)
{
    (void)state;
    infer_concrete("Pad(f32[2,3], i64[4]<0,1,2,0>)", "f32[4,4]");
    infer_concrete("Pad(f32[2,3], i64[4]<0,-1,0,-1>, f32[])", "f32[2,1]");
    infer_concrete("Pad(f32[2,3], i64[2]<1,1>, -, i64[1]<-1>)", "f32[2,5]");
    infer_concrete("Pad(f32[2,3]) {pads=[0,1,0,1]} @2", "f32[2,5]");
    infer_concrete("Pad(f32[2,3], i64[3]<0,1,2>)", "!pads has 3 entries, not 4");
    infer_concrete("Pad(f32[2,3], i64[4]<0,-2,0,-2>)", "!cannot be");
    infer_concrete("Pad(f32[2,3], i64[4]<0,9223372036854775807,0,0>)", "!cannot be");
    infer_concrete("Pad(f32[2,3], i64[4]<0,1,2,0>, f64[])", "!types");
    infer_concrete("Pad(f32[2,3], i64[4]<0,1,2,0>, f32[2])", "!one number");
    infer_concrete("Pad(f32[2,3], i64[4]<0,1,2,0>, -, i64[2]<1,-1>)", "!twice");
    infer_concrete("Pad(f32[2,3], i64[4])", "needs 1");
    infer_symbolic("Pad(f32[N,3], i64[4]<0,1,0,0>)", "f32[N,4]");
    infer_symbolic("Pad(f32[N,3], i64[4]<1,1,0,0>)", "f32[?,4]");
    infer_symbolic("Pad(f32[N,3], i64[4])", "f32[?,?]");
}

static void blocks_move_between_axes(void **state)
{
    (void)state;
    infer_concrete("DepthToSpace(f32[1,8,2,3]) {blocksize=2}", "f32[1,2,4,6]");
    infer_concrete("SpaceToDepth(f32[1,2,4,6]) {blocksize=2}", "f32[1,8,2,3]");
    infer_concrete("DepthToSpace(f32[1,6,2,3]) {blocksize=2}", "!does not divide by 4");
    infer_concrete("DepthToSpace(f32[1,6,2,3])", "!blocksize 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reshape_fills_in_dimensions),
        cmocka_unit_test(reshape_cancels_symbols),
        cmocka_unit_test(flatten_merges),
        cmocka_unit_test(transpose_permutes),
        cmocka_unit_test(squeeze_and_unsqueeze_take_axes_from_both),
        cmocka_unit_test(concat_adds_up),
        cmocka_unit_test(split_divides),
        cmocka_unit_test(slice_clamps),
        cmocka_unit_test(slice_bad_node_returns_invalid),
        cmocka_unit_test(slice_symbols_become_fresh_where_cut),
        cmocka_unit_test(expand_and_tile_repeat),
        cmocka_unit_test(pad_adds),
        cmocka_unit_test(blocks_move_between_axes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

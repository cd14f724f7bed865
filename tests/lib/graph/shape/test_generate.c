/* SPDX-License-Identifier: Apache-2.0 */
#include "support/infer_case.h"

static void shape_gives_length_of_range(void **state)
{
    (void)state;
    infer_concrete("Shape(f32[2,3,4])", "i64[3]");
    infer_concrete("Shape(f32[2,3,4]) {start=1, end=-1}", "i64[1]");
    infer_concrete("Shape(f32[2,3,4]) {start=5}", "i64[0]");
    infer_concrete("Shape(f32[])", "i64[0]");
    infer_concrete("Size(f32[2,3,4])", "i64[]");
    infer_symbolic("Shape(f32[N,3])", "i64[2]");
    infer_symbolic("Shape(f32[...])", "i64[?]");
    infer_symbolic("Size(f32[...])", "i64[]");
}

static void constant_of_shape_reads_shape(void **state)
{
    (void)state;
    infer_concrete("ConstantOfShape(i64[2]<3,0>)", "f32[3,0]");
    infer_concrete("ConstantOfShape(i64[1]<3>) {value=t:i32}", "i32[3]");
    infer_concrete("ConstantOfShape(i64[0]<>)", "f32[]");
    infer_concrete("ConstantOfShape(i64[1])", "needs 0");
    infer_concrete("ConstantOfShape(i64[1]<-1>)", "!shape[0] is -1");
    infer_concrete("ConstantOfShape(i64[3]<4611686018427387904,4,4>)", "!overflows");
    infer_symbolic("ConstantOfShape(i64[2])", "f32[?,?]");
    infer_symbolic("ConstantOfShape(i64[K]) {value=t:i64}", "i64[...]");
}

static void range_counts(void **state)
{
    (void)state;
    infer_concrete("Range(i64[]<1>, i64[]<10>, i64[]<3>)", "i64[3]");
    infer_concrete("Range(i32[]<10>, i32[]<6>, i32[]<-3>)", "i32[2]");
    infer_concrete("Range(f32[]<0>, f32[]<1>, f32[]<0.25>)", "f32[4]");
    infer_concrete("Range(i64[]<5>, i64[]<5>, i64[]<1>)", "i64[0]");
    infer_concrete("Range(i64[]<5>, i64[]<1>, i64[]<1>)", "i64[0]");
    /* Beyond what double can tell apart. */
    infer_concrete("Range(i64[]<1152921504606846976>, i64[]<1152921504606846979>, i64[]<1>)",
                   "i64[3]");
    infer_concrete("Range(i64[]<-9223372036854775808>, i64[]<9223372036854775807>, "
                   "i64[]<9223372036854775807>)",
                   "i64[3]");
    infer_concrete("Range(i64[]<0>, i64[]<10>, i64[]<0>)", "!by 0");
    infer_concrete("Range(f32[]<0>, f32[]<1>, f32[]<0.0>)", "!by 0");
    infer_concrete("Range(f32[]<0>, f32[]<nan>, f32[]<1>)", "!from 0");
    infer_concrete("Range(i64[]<0>, i64[2]<1,2>, i64[]<1>)", "!one number");
    infer_concrete("Range(i64[]<0>, i64[], i64[]<1>)", "needs 1");
    infer_concrete("Range(i64[]<0>, i32[]<1>, i64[]<1>)", "!types");
    infer_symbolic("Range(i64[]<0>, i64[], i64[]<1>)", "i64[?]");
}

static void one_hot_inserts_depth(void **state)
{
    (void)state;
    infer_concrete("OneHot(i64[2,3], i64[]<5>, f32[2])", "f32[2,3,5]");
    infer_concrete("OneHot(i64[2,3], f32[1]<5>, i32[2]) {axis=0}", "i32[5,2,3]");
    infer_concrete("OneHot(i64[2], u8[]<5>, f32[2])", "f32[2,5]");
    infer_concrete("OneHot(i64[2], i64[], f32[2])", "needs 1");
    infer_concrete("OneHot(i64[2], i64[2]<5,5>, f32[2])", "!depth must be one number");
    infer_concrete("OneHot(i64[2], i64[]<0>, f32[2])", "!depth is 0");
    infer_concrete("OneHot(i64[2], i64[]<5>, f32[3])", "!3 elements, not 2");
    infer_symbolic("OneHot(i64[N], i64[], f32[2])", "f32[N,?]");
}

static void eye_like_takes_type_of_attribute(void **state)
{
    (void)state;
    infer_concrete("EyeLike(i32[3,4])", "i32[3,4]");
    infer_concrete("EyeLike(i32[3,4]) {dtype=1, k=1}", "f32[3,4]");
}

static void resize_by_scales(void **state)
{
    (void)state;
    infer_concrete("Resize(f32[1,1,2,4], -, f32[4]<1,1,2,0.6>)", "f32[1,1,4,2]");
    infer_concrete("Resize(f32[1,1,2,4], f32[4]<1,1,2,2>) @10", "f32[1,1,4,8]");
    infer_concrete("Upsample(f32[1,1,2,4], f32[4]<1,1,2,2>) @9", "f32[1,1,4,8]");
    infer_concrete("Upsample(f32[1,1,2,4]) {scales=[1.0,1.0,2.0,3.0]} @7", "f32[1,1,4,12]");
    infer_concrete("Resize(f32[1,1,2,4], -, f32[2]<2,3>) {axes=[3,2]} @18", "f32[1,1,6,8]");
    infer_concrete("Resize(f32[1,10], -, f32[2]<1,1.3>)", "f32[1,13]");
    infer_concrete("Resize(f32[4,4], f32[4]<0.25,0,0.75,1>, f32[2]<2,1>) "
                   "{coordinate_transformation_mode=\"tf_crop_and_resize\"}",
                   "f32[4,4]");
    infer_concrete("Resize(f32[4,4], f32[4], f32[2]<2,1>) "
                   "{coordinate_transformation_mode=\"tf_crop_and_resize\"}",
                   "needs 1");
    infer_concrete("leat.Resize(f32[1,2,4,3], -, f32[4]<1,1,2,3>) {channels_last=1}",
                   "f32[1,4,12,3]");
    infer_symbolic("Resize(f32[N,3,H,4], -, f32[4]<1,1,2,2>)", "f32[N,3,?,8]");
    infer_symbolic("Resize(f32[N,3,H,4], -, f32[2]) {axes=[2,3]}", "f32[N,3,?,?]");
}

static void resize_by_sizes(void **state)
{
    (void)state;
    infer_concrete("Resize(f32[1,1,2,4], -, -, i64[4]<1,1,7,8>)", "f32[1,1,7,8]");
    infer_concrete("Resize(f32[1,1,2,4], -, f32[0]<>, i64[4]<1,1,7,8>) @11", "f32[1,1,7,8]");
    infer_concrete("Resize(f32[1,1,2,4], -, -, i64[2]<7,8>) "
                   "{axes=[2,3], keep_aspect_ratio_policy=\"not_larger\"}",
                   "f32[1,1,4,8]");
    infer_concrete("Resize(f32[1,1,2,4], -, -, i64[2]<7,8>) "
                   "{axes=[2,3], keep_aspect_ratio_policy=\"not_smaller\"}",
                   "f32[1,1,7,14]");
    infer_concrete("Resize(f32[1,1,2,4], -, -, i64[4])", "needs 3");
    infer_symbolic("Resize(f32[N,1,H,4], -, -, i64[2]<7,8>) {axes=[2,3]}", "f32[N,1,7,8]");
    infer_symbolic("Resize(f32[N,1,H,4], -, -, i64[2]<7,8>) "
                   "{axes=[2,3], keep_aspect_ratio_policy=\"not_larger\"}",
                   "f32[N,1,?,?]");
}

static void resize_bad_node_returns_invalid(void **state)
{
    (void)state;
    infer_concrete("Resize(f32[2,4], -, f32[3]<1,1,1>)", "!3 scales and 0 sizes for 2 axes");
    infer_concrete("Resize(f32[2,4])", "!0 scales and 0 sizes");
    infer_concrete("Resize(f32[2,4], -, f32[2]<1,0>)", "!scales[1] is 0");
    infer_concrete("Resize(f32[2,4], -, f32[2]<1,-2>)", "!scales[1] is -2");
    infer_concrete("Resize(f32[2,4], -, f32[2]<1,inf>)", "!scales[1] is inf");
    infer_concrete("Resize(f32[2,4], -, f32[2]<1,3e38>)", "!axis 1 would have");
    infer_concrete("Resize(f32[2,4], -, f32[2]<1,1>) {axes=[0,-2]}", "!axis 0 appears twice");
    infer_concrete("Resize(f32[2,4], -, -, i64[2]<-1,1>)", "!sizes[0] is -1");
    infer_concrete("Resize(f32[2,0], -, -, i64[2]<1,1>) {keep_aspect_ratio_policy=\"not_larger\"}",
                   "!axis 1 is empty");
    infer_concrete("Resize(f32[2,4], f32[3], f32[2]<2,1>) "
                   "{coordinate_transformation_mode=\"tf_crop_and_resize\"}",
                   "needs 1");
    infer_concrete("Resize(f32[2,4], f32[3]<0,0,1>, f32[2]<2,1>) "
                   "{coordinate_transformation_mode=\"tf_crop_and_resize\"}",
                   "!roi must have 4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shape_gives_length_of_range),
        cmocka_unit_test(constant_of_shape_reads_shape),
        cmocka_unit_test(range_counts),
        cmocka_unit_test(one_hot_inserts_depth),
        cmocka_unit_test(eye_like_takes_type_of_attribute),
        cmocka_unit_test(resize_by_scales),
        cmocka_unit_test(resize_by_sizes),
        cmocka_unit_test(resize_bad_node_returns_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

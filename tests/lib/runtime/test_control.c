/* SPDX-License-Identifier: Apache-2.0 */
/* If, Loop and Scan: results against plain loops, captured values, changing shapes. */
#include "support/test.h"

#include "support/run.h"

#include <stdio.h>

/* ------------------------------------------------------------------------------------------------
 * If
 * --------------------------------------------------------------------------------------------- */

/* c ? x + 1 : concat(x, x), then everything doubled. */
static onnx_builder *build_if(void)
{
    static const float one = 1;
    leat_attr axis = test_attr_int("axis", 0);
    onnx_builder *b = onnx_builder_create(17), *yes = onnx_builder_create(17),
                 *no = onnx_builder_create(17);
    onnx_builder_floats(b, "one", "", &one);
    onnx_builder_input(b, "c", LEAT_DTYPE_BOOL, "");
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "N");
    onnx_builder_node(yes, "Add", "x,one", "t", NULL, 0);
    onnx_builder_output(yes, "t", LEAT_DTYPE_F32, "M");
    onnx_builder_node(no, "Concat", "x,x", "e", &axis, 1);
    onnx_builder_output(no, "e", LEAT_DTYPE_F32, "M");
    const leat_attr branches[] = {test_attr_graph("then_branch", yes),
                                  test_attr_graph("else_branch", no)};
    onnx_builder_node(b, "If", "c", "y", branches, 2);
    onnx_builder_node(b, "Add", "y,y", "z", NULL, 0);
    onnx_builder_output(b, "z", LEAT_DTYPE_F32, NULL);
    onnx_builder_destroy(yes);
    onnx_builder_destroy(no);
    return b;
}

static void run_if_takes_the_branch_and_its_shape(void **state)
{
    (void)state;
    test_run r;
    onnx_builder *b = build_if();
    float x[3] = {1, -2, 5};
    test_run_open(&r, b);
    for (int round = 0; round < 6; round++) {
        uint8_t c = round % 2;
        leat_array in[2] = {test_bool(&c), test_f32(x, round < 4 ? "3" : "2")}, out;
        test_run_ok(&r, in, 2, &out, 1);
        const float then3[3] = {4, -2, 12}, else3[6] = {2, -4, 10, 2, -4, 10},
                    else2[4] = {2, -4, 2, -4};
        test_assert_f32(&out, c ? (round < 4 ? "3" : "2") : (round < 4 ? "6" : "4"),
                        c ? then3 : (round < 4 ? else3 : else2));
    }
    test_run_free(&r);
    onnx_builder_destroy(b);
}

/* Two levels: the inner branch reads x and the inner condition from the outermost graph, and a
 * value of the branch around it. */
static void run_if_nested_captures_through_levels(void **state)
{
    (void)state;
    test_run r;
    onnx_builder *b = onnx_builder_create(17), *outer = onnx_builder_create(17),
                 *other = onnx_builder_create(17), *yes = onnx_builder_create(17),
                 *no = onnx_builder_create(17);
    onnx_builder_text(b, "c: bool[]; d: bool[]; x: f32[3]");
    onnx_builder_node(yes, "Mul", "x,twice", "p", NULL, 0);
    onnx_builder_output(yes, "p", LEAT_DTYPE_F32, "3");
    onnx_builder_node(no, "Sub", "twice,x", "q", NULL, 0);
    onnx_builder_output(no, "q", LEAT_DTYPE_F32, "3");
    const leat_attr inner[] = {test_attr_graph("then_branch", yes),
                               test_attr_graph("else_branch", no)};
    onnx_builder_node(outer, "Add", "x,x", "twice", NULL, 0);
    onnx_builder_node(outer, "If", "d", "i", inner, 2);
    onnx_builder_output(outer, "i", LEAT_DTYPE_F32, "3");
    onnx_builder_output(outer, "twice", LEAT_DTYPE_F32, "3");
    onnx_builder_node(other, "Neg", "x", "n", NULL, 0);
    onnx_builder_output(other, "n", LEAT_DTYPE_F32, "3");
    onnx_builder_output(other, "x", LEAT_DTYPE_F32, "3"); /* captured, and an output as it is */
    const leat_attr branches[] = {test_attr_graph("then_branch", outer),
                                  test_attr_graph("else_branch", other)};
    onnx_builder_node(b, "If", "c", "y,w", branches, 2);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "3");
    onnx_builder_output(b, "w", LEAT_DTYPE_F32, "3");
    float x[3] = {1, 2, -3};
    test_run_open(&r, b);
    for (int k = 0; k < 4; k++) {
        uint8_t c = k & 1, d = k >> 1;
        leat_array in[3] = {test_bool(&c), test_bool(&d), test_f32(x, "3")}, out[2];
        test_run_ok(&r, in, 3, out, 2);
        float y[3], w[3];
        for (int i = 0; i < 3; i++) {
            y[i] = !c ? -x[i] : d ? x[i] * 2 * x[i] : x[i];
            w[i] = c ? 2 * x[i] : x[i];
        }
        test_assert_f32(&out[0], "3", y);
        test_assert_f32(&out[1], "3", w);
    }
    test_run_free(&r);
    onnx_builder_destroy(b);
    onnx_builder_destroy(outer);
    onnx_builder_destroy(other);
    onnx_builder_destroy(yes);
    onnx_builder_destroy(no);
}

/* ------------------------------------------------------------------------------------------------
 * Loop
 * --------------------------------------------------------------------------------------------- */

/* s = s + x; squares = all s * s; the loop goes on while sum(s) < limit. */
static onnx_builder *build_sum(void)
{
    leat_attr flat = test_attr_int("keepdims", 0);
    onnx_builder *b = onnx_builder_create(17), *body = onnx_builder_create(17);
    onnx_builder_text(b, "m: i64[]; c: bool[]; s0: f32[N]; x: f32[N]; limit: f32[]");
    onnx_builder_text(body, "i: i64[]; go: bool[]; s: f32[N]; t = Add(s, x)");
    onnx_builder_node(body, "ReduceSum", "t", "sum", &flat, 1);
    onnx_builder_text(body, "more = Less(sum, limit); square = Mul(t, t); number = Identity(i); "
                            "-> more: bool[]; -> t: f32[N]; -> square: f32[N]; -> number: i64[]");
    leat_attr attr = test_attr_graph("body", body);
    onnx_builder_node(b, "Loop", "m,c,s0", "s1,squares,numbers", &attr, 1);
    onnx_builder_text(b, "-> s1: f32[N]; -> squares: f32; -> numbers: i64");
    onnx_builder_destroy(body);
    return b;
}

static void check_sum(test_run *r, int64_t m, uint8_t c, float limit, size_t n)
{
    float s[5] = {1, 2, 3, 4, 5}, x[5] = {0.5f, 1, -1, 2, 3}, start_of[5], squares[64];
    char shape[16], stacked[16];
    memcpy(start_of, s, sizeof(s));
    snprintf(shape, sizeof(shape), "%zu", n);
    leat_array in[5] = {test_i64(&m, ""), test_bool(&c), test_f32(start_of, shape),
                        test_f32(x, shape), test_f32(&limit, "")};
    leat_array out[3];
    test_run_ok(r, in, 5, out, 3);
    int64_t done = 0;
    for (bool more = c != 0; more && done < m; done++) {
        float sum = 0;
        for (size_t k = 0; k < n; k++) {
            s[k] += x[k];
            sum += s[k];
            squares[(size_t)done * n + k] = s[k] * s[k];
        }
        more = sum < limit;
    }
    test_assert_f32(&out[0], shape, s);
    snprintf(stacked, sizeof(stacked), "%dx%zu", (int)done, n);
    test_assert_f32(&out[1], stacked, squares);
    assert_int_equal(out[2].shape[0], done);
    for (int64_t i = 0; i < done; i++) {
        assert_int_equal(((const int64_t *)out[2].data)[i], i);
    }
}

static void run_loop_counts_and_stacks(void **state)
{
    (void)state;
    test_run r;
    onnx_builder *b = build_sum();
    test_run_open(&r, b);
    for (size_t n = 1; n <= 5; n++) {
        check_sum(&r, 5, 1, 1e9f, n);
        check_sum(&r, 1, 1, 1e9f, n);
        check_sum(&r, 12, 1, 1e9f, n); /* more than the buffers have held so far */
        check_sum(&r, 7, 0, 1e9f, n);
        check_sum(&r, -3, 1, 1e9f, n);
        check_sum(&r, 12, 1, 30.0f, n);
    }
    check_sum(&r, 0, 1, 1e9f, 3);
    test_run_free(&r);
    onnx_builder_destroy(b);
}

/* v = concat(v, [i]): its shape changes in every iteration. */
static void run_loop_carries_changing_shapes(void **state)
{
    (void)state;
    test_run r;
    leat_attr axis = test_attr_int("axis", 0), to = test_attr_int("to", LEAT_DTYPE_F32);
    static const int64_t one = 1;
    onnx_builder *b = onnx_builder_create(17), *body = onnx_builder_create(17);
    onnx_builder_input(b, "m", LEAT_DTYPE_I64, "");
    onnx_builder_input(b, "v0", LEAT_DTYPE_F32, "N");
    onnx_builder_ints(body, "one", "1", &one);
    onnx_builder_input(body, "i", LEAT_DTYPE_I64, "");
    onnx_builder_input(body, "go", LEAT_DTYPE_BOOL, "");
    onnx_builder_input(body, "v", LEAT_DTYPE_F32, "1"); /* true once only */
    onnx_builder_node(body, "Reshape", "i,one", "row", NULL, 0);
    onnx_builder_node(body, "Cast", "row", "number", &to, 1);
    onnx_builder_node(body, "Concat", "v,number", "w", &axis, 1);
    onnx_builder_text(body, "length = Shape(v); -> go: bool[]; -> w: f32[1]; -> length: i64[1]");
    leat_attr attr = test_attr_graph("body", body);
    onnx_builder_node(b, "Loop", "m,,v0", "v1,lengths", &attr, 1);
    onnx_builder_output(b, "v1", LEAT_DTYPE_F32, NULL);
    onnx_builder_output(b, "lengths", LEAT_DTYPE_I64, NULL);
    test_run_open(&r, b);
    for (int round = 0; round < 3; round++) {
        float v[32] = {7, 8};
        int64_t m = 20 + round;
        leat_array in[2] = {test_i64(&m, ""), test_f32(v, round == 1 ? "2" : "1")}, out[2];
        test_run_ok(&r, in, 2, out, 2);
        size_t n = round == 1 ? 2 : 1;
        assert_int_equal(out[0].shape[0], (int64_t)n + m);
        for (int64_t i = 0; i < m; i++) {
            assert_true(((const float *)out[0].data)[(int64_t)n + i] == (float)i);
            assert_int_equal(((const int64_t *)out[1].data)[i], (int64_t)n + i);
        }
    }
    test_run_free(&r);
    onnx_builder_destroy(b);
    onnx_builder_destroy(body);
}

/* a = 3 a + i + j over i < m, j < n: the inner body reads the outer one's counter. */
static void run_loop_nested_captures_the_outer_counter(void **state)
{
    (void)state;
    test_run r;
    static const int64_t three = 3;
    onnx_builder *b = onnx_builder_create(17), *outer = onnx_builder_create(17),
                 *inner = onnx_builder_create(17);
    onnx_builder_ints(b, "three", "", &three);
    onnx_builder_text(b, "m: i64[]; n: i64[]; a0: i64[]");
    onnx_builder_text(inner, "j: i64[]; gj: bool[]; p: i64[]; "
                             "q = Mul(p, three); u = Add(q, i); v = Add(u, j); "
                             "-> gj: bool[]; -> v: i64[]");
    leat_attr attr = test_attr_graph("body", inner);
    onnx_builder_text(outer, "i: i64[]; gi: bool[]; a: i64[]");
    onnx_builder_node(outer, "Loop", "n,,a", "next", &attr, 1);
    onnx_builder_output(outer, "gi", LEAT_DTYPE_BOOL, "");
    onnx_builder_output(outer, "next", LEAT_DTYPE_I64, "");
    onnx_builder_output(outer, "next", LEAT_DTYPE_I64, ""); /* stacked as well */
    attr = test_attr_graph("body", outer);
    onnx_builder_node(b, "Loop", "m,,a0", "a1,all", &attr, 1);
    onnx_builder_output(b, "a1", LEAT_DTYPE_I64, "");
    onnx_builder_output(b, "all", LEAT_DTYPE_I64, NULL);
    test_run_open(&r, b);
    for (int64_t m = 0; m < 4; m++) {
        for (int64_t n = 0; n < 4; n++) {
            int64_t a = 2, initial = 2;
            leat_array in[3] = {test_i64(&m, ""), test_i64(&n, ""), test_i64(&initial, "")};
            leat_array out[2];
            test_run_ok(&r, in, 3, out, 2);
            assert_int_equal(out[1].shape[0], m);
            for (int64_t i = 0; i < m; i++) {
                for (int64_t j = 0; j < n; j++) {
                    a = 3 * a + i + j;
                }
                assert_int_equal(((const int64_t *)out[1].data)[i], a);
            }
            assert_int_equal(*(const int64_t *)out[0].data, a);
        }
    }
    test_run_free(&r);
    onnx_builder_destroy(b);
    onnx_builder_destroy(outer);
    onnx_builder_destroy(inner);
}

/* Two carried values change places in every iteration: neither may be overwritten too soon. */
static void run_loop_swaps_carried_values(void **state)
{
    (void)state;
    test_run r;
    onnx_builder *b = onnx_builder_create(17), *body = onnx_builder_create(17);
    onnx_builder_text(b, "m: i64[]; p0: f32[2]; q0: f32[2]");
    onnx_builder_text(body, "i: i64[]; go: bool[]; p: f32[2]; q: f32[2]; "
                            "-> go: bool[]; -> q: f32[2]; -> p: f32[2]");
    leat_attr attr = test_attr_graph("body", body);
    onnx_builder_node(b, "Loop", "m,,p0,q0", "p1,q1", &attr, 1);
    onnx_builder_output(b, "p1", LEAT_DTYPE_F32, "2");
    onnx_builder_output(b, "q1", LEAT_DTYPE_F32, "2");
    float p[2] = {1, 2}, q[2] = {3, 4};
    test_run_open(&r, b);
    for (int64_t m = 0; m < 6; m++) {
        leat_array in[3] = {test_i64(&m, ""), test_f32(p, "2"), test_f32(q, "2")}, out[2];
        test_run_ok(&r, in, 3, out, 2);
        test_assert_f32(&out[0], "2", m % 2 ? q : p);
        test_assert_f32(&out[1], "2", m % 2 ? p : q);
    }
    test_run_free(&r);
    onnx_builder_destroy(b);
    onnx_builder_destroy(body);
}

/* ------------------------------------------------------------------------------------------------
 * Scan
 * --------------------------------------------------------------------------------------------- */

/* s = s + a * b for the columns of a and, from the last to the first, the rows of b; every s
 * becomes a column, from the last to the first, and every product a row. */
static void run_scan_follows_axes_and_directions(void **state)
{
    (void)state;
    enum {
        LENGTH = 5,
        WIDTH = 3
    };
    static const int64_t in_axes[] = {-1, 0}, in_directions[] = {0, 1}, out_axes[] = {1, 0},
                         out_directions[] = {1, 0};
    test_run r;
    onnx_builder *b = onnx_builder_create(17), *body = onnx_builder_create(17);
    onnx_builder_text(b, "s0: f32[W]; a: f32[WxL]; b: f32[KxW]");
    onnx_builder_text(body, "s: f32; ai: f32; bi: f32; "
                            "ab = Mul(ai, bi); t = Add(s, ab); copy = Identity(t); "
                            "-> t: f32; -> copy: f32; -> ab: f32");
    const leat_attr attrs[] = {test_attr_graph("body", body),
                               test_attr_int("num_scan_inputs", 2),
                               test_attr_ints("scan_input_axes", in_axes, 2),
                               test_attr_ints("scan_input_directions", in_directions, 2),
                               test_attr_ints("scan_output_axes", out_axes, 2),
                               test_attr_ints("scan_output_directions", out_directions, 2)};
    onnx_builder_node(b, "Scan", "s0,a,b", "s1,columns,rows", attrs, 6);
    onnx_builder_text(b, "-> s1: f32; -> columns: f32; -> rows: f32");
    float s[WIDTH] = {1, 2, 3}, s_in[WIDTH] = {1, 2, 3}, x[WIDTH][LENGTH], y[LENGTH][WIDTH];
    float columns[WIDTH][LENGTH], rows[LENGTH][WIDTH];
    for (int i = 0; i < WIDTH; i++) {
        for (int t = 0; t < LENGTH; t++) {
            x[i][t] = (float)(i * 7 + t) - 4;
            y[t][i] = (float)(t * 3 - i) + 1;
        }
    }
    for (int t = 0; t < LENGTH; t++) {
        for (int i = 0; i < WIDTH; i++) {
            rows[t][i] = x[i][t] * y[LENGTH - 1 - t][i];
            s[i] += rows[t][i];
            columns[i][LENGTH - 1 - t] = s[i];
        }
    }
    test_run_open(&r, b);
    for (int round = 0; round < 2; round++) {
        leat_array in[3] = {test_f32(s_in, "3"), test_f32(x[0], "3x5"), test_f32(y[0], "5x3")};
        leat_array out[3];
        test_run_ok(&r, in, 3, out, 3);
        test_assert_f32(&out[0], "3", s);
        test_assert_f32(&out[1], "3x5", columns[0]);
        test_assert_f32(&out[2], "5x3", rows[0]);
    }
    leat_array in[3] = {test_f32(s_in, "3"), test_f32(x[0], "3x0"), test_f32(y[0], "0x3")}, out[3];
    test_run_ok(&r, in, 3, out, 3);
    test_assert_f32(&out[0], "3", s_in);
    test_assert_f32(&out[1], "3x0", columns[0]);
    in[2] = test_f32(y[0], "2x3"); /* another length */
    memset(out, 0, sizeof(out));
    assert_int_equal(leat_session_run(r.session, in, 3, out, 3, &r.err), LEAT_INVALID);
    assert_non_null(strstr(r.err.message, "lengths"));
    test_run_free(&r);
    onnx_builder_destroy(b);
    onnx_builder_destroy(body);
}

/* Version 8: rows of a batch are scans of their own, each of its own length. */
static void run_scan_8_takes_batches_and_lengths(void **state)
{
    (void)state;
    test_run r;
    onnx_builder *b = onnx_builder_create(8), *body = onnx_builder_create(8);
    onnx_builder_text(b, "lengths: i64[B]; s0: f32[Bx2]; x: f32[Bx3x2]");
    onnx_builder_text(body, "s: f32[2]; xi: f32[2]; "
                            "t = Add(s, xi); square = Mul(t, t); "
                            "-> t: f32[2]; -> square: f32[2]");
    const leat_attr attrs[] = {test_attr_graph("body", body), test_attr_int("num_scan_inputs", 1)};
    onnx_builder_node(b, "Scan", "lengths,s0,x", "s1,squares", attrs, 2);
    onnx_builder_output(b, "s1", LEAT_DTYPE_F32, "Bx2");
    onnx_builder_output(b, "squares", LEAT_DTYPE_F32, "Bx3x2");
    int64_t lengths[2] = {3, 1};
    float s0[4] = {0, 1, 2, 3}, x[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    float s1[4], squares[12] = {0};
    for (size_t row = 0; row < 2; row++) {
        for (size_t i = 0; i < 2; i++) {
            float s = s0[row * 2 + i];
            for (size_t t = 0; t < (size_t)lengths[row]; t++) {
                s += x[row * 6 + t * 2 + i];
                squares[row * 6 + t * 2 + i] = s * s;
            }
            s1[row * 2 + i] = s;
        }
    }
    test_run_open(&r, b);
    for (int round = 0; round < 2; round++) {
        leat_array in[3] = {test_i64(lengths, "2"), test_f32(s0, "2x2"), test_f32(x, "2x3x2")};
        leat_array out[2];
        test_run_ok(&r, in, 3, out, 2);
        test_assert_f32(&out[0], "2x2", s1);
        test_assert_f32(&out[1], "2x3x2", squares);
    }
    lengths[1] = 4;
    leat_array in[3] = {test_i64(lengths, "2"), test_f32(s0, "2x2"), test_f32(x, "2x3x2")};
    leat_array out[2] = {{0}};
    assert_int_equal(leat_session_run(r.session, in, 3, out, 2, &r.err), LEAT_INVALID);
    test_run_free(&r);
    onnx_builder_destroy(b);
    onnx_builder_destroy(body);
}

/* ------------------------------------------------------------------------------------------------
 * What cannot be
 * --------------------------------------------------------------------------------------------- */

/* Stacks what `op` makes of the carried value, which grows. */
static void run_loop_stacking_changing_shapes_is_invalid(void **state)
{
    (void)state;
    test_run r;
    leat_attr axis = test_attr_int("axis", 0);
    onnx_builder *b = onnx_builder_create(17), *body = onnx_builder_create(17);
    onnx_builder_input(b, "m", LEAT_DTYPE_I64, "");
    onnx_builder_input(b, "v0", LEAT_DTYPE_F32, "N");
    onnx_builder_text(body, "i: i64[]; go: bool[]; v: f32[N]");
    onnx_builder_node(body, "Concat", "v,v", "w", &axis, 1);
    onnx_builder_text(body, "-> go: bool[]; -> w: f32[N]; -> v: f32[N]");
    leat_attr attr = test_attr_graph("body", body);
    onnx_builder_node(b, "Loop", "m,,v0", "v1,all", &attr, 1);
    onnx_builder_output(b, "v1", LEAT_DTYPE_F32, NULL);
    onnx_builder_output(b, "all", LEAT_DTYPE_F32, NULL);
    test_run_open(&r, b);
    float v[2] = {1, 2};
    int64_t m = 1;
    leat_array in[2] = {test_i64(&m, ""), test_f32(v, "2")}, out[2];
    test_run_ok(&r, in, 2, out, 2);
    m = 2;
    memset(out, 0, sizeof(out));
    assert_int_equal(leat_session_run(r.session, in, 2, out, 2, &r.err), LEAT_INVALID);
    assert_non_null(strstr(r.err.message, "changes its shape"));
    m = 1;
    test_run_ok(&r, in, 2, out, 2); /* the session is still good */
    test_run_free(&r);
    onnx_builder_destroy(b);
    onnx_builder_destroy(body);
}

/* Bodies whose inputs and outputs do not fit the node are refused when the model is loaded. */
static void load_body_of_wrong_count_is_invalid(void **state)
{
    (void)state;
    static const struct {
        const char *op, *attr, *inputs;
    } cases[] = {{"Loop", "body", "x,,x"},
                 {"If", "then_branch", "x"},
                 {"Scan", "body", "x,x"},
                 {"SequenceMap", "body", "x,x"},
                 {"Loop", "other", "x,,x"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        onnx_builder *b = onnx_builder_create(17), *body = onnx_builder_create(17);
        onnx_builder_input(b, "x", LEAT_DTYPE_F32, "2");
        onnx_builder_input(body, "i", LEAT_DTYPE_F32, "2");
        onnx_builder_output(body, "i", LEAT_DTYPE_F32, "2");
        const leat_attr attrs[] = {test_attr_graph(cases[i].attr, body),
                                   test_attr_graph("else_branch", body),
                                   test_attr_int("num_scan_inputs", 1)};
        onnx_builder_node(b, cases[i].op, cases[i].inputs, "y", attrs, 3);
        onnx_builder_output(b, "y", LEAT_DTYPE_F32, NULL);
        size_t bytes;
        const void *data = onnx_builder_finish(b, &bytes);
        leat_error err = {0};
        leat_context *context = NULL;
        leat_model *model = NULL;
        assert_ok(leat_context_create(NULL, &context, &err), &err);
        leat_status status = leat_model_load_memory(context, data, bytes, NULL, &model, &err);
        assert_int_equal(status, LEAT_INVALID);
        assert_non_null(strstr(err.message, cases[i].op));
        leat_context_destroy(context);
        onnx_builder_destroy(b);
        onnx_builder_destroy(body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_if_takes_the_branch_and_its_shape),
        cmocka_unit_test(run_if_nested_captures_through_levels),
        cmocka_unit_test(run_loop_counts_and_stacks),
        cmocka_unit_test(run_loop_carries_changing_shapes),
        cmocka_unit_test(run_loop_nested_captures_the_outer_counter),
        cmocka_unit_test(run_loop_swaps_carried_values),
        cmocka_unit_test(run_scan_follows_axes_and_directions),
        cmocka_unit_test(run_scan_8_takes_batches_and_lengths),
        cmocka_unit_test(run_loop_stacking_changing_shapes_is_invalid),
        cmocka_unit_test(load_body_of_wrong_count_is_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

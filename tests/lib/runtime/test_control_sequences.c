/* SPDX-License-Identifier: Apache-2.0 */
/* Sequences and optionals: through the public interface, between nodes, carried by loops. */
#include "support/test.h"

#include "support/run.h"
#include "support/text.h"

static const leat_array *element(const leat_array *sequence, int64_t i)
{
    assert_int_equal(sequence->dtype, LEAT_DTYPE_SEQUENCE);
    assert_true(i < sequence->shape[0]);
    return &((const leat_array *)sequence->data)[i];
}

/* s = (a, a + b, b) with b inserted at `where`, the one at `gone` erased; at = s[pick]. */
static onnx_builder *build_edits(void)
{
    onnx_builder *b = onnx_builder_create(17);
    onnx_builder_text(b, "a: f32[N]; b: f32[N]; where: i64[]; gone: i64[]; pick: i64[]; "
                         "ab = Add(a, b); s0 = SequenceConstruct(a, ab, b); "
                         "s1 = SequenceInsert(s0, b, where); s2 = SequenceErase(s1, gone); "
                         "at = SequenceAt(s2, pick); length = SequenceLength(s1); minus = Neg(at)");
    onnx_builder_container(b, true, "s2", LEAT_DTYPE_SEQUENCE, LEAT_DTYPE_F32);
    onnx_builder_output(b, "minus", LEAT_DTYPE_F32, NULL);
    onnx_builder_output(b, "length", LEAT_DTYPE_I64, "");
    return b;
}

static void run_sequence_edits_match_an_array(void **state)
{
    (void)state;
    test_run r;
    onnx_builder *builder = build_edits();
    float a[2] = {1, 2}, b[2] = {10, 20};
    test_run_open(&r, builder);
    for (int64_t where = -3; where <= 3; where++) {
        for (int64_t gone = -4; gone < 4; gone++) {
            for (int64_t pick = -3; pick < 3; pick++) {
                float want[4] = {1, 11, 10, 0}; /* first elements */
                int64_t at = where < 0 ? where + 3 : where;
                memmove(want + at + 1, want + at, (size_t)(3 - at) * sizeof(float));
                want[at] = 10;
                at = gone < 0 ? gone + 4 : gone;
                memmove(want + at, want + at + 1, (size_t)(3 - at) * sizeof(float));
                leat_array in[5] = {test_f32(a, "2"), test_f32(b, "2"), test_i64(&where, ""),
                                    test_i64(&gone, ""), test_i64(&pick, "")};
                leat_array out[3];
                test_run_ok(&r, in, 5, out, 3);
                assert_int_equal(out[0].shape[0], 3);
                for (int64_t i = 0; i < 3; i++) {
                    const float pair[2] = {want[i], 2 * want[i]};
                    test_assert_f32(element(&out[0], i), "2", pair);
                }
                int64_t p = pick < 0 ? pick + 3 : pick;
                const float minus[2] = {-want[p], -2 * want[p]};
                test_assert_f32(&out[1], "2", minus);
                assert_int_equal(*(const int64_t *)out[2].data, 4);
            }
        }
    }
    const int64_t bad[3][3] = {{4, 0, 0}, {0, 4, 0}, {0, 0, 3}};
    for (int k = 0; k < 3; k++) {
        int64_t p[3] = {bad[k][0], bad[k][1], bad[k][2]};
        leat_array in[5] = {test_f32(a, "2"), test_f32(b, "2"), test_i64(&p[0], ""),
                            test_i64(&p[1], ""), test_i64(&p[2], "")};
        leat_array out[3] = {{0}};
        assert_int_equal(leat_session_run(r.session, in, 5, out, 3, &r.err), LEAT_INVALID);
        assert_non_null(strstr(r.err.message, "position"));
    }
    test_run_free(&r);
    onnx_builder_destroy(builder);
}

/* A sequence that the caller gives: concatenated, stacked, handed back. */
static onnx_builder *build_from_sequence(void)
{
    leat_attr concat[] = {test_attr_int("axis", 1)},
              stack[] = {test_attr_int("axis", -1), test_attr_int("new_axis", 1)};
    onnx_builder *b = onnx_builder_create(17);
    onnx_builder_container(b, false, "s", LEAT_DTYPE_SEQUENCE, LEAT_DTYPE_F32);
    onnx_builder_node(b, "ConcatFromSequence", "s", "wide", concat, 1);
    onnx_builder_node(b, "ConcatFromSequence", "s", "deep", stack, 2);
    onnx_builder_text(b, "same = Identity(s); -> wide: f32; -> deep: f32");
    onnx_builder_container(b, true, "same", LEAT_DTYPE_SEQUENCE, LEAT_DTYPE_F32);
    return b;
}

static void run_sequence_input_is_read_where_it_is(void **state)
{
    (void)state;
    test_run r;
    onnx_builder *builder = build_from_sequence();
    float x[4] = {1, 2, 3, 4}, y[4] = {5, 6, 7, 8}, z[4] = {9, 10, 11, 12};
    const float wide[12] = {1, 2, 5, 6, 9, 10, 3, 4, 7, 8, 11, 12};
    const float deep[12] = {1, 5, 9, 2, 6, 10, 3, 7, 11, 4, 8, 12};
    leat_array parts[3] = {test_f32(x, "2x2"), test_f32(y, "2x2"), test_f32(z, "2x2")};
    test_run_open(&r, builder);
    for (int round = 0; round < 3; round++) {
        leat_array in = test_vector(LEAT_DTYPE_SEQUENCE, parts, 3), out[3];
        test_run_ok(&r, &in, 1, out, 3);
        test_assert_f32(&out[0], "2x6", wide);
        test_assert_f32(&out[1], "2x2x3", deep);
        assert_ptr_equal(element(&out[2], 1)->data, y);
    }
    leat_array in = test_vector(LEAT_DTYPE_SEQUENCE, parts, 0), out[3] = {{0}};
    assert_int_equal(leat_session_run(r.session, &in, 1, out, 3, &r.err), LEAT_INVALID);
    test_run_free(&r);
    onnx_builder_destroy(builder);
}

/* Sequences that are not what they should be are refused before anything reads them. */
static void run_unsound_sequence_is_invalid(void **state)
{
    (void)state;
    test_run r;
    onnx_builder *builder = build_from_sequence();
    float x[4] = {1, 2, 3, 4};
    test_run_open(&r, builder);
    for (int k = 0; k < 8; k++) {
        leat_array parts[2] = {test_f32(x, "2x2"), test_f32(x, "2x2")};
        leat_array in = test_vector(LEAT_DTYPE_SEQUENCE, parts, 2), out[3] = {{0}};
        switch (k) {
        case 0:
            parts[1].bytes = 15;
            break;
        case 1:
            parts[1].data = NULL;
            break;
        case 2:
            parts[1].shape[0] = -1;
            break;
        case 3:
            parts[1].rank = LEAT_MAX_RANK + 1;
            break;
        case 4:
            parts[1] = test_vector(LEAT_DTYPE_SEQUENCE, parts, 1);
            break;
        case 5:
            in.data = NULL;
            break;
        case 6:
            in.bytes = 2 * sizeof(leat_array) - 1;
            break;
        case 7:
            in.shape[0] = INT64_MAX;
            break;
        }
        assert_int_equal(leat_session_run(r.session, &in, 1, out, 3, &r.err), LEAT_INVALID);
    }
    test_run_free(&r);
    onnx_builder_destroy(builder);
}

/* Loop: s = insert(s, i * x); out of the loop concatenated. Elements must outlive the iteration. */
static onnx_builder *build_collect(void)
{
    leat_attr to = test_attr_int("to", LEAT_DTYPE_F32), axis = test_attr_int("axis", 0);
    onnx_builder *b = onnx_builder_create(17), *body = onnx_builder_create(17);
    onnx_builder_text(b, "m: i64[]; x: f32[N]; s0 = SequenceConstruct(x)");
    onnx_builder_input(body, "i", LEAT_DTYPE_I64, "");
    onnx_builder_input(body, "go", LEAT_DTYPE_BOOL, "");
    onnx_builder_container(body, false, "s", LEAT_DTYPE_SEQUENCE, LEAT_DTYPE_F32);
    onnx_builder_node(body, "Cast", "i", "f", &to, 1);
    onnx_builder_text(body, "p = Mul(x, f); t = SequenceInsert(s, p); -> go: bool[]");
    onnx_builder_container(body, true, "t", LEAT_DTYPE_SEQUENCE, LEAT_DTYPE_F32);
    leat_attr attr = test_attr_graph("body", body);
    onnx_builder_node(b, "Loop", "m,,s0", "s1", &attr, 1);
    onnx_builder_node(b, "ConcatFromSequence", "s1", "all", &axis, 1);
    onnx_builder_container(b, true, "s1", LEAT_DTYPE_SEQUENCE, LEAT_DTYPE_F32);
    onnx_builder_output(b, "all", LEAT_DTYPE_F32, NULL);
    onnx_builder_destroy(body);
    return b;
}

static void check_collect(test_run *r, int64_t m)
{
    float x[3] = {1, -2, 3};
    leat_array in[2] = {test_i64(&m, ""), test_f32(x, "3")}, out[2];
    test_run_ok(r, in, 2, out, 2);
    leat_context_trim(r->context); /* what was given out must stay */
    assert_int_equal(out[0].shape[0], m + 1);
    assert_int_equal(out[1].shape[0], 3 * (m + 1));
    for (int64_t i = 0; i <= m; i++) {
        float f = i ? (float)(i - 1) : 1, want[3] = {f * 1, f * -2, f * 3};
        test_assert_f32(element(&out[0], i), "3", want);
        assert_memory_equal((const float *)out[1].data + 3 * i, want, sizeof(want));
    }
}

static void run_loop_carries_a_sequence(void **state)
{
    (void)state;
    test_run r;
    onnx_builder *builder = build_collect();
    test_run_open(&r, builder);
    leat_memory_info before, after;
    for (int64_t m = 0; m < 30; m++) {
        check_collect(&r, m);
    }
    leat_context_memory(r.context, &before);
    for (int64_t m = 0; m < 30; m++) {
        check_collect(&r, m);
    }
    leat_context_memory(r.context, &after);
    assert_int_equal(before.live_blocks, after.live_blocks); /* no sequence was forgotten */
    test_run_free(&r);
    onnx_builder_destroy(builder);
}

/* y = has(o) ? get(o) : x */
static void run_optional_chooses(void **state)
{
    (void)state;
    test_run r;
    onnx_builder *b = onnx_builder_create(18), *yes = onnx_builder_create(18),
                 *no = onnx_builder_create(18);
    onnx_builder_container(b, false, "o", LEAT_DTYPE_OPTIONAL, LEAT_DTYPE_F32);
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "N");
    onnx_builder_node(b, "OptionalHasElement", "o", "has", NULL, 0);
    onnx_builder_node(yes, "OptionalGetElement", "o", "e", NULL, 0);
    onnx_builder_output(yes, "e", LEAT_DTYPE_F32, NULL);
    onnx_builder_node(no, "Identity", "x", "i", NULL, 0);
    onnx_builder_output(no, "i", LEAT_DTYPE_F32, NULL);
    const leat_attr branches[] = {test_attr_graph("then_branch", yes),
                                  test_attr_graph("else_branch", no)};
    onnx_builder_node(b, "If", "has", "y", branches, 2);
    onnx_builder_text(b, "z = Add(y, y); wrapped = Optional(z); -> z: f32");
    onnx_builder_container(b, true, "wrapped", LEAT_DTYPE_OPTIONAL, LEAT_DTYPE_F32);
    float x[2] = {1, 2}, o[3] = {3, 4, 5};
    test_run_open(&r, b);
    for (int round = 0; round < 4; round++) {
        bool has = round % 2 != 0;
        leat_array inside = test_f32(o, "3");
        leat_array in[2] = {test_vector(LEAT_DTYPE_OPTIONAL, &inside, has), test_f32(x, "2")},
                   out[2];
        test_run_ok(&r, in, 2, out, 2);
        const float with[3] = {6, 8, 10}, without[2] = {2, 4};
        test_assert_f32(&out[0], has ? "3" : "2", has ? with : without);
        assert_int_equal(out[1].dtype, LEAT_DTYPE_OPTIONAL);
        assert_int_equal(out[1].shape[0], 1);
        test_assert_f32(out[1].data, has ? "3" : "2", has ? with : without);
    }
    leat_array two[2] = {test_f32(o, "3"), test_f32(o, "3")};
    leat_array in[2] = {test_vector(LEAT_DTYPE_OPTIONAL, two, 2), test_f32(x, "2")}, out[2] = {{0}};
    assert_int_equal(leat_session_run(r.session, in, 2, out, 2, &r.err), LEAT_INVALID);
    test_run_free(&r);
    onnx_builder_destroy(b);
    onnx_builder_destroy(yes);
    onnx_builder_destroy(no);
}

/* Splits along the second axis by sizes, in equal parts and into slices. */
static void run_split_to_sequence_cuts_as_asked(void **state)
{
    (void)state;
    test_run r;
    leat_attr axis[] = {test_attr_int("axis", 1), test_attr_int("keepdims", 0)};
    onnx_builder *b = onnx_builder_create(17);
    onnx_builder_text(b, "x: f32[2x5]; sizes: i64[K]; each: i64[]");
    onnx_builder_node(b, "SplitToSequence", "x,sizes", "p", axis, 2);
    onnx_builder_node(b, "SplitToSequence", "x,each", "q", axis, 2);
    onnx_builder_node(b, "SplitToSequence", "x", "s", axis, 2);
    onnx_builder_container(b, true, "p", LEAT_DTYPE_SEQUENCE, LEAT_DTYPE_F32);
    onnx_builder_container(b, true, "q", LEAT_DTYPE_SEQUENCE, LEAT_DTYPE_F32);
    onnx_builder_container(b, true, "s", LEAT_DTYPE_SEQUENCE, LEAT_DTYPE_F32);
    float x[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    int64_t sizes[3] = {1, 0, 4}, each = 2;
    leat_array in[3] = {test_f32(x, "2x5"), test_i64(sizes, "3"), test_i64(&each, "")}, out[3];
    test_run_open(&r, b);
    test_run_ok(&r, in, 3, out, 3);
    const float p0[2] = {0, 5}, p2[8] = {1, 2, 3, 4, 6, 7, 8, 9}, q1[4] = {2, 3, 7, 8},
                q2[2] = {4, 9}, s3[2] = {3, 8};
    assert_int_equal(out[0].shape[0], 3);
    test_assert_f32(element(&out[0], 0), "2x1", p0);
    test_assert_f32(element(&out[0], 1), "2x0", p0);
    test_assert_f32(element(&out[0], 2), "2x4", p2);
    assert_int_equal(out[1].shape[0], 3);
    test_assert_f32(element(&out[1], 1), "2x2", q1);
    test_assert_f32(element(&out[1], 2), "2x1", q2);
    assert_int_equal(out[2].shape[0], 5);
    test_assert_f32(element(&out[2], 3), "2", s3);
    sizes[2] = 5;
    memset(out, 0, sizeof(out));
    assert_int_equal(leat_session_run(r.session, in, 3, out, 3, &r.err), LEAT_INVALID);
    sizes[2] = 4;
    each = 0;
    assert_int_equal(leat_session_run(r.session, in, 3, out, 3, &r.err), LEAT_INVALID);
    test_run_free(&r);
    onnx_builder_destroy(b);
}

/* SequenceMap over two sequences and a tensor, with a captured value. */
static void run_sequence_map_runs_the_body_on_each(void **state)
{
    (void)state;
    test_run r;
    onnx_builder *b = onnx_builder_create(17), *body = onnx_builder_create(17);
    onnx_builder_container(b, false, "s", LEAT_DTYPE_SEQUENCE, LEAT_DTYPE_F32);
    onnx_builder_container(b, false, "t", LEAT_DTYPE_SEQUENCE, LEAT_DTYPE_F32);
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "1");
    onnx_builder_input(b, "outside", LEAT_DTYPE_F32, "1");
    onnx_builder_text(body, "si: f32; ti: f32; xi: f32; "
                            "st = Mul(si, ti); u = Add(st, xi); v = Sub(u, outside); "
                            "-> v: f32");
    leat_attr attr = test_attr_graph("body", body);
    onnx_builder_node(b, "SequenceMap", "s,t,x", "y", &attr, 1);
    onnx_builder_container(b, true, "y", LEAT_DTYPE_SEQUENCE, LEAT_DTYPE_F32);
    float s[3] = {1, 2, 3}, t[3] = {4, 5, 6}, x = 10, outside = 0.5f;
    leat_array sp[2] = {test_f32(s, "1"), test_f32(s + 1, "2")};
    leat_array tp[2] = {test_f32(t, "1"), test_f32(t + 1, "2")};
    leat_array in[4] = {test_vector(LEAT_DTYPE_SEQUENCE, sp, 2),
                        test_vector(LEAT_DTYPE_SEQUENCE, tp, 2), test_f32(&x, "1"),
                        test_f32(&outside, "1")},
               out;
    test_run_open(&r, b);
    for (int round = 0; round < 2; round++) {
        test_run_ok(&r, in, 4, &out, 1);
        const float y0 = 13.5f, y1[2] = {19.5f, 27.5f};
        assert_int_equal(out.shape[0], 2);
        test_assert_f32(element(&out, 0), "1", &y0);
        test_assert_f32(element(&out, 1), "2", y1);
    }
    in[1] = test_vector(LEAT_DTYPE_SEQUENCE, tp, 1); /* shorter */
    memset(&out, 0, sizeof(out));
    assert_int_equal(leat_session_run(r.session, in, 4, &out, 1, &r.err), LEAT_INVALID);
    test_run_free(&r);
    onnx_builder_destroy(b);
    onnx_builder_destroy(body);
}

/* Failing allocations in a load and a run that makes and carries sequences. */
static leat_status collect_once(void *argument, const leat_allocator *allocator, leat_error *err)
{
    const leat_array *model = argument;
    leat_context_desc desc = {.struct_size = sizeof(desc), .allocator = allocator, .threads = 1};
    leat_context *context = NULL;
    leat_model *m = NULL;
    leat_session *session = NULL;
    int64_t trips = 3;
    float x[3] = {1, 2, 3};
    leat_array in[2] = {test_i64(&trips, ""), test_f32(x, "3")}, out[2] = {{0}};
    leat_status status = leat_context_create(&desc, &context, err);
    status =
        status ? status : leat_model_load_memory(context, model->data, model->bytes, NULL, &m, err);
    status = status ? status : leat_session_create(m, NULL, &session, err);
    status = status ? status : leat_session_run(session, in, 2, out, 2, err);
    leat_session_destroy(session);
    leat_model_destroy(m);
    leat_context_destroy(context);
    return status;
}

static void run_with_sequences_walks_failing_allocations(void **state)
{
    (void)state;
    onnx_builder *builder = build_collect();
    leat_array model = {0};
    model.data = (void *)onnx_builder_finish(builder, &model.bytes);
    test_walk_allocations(collect_once, &model);
    onnx_builder_destroy(builder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_sequence_edits_match_an_array),
        cmocka_unit_test(run_sequence_input_is_read_where_it_is),
        cmocka_unit_test(run_unsound_sequence_is_invalid),
        cmocka_unit_test(run_loop_carries_a_sequence),
        cmocka_unit_test(run_optional_chooses),
        cmocka_unit_test(run_split_to_sequence_cuts_as_asked),
        cmocka_unit_test(run_sequence_map_runs_the_body_on_each),
        cmocka_unit_test(run_with_sequences_walks_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

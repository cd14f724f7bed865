/* SPDX-License-Identifier: Apache-2.0 */
/* What models may be stepped: which input is what, states that are copied. */
#include "lib/sequences/decoder.h"

static leat_status create_of(onnx_builder *b, const leat_sequences_desc *desc, leat_error *err)
{
    test_run run;
    leat_sequences *sequences = NULL;
    test_run_load(&run, b);
    leat_status status = leat_sequences_create(run.model, desc, &sequences, err);
    assert_true((status == LEAT_OK) == (sequences != NULL));
    leat_sequences_destroy(sequences);
    test_run_free(&run);
    onnx_builder_destroy(b);
    return status;
}

/* present = past and what is new behind it. */
static onnx_builder *build_growing(void)
{
    const leat_attr axis = test_attr_int("axis", 1);
    onnx_builder *b = onnx_builder_create(18);
    onnx_builder_input(b, "x", LEAT_DTYPE_F32, "NxSx4");
    onnx_builder_input(b, "past_x", LEAT_DTYPE_F32, "NxPx4");
    onnx_builder_node(b, "Concat", "past_x,x", "present_x", &axis, 1);
    onnx_builder_output(b, "present_x", LEAT_DTYPE_F32, "NxTx4");
    return b;
}

static void models_that_cannot_be_stepped_are_refused(void **state)
{
    static weights w;
    leat_sequences_desc desc = {.struct_size = sizeof(desc), .capacity = 30};
    leat_error err;
    (void)state;
    make_weights(&w);
    assert_int_equal(create_of(build_growing(), &desc, &err), LEAT_UNSUPPORTED);
    assert_non_null(strstr(err.message, "grows"));
    assert_int_equal(create_of(build_decoder(&w, "cache", "after"), &desc, &err), LEAT_UNSUPPORTED);
    assert_int_equal(create_of(test_build_mlp(), &desc, &err), LEAT_UNSUPPORTED);
    /* Named they are found. */
    const leat_state_names names[2] = {{"cache.0.key", "after.0.key"},
                                       {"cache.0.value", "after.0.value"}};
    desc.states = names;
    desc.n_states = 2;
    desc.tokens = "input_ids";
    assert_int_equal(create_of(build_decoder(&w, "cache", "after"), &desc, &err), LEAT_OK);
    desc.n_states = 1;
    assert_int_equal(create_of(build_decoder(&w, "cache", "after"), &desc, &err), LEAT_INVALID);
    assert_non_null(strstr(err.message, "cache.0.value"));
    desc.n_states = 2;
    desc.lengths = "nothing";
    assert_int_equal(create_of(build_decoder(&w, "cache", "after"), &desc, &err), LEAT_NOT_FOUND);
    desc.lengths = NULL;
    desc.max_piece = 3;
    assert_int_equal(create_of(build_decoder(&w, "cache", "after"), &desc, &err), LEAT_INVALID);
    desc.max_piece = 0;
    desc.n_slots = 5000;
    assert_int_equal(create_of(build_decoder(&w, "cache", "after"), &desc, &err), LEAT_INVALID);
}

/* state' = state / 2 + scale * frame, in two layers that differ in sign; y = the first one's sum
 * over a row. The batch dimension of the state is its second. */
static onnx_builder *build_filter(void)
{
    static const float half = 0.5f, signs[2] = {1, -1};
    static const int64_t axis = 1;
    const leat_attr keep = test_attr_int("keepdims", 0), first = test_attr_int("axis", 0);
    static const int64_t zero = 0;
    onnx_builder *b = onnx_builder_create(18);
    onnx_builder_input(b, "frame", LEAT_DTYPE_F32, "NxS");
    onnx_builder_input(b, "state", LEAT_DTYPE_F32, "2xNx3");
    onnx_builder_input(b, "scale", LEAT_DTYPE_F32, "");
    onnx_builder_floats(b, "half", "", &half);
    onnx_builder_floats(b, "signs", "2x1x1", signs);
    onnx_builder_ints(b, "zero", "", &zero);
    onnx_builder_ints(b, "axis", "1", &axis);
    onnx_builder_node(b, "Mul", "state,half", "decayed", NULL, 0);
    onnx_builder_node(b, "Mul", "frame,scale", "scaled", NULL, 0);
    onnx_builder_node(b, "Mul", "scaled,signs", "input", NULL, 0);
    onnx_builder_node(b, "Add", "decayed,input", "stateN", NULL, 0);
    onnx_builder_node(b, "Gather", "stateN,zero", "layer", &first, 1);
    onnx_builder_node(b, "ReduceSum", "layer,axis", "y", &keep, 1);
    onnx_builder_output(b, "y", LEAT_DTYPE_F32, "N");
    onnx_builder_output(b, "stateN", LEAT_DTYPE_F32, "2xNx3");
    return b;
}

static void frames_carry_copied_states_along(void **state)
{
    float two = 2;
    const leat_state_names names = {"state", "stateN"};
    const leat_fixed_input scale = {"scale",
                                    {.dtype = LEAT_DTYPE_F32, .data = &two, .bytes = sizeof(two)}};
    leat_sequences_desc desc = {.struct_size = sizeof(desc),
                                .n_slots = 4,
                                .capacity = 5,
                                .frame = 3,
                                .states = &names,
                                .n_states = 1,
                                .fixed = &scale,
                                .n_fixed = 1};
    double sums[4] = {0};
    uint64_t ids[4] = {0};
    fixture f = {0};
    (void)state;
    random_state = 5;
    f.builder = build_filter();
    test_run_load(&f.run, f.builder);
    desc.n_fixed = 0;
    assert_int_equal(leat_sequences_create(f.run.model, &desc, &f.sequences, &f.err), LEAT_INVALID);
    desc.n_fixed = 1;
    assert_ok(leat_sequences_create(f.run.model, &desc, &f.sequences, &f.err), &f.err);
    for (int s = 0; s < 200; s++) {
        for (int i = 0; i < 4; i++) {
            float frame[6];
            const size_t n = 1 + random_below(2);
            if (ids[i] == 0 || random_below(10) == 0) {
                leat_sequences_leave(f.sequences, ids[i]);
                assert_ok(leat_sequences_join(f.sequences, &ids[i], &f.err), &f.err);
                sums[i] = 0;
            }
            if (random_below(3) == 0) {
                continue;
            }
            fill(frame, 6);
            for (size_t k = 0; k < n; k++) {
                const float *x = frame + 3 * k;
                sums[i] = sums[i] / 2 + 2 * ((double)x[0] + (double)x[1] + (double)x[2]);
            }
            assert_ok(leat_sequences_push(f.sequences, ids[i], frame, n, &f.err), &f.err);
        }
        leat_step now = {.struct_size = sizeof(now)};
        do {
            assert_ok(leat_sequences_step(f.sequences, &now, &f.err), &f.err);
            for (size_t k = 0; k < now.n_results; k++) {
                const int i = (int)(now.results[k].sequence % 4096);
                leat_array y;
                assert_int_equal(now.results[k].sequence, ids[i]);
                assert_ok(leat_sequences_result(f.sequences, ids[i], 0, &y, &f.err), &f.err);
                assert_true(y.rank == 1 && y.shape[0] == 1);
                assert_true(fabs((double)*(const float *)y.data - sums[i]) < 1e-5);
            }
        } while (now.positions > 0);
    }
    assert_true(stats_of(&f).fill_rows > 0 && stats_of(&f).moves > 0);
    close_decoder(&f);
}

/* Pieces are exact, and the last of each is the answer. */
static void pieces_of_copied_states_are_not_padded(void **state)
{
    const leat_state_names names = {"state", "stateN"};
    const leat_sequences_desc desc = {.struct_size = sizeof(desc),
                                      .n_slots = 2,
                                      .capacity = 50,
                                      .max_piece = 8,
                                      .states = &names,
                                      .n_states = 1};
    fixture f = {0};
    leat_array y;
    uint64_t id;
    float values[50];
    double sum = 0;
    (void)state;
    f.builder = build_sums();
    test_run_load(&f.run, f.builder);
    assert_ok(leat_sequences_create(f.run.model, &desc, &f.sequences, &f.err), &f.err);
    random_state = 3;
    fill(values, 50);
    assert_ok(leat_sequences_join(f.sequences, &id, &f.err), &f.err);
    for (int done = 0, n = 1; done + n <= 50; done += n, n = n % 11 + 1) {
        leat_step now = {.struct_size = sizeof(now)};
        assert_ok(leat_sequences_push(f.sequences, id, values + done, (size_t)n, &f.err), &f.err);
        while (now.n_results == 0) {
            assert_ok(leat_sequences_step(f.sequences, &now, &f.err), &f.err);
            assert_true(now.positions > 0);
        }
        for (int i = 0; i < n; i++) {
            sum += (double)values[done + i] + 0.5;
        }
        assert_ok(leat_sequences_result(f.sequences, id, 0, &y, &f.err), &f.err);
        assert_true(y.rank == 2 && y.shape[1] == 1 && y.bytes == sizeof(float));
        assert_true(fabs((double)*(const float *)y.data - sum) < 1e-5);
    }
    close_decoder(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_that_cannot_be_stepped_are_refused),
        cmocka_unit_test(frames_carry_copied_states_along),
        cmocka_unit_test(pieces_of_copied_states_are_not_padded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

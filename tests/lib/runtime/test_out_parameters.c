/* SPDX-License-Identifier: Apache-2.0 */
/* What comes out of calls that fail at their first look: NULL or zero, as leat.h says of all. */
#include "support/test.h"

#include <leat/metrics.h>
#include <leat/operator.h>
#include <leat/quantizer.h>

#include <string.h>

/* Memory that nobody may take for a result. */
static char poison;
#define POISON ((void *)&poison)

#define REFUSED(call) assert_int_equal(call, LEAT_INVALID)

static void handles_are_null(void **state)
{
    leat_model *model = POISON;
    leat_session *session = POISON;
    leat_tensor *tensor = POISON;
    leat_stream *stream = POISON;
    leat_batcher *batcher = POISON;
    leat_sequences *sequences = POISON;
    leat_quantizer *quantizer = POISON;
    leat_gpu_monitor *monitor = POISON;
    const leat_array array = {0};
    (void)state;
    REFUSED(leat_model_load(NULL, "x", NULL, &model, NULL));
    assert_null(model);
    model = POISON;
    REFUSED(leat_model_load_memory(NULL, "x", 1, NULL, &model, NULL));
    assert_null(model);
    REFUSED(leat_session_create(NULL, NULL, &session, NULL));
    assert_null(session);
    REFUSED(leat_tensor_create(NULL, "cpu", LEAT_DTYPE_F32, 0, NULL, &tensor, NULL));
    assert_null(tensor);
    tensor = POISON;
    REFUSED(leat_tensor_wrap(NULL, "cpu", &array, &tensor, NULL));
    assert_null(tensor);
    REFUSED(leat_stream_create(NULL, "cpu", &stream, NULL));
    assert_null(stream);
    stream = POISON;
    REFUSED(leat_stream_wrap(NULL, "cpu", NULL, &stream, NULL));
    assert_null(stream);
    REFUSED(leat_batcher_create(NULL, NULL, &batcher, NULL));
    assert_null(batcher);
    REFUSED(leat_sequences_create(NULL, NULL, &sequences, NULL));
    assert_null(sequences);
    REFUSED(leat_quantizer_create(NULL, NULL, &quantizer, NULL));
    assert_null(quantizer);
    REFUSED(leat_gpu_monitor_create(NULL, &monitor, NULL));
    assert_null(monitor);
}

static void numbers_and_arrays_are_zero(void **state)
{
    static const leat_array zero;
    leat_array array;
    uint64_t sequence = 7;
    size_t bytes = 7;
    (void)state;
    memset(&array, 0x5a, sizeof(array));
    REFUSED(leat_tensor_map(NULL, &array, NULL));
    assert_memory_equal(&array, &zero, sizeof(zero));
    memset(&array, 0x5a, sizeof(array));
    REFUSED(leat_sequences_result(NULL, 1, 0, &array, NULL));
    assert_memory_equal(&array, &zero, sizeof(zero));
    REFUSED(leat_sequences_join(NULL, &sequence, NULL));
    assert_int_equal(sequence, 0);
    REFUSED(leat_metrics_text(NULL, NULL, 1, &bytes, NULL));
    assert_int_equal(bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handles_are_null),
        cmocka_unit_test(numbers_and_arrays_are_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The file of tuning results, and the choice among ways. */
#include "support/test.h"

#include "base/clock.h"
#include "runtime/choose.h"
#include "support/file.h"
#include "support/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct place {
    leat_context *context;
    char directory[64];
    char path[128];
    int warnings;
} place;

static void count_warning(void *user, leat_log_level level, const char *line)
{
    (void)line;
    ((place *)user)->warnings += level <= LEAT_LOG_WARNING;
}

static void open_place(place *p)
{
    leat_error err = {0};
    memset(p, 0, sizeof(*p));
    strcpy(p->directory, "/tmp/leat-tuning-XXXXXX");
    assert_non_null(mkdtemp(p->directory));
    snprintf(p->path, sizeof(p->path), "%s/%s", p->directory, LT_TUNING_FILE);
    const leat_context_desc desc = {
        .struct_size = sizeof(desc), .log = count_warning, .log_user = p, .threads = 1};
    assert_ok(leat_context_create(&desc, &p->context, &err), &err);
}

static void close_place(place *p)
{
    leat_context_destroy(p->context);
    unlink(p->path);
    assert_int_equal(rmdir(p->directory), 0); /* no temporary file is left */
}

static lt_tuning *open_tuning(place *p)
{
    lt_tuning *tuning;
    leat_error err = {0};
    assert_ok(lt_tuning_create(p->context, p->directory, &tuning, &err), &err);
    return tuning;
}

static void assert_way(const lt_tuning *tuning, uint64_t key, const char *way)
{
    const char *found = lt_tuning_find(tuning, key);
    if (way == NULL) {
        assert_null(found);
    } else {
        assert_non_null(found);
        assert_string_equal(found, way);
    }
}

/* --- the file ----------------------------------------------------------------------------------
 */

static void saved_ways_are_found_again(void **state)
{
    place p;
    (void)state;
    open_place(&p);
    lt_tuning *t = open_tuning(&p);
    lt_tuning_save(t); /* nothing to save: no file */
    assert_int_not_equal(access(p.path, F_OK), 0);
    for (uint64_t i = 0; i < 300; i++) {
        lt_tuning_add(t, i * 0x9e3779b97f4a7c15u, i % 3 ? "one" : "other", (double)i, "a layer");
    }
    lt_tuning_add(t, 7, "no space", 1, "");
    lt_tuning_add(t, 8, "", 1, "");
    lt_tuning_add(t, 9, "a_name_that_is_longer_than_a_name_may_be", 1, "");
    lt_tuning_add(t, 10, "way", 1e300,
                  "a label that is much longer than a label may be, and so is "
                  "cut: 0123456789 0123456789 0123456789 0123456789");
    lt_tuning_add(t, 11, "way", -1, "line\nend");
    lt_tuning_save(t);
    lt_tuning_destroy(t);
    t = open_tuning(&p);
    for (uint64_t i = 0; i < 300; i++) {
        assert_way(t, i * 0x9e3779b97f4a7c15u, i % 3 ? "one" : "other");
    }
    for (uint64_t i = 7; i < 12; i++) {
        assert_way(t, i, i < 10 ? NULL : "way");
    }
    lt_tuning_destroy(t);
    assert_int_equal(p.warnings, 0);
    close_place(&p);
}

static void sessions_keep_each_others_ways(void **state)
{
    place p;
    (void)state;
    open_place(&p);
    lt_tuning *a = open_tuning(&p), *b = open_tuning(&p);
    lt_tuning_add(a, 1, "a", 1, "");
    lt_tuning_add(a, 2, "a", 1, "");
    lt_tuning_add(b, 2, "b", 1, "");
    lt_tuning_add(b, 3, "b", 1, "");
    lt_tuning_save(a);
    lt_tuning_save(b);
    lt_tuning_destroy(a);
    lt_tuning_destroy(b);
    a = open_tuning(&p);
    assert_way(a, 1, "a");
    assert_way(a, 2, "b");
    assert_way(a, 3, "b");
    lt_tuning_destroy(a);
    close_place(&p);
}

/* Every shorter file, and every file with one byte changed. */
static void damaged_file_is_ignored_and_replaced(void **state)
{
    place p;
    size_t bytes;
    (void)state;
    open_place(&p);
    lt_tuning *t = open_tuning(&p);
    lt_tuning_add(t, 1, "way", 12, "Conv");
    lt_tuning_add(t, 2, "other", 34, "");
    lt_tuning_save(t);
    lt_tuning_destroy(t);
    char *text = test_read_file(p.path, &bytes);
    for (size_t i = 0; i < 2 * bytes; i++) {
        bool cut = i < bytes;
        text[i % bytes] ^= cut ? 0 : 1;
        test_write_file(p.path, text, cut ? i : bytes);
        text[i % bytes] ^= cut ? 0 : 1;
        p.warnings = 0;
        t = open_tuning(&p);
        assert_way(t, 1, NULL);
        assert_way(t, 2, NULL);
        assert_int_equal(p.warnings, 1);
        lt_tuning_add(t, 3, "new", 1, "");
        lt_tuning_save(t);
        lt_tuning_destroy(t);
        t = open_tuning(&p);
        assert_way(t, 3, "new");
        lt_tuning_destroy(t);
    }
    free(text);
    close_place(&p);
}

/* Lines that are wrong under a right sum. */
static void foreign_lines_are_ignored(void **state)
{
    static const char *const lines[] = {
        "0000000000000001 way 12",                     /* no label's space */
        "000000000000001 way 12 short key",            /* 15 digits */
        "000000000000000G way 12 no hexadecimal",      /* */
        "0000000000000001  12 no way",                 /* */
        "0000000000000001 way  no number",             /* */
        "0000000000000001 way 1x2 no number",          /* */
        "0000000000000001 way 1234567890123456 large", /* */
        "0000000000000001 a_name_that_is_longer_than_a_name_may_be 1 x",
        "0000000000000001 way 1 tab\there",
        "",
    };
    place p;
    (void)state;
    open_place(&p);
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        char text[512];
        int n = snprintf(text, sizeof(text), "leat tuning 1\n%s\n", lines[i]);
        uint64_t sum = lt_hash(LT_HASH_START, text, (size_t)n);
        n += snprintf(text + n, sizeof(text) - (size_t)n, "end %016llx\n", (unsigned long long)sum);
        test_write_file(p.path, text, (size_t)n);
        p.warnings = 0;
        lt_tuning *t = open_tuning(&p);
        assert_way(t, 1, NULL);
        assert_int_equal(p.warnings, 1);
        lt_tuning_destroy(t);
    }
    close_place(&p);
}

static void useless_directory_is_a_warning(void **state)
{
    place p;
    (void)state;
    open_place(&p);
    assert_int_equal(mkdir(p.path, 0700), 0); /* a directory where the file should be */
    lt_tuning *t = open_tuning(&p);
    assert_int_equal(p.warnings, 1);
    lt_tuning_add(t, 1, "way", 1, "");
    lt_tuning_save(t);
    assert_true(p.warnings >= 2);
    assert_way(t, 1, "way"); /* it serves this session all the same */
    lt_tuning_destroy(t);
    assert_int_equal(rmdir(p.path), 0);
    leat_error err = {0};
    assert_ok(lt_tuning_create(p.context, "/nowhere/at/all", &t, &err), &err);
    p.warnings = 0;
    lt_tuning_add(t, 1, "way", 1, "");
    lt_tuning_save(t);
    assert_int_equal(p.warnings, 1);
    lt_tuning_save(t); /* not tried again */
    assert_int_equal(p.warnings, 1);
    lt_tuning_destroy(t);
    close_place(&p);
}

/* --- the choice --------------------------------------------------------------------------------
 */

/* A node of one f32 input and output, and ways that take their time. */
typedef struct work {
    uint64_t ns; /* a run takes; 0: prepare fails */
    int prepared;
} work;

static leat_status spend(const void *state, const leat_kernel_args *args, leat_error *err)
{
    uint64_t start = lt_clock_ns();
    (void)err;
    ((float *)args->outputs[0])[0] = ((const float *)args->inputs[0])[0];
    memset(args->workspace, 1, 100);
    while (lt_clock_ns() - start < ((const work *)state)->ns) {
    }
    return LEAT_OK;
}

static leat_status prepare_work(const leat_kernel_node *node, void *device, const leat_host *host,
                                leat_plan *plan, const void *argument, leat_kernel *out_kernel,
                                leat_error *err)
{
    work *w = (work *)argument;
    (void)node;
    (void)device;
    (void)host;
    (void)plan;
    (void)err;
    w->prepared++;
    if (w->ns == 0) {
        return LEAT_UNSUPPORTED;
    }
    *out_kernel =
        (leat_kernel){.name = "work", .launch = spend, .state = argument, .workspace_bytes = 100};
    return LEAT_OK;
}

typedef struct chooser {
    place place;
    lt_tuning *tuning;
    leat_value values[2];
    leat_node node;
    work works[3];
    leat_way ways[3];
} chooser;

static const uint32_t first[] = {0}, second[] = {1};

static void open_chooser(chooser *c)
{
    memset(c, 0, sizeof(*c));
    open_place(&c->place);
    c->tuning = open_tuning(&c->place);
    for (int i = 0; i < 2; i++) {
        c->values[i] = (leat_value){.dtype = LEAT_DTYPE_F32, .rank = 2, .shape = {3, 5}};
    }
    c->node = (leat_node){.op = "Work",
                          .domain = "",
                          .name = "w",
                          .n_inputs = 1,
                          .n_outputs = 1,
                          .inputs = first,
                          .outputs = second};
    static const char *const names[] = {"slow", "fast", "refused"};
    static const uint64_t ns[] = {3000000, 100000, 0};
    for (int i = 0; i < 3; i++) {
        c->works[i].ns = ns[i];
        /* The estimates say the opposite. */
        c->ways[i] = (leat_way){names[i], 10.0 * (i + 1), prepare_work, &c->works[i]};
    }
}

static void close_chooser(chooser *c)
{
    lt_tuning_destroy(c->tuning);
    close_place(&c->place);
}

static size_t choose(chooser *c, lt_tuning *tuning, uint64_t constant_bytes, size_t n_ways)
{
    const lt_compile_context context = {.tuning = tuning, .constant_bytes = constant_bytes};
    const leat_kernel_node node = {&c->node, c->values};
    leat_plan plan;
    lt_host_plan_init(&plan, lt_device_cpu(c->place.context), &context);
    size_t chosen;
    leat_error err = {0};
    assert_ok(lt_choose(&plan, &node, c->ways, n_ways, &chosen, &err), &err);
    lt_host_plan_destroy(&plan);
    return chosen;
}

static void choice_without_tuning_is_the_estimates(void **state)
{
    chooser c;
    (void)state;
    open_chooser(&c);
    assert_int_equal(choose(&c, NULL, 0, 3), 0);
    assert_int_equal(c.works[0].prepared, 0);
    c.ways[2].cost_ns = 1;
    assert_int_equal(choose(&c, NULL, 0, 3), 2);
    close_chooser(&c);
}

static void choice_is_measured_once_and_kept(void **state)
{
    chooser c;
    leat_memory_info before, after;
    (void)state;
    open_chooser(&c);
    leat_context_memory(c.place.context, &before);
    assert_int_equal(choose(&c, c.tuning, 0, 3), 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(c.works[i].prepared, 1);
    }
    assert_int_equal(choose(&c, c.tuning, 0, 3), 1);
    assert_int_equal(c.works[0].prepared, 1);
    /* Another session. */
    lt_tuning_save(c.tuning);
    lt_tuning *later = open_tuning(&c.place);
    assert_int_equal(choose(&c, later, 0, 3), 1);
    assert_int_equal(c.works[0].prepared, 1);
    /* Another shape, and a model that does not fit the caches, are measured on their own. */
    c.values[0].shape[0] = c.values[1].shape[0] = 4;
    assert_int_equal(choose(&c, later, 0, 3), 1);
    assert_int_equal(c.works[0].prepared, 2);
    assert_int_equal(choose(&c, later, (uint64_t)1 << 40, 3), 1);
    assert_int_equal(c.works[0].prepared, 3);
    lt_tuning_destroy(later);
    leat_context_memory(c.place.context, &after);
    assert_int_equal(after.live_blocks - before.live_blocks, 1); /* the table of c.tuning */
    close_chooser(&c);
}

static void choice_falls_back_to_the_estimates(void **state)
{
    chooser c;
    (void)state;
    open_chooser(&c);
    c.works[0].ns = c.works[1].ns = 0; /* nothing can be measured */
    assert_int_equal(choose(&c, c.tuning, 0, 3), 0);
    c.values[0].dtype = LEAT_DTYPE_STRING; /* no scratch data */
    c.works[1].ns = 1;
    c.works[1].prepared = 0;
    assert_int_equal(choose(&c, c.tuning, 0, 3), 0);
    assert_int_equal(c.works[1].prepared, 0);
    close_chooser(&c);
}

typedef struct stopper {
    uint64_t calls, stop_at;
} stopper;

static int stop_tuning(void *user, const char *stage, uint64_t done, uint64_t total)
{
    stopper *s = user;
    assert_string_equal(stage, "tune");
    assert_int_equal(done, s->calls);
    assert_int_equal(total, 3);
    return s->calls++ == s->stop_at;
}

static void choice_is_cancelled_by_the_progress_callback(void **state)
{
    chooser c;
    (void)state;
    open_chooser(&c);
    const leat_kernel_node node = {&c.node, c.values};
    for (uint64_t stop_at = 0; stop_at <= 3; stop_at++) {
        stopper s = {.stop_at = stop_at};
        const lt_compile_context context = {
            .tuning = c.tuning, .progress = stop_tuning, .progress_user = &s};
        leat_error err = {0};
        leat_plan plan;
        size_t chosen;
        lt_host_plan_init(&plan, lt_device_cpu(c.place.context), &context);
        assert_int_equal(lt_choose(&plan, &node, c.ways, 3, &chosen, &err),
                         stop_at < 3 ? LEAT_CANCELLED : LEAT_OK);
        assert_way(c.tuning, lt_choose_key(&plan, &node, c.ways, 3), stop_at < 3 ? NULL : "fast");
        lt_host_plan_destroy(&plan);
    }
    close_chooser(&c);
}

static void recorded_way_that_is_not_offered_is_measured_again(void **state)
{
    chooser c;
    (void)state;
    open_chooser(&c);
    const leat_kernel_node node = {&c.node, c.values};
    leat_plan plan;
    lt_host_plan_init(&plan, lt_device_cpu(c.place.context), &(lt_compile_context){0});
    uint64_t key = lt_choose_key(&plan, &node, c.ways, 3);
    lt_host_plan_destroy(&plan);
    lt_tuning_add(c.tuning, key, "unknown", 1, "");
    assert_int_equal(choose(&c, c.tuning, 0, 3), 1);
    assert_way(c.tuning, key, "fast");
    close_chooser(&c);
}

/* --- whole sessions ----------------------------------------------------------------------------
 */

static void session_with_cache_directory_writes_and_uses_it(void **state)
{
    static float data[16 * 12 * 12], weights[16 * 16 * 9];
    static const int64_t pads[4] = {1, 1, 1, 1};
    const leat_attr attr = test_attr_ints("pads", pads, 4);
    char *text[2];
    place p;
    (void)state;
    open_place(&p);
    for (size_t i = 0; i < sizeof(weights) / sizeof(weights[0]); i++) {
        weights[i] = (float)(i % 7) - 3;
    }
    for (int i = 0; i < 2; i++) {
        onnx_builder *b = onnx_builder_create(17);
        onnx_builder_input(b, "x", LEAT_DTYPE_F32, "1x16x12x12");
        onnx_builder_floats(b, "w", "16x16x3x3", weights);
        onnx_builder_node(b, "Conv", "x,w", "c", &attr, 1);
        onnx_builder_node(b, "Conv", "c,w", "d", &attr, 1); /* measured with the one before */
        onnx_builder_node(b, "Relu", "d", "y", NULL, 0);
        onnx_builder_output(b, "y", LEAT_DTYPE_F32, "1x16x12x12");
        test_run r;
        leat_array in = test_f32(data, "1x16x12x12"), out = {0};
        const leat_session_desc desc = {.struct_size = sizeof(desc),
                                        .cache_directory = p.directory};
        test_run_load(&r, b);
        test_run_session(&r, &desc);
        assert_ok(leat_session_run(r.session, &in, 1, &out, 1, &r.err), &r.err);
        size_t bytes;
        text[i] = test_read_file(p.path, &bytes);
        test_run_free(&r);
        onnx_builder_destroy(b);
    }
    assert_non_null(strstr(text[0], "Conv 1x12x12x16 16x16x3x3\n"));
    assert_string_equal(text[0], text[1]);
    free(text[0]);
    free(text[1]);
    close_place(&p);
}

static leat_status attempt(void *argument, const leat_allocator *allocator, leat_error *err)
{
    const place *p = argument;
    const leat_context_desc desc = {
        .struct_size = sizeof(desc), .allocator = allocator, .threads = 1};
    leat_context *context;
    leat_status status = leat_context_create(&desc, &context, err);
    lt_tuning *tuning = NULL;
    if (status == LEAT_OK) {
        status = lt_tuning_create(context, p->directory, &tuning, err);
    }
    if (status == LEAT_OK) {
        lt_tuning_add(tuning, 1, "way", 1, "");
        lt_tuning_save(tuning);
    }
    lt_tuning_destroy(tuning);
    leat_context_destroy(context);
    return status;
}

static void failing_allocations_leak_nothing(void **state)
{
    place p;
    (void)state;
    open_place(&p);
    lt_tuning *t = open_tuning(&p);
    lt_tuning_add(t, 5, "way", 1, "");
    lt_tuning_save(t);
    lt_tuning_destroy(t);
    test_walk_allocations(attempt, &p);
    close_place(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(saved_ways_are_found_again),
        cmocka_unit_test(sessions_keep_each_others_ways),
        cmocka_unit_test(damaged_file_is_ignored_and_replaced),
        cmocka_unit_test(foreign_lines_are_ignored),
        cmocka_unit_test(useless_directory_is_a_warning),
        cmocka_unit_test(choice_without_tuning_is_the_estimates),
        cmocka_unit_test(choice_is_measured_once_and_kept),
        cmocka_unit_test(choice_falls_back_to_the_estimates),
        cmocka_unit_test(choice_is_cancelled_by_the_progress_callback),
        cmocka_unit_test(recorded_way_that_is_not_offered_is_measured_again),
        cmocka_unit_test(session_with_cache_directory_writes_and_uses_it),
        cmocka_unit_test(failing_allocations_leak_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

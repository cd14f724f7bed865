/* SPDX-License-Identifier: Apache-2.0 */
/* leat test: ONNX backend-test folders (model.onnx, test_data_set_N/{input,output}_I.pb), or
 * folders of such folders. */
#include "leat/tool.h"

#include "base/error.h"
#include "base/file.h"
#include "base/tensor.h"
#include "onnx/reader.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ONNX's own runner: onnx.backend.test.runner, numpy.testing.assert_allclose. */
#define DEFAULT_RTOL 1e-3
#define DEFAULT_ATOL 1e-7

typedef struct totals {
    int passed, failed, skipped;
} totals;

typedef struct tester {
    const options *o;
    leat_context *context;
    totals totals;
    char why[512]; /* of the case at hand */
} tester;

static bool exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

/* --- comparing ----------------------------------------------------------------------------------
 */

static float half(uint16_t h)
{
    int e = h >> 10 & 31, m = h & 1023;
    float v = e == 31 ? (m ? NAN : INFINITY) : ldexpf((float)(e ? 1024 + m : m), (e ? e : 1) - 25);
    return h & 0x8000 ? -v : v;
}

static double float_at(const leat_array *a, size_t i)
{
    uint32_t bits;
    float f;
    switch (a->dtype) {
    case LEAT_DTYPE_F32:
        return (double)((const float *)a->data)[i];
    case LEAT_DTYPE_F64:
        return ((const double *)a->data)[i];
    case LEAT_DTYPE_F16:
        return (double)half(((const uint16_t *)a->data)[i]);
    default:
        bits = (uint32_t)((const uint16_t *)a->data)[i] << 16;
        memcpy(&f, &bits, sizeof(f));
        return (double)f;
    }
}

static bool compare_floats(tester *t, const leat_array *got, const leat_array *want, size_t count)
{
    double rtol = t->o->rtol >= 0 ? t->o->rtol : DEFAULT_RTOL;
    double atol = t->o->atol >= 0 ? t->o->atol : DEFAULT_ATOL;
    for (size_t i = 0; i < count; i++) {
        double g = float_at(got, i), w = float_at(want, i);
        bool same = g == w || (isnan(g) && isnan(w)) || fabs(g - w) <= atol + rtol * fabs(w);
        if (!same) {
            snprintf(t->why, sizeof(t->why), "element %zu of %zu is %.9g, expected %.9g", i, count,
                     g, w);
            return false;
        }
    }
    return true;
}

static bool compare_strings(tester *t, const leat_array *got, const leat_array *want, size_t count)
{
    const leat_string *g = got->data, *w = want->data;
    for (size_t i = 0; i < count; i++) {
        if (g[i].bytes != w[i].bytes || memcmp(g[i].data, w[i].data, w[i].bytes) != 0) {
            snprintf(t->why, sizeof(t->why), "string %zu differs", i);
            return false;
        }
    }
    return true;
}

static bool compare(tester *t, const leat_array *got, const leat_array *want);

/* Sequences and optionals: element by element. */
static bool compare_elements(tester *t, const leat_array *got, const leat_array *want, size_t count)
{
    const leat_array *g = got->data, *w = want->data;
    for (size_t i = 0; i < count; i++) {
        if (!compare(t, &g[i], &w[i])) {
            return false;
        }
    }
    return true;
}

static bool compare(tester *t, const leat_array *got, const leat_array *want)
{
    char a[128], b[128];
    size_t count = 0;
    if (got->dtype != want->dtype ||
        !lt_shape_equal(got->rank, got->shape, want->rank, want->shape)) {
        lt_shape_text(got->rank, got->shape, a, sizeof(a));
        lt_shape_text(want->rank, want->shape, b, sizeof(b));
        snprintf(t->why, sizeof(t->why), "%s[%s] instead of %s[%s]", leat_dtype_name(got->dtype), a,
                 leat_dtype_name(want->dtype), b);
        return false;
    }
    (void)lt_shape_count(got->rank, got->shape, &count);
    switch (got->dtype) {
    case LEAT_DTYPE_F32:
    case LEAT_DTYPE_F64:
    case LEAT_DTYPE_F16:
    case LEAT_DTYPE_BF16:
        return compare_floats(t, got, want, count);
    case LEAT_DTYPE_STRING:
        return compare_strings(t, got, want, count);
    case LEAT_DTYPE_SEQUENCE:
    case LEAT_DTYPE_OPTIONAL:
        return compare_elements(t, got, want, count);
    default:
        break;
    }
    size_t bytes = leat_dtype_bytes(got->dtype, count);
    for (size_t i = 0; i < bytes; i++) {
        unsigned g = ((const uint8_t *)got->data)[i], w = ((const uint8_t *)want->data)[i];
        if (g != w) {
            size_t element = lt_dtype_bits(got->dtype) / 8;
            snprintf(t->why, sizeof(t->why), "element %zu of %zu (%s) differs: byte %02x, not %02x",
                     element ? i / element : i, count, leat_dtype_name(got->dtype), g, w);
            return false;
        }
    }
    return true;
}

/* --- data sets ----------------------------------------------------------------------------------
 */

static leat_status read_pb(lt_arena *arena, const char *path, leat_dtype dtype, leat_array *out,
                           leat_error *err)
{
    lt_file_map map;
    leat_status status = lt_file_map_open(path, &map, err);
    if (status != LEAT_OK) {
        return status;
    }
    void *copy = lt_arena_copy(arena, map.data, map.bytes);
    status = copy ? lt_onnx_read_value(arena, dtype, copy, map.bytes, out, err)
                  : lt_fail(err, LEAT_NO_MEMORY, "no memory");
    lt_file_map_close(&map);
    return status == LEAT_OK ? LEAT_OK : lt_fail_within(err, status, "%s", path);
}

/* Reads PREFIX_0.pb, PREFIX_1.pb, ...: values of what `ios` (n_ios of them) says. */
static leat_status read_set(lt_arena *arena, const char *set, const char *prefix,
                            const leat_io *ios, size_t n_ios, leat_array *out, size_t *count,
                            leat_error *err)
{
    char path[4096];
    leat_status status = LEAT_OK;
    for (*count = 0; *count < MAX_LIST && status == LEAT_OK; ++*count) {
        snprintf(path, sizeof(path), "%s/%s_%zu.pb", set, prefix, *count);
        if (!exists(path)) {
            break;
        }
        leat_dtype dtype = *count < n_ios ? ios[*count].dtype : LEAT_DTYPE_UNDEFINED;
        status = read_pb(arena, path, dtype, &out[*count], err);
    }
    return status;
}

/* Runs one data set; *out_good is false for a mismatch, with the reason in t->why. */
static leat_status run_set(tester *t, leat_session *session, const leat_model_signature *io,
                           const char *set, bool *out_good, leat_error *err)
{
    lt_memory memory;
    lt_arena arena;
    leat_array in[MAX_LIST] = {{0}}, want[MAX_LIST] = {{0}}, got[MAX_LIST] = {{0}};
    size_t n_in = 0, n_want = 0;
    lt_memory_init(&memory, NULL, 0);
    lt_arena_init(&arena, &memory, 0);
    leat_status status = read_set(&arena, set, "input", io->inputs, io->n_inputs, in, &n_in, err);
    if (status == LEAT_OK) {
        status = read_set(&arena, set, "output", io->outputs, io->n_outputs, want, &n_want, err);
    }
    if (status == LEAT_OK) {
        status = leat_session_run(session, in, n_in, got, io->n_outputs, err);
    }
    *out_good = status == LEAT_OK;
    for (size_t i = 0; i < n_want && i < io->n_outputs && *out_good; i++) {
        *out_good = compare(t, &got[i], &want[i]);
    }
    lt_arena_destroy(&arena);
    return status;
}

static leat_status run_sets(tester *t, const char *folder, leat_model *model, bool *out_good,
                            leat_error *err)
{
    leat_session *session = NULL;
    leat_session_desc desc = {
        .struct_size = sizeof(desc), .devices = &t->o->device, .n_devices = 1};
    leat_status status = leat_session_create(model, &desc, &session, err);
    const leat_model_signature *io = leat_model_io(model);
    *out_good = status == LEAT_OK && io->n_outputs <= MAX_LIST;
    for (int i = 0; status == LEAT_OK && *out_good; i++) {
        char set[4096];
        snprintf(set, sizeof(set), "%s/test_data_set_%d", folder, i);
        if (!exists(set)) {
            break;
        }
        status = run_set(t, session, io, set, out_good, err);
    }
    leat_session_destroy(session);
    return status;
}

/* --- folders ------------------------------------------------------------------------------------
 */

static void test_folder(tester *t, const char *folder)
{
    char path[4096];
    leat_error err = {0};
    leat_model *model = NULL;
    bool good = false;
    const char *name = strrchr(folder, '/');
    name = name ? name + 1 : folder;
    snprintf(path, sizeof(path), "%s/model.onnx", folder);
    t->why[0] = '\0';
    leat_status status = leat_model_load(t->context, path, NULL, &model, &err);
    if (status == LEAT_OK) {
        status = run_sets(t, folder, model, &good, &err);
    }
    leat_model_destroy(model);
    if (status == LEAT_UNSUPPORTED) {
        printf("skipped %s: %s\n", name, err.message);
        t->totals.skipped++;
    } else if (status != LEAT_OK || !good) {
        printf("FAILED  %s: %s\n", name, status != LEAT_OK ? err.message : t->why);
        t->totals.failed++;
    } else {
        t->totals.passed++;
    }
    fflush(stdout);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void walk(tester *t, const char *folder, int depth)
{
    char path[4096];
    struct dirent **entries;
    snprintf(path, sizeof(path), "%s/model.onnx", folder);
    if (exists(path)) {
        test_folder(t, folder);
        return;
    }
    int n = depth < 8 ? scandir(folder, &entries, NULL, by_name) : -1;
    for (int i = 0; i < n; i++) {
        struct stat info;
        snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.' && stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
            walk(t, path, depth + 1);
        }
        free(entries[i]);
    }
    if (n >= 0) {
        free(entries);
    }
}

int cmd_test(const options *o)
{
    tester t = {.o = o};
    leat_error err = {0};
    leat_context_desc desc = {.struct_size = sizeof(desc),
                              .plugin_directory = o->plugins,
                              .threads = o->n_threads ? o->threads[0] : 0};
    leat_status status = leat_context_create(&desc, &t.context, &err);
    if (status != LEAT_OK) {
        return report_error(o, status, &err);
    }
    for (int i = 0; i < o->n_paths; i++) {
        totals before = t.totals;
        walk(&t, o->paths[i], 0);
        if (memcmp(&before, &t.totals, sizeof(before)) == 0) {
            fprintf(stderr, "leat test: no model.onnx in '%s' or below it\n", o->paths[i]);
            t.totals.failed++;
        }
    }
    leat_context_destroy(t.context);
    printf("%d passed, %d failed, %d skipped\n", t.totals.passed, t.totals.failed,
           t.totals.skipped);
    return t.totals.failed ? EXIT_FAILED : EXIT_FINE;
}

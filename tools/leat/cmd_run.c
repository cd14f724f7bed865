/* SPDX-License-Identifier: Apache-2.0 */
/* leat run: one run, outputs printed in short or written as .npy. */
#include "leat/tool.h"

#include "base/npy.h"
#include "base/tensor.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static bool make_directory(const char *path)
{
    struct stat info;
    if (mkdir(path, 0777) == 0) {
        return true;
    }
    if (errno == EEXIST && stat(path, &info) == 0) {
        errno = ENOTDIR;
        return S_ISDIR(info.st_mode);
    }
    return false;
}

/* DIR/NAME.npy, slashes of the name as underscores. */
static leat_status write_output(inputs *in, const char *directory, const char *name,
                                const leat_array *array, leat_error *err)
{
    char path[4096];
    int n = snprintf(path, sizeof(path), "%s/%s.npy", directory, name);
    size_t start = strlen(directory) + 1;
    for (size_t i = start; n > 0 && i < sizeof(path) && path[i] != '\0'; i++) {
        path[i] = path[i] == '/' ? '_' : path[i];
    }
    return lt_npy_write(&in->memory, path, array, err);
}

static double element(const leat_array *a, size_t i)
{
    switch (a->dtype) {
    case LEAT_DTYPE_F32:
        return (double)((const float *)a->data)[i];
    case LEAT_DTYPE_F64:
        return ((const double *)a->data)[i];
    case LEAT_DTYPE_I64:
        return (double)((const int64_t *)a->data)[i];
    case LEAT_DTYPE_I32:
        return ((const int32_t *)a->data)[i];
    case LEAT_DTYPE_U8:
    case LEAT_DTYPE_BOOL:
        return ((const uint8_t *)a->data)[i];
    case LEAT_DTYPE_I8:
        return ((const int8_t *)a->data)[i];
    default:
        return 0;
    }
}

static void print_output(const options *o, const char *name, const leat_array *a, bool first)
{
    char shape[160];
    size_t count = 0;
    double low = 0, high = 0, sum = 0;
    (void)lt_shape_count(a->rank, a->shape, &count);
    for (size_t i = 0; i < count; i++) {
        double v = element(a, i);
        low = i == 0 || v < low ? v : low;
        high = i == 0 || v > high ? v : high;
        sum += v;
    }
    lt_shape_text(a->rank, a->shape, shape, sizeof(shape));
    if (!o->json) {
        printf("%-32s %s[%s]  least %.6g  mean %.6g  most %.6g\n", name, leat_dtype_name(a->dtype),
               shape, low, count ? sum / (double)count : 0, high);
        return;
    }
    printf("%s{\"name\": ", first ? "" : ", ");
    json_string(stdout, name);
    printf(", \"dtype\": \"%s\", \"shape\": [", leat_dtype_name(a->dtype));
    for (int32_t i = 0; i < a->rank; i++) {
        printf("%s%lld", i ? ", " : "", (long long)a->shape[i]);
    }
    printf("], \"min\": %.9g, \"mean\": %.9g, \"max\": %.9g}", low, count ? sum / (double)count : 0,
           high);
}

int cmd_run(const options *o)
{
    opened all;
    inputs in;
    leat_error err = {0};
    leat_array out[MAX_LIST] = {{0}};
    int code = open_all(o, o->paths[0], o->n_threads ? o->threads[0] : 0, false, &all);
    if (code != EXIT_FINE) {
        return code;
    }
    const leat_model_signature *io = leat_model_io(all.model);
    leat_status status = inputs_make(o, all.model, 0, &in, &err);
    double start = now_ms();
    if (status == LEAT_OK) {
        status = leat_session_run(all.session, in.arrays, in.count, out, io->n_outputs, &err);
    }
    double run_ms = now_ms() - start;
    if (status == LEAT_OK && o->out_directory && !make_directory(o->out_directory)) {
        fprintf(stderr, "leat run: cannot make '%s': %s\n", o->out_directory, strerror(errno));
        code = EXIT_FAILED;
    }
    if (status == LEAT_OK && code == EXIT_FINE && o->json) {
        printf("{\"model\": ");
        json_string(stdout, o->paths[0]);
        printf(", \"load_ms\": %.3f, \"first_ms\": %.3f, \"outputs\": [", all.load_ms, run_ms);
    }
    for (size_t i = 0; i < io->n_outputs && status == LEAT_OK && code == EXIT_FINE; i++) {
        print_output(o, io->outputs[i].name, &out[i], i == 0);
        if (o->out_directory != NULL) {
            status = write_output(&in, o->out_directory, io->outputs[i].name, &out[i], &err);
        }
    }
    if (status == LEAT_OK && code == EXIT_FINE && o->json) {
        printf("]}\n");
    }
    code = status != LEAT_OK ? report_run_error(o, &in, status, &err) : code;
    inputs_free(&in);
    close_all(&all);
    return code;
}

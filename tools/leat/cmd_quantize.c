/* SPDX-License-Identifier: Apache-2.0 */
/* leat quantize: an f32 model in, a standard ONNX model with 8-bit products out, and a report. */
#include "leat/tool.h"

#include <errno.h>
#include <leat/quantizer.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

/* --- progress -----------------------------------------------------------------------------------
 */

static int show_progress(void *user, const char *stage, uint64_t done, uint64_t total)
{
    (void)user;
    fprintf(stderr, "\r\033[K%s %llu of %llu", stage, (unsigned long long)done,
            (unsigned long long)total);
    fflush(stderr);
    return 0;
}

static void end_progress(bool shown)
{
    if (shown) {
        fputs("\r\033[K", stderr);
    }
}

/* --- the report ---------------------------------------------------------------------------------
 */

static const char *method_name(leat_quantize_method method)
{
    static const char *const names[] = {"auto", "dynamic", "static", "weights"};
    return names[method];
}

static const char *range_name(leat_quantize_range range)
{
    static const char *const names[] = {"", "min-max", "percentile", "mse", "entropy"};
    return names[range];
}

/* A number, or null for NaN and infinity, which JSON lacks. */
static void json_number(FILE *to, const char *name, double value)
{
    fprintf(to, isfinite(value) ? ", \"%s\": %.9g" : ", \"%s\": null", name, value);
}

static void write_json(FILE *to, const options *o, const leat_quantizer_report *r)
{
    fputs("{\"model\": ", to);
    json_string(to, o->paths[0]);
    fputs(", \"output\": ", to);
    json_string(to, o->paths[1]);
    fprintf(to, ", \"method\": \"%s\", \"batches\": %llu, \"measured\": %llu",
            method_name(r->method), (unsigned long long)r->n_batches,
            (unsigned long long)r->n_measured);
    fprintf(to, ", \"bytes_before\": %llu, \"bytes_after\": %llu",
            (unsigned long long)r->bytes_before, (unsigned long long)r->bytes_after);
    json_number(to, "sqnr_db", r->sqnr_db);
    fprintf(to, ", \"drop_measure\": \"%s\"", r->drop_measure);
    json_number(to, "drop", r->drop);
    fprintf(to, ", \"ms_before\": %.6g, \"ms_after\": %.6g, \"ms_predicted\": %.6g",
            (double)r->ns_before / 1e6, (double)r->ns_after / 1e6, (double)r->ns_predicted / 1e6);
    fputs(", \"layers\": [", to);
    for (size_t i = 0; i < r->n_layers; i++) {
        const leat_quantized_layer *l = &r->layers[i];
        fputs(i ? ", {\"name\": " : "{\"name\": ", to);
        json_string(to, l->name);
        fprintf(to, ", \"op\": \"%s\", \"bits\": %d, \"reason\": \"%s\", \"range\": \"%s\"", l->op,
                l->bits, l->reason, range_name(l->range));
        json_number(to, "scale", (double)l->scale);
        fprintf(to, ", \"zero_point\": %d", l->zero_point);
        json_number(to, "weight_sqnr_db", l->weight_sqnr_db);
        json_number(to, "sqnr_db", l->sqnr_db);
        json_number(to, "own_sqnr_db", l->own_sqnr_db);
        fprintf(to, ", \"us_before\": %.6g, \"us_after\": %.6g", (double)l->ns_before / 1e3,
                (double)l->ns_after / 1e3);
        fprintf(to, ", \"flops\": %llu, \"weight_bytes\": %llu}", (unsigned long long)l->flops,
                (unsigned long long)l->weight_bytes);
    }
    fputs("]}\n", to);
}

static void decibels(FILE *to, double value)
{
    if (isnan(value)) {
        fprintf(to, " %8s", "-");
    } else {
        fprintf(to, " %8.1f", value);
    }
}

static void microseconds(FILE *to, uint64_t ns)
{
    if (ns == 0) {
        fprintf(to, " %9s", "-");
    } else {
        fprintf(to, " %9.1f", (double)ns / 1e3);
    }
}

static void write_table(FILE *to, const leat_quantizer_report *r)
{
    fprintf(to, "%-40s %-7s %4s %-10s %11s %4s %8s %8s %8s %10s %9s %9s  %s\n", "layer", "op",
            "bits", "range", "scale", "zero", "w dB", "own dB", "out dB", "MFLOP", "f32 us",
            "int us", "");
    for (size_t i = 0; i < r->n_layers; i++) {
        const leat_quantized_layer *l = &r->layers[i];
        fprintf(to, "%-40s %-7s %4d %-10s %11.4g %4d", l->name, l->op, l->bits,
                range_name(l->range), (double)l->scale, l->zero_point);
        decibels(to, l->weight_sqnr_db);
        decibels(to, l->own_sqnr_db);
        decibels(to, l->sqnr_db);
        fprintf(to, " %10.1f", (double)l->flops / 1e6);
        microseconds(to, l->ns_before);
        microseconds(to, l->ns_after);
        fprintf(to, "  %s\n", l->reason);
    }
}

static void write_summary(FILE *to, const options *o, const leat_quantizer_report *r)
{
    size_t quantized = 0;
    for (size_t i = 0; i < r->n_layers; i++) {
        quantized += r->layers[i].bits < 32;
    }
    fprintf(to, "%s: %s, %zu of %zu products quantized, weights %.1f -> %.1f MB\n", o->paths[1],
            method_name(r->method), quantized, r->n_layers, (double)r->bytes_before / 1e6,
            (double)r->bytes_after / 1e6);
    if (!isnan(r->drop)) {
        fprintf(to,
                "outputs: signal to noise %.1f dB, drop of %s %.2f %%, over %llu of %llu batches\n",
                r->sqnr_db, r->drop_measure, 100 * r->drop, (unsigned long long)r->n_measured,
                (unsigned long long)r->n_batches);
    }
    if (r->ns_after > 0) {
        fprintf(to, "a batch: %.3f -> %.3f ms on this CPU, %.2fx (%.2fx by the layers' times)\n",
                (double)r->ns_before / 1e6, (double)r->ns_after / 1e6,
                (double)r->ns_before / (double)r->ns_after,
                (double)r->ns_before / (double)(r->ns_predicted ? r->ns_predicted : 1));
    }
}

static int write_report(const options *o, const leat_quantizer_report *r)
{
    FILE *file = o->report ? fopen(o->report, "w") : NULL;
    if (o->report != NULL && file == NULL) {
        fprintf(stderr, "leat quantize: '%s': %s\n", o->report, strerror(errno));
        return EXIT_FAILED;
    }
    if (file != NULL) {
        write_json(file, o, r);
        const bool failed = ferror(file) != 0;
        if (fclose(file) != 0 || failed) {
            fprintf(stderr, "leat quantize: '%s': %s\n", o->report, strerror(errno));
            return EXIT_FAILED;
        }
    }
    if (o->json) {
        write_json(stdout, o, r);
        return EXIT_FINE;
    }
    write_table(stdout, r);
    write_summary(stdout, o, r);
    return EXIT_FINE;
}

static leat_status feed(const options *o, leat_quantizer *q, leat_error *err)
{
    leat_quantizer_file files[MAX_LIST];
    for (int i = 0; i < o->n_data; i++) {
        files[i] = (leat_quantizer_file){o->data[i].name, o->data[i].value};
    }
    if (o->n_data == 0) {
        return LEAT_OK;
    }
    return data_status(leat_quantizer_feed_files(q, files, (size_t)o->n_data, o->labels, err));
}

int cmd_quantize(const options *o)
{
    leat_error err = {0};
    const bool shown = isatty(STDERR_FILENO) != 0;
    leat_context *context = NULL;
    leat_model *model = NULL;
    leat_quantizer *q = NULL;
    leat_context_desc with = {.struct_size = sizeof(with), .threads = o->threads[0]};
    leat_quantizer_desc desc = {.struct_size = sizeof(desc),
                                .method = (leat_quantize_method)o->method,
                                .target = (leat_quantize_target)o->target,
                                .range = (leat_quantize_range)o->range,
                                .bits = o->bits,
                                .block = o->block,
                                .max_drop = o->max_drop,
                                .keep = o->keep,
                                .n_keep = (size_t)o->n_keep,
                                .sensitivity = o->sensitivity,
                                .any_speed = o->any_speed,
                                .equalize = o->equalize,
                                .smooth = o->smooth,
                                .feedback = o->no_feedback ? -1 : o->feedback,
                                .cache = o->cache,
                                .progress = shown ? show_progress : NULL};
    leat_quantizer_report report = {.struct_size = sizeof(report)};
    leat_status status = leat_context_create(&with, &context, &err);
    status =
        status ? status
               : model_status(leat_quantizer_load(context, o->paths[0], o->paths[1], &model, &err));
    status = status ? status : leat_quantizer_create(model, &desc, &q, &err);
    status = status ? status : feed(o, q, &err);
    status = status ? status : leat_quantizer_finish(q, o->paths[1], &err);
    end_progress(shown);
    int code = EXIT_FINE;
    if ((status == LEAT_OK || status == LEAT_LIMIT) &&
        leat_quantizer_report_get(q, &report, NULL) == LEAT_OK) {
        code = write_report(o, &report);
    }
    if (status != LEAT_OK) {
        code = report_error(o, status, &err);
    }
    leat_quantizer_destroy(q);
    leat_model_destroy(model);
    leat_context_destroy(context);
    return code;
}

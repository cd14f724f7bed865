/* SPDX-License-Identifier: Apache-2.0 */
/* leat inspect: what goes in and out of a model, and where and how each node runs. */
#include "leat/tool.h"

#include <string.h>

static void print_io(const options *o, const char *kind, const leat_io *io, size_t count)
{
    if (o->json) {
        printf("\"%s\": [", kind);
    }
    for (size_t i = 0; i < count; i++) {
        if (o->json) {
            printf("%s{\"name\": ", i ? ", " : "");
            json_string(stdout, io[i].name);
            printf(", \"dtype\": \"%s\", \"shape\": [", leat_dtype_name(io[i].dtype));
        } else {
            printf("%-8s %-32s %s[", kind, io[i].name, leat_dtype_name(io[i].dtype));
        }
        for (int32_t d = 0; d < io[i].rank; d++) {
            printf("%s", d ? ", " : "");
            if (io[i].shape[d] >= 0) {
                printf("%lld", (long long)io[i].shape[d]);
            } else if (o->json) {
                json_string(stdout, io[i].dim_names[d] ? io[i].dim_names[d] : "?");
            } else {
                printf("%s", io[i].dim_names[d] ? io[i].dim_names[d] : "?");
            }
        }
        printf(o->json ? "]}" : "]\n");
    }
    if (o->json) {
        printf("], ");
    }
}

static void print_node(const options *o, const leat_node_report *n, bool first)
{
    if (!o->json) {
        printf("%-40.40s %-28s %-8s %-28s %-12s %10.3f MB %10.3f MFLOP  %s\n", n->name, n->op,
               n->device, n->kernel, n->types, (double)n->bytes / 1e6, (double)n->flops / 1e6,
               n->reason);
        return;
    }
    printf("%s{\"name\": ", first ? "" : ", ");
    json_string(stdout, n->name);
    printf(", \"op\": ");
    json_string(stdout, n->op);
    printf(", \"device\": ");
    json_string(stdout, n->device);
    printf(", \"kernel\": ");
    json_string(stdout, n->kernel);
    printf(", \"reason\": ");
    json_string(stdout, n->reason);
    printf(", \"types\": ");
    json_string(stdout, n->types);
    printf(", \"shapes\": ");
    json_string(stdout, n->shapes);
    printf(", \"bytes\": %llu, \"flops\": %llu}", (unsigned long long)n->bytes,
           (unsigned long long)n->flops);
}

/* Whether sizes had to be guessed (1) that the model leaves open: no --shape and no -i was given.
 */
static bool sizes_guessed(const options *o, const leat_model_signature *io)
{
    bool open_size = false;
    for (size_t i = 0; i < io->n_inputs; i++) {
        open_size |= io->inputs[i].rank < 0;
        for (int32_t d = 0; d < io->inputs[i].rank; d++) {
            open_size |= io->inputs[i].shape[d] < 0;
        }
    }
    return open_size && o->n_shapes == 0 && o->n_inputs == 0;
}

static void print_nodes(const options *o, const leat_plan_report *report)
{
    printf(o->json ? "\"nodes\": [" : "\n");
    for (size_t i = 0; i < report->n_nodes; i++) {
        print_node(o, &report->nodes[i], i == 0);
    }
    printf(o->json
               ? "], \"workspace_bytes\": %llu, \"output_bytes\": %llu, \"weight_bytes\": %llu}\n"
               : "\nworkspace %llu bytes, outputs %llu bytes, packed weights %llu bytes\n",
           (unsigned long long)report->workspace_bytes, (unsigned long long)report->output_bytes,
           (unsigned long long)report->weight_bytes);
}

/* In place of the nodes of a model that has no plan with its open sizes taken as 1. */
static void print_no_plan(const options *o, const leat_error *err)
{
    if (o->json) {
        printf("\"nodes\": null, \"reason\": ");
        json_string(stdout, err->message);
        printf("}\n");
    } else {
        printf("\nno plan with open sizes taken as 1: %s\ngive sizes: --shape NAME=1x3x224x224\n",
               err->message);
    }
}

int cmd_inspect(const options *o)
{
    opened all;
    inputs in;
    leat_error err = {0};
    leat_plan_report report = {.struct_size = sizeof(report)};
    int code = open_all(o, o->paths[0], o->n_threads ? o->threads[0] : 0, false, &all);
    if (code != EXIT_FINE) {
        return code;
    }
    const leat_model_signature *io = leat_model_io(all.model);
    leat_status status = inputs_make(o, all.model, 0, &in, &err);
    if (status == LEAT_OK) {
        status = leat_session_warm(all.session, in.arrays, in.count, &err);
    }
    if (status == LEAT_OK) {
        status = leat_session_report(all.session, &report, &err);
    }
    bool guess_failed = status == LEAT_INVALID && sizes_guessed(o, io);
    if (status == LEAT_OK || guess_failed) {
        printf("%s", o->json ? "{" : "");
        print_io(o, o->json ? "inputs" : "input", io->inputs, io->n_inputs);
        print_io(o, o->json ? "outputs" : "output", io->outputs, io->n_outputs);
        if (guess_failed) {
            print_no_plan(o, &err);
        } else {
            print_nodes(o, &report);
        }
    }
    code = status != LEAT_OK && !guess_failed ? report_error(o, status, &err) : EXIT_FINE;
    inputs_free(&in);
    close_all(&all);
    return code;
}

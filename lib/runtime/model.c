/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/model.h"

#include "base/error.h"
#include "graph/infer.h"
#include "onnx/external.h"
#include "onnx/reader.h"
#include "onnx/writer.h"
#include "passes/passes.h"
#include "runtime/evaluate.h"

#include <string.h>

static leat_status check_desc(const leat_model_desc *desc, leat_error *err)
{
    if (desc->struct_size != sizeof(*desc)) {
        return lt_fail(err, LEAT_INVALID,
                       "leat_model_desc.struct_size is %zu: set it to sizeof(leat_model_desc)",
                       desc->struct_size);
    }
    return LEAT_OK;
}

static leat_status evaluate(void *user, const leat_node *node, const leat_value *values,
                            void *const *out, leat_error *err)
{
    return lt_evaluate_node(user, node, values, out, err);
}

static leat_status describe_values(leat_model *model, const uint32_t *values, uint32_t count,
                                   const leat_io **out_ios, leat_error *err)
{
    const lt_graph *graph = model->graph;
    leat_io *ios = lt_arena_array(lt_graph_arena(model->graph), count + 1u, sizeof(*ios));
    if (ios == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for the model's signature");
    }
    for (uint32_t i = 0; i < count; i++) {
        const leat_value *value = &graph->values[values[i]];
        ios[i].name = value->name;
        ios[i].dtype = value->dtype;
        ios[i].rank = value->rank;
        for (int32_t d = 0; d < value->rank; d++) {
            bool known = value->shape[d] >= 0;
            ios[i].shape[d] = known ? value->shape[d] : -1;
            ios[i].dim_names[d] = known ? NULL : lt_graph_symbol_name(graph, value->shape[d]);
        }
    }
    *out_ios = ios;
    return LEAT_OK;
}

static leat_status describe_model(leat_model *model, leat_error *err)
{
    const lt_graph *graph = model->graph;
    leat_model_signature *signature = &model->signature;
    signature->n_inputs = graph->n_inputs;
    signature->n_outputs = graph->n_outputs;
    leat_status status =
        describe_values(model, graph->inputs, graph->n_inputs, &signature->inputs, err);
    return status
               ? status
               : describe_values(model, graph->outputs, graph->n_outputs, &signature->outputs, err);
}

static leat_status read_model(leat_model *model, const lt_onnx_source *source, leat_error *err)
{
    leat_status status = lt_onnx_read(&model->context->memory, source, &model->graph, err);
    if (status != LEAT_OK) {
        model->graph = NULL;
        return status;
    }
    model->graph->custom = &model->context->custom;
    status = lt_infer_graph(model->graph, false, err);
    if (status == LEAT_OK && !model->no_optimization) {
        const lt_pass_context passes = {.user = model->context, .evaluate = evaluate};
        status = lt_passes_run_load(model->graph, &passes, err);
    }
    return status ? status : describe_model(model, err);
}

static leat_status create(leat_context *context, const leat_model_desc *desc,
                          leat_model **out_model, leat_error *err)
{
    leat_model *model = lt_alloc_zeroed(&context->memory, sizeof(*model), LT_ALIGNMENT);
    *out_model = model;
    if (model == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for a model");
    }
    model->context = context;
    model->no_optimization = desc->no_optimization != 0;
    pthread_mutex_init(&model->lock, NULL);
    return LEAT_OK;
}

/* The part of `path` before its last slash; "." when it has none. */
static char *directory_of(lt_memory *memory, const char *path, size_t *out_bytes)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash == NULL ? 1 : slash == path ? 1 : (size_t)(slash - path);
    *out_bytes = length + 1;
    char *directory = lt_alloc(memory, length + 1, 1);
    if (directory != NULL) {
        memcpy(directory, slash ? path : ".", length);
        directory[length] = '\0';
    }
    return directory;
}

static leat_status read_file(leat_model *model, const char *path, leat_error *err)
{
    lt_memory *memory = &model->context->memory;
    leat_status status = lt_file_map_open(path, &model->map, err);
    if (status != LEAT_OK) {
        memset(&model->map, 0, sizeof(model->map));
        return status;
    }
    size_t directory_bytes;
    char *directory = directory_of(memory, path, &directory_bytes);
    if (directory == NULL) {
        return lt_fail(err, LEAT_NO_MEMORY, "no memory for a path");
    }
    status = lt_external_files_create(memory, directory, &model->files, err);
    if (status == LEAT_OK) {
        const lt_onnx_source source = {.data = model->map.data,
                                       .bytes = model->map.bytes,
                                       .directory = directory,
                                       .files = model->files};
        status = read_model(model, &source, err);
        status = status ? lt_fail_within(err, status, "'%s'", path) : LEAT_OK;
    } else {
        model->files = NULL;
    }
    lt_free(memory, directory, directory_bytes);
    if (status == LEAT_OK) { /* folding has read weights that nothing may need any more */
        lt_model_release_pages(model);
    }
    return status;
}

static const leat_model_desc defaults = {.struct_size = sizeof(defaults)};

leat_status leat_model_load(leat_context *context, const char *path, const leat_model_desc *desc,
                            leat_model **out_model, leat_error *err)
{
    if (out_model != NULL) {
        *out_model = NULL;
    }
    if (context == NULL || path == NULL || out_model == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_model_load: an argument is NULL");
    }
    desc = desc ? desc : &defaults;
    leat_model *model;
    leat_status status = check_desc(desc, err);
    if (status != LEAT_OK || (status = create(context, desc, &model, err)) != LEAT_OK) {
        return status;
    }
    status = read_file(model, path, err);
    if (status != LEAT_OK) {
        leat_model_destroy(model);
        return status;
    }
    *out_model = model;
    return LEAT_OK;
}

leat_status leat_model_load_memory(leat_context *context, const void *data, size_t bytes,
                                   const leat_model_desc *desc, leat_model **out_model,
                                   leat_error *err)
{
    if (out_model != NULL) {
        *out_model = NULL;
    }
    if (context == NULL || out_model == NULL || (data == NULL && bytes != 0)) {
        return lt_fail(err, LEAT_INVALID, "leat_model_load_memory: an argument is NULL");
    }
    desc = desc ? desc : &defaults;
    leat_model *model;
    leat_status status = check_desc(desc, err);
    if (status != LEAT_OK || (status = create(context, desc, &model, err)) != LEAT_OK) {
        return status;
    }
    const lt_onnx_source source = {.data = data,
                                   .bytes = bytes,
                                   .external_data = desc->external_data,
                                   .external_data_user = desc->external_data_user};
    status = read_model(model, &source, err);
    if (status != LEAT_OK) {
        leat_model_destroy(model);
        return status;
    }
    *out_model = model;
    return LEAT_OK;
}

leat_status lt_model_of_graph(leat_context *context, lt_graph *graph, const leat_model *source,
                              leat_model **out_model, leat_error *err)
{
    leat_model *model;
    *out_model = NULL;
    leat_status status = create(context, &defaults, &model, err);
    if (status != LEAT_OK) {
        lt_graph_destroy(graph);
        return status;
    }
    model->graph = graph;
    model->source = source;
    graph->custom = &context->custom;
    status = describe_model(model, err);
    if (status != LEAT_OK) {
        leat_model_destroy(model);
        return status;
    }
    *out_model = model;
    return LEAT_OK;
}

void leat_model_destroy(leat_model *model)
{
    if (model == NULL) {
        return;
    }
    if (model->graph != NULL) {
        lt_graph_destroy(model->graph);
    }
    if (model->files != NULL) {
        lt_external_files_destroy(model->files);
    }
    if (model->map.data != NULL) {
        lt_file_map_close(&model->map);
    }
    pthread_mutex_destroy(&model->lock);
    lt_free(&model->context->memory, model, sizeof(*model));
}

const leat_model_signature *leat_model_io(const leat_model *model)
{
    return &model->signature;
}

leat_status leat_model_save(const leat_model *model, const char *path,
                            const leat_model_save_desc *desc, leat_error *err)
{
    if (model == NULL || path == NULL) {
        return lt_fail(err, LEAT_INVALID, "leat_model_save: an argument is NULL");
    }
    if (desc != NULL && desc->struct_size != sizeof(*desc)) {
        return lt_fail(err, LEAT_INVALID,
                       "leat_model_save_desc.struct_size is %zu: set it to "
                       "sizeof(leat_model_save_desc)",
                       desc->struct_size);
    }
    return lt_onnx_write(model->graph, path, desc ? desc->external_threshold : 0, err);
}

void lt_model_release_pages(const leat_model *model)
{
    for (; model != NULL; model = model->source) {
        if (model->map.data != NULL) {
            lt_file_map_release_pages(&model->map);
        }
        if (model->files != NULL) {
            lt_external_files_release_pages(model->files);
        }
    }
}

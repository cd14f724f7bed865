/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes as lists of kernel launches. */
#include "cuda.h"

#include <stdio.h>

typedef struct step {
    cu_function function;
    uint32_t grid[3];
    uint32_t block;
    uint32_t parameter_bytes;
    uint32_t n_pointers;
    void *parameters; /* pointers in it are not set */
    lt_cuda_pointer pointers[LT_CUDA_MAX_POINTERS];
} step;

typedef struct lt_cuda_steps {
    const lt_cuda_device *device;
    uint32_t n_steps;
    uint32_t capacity;
    step steps[];
} lt_cuda_steps;

static cu_address address_of(const lt_cuda_pointer *pointer, const leat_kernel_args *args)
{
    const lt_cuda_stream *stream = args->stream;
    const void *base = NULL;
    switch (pointer->source) {
    case LT_CUDA_INPUT:
        base = args->inputs[pointer->index];
        break;
    case LT_CUDA_OUTPUT:
        base = args->outputs[pointer->index];
        break;
    case LT_CUDA_WORKSPACE:
        base = args->workspace;
        break;
    case LT_CUDA_FAULTS:
        return stream->faults_address;
    }
    return base ? (cu_address)(uintptr_t)base + (cu_address)pointer->bytes : 0;
}

static leat_status launch(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const lt_cuda_steps *steps = state;
    const lt_cuda_driver *cu = steps->device->cu;
    const lt_cuda_stream *stream = args->stream;
    union {
        unsigned char bytes[LT_CUDA_MAX_PARAMETERS];
        uint64_t align[LT_CUDA_MAX_PARAMETERS / 8];
    } parameters;
    cu_result result = cu->ctx_set_current(steps->device->context);
    for (uint32_t i = 0; i < steps->n_steps && result == 0; i++) {
        const step *s = &steps->steps[i];
        memcpy(parameters.bytes, s->parameters, s->parameter_bytes);
        for (uint32_t k = 0; k < s->n_pointers; k++) {
            cu_address address = address_of(&s->pointers[k], args);
            memcpy(parameters.bytes + s->pointers[k].offset, &address, sizeof(address));
        }
        void *list[1] = {parameters.bytes};
        result = cu->launch_kernel(s->function, s->grid[0], s->grid[1], s->grid[2], s->block, 1, 1,
                                   0, stream->queue, list, NULL);
    }
    return lt_cuda_check(cu, result, "launching a kernel", err);
}

void lt_cuda_kernel_name(char *out, const char *family, const char *suffix)
{
    snprintf(out, 64, "lt_gpu_%s_%s", family, suffix);
}

uint32_t lt_cuda_blocks(const lt_cuda_builder *b, int64_t count, leat_dtype dtype)
{
    return lt_gpu_blocks(count, 16 / lt_cuda_element_bytes(dtype), b->device->processors);
}

uint32_t lt_cuda_item_blocks(const lt_cuda_builder *b, int64_t items)
{
    int64_t most = (int64_t)b->device->processors * 32;
    return (uint32_t)(items < most ? items : most);
}

leat_status lt_cuda_begin(lt_cuda_builder *b, const leat_kernel_node *node, void *device,
                          const leat_host *host, leat_plan *plan, leat_kernel *out_kernel,
                          uint32_t capacity, leat_error *err)
{
    *b = (lt_cuda_builder){.node = node,
                           .device = device,
                           .host = host,
                           .plan = plan,
                           .kernel = out_kernel,
                           .err = err};
    b->steps = host->plan_alloc(plan, sizeof(lt_cuda_steps) + capacity * sizeof(step));
    if (b->steps == NULL) {
        return lt_cuda_fail(err, LEAT_NO_MEMORY, "cuda: %s: no memory for its kernels",
                            node->node->op);
    }
    b->steps->device = b->device;
    b->steps->capacity = capacity;
    out_kernel->launch = launch;
    out_kernel->state = b->steps;
    return LEAT_OK;
}

leat_status lt_cuda_add(lt_cuda_builder *b, const lt_cuda_launch *what)
{
    lt_cuda_steps *steps = b->steps;
    step *s = &steps->steps[steps->n_steps];
    if (steps->n_steps == steps->capacity || what->parameter_bytes > LT_CUDA_MAX_PARAMETERS ||
        what->n_pointers > LT_CUDA_MAX_POINTERS) {
        return lt_cuda_fail(b->err, LEAT_INVALID, "cuda: %s: more launches than were planned",
                            b->node->node->op);
    }
    *s = (step){.grid = {what->grid[0], what->grid[1] ? what->grid[1] : 1u,
                         what->grid[2] ? what->grid[2] : 1u},
                .block = what->block ? what->block : LT_GPU_THREADS,
                .parameter_bytes = (uint32_t)what->parameter_bytes,
                .n_pointers = what->n_pointers};
    memcpy(s->pointers, what->pointers, what->n_pointers * sizeof(what->pointers[0]));
    cu_result result = b->device->cu->ctx_set_current(b->device->context);
    result =
        result ? result
               : b->device->cu->module_get_function(&s->function, b->device->module, what->kernel);
    if (result != 0) {
        leat_status status = lt_cuda_check(b->device->cu, result, what->kernel, b->err);
        return status == LEAT_DEVICE_LOST ? LEAT_UNSUPPORTED : status;
    }
    s->parameters = b->host->plan_alloc(b->plan, what->parameter_bytes);
    if (s->parameters == NULL) {
        return lt_cuda_fail(b->err, LEAT_NO_MEMORY, "cuda: %s: no memory for its kernels",
                            b->node->node->op);
    }
    memcpy(s->parameters, what->parameters, what->parameter_bytes);
    steps->n_steps++;
    if (b->kernel->name == NULL) {
        char *name = b->host->plan_alloc(b->plan, strlen(what->kernel) + 1);
        if (name != NULL) {
            memcpy(name, what->kernel, strlen(what->kernel) + 1);
        }
        b->kernel->name = name ? name : "cuda";
    }
    return LEAT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The smallest complete plugin: one operator, Relu in f32, computed in host memory.
 *
 * Build:  cc -shared -fPIC -o libleat_skeleton.so backend_skeleton.c $(pkg-config --cflags leat)
 * Use:    leat_context_load_backend(context, "./libleat_skeleton.so", &err), then the device
 *         "skeleton" in leat_session_desc.devices, with LEAT_FALLBACK_CPU for everything else.
 */
#include <leat/backend.h>

/* What prepare finds out once, for all runs. */
typedef struct relu_state {
    size_t count;
} relu_state;

/* Runs the node. Called again and again: no allocation, no waiting. */
static leat_status relu_launch(const void *state, const leat_kernel_args *args, leat_error *err)
{
    const relu_state *relu = state;
    const float *x = args->inputs[0];
    float *y = args->outputs[0];
    (void)err;
    for (size_t i = 0; i < relu->count; i++) {
        y[i] = x[i] < 0 ? 0 : x[i]; /* NaN stays NaN */
    }
    return LEAT_OK;
}

/* Chooses how to run the node, now that its shape is known. */
static leat_status relu_prepare(const leat_kernel_node *node, void *device, const leat_host *host,
                                leat_plan *plan, leat_kernel *out_kernel, leat_error *err)
{
    (void)device;
    relu_state *relu = host->plan_alloc(plan, sizeof(*relu)); /* freed with the plan */
    if (relu == NULL) {
        if (err != NULL) {
            err->status = LEAT_NO_MEMORY;
            strcpy(err->message, "skeleton: no memory for a kernel");
        }
        return LEAT_NO_MEMORY;
    }
    relu->count = (size_t)leat_value_count(leat_kernel_output(node, 0));
    out_kernel->name = "relu_f32_plain";
    out_kernel->launch = relu_launch;
    out_kernel->state = relu;
    out_kernel->inplace_mask = 1; /* y may share its memory with x */
    return LEAT_OK;
}

static const leat_op_row rows[] = {
    {.op = "Relu",
     .domain = "",
     .since = 6,
     .dtypes = 1ull << LEAT_DTYPE_F32,
     .prepare = relu_prepare},
};

static leat_status skeleton_init(const leat_host *host, void **out_instance, leat_error *err)
{
    (void)err;
    *out_instance = (void *)host; /* nothing of our own to keep */
    return LEAT_OK;
}

static void skeleton_shutdown(void *instance)
{
    (void)instance;
}

static size_t skeleton_device_count(void *instance)
{
    (void)instance;
    return 1;
}

static leat_status skeleton_device_info(void *instance, size_t index,
                                        leat_device_properties *out_info, leat_error *err)
{
    (void)instance, (void)index, (void)err;
    out_info->name = "skeleton";
    out_info->description = "an example";
    out_info->kind = LEAT_DEVICE_ACCELERATOR;
    out_info->available = 1;
    return LEAT_OK;
}

static leat_status skeleton_device_open(void *instance, size_t index, void **out_device,
                                        leat_error *err)
{
    (void)index, (void)err;
    *out_device = instance;
    return LEAT_OK;
}

static void skeleton_device_close(void *device)
{
    (void)device;
}

static const leat_backend backend = {
    .abi = LEAT_BACKEND_ABI,
    .struct_size = sizeof(leat_backend),
    .name = "skeleton",
    .version = "1",
    .features = LEAT_BACKEND_HOST_MEMORY,
    .sanitizer = LEAT_BACKEND_SANITIZER,
    .init = skeleton_init,
    .shutdown = skeleton_shutdown,
    .device_count = skeleton_device_count,
    .device_info = skeleton_device_info,
    .device_open = skeleton_device_open,
    .device_close = skeleton_device_close,
    .rows = rows,
    .n_rows = sizeof(rows) / sizeof(rows[0]),
};

LEAT_API const leat_backend *leat_backend_query(uint32_t host_abi);

LEAT_API const leat_backend *leat_backend_query(uint32_t host_abi)
{
    return host_abi == LEAT_BACKEND_ABI ? &backend : NULL;
}

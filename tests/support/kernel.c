/* SPDX-License-Identifier: Apache-2.0 */
#include "support/kernel.h"

#include "support/guarded.h"
#include "support/test.h"

#include <stdlib.h>

const lt_cpu_isa test_isas[3] = {LT_CPU_PORTABLE, LT_CPU_AVX2, LT_CPU_AVX512};

/* Arrays begin at a guard page, then end at one. The thread sanitizer, which takes minutes for a
 * test of convolutions, looks for something else. */
#if defined(__SANITIZE_THREAD__)
#define FIRST_PLACEMENT 1
#else
#define FIRST_PLACEMENT 0
#endif

/* What stands in for a plan: blocks that prepare asked for, freed at the end of the run. */
typedef struct block_list {
    guarded blocks[TEST_KERNEL_MAX];
    size_t count;
    const test_kernel *kernel;
    const leat_host *host;
    void *device;
} block_list;

static void *take(block_list *list, size_t bytes)
{
    if (list->count == TEST_KERNEL_MAX) {
        return NULL;
    }
    void *block = guarded_make(&list->blocks[list->count], bytes, 64, true);
    if (block != NULL) {
        list->count++;
        memset(block, 0, bytes);
    }
    return block;
}

static void *plan_alloc(leat_plan *plan, size_t bytes)
{
    return take((block_list *)plan, bytes);
}

static leat_status plan_pack(leat_plan *plan, const leat_value *constant, uint64_t key,
                             size_t bytes, leat_pack_fn fill, const void *argument,
                             const void **out_block, leat_error *err)
{
    (void)key;
    void *block = take((block_list *)plan, bytes);
    *out_block = block;
    return block ? fill(block, bytes, constant, argument, err) : LEAT_NO_MEMORY;
}

static const leat_plan_options *plan_options(const leat_plan *plan)
{
    return &((const block_list *)(const void *)plan)->kernel->options;
}

static leat_status plan_choose(leat_plan *plan, const leat_kernel_node *node, const leat_way *ways,
                               size_t n_ways, leat_kernel *out_kernel, leat_error *err)
{
    const block_list *list = (const block_list *)(const void *)plan;
    const leat_way *chosen = NULL;
    for (size_t i = 0; i < n_ways; i++) {
        bool better = list->kernel->way != NULL
                          ? strcmp(list->kernel->way, ways[i].name) == 0
                          : chosen == NULL || ways[i].cost_ns < chosen->cost_ns;
        chosen = better ? &ways[i] : chosen;
    }
    if (chosen == NULL) {
        return lt_cpu_fail(err, LEAT_NOT_FOUND, "no way '%s'", list->kernel->way);
    }
    return chosen->prepare(node, list->device, list->host, plan, chosen->argument, out_kernel, err);
}

static void *host_alloc(void *context, size_t bytes, size_t alignment)
{
    (void)context;
    void *block = NULL;
    alignment = alignment < sizeof(void *) ? sizeof(void *) : alignment;
    return posix_memalign(&block, alignment, bytes) == 0 ? block : NULL;
}

static void host_free(void *context, void *block, size_t bytes)
{
    (void)context;
    (void)bytes;
    free(block);
}

static void host_log(void *context, leat_log_level level, const char *line)
{
    (void)context;
    (void)level;
    (void)line;
}

/* A pool that only says how many threads there are and runs tasks in the order of test_kernel:
 * enough to find tasks that depend on their order. */
struct leat_pool {
    uint32_t threads;
    int32_t order;
};

static uint32_t pool_threads(const leat_pool *pool)
{
    return pool->threads;
}

static void pool_parallel(leat_pool *pool, uint32_t n_tasks, leat_task_fn fn, void *argument)
{
    for (uint32_t i = 0; i < n_tasks && pool->order == 2; i++) {
        uint32_t even = (n_tasks + 1) / 2;
        fn(argument, i < even ? 2 * i : 2 * (i - even) + 1, 0);
    }
    for (uint32_t i = n_tasks; i-- > 0 && pool->order != 2;) {
        fn(argument, i, pool->order == 0 ? i % pool->threads : 0);
    }
}

static const leat_op_row *find_row(const leat_kernel_node *node)
{
    const leat_value *first = leat_kernel_input(node, 0);
    first = first ? first : leat_kernel_output(node, 0);
    size_t n_rows = LT_CPU_N_ROWS;
    for (size_t i = 0; i < n_rows; i++) {
        const leat_op_row *row = &lt_cpu_rows[i];
        if (strcmp(row->op, node->node->op) == 0 && strcmp(row->domain, node->node->domain) == 0 &&
            node->node->opset >= row->since &&
            (row->until == 0 || node->node->opset <= row->until) &&
            (first == NULL || (row->dtypes >> first->dtype & 1))) {
            return row;
        }
    }
    return NULL;
}

static void set_value(leat_value *value, const leat_array *array, bool constant)
{
    memset(value, 0, sizeof(*value));
    value->name = "";
    value->dtype = array->dtype;
    value->rank = array->rank;
    memcpy(value->shape, array->shape, sizeof(value->shape));
    value->data = constant ? array->data : NULL;
    value->bytes = array->bytes;
}

static leat_status run_once(const test_kernel *kernel, const char **out_name, leat_error *err)
{
    leat_value values[TEST_KERNEL_MAX];
    uint32_t inputs[TEST_KERNEL_MAX], outputs[TEST_KERNEL_MAX];
    const void *in[TEST_KERNEL_MAX] = {NULL};
    void *out[TEST_KERNEL_MAX] = {NULL};
    uint32_t n = 0;
    for (uint32_t i = 0; i < kernel->n_inputs; i++) {
        bool there = kernel->inputs[i].dtype != LEAT_DTYPE_UNDEFINED;
        inputs[i] = there ? n : LEAT_NO_VALUE;
        if (there) {
            set_value(&values[n++], &kernel->inputs[i], kernel->constants >> i & 1);
            in[i] = kernel->inputs[i].data;
        }
    }
    for (uint32_t i = 0; i < kernel->n_outputs; i++) {
        bool there = kernel->outputs[i].dtype != LEAT_DTYPE_UNDEFINED;
        outputs[i] = there ? n : LEAT_NO_VALUE;
        if (there) {
            set_value(&values[n++], &kernel->outputs[i], false);
            out[i] = kernel->outputs[i].data;
        }
    }
    leat_node node = {kernel->op,       kernel->domain ? kernel->domain : "",
                      "test",           kernel->opset ? kernel->opset : 22,
                      kernel->n_inputs, kernel->n_outputs,
                      kernel->n_attrs,  inputs,
                      outputs,          kernel->attrs};
    leat_kernel_node view = {&node, values};
    leat_pool pool = {kernel->threads ? (uint32_t)kernel->threads : 1, kernel->order};
    leat_host host = {.abi = LEAT_BACKEND_ABI,
                      .struct_size = sizeof(host),
                      .alloc = host_alloc,
                      .free = host_free,
                      .log = host_log,
                      .pool = &pool,
                      .pool_threads = pool_threads,
                      .parallel = pool_parallel,
                      .plan_alloc = plan_alloc,
                      .plan_pack = plan_pack,
                      .plan_options = plan_options,
                      .plan_choose = plan_choose};
    lt_cpu_device device;
    lt_cpu_device_detect(&device, kernel->isa);
    device.host = &host;
    block_list list = {.kernel = kernel, .host = &host, .device = &device};
    leat_kernel made = {0};
    const leat_op_row *row = find_row(&view);
    leat_status status =
        row ? row->supports(&view, err)
            : lt_cpu_fail(err, LEAT_UNSUPPORTED, "no row for %s of this type", kernel->op);
    if (status == LEAT_OK) {
        status = row->prepare(&view, &device, &host, (leat_plan *)(void *)&list, &made, err);
    }
    if (status == LEAT_OK && made.view_of != 0) {
        memcpy(out[0], in[made.view_of - 1], kernel->outputs[0].bytes);
    } else if (status == LEAT_OK) {
        void *workspace = take(&list, made.workspace_bytes);
        memset(workspace, 0xff, made.workspace_bytes);
        leat_kernel_args args = {in, out, workspace, NULL, &pool, &host};
        status = made.launch(made.state, &args, err);
    }
    if (out_name != NULL) {
        *out_name = made.name;
    }
    bool whole = true;
    for (size_t i = 0; i < list.count; i++) {
        whole = guarded_free(&list.blocks[i]) && whole;
    }
    return whole ? status : lt_cpu_fail(err, LEAT_CORRUPT, "wrote outside of its plan's memory");
}

/* All arrays begin at a page, or end with one; an output that is an input's array stays so. */
static leat_status run_guarded(const test_kernel *kernel, bool at_end, const char **out_name,
                               leat_error *err)
{
    leat_array arrays[2 * TEST_KERNEL_MAX];
    guarded guards[2 * TEST_KERNEL_MAX] = {{0}};
    const uint32_t n_inputs = kernel->n_inputs, n = n_inputs + kernel->n_outputs;
    test_kernel placed = *kernel;
    placed.inputs = arrays;
    placed.outputs = arrays + n_inputs;
    for (uint32_t i = 0; i < n; i++) {
        arrays[i] = i < n_inputs ? kernel->inputs[i] : kernel->outputs[i - n_inputs];
        const void *data = arrays[i].data;
        uint32_t same = i < n_inputs ? n_inputs : 0;
        while (same < n_inputs && kernel->inputs[same].data != data) {
            same++;
        }
        if (data != NULL && same < n_inputs) {
            arrays[i].data = arrays[same].data;
        } else if (data != NULL) {
            arrays[i].data = guarded_make(&guards[i], arrays[i].bytes, 1, at_end);
            memcpy(arrays[i].data, data, arrays[i].bytes);
        }
    }
    leat_status status = run_once(&placed, out_name, err);
    for (uint32_t i = n_inputs; i < n && at_end; i++) {
        if (arrays[i].data != NULL) {
            memcpy(kernel->outputs[i - n_inputs].data, arrays[i].data, arrays[i].bytes);
        }
    }
    bool whole = true;
    for (uint32_t i = 0; i < n; i++) {
        whole = guarded_free(&guards[i]) && whole;
    }
    return whole ? status : lt_cpu_fail(err, LEAT_CORRUPT, "wrote outside of an array");
}

leat_status test_kernel_run(const test_kernel *kernel, const char **out_name, leat_error *err)
{
    leat_status status = LEAT_OK;
    for (int at_end = FIRST_PLACEMENT; at_end < 2 && status == LEAT_OK; at_end++) {
        status = run_guarded(kernel, at_end, out_name, err);
    }
    return status;
}

void test_kernel_must_run(const test_kernel *kernel)
{
    leat_error err = {0};
    assert_ok(test_kernel_run(kernel, NULL, &err), &err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Each way is prepared in a plan of its own, run on scratch data with the session's threads, and
 * freed again, so that memory peaks with one way's weights more than the model needs. The least of
 * a few runs counts. When the model's constants exceed the last cache, a run of the whole model
 * finds a layer's weights in memory: then the caches are driven out before every timed run, and
 * inputs touched again, as the layer before would have left them. On a device that is not the host
 * launches follow each other (device_timer.c), and constants that they read take turns with copies
 * of them; what a way has packed stays in the caches. */
#include "runtime/choose.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/tensor.h"
#include "runtime/device_timer.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LEAST_RUNS 3
#define MOST_RUNS 5
#define MOST_NS 15000000u /* of the timed runs of one way */
/* Of the buffer that drives out caches; the last cache may be larger on a machine of many cores,
 * of which this process has a share. */
#define LEAST_FLUSH (8u << 20)
#define MOST_FLUSH (64u << 20)
/* The last cache of another device, as far as is known; copies of a constant that fill it twice. */
#define DEVICE_CACHE (64u << 20)
#define MOST_COPIES 16u
/* On another device a way has to be faster by so much than the one that the estimates say: within a
 * model kernels overlap with others. */
#define CLEARLY 0.95

/* --- the key -----------------------------------------------------------------------------------
 */

static uint64_t hash_value(uint64_t hash, const leat_value *value)
{
    const int32_t what[3] = {value->dtype, value->rank, value->data != NULL};
    hash = lt_hash(hash, what, sizeof(what));
    return value->rank > 0 ? lt_hash(hash, value->shape, (size_t)value->rank * sizeof(int64_t))
                           : hash;
}

static uint64_t hash_attr(uint64_t hash, const leat_attr *attr)
{
    hash = lt_hash_text(hash, attr->name);
    hash = lt_hash(hash, &attr->type, sizeof(attr->type));
    hash = lt_hash(hash, &attr->count, sizeof(attr->count));
    /* Tensors, strings and graphs do not change what is fast. */
    return lt_hash_attr_data(hash, attr);
}

static uint64_t hash_device(uint64_t hash, const leat_plan *plan)
{
    const lt_device *device = plan->device;
    const uint32_t version = leat_version();
    const uint32_t threads = lt_pool_threads(device->context->pool);
    hash = lt_hash(hash, &version, sizeof(version));
    hash = lt_hash(hash, &threads, sizeof(threads));
    hash = lt_hash_text(hash, device->backend->version ? device->backend->version : "");
    hash = lt_hash_text(hash, device->backend->name);
    hash = lt_hash_text(hash, device->info.description ? device->info.description : "");
    return lt_hash_text(hash, device->info.features ? device->info.features : "");
}

static size_t last_cache_bytes(void)
{
    long bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
    return bytes < (long)LEAST_FLUSH  ? LEAST_FLUSH
           : bytes > (long)MOST_FLUSH ? MOST_FLUSH
                                      : (size_t)bytes;
}

static bool is_cold(const leat_plan *plan)
{
    return plan->constant_bytes >
           (lt_device_is_host(plan->device) ? last_cache_bytes() : DEVICE_CACHE);
}

uint64_t lt_choose_key(const leat_plan *plan, const leat_kernel_node *node, const leat_way *ways,
                       size_t n_ways)
{
    const leat_node *n = node->node;
    const int32_t what[4] = {n->opset, (int32_t)plan->options.precision,
                             plan->options.plain_algorithms, is_cold(plan)};
    uint64_t hash = hash_device(LT_HASH_START, plan);
    hash = lt_hash_text(hash, n->op);
    hash = lt_hash_text(hash, n->domain);
    hash = lt_hash(hash, what, sizeof(what));
    for (uint32_t i = 0; i < n->n_attrs; i++) {
        hash = hash_attr(hash, &n->attrs[i]);
    }
    for (uint32_t i = 0; i < n->n_inputs + n->n_outputs; i++) {
        bool input = i < n->n_inputs;
        const leat_value *value =
            input ? leat_kernel_input(node, i) : leat_kernel_output(node, i - n->n_inputs);
        hash = value ? hash_value(hash, value) : lt_hash_text(hash, "none");
    }
    for (size_t i = 0; i < n_ways; i++) {
        hash = lt_hash_text(hash, ways[i].name);
    }
    return hash;
}

/* --- measuring ---------------------------------------------------------------------------------
 */

/* Scratch data of one node, shared by its ways. */
typedef struct bench {
    leat_plan *plan;
    const leat_kernel_node *node;
    lt_arena arena;
    const void **inputs; /* on the device; NULL where omitted, or constant */
    void **outputs;
    const void **sets[MOST_COPIES]; /* inputs with constants, as launches have them in turn */
    size_t n_sets;
    leat_plan uploads;     /* owns copies of constants */
    lt_device_timer timer; /* of a device that is not the host */
    char *flush;           /* NULL: warm */
    size_t flush_bytes;
} bench;

static size_t value_bytes(const leat_value *value)
{
    size_t bytes = 0;
    return lt_shape_bytes(value->dtype, value->rank, value->shape, &bytes) ? bytes : SIZE_MAX;
}

/* Numbers in [-1, 1) for f32, between 1/2 and 1 of either sign for halves (multipliers of zeros
 * take less power and so run faster), any bytes, zeros for other types: any content is valid, and
 * none is slow. */
static void fill(void *data, const leat_value *value, size_t bytes)
{
    const leat_dtype dtype = value->dtype;
    const bool halves = dtype == LEAT_DTYPE_F16 || dtype == LEAT_DTYPE_BF16;
    const uint16_t kept = dtype == LEAT_DTYPE_F16 ? 0x83ff : 0x807f; /* sign, fraction */
    const uint16_t exponent = dtype == LEAT_DTYPE_F16 ? 0x3800 : 0x3f00;
    uint32_t state = 1;
    memset(data, 0, bytes);
    for (size_t i = 0; i < bytes / sizeof(float) && dtype == LEAT_DTYPE_F32; i++) {
        state = state * 1664525u + 1013904223u;
        ((float *)data)[i] = (float)(int32_t)state * 0x1p-31f;
    }
    for (size_t i = 0; i < bytes / sizeof(uint16_t) && halves; i++) {
        state = state * 1664525u + 1013904223u;
        ((uint16_t *)data)[i] = (uint16_t)((state >> 16 & kept) | exponent);
    }
    for (size_t i = 0; i < bytes && (dtype == LEAT_DTYPE_I8 || dtype == LEAT_DTYPE_U8); i++) {
        state = state * 1664525u + 1013904223u;
        ((unsigned char *)data)[i] = (unsigned char)(state >> 24);
    }
}

static bool open_input(bench *b, uint32_t i)
{
    const leat_value *value = leat_kernel_input(b->node, i);
    lt_device *device = b->plan->device;
    if (value == NULL || value->data != NULL) {
        return true;
    }
    size_t bytes = value_bytes(value);
    void *block = NULL, *host = NULL;
    if (bytes == SIZE_MAX || value->dtype >= LEAT_DTYPE_COUNT ||
        value->dtype == LEAT_DTYPE_STRING ||
        lt_device_alloc(device, bytes, &block, NULL) != LEAT_OK) {
        return false;
    }
    b->inputs[i] = block;
    if (lt_device_is_host(device)) {
        fill(block, value, bytes);
        return true;
    }
    host = lt_alloc(&device->context->memory, bytes, LT_ALIGNMENT);
    bool good = host != NULL;
    if (good) {
        fill(host, value, bytes);
        good =
            lt_device_copy(device, LEAT_COPY_HOST_TO_DEVICE, block, host, bytes, NULL) == LEAT_OK;
    }
    lt_free(&device->context->memory, host, bytes);
    return good;
}

static bool open_output(bench *b, uint32_t i)
{
    const leat_value *value = leat_kernel_output(b->node, i);
    size_t bytes = value ? value_bytes(value) : 0;
    if (value == NULL) {
        return true;
    }
    return bytes != SIZE_MAX &&
           lt_device_alloc(b->plan->device, bytes, &b->outputs[i], NULL) == LEAT_OK;
}

static void close_bench(bench *b)
{
    lt_device *device = b->plan->device;
    const leat_node *node = b->node->node;
    for (uint32_t i = 0; b->inputs != NULL && i < node->n_inputs; i++) {
        if (b->inputs[i] != NULL) {
            lt_device_free(device, (void *)b->inputs[i],
                           value_bytes(leat_kernel_input(b->node, i)));
        }
    }
    for (uint32_t i = 0; b->outputs != NULL && i < node->n_outputs; i++) {
        if (b->outputs[i] != NULL) {
            lt_device_free(device, b->outputs[i], value_bytes(leat_kernel_output(b->node, i)));
        }
    }
    if (b->n_sets != 0) {
        lt_device_timer_close(&b->timer);
        lt_host_plan_destroy(&b->uploads);
    }
    lt_free(&device->context->memory, b->flush, b->flush_bytes);
    lt_arena_destroy(&b->arena);
}

/* The inputs, to which constants come when a kernel reads them. */
static bool open_sets(bench *b)
{
    const lt_compile_context context = {.options = &b->plan->options};
    const uint32_t n_inputs = b->node->node->n_inputs;
    lt_host_plan_init(&b->uploads, b->plan->device, &context);
    bool host = lt_device_is_host(b->plan->device);
    bool good = host || lt_device_timer_open(&b->timer, b->plan->device) == LEAT_OK;
    b->n_sets = !host && is_cold(b->plan) ? MOST_COPIES : 1;
    for (size_t s = 0; s < b->n_sets && good; s++) {
        b->sets[s] = lt_arena_array(&b->arena, n_inputs + 1u, sizeof(*b->sets[s]));
        good = b->sets[s] != NULL;
        for (uint32_t i = 0; i < n_inputs && good; i++) {
            b->sets[s][i] = b->inputs[i];
        }
    }
    return good;
}

/* Copies of a constant for all sets, as many as no cache holds at once. */
static bool bring_constant(bench *b, uint32_t i)
{
    const leat_value *value = leat_kernel_input(b->node, i);
    const size_t wanted = 2u * DEVICE_CACHE / (value->bytes + 1) + 1;
    const size_t copies = wanted < b->n_sets ? wanted : b->n_sets;
    for (size_t s = 0; s < b->n_sets; s++) {
        b->sets[s][i] = b->sets[s % copies][i];
        if (s < copies &&
            lt_host_plan_upload(&b->uploads, value, &b->sets[s][i], NULL) != LEAT_OK) {
            return false;
        }
    }
    return true;
}

static bool open_bench(bench *b)
{
    lt_device *device = b->plan->device;
    lt_memory *memory = &device->context->memory;
    const leat_node *node = b->node->node;
    lt_arena_init(&b->arena, memory, 4096);
    b->inputs = lt_arena_array(&b->arena, node->n_inputs + 1u, sizeof(*b->inputs));
    b->outputs = lt_arena_array(&b->arena, node->n_outputs + 1u, sizeof(*b->outputs));
    bool good = b->inputs != NULL && b->outputs != NULL;
    for (uint32_t i = 0; i < node->n_inputs && good; i++) {
        good = open_input(b, i);
    }
    for (uint32_t i = 0; i < node->n_outputs && good; i++) {
        good = open_output(b, i);
    }
    good = good && open_sets(b);
    if (good && lt_device_is_host(device) &&
        is_cold(b->plan)) { /* without memory for it the runs are warm: better than none */
        b->flush_bytes = last_cache_bytes();
        b->flush = lt_alloc_zeroed(memory, b->flush_bytes, LT_ALIGNMENT);
    }
    return good;
}

/* Reads memory that is needed for nothing, then the inputs. The sum keeps the compiler from leaving
 * the loads out. */
static void drive_out(const bench *b)
{
    uint64_t sum = 0;
    for (size_t at = 0; at < b->flush_bytes; at += 64) {
        sum += (unsigned char)b->flush[at];
    }
    for (uint32_t i = 0; i < b->node->node->n_inputs; i++) {
        size_t bytes = b->inputs[i] ? value_bytes(leat_kernel_input(b->node, i)) : 0;
        for (size_t at = 0; at < bytes; at += 64) {
            sum += ((const unsigned char *)b->inputs[i])[at];
        }
    }
    b->flush[0] = (char)sum;
}

static leat_status run_once(const bench *b, const leat_kernel *kernel, const leat_kernel_args *args,
                            uint64_t *out_ns)
{
    if (b->flush != NULL) {
        drive_out(b);
    }
    uint64_t start = lt_clock_ns();
    leat_status status = kernel->launch(kernel->state, args, NULL);
    *out_ns = lt_clock_ns() - start;
    return status;
}

/* Least time of a few runs; negative when one failed. */
static double time_runs(const bench *b, const leat_kernel *kernel, const leat_kernel_args *args)
{
    uint64_t least = UINT64_MAX, total = 0, ns;
    if (run_once(b, kernel, args, &ns) != LEAT_OK) { /* pages and branches */
        return -1;
    }
    for (int i = 0; i < MOST_RUNS && (i < LEAST_RUNS || total < MOST_NS); i++) {
        if (run_once(b, kernel, args, &ns) != LEAT_OK) {
            return -1;
        }
        total += ns;
        least = ns < least ? ns : least;
    }
    return (double)least;
}

/* Constants that launch reads become inputs. */
static bool fill_constants(bench *b, const leat_kernel *kernel)
{
    for (uint32_t i = 0; i < b->node->node->n_inputs; i++) {
        const leat_value *value = leat_kernel_input(b->node, i);
        bool unread = i < 32 && (kernel->unread_mask >> i & 1);
        if (value != NULL && value->data != NULL && b->sets[0][i] == NULL &&
            (!unread || lt_device_is_host(b->plan->device)) && !bring_constant(b, i)) {
            return false;
        }
    }
    return true;
}

static double time_kernel(bench *b, const leat_kernel *kernel)
{
    lt_device *device = b->plan->device;
    void *workspace = NULL;
    if (kernel->launch == NULL) {
        return 0; /* a view */
    }
    if (!fill_constants(b, kernel) ||
        lt_device_alloc(device, kernel->workspace_bytes, &workspace, NULL) != LEAT_OK) {
        return -1;
    }
    const leat_kernel_args args = {.inputs = b->sets[0],
                                   .outputs = b->outputs,
                                   .workspace = workspace,
                                   .stream = b->timer.stream,
                                   .pool = device->context->pool,
                                   .host = &device->context->host};
    double ns = lt_device_is_host(device)
                    ? time_runs(b, kernel, &args)
                    : lt_device_timer_run(&b->timer, kernel, &args,
                                          (const void *const *const *)b->sets, b->n_sets);
    lt_device_free(device, workspace, kernel->workspace_bytes);
    return ns;
}

/* Nanoseconds of a way; negative when it cannot be measured. */
static double measure(bench *b, const leat_way *way)
{
    lt_device *device = b->plan->device;
    const lt_compile_context context = {.options = &b->plan->options};
    leat_plan trial;
    leat_kernel kernel = {0};
    lt_host_plan_init(&trial, device, &context);
    leat_status status = way->prepare(b->node, device->handle, &device->context->host, &trial,
                                      way->argument, &kernel, NULL);
    double ns = status == LEAT_OK ? time_kernel(b, &kernel) : -1;
    lt_host_plan_destroy(&trial);
    return ns;
}

/* --- choosing ----------------------------------------------------------------------------------
 */

static size_t least_estimate(const leat_way *ways, size_t n_ways)
{
    size_t best = 0;
    for (size_t i = 1; i < n_ways; i++) {
        best = ways[i].cost_ns < ways[best].cost_ns ? i : best;
    }
    return best;
}

/* "cpu 2 threads Conv 1x56x56x64 64x64x3x3" */
static void describe(const leat_plan *plan, const leat_kernel_node *node, char *out, size_t bytes)
{
    const lt_device *device = plan->device;
    int used = snprintf(out, bytes, "%s %u threads %s", device->info.name,
                        lt_pool_threads(device->context->pool), node->node->op);
    for (uint32_t i = 0; i < 2 && used > 0 && (size_t)used < bytes; i++) {
        const leat_value *value = leat_kernel_input(node, i);
        for (int32_t d = 0; value != NULL && d < value->rank && (size_t)used < bytes; d++) {
            used += snprintf(out + used, bytes - (size_t)used, "%c%lld", d ? 'x' : ' ',
                             (long long)value->shape[d]);
        }
    }
}

static leat_status report(const leat_plan *plan, size_t done, size_t total, leat_error *err)
{
    if (plan->progress != NULL && plan->progress(plan->progress_user, "tune", done, total) != 0) {
        return lt_fail(err, LEAT_CANCELLED, "the progress callback asked to stop");
    }
    return LEAT_OK;
}

/* Measures all ways and records the best one, which *io_best is by estimate before. */
static leat_status measure_all(leat_plan *plan, const leat_kernel_node *node, const leat_way *ways,
                               size_t n_ways, size_t *io_best, leat_error *err)
{
    const size_t estimate = *io_best;
    const double clearly = lt_device_is_host(plan->device) ? 1 : CLEARLY;
    bench b = {.plan = plan, .node = node};
    double least = -1;
    leat_status status = LEAT_OK;
    bool open = open_bench(&b);
    for (size_t i = 0; i < n_ways && open && status == LEAT_OK; i++) {
        status = report(plan, i, n_ways, err);
        double ns = status == LEAT_OK ? measure(&b, &ways[i]) : -1;
        ns = i == estimate ? ns * clearly : ns;
        if (ns >= 0 && (least < 0 || ns < least)) {
            least = ns;
            *io_best = i;
        }
    }
    close_bench(&b);
    if (least >= 0 && status == LEAT_OK) {
        char label[LT_TUNING_LABEL_BYTES];
        describe(plan, node, label, sizeof(label));
        least = *io_best == estimate ? least / clearly : least;
        lt_tuning_add(plan->tuning, lt_choose_key(plan, node, ways, n_ways), ways[*io_best].name,
                      least, label);
    }
    return status;
}

leat_status lt_choose(leat_plan *plan, const leat_kernel_node *node, const leat_way *ways,
                      size_t n_ways, size_t *out_best, leat_error *err)
{
    *out_best = least_estimate(ways, n_ways);
    if (plan->tuning == NULL || n_ways == 1) {
        return LEAT_OK;
    }
    const char *recorded = lt_tuning_find(plan->tuning, lt_choose_key(plan, node, ways, n_ways));
    for (size_t i = 0; i < n_ways && recorded != NULL; i++) {
        if (strcmp(ways[i].name, recorded) == 0) {
            *out_best = i;
            return LEAT_OK;
        }
    }
    return measure_all(plan, node, ways, n_ways, out_best, err);
}

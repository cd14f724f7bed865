/* SPDX-License-Identifier: Apache-2.0 */
/* Errors, ranges over the pool, f16. */
#include "cpu.h"

#include <stdarg.h>
#include <stdio.h>

leat_status lt_cpu_fail(leat_error *err, leat_status status, const char *format, ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->message, sizeof(err->message), format, args);
        va_end(args);
        err->status = status;
    }
    return status;
}

leat_dtype lt_cpu_compute_dtype(const leat_kernel_node *node)
{
    bool own = strcmp(node->node->domain, "leat") == 0;
    leat_dtype dtype = leat_kernel_input(node, 0)->dtype;
    return own ? (leat_dtype)leat_node_int(node->node, "compute", (int64_t)dtype) : dtype;
}

leat_status lt_cpu_compute_supports(const leat_kernel_node *node, leat_error *err)
{
    const uint64_t mixed = CPU_T(F32) | CPU_T(F16) | CPU_T(BF16);
    leat_dtype compute = lt_cpu_compute_dtype(node), data = leat_kernel_input(node, 0)->dtype;
    bool half = compute == LEAT_DTYPE_F16 || compute == LEAT_DTYPE_BF16;
    bool fits = half || compute == data;
    for (uint32_t i = 0; i < node->node->n_inputs + 1; i++) {
        const leat_value *value =
            i < node->node->n_inputs ? leat_kernel_input(node, i) : leat_kernel_output(node, 0);
        if (value == NULL || value->dtype == LEAT_DTYPE_UNDEFINED) {
            continue;
        }
        fits &= half ? (unsigned)value->dtype < 64 && (mixed >> value->dtype & 1) != 0
                     : value->dtype == data;
    }
    return fits ? LEAT_OK
                : lt_cpu_fail(err, LEAT_UNSUPPORTED, "%s: these types do not go together",
                              node->node->op);
}

leat_status lt_cpu_supports_any(const leat_kernel_node *node, leat_error *err)
{
    (void)node;
    (void)err;
    return LEAT_OK;
}

typedef struct range_job {
    lt_cpu_range_fn fn;
    void *argument;
    int64_t count;
    int64_t step;
} range_job;

/* More than one, so that threads which lose their core hold the others up for a part only. */
#define TASKS_PER_THREAD 4

static void run_range(void *argument, uint32_t task, uint32_t thread)
{
    const range_job *job = argument;
    (void)thread;
    int64_t begin = (int64_t)task * job->step;
    int64_t end = begin + job->step;
    job->fn(job->argument, begin, end < job->count ? end : job->count);
}

void lt_cpu_parallel_range(const leat_kernel_args *args, int64_t count, int64_t unit,
                           double bytes_per_item, lt_cpu_range_fn fn, void *argument)
{
    int64_t threads = args->host->pool_threads(args->pool);
    int64_t tasks = threads > 1 ? threads * TASKS_PER_THREAD : 1;
    int64_t worth = (int64_t)((double)count * bytes_per_item / LT_CPU_GRAIN_BYTES);
    tasks = worth < tasks ? worth : tasks;
    if (count <= 0) {
        return;
    }
    if (tasks <= 1) {
        fn(argument, 0, count);
        return;
    }
    int64_t step = (count + tasks - 1) / tasks;
    step = (step + unit - 1) / unit * unit;
    range_job job = {fn, argument, count, step};
    args->host->parallel(args->pool, (uint32_t)((count + step - 1) / step), run_range, &job);
}

/* Both directions handle subnormal numbers, infinities and NaN; ties go to even. */
float lt_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exponent = (h >> 10) & 0x1fu;
    uint32_t mantissa = h & 0x3ffu;
    union {
        uint32_t u;
        float f;
    } v;
    if (exponent == 31) {
        v.u = sign | 0x7f800000u | mantissa << 13;
    } else if (exponent != 0) {
        v.u = sign | (exponent + 112) << 23 | mantissa << 13;
    } else {
        v.f = (float)mantissa * 0x1p-24f;
        v.u |= sign;
    }
    return v.f;
}

uint16_t lt_f32_to_f16(float f)
{
    union {
        float f;
        uint32_t u;
    } v = {f};
    uint32_t sign = (v.u >> 16) & 0x8000u;
    uint32_t magnitude = v.u & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return (uint16_t)(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
    }
    if (magnitude >= 0x477ff000u) { /* rounds to 65536 or more */
        return (uint16_t)(sign | 0x7c00u);
    }
    if (magnitude < 0x38800000u) { /* below 2^-14: subnormal; the addition rounds */
        v.u = magnitude;
        v.f += 0.5f;
        return (uint16_t)(sign | (v.u - 0x3f000000u));
    }
    uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    return (uint16_t)(sign | ((rounded - 0x38000000u) >> 13));
}

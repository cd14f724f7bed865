/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu.h"

#include <stdio.h>
#include <stdlib.h>

/* One device, the machine's own processor. */
typedef struct cpu_instance {
    lt_cpu_device device;
    const leat_host *host;
    char features[96];
    char description[80];
} cpu_instance;

static const char *const isa_names[] = {"portable", "avx2", "avxvnni", "avx512"};

static lt_cpu_isa isa_limit(void)
{
    const char *wanted = getenv("LEAT_CPU_ISA");
    for (int i = 0; wanted != NULL && i <= LT_CPU_AVX512; i++) {
        if (strcmp(wanted, isa_names[i]) == 0) {
            return (lt_cpu_isa)i;
        }
    }
    return LT_CPU_AVX512;
}

static leat_status cpu_init(const leat_host *host, void **out_instance, leat_error *err)
{
    cpu_instance *self = host->alloc(host->context, sizeof(*self), 64);
    *out_instance = self;
    if (self == NULL) {
        return lt_cpu_fail(err, LEAT_NO_MEMORY, "cpu backend: no memory for %zu bytes",
                           sizeof(*self));
    }
    memset(self, 0, sizeof(*self));
    self->host = host;
    lt_cpu_device_detect(&self->device, isa_limit());
    self->device.host = host;
    snprintf(self->features, sizeof(self->features), "%s%s%s%s", isa_names[self->device.isa],
             self->device.avx512_vnni ? " avx512vnni" : "",
             self->device.avx512_bf16 ? " avx512bf16" : "",
             self->device.avx_vnni ? " avxvnni" : "");
    snprintf(self->description, sizeof(self->description), "%s, %u cores", self->device.name,
             self->device.cores);
    return LEAT_OK;
}

static void cpu_shutdown(void *instance)
{
    cpu_instance *self = instance;
    self->host->free(self->host->context, self, sizeof(*self));
}

static size_t cpu_device_count(void *instance)
{
    (void)instance;
    return 1;
}

static leat_status cpu_device_info(void *instance, size_t index, leat_device_properties *out_info,
                                   leat_error *err)
{
    cpu_instance *self = instance;
    if (index != 0) {
        return lt_cpu_fail(err, LEAT_INVALID, "cpu backend: no device %zu", index);
    }
    out_info->name = "cpu";
    out_info->description = self->description;
    out_info->kind = LEAT_DEVICE_CPU;
    out_info->memory_bytes = 0;
    out_info->features = self->features;
    out_info->available = 1;
    out_info->reason = "";
    return LEAT_OK;
}

static leat_status cpu_device_open(void *instance, size_t index, void **out_device, leat_error *err)
{
    cpu_instance *self = instance;
    *out_device = NULL;
    if (index != 0) {
        return lt_cpu_fail(err, LEAT_INVALID, "cpu backend: no device %zu", index);
    }
    *out_device = &self->device;
    return LEAT_OK;
}

static void cpu_device_close(void *device)
{
    (void)device;
}

/* f16 and bf16 halve the bytes of weights everywhere, but only native dot products of bf16 are
 * faster than f32. */
static leat_precision cpu_precision(void *device, leat_precision wanted)
{
    const lt_cpu_device *cpu = device;
    if (wanted == LEAT_PRECISION_AUTO) {
        return cpu->avx512_bf16 ? LEAT_PRECISION_BF16 : LEAT_PRECISION_F32;
    }
    return wanted == LEAT_PRECISION_TF32 ? LEAT_PRECISION_F32 : wanted;
}

static const leat_backend backend = {
    .abi = LEAT_BACKEND_ABI,
    .struct_size = sizeof(leat_backend),
    .name = "cpu",
    .version = "0.1.0",
    .features = LEAT_BACKEND_HOST_MEMORY,
    .sanitizer = LEAT_BACKEND_SANITIZER,
    .init = cpu_init,
    .shutdown = cpu_shutdown,
    .device_count = cpu_device_count,
    .device_info = cpu_device_info,
    .device_open = cpu_device_open,
    .device_close = cpu_device_close,
    .rows = lt_cpu_rows,
    .n_rows = LT_CPU_N_ROWS,
    .precision = cpu_precision,
};

const leat_backend *lt_cpu_backend_query(uint32_t host_abi)
{
    return host_abi == LEAT_BACKEND_ABI ? &backend : NULL;
}
